// loop/attention_build.c: attention's kernel, statement by statement: on-line softmax over blocks
// of the cache.
//
// State of one (row, head, part): m the largest score so far, l the sum of e^(score - m), acc[d]
// the sum of e^(score - m) v[d]. A block of B scores moves m to m', scales l and acc by e^(m - m')
// and adds its own terms.
//   alone:  one thread has a (row, head, part), a processor's the heads of a group in turn; lanes
//   run over slots for scores, where no sum runs across lanes, then over d
//   rows:   a processor's thread has a tile of rows and a head; lanes run over the rows, so that no
//   sum runs across lanes, and each element of the cache is read once for all of them
//   shared: `lanes` threads have it together: a score each, then each its own d; scores meet in
//   workgroup memory
// Slots past the part's end score far below everything and read a slot that exists: no branch, no
// stray read.
#include "loop/attention_int.h"

typedef struct Gen {
    Arena *a;
    Exprs *x;
    const Attention *at;
    Kernel *k;
    const Expr *row, *head, *part; // of this thread
    const Expr *kvh;
    const Expr *first, *count, *last; // slots [first, first + count), last: the row's own position
    const Expr *first_block, *last_block; // of those slots; of all that the row sees
    const Expr *scale, *low;
} Gen;

#define IDX(...)   ((const Expr *[]){__VA_ARGS__})
#define LD(b, ...) ex_load(x, (b), IDX(__VA_ARGS__))

static const Expr *let(Gen *g, Block *b, const char *name, const Expr *value) {
    Stmt *s = stmt_new(g->a, b, ST_LET);
    i64 lo = 0, hi = 0;
    if (value->type == TY_I32 || value->type == TY_U32) expr_range(value, &lo, &hi);
    Var *v = var_new(g->x, name, (Type)value->type, lo, hi);
    s->var = v;
    s->value = value;
    return ex_var(g->x, v);
}

static Block *loop(Gen *g, Block *b, const char *name, const Expr *extent, LoopKind kind,
                   const Expr **var) {
    Stmt *s = stmt_new(g->a, b, ST_FOR);
    i64 lo, hi;
    expr_range(extent, &lo, &hi);
    Var *v = var_new(g->x, name, TY_I32, 0, hi > 0 ? hi - 1 : 0);
    s->var = v;
    s->loop = kind;
    s->extent = extent;
    *var = ex_var(g->x, v);
    return &s->body;
}

static void store(Gen *g, Block *b, const Buffer *buf, const Expr *const *idx, const Expr *value) {
    Stmt *s = stmt_new(g->a, b, ST_STORE);
    s->buf = buf;
    s->value = value;
    for (int i = 0; i < buf->nd; i++) s->idx[i] = expr_simplify(g->x, idx[i]);
}

static const Buffer *alloc(Gen *g, Block *b, const char *name, Scope scope, i64 size) {
    const Expr *n = ex_int(g->x, size);
    Buffer *buf = buffer_new(g->x, name, TY_F32, scope, 1, &n);
    buf->written = true;
    stmt_new(g->a, b, ST_ALLOC)->buf = buf;
    return buf;
}

static Block *when(Gen *g, Block *b, const Expr *cond) {
    Stmt *s = stmt_new(g->a, b, ST_IF);
    s->cond = expr_simplify(g->x, cond);
    return &s->body;
}

// The loops over d: vectors, then lanes. *d is the index.
static Block *over_d(Gen *g, Block *b, const Expr **d) {
    Exprs *x = g->x;
    i64 vec = g->at->vec;
    const Expr *v, *l, *n = expr_simplify(x, ex_idiv(x, g->at->d, ex_int(x, vec)));
    i64 count;
    bool small = expr_is_int(n, &count) && count <= 64;
    Block *outer = loop(g, b, "dv", n, small ? LOOP_UNROLL : LOOP_SERIAL, &v);
    Block *inner = vec > 1 ? loop(g, outer, "dl", ex_int(x, vec), LOOP_VEC, &l) : outer;
    *d = vec > 1 ? ex_add(x, ex_mul(x, v, ex_int(x, vec)), l) : v;
    return inner;
}

static i64 d_most(const Attention *at) {
    i64 lo, hi;
    expr_range(at->d, &lo, &hi);
    return hi;
}

static void known(Gen *g, Block *b) {
    Exprs *x = g->x;
    g->scale = let(g, b, "scale",
                   ex_div(x, ex_f32(x, 1), ex_un(x, EX_SQRT, ex_cast(x, TY_F32, g->at->d))));
    g->low = ex_f32(x, -1e30);
}

