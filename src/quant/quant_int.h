// quant/quant_int.h: private to the room: what one encoding's file defines. See q4_1.c for a whole
// one.
#ifndef HOB_QUANT_INT_H
#define HOB_QUANT_INT_H

#include "quant/quant.h"

// A plane holds `words` u32 words for each `per` elements of a row; a part counts whole. per 0: no
// such plane. Random words, as a kernel's check wants them, are (bits & digits) | exponents, chosen
// so that the encoding's values are finite and at most about one.
typedef struct QuantPlane {
    u32 words, per;
    u32 digits, exponents;
} QuantPlane;
#define ANY_BITS UINT32_MAX

// One value's place, as expressions: what quant_value() was asked for.
typedef struct QuantAt {
    Exprs *x;
    const Buffer *w;
    const Expr *row, *k;
    const Expr *rows_padded;
    const Expr *words[2]; // words a row in each plane
    u32 interleave;
} QuantAt;

typedef struct QuantRow { // an encoding: quant_row_ID
    QuantPlane plane[2];
    const Expr *(*value)(const QuantAt *at);
    i64 bits; // of its fields, 4 or 8; 0: it has none, and no `parts`
    QuantParts (*parts)(const QuantAt *at);
} QuantRow;

// Word j of this row lies at plane[p][j * step].
typedef struct RowWords {
    u32 *plane[2];
    size_t step;
} RowWords;

typedef struct FileRow { // a file type: file_row_ID; k is a multiple of its block
    void (*repack)(const u8 *row, size_t k, const RowWords *out); // to its encoding
    void (*dequant)(const u8 *row, size_t k, float *out);
} FileRow;

#define Q(id, name, block, doc) extern const QuantRow quant_row_##id;
#include "quant/quant.def"
#undef Q
#define T(id, name, gguf, elems, bytes, quant) extern const FileRow file_row_##id;
#include "quant/filetype.def"
#undef T

// ---- quant.c: pieces that encodings share -------------------------------------------------------
// Word j of plane p of this row: a load.
const Expr *quant_word(const QuantAt *at, int p, const Expr *j);
// Bits [width * i, width * (i + 1)) of the words of plane 0, i = k modulo the fields a word has; as
// u32, in the low bits, with what lies above still there (mask or shift it away).
const Expr *quant_field(const QuantAt *at, u32 width);
// Half i % 2 of word i / 2 of plane p as a float.
const Expr *quant_half(const QuantAt *at, int p, const Expr *i);
// GGML keeps 32 nibbles in 16 bytes, element e in the low half of byte e and element e + 16 in the
// high half: as four words in the order of k.
void quant_nibbles(const u8 bytes[16], u32 *words, size_t step);

#endif
