// tests/loop/text_test.c: loop IR's text form reads back byte for byte; what is wrong is said with
// line and column; the verifier proves good kernels and names the statement of bad ones.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>

#include "loop/loop.h"

static const char *const matmul =
    "kernel matmul_row_q4_1_24x64\n"
    "  sym n: 1..8 by 1 = params[0]\n"
    "  arg x: f32[n, 64]\n"
    "  arg w: u32[480]\n"
    "  arg y: f32[n, 24] written\n"
    "  arg params: i32[16] in 0..2047\n"
    "  wg 16, 1, 1\n"
    "  grid 2, n\n"
    "  for wg.y r in 0..n {\n"
    "    for wg.x o0 in 0..2 {\n"
    "      for thread.x o1 in 0..16 {\n"
    "        shared sx: f32[64]\n"
    "        for k in 0..4 {\n"
    "          sx[k*16 + o1] = x[r, k*16 + o1]\n"
    "        }\n"
    "        barrier\n"
    "        if o0*16 + o1 < 24 {\n"
    "          reg acc: f32[2]\n"
    "          for unroll j in 0..2 {\n"
    "            acc[j] = 0x0p+0f\n"
    "          }\n"
    "          for b in 0..2 {\n"
    "            fetch w[b*10 + 2]\n"
    "            for u in 0..16 {\n"
    "              for vec l in 0..2 {\n"
    "                let q = w[(o0*16 + o1)*20 + b*10 + u//2 + 2]\n"
    "                acc[l] = acc[l] + f32(q >> u32(u)%8u*4u & 15u) * sx[b*32 + u*2 + l]\n"
    "              }\n"
    "            }\n"
    "          }\n"
    "          y[r, o0*16 + o1] = exp(acc[0] + acc[1])\n"
    "        }\n"
    "      }\n"
    "    }\n"
    "  }\n";

static Profile gpu(void) {
    Profile p = {.name = S("test")};
    p.gpu = 1;
    p.max_wg_size = 256;
    p.shared_bytes = 4096;
    p.max_bindings = 8;
    p.max_grid = 65535;
    p.subgroup = 4;
    return p;
}

static Profile cpu(void) {
    Profile p = gpu();
    p.gpu = p.subgroup = 0;
    return p;
}

static Kernel *read(Arena *a, const char *text) {
    Err err = {0};
    Kernel *k = kernel_read(a, str_c(text), S("t.hir"), &err);
    if (!k) print_message("%d:%d %s %s\n", err.line, err.col, err_name(err.id), err.msg);
    assert_non_null(k);
    return k;
}

static ErrId verify(const char *text, Profile p, Err *out) {
    Arena *a = arena_new(NULL);
    Err err = {0};
    bool ok = kernel_verify(read(a, text), &p, &err);
    assert_int_equal(ok, err.id == ERR_NONE);
    if (out) *out = err;
    arena_free(a);
    return err.id;
}

// A kernel of one thread's statements over x: f32[64], y: f32[64] written, i: i32[8] in 0..7,
// n: 1..8.
static ErrId verify_body(const char *body, Err *out) {
    char text[2048];
    Buf b = {.ptr = text, .cap = sizeof text};
    buf_fmt(&b,
            "kernel t\n  sym n: 1..8 = params[0]\n  arg x: f32[64]\n  arg y: f32[64] written\n"
            "  arg i: i32[8] in 0..7\n  arg params: i32[16]\n  wg 16, 1, 1\n  for thread.x t in "
            "0..16 {\n%s  }\n",
            body);
    assert_false(b.full);
    return verify(text, gpu(), out);
}

// ---- text ---------------------------------------------------------------------------------------
static void a_printed_kernel_reads_back_byte_for_byte(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Buf once = {.arena = a}, twice = {.arena = a};
    kernel_print(read(a, matmul), &once);
    kernel_print(read(a, once.ptr), &twice);
    assert_string_equal(once.ptr, twice.ptr);
    assert_true(str_has(buf_str(&once), S("                acc[l] = acc[l] + f32(q >> u32(u)%8u*4u "
                                          "& 15u) * sx[b*32 + u*2 + l]\n")));
    arena_free(a);
}

