// Native WebGPU: every kernel of a small model checked on the adapter that is here, what the
// compiler says of a wrong text, a device that goes away, and a library that is not there.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>

#include "compile/llama_text.h"
#include "device/wgpu.h"
#include "emit/emit.h"
#include "tune/tune.h"

// What drivers keep is not ours. Some are unloaded when it is looked for, and have no name then;
// but of our own code nothing calls realloc.
__attribute__((visibility("default"))) const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void) {
    return "leak:libwgpu_native\nleak:libvulkan\nleak:libLLVM\nleak:realloc\n";
}

typedef struct Lab {
    Arena *arena;
    Program *p;
    Device *d;
    Err err;
} Lab;

#define OPEN(l)                                                                                    \
    if (!lab_open((l), __func__)) skip()

// false: there is no library or no adapter here, and it was said.
static bool lab_open(Lab *l, const char *test) {
    *l = (Lab){.arena = arena_new(NULL)};
    if (device_open(l->arena, S("webgpu"), NULL, &l->d, &l->err)) return true;
    if (l->err.id != ERR_DEVICE_UNKNOWN) fail_msg("%s", l->err.msg);
    printf("SKIP %s: %s\n", test, l->err.msg);
    arena_free(l->arena);
    return false;
}

static void lab_close(Lab *l) {
    device_close(l->d);
    arena_free(l->arena);
}

static void wait_for(Lab *l, PollStatus want) {
    while (device_outstanding(l->d)) {
        PollResult r = device_poll(l->d);
        if (r.status == POLL_NOTHING)
            clock_nap();
        else
            assert_int_equal(r.status, want);
    }
}

static void compile(Lab *l, const char *base) {
    LlamaShape shape = {.hidden = 32,
                        .ffn = 96,
                        .heads = 4,
                        .kv_heads = 2,
                        .head_dim = 8,
                        .rot_dim = 8,
                        .vocab = 300,
                        .layers = 1,
                        .ctx = 48,
                        .chunk = 12,
                        .q = "q4_1",
                        .k = "q4_1",
                        .v = "q4_1",
                        .gate = "q8_0",
                        .up = "q8_0",
                        .rest = "f16"};
    Profile p, named;
    assert_true(device_profile(l->d, &p, &l->err));
    assert_true(profile_named(str_c(base), &named));
    p.barrier_cost = named.barrier_cost; // schedules of a GPU, and of one in software
    p.fuse_norm = named.fuse_norm;
    CompileOptions o = {.profile = &p,
                        .dialect = &dialect_wgsl,
                        .graph_text = llama_text(l->arena, &shape),
                        .graph_file = S("test.hgraph")};
    if (!compile_program(l->arena, NULL, &o, &l->p, &l->err))
        fail_msg("%s: %s", l->err.subject, l->err.msg);
}

