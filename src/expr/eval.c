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

// An operation on the values of its arguments, as many as it has; neither SELECT, which is not
// given all of them, nor LOAD.
static inline bool apply(const Expr *e, const Env *env, const Value *a, const Value *b,
                         const Value *c, Value *out) {
    bool ok;
    out->type = (Type)e->type;
    if (e->nargs == 2 && a->type != TY_F32)
        return ints2((ExprOp)e->op, (Type)e->type, a->i, b->i, &out->i);
    switch (e->op) {
    case EX_ICONST: out->i = e->i; return true;
    case EX_FCONST: out->f = e->f; return true;
    case EX_VAR: return env->var && env->var(env->user, e->var, out);
    case EX_CAST: ok = cast(e, *a, out); break;
    case EX_BITCAST: ok = bitcast(e, *a, out); break;
    case EX_DOT4:
        out->i = dot4_of(a->i, (u32)b->i, (u32)c->i);
        ok = true;
        break;
    case EX_FMA:
        out->f = a->f * b->f;
        if (env->f32) out->f = (double)(float)out->f;
        out->f += c->f;
        ok = true;
        break;
    case EX_SUBAT: return false; // needs the other lanes: the interpreter's
    default: ok = e->nargs == 1 ? unary(e, *a, out) : floats2((ExprOp)e->op, a->f, b->f, out);
    }
    if (ok && env->f32 && e->type == TY_F32) out->f = (double)(float)out->f;
    return ok;
}

static bool load(const Expr *e, const Env *env, const i64 *idx, Value *out) {
    out->type = (Type)e->type;
    return env->load && env->load(env->user, e->buf, idx, out);
}

