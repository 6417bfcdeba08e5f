// tests/format/gguf_test.c: the GGUF reader on honest files and on every lie that a file can tell.
//
// Each file is opened twice, mapped and through a source that only reads windows, as in a page;
// both must agree.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "format/gguf_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

// ---- opening ------------------------------------------------------------------------------------

typedef struct Window { // a source with no mapping
    const u8 *p;
    size_t have; // bytes that exist; the rest of `size` reads as failure
    size_t reads, largest;
} Window;

static bool read_window(Source *s, u64 off, void *dst, size_t len) {
    Window *w = s->user;
    assert_true(off <= s->size && len <= s->size - off); // the reader never asks for more
    if (off > w->have || len > w->have - off) return false;
    if (len) memcpy(dst, w->p + off, len);
    w->reads++;
    w->largest = MAX2(w->largest, len);
    return true;
}

static Source window_source(Window *w, u64 size) {
    return (Source){.size = size, .read = read_window, .user = w, .name = S("w.gguf")};
}

static ErrId open_both(const u8 *p, size_t n, Err *err) {
    Arena *a = arena_new(NULL), *b = arena_new(NULL);
    Source m = source_memory(p, n, S("m.gguf"));
    Window w = {p, n, 0, 0};
    Source s = window_source(&w, n);
    Gguf *g = NULL, *h = NULL;
    Err e1 = {0}, e2 = {0};
    bool ok1 = gguf_open(a, &m, &g, &e1), ok2 = gguf_open(b, &s, &h, &e2);
    assert_int_equal(ok1, ok2);
    assert_int_equal(e1.id, e2.id);
    assert_int_equal(e1.off, e2.off);
    assert_string_equal(e1.msg, e2.msg);
    assert_int_equal(ok1, e1.id == ERR_NONE);
    if (!ok1 && !str_has(str_c(e1.msg), S("; "))) fail_msg("what to do? %s", e1.msg);
    if (ok1) {
        Buf t = {.arena = a}, u = {.arena = b};
        gguf_print(g, &t);
        gguf_print(h, &u);
        assert_int_equal(t.len, u.len);
        assert_memory_equal(t.ptr, u.ptr, t.len);
    }
    arena_free(a);
    arena_free(b);
    if (err) *err = e1;
    return e1.id;
}

