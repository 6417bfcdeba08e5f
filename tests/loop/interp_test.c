// tests/loop/interp_test.c: the two referees. Planted faults are found, and sound kernels compute
// what they say.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>

#include "loop/loop.h"

typedef struct Case {
    Arena *a;
    Kernel *k;
    Err err;
    float x[256], y[256];
    i32 params[16];
    u64 fuel;
    u32 begin;
    i32 dims[4];
    bool plain;
} Case;

static void start(Case *c, const char *text) {
    *c = (Case){.a = arena_new(NULL)};
    c->k = kernel_read(c->a, str_c(text), S("test.hir"), &c->err);
    if (!c->k)
        print_message("%s:%d:%d %s\n", err_name(c->err.id), c->err.line, c->err.col, c->err.msg);
    assert_non_null(c->k);
    for (int i = 0; i < 256; i++) {
        c->x[i] = (float)(i % 13) - 6;
        c->y[i] = -1;
    }
    c->params[0] = 3;
}

// Arguments by name: x, y, params; each as large as declared is not asked here.
static ErrId run(Case *c, u32 gx, u32 gy) {
    InterpArg args[8];
    for (int i = 0; i < c->k->nargs; i++) {
        char n = c->k->arg[i]->name[0];
        args[i] = n == 'x'   ? (InterpArg){c->x, 256}
                  : n == 'y' ? (InterpArg){c->y, 256}
                             : (InterpArg){c->params, 16};
    }
    u32 grid[3] = {gx, gy, 1};
    InterpOptions o = {.check = !c->plain, .fuel = c->fuel, .grid_begin = c->begin};
    bool ok = kernel_interp(c->a, c->k, args, c->dims, grid, &o, &c->err);
    assert_int_equal(ok, c->err.id == ERR_NONE);
    return c->err.id;
}

static ErrId run_text(const char *text, u32 gx, u32 gy) {
    Case c;
    start(&c, text);
    ErrId id = run(&c, gx, gy);
    arena_free(c.a);
    return id;
}

static void a_bound_kernel_computes_every_element(void **state) {
    (void)state;
    Case c;
    start(&c, "kernel scale\n"
              "  sym n: 1..8 = params[0]\n"
              "  arg x: f32[n, 32]\n"
              "  arg y: f32[n, 32] written\n"
              "  arg params: i32[16]\n"
              "  wg 8, 1, 1\n"
              "  for wg.y r in 0..n {\n"
              "    for wg.x o in 0..4 {\n"
              "      for thread.x i in 0..8 {\n"
              "        y[r, o*8 + i] = x[r, o*8 + i] * 0x1p+1f\n"
              "      }\n"
              "    }\n"
              "  }\n");
    assert_int_equal(run(&c, 4, 3), ERR_NONE);
    for (int i = 0; i < 96; i++) assert_true(c.y[i] == c.x[i] * 2);
    assert_true(c.y[96] == -1);
    arena_free(c.a);
}

static void memory_of_16_bit_floats_keeps_eleven_bits(void **state) {
    (void)state;
    Case c;
    start(&c, "kernel halves\n  arg x: f32[4]\n  arg y: f32[4] written\n  wg 4, 1, 1\n"
              "  for thread.x i in 0..4 {\n    shared s: f16[4]\n    s[i] = x[i]\n    barrier\n"
              "    y[i] = s[i]\n  }\n");
    const float in[4] = {1.0f + 0x1p-10f + 0x1p-12f, -1e6f, 70000.0f, -0.333251953125f};
    const float out[4] = {1.0f + 0x1p-10f, -65504.0f, 65504.0f, -0.333251953125f};
    memcpy(c.x, in, sizeof in);
    assert_int_equal(run(&c, 1, 1), ERR_NONE);
    for (int i = 0; i < 4; i++) assert_true(c.y[i] == out[i]);
    arena_free(c.a);
}