// Answers a prompt of n tokens; where `lose` is not 0 the device goes away after so many of the
// answer's.
static EngineState answer(Lab *l, u32 n, double temperature, int lose, CheckStats *stats) {
    Engine *e;
    Checker *c = checker_new(l->arena);
    // no file: all weights are zero, which the check does not look at
    EngineDesc d = {.device = l->d, .program = l->p, .hooks = {tune_check_kernel, c}};
    i32 prompt[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    EngineRequest r = {
        .prompt = prompt, .n = n, .max_tokens = lose ? 30 : 2, .sample = {temperature, 5, 1}};
    EngineState s;
    assert_true(engine_new(l->arena, &d, &e, &l->err));
    while ((s = engine_load_step(e, NULL, &l->err)) == ENGINE_WORKING || s == ENGINE_WAITING) {
    }
    if (s != ENGINE_DONE) fail_msg("%s: %s", l->err.subject, l->err.msg);
    assert_true(engine_start(e, &r, &l->err));
    for (;;) {
        s = engine_step(e, &l->err);
        if (s == ENGINE_DONE || s == ENGINE_FAILED) break;
        if (s == ENGINE_WAITING) clock_nap();
        if (s == ENGINE_TOKEN && lose && --lose == 0) wgpu_destroy(l->d);
    }
    *stats = *checker_stats(c);
    checker_free(c);
    engine_free(e);
    return s;
}

static void every_kernel_of_a_small_model_is_right(void **state) {
    (void)state;
    // each kind of schedules, each regime, both samplers; a driver takes long to compile them
    const struct {
        const char *base;
        u32 prompt;
        double temperature;
    } cases[] = {{"software", 12, 0}, {"gpu", 5, 1}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Lab l;
        OPEN(&l);
        compile(&l, cases[i].base);
        CheckStats stats;
        if (answer(&l, cases[i].prompt, cases[i].temperature, 0, &stats) != ENGINE_DONE)
            fail_msg("%s: %s: %s", cases[i].base, l.err.subject, l.err.msg);
        assert_true(stats.kernels >= 8 && stats.outputs >= 64 && stats.worst < 1e-4);
        lab_close(&l);
    }
}

static void bytes_go_to_the_adapter_and_back_in_order(void **state) {
    (void)state;
    Lab l;
    OPEN(&l);
    BufferHandle b;
    enum { WORDS = 300000 }; // more than is handed over at once
    u32 *words = NEW_N(l.arena, u32, WORDS), *back = NEW_N(l.arena, u32, WORDS), first[4];
    for (u32 i = 0; i < WORDS; i++) words[i] = i * 2654435761u;
    assert_true(device_buffer_make(l.d, WORDS * 4, BUF_ARENA, &b, &l.err));
    memset(first, 0xff, sizeof first);
    assert_int_not_equal(device_buffer_read(l.d, b, 0, first, 16, &l.err), 0);
    assert_int_not_equal(device_buffer_write(l.d, b, 0, words, WORDS * 4, &l.err), 0);
    for (u32 i = 0; i < 3; i++)
        assert_int_not_equal(device_buffer_write(l.d, b, 4 * i, &i, 4, &l.err), 0);
    assert_int_not_equal(device_buffer_read(l.d, b, 0, back, WORDS * 4, &l.err), 0);
    wait_for(&l, POLL_OK);
    for (u32 i = 0; i < 4; i++) assert_int_equal(first[i], 0); // what a new buffer holds
    for (u32 i = 0; i < WORDS; i++) assert_int_equal(back[i], i < 3 ? i : words[i]);
    Profile p;
    assert_true(device_profile(l.d, &p, &l.err));
    assert_false(device_buffer_make(l.d, (u64)p.max_buffer_bytes + 256, BUF_ARENA, &b, &l.err));
    assert_int_equal(l.err.id, ERR_DEVICE_LIMIT);
    lab_close(&l);
}

static void a_wrong_text_is_an_error_in_the_compilers_words(void **state) {
    (void)state;
    Lab l;
    OPEN(&l);
    const struct {
        const char *text, *word;
    } wrong[] = {
        {"@compute @workgroup_size(1) fn main() { let x: u32 = 1.5; }", "u32"},
        {"@compute @workgroup_size(1) fn main( {", "expected"},
        {"@group(0) @binding(0) var<storage, read> b: array<u32, 4>;\n"
         "@compute @workgroup_size(1) fn main() { b[0] = nothing; }",
         "nothing"},
        {"", "printed"},
    };
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        ProgKernel k = {.name = S("crooked"), .text = str_c(wrong[i].text), .nbind = 1};
        KernelHandle h;
        Ticket t;
        l.err = (Err){0};
        assert_false(device_kernel_make(l.d, &k, &h, &t, &l.err));
        assert_int_equal(l.err.id, ERR_DEVICE_KERNEL);
        if (!str_has(str_c(l.err.msg), str_c(wrong[i].word))) fail_msg("%s", l.err.msg);
    }
    assert_int_equal(device_outstanding(l.d), 0);
    BufferHandle b; // and the device is as good as before
    u32 word = 5, back = 0;
    assert_true(device_buffer_make(l.d, 64, BUF_ARENA, &b, &l.err));
    assert_int_not_equal(device_buffer_write(l.d, b, 0, &word, 4, &l.err), 0);
    assert_int_not_equal(device_buffer_read(l.d, b, 0, &back, 4, &l.err), 0);
    wait_for(&l, POLL_OK);
    assert_int_equal(back, 5);
    lab_close(&l);
}

