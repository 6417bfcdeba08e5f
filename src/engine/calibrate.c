// engine/calibrate.c: what the columns of each matrix are multiplied with: the mean square of every
// matmul's input, over given tokens.
//
// The program runs as it is, but is stopped before each step that multiplies, where its input lies
// in memory whole (on a CPU no norm is fused into a product), and that is read back. Tokens are fed
// in chunks, a new conversation each time the context is full. Only for devices that make progress
// by themselves: this waits.
#include "engine/engine_int.h"

typedef struct Sum { // over rows, of a weight's input by column
    double *at;
    u64 rows;
} Sum;

typedef struct Calibrate {
    Engine *e;
    Sum *sum; // by weight of the program
    float *x; // a step's input, read back
    u64 room; // floats in x
    Err *err;
} Calibrate;

static bool wait_for(Engine *e, Ticket t, Err *err) {
    if (!t) return false;
    for (;;) {
        PollResult r = device_poll(e->d.device);
        if (r.status == POLL_NOTHING) continue;
        if (r.status != POLL_OK) return engine_poll_error(&r, err);
        if (r.ticket == t) return true;
    }
}

// The weight that a step multiplies with; -1: none, or its input is made in the step itself.
static int weight_of(const Program *p, const Step *s) {
    if (s->matrix < 0 || s->factor < 0) return -1;
    const Binding *b = &s->bind[s->matrix];
    for (int i = 0; i < p->nweights; i++)
        if (p->weights[i].buffer == b->buffer && p->weights[i].offset == b->offset) return i;
    return -1;
}

static bool add_input(Calibrate *c, const Binding *x, int weight, u32 rows) {
    Engine *e = c->e;
    const Weight *w = &e->p->weights[weight];
    u64 n = (u64)rows * w->cols;
    if (n > c->room || n * 4 > x->size)
        return err_set(c->err, ERR_ENGINE_WEIGHT,
                       "a product's input is not where it should be; use the profile cpu");
    if (!wait_for(
            e,
            device_buffer_read(e->d.device, e->buffers[x->buffer], x->offset, c->x, n * 4, c->err),
            c->err))
        return false;
    Sum *sum = &c->sum[weight];
    for (u64 i = 0; i < n; i++) sum->at[i % w->cols] += (double)c->x[i] * (double)c->x[i];
    sum->rows += rows;
    return true;
}

static bool run_chunk(Calibrate *c, u32 pos, u32 n) {
    Engine *e = c->e;
    u32 m = MIN2(n, e->p->m_max);
    const Regime *r = &e->p->regimes[engine_regime(e, n)];
    if (!engine_ring_write(e, pos, n, c->err)) return false;
    for (int first = 0, i = 0; i <= r->greedy; i++) {
        int w = i < r->greedy ? weight_of(e->p, &r->steps[i]) : -1;
        if (w < 0 && i < r->greedy) continue;
        Submit s;
        engine_params(e, pos, n, m, &s);
        s.first = first;
        s.last = i;
        first = i;
        if (s.first < s.last && !wait_for(e, device_submit(e->d.device, &s, c->err), c->err))
            return false;
        if (w >= 0 && !add_input(c, &r->steps[i].bind[r->steps[i].factor], w, i < r->head ? n : m))
            return false;
    }
    return true;
}

static bool make_room(Calibrate *c, Arena *a) {
    const Program *p = c->e->p;
    u32 widest = 0;
    c->sum = arena_try(a, (u64)p->nweights, sizeof *c->sum);
    for (int i = 0; c->sum && i < p->nweights; i++) {
        widest = MAX2(widest, p->weights[i].cols);
        if (!(c->sum[i].at = arena_try(a, p->weights[i].cols, sizeof(double)))) c->sum = NULL;
    }
    c->room = (u64)p->chunk * widest;
    c->x = arena_try(a, c->room, sizeof(float));
    return (c->sum && c->x) || err_set(c->err, ERR_OUT_OF_MEMORY, "no memory for statistics");
}

static bool collect(Calibrate *c, Arena *a, ColumnStats **out, size_t *n) {
    const Program *p = c->e->p;
    *n = 0;
    *out = arena_try(a, (u64)p->nweights * COUNT_OF(p->weights[0].seg), sizeof **out);
    if (!*out) return err_set(c->err, ERR_OUT_OF_MEMORY, "no memory for statistics");
    for (int i = 0; i < p->nweights; i++) {
        const Weight *w = &p->weights[i];
        if (c->sum[i].rows == 0) continue;
        float *mean = arena_try(a, w->cols, sizeof *mean);
        if (!mean) return err_set(c->err, ERR_OUT_OF_MEMORY, "no memory for statistics");
        for (u32 k = 0; k < w->cols; k++)
            mean[k] = (float)(c->sum[i].at[k] / (double)c->sum[i].rows);
        for (int s = 0; s < w->nseg; s++)
            (*out)[(*n)++] = (ColumnStats){w->seg[s].tensor, w->cols, mean};
    }
    return *n > 0 || err_set(c->err, ERR_ENGINE_WEIGHT,
                             "no product was seen to multiply with a matrix; use the device cpu");
}

bool engine_calibrate(Engine *e, Arena *a, const i32 *tokens, size_t n, ColumnStats **out,
                      size_t *count, Err *err) {
    const Program *p = e->p;
    Calibrate c = {.e = e, .err = err};
    if (e->phase != PHASE_IDLE)
        return err_set(err, ERR_ENGINE_BUSY,
                       "the model is still loading or answering; stop that first");
    for (size_t i = 0; i < n; i++)
        if (tokens[i] < 0 || (u32)tokens[i] >= p->vocab)
            return err_set(err, ERR_ENGINE_TOKEN, "token %U is %d; ids end at %u", (u64)i,
                           tokens[i], p->vocab - 1);
    if (n == 0) return err_set(err, ERR_ENGINE_PROMPT, "there are no tokens; give at least one");
    if (!make_room(&c, a)) return false;
    u32 most = 0;
    for (int i = 0; i < REGIME_COUNT; i++)
        if (p->regimes[i].nsteps) most = MAX2(most, p->regimes[i].n);
    engine_forget(e);
    for (size_t at = 0; at < n;) {
        u32 pos = (u32)(at % p->ctx), k = (u32)MIN2(n - at, MIN2(most, p->ctx - pos));
        memcpy(e->tokens + pos, tokens + at, k * sizeof(i32));
        if (!run_chunk(&c, pos, k)) return false;
        at += k;
    }
    return collect(&c, a, out, count);
}
