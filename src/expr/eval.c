// expr/eval.c: the referee's arithmetic: what an expression means, one node at a time.
//
// f32 operations are done in float64 and rounded to f32 only when the caller asks (Env.f32);
// integers are exactly as expr.def defines them. Neither the simplifier nor the printers are used
// here: they are what this checks. A value may be missing (a poisoned load, a division by zero):
// then the whole expression has none.
#include "expr/expr_int.h"

#include <math.h>

typedef struct Eval {
    const Env *env;
    Memo *memo; // NULL until a tree turns out to share so much that plain recursion is slow
    u32 visits;
    bool slow;
} Eval;

enum { PLAIN_VISITS = 1 << 12 };

static bool eval(Eval *ev, const Expr *e, Value *out);

static bool ints2(ExprOp op, Type t, i64 a, i64 b, i64 *r) {
    switch (op) {
    case EX_ADD: *r = wrap_to(t, a + b); return true;
    case EX_SUB: *r = wrap_to(t, a - b); return true;
    case EX_MUL: *r = wrap_to(t, (i64)((u64)a * (u64)b)); return true;
    case EX_IDIV: *r = b > 0 ? floor_div(a, b) : 0; return b > 0;
    case EX_IMOD: *r = b > 0 ? floor_mod(a, b) : 0; return b > 0;
    case EX_MIN: *r = a < b ? a : b; return true;
    case EX_MAX: *r = a > b ? a : b; return true;
    case EX_AND:
    case EX_LAND: *r = a & b; return true;
    case EX_OR:
    case EX_LOR: *r = a | b; return true;
    case EX_XOR: *r = a ^ b; return true;
    case EX_SHL:
        *r = b >= 0 && b < 32 ? wrap_to(t, (i64)((u64)a << b)) : 0;
        return b >= 0 && b < 32;
    case EX_SHR: *r = b >= 0 && b < 32 ? a >> b : 0; return b >= 0 && b < 32;
    case EX_MULHI: *r = (i64)((u64)a * (u64)b >> 32); return true;
    case EX_LT: *r = a < b; return true;
    case EX_LE: *r = a <= b; return true;
    case EX_EQ: *r = a == b; return true;
    case EX_NE: *r = a != b; return true;
    default: return false;
    }
}

static bool floats2(ExprOp op, double a, double b, Value *out) {
    switch (op) {
    case EX_ADD: out->f = a + b; return true;
    case EX_SUB: out->f = a - b; return true;
    case EX_MUL: out->f = a * b; return true;
    case EX_DIV: out->f = a / b; return true;
    case EX_MIN: out->f = b < a ? b : a; return true;
    case EX_MAX: out->f = a < b ? b : a; return true;
    case EX_LT: out->i = a < b; return true;
    case EX_LE: out->i = a <= b; return true;
    case EX_EQ: out->i = a == b; return true;
    case EX_NE: out->i = a != b; return true;
    default: return false;
    }
}

static bool cast(const Expr *e, Value a, Value *out) {
    if (e->type == TY_F32) {
        out->f = a.type == TY_F32 ? a.f : (double)a.i;
        return true;
    }
    out->i = a.type == TY_F32 ? saturate_to_int((Type)e->type, a.f) : wrap_to((Type)e->type, a.i);
    return true;
}

static bool bitcast(const Expr *e, Value a, Value *out) {
    u32 bits = a.type == TY_F32 ? f32_bits((float)a.f) : (u32)a.i;
    if (e->type == TY_F32)
        out->f = bits_f32(bits);
    else
        out->i = wrap_to((Type)e->type, bits);
    return true;
}

static bool unary(const Expr *e, Value a, Value *out) {
    const double tau = 6.283185307179586476925286766559;
    switch (e->op) {
    case EX_LNOT: out->i = !a.i; return true;
    case EX_F16LO: out->f = f16_to_f32((u16)a.i); return true;
    case EX_F16HI: out->f = f16_to_f32((u16)(a.i >> 16)); return true;
    case EX_FLOOR: out->f = __builtin_floor(a.f); return true;
    case EX_SQRT: out->f = sqrt(a.f); return true;
    case EX_EXP: out->f = exp(a.f); return true;
    case EX_SIN2PI: out->f = sin(tau * a.f); return true;
    case EX_COS2PI: out->f = cos(tau * a.f); return true;
    default: return false; // subgroup operations need the other lanes: the interpreter's
    }
}

static bool node(Eval *ev, const Expr *e, Value *out) {
    Value a[BUFFER_MAX_DIMS] = {0};
    i64 idx[BUFFER_MAX_DIMS];
    out->type = (Type)e->type;
    switch (e->op) {
    case EX_ICONST: out->i = e->i; return true;
    case EX_FCONST: out->f = e->f; return true;
    case EX_VAR: return ev->env->var && ev->env->var(ev->env->user, e->var, out);
    case EX_SELECT: // a formula's branches guard each other; a kernel's do not, its verifier sees
                    // to it
        return eval(ev, e->args[0], &a[0]) && eval(ev, e->args[a[0].i ? 1 : 2], out);
    default: break;
    }
    for (int i = 0; i < e->nargs; i++) {
        if (!eval(ev, e->args[i], &a[i])) return false;
        idx[i] = e->op == EX_LOAD ? a[i].i : 0;
    }
    bool ok;
    switch (e->op) {
    case EX_LOAD: ok = ev->env->load && ev->env->load(ev->env->user, e->buf, idx, out); return ok;
    case EX_CAST: ok = cast(e, a[0], out); break;
    case EX_BITCAST: ok = bitcast(e, a[0], out); break;
    case EX_DOT4:
        out->i = dot4_of(a[0].i, (u32)a[1].i, (u32)a[2].i);
        ok = true;
        break;
    default:
        if (e->nargs == 1)
            ok = unary(e, a[0], out);
        else if (a[0].type == TY_F32)
            ok = floats2((ExprOp)e->op, a[0].f, a[1].f, out);
        else
            ok = ints2((ExprOp)e->op, (Type)e->type, a[0].i, a[1].i, &out->i);
    }
    if (ok && ev->env->f32 && e->type == TY_F32) out->f = (double)(float)out->f;
    return ok;
}

static bool eval(Eval *ev, const Expr *e, Value *out) {
    if (!ev->memo || e->nargs == 0) {
        if (!ev->memo && ++ev->visits > PLAIN_VISITS) {
            ev->slow = true;
            return false;
        }
        return node(ev, e, out);
    }
    bool fresh;
    MemoSlot *s = memo_at(ev->memo, e, &fresh);
    if (!fresh) {
        *out = s->v;
        return true;
    }
    if (!node(ev, e, out)) // nothing is read after a missing value: the whole fails
        return false;
    memo_at(ev->memo, e, &fresh)->v = *out;
    return true;
}

bool expr_eval(const Expr *e, const Env *env, Value *out) {
    Eval ev = {.env = env};
    if (eval(&ev, e, out)) return true;
    if (!ev.slow) return false;
    ev.memo = memo_take(e->home); // begin again, each shared node once
    bool ok = eval(&ev, e, out);
    memo_give(ev.memo);
    return ok;
}
