// tune/selfcheck.c: is a kernel right on this very device? Asked once, at its first use.
//
// The real pipeline runs on its real shape with pseudo-random arguments in buffers of its own, and
// 64 of its outputs, the last ones among them, are compared with the formula evaluated in float64.
// Nothing is tuned or replaced here (fallback.c does): a kernel that is wrong is an error that
// names it. The check is a small state machine, because a page cannot wait: arguments are written a
// window at a time, and answers are polled for.
#include "tune/tune.h"

enum { OUTPUTS = 64, CLUSTER = 12, MOST_ROWS = 37, FIRST_POS = 21, OUT_MAX = 8, SAMPLES = 4096 };
#define WINDOW_WORDS ((u64)1 << 16)
#define TOLERANCE    2e-3

struct Checker {
    CheckStats stats;

    // the check under way
    Arena *arena, *window;
    enum { CHECK_NONE, CHECK_FILL, CHECK_RUN, CHECK_READ, CHECK_COMPARE } phase;
    double start_ms;
    const char *advice; // should it be wrong
    const Step *step;
    const ProgKernel *kernel;
    const Formula *f;
    CheckArg arg[STEP_MAX_BINDINGS];
    i64 dim[STEP_MAX_BINDINGS][BUFFER_MAX_DIMS]; // of the formula's arguments
    const u32 *pattern;
    u32 *out[STEP_MAX_BINDINGS]; // what a written argument held afterwards
    Program program;             // of this one step
    ProgBuffer buffers[2 + STEP_MAX_BINDINGS];
    BufferHandle handles[2 + STEP_MAX_BINDINGS];
    int nbuffers;
    ProgKernel one;
    KernelHandle one_handle;
    Step one_step;
    DeviceBind bind;
    BoundHandle bound;
    i32 *params;
    u32 n, m, t;
    int filling;      // argument
    u64 filled;       // its words
    i64 at[MAX_AXES]; // the point being evaluated
    const Stage *stage;
};

Checker *checker_new(Arena *a) {
    Checker *c = NEW(a, Checker);
    c->pattern = check_pattern(a);
    return c;
}

void checker_free(Checker *c) {
    if (!c) return;
    arena_free(c->arena);
    arena_free(c->window);
}

const CheckStats *checker_stats(const Checker *c) { return &c->stats; }

// ---- setting up ---------------------------------------------------------------------------------

static void fill_params(Checker *c, const Program *p) {
    i32 *w = c->params;
    u32 pos = MIN2((u32)FIRST_POS, p->ctx - c->n);
    c->t = pos + c->n;
    w[PARAM_N] = (i32)c->n;
    w[PARAM_M] = (i32)c->m;
    w[PARAM_T] = (i32)c->t;
    w[PARAM_SEED_LO] = 12345;
    w[PARAM_SEED_HI] = 678;
    w[PARAM_TOP_K] = 40;
    w[PARAM_INV_TEMP] = 81920; // temperature 0.8
    for (u32 i = 0; i < c->n; i++) {
        w[PARAM_ROWS + ROW_WORDS * i + ROW_POS] = (i32)(pos + i);
        w[PARAM_ROWS + ROW_WORDS * i + ROW_RING] = (i32)((pos + i) & (TOKEN_RING - 1));
    }
    for (u32 i = 0; i < c->m; i++) {
        w[PARAM_ROWS + ROW_WORDS * i + ROW_INDEX] = (i32)(c->n - c->m + i);
        w[PARAM_ROWS + ROW_WORDS * i + ROW_NEXT] = (i32)(c->t - c->m + i + 1);
    }
}

static const Weight *weight_at(const Program *p, const Binding *b) {
    for (int i = 0; i < p->nweights; i++)
        if (p->weights[i].buffer == b->buffer && p->weights[i].offset == b->offset)
            return &p->weights[i];
    return NULL;
}

