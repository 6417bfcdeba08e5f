// loop/lower_attention.c: attention's kernel is built directly (attention.c); here its arguments
// and sizes are named. attention_join is an ordinary formula: the parts' maxima, then two weighted
// sums.
#include "loop/lower_int.h"

static bool direct(Lower *l, const Node *nd, i64 parts) {
    if (l->gr->nnodes != 1) return false;
    const OpAttr *a = &nd->attr;
    Lowered *o = l->out;
    AttentionShape shape = {.heads = a->heads,
                            .kv_heads = a->kv_heads,
                            .head_dim = a->head_dim,
                            .ctx = l->g->ctx,
                            .parts = parts,
                            .rows = l->n_max};
    if (!attention_nest(l->arena, l->x, &shape, l->p, &o->nest, o->dims, l->err))
        return err_subject(l->err, l->gr->name);
    const Formula *f = o->nest->f;
    const struct {
        const char *name;
        int tensor;
    } args[] = {{"q", nd->in[0]}, {"cache", nd->in[1]}, {"y", nd->out}};
    for (int i = 0; i < f->nargs; i++) {
        LowerArg arg = {ARG_PARAMS, -1};
        for (size_t k = 0; k < COUNT_OF(args); k++)
            if (strcmp(f->arg[i]->name, args[k].name) == 0)
                arg = (LowerArg){ARG_TENSOR, args[k].tensor};
        o->arg[o->nargs++] = arg;
    }
    for (int i = 0; i < f->ndims; i++) {
        const Var *v = f->dim[i];
        if (o->dims[i] < v->lo || o->dims[i] > v->hi || o->dims[i] % v->divisor != 0)
            return err_set(l->err, ERR_COMPILE_DIM, "%s is %d: kernels are made for %D to %D",
                           v->name, o->dims[i], v->lo, v->hi);
        o->dim_name[o->ndims++] = v->name;
    }
    o->formula = (Formula *)f;
    return true;
}

bool lower_attention(Lower *l, const Node *nd) { return direct(l, nd, 1); }

bool lower_attention_part(Lower *l, const Node *nd) { return direct(l, nd, nd->attr.parts); }

typedef struct Joined { // what is known of a head once its parts' maxima are
    const Buffer *in, *top, *total;
    const Expr *rows, *heads, *parts;
    const Expr *dim; // where a part's maximum lies; its total is behind it
} Joined;

// Up to the largest of a head's maxima; vec: what divides its elements.
static Joined join_begin(Lower *l, const Node *nd, bool two, i64 vec) {
    Exprs *x = l->x;
    const OpAttr *a = &nd->attr;
    Joined j = {.rows = lower_rows(l, DIM_N)};
    j.heads = lower_dim(l, "heads", a->heads, 1, 1024, 1);
    j.dim = lower_dim(l, "head_dim", a->head_dim, 1, 1024, vec);
    j.parts = two ? lower_int(l, 2) : lower_dim(l, "parts", a->parts, 2, 64, 1);
    const Expr *dims[4] = {j.rows, j.heads, j.parts, ex_add(x, j.dim, lower_int(l, 2))};
    j.in = lower_arg(l, nd->in[0], "parts", TY_F32, 4, dims);

    Stage *s = lower_stage(l, "top");
    const Expr *n = lower_axis(l, s, "n", j.rows), *h = lower_axis(l, s, "h", j.heads);
    const Expr *at[4] = {n, h, lower_red(l, s, "p", j.parts), j.dim};
    j.top = lower_temp(l, s, RED_MAX, ex_load(x, j.in, at));
    return j;
}

// What part p adds: its value at idx[2] by e^(its maximum - the head's).
static const Expr *share_of(Lower *l, const Joined *j, const Expr *const *idx, const Expr *p) {
    Exprs *x = l->x;
    const Expr *at[4] = {idx[0], idx[1], p, j->dim};
    const Expr *m = ex_load(x, j->in, at);
    at[3] = idx[2];
    const Expr *share = ex_un(x, EX_EXP, ex_sub(x, m, lower_load(l, j->top, idx[0], idx[1])));
    return ex_mul(x, ex_load(x, j->in, at), share);
}

