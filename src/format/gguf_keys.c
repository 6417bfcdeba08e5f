// format/gguf_keys.c: the keys of a GGUF file: read once when it is opened, asked for by type
// afterwards.
//
// A key that is missing is no error here, the model knows what it needs; a key with another type or
// out of range is, and says where it stands in the file.
#include "format/gguf_int.h"

enum { NAME_MOST = 65535, NEST_MOST = 4 };

static const struct {
    u8 size; // 0: not fixed
    const char *name;
} types[GT_COUNT] = {
    [GT_U8] = {1, "u8"},         [GT_I8] = {1, "i8"},       [GT_U16] = {2, "u16"},
    [GT_I16] = {2, "i16"},       [GT_U32] = {4, "u32"},     [GT_I32] = {4, "i32"},
    [GT_F32] = {4, "f32"},       [GT_BOOL] = {1, "bool"},   [GT_U64] = {8, "u64"},
    [GT_STRING] = {0, "string"}, [GT_ARRAY] = {0, "array"}, [GT_I64] = {8, "i64"},
    [GT_F64] = {8, "f64"},
};

size_t gguf_type_size(u32 type) { return type < GT_COUNT ? types[type].size : 0; }

const char *gguf_type_name(u32 type) {
    return type < GT_COUNT ? types[type].name : "value of unknown type";
}

// ---- reading ------------------------------------------------------------------------------------

static bool read_type(Cursor *c, u32 *type) {
    u64 off = c->at;
    if (!cursor_u32(c, type)) return false;
    if (*type >= GT_COUNT)
        return gguf_damaged(c, off, ERR_GGUF_KEY_TYPE, "value type %u is not known (0 to %d are)",
                            *type, GT_COUNT - 1);
    return true;
}

// Moves over n elements; at the cursor stands the first.
static bool walk_elements(Cursor *c, u32 type, u64 n, int depth) {
    u64 size = gguf_type_size(type), least = size ? size : type == GT_STRING ? 8 : 12;
    if (n > cursor_left(c) / least)
        return gguf_damaged(c, c->at, ERR_GGUF_COUNT,
                            "an array of %U x %s cannot fit in the %U bytes left", n,
                            gguf_type_name(type), cursor_left(c));
    if (size) return cursor_skip(c, n * size);
    if (depth == NEST_MOST)
        return gguf_damaged(c, c->at, ERR_GGUF_LIMIT, "arrays are nested deeper than %d",
                            NEST_MOST);
    for (u64 i = 0; i < n; i++) {
        u32 inner;
        u64 len;
        if (type == GT_STRING ? !cursor_u64(c, &len) || !cursor_skip(c, len)
                              : !read_type(c, &inner) || !cursor_u64(c, &len) ||
                                    !walk_elements(c, inner, len, depth + 1))
            return false;
    }
    return true;
}

static bool read_array(Cursor *c, GgufArray *arr) {
    if (!read_type(c, &arr->type) || !cursor_u64(c, &arr->n)) return false;
    arr->off = c->at;
    if (!walk_elements(c, arr->type, arr->n, 0)) return false;
    u64 bytes = c->at - arr->off;
    c->at = arr->off;
    arr->bytes = (size_t)bytes; // cursor_keep fails where this would cut
    return cursor_keep(c, bytes, &arr->at);
}

static bool read_str(Cursor *c, Str *s) {
    u64 len;
    const u8 *p;
    if (!cursor_u64(c, &len) || !cursor_keep(c, len, &p)) return false;
    *s = (Str){(const char *)p, (size_t)len};
    return true;
}

static bool read_value(Cursor *c, GgufKey *k) {
    if (!read_type(c, &k->type)) return false;
    k->off = c->at;
    if (k->type == GT_STRING) return read_str(c, &k->str);
    if (k->type == GT_ARRAY) {
        k->arr.key = k->name;
        k->arr.file = c->src->name;
        return read_array(c, &k->arr);
    }
    if (!cursor_bits(c, gguf_type_size(k->type), &k->bits)) return false;
    if (k->type == GT_BOOL && k->bits > 1)
        return gguf_damaged(c, k->off, ERR_GGUF_KEY_RANGE, "a bool is 0 or 1, not %U", k->bits);
    return true;
}

