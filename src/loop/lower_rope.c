// loop/lower_rope.c: rotary embedding and what writes the cache: rope_table, rope, append,
// rope_append.
//
// A pair is two adjacent rows (2j, 2j+1) of a head. Element e of pair p is x[e]*cos + (e ? +1 : -1)
// * x[1-e]*sin. On its own such an operator views its operands as [n][head][pair][2]; behind a
// joined matmul it follows the matmul's rows instead (axes n, p, e with row 2p + e), so that tiles
// of the result are tiles of the product.
#include "loop/lower_int.h"

enum { MENU_MAX_HEADS = 1024, MENU_MAX_PAIRS = 512, MENU_MAX_CTX = 1 << 15 };

// pos * freq wraps modulo 2^32, one turn: as i32 it is the angle from -1/2 to 1/2 turn.
bool lower_rope_table(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    const Expr *rows = lower_rows(l, DIM_N), *two = lower_int(l, 2);
    const Expr *pairs = lower_dim(l, "pairs", nd->attr.rot_dim / 2, 1, MENU_MAX_PAIRS, 1);
    const Buffer *freq = lower_arg(l, nd->in[0], "freq", TY_U32, 1, &pairs);
    const Expr *dims[3] = {rows, pairs, two};
    Buffer *y = lower_arg(l, nd->out, "y", TY_F32, 3, dims);
    Stage *s = lower_stage(l, "out");
    const Expr *n = lower_axis(l, s, "n", rows), *j = lower_axis(l, s, "j", pairs);
    const Expr *pos = lower_row_field(l, rows, n, ROW_POS);
    const Expr *turn =
        ex_bitcast(x, TY_I32, ex_mul(x, ex_cast(x, TY_U32, pos), lower_load(l, freq, j, NULL)));
    const Expr *angle = ex_mul(x, ex_cast(x, TY_F32, turn), ex_f32(x, 0x1p-32));
    const Expr *cos_at[3] = {n, j, lower_int(l, 0)}, *sin_at[3] = {n, j, lower_int(l, 1)};
    lower_store(s, y, 3, cos_at, ex_un(x, EX_COS2PI, angle), NULL);
    lower_store(s, y, 3, sin_at, ex_un(x, EX_SIN2PI, angle), NULL);
    return true;
}

// The table of this step, viewed as [n][pair][cos, sin].
static const Buffer *table_arg(Lower *l, int tensor, const Expr *rows, const Expr *rot_pairs) {
    const Expr *dims[3] = {rows, rot_pairs, lower_int(l, 2)};
    return lower_arg(l, tensor, "table", TY_F32, 3, dims);
}

// mine*cos +- other*sin for pair j (rows beyond rot_pairs stay as they are), e 0 or 1.
static const Expr *turned(Lower *l, const Buffer *table, const Expr *n, const Expr *j,
                          const Expr *e, const Expr *head_pairs, const Expr *rot_pairs,
                          const Expr *mine, const Expr *other) {
    Exprs *x = l->x;
    i64 hp, rp;
    bool whole = expr_is_int(head_pairs, &hp) && expr_is_int(rot_pairs, &rp) && hp == rp;
    const Expr *jj = whole ? j : ex_min(x, j, ex_sub(x, rot_pairs, lower_int(l, 1)));
    const Expr *at[3] = {n, jj, lower_int(l, 0)};
    const Expr *c = ex_load(x, table, at);
    at[2] = lower_int(l, 1);
    const Expr *s = ex_load(x, table, at);
    const Expr *sign = ex_select(x, ex_eq(x, e, lower_int(l, 0)), ex_f32(x, -1), ex_f32(x, 1));
    const Expr *r = ex_add(x, ex_mul(x, mine, c), ex_mul(x, ex_mul(x, other, sign), s));
    return whole ? r : ex_select(x, ex_lt(x, j, rot_pairs), r, mine);
}

// The cache as [head][block of slots][element], heads of keys before those of values.
typedef struct Cache {
    Buffer *buf;
    const Expr *blocks, *dim; // of slots; of a head
} Cache;

static Cache cache_arg(Lower *l, int tensor, const Expr *heads, const Expr *dim) {
    Exprs *x = l->x;
    i64 most = MENU_MAX_CTX / KV_BLOCK;
    Cache c = {.dim = dim};
    c.blocks = lower_dim(l, "blocks", ceil_div(l->g->ctx, KV_BLOCK), 1, most, 1);
    const Expr *dims[3] = {ex_mul(x, heads, lower_int(l, 2)), c.blocks,
                           ex_mul(x, dim, lower_int(l, KV_BLOCK))};
    c.buf = lower_arg(l, tensor, "cache", TY_F32, 3, dims);
    return c;
}

