// text/jinja_sequences.c: the filters over sequences: map, select, sort, join and their kin.
//
// What is a generator in Jinja (map, select, ...) is computed at once here but still behaves as
// one: it is true even when empty, has no length, and can be read once, because templates'
// conditions depend on it.
#include "text/jinja_int.h"

#define FILTER(name) static bool name(Jinja *j, const JVal *v, const JArgs *args, JVal *out)
#define UNUSED_ARGS  (void)j, (void)v, (void)args

static bool give(JVal *out, JVal v) {
    *out = v;
    return true;
}

static bool truth_or(JVal v, bool missing) { return v.type == J_MISSING ? missing : jval_truth(v); }

// "a.b.0" of v, each part looked up as v[part] is; what is undefined on the way becomes `missing`
// if that is given.
bool jinja_path(Jinja *j, JVal v, JVal attribute, JVal missing, JVal *out) {
    Str rest, part;
    i64 i;
    if (attribute.type == J_MISSING || attribute.type == J_NONE) return give(out, v);
    bool ok = attribute.type == J_STR;
    if (!ok && !jinja_item(j, v, attribute, out)) return false;
    for (rest = attribute.type == J_STR ? attribute.s : (Str){0}; ok; v = *out) {
        bool last = !str_has(rest, S("."));
        part = str_cut(rest, '.', &rest);
        bool number =
            part.len > 0 && part.ptr[0] >= '0' && part.ptr[0] <= '9' && str_to_i64(part, &i);
        if (!jinja_step(j, 1) || !jinja_item(j, v, number ? jval_int(i) : jval_str(part), out))
            return false;
        if (out->type == J_UNDEFINED && missing.type != J_MISSING && missing.type != J_NONE)
            *out = missing;
        if (last) break;
    }
    return true;
}

// A value as sorting and uniqueness see it.
static bool folded(Jinja *j, JVal v, bool case_sensitive, JVal *out) {
    *out = v;
    return case_sensitive || v.type != J_STR || jstr_case(j, v.s, CASE_LOWER, &out->s);
}

static bool generator(Jinja *j, JList *l, JVal *out) {
    return give(out, jval_seq(j, J_GENERATOR, l));
}

// ---- sorting ------------------------------------------------------------------------------------

typedef struct Keyed {
    JVal key, val;
} Keyed;

// Stable, bottom-up. The arrays swap roles; the sorted one is returned, NULL when a comparison
// failed.
static Keyed *merge_sort(Jinja *j, Keyed *a, Keyed *b, size_t n, bool reverse) {
    for (size_t width = 1; width < n; width *= 2) {
        for (size_t from = 0; from < n; from += 2 * width) {
            size_t mid = MIN2(from + width, n), end = MIN2(from + 2 * width, n), x = from, y = mid;
            for (size_t k = from; k < end; k++) {
                int c = -1;
                if (x < mid && y < end && !jval_cmp(j, a[x].key, a[y].key, "<", &c)) return NULL;
                bool left = y >= end || (x < mid && (reverse ? c >= 0 : c <= 0));
                b[k] = left ? a[x++] : a[y++];
            }
        }
        Keyed *t = a;
        a = b;
        b = t;
    }
    return a;
}

static bool sorted(Jinja *j, JVal v, JVal attribute, JVal missing, bool case_sensitive,
                   bool reverse, Keyed **out, size_t *n) {
    JVal seq;
    if (!jinja_seq(j, v, &seq, n)) return false;
    Keyed *a = jinja_alloc(j, *n + 1, sizeof *a), *b = a ? jinja_alloc(j, *n + 1, sizeof *b) : NULL;
    if (!b) return false;
    for (size_t i = 0; i < *n; i++) {
        a[i].val = jinja_seq_at(seq, i);
        if (!jinja_path(j, a[i].val, attribute, missing, &a[i].key) ||
            !folded(j, a[i].key, case_sensitive, &a[i].key))
            return false;
    }
    return (*out = merge_sort(j, a, b, *n, reverse)) != NULL;
}

