// cli/bake.c: `hob bake`: a model file in smaller encodings, as a safetensors file that every
// command opens.
//
// The file is written beside its place and moved there once it is whole (cli/output.c), so that no
// half a model ever has the name that was asked for.
#include "cli/cli.h"

#include "bake/bake.h"

typedef struct BakeArgs {
    Str model, out, calibrate;
    double size;
    i64 threads, ctx;
    bool errors, json;
    const char *doing; // for the line of progress
} BakeArgs;

static bool show(void *user, u64 done, u64 total) {
    const BakeArgs *o = user;
    progress(o->doing, done, total);
    return !sigint_take(); // only noted while the file is written
}

bool tokens_read(Arena *a, Str path, Model *m, TokenIds *ids, Err *err) {
    Str text;
    if (!text_read(a, path, &text, err)) return false;
    if (str_starts(str_trim(text), S("["))) {
        if (ids_read(a, text, ids, err)) return true;
        return err_file(err, path);
    }
    return model_tokenizer(m, err) &&
           tokenizer_encode(m->tok, a, text,
                            TOKENIZE_SPECIAL | (m->vocab.add_bos ? TOKENIZE_BOS : 0), ids, err);
}

// Runs the model over the file's tokens. What it gives lives in the arena.
static bool calibrate(Arena *a, const BakeArgs *o, BakeOptions *b, Err *err) {
    OpenArgs open = {
        .model = o->model, .threads = o->threads, .ctx = o->ctx, .rows = 32, .drafts = -1};
    hob_error error = {0};
    TokenIds ids = {0};
    ColumnStats *stats = NULL;
    hob_model *m = open_model(&open, &error);
    if (!m) {
        say_error(error.message);
        return false; // said: err stays unset
    }
    Model *in = hob_model_inside(m);
    bool ok = tokens_read(a, o->calibrate, in, &ids, err) &&
              engine_calibrate(in->engine, a, ids.at, ids.n, &stats, &b->nstats, err);
    for (size_t i = 0; ok && i < b->nstats; i++)
        stats[i].tensor = arena_str(a, stats[i].tensor); // the model goes, its names with it
    b->stats = stats;
    if (!ok) err_file(err, o->calibrate);
    hob_close(m);
    return ok;
}

static void print_plan(const BakePlan *p, u64 before, bool json, Buf *b) {
    if (json) buf_add(b, S("{\"tensors\": ["));
    for (size_t i = 0; i < p->n; i++) {
        const BakeTensor *t = &p->at[i];
        const char *from = filetype_info(t->from->type)->name, *to = filetype_info(t->to)->name;
        if (json) {
            buf_fmt(b, "%s{\"name\": ", i ? ", " : "");
            json_str(b, t->from->name);
            buf_fmt(b,
                    ", \"from\": \"%s\", \"to\": \"%s\", \"bytes\": %U, \"noise\": %g, "
                    "\"weighted\": %s}",
                    from, to, t->bytes, t->noise, t->columns ? "true" : "false");
        } else if (t->from->type != t->to) {
            buf_fmt(b, "%S: %s to %s, %U bytes, noise %.6f%s\n", t->from->name, from, to, t->bytes,
                    t->noise, t->columns ? " of the product" : "");
        }
    }
    if (json)
        buf_fmt(b, "], \"bytes\": %U, \"before\": %U}\n", p->bytes, before);
    else
        buf_fmt(b, "%.1f MB, before %.1f MB\n", (double)p->bytes / 1e6, (double)before / 1e6);
}

static void print_errors(const BakeError *e, size_t n, bool json, Buf *b) {
    double searched = 0, plain = 0;
    if (json) buf_add(b, S("{\"tensors\": ["));
    for (size_t i = 0; i < n; i++) {
        const FileTensor *t = e[i].tensor;
        const char *type = filetype_info(t->type)->name;
        double ratio = e[i].plain > 0 ? e[i].searched / e[i].plain : 1;
        searched += e[i].searched;
        plain += e[i].plain;
        if (json) {
            buf_fmt(b, "%s{\"name\": ", i ? ", " : "");
            json_str(b, t->name);
            buf_fmt(b, ", \"type\": \"%s\", \"searched\": %g, \"plain\": %g, \"ratio\": %g}", type,
                    e[i].searched, e[i].plain, ratio);
        } else {
            buf_fmt(b, "%.4f  %-5s %S\n", ratio, type, t->name);
        }
    }
    double ratio = plain > 0 ? searched / plain : 1;
    if (json)
        buf_fmt(b, "], \"searched\": %g, \"plain\": %g, \"ratio\": %g}\n", searched, plain, ratio);
    else
        buf_fmt(b, "%.4f  in all, of %U matrices: the squared error of Q4_1, searched / plain\n",
                ratio, (u64)n);
}

