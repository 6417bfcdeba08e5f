// loop/stages.c: the primitives that move computations between stages: inline, compute_at,
// cache_read, rfactor, factor.
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
    if (e->op != EX_LOAD || e->buf != l->buf) return;
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

static void walk_loads(void *user, const Expr **e) { expr_walk(*e, collect_load, user); }

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
static void rewrite(NestStage *s, Exprs *x, ExprMap fn, void *user) {
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
        if (n->stage[i] != p && !n->stage[i]->inlined) rewrite(n->stage[i], n->x, inline_load, p);
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

// Smallest and largest value of e over the consumer's loops from `inside` on, as expressions of the
// loops outside.
static bool span(Nest *n, const NestStage *c, int inside, const Expr *e, const Expr **lo,
                 const Expr **hi) {
    Exprs *x = n->x;
    *lo = *hi = e;
    for (int i = inside; i < c->nloops; i++) {
        const Var *v = c->loop[i].var;
        if (!expr_uses(e, v)) continue;
        const Expr *base;
        i64 coef;
        const Expr *last = ex_sub(x, c->loop[i].extent, ex_int(x, 1)), *zero = ex_int(x, 0);
        if (!expr_affine(x, e, v, &base, &coef)) return false;
        *lo = whole(x, expr_subst(x, *lo, &v, coef < 0 ? &last : &zero, 1));
        *hi = whole(x, expr_subst(x, *hi, &v, coef < 0 ? &zero : &last, 1));
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

// Who else reads p from inside the same loop: stages placed there already. Their whole region
// counts.
static bool placed_inside(const NestStage *o, const NestStage *c, const Var *loop) {
    for (; o->at; o = o->at)
        if (o->at == c && o->at_var == loop) return true;
    return false;
}

typedef struct Need { // one index list that reads p, and over which loops it runs
    const NestStage *stage;
    int inside;
    const Expr *load;
} Need;

static bool place(Nest *n, NestStage *p, NestStage *c, int at, Err *e) {
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
        for (int k = 0; k < loads.n; k++)
            need[nneed++] = (Need){o, o == c ? at + 1 : 0, loads.load[k]};
    }
    for (int d = 0; d < p->def.nax; d++) {
        const Expr *origin = NULL, *last = NULL;
        bool all = false;
        for (int k = 0; k < nneed && !all; k++) {
            const Expr *lo, *hi;
            all = !span(n, need[k].stage, need[k].inside,
                        stage_in_loops(n, need[k].stage, need[k].load->args[d]), &lo, &hi);
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
        const Expr *extent =
            all ? NULL : whole(x, ex_add(x, ex_sub(x, last, origin), ex_int(x, 1)));
        if (all) origin = ex_int(x, 0), extent = p->def.ax[d].extent;
        // may the region reach past the axis?
        const Expr *room = whole(x, ex_sub(x, p->def.ax[d].extent, ex_add(x, origin, extent)));
        p->clamp[d] = extent != p->def.ax[d].extent && least(n, room, c, at) < 0;
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
    if (p->touched || p->at)
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
        if (o != c && !placed_inside(o, c, c->loop[at].var))
            return err_set(e, ERR_SCHED_ILLEGAL,
                           "stage %S is read by %s too, outside of %S; place that one there first",
                           stage, o->def.name, loop);
        read = true;
    }
    if (!read)
        return err_set(e, ERR_SCHED_ILLEGAL, "stage %S is not read by %s", stage, c->def.name);
    if (!place(n, p, c, at, e)) return false;
    nest_log(n, "compute_at %S %S", stage, loop);
    return true;
}

// ---- new stages ---------------------------------------------------------------------------------
// Puts a stage before `before`; its definition becomes the nest's own.
static NestStage *insert_stage(Nest *n, const NestStage *before, const Stage *def, Err *e) {
    if (n->nstages == MAX_STAGES) {
        err_set(e, ERR_SCHED_LIMIT, "a kernel has at most %d stages", MAX_STAGES);
        return NULL;
    }
    if (nest_stage(n, str_c(def->name))) {
        err_set(e, ERR_SCHED_NAME, "there is a stage %s already; choose another name", def->name);
        return NULL;
    }
    int at = 0;
    while (n->stage[at] != before) at++;
    memmove(&n->stage[at + 1], &n->stage[at], sizeof n->stage[0] * (size_t)(n->nstages - at));
    n->nstages++;
    n->stage[at] = NEW(n->arena, NestStage);
    nest_stage_init(n, n->stage[at], def);
    return n->stage[at];
}

static const Buffer *temp_for(Nest *n, const char *name, Type t, int nax, const Axis *ax) {
    const Expr *dims[BUFFER_MAX_DIMS];
    for (int i = 0; i < nax; i++) dims[i] = ax[i].extent;
    return buffer_new(n->x, name, t, SCOPE_TEMP, nax, dims);
}

typedef struct Replace {
    const Expr *from, *to;
} Replace;
static const Expr *replace_expr(void *user, Exprs *x, const Expr *e) {
    (void)x;
    Replace *r = user;
    return e == r->from ? r->to : e;
}

bool prim_cache_read(Nest *n, Str stage, Str buffer, Str cached, Err *e) {
    NestStage *c = nest_stage(n, stage);
    if (!c || c->inlined) return err_set(e, ERR_SCHED_NO_STAGE, "there is no stage %S", stage);
    const Buffer *b = NULL;
    for (int i = 0; i < n->f->nargs; i++)
        if (str_eq(str_c(n->f->arg[i]->name), buffer)) b = n->f->arg[i];
    if (!b || b->written)
        return err_set(e, ERR_SCHED_ILLEGAL, "%S is not an input of this kernel", buffer);
    LoadList loads;
    stage_loads(c, b, &loads);
    if (loads.n != 1)
        return err_set(e, ERR_SCHED_ILLEGAL, "stage %S reads %S in %d ways; one can be cached",
                       stage, buffer, loads.n);
    Stage def = {.name = arena_cstr(n->arena, cached)};
    const Expr *idx[MAX_AXES];
    const Var *old[MAX_AXES];
    const Expr *neu[MAX_AXES];
    for (int pass = 0; pass < 2; pass++) { // spatial, then reduction axes that the index depends on
        int count = pass ? c->def.nred : c->def.nax;
        const Axis *ax = pass ? c->def.red : c->def.ax;
        for (int i = 0; i < count; i++) {
            if (!expr_uses(loads.load[0], ax[i].var)) continue;
            if (def.nax == MAX_AXES)
                return err_set(e, ERR_SCHED_LIMIT, "%S is indexed by too many axes", buffer);
            Var *v = var_new(n->x, ax[i].var->name, TY_I32, ax[i].var->lo, ax[i].var->hi);
            old[def.nax] = ax[i].var, neu[def.nax] = ex_var(n->x, v),
            idx[def.nax] = ex_var(n->x, ax[i].var);
            def.ax[def.nax++] = (Axis){v, ax[i].extent};
        }
    }
    def.body = expr_subst(n->x, loads.load[0], old, neu, def.nax);
    def.out = temp_for(n, def.name, (Type)def.body->type, def.nax, def.ax);
    if (!insert_stage(n, c, &def, e)) return false;
    Replace r = {loads.load[0], ex_load(n->x, def.out, idx)};
    rewrite(c, n->x, replace_expr, &r);
    nest_log(n, "cache_read %S %S %S", stage, buffer, cached);
    return true;
}

bool prim_rfactor(Nest *n, Str loop, Str partial, Err *e) {
    int at;
    NestStage *p = nest_loop(n, loop, &at, e);
    if (!p) return false;
    NestLoop l = p->loop[at];
    Exprs *x = n->x;
    i64 ext;
    if (!l.reduce || l.kind != LOOP_SERIAL)
        return err_set(e, ERR_SCHED_ILLEGAL, "%S is not a serial reduction loop", loop);
    if (!extent_const(l.extent, &ext))
        return err_set(e, ERR_SCHED_ILLEGAL, "%S has no constant extent; split it first", loop);
    if (p->def.nax == MAX_AXES)
        return err_set(e, ERR_SCHED_LIMIT, "stage %s has too many axes", p->def.name);
    for (int i = 0; i < p->def.nax; i++)
        if (p->axis_of[i]->op != EX_VAR)
            return err_set(e, ERR_SCHED_ILLEGAL,
                           "stage %s has split axes; rfactor before splitting them", p->def.name);
    for (int k = 0; k < n->nstages; k++)
        if (n->stage[k]->at == p)
            return err_set(e, ERR_SCHED_ILLEGAL, "stage %s is computed inside %s; rfactor first",
                           n->stage[k]->def.name, p->def.name);
    // the new stage: p's axes and the loop; reduces over the remaining reduction loops
    Stage q = {.name = arena_cstr(n->arena, partial), .op = p->def.op};
    const Var *old[2 * MAX_AXES];
    const Expr *neu[2 * MAX_AXES];
    int ns = 0;
    for (int i = 0; i < p->def.nax; i++) {
        Var *v =
            var_new(x, p->def.ax[i].var->name, TY_I32, p->def.ax[i].var->lo, p->def.ax[i].var->hi);
        old[ns] = p->def.ax[i].var, neu[ns++] = ex_var(x, v);
        q.ax[q.nax++] = (Axis){v, p->def.ax[i].extent};
    }
    Var *lv = var_new(x, l.var->name, TY_I32, 0, ext - 1);
    q.ax[q.nax++] = (Axis){lv, l.extent};
    const Var *lold[MAX_LOOPS];
    const Expr *lneu[MAX_LOOPS];
    int nl = 0;
    lold[nl] = l.var, lneu[nl++] = ex_var(x, lv);
    for (int i = 0; i < p->nloops; i++) {
        if (!p->loop[i].reduce || i == at) continue;
        if (q.nred == MAX_AXES)
            return err_set(e, ERR_SCHED_LIMIT, "stage %s has too many reduction loops",
                           p->def.name);
        Var *v = var_new(x, p->loop[i].var->name, TY_I32, 0, p->loop[i].var->hi);
        lold[nl] = p->loop[i].var, lneu[nl++] = ex_var(x, v);
        q.red[q.nred++] = (Axis){v, p->loop[i].extent};
    }
    const Expr *body = p->def.body;
    const Expr *valid = NULL;
    for (int i = 0; i < p->def.nred; i++) {
        const Expr *r = expr_subst(x, p->red_of[i], lold, lneu, nl);
        if (p->red_inexact[i]) {
            if (!p->red_guarded[i])
                return err_set(e, ERR_SCHED_NEEDS_GUARD,
                               "the split of %s.%s does not divide it; guard it first", p->def.name,
                               p->def.red[i].var->name);
            const Expr *in = ex_lt(x, r, p->def.red[i].extent);
            valid = valid ? ex_land(x, valid, in) : in;
            r = ex_min(x, r, ex_sub(x, p->def.red[i].extent, ex_int(x, 1)));
        }
        old[ns] = p->def.red[i].var, neu[ns++] = r;
    }
    body = expr_subst(x, body, old, neu, ns);
    if (valid) body = ex_select(x, valid, body, reduce_identity(x, p->def.op, (Type)body->type));
    q.body = whole(x, body);
    if (!q.nred) q.op = RED_NONE;
    q.out = temp_for(n, q.name, (Type)q.body->type, q.nax, q.ax);
    NestStage *qs = insert_stage(n, p, &q, e);
    if (!qs) return false;
    // p now reduces over the loop alone
    const Expr *idx[MAX_AXES];
    for (int i = 0; i < p->def.nax; i++) idx[i] = ex_var(x, p->def.ax[i].var);
    Var *rv = var_new(x, l.var->name, TY_I32, 0, ext - 1);
    idx[p->def.nax] = ex_var(x, rv);
    p->def.body = ex_load(x, q.out, idx);
    p->def.red[0] = (Axis){rv, l.extent};
    p->def.nred = 1;
    p->red_of[0] = ex_var(x, rv);
    p->red_inexact[0] = p->red_guarded[0] = false;
    int k = 0;
    for (int i = 0; i < p->nloops; i++)
        if (!p->loop[i].reduce) p->loop[k++] = p->loop[i];
    p->loop[k++] = (NestLoop){.var = rv, .extent = l.extent, .reduce = true};
    p->nloops = k;
    p->touched = true;
    // the same region, computed where p is
    qs->at = p->at;
    qs->at_var = p->at_var;
    for (int i = 0; i < p->def.nax; i++) {
        qs->origin[i] = p->origin[i], qs->region[i] = p->region[i], qs->clamp[i] = p->clamp[i];
        qs->loop[i].extent = p->region[i];
        Var *v = var_new(x, p->def.ax[i].var->name, TY_I32, 0, p->loop[i].var->hi);
        qs->loop[i].var = v;
        qs->axis_of[i] = ex_var(x, v);
    }
    nest_log(n, "rfactor %S %S", loop, partial);
    return true;
}

bool prim_factor(Nest *n, Str loop, Err *e) {
    int at;
    NestStage *p = nest_loop(n, loop, &at, e);
    if (!p) return false;
    NestLoop l = p->loop[at];
    Exprs *x = n->x;
    int outer = -1; // the reduction loop just outside
    for (int i = 0; i < at; i++)
        if (p->loop[i].reduce) outer = i;
    if (!l.reduce || l.kind != LOOP_SERIAL || p->def.op != RED_SUM)
        return err_set(e, ERR_SCHED_ILLEGAL, "%S is not a serial loop of a sum", loop);
    if (outer < 0)
        return err_set(e, ERR_SCHED_ILLEGAL,
                       "%S has no reduction loop around it; split the reduction first", loop);
    for (int i = at + 1; i < p->nloops; i++)
        if (p->loop[i].reduce)
            return err_set(e, ERR_SCHED_ILLEGAL, "%S has reduction loops inside; reorder first",
                           loop);
    for (int i = 0; i < p->def.nred; i++)
        if (p->red_inexact[i])
            return err_set(e, ERR_SCHED_ILLEGAL,
                           "the reduction of %s does not divide; split by a factor of it",
                           p->def.name);
    // the body over loops instead of reduction axes
    const Var *old[MAX_AXES];
    const Expr *neu[MAX_AXES];
    for (int i = 0; i < p->def.nred; i++) old[i] = p->def.red[i].var, neu[i] = p->red_of[i];
    const Expr *body = whole(x, expr_subst(x, p->def.body, old, neu, p->def.nred));
    Term term[8];
    int nt = factor_terms(x, body, l.var, term, COUNT_OF(term));
    bool gain = false;
    for (int i = 0; i < nt; i++) gain |= !term[i].v || term[i].c->op != EX_FCONST;
    if (nt < 1 || !gain)
        return err_set(e, ERR_SCHED_ILLEGAL, "nothing can be taken out of %S", loop);
    // p reduces over its other reduction loops, as axes of their own
    Stage def = p->def;
    def.nred = 0;
    const Var *lold[MAX_LOOPS];
    const Expr *lneu[MAX_LOOPS];
    int nl = 0;
    NestLoop loops[MAX_LOOPS];
    int nloops = 0;
    const Expr *red_of[MAX_AXES];
    for (int i = 0; i < p->nloops; i++) {
        if (i == at) continue;
        if (p->loop[i].reduce) {
            if (def.nred == MAX_AXES)
                return err_set(e, ERR_SCHED_LIMIT, "stage %s has too many reduction loops",
                               p->def.name);
            Var *v = var_new(x, p->loop[i].var->name, TY_I32, 0, p->loop[i].var->hi);
            lold[nl] = p->loop[i].var, lneu[nl++] = ex_var(x, v);
            red_of[def.nred] = ex_var(x, p->loop[i].var);
            def.red[def.nred++] = (Axis){v, p->loop[i].extent};
        }
        loops[nloops++] = p->loop[i];
    }
    const Expr *sum = NULL;
    NestStage *made[8];
    int nmade = 0;
    for (int i = 0; i < nt; i++) {
        const Expr *c = expr_subst(x, term[i].c, lold, lneu, nl);
        const Expr *part;
        if (!term[i].v) { // the sum of 1 over the loop
            i64 ext;
            if (!extent_const(l.extent, &ext))
                return err_set(e, ERR_SCHED_ILLEGAL, "%S has no constant extent", loop);
            part = ex_mul(x, c, ex_f32(x, (double)ext));
        } else {
            Stage q = {.name =
                           arena_cstr(n->arena, str_fmt(n->arena, "%s_f%d", p->def.name, nmade)),
                       .op = RED_SUM};
            const Var *qold[MAX_AXES + MAX_LOOPS];
            const Expr *qneu[MAX_AXES + MAX_LOOPS], *idx[MAX_AXES];
            int k = 0;
            for (int d = 0; d < p->def.nax + def.nred; d++) {
                bool spatial = d < p->def.nax;
                const Var *v = spatial ? p->def.ax[d].var : lold[d - p->def.nax];
                const Axis *ax = spatial ? &p->def.ax[d] : &def.red[d - p->def.nax];
                if (!expr_uses(term[i].v, v)) continue;
                if (q.nax == MAX_AXES)
                    return err_set(e, ERR_SCHED_LIMIT, "stage %s has too many axes to factor",
                                   p->def.name);
                Var *nv = var_new(x, v->name, TY_I32, v->lo, v->hi);
                qold[k] = v, qneu[k++] = ex_var(x, nv);
                idx[q.nax] = ex_var(x, spatial ? v : ax->var);
                q.ax[q.nax++] = (Axis){nv, ax->extent};
            }
            Var *lv = var_new(x, l.var->name, TY_I32, 0, l.var->hi);
            qold[k] = l.var, qneu[k++] = ex_var(x, lv);
            q.red[q.nred++] = (Axis){lv, l.extent};
            q.body = whole(x, expr_subst(x, term[i].v, qold, qneu, k));
            q.out = temp_for(n, q.name, (Type)q.body->type, q.nax, q.ax);
            NestStage *qs = insert_stage(n, p, &q, e);
            if (!qs) return false;
            made[nmade++] = qs;
            part = ex_mul(x, c, ex_load(x, q.out, idx));
        }
        sum = sum ? ex_add(x, sum, part) : part;
    }
    const Var *outer_var = p->loop[outer].var;
    def.body = sum;
    p->def = def;
    memcpy(p->loop, loops, sizeof loops);
    p->nloops = nloops;
    memset(p->red_inexact, 0, sizeof p->red_inexact);
    memcpy(p->red_of, red_of, sizeof red_of);
    p->touched = true;
    int outer_at = 0;
    while (p->loop[outer_at].var != outer_var) outer_at++;
    for (int i = 0; i < nmade; i++)
        if (!place(n, made[i], p, outer_at, e)) return false;
    nest_log(n, "factor %S", loop);
    return true;
}
