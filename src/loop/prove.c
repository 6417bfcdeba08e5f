// loop/prove.c: bounds of integer expressions under facts.
//
// An expression is read as a polynomial over atoms (variables, loads, quotients, minima...). Its lower bound is first
// that of intervals; when this is too weak, multiples of known facts `polynomial >= 0` are subtracted so that a
// monomial disappears, to a small depth and with a budget of steps: that is how `o*18 + b < 960*18` follows from
// `o < 960` and `b < 18`, and how symbolic extents cancel. A quotient a // c brings its two defining facts. Values are
// integers, so bounds round inwards. Expressions here do not overflow: the verifier checks that first.
#include "loop/prove.h"
#include "loop/ptrmap.h"

enum { MONO_ATOMS = 4, POLY_TERMS = 24, SEARCH_DEPTH = 4, SEARCH_STEPS = 4000, NODE_DEPTH = 400 };
#define NO_LO INT64_MIN
#define NO_HI INT64_MAX

typedef struct Mono {
    i64 c;
    int n;
    const Expr *at[MONO_ATOMS]; // sorted by id
} Mono;

typedef struct Poly {
    i64 k;
    int n;
    bool bad; // did not fit: nothing is known
    Mono m[POLY_TERMS];
} Poly;

typedef struct Bounds {
    i64 lo, hi;
    u32 when; // the facts' version it was computed under
} Bounds;

struct Prover {
    Arena *arena;
    VEC(const Poly *) facts;
    VEC(const Poly *) definitions; // of quotients and minima: hold always
    PtrMap lets;    // Var -> Expr
    PtrMap extents; // Var -> Expr
    PtrMap polys;   // Expr -> Poly
    PtrMap bounds;  // Expr -> Bounds
    u32 version;
    int steps; // left for this question
    int depth; // of nodes
};

Prover *prover_new(Arena *a)
{
    Prover *p = NEW(a, Prover);
    p->arena = p->lets.arena = p->extents.arena = p->polys.arena = p->bounds.arena = a;
    return p;
}

size_t prover_mark(const Prover *p)
{
    return p->facts.n;
}

void prover_restore(Prover *p, size_t mark)
{
    if (p->facts.n != mark)
        p->version++;
    p->facts.n = mark;
}

// ---- saturating numbers: NO_LO and NO_HI are infinities --------------------------------------------------------
static i64 sat_add(i64 a, i64 b)
{
    i64 r;
    if (a == NO_LO || b == NO_LO)
        return NO_LO;
    if (a == NO_HI || b == NO_HI)
        return NO_HI;
    return __builtin_add_overflow(a, b, &r) ? (a < 0 ? NO_LO : NO_HI) : r;
}

static i64 sat_mul(i64 a, i64 b)
{
    i64 r;
    if (a == 0 || b == 0)
        return 0;
    bool inf = a == NO_LO || a == NO_HI || b == NO_LO || b == NO_HI;
    if (!inf && !__builtin_mul_overflow(a, b, &r))
        return r;
    return (a < 0) != (b < 0) ? NO_LO : NO_HI;
}

static i64 sat_neg(i64 a)
{
    return a == NO_LO ? NO_HI : a == NO_HI ? NO_LO : -a;
}

static i64 floor_to(i64 a, i64 by)
{
    return a == NO_LO || a == NO_HI ? a : a / by - (a % by < 0);
}

static i64 ceil_to(i64 a, i64 by)
{
    return a == NO_LO || a == NO_HI ? a : a / by + (a % by > 0);
}

static i64 gcd(i64 a, i64 b)
{
    while (b) {
        i64 t = a % b;
        a = b;
        b = t;
    }
    return a < 0 ? -a : a;
}

// ---- polynomials -------------------------------------------------------------------------------------------------
static int mono_cmp(const Mono *a, const Mono *b)
{
    if (a->n != b->n)
        return a->n - b->n;
    for (int i = 0; i < a->n; i++)
        if (a->at[i] != b->at[i])
            return a->at[i]->id < b->at[i]->id ? -1 : 1;
    return 0;
}

