// loop/poly.c: sums and products of polynomials over atoms, with checked coefficients.
#include "loop/poly.h"

static int mono_cmp(const Mono *a, const Mono *b) {
    if (a->n != b->n) return a->n - b->n;
    for (int i = 0; i < a->n; i++)
        if (a->at[i] != b->at[i]) return a->at[i]->id < b->at[i]->id ? -1 : 1;
    return 0;
}

void poly_add_mono(Poly *p, const Mono *m) {
    if (m->c == 0) return;
    p->bad |= m->c == INT64_MIN; // has no opposite
    if (m->n == 0) {
        p->bad |= __builtin_add_overflow(p->k, m->c, &p->k);
        return;
    }
    int i = 0;
    while (i < p->n && mono_cmp(&p->m[i], m) < 0) i++;
    if (i < p->n && mono_cmp(&p->m[i], m) == 0) {
        p->bad |= __builtin_add_overflow(p->m[i].c, m->c, &p->m[i].c);
        if (p->m[i].c == 0) {
            memmove(&p->m[i], &p->m[i + 1], sizeof(Mono) * (size_t)(p->n - i - 1));
            p->n--;
        }
        return;
    }
    if (p->n == POLY_TERMS) {
        p->bad = true;
        return;
    }
    memmove(&p->m[i + 1], &p->m[i], sizeof(Mono) * (size_t)(p->n - i));
    p->m[i] = *m;
    p->n++;
}

bool mono_mul(const Mono *a, const Mono *b, Mono *out) {
    *out = *a;
    if (__builtin_mul_overflow(a->c, b->c, &out->c) || a->n + b->n > MONO_ATOMS) return false;
    for (int j = 0; j < b->n; j++) {
        int i = out->n++;
        for (; i > 0 && out->at[i - 1]->id > b->at[j]->id; i--) out->at[i] = out->at[i - 1];
        out->at[i] = b->at[j];
    }
    return true;
}

void poly_add(Poly *p, const Poly *q, const Mono *by) {
    Mono k = {.c = q->k}, t;
    p->bad |= q->bad || !mono_mul(&k, by, &t);
    if (p->bad) return;
    poly_add_mono(p, &t);
    for (int i = 0; i < q->n && !p->bad; i++) {
        if (!mono_mul(&q->m[i], by, &t))
            p->bad = true;
        else
            poly_add_mono(p, &t);
    }
}

void poly_scale_add(Poly *p, const Poly *q, i64 c) { poly_add(p, q, &(Mono){.c = c}); }
