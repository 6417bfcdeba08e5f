// loop/primitives.c: the primitives that only move loops: split, reorder, fuse, bind, vectorise,
// unroll, guard.
//
// Each checks its legality, edits the nest and writes itself into the nest's log in canonical form,
// so that the log replayed on the naive nest gives this nest. What moves computations between
// stages is in stages.c and new_stages.c.
#include "loop/loop_int.h"

void nest_log(Nest *n, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    buf_vfmt(&n->log, fmt, ap);
    va_end(ap);
    buf_char(&n->log, '\n');
}

// "stage.loop" -> both; the loop's position in *at.
NestStage *nest_loop(Nest *n, Str name, int *at, Err *e) {
    Str loop, stage = str_cut(name, '.', &loop);
    NestStage *s = nest_stage(n, stage);
    if (!s || s->inlined) {
        err_set(e, ERR_SCHED_NO_STAGE,
                "there is no stage %S; name a stage that the kernel computes", stage);
        return NULL;
    }
    for (int i = 0; i < s->nloops; i++)
        if (str_eq(str_c(s->loop[i].var->name), loop)) {
            *at = i;
            return s;
        }
    err_set(e, ERR_SCHED_NO_LOOP, "stage %S has no loop %S; see `--show-schedule` for its loops",
            stage, loop);
    return NULL;
}

static bool name_taken(const NestStage *s, Str name) {
    for (int i = 0; i < s->nloops; i++)
        if (str_eq(str_c(s->loop[i].var->name), name)) return true;
    return false;
}

static bool fresh_name(const NestStage *s, Str name, Err *e) {
    if (!name.len || name_taken(s, name))
        return err_set(e, ERR_SCHED_NAME, "stage %s has a loop %S already; choose another name",
                       s->def.name, name);
    return true;
}

// Replaces a loop variable everywhere it may stand: axes of its stage, origins of the stages
// inside.
static void replace_var(Nest *n, NestStage *s, const Var *v, const Expr *by) {
    Exprs *x = n->x;
    for (int i = 0; i < s->def.nax; i++) s->axis_of[i] = expr_subst(x, s->axis_of[i], &v, &by, 1);
    for (int i = 0; i < s->def.nred; i++) s->red_of[i] = expr_subst(x, s->red_of[i], &v, &by, 1);
    for (int k = 0; k < n->nstages; k++)
        for (int i = 0; i < n->stage[k]->def.nax; i++) {
            NestStage *t = n->stage[k];
            if (t != s) t->origin[i] = expr_subst(x, t->origin[i], &v, &by, 1);
        }
}

static bool has_stages_at(const Nest *n, const NestStage *s, const Var *v) {
    for (int k = 0; k < n->nstages; k++)
        if (n->stage[k]->at == s && (!v || n->stage[k]->at_var == v)) return true;
    return false;
}

static void move_stages_at(Nest *n, const NestStage *s, const Var *from, const Var *to) {
    for (int k = 0; k < n->nstages; k++)
        if (n->stage[k]->at == s && n->stage[k]->at_var == from) n->stage[k]->at_var = to;
}

static Var *loop_var(Nest *n, Str name, const Expr *extent) {
    i64 lo, hi;
    expr_range(extent, &lo, &hi);
    char *z = arena_cstr(n->arena, name);
    return var_new(n->x, z, TY_I32, 0, hi > 0 ? hi - 1 : 0);
}

