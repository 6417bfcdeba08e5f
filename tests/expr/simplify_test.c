// Index arithmetic in canonical form: the cases that tiling makes, and random expressions against
// the evaluator.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "expr/expr.h"

typedef struct Fix {
    Arena *a;
    Exprs *x;
    Var *v[16];
    int nv;
    i64 value[16];
} Fix;

static Fix fix_new(void) {
    Fix f = {0};
    f.a = arena_new(NULL);
    f.x = exprs_new(f.a);
    return f;
}

static Var *var(Fix *f, const char *name, i64 lo, i64 hi) {
    return f->v[f->nv++] = var_new(f->x, name, TY_I32, lo, hi);
}

static const Var *name_var(void *user, Str name) {
    Fix *f = user;
    for (int i = 0; i < f->nv; i++)
        if (str_eq(str_c(f->v[i]->name), name)) return f->v[i];
    return NULL;
}

static const Expr *read(Fix *f, const char *text) {
    Err err = {0};
    Reader r = {str_c(text), 0, 1, 1};
    const Expr *e = expr_read(f->x, &r, &(ExprNames){name_var, NULL, f}, &err);
    if (!e) print_message("%s: %s\n", text, err.msg);
    assert_non_null(e);
    assert_int_equal(r.pos, r.text.len);
    return e;
}

static void check(Fix *f, const char *from, const char *to) {
    const Expr *e = expr_simplify(f->x, read(f, from));
    Buf b = {.arena = f->a};
    expr_print(e, &b);
    assert_string_equal(b.ptr, to);
    assert_ptr_equal(expr_simplify(f->x, e), e);
    assert_ptr_equal(e, read(f, to)); // the text reads back to the same node
}

static Fix tiles(void) {
    Fix f = fix_new();
    var(&f, "n", 1, 256);
    var(&f, "Kb", 1, 4096);
    var(&f, "o1", 0, 383);
    var(&f, "o2", 0, 3);
    var(&f, "kb", 0, 17);
    var(&f, "kw", 0, 3);
    var(&f, "kj", 0, 7);
    var(&f, "i", -100, 100);
    f.v[1]->divisor = 1;
    return f;
}

static void tiled_rows_cancel(void **state) {
    (void)state;
    Fix f = tiles();
    check(&f, "(4*o1 + o2)//4", "o1");
    check(&f, "(4*o1 + o2)%4", "o2");
    check(&f, "(((4*o1 + o2)//4*72 + kb*4 + kw)*4 + (4*o1 + o2)%4)", "o1*288 + o2 + kb*16 + kw*4");
    check(&f, "(32*kb + 8*kw + kj)//8", "kb*4 + kw");
    check(&f, "(32*kb + 8*kw + kj)//32", "kb");
    check(&f, "(32*kb + 8*kw + kj)%8", "kj");
    check(&f, "(32*kb + 8*kw + kj)%32", "kw*8 + kj");
    check(&f, "(32*kb + 8*kw + kj)//2%4", "kj//2");
    check(&f, "(32*kb + 8*kw + kj)//8%4", "kw");
    check(&f, "(8*kw + kj)//16", "kw//2");
    check(&f, "(8*kw + kj)%16", "kw%2*8 + kj");
    arena_free(f.a);
}

static void symbols_cancel(void **state) {
    (void)state;
    Fix f = tiles();
    check(&f, "(32*Kb)//8", "Kb*4");
    check(&f, "(32*Kb + kj)//8", "Kb*4");
    check(&f, "(8*o1 + kj)//8*(4*Kb) + kj", "Kb*o1*4 + kj");
    check(&f, "(o1*Kb)//Kb", "o1");
    check(&f, "(o1*Kb + kj - kj)%Kb", "0");
    check(&f, "(n + 7)//8*8 + (n + 7)%8", "n + 7");
    check(&f, "8*((n//8)%4) + n%8", "n%32");
    check(&f, "(n%32)//8", "n//8%4");
    check(&f, "n//4//8", "n//32");
    f.v[1]->divisor = 8;
    check(&f, "Kb//8*8", "Kb");
    check(&f, "(Kb + kj)//8", "Kb//8");
    check(&f, "(Kb*o1 + kj)%8", "kj");
    arena_free(f.a);
}