static bool begin(Checker *c, const CheckAsk *ask, Err *err) {
    const Program *p = ask->program;
    const Regime *r = &p->regimes[ask->regime];
    c->step = &r->steps[ask->step];
    c->kernel = &p->kernels[c->step->kernel];
    c->f = c->kernel->formula;
    c->start_ms = clock_ms();
    if (!c->arena) c->arena = arena_new(NULL);
    if (!c->window) c->window = arena_new(NULL);
    if (!c->arena || !c->window)
        return err_set(err, ERR_OUT_OF_MEMORY, "a kernel cannot be checked");
    c->nbuffers = 0;
    arena_reset(c->arena);
    c->n = MIN2(r->n, (u32)MIN2((u32)MOST_ROWS, p->ctx));
    c->m = MIN2(r->m, c->n);
    c->params = NEW_N(c->arena, i32, program_param_words(p));
    fill_params(c, p);

    // A program of this one step: parameters, ring, then a buffer of its own for each other
    // binding.
    c->program = *p;
    c->one = *c->kernel;
    c->one_handle = ask->kernels[c->step->kernel];
    c->one_step = *c->step;
    c->one_step.kernel = 0;
    memset(c->buffers, 0, sizeof c->buffers);
    memset(c->handles, 0, sizeof c->handles);
    c->buffers[0] = p->buffers[p->buf_params];
    c->buffers[1] = p->buffers[p->buf_ring];
    c->nbuffers = 2;
    for (int i = 0; i < c->kernel->nbind; i++) {
        Binding *b = &c->one_step.bind[i];
        const ProgBuffer *pb = &p->buffers[b->buffer];
        c->arg[i] = (CheckArg){.buf = c->f->arg[i],
                               .pattern = c->pattern,
                               .words = b->size / 4,
                               .seed = 0x1234567u * (u64)(i + 1)};
        c->out[i] = NULL;
        const Weight *w = pb->kind == BUF_WEIGHT ? weight_at(p, b) : NULL;
        c->arg[i].weight = w;
        if (w)
            c->arg[i].plane1 =
                round_up(w->rows, MAX2(w->interleave, 1u)) * quant_words(w->encoding, 0, w->cols);
        if (pb->kind == BUF_CONST && pb->init)
            c->arg[i].given = (const u32 *)((const u8 *)pb->init + b->offset);
        if (b->buffer == p->buf_params) {
            c->arg[i].given = (const u32 *)c->params;
            b->buffer = 0;
        } else if (b->buffer == p->buf_ring) {
            b->buffer = 1;
        } else {
            c->buffers[c->nbuffers] =
                (ProgBuffer){.name = pb->name, .kind = pb->kind, .size = round_up(b->size, 4)};
            b->buffer = (u32)c->nbuffers++;
            b->offset = 0;
        }
    }
    c->program.nkernels = 1;
    c->program.kernels = &c->one;
    c->program.nbuffers = c->nbuffers;
    c->program.buffers = c->buffers;
    c->program.nweights = 0;
    c->program.buf_params = 0;
    c->program.buf_ring = 1;
    c->program.buf_logits = 0;
    memset(c->program.regimes, 0, sizeof c->program.regimes);
    c->program.regimes[ask->regime] = (Regime){.n = r->n,
                                               .m = r->m,
                                               .nsteps = 1,
                                               .head = 1,
                                               .greedy = 1,
                                               .sample = 1,
                                               .steps = &c->one_step};
    for (int i = 0; i < c->nbuffers; i++)
        if (!device_buffer_make(ask->device, c->buffers[i].size, c->buffers[i].kind, &c->handles[i],
                                err))
            return false;
    c->bind = (DeviceBind){&c->program, c->handles, &c->one_handle};
    c->filling = 0;
    c->filled = 0;
    c->phase = CHECK_FILL;
    return device_bind(ask->device, &c->bind, &c->bound, err);
}

