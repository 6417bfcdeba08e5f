// text/jinja_eval.c: the values of a template's expressions, and the limits that everything runs
// in.
//
// Every step burns fuel, every level counts depth, and memory and output have bounds, so that no
// template can hang or fill the program that renders it. The tree is never changed, so one template
// may be rendered many times. Each kind of node has its own function: this keeps the frame of the
// recursive one small.
#include "text/jinja_int.h"

// ---- limits and errors --------------------------------------------------------------------------

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
        return jinja_fail(
            j, ERR_JINJA_UNDEFINED, "%s has no element %S",
            v.owner == J_NONE ? "None" : arena_cstr(j->arena, str_fmt(j->arena, "%s object", what)),
            v.s);
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
            "the template did not end within the steps it may take: it may loop without end");
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

// ---- expressions --------------------------------------------------------------------------------

static JINJA_APART bool eval_items(Jinja *j, const JNode *n, JVal *out) {
    if (n->kind == N_DICT) {
        JDict *d = jinja_alloc(j, 1, sizeof *d);
        if (!d) return false;
        for (u32 i = 0; i < n->n; i += 2) {
            JVal k, v;
            if (!jinja_eval(j, n->at[i], &k) || !jinja_eval(j, n->at[i + 1], &v)) return false;
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
        if (!jinja_eval(j, n->at[i], &l->at[i])) return false;
    *out = jval_seq(j, n->kind == N_LIST ? J_LIST : J_TUPLE, l);
    return true;
}

static JINJA_APART bool eval_slice(Jinja *j, const JNode *n, JVal *out) {
    JVal v, b[3] = {{.type = J_MISSING}, {.type = J_MISSING}, {.type = J_MISSING}};
    if (!jinja_eval(j, n->a, &v) || (n->b && !jinja_eval(j, n->b, &b[0])) ||
        (n->c && !jinja_eval(j, n->c, &b[1])) || (n->d && !jinja_eval(j, n->d, &b[2])))
        return false;
    j->pos = n->pos;
    return jinja_slice(j, v, b[0], b[1], b[2], out);
}

static JINJA_APART bool eval_filter(Jinja *j, const JNode *n, JVal *out) {
    JVal v = j->captured;
    JArgs args;
    if ((n->a && !jinja_eval(j, n->a, &v)) || !jinja_eval_args(j, n, 0, &args)) return false;
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

static JINJA_APART bool eval_concat(Jinja *j, const JNode *n, JVal *out) {
    JVal *v = jinja_alloc(j, n->n, sizeof *v);
    Str all = {0};
    for (u32 i = 0; i < n->n; i++)
        if (!v || !jinja_eval(j, n->at[i], &v[i])) return false;
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

static JINJA_APART bool eval_compare(Jinja *j, const JNode *n, JVal *out) {
    JVal x, y;
    bool yes = true;
    if (!jinja_eval(j, n->a, &x)) return false;
    for (u32 i = 0; yes && i < n->n; i++, x = y) {
        if (!jinja_eval(j, n->at[i]->a, &y)) return false;
        j->pos = n->at[i]->pos;
        if (!compare(j, n->at[i]->op, x, y, &yes)) return false;
    }
    *out = jval_bool(yes);
    return true;
}

static JINJA_APART bool eval_item(Jinja *j, const JNode *n, JVal *out) {
    JVal v, key;
    if (!jinja_eval(j, n->a, &v) || !jinja_eval(j, n->b, &key)) return false;
    j->pos = n->pos;
    return n->kind == N_ITEM ? jinja_item(j, v, key, out) : jinja_binary(j, n->op, v, key, out);
}

static JINJA_APART bool eval_one(Jinja *j, const JNode *n, JVal *out) // one operand
{
    JVal v;
    if (!jinja_eval(j, n->a, &v)) return false;
    j->pos = n->pos;
    if (n->kind == N_ATTR) return jinja_attr(j, v, n->str, out);
    if (n->kind != N_NOT) return jinja_unary(j, n->kind, v, out);
    *out = jval_bool(!jval_truth(v));
    return true;
}

static JINJA_APART bool eval_choice(Jinja *j, const JNode *n, JVal *out) {
    if (!jinja_eval(j, n->a, out)) return false;
    bool yes = jval_truth(*out);
    if (n->kind != N_COND) return yes == (n->kind == N_OR) || jinja_eval(j, n->b, out);
    if (yes || n->c) return jinja_eval(j, yes ? n->b : n->c, out);
    *out = jval_message(
        S("the inline if-expression evaluated to false and no else section was defined"));
    return true;
}

static bool eval_kind(Jinja *j, const JNode *n, JVal *out) {
    switch ((JKind)n->kind) {
    case N_CONST: *out = n->val; return true;
    case N_NAME: *out = jinja_lookup(j, n->sym); return true;
    case N_LIST:
    case N_TUPLE:
    case N_DICT: return eval_items(j, n, out);
    case N_ITEM:
    case N_BINARY: return eval_item(j, n, out);
    case N_SLICE: return eval_slice(j, n, out);
    case N_CALL: return jinja_eval_call(j, n, out);
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

bool jinja_eval(Jinja *j, const JNode *n, JVal *out) {
    j->pos = n->pos;
    if (!jinja_step(j, 0) || !jinja_enter(j)) return false;
    bool ok = eval_kind(j, n, out);
    j->depth--;
    return ok;
}
