// base/str.c: views of bytes: comparison, cutting, reading whole numbers.
//
// A Str owns nothing and is not terminated. Nothing here allocates; copies are made by arena.c,
// text is built by buf.c, and decimal fractions are read by decimal.c.
#include "base/base.h"

Str str_c(const char *z) { return z ? (Str){z, strlen(z)} : (Str){NULL, 0}; }

bool str_eq(Str a, Str b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

int str_cmp(Str a, Str b) {
    size_t n = MIN2(a.len, b.len);
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;
    if (c != 0) return c;
    return a.len < b.len ? -1 : a.len > b.len;
}

bool str_starts(Str s, Str prefix) {
    return s.len >= prefix.len && str_eq((Str){s.ptr, prefix.len}, prefix);
}

bool str_ends(Str s, Str suffix) {
    return s.len >= suffix.len && str_eq(str_sub(s, s.len - suffix.len, s.len), suffix);
}

bool str_has(Str s, Str needle) {
    if (needle.len == 0) return true;
    for (size_t i = 0; i + needle.len <= s.len; i++)
        if (s.ptr[i] == needle.ptr[0] && memcmp(s.ptr + i, needle.ptr, needle.len) == 0)
            return true;
    return false;
}

Str str_sub(Str s, size_t from, size_t to) {
    to = MIN2(to, s.len);
    from = MIN2(from, to);
    return s.ptr ? (Str){s.ptr + from, to - from} : (Str){NULL, 0};
}

static bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

Str str_trim(Str s) {
    size_t from = 0, to = s.len;
    while (from < to && is_space(s.ptr[from])) from++;
    while (to > from && is_space(s.ptr[to - 1])) to--;
    return str_sub(s, from, to);
}

Str str_cut(Str s, char sep, Str *rest) {
    const char *hit = s.len ? memchr(s.ptr, sep, s.len) : NULL;
    if (!hit) {
        *rest = (Str){NULL, 0};
        return s;
    }
    size_t at = (size_t)(hit - s.ptr);
    *rest = str_sub(s, at + 1, s.len);
    return str_sub(s, 0, at);
}

static int digit_of(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    if (c >= 'a' && c <= 'f') return c - 'a' + 10;
    if (c >= 'A' && c <= 'F') return c - 'A' + 10;
    return 99;
}

bool str_to_i64(Str s, i64 *out) {
    bool minus = s.len && s.ptr[0] == '-';
    if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+')) s = str_sub(s, 1, s.len);
    int base = 10;
    if (str_starts(s, S("0x")) || str_starts(s, S("0X"))) {
        base = 16;
        s = str_sub(s, 2, s.len);
    }
    if (s.len == 0) return false;
    u64 v = 0;
    for (size_t i = 0; i < s.len; i++) {
        int d = digit_of(s.ptr[i]);
        if (d >= base || !mul_u64(v, (u64)base, &v) || !add_u64(v, (u64)d, &v)) return false;
    }
    if (v > (u64)INT64_MAX + minus) return false;
    *out = minus ? (i64)(0 - v) : (i64)v;
    return true;
}
