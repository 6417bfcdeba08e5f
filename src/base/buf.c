// base/buf.c: text under construction and our own small formatter.
//
// A Buf grows in its arena; with no arena it fills the storage it was given and then drops what
// does not fit (that is how Err formats without memory). Cut text never ends inside a UTF-8
// character. Doubles print as JavaScript prints them, so that figures made in C and in the page are
// the same text.
#include "base/decimal.h"

static size_t utf8_floor(const char *p, size_t n) {
    size_t i = n;
    while (i > 0 && n - i < 3 && ((u8)p[i - 1] & 0xC0) == 0x80) i--;
    if (i == 0) return n;
    u8 lead = (u8)p[i - 1];
    size_t want = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : lead >= 0xC0 ? 2 : 1;
    return n - (i - 1) < want ? i - 1 : n;
}

void buf_add(Buf *b, Str s) {
    if (s.len == 0 || b->full) return;
    if (b->len + s.len < b->cap && (!b->limit || b->len + s.len <= b->limit)) {
        memmove(b->ptr + b->len, s.ptr, s.len);
        b->len += s.len;
        b->ptr[b->len] = 0;
        return;
    }
    bool cut = false;
    size_t room = b->limit ? b->limit - MIN2(b->limit, b->len) : SIZE_MAX;
    if (!b->arena) room = MIN2(room, b->cap > b->len ? b->cap - b->len - 1 : 0);
    if (s.len > room) {
        s.len = utf8_floor(s.ptr, room);
        cut = true;
    }
    if (b->arena && b->len + s.len + 1 > b->cap) {
        size_t cap = MAX2(b->cap * 2, b->len + s.len + 1);
        cap = MAX2(cap, 64);
        char *p = arena_try(b->arena, 1, cap);
        must(p != NULL);
        if (b->len) memcpy(p, b->ptr, b->len);
        b->ptr = p;
        b->cap = cap;
    }
    if (s.len) {
        memmove(b->ptr + b->len, s.ptr, s.len);
        b->len += s.len;
        b->ptr[b->len] = 0;
    }
    b->full = cut;
}

void buf_char(Buf *b, char c) {
    if (b->len + 1 < b->cap && !b->limit && !b->full) {
        b->ptr[b->len++] = c;
        b->ptr[b->len] = 0;
    } else {
        buf_add(b, (Str){&c, 1});
    }
}

void buf_utf8(Buf *b, u32 c) {
    char t[4];
    size_t n;
    if (c > 0x10FFFF || (c >= 0xD800 && c <= 0xDFFF)) c = 0xFFFD;
    if (c < 0x80) {
        t[0] = (char)c;
        n = 1;
    } else if (c < 0x800) {
        t[0] = (char)(0xC0 | c >> 6);
        t[1] = (char)(0x80 | (c & 63));
        n = 2;
    } else if (c < 0x10000) {
        t[0] = (char)(0xE0 | c >> 12);
        t[1] = (char)(0x80 | (c >> 6 & 63));
        t[2] = (char)(0x80 | (c & 63));
        n = 3;
    } else {
        t[0] = (char)(0xF0 | c >> 18);
        t[1] = (char)(0x80 | (c >> 12 & 63));
        t[2] = (char)(0x80 | (c >> 6 & 63));
        t[3] = (char)(0x80 | (c & 63));
        n = 4;
    }
    buf_add(b, (Str){t, n});
}

Str buf_str(const Buf *b) { return (Str){b->ptr, b->len}; }

// ---- formatting ---------------------------------------------------------------------------------

// Writes v before `end`; returns the start.
static char *put_u64(char *end, u64 v, unsigned base) {
    do *--end = "0123456789abcdef"[v % base];
    while (v /= base);
    return end;
}

static char *put_i64(char *end, i64 v) {
    char *p = put_u64(end, v < 0 ? 0 - (u64)v : (u64)v, 10);
    if (v < 0) *--p = '-';
    return p;
}

static Str put_special(double v, bool minus) {
    if (v != v) return S("nan");
    return minus ? S("-inf") : S("inf");
}

// As JavaScript's Number.toString, except for inf, nan and -0. t holds at least 32 bytes.
static Str put_shortest(char *t, double v) {
    bool minus = __builtin_signbit(v);
    if (v != v || v - v != 0) return put_special(v, minus);
    char d[17];
    int exp, n = 0, at = 0;
    if (minus) t[at++] = '-';
    if (v == 0) {
        t[at++] = '0';
        return (Str){t, (size_t)at};
    }
    n = decimal_shortest(minus ? -v : v, d, &exp);
    if (exp > 21 || exp < -5) {
        t[at++] = d[0];
        if (n > 1) t[at++] = '.';
        for (int i = 1; i < n; i++) t[at++] = d[i];
        t[at++] = 'e';
        t[at++] = exp - 1 < 0 ? '-' : '+';
        char num[8];
        char *p = put_u64(num + 8, (u64)(exp - 1 < 0 ? 1 - exp : exp - 1), 10);
        while (p < num + 8) t[at++] = *p++;
    } else if (exp <= 0) {
        t[at++] = '0';
        t[at++] = '.';
        for (int i = exp; i < 0; i++) t[at++] = '0';
        for (int i = 0; i < n; i++) t[at++] = d[i];
    } else {
        for (int i = 0; i < MAX2(n, exp); i++) {
            if (i == exp) t[at++] = '.';
            t[at++] = i < n ? d[i] : '0';
        }
    }
    return (Str){t, (size_t)at};
}