FILTER(f_sort) {
    UNUSED_ARGS;
    Keyed *k;
    size_t n;
    if (!sorted(j, v[0], v[3], (JVal){.type = J_MISSING}, truth_or(v[2], false),
                truth_or(v[1], false), &k, &n))
        return false;
    JList *l = jinja_list(j, n);
    for (size_t i = 0; l && i < n; i++) l->at[l->n++] = k[i].val;
    return l && give(out, jval_seq(j, J_LIST, l));
}

static bool pair(Jinja *j, JVal x, JVal y, JVal *out) {
    JList *l = jinja_list(j, 2);
    if (!l) return false;
    l->at[0] = x;
    l->at[1] = y;
    l->n = 2;
    return give(out, jval_seq(j, J_TUPLE, l));
}

static bool pairs_of(Jinja *j, JVal v, JList **out) {
    if (v.type != J_DICT)
        return jinja_fail(j, ERR_JINJA_TYPE, "Can only get item pairs from a mapping.");
    JList *l = jinja_list(j, v.dict->n);
    for (size_t i = 0; l && i < v.dict->n; i++)
        if (!pair(j, v.dict->at[i].key, v.dict->at[i].val, &l->at[l->n++])) return false;
    *out = l;
    return l != NULL;
}

FILTER(f_items) {
    UNUSED_ARGS;
    JList *l;
    if (v[0].type == J_UNDEFINED) return (l = jinja_list(j, 0)) && generator(j, l, out);
    return pairs_of(j, v[0], &l) && generator(j, l, out);
}

FILTER(f_dictsort) {
    UNUSED_ARGS;
    JList *l;
    Str by;
    Keyed *k;
    size_t n;
    if (!pairs_of(j, v[0], &l) || !jinja_arg_str(j, v[2], S("key"), &by)) return false;
    bool value = str_eq(by, S("value"));
    if (!value && !str_eq(by, S("key")))
        return jinja_fail(j, ERR_JINJA_ARGS, "You can only sort by either \"key\" or \"value\"");
    if (!sorted(j, jval_seq(j, J_LIST, l), jval_int(value), (JVal){.type = J_MISSING},
                truth_or(v[1], false), truth_or(v[3], false), &k, &n))
        return false;
    for (size_t i = 0; i < n; i++) l->at[i] = k[i].val;
    return give(out, jval_seq(j, J_LIST, l));
}

FILTER(f_groupby) {
    UNUSED_ARGS;
    Keyed *k;
    size_t n;
    JList *groups = jinja_list(j, 0), *group = NULL;
    if (!groups || !sorted(j, v[0], v[1], v[2], truth_or(v[3], false), false, &k, &n)) return false;
    for (size_t i = 0; i < n; i++) {
        bool same = i > 0;
        JVal p;
        if (same && !jval_eq(j, k[i - 1].key, k[i].key, &same)) return false;
        if (!same) {
            JVal name;
            if (!(group = jinja_list(j, 0)) || !jinja_path(j, k[i].val, v[1], v[2], &name) ||
                !pair(j, name, jval_seq(j, J_LIST, group), &p) || !jinja_push(j, groups, p))
                return false;
        }
        if (!jinja_push(j, group, k[i].val)) return false;
    }
    return give(out, jval_seq(j, J_LIST, groups));
}

static bool extreme(Jinja *j, const JVal *v, bool most, JVal *out) {
    JVal seq, best = {0};
    size_t n;
    if (!jinja_seq(j, v[0], &seq, &n)) return false;
    *out = jval_message(S("No aggregated item, sequence was empty."));
    for (size_t i = 0; i < n; i++) {
        JVal key, x = jinja_seq_at(seq, i);
        int c = 0;
        if (!jinja_path(j, x, v[2], (JVal){.type = J_MISSING}, &key) ||
            !folded(j, key, truth_or(v[1], false), &key))
            return false;
        if (i && !jval_cmp(j, key, best, most ? ">" : "<", &c)) return false;
        if (i == 0 || c == (most ? 1 : -1)) {
            best = key;
            *out = x;
        }
    }
    return true;
}