static void threads_share_workgroup_memory_across_a_barrier(void **state) {
    (void)state;
    const char *head = "kernel turn\n  arg x: f32[16]\n  arg y: f32[16] written\n  wg 16, 1, 1\n"
                       "  for thread.x i in 0..16 {\n    shared s: f32[16]\n    s[i] = x[i]\n";
    char text[512];
    Buf b = {.ptr = text, .cap = sizeof text};
    buf_fmt(&b, "%s    barrier\n    y[i] = s[15 - i]\n  }\n", head);
    Case c;
    start(&c, text);
    assert_int_equal(run(&c, 1, 1), ERR_NONE);
    for (int i = 0; i < 16; i++) assert_true(c.y[i] == c.x[15 - i]);
    arena_free(c.a);
    b.len = 0;
    buf_fmt(&b, "%s    y[i] = s[15 - i]\n  }\n", head);
    assert_int_equal(run_text(text, 1, 1), ERR_INTERP_RACE);
}

static void two_threads_must_not_store_to_one_element(void **state) {
    (void)state;
    const char *text = "kernel clash\n  arg y: f32[16] written\n  wg 8, 1, 1\n"
                       "  for thread.x i in 0..8 {\n    y[i // 2] = f32(i)\n  }\n";
    assert_int_equal(run_text(text, 1, 1), ERR_INTERP_RACE);
}

static void workgroups_must_not_touch_each_others_elements(void **state) {
    (void)state;
    const char *text = "kernel clash\n  arg y: f32[16] written\n"
                       "  for wg.x i in 0..2 {\n    y[i] = y[i + 1]\n  }\n";
    assert_int_equal(run_text(text, 2, 1), ERR_INTERP_RACE);
    text = "kernel clash\n  arg y: f32[16] written\n  for cpu i in 0..4 {\n    y[0] = y[0] + "
           "0x1p+0f\n  }\n";
    assert_int_equal(run_text(text, 4, 1), ERR_INTERP_RACE);
}

static void an_index_past_the_end_is_found_in_its_own_dimension(void **state) {
    (void)state;
    const char *text =
        "kernel past\n  arg x: f32[4, 8]\n  arg y: f32[4, 8] written\n"
        "  for r in 0..4 {\n    for i in 0..8 {\n      y[r, i] = x[r, i + 1]\n    }\n  }\n";
    assert_int_equal(run_text(text, 1, 1), ERR_INTERP_BOUNDS);
    text = "kernel under\n  arg x: f32[8]\n  arg y: f32[8] written\n"
           "  for i in 0..8 {\n    y[i] = select(i < 1, 0x0p+0f, x[i - 1])\n  }\n";
    assert_int_equal(run_text(text, 1, 1), ERR_INTERP_BOUNDS); // both branches are evaluated
}

static void memory_is_poisoned_until_it_is_stored(void **state) {
    (void)state;
    const char *reg =
        "kernel reg_poison\n  arg y: f32[8] written\n"
        "  for i in 0..8 {\n    reg a: f32[2]\n    a[0] = 0x1p+0f\n    y[i] = a[i // 7]\n  }\n";
    const char *loop =
        "kernel loop_poison\n  arg y: f32[8] written\n"
        "  for i in 0..2 {\n    reg a: f32[1]\n    if i < 1 {\n      a[0] = 0x1p+0f\n    }\n"
        "    y[i] = a[0]\n  }\n";
    const char *shared =
        "kernel shared_poison\n  arg y: f32[8] written\n  wg 4, 1, 1\n  for thread.x i in 0..4 {\n"
        "    shared s: f32[8]\n    s[i] = 0x1p+0f\n    barrier\n    y[i] = s[i + 1]\n  }\n";
    assert_int_equal(run_text(reg, 1, 1), ERR_INTERP_POISON);
    assert_int_equal(run_text(loop, 1, 1), ERR_INTERP_POISON);
    assert_int_equal(run_text(shared, 1, 1), ERR_INTERP_POISON);
}

