// tests/compile/compile_test.c: whole models of odd shapes, compiled for unlike profiles and run in
// the interpreter with every check on: one row at a time, a few, and a chunk give the same logits
// on all of them.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include "run.h"
#include "llama_text.h"

enum { TOKENS = 14 };

// The smallest GPU that a profile may describe.
static const char *const smallest = "max_wg_size = 64\nshared_bytes = 16384\nmax_bindings = 5\n"
                                    "vec = 2\nsubgroup = 0\nmax_grid = 256\noffset_align = 16\n";

// Logits after the last token, the tokens fed `rows` at a time.
static void run_tokens(const char *profile, const LlamaShape *shape, u32 rows, const i32 *tokens,
                       float *out) {
    Arena *a = arena_new(NULL);
    Profile p;
    Run r = {0};
    bool least = strcmp(profile, "smallest") == 0;
    assert_true(profile_named(least ? S("gpu") : str_c(profile), &p));
    assert_true(profile_read(a, str_c(least ? smallest : ""), S("smallest"), &p, &r.err));
    if (!run_open_text(&r, llama_text(a, shape), &p, "")) run_show(&r.err);
    assert_int_equal(r.err.id, ERR_NONE);
    memcpy(run_ring(&r), tokens, TOKENS * sizeof *tokens);
    for (u32 pos = 0; pos < TOKENS;) {
        u32 n = MIN2(rows, TOKENS - pos);
        int regime = n == 1 ? REGIME_ROW : n <= 8 ? REGIME_FEW : REGIME_MANY;
        const Regime *g = &r.p->regimes[regime];
        run_rows(&r, pos, n);
        bool last = pos + n == TOKENS; // m is 0 until then: the head does not run
        bool ok = run_steps(&r, regime, 0, last ? g->sample : g->head, n, 1);
        if (!ok) run_show(&r.err);
        assert_true(ok);
        pos += n;
    }
    memcpy(out, run_logits(&r), r.p->vocab * sizeof *out);
    i32 best = 0;
    for (u32 i = 1; i < r.p->vocab; i++)
        if (out[i] > out[best]) best = (i32)i;
    assert_int_equal(run_ring(&r)[TOKENS], best); // greedy, written where the next step reads it
    run_close(&r);
    arena_free(a);
}

static void every_profile_and_chunking_gives_the_same_logits(void **state) {
    (void)state;
    static const struct {
        const char *profile;
        u32 rows; // 0: one and nine by turns
    } ways[] = {{"software", 1}, {"gpu", 1}, {"gpu", 5},  {"software", 9},
                {"gpu", 9},      {"cpu", 1}, {"cpu4", 9}, {"smallest", 0}};
    u32 seed = 5;
    for (int round = 0; round < 6; round++) {
        LlamaShape shape = llama_random(&seed);
        float *first = calloc((size_t)shape.vocab, 4), *other = calloc((size_t)shape.vocab, 4);
        i32 tokens[TOKENS];
        for (int i = 0; i < TOKENS; i++)
            tokens[i] = (i32)(run_noise(&seed) >> 8) % (i32)shape.vocab;
        run_tokens(ways[0].profile, &shape, ways[0].rows, tokens, first);
        double most = 0;
        for (i64 i = 0; i < shape.vocab; i++) most = fmax(most, fabs((double)first[i]));
        for (size_t w = 1; w < COUNT_OF(ways); w++) {
            u32 rows = ways[w].rows ? ways[w].rows : round % 2 ? 1 : 9;
            run_tokens(ways[w].profile, &shape, rows, tokens, other);
            for (i64 i = 0; i < shape.vocab; i++) {
                if (!(fabs((double)first[i] - (double)other[i]) <= 1e-4 * (1 + most)))
                    print_error("round %d, %s by %u, logit %d: %g and %g\n", round, ways[w].profile,
                                rows, (int)i, (double)first[i], (double)other[i]);
                assert_true(fabs((double)first[i] - (double)other[i]) <= 1e-4 * (1 + most));
            }
        }
        free(first);
        free(other);
    }
}

