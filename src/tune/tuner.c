// tune/tuner.c: which schedule of a kernel is the fastest on this very device?
//
// A rule chooses from the profile; here its parameters' legal values are tried. The cost model says
// which few are worth it, each of them is checked like a kernel at its first use, then all run
// through the model's own steps, on its weights where they lie, sample by sample in turns, so that
// whatever else the machine does meets them all. First every kernel is timed as it is: the heaviest
// is tuned first, what takes next to nothing not at all.
//
// Regimes come one after another, a row first: it is what an answer waits for. A state machine that
// never waits, for a page cannot. What runs here writes activations, and the
// cache and the token ring past the conversation's end, where nothing is.
#include "tune/tune.h"

enum { BEST_MAX = 12, SAMPLES_MAX = 15, STEPS_MAX = 32, REPEATS_MAX = 64, LIGHT_PERCENT = 10 };
#define LEAST_SHARE 0.01 // of its regime's time: what is less is not tuned
#define GAIN        0.97 // of the rule's time: what is more may be chance

typedef struct Target {
    int kernel, regime, nsteps;
    const Rule *rule;
    double ms, share; // of all its steps, by the rule's schedule; of the regime's
} Target;

typedef struct Candidate {
    Str schedule;
    u64 text; // hash of its primitives
    double cost, first_ms, ms[SAMPLES_MAX];
    bool alive, own; // own: the engine's very kernel
    ProgKernel kernel;
    GridDim grid[3];
    KernelHandle handle;
    Program program; // of the target's steps alone
    DeviceBind bind;
    BoundHandle bound;
} Candidate;

struct Tuner {
    TuneOptions o;
    Engine *e;
    Device *d;
    Arena *arena, *work; // of the tuner; of one target
    Program *p;          // as the engine's, its nests kept, by the rules' schedules
    Checker *checker;
    Target *target;
    int ntargets, at, first, last; // the next one; of those of its regime
    bool tuning;                   // after each of them was timed as it is
    bool complete;
    double begin_ms, from_ms;
    enum { TUNE_PICK, TUNE_MAKE, TUNE_CHECK, TUNE_WARM, TUNE_WARMED, TUNE_RUN, TUNE_RAN } phase;
    Candidate *cand; // [0]: the rule's
    int ncand, cur, sample, ranked, wrong;
    int steps, repeats; // of the target's steps, how often: a sample
    TuneResult *results;
    int nresults;
};

static double now(const Tuner *t) { return t->o.clock ? t->o.clock(t->o.user) : clock_ms(); }

// ---- what there is to tune ----------------------------------------------------------------------

static void list_targets(Tuner *t) {
    static const int order[] = {REGIME_ROW, REGIME_MANY, REGIME_FEW};
    const Program *p = t->p;
    bool *seen = NEW_N(t->arena, bool, p->nkernels + 1);
    t->target = NEW_N(t->arena, Target, p->nkernels + 1);
    for (size_t o = 0; o < COUNT_OF(order); o++) {
        const Regime *r = &p->regimes[order[o]];
        for (int i = 0; i < r->nsteps; i++) {
            int k = (int)r->steps[i].kernel;
            if (seen[k] || (t->o.known && tuned_find(t->o.known, p->kernels[k].nest_key))) continue;
            seen[k] = true;
            Target g = {.kernel = k, .regime = order[o]};
            for (int s = i; s < r->nsteps; s++) g.nsteps += (int)r->steps[s].kernel == k;
            g.rule = rule_for(p->kernels[k].naive);
            t->target[t->ntargets++] = g;
        }
    }
    t->results = NEW_N(t->arena, TuneResult, t->ntargets + 1);
}

// Of the regime's targets the share that each has; the heaviest first.
static void weigh(Tuner *t) {
    double all = 1e-9;
    for (int i = t->first; i < t->last; i++) all += t->target[i].ms;
    for (int i = t->first; i < t->last; i++) {
        Target g = t->target[i];
        g.share = g.ms / all;
        int k = i;
        for (; k > t->first && t->target[k - 1].ms < g.ms; k--) t->target[k] = t->target[k - 1];
        t->target[k] = g;
    }
}

// ---- which schedules are worth it ---------------------------------------------------------------

static Str call_text(Arena *a, const Rule *r, const i64 *value) {
    Buf b = {.arena = a};
    buf_fmt(&b, "%s{", r->name);
    for (int i = 0; i < RULE_MAX_PARAMS && r->param[i].name; i++)
        buf_fmt(&b, "%s%s=%D", i ? "," : "", r->param[i].name, value[i]);
    buf_char(&b, '}');
    return buf_str(&b);
}

