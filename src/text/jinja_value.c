// text/jinja_value.c: the values of templates: building, comparing, walking over their elements.
//
// They behave as Python's do, because templates were written against Python: 1 == 1.0 == True,
// dicts keep their order. Recursion over values is bounded, since a template can nest them without
// end through a namespace. Operators are in jinja_ops.c, printing in jinja_repr.c.
#include "text/jinja_int.h"

#include <assert.h>

// ---- builders -----------------------------------------------------------------------------------

JVal jval_none(void) { return (JVal){.type = J_NONE}; }

JVal jval_bool(bool b) { return (JVal){.type = J_BOOL, .b = b}; }

JVal jval_int(i64 i) { return (JVal){.type = J_INT, .i = i}; }

JVal jval_float(double f) { return (JVal){.type = J_FLOAT, .f = f}; }

JVal jval_str(Str s) { return (JVal){.type = J_STR, .s = s}; }

JVal jval_list(Arena *a) { return (JVal){.type = J_LIST, .list = NEW(a, JList)}; }

void jval_list_add(Arena *a, JVal list, JVal v) {
    must(list.type == J_LIST);
    vec_push(a, list.list, v);
}

JVal jval_dict(Arena *a) { return (JVal){.type = J_DICT, .dict = NEW(a, JDict)}; }

void jval_dict_put(Arena *a, JVal dict, Str key, JVal v) {
    must(dict.type == J_DICT);
    jdict_put(a, dict.dict, jval_str(key), v);
}

bool jval_dict_get(JVal dict, Str key, JVal *out) {
    const JPair *p = dict.type == J_DICT ? jdict_find(dict.dict, jval_str(key)) : NULL;
    if (p) *out = p->val;
    return p != NULL;
}

size_t jval_len(JVal v) {
    return v.type == J_LIST || v.type == J_TUPLE ? v.list->n : v.type == J_DICT ? v.dict->n : 0;
}

JVal jval_list_at(JVal v, size_t i) {
    return (v.type == J_LIST || v.type == J_TUPLE) && i < v.list->n ? v.list->at[i] : (JVal){0};
}

Str jval_dict_key(JVal v, size_t i) {
    bool is = v.type == J_DICT && i < v.dict->n && v.dict->at[i].key.type == J_STR;
    return is ? v.dict->at[i].key.s : S("");
}

JVal jval_undefined(u8 from, u8 owner, Str name) {
    return (JVal){.type = J_UNDEFINED, .from = from, .owner = owner, .s = name};
}

JVal jval_message(Str why) { return jval_undefined(UNDEF_MESSAGE, 0, why); }

JVal jval_seq(Jinja *j, JType type, JList *l) {
    (void)j;
    return (JVal){.type = (u8)type, .list = l};
}

JList *jinja_list(Jinja *j, size_t room) {
    JList *l = jinja_alloc(j, 1, sizeof *l);
    if (!l || room == 0) return l;
    l->at = jinja_alloc(j, room, sizeof *l->at);
    l->cap = room;
    return l->at ? l : NULL;
}

bool jinja_push(Jinja *j, JList *l, JVal v) {
    if (l->n == l->cap) {
        size_t cap = l->cap ? l->cap * 2 : 8;
        JVal *at = jinja_alloc(j, cap, sizeof *at);
        if (!at) return false;
        if (l->n) memcpy(at, l->at, l->n * sizeof *at);
        l->at = at;
        l->cap = cap;
    }
    l->at[l->n++] = v;
    return true;
}

// ---- dicts --------------------------------------------------------------------------------------

bool jval_num(JVal v, double *out) {
    *out = v.type == J_FLOAT ? v.f : jval_is_int(v) ? (double)jval_as_int(v) : 0;
    return v.type == J_FLOAT || jval_is_int(v);
}

bool jval_hashable(JVal v) {
    if (v.type == J_TUPLE) { // tuples of scalars only: enough for keys, and no recursion
        for (size_t i = 0; i < v.list->n; i++)
            if (v.list->at[i].type < J_NONE || v.list->at[i].type > J_STR) return false;
        return true;
    }
    return v.type != J_LIST && v.type != J_DICT && v.type != J_KEYS && v.type != J_VALUES &&
           v.type != J_ITEMS;
}

static u64 key_hash(JVal v) {
    double f;
    if (v.type == J_STR) return hash_str(1, v.s);
    if (jval_num(v, &f)) // 1, 1.0 and True are one key
        return hash_bytes(2, &f, f == 0 ? 0 : sizeof f);
    if (v.type == J_TUPLE) {
        u64 h = 3;
        for (size_t i = 0; i < v.list->n; i++) h = h * 31 + key_hash(v.list->at[i]);
        return h;
    }
    return v.type;
}

