// format/gguf.c: opens a GGUF file of version 2 or 3: header, keys (gguf_keys.c), tensor table
// (gguf_tensors.c).
//
// Only the front part of the file is read; tensor data stay where they are and are found by offset.
// The file is taken as hostile: whatever is returned has been checked, so that nobody behind needs
// to look again.
#include "format/gguf_int.h"

enum { KEYS_MOST = 16384, TENSORS_MOST = 32768 }; // real files: about 50 and 1,000
enum {
    KEY_LEAST = 8 + 1 + 4 + 1,
    TENSOR_LEAST = 8 + 1 + 4 + 8 + 4 + 8
}; // bytes an entry takes at least

static bool check_count(Cursor *c, const char *what, u64 off, u64 count, u64 least, u64 most) {
    if (count > cursor_left(c) / least)
        return gguf_damaged(c, off, ERR_GGUF_COUNT, "%U %s cannot fit in the %U bytes left", count,
                            what, cursor_left(c));
    if (count > most)
        return gguf_damaged(c, off, ERR_GGUF_COUNT, "%U %s are more than the %U that hob takes",
                            count, what, most);
    return true;
}

static bool read_header(Cursor *c, Gguf *g, u64 *tensors, u64 *keys) {
    u32 magic;
    if (cursor_left(c) < 4)
        return gguf_fail(c, 0, ERR_GGUF_MAGIC,
                         "not a GGUF file: it has only %U bytes; give a .gguf model file",
                         cursor_left(c));
    if (!cursor_u32(c, &magic)) return false;
    if (magic != GGUF_MAGIC)
        return gguf_fail(c, 0, ERR_GGUF_MAGIC,
                         "not a GGUF file: it begins with 0x%08x, not with \"GGUF\"; give a .gguf "
                         "model file",
                         magic >> 24 | (magic >> 8 & 0xff00) | (magic & 0xff00) << 8 | magic << 24);
    if (!cursor_u32(c, &g->version)) return false;
    if (g->version == 0x03000000 || g->version == 0x02000000)
        return gguf_fail(c, 4, ERR_GGUF_VERSION, "a big-endian file; convert it to little-endian");
    if (g->version != 2 && g->version != 3)
        return gguf_fail(c, 4, ERR_GGUF_VERSION,
                         "version %u is not known; known: 2, 3; convert the model anew",
                         g->version);
    if (!cursor_u64(c, tensors) || !cursor_u64(c, keys)) return false;
    return check_count(c, "tensors", 8, *tensors, TENSOR_LEAST, TENSORS_MOST) &&
           check_count(c, "keys", 16, *keys, KEY_LEAST, KEYS_MOST);
}

static bool read_alignment(Cursor *c, Gguf *g) {
    i32 i;
    g->align = 32;
    if (!strmap_get(g->key_by_name, S("general.alignment"), &i)) return true;
    const GgufKey *k = &g->keys[i];
    c->subject = k->name;
    if (k->type != GT_U32 && k->type != GT_U64)
        return gguf_fail(c, k->off, ERR_GGUF_ALIGN, "is a %s and must be a u32" CONVERT,
                         gguf_type_name(k->type));
    if (k->bits == 0 || (k->bits & (k->bits - 1)) != 0 || k->bits > 1 << 20)
        return gguf_fail(c, k->off, ERR_GGUF_ALIGN,
                         "is %U and must be a power of two up to 1048576" CONVERT, k->bits);
    g->align = k->bits;
    return true;
}

// Header and keys at the cursor: all of a GGUF file but its tensors.
static bool read_front(Cursor *c, Gguf *g, u64 *tensors) {
    u64 keys;
    c->part = "the header";
    if (!read_header(c, g, tensors, &keys)) return false;
    g->keys_off = c->at;
    if (!gguf_read_keys(c, g, keys)) return false;
    g->keys_bytes = c->at - g->keys_off;
    return true;
}

bool gguf_read_front(Cursor *c, Gguf *g) {
    u64 tensors;
    if (!read_front(c, g, &tensors)) return false;
    return tensors == 0 ||
           gguf_damaged(c, c->at, ERR_GGUF_COUNT, "keys alone have no tensors, not %U", tensors);
}

bool gguf_open(Arena *a, Source *src, Gguf **out, Err *err) {
    Cursor c = {.a = a, .src = src, .err = err};
    Gguf *g = NEW(a, Gguf);
    u64 tensors;
    g->src = src;
    g->kind = "GGUF";
    if (!read_front(&c, g, &tensors) || !read_alignment(&c, g) ||
        !gguf_read_tensors(&c, g, tensors))
        return false;
    *out = g;
    return true;
}

void gguf_keys_at(const Gguf *g, u64 *off, u64 *bytes, u64 *count) {
    *off = g->keys_off;
    *bytes = g->keys_bytes;
    *count = g->nkeys;
}

size_t gguf_tensor_count(const Gguf *g) { return g->ntensors; }

const FileTensor *gguf_tensor_at(const Gguf *g, size_t i) {
    must(i < g->ntensors);
    return &g->tensors[i].t;
}

const FileTensor *gguf_tensor(const Gguf *g, Str name) {
    i32 i;
    return strmap_get(g->tensor_by_name, name, &i) ? &g->tensors[i].t : NULL;
}

Source *gguf_source(const Gguf *g) { return g->src; }