#define assert_refused(f, want)                                                                    \
    do {                                                                                           \
        Err e_;                                                                                    \
        ErrId id_ = open_both((f)->b, (f)->n, &e_);                                                \
        if (id_ != ERR_##want) fail_msg("%s instead of %s: %s", err_name(id_), #want, e_.msg);     \
        assert_true(e_.has_off &&e_.file[0] && e_.msg[0]);                                         \
    } while (0)

static bool said(const Err *e, const char *text) {
    char line[800];
    Buf b = {.ptr = line, .cap = sizeof line};
    err_print(e, &b);
    if (str_has(buf_str(&b), str_c(text))) return true;
    print_error("%.*s\n", STR_ARG(buf_str(&b)));
    return false;
}

// Every kind of key and two tensors; the last byte is a tensor's.
static void honest(File *f, u32 version) {
    const u64 matrix[2] = {32, 3};
    header(f, version, 2, 15);
    key(f, "general.architecture", 8);
    put_str(f, "llama");
    key(f, "a.u8", 0);
    put(f, 200, 1);
    key(f, "a.i8", 1);
    put(f, (u8)-5, 1);
    key(f, "a.u16", 2);
    put(f, 65535, 2);
    key(f, "a.i16", 3);
    put(f, (u16)-300, 2);
    key_u32(f, "a.u32", 4000000000u);
    key(f, "a.i32", 5);
    put(f, (u32)-7, 4);
    key(f, "a.f32", 6);
    put(f, f32_bits(0.5f), 4);
    key(f, "a.bool", 7);
    put(f, 1, 1);
    key(f, "a.u64", 10);
    put(f, UINT64_MAX, 8);
    key(f, "a.i64", 11);
    put(f, (u64)-9, 8);
    key(f, "a.f64", 12);
    put(f, 0x3FF8000000000000u, 8); // 1.5
    key(f, "a.strings", 9);
    put(f, 8, 4);
    put(f, 3, 8);
    put_str(f, "x");
    put_str(f, "");
    put_str(f, "long \"one\"\n");
    key(f, "a.numbers", 9);
    put(f, 5, 4);
    put(f, 2, 8);
    put(f, 11, 4);
    put(f, (u32)-12, 4);
    key(f, "a.nested", 9);
    put(f, 9, 4);
    put(f, 2, 8);
    put(f, 0, 4);
    put(f, 1, 8);
    put(f, 9, 1);
    put(f, 8, 4);
    put(f, 1, 8);
    put_str(f, "in");
    tensor(f, "blk.0.w", 2, matrix, 3, 0); // Q4_1, 60 bytes
    tensor1(f, "norm", 5, 64);
    pad(f, 32);
    for (int i = 0; i < 64 + 20; i++) put(f, (u64)i, 1);
}

static void both_versions_open(void **state) {
    (void)state;
    for (u32 version = 2; version <= 3; version++) {
        File f;
        honest(&f, version);
        assert_int_equal(open_both(f.b, f.n, NULL), ERR_NONE);
    }
}

static void keys_have_their_values(void **state) {
    (void)state;
    File f;
    honest(&f, 3);
    Arena *a = arena_new(NULL);
    Source s = source_memory(f.b, f.n, S("m.gguf"));
    Gguf *g;
    Err e = {0};
    assert_true(gguf_open(a, &s, &g, &e));
    static const struct {
        const char *key;
        i64 value;
    } ints[] = {{"a.u8", 200},         {"a.i8", -5},  {"a.u16", 65535}, {"a.i16", -300},
                {"a.u32", 4000000000}, {"a.i32", -7}, {"a.bool", 1},    {"a.i64", -9}};
    for (size_t i = 0; i < COUNT_OF(ints); i++) {
        i64 v = 0;
        assert_true(gguf_get_int(g, str_c(ints[i].key), INT64_MIN, INT64_MAX, &v, &e));
        assert_true(v == ints[i].value);
    }
    double d = 0;
    bool b = false;
    Str str, *strs;
    GgufArray arr;
    i32 *nums;
    assert_true(gguf_get_f32(g, S("a.f32"), &d, &e) && d == 0.5);
    assert_true(gguf_get_f32(g, S("a.f64"), &d, &e) && d == 1.5);
    assert_true(gguf_get_bool(g, S("a.bool"), &b, &e) && b);
    assert_true(gguf_get_str(g, S("general.architecture"), &str, &e) && str_eq(str, S("llama")));
    assert_true(gguf_get_array(g, S("a.strings"), &arr, &e) && gguf_array_strs(a, &arr, &strs, &e));
    assert_true(arr.n == 3 && str_eq(strs[0], S("x")) && strs[1].len == 0 &&
                str_eq(strs[2], S("long \"one\"\n")));
    assert_true(gguf_get_array(g, S("a.numbers"), &arr, &e) && gguf_array_i32(a, &arr, &nums, &e));
    assert_true(arr.n == 2 && nums[0] == 11 && nums[1] == -12);
    assert_true(gguf_has(g, S("a.u8")) && !gguf_has(g, S("a.u9")));

    // a missing key leaves what was there
    i64 kept = 42;
    assert_true(gguf_get_int(g, S("none"), 0, 1, &kept, &e) && kept == 42);
    assert_true(gguf_get_array(g, S("none"), &arr, &e) && arr.n == 0 &&
                gguf_array_strs(a, &arr, &strs, &e));

    // tensors
    assert_int_equal(gguf_tensor_count(g), 2);
    const FileTensor *t = gguf_tensor(g, S("norm"));
    assert_true(t == gguf_tensor_at(g, 1) && t->type == FT_F32 && t->nd == 1 && t->dims[0] == 5 &&
                t->bytes == 20);
    assert_int_equal(f.b[t->off], 64);
    t = gguf_tensor(g, S("blk.0.w"));
    assert_true(t->type == FT_Q4_1 && t->nd == 2 && t->dims[1] == 3 && t->bytes == 60 &&
                f.b[t->off] == 0);
    assert_null(gguf_tensor(g, S("blk.1.w")));
    assert_ptr_equal(gguf_source(g), &s);
    arena_free(a);
}

static void wrong_types_and_ranges_name_the_key(void **state) {
    (void)state;
    File f;
    honest(&f, 3);
    Arena *a = arena_new(NULL);
    Source s = source_memory(f.b, f.n, S("m.gguf"));
    Gguf *g;
    Err e = {0};
    i64 v;
    double d;
    bool b;
    Str str, *strs;
    float *floats;
    i32 *nums;
    GgufArray arr;
    assert_true(gguf_open(a, &s, &g, &e));
#define refused(call, want, text)                                                                  \
    do {                                                                                           \
        e = (Err){0};                                                                              \
        assert_false(call);                                                                        \
        assert_int_equal(e.id, ERR_##want);                                                        \
        assert_true(said(&e, text) && said(&e, "m.gguf@0x"));                                      \
    } while (0)
    refused(gguf_get_int(g, S("a.f32"), 0, 9, &v, &e), GGUF_KEY_TYPE,
            "a.f32: is a f32, where an integer is needed");
    refused(gguf_get_int(g, S("a.u8"), 0, 199, &v, &e), GGUF_KEY_RANGE,
            "a.u8: is 200 and must be between 0 and 199");
    refused(gguf_get_int(g, S("a.i8"), 0, 9, &v, &e), GGUF_KEY_RANGE, "is -5");
    refused(gguf_get_int(g, S("a.u64"), 0, INT64_MAX, &v, &e), GGUF_KEY_RANGE,
            "is 18446744073709551615");
    refused(gguf_get_int(g, S("a.strings"), 0, 9, &v, &e), GGUF_KEY_TYPE, "is an array of string");
    refused(gguf_get_f32(g, S("a.u8"), &d, &e), GGUF_KEY_TYPE, "where a float is needed");
    refused(gguf_get_bool(g, S("a.u8"), &b, &e), GGUF_KEY_TYPE, "where a bool is needed");
    refused(gguf_get_str(g, S("a.u8"), &str, &e), GGUF_KEY_TYPE, "where a string is needed");
    refused(gguf_get_array(g, S("a.u8"), &arr, &e), GGUF_KEY_TYPE, "where an array is needed");
    e = (Err){0};
    assert_true(gguf_get_array(g, S("a.numbers"), &arr, &e));
    refused(gguf_array_strs(a, &arr, &strs, &e), GGUF_KEY_TYPE, "a.numbers: is an array of i32");
    refused(gguf_array_f32(a, &arr, &floats, &e), GGUF_KEY_TYPE, "one of floats is needed");
    e = (Err){0};
    assert_true(gguf_get_array(g, S("a.strings"), &arr, &e));
    refused(gguf_array_i32(a, &arr, &nums, &e), GGUF_KEY_TYPE, "one of integers is needed");
#undef refused
    arena_free(a);
}

static void numbers_that_do_not_fit_are_refused(void **state) {
    (void)state;
    File f;
    header(&f, 3, 0, 3);
    key(&f, "big", 9);
    put(&f, 4, 4);
    put(&f, 2, 8);
    put(&f, 1, 4);
    put(&f, 0x80000000u, 4);
    key(&f, "inf", 6);
    put(&f, 0x7F800000, 4);
    key(&f, "nan", 12);
    put(&f, 0x7FF8000000000000u, 8);
    Arena *a = arena_new(NULL);
    Source s = source_memory(f.b, f.n, S("m.gguf"));
    Gguf *g;
    Err e = {0};
    GgufArray arr;
    i32 *nums;
    double d = 3;
    assert_true(gguf_open(a, &s, &g, &e) && gguf_get_array(g, S("big"), &arr, &e));
    assert_false(gguf_array_i32(a, &arr, &nums, &e));
    assert_true(e.id == ERR_GGUF_KEY_RANGE && e.off == arr.off + 4);
    e = (Err){0};
    assert_false(gguf_get_f32(g, S("inf"), &d, &e));
    assert_int_equal(e.id, ERR_GGUF_KEY_RANGE);
    e = (Err){0};
    assert_false(gguf_get_f32(g, S("nan"), &d, &e));
    assert_true(e.id == ERR_GGUF_KEY_RANGE && d == 3);
    arena_free(a);
}

static void printing_shows_keys_and_tensors(void **state) {
    (void)state;
    File f;
    honest(&f, 3);
    Arena *a = arena_new(NULL);
    Source s = source_memory(f.b, f.n, S("m.gguf"));
    Gguf *g;
    Err e = {0};
    Buf b = {.arena = a};
    assert_true(gguf_open(a, &s, &g, &e));
    gguf_print(g, &b);
    static const char *const lines[] = {
        "GGUF version 3, 15 keys, 2 tensors\n",
        "general.architecture = \"llama\"\n",
        "a.i8 = -5\n",
        "a.u64 = 18446744073709551615\n",
        "a.f32 = 0.5\n",
        "a.bool = true\n",
        "a.strings = 3 x string [\"x\", \"\", \"long \\\"one\\\"\\n\"]\n",
        "a.numbers = 2 x i32 [11, -12]\n",
        "blk.0.w: Q4_1 32 x 3, 60 bytes at 0x",
        "norm: F32 5, 20 bytes at 0x",
        "80 bytes of tensors\n",
    };
    for (size_t i = 0; i < COUNT_OF(lines); i++)
        if (!str_has(buf_str(&b), str_c(lines[i]))) fail_msg("%s is not in\n%s", lines[i], b.ptr);
    arena_free(a);
}

static void vocabulary_without_tensors_opens(void **state) {
    (void)state;
    File f;
    header(&f, 3, 0, 1);
    key(&f, "tokenizer.ggml.tokens", 9);
    put(&f, 8, 4);
    put(&f, 1, 8);
    put_str(&f, "a"); // no padding follows
    assert_int_equal(open_both(f.b, f.n, NULL), ERR_NONE);
    header(&f, 3, 0, 0);
    assert_int_equal(open_both(f.b, f.n, NULL), ERR_NONE);
}

// ---- lies ---------------------------------------------------------------------------------------

static void a_cut_file_is_refused_at_every_byte(void **state) {
    (void)state;
    File f;
    honest(&f, 3);
    size_t whole = f.n;
    for (size_t n = 0; n < whole; n++) {
        u8 *exact = malloc(n ? n : 1); // so that a sanitizer sees the end
        memcpy(exact, f.b, n);
        Err e;
        ErrId id = open_both(exact, n, &e);
        bool expected =
            n < 4 ? id == ERR_GGUF_MAGIC : id == ERR_GGUF_TRUNCATED || id == ERR_GGUF_COUNT;
        if (!expected) fail_msg("cut to %u bytes: %s: %s", (unsigned)n, err_name(id), e.msg);
        free(exact);
    }
}

static void any_changed_byte_is_survived(void **state) {
    (void)state;
    static const u8 change[] = {0x01, 0x80, 0xFF, 0x10};
    File f;
    honest(&f, 3);
    for (size_t i = 0; i < f.n; i++)
        for (size_t c = 0; c < COUNT_OF(change); c++) {
            f.b[i] ^= change[c];
            open_both(f.b, f.n, NULL);
            f.b[i] ^= change[c];
        }
}

static void headers_that_lie_are_refused(void **state) {
    (void)state;
    File f;
    header(&f, 3, 0, 0);
    f.b[0] = 'g';
    assert_refused(&f, GGUF_MAGIC);
    static const u32 versions[] = {0, 1, 4, 0x03000000, UINT32_MAX};
    for (size_t i = 0; i < COUNT_OF(versions); i++) {
        header(&f, versions[i], 0, 0);
        assert_refused(&f, GGUF_VERSION);
    }
    static const u64 counts[] = {1, 1000, (u64)1 << 31, (u64)1 << 32, (u64)1 << 61, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        header(&f, 3, counts[i], 0);
        assert_refused(&f, GGUF_COUNT);
        header(&f, 3, 0, counts[i]);
        assert_refused(&f, GGUF_COUNT);
    }
    // more keys than there are: what follows is read as a key
    header(&f, 3, 0, 2);
    key_u32(&f, "a", 1);
    for (int i = 0; i < 40; i++) put(&f, 0, 1);
    assert_refused(&f, GGUF_NAME);
    header(&f, 3, 0, 2);
    key_u32(&f, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", 1);
    assert_refused(&f, GGUF_TRUNCATED);
}

// The file's front, followed by zeros as far as a window reaches, in a source that claims to be
// larger by far.
static Source large_source(const File *f, Window *w, u64 size) {
    u8 *p = calloc(1, sizeof f->b + 65536);
    memcpy(p, f->b, f->n);
    *w = (Window){p, sizeof f->b + 65536, 0, 0};
    return window_source(w, size);
}

static ErrId open_large(const File *f, u64 size) {
    Window w;
    Source s = large_source(f, &w, size);
    Arena *a = arena_new(NULL);
    Gguf *g;
    Err e = {0};
    bool ok = gguf_open(a, &s, &g, &e);
    assert_int_equal(ok, e.id == ERR_NONE);
    assert_true(arena_used(a) < 100000); // nothing large was allocated on the file's word
    arena_free(a);
    free((void *)(uintptr_t)w.p);
    return e.id;
}

static void counts_past_the_limit_are_refused(void **state) {
    (void)state;
    File f;
    header(&f, 3, 32769, 0);
    assert_int_equal(open_large(&f, (u64)1 << 40), ERR_GGUF_COUNT);
    header(&f, 3, 0, 16385);
    assert_int_equal(open_large(&f, (u64)1 << 40), ERR_GGUF_COUNT);
}

static void keys_that_lie_are_refused(void **state) {
    (void)state;
    File f;
    static const u64 lengths[] = {0, 65536, (u64)1 << 32, (u64)1 << 63, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        header(&f, 3, 0, 1);
        put(&f, lengths[i], 8);
        for (int j = 0; j < 64; j++) put(&f, 'a', 1);
        assert_refused(&f, GGUF_NAME);
    }
    header(&f, 3, 0, 1);
    key_u32(&f, "a\x1b[31m", 1); // would reach a terminal
    assert_refused(&f, GGUF_NAME);
    static const u32 types[] = {13, 255, UINT32_MAX};
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        header(&f, 3, 0, 1);
        key(&f, "a", types[i]);
        put(&f, 0, 8);
        assert_refused(&f, GGUF_KEY_TYPE);
        header(&f, 3, 0, 1);
        key(&f, "a", 9);
        put(&f, types[i], 4);
        put(&f, 1, 8);
        put(&f, 0, 8);
        assert_refused(&f, GGUF_KEY_TYPE);
    }
    header(&f, 3, 0, 1);
    key(&f, "a", 7);
    put(&f, 2, 1);
    assert_refused(&f, GGUF_KEY_RANGE); // a bool of 2
    static const u64 sizes[] = {9, (u64)1 << 31, (u64)1 << 32, UINT64_MAX - 7, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        header(&f, 3, 0, 1);
        key(&f, "a", 8);
        put(&f, sizes[i], 8);
        put(&f, 0, 8);
        assert_refused(&f, GGUF_TRUNCATED);
        for (u32 type = 0; type < 13; type++) { // an array that claims more than the file
            header(&f, 3, 0, 1);
            key(&f, "a", 9);
            put(&f, type, 4);
            put(&f, sizes[i], 8);
            put(&f, 0, 8);
            assert_refused(&f, GGUF_COUNT);
        }
        header(&f, 3, 0, 1); // a string in an array
        key(&f, "a", 9);
        put(&f, 8, 4);
        put(&f, 1, 8);
        put(&f, sizes[i], 8);
        put(&f, 0, 8);
        assert_refused(&f, GGUF_TRUNCATED);
    }
    header(&f, 3, 0, 2);
    key_u32(&f, "a", 1);
    key_u32(&f, "a", 1);
    assert_refused(&f, GGUF_DUPLICATE);
}

static void arrays_nest_only_so_deep(void **state) {
    (void)state;
    for (int depth = 1; depth < 100; depth++) {
        File f;
        header(&f, 3, 0, 1);
        key(&f, "a", 9);
        for (int i = 0; i < depth; i++) {
            put(&f, 9, 4);
            put(&f, 1, 8);
        }
        put(&f, 0, 4);
        put(&f, 0, 8);
        if (depth <= 4)
            assert_int_equal(open_both(f.b, f.n, NULL), ERR_NONE);
        else
            assert_refused(&f, GGUF_LIMIT);
    }
}

static void alignments_that_are_not_usable_are_refused(void **state) {
    (void)state;
    File f;
    static const u32 bad[] = {0, 3, 48, 1 << 21, 0x80000000u, UINT32_MAX};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        header(&f, 3, 0, 1);
        key_u32(&f, "general.alignment", bad[i]);
        assert_refused(&f, GGUF_ALIGN);
    }
    header(&f, 3, 0, 1);
    key(&f, "general.alignment", 8);
    put_str(&f, "32");
    assert_refused(&f, GGUF_ALIGN);
    static const u32 good[] = {1, 8, 64, 4096};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        header(&f, 3, 1, 1);
        key_u32(&f, "general.alignment", good[i]);
        tensor1(&f, "t", 2, 0);
        pad(&f, good[i]);
        put(&f, 7, 8);
        assert_int_equal(open_both(f.b, f.n, NULL), ERR_NONE);
    }
}

