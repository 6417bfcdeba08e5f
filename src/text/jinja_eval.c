// text/jinja_eval.c: walks the tree of a template with the variables of one rendering.
//
// Every step burns fuel, every level counts depth, and memory and output have bounds, so that no
// template can hang or fill the program that renders it. Scopes are those of Jinja: a loop's body,
// a macro, a captured block have their own, `if` has none; a macro sees the scope it was made in as
// that is when it is called. The tree is never changed, so one template may be rendered many times.
// Each kind of node has its own function: this keeps the frame of the recursive one small.
#include "text/jinja_int.h"

typedef enum Flow { FLOW_ON, FLOW_BREAK, FLOW_CONTINUE, FLOW_FAIL } Flow;

static bool eval(Jinja *j, const JNode *n, JVal *out);
static Flow exec(Jinja *j, const JNode *n);

#define APART __attribute__((noinline))

// ---- limits and errors
// -------------------------------------------------------------------------------------------------

bool jinja_fail(Jinja *j, ErrId id, const char *fmt, ...) {
    int line, col;
    char text[sizeof j->err->msg];
    Buf b = {.ptr = text, .cap = sizeof text};
    va_list ap;
    if (j->err->id != ERR_NONE) return false;
    va_start(ap, fmt);
    buf_vfmt(&b, fmt, ap);
    va_end(ap);
    err_set(j->err, id, "%S", buf_str(&b));
    jinja_place(j->t->src, j->pos, &line, &col);
    err_line(j->err, line, col);
    return err_file(j->err, j->t->name);
}

bool jinja_use_undefined(Jinja *j, JVal v) {
    JVal owner = {.type = v.owner};
    const char *what = jval_type(owner);
    switch (v.from) {
    case UNDEF_NAME: return jinja_fail(j, ERR_JINJA_UNDEFINED, "'%S' is undefined", v.s);
    case UNDEF_ATTR:
        if (v.owner == J_NONE)
            return jinja_fail(j, ERR_JINJA_UNDEFINED, "'None' has no attribute '%S'", v.s);
        return jinja_fail(j, ERR_JINJA_UNDEFINED, "'%s object' has no attribute '%S'", what, v.s);
    case UNDEF_ITEM:
        return jinja_fail(j, ERR_JINJA_UNDEFINED, "%s has no element %S",
                          v.owner == J_NONE ? "None" : arena_cstr(j->arena, str_fmt(j->arena, "%s object", what)), v.s);
    case UNDEF_PARAM:
        return jinja_fail(j, ERR_JINJA_UNDEFINED, "parameter '%S' was not provided", v.s);
    case UNDEF_UNSAFE:
        return jinja_fail(j, ERR_JINJA_SECURITY,
                          "access to attribute '%S' of '%s' object is unsafe", v.s, what);
    default: return jinja_fail(j, ERR_JINJA_UNDEFINED, "%S", v.s);
    }
}

bool jinja_step(Jinja *j, u64 cost) {
    if (j->err->id != ERR_NONE) return false;
    cost++;
    if (cost > j->fuel) {
        j->fuel = 0;
        return jinja_fail(
            j, ERR_JINJA_FUEL,
            "the template did not end within the steps it may take; it may loop without end");
    }
    j->fuel -= cost;
    if (arena_used(j->arena) - j->memory_base > j->memory)
        return jinja_fail(j, ERR_JINJA_MEMORY, "the template takes more memory than its %U bytes",
                          j->memory);
    return true;
}

static u64 memory_left(const Jinja *j) {
    u64 used = arena_used(j->arena) - j->memory_base;
    return used < j->memory ? j->memory - used : 0;
}

void *jinja_alloc(Jinja *j, u64 count, u64 size) {
    u64 bytes;
    void *p = NULL;
    if (mul_u64(count, size, &bytes) && bytes <= memory_left(j))
        p = arena_try(j->arena, count, size);
    if (!p)
        jinja_fail(j, ERR_JINJA_MEMORY, "the template takes more memory than its %U bytes",
                   j->memory);
    return p;
}

// A buffer doubles, so text of n bytes takes up to 4 n on its way there.
Buf jinja_buf(Jinja *j) {
    return (Buf){.arena = j->arena, .limit = (size_t)MAX2(memory_left(j) / 4, 16)};
}

