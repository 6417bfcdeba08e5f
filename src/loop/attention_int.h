// loop/attention_int.h: what attention's formula and its direct builder share.
#ifndef HOB_ATTENTION_INT_H
#define HOB_ATTENTION_INT_H

#include "loop/loop_int.h"
#include "loop/lower.h"

enum { MAX_TURNS = 8 }; // heads that a workgroup has at once

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
    i64 lanes;   // threads that share one (row, part) of some heads; 0: one thread has a head alone
    i64 turns;   // how many heads: a divisor of those that share a head of keys
    i64 threads; // of a workgroup, when each works alone
    i64 tile;    // of a workgroup whose threads have a query each and read a block of the cache
                 // together; 0: none do
    i64 ahead;   // 1: a processor fetches the next block while it reads this one
    i64 rows;    // of activations, in lanes; 0: lanes run over d
} Attention;

// row i's position in the sequence
const Expr *attention_pos(const Attention *at, Exprs *x, const Expr *row);
// Slots of a part, whole blocks of them, where a row sees len.
const Expr *attention_per(const Attention *at, Exprs *x, const Expr *len);
bool attention_build(Arena *a, const Nest *n, Kernel **out, Err *err);

// ---- attention_build.c: what the bodies share ---------------------------------------------------
typedef struct Gen {
    Arena *a;
    Exprs *x;
    const Attention *at;
    Kernel *k;
    const Expr *row, *head, *part; // of this thread
    const Expr *kvh;
    const Expr *first, *count, *last; // slots [first, first + count), last: the row's own position
    const Expr *first_block, *last_block; // of those slots; of all that the row sees
    const Expr *most;                     // of count, among who passes through blocks together
    const Buffer *keys, *values;          // the block at hand in workgroup memory, or NULL
    const Expr *tid, *there;              // the thread who copies it, and whether it has a row
    const Expr *scale, *low;
} Gen;

#define IDX(...)   ((const Expr *[]){__VA_ARGS__})
#define LD(b, ...) ex_load(x, (b), IDX(__VA_ARGS__))

const Expr *att_let(Gen *g, Block *b, const char *name, const Expr *value);
Block *att_loop(Gen *g, Block *b, const char *name, const Expr *extent, LoopKind kind,
                const Expr **var);
void att_store(Gen *g, Block *b, const Buffer *buf, const Expr *const *idx, const Expr *value);
const Buffer *att_alloc(Gen *g, Block *b, const char *name, Scope scope, i64 size);
Block *att_when(Gen *g, Block *b, const Expr *cond);
// The vectors over d: *from is where one begins.
Block *att_over_vectors(Gen *g, Block *b, const Expr **from);
// The lanes of the vector that begins there: *d is the index.
Block *att_over_lanes(Gen *g, Block *b, const Expr *from, const Expr **d);
Block *att_over_d(Gen *g, Block *b, const Expr **d);
i64 att_d_most(const Attention *at);
void att_known(Gen *g, Block *b);
void att_last_is(Gen *g, Block *b, const char *name, const Expr *last);
void att_of_head(Gen *g, Block *b, const Expr *head);
// This part's slots, and what all threads of it know.
void att_prepare(Gen *g, Block *b);
// The block of the part's slots from i on: one that exists, whatever i.
const Expr *att_block_at(Gen *g, Block *b, const Expr *i);
// A line of the cache will be read soon: from element `at` of a block's keys or values on.
void att_fetch(Gen *g, Block *b, bool values, const Expr *block, const Expr *at);
const Expr *att_key(Gen *g, const Expr *block, const Expr *i, const Expr *d);
// Where the value of slot i of a block begins, or of the last slot that the row sees: what lies
// past it may be no number.
const Expr *att_value_row(Gen *g, Block *b, const Expr *block, const Expr *i);
const Expr *att_value_at(Gen *g, const Expr *block, const Expr *row, const Expr *d);
// The slot to read for the i-th of this part: one that exists, whatever i.
const Expr *att_slot(Gen *g, const Expr *i);
// Where element d of the head lies in a row of queries, and of results.
const Expr *att_in_row(Gen *g, const Expr *d);
const Expr *att_query(Gen *g, const Expr *d);
void att_put_result(Gen *g, Block *b, const Expr *d, const Expr *value);
// Result of one (row, head, part) at d.
void att_finish(Gen *g, Block *b, const Expr *d, const Expr *acc, const Expr *l);
void att_finish_state(Gen *g, Block *b, const Expr *m, const Expr *l);

// ---- attention_alone.c, attention_tile.c, attention_rows.c, attention_shared.c ------------------
void att_body_alone(Gen *g, Block *b, bool group);                        // after att_prepare
void att_body_tile(Gen *g, Block *b, const Expr *first, const Expr *tid); // rows from `first` on
void att_stage_block(Gen *g, Block *b, const Expr *blk);
void att_body_rows(Gen *g, Block *b, const Expr *first, const Expr *rows);  // from `first` on
void att_body_shared(Gen *g, Block *b, const Expr *first, const Expr *tid); // heads from `first` on

#endif