static void printed_names_are_unique_and_legal(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Exprs *x = exprs_new(a);
    Kernel k = {.name = S("names"), .x = x, .wg = {1, 1, 1}};
    Block *at = &k.body;
    const char *const names[] = {"acc.k", "acc.k", "min", "9 lives", "for", "a..b"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        Stmt *s = stmt_new(a, at, ST_FOR);
        s->var = var_new(x, names[i], TY_I32, 0, 1);
        s->extent = ex_int(x, 2);
        at = &s->body;
    }
    Buf once = {.arena = a}, twice = {.arena = a};
    kernel_print(&k, &once);
    kernel_print(read(a, once.ptr), &twice);
    assert_string_equal(once.ptr, twice.ptr);
    const char *const want[] = {"for acc.k in",    "for acc.k_2 in", "for min_ in",
                                "for _9_lives in", "for for_ in",    "for a_.b in"};
    for (size_t i = 0; i < COUNT_OF(want); i++)
        assert_true(str_has(buf_str(&once), str_c(want[i])));
    arena_free(a);
}

static void reading_says_what_is_wrong_and_where(void **state) {
    (void)state;
    const struct {
        const char *text;
        ErrId id;
        int line, col;
    } bad[] = {
        {"", ERR_LOOP_SYNTAX, 1, 1},
        {"kernel\n", ERR_LOOP_SYNTAX, 1, 7},
        {"kernel k x\n", ERR_LOOP_SYNTAX, 1, 10},
        {"kernel k\n  arg x: f16[4]\n", ERR_LOOP_TYPE, 2, 13},
        {"kernel k\n  arg x: f32[1, 2, 3, 4, 5]\n", ERR_LOOP_LIMIT, 2, 24},
        {"kernel k\n  arg x: f32[4]\n  arg x: f32[4]\n", ERR_LOOP_NAME, 3, 16},
        {"kernel k\n  arg min: f32[4]\n", ERR_LOOP_NAME, 2, 10},
        {"kernel k\n  arg i: i32[4] in 5..2\n", ERR_LOOP_TYPE, 2, 24},
        {"kernel k\n  wg 2000, 1, 1\n", ERR_LOOP_THREADS, 2, 16},
        {"kernel k\n  for i in 1..4 {\n  }\n", ERR_LOOP_SYNTAX, 2, 12},
        {"kernel k\n  for i in 0..4 {\n", ERR_LOOP_SYNTAX, 3, 1},
        {"kernel k\n  for i in 0..4 {\n  } }\n", ERR_LOOP_SYNTAX, 3, 5},
        {"kernel k\n  z[0] = 1\n", ERR_LOOP_NAME, 2, 3},
        {"kernel k\n  reg z: f32[4]\n  z[0] = 1\n", ERR_LOOP_TYPE, 3, 11},
        {"kernel k\n  if 3 {\n  }\n", ERR_LOOP_TYPE, 2, 8},
        {"kernel k\n  ]\n", ERR_LOOP_SYNTAX, 2, 3},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        Arena *a = arena_new(NULL);
        Err err = {0};
        assert_null(kernel_read(a, str_c(bad[i].text), S("t.hir"), &err));
        if (err.id != bad[i].id || err.line != bad[i].line || err.col != bad[i].col)
            print_message("%s -> %s %d:%d %s\n", bad[i].text, err_name(err.id), err.line, err.col,
                          err.msg);
        assert_int_equal(err.id, bad[i].id);
        assert_int_equal(err.line, bad[i].line);
        assert_int_equal(err.col, bad[i].col);
        assert_string_equal(err.file, "t.hir");
        arena_free(a);
    }
}

static void a_name_ends_with_its_block(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Err err = {0};
    const char *text = "kernel k\n  arg y: i32[4] written\n  for i in 0..4 {\n    let v = i + 1\n  "
                       "}\n  y[0] = v\n";
    assert_null(kernel_read(a, str_c(text), S("t"), &err));
    assert_int_equal(err.line, 6);
    arena_free(a);
}

