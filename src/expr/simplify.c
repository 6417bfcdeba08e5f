// expr/simplify.c: index arithmetic in canonical form: what is left of // and % after tiling,
// guards, min and max.
//
// Works bottom up. Sums of products are linear.c's; here they are divided, compared and bounded.
// For c > 0:
//     (c*Q + R) // c = Q + R // c        (g*A + B) // (g*c) = A // c            for B in [0, g)
//     (c*Q + R) %  c = R % c             (g*A + B) %  (g*c) = g*(A % c) + B     for B in [0, g)
// All of it holds for the floor division that // means, negative values included. i32 values do not
// overflow (expr.h), so the sums that a program writes are exact; a u32 sum is treated so only when
// its interval proves that it does not wrap, and so is a part that a rule here takes out of a sum
// of either type: the whole may fit where the part does not. f32 arithmetic is left as it is: its
// order is the program's.
#include "expr/expr_int.h"

// e as a sum; false: it is too large. The caller gives it back either way.
static bool open_sum(Exprs *x, const Expr *e, Lin *l) {
    return lin_add(x, l, e, 1) && lin_recombine(x, l);
}

// The sum's interval lies within its type: however it is written down, nothing wraps.
static bool fits(const Lin *l) {
    i64 lo, hi;
    return lin_range(l, &lo, &hi) && lo >= type_lo(l->type) && hi <= type_hi(l->type);
}

// The value of a sum that the program wrote is the exact integer: nothing wraps.
static bool exact(const Lin *l) { return l->type == TY_I32 || fits(l); }

static const Expr *sum_expr(Exprs *x, Lin *l) {
    return lin_recombine(x, l) ? lin_expr(x, l) : NULL;
}

// ---- // and % by a constant ---------------------------------------------------------------------

static bool divide(Exprs *x, const Lin *l, i64 c, Lin *out, int depth);
static bool modulo(Exprs *x, const Lin *l, i64 c, Lin *out, int depth);

// l = c*q + t + r, every term of t a multiple of c by what its atoms are known to be multiples of.
// false: a sum is too large, or r might overflow alone.
static bool part(const Lin *l, i64 c, Lin *q, Lin *t, Lin *r) {
    for (int i = 0; i < l->n; i++) {
        Term a = l->t[i], b = a;
        a.coef /= c;
        b.coef %= c;
        i64 d = term_divisor(&b), m;
        bool multiple = b.coef && mul_i64(d, b.coef < 0 ? -b.coef : b.coef, &m) && m % c == 0;
        if (!lin_add_term(q, &a) || !lin_add_term(multiple ? t : r, &b)) return false;
    }
    q->k += floor_div(l->k, c);
    r->k += floor_mod(l->k, c);
    return (q->n == 0 && q->k == 0 && t->n == 0) || fits(r);
}

// Finds the largest g > 1 dividing c for which r = g*a + b, b in [0, g). a is returned already
// divided.
static i64 common_part(const Lin *r, i64 c, Lin *a, Lin *b) {
    i64 below = c;
    for (;;) {
        i64 g = 1;
        for (int i = 0; i < r->n; i++) {
            i64 d = gcd_i64(r->t[i].coef, c);
            if (d < below && d > g) g = d;
        }
        if (g == 1) return 0;
        a->n = b->n = 0;
        a->k = floor_div(r->k, g);
        b->k = floor_mod(r->k, g);
        for (int i = 0; i < r->n; i++) {
            Term t = r->t[i];
            bool whole = t.coef % g == 0;
            t.coef = whole ? t.coef / g : t.coef;
            lin_add_term(whole ? a : b, &t);
        }
        i64 lo, hi;
        if (lin_range(b, &lo, &hi) && floor_div(lo, g) == floor_div(hi, g)) {
            a->k += floor_div(lo, g);
            b->k -= floor_div(lo, g) * g;
            return g;
        }
        below = g;
    }
}

static bool single_atom(const Lin *l, ExprOp op, const Expr **of, i64 *c) {
    return l->n == 1 && l->t[0].n == 1 && l->t[0].coef == 1 &&
           (*of = split_by(l->t[0].at[0], op, c));
}

