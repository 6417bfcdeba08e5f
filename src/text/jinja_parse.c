// text/jinja_parse.c: the statements of a template as a tree.
//
// A table names the statements; each row's function reads from behind its word to the end of its
// block. Scopes are not resolved here: a name is a symbol, and the evaluator looks it up.
#include "text/jinja_parse.h"

static JNode *parse_body(Parser *p, const char *const *ends);

static JNode *target_name(Parser *p) {
    if (p->cur.kind != T_NAME) return jp_unexpected(p, "a name"), NULL;
    static const char *const reserved[] = {"true", "True", "false", "False", "none", "None"};
    for (size_t i = 0; i < COUNT_OF(reserved); i++)
        if (jp_is_name(p, reserved[i]))
            return FAIL(p, p->cur.pos, ERR_JINJA_SYNTAX, "%S cannot be assigned to", p->cur.text);
    JNode *n = jp_name_node(p, p->cur.text, p->cur.pos);
    if (!jp_next(p)) return NULL;
    if (jp_is_op(p, '.')) {
        n->kind = N_NSREF;
        if (!jp_next(p)) return NULL;
        if (p->cur.kind != T_NAME) return jp_unexpected(p, "a name"), NULL;
        n->str2 = arena_str(p->arena, p->cur.text);
        if (!jp_next(p)) return NULL;
    }
    return n;
}

static JNode *parse_target(Parser *p) // a, or a, b, (c, d)
{
    NodeVec v = {0};
    u32 pos = p->cur.pos;
    bool comma = false;
    if (!jp_enter(p)) return NULL;
    for (;;) {
        JNode *n;
        if (jp_is_op(p, '(')) {
            if (!jp_next(p) || !(n = parse_target(p)) || !jp_expect_op(p, ')', ")")) return NULL;
        } else if (!(n = target_name(p))) {
            return NULL;
        }
        vec_push(p->arena, &v, n);
        if (!jp_is_op(p, ',')) break;
        comma = true;
        if (!jp_next(p)) return NULL;
        if (p->cur.kind != T_NAME && !jp_is_op(p, '(')) break;
    }
    p->depth--;
    return v.n == 1 && !comma ? v.at[0] : jp_listed(p, jp_node(p, N_TUPLE, pos), &v);
}

static bool end_block(Parser *p) {
    return p->cur.kind == T_BLOCK_END ? jp_next(p) : jp_unexpected(p, "%}");
}

// The body up to one of `ends`, then past its closing word and %}.
static JNode *body_until(Parser *p, const char *end) {
    const char *ends[] = {end, NULL};
    if (!end_block(p)) return NULL;
    JNode *n = parse_body(p, ends);
    return n && jp_next(p) && end_block(p) ? n : NULL;
}

static JNode *parse_if(Parser *p, JNode *n) {
    static const char *const ends[] = {"elif", "else", "endif", NULL};
    NodeVec v = {0};
    p->conditional++;
    do {
        JNode *cond, *body;
        if (!jp_next(p) || !(cond = jp_tuple(p, false, false)) || !end_block(p) ||
            !(body = parse_body(p, ends)))
            return NULL;
        vec_push(p->arena, &v, cond);
        vec_push(p->arena, &v, body);
    } while (jp_is_name(p, "elif"));
    if (jp_is_name(p, "else")) {
        if (!jp_next(p) || !(n->c = body_until(p, "endif"))) return NULL;
    } else if (!jp_next(p) || !end_block(p)) {
        return NULL;
    }
    p->conditional--;
    return jp_listed(p, n, &v);
}

static JNode *parse_for(Parser *p, JNode *n) {
    static const char *const ends[] = {"else", "endfor", NULL};
    if (!jp_next(p) || !(n->a = parse_target(p)) || !jp_expect_name(p, "in") ||
        !(n->b = jp_tuple(p, false, false)))
        return NULL;
    if (jp_is_name(p, "if") && (!jp_next(p) || !(n->d = jp_expr(p)))) return NULL;
    n->flags = jp_is_name(p, "recursive");
    if ((n->flags && !jp_next(p)) || !end_block(p)) return NULL;
    p->loops++;
    n->c = parse_body(p, ends);
    p->loops--;
    if (!n->c) return NULL;
    if (jp_is_name(p, "else")) {
        if (!jp_next(p) || !(n->e = body_until(p, "endfor"))) return NULL;
    } else if (!jp_next(p) || !end_block(p)) {
        return NULL;
    }
    return jp_done(p, n);
}

