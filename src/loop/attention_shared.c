// loop/attention_shared.c: `lanes` threads of a workgroup that have a (row, head, part) together.
//
// A score each, then each its own d; scores meet in workgroup memory.
#include "loop/attention_int.h"

void att_body_shared(Gen *g, Block *b, const Expr *tid) {
    Exprs *x = g->x;
    const Attention *at = g->at;
    const Expr *zero = ex_int(x, 0), *one = ex_int(x, 1), *f0 = ex_f32(x, 0), *blk, *c, *i;
    i64 T = at->lanes, D = at->s.head_dim, each = ceil_div(D, T);
    const Buffer *q = att_alloc(g, b, "q_shared", SCOPE_SHARED, D),
                 *sc = att_alloc(g, b, "scores", SCOPE_SHARED, T),
                 *pr = att_alloc(g, b, "weights", SCOPE_SHARED, T);
    att_prepare(g, b);
    const Buffer *acc = att_alloc(g, b, "acc", SCOPE_REG, each),
                 *state = att_alloc(g, b, "state", SCOPE_REG, 2);
    Block *own = att_loop(g, b, "c", ex_int(x, each), LOOP_UNROLL, &c);
    att_store(g, own, acc, IDX(c), f0);
    const Expr *d = ex_add(x, ex_mul(x, c, ex_int(x, T)), tid);
    Block *inside = att_when(g, own, ex_lt(x, d, at->d));
    d = ex_min(x, d, ex_sub(x, at->d, one)); // says to the verifier what the guard says
    att_store(g, inside, q, IDX(d), ex_mul(x, att_query(g, d), g->scale));
    att_store(g, b, state, IDX(zero), g->low);
    att_store(g, b, state, IDX(one), f0);

    const Expr *nblocks = ex_idiv(x, ex_add(x, g->count, ex_int(x, T - 1)), ex_int(x, T));
    Block *body = att_loop(g, b, "blk", att_let(g, b, "blocks", nblocks), LOOP_SERIAL, &blk);
    const Expr *base = att_let(g, body, "base", ex_mul(x, blk, ex_int(x, T)));
    stmt_new(g->a, body,
             ST_BARRIER); // the block before is done with scores and weights; q is there
    const Expr *j = ex_add(x, base, tid), *mine = att_let(g, body, "slot", att_slot(g, j));
    const Expr *size = ex_int(x, KV_BLOCK),
               *block = att_let(g, body, "block", ex_idiv(x, mine, size));
    const Buffer *dot = att_alloc(g, body, "dot", SCOPE_REG, 1);
    att_store(g, body, dot, IDX(zero), f0);
    Block *sum = att_loop(g, body, "d", at->d, LOOP_SERIAL, &i);
    att_store(
        g, sum, dot, IDX(zero),
        ex_add(x, LD(dot, zero), ex_mul(x, LD(q, i), att_key(g, block, ex_mod(x, mine, size), i))));
    const Expr *score =
        att_let(g, body, "score", ex_select(x, ex_lt(x, j, g->count), LD(dot, zero), g->low));
    att_store(g, body, sc, IDX(tid), score);
    stmt_new(g->a, body, ST_BARRIER);
    const Buffer *top = att_alloc(g, body, "top", SCOPE_REG, 1);
    att_store(g, body, top, IDX(zero), LD(state, zero));
    Block *tl = att_loop(g, body, "i", ex_int(x, T), LOOP_SERIAL, &i);
    att_store(g, tl, top, IDX(zero), ex_max(x, LD(top, zero), LD(sc, i)));
    const Expr *m = att_let(g, body, "m", LD(top, zero));
    const Expr *shrink =
        att_let(g, body, "shrink", ex_un(x, EX_EXP, ex_sub(x, LD(state, zero), m)));
    att_store(g, body, pr, IDX(tid), ex_un(x, EX_EXP, ex_sub(x, score, m)));
    att_store(g, body, state, IDX(zero), m);
    att_store(g, body, state, IDX(one), ex_mul(x, LD(state, one), shrink));
    Block *scale = att_loop(g, body, "c", ex_int(x, each), LOOP_UNROLL, &c);
    att_store(g, scale, acc, IDX(c), ex_mul(x, LD(acc, c), shrink));
    stmt_new(g->a, body, ST_BARRIER);
    Block *mix = att_loop(g, body, "i", ex_int(x, T), LOOP_SERIAL, &i);
    const Expr *e = att_let(g, mix, "e", LD(pr, i)),
               *from = att_let(g, mix, "from", att_slot(g, ex_add(x, base, i)));
    block = att_let(g, mix, "block", ex_idiv(x, from, size));
    const Expr *row = att_let(g, mix, "value", ex_mul(x, ex_mod(x, from, size), at->d));
    att_store(g, mix, state, IDX(one), ex_add(x, LD(state, one), e));
    Block *each_d = att_loop(g, mix, "c", ex_int(x, each), LOOP_UNROLL, &c);
    d = ex_min(x, ex_add(x, ex_mul(x, c, ex_int(x, T)), tid), ex_sub(x, at->d, one));
    att_store(g, each_d, acc, IDX(c),
              ex_add(x, LD(acc, c), ex_mul(x, e, att_value_at(g, block, row, d))));

    const Expr *l = att_let(g, b, "l", LD(state, one));
    Block *end = att_loop(g, b, "c", ex_int(x, each), LOOP_UNROLL, &c);
    d = ex_add(x, ex_mul(x, c, ex_int(x, T)), tid);
    inside = att_when(g, end, ex_lt(x, d, at->d));
    att_finish(g, inside, ex_min(x, d, ex_sub(x, at->d, one)), LD(acc, c), l);
    att_finish_state(g, att_when(g, b, ex_eq(x, tid, zero)), LD(state, zero), l);
}
