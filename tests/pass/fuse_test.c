// tests/pass/fuse_test.c: what is fused keeps to the device's number of bindings, and takes no
// place that is needed.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "../compile/run.h"
#include "../compile/llama_text.h"

static void kernels_bind_no_more_than_the_device_allows(void **state) {
    (void)state;
    const char *const profiles[] = {"gpu", "software"};
    int steps_of[9] = {0};
    for (int round = 0; round < 8; round++) {
        LlamaShape shape = {.hidden = 64,
                            .ffn = 96,
                            .heads = 4,
                            .kv_heads = 2,
                            .head_dim = 16,
                            .rot_dim = 16,
                            .vocab = 300,
                            .layers = 1,
                            .ctx = 32,
                            .chunk = 16,
                            .bias = true};
        Arena *a = arena_new(NULL);
        Profile p;
        Err err = {0};
        Program *prog;
        int most = 5 + round / 2;
        assert_true(profile_named(str_c(profiles[round % 2]), &p));
        p.max_bindings = most;
        p.fuse_norm = 1;
        p.step_cost = 1 << 30; // fuse whatever may be
        CompileOptions o = {.profile = &p,
                            .graph_text = llama_text(a, &shape),
                            .graph_file = S("b.hgraph"),
                            .verify = true};
        bool ok = compile_program(a, NULL, &o, &prog, &err);
        if (!ok) run_show(&err);
        assert_true(ok);
        int largest = 0;
        for (int k = 0; k < prog->nkernels; k++) largest = MAX2(largest, prog->kernels[k].nbind);
        assert_true(largest <= most);
        steps_of[most] += prog->regimes[REGIME_ROW].nsteps;
        arena_free(a);
    }
    assert_true(steps_of[5] > steps_of[6] && steps_of[6] >= steps_of[7] &&
                steps_of[7] > steps_of[8]);
}

// q may not be put where x lies: s reads x later, as its second operand too. s may.
static void a_result_takes_no_place_that_is_read_later(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Profile p;
    Err err = {0};
    assert_true(profile_named(S("gpu"), &p));
    Graph *g = graph_read(
        a,
        S("graph ctx=8 chunk=4 m=1 vocab=16 layers=1\n"
          "weight embd: f32[16, 8] = embd[0+16]\nweight w: f32[8, 8] = w[0+8]\n"
          "ring tokens: i32[4096]\n"
          "x = embed(embd, tokens)\ne = embed(embd, tokens)\np = matmul(e, w)\nq = add(p, x)\n"
          "r = matmul(q, w)\ns = add(r, x)\nl = take_rows(s)\nlogits out = matmul(l, embd)\n"),
        S("place.hgraph"), &err);
    if (!g) run_show(&err);
    assert_non_null(g);
    PassContext c = {.arena = a, .profile = &p, .regime_n = 4, .err = &err};
    Grouping groups;
    assert_true(pass_fuse(&c, g, &groups));
    int seen = 0;
    for (int i = 0; i < groups.n; i++) {
        int out = g->nodes.at[groups.group[i].node[groups.group[i].nnodes - 1]].out;
        if (out == graph_find(g, S("q"))) assert_int_equal(groups.group[i].inplace, -1), seen++;
        if (out == graph_find(g, S("s")))
            assert_int_equal(groups.group[i].inplace, graph_find(g, S("x"))), seen++;
    }
    assert_int_equal(seen, 2);
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kernels_bind_no_more_than_the_device_allows),
        cmocka_unit_test(a_result_takes_no_place_that_is_read_later),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
