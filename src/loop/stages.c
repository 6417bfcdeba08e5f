// loop/stages.c: the primitives that move computations between stages: inline and compute_at.
//
// compute_at shrinks a stage to the region that one iteration of its consumer's loop reads. The
// region is found from the consumer's indices, affine in the loops inside; an index that is not
// affine takes the whole axis. Where the region may reach past the axis (a split that does not
// divide), reads are clamped: the surplus is never stored.
#include "loop/loop_int.h"

static const Expr *whole(Exprs *x, const Expr *e) { return expr_simplify(x, e); }

// ---- loads of a stage's result ------------------------------------------------------------------
typedef struct LoadList {
    const Buffer *buf;
    const Expr *load[16];
    int n;
    bool overflow;
} LoadList;

static void collect_load(void *user, const Expr *e) {
    LoadList *l = user;
    if (e->buf != l->buf) return;
    for (int i = 0; i < l->n; i++)
        if (l->load[i] == e) return;
    if (l->n == (int)COUNT_OF(l->load))
        l->overflow = true;
    else
        l->load[l->n++] = e;
}

// Every expression of a stage through fn: body, and each store's value, predicate and indices.
static void stage_each(Stage *d, void (*fn)(void *user, const Expr **e), void *user) {
    if (d->body) fn(user, &d->body);
    for (int i = 0; i < d->nstores; i++) {
        fn(user, &d->store[i].value);
        if (d->store[i].pred) fn(user, &d->store[i].pred);
        for (int k = 0; k < d->store[i].buf->nd; k++) fn(user, &d->store[i].idx[k]);
    }
}

static void walk_loads(void *user, const Expr **e) { expr_walk_loads(*e, collect_load, user); }

static void stage_loads(NestStage *s, const Buffer *b, LoadList *out) {
    *out = (LoadList){.buf = b};
    stage_each(&s->def, walk_loads, out);
}

int stage_reads(NestStage *s, const Buffer *b, const Expr **out, int max) {
    LoadList l;
    stage_loads(s, b, &l);
    if (l.overflow || l.n > max) return -1;
    memcpy(out, l.load, sizeof *out * (size_t)l.n);
    return l.n;
}

static bool reads(NestStage *s, const Buffer *b) {
    LoadList l;
    stage_loads(s, b, &l);
    return l.n > 0;
}

// Replaces expressions in a stage's definition.
typedef struct Rewrite {
    Exprs *x;
    ExprMap fn;
    void *user;
} Rewrite;
static void rewrite_one(void *user, const Expr **e) {
    Rewrite *r = user;
    *e = whole(r->x, expr_map(r->x, *e, r->fn, r->user));
}
void stage_rewrite(NestStage *s, Exprs *x, ExprMap fn, void *user) {
    Rewrite r = {x, fn, user};
    stage_each(&s->def, rewrite_one, &r);
}

// ---- inline -------------------------------------------------------------------------------------
static const Expr *inline_load(void *user, Exprs *x, const Expr *e) {
    const NestStage *p = user;
    if (e->op != EX_LOAD || e->buf != p->def.out) return e;
    const Var *vars[MAX_AXES];
    for (int i = 0; i < p->def.nax; i++) vars[i] = p->def.ax[i].var;
    return expr_subst(x, p->def.body, vars, e->args, p->def.nax);
}

bool prim_inline(Nest *n, Str stage, Err *e) {
    NestStage *p = nest_stage(n, stage);
    if (!p || p->inlined)
        return err_set(e, ERR_SCHED_NO_STAGE, "there is no stage %S to inline", stage);
    if (p->def.op != RED_NONE || p->def.nstores)
        return err_set(e, ERR_SCHED_ILLEGAL, "stage %S is a reduction or a result; use compute_at",
                       stage);
    if (p->touched || p->at)
        return err_set(e, ERR_SCHED_ILLEGAL, "stage %S has a schedule already; inline it first",
                       stage);
    for (int i = 0; i < n->nstages; i++)
        if (n->stage[i]->at == p)
            return err_set(e, ERR_SCHED_ILLEGAL, "stage %s is computed inside %S",
                           n->stage[i]->def.name, stage);
    for (int i = 0; i < n->nstages; i++)
        if (n->stage[i] != p && !n->stage[i]->inlined)
            stage_rewrite(n->stage[i], n->x, inline_load, p);
    p->inlined = true;
    nest_log(n, "inline %S", stage);
    return true;
}

