// tests/compile/run.h: a graph's text, compiled and run in the interpreter: memory for every
// buffer, weights of noise.
#ifndef TEST_COMPILE_RUN_H
#define TEST_COMPILE_RUN_H

#include <stdio.h>
#include <stdlib.h>
#include "compile/compile.h"

typedef struct Run {
    Arena *arena, *scratch;
    Program *p;
    u8 **buf;
    Err err;
} Run;

static inline u32 run_noise(u32 *s) { return *s = *s * 1664525u + 1013904223u; }

static inline void run_show(const Err *e) {
    char text[800];
    Buf b = {.ptr = text, .cap = sizeof text};
    err_print(e, &b);
    fprintf(stderr, "%s: %s\n", err_name(e->id), text);
}

// Values of about one whatever the encoding: f32 noise, and small scales before random nibbles and
// bytes.
static inline void run_fill_weight(const Run *r, const Weight *w, u32 seed) {
    u32 words[2] = {quant_words(w->encoding, 0, w->cols), quant_words(w->encoding, 1, w->cols)};
    u64 rows = round_up(w->rows, w->interleave);
    u32 *at = (u32 *)(void *)(r->buf[w->buffer] + w->offset);
    for (u64 row = 0; row < rows; row++)
        for (int p = 0; p < 2; p++)
            for (u32 j = 0; j < words[p]; j++) {
                u64 i = (row / w->interleave * words[p] + j) * w->interleave + row % w->interleave;
                u32 *to = at + (p ? rows * words[0] : 0) + i;
                u32 s =
                    seed * 77777u + (u32)row * 9973u + j * 31u + (u32)p; // the same for every weave
                u32 v = run_noise(&s), half = 0x2800 + (v & 0x3ff);      // halves from 0.03 to 0.06
                if (row >= w->rows) v = half = 0;
                if (w->encoding == QUANT_F32)
                    v = f32_bits(((float)(v >> 8) / 8388608.0f - 1.0f) * 0.2f);
                if (w->encoding == QUANT_F16 || p == 1)
                    v = half | (half ^ (half ? 0x8000u : 0)) << 16;
                if (w->encoding == QUANT_BF16) v = (v & 0x807f807fu) | (half ? 0x3d803d80u : 0);
                if (p == 1 && quant_info(w->encoding)->block > 32) // scales of scales
                    v = quant_random_word(w->encoding, p, run_noise(&s));
                *to = row >= w->rows ? 0 : v;
            }
}

static inline bool run_open_text(Run *r, Str text, const Profile *profile, const char *schedule) {
    r->arena = arena_new(NULL);
    r->scratch = arena_new(NULL);
    CompileOptions o = {.profile = profile,
                        .graph_text = text,
                        .graph_file = S("test.hgraph"),
                        .verify = true,
                        .schedule_text = str_c(schedule),
                        .schedule_file = S("test.hsch")};
    if (!compile_program(r->arena, NULL, &o, &r->p, &r->err) || !program_verify(r->p, &r->err))
        return false;
    r->buf = NEW_N(r->arena, u8 *, r->p->nbuffers);
    for (int i = 0; i < r->p->nbuffers; i++) {
        const ProgBuffer *b = &r->p->buffers[i];
        r->buf[i] = arena_try(r->arena, b->size, 1);
        if (r->buf[i] == NULL) return err_set(&r->err, ERR_OUT_OF_MEMORY, "test");
        if (b->init != NULL) memcpy(r->buf[i], b->init, (size_t)b->size);
    }
    for (int i = 0; i < r->p->nweights; i++)
        run_fill_weight(r, &r->p->weights[i], (u32)hash_str(0, r->p->weights[i].seg[0].tensor));
    return true;
}

static inline void run_close(Run *r) {
    arena_free(r->scratch);
    arena_free(r->arena);
}

static inline bool run_steps(Run *r, int regime, int first, int last, u32 n, u32 m) {
    const Regime *g = &r->p->regimes[regime];
    for (int s = first; s < last; s++) {
        const Step *st = &g->steps[s];
        const ProgKernel *k = &r->p->kernels[st->kernel];
        InterpArg args[STEP_MAX_BINDINGS];
        for (int i = 0; i < k->nbind; i++)
            args[i] =
                (InterpArg){r->buf[st->bind[i].buffer] + st->bind[i].offset, st->bind[i].size / 4};
        u32 grid[3];
        for (int i = 0; i < 3; i++) grid[i] = grid_count(&st->grid[i], n, m);
        InterpOptions o = {.check = true};
        arena_reset(r->scratch);
        if (!kernel_interp(r->scratch, k->ir, args, st->dims, grid, &o, &r->err))
            return err_subject(&r->err, st->name);
    }
    return true;
}

static inline i32 *run_params(const Run *r) { return (i32 *)(void *)r->buf[r->p->buf_params]; }
static inline i32 *run_ring(const Run *r) { return (i32 *)(void *)r->buf[r->p->buf_ring]; }
static inline float *run_logits(const Run *r) { return (float *)(void *)r->buf[r->p->buf_logits]; }

// Parameters for n rows from position pos on, of which the last gets logits.
static inline void run_rows(const Run *r, u32 pos, u32 n) {
    i32 *w = run_params(r);
    memset(w, 0, program_param_words(r->p) * 4);
    w[PARAM_N] = (i32)n;
    w[PARAM_M] = 1;
    w[PARAM_T] = (i32)(pos + n);
    for (u32 i = 0; i < n; i++) {
        i32 *row = w + PARAM_ROWS + ROW_WORDS * i;
        row[ROW_POS] = (i32)(pos + i);
        row[ROW_RING] = (i32)((pos + i) & (TOKEN_RING - 1));
    }
    w[PARAM_ROWS + ROW_INDEX] = (i32)n - 1;
    w[PARAM_ROWS + ROW_NEXT] = (i32)(pos + n);
}

#endif