static bool node(Eval *ev, const Expr *e, Value *out) {
    Value a[BUFFER_MAX_DIMS] = {0};
    if (e->op == EX_SELECT) // a formula's branches guard each other; a kernel's do not, its
                            // verifier sees to it
        return eval(ev, e->args[0], &a[0]) && eval(ev, e->args[a[0].i ? 1 : 2], out);
    i64 idx[BUFFER_MAX_DIMS];
    for (int i = 0; i < e->nargs; i++) {
        if (!eval(ev, e->args[i], &a[i])) return false;
        idx[i] = a[i].i;
    }
    return e->op == EX_LOAD ? load(e, ev->env, idx, out)
                            : apply(e, ev->env, &a[0], &a[1], &a[2], out);
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

// ---- the same expressions over and over ---------------------------------------------------------

typedef struct AgainOp AgainOp;
typedef VEC(AgainOp) AgainList; // operations in an order in which each finds its arguments

struct AgainOp {
    const Expr *e;
    u32 at, arg[BUFFER_MAX_DIMS]; // of Again.value
    AgainList *branch[2];         // SELECT: what has to be found for either; NULL: nothing
};

enum { AGAIN_MOST = 2048 }; // operations; what shares more across branches is found as ever

typedef struct AgainRoot {
    const Expr *plain; // found as ever; NULL: by the lists
    u32 at;
    u32 found[AGAIN_LEVELS]; // Again.now, when it was last found
    AgainList list[AGAIN_LEVELS];
} AgainRoot;

struct Again {
    Arena *arena;
    int (*level)(void *user, const Var *v);
    void *user;
    u32 now[AGAIN_LEVELS];
    u32 listed;
    VEC(AgainRoot) roots;
    VEC(Value) value;    // of each node
    VEC(const Expr *) e; // the nodes
    VEC(u8) levels;      // how often each changes
};

Again *again_new(Arena *a, int (*level)(void *user, const Var *v), void *user) {
    Again *g = NEW(a, Again);
    g->arena = a;
    g->level = level;
    g->user = user;
    for (int i = 0; i < AGAIN_LEVELS; i++) g->now[i] = 1;
    return g;
}

// The list that an operation of a level goes to: that of its root, or its branch's.
typedef struct AgainPlace {
    AgainRoot *root;
    AgainList *branch;
    VEC(u32) listed; // nodes that are found before what is listed next
} AgainPlace;

static u32 again_slot(Again *g, Memo *slots, const Expr *e) {
    bool fresh;
    MemoSlot *s = memo_at(slots, e, &fresh);
    if (!fresh) return (u32)s->v.i;
    u32 at = (u32)g->e.n;
    s->v.i = at;
    vec_push(g->arena, &g->e, e);
    vec_push(g->arena, &g->value, (Value){.type = (Type)e->type});
    vec_push(g->arena, &g->levels, 0);
    return at;
}

static bool again_listed(const AgainPlace *p, u32 at) {
    for (size_t i = 0; i < p->listed.n; i++)
        if (p->listed.at[i] == at) return true;
    return false;
}

// Lists a node behind its arguments. A branch of SELECT gets a list of its own, for what is in it
// may have no value where it is not taken; its nodes are nobody else's.
static u32 again_list(Again *g, Memo *slots, AgainPlace *p, const Expr *e) {
    AgainOp op = {.e = e, .at = again_slot(g, slots, e)};
    if (again_listed(p, op.at) || ++g->listed > AGAIN_MOST) return op.at;
    int level = e->op == EX_VAR ? g->level(g->user, e->var) : 0;
    for (int i = 0; i < e->nargs; i++) {
        AgainPlace inner = {.root = p->root};
        size_t before = p->listed.n;
        bool branch = e->op == EX_SELECT && i > 0;
        if (branch) {
            inner.branch = NEW(g->arena, AgainList);
            op.branch[i - 1] = inner.branch;
            inner.listed = p->listed;
        }
        op.arg[i] = again_list(g, slots, branch ? &inner : p, e->args[i]);
        if (branch) {
            p->listed = inner.listed; // it may lie elsewhere by now
            p->listed.n = before;
        }
        level = MAX2(level, g->levels.at[op.arg[i]]);
    }
    must(level < AGAIN_LEVELS);
    g->levels.at[op.at] = (u8)level;
    vec_push(g->arena, p->branch ? p->branch : &p->root->list[level], op);
    vec_push(g->arena, &p->listed, op.at);
    return op.at;
}

u32 again_add(Again *g, const Expr *e) {
    Memo *slots = memo_take(e->home);
    bool fresh;
    for (size_t i = 0; i < g->e.n; i++) memo_at(slots, g->e.at[i], &fresh)->v.i = (i64)i;
    AgainRoot root = {0};
    AgainPlace place = {.root = &root};
    g->listed = 0;
    root.at = again_list(g, slots, &place, e);
    if (g->listed > AGAIN_MOST) root = (AgainRoot){.plain = e};
    memo_give(slots);
    vec_push(g->arena, &g->roots, root);
    return (u32)g->roots.n - 1;
}

void again_changed(Again *g, int level) { g->now[level]++; }

static bool again_run(Again *g, const AgainList *list, const Env *env) {
    Value *value = g->value.at;
    for (const AgainOp *op = list->at, *end = op + list->n; op < end; op++) {
        const Value *a = &value[op->arg[0]];
        i64 idx[BUFFER_MAX_DIMS];
        bool ok = true;
        if (op->e->op == EX_LOAD) {
            for (int i = 0; i < op->e->nargs; i++) idx[i] = value[op->arg[i]].i;
            ok = load(op->e, env, idx, &value[op->at]);
        } else if (op->e->op == EX_SELECT) {
            int k = a->i ? 0 : 1;
            ok = again_run(g, op->branch[k], env);
            value[op->at] = value[op->arg[1 + k]];
        } else {
            ok = apply(op->e, env, a, &value[op->arg[1]], &value[op->arg[2]], &value[op->at]);
        }
        if (!ok) return false;
    }
    return true;
}

bool again_eval(Again *g, u32 root, const Env *env, Value *out) {
    AgainRoot *r = &g->roots.at[root];
    int level = 0;
    if (r->plain) return expr_eval(r->plain, env, out);
    while (level < AGAIN_LEVELS && r->found[level] == g->now[level]) level++;
    for (; level < AGAIN_LEVELS; level++) {
        r->found[level] = 0; // should it fail
        if (!again_run(g, &r->list[level], env)) return false;
        r->found[level] = g->now[level];
    }
    *out = g->value.at[r->at];
    return true;
}
