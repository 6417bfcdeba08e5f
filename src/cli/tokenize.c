// cli/tokenize.c: `hob tokenize`: text to token ids and back, by the vocabulary of a model file.
//
// The file's tensors are never touched, so a file that holds only a vocabulary works.
#include "cli/cli.h"

static bool print_ids(const TokenIds *ids, bool json) {
    Arena *a = arena_new(NULL);
    Buf b = {.arena = a};
    for (size_t i = 0; i < ids->n; i++)
        buf_fmt(&b, "%s%d", i ? (json ? ", " : " ") : json ? "[" : "", ids->at[i]);
    if (json) buf_add(&b, ids->n ? S("]") : S("[]"));
    buf_char(&b, '\n');
    out_str(buf_str(&b));
    arena_free(a);
    return out_finish();
}

// Each token beside its id, one a line: what a person wants to see.
static bool print_table(const Tokenizer *t, const TokenIds *ids, Arena *a, Err *err) {
    for (size_t i = 0; i < ids->n; i++) {
        Buf b = {.arena = a};
        buf_fmt(&b, "%8d  ", ids->at[i]);
        Buf text = {.arena = a};
        if (!tokenizer_decode_one(t, ids->at[i], DETOKENIZE_SPECIAL, &text, err)) return false;
        buf_char(&b, '"');
        for (size_t k = 0; k < text.len; k++) {
            u8 c = (u8)text.ptr[k];
            if (c == '\n')
                buf_add(&b, S("\\n"));
            else if (c == '\t')
                buf_add(&b, S("\\t"));
            else if (c == '"' || c == '\\')
                buf_fmt(&b, "\\%c", c);
            else if (c < 32 || c == 127)
                buf_fmt(&b, "\\x%02x", (u32)c);
            else
                buf_char(&b, (char)c);
        }
        buf_add(&b, S("\"\n"));
        out_str(buf_str(&b));
    }
    return true;
}

static bool list_read(Arena *a, Str text, TokenIds *ids) {
    text = str_trim(text);
    if (text.len < 2 || text.ptr[0] != '[' || text.ptr[text.len - 1] != ']') return false;
    text = str_trim(str_sub(text, 1, text.len - 1));
    for (Str rest = text; rest.ptr && text.len;) {
        i64 id;
        Str one = str_trim(str_cut(rest, ',', &rest));
        if (!str_to_i64(one, &id) || id < 0 || id > INT32_MAX) return false;
        vec_push(a, ids, (i32)id);
    }
    return true;
}

// A JSON array of ids, from a file, standard input or the command line.
bool ids_read(Arena *a, Str text, TokenIds *ids, Err *err) {
    return list_read(a, text, ids) ||
           err_set(err, ERR_USAGE,
                   "this is no list of token ids; give a JSON array like [1, 2, 3]");
}

static int run(const Command *c, int argc, char **argv) {
    Str model = {0}, decode = {0}, word = {0};
    bool bos = false, plain = false, only_ids = false, json = false;
    int nwords = 0;
    const Opt opts[] = {
        {"--model", "-m", OPT_STR, &model, 0, 0, "FILE", "model file (GGUF, or of hob bake)"},
        {"--bos", NULL, OPT_FLAG, &bos, 0, 0, NULL, "begin with the begin-of-text token"},
        {"--plain", NULL, OPT_FLAG, &plain, 0, 0, NULL,
         "control tokens spelt in the text stay text"},
        {"--ids", NULL, OPT_FLAG, &only_ids, 0, 0, NULL, "only the ids, as a JSON array"},
        {"--json", NULL, OPT_FLAG, &json, 0, 0, NULL,
         "the same as --ids; with --decode, a JSON string"},
        {"--decode", NULL, OPT_STR, &decode, 0, 0, "IDS",
         "a JSON array of ids (or -) back to text"},
    };
    Parsed p = options_parse(c, opts, COUNT_OF(opts), argc, argv, &word, 1, &nwords);
    if (p != PARSED_OK) return p == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
    if (!model.len) return usage_error(c, "name the model file: -m FILE");
    if (decode.ptr && nwords) return usage_error(c, "give a text or --decode, not both");
    if (decode.ptr && (bos || plain || only_ids))
        return usage_error(c, "%s is for splitting a text, not for --decode",
                           bos     ? "--bos"
                           : plain ? "--plain"
                                   : "--ids");

    Arena *a = arena_new(NULL);
    Err err = {0};
    Source src = {0};
    Gguf *g;
    Vocab vocab;
    Tokenizer *tok;
    TokenIds ids = {0};
    int status = EXIT_FAILED;
    Str text;
    if (!source_file_open(a, model, &src, &err) || !format_open(a, &src, &g, &err) ||
        !vocab_from_gguf(a, g, &vocab, &err) || !tokenizer_new(a, &vocab, &tok, &err)) {
        err_file(&err, model);
        goto done;
    }
    if (!prompt_text(a, decode.ptr ? decode : nwords ? word : S("-"), &text, &err)) goto done;
    if (decode.ptr) {
        Buf b = {.arena = a};
        if (!ids_read(a, text, &ids, &err)) {
            status = usage_error(c, "--decode takes a JSON array of ids, like [1, 2, 3]");
            err = (Err){0};
            goto done;
        }
        if (!tokenizer_decode(tok, ids.at, ids.n, DETOKENIZE_SPECIAL, &b, &err)) goto done;
        if (json) {
            Buf q = {.arena = a};
            json_str(&q, buf_str(&b));
            buf_char(&q, '\n');
            out_str(buf_str(&q));
        } else {
            out_str(buf_str(&b));
        }
        status = out_finish() ? EXIT_DONE : EXIT_FAILED;
        goto done;
    }
    u32 flags = (bos ? TOKENIZE_BOS : 0) | (plain ? 0 : TOKENIZE_SPECIAL);
    if (!tokenizer_encode(tok, a, text, flags, &ids, &err)) goto done;
    if (ids.dropped)
        fprintf(stderr, "hob: %zu bytes have no token in this vocabulary and are left out\n",
                ids.dropped);
    if (only_ids || json) {
        status = print_ids(&ids, true) ? EXIT_DONE : EXIT_FAILED;
    } else {
        if (!print_table(tok, &ids, a, &err)) goto done;
        status = out_finish() ? EXIT_DONE : EXIT_FAILED;
    }
done:
    if (err.id) status = report(&err);
    source_file_close(&src);
    arena_free(a);
    return status;
}

const Command cmd_tokenize = {
    "tokenize",
    "-m FILE [TEXT | -] [--bos] [--ids] [--json]\n    hob tokenize -m FILE --decode IDS",
    "text to token ids and back",
    "Splits TEXT (or standard input) into the tokens of the model's vocabulary and prints each "
    "with its id,\n"
    "one a line; with --ids or --json the ids as one JSON array. No special token is added unless "
    "--bos asks\n"
    "for it; text that spells a control token (<|im_end|>) is that token, unless --plain is "
    "given.\n\n"
    "--decode turns a JSON array of ids into the text they stand for, byte for byte.\n\n"
    "Only the vocabulary is read: a file without tensors works.\n\n"
    "    hob tokenize -m model.gguf \"Hello world\"\n"
    "    hob tokenize -m model.gguf --ids - < book.txt > ids.json\n"
    "    hob tokenize -m model.gguf --decode \"[19556, 905]\"\n",
    run,
};
