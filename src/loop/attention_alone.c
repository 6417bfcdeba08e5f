// loop/attention_alone.c: a thread that has a (row, head, part) alone, or on a processor the heads
// that share a head of keys, each in its turn at a piece of the cache.
//
// Lanes run over slots for scores, where no sum runs across lanes, then over d. A processor reads
// the cache a block at a time, its keys, then its values, each one stretch of memory, and fetches
// the same stretch of the next block meanwhile, a line where it reads a line: each head does, and
// all but the first find it there. Memory is then never idle, and a processor's own foresight,
// which ends where a page does, is not needed.
#include "loop/attention_int.h"

static Block *lanes_over(Gen *g, Block *b, i64 lanes, const Expr **l) {
    *l = ex_int(g->x, 0);
    return lanes > 1 ? att_loop(g, b, "l", ex_int(g->x, lanes), LOOP_VEC, l) : b;
}

// The most of a vector, by halves.
static const Expr *most_of(Gen *g, Block *b, const Buffer *v, i64 lanes) {
    Exprs *x = g->x;
    for (i64 half = lanes / 2; half >= 4; half /= 2) {
        const Expr *l;
        const Buffer *to = att_alloc(g, b, "half", SCOPE_REG, half);
        Block *in = lanes_over(g, b, half, &l);
        att_store(g, in, to, IDX(l), ex_max(x, LD(v, l), LD(v, ex_add(x, l, ex_int(x, half)))));
        v = to, lanes = half;
    }
    const Expr *top = LD(v, ex_int(x, 0));
    for (i64 i = 1; i < lanes; i++) top = ex_max(x, top, LD(v, ex_int(x, i)));
    return top;
}

// A thread's heads: one, its state in registers; or a group that takes turns at each block, which
// is then read from memory once, what they gather in the result's place.
typedef struct Heads {
    const Buffer *q, *acc, *m, *l; // [d] or NULL: the argument and the result; [head]; [head][lane]
    const Expr *turn;              // of the head at hand
    i64 lanes;                     // over slots
    bool ahead;                    // what the next piece reads is fetched
} Heads;

enum {
    CHAINS = 4,    // of additions, that they need not wait for one another
    LINE = 64 / 4, // elements that are fetched together
};

static const Expr *gathered(Gen *g, const Heads *h, const Expr *d) {
    Exprs *x = g->x;
    if (h->acc) return LD(h->acc, d);
    if (g->at->s.parts == 1) return LD(g->at->y, g->row, att_in_row(g, d));
    return LD(g->at->y, g->row, g->head, g->part, d);
}

static void gather(Gen *g, Block *b, const Heads *h, const Expr *d, const Expr *value) {
    if (h->acc)
        att_store(g, b, h->acc, IDX(d), value);
    else
        att_put_result(g, b, d, value);
}

static const Expr *lane_sum(Gen *g, const Heads *h, const Expr *l) {
    return ex_add(g->x, ex_mul(g->x, h->turn, ex_int(g->x, h->lanes)), l);
}

// Each head of the thread in turn.
static Block *each_head(Gen *g, Block *b, Heads *h) {
    Exprs *x = g->x;
    h->turn = ex_int(x, 0);
    if (h->acc) return b;
    b = att_loop(g, b, "turn", g->at->group, LOOP_SERIAL, &h->turn);
    g->head = att_let(g, b, "head", ex_add(x, ex_mul(x, g->kvh, g->at->group), h->turn));
    return b;
}

static void heads_begin(Gen *g, Block *b, Heads *h) {
    Exprs *x = g->x;
    const Expr *l, *d;
    b = each_head(g, b, h);
    att_store(g, b, h->m, IDX(h->turn), g->low);
    Block *in = lanes_over(g, b, h->lanes, &l);
    att_store(g, in, h->l, IDX(lane_sum(g, h, l)), ex_f32(x, 0));
    in = att_over_d(g, b, &d);
    if (h->q) att_store(g, in, h->q, IDX(d), att_query(g, d));
    gather(g, in, h, d, ex_f32(x, 0));
}

// The block that is read next after this one.
static const Expr *block_after(Gen *g, Block *b, const Heads *h, const Expr *i) {
    Exprs *x = g->x;
    return h->ahead ? att_block_at(g, b, ex_add(x, i, ex_int(x, g->at->block))) : NULL;
}

// A processor sums over d in chains, of which chain c has the elements c, c + chains, ...: enough
// of them, with the vectors of slots, that a sum need not wait for the one before it.
static i64 chains_of(const Gen *g, const Heads *h) {
    i64 n = 1, vecs = g->at->block / h->lanes;
    while (!h->acc && n < g->at->vec && n * vecs < CHAINS) n *= 2;
    return n;
}

