// loop/factor.c: a reduction's body as a sum of products, each split into what depends on a loop
// and what does not. Float sums are reordered by this: results stay within the tolerance that the
// referees allow.
#include "loop/loop_int.h"

static int add_term(Exprs *x, Term *out, int n, int max, const Expr *c, const Expr *v) {
    for (int i = 0; i < n; i++)
        if (out[i].v == v) {
            out[i].c = ex_add(x, out[i].c, c);
            return n;
        }
    if (n == max) return -1;
    out[n] = (Term){c, v};
    return n + 1;
}

int factor_terms(Exprs *x, const Expr *e, const Var *var, Term *out, int max) {
    const Expr *one = ex_f32(x, 1);
    if (!expr_uses(e, var)) return add_term(x, out, 0, max, e, NULL);
    if (e->op != EX_ADD && e->op != EX_SUB && e->op != EX_MUL)
        return add_term(x, out, 0, max, one, e);
    Term a[8], b[8];
    int na = factor_terms(x, e->args[0], var, a, COUNT_OF(a));
    int nb = factor_terms(x, e->args[1], var, b, COUNT_OF(b));
    if (na < 0 || nb < 0) return -1;
    int n = 0;
    if (e->op == EX_MUL) {
        for (int i = 0; i < na && n >= 0; i++)
            for (int k = 0; k < nb && n >= 0; k++) {
                const Expr *v = !a[i].v ? b[k].v : !b[k].v ? a[i].v : ex_mul(x, a[i].v, b[k].v);
                n = add_term(x, out, n, max, ex_mul(x, a[i].c, b[k].c), v);
            }
        return n;
    }
    for (int i = 0; i < na && n >= 0; i++) n = add_term(x, out, n, max, a[i].c, a[i].v);
    for (int k = 0; k < nb && n >= 0; k++) {
        const Expr *c = e->op == EX_SUB ? ex_sub(x, ex_f32(x, 0), b[k].c) : b[k].c;
        n = add_term(x, out, n, max, c, b[k].v);
    }
    return n;
}

const Expr *reduce_identity(Exprs *x, ReduceOp op, Type t) {
    static const double f[] = {0, 0, -3.4028234663852886e38, 3.4028234663852886e38}; // ORDER REDUCE
    static const i64 i[] = {0, 0, INT32_MIN, INT32_MAX};
    static const u32 u[] = {0, 0, 0, UINT32_MAX};
    return t == TY_F32 ? ex_f32(x, f[op]) : t == TY_U32 ? ex_uint(x, u[op]) : ex_int(x, i[op]);
}

ExprOp reduce_op(ReduceOp op) {
    static const ExprOp ops[] = {EX_ADD, EX_ADD, EX_MAX, EX_MIN}; // ORDER REDUCE
    return ops[op];
}