// Where element d of a head is kept for row n; is_key: what tells a head of keys from one of
// values.
static void cache_at(Lower *l, const Cache *c, const Expr *rows, const Expr *n, const Expr *head,
                     const Expr *is_key, const Expr *d, const Expr *at[3]) {
    Exprs *x = l->x;
    const Expr *slot = lower_slot(lower_row_field(l, rows, n, ROW_POS)),
               *size = lower_int(l, KV_BLOCK);
    i64 known;
    if (!expr_is_int(c->blocks, &known))
        slot = ex_min(x, slot, ex_sub(x, ex_mul(x, c->blocks, size), lower_int(l, 1)));
    const Expr *i = ex_mod(x, slot, size);
    const Expr *key = ex_add(x, ex_mul(x, d, size), i), *value = ex_add(x, ex_mul(x, i, c->dim), d);
    at[0] = head;
    at[1] = ex_idiv(x, slot, size);
    at[2] = ex_select(x, is_key, key, value);
}

// x and y as [n][head][pair][2]
static Buffer *heads_arg(Lower *l, int tensor, const char *name, const Expr *rows,
                         const Expr *heads, const Expr *pairs) {
    const Expr *dims[4] = {rows, heads, pairs, lower_int(l, 2)};
    return lower_arg(l, tensor, name, TY_F32, 4, dims);
}

typedef struct Point {
    const Expr *n, *h, *j, *e;
} Point;

static Point head_axes(Lower *l, Stage *s, const Expr *rows, const Expr *heads, const Expr *pairs) {
    Point p;
    p.n = lower_axis(l, s, "n", rows);
    p.h = lower_axis(l, s, "h", heads);
    p.j = lower_axis(l, s, "j", pairs);
    p.e = lower_axis(l, s, "e", lower_int(l, 2));
    return p;
}

static const Expr *at_point(Lower *l, const Buffer *b, const Point *p, bool other) {
    const Expr *e = other ? ex_sub(l->x, lower_int(l, 1), p->e) : p->e;
    const Expr *idx[4] = {p->n, p->h, p->j, e};
    return ex_load(l->x, b, idx);
}

bool lower_rope(Lower *l, const Node *nd) {
    if (l->gr->nnodes != 1) return false;
    const OpAttr *a = &nd->attr;
    const Expr *rows = lower_rows(l, DIM_N);
    const Expr *heads = lower_dim(l, "heads", a->heads, 1, MENU_MAX_HEADS, 1);
    const Expr *pairs = lower_dim(l, "head_pairs", a->head_dim / 2, 1, MENU_MAX_PAIRS, 1);
    const Expr *rot = lower_dim(l, "pairs", a->rot_dim / 2, 1, MENU_MAX_PAIRS, 1);
    const Buffer *in = heads_arg(l, nd->in[0], "x", rows, heads, pairs);
    const Buffer *table = table_arg(l, nd->in[1], rows, rot);
    Buffer *y = heads_arg(l, nd->out, "y", rows, heads, pairs);
    Stage *s = lower_stage(l, "out");
    Point p = head_axes(l, s, rows, heads, pairs);
    const Expr *v = turned(l, table, p.n, p.j, p.e, pairs, rot, at_point(l, in, &p, false),
                           at_point(l, in, &p, true));
    const Expr *at[4] = {p.n, p.h, p.j, p.e};
    lower_store(s, y, 4, at, v, NULL);
    return true;
}

bool lower_append(Lower *l, const Node *nd) {
    if (l->gr->nnodes != 1) return false;
    Exprs *x = l->x;
    const OpAttr *a = &nd->attr;
    const Expr *rows = lower_rows(l, DIM_N);
    const Expr *heads = lower_dim(l, "kv_heads", a->kv_heads, 1, MENU_MAX_HEADS, 1);
    const Expr *dim = lower_dim(l, "head_dim", a->head_dim, 1, 2 * MENU_MAX_PAIRS, 1);
    const Expr *dims[3] = {rows, heads, dim};
    const Buffer *in = lower_arg(l, nd->in[0], "x", TY_F32, 3, dims);
    Cache cache = cache_arg(l, nd->in[1], heads, dim);
    Stage *s = lower_stage(l, "out");
    const Expr *n = lower_axis(l, s, "n", rows), *h = lower_axis(l, s, "h", heads),
               *d = lower_axis(l, s, "d", dim);
    const Expr *from[3] = {n, h, d};
    const Expr *to[3], *head = a->keys ? h : ex_add(x, h, heads);
    cache_at(l, &cache, rows, n, head, ex_bool(x, a->keys != 0), d, to);
    lower_store(s, cache.buf, 3, to, ex_load(x, in, from), NULL);
    return true;
}