static bool compile(Tuner *t, const Target *g, Candidate *c, const Dialect *d) {
    Err refused = {0};
    if (!c->schedule.len ||
        !compile_again(t->work, t->p, &t->p->kernels[g->kernel], c->schedule,
                       t->p->regimes[g->regime].n, d, &c->kernel, c->grid, &refused))
        return false;
    c->text = hash_str(0, c->kernel.schedule);
    c->cost = tune_cost(c->kernel.ir, &t->p->profile);
    return true;
}

// Keeps the cheapest, each schedule once.
static void offer(Tuner *t, const Target *g, Str schedule) {
    Candidate c = {.schedule = schedule, .alive = true};
    if (!compile(t, g, &c, NULL)) return;
    t->ranked++;
    for (int i = 0; i < t->ncand; i++)
        if (t->cand[i].text == c.text) return;
    bool full = t->ncand > t->o.best;
    int at = full ? t->ncand - 1 : t->ncand++;
    if (full && t->cand[at].cost <= c.cost) return;
    for (; at > 1 && t->cand[at - 1].cost > c.cost; at--) t->cand[at] = t->cand[at - 1];
    t->cand[at] = c;
}

#if !defined(HOB_PAGE)
// Neither a product nor attention.
static bool light(const Target *g) {
    return !strcmp(g->rule->name, "map") || !strcmp(g->rule->name, "row_reduce");
}
#endif

static void rank(Tuner *t, const Target *g) {
    const Nest *naive = t->p->kernels[g->kernel].naive;
    i64 own[RULE_MAX_PARAMS], value[RULE_MAX_PARAMS];
    int at[RULE_MAX_PARAMS] = {0}, np = 0;
    rule_defaults(g->rule, naive, own);
    while (np < RULE_MAX_PARAMS && g->rule->param[np].name) np++;
    t->cand[0] = (Candidate){.schedule = call_text(t->work, g->rule, own), .alive = true};
    t->cand[0].alive = compile(t, g, &t->cand[0], NULL);
    t->ncand = 1;
    t->ranked = t->wrong = 0;
    if (!t->tuning) return;
    for (int i = 0;;) { // through all their values, the first parameter's fastest
        int changed = 0;
        for (int k = 0; k < np; k++) {
            value[k] = g->rule->param[k].values[at[k]];
            changed += value[k] != own[k];
        }
        if (changed && changed <= t->o.changes) offer(t, g, call_text(t->work, g->rule, value));
        for (i = 0; i < np && ++at[i] == g->rule->param[i].n; i++) at[i] = 0;
        if (i == np) break;
    }
#if !defined(HOB_PAGE)
    double all = 0;
    for (int i = t->first; i < t->last; i++)
        if (light(&t->target[i])) all += t->target[i].share;
    for (int i = 0; light(g) && all * 100 > LIGHT_PERCENT && i < t->o.draws; i++)
        offer(t, g, tune_draw(t->work, naive, t->p->kernels[g->kernel].nest_key + (u64)i));
#endif
}

// ---- on the device ------------------------------------------------------------------------------

// As much of the target's steps as a sample needs, each on its own layer's buffers.
static bool make(Tuner *t, const Target *g, Candidate *c, Err *err) {
    const Regime *r = &t->p->regimes[g->regime];
    Ticket ticket;
    int n = 0;
    if (!c->alive || !compile(t, g, c, t->o.compile->profile->gpu ? &dialect_wgsl : NULL))
        return false;
    const Program *p = engine_program(t->e);
    for (int i = 0; i < p->nkernels && !c->own; i++) {
        c->own = p->kernels[i].nest_key == c->kernel.nest_key &&
                 str_eq(p->kernels[i].schedule, c->kernel.schedule);
        c->handle = engine_bind(t->e)->kernels[i];
    }
    if (!c->own && !device_kernel_make(t->d, &c->kernel, &c->handle, &ticket, err)) return false;
    Step *steps = NEW_N(t->work, Step, MIN2(g->nsteps, STEPS_MAX));
    for (int i = 0; i < r->nsteps && n < STEPS_MAX; i++) {
        if ((int)r->steps[i].kernel != g->kernel) continue;
        steps[n] = r->steps[i];
        steps[n].kernel = 0;
        memcpy(steps[n++].grid, c->grid, sizeof c->grid);
    }
    c->program = *t->p;
    c->program.kernels = &c->kernel;
    c->program.nkernels = 1;
    memset(c->program.regimes, 0, sizeof c->program.regimes);
    c->program.regimes[g->regime] = (Regime){
        .n = r->n, .m = r->m, .nsteps = n, .head = n, .greedy = n, .sample = n, .steps = steps};
    c->bind = (DeviceBind){&c->program, engine_bind(t->e)->buffers, &c->handle};
    return device_bind(t->d, &c->bind, &c->bound, err);
}

