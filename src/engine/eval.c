// engine/eval.c: forced decoding: what the model thinks of given tokens, the end-to-end figure of
// correctness.
//
// The tokens are fed in rows, every row gets logits, and the host reads them back and takes their
// logarithmic softmax in double precision. No sampler runs. A state machine like the engine's own
// steps, because a page cannot wait; engine_eval goes round it for those who can.
#include "engine/engine_int.h"

#include <math.h>

bool engine_eval_begin(Engine *e, Arena *a, const i32 *tokens, size_t n, u32 rows, EvalResult *r,
                       Err *err) {
    const Program *p = e->p;
    if (e->phase == PHASE_FAILED) return *err = e->failed, false;
    if (e->phase != PHASE_IDLE)
        return err_set(err, ERR_ENGINE_BUSY,
                       "the model is still loading or answering; stop that first");
    if (n < 2)
        return err_set(err, ERR_ENGINE_PROMPT,
                       "there are %U tokens; an evaluation needs at least 2", (u64)n);
    if (n - 1 > p->ctx)
        return err_set(err, ERR_ENGINE_PROMPT,
                       "there are %U tokens and the context holds %u; give fewer", (u64)n, p->ctx);
    for (size_t i = 0; i < n; i++)
        if (tokens[i] < 0 || (u32)tokens[i] >= p->vocab)
            return err_set(err, ERR_ENGINE_TOKEN, "token %U is %d: ids end at %u", (u64)i,
                           tokens[i], p->vocab - 1);
    if (!engine_can(e, RUN_NONE, err)) return false;
    engine_forget(e);
    *r = (EvalResult){.n = n - 1,
                      .row = r->row,
                      .user = r->user,
                      .tokens = tokens,
                      .most = MIN2(rows ? rows : p->chunk, p->m_max)};
    r->top = arena_try(a, n, sizeof(i32));
    r->logprob = arena_try(a, n, sizeof(double));
    r->margin = arena_try(a, n, sizeof(double));
    r->logits = arena_try(a, (u64)r->most * p->vocab, sizeof(float));
    if (!r->top || !r->logprob || !r->margin || !r->logits)
        return err_set(err, ERR_OUT_OF_MEMORY,
                       "no memory for logits of %u rows; feed fewer at once", r->most);
    return true;
}

// Row i of those that came, after tokens[done + i].
static bool score(const Program *p, EvalResult *r, u32 i, Err *err) {
    size_t pos = r->done + i;
    const float *x = r->logits + (size_t)i * p->vocab;
    if (r->row) r->row(r->user, pos, x, p->vocab);
    u32 best = 0;
    for (u32 v = 1; v < p->vocab; v++)
        if (x[v] > x[best]) best = v;
    double sum = 0, second = -HUGE_VAL;
    for (u32 v = 0; v < p->vocab; v++) {
        sum += exp((double)x[v] - (double)x[best]);
        if (v != best && x[v] > second) second = x[v];
    }
    r->top[pos] = (i32)best;
    r->margin[pos] = (double)x[best] - second;
    r->logprob[pos] = (double)x[r->tokens[pos + 1]] - (double)x[best] - log(sum);
    r->mean += (r->logprob[pos] - r->mean) / (double)(pos + 1);
    // NaN compares with nothing, so it would pass for a top choice
    return r->logprob[pos] <= 0 ||
           err_set(err, ERR_DEVICE_FAILED, "the logits at position %U are not numbers", (u64)pos);
}

// Hands over the next rows and asks for their logits.
static bool hand_over(Engine *e, EvalResult *r, u32 pos, u32 k, Err *err) {
    const Program *p = e->p;
    memcpy(e->tokens + pos, r->tokens + pos, k * sizeof(i32));
    r->rows = k;
    return engine_ring_write(e, pos, k, err) && engine_submit(e, pos, k, k, RUN_NONE, err) &&
           (r->ticket = device_buffer_read(e->d.device, e->buffers[p->buf_logits], 0, r->logits,
                                           (u64)k * p->vocab * 4, err)) != 0;
}

EngineState engine_eval_step(Engine *e, EvalResult *r, Err *err) {
    if (r->ticket) {
        EngineState s = engine_settle(e->d.device, 0, err); // it is the last that was handed over
        if (s == ENGINE_FAILED) engine_fail(e, err);
        if (s != ENGINE_WORKING) return s;
        r->ticket = 0;
        for (u32 i = 0; i < r->rows; i++)
            if (!score(e->p, r, i, err)) return ENGINE_FAILED;
        r->done += r->rows;
        return ENGINE_TOKEN;
    }
    if (r->done >= r->n) return ENGINE_DONE;
    u32 k = (u32)MIN2(r->n - r->done, r->most);
    while (engine_regime(e, k) < 0) k--;
    EngineState s = engine_check(e, engine_regime(e, k), RUN_NONE, true, err);
    if (s == ENGINE_DONE)
        s = hand_over(e, r, (u32)r->done, k, err) ? ENGINE_WORKING : ENGINE_FAILED;
    if (s == ENGINE_FAILED) engine_fail(e, err);
    return s;
}

bool engine_eval(Engine *e, Arena *a, const i32 *tokens, size_t n, u32 rows, EvalResult *out,
                 Err *err) {
    EngineState s;
    if (!engine_eval_begin(e, a, tokens, n, rows, out, err)) return false;
    while ((s = engine_eval_step(e, out, err)) != ENGINE_DONE) {
        if (s == ENGINE_FAILED) return false;
#if !defined(__wasm__)
        if (s == ENGINE_WAITING) clock_nap();
#endif
    }
    return true;
}

const i32 *engine_tokens(const Engine *e, size_t *n) {
    *n = e->known;
    return e->tokens;
}