static bool read_key_name(Cursor *c, Str *name) {
    u64 off = c->at, len;
    const u8 *p;
    if (!cursor_u64(c, &len)) return false;
    if (len == 0 || len > NAME_MOST)
        return gguf_damaged(c, off, ERR_GGUF_NAME, "a key's name takes %U bytes, not 1 to %d", len,
                            NAME_MOST);
    if (!cursor_keep(c, len, &p)) return false;
    *name = (Str){(const char *)p, (size_t)len};
    for (size_t i = 0; i < name->len; i++)
        if (p[i] <= ' ' || p[i] > '~')
            return gguf_damaged(c, off, ERR_GGUF_NAME, "a key's name holds the byte 0x%02x", p[i]);
    return true;
}

bool gguf_read_keys(Cursor *c, Gguf *g, u64 count) {
    g->key_by_name = strmap_new(c->a, (size_t)count);
    g->keys = NEW_N(c->a, GgufKey, count); // count is bounded: see gguf.c
    for (u64 i = 0; i < count; i++) {
        GgufKey *k = &g->keys[i];
        i32 before;
        u64 off = c->at;
        c->part = "a key";
        c->subject = (Str){0};
        if (!read_key_name(c, &k->name)) return false;
        c->subject = k->name;
        if (strmap_get(g->key_by_name, k->name, &before))
            return gguf_damaged(c, off, ERR_GGUF_DUPLICATE,
                                "this key is there twice, first at 0x%X", g->keys[before].off);
        c->part = "the value of a key";
        if (!read_value(c, k)) return false;
        strmap_put(g->key_by_name, k->name, (i32)i);
        g->nkeys++;
    }
    c->subject = (Str){0};
    return true;
}

// ---- asking -------------------------------------------------------------------------------------

static const GgufKey *find(const Gguf *g, Str key) {
    i32 i;
    return strmap_get(g->key_by_name, key, &i) ? &g->keys[i] : NULL;
}

static bool place(Err *err, u64 off, Str file, Str key) {
    err_file(err, file);
    err_subject(err, key);
    return err_at(err, off);
}

static bool wrong_type(const Gguf *g, const GgufKey *k, const char *wanted, Err *err) {
    if (k->type == GT_ARRAY)
        err_set(err, ERR_GGUF_KEY_TYPE, "is an array of %s, where %s is needed" CONVERT,
                gguf_type_name(k->arr.type), wanted);
    else
        err_set(err, ERR_GGUF_KEY_TYPE, "is a %s, where %s is needed" CONVERT,
                gguf_type_name(k->type), wanted);
    return place(err, k->off, g->src->name, k->name);
}

bool gguf_has(const Gguf *g, Str key) { return find(g, key) != NULL; }

// The integer that `bits` of this type are; false: not an integer type, or a u64 past i64.
static bool int_value(u32 type, u64 bits, i64 *v) {
    switch (type) {
    case GT_U8:
    case GT_U16:
    case GT_U32:
    case GT_BOOL:
    case GT_U64: *v = (i64)bits; return bits <= INT64_MAX;
    case GT_I8: *v = (i64)(int8_t)bits; return true;
    case GT_I16: *v = (i64)(int16_t)bits; return true;
    case GT_I32: *v = (i64)(i32)bits; return true;
    case GT_I64: *v = (i64)bits; return true;
    default: return false;
    }
}

static bool is_int(u32 type) {
    return type == GT_U64 || type == GT_I64 || type <= GT_I32 || type == GT_BOOL;
}

bool gguf_get_int(const Gguf *g, Str key, i64 lo, i64 hi, i64 *out, Err *err) {
    const GgufKey *k = find(g, key);
    i64 v = 0;
    if (!k) return true;
    if (!is_int(k->type)) return wrong_type(g, k, "an integer", err);
    if (!int_value(k->type, k->bits, &v)) {
        err_set(err, ERR_GGUF_KEY_RANGE, "is %U and must be between %D and %D" CONVERT, k->bits, lo,
                hi);
        return place(err, k->off, g->src->name, key);
    }
    if (v < lo || v > hi) {
        err_set(err, ERR_GGUF_KEY_RANGE, "is %D and must be between %D and %D" CONVERT, v, lo, hi);
        return place(err, k->off, g->src->name, key);
    }
    *out = v;
    return true;
}

static double float_value(u32 type, u64 bits) {
    double d;
    if (type == GT_F32) return (double)bits_f32((u32)bits);
    memcpy(&d, &bits, 8);
    return d;
}

