// tests/format/safetensors_test.c: the safetensors reader on an honest file and on every lie that
// its header can tell; mapped and through a source that only reads windows, which must agree.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "format/gguf_file.h"

#include <stdlib.h>

// hob.keys (96 bytes), then a vector of 8 floats, then 2 rows of 64 numbers in Q4_1 (80 bytes).
#define META   "\"__metadata__\":{\"format\":\"hob\",\"hob.encoding.w\":\"Q4_1\"}"
#define KEYS_T "\"hob.keys\":{\"dtype\":\"U8\",\"shape\":[96],\"data_offsets\":[0,96]}"
#define VECTOR "\"v\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[96,128]}"
#define MATRIX "\"w\":{\"dtype\":\"U8\",\"shape\":[2,40],\"data_offsets\":[128,208]}"

static void build(File *f, const char *json) {
    File keys;
    header(&keys, 3, 0, 2);
    key(&keys, "general.architecture", 8);
    put_str(&keys, "llama");
    key_u32(&keys, "a", 7);
    assert_true(keys.n <= 96);
    f->n = 0;
    put(f, strlen(json), 8);
    for (const char *p = json; *p; p++) put(f, (u8)*p, 1);
    for (size_t i = 0; i < 96; i++) put(f, i < keys.n ? keys.b[i] : 0, 1);
    for (size_t i = 0; i < 112; i++) put(f, i, 1);
}

static bool read_window(Source *s, u64 off, void *dst, size_t len) {
    const File *f = s->user;
    assert_true(off <= s->size && len <= s->size - off); // the reader never asks for more
    memcpy(dst, f->b + off, len);
    return true;
}

static ErrId open_both(File *f, Err *err) {
    Arena *a = arena_new(NULL);
    u8 *copy = malloc(f->n + 1); // of its exact size, so that reading past it is seen
    memcpy(copy, f->b, f->n);
    Source m = source_memory(copy, f->n, S("m.safetensors"));
    Source s = {.size = f->n, .read = read_window, .user = f, .name = S("m.safetensors")};
    Gguf *g = NULL, *h = NULL;
    Err e1 = {0}, e2 = {0};
    bool ok1 = safetensors_open(a, &m, &g, &e1), ok2 = safetensors_open(a, &s, &h, &e2);
    assert_int_equal(ok1, ok2);
    assert_int_equal(e1.id, e2.id);
    assert_string_equal(e1.msg, e2.msg);
    if (ok1) {
        Buf t = {.arena = a}, u = {.arena = a};
        gguf_print(g, &t);
        gguf_print(h, &u);
        assert_true(str_eq(buf_str(&t), buf_str(&u)));
    } else {
        assert_true(str_has(str_c(e1.msg), S("; ")));
    }
    arena_free(a);
    free(copy);
    if (err) *err = e1;
    return e1.id;
}

static void an_honest_file_gives_keys_and_tensors(void **state) {
    (void)state;
    static File f;
    Arena *a = arena_new(NULL);
    build(&f, "{" META "," KEYS_T "," VECTOR "," MATRIX "}   ");
    assert_int_equal(open_both(&f, NULL), ERR_NONE);
    Source s = source_memory(f.b, f.n, S("m.safetensors"));
    Gguf *g;
    i64 seven = 0;
    Str arch = {0};
    assert_true(format_open(a, &s, &g, &(Err){0})); // told apart from GGUF by its front
    assert_int_equal(gguf_tensor_count(g), 2);
    assert_true(gguf_get_int(g, S("a"), 0, 9, &seven, &(Err){0}) && seven == 7);
    assert_true(gguf_get_str(g, S("general.architecture"), &arch, &(Err){0}));
    assert_true(str_eq(arch, S("llama")));
    const FileTensor *w = gguf_tensor(g, S("w")), *v = gguf_tensor(g, S("v"));
    assert_true(w && w->type == FT_Q4_1 && w->nd == 2 && w->dims[0] == 64 && w->dims[1] == 2);
    assert_true(w->bytes == 80 && w->off == f.n - 80);
    assert_true(v && v->type == FT_F32 && v->nd == 1 && v->dims[0] == 8 && v->off == f.n - 112);
    assert_null(gguf_tensor(g, S("hob.keys")));
    arena_free(a);
}

