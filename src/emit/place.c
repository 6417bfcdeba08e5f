// emit/place.c: decides how each buffer is spelled, from all of a kernel's accesses to it.
//
// Registers whose indices are all constant become variables, one for each element or vector; other
// registers an array. An argument or workgroup array is an array of vectors where the dialect needs
// that to read vectors and every vector access is aligned, its size is whole vectors, and no lane
// is stored alone (that would write its neighbours on some devices). Nothing is printed here.
#include "emit/emit_int.h"

enum { MOST_NAMES = 512 };

i64 mem_elems(const Buffer *b) {
    i64 n = 1, d;
    for (int i = 0; i < b->nd; i++)
        if (!expr_is_int(b->dims[i], &d) || d < 0 || __builtin_mul_overflow(n, d, &n)) return -1;
    return n;
}

Mem *mem_of(Emit *e, const Buffer *b) {
    i64 at;
    if (ptrmap_get(&e->mems, b, &at)) return (Mem *)(intptr_t)at;
    Mem *m = NEW(e->arena, Mem);
    *m = (Mem){.buf = b, .elems = mem_elems(b), .aligned = true, .constant = true};
    m->name = fresh_name(e, b->name);
    ptrmap_put(&e->mems, b, (i64)(intptr_t)m);
    vec_push(e->arena, &e->order, m);
    return m;
}

const Expr *in_place(Emit *e, const Expr *x) {
    return e->nsub ? expr_simplify(e->x, expr_subst(e->x, x, e->sub, e->by, e->nsub)) : x;
}

static const Expr *as_i32(Exprs *x, const Expr *i) { return ex_cast(x, TY_I32, i); }

const Expr *flat_index(Emit *e, const Mem *m, const Expr *const *idx) {
    Exprs *x = e->x;
    const Expr *f = ex_int(x, 0);
    for (int i = 0; i < m->buf->nd; i++)
        f = ex_add(x, ex_mul(x, f, as_i32(x, m->buf->dims[i])), as_i32(x, idx[i]));
    if (m->lane) f = ex_add(x, ex_mul(x, f, ex_int(x, m->lane_count)), ex_var(x, m->lane));
    return expr_simplify(x, e->nsub ? expr_subst(x, f, e->sub, e->by, e->nsub) : f);
}

// One access, by all lanes at once where a vec loop is open.
static void note(Emit *e, const Buffer *b, const Expr *const *idx, bool store) {
    Mem *m = mem_of(e, b);
    m->used = true;
    const Expr *f = flat_index(e, m, idx), *base;
    i64 v, coef;
    if (!e->lane || !expr_uses(f, e->lane)) {
        m->constant &= expr_is_int(f, &v);
        m->scalar_stores |= store;
        return;
    }
    if (expr_affine(e->x, f, e->lane, &base, &coef) && coef == 1) {
        m->constant &= expr_is_int(base, &v);
        if (b->scope == SCOPE_REG && !store && e->lanes < m->width) return; // some of a vector
        m->vectors = true;
        m->width = m->width && m->width != e->lanes ? -1 : e->lanes;
        m->aligned &= expr_divisor(base) % e->lanes == 0;
        return;
    }
    m->scalar_stores |= store;
    for (int i = 0; i < e->lanes && m->constant; i++) {
        const Expr *at = ex_int(e->x, i);
        m->constant &= expr_is_int(expr_simplify(e->x, expr_subst(e->x, f, &e->lane, &at, 1)), &v);
    }
}

static void note_node(void *user, const Expr *x) {
    if (x->op == EX_LOAD) note(user, x->buf, x->args, false);
    if (x->op == EX_VAR) {
        Name *n = name_of(user, x->var);
        if (n) n->used = true;
    }
}

static void note_expr(Emit *e, const Expr *x) {
    if (x && (x->loads || x->top >= 0)) expr_walk(x, note_node, e);
}

static bool note_block(Emit *e, const Block *b);

static bool each_iteration(Emit *e, const Var *v, int count, const Block *body) {
    bool ok = true;
    if (e->nsub == MAX_SUBS)
        return emit_fail(e, ERR_EMIT_LIMIT, "more than %d vec loops inside each other", MAX_SUBS);
    for (int i = 0; i < count && ok; i++) {
        push_sub(e, v, i);
        ok = note_block(e, body);
        pop_sub(e);
    }
    return ok;
}

