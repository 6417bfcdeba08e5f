// tests/quant/quant_test.c: number formats against NumPy's golden values (tests/golden/quant): the
// host's dequantiser, and repacked words read back through the expression that kernels inline. Runs
// from the project's root.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "quant/quant.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROWS_MOST = 8, K_MOST = 512 };

typedef struct Golden {
    u32 rows, k;
    u8 bytes[ROWS_MOST][4 * K_MOST];
    u32 bits[ROWS_MOST][K_MOST];
} Golden;

static u32 hex(const char *p, int digits) {
    char t[9] = {0};
    memcpy(t, p, (size_t)digits);
    return (u32)strtoul(t, NULL, 16);
}

static void golden_read(FileType type, Golden *g) {
    char path[64] = "tests/golden/quant/", line[16384];
    size_t n = strlen(path), i = 0;
    for (const char *c = filetype_info(type)->name; *c; c++)
        path[n++] = *c >= 'A' && *c <= 'Z' ? (char)(*c + 32) : *c;
    memcpy(path + n, ".txt", 5);
    FILE *f = fopen(path, "r");
    if (!f) fail_msg("%s cannot be read: run from the project's root", path);
    memset(g, 0, sizeof *g);
    while (fgets(line, sizeof line, f)) {
        if (sscanf(line, "size %u %u", &g->rows, &g->k) == 2)
            assert_true(g->rows <= ROWS_MOST && g->k <= K_MOST);
        if (strncmp(line, "bytes ", 6) == 0)
            for (size_t b = 0; line[6 + 2 * b] > ' '; b++)
                g->bytes[i][b] = (u8)hex(line + 6 + 2 * b, 2);
        if (strncmp(line, "values ", 7) == 0) {
            for (u32 k = 0; k < g->k; k++) g->bits[i][k] = hex(line + 7 + 9 * k, 8);
            i++;
        }
    }
    fclose(f);
    assert_int_equal(i, g->rows);
}

static void dequantised_rows_equal_numpy(void **state) {
    (void)state;
    for (int t = 0; t < FT_COUNT; t++) {
        Golden g;
        float v[K_MOST];
        golden_read((FileType)t, &g);
        for (u32 r = 0; r < g.rows; r++) {
            filetype_dequant_row((FileType)t, g.bytes[r], g.k, v);
            for (u32 k = 0; k < g.k; k++) assert_int_equal(f32_bits(v[k]), g.bits[r][k]);
        }
    }
}

// ---- repacked words through the expression ------------------------------------------------------

typedef struct Words {
    u32 *w;
    u64 n;
    const Var *row, *k, *rows_padded, *cols;
    i64 at[4];
} Words;

static bool get_var(void *user, const Var *v, Value *out) {
    const Words *s = user;
    const Var *vars[] = {s->row, s->k, s->rows_padded, s->cols};
    for (int i = 0; i < 4; i++)
        if (v == vars[i]) {
            *out = (Value){.type = TY_I32, .i = s->at[i]};
            return true;
        }
    return false;
}

static bool get_word(void *user, const Buffer *b, const i64 *idx, Value *out) {
    const Words *s = user;
    (void)b;
    assert_true(idx[0] >= 0 && (u64)idx[0] < s->n);
    *out = (Value){.type = TY_U32, .i = s->w[idx[0]]};
    return true;
}

// The value at (s->row, s->k) of the words s->w.
static const Expr *value_expr(Exprs *x, Words *s, QuantId q, u32 n_rows, u32 n_cols, u32 interleave,
                              bool symbolic) {
    const Expr *n = ex_int(x, (i64)s->n);
    const Buffer *w = buffer_new(x, "w", TY_U32, SCOPE_ARG, 1, &n);
    u32 block = quant_info(q)->block, padded = (u32)round_up(n_rows, interleave);
    Var *cols = var_new(x, "K", TY_I32, block, 1 << 20),
        *rows = var_new(x, "R", TY_I32, interleave, 1 << 20);
    cols->divisor = block;
    rows->divisor = interleave;
    s->row = var_new(x, "o", TY_I32, 0, n_rows - 1);
    s->k = var_new(x, "k", TY_I32, 0, n_cols - 1);
    s->cols = cols;
    s->rows_padded = rows;
    return quant_value(x, q, w, ex_var(x, s->row), ex_var(x, s->k),
                       symbolic ? ex_var(x, rows) : ex_int(x, padded),
                       symbolic ? ex_var(x, cols) : ex_int(x, n_cols), interleave);
}

