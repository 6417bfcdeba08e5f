// text/json_read.c: JSON text to values. Strict (RFC 8259): one value, well-formed UTF-8, no lone surrogates.
//
// Where a key comes twice the last value wins, as in Python. Integers that fit i64 stay integers. It recurses to a
// bounded depth and copies strings to the arena. A parser of our own because a page carries it: it is a twentieth of
// the size of a fast one, and requests are short.
#include "text/jinja_int.h"

typedef struct JsonRead {
    Arena *arena;
    Str text;
    size_t at;
    Err *err;
} JsonRead;

static bool wrong(JsonRead *r, const char *what) {
    int line, col;
    jinja_place(r->text, (u32)MIN2(r->at, UINT32_MAX), &line, &col);
    err_set(r->err, ERR_JSON, "%s", what);
    return err_line(r->err, line, col);
}

static int peek(const JsonRead *r) { return r->at < r->text.len ? (u8)r->text.ptr[r->at] : -1; }

static void space(JsonRead *r) {
    for (int c; (c = peek(r)) == ' ' || c == '\t' || c == '\n' || c == '\r';) r->at++;
}

static bool word(JsonRead *r, Str w) {
    if (!str_starts(str_sub(r->text, r->at, r->text.len), w)) return wrong(r, "a value is expected here");
    r->at += w.len;
    return true;
}

static bool hex4(JsonRead *r, u32 *out) {
    *out = 0;
    for (int i = 0; i < 4; i++, r->at++) {
        int c = peek(r), low = c | 32;
        bool digit = c >= '0' && c <= '9', letter = low >= 'a' && low <= 'f';
        if (!digit && !letter) return wrong(r, "\\u is followed by four hexadecimal digits");
        *out = *out << 4 | (u32)(digit ? c - '0' : low - 'a' + 10);
    }
    return true;
}

static bool escape(JsonRead *r, Buf *b) {
    static const char names[] = "\"\\/bfnrt", chars[] = "\"\\/\b\f\n\r\t";
    int c = peek(r);
    const char *known = c > 0 ? strchr(names, c) : NULL;
    r->at++;
    if (known) {
        buf_char(b, chars[known - names]);
        return true;
    }
    u32 u, low;
    if (c != 'u') return wrong(r, "a string has an escape that JSON does not know");
    if (!hex4(r, &u)) return false;
    if (u >= 0xD800 && u < 0xE000) {
        if (u >= 0xDC00 || peek(r) != '\\') return wrong(r, "a string holds half of a surrogate pair");
        r->at++;
        if (peek(r) != 'u') return wrong(r, "a string holds half of a surrogate pair");
        r->at++;
        if (!hex4(r, &low)) return false;
        if (low < 0xDC00 || low >= 0xE000) return wrong(r, "a string holds half of a surrogate pair");
        u = 0x10000 + ((u - 0xD800) << 10) + (low - 0xDC00);
    }
    buf_utf8(b, u);
    return true;
}

static bool string(JsonRead *r, Str *out) {
    Buf b = {.arena = r->arena};
    r->at++; // "
    for (;;) {
        size_t from = r->at;
        int c;
        while ((c = peek(r)) >= 0x20 && c != '"' && c != '\\') {
            size_t next = r->at;
            if (utf8_next(r->text, &next) == UTF8_BAD) return wrong(r, "a string is not UTF-8");
            r->at = next;
        }
        buf_add(&b, str_sub(r->text, from, r->at));
        if (c == '"') break;
        if (c < 0) return wrong(r, "a string is not closed");
        if (c < 0x20) return wrong(r, "a string holds a control character: write it as an escape");
        r->at++;
        if (!escape(r, &b)) return false;
    }
    r->at++;
    *out = b.len ? buf_str(&b) : arena_str(r->arena, S(""));
    return true;
}