// Some steps, so often, for rows past the conversation's end, if there is room for them.
static bool run(Tuner *t, const Target *g, const Candidate *c, int steps, int repeats, Err *err) {
    const Regime *r = &c->program.regimes[g->regime];
    u32 ctx = t->p->ctx, n = MIN2(MIN2(r->n, ctx), t->o.rows), pos = MIN2(ctx / 4, 256u);
    size_t known;
    Submit s;
    engine_tokens(t->e, &known);
    if (pos + n > ctx) pos = ctx - n;
    if (pos < known) pos = (u32)known;
    if (pos + n > ctx) return err_set(err, ERR_ENGINE_PROMPT, "the context is full");
    engine_params(t->e, pos, n, MIN2(r->m, n), &s);
    s.bound = c->bound;
    s.last = steps;
    t->from_ms = now(t);
    for (int i = 0; i < repeats; i++)
        if (!device_submit(t->d, &s, err)) return false;
    return true;
}

static void end(Tuner *t) {
    for (int i = 0; i < t->ncand; i++) {
        device_unbind(t->d, t->cand[i].bound);
        if (!t->cand[i].own) device_kernel_free(t->d, t->cand[i].handle);
    }
    t->ncand = 0;
    t->phase = TUNE_PICK;
    arena_reset(t->work);
}

// ---- what was measured --------------------------------------------------------------------------

static double median(const double *ms, int n) {
    double v[SAMPLES_MAX];
    for (int i = 0; i < n; i++) {
        int k = i;
        for (; k > 0 && v[k - 1] > ms[i]; k--) v[k] = v[k - 1];
        v[k] = ms[i];
    }
    return v[n / 2];
}

static EngineState decide(Tuner *t, Target *g) {
    const Candidate *best = &t->cand[0];
    int measured = 0;
    double all = (double)g->nsteps / (t->steps * t->repeats), was = median(best->ms, t->sample),
           least = was;
    for (int i = 0; i < t->ncand; i++) {
        double ms = median(t->cand[i].ms, t->sample);
        if (!t->cand[i].alive) continue;
        measured++;
        if (ms < least) least = ms, best = &t->cand[i];
    }
    if (!t->tuning) g->ms = was * all;
    bool better = best != t->cand && least < was * GAIN;
    TuneResult *r = &t->results[t->nresults];
    *r = (TuneResult){.kernel = t->p->kernels[g->kernel].name,
                      .rule = g->rule->name,
                      .regime = g->regime,
                      .nest_key = t->p->kernels[g->kernel].nest_key,
                      .was_ms = was * all,
                      .best_ms = (better ? least : was) * all,
                      .ranked = t->ranked,
                      .measured = measured,
                      .wrong = t->wrong};
    r->schedule = better ? arena_str(t->arena, best->schedule) : (Str){0};
    t->nresults += t->tuning;
    end(t);
    return t->tuning ? ENGINE_TOKEN : ENGINE_WORKING;
}

// ---- the state machine --------------------------------------------------------------------------

// Regime by regime: each kernel as it is, then the schedules of those that count.
static EngineState pick(Tuner *t) {
    for (;;) {
        while (t->tuning && t->at < t->last && t->target[t->at].share < LEAST_SHARE) t->at++;
        if (t->at < t->last) break;
        t->tuning = t->at > t->first && !t->tuning;
        if (t->tuning) {
            weigh(t);
        } else {
            t->first = t->last;
            if (t->first == t->ntargets) {
                t->complete = true;
                return ENGINE_DONE;
            }
            while (t->last < t->ntargets && t->target[t->last].regime == t->target[t->first].regime)
                t->last++;
        }
        t->at = t->first;
    }
    if (t->o.budget_ms > 0 && now(t) - t->begin_ms > t->o.budget_ms) return ENGINE_DONE;
    rank(t, &t->target[t->at++]);
    t->cur = t->sample = 0;
    t->phase = TUNE_MAKE;
    return ENGINE_WORKING;
}

// The next that is alive; past the last one the next sample begins.
static void next_run(Tuner *t) {
    do {
        if (++t->cur < t->ncand) continue;
        t->cur = 0;
        t->sample++;
    } while (!t->cand[t->cur].alive);
    t->phase = TUNE_RUN;
}

// A candidate that could not be made or run, or is wrong, is none. Without the rule's own there is
// nothing to compare with.
static EngineState drop(Tuner *t, const Err *why) {
    t->wrong += why->id == ERR_ENGINE_CHECK;
    t->cand[t->cur].alive = false;
    if (t->cur == 0) {
        end(t);
    } else if (t->phase < TUNE_RUN) {
        t->cur++;
        t->phase = TUNE_MAKE;
    } else {
        next_run(t);
    }
    return ENGINE_WORKING;
}

