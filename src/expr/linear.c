// expr/linear.c: sums of products, the canonical form of integer arithmetic.
//
// A Lin holds sum(coef * atom * atom ...) + k with its terms sorted by the latest variable in them,
// so that equal sums are the same node and the part that an inner loop does not change is a prefix
// (hoisting finds it whole). i32 sums are exact integers; u32 sums are exact modulo 2^32, their
// coefficients kept between -2^31 and 2^31. Division, comparison and the rest of the rules are
// simplify.c's.
#include "expr/expr_int.h"

Lin *lin_take(Exprs *x, Type t) {
    Lin *l = x->lins;
    if (l)
        x->lins = l->next;
    else
        l = NEW(x->arena, Lin);
    l->type = t;
    l->n = 0;
    l->k = 0;
    return l;
}

void lin_give(Exprs *x, Lin *l) {
    l->next = x->lins;
    x->lins = l;
}

// A total order on nodes that depends on their structure alone, so that a replayed schedule sorts
// alike.
static int atom_cmp(const Expr *a, const Expr *b) {
    if (a == b) return 0;
    if (a->top != b->top) return a->top < b->top ? -1 : 1;
    if (a->op != b->op) return a->op < b->op ? -1 : 1;
    if (a->hash != b->hash) return a->hash < b->hash ? -1 : 1;
    for (int i = 0; i < MIN2(a->nargs, b->nargs); i++) {
        int c = atom_cmp(a->args[i], b->args[i]);
        if (c) return c;
    }
    return a->id < b->id ? -1 : 1;
}

static int term_cmp(const Term *a, const Term *b) {
    int ta = a->n ? a->at[a->n - 1]->top : -1, tb = b->n ? b->at[b->n - 1]->top : -1;
    if (ta != tb) return ta < tb ? -1 : 1;
    if (a->n != b->n) return a->n > b->n ? -1 : 1;
    for (int i = a->n - 1; i >= 0; i--) {
        int c = atom_cmp(a->at[i], b->at[i]);
        if (c) return c;
    }
    return 0;
}

static bool scaled(const Lin *l, i64 a, i64 b, i64 *r) {
    if (!mul_i64(a, b, r)) return false;
    if (l->type == TY_U32) *r = wrap_to(TY_I32, *r);
    return true;
}

static bool summed(const Lin *l, i64 a, i64 b, i64 *r) {
    if (__builtin_add_overflow(a, b, r)) return false;
    if (l->type == TY_U32) *r = wrap_to(TY_I32, *r);
    return true;
}

bool lin_add_term(Lin *l, const Term *t) {
    if (t->coef == 0) return true;
    if (t->n == 0) return summed(l, l->k, t->coef, &l->k);
    int at = 0;
    for (; at < l->n; at++) {
        int c = term_cmp(&l->t[at], t);
        if (c > 0) break;
        if (c == 0) {
            if (!summed(l, l->t[at].coef, t->coef, &l->t[at].coef)) return false;
            if (l->t[at].coef == 0) {
                l->n--;
                memmove(&l->t[at], &l->t[at + 1], (size_t)(l->n - at) * sizeof(Term));
            }
            return true;
        }
    }
    if (l->n == LIN_TERMS) return false;
    memmove(&l->t[at + 1], &l->t[at], (size_t)(l->n - at) * sizeof(Term));
    l->t[at] = *t;
    l->n++;
    return true;
}

bool lin_add_lin(Lin *l, const Lin *m, i64 scale) {
    i64 k;
    if (!scaled(l, m->k, scale, &k) || !summed(l, l->k, k, &l->k)) return false;
    for (int i = 0; i < m->n; i++) {
        Term t = m->t[i];
        if (!scaled(l, t.coef, scale, &t.coef) || !lin_add_term(l, &t)) return false;
    }
    return true;
}

static bool term_times(const Lin *l, const Term *a, const Term *b, Term *r) {
    if (a->n + b->n > LIN_ATOMS || !scaled(l, a->coef, b->coef, &r->coef)) return false;
    r->n = 0;
    for (int i = 0, j = 0; i < a->n || j < b->n;) // both are sorted
        r->at[r->n++] =
            j == b->n || (i < a->n && atom_cmp(a->at[i], b->at[j]) <= 0) ? a->at[i++] : b->at[j++];
    return true;
}

// l += scale * a * b
static bool add_product(Lin *l, const Lin *a, const Lin *b, i64 scale) {
    for (int i = -1; i < a->n; i++)
        for (int j = -1; j < b->n; j++) {
            Term ka = {.coef = a->k}, kb = {.coef = b->k}, t;
            if (!term_times(l, i < 0 ? &ka : &a->t[i], j < 0 ? &kb : &b->t[j], &t) ||
                !scaled(l, t.coef, scale, &t.coef) || !lin_add_term(l, &t))
                return false;
        }
    return true;
}

