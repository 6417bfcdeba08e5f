// text/jinja_json.c: values to JSON, as Python's json.dumps writes it, and from JSON, by yyjson.
//
// Reading is strict (RFC 8259). Where a key comes twice the last value wins, as in Python. yyjson
// takes its memory from the arena and does not recurse; turning its tree into values does, to a
// bounded depth.
#include "text/jinja_int.h"

#include <yyjson.h>

// ---- writing ------------------------------------------------------------------------------------

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

// ---- reading ------------------------------------------------------------------------------------

// What yyjson is built to call in place of strtod: its own conversion would be 20 KB of the page's
// core. yyjson has looked at the number before and after: this only finds its end.
double json_strtod(const char *text, char **end) {
    const char *p = text;
    double f = 0;
    while ((*p >= '0' && *p <= '9') || *p == '.' || *p == '-' || *p == '+' || (*p | 32) == 'e') p++;
    bool ok = str_to_f64((Str){text, (size_t)(p - text)}, &f);
    *end = (char *)(uintptr_t)(ok ? p : text);
    return f;
}

static void *json_alloc(void *arena, size_t size) { return arena_try(arena, 1, size); }

static void *json_realloc(void *arena, void *old, size_t old_size, size_t size) {
    void *p = arena_try(arena, 1, size);
    if (p && old) memcpy(p, old, MIN2(old_size, size));
    return p;
}

static void json_free(void *arena, void *p) { (void)arena, (void)p; }

static bool convert(Arena *a, yyjson_val *x, u32 depth, JVal *out, Err *err) {
    if (depth > JINJA_VALUE_DEPTH)
        return err_set(err, ERR_JSON, "the JSON nests deeper than %d levels", JINJA_VALUE_DEPTH);
    switch (yyjson_get_type(x)) {
    case YYJSON_TYPE_NULL: *out = jval_none(); return true;
    case YYJSON_TYPE_BOOL: *out = jval_bool(yyjson_get_bool(x)); return true;
    case YYJSON_TYPE_NUM:
        if (yyjson_is_real(x) || (yyjson_is_uint(x) && yyjson_get_uint(x) > INT64_MAX))
            *out = jval_float(yyjson_get_num(x));
        else
            *out = jval_int(yyjson_get_sint(x));
        return true;
    case YYJSON_TYPE_STR:
        *out = jval_str(arena_str(a, (Str){yyjson_get_str(x), yyjson_get_len(x)}));
        return true;
    case YYJSON_TYPE_ARR: {
        yyjson_arr_iter it = yyjson_arr_iter_with(x);
        yyjson_val *e;
        *out = jval_list(a);
        while ((e = yyjson_arr_iter_next(&it))) {
            JVal v;
            if (!convert(a, e, depth + 1, &v, err)) return false;
            jval_list_add(a, *out, v);
        }
        return true;
    }
    case YYJSON_TYPE_OBJ: {
        yyjson_obj_iter it = yyjson_obj_iter_with(x);
        yyjson_val *k;
        *out = jval_dict(a);
        while ((k = yyjson_obj_iter_next(&it))) {
            JVal v;
            if (!convert(a, yyjson_obj_iter_get_val(k), depth + 1, &v, err)) return false;
            jval_dict_put(a, *out, arena_str(a, (Str){yyjson_get_str(k), yyjson_get_len(k)}), v);
        }
        return true;
    }
    default: return err_set(err, ERR_JSON, "the JSON holds a value of no known type");
    }
}

bool jval_from_json(Arena *a, Str text, JVal *out, Err *err) {
    yyjson_alc alc = {json_alloc, json_realloc, json_free, a};
    yyjson_read_err e;
    // without the in-place flag yyjson copies the text and does not write to it
    yyjson_doc *doc =
        yyjson_read_opts((char *)(uintptr_t)text.ptr, text.len, YYJSON_READ_NOFLAG, &alc, &e);
    *out = (JVal){0};
    if (!doc) {
        int line, col;
        jinja_place(text, (u32)MIN2(e.pos, UINT32_MAX), &line, &col);
        err_set(err, ERR_JSON, "%s", e.msg);
        return err_line(err, line, col);
    }
    return convert(a, yyjson_doc_get_root(doc), 0, out, err);
}