static bool key_eq(JVal x, JVal y) {
    double f, g;
    if (x.type == J_STR || y.type == J_STR) return x.type == y.type && str_eq(x.s, y.s);
    if (jval_is_int(x) && jval_is_int(y)) return jval_as_int(x) == jval_as_int(y);
    if (jval_num(x, &f) && jval_num(y, &g)) return f == g;
    if (x.type != y.type) return false;
    if (x.type == J_TUPLE) {
        bool same = x.list->n == y.list->n;
        for (size_t i = 0; same && i < x.list->n; i++) same = key_eq(x.list->at[i], y.list->at[i]);
        return same;
    }
    return x.type == J_NONE || x.type == J_UNDEFINED || x.list == y.list;
}

enum { DICT_SCAN = 12 }; // up to here a scan is quicker than a hash

const JPair *jdict_find(const JDict *d, JVal key) {
    if (!d->index) {
        for (size_t i = 0; i < d->n; i++)
            if (key_eq(d->at[i].key, key)) return &d->at[i];
        return NULL;
    }
    for (size_t i = key_hash(key) & (d->index_cap - 1); d->index[i];
         i = (i + 1) & (d->index_cap - 1))
        if (key_eq(d->at[d->index[i] - 1].key, key)) return &d->at[d->index[i] - 1];
    return NULL;
}

bool jdict_put(Arena *a, JDict *d, JVal key, JVal v) {
    JPair *p = (JPair *)jdict_find(d, key);
    if (p) {
        p->val = v;
        return true;
    }
    if (d->n >= UINT32_MAX / 4) return false;
    vec_push(a, d, ((JPair){key, v}));
    if (d->n <= DICT_SCAN) return true;
    size_t from = d->n - 1;
    if (d->n * 2 > d->index_cap) {
        d->index_cap = d->index_cap ? d->index_cap * 2 : 64;
        d->index = NEW_N(a, u32, d->index_cap);
        from = 0;
    }
    for (; from < d->n; from++) {
        size_t i = key_hash(d->at[from].key) & (d->index_cap - 1);
        while (d->index[i]) i = (i + 1) & (d->index_cap - 1);
        d->index[i] = (u32)from + 1;
    }
    return true;
}

// ---- what a value is ----------------------------------------------------------------------------

const char *jval_type_name(u8 type) {
    static const char *const names[] = {
        "Undefined",
        "NoneType",
        "bool",
        "int",
        "float",
        "str",
        "list",
        "tuple",
        "dict",
        "range",
        "dict_keys",
        "dict_values",
        "dict_items",
        "generator",
        "Namespace",
        "LoopContext",
        "Macro",
        "function",
        "builtin_function_or_method",
        "Cycler",
        "Joiner",
    };
    static_assert(COUNT_OF(names) == J_TYPE_COUNT, "a name for every JType");
    return type < J_TYPE_COUNT ? names[type] : "nothing";
}

bool jval_truth(JVal v) {
    switch (v.type) {
    case J_UNDEFINED:
    case J_NONE: return false;
    case J_BOOL: return v.b;
    case J_INT: return v.i != 0;
    case J_FLOAT: return v.f != 0;
    case J_STR: return v.s.len != 0;
    case J_LIST:
    case J_TUPLE:
    case J_KEYS:
    case J_VALUES:
    case J_ITEMS: return v.list->n != 0;
    case J_DICT: return v.dict->n != 0;
    case J_RANGE: return v.range->n != 0;
    case J_LOOP: return v.loop->n != 0;
    default: return true;
    }
}

bool jinja_seq(Jinja *j, JVal v, JVal *seq, size_t *n) {
    *seq = v;
    switch (v.type) {
    case J_UNDEFINED:
        if (v.from == UNDEF_UNSAFE) return jinja_use_undefined(j, v);
        *n = 0;
        return true;
    case J_GENERATOR: { // what is left of it, and nothing after that
        JList *l = jinja_list(j, 0);
        if (!l) return false;
        if (v.list->next < v.list->n)
            *l = (JList){.at = v.list->at + v.list->next, .n = v.list->n - v.list->next};
        v.list->next = v.list->n;
        *seq = jval_seq(j, J_LIST, l);
        *n = l->n;
        return true;
    }
    case J_DICT: *n = v.dict->n; return true;
    case J_RANGE: *n = (size_t)v.range->n; return true;
    case J_STR: {
        JList *l = jinja_step(j, v.s.len) ? jinja_list(j, jstr_count(v.s)) : NULL;
        if (!l) return false;
        for (size_t i = 0, next; i < v.s.len; i = next) {
            jstr_char(v.s, i, &next);
            l->at[l->n++] = jval_str(str_sub(v.s, i, next));
        }
        *seq = jval_seq(j, J_LIST, l);
        *n = l->n;
        return true;
    }
    case J_LOOP:
        *seq = v.loop->seq;
        *n = v.loop->n;
        return true;
    default:
        if (!jval_is_seq(v))
            return jinja_fail(j, ERR_JINJA_TYPE, "'%s' object is not iterable", jval_type(v));
        *n = v.list->n;
        return true;
    }
}

