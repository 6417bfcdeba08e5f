// bake/plan.c: which tensor gets which encoding.
//
// Every matrix has a few forms it may take: as it is, or smaller in one of the encodings that hob
// writes. Each form's noise (squared error over squares, columns weighted by what they are
// multiplied with where that is known) is measured on a sample of rows. Under a size everything
// begins in its smallest form; then, as long as there is room, the form is taken that removes most
// noise for each byte it costs. Without one, matrices get four bits and the embedding and the head
// eight. Vectors, and rows that are no whole groups, are left as they are.
#include "bake/bake.h"

enum { FORMS = 5, SAMPLE = 96 };

typedef struct Form {
    FileType type;
    u64 bytes;
    double noise;
} Form;

typedef struct Choice {
    Form form[FORMS]; // the smallest first
    int n, now;
} Choice;

static const float *columns_of(const BakeOptions *o, const FileTensor *t) {
    for (size_t i = 0; i < o->nstats; i++)
        if (str_eq(o->stats[i].tensor, t->name) && o->stats[i].cols == t->dims[0])
            return o->stats[i].mean_sq;
    return NULL;
}

static u64 bytes_as(const FileTensor *t, FileType to) { // smaller than it is: no overflow
    const FileTypeInfo *f = filetype_info(t->type), *n = filetype_info(to);
    return t->bytes / f->bytes * f->elems / n->elems * n->bytes;
}

// Noise of a sample of rows in another type; false: it cannot say these numbers.
static bool noise_of(Arena *a, BakeRows *r, FileType to, const float *columns, double *noise,
                     Err *err) {
    u64 k = r->t->dims[0];
    float *y = arena_try(a, k, sizeof(float));
    u8 *bytes = arena_try(a, k, sizeof(float));
    double error = 0, all = 0;
    if (!y || !bytes)
        return err_set(err, ERR_OUT_OF_MEMORY, "no memory for a row of %U numbers", k);
    for (u64 i = 0, n = MIN2(r->rows, SAMPLE); i < n; i++) {
        if (!bake_row(r, i * (r->rows / n), err)) return false;
        if (!filetype_encode_row(to, r->x, columns, k, false, bytes)) return false;
        filetype_dequant_row(to, bytes, k, y);
        for (u64 j = 0; j < k; j++) {
            double w = columns ? (double)columns[j] : 1, x = (double)r->x[j], e = x - (double)y[j];
            error += w * e * e;
            all += w * x * x;
        }
    }
    *noise = all > 0 ? error / all : 0;
    return true;
}

static bool forms_of(Arena *a, const Gguf *g, const BakeTensor *t, Choice *c, Err *err) {
    static const FileType smaller[] = {FT_Q4_1, FT_Q5_0, FT_Q8_0, FT_F16};
    BakeRows r;
    *c = (Choice){0};
    if (bake_is_matrix(t->from)) {
        if (!bake_rows(a, g, t->from, &r, err)) return false;
        for (size_t i = 0; i < COUNT_OF(smaller); i++) {
            Form *f = &c->form[c->n];
            *f = (Form){smaller[i], bytes_as(t->from, smaller[i]), 0};
            if (f->bytes >= t->from->bytes) continue;
            if (noise_of(a, &r, f->type, t->columns, &f->noise, err)) c->n++;
            if (err->id) return false;
        }
    }
    c->form[c->n++] = (Form){t->from->type, t->from->bytes, 0};
    return true;
}

static bool is_table(Str name) {
    return str_eq(name, S("token_embd.weight")) || str_eq(name, S("output.weight"));
}

static void choose_plain(BakePlan *p, Choice *c) {
    for (size_t i = 0; i < p->n; i++)
        for (int k = 0; k < c[i].n && is_table(p->at[i].from->name); k++)
            if (c[i].form[k].type == FT_Q8_0 || k == c[i].n - 1) {
                c[i].now = k;
                break;
            }
}

