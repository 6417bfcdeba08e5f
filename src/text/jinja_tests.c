// text/jinja_tests.c: the tests after `is`, one row each.
#include "text/jinja_int.h"

typedef bool (*TestFn)(Jinja *j, JVal v, JVal arg, bool *out);
#define TEST(name) static bool name(Jinja *j, JVal v, JVal arg, bool *out)
// A test that looks at the value alone and cannot fail.
#define PLAIN(name, cond)                                                                          \
    TEST(name) {                                                                                   \
        (void)j, (void)arg;                                                                        \
        *out = (cond);                                                                             \
        return true;                                                                               \
    }

PLAIN(t_defined, v.type != J_UNDEFINED)
PLAIN(t_undefined, v.type == J_UNDEFINED)
PLAIN(t_none, v.type == J_NONE)
PLAIN(t_string, v.type == J_STR)
PLAIN(t_number, v.type == J_INT || v.type == J_FLOAT || v.type == J_BOOL)
PLAIN(t_integer, v.type == J_INT)
PLAIN(t_float, v.type == J_FLOAT)
PLAIN(t_boolean, v.type == J_BOOL)
PLAIN(t_mapping, v.type == J_DICT)
PLAIN(t_iterable, v.type == J_UNDEFINED || v.type == J_STR || v.type == J_DICT ||
                      v.type == J_RANGE || v.type == J_LOOP || jval_is_seq(v))
PLAIN(t_sequence, v.type == J_UNDEFINED || v.type == J_STR || v.type == J_DICT ||
                      v.type == J_RANGE || v.type == J_LIST || v.type == J_TUPLE)
PLAIN(t_true, v.type == J_BOOL && v.b)
PLAIN(t_false, v.type == J_BOOL && !v.b)
PLAIN(t_callable, v.type == J_MACRO || v.type == J_FUNC || v.type == J_METHOD ||
                      v.type == J_JOINER || v.type == J_LOOP || v.type == J_UNDEFINED)
PLAIN(t_escaped, v.type == J_STR && v.markup)

TEST(t_sameas) {
    if (v.type != arg.type) {
        *out = false;
        return true;
    }
    if (v.type == J_LIST || v.type == J_TUPLE || v.type >= J_DICT) {
        *out = v.list == arg.list;
        return true;
    }
    return jval_eq(j, v, arg, out);
}

static bool compare(Jinja *j, JVal x, JVal y, const char *op, int *c) {
    return jval_cmp(j, x, y, op, c);
}

TEST(t_eq) { return jval_eq(j, v, arg, out); }

TEST(t_ne) {
    bool same;
    if (!jval_eq(j, v, arg, &same)) return false;
    *out = !same;
    return true;
}

#define ORDER(name, op, cond)                                                                      \
    TEST(name) {                                                                                   \
        int c;                                                                                     \
        if (!compare(j, v, arg, op, &c)) return false;                                             \
        *out = (cond);                                                                             \
        return true;                                                                               \
    }
ORDER(t_lt, "<", c == -1)
ORDER(t_le, "<=", c <= 0)
ORDER(t_gt, ">", c == 1)
ORDER(t_ge, ">=", c == 0 || c == 1)

TEST(t_in) { return jinja_in(j, v, arg, out); }

static bool divides(Jinja *j, JVal v, JVal by, JVal is, bool *out) {
    JVal rest;
    return jinja_binary(j, '%', v, by, &rest) && jval_eq(j, rest, is, out);
}

TEST(t_odd) {
    (void)arg;
    return divides(j, v, jval_int(2), jval_int(1), out);
}
TEST(t_even) {
    (void)arg;
    return divides(j, v, jval_int(2), jval_int(0), out);
}
TEST(t_divisibleby) { return divides(j, v, arg, jval_int(0), out); }

static bool cased(Jinja *j, JVal v, const char *method, bool *out) {
    Str s;
    JMethod m = {0};
    JVal r;
    JArgs none = {0};
    if (!jval_text(j, v, &s) || !jinja_method_find(J_STR, str_c(method), &m.row)) return false;
    m.self = jval_str(s);
    if (!jinja_method_call(j, &m, &none, &r)) return false;
    *out = r.b;
    return true;
}

TEST(t_upper) {
    (void)arg;
    return cased(j, v, "isupper", out);
}
TEST(t_lower) {
    (void)arg;
    return cased(j, v, "islower", out);
}

TEST(t_filter) {
    (void)j, (void)arg;
    *out = v.type == J_STR && jinja_filter_find(v.s) >= 0;
    return true;
}

TEST(t_test) {
    (void)j, (void)arg;
    *out = v.type == J_STR && jinja_test_find(v.s) >= 0;
    return true;
}

static const struct {
    const char *name;
    int args; // 0 or 1
    TestFn fn;
} rows[] = {
    {"!=", 1, t_ne},
    {"<", 1, t_lt},
    {"<=", 1, t_le},
    {"==", 1, t_eq},
    {">", 1, t_gt},
    {">=", 1, t_ge},
    {"boolean", 0, t_boolean},
    {"callable", 0, t_callable},
    {"defined", 0, t_defined},
    {"divisibleby", 1, t_divisibleby},
    {"eq", 1, t_eq},
    {"equalto", 1, t_eq},
    {"escaped", 0, t_escaped},
    {"even", 0, t_even},
    {"false", 0, t_false},
    {"filter", 0, t_filter},
    {"float", 0, t_float},
    {"ge", 1, t_ge},
    {"greaterthan", 1, t_gt},
    {"gt", 1, t_gt},
    {"in", 1, t_in},
    {"integer", 0, t_integer},
    {"iterable", 0, t_iterable},
    {"le", 1, t_le},
    {"lessthan", 1, t_lt},
    {"lower", 0, t_lower},
    {"lt", 1, t_lt},
    {"mapping", 0, t_mapping},
    {"ne", 1, t_ne},
    {"none", 0, t_none},
    {"number", 0, t_number},
    {"odd", 0, t_odd},
    {"sameas", 1, t_sameas},
    {"sequence", 0, t_sequence},
    {"string", 0, t_string},
    {"test", 0, t_test},
    {"true", 0, t_true},
    {"undefined", 0, t_undefined},
    {"upper", 0, t_upper},
};

i32 jinja_test_find(Str name) {
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (str_eq(name, str_c(rows[i].name))) return (i32)i;
    return -1;
}

bool jinja_test(Jinja *j, i32 row, JVal v, const JArgs *args, bool *out) {
    if (args->n != (size_t)rows[row].args || args->nkw)
        return jinja_fail(j, ERR_JINJA_ARGS,
                          rows[row].args ? "the test %s wants one argument"
                                         : "the test %s wants no argument",
                          rows[row].name);
    return rows[row].fn(j, v, args->n ? args->pos[0] : (JVal){0}, out);
}