static size_t digits(JsonRead *r) {
    size_t from = r->at;
    while (peek(r) >= '0' && peek(r) <= '9') r->at++;
    return r->at - from;
}

static bool number(JsonRead *r, JVal *out) {
    size_t from = r->at;
    bool whole = true;
    if (peek(r) == '-') r->at++;
    bool zero = peek(r) == '0';
    size_t n = digits(r);
    if (n == 0 || (zero && n > 1)) return wrong(r, "this is not a number as JSON writes it");
    if (peek(r) == '.') {
        whole = false;
        r->at++;
        if (!digits(r)) return wrong(r, "a digit is expected behind the point");
    }
    if ((peek(r) | 32) == 'e') {
        whole = false;
        r->at++;
        if (peek(r) == '+' || peek(r) == '-') r->at++;
        if (!digits(r)) return wrong(r, "an exponent has no digits");
    }
    Str s = str_sub(r->text, from, r->at);
    i64 i;
    double f;
    if (whole && str_to_i64(s, &i)) {
        *out = jval_int(i);
        return true;
    }
    if (!str_to_f64(s, &f) || !(f - f == 0)) return wrong(r, "a number is too large");
    *out = jval_float(f);
    return true;
}

static bool read_value(JsonRead *r, u32 depth, JVal *out);

static bool list(JsonRead *r, u32 depth, JVal *out) {
    *out = jval_list(r->arena);
    r->at++;
    space(r);
    for (bool first = true; peek(r) != ']'; first = false) {
        JVal v;
        if (!first) {
            if (peek(r) != ',') return wrong(r, "a list goes on with `,` or ends with `]`");
            r->at++;
        }
        if (!read_value(r, depth + 1, &v)) return false;
        jval_list_add(r->arena, *out, v);
    }
    r->at++;
    return true;
}

static bool object(JsonRead *r, u32 depth, JVal *out) {
    *out = jval_dict(r->arena);
    r->at++;
    space(r);
    for (bool first = true; peek(r) != '}'; first = false) {
        Str key;
        JVal v;
        if (!first) {
            if (peek(r) != ',') return wrong(r, "an object goes on with `,` or ends with `}`");
            r->at++;
            space(r);
        }
        if (peek(r) != '"') return wrong(r, "a key is a string");
        if (!string(r, &key)) return false;
        space(r);
        if (peek(r) != ':') return wrong(r, "a key is followed by `:`");
        r->at++;
        if (!read_value(r, depth + 1, &v)) return false;
        jval_dict_put(r->arena, *out, key, v);
    }
    r->at++;
    return true;
}

static bool read_value(JsonRead *r, u32 depth, JVal *out) {
    if (depth > JINJA_VALUE_DEPTH)
        return err_set(r->err, ERR_JSON, "the JSON nests deeper than %d levels", JINJA_VALUE_DEPTH);
    bool ok;
    Str s;
    space(r);
    switch (peek(r)) {
    case '{': ok = object(r, depth, out); break;
    case '[': ok = list(r, depth, out); break;
    case '"':
        ok = string(r, &s);
        if (ok) *out = jval_str(s);
        break;
    case 't': *out = jval_bool(true), ok = word(r, S("true")); break;
    case 'f': *out = jval_bool(false), ok = word(r, S("false")); break;
    case 'n': *out = jval_none(), ok = word(r, S("null")); break;
    case -1: return wrong(r, "the JSON ends where a value is expected");
    default:
        if (peek(r) != '-' && (peek(r) < '0' || peek(r) > '9')) return wrong(r, "a value is expected here");
        ok = number(r, out);
    }
    space(r);
    return ok;
}

bool jval_from_json(Arena *a, Str text, JVal *out, Err *err) {
    Err own = {0};
    JsonRead r = {.arena = a, .text = text, .err = err ? err : &own};
    *out = (JVal){0};
    if (!read_value(&r, 0, out)) return false;
    return r.at == text.len || wrong(&r, "something follows the JSON's end");
}
