// text/jinja_parse.c: the tokens of a template as a tree.
//
// One token of look-ahead; binary operators by precedence climbing, so that a level of parentheses costs few C
// frames. The depth of the source is bounded while parsing, and the depth of the finished tree (which a chain
// of operators or filters makes without any bracket) at each node, so that the evaluator may recurse over it.
// Names become symbols; filters and tests become rows of their tables. It does not resolve scopes.
#include "text/jinja_int.h"

typedef struct Parser {
    JLex lex;
    JToken cur, ahead;
    bool has_ahead;
    Arena *arena;
    Template *t;
    Err *err;
    StrMap *symbols;
    VEC(Str) names;
    VEC(u32) opens; // where each open block began, for errors
    u32 depth;
    u32 conditional; // inside an if: an unknown filter may never be reached
    u32 loops;       // loops around this statement within the macro
    u8 *macro_flags; // of the macro being read
} Parser;

typedef VEC(JNode *) NodeVec;

#define FAIL(p, at, ...) (jlex_fail(&(p)->lex, (at), __VA_ARGS__), (JNode *)NULL)

static JNode *parse_expr(Parser *p);
static JNode *parse_prec(Parser *p, int min);
static JNode *parse_unary(Parser *p, bool with_filter);
static JNode *parse_primary(Parser *p);
static JNode *parse_postfix(Parser *p, JNode *n);
static JNode *parse_body(Parser *p, const char *const *ends);

static bool next(Parser *p)
{
    if (p->has_ahead) {
        p->cur = p->ahead;
        p->has_ahead = false;
        return true;
    }
    return jlex_next(&p->lex, &p->cur);
}

static bool peek(Parser *p)
{
    if (!p->has_ahead && !jlex_next(&p->lex, &p->ahead))
        return false;
    p->has_ahead = true;
    return true;
}

static bool is_op(const Parser *p, u16 op)
{
    return p->cur.kind == T_OP && p->cur.op == op;
}

static bool is_name(const Parser *p, const char *name)
{
    return p->cur.kind == T_NAME && str_eq(p->cur.text, str_c(name));
}

static Str token_text(const Parser *p)
{
    static const char *const names[] = {"the end of the template", "text", "{{", "}}", "{%", "%}"};
    const JToken *t = &p->cur;
    if (t->kind <= T_BLOCK_END)
        return str_c(names[t->kind]);
    if (t->kind == T_NAME)
        return t->text;
    if (t->kind == T_STR)
        return S("a string");
    if (t->kind == T_OP)
        return str_fmt(p->arena, t->op > 255 ? "%c%c" : "%c", t->op & 255, t->op >> 8);
    return S("a number");
}

static bool unexpected(Parser *p, const char *want)
{
    return jlex_fail(&p->lex, p->cur.pos, ERR_JINJA_SYNTAX, "%S stands where %s is wanted", token_text(p), want);
}

static bool expect_op(Parser *p, u16 op, const char *want)
{
    return is_op(p, op) ? next(p) : unexpected(p, want);
}

static bool expect_name(Parser *p, const char *name)
{
    return is_name(p, name) ? next(p) : unexpected(p, name);
}

static bool enter(Parser *p)
{
    if (p->depth >= JINJA_DEPTH)
        return jlex_fail(&p->lex, p->cur.pos, ERR_JINJA_DEPTH, "the template nests deeper than %d levels", JINJA_DEPTH);
    p->depth++;
    return true;
}

static JNode *node(Parser *p, JKind kind, u32 pos)
{
    JNode *n = NEW(p->arena, JNode);
    n->kind = (u8)kind;
    n->pos = pos;
    n->depth = 1;
    n->sym = -1;
    return n;
}

// Called when a node has its children: counts its depth.
static JNode *done(Parser *p, JNode *n)
{
    const JNode *kids[] = {n->a, n->b, n->c, n->d, n->e};
    u32 deepest = 0;
    for (size_t i = 0; i < COUNT_OF(kids); i++)
        deepest = kids[i] ? MAX2(deepest, kids[i]->depth) : deepest;
    for (u32 i = 0; i < n->n; i++)
        deepest = n->at[i] ? MAX2(deepest, n->at[i]->depth) : deepest;
    if (deepest >= JINJA_DEPTH)
        return FAIL(p, n->pos, ERR_JINJA_DEPTH, "this nests or chains deeper than %d levels", JINJA_DEPTH);
    n->depth = (u16)(deepest + 1);
    return n;
}

