// Expressions: constructors fold, text reads back, errors say where, values and ranges are what the
// table says.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>

#include "expr/expr.h"

typedef struct Fix {
    Arena *a;
    Exprs *x;
    Var *i, *n, *u, *f, *b;
    Buffer *w, *t;
    Err err;
} Fix;

static Fix fix_new(void) {
    Fix f = {.a = arena_new(NULL)};
    f.x = exprs_new(f.a);
    f.i = var_new(f.x, "i", TY_I32, -10, 20);
    f.n = var_new(f.x, "n", TY_I32, 1, 256);
    f.u = var_new(f.x, "u", TY_U32, 0, UINT32_MAX);
    f.f = var_new(f.x, "f", TY_F32, 0, 0);
    f.b = var_new(f.x, "b", TY_BOOL, 0, 1);
    const Expr *d[2] = {ex_var(f.x, f.n), ex_int(f.x, 64)};
    f.w = buffer_new(f.x, "w", TY_U32, SCOPE_ARG, 1, d + 1);
    f.t = buffer_new(f.x, "t", TY_F32, SCOPE_ARG, 2, d);
    return f;
}

static const Var *find_var(void *user, Str name) {
    Fix *f = user;
    const Var *all[] = {f->i, f->n, f->u, f->f, f->b};
    for (size_t k = 0; k < COUNT_OF(all); k++)
        if (str_eq(str_c(all[k]->name), name)) return all[k];
    return NULL;
}

static const Buffer *find_buffer(void *user, Str name) {
    Fix *f = user;
    return str_eq(name, S("w")) ? f->w : str_eq(name, S("t")) ? f->t : NULL;
}

static const Expr *read(Fix *f, const char *text) {
    Reader r = {str_c(text), 0, 1, 1};
    f->err = (Err){0};
    const Expr *e = expr_read(f->x, &r, &(ExprNames){find_var, find_buffer, f}, &f->err);
    if (e) assert_int_equal(r.pos, r.text.len);
    return e;
}

static void prints(Fix *f, const char *from, const char *to) {
    const Expr *e = read(f, from);
    if (!e) print_message("%s: %s\n", from, f->err.msg);
    assert_non_null(e);
    Buf b = {.arena = f->a};
    expr_print(e, &b);
    assert_string_equal(b.ptr, to);
    assert_ptr_equal(read(f, to), e);
}

static void same(Fix *f, const char *text) { prints(f, text, text); }

static void text_reads_back_to_the_same_node(void **state) {
    (void)state;
    Fix f = fix_new();
    same(&f, "f32(w[i*18 + n] >> 4u & 15u) * t[n, i]");
    same(&f, "select(i < n && !b, f, bits_f32(u | 1u))");
    same(&f, "i - (n - 3)*2");
    same(&f, "i - (n - 3 - i)");
    same(&f, "(i + n)//8%4");
    same(&f, "i//(n*8)");
    same(&f, "f16lo(u) + f16hi(u) * floor(sqrt(f))");
    same(&f, "mulhi(u, u ^ 7u) >> (u & 31u)");
    same(&f, "min(i, max(n, -5)) == 3");
    same(&f, "(i < n) == (n <= i)");
    same(&f, "exp(f) + sin2pi(f) * cos2pi(f) / subgroup_add(f)");
    same(&f, "fma(f, f, subgroup_at(f, 3, 4)) + f32(subgroup_at(u, 0, 8))");
    same(&f, "(f + f) * f - (f - f)");
    same(&f, "-2147483648");
    prints(&f, "  ( 3 + i ) # a note", "i + 3");
    prints(&f, "1.5 + f", "0x1.8p+0f + f");
    prints(&f, "i > n || i >= n", "n < i || n <= i");
    prints(&f, "0x10u + u", "u + 16u");
    prints(&f, "-i", "0 - i");
    arena_free(f.a);
}

