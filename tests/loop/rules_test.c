// tests/loop/rules_test.c: every rule on random shapes, parameters and profiles: the built kernel
// passes the verifier and, interpreted with poison, race and bounds checks, equals the float64
// referee. HOB_CASES sets how many.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "cases.h"

static const char *const profile_names[] = {"cpu", "cpu4", "software", "gpu", "gpu", "cpu16"};

static int cases(void) {
    const char *s = getenv("HOB_CASES");
    return s ? atoi(s) : 100;
}

// A random nest of a kind for a random profile; its dims are off: shapes are constants here.
static Nest *nest_of(Arena *a, Rng *r, int kind, Case *c, Profile *p) {
    u32 which = rnd(r) % COUNT_OF(profile_names);
    assert_true(profile_named(str_c(profile_names[which]), p));
    p->dims = 0;
    static const i64 lanes[] = {0, 8, 32};
    static const i64 few[] = {0, 4, 8};
    if (which == 2) p->subgroup = few[rnd(r) % COUNT_OF(few)];     // whose lanes share their loads
    if (which == 4) p->subgroup = lanes[rnd(r) % COUNT_OF(lanes)]; // 4 stands in the profile
    p->dot4 = rnd(r) % 2;
    Nest *n = random_nest(a, r, kind, p, c);
    size_t end = strlen(c->what);
    snprintf(c->what + end, sizeof c->what - end, " for %s, %d lanes", profile_names[which],
             (int)p->subgroup);
    return n;
}

static void fail_case(const Case *c, const Nest *n, const char *stage, const Err *e) {
    char room[1024];
    Buf b = {.ptr = room, .cap = sizeof room, .limit = sizeof room};
    err_print(e, &b);
    fail_msg("%s: %s: %.*s\n%.*s", c->what, stage, (int)b.len, b.ptr, (int)n->log.len, n->log.ptr);
}

// Builds, verifies (where a profile is given: a naive nest is for no device), interprets, compares.
// Returns the largest error.
static double run_nest(Arena *a, Case *c, const Nest *n, const Profile *p, Rng *r) {
    Err e = {0};
    Kernel *k;
    if (!nest_build(a, n, &k, &e)) fail_case(c, n, "build", &e);
    if (p && !kernel_verify(k, p, &e)) fail_case(c, n, "verify", &e);
    u32 grid[3];
    case_clear(c);
    case_grid(c, k, grid);
    InterpOptions o = {.check = true};
    Arena *scratch = arena_new(NULL);
    if (!kernel_interp(scratch, k, c->data, c->dims, grid, &o, &e))
        fail_case(c, n, "interpret", &e);
    arena_free(scratch);
    return case_error(c, r, 40);
}

static void check_kind(int kind, const char *rule) {
    Rng r = {(u64)kind * 7919 + 1};
    int seen = 0;
    for (int i = 0; i < cases(); i++) {
        Arena *a = arena_new(NULL);
        Case c;
        Profile p;
        Nest *n = nest_of(a, &r, kind, &c, &p);
        assert_string_equal(rule_for(n)->name, rule);
        Err e = {0};
        Nest *again = nest_again(n);
        if (!random_rule(&r, n, &e)) fail_case(&c, n, "rule", &e);
        double err = run_nest(a, &c, n, &p, &r);
        if (!(err >= 0 && err < 2e-4))
            fail_msg("%s: off by %g\n%.*s", c.what, err, (int)n->log.len, n->log.ptr);
        // the log is the schedule: replayed on the naive nest it gives the same kernel, byte for
        // byte
        assert_true(schedule_apply(again, buf_str(&n->log), S("log"), &e));
        Kernel *k1, *k2;
        assert_true(nest_build(a, n, &k1, &e) && nest_build(a, again, &k2, &e));
        Buf t1 = {.arena = a}, t2 = {.arena = a};
        kernel_print(k1, &t1), kernel_print(k2, &t2);
        assert_true(str_eq(buf_str(&t1), buf_str(&t2)));
        assert_true(str_eq(buf_str(&n->log), buf_str(&again->log)));
        seen++;
        arena_free(a);
    }
    assert_int_equal(seen, cases());
}