static void poly_add_mono(Poly *p, const Mono *m)
{
    if (m->c == 0)
        return;
    if (m->n == 0) {
        p->bad |= __builtin_add_overflow(p->k, m->c, &p->k);
        return;
    }
    int i = 0;
    while (i < p->n && mono_cmp(&p->m[i], m) < 0)
        i++;
    if (i < p->n && mono_cmp(&p->m[i], m) == 0) {
        p->bad |= __builtin_add_overflow(p->m[i].c, m->c, &p->m[i].c);
        if (p->m[i].c == 0) {
            memmove(&p->m[i], &p->m[i + 1], sizeof(Mono) * (size_t)(p->n - i - 1));
            p->n--;
        }
        return;
    }
    if (p->n == POLY_TERMS) {
        p->bad = true;
        return;
    }
    memmove(&p->m[i + 1], &p->m[i], sizeof(Mono) * (size_t)(p->n - i));
    p->m[i] = *m;
    p->n++;
}

static bool mono_mul(const Mono *a, const Mono *b, Mono *out)
{
    *out = *a;
    if (__builtin_mul_overflow(a->c, b->c, &out->c) || a->n + b->n > MONO_ATOMS)
        return false;
    for (int j = 0; j < b->n; j++) {
        int i = out->n++;
        for (; i > 0 && out->at[i - 1]->id > b->at[j]->id; i--)
            out->at[i] = out->at[i - 1];
        out->at[i] = b->at[j];
    }
    return true;
}

// p += by * q
static void poly_add(Poly *p, const Poly *q, const Mono *by)
{
    Mono k = {.c = q->k}, t;
    p->bad |= q->bad || !mono_mul(&k, by, &t);
    if (p->bad)
        return;
    poly_add_mono(p, &t);
    for (int i = 0; i < q->n && !p->bad; i++) {
        if (!mono_mul(&q->m[i], by, &t))
            p->bad = true;
        else
            poly_add_mono(p, &t);
    }
}

static void poly_scale_add(Poly *p, const Poly *q, i64 c)
{
    poly_add(p, q, &(Mono){.c = c});
}

static i64 deep_search(Prover *p, const Poly *q, i64 enough, int depth);
static Bounds range_of(Prover *p, const Expr *e);
static const Poly *poly_of(Prover *p, const Expr *e);

static const Poly *poly_keep(Prover *p, const Poly *q)
{
    size_t size = offsetof(Poly, m) + sizeof(Mono) * (size_t)q->n;
    Poly *r = arena_alloc(p->arena, size);
    memcpy(r, q, size);
    return r;
}

static void define(Prover *p, const Poly *nonneg)
{
    if (!nonneg->bad && p->definitions.n < 256)
        vec_push(p->arena, &p->definitions, poly_keep(p, nonneg));
}

static void poly_atom(Poly *out, const Expr *e)
{
    poly_add_mono(out, &(Mono){.c = 1, .n = 1, .at = {e}});
}

// The facts that tie an atom to its arguments: c*q <= a < c*q + c; min(a, b) <= a...
static void define_atom(Prover *p, const Expr *e)
{
    Poly g;
    if (e->op == EX_IDIV) {
        const Poly *a = poly_of(p, e->args[0]), *d = poly_of(p, e->args[1]);
        i64 lo, hi;
        expr_range(e->args[1], &lo, &hi);
        if (lo < 1 || d->bad || d->n > 1)
            return;
        g = (Poly){0}; // a - d*q >= 0
        poly_scale_add(&g, a, 1);
        poly_add(&g, d, &(Mono){.c = -1, .n = 1, .at = {e}});
        define(p, &g);
        bool exact = d->n == 0 && d->k > 0 && expr_divisor(e->args[0]) % d->k == 0;
        Poly h = {.k = exact ? 0 : -1}; // d*q + d - 1 - a >= 0
        poly_scale_add(&h, &g, -1);
        if (!exact)
            poly_scale_add(&h, d, 1);
        define(p, &h);
    } else if (e->op == EX_IMOD && e->args[1]->op != EX_ICONST) {
        i64 lo, hi;
        expr_range(e->args[1], &lo, &hi);
        if (lo < 1)
            return;
        g = (Poly){.k = -1}; // d - 1 - a % d >= 0
        poly_scale_add(&g, poly_of(p, e->args[1]), 1);
        poly_add_mono(&g, &(Mono){.c = -1, .n = 1, .at = {e}});
        define(p, &g);
    } else if (e->op == EX_MIN || e->op == EX_MAX) {
        for (int i = 0; i < 2; i++) {
            g = (Poly){0};
            poly_scale_add(&g, poly_of(p, e->args[i]), e->op == EX_MIN ? 1 : -1);
            poly_add(&g, &(Poly){.k = 1}, &(Mono){.c = e->op == EX_MIN ? -1 : 1, .n = 1, .at = {e}});
            define(p, &g);
        }
    }
}