static void constructors_fold(void **state) {
    (void)state;
    Fix f = fix_new();
    prints(&f, "i + 0", "i");
    prints(&f, "i*1 + 0*n", "i");
    prints(&f, "i - i", "0");
    prints(&f, "i + 2 + 3", "i + 5");
    prints(&f, "-7//2", "-4");
    prints(&f, "-7%2", "1");
    prints(&f, "2147483647 + 1", "-2147483648");
    prints(&f, "4294967295u + 2u", "1u");
    prints(&f, "mulhi(4294967295u, 4294967295u)", "4294967294u");
    prints(&f, "-16 >> 2", "-4");
    prints(&f, "select(true, f, 0x1p+0f)", "f");
    prints(&f, "select(!b, f, 0x1p+0f)", "select(b, 0x1p+0f, f)");
    prints(&f, "!!b && true", "b");
    prints(&f, "i32(0x1p+40f)", "2147483647");
    prints(&f, "u32(-0x1p+0f)", "0u");
    prints(&f, "i32(u32(i))", "i");
    prints(&f, "bits_u32(bits_f32(u))", "u");
    prints(&f, "f16lo(15360u)", "0x1p+0f");
    prints(&f, "f16hi(65536u)", "0x1p-24f"); // the smallest half
    prints(&f, "sqrt(0x1p+4f)", "0x1p+2f");
    assert_ptr_equal(ex_f32(f.x, INFINITY), ex_f32(f.x, 0x1.fffffep+127));
    assert_ptr_not_equal(ex_f32(f.x, -0.0), ex_f32(f.x, 0.0));
    arena_free(f.a);
}

static void refused(Fix *f, const char *text, ErrId id, int col) {
    assert_null(read(f, text));
    if (f->err.id != id || f->err.col != col)
        print_message("%s: %s at %d: %s\n", text, err_name(f->err.id), f->err.col, f->err.msg);
    assert_int_equal(f->err.id, id);
    assert_int_equal(f->err.line, 1);
    assert_int_equal(f->err.col, col);
}

static void errors_say_where(void **state) {
    (void)state;
    Fix f = fix_new();
    refused(&f, "i + ", ERR_EXPR_SYNTAX, 5);
    refused(&f, "(i + 2", ERR_EXPR_SYNTAX, 7);
    refused(&f, "i + 99999999999", ERR_EXPR_SYNTAX, 5);
    refused(&f, "1e999", ERR_EXPR_SYNTAX, 1);
    refused(&f, "0x1.8", ERR_EXPR_SYNTAX, 1);
    refused(&f, "3 + q", ERR_EXPR_NAME, 5);
    refused(&f, "q[1]", ERR_EXPR_NAME, 1);
    refused(&f, "tan(f)", ERR_EXPR_NAME, 1);
    refused(&f, "i + u", ERR_EXPR_TYPE, 3);
    refused(&f, "i && b", ERR_EXPR_TYPE, 3);
    refused(&f, "i / n", ERR_EXPR_TYPE, 3);
    refused(&f, "i // 0", ERR_EXPR_TYPE, 3);
    refused(&f, "i % -3", ERR_EXPR_TYPE, 3);
    refused(&f, "!i", ERR_EXPR_TYPE, 1);
    refused(&f, "-b", ERR_EXPR_TYPE, 1);
    refused(&f, "t[i]", ERR_EXPR_TYPE, 1);
    refused(&f, "w[f]", ERR_EXPR_TYPE, 1);
    refused(&f, "min(i, n, i)", ERR_EXPR_TYPE, 1);
    refused(&f, "select(i, n, i)", ERR_EXPR_TYPE, 1);
    refused(&f, "f32()", ERR_EXPR_TYPE, 1);
    refused(&f, "min(1, 2, 3, 4, 5)", ERR_EXPR_SYNTAX, 16);
    arena_free(f.a);
}