bool gguf_get_f32(const Gguf *g, Str key, double *out, Err *err) {
    const GgufKey *k = find(g, key);
    if (!k) return true;
    if (k->type != GT_F32 && k->type != GT_F64) return wrong_type(g, k, "a float", err);
    double v = float_value(k->type, k->bits);
    if (!(v - v == 0)) {
        err_set(err, ERR_GGUF_KEY_RANGE, "is not a finite number" CONVERT);
        return place(err, k->off, g->src->name, key);
    }
    *out = v;
    return true;
}

bool gguf_get_bool(const Gguf *g, Str key, bool *out, Err *err) {
    const GgufKey *k = find(g, key);
    if (!k) return true;
    if (k->type != GT_BOOL) return wrong_type(g, k, "a bool", err);
    *out = k->bits != 0;
    return true;
}

bool gguf_get_str(const Gguf *g, Str key, Str *out, Err *err) {
    const GgufKey *k = find(g, key);
    if (!k) return true;
    if (k->type != GT_STRING) return wrong_type(g, k, "a string", err);
    *out = k->str;
    return true;
}

bool gguf_get_array(const Gguf *g, Str key, GgufArray *out, Err *err) {
    const GgufKey *k = find(g, key);
    *out = (GgufArray){.key = key, .file = g->src->name};
    if (!k) return true;
    if (k->type != GT_ARRAY) return wrong_type(g, k, "an array", err);
    *out = k->arr;
    return true;
}

// ---- arrays as C arrays -------------------------------------------------------------------------

static bool array_fail(const GgufArray *arr, const char *wanted, Err *err) {
    err_set(err, ERR_GGUF_KEY_TYPE, "is an array of %s, where one of %s is needed" CONVERT,
            gguf_type_name(arr->type), wanted);
    return place(err, arr->off, arr->file, arr->key);
}

static void *array_room(Arena *a, const GgufArray *arr, size_t size, Err *err) {
    void *p = arena_try(a, arr->n, size);
    if (!p) {
        err_set(err, ERR_OUT_OF_MEMORY,
                "no memory for its %U elements; close something or take a smaller model", arr->n);
        place(err, arr->off, arr->file, arr->key);
    }
    return p;
}

bool gguf_array_strs(Arena *a, const GgufArray *arr, Str **out, Err *err) {
    if (arr->n && arr->type != GT_STRING) return array_fail(arr, "strings", err);
    Str *s = array_room(a, arr, sizeof(Str), err);
    if (!s) return false;
    const u8 *p = arr->at;
    for (u64 i = 0; i < arr->n; i++) {
        size_t len = (size_t)get_u64(p); // walked over when the file was opened
        s[i] = (Str){(const char *)p + 8, len};
        p += 8 + len;
    }
    *out = s;
    return true;
}

static u64 element(const GgufArray *arr, u64 i) {
    size_t size = gguf_type_size(arr->type);
    const u8 *p = arr->at + (size_t)i * size;
    return size == 1 ? p[0] : size == 2 ? get_u16(p) : size == 4 ? get_u32(p) : get_u64(p);
}

bool gguf_array_i32(Arena *a, const GgufArray *arr, i32 **out, Err *err) {
    if (arr->n && !is_int(arr->type)) return array_fail(arr, "integers", err);
    i32 *v = array_room(a, arr, sizeof(i32), err);
    if (!v) return false;
    for (u64 i = 0; i < arr->n; i++) {
        i64 x = 0;
        if (!int_value(arr->type, element(arr, i), &x) || x < INT32_MIN || x > INT32_MAX) {
            err_set(err, ERR_GGUF_KEY_RANGE, "element %U is out of the range of i32" CONVERT, i);
            return place(err, arr->off + i * gguf_type_size(arr->type), arr->file, arr->key);
        }
        v[i] = (i32)x;
    }
    *out = v;
    return true;
}

bool gguf_array_f32(Arena *a, const GgufArray *arr, float **out, Err *err) {
    if (arr->n && arr->type != GT_F32 && arr->type != GT_F64) return array_fail(arr, "floats", err);
    float *v = array_room(a, arr, sizeof(float), err);
    if (!v) return false;
    for (u64 i = 0; i < arr->n; i++) v[i] = (float)float_value(arr->type, element(arr, i));
    *out = v;
    return true;
}
