// cli/bench.c: `hob bench`: how fast this model runs here.
//
// Token ids are fed as they come and nothing ends the answer, so that every run does the same work
// whatever the model says. A short answer before the first run has the kernels checked. The best of
// the runs counts: the others measure the machine's other work.
#include "cli/probe.h"

enum { WARM_PROMPT = 8, WARM_ANSWER = 2 };

// *submits: those of the tokens after the first.
static bool one(Engine *e, const i32 *prompt, size_t n, i64 answer, hob_stats *out, u64 *submits,
                Err *err) {
    const Device *d = engine_device(e);
    bool first = true;
    EngineRequest r = {.prompt = prompt, .n = n, .max_tokens = answer};
    engine_forget(e);
    if (!engine_start(e, &r, err)) return false;
    for (EngineState s; (s = engine_step(e, err)) != ENGINE_DONE;) {
        if (s == ENGINE_FAILED) return false;
        if (s == ENGINE_WAITING) clock_nap();
        // what is out now was handed over for the tokens that follow
        if (s == ENGINE_TOKEN && first) *submits = d->submits - (u64)device_outstanding(d);
        if (s == ENGINE_TOKEN) first = false;
    }
    *submits = d->submits - *submits;
    const EngineStats *st = engine_stats(e);
    Timing t = timing_of(st);
    *out = (hob_stats){.prompt_tokens = (int)st->prompt_tokens,
                       .answer_tokens = (int)st->answer_tokens,
                       .ttft_ms = t.ttft_ms,
                       .prefill_tps = t.prefill_tps,
                       .decode_tps = t.decode_tps};
    return true;
}

static int run(const Command *c, int argc, char **argv) {
    OpenArgs o = {0};
    i64 prompt = 256, answer = 64, runs = 3;
    bool json = false, kernels = false, speculate = false;
    Str trace = {0};
    const Opt opts[] = {
        OPEN_OPTS(o),
        {"--prompt", "-p", OPT_INT, &prompt, 1, 1 << 20, "N", "tokens of the prompt [256]"},
        {"--tokens", "-n", OPT_INT, &answer, 2, 1 << 20, "N", "tokens of the answer [64]"},
        {"--runs", NULL, OPT_INT, &runs, 1, 1000, "N", "runs, of which the best counts [3]"},
        {"--json", NULL, OPT_FLAG, &json, 0, 0, NULL,
         "one JSON object, with the keys of `hob run --json`"},
        {"--kernels", NULL, OPT_FLAG, &kernels, 0, 0, NULL,
         "then the time of each kernel, alone, in decode and in prefill"},
        {"--trace", NULL, OPT_STR, &trace, 0, 0, "F",
         "then each step's time: a Chrome trace to this file, and a table"},
        {"--speculate", NULL, OPT_FLAG, &speculate, 0, 0, NULL,
         "instead: what tokens tried in advance gain where a text repeats, and cost elsewhere"},
    };
    Parsed p = options_parse(c, opts, COUNT_OF(opts), argc, argv, NULL, 0, NULL);
    if (p != PARSED_OK) return p == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
    if (speculate) o.speculate = S("auto");
    if (!open_check(c, &o, S(""))) return EXIT_USAGE;
    if (speculate && (kernels || trace.ptr))
        return usage_error(c,
                           "--speculate times other answers: give it without --kernels, --trace");
    if (trace.ptr && !trace.len) return usage_error(c, "name the file of the trace: --trace F");
    if (json && kernels) return usage_error(c, "--kernels has no JSON form");
    hob_error error = {0};
    Err err = {0};
    Arena *a = arena_new(NULL);
    const Str read[] = {o.model, o.profile, o.graph, o.schedule, o.tuned};
    if (trace.len && !output_check(a, trace, false, read, COUNT_OF(read), &err)) {
        arena_free(a);
        return report(&err);
    }
    hob_model *m = open_model(&o, &error);
    if (!m) {
        arena_free(a);
        return report_hob(&error);
    }
    Model *in = hob_model_inside(m);
    i32 *ids = NEW_N(a, i32, prompt);
    u32 x = 1;
    for (i64 i = 0; i < prompt; i++) {
        x = x * 1664525 + 1013904223;
        ids[i] = (i32)((x >> 8) % in->program->vocab);
    }
    hob_stats best = {0};
    if (speculate) {
        bool done = bench_speculate(in, answer, runs, json, &err);
        int code = !done ? report(&err) : out_finish() ? EXIT_DONE : EXIT_FAILED;
        arena_free(a);
        hob_close(m);
        return code;
    }
    u64 submits = 0;
    bool ok =
        one(in->engine, ids, (size_t)MIN2(prompt, WARM_PROMPT), WARM_ANSWER, &best, &submits, &err);
    best = (hob_stats){0};
    for (i64 i = 0; i < runs && ok; i++) {
        hob_stats now = {0};
        ok = one(in->engine, ids, (size_t)prompt, answer, &now, &submits, &err);
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
        Probe probe;
        bool more = kernels || trace.len;
        ok = !more || probe_open(&probe, in, a, &err);
        if (ok && kernels) ok = probe_kernels(&probe, (u32)prompt, runs, &err);
        if (ok && trace.len) {
            TraceAsk ask = {.path = trace,
                            .model = o.model,
                            .prompt = (u32)prompt,
                            .submits = (double)submits / MAX2(best.answer_tokens - 1, 1),
                            .runs = &best,
                            .table = !json};
            ok = trace_write(&probe, &ask, &err);
        }
        if (more) probe_close(&probe);
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
    "--speculate times two other answers, one by one and with drafts where they pay: one that "
    "copies its prompt, and one in\n"
    "which nothing repeats.\n\n"
    "    hob bench -m model.gguf --threads 1\n"
    "    hob bench -m model.gguf --json\n"
    "    hob bench -m model.gguf --device webgpu --kernels\n"
    "    hob bench -m model.gguf --trace steps.json\n\n"
    "A trace opens in chrome://tracing and in Perfetto; docs/speed.md reads one. Its table holds "
    "each kernel's steps against the speed at which this machine reads memory, measured in the "
    "same run.\n",
    run,
};