// 17 and 18 blocks of packed activations among 16 threads: those beside the last read nothing.
static void blocks_that_threads_do_not_divide_stay_in_bounds(void **state) {
    (void)state;
    static const i64 hidden[] = {544, 576}, threads[] = {8, 16, 64};
    for (int i = 0; i < 6; i++) {
        Arena *a = arena_new(NULL);
        Profile p;
        Err err = {0};
        Program *prog;
        profile_named(S("software"), &p);
        p.act_bits = 8;
        p.wg_size = threads[i % 3];
        LlamaShape s = llama_small(1, "q4_1");
        s.hidden = hidden[i / 3];
        CompileOptions o = {
            .profile = &p, .graph_text = llama_text(a, &s), .graph_file = S("t"), .verify = true};
        if (!compile_program(a, NULL, &o, &prog, &err)) fail_msg("%s: %s", err.subject, err.msg);
        arena_free(a);
    }
}

static void layers_share_their_kernels(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Profile p;
    Err err = {0};
    Program *one, *many;
    profile_named(S("gpu"), &p);
    LlamaShape s = llama_small(2, "q4_1");
    CompileOptions o = {.profile = &p, .graph_text = llama_text(a, &s), .graph_file = S("t")};
    assert_true(compile_program(a, NULL, &o, &one, &err));
    s.layers = 7;
    o.graph_text = llama_text(a, &s);
    assert_true(compile_program(a, NULL, &o, &many, &err));
    assert_int_equal(one->nkernels, many->nkernels);
    for (int i = 0; i < one->nkernels; i++)
        assert_int_equal(one->kernels[i].kernel_key, many->kernels[i].kernel_key);
    arena_free(a);
}

static void a_graph_marks_one_result_as_logits(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Profile p;
    Err err = {0};
    Program *prog;
    profile_named(S("cpu"), &p);
    LlamaShape s = llama_small(1, "q4_1");
    char *text = (char *)(uintptr_t)arena_cstr(a, llama_text(a, &s)),
         *mark = strstr(text, "logits out");
    CompileOptions o = {.profile = &p, .graph_text = str_c(text), .graph_file = S("t")};
    assert_non_null(mark);
    memcpy(mark, "      ", 6);
    assert_false(compile_program(a, NULL, &o, &prog, &err));
    assert_int_equal(err.id, ERR_GRAPH_TYPE);
    assert_string_equal(err.file, "t");
    arena_free(a);
}

// The table is bound as a whole, but a step reads a row of it for each of its own.
static void an_embedding_costs_the_rows_it_reads(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Profile p;
    Err err = {0};
    Program *prog;
    profile_named(S("gpu"), &p);
    LlamaShape shape = llama_small(2, "q4_1");
    CompileOptions o = {.profile = &p, .graph_text = llama_text(a, &shape), .graph_file = S("t")};
    assert_true(compile_program(a, NULL, &o, &prog, &err));
    u64 bytes[2];
    for (int r = 0; r < 2; r++) {
        const Regime *g = &prog->regimes[r ? REGIME_FEW : REGIME_ROW];
        const Step *s = NULL;
        for (int i = 0; i < g->nsteps && !s; i++)
            if (str_eq(g->steps[i].name, S("x0"))) s = &g->steps[i];
        assert_non_null(s);
        bytes[r] = s->bytes;
    }
    u64 row = 64 / 32 * 20 + 64 * 4; // q4_1 in, f32 out
    assert_int_equal(bytes[1] - bytes[0], 7 * row);
    arena_free(a);
}