static void last_is(Gen *g, Block *b, const char *name, const Expr *last) {
    Exprs *x = g->x;
    g->last = let(g, b, name, last);
    g->last_block = let(g, b, "last_block", ex_idiv(x, g->last, ex_int(x, KV_BLOCK)));
}

static void of_head(Gen *g, Block *b, const Expr *head) {
    g->head = let(g, b, "head", expr_simplify(g->x, head));
    g->kvh = let(g, b, "kvh", expr_simplify(g->x, ex_idiv(g->x, g->head, g->at->group)));
}

// This part's slots, and what all threads of it know.
static void prepare(Gen *g, Block *b) {
    Exprs *x = g->x;
    const Attention *at = g->at;
    const Expr *zero = ex_int(x, 0);
    last_is(g, b, "pos", attention_pos(at, x, g->row));
    const Expr *len = ex_add(x, g->last, ex_int(x, 1));
    g->first = g->first_block = zero;
    g->count = len;
    if (at->s.parts > 1) {
        const Expr *per = let(g, b, "per", attention_per(at, x, len));
        g->first = let(g, b, "first", ex_mul(x, g->part, per));
        g->first_block = let(g, b, "first_block", ex_idiv(x, g->first, ex_int(x, KV_BLOCK)));
        g->count = let(g, b, "count", ex_max(x, ex_min(x, ex_sub(x, len, g->first), per), zero));
    }
    known(g, b);
}

// The block of the part's slots from i on: one that exists, whatever i.
static const Expr *block_at(Gen *g, Block *b, const Expr *i) {
    Exprs *x = g->x;
    const Expr *at = ex_add(x, g->first_block, ex_idiv(x, i, ex_int(x, KV_BLOCK)));
    return let(g, b, "block", ex_max(x, ex_min(x, at, g->last_block), ex_int(x, 0)));
}

static const Expr *key(Gen *g, const Expr *block, const Expr *i, const Expr *d) {
    Exprs *x = g->x;
    const Expr *at = ex_add(x, ex_mul(x, d, ex_int(x, KV_BLOCK)), i);
    return LD(g->at->cache, ex_int(x, 0), g->kvh, block, at);
}

// Where the value of slot i of a block begins, or of the last slot that the row sees: what lies
// past it may be no number.
static const Expr *value_row(Gen *g, Block *b, const Expr *block, const Expr *i) {
    Exprs *x = g->x;
    const Expr *seen = ex_sub(x, g->last, ex_mul(x, block, ex_int(x, KV_BLOCK)));
    const Expr *at = ex_max(x, ex_min(x, i, seen), ex_int(x, 0));
    return let(g, b, "value", ex_mul(x, at, g->at->d));
}

static const Expr *value_at(Gen *g, const Expr *block, const Expr *row, const Expr *d) {
    Exprs *x = g->x;
    return LD(g->at->cache, ex_int(x, 1), g->kvh, block, ex_add(x, row, d));
}

// The slot to read for the i-th of this part: one that exists, whatever i.
static const Expr *slot(Gen *g, const Expr *i) {
    Exprs *x = g->x;
    return ex_min(x, ex_add(x, g->first, i), g->last);
}

// Where element d of the head lies in a row of queries, and of results.
static const Expr *in_row(Gen *g, const Expr *d) {
    return ex_add(g->x, ex_mul(g->x, g->head, g->at->d), d);
}

static const Expr *query(Gen *g, const Expr *d) {
    Exprs *x = g->x;
    return LD(g->at->q, g->row, in_row(g, d));
}

static void put_result(Gen *g, Block *b, const Expr *d, const Expr *value) {
    if (g->at->s.parts == 1)
        store(g, b, g->at->y, IDX(g->row, in_row(g, d)), value);
    else
        store(g, b, g->at->y, IDX(g->row, g->head, g->part, d), value);
}

// Result of one (row, head, part) at d.
static void finish(Gen *g, Block *b, const Expr *d, const Expr *acc, const Expr *l) {
    put_result(g, b, d, g->at->s.parts == 1 ? ex_div(g->x, acc, l) : acc);
}

static void finish_state(Gen *g, Block *b, const Expr *m, const Expr *l) {
    Exprs *x = g->x;
    const Attention *at = g->at;
    if (at->s.parts == 1) return;
    store(g, b, at->y, IDX(g->row, g->head, g->part, at->d), m);
    store(g, b, at->y, IDX(g->row, g->head, g->part, ex_add(x, at->d, ex_int(x, 1))), l);
}