// out += r // c, r exact, where nothing simpler was found
static bool divide_rest(Exprs *x, const Lin *r, i64 c, Lin *out, int depth) {
    const Expr *of;
    i64 d, limit = r->type == TY_U32 ? UINT32_MAX : INT32_MAX;
    Lin *l = lin_take(x, r->type);
    bool ok = false;
    if (single_atom(r, EX_IDIV, &of, &d) && r->k == 0 && c <= limit / d) {
        ok = open_sum(x, of, l) && exact(l) && divide(x, l, c * d, out, depth + 1); // (e // d) // c
    } else if (single_atom(r, EX_IMOD, &of, &d) && r->k == 0 && d % c == 0) {
        Lin *q = lin_take(x, r->type);
        ok = open_sum(x, of, l) && exact(l) && divide(x, l, c, q, depth + 1) && exact(q) &&
             modulo(x, q, d / c, out, depth + 1); // (e % d) // c is e // c % (d/c)
        lin_give(x, q);
    }
    lin_give(x, l);
    if (ok) return true;
    const Expr *e = exact(r) ? lin_expr(x, r) : NULL;
    return e && c <= limit && lin_add(x, out, ex_idiv(x, e, ex_int_as(x, r->type, c)), 1);
}

// out += l // c, l exact
static bool divide(Exprs *x, const Lin *l, i64 c, Lin *out, int depth) {
    if (depth > 8) return false;
    if (c == 1) return lin_add_lin(out, l, 1);
    Lin *t = lin_take(x, l->type), *r = lin_take(x, l->type), *a = lin_take(x, l->type),
        *b = lin_take(x, l->type);
    i64 lo, hi, g;
    Lin *q = lin_take(x, l->type);
    bool ok = part(l, c, q, t, r) && lin_add_lin(out, q, 1);
    lin_give(x, q);
    for (int i = 0; ok && i < t->n; i++) {
        Term m = t->t[i];
        g = gcd_i64(m.coef, c);
        m.coef /= g;
        Lin *one = lin_take(x, l->type);
        ok = lin_add_term(one, &m) && fits(one);
        const Expr *e = ok ? lin_expr(x, one) : NULL;
        ok = e && lin_add(x, out, ex_idiv(x, e, ex_int_as(x, l->type, c / g)), 1);
        lin_give(x, one);
    }
    if (!ok)
        ;
    else if (lin_range(r, &lo, &hi) && floor_div(lo, c) == floor_div(hi, c))
        out->k += floor_div(lo, c);
    else if ((g = common_part(r, c, a, b)) != 0)
        ok = exact(a) && divide(x, a, c / g, out, depth + 1);
    else
        ok = divide_rest(x, r, c, out, depth);
    lin_give(x, b);
    lin_give(x, a);
    lin_give(x, r);
    lin_give(x, t);
    return ok;
}

static bool modulo_rest(Exprs *x, const Lin *r, i64 c, Lin *out, int depth) {
    const Expr *of;
    i64 d;
    if (single_atom(r, EX_IMOD, &of, &d) && d % c == 0) { // (e % d + k) % c is (e + k) % c
        Lin *l = lin_take(x, r->type);
        bool ok = open_sum(x, of, l) && !__builtin_add_overflow(l->k, r->k, &l->k) &&
                  (r->k ? fits(l) : exact(l)) && modulo(x, l, c, out, depth + 1);
        lin_give(x, l);
        if (ok) return true;
    }
    const Expr *e = exact(r) ? lin_expr(x, r) : NULL;
    return e && lin_add(x, out, ex_mod(x, e, ex_int_as(x, r->type, c)), 1);
}

// out += l % c, l exact
static bool modulo(Exprs *x, const Lin *l, i64 c, Lin *out, int depth) {
    if (depth > 8) return false;
    if (c == 1) return true;
    Lin *q = lin_take(x, l->type), *t = lin_take(x, l->type), *r = lin_take(x, l->type);
    Lin *a = lin_take(x, l->type), *b = lin_take(x, l->type);
    i64 lo, hi, g;
    bool ok = part(l, c, q, t, r);
    if (!ok)
        ;
    else if (lin_range(r, &lo, &hi) && floor_div(lo, c) == floor_div(hi, c)) {
        r->k -= floor_div(lo, c) * c;
        ok = lin_add_lin(out, r, 1);
    } else if ((g = common_part(r, c, a, b)) != 0) {
        Lin *m = lin_take(x, l->type);
        ok = exact(a) && modulo(x, a, c / g, m, depth + 1) && lin_add_lin(out, m, g) &&
             lin_add_lin(out, b, 1);
        lin_give(x, m);
    } else {
        ok = modulo_rest(x, r, c, out, depth);
    }
    lin_give(x, b);
    lin_give(x, a);
    lin_give(x, r);
    lin_give(x, t);
    lin_give(x, q);
    return ok;
}

// ---- // and % by a product with symbols: (a*N + b) // N is a + b // N ---------------------------

