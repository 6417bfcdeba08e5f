// loop/rule_matmul_bytes.c: activations as bytes: products of integers.
#include "loop/rule_matmul.h"

enum { BYTES_TILE, BYTES_VECS, BYTES_WG };

static bool match_bytes(const Nest *n) {
    MatmulShape m;
    return !n->direct && matmul_find(n, &m) && m.dot;
}

// The sum of a block's products, four at a time, where its scale is applied; two at a time where
// the device has nothing for four.
static void sum_block(RuleWriter *w, const MatmulShape *m, const NestStage *s, i64 vec) {
    const char *dot = s->def.name;
    const Profile *p = w->t->profile;
    bool one = p->gpu && w->ok && rule_has_loop(m->acc, "ov"); // a vector of rows at a time
    rule_line(w, "compute_at %s %s.%s", dot, m->acc->def.name, one ? "ov" : rule_sum_axis(m->acc));
    rule_line(w, "split %s.%s %D kw kj", dot, rule_sum_axis(s), 32 / m->bits);
    if (m->bits == 4 && p->gpu && !p->dot4) {
        const char *half = str_eq(str_c(dot), S("dot")) ? "dot_h" : "low_h"; // 16 products each
        rule_line(w, "split %s.kw 2 g ki", dot);
        rule_line(w, "split %s.kj 4 p h", dot);
        rule_line(w, "rfactor %s.g %s", dot, half);
        matmul_lanes(w, s, "g", vec);
        rule_line(w, "compute_at %s %s.g", half, dot);
        rule_line(w, "pairs %s.p", half);
        if (w->ok) matmul_lanes(w, nest_stage(w->t, str_c(half)), "ki h", vec);
        rule_line(w, "unroll %s.ki", half);
        rule_line(w, "unroll %s.h", half);
        rule_line(w, "unroll %s.g", dot);
        return;
    }
    if (m->bits == 4) {
        rule_line(w, "split %s.kj 2 jj h", dot);
        rule_line(w, "dot %s.jj", dot);
        matmul_lanes(w, s, "kw h", vec);
        rule_line(w, "unroll %s.h", dot);
    } else {
        rule_line(w, "dot %s.kj", dot);
        matmul_lanes(w, s, "kw", vec);
    }
    rule_line(w, "unroll %s.kw", dot);
}

// Whole rows of w, side by side in lanes, for a few rows of x: a block's products are summed as
// integers, four at a time.
static bool apply_bytes(Nest *n, const i64 *p, Err *err) {
    RuleWriter w = {.t = n, .err = err, .ok = true};
    MatmulShape m;
    must(matmul_find(n, &m));
    rule_inline_all(&w, NULL);
    if (w.ok) w.ok = matmul_stride(&w, &m);
    if (!w.ok) return false;
    i64 vec = MAX2(n->profile->vec, 1);
    NestStage *out = rule_out(n);
    const char *acc = m.acc->def.name;
    const char *on = rule_axis(out, 0);
    matmul_split_rows(&w, &m, p[BYTES_VECS]);
    rule_line(&w, "split out.%s %D nb ni", on, m.n_most > 1 ? p[BYTES_TILE] : 1);
    if (w.ok && out->inexact[0]) rule_line(&w, "guard out %s", on);
    const char *at = "nb";
    if (n->profile->gpu) { // rows of activations over the second dimension of the grid
        rule_line(&w, "reorder out nb ob ni oi");
        rule_line(&w, "bind out.nb wg.y");
        rule_bind_flat(&w, "out", "ob", p[BYTES_WG]);
        at = "th";
    } else {
        rule_line(&w, "reorder out ob nb ni oi");
        rule_line(&w, "bind out.ob cpu");
    }
    rule_line(&w, "compute_at %s out.%s", acc, at);
    matmul_lanes(&w, m.acc, rule_sum_axis(m.acc), vec);
    if (n->profile->gpu && w.ok && rule_has_loop(m.acc, "ov"))
        rule_line(&w, "reorder %s ov %s", acc, rule_axis(m.acc, 0));
    for (int i = n->nstages - 1; i >= 0; i--) // of wide activations there are two
        if (n->stage[i]->def.op == RED_SUM && n->stage[i]->def.nax == 3)
            sum_block(&w, &m, n->stage[i], vec);
    matmul_place_others(&w, &m, at);
    rule_line(&w, "unroll out.ni");
    matmul_finish_tile(&w, &m, "oi", vec);
    return w.ok;
}

static void choose_bytes(const Nest *n, i64 *params) {
    const Profile *p = n->profile;
    MatmulShape m;
    must(matmul_find(n, &m));
    if (p->gpu) {
        // software unpacks and checks each word of x anew in every thread
        bool software = profile_in_software(p);
        params[BYTES_VECS] = m.n_most > 1 && !software ? 1 : 4;
        params[BYTES_TILE] = m.n_most >= MANY_ROWS && software ? 8 : 4;
    } else if (m.n_most > 1) { // sums of integers and of floats, both in registers
        int sums = 0;          // 2 of wide activations
        for (int i = 0; i < n->nstages; i++)
            sums += n->stage[i]->def.op == RED_SUM && n->stage[i]->def.nax == 3;
        params[BYTES_TILE] = sums == 2 && p->vec <= 4 ? 2 : 4;
        params[BYTES_VECS] = p->vec > 8 && sums == 1 ? 2 : 1;
    } else {
        params[BYTES_VECS] = MIN2(p->weave, 4);
    }
}

// Activations as bytes: products of integers.
const Rule rule_matmul_bytes = {
    .name = "matmul_bytes",
    .match = match_bytes,
    .apply = apply_bytes,
    .choose = choose_bytes,
    .param = {[BYTES_TILE] = {"tile", {4, 2, 1, 8}, 4},
              [BYTES_VECS] = {"vecs", {4, 2, 1}, 3},
              [BYTES_WG] = RULE_WG},
};