// A program of one step on the ring: ring[0] = ring[0] * 3 + t.
typedef struct Ring {
    ProgKernel kernel;
    ProgBuffer buffers[2];
    Step step;
    Program p;
    BufferHandle handles[2];
    KernelHandle made;
    DeviceBind bind;
    BoundHandle bound;
} Ring;

static void ring_open(Lab *l, Ring *r, bool writes) {
    *r = (Ring){.kernel = {.name = S("ring"),
                           .text = S("@group(0) @binding(0) var<storage, read> p: array<i32>;\n"
                                     "@group(0) @binding(1) var<storage, read_write> ring: "
                                     "array<i32>;\n@compute @workgroup_size(1) fn main() {\n"
                                     "    ring[0] = ring[0] * 3 + p[2];\n}\n"),
                           .nbind = 2,
                           .writes = {false, writes}},
                .step = {.name = S("s"),
                         .bind = {{0, 0, 64}, {1, 0, 64}},
                         .grid = {{0, 1, 1, 1, false}, {0, 1, 1, 1, false}, {0, 1, 1, 1, false}}},
                .p = {.ctx = 16, .chunk = 4, .m_max = 1, .vocab = 4, .nkernels = 1, .nbuffers = 2}};
    Ticket t;
    r->p.kernels = &r->kernel;
    r->p.buffers = r->buffers;
    r->p.buf_ring = r->p.buf_logits = 1;
    r->buffers[0].size = round_up(program_param_words(&r->p) * 4, 256) * PARAM_SLOTS;
    r->buffers[1].size = TOKEN_RING * 4;
    r->p.regimes[0] = (Regime){.n = 1, .m = 1, .nsteps = 1, .steps = &r->step};
    for (int i = 0; i < 2; i++)
        assert_true(
            device_buffer_make(l->d, r->buffers[i].size, BUF_ARENA, &r->handles[i], &l->err));
    assert_true(device_kernel_make(l->d, &r->kernel, &r->made, &t, &l->err));
    r->bind = (DeviceBind){&r->p, r->handles, &r->made};
    assert_true(device_bind(l->d, &r->bind, &r->bound, &l->err));
}

static Ticket ring_submit(Lab *l, Ring *r, int i, StepTime *times) {
    i32 params[64] = {[PARAM_T] = i + 1};
    Submit s = {.bound = r->bound,
                .last = 1,
                .n = 1,
                .t = (u32)i + 1,
                .slot = i % PARAM_SLOTS,
                .params = params,
                .read_ring = 0,
                .times = times};
    return device_submit(l->d, &s, &l->err);
}

static void tokens_of_several_submits_come_in_order(void **state) {
    (void)state;
    Lab l;
    OPEN(&l);
    Ring r;
    ring_open(&l, &r, true);
    wait_for(&l, POLL_OK);
    // timed ones among the others, where the adapter has timestamps
    StepTime times[12] = {0};
    for (int i = 0; i < 12; i++)
        assert_int_not_equal(ring_submit(&l, &r, i, l.d->timed && i % 2 ? &times[i] : NULL), 0);
    assert_int_equal(device_outstanding(l.d), 12);
    for (i32 i = 0, want = 0; i < 12;) {
        PollResult got = device_poll(l.d);
        if (got.status == POLL_NOTHING) continue;
        assert_int_equal(got.status, POLL_OK);
        want = want * 3 + i++ + 1;
        assert_int_equal(got.token, want);
    }
    for (int i = 1; i < 12 && l.d->timed; i += 2)
        assert_true(times[i].begin > 0 && times[i].end >= times[i].begin);
    lab_close(&l);
}

