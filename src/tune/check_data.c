// tune/check_data.c: pseudo-random arguments for the check of a kernel.
//
// A word is a function of its index, so that the device's copy is filled through a small window and
// the referee makes the few words it wants again, whatever the argument's size: a pattern of random
// bits, over and over, turned into others each time, since a model has tens of megabytes of them.
// Values are such
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

enum { PATTERN = 8191 }; // words; a prime, which no row's length divides

u32 *check_pattern(Arena *a) {
    u32 *p = NEW_N(a, u32, PATTERN);
    for (u32 i = 0; i < PATTERN; i++) p[i] = (u32)mix(i + 1);
    return p;
}

// What random bits become in an argument.
static u32 word_of(const CheckArg *a, u32 r) {
    if (a->buf->type == TY_F32) return small_float(r);
    // words of any value: packed activations, bytes and f32 by their place; small numbers as both
    if (a->buf->type == TY_U32 && a->buf->hi == UINT32_MAX) return (r & 0x80FFFFFF) | 0x3C000000;
    u64 span = (u64)(a->buf->hi - a->buf->lo) + 1;
    return (u32)(a->buf->lo + (i64)(r % span));
}

// Words [from, from + n), which lie in one plane of a weight.
static void words_of(const CheckArg *a, u64 from, u64 n, u32 *out) {
    int plane = a->weight && from >= a->plane1;
    QuantId q = a->weight ? a->weight->encoding : QUANT_F32;
    if (n == 1) { // the referee's way
        u32 r = a->pattern[from % PATTERN] ^ (u32)mix(a->seed + from / PATTERN);
        *out = a->weight ? quant_random_word(q, plane, r) : word_of(a, r);
        return;
    }
    u32 ones = quant_random_word(q, plane, UINT32_MAX), zeros = quant_random_word(q, plane, 0);
    for (u64 i = 0; i < n;) {
        u64 turn = (from + i) / PATTERN, part = MIN2(n - i, (turn + 1) * PATTERN - (from + i));
        const u32 *p = a->pattern + (from + i) % PATTERN;
        u32 other = (u32)mix(a->seed + turn), *to = out + i;
        if (a->weight)
            for (u64 k = 0; k < part; k++) to[k] = ((p[k] ^ other) & ones) | zeros;
        else
            for (u64 k = 0; k < part; k++) to[k] = word_of(a, p[k] ^ other);
        i += part;
    }
}

void check_words(const CheckArg *a, u64 from, u64 n, u32 *out) {
    u64 first = a->weight && from < a->plane1 ? MIN2(n, a->plane1 - from) : 0;
    if (a->given) {
        memcpy(out, a->given + from, (size_t)n * 4);
        return;
    }
    words_of(a, from, first, out);
    words_of(a, from + first, n - first, out + first);
}