static void check_repacked(FileType type, QuantId q, u32 interleave, bool symbolic) {
    Golden g;
    golden_read(type, &g);
    Arena *a = arena_new(NULL);
    Exprs *x = exprs_new(a);
    u32 padded = (u32)round_up(g.rows, interleave);
    u64 bytes;
    assert_true(quant_bytes(q, g.rows, g.k, interleave, &bytes));
    Words s = {.w = NEW_N(a, u32, bytes / 4), .n = bytes / 4};
    RepackTarget t = {
        q, g.k, interleave, padded, {s.w, s.w + (size_t)padded * quant_words(q, 0, g.k)}};
    for (u32 r = g.rows; r-- > 0;) // any order
        assert_true(quant_repack_row(&t, type, g.bytes[r], r));

    const Expr *e = value_expr(x, &s, q, g.rows, g.k, interleave, symbolic);
    assert_int_equal(e->type, TY_F32);
    const Expr *simple = expr_simplify(x, e);
    Env env = {get_var, get_word, &s, true};
    s.at[2] = padded;
    s.at[3] = g.k;
    for (u32 r = 0; r < g.rows; r++)
        for (u32 k = 0; k < g.k; k++) {
            Value v, after;
            s.at[0] = r;
            s.at[1] = k;
            assert_true(expr_eval(e, &env, &v) && expr_eval(simple, &env, &after));
            assert_int_equal(f32_bits((float)v.f), g.bits[r][k]);
            assert_int_equal(f32_bits((float)after.f), g.bits[r][k]);
        }
    arena_free(a);
}

static void repacked_words_mean_what_numpy_says(void **state) {
    (void)state;
    static const u32 weaves[] = {1, 4, 8};
    for (int t = 0; t < FT_COUNT; t++)
        for (size_t i = 0; i < COUNT_OF(weaves); i++) {
            check_repacked((FileType)t, filetype_info((FileType)t)->quant, weaves[i], false);
            check_repacked((FileType)t, filetype_info((FileType)t)->quant, weaves[i], true);
        }
}

// A kernel's check on a device fills weights with them: infinities and NaN would prove nothing.
static void random_words_mean_numbers_near_one(void **state) {
    (void)state;
    enum { ROWS = 6, WEAVE = 4 };
    for (int q = 0; q < QUANT_COUNT; q++) {
        Arena *a = arena_new(NULL);
        Exprs *x = exprs_new(a);
        u32 cols = (u32)round_up(192, quant_info((QuantId)q)->block);
        u64 bytes, padded = round_up(ROWS, WEAVE);
        assert_true(quant_bytes((QuantId)q, ROWS, cols, WEAVE, &bytes));
        Words s = {.w = NEW_N(a, u32, bytes / 4), .n = bytes / 4};
        u32 bits = 1;
        for (u64 i = 0; i < s.n; i++) {
            bits = bits * 1664525 + 1013904223;
            s.w[i] = quant_random_word((QuantId)q, i >= padded * quant_words((QuantId)q, 0, cols),
                                       bits ^ bits >> 15);
        }
        const Expr *e = value_expr(x, &s, (QuantId)q, ROWS, cols, WEAVE, false);
        Env env = {get_var, get_word, &s, true};
        double sum = 0;
        for (s.at[0] = 0; s.at[0] < ROWS; s.at[0]++)
            for (s.at[1] = 0; s.at[1] < cols; s.at[1]++) {
                Value v;
                assert_true(expr_eval(e, &env, &v));
                assert_true(v.f >= -2 && v.f <= 2); // and no NaN
                sum += v.f < 0 ? -v.f : v.f;
            }
        assert_true(sum / (ROWS * cols) > 0.05);
        arena_free(a);
    }
}

static void every_file_type_widens_to_f32(void **state) {
    (void)state;
    for (int t = 0; t < FT_COUNT; t++) check_repacked((FileType)t, QUANT_F32, 4, false);
}

static void a_file_type_leads_nowhere_else(void **state) {
    (void)state;
    u32 words[384];
    u8 row[1024] = {0};
    for (int t = 0; t < FT_COUNT; t++)
        for (int q = 0; q < QUANT_COUNT; q++) {
            u32 k = MAX2(32, filetype_info((FileType)t)->elems);
            RepackTarget to = {(QuantId)q, k, 1, 1, {words, words + 256}};
            bool leads = q == QUANT_F32 || filetype_info((FileType)t)->quant == (QuantId)q;
            assert_int_equal(quant_repack_row(&to, (FileType)t, row, 0), leads);
        }
}