// Behind the joined matmul: the value at row o is whatever the group has made of it so far.
static bool rope_append_fused(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    const OpAttr *a = &nd->attr;
    const LowerValue *v = lower_value(l, nd->in[0]);
    i64 padded;
    if (!expr_is_int(v->ext[1], &padded)) return false;
    i64 hp = a->head_dim / 2, q_pairs = a->heads * hp, k_pairs = a->kv_heads * hp,
        all = q_pairs + 2 * k_pairs;
    const Expr *rows = lower_rows(l, DIM_N), *rot = lower_int(l, a->rot_dim / 2);
    const Buffer *table = table_arg(l, nd->in[1], rows, rot);
    const Expr *ydims[2] = {rows, lower_int(l, 2 * q_pairs)};
    Buffer *y = lower_arg(l, nd->out, "y", TY_F32, 2, ydims);
    Cache cache = cache_arg(l, nd->in[2], lower_int(l, a->kv_heads), lower_int(l, a->head_dim));
    Stage *s = lower_stage(l, "out");
    const Expr *n = lower_axis(l, s, "n", rows),
               *p = lower_axis(l, s, "p", lower_int(l, padded / 2));
    const Expr *e = lower_axis(l, s, "e", lower_int(l, 2)), *one = lower_int(l, 1);
    const Expr *o = ex_add(x, ex_mul(x, p, lower_int(l, 2)), e);
    const Expr *o2 = ex_sub(x, ex_add(x, ex_mul(x, p, lower_int(l, 2)), one), e);
    const Expr *j = ex_mod(x, p, lower_int(l, hp)), *h = ex_idiv(x, p, lower_int(l, hp));
    const Expr *mine = lower_read(l, nd->in[0], "x", NULL, n, o),
               *other = lower_read(l, nd->in[0], "x", NULL, n, o2);
    const Expr *t = turned(l, table, n, j, e, lower_int(l, hp), rot, mine, other);
    const Expr *is_q = ex_lt(x, p, lower_int(l, q_pairs));
    const Expr *is_k = ex_lt(x, p, lower_int(l, q_pairs + k_pairs));
    const Expr *to_y[2] = {n, o};
    // The predicate keeps the head in range, but in terms of p: said again, for proofs after tiles
    // took p apart.
    const Expr *head = ex_max(x, ex_sub(x, h, lower_int(l, a->heads)), lower_int(l, 0));
    if (padded / 2 > all) head = ex_min(x, head, lower_int(l, 2 * a->kv_heads - 1));
    const Expr *to_cache[3];
    cache_at(l, &cache, rows, n, head, is_k, ex_add(x, ex_mul(x, j, lower_int(l, 2)), e), to_cache);
    const Expr *is_kv = ex_le(x, lower_int(l, q_pairs), p);
    if (padded / 2 > all) is_kv = ex_land(x, is_kv, ex_lt(x, p, lower_int(l, all)));
    lower_store(s, y, 2, to_y, t, is_q);
    lower_store(s, cache.buf, 3, to_cache, ex_select(x, is_k, t, mine), is_kv);
    return true;
}

bool lower_rope_append(Lower *l, const Node *nd) {
    if (lower_value(l, nd->in[0]) != NULL) return rope_append_fused(l, nd);
    Exprs *x = l->x;
    const OpAttr *a = &nd->attr;
    const Expr *rows = lower_rows(l, DIM_N);
    const Expr *heads = lower_dim(l, "heads", a->heads, 1, MENU_MAX_HEADS, 1);
    const Expr *kv = lower_dim(l, "kv_heads", a->kv_heads, 1, MENU_MAX_HEADS, 1);
    const Expr *pairs = lower_dim(l, "head_pairs", a->head_dim / 2, 1, MENU_MAX_PAIRS, 1);
    const Expr *rot = lower_dim(l, "pairs", a->rot_dim / 2, 1, MENU_MAX_PAIRS, 1);
    const Expr *two = lower_int(l, 2), *kv2 = ex_mul(x, kv, two), *all = ex_add(x, heads, kv2);
    const Buffer *in = heads_arg(l, nd->in[0], "x", rows, all, pairs);
    const Buffer *table = table_arg(l, nd->in[1], rows, rot);
    Buffer *y = heads_arg(l, nd->out, "y", rows, heads, pairs);
    Cache cache = cache_arg(l, nd->in[2], kv, ex_mul(x, pairs, two));
    Stage *s = lower_stage(l, "out");
    Point p = head_axes(l, s, rows, all, pairs);
    const Expr *mine = at_point(l, in, &p, false);
    const Expr *t = turned(l, table, p.n, p.j, p.e, pairs, rot, mine, at_point(l, in, &p, true));
    const Expr *to_y[4] = {p.n, p.h, p.j, p.e};
    const Expr *to_cache[3], *is_k = ex_lt(x, p.h, ex_add(x, heads, kv));
    const Expr *d = ex_add(x, ex_mul(x, p.j, two), p.e);
    cache_at(l, &cache, rows, p.n, ex_sub(x, p.h, heads), is_k, d, to_cache);
    lower_store(s, y, 4, to_y, t, ex_lt(x, p.h, heads));
    lower_store(s, cache.buf, 3, to_cache, ex_select(x, is_k, t, mine), ex_le(x, heads, p.h));
    return true;
}
