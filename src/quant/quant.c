// quant/quant.c: the tables of encodings and file types, and the woven layout that they share.
//
// What an encoding means lives in its own file (f32.c, q4_1.c, ...); this one knows only planes and
// rows. It allocates nothing and never looks at a model: sizes come in, words and expressions go
// out.
#include "quant/quant_int.h"

static const QuantInfo infos[QUANT_COUNT] = {
#define Q(id, name, block, doc) {name, block},
#include "quant/quant.def"
#undef Q
};

static const QuantRow *const quants[QUANT_COUNT] = {
#define Q(id, name, block, doc) &quant_row_##id,
#include "quant/quant.def"
#undef Q
};

static const FileTypeInfo file_infos[FT_COUNT] = {
#define T(id, name, gguf, elems, bytes, quant) {name, gguf, elems, bytes, quant},
#include "quant/filetype.def"
#undef T
};

static const FileRow *const files[FT_COUNT] = {
#define T(id, name, gguf, elems, bytes, quant) &file_row_##id,
#include "quant/filetype.def"
#undef T
};

const QuantInfo *quant_info(QuantId q) {
    must((unsigned)q < QUANT_COUNT);
    return &infos[q];
}

bool quant_named(Str name, QuantId *out) {
    for (int i = 0; i < QUANT_COUNT; i++)
        if (str_eq(name, str_c(infos[i].name))) {
            *out = (QuantId)i;
            return true;
        }
    return false;
}

// ---- sizes --------------------------------------------------------------------------------------

static bool words_of(QuantPlane p, u64 k, u64 *words) {
    *words = 0;
    return p.per == 0 || mul_u64(k / p.per + (k % p.per != 0), p.words, words);
}

u32 quant_words(QuantId q, int plane, u64 k) {
    must((unsigned)q < QUANT_COUNT && (plane == 0 || plane == 1));
    u64 words;
    bool fits = words_of(quants[q]->plane[plane], k, &words) && words <= UINT32_MAX;
    return fits ? (u32)words : UINT32_MAX;
}

bool quant_bytes(QuantId q, u64 rows, u64 k, u32 interleave, u64 *bytes) {
    must((unsigned)q < QUANT_COUNT && interleave > 0);
    u64 w0, w1, words, padded;
    if (!add_u64(rows, interleave - 1, &padded)) return false;
    padded = padded / interleave * interleave;
    return words_of(quants[q]->plane[0], k, &w0) && words_of(quants[q]->plane[1], k, &w1) &&
           add_u64(w0, w1, &words) && mul_u64(words, padded, &words) && mul_u64(words, 4, bytes);
}

u32 quant_random_word(QuantId q, int plane, u32 bits) {
    const QuantPlane *p = &quants[q]->plane[plane];
    return (bits & p->digits) | p->exponents;
}

// ---- meaning ------------------------------------------------------------------------------------

// Words a row as an expression: `cols` is a multiple of the block, so only planes coarser than a
// block round up.
static const Expr *words_expr(Exprs *x, QuantId q, int plane, const Expr *cols) {
    QuantPlane p = quants[q]->plane[plane];
    i64 k;
    if (p.per == 0) return ex_int(x, 0);
    if (expr_is_int(cols, &k)) return ex_int(x, quant_words(q, plane, (u64)k));
    if (infos[q].block % p.per != 0) cols = ex_add(x, cols, ex_int(x, p.per - 1));
    return ex_mul(x, ex_idiv(x, cols, ex_int(x, p.per)), ex_int(x, p.words));
}

const Expr *quant_row_words(Exprs *x, QuantId q, const Expr *cols) {
    return ex_add(x, words_expr(x, q, 0, cols), words_expr(x, q, 1, cols));
}

i64 quant_field_bits(QuantId q) { return quants[q]->bits; }

static QuantAt place(Exprs *x, QuantId q, const Buffer *w, const Expr *row, const Expr *k,
                     const Expr *rows_padded, const Expr *cols, u32 interleave) {
    must((unsigned)q < QUANT_COUNT && interleave > 0);
    return (QuantAt){x,         w,           row,
                     k,         rows_padded, {words_expr(x, q, 0, cols), words_expr(x, q, 1, cols)},
                     interleave};
}

QuantParts quant_parts(Exprs *x, QuantId q, const Buffer *w, const Expr *row, const Expr *k,
                       const Expr *rows_padded, const Expr *cols, u32 interleave) {
    QuantAt at = place(x, q, w, row, k, rows_padded, cols, interleave);
    must(quants[q]->bits != 0);
    return quants[q]->parts(&at);
}

