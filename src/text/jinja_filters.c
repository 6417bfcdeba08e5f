// text/jinja_filters.c: the filters over single values, and the table's look-up.
//
// One row a filter: its name, its parameters in order, how many are required, its function. Filters
// over sequences are the other half of the table, in jinja_sequences.c. tojson is transformers' (no
// HTML escapes), not Jinja's own.
#include "text/jinja_int.h"

#define FILTER(name) static bool name(Jinja *j, const JVal *v, const JArgs *args, JVal *out)
#define UNUSED_ARGS  (void)j, (void)v, (void)args

static bool give(JVal *out, JVal v) {
    *out = v;
    return true;
}

static bool truth_or(JVal v, bool missing) { return v.type == J_MISSING ? missing : jval_truth(v); }

// ---- text ---------------------------------------------------------------------------------------

static bool give_text(const JVal *v, Str s, JVal *out) {
    *out = jval_str(s);
    out->markup = v[0].type == J_STR && v[0].markup;
    return true;
}

static bool change_case(Jinja *j, const JVal *v, int how, JVal *out) {
    Str s;
    return jval_text(j, v[0], &s) && jstr_case(j, s, how, &s) && give_text(v, s, out);
}

FILTER(f_upper) {
    UNUSED_ARGS;
    return change_case(j, v, CASE_UPPER, out);
}
FILTER(f_lower) {
    UNUSED_ARGS;
    return change_case(j, v, CASE_LOWER, out);
}
FILTER(f_capitalize) {
    UNUSED_ARGS;
    return change_case(j, v, CASE_CAPITALIZE, out);
}
FILTER(f_title) {
    UNUSED_ARGS;
    return change_case(j, v, CASE_TITLE_FILTER, out);
}

FILTER(f_trim) {
    UNUSED_ARGS;
    Str s, chars;
    bool some = v[1].type != J_MISSING && v[1].type != J_NONE;
    if (!jval_text(j, v[0], &s) || (some && !jinja_arg_str(j, v[1], S(""), &chars)) ||
        !jinja_step(j, s.len / 16))
        return false;
    if (some && !jinja_step(j, s.len * (chars.len / 64))) return false;
    return give_text(v, jstr_strip(s, some ? &chars : NULL, true, true), out);
}

FILTER(f_replace) {
    UNUSED_ARGS;
    Str s, from, to;
    i64 count = -1;
    if (!jval_text(j, v[0], &s) || !jinja_arg_str(j, v[1], S(""), &from) ||
        !jinja_arg_str(j, v[2], S(""), &to) ||
        (v[3].type != J_NONE && !jinja_arg_int(j, v[3], -1, &count)))
        return false;
    return jstr_replace(j, s, from, to, count, &s) && give_text(v, s, out);
}

FILTER(f_string) {
    UNUSED_ARGS;
    Str s;
    return jval_text(j, v[0], &s) && give_text(v, s, out);
}

FILTER(f_safe) {
    UNUSED_ARGS;
    Str s;
    if (!jval_text(j, v[0], &s)) return false;
    *out = jval_str(s);
    out->markup = true;
    return true;
}

static bool escape(Jinja *j, JVal v, bool again, JVal *out) {
    Str s;
    if (!jval_text(j, v, &s) ||
        ((again || !(v.type == J_STR && v.markup)) && !jstr_escape(j, s, &s)))
        return false;
    *out = jval_str(s);
    out->markup = true;
    return true;
}

FILTER(f_escape) {
    UNUSED_ARGS;
    return escape(j, v[0], false, out);
}
FILTER(f_forceescape) {
    UNUSED_ARGS;
    return escape(j, v[0], true, out);
}

