// loop/prove_int.h: what the prover's files share. prove.c keeps facts, prove_range.c reads
// expressions as polynomials and intervals, prove_search.c looks for the combination of facts that
// answers a question.
#ifndef HOB_LOOP_PROVE_INT_H
#define HOB_LOOP_PROVE_INT_H

#include "loop/poly.h"
#include "loop/prove.h"
#include "loop/ptrmap.h"

enum {
    SEARCH_DEPTH = 4,
    SEARCH_STEPS = 4000,
    SHARP_STEPS = 256,
    MAX_FACTS = 64,
    MAX_DEFINITIONS = 256
};

typedef struct Bounds {
    i64 lo, hi;
    u32 when; // the facts' version it was computed under
} Bounds;

struct Prover {
    Arena *arena;
    VEC(const Poly *) facts;
    VEC(const Poly *) definitions; // of quotients and minima: hold always
    PtrMap lets;                   // Var -> Expr
    PtrMap extents;                // Var -> Expr
    PtrMap polys;                  // Expr -> Poly
    PtrMap bounds;                 // Expr -> Bounds
    u32 version;
    int steps; // left for this question
    int depth; // of nodes
};

// prove_range.c
const Poly *prover_keep(Prover *p, const Poly *q); // a copy in the arena
const Poly *prover_poly(Prover *p, const Expr *e); // remembered; also defines the atoms it meets
Bounds prover_bounds(Prover *p,
                     const Expr *e); // by intervals, remembered while no fact comes or goes
Bounds bounds_mul(Bounds a, Bounds b);
// prove_search.c: a lower bound under the facts, using at most `depth` of them
i64 prover_lower(Prover *p, const Poly *q, i64 enough, int depth);

#endif