// u32 arithmetic wraps and casts reinterpret: they are transparent only where intervals show that nothing is lost.
// Polynomials outlive the facts of the moment, so these intervals must not rest on facts.
static bool stays_inside(const Expr *e)
{
    i64 lo, hi;
    if (e->op == EX_CAST) {
        expr_range(e->args[0], &lo, &hi);
        return lo >= 0 && hi <= INT32_MAX;
    }
    expr_range(e, &lo, &hi);
    return e->type == TY_I32 || lo > 0 || hi < UINT32_MAX; // the whole of u32 when it may wrap
}

// a // c where c divides a's terms, or leaves a rest that c holds whole: no atom is needed.
static bool exact_quotient(const Poly *a, i64 c, Poly *out)
{
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
        if (m.n != 1 || !expr_range(m.at[0], &l, &h) || rest.n++ > 4)
            return false;
        lo = sat_add(lo, sat_mul(m.c, m.c > 0 ? l : h));
        hi = sat_add(hi, sat_mul(m.c, m.c > 0 ? h : l));
    }
    out->k = floor_to(lo, c);
    return !a->bad && lo != NO_LO && hi != NO_HI && floor_to(lo, c) == floor_to(hi, c);
}

static void poly_build(Prover *p, const Expr *e, Poly *out)
{
    i64 def, v;
    const Poly *a;
    switch (e->op) {
    case EX_ICONST: out->k = e->i; return;
    case EX_VAR:
        if (ptrmap_get(&p->lets, e->var, &def)) {
            poly_scale_add(out, poly_of(p, (const Expr *)(intptr_t)def), 1);
        } else if (e->var->divisor > 1 && e->type == TY_I32 && e->var->lo >= 0 && e->var->divisor <= INT32_MAX) {
            // d * (e // d): every quotient of e by a factor of d is then a multiple of one atom
            const Expr *q = ex_idiv(e->home, e, ex_int(e->home, e->var->divisor));
            poly_add_mono(out, &(Mono){.c = e->var->divisor, .n = 1, .at = {q}});
        } else {
            poly_atom(out, e);
        }
        return;
    case EX_IDIV:
        if (!expr_is_int(e->args[1], &v) || v < 1 || e->type != TY_I32)
            break;
        if (!exact_quotient(poly_of(p, e->args[0]), v, out)) {
            *out = (Poly){0};
            break;
        }
        return;
    case EX_ADD:
    case EX_SUB:
        if (!stays_inside(e))
            break;
        poly_scale_add(out, poly_of(p, e->args[0]), 1);
        poly_scale_add(out, poly_of(p, e->args[1]), e->op == EX_ADD ? 1 : -1);
        return;
    case EX_MUL: {
        if (!stays_inside(e))
            break;
        const Poly *b = poly_of(p, e->args[1]);
        a = poly_of(p, e->args[0]);
        poly_add(out, a, &(Mono){.c = b->k});
        for (int i = 0; i < b->n; i++)
            poly_add(out, a, &b->m[i]);
        out->bad |= b->bad;
        return;
    }
    case EX_SHL:
        if (!expr_is_int(e->args[1], &v) || v < 0 || v > 31 || !stays_inside(e))
            break;
        poly_scale_add(out, poly_of(p, e->args[0]), (i64)1 << v);
        return;
    case EX_CAST:
        if (e->args[0]->type == TY_F32 || e->args[0]->type == TY_BOOL || !stays_inside(e))
            break;
        poly_scale_add(out, poly_of(p, e->args[0]), 1);
        return;
    case EX_IMOD: // as an atom of its own: its interval is what is wanted most
    default: break;
    }
    poly_atom(out, e);
}