static void shapes_that_lie_are_refused(void **state) {
    (void)state;
    File f;
    static const u32 nds[] = {0, 5, UINT32_MAX};
    for (size_t i = 0; i < COUNT_OF(nds); i++) {
        header(&f, 3, 1, 0);
        put_str(&f, "t");
        put(&f, nds[i], 4);
        for (int j = 0; j < 100; j++) put(&f, 1, 1);
        assert_refused(&f, GGUF_SHAPE);
    }
    for (u32 nd = 1; nd <= 4; nd++)
        for (u32 zero = 0; zero < nd; zero++) {
            u64 dims[4] = {32, 1, 1, 1};
            dims[zero] = 0;
            header(&f, 3, 1, 0);
            tensor(&f, "t", nd, dims, 0, 0);
            assert_refused(&f, GGUF_SHAPE);
        }
    static const u64 products[][4] = {
        {(u64)1 << 32, (u64)1 << 32, 1, 1}, // 2^64: 0 when it wraps
        {(u64)1 << 63, 2, 1, 1},
        {(u64)1 << 62, 1, 1, 1}, // times 4 bytes
        {(u64)1 << 16, (u64)1 << 16, (u64)1 << 16, (u64)1 << 17},
        {UINT64_MAX, 1, 1, 1},
    };
    for (size_t i = 0; i < COUNT_OF(products); i++) {
        header(&f, 3, 1, 0);
        tensor(&f, "t", 4, products[i], 0, 0);
        assert_refused(&f, GGUF_SHAPE);
    }
    // 2^32 bytes: 0 on 32 bits if anyone cut it
    const u64 four_gb[2] = {(u64)1 << 15, (u64)1 << 15};
    header(&f, 3, 1, 0);
    tensor(&f, "t", 2, four_gb, 0, 0);
    pad(&f, 32);
    assert_refused(&f, GGUF_TRUNCATED);
    for (int t = 0; t < FT_COUNT; t++) {
        const FileTypeInfo *info = filetype_info((FileType)t);
        if (info->elems == 1) continue;
        const u64 dims[2] = {info->elems + 1,
                             info->elems}; // whole blocks together, but not by rows
        header(&f, 3, 1, 0);
        tensor(&f, "t", 2, dims, info->gguf_id, 0);
        assert_refused(&f, GGUF_SHAPE);
    }
}

