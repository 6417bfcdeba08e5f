// device/kernels.c: the kernels printed at build time, one table an instruction set, and the choice
// at start.
//
// A build without the printer (and the page, whose kernels are a module of their own) has no table
// here; then kernels run in the interpreter, or are what kernels_register() was given.
#include "device/device.h"
#if defined(__aarch64__) && defined(__linux__)
#include <sys/auxv.h>
#endif

#if defined(HOB_KERNELS)
#define TABLE(isa)                                                                                 \
    extern const KernelEntry hob_kernels_##isa[];                                                  \
    extern const u32 hob_kernels_##isa##_count;
TABLE(plain)
#if defined(HOB_PLAIN) // nothing else, to be built in half a minute
#elif defined(__x86_64__)
TABLE(avx2)
TABLE(avx512)
#elif defined(__aarch64__)
TABLE(neon)
TABLE(neon_dot)
#endif
#undef TABLE
#endif

static KernelFn find_in(const KernelTable *t, u64 nest_key) {
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

KernelFn kernel_find(const KernelTables *t, u64 nest_key) {
    KernelFn fn = NULL;
    for (int i = 0; i < t->n && !fn; i++) fn = find_in(&t->at[i], nest_key);
    return fn;
}

#if defined(HOB_KERNELS)
#if defined(__aarch64__) && !defined(HOB_PLAIN)
// Does the processor multiply bytes and add them by fours?
static bool neon_dots(void) {
#if defined(__linux__)
    enum { ASIMDDP = 1 << 20 }; // of <asm/hwcap.h>, which not every libc brings
    return getauxval(AT_HWCAP) & ASIMDDP;
#else
    return true; // Apple's all do
#endif
}
#endif

KernelTables cpu_kernels(void) {
    KernelTables t = {0};
#define TABLE(isa, profile)                                                                        \
    t.at[t.n++] = (KernelTable) { hob_kernels_##isa, hob_kernels_##isa##_count, #isa, profile }
#if defined(HOB_PLAIN)
#elif defined(__x86_64__)
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("f16c");
    bool avx512 = __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
                  __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
    if (avx2 && avx512) TABLE(avx512, "cpu16");
    if (avx2) TABLE(avx2, "cpu");
#elif defined(__aarch64__)
    if (neon_dots()) TABLE(neon_dot, "cpu4");
    TABLE(neon, "cpu4");
#endif
    TABLE(plain, "cpu4");
#undef TABLE
    return t;
}
#elif !defined(__wasm__)
KernelTables cpu_kernels(void) { return (KernelTables){{{NULL, 0, "plain", "cpu"}}, 1}; }
#endif