static void guards_lose_inner_loops(void **state) {
    (void)state;
    Fix f = tiles();
    check(&f, "8*o1 + kj < 2048", "o1 < 256");
    check(&f, "8*kb + kj < 64", "kb < 8");
    check(&f, "8*kb + kj < 60", "kb*8 + kj < 60");
    check(&f, "8*kb + kj <= 63", "kb < 8");
    check(&f, "kb < 18", "true");
    check(&f, "kb + n < kb + 300", "true");
    check(&f, "!(i < 3)", "3 <= i");
    check(&f, "min(kj, 7)", "kj");
    check(&f, "max(i, i + 3)", "i + 3");
    check(&f, "min(i + n, i)", "i");
    check(&f, "select(kj < 8, i, n)", "i");
    check(&f, "4*kb + 1 == 2*i", "false");
    arena_free(f.a);
}

static void shifts_and_masks_become_division(void **state) {
    (void)state;
    Fix f = tiles();
    check(&f, "(8*kb + kj) >> 3", "kb");
    check(&f, "(8*kb + kj) & 7", "kj");
    check(&f, "(kb << 3) + kj", "kb*8 + kj");
    check(&f, "i >> 2 >> 3", "i//32");
    check(&f, "u32(kj) & 7u", "u32(kj)");
    check(&f, "u32(kj)*4u >> 2u", "u32(kj)");
    check(&f, "u32(i) & 12u & 3u", "0u");
    check(&f, "u32(i) & 12u & 7u", "u32(i) & 4u");
    arena_free(f.a);
}

static void negative_values_floor(void **state) {
    (void)state;
    Fix f = tiles();
    check(&f, "(4*i + o2)//4", "i");
    check(&f, "(4*i - 1)//4", "i - 1");
    check(&f, "(4*i - 1)%4", "3");
    check(&f, "(-4*i + o2)%4", "o2");
    check(&f, "(0 - i)//1", "i*-1");
    arena_free(f.a);
}

// A sum that the program wrote does not overflow; a part that a rule takes out of it might.
static void parts_that_may_overflow_are_not_taken_out(void **state) {
    (void)state;
    Fix f = tiles();
    var(&f, "w", INT32_MIN, INT32_MAX);
    check(&f, "8 <= kj - w", "8 <= kj - w");
    check(&f, "w - 8 < kj", "w < kj + 8");
    check(&f, "w < kj", "w < kj");
    check(&f, "i - 8 < kj", "i < kj + 8");
    check(&f, "(7*(w + kb) + kb)//8", "(kb*8 + w*7)//8");
    check(&f, "(7*(i + kb) + kb)//8", "kb + i*7//8");
    check(&f, "(7*(w + kb) + kb)%8", "(kb*8 + w*7)%8");
    check(&f, "(w - 7)%1024%4", "(w - 7)%1024%4");
    check(&f, "(w%1024 - 7)%4", "(w%1024 + 1)%4");
    check(&f, "(i%1024 - 7)%4", "(i + 1)%4");
    arena_free(f.a);
}

static void affine_finds_lanes(void **state) {
    (void)state;
    Fix f = tiles();
    const Expr *base;
    i64 coef;
    assert_true(
        expr_affine(f.x, read(&f, "(8*kb + kj)//8*32 + kj*3 + Kb*o1"), f.v[6], &base, &coef));
    assert_int_equal(coef, 3);
    assert_ptr_equal(base, expr_simplify(f.x, read(&f, "32*kb + Kb*o1")));
    assert_true(expr_affine(f.x, read(&f, "u32(8*kb + kj)"), f.v[6], &base, &coef));
    assert_int_equal(coef, 1);
    assert_ptr_equal(base, expr_simplify(f.x, read(&f, "u32(8*kb)")));
    assert_false(expr_affine(f.x, read(&f, "kj*Kb"), f.v[6], &base, &coef));
    assert_false(expr_affine(f.x, read(&f, "kj//2"), f.v[6], &base, &coef));
    assert_true(expr_affine(f.x, read(&f, "kb//2"), f.v[6], &base, &coef));
    assert_int_equal(coef, 0);
    arena_free(f.a);
}