// Greedy: the step with most noise removed a byte, among those that fit.
static void choose_under(Choice *c, size_t n, u64 room) {
    for (;;) {
        double best = 0;
        size_t tensor = 0;
        int form = -1;
        for (size_t i = 0; i < n; i++)
            for (int k = c[i].now + 1; k < c[i].n; k++) {
                const Form *f = &c[i].form[c[i].now], *t = &c[i].form[k];
                u64 costs = t->bytes - f->bytes;
                double gain = costs ? (f->noise - t->noise) / (double)costs : 0;
                if (costs > room || gain <= best) continue;
                best = gain;
                tensor = i;
                form = k;
            }
        if (form < 0) return;
        room -= c[tensor].form[form].bytes - c[tensor].form[c[tensor].now].bytes;
        c[tensor].now = form;
    }
}

// hob.keys: a GGUF header that says there are no tensors, and the keys as they stand in the file.
static bool copy_keys(Arena *a, const Gguf *g, BakePlan *p, Err *err) {
    Source *src = gguf_source(g);
    u64 off, bytes, count;
    gguf_keys_at(g, &off, &bytes, &count);
    u64 size = round_up(24 + bytes, 32); // what follows stays aligned
    u8 *to = arena_try(a, size, 1);
    if (!to) return err_set(err, ERR_OUT_OF_MEMORY, "no memory for %U bytes of keys", size);
    memcpy(to, "GGUF\3\0\0", 8);
    for (int i = 0; i < 8; i++) to[16 + i] = (u8)(count >> 8 * i);
    if (!src->read(src, off, to + 24, (size_t)bytes)) {
        err_set(err, ERR_IO, "the file cannot be read; is it still there?");
        return err_file(err, src->name);
    }
    p->keys = (Str){(const char *)to, (size_t)size};
    return true;
}

static void print_entry(Buf *b, Str name, const char *dtype, const FileTensor *t, u64 inner, u64 at,
                        u64 bytes) {
    buf_add(b, S(",\n"));
    json_str(b, name);
    buf_fmt(b, ": {\"dtype\": \"%s\", \"shape\": [", dtype);
    for (int i = t ? t->nd - 1 : 0; i > 0; i--) buf_fmt(b, "%U, ", t->dims[i]);
    buf_fmt(b, "%U], \"data_offsets\": [%U, %U]}", inner, at, at + bytes);
}

// Fills p->header and p->bytes; tensors in their order, the keys first.
static void make_header(Arena *a, BakePlan *p) {
    Buf b = {.arena = a};
    u64 at = p->keys.len;
    buf_add(&b, S("........{\"__metadata__\": {\"format\": \"hob\""));
    for (size_t i = 0; i < p->n; i++) {
        const FileTypeInfo *f = filetype_info(p->at[i].to);
        if (f->elems == 1) continue;
        buf_add(&b, S(",\n"));
        json_str(&b, str_fmt(a, "hob.encoding.%S", p->at[i].from->name));
        buf_fmt(&b, ": \"%s\"", f->name);
    }
    buf_char(&b, '}');
    print_entry(&b, S("hob.keys"), "U8", NULL, p->keys.len, 0, p->keys.len);
    for (size_t i = 0; i < p->n; i++) {
        const BakeTensor *t = &p->at[i];
        const FileTypeInfo *f = filetype_info(t->to);
        u64 k = t->from->dims[0];
        print_entry(&b, t->from->name, f->elems > 1 ? "U8" : f->name, t->from,
                    f->elems > 1 ? k / f->elems * f->bytes : k, at, t->bytes);
        at += t->bytes;
    }
    buf_char(&b, '}');
    while (b.len % 32) buf_char(&b, ' ');
    for (int i = 0; i < 8; i++) b.ptr[i] = (char)((b.len - 8) >> 8 * i);
    p->header = buf_str(&b);
    p->bytes = p->header.len + at;
}