static JNode *listed(Parser *p, JNode *n, const NodeVec *v)
{
    n->at = v->at;
    n->n = (u32)v->n;
    return done(p, n);
}

static JNode *constant(Parser *p, JVal v)
{
    JNode *n = node(p, N_CONST, p->cur.pos);
    n->val = v;
    return n;
}

static i32 symbol(Parser *p, Str name)
{
    i32 id;
    if (strmap_get(p->symbols, name, &id))
        return id;
    name = arena_str(p->arena, name);
    id = (i32)p->names.n;
    vec_push(p->arena, &p->names, name);
    strmap_put(p->symbols, name, id);
    return id;
}

static JNode *name_node(Parser *p, Str name, u32 pos)
{
    JNode *n = node(p, N_NAME, pos);
    n->str = name;
    n->sym = symbol(p, name);
    if (p->macro_flags)
        *p->macro_flags |= n->sym == p->t->sym_varargs  ? MACRO_VARARGS
                           : n->sym == p->t->sym_kwargs ? MACRO_KWARGS
                           : n->sym == p->t->sym_caller ? MACRO_CALLER
                                                        : 0;
    return n;
}

// ---- expressions ------------------------------------------------------------------------------------------

// Arguments up to the closing parenthesis; the opening one is the current token.
static bool parse_args(Parser *p, JNode *n)
{
    NodeVec v = {0};
    bool named = false;
    if (!next(p))
        return false;
    while (!is_op(p, ')')) {
        JNode *arg = NULL;
        u32 pos = p->cur.pos;
        if (v.n && (!expect_op(p, ',', ", or )") || is_op(p, ')')))
            break;
        if (is_op(p, '*') || is_op(p, JOP2('*', '*'))) {
            arg = node(p, is_op(p, '*') ? N_STAR : N_STARSTAR, pos);
            named = named || arg->kind == N_STARSTAR;
            if (!next(p) || !(arg->a = parse_expr(p)))
                return false;
        } else {
            if (p->cur.kind == T_NAME && !peek(p))
                return false;
            if (p->cur.kind == T_NAME && p->ahead.kind == T_OP && p->ahead.op == '=') {
                arg = node(p, N_KWARG, pos);
                arg->str = arena_str(p->arena, p->cur.text);
                named = true;
                if (!next(p) || !next(p) || !(arg->a = parse_expr(p)))
                    return false;
            } else {
                if (named)
                    return jlex_fail(&p->lex, pos, ERR_JINJA_SYNTAX, "an argument without a name follows one with a name");
                if (!(arg = parse_expr(p)))
                    return false;
            }
        }
        if (arg->kind != N_CONST && !done(p, arg))
            return false;
        vec_push(p->arena, &v, arg);
    }
    return is_op(p, ')') && next(p) && listed(p, n, &v);
}