JVal jinja_seq_at(JVal s, size_t i) {
    if (s.type == J_DICT) return s.dict->at[i].key;
    if (s.type == J_RANGE) return jval_int(s.range->start + s.range->step * (i64)i);
    return s.list->at[i];
}

// ---- equality and order -------------------------------------------------------------------------

bool jval_deep(Jinja *j, u32 depth) {
    if (depth > JINJA_VALUE_DEPTH)
        return jinja_fail(j, ERR_JINJA_DEPTH, "this value nests deeper than %d levels",
                          JINJA_VALUE_DEPTH);
    return jinja_step(j, 1);
}

static bool eq(Jinja *j, JVal x, JVal y, u32 depth, bool *out) {
    *out = false;
    if (!jval_deep(j, depth)) return false;
    if (x.type == y.type && (jval_is_seq(x) || x.type == J_DICT) && x.list == y.list) {
        *out = true;
        return true;
    }
    if (x.type == J_DICT && y.type == J_DICT) {
        bool same = x.dict->n == y.dict->n;
        for (size_t i = 0; same && i < x.dict->n; i++) {
            const JPair *p = jdict_find(y.dict, x.dict->at[i].key);
            same = p != NULL;
            if (p && !eq(j, x.dict->at[i].val, p->val, depth + 1, &same)) return false;
        }
        *out = same;
        return true;
    }
    if ((x.type == J_LIST || x.type == J_TUPLE || x.type == J_KEYS || x.type == J_ITEMS) &&
        x.type == y.type) {
        bool same = x.list->n == y.list->n;
        for (size_t i = 0; same && i < x.list->n; i++)
            if (!eq(j, x.list->at[i], y.list->at[i], depth + 1, &same)) return false;
        *out = same;
        return true;
    }
    if (x.type == J_RANGE && y.type == J_RANGE) {
        const JRange *r = x.range, *s = y.range;
        *out = r->n == s->n &&
               (r->n == 0 || (r->start == s->start && (r->n == 1 || r->step == s->step)));
        return true;
    }
    if (x.type == J_STR && y.type == J_STR && !jinja_step(j, MIN2(x.s.len, y.s.len) / 64))
        return false;
    *out = key_eq(x, y);
    return true;
}

bool jval_eq(Jinja *j, JVal x, JVal y, bool *out) { return eq(j, x, y, 0, out); }

static bool cmp(Jinja *j, JVal x, JVal y, const char *op, u32 depth, int *out) {
    double f, g;
    if (!jval_deep(j, depth)) return false;
    if (jval_is_int(x) && jval_is_int(y)) {
        i64 a = jval_as_int(x), b = jval_as_int(y);
        *out = (a > b) - (a < b);
        return true;
    }
    if (jval_num(x, &f) && jval_num(y, &g)) {
        *out = f != f || g != g ? 2 : (f > g) - (f < g);
        return true;
    }
    if (x.type == J_STR && y.type == J_STR) { // UTF-8 sorts as its code points do
        int c = str_cmp(x.s, y.s);
        *out = (c > 0) - (c < 0);
        return jinja_step(j, MIN2(x.s.len, y.s.len) / 64);
    }
    if ((x.type == J_LIST || x.type == J_TUPLE) && x.type == y.type) {
        for (size_t i = 0; i < x.list->n && i < y.list->n; i++) {
            bool same;
            if (!eq(j, x.list->at[i], y.list->at[i], depth + 1, &same)) return false;
            if (!same) return cmp(j, x.list->at[i], y.list->at[i], op, depth + 1, out);
        }
        *out = (x.list->n > y.list->n) - (x.list->n < y.list->n);
        return true;
    }
    if (x.type == J_UNDEFINED || y.type == J_UNDEFINED)
        return jinja_use_undefined(j, x.type == J_UNDEFINED ? x : y);
    return jinja_fail(j, ERR_JINJA_TYPE, "'%s' not supported between instances of '%s' and '%s'",
                      op, jval_type(x), jval_type(y));
}

bool jval_cmp(Jinja *j, JVal x, JVal y, const char *op, int *out) {
    return cmp(j, x, y, op, 0, out);
}
