// tests/bake/bake_test.c: plans and files of hob bake: they read back, they keep to a size, and
// what a model multiplies with decides where the plan and the statistics say so.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "bake/bake.h"

#include <stdlib.h>

enum { K = 128, ROWS = 16, MATRICES = 3 };
static const char *const names[MATRICES] = {"token_embd.weight", "quiet", "loud"};

// A GGUF file of three f32 matrices, the third with a few large numbers, and a vector.
static u8 *model(size_t *size) {
    size_t cap = 1 << 16, n = 0;
    u8 *b = calloc(cap, 1);
#define PUT(v, bytes)                                                                              \
    for (u64 v_ = (v), i_ = 0; i_ < (bytes); i_++) b[n++] = (u8)(v_ >> 8 * i_)
#define PUT_STR(s)                                                                                 \
    PUT(strlen(s), 8);                                                                             \
    memcpy(b + n, s, strlen(s));                                                                   \
    n += strlen(s)
    PUT(0x46554747, 4);
    PUT(3, 4);
    PUT(MATRICES + 1, 8);
    PUT(1, 8);
    PUT_STR("general.name");
    PUT(8, 4);
    PUT_STR("small");
    for (u64 i = 0; i <= MATRICES; i++) {
        PUT_STR(i < MATRICES ? names[i] : "vector");
        PUT(i < MATRICES ? 2 : 1, 4);
        PUT(K, 8);
        if (i < MATRICES) PUT(ROWS, 8);
        PUT(0, 4);
        PUT(i * K * ROWS * 4, 8);
    }
    n = round_up(n, 32);
    u32 s = 11;
    for (u64 i = 0; i < MATRICES * K * ROWS + K; i++) {
        s = s * 1664525 + 1013904223;
        float v = (float)(i32)(s >> 8) / 16777216.0f - 0.5f;
        if (i / (K * ROWS) == 2 && s % 7 == 0) v *= 9;
        PUT(f32_bits(v), 4);
    }
    *size = n;
    return b;
}

typedef struct Out {
    u8 b[1 << 16];
    size_t n, most;
} Out;

static bool keep(void *user, const void *p, size_t n) {
    Out *o = user;
    if (n > o->most - o->n) return false;
    memcpy(o->b + o->n, p, n);
    o->n += n;
    return true;
}

// The file that the options make, opened again; *plan is what they said.
static Gguf *baked(Arena *a, const BakeOptions *o, BakePlan *plan, Gguf **from) {
    size_t n;
    u8 *b = model(&n), *mine = arena_alloc(a, n);
    memcpy(mine, b, n);
    free(b);
    Out *out = NEW(a, Out);
    out->most = sizeof out->b;
    Source *src = NEW(a, Source), *again = NEW(a, Source);
    Err e = {0};
    Gguf *g;
    *src = source_memory(mine, n, S("small.gguf"));
    if (!gguf_open(a, src, from, &e) || !bake_plan(a, *from, o, plan, &e) ||
        !bake_write(*from, plan, o, keep, out, &e))
        fail_msg("%s", e.msg);
    assert_int_equal(out->n, plan->bytes);
    *again = source_memory(out->b, out->n, S("small.safetensors"));
    if (!format_open(a, again, &g, &e)) fail_msg("%s", e.msg);
    return g;
}

static double error_of(Arena *a, const Gguf *f, const Gguf *g, const char *name) {
    BakeRows x, y;
    double sum = 0;
    const FileTensor *from = gguf_tensor(f, str_c(name)), *to = gguf_tensor(g, str_c(name));
    assert_true(from && to && from->dims[0] == to->dims[0] && from->dims[1] == to->dims[1]);
    assert_true(bake_rows(a, f, from, &x, &(Err){0}) && bake_rows(a, g, to, &y, &(Err){0}));
    for (u64 r = 0; r < x.rows; r++) {
        assert_true(bake_row(&x, r, &(Err){0}) && bake_row(&y, r, &(Err){0}));
        for (u64 i = 0; i < from->dims[0]; i++)
            sum += (double)(x.x[i] - y.x[i]) * (double)(x.x[i] - y.x[i]);
    }
    return sum;
}

