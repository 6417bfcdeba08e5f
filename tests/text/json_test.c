// Reading JSON: what RFC 8259 allows and nothing else.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "text/text.h"

static Arena *a;
static JVal v;
static Err err;

static bool reads(const char *text) {
    err = (Err){0};
    return jval_from_json(a, str_c(text), &v, &err);
}

static void numbers_keep_their_kind(void **state) {
    (void)state;
    assert_true(reads(" -9223372036854775808 "));
    assert_int_equal(v.type, J_INT);
    assert_true(v.i == INT64_MIN);
    assert_true(reads("9223372036854775808"));
    assert_int_equal(v.type, J_FLOAT);
    assert_true(reads("-0.5e+1"));
    assert_true(v.type == J_FLOAT && v.f == -5.0);
    assert_true(reads("0"));
    assert_true(v.type == J_INT && v.i == 0);
}

static void strings_are_unescaped(void **state) {
    (void)state;
    assert_true(reads("\"a\\n\\u00e9\\ud83d\\ude00\\\"\\/ \xc3\xa9\""));
    assert_true(str_eq(v.s, S("a\n\xc3\xa9\xf0\x9f\x98\x80\"/ \xc3\xa9")));
    assert_true(reads("\"\""));
    assert_int_equal(v.s.len, 0);
    assert_true(reads("\"x\\u0000y\""));
    assert_int_equal(v.s.len, 3);
}

static void the_last_of_two_keys_wins(void **state) {
    (void)state;
    assert_true(reads("{\"a\":1,\"b\":[true,false,null],\"a\":2}"));
    assert_int_equal(v.type, J_DICT);
}

static void what_is_not_json_is_refused(void **state) {
    (void)state;
    static const char *const bad[] = {
        "",
        " ",
        "{",
        "[",
        "[1,]",
        "{\"a\":1,}",
        "{a:1}",
        "{\"a\" 1}",
        "{\"a\":}",
        "[1 2]",
        "01",
        "-",
        "1.",
        ".5",
        "1e",
        "1e+",
        "+1",
        "1e999",
        "nul",
        "truex",
        "1 2",
        "\"",
        "\"\\",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\ud800\"",
        "\"\\udc00\"",
        "\"\\ud800\\u0041\"",
        "\"\x01\"",
        "\"\xff\"",
        "\"\xc3\"",
        "\"\xed\xa0\x80\"",
        "[\"a\":1]",
        "{\"a\"}",
        "]",
        "}",
        ",",
        "NaN",
        "Infinity",
        "'a'",
        "\xef\xbb\xbf"
        "1",
        "// c\n1",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (reads(bad[i]) || err.id != ERR_JSON) fail_msg("`%s` was read", bad[i]);
    }
}

static void nesting_without_end_is_refused(void **state) {
    (void)state;
    Buf b = {.arena = a};
    for (int i = 0; i < 100000; i++) buf_char(&b, '[');
    err = (Err){0};
    assert_false(jval_from_json(a, buf_str(&b), &v, &err));
    assert_int_equal(err.id, ERR_JSON);
}

static void an_error_says_where(void **state) {
    (void)state;
    assert_false(reads("{\"a\": [1,\n 2 3]}"));
    assert_int_equal(err.line, 2);
    assert_int_equal(err.col, 4);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_keep_their_kind),
        cmocka_unit_test(strings_are_unescaped),
        cmocka_unit_test(the_last_of_two_keys_wins),
        cmocka_unit_test(what_is_not_json_is_refused),
        cmocka_unit_test(nesting_without_end_is_refused),
        cmocka_unit_test(an_error_says_where),
    };
    a = arena_new(NULL);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    arena_free(a);
    return failed;
}
