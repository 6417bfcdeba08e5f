// text/jinja_ops.c: arithmetic, membership, attributes, subscripts and slices, as Python and
// Jinja's sandbox do them.
//
// Integers have 64 bits: what would not fit is an error, never a wrong number. No attribute whose
// name begins with an underscore can be reached, and no method that changes its object; looking is
// allowed, use is an error.
#include "text/jinja_int.h"

#include <math.h>

static bool use_either(Jinja *j, JVal x, JVal y) {
    return jinja_use_undefined(j, x.type == J_UNDEFINED ? x : y);
}

static double floor_of(double f) {
    if (!(f > -4e15 && f < 4e15)) // no fraction left
        return f;
    double t = (double)(i64)f;
    return t > f ? t - 1 : t;
}

static double float_mod(double x, double y) // of y's sign
{
    double q = floor_of(x / y), r = x - q * y;
    if ((y > 0 && r < 0) || (y < 0 && r > 0)) r += y;
    return r;
}

static bool overflow(Jinja *j) {
    return jinja_fail(j, ERR_JINJA_RANGE, "this number does not fit in 64 bits");
}

static bool zero_division(Jinja *j) { return jinja_fail(j, ERR_JINJA_RANGE, "division by zero"); }

static bool int_power(Jinja *j, i64 x, i64 n, JVal *out) {
    i64 r = 1;
    for (; n > 0; n >>= 1) {
        if ((n & 1) && __builtin_mul_overflow(r, x, &r)) return overflow(j);
        if (n > 1 && __builtin_mul_overflow(x, x, &x)) return overflow(j);
    }
    *out = jval_int(r);
    return true;
}

static bool int_binary(Jinja *j, u16 op, i64 x, i64 y, JVal *out) {
    i64 r = 0;
    switch (op) {
    case '+':
        if (__builtin_add_overflow(x, y, &r)) return overflow(j);
        break;
    case '-':
        if (__builtin_sub_overflow(x, y, &r)) return overflow(j);
        break;
    case '*':
        if (__builtin_mul_overflow(x, y, &r)) return overflow(j);
        break;
    case '/':
        if (y == 0) return zero_division(j);
        *out = jval_float((double)x / (double)y);
        return true;
    case JOP2('*', '*'):
        if (y >= 0) return int_power(j, x, y, out);
        if (x == 0) return zero_division(j);
        *out = jval_float(pow((double)x, (double)y));
        return true;
    default: // // and %
        if (y == 0) return zero_division(j);
        if (y == -1) {
            if (op != '%' && __builtin_sub_overflow(0, x, &r)) return overflow(j);
            break;
        }
        r = op == '%' ? x % y : x / y;
        if (x % y != 0 && (x < 0) != (y < 0)) r += op == '%' ? y : -1;
    }
    *out = jval_int(r);
    return true;
}

static bool float_binary(Jinja *j, u16 op, double x, double y, JVal *out) {
    double r;
    if (y == 0 && (op == '/' || op == '%' || op == JOP2('/', '/'))) return zero_division(j);
    switch (op) {
    case '+': r = x + y; break;
    case '-': r = x - y; break;
    case '*': r = x * y; break;
    case '/': r = x / y; break;
    case '%': r = float_mod(x, y); break;
    case JOP2('/', '/'): r = floor_of(x / y); break;
    default:
        if (x < 0 && y != floor_of(y))
            return jinja_fail(j, ERR_JINJA_RANGE, "a negative number to a broken power");
        if (x == 0 && y < 0) return zero_division(j);
        r = pow(x, y);
    }
    *out = jval_float(r);
    return true;
}

static bool repeat(Jinja *j, JVal v, i64 n, JVal *out) {
    *out = v;
    if (v.type == J_STR) {
        if (n <= 0 || v.s.len == 0) {
            out->s = (Str){v.s.ptr, 0};
            return true;
        }
        char *p = jinja_alloc(j, (u64)n, v.s.len);
        if (!p || !jinja_step(j, (u64)n * v.s.len / 64 + (u64)n / 4)) return false;
        for (i64 i = 0; i < n; i++) memcpy(p + (size_t)i * v.s.len, v.s.ptr, v.s.len);
        out->s = (Str){p, (size_t)n * v.s.len};
        return true;
    }
    size_t each = v.list->n;
    if (n > 0 && each > 0 && (u64)n > (u64)SIZE_MAX / sizeof(JVal) / each)
        return jinja_alloc(j, UINT64_MAX, 2) != NULL;
    JList *l = jinja_list(j, n > 0 ? each * (size_t)n : 0);
    if (!l) return false;
    for (i64 i = 0; i < n && each; i++)
        memcpy(l->at + l->n, v.list->at, each * sizeof(JVal)), l->n += each;
    *out = jval_seq(j, v.type, l);
    return jinja_step(j, l->n / 4);
}

