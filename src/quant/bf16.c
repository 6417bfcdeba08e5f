// quant/bf16.c: the upper halves of 32-bit floats, two a word, the lower k in the low half.
#include "quant/quant_int.h"

static const Expr *value(const QuantAt *at) {
    return ex_bitcast(at->x, TY_F32, ex_shl(at->x, quant_field(at, 16), ex_int(at->x, 16)));
}

// k may be odd: the last word's high half is zero.
static void repack(const u8 *row, size_t k, const RowWords *out) {
    for (size_t i = 0; i < k; i += 2)
        out->plane[0][i / 2 * out->step] = i + 1 < k ? get_u32(row + 2 * i) : get_u16(row + 2 * i);
}

static void dequant(const u8 *row, size_t k, float *out) {
    for (size_t i = 0; i < k; i++) out[i] = bits_f32((u32)get_u16(row + 2 * i) << 16);
}

const QuantRow quant_row_BF16 = {.plane = {{1, 2, 0x807F807F, 0x3E803E80}}, .value = value};
const FileRow file_row_BF16 = {repack, dequant};