static const Poly *poly_of(Prover *p, const Expr *e)
{
    static const Poly bad = {.bad = true};
    i64 have;
    if (ptrmap_get(&p->polys, e, &have))
        return (const Poly *)(intptr_t)have;
    if (p->depth > NODE_DEPTH)
        return &bad;
    p->depth++;
    Poly q = {0};
    poly_build(p, e, &q);
    p->depth--;
    if (q.bad) { // too large: an atom whose interval is known
        q = (Poly){0};
        poly_atom(&q, e);
    }
    const Poly *kept = poly_keep(p, &q);
    ptrmap_put(&p->polys, e, (i64)(intptr_t)kept);
    if (q.n == 1 && q.m[0].n == 1 && q.m[0].at[0] == e && q.m[0].c == 1)
        define_atom(p, e);
    return kept;
}

// ---- intervals ---------------------------------------------------------------------------------------------------
static i64 poly_lower(Prover *p, const Poly *q, i64 enough, int depth);

static Bounds whole(int type)
{
    return type == TY_I32   ? (Bounds){INT32_MIN, INT32_MAX, 0}
           : type == TY_U32 ? (Bounds){0, UINT32_MAX, 0}
                            : (Bounds){0, type == TY_BOOL, 0};
}

static Bounds mul_bounds(Bounds a, Bounds b)
{
    i64 v[4] = {sat_mul(a.lo, b.lo), sat_mul(a.lo, b.hi), sat_mul(a.hi, b.lo), sat_mul(a.hi, b.hi)};
    return (Bounds){MIN2(MIN2(v[0], v[1]), MIN2(v[2], v[3])), MAX2(MAX2(v[0], v[1]), MAX2(v[2], v[3])), 0};
}

// The argument of an operation that polynomials do not see through: facts are put to work here.
static Bounds sharp(Prover *p, const Expr *e)
{
    Bounds r = range_of(p, e);
    if (p->facts.n && e->op != EX_ICONST && p->steps > 0) {
        Poly neg = {0};
        const Poly *q = poly_of(p, e);
        poly_scale_add(&neg, q, -1);
        r.lo = MAX2(r.lo, poly_lower(p, q, NO_HI, 2));
        r.hi = MIN2(r.hi, sat_neg(poly_lower(p, &neg, NO_HI, 2)));
    }
    return r;
}

static i64 ones_above(i64 v)
{
    i64 r = 1;
    while (r <= v)
        r *= 2;
    return r - 1;
}