static void a_barrier_needs_every_thread(void **state) {
    (void)state;
    const char *text =
        "kernel split\n  arg y: f32[8] written\n  wg 4, 1, 1\n  for thread.x i in 0..4 {\n"
        "    if i < 3 {\n      barrier\n    }\n    y[i] = 0x0p+0f\n  }\n";
    assert_int_equal(run_text(text, 1, 1), ERR_INTERP_BARRIER);
    text = "kernel loops\n  arg y: f32[8] written\n  wg 4, 1, 1\n  for thread.x i in 0..4 {\n"
           "    for k in 0..i + 1 {\n      barrier\n    }\n    y[i] = 0x0p+0f\n  }\n";
    assert_int_equal(run_text(text, 1, 1), ERR_INTERP_BARRIER);
}

static void loops_may_run_a_different_number_of_times_in_each_thread(void **state) {
    (void)state;
    Case c;
    start(&c, "kernel triangle\n  arg y: f32[8] written\n  wg 8, 1, 1\n  for thread.x i in 0..8 {\n"
              "    reg a: f32[1]\n    a[0] = 0x0p+0f\n    for k in 0..i {\n      a[0] = a[0] + "
              "f32(k)\n    }\n"
              "    y[i] = a[0]\n  }\n");
    assert_int_equal(run(&c, 1, 1), ERR_NONE);
    for (int i = 0; i < 8; i++) assert_true(c.y[i] == (float)(i * (i - 1) / 2));
    arena_free(c.a);
}

static void subgroups_sum_over_their_lanes(void **state) {
    (void)state;
    Case c;
    start(&c,
          "kernel lanes\n  arg x: f32[8]\n  arg y: f32[8] written\n  wg 4, 2, 1\n  subgroups\n"
          "  for thread.y r in 0..2 {\n    for lane i in 0..4 {\n"
          "      y[r*4 + i] = subgroup_add(x[r*4 + i]) + subgroup_max(x[r*4 + i])\n    }\n  }\n");
    assert_int_equal(run(&c, 1, 1), ERR_NONE);
    assert_true(c.y[0] == -6 - 5 - 4 - 3 - 3 && c.y[3] == c.y[0]);
    assert_true(c.y[4] == -2 - 1 + 0 + 1 + 1);
    arena_free(c.a);
    start(&c, "kernel at\n  arg x: f32[8]\n  arg y: f32[8] written\n  wg 8, 1, 1\n  subgroups\n"
              "  for thread.x i in 0..8 {\n    y[i] = fma(subgroup_at(x[i], 2, 4), 0x1p+1f, "
              "0x1p+0f)\n  }\n");
    assert_int_equal(run(&c, 1, 1), ERR_NONE);
    assert_true(c.y[0] == 2 * -4 + 1 && c.y[3] == c.y[0]);
    assert_true(c.y[4] == 2 * 0 + 1 && c.y[7] == c.y[4]);
    arena_free(c.a);
    const char *text =
        "kernel torn\n  arg y: f32[8] written\n  wg 4, 1, 1\n  subgroups\n  for lane i in 0..4 {\n"
        "    if i < 2 {\n      y[i] = subgroup_add(f32(i))\n    }\n  }\n";
    assert_int_equal(run_text(text, 1, 1), ERR_INTERP_BARRIER);
}

static void arithmetic_rounds_to_f32_and_integers_wrap(void **state) {
    (void)state;
    Case c;
    start(&c,
          "kernel sums\n  arg x: f32[8]\n  arg y: f32[8] written\n  for i in 0..1 {\n"
          "    y[0] = 0x1p+24f + x[7]\n" // 2^24 + 1
          "    y[1] = f32(4294967295u + u32(i) + 3u)\n"
          "    y[2] = f32((i - 7) // 4)\n    y[3] = f32((i - 7) % 4)\n    y[4] = f32(i - 8 >> 1)\n"
          "    y[5] = f32(mulhi(u32(i) + 3000000000u, 4u))\n"
          "    y[6] = f32(i32(-0x1.8p+1f * x[7]))\n    y[7] = f16hi(u32(i) + 1006632960u)\n  }\n");
    c.x[7] = 1;
    assert_int_equal(run(&c, 1, 1), ERR_NONE);
    assert_true(c.y[0] == 16777216.0f && c.y[1] == 2 && c.y[2] == -2 && c.y[3] == 1 &&
                c.y[4] == -4);
    assert_true(c.y[5] == 2 && c.y[6] == -3 && c.y[7] == 1);
    arena_free(c.a);
}