static JNode *parse_set(Parser *p, JNode *n) {
    if (!jp_next(p) || !(n->a = parse_target(p))) return NULL;
    if (jp_is_op(p, '=')) {
        if (!jp_next(p) || !(n->b = jp_tuple(p, true, false)) || !end_block(p)) return NULL;
        return jp_done(p, n);
    }
    n->kind = N_SETBLOCK;
    if (jp_is_op(p, '|') && !(n->b = jp_filters(p, NULL, false))) return NULL;
    return (n->c = body_until(p, "endset")) ? jp_done(p, n) : NULL;
}

static bool parse_params(Parser *p, JNode *macro) // up to and past )
{
    NodeVec v = {0};
    if (!jp_next(p)) return false;
    while (!jp_is_op(p, ')')) {
        if (v.n && !jp_expect_op(p, ',', ", or )")) return false;
        if (jp_is_op(p, ')')) break;
        if (p->cur.kind != T_NAME) return jp_unexpected(p, "a parameter's name");
        JNode *n = jp_node(p, N_PARAM, p->cur.pos);
        n->str = arena_str(p->arena, p->cur.text);
        n->sym = jp_symbol(p, n->str);
        if (!jp_next(p)) return false;
        if (jp_is_op(p, '=')) {
            if (!jp_next(p) || !(n->a = jp_expr(p))) return false;
        } else if (v.n && v.at[v.n - 1]->a) {
            return jlex_fail(&p->lex, n->pos, ERR_JINJA_SYNTAX,
                             "a parameter without a default follows one with a default");
        }
        if (!jp_done(p, n)) return false;
        vec_push(p->arena, &v, n);
    }
    return jp_next(p) && jp_listed(p, macro, &v);
}

// The parameters (if the current token opens them) and body of a macro or call block.
static JNode *parse_macro_rest(Parser *p, JNode *m, JNode *call, const char *end) {
    u8 *outer = p->macro_flags;
    u32 loops = p->loops;
    p->macro_flags = &m->flags;
    p->loops = 0;
    if (jp_is_op(p, '(') && !parse_params(p, m)) return NULL;
    if (call) { // {% call(params) macro(...) %}: the call itself is outside of the body
        p->macro_flags = outer;
        JNode *c = jp_expr(p);
        p->macro_flags = &m->flags;
        if (!c) return NULL;
        if (c->kind != N_CALL)
            return FAIL(p, c->pos, ERR_JINJA_SYNTAX, "call wants a macro's call");
        call->a = c;
    }
    m->c = body_until(p, end);
    p->macro_flags = outer;
    p->loops = loops;
    return m->c ? jp_done(p, m) : NULL;
}

static JNode *parse_macro(Parser *p, JNode *n) {
    if (!jp_next(p)) return NULL;
    if (p->cur.kind != T_NAME) return jp_unexpected(p, "the macro's name"), NULL;
    n->str = arena_str(p->arena, p->cur.text);
    n->sym = jp_symbol(p, n->str);
    if (!jp_next(p)) return NULL;
    if (!jp_is_op(p, '(')) return jp_unexpected(p, "("), NULL;
    return parse_macro_rest(p, n, NULL, "endmacro");
}

static JNode *parse_callblock(Parser *p, JNode *n) {
    if (!jp_next(p)) return NULL;
    n->b = jp_node(p, N_MACRO, n->pos);
    n->b->str = S("caller");
    n->b = parse_macro_rest(p, n->b, n, "endcall");
    return n->b ? jp_done(p, n) : NULL;
}

static JNode *parse_filterblock(Parser *p, JNode *n) {
    if (!jp_next(p) || !(n->b = jp_filters(p, NULL, true)) || !(n->c = body_until(p, "endfilter")))
        return NULL;
    return jp_done(p, n);
}

static JNode *parse_with(Parser *p, JNode *n) {
    NodeVec v = {0};
    if (!jp_next(p)) return NULL;
    while (p->cur.kind != T_BLOCK_END) {
        if (v.n && !jp_expect_op(p, ',', ", or %}")) return NULL;
        JNode *target = target_name(p), *val = NULL;
        if (!target || !jp_expect_op(p, '=', "=") || !(val = jp_expr(p))) return NULL;
        vec_push(p->arena, &v, target);
        vec_push(p->arena, &v, val);
    }
    n->c = body_until(p, "endwith");
    return n->c ? jp_listed(p, n, &v) : NULL;
}

static JNode *parse_scope(Parser *p,
                          JNode *n) // {% generation %}: marks the assistant's words, prints them
{
    return jp_next(p) && (n->c = body_until(p, "endgeneration")) ? jp_done(p, n) : NULL;
}

static JNode *parse_jump(Parser *p, JNode *n) {
    if (p->loops == 0)
        return FAIL(p, n->pos, ERR_JINJA_SYNTAX, "%S stands outside of a loop", p->cur.text);
    return jp_next(p) && end_block(p) ? n : NULL;
}

