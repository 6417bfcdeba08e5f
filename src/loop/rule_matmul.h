// loop/rule_matmul.h: what the rules for matrix products share (rule_matmul.c).
#ifndef HOB_RULE_MATMUL_H
#define HOB_RULE_MATMUL_H

#include "loop/rule_int.h"

typedef struct MatmulShape {
    const NestStage *acc, *w, *out, *dot; // dot: a block's sum of packed activations, or NULL
    int o_axis;                           // the axis of `out` that runs over rows of w
    i64 stride;                           // rows of w for one step of that axis
    i64 n_most;                           // rows of activations at most
    i64 bits; // of the weight's fields, where packed activations meet them
} MatmulShape;

// Does the nest multiply by a weight, and which stages do it?
bool matmul_find(const Nest *n, MatmulShape *m);
// After inlining, `out` reads acc directly: which of its axes walks w's rows, and how far a step
// goes.
bool matmul_stride(RuleWriter *w, MatmulShape *m);
// How many elements of k one scale serves: the largest power of two, at most 32, that divides k.
i64 matmul_k_block(const MatmulShape *m);
// out's axis over w's rows in blocks `ob` of `oi`: so many vectors of rows, fewer where those do
// not divide it.
void matmul_split_rows(RuleWriter *w, const MatmulShape *m, i64 vecs);
// The reductions besides the matmul (a norm's sum of squares) where the matmul's own stands.
void matmul_place_others(RuleWriter *w, const MatmulShape *m, const char *loop);
// The epilogue's innermost loops: in so many lanes where it walks rows of w, else written out.
void matmul_finish_tile(RuleWriter *w, const MatmulShape *m, const char *oi, i64 lanes);

const char *rule_axis(const NestStage *s, int i);
const char *rule_sum_axis(const NestStage *s);
bool rule_has_loop(const NestStage *s, const char *name);
// A stage's row-of-w axis o: lanes, several vectors of them written out.
void rule_lanes(RuleWriter *w, const char *stage, const char *o, i64 vec);
// A product's loops of a block, the rows of x written out inside them, the rows of w in lanes.
void matmul_lanes(RuleWriter *w, const NestStage *s, const char *loops, i64 vec);
bool rule_barriers_are_dear(const Profile *p); // or there are none: a processor

#endif