// ---- random expressions -------------------------------------------------------------------------

static u64 seed = 1;

static u32 rnd(u32 n) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    return (u32)(seed >> 33) % n;
}

static const Expr *random_int(Fix *f, Type t, int depth);

static const Expr *random_bool(Fix *f, int depth) {
    static const ExprOp cmp[] = {EX_LT, EX_LE, EX_EQ, EX_NE};
    if (depth > 2 && rnd(3) == 0)
        return ex_node(f->x, rnd(2) ? EX_LAND : EX_LOR, random_bool(f, depth - 1),
                       random_bool(f, depth - 1), NULL);
    if (depth > 2 && rnd(4) == 0) return ex_un(f->x, EX_LNOT, random_bool(f, depth - 1));
    Type t = rnd(4) ? TY_I32 : TY_U32;
    return ex_node(f->x, cmp[rnd(4)], random_int(f, t, depth - 1), random_int(f, t, depth - 1),
                   NULL);
}

static const Expr *number(Fix *f, Type t, i64 v) {
    return t == TY_U32 ? ex_uint(f->x, (u32)v) : ex_int(f->x, v);
}

static const Expr *random_int(Fix *f, Type t, int depth) {
    static const i64 factors[] = {1, 2, 3, 4, 5, 6, 8, 12, 16, 32, 64};
    Exprs *x = f->x;
    if (depth <= 0 || rnd(8) == 0) {
        if (rnd(4) == 0) return number(f, t, (i64)rnd(40) - (t == TY_I32 ? 20 : 0));
        const Expr *v = ex_var(x, f->v[rnd((u32)f->nv)]);
        return ex_cast(x, t, v);
    }
    const Expr *a = random_int(f, t, depth - 1), *c = number(f, t, factors[rnd(COUNT_OF(factors))]);
    switch (rnd(16)) {
    case 0:
    case 1:
    case 2: return ex_add(x, a, random_int(f, t, depth - 1));
    case 3: return ex_sub(x, a, random_int(f, t, depth - 1));
    case 4:
    case 5: return ex_mul(x, a, c);
    case 6: return ex_mul(x, a, random_int(f, t, depth - 2));
    case 7:
    case 8:
    case 9: return ex_idiv(x, a, c);
    case 10:
    case 11:
    case 12: return ex_mod(x, a, c);
    case 13: return ex_node(x, rnd(2) ? EX_MIN : EX_MAX, a, random_int(f, t, depth - 1), NULL);
    case 14:
        switch (rnd(7)) {
        case 0: return ex_shl(x, a, number(f, t, rnd(4)));
        case 1: return ex_shr(x, a, number(f, t, rnd(6)));
        case 2: return ex_and(x, a, number(f, t, (i64)(1u << rnd(6)) - 1));
        case 3: return ex_or(x, a, random_int(f, t, depth - 1));
        case 4: return ex_cast(x, t, random_int(f, t == TY_I32 ? TY_U32 : TY_I32, depth - 1));
        case 5: return ex_idiv(x, a, ex_max(x, random_int(f, t, depth - 1), number(f, t, 1)));
        default: return ex_mod(x, a, ex_max(x, random_int(f, t, depth - 1), number(f, t, 1)));
        }
    default: return ex_select(x, random_bool(f, depth - 1), a, random_int(f, t, depth - 1));
    }
}

static bool value_of(void *user, const Var *v, Value *out) {
    Fix *f = user;
    for (int i = 0; i < f->nv; i++)
        if (f->v[i] == v) {
            *out = (Value){TY_I32, {.i = f->value[i]}};
            return true;
        }
    return false;
}

