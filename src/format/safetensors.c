// format/safetensors.c: opens a safetensors file that hob wrote, as the same description that a
// GGUF file gives.
//
// Such a file is the length of a JSON header in eight bytes, the header, then the data. The header
// names each tensor's type, shape and place; what has blocks lies there as rows of bytes (U8), and
// __metadata__ says which encoding they are: "hob.encoding.NAME": "Q4_1". The tensor hob.keys holds
// a GGUF header without tensors: configuration, vocabulary and chat template, in the one form that
// everything else reads. Nobody's word is taken for anything: lengths, shapes and places are
// checked against each other and against the file's size, in 64 bits. The weights stay where they
// are.
#include "format/gguf_int.h"

#include <yyjson.h>

enum { TENSORS_MOST = 32768, NAME_MOST = 64 };
static const u64 HEADER_MOST = (u64)16 << 20; // real ones: 20 to 200 KB
#define KEYS     "hob.keys"
#define ENCODING "hob.encoding."

typedef struct StReader {
    Cursor c; // where the file is, for messages and the keys
    Gguf *g;
    u64 data, size; // of the data: where they begin, how many bytes
    yyjson_val *meta;
    FileTensor keys;
} StReader;

static void *json_alloc(void *arena, size_t size) { return arena_try(arena, 1, size); }

static void *json_realloc(void *arena, void *old, size_t old_size, size_t size) {
    void *p = arena_try(arena, 1, size);
    if (p && old) memcpy(p, old, MIN2(old_size, size));
    return p;
}

static void json_free(void *arena, void *p) { (void)arena, (void)p; }

static bool read_header(StReader *r, yyjson_val **root) {
    Cursor *c = &r->c;
    u64 len;
    const u8 *text;
    c->part = "the header";
    if (!cursor_u64(c, &len)) return false;
    if (len > HEADER_MOST || len > cursor_left(c))
        return gguf_damaged(c, 0, ERR_SAFETENSORS_HEADER,
                            "a header of %U bytes, where %U are left and at most %U are possible",
                            len, cursor_left(c), HEADER_MOST);
    if (!cursor_keep(c, len, &text)) return false;
    r->data = c->at;
    r->size = cursor_left(c);
    // a page's yyjson does not look whether text is UTF-8: names of tensors are ASCII
    for (u64 i = 0; i < len; i++)
        if (text[i] > 127)
            return gguf_damaged(c, 8 + i, ERR_SAFETENSORS_HEADER, "a byte that is not ASCII");
    yyjson_alc alc = {json_alloc, json_realloc, json_free, c->a};
    yyjson_read_err e = {0};
    // without the in-place flag yyjson copies the text and does not write to it
    yyjson_doc *doc =
        yyjson_read_opts((char *)(uintptr_t)text, (size_t)len, YYJSON_READ_NOFLAG, &alc, &e);
    if (!doc)
        return gguf_damaged(c, 8 + (u64)e.pos, ERR_SAFETENSORS_HEADER, "the header is not JSON: %s",
                            e.msg);
    *root = yyjson_doc_get_root(doc);
    if (!yyjson_is_obj(*root))
        return gguf_damaged(c, 8, ERR_SAFETENSORS_HEADER, "the header is no JSON object");
    if (yyjson_obj_size(*root) > TENSORS_MOST)
        return gguf_damaged(c, 8, ERR_SAFETENSORS_HEADER, "more than %d tensors", TENSORS_MOST);
    r->meta = yyjson_obj_get(*root, "__metadata__");
    return true;
}

static bool wrong(StReader *r, const char *what) {
    return gguf_damaged(&r->c, 8, ERR_SAFETENSORS_TENSOR, "%s", what);
}

static bool read_name(StReader *r, yyjson_val *key, Str *name) {
    *name = (Str){yyjson_get_str(key), yyjson_get_len(key)};
    r->c.subject = str_sub(*name, 0, NAME_MOST);
    if (name->len == 0 || name->len > NAME_MOST)
        return wrong(r, "a tensor's name has 1 to 64 bytes");
    for (size_t i = 0; i < name->len; i++)
        if ((u8)name->ptr[i] <= ' ' || name->ptr[i] == 127)
            return wrong(r, "a tensor's name holds white space or a control character");
    return true;
}

