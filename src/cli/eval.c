// cli/eval.c: `hob eval`: what the model thinks of given tokens.
#include "cli/cli.h"

#include <math.h>

static void print_json(Buf *b, const i32 *top, const double *lp, size_t n, double mean) {
    buf_add(b, S("{\"top\": ["));
    for (size_t i = 0; i < n; i++) buf_fmt(b, "%s%d", i ? ", " : "", top[i]);
    buf_add(b, S("], \"logprob\": ["));
    for (size_t i = 0; i < n; i++) buf_fmt(b, "%s%g", i ? ", " : "", lp[i]);
    buf_fmt(b, "], \"mean\": %g}\n", mean);
}

// The engine checks too, but does not know where the ids come from.
bool eval_ids_check(const TokenIds *ids, u32 vocab, Err *err) {
    if (ids->n < 2)
        return err_set(err, ERR_ENGINE_PROMPT,
                       "there are %U tokens; an evaluation needs at least 2", (u64)ids->n);
    for (size_t i = 0; i < ids->n && vocab > 0; i++)
        if ((u32)ids->at[i] >= vocab)
            return err_set(
                err, ERR_ENGINE_TOKEN,
                "token %U of the list is %d; this model's ids end at %u; make a list with "
                "`hob tokenize -m FILE --ids`",
                (u64)i + 1, ids->at[i], vocab - 1);
    return true;
}

// The text in windows of the context; each takes the last token of the one before as its first, so
// that every token but the text's first is predicted once.
static bool perplexity(hob_model *m, Arena *a, Str path, i64 rows, bool json, Err *err,
                       hob_error *error) {
    Model *in = hob_model_inside(m);
    TokenIds ids = {0};
    if (!tokens_read(a, path, in, &ids, err) || !eval_ids_check(&ids, in->program->vocab, err))
        return err_file(err, path);
    size_t ctx = in->program->ctx, windows = 0, done = 0;
    i32 *top = arena_try(a, ctx, sizeof *top);
    double *lp = arena_try(a, ctx, sizeof *lp), sum = 0;
    if (!top || !lp) return err_set(err, ERR_OUT_OF_MEMORY, "no memory for %U tokens", (u64)ctx);
    for (; done + 1 < ids.n; windows++) {
        size_t n = MIN2(ctx, ids.n - 1 - done);
        if (hob_eval(m, ids.at + done, n + 1, (int)rows, top, lp, error) != 0) return false;
        for (size_t i = 0; i < n; i++) sum -= lp[i];
        done += n;
        if (err_is_terminal()) fprintf(stderr, "\revaluating %zu of %zu tokens ", done, ids.n - 1);
    }
    if (err_is_terminal()) fprintf(stderr, "\r%60s\r", "");
    double nats = sum / (double)done;
    Buf b = {.arena = a};
    if (json)
        buf_fmt(&b, "{\"perplexity\": %g, \"tokens\": %U, \"nats\": %g, \"windows\": %U}\n",
                exp(nats), (u64)done, nats, (u64)windows);
    else
        buf_fmt(&b, "perplexity %.4f: %U tokens, %.6f nats each, %U windows of at most %U\n",
                exp(nats), (u64)done, nats, (u64)windows, (u64)ctx);
    out_str(buf_str(&b));
    return true;
}

// The exit status of a figure that was printed, or an error that one of both sides gave.
static int ended(bool ok, const Err *err, const hob_error *error) {
    if (!ok) return err->id ? report(err) : report_hob(error);
    return out_finish() ? EXIT_DONE : EXIT_FAILED;
}