// Exact i32 arithmetic without overflow is what the simplifier may assume: the check evaluates
// every node below.
typedef struct Watch {
    Fix *f;
    bool overflow;
} Watch;

static void watch(void *user, const Expr *e) {
    Watch *w = user;
    Env env = {value_of, NULL, w->f, false};
    Value a, b, r;
    if (e->type != TY_I32 || e->nargs != 2 || !expr_eval(e, &env, &r) ||
        !expr_eval(e->args[0], &env, &a) || !expr_eval(e->args[1], &env, &b))
        return;
    i64 exact = e->op == EX_ADD   ? a.i + b.i
                : e->op == EX_SUB ? a.i - b.i
                : e->op == EX_MUL ? a.i * b.i
                                  : r.i;
    w->overflow |= exact != r.i;
}

static void random_expressions_keep_their_value(void **state) {
    (void)state;
    int compared = 0;
    for (int round = 0; round < 6000; round++) {
        Fix f = fix_new();
        seed = (u64)round * 77777 + 5;
        int nv = 1 + (int)rnd(4);
        for (int i = 0; i < nv; i++) {
            i64 lo = rnd(3) ? 0 : -(i64)rnd(40), hi = lo + rnd(rnd(2) ? 9 : 70);
            char name[2] = {(char)('a' + i), 0};
            Var *v = var(&f, name, lo, hi);
            if (rnd(4) == 0) {
                v->divisor = 1 << rnd(4);
                v->lo = v->lo / v->divisor * v->divisor;
                v->hi = MAX2(v->hi, v->lo);
            }
        }
        const Expr *e = rnd(4) ? random_int(&f, rnd(3) ? TY_I32 : TY_U32, 5) : random_bool(&f, 5);
        const Expr *s = expr_simplify(f.x, e);
        i64 lo, hi, slo, shi;
        expr_range(e, &lo, &hi);
        expr_range(s, &slo, &shi);
        i64 div = expr_divisor(e);
        assert_int_equal(s->type, e->type);
        for (int k = 0; k < 12; k++) {
            for (int i = 0; i < nv; i++) {
                Var *v = f.v[i];
                f.value[i] = v->lo + rnd((u32)((v->hi - v->lo) / v->divisor + 1)) * v->divisor;
            }
            Watch w = {&f, false};
            expr_walk(e, watch, &w);
            Env env = {value_of, NULL, &f, false};
            Value a, b;
            if (w.overflow || !expr_eval(e, &env, &a)) continue;
            assert_true(expr_eval(s, &env, &b));
            if (a.i != b.i) {
                Buf t = {.arena = f.a};
                expr_print(e, &t);
                buf_fmt(&t, "\n -> ");
                expr_print(s, &t);
                for (int i = 0; i < nv; i++)
                    buf_fmt(&t, "\n%s in %D..%D by %D = %D", f.v[i]->name, f.v[i]->lo, f.v[i]->hi,
                            f.v[i]->divisor, f.value[i]);
                print_message("round %d: %s\n", round, t.ptr);
            }
            assert_int_equal(a.i, b.i);
            assert_true(a.i >= lo && a.i <= hi);
            assert_true(a.i >= slo && a.i <= shi);
            if (e->type != TY_BOOL) assert_int_equal(a.i % div, 0);
            compared++;
        }
        // text round trip
        Buf t = {.arena = f.a};
        expr_print(s, &t);
        assert_ptr_equal(read(&f, t.ptr), s);
        arena_free(f.a);
    }
    assert_true(compared > 30000);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tiled_rows_cancel),
        cmocka_unit_test(symbols_cancel),
        cmocka_unit_test(guards_lose_inner_loops),
        cmocka_unit_test(shifts_and_masks_become_division),
        cmocka_unit_test(negative_values_floor),
        cmocka_unit_test(parts_that_may_overflow_are_not_taken_out),
        cmocka_unit_test(affine_finds_lanes),
        cmocka_unit_test(random_expressions_keep_their_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
