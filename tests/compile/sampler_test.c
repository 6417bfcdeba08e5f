// tests/compile/sampler_test.c: the integer sampler against an independent one in plain C: the same
// token for the same logits, seed and position, whatever the profile; and the tokens' frequencies
// are those of the softmax.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include "run.h"

static Str tiny_graph(Arena *a, int vocab) {
    return str_fmt(a,
                   "graph ctx=64 chunk=4 m=1 vocab=%d layers=0\n"
                   "weight e: f32[%d, 8] = e[0+%d]\nring tokens: i32[4096]\n"
                   "x = embed(e, tokens)\nlast = take_rows(x)\nlogits out = matmul(last, e)\n"
                   "argmax(out, tokens)\nsample(out, tokens)\n",
                   vocab, vocab, vocab);
}

static void open_tiny(Run *r, const char *profile, int vocab) {
    Arena *a = arena_new(NULL);
    Profile p;
    *r = (Run){0};
    assert_true(profile_named(str_c(profile), &p));
    if (!run_open_text(r, tiny_graph(a, vocab), &p, "")) run_show(&r->err);
    assert_int_equal(r->err.id, ERR_NONE);
    arena_free(a);
}

// ---- the reference: what DESIGN calls the integer sampler, written down once more from its definition ----
static u32 mix32(u32 a) {
    a = (a ^ a >> 16) * 0x7feb352du;
    a = (a ^ a >> 15) * 0x846ca68bu;
    return a ^ a >> 16;
}

static u32 random_for(u32 lo, u32 hi, u32 next, u32 which) {
    u32 a = mix32(lo + 0x9e3779b9u);
    a = mix32((a ^ hi) + 0x85ebca6bu);
    return mix32((a ^ next * 2) + 0xc2b2ae35u + which);
}

static i32 fixed(float logit, i32 inv_temp) {
    float f = logit * (float)inv_temp;
    if (f > 0x1p29f) f = 0x1p29f;
    if (f < -0x1p29f) f = -0x1p29f;
    return (i32)f;
}

static u32 weight_of(u32 distance, const u32 *table) {
    u64 turns = ((u64)(distance << 11) * 3098164009u) >> 32;
    u64 w = (u64)table[turns >> 21 & 31] * table[32 + (turns >> 16 & 31)] >> 32;
    u32 shift = 9 + (u32)(turns >> 26);
    return (u32)(w >> (shift > 31 ? 31 : shift));
}

