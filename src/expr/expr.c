// expr/expr.c: the interning table and the constructors.
//
// Constructors fold constants and apply identities that are always right, so that a formula built
// by hand has no litter; canonical forms of index arithmetic are the simplifier's business. Nodes
// are never freed alone: they live in the table's arena.
#include "expr/expr_int.h"

static const u8 op_args[EX_COUNT] = {
#define X(id, spelling, args, result, doc) args,
#include "expr/expr.def"
#undef X
};

Exprs *exprs_new(Arena *a) {
    Exprs *x = NEW(a, Exprs);
    x->arena = a;
    x->cap = 256;
    x->slot = NEW_N(a, const Expr *, x->cap);
    return x;
}

Arena *exprs_arena(Exprs *x) { return x->arena; }

Var *var_new(Exprs *x, const char *name, Type t, i64 lo, i64 hi) {
    Var *v = NEW(x->arena, Var);
    *v = (Var){arena_cstr(x->arena, str_c(name)), t, lo, hi, 1, x->vars++};
    return v;
}

Buffer *buffer_new(Exprs *x, const char *name, Type t, Scope s, int nd, const Expr *const *dims) {
    must(nd >= 0 && nd <= BUFFER_MAX_DIMS);
    Buffer *b = NEW(x->arena, Buffer);
    *b = (Buffer){.name = arena_cstr(x->arena, str_c(name)),
                  .type = t,
                  .scope = s,
                  .nd = nd,
                  .id = x->buffers++};
    b->lo = type_lo(t);
    b->hi = type_hi(t);
    for (int i = 0; i < nd; i++) b->dims[i] = dims[i];
    return b;
}

// ---- interning ----------------------------------------------------------------------------------

static u32 mix(u32 h, u32 v) {
    h = (h ^ v) * 0x9E3779B1u;
    return h ^ h >> 15;
}

static u32 key_hash(const ExprKey *e) {
    u32 h = mix(mix(mix(17, e->op), e->type), e->nargs);
    switch (e->op) {
    case EX_ICONST: h = mix(mix(h, (u32)e->i), (u32)((u64)e->i >> 32)); break;
    case EX_FCONST: h = mix(h, f32_bits((float)e->f)); break;
    case EX_VAR: h = mix(h, (u32)e->var->id); break;
    case EX_LOAD: h = mix(h, (u32)e->buf->id); break;
    default: break;
    }
    for (int i = 0; i < e->nargs; i++) h = mix(h, e->args[i]->hash);
    return h ? h : 1;
}

static bool key_is_of(const ExprKey *a, const Expr *b) {
    if (a->op != b->op || a->type != b->type || a->nargs != b->nargs) return false;
    for (int i = 0; i < a->nargs; i++)
        if (a->args[i] != b->args[i]) return false;
    switch (a->op) {
    case EX_ICONST: return a->i == b->i;
    case EX_FCONST: return f32_bits((float)a->f) == f32_bits((float)b->f); // -0 is not 0
    case EX_VAR: return a->var == b->var;
    case EX_LOAD: return a->buf == b->buf;
    default: return true;
    }
}

static void table_grow(Exprs *x) {
    const Expr **old = x->slot;
    size_t cap = x->cap;
    x->cap *= 2;
    x->slot = NEW_N(x->arena, const Expr *, x->cap);
    for (size_t i = 0; i < cap; i++) {
        if (!old[i]) continue;
        size_t at = old[i]->hash & (x->cap - 1);
        while (x->slot[at]) at = (at + 1) & (x->cap - 1);
        x->slot[at] = old[i];
    }
}

static void payload(Expr *n, const ExprKey *k) {
    switch (k->op) {
    case EX_FCONST: n->f = k->f; break;
    case EX_VAR: n->var = k->var; break;
    case EX_LOAD: n->buf = k->buf; break;
    default: n->i = k->i;
    }
}

