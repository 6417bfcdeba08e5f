// tests/model/forced_tool.c: greedy answers as token ids, and what the model thinks of given ids:
// the native half of the suite that compares devices.
//
// usage: forced_tool FILE.gguf THREADS greedy MOST TEXT...    {"prompt": n, "tokens": [...]} a line
//        forced_tool FILE.gguf THREADS force ROWS < ids       a line of ids each; {"top": [...],
//                                                             "margin": [...]} a line
#include <stdio.h>
#include <stdlib.h>

#include "../text/chat.h"
#include "api/api.h"

static int failed(const Err *err) {
    Arena *a = arena_new(NULL);
    Buf b = {.arena = a};
    err_print(err, &b);
    fprintf(stderr, "%.*s\n", STR_ARG(buf_str(&b)));
    arena_free(a);
    return 1;
}

static void print_ids(const char *name, const i32 *ids, size_t n) {
    printf("\"%s\": [", name);
    for (size_t i = 0; i < n; i++) printf("%s%d", i ? ", " : "", ids[i]);
    printf("]");
}

static bool greedy(Model *m, char **texts, int n, i64 most, Err *err) {
    for (int i = 0; i < n; i++) {
        ChatMessages messages = {.arena = m->arena};
        chat_add(&messages, S("user"), str_c(texts[i]));
        AnswerOptions o = {.max_tokens = most};
        Session *s = session_new(m->arena, m->engine, m->tok, m->tmpl);
        SessionEvent ev = {0};
        if (!s || !session_ask(s, &messages, &o, err)) return false;
        while ((ev = session_step(s, err)).state != ENGINE_DONE)
            if (ev.state == ENGINE_FAILED) return false;
        size_t all;
        const i32 *ids = engine_tokens(m->engine, &all);
        printf("{\"prompt\": %u, ", engine_stats(m->engine)->prompt_tokens);
        print_ids("tokens", ids, all);
        printf("}\n");
        session_free(s);
        engine_forget(m->engine);
    }
    return true;
}

static bool force(Model *m, u32 rows, Err *err) {
    static char line[1 << 16];
    static i32 ids[4096];
    while (fgets(line, sizeof line, stdin)) {
        size_t n = 0;
        for (char *p = line, *end; n < COUNT_OF(ids); p = end) {
            long id = strtol(p, &end, 10);
            if (end == p) break;
            ids[n++] = (i32)id;
        }
        EvalResult r = {0};
        if (!engine_eval(m->engine, m->arena, ids, n, rows, &r, err)) return false;
        printf("{");
        print_ids("top", r.top, r.n);
        printf(", \"margin\": [");
        for (size_t i = 0; i < r.n; i++) printf("%s%.6g", i ? ", " : "", r.margin[i]);
        printf("]}\n");
    }
    return true;
}

int main(int argc, char **argv) {
    if (argc < 5) return fprintf(stderr, "usage: forced_tool FILE THREADS greedy|force ...\n"), 2;
    bool answers = argv[3][0] == 'g';
    u32 count = (u32)atoi(argv[4]);
    ModelOptions options = {.m_max = answers ? 1 : count};
    DeviceOptions device = {.threads = atoi(argv[2])};
    CompileOptions compile = {0};
    Source src;
    Err err = {0};
    Model *m = model_new(NULL, NULL);
    EngineState s = ENGINE_FAILED;
    bool ok = source_file_open(m->arena, str_c(argv[1]), &src, &err) && model_read(m, &src, &err) &&
              model_graph(m, &options, &err) && model_device(m, S("cpu"), &device, &err) &&
              model_compile(m, &compile, &err) && model_start(m, &err);
    while (ok && (s = model_load_step(m, &err)) != ENGINE_DONE && s != ENGINE_FAILED) continue;
    ok = ok && s == ENGINE_DONE &&
         (answers ? greedy(m, argv + 5, argc - 5, count, &err) : force(m, count, &err));
    if (!ok) failed(&err);
    model_free(m);
    return ok ? 0 : 1;
}
