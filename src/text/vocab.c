// text/vocab.c: a vocabulary as plain data, read from a GGUF's keys, and the index from spelling to
// id.
//
// What a file must hold for a tokenizer to be possible is checked here and in the tokenizer's own
// files, with the key's name in the error. Other sources (tokenizer.json, tokenizer.model) fill the
// same struct in files of their own.
#include "text/text.h"

enum {
    MAX_TOKENS = 1 << 22,
    MAX_MERGES = 1 << 23,
    MAX_TOKEN_BYTES = 1 << 16,
    MAX_PROBES = 1024, // the table is at most half full: only texts made to collide come near
};

void vocab_init(Vocab *v) {
    *v = (Vocab){.bos = -1, .eos = -1, .eot = -1, .eom = -1, .unk = -1, .pad = -1};
}

static bool special_id(const Gguf *g, const char *key, u32 n_tokens, i32 *out, Err *err) {
    Str k = str_c(key);
    i64 id = -1;
    if (!gguf_get_int(g, k, -1, UINT32_MAX, &id, err)) return false;
    if (id == UINT32_MAX) id = -1; // how some writers say none
    if (id >= (i64)n_tokens) {
        err_set(
            err, ERR_VOCAB_ID,
            "the special token %D is not in the vocabulary of %u tokens; convert the model anew",
            id, n_tokens);
        return err_subject(err, k);
    }
    *out = (i32)id;
    return true;
}

static bool read_tokens(Arena *a, const Gguf *g, Vocab *v, Err *err) {
    const Str k_tokens = S("tokenizer.ggml.tokens"), k_types = S("tokenizer.ggml.token_type"),
              k_scores = S("tokenizer.ggml.scores");
    GgufArray tokens = {0}, types = {0}, scores = {0};
    Str *text;
    if (!gguf_get_array(g, k_tokens, &tokens, err) || !gguf_get_array(g, k_types, &types, err) ||
        !gguf_get_array(g, k_scores, &scores, err)) {
        return false;
    }
    if (tokens.n == 0 || tokens.n > MAX_TOKENS) {
        err_set(err, ERR_VOCAB_SIZE,
                "a vocabulary of %U tokens, where 1 to %u are possible; convert the model anew",
                tokens.n, (u32)MAX_TOKENS);
        return err_subject(err, k_tokens);
    }
    if (types.n != 0 && types.n != tokens.n) {
        err_set(err, ERR_VOCAB_LENGTH, "%U token types for %U tokens; convert the model anew",
                types.n, tokens.n);
        return err_subject(err, k_types);
    }
    if (scores.n != 0 && scores.n != tokens.n) {
        err_set(err, ERR_VOCAB_LENGTH, "%U scores for %U tokens; convert the model anew", scores.n,
                tokens.n);
        return err_subject(err, k_scores);
    }
    i32 *type = NULL;
    float *score = NULL;
    if (!gguf_array_strs(a, &tokens, &text, err)) return err_subject(err, k_tokens);
    if (types.n != 0 && !gguf_array_i32(a, &types, &type, err)) return err_subject(err, k_types);
    if (scores.n != 0 && !gguf_array_f32(a, &scores, &score, err))
        return err_subject(err, k_scores);
    v->n_tokens = (u32)tokens.n;
    v->tokens = arena_try(a, tokens.n, sizeof *v->tokens);
    if (v->tokens == NULL)
        return err_set(err, ERR_OUT_OF_MEMORY,
                       "no memory for %U tokens; close something or take a smaller model",
                       tokens.n);
    for (u32 i = 0; i < v->n_tokens; i++) {
        i32 t = type != NULL ? type[i] : TOKEN_NORMAL;
        if (t < TOKEN_NORMAL || t > TOKEN_BYTE) {
            err_set(err, ERR_VOCAB_TYPE,
                    "token %u has the type %d, where 1 to 6 are known; convert the model anew", i,
                    t);
            return err_subject(err, k_types);
        }
        v->tokens[i] = (VocabToken){text[i], score != NULL ? score[i] : 0, (u8)t};
    }
    return true;
}

