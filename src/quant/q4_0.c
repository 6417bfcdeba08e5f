// quant/q4_0.c: blocks of 32 nibbles and a half-precision scale d: value = d * (q - 8).
//
// In the file a block is d, then 16 bytes: element e in the low half of byte e, element e + 16 in
// the high half. In memory plane 0 holds the nibbles in the order of k, eight a word, and plane 1
// the scales, two a word (an odd last one has an empty upper half).
#include "quant/quant_int.h"

enum { BLOCK = 32, BYTES = 18 };

static const Expr *value(const QuantAt *at) {
    Exprs *x = at->x;
    const Expr *q = ex_and(x, quant_field(at, 4), ex_uint(x, 15));
    const Expr *d = quant_half(at, 1, ex_idiv(x, at->k, ex_int(x, BLOCK)));
    return ex_mul(x, d, ex_sub(x, ex_cast(x, TY_F32, q), ex_f32(x, 8)));
}

static QuantParts parts(const QuantAt *at) {
    Exprs *x = at->x;
    const Expr *q = ex_and(x, quant_field(at, 4), ex_uint(x, 15));
    const Expr *d = quant_half(at, 1, ex_idiv(x, at->k, ex_int(x, BLOCK)));
    return (QuantParts){q, d, ex_mul(x, d, ex_f32(x, -8))};
}

static void repack(const u8 *row, size_t k, const RowWords *out) {
    for (size_t b = 0; b < k / BLOCK; b++, row += BYTES) {
        u32 *d = out->plane[1] + b / 2 * out->step;
        quant_nibbles(row + 2, out->plane[0] + b * (BLOCK / 8) * out->step, out->step);
        *d = b % 2 ? *d | (u32)get_u16(row) << 16 : get_u16(row);
    }
}

static void dequant(const u8 *row, size_t k, float *out) {
    for (size_t b = 0; b < k / BLOCK; b++, row += BYTES, out += BLOCK) {
        float d = f16_to_f32(get_u16(row));
        for (int i = 0; i < BLOCK / 2; i++) {
            out[i] = d * (float)((row[2 + i] & 15) - 8);
            out[i + BLOCK / 2] = d * (float)((row[2 + i] >> 4) - 8);
        }
    }
}

const QuantRow quant_row_Q4_0 = {.plane = {{1, 8, ANY_BITS, 0}, {1, 64, 0x03FF03FF, 0x2C002C00}},
                                 .value = value,
                                 .bits = 4,
                                 .parts = parts};
const FileRow file_row_Q4_0 = {repack, dequant};
