// text/jinja_string.c: strings as Python sees them: characters, white space, case.
//
// Strings are UTF-8 and counted in code points; a byte that is not UTF-8 counts as one character
// and is passed on unharmed. Case mapping is simple (one to one, but for the German sharp s) and
// covers Latin, Greek, Cyrillic, Armenian and full-width letters: templates change the case of role
// and tool names, not of prose.
#include "text/jinja_int.h"

u32 jstr_char(Str s, size_t i, size_t *next) {
    *next = i;
    u32 c = utf8_next(s, next);
    return c == UTF8_BAD ? 0xFFFD : c;
}

size_t jstr_count(Str s) {
    size_t n = 0;
    for (size_t i = 0, next; i < s.len; i = next, n++) jstr_char(s, i, &next);
    return n;
}

size_t jstr_offset(Str s, size_t chars) {
    size_t i = 0;
    for (size_t next; i < s.len && chars > 0; i = next, chars--) jstr_char(s, i, &next);
    return i;
}

bool jchar_space(u32 c) {
    return (c >= 9 && c <= 13) || (c >= 0x1C && c <= 0x20) || c == 0x85 || c == 0xA0 ||
           c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 ||
           c == 0x202F || c == 0x205F || c == 0x3000;
}

// Upper-case letters in [from, to], step apart; the lower-case one is `delta` further.
static const struct {
    u16 from, to;
    int16_t delta;
    u8 step;
} cases[] = {
    {0x41, 0x5A, 32, 1},     {0xC0, 0xD6, 32, 1},     {0xD8, 0xDE, 32, 1},
    {0x100, 0x12E, 1, 2},    {0x132, 0x136, 1, 2},    {0x139, 0x147, 1, 2},
    {0x14A, 0x176, 1, 2},    {0x178, 0x178, -121, 1}, {0x179, 0x17D, 1, 2},
    {0x1CD, 0x1DB, 1, 2},    {0x1DE, 0x1EE, 1, 2},    {0x1F8, 0x21E, 1, 2},
    {0x222, 0x232, 1, 2},    {0x386, 0x386, 38, 1},   {0x388, 0x38A, 37, 1},
    {0x38C, 0x38C, 64, 1},   {0x38E, 0x38F, 63, 1},   {0x391, 0x3A1, 32, 1},
    {0x3A3, 0x3AB, 32, 1},   {0x400, 0x40F, 80, 1},   {0x410, 0x42F, 32, 1},
    {0x460, 0x480, 1, 2},    {0x48A, 0x4BE, 1, 2},    {0x4C0, 0x4C0, 15, 1},
    {0x4C1, 0x4CD, 1, 2},    {0x4D0, 0x52E, 1, 2},    {0x531, 0x556, 48, 1},
    {0x1E00, 0x1E94, 1, 2},  {0x1EA0, 0x1EFE, 1, 2},  {0x2160, 0x216F, 16, 1},
    {0x24B6, 0x24CF, 26, 1}, {0xFF21, 0xFF3A, 32, 1},
};

u32 jchar_lower(u32 c) {
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        if (c >= cases[i].from && c <= cases[i].to && (c - cases[i].from) % cases[i].step == 0)
            return (u32)((i32)c + cases[i].delta);
    return c;
}

u32 jchar_upper(u32 c) {
    if (c == 0xB5 || c == 0x3C2) return c == 0xB5 ? 0x39C : 0x3A3;
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        i32 u = (i32)c - cases[i].delta;
        if (u >= cases[i].from && u <= cases[i].to && (u - cases[i].from) % cases[i].step == 0)
            return (u32)u;
    }
    return c;
}

static bool among(Str c, Str chars) {
    for (size_t i = 0, next; i < chars.len; i = next) {
        jstr_char(chars, i, &next);
        if (str_eq(str_sub(chars, i, next), c)) return true;
    }
    return false;
}

static bool strips(Str s, size_t i, size_t *next, const Str *chars) {
    u32 c = jstr_char(s, i, next);
    return chars ? among(str_sub(s, i, *next), *chars) : jchar_space(c);
}

// chars NULL: white space.
Str jstr_strip(Str s, const Str *chars, bool left, bool right) {
    size_t from = 0, to = s.len, next;
    while (left && from < to && strips(s, from, &next, chars)) from = next;
    while (right && to > from) {
        size_t p = to - 1;
        for (int k = 0; k < 3 && p > from && ((u8)s.ptr[p] & 0xC0) == 0x80; k++) p--;
        if (!strips((Str){s.ptr, to}, p, &next, chars) || next != to) break;
        to = p;
    }
    return str_sub(s, from, to);
}

