// cli/bench.c: `hob bench`: how fast this model runs here.
//
// Token ids are fed as they come and nothing ends the answer, so that every run does the same work
// whatever the model says. A short answer before the first run has the kernels checked. The best of
// the runs counts: the others measure the machine's other work.
#include "cli/cli.h"

enum { WARM_PROMPT = 8, WARM_ANSWER = 2 };

static bool one(Engine *e, const i32 *prompt, size_t n, i64 answer, hob_stats *out, Err *err) {
    EngineRequest r = {.prompt = prompt, .n = n, .max_tokens = answer};
    engine_forget(e);
    if (!engine_start(e, &r, err)) return false;
    for (EngineState s; (s = engine_step(e, err)) != ENGINE_DONE;) {
        if (s == ENGINE_FAILED) return false;
        if (s == ENGINE_WAITING) clock_nap();
    }
    const EngineStats *st = engine_stats(e);
    Timing t = timing_of(st);
    *out = (hob_stats){.prompt_tokens = (int)st->prompt_tokens,
                       .answer_tokens = (int)st->answer_tokens,
                       .ttft_ms = t.ttft_ms,
                       .prefill_tps = t.prefill_tps,
                       .decode_tps = t.decode_tps};
    return true;
}

// ---- where the time goes ------------------------------------------------------------------------

// Hands over those steps of a regime that run this kernel (negative: for each step of kernel
// ~kernel nothing, which costs a submit), waits for all; milliseconds, negative: it failed.
static double steps_ms(Device *d, const Program *p, Submit s, int kernel, Err *err) {
    const Regime *r = &p->regimes[s.regime];
    bool nothing = kernel < 0;
    double start = clock_ms();
    for (int i = 0; i < r->nsteps; i++) {
        if (r->steps[i].kernel != (u32)(nothing ? ~kernel : kernel)) continue;
        s.first = i;
        s.last = i + !nothing;
        if (!device_submit(d, &s, err)) return -1;
    }
    while (device_outstanding(d)) {
        PollResult a = device_poll(d);
        if (a.status == POLL_NOTHING) clock_nap();
        if (a.status > POLL_OK)
            return err_set(err, ERR_DEVICE_FAILED, "a kernel could not be timed"), -1;
    }
    return clock_ms() - start;
}

// Each kernel's steps alone, one after the other through the layers, so that weights are read from
// where they lie. What is written into the cache on the way is nobody's. Bytes are those of the
// plan: a full context's, for attention.
static bool time_kernels(Model *in, int regime, i64 context, i64 runs, Err *err) {
    const Program *p = in->program;
    const Regime *r = &p->regimes[regime];
    bool prefill = regime != REGIME_ROW;
    Submit s = {.regime = regime, .n = (u32)MIN2(context, (i64)r->n), .m = 1, .read_ring = -1};
    s.t = (u32)MAX2((i64)s.n, MIN2(context, (i64)p->ctx));
    if (!r->nsteps) return true;
    i32 *params = NEW_N(in->arena, i32, program_param_words(p));
    s.params = params;
    params[PARAM_N] = (i32)s.n;
    params[PARAM_M] = 1;
    params[PARAM_T] = (i32)s.t;
    params[PARAM_INV_TEMP] = 65536;
    for (u32 i = 0; i < s.n; i++) {
        i32 *row = params + PARAM_ROWS + ROW_WORDS * i, pos = (i32)(s.t - s.n + i);
        row[ROW_POS] = pos;
        row[ROW_RING] = pos & (TOKEN_RING - 1);
    }
    params[PARAM_ROWS + ROW_INDEX] = (i32)s.n - 1;
    params[PARAM_ROWS + ROW_NEXT] = (i32)s.t;
    if (!device_bind(in->device, engine_bind(in->engine), &s.bound, err)) return false;
    printf("\n%u rows at a context of %u: kernel, steps, ms, %s\n", s.n, s.t,
           prefill ? "GFLOP/s" : "GB/s");
    bool ok = true;
    double share = (double)s.n / r->n; // the plan's figures are those of all the rows
    for (int k = 0; k < p->nkernels && ok; k++) {
        double best = 0, empty = 0, bytes = 0, flops = 0;
        int steps = 0;
        for (int i = 0; i < r->nsteps; i++)
            if (r->steps[i].kernel == (u32)k) {
                bytes += (double)r->steps[i].bytes;
                flops += (double)r->steps[i].flops;
                steps++;
            }
        for (i64 i = 0; i <= runs && steps && ok; i++) { // the first makes pipelines
            double ms = steps_ms(in->device, p, s, k, err);
            double none = steps_ms(in->device, p, s, ~k, err);
            ok = ms >= 0 && none >= 0;
            if (i == 1 || (i && ms < best)) best = ms;
            if (i == 1 || (i && none < empty)) empty = none;
        }
        best = MAX2(best - empty, 0);
        if (steps && ok)
            printf("%-52.*s %4d %9.3f %8.2f\n", STR_ARG(p->kernels[k].name), steps, best,
                   best < 1e-3 ? 0 : (prefill ? flops * share : bytes) / best / 1e6);
    }
    device_unbind(in->device, s.bound);
    return ok;
}

