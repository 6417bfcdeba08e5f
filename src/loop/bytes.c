// loop/bytes.c: the primitives that multiply several bit fields at once.
//
// `dot` takes a loop of four out of an integer sum of products of bit fields: where iteration j
// multiplies bits of byte j of one word by bits of byte j of another, the four products are one
// DOT4 of the two words.
//
// `pairs` takes a loop of two out of such a sum: fields 16 bits apart stay in their word, the two
// bytes that they meet, 16 bits apart the other way round, become the halves of another; the upper
// half of the words' product is then the sum of both products. Words are summed, and who reads the
// sum takes its upper half: for devices that have multiplications of 32 bits and nothing better.
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

// A serial loop of `ext` iterations in a sum of integers whose loops all divide?
static bool is_byte_sum(const NestStage *p, int at, Str loop, i64 want, Err *e) {
    const NestLoop *l = &p->loop[at];
    i64 ext;
    if (!l->reduce || l->kind != LOOP_SERIAL || p->def.op != RED_SUM || p->def.out->type != TY_I32)
        return err_set(e, ERR_SCHED_ILLEGAL, "%S is not a serial loop of an integer sum", loop);
    if (!extent_const(l->extent, &ext) || ext != want)
        return err_set(e, ERR_SCHED_ILLEGAL, "%S does not run over %D fields of a word", loop,
                       want);
    return stage_divides(p, e);
}

