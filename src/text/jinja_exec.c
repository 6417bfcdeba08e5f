// text/jinja_exec.c: runs the statements of a template with the variables of one rendering.
//
// Scopes are those of Jinja: a loop's body, a macro, a captured block have their own, `if` has
// none. Each iteration begins with an empty scope, so what it sets is gone in the next; a namespace
// is how a template keeps something.
#include "text/jinja_int.h"

// ---- scopes -------------------------------------------------------------------------------------

JFrame *jinja_frame_new(Jinja *j, JFrame *up) {
    JFrame *f = jinja_alloc(j, 1, sizeof *f);
    if (f) f->up = up;
    return f;
}

bool jinja_frame_set(Jinja *j, JFrame *f, i32 sym, JVal v) {
    for (u32 i = 0; i < f->n; i++) {
        if (f->at[i].sym == sym) {
            f->at[i].val = v;
            return true;
        }
    }
    if (f->n == f->cap) {
        u32 cap = f->cap ? f->cap * 2 : 4;
        JVar *at = jinja_alloc(j, cap, sizeof *at);
        if (!at) return false;
        if (f->n) memcpy(at, f->at, f->n * sizeof *at);
        f->at = at;
        f->cap = cap;
    }
    f->at[f->n++] = (JVar){sym, v};
    return true;
}

JVal jinja_lookup(const Jinja *j, i32 sym) {
    for (const JFrame *f = j->frame; f; f = f->up)
        for (u32 i = 0; i < f->n; i++)
            if (f->at[i].sym == sym) return f->at[i].val;
    return j->globals[sym];
}

bool jinja_assign(Jinja *j, const JNode *target, JVal v) {
    JVal seq;
    size_t n;
    j->pos = target->pos;
    if (target->kind == N_NAME) return jinja_frame_set(j, j->frame, target->sym, v);
    if (target->kind == N_NSREF) {
        JVal ns = jinja_lookup(j, target->sym);
        if (ns.type != J_NAMESPACE)
            return jinja_fail(j, ERR_JINJA_TYPE, "cannot assign attribute on non-namespace object");
        return jdict_put(j->arena, ns.dict, jval_str(target->str2), v);
    }
    if (!jinja_seq(j, v, &seq, &n)) return false;
    if (n != target->n)
        return jinja_fail(j, ERR_JINJA_TYPE,
                          n > target->n ? "too many values to unpack (expected %u)"
                                        : "not enough values to unpack (expected %u, got %U)",
                          target->n, (u64)n);
    for (u32 i = 0; i < target->n; i++)
        if (!jinja_assign(j, target->at[i], jinja_seq_at(seq, i))) return false;
    return true;
}

// ---- statements ---------------------------------------------------------------------------------

static bool emit(Jinja *j, Str s) {
    if (!jinja_step(j, s.len / 64)) return false;
    if (j->out_final == j->out) {
        if (s.len > j->out_limit - MIN2(j->out_limit, j->out->len - j->out_base))
            return jinja_fail(j, ERR_JINJA_OUTPUT, "the template writes more than %U bytes",
                              j->out_limit);
        buf_add(j->out, s);
        return !j->out->full ||
               jinja_fail(j, ERR_JINJA_OUTPUT, "the template writes more than there is room for");
    }
    buf_add(j->out, s);
    return jinja_buf_ok(j, j->out);
}

static JINJA_APART JFlow exec_print(Jinja *j, const JNode *n) {
    for (u32 i = 0; i < n->n; i++) {
        JVal v;
        Str s;
        if (!jinja_eval(j, n->at[i], &v)) return JFLOW_FAIL;
        j->pos = n->at[i]->pos;
        if (!jval_text(j, v, &s) || !emit(j, s)) return JFLOW_FAIL;
    }
    return JFLOW_ON;
}