bool lin_add(Exprs *x, Lin *l, const Expr *e, i64 scale) {
    Term t = {.coef = scale, .n = 1, .at = {e}};
    const Expr *of;
    i64 k;
    switch (e->op) {
    case EX_ICONST: return scaled(l, e->i, scale, &k) && summed(l, l->k, k, &l->k);
    case EX_ADD: return lin_add(x, l, e->args[0], scale) && lin_add(x, l, e->args[1], scale);
    case EX_SUB:
        return scale != INT64_MIN && lin_add(x, l, e->args[0], scale) &&
               lin_add(x, l, e->args[1], -scale);
    case EX_MUL: {
        if ((of = by_const(e, EX_MUL, &k))) return scaled(l, scale, k, &k) && lin_add(x, l, of, k);
        Lin *a = lin_take(x, l->type), *b = lin_take(x, l->type);
        bool ok = lin_add(x, a, e->args[0], 1) && lin_add(x, b, e->args[1], 1) &&
                  add_product(l, a, b, scale);
        lin_give(x, b);
        lin_give(x, a);
        return ok;
    }
    default: return lin_add_term(l, &t);
    }
}

// ---- what is known of a sum ---------------------------------------------------------------------

bool term_range(const Term *t, i64 *lo, i64 *hi) {
    *lo = *hi = t->coef;
    for (int i = 0; i < t->n; i++) {
        i64 a, b, p[4];
        expr_range(t->at[i], &a, &b);
        if (i > 0 && t->at[i] == t->at[i - 1] &&
            a < 0) // a square: intervals do not see that it is not negative
            a = MIN2(a, -b);
        if (!mul_i64(*lo, a, &p[0]) || !mul_i64(*lo, b, &p[1]) || !mul_i64(*hi, a, &p[2]) ||
            !mul_i64(*hi, b, &p[3]))
            return false;
        *lo = MIN2(MIN2(p[0], p[1]), MIN2(p[2], p[3]));
        *hi = MAX2(MAX2(p[0], p[1]), MAX2(p[2], p[3]));
    }
    return true;
}

bool lin_range(const Lin *l, i64 *lo, i64 *hi) {
    *lo = *hi = l->k;
    for (int i = 0; i < l->n; i++) {
        i64 a, b;
        if (!term_range(&l->t[i], &a, &b) || __builtin_add_overflow(*lo, a, lo) ||
            __builtin_add_overflow(*hi, b, hi))
            return false;
    }
    return true;
}

i64 term_divisor(const Term *t) {
    i64 d = 1;
    for (int i = 0; i < t->n; i++)
        if (!mul_i64(d, divisor_of(t->at[i]), &d) || d > (i64)1 << 40) return 1;
    return d;
}

// ---- c*(e//c) + e%c -> e ------------------------------------------------------------------------

// Are the other atoms of a (all but its ia-th) those of b (all but its ib-th)?
static bool same_rest(const Term *a, int ia, const Term *b, int ib) {
    if (a->n != b->n) return false;
    for (int i = 0, j = 0; i < a->n || j < b->n; i++, j++) {
        i += i == ia;
        j += j == ib;
        if (i >= a->n || j >= b->n) return i >= a->n && j >= b->n;
        if (a->at[i] != b->at[j]) return false;
    }
    return true;
}

static void drop_term(Lin *l, int at) {
    l->n--;
    memmove(&l->t[at], &l->t[at + 1], (size_t)(l->n - at) * sizeof(Term));
}

// l += coef * by * (the atoms of t but its at-th)
static bool add_replaced(Exprs *x, Lin *l, const Term *t, int at, i64 coef, const Expr *by) {
    Lin *a = lin_take(x, l->type), *b = lin_take(x, l->type);
    Term rest = {.coef = coef};
    for (int i = 0; i < t->n; i++)
        if (i != at) rest.at[rest.n++] = t->at[i];
    bool ok = lin_add_term(a, &rest) && lin_add(x, b, by, 1) && add_product(l, a, b, 1);
    lin_give(x, b);
    lin_give(x, a);
    return ok;
}

