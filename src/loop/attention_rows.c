// loop/attention_rows.c: a processor's thread that has a tile of rows and a head.
//
// Lanes run over the rows, so that no sum runs across lanes, and each element of the cache is read
// once for all of them.
#include "loop/attention_int.h"

typedef struct Lanes { // a statement for each of the tile's rows
    Block *body;
    const Expr *l;
} Lanes;

static Lanes lanes(Gen *g, Block *b) {
    Lanes at;
    at.body = att_loop(g, b, "l", ex_int(g->x, g->at->rows), LOOP_VEC, &at.l);
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
    const Buffer *top = att_alloc(g, b, "top", SCOPE_REG, 1);
    att_store(g, b, top, IDX(zero), f0);
    Block *each = att_loop(g, b, "r", ex_int(x, at->rows), LOOP_SERIAL, &r);
    g->row = att_let(g, each, "row", ex_min(x, ex_add(x, first, r), last_row));
    att_store(g, each, t->len, IDX(r),
              ex_cast(x, TY_F32, ex_add(x, attention_pos(at, x, g->row), one)));
    att_store(g, each, top, IDX(zero), ex_max(x, LD(top, zero), LD(t->len, r)));
    Block *copy = att_loop(g, each, "d", at->d, LOOP_SERIAL, &d);
    att_store(g, copy, t->q, IDX(in_tile(g, d, r)), ex_mul(x, att_query(g, d), g->scale));
    Lanes l = lanes(g, b);
    att_store(g, l.body, t->m, IDX(l.l), g->low);
    l = lanes(g, b);
    att_store(g, l.body, t->l, IDX(l.l), f0);
    l = lanes(g, att_loop(g, b, "d", at->d, LOOP_SERIAL, &d));
    att_store(g, l.body, t->acc, IDX(in_tile(g, d, l.l)), f0);
    const Expr *seen = ex_cast(x, TY_I32, LD(top, zero));
    seen = ex_min(x, ex_max(x, seen, one), at->ctx);
    att_last_is(g, b, "last", ex_sub(x, seen, one));
}

static void tile_block(Gen *g, Block *b, const Tile *t, const Expr *blk) {
    Exprs *x = g->x;
    const Attention *at = g->at;
    const Expr *d, *block = NULL, *blocks[64], *slot_at[64], *row[64];
    const Expr *base = ex_mul(x, blk, ex_int(x, at->block));
    i64 B = at->block;
    const Buffer *shrink = att_alloc(g, b, "shrink", SCOPE_REG, at->rows),
                 *top = att_alloc(g, b, "block_top", SCOPE_REG, at->rows);
    Lanes l;
    for (i64 i = 0; i < B; i++) {
        const Expr *j = expr_simplify(x, ex_add(x, base, ex_int(x, i)));
        if (i % KV_BLOCK == 0) block = att_block_at(g, b, j);
        blocks[i] = block;
        slot_at[i] = expr_simplify(x, ex_mod(x, j, ex_int(x, KV_BLOCK)));
        row[i] = att_value_row(g, b, block, slot_at[i]);
        l = lanes(g, b);
        att_store(g, l.body, t->sc, IDX(in_tile(g, ex_int(x, i), l.l)), ex_f32(x, 0));
    }
    Block *sum = att_loop(g, b, "d", at->d, LOOP_SERIAL, &d);
    for (i64 i = 0; i < B; i++) {
        l = lanes(g, sum);
        const Expr *to = in_tile(g, ex_int(x, i), l.l);
        att_store(
            g, l.body, t->sc, IDX(to),
            ex_add(x, LD(t->sc, to),
                   ex_mul(x, LD(t->q, in_tile(g, d, l.l)), att_key(g, blocks[i], slot_at[i], d))));
    }
    for (i64 i = 0; i < B; i++) {
        const Expr *j = ex_add(x, base, ex_int(x, i));
        l = lanes(g, b);
        const Expr *to = in_tile(g, ex_int(x, i), l.l);
        att_store(
            g, l.body, t->sc, IDX(to),
            ex_select(x, ex_lt(x, ex_cast(x, TY_F32, j), LD(t->len, l.l)), LD(t->sc, to), g->low));
    }
    l = lanes(g, b);
    const Expr *most = LD(t->m, l.l), *all;
    for (i64 i = 0; i < B; i++) most = ex_max(x, most, LD(t->sc, in_tile(g, ex_int(x, i), l.l)));
    att_store(g, l.body, top, IDX(l.l), most);
    l = lanes(g, b);
    att_store(g, l.body, shrink, IDX(l.l),
              ex_un(x, EX_EXP, ex_sub(x, LD(t->m, l.l), LD(top, l.l))));
    l = lanes(g, b);
    att_store(g, l.body, t->m, IDX(l.l), LD(top, l.l));
    for (i64 i = 0; i < B; i++) {
        l = lanes(g, b);
        const Expr *to = in_tile(g, ex_int(x, i), l.l);
        att_store(g, l.body, t->sc, IDX(to),
                  ex_un(x, EX_EXP, ex_sub(x, LD(t->sc, to), LD(top, l.l))));
    }
    l = lanes(g, b);
    all = ex_mul(x, LD(t->l, l.l), LD(shrink, l.l));
    for (i64 i = 0; i < B; i++) all = ex_add(x, all, LD(t->sc, in_tile(g, ex_int(x, i), l.l)));
    att_store(g, l.body, t->l, IDX(l.l), all);
    l = lanes(g, att_loop(g, b, "d", at->d, LOOP_SERIAL, &d));
    const Expr *value = ex_mul(x, LD(t->acc, in_tile(g, d, l.l)), LD(shrink, l.l));
    for (i64 i = 0; i < B; i++)
        value = ex_add(x, value,
                       ex_mul(x, LD(t->sc, in_tile(g, ex_int(x, i), l.l)),
                              att_value_at(g, blocks[i], row[i], d)));
    att_store(g, l.body, t->acc, IDX(in_tile(g, d, l.l)), value);
}

