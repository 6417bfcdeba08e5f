// bake/write.c: the safetensors file that a plan describes, piece by piece to whoever keeps it.
//
// Rows are read, requantised and handed on one at a time, so that this needs the memory of a row
// whatever the model's size.
#include "bake/bake.h"

typedef struct Writer {
    const BakePlan *p;
    const BakeOptions *o;
    bool (*write)(void *user, const void *p, size_t n);
    void *user;
    u64 done;
    Err *err;
} Writer;

static bool put(Writer *w, const void *p, size_t n) {
    if (!w->write(w->user, p, n))
        return err_set(w->err, ERR_IO, "the file cannot be written; is the disk full?");
    w->done += n;
    return true;
}

static bool put_tensor(Writer *w, Arena *a, const Gguf *g, const BakeTensor *t) {
    BakeRows r;
    const FileTypeInfo *f = filetype_info(t->to);
    u64 k = t->from->dims[0], bytes = k / f->elems * f->bytes;
    if (!bake_rows(a, g, t->from, &r, w->err)) return false;
    u8 *to = arena_try(a, bytes, 1);
    if (!to) return err_set(w->err, ERR_OUT_OF_MEMORY, "no memory for a row of %U bytes", bytes);
    for (u64 row = 0; row < r.rows; row++) {
        const u8 *from = to;
        if (t->to == t->from->type) {
            if (!bake_row_bytes(&r, row, &from, w->err)) return false;
        } else {
            if (!bake_row(&r, row, w->err)) return false;
            if (!filetype_encode_row(t->to, r.x, t->columns, k, false, to)) {
                err_set(w->err, ERR_BAKE_VALUE,
                        "row %U holds a number that %s cannot say; convert the model anew", row,
                        f->name);
                return err_subject(w->err, t->from->name);
            }
        }
        if (!put(w, from, (size_t)bytes)) return false;
        if (row % 64 == 0 && w->o->progress && !w->o->progress(w->o->user, w->done, w->p->bytes))
            return err_set(w->err, ERR_INTERRUPTED, "the work was stopped");
    }
    return true;
}

bool bake_write(const Gguf *g, const BakePlan *p, const BakeOptions *o,
                bool (*write)(void *user, const void *p, size_t n), void *user, Err *err) {
    Writer w = {.p = p, .o = o, .write = write, .user = user, .err = err};
    Arena *scratch = arena_new(NULL);
    bool ok = scratch || err_set(err, ERR_OUT_OF_MEMORY, "no memory for a row");
    ok = ok && put(&w, p->header.ptr, p->header.len) && put(&w, p->keys.ptr, p->keys.len);
    for (size_t i = 0; ok && i < p->n; i++) {
        arena_reset(scratch);
        ok = put_tensor(&w, scratch, g, &p->at[i]);
    }
    arena_free(scratch);
    must(!ok || w.done == p->bytes);
    return ok;
}
