// text/jinja_call.c: arguments, and calls of macros, methods and functions.
//
// A macro's body runs in a scope of its own inside the scope it was made in, as that is when it is
// called; what it writes is its value. A recursive loop is called in the same way.
#include "text/jinja_int.h"

bool jinja_arg_int(Jinja *j, JVal v, i64 missing, i64 *out) {
    *out = missing;
    if (v.type == J_MISSING) return true;
    if (v.type == J_UNDEFINED) return jinja_use_undefined(j, v);
    if (!jval_is_int(v))
        return jinja_fail(j, ERR_JINJA_TYPE, "an integer is wanted, not '%s'", jval_type(v));
    *out = jval_as_int(v);
    return true;
}

bool jinja_arg_str(Jinja *j, JVal v, Str missing, Str *out) {
    *out = missing;
    return v.type == J_MISSING || jval_text(j, v, out);
}

bool jinja_bind(Jinja *j, const char *what, Str name, const char *params, int required,
                const JArgs *args, JVal *v) {
    Str names[JINJA_PARAMS], rest = str_c(params);
    size_t n = 0;
    if (params[0] == '*') {
        if (args->n < (size_t)required)
            return jinja_fail(j, ERR_JINJA_ARGS, "%s %S wants at least %d arguments", what, name,
                              required);
        return true;
    }
    while (rest.len) {
        must(n < JINJA_PARAMS);
        names[n] = str_cut(rest, ',', &rest);
        v[n] = n < args->n ? args->pos[n] : (JVal){.type = J_MISSING};
        n++;
    }
    if (args->n > n)
        return jinja_fail(j, ERR_JINJA_ARGS, "%s %S takes at most %d arguments (%D given)", what,
                          name, (int)n, (i64)args->n);
    for (size_t k = 0; k < args->nkw; k++) {
        size_t i = 0;
        while (i < n && !str_eq(names[i], args->kw[k])) i++;
        if (i == n)
            return jinja_fail(j, ERR_JINJA_ARGS, "%s %S has no argument named %S", what, name,
                              args->kw[k]);
        if (v[i].type != J_MISSING)
            return jinja_fail(j, ERR_JINJA_ARGS, "%s %S got two values for %S", what, name,
                              args->kw[k]);
        v[i] = args->kwval[k];
    }
    for (size_t i = 0; i < (size_t)required; i++)
        if (v[i].type == J_MISSING)
            return jinja_fail(j, ERR_JINJA_ARGS, "%s %S wants the argument %S", what, name,
                              names[i]);
    return true;
}

bool jinja_add_kw(Jinja *j, JArgs *a, size_t room, Str name, JVal v) {
    for (size_t i = 0; i < a->nkw; i++)
        if (str_eq(a->kw[i], name))
            return jinja_fail(j, ERR_JINJA_ARGS, "got multiple values for keyword argument '%S'",
                              name);
    must(a->nkw < room);
    a->kw[a->nkw] = name;
    a->kwval[a->nkw++] = v;
    return true;
}

