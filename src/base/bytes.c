// base/bytes.c: bytes in memory as a Source, and half precision widened.
//
// Files and network windows are Sources too, but are made by whoever owns them (the command line,
// the page): the library opens nothing.
#include "base/base.h"

static bool read_memory(Source *s, u64 off, void *dst, size_t len) {
    if (off > s->size || len > s->size - off) return false;
    if (len) memcpy(dst, s->map + off, len);
    return true;
}

Source source_memory(const void *p, size_t n, Str name) {
    return (Source){.size = n, .read = read_memory, .map = p, .name = name};
}

float f16_to_f32(u16 h) {
    u32 sign = (u32)(h & 0x8000) << 16, exp = h >> 10 & 31, man = h & 0x3FF;
    if (exp == 31) return bits_f32(sign | 0x7F800000 | man << 13);
    if (exp == 0) {
        float v = (float)man * 0x1p-24f; // subnormal: exact
        return sign ? -v : v;
    }
    return bits_f32(sign | (exp + 112) << 23 | man << 13);
}

u16 f32_to_f16(float f) {
    u32 u = f32_bits(f), sign = u >> 16 & 0x8000, a = u & 0x7FFFFFFF;
    if (a >= 0x7F800000) return (u16)(sign | (a > 0x7F800000 ? 0x7E00 : 0x7C00));
    if (a >= 0x477FF000) return (u16)(sign | 0x7C00); // rounds past 65504
    if (a < 0x38800000) // subnormal: adding 1/2 leaves the multiple of 2^-24 in the low bits
        return (u16)(sign | (f32_bits(bits_f32(a) + 0.5f) - 0x3F000000));
    a += 0xFFF + (a >> 13 & 1);
    return (u16)(sign | ((a - 0x38000000) >> 13));
}