// One step: finds a pair that joins. *found tells; false when the sum grew too large.
static bool join_one(Exprs *x, Lin *l, bool *found) {
    for (int i = 0; i < l->n; i++)
        for (int p = 0; p < l->t[i].n; p++) {
            const Expr *of, *inner;
            i64 c, c2, b;
            Term ti = l->t[i], tj;
            if ((of = split_by(ti.at[p], EX_IDIV, &c))) {
                i64 d = divisor_of(of);
                if (ti.coef % c == 0 && d % c == 0) { // e//c*c, and c divides e
                    drop_term(l, i);
                    *found = true;
                    return add_replaced(x, l, &ti, p, ti.coef / c, of);
                }
            }
            if (!(of = split_by(ti.at[p], EX_IMOD, &c))) continue;
            for (int j = 0; j < l->n; j++)
                for (int q = 0; j != i && q < l->t[j].n; q++) {
                    tj = l->t[j];
                    const Expr *by = NULL;
                    i64 both;
                    if (split_by(tj.at[q], EX_IDIV, &c2) == of && c2 == c)
                        by = of; // e%c + c*(e//c)
                    else if ((inner = split_by(tj.at[q], EX_IMOD, &c2)) &&
                             split_by(inner, EX_IDIV, &b) == of && b == c &&
                             mul_i64(c, c2, &both) && both <= INT32_MAX)
                        by = ex_mod(x, of, // e%c + c*(e//c%c2) is e%(c*c2)
                                    ex_int_as(x, l->type, both));
                    i64 want;
                    if (!by || !mul_i64(ti.coef, c, &want) || tj.coef != want ||
                        !same_rest(&ti, p, &tj, q))
                        continue;
                    drop_term(l, MAX2(i, j));
                    drop_term(l, MIN2(i, j));
                    *found = true;
                    return add_replaced(x, l, &ti, p, ti.coef, by);
                }
        }
    return true;
}

bool lin_recombine(Exprs *x, Lin *l) {
    for (int step = 0; step < LIN_TERMS; step++) {
        bool found = false;
        if (!join_one(x, l, &found)) return false;
        if (!found) return true;
    }
    return true;
}

// ---- back to an expression ----------------------------------------------------------------------

static bool fits(const Lin *l, i64 v) {
    return l->type == TY_U32 || (v >= -INT32_MAX && v <= INT32_MAX);
}

// The terms of one sign (0: both), with their magnitudes; NULL when there is none.
static const Expr *terms_expr(Exprs *x, const Lin *l, int sign) {
    const Expr *sum = NULL;
    int first = 0;
    while (first < l->n && l->t[first].coef < 0) first++;
    if (first == l->n || sign < 0) first = -1; // no positive term to begin with
    for (int step = -1; step < l->n; step++) {
        int i = step < 0 ? first : step;
        if (i < 0 || (step >= 0 && i == first) || (sign && (l->t[i].coef < 0) != (sign < 0)))
            continue;
        const Term *t = &l->t[i];
        const Expr *p = t->at[0];
        for (int a = 1; a < t->n; a++) p = ex_mul(x, p, t->at[a]);
        bool minus = t->coef < 0 && (sum || sign);
        p = ex_mul(x, p, ex_int_as(x, l->type, minus ? -t->coef : t->coef));
        sum = !sum ? p : minus && !sign ? ex_sub(x, sum, p) : ex_add(x, sum, p);
    }
    return sum;
}

static bool all_fit(const Lin *l) {
    bool ok = fits(l, l->k);
    for (int i = 0; i < l->n; i++) ok &= fits(l, l->t[i].coef);
    return ok;
}

const Expr *lin_expr(Exprs *x, const Lin *l) {
    if (!all_fit(l)) return NULL;
    bool positive = false;
    for (int i = 0; i < l->n; i++) positive |= l->t[i].coef > 0;
    if (l->n && !positive && l->k > 0) // k - a
        return ex_sub(x, ex_int_as(x, l->type, l->k), terms_expr(x, l, -1));
    const Expr *e = terms_expr(x, l, 0);
    if (!e) return ex_int_as(x, l->type, l->k);
    return l->type == TY_U32 && l->k < 0 ? ex_sub(x, e, ex_uint(x, (u32)-l->k))
                                         : ex_add(x, e, ex_int_as(x, l->type, l->k));
}

// Does the sum of the terms of one sign, their magnitudes, and of k fit?
static bool side_fits(const Lin *l, int sign, i64 k) {
    i64 lo = k, hi = k, a, b;
    for (int i = 0; i < l->n; i++) {
        Term t = l->t[i];
        if ((t.coef < 0) != (sign < 0)) continue;
        t.coef *= sign;
        if (!term_range(&t, &a, &b) || __builtin_add_overflow(lo, a, &lo) ||
            __builtin_add_overflow(hi, b, &hi))
            return false;
    }
    return lo >= type_lo(l->type) && hi <= type_hi(l->type);
}

bool lin_sides(Exprs *x, const Lin *l, const Expr **lhs, const Expr **rhs) {
    if (!all_fit(l)) return false;
    const Expr *a = terms_expr(x, l, 1), *b = terms_expr(x, l, -1),
               *zero = ex_int_as(x, l->type, 0);
    bool left = b && (l->k > 0 || !a);
    if (!side_fits(l, 1, left ? l->k : 0) || !side_fits(l, -1, left ? 0 : -l->k)) return false;
    const Expr *k = ex_int_as(x, l->type, left ? l->k : -l->k);
    *lhs = !left ? (a ? a : zero) : a ? ex_add(x, a, k) : k;
    *rhs = left ? b : b ? ex_add(x, b, k) : k;
    return true;
}
