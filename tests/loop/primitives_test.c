// Primitives one by one: what would make a kernel wrong is refused with an error, and what is
// accepted means the same, tails, regions past an axis and factored sums included.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "formulas.h"

typedef struct Fixture {
    Arena *a;
    Case c;
    Profile p;
    Formula *f;
} Fixture;

enum { NORM, SOFTMAX, MATMUL, NEIGHBOURS, BLOCKS };

// y[i] = 2a[i] + 2a[i + 1], the doubled values a stage of their own
static void make_neighbours(Maker *m, i64 K) {
    Exprs *x = m->x;
    const Buffer *A = arg_(m, "a", TY_F32, 1, K, 1, false),
                 *Y = arg_(m, "y", TY_F32, 1, K - 1, 1, true);
    Stage *s = st_(m, "twice", RED_NONE);
    const Expr *i = ax_(m, s, "i", ex_int(x, K), false);
    const Buffer *twice = res_(m, s, ex_mul(x, L1(A, i), ex_f32(x, 2)));
    s = st_(m, "out", RED_NONE);
    i = ax_(m, s, "i", ex_int(x, K - 1), false);
    s->store[s->nstores++] =
        (Store){Y, {i}, ex_add(x, L1(twice, i), L1(twice, ex_add(x, i, ex_int(x, 1)))), NULL};
}

// y[i] = sum_k a[i, k] + b[k / 4]: in blocks of four, b is the same for all of a block
static void make_blocks(Maker *m, i64 K) {
    Exprs *x = m->x;
    const Buffer *A = arg_(m, "a", TY_F32, 2, 3, K, false),
                 *B = arg_(m, "b", TY_F32, 1, (K + 3) / 4, 1, false),
                 *Y = arg_(m, "y", TY_F32, 1, 3, 1, true);
    Stage *s = st_(m, "acc", RED_SUM);
    const Expr *i = ax_(m, s, "i", ex_int(x, 3), false), *k = ax_(m, s, "k", ex_int(x, K), true);
    const Buffer *acc = res_(m, s, ex_add(x, L2(A, i, k), L1(B, ex_idiv(x, k, ex_int(x, 4)))));
    s = st_(m, "out", RED_NONE);
    i = ax_(m, s, "i", ex_int(x, 3), false);
    s->store[s->nstores++] = (Store){Y, {i}, L1(acc, i), NULL};
}

static Nest *start(Fixture *t, int what, const char *profile, i64 K) {
    static Rng r = {3};
    t->a = arena_new(NULL);
    assert_true(profile_named(str_c(profile), &t->p));
    t->p.dims = 0;
    Exprs *x = exprs_new(t->a);
    t->f = NEW(t->a, Formula);
    *t->f = (Formula){.x = x, .name = "k"};
    t->c = (Case){.f = t->f};
    Maker m = {t->a, x, t->f, &r, &t->c, NULL, false};
    if (what == NORM) make_rows(&m, 3, K, 0);
    if (what == SOFTMAX) make_rows(&m, 3, K, 2);
    if (what == MATMUL) make_matmul(&m, QUANT_Q4_1, 3, 8, K, 4, EPI_PLAIN, 0);
    if (what == NEIGHBOURS) make_neighbours(&m, K);
    if (what == BLOCKS) make_blocks(&m, K);
    finish_case(&m, 3, 3, 0, 100);
    return nest_new(t->a, t->f, &t->p);
}