static bool joined(Jinja *j, JVal x, JVal y, JVal *out) {
    Str a = x.s, b = y.s, s;
    if (x.type == J_STR) {
        bool markup = x.markup || y.markup; // what is not marked up is escaped on joining what is
        if ((markup && !x.markup && !jstr_escape(j, a, &a)) ||
            (markup && !y.markup && !jstr_escape(j, b, &b)) || !jstr_join(j, a, b, &s))
            return false;
        *out = jval_str(s);
        out->markup = markup;
        return true;
    }
    JList *l = jinja_list(j, x.list->n + y.list->n);
    if (!l) return false;
    l->n = l->cap;
    if (x.list->n) memcpy(l->at, x.list->at, x.list->n * sizeof(JVal));
    if (y.list->n) memcpy(l->at + x.list->n, y.list->at, y.list->n * sizeof(JVal));
    *out = jval_seq(j, x.type, l);
    return jinja_step(j, l->n / 4);
}

bool jinja_binary(Jinja *j, u16 op, JVal x, JVal y, JVal *out) {
    double f, g;
    bool seq = x.type == J_STR || x.type == J_LIST || x.type == J_TUPLE;
    if (op == '%' && x.type == J_STR) {
        Str s;
        if (!jinja_percent(j, x.s, y, &s)) return false;
        *out = jval_str(s);
        return true;
    }
    if (x.type == J_UNDEFINED || y.type == J_UNDEFINED) return use_either(j, x, y);
    if (jval_is_int(x) && jval_is_int(y))
        return int_binary(j, op, jval_as_int(x), jval_as_int(y), out);
    if (jval_num(x, &f) && jval_num(y, &g)) return float_binary(j, op, f, g, out);
    if (op == '+' && seq && x.type == y.type) return joined(j, x, y, out);
    if (op == '*' && seq && jval_is_int(y)) return repeat(j, x, jval_as_int(y), out);
    if (op == '*' && (y.type == J_STR || y.type == J_LIST || y.type == J_TUPLE) && jval_is_int(x))
        return repeat(j, y, jval_as_int(x), out);
    if (op == '+' && x.type == J_STR)
        return jinja_fail(j, ERR_JINJA_TYPE, "can only concatenate str (not \"%s\") to str",
                          jval_type(y));
    char name[3] = {(char)(op & 255), (char)(op >> 8), 0};
    return jinja_fail(j, ERR_JINJA_TYPE, "unsupported operand types for %s: '%s' and '%s'", name,
                      jval_type(x), jval_type(y));
}

bool jinja_unary(Jinja *j, u8 kind, JVal x, JVal *out) {
    if (x.type == J_UNDEFINED) return jinja_use_undefined(j, x);
    if (x.type == J_FLOAT) {
        *out = jval_float(kind == N_NEG ? -x.f : x.f);
        return true;
    }
    if (!jval_is_int(x))
        return jinja_fail(j, ERR_JINJA_TYPE, "bad operand type for unary %c: '%s'",
                          kind == N_NEG ? '-' : '+', jval_type(x));
    i64 i = jval_as_int(x);
    if (kind == N_NEG && __builtin_sub_overflow(0, i, &i)) return overflow(j);
    *out = jval_int(i);
    return true;
}

bool jinja_in(Jinja *j, JVal x, JVal in, bool *out) {
    *out = false;
    if (in.type == J_STR) {
        size_t at;
        if (x.type == J_UNDEFINED)
            return jinja_fail(j, ERR_JINJA_TYPE,
                              "'in <string>' requires string as left operand, not Undefined");
        if (x.type != J_STR)
            return jinja_fail(j, ERR_JINJA_TYPE,
                              "'in <string>' requires string as left operand, not %s",
                              jval_type(x));
        return jstr_find(j, in.s, x.s, 0, false, &at, out);
    }
    if (in.type == J_DICT) {
        if (!jval_hashable(x))
            return jinja_fail(j, ERR_JINJA_TYPE, "unhashable type: '%s'", jval_type(x));
        *out = jdict_find(in.dict, x) != NULL;
        return true;
    }
    JVal seq;
    size_t n;
    if (in.type != J_UNDEFINED && in.type != J_RANGE && in.type != J_LOOP && !jval_is_seq(in))
        return jinja_fail(j, ERR_JINJA_TYPE, "argument of type '%s' is not iterable",
                          jval_type(in));
    if (!jinja_seq(j, in, &seq, &n)) return false;
    for (size_t i = 0; i < n && !*out; i++)
        if (!jval_eq(j, jinja_seq_at(seq, i), x, out)) return false;
    return true;
}

