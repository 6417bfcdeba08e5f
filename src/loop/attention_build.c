// loop/attention_build.c: attention's kernel, statement by statement: on-line softmax over blocks
// of the cache.
//
// State of one (row, head, part): m the largest score so far, l the sum of e^(score - m), acc[d]
// the sum of e^(score - m) v[d]. A block of B scores moves m to m', scales l and acc by e^(m - m')
// and adds its own terms. Who has it is told apart in three files: one thread alone
// (attention_alone.c), the threads of a workgroup one each (attention_tile.c), a processor's thread
// a tile of rows (attention_rows.c), a workgroup together (attention_shared.c). Here is what they
// share, and who has what.
// Slots past the part's end score far below everything and read a slot that exists: no branch, no
// stray read.
#include "loop/attention_int.h"

const Expr *att_let(Gen *g, Block *b, const char *name, const Expr *value) {
    Stmt *s = stmt_new(g->a, b, ST_LET);
    i64 lo = 0, hi = 0;
    if (value->type == TY_I32 || value->type == TY_U32) expr_range(value, &lo, &hi);
    Var *v = var_new(g->x, name, (Type)value->type, lo, hi);
    s->var = v;
    s->value = value;
    return ex_var(g->x, v);
}

Block *att_loop(Gen *g, Block *b, const char *name, const Expr *extent, LoopKind kind,
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

void att_store(Gen *g, Block *b, const Buffer *buf, const Expr *const *idx, const Expr *value) {
    Stmt *s = stmt_new(g->a, b, ST_STORE);
    s->buf = buf;
    s->value = value;
    for (int i = 0; i < buf->nd; i++) s->idx[i] = expr_simplify(g->x, idx[i]);
}

const Buffer *att_alloc(Gen *g, Block *b, const char *name, Scope scope, i64 size) {
    const Expr *n = ex_int(g->x, size);
    Buffer *buf = buffer_new(g->x, name, TY_F32, scope, 1, &n);
    buf->written = true;
    stmt_new(g->a, b, ST_ALLOC)->buf = buf;
    return buf;
}

Block *att_when(Gen *g, Block *b, const Expr *cond) {
    Stmt *s = stmt_new(g->a, b, ST_IF);
    s->cond = expr_simplify(g->x, cond);
    return &s->body;
}

Block *att_over_vectors(Gen *g, Block *b, const Expr **from) {
    Exprs *x = g->x;
    const Expr *vec = ex_int(x, g->at->vec), *n = expr_simplify(x, ex_idiv(x, g->at->d, vec)), *v;
    i64 count;
    bool small = expr_is_int(n, &count) && count <= 64;
    b = att_loop(g, b, "dv", n, small ? LOOP_UNROLL : LOOP_SERIAL, &v);
    *from = ex_mul(x, v, vec);
    return b;
}

Block *att_over_lanes(Gen *g, Block *b, const Expr *from, const Expr **d) {
    const Expr *l;
    *d = from;
    if (g->at->vec == 1) return b;
    b = att_loop(g, b, "dl", ex_int(g->x, g->at->vec), LOOP_VEC, &l);
    *d = ex_add(g->x, from, l);
    return b;
}

Block *att_over_d(Gen *g, Block *b, const Expr **d) {
    const Expr *from;
    b = att_over_vectors(g, b, &from);
    return att_over_lanes(g, b, from, d);
}

i64 att_d_most(const Attention *at) {
    i64 lo, hi;
    expr_range(at->d, &lo, &hi);
    return hi;
}

void att_known(Gen *g, Block *b) {
    Exprs *x = g->x;
    g->scale = att_let(g, b, "scale",
                       ex_div(x, ex_f32(x, 1), ex_un(x, EX_SQRT, ex_cast(x, TY_F32, g->at->d))));
    g->low = ex_f32(x, -1e30);
}

void att_last_is(Gen *g, Block *b, const char *name, const Expr *last) {
    Exprs *x = g->x;
    g->last = att_let(g, b, name, last);
    g->last_block = att_let(g, b, "last_block", ex_idiv(x, g->last, ex_int(x, KV_BLOCK)));
}

void att_of_head(Gen *g, Block *b, const Expr *head) {
    g->head = att_let(g, b, "head", expr_simplify(g->x, head));
    g->kvh = att_let(g, b, "kvh", expr_simplify(g->x, ex_idiv(g->x, g->head, g->at->group)));
}

void att_prepare(Gen *g, Block *b) {
    Exprs *x = g->x;
    const Attention *at = g->at;
    const Expr *zero = ex_int(x, 0);
    att_last_is(g, b, "pos", attention_pos(at, x, g->row));
    const Expr *len = ex_add(x, g->last, ex_int(x, 1));
    g->first = g->first_block = zero;
    g->count = g->most = len;
    if (at->s.parts > 1) {
        const Expr *per = att_let(g, b, "per", attention_per(at, x, len));
        g->first = att_let(g, b, "first", ex_mul(x, g->part, per));
        g->first_block = att_let(g, b, "first_block", ex_idiv(x, g->first, ex_int(x, KV_BLOCK)));
        g->count = g->most =
            att_let(g, b, "count", ex_max(x, ex_min(x, ex_sub(x, len, g->first), per), zero));
    }
    att_known(g, b);
}

const Expr *att_block_at(Gen *g, Block *b, const Expr *i) {
    Exprs *x = g->x;
    const Expr *at = ex_add(x, g->first_block, ex_idiv(x, i, ex_int(x, KV_BLOCK)));
    return att_let(g, b, "block", ex_max(x, ex_min(x, at, g->last_block), ex_int(x, 0)));
}

void att_fetch(Gen *g, Block *b, bool values, const Expr *block, const Expr *at) {
    Exprs *x = g->x;
    Stmt *s = stmt_new(g->a, b, ST_FETCH);
    const Expr *idx[] = {ex_int(x, values), g->kvh, block, at};
    s->buf = g->at->cache;
    for (size_t i = 0; i < COUNT_OF(idx); i++) s->idx[i] = expr_simplify(x, idx[i]);
}

const Expr *att_key(Gen *g, const Expr *block, const Expr *i, const Expr *d) {
    Exprs *x = g->x;
    const Expr *at = ex_add(x, ex_mul(x, d, ex_int(x, KV_BLOCK)), i);
    if (g->keys) return LD(g->keys, at);
    return LD(g->at->cache, ex_int(x, 0), g->kvh, block, at);
}

const Expr *att_value_row(Gen *g, Block *b, const Expr *block, const Expr *i) {
    Exprs *x = g->x;
    const Expr *seen = ex_sub(x, g->last, ex_mul(x, block, ex_int(x, KV_BLOCK)));
    const Expr *at = ex_max(x, ex_min(x, i, seen), ex_int(x, 0));
    return att_let(g, b, "value", ex_mul(x, at, g->at->d));
}

const Expr *att_value_at(Gen *g, const Expr *block, const Expr *row, const Expr *d) {
    Exprs *x = g->x;
    if (g->values) return LD(g->values, ex_add(x, row, d));
    return LD(g->at->cache, ex_int(x, 1), g->kvh, block, ex_add(x, row, d));
}

const Expr *att_slot(Gen *g, const Expr *i) {
    Exprs *x = g->x;
    return ex_min(x, ex_add(x, g->first, i), g->last);
}

const Expr *att_in_row(Gen *g, const Expr *d) {
    return ex_add(g->x, ex_mul(g->x, g->head, g->at->d), d);
}

const Expr *att_query(Gen *g, const Expr *d) {
    Exprs *x = g->x;
    return LD(g->at->q, g->row, att_in_row(g, d));
}

void att_put_result(Gen *g, Block *b, const Expr *d, const Expr *value) {
    if (g->at->s.parts == 1)
        att_store(g, b, g->at->y, IDX(g->row, att_in_row(g, d)), value);
    else
        att_store(g, b, g->at->y, IDX(g->row, g->head, g->part, d), value);
}

void att_finish(Gen *g, Block *b, const Expr *d, const Expr *acc, const Expr *l) {
    att_put_result(g, b, d, g->at->s.parts == 1 ? ex_div(g->x, acc, l) : acc);
}

void att_finish_state(Gen *g, Block *b, const Expr *m, const Expr *l) {
    Exprs *x = g->x;
    const Attention *at = g->at;
    if (at->s.parts == 1) return;
    att_store(g, b, at->y, IDX(g->row, g->head, g->part, at->d), m);
    att_store(g, b, at->y, IDX(g->row, g->head, g->part, ex_add(x, at->d, ex_int(x, 1))), l);
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
        b = att_loop(&g, b, "item", k->grid[0], LOOP_CPU, &item);
        att_of_head(&g, b, ex_mod(x, item, at->heads));
        const Expr *t = ex_min(x, ex_idiv(x, item, at->heads), ex_sub(x, tiles, one));
        t = att_let(&g, b, "t", t);
        // Later rows see more. Threads have the items in equal pieces, one after another: tiles
        // from both ends take turns.
        const Expr *half = ex_idiv(x, t, ex_int(x, 2));
        const Expr *odd = ex_eq(x, ex_mod(x, t, ex_int(x, 2)), one);
        t = ex_select(x, odd, ex_sub(x, ex_sub(x, tiles, one), half), half);
        t = att_let(&g, b, "tile", ex_max(x, ex_min(x, t, ex_sub(x, tiles, one)), ex_int(x, 0)));
        att_body_rows(&g, b, att_let(&g, b, "first", ex_mul(x, t, R)), N);
    } else if (!n->profile->gpu) {
        const Expr *items = expr_simplify(x, ex_mul(x, at->kv, P)); // of one row
        k->grid[0] = expr_simplify(x, ex_mul(x, N, items));
        b = att_loop(&g, b, "item", k->grid[0], LOOP_CPU, &item);
        i64 one;
        bool single = expr_is_int(items, &one) && one == 1;
        g.row = single ? item
                       : att_let(&g, b, "row",
                                 ex_min(x, ex_idiv(x, item, items), ex_sub(x, N, ex_int(x, 1))));
        const Expr *hp = att_let(&g, b, "hp", ex_mod(x, item, items));
        g.kvh = att_let(&g, b, "kvh", expr_simplify(x, ex_idiv(x, hp, P)));
        g.part = expr_simplify(x, ex_mod(x, hp, P));
        att_prepare(&g, b);
        att_body_alone(&g, b, true);
    } else if (at->tile) {
        i64 group = attention_group(&at->s), rows = MAX2(at->tile / group, 1);
        const Expr *R = ex_int(x, rows), *tile;
        k->grid[0] = at->kv;
        k->grid[1] = ex_idiv(x, ex_add(x, N, ex_int(x, rows - 1)), R);
        k->wg[0] = (u32)(rows * group);
        b = att_loop(&g, b, "tile", k->grid[1], LOOP_WG_Y, &tile);
        b = att_loop(&g, b, "kvh", k->grid[0], LOOP_WG_X, &g.kvh);
        b = att_loop(&g, b, "tx", ex_int(x, k->wg[0]), LOOP_THREAD_X, &tid);
        att_body_tile(&g, b, ex_mul(x, tile, R), tid);
    } else {
        i64 turns = at->lanes ? at->turns : 1, count = at->s.heads / turns * at->s.parts;
        i64 per = at->lanes ? 1 : at->threads;
        k->grid[0] = ex_int(x, ceil_div(count, per));
        k->grid[1] = N;
        b = att_loop(&g, b, "row", N, LOOP_WG_Y, &g.row);
        b = att_loop(&g, b, "group", k->grid[0], LOOP_WG_X, &item);
        k->wg[0] = (u32)(at->lanes ? at->lanes : at->threads);
        b = att_loop(&g, b, "tx", ex_int(x, k->wg[0]), LOOP_THREAD_X, &tid);
        if (!at->lanes) {
            item = expr_simplify(x, ex_add(x, ex_mul(x, item, ex_int(x, per)), tid));
            if (count % per) {
                b = att_when(&g, b, ex_lt(x, item, ex_int(x, count)));
                item = ex_min(x, item, ex_int(x, count - 1));
            }
        }
        const Expr *head = ex_mul(x, ex_idiv(x, item, P), ex_int(x, turns));
        att_of_head(&g, b, head);
        g.part = att_let(&g, b, "part", expr_simplify(x, ex_mod(x, item, P)));
        if (at->lanes) {
            att_body_shared(&g, b, head, tid);
        } else {
            att_prepare(&g, b);
            att_body_alone(&g, b, false);
        }
    }
    kernel_passes(a, k, n->profile);
    *out = k;
    return true;
}
