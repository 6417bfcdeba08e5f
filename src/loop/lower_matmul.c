// loop/lower_matmul.c: matmul: stages w (the weight's meaning) and acc (the sum), between them dot
// where activations are packed; what follows reads acc.
//
// Both run over the weight's rows padded to the weave, so that lanes which each own a row always
// come in whole vectors; what is stored is cut at the true number of rows.
#include "loop/lower_int.h"

// Indices are i32: the words of the largest weight that a build-time kernel accepts must fit.
enum { MENU_MAX_K = 32768, MENU_MAX_ROWS = 1 << 18, TILE_VECTORS = 4 };

static i64 max_rows(QuantId q, i64 interleave) {
    i64 words = (i64)quant_words(q, 0, MENU_MAX_K) + quant_words(q, 1, MENU_MAX_K);
    return MIN2((i64)INT32_MAX / words, MENU_MAX_ROWS) / interleave * interleave;
}

typedef struct WeightAt {
    QuantId q;
    const Buffer *words;
    const Expr *rows, *k; // rows: padded to the weave
    u32 weave;
} WeightAt;

static const Buffer *sum_of_products(Lower *l, int in, const Expr *rows, const WeightAt *w) {
    Exprs *x = l->x;
    Stage *s = lower_stage(l, "w");
    const Expr *o = lower_axis(l, s, "o", w->rows), *k = lower_axis(l, s, "k", w->k);
    const Buffer *value =
        lower_temp(l, s, RED_NONE, quant_value(x, w->q, w->words, o, k, w->rows, w->k, w->weave));
    s = lower_stage(l, "acc");
    const Expr *n = lower_axis(l, s, "n", rows);
    o = lower_axis(l, s, "o", w->rows);
    k = lower_red(l, s, "k", w->k);
    const Expr *xv = lower_read(l, in, "x", w->k, n, k);
    return lower_temp(l, s, RED_SUM, ex_mul(x, xv, lower_load(l, value, o, k)));
}

// Packed activations: a block's products are summed as integers, and the sum is scaled.
static const Buffer *block_sum(Lower *l, int in, bool low, const Expr *rows, const WeightAt *w,
                               const Buffer *field) {
    Exprs *x = l->x;
    Stage *s = lower_stage(l, low ? "low" : "dot");
    const Expr *size = lower_int(l, PACK_BLOCK), *n = lower_axis(l, s, "n", rows),
               *o = lower_axis(l, s, "o", w->rows),
               *b = lower_axis(l, s, "b", ex_idiv(x, w->k, size));
    const Expr *k = ex_add(x, ex_mul(x, b, size), lower_red(l, s, "k", size));
    const Expr *byte = lower_packed(l, in, low, w->k, n, k);
    return lower_temp(l, s, RED_SUM,
                      ex_mul(x, byte, ex_cast(x, TY_I32, lower_load(l, field, o, k))));
}

static const Buffer *sum_of_bytes(Lower *l, int in, const Expr *rows, const WeightAt *w) {
    Exprs *x = l->x;
    const Expr *size = lower_int(l, PACK_BLOCK), *blocks = ex_idiv(x, w->k, size);
    Stage *s = lower_stage(l, "w");
    const Expr *o = lower_axis(l, s, "o", w->rows), *k = lower_axis(l, s, "k", w->k);
    QuantParts p = quant_parts(x, w->q, w->words, o, k, w->rows, w->k, w->weave);
    const Buffer *field = lower_temp(l, s, RED_NONE, p.field);
    const Buffer *dot = block_sum(l, in, false, rows, w, field), *low = NULL;
    if (lower_is_wide(l, in)) low = block_sum(l, in, true, rows, w, field);

    s = lower_stage(l, "acc");
    const Expr *n = lower_axis(l, s, "n", rows);
    o = lower_axis(l, s, "o", w->rows);
    const Expr *b = lower_red(l, s, "b", blocks), *idx[3] = {n, o, b};
    p = quant_parts(x, w->q, w->words, o, ex_mul(x, b, size), w->rows, w->k, w->weave);
    const Expr *sum = ex_cast(x, TY_F32, ex_load(x, dot, idx));
    if (low) // both are exact as f32
        sum = ex_add(x, ex_mul(x, sum, ex_f32(x, 256)), ex_cast(x, TY_F32, ex_load(x, low, idx)));
    const Expr *scale = ex_mul(x, lower_packed_scale(l, in, w->k, n, b), p.scale);
    const Expr *e = ex_mul(x, scale, sum);
    if (p.offset) e = ex_add(x, e, ex_mul(x, lower_packed_sum(l, in, w->k, n, b), p.offset));
    return lower_temp(l, s, RED_SUM, e);
}

bool lower_matmul(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    const Tensor *in = &l->g->tensors.at[nd->in[0]], *wt = &l->g->tensors.at[nd->in[1]];
    const Weight *w = wt->weight;
    i64 block = quant_info(w->encoding)->block, weave = w->interleave;
    const Expr *rows = lower_rows(l, in->dim[0]);
    const Expr *k = lower_dim(l, "K", w->cols, block, MENU_MAX_K, block);
    // Whole tiles of several vectors are a kernel of their own at build time: nothing to cut, more
    // rows in flight.
    i64 whole = MAX2(TILE_VECTORS * l->p->vec, weave), tile = w->rows % whole == 0 ? whole : 1;
    const Expr *o = lower_dim(l, "N", w->rows, tile, max_rows(w->encoding, whole), tile);
    const Expr *padded = lower_int(l, (i64)round_up(w->rows, (u64)weave));
    const Expr *words = NULL;
    if (l->p->dims) {
        const Expr *r = lower_int(l, weave);
        padded = tile > 1 ? o : ex_mul(x, ex_idiv(x, ex_add(x, o, lower_int(l, weave - 1)), r), r);
        words = ex_mul(x, quant_row_words(x, w->encoding, k), padded);
    } else {
        u64 bytes;
        must(quant_bytes(w->encoding, w->rows, w->cols, w->interleave, &bytes));
        words = lower_int(l, (i64)(bytes / 4));
    }

    // x before w, so that the arguments of every matmul begin alike
    bool packed = in->type == TY_U32;
    if (packed)
        lower_packed(l, nd->in[0], false, k, lower_int(l, 0), lower_int(l, 0));
    else if (lower_value(l, nd->in[0]) == NULL)
        lower_read(l, nd->in[0], "x", k, lower_int(l, 0), lower_int(l, 0));
    const Buffer *wb = lower_arg(l, nd->in[1], "w", TY_U32, 1, &words);
    WeightAt at = {w->encoding, wb, padded, k, (u32)weave};
    const Buffer *acc =
        packed ? sum_of_bytes(l, nd->in[0], rows, &at) : sum_of_products(l, nd->in[0], rows, &at);

    LowerValue v = lower_over(l, nd, rows, padded);
    if (padded != o) v.true_cols = o;
    v.e = lower_load(l, acc, lower_ax(l, &v, 0), lower_ax(l, &v, 1));
    if (l->unscaled == nd->in[0]) v.e = ex_mul(x, v.e, lower_row_scale(l, lower_ax(l, &v, 0)));
    lower_result(l, nd, &v);
    return true;
}