static void rule_matmul_row_equals_the_formula(void **s) {
    (void)s, check_kind(KIND_ROW, "matmul_row");
}
static void rule_matmul_rows_equals_the_formula(void **s) {
    (void)s, check_kind(KIND_ROWS, "matmul_rows");
}
// Tiles of 16-bit floats: what they keep is rounded to 11 bits, what they sum is not.
static void tiles_of_16_bit_floats_equal_the_formula(void **s) {
    (void)s;
    Rng r = {31};
    int tiles = 0;
    double worst = 0;
    for (int i = 0; i < cases(); i++) {
        Arena *a = arena_new(NULL);
        Case c;
        Profile p;
        Err e = {0};
        assert_true(profile_named(S("gpu"), &p));
        p.f16 = 1, p.act_bits = 8;
        Nest *n = random_nest(a, &r, KIND_ROWS, &p, &c);
        if (!random_rule(&r, n, &e)) fail_case(&c, n, "rule", &e);
        bool half = str_has(buf_str(&n->log), S("half "));
        double err = run_nest(a, &c, n, &p, &r);
        if (!(err >= 0 && err < (half ? 2e-2 : 2e-4)))
            fail_msg("%s: off by %g\n%.*s", c.what, err, (int)n->log.len, n->log.ptr);
        tiles += half;
        if (half) worst = MAX2(worst, err);
        p.f16 = 0; // the same on a device that has none of them
        Kernel *k;
        assert_true(nest_build(a, n, &k, &e));
        assert_true(kernel_verify(k, &p, &e) == !half);
        arena_free(a);
    }
    print_message("%d of %d with tiles, at most %g off\n", tiles, cases(), worst);
    assert_true(tiles * 4 > cases() && worst > 1e-5);
}
static void rule_row_reduce_equals_the_formula(void **s) {
    (void)s, check_kind(KIND_REDUCE, "row_reduce");
}
static void rule_map_equals_the_formula(void **s) { (void)s, check_kind(KIND_MAP, "map"); }
static void rule_attention_equals_the_formula(void **s) {
    (void)s, check_kind(KIND_ATTENTION, "attention");
}

static void rule_matmul_bytes_equals_the_formula(void **s) {
    (void)s, check_kind(KIND_BYTES, "matmul_bytes");
}

static void naive_nest_equals_the_formula(void **s) {
    (void)s;
    Rng r = {99};
    for (int i = 0; i < cases() / 4; i++) {
        Arena *a = arena_new(NULL);
        Case c;
        Profile p;
        Nest *n = nest_of(a, &r, (int)(rnd(&r) % 4), &c, &p);
        double err = run_nest(a, &c, n, NULL, &r);
        if (!(err >= 0 && err < 2e-4)) fail_msg("%s: off by %g", c.what, err);
        arena_free(a);
    }
}

// A schedule without one of its lines is refused with an error, or it is another correct schedule.
// Both happen.
static void dropping_a_primitive_is_refused_or_stays_right(void **s) {
    (void)s;
    Rng r = {5};
    int refused = 0, right = 0;
    for (int i = 0; i < cases() / 5; i++) {
        Arena *a = arena_new(NULL);
        Case c;
        Profile p;
        Nest *n = nest_of(a, &r, i % KIND_COUNT, &c, &p);
        Err e = {0};
        Nest *naive = nest_again(n);
        assert_true(rule_apply(n, &e));
        Str log = buf_str(&n->log);
        int lines = 0;
        for (size_t k = 0; k < log.len; k++) lines += log.ptr[k] == '\n';
        for (int drop = 0; drop < lines; drop++) {
            Buf text = {.arena = a};
            Str rest = log;
            for (int l = 0; rest.len; l++) {
                Str line = str_cut(rest, '\n', &rest);
                if (l != drop) buf_add(&text, line), buf_char(&text, '\n');
            }
            Nest *m = nest_again(naive);
            Err err = {0};
            Kernel *k;
            if (!schedule_apply(m, buf_str(&text), S("drop"), &err) ||
                !nest_build(a, m, &k, &err) || !kernel_verify(k, &p, &err)) {
                assert_int_not_equal(err.id, ERR_NONE);
                refused++;
                continue;
            }
            double off = run_nest(a, &c, m, &p, &r);
            if (!(off >= 0 && off < 2e-4))
                fail_msg("%s: line %d dropped, off by %g\n%.*s", c.what, drop, off, (int)log.len,
                         log.ptr);
            right++;
        }
        arena_free(a);
    }
    assert_true(refused > 0);
    assert_true(right > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(naive_nest_equals_the_formula),
        cmocka_unit_test(rule_matmul_row_equals_the_formula),
        cmocka_unit_test(rule_matmul_rows_equals_the_formula),
        cmocka_unit_test(tiles_of_16_bit_floats_equal_the_formula),
        cmocka_unit_test(rule_row_reduce_equals_the_formula),
        cmocka_unit_test(rule_map_equals_the_formula),
        cmocka_unit_test(rule_attention_equals_the_formula),
        cmocka_unit_test(rule_matmul_bytes_equals_the_formula),
        cmocka_unit_test(dropping_a_primitive_is_refused_or_stays_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
