// quant/q6_k.c: super-blocks of 256 six-bit numbers in sixteen groups of 16, each with a signed
// byte s for its scale, under one half-precision number d: value = d * s * (q - 32).
//
// In the file a super-block is 128 bytes of low nibbles, 64 of high pairs of bits, 16 scales, then
// d. Its two halves of 128 elements are alike: element e has its nibble in byte e % 64 (the high
// half of it from 64 on) and its pair in byte e % 32, pair e / 32. In memory plane 0 has six words
// for each 32 elements, the nibbles in the order of k and then the pairs, sixteen a word; plane 1
// five words a super-block: the scales plus 128, four a word (a field without a sign is a mask),
// and d.
#include "quant/quant_int.h"

enum { BLOCK = 256, BYTES = 210, GROUP = 16, RUN = 32, WORDS = 6, SCALES = 5 };

static const Expr *value(const QuantAt *at) {
    Exprs *x = at->x;
    const Expr *run = ex_mul(x, ex_idiv(x, at->k, ex_int(x, RUN)), ex_int(x, WORDS));
    const Expr *e = ex_mod(x, at->k, ex_int(x, RUN));
    const Expr *four = quant_word(at, 0, ex_add(x, run, ex_idiv(x, e, ex_int(x, 8))));
    four = ex_shr(x, four, ex_mul(x, ex_mod(x, e, ex_int(x, 8)), ex_int(x, 4)));
    const Expr *two =
        quant_word(at, 0, ex_add(x, ex_add(x, run, ex_int(x, 4)), ex_idiv(x, e, ex_int(x, 16))));
    two = ex_shr(x, two, ex_mul(x, ex_mod(x, e, ex_int(x, 16)), ex_int(x, 2)));
    const Expr *high = ex_shl(x, ex_and(x, two, ex_uint(x, 3)), ex_int(x, 4));
    const Expr *q = ex_or(x, ex_and(x, four, ex_uint(x, 15)), high);

    const Expr *first = ex_mul(x, ex_idiv(x, at->k, ex_int(x, BLOCK)), ex_int(x, SCALES));
    const Expr *g = ex_idiv(x, ex_mod(x, at->k, ex_int(x, BLOCK)), ex_int(x, GROUP));
    const Expr *s = quant_word(at, 1, ex_add(x, first, ex_idiv(x, g, ex_int(x, 4))));
    s = ex_shr(x, s, ex_mul(x, ex_mod(x, g, ex_int(x, 4)), ex_int(x, 8)));
    s = ex_sub(x, ex_cast(x, TY_F32, ex_and(x, s, ex_uint(x, 255))), ex_f32(x, 128));
    const Expr *d = ex_un(x, EX_F16LO, quant_word(at, 1, ex_add(x, first, ex_int(x, SCALES - 1))));
    return ex_mul(x, ex_mul(x, d, s), ex_sub(x, ex_cast(x, TY_F32, q), ex_f32(x, 32)));
}

static u32 low_bits(const u8 *block, int e) {
    return block[e / 128 * 64 + e % 64] >> e % 128 / 64 * 4 & 15u;
}

static u32 high_bits(const u8 *block, int e) {
    return block[128 + e / 128 * 32 + e % 32] >> e % 128 / 32 * 2 & 3u;
}

static void repack(const u8 *row, size_t k, const RowWords *out) {
    for (size_t b = 0; b < k / BLOCK; b++, row += BYTES) {
        u32 *q = out->plane[0] + b * (BLOCK / RUN * WORDS) * out->step;
        u32 *d = out->plane[1] + b * SCALES * out->step;
        for (int e = 0; e < BLOCK; e += RUN, q += WORDS * out->step) {
            u32 w[WORDS] = {0};
            for (int i = 0; i < RUN; i++) {
                w[i / 8] |= low_bits(row, e + i) << i % 8 * 4;
                w[4 + i / 16] |= high_bits(row, e + i) << i % 16 * 2;
            }
            for (size_t j = 0; j < WORDS; j++) q[j * out->step] = w[j];
        }
        for (size_t j = 0; j < 4; j++)
            d[j * out->step] = get_u32(row + 192 + 4 * j) ^ 0x80808080; // adds 128 to each byte
        d[4 * out->step] = get_u16(row + 208);
    }
}

static void dequant(const u8 *row, size_t k, float *out) {
    for (size_t b = 0; b < k / BLOCK; b++, row += BYTES, out += BLOCK) {
        float d = f16_to_f32(get_u16(row + 208));
        for (int e = 0; e < BLOCK; e++) {
            const u8 s = row[192 + e / GROUP];
            int q = (int)(low_bits(row, e) | high_bits(row, e) << 4) - 32;
            out[e] = d * (float)(s - (s & 128) * 2) * (float)q;
        }
    }
}

const QuantRow quant_row_Q6_K = {
    .plane = {{WORDS, RUN, ANY_BITS, 0}, {SCALES, BLOCK, 0x03FF03FF, 0x0C000C00}}, .value = value};
const FileRow file_row_Q6_K = {repack, dequant};
