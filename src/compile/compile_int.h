// compile/compile_int.h: what the files of the driver share.
#ifndef HOB_COMPILE_INT_H
#define HOB_COMPILE_INT_H

#include "compile/compile.h"

typedef struct Made { // a kernel for groups of one signature
    u64 signature;
    int kernel;
    Lowered lowered; // arguments by place in the group it was made from; dims
    GridDim grid[3];
    const Group *group;
    const Graph *graph;
} Made;

typedef struct Compile {
    Arena *arena, *work; // of the program; of one kernel while it is made
    const CompileOptions *o;
    const Profile *p;
    Program *prog;
    Err *err;
    VEC(ProgKernel) kernels;
    VEC(u64) nest_keys; // of each kernel: its nest's, though it may be known by another
    VEC(u64) wide_keys; // of each kernel: its nest for any number of rows, and its schedule
    VEC(ProgBuffer) buffers;
    VEC(Weight) weights;
    VEC(Made) made;
    StrMap *weight_of, *buffer_of, *kernel_names;
    int arena_buffer[8]; // a colour's buffer, -1
} Compile;

// key.c: two groups with the same signature have the same kernel, arguments in the same order and
// the same dims.
u64 group_signature(const Graph *g, const Group *gr, u32 regime_n);
// The k-th tensor that a group touches (operands and result, node by node): how arguments of a
// shared kernel are found.
int group_tensor(const Graph *g, const Group *gr, int k);
int group_place(const Graph *g, const Group *gr, int tensor); // the first k of a tensor, -1

// grid.c: the kernel's grid as numbers of n (or m), with this step's dimensions put in.
bool grid_make(Compile *c, const Kernel *k, const i32 *dims, u32 n_max, GridDim out[3]);

// A page (HOB_PAGE) carries no dumps and reads no edited texts: what it does not carry, nobody has
// to load.
#if defined(HOB_PAGE)
#define TEXTS                      0
#define dump_wanted(c, pass)       ((void)(c), false)
#define dump_graph(c, pass, n, g)  ((void)0)
#define dump_groups(c, n, g, gr)   ((void)0)
#define dump_plan(c, n, plan, k)   ((void)0)
#define dump_kernel(c, l, k)       ((void)0)
#define walk_wanted(c, g, gr)      false
#define walk_print(c, g, gr, s, k) true
#else
#define TEXTS 1
// dump.c
bool dump_wanted(const Compile *c, const char *pass);
void dump_graph(Compile *c, const char *pass, u32 n, const Graph *g);
void dump_groups(Compile *c, u32 n, const Graph *g, const Grouping *gr);
void dump_plan(Compile *c, u32 n, const MemPlan *plan, int steps);
void dump_kernel(Compile *c, const Lowered *l, const ProgKernel *k);
bool walk_wanted(const Compile *c, const Graph *g, const Group *gr);
bool walk_print(Compile *c, const Graph *g, const Group *gr, const Step *s, int step);
#endif

// weights.c: buffers of weights, constants, caches; the binding of any tensor but an activation
u32 buffer_add(Compile *c, Str name, BufferKind kind, u64 size, const void *init);
bool bind_tensor(Compile *c, const Graph *g, int tensor, const MemPlan *plan, Binding *out);
void place_weights(Compile *c);

#endif