static void division_by_zero_is_an_error(void **state) {
    (void)state;
    const char *text =
        "kernel zero\n  sym n: 0..8 = params[1]\n  arg y: f32[8] written\n  arg params: i32[16]\n"
        "  y[0] = f32(7 // n)\n";
    assert_int_equal(run_text(text, 1, 1), ERR_INTERP_DIVIDE);
}

static void fuel_ends_a_long_loop(void **state) {
    (void)state;
    Case c;
    start(&c, "kernel forever\n  arg y: f32[8] written\n  for i in 0..2000000000 {\n    y[0] = "
              "0x0p+0f\n  }\n");
    c.fuel = 100000;
    assert_int_equal(run(&c, 1, 1), ERR_INTERP_FUEL);
    arena_free(c.a);
    start(&c,
          "kernel empty\n  for i in 0..2000000000 {\n    for j in 0..2000000000 {\n    }\n  }\n");
    c.fuel = 100000;
    assert_int_equal(run(&c, 1, 1), ERR_INTERP_FUEL);
    arena_free(c.a);
}

static void the_cpu_runs_a_range_of_the_outermost_loop(void **state) {
    (void)state;
    Case c;
    start(&c, "kernel part\n  dim K: 1..64 by 4\n  arg x: f32[8, K]\n  arg y: f32[8] written\n  "
              "for cpu o in 0..8 {\n"
              "    reg a: f32[1]\n    a[0] = 0x0p+0f\n    for k in 0..K {\n      a[0] = a[0] + "
              "x[o, k]\n    }\n"
              "    y[o] = a[0]\n  }\n");
    c.dims[0] = 4;
    c.begin = 2;
    c.plain = true;
    assert_int_equal(run(&c, 5, 1), ERR_NONE);
    assert_true(c.y[1] == -1 && c.y[5] == -1);
    for (int o = 2; o < 5; o++)
        assert_true(c.y[o] == c.x[o * 4] + c.x[o * 4 + 1] + c.x[o * 4 + 2] + c.x[o * 4 + 3]);
    c.dims[0] = 6;
    assert_int_equal(run(&c, 5, 1), ERR_INTERP_ARGS);
    arena_free(c.a);
}

static void arguments_that_do_not_fit_are_refused(void **state) {
    (void)state;
    Case c;
    const char *text =
        "kernel f\n  sym n: 1..2 = params[0]\n  arg y: f32[n] written\n  arg params: i32[16]\n"
        "  y[0] = 0x0p+0f\n";
    assert_int_equal(run_text(text, 1, 1), ERR_INTERP_ARGS); // n is 3
    start(&c,
          "kernel f\n  arg y: f32[300] written\n  for i in 0..300 {\n    y[i] = 0x0p+0f\n  }\n");
    assert_int_equal(run(&c, 1, 1), ERR_INTERP_BOUNDS); // only 256 were given
    arena_free(c.a);
}

// ---- referee (a) --------------------------------------------------------------------------------
typedef struct World {
    const Var *n;
    double x[64];
    int loads;
} World;

static bool world_var(void *user, const Var *v, Value *out) {
    const World *w = user;
    if (v != w->n) return false;
    *out = (Value){TY_I32, {.i = 4}};
    return true;
}

static bool world_load(void *user, const Buffer *b, const i64 *idx, Value *out) {
    World *w = user;
    (void)b;
    if (idx[0] < 0 || idx[0] >= 4 || idx[1] < 0 || idx[1] >= 8) return false;
    w->loads++;
    *out = (Value){TY_F32, {.f = w->x[idx[0] * 8 + idx[1]]}};
    return true;
}

