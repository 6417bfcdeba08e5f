// quant/q5_0.c: a file's blocks of 32 five-bit numbers and a half-precision scale d: value = d * (q
// - 16).
//
// In the file a block is d, 32 high bits (bit e belongs to element e), then 16 bytes of low
// nibbles: element e in the low half of byte e, element e + 16 in the high half. There is no
// encoding of that name: q - 16 is a signed byte, so that Q8_0's words say the very same values,
// and its kernels, the best that any device has, serve these files too.
#include "quant/quant_int.h"

enum { BLOCK = 32, BYTES = 22 };

static int number(const u8 *block, int e) {
    u32 low = block[6 + e % 16] >> e / 16 * 4 & 15u, high = get_u32(block + 2) >> e & 1;
    return (int)(low | high << 4) - 16;
}

static void repack(const u8 *row, size_t k, const RowWords *out) {
    for (size_t b = 0; b < k / BLOCK; b++, row += BYTES) {
        u32 *q = out->plane[0] + b * (BLOCK / 4) * out->step;
        u32 *d = out->plane[1] + b / 2 * out->step;
        for (int j = 0; j < BLOCK / 4; j++) {
            u32 word = 0;
            for (int i = 0; i < 4; i++) word |= (u32)(number(row, 4 * j + i) + 128) << 8 * i;
            q[(size_t)j * out->step] = word;
        }
        *d = b % 2 ? *d | (u32)get_u16(row) << 16 : get_u16(row);
    }
}

static void dequant(const u8 *row, size_t k, float *out) {
    for (size_t b = 0; b < k / BLOCK; b++, row += BYTES, out += BLOCK) {
        float d = f16_to_f32(get_u16(row));
        for (int e = 0; e < BLOCK; e++) out[e] = d * (float)number(row, e);
    }
}

const FileRow file_row_Q5_0 = {repack, dequant};
