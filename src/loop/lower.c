// loop/lower.c: a group of graph nodes -> one formula: the frame around the lower_NAME functions.
//
// A tensor that is made and used inside the group is a value: an expression over index variables,
// read by putting other indices in. A tensor from outside is a kernel argument, and so is the
// group's last result, which `out` stores. Arguments carry names of their own, never a model's, so
// that layers share kernels. Where the profile asks for kernels made before any model is seen,
// sizes are variables that each step brings along (lower_dim).
#include "loop/lower_int.h"

const Expr *lower_slot(const Expr *pos) { return pos; }

const Expr *lower_int(Lower *l, i64 v) { return ex_int(l->x, v); }

// ---- stages -------------------------------------------------------------------------------------
Stage *lower_stage(Lower *l, const char *name) {
    must(l->f->nstages < MAX_STAGES);
    Stage *s = &l->f->stage[l->f->nstages++];
    *s = (Stage){.name = name};
    return s;
}

static Axis make_axis(Lower *l, const char *name, const Expr *extent) {
    i64 lo, hi;
    expr_range(extent, &lo, &hi);
    return (Axis){var_new(l->x, name, TY_I32, 0, MAX2(hi - 1, 0)), extent};
}

const Expr *lower_axis(Lower *l, Stage *s, const char *name, const Expr *extent) {
    must(s->nax < MAX_AXES);
    s->ax[s->nax] = make_axis(l, name, extent);
    return ex_var(l->x, s->ax[s->nax++].var);
}

const Expr *lower_red(Lower *l, Stage *s, const char *name, const Expr *extent) {
    must(s->nred < MAX_AXES);
    s->red[s->nred] = make_axis(l, name, extent);
    return ex_var(l->x, s->red[s->nred++].var);
}

const Buffer *lower_temp_range(Lower *l, Stage *s, ReduceOp op, const Expr *body, i64 lo, i64 hi) {
    const Expr *dims[BUFFER_MAX_DIMS];
    for (int i = 0; i < s->nax; i++) dims[i] = s->ax[i].extent;
    Buffer *b = buffer_new(l->x, s->name, (Type)body->type, SCOPE_TEMP, s->nax, dims);
    if (lo <= hi) {
        b->lo = lo;
        b->hi = hi;
    }
    s->op = op;
    s->body = body;
    s->out = b;
    return b;
}

const Buffer *lower_temp(Lower *l, Stage *s, ReduceOp op, const Expr *body) {
    return lower_temp_range(l, s, op, body, 1, 0);
}

void lower_store(Stage *s, const Buffer *b, int nd, const Expr *const *idx, const Expr *value,
                 const Expr *pred) {
    must(s->nstores < MAX_STORES && b->nd == nd);
    Store *st = &s->store[s->nstores++];
    *st = (Store){.buf = b, .value = value, .pred = pred};
    for (int i = 0; i < nd; i++) st->idx[i] = idx[i];
    ((Buffer *)b)->written = true;
}

const Expr *lower_load(Lower *l, const Buffer *b, const Expr *i, const Expr *j) {
    const Expr *idx[2] = {i, j};
    must(b->nd == (j ? 2 : 1));
    return ex_load(l->x, b, idx);
}

// ---- sizes --------------------------------------------------------------------------------------
static const Expr *symbol(Lower *l, const Var **v, const char *name, i64 max, int word) {
    if (*v == NULL) {
        must(l->f->nsyms < (int)COUNT_OF(l->f->sym));
        // a kernel made before any model is seen serves every chunk
        *v = var_new(l->x, name, TY_I32, 1, l->p->dims ? MENU_MAX_N : max);
        l->f->sym[l->f->nsyms].var = *v;
        l->f->sym[l->f->nsyms++].word = word;
        if (l->params == NULL) lower_param(l, PARAM_N);
    }
    return ex_var(l->x, *v);
}

const Expr *lower_rows(Lower *l, Dim d) {
    if (dim_eq(d, DIM_N))
        return l->n_max == 1 ? lower_int(l, 1) : symbol(l, &l->n, "n", l->n_max, PARAM_N);
    must(dim_eq(d, DIM_M));
    return l->m_max == 1 ? lower_int(l, 1) : symbol(l, &l->m, "m", l->m_max, PARAM_M);
}

const Expr *lower_dim(Lower *l, const char *name, i64 v, i64 lo, i64 hi, i64 divisor) {
    Lowered *o = l->out;
    if (!l->p->dims) return lower_int(l, v);
    for (int i = 0; i < o->ndims; i++) {
        if (strcmp(o->dim_name[i], name) != 0) continue;
        must(o->dims[i] == v);
        return ex_var(l->x, l->f->dim[i]);
    }
    if (v < lo || v > hi || v % divisor != 0 || o->ndims == STEP_MAX_DIMS)
        err_set(l->err, ERR_COMPILE_DIM,
                "%s is %D: kernels are made for %D to %D, a multiple of %D", name, v, lo, hi,
                divisor);
    if (o->ndims == STEP_MAX_DIMS) return lower_int(l, v);
    Var *var = var_new(l->x, name, TY_I32, lo, hi);
    var->divisor = divisor;
    l->f->dim[l->f->ndims++] = var;
    o->dim_name[o->ndims] = name;
    o->dims[o->ndims++] = (i32)v;
    return ex_var(l->x, var);
}

