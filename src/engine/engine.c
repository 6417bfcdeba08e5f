// engine/engine.c: token ids in, token ids out: prefill in chunks, decode with run-ahead,
// roll-back, prefix reuse.
//
// The tokens of a conversation lie by position in tokens[], in the device's ring, and (as keys and
// values) in the cache; rolling back is setting the position. A new prompt keeps the longest prefix
// that the cache holds already. While decoding, up to `depth` submits are on the device: each reads
// the token that the one before it wrote into the ring, so the host sees a token some steps after
// it was made, and what was computed past an end is forgotten. Rows [0, asked - 1) are in the cache
// or on their way; the token at position asked - 1 is known or in flight; nothing is ever asked for
// at `limit` or past it, which bounds every write into the cache.
//
// The depth is measured: a device must have work for as long as its answers take to come and the
// next submit takes to go. How late it answers with nothing to do was measured while loading, what
// a token takes is measured while they come; what is in flight lasts for twice the first, and for a
// few tokens more. So what an end makes vain takes no longer, however quick a token is.
#include "engine/engine_int.h"

const char *finish_name(Finish f) {
    static const char *const names[] = {NULL, "stop", "length", "cancel"}; // ORDER FINISH
    return names[f];
}

// ---- submits ------------------------------------------------------------------------------------

// The smallest regime that takes n rows; -1: none.
int engine_regime(const Engine *e, u32 n) {
    for (int i = 0; i < REGIME_COUNT; i++)
        if (e->p->regimes[i].nsteps && n <= e->p->regimes[i].n) return i;
    return -1;
}

static u32 largest_n(const Engine *e) {
    u32 n = 0;
    for (int i = 0; i < REGIME_COUNT; i++)
        if (e->p->regimes[i].nsteps) n = MAX2(n, e->p->regimes[i].n);
    return n;
}

void engine_params(Engine *e, u32 pos, u32 n, u32 m, Submit *s) {
    const Program *p = e->p;
    int regime = engine_regime(e, n);
    must(regime >= 0 && pos + n <= p->ctx && m <= n && m <= p->regimes[regime].m);
    i32 *w = e->params;
    memset(w, 0, program_param_words(p) * sizeof *w);
    w[PARAM_N] = (i32)n;
    w[PARAM_M] = (i32)m;
    w[PARAM_T] = (i32)(pos + n);
    w[PARAM_SEED_LO] = (i32)(u32)e->sample.seed;
    w[PARAM_SEED_HI] = (i32)(u32)(e->sample.seed >> 32);
    w[PARAM_TOP_K] = e->sample.top_k;
    for (u32 i = 0; i < n; i++) {
        i32 *row = w + PARAM_ROWS + ROW_WORDS * i;
        row[ROW_POS] = (i32)(pos + i);
        row[ROW_RING] = (i32)((pos + i) & (TOKEN_RING - 1));
    }
    for (u32 i = 0; i < m; i++) {
        i32 *row = w + PARAM_ROWS + ROW_WORDS * i;
        row[ROW_INDEX] = (i32)(n - m + i);
        row[ROW_NEXT] = (i32)(pos + n - m + i + 1);
    }
    *s = (Submit){.bound = e->bound,
                  .regime = regime,
                  .n = n,
                  .m = m,
                  .t = pos + n,
                  .slot = e->slot,
                  .params = w,
                  .read_ring = -1};
    e->slot = (e->slot + 1) % PARAM_SLOTS;
}

Ticket engine_submit(Engine *e, u32 pos, u32 n, u32 m, RunSampler sampler, Err *err) {
    Submit s;
    engine_params(e, pos, n, m, &s);
    const Regime *r = &e->p->regimes[s.regime];
    if (sampler == RUN_SAMPLE)
        e->params[PARAM_INV_TEMP] = (i32)(65536.0 / e->sample.temperature + 0.5);
    s.last = m ? r->greedy : r->head;
    if (sampler == RUN_GREEDY) s.first2 = r->greedy, s.last2 = r->sample;
    if (sampler == RUN_SAMPLE) s.first2 = r->sample, s.last2 = r->nsteps;
    if (sampler != RUN_NONE) s.read_ring = (int)((pos + n) & (TOKEN_RING - 1));
    return device_submit(e->d.device, &s, err);
}

