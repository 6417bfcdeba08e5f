// The printers' text, exactly: tests/golden/emit/NAME.hir printed beside it as NAME.c.txt or
// NAME.wgsl, by what its loops are bound to. HOB_ACCEPT=1 writes them anew. The C of them is
// compiled and run against the interpreter.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <dlfcn.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>
#include "emit/emit.h"

#define FOLDER "tests/golden/emit/"

typedef void (*Fn)(void *const *arg, const i32 *dims, i32 begin, i32 end);

static const char *const on_cpu[] = {"dequant_row", "lanes",  "registers",
                                     "integers",    "widths", "signs"};
static const char *const on_gpu[] = {"tile", "subgroup", "borders", "folded"};

static Str file_text(Arena *a, const char *path) {
    FILE *f = fopen(path, "rb");
    if (!f) return (Str){NULL, 0};
    char *p = arena_alloc(a, 1 << 18);
    size_t n = fread(p, 1, 1 << 18, f);
    fclose(f);
    return (Str){p, n};
}

static Kernel *load(Arena *a, const char *name, const Profile *p) {
    char path[200];
    Err e = {0};
    snprintf(path, sizeof path, FOLDER "%s.hir", name);
    Kernel *k = kernel_read(a, file_text(a, path), str_c(path), &e);
    if (!k || !kernel_verify(k, p, &e)) {
        char room[600];
        Buf b = {.ptr = room, .cap = sizeof room};
        err_print(&e, &b);
        fail_msg("%s", room);
    }
    return k;
}

static void compare(const char *name, const Dialect *d, const char *profile, const char *end) {
    Arena *a = arena_new(NULL);
    Profile p;
    Err e = {0};
    assert_true(profile_named(str_c(profile), &p));
    if (p.gpu) p.subgroup = 4;
    Kernel *k = load(a, name, &p);
    Buf got = {.arena = a};
    if (!emit_kernel(d, k, &p, &got, &e)) fail_msg("%s: %s", name, e.msg);
    char path[200];
    snprintf(path, sizeof path, FOLDER "%s.%s", name, end);
    if (getenv("HOB_ACCEPT")) {
        FILE *f = fopen(path, "wb");
        assert_non_null(f);
        fwrite(got.ptr, 1, got.len, f);
        fclose(f);
    }
    Str want = file_text(a, path);
    if (!str_eq(buf_str(&got), want)) {
        size_t i = 0, line = 1;
        while (i < want.len && i < got.len && got.ptr[i] == want.ptr[i])
            line += want.ptr[i++] == '\n';
        fail_msg("%s:%d differs; look at it, then HOB_ACCEPT=1 writes it anew\n%s", path, (int)line,
                 got.ptr);
    }
    arena_free(a);
}

static void c_text_is_as_accepted(void **s) {
    (void)s;
    for (size_t i = 0; i < COUNT_OF(on_cpu); i++) compare(on_cpu[i], &dialect_c, "cpu", "c.txt");
}

static void wgsl_text_is_as_accepted(void **s) {
    (void)s;
    for (size_t i = 0; i < COUNT_OF(on_gpu); i++) compare(on_gpu[i], &dialect_wgsl, "gpu", "wgsl");
}

// ---- run ----------------------------------------------------------------------------------------
static u64 seed = 7;
static u32 rnd(void) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (u32)(seed >> 33);
}

static bool close_to(const Buffer *b, u32 x, u32 y) {
    if (b->type != TY_F32) return x == y;
    float f = bits_f32(x), g = bits_f32(y);
    return f == g || fabs((double)f - g) <= 1e-4 * fmax(1, fabs((double)g));
}

