// The names of errors, which programs compare: one that is renamed or gone breaks them. A new row
// of err.def is a new line of tests/golden/base/errors.txt; HOB_ACCEPT=1 writes it.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include "base/base.h"

#define FILE_OF_NAMES "tests/golden/base/errors.txt"

static void names_of_errors_stay(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Buf now = {.arena = a};
    Err err = {0};
    Str was;
    for (int i = 0; i < ERR_COUNT; i++) buf_fmt(&now, "%s\n", err_name((ErrId)i));
    if (getenv("HOB_ACCEPT")) {
        FILE *f = fopen(FILE_OF_NAMES, "wb");
        assert_non_null(f);
        assert_int_equal(fwrite(now.ptr, 1, now.len, f), now.len);
        assert_int_equal(fclose(f), 0);
    }
    assert_true(source_file_text(a, S(FILE_OF_NAMES), &was, &err));
    assert_true(str_eq(was, buf_str(&now)));
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(names_of_errors_stay)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
