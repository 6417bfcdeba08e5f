// tests/program/program_test.c: device profiles as text, grids, and programs that must not be
// trusted.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include "../compile/run.h"
#include "../compile/llama_text.h"

// Is `text` a profile, over the named one?
static bool read_over(Arena *a, const char *base, const char *text, Err *err) {
    Profile p;
    *err = (Err){0};
    assert_true(profile_named(str_c(base), &p));
    return profile_read(a, str_c(text), S("my.profile"), &p, err);
}

static void a_profile_reads_back_as_printed(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Profile p, q = {0};
    Err err = {0};
    Buf once = {.arena = a}, twice = {.arena = a};
    const char *const names[] = {"cpu", "cpu4", "cpu16", "gpu", "software"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        assert_true(profile_named(str_c(names[i]), &p));
        once.len = twice.len = 0;
        profile_print(&p, &once);
        assert_true(profile_read(a, buf_str(&once), S("p"), &q, &err));
        profile_print(&q, &twice);
        assert_true(str_eq(buf_str(&once), buf_str(&twice)));
        assert_int_equal(profile_hash(&p), profile_hash(&q));
    }
    assert_false(profile_named(S("abacus"), &p));
    arena_free(a);
}

static void a_profile_hash_is_of_what_shapes_kernels(void **state) {
    (void)state;
    Profile p, q;
    profile_named(S("gpu"), &p);
    q = p;
    q.threads = 7;
    q.name = S("other");
    assert_int_equal(profile_hash(&p), profile_hash(&q));
    q.subgroup = 32;
    assert_int_not_equal(profile_hash(&p), profile_hash(&q));
}

static void errors_in_a_profile_say_where(void **state) {
    (void)state;
    static const struct {
        const char *text;
        ErrId id;
        int line, col;
    } wrong[] = {
        {"vec 4\n", ERR_PROFILE_SYNTAX, 1, 1},
        {"# fine\n\n  vec =\n", ERR_PROFILE_SYNTAX, 3, 3},
        {"wings = 2\n", ERR_PROFILE_FIELD, 1, 1},
        {"vec = 3\n", ERR_PROFILE_VALUE, 1, 7},
        {"vec = many\n", ERR_PROFILE_VALUE, 1, 7},
        {"gpu = 1\nmax_wg_size = 2048\n", ERR_PROFILE_VALUE, 2, 15},
        {"offset_align = 24", ERR_PROFILE_VALUE, 1, 16},
        {"max_bindings = 99999999999999999999", ERR_PROFILE_VALUE, 1, 16},
        {"shared_bytes = -1", ERR_PROFILE_VALUE, 1, 16},
        {"act_bits = 5", ERR_PROFILE_VALUE, 1, 12}, // f32, or 8 bits: nothing between them
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        Arena *a = arena_new(NULL);
        Err err;
        assert_false(read_over(a, "gpu", wrong[i].text, &err));
        assert_int_equal(err.id, wrong[i].id);
        assert_int_equal(err.line, wrong[i].line);
        assert_int_equal(err.col, wrong[i].col);
        assert_string_equal(err.file, "my.profile");
        arena_free(a);
    }
}

// Which limits a GPU's schedules need; a processor has no workgroups, and no need of them.
static void a_profile_that_no_schedule_fits_is_refused_where_it_is_read(void **state) {
    (void)state;
    static const struct {
        const char *least, *below, *field;
        int line, col;
    } gpu[] = {
        {"shared_bytes = 16384", "\nshared_bytes = 16383", "shared_bytes", 2, 16},
        {"max_wg_size = 64", "max_wg_size = 32", "max_wg_size", 1, 15},
        {"max_wg_size = 64", "wg_size = 1\nmax_wg_size = 1\n", "max_wg_size", 2, 15},
        {"wg_size = 256", "max_wg_size = 256\nwg_size = 512", "wg_size", 2, 11},
        {"max_wg_size=64\nsubgroup=64", "subgroup=65\nmax_wg_size=64", "subgroup", 1, 10},
        {"row_tile = 8", "row_tile = 3", "row_tile", 1, 12},
        {"row_tile = 1", "row_tile = 16", "row_tile", 1, 12},
        {"subgroup = 0", "subgroup = 12", "subgroup", 1, 12},
        {"vec = 2", "vec = 1", "vec", 1, 7},
        {"vec = 4", "vec = 8", "vec", 1, 7},
        {"max_bindings = 5", "max_bindings = 4", "max_bindings", 1, 16},
        {"dims = 0", "dims = 1", "dims", 1, 8},
        {"step_cost = 0", "step_cost = 99999999999999999", "step_cost", 1, 13},
    };
    Arena *a = arena_new(NULL);
    for (size_t i = 0; i < COUNT_OF(gpu); i++) {
        Err err;
        assert_true(read_over(a, "gpu", gpu[i].least, &err));
        assert_false(read_over(a, "gpu", gpu[i].below, &err));
        assert_int_equal(err.id, ERR_PROFILE_VALUE);
        assert_memory_equal(err.msg, gpu[i].field, strlen(gpu[i].field));
        assert_int_equal(err.line, gpu[i].line);
        assert_int_equal(err.col, gpu[i].col);
    }
    // What the file says together with what it leaves as it was: there is no line to show.
    Err err;
    assert_false(read_over(a, "cpu", "gpu = 1\n", &err));
    assert_int_equal(err.id, ERR_PROFILE_VALUE);
    assert_int_equal(err.line, 0);
    assert_string_equal(err.file, "my.profile");
    const char *small = "max_wg_size = 1\nwg_size = 1\nshared_bytes = 0\nvec = 1\ndims = 0";
    assert_true(read_over(a, "cpu", small, &err));
    arena_free(a);
}