static void a_baked_file_reads_back_near_its_model(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    BakePlan plan;
    Gguf *f, *g = baked(a, &(BakeOptions){0}, &plan, &f);
    Str name = {0};
    assert_true(gguf_get_str(g, S("general.name"), &name, &(Err){0}) && str_eq(name, S("small")));
    assert_int_equal(gguf_tensor(g, S("token_embd.weight"))->type, FT_Q8_0);
    assert_int_equal(gguf_tensor(g, S("quiet"))->type, FT_Q4_1);
    assert_int_equal(gguf_tensor(g, S("vector"))->type, FT_F32);
    assert_true(error_of(a, f, g, "vector") == 0);
    assert_true(error_of(a, f, g, "token_embd.weight") < 0.0001 * K * ROWS);
    assert_true(error_of(a, f, g, "quiet") < 0.001 * K * ROWS);
    // the same again, from what came out: smaller it cannot be, so that it is copied
    Out *out = NEW(a, Out);
    BakePlan second;
    out->most = sizeof out->b;
    assert_true(bake_plan(a, g, &(BakeOptions){0}, &second, &(Err){0}));
    assert_true(bake_write(g, &second, &(BakeOptions){0}, keep, out, &(Err){0}));
    assert_int_equal(out->n, plan.bytes);
    assert_memory_equal(out->b, gguf_source(g)->map, out->n);
    arena_free(a);
}

static void a_plan_keeps_to_its_size_and_uses_it(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    double before = -1;
    u64 last = 0;
    for (u64 size = 7000; size <= 30000; size += 1000) {
        BakePlan p;
        Gguf *f, *g = baked(a, &(BakeOptions){.size = size}, &p, &f);
        assert_true(p.bytes <= size && p.bytes >= last);
        double error = 0;
        for (int i = 0; i < MATRICES; i++) error += error_of(a, f, g, names[i]);
        assert_true(before < 0 || error <= before * 1.02); // sampled, and as shares: about
        before = error;
        last = p.bytes;
    }
    assert_true(before == 0); // there was room for everything as it is
    BakePlan p;
    Err e = {0};
    Gguf *f;
    baked(a, &(BakeOptions){0}, &p, &f);
    assert_false(bake_plan(a, f, &(BakeOptions){.size = 4000}, &p, &e));
    assert_int_equal(e.id, ERR_BAKE_SIZE);
    arena_free(a);
}

// The noise of one encoding for every matrix: squared error over squares, summed.
static double uniform_noise(Arena *a, const Gguf *f, FileType type, u64 *bytes) {
    double sum = 0;
    *bytes = 0;
    for (int i = 0; i < MATRICES; i++) {
        BakeRows x;
        double error = 0, all = 0;
        u8 b[K * 4];
        float y[K];
        assert_true(bake_rows(a, f, gguf_tensor(f, str_c(names[i])), &x, &(Err){0}));
        for (u64 r = 0; r < x.rows; r++) {
            assert_true(bake_row(&x, r, &(Err){0}));
            assert_true(filetype_encode_row(type, x.x, NULL, K, false, b));
            filetype_dequant_row(type, b, K, y);
            for (int k = 0; k < K; k++) {
                error += (double)(x.x[k] - y[k]) * (double)(x.x[k] - y[k]);
                all += (double)x.x[k] * (double)x.x[k];
            }
        }
        *bytes += x.rows * K / filetype_info(type)->elems * filetype_info(type)->bytes;
        sum += error / all;
    }
    return sum;
}

static void a_mixed_plan_beats_one_encoding_for_all_of_its_size(void **state) {
    (void)state;
    static const FileType types[] = {FT_Q4_1, FT_Q5_0, FT_Q8_0, FT_F16};
    Arena *a = arena_new(NULL);
    int sizes = 0, clearly = 0;
    for (u64 size = 7000; size <= 15000; size += 500) {
        BakePlan p;
        Gguf *f;
        baked(a, &(BakeOptions){.size = size}, &p, &f);
        double mixed = 0, best = 1e9;
        u64 bytes = 0;
        for (size_t i = 0; i < p.n; i++) {
            mixed += p.at[i].noise;
            if (p.at[i].from->nd > 1) bytes += p.at[i].bytes;
        }
        for (size_t t = 0; t < COUNT_OF(types); t++) {
            u64 n;
            double noise = uniform_noise(a, f, types[t], &n);
            if (n <= bytes) best = MIN2(best, noise);
        }
        assert_true(mixed <= best * 1.001);
        clearly += mixed < 0.8 * best;
        sizes++;
    }
    assert_true(clearly >= sizes / 2);
    arena_free(a);
}

