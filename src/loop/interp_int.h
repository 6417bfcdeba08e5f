// loop/interp_int.h: a kernel flattened for the interpreter. interp_code.c makes it, interp.c runs
// it.
//
// A slot is a column: one 32-bit value for each thread of the workgroup. Constants and variables
// have slots of their own for the whole kernel; the values inside one statement share a pool of
// temporary slots.
#ifndef HOB_LOOP_INTERP_INT_H
#define HOB_LOOP_INTERP_INT_H

#include "loop/loop.h"

enum { SLOT_TEMP = 1u << 31, SLOT_NONE = 0 }; // slot 0 is never a result

typedef struct Insn {
    u8 op, type, arg_type,
        n;     // type: of the result; arg_type: of the first argument; n: arguments or indices
    u16 lanes; // subgroup operations: lanes of a subgroup
    u32 dst, a[BUFFER_MAX_DIMS];
    u32 buf; // LOAD
} Insn;

typedef struct Code {
    VEC(Insn) insn;
} Code;

typedef struct Flat Flat;
typedef struct FlatBlock {
    Flat *at;
    size_t n;
} FlatBlock;
struct Flat {
    const Stmt *s;
    Code code;
    u32 var;   // FOR, LET
    u32 value; // FOR: extent; LET, STORE: value; IF: condition
    u32 idx[BUFFER_MAX_DIMS];
    u32 buf;  // STORE, ALLOC
    u8 *mask; // FOR, IF: threads active in the body
    FlatBlock body;
};

typedef struct FlatBuf {
    const Buffer *b;
    u32 dim[BUFFER_MAX_DIMS]; // slots, ARG only
} FlatBuf;

typedef struct FlatKernel {
    u32 nperm, ntemp;   // slots; 0 is unused
    u32 threads, lanes; // lanes: extent of the lane loops, 0 without any
    bool cpu;           // has a CPU loop
    Code prologue;      // extents of the arguments
    FlatBlock body;
    VEC(FlatBuf) buf;
    VEC(u32) const_slot;
    VEC(u32) const_bits;
    u32 sym[4], dim[STEP_MAX_DIMS]; // slots
} FlatKernel;

// false: the kernel uses a name that is not in scope, or a subgroup operation outside a lane loop.
bool interp_flatten(Arena *a, const Kernel *k, FlatKernel *out, Err *err);

#endif