// Ctrl-C ends it between two rows, and what was begun goes; before that there is nothing to remove.
static bool write_out(Arena *a, const Gguf *g, const BakePlan *p, BakeOptions *b, Str out,
                      Err *err) {
    Output to;
    sigint_watch();
    bool ok = output_begin(&to, a, out, err);
    if (ok) {
        ok = bake_write(g, p, b, output_write, &to, err);
        if (ok && sigint_take()) ok = err_set(err, ERR_INTERRUPTED, "the work was stopped");
        ok = output_end(&to, ok, err);
    }
    sigint_catch(NULL);
    return ok;
}

static bool bake(Arena *a, const Gguf *g, BakeArgs *o, Buf *b, Err *err) {
    BakeOptions bo = {.size = (u64)(o->size * 1e6), .progress = show, .user = o};
    BakePlan plan;
    if (o->errors) {
        BakeError *e;
        size_t n;
        o->doing = "measuring";
        if (!bake_errors(a, g, &bo, &e, &n, err)) return false;
        print_errors(e, n, o->json, b);
        return true;
    }
    const Str read[] = {o->model, o->calibrate};
    if (!output_check(a, o->out, false, read, COUNT_OF(read), err)) return false;
    if (o->calibrate.len && !calibrate(a, o, &bo, err)) return false;
    o->doing = "planning";
    if (!bake_plan(a, g, &bo, &plan, err)) return false;
    o->doing = "writing";
    if (!write_out(a, g, &plan, &bo, o->out, err)) return false;
    print_plan(&plan, gguf_source(g)->size, o->json, b);
    return true;
}

static int run(const Command *c, int argc, char **argv) {
    BakeArgs o = {0};
    const Opt opts[] = {
        {"--model", "-m", OPT_STR, &o.model, 0, 0, "FILE", "model file (GGUF, or of hob bake)"},
        {"--out", "-o", OPT_STR, &o.out, 0, 0, "FILE", "the file to write"},
        {"--size", NULL, OPT_NUM, &o.size, 0.001, 1e6, "MB",
         "at most so many million bytes, spent where they remove most error"},
        {"--calibrate", NULL, OPT_STR, &o.calibrate, 0, 0, "F",
         "weight columns by what this text (or JSON array of token ids) multiplies them with"},
        {"--errors", NULL, OPT_FLAG, &o.errors, 0, 0, NULL,
         "write nothing: say what four bits cost each matrix, searched and plain"},
        {"--threads", NULL, OPT_INT, &o.threads, 0, 256, "N",
         "CPU threads of --calibrate; 0, the default: one a core"},
        {"--ctx", NULL, OPT_INT, &o.ctx, 0, 1 << 20, "N",
         "context of --calibrate; 0, the default: the model's, at most 2048"},
        {"--json", NULL, OPT_FLAG, &o.json, 0, 0, NULL, "one JSON object"},
    };
    Parsed p = options_parse(c, opts, COUNT_OF(opts), argc, argv, NULL, 0, NULL);
    if (p != PARSED_OK) return p == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
    if (!o.model.len) return usage_error(c, "name the model file: -m FILE");
    if (!o.out.len && !o.errors) return usage_error(c, "name the file to write: -o FILE");
    if (o.errors && (o.out.len || o.calibrate.len || o.size > 0))
        return usage_error(c, "--errors writes nothing: give it alone");

    Arena *a = arena_new(NULL);
    Err err = {0};
    Source src = {0};
    Gguf *g;
    Buf b = {.arena = a};
    int status = EXIT_FAILED;
    if (source_file_open(a, o.model, &src, &err) && format_open(a, &src, &g, &err) &&
        bake(a, g, &o, &b, &err)) {
        progress_end();
        out_str(buf_str(&b));
        status = out_finish() ? EXIT_DONE : EXIT_FAILED;
    } else if (err.id) {
        err_file(&err, o.model);
        status = report(&err);
    }
    source_file_close(&src);
    arena_free(a);
    return status;
}

const Command cmd_bake = {
    "bake",
    "-m FILE -o OUT.safetensors [--size MB] [--calibrate F] [--json]\n    hob bake -m FILE "
    "--errors "
    "[--json]",
    "a model file in smaller encodings",
    "Requantises the matrices of a model file and writes a safetensors file with everything that "
    "the other commands\n"
    "need: hob run -m OUT.safetensors works. Without --size matrices get four bits in groups of 32 "
    "(Q4_1; scale and\n"
    "minimum are searched for the least error), embedding and head eight. With it, what is left "
    "over the smallest form\n"
    "goes where it removes most error a byte. Nothing becomes larger than it is.\n\n"
    "--calibrate runs the model over a text first. Columns that are multiplied with larger numbers "
    "then count more, and\n"
    "errors are those of the products.\n\n"
    "    hob bake -m model.gguf -o small.safetensors --size 90\n"
    "    hob bake -m model.gguf -o small.safetensors --calibrate text.txt\n",
    run,
};
