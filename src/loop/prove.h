// loop/prove.h: proofs about integer expressions under the facts that hold where a statement
// stands. Private to loop/: the verifier's engine. Independent of the simplifier, so that its
// mistakes are seen.
#ifndef HOB_LOOP_PROVE_H
#define HOB_LOOP_PROVE_H

#include "expr/expr.h"

typedef struct Prover Prover;
Prover *prover_new(Arena *a);
// Facts hold from here until the mark is restored.
size_t prover_mark(const Prover *p);
void prover_restore(Prover *p, size_t mark);
void prover_assume(Prover *p, const Expr *cond, bool holds);
void prover_loop(Prover *p, const Var *v, const Expr *extent); // 0 <= v < extent
void prover_let(Prover *p, const Var *v, const Expr *value);

// Bounds of an integer expression in true (unwrapped) arithmetic: as good as was found,
// INT64_MIN/MAX when nothing was. `enough`: stop searching once lo >= enough_lo and hi <=
// enough_hi.
void prover_range(Prover *p, const Expr *e, i64 enough_lo, i64 enough_hi, i64 *lo, i64 *hi);
bool prover_at_least(Prover *p, const Expr *a, const Expr *b, i64 by); // a - b >= by

#endif