// Two parts, which a processor has: added as they stand, a head after another, so that what both
// are weighed by is found once a head and lanes run over its elements.
static bool join_two(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    const i64 vec = l->p->vec > 0 && nd->attr.head_dim % l->p->vec == 0 ? l->p->vec : 1;
    Joined j = join_begin(l, nd, true, vec);
    const Expr *rows = j.rows, *heads = j.heads, *dim = j.dim;

    Stage *s = lower_stage(l, "total");
    const Expr *idx[3] = {lower_axis(l, s, "n", rows), lower_axis(l, s, "h", heads),
                          ex_add(x, dim, lower_int(l, 1))};
    const Expr *p = lower_red(l, s, "p", j.parts);
    j.total = lower_temp(l, s, RED_SUM, share_of(l, &j, idx, p));

    s = lower_stage(l, "out");
    idx[0] = lower_axis(l, s, "n", rows);
    idx[1] = lower_axis(l, s, "h", heads);
    idx[2] = lower_axis(l, s, "d", dim);
    const Expr *ydims[3] = {rows, heads, dim};
    Buffer *y = lower_arg(l, nd->out, "y", TY_F32, 3, ydims);
    const Expr *sum =
        ex_add(x, share_of(l, &j, idx, lower_int(l, 0)), share_of(l, &j, idx, lower_int(l, 1)));
    lower_store(s, y, 3, idx, ex_div(x, sum, lower_load(l, j.total, idx[0], idx[1])), NULL);
    return true;
}

// A head's parts lie one behind another, each its sums, its maximum and its total. In one group
// with its matmul the parts are joined where that reads them.
bool lower_attention_join(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    if (nd->attr.parts == 2 && l->gr->nnodes == 1) return join_two(l, nd);
    const Joined j = join_begin(l, nd, false, 1);
    const Expr *rows = j.rows, *heads = j.heads, *dim = j.dim, *parts = j.parts;
    const Buffer *in = j.in, *top = j.top;

    Stage *s = lower_stage(l, "share");
    const Expr *n = lower_axis(l, s, "n", rows), *h = lower_axis(l, s, "h", heads);
    const Expr *p = lower_axis(l, s, "p", parts);
    const Expr *at[4] = {n, h, p, dim}, *share[3] = {n, h, p};
    const Buffer *shares = lower_temp(
        l, s, RED_NONE, ex_un(x, EX_EXP, ex_sub(x, ex_load(x, in, at), lower_load(l, top, n, h))));

    s = lower_stage(l, "total");
    at[0] = share[0] = n = lower_axis(l, s, "n", rows);
    at[1] = share[1] = h = lower_axis(l, s, "h", heads);
    at[2] = share[2] = p = lower_red(l, s, "p", parts);
    at[3] = ex_add(x, dim, lower_int(l, 1));
    const Buffer *total =
        lower_temp(l, s, RED_SUM, ex_mul(x, ex_load(x, in, at), ex_load(x, shares, share)));

    const Expr *cols = ex_mul(x, heads, dim);
    s = lower_stage(l, "sum");
    at[0] = share[0] = n = lower_axis(l, s, "n", rows);
    const Expr *k = lower_axis(l, s, "k", cols);
    at[1] = share[1] = ex_idiv(x, k, dim);
    at[2] = share[2] = p = lower_red(l, s, "p", parts);
    at[3] = ex_mod(x, k, dim);
    const Buffer *sum =
        lower_temp(l, s, RED_SUM, ex_mul(x, ex_load(x, in, at), ex_load(x, shares, share)));

    LowerValue y = lower_over(l, nd, rows, cols);
    const Expr *yn = lower_ax(l, &y, 0), *yk = lower_ax(l, &y, 1);
    const Expr *all = lower_load(l, total, yn, ex_idiv(x, yk, dim));
    y.e = ex_mul(x, lower_load(l, sum, yn, yk), ex_div(x, ex_f32(x, 1), all));
    lower_result(l, nd, &y);
    return true;
}