// ---- arguments ----------------------------------------------------------------------------------
Buffer *lower_arg(Lower *l, int tensor, const char *name, Type type, int nd,
                  const Expr *const *dims) {
    Lowered *o = l->out;
    for (int i = 0; i < o->nargs; i++)
        if (o->arg[i].kind == ARG_TENSOR && o->arg[i].tensor == tensor)
            return (Buffer *)l->f->arg[i];
    if (o->nargs == (int)COUNT_OF(o->arg)) {
        err_set(l->err, ERR_COMPILE_LOWER, "%S takes more than %d bindings", l->gr->name, o->nargs);
        return buffer_new(l->x, name, type, SCOPE_ARG, nd, dims);
    }
    const Tensor *t = &l->g->tensors.at[tensor];
    Buffer *b = buffer_new(l->x, name, type, SCOPE_ARG, nd, dims);
    if (type == t->type && type != TY_F32) {
        b->lo = t->lo;
        b->hi = t->hi;
        // A kernel made before any model is seen knows no model's ranges, only the menu's.
        if (l->p->dims && type == TY_I32 && t->kind == TEN_RING) b->hi = 1 << 20;
        if (l->p->dims && type == TY_I32 && t->kind == TEN_VALUE)
            b->hi = MAX2(t->hi, (1 << 12) - 1);
    }
    l->f->arg[l->f->nargs++] = b;
    o->arg[o->nargs++] = (LowerArg){ARG_TENSOR, tensor};
    return b;
}

static void need_params(Lower *l) {
    if (l->params != NULL) return;
    Lowered *o = l->out;
    const Expr *one = lower_int(l, PARAM_ROWS);
    l->params = buffer_new(l->x, "params", TY_I32, SCOPE_ARG, 1, &one);
    l->params_lo = 1;
    l->params_hi = 0;
    must(o->nargs < (int)COUNT_OF(o->arg));
    l->f->arg[l->f->nargs++] = l->params;
    o->arg[o->nargs++] = (LowerArg){ARG_PARAMS, -1};
}

const Expr *lower_param(Lower *l, int word) {
    need_params(l);
    if (word > PARAM_T) { // n, m and t are symbols with ranges of their own
        l->params_lo = INT32_MIN;
        l->params_hi = INT32_MAX;
    }
    return lower_load(l, l->params, lower_int(l, word), NULL);
}

const Expr *lower_row_field(Lower *l, const Expr *rows, const Expr *row, int field) {
    need_params(l);
    must(l->params_rows == NULL || l->params_rows == rows);
    l->params_rows = rows;
    i64 hi = field == ROW_RING    ? TOKEN_RING - 1
             : field == ROW_INDEX ? l->n_max - 1
                                  : (i64)l->g->ctx - 1;
    if (field == ROW_NEXT) hi = l->g->ctx;
    // A kernel made before any model is seen cannot know the context: the largest there may be.
    if (l->p->dims && (field == ROW_POS || field == ROW_NEXT)) hi = (1 << 20) - 1;
    if (l->params_lo > l->params_hi) l->params_lo = 0;
    l->params_lo = MIN2(l->params_lo, 0);
    l->params_hi = MAX2(l->params_hi, hi);
    const Expr *at =
        ex_add(l->x, ex_mul(l->x, row, lower_int(l, ROW_WORDS)), lower_int(l, PARAM_ROWS + field));
    return lower_load(l, l->params, at, NULL);
}

// ---- values -------------------------------------------------------------------------------------
const LowerValue *lower_value(const Lower *l, int tensor) {
    for (int i = 0; i < l->nvalues; i++)
        if (l->value[i].tensor == tensor) return &l->value[i];
    return NULL;
}

const Expr *lower_read(Lower *l, int tensor, const char *name, const Expr *cols, const Expr *i,
                       const Expr *j) {
    const LowerValue *v = lower_value(l, tensor);
    const Tensor *t = &l->g->tensors.at[tensor];
    if (v != NULL) {
        const Expr *by[2] = {i, j};
        return expr_subst(l->x, v->e, v->ax, by, 2);
    }
    // The place that the result takes over is read through the result's own binding.
    int arg =
        tensor == l->gr->inplace ? l->g->nodes.at[l->gr->node[l->gr->nnodes - 1]].out : tensor;
    const Expr *dims[2] = {lower_rows(l, t->dim[0]), cols};
    return lower_load(l, lower_arg(l, arg, arg == tensor ? name : "y", t->type, 2, dims), i, j);
}

LowerValue lower_over(Lower *l, const Node *nd, const Expr *rows, const Expr *cols) {
    Axis i = make_axis(l, "n", rows), j = make_axis(l, "o", cols);
    return (LowerValue){.tensor = nd->out, .nd = 2, .ax = {i.var, j.var}, .ext = {rows, cols}};
}