FILTER(f_max) {
    UNUSED_ARGS;
    return extreme(j, v, true, out);
}
FILTER(f_min) {
    UNUSED_ARGS;
    return extreme(j, v, false, out);
}

FILTER(f_sum) {
    UNUSED_ARGS;
    JVal seq;
    size_t n;
    *out = v[2].type == J_MISSING ? jval_int(0) : v[2];
    if (!jinja_seq(j, v[0], &seq, &n)) return false;
    for (size_t i = 0; i < n; i++) {
        JVal x;
        if (!jinja_path(j, jinja_seq_at(seq, i), v[1], (JVal){.type = J_MISSING}, &x) ||
            !jinja_binary(j, '+', *out, x, out))
            return false;
    }
    return true;
}

// ---- elements -----------------------------------------------------------------------------------

FILTER(f_length) {
    UNUSED_ARGS;
    JVal seq;
    size_t n;
    if (v[0].type == J_STR)
        return jinja_step(j, v[0].s.len / 32) && give(out, jval_int((i64)jstr_count(v[0].s)));
    bool has = v[0].type == J_DICT || v[0].type == J_RANGE || v[0].type == J_LOOP ||
               v[0].type == J_UNDEFINED || (jval_is_seq(v[0]) && v[0].type != J_GENERATOR);
    if (!has)
        return jinja_fail(j, ERR_JINJA_TYPE, "object of type '%s' has no len()", jval_type(v[0]));
    return jinja_seq(j, v[0], &seq, &n) && give(out, jval_int((i64)n));
}

FILTER(f_first) {
    UNUSED_ARGS;
    JVal seq;
    size_t n;
    if (v[0].type == J_GENERATOR) {
        JList *l = v[0].list;
        return give(out, l->next < l->n ? l->at[l->next++]
                                        : jval_message(S("No first item, sequence was empty.")));
    }
    return jinja_seq(j, v[0], &seq, &n) &&
           give(out,
                n ? jinja_seq_at(seq, 0) : jval_message(S("No first item, sequence was empty.")));
}

FILTER(f_last) {
    UNUSED_ARGS;
    JVal seq;
    size_t n;
    if (v[0].type == J_GENERATOR)
        return jinja_fail(j, ERR_JINJA_TYPE, "'generator' object is not reversible");
    return jinja_seq(j, v[0], &seq, &n) &&
           give(out, n ? jinja_seq_at(seq, n - 1)
                       : jval_message(S("No last item, sequence was empty.")));
}

FILTER(f_list) {
    UNUSED_ARGS;
    JVal seq;
    size_t n;
    if (!jinja_seq(j, v[0], &seq, &n)) return false;
    JList *l = jinja_list(j, n);
    for (size_t i = 0; l && i < n; i++) l->at[l->n++] = jinja_seq_at(seq, i);
    return l && jinja_step(j, n / 4) && give(out, jval_seq(j, J_LIST, l));
}

FILTER(f_reverse) {
    UNUSED_ARGS;
    JVal seq;
    size_t n;
    if (!jinja_seq(j, v[0], &seq, &n)) return false;
    JList *l = jinja_list(j, n);
    for (size_t i = n; l && i-- > 0;) l->at[l->n++] = jinja_seq_at(seq, i);
    if (!l || !jinja_step(j, n / 4)) return false;
    // what has no order of its own to turn round becomes a list first
    if (v[0].type == J_GENERATOR) return give(out, jval_seq(j, J_LIST, l));
    if (v[0].type != J_STR) return generator(j, l, out);
    Buf b = jinja_buf(j);
    for (size_t i = 0; i < n; i++) buf_add(&b, l->at[i].s);
    return jinja_buf_ok(j, &b) && give(out, jval_str(buf_str(&b)));
}