static void end(Checker *c, Device *d) {
    device_unbind(d, c->bound);
    for (int i = 0; i < c->nbuffers; i++) device_buffer_free(d, c->handles[i]);
    c->phase = CHECK_NONE;
    if (c->arena && c->window) {
        arena_reset(c->arena);
        arena_reset(c->window);
    }
    c->stats.ms += clock_ms() - c->start_ms;
}

// ---- writing, running, reading ------------------------------------------------------------------

// The next window of arguments. Parameters come with the submit.
static bool fill(Checker *c, Device *d, Err *err) {
    if (c->filling == c->kernel->nbind) {
        c->phase = CHECK_RUN;
        return true;
    }
    const CheckArg *a = &c->arg[c->filling];
    const Binding *b = &c->one_step.bind[c->filling];
    if (b->buffer == 0 || c->filled == a->words) {
        c->filling++;
        c->filled = 0;
        return true;
    }
    u64 n = MIN2(a->words - c->filled, WINDOW_WORDS);
    arena_reset(c->window);
    u32 *words = arena_try(c->window, n, 4);
    if (!words) return err_set(err, ERR_OUT_OF_MEMORY, "a kernel cannot be checked");
    check_words(a, c->filled, n, words);
    bool ok = device_buffer_write(d, c->handles[b->buffer], b->offset + c->filled * 4, words, n * 4,
                                  err) != 0;
    c->filled += n;
    return ok;
}

static bool run(Checker *c, const CheckAsk *ask, Err *err) {
    Submit s = {.bound = c->bound,
                .regime = ask->regime,
                .last = 1,
                .n = c->n,
                .m = c->m,
                .t = c->t,
                .params = c->params,
                .read_ring = -1};
    c->phase = CHECK_READ;
    return device_submit(ask->device, &s, err) != 0;
}

static bool read_back(Checker *c, Device *d, Err *err) {
    c->phase = CHECK_COMPARE;
    for (int i = 0; i < c->kernel->nbind; i++) {
        const Binding *b = &c->one_step.bind[i];
        if (!c->kernel->writes[i]) continue;
        if (!(c->out[i] = arena_try(c->arena, c->arg[i].words, 4)))
            return err_set(err, ERR_OUT_OF_MEMORY, "a kernel cannot be checked");
        if (!device_buffer_read(d, c->handles[b->buffer], b->offset, c->out[i], c->arg[i].words * 4,
                                err))
            return false;
    }
    return true;
}

// ---- the referee --------------------------------------------------------------------------------

static bool env_var(void *user, const Var *v, Value *out) {
    const Checker *c = user;
    out->type = v->type;
    for (int i = 0; i < c->f->nsyms; i++)
        if (c->f->sym[i].var == v) return out->i = c->params[c->f->sym[i].word], true;
    for (int i = 0; i < c->f->ndims; i++)
        if (c->f->dim[i] == v) return out->i = c->step->dims[i], true;
    for (int i = 0; c->stage && i < c->stage->nax; i++)
        if (c->stage->ax[i].var == v) return out->i = c->at[i], true;
    return false;
}

static Value word_value(Type t, u32 word) {
    Value v = {.type = t};
    if (t == TY_F32)
        v.f = bits_f32(word);
    else
        v.i = t == TY_U32 ? (i64)word : (i64)(i32)word;
    return v;
}

static int arg_of(const Checker *c, const Buffer *b) {
    for (int i = 0; i < c->f->nargs; i++)
        if (c->f->arg[i] == b) return i;
    return -1;
}

// The place of an element in argument i; false: outside.
static bool flat_index(const Checker *c, int i, const i64 *idx, u64 *at) {
    i64 flat = 0;
    for (int d = 0; d < c->f->arg[i]->nd; d++) {
        i64 n = c->dim[i][d];
        if (idx[d] < 0 || idx[d] >= n) return false;
        flat = flat * n + idx[d];
    }
    *at = (u64)flat;
    return *at < c->arg[i].words;
}

