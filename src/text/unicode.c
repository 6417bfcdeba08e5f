// text/unicode.c: UTF-8 in and out, general categories, and a stream that never splits a character.
//
// Ill-formed input has one meaning everywhere: a byte that begins no well-formed character stands
// alone. The streaming side replaces instead of keeping, because what it gives goes into JSON and
// onto screens; it counts replacements as the WHATWG encoding standard does (one for each maximal
// well-formed beginning). Normalisation and case mapping are not here.
#include "text/text.h"

UniKind unicode_kind(u32 cp) {
    if (cp > 0x10ffff) return UC_CN;
    u32 lo = 0, hi = unicode_mark_count; // unicode_marks[lo] starts at or before cp
    while (hi - lo > 1) {
        u32 mid = (lo + hi) / 2;
        if (unicode_marks[mid].start <= cp) {
            lo = mid;
        } else {
            hi = mid;
        }
    }
    u32 start = unicode_marks[lo].start, kind = UC_CN;
    u32 end = hi < unicode_mark_count ? unicode_marks[hi].at : unicode_run_bytes;
    for (u32 at = unicode_marks[lo].at; at < end;) {
        u32 run = 0;
        for (u32 shift = 0, more = 1; more; shift += 7) {
            more = unicode_runs[at] >> 7;
            run |= (u32)(unicode_runs[at++] & 0x7f) << shift;
        }
        if (start + (run >> 5) > cp) break;
        start += run >> 5;
        kind = run & 31;
    }
    if (kind == 31) kind = (cp - start) & 1 ? UC_LL : UC_LU;
    return (UniKind)kind;
}

// How many bytes of p[0..n) are a well-formed character or the beginning of one; *need is its whole
// length. 0: p[0] begins nothing. A result below *need means that the text ended or went wrong
// behind it.
static size_t utf8_prefix(const u8 *p, size_t n, size_t *need) {
    u8 c = p[0];
    u8 lo = 0x80,
       hi = 0xbf; // bounds of the second byte, which rule out overlong forms and surrogates
    *need = 1;
    if (c < 0x80) return 1;
    if (c < 0xc2 || c > 0xf4) return 0;
    *need = c < 0xe0 ? 2 : c < 0xf0 ? 3 : 4;
    if (c == 0xe0) lo = 0xa0;
    if (c == 0xed) hi = 0x9f;
    if (c == 0xf0) lo = 0x90;
    if (c == 0xf4) hi = 0x8f;
    size_t i = 1;
    while (i < *need && i < n && p[i] >= lo && p[i] <= hi) {
        lo = 0x80, hi = 0xbf;
        i++;
    }
    return i;
}

u32 utf8_next(Str s, size_t *pos) {
    const u8 *p = (const u8 *)s.ptr + *pos;
    if (*p < 0x80) {
        *pos += 1;
        return *p;
    }
    size_t need, have = utf8_prefix(p, s.len - *pos, &need);
    if (have != need) {
        *pos += 1;
        return UTF8_BAD;
    }
    *pos += need;
    if (need == 2) return (u32)(p[0] & 0x1f) << 6 | (p[1] & 0x3f);
    if (need == 3) return (u32)(p[0] & 0x0f) << 12 | (u32)(p[1] & 0x3f) << 6 | (p[2] & 0x3f);
    return (u32)(p[0] & 0x07) << 18 | (u32)(p[1] & 0x3f) << 12 | (u32)(p[2] & 0x3f) << 6 |
           (p[3] & 0x3f);
}

size_t utf8_put(u32 cp, char out[4]) {
    if (cp < 0x80) {
        out[0] = (char)cp;
        return 1;
    }
    if (cp < 0x800) {
        out[0] = (char)(0xc0 | cp >> 6);
        out[1] = (char)(0x80 | (cp & 0x3f));
        return 2;
    }
    if (cp < 0x10000) {
        out[0] = (char)(0xe0 | cp >> 12);
        out[1] = (char)(0x80 | (cp >> 6 & 0x3f));
        out[2] = (char)(0x80 | (cp & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | cp >> 18);
    out[1] = (char)(0x80 | (cp >> 12 & 0x3f));
    out[2] = (char)(0x80 | (cp >> 6 & 0x3f));
    out[3] = (char)(0x80 | (cp & 0x3f));
    return 4;
}

void utf8_stream_push(Utf8Stream *u, Str bytes, Buf *out) {
    const Str bad = S("\xef\xbf\xbd");
    size_t at = 0;
    // The tail first: at most three bytes wait, so this ends after a few rounds.
    while (u->n > 0 && at < bytes.len) {
        size_t need;
        u->tail[u->n] = (u8)bytes.ptr[at];
        size_t have = utf8_prefix(u->tail, (size_t)u->n + 1, &need);
        if (have == (size_t)u->n + 1) {
            at++;
            u->n++;
            if (have < need) continue;
            buf_add(out, (Str){(const char *)u->tail, need});
        } else {
            buf_add(out, bad); // what waited is cut off here; the new byte is looked at afresh
        }
        u->n = 0;
    }
    size_t plain = at; // start of well-formed bytes not yet written
    while (at < bytes.len) {
        size_t need, have = utf8_prefix((const u8 *)bytes.ptr + at, bytes.len - at, &need);
        if (have == need) {
            at += need;
            continue;
        }
        buf_add(out, str_sub(bytes, plain, at));
        if (have > 0 && at + have == bytes.len) {
            memcpy(u->tail, bytes.ptr + at, have);
            u->n = (u8)have;
            return;
        }
        buf_add(out, bad);
        at += have > 0 ? have : 1;
        plain = at;
    }
    buf_add(out, str_sub(bytes, plain, at));
}

void utf8_stream_end(Utf8Stream *u, Buf *out) {
    if (u->n > 0) buf_add(out, S("\xef\xbf\xbd"));
    u->n = 0;
}