// ---- compute_at ---------------------------------------------------------------------------------
// The consumer's index e (over its axis variables) as an expression of its loops.
const Expr *stage_in_loops(const Nest *n, const NestStage *c, const Expr *e) {
    const Var *vars[2 * MAX_AXES];
    const Expr *by[2 * MAX_AXES];
    int k = 0;
    for (int i = 0; i < c->def.nax; i++) vars[k] = c->def.ax[i].var, by[k++] = nest_axis(n, c, i);
    for (int i = 0; i < c->def.nred; i++) vars[k] = c->def.red[i].var, by[k++] = c->red_of[i];
    return whole(n->x, expr_subst(n->x, e, vars, by, k));
}

// Smallest and largest value of e, an index in stage `from`, over its loops and those that stand
// between it and loop `at` of c, as expressions of the loops outside.
static bool span(Nest *n, const NestStage *from, const NestStage *c, int at, const Expr *e,
                 const Expr **lo, const Expr **hi) {
    Exprs *x = n->x;
    *lo = *hi = e;
    for (const NestStage *s = from; s; s = s == c ? NULL : s->at) {
        for (int i = s == c ? at + 1 : 0; i < s->nloops; i++) {
            const Var *v = s->loop[i].var;
            const Expr *base, *last = ex_sub(x, s->loop[i].extent, ex_int(x, 1));
            const Expr *zero = ex_int(x, 0);
            i64 coef;
            if (expr_uses(e, v)) {
                if (!expr_affine(x, e, v, &base, &coef)) return false;
                *lo = whole(x, expr_subst(x, *lo, &v, coef < 0 ? &last : &zero, 1));
                *hi = whole(x, expr_subst(x, *hi, &v, coef < 0 ? &zero : &last, 1));
            }
            if (expr_uses(*lo, v) || expr_uses(*hi, v)) return false; // an extent depends on it
        }
    }
    return true;
}

// The least value of e over all loops that are open inside loop `at` of c.
static i64 least(Nest *n, const Expr *e, const NestStage *c, int at) {
    Exprs *x = n->x;
    for (; c; c = c->at) {
        for (int i = 0; i <= at; i++) {
            const Expr *base, *last = ex_sub(x, c->loop[i].extent, ex_int(x, 1)),
                              *zero = ex_int(x, 0);
            i64 coef;
            const Var *v = c->loop[i].var;
            if (expr_uses(e, v) && expr_affine(x, e, v, &base, &coef))
                e = whole(x, expr_subst(x, e, &v, coef < 0 ? &last : &zero, 1));
        }
        for (at = 0; c->at && c->at->loop[at].var != c->at_var;) at++;
    }
    i64 lo, hi;
    expr_range(e, &lo, &hi);
    return lo;
}

// Who else reads p from inside the same loop: stages placed there already, or further in. Their
// whole region counts.
static bool placed_inside(const NestStage *o, const NestStage *c, int at) {
    for (; o->at; o = o->at)
        for (int i = at; o->at == c && i < c->nloops; i++)
            if (o->at_var == c->loop[i].var) return true;
    return false;
}

typedef struct Need { // one index list that reads p, and in which stage
    const NestStage *stage;
    const Expr *load;
} Need;

