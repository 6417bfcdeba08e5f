// text/jinja_tokens.c: the parser's tools: tokens that are expected, nodes, names.
//
// The depth of the source is counted here, and that of the finished tree when a node has its
// children: the statements (jinja_parse.c) and expressions (jinja_expr.c) need not count.
#include "text/jinja_parse.h"

bool jp_next(Parser *p) {
    if (p->has_ahead) {
        p->cur = p->ahead;
        p->has_ahead = false;
        return true;
    }
    return jlex_next(&p->lex, &p->cur);
}

bool jp_peek(Parser *p) {
    if (!p->has_ahead && !jlex_next(&p->lex, &p->ahead)) return false;
    p->has_ahead = true;
    return true;
}

bool jp_is_op(const Parser *p, u16 op) { return p->cur.kind == T_OP && p->cur.op == op; }

bool jp_is_name(const Parser *p, const char *name) {
    return p->cur.kind == T_NAME && str_eq(p->cur.text, str_c(name));
}

static Str token_text(const Parser *p) {
    static const char *const names[] = {"the end of the template", "text", "{{", "}}", "{%", "%}"};
    const JToken *t = &p->cur;
    if (t->kind <= T_BLOCK_END) return str_c(names[t->kind]);
    if (t->kind == T_NAME) return t->text;
    if (t->kind == T_STR) return S("a string");
    if (t->kind == T_OP)
        return str_fmt(p->arena, t->op > 255 ? "%c%c" : "%c", t->op & 255, t->op >> 8);
    return S("a number");
}

bool jp_unexpected(Parser *p, const char *want) {
    return jlex_fail(&p->lex, p->cur.pos, ERR_JINJA_SYNTAX, "%S stands where %s is wanted",
                     token_text(p), want);
}

bool jp_expect_op(Parser *p, u16 op, const char *want) {
    return jp_is_op(p, op) ? jp_next(p) : jp_unexpected(p, want);
}

bool jp_expect_name(Parser *p, const char *name) {
    return jp_is_name(p, name) ? jp_next(p) : jp_unexpected(p, name);
}

bool jp_enter(Parser *p) {
    if (p->depth >= JINJA_DEPTH)
        return jlex_fail(&p->lex, p->cur.pos, ERR_JINJA_DEPTH,
                         "the template nests deeper than %d levels", JINJA_DEPTH);
    p->depth++;
    return true;
}

JNode *jp_node(Parser *p, JKind kind, u32 pos) {
    JNode *n = NEW(p->arena, JNode);
    n->kind = (u8)kind;
    n->pos = pos;
    n->depth = 1;
    n->sym = -1;
    return n;
}

// Called when a node has its children: counts its depth.
JNode *jp_done(Parser *p, JNode *n) {
    const JNode *kids[] = {n->a, n->b, n->c, n->d, n->e};
    u32 deepest = 0;
    for (size_t i = 0; i < COUNT_OF(kids); i++)
        deepest = kids[i] ? MAX2(deepest, kids[i]->depth) : deepest;
    for (u32 i = 0; i < n->n; i++) deepest = n->at[i] ? MAX2(deepest, n->at[i]->depth) : deepest;
    if (deepest >= JINJA_DEPTH)
        return FAIL(p, n->pos, ERR_JINJA_DEPTH, "this nests or chains deeper than %d levels",
                    JINJA_DEPTH);
    n->depth = (u16)(deepest + 1);
    return n;
}

JNode *jp_listed(Parser *p, JNode *n, const NodeVec *v) {
    n->at = v->at;
    n->n = (u32)v->n;
    return jp_done(p, n);
}

i32 jp_symbol(Parser *p, Str name) {
    i32 id;
    if (strmap_get(p->symbols, name, &id)) return id;
    name = arena_str(p->arena, name);
    id = (i32)p->names.n;
    vec_push(p->arena, &p->names, name);
    strmap_put(p->symbols, name, id);
    return id;
}

JNode *jp_name_node(Parser *p, Str name, u32 pos) {
    JNode *n = jp_node(p, N_NAME, pos);
    n->str = name;
    n->sym = jp_symbol(p, name);
    if (p->macro_flags)
        *p->macro_flags |= n->sym == p->t->sym_varargs  ? MACRO_VARARGS
                           : n->sym == p->t->sym_kwargs ? MACRO_KWARGS
                           : n->sym == p->t->sym_caller ? MACRO_CALLER
                                                        : 0;
    return n;
}
