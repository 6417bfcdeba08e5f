// base/decimal.c: doubles from and to decimal text, exactly, with one small big-number type.
//
// str_to_f64 rounds correctly (half to even) for any text; decimal_shortest is Steele and White's
// free-format algorithm in the form of Burger and Dybvig. Both are plain long arithmetic: they run
// over a few numbers of a configuration or a listing, never over weights, so that 2 KB of code
// beats a table of powers.
#include "base/decimal.h"

// Digits past this cannot change the rounding of a double except by being non-zero.
#define MAX_DIGITS 780
// 780 digits and 10^1110 together with the shifts below stay under 176 * 32 = 5632 bits.
#define BIG_WORDS 176

typedef struct Big {
    int n; // words in use
    u32 w[BIG_WORDS];
} Big;

static void big_set(Big *b, u64 v) {
    b->n = 0;
    for (; v; v >>= 32) b->w[b->n++] = (u32)v;
}

static void big_mul_add(Big *b, u32 mul, u32 add) {
    u64 carry = add;
    for (int i = 0; i < b->n; i++) {
        carry += (u64)b->w[i] * mul;
        b->w[i] = (u32)carry;
        carry >>= 32;
    }
    if (carry) {
        must(b->n < BIG_WORDS);
        b->w[b->n++] = (u32)carry;
    }
}

static void big_pow10(Big *b, int e) {
    for (; e >= 9; e -= 9) big_mul_add(b, 1000000000u, 0);
    for (; e > 0; e--) big_mul_add(b, 10, 0);
}

static void big_shl(Big *b, int bits) {
    if (b->n == 0 || bits == 0) return;
    int words = bits / 32, rest = bits % 32;
    must(b->n + words + 1 <= BIG_WORDS);
    b->w[b->n] = 0;
    for (int i = b->n; i >= 0; i--) {
        u64 hi = b->w[i], lo = i ? b->w[i - 1] : 0;
        b->w[i + words] = (u32)((hi << 32 | lo) << rest >> 32);
    }
    for (int i = 0; i < words; i++) b->w[i] = 0;
    b->n += words + 1;
    if (b->w[b->n - 1] == 0) b->n--;
}

static int big_cmp(const Big *a, const Big *b) {
    if (a->n != b->n) return a->n < b->n ? -1 : 1;
    for (int i = a->n - 1; i >= 0; i--)
        if (a->w[i] != b->w[i]) return a->w[i] < b->w[i] ? -1 : 1;
    return 0;
}

// a -= b, where a >= b.
static void big_sub(Big *a, const Big *b) {
    i64 borrow = 0;
    for (int i = 0; i < a->n; i++) {
        i64 d = (i64)a->w[i] - (i < b->n ? (i64)b->w[i] : 0) + borrow;
        a->w[i] = (u32)d;
        borrow = d < 0 ? -1 : 0;
    }
    while (a->n && a->w[a->n - 1] == 0) a->n--;
}

static void big_add(Big *sum, const Big *a, const Big *b) {
    int n = MAX2(a->n, b->n);
    u64 carry = 0;
    must(n < BIG_WORDS);
    for (int i = 0; i < n; i++) {
        carry += (u64)(i < a->n ? a->w[i] : 0) + (i < b->n ? b->w[i] : 0);
        sum->w[i] = (u32)carry;
        carry >>= 32;
    }
    sum->n = n;
    if (carry) sum->w[sum->n++] = (u32)carry;
}

static int big_bits(const Big *b) { return b->n ? b->n * 32 - __builtin_clz(b->w[b->n - 1]) : 0; }

static double f64_from(u64 mantissa, int exp2, bool minus) {
    // mantissa < 2^53; it is normal exactly when bit 52 is set, else exp2 is -1074.
    u64 bits =
        mantissa >> 52 ? ((u64)(exp2 + 1075) << 52) | (mantissa & (((u64)1 << 52) - 1)) : mantissa;
    double v;
    memcpy(&v, &bits, 8);
    return minus ? -v : v;
}

// num / den, correctly rounded.
static double big_divide(Big *num, Big *den, bool minus) {
    // Choose e so that num / (den * 2^e) has 53 bits, or fewer where the exponent is at its floor.
    int e = MAX2(big_bits(num) - big_bits(den) - 53, -1074);
    if (e > 0)
        big_shl(den, e);
    else
        big_shl(num, -e);
    // The quotient has at most 54 bits: divide bit by bit from the top.
    u64 q = 0;
    big_shl(den, 54);
    for (int bit = 54; bit >= 0; bit--) {
        q <<= 1;
        if (big_cmp(num, den) >= 0) {
            big_sub(num, den);
            q |= 1;
        }
        if (bit) big_shl(num, 1);
    }
    // Now num is the remainder, scaled as den is.
    bool sticky = num->n != 0, half;
    if (q >> 53) { // one bit too many: it becomes the half bit
        half = q & 1;
        q >>= 1;
        e++;
    } else {
        big_shl(num, 1);
        int c = big_cmp(num, den);
        half = c >= 0;
        sticky = c > 0 || (c < 0 && sticky);
    }
    if (half && (sticky || (q & 1))) q++;
    if (q >> 53) {
        q >>= 1;
        e++;
    }
    if (q >> 52 && e > 971) return minus ? -__builtin_inf() : __builtin_inf();
    return f64_from(q, e, minus);
}