static void a_pipeline_that_is_refused_is_an_error_of_the_submit(void **state) {
    (void)state;
    Lab l;
    OPEN(&l);
    Ring r;
    ring_open(&l, &r, false); // its text writes what the program says is read
    wait_for(&l, POLL_OK);
    assert_int_equal(ring_submit(&l, &r, 0, NULL), 0);
    assert_int_equal(l.err.id, ERR_DEVICE_KERNEL);
    assert_string_equal(l.err.subject, "ring");
    assert_false(l.d->lost);
    lab_close(&l);
}

static void a_device_that_goes_away_loses_what_was_out(void **state) {
    (void)state;
    Lab l;
    OPEN(&l);
    BufferHandle b;
    u32 word = 7, back[64];
    assert_true(device_buffer_make(l.d, 256, BUF_ARENA, &b, &l.err));
    wgpu_destroy(l.d);
    while (!l.d->lost && device_buffer_read(l.d, b, 0, back, 256, &l.err)) device_poll(l.d);
    if (!l.d->lost) fail_msg("%s %s", l.err.subject, l.err.msg);
    wait_for(&l, POLL_LOST);
    l.err = (Err){0};
    assert_int_equal(device_buffer_write(l.d, b, 0, &word, 4, &l.err), 0);
    assert_int_equal(l.err.id, ERR_DEVICE_LOST);
    lab_close(&l);
}

static void a_device_that_goes_away_in_an_answer_is_an_error(void **state) {
    (void)state;
    Lab l;
    OPEN(&l);
    compile(&l, "software");
    CheckStats stats;
    assert_int_equal(answer(&l, 1, 0, 3, &stats), ENGINE_FAILED);
    assert_int_equal(l.err.id, ERR_DEVICE_LOST);
    lab_close(&l);
}

static void closing_does_not_wait_for_anybody_to_poll(void **state) {
    (void)state;
    Lab l;
    OPEN(&l);
    BufferHandle b;
    u32 *back = NEW_N(l.arena, u32, 1 << 18);
    assert_true(device_buffer_make(l.d, 1 << 20, BUF_ARENA, &b, &l.err));
    for (int i = 0; i < 8; i++)
        assert_int_not_equal(device_buffer_read(l.d, b, 0, back, 1 << 20, &l.err), 0);
    lab_close(&l);
}

static void a_missing_library_is_named_with_what_helps(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    const char *old = getenv("HOB_WGPU");
    Str kept = arena_str(a, str_c(old));
    // no file, no library, a library of something else
    const char *const paths[] = {"/nowhere/libwgpu_native.so", "/dev/null", "libm.so.6"};
    for (int i = 0; i < 3; i++) {
        Device *d = NULL;
        Err err = {0};
        setenv("HOB_WGPU", paths[i], 1);
        assert_false(device_open(a, S("webgpu"), NULL, &d, &err));
        assert_int_equal(err.id, ERR_DEVICE_UNKNOWN);
        assert_true(str_has(str_c(err.msg), S("tools/setup webgpu")) &&
                    str_has(str_c(err.msg), S("HOB_WGPU")));
    }
    if (old)
        setenv("HOB_WGPU", kept.ptr, 1);
    else
        unsetenv("HOB_WGPU");
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_missing_library_is_named_with_what_helps),
        cmocka_unit_test(bytes_go_to_the_adapter_and_back_in_order),
        cmocka_unit_test(a_wrong_text_is_an_error_in_the_compilers_words),
        cmocka_unit_test(every_kernel_of_a_small_model_is_right),
        cmocka_unit_test(tokens_of_several_submits_come_in_order),
        cmocka_unit_test(a_pipeline_that_is_refused_is_an_error_of_the_submit),
        cmocka_unit_test(a_device_that_goes_away_loses_what_was_out),
        cmocka_unit_test(a_device_that_goes_away_in_an_answer_is_an_error),
        cmocka_unit_test(closing_does_not_wait_for_anybody_to_poll),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
