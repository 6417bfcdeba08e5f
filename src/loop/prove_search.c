// loop/prove_search.c: lower bounds of polynomials under facts.
//
// The first bound is that of intervals; when it is too weak, multiples of known facts `polynomial
// >= 0` are subtracted so that a monomial disappears, to a small depth and with a budget of steps:
// that is how `o*18 + b < 960*18` follows from `o < 960` and `b < 18`, and how symbolic extents
// cancel. Values are integers, so bounds round inwards, and quotients get steps of their own where
// rounding would lose too much. i32 arithmetic is taken not to overflow: the verifier checks that
// of every node.
#include "loop/prove_int.h"

static i64 deep_search(Prover *p, const Poly *q, i64 enough, int depth);

static i64 mono_least(Prover *p, const Mono *m) {
    Bounds r = {m->c, m->c, 0};
    for (int i = 0; i < m->n; i++) r = bounds_mul(r, prover_bounds(p, m->at[i]));
    return r.lo;
}

// t = part * extra, with every atom of extra known not to be negative
static bool mono_quotient(Prover *p, const Mono *t, const Mono *part, Mono *extra) {
    int j = 0;
    *extra = (Mono){.c = 1};
    for (int i = 0; i < t->n; i++) {
        if (j < part->n && part->at[j] == t->at[i]) {
            j++;
        } else {
            if (prover_bounds(p, t->at[i]).lo < 0) return false;
            extra->at[extra->n++] = t->at[i];
        }
    }
    return j == part->n;
}

// The best lower bound of q found by using fact g to remove q's monomial t.
static i64 use_fact(Prover *p, const Poly *q, const Mono *t, const Poly *g, i64 enough, int depth) {
    i64 best = NO_LO;
    for (int j = 0; j < g->n; j++) {
        Mono extra;
        if ((g->m[j].c < 0) != (t->c < 0) || !mono_quotient(p, t, &g->m[j], &extra)) continue;
        i64 f = gcd(t->c, g->m[j].c), m = g->m[j].c / f, s = t->c / f;
        m = m < 0 ? -m : m;
        s = s < 0 ? -s : s;
        Poly next = {0};
        poly_scale_add(&next, q, m);
        extra.c = -s;
        poly_add(&next, g, &extra);
        if (next.bad || next.n > q->n + 2) continue;
        best = MAX2(best, ceil_to(prover_lower(p, &next, sat_mul(enough, m), depth - 1), m));
        if (best >= enough) break;
    }
    return best;
}

i64 prover_lower(Prover *p, const Poly *q, i64 enough, int depth) {
    i64 best = q->k;
    if (q->bad) return NO_LO;
    for (int i = 0; i < q->n; i++) best = sat_add(best, mono_least(p, &q->m[i]));
    for (int i = q->n - 1; i >= 0 && depth > 0 && best < enough; i--) {
        for (size_t f = p->facts.n + p->definitions.n; f-- > 0 && best < enough;) {
            const Poly *g =
                f < p->definitions.n ? p->definitions.at[f] : p->facts.at[f - p->definitions.n];
            if (p->steps-- <= 0) return best;
            best = MAX2(best, use_fact(p, q, &q->m[i], g, enough, depth));
        }
    }
    return best;
}

// ---- questions ----------------------------------------------------------------------------------
// Shallow searches first: most bounds need one fact or two.
static i64 search(Prover *p, const Poly *q, i64 enough) {
    i64 best = NO_LO;
    for (int depth = 0; depth <= SEARCH_DEPTH && best < enough; depth++) {
        p->steps = SEARCH_STEPS;
        best = MAX2(best, prover_lower(p, q, enough, depth));
    }
    return best;
}

// q + r >= 0 for a quotient q = a // d is a + d*r >= 0; r - q >= 0 is d*r + d - 1 - a >= 0: nothing
// is lost to rounding.
static bool without_quotient(Prover *p, const Poly *q, i64 enough, int at, int depth) {
    const Mono *m = &q->m[at];
    if (m->n != 1 || (m->c != 1 && m->c != -1) || m->at[0]->op != EX_IDIV ||
        prover_bounds(p, m->at[0]->args[1]).lo < 1)
        return false;
    const Poly *a = prover_poly(p, m->at[0]->args[0]), *d = prover_poly(p, m->at[0]->args[1]);
    Poly rest = {.k = sat_neg(enough)}, next = {.k = m->c < 0 ? -1 : 0};
    poly_scale_add(&rest, q, 1);
    poly_add_mono(&rest, &(Mono){.c = -m->c, .n = 1, .at = {m->at[0]}});
    for (int i = 0; i < d->n; i++) poly_add(&next, &rest, &d->m[i]);
    poly_add(&next, &rest, &(Mono){.c = d->k});
    if (m->c < 0) poly_scale_add(&next, d, 1);
    poly_scale_add(&next, a, m->c);
    return !next.bad && !d->bad && !rest.bad && deep_search(p, &next, 0, depth - 1) >= 0;
}