static void what_a_matrix_is_multiplied_with_decides(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    float mean[K];
    for (int i = 0; i < K; i++) mean[i] = i % 4 ? 0.001f : 50;
    ColumnStats stats = {S("quiet"), K, mean};
    BakePlan p;
    Gguf *f, *blind = baked(a, &(BakeOptions){0}, &p, &f);
    Gguf *seeing = baked(a, &(BakeOptions){.stats = &stats, .nstats = 1}, &p, &f);
    const Gguf *both[2] = {blind, seeing};
    double of_product[2] = {0};
    for (int k = 0; k < 2; k++) {
        BakeRows x, y;
        assert_true(bake_rows(a, f, gguf_tensor(f, S("quiet")), &x, &(Err){0}));
        assert_true(bake_rows(a, both[k], gguf_tensor(both[k], S("quiet")), &y, &(Err){0}));
        for (u64 r = 0; r < ROWS; r++) {
            assert_true(bake_row(&x, r, &(Err){0}) && bake_row(&y, r, &(Err){0}));
            for (int i = 0; i < K; i++)
                of_product[k] +=
                    (double)mean[i] * (double)(x.x[i] - y.x[i]) * (double)(x.x[i] - y.x[i]);
        }
    }
    assert_true(of_product[1] < 0.6 * of_product[0]);
    assert_true(error_of(a, f, seeing, "loud") == error_of(a, f, blind, "loud"));
    arena_free(a);
}

static void a_full_disk_and_an_infinite_number_are_errors(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    size_t n;
    u8 *b = model(&n);
    Source src = source_memory(b, n, S("small.gguf"));
    Gguf *f;
    BakePlan p;
    Err e = {0};
    Out *out = NEW(a, Out);
    assert_true(gguf_open(a, &src, &f, &e));
    assert_true(bake_plan(a, f, &(BakeOptions){0}, &p, &e));
    for (out->most = 0; out->most < p.bytes; out->most += 777) {
        out->n = 0;
        e = (Err){0};
        assert_false(bake_write(f, &p, &(BakeOptions){0}, keep, out, &e));
        assert_int_equal(e.id, ERR_IO);
    }
    const FileTensor *t = gguf_tensor(f, S("quiet"));
    memcpy(b + t->off + 300, "\0\0\x80\x7f", 4);
    out->n = 0;
    out->most = sizeof out->b;
    e = (Err){0};
    assert_false(bake_write(f, &p, &(BakeOptions){0}, keep, out, &e));
    assert_int_equal(e.id, ERR_BAKE_VALUE);
    arena_free(a);
    free(b);
}

static void the_search_beats_the_extremes_on_every_matrix(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    BakePlan p;
    Gguf *f;
    BakeError *e;
    size_t n;
    baked(a, &(BakeOptions){0}, &p, &f);
    assert_true(bake_errors(a, f, &(BakeOptions){0}, &e, &n, &(Err){0}));
    assert_int_equal(n, MATRICES);
    for (size_t i = 0; i < n; i++) assert_true(e[i].searched > 0 && e[i].searched < e[i].plain);
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_baked_file_reads_back_near_its_model),
        cmocka_unit_test(a_plan_keeps_to_its_size_and_uses_it),
        cmocka_unit_test(a_mixed_plan_beats_one_encoding_for_all_of_its_size),
        cmocka_unit_test(what_a_matrix_is_multiplied_with_decides),
        cmocka_unit_test(a_full_disk_and_an_infinite_number_are_errors),
        cmocka_unit_test(the_search_beats_the_extremes_on_every_matrix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
