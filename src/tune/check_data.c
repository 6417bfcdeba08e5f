// tune/check_data.c: pseudo-random arguments for the check of a kernel.
//
// A word is a function of its index, so that the device's copy is filled through a small window and
// the referee makes the few words it wants again, whatever the argument's size. Values are such
// that sums stay near one: numbers in
// [-1, 1), scales that are small, indices inside the range their buffer declares.
#include "tune/tune.h"

static u64 mix(u64 x) {
    x ^= x >> 31;
    x *= 0x7FB5D329728EA185u;
    x ^= x >> 27;
    x *= 0x81DADEF4BC2DD44Du;
    return x ^ x >> 33;
}

// A half of the given exponent's size and sign, with random digits.
static u32 half(u32 random, u32 exponent, bool sign) {
    return (random & 0x3FF) | exponent << 10 | (sign ? random & 0x8000 : 0);
}

static u32 both_halves(u32 r, u32 exponent, bool sign) {
    return half(r, exponent, sign) | half(r >> 8, exponent, sign) << 16;
}

static u32 small_float(u32 r) { return f32_bits((float)(i32)r * (1.0f / 2147483648.0f)); }

// A weight's words as its encoding lays them out: plane 0, then plane 1 (quant/quant.h).
static u32 weight_word(const Weight *w, u64 i, u32 r) {
    u64 padded = round_up(w->rows, MAX2(w->interleave, 1u));
    bool scales = i >= padded * quant_words(w->encoding, 0, w->cols);
    switch (w->encoding) {
    case QUANT_F32: return small_float(r);
    case QUANT_F16: return both_halves(r, 13, true);                // 1/4 .. 1/2
    case QUANT_BF16: return (r & 0x807F807F) | 0x3E803E80;          // the same
    case QUANT_Q8_0: return scales ? both_halves(r, 7, false) : r;  // 1/256 .. 1/128
    case QUANT_Q4_0: return scales ? both_halves(r, 11, false) : r; // 1/16 .. 1/8
    case QUANT_Q4_1: return scales ? half(r, 10, false) | half(r >> 8, 12, true) << 16 : r;
    default: return r;
    }
}

u32 check_word(const CheckArg *a, u64 i) {
    if (a->given) return a->given[i];
    u32 r = (u32)mix(a->seed + i);
    if (a->weight) return weight_word(a->weight, i, r);
    if (a->buf->type == TY_F32) return small_float(r);
    u64 span = (u64)(a->buf->hi - a->buf->lo) + 1;
    return (u32)(a->buf->lo + (i64)(r % span));
}
