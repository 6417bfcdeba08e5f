// loop/unroll.c: expands LOOP_UNROLL by substitution and cleans up what that leaves.
//
// Loops of extent 1 are dropped, those of extent 0 vanish, conditions that became constant are
// decided, and every index is simplified. Each copy of a body has its own loop variables, lets and
// registers, so that no name is defined twice. A loop whose expansion would pass the limit stays a
// serial loop: the kernel is slower, not wrong. Needs nothing; runs first.
#include "loop/loop.h"
#include "loop/ptrmap.h"

enum { UNROLL_MAX_STMTS = 4096 };

typedef struct Unroller {
    Arena *arena;
    Exprs *x;
    PtrMap by;    // Var -> Expr, Buffer -> Buffer
    int least;    // the lowest number of a variable in it
    bool buffers; // it has buffers
    size_t stmts;
    int copies; // unrolled loops we stand in
} Unroller;

static const Expr *replace(void *user, Exprs *x, const Expr *e) {
    const Unroller *u = user;
    i64 by;
    if (e->op == EX_VAR && ptrmap_get(&u->by, e->var, &by)) return (const Expr *)(intptr_t)by;
    if (e->op == EX_LOAD && ptrmap_get(&u->by, e->buf, &by))
        return ex_load(x, (const Buffer *)(intptr_t)by, e->args);
    return e;
}

static const Expr *rewrite_expr(Unroller *u, const Expr *e) {
    return expr_simplify(u->x, expr_map_from(u->x, e, u->least, u->buffers, replace, u));
}

static void replace_var(Unroller *u, const Var *v, const Expr *by) {
    u->least = MIN2(u->least, v->id);
    ptrmap_put(&u->by, v, (i64)(intptr_t)by);
}

static void replace_buffer(Unroller *u, const Buffer *b, const Buffer *by) {
    u->buffers = true;
    ptrmap_put(&u->by, b, (i64)(intptr_t)by);
}

static size_t count_stmts(const Block *b) {
    size_t n = b->n;
    for (size_t i = 0; i < b->n; i++) {
        const Stmt *s = b->at[i];
        i64 times = 1;
        if (s->kind == ST_FOR && s->loop == LOOP_UNROLL && expr_is_int(s->extent, &times))
            times = MAX2(times, 1);
        if (s->kind == ST_FOR || s->kind == ST_IF)
            n += count_stmts(&s->body) * (size_t)MIN2(times, UNROLL_MAX_STMTS);
        n = MIN2(n, (size_t)UNROLL_MAX_STMTS);
    }
    return n;
}

static void rewrite_block(Unroller *u, const Block *b, Block *out);

static void rewrite_for(Unroller *u, const Stmt *s, Block *out) {
    const Expr *extent = rewrite_expr(u, s->extent);
    i64 n;
    bool fixed = expr_is_int(extent, &n);
    bool runs = s->loop == LOOP_SERIAL || s->loop == LOOP_UNROLL || s->loop == LOOP_VEC;
    if (fixed && n <= 0) return;
    if (fixed && runs && n == 1) {
        replace_var(u, s->var, ex_int(u->x, 0));
        rewrite_block(u, &s->body, out);
        return;
    }
    LoopKind kind = s->loop;
    if (kind == LOOP_UNROLL) {
        if (fixed && n <= UNROLL_MAX_STMTS &&
            u->stmts + count_stmts(&s->body) * (size_t)n <= UNROLL_MAX_STMTS) {
            u->copies++;
            for (i64 i = 0; i < n; i++) {
                replace_var(u, s->var, ex_int(u->x, i));
                rewrite_block(u, &s->body, out);
            }
            u->copies--;
            return;
        }
        kind = LOOP_SERIAL;
    }
    Stmt *f = stmt_new(u->arena, out, ST_FOR);
    f->loop = kind;
    f->extent = extent;
    f->var = s->var;
    if (u->copies) {
        f->var = var_new(u->x, s->var->name, s->var->type, s->var->lo, s->var->hi);
        f->var->divisor = s->var->divisor;
        replace_var(u, s->var, ex_var(u->x, f->var));
    }
    rewrite_block(u, &s->body, &f->body);
    u->stmts++;
}