static const struct {
    int what;
    const char *profile, *text;
    ErrId id;
} wrong[] = {
    {NORM, "cpu", "vectorise ss.k", ERR_SCHED_ILLEGAL},
    {NORM, "gpu", "bind ss.k thread.x", ERR_SCHED_ILLEGAL},
    {NORM, "cpu", "bind ss.k cpu", ERR_SCHED_ILLEGAL},
    {NORM, "cpu", "bind out.n wg.x", ERR_SCHED_ILLEGAL},
    {NORM, "cpu", "bind out.n thread.x", ERR_SCHED_ILLEGAL},
    {NORM, "gpu", "bind out.n cpu", ERR_SCHED_ILLEGAL},
    {NORM, "gpu", "bind out.k wg.x", ERR_SCHED_ILLEGAL}, // not outermost
    {NORM, "gpu", "bind out.n lane", ERR_SCHED_LIMIT},   // n is not known
    {NORM, "gpu", "bind ss.k lane", ERR_SCHED_ILLEGAL},  // ten iterations, four lanes
    {NORM, "gpu", "bind out.n wg.x\nbind out.k wg.x", ERR_SCHED_ILLEGAL},
    {NORM, "cpu", "split ss.k 0 a b", ERR_SCHED_ILLEGAL},
    {NORM, "cpu", "split ss.k 4 a a", ERR_SCHED_NAME},
    {NORM, "cpu", "split ss.k 4 n b", ERR_SCHED_NAME},
    {NORM, "cpu", "split ss.zz 4 a b", ERR_SCHED_NO_LOOP},
    {NORM, "cpu", "split zz.k 4 a b", ERR_SCHED_NO_STAGE},
    {NORM, "cpu", "unroll ss.n", ERR_SCHED_ILLEGAL}, // not constant
    {NORM, "cpu", "unroll ss.k\nsplit ss.k 2 a b", ERR_SCHED_ILLEGAL},
    {NORM, "cpu", "fuse ss.n ss.k f", ERR_SCHED_ILLEGAL}, // an axis and a reduction
    {NORM, "cpu", "fuse out.k out.n f", ERR_SCHED_ILLEGAL},
    {NORM, "cpu", "reorder ss n n", ERR_SCHED_ILLEGAL},
    {NORM, "cpu", "reorder out n zz", ERR_SCHED_NO_LOOP},
    {NORM, "cpu", "inline ss", ERR_SCHED_ILLEGAL},
    {NORM, "cpu", "compute_at out ss.n", ERR_SCHED_ILLEGAL},
    {NORM, "cpu", "split ss.n 2 a b\ncompute_at ss out.n",
     ERR_SCHED_ILLEGAL}, // has a schedule already
    {NORM, "cpu", "rfactor ss.n p", ERR_SCHED_ILLEGAL},
    {NORM, "cpu", "split ss.k 4 a b\nrfactor ss.b p", ERR_SCHED_NEEDS_GUARD},
    {NORM, "cpu", "factor ss.k", ERR_SCHED_ILLEGAL}, // nothing around it
    {NORM, "cpu", "guard ss zz", ERR_SCHED_NO_LOOP},
    {NORM, "cpu", "cache_read ss y c", ERR_SCHED_ILLEGAL},         // written
    {NORM, "cpu", "cache_read ss x c\nhalf c", ERR_SCHED_ILLEGAL}, // no f16
    {NORM, "gpu", "half ss", ERR_SCHED_ILLEGAL},
    {NORM, "gpu", "half zz", ERR_SCHED_NO_STAGE},
    {NORM, "cpu", "set block 4", ERR_SCHED_ILLEGAL},
    {SOFTMAX, "cpu", "compute_at e out.k\ncompute_at top out.n",
     ERR_SCHED_ILLEGAL}, // e is read by the sum, outside
    {SOFTMAX, "cpu", "compute_at sum out.n\nreorder out k n", ERR_SCHED_ILLEGAL},
};

static void what_would_be_wrong_is_refused(void **s) {
    (void)s;
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        Fixture t;
        Err e = {0};
        Nest *n = start(&t, wrong[i].what, wrong[i].profile, 10);
        if (schedule_apply(n, str_c(wrong[i].text), S("test"), &e))
            fail_msg("accepted: %s", wrong[i].text);
        if (e.id != wrong[i].id)
            fail_msg("%s: refused with %d, %s", wrong[i].text, (int)e.id, e.msg);
        arena_free(t.a);
    }
}

// Each line is legal by itself; together they would have threads stand for two loops at once, or
// share what each of them has of its own.
static void threads_inside_threads_are_refused(void **s) {
    (void)s;
    static const char *const around =
        "split out.k 4 a b\nreorder out a b\nbind out.b thread.x\ncompute_at ss out.b\n"
        "split ss.k 2 c d\nrfactor ss.d p\n";
    static const char *const inside[] = {"bind p.d thread.x\n", "bind p.d thread.y\n", ""};
    for (size_t i = 0; i < COUNT_OF(inside); i++) {
        Fixture t;
        Err e = {0};
        Kernel *k;
        Nest *n = start(&t, NORM, "gpu", 12);
        assert_true(schedule_apply(n, str_c(around), S("test"), &e));
        assert_true(schedule_apply(n, str_c(inside[i]), S("test"), &e));
        assert_true(nest_build(t.a, n, &k, &e) == !*inside[i]);
        assert_int_equal(e.id, *inside[i] ? ERR_SCHED_ILLEGAL : ERR_NONE);
        arena_free(t.a);
    }
}