// ---- attributes and subscripts ------------------------------------------------------------------

static bool bound(Jinja *j, JVal self, i32 row, JVal *out) {
    JMethod *m = jinja_alloc(j, 1, sizeof *m);
    if (!m) return false;
    *m = (JMethod){self, row};
    *out = (JVal){.type = J_METHOD, .method = m};
    return true;
}

static bool loop_attr(const JLoop *l, Str name, JVal *out) {
    i64 i = (i64)l->i, n = (i64)l->n;
    const struct {
        const char *name;
        JVal v;
    } rows[] = {
        {"index", jval_int(i + 1)},
        {"index0", jval_int(i)},
        {"revindex", jval_int(n - i)},
        {"revindex0", jval_int(n - i - 1)},
        {"first", jval_bool(i == 0)},
        {"last", jval_bool(i == n - 1)},
        {"length", jval_int(n)},
        {"depth", jval_int(l->level + 1)},
        {"depth0", jval_int(l->level)},
        {"previtem",
         i > 0 ? jinja_seq_at(l->seq, l->i - 1) : jval_message(S("there is no previous item"))},
        {"nextitem",
         i + 1 < n ? jinja_seq_at(l->seq, l->i + 1) : jval_message(S("there is no next item"))},
    };
    for (size_t k = 0; k < COUNT_OF(rows); k++) {
        if (str_eq(name, str_c(rows[k].name))) {
            *out = rows[k].v;
            return true;
        }
    }
    return false;
}

// What getattr finds; false without an error when there is nothing of that name.
static bool attribute(Jinja *j, JVal v, Str name, JVal *out, bool *found) {
    i32 row;
    *found = true;
    if (str_starts(name, S("_")) || jinja_method_mutates(v.type, name)) {
        // only names that Python's objects do have; others may be keys
        *found = jinja_method_mutates(v.type, name) ||
                 (str_starts(name, S("__")) && str_ends(name, S("__")));
        *out = jval_undefined(UNDEF_UNSAFE, v.type, name);
        return true;
    }
    if (v.type == J_NAMESPACE) {
        const JPair *p = jdict_find(v.dict, jval_str(name));
        *found = p != NULL;
        if (p) *out = p->val;
        return true;
    }
    if (v.type == J_LOOP && loop_attr(v.loop, name, out)) return true;
    if (v.type == J_CYCLER && str_eq(name, S("current"))) {
        *out = v.cycler->items.list->at[v.cycler->next];
        return true;
    }
    if (v.type == J_MACRO && str_eq(name, S("name"))) {
        *out = jval_str(v.macro->node->str);
        return true;
    }
    if (jinja_method_find(v.type, name, &row)) return bound(j, v, row, out);
    *found = false;
    return true;
}

// What v[key] finds.
static bool element(Jinja *j, JVal v, JVal key, JVal *out, bool *found) {
    *found = false;
    if (v.type == J_DICT) {
        const JPair *p = jval_hashable(key) ? jdict_find(v.dict, key) : NULL;
        *found = p != NULL;
        if (p) *out = p->val;
        return true;
    }
    if (!jval_is_int(key)) return true;
    i64 i = jval_as_int(key);
    if (v.type == J_STR) {
        size_t next, at, n = i < 0 ? jstr_count(v.s) : 0;
        i += (i64)n;
        if (!jinja_step(j, v.s.len / 32)) return false;
        at = i < 0 || (u64)i >= v.s.len ? v.s.len : jstr_offset(v.s, (size_t)i);
        *found = at < v.s.len;
        if (*found) {
            jstr_char(v.s, at, &next);
            *out = jval_str(str_sub(v.s, at, next));
        }
        return true;
    }
    if (v.type == J_LIST || v.type == J_TUPLE || v.type == J_RANGE) {
        i64 n = v.type == J_RANGE ? v.range->n : (i64)v.list->n;
        i += i < 0 ? n : 0;
        *found = i >= 0 && i < n;
        if (*found) *out = jinja_seq_at(v, (size_t)i);
    }
    return true;
}

bool jinja_attr(Jinja *j, JVal v, Str name, JVal *out) {
    bool found;
    if (v.type == J_UNDEFINED) return jinja_use_undefined(j, v);
    if (!attribute(j, v, name, out, &found) || found) return found;
    if (!element(j, v, jval_str(name), out, &found) || found) return found;
    *out = jval_undefined(UNDEF_ATTR, v.type, name);
    return true;
}