static Bounds node_range(Prover *p, const Expr *e)
{
    Bounds any = whole(e->type), a = {0}, b = {0}, r = any;
    bool ints = e->nargs > 0 && e->op != EX_LOAD;
    for (int i = 0; i < e->nargs; i++)
        ints &= e->args[i]->type == TY_I32 || e->args[i]->type == TY_U32;
    bool sharpen = e->op == EX_IDIV || e->op == EX_IMOD || e->op == EX_SHR || e->op == EX_MIN || e->op == EX_MAX;
    if (ints) {
        a = sharpen ? sharp(p, e->args[0]) : range_of(p, e->args[0]);
        if (e->nargs > 1)
            b = range_of(p, e->args[1]);
    }
    i64 def;
    switch (e->op) {
    case EX_ICONST: return (Bounds){e->i, e->i, 0};
    case EX_VAR:
        r = (Bounds){MAX2(any.lo, e->var->lo), MIN2(any.hi, e->var->hi), 0};
        if (ptrmap_get(&p->lets, e->var, &def))
            a = range_of(p, (const Expr *)(intptr_t)def); // a let's declared range is not believed
        else if (ptrmap_get(&p->extents, e->var, &def))
            a = (Bounds){0, sat_add(range_of(p, (const Expr *)(intptr_t)def).hi, -1), 0};
        else
            return r;
        return (Bounds){MAX2(any.lo, a.lo), MIN2(any.hi, a.hi), 0};
    case EX_LOAD: return (Bounds){MAX2(any.lo, e->buf->lo), MIN2(any.hi, e->buf->hi), 0};
    case EX_ADD: r = (Bounds){sat_add(a.lo, b.lo), sat_add(a.hi, b.hi), 0}; break;
    case EX_SUB: r = (Bounds){sat_add(a.lo, sat_neg(b.hi)), sat_add(a.hi, sat_neg(b.lo)), 0}; break;
    case EX_MUL: r = mul_bounds(a, b); break;
    case EX_SHL:
        if (b.lo < 0 || b.hi > 31)
            return any;
        r = mul_bounds(a, (Bounds){(i64)1 << b.lo, (i64)1 << b.hi, 0});
        break;
    case EX_IDIV:
        if (b.lo < 1)
            return any;
        r.lo = MIN2(floor_to(a.lo, b.lo), floor_to(a.lo, b.hi));
        r.hi = MAX2(floor_to(a.hi, b.lo), floor_to(a.hi, b.hi));
        return r;
    case EX_IMOD:
        if (b.lo < 1)
            return any;
        if (b.lo == b.hi && floor_to(a.lo, b.lo) == floor_to(a.hi, b.lo) && a.lo != NO_LO && a.hi != NO_HI)
            return (Bounds){a.lo - b.lo * floor_to(a.lo, b.lo), a.hi - b.lo * floor_to(a.hi, b.lo), 0};
        return (Bounds){0, a.lo >= 0 ? MIN2(a.hi, b.hi - 1) : b.hi - 1, 0};
    case EX_MIN:
        b = sharp(p, e->args[1]);
        return (Bounds){MIN2(a.lo, b.lo), MIN2(a.hi, b.hi), 0};
    case EX_MAX:
        b = sharp(p, e->args[1]);
        return (Bounds){MAX2(a.lo, b.lo), MAX2(a.hi, b.hi), 0};
    case EX_AND:
        if (!ints)
            return any;
        if (a.lo >= 0 && b.lo >= 0)
            return (Bounds){0, MIN2(a.hi, b.hi), 0};
        return a.lo >= 0 || b.lo >= 0 ? (Bounds){0, a.lo >= 0 ? a.hi : b.hi, 0} : any;
    case EX_OR:
    case EX_XOR: return ints && a.lo >= 0 && b.lo >= 0 ? (Bounds){0, ones_above(MAX2(a.hi, b.hi)), 0} : any;
    case EX_SHR:
        if (b.lo < 0 || b.hi > 31)
            return any;
        return (Bounds){a.lo < 0 ? a.lo >> b.lo : a.lo >> b.hi, a.hi < 0 ? a.hi >> b.hi : a.hi >> b.lo, 0};
    case EX_MULHI: return (Bounds){(i64)((u64)a.lo * (u64)b.lo >> 32), (i64)((u64)a.hi * (u64)b.hi >> 32), 0};
    case EX_SELECT:
        if (e->type == TY_F32 || e->type == TY_BOOL)
            return any;
        a = sharp(p, e->args[1]);
        b = sharp(p, e->args[2]);
        return (Bounds){MIN2(a.lo, b.lo), MAX2(a.hi, b.hi), 0};
    case EX_CAST: return ints && a.lo >= any.lo && a.hi <= any.hi ? a : any;
    case EX_SUBMAX: return ints ? a : any;
    default: return any;
    }
    // sums and products: u32 wraps, so past its range everything is possible; i32 is reported by the verifier
    if (!ints || (e->type == TY_U32 && (r.lo < 0 || r.hi > UINT32_MAX)))
        return any;
    return r;
}

static Bounds range_of(Prover *p, const Expr *e)
{
    i64 have;
    Bounds *b = NULL;
    if (ptrmap_get(&p->bounds, e, &have)) {
        b = (Bounds *)(intptr_t)have;
        if (b->when == p->version)
            return *b;
    }
    if (p->depth > NODE_DEPTH)
        return whole(e->type);
    if (!b) {
        b = NEW(p->arena, Bounds);
        ptrmap_put(&p->bounds, e, (i64)(intptr_t)b);
    }
    *b = whole(e->type); // what a question that comes back to e itself may rest on
    if (e->type == TY_I32 || e->type == TY_U32)
        expr_range(e, &b->lo, &b->hi);
    if (e->type == TY_I32 && (e->op == EX_ADD || e->op == EX_SUB || e->op == EX_MUL || e->op == EX_SHL)) {
        if (b->lo == INT32_MIN) // cut to the type: it may go further, which is what the verifier asks
            b->lo = NO_LO;
        if (b->hi == INT32_MAX)
            b->hi = NO_HI;
    }
    b->when = p->version;
    p->depth++;
    Bounds r = node_range(p, e);
    p->depth--;
    b->lo = MAX2(b->lo, r.lo);
    b->hi = MIN2(b->hi, r.hi);
    return *b;
}

