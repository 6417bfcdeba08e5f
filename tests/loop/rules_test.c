// tests/loop/rules_test.c: every rule on random shapes, parameters and profiles: the built kernel
// passes the verifier and, interpreted with poison, race and bounds checks, equals the float64
// referee. HOB_CASES sets how many.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "formulas.h"

static const char *const profile_names[] = {"cpu", "cpu4", "software", "gpu", "gpu"};

static int cases(void) {
    const char *s = getenv("HOB_CASES");
    return s ? atoi(s) : 100;
}

enum { KIND_ROW, KIND_ROWS, KIND_REDUCE, KIND_MAP, KIND_ATTENTION };

static i64 odd_size(Rng *r, i64 most) { // 1, primes, and sizes that no tile divides
    static const i64 some[] = {1, 2, 3, 7, 13, 31, 61, 97, 127};
    return rnd(r) % 2 ? MIN2(rnd_of(r, 9, some), most) : rnd_in(r, 1, most);
}

// A random nest of a kind, with its data; the profile's dims are off: shapes are constants here.
static Nest *random_nest(Arena *a, Rng *r, int kind, Case *c, Profile *p) {
    Exprs *x = exprs_new(a);
    int which = (int)(rnd(r) % COUNT_OF(profile_names));
    assert_true(profile_named(str_c(profile_names[which]), p));
    p->dims = 0;
    if (which == 4) p->subgroup = 4;
    Formula *f = NEW(a, Formula);
    *f = (Formula){.x = x, .name = "k"};
    *c = (Case){.f = f};
    Maker m = {a, x, f, r, c, NULL};
    i64 most = kind == KIND_ROW    ? 1
               : kind == KIND_ROWS ? rnd_in(r, 2, 20)
                                   : rnd_in(r, 1, 20),
        n = rnd_in(r, 1, most);
    Nest *nest = NULL;
    if (kind == KIND_ATTENTION) {
        AttentionShape s = {.kv_heads = rnd_in(r, 1, 3),
                            .head_dim = rnd_in(r, 1, 24) * (rnd(r) % 2 ? 4 : 3),
                            .ctx = rnd_in(r, most, 40),
                            .parts = rnd(r) % 2 ? 1 : rnd_in(r, 2, 5),
                            .rows = most};
        s.heads = s.kv_heads * rnd_in(r, 1, 3);
        make_attention(&m, &s, p, n, rnd_in(r, 0, s.ctx - n), &nest);
        snprintf(c->what, sizeof c->what, "%s attention kv %d h %d d %d ctx %d parts %d n %d",
                 profile_names[which], (int)s.kv_heads, (int)s.heads, (int)s.head_dim, (int)s.ctx,
                 (int)s.parts, (int)n);
        return nest;
    }
    i64 K = odd_size(r, 150);
    if (kind == KIND_MAP) {
        make_map(&m, most, K);
    } else if (kind == KIND_REDUCE) {
        if (rnd(r) % 3 == 0) K = 64 * rnd_in(r, 1, 4); // what a workgroup's threads share
        make_rows(&m, most, K, (int)rnd_in(r, 0, 2));
    } else {
        QuantId q = (QuantId)rnd_in(r, 0, QUANT_COUNT - 1);
        int epi = (int)rnd_in(r, 0, EPI_COUNT - 1);
        i64 O = odd_size(r, 70);
        K = (i64)round_up((u64)K, quant_info(q)->block);
        if (epi == EPI_PAIR) O = 2 * odd_size(r, 35);
        if (kind == KIND_ROWS && rnd(r) % 3 == 0) // what tiles in workgroup memory take
            most = rnd_in(r, 16, 40), n = rnd_in(r, 1, most), O = 32 * rnd_in(r, 1, 3),
            K = 32 * rnd_in(r, 1, 4);
        make_matmul(&m, q, most, O, K, (u32)p->vec, epi);
        snprintf(c->what, sizeof c->what, "%s matmul %s n %d/%d O %d K %d epilogue %d",
                 profile_names[which], quant_info(q)->name, (int)n, (int)most, (int)O, (int)K, epi);
    }
    if (!c->what[0])
        snprintf(c->what, sizeof c->what, "%s kind %d n %d/%d K %d", profile_names[which], kind,
                 (int)n, (int)most, (int)K);
    finish_case(&m, n, most, 0, 100);
    return nest_new(a, f, p);
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
        Nest *n = random_nest(a, &r, kind, &c, &p);
        const Rule *rl = rule_for(n);
        assert_string_equal(rl->name, rule);
        i64 value[RULE_MAX_PARAMS];
        rule_defaults(rl, n, value);
        for (int k = 0; k < RULE_MAX_PARAMS && rl->param[k].name; k++)
            if (rnd(&r) % 2) value[k] = rl->param[k].values[rnd(&r) % (u32)rl->param[k].n];
        Err e = {0};
        Buf text = {.arena = a};
        if (!rl->write(n, value, &text, &e) || !schedule_apply(n, buf_str(&text), S("rule"), &e))
            fail_case(&c, n, "rule", &e);
        double err = run_nest(a, &c, n, &p, &r);
        if (!(err >= 0 && err < 2e-4))
            fail_msg("%s: off by %g\n%.*s", c.what, err, (int)n->log.len, n->log.ptr);
        // the log is the schedule: replayed on the naive nest it gives the same kernel, byte for
        // byte
        Nest *again = n->direct ? NULL : nest_new(a, n->f, &p);
        if (again) {
            assert_true(schedule_apply(again, buf_str(&n->log), S("log"), &e));
            Kernel *k1, *k2;
            assert_true(nest_build(a, n, &k1, &e) && nest_build(a, again, &k2, &e));
            Buf t1 = {.arena = a}, t2 = {.arena = a};
            kernel_print(k1, &t1), kernel_print(k2, &t2);
            assert_true(str_eq(buf_str(&t1), buf_str(&t2)));
            assert_true(str_eq(buf_str(&n->log), buf_str(&again->log)));
        }
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
static void rule_row_reduce_equals_the_formula(void **s) {
    (void)s, check_kind(KIND_REDUCE, "row_reduce");
}
static void rule_map_equals_the_formula(void **s) { (void)s, check_kind(KIND_MAP, "map"); }
static void rule_attention_equals_the_formula(void **s) {
    (void)s, check_kind(KIND_ATTENTION, "attention");
}

static void naive_nest_equals_the_formula(void **s) {
    (void)s;
    Rng r = {99};
    for (int i = 0; i < cases() / 4; i++) {
        Arena *a = arena_new(NULL);
        Case c;
        Profile p;
        Nest *n = random_nest(a, &r, (int)(rnd(&r) % 4), &c, &p);
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
        Nest *n = random_nest(a, &r, i % 5, &c, &p);
        Err e = {0};
        assert_true(rule_apply(n, &e));
        if (n->direct) { // its parameters: each by itself is optional
            right++;
            arena_free(a);
            continue;
        }
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
            Nest *m = nest_new(a, n->f, &p);
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
        cmocka_unit_test(rule_row_reduce_equals_the_formula),
        cmocka_unit_test(rule_map_equals_the_formula),
        cmocka_unit_test(rule_attention_equals_the_formula),
        cmocka_unit_test(dropping_a_primitive_is_refused_or_stays_right),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