// Evaluates the arguments of a call, filter or test; `room` more named ones can be added.
bool jinja_eval_args(Jinja *j, const JNode *n, size_t room, JArgs *a) {
    size_t pos = 0, kw = room;
    bool plain = true;
    *a = (JArgs){0};
    if (n->n == 0 && room == 0) return true;
    JVal *v = jinja_alloc(j, n->n + 1, sizeof *v);
    if (!v) return false;
    for (u32 i = 0; i < n->n; i++) { // values first: what * and ** hold says how many there are
        const JNode *x = n->at[i];
        bool wrapped = x->kind == N_KWARG || x->kind == N_STAR || x->kind == N_STARSTAR;
        if (!jinja_eval(j, wrapped ? x->a : x, &v[i])) return false;
        j->pos = x->pos;
        plain = plain && !wrapped;
        if (x->kind == N_STAR) {
            size_t count;
            if (!jinja_seq(j, v[i], &v[i], &count)) return false;
            pos += count;
        } else if (x->kind == N_STARSTAR) {
            if (v[i].type != J_DICT)
                return jinja_fail(j, ERR_JINJA_TYPE, "** wants a mapping, not '%s'",
                                  jval_type(v[i]));
            kw += v[i].dict->n;
        } else {
            pos += x->kind != N_KWARG;
            kw += x->kind == N_KWARG;
        }
    }
    if (kw > 1000) return jinja_fail(j, ERR_JINJA_ARGS, "more than 1000 named arguments");
    a->pos = plain ? v : jinja_alloc(j, pos + 1, sizeof *a->pos);
    a->kw = kw ? jinja_alloc(j, kw, sizeof *a->kw) : NULL;
    a->kwval = kw ? jinja_alloc(j, kw, sizeof *a->kwval) : NULL;
    if (!a->pos || (kw && (!a->kw || !a->kwval))) return false;
    for (u32 i = 0; i < n->n; i++) {
        const JNode *x = n->at[i];
        size_t count = 1;
        JVal seq;
        if (x->kind == N_STAR) {
            if (!jinja_seq(j, v[i], &seq, &count)) return false;
            for (size_t k = 0; k < count; k++) a->pos[a->n++] = jinja_seq_at(seq, k);
        } else if (x->kind == N_STARSTAR) {
            for (size_t k = 0; k < v[i].dict->n; k++) {
                if (v[i].dict->at[k].key.type != J_STR)
                    return jinja_fail(j, ERR_JINJA_TYPE, "keywords must be strings");
                if (!jinja_add_kw(j, a, kw, v[i].dict->at[k].key.s, v[i].dict->at[k].val))
                    return false;
            }
        } else if (x->kind == N_KWARG) {
            if (!jinja_add_kw(j, a, kw, x->str, v[i])) return false;
        } else {
            a->pos[a->n++] = v[i]; // when plain this writes v[i] onto itself
        }
    }
    j->pos = n->pos;
    return true;
}

// Runs a body and gives what it wrote as a string.
bool jinja_capture(Jinja *j, const JNode *body, JFrame *frame, JVal *out) {
    Buf b = jinja_buf(j), *outer = j->out;
    JFrame *saved = j->frame;
    if (!frame) return false;
    j->out = &b;
    j->frame = frame;
    JFlow flow = jinja_exec(j, body);
    j->out = outer;
    j->frame = saved;
    *out = jval_str(buf_str(&b));
    return flow != JFLOW_FAIL;
}