static void at_most_24_pipelines_for_a_first_answer(void **state) {
    (void)state;
    static const char *const profiles[] = {"gpu", "software"};
    for (size_t w = 0; w < COUNT_OF(profiles); w++) {
        Arena *a = arena_new(NULL);
        Profile p;
        Err err = {0};
        Program *prog;
        profile_named(str_c(profiles[w]), &p);
        LlamaShape shape = llama_small(2, "q4_1");
        CompileOptions o = {.profile = &p,
                            .dialect = &dialect_wgsl,
                            .graph_text = llama_text(a, &shape),
                            .graph_file = S("t")};
        assert_true(compile_program(a, NULL, &o, &prog, &err));
        bool used[256] = {false};
        int pipelines = 0;
        for (int r = 0; r < REGIME_COUNT; r += 2)
            for (int i = 0; i < prog->regimes[r].sample; i++) {
                u32 k = prog->regimes[r].steps[i].kernel;
                pipelines += !used[k];
                used[k] = true;
                assert_true(prog->kernels[k].text.len > 100);
            }
        assert_in_range(pipelines, 10, 24);
        arena_free(a);
    }
}

// A recorded schedule, given back as a schedule file, makes the same kernels byte for byte.
static void a_programs_schedules_replay(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Profile p;
    Err err = {0};
    Program *prog, *again;
    profile_named(S("gpu"), &p);
    LlamaShape shape = llama_small(2, "q4_1");
    CompileOptions o = {.profile = &p,
                        .dialect = &dialect_wgsl,
                        .graph_text = llama_text(a, &shape),
                        .graph_file = S("t")};
    assert_true(compile_program(a, NULL, &o, &prog, &err));
    Buf file = {.arena = a};
    for (int i = 0; i < prog->nkernels; i++)
        buf_fmt(&file, "kernel %S:\n%S\n", prog->kernels[i].name, prog->kernels[i].schedule);
    o.schedule_text = buf_str(&file);
    o.schedule_file = S("t.hsch");
    bool ok = compile_program(a, NULL, &o, &again, &err);
    if (!ok) run_show(&err);
    assert_true(ok);
    assert_int_equal(prog->nkernels, again->nkernels);
    for (int i = 0; i < prog->nkernels; i++) {
        assert_int_equal(prog->kernels[i].kernel_key, again->kernels[i].kernel_key);
        assert_true(str_eq(prog->kernels[i].text, again->kernels[i].text));
    }
    // A processor's kernels are found by their nests where the schedule is the rule's own.
    profile_named(S("cpu"), &p);
    o.dialect = NULL;
    o.schedule_text = S("");
    assert_true(compile_program(a, NULL, &o, &prog, &err));
    file.len = 0;
    Str mine = S("rms_norm_n1");
    for (int i = 0; i < prog->nkernels; i++)
        buf_fmt(&file, "kernel %S:\n%S\n", prog->kernels[i].name,
                str_eq(prog->kernels[i].name, mine)
                    ? S("bind out.n cpu\ncompute_at ss out.n\nguard out o\nsplit out.o 8 xo xl\n")
                    : prog->kernels[i].schedule);
    o.schedule_text = buf_str(&file);
    if (!compile_program(a, NULL, &o, &again, &err)) run_show(&err);
    assert_int_equal(prog->nkernels, again->nkernels);
    int edited = 0;
    for (int i = 0; i < prog->nkernels; i++) {
        bool same = prog->kernels[i].nest_key == again->kernels[i].nest_key;
        assert_true(same != str_eq(prog->kernels[i].name, mine));
        edited += !same;
    }
    assert_int_equal(edited, 1);
    o.schedule_text = S("# mine\n\nkernel no_such_kernel:\n");
    assert_false(compile_program(a, NULL, &o, &again, &err));
    assert_int_equal(err.id, ERR_COMPILE_SCHEDULE);
    assert_int_equal(err.line, 3);
    err = (Err){0};
    o.schedule_text = S("# mine\nsplit out.o 8 xo xl\n");
    assert_false(compile_program(a, NULL, &o, &again, &err));
    assert_int_equal(err.id, ERR_COMPILE_SCHEDULE);
    assert_int_equal(err.line, 2);
    // Two sections for one kernel: neither is silently the one that counts, be the second empty.
    Str body = S("bind out.n cpu\ncompute_at ss out.n\nguard out o\nsplit out.o 8 xo xl\n");
    for (int empty = 0; empty < 2; empty++) {
        err = (Err){0};
        o.schedule_text = str_fmt(a, "# mine\nkernel %S:\n%Skernel %S:%S", mine, body, mine,
                                  empty ? S("") : S("\n\nbind out.n cpu\n"));
        assert_false(compile_program(a, NULL, &o, &again, &err));
        assert_int_equal(err.id, ERR_SCHED_NAME);
        assert_int_equal(err.line, 7);
        assert_string_equal(err.file, "t.hsch");
        assert_non_null(strstr(err.msg, "line 2"));
    }
    arena_free(a);
}