static void rewrite_let(Unroller *u, const Stmt *s, Block *out) {
    const Expr *value = rewrite_expr(u, s->value);
    if (value->op == EX_ICONST || value->op == EX_FCONST || value->op == EX_VAR) {
        replace_var(u, s->var, value);
        return;
    }
    Stmt *l = stmt_new(u->arena, out, ST_LET);
    l->value = value;
    l->var = s->var;
    if (u->copies) {
        i64 lo = s->var->lo, hi = s->var->hi;
        if (value->type != TY_F32) expr_range(value, &lo, &hi);
        l->var = var_new(u->x, s->var->name, s->var->type, lo, hi);
        l->var->divisor = s->var->divisor;
        replace_var(u, s->var, ex_var(u->x, l->var));
    }
}

static void rewrite_alloc(Unroller *u, const Stmt *s, Block *out) {
    i64 have;
    if (u->copies && s->buf->scope == SCOPE_SHARED) { // one workgroup memory for all copies
        if (ptrmap_get(&u->by, s->buf, &have)) return;
        replace_buffer(u, s->buf, s->buf);
    }
    Stmt *a = stmt_new(u->arena, out, ST_ALLOC);
    a->buf = s->buf;
    if (u->copies && s->buf->scope == SCOPE_REG) {
        Buffer *b =
            buffer_new(u->x, s->buf->name, s->buf->type, s->buf->scope, s->buf->nd, s->buf->dims);
        b->lo = s->buf->lo;
        b->hi = s->buf->hi;
        b->written = s->buf->written;
        a->buf = b;
        replace_buffer(u, s->buf, b);
    }
}

static void rewrite_store(Unroller *u, const Stmt *s, Block *out) {
    Stmt *w = stmt_new(u->arena, out, s->kind);
    i64 by;
    w->buf = ptrmap_get(&u->by, s->buf, &by) ? (const Buffer *)(intptr_t)by : s->buf;
    if (s->value) w->value = rewrite_expr(u, s->value);
    for (int d = 0; d < s->buf->nd; d++) w->idx[d] = rewrite_expr(u, s->idx[d]);
}

static void rewrite_if(Unroller *u, const Stmt *s, Block *out) {
    const Expr *cond = rewrite_expr(u, s->cond);
    i64 yes;
    if (expr_is_int(cond, &yes)) {
        if (yes) rewrite_block(u, &s->body, out);
        return;
    }
    Stmt *f = stmt_new(u->arena, out, ST_IF);
    f->cond = cond;
    rewrite_block(u, &s->body, &f->body);
}

static void rewrite_block(Unroller *u, const Block *b, Block *out) {
    for (size_t i = 0; i < b->n; i++) {
        const Stmt *s = b->at[i];
        u->stmts++;
        switch (s->kind) {
        case ST_FOR:
            u->stmts--; // counted by its copies
            rewrite_for(u, s, out);
            break;
        case ST_LET: rewrite_let(u, s, out); break;
        case ST_STORE:
        case ST_FETCH: rewrite_store(u, s, out); break;
        case ST_IF: rewrite_if(u, s, out); break;
        case ST_ALLOC: rewrite_alloc(u, s, out); break;
        case ST_BARRIER: stmt_new(u->arena, out, ST_BARRIER); break;
        }
    }
}

void kernel_unroll(Arena *a, Kernel *k) {
    Unroller u = {.arena = a, .x = k->x, .by = {.arena = a}, .least = INT32_MAX};
    Block out = {0};
    rewrite_block(&u, &k->body, &out);
    k->body = out;
}