// dot[i] = the sum of the chains of slot i.
static void add_chains(Gen *g, Block *b, const Heads *h, const Buffer *part, const Buffer *dot) {
    Exprs *x = g->x;
    const Expr *l;
    i64 B = g->at->block, chains = chains_of(g, h);
    for (i64 v = 0; chains > 1 && v < B; v += h->lanes) {
        Block *in = lanes_over(g, b, h->lanes, &l);
        const Expr *i = ex_add(x, l, ex_int(x, v)), *all = LD(part, i);
        for (i64 c = 1; c < chains; c++)
            all = ex_add(x, all, LD(part, ex_add(x, i, ex_int(x, c * B))));
        att_store(g, in, dot, IDX(i), all);
    }
}

// dot[i] = q k of the block's slots from `base` on.
static void dots(Gen *g, Block *b, const Heads *h, const Buffer *dot, const Expr *base) {
    Exprs *x = g->x;
    const Expr *l, *d, *block = NULL, *after = NULL;
    i64 B = g->at->block, vecs = B / h->lanes, chains = chains_of(g, h), D;
    const Expr *at[64], *blocks[64], *next[64];
    const Buffer *part = chains > 1 ? att_alloc(g, b, "part", SCOPE_REG, chains * B) : dot;
    for (i64 v = 0; v < vecs; v++) {
        const Expr *i = expr_simplify(x, ex_add(x, base, ex_int(x, v * h->lanes)));
        bool begins = v * h->lanes % KV_BLOCK == 0;
        if (begins) block = att_block_at(g, b, i), after = block_after(g, b, h, i);
        blocks[v] = block;
        next[v] = begins ? after : NULL;
        at[v] = expr_simplify(x, ex_mod(x, i, ex_int(x, KV_BLOCK)));
    }
    for (i64 v = 0; v < chains * vecs; v++) {
        Block *in = lanes_over(g, b, h->lanes, &l);
        att_store(g, in, part, IDX(ex_add(x, l, ex_int(x, v * h->lanes))), ex_f32(x, 0));
    }
    bool few = expr_is_int(g->at->d, &D) && D <= 128;
    const Expr *n = ex_int(x, chains), *each = expr_simplify(x, ex_idiv(x, g->at->d, n));
    Block *sum = att_loop(g, b, "d", each, few ? LOOP_UNROLL : LOOP_SERIAL, &d);
    const Expr *first = ex_mul(x, d, n);
    for (i64 c = 0; c < chains; c++)
        for (i64 v = 0; v < vecs; v++) {
            const Expr *of = ex_mul(x, ex_add(x, first, ex_int(x, c)), ex_int(x, KV_BLOCK));
            if (next[v]) att_fetch(g, sum, false, next[v], of);
        }
    for (i64 c = 0; c < chains; c++)
        for (i64 v = 0; v < vecs; v++) {
            Block *in = lanes_over(g, sum, h->lanes, &l);
            const Expr *to = ex_add(x, l, ex_int(x, c * B + v * h->lanes));
            d = expr_simplify(x, ex_add(x, first, ex_int(x, c)));
            const Expr *q = h->q ? LD(h->q, d) : att_query(g, d);
            const Expr *k = att_key(g, blocks[v], ex_add(x, at[v], l), d);
            att_store(g, in, part, IDX(to), ex_add(x, LD(part, to), ex_mul(x, q, k)));
        }
    add_chains(g, b, h, part, dot);
}

// Adds the values of the slots from `base` on, by their weights.
static void mix(Gen *g, Block *b, const Heads *h, const Buffer *weight, const Expr *base) {
    Exprs *x = g->x;
    const Expr *d, *from, *c = ex_int(x, 0), *row[KV_BLOCK], *part[CHAINS] = {0};
    i64 B = g->at->block, n = MIN2(B, KV_BLOCK);
    Block *each = B > n ? att_loop(g, b, "c", ex_int(x, B / n), LOOP_SERIAL, &c) : b;
    const Expr *first = ex_mul(x, c, ex_int(x, n)), *at = expr_simplify(x, ex_add(x, base, first));
    const Expr *block = att_block_at(g, each, at), *next = block_after(g, each, h, at);
    for (i64 i = 0; i < n; i++) {
        const Expr *of = ex_mod(x, ex_add(x, at, ex_int(x, i)), ex_int(x, KV_BLOCK));
        row[i] = att_value_row(g, each, block, expr_simplify(x, of));
    }
    Block *in = att_over_vectors(g, each, &from);
    for (i64 i = 0; next && i < n; i++)
        if (i * g->at->vec % LINE == 0)
            att_fetch(g, in, true, next,
                      ex_add(x, ex_mul(x, from, ex_int(x, n)), ex_int(x, i * g->at->vec)));
    in = att_over_lanes(g, in, from, &d);
    for (i64 i = 0; i < n; i++) {
        const Expr *w = LD(weight, expr_simplify(x, ex_add(x, first, ex_int(x, i))));
        const Expr *term = ex_mul(x, w, att_value_at(g, block, row[i], d));
        part[i % CHAINS] = part[i % CHAINS] ? ex_add(x, part[i % CHAINS], term) : term;
    }
    const Expr *sum = gathered(g, h, d);
    for (i64 i = 0; i < MIN2(n, CHAINS); i++) sum = ex_add(x, sum, part[i]);
    gather(g, in, h, d, sum);
}

