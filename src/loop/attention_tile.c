// loop/attention_tile.c: the threads of a workgroup have a query each: rows of a tile, and the
// heads that share a head of keys.
//
// They pass through the cache together, a block at a time, which they copy into workgroup memory:
// each element is read once for all of them. How far they go, the row says that sees most; what is
// past a row's own position weighs nothing in it.
#include "loop/attention_int.h"

void att_stage_block(Gen *g, Block *b, const Expr *blk) {
    Exprs *x = g->x;
    const Attention *at = g->at;
    i64 all = KV_BLOCK * at->s.head_dim, vec = MAX2(at->vec, 1), T = g->k->wg[0];
    const Expr *c, *l, *zero = ex_int(x, 0), *one = ex_int(x, 1);
    stmt_new(g->a, b, ST_BARRIER); // the block before is done with
    Block *each = att_loop(g, b, "c", ex_int(x, ceil_div(all, T * vec)), LOOP_SERIAL, &c);
    const Expr *from = ex_add(x, ex_mul(x, c, ex_int(x, T)), g->tid);
    if (all % (T * vec)) {
        each = att_when(g, each, ex_lt(x, from, ex_int(x, all / vec)));
        from =
            ex_min(x, from, ex_int(x, all / vec - 1)); // says to the verifier what the guard says
    }
    from = att_let(g, each, "from", ex_mul(x, from, ex_int(x, vec)));
    const Buffer *to[] = {g->keys, g->values};
    for (int i = 0; i < 2; i++) {
        Block *in = each;
        l = zero;
        if (vec > 1) in = att_loop(g, each, "l", ex_int(x, vec), LOOP_VEC, &l);
        const Expr *e = ex_add(x, from, l);
        att_store(g, in, to[i], IDX(e), LD(at->cache, i ? one : zero, g->kvh, blk, e));
    }
    stmt_new(g->a, b, ST_BARRIER);
}

void att_body_tile(Gen *g, Block *b, const Expr *first, const Expr *tid) {
    Exprs *x = g->x;
    const Attention *at = g->at;
    i64 group = attention_group(&at->s), rows = g->k->wg[0] / group;
    const Expr *N = ex_var(x, at->n), *last_row = ex_sub(x, N, ex_int(x, 1)), *G = ex_int(x, group);
    g->keys = att_alloc(g, b, "keys", SCOPE_SHARED, KV_BLOCK * at->s.head_dim);
    g->values = att_alloc(g, b, "values", SCOPE_SHARED, KV_BLOCK * at->s.head_dim);
    const Expr *row = ex_add(x, first, ex_idiv(x, tid, G));
    g->tid = tid;
    g->there = ex_lt(x, row, N);
    g->row = att_let(g, b, "row", ex_min(x, row, last_row));
    g->head = att_let(g, b, "head", ex_add(x, ex_mul(x, g->kvh, G), ex_mod(x, tid, G)));
    g->part = ex_int(x, 0);
    att_prepare(g, b);
    const Expr **pos = NEW_N(g->a, const Expr *, rows);
    for (i64 r = 0; r < rows; r++) {
        const Expr *of = ex_min(x, ex_add(x, first, ex_int(x, r)), last_row);
        pos[r] = attention_pos(at, x, of);
    }
    for (i64 n = rows; n > 1; n = (n + 1) / 2) // by pairs: text of little depth
        for (i64 i = 0; i < (n + 1) / 2; i++)
            pos[i] = 2 * i + 1 < n ? ex_max(x, pos[2 * i], pos[2 * i + 1]) : pos[2 * i];
    const Expr *most = att_let(g, b, "most", pos[0]);
    g->last_block = att_let(g, b, "tile_block", ex_idiv(x, most, ex_int(x, KV_BLOCK)));
    g->most = ex_add(x, most, ex_int(x, 1));
    att_body_alone(g, b, false);
}
