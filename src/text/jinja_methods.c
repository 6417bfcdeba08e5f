// text/jinja_methods.c: the methods of dicts, lists and loops, and the table's look-up.
//
// A row says whose method it is, its name, its parameters (bound by place or name before it is
// called) and how many must be there; those of strings are the other half of the table, in
// jinja_strmethods.c. Methods that would change a list or dict are listed apart: the sandbox
// refuses them.
#include "text/jinja_int.h"

#define METHOD(name)                                                                               \
    static bool name(Jinja *j, JVal self, const JVal *v, const JArgs *args, JVal *out)
#define UNUSED_ARGS (void)j, (void)self, (void)v, (void)args

static bool give(JVal *out, JVal v) {
    *out = v;
    return true;
}

static bool given(JVal v) { return v.type != J_MISSING; }

// ---- dicts --------------------------------------------------------------------------------------

METHOD(dict_get) {
    UNUSED_ARGS;
    if (!jval_hashable(v[0]))
        return jinja_fail(j, ERR_JINJA_TYPE, "unhashable type: '%s'", jval_type(v[0]));
    const JPair *p = jdict_find(self.dict, v[0]);
    return give(out, p ? p->val : given(v[1]) ? v[1] : jval_none());
}

static bool view(Jinja *j, const JDict *d, JType type, JVal *out) {
    JList *l = jinja_list(j, d->n);
    if (!l || !jinja_step(j, d->n / 4)) return false;
    for (size_t i = 0; i < d->n; i++) {
        JVal v = type == J_KEYS ? d->at[i].key : d->at[i].val;
        if (type == J_ITEMS) {
            JList *pair = jinja_list(j, 2);
            if (!pair) return false;
            pair->at[0] = d->at[i].key;
            pair->at[1] = d->at[i].val;
            pair->n = 2;
            v = jval_seq(j, J_TUPLE, pair);
        }
        l->at[l->n++] = v;
    }
    return give(out, jval_seq(j, type, l));
}

METHOD(dict_keys) {
    UNUSED_ARGS;
    return view(j, self.dict, J_KEYS, out);
}
METHOD(dict_values) {
    UNUSED_ARGS;
    return view(j, self.dict, J_VALUES, out);
}
METHOD(dict_items) {
    UNUSED_ARGS;
    return view(j, self.dict, J_ITEMS, out);
}
METHOD(copy_self) {
    UNUSED_ARGS;
    return give(out, self);
} // nothing can change it

// ---- lists and tuples ---------------------------------------------------------------------------

static bool list_search(Jinja *j, JVal self, JVal what, i64 *first, i64 *count) {
    *first = -1;
    *count = 0;
    for (size_t i = 0; i < self.list->n; i++) {
        bool same;
        if (!jval_eq(j, self.list->at[i], what, &same)) return false;
        *first = same && *first < 0 ? (i64)i : *first;
        *count += same;
    }
    return true;
}

METHOD(list_index) {
    UNUSED_ARGS;
    i64 first, count;
    if (!list_search(j, self, v[0], &first, &count)) return false;
    return first >= 0 ? give(out, jval_int(first))
                      : jinja_fail(j, ERR_JINJA_ARGS, "the value is not in the list");
}

METHOD(list_count) {
    UNUSED_ARGS;
    i64 first, count;
    return list_search(j, self, v[0], &first, &count) && give(out, jval_int(count));
}

// ---- loops, cyclers -----------------------------------------------------------------------------

METHOD(loop_cycle) {
    UNUSED_ARGS;
    if (args->n == 0) return jinja_fail(j, ERR_JINJA_ARGS, "no items for cycling given");
    return give(out, args->pos[self.loop->i % args->n]);
}

METHOD(loop_changed) {
    UNUSED_ARGS;
    bool same = false;
    JList *l = jinja_list(j, args->n);
    if (!l) return false;
    l->n = args->n;
    if (args->n) memcpy(l->at, args->pos, args->n * sizeof *l->at);
    JVal now = jval_seq(j, J_TUPLE, l);
    if (self.loop->has_last && !jval_eq(j, self.loop->last, now, &same)) return false;
    self.loop->has_last = true;
    self.loop->last = now;
    return give(out, jval_bool(!same));
}

METHOD(cycler_next) {
    UNUSED_ARGS;
    JCycler *c = self.cycler;
    *out = c->items.list->at[c->next];
    c->next = (c->next + 1) % c->items.list->n;
    return true;
}

METHOD(cycler_reset) {
    UNUSED_ARGS;
    self.cycler->next = 0;
    return give(out, jval_none());
}

// ---- the table ----------------------------------------------------------------------------------

static const JMethodRow methods[] = {
    {J_DICT, "get", "key,default", 1, dict_get}, {J_DICT, "keys", "", 0, dict_keys},
    {J_DICT, "values", "", 0, dict_values},      {J_DICT, "items", "", 0, dict_items},
    {J_DICT, "copy", "", 0, copy_self},          {J_LIST, "index", "value", 1, list_index},
    {J_LIST, "count", "value", 1, list_count},   {J_LIST, "copy", "", 0, copy_self},
    {J_TUPLE, "index", "value", 1, list_index},  {J_TUPLE, "count", "value", 1, list_count},
    {J_LOOP, "cycle", "*", 0, loop_cycle},       {J_LOOP, "changed", "*", 0, loop_changed},
    {J_CYCLER, "next", "", 0, cycler_next},      {J_CYCLER, "reset", "", 0, cycler_reset},
};

static const JMethodRow *row_at(i32 row) {
    size_t i = (size_t)row;
    return i < COUNT_OF(methods) ? &methods[i] : &jinja_string_methods[i - COUNT_OF(methods)];
}

bool jinja_method_find(u8 type, Str name, i32 *row) {
    for (i32 i = 0; i < (i32)(COUNT_OF(methods) + jinja_string_method_count); i++) {
        if (row_at(i)->type == type && str_eq(name, str_c(row_at(i)->name))) {
            *row = i;
            return true;
        }
    }
    return false;
}

bool jinja_method_mutates(u8 type, Str name) {
    static const struct {
        u8 type;
        const char *name;
    } rows[] = {{J_LIST, "append"},    {J_LIST, "extend"}, {J_LIST, "insert"}, {J_LIST, "pop"},
                {J_LIST, "remove"},    {J_LIST, "clear"},  {J_LIST, "sort"},   {J_LIST, "reverse"},
                {J_DICT, "update"},    {J_DICT, "pop"},    {J_DICT, "clear"},  {J_DICT, "popitem"},
                {J_DICT, "setdefault"}};
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (rows[i].type == type && str_eq(name, str_c(rows[i].name))) return true;
    return false;
}

bool jinja_method_call(Jinja *j, const JMethod *m, const JArgs *args, JVal *out) {
    JVal v[JINJA_PARAMS];
    const JMethodRow *row = row_at(m->row);
    return jinja_bind(j, "the method", str_c(row->name), row->params, row->required, args, v) &&
           row->fn(j, m->self, v, args, out);
}
