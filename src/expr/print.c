// expr/print.c: expressions as infix text with the fewest parentheses; read.c reads it back to the
// same node.
//
// Precedence, loosest first: || && comparisons | ^ & shifts + * (bitwise signs bind tighter than
// comparisons, unlike C's). Integer products are printed tight, o*18 + b, float ones with blanks.
// `a + -3` is printed a - 3: the constructors make the one out of the other.
#include "expr/expr_int.h"

static const char *const spelling[EX_COUNT] = {
#define X(id, text, args, result, doc) text,
#include "expr/expr.def"
#undef X
};

static const char *const type_word[TY_COUNT] = {"i32", "u32", "f32", "bool"}; // ORDER TYPE

static int precedence(ExprOp op) {
    switch (op) {
    case EX_LOR: return 1;
    case EX_LAND: return 2;
    case EX_LT:
    case EX_LE:
    case EX_EQ:
    case EX_NE: return 3;
    case EX_OR: return 4;
    case EX_XOR: return 5;
    case EX_AND: return 6;
    case EX_SHL:
    case EX_SHR: return 7;
    case EX_ADD:
    case EX_SUB: return 8;
    case EX_MUL:
    case EX_DIV:
    case EX_IDIV:
    case EX_IMOD: return 9;
    default: return 0; // a leaf or a call
    }
}

static void print(const Expr *e, int above, const ExprSpell *sp, Buf *out);

static void print_args(const Expr *e, const ExprSpell *sp, Buf *out) {
    for (int i = 0; i < e->nargs; i++) {
        if (i) buf_add(out, S(", "));
        print(e->args[i], 0, sp, out);
    }
}

static void print_call(const Expr *e, const char *a, const char *b, const ExprSpell *sp, Buf *out) {
    buf_add(out, str_c(a));
    buf_add(out, str_c(b));
    buf_char(out, '(');
    print_args(e, sp, out);
    buf_char(out, ')');
}

static void print_infix(const Expr *e, int p, const ExprSpell *sp, Buf *out) {
    const Expr *b = e->args[1];
    bool tight = p == 9 && e->type != TY_F32;
    print(e->args[0], p, sp, out);
    if (e->op == EX_ADD && b->op == EX_ICONST && b->i < 0 && b->i > INT32_MIN) {
        buf_fmt(out, " - %D", -b->i);
        return;
    }
    buf_fmt(out, tight ? "%s" : " %s ", spelling[e->op]);
    print(b, p + 1, sp, out); // signs group to the left; comparisons do not chain
}

static void print(const Expr *e, int above, const ExprSpell *sp, Buf *out) {
    if (out->full) return; // what is shared is written out: the text may be 2^depth times the nodes
    switch (e->op) {
    case EX_ICONST:
        if (e->type == TY_BOOL)
            buf_fmt(out, "%s", e->i ? "true" : "false");
        else
            buf_fmt(out, e->type == TY_U32 ? "%Du" : "%D", e->i);
        return;
    case EX_FCONST: buf_fmt(out, "%h", e->f); return;
    case EX_VAR: buf_add(out, str_c(sp ? sp->var(sp->user, e->var) : e->var->name)); return;
    case EX_LOAD:
        buf_add(out, str_c(sp ? sp->buffer(sp->user, e->buf) : e->buf->name));
        buf_char(out, '[');
        print_args(e, sp, out);
        buf_char(out, ']');
        return;
    case EX_CAST: print_call(e, type_word[e->type], "", sp, out); return;
    case EX_BITCAST: print_call(e, "bits_", type_word[e->type], sp, out); return;
    case EX_LNOT:
        buf_char(out, '!');
        print(e->args[0], 10, sp, out);
        return;
    default: break;
    }
    int p = precedence((ExprOp)e->op);
    if (!p) {
        print_call(e, spelling[e->op], "", sp, out);
        return;
    }
    bool paren = p < above || (p == 3 && above == 3);
    if (paren) buf_char(out, '(');
    print_infix(e, p, sp, out);
    if (paren) buf_char(out, ')');
}

void expr_print(const Expr *e, Buf *out) { print(e, 0, NULL, out); }

void expr_print_as(const Expr *e, const ExprSpell *spell, Buf *out) { print(e, 0, spell, out); }
