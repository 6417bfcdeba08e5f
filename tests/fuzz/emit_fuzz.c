// tests/fuzz/emit_fuzz.c: any text as a kernel; what the verifier passes is printed in every
// language, or refused.
#include "emit/emit.h"

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    static const char *const profiles[] = {"cpu", "cpu4", "software", "gpu", "cpu16"};
    for (size_t i = 0; i < COUNT_OF(profiles); i++) {
        Arena *a = arena_new(NULL);
        Err e = {0};
        Profile p;
        must(profile_named(str_c(profiles[i]), &p));
        p.subgroup = i == 3 ? 4 : 0;
        Kernel *k = kernel_read(a, (Str){(const char *)data, size}, S("fuzz"), &e);
        if (k && kernel_verify(k, &p, &e)) {
            Buf b = {.arena = a, .limit = 1 << 20};
            if (!emit_kernel(p.gpu ? &dialect_wgsl : &dialect_c, k, &p, &b, &e))
                must(e.id != ERR_NONE);
        }
        arena_free(a);
    }
    return 0;
}
