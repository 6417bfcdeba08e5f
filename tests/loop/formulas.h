// tests/loop/formulas.h: formulas of every shape that rules meet, with random data, and a runner
// that compares a built kernel, interpreted, with the float64 referee.
#ifndef TEST_FORMULAS_H
#define TEST_FORMULAS_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "loop/lower.h"

typedef struct Rng {
    u64 s;
} Rng;
static inline u32 rnd(Rng *r) {
    r->s = r->s * 6364136223846793005u + 1442695040888963407u;
    return (u32)(r->s >> 33);
}
static inline i64 rnd_in(Rng *r, i64 lo, i64 hi) { return lo + rnd(r) % (hi - lo + 1); }
static inline i64 rnd_of(Rng *r, int n, const i64 *v) { return v[rnd(r) % (u32)n]; }
static inline float rnd_f(Rng *r) { return (float)((double)rnd(r) / 1073741824.0 - 1.0); }

typedef struct Case { // a formula with its data
    Formula *f;
    i64 n; // rows that run; at most the symbol's bound
    i32 dims[STEP_MAX_DIMS];
    InterpArg data[8];
    char what[160];
} Case;

typedef struct Maker {
    Arena *a;
    Exprs *x;
    Formula *f;
    Rng *r;
    Case *c;
    const Var *n;
    bool swapped; // the halves of a word of bytes: where two are multiplied at a time
} Maker;

static inline const Expr *ax_(Maker *m, Stage *s, const char *name, const Expr *ext, bool red) {
    i64 lo, hi;
    expr_range(ext, &lo, &hi);
    Var *v = var_new(m->x, name, TY_I32, 0, hi - 1);
    if (red)
        s->red[s->nred++] = (Axis){v, ext};
    else
        s->ax[s->nax++] = (Axis){v, ext};
    return ex_var(m->x, v);
}
static inline Stage *st_(Maker *m, const char *name, ReduceOp op) {
    Stage *s = &m->f->stage[m->f->nstages++];
    *s = (Stage){.name = name, .op = op};
    return s;
}
static inline const Buffer *res_(Maker *m, Stage *s, const Expr *body) {
    const Expr *d[4];
    for (int i = 0; i < s->nax; i++) d[i] = s->ax[i].extent;
    s->body = body;
    return s->out = buffer_new(m->x, s->name, (Type)body->type, SCOPE_TEMP, s->nax, d);
}
static inline const Buffer *arg_(Maker *m, const char *name, Type t, int nd, i64 d0, i64 d1,
                                 bool written) {
    const Expr *d[2] = {ex_int(m->x, d0), ex_int(m->x, d1)};
    Buffer *b = buffer_new(m->x, name, t, SCOPE_ARG, nd, d);
    b->written = written;
    int at = m->f->nargs++;
    m->f->arg[at] = b;
    u64 n = (u64)(nd == 2 ? d0 * d1 : d0);
    u32 *p = arena_alloc(m->a, n * 4 + 4);
    for (u64 i = 0; i < n; i++)
        if (t == TY_F32) ((float *)p)[i] = written ? NAN : rnd_f(m->r);
    m->c->data[at] = (InterpArg){p, n};
    return b;
}
#define L1(b, i)    ex_load(m->x, (b), (const Expr *[]){(i)})
#define L2(b, i, j) ex_load(m->x, (b), (const Expr *[]){(i), (j)})

static inline const Buffer *weight_(Maker *m, QuantId q, i64 rows, i64 k, u32 R) {
    u64 bytes;
    must(quant_bytes(q, (u64)rows, (u64)k, R, &bytes));
    const Buffer *b = arg_(m, "w", TY_U32, 1, (i64)(bytes / 4), 1, false);
    u32 *p = m->c->data[m->f->nargs - 1].data;
    u64 pad = round_up((u64)rows, R);
    for (u64 i = 0; i < bytes / 4; i++)
        p[i] = quant_random_word(q, i >= (u64)pad * quant_words(q, 0, (u64)k),
                                 rnd(m->r) ^ rnd(m->r) << 16);
    return b;
}

