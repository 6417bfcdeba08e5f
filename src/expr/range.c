// expr/range.c: what is known of an integer's value: an interval, and a number that divides it.
//
// i32 arithmetic is index arithmetic and does not overflow (the verifier proves that of every
// kernel), so its intervals are cut to the type; u32 arithmetic wraps, so an interval that leaves
// the type tells nothing. The interval of each operation follows from those of its arguments: x - x
// is not known to be 0 here; the simplifier sees that.
#include "expr/expr_int.h"

typedef struct Range {
    i64 lo, hi;
} Range;

i64 gcd_i64(i64 a, i64 b) {
    u64 u = a < 0 ? 0 - (u64)a : (u64)a, v = b < 0 ? 0 - (u64)b : (u64)b;
    while (v) {
        u64 r = u % v;
        u = v;
        v = r;
    }
    return u > (u64)INT64_MAX ? 1 : (i64)u;
}

static Range whole(int type) { return (Range){type_lo(type), type_hi(type)}; }

// What an operation of this type yields when its exact result lies in r.
static Range fit(int type, Range r) {
    if (r.lo >= type_lo(type) && r.hi <= type_hi(type)) return r;
    if (type != TY_I32) return whole(type);
    r.lo = MAX2(r.lo, type_lo(type));
    r.hi = MIN2(r.hi, type_hi(type));
    return r.lo <= r.hi ? r : whole(type);
}

// Arguments lie within 33 bits, so no product or sum here leaves 66; products are cut to 64.
static Range times(Range a, Range b) {
    i64 p[4], x[4] = {a.lo, a.lo, a.hi, a.hi}, y[4] = {b.lo, b.hi, b.lo, b.hi};
    for (int i = 0; i < 4; i++)
        if (!mul_i64(x[i], y[i], &p[i])) p[i] = (x[i] < 0) == (y[i] < 0) ? INT64_MAX : INT64_MIN;
    return (Range){MIN2(MIN2(p[0], p[1]), MIN2(p[2], p[3])),
                   MAX2(MAX2(p[0], p[1]), MAX2(p[2], p[3]))};
}

static i64 ones_above(i64 v) // the smallest 2^k - 1 >= v
{
    i64 m = 0;
    while (m < v) m = m * 2 + 1;
    return m;
}

static Range quotient(Range a, Range b) {
    i64 q[4] = {floor_div(a.lo, b.lo), floor_div(a.lo, b.hi), floor_div(a.hi, b.lo),
                floor_div(a.hi, b.hi)};
    return (Range){MIN2(MIN2(q[0], q[1]), MIN2(q[2], q[3])),
                   MAX2(MAX2(q[0], q[1]), MAX2(q[2], q[3]))};
}

static Range range_of(const Expr *e) {
    switch (e->op) {
    case EX_ICONST: return (Range){e->i, e->i};
    case EX_VAR: return fit(e->type, (Range){e->var->lo, e->var->hi});
    case EX_LOAD: return fit(e->type, (Range){e->buf->lo, e->buf->hi});
    default: return (Range){e->lo, e->hi};
    }
}

static Range bitwise(const Expr *e, Range a, Range b) {
    bool positive = a.lo >= 0 && b.lo >= 0;
    switch (e->op) {
    case EX_AND:
        if (positive) return (Range){0, MIN2(a.hi, b.hi)};
        if (a.lo >= 0 || b.lo >= 0) return (Range){0, a.lo >= 0 ? a.hi : b.hi};
        break;
    case EX_OR:
        if (positive) return (Range){MAX2(a.lo, b.lo), ones_above(MAX2(a.hi, b.hi))};
        break;
    default:
        if (positive) return (Range){0, ones_above(MAX2(a.hi, b.hi))};
    }
    return whole(e->type);
}

static Range compare(const Expr *e, Range a, Range b) {
    Range yes = {1, 1}, no = {0, 0}, either = {0, 1};
    switch (e->op) {
    case EX_LT: return a.hi < b.lo ? yes : a.lo >= b.hi ? no : either;
    case EX_LE: return a.hi <= b.lo ? yes : a.lo > b.hi ? no : either;
    case EX_EQ:
        return a.lo == a.hi && b.lo == b.hi && a.lo == b.lo ? yes
               : a.hi < b.lo || b.hi < a.lo                 ? no
                                                            : either;
    default:
        return a.lo == a.hi && b.lo == b.hi && a.lo == b.lo ? no
               : a.hi < b.lo || b.hi < a.lo                 ? yes
                                                            : either;
    }
}