bool jinja_buf_ok(Jinja *j, const Buf *b) {
    if (!b->full) return true;
    return jinja_fail(j, ERR_JINJA_MEMORY, "the template takes more memory than its %U bytes",
                      j->memory);
}

bool jinja_enter(Jinja *j) {
    if (j->depth >= j->depth_limit)
        return jinja_fail(j, ERR_JINJA_DEPTH,
                          "the template nests or calls itself deeper than %u levels",
                          j->depth_limit);
    j->depth++;
    return true;
}

// ---- scopes
// ------------------------------------------------------------------------------------------------------------

static JFrame *frame_new(Jinja *j, JFrame *up) {
    JFrame *f = jinja_alloc(j, 1, sizeof *f);
    if (f) f->up = up;
    return f;
}

static bool frame_set(Jinja *j, JFrame *f, i32 sym, JVal v) {
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

static JVal lookup(const Jinja *j, i32 sym) {
    for (const JFrame *f = j->frame; f; f = f->up)
        for (u32 i = 0; i < f->n; i++)
            if (f->at[i].sym == sym) return f->at[i].val;
    return j->globals[sym];
}

static APART bool assign(Jinja *j, const JNode *target, JVal v) {
    JVal seq;
    size_t n;
    j->pos = target->pos;
    if (target->kind == N_NAME) return frame_set(j, j->frame, target->sym, v);
    if (target->kind == N_NSREF) {
        JVal ns = lookup(j, target->sym);
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
        if (!assign(j, target->at[i], jinja_seq_at(seq, i))) return false;
    return true;
}

// ---- calls
// --------------------------------------------------------------------------------------------------------------

static bool add_kw(Jinja *j, JArgs *a, size_t room, Str name, JVal v) {
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
static APART bool eval_args(Jinja *j, const JNode *n, size_t room, JArgs *a) {
    size_t pos = 0, kw = room;
    bool plain = true;
    *a = (JArgs){0};
    if (n->n == 0 && room == 0) return true;
    JVal *v = jinja_alloc(j, n->n + 1, sizeof *v);
    if (!v) return false;
    for (u32 i = 0; i < n->n; i++) { // values first: what * and ** hold says how many there are
        const JNode *x = n->at[i];
        bool wrapped = x->kind == N_KWARG || x->kind == N_STAR || x->kind == N_STARSTAR;
        if (!eval(j, wrapped ? x->a : x, &v[i])) return false;
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
                if (!add_kw(j, a, kw, v[i].dict->at[k].key.s, v[i].dict->at[k].val)) return false;
            }
        } else if (x->kind == N_KWARG) {
            if (!add_kw(j, a, kw, x->str, v[i])) return false;
        } else {
            a->pos[a->n++] = v[i]; // when plain this writes v[i] onto itself
        }
    }
    j->pos = n->pos;
    return true;
}

// Runs a body and gives what it wrote as a string.
static APART bool capture(Jinja *j, const JNode *body, JFrame *frame, JVal *out) {
    Buf b = jinja_buf(j), *outer = j->out;
    JFrame *saved = j->frame;
    if (!frame) return false;
    j->out = &b;
    j->frame = frame;
    Flow flow = exec(j, body);
    j->out = outer;
    j->frame = saved;
    *out = jval_str(buf_str(&b));
    return flow != FLOW_FAIL;
}

static APART bool bind_macro(Jinja *j, const JNode *m, JFrame *f, const JArgs *args) {
    const Template *t = j->t;
    JList *extra = jinja_list(j, args->n > m->n ? args->n - m->n : 0);
    JVal more = jval_dict(j->arena), caller = {0};
    if (!extra) return false;
    if (args->n > m->n && !(m->flags & MACRO_VARARGS))
        return jinja_fail(j, ERR_JINJA_ARGS, "macro '%S' takes not more than %u argument(s)",
                          m->str, m->n);
    for (size_t i = 0; i < args->n; i++)
        if (i < m->n ? !frame_set(j, f, m->at[i]->sym, args->pos[i])
                     : !jinja_push(j, extra, args->pos[i]))
            return false;
    for (size_t k = 0; k < args->nkw; k++) {
        u32 i = 0;
        while (i < m->n && !str_eq(m->at[i]->str, args->kw[k])) i++;
        if (i < m->n && i < args->n)
            return jinja_fail(j, ERR_JINJA_ARGS, "macro '%S' got two values for '%S'", m->str,
                              args->kw[k]);
        if (i < m->n) {
            if (!frame_set(j, f, m->at[i]->sym, args->kwval[k])) return false;
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
        bool ok = !m->at[i]->a || eval(j, m->at[i]->a, &v);
        j->frame = outer;
        if (!ok || !frame_set(j, f, m->at[i]->sym, v)) return false;
    }
    if (caller.type == J_UNDEFINED) caller = jval_message(S("No caller defined"));
    return (!(m->flags & MACRO_VARARGS) ||
            frame_set(j, f, t->sym_varargs, jval_seq(j, J_TUPLE, extra))) &&
           (!(m->flags & MACRO_KWARGS) || frame_set(j, f, t->sym_kwargs, more)) &&
           (!(m->flags & MACRO_CALLER) || frame_set(j, f, t->sym_caller, caller));
}

static APART Flow run_loop(Jinja *j, const JNode *n, JVal v, JFrame *outer, u32 level);

static APART bool call_loop(Jinja *j, const JLoop *l, const JArgs *args, JVal *out) {
    if (!l->node->flags)
        return jinja_fail(j, ERR_JINJA_TYPE,
                          "the loop must have the 'recursive' marker to be called recursively");
    if (args->n != 1) return jinja_fail(j, ERR_JINJA_ARGS, "loop() wants one argument");
    Buf b = jinja_buf(j), *saved = j->out;
    JFrame *frame = j->frame;
    j->out = &b;
    Flow flow = run_loop(j, l->node, args->pos[0], l->frame, l->level + 1);
    j->out = saved;
    j->frame = frame;
    *out = jval_str(buf_str(&b));
    return flow != FLOW_FAIL;
}

bool jinja_call(Jinja *j, JVal f, const JArgs *args, JVal *out) {
    bool ok = false;
    if (!jinja_step(j, 4) || !jinja_enter(j)) return false;
    switch (f.type) {
    case J_FUNC: ok = jinja_global_call(j, (i32)f.i, args, out); break;
    case J_METHOD: ok = jinja_method_call(j, f.method, args, out); break;
    case J_MACRO: {
        JFrame *frame = frame_new(j, f.macro->frame);
        ok = frame && bind_macro(j, f.macro->node, frame, args) &&
             capture(j, f.macro->node->c, frame, out);
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

static APART bool eval_call(Jinja *j, const JNode *n, JVal *out) {
    JVal f;
    JArgs args;
    if (!eval(j, n->a, &f)) return false;
    j->pos = n->a->pos;
    if (f.type == J_UNDEFINED) return jinja_use_undefined(j, f);
    if (!eval_args(j, n, 0, &args)) return false;
    j->pos = n->a->pos;
    return jinja_call(j, f, &args, out);
}

// ---- expressions
// --------------------------------------------------------------------------------------------------------

static APART bool eval_items(Jinja *j, const JNode *n, JVal *out) {
    if (n->kind == N_DICT) {
        JDict *d = jinja_alloc(j, 1, sizeof *d);
        if (!d) return false;
        for (u32 i = 0; i < n->n; i += 2) {
            JVal k, v;
            if (!eval(j, n->at[i], &k) || !eval(j, n->at[i + 1], &v)) return false;
            j->pos = n->at[i]->pos;
            if (!jval_hashable(k))
                return jinja_fail(j, ERR_JINJA_TYPE, "unhashable type: '%s'", jval_type(k));
            jdict_put(j->arena, d, k, v);
        }
        *out = (JVal){.type = J_DICT, .dict = d};
        return true;
    }
    JList *l = jinja_list(j, n->n);
    if (!l) return false;
    for (u32 i = 0; i < n->n; i++, l->n++)
        if (!eval(j, n->at[i], &l->at[i])) return false;
    *out = jval_seq(j, n->kind == N_LIST ? J_LIST : J_TUPLE, l);
    return true;
}

static APART bool eval_slice(Jinja *j, const JNode *n, JVal *out) {
    JVal v, b[3] = {{.type = J_MISSING}, {.type = J_MISSING}, {.type = J_MISSING}};
    if (!eval(j, n->a, &v) || (n->b && !eval(j, n->b, &b[0])) || (n->c && !eval(j, n->c, &b[1])) ||
        (n->d && !eval(j, n->d, &b[2])))
        return false;
    j->pos = n->pos;
    return jinja_slice(j, v, b[0], b[1], b[2], out);
}

static APART bool eval_filter(Jinja *j, const JNode *n, JVal *out) {
    JVal v = j->captured;
    JArgs args;
    if ((n->a && !eval(j, n->a, &v)) || !eval_args(j, n, 0, &args)) return false;
    j->pos = n->pos;
    if (n->sym < 0)
        return jinja_fail(j, ERR_JINJA_NAME, "there is no %s named %S",
                          n->kind == N_FILTER ? "filter" : "test", n->str);
    if (n->kind == N_FILTER) return jinja_filter(j, n->sym, v, &args, out);
    bool yes;
    if (!jinja_test(j, n->sym, v, &args, &yes)) return false;
    *out = jval_bool(yes);
    return true;
}

static APART bool eval_concat(Jinja *j, const JNode *n, JVal *out) {
    JVal *v = jinja_alloc(j, n->n, sizeof *v);
    Str all = {0};
    for (u32 i = 0; i < n->n; i++)
        if (!v || !eval(j, n->at[i], &v[i])) return false;
    j->pos = n->pos;
    for (u32 i = 0; i < n->n; i++) {
        Str s;
        if (!jval_text(j, v[i], &s) || !jstr_join(j, all, s, &all)) return false;
    }
    *out = jval_str(all);
    return true;
}

static bool compare(Jinja *j, u16 op, JVal x, JVal y, bool *out) {
    static const char *const names[] = {"==", "!=", "<", "<=", ">", ">="};
    int c;
    if (op == CMP_EQ || op == CMP_NE || op == CMP_IN || op == CMP_NOT_IN) {
        bool eq = op == CMP_EQ || op == CMP_NE;
        if (!(eq ? jval_eq(j, x, y, out) : jinja_in(j, x, y, out))) return false;
        *out = *out != (op == CMP_NE || op == CMP_NOT_IN);
        return true;
    }
    if (!jval_cmp(j, x, y, names[op], &c)) return false;
    *out = c != 2 && (op == CMP_LT ? c < 0 : op == CMP_LE ? c <= 0 : op == CMP_GT ? c > 0 : c >= 0);
    return true;
}

static APART bool eval_compare(Jinja *j, const JNode *n, JVal *out) {
    JVal x, y;
    bool yes = true;
    if (!eval(j, n->a, &x)) return false;
    for (u32 i = 0; yes && i < n->n; i++, x = y) {
        if (!eval(j, n->at[i]->a, &y)) return false;
        j->pos = n->at[i]->pos;
        if (!compare(j, n->at[i]->op, x, y, &yes)) return false;
    }
    *out = jval_bool(yes);
    return true;
}

static APART bool eval_item(Jinja *j, const JNode *n, JVal *out) {
    JVal v, key;
    if (!eval(j, n->a, &v) || !eval(j, n->b, &key)) return false;
    j->pos = n->pos;
    return n->kind == N_ITEM ? jinja_item(j, v, key, out) : jinja_binary(j, n->op, v, key, out);
}

static APART bool eval_one(Jinja *j, const JNode *n, JVal *out) // one operand
{
    JVal v;
    if (!eval(j, n->a, &v)) return false;
    j->pos = n->pos;
    if (n->kind == N_ATTR) return jinja_attr(j, v, n->str, out);
    if (n->kind != N_NOT) return jinja_unary(j, n->kind, v, out);
    *out = jval_bool(!jval_truth(v));
    return true;
}

static APART bool eval_choice(Jinja *j, const JNode *n, JVal *out) {
    if (!eval(j, n->a, out)) return false;
    bool yes = jval_truth(*out);
    if (n->kind != N_COND) return yes == (n->kind == N_OR) || eval(j, n->b, out);
    if (yes || n->c) return eval(j, yes ? n->b : n->c, out);
    *out = jval_message(
        S("the inline if-expression evaluated to false and no else section was defined"));
    return true;
}

static bool eval_kind(Jinja *j, const JNode *n, JVal *out) {
    switch ((JKind)n->kind) {
    case N_CONST: *out = n->val; return true;
    case N_NAME: *out = lookup(j, n->sym); return true;
    case N_LIST:
    case N_TUPLE:
    case N_DICT: return eval_items(j, n, out);
    case N_ITEM:
    case N_BINARY: return eval_item(j, n, out);
    case N_SLICE: return eval_slice(j, n, out);
    case N_CALL: return eval_call(j, n, out);
    case N_FILTER:
    case N_TEST: return eval_filter(j, n, out);
    case N_ATTR:
    case N_NEG:
    case N_POS:
    case N_NOT: return eval_one(j, n, out);
    case N_CONCAT: return eval_concat(j, n, out);
    case N_COMPARE: return eval_compare(j, n, out);
    case N_AND:
    case N_OR:
    case N_COND: return eval_choice(j, n, out);
    default: must(!"an expression"); return false;
    }
}

static bool eval(Jinja *j, const JNode *n, JVal *out) {
    j->pos = n->pos;
    if (!jinja_step(j, 0) || !jinja_enter(j)) return false;
    bool ok = eval_kind(j, n, out);
    j->depth--;
    return ok;
}

// ---- statements
// ---------------------------------------------------------------------------------------------------------

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

static APART Flow exec_print(Jinja *j, const JNode *n) {
    for (u32 i = 0; i < n->n; i++) {
        JVal v;
        Str s;
        if (!eval(j, n->at[i], &v)) return FLOW_FAIL;
        j->pos = n->at[i]->pos;
        if (!jval_text(j, v, &s) || !emit(j, s)) return FLOW_FAIL;
    }
    return FLOW_ON;
}

static APART Flow exec_if(Jinja *j, const JNode *n) {
    for (u32 i = 0; i < n->n; i += 2) {
        JVal v;
        if (!eval(j, n->at[i], &v)) return FLOW_FAIL;
        if (jval_truth(v)) return exec(j, n->at[i + 1]);
    }
    return n->c ? exec(j, n->c) : FLOW_ON;
}

// The elements for which the loop's own condition holds.
static APART bool filter_loop(Jinja *j, const JNode *n, JVal *seq, size_t *count) {
    JList *l = jinja_list(j, 0);
    JFrame *saved = j->frame, *f = frame_new(j, saved);
    bool ok = l && f;
    for (size_t i = 0; ok && i < *count; i++) {
        JVal x = jinja_seq_at(*seq, i), yes;
        j->frame = f;
        ok = assign(j, n->a, x) && eval(j, n->d, &yes) && (!jval_truth(yes) || jinja_push(j, l, x));
    }
    j->frame = saved;
    if (ok) {
        *seq = jval_seq(j, J_LIST, l);
        *count = l->n;
    }
    return ok;
}

static APART Flow run_loop(Jinja *j, const JNode *n, JVal v, JFrame *outer, u32 level) {
    JLoop *l = jinja_alloc(j, 1, sizeof *l);
    JVal seq;
    size_t count;
    JFrame *f = NULL;
    j->frame = outer;
    j->pos = n->b->pos;
    if (!l || !jinja_seq(j, v, &seq, &count) || (n->d && !filter_loop(j, n, &seq, &count)))
        return FLOW_FAIL;
    *l = (JLoop){.seq = seq, .n = count, .level = level, .node = n, .frame = outer};
    if (count == 0) return n->e ? exec(j, n->e) : FLOW_ON;
    Flow flow = FLOW_ON;
    u32 made = j->macros_made;
    for (size_t i = 0; i < count && flow != FLOW_BREAK; i++) {
        if (f && made == j->macros_made)
            f->n = 0; // nobody kept the last iteration's scope
        else
            f = frame_new(j, outer);
        made = j->macros_made;
        l->i = i;
        j->frame = f;
        if (!f || !jinja_step(j, 1) ||
            !frame_set(j, f, j->t->sym_loop, (JVal){.type = J_LOOP, .loop = l}) ||
            !assign(j, n->a, jinja_seq_at(seq, i)))
            return FLOW_FAIL;
        flow = exec(j, n->c);
        j->frame = outer;
        if (flow == FLOW_FAIL) return flow;
    }
    return FLOW_ON;
}

static APART Flow exec_for(Jinja *j, const JNode *n) {
    JVal v;
    return eval(j, n->b, &v) ? run_loop(j, n, v, j->frame, 0) : FLOW_FAIL;
}

static bool make_macro(Jinja *j, const JNode *n, JVal *out) {
    JMacro *m = jinja_alloc(j, 1, sizeof *m);
    if (!m) return false;
    *m = (JMacro){n, j->frame};
    j->macros_made++;
    *out = (JVal){.type = J_MACRO, .macro = m};
    return true;
}

static APART bool exec_set(Jinja *j, const JNode *n) {
    JVal v;
    if (n->kind == N_MACRO) return make_macro(j, n, &v) && frame_set(j, j->frame, n->sym, v);
    if (n->kind == N_SET) return eval(j, n->b, &v) && assign(j, n->a, v);
    if (!capture(j, n->c, frame_new(j, j->frame), &v)) return false;
    if (n->b) {
        j->captured = v;
        if (!eval(j, n->b, &v)) return false;
    }
    return assign(j, n->a, v);
}

static APART bool exec_filter(Jinja *j, const JNode *n) {
    JVal v;
    Str s;
    if (!capture(j, n->c, frame_new(j, j->frame), &v)) return false;
    j->captured = v;
    return eval(j, n->b, &v) && jval_text(j, v, &s) && emit(j, s);
}

static APART bool exec_call(Jinja *j, const JNode *n) {
    const JNode *c = n->a;
    JVal f, v, caller;
    JArgs args;
    Str s;
    if (!eval(j, c->a, &f) || !eval_args(j, c, 1, &args) || !make_macro(j, n->b, &caller))
        return false;
    j->pos = c->pos;
    return add_kw(j, &args, args.nkw + 1, S("caller"), caller) && jinja_call(j, f, &args, &v) &&
           jval_text(j, v, &s) && emit(j, s);
}

static APART Flow exec_scope(Jinja *j, const JNode *n) // with, generation
{
    JFrame *outer = j->frame, *f = frame_new(j, outer);
    for (u32 i = 0; f && i < n->n; i += 2) {
        JVal v;
        bool ok = eval(j, n->at[i + 1], &v); // values see the outer scope
        j->frame = f;
        ok = ok && assign(j, n->at[i], v);
        j->frame = outer;
        if (!ok) return FLOW_FAIL;
    }
    if (!f) return FLOW_FAIL;
    j->frame = f;
    Flow flow = exec(j, n->c);
    j->frame = outer;
    return flow;
}

static Flow exec_kind(Jinja *j, const JNode *n) {
    Flow flow = FLOW_ON;
    switch ((JKind)n->kind) {
    case N_SEQ:
        for (u32 i = 0; i < n->n && flow == FLOW_ON; i++) flow = exec(j, n->at[i]);
        return flow;
    case N_DATA: return emit(j, n->str) ? FLOW_ON : FLOW_FAIL;
    case N_PRINT: return exec_print(j, n);
    case N_IF: return exec_if(j, n);
    case N_FOR: return exec_for(j, n);
    case N_SET:
    case N_SETBLOCK:
    case N_MACRO: return exec_set(j, n) ? FLOW_ON : FLOW_FAIL;
    case N_CALLBLOCK: return exec_call(j, n) ? FLOW_ON : FLOW_FAIL;
    case N_FILTERBLOCK: return exec_filter(j, n) ? FLOW_ON : FLOW_FAIL;
    case N_WITH:
    case N_SCOPE: return exec_scope(j, n);
    case N_BREAK: return FLOW_BREAK;
    case N_CONTINUE: return FLOW_CONTINUE;
    default: must(!"a statement"); return FLOW_FAIL;
    }
}

static Flow exec(Jinja *j, const JNode *n) {
    j->pos = n->pos;
    if (!jinja_step(j, 0) || !jinja_enter(j)) return FLOW_FAIL;
    Flow flow = exec_kind(j, n);
    j->depth--;
    return flow;
}

bool jinja_run(Jinja *j) {
    const Template *t = j->t;
    j->globals = jinja_alloc(j, t->n_symbols, sizeof *j->globals);
    j->frame = frame_new(j, NULL);
    if (!j->globals || !j->frame) return false;
    for (u32 i = 0; i < t->n_symbols; i++) {
        i32 row;
        if (jval_dict_get(j->env->vars, t->symbols[i], &j->globals[i])) continue;
        row = jinja_global_find(t->symbols[i]);
        j->globals[i] = row >= 0 ? (JVal){.type = J_FUNC, .i = row}
                                 : jval_undefined(UNDEF_NAME, 0, t->symbols[i]);
    }
    return exec(j, t->body) != FLOW_FAIL;
}
