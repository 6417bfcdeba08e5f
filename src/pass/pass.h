// pass/pass.h: graph -> graph, once a regime; then groups of nodes become steps and get their
// memory.
#ifndef HOB_PASS_H
#define HOB_PASS_H

#include "graph/graph.h"

typedef struct PassContext {
    Arena *arena;
    const Profile *profile;
    u32 regime_n; // largest n of this regime
    Err *err;
} PassContext;

// Nodes that become one kernel: consecutive in graph order; only the last results leave the group.
typedef struct Group {
    int nnodes;
    int node[8];
    Str name;
    int layer;
    int inplace; // the tensor whose place the result takes (a residual), read and written element
                 // by element; -1
} Group;
typedef struct Grouping {
    int n;
    Group *group;
} Grouping;

typedef struct PassRow {
    const char *name;
    bool (*run)(PassContext *c, Graph *g);
    const char *needs;
} PassRow;
const PassRow *passes(int *count); // fold, join, encodings, pack, parts: in order

// graph_edit.c: what rewriting passes share
// Drops nodes marked dead and tensors that nothing refers to; makes every tensor's `node` true
// again.
void pass_compact(PassContext *c, Graph *g, const bool *dead);
// The node that is the only reader of a tensor, -1 when none or several are.
int pass_only_reader(const Graph *g, int tensor);

bool pass_fold(PassContext *c, Graph *g); // fold.c: equal nodes become one, dead ones go
bool pass_join(PassContext *c, Graph *g); // join.c: q,k,v -> one matmul by row segments +
                                          // rope_append; gate,up woven. Only where encodings agree
bool pass_encodings(
    PassContext *c,
    Graph *g); // encodings.c: execution encoding and layout of each weight, from the profile
bool pass_pack(PassContext *c, Graph *g); // pack.c: 8-bit activations for the matmuls, by profile
bool pass_parts(
    PassContext *c,
    Graph *g); // parts.c: decode attention -> attention_part + attention_join, by profile
bool pass_fuse(PassContext *c, const Graph *g,
               Grouping *out); // fuse.c: candidates by legality and cost -> groups
// plan_memory.c: lifetimes over the groups -> coloured ranges
typedef struct MemPlan {
    int nitems;
    PlanItem *items;
    int *item_of_tensor; // -1: not in the arena
    int ncolours;
    u64 colour_bytes[8];
    u64 arena_bytes, lower_bound_bytes;
} MemPlan;
bool pass_plan_memory(PassContext *c, const Graph *g, const Grouping *gr, MemPlan *out);

#endif