const Expr *ex_intern(Exprs *x, const ExprKey *k) {
    u32 hash = key_hash(k);
    size_t at = hash & (x->cap - 1);
    for (; x->slot[at]; at = (at + 1) & (x->cap - 1))
        if (x->slot[at]->hash == hash && key_is_of(k, x->slot[at])) return x->slot[at];
    Expr *n = NEW(x->arena, Expr);
    n->op = k->op;
    n->type = k->type;
    n->nargs = k->nargs;
    n->hash = hash;
    n->id = (int)x->n;
    n->home = x;
    n->loads = k->op == EX_LOAD;
    n->top = k->op == EX_VAR ? k->var->id : -1;
    payload(n, k);
    for (int i = 0; i < k->nargs; i++) {
        n->args[i] = k->args[i];
        n->loads |= k->args[i]->loads;
        n->top = MAX2(n->top, k->args[i]->top);
    }
    range_note(n);
    x->slot[at] = n;
    if (++x->n > x->cap / 2) table_grow(x);
    return n;
}

// ---- leaves -------------------------------------------------------------------------------------

static const Expr *iconst(Exprs *x, Type t, i64 v) {
    ExprKey e = {.op = EX_ICONST, .type = t, .i = t == TY_BOOL ? v != 0 : wrap_to(t, v)};
    if (t != TY_I32 || e.i < 0 || e.i >= SMALL_INTS) return ex_intern(x, &e);
    if (!x->small[e.i]) x->small[e.i] = ex_intern(x, &e);
    return x->small[e.i];
}

const Expr *ex_int(Exprs *x, i64 v) {
    must(v >= INT32_MIN && v <= INT32_MAX);
    return iconst(x, TY_I32, v);
}

const Expr *ex_uint(Exprs *x, u32 v) { return iconst(x, TY_U32, v); }

const Expr *ex_bool(Exprs *x, bool v) { return iconst(x, TY_BOOL, v); }

// Infinities become the largest finite value: no language prints an infinite literal alike, and
// masks are finite.
const Expr *ex_f32(Exprs *x, double v) {
    const double largest = 0x1.fffffep+127;
    must(v == v);
    v = v > largest ? largest : v < -largest ? -largest : (double)(float)v;
    return ex_intern(x, &(ExprKey){.op = EX_FCONST, .type = TY_F32, .f = v});
}

const Expr *ex_var(Exprs *x, const Var *v) {
    return ex_intern(x, &(ExprKey){.op = EX_VAR, .type = v->type, .var = v});
}

const Expr *ex_load(Exprs *x, const Buffer *b, const Expr *const *idx) {
    ExprKey e = {.op = EX_LOAD, .type = b->type, .nargs = (u8)b->nd, .buf = b};
    for (int i = 0; i < b->nd; i++) {
        must(type_is_int(idx[i]->type));
        e.args[i] = idx[i];
    }
    return ex_intern(x, &e);
}

bool expr_is_int(const Expr *e, i64 *v) {
    if (e->op != EX_ICONST) return false;
    *v = e->i;
    return true;
}

// ---- folding ------------------------------------------------------------------------------------

i64 saturate_to_int(Type t, double f) {
    if (f != f) return 0;
    if (f <= (double)type_lo(t)) return type_lo(t);
    if (f >= (double)type_hi(t)) return type_hi(t);
    return (i64)f;
}

static const Expr *fold_ints(Exprs *x, ExprOp op, Type t, i64 a, i64 b) {
    switch (op) {
    case EX_ADD: return iconst(x, t, a + b);
    case EX_SUB: return iconst(x, t, a - b);
    case EX_MUL: return iconst(x, t, (i64)((u64)a * (u64)b));
    case EX_IDIV: return b > 0 ? iconst(x, t, floor_div(a, b)) : NULL;
    case EX_IMOD: return b > 0 ? iconst(x, t, floor_mod(a, b)) : NULL;
    case EX_MIN: return iconst(x, t, MIN2(a, b));
    case EX_MAX: return iconst(x, t, MAX2(a, b));
    case EX_AND: return iconst(x, t, a & b);
    case EX_OR: return iconst(x, t, a | b);
    case EX_XOR: return iconst(x, t, a ^ b);
    case EX_SHL: return b >= 0 && b < 32 ? iconst(x, t, (i64)((u64)a << b)) : NULL;
    case EX_SHR: return b >= 0 && b < 32 ? iconst(x, t, a >> b) : NULL;
    case EX_MULHI: return iconst(x, t, (i64)((u64)a * (u64)b >> 32));
    case EX_LT: return iconst(x, TY_BOOL, a < b);
    case EX_LE: return iconst(x, TY_BOOL, a <= b);
    case EX_EQ: return iconst(x, TY_BOOL, a == b);
    case EX_NE: return iconst(x, TY_BOOL, a != b);
    default: return NULL;
    }
}