// ---- the search --------------------------------------------------------------------------------------------------
static i64 mono_lower(Prover *p, const Mono *m)
{
    Bounds r = {m->c, m->c, 0};
    for (int i = 0; i < m->n; i++)
        r = mul_bounds(r, range_of(p, m->at[i]));
    return r.lo;
}

// t = part * extra, with every atom of extra known not to be negative
static bool mono_quotient(Prover *p, const Mono *t, const Mono *part, Mono *extra)
{
    int j = 0;
    *extra = (Mono){.c = 1};
    for (int i = 0; i < t->n; i++) {
        if (j < part->n && part->at[j] == t->at[i]) {
            j++;
        } else {
            if (range_of(p, t->at[i]).lo < 0)
                return false;
            extra->at[extra->n++] = t->at[i];
        }
    }
    return j == part->n;
}

// The best lower bound of q found by using fact g to remove q's monomial t.
static i64 use_fact(Prover *p, const Poly *q, const Mono *t, const Poly *g, i64 enough, int depth)
{
    i64 best = NO_LO;
    for (int j = 0; j < g->n; j++) {
        Mono extra;
        if ((g->m[j].c < 0) != (t->c < 0) || !mono_quotient(p, t, &g->m[j], &extra))
            continue;
        i64 f = gcd(t->c, g->m[j].c), m = g->m[j].c / f, s = t->c / f;
        m = m < 0 ? -m : m;
        s = s < 0 ? -s : s;
        Poly next = {0};
        poly_scale_add(&next, q, m);
        extra.c = -s;
        poly_add(&next, g, &extra);
        if (next.bad || next.n > q->n + 2)
            continue;
        best = MAX2(best, ceil_to(poly_lower(p, &next, sat_mul(enough, m), depth - 1), m));
        if (best >= enough)
            break;
    }
    return best;
}

static i64 poly_lower(Prover *p, const Poly *q, i64 enough, int depth)
{
    i64 best = q->k;
    if (q->bad)
        return NO_LO;
    for (int i = 0; i < q->n; i++)
        best = sat_add(best, mono_lower(p, &q->m[i]));
    for (int i = q->n - 1; i >= 0 && depth > 0 && best < enough; i--) {
        for (size_t f = p->facts.n + p->definitions.n; f-- > 0 && best < enough;) {
            const Poly *g = f < p->definitions.n ? p->definitions.at[f] : p->facts.at[f - p->definitions.n];
            if (p->steps-- <= 0)
                return best;
            best = MAX2(best, use_fact(p, q, &q->m[i], g, enough, depth));
        }
    }
    return best;
}

// ---- questions ---------------------------------------------------------------------------------------------------
// Shallow searches first: most bounds need one fact or two.
static i64 search(Prover *p, const Poly *q, i64 enough)
{
    i64 best = NO_LO;
    for (int depth = 0; depth <= SEARCH_DEPTH && best < enough; depth++) {
        p->steps = SEARCH_STEPS;
        best = MAX2(best, poly_lower(p, q, enough, depth));
    }
    return best;
}