static void head_block(Gen *g, Block *b, const Heads *h, const Expr *blk) {
    Exprs *x = g->x;
    i64 B = g->at->block, L = h->lanes;
    const Expr *base = ex_mul(x, blk, ex_int(x, B)), *l, *d;
    const Buffer *dot = att_alloc(g, b, "dot", SCOPE_REG, B),
                 *top = att_alloc(g, b, "top", SCOPE_REG, L),
                 *weight = att_alloc(g, b, "weight", SCOPE_REG, B);
    dots(g, b, h, dot, base);
    for (i64 v = 0; v < B; v += L) {
        Block *in = lanes_over(g, b, L, &l);
        const Expr *i = ex_add(x, l, ex_int(x, v)), *score = ex_mul(x, LD(dot, i), g->scale);
        score = ex_select(x, ex_lt(x, ex_add(x, base, i), g->count), score, g->low);
        att_store(g, in, dot, IDX(i), score);
    }
    Block *in = lanes_over(g, b, L, &l);
    const Expr *most = LD(dot, l);
    for (i64 v = L; v < B; v += L) most = ex_max(x, most, LD(dot, ex_add(x, l, ex_int(x, v))));
    att_store(g, in, top, IDX(l), most);
    const Expr *was = LD(h->m, h->turn), *m;
    m = att_let(g, b, "m", ex_max(x, was, most_of(g, b, top, L)));
    // e^0 is 1: where nothing larger came there is nothing to scale
    Block *grown = h->acc ? b : att_when(g, b, ex_lt(x, was, m));
    const Expr *shrink = att_let(g, grown, "shrink", ex_un(x, EX_EXP, ex_sub(x, was, m)));
    in = lanes_over(g, grown, L, &l);
    const Expr *sum = LD(h->l, lane_sum(g, h, l));
    att_store(g, in, h->l, IDX(lane_sum(g, h, l)), ex_mul(x, sum, shrink));
    in = att_over_d(g, grown, &d);
    gather(g, in, h, d, ex_mul(x, gathered(g, h, d), shrink));
    att_store(g, grown, h->m, IDX(h->turn), m);
    for (i64 v = 0; v < B; v += L) {
        in = lanes_over(g, b, L, &l);
        const Expr *i = ex_add(x, l, ex_int(x, v));
        att_store(g, in, weight, IDX(i), ex_un(x, EX_EXP, ex_sub(x, LD(dot, i), m)));
    }
    in = lanes_over(g, b, L, &l);
    for (i64 v = 0; v < B; v += L)
        sum = ex_add(x, v ? sum : LD(h->l, lane_sum(g, h, l)),
                     LD(weight, ex_add(x, l, ex_int(x, v))));
    att_store(g, in, h->l, IDX(lane_sum(g, h, l)), sum);
    mix(g, b, h, weight, base);
}

void att_body_alone(Gen *g, Block *b, bool group) {
    Exprs *x = g->x;
    const Attention *at = g->at;
    const Expr *d, *blk;
    i64 B = at->block, D = att_d_most(at), lo, turns = 1;
    Heads h = {.lanes = MIN2(at->slots, B), .ahead = at->ahead && B % KV_BLOCK == 0};
    if (group) {
        expr_range(at->group, &lo, &turns);
    } else {
        h.q = att_alloc(g, b, "q_reg", SCOPE_REG, D);
        h.acc = att_alloc(g, b, "acc", SCOPE_REG, D);
    }
    h.m = att_alloc(g, b, "m", SCOPE_REG, turns);
    h.l = att_alloc(g, b, "l", SCOPE_REG, turns * h.lanes);
    heads_begin(g, b, &h);
    const Expr *nblocks = ex_idiv(x, ex_add(x, g->most, ex_int(x, B - 1)), ex_int(x, B));
    Block *body = att_loop(g, b, "blk", att_let(g, b, "blocks", nblocks), LOOP_SERIAL, &blk);
    if (g->keys) att_stage_block(g, body, blk);
    head_block(g, each_head(g, body, &h), &h, blk);
    b = each_head(g, b, &h);
    const Expr *sum = LD(h.l, lane_sum(g, &h, ex_int(x, 0)));
    for (i64 i = 1; i < h.lanes; i++) sum = ex_add(x, sum, LD(h.l, lane_sum(g, &h, ex_int(x, i))));
    sum = att_let(g, b, "sum", sum);
    if (g->there) b = att_when(g, b, g->there);
    if (h.acc || at->s.parts == 1) {
        Block *end = att_over_d(g, b, &d);
        att_finish(g, end, d, gathered(g, &h, d), sum);
    }
    att_finish_state(g, b, LD(h.m, h.turn), sum);
}
