// loop/lower_matmul.c: matmul: stages w (the weight's meaning) and acc (the sum); what follows
// reads acc.
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
        lower_packed(l, nd->in[0], k, lower_int(l, 0), lower_int(l, 0));
    else if (lower_value(l, nd->in[0]) == NULL)
        lower_read(l, nd->in[0], "x", k, lower_int(l, 0), lower_int(l, 0));
    const Buffer *wb = lower_arg(l, nd->in[1], "w", TY_U32, 1, &words);
    Stage *ws = lower_stage(l, "w");
    const Expr *wo = lower_axis(l, ws, "o", padded), *wk = lower_axis(l, ws, "k", k);
    const Expr *offset = NULL,
               *meaning =
                   packed ? quant_scaled(x, w->encoding, wb, wo, wk, padded, k, (u32)weave, &offset)
                          : quant_value(x, w->encoding, wb, wo, wk, padded, k, (u32)weave);
    const Buffer *wv = lower_temp(l, ws, RED_NONE, meaning);

    Stage *as = lower_stage(l, "acc");
    const Expr *an = lower_axis(l, as, "n", rows), *ao = lower_axis(l, as, "o", padded);
    const Expr *ak = lower_red(l, as, "k", k);
    const Expr *xv =
        packed ? lower_packed(l, nd->in[0], k, an, ak) : lower_read(l, nd->in[0], "x", k, an, ak);
    const Buffer *acc = lower_temp(l, as, RED_SUM, ex_mul(x, xv, lower_load(l, wv, ao, ak)));

    const Buffer *low = NULL;
    if (packed && offset) { // what a block of w shares, times the sum of a block of x
        Stage *ls = lower_stage(l, "low");
        const Expr *ln = lower_axis(l, ls, "n", rows), *lo = lower_axis(l, ls, "o", padded);
        const Expr *lb = lower_red(l, ls, "b", ex_idiv(x, k, lower_int(l, PACK_BLOCK)));
        quant_scaled(x, w->encoding, wb, lo, ex_mul(x, lb, lower_int(l, PACK_BLOCK)), padded, k,
                     (u32)weave, &offset);
        low = lower_temp(l, ls, RED_SUM,
                         ex_mul(x, lower_packed_sum(l, nd->in[0], k, ln, lb), offset));
    }

    LowerValue v = lower_over(l, nd, rows, padded);
    if (padded != o) v.true_cols = o;
    v.e = lower_load(l, acc, lower_ax(l, &v, 0), lower_ax(l, &v, 1));
    if (low) v.e = ex_add(x, v.e, lower_load(l, low, lower_ax(l, &v, 0), lower_ax(l, &v, 1)));
    if (l->unscaled == nd->in[0])
        v.e = ex_mul(x, v.e,
                     lower_inv_rms(l, l->sum_sq, lower_ax(l, &v, 0), l->sum_sq_k, l->sum_sq_eps));
    lower_result(l, nd, &v);
    return true;
}
