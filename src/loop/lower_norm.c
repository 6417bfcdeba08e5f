// loop/lower_norm.c: rms_norm: ss[n], the sum of squares, then x * g / sqrt(ss / K + eps).
//
// The factor 1/sqrt(...) is the same for the whole row. In one group with its matmul it is taken
// out of the sum: the matmul reads x * g, and its result is multiplied once. The sum of squares
// then rides beside the dot product. In one group with pack it is in the scales; the bytes are
// those of x * g.
#include "loop/lower_int.h"

const Expr *lower_row_scale(Lower *l, const Expr *row) {
    Exprs *x = l->x;
    const Expr *ss = lower_load(l, l->sum_sq, row, NULL);
    const Expr *mean = ex_div(x, ss, ex_cast(x, TY_F32, l->sum_sq_k));
    return ex_div(x, ex_f32(x, 1), ex_un(x, EX_SQRT, ex_add(x, mean, l->sum_sq_eps)));
}

// Does an `op` of this group read it?
static bool feeds(const Lower *l, int tensor, OpId op) {
    for (int i = 0; i < l->gr->nnodes; i++) {
        const Node *nd = &l->g->nodes.at[l->gr->node[i]];
        if (nd->op == op && nd->in[0] == tensor) return true;
    }
    return false;
}

bool lower_rms_norm(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    const Tensor *in = &l->g->tensors.at[nd->in[0]];
    const Expr *rows = lower_rows(l, in->dim[0]);
    bool packed = feeds(l, nd->out, OP_pack);
    i64 block = packed ? PACK_BLOCK : 1;
    const Expr *k = lower_dim(l, "K", in->dim[1].c, block, 1 << 16, block);
    const Expr *eps = ex_f32(x, nd->attr.eps);
    if (l->p->dims) {
        i32 bits = (i32)f32_bits((float)nd->attr.eps);
        eps = ex_bitcast(x, TY_F32, lower_dim(l, "eps_bits", bits, 0, INT32_MAX, 1));
    }
    Stage *s = lower_stage(l, "ss");
    const Expr *n = lower_axis(l, s, "n", rows), *j = lower_red(l, s, "k", k);
    const Expr *xj = lower_read(l, nd->in[0], "x", k, n, j);
    l->sum_sq = lower_temp(l, s, RED_SUM, ex_mul(x, xj, xj));
    l->sum_sq_k = k;
    l->sum_sq_eps = eps;
    const Buffer *g = lower_arg(l, nd->in[1], "g", TY_F32, 1, &k);

    LowerValue v = lower_over(l, nd, rows, k);
    const Expr *vn = lower_ax(l, &v, 0), *vk = lower_ax(l, &v, 1);
    v.e = ex_mul(x, lower_read(l, nd->in[0], "x", k, vn, vk), lower_load(l, g, vk, NULL));
    if (packed || feeds(l, nd->out, OP_matmul))
        l->unscaled = nd->out;
    else
        v.e = ex_mul(x, v.e, lower_row_scale(l, vn));
    lower_result(l, nd, &v);
    return true;
}
