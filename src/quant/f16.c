// quant/f16.c: half precision, two a word, the lower k in the low half.
#include "quant/quant_int.h"

static const Expr *value(const QuantAt *at) { return quant_half(at, 0, at->k); }

// k may be odd: the last word's high half is zero.
static void repack(const u8 *row, size_t k, const RowWords *out) {
    for (size_t i = 0; i < k; i += 2)
        out->plane[0][i / 2 * out->step] = i + 1 < k ? get_u32(row + 2 * i) : get_u16(row + 2 * i);
}

static void dequant(const u8 *row, size_t k, float *out) {
    for (size_t i = 0; i < k; i++) out[i] = f16_to_f32(get_u16(row + 2 * i));
}

const QuantRow quant_row_F16 = {.plane = {{1, 2, 0x83FF83FF, 0x34003400}}, .value = value};
const FileRow file_row_F16 = {repack, dequant};
