// tests/loop/cases.h: nests of every kind on random shapes, with data, and their rules with random
// parameters: what is interpreted here and what printed text is run on in tests/emit/.
#ifndef TEST_CASES_H
#define TEST_CASES_H

#include "formulas.h"

enum { KIND_ROW, KIND_ROWS, KIND_REDUCE, KIND_MAP, KIND_ATTENTION, KIND_BYTES, KIND_COUNT };

// 1, primes, sizes that no tile divides, and some that tiles do
static inline i64 odd_size(Rng *r, i64 most) {
    static const i64 some[] = {1, 2, 3, 7, 13, 31, 61, 97, 127, 32, 64};
    return rnd(r) % 2 ? MIN2(rnd_of(r, 11, some), most) : rnd_in(r, 1, most);
}

// A random nest of a kind for a profile.
static inline Nest *random_nest(Arena *a, Rng *r, int kind, const Profile *p, Case *c) {
    Exprs *x = exprs_new(a);
    Formula *f = NEW(a, Formula);
    *f = (Formula){.x = x, .name = "k"};
    *c = (Case){.f = f};
    Maker m = {a, x, f, r, c, NULL, .swapped = p->gpu && !p->dot4};
    i64 most = kind == KIND_ROW    ? 1
               : kind == KIND_ROWS ? rnd_in(r, 2, 20)
                                   : rnd_in(r, 1, kind == KIND_ATTENTION ? 36 : 20),
        n = rnd_in(r, 1, most);
    Nest *nest = NULL;
    if (kind == KIND_ATTENTION) {
        AttentionShape s = {.kv_heads = rnd_in(r, 1, 3),
                            .head_dim = rnd_in(r, 1, 24) * (rnd(r) % 2 ? 4 : 3),
                            .ctx = rnd_in(r, most, rnd(r) % 4 ? 40 : 150),
                            .parts = rnd(r) % 2 ? 1 : rnd_in(r, 2, 5),
                            .rows = most};
        s.heads = s.kv_heads * rnd_in(r, 1, 3);
        make_attention(&m, &s, p, n, rnd_in(r, 0, s.ctx - n), &nest);
        snprintf(c->what, sizeof c->what, "attention kv %d h %d d %d ctx %d parts %d n %d",
                 (int)s.kv_heads, (int)s.heads, (int)s.head_dim, (int)s.ctx, (int)s.parts, (int)n);
    } else {
        i64 K = odd_size(r, 150);
        if (kind == KIND_MAP) {
            make_map(&m, most, K);
        } else if (kind == KIND_REDUCE) {
            if (rnd(r) % 3 == 0) K = 64 * rnd_in(r, 1, 4); // what a workgroup's threads share
            int rows = (int)rnd_in(r, 0, 3);
            if (rows < 3)
                make_rows(&m, most, K, rows);
            else
                make_row_and_blocks(&m, most, K = (i64)round_up((u64)K, 32));
        } else {
            QuantId q = (QuantId)rnd_in(r, 0, QUANT_COUNT - 1);
            int epi = (int)rnd_in(r, 0, EPI_COUNT - 1);
            if (kind == KIND_ROW && rnd(r) % 4 == 0) epi = EPI_JOIN;
            i64 O = odd_size(r, 70);
            int packed = kind == KIND_BYTES ? (int)rnd_in(r, 1, 2) : 0;
            while (packed && !quant_field_bits(q)) q = (QuantId)rnd_in(r, 0, QUANT_COUNT - 1);
            if (packed && epi == EPI_NORM) epi = EPI_PLAIN; // what is packed is a norm's result
            if (packed && rnd(r) % 3 == 0) most = n = 1;
            if (packed) K = (i64)round_up((u64)K, 32);
            K = (i64)round_up((u64)K, quant_info(q)->block);
            if (epi == EPI_PAIR) O = 2 * odd_size(r, 35);
            // what tiles in workgroup memory take
            if (kind == KIND_ROWS && (rnd(r) % 3 == 0 || (p->f16 && p->act_bits)))
                most = rnd_in(r, 16, 40), n = rnd_in(r, 1, most), O = 32 * rnd_in(r, 1, 3),
                K = 32 * rnd_in(r, 1, 4);
            make_matmul(&m, q, most, O, K, (u32)p->vec, epi, packed);
            snprintf(c->what, sizeof c->what, "matmul %s packed %d n %d/%d O %d K %d epilogue %d",
                     quant_info(q)->name, packed, (int)n, (int)most, (int)O, (int)K, epi);
        }
        finish_case(&m, n, most, 0, 100);
        if (!c->what[0])
            snprintf(c->what, sizeof c->what, "kind %d n %d/%d K %d", kind, (int)n, (int)most,
                     (int)K);
        nest = nest_new(a, f, p);
    }
    return nest;
}

// Schedules it by its rule, each parameter its default or any that the rule allows.
static inline bool random_rule(Rng *r, Nest *nest, Err *err) {
    const Rule *rl = rule_for(nest);
    i64 value[RULE_MAX_PARAMS];
    rule_defaults(rl, nest, value);
    for (int k = 0; k < RULE_MAX_PARAMS && rl->param[k].name; k++)
        if (rnd(r) % 2) value[k] = rl->param[k].values[rnd(r) % (u32)rl->param[k].n];
    return rl->apply(nest, value, err);
}

// A kernel of a kind for a profile, by its rule with random parameters.
static inline Kernel *random_kernel(Arena *a, Rng *r, int kind, const Profile *p, Case *c) {
    Nest *nest = random_nest(a, r, kind, p, c);
    Err e = {0};
    Kernel *k = NULL;
    if (!random_rule(r, nest, &e) || !nest_build(a, nest, &k, &e) || !kernel_verify(k, p, &e)) {
        fprintf(stderr, "%s: %s\n", c->what, e.msg);
        return NULL;
    }
    return k;
}

#endif
