// The functions that printed kernels stand on are small: each is one expression of at most five
// operations on values, without a loop, a pointer or an array.
//
// An operation is a sign (`?:` is one) or a call. None are: a cast and what is spelled like one
// (x_as_y, bitcast), a vector of a scalar's copies (x_of), the sign of a constant.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include "emit/emit.h"

enum { MOST = 5 };

static bool word_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

static bool is_free(Str name) {
    return str_ends(name, S("_of")) || str_has(name, S("_as_")) || str_eq(name, S("bitcast"));
}

// Of a function's body; -1: it holds what no such function may.
static int operations(Str e) {
    static const char *const never[] = {"for", "while", "do", "loop", "goto", "asm"};
    static const char *const signs[] = {"<<", ">>", "<=", ">=", "==", "!=", "&&", "||"};
    bool value = false; // stands one before this place, so that a sign has two sides?
    int n = 0;
    for (size_t i = 0; i < e.len;) {
        Str one = {e.ptr + i, 1};
        char c = *one.ptr;
        if (word_char(c)) {
            bool number = c >= '0' && c <= '9';
            while (i + one.len < e.len && // 0x1.8p+31f holds two signs that are none
                   (word_char(one.ptr[one.len]) ||
                    (number && (one.ptr[one.len] == '.' || one.ptr[one.len - 1] == 'p'))))
                one.len++;
            i += one.len;
            for (size_t k = 0; k < COUNT_OF(never); k++)
                if (str_eq(one, str_c(never[k]))) return -1;
            if (str_eq(one, S("bitcast"))) // <type>
                while (i < e.len && e.ptr[i] != '(') i++;
            n += i < e.len && e.ptr[i] == '(' && !is_free(one);
            value = !str_eq(one, S("return"));
            continue;
        }
        for (size_t k = 0; k < COUNT_OF(signs); k++)
            if (str_starts(str_sub(e, i, e.len), str_c(signs[k]))) one.len = 2;
        i += one.len;
        if (c == ' ') continue;
        bool address = c == '&' && one.len == 1 && !value;
        bool of_number = c == '-' && !value && i < e.len && e.ptr[i] >= '0' && e.ptr[i] <= '9';
        if (c == '[' || address) return -1;
        n += !str_has(S("(){},.:;"), one) && !of_number;
        value = c == ')' || c == '}';
    }
    return n;
}

// Every function of a text that has one a line, each headed by the dialect's word for it.
static int check_all(Str text, const char *word, int *most) {
    int n = 0;
    for (Str line; text.len;) {
        line = str_cut(text, '\n', &text);
        if (!line.len || str_starts(line, S("#")) || str_starts(line, S("typedef "))) continue;
        Str body, head = str_cut(line, '{', &body);
        if (!str_starts(line, str_c(word))) fail_msg("what is this? %.*s", (int)line.len, line.ptr);
        if (str_has(head, S("*")) || str_has(head, S("[")) || str_has(head, S("<")))
            fail_msg("takes or gives more than values: %.*s", (int)line.len, line.ptr);
        int ops = operations(body);
        if (ops < 0) fail_msg("a loop, a pointer or an array: %.*s", (int)line.len, line.ptr);
        if (ops > MOST) fail_msg("%d operations: %.*s", ops, (int)line.len, line.ptr);
        *most = MAX2(*most, ops);
        n++;
    }
    return n;
}

static void operations_are_counted_as_said(void **state) {
    (void)state;
    static const struct {
        const char *body;
        int n;
    } cases[] = {
        {" return a; }", 0},
        {" return (f32x4)((a & 0x7fffu) << 13) * 0x1p+112f; }", 3},
        {" return a >= -0x1p+31f ? (i32)a : -a; }", 3},
        {" return f4_select(b < a, f4_of(-0x1.8p+3f), g(b)); }", 3},
        {" return s + (bitcast<i32>(a) >> 24u); }", 2},
        {" return (union { f32 a; i32 b; }){a}.b; }", 0},
        {" return !a && b == c; }", 3},
        {" for (i32 i = 0; i < 4; i++) a += b; return a; }", -1},
        {" return f(&a); }", -1},
        {" return a[0]; }", -1},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_int_equal(operations(str_c(cases[i].body)), cases[i].n);
}

// All instruction sets stand in one text, behind conditions for the compiler.
static void functions_of_the_c_prelude_are_small(void **state) {
    (void)state;
    static const char *const profiles[] = {"cpu4", "cpu", "cpu16"}; // lanes of a vector
    static const char *const sets[] = {"__AVX512VNNI__", "__AVX512F__",        "__AVX2__",
                                       "__F16C__",       "__wasm_simd128__",   "__aarch64__",
                                       "__wasm_relaxed", "__ARM_FEATURE_DOTPR"};
    int n[COUNT_OF(profiles)], most = 0;
    for (size_t i = 0; i < COUNT_OF(profiles); i++) {
        Arena *a = arena_new(NULL);
        Buf text = {.arena = a};
        Profile p;
        assert_true(profile_named(str_c(profiles[i]), &p));
        emit_prelude(&dialect_c, &p, &text);
        n[i] = check_all(buf_str(&text), "IDIOM ", &most);
        for (size_t k = i < 2 ? COUNT_OF(sets) : 0; k < COUNT_OF(sets); k++)
            if (!str_has(buf_str(&text), str_c(sets[k]))) fail_msg("nothing for %s", sets[k]);
        arena_free(a);
    }
    assert_true(n[0] > 80 && n[1] > n[0] + 30 && n[2] > n[1] + 30 && most == MOST);
}

// A module has those that it needs: this one needs all.
static void functions_of_a_wgsl_module_are_small(void **state) {
    (void)state;
    static const char *const names[] = {"i32_dot4(", "u32_mulhi(", "i32_div(", "i32_mod("};
    Str kernel = S("kernel all\n  arg u: u32[64]\n  arg i: i32[64] in -9..9\n"
                   "  arg y: i32[64] written\n  wg 64, 1, 1\n  grid 1\n"
                   "  for thread.x t in 0..64 {\n"
                   "    y[t] = dot4(i[t]//7 + i[t]%3, u[t], mulhi(u[t], u[0]))\n  }\n");
    for (int dot4 = 0; dot4 < 2; dot4++) {
        Arena *a = arena_new(NULL);
        Buf text = {.arena = a};
        Err e = {0};
        Profile p;
        int most = 0;
        assert_true(profile_named(S("gpu"), &p));
        p.dot4 = dot4;
        Kernel *k = kernel_read(a, kernel, S("all.hir"), &e);
        if (!k || !emit_kernel(&dialect_wgsl, k, &p, &text, &e)) fail_msg("%s", e.msg);
        Str module = buf_str(&text);
        size_t from = 0, to = 0;
        while (from < module.len && !str_starts(str_sub(module, from, module.len), S("fn ")))
            from++;
        while (to < module.len && !str_starts(str_sub(module, to, module.len), S("@compute"))) to++;
        Str functions = str_sub(module, from, to);
        assert_true(check_all(functions, "fn ", &most) >= (dot4 ? 13 : 15) && most <= MOST);
        for (size_t i = 0; i < COUNT_OF(names); i++)
            assert_true(str_has(functions, str_fmt(a, "fn %s", names[i])));
        arena_free(a);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operations_are_counted_as_said),
        cmocka_unit_test(functions_of_the_c_prelude_are_small),
        cmocka_unit_test(functions_of_a_wgsl_module_are_small),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