// A weight streamed by windows of whole groups is the weight repacked at once.
static void windows_of_groups_make_the_whole(void **state) {
    (void)state;
    enum { R = 4, PADDED = 8 };
    for (int t = 0; t < FT_COUNT; t++) {
        Golden g;
        golden_read((FileType)t, &g);
        QuantId q = filetype_info((FileType)t)->quant;
        size_t w0 = quant_words(q, 0, g.k), w1 = quant_words(q, 1, g.k);
        u32 *whole = calloc(PADDED * (w0 + w1), 4), *window = calloc(R * (w0 + w1), 4);
        RepackTarget all = {q, g.k, R, PADDED, {whole, whole + PADDED * w0}};
        for (u32 r = 0; r < g.rows; r++)
            assert_true(quant_repack_row(&all, (FileType)t, g.bytes[r], r));
        for (u32 group = 0; group < PADDED / R; group++) {
            memset(window, 0, R * (w0 + w1) * 4);
            RepackTarget part = {q, g.k, R, R, {window, window + R * w0}};
            for (u32 r = group * R; r < MIN2(g.rows, (group + 1) * R); r++)
                assert_true(quant_repack_row(&part, (FileType)t, g.bytes[r], r % R));
            assert_memory_equal(window, whole + group * R * w0, R * w0 * 4);
            assert_memory_equal(window + R * w0, whole + PADDED * w0 + group * R * w1, R * w1 * 4);
        }
        free(whole);
        free(window);
    }
}

static void odd_rows_of_halves_end_in_a_zero_half(void **state) {
    (void)state;
    u32 words[2] = {7, 7};
    const u8 row[6] = {1, 2, 3, 4, 5, 6};
    RepackTarget t = {QUANT_F16, 3, 1, 1, {words, NULL}};
    assert_int_equal(quant_words(QUANT_F16, 0, 3), 2);
    assert_true(quant_repack_row(&t, FT_F16, row, 0));
    assert_int_equal(words[0], 0x04030201);
    assert_int_equal(words[1], 0x0605);
}

static void sizes_are_counted_and_checked(void **state) {
    (void)state;
    u64 bytes;
    assert_int_equal(quant_words(QUANT_Q4_1, 0, 576), 72);
    assert_int_equal(quant_words(QUANT_Q4_1, 1, 576), 18);
    assert_int_equal(quant_words(QUANT_Q8_0, 1, 96), 2); // three halves
    assert_int_equal(quant_words(QUANT_F32, 1, 96), 0);
    assert_true(quant_bytes(QUANT_Q4_1, 5, 64, 8, &bytes));
    assert_int_equal(bytes, 8 * (8 + 2) * 4);
    assert_true(quant_bytes(QUANT_Q8_0, (u64)1 << 30, 4096, 4, &bytes)); // past 32 bits
    assert_true(bytes == ((u64)1 << 30) * (1024 + 64) * 4);
    assert_false(quant_bytes(QUANT_F32, UINT64_MAX, 1, 8, &bytes));
    assert_false(quant_bytes(QUANT_F32, (u64)1 << 40, (u64)1 << 40, 1, &bytes));
    assert_false(quant_bytes(QUANT_F32, 1, (u64)1 << 63, 1, &bytes));
    assert_int_equal(quant_words(QUANT_F32, 0, (u64)1 << 40), UINT32_MAX);
}

static void names_lead_both_ways(void **state) {
    (void)state;
    QuantId q;
    FileType t;
    for (int i = 0; i < QUANT_COUNT; i++)
        assert_true(quant_named(str_c(quant_info((QuantId)i)->name), &q) && (int)q == i);
    assert_false(quant_named(S("q9_9"), &q));
    for (int i = 0; i < FT_COUNT; i++)
        assert_true(filetype_from_gguf(filetype_info((FileType)i)->gguf_id, &t) && (int)t == i);
    assert_false(filetype_from_gguf(39, &t));
    char text[128];
    Buf b = {.ptr = text, .cap = sizeof text};
    filetype_names(&b);
    assert_true(str_starts(buf_str(&b), S("F32, F16, Q4_0")));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(dequantised_rows_equal_numpy),
        cmocka_unit_test(repacked_words_mean_what_numpy_says),
        cmocka_unit_test(random_words_mean_numbers_near_one),
        cmocka_unit_test(every_file_type_widens_to_f32),
        cmocka_unit_test(a_file_type_leads_nowhere_else),
        cmocka_unit_test(windows_of_groups_make_the_whole),
        cmocka_unit_test(odd_rows_of_halves_end_in_a_zero_half),
        cmocka_unit_test(sizes_are_counted_and_checked),
        cmocka_unit_test(names_lead_both_ways),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
