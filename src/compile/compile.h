// compile/compile.h: the driver: graph + device profile -> program.
#ifndef HOB_COMPILE_H
#define HOB_COMPILE_H

#include "loop/lower.h"
#include "model/model.h"
#include "emit/emit.h"

typedef struct CompileOptions {
    const Profile *profile;
    const Dialect *dialect; // NULL: cpu menu (text is not printed)
    Str graph_text, graph_file;       // --graph: replaces the built graph
    Str schedule_text, schedule_file; // --schedule: overrides by kernel name
    Str dump_pass;                    // --dump PASS: its output is printed to dump
    Buf *dump;
    Str walk_tensor;                  // --walk TENSOR: the stages of the step that reads it, printed to dump
    int regimes;                      // bit set of regimes whose kernels are printed now; 0: all
} CompileOptions;

bool compile_program(Arena *a, const Graph *g, const CompileOptions *o, Program **out, Err *err);

#endif