FILTER(f_unique) {
    UNUSED_ARGS;
    JVal seq;
    size_t n;
    JList *l = jinja_list(j, 0);
    JDict *seen = jinja_alloc(j, 1, sizeof *seen);
    if (!l || !seen || !jinja_seq(j, v[0], &seq, &n)) return false;
    for (size_t i = 0; i < n; i++) {
        JVal key, x = jinja_seq_at(seq, i);
        if (!jinja_step(j, 2) || !jinja_path(j, x, v[2], (JVal){.type = J_MISSING}, &key) ||
            !folded(j, key, truth_or(v[1], false), &key))
            return false;
        if (!jval_hashable(key))
            return jinja_fail(j, ERR_JINJA_TYPE, "unhashable type: '%s'", jval_type(key));
        if (!jdict_find(seen, key) &&
            (!jdict_put(j->arena, seen, key, jval_none()) || !jinja_push(j, l, x)))
            return false;
    }
    return generator(j, l, out);
}

FILTER(f_join) {
    UNUSED_ARGS;
    JVal seq;
    size_t n;
    Str sep;
    Buf b = jinja_buf(j);
    if (!jinja_arg_str(j, v[1], S(""), &sep) || !jinja_seq(j, v[0], &seq, &n)) return false;
    for (size_t i = 0; i < n; i++) {
        JVal x;
        if (!jinja_path(j, jinja_seq_at(seq, i), v[2], (JVal){.type = J_MISSING}, &x)) return false;
        if (i) buf_add(&b, sep);
        if (!jinja_step(j, 1 + sep.len / 64) || !jval_str_add(j, x, &b) || !jinja_buf_ok(j, &b))
            return false;
    }
    return give(out, jval_str(buf_str(&b)));
}

static bool batches(Jinja *j, const JVal *v, bool columns, JVal *out) {
    JVal seq;
    size_t n;
    i64 size;
    bool fill = v[2].type != J_MISSING && v[2].type != J_NONE;
    JList *l = jinja_list(j, 0);
    if (!l || !jinja_arg_int(j, v[1], 0, &size) || !jinja_seq(j, v[0], &seq, &n)) return false;
    if (size < 1) return jinja_fail(j, ERR_JINJA_ARGS, "a size of at least 1 is wanted");
    if (columns && size > 100000) return jinja_fail(j, ERR_JINJA_RANGE, "more than 100000 slices");
    size_t each = columns ? n / (size_t)size : (size_t)size, extra = columns ? n % (size_t)size : 0,
           at = 0;
    for (size_t k = 0; columns ? k < (size_t)size : at < n; k++) {
        size_t want = each + (k < extra), most = columns ? each + (extra > 0) : want;
        JList *row = jinja_list(j, 0);
        if (!row || !jinja_push(j, l, jval_seq(j, J_LIST, row))) return false;
        for (; row->n < want && at < n; at++)
            if (!jinja_push(j, row, jinja_seq_at(seq, at))) return false;
        while (fill && row->n < most)
            if (!jinja_step(j, 1) || !jinja_push(j, row, v[2])) return false;
    }
    return jinja_step(j, n / 4) && generator(j, l, out);
}

FILTER(f_batch) {
    UNUSED_ARGS;
    return batches(j, v, false, out);
}
FILTER(f_slice) {
    UNUSED_ARGS;
    return batches(j, v, true, out);
}

// ---- map and select -----------------------------------------------------------------------------

// args without the first `skip`.
static JArgs rest_of(const JArgs *args, size_t skip) {
    JArgs a = *args;
    a.n -= MIN2(skip, a.n);
    a.pos = a.pos ? a.pos + MIN2(skip, args->n) : NULL;
    return a;
}