static void unknown_tensor_types_are_named_with_the_known(void **state) {
    (void)state;
    File f;
    Err e;
    const u64 dim = 256;
    static const u32 types[] = {4, 5, 31, 40, 1000, UINT32_MAX, 39, 13};
    for (size_t i = 0; i < COUNT_OF(types); i++) {
        header(&f, 3, 1, 0);
        tensor(&f, "blk.0.attn_q.weight", 1, &dim, types[i], 0);
        assert_refused(&f, GGUF_TENSOR_TYPE);
    }
    open_both(f.b, f.n, &e);
    assert_true(said(&e, "m.gguf@0x3f blk.0.attn_q.weight: type 13 (Q5_K) is not known yet; take "
                         "a file in one of: F32, F16, Q4_0"));
}

static void tensor_names_that_lie_are_refused(void **state) {
    (void)state;
    File f;
    const u64 dim = 1;
    char name[80];
    memset(name, 'n', sizeof name);
    for (size_t n = 0; n < sizeof name; n += 5) {
        name[n] = 0;
        header(&f, 3, 1, 0);
        tensor(&f, name, 1, &dim, 0, 0);
        pad(&f, 32);
        put(&f, 0, 4);
        if (n == 0 || n > 64)
            assert_refused(&f, GGUF_NAME);
        else
            assert_int_equal(open_both(f.b, f.n, NULL), ERR_NONE);
        name[n] = 'n';
    }
    header(&f, 3, 1, 0);
    put(&f, UINT64_MAX, 8);
    put(&f, 0, 8);
    put(&f, 0, 8);
    put(&f, 0, 8);
    put(&f, 0, 8);
    assert_refused(&f, GGUF_NAME);
    header(&f, 3, 1, 0);
    tensor(&f, "a\nb", 1, &dim, 0, 0);
    assert_refused(&f, GGUF_NAME);
    header(&f, 3, 2, 0);
    tensor1(&f, "t", 1, 0);
    tensor1(&f, "t", 1, 32);
    pad(&f, 32);
    for (int i = 0; i < 9; i++) put(&f, 0, 8);
    assert_refused(&f, GGUF_DUPLICATE);
}

