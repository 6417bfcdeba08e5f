// tests/model/logits_tool.c: a model and tokens in, logits out: what the suite that compares with
// NumPy talks to.
//
// usage: logits_tool FILE.gguf TOKENS DEVICE[/MODE] THREADS CHUNK ROWS [POSITION...]
//   TOKENS is a file of ids, anything between them; the program takes CHUNK rows in a step at most
//   and is fed ROWS. stdout: float32 logits after each POSITION (none: after every one), row after
//   row. stderr: what the device says, of kernels that it lacks for instance.
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"

typedef struct Wanted {
    char **at;
    int n;
} Wanted;

static void show(void *user, size_t pos, const float *logits, u32 vocab) {
    const Wanted *w = user;
    bool wanted = w->n == 0;
    for (int i = 0; i < w->n; i++) wanted |= strtoull(w->at[i], NULL, 10) == pos;
    if (wanted) fwrite(logits, sizeof *logits, vocab, stdout);
}

static void say(void *user, Str line) {
    (void)user;
    fprintf(stderr, "%.*s\n", STR_ARG(line));
}

static int failed(const Err *err) {
    Arena *a = arena_new(NULL);
    Buf b = {.arena = a};
    err_print(err, &b);
    fprintf(stderr, "%.*s\n", STR_ARG(buf_str(&b)));
    arena_free(a);
    return 1;
}

static size_t read_ids(const char *path, i32 *ids, size_t most) {
    size_t n = 0;
    FILE *f = fopen(path, "r");
    for (int c; f && (c = getc(f)) != EOF;)
        if (c >= '0' && c <= '9') {
            ungetc(c, f);
            if (n == most || fscanf(f, "%d", &ids[n++]) != 1) break;
        }
    if (f) fclose(f);
    return n;
}

int main(int argc, char **argv) {
    static i32 ids[8192];
    if (argc < 7) {
        fprintf(stderr, "usage: logits_tool FILE.gguf TOKENS DEVICE[/MODE] THREADS CHUNK ROWS "
                        "[POSITION...]\n");
        return 2;
    }
    size_t n = read_ids(argv[2], ids, COUNT_OF(ids) - 1);
    ids[n++] = 0; // the last token's logits are wanted too, so something follows it
    u32 rows = (u32)atoi(argv[6]);
    ModelOptions options = {.ctx = (u32)n, .chunk = (u32)atoi(argv[5]), .m_max = rows};
    DeviceOptions device = {.threads = atoi(argv[4])};
    CompileOptions compile = {0};
    Wanted wanted = {argv + 7, argc - 7};
    EvalResult result = {.row = show, .user = &wanted};
    Source src;
    Err err = {0};
    Str mode, name = str_cut(str_c(argv[3]), '/', &mode);
    Model *m = model_new(say, NULL);
    EngineState s = ENGINE_FAILED;
    bool ok = source_file_open(m->arena, str_c(argv[1]), &src, &err) && model_read(m, &src, &err) &&
              model_graph(m, &options, &err) && model_device(m, name, &device, &err) &&
              model_mode(m, mode, &err) && model_compile(m, &compile, &err) && model_start(m, &err);
    while (ok && (s = model_load_step(m, &err)) != ENGINE_DONE && s != ENGINE_FAILED) continue;
    ok = ok && s == ENGINE_DONE && engine_eval(m->engine, m->arena, ids, n, rows, &result, &err);
    if (!ok) failed(&err);
    model_free(m);
    return ok ? 0 : 1;
}