bool jinja_item(Jinja *j, JVal v, JVal key, JVal *out) {
    bool found;
    if (v.type == J_UNDEFINED) return jinja_use_undefined(j, v);
    if (!element(j, v, key, out, &found) || found) return found;
    if (key.type == J_STR) {
        if (!attribute(j, v, key.s, out, &found) || found) return found;
        *out = jval_undefined(UNDEF_ATTR, v.type, key.s);
        return true;
    }
    Str text;
    if (!jval_text(j, key, &text)) return false;
    *out = jval_undefined(UNDEF_ITEM, v.type, text);
    return true;
}

static bool slice_bound(Jinja *j, JVal v, i64 *out, bool *has) {
    *has = v.type != J_MISSING && v.type != J_NONE;
    if (!*has) return true;
    if (v.type == J_UNDEFINED) return jinja_use_undefined(j, v);
    if (!jval_is_int(v))
        return jinja_fail(j, ERR_JINJA_TYPE, "slice indices must be integers or None, not %s",
                          jval_type(v));
    *out = jval_as_int(v);
    return true;
}

bool jinja_slice(Jinja *j, JVal v, JVal from, JVal to, JVal step, JVal *out) {
    i64 a = 0, b = 0, s = 1, n;
    bool has_a, has_b, has_s;
    if (v.type == J_UNDEFINED) return jinja_use_undefined(j, v);
    if (v.type != J_STR && v.type != J_LIST && v.type != J_TUPLE && v.type != J_RANGE)
        return jinja_fail(j, ERR_JINJA_TYPE, "'%s' object cannot be sliced", jval_type(v));
    if (!slice_bound(j, from, &a, &has_a) || !slice_bound(j, to, &b, &has_b) ||
        !slice_bound(j, step, &s, &has_s))
        return false;
    if (has_s && s == 0) return jinja_fail(j, ERR_JINJA_RANGE, "slice step cannot be zero");
    n = v.type == J_STR ? (i64)jstr_count(v.s) : v.type == J_RANGE ? v.range->n : (i64)v.list->n;
    if (!jinja_step(j, (u64)n / 16)) return false;
    i64 low = s > 0 ? 0 : -1, high = s > 0 ? n : n - 1;
    a = !has_a ? (s > 0 ? low : high) : a < 0 ? (a < -n ? low : MAX2(a + n, low)) : MIN2(a, high);
    b = !has_b ? (s > 0 ? high : low) : b < 0 ? (b < -n ? low : MAX2(b + n, low)) : MIN2(b, high);
    if (s > n || s < -n) // one step leaves it; also keeps a + s from overflowing
        s = s > 0 ? n + 1 : -n - 1;
    if (v.type == J_STR && s == 1) {
        *out = v;
        if (a >= b)
            out->s.len = 0;
        else
            out->s = str_sub(v.s, jstr_offset(v.s, (size_t)a), jstr_offset(v.s, (size_t)b));
        return true;
    }
    if (v.type == J_RANGE) {
        JRange *r = jinja_alloc(j, 1, sizeof *r);
        if (!r) return false;
        // in u64: the ends may lie outside of 64 bits, where no element does
        u64 first = (u64)v.range->start, by = (u64)v.range->step;
        *r =
            (JRange){(i64)(first + (u64)a * by), (i64)(first + (u64)b * by), (i64)((u64)s * by), 0};
        if (s > 0 ? a < b : a > b) r->n = s > 0 ? (b - a - 1) / s + 1 : (a - b - 1) / -s + 1;
        *out = (JVal){.type = J_RANGE, .range = r};
        return true;
    }
    JVal seq;
    size_t count;
    JList *l = jinja_list(j, 0);
    if (!l || !jinja_seq(j, v, &seq, &count)) return false;
    for (i64 i = a; s > 0 ? i < b : i > b; i += s)
        if (!jinja_push(j, l, jinja_seq_at(seq, (size_t)i))) return false;
    if (!jinja_step(j, l->n / 4)) return false;
    if (v.type != J_STR) {
        *out = jval_seq(j, v.type == J_TUPLE ? J_TUPLE : J_LIST, l);
        return true;
    }
    Buf text = jinja_buf(j);
    for (size_t i = 0; i < l->n; i++) buf_add(&text, l->at[i].s);
    *out = jval_str(buf_str(&text));
    return jinja_buf_ok(j, &text);
}