static void a_kernel_at_a_time_gives_the_same_program(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Err err = {0};
    LlamaShape shape = llama_small(2, "q4_1");
    static const char *const profiles[] = {"gpu", "software"};
    for (int i = 0; i < 2; i++) {
        Profile p;
        Program *kept, *text;
        profile_named(str_c(profiles[i]), &p);
        Graph *g = graph_read(a, llama_text(a, &shape), S("t"), &err);
        assert_non_null(g);
        CompileOptions o = {.profile = &p, .dialect = dialect_named(S("wgsl"))};
        assert_true(compile_program(a, g, &o, &kept, &err));
        o.work = arena_new(NULL);
        assert_true(compile_program(a, g, &o, &text, &err));
        arena_free(o.work); // what is kept does not lie there: the sanitizers would tell
        Buf one = {.arena = a}, two = {.arena = a};
        program_print(kept, &one);
        program_print(text, &two);
        assert_true(str_eq(buf_str(&one), buf_str(&two)));
        assert_int_equal(kept->nkernels, text->nkernels);
        for (int k = 0; k < kept->nkernels; k++) {
            assert_true(str_eq(kept->kernels[k].text, text->kernels[k].text));
            assert_null(text->kernels[k].ir);
            Buf f = {.arena = a}, h = {.arena = a};
            formula_print(kept->kernels[k].formula, &f);
            formula_print(text->kernels[k].formula, &h);
            assert_true(str_eq(buf_str(&f), buf_str(&h)));
        }
    }
    arena_free(a);
}

static u64 weights_of(const Program *p, const Step *s) {
    u64 bytes = 0;
    for (int i = 0; i < p->kernels[s->kernel].nbind; i++)
        if (p->buffers[s->bind[i].buffer].kind == BUF_WEIGHT) bytes += s->bind[i].size;
    return bytes;
}

static void the_heaviest_step_is_a_layers_largest_product(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Profile p;
    Err err = {0};
    Program *whole, *one;
    profile_named(S("gpu"), &p);
    LlamaShape shape = llama_small(2, "q4_1");
    CompileOptions o = {.profile = &p,
                        .graph_text = llama_text(a, &shape),
                        .graph_file = S("t"),
                        .regimes = 1 << REGIME_ROW};
    assert_true(compile_program(a, NULL, &o, &whole, &err));
    o.heaviest = true;
    assert_true(compile_program(a, NULL, &o, &one, &err));
    const Regime *r = &one->regimes[REGIME_ROW];
    assert_int_equal(r->nsteps, 1);
    assert_int_equal(one->nkernels, 1);
    assert_true(program_verify(one, &err));
    assert_true(r->steps[0].layer >= 0);
    const Regime *all = &whole->regimes[REGIME_ROW];
    bool found = false;
    for (int i = 0; i < all->nsteps; i++) {
        const Step *s = &all->steps[i];
        assert_true(s->layer < 0 || weights_of(whole, s) <= weights_of(one, &r->steps[0]));
        found |= str_eq(s->name, r->steps[0].name);
    }
    assert_true(found);
    arena_free(a);
}