bool bake_plan(Arena *a, const Gguf *g, const BakeOptions *o, BakePlan *p, Err *err) {
    Err own = {0};
    if (!err) err = &own;
    *p = (BakePlan){.n = gguf_tensor_count(g)};
    p->at = arena_try(a, MAX2(p->n, 1), sizeof *p->at);
    Choice *c = arena_try(a, MAX2(p->n, 1), sizeof *c);
    if (!p->at || !c) return err_set(err, ERR_OUT_OF_MEMORY, "no memory for a plan");
    if (!copy_keys(a, g, p, err)) return false;
    Arena *scratch = arena_new(NULL);
    if (!scratch) return err_set(err, ERR_OUT_OF_MEMORY, "no memory for a plan");
    u64 least = 0, done = 0, total = 0;
    for (size_t i = 0; i < p->n; i++) total += gguf_tensor_at(g, i)->bytes;
    for (size_t i = 0; i < p->n; i++) {
        BakeTensor *t = &p->at[i];
        t->from = gguf_tensor_at(g, i);
        t->columns = columns_of(o, t->from);
        arena_reset(scratch);
        bool ok = forms_of(scratch, g, t, &c[i], err);
        done += t->from->bytes;
        if (ok && o->progress && !o->progress(o->user, done, total))
            ok = err_set(err, ERR_INTERRUPTED, "the work was stopped");
        if (!ok) {
            arena_free(scratch);
            return false;
        }
        t->to = c[i].form[0].type;
        t->bytes = c[i].form[0].bytes;
    }
    arena_free(scratch);
    make_header(a, p);
    least = p->bytes + 16 * p->n; // numbers of the header may grow with the tensors
    if (o->size && o->size < least) {
        err_set(err, ERR_BAKE_SIZE, "the smallest form takes %.1f MB; give --size %U or more",
                (double)least / 1e6, least / 1000000 + 1);
        return err_file(err, gguf_source(g)->name);
    }
    if (o->size)
        choose_under(c, p->n, o->size - least);
    else
        choose_plain(p, c);
    for (size_t i = 0; i < p->n; i++) {
        const Form *f = &c[i].form[c[i].now];
        p->at[i].to = f->type;
        p->at[i].bytes = f->bytes;
        p->at[i].noise = f->noise;
    }
    make_header(a, p);
    return true;
}

// ---- error figures ------------------------------------------------------------------------------

static bool add_errors(Arena *a, BakeRows *r, BakeError *e, Err *err) {
    u64 k = r->t->dims[0];
    float *y = arena_try(a, k, sizeof(float));
    u8 *bytes = arena_try(a, k, 1);
    if (!y || !bytes)
        return err_set(err, ERR_OUT_OF_MEMORY, "no memory for a row of %U numbers", k);
    for (u64 row = 0; row < r->rows; row++) {
        if (!bake_row(r, row, err)) return false;
        for (int plain = 0; plain < 2; plain++) {
            if (!filetype_encode_row(FT_Q4_1, r->x, NULL, k, plain, bytes)) {
                err_set(err, ERR_BAKE_VALUE, "row %U holds a number that Q4_1 cannot say", row);
                return err_subject(err, r->t->name);
            }
            filetype_dequant_row(FT_Q4_1, bytes, k, y);
            double sum = 0;
            for (u64 j = 0; j < k; j++) {
                double d = (double)r->x[j] - (double)y[j];
                sum += d * d;
            }
            *(plain ? &e->plain : &e->searched) += sum;
        }
    }
    return true;
}

bool bake_errors(Arena *a, const Gguf *g, const BakeOptions *o, BakeError **out, size_t *n,
                 Err *err) {
    size_t count = gguf_tensor_count(g);
    u64 done = 0, total = 0;
    *n = 0;
    if (!(*out = arena_try(a, MAX2(count, 1), sizeof **out)))
        return err_set(err, ERR_OUT_OF_MEMORY, "no memory for %U figures", (u64)count);
    for (size_t i = 0; i < count; i++) {
        const FileTensor *t = gguf_tensor_at(g, i);
        if (!bake_is_matrix(t) || bytes_as(t, FT_Q4_1) >= t->bytes) continue;
        (*out)[(*n)++] = (BakeError){.tensor = t};
        total += t->bytes;
    }
    Arena *scratch = arena_new(NULL);
    bool ok = scratch || err_set(err, ERR_OUT_OF_MEMORY, "no memory for a row");
    for (size_t i = 0; ok && i < *n; i++) {
        BakeRows r;
        arena_reset(scratch);
        ok = bake_rows(scratch, g, (*out)[i].tensor, &r, err) &&
             add_errors(scratch, &r, &(*out)[i], err);
        done += (*out)[i].tensor->bytes;
        if (ok && o->progress && !o->progress(o->user, done, total))
            ok = err_set(err, ERR_INTERRUPTED, "the work was stopped");
    }
    arena_free(scratch);
    return ok;
}