// Of an operation, from its operands.
static Range node_range(const Expr *e) {
    Range a = {0, 0}, b = {0, 0}, any = whole(e->type);
    bool ints = true;
    for (int i = 0; i < e->nargs; i++) ints &= e->args[i]->type != TY_F32;
    if (ints) {
        a = range_of(e->args[0]);
        if (e->nargs > 1) b = range_of(e->args[1]);
    }
    switch (e->op) {
    case EX_ADD: return fit(e->type, (Range){a.lo + b.lo, a.hi + b.hi});
    case EX_SUB: return fit(e->type, (Range){a.lo - b.hi, a.hi - b.lo});
    case EX_MUL: return fit(e->type, times(a, b));
    case EX_IDIV: b.lo = MAX2(b.lo, 1); return b.hi < b.lo ? any : fit(e->type, quotient(a, b));
    case EX_IMOD:
        b.lo = MAX2(b.lo, 1);
        if (b.hi < b.lo) return any;
        if (b.lo == b.hi && floor_div(a.lo, b.lo) == floor_div(a.hi, b.lo))
            return (Range){floor_mod(a.lo, b.lo), floor_mod(a.hi, b.lo)};
        return (Range){0, a.lo >= 0 ? MIN2(a.hi, b.hi - 1) : b.hi - 1};
    case EX_MIN: return (Range){MIN2(a.lo, b.lo), MIN2(a.hi, b.hi)};
    case EX_MAX: return (Range){MAX2(a.lo, b.lo), MAX2(a.hi, b.hi)};
    case EX_AND:
    case EX_OR:
    case EX_XOR: return bitwise(e, a, b);
    case EX_SHL:
        if (b.lo < 0 || b.hi < b.lo || b.hi > 31) return any; // an empty loop has an empty range
        a = times(a, (Range){(i64)1 << b.lo,
                             (i64)1 << b.hi}); // bits may be shifted out on purpose, so no cutting
        return a.lo >= any.lo && a.hi <= any.hi ? a : any;
    case EX_SHR:
        if (b.lo < 0 || b.hi < b.lo || b.hi > 31) return any; // an empty loop has an empty range
        return (Range){a.lo < 0 ? a.lo >> b.lo : a.lo >> b.hi,
                       a.hi < 0 ? a.hi >> b.hi : a.hi >> b.lo};
    case EX_MULHI:
        return (Range){(i64)((u64)a.lo * (u64)b.lo >> 32), (i64)((u64)a.hi * (u64)b.hi >> 32)};
    case EX_DOT4: return fit(TY_I32, (Range){a.lo - 4 * 128 * 127, a.hi + 4 * 128 * 128});
    case EX_LT:
    case EX_LE:
    case EX_EQ:
    case EX_NE: return ints ? compare(e, a, b) : any;
    case EX_LAND: return (Range){a.lo & b.lo, a.hi & b.hi};
    case EX_LOR: return (Range){a.lo | b.lo, a.hi | b.hi};
    case EX_LNOT: return (Range){1 - a.hi, 1 - a.lo};
    case EX_SELECT: {
        if (e->type == TY_F32) return any;
        Range c = range_of(e->args[0]), y = range_of(e->args[1]), n = range_of(e->args[2]);
        if (c.lo == c.hi) return c.lo ? y : n;
        return (Range){MIN2(y.lo, n.lo), MAX2(y.hi, n.hi)};
    }
    case EX_CAST:
        if (!ints) return any;
        return a.lo >= any.lo && a.hi <= any.hi ? a
                                                : any; // a cast wraps, it is not index arithmetic
    case EX_SUBAT:
    case EX_SUBMAX: return ints ? a : any;
    default: return any;
    }
}

bool expr_range(const Expr *e, i64 *lo, i64 *hi) {
    if (e->type == TY_F32) {
        *lo = INT64_MIN;
        *hi = INT64_MAX;
        return false;
    }
    Range r = range_of(e);
    *lo = r.lo;
    *hi = r.hi;
    return r.lo > type_lo(e->type) || r.hi < type_hi(e->type);
}

// ---- divisors -----------------------------------------------------------------------------------

static i64 low_bit(i64 v) // the largest power of two in v, at most 2^31; 0 of 0
{
    return v ? MIN2(v & -v, (i64)1 << 31) : 0;
}

static i64 product(i64 a, i64 b) {
    i64 p;
    return !mul_i64(a, b, &p) || p > (i64)1 << 40 ? low_bit(MAX2(a, b)) : p;
}

// Of an operation on integers, from its operands.
static i64 node_divisor(const Expr *e) {
    i64 a = 1, b = 1;
    if (e->op != EX_SELECT && type_is_int(e->args[0]->type)) {
        a = divisor_of(e->args[0]);
        if (e->nargs > 1) b = divisor_of(e->args[1]);
    }
    switch (e->op) {
    case EX_ADD:
    case EX_SUB:
    case EX_MIN:
    case EX_MAX: a = gcd_i64(a, b); break;
    case EX_MUL: a = a && b ? product(a, b) : 0; break;
    case EX_IDIV: return split_by(e, EX_IDIV, &b) && a % b == 0 ? a / b : 1;
    case EX_IMOD: return gcd_i64(a, b);
    case EX_SELECT: return gcd_i64(divisor_of(e->args[1]), divisor_of(e->args[2]));
    case EX_AND: return MAX2(low_bit(a), low_bit(b)) && a && b ? MAX2(low_bit(a), low_bit(b)) : 0;
    case EX_OR:
    case EX_XOR: return gcd_i64(low_bit(a), low_bit(b));
    case EX_SHL:
        if (!by_const(e, EX_SHL, &b) || b < 0 || b > 31) return low_bit(a);
        return a ? MIN2(low_bit(a) << b, (i64)1 << 31) : 0;
    case EX_CAST:
        if (!type_is_int(e->args[0]->type)) return 1;
        return e->type == TY_I32 && e->args[0]->type == TY_I32 ? a
                                                               : low_bit(a); // it may wrap by 2^32
    default: return 1;
    }
    return e->type == TY_U32 && (e->op == EX_ADD || e->op == EX_SUB || e->op == EX_MUL) ? low_bit(a)
                                                                                        : a;
}

i64 divisor_of(const Expr *e) {
    switch (e->op) {
    case EX_ICONST: return e->type == TY_BOOL ? 1 : e->i < 0 ? -e->i : e->i;
    case EX_VAR: return MAX2(e->var->divisor, 1);
    case EX_LOAD: return 1;
    default: return e->divisor;
    }
}

void range_note(Expr *e) {
    e->divisor = 1;
    if (e->nargs == 0 || e->op == EX_LOAD || e->type == TY_F32) return;
    Range r = node_range(e);
    e->lo = r.lo;
    e->hi = r.hi;
    if (type_is_int(e->type)) e->divisor = node_divisor(e);
}

i64 expr_divisor(const Expr *e) {
    i64 d = divisor_of(e);
    return d ? d : (i64)1 << 30; // 0 is a multiple of everything
}