static void deep_and_long_texts_are_refused(void **state) {
    (void)state;
    Fix f = fix_new();
    char text[4100];
    memset(text, '(', sizeof text - 1);
    text[sizeof text - 1] = 0;
    assert_null(read(&f, text));
    assert_int_equal(f.err.id, ERR_EXPR_DEPTH);
    for (int k = 0; k + 2 < (int)sizeof text; k += 2) text[k] = 'i', text[k + 1] = '*';
    assert_null(read(&f, text));
    assert_int_equal(f.err.id, ERR_EXPR_DEPTH);
    memset(text, '!', sizeof text - 1);
    assert_null(read(&f, text));
    assert_int_equal(f.err.id, ERR_EXPR_DEPTH);
    arena_free(f.a);
}

// ---- values -------------------------------------------------------------------------------------

static bool value_of(void *user, const Var *v, Value *out) {
    Fix *f = user;
    *out = (Value){v->type, {.i = 0}};
    if (v == f->i)
        out->i = -7;
    else if (v == f->n)
        return false; // has no value
    else if (v == f->u)
        out->i = 0xfffffff0;
    else if (v == f->f)
        out->f = 0.1;
    else
        out->i = 1;
    return true;
}

static bool load_of(void *user, const Buffer *b, const i64 *idx, Value *out) {
    (void)user;
    *out = (Value){b->type, {.i = 0}};
    if (b->type == TY_F32)
        out->f = (double)(idx[0] * 100 + idx[1]);
    else
        out->i = idx[0];
    return idx[0] >= 0 && idx[0] < 64;
}

static double eval(Fix *f, const char *text, bool f32) {
    Env env = {value_of, load_of, f, f32};
    Value v;
    const Expr *e = read(f, text);
    assert_non_null(e);
    if (!expr_eval(e, &env, &v)) return NAN;
    assert_int_equal(v.type, e->type);
    return v.type == TY_F32 ? v.f : (double)v.i;
}

static void values_are_what_the_table_says(void **state) {
    (void)state;
    Fix f = fix_new();
    assert_true(eval(&f, "i//2", false) == -4);
    assert_true(eval(&f, "i%4", false) == 1);
    assert_true(eval(&f, "i >> 1", false) == -4);
    assert_true(eval(&f, "u >> 28u", false) == 15);
    assert_true(eval(&f, "u + 32u", false) == 16);
    assert_true(eval(&f, "i32(u)", false) == -16);
    assert_true(eval(&f, "u32(i)", false) == 4294967289.0);
    assert_true(eval(&f, "mulhi(u, u)", false) == 4294967264.0);
    assert_true(eval(&f, "i32(f * 0x1p+40f)", false) == 2147483647);
    assert_true(eval(&f, "select(b && i < 0, f, 0x1p+0f)", false) == 0.1);
    assert_true(eval(&f, "f * 0x1p+0f", false) == 0.1);
    assert_true(eval(&f, "f * 0x1.8p+0f", true) == (double)(float)(0.1 * 1.5));
    assert_true(eval(&f, "t[2, 3] + f32(w[5])", false) == 208);
    assert_true(eval(&f, "floor(f - 0x1p+0f)", false) == -1);
    assert_true(eval(&f, "bits_u32(0x1p+0f + f32(i + 7))", false) == 0x3f800000);
    assert_true(fabs(eval(&f, "exp(f)", false) - exp(0.1)) < 1e-15);
    assert_true(fabs(eval(&f, "sin2pi(0x1p-2f + f - f)", false) - 1) < 1e-15);
    assert_true(isnan(eval(&f, "n + 1", false)));          // no value
    assert_true(eval(&f, "select(b, i, n)", false) == -7); // the branch taken has one
    assert_true(isnan(eval(&f, "t[i, 0]", false)));        // a load without a value
    assert_true(isnan(eval(&f, "4//(i + 7)", false)));     // division by zero
    assert_true(isnan(eval(&f, "1u << u", false)));        // too far
    arena_free(f.a);
}

static void shared_nodes_are_evaluated_once(void **state) {
    (void)state;
    Fix f = fix_new();
    const Expr *e = ex_var(f.x, f.f);
    for (int i = 0; i < 60; i++) // 2^60 nodes as a tree
        e = ex_add(f.x, e, e);
    Env env = {value_of, load_of, &f, false};
    Value v;
    assert_true(expr_eval(e, &env, &v));
    assert_true(v.f == 0.1 * 0x1p60);
    assert_ptr_equal(expr_simplify(f.x, e), e);
    i64 lo, hi;
    assert_false(expr_range(e, &lo, &hi));
    assert_true(expr_uses(e, f.f));
    assert_false(expr_uses(e, f.i));
    arena_free(f.a);
}

