// tune/check_data.c: pseudo-random arguments for the check of a kernel.
//
// A word is a function of its index, so that the device's copy is filled through a small window and
// the referee makes the few words it wants again, whatever the argument's size. Values are such
// that sums stay near one: numbers in [-1, 1), weights as their encoding says, indices inside the
// range their buffer declares.
#include "tune/tune.h"

static u64 mix(u64 x) {
    x ^= x >> 31;
    x *= 0x7FB5D329728EA185u;
    x ^= x >> 27;
    x *= 0x81DADEF4BC2DD44Du;
    return x ^ x >> 33;
}

static u32 small_float(u32 r) { return f32_bits((float)(i32)r * (1.0f / 2147483648.0f)); }

u32 check_word(const CheckArg *a, u64 i) {
    if (a->given) return a->given[i];
    u32 r = (u32)mix(a->seed + i);
    if (a->weight) return quant_random_word(a->weight->encoding, i >= a->plane1, r);
    if (a->buf->type == TY_F32) return small_float(r);
    // words of any value: packed activations, bytes and f32 by their place; small numbers as both
    if (a->buf->type == TY_U32 && a->buf->hi == UINT32_MAX) return (r & 0x80FFFFFF) | 0x3C000000;
    u64 span = (u64)(a->buf->hi - a->buf->lo) + 1;
    return (u32)(a->buf->lo + (i64)(r % span));
}
