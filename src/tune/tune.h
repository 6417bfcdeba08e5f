// tune/tune.h: what needs both wings: kernels run by the interpreter, and the check of each kernel on the real device.
#ifndef HOB_TUNE_H
#define HOB_TUNE_H

#include "compile/compile.h"
#include "engine/engine.h"

// interp_step.c: the cpu device's InterpFn
bool tune_interp(void *user, Arena *scratch, const ProgKernel *k, void *const *arg, const u64 *bytes, const i32 *dims,
                 u32 begin, u32 end, Err *err);

#endif