// ---- over and over ------------------------------------------------------------------------------

typedef struct Twice {
    Fix *f;
    i64 i, k;
    int loads;
} Twice;

static bool twice_var(void *user, const Var *v, Value *out) {
    const Twice *w = user;
    if (v != w->f->i && v != w->f->n) return value_of(w->f, v, out);
    *out = (Value){v->type, {.i = v == w->f->i ? w->i : w->k}};
    return true;
}

static bool twice_load(void *user, const Buffer *b, const i64 *idx, Value *out) {
    ((Twice *)user)->loads++;
    return load_of(NULL, b, idx, out);
}

static int twice_level(void *user, const Var *v) {
    const Fix *f = user;
    return v == f->i ? 1 : v == f->n ? 2 : 0; // n goes round within i
}

// The same values and as many of them missing as expr_eval finds, and each load only when what it
// hangs on has changed.
static void what_did_not_change_is_not_found_again(void **state) {
    (void)state;
    static const struct {
        const char *text;
        int loads; // of 8 times 8; 0: do not count
    } cases[] = {
        {"t[i, 1] * t[n, 2] + t[3, 3]", 1 + 8 + 64},
        {"select(n < i, t[i - n - 1, 0], t[3, 1])", 0},
        {"select(n < i, t[n - i, 0], t[3, 1] + t[3, 1])", 0},
        {"f32(select(n == 0, 1, 7//n) + select(i == n, 5, 9//(i - n)))", 0},
        {"select(b, f, f32(4//(i - n)))", 0},
        {"t[n, i] + select(n < 4, select(i < 4, t[n, i], t[4, 4]), t[i, i])", 0},
        {"f32(8//n) + t[i, 0]", 0},
    };
    for (size_t c = 0; c < COUNT_OF(cases); c++) {
        Fix f = fix_new();
        Twice w = {.f = &f};
        Env env = {twice_var, twice_load, &w, false};
        const Expr *e = read(&f, cases[c].text);
        if (!e) fail_msg("%s: %s", cases[c].text, f.err.msg);
        Again *g = again_new(f.a, twice_level, &f);
        u32 root = again_add(g, e), other = again_add(g, e);
        for (w.i = 0; w.i < 8; w.i++) {
            again_changed(g, 1);
            for (w.k = 0; w.k < 8; w.k++) {
                Value want = {0}, got = {0};
                if (w.k) again_changed(g, 2);
                int before = w.loads;
                bool ok = expr_eval(e, &env, &want);
                w.loads = before;
                assert_int_equal(again_eval(g, root, &env, &got), ok);
                assert_true(!ok || (got.type == want.type && got.f == want.f));
                before = w.loads;
                if ((w.i + w.k) % 3 == 0) assert_int_equal(again_eval(g, other, &env, &got), ok);
                if (ok) { // it is known now
                    w.loads = before;
                    assert_true(again_eval(g, root, &env, &got) && got.f == want.f);
                    assert_int_equal(w.loads, before);
                }
                w.loads = before;
            }
        }
        if (cases[c].loads) assert_int_equal(w.loads, cases[c].loads);
        arena_free(f.a);
    }
    Fix f = fix_new(); // what shares much across branches is found as ever
    const Expr *e = ex_var(f.x, f.f), *b = ex_lt(f.x, ex_int(f.x, 0), ex_var(f.x, f.i));
    for (int i = 0; i < 30; i++) e = ex_select(f.x, b, ex_add(f.x, e, e), ex_mul(f.x, e, e));
    Twice w = {.f = &f, .i = 1};
    Env env = {twice_var, twice_load, &w, false};
    Again *g = again_new(f.a, twice_level, &f);
    Value v;
    assert_true(again_eval(g, again_add(g, e), &env, &v) && v.f == 0.1 * 0x1p30);
    arena_free(f.a);
}

