// loop/lower_map.c: the operators whose every element stands for itself: embed, add, silu,
// take_rows.
#include "loop/lower_int.h"

enum { MENU_MAX_COLS = 1 << 18 };

bool lower_embed(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    const Weight *w = l->g->tensors.at[nd->in[0]].weight;
    i64 block = quant_info(w->encoding)->block, weave = w->interleave;
    const Expr *rows = lower_rows(l, DIM_N);
    const Expr *k = lower_dim(l, "K", w->cols, block, 16384, block);
    i64 words_most = (i64)quant_words(w->encoding, 0, 16384) + quant_words(w->encoding, 1, 16384);
    i64 most = MIN2((i64)INT32_MAX / words_most, MENU_MAX_COLS) / weave * weave;
    const Expr *vocab = lower_dim(l, "V", w->rows, 1, most, 1);
    const Expr *padded = lower_int(l, (i64)round_up(w->rows, (u64)weave));
    const Expr *words;
    if (l->p->dims) {
        const Expr *r = lower_int(l, weave);
        padded = ex_mul(x, ex_idiv(x, ex_add(x, vocab, lower_int(l, weave - 1)), r), r);
        words = ex_mul(x, quant_row_words(x, w->encoding, k), padded);
    } else {
        u64 bytes;
        must(quant_bytes(w->encoding, w->rows, w->cols, w->interleave, &bytes));
        words = lower_int(l, (i64)(bytes / 4));
    }
    const Buffer *wb = lower_arg(l, nd->in[0], "w", TY_U32, 1, &words);
    const Expr *ring_dim = lower_int(l, TOKEN_RING);
    const Buffer *ring = lower_arg(l, nd->in[1], "ring", TY_I32, 1, &ring_dim);
    LowerValue v = lower_over(l, nd, rows, k);
    const Expr *at = lower_row_field(l, rows, lower_ax(l, &v, 0), ROW_RING);
    const Expr *token = lower_load(l, ring, at, NULL);
    // Where logits were not numbers the ring holds an id past the vocabulary (lower_argmax.c).
    token = ex_min(x, ex_max(x, token, lower_int(l, 0)), ex_sub(x, vocab, lower_int(l, 1)));
    v.e = quant_value(x, w->encoding, wb, token, lower_ax(l, &v, 1), padded, k, (u32)weave);
    lower_result(l, nd, &v);
    return true;
}

// The columns of an operand: those of the matmul before it in the group, padding included, else its
// own.
static const Expr *columns(Lower *l, int tensor, const char *name, const Expr **true_cols) {
    const LowerValue *v = lower_value(l, tensor);
    *true_cols = NULL;
    if (v != NULL) {
        *true_cols = v->true_cols;
        return v->ext[1];
    }
    return lower_dim(l, name, l->g->tensors.at[tensor].dim[1].c, 1, MENU_MAX_COLS, 1);
}

// a + b, where either may be the matmul's result in this group; b may be a row vector (a bias).
bool lower_add(Lower *l, const Node *nd) {
    const Tensor *a = &l->g->tensors.at[nd->in[0]], *b = &l->g->tensors.at[nd->in[1]];
    int lead = lower_value(l, nd->in[0]) == NULL && lower_value(l, nd->in[1]) != NULL ? 1 : 0;
    const Expr *true_cols, *ext = columns(l, nd->in[lead], "N", &true_cols);
    const Expr *cols = true_cols ? true_cols : ext;
    LowerValue v = lower_over(l, nd, lower_rows(l, a->dim[0]), ext);
    v.true_cols = true_cols;
    const Expr *n = lower_ax(l, &v, 0), *o = lower_ax(l, &v, 1);
    const Expr *av = lower_read(l, nd->in[0], "a", cols, n, o);
    const Expr *bv = b->nd == 1
                         ? lower_load(l, lower_arg(l, nd->in[1], "bias", TY_F32, 1, &cols), o, NULL)
                         : lower_read(l, nd->in[1], "b", cols, n, o);
    v.e = ex_add(l->x, av, bv);
    lower_result(l, nd, &v);
    return true;
}

static const Expr *silu(Exprs *x, const Expr *a) {
    const Expr *e = ex_un(x, EX_EXP, ex_sub(x, ex_f32(x, 0), a));
    return ex_div(x, a, ex_add(x, ex_f32(x, 1), e));
}

bool lower_silu_mul(Lower *l, const Node *nd) {
    const Expr *true_cols, *ext = columns(l, nd->in[0], "N", &true_cols);
    const Expr *cols = true_cols ? true_cols : ext;
    LowerValue v = lower_over(l, nd, lower_rows(l, l->g->tensors.at[nd->in[0]].dim[0]), ext);
    v.true_cols = true_cols;
    const Expr *n = lower_ax(l, &v, 0), *o = lower_ax(l, &v, 1);
    // one after the other: a call's arguments are evaluated in any order, and bindings are in order
    const Expr *b = lower_read(l, nd->in[1], "b", cols, n, o);
    const Expr *a = lower_read(l, nd->in[0], "a", cols, n, o);
    v.e = ex_mul(l->x, silu(l->x, a), b);
    lower_result(l, nd, &v);
    return true;
}

// Gate and up are woven row by row, so a pair stands side by side in the matmul's result.
bool lower_silu_mul_pair(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    const Expr *true_cols, *two = lower_int(l, 2), *ext, *cols;
    if (lower_value(l, nd->in[0]) != NULL) {
        ext = columns(l, nd->in[0], "N", &true_cols);
        cols = true_cols ? true_cols : ext;
    } else { // not NULL-safe to ask for N: a pair's columns are even, and a variable must say so
        i64 half = l->g->tensors.at[nd->in[0]].dim[1].c / 2;
        ext = cols = ex_mul(x, lower_dim(l, "F", half, 1, MENU_MAX_COLS / 2, 1), two);
        true_cols = NULL;
    }
    LowerValue v = lower_over(l, nd, lower_rows(l, l->g->tensors.at[nd->in[0]].dim[0]),
                              expr_simplify(x, ex_idiv(x, ext, two)));
    if (true_cols != NULL) v.true_cols = expr_simplify(x, ex_idiv(x, cols, two));
    if (v.true_cols == v.ext[1]) v.true_cols = NULL;
    const Expr *n = lower_ax(l, &v, 0), *gate = ex_mul(x, lower_ax(l, &v, 1), two);
    const Expr *up = ex_add(x, gate, lower_int(l, 1));
    v.e = ex_mul(x, silu(x, lower_read(l, nd->in[0], "a", cols, n, gate)),
                 lower_read(l, nd->in[0], "a", cols, n, up));
    lower_result(l, nd, &v);
    return true;
}

// For one row there is nothing to choose from: the row itself, and the kernel that follows is the
// same as elsewhere.
bool lower_take_rows(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    const Tensor *in = &l->g->tensors.at[nd->in[0]];
    const Expr *m = lower_rows(l, DIM_M), *k = lower_dim(l, "K", in->dim[1].c, 1, MENU_MAX_COLS, 1);
    LowerValue v = lower_over(l, nd, m, k);
    const Expr *row = lower_ax(l, &v, 0);
    if (l->n_max > 1) {
        const Expr *n = lower_rows(l, DIM_N);
        row = lower_row_field(l, m, row, ROW_INDEX);
        row = ex_min(x, row, ex_sub(x, n, lower_int(l, 1)));
    }
    v.e = lower_read(l, nd->in[0], "x", k, row, lower_ax(l, &v, 1));
    lower_result(l, nd, &v);
    return true;
}
