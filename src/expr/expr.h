// expr/expr.h: scalar and index expressions: immutable, interned trees over i32, u32, f32 and bool.
//
// An expression is a value, never a statement. Nodes are interned in an Exprs table: structurally
// equal expressions are the same pointer, which is what common-subexpression elimination and the
// simplifier rest on. There are no vector types: a loop marked `vec` is a loop whose iterations are
// independent, and the printers turn its body into lanes.
//
// Integers are i32 or u32. Index arithmetic is i32 and must not overflow (the verifier proves it);
// u32 arithmetic wraps. Every variable carries its range, every integer buffer the range of its
// values, so the range of any expression follows from the expression alone.
#ifndef HOB_EXPR_H
#define HOB_EXPR_H

#include "base/base.h"

typedef enum Type { TY_I32, TY_U32, TY_F32, TY_BOOL, TY_COUNT } Type; // ORDER TYPE

typedef enum ExprOp {
#define X(id, spelling, args, result, doc) EX_##id,
#include "expr/expr.def"
#undef X
    EX_COUNT
} ExprOp;

typedef struct Expr Expr;
typedef struct Var Var;
typedef struct Buffer Buffer;

// A symbol (n, t, K...), a loop variable or a let. Identity is the pointer.
struct Var {
    const char *name;
    Type type;
    i64 lo, hi;  // inclusive range of its values (integers), known where it is made
    i64 divisor; // its value is a multiple of this (1: nothing known)
    int id;      // order of creation: a total order for canonical forms
};

typedef enum Scope { // ORDER SCOPE
    SCOPE_ARG,       // a device buffer: a binding of the kernel
    SCOPE_TEMP,      // a stage's result, not placed yet (loop/ only)
    SCOPE_SHARED,    // workgroup memory
    SCOPE_REG,       // private to a thread: registers once indices are constant
} Scope;

enum { BUFFER_MAX_DIMS = 4 };

// A buffer of elements of one type, row-major over its dimensions.
struct Buffer {
    const char *name;
    Type type;
    Scope scope;
    int nd;
    const Expr *dims[BUFFER_MAX_DIMS]; // extents; may hold symbols
    i64 lo, hi;   // range of the values stored, for integer buffers that hold indices;
                  // INT32_MIN..INT32_MAX (0..UINT32_MAX) otherwise
    bool written; // the kernel stores to it: loads may not be moved across stores
    bool half;    // workgroup memory of f32 that keeps each rounded to 16 bits, at most 65504
    int id;
};

struct Expr {
    u8 op;    // ExprOp
    u8 type;  // Type
    u8 nargs; // LOAD: number of indices
    u8 loads; // 1: a LOAD is in it
    u32 hash; // of the structure: the same in every run
    int id;   // order of creation
    int top;  // the largest id of a variable in it, -1: none
    union {
        i64 i;             // ICONST
        double f;          // FCONST: a value that f32 holds exactly
        const Var *var;    // VAR
        const Buffer *buf; // LOAD
    };
    const Expr *args[BUFFER_MAX_DIMS];
    struct Exprs *home;  // the table it is interned in
    i64 lo, hi, divisor; // range.c: of an operation on integers, found when it is made
    const Expr *simple;  // simplify.c: what became of it; NULL: nobody asked yet
};

// The interning table; one for each compile. Nodes live in its arena.
typedef struct Exprs Exprs;
Exprs *exprs_new(Arena *a);
Arena *exprs_arena(Exprs *x);

Var *var_new(Exprs *x, const char *name, Type t, i64 lo, i64 hi); // the name is copied
Buffer *buffer_new(Exprs *x, const char *name, Type t, Scope s, int nd, const Expr *const *dims);

