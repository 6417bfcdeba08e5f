// tests/model/speculate_tool.c: answers of a model with drafts and without, to prompts that repeat
// themselves: greedy and drawn, cut short and gone on with.
//
// usage: speculate_tool FILE.gguf DEVICE THREADS TALKS
// One object: how many talks of two answers there were, the tokens of drafts and those that were
// right, and how many talks differed. A drawn answer may: where the random number falls on the
// border of two tokens, the last digits of the logits decide.
#include <stdio.h>
#include <stdlib.h>

#include "api/api.h"

enum { PROMPT_MOST = 48, ANSWER_MOST = 40 };

typedef struct Answer {
    i32 at[ANSWER_MOST];
    int n;
} Answer;

static u32 rng;
static u32 draw(u32 below) {
    rng = rng * 1664525 + 1013904223;
    return (rng >> 8) % below;
}

static bool answer(Engine *e, const i32 *prompt, int n, int most, SampleOptions o, Answer *out,
                   EngineStats *sum, Err *err) {
    EngineRequest r = {.prompt = prompt, .n = (size_t)n, .max_tokens = ANSWER_MOST, .sample = o};
    if (!engine_start(e, &r, err)) return false;
    out->n = 0;
    while (out->n < most) {
        EngineState s = engine_step(e, err);
        if (s == ENGINE_FAILED) return false;
        if (s == ENGINE_DONE) break;
        if (s == ENGINE_WAITING) clock_nap();
        if (s == ENGINE_TOKEN) out->at[out->n++] = engine_token(e);
    }
    engine_stop(e, FINISH_CANCEL);
    sum->drafted += engine_stats(e)->drafted;
    sum->accepted += engine_stats(e)->accepted;
    return true;
}

// The same prompts to the same engine, once without drafts and once with; what the cache holds of
// one answer is the next one's beginning.
static bool talk(Model *m, u32 seed, int drafts, Answer out[2], EngineStats *sum, Err *err) {
    static const double temperatures[] = {0, 0.6, 1.2};
    i32 prompt[PROMPT_MOST + ANSWER_MOST + 8];
    rng = seed;
    int n = 0, period = 2 + (int)draw(9);
    while (n < period) prompt[n++] = (i32)draw(m->program->vocab);
    while (n < PROMPT_MOST && draw(12)) prompt[n] = prompt[n - period], n++;
    SampleOptions o = {temperatures[seed % 3], (i32)draw(2) * 8, seed};
    int most = 1 + (int)draw(ANSWER_MOST);
    engine_forget(m->engine);
    engine_speculate(m->engine, drafts);
    if (!answer(m->engine, prompt, n, most, o, &out[0], sum, err)) return false;
    for (int i = 0, k = (int)draw((u32)out[0].n + 1); i < k; i++) prompt[n++] = out[0].at[i];
    prompt[n++] = (i32)draw(m->program->vocab);
    return answer(m->engine, prompt, n, ANSWER_MOST, o, &out[1], sum, err);
}

int main(int argc, char **argv) {
    if (argc != 5) return fprintf(stderr, "usage: speculate_tool FILE DEVICE THREADS TALKS\n"), 2;
    ModelOptions options = {0};
    DeviceOptions device = {.threads = atoi(argv[3])};
    CompileOptions compile = {.few_m = SPECULATE_MOST + 1};
    Source src;
    Err err = {0};
    Model *m = model_new(NULL, NULL);
    EngineState s = ENGINE_FAILED;
    bool ok = source_file_open(m->arena, str_c(argv[1]), &src, &err) && model_read(m, &src, &err) &&
              model_graph(m, &options, &err) && model_device(m, str_c(argv[2]), &device, &err) &&
              model_compile(m, &compile, &err) && model_start(m, &err);
    while (ok && (s = model_load_step(m, &err)) != ENGINE_DONE && s != ENGINE_FAILED) continue;
    ok = ok && s == ENGINE_DONE;
    int count = atoi(argv[4]), greedy = 0, drawn = 0;
    EngineStats none = {0}, sum = {0};
    for (int i = 0; ok && i < count; i++) {
        Answer plain[2], tried[2];
        ok = talk(m, (u32)i, 0, plain, &none, &err) &&
             talk(m, (u32)i, 1 + i % SPECULATE_MOST, tried, &sum, &err);
        bool same = ok && plain[0].n == tried[0].n && plain[1].n == tried[1].n;
        for (int k = 0; same && k < 2; k++)
            same = memcmp(plain[k].at, tried[k].at, (size_t)plain[k].n * sizeof(i32)) == 0;
        if (!same) *(i % 3 ? &drawn : &greedy) += 1;
    }
    if (ok) {
        printf("{\"talks\": %d, \"drafted\": %u, \"accepted\": %u, \"greedy_differ\": %d, "
               "\"drawn_differ\": %d}\n",
               count, sum.drafted, sum.accepted, greedy, drawn);
    } else {
        Arena *a = arena_new(NULL);
        Buf b = {.arena = a};
        err_print(&err, &b);
        fprintf(stderr, "%.*s\n", STR_ARG(buf_str(&b)));
        arena_free(a);
    }
    model_free(m);
    return ok ? 0 : 1;
}