// A sum of products of bytes for each block of 32, as rows that pack made hold them: `from` words
// into a row, in the order of the weight's words.
static inline const Buffer *make_dot(Maker *m, const char *name, const Buffer *X, const Buffer *w,
                                     const Expr *N, i64 pad, i64 K, i64 bits, i64 from) {
    Exprs *x = m->x;
    Stage *s = st_(m, name, RED_SUM);
    const Expr *i = ax_(m, s, "n", N, false), *o = ax_(m, s, "o", ex_int(x, pad), false),
               *b = ax_(m, s, "b", ex_int(x, K / 32), false),
               *j = ax_(m, s, "j", ex_int(x, 32), true), *eight = ex_int(x, 8),
               *k = ex_add(x, ex_mul(x, b, ex_int(x, 32)), j);
    const Expr *word = ex_idiv(x, k, ex_int(x, 4)), *byte = ex_mod(x, k, ex_int(x, 4));
    if (bits == 4) { // the even ones of a word's eight, then the odd ones
        word = ex_add(x, ex_mul(x, ex_idiv(x, k, eight), ex_int(x, 2)), ex_mod(x, k, ex_int(x, 2)));
        const Expr *at = m->swapped ? ex_add(x, k, ex_int(x, 4)) : k;
        byte = ex_idiv(x, ex_mod(x, at, eight), ex_int(x, 2));
    }
    const Expr *up = ex_cast(x, TY_U32, ex_sub(x, ex_int(x, 24), ex_mul(x, byte, eight)));
    const Expr *top = ex_shl(x, L2(X, i, ex_add(x, word, ex_int(x, from))), up);
    const Expr *value = ex_shr(x, ex_cast(x, TY_I32, top), ex_uint(x, 24));
    return res_(m, s, ex_mul(x, value, ex_cast(x, TY_I32, L2(w, o, k))));
}

// The sum over blocks, scaled: what takes the place of acc where activations are packed.
static inline const Buffer *make_bytes(Maker *m, QuantId q, i64 n_most, const Expr *N, i64 O, i64 K,
                                       u32 R, i64 wide) {
    Exprs *x = m->x;
    i64 pad = (i64)round_up((u64)O, R), words = K / 4 * (1 + wide) + K / 16;
    const Buffer *X = arg_(m, "x", TY_U32, 2, n_most, words, false);
    u32 *p = m->c->data[m->f->nargs - 1].data;
    for (i64 i = 0; i < n_most * words; i++)
        p[i] = i % words < K / 4 * (1 + wide) ? rnd(m->r) ^ rnd(m->r) << 16
                                              : f32_bits(rnd_f(m->r) / (wide ? 4096 : 16));
    const Buffer *W = weight_(m, q, O, K, R);
    const Expr *eP = ex_int(x, pad), *eK = ex_int(x, K), *i, *o, *k, *b;
    Stage *s = st_(m, "w", RED_NONE);
    o = ax_(m, s, "o", eP, false), k = ax_(m, s, "k", eK, false);
    const Buffer *w = res_(m, s, quant_parts(x, q, W, o, k, eP, eK, R).field);
    i64 bits = quant_field_bits(q);
    const Buffer *dot = make_dot(m, "dot", X, w, N, pad, K, bits, 0), *low = NULL;
    if (wide) low = make_dot(m, "low", X, w, N, pad, K, bits, K / 4);
    s = st_(m, "acc", RED_SUM);
    i = ax_(m, s, "n", N, false), o = ax_(m, s, "o", eP, false),
    b = ax_(m, s, "b", ex_int(x, K / 32), true);
    QuantParts part = quant_parts(x, q, W, o, ex_mul(x, b, ex_int(x, 32)), eP, eK, R);
    i64 at = K / 4 * (1 + wide);
    const Expr *idx[3] = {i, o, b}, *sum = ex_cast(x, TY_F32, ex_load(x, dot, idx));
    const Expr *scale = ex_bitcast(x, TY_F32, L2(X, i, ex_add(x, b, ex_int(x, at)))),
               *all = ex_bitcast(x, TY_F32, L2(X, i, ex_add(x, b, ex_int(x, at + K / 32))));
    if (low)
        sum = ex_add(x, ex_mul(x, sum, ex_f32(x, 256)), ex_cast(x, TY_F32, ex_load(x, low, idx)));
    const Expr *e = ex_mul(x, ex_mul(x, scale, part.scale), sum);
    return res_(m, s, part.offset ? ex_add(x, e, ex_mul(x, all, part.offset)) : e);
}