// expr.c -- constructors. Each folds constants and applies identities (x+0, x*1, x*0,
// select(true,..), ...), so that building a formula never leaves litter. Types are checked by must:
// they are ours, not a user's.
const Expr *ex_int(Exprs *x, i64 v);  // i32
const Expr *ex_uint(Exprs *x, u32 v); // u32
const Expr *ex_bool(Exprs *x, bool v);
const Expr *ex_f32(Exprs *x, double v); // rounded to f32
const Expr *ex_var(Exprs *x, const Var *v);
const Expr *ex_node(Exprs *x, ExprOp op, const Expr *a, const Expr *b,
                    const Expr *c); // c, b NULL where unused; not CAST, BITCAST, LOAD
const Expr *ex_cast(Exprs *x, Type t, const Expr *a);
const Expr *ex_bitcast(Exprs *x, Type t, const Expr *a);
const Expr *ex_load(Exprs *x, const Buffer *b, const Expr *const *idx); // b->nd indices
#define EX2(name, OP)                                                                              \
    static inline const Expr *name(Exprs *x, const Expr *a, const Expr *b) {                       \
        return ex_node(x, OP, a, b, NULL);                                                         \
    }
EX2(ex_add, EX_ADD)
EX2(ex_sub, EX_SUB)
EX2(ex_mul, EX_MUL)
EX2(ex_div, EX_DIV)
EX2(ex_idiv, EX_IDIV)
EX2(ex_mod, EX_IMOD)
EX2(ex_min, EX_MIN)
EX2(ex_max, EX_MAX)
EX2(ex_and, EX_AND)
EX2(ex_or, EX_OR)
EX2(ex_xor, EX_XOR)
EX2(ex_shl, EX_SHL)
EX2(ex_shr, EX_SHR)
EX2(ex_mulhi, EX_MULHI)
EX2(ex_lt, EX_LT)
EX2(ex_le, EX_LE)
EX2(ex_eq, EX_EQ)
EX2(ex_ne, EX_NE)
EX2(ex_land, EX_LAND)
EX2(ex_lor, EX_LOR)
#undef EX2
static inline const Expr *ex_un(Exprs *x, ExprOp op, const Expr *a) {
    return ex_node(x, op, a, NULL, NULL);
}
static inline const Expr *ex_select(Exprs *x, const Expr *c, const Expr *a, const Expr *b) {
    return ex_node(x, EX_SELECT, c, a, b);
}
// a as lane `lane` of a subgroup of so many has it
static inline const Expr *ex_subgroup_at(Exprs *x, const Expr *a, i64 lane, i64 lanes) {
    return ex_node(x, EX_SUBAT, a, ex_int(x, lane), ex_int(x, lanes));
}
// acc + the products of the signed bytes of a and b
static inline const Expr *ex_dot4(Exprs *x, const Expr *acc, const Expr *a, const Expr *b) {
    return ex_node(x, EX_DOT4, acc, a, b);
}
i64 dot4_of(i64 acc, u32 a, u32 b);      // of numbers
bool expr_is_int(const Expr *e, i64 *v); // an ICONST (any integer type)
bool expr_uses(const Expr *e, const Var *v);
bool expr_loads(const Expr *e, const Buffer *b);

// e with these operands, in x; e is no constant or variable.
const Expr *expr_rebuilt(Exprs *x, const Expr *e, const Expr *const *args);
// Rebuilds e bottom up through fn, which returns a replacement for a node whose arguments are
// already replaced (or the node itself). Memoised: shared nodes are visited once.
typedef const Expr *(*ExprMap)(void *user, Exprs *x, const Expr *e);
const Expr *expr_map(Exprs *x, const Expr *e, ExprMap fn, void *user);
// The same where fn leaves alone whatever has no variable from number `least` on and, when `loads`
// is set, no load: that is not visited.
const Expr *expr_map_from(Exprs *x, const Expr *e, int least, bool loads, ExprMap fn, void *user);
// e with each of the n variables replaced.
const Expr *expr_subst(Exprs *x, const Expr *e, const Var *const *vars, const Expr *const *by,
                       int n);
