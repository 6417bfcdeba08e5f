// loop/poly.h: polynomials over atoms, for proofs about indices. Private to prove*.c.
//
// An atom is an integer expression that is not looked into: a variable, a load, a quotient.
// Coefficients that overflow and sums that do not fit make a polynomial `bad`: nothing is known of
// it.
#ifndef HOB_LOOP_POLY_H
#define HOB_LOOP_POLY_H

#include "expr/expr.h"

enum { MONO_ATOMS = 4, POLY_TERMS = 24 };
#define NO_LO INT64_MIN
#define NO_HI INT64_MAX

typedef struct Mono {
    i64 c;
    int n;
    const Expr *at[MONO_ATOMS]; // sorted by id
} Mono;

typedef struct Poly {
    i64 k;
    int n;
    bool bad; // did not fit: nothing is known
    Mono m[POLY_TERMS];
} Poly;

// p->m stays sorted, no two monomials alike, no coefficient 0.
void poly_add_mono(Poly *p, const Mono *m);
bool mono_mul(const Mono *a, const Mono *b, Mono *out); // false: overflow, or more atoms than fit
void poly_add(Poly *p, const Poly *q, const Mono *by);  // p += by * q
void poly_scale_add(Poly *p, const Poly *q, i64 c);     // p += c * q
static inline void poly_atom(Poly *out, const Expr *e) {
    poly_add_mono(out, &(Mono){.c = 1, .n = 1, .at = {e}});
}

// Saturating numbers: NO_LO and NO_HI are infinities.
static inline i64 sat_add(i64 a, i64 b) {
    i64 r;
    if (a == NO_LO || b == NO_LO) return NO_LO;
    if (a == NO_HI || b == NO_HI) return NO_HI;
    return __builtin_add_overflow(a, b, &r) ? (a < 0 ? NO_LO : NO_HI) : r;
}

static inline i64 sat_mul(i64 a, i64 b) {
    i64 r;
    if (a == 0 || b == 0) return 0;
    bool inf = a == NO_LO || a == NO_HI || b == NO_LO || b == NO_HI;
    if (!inf && !__builtin_mul_overflow(a, b, &r)) return r;
    return (a < 0) != (b < 0) ? NO_LO : NO_HI;
}

static inline i64 sat_neg(i64 a) { return a == NO_LO ? NO_HI : a == NO_HI ? NO_LO : -a; }

static inline i64 floor_to(i64 a, i64 by) {
    return a == NO_LO || a == NO_HI ? a : a / by - (a % by < 0);
}

static inline i64 ceil_to(i64 a, i64 by) {
    return a == NO_LO || a == NO_HI ? a : a / by + (a % by > 0);
}

static inline i64 gcd(i64 a, i64 b) {
    while (b) {
        i64 t = a % b;
        a = b;
        b = t;
    }
    return a < 0 ? -a : a;
}

#endif