enum { EPI_PLAIN, EPI_RESIDUAL, EPI_PAIR, EPI_NORM, EPI_COUNT, EPI_JOIN = EPI_COUNT };

// x[n,k], attention's parts joined: heads of D, P parts of each, D sums, a maximum and a total a
// part
static inline const Expr *make_join(Maker *m, i64 n_most, const Expr *N, i64 K, const Expr **i,
                                    const Expr **k) {
    Exprs *x = m->x;
    i64 D = rnd(m->r) % 2 ? 8 * rnd_in(m->r, 1, 8) : rnd_in(m->r, 1, K), P = rnd_in(m->r, 2, 5);
    i64 H = (K + D - 1) / D;
    const Buffer *X = arg_(m, "parts", TY_F32, 2, n_most, H * P * (D + 2), false);
    const Expr *eD = ex_int(x, D), *eP = ex_int(x, P), *p;
#define PART(h, p, d)                                                                              \
    L2(X, *i, ex_add(x, ex_mul(x, ex_add(x, ex_mul(x, h, eP), p), ex_int(x, D + 2)), d))
    Stage *s = st_(m, "top", RED_MAX);
    *i = ax_(m, s, "n", N, false);
    const Expr *h = ax_(m, s, "h", ex_int(x, H), false);
    p = ax_(m, s, "p", eP, true);
    const Buffer *top = res_(m, s, PART(h, p, eD));
    s = st_(m, "share", RED_NONE);
    *i = ax_(m, s, "n", N, false), h = ax_(m, s, "h", ex_int(x, H), false);
    p = ax_(m, s, "p", eP, false);
    const Buffer *share = res_(m, s, ex_un(x, EX_EXP, ex_sub(x, PART(h, p, eD), L2(top, *i, h))));
    s = st_(m, "sum", RED_SUM);
    *i = ax_(m, s, "n", N, false), *k = ax_(m, s, "k", ex_int(x, K), false);
    p = ax_(m, s, "p", eP, true);
    h = ex_idiv(x, *k, eD);
    const Expr *at[3] = {*i, h, p};
    const Buffer *sum = res_(m, s, ex_mul(x, PART(h, p, ex_mod(x, *k, eD)), ex_load(x, share, at)));
#undef PART
    return L2(sum, *i, *k);
}