static void nesting_is_limited(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Buf b = {.arena = a};
    Err err = {0};
    buf_add(&b, S("kernel deep\n"));
    for (int i = 0; i < 100000; i++) buf_add(&b, S("if true {\n"));
    assert_null(kernel_read(a, buf_str(&b), S("t"), &err));
    assert_int_equal(err.id, ERR_LOOP_LIMIT);
    arena_free(a);
}

// ---- the verifier -------------------------------------------------------------------------------
static void a_guarded_matmul_is_proved(void **state) {
    (void)state;
    assert_int_equal(verify(matmul, gpu(), NULL), ERR_NONE);
}

// Workgroup memory of 16-bit floats is read back as it was printed, takes half the room, and needs
// a profile that has them.
static void memory_of_16_bit_floats_reads_back_and_is_counted(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    const char *old = "shared sx: f32[64]", *new = "shared sx: f16[64]";
    size_t at = (size_t)(strstr(matmul, old) - matmul);
    Buf text = {.arena = a}, printed = {.arena = a}, again = {.arena = a};
    buf_fmt(&text, "%S%s%s", (Str){matmul, at}, new, matmul + at + strlen(old));
    kernel_print(read(a, text.ptr), &printed);
    kernel_print(read(a, printed.ptr), &again);
    assert_string_equal(printed.ptr, again.ptr);
    assert_true(str_has(buf_str(&printed), str_c(new)));
    Profile p = gpu();
    p.shared_bytes = 128;
    assert_int_equal(verify(text.ptr, p, NULL), ERR_LOOP_TYPE);
    p.f16 = 1;
    assert_int_equal(verify(text.ptr, p, NULL), ERR_NONE);
    p.shared_bytes = 124;
    assert_int_equal(verify(text.ptr, p, NULL), ERR_LOOP_SHARED);
    arena_free(a);
}

static void bounds_follow_from_guards(void **state) {
    (void)state;
    const char *const good[] = {
        "    y[t*4 + 3] = x[63 - t]\n",
        "    if t < n {\n      y[t*8 + 7] = 0x0p+0f\n    }\n",
        "    for k in 0..n {\n      if n - k > 7 {\n        y[n - k - 1] = x[k*9]\n      }\n    "
        "}\n",
        "    if !(t >= 4 || t < 1) {\n      y[t - 1] = x[t*21]\n    }\n",
        "    let a = t*100\n    let c = a < 64\n    if c {\n      y[a] = 0x0p+0f\n    }\n",
        "    y[t] = x[min(t*99, 63)]\n",
        "    y[t] = x[i[t//2]*8 + i[t%8]]\n",
        "    if t*5 < 64 {\n      y[t*5//8*8 + t*5%8] = 0x0p+0f\n    }\n",
        "    if t == n {\n      y[t*8 - 1] = x[n*8 - 1]\n    }\n",
        "    y[t] = x[i32(u32(t) & 3u)]\n",
        "    fetch x[min(t*99, 63)]\n    fetch y[n]\n",
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        Err err;
        verify_body(good[i], &err);
        if (err.id) print_message("%s%s\n", good[i], err.msg);
        assert_int_equal(err.id, ERR_NONE);
    }
}