bool engine_ring_write(Engine *e, u32 pos, u32 n, Err *err) {
    while (n) {
        u32 at = pos & (TOKEN_RING - 1), part = MIN2(n, TOKEN_RING - at);
        if (!device_buffer_write(e->d.device, e->buffers[e->p->buf_ring], (u64)at * 4,
                                 e->tokens + pos, (u64)part * 4, err))
            return false;
        pos += part;
        n -= part;
    }
    return true;
}

bool engine_poll_error(const PollResult *r, Err *err) {
    if (r->status == POLL_LOST)
        return err_set(err, ERR_DEVICE_LOST, "the device is gone; open the model again");
    return err_set(err, r->error ? r->error : ERR_DEVICE_FAILED,
                   "the device could not do its work");
}

EngineState engine_settle(Device *d, int keep, Err *err) {
    while (device_outstanding(d) > keep) {
        PollResult r = device_poll(d);
        if (r.status == POLL_NOTHING) return ENGINE_WAITING;
        if (r.status != POLL_OK) {
            engine_poll_error(&r, err);
            return ENGINE_FAILED;
        }
    }
    return ENGINE_WORKING;
}

static EngineState check_steps(Engine *e, int regime, int first, int last, Err *err) {
    for (int i = first; i < last; i++) {
        u32 k = e->p->regimes[regime].steps[i].kernel;
        if (e->checked[k]) continue;
        EngineState s = engine_settle(e->d.device, 0, err);
        if (s == ENGINE_WORKING)
            s = e->d.hooks.check_kernel(e->d.hooks.user, e, regime, (u32)i, err);
        if (s != ENGINE_DONE) return s;
        e->checked[k] = true;
        e->nchecked++;
        e->stats.checked++;
    }
    return ENGINE_DONE;
}

EngineState engine_check(Engine *e, int regime, RunSampler sampler, bool head, Err *err) {
    const Regime *r = &e->p->regimes[regime];
    if (!e->d.hooks.check_kernel) return ENGINE_DONE;
    EngineState s = check_steps(e, regime, 0, head ? r->greedy : r->head, err);
    if (s == ENGINE_DONE && sampler == RUN_GREEDY)
        s = check_steps(e, regime, r->greedy, r->sample, err);
    if (s == ENGINE_DONE && sampler == RUN_SAMPLE)
        s = check_steps(e, regime, r->sample, r->nsteps, err);
    return s;
}

// Bytes that a step's check has to write.
static u64 check_bytes(const Engine *e, const Step *st) {
    u64 n = 0;
    for (int i = 0; i < e->p->kernels[st->kernel].nbind; i++) n += st->bind[i].size;
    return n;
}

EngineState engine_check_ahead(Engine *e, u64 most, Err *err) {
    const int regimes[] = {engine_regime(e, largest_n(e)),
                           engine_regime(e, 1)}; // as an answer goes
    if (!e->d.hooks.check_kernel || e->d.device->vt->async || e->ahead_over || !e->bind.program ||
        e->phase == PHASE_FAILED)
        return ENGINE_DONE;
    bool soon = most < UINT64_MAX; // then something is left
    u32 before = e->nchecked;
    for (size_t i = 0; i < (soon ? 1 : COUNT_OF(regimes)); i++) {
        const Regime *r = &e->p->regimes[regimes[i]];
        for (int k = 0; k < (soon ? r->greedy : r->nsteps); k++) {
            if (e->checked[r->steps[k].kernel]) continue;
            if (check_bytes(e, &r->steps[k]) > most) continue;
            EngineState s;
            do // a whole kernel, for an answer may begin with another; this device never waits
                s = check_steps(e, regimes[i], k, k + 1, err);
            while (s == ENGINE_WORKING);
            if (s == ENGINE_FAILED) { // an answer that needs the kernel is told
                *err = (Err){0};
                e->ahead_over = true;
                return ENGINE_DONE;
            }
            if (e->nchecked != before) return ENGINE_WORKING;
        }
    }
    e->ahead_over = !soon;
    return ENGINE_DONE;
}

