// tests/graph/graph_test.c: graphs as text: round trip, and errors that say where.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "graph/graph.h"

#define HEAD "graph ctx=64 chunk=16 m=2 vocab=100 layers=1\n"
#define TABLES                                                                                     \
    "weight e: q8_0[100, 32] x4 = tok[0+100]\nweight \"odd name\\22\": f32[32] = g[0+32]\n"        \
    "ring tokens: i32[4096]\nconst freq: u32[4] = 1 2 3 4294967295\ncache kv: f32[4, 64, 16] @0\n"

static void every_operator_reads_back_as_printed(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Str text = S(HEAD TABLES "weight w: q4_0[64, 32] x4 = a[0+32*2], b[1+32*2] @0\n"
                             "table = rope_table(freq) {rot_dim=8}\n"
                             "x = embed(e, tokens) # a comment\n"
                             "h = rms_norm(x, \"odd name\\22\") {eps=1e-5} @0\n"
                             "w2 = matmul(h, w) : f32[n, 64] @0\n"
                             "f = silu_mul_pair(w2) @0\n"
                             "f2 = silu_mul(f, h) @0\n"
                             "q = rope(f2, table) {heads=2, head_dim=16, rot_dim=8} @0\n"
                             "append(q, kv) {kv_heads=2, head_dim=16, keys=1} @0\n"
                             "append(f2, kv) {kv_heads=2, head_dim=16} @0\n"
                             "y = attention(q, kv) {heads=2, kv_heads=2, head_dim=16} @0\n"
                             "z = add(x, y) @0\n"
                             "last = take_rows(z)\n"
                             "logits out = matmul(last, e)\n"
                             "argmax(out, tokens)\nsample(out, tokens)\n");
    Err err = {0};
    Graph *g = graph_read(a, text, S("t.hgraph"), &err);
    assert_int_equal(err.id, ERR_NONE);
    assert_non_null(g);
    Buf once = {.arena = a}, twice = {.arena = a};
    graph_print(g, &once);
    Graph *again = graph_read(a, buf_str(&once), S("t.hgraph"), &err);
    assert_non_null(again);
    graph_print(again, &twice);
    assert_true(str_eq(buf_str(&once), buf_str(&twice)));
    assert_true(str_has(buf_str(&once), S("\"odd name\\22\"")));
    assert_true(str_has(buf_str(&once), S("w2 = matmul(h, w) : f32[n, 64] @0\n")));
    assert_true(str_has(buf_str(&once), S("logits out = matmul(last, e) : f32[m, 100]\n")));
    arena_free(a);
}

typedef struct Wrong {
    const char *text;
    ErrId id;
    int line;
} Wrong;