// y[r, i] = x[r, i] / sqrt(sum k: x[r, k]^2), stored where i > 0, with x[r, i - 1] in the other
// branch of a select
static void a_formula_is_its_stages_definitions(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Exprs *x = exprs_new(a);
    Formula *f = NEW(a, Formula);
    World w = {.n = var_new(x, "n", TY_I32, 1, 8)};
    const Expr *n = ex_var(x, w.n), *eight = ex_int(x, 8);
    const Buffer *bx = buffer_new(x, "x", TY_F32, SCOPE_ARG, 2, (const Expr *[]){n, eight});
    const Buffer *by = buffer_new(x, "y", TY_F32, SCOPE_ARG, 2, (const Expr *[]){n, eight});
    const Buffer *ss = buffer_new(x, "ss", TY_F32, SCOPE_TEMP, 1, &n);
    Var *r = var_new(x, "r", TY_I32, 0, 7), *k = var_new(x, "k", TY_I32, 0, 7);
    Var *r2 = var_new(x, "r", TY_I32, 0, 7), *i = var_new(x, "i", TY_I32, 0, 7);
    const Expr *xk = ex_load(x, bx, (const Expr *[]){ex_var(x, r), ex_var(x, k)});
    const Expr *er = ex_var(x, r2), *ei = ex_var(x, i);
    *f = (Formula){.x = x, .name = "norm", .nstages = 2};
    f->stage[0] = (Stage){.name = "ss",
                          .nax = 1,
                          .nred = 1,
                          .ax = {{r, n}},
                          .red = {{k, eight}},
                          .op = RED_SUM,
                          .body = ex_mul(x, xk, xk),
                          .out = ss};
    const Expr *here = ex_load(x, bx, (const Expr *[]){er, ei});
    const Expr *before = ex_load(x, bx, (const Expr *[]){er, ex_sub(x, ei, ex_int(x, 1))});
    const Expr *value = ex_select(x, ex_lt(x, ei, ex_int(x, 1)), here, before);
    value = ex_div(x, value, ex_un(x, EX_SQRT, ex_load(x, ss, &er)));
    f->stage[1] = (Stage){.name = "y", .nax = 2, .ax = {{r2, n}, {i, eight}}, .nstores = 1};
    f->stage[1].store[0] =
        (Store){.buf = by, .idx = {er, ei}, .value = value, .pred = ex_ne(x, ei, ex_int(x, 3))};

    double sum = 0, got;
    bool stored;
    for (int j = 0; j < 32; j++) w.x[j] = 0.1 * (j % 7) - 0.25;
    for (int j = 8; j < 16; j++) sum += w.x[j] * w.x[j];
    Env env = {.var = world_var, .load = world_load, .user = &w};
    assert_true(formula_eval(f, NULL, 1, 0, (i64[]){1, 5}, &env, &got, &stored));
    assert_true(stored && fabs(got - w.x[12] / sqrt(sum)) < 1e-15);
    assert_true(formula_eval(f, NULL, 1, 0, (i64[]){1, 0}, &env, &got,
                             &stored)); // the other branch would be out of bounds
    assert_true(fabs(got - w.x[8] / sqrt(sum)) < 1e-15);
    assert_true(formula_eval(f, NULL, 1, 0, (i64[]){1, 3}, &env, &got, &stored));
    assert_false(stored);
    assert_true(formula_eval(f, NULL, 0, 0, (i64[]){1}, &env, &got, &stored));
    assert_true(fabs(got - sum) < 1e-15);
    assert_false(formula_eval(f, NULL, 1, 0, (i64[]){4, 0}, &env, &got, &stored)); // n is 4
    FormulaMemo *memo = formula_memo_new(a, f); // the same, whatever was asked before
    for (int turn = 0; turn < 2; turn++) {
        for (i64 at = 0; at < 40; at++) {
            double again = 0;
            bool too = false;
            i64 point[] = {at / 8, turn ? 7 - at % 8 : at % 8};
            got = 0;
            bool ok = formula_eval(f, NULL, 1, 0, point, &env, &got, &stored);
            assert_int_equal(formula_eval(f, memo, 1, 0, point, &env, &again, &too), ok);
            assert_true(!ok || (again == got && too == stored));
        }
    }
    Buf b = {.arena = a};
    formula_print(f, &b);
    assert_true(str_has(buf_str(&b), S("ss[r] = sum k: x[r, k] * x[r, k]  for r < n; k < 8\n")));
    assert_true(str_has(buf_str(&b), S(" if i != 3  for r < n, i < 8\n")));
    arena_free(a);
}

