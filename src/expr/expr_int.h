// expr/expr_int.h: private to the room: the interning table and the memo tables that its walks
// share.
#ifndef HOB_EXPR_INT_H
#define HOB_EXPR_INT_H

#include "expr/expr.h"

// A map from nodes to values, reused from walk to walk: bumping `now` empties it.
typedef struct MemoSlot {
    const Expr *key;
    u32 stamp;
    union {
        const Expr *e;
        Value v;
    };
} MemoSlot;
typedef struct Memo {
    Exprs *home;
    MemoSlot *slot;
    size_t cap, n; // cap is a power of two
    u32 now;
    struct Memo *next; // the pool's free list
} Memo;

Memo *memo_take(Exprs *x); // empty; walks nest, each with its own
void memo_give(Memo *m);
// The slot of e; *fresh tells that it was not there, and the caller fills it. Valid until the next
// memo_at.
MemoSlot *memo_at(Memo *m, const Expr *e, bool *fresh);

// A sum of products: sum of coef * at[0] * at[1] ... + k. Atoms are nodes that are no sum, product
// or constant.
enum { LIN_TERMS = 40, LIN_ATOMS = 4 };
typedef struct Term {
    i64 coef;
    int n;
    const Expr *at[LIN_ATOMS]; // sorted by atom_cmp
} Term;
typedef struct Lin {
    Type type;
    int n;
    i64 k;
    Term t[LIN_TERMS]; // sorted by term_cmp, no two alike, no coef 0
    struct Lin *next;
} Lin;

enum { SMALL_INTS = 256 };
struct Exprs {
    Arena *arena;
    const Expr **slot;
    size_t cap, n;
    const Expr *small[SMALL_INTS]; // i32 constants from 0 on: most of what is asked for
    int vars, buffers;
    Memo *memos;
    Lin *lins;
};

// What makes a node the one that it is: the fields of an Expr that are not found out.
typedef struct ExprKey {
    u8 op, type, nargs;
    union {
        i64 i;
        double f;
        const Var *var;
        const Buffer *buf;
    };
    const Expr *args[BUFFER_MAX_DIMS];
} ExprKey;

// expr.c: the one node of this key; the key is not kept.
const Expr *ex_intern(Exprs *x, const ExprKey *k);

// linear.c: false: too many terms, or a coefficient leaves 64 bits; the caller keeps what it had.
Lin *lin_take(Exprs *x, Type t); // 0
void lin_give(Exprs *x, Lin *l);
bool lin_add(Exprs *x, Lin *l, const Expr *e,
             i64 scale); // l += scale * e, whose sums and products are opened
bool lin_add_term(Lin *l, const Term *t);
bool lin_add_lin(Lin *l, const Lin *m, i64 scale);
bool lin_recombine(Exprs *x, Lin *l); // c*(e//c) + e%c -> e
bool lin_range(const Lin *l, i64 *lo,
               i64 *hi); // as exact integers; false when 64 bits do not hold it
bool term_range(const Term *t, i64 *lo, i64 *hi); // with its coefficient
i64 term_divisor(const Term *t); // of its atoms, without the coefficient; 0: the product is 0
const Expr *lin_expr(Exprs *x,
                     const Lin *l); // back to an expression; NULL when a number leaves the type
// The positive part and the negated negative part: l < 0 is lhs < rhs.
bool lin_sides(Exprs *x, const Lin *l, const Expr **lhs, const Expr **rhs);

// range.c: sets what follows for a node from what is known of its operands.
void range_note(Expr *e);
i64 divisor_of(
    const Expr *e);        // like expr_divisor, but 0 for the constant 0, which everything divides
i64 gcd_i64(i64 a, i64 b); // of magnitudes; gcd(0, b) = |b|
static inline i64 floor_div(i64 a, i64 b) { return a / b - (a % b != 0 && (a ^ b) < 0); }
static inline i64 floor_mod(i64 a, i64 b) { return a - b * floor_div(a, b); }
// The value of an integer type that is congruent to v mod 2^32.
static inline i64 wrap_to(Type t, i64 v) { return t == TY_U32 ? (i64)(u32)v : (i64)(i32)(u32)v; }
static inline bool type_is_int(int t) { return t == TY_I32 || t == TY_U32; }
static inline i64 type_lo(int t) { return t == TY_I32 ? INT32_MIN : 0; }
static inline i64 type_hi(int t) { return t == TY_I32 ? INT32_MAX : t == TY_U32 ? UINT32_MAX : 1; }
// v, which fits, as a constant of an integer type.
static inline const Expr *ex_int_as(Exprs *x, int t, i64 v) {
    return t == TY_U32 ? ex_uint(x, (u32)v) : ex_int(x, v);
}
// a, where e is `a op c` and c a constant; else NULL.
static inline const Expr *by_const(const Expr *e, int op, i64 *c) {
    if (e->op != op || e->args[1]->op != EX_ICONST) return NULL;
    *c = e->args[1]->i;
    return e->args[0];
}
// The same for e // c and e % c, whose c must be positive.
static inline const Expr *split_by(const Expr *e, int op, i64 *c) {
    const Expr *of = by_const(e, op, c);
    return of && *c > 0 ? of : NULL;
}
i64 saturate_to_int(Type t, double f); // f32 -> integer: truncates, saturates, NaN -> 0

#endif
