// quant/q4_k.c: super-blocks of 256 nibbles in eight groups of 32, each with a 6-bit scale s and a
// 6-bit minimum t, under two half-precision numbers d and e: value = d * s * q - e * t.
//
// In the file a super-block is d, e, twelve bytes of scales and minimums, then 128 bytes: each 32
// of them hold two groups, the first in the low halves. Scales and minimums of groups 0 to 3 are
// the low six bits of bytes 0 to 3 and 4 to 7; those of groups 4 to 7 have their low four bits in
// the halves of bytes 8 to 11 and their high two on top of the bytes of groups 0 to 3. In memory
// plane 0 holds the nibbles in the order of k, eight a word, and plane 1 five words a super-block:
// d below and e above, then a half for each group: s below, t above. The products d * s and e * t
// are exact in 32 bits, so that a value is rounded once, whatever the order.
#include "quant/quant_int.h"

enum { BLOCK = 256, BYTES = 144, GROUP = 32, GROUPS = BLOCK / GROUP, SCALES = 5 };

static const Expr *value(const QuantAt *at) {
    Exprs *x = at->x;
    const Expr *first = ex_mul(x, ex_idiv(x, at->k, ex_int(x, BLOCK)), ex_int(x, SCALES));
    const Expr *g = ex_idiv(x, ex_mod(x, at->k, ex_int(x, BLOCK)), ex_int(x, GROUP));
    const Expr *de = quant_word(at, 1, first);
    const Expr *two = ex_add(x, ex_add(x, first, ex_int(x, 1)), ex_idiv(x, g, ex_int(x, 2)));
    const Expr *st =
        ex_shr(x, quant_word(at, 1, two), ex_mul(x, ex_mod(x, g, ex_int(x, 2)), ex_int(x, 16)));
    const Expr *s = ex_cast(x, TY_F32, ex_and(x, st, ex_uint(x, 255)));
    const Expr *t = ex_cast(x, TY_F32, ex_and(x, ex_shr(x, st, ex_int(x, 8)), ex_uint(x, 255)));
    const Expr *q = ex_cast(x, TY_F32, ex_and(x, quant_field(at, 4), ex_uint(x, 15)));
    return ex_sub(x, ex_mul(x, ex_mul(x, ex_un(x, EX_F16LO, de), s), q),
                  ex_mul(x, ex_un(x, EX_F16HI, de), t));
}

// The scale of group g in the low byte, its minimum above.
static u32 scale_of(const u8 *p, int g) {
    if (g < 4) return (p[g] & 63u) | (p[g + 4] & 63u) << 8;
    u32 s = (p[g + 4] & 15u) | (u32)(p[g - 4] >> 6) << 4;
    u32 t = (u32)(p[g + 4] >> 4) | (u32)(p[g] >> 6) << 4;
    return s | t << 8;
}

static u32 nibble(const u8 *q, int k) { return q[k / 64 * 32 + k % 32] >> k / 32 % 2 * 4 & 15u; }

static void repack(const u8 *row, size_t k, const RowWords *out) {
    for (size_t b = 0; b < k / BLOCK; b++, row += BYTES) {
        u32 *q = out->plane[0] + b * (BLOCK / 8) * out->step;
        u32 *d = out->plane[1] + b * SCALES * out->step;
        for (int j = 0; j < BLOCK / 8; j++) {
            u32 word = 0;
            for (int i = 0; i < 8; i++) word |= nibble(row + 16, 8 * j + i) << 4 * i;
            q[(size_t)j * out->step] = word;
        }
        d[0] = get_u32(row);
        for (int g = 0; g < GROUPS; g += 2)
            d[(size_t)(1 + g / 2) * out->step] = scale_of(row + 4, g) | scale_of(row + 4, g + 1)
                                                                            << 16;
    }
}

static void dequant(const u8 *row, size_t k, float *out) {
    for (size_t b = 0; b < k / BLOCK; b++, row += BYTES, out += BLOCK) {
        float d = f16_to_f32(get_u16(row)), e = f16_to_f32(get_u16(row + 2));
        for (int i = 0; i < BLOCK; i++) {
            u32 st = scale_of(row + 4, i / GROUP);
            out[i] = d * (float)(st & 255) * (float)nibble(row + 16, i) - e * (float)(st >> 8);
        }
    }
}

const QuantRow quant_row_Q4_K = {
    .plane = {{1, 8, ANY_BITS, 0}, {SCALES, BLOCK, 0x033F033F, 0x14001400}}, .value = value};
const FileRow file_row_Q4_K = {repack, dequant};
