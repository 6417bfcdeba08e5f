// tests/pass/plan_test.c: memory plans recomputed from the steps of programs of many shapes and
// profiles.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "../compile/run.h"
#include "../compile/llama_text.h"

static u64 aligned(const Program *p, u64 v) { return round_up(v, (u64)p->profile.offset_align); }

static void check_regime(const Program *p, const Regime *r) {
    u64 ends[8] = {0}, bound = 0, total = 0;
    for (int i = 0; i < r->nitems; i++) {
        const PlanItem *a = &r->items[i];
        assert_true(a->first <= a->last && a->last < r->nsteps && a->colour < 8);
        assert_int_equal(a->offset % (u64)p->profile.offset_align, 0);
        ends[a->colour] = MAX2(ends[a->colour], a->offset + aligned(p, a->size));
        for (int j = 0; j < i; j++) { // two that live at the same time in one colour lie apart
            const PlanItem *b = &r->items[j];
            bool together = a->colour == b->colour && a->first <= b->last && b->first <= a->last;
            assert_true(!together || a->offset + a->size <= b->offset ||
                        b->offset + b->size <= a->offset);
        }
    }
    for (int c = 0; c < 8; c++) total += ends[c];
    for (int s = 0; s < r->nsteps; s++) {
        u64 live = 0;
        for (int i = 0; i < r->nitems; i++)
            if (r->items[i].first <= s && s <= r->items[i].last)
                live += aligned(p, r->items[i].size);
        bound = MAX2(bound, live);
    }
    assert_int_equal(total, r->arena_bytes);
    assert_int_equal(bound, r->lower_bound_bytes);
    assert_true(total <=
                bound +
                    bound / 2); // small shapes with few colours; the default model is held to 1.10
}

// What a step reads was written by an earlier step and by nobody in between: bytes traced through
// every step.
static void check_bytes(const Program *p, const Regime *r) {
    for (int s = 0; s < r->nsteps; s++) {
        const ProgKernel *k = &p->kernels[r->steps[s].kernel];
        for (int b = 0; b < k->nbind; b++) {
            const Binding *d = &r->steps[s].bind[b];
            if (p->buffers[d->buffer].kind != BUF_ARENA) continue;
            bool planned = false; // every binding of the arena is an item alive at this step
            for (int i = 0; i < r->nitems && !planned; i++) {
                const PlanItem *it = &r->items[i];
                char name[16];
                snprintf(name, sizeof name, "arena.%u", it->colour);
                planned = str_eq(p->buffers[d->buffer].name, str_c(name)) &&
                          it->offset == d->offset && it->size == d->size && it->first <= s &&
                          s <= it->last;
            }
            assert_true(planned);
        }
    }
}

static void plans_of_odd_shapes_hold_on_every_profile(void **state) {
    (void)state;
    const char *const profiles[] = {"gpu", "software", "cpu", "cpu4"};
    u32 seed = 11;
    for (int round = 0; round < 24; round++) {
        LlamaShape shape = llama_random(&seed);
        Arena *a = arena_new(NULL);
        Profile p;
        Err err = {0};
        Program *prog;
        assert_true(profile_named(str_c(profiles[round % 4]), &p));
        CompileOptions o = {.profile = &p,
                            .graph_text = llama_text(a, &shape),
                            .graph_file = S("odd.hgraph"),
                            .verify = true};
        bool ok = compile_program(a, NULL, &o, &prog, &err) && program_verify(prog, &err);
        if (!ok) run_show(&err);
        assert_true(ok);
        for (int r = 0; r < REGIME_COUNT; r++) {
            check_regime(prog, &prog->regimes[r]);
            check_bytes(prog, &prog->regimes[r]);
        }
        arena_free(a);
    }
}

static void a_decode_step_takes_at_most_six_dispatches_a_layer(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Profile p;
    Err err = {0};
    Program *prog;
    profile_named(S("gpu"), &p);
    LlamaShape s = llama_small(3, "q4_1");
    s.bias = true;
    CompileOptions o = {
        .profile = &p, .graph_text = llama_text(a, &s), .graph_file = S("t.hgraph")};
    assert_true(compile_program(a, NULL, &o, &prog, &err));
    const Regime *r = &prog->regimes[REGIME_ROW];
    int in_layer[3] = {0};
    for (int i = 0; i < r->nsteps; i++)
        if (r->steps[i].layer >= 0) in_layer[r->steps[i].layer]++;
    for (int i = 0; i < 3; i++) assert_in_range(in_layer[i], 1, 6);
    for (int i = 0; i < prog->nkernels; i++) assert_in_range(prog->kernels[i].nbind, 1, 8);
    arena_free(a);
}

static void a_tensor_too_large_for_a_binding_is_an_error_that_names_it(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Profile p;
    Err err = {0};
    Program *prog;
    profile_named(S("gpu"), &p);
    p.max_binding_bytes = 1 << 16;
    LlamaShape s = llama_small(1, NULL);
    s.vocab = 3000;
    CompileOptions o = {
        .profile = &p, .graph_text = llama_text(a, &s), .graph_file = S("t.hgraph")};
    assert_false(compile_program(a, NULL, &o, &prog, &err));
    assert_int_equal(err.id, ERR_PASS_BINDING);
    assert_string_equal(err.subject, "embd");
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(plans_of_odd_shapes_hold_on_every_profile),
        cmocka_unit_test(a_decode_step_takes_at_most_six_dispatches_a_layer),
        cmocka_unit_test(a_tensor_too_large_for_a_binding_is_an_error_that_names_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
