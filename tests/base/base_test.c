// tests/base/base_test.c: strings, arenas, text building, errors, hashing, byte sources and half
// precision.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "base/base.h"

#include <stdlib.h>

#define assert_str(s, text)                                                                        \
    do {                                                                                           \
        Str got_ = (s);                                                                            \
        assert_int_equal(got_.len, strlen(text));                                                  \
        assert_memory_equal(got_.ptr, text, got_.len);                                             \
    } while (0)

static void strings_are_cut_and_compared(void **state) {
    (void)state;
    Str rest;
    assert_str(str_cut(S("a=b=c"), '=', &rest), "a");
    assert_str(rest, "b=c");
    assert_str(str_cut(S("abc"), '=', &rest), "abc");
    assert_null(rest.ptr);
    assert_str(str_cut(S("a="), '=', &rest), "a");
    assert_non_null(rest.ptr);
    assert_int_equal(rest.len, 0);
    assert_str(str_sub(S("abcdef"), 2, 4), "cd");
    assert_str(str_sub(S("abc"), 2, 99), "c");
    assert_int_equal(str_sub(S("abc"), 9, 2).len, 0);
    assert_str(str_trim(S(" \t a b\r\n")), "a b");
    assert_int_equal(str_trim(S("  \n")).len, 0);
    assert_true(str_starts(S("blk.0"), S("blk.")) && !str_starts(S("bl"), S("blk.")));
    assert_true(str_ends(S("a.gguf"), S(".gguf")) && !str_ends(S("f"), S(".gguf")));
    assert_true(str_has(S("aab"), S("ab")) && str_has(S("x"), S("")) && !str_has(S("a"), S("ab")));
    assert_true(str_cmp(S("a"), S("ab")) < 0 && str_cmp(S("b"), S("ab")) > 0 &&
                str_cmp(S("q"), S("q")) == 0);
    assert_true(str_eq(str_c(NULL), S("")));
}

static void whole_numbers_are_read_without_overflow(void **state) {
    (void)state;
    i64 v;
    assert_true(str_to_i64(S("-9223372036854775808"), &v) && v == INT64_MIN);
    assert_true(str_to_i64(S("9223372036854775807"), &v) && v == INT64_MAX);
    assert_true(str_to_i64(S("0x1F8"), &v) && v == 0x1F8);
    assert_true(str_to_i64(S("+7"), &v) && v == 7);
    static const char *const bad[] = {"",
                                      "-",
                                      "0x",
                                      "1a",
                                      "9223372036854775808",
                                      "-9223372036854775809",
                                      " 1",
                                      "--1",
                                      "99999999999999999999"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) assert_false(str_to_i64(str_c(bad[i]), &v));
}

static void arena_memory_is_zero_and_aligned_after_reset_too(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    for (int round = 0; round < 3; round++) {
        size_t used = 0;
        for (size_t n = 0; n < 20000; n = n * 3 / 2 + 1) {
            u8 *p = arena_alloc(a, n);
            assert_int_equal((uintptr_t)p % 16, 0);
            for (size_t i = 0; i < n; i++) assert_int_equal(p[i], 0);
            memset(p, 0xAA, n);
            used += n;
            assert_int_equal(arena_used(a), used);
        }
        arena_reset(a);
        assert_int_equal(arena_used(a), 0);
    }
    assert_null(arena_try(a, UINT64_MAX, 2));
    assert_null(arena_try(a, (u64)1 << 62, 1));
    assert_str(arena_str(a, S("kept")), "kept");
    arena_free(a);
    arena_free(NULL);
}

typedef struct Counting {
    int live, left;
} Counting;

static void *counting_alloc(void *user, size_t size) {
    Counting *c = user;
    if (c->left-- <= 0) return NULL;
    c->live++;
    void *p = malloc(size);
    memset(p, 0x5A, size); // a host need not give zeroed memory
    return p;
}

static void counting_free(void *user, void *p, size_t size) {
    (void)size;
    ((Counting *)user)->live--;
    free(p);
}

static void arena_uses_the_hosts_allocator_and_survives_its_refusal(void **state) {
    (void)state;
    Counting c = {.left = 0};
    HostAlloc host = {counting_alloc, counting_free, &c};
    assert_null(arena_new(&host));
    c.left = 3;
    Arena *a = arena_new(&host);
    u8 *p = arena_try(a, 1, 100000);
    for (int i = 0; i < 100000; i++) assert_int_equal(p[i], 0);
    assert_non_null(arena_try(a, 1, 100000));
    assert_null(arena_try(a, 1, 100000));
    assert_int_equal(c.live, 3);
    arena_free(a);
    assert_int_equal(c.live, 0);
}

static void vectors_grow_and_keep_their_values(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    VEC(i64) v = {0};
    for (i64 i = 0; i < 1000; i++) vec_push(a, &v, i * i);
    assert_int_equal(v.n, 1000);
    for (i64 i = 0; i < 1000; i++) assert_int_equal(v.at[i], i * i);
    arena_free(a);
}