static int run(const Command *c, int argc, char **argv) {
    OpenArgs o = {0};
    Str tokens = {0}, text_file = {0};
    bool json = false, agreement = false;
    i64 rows = 32;
    const Opt opts[] = {
        OPEN_OPTS(o),
        {"--tokens", NULL, OPT_STR, &tokens, 0, 0, "F",
         "a file with a JSON array of token ids; - reads standard input"},
        {"--perplexity", NULL, OPT_STR, &text_file, 0, 0, "F",
         "a text (or JSON array of token ids): how well it is predicted, as one figure"},
        {"--agreement", NULL, OPT_FLAG, &agreement, 0, 0, NULL,
         "how far the fast mode is from the reference mode on the tokens"},
        {"--rows", NULL, OPT_INT, &rows, 1, 256, "N",
         "tokens fed at once: 1 uses the kernels of decode [32]"},
        {"--json", NULL, OPT_FLAG, &json, 0, 0, NULL, "one JSON object"},
    };
    Parsed p = options_parse(c, opts, COUNT_OF(opts), argc, argv, NULL, 0, NULL);
    if (p != PARSED_OK) return p == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
    if (!tokens.ptr == !text_file.ptr)
        return usage_error(c, "name a file of token ids, --tokens F, or a text, --perplexity F");
    if (agreement && (text_file.ptr || o.mode.len))
        return usage_error(c,
                           "--agreement runs both modes over --tokens F: give neither --mode nor "
                           "--perplexity");
    if (agreement && str_eq(tokens, S("-")))
        return usage_error(c, "--agreement reads the tokens twice: give a file, not -");
    if (!open_check(c, &o, tokens.ptr ? tokens : text_file)) return EXIT_USAGE;

    Arena *a = arena_new(NULL);
    Err err = {0};
    hob_error error = {0};
    Str text;
    TokenIds ids = {0};
    int status = EXIT_FAILED;
    hob_model *m = NULL;
    if (agreement) {
        status = ended(eval_agreement(&o, tokens, rows, json, &err, &error), &err, &error);
        goto done;
    }
    if (text_file.ptr) {
        o.rows = rows;
        m = open_model(&o, &error);
        status = ended(m && perplexity(m, a, text_file, rows, json, &err, &error), &err, &error);
        goto done;
    }
    if (!text_read(a, tokens, &text, &err) || !ids_read(a, text, &ids, &err) ||
        !eval_ids_check(&ids, 0, &err))
        goto bad_list;
    o.rows = rows;
    if (o.ctx == 0 && ids.n - 1 > 2048) o.ctx = (i64)ids.n - 1;
    size_t n = ids.n - 1;
    i32 *top = arena_try(a, n, sizeof *top);
    double *lp = arena_try(a, n, sizeof *lp), sum = 0;
    if (!top || !lp) {
        err_set(&err, ERR_OUT_OF_MEMORY, "%U tokens; give fewer", (u64)n);
        goto bad_list;
    }
    if (!(m = open_model(&o, &error))) {
        report_hob(&error);
        goto done;
    }
    if (!eval_ids_check(&ids, hob_model_inside(m)->program->vocab, &err)) goto bad_list;
    if (hob_eval(m, ids.at, ids.n, (int)rows, top, lp, &error) != 0) {
        report_hob(&error);
        goto done;
    }
    for (size_t i = 0; i < n; i++) sum += lp[i];
    Buf b = {.arena = a};
    if (json) {
        print_json(&b, top, lp, n, sum / (double)n);
    } else {
        buf_add(&b, S("position    token      top  logprob\n"));
        for (size_t i = 0; i < n; i++)
            buf_fmt(&b, "%8U %8d %8d  %.5f\n", (u64)i + 1, ids.at[i + 1], top[i], lp[i]);
        buf_fmt(&b, "mean %.6f\n", sum / (double)n);
    }
    out_str(buf_str(&b));
    status = out_finish() ? EXIT_DONE : EXIT_FAILED;
    goto done;
bad_list:
    err_file(&err, tokens);
    report(&err);
done:
    hob_close(m);
    arena_free(a);
    return status;
}

const Command cmd_eval = {
    "eval",
    "-m FILE --tokens F [--agreement] | --perplexity F [--json]",
    "what a model thinks of given tokens",
    "Forced decoding: the tokens are fed one after another, whatever the model would have chosen. "
    "After each but\n"
    "the last: the id with the largest logit, and the natural logarithm of the probability that "
    "the model gives the\n"
    "token that really follows. This is how two devices, or hob and another program, are compared "
    "end to end.\n\n"
    "--perplexity splits a text into tokens, feeds it in windows of the context (--ctx), and gives "
    "the exponential\n"
    "of the mean of -logprob: the smaller, the better it is predicted. Compare it between "
    "encodings of one model.\n\n"
    "--agreement runs the tokens in the reference mode and in the fast mode (--mode) and tells how "
    "far apart their\n"
    "distributions are: the mean of sum p ln(p / q), p the reference's, and how often the first "
    "choice differs, in all\n"
    "and where the reference's margin over the second is more than 0.25.\n\n"
    "--json: {\"top\": [...], \"logprob\": [...], \"mean\": the mean of logprob}; with "
    "--perplexity\n"
    "{\"perplexity\", \"tokens\", \"nats\", \"windows\"}; with --agreement\n"
    "{\"tokens\", \"mean_kl\", \"largest_kl\", \"flips\", \"widest_flip\", \"clear\", "
    "\"clear_flips\"}.\n\n"
    "    hob tokenize -m model.gguf --ids - < text.txt > ids.json\n"
    "    hob eval -m model.gguf --tokens ids.json --json\n"
    "    hob eval -m model.gguf --tokens ids.json --agreement\n"
    "    hob eval -m model.gguf --perplexity text.txt\n",
    run,
};