bool vocab_from_gguf(Arena *a, const Gguf *g, Vocab *v, Err *err) {
    static const struct {
        const char *key;
        size_t field;
    } ids[] = {
        {"tokenizer.ggml.bos_token_id", offsetof(Vocab, bos)},
        {"tokenizer.ggml.eos_token_id", offsetof(Vocab, eos)},
        {"tokenizer.ggml.eot_token_id", offsetof(Vocab, eot)},
        {"tokenizer.ggml.eom_token_id", offsetof(Vocab, eom)},
        {"tokenizer.ggml.unknown_token_id", offsetof(Vocab, unk)},
        {"tokenizer.ggml.padding_token_id", offsetof(Vocab, pad)},
    };
    const Str k_model = S("tokenizer.ggml.model"), k_merges = S("tokenizer.ggml.merges");
    vocab_init(v);
    if (!gguf_has(g, k_model)) {
        err_set(err, ERR_VOCAB_NONE,
                "the file has no vocabulary; convert the model with its tokenizer");
        return err_subject(err, k_model);
    }
    if (!gguf_get_str(g, k_model, &v->model, err) ||
        !gguf_get_str(g, S("tokenizer.ggml.pre"), &v->pre, err) ||
        !gguf_get_str(g, S("tokenizer.chat_template"), &v->chat_template, err) ||
        !read_tokens(a, g, v, err)) {
        return false;
    }
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        i32 *field = (i32 *)((char *)v + ids[i].field);
        if (!special_id(g, ids[i].key, v->n_tokens, field, err)) return false;
    }
    const PretokRow *row = pretok_find(v->pre);
    v->add_bos = row != NULL && row->add_bos;
    if (!gguf_get_bool(g, S("tokenizer.ggml.add_bos_token"), &v->add_bos, err) ||
        !gguf_get_bool(g, S("tokenizer.ggml.add_eos_token"), &v->add_eos, err)) {
        return false;
    }
    GgufArray merges = {0};
    if (!gguf_get_array(g, k_merges, &merges, err)) return false;
    if (merges.n > MAX_MERGES) {
        err_set(err, ERR_VOCAB_SIZE, "%U merges: at most %u are possible", merges.n,
                (u32)MAX_MERGES);
        return err_subject(err, k_merges);
    }
    if (merges.n > 0 && !gguf_array_strs(a, &merges, &v->merges, err))
        return err_subject(err, k_merges);
    v->n_merges = (u32)merges.n;
    return true;
}

bool vocab_index(Arena *a, const Vocab *v, VocabIndex *out, Err *err) {
    u32 size = 64;
    while (size < 2 * v->n_tokens) size *= 2;
    *out = (VocabIndex){
        .tokens = v->tokens, .mask = size - 1, .slots = arena_try(a, size, sizeof(u32))};
    if (out->slots == NULL)
        return err_set(
            err, ERR_OUT_OF_MEMORY,
            "no memory for the index of %u tokens; close something or take a smaller model",
            v->n_tokens);
    for (u32 i = 0; i < v->n_tokens; i++) {
        Str text = v->tokens[i].text;
        if (text.len == 0) continue;
        if (text.len > MAX_TOKEN_BYTES) {
            return err_set(err, ERR_VOCAB_SIZE,
                           "token %u is %U bytes long: at most %u are possible", i, (u64)text.len,
                           (u32)MAX_TOKEN_BYTES);
        }
        u32 slot = (u32)hash_str(0, text) & out->mask, probes = 0;
        for (; out->slots[slot] != 0; slot = (slot + 1) & out->mask) {
            u32 other = out->slots[slot] - 1;
            if (++probes > MAX_PROBES) {
                return err_set(err, ERR_VOCAB_SIZE,
                               "the tokens are made to collide: the file is not to be trusted");
            }
            if (str_eq(v->tokens[other].text, text)) {
                return err_set(err, ERR_VOCAB_DUPLICATE,
                               "tokens %u and %u are both '%S'; convert the model anew", other, i,
                               str_sub(text, 0, 64));
            }
        }
        out->slots[slot] = i + 1;
    }
    return true;
}

i32 vocab_find(const VocabIndex *x, Str text) {
    if (text.len == 0) return -1;
    u32 slot = (u32)hash_str(0, text) & x->mask;
    // No token lies further from its place than MAX_PROBES, however long a run of full slots is.
    for (u32 probes = 0; x->slots[slot] != 0 && probes <= MAX_PROBES; probes++) {
        u32 id = x->slots[slot] - 1;
        if (str_eq(x->tokens[id].text, text)) return (i32)id;
        slot = (slot + 1) & x->mask;
    }
    return -1;
}