// t = by * rest; false when by does not divide it as it stands.
static bool cancel(const Term *t, const Term *by, Term *rest) {
    if (t->coef % by->coef) return false;
    *rest = (Term){.coef = t->coef / by->coef};
    int j = 0;
    for (int i = 0; i < t->n; i++) {
        if (j < by->n && t->at[i] == by->at[j])
            j++;
        else
            rest->at[rest->n++] = t->at[i];
    }
    return j == by->n;
}

static const Expr *by_symbol(Exprs *x, const Expr *e, const Expr *a, const Expr *b) {
    Lin *l = lin_take(x, (Type)e->type), *d = lin_take(x, (Type)e->type);
    Lin *q = lin_take(x, (Type)e->type), *r = lin_take(x, (Type)e->type);
    const Expr *out = NULL;
    i64 blo, bhi, lo, hi;
    bool ok =
        open_sum(x, a, l) && open_sum(x, b, d) && exact(l) && exact(d) && d->n == 1 && d->k == 0;
    if (ok && d->t[0].coef > 0 && lin_range(d, &blo, &bhi) && blo > 0) {
        Term rest;
        r->k = l->k;
        for (int i = 0; ok && i < l->n; i++) {
            if (cancel(&l->t[i], &d->t[0], &rest))
                ok = lin_add_term(q, &rest);
            else
                ok = lin_add_term(r, &l->t[i]);
        }
        bool inside = ok && lin_range(r, &lo, &hi) && lo >= 0 && hi < blo;
        const Expr *re = ok && (inside || (q->n && fits(r))) ? lin_expr(x, r) : NULL;
        if (re && e->op == EX_IMOD)
            out = inside ? re : ex_mod(x, re, b);
        else if (re && (inside || lin_add(x, q, ex_idiv(x, re, b), 1)))
            out = sum_expr(x, q);
    }
    lin_give(x, r);
    lin_give(x, q);
    lin_give(x, d);
    lin_give(x, l);
    return out;
}

static const Expr *simp_div(Exprs *x, const Expr *e) {
    const Expr *a = e->args[0], *b = e->args[1];
    if (b->op != EX_ICONST) {
        const Expr *r = by_symbol(x, e, a, b);
        return r ? r : e;
    }
    if (b->i <= 0) return e;
    Lin *l = lin_take(x, (Type)e->type), *out = lin_take(x, (Type)e->type);
    const Expr *r = NULL;
    if (open_sum(x, a, l) && exact(l) &&
        (e->op == EX_IDIV ? divide(x, l, b->i, out, 0) : modulo(x, l, b->i, out, 0)))
        r = sum_expr(x, out);
    lin_give(x, out);
    lin_give(x, l);
    return r ? r : e;
}

// ---- comparisons --------------------------------------------------------------------------------

// l < 0, where l = g*a + b with b in [0, g), is a < 0: guards lose their inner loops.
static void drop_inner(const Lin *l, Lin *out, Lin *a, Lin *b) {
    *out = *l;
    for (i64 below = INT64_MAX;;) {
        i64 g = 1;
        for (int i = 0; i < l->n; i++) {
            i64 d = gcd_i64(l->t[i].coef, 0), m = term_divisor(&l->t[i]);
            if (!mul_i64(d, MAX2(m, 1), &d)) d = l->t[i].coef;
            if (d > g && d < below) g = d;
        }
        if (g == 1) return;
        a->n = b->n = 0;
        b->k = floor_mod(l->k, g);
        a->k = l->k - b->k;
        bool plain = true; // every coefficient is a multiple of g as it stands
        for (int i = 0; i < l->n; i++) {
            i64 m;
            bool whole = mul_i64(l->t[i].coef, MAX2(term_divisor(&l->t[i]), 1), &m) && m % g == 0;
            plain &= !whole || l->t[i].coef % g == 0;
            lin_add_term(whole ? a : b, &l->t[i]);
        }
        i64 lo, hi;
        if (a->n && lin_range(b, &lo, &hi) && floor_div(lo, g) == floor_div(hi, g)) {
            a->k += floor_div(lo, g) * g;
            for (int i = 0; plain && i < a->n; i++) a->t[i].coef /= g;
            if (plain) a->k /= g;
            *out = *a;
            return;
        }
        below = g;
    }
}