static void offsets_that_lie_are_refused(void **state) {
    (void)state;
    File f;
    static const u64 unaligned[] = {1, 4, 31, 33, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(unaligned); i++) {
        header(&f, 3, 1, 0);
        tensor1(&f, "t", 1, unaligned[i]);
        for (int j = 0; j < 32; j++) put(&f, 0, 8);
        assert_refused(&f, GGUF_OFFSET);
    }
    static const u64 outside[] = {256, (u64)1 << 32, (u64)1 << 40, (u64)1 << 63};
    for (size_t i = 0; i < COUNT_OF(outside); i++) {
        header(&f, 3, 1, 0);
        tensor1(&f, "t", 1, outside[i]);
        for (int j = 0; j < 16; j++) put(&f, 0, 8);
        assert_refused(&f, GGUF_TRUNCATED);
    }
    header(&f, 3, 1, 0);
    tensor1(&f, "t", 1, UINT64_MAX - 31); // with the data's start added it wraps
    pad(&f, 32);
    put(&f, 0, 8);
    assert_refused(&f, GGUF_OFFSET);
    // overlap, in any order of the table
    static const u64 offs[][3] = {{0, 32, 32}, {0, 0, 64}, {64, 0, 32}, {32, 64, 0}};
    for (size_t i = 0; i < COUNT_OF(offs); i++) {
        header(&f, 3, 3, 0);
        tensor1(&f, "a", 8, offs[i][0]);
        tensor1(&f, "b", 9, offs[i][1]); // 36 bytes: reaches into what stands 32 behind
        tensor1(&f, "c", 8, offs[i][2]);
        pad(&f, 32);
        for (int j = 0; j < 32; j++) put(&f, 0, 8);
        ErrId id = open_both(f.b, f.n, NULL);
        assert_int_equal(id, i == 3 ? ERR_NONE : ERR_GGUF_OFFSET);
    }
}

