// tune/tune.h: what needs both wings: kernels run by the interpreter, and the check of each kernel
// on the real device.
#ifndef HOB_TUNE_H
#define HOB_TUNE_H

#include "compile/compile.h"
#include "engine/engine.h"

// interp_step.c: the cpu device's InterpFn
bool tune_interp(void *user, Arena *scratch, const ProgKernel *k, void *const *arg,
                 const u64 *bytes, const i32 *dims, const u32 grid[3], Err *err);

// selfcheck.c: the engine's check_kernel; user is a Checker. On the device that answers at once or
// later alike.
typedef struct Checker Checker;
Checker *checker_new(Arena *a);
void checker_free(Checker *c); // NULL is fine
EngineState tune_check_kernel(void *checker, const Engine *e, int regime, u32 step, Err *err);
typedef struct CheckStats {
    u32 kernels, outputs;
    double worst; // largest error relative to max(1, |value|)
    double ms;
} CheckStats;
const CheckStats *checker_stats(const Checker *c);

// check_data.c: pseudo-random words for a kernel's argument, each a function of its index alone
typedef struct CheckArg {
    const Buffer *buf;
    const Weight *weight; // of a weight's words, else NULL
    u64 plane1;           // where its second plane begins
    const u32 *given;     // constants and parameters: the words themselves
    u64 words;
    u64 seed;
} CheckArg;
u32 check_word(const CheckArg *a, u64 i);

#endif