// y[n,o] = epilogue(sum_k x[n,k] w[o,k]); rows of the symbol at most n_most
// packed: 1 or 2 bytes a number of x; 0: f32
static inline void make_matmul(Maker *m, QuantId q, i64 n_most, i64 O, i64 K, u32 R, int epi,
                               int packed) {
    Exprs *x = m->x;
    Var *n = var_new(x, "n", TY_I32, 1, n_most);
    m->f->sym[0].var = n, m->f->sym[0].word = PARAM_N, m->f->nsyms = 1;
    m->n = n;
    i64 pad = (i64)round_up((u64)O, R);
    const Expr *N = ex_var(x, n), *eO = ex_int(x, O), *eP = ex_int(x, pad), *eK = ex_int(x, K);
    const Buffer *in = NULL, *ss = NULL, *acc;
    const Expr *i, *o, *k;
    Stage *s = NULL;
    if (packed) {
        acc = make_bytes(m, q, n_most, N, O, K, R, packed - 1);
    } else {
        const Expr *joined = epi == EPI_JOIN ? make_join(m, n_most, N, K, &i, &k) : NULL;
        const Buffer *X = joined ? NULL : arg_(m, "x", TY_F32, 2, n_most, K, false);
        if (joined) in = joined->buf;
        const Buffer *W = weight_(m, q, O, K, R);
        if (epi == EPI_NORM) {
            const Buffer *G = arg_(m, "g", TY_F32, 1, K, 1, false);
            s = st_(m, "ss", RED_SUM);
            i = ax_(m, s, "n", N, false), k = ax_(m, s, "k", eK, true);
            ss = res_(m, s, ex_mul(x, L2(X, i, k), L2(X, i, k)));
            s = st_(m, "xn", RED_NONE);
            i = ax_(m, s, "n", N, false), k = ax_(m, s, "k", eK, false);
            in = res_(m, s, ex_mul(x, L2(X, i, k), L1(G, k)));
        }
        s = st_(m, "w", RED_NONE);
        o = ax_(m, s, "o", eP, false), k = ax_(m, s, "k", eK, false);
        const Buffer *w = res_(m, s, quant_value(x, q, W, o, k, eP, eK, R));
        s = st_(m, "acc", RED_SUM);
        i = ax_(m, s, "n", N, false), o = ax_(m, s, "o", eP, false), k = ax_(m, s, "k", eK, true);
        acc = res_(m, s, ex_mul(x, in ? L2(in, i, k) : L2(X, i, k), L2(w, o, k)));
    }
    if (epi == EPI_PAIR) {
        const Buffer *Y = arg_(m, "y", TY_F32, 2, n_most, O / 2, true);
        s = st_(m, "out", RED_NONE);
        i = ax_(m, s, "n", N, false), o = ax_(m, s, "f", ex_int(x, pad / 2), false);
        const Expr *g = L2(acc, i, ex_mul(x, o, ex_int(x, 2))),
                   *u = L2(acc, i, ex_add(x, ex_mul(x, o, ex_int(x, 2)), ex_int(x, 1)));
        const Expr *silu =
            ex_div(x, g, ex_add(x, ex_f32(x, 1), ex_un(x, EX_EXP, ex_sub(x, ex_f32(x, 0), g))));
        s->store[s->nstores++] =
            (Store){Y, {i, o}, ex_mul(x, silu, u), ex_lt(x, o, ex_int(x, O / 2))};
    } else {
        const Buffer *Y = arg_(m, "y", TY_F32, 2, n_most, O, true);
        const Buffer *res = epi == EPI_RESIDUAL ? arg_(m, "r", TY_F32, 2, n_most, O, false) : NULL;
        s = st_(m, "out", RED_NONE);
        i = ax_(m, s, "n", N, false), o = ax_(m, s, "o", eP, false);
        const Expr *v = L2(acc, i, o);
        if (res) v = ex_add(x, v, L2(res, i, ex_min(x, o, ex_int(x, O - 1))));
        if (ss)
            v = ex_mul(x, v,
                       ex_div(x, ex_f32(x, 1),
                              ex_un(x, EX_SQRT,
                                    ex_add(x, ex_mul(x, L1(ss, i), ex_f32(x, 1.0 / (double)K)),
                                           ex_f32(x, 1e-5)))));
        s->store[s->nstores++] = (Store){Y, {i, o}, v, ex_lt(x, o, eO)};
    }
}