static bool env_load(void *user, const Buffer *b, const i64 *idx, Value *out) {
    Checker *c = user;
    u64 at;
    u32 word;
    int i = arg_of(c, b);
    if (i < 0 || !flat_index(c, i, idx, &at)) return false;
    check_words(&c->arg[i], at, 1, &word);
    *out = word_value(b->type, word);
    return true;
}

static const char *advice(const Device *d) {
    if (!str_eq(str_c(d->vt->name), S("cpu")))
        return "the device cpu, or a newer driver, may do better";
#if defined(HOB_PAGE)
    return "please report it with the model's name; the device webgpu may do better";
#else
    return "please report it with the model's name; the kernels of another profile (--profile "
           "cpu4) may do better";
#endif
}

static bool wrong(Checker *c, const Store *st, u64 at, double got, double want, Err *err) {
    err_set(err, ERR_ENGINE_CHECK,
            "on this device it computes %g where its formula gives %g (%s, element %U); %s", got,
            want, st->buf->name, at, c->advice);
    err_subject(err, c->kernel->name);
    return false;
}

// The largest of the floats that a kernel wrote: where tiles are kept in 16 bits, what is lost in a
// sum of many is no less in a small result.
static double largest(const u32 *word, u64 n) {
    double most = 0;
    for (u64 i = 0; i < n; i += n / SAMPLES + 1) {
        double v = bits_f32(word[i]);
        most = MAX2(most, v < 0 ? -v : v);
    }
    return most;
}

static bool holds_float(const Expr *stored) {
    return stored->op == EX_BITCAST && stored->type == TY_U32 && stored->args[0]->type == TY_F32;
}

// One point of a stage's stores.
static bool compare_point(Checker *c, FormulaMemo *memo, int stage, Err *err) {
    const Stage *st = &c->f->stage[stage];
    Env env = {.var = env_var, .load = env_load, .user = c};
    for (int s = 0; s < st->nstores; s++) {
        const Store *store = &st->store[s];
        // of what is stored in words, some are the bits of floats, and those have a tolerance
        bool words = store->buf->type != TY_F32, bits = holds_float(store->value), stored;
        bool integer = words && !bits;
        double want;
        i64 idx[BUFFER_MAX_DIMS];
        u64 at;
        c->stage = NULL;
        env.f32 = words; // what is cut to an integer must be rounded as the kernel rounds
        if (!formula_eval(c->f, memo, stage, s, c->at, &env, &want, &stored))
            return err_set(err, ERR_ENGINE_CHECK, "its formula has no value here"),
                   err_subject(err, c->kernel->name);
        if (!stored) continue;
        c->stage = st;
        for (int d = 0; d < store->buf->nd; d++) {
            Value v;
            if (!expr_eval(store->idx[d], &env, &v))
                return err_set(err, ERR_ENGINE_CHECK, "its index has no value here"),
                       err_subject(err, c->kernel->name);
            idx[d] = v.i;
        }
        int arg = arg_of(c, store->buf);
        bool inside = arg >= 0 && c->out[arg] && flat_index(c, arg, idx, &at);
        c->stage = NULL;
        if (!inside)
            return err_set(err, ERR_ENGINE_CHECK, "its formula stores outside its buffer"),
                   err_subject(err, c->kernel->name);
        Value got = word_value(integer ? store->buf->type : TY_F32, c->out[arg][at]);
        if (bits) want = bits_f32((u32)want);
        double g = integer ? (double)got.i : got.f, size = want < 0 ? -want : want;
        if (!words && c->program.profile.f16 && c->program.profile.act_bits)
            size = MAX2(size, largest(c->out[arg], c->arg[arg].words));
        double off =
            (g > want ? g - want : want - g) / (words && want != 0 ? size : MAX2(1.0, size));
        c->stats.outputs++;
        if (!(off <= (integer ? 0 : TOLERANCE))) // NaN is wrong too
            return wrong(c, store, at, g, want, err);
        c->stats.worst = MAX2(c->stats.worst, off);
    }
    return true;
}

