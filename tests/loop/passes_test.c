// tests/loop/passes_test.c: unroll, legalise and hoist keep a kernel's meaning, keep it provable,
// and do what they are for.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "loop/loop.h"

typedef struct Test {
    Arena *a;
    Kernel *k;
    Buf text;
} Test;

static void show(Test *t) {
    t->text = (Buf){.arena = t->a};
    kernel_print(t->k, &t->text);
}

static Test start(const char *text) {
    Test t = {.a = arena_new(NULL)};
    Err err = {0};
    t.k = kernel_read(t.a, str_c(text), S("t.hir"), &err);
    if (!t.k) print_message("%d:%d %s\n", err.line, err.col, err.msg);
    assert_non_null(t.k);
    return t;
}

static bool has(const Test *t, const char *part) {
    if (str_has(buf_str(&t->text), str_c(part))) return true;
    print_message("no `%s` in\n%s", part, t->text.ptr);
    return false;
}

static int count(const Test *t, const char *part) {
    int n = 0;
    for (const char *p = t->text.ptr; (p = strstr(p, part)); p++) n++;
    return n;
}

static void verify(const Test *t) {
    Profile p = {.name = S("test")};
    p.gpu = t->k->wg[0] > 1;
    p.max_wg_size = 256;
    p.shared_bytes = 4096;
    p.max_bindings = 8;
    p.max_grid = 65535;
    p.subgroup = t->k->subgroups ? 4 : 0;
    Err err = {0};
    if (!kernel_verify(t->k, &p, &err)) print_message("%s\n%s", err.msg, t->text.ptr);
    assert_int_equal(err.id, ERR_NONE);
}

// Runs x: 512 floats, w: 512 words, params: 16 words -> y: 512 floats.
static void run(const Test *t, float *y) {
    static float x[512];
    static u32 w[512];
    i32 params[16] = {3, 2, 1};
    for (u32 i = 0; i < 512; i++) {
        x[i] = (float)(i * 37 % 101) / 16 - 3;
        w[i] = i * 2654435761u;
        y[i] = -1;
    }
    InterpArg args[8];
    for (int i = 0; i < t->k->nargs; i++) {
        char n = t->k->arg[i]->name[0];
        args[i] = n == 'x'   ? (InterpArg){x, 512}
                  : n == 'y' ? (InterpArg){y, 512}
                  : n == 'w' ? (InterpArg){w, 512}
                             : (InterpArg){params, 16};
    }
    Err err = {0};
    InterpOptions o = {.check = true};
    bool many = t->k->grid[0] != NULL;
    bool ok =
        kernel_interp(t->a, t->k, args, NULL, (u32[]){many ? 2 : 1, many ? 3 : 1, 1}, &o, &err);
    if (!ok) print_message("%s\n%s", err.msg, t->text.ptr);
    assert_true(ok);
}

static void all_passes(Test *t) {
    Profile p = {.name = S("test")};
    kernel_unroll(t->a, t->k);
    kernel_legalise(t->k, &p);
    kernel_hoist(t->a, t->k);
    show(t);
}

static const char *const sample =
    "kernel sample\n"
    "  sym n: 1..8 = params[0]\n"
    "  arg x: f32[n, 64]\n"
    "  arg w: u32[480]\n"
    "  arg y: f32[n, 24] written\n"
    "  arg params: i32[16]\n"
    "  wg 16, 1, 1\n"
    "  grid 2, n\n"
    "  for wg.y r in 0..n {\n"
    "    for wg.x o0 in 0..2 {\n"
    "      for thread.x o1 in 0..16 {\n"
    "        shared sx: f32[64]\n"
    "        for unroll k in 0..4 {\n"
    "          sx[k*16 + o1] = x[r, k*16 + o1]\n"
    "        }\n"
    "        barrier\n"
    "        if o0*16 + o1 < 24 {\n"
    "          reg acc: f32[2]\n"
    "          for unroll j in 0..2 {\n"
    "            acc[j] = 0x0p+0f\n"
    "          }\n"
    "          for b in 0..2 {\n"
    "            for u in 0..16 {\n"
    "              for unroll j in 0..2 {\n"
    "                let q = w[(o0*16 + o1)*20 + b*10 + u//2 + 2]\n"
    "                let d = f32(w[(o0*16 + o1)*20 + b*10] & 255u)\n"
    "                acc[j] = acc[j] + f32(q >> u32(u)%8u*4u & 15u) * sx[b*32 + u*2 + j] * d\n"
    "              }\n"
    "            }\n"
    "          }\n"
    "          y[r, o0*16 + o1] = exp((acc[0] - acc[1]) * 0x1p-15f)\n"
    "        }\n"
    "      }\n"
    "    }\n"
    "  }\n";

