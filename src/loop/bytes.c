// loop/bytes.c: the primitive that multiplies four bytes at once.
//
// `dot` takes a loop of four out of an integer sum of products of bit fields: where iteration j
// multiplies bits of byte j of one word by bits of byte j of another, the four products are one
// DOT4 of the two words.
#include "loop/loop_int.h"

enum { MOST_FACTORS = 4, DOT_BYTES = 4 };

static int factors_of(const Expr *e, const Expr **out, int n) {
    if (e->op == EX_MUL && n >= 0) {
        n = factors_of(e->args[0], out, n);
        return n < 0 ? n : factors_of(e->args[1], out, n);
    }
    if (n < 0 || n == MOST_FACTORS) return -1;
    out[n] = e;
    return n + 1;
}

typedef struct Field { // bits [shift, shift + width) of word
    const Expr *word, *shift;
    i64 width;
    bool sign; // the highest of them is a sign
} Field;

static bool field_of(Exprs *x, const Expr *e, Field *f) {
    i64 v;
    if (e->op == EX_ICONST && e->i >= -128 && e->i <= 127) { // the same byte of a constant word
        *f = (Field){ex_uint(x, ((u32)e->i & 255) * 0x01010101u), NULL, 8, true};
        return true;
    }
    if (e->op == EX_CAST && e->args[0]->type == TY_U32) e = e->args[0];
    if (e->op == EX_AND && e->type == TY_U32 && expr_is_int(e->args[1], &v) && v > 0 &&
        !(v & (v + 1))) {
        *f = (Field){e->args[0], ex_int(x, 0), __builtin_popcountll((u64)v), false};
        if (f->word->op == EX_SHR)
            f->shift = ex_cast(x, TY_I32, f->word->args[1]), f->word = f->word->args[0];
        return true;
    }
    if (e->nargs != 2 || e->type != TY_I32 || !expr_is_int(e->args[1], &v)) return false;
    if (e->op == EX_SHR ? v != 24 : e->op != EX_IDIV || v != 1 << 24) return false; // the same
    e = e->args[0];
    if (e->op != EX_CAST || e->args[0]->type != TY_U32) return false;
    *f = (Field){e->args[0], ex_int(x, 24), 8, true};
    if (f->word->op == EX_SHL) {
        f->shift = ex_sub(x, ex_int(x, 24), ex_cast(x, TY_I32, f->word->args[1]));
        f->word = f->word->args[0];
    }
    return true;
}

// Is `f` byte j of the word whose byte 0 is `first`?
static bool byte_of(Exprs *x, const Field *first, const Field *f, int j) {
    i64 by;
    if (f->word != first->word || f->width != first->width || f->sign != first->sign) return false;
    if (!first->shift) return true;
    return expr_is_int(expr_simplify(x, ex_sub(x, f->shift, first->shift)), &by) && by == 8 * j;
}

// The word whose signed bytes are the fields.
static const Expr *word_of(Exprs *x, const Field *f) {
    i64 shift;
    if (!f->shift) return f->word;
    if (f->sign)
        return expr_is_int(expr_simplify(x, f->shift), &shift) && shift == 0 ? f->word : NULL;
    if (f->width > 7) return NULL;
    const Expr *down = ex_shr(x, f->word, ex_cast(x, TY_U32, expr_simplify(x, f->shift)));
    return ex_and(x, down, ex_uint(x, ((1u << f->width) - 1) * 0x01010101u));
}

// The factors of the body in iteration j, as fields.
static int fields_at(Exprs *x, const Expr *body, const Var *v, int j, Field *out) {
    const Expr *at = ex_int(x, j), *f[MOST_FACTORS];
    int n = factors_of(expr_simplify(x, expr_subst(x, body, &v, &at, 1)), f, 0);
    if (n > 2) return -1;
    for (int i = 0; i < n; i++)
        if (!field_of(x, f[i], &out[i])) return -1;
    if (n == 1) field_of(x, ex_int(x, 1), &out[n++]);
    return n;
}

bool prim_dot(Nest *n, Str loop, Err *e) {
    int at;
    NestStage *p = nest_loop(n, loop, &at, e);
    if (!p) return false;
    Exprs *x = n->x;
    NestLoop l = p->loop[at];
    i64 ext;
    if (!l.reduce || l.kind != LOOP_SERIAL || p->def.op != RED_SUM || p->def.out->type != TY_I32)
        return err_set(e, ERR_SCHED_ILLEGAL, "%S is not a serial loop of an integer sum", loop);
    if (!extent_const(l.extent, &ext) || ext != DOT_BYTES)
        return err_set(e, ERR_SCHED_ILLEGAL, "%S does not run over the four bytes of a word", loop);
    for (int i = 0; i < p->def.nred; i++)
        if (p->red_inexact[i])
            return err_set(e, ERR_SCHED_ILLEGAL,
                           "the reduction of %s does not divide; split by a factor of it",
                           p->def.name);
    const Expr *body = stage_body_in_loops(n, p);
    Field first[2], f[2];
    bool ok = fields_at(x, body, l.var, 0, first) == 2;
    for (int j = 1; ok && j < DOT_BYTES; j++) {
        ok = fields_at(x, body, l.var, j, f) == 2;
        bool same = ok && byte_of(x, &first[0], &f[0], j) && byte_of(x, &first[1], &f[1], j);
        bool swapped = ok && byte_of(x, &first[0], &f[1], j) && byte_of(x, &first[1], &f[0], j);
        ok = same || swapped;
    }
    const Expr *a = ok ? word_of(x, &first[0]) : NULL, *b = ok ? word_of(x, &first[1]) : NULL;
    if (!a || !b)
        return err_set(e, ERR_SCHED_ILLEGAL,
                       "%S does not multiply the bytes of one word by those of another", loop);
    WithoutLoop w;
    if (!stage_without_loop(n, p, at, &w, e)) return false;
    // what multiplies unsigned by signed bytes wants the masked word second; else a word as it lies
    // comes first, so that the order is the same each time
    bool signs = first[0].sign && first[1].sign;
    bool swap = signs ? a->op != EX_LOAD && b->op == EX_LOAD : !first[0].sign;
    const Expr *sum = ex_dot4(x, ex_int(x, 0), swap ? b : a, swap ? a : b);
    w.def.body = expr_simplify(x, expr_subst(x, sum, w.old, w.neu, w.n));
    stage_take(p, &w);
    nest_log(n, "dot %S", loop);
    return true;
}
