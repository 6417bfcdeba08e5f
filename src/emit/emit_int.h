// emit/emit_int.h: what the printer and its dialects share and nobody else needs.
#ifndef HOB_EMIT_INT_H
#define HOB_EMIT_INT_H

#include "emit/emit.h"
#include "loop/ptrmap.h"

enum { MAX_LANES = 16, MAX_VARS = 256, MAX_SUBS = 8, MAX_INDENT = 100 };

// Rows of a dialect's tables: what every language like C spells alike, of scalars and of vectors.
#define OPERATOR_SIGNS                                                                             \
    [EX_ADD] = "+", [EX_SUB] = "-", [EX_MUL] = "*", [EX_DIV] = "/", [EX_AND] = "&", [EX_OR] = "|", \
    [EX_XOR] = "^", [EX_SHL] = "<<", [EX_SHR] = ">>", [EX_LT] = "<", [EX_LE] = "<=",               \
    [EX_EQ] = "==", [EX_NE] = "!="

// How a buffer's elements are spelled.
typedef enum Layout {
    LAY_SCALARS,   // an array of scalars: b[i]
    LAY_VECTORS,   // an array of vectors: b[i / lanes], one lane b[i / lanes][i % lanes]
    LAY_NAMES,     // registers: a variable for each element, b_3
    LAY_VEC_NAMES, // registers: a variable for each vector, b_0[3]
} Layout;

typedef struct Mem {
    const Buffer *buf;
    const char *name;
    Layout lay;
    int lanes;       // of LAY_VECTORS and LAY_VEC_NAMES
    i64 elems;       // -1: not a constant
    const Var *lane; // registers declared inside a vec loop: each lane has its own; elements are
                     // index * L + lane
    int lane_count;
    // what its accesses are (place.c)
    bool used, vectors, aligned, constant, scalar_stores;
    int width; // lanes of the vector accesses, -1: several widths
} Mem;

typedef struct Name {
    const char *text;
    int lanes; // 0: a scalar
    bool used;
    bool small_bytes; // a word whose bytes are all below 128
} Name;

typedef struct Emit {
    const Dialect *d;
    const Kernel *k;
    const Profile *p;
    Arena *arena;
    Exprs *x;
    Buf *out;
    Err *err;
    bool ok;
    int indent;
    Str fn;           // C: the function's name
    bool is_static;   // C: seen in its file only
    bool cpu_loop;    // C: the loop over begin..end was printed
    u32 helpers;      // set of HELP_*: prelude functions that this kernel needs
    PtrMap names;     // Var -> Name *
    PtrMap mems;      // Buffer -> Mem *
    VEC(Mem *) order; // in order of appearance
    StrMap *taken;
    int temps;
    // lanes
    const Var *lane; // the vec loop that is printed as vectors; NULL: all is scalar
    int lanes;
    int part;                 // >= 0: vector variables are read in this lane only
    const Var *sub[MAX_SUBS]; // loops printed iteration by iteration
    const Expr *by[MAX_SUBS];
    int nsub;
    PtrMap varies; // Expr -> 1 + whether it differs between lanes
} Emit;

enum { HELP_MULHI = 1, HELP_FLOOR_DIV = 2, HELP_DOT4 = 4 };

// A dialect is a row of differences. In spellings %0 %1 %2 are arguments, %t the result's type, %a
// that of the first argument, %s the result's element type; an infix sign has no %.
struct Dialect {
    const char *name;
    u32 version;
    bool cpu; // kernels are functions over a range of the CPU loop, not entry points of workgroups
    bool arg_vectors; // arguments can be declared as arrays of vectors, and only so read as vectors
    bool mixes;       // vector * scalar is written as it stands
    bool (*native)(const Profile *p, i64 lanes); // is there a vector of so many lanes?
    void (*type)(Buf *o, Type t, int lanes);
    void (*splat)(Buf *o, Type t, int lanes, Str scalar);
    void (*gather)(Buf *o, Type t, int lanes); // what opens a list of lanes
    const char *gather_end;
    void (*to_half)(Buf *o, Str value, int lanes); // what memory of 16-bit floats is given
    void (*vector_at)(Emit *e, const Mem *m, int lanes, Str index, bool store,
                      Buf *o);            // C: *(f32x8u *)&b[i]
    const char *op[EX_COUNT];             // scalars
    const char *vop[EX_COUNT];            // vectors; NULL: lane by lane
    const char *cast[TY_COUNT][TY_COUNT]; // [to][from]
    const char *vcast[TY_COUNT][TY_COUNT];
    const char *small_dot4,
        *small_vdot4;                // DOT4 whose second word's bytes are below 128; NULL: alike
    const char *bits, *vbits;        // bit casts
    const char *constant, *variable; // declarations: "const %t %0 = %1", "%t %0"
    void (*array)(Emit *e, const Mem *m); // declares a register or workgroup array
    void (*begin)(Emit *e);               // up to the kernel's first statement
    void (*end)(Emit *e);
    int (*loop)(Emit *e, const Stmt *s,
                const char *name); // a loop bound to the device; the blocks it opened, -1: refused
    const char *barrier;
    const char *fetch;    // of an element, %s its place; NULL: nothing is printed
    const char *in_order; // ends the idiom's name that holds sums in vectors to the printed order
};

// menu.c's way in: a C function of another name
Str c_name(Arena *a, Str name); // as an identifier
bool emit_function(const Dialect *d, const Kernel *k, const Profile *p, Str fn, bool is_static,
                   Buf *out, Err *err);

// place.c
bool lane_by_lane(
    Emit *e, const Stmt *s); // inside a vec loop: its condition or extent differs between lanes
bool place_all(Emit *e);
const Expr *flat_index(Emit *e, const Mem *m,
                       const Expr *const *idx); // with the substitutions, simplified
Mem *mem_of(Emit *e, const Buffer *b);
i64 mem_elems(const Buffer *b);               // -1: not a constant
const Expr *in_place(Emit *e, const Expr *x); // with the substitutions

extern const char emit_reserved[]; // words of the languages, no variable's name; blanks between

// clike.c
bool emit_fail(Emit *e, ErrId id, const char *fmt, ...);
const char *fresh_name(Emit *e, const char *wanted);
Name *name_var(Emit *e, const Var *v, const char *text, int lanes);
Name *name_of(Emit *e, const Var *v);     // NULL: not defined
void line(Emit *e, const char *fmt, ...); // indented, ends the line
void push_sub(Emit *e, const Var *v, i64 i);
void pop_sub(Emit *e);

// value.c
bool varies(Emit *e, const Expr *x);
bool small_bytes(Emit *e, const Expr *w); // is every byte of this word known to be below 128?
void value(Emit *e, const Expr *x, int lanes, Buf *o); // may print temporaries to e->out first
void operand(Emit *e, const Expr *x, Buf *o);          // a scalar beside a sign
void declare(Emit *e, const char *form, Type t, int lanes, const char *name, Str init);
void element(Emit *e, const Mem *m, const Expr *flat, Buf *o); // one scalar
bool vector_access(Emit *e, const Mem *m, const Expr *flat,
                   const Expr **base); // lanes side by side
void vector_place(Emit *e, const Mem *m, const Expr *base, bool store,
                  Buf *o); // LAY_VECTORS, LAY_VEC_NAMES or a dialect's own
bool vector_addressable(Emit *e, const Mem *m);

#endif