// y[n,k] = x[n,k] / sqrt(mean of row n's x^2 + the largest of k's block of 32): two reductions, one
// of a row, one of a part of it
static inline void make_row_and_blocks(Maker *m, i64 n_most, i64 K) {
    Exprs *x = m->x;
    Var *n = var_new(x, "n", TY_I32, 1, n_most);
    m->f->sym[0].var = n, m->f->sym[0].word = PARAM_N, m->f->nsyms = 1;
    m->n = n;
    const Expr *N = ex_var(x, n), *B = ex_int(x, K / 32), *e32 = ex_int(x, 32), *i, *b, *j;
    const Buffer *X = arg_(m, "x", TY_F32, 2, n_most, K, false),
                 *Y = arg_(m, "y", TY_F32, 2, n_most, K, true);
    Stage *s = st_(m, "ss", RED_SUM);
    i = ax_(m, s, "n", N, false), j = ax_(m, s, "k", ex_int(x, K), true);
    const Buffer *ss = res_(m, s, ex_mul(x, L2(X, i, j), L2(X, i, j)));
    s = st_(m, "top", RED_MAX);
    i = ax_(m, s, "n", N, false), b = ax_(m, s, "b", B, false), j = ax_(m, s, "j", e32, true);
    const Expr *v = L2(X, i, ex_add(x, ex_mul(x, b, e32), j));
    const Buffer *top = res_(m, s, ex_max(x, v, ex_sub(x, ex_f32(x, 0), v)));
    s = st_(m, "out", RED_NONE);
    i = ax_(m, s, "n", N, false), b = ax_(m, s, "b", B, false), j = ax_(m, s, "j", e32, false);
    const Expr *k = ex_add(x, ex_mul(x, b, e32), j), *all = ex_f32(x, 1.0 / (double)K);
    const Expr *by = ex_un(x, EX_SQRT, ex_add(x, ex_mul(x, L1(ss, i), all), L2(top, i, b)));
    s->store[s->nstores++] = (Store){Y, {i, k}, ex_div(x, L2(X, i, k), by), NULL};
}

// y[n,k] = x[n,k] * g[k] / sqrt(mean x^2): and a maximum with its first place, a softmax
static inline void make_rows(Maker *m, i64 n_most, i64 K, int kind) {
    Exprs *x = m->x;
    Var *n = var_new(x, "n", TY_I32, 1, n_most);
    m->f->sym[0].var = n, m->f->sym[0].word = PARAM_N, m->f->nsyms = 1;
    m->n = n;
    const Expr *N = ex_var(x, n), *eK = ex_int(x, K), *i, *k;
    const Buffer *X = arg_(m, "x", TY_F32, 2, n_most, K, false);
    if (kind == 0) {
        const Buffer *G = arg_(m, "g", TY_F32, 1, K, 1, false),
                     *Y = arg_(m, "y", TY_F32, 2, n_most, K, true);
        Stage *s = st_(m, "ss", RED_SUM);
        i = ax_(m, s, "n", N, false), k = ax_(m, s, "k", eK, true);
        const Buffer *ss = res_(m, s, ex_mul(x, L2(X, i, k), L2(X, i, k)));
        s = st_(m, "out", RED_NONE);
        i = ax_(m, s, "n", N, false), k = ax_(m, s, "k", eK, false);
        const Expr *rms =
            ex_un(x, EX_SQRT,
                  ex_add(x, ex_mul(x, L1(ss, i), ex_f32(x, 1.0 / (double)K)), ex_f32(x, 1e-5)));
        s->store[s->nstores++] =
            (Store){Y, {i, k}, ex_div(x, ex_mul(x, L2(X, i, k), L1(G, k)), rms), NULL};
        return;
    }
    Stage *s = st_(m, "top", RED_MAX);
    i = ax_(m, s, "n", N, false), k = ax_(m, s, "k", eK, true);
    const Buffer *top = res_(m, s, L2(X, i, k));
    if (kind == 1) { // the first place of the maximum
        const Buffer *Y = arg_(m, "y", TY_I32, 1, n_most, 1, true);
        s = st_(m, "at", RED_MIN);
        i = ax_(m, s, "n", N, false), k = ax_(m, s, "k", eK, true);
        const Buffer *at =
            res_(m, s, ex_select(x, ex_eq(x, L2(X, i, k), L1(top, i)), k, ex_int(x, K - 1)));
        s = st_(m, "out", RED_NONE);
        i = ax_(m, s, "n", N, false);
        s->store[s->nstores++] = (Store){Y, {i}, L1(at, i), NULL};
        return;
    }
    const Buffer *Y = arg_(m, "y", TY_F32, 2, n_most, K, true);
    s = st_(m, "e", RED_NONE);
    i = ax_(m, s, "n", N, false), k = ax_(m, s, "k", eK, false);
    const Buffer *e = res_(m, s, ex_un(x, EX_EXP, ex_sub(x, L2(X, i, k), L1(top, i))));
    s = st_(m, "sum", RED_SUM);
    i = ax_(m, s, "n", N, false), k = ax_(m, s, "k", eK, true);
    const Buffer *sum = res_(m, s, L2(e, i, k));
    s = st_(m, "out", RED_NONE);
    i = ax_(m, s, "n", N, false), k = ax_(m, s, "k", eK, false);
    s->store[s->nstores++] = (Store){Y, {i, k}, ex_div(x, L2(e, i, k), L1(sum, i)), NULL};
}