static const Expr *simp_order(Exprs *x, const Expr *e) {
    Lin *l = lin_take(x, TY_I32), *m = lin_take(x, TY_I32), *a = lin_take(x, TY_I32),
        *b = lin_take(x, TY_I32);
    const Expr *r = e, *lhs, *rhs;
    i64 lo, hi, le = e->op == EX_LE;
    if (lin_add(x, l, e->args[0], 1) && lin_add(x, l, e->args[1], -1) && lin_recombine(x, l) &&
        lin_range(l, &lo, &hi)) {
        // e is l < le
        if (hi < le || lo >= le) {
            r = ex_bool(x, hi < le);
        } else if (!__builtin_sub_overflow(l->k, le, &l->k)) {
            drop_inner(l, m, a, b);
            bool same = m->n == l->n && m->k == l->k;
            for (int i = 0; same && i < m->n; i++) same = m->t[i].coef == l->t[i].coef;
            if (same) m->k += le;
            if (lin_sides(x, m, &lhs, &rhs))
                r = ex_node(x, same && le ? EX_LE : EX_LT, lhs, rhs, NULL);
        }
    }
    lin_give(x, b);
    lin_give(x, a);
    lin_give(x, m);
    lin_give(x, l);
    return r;
}

static const Expr *simp_equal(Exprs *x, const Expr *e) {
    Lin *l = lin_take(x, TY_I32);
    const Expr *r = e;
    i64 lo, hi, g = 0;
    if (lin_add(x, l, e->args[0], 1) && lin_add(x, l, e->args[1], -1) && lin_recombine(x, l)) {
        for (int i = 0; i < l->n; i++) g = gcd_i64(g, l->t[i].coef);
        if (l->n == 0)
            r = ex_bool(x, (l->k == 0) == (e->op == EX_EQ));
        else if ((g && l->k % g) || (lin_range(l, &lo, &hi) && (lo > 0 || hi < 0)))
            r = ex_bool(x, e->op == EX_NE);
    }
    lin_give(x, l);
    return r;
}

static const Expr *simp_min(Exprs *x, const Expr *e) {
    const Expr *a = e->args[0], *b = e->args[1];
    i64 lo, hi, c;
    Lin *l = lin_take(x, TY_I32);
    const Expr *r = e;
    if (lin_add(x, l, a, 1) && lin_add(x, l, b, -1) && lin_recombine(x, l) &&
        lin_range(l, &lo, &hi)) {
        if (hi <= 0)
            r = e->op == EX_MIN ? a : b;
        else if (lo >= 0)
            r = e->op == EX_MIN ? b : a;
        else if (b->op == EX_ICONST && by_const(a, e->op, &c))
            r = ex_node(x, (ExprOp)e->op, a->args[0],
                        ex_node(x, (ExprOp)e->op, a->args[1], b, NULL), NULL);
    }
    lin_give(x, l);
    return r;
}

// ---- the rest -----------------------------------------------------------------------------------

static const Expr *simp_sum(Exprs *x, const Expr *e) {
    Lin *l = lin_take(x, (Type)e->type);
    const Expr *r = open_sum(x, e, l) ? lin_expr(x, l) : NULL;
    lin_give(x, l);
    return r ? r : e;
}

static bool is_ones(i64 v) { return v > 0 && (v & (v + 1)) == 0; }

// Shifts and masks by constants, where they are index arithmetic in disguise.
static const Expr *simp_bits(Exprs *x, const Expr *e) {
    const Expr *a = e->args[0], *b = e->args[1], *of, *r;
    i64 lo, hi, c;
    if (e->nargs != 2 || b->op != EX_ICONST || b->i < 0) // joined masks may have left a constant
        return e;
    bool known = expr_range(a, &lo, &hi);
    switch (e->op) {
    case EX_SHL:
        if (e->type == TY_I32 && known && b->i < 31 && lo >= INT32_MIN >> b->i &&
            hi <= INT32_MAX >> b->i)
            return simp_sum(x, ex_mul(x, a, ex_int(x, (i64)1 << b->i)));
        return e;
    case EX_SHR:
        if (b->i > 31) return e;
        if ((of = by_const(a, EX_SHR, &c)) && c >= 0 && c + b->i < 32)
            return simp_bits(x, ex_shr(x, of, ex_int_as(x, b->type, c + b->i)));
        if (b->i == 31 && e->type == TY_I32) return e;
        r = simp_div(x, ex_idiv(x, a, ex_int_as(x, e->type, (i64)1 << b->i)));
        return e->type == TY_I32 || r->op != EX_IDIV ? r : e;
    case EX_AND:
        if (is_ones(b->i) && lo >= 0 && hi <= b->i) return a;
        if ((of = by_const(a, EX_AND, &c)))
            return simp_bits(x, ex_and(x, of, ex_int_as(x, e->type, c & b->i)));
        if (!is_ones(b->i) || b->i >= INT32_MAX) return e;
        r = simp_div(x, ex_mod(x, a, ex_int_as(x, e->type, b->i + 1)));
        return e->type == TY_I32 || r->op != EX_IMOD ? r : e;
    default: return e;
    }
}