// The head of the rows from `first` on.
void att_body_rows(Gen *g, Block *b, const Expr *first, const Expr *rows) {
    Exprs *x = g->x;
    const Attention *at = g->at;
    const Expr *one = ex_int(x, 1), *blk, *r, *d;
    i64 R = at->rows, B = at->block, D = att_d_most(at);
    const Tile t = {
        att_alloc(g, b, "q_tile", SCOPE_REG, D * R), att_alloc(g, b, "acc", SCOPE_REG, D * R),
        att_alloc(g, b, "len", SCOPE_REG, R),        att_alloc(g, b, "m", SCOPE_REG, R),
        att_alloc(g, b, "l", SCOPE_REG, R),          att_alloc(g, b, "sc", SCOPE_REG, B * R)};
    att_known(g, b);
    g->first = g->first_block = ex_int(x, 0);
    tile_begin(g, b, &t, first, ex_sub(x, rows, one));
    const Expr *blocks = ex_add(x, ex_idiv(x, g->last, ex_int(x, B)), one);
    Block *body = att_loop(g, b, "blk", att_let(g, b, "blocks", blocks), LOOP_SERIAL, &blk);
    tile_block(g, body, &t, blk);
    Lanes l = lanes(g, att_loop(g, b, "d", at->d, LOOP_SERIAL, &d));
    att_store(g, l.body, t.acc, IDX(in_tile(g, d, l.l)),
              ex_div(x, LD(t.acc, in_tile(g, d, l.l)), LD(t.l, l.l)));
    Block *each = att_loop(g, b, "r", ex_int(x, R), LOOP_SERIAL, &r);
    const Expr *row = ex_add(x, first, r);
    Block *there = att_when(g, each, ex_lt(x, row, rows));
    row = ex_min(x, row, ex_sub(x, rows, one)); // says to the verifier what the guard says
    Block *copy = att_loop(g, there, "d", at->d, LOOP_SERIAL, &d);
    att_store(g, copy, at->y, IDX(row, att_in_row(g, d)), LD(t.acc, in_tile(g, d, r)));
}
