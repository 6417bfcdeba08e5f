// quant/q4_1.c: blocks of 32 nibbles with a half-precision scale d and minimum m: value = d * q +
// m.
//
// In the file a block is d, m, then 16 bytes: element e in the low half of byte e, element e + 16
// in the high half. In memory plane 0 holds the nibbles in the order of k, eight a word, and plane
// 1 a word a block: d below, m above.
#include "quant/quant_int.h"

enum { BLOCK = 32, BYTES = 20 };

static QuantParts parts(const QuantAt *at) {
    Exprs *x = at->x;
    const Expr *q = ex_and(x, quant_field(at, 4), ex_uint(x, 15));
    const Expr *dm = quant_word(at, 1, ex_idiv(x, at->k, ex_int(x, BLOCK)));
    return (QuantParts){q, ex_un(x, EX_F16LO, dm), ex_un(x, EX_F16HI, dm)};
}

static const Expr *value(const QuantAt *at) {
    QuantParts p = parts(at);
    return ex_add(at->x, ex_mul(at->x, p.scale, ex_cast(at->x, TY_F32, p.field)), p.offset);
}

static void repack(const u8 *row, size_t k, const RowWords *out) {
    for (size_t b = 0; b < k / BLOCK; b++, row += BYTES) {
        quant_nibbles(row + 4, out->plane[0] + b * (BLOCK / 8) * out->step, out->step);
        out->plane[1][b * out->step] = get_u32(row);
    }
}

static void dequant(const u8 *row, size_t k, float *out) {
    for (size_t b = 0; b < k / BLOCK; b++, row += BYTES, out += BLOCK) {
        float d = f16_to_f32(get_u16(row)), m = f16_to_f32(get_u16(row + 2));
        for (int i = 0; i < BLOCK / 2; i++) {
            out[i] = d * (float)(row[4 + i] & 15) + m;
            out[i + BLOCK / 2] = d * (float)(row[4 + i] >> 4) + m;
        }
    }
}

const QuantRow quant_row_Q4_1 = {.plane = {{1, 8, ANY_BITS, 0}, {1, 32, 0x83FF03FF, 0x30002800}},
                                 .value = value,
                                 .bits = 4,
                                 .parts = parts};
const FileRow file_row_Q4_1 = {repack, dequant};