// ---- ranges -------------------------------------------------------------------------------------

static void range(Fix *f, const char *text, i64 lo, i64 hi, i64 divisor) {
    i64 l, h;
    const Expr *e = read(f, text);
    assert_non_null(e);
    expr_range(e, &l, &h);
    if (l != lo || h != hi || expr_divisor(e) != divisor)
        print_message("%s: %ld..%ld by %ld\n", text, (long)l, (long)h, (long)expr_divisor(e));
    assert_int_equal(l, lo);
    assert_int_equal(h, hi);
    assert_int_equal(expr_divisor(e), divisor);
}

static void ranges_and_divisors_follow_from_the_parts(void **state) {
    (void)state;
    Fix f = fix_new();
    range(&f, "i*12 + 8", -112, 248, 4);
    range(&f, "i*i", -200, 400, 1);
    range(&f, "i//8", -2, 2, 1);
    range(&f, "i*16//8", -20, 40, 2);
    range(&f, "i%8", 0, 7, 1);
    range(&f, "n%300", 1, 256, 1);
    range(&f, "i*6%4", 0, 3, 2);
    range(&f, "min(i, 3)", -10, 3, 1);
    range(&f, "max(n*4, i*8)", 4, 1024, 4);
    range(&f, "u & 12u", 0, 12, 4);
    range(&f, "u*8u", 0, UINT32_MAX, 8);
    range(&f, "u + 1u", 0, UINT32_MAX, 1);
    range(&f, "u*12u", 0, UINT32_MAX, 4); // it wraps: only powers of two survive
    range(&f, "u >> 28u", 0, 15, 1);
    range(&f, "w[i]", 0, UINT32_MAX, 1);
    range(&f, "i32(f)", INT32_MIN, INT32_MAX, 1);
    range(&f, "i32(b)", 0, 1, 1);
    range(&f, "u32(n)", 1, 256, 1);
    range(&f, "u32(i)", 0, UINT32_MAX, 1);
    range(&f, "select(b, 8, n*2)", 2, 512, 2);
    range(&f, "i*2147483647", INT32_MIN, INT32_MAX, 2147483647);
    f.n->divisor = 32;
    range(&f, "n//8", 0, 32, 4);
    f.w->lo = 3, f.w->hi = 9;
    range(&f, "w[i]*2u", 6, 18, 2);
    arena_free(f.a);
}

static const Expr *double_loads(void *user, Exprs *x, const Expr *e) {
    (void)user;
    return e->op == EX_LOAD ? ex_add(x, e, e) : e;
}

static void maps_rebuild_and_substitutions_replace(void **state) {
    (void)state;
    Fix f = fix_new();
    const Expr *e = read(&f, "w[i + 1] + u");
    assert_ptr_equal(expr_map(f.x, e, double_loads, NULL), read(&f, "w[i + 1] + w[i + 1] + u"));
    const Var *v[2] = {f.i, f.u};
    const Expr *by[2] = {ex_int(f.x, 2), read(&f, "u >> 1u")};
    assert_ptr_equal(expr_subst(f.x, e, v, by, 2), read(&f, "w[3] + (u >> 1u)"));
    assert_true(expr_loads(e, f.w));
    assert_false(expr_loads(e, f.t));
    assert_true(expr_uses(e, f.i));
    assert_false(expr_uses(e, f.n));
    arena_free(f.a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_reads_back_to_the_same_node),
        cmocka_unit_test(constructors_fold),
        cmocka_unit_test(errors_say_where),
        cmocka_unit_test(deep_and_long_texts_are_refused),
        cmocka_unit_test(values_are_what_the_table_says),
        cmocka_unit_test(shared_nodes_are_evaluated_once),
        cmocka_unit_test(what_did_not_change_is_not_found_again),
        cmocka_unit_test(ranges_and_divisors_follow_from_the_parts),
        cmocka_unit_test(maps_rebuild_and_substitutions_replace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
