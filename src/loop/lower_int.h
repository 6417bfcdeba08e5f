// loop/lower_int.h: what the lowering functions share: a formula under construction.
#ifndef HOB_LOWER_INT_H
#define HOB_LOWER_INT_H

#include "loop/lower.h"

enum { LOWER_MAX_VALUES = 12 };

// A tensor made inside the group: an expression over variables that stand for its indices.
typedef struct LowerValue {
    int tensor, nd;
    const Var *ax[3];
    const Expr *ext[3];
    const Expr *true_cols; // where ext[1] reaches past the columns there are (rows padded to the
                           // weave); else NULL
    const Expr *e;
} LowerValue;

typedef struct Lower {
    Arena *arena;
    Exprs *x;
    const Graph *g;
    const Group *gr;
    const Profile *p;
    i64 n_max, m_max; // 1: a number in the kernel, not a symbol
    Formula *f;
    Lowered *out;
    const Var *n, *m;         // symbols, NULL until used
    Buffer *params;           // its dimension and range are known at the end
    const Expr *params_rows;  // how many rows of the table are read; NULL: none
    i64 params_lo, params_hi; // range of the fields read
    int nvalues;
    LowerValue value[LOWER_MAX_VALUES];
    int unscaled; // a norm's result that is x * g so far: who reads it multiplies by 1/sqrt(...);
                  // -1: none
    const Buffer *sum_sq; // of the norm
    const Expr *sum_sq_k, *sum_sq_eps;
    Err *err;
} Lower;

// A stage under construction: axes are added, then it is finished by lower_temp or by stores.
Stage *lower_stage(Lower *l, const char *name);
const Expr *lower_axis(Lower *l, Stage *s, const char *name, const Expr *extent);
const Expr *lower_red(Lower *l, Stage *s, const char *name, const Expr *extent);
const Buffer *lower_temp(Lower *l, Stage *s, ReduceOp op, const Expr *body);
// Same with a known range of the result, for indices.
const Buffer *lower_temp_range(Lower *l, Stage *s, ReduceOp op, const Expr *body, i64 lo, i64 hi);
void lower_store(Stage *s, const Buffer *b, int nd, const Expr *const *idx, const Expr *value,
                 const Expr *pred);
const Expr *lower_load(Lower *l, const Buffer *b, const Expr *i,
                       const Expr *j); // j NULL: one index

const Expr *lower_int(Lower *l, i64 v);
// A row dimension (n or m) as a symbol, or the number 1.
const Expr *lower_rows(Lower *l, Dim d);
// A size of the model: a number, or with profile->dims a variable `name` with this range and
// divisor.
const Expr *lower_dim(Lower *l, const char *name, i64 v, i64 lo, i64 hi, i64 divisor);

// The kernel argument that is this tensor, made on first use with this name and view.
Buffer *lower_arg(Lower *l, int tensor, const char *name, Type type, int nd,
                  const Expr *const *dims);
// Element (i, j) of an activation: of a value of this group, or of an argument with `cols` columns.
const Expr *lower_read(Lower *l, int tensor, const char *name, const Expr *cols, const Expr *i,
                       const Expr *j);
// lower_pack.c: of rows of `cols` numbers that pack made: byte (n, k) as i32, of wide ones the high
// or the low one; and of a block of them, as f32, what a 1 is worth and the sum of all
const Expr *lower_packed(Lower *l, int tensor, bool low, const Expr *cols, const Expr *n,
                         const Expr *k);
bool lower_is_wide(const Lower *l, int tensor);
const Expr *lower_packed_scale(Lower *l, int tensor, const Expr *cols, const Expr *n,
                               const Expr *block);
const Expr *lower_packed_sum(Lower *l, int tensor, const Expr *cols, const Expr *n,
                             const Expr *block);
const LowerValue *lower_value(const Lower *l, int tensor);
// The result of a node: inside the group a value, at its end a store to argument y.
void lower_result(Lower *l, const Node *nd, const LowerValue *v);
// Fresh index variables over rows x cols for a node's element-wise result; v->e is the caller's to
// set.
LowerValue lower_over(Lower *l, const Node *nd, const Expr *rows, const Expr *cols);
const Expr *lower_ax(Lower *l, const LowerValue *v, int i); // index i of a value as an expression

const Expr *lower_row_field(Lower *l, const Expr *rows, const Expr *row,
                            int field);                 // of the parameter block's row table
const Expr *lower_param(Lower *l, int word);            // any other word of it
const Expr *lower_row_scale(Lower *l, const Expr *row); // that an unscaled norm's result lacks

typedef bool (*LowerFn)(Lower *l, const Node *nd);
#define OP(name, nin, doc) bool lower_##name(Lower *l, const Node *nd);
#include "graph/ops.def"
#undef OP

#endif