static void passes_keep_the_meaning(void **state) {
    (void)state;
    static float before[512], after[512];
    Test t = start(sample);
    show(&t);
    verify(&t);
    run(&t, before);
    all_passes(&t);
    verify(&t);
    run(&t, after);
    for (int i = 0; i < 72; i++) {
        assert_true(before[i] != -1);
        assert_true(fabs((double)before[i] - (double)after[i]) <= 3e-7 * fabs((double)before[i]));
    }
    assert_int_equal(count(&t, "unroll"), 0);
    assert_true(strstr(t.text.ptr, "for u in") >
                strstr(t.text.ptr, "& 255u")); // the scale left the inner loop
    assert_int_equal(count(&t, "w["), 2);
    arena_free(t.a);
}

static void unrolling_gives_each_copy_its_own_names(void **state) {
    (void)state;
    Test t =
        start("kernel u\n  arg x: f32[16]\n  arg y: f32[16] written\n  for unroll i in 0..3 {\n    "
              "reg a: f32[2]\n"
              "    let v = x[i] + x[i + 1]\n    for k in 0..2 {\n      a[k] = v + x[k]\n    }\n"
              "    y[i] = a[0] + a[1]\n  }\n");
    static float before[512], after[512];
    run(&t, before);
    kernel_unroll(t.a, t.k);
    show(&t);
    assert_true(has(&t, "reg a_3: f32[2]") && has(&t, "let v_3 = x[2] + x[3]") &&
                has(&t, "for k_3 in 0..2 {"));
    verify(&t);
    run(&t, after);
    assert_memory_equal(before, after, sizeof before);
    arena_free(t.a);
}

static void unrolling_drops_what_is_decided(void **state) {
    (void)state;
    Test t =
        start("kernel d\n  arg y: f32[16] written\n  for i in 0..1 {\n    for unroll j in 0..4 {\n"
              "      if j < 2 {\n        y[i*4 + j] = 0x1p+0f\n      }\n    }\n    for k in 0..0 "
              "{\n      y[0] = 0x0p+0f\n    }\n  }\n");
    kernel_unroll(t.a, t.k);
    show(&t);
    assert_string_equal(t.text.ptr,
                        "kernel d\n  arg y: f32[16] written\n  y[0] = 0x1p+0f\n  y[1] = 0x1p+0f\n");
    arena_free(t.a);
}

static void an_unrolling_without_end_stays_a_loop(void **state) {
    (void)state;
    Test t = start(
        "kernel big\n  arg y: f32[16] written\n  for unroll i in 0..100 {\n    for unroll j in "
        "0..100 {\n"
        "      for unroll k in 0..100 {\n        y[0] = f32(i + j + k)\n      }\n    }\n  }\n");
    kernel_unroll(t.a, t.k);
    show(&t);
    assert_true(count(&t, "\n") < 9000);
    assert_true(has(&t, "for i in 0..100 {"));
    arena_free(t.a);
}

static void polynomials_are_as_exact_as_promised(void **state) {
    (void)state;
    Test t = start(
        "kernel p\n  arg x: f32[512]\n  arg y: f32[512] written\n  for i in 0..128 {\n"
        "    y[i*4] = exp(x[i])\n    y[i*4 + 1] = sin2pi(x[i])\n    y[i*4 + 2] = cos2pi(x[i])\n"
        "    y[i*4 + 3] = exp(x[i] * 0x1.9p+7f)\n  }\n");
    Profile p = {.name = S("test")};
    kernel_legalise(t.k, &p);
    show(&t);
    assert_int_equal(count(&t, "exp(") + count(&t, "sin2pi(") + count(&t, "cos2pi("), 0);
    kernel_hoist(t.a, t.k);
    double worst_exp = 0, worst_angle = 0;
    static float x[512], y[512];
    for (int round = 0; round < 200; round++) {
        for (int i = 0; i < 128; i++) x[i] = (float)((round * 128 + i) / 25599.0 - 0.5);
        InterpArg args[2] = {{x, 512}, {y, 512}};
        Err err = {0};
        InterpOptions o = {0};
        Arena *a = arena_new(NULL);
        assert_true(kernel_interp(a, t.k, args, NULL, (u32[]){1, 1, 1}, &o, &err));
        arena_free(a);
        for (int i = 0; i < 128; i++) {
            const double turn = 6.283185307179586;
            double big = (double)(x[i] * 200), e = exp(big < -87 ? -87 : big > 88 ? 88 : big);
            worst_exp = fmax(worst_exp, fabs((double)y[i * 4] / exp((double)x[i]) - 1));
            worst_exp = fmax(worst_exp, fabs((double)y[i * 4 + 3] / e - 1));
            worst_angle = fmax(worst_angle, fabs((double)y[i * 4 + 1] - sin(turn * (double)x[i])));
            worst_angle = fmax(worst_angle, fabs((double)y[i * 4 + 2] - cos(turn * (double)x[i])));
        }
    }
    print_message("exp: relative error %.3g; sin, cos: %.3g\n", worst_exp, worst_angle);
    assert_true(worst_exp < 1.5e-7 && worst_angle < 3e-7);
    arena_free(t.a);
}