const Expr *lower_ax(Lower *l, const LowerValue *v, int i) { return ex_var(l->x, v->ax[i]); }

void lower_result(Lower *l, const Node *nd, const LowerValue *v) {
    const Tensor *t = &l->g->tensors.at[nd->out];
    if (nd != &l->g->nodes.at[l->gr->node[l->gr->nnodes - 1]]) {
        must(l->nvalues < LOWER_MAX_VALUES);
        l->value[l->nvalues++] = *v;
        return;
    }
    Stage *s = lower_stage(l, "out");
    const Expr *idx[3], *dims[3], *pred = NULL;
    const char *const names[] = {"n", "o", "i"};
    for (int i = 0; i < v->nd; i++) {
        idx[i] = lower_axis(l, s, names[i], v->ext[i]);
        dims[i] = i == 0 ? lower_rows(l, t->dim[0]) : v->ext[i];
    }
    // Rows of a weight that only pad the weave give nothing: not stored.
    const Expr *cols = v->nd == 2 && v->true_cols ? v->true_cols : v->ext[v->nd - 1];
    if (cols != v->ext[v->nd - 1]) {
        dims[1] = cols;
        pred = ex_lt(l->x, idx[1], cols);
    }
    const Expr *e = expr_subst(l->x, v->e, v->ax, idx, v->nd);
    lower_store(s, lower_arg(l, nd->out, "y", t->type, v->nd, dims), v->nd, idx, e, pred);
}

// ---- the driver ---------------------------------------------------------------------------------
static const LowerFn lower_fns[] = {
#define OP(name, nin, doc) lower_##name,
#include "graph/ops.def"
#undef OP
};

// norm_matmul_rope_append_q4_1_960x576_n1: what it does, on what, for how many rows. Only for
// people and schedule files.
static void kernel_name(const Lower *l, Buf *out) {
    const Weight *w = NULL;
    for (int i = 0; i < l->gr->nnodes; i++) {
        const Node *nd = &l->g->nodes.at[l->gr->node[i]];
        buf_fmt(out, "%s%s", i ? "_" : "", op_name(nd->op));
        if (nd->op == OP_matmul) w = l->g->tensors.at[nd->in[1]].weight;
        if (nd->op == OP_embed) w = l->g->tensors.at[nd->in[0]].weight;
    }
    if (w != NULL) buf_fmt(out, "_%s", quant_info(w->encoding)->name);
    if (w != NULL && !l->p->dims) buf_fmt(out, "_%ux%u", w->rows, w->cols);
    if (l->n_max == 1) {
        buf_add(out, S("_n1"));
    } else if (l->p->dims) {
        buf_add(out, S("_nm"));
    } else {
        buf_fmt(out, "_n%D", l->n_max);
    }
}

bool lower_group(Arena *a, Exprs *x, const Graph *g, const Group *gr, const Profile *p,
                 u32 regime_n, Lowered *out, Err *err) {
    *out = (Lowered){0};
    Formula *f = NEW(a, Formula);
    Buf name = {.arena = a};
    // Kernels made at build time must serve every chunk: all regimes of more than one row are one.
    i64 most = p->dims && regime_n > 1 ? 4096 : (i64)regime_n;
    // What a step does once need not be fast: a GPU runs one row by the kernel of many rows, since
    // a pipeline takes long to make.
    OpId op = g->nodes.at[gr->node[0]].op;
    if (p->gpu && gr->nnodes == 1 && (op == OP_rope_table || op == OP_embed)) most = (i64)g->chunk;
    i64 m = MIN2((i64)g->m_max, (i64)regime_n);
    Lower l = {.arena = a,
               .x = x,
               .g = g,
               .gr = gr,
               .p = p,
               .n_max = most,
               .m_max = p->dims && m > 1 ? 4096 : m,
               .f = f,
               .out = out,
               .unscaled = -1,
               .err = err};
    kernel_name(&l, &name);
    f->x = x;
    f->name = buf_str(&name).ptr;
    out->formula = f;
    for (int i = 0; i < gr->nnodes; i++) {
        const Node *nd = &g->nodes.at[gr->node[i]];
        if (!lower_fns[nd->op](&l, nd)) {
            err_set(err, ERR_COMPILE_LOWER, "%s cannot stand in a group with others here",
                    op_name(nd->op));
            return err_subject(err, gr->name);
        }
    }
    if (err->id != ERR_NONE) return err_subject(err, gr->name);
    if (l.params != NULL) {
        if (l.params_rows != NULL)
            l.params->dims[0] = ex_add(x, ex_mul(x, l.params_rows, lower_int(&l, ROW_WORDS)),
                                       lower_int(&l, PARAM_ROWS));
        if (l.params_lo <= l.params_hi) {
            l.params->lo = l.params_lo;
            l.params->hi = l.params_hi;
        }
    }
    if (out->nest == NULL) out->nest = nest_new(a, f, p);
    return true;
}