bool lane_by_lane(Emit *e, const Stmt *s) {
    return e->lane && varies(e, in_place(e, s->kind == ST_IF ? s->cond : s->extent));
}

static bool note_lanes(Emit *e, const Stmt *s) {
    const Var *lane = e->lane;
    e->lane = NULL;
    bool ok = each_iteration(e, lane, e->lanes, &s->body);
    e->lane = lane;
    return ok;
}

static bool note_for(Emit *e, const Stmt *s) {
    i64 n;
    note_expr(e, s->extent);
    if (lane_by_lane(e, s)) return note_lanes(e, s);
    if (s->loop != LOOP_VEC) return note_block(e, &s->body);
    if (!expr_is_int(s->extent, &n) || n > 64)
        return emit_fail(e, ERR_EMIT_LIMIT, "a vec loop has at most 64 lanes, a constant number");
    if (e->lane || !e->d->native(e->p, n)) return each_iteration(e, s->var, (int)n, &s->body);
    e->lane = s->var;
    e->lanes = (int)n;
    bool ok = note_block(e, &s->body);
    e->lane = NULL;
    return ok;
}

static bool note_stmt(Emit *e, const Stmt *s) {
    switch (s->kind) {
    case ST_FOR: return note_for(e, s);
    case ST_LET:
        note_expr(e, s->value);
        name_var(e, s->var, NULL, varies(e, in_place(e, s->value)) ? e->lanes : 0);
        return true;
    case ST_STORE:
        note_expr(e, s->value);
        for (int i = 0; i < s->buf->nd; i++) note_expr(e, s->idx[i]);
        note(e, s->buf, s->idx, true);
        return true;
    case ST_IF:
        note_expr(e, s->cond);
        return lane_by_lane(e, s) ? note_lanes(e, s) : note_block(e, &s->body);
    case ST_ALLOC: {
        Mem *m = mem_of(e, s->buf);
        if (m->elems < 0)
            return emit_fail(e, ERR_EMIT_LIMIT, "the size of %s is not a constant", s->buf->name);
        if (e->lane && s->buf->scope == SCOPE_REG && !m->lane) {
            m->lane = e->lane;
            m->lane_count = e->lanes;
            m->elems *= e->lanes;
        }
        return true;
    }
    case ST_FETCH:
        for (int i = 0; e->d->fetch && i < s->buf->nd; i++) note_expr(e, s->idx[i]);
        return true;
    case ST_BARRIER: return true;
    }
    return true;
}

static bool note_block(Emit *e, const Block *b) {
    for (size_t i = 0; i < b->n; i++)
        if (!note_stmt(e, b->at[i])) return false;
    return true;
}

static void choose(Emit *e, Mem *m) {
    bool vectors = m->vectors && m->aligned && m->width > 0 && e->d->native(e->p, m->width);
    bool whole = m->elems >= 0 && vectors && m->elems % m->width == 0;
    m->lanes = vectors ? m->width : 0;
    if (m->buf->scope == SCOPE_REG) {
        if (m->constant && m->elems <= MOST_NAMES)
            m->lay = vectors ? LAY_VEC_NAMES : LAY_NAMES;
        else
            m->lay = whole ? LAY_VECTORS : LAY_SCALARS;
        return;
    }
    if (m->elems < 0 && vectors) { // rows of whole vectors are whole vectors
        const Expr *n = ex_int(e->x, 1);
        for (int i = 0; i < m->buf->nd; i++) n = ex_mul(e->x, n, as_i32(e->x, m->buf->dims[i]));
        whole = expr_divisor(expr_simplify(e->x, n)) % m->width == 0;
    }
    m->lay = e->d->arg_vectors && whole && m->width == 4 && !m->scalar_stores ? LAY_VECTORS
                                                                              : LAY_SCALARS;
}

bool place_all(Emit *e) {
    for (int i = 0; i < e->k->nargs; i++) {
        mem_of(e, e->k->arg[i]);
        for (int d = 0; d < e->k->arg[i]->nd; d++) note_expr(e, e->k->arg[i]->dims[d]);
    }
    if (!note_block(e, &e->k->body)) return false;
    for (size_t i = 0; i < e->order.n; i++) choose(e, e->order.at[i]);
    ptrmap_clear(&e->varies);
    return true;
}
