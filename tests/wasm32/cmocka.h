// tests/wasm32/cmocka.h: as much of cmocka as our tests use, for a machine where cmocka does not
// run: the first failure ends the program. Prints what cmocka prints, so that the same eyes read
// it.
#ifndef HOB_TESTS_CMOCKA_H
#define HOB_TESTS_CMOCKA_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void test_failed(const char *file, int line, const char *what) {
    printf("[  ERROR   ] --- %s:%d: %s\n", file, line, what);
    exit(1);
}

#define fail_msg(...)      (printf(__VA_ARGS__), printf("\n"), test_failed(__FILE__, __LINE__, "fail"))
#define assert_true(c)     ((c) ? (void)0 : test_failed(__FILE__, __LINE__, #c))
#define assert_false(c)    assert_true(!(c))
#define assert_null(p)     assert_true((p) == NULL)
#define assert_non_null(p) assert_true((p) != NULL)
#define assert_int_equal(a, b)                                                                     \
    do {                                                                                           \
        unsigned long long a_ = (unsigned long long)(a), b_ = (unsigned long long)(b);             \
        if (a_ != b_) {                                                                            \
            printf("%#llx != %#llx\n", a_, b_);                                                    \
            test_failed(__FILE__, __LINE__, #a " == " #b);                                         \
        }                                                                                          \
    } while (0)
#define assert_int_not_equal(a, b)   assert_true((a) != (b))
#define assert_in_range(v, lo, hi)   assert_true((v) >= (lo) && (v) <= (hi))
#define assert_ptr_equal(a, b)       assert_true((const void *)(a) == (const void *)(b))
#define assert_ptr_not_equal(a, b)   assert_true((const void *)(a) != (const void *)(b))
#define assert_memory_equal(a, b, n) assert_true(memcmp((a), (b), (n)) == 0)
#define assert_string_equal(a, b)                                                                  \
    do {                                                                                           \
        const char *a_ = (a), *b_ = (b);                                                           \
        if (strcmp(a_, b_) != 0) {                                                                 \
            printf("\"%s\"\n\"%s\"\n", a_, b_);                                                    \
            test_failed(__FILE__, __LINE__, #a " == " #b);                                         \
        }                                                                                          \
    } while (0)
#define print_error   printf
#define print_message printf

struct CMUnitTest {
    const char *name;
    void (*run)(void **state);
};
#define cmocka_unit_test(f) {#f, f}

static inline int run_tests(const struct CMUnitTest *t, size_t n) {
    void *state = NULL;
    for (size_t i = 0; i < n; i++) {
        printf("[ RUN      ] %s\n", t[i].name);
        fflush(stdout);
        t[i].run(&state);
        printf("[       OK ] %s\n", t[i].name);
    }
    return 0;
}
#define cmocka_run_group_tests(t, setup, teardown) run_tests((t), sizeof(t) / sizeof((t)[0]))

#endif