static void what_cannot_be_proved_is_refused(void **state) {
    (void)state;
    const struct {
        const char *body;
        ErrId id;
    } bad[] = {
        {"    y[t*4 + 4] = 0x0p+0f\n", ERR_LOOP_BOUNDS},
        {"    y[t - 1] = 0x0p+0f\n", ERR_LOOP_BOUNDS},
        {"    if t <= n {\n      y[t*8] = 0x0p+0f\n    }\n", ERR_LOOP_BOUNDS},
        {"    if t < n {\n    }\n    y[t*8] = 0x0p+0f\n", ERR_LOOP_BOUNDS},
        {"    if t < 4 || t > n {\n      y[t*16] = 0x0p+0f\n    }\n", ERR_LOOP_BOUNDS},
        {"    y[t] = select(t < 4, x[t*16], 0x0p+0f)\n", ERR_LOOP_BOUNDS},
        {"    y[t] = x[i[t]]\n", ERR_LOOP_BOUNDS},
        {"    y[t] = x[params[3]]\n", ERR_LOOP_BOUNDS},
        {"    y[t] = x[i32(u32(t) - 1u)]\n", ERR_LOOP_BOUNDS},
        {"    y[t] = x[t*268435456//67108864]\n", ERR_LOOP_OVERFLOW},
        {"    y[t] = f32(params[1] + 1)\n", ERR_LOOP_OVERFLOW},
        {"    y[t] = f32(t // (n - 1))\n", ERR_INTERP_DIVIDE},
        {"    y[t] = f32(1u << u32(t)*8u)\n", ERR_LOOP_OVERFLOW},
        {"    x[t] = 0x0p+0f\n", ERR_LOOP_READONLY},
        {"    reg a: i32[1] in 0..3\n    a[0] = t\n", ERR_LOOP_BOUNDS},
        {"    shared s: f32[2000]\n", ERR_LOOP_SHARED},
        {"    reg a: f32[n]\n", ERR_LOOP_TYPE},
        {"    reg a: f32[100000]\n", ERR_LOOP_LIMIT},
        {"    for thread.x u in 0..4 {\n    }\n", ERR_LOOP_THREADS},
        {"    for cpu u in 0..4 {\n    }\n", ERR_LOOP_THREADS},
        {"    y[t] = subgroup_add(x[t])\n", ERR_LOOP_SUBGROUP},
        {"    y[t] = subgroup_at(x[t], 0, 2)\n", ERR_LOOP_SUBGROUP},
        {"    if t < 4 {\n      barrier\n    }\n", ERR_LOOP_BARRIER},
        {"    for k in 0..t {\n      barrier\n    }\n", ERR_LOOP_BARRIER},
        {"    shared s: i32[1]\n    let v = s[0]\n    if v < 1 {\n      barrier\n    }\n",
         ERR_LOOP_BARRIER},
        {"    for vec k in 0..4 {\n      barrier\n    }\n", ERR_LOOP_BARRIER},
        {"    for wg.x k in 0..4 {\n    }\n", ERR_LOOP_GRID},
        {"    fetch x[t*99]\n", ERR_LOOP_BOUNDS},
        {"    reg a: f32[1]\n    fetch a[0]\n", ERR_LOOP_SCOPE},
        {"    for vec k in 0..4 {\n      fetch x[k]\n    }\n", ERR_LOOP_THREADS},
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        Err err;
        verify_body(bad[i].body, &err);
        if (err.id != bad[i].id) print_message("%s%s %s\n", bad[i].body, err_name(err.id), err.msg);
        assert_int_equal(err.id, bad[i].id);
    }
}

static void barriers_may_stand_where_all_threads_come(void **state) {
    (void)state;
    const char *const good[] = {
        "    for k in 0..n {\n      barrier\n    }\n",
        "    if params[2] > 3 {\n      barrier\n    }\n",
        "    let v = i[n - 1]\n    if v > 0 {\n      for k in 0..v {\n        barrier\n      }\n   "
        " }\n",
    };
    for (size_t i = 0; i < COUNT_OF(good); i++)
        assert_int_equal(verify_body(good[i], NULL), ERR_NONE);
    const char *short_row =
        "kernel t\n  wg 16, 1, 1\n  for thread.x t in 0..8 {\n    barrier\n  }\n";
    assert_int_equal(verify(short_row, gpu(), NULL), ERR_LOOP_BARRIER);
}