// ---- requests -----------------------------------------------------------------------------------

bool engine_can(const Engine *e, RunSampler sampler, Err *err) {
#if !defined(HOB_PAGE) // there every graph is a builder's and has all three
    const Regime *r = &e->p->regimes[engine_regime(e, 1)];
    int end = sampler == RUN_SAMPLE ? r->nsteps : sampler == RUN_GREEDY ? r->sample : r->greedy;
    int begin = sampler == RUN_SAMPLE ? r->sample : sampler == RUN_GREEDY ? r->greedy : r->head;
    if (begin >= end)
        return err_set(err, ERR_ENGINE_OPTION, "the graph has no %s; %s",
                       sampler == RUN_SAMPLE   ? "`sample`"
                       : sampler == RUN_GREEDY ? "`argmax`"
                                               : "logits of rows m",
                       sampler == RUN_SAMPLE   ? "add it, or ask with temperature 0"
                       : sampler == RUN_GREEDY ? "add it, or ask with a temperature above 0"
                                               : "add them");
#else
    (void)e, (void)sampler, (void)err;
#endif
    return true;
}

bool engine_start(Engine *e, const EngineRequest *r, Err *err) {
    if (e->phase == PHASE_FAILED) return *err = e->failed, false;
    if (e->phase != PHASE_IDLE)
        return err_set(err, ERR_ENGINE_BUSY,
                       "the model is still loading or answering; stop that first");
    if (r->n == 0)
        return err_set(err, ERR_ENGINE_PROMPT, "the prompt is empty; give at least one token");
    if (r->n > e->p->ctx)
        return err_set(err, ERR_ENGINE_PROMPT,
                       "the prompt has %U tokens and the context holds %u; shorten it or open with "
                       "a larger context",
                       (u64)r->n, e->p->ctx);
    const SampleOptions *o = &r->sample;
    if (!(o->temperature >= 0 && o->temperature <= 100) || o->top_k < 0 || r->max_tokens < 0)
        return err_set(err, ERR_ENGINE_OPTION,
                       "temperature %g (0 to 100), top_k %d, max_tokens %D (0 or more)",
                       o->temperature, o->top_k, r->max_tokens);
    for (size_t i = 0; i < r->n; i++)
        if (r->prompt[i] < 0 || (u32)r->prompt[i] >= e->p->vocab)
            return err_set(err, ERR_ENGINE_TOKEN, "token %U of the prompt is %d: ids end at %u",
                           (u64)i, r->prompt[i], e->p->vocab - 1);
    if (!engine_can(e, o->temperature < 1e-3 ? RUN_GREEDY : RUN_SAMPLE, err)) return false;

    // Something must be computed for there to be logits: the last token is always read again.
    u32 n = (u32)r->n, same = 0;
    while (same < e->cached && same < n - 1 && e->tokens[same] == r->prompt[same]) same++;
    memcpy(e->tokens + same, r->prompt + same, (n - same) * sizeof(i32));
    e->cached = same;
    e->known = n;
    e->prompt = n;
    e->asked = n;
    u64 limit = r->max_tokens ? (u64)n + (u64)r->max_tokens : UINT32_MAX;
    e->limit = (u32)MIN2(limit, (u64)e->p->ctx + 1);
    e->sample = *o;
    if (o->temperature < 1e-3) e->sample.temperature = 0;
    e->is_end = r->is_end;
    e->user = r->user;
    e->nflight = 0;
    e->finish = FINISH_NONE;
    e->stats = (EngineStats){.prompt_tokens = n, .cached_tokens = same, .start_ms = clock_ms()};
    e->check_from = 0;
    speculate_begin(e);
    e->phase = PHASE_PREFILL;
    return true;
}

