// text/jinja_expr.c: the expressions of a template as trees.
//
// One token of look-ahead; binary operators by precedence climbing, so that a level of parentheses
// costs few C frames. The depth of the source is bounded while parsing, and the depth of the
// finished tree (which a chain of operators or filters makes without any bracket) at each node, so
// that the evaluator may recurse over it. Names become symbols; filters and tests become rows of
// their tables.
#include "text/jinja_parse.h"

static JNode *parse_prec(Parser *p, int min);
static JNode *parse_primary(Parser *p);

static JNode *constant(Parser *p, JVal v) {
    JNode *n = jp_node(p, N_CONST, p->cur.pos);
    n->val = v;
    return n;
}

// Arguments up to the closing parenthesis; the opening one is the current token.
static bool parse_args(Parser *p, JNode *n) {
    NodeVec v = {0};
    bool named = false;
    if (!jp_next(p)) return false;
    while (!jp_is_op(p, ')')) {
        JNode *arg = NULL;
        u32 pos = p->cur.pos;
        if (v.n && (!jp_expect_op(p, ',', ", or )") || jp_is_op(p, ')'))) break;
        if (jp_is_op(p, '*') || jp_is_op(p, JOP2('*', '*'))) {
            arg = jp_node(p, jp_is_op(p, '*') ? N_STAR : N_STARSTAR, pos);
            named = named || arg->kind == N_STARSTAR;
            if (!jp_next(p) || !(arg->a = jp_expr(p))) return false;
        } else {
            if (p->cur.kind == T_NAME && !jp_peek(p)) return false;
            if (p->cur.kind == T_NAME && p->ahead.kind == T_OP && p->ahead.op == '=') {
                arg = jp_node(p, N_KWARG, pos);
                arg->str = arena_str(p->arena, p->cur.text);
                named = true;
                if (!jp_next(p) || !jp_next(p) || !(arg->a = jp_expr(p))) return false;
            } else {
                if (named)
                    return jlex_fail(&p->lex, pos, ERR_JINJA_SYNTAX,
                                     "an argument without a name follows one with a name");
                if (!(arg = jp_expr(p))) return false;
            }
        }
        if (arg->kind != N_CONST && !jp_done(p, arg)) return false;
        vec_push(p->arena, &v, arg);
    }
    return jp_is_op(p, ')') && jp_next(p) && jp_listed(p, n, &v);
}

static JNode *parse_subscript(Parser *p, JNode *base) {
    u32 pos = p->cur.pos;
    if (jp_is_op(p, '.')) {
        if (!jp_next(p)) return NULL;
        JNode *n = jp_node(p, N_ATTR, p->cur.pos);
        n->a = base;
        if (p->cur.kind == T_NAME) {
            n->str = arena_str(p->arena, p->cur.text);
        } else if (p->cur.kind == T_INT) {
            n->kind = N_ITEM;
            n->b = constant(p, jval_int(p->cur.i));
        } else {
            jp_unexpected(p, "a name");
            return NULL;
        }
        return jp_next(p) ? jp_done(p, n) : NULL;
    }
    JNode *n = jp_node(p, N_ITEM, pos), *part[3] = {NULL, NULL, NULL};
    NodeVec v = {0};
    n->a = base;
    if (!jp_next(p)) return NULL;
    if (jp_is_op(p, ']')) return jp_unexpected(p, "a subscript"), NULL;
    int colons = 0;
    for (;;) {
        if (!jp_is_op(p, ':') && !jp_is_op(p, ']') && !jp_is_op(p, ',') &&
            !(part[colons] = jp_expr(p)))
            return NULL;
        if (jp_is_op(p, ':') && colons < 2 && v.n == 0) {
            colons++;
            if (!jp_next(p)) return NULL;
        } else if (jp_is_op(p, ',') && colons == 0 && part[0]) { // a tuple as key
            vec_push(p->arena, &v, part[0]);
            part[0] = NULL;
            if (!jp_next(p)) return NULL;
        } else {
            break;
        }
    }
    if (!jp_expect_op(p, ']', "]")) return NULL;
    if (v.n) {
        if (part[0]) vec_push(p->arena, &v, part[0]);
        n->b = jp_listed(p, jp_node(p, N_TUPLE, pos), &v);
    } else {
        n->b = part[0];
    }
    if (colons) {
        n->kind = N_SLICE;
        n->c = part[1];
        n->d = part[2];
    } else if (!n->b) {
        return NULL;
    }
    return jp_done(p, n);
}

