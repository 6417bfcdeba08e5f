// tests/fuzz/expr_fuzz.c: any text as an expression; what reads prints, reads back, and keeps its
// value when simplified.
#include "expr/expr.h"

typedef struct Point {
    const Var *v[4];
    i64 value[4];
    bool overflow;
    const Env *env;
} Point;

static const Var *find_var(void *user, Str name) {
    Point *p = user;
    for (int i = 0; i < 4; i++)
        if (str_eq(name, str_c(p->v[i]->name))) return p->v[i];
    return NULL;
}

static const Buffer *find_buffer(void *user, Str name) {
    (void)user;
    (void)name;
    return NULL;
}

static bool value_of(void *user, const Var *v, Value *out) {
    Point *p = user;
    for (int i = 0; i < 4; i++)
        if (p->v[i] == v) {
            *out = (Value){v->type, {.i = p->value[i]}};
            if (v->type == TY_F32) out->f = (double)p->value[i] / 8;
        }
    return true;
}

// The simplifier may take it that index arithmetic does not overflow.
static void watch(void *user, const Expr *e) {
    Point *p = user;
    Value a, b;
    i64 r;
    if (e->type != TY_I32 || (e->op != EX_ADD && e->op != EX_SUB && e->op != EX_MUL)) return;
    if (!expr_eval(e->args[0], p->env, &a) || !expr_eval(e->args[1], p->env, &b)) return;
    r = e->op == EX_ADD ? a.i + b.i : e->op == EX_SUB ? a.i - b.i : a.i * b.i;
    p->overflow |= r < INT32_MIN || r > INT32_MAX;
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size);
int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    Arena *a = arena_new(NULL);
    Exprs *x = exprs_new(a);
    Point p = {{var_new(x, "a", TY_I32, -40, 70), var_new(x, "b", TY_I32, 0, 63),
                var_new(x, "u", TY_U32, 0, UINT32_MAX), var_new(x, "f", TY_F32, 0, 0)},
               {0},
               false,
               NULL};
    Reader r = {{(const char *)data, size}, 0, 1, 1};
    ExprNames names = {find_var, find_buffer, &p};
    Err err = {0};
    const Expr *e = expr_read(x, &r, &names, &err);
    if (!e) must(err.id != ERR_NONE);
    if (e) {
        const Expr *s = expr_simplify(x, e);
        Buf b = {.arena = a, .limit = 1 << 16};
        expr_print(s, &b);
        Err again = {0};
        Reader r2 = {buf_str(&b), 0, 1, 1};
        const Expr *back = b.full ? s : expr_read(x, &r2, &names, &again);
        must(back == s || again.id == ERR_EXPR_DEPTH ||
             again.id == ERR_EXPR_TYPE); // TYPE: a divisor turned out to be 0
        u64 seed = size;
        Env env = {value_of, NULL, &p, false};
        p.env = &env;
        for (int i = 0; i < 4; i++) {
            p.overflow = false;
            for (int k = 0; k < 4; k++) {
                seed = seed * 6364136223846793005u + 1442695040888963407u;
                u32 v = (u32)(seed >> 32);
                p.value[k] = k == 0 ? (i64)(v % 111) - 40 : k == 1 ? v % 64 : v;
            }
            Value v, w;
            expr_walk(e, watch, &p);
            if (p.overflow || !expr_eval(e, &env, &v) || e->type == TY_F32) continue;
            must(expr_eval(s, &env, &w) && v.i == w.i);
        }
    }
    arena_free(a);
    return 0;
}
