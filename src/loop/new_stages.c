// loop/new_stages.c: the primitives that make stages of parts of others: cache_read, rfactor,
// factor.
//
// cache_read gives the loads of an argument a stage of their own; rfactor leaves a reduction in
// partial results, one for each iteration of a loop; factor takes what a reduction's terms share
// out of it. The original stage reads the new one, and the schedule goes on with both.
#include "loop/loop_int.h"

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

Buffer *stage_temp(Nest *n, const char *name, Type t, int nax, const Axis *ax) {
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
    const Expr *load;
    if (stage_reads(c, b, &load, 1) != 1)
        return err_set(e, ERR_SCHED_ILLEGAL,
                       "stage %S does not read %S in just one way; that could be cached", stage,
                       buffer);
    Stage def = {.name = arena_cstr(n->arena, cached)};
    const Expr *idx[MAX_AXES];
    const Var *old[MAX_AXES];
    const Expr *neu[MAX_AXES];
    for (int pass = 0; pass < 2; pass++) { // spatial, then reduction axes that the index depends on
        int count = pass ? c->def.nred : c->def.nax;
        const Axis *ax = pass ? c->def.red : c->def.ax;
        for (int i = 0; i < count; i++) {
            if (!expr_uses(load, ax[i].var)) continue;
            if (def.nax == MAX_AXES)
                return err_set(e, ERR_SCHED_LIMIT, "%S is indexed by too many axes", buffer);
            Var *v = var_new(n->x, ax[i].var->name, TY_I32, ax[i].var->lo, ax[i].var->hi);
            old[def.nax] = ax[i].var, neu[def.nax] = ex_var(n->x, v),
            idx[def.nax] = ex_var(n->x, ax[i].var);
            def.ax[def.nax++] = (Axis){v, ax[i].extent};
        }
    }
    def.body = expr_subst(n->x, load, old, neu, def.nax);
    def.out = stage_temp(n, def.name, (Type)def.body->type, def.nax, def.ax);
    if (!insert_stage(n, c, &def, e)) return false;
    Replace r = {load, ex_load(n->x, def.out, idx)};
    stage_rewrite(c, n->x, replace_expr, &r);
    nest_log(n, "cache_read %S %S %S", stage, buffer, cached);
    return true;
}

bool prim_half(Nest *n, Str stage, Err *e) {
    NestStage *s = nest_stage(n, stage);
    if (!s || s->inlined) return err_set(e, ERR_SCHED_NO_STAGE, "there is no stage %S", stage);
    if (!n->profile->f16 || s->def.op != RED_NONE || s->def.nstores || s->def.body->type != TY_F32)
        return err_set(e, ERR_SCHED_ILLEGAL,
                       "stage %S is no copy of f32, or the profile has no f16", stage);
    s->half = true;
    nest_log(n, "half %S", stage);
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
    q.body = expr_simplify(x, body);
    if (!q.nred) q.op = RED_NONE;
    q.out = stage_temp(n, q.name, (Type)q.body->type, q.nax, q.ax);
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

const Expr *stage_body_in_loops(const Nest *n, const NestStage *p) {
    const Var *old[MAX_AXES];
    const Expr *neu[MAX_AXES];
    for (int i = 0; i < p->def.nred; i++) old[i] = p->def.red[i].var, neu[i] = p->red_of[i];
    return expr_simplify(n->x, expr_subst(n->x, p->def.body, old, neu, p->def.nred));
}

bool stage_divides(const NestStage *p, Err *e) {
    for (int i = 0; i < p->def.nred; i++)
        if (p->red_inexact[i])
            return err_set(e, ERR_SCHED_ILLEGAL,
                           "the reduction of %s does not divide; split by a factor of it",
                           p->def.name);
    return true;
}

bool stage_without_loop(Nest *n, const NestStage *p, int at, WithoutLoop *w, Err *e) {
    *w = (WithoutLoop){.def = p->def};
    w->def.nred = 0;
    for (int i = 0; i < p->nloops; i++) {
        if (i == at) continue;
        if (p->loop[i].reduce) {
            if (w->def.nred == MAX_AXES)
                return err_set(e, ERR_SCHED_LIMIT, "stage %s has too many reduction loops",
                               p->def.name);
            Var *v = var_new(n->x, p->loop[i].var->name, TY_I32, 0, p->loop[i].var->hi);
            w->old[w->n] = p->loop[i].var, w->neu[w->n++] = ex_var(n->x, v);
            w->red_of[w->def.nred] = ex_var(n->x, p->loop[i].var);
            w->def.red[w->def.nred++] = (Axis){v, p->loop[i].extent};
        }
        w->loop[w->nloops++] = p->loop[i];
    }
    return true;
}

void stage_take(NestStage *p, const WithoutLoop *w) {
    p->def = w->def;
    memcpy(p->loop, w->loop, sizeof p->loop);
    p->nloops = w->nloops;
    memset(p->red_inexact, 0, sizeof p->red_inexact);
    memcpy(p->red_of, w->red_of, sizeof p->red_of);
    p->touched = true;
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
    if (!stage_divides(p, e)) return false;
    const Expr *body = stage_body_in_loops(n, p);
    Term term[8];
    int nt = factor_terms(x, body, l.var, term, COUNT_OF(term));
    bool gain = false;
    for (int i = 0; i < nt; i++) gain |= !term[i].v || term[i].c->op != EX_FCONST;
    if (nt < 1 || !gain)
        return err_set(e, ERR_SCHED_ILLEGAL, "nothing can be taken out of %S", loop);
    WithoutLoop w;
    if (!stage_without_loop(n, p, at, &w, e)) return false;
    const Expr *sum = NULL;
    NestStage *made[8];
    int nmade = 0;
    for (int i = 0; i < nt; i++) {
        const Expr *c = expr_subst(x, term[i].c, w.old, w.neu, w.n);
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
            for (int d = 0; d < p->def.nax + w.def.nred; d++) {
                bool spatial = d < p->def.nax;
                const Var *v = spatial ? p->def.ax[d].var : w.old[d - p->def.nax];
                const Axis *ax = spatial ? &p->def.ax[d] : &w.def.red[d - p->def.nax];
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
            q.body = expr_simplify(x, expr_subst(x, term[i].v, qold, qneu, k));
            q.out = stage_temp(n, q.name, (Type)q.body->type, q.nax, q.ax);
            NestStage *qs = insert_stage(n, p, &q, e);
            if (!qs) return false;
            made[nmade++] = qs;
            part = ex_mul(x, c, ex_load(x, q.out, idx));
        }
        sum = sum ? ex_add(x, sum, part) : part;
    }
    const Var *outer_var = p->loop[outer].var;
    w.def.body = sum;
    stage_take(p, &w);
    int outer_at = 0;
    while (p->loop[outer_at].var != outer_var) outer_at++;
    for (int i = 0; i < nmade; i++)
        if (!stage_place(n, made[i], p, outer_at, e)) return false;
    nest_log(n, "factor %S", loop);
    return true;
}