FILTER(f_map) {
    JVal seq, attribute = {.type = J_MISSING}, missing = {.type = J_MISSING};
    size_t n;
    i32 row = -1;
    JList *l = jinja_list(j, 0);
    if (!jval_truth(v[0])) // none has no elements either; nothing else is looked at
        return l && generator(j, l, out);
    for (size_t i = 0; args->n == 0 && i < args->nkw; i++) {
        if (str_eq(args->kw[i], S("attribute")))
            attribute = args->kwval[i];
        else if (str_eq(args->kw[i], S("default")))
            missing = args->kwval[i];
        else
            return jinja_fail(j, ERR_JINJA_ARGS, "Unexpected keyword argument '%S'", args->kw[i]);
    }
    if (attribute.type == J_MISSING) {
        Str name;
        if (args->n == 0) return jinja_fail(j, ERR_JINJA_ARGS, "map requires a filter argument");
        if (!jval_text(j, args->pos[0], &name)) return false;
        if ((row = jinja_filter_find(name)) < 0)
            return jinja_fail(j, ERR_JINJA_NAME, "there is no filter named %S", name);
    }
    if (!l || !jinja_seq(j, v[0], &seq, &n)) return false;
    JArgs rest = rest_of(args, 1);
    for (size_t i = 0; i < n; i++) {
        JVal x = jinja_seq_at(seq, i), y;
        if (!jinja_step(j, 1) ||
            !(row >= 0 ? jinja_filter(j, row, x, &rest, &y)
                       : jinja_path(j, x, attribute, missing, &y)) ||
            !jinja_push(j, l, y))
            return false;
    }
    return generator(j, l, out);
}

static bool choose(Jinja *j, JVal v, const JArgs *args, bool by_attribute, bool keep, JVal *out) {
    JVal seq, attribute = {.type = J_MISSING};
    size_t n, used = 0;
    i32 row = -1;
    JList *l = jinja_list(j, 0);
    if (!jval_truth(v)) return l && generator(j, l, out);
    if (by_attribute) {
        if (args->n == 0)
            return jinja_fail(j, ERR_JINJA_ARGS, "Missing parameter for attribute name");
        attribute = args->pos[used++];
    }
    if (args->n > used) {
        Str name;
        if (!jval_text(j, args->pos[used++], &name)) return false;
        if ((row = jinja_test_find(name)) < 0)
            return jinja_fail(j, ERR_JINJA_NAME, "there is no test named %S", name);
    }
    if (!l || !jinja_seq(j, v, &seq, &n)) return false;
    JArgs rest = rest_of(args, used);
    for (size_t i = 0; i < n; i++) {
        JVal x = jinja_seq_at(seq, i), y;
        bool yes;
        if (!jinja_step(j, 1) || !jinja_path(j, x, attribute, (JVal){.type = J_MISSING}, &y))
            return false;
        yes = jval_truth(y);
        if ((row >= 0 && !jinja_test(j, row, y, &rest, &yes)) ||
            (yes == keep && !jinja_push(j, l, x)))
            return false;
    }
    return generator(j, l, out);
}

FILTER(f_select) { return choose(j, v[0], args, false, true, out); }
FILTER(f_reject) { return choose(j, v[0], args, false, false, out); }
FILTER(f_selectattr) { return choose(j, v[0], args, true, true, out); }
FILTER(f_rejectattr) { return choose(j, v[0], args, true, false, out); }

const JFilterRow jinja_sequence_filters[] = {
    {"batch", "linecount,fill_with", 1, f_batch},
    {"count", "", 0, f_length},
    {"dictsort", "case_sensitive,by,reverse", 0, f_dictsort},
    {"first", "", 0, f_first},
    {"groupby", "attribute,default,case_sensitive", 1, f_groupby},
    {"items", "", 0, f_items},
    {"join", "d,attribute", 0, f_join},
    {"last", "", 0, f_last},
    {"length", "", 0, f_length},
    {"list", "", 0, f_list},
    {"map", "*", 0, f_map},
    {"max", "case_sensitive,attribute", 0, f_max},
    {"min", "case_sensitive,attribute", 0, f_min},
    {"reject", "*", 0, f_reject},
    {"rejectattr", "*", 0, f_rejectattr},
    {"reverse", "", 0, f_reverse},
    {"select", "*", 0, f_select},
    {"selectattr", "*", 0, f_selectattr},
    {"slice", "slices,fill_with", 1, f_slice},
    {"sort", "reverse,case_sensitive,attribute", 0, f_sort},
    {"sum", "attribute,start", 0, f_sum},
    {"unique", "case_sensitive,attribute", 0, f_unique},
};
const size_t jinja_sequence_filter_count = COUNT_OF(jinja_sequence_filters);