static const Expr *fold_f32(Exprs *x, double v) {
    float f = (float)v;
    return f - f == 0 ? ex_f32(x, v) : NULL;
}

static const Expr *fold_floats(Exprs *x, ExprOp op, double a, double b) {
    switch (op) {
    case EX_ADD: return fold_f32(x, a + b);
    case EX_SUB: return fold_f32(x, a - b);
    case EX_MUL: return fold_f32(x, a * b);
    case EX_DIV: return b != 0 ? fold_f32(x, a / b) : NULL;
    case EX_MIN: return ex_f32(x, b < a ? b : a);
    case EX_MAX: return ex_f32(x, a < b ? b : a);
    case EX_LT: return ex_bool(x, a < b);
    case EX_LE: return ex_bool(x, a <= b);
    case EX_EQ: return ex_bool(x, a == b);
    case EX_NE: return ex_bool(x, a != b);
    default: return NULL;
    }
}

static bool is_int(const Expr *e, i64 v) { return e->op == EX_ICONST && e->i == v; }

static bool is_float(const Expr *e, double v) { return e->op == EX_FCONST && e->f == v; }

// a op b where exactly one or none is a constant; NULL when no identity applies.
static const Expr *identity2(Exprs *x, ExprOp op, const Expr *a, const Expr *b) {
    Type t = (Type)a->type;
    bool integer = type_is_int(t);
    const Expr *of;
    i64 c, ones = wrap_to(t, -1);
    switch (op) {
    case EX_ADD:
        if (is_int(b, 0) || is_float(b, 0)) return a;
        if (is_float(a, 0)) return b;
        if (integer && b->op == EX_ICONST && (of = by_const(a, EX_ADD, &c)))
            return ex_add(x, of, iconst(x, t, c + b->i));
        return NULL;
    case EX_SUB:
        if (is_int(b, 0) || is_float(b, 0)) return a;
        if (integer && a == b) return iconst(x, t, 0);
        if (t == TY_I32 && b->op == EX_ICONST) return ex_add(x, a, iconst(x, t, -b->i));
        return NULL;
    case EX_MUL:
        if (is_int(b, 1) || is_float(b, 1)) return a;
        if (is_float(a, 1) || is_int(b, 0)) return b;
        if (integer && b->op == EX_ICONST && (of = by_const(a, EX_MUL, &c)))
            return ex_mul(x, of, iconst(x, t, (i64)((u64)c * (u64)b->i)));
        return NULL;
    case EX_DIV: return is_float(b, 1) ? a : NULL;
    case EX_IDIV: return is_int(b, 1) || is_int(a, 0) ? a : NULL;
    case EX_IMOD: return is_int(b, 1) ? iconst(x, t, 0) : is_int(a, 0) ? a : NULL;
    case EX_MIN:
    case EX_MAX: return a == b ? a : NULL;
    case EX_AND: return is_int(b, 0) ? b : is_int(b, ones) || a == b ? a : NULL;
    case EX_OR: return is_int(b, ones) ? b : is_int(b, 0) || a == b ? a : NULL;
    case EX_XOR: return is_int(b, 0) ? a : a == b ? iconst(x, t, 0) : NULL;
    case EX_SHL:
    case EX_SHR: return is_int(b, 0) || is_int(a, 0) ? a : NULL;
    case EX_MULHI: return is_int(b, 0) ? b : is_int(b, 1) ? iconst(x, t, 0) : NULL;
    case EX_LT:
    case EX_NE: return integer && a == b ? ex_bool(x, false) : NULL;
    case EX_LE:
    case EX_EQ: return integer && a == b ? ex_bool(x, true) : NULL;
    case EX_LAND:
        return is_int(a, 0) || is_int(b, 1) || a == b ? a : is_int(a, 1) || is_int(b, 0) ? b : NULL;
    case EX_LOR:
        return is_int(a, 1) || is_int(b, 0) || a == b ? a : is_int(a, 0) || is_int(b, 1) ? b : NULL;
    default: return NULL;
    }
}

