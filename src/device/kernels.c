// device/kernels.c: the kernels printed at build time, one table an instruction set, and the choice
// at start.
//
// A build without the printer (and the page, whose kernels are a module of their own) has no table
// here; then kernels run in the interpreter, or are what kernels_register() was given.
#include "device/device.h"

#if defined(HOB_KERNELS)
extern const KernelEntry hob_kernels_plain[];
extern const u32 hob_kernels_plain_count;
#if defined(__x86_64__)
extern const KernelEntry hob_kernels_avx2[];
extern const u32 hob_kernels_avx2_count;
#endif
#endif

KernelFn kernel_find(const KernelTable *t, u64 nest_key) {
    u32 lo = 0, hi = t->n;
    while (lo < hi) {
        u32 mid = lo + (hi - lo) / 2;
        if (t->at[mid].nest_key < nest_key)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo < t->n && t->at[lo].nest_key == nest_key ? t->at[lo].fn : NULL;
}

#if defined(HOB_KERNELS)
KernelTable cpu_kernels(void) {
#if defined(__x86_64__)
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
        __builtin_cpu_supports("f16c"))
        return (KernelTable){hob_kernels_avx2, hob_kernels_avx2_count, "avx2"};
#endif
    return (KernelTable){hob_kernels_plain, hob_kernels_plain_count, "plain"};
}
#elif !defined(__wasm__)
KernelTable cpu_kernels(void) { return (KernelTable){NULL, 0, "plain"}; }
#endif
