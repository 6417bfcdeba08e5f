// text/jinja_globals.c: the functions every template can call, one row each.
//
// range, dict, namespace, cycler and joiner are Jinja's; raise_exception and strftime_now are what
// transformers adds.
#include "text/jinja_int.h"

#define GLOBAL(name) static bool name(Jinja *j, const JVal *v, const JArgs *args, JVal *out)
#define UNUSED_ARGS  (void)j, (void)v, (void)args, (void)out

enum { RANGE_MOST = 100000 }; // as Jinja's sandbox

GLOBAL(g_range) {
    UNUSED_ARGS;
    i64 start = 0, stop, step;
    bool two = v[1].type != J_MISSING;
    if (!jinja_arg_int(j, v[0], 0, two ? &start : &stop) ||
        (two && !jinja_arg_int(j, v[1], 0, &stop)) || !jinja_arg_int(j, v[2], 1, &step))
        return false;
    if (step == 0) return jinja_fail(j, ERR_JINJA_ARGS, "range() arg 3 must not be zero");
    u64 n = 0;
    if (step > 0 ? start < stop : start > stop) {
        u64 span = step > 0 ? (u64)stop - (u64)start : (u64)start - (u64)stop,
            by = step > 0 ? (u64)step : 0 - (u64)step;
        n = (span - 1) / by + 1;
    }
    if (n > RANGE_MOST)
        return jinja_fail(j, ERR_JINJA_RANGE, "this range has %U items: at most %d are allowed", n,
                          RANGE_MOST);
    JRange *r = jinja_alloc(j, 1, sizeof *r);
    if (!r) return false;
    *r = (JRange){start, stop, step, (i64)n};
    *out = (JVal){.type = J_RANGE, .range = r};
    return true;
}

static bool fill_dict(Jinja *j, JDict *d, const JArgs *args) {
    if (args->n > 1)
        return jinja_fail(j, ERR_JINJA_ARGS, "dict expected at most 1 argument, got %D",
                          (i64)args->n);
    if (args->n == 1 && args->pos[0].type == J_DICT) {
        const JDict *from = args->pos[0].dict;
        for (size_t i = 0; i < from->n; i++)
            if (!jinja_step(j, 1) || !jdict_put(j->arena, d, from->at[i].key, from->at[i].val))
                return false;
    } else if (args->n == 1) { // pairs
        JVal seq;
        size_t n;
        if (!jinja_seq(j, args->pos[0], &seq, &n)) return false;
        for (size_t i = 0; i < n; i++) {
            JVal pair = jinja_seq_at(seq, i);
            if ((pair.type != J_LIST && pair.type != J_TUPLE) || pair.list->n != 2 ||
                !jval_hashable(pair.list->at[0]))
                return jinja_fail(j, ERR_JINJA_ARGS, "dict wants pairs of a key and a value");
            if (!jinja_step(j, 1) || !jdict_put(j->arena, d, pair.list->at[0], pair.list->at[1]))
                return false;
        }
    }
    for (size_t i = 0; i < args->nkw; i++)
        if (!jdict_put(j->arena, d, jval_str(args->kw[i]), args->kwval[i])) return false;
    return true;
}

static bool new_dict(Jinja *j, JType type, const JArgs *args, JVal *out) {
    JDict *d = jinja_alloc(j, 1, sizeof *d);
    if (!d || !fill_dict(j, d, args)) return false;
    *out = (JVal){.type = (u8)type, .dict = d};
    return true;
}

GLOBAL(g_dict) {
    UNUSED_ARGS;
    return new_dict(j, J_DICT, args, out);
}
GLOBAL(g_namespace) {
    UNUSED_ARGS;
    return new_dict(j, J_NAMESPACE, args, out);
}

GLOBAL(g_cycler) {
    UNUSED_ARGS;
    JCycler *c = jinja_alloc(j, 1, sizeof *c);
    JList *l = jinja_list(j, args->n);
    if (!c || !l) return false;
    if (args->n == 0) return jinja_fail(j, ERR_JINJA_ARGS, "at least one item has to be provided");
    memcpy(l->at, args->pos, args->n * sizeof *l->at);
    l->n = args->n;
    c->items = jval_seq(j, J_LIST, l);
    *out = (JVal){.type = J_CYCLER, .cycler = c};
    return true;
}

GLOBAL(g_joiner) {
    UNUSED_ARGS;
    JCycler *c = jinja_alloc(j, 1, sizeof *c);
    if (!c) return false;
    c->items = v[0].type == J_MISSING ? jval_str(S(", ")) : v[0];
    *out = (JVal){.type = J_JOINER, .cycler = c};
    return true;
}

GLOBAL(g_raise_exception) {
    UNUSED_ARGS;
    Str s;
    return jval_text(j, v[0], &s) && jinja_fail(j, ERR_JINJA_RAISED, "%S", s);
}

GLOBAL(g_strftime_now) {
    UNUSED_ARGS;
    Str s;
    if (!jinja_arg_str(j, v[0], S(""), &s)) return false;
    if (!jinja_strftime(j, s, j->env->now, &s)) return false;
    *out = jval_str(s);
    return true;
}

static const JFilterRow rows[] = {
    {"range", "start,stop,step", 1, g_range},
    {"dict", "*", 0, g_dict},
    {"namespace", "*", 0, g_namespace},
    {"cycler", "*", 0, g_cycler},
    {"joiner", "sep", 0, g_joiner},
    {"raise_exception", "message", 1, g_raise_exception},
    {"strftime_now", "format", 1, g_strftime_now},
};

i32 jinja_global_find(Str name) {
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (str_eq(name, str_c(rows[i].name))) return (i32)i;
    return -1;
}

bool jinja_global_call(Jinja *j, i32 row, const JArgs *args, JVal *out) {
    JVal v[JINJA_PARAMS];
    const JFilterRow *r = &rows[row];
    return jinja_bind(j, "the function", str_c(r->name), r->params, r->required, args, v) &&
           r->fn(j, v, args, out);
}