static void grids_round_up_and_are_never_empty(void **state) {
    (void)state;
    assert_int_equal(grid_count(&(GridDim){.a = 1, .c = 4, .d = 3}, 9, 1), 9);
    assert_int_equal(grid_count(&(GridDim){.a = 1, .c = 4, .d = 3, .by_m = true}, 9, 1), 3);
    assert_int_equal(grid_count(&(GridDim){.a = 0, .b = 0, .c = 1, .d = 5}, 9, 0), 5);
    assert_int_equal(
        grid_count(&(GridDim){.a = UINT32_MAX, .c = 1, .d = UINT32_MAX}, UINT32_MAX, 0),
        UINT32_MAX);
}

static void what_is_too_many_in_x_is_folded_into_y(void **state) {
    (void)state;
    Program p = {.m_max = 1};
    assert_true(profile_named(S("gpu"), &p.profile));
    assert_int_equal(p.profile.max_grid, 65535);
    const struct {
        u32 d, x, y;
    } rows[] = {{65535, 65535, 1}, {65536, 65535, 2}, {131070, 65535, 2}, {131071, 65535, 3}};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Step s = {.grid = {{0, 1, 1, rows[i].d, false}, {0, 1, 1, 1, false}, {0, 1, 1, 7, false}}};
        u32 grid[3];
        step_grid(&p, &s, 1, 1, grid);
        assert_int_equal(grid[0], rows[i].x);
        assert_int_equal(grid[1], rows[i].y);
        assert_int_equal(grid[2], 7);
    }
    // the tail of the last row has numbers too, and those are i32
    assert_int_equal(grid_most(&p.profile), INT32_MAX - 65535);
    p.profile.max_grid = 256;
    assert_int_equal(grid_most(&p.profile), 65536);
}

// Each of these makes one thing wrong in a right program.
static void break_kernel(Program *p) { p->regimes[0].steps[0].kernel = 99; }
static void break_buffer(Program *p) { p->regimes[0].steps[0].bind[0].buffer = 99; }
static void break_offset(Program *p) { p->regimes[0].steps[1].bind[0].offset += 4; }
static void break_end(Program *p) { p->regimes[0].steps[1].bind[0].size += (u64)1 << 40; }
static void break_wrap(Program *p) { p->regimes[0].steps[1].bind[0].offset = UINT64_MAX - 255; }
static void break_empty(Program *p) { p->regimes[0].steps[0].bind[0].size = 0; }
static void break_grid(Program *p) { p->regimes[0].steps[0].grid[0].c = 0; }
static void break_large_grid(Program *p) {
    p->regimes[0].steps[0].grid[1] = (GridDim){.b = 1, .c = 1, .d = 70000};
}
static void break_folded_grid(Program *p) { // there is no y left to fold into
    p->regimes[0].steps[0].grid[0] = (GridDim){.b = 1, .c = 1, .d = 70000};
    p->regimes[0].steps[0].grid[1] = (GridDim){.b = 1, .c = 1, .d = 2};
}
static void break_endless_grid(Program *p) {
    p->regimes[0].steps[0].grid[0] = (GridDim){.b = 1, .c = 1, .d = INT32_MAX};
}
static void break_ranges(Program *p) { p->regimes[0].head = p->regimes[0].nsteps + 1; }
static void break_rows(Program *p) { p->regimes[0].n = p->chunk + 1; }
static void break_ring(Program *p) { p->buffers[p->buf_ring].size = 64; }
static void break_logits(Program *p) { p->vocab *= 2; }
static void break_params(Program *p) { p->buf_params = 1000; }
static void break_m(Program *p) { p->m_max = p->chunk + 1; }
static void break_weight(Program *p) { p->weights[0].rows += 8; }
static void break_segment(Program *p) { p->weights[0].seg[0].row_step = 2; }
static void break_weave(Program *p) { p->weights[0].interleave = 0; }
static void break_workgroup(Program *p) { p->kernels[0].wg[1] = 1000; }
static void break_bindings(Program *p) { p->kernels[0].nbind = 9; }
static void break_both_ways(Program *p) { // one buffer read and written in one step
    for (int i = 0; i < p->regimes[0].nsteps; i++) {
        Step *s = &p->regimes[0].steps[i];
        const ProgKernel *k = &p->kernels[s->kernel];
        for (int b = 1; b < k->nbind; b++)
            if (k->writes[b] != k->writes[0]) {
                s->bind[0].buffer = s->bind[b].buffer;
                s->bind[0].size = s->bind[b].size;
                s->bind[0].offset = s->bind[b].offset;
                return;
            }
    }
}

