// loop/lower.h: a group of graph nodes -> one Formula. Each operator has one function, lower_NAME
// (lower_*.c), found by its row in ops.def; it adds stages. Values inside a group are stages;
// values that leave it are stores.
#ifndef HOB_LOWER_H
#define HOB_LOWER_H

#include "loop/loop.h"
#include "pass/pass.h"

// Most rows of a step that a kernel made before any model is seen (profile->dims) takes.
enum { MENU_MAX_N = 32768 }; // with 256 * 128 heads, work items stay inside i32

typedef struct LowerArg { // what each kernel argument is
    enum { ARG_TENSOR, ARG_PARAMS } kind;
    int tensor;
} LowerArg;

typedef struct Lowered {
    Formula *formula;
    Nest *nest; // fresh: naive, or attention's direct nest
    LowerArg arg[8];
    int ndims;
    const char *dim_name[STEP_MAX_DIMS];
    i32 dims[STEP_MAX_DIMS]; // values of formula->dim for this step (profile->dims)
    int nargs;
} Lowered;

// With profile->dims, the model's dimensions become Vars of the formula (kernels made at build
// time, one for all models); a dimension's divisibility that a rule needs is part of its Var
// (divisor), hence of the nest key.
bool lower_group(Arena *a, Exprs *x, const Graph *g, const Group *gr, const Profile *p,
                 u32 regime_n, Lowered *out, Err *err);

// slot(pos): where in a cache the row of a position lies. The only place that knows (windows and
// sinks come here).
const Expr *lower_slot(const Expr *pos);

// attention.c (loop/): softmax(q k / sqrt(d)) v over the cache, grouped heads, causal by each row's
// position. The formula is plain softmax (the referee's); the kernel is built directly, on-line
// (attention_build.c). Arguments, in order:
//   q f32[rows, H*D]   cache f32[2, KV, blocks, 16*D]: keys, then values; y   params
//   parts == 1: y f32[rows, H*D]; else y f32[rows, H, parts, D + 2]: acc, then m (the part's
//   maximum), l (its sum)
typedef struct AttentionShape {
    i64 heads, kv_heads, head_dim, ctx, parts;
    i64 rows; // largest n of the regime
} AttentionShape;
// Query heads that read one head of the cache.
static inline i64 attention_group(const AttentionShape *s) { return s->heads / s->kv_heads; }
// With profile->dims the formula's dims are KV, G = H / KV, D, CTX, in this order; *dims gets their
// values.
bool attention_nest(Arena *a, Exprs *x, const AttentionShape *s, const Profile *p, Nest **out,
                    i32 *dims, Err *err);

#endif