static RunSampler sampler_of(const Engine *e) {
    return e->sample.temperature > 0 ? RUN_SAMPLE : RUN_GREEDY;
}

// Hands over rows [pos, pos + n), the last of them with logits and a sampler; its token is then in
// flight.
static bool submit_token(Engine *e, u32 pos, u32 n, Err *err) {
    Ticket t = engine_submit(e, pos, n, 1, sampler_of(e), err);
    if (!t) return false;
    e->flight[e->nflight++] = (Flight){t, (i32)(pos + n)};
    e->asked = pos + n + 1;
    return true;
}

// Counts what a check takes that may need many calls.
static bool checks_over(Engine *e, EngineState s, double *ms) {
    double now = clock_ms(), took = e->check_from != 0 ? now - e->check_from : 0;
    if (s != ENGINE_DONE) {
        if (e->check_from == 0) e->check_from = now;
        return false;
    }
    *ms += took;
    e->check_ms += took;
    e->check_from = 0;
    return true;
}

static EngineState prefill(Engine *e, Err *err) {
    u32 n = MIN2(e->prompt - e->cached, largest_n(e));
    bool last = e->cached + n == e->prompt;
    EngineState s =
        engine_check(e, engine_regime(e, n), last ? sampler_of(e) : RUN_NONE, last, err);
    if (!checks_over(e, s, &e->stats.check_ms)) return s;
    if ((s = engine_settle(e->d.device, CHUNKS_MAX - 1, err)) != ENGINE_WORKING) return s;
    if (!engine_ring_write(e, e->cached, n, err)) return ENGINE_FAILED;
    if (last ? !submit_token(e, e->cached, n, err)
             : !engine_submit(e, e->cached, n, 0, RUN_NONE, err))
        return ENGINE_FAILED;
    e->cached += n;
    if (last) e->phase = PHASE_DECODE;
    return ENGINE_WORKING;
}

void engine_stop(Engine *e, Finish why) {
    if (e->phase != PHASE_PREFILL && e->phase != PHASE_DECODE) return;
    if (e->phase == PHASE_DECODE) e->cached = MIN2(e->asked - 1, e->known);
    e->finish = why;
    e->nflight = 0; // their answers are nobody's now
    e->spec.rows = e->spec.left = 0;
    e->phase = PHASE_IDLE;
}

static EngineState take_token(Engine *e, i32 pos, i32 token, Err *err) {
    if (token < 0 || (u32)token >= e->p->vocab) { // the vocabulary's size: see lower_argmax.c
        err_set(err, ERR_DEVICE_FAILED,
                (u32)token == e->p->vocab
                    ? "the model's logits at position %d are not numbers; fetch its file anew"
                    : "at position %d the device chose an id past the vocabulary",
                pos - 1);
        return ENGINE_FAILED;
    }
    e->tokens[pos] = token;
    e->known = (u32)pos + 1;
    e->stats.last_ms = clock_ms();
    if (e->stats.answer_tokens == 0) e->stats.first_ms = e->stats.last_ms;
    if (e->is_end && e->is_end(e->user, token)) {
        engine_stop(e, FINISH_STOP);
        return ENGINE_DONE;
    }
    e->stats.answer_tokens++;
    e->token = token;
    speculate_saw(e);
    return ENGINE_TOKEN;
}