static JINJA_APART bool bind_macro(Jinja *j, const JNode *m, JFrame *f, const JArgs *args) {
    const Template *t = j->t;
    JList *extra = jinja_list(j, args->n > m->n ? args->n - m->n : 0);
    JVal more = jval_dict(j->arena), caller = {0};
    if (!extra) return false;
    if (args->n > m->n && !(m->flags & MACRO_VARARGS))
        return jinja_fail(j, ERR_JINJA_ARGS, "macro '%S' takes not more than %u argument(s)",
                          m->str, m->n);
    for (size_t i = 0; i < args->n; i++)
        if (i < m->n ? !jinja_frame_set(j, f, m->at[i]->sym, args->pos[i])
                     : !jinja_push(j, extra, args->pos[i]))
            return false;
    for (size_t k = 0; k < args->nkw; k++) {
        u32 i = 0;
        while (i < m->n && !str_eq(m->at[i]->str, args->kw[k])) i++;
        if (i < m->n && i < args->n)
            return jinja_fail(j, ERR_JINJA_ARGS, "macro '%S' got two values for '%S'", m->str,
                              args->kw[k]);
        if (i < m->n) {
            if (!jinja_frame_set(j, f, m->at[i]->sym, args->kwval[k])) return false;
        } else if (str_eq(args->kw[k], S("caller"))) {
            caller = args->kwval[k];
            if (!(m->flags & MACRO_CALLER))
                return jinja_fail(j, ERR_JINJA_ARGS,
                                  "macro '%S' has no use for a call block: it never calls caller",
                                  m->str);
        } else if (m->flags & MACRO_KWARGS) {
            jval_dict_put(j->arena, more, args->kw[k], args->kwval[k]);
        } else {
            return jinja_fail(j, ERR_JINJA_ARGS, "macro '%S' takes no keyword argument '%S'",
                              m->str, args->kw[k]);
        }
    }
    for (u32 i = (u32)MIN2(args->n, m->n); i < m->n; i++) {
        JVal v = jval_undefined(UNDEF_PARAM, 0, m->at[i]->str);
        bool given = false;
        for (size_t k = 0; k < args->nkw; k++) given = given || str_eq(args->kw[k], m->at[i]->str);
        if (given) continue;
        JFrame *outer = j->frame;
        j->frame = f; // a default sees the parameters before it
        bool ok = !m->at[i]->a || jinja_eval(j, m->at[i]->a, &v);
        j->frame = outer;
        if (!ok || !jinja_frame_set(j, f, m->at[i]->sym, v)) return false;
    }
    if (caller.type == J_UNDEFINED) caller = jval_message(S("No caller defined"));
    return (!(m->flags & MACRO_VARARGS) ||
            jinja_frame_set(j, f, t->sym_varargs, jval_seq(j, J_TUPLE, extra))) &&
           (!(m->flags & MACRO_KWARGS) || jinja_frame_set(j, f, t->sym_kwargs, more)) &&
           (!(m->flags & MACRO_CALLER) || jinja_frame_set(j, f, t->sym_caller, caller));
}

static JINJA_APART bool call_loop(Jinja *j, const JLoop *l, const JArgs *args, JVal *out) {
    if (!l->node->flags)
        return jinja_fail(j, ERR_JINJA_TYPE,
                          "the loop must have the 'recursive' marker to be called recursively");
    if (args->n != 1) return jinja_fail(j, ERR_JINJA_ARGS, "loop() wants one argument");
    Buf b = jinja_buf(j), *saved = j->out;
    JFrame *frame = j->frame;
    j->out = &b;
    JFlow flow = jinja_run_loop(j, l->node, args->pos[0], l->frame, l->level + 1);
    j->out = saved;
    j->frame = frame;
    *out = jval_str(buf_str(&b));
    return flow != JFLOW_FAIL;
}

bool jinja_call(Jinja *j, JVal f, const JArgs *args, JVal *out) {
    bool ok = false;
    if (!jinja_step(j, 4) || !jinja_enter(j)) return false;
    switch (f.type) {
    case J_FUNC: ok = jinja_global_call(j, (i32)f.i, args, out); break;
    case J_METHOD: ok = jinja_method_call(j, f.method, args, out); break;
    case J_MACRO: {
        JFrame *frame = jinja_frame_new(j, f.macro->frame);
        ok = frame && bind_macro(j, f.macro->node, frame, args) &&
             jinja_capture(j, f.macro->node->c, frame, out);
        break;
    }
    case J_LOOP: ok = call_loop(j, f.loop, args, out); break;
    case J_JOINER:
        *out = f.cycler->next++ ? f.cycler->items : jval_str(S(""));
        ok = true;
        break;
    case J_UNDEFINED: ok = jinja_use_undefined(j, f); break;
    default: ok = jinja_fail(j, ERR_JINJA_TYPE, "'%s' object is not callable", jval_type(f)); break;
    }
    j->depth--;
    return ok;
}

bool jinja_eval_call(Jinja *j, const JNode *n, JVal *out) {
    JVal f;
    JArgs args;
    if (!jinja_eval(j, n->a, &f)) return false;
    j->pos = n->a->pos;
    if (f.type == J_UNDEFINED) return jinja_use_undefined(j, f);
    if (!jinja_eval_args(j, n, 0, &args)) return false;
    j->pos = n->a->pos;
    return jinja_call(j, f, &args, out);
}