static void formatter_prints_every_conversion(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    assert_str(str_fmt(a, "%d|%u|%D|%U", -5, 4000000000u, INT64_MIN, UINT64_MAX),
               "-5|4000000000|-9223372036854775808|18446744073709551615");
    assert_str(str_fmt(a, "%x|%X|%c|%s|%S|%%", 0xBEEFu, (u64)0x123456789A, 'z', "str", S("view")),
               "beef|123456789a|z|str|view|%");
    assert_str(str_fmt(a, "[%3d][%-8s][%08x][%5S][%05d][%*s]", 7, "ab", 0x1Fu, S("x"), -42, 3, "y"),
               "[  7][ab      ][0000001f][    x][-0042][  y]");
    assert_str(str_fmt(a, "%.2f|%.0f|%8.1f|%.3f", 3.14159, 2.5, -0.25, -0.0001),
               "3.14|3|    -0.3|0.000");
    assert_str(str_fmt(a, "%h %h %h %h", 3.0, -0.1f, 0.0, 0x1p-149),
               "0x1.8p+1f -0x1.99999ap-4f 0x0p+0f 0x1p-149f");
    assert_str(str_fmt(a, "%h", (double)bits_f32(0x00600001)), "0x1.800004p-127f");
    assert_str(str_fmt(a, "%s", (char *)NULL), "");
    assert_str(str_fmt(a, ""), "");
    for (u32 i = 0; i < 100000; i++) { // exact for any float
        u32 u = i * 42949u;
        if ((u >> 23 & 0xFF) == 255) continue;
        float back = strtof(str_fmt(a, "%h", (double)bits_f32(u)).ptr, NULL);
        assert_int_equal(f32_bits(back), u);
        arena_reset(a);
    }
    arena_free(a);
}

static void text_past_its_limit_is_cut_between_characters(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Buf b = {.arena = a, .limit = 5};
    buf_add(&b, S("abc"));
    buf_utf8(&b, 0x20AC); // three bytes, two of room
    assert_true(b.full);
    buf_add(&b, S("x"));
    assert_str(buf_str(&b), "abc");
    char t[4];
    Buf fixed = {.ptr = t, .cap = sizeof t};
    buf_add(&fixed, S("h\xC3\xA9llo"));
    assert_string_equal(t, "h\xC3\xA9");
    Buf u = {.arena = a};
    buf_utf8(&u, 'A');
    buf_utf8(&u, 0xE9);
    buf_utf8(&u, 0x20AC);
    buf_utf8(&u, 0x1F600);
    buf_utf8(&u, 0xD800); // no character: replaced
    assert_str(buf_str(&u), "A\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\xEF\xBF\xBD");
    arena_free(a);
}

static void every_error_says_what_to_do(void **state) {
    (void)state;
    for (int i = ERR_NONE + 1; i < ERR_COUNT; i++) {
        char text[400];
        Buf b = {.ptr = text, .cap = sizeof text};
        Err e = {0};
        Str remedy = str_c(err_remedy((ErrId)i));
        err_set(&e, (ErrId)i, "it is wrong");
        err_print(&e, &b);
        assert_true(remedy.len > 5 && remedy.len < 70);
        assert_true(str_starts(buf_str(&b), S("it is wrong; ")) && str_ends(buf_str(&b), remedy));
        e.msg[0] = 0;
        b.len = 0;
        err_print(&e, &b);
        assert_true(str_has(buf_str(&b), S("; ")));
    }
    char text[100];
    Buf b = {.ptr = text, .cap = sizeof text};
    Err own = {0};
    err_set(&own, ERR_IO, "it is wrong; mend it");
    err_print(&own, &b);
    assert_str(buf_str(&b), "it is wrong; mend it");
}

static void the_first_error_wins_and_places_are_added(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Err e = {0};
    assert_false(err_set(&e, ERR_IO, "cannot read %D bytes; is the file cut off?", (i64)8));
    assert_false(err_set(&e, ERR_USAGE, "later"));
    err_subject(&e, S("blk.0.attn_q.weight"));
    err_at(&e, 0x1F8);
    err_at(&e, 1);
    err_file(&e, S("smol.gguf"));
    Buf b = {.arena = a};
    err_print(&e, &b);
    assert_int_equal(e.id, ERR_IO);
    assert_string_equal(err_name(e.id), "IO");
    assert_str(buf_str(&b),
               "smol.gguf@0x1f8 blk.0.attn_q.weight: cannot read 8 bytes; is the file cut off?");
    Err t = {0};
    err_set(&t, ERR_USAGE, "unknown primitive");
    err_line(&t, 7, 12);
    err_file(&t, S("a.hir"));
    Buf c = {.arena = a};
    err_print(&t, &c);
    assert_str(buf_str(&c), "a.hir:7:12: unknown primitive; see `hob --help`"); // its id's remedy
    Err plain = {.id = ERR_OUT_OF_MEMORY};
    Buf d = {.arena = a};
    err_print(&plain, &d);
    assert_true(str_starts(buf_str(&d), str_c(err_text(ERR_OUT_OF_MEMORY))));
    assert_false(err_set(NULL, ERR_IO, "nobody listens"));
    Err longer = {0};
    Buf big = {.arena = a};
    for (int i = 0; i < 200; i++) buf_add(&big, S("\xC3\xA9\xC3\xA9"));
    err_set(&longer, ERR_IO, "%S", buf_str(&big));
    assert_int_equal(strlen(longer.msg), 318);
    arena_free(a);
}