bool prim_split(Nest *n, Str loop, i64 factor, Str outer, Str inner, Err *e) {
    int at;
    NestStage *s = nest_loop(n, loop, &at, e);
    if (!s) return false;
    NestLoop l = s->loop[at];
    if (factor < 1 || factor > 65536)
        return err_set(e, ERR_SCHED_ILLEGAL, "split by %D; use 1 to 65536", factor);
    if (l.kind != LOOP_SERIAL)
        return err_set(e, ERR_SCHED_ILLEGAL, "%S is %s already; split before binding", loop,
                       loop_kind_name(l.kind));
    if (s->nloops == MAX_LOOPS)
        return err_set(e, ERR_SCHED_LIMIT, "stage %s has %d loops; the limit", s->def.name,
                       MAX_LOOPS);
    if (!fresh_name(s, outer, e) || !fresh_name(s, inner, e)) return false;
    if (str_eq(outer, inner))
        return err_set(e, ERR_SCHED_NAME, "both halves are named %S; name them apart", outer);
    Exprs *x = n->x;
    const Expr *fac = ex_int(x, factor);
    bool exact = expr_divisor(l.extent) % factor == 0;
    const Expr *out_ext = exact ? ex_idiv(x, l.extent, fac)
                                : ex_idiv(x, ex_add(x, l.extent, ex_int(x, factor - 1)), fac);
    out_ext = expr_simplify(x, out_ext);
    Var *vo = loop_var(n, outer, out_ext), *vi = loop_var(n, inner, fac);
    if (!exact) { // every axis that this loop helps to count may now overshoot
        for (int i = 0; i < s->def.nax; i++)
            if (expr_uses(s->axis_of[i], l.var)) s->inexact[i] = true;
        for (int i = 0; i < s->def.nred; i++)
            if (expr_uses(s->red_of[i], l.var)) s->red_inexact[i] = true;
    }
    replace_var(n, s, l.var, ex_add(x, ex_mul(x, ex_var(x, vo), fac), ex_var(x, vi)));
    memmove(&s->loop[at + 2], &s->loop[at + 1], sizeof(NestLoop) * (size_t)(s->nloops - at - 1));
    s->loop[at] = (NestLoop){.var = vo, .extent = out_ext, .reduce = l.reduce};
    s->loop[at + 1] = (NestLoop){.var = vi, .extent = fac, .reduce = l.reduce};
    s->nloops++;
    s->touched = true;
    move_stages_at(n, s, l.var, vi);
    nest_log(n, "split %S %D %S %S", loop, factor, outer, inner);
    return true;
}

bool prim_reorder(Nest *n, Str stage, int count, const Str *loops, Err *e) {
    NestStage *s = nest_stage(n, stage);
    if (!s || s->inlined)
        return err_set(e, ERR_SCHED_NO_STAGE,
                       "there is no stage %S; name a stage that the kernel computes", stage);
    if (count < 2 || count > s->nloops)
        return err_set(e, ERR_SCHED_ILLEGAL, "reorder takes two or more of the stage's %d loops",
                       s->nloops);
    NestLoop picked[MAX_LOOPS], all[MAX_LOOPS];
    bool used[MAX_LOOPS] = {0};
    for (int i = 0; i < count; i++) {
        int at = -1;
        for (int k = 0; k < s->nloops; k++)
            if (str_eq(str_c(s->loop[k].var->name), loops[i])) at = k;
        if (at < 0)
            return err_set(e, ERR_SCHED_NO_LOOP, "stage %S has no loop %S; see `--show-schedule`",
                           stage, loops[i]);
        if (used[at])
            return err_set(e, ERR_SCHED_ILLEGAL, "loop %S is named twice; name each once",
                           loops[i]);
        used[at] = true;
        picked[i] = s->loop[at];
    }
    memcpy(all, s->loop, sizeof all);
    for (int k = 0, i = 0; k < s->nloops; k++)
        if (used[k]) all[k] = picked[i++];
    // A stage computed inside a loop was given the region of the loops inside that one: the set
    // outside must stay.
    for (int k = 0; k < n->nstages; k++) {
        if (n->stage[k]->at != s) continue;
        int before = 0, after = 0;
        while (s->loop[before].var != n->stage[k]->at_var) before++;
        while (all[after].var != n->stage[k]->at_var) after++;
        bool same = before == after;
        for (int i = 0; same && i <= before; i++) {
            bool found = false;
            for (int j = 0; j <= after; j++) found |= all[j].var == s->loop[i].var;
            same = found;
        }
        if (!same)
            return err_set(e, ERR_SCHED_ILLEGAL,
                           "stage %s is computed inside %S.%s; reorder before compute_at",
                           n->stage[k]->def.name, stage, n->stage[k]->at_var->name);
    }
    memcpy(s->loop, all, sizeof all);
    s->touched = true;
    buf_fmt(&n->log, "reorder %S", stage);
    for (int i = 0; i < count; i++) buf_fmt(&n->log, " %S", loops[i]);
    buf_char(&n->log, '\n');
    return true;
}

