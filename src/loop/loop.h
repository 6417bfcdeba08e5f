// loop/loop.h: from a formula to a kernel: stages, schedule primitives, rules, and the loop IR they
// end in.
//
//   Formula   what to compute: stages, each a value for every point of its axes, maybe a reduction
//   Nest      a formula and how to loop over it: the thing that primitives rewrite; a fresh nest is
//             the naive one
//   Kernel    loop IR: typed statements, what the interpreter runs and the printers print
//
// nest_new makes a nest of a formula, primitives (by hand, by text, by a rule) rewrite it, and
// nest_build makes a kernel of it.
//
// Only attention builds its kernel's statements directly (attention.c), because on-line softmax
// carries a state that a reduction over one expression does not have.
#ifndef HOB_LOOP_H
#define HOB_LOOP_H

#include "expr/expr.h"
#include "program/program.h"

enum { MAX_AXES = 4, MAX_STAGES = 24, MAX_STORES = 4, MAX_LOOPS = 16 };

// ---- formula.c ----------------------------------------------------------------------------------
typedef enum ReduceOp { RED_NONE, RED_SUM, RED_MAX, RED_MIN } ReduceOp; // ORDER REDUCE

typedef struct Axis {
    const Var *var;
    const Expr *extent; // a constant, or affine in symbols
} Axis;

// out[axes] = op over raxes of body. A stage with stores (the last one or ones) writes kernel
// arguments instead.
typedef struct Store {
    const Buffer *buf; // SCOPE_ARG
    const Expr *idx[BUFFER_MAX_DIMS];
    const Expr *value;
    const Expr *pred; // NULL: always
} Store;

typedef struct Stage {
    const char *name;
    int nax, nred;
    Axis ax[MAX_AXES], red[MAX_AXES];
    ReduceOp op;
    const Expr *
        body; // over ax and red; loads ARG buffers and earlier stages' outs. NULL for a store stage
    const Buffer *out; // SCOPE_TEMP with dims = extents of ax; NULL for a store stage
    int nstores;
    Store store[MAX_STORES];
} Stage;

typedef struct Formula {
    Exprs *x;
    const char *name;
    int nstages;
    Stage stage[MAX_STAGES]; // producers first
    int nargs;
    const Buffer *arg[8]; // in binding order
    int nsyms;            // run-time symbols read from the parameter block: n, m, t
    struct {
        const Var *var;
        int word;
    } sym[4];
    int ndims; // CPU menu: dimensions given to the kernel at run time, in order
    const Var *dim[STEP_MAX_DIMS];
} Formula;

// Value of store `s` of stage `st` at the point `at` of its axes, in float64, straight from the
// stages' definitions (recursion; any shape, one output). The referee (a). env.load is asked for
// ARG buffers only, and may return false for an index that is out of bounds. memo: of stages'
// values, for many points under one environment; NULL: each stage keeps only its last value.
typedef struct FormulaMemo FormulaMemo;
FormulaMemo *formula_memo_new(Arena *a, const Formula *f); // NULL: no room
bool formula_eval(const Formula *f, FormulaMemo *memo, int stage, int store, const i64 *at,
                  const Env *env, double *value, bool *stored);
void formula_print(const Formula *f, Buf *out); // y[n, o] = sum k: x[n, k] * w[o, k]

// ---- nest.c: the schedulable state --------------------------------------------------------------
typedef enum LoopKind { // ORDER LOOP
    LOOP_SERIAL,
    LOOP_UNROLL, // expanded when the kernel is built
    LOOP_VEC,    // independent iterations printed as lanes; the innermost loop that is not unrolled
    LOOP_WG_X,
    LOOP_WG_Y,
    LOOP_WG_Z, // workgroups
    LOOP_THREAD_X,
    LOOP_THREAD_Y, // threads of a workgroup
    LOOP_LANE, // a THREAD_X whose extent is the subgroup's: a reduction over it becomes a subgroup
               // operation
    LOOP_CPU,  // shared among CPU threads: the outermost loop
    LOOP_KIND_COUNT
} LoopKind;

typedef struct NestLoop {
    const Var *var; // named STAGE.AXIS or as the split that made it says
    const Expr *extent;
    LoopKind kind;
    bool reduce;
} NestLoop;

typedef struct NestStage NestStage;
struct NestStage {
    Stage def; // over axis variables; rewritten by inline, rfactor, factor, cache_read
    int nloops;
    NestLoop loop[MAX_LOOPS]; // outermost first
    const Expr *axis_of[MAX_AXES],
        *red_of[MAX_AXES];        // each axis as an expression of the loops' variables,
    const Expr *origin[MAX_AXES]; // counted from here: 0, or the region that compute_at found
    const Expr *region[MAX_AXES]; // how far it reaches: the axis' extent, or the region's
    bool inexact[MAX_AXES], red_inexact[MAX_AXES]; // a split did not divide: needs guarded
    bool guarded[MAX_AXES],
        red_guarded[MAX_AXES]; // stores are predicated; reductions take the identity past the end
    bool clamp[MAX_AXES];      // the region may reach past the axis: reads are clamped
    bool inlined;
    bool half;     // in workgroup memory: of 16-bit floats
    bool touched;  // a loop primitive was applied: too late for compute_at and inline
    NestStage *at; // computed inside a loop of this stage; NULL: at the root, before its consumers
    const Var *at_var; // that loop's variable
};