static void many_tensors_in_any_order_are_sorted(void **state) {
    (void)state;
    enum { N = 200 };
    File f;
    for (u64 clash = 0; clash < 2; clash++) {
        header(&f, 3, N, 0);
        for (u64 i = 0; i < N; i++) {
            u64 at = i * 77 % N;
            const char name[4] = {(char)('a' + i / 26), (char)('a' + i % 26), 0};
            tensor1(&f, name, 8, 32 * (clash && i == 150 ? (at + 1) % N : at));
        }
        pad(&f, 32);
        for (int i = 0; i < N * 4; i++) put(&f, 0, 8);
        assert_int_equal(open_both(f.b, f.n, NULL), clash ? ERR_GGUF_OFFSET : ERR_NONE);
    }
}

// ---- sources ------------------------------------------------------------------------------------

static void only_the_front_is_read_in_small_pieces(void **state) {
    (void)state;
    enum { TOKENS = 60000 };
    size_t cap = TOKENS * 12 + 4096, n = 0;
    File f;
    header(&f, 3, 1, 2);
    key(&f, "tokens", 9);
    put(&f, 8, 4);
    put(&f, TOKENS, 8);
    u8 *p = calloc(1, cap + 65536); // the last window reaches past the table
    memcpy(p, f.b, f.n);
    n = f.n;
    for (u32 i = 0; i < TOKENS; i++) {
        f.n = 0;
        put(&f, i % 4, 8);
        put(&f, 0x61616161, i % 4);
        memcpy(p + n, f.b, f.n);
        n += f.n;
    }
    f.n = 0;
    key_u32(&f, "after", 77);
    tensor1(&f, "t", (u64)1 << 33, 0); // 32 GB, not there
    memcpy(p + n, f.b, f.n);
    n += f.n;
    Window w = {p, cap + 65536, 0, 0};
    Source s = window_source(&w, ((u64)1 << 35) + n + 64);
    Arena *a = arena_new(NULL);
    Gguf *g;
    Err e = {0};
    i64 v = 0;
    Str *strs;
    GgufArray arr;
    assert_true(gguf_open(a, &s, &g, &e));
    assert_true(gguf_get_int(g, S("after"), 0, 100, &v, &e) && v == 77);
    assert_true(gguf_get_array(g, S("tokens"), &arr, &e) && gguf_array_strs(a, &arr, &strs, &e));
    assert_int_equal(arr.n, TOKENS);
    assert_true(str_eq(strs[TOKENS - 1], S("aaa")) && strs[TOKENS - 4].len == 0);
    assert_true(w.largest <= arr.bytes && w.reads < 30);
    assert_true(arena_used(a) < 3 * n + 70000 + TOKENS * sizeof(Str));
    arena_free(a);
    free(p);
}