bool str_to_f64(Str s, double *out) {
    size_t i = 0;
    bool minus = s.len && s.ptr[0] == '-';
    if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+')) i++;
    Big num;
    big_set(&num, 0);
    u64 small = 0; // the digits, while there are at most 15 of them
    int kept = 0, exp10 = 0;
    bool any = false, dot = false, tail = false;
    for (; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '.' && !dot) {
            dot = true;
            continue;
        }
        if (c < '0' || c > '9') break;
        any = true;
        int d = c - '0';
        if (kept < MAX_DIGITS) {
            if (kept || d) {
                if (num.n == 0)
                    big_set(&num, (u64)d);
                else
                    big_mul_add(&num, 10, (u32)d);
                kept++;
                small = kept <= 15 ? small * 10 + (u64)d : 0;
            }
            exp10 -= dot;
        } else {
            tail |= d != 0;
            exp10 += !dot;
        }
        if (exp10 > 100000000 || exp10 < -100000000) return false;
    }
    if (!any) return false;
    if (i < s.len && (s.ptr[i] == 'e' || s.ptr[i] == 'E')) {
        i++;
        bool eminus = i < s.len && s.ptr[i] == '-';
        if (i < s.len && (s.ptr[i] == '-' || s.ptr[i] == '+')) i++;
        if (i == s.len) return false;
        int e = 0;
        for (; i < s.len && s.ptr[i] >= '0' && s.ptr[i] <= '9'; i++)
            e = e < 200000000 ? e * 10 + (s.ptr[i] - '0') : e;
        exp10 += eminus ? -e : e;
    }
    if (i != s.len) return false;
    if (kept == 0 || kept + exp10 < -330) {
        *out = minus ? -0.0 : 0.0;
        return true;
    }
    if (kept + exp10 > 310) {
        *out = minus ? -__builtin_inf() : __builtin_inf();
        return true;
    }
    if (kept <= 15 && exp10 >= -22 && exp10 <= 22) { // both are exact doubles: one rounding
        double p = 1;
        for (int k = exp10 < 0 ? -exp10 : exp10; k > 0; k--) p *= 10;
        double v = exp10 < 0 ? (double)small / p : (double)small * p;
        *out = minus ? -v : v;
        return true;
    }
    if (tail) { // "something more": a digit that only breaks ties
        big_mul_add(&num, 10, 1);
        exp10--;
    }
    Big den;
    big_set(&den, 1);
    if (exp10 >= 0)
        big_pow10(&num, exp10);
    else
        big_pow10(&den, -exp10);
    *out = big_divide(&num, &den, minus);
    return true;
}

int decimal_shortest(double v, char digits[17], int *exp) {
    u64 bits;
    memcpy(&bits, &v, 8);
    u64 m = bits & (((u64)1 << 52) - 1);
    int be = (int)(bits >> 52 & 0x7ff);
    bool low_gap = m == 0 && be > 1; // the gap below a power of two is half the gap above
    if (be) m |= (u64)1 << 52;
    int e = (be ? be : 1) - 1075;
    bool even = !(m & 1);
    // value = r / s; half the gaps to the neighbours are hi / s and lo / s.
    Big r, s, hi, lo;
    big_set(&r, m);
    big_set(&s, 1);
    big_set(&hi, 1);
    big_set(&lo, 1);
    int up = MAX2(e, 0), down = MAX2(-e, 0);
    big_shl(&r, up + 1 + low_gap);
    big_shl(&s, down + 1 + low_gap);
    big_shl(&hi, up + low_gap);
    big_shl(&lo, up);
    // k: the decimal exponent, so that r / s lies in [0.1, 1): an estimate from below, then at most
    // one more.
    int log2 = 63 - __builtin_clzll(m) + e;
    int k = (int)(((i64)log2 * 30103 + (log2 < 0 ? -99999 : 0)) / 100000);
    if (k >= 0) {
        big_pow10(&s, k);
    } else {
        big_pow10(&r, -k);
        big_pow10(&hi, -k);
        big_pow10(&lo, -k);
    }
    Big t;
    for (;;) {
        big_add(&t, &r, &hi);
        int c = big_cmp(&t, &s);
        if (even ? c < 0 : c <= 0) break;
        big_mul_add(&s, 10, 0);
        k++;
    }
    int n = 0;
    for (;;) {
        big_mul_add(&r, 10, 0);
        big_mul_add(&hi, 10, 0);
        big_mul_add(&lo, 10, 0);
        int d = 0;
        while (big_cmp(&r, &s) >= 0) {
            big_sub(&r, &s);
            d++;
        }
        int cl = big_cmp(&r, &lo);
        big_add(&t, &r, &hi);
        int ch = big_cmp(&t, &s);
        bool under = even ? cl <= 0 : cl < 0, over = even ? ch >= 0 : ch > 0;
        if (under || over) {
            big_shl(&r, 1);
            if (over && (!under || big_cmp(&r, &s) >= 0)) d++;
        }
        must(d <= 9 && n < 17);
        digits[n++] = (char)('0' + d);
        if (under || over) break;
    }
    *exp = k;
    return n;
}