static JINJA_APART JFlow exec_if(Jinja *j, const JNode *n) {
    for (u32 i = 0; i < n->n; i += 2) {
        JVal v;
        if (!jinja_eval(j, n->at[i], &v)) return JFLOW_FAIL;
        if (jval_truth(v)) return jinja_exec(j, n->at[i + 1]);
    }
    return n->c ? jinja_exec(j, n->c) : JFLOW_ON;
}

// The elements for which the loop's own condition holds.
static JINJA_APART bool filter_loop(Jinja *j, const JNode *n, JVal *seq, size_t *count) {
    JList *l = jinja_list(j, 0);
    JFrame *saved = j->frame, *f = jinja_frame_new(j, saved);
    bool ok = l && f;
    for (size_t i = 0; ok && i < *count; i++) {
        JVal x = jinja_seq_at(*seq, i), yes;
        j->frame = f;
        ok = jinja_assign(j, n->a, x) && jinja_eval(j, n->d, &yes) &&
             (!jval_truth(yes) || jinja_push(j, l, x));
    }
    j->frame = saved;
    if (ok) {
        *seq = jval_seq(j, J_LIST, l);
        *count = l->n;
    }
    return ok;
}

JFlow jinja_run_loop(Jinja *j, const JNode *n, JVal v, JFrame *outer, u32 level) {
    JLoop *l = jinja_alloc(j, 1, sizeof *l);
    JVal seq;
    size_t count;
    JFrame *f = NULL;
    j->frame = outer;
    j->pos = n->b->pos;
    if (!l || !jinja_seq(j, v, &seq, &count) || (n->d && !filter_loop(j, n, &seq, &count)))
        return JFLOW_FAIL;
    *l = (JLoop){.seq = seq, .n = count, .level = level, .node = n, .frame = outer};
    if (count == 0) return n->e ? jinja_exec(j, n->e) : JFLOW_ON;
    JFlow flow = JFLOW_ON;
    u32 made = j->macros_made;
    for (size_t i = 0; i < count && flow != JFLOW_BREAK; i++) {
        if (f && made == j->macros_made)
            f->n = 0; // nobody kept the last iteration's scope
        else
            f = jinja_frame_new(j, outer);
        made = j->macros_made;
        l->i = i;
        j->frame = f;
        if (!f || !jinja_step(j, 1) ||
            !jinja_frame_set(j, f, j->t->sym_loop, (JVal){.type = J_LOOP, .loop = l}) ||
            !jinja_assign(j, n->a, jinja_seq_at(seq, i)))
            return JFLOW_FAIL;
        flow = jinja_exec(j, n->c);
        j->frame = outer;
        if (flow == JFLOW_FAIL) return flow;
    }
    return JFLOW_ON;
}

static JINJA_APART JFlow exec_for(Jinja *j, const JNode *n) {
    JVal v;
    return jinja_eval(j, n->b, &v) ? jinja_run_loop(j, n, v, j->frame, 0) : JFLOW_FAIL;
}

static bool make_macro(Jinja *j, const JNode *n, JVal *out) {
    JMacro *m = jinja_alloc(j, 1, sizeof *m);
    if (!m) return false;
    *m = (JMacro){n, j->frame};
    j->macros_made++;
    *out = (JVal){.type = J_MACRO, .macro = m};
    return true;
}

static JINJA_APART bool exec_set(Jinja *j, const JNode *n) {
    JVal v;
    if (n->kind == N_MACRO) return make_macro(j, n, &v) && jinja_frame_set(j, j->frame, n->sym, v);
    if (n->kind == N_SET) return jinja_eval(j, n->b, &v) && jinja_assign(j, n->a, v);
    if (!jinja_capture(j, n->c, jinja_frame_new(j, j->frame), &v)) return false;
    if (n->b) {
        j->captured = v;
        if (!jinja_eval(j, n->b, &v)) return false;
    }
    return jinja_assign(j, n->a, v);
}

