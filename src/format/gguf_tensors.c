// format/gguf_tensors.c: the tensor table of a GGUF file: names, types, shapes and places, all
// checked.
//
// Offsets and sizes are u64 throughout, on 32-bit machines too: a tensor may lie past 4 GB and be
// read in windows.
#include "format/gguf_int.h"

enum { NAME_MOST = 64 };

// Formats that files have and hob cannot run, by their id: so that a message can call them by name.
static const char *foreign_type(u32 id) {
    static const char names[][8] = {
        [7] = "Q5_1",     [9] = "Q8_1",   [10] = "Q2_K",   [11] = "Q3_K",    [12] = "Q4_K",
        [13] = "Q5_K",    [14] = "Q6_K",  [15] = "Q8_K",   [16] = "IQ2_XXS", [17] = "IQ2_XS",
        [18] = "IQ3_XXS", [19] = "IQ1_S", [20] = "IQ4_NL", [21] = "IQ3_S",   [22] = "IQ2_S",
        [23] = "IQ4_XS",  [24] = "I8",    [25] = "I16",    [26] = "I32",     [27] = "I64",
        [28] = "F64",     [29] = "IQ1_M", [34] = "TQ1_0",  [35] = "TQ2_0",   [39] = "MXFP4",
    };
    return id < COUNT_OF(names) ? names[id] : "";
}

static bool read_name(Cursor *c, Str *name) {
    u64 off = c->at, len;
    const u8 *p;
    if (!cursor_u64(c, &len)) return false;
    if (len == 0 || len > NAME_MOST)
        return gguf_damaged(c, off, ERR_GGUF_NAME, "a tensor's name takes %U bytes, not 1 to %d",
                            len, NAME_MOST);
    if (!cursor_keep(c, len, &p)) return false;
    *name = (Str){(const char *)p, (size_t)len};
    for (size_t i = 0; i < name->len; i++)
        if (p[i] <= ' ' || p[i] == 127)
            return gguf_damaged(c, off, ERR_GGUF_NAME, "a tensor's name holds the byte 0x%02x",
                                p[i]);
    return true;
}

static bool read_type(Cursor *c, FileType *type) {
    u64 off = c->at;
    u32 id;
    if (!cursor_u32(c, &id)) return false;
    if (filetype_from_gguf(id, type)) return true;
    char text[160];
    Buf known = {.ptr = text, .cap = sizeof text};
    filetype_names(&known);
    const char *name = foreign_type(id);
    if (name[0])
        return gguf_fail(c, off, ERR_GGUF_TENSOR_TYPE,
                         "type %u (%s) is not known yet; take a file in one of: %S", id, name,
                         buf_str(&known));
    return gguf_fail(c, off, ERR_GGUF_TENSOR_TYPE,
                     "type %u is not known; take a file in one of: %S", id, buf_str(&known));
}

static bool read_shape(Cursor *c, FileTensor *t, u64 *elements) {
    u64 off = c->at;
    u32 nd;
    if (!cursor_u32(c, &nd)) return false;
    if (nd < 1 || nd > 4)
        return gguf_damaged(c, off, ERR_GGUF_SHAPE, "has %u dimensions, not 1 to 4", nd);
    t->nd = (int)nd;
    for (int i = 0; i < 4; i++) t->dims[i] = 1;
    *elements = 1;
    for (int i = 0; i < t->nd; i++) {
        off = c->at;
        if (!cursor_u64(c, &t->dims[i])) return false;
        if (t->dims[i] == 0) return gguf_damaged(c, off, ERR_GGUF_SHAPE, "dimension %d is 0", i);
        if (!mul_u64(*elements, t->dims[i], elements))
            return gguf_damaged(c, off, ERR_GGUF_SHAPE,
                                "its dimensions multiply to more than 2^64");
    }
    return true;
}