static inline void make_map(Maker *m, i64 n_most, i64 K) {
    Exprs *x = m->x;
    Var *n = var_new(x, "n", TY_I32, 1, n_most);
    m->f->sym[0].var = n, m->f->sym[0].word = PARAM_N, m->f->nsyms = 1;
    m->n = n;
    const Buffer *A = arg_(m, "a", TY_F32, 2, n_most, K, false),
                 *B = arg_(m, "b", TY_F32, 1, K, 1, false),
                 *Y = arg_(m, "y", TY_F32, 2, n_most, K, true);
    Stage *s = st_(m, "sum", RED_NONE);
    const Expr *i = ax_(m, s, "n", ex_var(x, n), false), *k = ax_(m, s, "k", ex_int(x, K), false);
    const Buffer *sum = res_(m, s, ex_add(x, L2(A, i, k), L1(B, k)));
    s = st_(m, "out", RED_NONE);
    i = ax_(m, s, "n", ex_var(x, n), false), k = ax_(m, s, "k", ex_int(x, K), false);
    s->store[s->nstores++] = (Store){Y, {i, k}, ex_mul(x, L2(sum, i, k), L2(sum, i, k)), NULL};
}

// The parameter block, last of the arguments.
static inline void finish_case(Maker *m, i64 n, i64 chunk, i64 pos0, i64 pos_most) {
    i64 words = PARAM_ROWS + ROW_WORDS * chunk;
    int at = -1;
    for (int i = 0; i < m->f->nargs; i++)
        if (!strcmp(m->f->arg[i]->name, "params")) at = i;
    if (at < 0) {
        arg_(m, "params", TY_I32, 1, words, 1, false);
        at = m->f->nargs - 1;
        ((Buffer *)m->f->arg[at])->lo = 0, ((Buffer *)m->f->arg[at])->hi = pos_most;
    }
    i32 *p = m->c->data[at].data;
    p[PARAM_N] = (i32)n;
    for (i64 i = 0; i < n; i++) p[PARAM_ROWS + ROW_WORDS * i + ROW_POS] = (i32)(pos0 + i);
    m->c->n = n;
}

static inline void make_attention(Maker *m, const AttentionShape *s, const Profile *p, i64 n,
                                  i64 pos0, Nest **nest) {
    Err err = {0};
    if (!attention_nest(m->a, m->x, s, p, nest, m->c->dims, &err)) abort();
    m->f = (Formula *)(*nest)->f;
    m->c->f = m->f;
    u64 sizes[4] = {(u64)(s->rows * s->heads * s->head_dim),
                    (u64)(2 * s->kv_heads * kv_slots(s->ctx) * s->head_dim),
                    (u64)(s->parts == 1 ? s->rows * s->heads * s->head_dim
                                        : s->rows * s->heads * s->parts * (s->head_dim + 2)),
                    (u64)(PARAM_ROWS + ROW_WORDS * s->rows)};
    for (int i = 0; i < 4; i++) {
        float *d = arena_alloc(m->a, sizes[i] * 4);
        for (u64 k = 0; k < sizes[i] && i < 3; k++) d[k] = i == 2 ? NAN : 2 * rnd_f(m->r);
        m->c->data[i] = (InterpArg){d, sizes[i]};
    }
    finish_case(m, n, s->rows, pos0, s->ctx - 1);
}