// Calls fn on every distinct node below e, arguments first.
void expr_walk(const Expr *e, void (*fn)(void *user, const Expr *e), void *user);
void expr_walk_loads(const Expr *e, void (*fn)(void *user, const Expr *e),
                     void *user); // LOADs only

// range.c -- the interval of an integer expression (inclusive); false (and the type's whole range)
// when nothing better is known.
bool expr_range(const Expr *e, i64 *lo, i64 *hi);
i64 expr_divisor(const Expr *e); // a positive number that always divides e (1: nothing known)

// simplify.c -- canonical sums of products; // and % by constants cancelled by range and
// divisibility: (32*a + 8*b + c) // 8 -> 4*a + b for c in 0..7; (8*b + c) % 8 -> c; comparisons
// decided by range.
const Expr *expr_simplify(Exprs *x, const Expr *e);
// e as base + coef * v with base free of v and coef a constant: how a printer finds contiguous
// lanes. false otherwise.
bool expr_affine(Exprs *x, const Expr *e, const Var *v, const Expr **base, i64 *coef);

// eval.c -- the referee's arithmetic: f32 operations in float64, integers exactly as defined above,
// exp, sin and cos by libm. Uses neither the simplifier nor the printers. SELECT evaluates only the
// branch it takes, so that a formula may load out of bounds in the other (the interpreter of loop
// IR evaluates both, as devices do).
typedef struct Value {
    Type type;
    union {
        double f;
        i64 i; // i32, u32, bool
    };
} Value;
typedef struct Env {
    bool (*var)(void *user, const Var *v, Value *out);
    bool (*load)(void *user, const Buffer *b, const i64 *idx, Value *out);
    void *user;
    bool f32; // round every f32 operation to f32 (the interpreter); else keep float64 (the referee)
} Env;
bool expr_eval(const Expr *e, const Env *env,
               Value *out); // false: a variable or a load had no value

// Expressions that are evaluated over and over, as a reduction's body is: what they share is found
// once, and what a change does not touch stays. The level of a variable says how often it changes:
// one of level 0 never does, and again_changed tells that those of a level did. What a load gives
// never changes.
enum { AGAIN_LEVELS = 6 };
typedef struct Again Again;
Again *again_new(Arena *a, int (*level)(void *user, const Var *v), void *user);
u32 again_add(Again *g, const Expr *e); // a number for again_eval; all from one Exprs
void again_changed(Again *g, int level);
// As expr_eval. Env's functions must not come back to the same g.
bool again_eval(Again *g, u32 at, const Env *env, Value *out);

// print.c, read.c -- infix text, fewest parentheses: `f32(w[o*18 + b] >> 4u & 15u) * x[n, k]`
void expr_print(const Expr *e, Buf *out);
typedef struct ExprSpell { // how variables and buffers are spelled: a kernel's printer makes names
                           // unique
    const char *(*var)(void *user, const Var *v);
    const char *(*buffer)(void *user, const Buffer *b);
    void *user;
} ExprSpell;
void expr_print_as(const Expr *e, const ExprSpell *spell, Buf *out); // NULL spell: their own names
// Names are resolved by the caller; errors have line and column relative to the text's start
// position in *p.
typedef struct ExprNames {
    const Var *(*var)(void *user, Str name);
    const Buffer *(*buffer)(void *user, Str name);
    void *user;
} ExprNames;
typedef struct Reader { // a cursor over text, shared by the readers of graph and loop IR
    Str text;
    size_t pos;
    int line, col;
} Reader;
void reader_space(Reader *r); // skips blanks and `#` comments, not newlines
bool reader_eat(Reader *r, const char *token);
Str reader_word(Reader *r); // letters, digits, _ . ; empty when there is none
bool reader_fail(const Reader *r, Err *e, ErrId id, const char *fmt, ...);
const Expr *expr_read(Exprs *x, Reader *r, const ExprNames *names, Err *err); // NULL on error

#endif