// g*whole + small >= g * (least whole) + (least small): whole's bound is an integer.
static i64 split_by(Prover *p, const Poly *q, i64 g, i64 enough) {
    Poly whole = {0};
    i64 small = q->k;
    for (int i = 0; i < q->n; i++) {
        Mono m = q->m[i];
        if (m.c % g == 0) {
            m.c /= g;
            poly_add_mono(&whole, &m);
        } else {
            small = sat_add(small, mono_least(p, &m));
        }
    }
    if (small == NO_LO || !whole.n) return NO_LO;
    i64 need = enough == NO_HI ? NO_HI : ceil_to(sat_add(enough, sat_neg(small)), g);
    return sat_add(sat_mul(g, search(p, &whole, need)), small);
}

// How far two quotients lie apart, one that helps and one that hurts, is found on its own and
// becomes a fact.
static void compare(Prover *p, const Expr *a, const Expr *b, int depth) {
    Poly g = {0};
    poly_atom(&g, a);
    poly_add_mono(&g, &(Mono){.c = -1, .n = 1, .at = {b}});
    for (i64 apart = 1; apart >= 0; apart--) {
        if (deep_search(p, &g, apart, depth - 1) >= apart) {
            g.k = -apart;
            vec_push(p->arena, &p->facts, prover_keep(p, &g));
            return;
        }
    }
}

static void compare_quotients(Prover *p, const Poly *q, int depth) {
    const Expr *up[8], *down[8];
    int nup = 0, ndown = 0;
    for (int i = 0; i < q->n; i++) {
        const Expr **list = q->m[i].c > 0 ? up : down;
        int *n = q->m[i].c > 0 ? &nup : &ndown;
        for (int j = 0; j < q->m[i].n; j++) {
            const Expr *e = q->m[i].at[j];
            bool have = e->op != EX_IDIV;
            for (int k = 0; k < *n; k++) have |= list[k] == e;
            if (!have && *n < (int)COUNT_OF(up)) list[(*n)++] = e;
        }
    }
    for (int i = 0; i < nup; i++)
        for (int j = 0; j < ndown; j++)
            if (up[i] != down[j] && p->facts.n < MAX_FACTS) compare(p, up[i], down[j], depth);
}

static i64 deep_search(Prover *p, const Poly *q, i64 enough, int depth) {
    i64 best = search(p, q, enough);
    if (best >= enough || depth <= 0 || q->bad) return best;
    for (int i = 0; i < q->n && best < enough; i++)
        if (without_quotient(p, q, enough, i, depth)) return enough;
    size_t mark = p->facts.n;
    compare_quotients(p, q, depth);
    if (p->facts.n > mark) best = MAX2(best, search(p, q, enough));
    for (int i = 0; i < q->n && best < enough; i++) {
        i64 g = q->m[i].c < 0 ? -q->m[i].c : q->m[i].c;
        if (g > 1) best = MAX2(best, split_by(p, q, g, enough));
    }
    p->facts.n = mark;
    return best;
}

void prover_range(Prover *p, const Expr *e, i64 enough_lo, i64 enough_hi, i64 *lo, i64 *hi) {
    // What the variables' own ranges say (the verifier holds every let to its range) is often
    // enough.
    if (expr_range(e, lo, hi) && *lo >= enough_lo && *hi <= enough_hi) return;
    p->steps = SEARCH_STEPS;
    Bounds r = prover_bounds(p, e);
    if (r.lo < enough_lo) r.lo = MAX2(r.lo, deep_search(p, prover_poly(p, e), enough_lo, 2));
    if (r.hi > enough_hi) {
        Poly neg = {0};
        poly_scale_add(&neg, prover_poly(p, e), -1);
        r.hi = MIN2(r.hi, sat_neg(deep_search(p, &neg, sat_neg(enough_hi), 2)));
    }
    *lo = r.lo;
    *hi = r.hi;
}

bool prover_at_least(Prover *p, const Expr *a, const Expr *b, i64 by) {
    Poly q = {0};
    p->steps = SEARCH_STEPS;
    poly_scale_add(&q, prover_poly(p, a), 1);
    poly_scale_add(&q, prover_poly(p, b), -1);
    return deep_search(p, &q, by, 2) >= by;
}
