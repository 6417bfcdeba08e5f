// loop/attention_int.h: what attention's formula and its direct builder share.
#ifndef HOB_ATTENTION_INT_H
#define HOB_ATTENTION_INT_H

#include "loop/loop_int.h"
#include "loop/lower.h"

typedef struct Attention {
    AttentionShape s;
    const Expr *kv, *group, *d, *blocks, *heads; // constants, or dims
    const Expr *ctx;                             // the most slots a row sees
    const Var *n;                                // the symbol
    const Buffer *q, *cache, *y, *params;
    i64 vec;   // lanes over d; 1 where d is not a multiple
    i64 slots; // lanes over slots
    // what `set` changes; see rule_attention
    i64 block;   // scores computed at a time: a divisor or multiple of KV_BLOCK
    i64 lanes;   // threads that share one (row, head, part); 0: one thread has it alone
    i64 threads; // of a workgroup, when each works alone
    i64 rows;    // of activations, in lanes; 0: lanes run over d
} Attention;

// row i's position in the sequence
const Expr *attention_pos(const Attention *at, Exprs *x, const Expr *row);
// Slots of a part, whole blocks of them, where a row sees len.
const Expr *attention_per(const Attention *at, Exprs *x, const Expr *len);
bool attention_build(Arena *a, const Nest *n, Kernel **out, Err *err);

#endif
