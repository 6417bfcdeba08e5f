// cli/eval_modes.c: `hob eval --agreement`: how far a mode's logits are from the reference mode's.
//
// The same tokens run in both modes, one after the other. The first run's logits wait in a
// temporary file: for a long text they are more than many a machine's memory. What is reported
// follows from the two distributions p (reference) and q at each position: the Kullback-Leibler
// divergence sum of p ln(p / q) in nats, and whether both have the same first choice.
#include "cli/cli.h"

#include <math.h>

#define CLEAR 0.25 // a margin in logits that rounding does not cross

typedef struct Agreement {
    FILE *kept; // the reference's logits, a row a position
    float *row; // one of them
    Arena *arena;
    bool reference, failed;
    size_t n, flips, clear, clear_flips;
    double kl, worst_kl, widest_flip;
} Agreement;

static double log_sum(const float *x, u32 n) {
    double most = x[0], sum = 0;
    for (u32 v = 1; v < n; v++) most = fmax(most, x[v]);
    for (u32 v = 0; v < n; v++) sum += exp((double)x[v] - most);
    return most + log(sum);
}

static void compare_rows(Agreement *g, const float *x, u32 vocab) {
    double zp = log_sum(g->row, vocab), zq = log_sum(x, vocab), kl = 0;
    for (u32 v = 0; v < vocab; v++) {
        double p = (double)g->row[v] - zp, q = (double)x[v] - zq;
        kl += exp(p) * (p - q);
    }
    g->n++;
    g->kl += (kl - g->kl) / (double)g->n;
    g->worst_kl = fmax(g->worst_kl, kl);
}

static void compare_choices(Agreement *g, const EvalResult *p, const EvalResult *q) {
    for (size_t i = 0; i < p->n; i++) {
        bool clear = p->margin[i] > CLEAR;
        g->clear += clear;
        if (p->top[i] == q->top[i]) continue;
        g->flips++;
        g->clear_flips += clear;
        g->widest_flip = fmax(g->widest_flip, p->margin[i]);
    }
}

static void see_row(void *user, size_t pos, const float *x, u32 vocab) {
    (void)pos; // rows come in order
    Agreement *g = user;
    if (g->failed) return;
    if (g->reference) {
        g->failed = fwrite(x, sizeof *x, vocab, g->kept) != vocab;
    } else {
        g->failed = fread(g->row, sizeof *x, vocab, g->kept) != vocab;
        if (!g->failed) compare_rows(g, x, vocab);
    }
}

static bool one_mode(OpenArgs *o, const char *mode, Str path, i64 rows, Agreement *g, EvalResult *r,
                     Err *err, hob_error *error) {
    Arena *a = g->arena;
    TokenIds ids = {0};
    o->mode = str_c(mode);
    o->rows = rows;
    hob_model *h = open_model(o, error);
    Model *m = h ? hob_model_inside(h) : NULL;
    bool ok =
        m && tokens_read(a, path, m, &ids, err) && eval_ids_check(&ids, m->program->vocab, err);
    if (m && !ok) (void)err_file(err, path);
    if (ok && !g->row) {
        g->row = arena_try(a, m->program->vocab, sizeof *g->row);
        g->failed = !g->row;
    }
    *r = (EvalResult){.row = see_row, .user = g};
    ok = ok && engine_eval(m->engine, a, ids.at, ids.n, (u32)rows, r, err);
    if (ok && g->failed)
        ok = err_set(err, ERR_IO,
                     "the logits cannot be kept in a temporary file; make room for "
                     "%U bytes",
                     (u64)ids.n * m->program->vocab * sizeof(float));
    hob_close(h);
    return ok;
}

bool eval_agreement(OpenArgs *o, Str path, i64 rows, bool json, Err *err, hob_error *error) {
    Agreement g = {.kept = tmpfile(), .reference = true};
    if (!g.kept) return err_set(err, ERR_IO, "no temporary file can be made for the logits");
    g.arena = arena_new(NULL);
    Buf b = {.arena = g.arena};
    EvalResult reference, fast;
    bool ok = one_mode(o, "reference", path, rows, &g, &reference, err, error);
    rewind(g.kept);
    g.reference = false;
    ok = ok && one_mode(o, "fast", path, rows, &g, &fast, err, error);
    if (ok) compare_choices(&g, &reference, &fast);
    if (ok && json)
        buf_fmt(&b,
                "{\"tokens\": %U, \"mean_kl\": %g, \"largest_kl\": %g, \"flips\": %U, "
                "\"widest_flip\": %g, \"clear\": %U, \"clear_flips\": %U}\n",
                (u64)g.n, g.kl, g.worst_kl, (u64)g.flips, g.widest_flip, (u64)g.clear,
                (u64)g.clear_flips);
    else if (ok)
        buf_fmt(&b,
                "%U tokens, fast against reference: mean KL %.6f nats (largest %.3f); first choice "
                "differs at %U,\nthere by a margin of at most %.3f; at the %U with a margin over "
                "%.2f it differs at %U\n",
                (u64)g.n, g.kl, g.worst_kl, (u64)g.flips, g.widest_flip, (u64)g.clear, CLEAR,
                (u64)g.clear_flips);
    out_str(buf_str(&b));
    fclose(g.kept);
    arena_free(g.arena);
    return ok;
}