static void a_source_that_fails_is_an_error(void **state) {
    (void)state;
    File f;
    honest(&f, 3);
    for (size_t have = 0; have < 500; have += 50) {
        Window w = {f.b, have, 0, 0};
        Source s = window_source(&w, f.n);
        Arena *a = arena_new(NULL);
        Gguf *g;
        Err e = {0};
        assert_false(gguf_open(a, &s, &g, &e));
        assert_int_equal(e.id, ERR_IO);
        arena_free(a);
    }
}

// Sizes that fit no memory: refused before anything is allocated, on 32 bits as on 64.
static void claims_past_memory_are_refused(void **state) {
    (void)state;
    File f;
    for (int what = 0; what < 3; what++) {
        header(&f, 3, 0, 1);
        key(&f, "a", what == 0 ? 8 : 9);
        if (what) put(&f, what == 1 ? 0 : 10, 4);
        put(&f, (u64)5 << 30, 8); // 5 GB of text, 5 G bytes, 5 G numbers of 8 bytes
        assert_int_equal(open_large(&f, UINT64_MAX), ERR_GGUF_LIMIT);
    }
}

#ifndef __wasm__ // no files there
static void data_past_4_gb_are_found(void **state) {
    (void)state;
    const u64 far = (u64)5 << 30;
    char path[] = "/tmp/hob_sparse_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    File f;
    u8 mark[4] = {1, 2, 3, 4}, got[4];
    header(&f, 3, 2, 0);
    tensor1(&f, "near", 1, 0);
    tensor1(&f, "far", 1, far);
    pad(&f, 32);
    size_t data = f.n;
    if (write(fd, f.b, f.n) != (ssize_t)f.n || pwrite(fd, mark, 4, (off_t)(data + far)) != 4) {
        close(fd);
        unlink(path);
        print_message(
            "SKIP data_past_4_gb_are_found: no sparse file of 5 GB can be made in /tmp\n");
        skip();
    }
    close(fd);
    Arena *a = arena_new(NULL);
    Source s;
    Gguf *g;
    Err e = {0};
    assert_true(source_file_open(a, str_c(path), &s, &e));
    assert_true(s.size == data + far + 4);
    assert_true(gguf_open(a, &s, &g, &e));
    const FileTensor *t = gguf_tensor(g, S("far"));
    assert_true(t->off == data + far && t->bytes == 4);
    assert_true(s.read(&s, t->off, got, 4));
    assert_memory_equal(got, mark, 4);
    assert_false(s.read(&s, t->off, got, 5));
    assert_false(s.read(&s, UINT64_MAX, got, 1));
    source_file_close(&s);
    arena_free(a);
    unlink(path);
}

