// loop/prove_range.c: an expression as a polynomial over atoms, and as an interval.
//
// Sums, products, shifts and exact quotients are seen through; anything else is an atom, and brings
// the facts that tie it to its arguments. Polynomials do not rest on the facts of the moment,
// intervals do.
#include "loop/prove_int.h"

enum { NODE_DEPTH = 400 };

const Poly *prover_keep(Prover *p, const Poly *q) {
    size_t size = offsetof(Poly, m) + sizeof(Mono) * (size_t)q->n;
    Poly *r = arena_alloc(p->arena, size);
    memcpy(r, q, size);
    return r;
}

static void define(Prover *p, const Poly *nonneg) {
    if (!nonneg->bad && p->definitions.n < MAX_DEFINITIONS)
        vec_push(p->arena, &p->definitions, prover_keep(p, nonneg));
}

// The facts that tie an atom to its arguments: c*q <= a < c*q + c; min(a, b) <= a...
static void define_atom(Prover *p, const Expr *e) {
    Poly g;
    if (e->op == EX_IDIV) {
        const Poly *a = prover_poly(p, e->args[0]), *d = prover_poly(p, e->args[1]);
        i64 lo, hi;
        expr_range(e->args[1], &lo, &hi);
        if (lo < 1 || d->bad || d->n > 1) return;
        g = (Poly){0}; // a - d*q >= 0
        poly_scale_add(&g, a, 1);
        poly_add(&g, d, &(Mono){.c = -1, .n = 1, .at = {e}});
        define(p, &g);
        bool exact = d->n == 0 && d->k > 0 && expr_divisor(e->args[0]) % d->k == 0;
        Poly h = {.k = exact ? 0 : -1}; // d*q + d - 1 - a >= 0
        poly_scale_add(&h, &g, -1);
        if (!exact) poly_scale_add(&h, d, 1);
        define(p, &h);
    } else if (e->op == EX_IMOD && e->args[1]->op != EX_ICONST) {
        i64 lo, hi;
        expr_range(e->args[1], &lo, &hi);
        if (lo < 1) return;
        g = (Poly){.k = -1}; // d - 1 - a % d >= 0
        poly_scale_add(&g, prover_poly(p, e->args[1]), 1);
        poly_add_mono(&g, &(Mono){.c = -1, .n = 1, .at = {e}});
        define(p, &g);
    } else if (e->op == EX_MIN || e->op == EX_MAX) {
        for (int i = 0; i < 2; i++) {
            g = (Poly){0};
            poly_scale_add(&g, prover_poly(p, e->args[i]), e->op == EX_MIN ? 1 : -1);
            poly_add(&g, &(Poly){.k = 1},
                     &(Mono){.c = e->op == EX_MIN ? -1 : 1, .n = 1, .at = {e}});
            define(p, &g);
        }
    }
}

// u32 arithmetic wraps and casts reinterpret: they are transparent only where intervals show that
// nothing is lost. Polynomials outlive the facts of the moment, so these intervals must not rest on
// facts.
static bool stays_inside(const Expr *e) {
    i64 lo, hi;
    if (e->op == EX_CAST) {
        expr_range(e->args[0], &lo, &hi);
        return lo >= 0 && hi <= INT32_MAX;
    }
    expr_range(e, &lo, &hi);
    return e->type == TY_I32 || lo > 0 || hi < UINT32_MAX; // the whole of u32 when it may wrap
}

// a // c where c divides a's terms, or leaves a rest that c holds whole: no atom is needed.
static bool exact_quotient(const Poly *a, i64 c, Poly *out) {
    Poly rest = {.k = a->k};
    i64 lo = a->k, hi = a->k, l, h;
    *out = (Poly){0};
    for (int i = 0; i < a->n; i++) {
        Mono m = a->m[i];
        if (m.c % c == 0) {
            m.c /= c;
            poly_add_mono(out, &m);
            continue;
        }
        if (m.n != 1 || !expr_range(m.at[0], &l, &h) || rest.n++ > 4) return false;
        lo = sat_add(lo, sat_mul(m.c, m.c > 0 ? l : h));
        hi = sat_add(hi, sat_mul(m.c, m.c > 0 ? h : l));
    }
    out->k = floor_to(lo, c);
    return !a->bad && lo != NO_LO && hi != NO_HI && floor_to(lo, c) == floor_to(hi, c);
}