static JNode *parse_call(Parser *p, JNode *callee) {
    JNode *n = jp_node(p, N_CALL, callee->pos);
    n->a = callee;
    return parse_args(p, n) ? n : NULL;
}

static JNode *parse_postfix(Parser *p, JNode *n) {
    while (n) {
        if (jp_is_op(p, '.') || jp_is_op(p, '['))
            n = parse_subscript(p, n);
        else if (jp_is_op(p, '('))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

// A filter's or test's name, which may have dots.
static bool dotted(Parser *p, Str *out) {
    if (p->cur.kind != T_NAME) return jp_unexpected(p, "a name");
    Buf b = {.arena = p->arena};
    buf_add(&b, p->cur.text);
    if (!jp_next(p)) return false;
    while (jp_is_op(p, '.')) {
        if (!jp_next(p)) return false;
        if (p->cur.kind != T_NAME) return jp_unexpected(p, "a name");
        buf_char(&b, '.');
        buf_add(&b, p->cur.text);
        if (!jp_next(p)) return false;
    }
    *out = buf_str(&b);
    return true;
}

static bool known(Parser *p, const JNode *n, const char *what) {
    if (n->sym >= 0 || p->conditional) return true;
    return jlex_fail(&p->lex, n->pos, ERR_JINJA_NAME, "there is no %s named %S", what, n->str);
}

// The filters after `|`, or (block) those that a set or filter block names, with nothing in front.
JNode *jp_filters(Parser *p, JNode *n, bool block) {
    while (block || jp_is_op(p, '|')) {
        if (!block && !jp_next(p)) return NULL;
        block = false;
        JNode *f = jp_node(p, N_FILTER, p->cur.pos);
        f->a = n;
        if (!dotted(p, &f->str)) return NULL;
        f->sym = jinja_filter_find(f->str);
        if (!known(p, f, "filter") || (jp_is_op(p, '(') && !parse_args(p, f)) || !jp_done(p, f))
            return NULL;
        n = f;
    }
    return n;
}

static JNode *parse_test(Parser *p, JNode *n) {
    if (!jp_next(p)) return NULL;
    bool negated = jp_is_name(p, "not");
    if (negated && !jp_next(p)) return NULL;
    JNode *t = jp_node(p, N_TEST, p->cur.pos);
    t->a = n;
    if (!dotted(p, &t->str)) return NULL;
    t->sym = jinja_test_find(t->str);
    if (!known(p, t, "test")) return NULL;
    if (jp_is_op(p, '(')) {
        if (!parse_args(p, t)) return NULL;
    } else if (p->cur.kind == T_STR || p->cur.kind == T_INT || p->cur.kind == T_FLOAT ||
               jp_is_op(p, '[') || jp_is_op(p, '{') ||
               (p->cur.kind == T_NAME && !jp_is_name(p, "else") && !jp_is_name(p, "or") &&
                !jp_is_name(p, "and") && !jp_is_name(p, "if") && !jp_is_name(p, "in") &&
                !jp_is_name(p, "not") && !jp_is_name(p, "recursive"))) {
        if (jp_is_name(p, "is"))
            return FAIL(p, p->cur.pos, ERR_JINJA_SYNTAX,
                        "tests cannot be chained by is; join them by and");
        NodeVec v = {0};
        JNode *arg = parse_primary(p);
        if (!arg || !(arg = parse_postfix(p, arg))) return NULL;
        vec_push(p->arena, &v, arg);
        if (!jp_listed(p, t, &v)) return NULL;
    }
    if (!jp_done(p, t)) return NULL;
    if (!negated) return t;
    JNode *not = jp_node(p, N_NOT, t->pos);
    not->a = t;
    return jp_done(p, not);
}

// Expressions separated by commas: one alone is itself, more (or a comma at the end) are a tuple.
JNode *jp_tuple(Parser *p, bool with_condition, bool may_be_empty) {
    u32 pos = p->cur.pos;
    NodeVec v = {0};
    bool comma = false;
    for (;;) {
        if (jp_is_op(p, ')') || p->cur.kind == T_VAR_END || p->cur.kind == T_BLOCK_END) break;
        JNode *n = with_condition ? jp_expr(p) : parse_prec(p, 1);
        if (!n) return NULL;
        vec_push(p->arena, &v, n);
        if (!jp_is_op(p, ',')) break;
        comma = true;
        if (!jp_next(p)) return NULL;
    }
    if (v.n == 1 && !comma) return v.at[0];
    if (v.n == 0 && !may_be_empty) return jp_unexpected(p, "an expression"), NULL;
    return jp_listed(p, jp_node(p, N_TUPLE, pos), &v);
}

static JNode *parse_brackets(Parser *p) {
    bool dict = jp_is_op(p, '{');
    JNode *n = jp_node(p, dict ? N_DICT : N_LIST, p->cur.pos);
    u16 close = dict ? '}' : ']';
    NodeVec v = {0};
    if (!jp_next(p)) return NULL;
    while (!jp_is_op(p, close)) {
        if (v.n && !jp_expect_op(p, ',', dict ? ", or }" : ", or ]")) return NULL;
        if (jp_is_op(p, close)) break;
        JNode *x = jp_expr(p);
        if (!x) return NULL;
        vec_push(p->arena, &v, x);
        if (dict) {
            if (!jp_expect_op(p, ':', ":") || !(x = jp_expr(p))) return NULL;
            vec_push(p->arena, &v, x);
        }
    }
    return jp_next(p) ? jp_listed(p, n, &v) : NULL;
}

static JNode *parse_primary(Parser *p) {
    JNode *n = NULL;
    JToken t = p->cur;
    switch (t.kind) {
    case T_NAME:
        if (jp_is_name(p, "true") || jp_is_name(p, "True") || jp_is_name(p, "false") ||
            jp_is_name(p, "False"))
            n = constant(p, jval_bool(t.text.ptr[0] == 't' || t.text.ptr[0] == 'T'));
        else if (jp_is_name(p, "none") || jp_is_name(p, "None"))
            n = constant(p, jval_none());
        else
            n = jp_name_node(p, t.text, t.pos);
        return jp_next(p) ? n : NULL;
    case T_STR: {
        Buf b = {.arena = p->arena};
        n = jp_node(p, N_CONST, t.pos);
        while (p->cur.kind == T_STR) { // neighbours are one string
            buf_add(&b, p->cur.text);
            if (!jp_next(p)) return NULL;
        }
        n->val = jval_str(buf_str(&b));
        return n;
    }
    case T_INT:
    case T_FLOAT:
        n = constant(p, t.kind == T_INT ? jval_int(t.i) : jval_float(t.f));
        return jp_next(p) ? n : NULL;
    case T_OP:
        if (t.op == '(') {
            if (!jp_next(p) || !(n = jp_tuple(p, true, true))) return NULL;
            return jp_expect_op(p, ')', ")") ? n : NULL;
        }
        if (t.op == '[' || t.op == '{') return parse_brackets(p);
        break;
    default: break;
    }
    jp_unexpected(p, "an expression");
    return NULL;
}

static JNode *parse_unary(Parser *p, bool with_filter) {
    JNode *n;
    if (!jp_enter(p)) return NULL;
    if (jp_is_op(p, '-') || jp_is_op(p, '+')) {
        n = jp_node(p, jp_is_op(p, '-') ? N_NEG : N_POS, p->cur.pos);
        n = jp_next(p) && (n->a = parse_unary(p, false)) ? jp_done(p, n) : NULL;
    } else {
        n = parse_primary(p);
    }
    n = n ? parse_postfix(p, n) : NULL;
    while (n && with_filter) {
        if (jp_is_op(p, '|'))
            n = jp_filters(p, n, false);
        else if (jp_is_name(p, "is"))
            n = parse_test(p, n);
        else if (jp_is_op(p, '('))
            n = parse_call(p, n);
        else
            break;
    }
    p->depth--;
    return n;
}

enum { P_OR = 1, P_AND, P_NOT, P_COMPARE, P_ADD, P_CONCAT, P_MUL, P_POW };

// The binary operator at the current token: its precedence, 0 when there is none. Comparisons leave
// a JCmp.
static int binary_op(Parser *p, u16 *op) {
    static const struct {
        u16 token, op;
        u8 prec;
    } ops[] = {
        {JOP2('=', '='), CMP_EQ, P_COMPARE},
        {JOP2('!', '='), CMP_NE, P_COMPARE},
        {'<', CMP_LT, P_COMPARE},
        {JOP2('<', '='), CMP_LE, P_COMPARE},
        {'>', CMP_GT, P_COMPARE},
        {JOP2('>', '='), CMP_GE, P_COMPARE},
        {'+', '+', P_ADD},
        {'-', '-', P_ADD},
        {'~', '~', P_CONCAT},
        {'*', '*', P_MUL},
        {'/', '/', P_MUL},
        {'%', '%', P_MUL},
        {JOP2('/', '/'), JOP2('/', '/'), P_MUL},
        {JOP2('*', '*'), JOP2('*', '*'), P_POW},
    };
    *op = 0;
    if (p->cur.kind == T_OP) {
        for (size_t i = 0; i < COUNT_OF(ops); i++) {
            if (ops[i].token == p->cur.op) {
                *op = ops[i].op;
                return ops[i].prec;
            }
        }
        return 0;
    }
    *op = CMP_IN;
    if (jp_is_name(p, "or")) return P_OR;
    if (jp_is_name(p, "and")) return P_AND;
    if (jp_is_name(p, "in")) return P_COMPARE;
    if (jp_is_name(p, "not") && jp_peek(p) && p->ahead.kind == T_NAME &&
        str_eq(p->ahead.text, S("in"))) {
        *op = CMP_NOT_IN;
        return P_COMPARE;
    }
    return 0;
}

// a < b < c: all pairs are compared, each operand evaluated once.
static JNode *parse_compare(Parser *p, JNode *left) {
    JNode *n = jp_node(p, N_COMPARE, p->cur.pos);
    NodeVec v = {0};
    u16 op;
    n->a = left;
    while (binary_op(p, &op) == P_COMPARE) {
        JNode *o = jp_node(p, N_OPERAND, p->cur.pos);
        o->op = op;
        if ((op == CMP_NOT_IN && !jp_next(p)) || !jp_next(p) || !(o->a = parse_prec(p, P_ADD)) ||
            !jp_done(p, o))
            return NULL;
        vec_push(p->arena, &v, o);
    }
    return jp_listed(p, n, &v);
}

static JNode *parse_concat(Parser *p, JNode *left) {
    JNode *n = jp_node(p, N_CONCAT, p->cur.pos);
    NodeVec v = {0};
    vec_push(p->arena, &v, left);
    while (jp_is_op(p, '~')) {
        JNode *right = jp_next(p) ? parse_prec(p, P_MUL) : NULL;
        if (!right) return NULL;
        vec_push(p->arena, &v, right);
    }
    return jp_listed(p, n, &v);
}

static JNode *parse_prec(Parser *p, int min) {
    JNode *left;
    u16 op;
    int most = P_POW, prec;
    if (!jp_enter(p)) return NULL;
    if (min <= P_NOT && jp_is_name(p, "not")) {
        left = jp_node(p, N_NOT, p->cur.pos);
        left = jp_next(p) && (left->a = parse_prec(p, P_NOT)) ? jp_done(p, left) : NULL;
        most = P_AND;
    } else {
        left = parse_unary(p, true);
    }
    while (left && (prec = binary_op(p, &op)) >= min && prec && prec <= most) {
        if (prec == P_COMPARE || prec == P_CONCAT) {
            left = prec == P_COMPARE ? parse_compare(p, left) : parse_concat(p, left);
            continue;
        }
        JNode *n = jp_node(p, prec == P_OR ? N_OR : prec == P_AND ? N_AND : N_BINARY, p->cur.pos);
        n->op = op;
        n->a = left;
        left = jp_next(p) && (n->b = parse_prec(p, prec + 1)) ? jp_done(p, n) : NULL;
    }
    p->depth--;
    return p->err->id == ERR_NONE ? left : NULL;
}

JNode *jp_expr(Parser *p) {
    JNode *n = parse_prec(p, P_OR);
    while (n && jp_is_name(p, "if")) {
        JNode *cond = jp_node(p, N_COND, p->cur.pos);
        cond->b = n;
        p->conditional++;
        if (!jp_next(p) || !(cond->a = parse_prec(p, P_OR))) return NULL;
        if (jp_is_name(p, "else")) {
            if (!jp_enter(p) || !jp_next(p) || !(cond->c = jp_expr(p))) return NULL;
            p->depth--;
        }
        p->conditional--;
        n = jp_done(p, cond);
    }
    return n;
}
