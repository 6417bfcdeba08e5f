// loop/attention_shared.c: `lanes` threads of a workgroup that have a (row, part) of some heads
// together, which share a head of keys.
//
// A score each, for each of the heads, then each its own d; scores meet in workgroup memory. What
// is read of the cache is read once for all the heads.
#include "loop/attention_int.h"

typedef struct Turn { // one of the heads
    const Expr *head, *score, *m, *shrink, *e;
} Turn;

// Place i of head t where each head has n of them.
static const Expr *of_turn(Gen *g, i64 t, i64 n, const Expr *i) {
    return ex_add(g->x, i, ex_int(g->x, t * n));
}

static const Expr *thread_d(Gen *g, const Expr *c, const Expr *tid) {
    return ex_add(g->x, ex_mul(g->x, c, ex_int(g->x, g->at->lanes)), tid);
}

static const Expr *at_most_last(Gen *g, const Expr *d) {
    return ex_min(g->x, d, ex_sub(g->x, g->at->d, ex_int(g->x, 1)));
}

void att_body_shared(Gen *g, Block *b, const Expr *first, const Expr *tid) {
    Exprs *x = g->x;
    const Attention *at = g->at;
    const Expr *zero = ex_int(x, 0), *f0 = ex_f32(x, 0), *blk, *c, *i;
    i64 T = at->lanes, D = at->s.head_dim, each = ceil_div(D, T), H = at->turns;
    Turn turn[MAX_TURNS];
    const Buffer *q = att_alloc(g, b, "q_shared", SCOPE_SHARED, H * D),
                 *sc = att_alloc(g, b, "scores", SCOPE_SHARED, H * T),
                 *pr = att_alloc(g, b, "weights", SCOPE_SHARED, H * T);
    att_prepare(g, b);
    const Buffer *acc = att_alloc(g, b, "acc", SCOPE_REG, H * each),
                 *most = att_alloc(g, b, "most", SCOPE_REG, H),
                 *total = att_alloc(g, b, "total", SCOPE_REG, H);
    for (i64 t = 0; t < H; t++) {
        g->head = turn[t].head =
            att_let(g, b, "head", expr_simplify(x, ex_add(x, first, ex_int(x, t))));
        Block *own = att_loop(g, b, "c", ex_int(x, each), LOOP_UNROLL, &c);
        att_store(g, own, acc, IDX(of_turn(g, t, each, c)), f0);
        const Expr *d = thread_d(g, c, tid);
        Block *inside = att_when(g, own, ex_lt(x, d, at->d));
        d = at_most_last(g, d); // says to the verifier what the guard says
        att_store(g, inside, q, IDX(of_turn(g, t, D, d)), ex_mul(x, att_query(g, d), g->scale));
        att_store(g, b, most, IDX(ex_int(x, t)), g->low);
        att_store(g, b, total, IDX(ex_int(x, t)), f0);
    }

    const Expr *nblocks = ex_idiv(x, ex_add(x, g->count, ex_int(x, T - 1)), ex_int(x, T));
    Block *body = att_loop(g, b, "blk", att_let(g, b, "blocks", nblocks), LOOP_SERIAL, &blk);
    const Expr *base = att_let(g, body, "base", ex_mul(x, blk, ex_int(x, T)));
    stmt_new(g->a, body,
             ST_BARRIER); // the block before is done with scores and weights; q is there
    const Expr *j = ex_add(x, base, tid), *mine = att_let(g, body, "slot", att_slot(g, j));
    const Expr *size = ex_int(x, KV_BLOCK),
               *block = att_let(g, body, "block", ex_idiv(x, mine, size));
    const Buffer *dot = att_alloc(g, body, "dot", SCOPE_REG, H);
    for (i64 t = 0; t < H; t++) att_store(g, body, dot, IDX(ex_int(x, t)), f0);
    Block *sum = att_loop(g, body, "d", at->d, LOOP_SERIAL, &i);
    const Expr *key = att_let(g, sum, "key", att_key(g, block, ex_mod(x, mine, size), i));
    for (i64 t = 0; t < H; t++) {
        const Expr *to = ex_int(x, t), *product = ex_mul(x, LD(q, of_turn(g, t, D, i)), key);
        att_store(g, sum, dot, IDX(to), ex_add(x, LD(dot, to), product));
    }
    for (i64 t = 0; t < H; t++) {
        const Expr *seen = ex_lt(x, j, g->count);
        turn[t].score =
            att_let(g, body, "score", ex_select(x, seen, LD(dot, ex_int(x, t)), g->low));
        att_store(g, body, sc, IDX(of_turn(g, t, T, tid)), turn[t].score);
    }
    stmt_new(g->a, body, ST_BARRIER);
    const Buffer *top = att_alloc(g, body, "top", SCOPE_REG, H);
    for (i64 t = 0; t < H; t++) att_store(g, body, top, IDX(ex_int(x, t)), LD(most, ex_int(x, t)));
    Block *tl = att_loop(g, body, "i", ex_int(x, T), LOOP_SERIAL, &i);
    for (i64 t = 0; t < H; t++) {
        const Expr *to = ex_int(x, t);
        att_store(g, tl, top, IDX(to), ex_max(x, LD(top, to), LD(sc, of_turn(g, t, T, i))));
    }
    for (i64 t = 0; t < H; t++) {
        const Expr *to = ex_int(x, t), *m = att_let(g, body, "m", LD(top, to));
        const Expr *shrink =
            att_let(g, body, "shrink", ex_un(x, EX_EXP, ex_sub(x, LD(most, to), m)));
        att_store(g, body, pr, IDX(of_turn(g, t, T, tid)),
                  ex_un(x, EX_EXP, ex_sub(x, turn[t].score, m)));
        att_store(g, body, most, IDX(to), m);
        att_store(g, body, total, IDX(to), ex_mul(x, LD(total, to), shrink));
        Block *scale = att_loop(g, body, "c", ex_int(x, each), LOOP_UNROLL, &c);
        const Expr *own = of_turn(g, t, each, c);
        att_store(g, scale, acc, IDX(own), ex_mul(x, LD(acc, own), shrink));
    }
    stmt_new(g->a, body, ST_BARRIER);
    Block *mix = att_loop(g, body, "i", ex_int(x, T), LOOP_SERIAL, &i);
    const Expr *from = att_let(g, mix, "from", att_slot(g, ex_add(x, base, i)));
    block = att_let(g, mix, "block", ex_idiv(x, from, size));
    const Expr *row = att_let(g, mix, "value", ex_mul(x, ex_mod(x, from, size), at->d));
    for (i64 t = 0; t < H; t++) {
        const Expr *to = ex_int(x, t);
        turn[t].e = att_let(g, mix, "e", LD(pr, of_turn(g, t, T, i)));
        att_store(g, mix, total, IDX(to), ex_add(x, LD(total, to), turn[t].e));
    }
    Block *each_d = att_loop(g, mix, "c", ex_int(x, each), LOOP_UNROLL, &c);
    const Expr *d = at_most_last(g, thread_d(g, c, tid));
    const Expr *value = att_let(g, each_d, "v", att_value_at(g, block, row, d));
    for (i64 t = 0; t < H; t++) {
        const Expr *own = of_turn(g, t, each, c);
        att_store(g, each_d, acc, IDX(own), ex_add(x, LD(acc, own), ex_mul(x, turn[t].e, value)));
    }

    for (i64 t = 0; t < H; t++) {
        g->head = turn[t].head;
        const Expr *l = att_let(g, b, "l", LD(total, ex_int(x, t)));
        Block *end = att_loop(g, b, "c", ex_int(x, each), LOOP_UNROLL, &c);
        d = thread_d(g, c, tid);
        Block *inside = att_when(g, end, ex_lt(x, d, at->d));
        att_finish(g, inside, at_most_last(g, d), LD(acc, of_turn(g, t, each, c)), l);
        att_finish_state(g, att_when(g, b, ex_eq(x, tid, zero)), LD(most, ex_int(x, t)), l);
    }
}