static void errors_say_where_and_what(void **state) {
    (void)state;
    static const Wrong wrong[] = {
        {"", ERR_GRAPH_SYNTAX, 1},
        {"model ctx=1\n", ERR_GRAPH_SYNTAX, 1},
        {"graph ctx=64 chunk=0 m=1 vocab=100 layers=1\n", ERR_GRAPH_SYNTAX, 1},
        {"graph ctx=64 chunk=4 m=8 vocab=100 layers=1\n", ERR_GRAPH_LIMIT, 0},
        {"graph ctx=99999999999999999999 chunk=4 m=8 vocab=100 layers=1\n", ERR_GRAPH_SYNTAX, 1},
        {HEAD "y = nonsense(x)\n", ERR_GRAPH_OP, 2},
        {HEAD "y = embed(e, tokens)\n", ERR_GRAPH_NAME, 2},
        {HEAD TABLES "x = embed(e)\n", ERR_GRAPH_TYPE, 7},
        {HEAD TABLES "x = embed(tokens, e)\n", ERR_GRAPH_TYPE, 7},
        {HEAD TABLES "x = embed(e, tokens)\nx = embed(e, tokens)\n", ERR_GRAPH_NAME, 8},
        {HEAD TABLES "x = embed(e, tokens) : f32[n, 33]\n", ERR_GRAPH_SHAPE, 7},
        {HEAD TABLES "x = embed(e, tokens) : f32[m, 32]\n", ERR_GRAPH_SHAPE, 7},
        {HEAD TABLES "x = embed(e, tokens)\ny = silu_mul_pair(x, x)\n", ERR_GRAPH_TYPE, 8},
        {HEAD TABLES "x = embed(e, tokens) {eps=fast}\n", ERR_GRAPH_SYNTAX, 7},
        {HEAD TABLES "x = embed(e, tokens) {eps=8020000000000000000000}\n", ERR_GRAPH_SYNTAX, 7},
        {HEAD TABLES "x = embed(e, tokens) {wings=2}\n", ERR_GRAPH_SYNTAX, 7},
        {HEAD TABLES "x = embed(e, tokens) trailing\n", ERR_GRAPH_SYNTAX, 7},
        {HEAD TABLES "embed(e, tokens)\n", ERR_GRAPH_SYNTAX, 7},
        {HEAD TABLES
         "x = embed(e, tokens)\ny = attention(x, kv) {heads=2, kv_heads=2, head_dim=16}\n",
         ERR_GRAPH_ORDER, 0}, // the cache is read before anything was appended
        {HEAD TABLES
         "x = embed(e, tokens)\ny = attention(x, kv) {heads=3, kv_heads=2, head_dim=16}\n",
         ERR_GRAPH_SHAPE, 8},
        {HEAD TABLES "x = embed(e, tokens) @7\n", ERR_GRAPH_LIMIT, 0}, // of layers=1
        {HEAD "weight e: q9_9[100, 32] = t[0+100]\n", ERR_GRAPH_SYNTAX, 2},
        {HEAD "weight e: f32[100, 32] = t[0+50]\n", ERR_GRAPH_SHAPE, 2},
        {HEAD "weight e: f32[100, 32] = t[1+100]\n", ERR_GRAPH_SHAPE, 2},
        {HEAD "weight e: f32[n, 32] = t[0+100]\n", ERR_GRAPH_SHAPE, 2},
        {HEAD "weight e: q4_0[100, 33] = t[0+100]\n", ERR_PASS_ENCODING, 0},
        {HEAD "weight e: f32[2000000000, 2000000000] = t[0+2000000000]\n", ERR_GRAPH_SHAPE, 0},
        {HEAD "weight e: f32[4, 4, 4, 4] = t[0+4]\n", ERR_GRAPH_SYNTAX, 2},
        {HEAD "const c: u32[3] = 1 2\n", ERR_GRAPH_SYNTAX, 2},
        {HEAD "const c: u32[99999999] = 1 2\n", ERR_GRAPH_SHAPE, 2},
        {HEAD "const c: u32[1] = -1\n", ERR_GRAPH_SYNTAX, 2},
        {HEAD "ring r: i32[4095]\n", ERR_GRAPH_SHAPE, 2},
        {HEAD "cache \"never ends: f32[2, 64, 16]\n", ERR_GRAPH_SYNTAX, 2},
        {HEAD "cache \"bad\\zz\": f32[2, 64, 16]\n", ERR_GRAPH_SYNTAX, 2},
        {HEAD "cache kv: f32[9000000000, 64, 16]\n", ERR_GRAPH_SYNTAX, 2},
        {HEAD "cache kv: f32[2*q, 64, 16]\n", ERR_GRAPH_SYNTAX, 2},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        Arena *a = arena_new(NULL);
        Err err = {0};
        Graph *g = graph_read(a, str_c(wrong[i].text), S("t.hgraph"), &err);
        char line[900];
        Buf b = {.ptr = line, .cap = sizeof line};
        err_print(&err, &b);
        if (!str_has(buf_str(&b), S("; "))) fail_msg("what to do? %s", err.msg);
        if (g != NULL || err.id != wrong[i].id || err.line != wrong[i].line)
            print_error("case %d: %s, line %d: %s\n%s\n", (int)i, err_name(err.id), err.line,
                        err.msg, wrong[i].text);
        assert_null(g);
        assert_int_equal(err.id, wrong[i].id);
        assert_int_equal(err.line, wrong[i].line);
        assert_string_equal(err.file, "t.hgraph");
        arena_free(a);
    }
}

static void a_truncated_text_never_does_more_than_fail(void **state) {
    (void)state;
    const char text[] =
        HEAD TABLES "x = embed(e, tokens)\nlogits out = matmul(x, e) : f32[n, 100]\n";
    for (size_t n = 0; n < sizeof text; n++) {
        Arena *a = arena_new(NULL);
        Err err = {0};
        char *copy = arena_alloc(a, n + 1); // so that a read past the end is seen
        memcpy(copy, text, n);
        Graph *g = graph_read(a, (Str){copy, n}, S("t"), &err);
        assert_true((g == NULL) == (err.id != ERR_NONE));
        arena_free(a);
    }
}

static void a_copy_shares_nothing_that_a_pass_may_change(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Err err = {0};
    Graph *g = graph_read(a, S(HEAD TABLES "x = embed(e, tokens)\n"), S("t"), &err);
    assert_non_null(g);
    Buf before = {.arena = a}, after = {.arena = a};
    graph_print(g, &before);
    Graph *c = graph_copy(a, g);
    c->tensors.at[graph_find(c, S("e"))].weight->interleave = 8;
    c->nodes.n = 0;
    graph_print(g, &after);
    assert_true(str_eq(buf_str(&before), buf_str(&after)));
    arena_free(a);
}

static void dimensions_are_affine(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Buf b = {.arena = a};
    dim_print((Dim){.cn = 2, .cm = 1, .c = 3}, &b);
    assert_string_equal(b.ptr, "2*n + m + 3");
    assert_int_equal(dim_value((Dim){.cn = 2, .ct = 1, .c = 3}, 5, 0, 7), 20);
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operator_reads_back_as_printed),
        cmocka_unit_test(errors_say_where_and_what),
        cmocka_unit_test(a_truncated_text_never_does_more_than_fail),
        cmocka_unit_test(a_copy_shares_nothing_that_a_pass_may_change),
        cmocka_unit_test(dimensions_are_affine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
