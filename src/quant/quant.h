// quant/quant.h: number formats: what a file stores (FileType) and what a kernel reads (QuantId).
//
// A file's blocks are repacked, without losing a bit, into word planes that kernels read as u32:
// plane 0 holds the quants in the order of k, plane 1 the scales (for formats that have them; an
// odd count of halves is padded). Rows are woven in groups of R (`interleave`), so that R lanes,
// one a row, load adjacent words: in each plane word j of row r lies at
//     ((r / R) * words + j) * R + r % R          with `words` words a row in that plane
// and plane 1 follows plane 0 directly. Rows are padded to a multiple of R with zero words.
#ifndef HOB_QUANT_H
#define HOB_QUANT_H

#include "expr/expr.h"

typedef enum QuantId { // ORDER QUANT
#define Q(id, name, block, doc) QUANT_##id,
#include "quant/quant.def"
#undef Q
    QUANT_COUNT
} QuantId;

typedef struct QuantInfo {
    const char *name;
    u32 block; // k is a multiple of this (f16 and bf16 rows repack with an odd k too)
} QuantInfo;
const QuantInfo *quant_info(QuantId q);
bool quant_named(Str name, QuantId *out);

// A word of a repacked weight's plane made of random bits: values are finite, at most about one.
// For tests and for the check of kernels on a device.
u32 quant_random_word(QuantId q, int plane, u32 bits);

// Words a row of k elements takes in plane 0 and 1 (plane 1: 0 where there is none).
u32 quant_words(QuantId q, int plane, u64 k);
// Bytes of a repacked weight of `rows` x k woven by R (rows padded); false on overflow.
bool quant_bytes(QuantId q, u64 rows, u64 k, u32 interleave, u64 *bytes);

// The value at (row, k): an f32 expression over loads of the flat u32 buffer w. rows (padded) and
// cols may be symbolic; cols is given as a multiple of the encoding's block where that matters, so
// that // and % cancel.
const Expr *quant_value(Exprs *x, QuantId q, const Buffer *w, const Expr *row, const Expr *k,
                        const Expr *rows_padded, const Expr *cols, u32 interleave);

// The same value as scale * field + offset: a field of `bits` bits that packed activations can be
// multiplied by as integers (u32, or i32 with a sign), and what a block of 32 shares. offset NULL:
// none. 0 bits: this encoding has no such fields.
typedef struct QuantParts {
    const Expr *field, *scale, *offset;
} QuantParts;
i64 quant_field_bits(QuantId q);
QuantParts quant_parts(Exprs *x, QuantId q, const Buffer *w, const Expr *row, const Expr *k,
                       const Expr *rows_padded, const Expr *cols, u32 interleave);

// Words a row of cols elements takes in both planes together, as an expression.
const Expr *quant_row_words(Exprs *x, QuantId q, const Expr *cols);

// ---- file types: what GGUF (later safetensors, MLC) stores --------------------------------------
// filetype.def rows: T(ID, "Q4_1", gguf id, block elements, block bytes, execution encoding)   //
// ORDER FILETYPE
typedef enum FileType {
#define T(id, name, gguf, elems, bytes, quant) FT_##id,
#include "quant/filetype.def"
#undef T
    FT_COUNT
} FileType;
typedef struct FileTypeInfo {
    const char *name;
    u32 gguf_id;
    u32 elems, bytes; // of a block
    QuantId quant;
} FileTypeInfo;
const FileTypeInfo *filetype_info(FileType t);
bool filetype_from_gguf(u32 gguf_id, FileType *out);
void filetype_names(Buf *out); // "F32, F16, ...": what is known, for messages

// Where rows go: a weight of `rows_padded` x k, or a window of some of its woven groups (rows then
// count from the window's first), so that a weight of any size streams through little memory. A row
// is repacked alone; words of rows that pad are the caller's to zero.
typedef struct RepackTarget {
    QuantId quant;
    u64 k;
    u32 interleave, rows_padded; // rows in plane[], a multiple of interleave
    u32 *plane[2]; // where each plane (its window) starts; [1] unused without a second plane
} RepackTarget;
// One row from the file's bytes, without losing a bit. Every file type leads to the encoding of its
// row and, because its values are f32 by definition, to QUANT_F32; false for any other.
bool quant_repack_row(const RepackTarget *t, FileType from, const u8 *row_bytes, u32 row);
// One row of file bytes as f32: the embedding lookup on the host, tests, the quantiser. k: whole
// blocks.
void filetype_dequant_row(FileType from, const u8 *row_bytes, u64 k, float *out);

// ---- quantise.c: hob's own quantiser ------------------------------------------------------------
bool filetype_encodes(FileType to); // F32, F16, BF16, Q8_0, Q5_0 and Q4_1
// A row of k floats (whole blocks) to the file's bytes: scale and minimum of each group of Q4_1,
// the scale of Q5_0 are searched for the least squared error, weighted by column where weight is
// given (no number negative; only their proportions matter). plain: what the extremes say, rounded
// to nearest: what the search is measured against. false: a number is infinite, no number, or too
// large for the type.
bool filetype_encode_row(FileType to, const float *x, const float *weight, u64 k, bool plain,
                         u8 *out);

#endif