bool prim_fuse(Nest *n, Str outer, Str inner, Str fused, Err *e) {
    int a, b;
    NestStage *s = nest_loop(n, outer, &a, e), *s2 = s ? nest_loop(n, inner, &b, e) : NULL;
    if (!s2) return false;
    if (s != s2 || b != a + 1)
        return err_set(e, ERR_SCHED_ILLEGAL,
                       "%S and %S are not adjacent loops of one stage; reorder first", outer,
                       inner);
    NestLoop lo = s->loop[a], li = s->loop[b];
    i64 in_ext;
    if (lo.reduce != li.reduce)
        return err_set(e, ERR_SCHED_ILLEGAL,
                       "%S and %S are not both reductions; fuse loops of one kind", outer, inner);
    if (lo.kind != LOOP_SERIAL || li.kind != LOOP_SERIAL)
        return err_set(e, ERR_SCHED_ILLEGAL, "%S or %S is bound already; fuse before binding",
                       outer, inner);
    if (!extent_const(li.extent, &in_ext))
        return err_set(e, ERR_SCHED_ILLEGAL,
                       "%S has no constant extent; fuse over a constant inner loop", inner);
    if (has_stages_at(n, s, lo.var))
        return err_set(e, ERR_SCHED_ILLEGAL,
                       "a stage is computed inside %S; fuse before compute_at", outer);
    if (!fresh_name(s, fused, e)) return false;
    Exprs *x = n->x;
    const Expr *ext = expr_simplify(x, ex_mul(x, lo.extent, li.extent));
    Var *v = loop_var(n, fused, ext);
    replace_var(n, s, lo.var, ex_idiv(x, ex_var(x, v), li.extent));
    replace_var(n, s, li.var, ex_mod(x, ex_var(x, v), li.extent));
    move_stages_at(n, s, li.var, v);
    s->loop[a] = (NestLoop){.var = v, .extent = ext, .reduce = lo.reduce};
    memmove(&s->loop[b], &s->loop[b + 1], sizeof(NestLoop) * (size_t)(s->nloops - b - 1));
    s->nloops--;
    s->touched = true;
    nest_log(n, "fuse %S %S %S", outer, inner, fused);
    return true;
}