static void invariants_leave_loops_and_common_parts_are_named_once(void **state) {
    (void)state;
    Test t = start("kernel h\n  arg x: f32[64]\n  arg w: u32[64]\n  arg y: f32[512] written\n  for "
                   "o in 0..8 {\n"
                   "    for k in 0..8 {\n      y[o*8 + k] = x[k*o] * f32(w[o*8]) + f32(w[o*8] >> "
                   "4u) + x[k*o]\n    }\n  }\n");
    static float before[512], after[512];
    run(&t, before);
    kernel_hoist(t.a, t.k);
    show(&t);
    verify(&t);
    run(&t, after);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(count(&t, "w["), 1);
    assert_int_equal(count(&t, "x["), 1);
    assert_true(strstr(t.text.ptr, ">> 4u") < strstr(t.text.ptr, "for k in"));
    assert_true(strstr(t.text.ptr, "= x[") > strstr(t.text.ptr, "for k in"));
    arena_free(t.a);
}

static void loads_stay_under_their_guards(void **state) {
    (void)state;
    Test t = start("kernel g\n  sym n: 0..8 = params[1]\n  arg x: f32[64]\n  arg y: f32[64] "
                   "written\n  arg params: i32[16]\n"
                   "  for o in 0..4 {\n    if o < 2 {\n      for k in 0..4 {\n        y[o*4 + k] = "
                   "x[o + 62] * 0x1p+1f\n      }\n    }\n"
                   "    for k in 0..n {\n      y[32 + o*8 + k] = x[n*8 - 1]\n    }\n  }\n");
    show(&t);
    verify(&t);
    kernel_hoist(t.a, t.k);
    show(&t);
    verify(&t);
    assert_true(strstr(t.text.ptr, "x[o + 62]") > strstr(t.text.ptr, "if o < 2"));
    assert_true(strstr(t.text.ptr, "x[o + 62]") < strstr(t.text.ptr, "for k in"));
    assert_true(strstr(t.text.ptr, "= x[") < strstr(t.text.ptr, "for k_2 in 0..n"));
    arena_free(t.a);
}

// x[c] itself is known before the condition; it is in bounds only behind it.
static void a_load_by_a_bare_variable_stays_too(void **state) {
    (void)state;
    Test t = start("kernel h\n  arg x: f32[64]\n  arg y: f32[64] written\n  for c in 0..80 {\n    "
                   "if c < 64 {\n"
                   "      for k in 0..4 {\n        y[c] = x[c] + f32(k)\n      }\n    }\n  }\n");
    kernel_hoist(t.a, t.k);
    show(&t);
    verify(&t);
    assert_true(strstr(t.text.ptr, "x[c]") > strstr(t.text.ptr, "if c < 64"));
    arena_free(t.a);
}

static void lane_loops_join_where_no_lane_meets_another(void **state) {
    (void)state;
    static const struct {
        const char *index;
        int loops;
    } cases[] = {
        {"j", 1}, {"j + 4", 1}, {"j + 3", 2}, {"3 - j", 2}, {"0", 2}, {"j + 1", 2}, {"j*2", 2},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Arena *a = arena_new(NULL);
        Test t =
            start(str_fmt(a,
                          "kernel l\n  arg x: f32[64]\n  arg y: f32[64] written\n  reg r: f32[16]\n"
                          "  for vec l in 0..4 {\n    r[l] = x[l]\n  }\n"
                          "  for vec j in 0..4 {\n    y[j] = r[%s]\n  }\n",
                          cases[i].index)
                      .ptr);
        kernel_join_lanes(t.a, t.k);
        show(&t);
        if (count(&t, "for vec") != cases[i].loops)
            fail_msg("r[%s]: %s", cases[i].index, t.text.ptr);
        arena_free(t.a);
        arena_free(a);
    }
}

