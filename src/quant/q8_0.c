// quant/q8_0.c: blocks of 32 signed bytes and a half-precision scale d: value = d * q.
//
// In the file a block is d, then 32 bytes in the order of k. In memory plane 0 holds the bytes plus
// 128, four a word (a field without a sign is a mask, one with it two shifts), and plane 1 the
// scales, two a word (an odd last one has an empty upper half).
#include "quant/quant_int.h"

enum { BLOCK = 32, BYTES = 34 };

static const Expr *value(const QuantAt *at) {
    Exprs *x = at->x;
    const Expr *q = ex_and(x, quant_field(at, 8), ex_uint(x, 255));
    const Expr *d = quant_half(at, 1, ex_idiv(x, at->k, ex_int(x, BLOCK)));
    return ex_mul(x, d, ex_sub(x, ex_cast(x, TY_F32, q), ex_f32(x, 128)));
}

// Without the 128 that is added to each byte, a byte has its sign back.
static QuantParts parts(const QuantAt *at) {
    Exprs *x = at->x;
    const Expr *word =
        ex_xor(x, quant_word(at, 0, ex_idiv(x, at->k, ex_int(x, 4))), ex_uint(x, 0x80808080));
    const Expr *up =
        ex_sub(x, ex_int(x, 24), ex_mul(x, ex_mod(x, at->k, ex_int(x, 4)), ex_int(x, 8)));
    const Expr *top = ex_cast(x, TY_I32, ex_shl(x, word, ex_cast(x, TY_U32, up)));
    const Expr *d = quant_half(at, 1, ex_idiv(x, at->k, ex_int(x, BLOCK)));
    return (QuantParts){ex_shr(x, top, ex_uint(x, 24)), d, NULL};
}

static void repack(const u8 *row, size_t k, const RowWords *out) {
    for (size_t b = 0; b < k / BLOCK; b++, row += BYTES) {
        u32 *q = out->plane[0] + b * (BLOCK / 4) * out->step;
        u32 *d = out->plane[1] + b / 2 * out->step;
        for (size_t j = 0; j < BLOCK / 4; j++)
            q[j * out->step] = get_u32(row + 2 + 4 * j) ^ 0x80808080; // adds 128 to each byte
        *d = b % 2 ? *d | (u32)get_u16(row) << 16 : get_u16(row);
    }
}

static void dequant(const u8 *row, size_t k, float *out) {
    for (size_t b = 0; b < k / BLOCK; b++, row += BYTES, out += BLOCK) {
        float d = f16_to_f32(get_u16(row));
        for (int i = 0; i < BLOCK; i++) out[i] = d * (float)(row[2 + i] - (row[2 + i] & 128) * 2);
    }
}

const QuantRow quant_row_Q8_0 = {.plane = {{1, 4, ANY_BITS, 0}, {1, 64, 0x03FF03FF, 0x1C001C00}},
                                 .value = value,
                                 .bits = 8,
                                 .parts = parts};
const FileRow file_row_Q8_0 = {repack, dequant};