FILTER(f_indent) {
    UNUSED_ARGS;
    Str s, by = S("    ");
    bool first = truth_or(v[2], false), blank = truth_or(v[3], false);
    Buf b = jinja_buf(j), pad = jinja_buf(j);
    i64 width = 4;
    if (v[0].type == J_UNDEFINED) return jinja_use_undefined(j, v[0]);
    if (v[0].type != J_STR)
        return jinja_fail(j, ERR_JINJA_TYPE, "indent wants a string, not '%s'", jval_type(v[0]));
    s = v[0].s;
    if (v[1].type == J_STR) {
        by = v[1].s;
    } else {
        if (!jinja_arg_int(j, v[1], 4, &width) || !jinja_step(j, (u64)MAX2(width, 0))) return false;
        for (i64 i = 0; i < width && !pad.full; i++) buf_char(&pad, ' ');
        by = buf_str(&pad);
    }
    for (size_t from = 0, line = 0; from <= s.len; line++) {
        size_t to = from, next;
        while (to < s.len && s.ptr[to] != '\n' && s.ptr[to] != '\r') to++;
        next = to + 1 + (to + 1 < s.len && s.ptr[to] == '\r' && s.ptr[to + 1] == '\n');
        if (line) buf_char(&b, '\n');
        if (line ? blank || to > from : first) buf_add(&b, by);
        buf_add(&b, str_sub(s, from, to));
        if (!jinja_step(j, 1 + (to - from + by.len) / 32) || !jinja_buf_ok(j, &b)) return false;
        from = next;
    }
    return give_text(v, buf_str(&b), out);
}

FILTER(f_center) {
    UNUSED_ARGS;
    Str s;
    i64 width;
    Buf b = jinja_buf(j);
    if (!jval_text(j, v[0], &s) || !jinja_arg_int(j, v[1], 80, &width) ||
        !jinja_step(j, (u64)MAX2(width, 0)))
        return false;
    i64 room = MAX2(width - (i64)jstr_count(s), 0), before = room / 2 + (room & width & 1);
    for (i64 i = 0; i < before && !b.full; i++) buf_char(&b, ' ');
    buf_add(&b, s);
    for (i64 i = before; i < room && !b.full; i++) buf_char(&b, ' ');
    return jinja_buf_ok(j, &b) && give_text(v, buf_str(&b), out);
}

FILTER(f_truncate) {
    UNUSED_ARGS;
    Str s, end;
    i64 length, leeway;
    if (!jval_text(j, v[0], &s) || !jinja_arg_int(j, v[1], 255, &length) ||
        !jinja_arg_str(j, v[3], S("..."), &end) ||
        (v[4].type != J_NONE && !jinja_arg_int(j, v[4], 5, &leeway)) || !jinja_step(j, s.len / 16))
        return false;
    leeway = v[4].type == J_NONE ? 5 : leeway;
    i64 n = (i64)jstr_count(s), tail = (i64)jstr_count(end);
    if (length < tail || leeway < 0)
        return jinja_fail(j, ERR_JINJA_ARGS,
                          "truncate wants a length of at least %D and a leeway of at least 0",
                          tail);
    if (n - leeway <= length) return give_text(v, s, out);
    s = str_sub(s, 0, jstr_offset(s, (size_t)(length - tail)));
    if (!truth_or(v[2], false)) {
        size_t space = s.len;
        while (space > 0 && s.ptr[space - 1] != ' ') space--;
        s.len = space ? space - 1 : s.len;
    }
    return jstr_join(j, s, end, &s) && give_text(v, s, out);
}

FILTER(f_wordcount) {
    UNUSED_ARGS;
    Str s;
    i64 n = 0;
    bool word = false;
    if (!jval_text(j, v[0], &s) || !jinja_step(j, s.len / 16)) return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        bool in = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                  c == '_' || (u8)c >= 0x80;
        n += in && !word;
        word = in;
    }
    return give(out, jval_int(n));
}

FILTER(f_format) {
    UNUSED_ARGS;
    Str fmt;
    JVal arg;
    JList *l = jinja_list(j, args->n);
    if (!l || !jval_text(j, v[0], &fmt)) return false;
    l->n = args->n;
    if (args->n) memcpy(l->at, args->pos, args->n * sizeof(JVal));
    arg = jval_seq(j, J_TUPLE, l);
    if (args->nkw) {
        if (args->n)
            return jinja_fail(j, ERR_JINJA_ARGS,
                              "format takes arguments by place or by name, not both");
        arg = jval_dict(j->arena);
        for (size_t i = 0; i < args->nkw; i++)
            jval_dict_put(j->arena, arg, args->kw[i], args->kwval[i]);
    }
    return jinja_percent(j, fmt, arg, &fmt) && give_text(v, fmt, out);
}