static void changing_memory_is_read_where_it_stood(void **state) {
    (void)state;
    Test t = start("kernel c\n  arg x: f32[64]\n  arg y: f32[64] written\n  for o in 0..4 {\n    "
                   "reg a: f32[1]\n    a[0] = x[o]\n"
                   "    for k in 0..4 {\n      let old = a[0]\n      a[0] = old + x[k] * a[0]\n    "
                   "  y[o*4 + k] = a[0] * a[0] - old\n    }\n"
                   "  }\n");
    static float before[512], after[512];
    run(&t, before);
    kernel_hoist(t.a, t.k);
    show(&t);
    verify(&t);
    run(&t, after);
    assert_memory_equal(before, after, sizeof before);
    assert_true(has(&t, "let old = a[0]"));
    arena_free(t.a);
}

static void uniform_values_leave_vec_loops_and_lanes_stay(void **state) {
    (void)state;
    Test t = start("kernel v\n  arg x: f32[64]\n  arg y: f32[64] written\n  for o in 0..8 {\n    "
                   "for vec l in 0..8 {\n"
                   "      y[o*8 + l] = x[o*8 + l] * x[o*8 + l] * (x[o] + 0x1p+0f)\n    }\n  }\n");
    kernel_hoist(t.a, t.k);
    show(&t);
    verify(&t);
    assert_true(strstr(t.text.ptr, "x[o] + 0x1p+0f") < strstr(t.text.ptr, "for vec"));
    assert_true(strstr(t.text.ptr, "o*8") < strstr(t.text.ptr, "for vec"));
    assert_int_equal(count(&t, "= x["), 2);
    assert_true(strstr(strstr(t.text.ptr, "for vec"), "= x[") != NULL);
    arena_free(t.a);
}

static void the_referees_loop_is_the_same_after_every_pass_twice(void **state) {
    (void)state;
    Test t = start(sample);
    static float once[512], twice[512];
    all_passes(&t);
    run(&t, once);
    Buf first = t.text;
    kernel_hoist(t.a, t.k);
    show(&t);
    run(&t, twice);
    assert_memory_equal(once, twice, sizeof once);
    assert_true(t.text.len <= first.len + 64); // lets are dissolved and found again
    arena_free(t.a);
}

static int loads_of(const Test *t) { return count(t, " x[") + count(t, "(x["); }

// Words in a row, columns of rows that are clamped, one element for all threads, and those that
// differ.
static void what_all_threads_load_alike_is_dealt_to_the_lanes(void **state) {
    (void)state;
    const char *text =
        "kernel deal\n  sym n: 1..8 = params[0]\n  arg x: f32[n, 64]\n  arg y: f32[n, 24] written\n"
        "  arg params: i32[16]\n  wg 8, 1, 1\n  grid 2, n\n  for wg.y r in 0..n {\n"
        "    for wg.x o in 0..2 {\n    for thread.x t in 0..8 {\n      let up = min(r + 1, n - "
        "1)\n      let far = min(r + 2, n - 1)\n"
        "      reg acc: f32[1]\n      acc[0] = 0x0p+0f\n      for b in 0..4 {\n"
        "        acc[0] = acc[0] + x[r, b*8] * x[r, b*8 + 1] - x[r, b*8 + 2] * x[r, b*8 + 3]\n"
        "        acc[0] = acc[0] + x[far, b + 60] * x[up, b + 60] - x[r, b*8 + t]\n"
        "        acc[0] = acc[0] + x[r, b*8 + 4]\n"
        "      }\n      y[r, o*8 + t] = acc[0]\n    }\n    }\n  }\n";
    Test t = start(text);
    Profile p = {.name = S("test"), .gpu = 1, .barrier_cost = 4000, .subgroup = 4};
    static float before[512], after[512];
    verify(&t);
    run(&t, before);
    show(&t);
    assert_int_equal(loads_of(&t), 8);
    kernel_share_loads(t.a, t.k, &p);
    kernel_hoist(t.a, t.k);
    show(&t);
    verify(&t);
    run(&t, after);
    assert_memory_equal(before, after, sizeof before);
    assert_int_equal(loads_of(&t),
                     4); // four words; two columns; each thread's own; the one left over
    assert_int_equal(count(&t, "subgroup_at("), 6);
    assert_true(has(&t, "min(r + "));
    arena_free(t.a);
}