static bool commutes(ExprOp op) {
    return op == EX_ADD || op == EX_MUL || op == EX_AND || op == EX_OR || op == EX_XOR ||
           op == EX_MIN || op == EX_MAX || op == EX_MULHI || op == EX_EQ || op == EX_NE;
}

static Type check2(ExprOp op, const Expr *a, const Expr *b) {
    bool integer = type_is_int(a->type);
    switch (op) {
    case EX_SHL:
    case EX_SHR: must(integer && type_is_int(b->type)); return (Type)a->type;
    case EX_LAND:
    case EX_LOR: must(a->type == TY_BOOL && b->type == TY_BOOL); return TY_BOOL;
    default: break;
    }
    must(a->type == b->type);
    switch (op) {
    case EX_ADD:
    case EX_SUB:
    case EX_MUL:
    case EX_MIN:
    case EX_MAX: must(a->type != TY_BOOL); return (Type)a->type;
    case EX_DIV: must(a->type == TY_F32); return TY_F32;
    case EX_MULHI: must(a->type == TY_U32); return TY_U32;
    case EX_LT:
    case EX_LE: must(a->type != TY_BOOL); return TY_BOOL;
    case EX_EQ:
    case EX_NE: return TY_BOOL;
    default: must(integer); return (Type)a->type; // // % & | ^
    }
}

static const Expr *binary(Exprs *x, ExprOp op, const Expr *a, const Expr *b) {
    Type t = check2(op, a, b);
    const Expr *r = NULL;
    if (commutes(op) && type_is_int(a->type) && a->op == EX_ICONST) {
        const Expr *swap = a;
        a = b;
        b = swap;
    }
    if (a->op == EX_ICONST && b->op == EX_ICONST)
        r = fold_ints(x, op, t, a->i, b->i);
    else if (a->op == EX_FCONST && b->op == EX_FCONST)
        r = fold_floats(x, op, a->f, b->f);
    if (!r) r = identity2(x, op, a, b);
    return r ? r : ex_intern(x, &(ExprKey){.op = op, .type = t, .nargs = 2, .args = {a, b}});
}

static double half_lo(i64 w) { return f16_to_f32((u16)(u32)w); }

static const Expr *unary(Exprs *x, ExprOp op, const Expr *a) {
    Type t = (Type)a->type;
    switch (op) {
    case EX_LNOT:
        must(t == TY_BOOL);
        if (a->op == EX_ICONST) return ex_bool(x, !a->i);
        if (a->op == EX_LNOT) return a->args[0];
        break;
    case EX_F16LO:
    case EX_F16HI:
        must(t == TY_U32);
        t = TY_F32;
        if (a->op == EX_ICONST) {
            double v = half_lo(op == EX_F16HI ? a->i >> 16 : a->i);
            if (v - v == 0) return ex_f32(x, v);
        }
        break;
    case EX_FLOOR:
        must(t == TY_F32);
        if (a->op == EX_FCONST) return ex_f32(x, __builtin_floor(a->f));
        break;
    case EX_SQRT:
        must(t == TY_F32);
        if (a->op == EX_FCONST && a->f >= 0) return ex_f32(x, __builtin_sqrt(a->f));
        break;
    case EX_SUBADD:
    case EX_SUBMAX: must(t != TY_BOOL); break;
    default: must((op == EX_EXP || op == EX_SIN2PI || op == EX_COS2PI) && t == TY_F32); break;
    }
    return ex_intern(x, &(ExprKey){.op = op, .type = t, .nargs = 1, .args = {a}});
}