static void poly_build(Prover *p, const Expr *e, Poly *out) {
    i64 def, v;
    const Poly *a;
    switch (e->op) {
    case EX_ICONST: out->k = e->i; return;
    case EX_VAR:
        if (ptrmap_get(&p->lets, e->var, &def)) {
            poly_scale_add(out, prover_poly(p, (const Expr *)(intptr_t)def), 1);
        } else if (e->var->divisor > 1 && e->type == TY_I32 && e->var->lo >= 0 &&
                   e->var->divisor <= INT32_MAX) {
            // d * (e // d): every quotient of e by a factor of d is then a multiple of one atom
            const Expr *q = ex_idiv(e->home, e, ex_int(e->home, e->var->divisor));
            poly_add_mono(out, &(Mono){.c = e->var->divisor, .n = 1, .at = {q}});
        } else {
            poly_atom(out, e);
        }
        return;
    case EX_IDIV:
        if (!expr_is_int(e->args[1], &v) || v < 1 || e->type != TY_I32) break;
        if (!exact_quotient(prover_poly(p, e->args[0]), v, out)) {
            *out = (Poly){0};
            break;
        }
        return;
    case EX_ADD:
    case EX_SUB:
        if (!stays_inside(e)) break;
        poly_scale_add(out, prover_poly(p, e->args[0]), 1);
        poly_scale_add(out, prover_poly(p, e->args[1]), e->op == EX_ADD ? 1 : -1);
        return;
    case EX_MUL: {
        if (!stays_inside(e)) break;
        const Poly *b = prover_poly(p, e->args[1]);
        a = prover_poly(p, e->args[0]);
        poly_add(out, a, &(Mono){.c = b->k});
        for (int i = 0; i < b->n; i++) poly_add(out, a, &b->m[i]);
        out->bad |= b->bad;
        return;
    }
    case EX_SHL:
        if (!expr_is_int(e->args[1], &v) || v < 0 || v > 31 || !stays_inside(e)) break;
        poly_scale_add(out, prover_poly(p, e->args[0]), (i64)1 << v);
        return;
    case EX_CAST:
        if (e->args[0]->type == TY_F32 || e->args[0]->type == TY_BOOL || !stays_inside(e)) break;
        poly_scale_add(out, prover_poly(p, e->args[0]), 1);
        return;
    case EX_IMOD: // as an atom of its own: its interval is what is wanted most
    default: break;
    }
    poly_atom(out, e);
}

const Poly *prover_poly(Prover *p, const Expr *e) {
    static const Poly bad = {.bad = true};
    i64 have;
    if (ptrmap_get(&p->polys, e, &have)) return (const Poly *)(intptr_t)have;
    if (p->depth > NODE_DEPTH) return &bad;
    p->depth++;
    Poly q = {0};
    poly_build(p, e, &q);
    p->depth--;
    if (q.bad) { // too large: an atom whose interval is known
        q = (Poly){0};
        poly_atom(&q, e);
    }
    const Poly *kept = prover_keep(p, &q);
    ptrmap_put(&p->polys, e, (i64)(intptr_t)kept);
    if (q.n == 1 && q.m[0].n == 1 && q.m[0].at[0] == e && q.m[0].c == 1) define_atom(p, e);
    return kept;
}

// ---- intervals ----------------------------------------------------------------------------------
static Bounds whole(int type) {
    return type == TY_I32   ? (Bounds){INT32_MIN, INT32_MAX, 0}
           : type == TY_U32 ? (Bounds){0, UINT32_MAX, 0}
                            : (Bounds){0, type == TY_BOOL, 0};
}

