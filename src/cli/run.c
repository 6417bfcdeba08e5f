// cli/run.c: `hob run`: one prompt, one answer.
#include "cli/cli.h"

typedef struct RunArgs {
    OpenArgs open;
    Str prompt;
    i64 n, top_k, seed;
    double temp;
    bool raw, json, stats;
} RunArgs;

static int begin(hob_session *s, Arena *a, const RunArgs *o, Str text, hob_error *error) {
    if (o->raw) {
        hob_sample sample = {(int)o->n, o->temp, (int)o->top_k, seed_sent(o->seed)};
        return hob_complete(s, text.ptr, text.len, &sample, error);
    }
    Buf r = {.arena = a};
    buf_add(&r, S("{\"messages\":[{\"role\":\"user\",\"content\":"));
    json_str(&r, text);
    buf_add(&r, S("}]"));
    request_end(&r, o->temp, o->top_k, o->seed, o->n);
    return hob_chat(s, r.ptr, error);
}

static void print_checks(hob_model *m) {
    const Checker *c = hob_model_inside(m)->checker;
    if (!c) return; // the device computes nothing
    const CheckStats *k = checker_stats(c);
    fprintf(
        stderr,
        "%u kernels checked at %u outputs against their formulas in %.0f ms: at most %.1e off\n",
        k->kernels, k->outputs, k->ms, k->worst);
}

static int answer(hob_session *s, Arena *a, const RunArgs *o, hob_model *m) {
    Buf whole = {.arena = a};
    bool newline = true, cut = false;
    for (hob_event ev; hob_next(s, &ev);) {
        Str text = {ev.text, ev.text_len};
        if (o->json) {
            buf_add(&whole, text);
        } else if (text.len) {
            out_str(text);
            if (fflush(stdout) != 0) break;
            newline = text.ptr[text.len - 1] == '\n';
        }
        cut |= ev.done && ev.finish_reason && strcmp(ev.finish_reason, "cancel") == 0;
    }
    if (!o->json && !newline) out_str(S("\n"));
    if (hob_session_error(s)->id) return report_hob(hob_session_error(s));
    hob_stats stats;
    hob_session_stats(s, &stats);
    if (o->json)
        print_figures(stdout, m, &stats, o->seed, whole.ptr ? buf_str(&whole) : S(""), true);
    bool written = out_finish();
    if (o->stats && !o->json) {
        print_figures(stderr, m, &stats, o->seed, S(""), false);
        print_checks(m);
    }
    return written && !cut ? EXIT_DONE : EXIT_FAILED;
}

static int run(const Command *c, int argc, char **argv) {
    RunArgs o = {.open = {.speculate = S("auto")}, .n = 512, .seed = -1};
    const Opt opts[] = {
        OPEN_OPTS(o.open),
        {"--prompt", "-p", OPT_STR, &o.prompt, 0, 0, "TEXT", "what to ask; - reads standard input"},
        {"--tokens", "-n", OPT_INT, &o.n, 0, 1 << 20, "N",
         "the most tokens of the answer; 0: until the context is full [512]"},
        {"--temp", NULL, OPT_NUM, &o.temp, 0, 2, "T",
         "temperature; 0, the default: always the likeliest token"},
        {"--top-k", NULL, OPT_INT, &o.top_k, 0, INT32_MAX, "K",
         "draw from the K likeliest tokens; 0, the default: from all"},
        {"--seed", NULL, OPT_INT, &o.seed, 0, 9007199254740992.0, "S",
         "the same seed draws the same answer; without one each run draws anew"},
        SPECULATE_OPT(o.open),
        {"--raw", NULL, OPT_FLAG, &o.raw, 0, 0, NULL,
         "go on from the text as it stands, without the chat template"},
        {"--json", NULL, OPT_FLAG, &o.json, 0, 0, NULL, "answer and figures as one JSON object"},
        {"--stats", NULL, OPT_FLAG, &o.stats, 0, 0, NULL, "figures on standard error at the end"},
    };
    Parsed p = options_parse(c, opts, COUNT_OF(opts), argc, argv, NULL, 0, NULL);
    if (p != PARSED_OK) return p == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
    if (!o.prompt.ptr) return usage_error(c, "give a prompt: -p TEXT, or -p - to read it");
    if (!open_check(c, &o.open, o.prompt)) return EXIT_USAGE;
    o.seed = seed_of(o.temp, o.seed);

    Arena *a = arena_new(NULL);
    Err err = {0};
    hob_error error = {0};
    Str text;
    int status = EXIT_FAILED;
    hob_model *m = NULL;
    hob_session *s = NULL;
    if (!prompt_text(a, o.prompt, &text, &err)) {
        report(&err);
    } else if (!(m = open_model(&o.open, &error)) || !(s = hob_session_new(m, &error)) ||
               begin(s, a, &o, text, &error) != 0) {
        report_hob(&error);
    } else {
        sigint_catch(s);
        status = answer(s, a, &o, m);
        sigint_catch(NULL);
    }
    hob_session_free(s);
    hob_close(m);
    arena_free(a);
    return status;
}

const Command cmd_run = {
    "run",
    "-m FILE -p TEXT [options]",
    "answer one prompt",
    "Compiles the model for this machine, asks it TEXT in the way its chat template says, and "
    "streams the answer to\n"
    "standard output; nothing else goes there, so the answer can be piped. The answer is the "
    "model's likeliest\n"
    "(greedy) unless --temp says otherwise; then each run draws an answer of its own, from a seed "
    "that --stats and\n"
    "--json tell, and the same --seed gives the same answer.\n\n"
    "--json prints one object instead: device, prompt_tokens, answer_tokens, answer, load_ms, "
    "ttft_ms (until the\n"
    "first token), prefill_tps and decode_tps (tokens a second), the seed where the answer was "
    "drawn, and drafted\n"
    "and accepted where tokens were tried in advance (--speculate).\n\n"
    "--graph and --schedule run edited dumps of `hob inspect --graph` and `--show-schedule`: the "
    "compiler can be\n"
    "worked on without being rebuilt.\n\n"
    "    hob run -m model.gguf -p \"Why is the sky blue?\"\n"
    "    git diff | hob run -m model.gguf -p - -n 80\n"
    "    hob run -m model.gguf --raw -p \"Once upon a time\" --temp 0.8 --top-k 40 --seed 7\n",
    run,
};
