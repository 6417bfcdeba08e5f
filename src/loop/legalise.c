// loop/legalise.c: exp, sin2pi and cos2pi become arithmetic that every device rounds alike, and
// what a dot product is added to becomes part of it. On an adapter that is a program, so does what
// a product is added to (`fma`), and floats of 16 bits are read by integers: SwiftShader takes 130
// instructions for its own unpack2x16float, used or not.
//
// No language's exp, sin or cos is trusted: their errors differ, and a model's positions and
// probabilities would differ with them. The polynomials here use f32 multiply, add, floor and bits
// only. Comparing with libm in f32: exp is within 1 ulp on [-87, 88] and constant outside (1.6e-38
// and 1.7e38: masks are finite); sin2pi and cos2pi are within 2.1e-7 on [-1/2, 1/2]. Runs after
// unrolling, before hoisting, which shares the reused parts.
#include "loop/loop.h"

// c[0] + z*(c[1] + z*(...))
static const Expr *horner(Exprs *x, const Expr *z, const double *c, int n) {
    const Expr *p = ex_f32(x, c[n - 1]);
    for (int i = n - 2; i >= 0; i--) p = ex_add(x, ex_mul(x, p, z), ex_f32(x, c[i]));
    return p;
}

// e^v = 2^k * e^r with k = round(v / ln 2), r = v - k ln 2 in two parts, |r| <= ln 2 / 2
static const Expr *make_exp(Exprs *x, const Expr *v) {
    static const double c[] = {0x1p-1,       0x1.555554p-3,  0x1.555382p-5,
                               0x1.11121p-7, 0x1.6e879cp-10, 0x1.a0d2cep-13};
    v = ex_min(x, ex_max(x, v, ex_f32(x, -87)), ex_f32(x, 88));
    const Expr *k =
        ex_un(x, EX_FLOOR, ex_add(x, ex_mul(x, v, ex_f32(x, 0x1.715476p+0)), ex_f32(x, 0.5)));
    const Expr *r =
        ex_sub(x, v, ex_mul(x, k, ex_f32(x, 0x1.63p-1))); // 10 bits: k times it is exact
    r = ex_add(x, r, ex_mul(x, k, ex_f32(x, 0x1.bd0106p-13)));
    const Expr *p = ex_mul(x, horner(x, r, c, COUNT_OF(c)), ex_mul(x, r, r));
    p = ex_add(x, ex_add(x, p, r), ex_f32(x, 1));
    const Expr *bits = ex_shl(x, ex_cast(x, TY_U32, ex_add(x, k, ex_f32(x, 127))), ex_uint(x, 23));
    return ex_mul(x, p, ex_bitcast(x, TY_F32, bits));
}

// sin(2 pi u) for |u| <= 1/4: odd, degree 9, error of the polynomial 3.4e-9
static const Expr *quarter_sine(Exprs *x, const Expr *u) {
    static const double c[] = {0x1.921fb4p+2, -0x1.4abbb6p+5, 0x1.46676ep+6, -0x1.3232fap+6,
                               0x1.3c4b2cp+5};
    return ex_mul(x, horner(x, ex_mul(x, u, u), c, COUNT_OF(c)), u);
}

static const Expr *make_sin2pi(Exprs *x, const Expr *v) {
    const Expr *u =
        ex_min(x, v, ex_sub(x, ex_f32(x, 0.5), v)); // folded at 1/4 and -1/4, both exact
    return quarter_sine(x, ex_max(x, u, ex_sub(x, ex_f32(x, -0.5), v)));
}

static const Expr *make_cos2pi(Exprs *x, const Expr *v) {
    const Expr *size = ex_max(x, v, ex_sub(x, ex_f32(x, 0), v));
    return quarter_sine(x, ex_sub(x, ex_f32(x, 0.25), size));
}

// sum + dot4(0, a, b), which processors do at once, and sum + a * b, which SwiftShader keeps in a
// register on the way if it is told as one operation
static const Expr *onto(Exprs *x, bool software, const Expr *sum, const Expr *dot) {
    i64 from;
    if (dot->op == EX_MUL && dot->type == TY_F32 && software)
        return ex_node(x, EX_FMA, dot->args[0], dot->args[1], sum);
    if (dot->op != EX_DOT4 || !expr_is_int(dot->args[0], &from) || from != 0) return NULL;
    return ex_dot4(x, sum, dot->args[1], dot->args[2]);
}

// The lower half of w, a float of 16 bits: its exponent and fraction stand 13 bits further up in
// one of 32 bits, 112 too low. So v = 2^(e - 15) * (1 + m); where e is 0 it is to be 2^-14 * m,
// which is 2v - 2^-14, the lesser of the two there alone. Exact, and nothing on the way is
// subnormal, for adapters flush those. What is no number becomes 65536 and more.
static const Expr *make_half(Exprs *x, const Expr *w) {
    const Expr *up = ex_uint(x, 1 << 13), *bias = ex_uint(x, 112 << 23); // no shift: slow_shift
    const Expr *size = ex_mul(x, ex_and(x, w, ex_uint(x, 0x7fff)), up);
    const Expr *v = ex_bitcast(x, TY_F32, ex_add(x, size, bias));
    v = ex_min(x, v, ex_sub(x, ex_mul(x, v, ex_f32(x, 2)), ex_f32(x, 0x1p-14)));
    const Expr *sign = ex_mul(x, ex_and(x, w, ex_uint(x, 0x8000)), ex_uint(x, 1 << 16));
    return ex_bitcast(x, TY_F32, ex_or(x, ex_bitcast(x, TY_U32, v), sign));
}

static const Expr *legal(void *user, Exprs *x, const Expr *e) {
    const bool *software = user;
    switch (e->op) {
    case EX_F16LO: return *software ? make_half(x, e->args[0]) : e;
    case EX_F16HI: return *software ? make_half(x, ex_shr(x, e->args[0], ex_uint(x, 16))) : e;
    case EX_ADD: {
        const Expr *r = onto(x, *software, e->args[0], e->args[1]);
        if (!r) r = onto(x, *software, e->args[1], e->args[0]);
        return r ? r : e;
    }
    case EX_EXP: return make_exp(x, e->args[0]);
    case EX_SIN2PI: return make_sin2pi(x, e->args[0]);
    case EX_COS2PI: return make_cos2pi(x, e->args[0]);
    default: return e;
    }
}

static void legalise_block(Exprs *x, Block *b, bool *software) {
    for (size_t i = 0; i < b->n; i++) {
        Stmt *s = b->at[i];
        const Expr **part[] = {&s->extent, &s->value, &s->cond};
        for (size_t j = 0; j < COUNT_OF(part); j++)
            if (*part[j]) *part[j] = expr_map(x, *part[j], legal, software);
        if (s->kind == ST_STORE || s->kind == ST_FETCH)
            for (int d = 0; d < s->buf->nd; d++)
                s->idx[d] = expr_map(x, s->idx[d], legal, software);
        if (s->kind == ST_FOR || s->kind == ST_IF) legalise_block(x, &s->body, software);
    }
}

void kernel_legalise(Kernel *k, const Profile *p) {
    bool software = profile_in_software(p);
    legalise_block(k->x, &k->body, &software);
}
