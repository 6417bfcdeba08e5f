// tests/quant/quantise_test.c: hob's own quantiser: what it says reads back near what was asked
// for, the search beats the extremes, and weights by column win where they must.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "quant/quant.h"

enum { K = 4096 };

typedef struct Row {
    float x[K], y[K], w[K];
    u8 bytes[4 * K];
} Row;

static u32 noise(u32 *s) {
    *s = *s * 1664525 + 1013904223;
    return *s >> 8;
}

// About a normal distribution: weights of a model look so.
static float bell(u32 *s) {
    float sum = 0;
    for (int i = 0; i < 12; i++) sum += (float)noise(s) / 16777216.0f;
    return (sum - 6) * 0.02f;
}

static double error_of(Row *r, FileType to, const float *weight, const float *count, bool plain) {
    double sum = 0;
    assert_true(filetype_encode_row(to, r->x, weight, K, plain, r->bytes));
    filetype_dequant_row(to, r->bytes, K, r->y);
    for (int i = 0; i < K; i++) {
        double e = (double)r->x[i] - (double)r->y[i];
        sum += e * e * (count ? (double)count[i] : 1);
    }
    return sum;
}

static void searched_scales_err_less_than_those_of_the_extremes(void **state) {
    (void)state;
    static Row r;
    u32 s = 3;
    for (int i = 0; i < K; i++) r.x[i] = bell(&s);
    double searched = error_of(&r, FT_Q4_1, NULL, NULL, false);
    double plain = error_of(&r, FT_Q4_1, NULL, NULL, true);
    assert_true(searched > 0 && searched < 0.80 * plain);
    double five = error_of(&r, FT_Q5_0, NULL, NULL, false);
    double eight = error_of(&r, FT_Q8_0, NULL, NULL, false);
    assert_true(five < 0.7 * searched && eight < 0.05 * five); // what a byte more buys
}

// A few columns carry the product, and large weights stand in the others: who goes by the weights
// alone spends the sixteen numbers on what is multiplied by nothing.
static void weighting_by_column_wins_where_columns_differ(void **state) {
    (void)state;
    static Row r;
    u32 s = 5;
    for (int i = 0; i < K; i++) {
        bool heavy = i % 4 == 1;
        r.x[i] = bell(&s) * (heavy ? 1.0f : 4.0f);
        r.w[i] = heavy ? 25.0f : 0.01f;
    }
    double blind = error_of(&r, FT_Q4_1, NULL, r.w, false);
    double seeing = error_of(&r, FT_Q4_1, r.w, r.w, false);
    assert_true(seeing < 0.5 * blind);
    blind = error_of(&r, FT_Q5_0, NULL, r.w, false);
    assert_true(error_of(&r, FT_Q5_0, r.w, r.w, false) < 0.9 * blind);
    // weights that are all alike, or all nothing, change no byte
    static u8 before[4 * K];
    assert_true(filetype_encode_row(FT_Q4_1, r.x, NULL, K, false, before));
    for (int i = 0; i < K; i++) r.w[i] = 8;
    assert_true(filetype_encode_row(FT_Q4_1, r.x, r.w, K, false, r.bytes));
    assert_memory_equal(r.bytes, before, K / 32 * 20);
    memset(r.w, 0, sizeof r.w);
    assert_true(filetype_encode_row(FT_Q4_1, r.x, r.w, K, false, r.bytes));
    assert_memory_equal(r.bytes, before, K / 32 * 20);
}

static void what_a_format_can_say_it_says_exactly(void **state) {
    (void)state;
    static Row r;
    u32 s = 7;
    static const FileType types[] = {FT_F32, FT_F16, FT_BF16, FT_Q8_0, FT_Q5_0, FT_Q4_1};
    for (size_t t = 0; t < COUNT_OF(types); t++) {
        for (int i = 0; i < K; i++) {
            int q = (int)(noise(&s) % 16);
            if (i % 32 == 0) q = 0; // both ends of the range, so that the extremes say it
            if (i % 32 == 1) q = 15;
            r.x[i] = types[t] == FT_Q4_1 ? 0.25f * (float)q - 1.5f : 0.25f * (float)(q - 16);
            if (types[t] == FT_Q8_0) r.x[i] = 0.25f * (float)(q == 15 ? -128 : q);
        }
        if (types[t] == FT_Q5_0 || types[t] == FT_Q8_0)
            for (int i = 0; i < K; i += 32) r.x[i] = types[t] == FT_Q5_0 ? -4 : -32;
        assert_true(filetype_encodes(types[t]));
        assert_true(error_of(&r, types[t], NULL, NULL, false) == 0);
    }
    memset(r.x, 0, sizeof r.x);
    for (size_t t = 0; t < COUNT_OF(types); t++)
        assert_true(error_of(&r, types[t], NULL, NULL, false) == 0);
    assert_false(filetype_encodes(FT_Q4_K) || filetype_encodes(FT_Q6_K));
}

static void what_is_no_number_is_refused(void **state) {
    (void)state;
    static Row r;
    static const u32 bad[] = {0x7F800000, 0xFF800000, 0x7FC00000};
    for (int t = 0; t < FT_COUNT; t++)
        for (size_t i = 0; filetype_encodes((FileType)t) && t != FT_F32 && i < COUNT_OF(bad); i++) {
            memset(r.x, 0, sizeof r.x);
            r.x[77] = bits_f32(bad[i]);
            assert_false(filetype_encode_row((FileType)t, r.x, NULL, 128, false, r.bytes));
            r.x[77] = 1e30f; // past half precision, in which every scale is
            assert_int_equal(filetype_encode_row((FileType)t, r.x, NULL, 128, false, r.bytes),
                             t == FT_BF16);
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(searched_scales_err_less_than_those_of_the_extremes),
        cmocka_unit_test(weighting_by_column_wins_where_columns_differ),
        cmocka_unit_test(what_a_format_can_say_it_says_exactly),
        cmocka_unit_test(what_is_no_number_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