// Joining in a loop (text = text + more) would copy quadratically and, in an arena, keep each copy:
// the newest few joined strings have room behind them, and are lengthened in place when their very
// end is what is added to. The shorter strings that others hold stay as they are.
bool jstr_join(Jinja *j, Str a, Str b, Str *out) {
    size_t n = a.len + b.len;
    if (a.len == 0 || b.len == 0) {
        *out = a.len ? a : b;
        return true;
    }
    if (!jinja_step(j, b.len / 64)) return false;
    for (size_t i = 0; i < COUNT_OF(j->tails); i++) {
        JTail *t = &j->tails[i];
        if (t->ptr && a.ptr + a.len == t->ptr + t->len && a.len <= t->len &&
            t->cap - t->len >= b.len) {
            memcpy(t->ptr + t->len, b.ptr, b.len);
            t->len += b.len;
            *out = (Str){a.ptr, n};
            return true;
        }
    }
    size_t cap = n < 32 ? 32 : n * 2;
    char *p = jinja_step(j, a.len / 64) ? jinja_alloc(j, cap, 1) : NULL;
    if (!p) return false;
    memcpy(p, a.ptr, a.len);
    memcpy(p + a.len, b.ptr, b.len);
    j->tails[j->next_tail++ % COUNT_OF(j->tails)] = (JTail){p, n, cap};
    *out = (Str){p, n};
    return true;
}

// The first (or last) place of `what` at or after byte `from`. Comparing is paid for as it goes.
bool jstr_find(Jinja *j, Str s, Str what, size_t from, bool last, size_t *at, bool *found) {
    *found = false;
    if (what.len > s.len || from > s.len - what.len) return true;
    size_t most = s.len - what.len;
    for (size_t k = from; k <= most; k++) {
        size_t i = last ? most - (k - from) : k;
        if (((k - from) & 63) == 63 && !jinja_step(j, 1)) return false;
        if (what.len &&
            (s.ptr[i] != what.ptr[0] || s.ptr[i + what.len - 1] != what.ptr[what.len - 1]))
            continue;
        if (!jinja_step(j, what.len / 64)) return false;
        if (what.len == 0 || memcmp(s.ptr + i, what.ptr, what.len) == 0) {
            *at = i;
            *found = true;
            return true;
        }
    }
    return true;
}

// count < 0: all. An empty `from` stands between all characters, as in Python.
bool jstr_replace(Jinja *j, Str s, Str from, Str to, i64 count, Str *out) {
    Buf b = jinja_buf(j);
    size_t i = 0;
    while (count != 0) {
        size_t hit, next;
        bool found;
        if (from.len == 0) {
            buf_add(&b, to);
            if (!jinja_step(j, 1) || !jinja_buf_ok(j, &b)) return false;
            if (i >= s.len) break;
            jstr_char(s, i, &next);
            buf_add(&b, str_sub(s, i, next));
            i = next;
        } else {
            // the rest is scanned from i on: each byte is paid for once
            if (!jstr_find(j, str_sub(s, i, s.len), from, 0, false, &hit, &found)) return false;
            if (!found) break;
            buf_add(&b, str_sub(s, i, i + hit));
            buf_add(&b, to);
            if (!jinja_step(j, 1 + to.len / 64) || !jinja_buf_ok(j, &b)) return false;
            i += hit + from.len;
        }
        count--;
    }
    if (i == 0 && b.len == 0) {
        *out = s;
        return true;
    }
    buf_add(&b, str_sub(s, MIN2(i, s.len), s.len));
    *out = buf_str(&b);
    return jinja_buf_ok(j, &b);
}

static void add_upper(Buf *b, u32 c, Str raw) {
    if (c == 0xDF)
        buf_add(b, S("SS"));
    else if (jchar_upper(c) == c)
        buf_add(b, raw);
    else
        buf_utf8(b, jchar_upper(c));
}

static void add_lower(Buf *b, u32 c, Str raw) {
    if (jchar_lower(c) == c)
        buf_add(b, raw);
    else
        buf_utf8(b, jchar_lower(c));
}

bool jstr_case(Jinja *j, Str s, int how, Str *out) {
    Buf b = jinja_buf(j);
    bool word = false; // inside one
    if (!jinja_step(j, s.len / 4)) return false;
    for (size_t i = 0, next; i < s.len; i = next) {
        u32 c = jstr_char(s, i, &next);
        Str raw = str_sub(s, i, next);
        bool upper = how == CASE_UPPER || (how == CASE_SWAP && jchar_lower(c) == c) ||
                     (how >= CASE_CAPITALIZE && how != CASE_SWAP && !word);
        if (upper)
            add_upper(&b, c, raw);
        else
            add_lower(&b, c, raw);
        if (how == CASE_CAPITALIZE)
            word = true;
        else if (how == CASE_TITLE) // the method: any run of letters is a word
            word = jchar_upper(c) != c || jchar_lower(c) != c;
        else if (how ==
                 CASE_TITLE_FILTER) // the filter: words begin after space, -, and opening brackets
            word = !(jchar_space(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<');
    }
    *out = buf_str(&b);
    return jinja_buf_ok(j, &b);
}

bool jstr_escape(Jinja *j, Str s, Str *out) {
    Buf b = jinja_buf(j);
    if (!jinja_step(j, s.len / 16)) return false;
    for (size_t i = 0; i < s.len; i++) {
        switch (s.ptr[i]) {
        case '&': buf_add(&b, S("&amp;")); break;
        case '<': buf_add(&b, S("&lt;")); break;
        case '>': buf_add(&b, S("&gt;")); break;
        case '\'': buf_add(&b, S("&#39;")); break;
        case '"': buf_add(&b, S("&#34;")); break;
        default: buf_char(&b, s.ptr[i]); break;
        }
    }
    *out = buf_str(&b);
    return jinja_buf_ok(j, &b);
}
