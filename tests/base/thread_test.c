// tests/base/thread_test.c: the pool runs each share exactly once, sleeps when idle and wakes
// again.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"

#include <time.h>

typedef struct Count {
    u32 runs[8][64]; // a cache line and more for each thread
} Count;

static void count_share(void *user, int thread) { ((Count *)user)->runs[thread][0]++; }

static void every_share_runs_once_in_every_run(void **state) {
    (void)state;
    for (int threads = 1; threads <= 4; threads++) {
        Arena *a = arena_new(NULL);
        Pool *p = pool_new(a, threads);
        Count c = {0};
        int n = pool_threads(p), runs = threads <= cpu_count() ? 5000 : 100;
        for (int i = 0; i < runs; i++) pool_run(p, count_share, &c);
        for (int i = 0; i < 8; i++) assert_int_equal(c.runs[i][0], i < n ? runs : 0);
        pool_free(p);
        arena_free(a);
    }
}

static void sleepers_wake(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Pool *p = pool_new(a, 2);
    Count c = {0};
    for (int i = 0; i < 10; i++) {
        double start = clock_ms();
        while (clock_ms() - start < 6) // past the 2 ms of the spinning
            nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        pool_run(p, count_share, &c);
    }
    for (int i = 0; i < pool_threads(p); i++) assert_int_equal(c.runs[i][0], 10);
    pool_free(p);
    arena_free(a);
}

static void an_idle_pool_burns_no_time(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Pool *p = pool_new(a, 2);
    nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    clock_t before = clock();
    nanosleep(&(struct timespec){.tv_nsec = 200000000}, NULL);
    assert_true(clock() - before < CLOCKS_PER_SEC / 20); // of 200 ms
    pool_free(p);
    arena_free(a);
}

static void the_clock_goes_forward(void **state) {
    (void)state;
    double a = clock_ms(), b = clock_ms();
    assert_true(b >= a);
    assert_true(cpu_count() >= 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_share_runs_once_in_every_run),
        cmocka_unit_test(sleepers_wake),
        cmocka_unit_test(an_idle_pool_burns_no_time),
        cmocka_unit_test(the_clock_goes_forward),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