i64 dot4_of(i64 acc, u32 a, u32 b) {
    for (int j = 0; j < 4; j++) acc += (i64)(int8_t)(a >> 8 * j) * (int8_t)(b >> 8 * j);
    return wrap_to(TY_I32, acc);
}

static const Expr *dot4(Exprs *x, const Expr *acc, const Expr *a, const Expr *b) {
    must(acc->type == TY_I32 && a->type == TY_U32 && b->type == TY_U32);
    if (is_int(a, 0) || is_int(b, 0)) return acc;
    if (acc->op == EX_ICONST && a->op == EX_ICONST && b->op == EX_ICONST)
        return iconst(x, TY_I32, dot4_of(acc->i, (u32)a->i, (u32)b->i));
    return ex_intern(x, &(ExprKey){.op = EX_DOT4, .type = TY_I32, .nargs = 3, .args = {acc, a, b}});
}

static const Expr *subgroup_at(Exprs *x, const Expr *a, const Expr *lane, const Expr *lanes) {
    must(a->type != TY_BOOL && lane->op == EX_ICONST && lanes->op == EX_ICONST);
    must(lane->i >= 0 && lane->i < lanes->i);
    if (a->op == EX_ICONST || a->op == EX_FCONST) return a;
    return ex_intern(
        x, &(ExprKey){.op = EX_SUBAT, .type = a->type, .nargs = 3, .args = {a, lane, lanes}});
}

const Expr *ex_node(Exprs *x, ExprOp op, const Expr *a, const Expr *b, const Expr *c) {
    must(op != EX_CAST && op != EX_BITCAST && op != EX_LOAD);
    switch (op_args[op]) {
    case 1: return unary(x, op, a);
    case 2: return binary(x, op, a, b);
    case 3:
        if (op == EX_DOT4) return dot4(x, a, b, c);
        if (op == EX_SUBAT) return subgroup_at(x, a, b, c);
        if (op == EX_FMA) {
            must(a->type == TY_F32 && b->type == TY_F32 && c->type == TY_F32);
            return ex_intern(x,
                             &(ExprKey){.op = op, .type = TY_F32, .nargs = 3, .args = {a, b, c}});
        }
        must(a->type == TY_BOOL && b->type == c->type);
        if (a->op == EX_ICONST) return a->i ? b : c;
        if (b == c) return b;
        if (a->op == EX_LNOT) return ex_select(x, a->args[0], c, b);
        return ex_intern(x, &(ExprKey){.op = op, .type = b->type, .nargs = 3, .args = {a, b, c}});
    default: must(!"an operation with arguments"); return NULL;
    }
}

const Expr *ex_cast(Exprs *x, Type t, const Expr *a) {
    if (a->type == t) return a;
    must(t != TY_BOOL);
    if (a->op == EX_ICONST) return t == TY_F32 ? ex_f32(x, (double)a->i) : iconst(x, t, a->i);
    if (a->op == EX_FCONST) return iconst(x, t, saturate_to_int(t, a->f));
    if (a->op == EX_CAST && type_is_int(t) && type_is_int(a->type) && type_is_int(a->args[0]->type))
        return ex_cast(x, t, a->args[0]); // i32(u32(i)) is i
    return ex_intern(x, &(ExprKey){.op = EX_CAST, .type = t, .nargs = 1, .args = {a}});
}

const Expr *ex_bitcast(Exprs *x, Type t, const Expr *a) {
    if (a->type == t) return a;
    must(t != TY_BOOL && a->type != TY_BOOL);
    if (type_is_int(t) && type_is_int(a->type)) return ex_cast(x, t, a);
    if (a->op == EX_BITCAST) return ex_bitcast(x, t, a->args[0]);
    if (a->op == EX_FCONST) return iconst(x, t, f32_bits((float)a->f));
    if (a->op == EX_ICONST) {
        float f = bits_f32((u32)a->i);
        if (f - f == 0) return ex_f32(x, f);
    }
    return ex_intern(x, &(ExprKey){.op = EX_BITCAST, .type = t, .nargs = 1, .args = {a}});
}
