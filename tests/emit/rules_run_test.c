// Kernels of every rule, printed as C, compiled by the machine's compiler and run, equal the
// float64 referee. They run twice: under the sanitizers, whose red zones around each buffer catch a
// lane too far, and as the build compiles them for this machine. HOB_CASES sets how many of each
// rule.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dlfcn.h>
#include <unistd.h>
#include "../loop/cases.h"
#include "emit/emit.h"

typedef void (*Fn)(void *const *arg, const i32 *dims, i32 begin, i32 end);

static void *compile(const char *dir, const char *file, const char *flags) {
    char cmd[800], so[300];
    const char *cc = getenv("CC");
    static int nth;
    snprintf(so, sizeof so, "%s/k%d.so", dir, nth++);
    snprintf(cmd, sizeof cmd,
             "%s -std=c11 -Wall -Wextra -Wno-psabi -Wno-unused-variable -Wno-maybe-uninitialized "
             "-ffp-contract=fast -fno-math-errno %s -fPIC -shared -o %s %s -lm",
             cc ? cc : "cc", flags, so, file);
    if (system(cmd) != 0) fail_msg("did not compile: %s", cmd);
    void *lib = dlopen(so, RTLD_NOW | RTLD_LOCAL);
    if (!lib) fail_msg("%s", dlerror());
    return lib;
}

static void run_profile(const char *profile) {
    const char *env = getenv("HOB_CASES");
    int cases = env ? atoi(env) : 12;
    enum { MOST = 2000 };
    static Case c[MOST];
    static Kernel *k[MOST];
    int n = 0;
    Arena *a = arena_new(NULL);
    Profile p;
    Rng r = {42};
    Buf text = {.arena = a};
    assert_true(profile_named(str_c(profile), &p));
    p.dims = 0;
    emit_prelude(&dialect_c, &p, &text);
    for (int kind = 0; kind < KIND_COUNT; kind++)
        for (int i = 0; i < cases && n < MOST; i++, n++) {
            Err e = {0};
            k[n] = random_kernel(a, &r, kind, &p, &c[n]);
            assert_non_null(k[n]);
            k[n]->name = str_fmt(a, "k%d", n);
            if (!emit_kernel(&dialect_c, k[n], &p, &text, &e)) fail_msg("%s: %s", c[n].what, e.msg);
        }
    char dir[] = "/tmp/hob-emit-XXXXXX", file[64];
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/k.c", dir);
    FILE *f = fopen(file, "w");
    fwrite(text.ptr, 1, text.len, f);
    fclose(f);
    __builtin_cpu_init();
    bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") &&
                __builtin_cpu_supports("f16c");
    bool avx512 = avx2 && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
                  __builtin_cpu_supports("avx512vnni");
    // vectors that the machine lacks take a compiler five times as long, and no build has them
    const char *isa =
        p.vec == 16 && avx512
            ? "-mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vnni"
        : p.vec == 8 && avx2 ? "-mavx2 -mfma -mf16c"
                             : "";
    const char *const ways[] = {
#ifdef __SANITIZE_ADDRESS__
        "-O0 -fsanitize=address,undefined -fno-sanitize-recover=undefined",
#endif
        "-O1"};
    for (size_t pass = 0; pass < COUNT_OF(ways); pass++) {
        char flags[200];
        snprintf(flags, sizeof flags, "%s %s", ways[pass], isa);
        void *lib = compile(dir, file, flags);
        for (int i = 0; i < n; i++) {
            char name[16];
            snprintf(name, sizeof name, "k%d", i);
            Fn fn;
            void *sym = dlsym(lib, name), *arg[8];
            assert_non_null(sym);
            memcpy(&fn, &sym, sizeof fn);
            for (int j = 0; j < c[i].f->nargs; j++) arg[j] = c[i].data[j].data;
            u32 grid[3];
            case_clear(&c[i]);
            case_grid(&c[i], k[i], grid);
            i32 cut = (i32)(rnd(&r) % (grid[0] + 1)); // two threads' shares
            if (getenv("HOB_SHOW")) fprintf(stderr, "%s %s\n", name, c[i].what);
            fn(arg, c[i].dims, 0, cut);
            fn(arg, c[i].dims, cut, (i32)grid[0]);
            double err = case_error(&c[i], &r, 60);
            if (!(err >= 0 && err < 2e-4))
                fail_msg("%s in %s, %s: off by %g", name, file, c[i].what, err);
        }
        dlclose(lib);
    }
    char rm[64];
    snprintf(rm, sizeof rm, "rm -r %s", dir);
    assert_int_equal(system(rm), 0);
    arena_free(a);
}

static void printed_c_of_eight_lanes_equals_the_formula(void **s) { (void)s, run_profile("cpu"); }
static void printed_c_of_four_lanes_equals_the_formula(void **s) { (void)s, run_profile("cpu4"); }

static void printed_c_of_sixteen_lanes_equals_the_formula(void **s) {
    (void)s, run_profile("cpu16");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(printed_c_of_eight_lanes_equals_the_formula),
        cmocka_unit_test(printed_c_of_four_lanes_equals_the_formula),
        cmocka_unit_test(printed_c_of_sixteen_lanes_equals_the_formula),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