static const struct {
    int what;
    const char *profile;
    i64 k;
    const char *text;
} right[] = {
    {NORM, "cpu", 10, "split ss.k 4 kc lane\nguard ss k\nrfactor ss.lane p\nvectorise p.lane"},
    {NORM, "cpu", 10, "split ss.k 4 a b\nguard ss k\nunroll ss.b"},
    {NORM, "cpu", 10, "split out.k 4 a b\nguard out k\nvectorise out.b"},
    {NORM, "cpu", 10,
     "split out.k 4 a b\nsplit out.a 2 c d\nguard out k\nreorder out d c\ncompute_at ss out.n"},
    {NORM, "cpu", 12, "split out.k 4 a b\nfuse out.n out.a f\nbind out.f cpu\ncompute_at ss out.f"},
    {NORM, "cpu", 12, "compute_at ss out.n\nsplit ss.k 3 a b\nrfactor ss.b p"},
    {NORM, "cpu", 12, "cache_read ss x c\ncompute_at ss out.n\ncompute_at c ss.k"},
    {NORM, "gpu", 12,
     "bind out.n wg.x\nbind out.k thread.x\ncompute_at ss out.n\nsplit ss.k 4 a b\nreorder ss n a "
     "b\nbind ss.b lane"},
    {NORM, "gpu", 12,
     "bind out.n wg.x\nbind out.k thread.x\ncompute_at ss out.n\nsplit ss.k 4 a b\nrfactor ss.b "
     "p\nbind p.b thread.x"},
    {SOFTMAX, "cpu", 10,
     "inline e\nsplit top.k 4 a b\nguard top k\nrfactor top.b p\ncompute_at sum out.n"},
    {SOFTMAX, "cpu", 10, "compute_at sum out.n\ncompute_at e out.n"},
    {MATMUL, "cpu4", 64, "inline w\nsplit acc.k 32 a b\nreorder acc n o a b\nfactor acc.b"},
    {MATMUL, "cpu4", 64, "inline w\nsplit acc.k 32 a b\nreorder acc n a b o\nvectorise acc.o"},
    {BLOCKS, "cpu", 12, "split acc.k 4 a b\nfactor acc.b"},
    {BLOCKS, "cpu", 12, "compute_at acc out.i\nsplit acc.k 2 a b\nfactor acc.b"},
    {NEIGHBOURS, "cpu", 10, "split out.i 4 a b\nguard out i\ncompute_at twice out.a"},
    {NEIGHBOURS, "cpu", 10,
     "split out.i 4 a b\nguard out i\ncompute_at twice out.a\nvectorise out.b\nunroll twice.i"},
    {NEIGHBOURS, "cpu", 13, "split out.i 4 a b\nbind out.a cpu\ncompute_at twice out.a"},
    {NEIGHBOURS, "gpu", 10,
     "split out.i 4 a b\nguard out i\nbind out.a wg.x\nbind out.b thread.x\ncompute_at twice "
     "out.a\nsplit twice.i 4 c d\nguard twice i\nbind twice.d thread.x"},
};

static void what_is_accepted_means_the_same(void **s) {
    (void)s;
    Rng r = {1};
    for (size_t i = 0; i < COUNT_OF(right); i++) {
        Fixture t;
        Err e = {0};
        Kernel *k;
        Nest *n = start(&t, right[i].what, right[i].profile, right[i].k);
        if (!schedule_apply(n, str_c(right[i].text), S("test"), &e) || !nest_build(t.a, n, &k, &e))
            fail_msg("%s: %s", right[i].text, e.msg);
        u32 grid[3];
        InterpOptions o = {.check = true};
        case_clear(&t.c);
        case_grid(&t.c, k, grid);
        if (!kernel_interp(t.a, k, t.c.data, t.c.dims, grid, &o, &e))
            fail_msg("%s: %s", right[i].text, e.msg);
        double off = case_error(&t.c, &r, 100);
        if (!(off >= 0 && off < 2e-5)) fail_msg("%s: off by %g", right[i].text, off);
        arena_free(t.a);
    }
}

static void a_tail_without_its_guard_is_not_built(void **s) {
    (void)s;
    static const char *const texts[] = {"split ss.k 4 a b", "split out.k 4 a b",
                                        "split out.k 3 a b\nsplit out.a 3 c d"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        Fixture t;
        Err e = {0};
        Kernel *k;
        Nest *n = start(&t, NORM, "cpu", 10);
        assert_true(schedule_apply(n, str_c(texts[i]), S("test"), &e));
        assert_false(nest_build(t.a, n, &k, &e));
        assert_int_equal(e.id, ERR_SCHED_NEEDS_GUARD);
        arena_free(t.a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_would_be_wrong_is_refused),
        cmocka_unit_test(threads_inside_threads_are_refused),
        cmocka_unit_test(what_is_accepted_means_the_same),
        cmocka_unit_test(a_tail_without_its_guard_is_not_built),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