Bounds bounds_mul(Bounds a, Bounds b) {
    i64 v[4] = {sat_mul(a.lo, b.lo), sat_mul(a.lo, b.hi), sat_mul(a.hi, b.lo), sat_mul(a.hi, b.hi)};
    return (Bounds){MIN2(MIN2(v[0], v[1]), MIN2(v[2], v[3])),
                    MAX2(MAX2(v[0], v[1]), MAX2(v[2], v[3])), 0};
}

// The argument of an operation that polynomials do not see through: facts are put to work here.
static Bounds sharp(Prover *p, const Expr *e) {
    Bounds r = prover_bounds(p, e);
    if (p->facts.n && e->op != EX_ICONST && p->steps > 0) {
        Poly neg = {0};
        const Poly *q = prover_poly(p, e);
        poly_scale_add(&neg, q, -1);
        i64 some = MIN2(p->steps, SHARP_STEPS), rest = p->steps - some; // no bound is ever enough
        p->steps = some;
        r.lo = MAX2(r.lo, prover_lower(p, q, NO_HI, 2));
        r.hi = MIN2(r.hi, sat_neg(prover_lower(p, &neg, NO_HI, 2)));
        p->steps = rest + MAX2(p->steps, 0);
    }
    return r;
}

static i64 ones_above(i64 v) {
    i64 r = 1;
    while (r <= v) r *= 2;
    return r - 1;
}