// Fixed decimals (at most 9), for figures people read; what is too large prints as %g.
static Str put_fixed(char *t, double v, int decimals) {
    bool minus = v < 0;
    double scale = 1, a = minus ? -v : v;
    for (int i = 0; i < decimals; i++) scale *= 10;
    if (!(a * scale < 9e15)) return put_shortest(t, v);
    u64 x = (u64)(a * scale + 0.5), unit = (u64)scale;
    char *end = t + 40, *p = end;
    if (decimals) {
        p = put_u64(end, x % unit, 10);
        while (p > end - decimals) *--p = '0';
        *--p = '.';
    }
    p = put_u64(p, x / unit, 10);
    if (minus && x) *--p = '-';
    return (Str){p, (size_t)(end - p)};
}

// The exact value as a C and WGSL float literal: 0x1.8p+1f.
static Str put_hexfloat(char *t, float f) {
    u32 u = f32_bits(f), m = u & 0x7FFFFF;
    int e = (int)(u >> 23 & 0xFF), at = 0;
    bool minus = u >> 31;
    if (e == 255) return m ? S("NAN") : minus ? S("-INFINITY") : S("INFINITY");
    if (minus) t[at++] = '-';
    t[at++] = '0';
    t[at++] = 'x';
    if (e == 0 && m) { // normalise a subnormal
        int shift = __builtin_clz(m) - 8;
        m = m << shift & 0x7FFFFF;
        e = 1 - shift;
        t[at++] = '1';
    } else {
        t[at++] = e ? '1' : '0';
    }
    if (m) {
        t[at++] = '.';
        m <<= 1; // 24 bits: six hexadecimal digits
        for (; m; m = m << 4 & 0xFFFFFF) t[at++] = "0123456789abcdef"[m >> 20];
    }
    int x = (u & 0x7FFFFFFF) ? e - 127 : 0;
    t[at++] = 'p';
    t[at++] = x < 0 ? '-' : '+';
    char num[8];
    for (char *p = put_u64(num + 8, (u64)(x < 0 ? -x : x), 10); p < num + 8; p++) t[at++] = *p;
    t[at++] = 'f';
    return (Str){t, (size_t)at};
}

static void pad(Buf *b, Str s, int width, bool left, bool zero) {
    if (zero && !left && s.len && s.ptr[0] == '-' && (size_t)width > s.len) {
        buf_char(b, '-');
        s = str_sub(s, 1, s.len);
        width--;
    }
    for (int i = (int)s.len; !left && i < width; i++) buf_char(b, zero ? '0' : ' ');
    buf_add(b, s);
    for (int i = (int)s.len; left && i < width; i++) buf_char(b, ' ');
}

void buf_vfmt(Buf *b, const char *fmt, va_list ap) {
    for (;;) {
        size_t plain = 0;
        while (fmt[plain] && fmt[plain] != '%') plain++;
        buf_add(b, (Str){fmt, plain});
        fmt += plain;
        if (!*fmt++) return;
        bool left = false, zero = false;
        for (;; fmt++) {
            if (*fmt == '-')
                left = true;
            else if (*fmt == '0')
                zero = true;
            else
                break;
        }
        int width = 0, decimals = 6;
        if (*fmt == '*') {
            width = va_arg(ap, i32);
            fmt++;
        }
        for (; *fmt >= '0' && *fmt <= '9'; fmt++) width = width * 10 + (*fmt - '0');
        if (*fmt == '.')
            for (decimals = 0, fmt++; *fmt >= '0' && *fmt <= '9'; fmt++)
                decimals = decimals * 10 + (*fmt - '0');
        char t[48];
        char *end = t + sizeof t, *p = end;
        Str s;
        switch (*fmt++) {
        case 'd': p = put_i64(end, va_arg(ap, i32)); break;
        case 'u': p = put_u64(end, va_arg(ap, u32), 10); break;
        case 'D': p = put_i64(end, va_arg(ap, i64)); break;
        case 'U': p = put_u64(end, va_arg(ap, u64), 10); break;
        case 'x': p = put_u64(end, va_arg(ap, u32), 16); break;
        case 'X': p = put_u64(end, va_arg(ap, u64), 16); break;
        case 'c': *--p = (char)va_arg(ap, int); break;
        case '%': *--p = '%'; break;
        case 's': s = str_c(va_arg(ap, const char *)); goto text;
        case 'S': s = va_arg(ap, Str); goto text;
        case 'g': s = put_shortest(t, va_arg(ap, double)); goto text;
        case 'f': s = put_fixed(t, va_arg(ap, double), MIN2(decimals, 9)); goto text;
        case 'h': s = put_hexfloat(t, (float)va_arg(ap, double)); goto text;
        default: must(!"a conversion that buf_fmt knows"); return;
        }
        s = (Str){p, (size_t)(end - p)};
    text:
        if (width > 0)
            pad(b, s, width, left, zero);
        else
            buf_add(b, s);
    }
}

void buf_fmt(Buf *b, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    buf_vfmt(b, fmt, ap);
    va_end(ap);
}

Str str_fmt(Arena *a, const char *fmt, ...) {
    Buf b = {.arena = a};
    va_list ap;
    va_start(ap, fmt);
    buf_vfmt(&b, fmt, ap);
    va_end(ap);
    return b.ptr ? buf_str(&b) : arena_str(a, (Str){NULL, 0});
}