static JINJA_APART bool exec_filter(Jinja *j, const JNode *n) {
    JVal v;
    Str s;
    if (!jinja_capture(j, n->c, jinja_frame_new(j, j->frame), &v)) return false;
    j->captured = v;
    return jinja_eval(j, n->b, &v) && jval_text(j, v, &s) && emit(j, s);
}

static JINJA_APART bool exec_call(Jinja *j, const JNode *n) {
    const JNode *c = n->a;
    JVal f, v, caller;
    JArgs args;
    Str s;
    if (!jinja_eval(j, c->a, &f) || !jinja_eval_args(j, c, 1, &args) ||
        !make_macro(j, n->b, &caller))
        return false;
    j->pos = c->pos;
    return jinja_add_kw(j, &args, args.nkw + 1, S("caller"), caller) &&
           jinja_call(j, f, &args, &v) && jval_text(j, v, &s) && emit(j, s);
}

static JINJA_APART JFlow exec_scope(Jinja *j, const JNode *n) // with, generation
{
    JFrame *outer = j->frame, *f = jinja_frame_new(j, outer);
    for (u32 i = 0; f && i < n->n; i += 2) {
        JVal v;
        bool ok = jinja_eval(j, n->at[i + 1], &v); // values see the outer scope
        j->frame = f;
        ok = ok && jinja_assign(j, n->at[i], v);
        j->frame = outer;
        if (!ok) return JFLOW_FAIL;
    }
    if (!f) return JFLOW_FAIL;
    j->frame = f;
    JFlow flow = jinja_exec(j, n->c);
    j->frame = outer;
    return flow;
}

static JFlow exec_kind(Jinja *j, const JNode *n) {
    JFlow flow = JFLOW_ON;
    switch ((JKind)n->kind) {
    case N_SEQ:
        for (u32 i = 0; i < n->n && flow == JFLOW_ON; i++) flow = jinja_exec(j, n->at[i]);
        return flow;
    case N_DATA: return emit(j, n->str) ? JFLOW_ON : JFLOW_FAIL;
    case N_PRINT: return exec_print(j, n);
    case N_IF: return exec_if(j, n);
    case N_FOR: return exec_for(j, n);
    case N_SET:
    case N_SETBLOCK:
    case N_MACRO: return exec_set(j, n) ? JFLOW_ON : JFLOW_FAIL;
    case N_CALLBLOCK: return exec_call(j, n) ? JFLOW_ON : JFLOW_FAIL;
    case N_FILTERBLOCK: return exec_filter(j, n) ? JFLOW_ON : JFLOW_FAIL;
    case N_WITH:
    case N_SCOPE: return exec_scope(j, n);
    case N_BREAK: return JFLOW_BREAK;
    case N_CONTINUE: return JFLOW_CONTINUE;
    default: must(!"a statement"); return JFLOW_FAIL;
    }
}

JFlow jinja_exec(Jinja *j, const JNode *n) {
    j->pos = n->pos;
    if (!jinja_step(j, 0) || !jinja_enter(j)) return JFLOW_FAIL;
    JFlow flow = exec_kind(j, n);
    j->depth--;
    return flow;
}

bool jinja_run(Jinja *j) {
    const Template *t = j->t;
    j->globals = jinja_alloc(j, t->n_symbols, sizeof *j->globals);
    j->frame = jinja_frame_new(j, NULL);
    if (!j->globals || !j->frame) return false;
    for (u32 i = 0; i < t->n_symbols; i++) {
        i32 row;
        if (jval_dict_get(j->env->vars, t->symbols[i], &j->globals[i])) continue;
        row = jinja_global_find(t->symbols[i]);
        // templates ask `strftime_now is defined` and have a date of their own where it is not
        if (!j->env->now && str_eq(t->symbols[i], S("strftime_now"))) row = -1;
        j->globals[i] = row >= 0 ? (JVal){.type = J_FUNC, .i = row}
                                 : jval_undefined(UNDEF_NAME, 0, t->symbols[i]);
    }
    return jinja_exec(j, t->body) != JFLOW_FAIL;
}