static bool read_entry(Cursor *c, const Gguf *g, GgufEntry *e) {
    FileTensor *t = &e->t;
    u64 elements = 1;
    i32 before;
    c->part = "an entry of the tensor table";
    c->subject = (Str){0};
    e->entry = c->at;
    if (!read_name(c, &t->name)) return false;
    c->subject = t->name;
    if (strmap_get(g->tensor_by_name, t->name, &before))
        return gguf_damaged(c, e->entry, ERR_GGUF_DUPLICATE,
                            "this tensor is there twice, first at 0x%X", g->tensors[before].entry);
    u64 shape = c->at;
    if (!read_shape(c, t, &elements) || !read_type(c, &t->type)) return false;
    const FileTypeInfo *f = filetype_info(t->type);
    if (t->dims[0] % f->elems != 0)
        return gguf_damaged(c, shape, ERR_GGUF_SHAPE,
                            "rows of %U elements are not whole %s blocks of %u", t->dims[0],
                            f->name, f->elems);
    if (!mul_u64(elements / f->elems, f->bytes, &t->bytes))
        return gguf_damaged(c, shape, ERR_GGUF_SHAPE, "takes more than 2^64 bytes");
    u64 off = c->at;
    if (!cursor_u64(c, &t->off)) return false;
    if (t->off % g->align != 0)
        return gguf_damaged(c, off, ERR_GGUF_OFFSET, "its data at 0x%X are not aligned to %U",
                            t->off, g->align);
    return true;
}

// Offsets count from the end of the table, rounded up: known only once the table is read.
static bool place_tensors(Cursor *c, Gguf *g) {
    u64 size = g->src->size, end;
    if (!add_u64(c->at, g->align - 1, &g->data)) {
        c->subject = (Str){0};
        return gguf_damaged(c, c->at, ERR_GGUF_OFFSET, "the tensor data would begin past 2^64");
    }
    g->data -= g->data % g->align;
    for (size_t i = 0; i < g->ntensors; i++) {
        GgufEntry *e = &g->tensors[i];
        c->subject = e->t.name;
        if (!add_u64(g->data, e->t.off, &e->t.off) || !add_u64(e->t.off, e->t.bytes, &end))
            return gguf_damaged(c, e->entry, ERR_GGUF_OFFSET, "its data would end past 2^64");
        if (end > size)
            return gguf_fail(c, e->entry, ERR_GGUF_TRUNCATED,
                             "its data end at byte %U, but the file has %U; it is cut off or "
                             "damaged, download it again",
                             end, size);
    }
    return true;
}

static void sift(const GgufEntry **h, size_t i, size_t n) {
    for (size_t child; (child = 2 * i + 1) < n; i = child) {
        if (child + 1 < n && h[child + 1]->t.off > h[child]->t.off) child++;
        if (h[child]->t.off <= h[i]->t.off) return;
        const GgufEntry *swap = h[i];
        h[i] = h[child];
        h[child] = swap;
    }
}

bool gguf_check_overlap(Cursor *c, const Gguf *g) {
    size_t n = g->ntensors;
    const GgufEntry **h = NEW_N(c->a, const GgufEntry *, n);
    for (size_t i = 0; i < n; i++) h[i] = &g->tensors[i];
    for (size_t i = n / 2; i-- > 0;) // heap sort: no bad case for a hostile file to choose
        sift(h, i, n);
    for (size_t m = n; m-- > 1;) {
        const GgufEntry *last = h[0];
        h[0] = h[m];
        h[m] = last;
        sift(h, 0, m);
    }
    for (size_t i = 1; i < n; i++)
        if (h[i]->t.off - h[i - 1]->t.off < h[i - 1]->t.bytes) {
            c->subject = h[i]->t.name;
            return gguf_damaged(c, h[i]->entry, ERR_GGUF_OFFSET, "its data overlap those of %S",
                                h[i - 1]->t.name);
        }
    return true;
}

bool gguf_read_tensors(Cursor *c, Gguf *g, u64 count) {
    g->tensor_by_name = strmap_new(c->a, (size_t)count);
    g->tensors = NEW_N(c->a, GgufEntry, count); // count is bounded: see gguf.c
    for (u64 i = 0; i < count; i++) {
        GgufEntry *e = &g->tensors[i];
        if (!read_entry(c, g, e)) return false;
        strmap_put(g->tensor_by_name, e->t.name, (i32)i);
        g->ntensors++;
    }
    c->subject = (Str){0};
    return place_tensors(c, g) && gguf_check_overlap(c, g);
}
