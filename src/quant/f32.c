// quant/f32.c: 32-bit floats, a word each.
#include "quant/quant_int.h"

static const Expr *value(const QuantAt *at) {
    return ex_bitcast(at->x, TY_F32, quant_word(at, 0, at->k));
}

static void repack(const u8 *row, size_t k, const RowWords *out) {
    for (size_t i = 0; i < k; i++) out->plane[0][i * out->step] = get_u32(row + 4 * i);
}

static void dequant(const u8 *row, size_t k, float *out) {
    for (size_t i = 0; i < k; i++) out[i] = bits_f32(get_u32(row + 4 * i));
}

const QuantRow quant_row_F32 = {.plane = {{1, 1, 0x807FFFFF, 0x3F000000}}, .value = value};
const FileRow file_row_F32 = {repack, dequant};