static void a_walk_shows_every_stage_of_a_tensors_step(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Profile p;
    Err err = {0};
    Program *prog;
    Buf out = {.arena = a};
    profile_named(S("gpu"), &p);
    LlamaShape shape = llama_small(2, "q4_1");
    CompileOptions o = {.profile = &p,
                        .graph_text = llama_text(a, &shape),
                        .graph_file = S("t"),
                        .dump = &out,
                        .walk_tensor = S("blk.1.wk"),
                        .regimes = 1 << REGIME_ROW};
    assert_true(compile_program(a, NULL, &o, &prog, &err));
    static const char *const parts[] = {"---- weight",
                                        "rows 64 + 1 * i, i < 32: blk.1.wk",
                                        "---- graph",
                                        "---- group",
                                        "---- formula",
                                        "---- plan",
                                        "---- naive nest",
                                        "---- schedule",
                                        "---- scheduled nest",
                                        "---- loop IR",
                                        "---- wgsl",
                                        "@compute",
                                        "---- c",
                                        "---- step"};
    size_t at = 0;
    for (size_t i = 0; i < COUNT_OF(parts); i++) {
        Str rest = str_sub(buf_str(&out), at, out.len);
        if (!str_has(rest, str_c(parts[i]))) print_error("the walk lacks %s\n", parts[i]);
        assert_true(str_has(rest, str_c(parts[i])));
        while (!str_starts(str_sub(buf_str(&out), at, out.len), str_c(parts[i]))) at++;
    }
    arena_free(a);
}

// Four-bit fields are small: what multiplies unsigned by signed bytes needs no correction for them,
// also where several rows of activations share a word.
static void four_bit_fields_are_multiplied_as_small_bytes(Str text) {
    int kernels = 0, products = 0;
    bool four = false;
    for (size_t i = 0, end; i < text.len; i = end + 1) {
        for (end = i; end < text.len && text.ptr[end] != '\n';) end++;
        Str line = str_sub(text, i, end);
        if (str_starts(line, S("KERNEL void "))) {
            four = str_has(line, S(" matmul")) && str_has(line, S("_q4_0"));
            kernels += four;
        } else if (four) {
            assert_false(str_has(line, S("_dot4(")));
            products += str_has(line, S("_dot4_small("));
        }
    }
    assert_true(kernels > 4 && products > 8 * kernels);
}

static void the_menu_has_every_kernel_of_an_odd_model(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Err err = {0};
    Buf menu = {.arena = a};
    assert_true(menu_print(a, S("avx2"), S(""), &menu, &err));
    four_bit_fields_are_multiplied_as_small_bytes(buf_str(&menu));
    Profile p;
    profile_named(S("cpu"), &p);
    u32 seed = 99;
    for (int round = 0; round < 12; round++) {
        LlamaShape shape = llama_random(&seed);
        Program *prog;
        CompileOptions o = {
            .profile = &p, .graph_text = llama_text(a, &shape), .graph_file = S("t")};
        assert_true(compile_program(a, NULL, &o, &prog, &err));
        for (int i = 0; i < prog->nkernels; i++) {
            Str row = str_fmt(a, "0x%016Xull", prog->kernels[i].nest_key);
            if (!str_has(buf_str(&menu), row))
                print_error("%.*s is not in the menu\n", STR_ARG(prog->kernels[i].name));
            assert_true(str_has(buf_str(&menu), row));
        }
    }
    assert_false(menu_print(a, S("z80"), S(""), &menu, &err));
    assert_int_equal(err.id, ERR_USAGE);
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(blocks_that_threads_do_not_divide_stay_in_bounds),
        cmocka_unit_test(layers_share_their_kernels),
        cmocka_unit_test(a_graph_marks_one_result_as_logits),
        cmocka_unit_test(an_embedding_costs_the_rows_it_reads),
        cmocka_unit_test(at_most_24_pipelines_for_a_first_answer),
        cmocka_unit_test(a_programs_schedules_replay),
        cmocka_unit_test(a_kernel_at_a_time_gives_the_same_program),
        cmocka_unit_test(the_heaviest_step_is_a_layers_largest_product),
        cmocka_unit_test(a_walk_shows_every_stage_of_a_tensors_step),
        cmocka_unit_test(the_menu_has_every_kernel_of_an_odd_model),
        cmocka_unit_test(every_profile_and_chunking_gives_the_same_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
