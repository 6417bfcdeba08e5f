// loop/join_lanes.c: neighbouring lane loops become one, so that what they share is computed once.
//
// Unrolling leaves a lane loop for each row or element of k; a dequantised weight that four rows
// use would be dequantised four times. Two loops of the same extent may run as one when no lane of
// the second reads, or overwrites, what another lane of the first touched: every buffer that either
// stores to and both touch must be indexed, in one and the same dimension, by one and the same
// expression of the lane.
#include "loop/loop_int.h"

typedef struct Touch {
    const Buffer *buf;
    bool stored;
    const Expr *idx[BUFFER_MAX_DIMS];
    const Expr *base[BUFFER_MAX_DIMS]; // each index is base + coef * lane; NULL: it is not so
    i64 coef[BUFFER_MAX_DIMS];
} Touch;

enum { MOST_TOUCHES = 512 };
typedef struct Touches { // of a lane loop
    Arena *arena;
    Exprs *x;
    const Var *lane;
    VEC(Touch) all;
    bool full;
} Touches;

static void touches_clear(Touches *t, const Var *lane) {
    t->lane = lane;
    t->all.n = 0;
    t->full = false;
}

static void touch(Touches *t, const Buffer *b, bool stored, const Expr *const *idx) {
    for (size_t i = 0; i < t->all.n; i++) {
        const Touch *have = &t->all.at[i];
        if (have->buf == b && have->stored == stored &&
            !memcmp(have->idx, idx, sizeof *idx * (size_t)b->nd))
            return;
    }
    if (t->all.n == MOST_TOUCHES) {
        t->full = true;
        return;
    }
    Touch x = {.buf = b, .stored = stored};
    memcpy(x.idx, idx, sizeof *idx * (size_t)b->nd);
    for (int d = 0; d < b->nd; d++)
        if (!expr_affine(t->x, idx[d], t->lane, &x.base[d], &x.coef[d])) x.base[d] = NULL;
    vec_push(t->arena, &t->all, x);
}

static void touch_load(void *user, const Expr *e) { touch(user, e->buf, false, e->args); }

// Only straight statements are joined: stores and lets.
static bool collect(const Block *b, Touches *t) {
    for (size_t i = 0; i < b->n; i++) {
        const Stmt *s = b->at[i];
        if (s->kind != ST_STORE && s->kind != ST_LET) return false;
        expr_walk_loads(s->value, touch_load, t);
        if (s->kind != ST_STORE) continue;
        for (int d = 0; d < s->buf->nd; d++) expr_walk_loads(s->idx[d], touch_load, t);
        touch(t, s->buf, true, s->idx);
    }
    return !t->full;
}

// Two indices of one dimension that no two different lanes share: the same expression, one value a
// lane, or ranges of the lane side by side.
static bool no_lane_meets(Exprs *x, const Touch *p, const Touch *q, int d, i64 lanes) {
    i64 coef = p->coef[d], off;
    if (!p->base[d] || !q->base[d] || coef != q->coef[d]) return false;
    if (p->base[d] == q->base[d]) return coef != 0;
    if (!expr_is_int(expr_simplify(x, ex_sub(x, p->base[d], q->base[d])), &off)) return false;
    i64 reach = (coef < 0 ? -coef : coef) * (lanes - 1);
    return off > reach || -off > reach;
}

static bool apart(const Touches *a, const Touches *b, i64 lanes) {
    for (size_t i = 0; i < a->all.n; i++)
        for (size_t k = 0; k < b->all.n; k++) {
            const Touch *p = &a->all.at[i], *q = &b->all.at[k];
            if (p->buf != q->buf || !(p->stored || q->stored)) continue;
            bool own = false;
            for (int d = 0; d < p->buf->nd; d++) own |= no_lane_meets(a->x, p, q, d, lanes);
            if (!own) return false;
        }
    return true;
}

static void rename_lane(Exprs *x, Block *b, const Var *from, const Var *to) {
    const Expr *by = ex_var(x, to);
    for (size_t i = 0; i < b->n; i++) {
        Stmt *s = b->at[i];
        s->value = expr_subst(x, s->value, &from, &by, 1);
        for (int d = 0; s->kind == ST_STORE && d < s->buf->nd; d++)
            s->idx[d] = expr_subst(x, s->idx[d], &from, &by, 1);
    }
}

// May `s` stand before the loop that touches t? Declarations, and lets of what the loop does not
// store.
static bool may_pass(const Stmt *s, const Touches *t) {
    if (s->kind == ST_ALLOC) return s->buf->scope == SCOPE_REG;
    if (s->kind != ST_LET) return false;
    for (size_t i = 0; i < t->all.n; i++)
        if (t->all.at[i].stored && expr_loads(s->value, t->all.at[i].buf)) return false;
    return true;
}

static bool is_lanes(const Stmt *s) { return s->kind == ST_FOR && s->loop == LOOP_VEC; }

static void join_block(Arena *a, Kernel *k, Block *b, Touches *mine, Touches *next) {
    for (size_t i = 0; i < b->n; i++)
        if (b->at[i]->kind == ST_FOR || b->at[i]->kind == ST_IF)
            join_block(a, k, &b->at[i]->body, mine, next);
    size_t out = 0;
    for (size_t i = 0; i < b->n;) {
        Stmt *s = b->at[i++];
        if (!is_lanes(s)) {
            b->at[out++] = s;
            continue;
        }
        touches_clear(mine, s->var);
        i64 lanes;
        bool plain = expr_is_int(s->extent, &lanes) && collect(&s->body, mine);
        while (plain && i < b->n) {
            Stmt *t = b->at[i];
            if (may_pass(t, mine)) {
                b->at[out++] = t;
                i++;
                continue;
            }
            if (!is_lanes(t) || t->extent != s->extent) break;
            touches_clear(next, s->var);
            bool simple = true;
            for (size_t q = 0; q < t->body.n; q++)
                simple &= t->body.at[q]->kind == ST_STORE || t->body.at[q]->kind == ST_LET;
            if (!simple) break;
            rename_lane(k->x, &t->body, t->var, s->var);
            bool ok = collect(&t->body, next) && apart(mine, next, lanes);
            if (!ok) {
                rename_lane(k->x, &t->body, s->var, t->var);
                break;
            }
            for (size_t q = 0; q < t->body.n; q++) vec_push(a, &s->body, t->body.at[q]);
            for (size_t q = 0; q < next->all.n; q++)
                touch(mine, next->all.at[q].buf, next->all.at[q].stored, next->all.at[q].idx);
            plain = !mine->full;
            i++;
        }
        b->at[out++] = s;
    }
    b->n = out;
}

void kernel_join_lanes(Arena *a, Kernel *k) {
    Touches mine = {.arena = a, .x = k->x}, next = mine;
    join_block(a, k, &k->body, &mine, &next);
}