// ---- alone --------------------------------------------------------------------------------------
static Block *lanes_over(Gen *g, Block *b, i64 lanes, const Expr **l) {
    *l = ex_int(g->x, 0);
    return lanes > 1 ? loop(g, b, "l", ex_int(g->x, lanes), LOOP_VEC, l) : b;
}

// The most of a vector, by halves.
static const Expr *most_of(Gen *g, Block *b, const Buffer *v, i64 lanes) {
    Exprs *x = g->x;
    for (i64 half = lanes / 2; half >= 4; half /= 2) {
        const Expr *l;
        const Buffer *to = alloc(g, b, "half", SCOPE_REG, half);
        Block *in = lanes_over(g, b, half, &l);
        store(g, in, to, IDX(l), ex_max(x, LD(v, l), LD(v, ex_add(x, l, ex_int(x, half)))));
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
} Heads;

static const Expr *gathered(Gen *g, const Heads *h, const Expr *d) {
    Exprs *x = g->x;
    if (h->acc) return LD(h->acc, d);
    if (g->at->s.parts == 1) return LD(g->at->y, g->row, in_row(g, d));
    return LD(g->at->y, g->row, g->head, g->part, d);
}

static void gather(Gen *g, Block *b, const Heads *h, const Expr *d, const Expr *value) {
    if (h->acc)
        store(g, b, h->acc, IDX(d), value);
    else
        put_result(g, b, d, value);
}

static const Expr *lane_sum(Gen *g, const Heads *h, const Expr *l) {
    return ex_add(g->x, ex_mul(g->x, h->turn, ex_int(g->x, h->lanes)), l);
}

// Each head of the thread in turn.
static Block *each_head(Gen *g, Block *b, Heads *h) {
    Exprs *x = g->x;
    h->turn = ex_int(x, 0);
    if (h->acc) return b;
    b = loop(g, b, "turn", g->at->group, LOOP_SERIAL, &h->turn);
    g->head = let(g, b, "head", ex_add(x, ex_mul(x, g->kvh, g->at->group), h->turn));
    return b;
}

static void heads_begin(Gen *g, Block *b, Heads *h) {
    Exprs *x = g->x;
    const Expr *l, *d;
    b = each_head(g, b, h);
    store(g, b, h->m, IDX(h->turn), g->low);
    Block *in = lanes_over(g, b, h->lanes, &l);
    store(g, in, h->l, IDX(lane_sum(g, h, l)), ex_f32(x, 0));
    in = over_d(g, b, &d);
    if (h->q) store(g, in, h->q, IDX(d), query(g, d));
    gather(g, in, h, d, ex_f32(x, 0));
}

// dot[i] = q k of the block's slots from `base` on.
static void dots(Gen *g, Block *b, const Heads *h, const Buffer *dot, const Expr *base) {
    Exprs *x = g->x;
    const Expr *l, *d, *block = NULL;
    i64 B = g->at->block, vecs = B / h->lanes, D;
    const Expr *at[64], *blocks[64];
    for (i64 v = 0; v < vecs; v++) {
        const Expr *i = expr_simplify(x, ex_add(x, base, ex_int(x, v * h->lanes)));
        if (v * h->lanes % KV_BLOCK == 0) block = block_at(g, b, i);
        blocks[v] = block;
        at[v] = expr_simplify(x, ex_mod(x, i, ex_int(x, KV_BLOCK)));
        Block *in = lanes_over(g, b, h->lanes, &l);
        store(g, in, dot, IDX(ex_add(x, l, ex_int(x, v * h->lanes))), ex_f32(x, 0));
    }
    bool few = expr_is_int(g->at->d, &D) && D <= 128;
    Block *sum = loop(g, b, "d", g->at->d, few ? LOOP_UNROLL : LOOP_SERIAL, &d);
    for (i64 v = 0; v < vecs; v++) {
        Block *in = lanes_over(g, sum, h->lanes, &l);
        const Expr *to = ex_add(x, l, ex_int(x, v * h->lanes));
        const Expr *q = h->q ? LD(h->q, d) : query(g, d);
        store(g, in, dot, IDX(to),
              ex_add(x, LD(dot, to), ex_mul(x, q, key(g, blocks[v], ex_add(x, at[v], l), d))));
    }
}

// Adds the values of the slots from `base` on, by their weights.
static void mix(Gen *g, Block *b, const Heads *h, const Buffer *weight, const Expr *base) {
    enum { CHAINS = 4 }; // of additions, that they need not wait for one another
    Exprs *x = g->x;
    const Expr *d, *c = ex_int(x, 0), *row[KV_BLOCK], *part[CHAINS] = {0};
    i64 B = g->at->block, n = MIN2(B, KV_BLOCK);
    Block *each = B > n ? loop(g, b, "c", ex_int(x, B / n), LOOP_SERIAL, &c) : b;
    const Expr *first = ex_mul(x, c, ex_int(x, n)), *at = expr_simplify(x, ex_add(x, base, first));
    const Expr *block = block_at(g, each, at);
    for (i64 i = 0; i < n; i++) {
        const Expr *of = ex_mod(x, ex_add(x, at, ex_int(x, i)), ex_int(x, KV_BLOCK));
        row[i] = value_row(g, each, block, expr_simplify(x, of));
    }
    Block *in = over_d(g, each, &d);
    for (i64 i = 0; i < n; i++) {
        const Expr *w = LD(weight, expr_simplify(x, ex_add(x, first, ex_int(x, i))));
        const Expr *term = ex_mul(x, w, value_at(g, block, row[i], d));
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
    const Buffer *dot = alloc(g, b, "dot", SCOPE_REG, B), *top = alloc(g, b, "top", SCOPE_REG, L),
                 *weight = alloc(g, b, "weight", SCOPE_REG, B);
    dots(g, b, h, dot, base);
    for (i64 v = 0; v < B; v += L) {
        Block *in = lanes_over(g, b, L, &l);
        const Expr *i = ex_add(x, l, ex_int(x, v)), *score = ex_mul(x, LD(dot, i), g->scale);
        score = ex_select(x, ex_lt(x, ex_add(x, base, i), g->count), score, g->low);
        store(g, in, dot, IDX(i), score);
    }
    Block *in = lanes_over(g, b, L, &l);
    const Expr *most = LD(dot, l);
    for (i64 v = L; v < B; v += L) most = ex_max(x, most, LD(dot, ex_add(x, l, ex_int(x, v))));
    store(g, in, top, IDX(l), most);
    const Expr *was = LD(h->m, h->turn), *m;
    m = let(g, b, "m", ex_max(x, was, most_of(g, b, top, L)));
    const Expr *shrink = let(g, b, "shrink", ex_un(x, EX_EXP, ex_sub(x, was, m)));
    store(g, b, h->m, IDX(h->turn), m);
    for (i64 v = 0; v < B; v += L) {
        in = lanes_over(g, b, L, &l);
        const Expr *i = ex_add(x, l, ex_int(x, v));
        store(g, in, weight, IDX(i), ex_un(x, EX_EXP, ex_sub(x, LD(dot, i), m)));
    }
    in = lanes_over(g, b, L, &l);
    const Expr *sum = ex_mul(x, LD(h->l, lane_sum(g, h, l)), shrink);
    for (i64 v = 0; v < B; v += L) sum = ex_add(x, sum, LD(weight, ex_add(x, l, ex_int(x, v))));
    store(g, in, h->l, IDX(lane_sum(g, h, l)), sum);
    in = over_d(g, b, &d);
    gather(g, in, h, d, ex_mul(x, gathered(g, h, d), shrink));
    mix(g, b, h, weight, base);
}

static void body_alone(Gen *g, Block *b, bool group) {
    Exprs *x = g->x;
    const Attention *at = g->at;
    const Expr *d, *blk;
    i64 B = at->block, D = d_most(at), lo, turns = 1;
    Heads h = {.lanes = MIN2(at->slots, B)};
    prepare(g, b);
    if (group) {
        expr_range(at->group, &lo, &turns);
    } else {
        h.q = alloc(g, b, "q_reg", SCOPE_REG, D);
        h.acc = alloc(g, b, "acc", SCOPE_REG, D);
    }
    h.m = alloc(g, b, "m", SCOPE_REG, turns);
    h.l = alloc(g, b, "l", SCOPE_REG, turns * h.lanes);
    heads_begin(g, b, &h);
    const Expr *nblocks = ex_idiv(x, ex_add(x, g->count, ex_int(x, B - 1)), ex_int(x, B));
    Block *body = loop(g, b, "blk", let(g, b, "blocks", nblocks), LOOP_SERIAL, &blk);
    head_block(g, each_head(g, body, &h), &h, blk);
    b = each_head(g, b, &h);
    const Expr *sum = LD(h.l, lane_sum(g, &h, ex_int(x, 0)));
    for (i64 i = 1; i < h.lanes; i++) sum = ex_add(x, sum, LD(h.l, lane_sum(g, &h, ex_int(x, i))));
    sum = let(g, b, "sum", sum);
    if (h.acc || at->s.parts == 1) {
        Block *end = over_d(g, b, &d);
        finish(g, end, d, gathered(g, &h, d), sum);
    }
    finish_state(g, b, LD(h.m, h.turn), sum);
}

// ---- rows in lanes --------------------------------------------------------------------------------
typedef struct Lanes { // a statement for each of the tile's rows
    Block *body;
    const Expr *l;
} Lanes;

static Lanes lanes(Gen *g, Block *b) {
    Lanes at;
    at.body = loop(g, b, "l", ex_int(g->x, g->at->rows), LOOP_VEC, &at.l);
    return at;
}

// Element d of row r in a tile of columns.
static const Expr *in_tile(Gen *g, const Expr *d, const Expr *r) {
    return ex_add(g->x, ex_mul(g->x, d, ex_int(g->x, g->at->rows)), r);
}

typedef struct Tile {
    const Buffer *q, *acc;          // [d][row]
    const Buffer *len, *m, *l, *sc; // [row]; sc: [block][row]
} Tile;

// The tile's queries, and how far each row sees; past the last row the last one again.
static void tile_begin(Gen *g, Block *b, const Tile *t, const Expr *first, const Expr *last_row) {
    Exprs *x = g->x;
    const Attention *at = g->at;
    const Expr *zero = ex_int(x, 0), *one = ex_int(x, 1), *f0 = ex_f32(x, 0), *r, *d;
    const Buffer *top = alloc(g, b, "top", SCOPE_REG, 1);
    store(g, b, top, IDX(zero), f0);
    Block *each = loop(g, b, "r", ex_int(x, at->rows), LOOP_SERIAL, &r);
    g->row = let(g, each, "row", ex_min(x, ex_add(x, first, r), last_row));
    store(g, each, t->len, IDX(r),
          ex_cast(x, TY_F32, ex_add(x, attention_pos(at, x, g->row), one)));
    store(g, each, top, IDX(zero), ex_max(x, LD(top, zero), LD(t->len, r)));
    Block *copy = loop(g, each, "d", at->d, LOOP_SERIAL, &d);
    store(g, copy, t->q, IDX(in_tile(g, d, r)), ex_mul(x, query(g, d), g->scale));
    Lanes l = lanes(g, b);
    store(g, l.body, t->m, IDX(l.l), g->low);
    l = lanes(g, b);
    store(g, l.body, t->l, IDX(l.l), f0);
    l = lanes(g, loop(g, b, "d", at->d, LOOP_SERIAL, &d));
    store(g, l.body, t->acc, IDX(in_tile(g, d, l.l)), f0);
    const Expr *seen = ex_cast(x, TY_I32, LD(top, zero));
    seen = ex_min(x, ex_max(x, seen, one), at->ctx);
    last_is(g, b, "last", ex_sub(x, seen, one));
}

static void tile_block(Gen *g, Block *b, const Tile *t, const Expr *blk) {
    Exprs *x = g->x;
    const Attention *at = g->at;
    const Expr *d, *block = NULL, *blocks[64], *slot_at[64], *row[64];
    const Expr *base = ex_mul(x, blk, ex_int(x, at->block));
    i64 B = at->block;
    const Buffer *shrink = alloc(g, b, "shrink", SCOPE_REG, at->rows),
                 *top = alloc(g, b, "block_top", SCOPE_REG, at->rows);
    Lanes l;
    for (i64 i = 0; i < B; i++) {
        const Expr *j = expr_simplify(x, ex_add(x, base, ex_int(x, i)));
        if (i % KV_BLOCK == 0) block = block_at(g, b, j);
        blocks[i] = block;
        slot_at[i] = expr_simplify(x, ex_mod(x, j, ex_int(x, KV_BLOCK)));
        row[i] = value_row(g, b, block, slot_at[i]);
        l = lanes(g, b);
        store(g, l.body, t->sc, IDX(in_tile(g, ex_int(x, i), l.l)), ex_f32(x, 0));
    }
    Block *sum = loop(g, b, "d", at->d, LOOP_SERIAL, &d);
    for (i64 i = 0; i < B; i++) {
        l = lanes(g, sum);
        const Expr *to = in_tile(g, ex_int(x, i), l.l);
        store(g, l.body, t->sc, IDX(to),
              ex_add(x, LD(t->sc, to),
                     ex_mul(x, LD(t->q, in_tile(g, d, l.l)), key(g, blocks[i], slot_at[i], d))));
    }
    for (i64 i = 0; i < B; i++) {
        const Expr *j = ex_add(x, base, ex_int(x, i));
        l = lanes(g, b);
        const Expr *to = in_tile(g, ex_int(x, i), l.l);
        store(
            g, l.body, t->sc, IDX(to),
            ex_select(x, ex_lt(x, ex_cast(x, TY_F32, j), LD(t->len, l.l)), LD(t->sc, to), g->low));
    }
    l = lanes(g, b);
    const Expr *most = LD(t->m, l.l), *all;
    for (i64 i = 0; i < B; i++) most = ex_max(x, most, LD(t->sc, in_tile(g, ex_int(x, i), l.l)));
    store(g, l.body, top, IDX(l.l), most);
    l = lanes(g, b);
    store(g, l.body, shrink, IDX(l.l), ex_un(x, EX_EXP, ex_sub(x, LD(t->m, l.l), LD(top, l.l))));
    l = lanes(g, b);
    store(g, l.body, t->m, IDX(l.l), LD(top, l.l));
    for (i64 i = 0; i < B; i++) {
        l = lanes(g, b);
        const Expr *to = in_tile(g, ex_int(x, i), l.l);
        store(g, l.body, t->sc, IDX(to), ex_un(x, EX_EXP, ex_sub(x, LD(t->sc, to), LD(top, l.l))));
    }
    l = lanes(g, b);
    all = ex_mul(x, LD(t->l, l.l), LD(shrink, l.l));
    for (i64 i = 0; i < B; i++) all = ex_add(x, all, LD(t->sc, in_tile(g, ex_int(x, i), l.l)));
    store(g, l.body, t->l, IDX(l.l), all);
    l = lanes(g, loop(g, b, "d", at->d, LOOP_SERIAL, &d));
    const Expr *value = ex_mul(x, LD(t->acc, in_tile(g, d, l.l)), LD(shrink, l.l));
    for (i64 i = 0; i < B; i++)
        value = ex_add(
            x, value,
            ex_mul(x, LD(t->sc, in_tile(g, ex_int(x, i), l.l)), value_at(g, blocks[i], row[i], d)));
    store(g, l.body, t->acc, IDX(in_tile(g, d, l.l)), value);
}

// The head of the rows from `first` on.
static void body_rows(Gen *g, Block *b, const Expr *first, const Expr *rows) {
    Exprs *x = g->x;
    const Attention *at = g->at;
    const Expr *one = ex_int(x, 1), *blk, *r, *d;
    i64 R = at->rows, B = at->block, D = d_most(at);
    const Tile t = {alloc(g, b, "q_tile", SCOPE_REG, D * R), alloc(g, b, "acc", SCOPE_REG, D * R),
                    alloc(g, b, "len", SCOPE_REG, R),        alloc(g, b, "m", SCOPE_REG, R),
                    alloc(g, b, "l", SCOPE_REG, R),          alloc(g, b, "sc", SCOPE_REG, B * R)};
    known(g, b);
    g->first = g->first_block = ex_int(x, 0);
    tile_begin(g, b, &t, first, ex_sub(x, rows, one));
    const Expr *blocks = ex_add(x, ex_idiv(x, g->last, ex_int(x, B)), one);
    Block *body = loop(g, b, "blk", let(g, b, "blocks", blocks), LOOP_SERIAL, &blk);
    tile_block(g, body, &t, blk);
    Lanes l = lanes(g, loop(g, b, "d", at->d, LOOP_SERIAL, &d));
    store(g, l.body, t.acc, IDX(in_tile(g, d, l.l)),
          ex_div(x, LD(t.acc, in_tile(g, d, l.l)), LD(t.l, l.l)));
    Block *each = loop(g, b, "r", ex_int(x, R), LOOP_SERIAL, &r);
    const Expr *row = ex_add(x, first, r);
    Block *there = when(g, each, ex_lt(x, row, rows));
    row = ex_min(x, row, ex_sub(x, rows, one)); // says to the verifier what the guard says
    Block *copy = loop(g, there, "d", at->d, LOOP_SERIAL, &d);
    store(g, copy, at->y, IDX(row, in_row(g, d)), LD(t.acc, in_tile(g, d, r)));
}

// ---- shared by the threads of a workgroup -------------------------------------------------------
static void body_shared(Gen *g, Block *b, const Expr *tid) {
    Exprs *x = g->x;
    const Attention *at = g->at;
    const Expr *zero = ex_int(x, 0), *one = ex_int(x, 1), *f0 = ex_f32(x, 0), *blk, *c, *i;
    i64 T = at->lanes, D = at->s.head_dim, each = ceil_div(D, T);
    const Buffer *q = alloc(g, b, "q_shared", SCOPE_SHARED, D),
                 *sc = alloc(g, b, "scores", SCOPE_SHARED, T),
                 *pr = alloc(g, b, "weights", SCOPE_SHARED, T);
    prepare(g, b);
    const Buffer *acc = alloc(g, b, "acc", SCOPE_REG, each),
                 *state = alloc(g, b, "state", SCOPE_REG, 2);
    Block *own = loop(g, b, "c", ex_int(x, each), LOOP_UNROLL, &c);
    store(g, own, acc, IDX(c), f0);
    const Expr *d = ex_add(x, ex_mul(x, c, ex_int(x, T)), tid);
    Block *inside = when(g, own, ex_lt(x, d, at->d));
    d = ex_min(x, d, ex_sub(x, at->d, one)); // says to the verifier what the guard says
    store(g, inside, q, IDX(d), ex_mul(x, query(g, d), g->scale));
    store(g, b, state, IDX(zero), g->low);
    store(g, b, state, IDX(one), f0);

    const Expr *nblocks = ex_idiv(x, ex_add(x, g->count, ex_int(x, T - 1)), ex_int(x, T));
    Block *body = loop(g, b, "blk", let(g, b, "blocks", nblocks), LOOP_SERIAL, &blk);
    const Expr *base = let(g, body, "base", ex_mul(x, blk, ex_int(x, T)));
    stmt_new(g->a, body,
             ST_BARRIER); // the block before is done with scores and weights; q is there
    const Expr *j = ex_add(x, base, tid), *mine = let(g, body, "slot", slot(g, j));
    const Expr *size = ex_int(x, KV_BLOCK), *block = let(g, body, "block", ex_idiv(x, mine, size));
    const Buffer *dot = alloc(g, body, "dot", SCOPE_REG, 1);
    store(g, body, dot, IDX(zero), f0);
    Block *sum = loop(g, body, "d", at->d, LOOP_SERIAL, &i);
    store(g, sum, dot, IDX(zero),
          ex_add(x, LD(dot, zero), ex_mul(x, LD(q, i), key(g, block, ex_mod(x, mine, size), i))));
    const Expr *score =
        let(g, body, "score", ex_select(x, ex_lt(x, j, g->count), LD(dot, zero), g->low));
    store(g, body, sc, IDX(tid), score);
    stmt_new(g->a, body, ST_BARRIER);
    const Buffer *top = alloc(g, body, "top", SCOPE_REG, 1);
    store(g, body, top, IDX(zero), LD(state, zero));
    Block *tl = loop(g, body, "i", ex_int(x, T), LOOP_SERIAL, &i);
    store(g, tl, top, IDX(zero), ex_max(x, LD(top, zero), LD(sc, i)));
    const Expr *m = let(g, body, "m", LD(top, zero));
    const Expr *shrink = let(g, body, "shrink", ex_un(x, EX_EXP, ex_sub(x, LD(state, zero), m)));
    store(g, body, pr, IDX(tid), ex_un(x, EX_EXP, ex_sub(x, score, m)));
    store(g, body, state, IDX(zero), m);
    store(g, body, state, IDX(one), ex_mul(x, LD(state, one), shrink));
    Block *scale = loop(g, body, "c", ex_int(x, each), LOOP_UNROLL, &c);
    store(g, scale, acc, IDX(c), ex_mul(x, LD(acc, c), shrink));
    stmt_new(g->a, body, ST_BARRIER);
    Block *mix = loop(g, body, "i", ex_int(x, T), LOOP_SERIAL, &i);
    const Expr *e = let(g, mix, "e", LD(pr, i)),
               *from = let(g, mix, "from", slot(g, ex_add(x, base, i)));
    block = let(g, mix, "block", ex_idiv(x, from, size));
    const Expr *row = let(g, mix, "value", ex_mul(x, ex_mod(x, from, size), at->d));
    store(g, mix, state, IDX(one), ex_add(x, LD(state, one), e));
    Block *each_d = loop(g, mix, "c", ex_int(x, each), LOOP_UNROLL, &c);
    d = ex_min(x, ex_add(x, ex_mul(x, c, ex_int(x, T)), tid), ex_sub(x, at->d, one));
    store(g, each_d, acc, IDX(c), ex_add(x, LD(acc, c), ex_mul(x, e, value_at(g, block, row, d))));

    const Expr *l = let(g, b, "l", LD(state, one));
    Block *end = loop(g, b, "c", ex_int(x, each), LOOP_UNROLL, &c);
    d = ex_add(x, ex_mul(x, c, ex_int(x, T)), tid);
    inside = when(g, end, ex_lt(x, d, at->d));
    finish(g, inside, ex_min(x, d, ex_sub(x, at->d, one)), LD(acc, c), l);
    finish_state(g, when(g, b, ex_eq(x, tid, zero)), LD(state, zero), l);
}

bool attention_build(Arena *a, const Nest *n, Kernel **out, Err *err) {
    (void)err;
    const Attention *at = n->direct_state;
    const Formula *f = n->f;
    Exprs *x = n->x;
    Kernel *k = NEW(a, Kernel);
    *k = (Kernel){.name = str_c(f->name),
                  .x = x,
                  .nargs = f->nargs,
                  .nsyms = f->nsyms,
                  .ndims = f->ndims,
                  .wg = {1, 1, 1}};
    memcpy(k->arg, f->arg, sizeof f->arg);
    for (int i = 0; i < f->nsyms; i++)
        k->sym[i].var = f->sym[i].var, k->sym[i].word = f->sym[i].word;
    memcpy(k->dim, f->dim, sizeof f->dim);
    for (int i = 0; i < 3; i++) k->grid[i] = ex_int(x, 1);
    Gen g = {.a = a, .x = x, .at = at, .k = k};
    Block *b = &k->body;
    const Expr *P = ex_int(x, at->s.parts), *N = ex_var(x, at->n), *item, *tid;
    if (at->rows) {
        const Expr *R = ex_int(x, at->rows), *one = ex_int(x, 1);
        const Expr *tiles = ex_idiv(x, ex_add(x, N, ex_sub(x, R, one)), R);
        k->grid[0] = expr_simplify(x, ex_mul(x, tiles, at->heads));
        b = loop(&g, b, "item", k->grid[0], LOOP_CPU, &item);
        of_head(&g, b, ex_mod(x, item, at->heads));
        const Expr *t = ex_min(x, ex_idiv(x, item, at->heads), ex_sub(x, tiles, one));
        t = let(&g, b, "t", t);
        // Later rows see more. Threads have the items in equal pieces, one after another: tiles
        // from both ends take turns.
        const Expr *half = ex_idiv(x, t, ex_int(x, 2));
        const Expr *odd = ex_eq(x, ex_mod(x, t, ex_int(x, 2)), one);
        t = ex_select(x, odd, ex_sub(x, ex_sub(x, tiles, one), half), half);
        t = let(&g, b, "tile", ex_max(x, ex_min(x, t, ex_sub(x, tiles, one)), ex_int(x, 0)));
        body_rows(&g, b, let(&g, b, "first", ex_mul(x, t, R)), N);
    } else if (!n->profile->gpu) {
        const Expr *items = expr_simplify(x, ex_mul(x, at->kv, P)); // of one row
        k->grid[0] = expr_simplify(x, ex_mul(x, N, items));
        b = loop(&g, b, "item", k->grid[0], LOOP_CPU, &item);
        i64 one;
        bool single = expr_is_int(items, &one) && one == 1;
        g.row = single ? item
                       : let(&g, b, "row",
                             ex_min(x, ex_idiv(x, item, items), ex_sub(x, N, ex_int(x, 1))));
        const Expr *hp = let(&g, b, "hp", ex_mod(x, item, items));
        g.kvh = let(&g, b, "kvh", expr_simplify(x, ex_idiv(x, hp, P)));
        g.part = expr_simplify(x, ex_mod(x, hp, P));
        body_alone(&g, b, true);
    } else {
        i64 H = at->s.heads, parts = at->s.parts, count = H * parts;
        i64 per = at->lanes ? 1 : at->threads;
        k->grid[0] = ex_int(x, ceil_div(count, per));
        k->grid[1] = N;
        b = loop(&g, b, "row", N, LOOP_WG_Y, &g.row);
        b = loop(&g, b, "group", k->grid[0], LOOP_WG_X, &item);
        k->wg[0] = (u32)(at->lanes ? at->lanes : at->threads);
        b = loop(&g, b, "tx", ex_int(x, k->wg[0]), LOOP_THREAD_X, &tid);
        if (!at->lanes) {
            item = expr_simplify(x, ex_add(x, ex_mul(x, item, ex_int(x, per)), tid));
            if (count % per) {
                b = when(&g, b, ex_lt(x, item, ex_int(x, count)));
                item = ex_min(x, item, ex_int(x, count - 1));
            }
        }
        of_head(&g, b, ex_idiv(x, item, P));
        g.part = let(&g, b, "part", expr_simplify(x, ex_mod(x, item, P)));
        if (at->lanes)
            body_shared(&g, b, tid);
        else
            body_alone(&g, b, false);
    }
    kernel_unroll(a, k);
    kernel_join_lanes(a, k);
    kernel_legalise(a, k);
    kernel_hoist(a, k);
    *out = k;
    return true;
}