static void run_all(const char *profile, const char *flags) {
    Arena *a = arena_new(NULL);
    Profile p;
    Buf text = {.arena = a};
    Kernel *k[COUNT_OF(on_cpu)];
    assert_true(profile_named(str_c(profile), &p));
    emit_prelude(&dialect_c, &p, &text);
    for (size_t i = 0; i < COUNT_OF(on_cpu); i++) {
        Err e = {0};
        k[i] = load(a, on_cpu[i], &p);
        if (!emit_kernel(&dialect_c, k[i], &p, &text, &e)) fail_msg("%s: %s", on_cpu[i], e.msg);
    }
    char dir[] = "/tmp/hob-golden-XXXXXX", file[64], so[64], cmd[600];
    assert_non_null(mkdtemp(dir));
    snprintf(file, sizeof file, "%s/k.c", dir);
    snprintf(so, sizeof so, "%s/k.so", dir);
    FILE *f = fopen(file, "w");
    fwrite(text.ptr, 1, text.len, f);
    fclose(f);
    snprintf(cmd, sizeof cmd,
             "%s -std=c11 -Wall -Wextra -Wno-psabi -Wno-unused -O1 -fno-math-errno %s -fPIC "
             "-shared -o %s %s -lm",
             getenv("CC") ? getenv("CC") : "cc", flags, so, file);
    if (system(cmd)) fail_msg("did not compile: %s", cmd);
    void *lib = dlopen(so, RTLD_NOW | RTLD_LOCAL);
    if (!lib) fail_msg("%s", dlerror());
    for (size_t i = 0; i < COUNT_OF(on_cpu); i++) {
        InterpArg want[8], got[8];
        void *arg[8], *sym = dlsym(lib, on_cpu[i]);
        i32 dims[1] = {24};
        Fn fn;
        assert_non_null(sym);
        memcpy(&fn, &sym, sizeof fn);
        for (int j = 0; j < k[i]->nargs; j++) {
            const Buffer *b = k[i]->arg[j];
            i64 n = 1, d;
            for (int q = 0; q < b->nd; q++) n *= expr_is_int(b->dims[q], &d) ? d : dims[0];
            u32 *w = arena_alloc(a, (size_t)n * 4), *g = arena_alloc(a, (size_t)n * 4);
            for (i64 q = 0; q < n; q++) {
                if (b->type == TY_F32)
                    w[q] = b->written ? 0 : f32_bits((float)((i32)(rnd() % 2001) - 1000) / 256);
                else if (b->type == TY_I32)
                    w[q] = b->written ? 0 : (u32)(b->lo + (i64)rnd() % (b->hi - b->lo + 1));
                else
                    w[q] = rnd() * 2654435761u & 0xbfffbfff;             // both halves finite
                if (b->type == TY_U32 && q % 5 == 0) w[q] &= 0x83ff83ff; // subnormal halves
                g[q] = w[q];
            }
            want[j] = (InterpArg){w, (u64)n};
            got[j] = (InterpArg){g, (u64)n};
            arg[j] = g;
        }
        i64 iterations = 0;
        Err e = {0};
        assert_true(expr_is_int(k[i]->grid[0], &iterations));
        u32 grid[3] = {(u32)iterations, 1, 1};
        InterpOptions o = {0};
        if (!kernel_interp(a, k[i], want, dims, grid, &o, &e)) fail_msg("%s: %s", on_cpu[i], e.msg);
        fn(arg, dims, 0, 1);
        fn(arg, dims, 1, (i32)iterations);
        for (int j = 0; j < k[i]->nargs; j++)
            for (u64 q = 0; q < want[j].elems; q++) {
                u32 g = ((u32 *)got[j].data)[q], w = ((u32 *)want[j].data)[q];
                if (!close_to(k[i]->arg[j], g, w))
                    fail_msg("%s %s: %s[%d] is %08x (%g), not %08x (%g)", on_cpu[i], profile,
                             k[i]->arg[j]->name, (int)q, g, (double)bits_f32(g), w,
                             (double)bits_f32(w));
            }
    }
    dlclose(lib);
    unlink(so), unlink(file), rmdir(dir);
    arena_free(a);
}

// More workgroups than a device takes in x: the kernel's numbers are the same, however they come.
static void a_folded_grid_reaches_every_output(void **s) {
    (void)s;
    enum { N = 70001 * 4 - 1 };
    Arena *a = arena_new(NULL);
    Profile p;
    Err e = {0};
    assert_true(profile_named(S("gpu"), &p));
    Kernel *k = load(a, "folded", &p);
    i32 *y = arena_alloc(a, N * 4), params[16] = {1};
    InterpArg arg[2] = {{y, N}, {params, 16}};
    memset(y, 0xff, N * 4);
    InterpOptions o = {.check = true};
    if (!kernel_interp(a, k, arg, NULL, (u32[]){70001, 1, 1}, &o, &e)) fail_msg("%s", e.msg);
    for (i32 i = 0; i < N; i++) assert_int_equal(y[i], i);
    arena_free(a);
}