bool prim_dot(Nest *n, Str loop, Err *e) {
    int at;
    NestStage *p = nest_loop(n, loop, &at, e);
    if (!p || !is_byte_sum(p, at, loop, DOT_BYTES, e)) return false;
    Exprs *x = n->x;
    NestLoop l = p->loop[at];
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

// A word's bytes at `low` and 16 bits above, as signed numbers: the upper one * 65536 + the other.
static const Expr *halves(Exprs *x, const Field *low) {
    const Expr *sign = ex_int(x, 0x00800080);
    const Expr *down = ex_shr(x, low->word, ex_cast(x, TY_U32, expr_simplify(x, low->shift)));
    const Expr *bytes = ex_cast(x, TY_I32, ex_and(x, down, ex_uint(x, 0x00ff00ff)));
    return ex_cast(x, TY_U32, ex_sub(x, ex_xor(x, bytes, sign), sign));
}

// Is g 16 bits above f, in a word where f is at `most` at most?
static bool is_pair(Exprs *x, const Field *f, const Field *g, i64 most) {
    i64 by, lo, hi;
    if (f->word != g->word || f->width != g->width || f->sign != g->sign || !f->shift || !g->shift)
        return false;
    expr_range(expr_simplify(x, f->shift), &lo, &hi);
    return expr_is_int(expr_simplify(x, ex_sub(x, g->shift, f->shift)), &by) && by == 16 &&
           lo >= 0 && hi <= most;
}

// Bits `mask` of a word that is shifted down. As a float: what is masked has at most 20 bits from
// its highest to its lowest, so that a product with a power of two is exact, and so is the sum with
// 3 * 2^22, which leaves the number in the lowest bits; a sign is beyond the mask.
static const Expr *masked(Exprs *x, const Profile *p, const Expr *word, const Expr *shift,
                          u32 mask) {
    const Expr *m = ex_uint(x, mask), *by = ex_cast(x, TY_U32, expr_simplify(x, shift));
    const Expr *shifted = ex_and(x, ex_shr(x, word, by), m);
    if (!p->slow_shift) return shifted;
    const Expr *in_place = ex_cast(x, TY_I32, ex_and(x, word, ex_shl(x, m, by)));
    const Expr *power = ex_shl(x, ex_sub(x, ex_uint(x, 127), by), ex_uint(x, 23));
    const Expr *moved = ex_mul(x, ex_cast(x, TY_F32, in_place), ex_bitcast(x, TY_F32, power));
    const Expr *low = ex_bitcast(x, TY_U32, ex_add(x, moved, ex_f32(x, 3 << 22)));
    return ex_select(x, ex_eq(x, by, ex_uint(x, 0)), shifted, ex_and(x, low, m));
}

typedef struct Moved { // a stage's result is of another type
    const Buffer *from, *to;
} Moved;

// The upper half of a sum of words, rounded as if the lower one had a sign: all of it as a float,
// whose rounding is far below a half.
static const Expr *upper_half(void *user, Exprs *x, const Expr *e) {
    const Moved *m = user;
    if (e->op != EX_LOAD || e->buf != m->from) return e;
    const Expr *sum = ex_cast(x, TY_F32, ex_cast(x, TY_I32, ex_load(x, m->to, e->args)));
    const Expr *half = ex_add(x, ex_mul(x, sum, ex_f32(x, 0x1p-16)), ex_f32(x, 0.5));
    return ex_cast(x, TY_I32, ex_un(x, EX_FLOOR, half));
}

static const Expr *as_float(void *user, Exprs *x, const Expr *e) {
    const Moved *m = user;
    if (e->op == EX_LOAD && e->buf == m->from)
        return ex_cast(x, TY_I32, ex_load(x, m->to, e->args));
    bool twice = e->op == EX_CAST && e->type == TY_F32 && e->args[0]->op == EX_CAST;
    if (!twice) return e;
    const Expr *load = e->args[0]->args[0];
    return load->op == EX_LOAD && load->buf == m->to ? load : e;
}

static void retype(Nest *n, NestStage *p, Type t, ExprMap readers) {
    Moved m = {p->def.out, stage_temp(n, p->def.name, t, p->def.nax, p->def.ax)};
    p->def.out = m.to;
    for (int i = 0; i < n->nstages; i++)
        if (!n->stage[i]->inlined) stage_rewrite(n->stage[i], n->x, readers, &m);
}

bool prim_pairs(Nest *n, Str loop, Err *e) {
    int at;
    NestStage *p = nest_loop(n, loop, &at, e);
    if (!p || !is_byte_sum(p, at, loop, 2, e)) return false;
    Exprs *x = n->x;
    i64 count = 1, ext;
    for (int i = 0; i < p->nloops; i++) {
        if (!p->loop[i].reduce) continue;
        if (!extent_const(p->loop[i].extent, &ext) || ext > INT16_MAX) ext = INT16_MAX;
        count = MIN2(count * ext, INT16_MAX);
    }
    const Expr *body = stage_body_in_loops(n, p);
    Field f[2], g[2];
    bool ok = fields_at(x, body, p->loop[at].var, 0, f) == 2 &&
              fields_at(x, body, p->loop[at].var, 1, g) == 2 && f[0].sign != f[1].sign;
    int s = ok && f[1].sign; // which of them is the byte
    ok = ok && f[!s].width <= 8 && is_pair(x, &g[s], &f[s], 8) &&
         is_pair(x, &f[!s], &g[!s], 16 - f[!s].width);
    if (!ok)
        return err_set(
            e, ERR_SCHED_ILLEGAL,
            "%S does not multiply fields by bytes that are 16 bits apart in their words, "
            "the other way round",
            loop);
    i64 most = ((1 << f[!s].width) - 1) * 128;
    if (count * most > INT16_MAX)
        return err_set(e, ERR_SCHED_ILLEGAL,
                       "%s sums %D products that reach %D: more than half a word holds; rfactor it "
                       "first",
                       p->def.name, count, most);
    const Expr *two =
        masked(x, n->profile, f[!s].word, f[!s].shift, (u32)(most / 128) * 0x00010001u);
    WithoutLoop w;
    if (!stage_without_loop(n, p, at, &w, e)) return false;
    const Expr *sum = ex_mul(x, two, halves(x, &g[s]));
    w.def.body = expr_simplify(x, expr_subst(x, sum, w.old, w.neu, w.n));
    const Expr *load[2];
    stage_take(p, &w);
    retype(n, p, TY_U32, upper_half);
    for (int i = 0; i < n->nstages; i++) { // who sums the halves, sums floats, which is exact
        NestStage *r = n->stage[i];
        if (r->inlined || r->def.op != RED_SUM || r->def.out->type != TY_I32 ||
            stage_reads(r, p->def.out, load, 2) != 1 || r->def.body->op != EX_CAST)
            continue;
        r->def.body = r->def.body->args[0];
        retype(n, r, TY_F32, as_float);
    }
    nest_log(n, "pairs %S", loop);
    return true;
}
