// UTF-8 in and out, categories, and the stream that never splits a character.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "text/text.h"

static Str stream(Arena *a, Str bytes, size_t piece) {
    Buf out = {.arena = a};
    Utf8Stream u = {0};
    for (size_t i = 0; i < bytes.len; i += piece) {
        utf8_stream_push(&u, str_sub(bytes, i, i + piece), &out);
        assert_true(u.n <= 3);
    }
    utf8_stream_end(&u, &out);
    return buf_str(&out);
}

static void assert_str(Str got, Str want) {
    assert_int_equal(got.len, want.len);
    assert_memory_equal(got.ptr, want.ptr, want.len);
}

static void utf8_reads_back_every_code_point(void **state) {
    (void)state;
    for (u32 cp = 0; cp < 0x110000; cp++) {
        char b[4];
        size_t pos = 0, n = utf8_put(cp, b);
        u32 got = utf8_next((Str){b, n}, &pos);
        if (cp >= 0xd800 && cp < 0xe000) {
            assert_int_equal(got, UTF8_BAD);
            assert_int_equal(pos, 1);
        } else {
            assert_int_equal(got, cp);
            assert_int_equal(pos, n);
        }
    }
}

static void utf8_refuses_overlong_cut_and_high_forms(void **state) {
    (void)state;
    const Str bad[] = {
        S("\x80"),         S("\xc0\x80"),         S("\xc1\xbf"), S("\xe0\x80\x80"),
        S("\xed\xa0\x80"), S("\xf0\x80\x80\x80"), S("\xc3"),     S("\xf4\x90\x80\x80"),
        S("\xff"),         S("\xe2\x82"),         S("\xc3x")};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        size_t pos = 0;
        assert_int_equal(utf8_next(bad[i], &pos), UTF8_BAD);
        assert_int_equal(pos, 1);
    }
}

static void kinds_are_those_of_unicode(void **state) {
    (void)state;
    static const struct {
        u32 cp;
        UniKind kind;
    } rows[] = {
        {'A', UC_LU},        {'z', UC_LL},      {'0', UC_ND},        {' ', UC_ZS},
        {'\n', UC_CC_SPACE}, {0, UC_CC},        {0x85, UC_CC_SPACE}, {0xa0, UC_ZS},
        {0x100, UC_LU},      {0x101, UC_LL},    {0x17e, UC_LL},      {0x1c5, UC_LT},
        {0x2b0, UC_LM},      {0x4e2d, UC_LO},   {0x301, UC_MN},      {0x2167, UC_NL},
        {0xb2, UC_NO},       {'_', UC_PC},      {0x20ac, UC_SC},     {0x1f642, UC_SO},
        {0x2028, UC_ZL},     {0x2029, UC_ZP},   {0xd800, UC_CS},     {0xe000, UC_CO},
        {0x378, UC_CN},      {0x10ffff, UC_CN}, {0x110000, UC_CN},   {UTF8_BAD, UC_CN},
        {0x200d, UC_CF},     {0x1c89, UC_LU},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        assert_int_equal(unicode_kind(rows[i].cp), rows[i].kind);
}

static void stream_never_splits_a_character(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    const Str text = S("a\xc3\xa9\xe4\xb8\xad\xf0\x9f\x99\x82z");
    for (size_t piece = 1; piece <= text.len; piece++) assert_str(stream(a, text, piece), text);
    Utf8Stream u = {0};
    Buf out = {.arena = a};
    utf8_stream_push(&u, S("x\xf0\x9f"), &out);
    assert_str(buf_str(&out), S("x"));
    utf8_stream_push(&u, S("\x99"), &out);
    assert_str(buf_str(&out), S("x"));
    utf8_stream_push(&u, S("\x82"), &out);
    assert_str(buf_str(&out), S("x\xf0\x9f\x99\x82"));
    arena_free(a);
}

static void stream_replaces_each_ill_formed_part_once(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    static const struct {
        Str in, want;
    } rows[] = {
        {{"\xff", 1}, {"\xef\xbf\xbd", 3}},
        {{"a\xe2\x82", 3}, {"a\xef\xbf\xbd", 4}},
        {{"\xe2\x82x", 3}, {"\xef\xbf\xbdx", 4}},
        {{"\xf0\x9f\xc3\xa9", 4}, {"\xef\xbf\xbd\xc3\xa9", 5}},
        {{"\xe0\x80", 2}, {"\xef\xbf\xbd\xef\xbf\xbd", 6}},
        {{"\xed\xa0\x80", 3}, {"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd", 9}},
        {{"\xf0\x9f\x99\xf0\x9f\x99\x82", 7}, {"\xef\xbf\xbd\xf0\x9f\x99\x82", 7}},
        {{"", 0}, {"", 0}},
    };
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        for (size_t piece = 1; piece <= 8; piece++)
            assert_str(stream(a, rows[i].in, piece), rows[i].want);
    }
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(utf8_reads_back_every_code_point),
        cmocka_unit_test(utf8_refuses_overlong_cut_and_high_forms),
        cmocka_unit_test(kinds_are_those_of_unicode),
        cmocka_unit_test(stream_never_splits_a_character),
        cmocka_unit_test(stream_replaces_each_ill_formed_part_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