static JNode *parse_subscript(Parser *p, JNode *base)
{
    u32 pos = p->cur.pos;
    if (is_op(p, '.')) {
        if (!next(p))
            return NULL;
        JNode *n = node(p, N_ATTR, p->cur.pos);
        n->a = base;
        if (p->cur.kind == T_NAME) {
            n->str = arena_str(p->arena, p->cur.text);
        } else if (p->cur.kind == T_INT) {
            n->kind = N_ITEM;
            n->b = constant(p, jval_int(p->cur.i));
        } else {
            unexpected(p, "a name");
            return NULL;
        }
        return next(p) ? done(p, n) : NULL;
    }
    JNode *n = node(p, N_ITEM, pos), *part[3] = {NULL, NULL, NULL};
    NodeVec v = {0};
    n->a = base;
    if (!next(p))
        return NULL;
    if (is_op(p, ']'))
        return unexpected(p, "a subscript"), NULL;
    int colons = 0;
    for (;;) {
        if (!is_op(p, ':') && !is_op(p, ']') && !is_op(p, ',') && !(part[colons] = parse_expr(p)))
            return NULL;
        if (is_op(p, ':') && colons < 2 && v.n == 0) {
            colons++;
            if (!next(p))
                return NULL;
        } else if (is_op(p, ',') && colons == 0 && part[0]) { // a tuple as key
            vec_push(p->arena, &v, part[0]);
            part[0] = NULL;
            if (!next(p))
                return NULL;
        } else {
            break;
        }
    }
    if (!expect_op(p, ']', "]"))
        return NULL;
    if (v.n) {
        if (part[0])
            vec_push(p->arena, &v, part[0]);
        n->b = listed(p, node(p, N_TUPLE, pos), &v);
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
    return done(p, n);
}

static JNode *parse_call(Parser *p, JNode *callee)
{
    JNode *n = node(p, N_CALL, callee->pos);
    n->a = callee;
    return parse_args(p, n) ? n : NULL;
}

static JNode *parse_postfix(Parser *p, JNode *n)
{
    while (n) {
        if (is_op(p, '.') || is_op(p, '['))
            n = parse_subscript(p, n);
        else if (is_op(p, '('))
            n = parse_call(p, n);
        else
            break;
    }
    return n;
}

// A filter's or test's name, which may have dots.
static bool dotted(Parser *p, Str *out)
{
    if (p->cur.kind != T_NAME)
        return unexpected(p, "a name");
    Buf b = {.arena = p->arena};
    buf_add(&b, p->cur.text);
    if (!next(p))
        return false;
    while (is_op(p, '.')) {
        if (!next(p))
            return false;
        if (p->cur.kind != T_NAME)
            return unexpected(p, "a name");
        buf_char(&b, '.');
        buf_add(&b, p->cur.text);
        if (!next(p))
            return false;
    }
    *out = buf_str(&b);
    return true;
}

static bool known(Parser *p, const JNode *n, const char *what)
{
    if (n->sym >= 0 || p->conditional)
        return true;
    return jlex_fail(&p->lex, n->pos, ERR_JINJA_NAME, "there is no %s named %S", what, n->str);
}

// The filters after `|`, or (block) those that a set or filter block names, with nothing in front.
static JNode *parse_filters(Parser *p, JNode *n, bool block)
{
    while (block || is_op(p, '|')) {
        if (!block && !next(p))
            return NULL;
        block = false;
        JNode *f = node(p, N_FILTER, p->cur.pos);
        f->a = n;
        if (!dotted(p, &f->str))
            return NULL;
        f->sym = jinja_filter_find(f->str);
        if (!known(p, f, "filter") || (is_op(p, '(') && !parse_args(p, f)) || !done(p, f))
            return NULL;
        n = f;
    }
    return n;
}

static JNode *parse_test(Parser *p, JNode *n)
{
    if (!next(p))
        return NULL;
    bool negated = is_name(p, "not");
    if (negated && !next(p))
        return NULL;
    JNode *t = node(p, N_TEST, p->cur.pos);
    t->a = n;
    if (!dotted(p, &t->str))
        return NULL;
    t->sym = jinja_test_find(t->str);
    if (!known(p, t, "test"))
        return NULL;
    if (is_op(p, '(')) {
        if (!parse_args(p, t))
            return NULL;
    } else if (p->cur.kind == T_STR || p->cur.kind == T_INT || p->cur.kind == T_FLOAT || is_op(p, '[') || is_op(p, '{') ||
               (p->cur.kind == T_NAME && !is_name(p, "else") && !is_name(p, "or") && !is_name(p, "and") &&
                !is_name(p, "if") && !is_name(p, "in") && !is_name(p, "not") && !is_name(p, "recursive"))) {
        if (is_name(p, "is"))
            return FAIL(p, p->cur.pos, ERR_JINJA_SYNTAX, "tests cannot be chained by is; join them by and");
        NodeVec v = {0};
        JNode *arg = parse_primary(p);
        if (!arg || !(arg = parse_postfix(p, arg)))
            return NULL;
        vec_push(p->arena, &v, arg);
        if (!listed(p, t, &v))
            return NULL;
    }
    if (!done(p, t))
        return NULL;
    if (!negated)
        return t;
    JNode *not = node(p, N_NOT, t->pos);
    not->a = t;
    return done(p, not);
}

// Expressions separated by commas: one alone is itself, more (or a comma at the end) are a tuple.
static JNode *parse_tuple(Parser *p, bool with_condition, bool may_be_empty)
{
    u32 pos = p->cur.pos;
    NodeVec v = {0};
    bool comma = false;
    for (;;) {
        if (is_op(p, ')') || p->cur.kind == T_VAR_END || p->cur.kind == T_BLOCK_END)
            break;
        JNode *n = with_condition ? parse_expr(p) : parse_prec(p, 1);
        if (!n)
            return NULL;
        vec_push(p->arena, &v, n);
        if (!is_op(p, ','))
            break;
        comma = true;
        if (!next(p))
            return NULL;
    }
    if (v.n == 1 && !comma)
        return v.at[0];
    if (v.n == 0 && !may_be_empty)
        return unexpected(p, "an expression"), NULL;
    return listed(p, node(p, N_TUPLE, pos), &v);
}

static JNode *parse_brackets(Parser *p)
{
    bool dict = is_op(p, '{');
    JNode *n = node(p, dict ? N_DICT : N_LIST, p->cur.pos);
    u16 close = dict ? '}' : ']';
    NodeVec v = {0};
    if (!next(p))
        return NULL;
    while (!is_op(p, close)) {
        if (v.n && !expect_op(p, ',', dict ? ", or }" : ", or ]"))
            return NULL;
        if (is_op(p, close))
            break;
        JNode *x = parse_expr(p);
        if (!x)
            return NULL;
        vec_push(p->arena, &v, x);
        if (dict) {
            if (!expect_op(p, ':', ":") || !(x = parse_expr(p)))
                return NULL;
            vec_push(p->arena, &v, x);
        }
    }
    return next(p) ? listed(p, n, &v) : NULL;
}

static JNode *parse_primary(Parser *p)
{
    JNode *n = NULL;
    JToken t = p->cur;
    switch (t.kind) {
    case T_NAME:
        if (is_name(p, "true") || is_name(p, "True") || is_name(p, "false") || is_name(p, "False"))
            n = constant(p, jval_bool(t.text.ptr[0] == 't' || t.text.ptr[0] == 'T'));
        else if (is_name(p, "none") || is_name(p, "None"))
            n = constant(p, jval_none());
        else
            n = name_node(p, t.text, t.pos);
        return next(p) ? n : NULL;
    case T_STR: {
        Buf b = {.arena = p->arena};
        n = node(p, N_CONST, t.pos);
        while (p->cur.kind == T_STR) { // neighbours are one string
            buf_add(&b, p->cur.text);
            if (!next(p))
                return NULL;
        }
        n->val = jval_str(buf_str(&b));
        return n;
    }
    case T_INT:
    case T_FLOAT:
        n = constant(p, t.kind == T_INT ? jval_int(t.i) : jval_float(t.f));
        return next(p) ? n : NULL;
    case T_OP:
        if (t.op == '(') {
            if (!next(p) || !(n = parse_tuple(p, true, true)))
                return NULL;
            return expect_op(p, ')', ")") ? n : NULL;
        }
        if (t.op == '[' || t.op == '{')
            return parse_brackets(p);
        break;
    default:
        break;
    }
    unexpected(p, "an expression");
    return NULL;
}

static JNode *parse_unary(Parser *p, bool with_filter)
{
    JNode *n;
    if (!enter(p))
        return NULL;
    if (is_op(p, '-') || is_op(p, '+')) {
        n = node(p, is_op(p, '-') ? N_NEG : N_POS, p->cur.pos);
        n = next(p) && (n->a = parse_unary(p, false)) ? done(p, n) : NULL;
    } else {
        n = parse_primary(p);
    }
    n = n ? parse_postfix(p, n) : NULL;
    while (n && with_filter) {
        if (is_op(p, '|'))
            n = parse_filters(p, n, false);
        else if (is_name(p, "is"))
            n = parse_test(p, n);
        else if (is_op(p, '('))
            n = parse_call(p, n);
        else
            break;
    }
    p->depth--;
    return n;
}

enum { P_OR = 1, P_AND, P_NOT, P_COMPARE, P_ADD, P_CONCAT, P_MUL, P_POW };

// The binary operator at the current token: its precedence, 0 when there is none. Comparisons leave a JCmp.
static int binary_op(Parser *p, u16 *op)
{
    static const struct {
        u16 token, op;
        u8 prec;
    } ops[] = {
        {JOP2('=', '='), CMP_EQ, P_COMPARE}, {JOP2('!', '='), CMP_NE, P_COMPARE}, {'<', CMP_LT, P_COMPARE},
        {JOP2('<', '='), CMP_LE, P_COMPARE}, {'>', CMP_GT, P_COMPARE},            {JOP2('>', '='), CMP_GE, P_COMPARE},
        {'+', '+', P_ADD},                   {'-', '-', P_ADD},                   {'~', '~', P_CONCAT},
        {'*', '*', P_MUL},                   {'/', '/', P_MUL},                   {'%', '%', P_MUL},
        {JOP2('/', '/'), JOP2('/', '/'), P_MUL}, {JOP2('*', '*'), JOP2('*', '*'), P_POW},
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
    if (is_name(p, "or"))
        return P_OR;
    if (is_name(p, "and"))
        return P_AND;
    if (is_name(p, "in"))
        return P_COMPARE;
    if (is_name(p, "not") && peek(p) && p->ahead.kind == T_NAME && str_eq(p->ahead.text, S("in"))) {
        *op = CMP_NOT_IN;
        return P_COMPARE;
    }
    return 0;
}

// a < b < c: all pairs are compared, each operand evaluated once.
static JNode *parse_compare(Parser *p, JNode *left)
{
    JNode *n = node(p, N_COMPARE, p->cur.pos);
    NodeVec v = {0};
    u16 op;
    n->a = left;
    while (binary_op(p, &op) == P_COMPARE) {
        JNode *o = node(p, N_OPERAND, p->cur.pos);
        o->op = op;
        if ((op == CMP_NOT_IN && !next(p)) || !next(p) || !(o->a = parse_prec(p, P_ADD)) || !done(p, o))
            return NULL;
        vec_push(p->arena, &v, o);
    }
    return listed(p, n, &v);
}

static JNode *parse_concat(Parser *p, JNode *left)
{
    JNode *n = node(p, N_CONCAT, p->cur.pos);
    NodeVec v = {0};
    vec_push(p->arena, &v, left);
    while (is_op(p, '~')) {
        JNode *right = next(p) ? parse_prec(p, P_MUL) : NULL;
        if (!right)
            return NULL;
        vec_push(p->arena, &v, right);
    }
    return listed(p, n, &v);
}

static JNode *parse_prec(Parser *p, int min)
{
    JNode *left;
    u16 op;
    int most = P_POW, prec;
    if (!enter(p))
        return NULL;
    if (min <= P_NOT && is_name(p, "not")) {
        left = node(p, N_NOT, p->cur.pos);
        left = next(p) && (left->a = parse_prec(p, P_NOT)) ? done(p, left) : NULL;
        most = P_AND;
    } else {
        left = parse_unary(p, true);
    }
    while (left && (prec = binary_op(p, &op)) >= min && prec && prec <= most) {
        if (prec == P_COMPARE || prec == P_CONCAT) {
            left = prec == P_COMPARE ? parse_compare(p, left) : parse_concat(p, left);
            continue;
        }
        JNode *n = node(p, prec == P_OR ? N_OR : prec == P_AND ? N_AND : N_BINARY, p->cur.pos);
        n->op = op;
        n->a = left;
        left = next(p) && (n->b = parse_prec(p, prec + 1)) ? done(p, n) : NULL;
    }
    p->depth--;
    return p->err->id == ERR_NONE ? left : NULL;
}

static JNode *parse_expr(Parser *p)
{
    JNode *n = parse_prec(p, P_OR);
    while (n && is_name(p, "if")) {
        JNode *cond = node(p, N_COND, p->cur.pos);
        cond->b = n;
        p->conditional++;
        if (!next(p) || !(cond->a = parse_prec(p, P_OR)))
            return NULL;
        if (is_name(p, "else")) {
            if (!enter(p) || !next(p) || !(cond->c = parse_expr(p)))
                return NULL;
            p->depth--;
        }
        p->conditional--;
        n = done(p, cond);
    }
    return n;
}

// ---- statements ---------------------------------------------------------------------------------------------

static JNode *target_name(Parser *p)
{
    if (p->cur.kind != T_NAME)
        return unexpected(p, "a name"), NULL;
    static const char *const reserved[] = {"true", "True", "false", "False", "none", "None"};
    for (size_t i = 0; i < COUNT_OF(reserved); i++)
        if (is_name(p, reserved[i]))
            return FAIL(p, p->cur.pos, ERR_JINJA_SYNTAX, "%S cannot be assigned to", p->cur.text);
    JNode *n = name_node(p, p->cur.text, p->cur.pos);
    if (!next(p))
        return NULL;
    if (is_op(p, '.')) {
        n->kind = N_NSREF;
        if (!next(p))
            return NULL;
        if (p->cur.kind != T_NAME)
            return unexpected(p, "a name"), NULL;
        n->str2 = arena_str(p->arena, p->cur.text);
        if (!next(p))
            return NULL;
    }
    return n;
}

static JNode *parse_target(Parser *p) // a, or a, b, (c, d)
{
    NodeVec v = {0};
    u32 pos = p->cur.pos;
    bool comma = false;
    if (!enter(p))
        return NULL;
    for (;;) {
        JNode *n;
        if (is_op(p, '(')) {
            if (!next(p) || !(n = parse_target(p)) || !expect_op(p, ')', ")"))
                return NULL;
        } else if (!(n = target_name(p))) {
            return NULL;
        }
        vec_push(p->arena, &v, n);
        if (!is_op(p, ','))
            break;
        comma = true;
        if (!next(p))
            return NULL;
        if (p->cur.kind != T_NAME && !is_op(p, '('))
            break;
    }
    p->depth--;
    return v.n == 1 && !comma ? v.at[0] : listed(p, node(p, N_TUPLE, pos), &v);
}

static bool end_block(Parser *p)
{
    return p->cur.kind == T_BLOCK_END ? next(p) : unexpected(p, "%}");
}

// The body up to one of `ends`, then past its closing word and %}.
static JNode *body_until(Parser *p, const char *end)
{
    const char *ends[] = {end, NULL};
    if (!end_block(p))
        return NULL;
    JNode *n = parse_body(p, ends);
    return n && next(p) && end_block(p) ? n : NULL;
}

static JNode *parse_if(Parser *p, JNode *n)
{
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    NodeVec v = {0};
    p->conditional++;
    do {
        JNode *cond, *body;
        if (!next(p) || !(cond = parse_tuple(p, false, false)) || !end_block(p) || !(body = parse_body(p, ends)))
            return NULL;
        vec_push(p->arena, &v, cond);
        vec_push(p->arena, &v, body);
    } while (is_name(p, "elif"));
    if (is_name(p, "else")) {
        if (!next(p) || !(n->c = body_until(p, "endif")))
            return NULL;
    } else if (!next(p) || !end_block(p)) {
        return NULL;
    }
    p->conditional--;
    return listed(p, n, &v);
}

static JNode *parse_for(Parser *p, JNode *n)
{
    static const char *const ends[] = {"else", "endfor", NULL};
    if (!next(p) || !(n->a = parse_target(p)) || !expect_name(p, "in") || !(n->b = parse_tuple(p, false, false)))
        return NULL;
    if (is_name(p, "if") && (!next(p) || !(n->d = parse_expr(p))))
        return NULL;
    n->flags = is_name(p, "recursive");
    if ((n->flags && !next(p)) || !end_block(p))
        return NULL;
    p->loops++;
    n->c = parse_body(p, ends);
    p->loops--;
    if (!n->c)
        return NULL;
    if (is_name(p, "else")) {
        if (!next(p) || !(n->e = body_until(p, "endfor")))
            return NULL;
    } else if (!next(p) || !end_block(p)) {
        return NULL;
    }
    return done(p, n);
}

static JNode *parse_set(Parser *p, JNode *n)
{
    if (!next(p) || !(n->a = parse_target(p)))
        return NULL;
    if (is_op(p, '=')) {
        if (!next(p) || !(n->b = parse_tuple(p, true, false)) || !end_block(p))
            return NULL;
        return done(p, n);
    }
    n->kind = N_SETBLOCK;
    if (is_op(p, '|') && !(n->b = parse_filters(p, NULL, false)))
        return NULL;
    return (n->c = body_until(p, "endset")) ? done(p, n) : NULL;
}

static bool parse_params(Parser *p, JNode *macro) // up to and past )
{
    NodeVec v = {0};
    if (!next(p))
        return false;
    while (!is_op(p, ')')) {
        if (v.n && !expect_op(p, ',', ", or )"))
            return false;
        if (is_op(p, ')'))
            break;
        if (p->cur.kind != T_NAME)
            return unexpected(p, "a parameter's name");
        JNode *n = node(p, N_PARAM, p->cur.pos);
        n->str = arena_str(p->arena, p->cur.text);
        n->sym = symbol(p, n->str);
        if (!next(p))
            return false;
        if (is_op(p, '=')) {
            if (!next(p) || !(n->a = parse_expr(p)))
                return false;
        } else if (v.n && v.at[v.n - 1]->a) {
            return jlex_fail(&p->lex, n->pos, ERR_JINJA_SYNTAX, "a parameter without a default follows one with a default");
        }
        if (!done(p, n))
            return false;
        vec_push(p->arena, &v, n);
    }
    return next(p) && listed(p, macro, &v);
}

// The parameters (if the current token opens them) and body of a macro or call block.
static JNode *parse_macro_rest(Parser *p, JNode *m, JNode *call, const char *end)
{
    u8 *outer = p->macro_flags;
    u32 loops = p->loops;
    p->macro_flags = &m->flags;
    p->loops = 0;
    if (is_op(p, '(') && !parse_params(p, m))
        return NULL;
    if (call) { // {% call(params) macro(...) %}: the call itself is outside of the body
        p->macro_flags = outer;
        JNode *c = parse_expr(p);
        p->macro_flags = &m->flags;
        if (!c)
            return NULL;
        if (c->kind != N_CALL)
            return FAIL(p, c->pos, ERR_JINJA_SYNTAX, "call wants a macro's call");
        call->a = c;
    }
    m->c = body_until(p, end);
    p->macro_flags = outer;
    p->loops = loops;
    return m->c ? done(p, m) : NULL;
}

static JNode *parse_macro(Parser *p, JNode *n)
{
    if (!next(p))
        return NULL;
    if (p->cur.kind != T_NAME)
        return unexpected(p, "the macro's name"), NULL;
    n->str = arena_str(p->arena, p->cur.text);
    n->sym = symbol(p, n->str);
    if (!next(p))
        return NULL;
    if (!is_op(p, '('))
        return unexpected(p, "("), NULL;
    return parse_macro_rest(p, n, NULL, "endmacro");
}

static JNode *parse_callblock(Parser *p, JNode *n)
{
    if (!next(p))
        return NULL;
    n->b = node(p, N_MACRO, n->pos);
    n->b->str = S("caller");
    n->b = parse_macro_rest(p, n->b, n, "endcall");
    return n->b ? done(p, n) : NULL;
}

static JNode *parse_filterblock(Parser *p, JNode *n)
{
    if (!next(p) || !(n->b = parse_filters(p, NULL, true)) || !(n->c = body_until(p, "endfilter")))
        return NULL;
    return done(p, n);
}

static JNode *parse_with(Parser *p, JNode *n)
{
    NodeVec v = {0};
    if (!next(p))
        return NULL;
    while (p->cur.kind != T_BLOCK_END) {
        if (v.n && !expect_op(p, ',', ", or %}"))
            return NULL;
        JNode *target = target_name(p), *val = NULL;
        if (!target || !expect_op(p, '=', "=") || !(val = parse_expr(p)))
            return NULL;
        vec_push(p->arena, &v, target);
        vec_push(p->arena, &v, val);
    }
    n->c = body_until(p, "endwith");
    return n->c ? listed(p, n, &v) : NULL;
}

static JNode *parse_scope(Parser *p, JNode *n) // {% generation %}: marks the assistant's words, prints them
{
    return next(p) && (n->c = body_until(p, "endgeneration")) ? done(p, n) : NULL;
}

static JNode *parse_jump(Parser *p, JNode *n)
{
    if (p->loops == 0)
        return FAIL(p, n->pos, ERR_JINJA_SYNTAX, "%S stands outside of a loop", p->cur.text);
    return next(p) && end_block(p) ? n : NULL;
}

static JNode *parse_print(Parser *p, JNode *n) // {% print a, b %} comes with Jinja too
{
    NodeVec v = {0};
    if (!next(p))
        return NULL;
    while (p->cur.kind != T_BLOCK_END) {
        if (v.n && !expect_op(p, ',', ","))
            return NULL;
        JNode *x = parse_expr(p);
        if (!x)
            return NULL;
        vec_push(p->arena, &v, x);
    }
    return next(p) ? listed(p, n, &v) : NULL;
}

static const struct {
    const char *name;
    JKind kind;
    JNode *(*parse)(Parser *p, JNode *n);
} statements[] = {
    {"if", N_IF, parse_if},
    {"for", N_FOR, parse_for},
    {"set", N_SET, parse_set},
    {"macro", N_MACRO, parse_macro},
    {"call", N_CALLBLOCK, parse_callblock},
    {"filter", N_FILTERBLOCK, parse_filterblock},
    {"with", N_WITH, parse_with},
    {"generation", N_SCOPE, parse_scope},
    {"break", N_BREAK, parse_jump},
    {"continue", N_CONTINUE, parse_jump},
    {"print", N_PRINT, parse_print},
};

static JNode *parse_statement(Parser *p)
{
    if (p->cur.kind != T_NAME)
        return unexpected(p, "a statement's name"), NULL;
    for (size_t i = 0; i < COUNT_OF(statements); i++) {
        if (is_name(p, statements[i].name)) {
            u32 at = p->cur.pos;
            vec_push(p->arena, &p->opens, at);
            JNode *n = enter(p) ? statements[i].parse(p, node(p, statements[i].kind, at)) : NULL;
            p->depth--;
            p->opens.n--;
            return n;
        }
    }
    if (str_starts(p->cur.text, S("end")) || is_name(p, "else") || is_name(p, "elif"))
        return FAIL(p, p->cur.pos, ERR_JINJA_SYNTAX, "%S ends nothing that is open here", p->cur.text);
    return FAIL(p, p->cur.pos, ERR_JINJA_SYNTAX, "%S is not a statement known here", p->cur.text);
}

// Statements until {% word %} with a word of ends (which is then the current token), or to the end of the source.
static JNode *parse_body(Parser *p, const char *const *ends)
{
    JNode *seq = node(p, N_SEQ, p->cur.pos);
    NodeVec v = {0};
    for (;;) {
        JNode *n = NULL;
        switch (p->cur.kind) {
        case T_EOF: {
            int line, col;
            if (!ends)
                return listed(p, seq, &v);
            u32 open = p->opens.n ? p->opens.at[p->opens.n - 1] : 0;
            jinja_place(p->lex.src, open, &line, &col);
            return FAIL(p, p->cur.pos, ERR_JINJA_SYNTAX, "the template ends inside the block of line %d; close it by {%% %s %%}", line,
                        ends[1] ? ends[2] ? ends[2] : ends[1] : ends[0]);
        }
        case T_DATA:
            n = node(p, N_DATA, p->cur.pos);
            n->str = p->cur.text;
            if (!next(p))
                return NULL;
            if (n->str.len == 0)
                continue;
            break;
        case T_VAR_BEGIN: {
            NodeVec one = {0};
            n = node(p, N_PRINT, p->cur.pos);
            JNode *x = next(p) ? parse_tuple(p, true, false) : NULL;
            if (!x)
                return NULL;
            if (p->cur.kind != T_VAR_END)
                return unexpected(p, "}}"), NULL;
            vec_push(p->arena, &one, x);
            if (!next(p) || !listed(p, n, &one))
                return NULL;
            break;
        }
        case T_BLOCK_BEGIN:
            if (!next(p))
                return NULL;
            for (const char *const *e = ends; e && *e; e++)
                if (is_name(p, *e))
                    return listed(p, seq, &v);
            if (!(n = parse_statement(p)))
                return NULL;
            break;
        default:
            return unexpected(p, "text or a tag"), NULL;
        }
        vec_push(p->arena, &v, n);
    }
}

bool jinja_parse(Arena *a, Str name, Str text, Template *t, Err *err)
{
    Parser p = {.arena = a, .t = t, .err = err};
    if (text.len > JINJA_SOURCE_LIMIT) {
        err_set(err, ERR_JINJA_SYNTAX, "the template has %U bytes; at most %U are read", (u64)text.len, (u64)JINJA_SOURCE_LIMIT);
        return err_file(err, name);
    }
    p.symbols = strmap_new(a, 64);
    jlex_init(&p.lex, a, name, text, err);
    t->name = name;
    t->src = p.lex.src;
    t->sym_loop = symbol(&p, S("loop"));
    t->sym_caller = symbol(&p, S("caller"));
    t->sym_varargs = symbol(&p, S("varargs"));
    t->sym_kwargs = symbol(&p, S("kwargs"));
    if (!next(&p) || !(t->body = parse_body(&p, NULL)))
        return false;
    t->symbols = p.names.at;
    t->n_symbols = (u32)p.names.n;
    return true;
}