static void symbolic_extents_cancel(void **state) {
    (void)state;
    const char *text =
        "kernel menu\n  dim N: 1..65536 by 4\n  dim K: 32..8192 by 32\n"
        "  arg x: f32[K]\n  arg w: u32[N//4*(K//32*5)*4]\n  arg y: f32[N] written\n  grid N//4\n"
        "  for cpu o0 in 0..N//4 {\n"
        "    for b in 0..K//32 {\n      for j in 0..32 {\n        for vec r in 0..4 {\n"
        "          y[o0*4 + r] = f32(w[(o0*(K//32*5) + b*5 + j//8 + 1)*4 + r]) * x[b*32 + j]\n"
        "        }\n      }\n    }\n  }\n";
    Err err;
    verify(text, cpu(), &err);
    if (err.id) print_message("%s\n", err.msg);
    assert_int_equal(err.id, ERR_NONE);
    const char *past =
        "kernel menu\n  dim N: 1..65536\n  arg y: f32[N] written\n  for cpu o in 0..N {\n"
        "    y[o + 1] = 0x0p+0f\n  }\n";
    assert_int_equal(verify(past, cpu(), NULL), ERR_LOOP_BOUNDS);
    const char *rest =
        "kernel menu\n  dim N: 1..65536\n  arg y: f32[N] written\n  for cpu o in 0..(N + 3)//4 {\n"
        "    for vec r in 0..4 {\n      if o*4 + r < N {\n        y[o*4 + r] = 0x0p+0f\n      }\n  "
        "  }\n"
        "    y[min(o*4 + 3, N - 1)] = 0x0p+0f\n  }\n";
    verify(rest, cpu(), &err);
    if (err.id) print_message("%s\n", err.msg);
    assert_int_equal(err.id, ERR_NONE);
}

static void profiles_set_the_limits(void **state) {
    (void)state;
    Profile p = gpu();
    p.max_bindings = 3;
    assert_int_equal(verify(matmul, p, NULL), ERR_LOOP_BINDINGS);
    p = gpu();
    p.max_wg_size = 8;
    assert_int_equal(verify(matmul, p, NULL), ERR_LOOP_THREADS);
    p = gpu();
    p.shared_bytes = 128;
    assert_int_equal(verify(matmul, p, NULL), ERR_LOOP_SHARED);
    p = gpu();
    p.max_grid = 1; // x is 2, and y is in use
    assert_int_equal(verify(matmul, p, NULL), ERR_LOOP_GRID);
    assert_int_equal(verify(matmul, cpu(), NULL), ERR_LOOP_THREADS);
    const char *folds = "kernel f\n  arg y: i32[10] written\n  wg 1, 1, 1\n  grid 10\n"
                        "  for wg.x i in 0..10 {\n    y[i] = i\n  }\n";
    p.max_grid = 4; // three rows of four
    assert_int_equal(verify(folds, p, NULL), ERR_NONE);
    p.max_grid = 3; // three rows of three are nine
    assert_int_equal(verify(folds, p, NULL), ERR_LOOP_GRID);
    const char *lanes =
        "kernel l\n  arg y: f32[8] written\n  wg 4, 2, 1\n  subgroups\n  for thread.y r in 0..2 {\n"
        "    for lane i in 0..4 {\n      y[r*4 + i] = subgroup_add(f32(i))\n    }\n  }\n";
    assert_int_equal(verify(lanes, gpu(), NULL), ERR_NONE);
    p = gpu();
    p.subgroup = 0;
    assert_int_equal(verify(lanes, p, NULL), ERR_LOOP_SUBGROUP);
}

static void the_message_names_kernel_statement_and_rule(void **state) {
    (void)state;
    Err err;
    verify_body("    y[t*4 + 4] = 0x0p+0f\n", &err);
    assert_string_equal(
        err.msg,
        "kernel t: `y[t*4 + 4] = 0x0p+0f`: index 0 of y may reach 64 of 64; guard it or clamp it");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_printed_kernel_reads_back_byte_for_byte),
        cmocka_unit_test(printed_names_are_unique_and_legal),
        cmocka_unit_test(reading_says_what_is_wrong_and_where),
        cmocka_unit_test(a_name_ends_with_its_block),
        cmocka_unit_test(nesting_is_limited),
        cmocka_unit_test(a_guarded_matmul_is_proved),
        cmocka_unit_test(memory_of_16_bit_floats_reads_back_and_is_counted),
        cmocka_unit_test(bounds_follow_from_guards),
        cmocka_unit_test(what_cannot_be_proved_is_refused),
        cmocka_unit_test(barriers_may_stand_where_all_threads_come),
        cmocka_unit_test(symbolic_extents_cancel),
        cmocka_unit_test(profiles_set_the_limits),
        cmocka_unit_test(the_message_names_kernel_statement_and_rule),
    };
    return cmocka_run_group_tests_name("loop: text and verifier", tests, NULL, NULL);
}