// What the tensor's bytes are: a float type by its dtype, blocks by the metadata's word.
static bool read_type(StReader *r, FileTensor *t, Str dtype, bool *raw) {
    static const struct {
        const char *name;
        FileType type;
    } types[] = {{"F32", FT_F32}, {"F16", FT_F16}, {"BF16", FT_BF16}};
    *raw = str_eq(dtype, S("U8"));
    for (size_t i = 0; i < COUNT_OF(types); i++)
        if (str_eq(dtype, str_c(types[i].name))) {
            t->type = types[i].type;
            return true;
        }
    if (!*raw) {
        err_set(r->c.err, ERR_SAFETENSORS_TENSOR,
                "the type %S is not known; known: F32, F16, BF16, U8 with an encoding; make the "
                "file with `hob bake`",
                str_sub(dtype, 0, 16));
        err_subject(r->c.err, t->name);
        return err_file(r->c.err, r->c.src->name);
    }
    if (str_eq(t->name, S(KEYS))) return true;
    Str key = str_fmt(r->c.a, ENCODING "%S", t->name);
    yyjson_val *v = yyjson_obj_getn(r->meta, key.ptr, key.len);
    Str said = {yyjson_get_str(v), yyjson_get_len(v)};
    for (int i = 0; v && said.ptr && i < FT_COUNT; i++)
        if (str_eq(said, str_c(filetype_info((FileType)i)->name))) {
            t->type = (FileType)i;
            return filetype_info(t->type)->elems > 1 || wrong(r, "floats are no rows of bytes");
        }
    char text[160];
    Buf known = {.ptr = text, .cap = sizeof text};
    filetype_names(&known);
    err_set(r->c.err, ERR_SAFETENSORS_TENSOR,
            "bytes whose encoding (%S) is not known; known: %S; make the file with `hob bake`",
            said.ptr ? str_sub(said, 0, 16) : S("none said"), buf_str(&known));
    err_subject(r->c.err, t->name);
    return err_file(r->c.err, r->c.src->name);
}

// The shape as the file says it is outermost first; here dims[0] is the innermost.
static bool read_shape(StReader *r, FileTensor *t, yyjson_val *shape, bool raw) {
    size_t n = yyjson_arr_size(shape);
    u64 elements = 1;
    bool keys = str_eq(t->name, S(KEYS));
    if (!yyjson_is_arr(shape) || n > 4) return wrong(r, "its shape is no list of up to 4 numbers");
    for (int i = 0; i < 4; i++) t->dims[i] = 1;
    t->nd = MAX2((int)n, 1);
    for (size_t i = 0; i < n; i++) {
        yyjson_val *v = yyjson_arr_get(shape, i);
        u64 d = yyjson_get_uint(v);
        if (!yyjson_is_uint(v) || d == 0) return wrong(r, "a dimension is no number above 0");
        if (!mul_u64(elements, d, &elements))
            return wrong(r, "its dimensions multiply to more than 2^64");
        t->dims[n - 1 - i] = d;
    }
    if (raw) {
        t->bytes = elements;
        if (keys) return true;
        const FileTypeInfo *f = filetype_info(t->type);
        if (t->dims[0] % f->bytes != 0) return wrong(r, "its rows are no whole blocks");
        return mul_u64(t->dims[0] / f->bytes, f->elems, &t->dims[0]) ||
               wrong(r, "its rows have more than 2^64 elements");
    }
    return mul_u64(elements, filetype_info(t->type)->bytes, &t->bytes) ||
           wrong(r, "it takes more than 2^64 bytes");
}

static bool read_place(StReader *r, FileTensor *t, yyjson_val *offsets) {
    yyjson_val *b = yyjson_arr_get(offsets, 0), *e = yyjson_arr_get(offsets, 1);
    u64 begin = yyjson_get_uint(b), end = yyjson_get_uint(e);
    if (!yyjson_is_arr(offsets) || yyjson_arr_size(offsets) != 2 || !yyjson_is_uint(b) ||
        !yyjson_is_uint(e) || begin > end)
        return wrong(r, "its place is no pair of numbers in order");
    if (end > r->size) {
        r->c.part = "its place";
        return gguf_fail(&r->c, 8, ERR_GGUF_TRUNCATED,
                         "its data end at byte %U of %U; the file is cut off or damaged, download "
                         "it again",
                         end, r->size);
    }
    if (end - begin != t->bytes) return wrong(r, "its place and its shape differ in size");
    t->off = r->data + begin; // both at most the file's size
    return true;
}