typedef struct Nest {
    Arena *arena;
    Exprs *x;
    const Formula *f;
    const Profile *profile;
    int nstages;
    NestStage *stage[MAX_STAGES]; // producers first
    Buf log; // the primitives applied so far, one a line: replaying them on the naive nest gives
             // this one
    // attention: built directly from parameters instead of stages (attention.c)
    bool (*direct)(Arena *a, const struct Nest *n, struct Kernel **out, Err *err);
    void *direct_state; // what `set` changes
    size_t direct_size;
} Nest;

Nest *nest_new(Arena *a, const Formula *f, const Profile *p);
Nest *nest_again(const Nest *n); // a naive nest like n, which is naive
// The nest key: hash(profile, naive text, ranges of symbols); and, without those ranges, the key of
// a nest for any number of rows.
u64 nest_key(const Nest *n, u64 *any_rows);
void nest_print(const Nest *n, Buf *out); // loops with their kinds, stages where they are computed

// ---- primitives.c: each checks its legality and returns false with an error id when it would be wrong ----
// Loops are named "stage.loop". Factors are constants >= 1.
bool prim_split(Nest *n, Str loop, i64 factor, Str outer, Str inner,
                Err *e); // loop = outer * factor + inner
bool prim_reorder(Nest *n, Str stage, int count, const Str *loops,
                  Err *e); // the named loops, in this order, in the places they hold now
bool prim_fuse(Nest *n, Str outer, Str inner, Str fused,
               Err *e); // two adjacent loops of one kind of axis
bool prim_bind(Nest *n, Str loop, LoopKind kind, Err *e);
bool prim_vectorise(Nest *n, Str loop, Err *e);
bool prim_unroll(Nest *n, Str loop, Err *e);
bool prim_inline(Nest *n, Str stage, Err *e); // an elementwise stage into all its consumers
bool prim_compute_at(Nest *n, Str stage, Str loop,
                     Err *e); // loop of its only consumer; before the stage's own splits
bool prim_cache_read(Nest *n, Str stage, Str buffer, Str cached,
                     Err *e); // a new elementwise stage that copies what `stage` reads of a buffer
                              // (or the dequantised value of an inlined weight)
bool prim_rfactor(Nest *n, Str loop, Str partial,
                  Err *e); // a reduction loop becomes a spatial axis of a new stage; the old stage
                           // reduces over it
bool prim_factor(Nest *n, Str loop,
                 Err *e); // sum_k0 sum_k1 (d[k0]*q + m[k0])*x = sum_k0 (d * sum_k1 q*x + m * sum_k1
                          // x): what does not depend on the inner reduction loop is taken out of it
bool prim_guard(Nest *n, Str stage, Str axis, Err *e); // an axis, or a reduction axis
bool prim_dot(Nest *n, Str loop, Err *e);              // bytes.c: four products of bytes at a time
bool prim_pairs(Nest *n, Str loop, Err *e);            // two products in one of whole words
bool prim_half(Nest *n, Str stage, Err *e);            // workgroup memory of 16-bit floats
bool prim_set(Nest *n, Str key, i64 value, Err *e);    // a parameter of a directly built nest
NestStage *nest_stage(const Nest *n, Str name);        // NULL: none

// schedule.c -- schedule text: one primitive a line, `#` comments, and rule calls `rule{a=1,b=2}`
bool schedule_apply(Nest *n, Str text, Str file, Err *err);
// A .hsch file: sections `kernel NAME:` each with a schedule. The section for a name, or empty.
bool schedule_head(Str line, Str *kernel); // is it the line `kernel NAME:`?
Str schedule_section(Str file_text, Str kernel);

// ---- build.c: nest -> kernel --------------------------------------------------------------------
typedef enum StmtKind {
    ST_FOR,
    ST_LET,
    ST_STORE,
    ST_IF,
    ST_ALLOC,
    ST_BARRIER,
    ST_FETCH // what will be read soon: a hint, which changes no value
} StmtKind;  // ORDER STMT

typedef struct Stmt Stmt;
typedef struct Block {
    Stmt **at;
    size_t n, cap;
} Block;
struct Stmt {
    StmtKind kind;
    LoopKind loop;                    // FOR
    Var *var;                         // FOR, LET
    const Expr *extent;               // FOR: runs 0 .. extent-1; WG/THREAD: the number bound
    const Expr *value;                // LET, STORE
    const Expr *cond;                 // IF
    const Buffer *buf;                // STORE, ALLOC (SHARED or REG), FETCH (an argument)
    const Expr *idx[BUFFER_MAX_DIMS]; // STORE, FETCH
    Block body;                       // FOR, IF
};