static void a_program_that_lies_is_refused(void **state) {
    (void)state;
    void (*const lies[])(Program *) = {
        break_kernel,      break_buffer,       break_offset,     break_end,      break_wrap,
        break_empty,       break_grid,         break_large_grid, break_ranges,   break_rows,
        break_ring,        break_logits,       break_params,     break_m,        break_weight,
        break_segment,     break_weave,        break_workgroup,  break_bindings, break_both_ways,
        break_folded_grid, break_endless_grid,
    };
    LlamaShape s = llama_small(1, NULL);
    for (size_t i = 0; i < COUNT_OF(lies); i++) {
        Arena *a = arena_new(NULL);
        Profile p;
        Err err = {0};
        Program *prog;
        profile_named(S("gpu"), &p);
        CompileOptions o = {.profile = &p,
                            .graph_text = llama_text(a, &s),
                            .graph_file = S("t"),
                            .regimes = 1 << REGIME_ROW};
        assert_true(compile_program(a, NULL, &o, &prog, &err));
        assert_true(program_verify(prog, &err));
        lies[i](prog);
        if (program_verify(prog, &err)) print_error("lie %d is believed\n", (int)i);
        assert_int_equal(err.id, ERR_PROGRAM_INVALID);
        arena_free(a);
    }
}

// What a step costs at a position, against the plan's figures, which are those of a full context.
static void a_steps_cost_is_of_its_rows_and_of_the_cache_it_looks_at(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    LlamaShape shape = llama_small(1, NULL);
    Profile p;
    Err err = {0};
    Program *prog;
    assert_true(profile_named(S("gpu"), &p));
    CompileOptions o = {.profile = &p, .graph_text = llama_text(a, &shape), .graph_file = S("t")};
    assert_true(compile_program(a, NULL, &o, &prog, &err));
    int seen = 0;
    for (int r = 0; r < REGIME_COUNT; r++) {
        const Regime *g = &prog->regimes[r];
        for (int i = 0; i < g->nsteps; i++) {
            const Step *s = &g->steps[i];
            u32 m = g->m;
            StepCost most = step_cost(prog, r, i, g->n, m, prog->ctx);
            StepCost half = step_cost(prog, r, i, g->n, m, prog->ctx / 2);
            bool looks = false, appends = false;
            for (int k = 0; k < prog->kernels[s->kernel].nbind; k++)
                if (prog->buffers[s->bind[k].buffer].kind == BUF_KV) {
                    bool writes = prog->kernels[s->kernel].writes[k];
                    appends = appends || writes;
                    looks = looks || !writes;
                    if (writes) assert_true(most.bytes < s->bytes || g->n == prog->ctx);
                }
            assert_true(most.bytes > 0 && most.bytes <= s->bytes && most.flops <= s->flops);
            assert_int_equal(half.bytes < most.bytes, looks);
            assert_int_equal(half.flops < most.flops, looks);
            assert_true(step_cost(prog, r, i, 1, 1, prog->ctx).bytes <= most.bytes);
            seen |= (looks ? 1 : 0) | (appends ? 2 : 0);
        }
    }
    assert_int_equal(seen, 3);
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_profile_reads_back_as_printed),
        cmocka_unit_test(a_profile_hash_is_of_what_shapes_kernels),
        cmocka_unit_test(errors_in_a_profile_say_where),
        cmocka_unit_test(a_profile_that_no_schedule_fits_is_refused_where_it_is_read),
        cmocka_unit_test(grids_round_up_and_are_never_empty),
        cmocka_unit_test(what_is_too_many_in_x_is_folded_into_y),
        cmocka_unit_test(a_program_that_lies_is_refused),
        cmocka_unit_test(a_steps_cost_is_of_its_rows_and_of_the_cache_it_looks_at),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