const Expr *quant_value(Exprs *x, QuantId q, const Buffer *w, const Expr *row, const Expr *k,
                        const Expr *rows_padded, const Expr *cols, u32 interleave) {
    QuantAt at = place(x, q, w, row, k, rows_padded, cols, interleave);
    return quants[q]->value(&at);
}

const Expr *quant_word(const QuantAt *at, int p, const Expr *j) {
    Exprs *x = at->x;
    const Expr *r = ex_int(x, at->interleave);
    const Expr *group = ex_mul(x, ex_idiv(x, at->row, r), at->words[p]);
    const Expr *i = ex_add(x, ex_mul(x, ex_add(x, group, j), r), ex_mod(x, at->row, r));
    if (p == 1) i = ex_add(x, i, ex_mul(x, at->rows_padded, at->words[0]));
    return ex_load(x, at->w, &i);
}

const Expr *quant_field(const QuantAt *at, u32 width) {
    Exprs *x = at->x;
    const Expr *fields = ex_int(x, 32 / width);
    const Expr *word = quant_word(at, 0, ex_idiv(x, at->k, fields));
    return ex_shr(x, word, ex_mul(x, ex_mod(x, at->k, fields), ex_int(x, width)));
}

const Expr *quant_half(const QuantAt *at, int p, const Expr *i) {
    Exprs *x = at->x;
    const Expr *two = ex_int(x, 2);
    const Expr *word = quant_word(at, p, ex_idiv(x, i, two));
    return ex_un(x, EX_F16LO, ex_shr(x, word, ex_mul(x, ex_mod(x, i, two), ex_int(x, 16))));
}

// ---- file types ---------------------------------------------------------------------------------

const FileTypeInfo *filetype_info(FileType t) {
    must((unsigned)t < FT_COUNT);
    return &file_infos[t];
}

bool filetype_from_gguf(u32 gguf_id, FileType *out) {
    for (int i = 0; i < FT_COUNT; i++)
        if (file_infos[i].gguf_id == gguf_id) {
            *out = (FileType)i;
            return true;
        }
    return false;
}

void filetype_names(Buf *out) {
    for (int i = 0; i < FT_COUNT; i++) buf_fmt(out, "%s%s", i ? ", " : "", file_infos[i].name);
}

void filetype_dequant_row(FileType from, const u8 *row_bytes, u64 k, float *out) {
    must((unsigned)from < FT_COUNT && k % file_infos[from].elems == 0 && k <= SIZE_MAX / 4);
    files[from]->dequant(row_bytes, (size_t)k, out);
}

// Any file type widens to f32: its values are f32 by definition.
static void repack_f32(FileType from, const u8 *row, size_t k, const RowWords *out) {
    enum { CHUNK = 256 };
    float v[CHUNK];
    const FileTypeInfo *f = &file_infos[from];
    must(CHUNK % f->elems == 0);
    for (size_t i = 0; i < k; i += CHUNK) {
        size_t n = MIN2(k - i, CHUNK);
        files[from]->dequant(row + i / f->elems * f->bytes, n, v);
        for (size_t j = 0; j < n; j++) out->plane[0][(i + j) * out->step] = f32_bits(v[j]);
    }
}

bool quant_repack_row(const RepackTarget *t, FileType from, const u8 *row_bytes, u32 row) {
    must((unsigned)from < FT_COUNT && (unsigned)t->quant < QUANT_COUNT && t->interleave > 0);
    must(row < t->rows_padded && t->k % file_infos[from].elems == 0);
    RowWords out = {.step = t->interleave};
    for (int p = 0; p < 2; p++) {
        size_t words = quant_words(t->quant, p, t->k);
        if (words)
            out.plane[p] =
                t->plane[p] + row / t->interleave * words * t->interleave + row % t->interleave;
    }
    if (file_infos[from].quant == t->quant)
        files[from]->repack(row_bytes, (size_t)t->k, &out);
    else if (t->quant == QUANT_F32)
        repack_f32(from, row_bytes, (size_t)t->k, &out);
    else
        return false;
    return true;
}

void quant_nibbles(const u8 bytes[16], u32 *words, size_t step) {
    for (int j = 0; j < 2; j++) {
        u64 eight = get_u64(bytes + 8 * j);
        for (int high = 0; high < 2; high++) {
            u64 v =
                eight >> 4 * high & 0x0F0F0F0F0F0F0F0Fu; // a nibble a byte: squeeze the gaps out
            v = (v | v >> 4) & 0x00FF00FF00FF00FFu;
            v = (v | v >> 8) & 0x0000FFFF0000FFFFu;
            words[(size_t)(2 * high + j) * step] = (u32)(v | v >> 16);
        }
    }
}
