// tune/cost.c: what a kernel should cost on a profile, to say which schedules are worth measuring.
//
// Counted on the loop IR: operations and loads of one thread (vectors count once), what barriers
// cost, and how many threads there are beside what runs at a time. All of a kernel's schedules
// compute the same, so only their order counts: the figure is no time, and nothing is decided by it
// but what is measured first.
#include "tune/tune.h"

enum { LOAD_FAR = 4, LOAD_SHARED = 2, REGISTERS = 96, WORKGROUP = 64 };

typedef struct Count {
    const Profile *p;
    double ops, times; // of one thread; how often the statement runs
    i64 registers;
} Count;

static void count_expr(void *user, const Expr *e) {
    Count *c = user;
    int ops = e->op == EX_LOAD ? e->buf->scope == SCOPE_ARG      ? LOAD_FAR
                                 : e->buf->scope == SCOPE_SHARED ? LOAD_SHARED
                                                                 : 0
                               : e->nargs > 0;
    c->ops += ops * c->times;
}

static i64 most(const Expr *e) {
    i64 lo, hi;
    return e && expr_range(e, &lo, &hi) ? MAX2(hi, 1) : 1;
}

static void count_block(Count *c, const Block *b) {
    for (size_t i = 0; i < b->n; i++) {
        const Stmt *s = b->at[i];
        double times = c->times;
        i64 elems = 1;
        if (s->value) expr_walk(s->value, count_expr, c);
        if (s->cond) expr_walk(s->cond, count_expr, c);
        if (s->kind == ST_STORE) c->ops += (s->buf->scope == SCOPE_ARG ? LOAD_FAR : 1) * times;
        if (s->kind == ST_BARRIER) c->ops += (double)c->p->barrier_cost * times;
        for (int d = 0; s->kind == ST_ALLOC && d < s->buf->nd; d++) elems *= most(s->buf->dims[d]);
        if (s->kind == ST_ALLOC && s->buf->scope == SCOPE_REG) c->registers += elems;
        if (s->kind == ST_FOR && s->loop == LOOP_VEC)
            c->times *= (double)ceil_div(most(s->extent), MAX2(c->p->vec, 1));
        else if (s->kind == ST_FOR && s->loop <= LOOP_UNROLL)
            c->times *= (double)most(s->extent);
        if (s->kind == ST_FOR) c->ops += c->times; // counting and comparing
        count_block(c, &s->body);
        c->times = times;
    }
}

double tune_cost(const Kernel *k, const Profile *p) {
    Count c = {.p = p, .times = 1};
    count_block(&c, &k->body);
    double groups = 1, threads = (double)k->wg[0] * k->wg[1] * k->wg[2];
    for (int i = 0; i < 3; i++) groups *= (double)most(k->grid[i]);
    if (c.registers > REGISTERS) c.ops *= 2; // some of them lie in memory
    // in software: a few cores, each thread by thread in lanes; on a GPU: waves of 32 threads
    bool software = profile_in_software(p);
    i64 wide = software ? 4 : 32, at_once = software ? 4 : 128;
    double waves = (double)ceil_div((i64)threads, wide);
    double rounds = (double)ceil_div((i64)(software ? groups : groups * waves), at_once);
    return rounds * (c.ops * (software ? waves : 1) + WORKGROUP);
}