// ---- running ------------------------------------------------------------------------------------
static inline bool env_var(void *user, const Var *v, Value *out) {
    const Case *c = user;
    for (int i = 0; i < c->f->nsyms; i++)
        if (c->f->sym[i].var == v) return *out = (Value){.type = TY_I32, .i = c->n}, true;
    for (int i = 0; i < c->f->ndims; i++)
        if (c->f->dim[i] == v) return *out = (Value){.type = TY_I32, .i = c->dims[i]}, true;
    return false;
}
static inline i64 case_int(const Case *c, const Expr *e) {
    Env env = {.var = env_var, .user = (void *)c};
    Value v;
    must(expr_eval(e, &env, &v));
    return v.i;
}
static inline bool env_load(void *user, const Buffer *b, const i64 *idx, Value *out) {
    const Case *c = user;
    for (int i = 0; i < c->f->nargs; i++) {
        if (c->f->arg[i] != b) continue;
        i64 at = 0;
        for (int d = 0; d < b->nd; d++) {
            i64 ext = case_int(c, b->dims[d]);
            if (idx[d] < 0 || idx[d] >= ext) return false;
            at = at * ext + idx[d];
        }
        const void *p = c->data[i].data;
        *out = (Value){.type = b->type};
        if (b->type == TY_F32)
            out->f = ((const float *)p)[at];
        else if (b->type == TY_U32)
            out->i = ((const u32 *)p)[at];
        else
            out->i = ((const i32 *)p)[at];
        return true;
    }
    return false;
}

static inline void case_grid(const Case *c, const Kernel *k, u32 grid[3]) {
    for (int i = 0; i < 3; i++) grid[i] = (u32)case_int(c, k->grid[i]);
}

// Compares the written arguments with the referee at up to `most` points of the result stage.
// Returns the largest error relative to max(1, |want|), or a negative number when an output was not
// written.
static inline double case_error(Case *c, Rng *r, int most) {
    const Stage *out = &c->f->stage[c->f->nstages - 1];
    Env env = {.var = env_var, .load = env_load, .user = c};
    double worst = 0;
    i64 ext[4] = {1, 1, 1, 1}, total = 1;
    for (int i = 0; i < out->nax; i++) total *= ext[i] = case_int(c, out->ax[i].extent);
    for (i64 k = 0; k < MIN2(total, most); k++) {
        i64 flat = total <= most  ? k
                   : k < most / 4 ? total - 1 - k
                                  : (i64)(rnd(r) % (u64)total),
            at[4];
        for (int i = out->nax - 1; i >= 0; i--) at[i] = flat % ext[i], flat /= ext[i];
        for (int s = 0; s < out->nstores; s++) {
            double want;
            bool stored;
            must(formula_eval(c->f, NULL, c->f->nstages - 1, s, at, &env, &want, &stored));
            if (!stored) continue;
            const Store *st = &out->store[s];
            const Expr *by[4];
            const Var *var[4];
            for (int i = 0; i < out->nax; i++)
                var[i] = out->ax[i].var, by[i] = ex_int(c->f->x, at[i]);
            i64 idx[4];
            for (int d = 0; d < st->buf->nd; d++)
                idx[d] = case_int(c, expr_subst(c->f->x, st->idx[d], var, by, out->nax));
            Value got;
            must(env_load(c, st->buf, idx, &got));
            double g = st->buf->type == TY_F32 ? got.f : (double)got.i;
            if (isnan(g)) return -1;
            double e = fabs(g - want) / fmax(1, fabs(want));
            if (e > worst) worst = e;
        }
    }
    return worst;
}

static inline void case_clear(Case *c) {
    for (int i = 0; i < c->f->nargs; i++)
        if (c->f->arg[i]->written) memset(c->data[i].data, 0xff, c->data[i].elems * 4);
}

#endif