bool stage_place(Nest *n, NestStage *p, NestStage *c, int at, Err *e) {
    Exprs *x = n->x;
    Need need[32];
    int nneed = 0;
    for (int i = 0; i < n->nstages; i++) {
        NestStage *o = n->stage[i];
        if (o->inlined || o == p) continue;
        LoadList loads;
        stage_loads(o, p->def.out, &loads);
        if (loads.overflow || nneed + loads.n > (int)COUNT_OF(need))
            return err_set(e, ERR_SCHED_LIMIT, "stage %s reads %s in too many ways", o->def.name,
                           p->def.name);
        for (int k = 0; k < loads.n; k++) need[nneed++] = (Need){o, loads.load[k]};
    }
    for (int d = 0; d < p->def.nax; d++) {
        const Expr *origin = NULL, *last = NULL;
        bool all = false;
        for (int k = 0; k < nneed && !all; k++) {
            const Expr *lo, *hi;
            const NestStage *by = need[k].stage;
            all = !span(n, by, c, at, stage_in_loops(n, by, need[k].load->args[d]), &lo, &hi);
            i64 diff;
            if (all) break;
            if (!origin) {
                origin = lo, last = hi;
                continue;
            }
            if (!expr_is_int(whole(x, ex_sub(x, lo, origin)), &diff))
                all = true;
            else if (diff < 0)
                origin = lo;
            if (!all && !expr_is_int(whole(x, ex_sub(x, hi, last)), &diff))
                all = true;
            else if (!all && diff > 0)
                last = hi;
        }
        const Expr *zero = ex_int(x, 0), *one = ex_int(x, 1), *extent = p->def.ax[d].extent;
        if (all)
            origin = zero;
        else
            extent = whole(x, ex_add(x, ex_sub(x, last, origin), one));
        // may the region reach past the axis?
        const Expr *room = whole(x, ex_sub(x, p->def.ax[d].extent, ex_add(x, origin, extent)));
        bool past = least(n, room, c, at) < 0;
        if (extent == p->def.ax[d].extent && (past || extent != one))
            origin = zero, past = false; // what is beyond is never stored
        p->clamp[d] = past;
        p->origin[d] = origin;
        p->region[d] = extent;
        p->loop[d].extent = extent;
        i64 lo, most;
        expr_range(extent, &lo, &most);
        Var *v = var_new(x, p->def.ax[d].var->name, TY_I32, 0, most > 0 ? most - 1 : 0);
        p->loop[d].var = v;
        p->axis_of[d] = ex_var(x, v);
    }
    p->at = c;
    p->at_var = c->loop[at].var;
    return true;
}

bool prim_compute_at(Nest *n, Str stage, Str loop, Err *e) {
    NestStage *p = nest_stage(n, stage);
    if (!p || p->inlined)
        return err_set(e, ERR_SCHED_NO_STAGE, "there is no stage %S to place", stage);
    int at;
    NestStage *c = nest_loop(n, loop, &at, e);
    if (!c) return false;
    if (p == c || p->def.nstores)
        return err_set(e, ERR_SCHED_ILLEGAL, "stage %S is not read by %s", stage, c->def.name);
    if (p->touched) // one that rfactor made has its place already, and may go further inside
        return err_set(e, ERR_SCHED_ILLEGAL, "stage %S has a schedule already; place it first",
                       stage);
    bool read = false;
    for (int i = 0; i < n->nstages; i++) {
        NestStage *o = n->stage[i];
        if (o->at == p)
            return err_set(e, ERR_SCHED_ILLEGAL,
                           "stage %s is computed inside %S; place the outer one first", o->def.name,
                           stage);
        if (o->inlined || o == p || !reads(o, p->def.out)) continue;
        if (o != c && !placed_inside(o, c, at))
            return err_set(e, ERR_SCHED_ILLEGAL,
                           "stage %S is read by %s too, outside of %S; place that one there first",
                           stage, o->def.name, loop);
        read = true;
    }
    if (!read)
        return err_set(e, ERR_SCHED_ILLEGAL, "stage %S is not read by %s", stage, c->def.name);
    if (!stage_place(n, p, c, at, e)) return false;
    nest_log(n, "compute_at %S %S", stage, loop);
    return true;
}