static Bounds node_range(Prover *p, const Expr *e) {
    Bounds any = whole(e->type), a = {0}, b = {0}, r = any;
    bool ints = e->nargs > 0 && e->op != EX_LOAD;
    for (int i = 0; i < e->nargs; i++)
        ints &= e->args[i]->type == TY_I32 || e->args[i]->type == TY_U32;
    bool sharpen = e->op == EX_IDIV || e->op == EX_IMOD || e->op == EX_SHR || e->op == EX_MIN ||
                   e->op == EX_MAX;
    if (ints) {
        a = sharpen ? sharp(p, e->args[0]) : prover_bounds(p, e->args[0]);
        if (e->nargs > 1) b = prover_bounds(p, e->args[1]);
    }
    i64 def;
    switch (e->op) {
    case EX_ICONST: return (Bounds){e->i, e->i, 0};
    case EX_VAR:
        r = (Bounds){MAX2(any.lo, e->var->lo), MIN2(any.hi, e->var->hi), 0};
        if (ptrmap_get(&p->lets, e->var, &def))
            a = prover_bounds(
                p, (const Expr *)(intptr_t)def); // a let's declared range is not believed
        else if (ptrmap_get(&p->extents, e->var, &def))
            a = (Bounds){0, sat_add(prover_bounds(p, (const Expr *)(intptr_t)def).hi, -1), 0};
        else
            return r;
        return (Bounds){MAX2(any.lo, a.lo), MIN2(any.hi, a.hi), 0};
    case EX_LOAD: return (Bounds){MAX2(any.lo, e->buf->lo), MIN2(any.hi, e->buf->hi), 0};
    case EX_ADD: r = (Bounds){sat_add(a.lo, b.lo), sat_add(a.hi, b.hi), 0}; break;
    case EX_SUB: r = (Bounds){sat_add(a.lo, sat_neg(b.hi)), sat_add(a.hi, sat_neg(b.lo)), 0}; break;
    case EX_MUL: r = bounds_mul(a, b); break;
    case EX_SHL:
        if (b.lo < 0 || b.hi < b.lo || b.hi > 31) return any; // an empty loop has an empty range
        r = bounds_mul(a, (Bounds){(i64)1 << b.lo, (i64)1 << b.hi, 0});
        break;
    case EX_IDIV:
        if (b.lo < 1) return any;
        r.lo = MIN2(floor_to(a.lo, b.lo), floor_to(a.lo, b.hi));
        r.hi = MAX2(floor_to(a.hi, b.lo), floor_to(a.hi, b.hi));
        return r;
    case EX_IMOD:
        if (b.lo < 1) return any;
        if (b.lo == b.hi && floor_to(a.lo, b.lo) == floor_to(a.hi, b.lo) && a.lo != NO_LO &&
            a.hi != NO_HI)
            return (Bounds){a.lo - b.lo * floor_to(a.lo, b.lo), a.hi - b.lo * floor_to(a.hi, b.lo),
                            0};
        return (Bounds){0, a.lo >= 0 ? MIN2(a.hi, b.hi - 1) : b.hi - 1, 0};
    case EX_MIN: b = sharp(p, e->args[1]); return (Bounds){MIN2(a.lo, b.lo), MIN2(a.hi, b.hi), 0};
    case EX_MAX: b = sharp(p, e->args[1]); return (Bounds){MAX2(a.lo, b.lo), MAX2(a.hi, b.hi), 0};
    case EX_AND:
        if (!ints) return any;
        if (a.lo >= 0 && b.lo >= 0) return (Bounds){0, MIN2(a.hi, b.hi), 0};
        return a.lo >= 0 || b.lo >= 0 ? (Bounds){0, a.lo >= 0 ? a.hi : b.hi, 0} : any;
    case EX_OR:
    case EX_XOR:
        return ints && a.lo >= 0 && b.lo >= 0 ? (Bounds){0, ones_above(MAX2(a.hi, b.hi)), 0} : any;
    case EX_SHR:
        if (b.lo < 0 || b.hi < b.lo || b.hi > 31) return any; // an empty loop has an empty range
        return (Bounds){a.lo < 0 ? a.lo >> b.lo : a.lo >> b.hi,
                        a.hi < 0 ? a.hi >> b.hi : a.hi >> b.lo, 0};
    case EX_MULHI:
        return (Bounds){(i64)((u64)a.lo * (u64)b.lo >> 32), (i64)((u64)a.hi * (u64)b.hi >> 32), 0};
    case EX_DOT4:
        r = (Bounds){sat_add(a.lo, -4 * 128 * 127), sat_add(a.hi, 4 * 128 * 128), 0};
        break;
    case EX_SELECT:
        if (e->type == TY_F32 || e->type == TY_BOOL) return any;
        a = sharp(p, e->args[1]);
        b = sharp(p, e->args[2]);
        return (Bounds){MIN2(a.lo, b.lo), MAX2(a.hi, b.hi), 0};
    case EX_CAST: return ints && a.lo >= any.lo && a.hi <= any.hi ? a : any;
    case EX_SUBAT:
    case EX_SUBMAX: return ints ? a : any;
    default: return any;
    }
    // sums and products: u32 wraps, so past its range everything is possible; i32 is reported by
    // the verifier
    if (!ints || (e->type == TY_U32 && (r.lo < 0 || r.hi > UINT32_MAX))) return any;
    return r;
}

Bounds prover_bounds(Prover *p, const Expr *e) {
    i64 have;
    Bounds *b = NULL;
    if (ptrmap_get(&p->bounds, e, &have)) {
        b = (Bounds *)(intptr_t)have;
        if (b->when == p->version) return *b;
    }
    if (p->depth > NODE_DEPTH) return whole(e->type);
    if (!b) {
        b = NEW(p->arena, Bounds);
        ptrmap_put(&p->bounds, e, (i64)(intptr_t)b);
    }
    *b = whole(e->type); // what a question that comes back to e itself may rest on
    if (e->type == TY_I32 || e->type == TY_U32) expr_range(e, &b->lo, &b->hi);
    if (e->type == TY_I32 &&
        (e->op == EX_ADD || e->op == EX_SUB || e->op == EX_MUL || e->op == EX_SHL)) {
        if (b->lo ==
            INT32_MIN) // cut to the type: it may go further, which is what the verifier asks
            b->lo = NO_LO;
        if (b->hi == INT32_MAX) b->hi = NO_HI;
    }
    b->when = p->version;
    p->depth++;
    Bounds r = node_range(p, e);
    p->depth--;
    b->lo = MAX2(b->lo, r.lo);
    b->hi = MIN2(b->hi, r.hi);
    return *b;
}