static int run(const Command *c, int argc, char **argv) {
    OpenArgs o = {0};
    i64 prompt = 256, answer = 64, runs = 3;
    bool json = false, kernels = false;
    const Opt opts[] = {
        OPEN_OPTS(o),
        {"--prompt", "-p", OPT_INT, &prompt, 1, 1 << 20, "N", "tokens of the prompt [256]"},
        {"--tokens", "-n", OPT_INT, &answer, 2, 1 << 20, "N", "tokens of the answer [64]"},
        {"--runs", NULL, OPT_INT, &runs, 1, 1000, "N", "runs, of which the best counts [3]"},
        {"--json", NULL, OPT_FLAG, &json, 0, 0, NULL,
         "one JSON object, with the keys of `hob run --json`"},
        {"--kernels", NULL, OPT_FLAG, &kernels, 0, 0, NULL,
         "then the time of each kernel, alone, in decode and in prefill"},
    };
    Parsed p = options_parse(c, opts, COUNT_OF(opts), argc, argv, NULL, 0, NULL);
    if (p != PARSED_OK) return p == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
    if (!open_check(c, &o, S(""))) return EXIT_USAGE;
    if (json && kernels) return usage_error(c, "--kernels has no JSON form");
    hob_error error = {0};
    Err err = {0};
    hob_model *m = open_model(&o, &error);
    if (!m) return report_hob(&error);
    Model *in = hob_model_inside(m);
    Arena *a = arena_new(NULL);
    i32 *ids = NEW_N(a, i32, prompt);
    u32 x = 1;
    for (i64 i = 0; i < prompt; i++) {
        x = x * 1664525 + 1013904223;
        ids[i] = (i32)((x >> 8) % in->program->vocab);
    }
    hob_stats best = {0};
    bool ok = one(in->engine, ids, (size_t)MIN2(prompt, WARM_PROMPT), WARM_ANSWER, &best, &err);
    best = (hob_stats){0};
    for (i64 i = 0; i < runs && ok; i++) {
        hob_stats now = {0};
        ok = one(in->engine, ids, (size_t)prompt, answer, &now, &err);
        if (ok) {
            now.load_ms = in->load_ms;
            now.prefill_tps = MAX2(now.prefill_tps, best.prefill_tps);
            now.decode_tps = MAX2(now.decode_tps, best.decode_tps);
            if (i && best.ttft_ms < now.ttft_ms) now.ttft_ms = best.ttft_ms;
            best = now;
        }
        if (err_is_terminal() && ok && !json)
            fprintf(stderr, "run %d of %d: prefill %.1f, decode %.1f tokens/s\n", (int)i + 1,
                    (int)runs, now.prefill_tps, now.decode_tps);
    }
    int status = EXIT_FAILED;
    if (ok) {
        print_figures(stdout, m, &best, -1, S(""), json);
        ok = !kernels || (time_kernels(in, REGIME_ROW, prompt, runs, &err) &&
                          time_kernels(in, REGIME_MANY, prompt, runs, &err));
    }
    if (ok) {
        status = out_finish() ? EXIT_DONE : EXIT_FAILED;
    } else {
        report(&err);
    }
    arena_free(a);
    hob_close(m);
    return status;
}

const Command cmd_bench = {
    "bench",
    "-m FILE [--json]",
    "how fast a model runs here",
    "Feeds a prompt of pseudo-random tokens, then decodes; nothing ends the answer early. Prints "
    "the best of the runs:\n"
    "time to the first token, and tokens a second in prefill and in decode.\n\n"
    "    hob bench -m model.gguf --threads 1\n"
    "    hob bench -m model.gguf --json\n"
    "    hob bench -m model.gguf --device webgpu --kernels\n",
    run,
};
