// compile/compile.h: the driver: graph + device profile -> program.
#ifndef HOB_COMPILE_H
#define HOB_COMPILE_H

#include "loop/lower.h"
#include "model/model.h"
#include "emit/emit.h"

typedef struct CompileOptions {
    const Profile *profile;
    const Dialect *dialect;           // NULL: cpu menu (text is not printed)
    Str graph_text, graph_file;       // --graph: replaces the built graph
    Str schedule_text, schedule_file; // --schedule: overrides by kernel name
    Str dump_pass;                    // --dump PASS: its output is printed to dump
    Buf *dump;
    Str walk_tensor; // --walk TENSOR: the stages of the step that reads it, printed to dump
    // Where one kernel at a time is made, if only its text is to be kept: a tenth of the memory,
    // which a browser's page touches for the first time. NULL: the loop IR is kept too.
    Arena *work;
    int regimes; // bit set of regimes to compile; 0: all. A step of a few rows runs as one of many
    u32 few_m;   // rows that get logits in steps of few rows, if more than the graph's m; see
                 // Regime.m
    bool heaviest; // of each regime only the step of a layer that reads most weights, as its first
    bool verify;   // check every graph and kernel on the way; always so with an edited text
    // The schedule that was found best for the nest of this key; empty: its rule's. Not asked for
    // kernels that are made at build time.
    Str (*tuned)(const void *user, u64 nest_key);
    const void *tuned_user;
} CompileOptions;

bool compile_program(Arena *a, const Graph *g, const CompileOptions *o, Program **out, Err *err);

// The same kernel by another schedule, for steps of up to n rows: k must have its naive nest. The
// text is printed where a dialect is given. What is made lives in k's nest's arena too.
bool compile_again(Arena *a, const Program *p, const ProgKernel *k, Str schedule, u32 n,
                   const Dialect *d, ProgKernel *out, GridDim grid[3], Err *err);

// menu.c: the kernels that a build for the CPU carries: every encoding and operator as the passes
// make them with this profile, from small made-up graphs. isa: a row of its table; only: one
// encoding's (empty: all).
bool menu_print(Arena *a, Str isa, Str only, Buf *out, Err *err);

#endif
