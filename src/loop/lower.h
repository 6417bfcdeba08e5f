// loop/lower.h: a group of graph nodes -> one Formula. Each operator has one function, lower_NAME (lower_*.c), found
// by its row in ops.def; it adds stages. Values inside a group are stages; values that leave it are stores.
#ifndef HOB_LOWER_H
#define HOB_LOWER_H

#include "loop/loop.h"
#include "pass/pass.h"

typedef struct LowerArg { // what each kernel argument is
    enum { ARG_TENSOR, ARG_PARAMS } kind;
    int tensor;
} LowerArg;

typedef struct Lowered {
    Formula *formula; // NULL for attention
    Nest *nest;       // fresh: naive, or attention's direct nest
    LowerArg arg[8];
    i32 dims[STEP_MAX_DIMS]; // values of formula->dim for this step (profile->dims)
} Lowered;

// With profile->dims, the model's dimensions become Vars of the formula (kernels made at build time, one for all
// models); a dimension's divisibility that a rule needs is part of its Var (divisor), hence of the nest key.
bool lower_group(Arena *a, Exprs *x, const Graph *g, const Group *gr, const Profile *p, u32 regime_n, Lowered *out, Err *err);

// attention.c (loop/): on-line softmax over the cache, built directly.
typedef struct AttentionShape {
    i64 heads, kv_heads, head_dim, ctx, parts; // parts 1: normalised result; more: m, l, acc of each part
    i64 rows;                                  // largest n
} AttentionShape;
bool attention_nest(Arena *a, Exprs *x, const AttentionShape *s, const Profile *p, Nest **out, Err *err);

#endif