#endif

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(both_versions_open),
        cmocka_unit_test(keys_have_their_values),
        cmocka_unit_test(wrong_types_and_ranges_name_the_key),
        cmocka_unit_test(numbers_that_do_not_fit_are_refused),
        cmocka_unit_test(printing_shows_keys_and_tensors),
        cmocka_unit_test(vocabulary_without_tensors_opens),
        cmocka_unit_test(a_cut_file_is_refused_at_every_byte),
        cmocka_unit_test(any_changed_byte_is_survived),
        cmocka_unit_test(headers_that_lie_are_refused),
        cmocka_unit_test(counts_past_the_limit_are_refused),
        cmocka_unit_test(keys_that_lie_are_refused),
        cmocka_unit_test(arrays_nest_only_so_deep),
        cmocka_unit_test(alignments_that_are_not_usable_are_refused),
        cmocka_unit_test(shapes_that_lie_are_refused),
        cmocka_unit_test(unknown_tensor_types_are_named_with_the_known),
        cmocka_unit_test(tensor_names_that_lie_are_refused),
        cmocka_unit_test(offsets_that_lie_are_refused),
        cmocka_unit_test(many_tensors_in_any_order_are_sorted),
        cmocka_unit_test(only_the_front_is_read_in_small_pieces),
        cmocka_unit_test(a_source_that_fails_is_an_error),
        cmocka_unit_test(claims_past_memory_are_refused),
#ifndef __wasm__
        cmocka_unit_test(data_past_4_gb_are_found),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
