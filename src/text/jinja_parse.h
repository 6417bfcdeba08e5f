// text/jinja_parse.h: private to the parser's files: its state, its tools, and what statements use
// of expressions.
#ifndef HOB_JINJA_PARSE_H
#define HOB_JINJA_PARSE_H

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

// ---- jinja_tokens.c -----------------------------------------------------------------------------
bool jp_next(Parser *p); // to the next token
bool jp_peek(Parser *p); // p->ahead is the token after the current one
bool jp_is_op(const Parser *p, u16 op);
bool jp_is_name(const Parser *p, const char *name);
bool jp_unexpected(Parser *p, const char *want); // fails at the current token
bool jp_expect_op(Parser *p, u16 op, const char *want);
bool jp_expect_name(Parser *p, const char *name);
bool jp_enter(Parser *p); // one level deeper; leave by p->depth--
JNode *jp_node(Parser *p, JKind kind, u32 pos);
JNode *jp_done(Parser *p, JNode *n); // called when a node has its children; NULL: too deep
JNode *jp_listed(Parser *p, JNode *n, const NodeVec *v); // the same, with v as its list
i32 jp_symbol(Parser *p, Str name);
JNode *jp_name_node(Parser *p, Str name, u32 pos);
// ---- jinja_expr.c -------------------------------------------------------------------------------
JNode *jp_expr(Parser *p);
JNode *jp_tuple(Parser *p, bool with_condition, bool may_be_empty);
JNode *jp_filters(Parser *p, JNode *n, bool block);

#endif
