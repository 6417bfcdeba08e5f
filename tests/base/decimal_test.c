// tests/base/decimal_test.c: doubles to and from text, against libc, which is exact.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"

#include <stdio.h>
#include <stdlib.h>

static u64 rng = 88172645463325252u;
static u64 next(void) {
    rng ^= rng << 13;
    rng ^= rng >> 7;
    return rng ^= rng << 17;
}

static void same_as_strtod(const char *text) {
    double v = 0, want = strtod(text, NULL);
    assert_true(str_to_f64(str_c(text), &v));
    if (memcmp(&v, &want, 8) != 0) fail_msg("%s: %a, not %a", text, v, want);
}

static void parsing_rounds_as_libc_does(void **state) {
    (void)state;
    static const char *const texts[] = {"0",
                                        "-0",
                                        "1",
                                        "-1.5",
                                        "1e5",
                                        "1E-5",
                                        "+.5",
                                        "5.",
                                        "1e400",
                                        "-1e400",
                                        "1e-400",
                                        "4.9406564584124654e-324",
                                        "2.4703282292062327e-324",
                                        "2.4703282292062328e-324",
                                        "2.2250738585072011e-308",
                                        "2.2250738585072014e-308",
                                        "1.7976931348623157e308",
                                        "1.7976931348623158e308",
                                        "1.7976931348623159e308",
                                        "9007199254740993",
                                        "9007199254740992.999999999999999999",
                                        "9007199254740993.0000000000000000000000000000000000001",
                                        "123456789012345678901234567890",
                                        "1e22",
                                        "1e23",
                                        "8.5e-23",
                                        "0.1",
                                        "10000000000000000000000e-22",
                                        "179769313486231580793728971405301e276",
                                        "0e999999999",
                                        "0.000001e-318"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) same_as_strtod(texts[i]);
    char t[900];
    for (int i = 0; i < 3000; i++) {
        snprintf(t, sizeof t, "%llu.%llue%d", (unsigned long long)(next() >> (next() % 64)),
                 (unsigned long long)next(), (int)(next() % 700) - 360);
        same_as_strtod(t);
    }
    // A tie that only the 800th digit breaks.
    memset(t, '0', 860);
    memcpy(t, "9007199254740993.", 17);
    t[850] = '1';
    t[851] = 0;
    same_as_strtod(t);
}

static void parsing_refuses_what_is_not_a_number(void **state) {
    (void)state;
    static const char *const bad[] = {"",   "-",  ".",    "e5",  "1e",  "1e+", "1x",
                                      " 1", "1 ", "1..2", "inf", "nan", "0x10"};
    double v;
    for (size_t i = 0; i < COUNT_OF(bad); i++) assert_false(str_to_f64(str_c(bad[i]), &v));
}

static void printing_is_shortest_and_reads_back(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    for (int i = 0; i < 4000; i++) {
        u64 bits = next();
        if (i < 300) // powers of two and their neighbours have uneven gaps
            bits = ((u64)(i * 7 % 2046 + 1) << 52) + (u64)(i % 3) - 1;
        else if (i < 1000)
            bits = f32_bits(1.0f) + ((u64)(1023 - 30 + i % 60) << 52) + (next() & 0xFFFFF00000000u);
        double v;
        memcpy(&v, &bits, 8);
        if (v != v || v - v != 0) continue;
        Str s = str_fmt(a, "%g", v);
        double back = strtod(s.ptr, NULL);
        if (memcmp(&v, &back, 8) != 0) fail_msg("%a prints as %s", v, s.ptr);
        // libc needs no fewer digits
        int digits = 0;
        for (size_t k = 0; k < s.len && s.ptr[k] != 'e'; k++)
            digits += s.ptr[k] >= '0' && s.ptr[k] <= '9';
        char t[64];
        int p = 1;
        for (; p < 17; p++) {
            snprintf(t, sizeof t, "%.*e", p - 1, v);
            if (strtod(t, NULL) == v) break;
        }
        if (str_has(s, S("e"))) assert_true(digits <= p);
        arena_reset(a);
    }
    arena_free(a);
}

static void printing_looks_as_in_javascript(void **state) {
    (void)state;
    static const struct {
        double v;
        const char *text;
    } rows[] = {{0, "0"},
                {-0.0, "-0"},
                {1, "1"},
                {-2.5, "-2.5"},
                {0.1, "0.1"},
                {1e21, "1e+21"},
                {1e20, "100000000000000000000"},
                {0.000001, "0.000001"},
                {1e-7, "1e-7"},
                {1.5e-10, "1.5e-10"},
                {123456.789, "123456.789"},
                {5e-324, "5e-324"},
                {1.7976931348623157e308, "1.7976931348623157e+308"},
                {1.0 / 3, "0.3333333333333333"},
                {10, "10"},
                {9.5367431640625e-07, "9.5367431640625e-7"},
                {100, "100"}};
    Arena *a = arena_new(NULL);
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_string_equal(str_fmt(a, "%g", rows[i].v).ptr, rows[i].text);
    assert_string_equal(str_fmt(a, "%g %g", __builtin_inf(), -__builtin_inf()).ptr, "inf -inf");
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parsing_rounds_as_libc_does),
        cmocka_unit_test(parsing_refuses_what_is_not_a_number),
        cmocka_unit_test(printing_is_shortest_and_reads_back),
        cmocka_unit_test(printing_looks_as_in_javascript),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
