// engine/eval.c: forced decoding: what the model thinks of given tokens, the end-to-end figure of
// correctness.
//
// The tokens are fed in rows, every row gets logits, and the host reads them back and takes their
// logarithmic softmax in double precision. No sampler runs.
#include "engine/engine_int.h"

#include <math.h>

// Waits by polling until a ticket is answered.
static bool await(Engine *e, Ticket t, Err *err) {
    for (;;) {
        PollResult r = device_poll(e->d.device);
        if (r.status == POLL_NOTHING) continue;
        if (r.status != POLL_OK) return engine_poll_error(&r, err);
        if (r.ticket == t) return true;
    }
}

static double log_softmax(const float *x, u32 n, i32 at, i32 *top) {
    u32 best = 0;
    for (u32 i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    double sum = 0;
    for (u32 i = 0; i < n; i++) sum += exp((double)x[i] - (double)x[best]);
    *top = (i32)best;
    return (double)x[at] - (double)x[best] - log(sum);
}

bool engine_eval(Engine *e, Arena *a, const i32 *tokens, size_t n, u32 rows, EvalResult *out,
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
            return err_set(err, ERR_ENGINE_TOKEN, "token %U is %d; ids end at %u", (u64)i,
                           tokens[i], p->vocab - 1);
    engine_forget(e);
    u32 most = MIN2(rows ? rows : p->chunk, p->m_max);
    *out = (EvalResult){.n = n - 1, .row = out->row, .user = out->user};
    out->top = arena_try(a, n, sizeof(i32));
    out->logprob = arena_try(a, n, sizeof(double));
    float *logits = arena_try(a, (u64)most * p->vocab, sizeof(float));
    if (!out->top || !out->logprob || !logits)
        return err_set(err, ERR_OUT_OF_MEMORY, "logits of %u rows", most);
    double sum = 0;
    for (u32 pos = 0; pos < n - 1;) {
        u32 k = (u32)MIN2(n - 1 - pos, most);
        while (engine_regime(e, k) < 0) k--;
        EngineState s;
        while ((s = engine_check(e, engine_regime(e, k), RUN_NONE, true, err)) != ENGINE_DONE)
            if (s == ENGINE_FAILED) return engine_fail(e, err);
        memcpy(e->tokens + pos, tokens + pos, k * sizeof(i32));
        Ticket t;
        if (!engine_ring_write(e, pos, k, err) || !engine_submit(e, pos, k, k, RUN_NONE, err) ||
            !(t = device_buffer_read(e->d.device, e->buffers[p->buf_logits], 0, logits,
                                     (u64)k * p->vocab * 4, err)) ||
            !await(e, t, err))
            return engine_fail(e, err);
        for (u32 i = 0; i < k; i++) {
            if (out->row) out->row(out->user, pos + i, logits + (size_t)i * p->vocab, p->vocab);
            // NaN compares with nothing, so it would pass for a top choice
            double l = log_softmax(logits + (size_t)i * p->vocab, p->vocab, tokens[pos + i + 1],
                                   &out->top[pos + i]);
            if (!(l <= 0))
                return err_set(err, ERR_DEVICE_FAILED, "the logits at position %U are not numbers",
                               (u64)pos + i);
            out->logprob[pos + i] = l;
            sum += l;
        }
        pos += k;
    }
    out->mean = sum / (double)(n - 1);
    return true;
}