static void hashes_are_stable(void **state) {
    (void)state;
    // These values name kernels on people's disks: they must never change.
    assert_true(hash_str(0, S("")) == UINT64_C(18284041278097681846));
    assert_true(hash_str(0, S("hob")) == UINT64_C(7170565042983155247));
    assert_true(hash_str(1, S("hob")) != hash_str(0, S("hob")));
}

static void a_map_keeps_the_last_value_of_each_key(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    StrMap *m = strmap_new(a, 0);
    for (i32 round = 0; round < 2; round++)
        for (i32 i = 0; i < 5000; i++) strmap_put(m, str_fmt(a, "key %d", i), i + round);
    i32 v;
    for (i32 i = 0; i < 5000; i++) {
        assert_true(strmap_get(m, str_fmt(a, "key %d", i), &v));
        assert_int_equal(v, i + 1);
    }
    assert_false(strmap_get(m, S("key 5000"), &v));
    strmap_put(m, S(""), 3);
    assert_true(strmap_get(m, (Str){NULL, 0}, &v) && v == 3);
    arena_free(a);
}

static void a_memory_source_never_reads_past_its_end(void **state) {
    (void)state;
    u8 data[8] = {1, 2, 3, 4, 5, 6, 7, 8}, out[8];
    Source s = source_memory(data, 8, S("data"));
    assert_true(s.read(&s, 4, out, 4) && out[0] == 5);
    assert_true(s.read(&s, 8, out, 0));
    assert_false(s.read(&s, 5, out, 4));
    assert_false(s.read(&s, UINT64_MAX, out, 2));
    assert_false(s.read(&s, 9, out, 0));
    assert_int_equal(get_u16(data), 0x0201);
    assert_int_equal(get_u32(data), 0x04030201);
    assert_true(get_u64(data) == 0x0807060504030201u);
}

static void every_half_widens_exactly(void **state) {
    (void)state;
    for (u32 h = 0; h < 0x10000; h++) {
        float f = f16_to_f32((u16)h);
        int exp = (int)(h >> 10 & 31), man = (int)(h & 0x3FF);
        double want = __builtin_ldexp(exp ? 1024 + man : man, (exp ? exp : 1) - 25);
        if (h & 0x8000) want = -want;
        if (exp == 31 && man)
            assert_true(f != f);
        else if (exp == 31)
            assert_true(f == (h & 0x8000 ? -__builtin_inff() : __builtin_inff()));
        else
            assert_true((double)f == want && !!__builtin_signbit(f) == (int)(h >> 15));
    }
}

static void floats_narrow_to_the_nearest_half(void **state) {
    (void)state;
    for (u32 h = 0; h < 0x7C00; h++) { // and between two, ties to the even one
        float f = f16_to_f32((u16)h), next = h == 0x7BFF ? 65536 : f16_to_f32((u16)(h + 1));
        float tie = f + (next - f) / 2;
        assert_int_equal(f32_to_f16(f), h);
        assert_int_equal(f32_to_f16(-f), h | 0x8000);
        assert_int_equal(f32_to_f16(tie), h % 2 ? h + 1 : h);
        assert_int_equal(f32_to_f16(bits_f32(f32_bits(tie) - 1)), h);
        assert_int_equal(f32_to_f16(bits_f32(f32_bits(tie) + 1)), h + 1);
    }
    assert_int_equal(f32_to_f16(1e30f), 0x7C00);
    assert_int_equal(f32_to_f16(bits_f32(0xFF800000)), 0xFC00);
    assert_int_equal(f32_to_f16(bits_f32(0x7FC00000)), 0x7E00);
    assert_int_equal(f32_to_f16(1e-30f), 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_are_cut_and_compared),
        cmocka_unit_test(whole_numbers_are_read_without_overflow),
        cmocka_unit_test(arena_memory_is_zero_and_aligned_after_reset_too),
        cmocka_unit_test(arena_uses_the_hosts_allocator_and_survives_its_refusal),
        cmocka_unit_test(vectors_grow_and_keep_their_values),
        cmocka_unit_test(formatter_prints_every_conversion),
        cmocka_unit_test(text_past_its_limit_is_cut_between_characters),
        cmocka_unit_test(every_error_says_what_to_do),
        cmocka_unit_test(the_first_error_wins_and_places_are_added),
        cmocka_unit_test(hashes_are_stable),
        cmocka_unit_test(a_map_keeps_the_last_value_of_each_key),
        cmocka_unit_test(a_memory_source_never_reads_past_its_end),
        cmocka_unit_test(every_half_widens_exactly),
        cmocka_unit_test(floats_narrow_to_the_nearest_half),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