// q + r >= 0 for a quotient q = a // d is a + d*r >= 0; r - q >= 0 is d*r + d - 1 - a >= 0: nothing is lost to rounding.
static bool without_quotient(Prover *p, const Poly *q, i64 enough, int at, int depth)
{
    const Mono *m = &q->m[at];
    if (m->n != 1 || (m->c != 1 && m->c != -1) || m->at[0]->op != EX_IDIV || range_of(p, m->at[0]->args[1]).lo < 1)
        return false;
    const Poly *a = poly_of(p, m->at[0]->args[0]), *d = poly_of(p, m->at[0]->args[1]);
    Poly rest = *q, next = {.k = m->c < 0 ? -1 : 0};
    rest.k = sat_add(rest.k, sat_neg(enough));
    rest.n--;
    memmove(&rest.m[at], &rest.m[at + 1], sizeof(Mono) * (size_t)(rest.n - at));
    for (int i = 0; i < d->n; i++)
        poly_add(&next, &rest, &d->m[i]);
    poly_add(&next, &rest, &(Mono){.c = d->k});
    if (m->c < 0)
        poly_scale_add(&next, d, 1);
    poly_scale_add(&next, a, m->c);
    return !next.bad && !d->bad && !rest.bad && deep_search(p, &next, 0, depth - 1) >= 0;
}

// g*whole + small >= g * (least whole) + (least small): whole's bound is an integer.
static i64 split_by(Prover *p, const Poly *q, i64 g, i64 enough)
{
    Poly whole = {0};
    i64 small = q->k;
    for (int i = 0; i < q->n; i++) {
        Mono m = q->m[i];
        if (m.c % g == 0) {
            m.c /= g;
            poly_add_mono(&whole, &m);
        } else {
            small = sat_add(small, mono_lower(p, &m));
        }
    }
    if (small == NO_LO || !whole.n)
        return NO_LO;
    i64 need = enough == NO_HI ? NO_HI : ceil_to(sat_add(enough, sat_neg(small)), g);
    return sat_add(sat_mul(g, search(p, &whole, need)), small);
}

// How far two quotients lie apart, one that helps and one that hurts, is found on its own and becomes a fact.
static void compare(Prover *p, const Expr *a, const Expr *b, int depth)
{
    Poly g = {0};
    poly_atom(&g, a);
    poly_add_mono(&g, &(Mono){.c = -1, .n = 1, .at = {b}});
    for (i64 apart = 1; apart >= 0; apart--) {
        if (deep_search(p, &g, apart, depth - 1) >= apart) {
            g.k = -apart;
            vec_push(p->arena, &p->facts, poly_keep(p, &g));
            return;
        }
    }
}

static void compare_quotients(Prover *p, const Poly *q, int depth)
{
    const Expr *up[8], *down[8];
    int nup = 0, ndown = 0;
    for (int i = 0; i < q->n; i++) {
        const Expr **list = q->m[i].c > 0 ? up : down;
        int *n = q->m[i].c > 0 ? &nup : &ndown;
        for (int j = 0; j < q->m[i].n; j++) {
            const Expr *e = q->m[i].at[j];
            bool have = e->op != EX_IDIV;
            for (int k = 0; k < *n; k++)
                have |= list[k] == e;
            if (!have && *n < (int)COUNT_OF(up))
                list[(*n)++] = e;
        }
    }
    for (int i = 0; i < nup; i++)
        for (int j = 0; j < ndown; j++)
            if (up[i] != down[j] && p->facts.n < 60)
                compare(p, up[i], down[j], depth);
}

static i64 deep_search(Prover *p, const Poly *q, i64 enough, int depth)
{
    i64 best = search(p, q, enough);
    if (best >= enough || depth <= 0 || q->bad)
        return best;
    for (int i = 0; i < q->n && best < enough; i++)
        if (without_quotient(p, q, enough, i, depth))
            return enough;
    size_t mark = p->facts.n;
    compare_quotients(p, q, depth);
    if (p->facts.n > mark)
        best = MAX2(best, search(p, q, enough));
    for (int i = 0; i < q->n && best < enough; i++) {
        i64 g = q->m[i].c < 0 ? -q->m[i].c : q->m[i].c;
        if (g > 1)
            best = MAX2(best, split_by(p, q, g, enough));
    }
    p->facts.n = mark;
    return best;
}