FILTER(f_tojson) // transformers' own, down to the order of its parameters
{
    UNUSED_ARGS;
    Str item = S(", "), key = S(": "), pad = {0}, *indent = NULL;
    Buf b = jinja_buf(j), spaces = jinja_buf(j);
    i64 width;
    if (v[2].type != J_MISSING && v[2].type != J_NONE) {
        if (v[2].type == J_STR) {
            pad = v[2].s;
        } else {
            if (!jinja_arg_int(j, v[2], 0, &width)) return false;
            if (width > 1000) return jinja_fail(j, ERR_JINJA_RANGE, "an indent over 1000");
            for (i64 i = 0; i < width; i++) buf_char(&spaces, ' ');
            pad = buf_str(&spaces);
        }
        indent = &pad;
        item = S(",");
    }
    if (v[3].type != J_MISSING && v[3].type != J_NONE) {
        if ((v[3].type != J_TUPLE && v[3].type != J_LIST) || v[3].list->n != 2 ||
            v[3].list->at[0].type != J_STR || v[3].list->at[1].type != J_STR)
            return jinja_fail(j, ERR_JINJA_ARGS, "separators wants two strings");
        item = v[3].list->at[0].s;
        key = v[3].list->at[1].s;
    }
    if (!jinja_tojson(j, v[0], truth_or(v[1], false), indent, item, key, truth_or(v[4], false), &b))
        return false;
    return give(out, jval_str(buf_str(&b)));
}

// ---- numbers and the like -----------------------------------------------------------------------

static int digit(char c) {
    return c >= '0' && c <= '9'                 ? c - '0'
           : (c | 32) >= 'a' && (c | 32) <= 'z' ? (c | 32) - 'a' + 10
                                                : 99;
}

// As Python's int(text, base): 1 done, 0 not a number, -1 too large.
static int text_int(Str s, i64 base, i64 *out) {
    s = jstr_strip(s, NULL, true, true);
    bool minus = str_starts(s, S("-"));
    if (minus || str_starts(s, S("+"))) s = str_sub(s, 1, s.len);
    char x = s.len > 1 && s.ptr[0] == '0' ? (char)(s.ptr[1] | 32) : 0;
    i64 prefix = x == 'x' ? 16 : x == 'o' ? 8 : x == 'b' ? 2 : 0;
    if (prefix && (base == prefix || base == 0)) {
        s = str_sub(s, 2, s.len);
        base = prefix;
    }
    base = base ? base : 10;
    *out = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '_' && i && i + 1 < s.len && s.ptr[i - 1] != '_') continue;
        int d = digit(s.ptr[i]);
        if (d >= base) return 0;
        if (__builtin_mul_overflow(*out, base, out) ||
            __builtin_add_overflow(*out, minus ? -d : d, out))
            return -1;
    }
    return s.len > 0;
}

static bool text_float(Str s, double *out) {
    s = jstr_strip(s, NULL, true, true);
    if (str_starts(s, S("+"))) s = str_sub(s, 1, s.len);
    bool minus = str_starts(s, S("-"));
    Str word = minus ? str_sub(s, 1, s.len) : s;
    if (word.len == 3 || word.len == 8) {
        char low[9] = {0};
        for (size_t i = 0; i < word.len; i++) low[i] = (char)(word.ptr[i] | 32);
        if (!strcmp(low, "nan") || !strcmp(low, "inf") || !strcmp(low, "infinity")) {
            *out = low[0] == 'n' ? (double)__builtin_nanf("")
                   : minus       ? -__builtin_inf()
                                 : __builtin_inf();
            return true;
        }
    }
    return str_to_f64(s, out);
}