static void nothing_is_shared_where_threads_part(void **state) {
    (void)state;
    static const char *const refused[] = {
        // under a condition or in a loop that threads do not share
        "    if t < 6 {\n      y[t] = x[k] + x[k + 1]\n    }\n",
        "    for j in 0..t {\n      y[t] = x[k + j] + x[k + j + 1]\n    }\n",
        // that the kernel writes, or that each thread has for itself
        "    y[t + 8] = y[k + 16] + y[k + 17]\n",
        "    reg i: i32[1] in 0..7\n    i[0] = t\n    y[t] = x[i[0]] + x[i[0] + 1]\n",
        // at known places, which an adapter loads once as they are
        "    y[t] = x[1] + x[2]\n",
    };
    for (size_t i = 0; i < COUNT_OF(refused); i++) {
        char text[512];
        Buf b = {.ptr = text, .cap = sizeof text};
        buf_fmt(&b,
                "kernel part\n  arg x: f32[64]\n  arg y: f32[64] written\n  wg 8, 1, 1\n  grid 4\n"
                "  for wg.x k in 0..4 {\n    for thread.x t in 0..8 {\n%s    }\n  }\n",
                refused[i]);
        text[b.len] = 0;
        Test t = start(text);
        Profile p = {.name = S("test"), .gpu = 1, .barrier_cost = 4000, .subgroup = 4};
        kernel_share_loads(t.a, t.k, &p);
        show(&t);
        assert_int_equal(count(&t, "subgroup_at("), 0);
        arena_free(t.a);
    }
    // rows of threads that are no whole subgroups
    Test t =
        start("kernel odd\n  arg x: f32[64]\n  arg y: f32[64] written\n  wg 6, 1, 1\n  grid 4\n"
              "  for wg.x k in 0..4 {\n    for thread.x t in 0..6 {\n"
              "      y[t] = x[k] + x[k + 1]\n    }\n  }\n");
    Profile p = {.name = S("test"), .gpu = 1, .barrier_cost = 4000, .subgroup = 4};
    kernel_share_loads(t.a, t.k, &p);
    assert_false(t.k->subgroups);
    arena_free(t.a);
}

// Every 16 bits that are a number, read by integers.
static void halves_are_read_exactly(void **state) {
    (void)state;
    Test t = start("kernel h\n  arg w: u32[512]\n  arg y: f32[512] written\n  for i in 0..256 {\n"
                   "    y[i*2] = f16lo(w[i])\n    y[i*2 + 1] = f16hi(w[i])\n  }\n");
    Profile p = {.name = S("test"), .gpu = 1, .barrier_cost = 4000};
    kernel_legalise(t.k, &p);
    show(&t);
    assert_int_equal(count(&t, "f16lo") + count(&t, "f16hi"), 0);
    static u32 w[512];
    static float y[512];
    for (u32 first = 0; first < 65536; first += 512) {
        for (u32 i = 0; i < 256; i++) w[i] = (first + 2 * i) | (first + 2 * i + 1) << 16;
        InterpArg args[] = {{w, 512}, {y, 512}};
        Err err = {0};
        assert_true(
            kernel_interp(t.a, t.k, args, NULL, (u32[]){1, 1, 1}, &(InterpOptions){0}, &err));
        for (u32 i = 0; i < 512; i++) {
            float want = f16_to_f32((u16)(first + i));
            if (want - want == 0) assert_memory_equal(&y[i], &want, sizeof want);
        }
    }
    arena_free(t.a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_keep_the_meaning),
        cmocka_unit_test(unrolling_gives_each_copy_its_own_names),
        cmocka_unit_test(unrolling_drops_what_is_decided),
        cmocka_unit_test(an_unrolling_without_end_stays_a_loop),
        cmocka_unit_test(polynomials_are_as_exact_as_promised),
        cmocka_unit_test(invariants_leave_loops_and_common_parts_are_named_once),
        cmocka_unit_test(loads_stay_under_their_guards),
        cmocka_unit_test(a_load_by_a_bare_variable_stays_too),
        cmocka_unit_test(lane_loops_join_where_no_lane_meets_another),
        cmocka_unit_test(changing_memory_is_read_where_it_stood),
        cmocka_unit_test(uniform_values_leave_vec_loops_and_lanes_stay),
        cmocka_unit_test(what_all_threads_load_alike_is_dealt_to_the_lanes),
        cmocka_unit_test(nothing_is_shared_where_threads_part),
        cmocka_unit_test(halves_are_read_exactly),
        cmocka_unit_test(the_referees_loop_is_the_same_after_every_pass_twice),
    };
    return cmocka_run_group_tests_name("loop: passes", tests, NULL, NULL);
}