static int descending(const void *a, const void *b) {
    i32 x = *(const i32 *)a, y = *(const i32 *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

static i32 sample_reference(const float *logits, int vocab, const i32 *params, const u32 *table) {
    static i32 key[70000], sorted[70000];
    static u32 w[70000];
    float top = logits[0];
    for (int i = 1; i < vocab; i++) top = logits[i] > top ? logits[i] : top;
    i32 best = fixed(top, params[PARAM_INV_TEMP]);
    for (int i = 0; i < vocab; i++) {
        i32 away = best - fixed(logits[i], params[PARAM_INV_TEMP]);
        key[i] = sorted[i] = 1048575 - (away > 1048575 ? 1048575 : away);
    }
    qsort(sorted, (size_t)vocab, sizeof *sorted, descending);
    int k = params[PARAM_TOP_K];
    i32 limit = sorted[k <= 0 || k > vocab ? vocab - 1 : k - 1];
    int blocks = (vocab + 255) / 256, down = 0;
    while ((((u64)1 << 31 >> down) + 1) * (u64)blocks > UINT32_MAX) down++;
    u32 total = 0;
    for (int i = 0; i < vocab; i++)
        w[i] = key[i] >= limit && key[i] > 0 ? weight_of((u32)(1048575 - key[i]), table) : 0;
    u32 prefix[300];
    for (int b = 0; b < blocks; b++) {
        u32 sum = 0;
        for (int i = b * 256; i < b * 256 + 256 && i < vocab; i++) sum += w[i];
        total += (sum + ((1u << down) - 1)) >> down;
        prefix[b] = total;
    }
    u32 lo = (u32)params[PARAM_SEED_LO], hi = (u32)params[PARAM_SEED_HI],
        next = (u32)params[PARAM_ROWS + ROW_NEXT];
    u32 r = (u32)((u64)random_for(lo, hi, next, 0) * total >> 32);
    int block = 0;
    while (prefix[block] <= r) block++;
    u32 sum = 0, at = 0;
    for (int i = block * 256; i < block * 256 + 256 && i < vocab; i++) sum += w[i];
    r = (u32)((u64)random_for(lo, hi, next, 1) * sum >> 32);
    for (int i = block * 256;; i++) {
        at += w[i];
        if (at > r) return i;
    }
}

// The compiler's table of powers, found in the program as the constant it is.
static const u32 *exp2_table(const Run *r) {
    for (int i = 0; i < r->p->nbuffers; i++)
        if (str_eq(r->p->buffers[i].name, S("sample.exp2")))
            return (const u32 *)(const void *)r->buf[i];
    return NULL;
}

static float gauss(u32 *s) {
    double u = ((double)run_noise(s) + 1) / 4294967297.0, v = (double)run_noise(s) / 4294967296.0;
    return (float)(sqrt(-2 * log(u)) * cos(6.283185307179586 * v));
}

static void check_profile(const char *profile, int vocab, int rounds) {
    Run r;
    open_tiny(&r, profile, vocab);
    const Regime *g = &r.p->regimes[REGIME_ROW];
    u32 s = 1;
    for (int round = 0; round < rounds; round++) {
        float *logits = run_logits(&r);
        for (int i = 0; i < vocab; i++) logits[i] = gauss(&s) * 4;
        if (round % 3 == 2) // ties, also at the threshold
            for (int i = 0; i < vocab; i++) logits[i] = (float)(int)logits[i];
        u32 pos = run_noise(&s) % 60;
        run_rows(&r, pos, 1);
        i32 *w = run_params(&r);
        w[PARAM_SEED_LO] = (i32)run_noise(&s);
        w[PARAM_SEED_HI] = (i32)run_noise(&s);
        w[PARAM_TOP_K] = (i32[]){0, 1, 2, 40, 100000, 7}[round % 6];
        w[PARAM_INV_TEMP] = (i32)(65536.0 / (0.2 + 0.3 * (round % 5)) + 0.5);
        bool ok = run_steps(&r, REGIME_ROW, g->sample, g->nsteps, 1, 1);
        if (!ok) run_show(&r.err);
        assert_true(ok);
        assert_int_equal(run_ring(&r)[(pos + 1) & (TOKEN_RING - 1)],
                         sample_reference(logits, vocab, w, exp2_table(&r)));
        // and the greedy choice: the smallest id of the largest logit
        assert_true(run_steps(&r, REGIME_ROW, g->greedy, g->sample, 1, 1));
        int best = 0;
        for (int i = 1; i < vocab; i++)
            if (logits[i] > logits[best]) best = i;
        assert_int_equal(run_ring(&r)[(pos + 1) & (TOKEN_RING - 1)], best);
    }
    run_close(&r);
}

static void sampler_agrees_with_the_reference_on_every_profile(void **state) {
    (void)state;
    const char *const profiles[] = {"gpu", "software", "cpu", "cpu4"};
    for (size_t i = 0; i < COUNT_OF(profiles); i++) {
        check_profile(profiles[i], 1, 2);
        check_profile(profiles[i], 257, 12);
        check_profile(profiles[i], 1003, 6);
    }
}

static void powers_in_the_table_are_right_to_the_last_bits(void **state) {
    (void)state;
    Run r;
    open_tiny(&r, "gpu", 300);
    const u32 *t = exp2_table(&r);
    for (int i = 0; i < 32; i++) {
        assert_true(fabs(t[i] - exp2(-i / 32.0) * 4294967296.0) < 8);
        assert_true(fabs(t[32 + i] - exp2(-i / 1024.0) * 4294967296.0) < 8);
    }
    for (u32 d = 0; d < 1048576; d += 997) {
        double want = exp(-(double)d / 65536) * 8388608;
        assert_true(fabs(weight_of(d, t) - want) < 2 + want * 1e-3);
    }
    run_close(&r);
}

static void tokens_come_as_often_as_the_softmax_says(void **state) {
    (void)state;
    Run r;
    open_tiny(&r, "gpu", 300);
    enum { N = 20000 };
    static int seen[300];
    double sum = 0;
    float *logits = run_logits(&r);
    for (int i = 0; i < 300; i++) logits[i] = i % 50 == 7 ? (float)(i / 50) * 0.7f : -20.0f;
    for (int i = 0; i < 300; i++) sum += exp(logits[i]);
    run_rows(&r, 0, 1);
    run_params(&r)[PARAM_INV_TEMP] = 65536;
    for (int i = 0; i < N; i++) { // the reference is the sampler, as the test above shows
        run_params(&r)[PARAM_SEED_LO] = i;
        seen[sample_reference(logits, 300, run_params(&r), exp2_table(&r))]++;
    }
    for (int i = 0; i < 300; i++) {
        double e = exp(logits[i]) / sum * N;
        assert_true(fabs(seen[i] - e) < 5 * sqrt(e) + 2);
    }
    run_close(&r);
}

// One NaN anywhere in a model makes all its logits NaN: the ring gets the vocabulary's size then,
// and a step that was handed over ahead reads some row of the table. A single NaN is passed over or
// makes it the same error, whatever max does with it.
static void logits_that_are_not_numbers_give_no_token(void **state) {
    (void)state;
    const char *const profiles[] = {"gpu", "software", "cpu", "cpu4"};
    for (int k = 0; k < 3 * (int)COUNT_OF(profiles); k++) {
        Run r;
        open_tiny(&r, profiles[k / 3], 300);
        const Regime *g = &r.p->regimes[REGIME_ROW];
        for (int pass = 0; pass < 2; pass++) {
            float *x = run_logits(&r);
            for (int i = 0; i < 300; i++) x[i] = k % 3 == 0 ? NAN : k % 3 == 1 ? -INFINITY : 1;
            if (k % 3 != 0) x[257] = NAN;
            run_rows(&r, 5, 1);
            run_params(&r)[PARAM_INV_TEMP] = 65536;
            run_ring(&r)[6] = -1;
            assert_true(pass ? run_steps(&r, REGIME_ROW, g->sample, g->nsteps, 1, 1)
                             : run_steps(&r, REGIME_ROW, g->greedy, g->sample, 1, 1));
            i32 token = run_ring(&r)[6];
            assert_in_range(token, k % 3 == 0 ? 300 : 0, 300);
            assert_int_not_equal(token, 257);
            run_rows(&r, 6, 1);
            assert_true(run_steps(&r, REGIME_ROW, 0, g->greedy, 1, 1));
        }
        run_close(&r);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sampler_agrees_with_the_reference_on_every_profile),
        cmocka_unit_test(powers_in_the_table_are_right_to_the_last_bits),
        cmocka_unit_test(tokens_come_as_often_as_the_softmax_says),
        cmocka_unit_test(logits_that_are_not_numbers_give_no_token),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
