// The check of kernels on the device: right ones pass, a wrong one is found and named.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tune/tune.h"
#include "compile/llama_text.h"

typedef struct Broken {
    int kernel; // which of the program's kernels is wrong; -1: none
    const Program *p;
} Broken;

static bool interp(void *user, Arena *scratch, const ProgKernel *k, void *const *arg,
                   const u64 *bytes, const i32 *dims, const u32 grid[3], Err *err) {
    const Broken *b = user;
    if (!tune_interp(NULL, scratch, k, arg, bytes, dims, grid, err)) return false;
    if (b->kernel < 0 || k->nest_key != b->p->kernels[b->kernel].nest_key) return true;
    for (int i = 0; i < k->nbind; i++)
        for (u64 w = 0; k->writes[i] && w < bytes[i] / 4; w++)
            ((u32 *)arg[i])[w] ^= 0x00800001; // half or double of a number, another of an index
    return true;
}

typedef struct Lab {
    Arena *arena;
    Program *p;
    Device *device;
    Broken broken;
    Err err;
} Lab;

// Not built: a profile that no kernels were printed for, so that all run in the interpreter, where
// one can be broken.
static void lab_open(Lab *l, const char *profile, bool built) {
    *l = (Lab){.arena = arena_new(NULL), .broken = {.kernel = -1}};
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
    Profile p;
    assert_true(profile_named(str_c(profile), &p));
    if (!built) p.row_tile /= 2;
    CompileOptions o = {
        .profile = &p, .graph_text = llama_text(l->arena, &shape), .graph_file = S("test.hgraph")};
    if (!compile_program(l->arena, NULL, &o, &l->p, &l->err))
        fail_msg("%s: %s", l->err.subject, l->err.msg);
    l->broken.p = l->p;
    DeviceOptions d = {.threads = 1, .interp = interp, .user = &l->broken};
    assert_true(device_open(l->arena, S("cpu"), &d, &l->device, &l->err));
}

// Answers a prompt of n tokens; what the engine says of it.
static EngineState answer(Lab *l, u32 n, double temperature, CheckStats *stats) {
    Engine *e;
    Checker *c = checker_new(l->arena);
    // no file: all weights are zero, which the check does not look at
    EngineDesc d = {.device = l->device, .program = l->p, .hooks = {tune_check_kernel, c}};
    i32 prompt[12] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    EngineRequest r = {.prompt = prompt, .n = n, .max_tokens = 2, .sample = {temperature, 5, 1}};
    EngineState s;
    assert_true(engine_new(l->arena, &d, &e, &l->err));
    while ((s = engine_load_step(e, NULL, &l->err)) == ENGINE_WORKING) {
    }
    assert_int_equal(s, ENGINE_DONE);
    assert_true(engine_start(e, &r, &l->err));
    while ((s = engine_step(e, &l->err)) == ENGINE_WORKING || s == ENGINE_TOKEN) {
    }
    if (stats) *stats = *checker_stats(c);
    checker_free(c);
    engine_free(e);
    return s;
}

static void lab_close(Lab *l) {
    device_close(l->device);
    arena_free(l->arena);
}

static void right_kernels_pass(void **state) {
    (void)state;
    // kernels of the build, and the interpreter's
    const char *const profiles[] = {"cpu", "cpu4", "gpu"};
    const u32 lengths[] = {1, 5, 12}; // each regime
    for (int p = 0; p < 3; p++) {
        Lab l;
        lab_open(&l, profiles[p], true);
        for (size_t i = 0; i < COUNT_OF(lengths); i++) {
            CheckStats stats;
            if (answer(&l, lengths[i], i == 1, &stats) != ENGINE_DONE)
                fail_msg("%s: %s", l.err.subject, l.err.msg);
            assert_true(stats.kernels >= 8 && stats.outputs >= 64 && stats.worst < 1e-4);
        }
        lab_close(&l);
    }
}

static void a_wrong_kernel_is_found_and_named(void **state) {
    (void)state;
    Lab l;
    lab_open(&l, "cpu4", false);
    int found = 0, used = 0;
    for (int k = 0; k < l.p->nkernels; k++) {
        l.broken.kernel = k;
        for (int hot = 0; hot < 2; hot++) {
            l.err = (Err){0};
            bool runs = false;
            for (int r = 0; r < REGIME_COUNT; r += 2) // a prompt of 12, then decode
                for (int s = 0; s < l.p->regimes[r].nsteps; s++) {
                    bool sampler = s >= l.p->regimes[r].greedy;
                    bool mine = s >= l.p->regimes[r].sample ? hot : !hot;
                    runs |= l.p->regimes[r].steps[s].kernel == (u32)k && (!sampler || mine);
                }
            if (!runs) continue;
            used++;
            EngineState s = answer(&l, 12, hot, NULL);
            if (s != ENGINE_FAILED || l.err.id != ERR_ENGINE_CHECK ||
                !str_eq(str_c(l.err.subject), l.p->kernels[k].name) ||
                !str_has(str_c(l.err.msg), S("report it")))
                fail_msg("%.*s is wrong and was let pass: %s: %s", STR_ARG(l.p->kernels[k].name),
                         l.err.subject, l.err.msg);
            found++;
        }
    }
    assert_true(found == used && found > 20);
    lab_close(&l);
}

// An argument is written in windows, and the referee asks for words of it one by one.
static void random_words_are_the_same_by_pieces(void **state) {
    (void)state;
    enum { N = 30000, PLANE1 = 20011 };
    Arena *a = arena_new(NULL);
    Exprs *x = exprs_new(a);
    Weight w = {.encoding = QUANT_Q4_1};
    static u32 all[N], part[N];
    const Type types[] = {TY_F32, TY_U32, TY_I32, TY_U32};
    u64 alike = 0;
    for (int i = 0; i < 4; i++) {
        const Expr *n = ex_int(x, N);
        Buffer *b = (Buffer *)buffer_new(x, "b", types[i], SCOPE_ARG, 1, &n);
        if (types[i] == TY_I32) b->lo = -3, b->hi = 40;
        CheckArg arg = {.buf = b, .pattern = check_pattern(a), .words = N, .seed = 77};
        if (i == 3) arg.weight = &w, arg.plane1 = PLANE1;
        check_words(&arg, 0, N, all);
        for (u64 at = 0, step = 1; at < N; at += step, step = step * 5 % 9973 + 1) {
            u64 k = MIN2(step, N - at);
            check_words(&arg, at, k, part);
            assert_memory_equal(part, all + at, k * 4);
        }
        for (int k = 0; k < N; k++) {
            i32 v = (i32)all[k];
            assert_true(types[i] != TY_I32 || (v >= -3 && v <= 40));
            assert_true(types[i] != TY_F32 || (bits_f32(all[k]) >= -1 && bits_f32(all[k]) <= 1));
            assert_true(i != 3 || k < PLANE1 || (all[k] | 0x83FF03FFu) == 0xB3FF2BFFu);
            alike += i < 2 && k >= 8191 && all[k] == all[k - 8191];
        }
    }
    assert_true(alike < 10); // the pattern is another one each time
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(right_kernels_pass),
        cmocka_unit_test(a_wrong_kernel_is_found_and_named),
        cmocka_unit_test(random_words_are_the_same_by_pieces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
