// loop/loop_int.h: what the files of loop/ share and nobody else needs.
#ifndef HOB_LOOP_INT_H
#define HOB_LOOP_INT_H

#include "loop/loop.h"

// A page's schedules are the compiler's own or were found there: nobody edits their text, and what
// was wrong with one is said by the id.
#if defined(HOB_PAGE)
#define err_set(e, id, ...) err_set(e, id, "no schedule of it fits this device; use the CPU")
#endif

// nest.c
void nest_stage_init(Nest *n, NestStage *s, const Stage *def);
const Expr *nest_axis(const Nest *n, const NestStage *s, int i); // origin + loops: the axis' value
const char *loop_kind_name(LoopKind k);
bool loop_kind_named(Str name, LoopKind *out);
static inline bool loop_is_wg(LoopKind k) { return k >= LOOP_WG_X && k <= LOOP_WG_Z; }
static inline bool loop_is_thread(LoopKind k) { return k >= LOOP_THREAD_X && k <= LOOP_LANE; }
// 0 for x (threads and lanes), 1 for y
static inline int loop_thread_dim(LoopKind k) { return k == LOOP_THREAD_Y; }

// primitives.c
void nest_log(Nest *n, const char *fmt, ...);             // one line of the log
NestStage *nest_loop(Nest *n, Str name, int *at, Err *e); // "stage.loop"

// stages.c; new_stages.c makes more of them
int stage_reads(NestStage *s, const Buffer *b, const Expr **out,
                int max); // its distinct loads of b; -1: more than max
void stage_rewrite(NestStage *s, Exprs *x, ExprMap fn, void *user); // all expressions of a stage
// Puts p's computation into c's loop `at`, and shrinks it to what an iteration reads.
bool stage_place(Nest *n, NestStage *p, NestStage *c, int at, Err *e);
const Expr *stage_in_loops(const Nest *n, const NestStage *c,
                           const Expr *e); // axes replaced by their loops' expressions

Buffer *stage_temp(Nest *n, const char *name, Type t, int nax, const Axis *ax);
// A stage as it is without its reduction loop `at`: it reduces over the other reduction loops, each
// an axis of its own (old: its loop's variable, neu: the axis). The body is the caller's to set.
typedef struct WithoutLoop {
    Stage def;
    NestLoop loop[MAX_LOOPS];
    int nloops, n;
    const Expr *red_of[MAX_AXES];
    const Var *old[MAX_LOOPS];
    const Expr *neu[MAX_LOOPS];
} WithoutLoop;
bool stage_divides(const NestStage *p, Err *e); // every split of its reductions does
bool stage_without_loop(Nest *n, const NestStage *p, int at, WithoutLoop *w, Err *e);
void stage_take(NestStage *p, const WithoutLoop *w);
// A reduction's body over its loops instead of its reduction axes.
const Expr *stage_body_in_loops(const Nest *n, const NestStage *p);

// attention.c: parameters of its directly built nest
bool attention_set(Nest *n, Str key, i64 value, Err *e);

// factor.c: e as a sum of terms c * v, c free of `var`, v depending on it (NULL: 1). At most `max`
// terms; -1: too many.
typedef struct Term {
    const Expr *c, *v;
} Term;
int factor_terms(Exprs *x, const Expr *e, const Var *var, Term *out, int max);

// The identity of a reduction, in the body's type.
const Expr *reduce_identity(Exprs *x, ReduceOp op, Type t);
ExprOp reduce_op(ReduceOp op);

// Extent as a constant; false when symbolic.
static inline bool extent_const(const Expr *e, i64 *v) { return expr_is_int(e, v); }

#endif