static EngineState advance(Tuner *t, Target *g, Err *err) {
    Candidate *c = &t->cand[t->cur];
    CheckAsk ask = {t->d, &c->program, &c->handle, g->regime, 0};
    EngineState s;
    switch (t->phase) {
    case TUNE_PICK: return pick(t);
    case TUNE_MAKE:
        if (t->cur == t->ncand) {
            double steps = t->o.sample_ms / MAX2(t->cand[0].first_ms, 1e-3) + 1;
            int all = MIN2(g->nsteps, (int)STEPS_MAX);
            t->steps = (int)MIN2(steps, (double)all);
            t->repeats = (int)MIN2(steps / all + 1, (double)REPEATS_MAX);
            t->cur = 0;
            t->phase = TUNE_RUN;
            return ENGINE_WORKING;
        }
        if (!make(t, g, c, err)) return ENGINE_FAILED;
        // the rule's own is checked where the engine uses it first
        t->phase = t->cur ? TUNE_CHECK : TUNE_WARM;
        return ENGINE_WORKING;
    case TUNE_CHECK:
        s = checker_step(t->checker, &ask, err);
        if (s != ENGINE_DONE) return s;
        t->phase = TUNE_WARM;
        return ENGINE_WORKING;
    case TUNE_WARM:
        t->phase = TUNE_WARMED;
        return run(t, g, c, 1, 1, err) ? ENGINE_WAITING : ENGINE_FAILED;
    case TUNE_WARMED: { // a pipeline may have been made: of the rule's own the second time counts
        bool again = t->cur == 0 && c->first_ms == 0;
        c->first_ms = now(t) - t->from_ms;
        t->phase = again ? TUNE_WARM : TUNE_MAKE;
        t->cur += !again;
        return ENGINE_WORKING;
    }
    case TUNE_RUN:
        if (t->sample == (t->tuning ? t->o.samples : 1)) return decide(t, g);
        t->phase = TUNE_RAN;
        return run(t, g, c, t->steps, t->repeats, err) ? ENGINE_WAITING : ENGINE_FAILED;
    case TUNE_RAN:
        c->ms[t->sample] = now(t) - t->from_ms;
        next_run(t);
        return ENGINE_WORKING;
    }
    return ENGINE_FAILED;
}

EngineState tuner_step(Tuner *t, Err *err) {
    Err why = {0};
    EngineState s = engine_settle(t->d, t->phase == TUNE_CHECK ? 4 : 0, &why);
    if (s == ENGINE_WORKING) s = advance(t, &t->target[MAX2(t->at, 1) - 1], &why);
    if (s != ENGINE_FAILED) return s;
    if (t->d->lost) {
        *err = why;
        return s;
    }
    checker_stop(t->checker, t->d);
    return drop(t, &why);
}

const TuneResult *tuner_results(const Tuner *t, int *n) {
    *n = t->nresults;
    return t->results;
}

bool tuner_complete(const Tuner *t) { return t->complete; }

void tuner_progress(const Tuner *t, int *done, int *all) {
    *done = t->first + t->at + (t->tuning ? t->last - t->first : 0);
    *all = 2 * t->ntargets;
}

Tuner *tuner_new(Engine *e, const TuneOptions *o, Err *err) {
    Arena *a = arena_new(NULL), *work = arena_new(NULL);
    Tuner *t = a && work ? NEW(a, Tuner) : NULL;
    if (!t) {
        arena_free(a), arena_free(work);
        err_set(err, ERR_OUT_OF_MEMORY, "nothing can be measured");
        return NULL;
    }
    *t = (Tuner){.o = *o, .e = e, .d = engine_device(e), .arena = a, .work = work};
    t->o.best = MIN2(MAX2(o->best, 1), (int)BEST_MAX);
    t->o.rows = o->rows ? o->rows : UINT32_MAX;
    t->o.samples = MIN2(MAX2(o->samples, 1), (int)SAMPLES_MAX);
    t->cand = NEW_N(a, Candidate, BEST_MAX + 1);
    t->checker = checker_new(a);
    t->begin_ms = now(t);
    CompileOptions c = *o->compile;
    c.dialect = NULL;
    c.work = NULL;
    c.tuned = NULL;
    if (!compile_program(a, o->graph, &c, &t->p, err)) {
        tuner_free(t);
        return NULL;
    }
    list_targets(t);
    return t;
}

void tuner_free(Tuner *t) {
    if (!t) return;
    checker_stop(t->checker, t->d);
    checker_free(t->checker);
    end(t);
    arena_free(t->work);
    arena_free(t->arena); // t lies in it
}