// The last outputs, and clusters at random places: neighbours share rows, which the referee
// remembers.
static bool compare_stage(Checker *c, FormulaMemo *memo, int stage, Err *err) {
    const Stage *st = &c->f->stage[stage];
    Env env = {.var = env_var, .user = c};
    i64 extent[MAX_AXES], total = 1;
    for (int i = 0; i < st->nax; i++) {
        Value v;
        if (!expr_eval(st->ax[i].extent, &env, &v) || v.i <= 0) return true; // nothing to compute
        extent[i] = v.i;
        total *= v.i;
    }
    u64 x = c->kernel->nest_key | 1;
    i64 from = 0;
    for (int k = 0; k < MIN2(total, OUTPUTS); k++) {
        i64 flat = k;
        if (total > OUTPUTS) {
            if (k % CLUSTER == 0) {
                x = x * 6364136223846793005u + 1442695040888963407u;
                from = (i64)((x >> 20) % (u64)total);
            }
            flat = k < 16 ? total - 1 - k : (from + k % CLUSTER) % total;
        }
        for (int i = st->nax - 1; i >= 0; i--) {
            c->at[i] = flat % extent[i];
            flat /= extent[i];
        }
        if (!compare_point(c, memo, stage, err)) return false;
    }
    return true;
}

// A dimension that has no value lets nothing inside.
static void find_dims(Checker *c) {
    Env env = {.var = env_var, .user = c};
    Value n;
    for (int i = 0; i < c->f->nargs; i++)
        for (int d = 0; d < c->f->arg[i]->nd; d++)
            c->dim[i][d] = expr_eval(c->f->arg[i]->dims[d], &env, &n) ? n.i : 0;
}

static bool compare(Checker *c, Err *err) {
    find_dims(c);
    FormulaMemo *exact = formula_memo_new(c->arena, c->f),
                *rounded = formula_memo_new(c->arena, c->f);
    if (!exact || !rounded) return err_set(err, ERR_OUT_OF_MEMORY, "a kernel cannot be checked");
    for (int i = 0; i < c->f->nstages; i++) {
        const Stage *st = &c->f->stage[i];
        if (st->nstores &&
            !compare_stage(c, st->store[0].buf->type == TY_F32 ? exact : rounded, i, err))
            return false;
    }
    return true;
}

// ---- the state machine --------------------------------------------------------------------------

EngineState checker_step(Checker *c, const CheckAsk *ask, Err *err) {
    Device *d = ask->device;
    const Program *p = ask->program;
    c->advice = advice(d);
    if (c->phase == CHECK_NONE) {
        if (!p->kernels[p->regimes[ask->regime].steps[ask->step].kernel].formula)
            return ENGINE_DONE;
        if (begin(c, ask, err)) return ENGINE_WORKING;
        end(c, d);
        return ENGINE_FAILED;
    }
    EngineState s = engine_settle(d, c->phase == CHECK_FILL ? 4 : 0, err);
    if (s == ENGINE_WAITING) return s;
    bool ok = s == ENGINE_WORKING;
    if (ok) {
        switch (c->phase) {
        case CHECK_FILL: ok = fill(c, d, err); break;
        case CHECK_RUN: ok = run(c, ask, err); break;
        case CHECK_READ: ok = read_back(c, d, err); break;
        case CHECK_COMPARE:
            ok = compare(c, err);
            if (ok) {
                c->stats.kernels++;
                end(c, d);
                return ENGINE_DONE;
            }
            break;
        case CHECK_NONE: break;
        }
    }
    if (!ok) end(c, d);
    return ok ? ENGINE_WORKING : ENGINE_FAILED;
}

void checker_stop(Checker *c, Device *d) {
    if (c->phase != CHECK_NONE) end(c, d);
}

EngineState tune_check_kernel(void *checker, const Engine *e, int regime, u32 step, Err *err) {
    CheckAsk ask = {engine_device(e), engine_program(e), engine_bind(e)->kernels, regime, step};
    return checker_step(checker, &ask, err);
}