static bool read_tensor(StReader *r, yyjson_val *key, yyjson_val *v, FileTensor *t) {
    bool raw = false;
    if (!read_name(r, key, &t->name)) return false;
    yyjson_val *dtype = yyjson_obj_get(v, "dtype");
    if (!yyjson_is_obj(v) || !yyjson_is_str(dtype)) return wrong(r, "it has no dtype");
    return read_type(r, t, (Str){yyjson_get_str(dtype), yyjson_get_len(dtype)}, &raw) &&
           read_shape(r, t, yyjson_obj_get(v, "shape"), raw) &&
           read_place(r, t, yyjson_obj_get(v, "data_offsets"));
}

static bool read_tensors(StReader *r, yyjson_val *root) {
    Gguf *g = r->g;
    size_t most = yyjson_obj_size(root);
    i32 before;
    g->tensor_by_name = strmap_new(r->c.a, most);
    g->tensors = NEW_N(r->c.a, GgufEntry, MAX2(most, 1)); // bounded, see read_header
    yyjson_obj_iter it = yyjson_obj_iter_with(root);
    for (yyjson_val *key; (key = yyjson_obj_iter_next(&it));) {
        yyjson_val *v = yyjson_obj_iter_get_val(key);
        GgufEntry *e = &g->tensors[g->ntensors];
        *e = (GgufEntry){.entry = 8};
        if (yyjson_equals_str(key, "__metadata__")) continue;
        if (!read_tensor(r, key, v, &e->t)) return false;
        bool keys = str_eq(e->t.name, S(KEYS));
        if (keys ? r->keys.bytes != 0 : strmap_get(g->tensor_by_name, e->t.name, &before))
            return wrong(r, "this tensor is there twice");
        if (!keys) strmap_put(g->tensor_by_name, e->t.name, (i32)g->ntensors);
        if (keys) r->keys = e->t;
        g->ntensors++;
    }
    if (!gguf_check_overlap(&r->c, g)) return false;
    // the keys are no weight: out of the list once their place is known to be nobody else's
    for (size_t i = 0; i < g->ntensors; i++)
        if (str_eq(g->tensors[i].t.name, S(KEYS))) {
            memmove(&g->tensors[i], &g->tensors[i + 1], (--g->ntensors - i) * sizeof g->tensors[0]);
            for (; i < g->ntensors; i++)
                strmap_put(g->tensor_by_name, g->tensors[i].t.name, (i32)i);
        }
    return true;
}

bool safetensors_open(Arena *a, Source *src, Gguf **out, Err *err) {
    Gguf *g = NEW(a, Gguf);
    StReader r = {.c = {.a = a, .src = src, .err = err}, .g = g};
    yyjson_val *root = NULL;
    *g = (Gguf){.src = src, .kind = "safetensors, written by hob; keys as in GGUF", .align = 1};
    if (!read_header(&r, &root) || !read_tensors(&r, root)) return false;
    r.c.subject = (Str){0};
    if (r.keys.bytes == 0)
        return gguf_fail(&r.c, 8, ERR_SAFETENSORS_KEYS,
                         "there is no tensor " KEYS
                         ", which would say what model this is; take the GGUF file, or one made "
                         "with `hob bake`");
    // a file that ends where the keys end: nothing in them reaches past it
    Source part = *src;
    part.size = r.keys.off + r.keys.bytes;
    Cursor c = {.a = a, .src = &part, .err = err, .at = r.keys.off};
    bool ok = gguf_read_front(&c, g);
    src->wait |= part.wait;
    if (!ok) return false;
    *out = g;
    return true;
}

bool format_open(Arena *a, Source *src, Gguf **out, Err *err) {
    u8 front[9] = {0};
    if (src->size >= sizeof front && src->read(src, 0, front, sizeof front) && front[8] == '{' &&
        get_u32(front) != GGUF_MAGIC)
        return safetensors_open(a, src, out, err);
    return gguf_open(a, src, out, err);
}
