// tune/interp_step.c: a kernel that was not compiled for this processor runs in the interpreter of
// loop IR.
//
// The run wing knows a kernel's loop IR only as a pointer; here, where both wings meet, it is run.
// Slow, and right.
#include "tune/tune.h"

bool tune_interp(void *user, Arena *scratch, const ProgKernel *k, void *const *arg,
                 const u64 *bytes, const i32 *dims, const u32 grid[3], Err *err) {
    (void)user;
    InterpArg args[STEP_MAX_BINDINGS];
    for (int i = 0; i < k->nbind; i++) args[i] = (InterpArg){arg[i], bytes[i] / 4};
    InterpOptions o = {0};
    return kernel_interp(scratch, k->ir, args, dims, grid, &o, err);
}