FILTER(f_int) {
    UNUSED_ARGS;
    i64 base, n = 0;
    double f;
    JVal fallback = v[1].type == J_MISSING ? jval_int(0) : v[1];
    if (v[0].type == J_UNDEFINED) return jinja_use_undefined(j, v[0]);
    if (jval_is_int(v[0])) return give(out, jval_int(jval_as_int(v[0])));
    if (!jinja_arg_int(j, v[2], 10, &base)) return false;
    if (base != 0 && (base < 2 || base > 36))
        return jinja_fail(j, ERR_JINJA_ARGS, "int wants a base of 2 to 36, or 0");
    if (v[0].type == J_STR) {
        int r = jinja_step(j, v[0].s.len / 16) ? text_int(v[0].s, base, &n) : -1;
        if (r > 0) return give(out, jval_int(n));
        if (r < 0) return jinja_fail(j, ERR_JINJA_RANGE, "this number does not fit in 64 bits");
        if (!text_float(v[0].s, &f)) return give(out, fallback);
    } else if (!jval_num(v[0], &f)) {
        return give(out, fallback);
    }
    if (!(f > -9.2e18 && f < 9.2e18)) {
        if (f != f || f - f != 0) return give(out, fallback);
        return jinja_fail(j, ERR_JINJA_RANGE, "this number does not fit in 64 bits");
    }
    return give(out, jval_int((i64)f));
}

FILTER(f_float) {
    UNUSED_ARGS;
    double f;
    if (v[0].type == J_UNDEFINED) return jinja_use_undefined(j, v[0]);
    if (jval_num(v[0], &f) ||
        (v[0].type == J_STR && jinja_step(j, v[0].s.len) && text_float(v[0].s, &f)))
        return give(out, jval_float(f));
    return give(out, v[1].type == J_MISSING ? jval_float(0) : v[1]);
}

FILTER(f_abs) {
    UNUSED_ARGS;
    double f;
    if (!jval_num(v[0], &f))
        return v[0].type == J_UNDEFINED
                   ? jinja_use_undefined(j, v[0])
                   : jinja_fail(j, ERR_JINJA_TYPE, "bad operand type for abs(): '%s'",
                                jval_type(v[0]));
    return jinja_unary(j,
                       v[0].type == J_FLOAT ? (__builtin_signbit(f) ? N_NEG : N_POS)
                       : f < 0              ? N_NEG
                                            : N_POS,
                       v[0], out);
}

// What a * b lost in rounding (Dekker): a * b = p + the result. Both are far from overflow.
static double product_rest(double a, double b, double p) {
    double big = 134217729.0, ah = a * big - (a * big - a), bh = b * big - (b * big - b),
           al = a - ah, bl = b - bh;
    return ((ah * bh - p) + ah * bl + al * bh) + al * bl;
}

FILTER(f_round) {
    UNUSED_ARGS;
    i64 digits;
    Str how;
    double f, scale = 1;
    if (!jinja_arg_int(j, v[1], 0, &digits) || !jinja_arg_str(j, v[2], S("common"), &how))
        return false;
    if (!jval_num(v[0], &f))
        return v[0].type == J_UNDEFINED
                   ? jinja_use_undefined(j, v[0])
                   : jinja_fail(j, ERR_JINJA_TYPE, "round wants a number, not '%s'",
                                jval_type(v[0]));
    bool up = str_eq(how, S("ceil")), common = str_eq(how, S("common"));
    if (!up && !common && !str_eq(how, S("floor")))
        return jinja_fail(j, ERR_JINJA_ARGS, "method must be common, ceil or floor");
    if (digits > 15 || digits < -15)
        return jinja_fail(j, ERR_JINJA_RANGE, "round knows precisions of -15 to 15");
    if (common && jval_is_int(v[0]) && digits >= 0) return give(out, jval_int(jval_as_int(v[0])));
    for (i64 i = 0; i < (digits < 0 ? -digits : digits); i++) scale *= 10;
    double x = digits < 0 ? f / scale : f * scale;
    if (x > -4e15 && x < 4e15) {
        double low = (double)(i64)x;
        low = low > x ? low - 1 : low;
        // as Python: the exact value decides, not the rounded product, and a true tie goes to the
        // even one
        double rest = x - low, lost = digits > 0 ? product_rest(f, scale, x) : 0;
        bool odd = ((i64)low & 1) != 0, half = rest == 0.5 && (lost > 0 || (lost == 0 && odd));
        x = up ? low + (rest > 0) : common ? low + (rest > 0.5 || half) : low;
        if (x == 0 && __builtin_signbit(f)) x = -0.0;
    } else {
        return give(out, common && jval_is_int(v[0]) ? v[0] : jval_float(f));
    }
    x = digits < 0 ? x * scale : x / scale;
    return give(out, common && jval_is_int(v[0]) ? jval_int((i64)x) : jval_float(x));
}