static bool set_kind(Nest *n, Str loop, LoopKind kind, Err *e) {
    int at;
    NestStage *s = nest_loop(n, loop, &at, e);
    if (!s) return false;
    NestLoop *l = &s->loop[at];
    i64 ext;
    bool constant = extent_const(l->extent, &ext);
    if (l->kind != LOOP_SERIAL)
        return err_set(e, ERR_SCHED_ILLEGAL, "%S is %s already", loop, loop_kind_name(l->kind));
    switch (kind) {
    case LOOP_SERIAL:
    case LOOP_KIND_COUNT: return err_set(e, ERR_SCHED_ILLEGAL, "%S cannot be bound to that", loop);
    case LOOP_UNROLL:
        if (!constant || ext > 256)
            return err_set(e, ERR_SCHED_ILLEGAL, "%S cannot be unrolled; split it to at most 256",
                           loop);
        break;
    case LOOP_VEC:
        if (!constant || ext > 64)
            return err_set(e, ERR_SCHED_ILLEGAL, "%S cannot be lanes; split it to at most 64",
                           loop);
        if (l->reduce)
            return err_set(
                e, ERR_SCHED_ILLEGAL,
                "%S is a reduction: its iterations are not independent; rfactor it first", loop);
        for (int i = 0; i < s->nloops; i++)
            if (s->loop[i].kind == LOOP_VEC)
                return err_set(e, ERR_SCHED_ILLEGAL, "stage %s has lanes already", s->def.name);
        break;
    case LOOP_WG_X:
    case LOOP_WG_Y:
    case LOOP_WG_Z:
    case LOOP_CPU:
        if (s->at)
            return err_set(e, ERR_SCHED_ILLEGAL,
                           "stage %s is computed inside another; bind the outer stage's loop",
                           s->def.name);
        if ((kind == LOOP_CPU) == (n->profile->gpu != 0))
            return err_set(e, ERR_SCHED_ILLEGAL, "%s is not a level of this device",
                           loop_kind_name(kind));
        for (int i = 0; i < at; i++)
            if (!loop_is_wg(s->loop[i].kind))
                return err_set(e, ERR_SCHED_ILLEGAL, "%S is not outermost; reorder first", loop);
        break;
    case LOOP_THREAD_X:
    case LOOP_THREAD_Y:
    case LOOP_LANE:
        if (!n->profile->gpu)
            return err_set(e, ERR_SCHED_ILLEGAL, "a CPU has no workgroups; use cpu");
        if (!constant || ext > n->profile->max_wg_size)
            return err_set(e, ERR_SCHED_LIMIT, "%S does not fit a workgroup of %D; split it", loop,
                           n->profile->max_wg_size);
        break;
    }
    if (l->reduce &&
        (loop_is_wg(kind) || kind == LOOP_CPU || kind == LOOP_THREAD_X || kind == LOOP_THREAD_Y))
        return err_set(e, ERR_SCHED_ILLEGAL,
                       "%S is a reduction: threads would overwrite each other; rfactor it first",
                       loop);
    if (kind == LOOP_LANE) {
        if (!n->profile->subgroup || ext != n->profile->subgroup)
            return err_set(e, ERR_SCHED_ILLEGAL, "%S has %D iterations, a subgroup %D lanes", loop,
                           ext, n->profile->subgroup);
        if (!l->reduce || s->def.op == RED_MIN)
            return err_set(e, ERR_SCHED_ILLEGAL, "%S is not a sum or maximum; bind it to thread.x",
                           loop);
    }
    for (int i = 0; i < s->nloops && kind != LOOP_UNROLL; i++)
        if (s->loop[i].kind == kind || (loop_is_thread(kind) && loop_is_thread(s->loop[i].kind) &&
                                        loop_thread_dim(kind) == loop_thread_dim(s->loop[i].kind)))
            return err_set(e, ERR_SCHED_ILLEGAL, "stage %s has a %s loop already; fuse the two",
                           s->def.name, loop_kind_name(s->loop[i].kind));
    l->kind = kind;
    s->touched = true;
    return true;
}

bool prim_bind(Nest *n, Str loop, LoopKind kind, Err *e) {
    if (kind == LOOP_UNROLL || kind == LOOP_VEC)
        return err_set(e, ERR_SCHED_ILLEGAL, "use unroll or vectorise");
    if (!set_kind(n, loop, kind, e)) return false;
    nest_log(n, "bind %S %s", loop, loop_kind_name(kind));
    return true;
}

bool prim_vectorise(Nest *n, Str loop, Err *e) {
    if (!set_kind(n, loop, LOOP_VEC, e)) return false;
    nest_log(n, "vectorise %S", loop);
    return true;
}

bool prim_unroll(Nest *n, Str loop, Err *e) {
    if (!set_kind(n, loop, LOOP_UNROLL, e)) return false;
    nest_log(n, "unroll %S", loop);
    return true;
}

bool prim_guard(Nest *n, Str stage, Str axis, Err *e) {
    NestStage *s = nest_stage(n, stage);
    if (!s || s->inlined)
        return err_set(e, ERR_SCHED_NO_STAGE,
                       "there is no stage %S; name a stage that the kernel computes", stage);
    bool found = false;
    for (int i = 0; i < s->def.nax; i++)
        if (str_eq(str_c(s->def.ax[i].var->name), axis)) found = s->guarded[i] = true;
    for (int i = 0; i < s->def.nred; i++)
        if (str_eq(str_c(s->def.red[i].var->name), axis)) found = s->red_guarded[i] = true;
    if (!found) return err_set(e, ERR_SCHED_NO_LOOP, "stage %S has no axis %S", stage, axis);
    nest_log(n, "guard %S %S", stage, axis);
    return true;
}

bool prim_set(Nest *n, Str key, i64 value, Err *e) {
    (void)key, (void)value;
    if (!n->direct)
        return err_set(e, ERR_SCHED_ILLEGAL, "only a directly built kernel has parameters to set");
    return attention_set(n, key, value, e);
}