static void printed_c_does_what_the_interpreter_does(void **s) {
    (void)s;
    run_all("cpu", "");
    run_all("cpu4", "");
    __builtin_cpu_init();
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("f16c"))
        run_all("cpu", "-mavx2 -mfma -mf16c");
}

static void c_refuses_workgroups_and_wgsl_refuses_cpu_loops(void **s) {
    (void)s;
    Arena *a = arena_new(NULL);
    Profile p;
    assert_true(profile_named(S("gpu"), &p));
    p.subgroup = 4;
    Kernel *k = load(a, "tile", &p);
    Err e = {0};
    Buf b = {.arena = a};
    assert_false(emit_kernel(&dialect_c, k, &p, &b, &e));
    assert_int_equal(e.id, ERR_EMIT_LOOP);
    assert_true(profile_named(S("cpu"), &p));
    k = load(a, "lanes", &p);
    e = (Err){0};
    assert_false(emit_kernel(&dialect_wgsl, k, &p, &b, &e));
    assert_int_equal(e.id, ERR_EMIT_LOOP);
    arena_free(a);
}

// Taken apart by the simplifier, each step of the chain reads the step before twice.
static void what_is_shared_too_deep_is_refused(void **s) {
    (void)s;
    Arena *a = arena_new(NULL);
    Buf chain = {.arena = a}, text = {.arena = a};
    enum { DEPTH = 60 };
    for (int i = 0; i < DEPTH; i++) buf_char(&chain, '(');
    buf_add(&chain, S("35*k"));
    for (int i = 0; i < DEPTH; i++) buf_add(&chain, S(")//9%23*(k*k + 3)"));
    buf_fmt(&text,
            "kernel deep\n  sym n: 1..8 = params[0]\n  arg y: f32[64] written\n"
            "  arg params: i32[16]\n  for k in 0..n {\n    y[(%S)%%64] = 0x1p+0f\n  }\n",
            buf_str(&chain));
    static const char *const profiles[] = {"cpu", "gpu"};
    for (int i = 0; i < 2; i++) {
        Err e = {0};
        Profile p;
        Buf b = {.arena = a};
        profile_named(str_c(profiles[i]), &p);
        Kernel *k = kernel_read(a, buf_str(&text), S("deep.hir"), &e);
        assert_non_null(k);
        assert_false(emit_kernel(i ? &dialect_wgsl : &dialect_c, k, &p, &b, &e));
        assert_int_equal(e.id, ERR_EMIT_LIMIT);
    }
    arena_free(a);
}

static void menu_is_sorted_and_prints_a_nest_once(void **s) {
    (void)s;
    Arena *a = arena_new(NULL);
    Profile p;
    Err e = {0};
    Buf b = {.arena = a};
    assert_true(profile_named(S("cpu"), &p));
    EmitMenu *m = emit_menu_begin(a, &p, S("plain"), &b);
    Kernel *k = load(a, "lanes", &p);
    assert_true(emit_menu_row(m, 9, k, &e));
    assert_true(emit_menu_row(m, 0xf0000000000000ff, k, &e));
    assert_true(emit_menu_row(m, 3, k, &e));
    assert_true(emit_menu_row(m, 9, k, &e));
    emit_menu_end(m);
    Str t = buf_str(&b);
    assert_true(str_has(t, S("{0x0000000000000003ull, lanes_2, \"lanes\"},\n    "
                             "{0x0000000000000009ull, lanes_0, \"lanes\"},\n"
                             "    {0xf0000000000000ffull, lanes_1, \"lanes\"},\n")));
    assert_true(str_has(t, S("hob_kernels_plain_count = 3;")));
    assert_false(str_has(t, S("lanes_3")));
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(c_text_is_as_accepted),
        cmocka_unit_test(wgsl_text_is_as_accepted),
        cmocka_unit_test(a_folded_grid_reaches_every_output),
        cmocka_unit_test(printed_c_does_what_the_interpreter_does),
        cmocka_unit_test(c_refuses_workgroups_and_wgsl_refuses_cpu_loops),
        cmocka_unit_test(what_is_shared_too_deep_is_refused),
        cmocka_unit_test(menu_is_sorted_and_prints_a_nest_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