static const Expr *simp_node(Exprs *x, const Expr *e) {
    bool ints = e->nargs == 2 && type_is_int(e->args[0]->type);
    switch (e->op) {
    case EX_ADD:
    case EX_SUB:
    case EX_MUL: return ints ? simp_sum(x, e) : e;
    case EX_IDIV:
    case EX_IMOD: return simp_div(x, e);
    case EX_SHL:
    case EX_SHR:
    case EX_AND: return simp_bits(x, e);
    case EX_MIN:
    case EX_MAX: return ints && e->type == TY_I32 ? simp_min(x, e) : e;
    case EX_LT:
    case EX_LE: e = ints && e->args[0]->type == TY_I32 ? simp_order(x, e) : e; break;
    case EX_EQ:
    case EX_NE: e = ints && e->args[0]->type == TY_I32 ? simp_equal(x, e) : e; break;
    case EX_LNOT: {
        const Expr *c = e->args[0];
        if (c->nargs == 2 && type_is_int(c->args[0]->type)) {
            if (c->op == EX_LT || c->op == EX_LE)
                return simp_node(
                    x, ex_node(x, c->op == EX_LT ? EX_LE : EX_LT, c->args[1], c->args[0], NULL));
            if (c->op == EX_EQ || c->op == EX_NE)
                return ex_node(x, c->op == EX_EQ ? EX_NE : EX_EQ, c->args[0], c->args[1], NULL);
        }
        return e;
    }
    default: return e;
    }
    i64 lo, hi;
    if (e->op != EX_ICONST && e->type == TY_BOOL && ints && expr_range(e, &lo, &hi) && lo == hi)
        return ex_bool(x, lo != 0);
    return e;
}

static const Expr *simp(Exprs *x, const Expr *e) {
    const Expr *r = simp_node(x, e);
    i64 lo, hi;
    if (r->nargs && type_is_int(r->type) && r->op != EX_LOAD && expr_range(r, &lo, &hi) && lo == hi)
        return ex_int_as(x, r->type, lo);
    return r;
}

// Each node once in its life: it remembers what became of it.
static const Expr *simplified(Exprs *x, const Expr *e) {
    if (e->nargs == 0) return e;
    if (e->simple) return e->simple;
    const Expr *args[BUFFER_MAX_DIMS] = {0};
    bool changed = false;
    for (int i = 0; i < e->nargs; i++) {
        args[i] = simplified(x, e->args[i]);
        changed |= args[i] != e->args[i];
    }
    const Expr *r = simp(x, changed ? expr_rebuilt(x, e, args) : e);
    ((Expr *)e)->simple = r; // the table's own node: const to those who use it
    return r;
}

static const Expr *as_is(void *user, Exprs *x, const Expr *e) {
    (void)user, (void)x;
    return e;
}

const Expr *expr_simplify(Exprs *x, const Expr *e) {
    return simplified(x, e->home == x ? e : expr_map(x, e, as_is, NULL));
}

bool expr_affine(Exprs *x, const Expr *e, const Var *v, const Expr **base, i64 *coef) {
    if (!expr_uses(e, v)) {
        *base = e;
        *coef = 0;
        return true;
    }
    if (!type_is_int(e->type)) return false;
    i64 lo, hi;
    if (e->op == EX_CAST &&
        type_is_int(e->args[0]->type)) { // u32(8*a + v), as long as nothing wraps
        expr_range(e->args[0], &lo, &hi);
        if (lo < type_lo(e->type) || hi > type_hi(e->type) ||
            !expr_affine(x, e->args[0], v, base, coef))
            return false;
        expr_range(*base, &lo, &hi);
        *base = ex_cast(x, (Type)e->type, *base);
        return lo >= type_lo(e->type) && hi <= type_hi(e->type);
    }
    e = expr_simplify(x, e);
    Lin *l = lin_take(x, (Type)e->type), *rest = lin_take(x, (Type)e->type);
    bool ok = lin_add(x, l, e, 1);
    rest->k = l->k;
    *coef = 0;
    for (int i = 0; ok && i < l->n; i++) {
        const Term *t = &l->t[i];
        bool uses = false;
        for (int a = 0; a < t->n; a++) uses |= expr_uses(t->at[a], v);
        if (!uses)
            ok = lin_add_term(rest, t);
        else if (t->n == 1 && t->at[0]->op == EX_VAR)
            *coef = t->coef;
        else
            ok = false;
    }
    *base = ok ? lin_expr(x, rest) : NULL;
    lin_give(x, rest);
    lin_give(x, l);
    return *base != NULL;
}