FILTER(f_default) {
    UNUSED_ARGS;
    bool take = v[0].type == J_UNDEFINED || (truth_or(v[2], false) && !jval_truth(v[0]));
    return give(out, !take ? v[0] : v[1].type == J_MISSING ? jval_str(S("")) : v[1]);
}

FILTER(f_attr) {
    UNUSED_ARGS;
    Str name;
    if (!jinja_arg_str(j, v[1], S(""), &name)) return false;
    if (v[0].type == J_DICT) { // attributes only: keys are not
        i32 row;
        if (!jinja_method_find(J_DICT, name, &row))
            return give(out, jval_undefined(UNDEF_ATTR, J_DICT, name));
    }
    return jinja_attr(j, v[0], name, out);
}

static const JFilterRow rows[] = {
    {"abs", "", 0, f_abs},
    {"attr", "name", 1, f_attr},
    {"capitalize", "", 0, f_capitalize},
    {"center", "width", 0, f_center},
    {"d", "default_value,boolean", 0, f_default},
    {"default", "default_value,boolean", 0, f_default},
    {"e", "", 0, f_escape},
    {"escape", "", 0, f_escape},
    {"float", "default", 0, f_float},
    {"forceescape", "", 0, f_forceescape},
    {"format", "*", 0, f_format},
    {"indent", "width,first,blank", 0, f_indent},
    {"int", "default,base", 0, f_int},
    {"lower", "", 0, f_lower},
    {"replace", "old,new,count", 2, f_replace},
    {"round", "precision,method", 0, f_round},
    {"safe", "", 0, f_safe},
    {"string", "", 0, f_string},
    {"title", "", 0, f_title},
    {"tojson", "ensure_ascii,indent,separators,sort_keys", 0, f_tojson},
    {"trim", "chars", 0, f_trim},
    {"truncate", "length,killwords,end,leeway", 0, f_truncate},
    {"upper", "", 0, f_upper},
    {"wordcount", "", 0, f_wordcount},
};

static const JFilterRow *row_at(i32 row) {
    return row < (i32)COUNT_OF(rows) ? &rows[row]
                                     : &jinja_sequence_filters[row - (i32)COUNT_OF(rows)];
}

i32 jinja_filter_find(Str name) {
    for (size_t i = 0; i < COUNT_OF(rows) + jinja_sequence_filter_count; i++)
        if (str_eq(name, str_c(row_at((i32)i)->name))) return (i32)i;
    return -1;
}

bool jinja_filter(Jinja *j, i32 row, JVal v, const JArgs *args, JVal *out) {
    JVal bound[JINJA_PARAMS + 1];
    const JFilterRow *r = row_at(row);
    for (size_t i = 1; i < COUNT_OF(bound); i++) bound[i] = (JVal){.type = J_MISSING};
    bound[0] = v;
    if (v.type == J_UNDEFINED && v.from == UNDEF_UNSAFE) return jinja_use_undefined(j, v);
    bool ok =
        jinja_enter(j) &&
        jinja_bind(j, "the filter", str_c(r->name), r->params, r->required, args, bound + 1) &&
        r->fn(j, bound, args, out);
    j->depth--;
    return ok;
}