void prover_range(Prover *p, const Expr *e, i64 enough_lo, i64 enough_hi, i64 *lo, i64 *hi)
{
    // What the variables' own ranges say (the verifier holds every let to its range) is often enough.
    if (expr_range(e, lo, hi) && *lo >= enough_lo && *hi <= enough_hi)
        return;
    p->steps = SEARCH_STEPS;
    Bounds r = range_of(p, e);
    if (r.lo < enough_lo)
        r.lo = MAX2(r.lo, deep_search(p, poly_of(p, e), enough_lo, 2));
    if (r.hi > enough_hi) {
        Poly neg = {0};
        poly_scale_add(&neg, poly_of(p, e), -1);
        r.hi = MIN2(r.hi, sat_neg(deep_search(p, &neg, sat_neg(enough_hi), 2)));
    }
    *lo = r.lo;
    *hi = r.hi;
}

bool prover_at_least(Prover *p, const Expr *a, const Expr *b, i64 by)
{
    Poly q = {0};
    p->steps = SEARCH_STEPS;
    poly_scale_add(&q, poly_of(p, a), 1);
    poly_scale_add(&q, poly_of(p, b), -1);
    return deep_search(p, &q, by, 2) >= by;
}

// ---- facts -------------------------------------------------------------------------------------------------------
// a - b >= by
static void assume_difference(Prover *p, const Expr *a, const Expr *b, i64 by)
{
    Poly g = {.k = -by};
    if ((a->type != TY_I32 && a->type != TY_U32) || a->type != b->type)
        return;
    poly_scale_add(&g, poly_of(p, a), 1);
    poly_scale_add(&g, poly_of(p, b), -1);
    if (!g.bad && p->facts.n < 64) {
        vec_push(p->arena, &p->facts, poly_keep(p, &g));
        p->version++;
    }
}

static void assume(Prover *p, const Expr *c, bool holds, int depth)
{
    i64 def;
    if (depth > 32)
        return;
    switch (c->op) {
    case EX_VAR:
        if (ptrmap_get(&p->lets, c->var, &def))
            assume(p, (const Expr *)(intptr_t)def, holds, depth + 1);
        return;
    case EX_LNOT: assume(p, c->args[0], !holds, depth + 1); return;
    case EX_LAND:
    case EX_LOR:
        if (holds == (c->op == EX_LAND)) {
            assume(p, c->args[0], holds, depth + 1);
            assume(p, c->args[1], holds, depth + 1);
        }
        return;
    case EX_LT:
        assume_difference(p, holds ? c->args[1] : c->args[0], holds ? c->args[0] : c->args[1], holds);
        return;
    case EX_LE:
        assume_difference(p, holds ? c->args[1] : c->args[0], holds ? c->args[0] : c->args[1], !holds);
        return;
    case EX_EQ:
    case EX_NE:
        if (holds == (c->op == EX_EQ)) {
            assume_difference(p, c->args[0], c->args[1], 0);
            assume_difference(p, c->args[1], c->args[0], 0);
        }
        return;
    default: return;
    }
}

void prover_assume(Prover *p, const Expr *cond, bool holds)
{
    p->steps = SEARCH_STEPS;
    assume(p, cond, holds, 0);
}

// A variable that is defined anew, in another block, must not be seen through its old definition.
static void forget(Prover *p, const Var *v)
{
    i64 old;
    if (ptrmap_get(&p->lets, v, &old) || ptrmap_get(&p->extents, v, &old)) {
        ptrmap_clear(&p->polys);
        ptrmap_clear(&p->bounds);
        p->definitions.n = 0;
    }
    p->version++;
}

void prover_loop(Prover *p, const Var *v, const Expr *extent)
{
    i64 k;
    forget(p, v);
    p->steps = SEARCH_STEPS;
    ptrmap_put(&p->extents, v, (i64)(intptr_t)extent);
    if (expr_is_int(extent, &k))
        return; // the interval says it all
    Poly g = {.k = -1}; // extent - 1 - v >= 0
    Mono minus = {.c = -1, .n = 1};
    minus.at[0] = ex_var(extent->home, v);
    poly_scale_add(&g, poly_of(p, extent), 1);
    poly_add_mono(&g, &minus);
    if (!g.bad && p->facts.n < 64)
        vec_push(p->arena, &p->facts, poly_keep(p, &g));
}

void prover_let(Prover *p, const Var *v, const Expr *value)
{
    forget(p, v);
    ptrmap_put(&p->lets, v, (i64)(intptr_t)value);
}