static void what_the_header_claims_is_checked(void **state) {
    (void)state;
    static File f;
    static const struct {
        const char *json;
        ErrId id;
    } lies[] = {
        {"", ERR_SAFETENSORS_HEADER},
        {"[]", ERR_SAFETENSORS_HEADER},
        {"{", ERR_SAFETENSORS_HEADER},
        {"{}", ERR_SAFETENSORS_KEYS},
        {"{" META "," VECTOR "}", ERR_SAFETENSORS_KEYS},
        {"{" KEYS_T "," MATRIX "}", ERR_SAFETENSORS_TENSOR}, // no encoding said
        {"{\"__metadata__\":{\"hob.encoding.w\":\"Q9_9\"}," KEYS_T "," MATRIX "}",
         ERR_SAFETENSORS_TENSOR},
        {"{\"__metadata__\":{\"hob.encoding.w\":\"F32\"}," KEYS_T "," MATRIX "}",
         ERR_SAFETENSORS_TENSOR},
        {"{\"__metadata__\":{\"hob.encoding.w\":7}," KEYS_T "," MATRIX "}", ERR_SAFETENSORS_TENSOR},
        {"{\"__metadata__\":7," KEYS_T "," MATRIX "}", ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T "," KEYS_T "}", ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T "," VECTOR "," VECTOR "}", ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T ",\"v\":7}", ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T ",\"v\":{}}", ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T ",\"\":{\"dtype\":\"F32\"}}", ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T ",\"\xF0\":{\"dtype\":\"F32\"}}", ERR_SAFETENSORS_HEADER},
        {"{" KEYS_T ",\"a b\":{\"dtype\":\"F32\"}}", ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T ",\"v\":{\"dtype\":\"F64\",\"shape\":[4],\"data_offsets\":[96,128]}}",
         ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T ",\"v\":{\"dtype\":\"F32\",\"shape\":[9],\"data_offsets\":[96,128]}}",
         ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T ",\"v\":{\"dtype\":\"F32\",\"shape\":[0],\"data_offsets\":[96,96]}}",
         ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T ",\"v\":{\"dtype\":\"F32\",\"shape\":[-8],\"data_offsets\":[96,128]}}",
         ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T ",\"v\":{\"dtype\":\"F32\",\"shape\":[8.0],\"data_offsets\":[96,128]}}",
         ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T ",\"v\":{\"dtype\":\"F32\",\"shape\":[1,1,1,1,8],\"data_offsets\":[96,128]}}",
         ERR_SAFETENSORS_TENSOR},
        // 2^64 elements, and 2^64 bytes: nothing when they wrap
        {"{" KEYS_T ",\"v\":{\"dtype\":\"F32\",\"shape\":[4294967296,4294967296],"
         "\"data_offsets\":[96,96]}}",
         ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T ",\"v\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904],"
         "\"data_offsets\":[96,96]}}",
         ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T ",\"v\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[128,96]}}",
         ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T ",\"v\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[96]}}",
         ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T ",\"v\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[-32,0]}}",
         ERR_SAFETENSORS_TENSOR},
        {"{" KEYS_T ",\"v\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[208,240]}}",
         ERR_GGUF_TRUNCATED},
        {"{" KEYS_T ",\"v\":{\"dtype\":\"F32\",\"shape\":[8],"
         "\"data_offsets\":[18446744073709551583,18446744073709551615]}}",
         ERR_GGUF_TRUNCATED},
        {"{" KEYS_T ",\"v\":{\"dtype\":\"F32\",\"shape\":[8],\"data_offsets\":[64,96]}}",
         ERR_GGUF_OFFSET}, // over the keys
        {"{" META "," KEYS_T
         ",\"w\":{\"dtype\":\"U8\",\"shape\":[2,39],\"data_offsets\":[128,206]}}",
         ERR_SAFETENSORS_TENSOR}, // rows that are no whole blocks
        {"{" META ",\"hob.keys\":{\"dtype\":\"U8\",\"shape\":[20],\"data_offsets\":[0,20]}}",
         ERR_GGUF_TRUNCATED}, // keys that go on past their place
        {"{\"hob.keys\":{\"dtype\":\"U8\",\"shape\":[96],\"data_offsets\":[96,192]}}",
         ERR_GGUF_MAGIC},
    };
    for (size_t i = 0; i < COUNT_OF(lies); i++) {
        Err e;
        build(&f, lies[i].json);
        ErrId id = open_both(&f, &e);
        if (id != lies[i].id) fail_msg("%s: %s, %s", lies[i].json, err_name(id), e.msg);
    }
}

static void lengths_that_lie_are_refused(void **state) {
    (void)state;
    static File f;
    static const u64 lengths[] = {0, 1, 1 << 14, (u64)1 << 32, INT64_MAX, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(lengths); i++) {
        build(&f, "{" META "," KEYS_T "," VECTOR "," MATRIX "}");
        for (int k = 0; k < 8; k++) f.b[k] = (u8)(lengths[i] >> 8 * k);
        assert_int_equal(open_both(&f, NULL), ERR_SAFETENSORS_HEADER);
    }
    build(&f, "{" META "," KEYS_T "," VECTOR "," MATRIX "}");
    size_t whole = f.n;
    for (f.n = 0; f.n < whole; f.n++) assert_int_not_equal(open_both(&f, NULL), ERR_NONE);
    assert_int_equal(open_both(&f, NULL), ERR_NONE);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_honest_file_gives_keys_and_tensors),
        cmocka_unit_test(what_the_header_claims_is_checked),
        cmocka_unit_test(lengths_that_lie_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