// Once nothing is in flight: the kernels of a few rows, which nothing used so far, are checked;
// then a draft goes out. Kernels that are wrong are done without.
static EngineState begin_draft(Engine *e, Err *err) {
    Speculate *s = &e->spec;
    EngineState state =
        engine_check(e, engine_regime(e, (u32)s->want + 1), sampler_of(e), true, err);
    if (state == ENGINE_FAILED) {
        *err = (Err){0};
        s->most = s->want = 0;
        return ENGINE_WORKING;
    }
    if (state != ENGINE_DONE) return state;
    return speculate_submit(e, sampler_of(e), err) ? ENGINE_WORKING : ENGINE_FAILED;
}

static void measure_depth(Engine *e) {
    double ms = e->spec.ms[1];
    if (e->d.depth || e->late_ms <= 0 || ms <= 0) return;
    e->depth = (int)MIN2(2 * e->late_ms / ms + DEPTH_LEAST, DEPTH_MAX);
}

static EngineState decode(Engine *e, Err *err) {
    Speculate *s = &e->spec;
    if (s->left) {
        s->left--;
        return take_token(e, (i32)e->known, s->chosen[s->next++], err);
    }
    if (e->known == e->limit) {
        engine_stop(e, FINISH_LENGTH);
        return ENGINE_DONE;
    }
    if (s->want && !e->nflight) {
        EngineState state = begin_draft(e, err);
        if (!s->rows) return state;
    }
    // What decodes is checked behind the first token: a device may make its pipelines while the
    // prompt is read. From the second token on nothing interrupts an answer.
    bool *ready = &e->decodes[sampler_of(e) == RUN_SAMPLE];
    if (!*ready && !s->want && !e->nflight) {
        EngineState state = engine_check(e, engine_regime(e, 1), sampler_of(e), true, err);
        if (!checks_over(e, state, &e->stats.pause_ms)) return state;
        *ready = true;
        s->window = 0; // no token's time has the pause in it
    }
    while (*ready && !s->want && e->nflight < e->depth && e->asked < e->limit) {
        if (device_outstanding(e->d.device) >= DEPTH_MAX) break;
        if (!submit_token(e, e->asked - 1, 1, err)) return ENGINE_FAILED;
    }
    for (;;) {
        PollResult r = device_poll(e->d.device);
        if (r.status == POLL_NOTHING) return ENGINE_WAITING;
        if (r.status != POLL_OK) {
            engine_poll_error(&r, err);
            return ENGINE_FAILED;
        }
        if (!e->nflight || r.ticket != e->flight[0].ticket) continue;
        if (s->rows) {
            speculate_take(e);
            return ENGINE_WORKING;
        }
        i32 pos = e->flight[0].pos;
        memmove(e->flight, e->flight + 1, sizeof *e->flight * (size_t)--e->nflight);
        speculate_time(e);
        measure_depth(e);
        return take_token(e, pos, r.token, err);
    }
}

EngineState engine_step(Engine *e, Err *err) {
    Err own = {0};
    if (!err) err = &own;
    EngineState s = ENGINE_IDLE;
    switch (e->phase) {
    case PHASE_FAILED: *err = e->failed; return ENGINE_FAILED;
    case PHASE_PREFILL: s = prefill(e, err); break;
    case PHASE_DECODE: s = decode(e, err); break;
    case PHASE_LOAD:
    case PHASE_IDLE: break;
    }
    if (s == ENGINE_FAILED) engine_fail(e, err);
    return s;
}

void engine_forget(Engine *e) {
    engine_stop(e, FINISH_CANCEL);
    e->cached = 0;
    e->known = 0;
}

void engine_speculate(Engine *e, int drafts) { e->spec.drafts = drafts; }

i32 engine_token(const Engine *e) { return e->token; }

Finish engine_finish(const Engine *e) { return e->finish; }

const EngineStats *engine_stats(const Engine *e) { return &e->stats; }

const Program *engine_program(const Engine *e) { return e->p; }

Device *engine_device(const Engine *e) { return e->d.device; }

const DeviceBind *engine_bind(const Engine *e) { return &e->bind; }
