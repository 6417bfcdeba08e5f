// text/jinja_json.c: values to JSON, as Python's json.dumps writes it. Reading is json_read.c's.
#include "text/jinja_int.h"

// ---- writing ----------------------------------------------------------------------------------

typedef struct Writer {
    Jinja *j;
    Buf *b;
    bool ascii, sort;
    const Str *indent;
    Str item_sep, key_sep;
} Writer;

static void add_unit(Buf *b, u32 u) { buf_fmt(b, "\\u%04x", u); }

static bool add_string(Writer *w, Str s) {
    Buf *b = w->b;
    if (!jinja_step(w->j, s.len / 16)) return false;
    buf_char(b, '"');
    for (size_t i = 0, next; i < s.len; i = next) {
        u32 c = jstr_char(s, i, &next);
        static const char from[] = "\"\\\n\r\t\f\b", to[] = "\"\\nrtfb";
        const char *hit = c && c < 0x80 ? strchr(from, (int)c) : NULL;
        if (hit) {
            buf_char(b, '\\');
            buf_char(b, to[hit - from]);
        } else if (c < 0x20 || (w->ascii && c >= 0x7F && c < 0x10000)) {
            add_unit(b, c);
        } else if (w->ascii && c >= 0x10000) {
            add_unit(b, 0xD800 + ((c - 0x10000) >> 10));
            add_unit(b, 0xDC00 + ((c - 0x10000) & 0x3FF));
        } else {
            buf_add(b, str_sub(s, i, next));
        }
    }
    buf_char(b, '"');
    return jinja_buf_ok(w->j, b);
}

static void new_line(Writer *w, u32 depth) {
    if (!w->indent) return;
    buf_char(w->b, '\n');
    for (u32 i = 0; i < depth && !w->b->full; i++) buf_add(w->b, *w->indent);
}

static bool add_scalar(Writer *w, JVal v, bool *is) {
    *is = true;
    switch (v.type) {
    case J_NONE: buf_add(w->b, S("null")); return true;
    case J_BOOL: buf_add(w->b, v.b ? S("true") : S("false")); return true;
    case J_INT: buf_fmt(w->b, "%D", v.i); return true;
    case J_FLOAT:
        if (v.f != v.f)
            buf_add(w->b, S("NaN"));
        else if (v.f - v.f != 0)
            buf_add(w->b, v.f > 0 ? S("Infinity") : S("-Infinity"));
        else
            jinja_float_add(v.f, w->b);
        return true;
    case J_STR: return add_string(w, v.s);
    default: *is = false; return true;
    }
}

static bool add_key(Writer *w, JVal key) {
    bool scalar;
    if (key.type == J_STR) return add_string(w, key.s);
    if (key.type == J_TUPLE || key.type == J_UNDEFINED || key.type > J_STR)
        return jinja_fail(w->j, ERR_JINJA_TYPE,
                          "keys must be str, int, float, bool or None, not %s", jval_type(key));
    buf_char(w->b, '"');
    add_scalar(w, key, &scalar);
    buf_char(w->b, '"');
    return true;
}

// The order in which a dict's pairs are written.
static bool key_order(Writer *w, const JDict *d, u32 *order) {
    for (u32 i = 0; i < d->n; i++) {
        u32 at = i;
        for (; at > 0; at--) { // insertion: dicts in templates are small
            int c;
            if (!jinja_step(w->j, 1) ||
                !jval_cmp(w->j, d->at[order[at - 1]].key, d->at[i].key, "<", &c))
                return false;
            if (c <= 0) break;
            order[at] = order[at - 1];
        }
        order[at] = i;
    }
    return true;
}

static bool add_value(Writer *w, JVal v, u32 depth) {
    bool scalar;
    if (!jinja_step(w->j, 1) || !jinja_buf_ok(w->j, w->b)) return false;
    if (!add_scalar(w, v, &scalar) || scalar) return scalar;
    if (depth >= JINJA_VALUE_DEPTH)
        return jinja_fail(w->j, ERR_JINJA_DEPTH, "this value nests deeper than %d levels",
                          JINJA_VALUE_DEPTH);
    if (v.type != J_LIST && v.type != J_TUPLE && v.type != J_DICT)
        return v.type == J_UNDEFINED && v.from == UNDEF_UNSAFE
                   ? jinja_use_undefined(w->j, v)
                   : jinja_fail(w->j, ERR_JINJA_TYPE, "Object of type %s is not JSON serializable",
                                jval_type(v));
    bool dict = v.type == J_DICT;
    size_t n = dict ? v.dict->n : v.list->n;
    u32 *order = NULL;
    if (dict && w->sort && n &&
        (!(order = jinja_alloc(w->j, n, sizeof *order)) || !key_order(w, v.dict, order)))
        return false;
    buf_char(w->b, dict ? '{' : '[');
    for (size_t i = 0; i < n; i++) {
        if (i) buf_add(w->b, w->item_sep);
        new_line(w, depth + 1);
        if (dict) {
            const JPair *p = &v.dict->at[order ? order[i] : i];
            if (!add_key(w, p->key)) return false;
            buf_add(w->b, w->key_sep);
            if (!add_value(w, p->val, depth + 1)) return false;
        } else if (!add_value(w, v.list->at[i], depth + 1)) {
            return false;
        }
    }
    if (n) new_line(w, depth);
    buf_char(w->b, dict ? '}' : ']');
    return jinja_buf_ok(w->j, w->b);
}

bool jinja_tojson(Jinja *j, JVal v, bool ascii, const Str *indent, Str item_sep, Str key_sep,
                  bool sort, Buf *b) {
    Writer w = {j, b, ascii, sort, indent, item_sep, key_sep};
    return add_value(&w, v, 0);
}
