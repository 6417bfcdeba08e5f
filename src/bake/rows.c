// bake/rows.c: a tensor row by row: its bytes where they lie, or read, and its floats.
#include "bake/bake.h"

bool bake_is_matrix(const FileTensor *t) {
    return t->nd >= 2 && t->dims[1] > 1 && t->dims[0] % 32 == 0 && t->dims[0] <= 1 << 24;
}

bool bake_rows(Arena *a, const Gguf *g, const FileTensor *t, BakeRows *out, Err *err) {
    const FileTypeInfo *f = filetype_info(t->type);
    *out = (BakeRows){.file = g, .t = t, .rows = 1};
    for (int i = 1; i < t->nd; i++) out->rows *= t->dims[i]; // what the reader multiplied, too
    out->row_bytes = t->dims[0] / f->elems * f->bytes;
    out->x = arena_try(a, t->dims[0], sizeof(float));
    out->bytes = gguf_source(g)->map ? NULL : arena_try(a, out->row_bytes, 1);
    if (out->x && (out->bytes || gguf_source(g)->map)) return true;
    err_set(err, ERR_OUT_OF_MEMORY, "no memory for a row of %U numbers; close something",
            t->dims[0]);
    return err_subject(err, t->name);
}

bool bake_row_bytes(BakeRows *r, u64 row, const u8 **bytes, Err *err) {
    Source *src = gguf_source(r->file);
    u64 off = r->t->off + row * r->row_bytes; // inside the file: see gguf_open
    if (src->map) {
        *bytes = src->map + off;
        return true;
    }
    *bytes = r->bytes;
    if (src->read(src, off, r->bytes, (size_t)r->row_bytes)) return true;
    err_set(err, ERR_IO, "the file cannot be read; is it still there?");
    err_at(err, off);
    err_subject(err, r->t->name);
    return err_file(err, src->name);
}

bool bake_row(BakeRows *r, u64 row, Err *err) {
    const u8 *bytes;
    if (!bake_row_bytes(r, row, &bytes, err)) return false;
    filetype_dequant_row(r->t->type, bytes, r->t->dims[0], r->x);
    return true;
}