static void a_stage_that_is_read_in_a_sum_is_evaluated_once(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Exprs *x = exprs_new(a);
    Formula *f = NEW(a, Formula);
    World w = {.n = NULL};
    const Expr *four = ex_int(x, 4), *eight = ex_int(x, 8);
    const Buffer *bx = buffer_new(x, "x", TY_F32, SCOPE_ARG, 2, (const Expr *[]){four, eight});
    const Buffer *ss = buffer_new(x, "ss", TY_F32, SCOPE_TEMP, 1, &four);
    Var *r = var_new(x, "r", TY_I32, 0, 3), *k = var_new(x, "k", TY_I32, 0, 7),
        *j = var_new(x, "j", TY_I32, 0, 7);
    Var *q = var_new(x, "q", TY_I32, 0, 3);
    const Expr *er = ex_var(x, r), *eq = ex_var(x, q);
    *f = (Formula){.x = x, .name = "twice", .nstages = 2};
    f->stage[0] = (Stage){.name = "ss",
                          .nax = 1,
                          .nred = 1,
                          .ax = {{r, four}},
                          .red = {{k, eight}},
                          .op = RED_SUM,
                          .body = ex_load(x, bx, (const Expr *[]){er, ex_var(x, k)}),
                          .out = ss};
    const Expr *y = ex_load(x, bx, (const Expr *[]){eq, ex_var(x, j)});
    f->stage[1] = (Stage){.name = "y",
                          .nax = 1,
                          .nred = 1,
                          .ax = {{q, four}},
                          .red = {{j, eight}},
                          .op = RED_MAX,
                          .body = ex_mul(x, y, ex_load(x, ss, &eq))};
    double got;
    bool stored;
    for (int i = 0; i < 32; i++) w.x[i] = i;
    Env env = {.load = world_load, .user = &w};
    assert_true(formula_eval(f, NULL, 1, 0, (i64[]){0}, &env, &got, &stored));
    assert_true(got == 7 * 28);
    assert_int_equal(w.loads, 16);
    FormulaMemo *memo = formula_memo_new(a, f);
    for (int i = 0; i < 8; i++) { // and none twice, over calls
        assert_true(formula_eval(f, memo, 1, 0, (i64[]){i % 4}, &env, &got, &stored));
        assert_true(got == (8 * (i % 4) + 7) * (28 + 64 * (i % 4)));
    }
    assert_int_equal(w.loads, 16 + 4 * 16);
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_bound_kernel_computes_every_element),
        cmocka_unit_test(memory_of_16_bit_floats_keeps_eleven_bits),
        cmocka_unit_test(threads_share_workgroup_memory_across_a_barrier),
        cmocka_unit_test(two_threads_must_not_store_to_one_element),
        cmocka_unit_test(workgroups_must_not_touch_each_others_elements),
        cmocka_unit_test(an_index_past_the_end_is_found_in_its_own_dimension),
        cmocka_unit_test(memory_is_poisoned_until_it_is_stored),
        cmocka_unit_test(a_barrier_needs_every_thread),
        cmocka_unit_test(loops_may_run_a_different_number_of_times_in_each_thread),
        cmocka_unit_test(subgroups_sum_over_their_lanes),
        cmocka_unit_test(arithmetic_rounds_to_f32_and_integers_wrap),
        cmocka_unit_test(division_by_zero_is_an_error),
        cmocka_unit_test(fuel_ends_a_long_loop),
        cmocka_unit_test(the_cpu_runs_a_range_of_the_outermost_loop),
        cmocka_unit_test(arguments_that_do_not_fit_are_refused),
        cmocka_unit_test(a_formula_is_its_stages_definitions),
        cmocka_unit_test(a_stage_that_is_read_in_a_sum_is_evaluated_once),
    };
    return cmocka_run_group_tests_name("loop: referees", tests, NULL, NULL);
}