static JNode *parse_print(Parser *p, JNode *n) // {% print a, b %} comes with Jinja too
{
    NodeVec v = {0};
    if (!jp_next(p)) return NULL;
    while (p->cur.kind != T_BLOCK_END) {
        if (v.n && !jp_expect_op(p, ',', ",")) return NULL;
        JNode *x = jp_expr(p);
        if (!x) return NULL;
        vec_push(p->arena, &v, x);
    }
    return jp_next(p) ? jp_listed(p, n, &v) : NULL;
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

static JNode *parse_statement(Parser *p) {
    if (p->cur.kind != T_NAME) return jp_unexpected(p, "a statement's name"), NULL;
    for (size_t i = 0; i < COUNT_OF(statements); i++) {
        if (jp_is_name(p, statements[i].name)) {
            u32 at = p->cur.pos;
            vec_push(p->arena, &p->opens, at);
            JNode *n =
                jp_enter(p) ? statements[i].parse(p, jp_node(p, statements[i].kind, at)) : NULL;
            p->depth--;
            p->opens.n--;
            return n;
        }
    }
    if (str_starts(p->cur.text, S("end")) || jp_is_name(p, "else") || jp_is_name(p, "elif"))
        return FAIL(p, p->cur.pos, ERR_JINJA_SYNTAX, "%S ends nothing that is open here",
                    p->cur.text);
    return FAIL(p, p->cur.pos, ERR_JINJA_SYNTAX, "%S is not a statement known here", p->cur.text);
}

// Statements until {% word %} with a word of ends (which is then the current token), or to the end
// of the source.
static JNode *parse_body(Parser *p, const char *const *ends) {
    JNode *seq = jp_node(p, N_SEQ, p->cur.pos);
    NodeVec v = {0};
    for (;;) {
        JNode *n = NULL;
        switch (p->cur.kind) {
        case T_EOF: {
            int line, col;
            if (!ends) return jp_listed(p, seq, &v);
            u32 open = p->opens.n ? p->opens.at[p->opens.n - 1] : 0;
            jinja_place(p->lex.src, open, &line, &col);
            return FAIL(p, p->cur.pos, ERR_JINJA_SYNTAX,
                        "the template ends inside the block of line %d; close it by {%% %s %%}",
                        line, ends[1] ? ends[2] ? ends[2] : ends[1] : ends[0]);
        }
        case T_DATA:
            n = jp_node(p, N_DATA, p->cur.pos);
            n->str = p->cur.text;
            if (!jp_next(p)) return NULL;
            if (n->str.len == 0) continue;
            break;
        case T_VAR_BEGIN: {
            NodeVec one = {0};
            n = jp_node(p, N_PRINT, p->cur.pos);
            JNode *x = jp_next(p) ? jp_tuple(p, true, false) : NULL;
            if (!x) return NULL;
            if (p->cur.kind != T_VAR_END) return jp_unexpected(p, "}}"), NULL;
            vec_push(p->arena, &one, x);
            if (!jp_next(p) || !jp_listed(p, n, &one)) return NULL;
            break;
        }
        case T_BLOCK_BEGIN:
            if (!jp_next(p)) return NULL;
            for (const char *const *e = ends; e && *e; e++)
                if (jp_is_name(p, *e)) return jp_listed(p, seq, &v);
            if (!(n = parse_statement(p))) return NULL;
            break;
        default: return jp_unexpected(p, "text or a tag"), NULL;
        }
        vec_push(p->arena, &v, n);
    }
}

bool jinja_parse(Arena *a, Str name, Str text, Template *t, Err *err) {
    Parser p = {.arena = a, .t = t, .err = err};
    if (text.len > JINJA_SOURCE_LIMIT) {
        err_set(err, ERR_JINJA_SYNTAX, "the template has %U bytes: at most %U are read",
                (u64)text.len, (u64)JINJA_SOURCE_LIMIT);
        return err_file(err, name);
    }
    p.symbols = strmap_new(a, 64);
    jlex_init(&p.lex, a, name, text, err);
    t->name = name;
    t->src = p.lex.src;
    t->sym_loop = jp_symbol(&p, S("loop"));
    t->sym_caller = jp_symbol(&p, S("caller"));
    t->sym_varargs = jp_symbol(&p, S("varargs"));
    t->sym_kwargs = jp_symbol(&p, S("kwargs"));
    if (!jp_next(&p) || !(t->body = parse_body(&p, NULL))) return false;
    t->symbols = p.names.at;
    t->n_symbols = (u32)p.names.n;
    return true;
}
