// text/jinja_repr.c: values as text: Python's str() and repr().
//
// Floats print their shortest digits and strings are quoted as Python does, because templates were
// written against Python.
#include "text/jinja_int.h"

// Python's repr: an exponent below 1e-4 and from 1e16 on, always a point or an exponent.
void jinja_float_add(double f, Buf *b) {
    char text[40], digits[24];
    Buf t = {.ptr = text, .cap = sizeof text};
    if (f != f || f - f != 0) {
        buf_add(b, f != f ? S("nan") : f > 0 ? S("inf") : S("-inf"));
        return;
    }
    buf_fmt(&t, "%g", f); // the right digits, but not Python's layout
    int n = 0, point = -1, exp = 0, first = -1, at = 0;
    Str s = buf_str(&t);
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == 'e') {
            i64 e = 0;
            bool minus = s.ptr[i + 1] == '-';
            str_to_i64(str_sub(s, i + 1 + (s.ptr[i + 1] == '+' || minus), s.len), &e);
            exp = (int)(minus ? -e : e);
            break;
        }
        if (c == '.') {
            point = at;
        } else if (c >= '0' && c <= '9') {
            if (c != '0' && first < 0) first = at;
            if (first >= 0 && n < (int)sizeof digits) digits[n++] = c;
            at++;
        }
    }
    if (__builtin_signbit(f)) buf_char(b, '-');
    if (f == 0) {
        buf_add(b, S("0.0"));
        return;
    }
    int decimal = (point < 0 ? at : point) - first + exp; // value = 0.digits * 10^decimal
    while (n > 1 && digits[n - 1] == '0') n--;
    if (decimal > 16 || decimal < -3) {
        buf_char(b, digits[0]);
        if (n > 1) buf_char(b, '.');
        buf_add(b, (Str){digits + 1, (size_t)n - 1});
        buf_fmt(b, "e%c%02d", decimal - 1 < 0 ? '-' : '+',
                decimal - 1 < 0 ? 1 - decimal : decimal - 1);
        return;
    }
    for (int i = decimal < 0 ? decimal : 0; i < 0; i++) {
        if (i == decimal) buf_add(b, S("0."));
        buf_char(b, '0');
    }
    if (decimal == 0) buf_add(b, S("0."));
    for (int i = 0; i < MAX2(n, decimal + 1); i++) {
        if (i == decimal && i > 0) buf_char(b, '.');
        if (i < n || i <= decimal) buf_char(b, i < n ? digits[i] : '0');
    }
}

static bool printable(u32 c) // as Python's repr sees it
{
    UniKind k = unicode_kind(c);
    return c == ' ' || k < UC_ZS; // separators, controls and what is not assigned come last
}

static void repr_string(Str s, Buf *b) {
    bool single = false, dbl = false;
    for (size_t i = 0; i < s.len; i++) {
        single = single || s.ptr[i] == '\'';
        dbl = dbl || s.ptr[i] == '"';
    }
    char quote = single && !dbl ? '"' : '\'';
    buf_char(b, quote);
    for (size_t i = 0, next; i < s.len; i = next) {
        u32 c = jstr_char(s, i, &next);
        if (c == '\n' || c == '\r' || c == '\t')
            buf_fmt(b, "\\%c", c == '\n' ? 'n' : c == '\r' ? 'r' : 't');
        else if (c == '\\' || c == (u32)quote)
            buf_fmt(b, "\\%c", (int)c);
        else if (!printable(c))
            buf_fmt(b, c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x", c);
        else
            buf_add(b, str_sub(s, i, next));
    }
    buf_char(b, quote);
}

static bool repr(Jinja *j, JVal v, u32 depth, Buf *b);

static bool repr_items(Jinja *j, const char *open, const char *close, const JList *l, size_t from,
                       u32 depth, Buf *b) {
    buf_fmt(b, "%s", open);
    for (size_t i = from; i < l->n; i++) {
        if (i > from) buf_add(b, S(", "));
        if (!repr(j, l->at[i], depth + 1, b)) return false;
    }
    buf_fmt(b, "%s", close);
    return true;
}

static bool repr_dict(Jinja *j, const char *open, const char *close, const JDict *d, u32 depth,
                      Buf *b) {
    buf_fmt(b, "%s", open);
    for (size_t i = 0; i < d->n; i++) {
        if (i) buf_add(b, S(", "));
        if (!repr(j, d->at[i].key, depth + 1, b)) return false;
        buf_add(b, S(": "));
        if (!repr(j, d->at[i].val, depth + 1, b)) return false;
    }
    buf_fmt(b, "%s", close);
    return true;
}

static bool repr(Jinja *j, JVal v, u32 depth, Buf *b) {
    if (!jval_deep(j, depth) || !jinja_buf_ok(j, b)) return false;
    switch (v.type) {
    case J_UNDEFINED: buf_add(b, S("Undefined")); break;
    case J_NONE: buf_add(b, S("None")); break;
    case J_BOOL: buf_add(b, v.b ? S("True") : S("False")); break;
    case J_INT: buf_fmt(b, "%D", v.i); break;
    case J_FLOAT: jinja_float_add(v.f, b); break;
    case J_STR:
        if (!jinja_step(j, v.s.len / 16)) return false;
        if (v.markup) buf_add(b, S("Markup("));
        repr_string(v.s, b);
        if (v.markup) buf_char(b, ')');
        break;
    case J_LIST: return repr_items(j, "[", "]", v.list, 0, depth, b);
    case J_TUPLE: return repr_items(j, "(", v.list->n == 1 ? ",)" : ")", v.list, 0, depth, b);
    case J_KEYS: return repr_items(j, "dict_keys([", "])", v.list, 0, depth, b);
    case J_VALUES: return repr_items(j, "dict_values([", "])", v.list, 0, depth, b);
    case J_ITEMS: return repr_items(j, "dict_items([", "])", v.list, 0, depth, b);
    case J_DICT: return repr_dict(j, "{", "}", v.dict, depth, b);
    case J_NAMESPACE: return repr_dict(j, "<Namespace {", "}>", v.dict, depth, b);
    case J_RANGE:
        buf_fmt(b, "range(%D, %D", v.range->start, v.range->stop);
        if (v.range->step != 1) buf_fmt(b, ", %D", v.range->step);
        buf_char(b, ')');
        break;
    case J_LOOP: buf_fmt(b, "<LoopContext %D/%D>", (i64)v.loop->i + 1, (i64)v.loop->n); break;
    case J_MACRO: buf_fmt(b, "<Macro '%S'>", v.macro->node->str); break;
    default: buf_fmt(b, "<%s>", jval_type(v)); break;
    }
    return jinja_buf_ok(j, b);
}

bool jval_repr_add(Jinja *j, JVal v, Buf *b) { return repr(j, v, 0, b); }

bool jval_str_add(Jinja *j, JVal v, Buf *b) {
    if (v.type == J_UNDEFINED) return true;
    if (v.type != J_STR) return repr(j, v, 0, b);
    if (!jinja_step(j, v.s.len / 64)) return false;
    buf_add(b, v.s);
    return jinja_buf_ok(j, b);
}

bool jval_text(Jinja *j, JVal v, Str *out) {
    if (v.type == J_STR || v.type == J_UNDEFINED) {
        *out = v.type == J_STR ? v.s : (Str){NULL, 0};
        return true;
    }
    Buf b = jinja_buf(j);
    if (!jval_str_add(j, v, &b)) return false;
    *out = buf_str(&b);
    return true;
}