struct Kernel {
    Str name;
    Exprs *x;
    int nargs;
    const Buffer *arg[8]; // dims are the declared extents; `written` tells read_write
    int nsyms;
    struct {
        const Var *var;
        int word;
    } sym[4]; // let-bound on entry: sym = params[word]; params is the arg named "params"
    int ndims;
    const Var *dim[STEP_MAX_DIMS];
    u32 wg[3];           // threads of a workgroup: THREAD_X (or LANE), THREAD_Y; 1,1,1 for CPU
    const Expr *grid[3]; // workgroups; CPU: grid[0] is the extent of the outermost CPU loop
    bool subgroups;      // uses subgroup operations
    Block body;
};

bool nest_build(Arena *a, const Nest *n, Kernel **out, Err *err);
// The passes that nest_build runs on the statements, in order; each a file:
void kernel_unroll(
    Arena *a,
    Kernel *k); // unroll.c: LOOP_UNROLL expanded, extent-1 loops dropped, indices simplified
void kernel_join_lanes(Arena *a, Kernel *k); // join_lanes.c: neighbouring lane loops become one
// fields.c: x * f32(w >> 8 & 15) becomes (x * 2^-8) * f32(w & 3840)
void kernel_fields(Arena *a, Kernel *k, const Profile *p);
// share_loads.c: what all threads would load alike, the lanes of a subgroup load between them
void kernel_share_loads(Arena *a, Kernel *k, const Profile *p);
void kernel_legalise(Kernel *k,
                     const Profile *p); // legalise.c: exp, sin2pi, cos2pi become polynomials
void kernel_hoist(Arena *a,
                  Kernel *k); // hoist.c: common subexpressions and loop invariants become lets
void kernel_passes(Arena *a, Kernel *k, const Profile *p); // build.c: all of them

Stmt *stmt_new(Arena *a, Block *into, StmtKind k);

// ---- attention.c --------------------------------------------------------------------------------
// On-line softmax over the cache, grouped heads. See its header comment for arguments and
// schedules. (declared with the graph's lowering in lower.h)

// ---- verify.c: types, bounds by intervals (under guards), barrier uniformity, workgroup memory, bindings, grid ----
// The most workgroups that one dimension of its grid may have: in x those that can be folded into
// y, where y is always 1 (grid_most).
i64 kernel_grid_most(const Kernel *k, const Profile *p, int dim);
bool kernel_verify(const Kernel *k, const Profile *p, Err *err);

// ---- print.c, read.c: the text form -------------------------------------------------------------
void kernel_print(const Kernel *k, Buf *out);
Kernel *kernel_read(Arena *a, Str text, Str file, Err *err);

// ---- interp.c: the referee (b): lockstep threads of each workgroup, poisoned memory, races, bounds, barriers ----
typedef struct InterpArg {
    void *data;
    u64 elems; // 4-byte elements
} InterpArg;
typedef struct InterpOptions {
    bool check;     // poison, race and bounds checks; off: plain evaluation, the CPU's slow path
    u64 fuel;       // 0: none; steps (statements times threads) before ERR_INTERP_FUEL
    u32 grid_begin; // CPU: first iteration of the outermost loop
} InterpOptions;
// grid: workgroups in x, y, z (CPU: the range [begin, end) of the outermost loop is
// begin=grid_begin, end=grid[0]).
bool kernel_interp(Arena *scratch, const Kernel *k, const InterpArg *args, const i32 *dims,
                   const u32 grid[3], const InterpOptions *o, Err *err);

// ---- rules.c: expert knowledge; one row a rule --------------------------------------------------
enum { RULE_MAX_PARAMS = 7 };
typedef struct RuleParam {
    const char *name;
    i64 values[8];
    int n;
} RuleParam; // the legal values; values[0] is the default
typedef struct Rule {
    const char *name; // matmul_row, matmul_rows, row_reduce, elementwise, gather, attention, ...
    bool (*match)(const Nest *n);
    // Schedules this naive nest for its profile with these parameters; its log is then the schedule
    // text, replayable by schedule_apply.
    bool (*apply)(Nest *n, const i64 *params, Err *err);
    // Parameters chosen from the profile, over the defaults; NULL: the defaults.
    void (*choose)(const Nest *n, i64 *params);
    RuleParam param[RULE_MAX_PARAMS]; // ends with a NULL name
} Rule;
const Rule *rule_named(Str name); // NULL: none
void rule_defaults(const Rule *r, const Nest *n,
                   i64 *params);     // defaults, then what the profile says
const Rule *rule_for(const Nest *n); // the first that matches; the last row matches everything
bool rule_apply(Nest *n, Err *err); // its rule, on a naive nest, parameters chosen from the profile
bool rule_text(const Nest *n, Str *out, Err *err); // the text that would be logged then

#endif
