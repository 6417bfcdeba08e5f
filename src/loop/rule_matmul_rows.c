// loop/rule_matmul_rows.c: many rows of activations: a dequantised weight serves several of them.
#include "loop/rule_matmul.h"

enum { ROWS_TILE, ROWS_VECS, ROWS_UNROLL, ROWS_SIDE, ROWS_WG };

static bool match_rows(const Nest *n) {
    MatmulShape m;
    return !n->direct && matmul_find(n, &m) && !m.dot && m.n_most > 1;
}

// On an adapter that is a program: a block of k written out in parts, with its scale taken out of
// the sum. Every load is dear, so that all that a block meets is read once for a tile as large as
// can be; registers are memory there in any case, and a loop costs them twice (what it carries is
// chosen lane by lane).
static void sum_by_block(RuleWriter *w, const MatmulShape *m, i64 vec, i64 part) {
    const char *acc = m->acc->def.name, *an = rule_axis(m->acc, 0), *ao = rule_axis(m->acc, 1);
    rule_line(w, "unroll %s.%s", acc, an);
    rule_lanes(w, acc, ao, vec);
    if (w->ok && rule_has_loop(m->acc, "ov")) rule_line(w, "reorder %s ov %s", acc, an);
    for (int i = 0; i < w->t->nstages && w->ok; i++) {
        NestStage *f = w->t->stage[i];
        if (!f->at || strcmp(f->at->def.name, acc) || !rule_has_loop(f, "ki")) continue;
        const char *name = f->def.name;
        rule_line(w, "split %s.ki %D kw kj", name, part);
        if (rule_has_loop(f, ao)) {
            matmul_lanes(w, f, "kw kj", vec);
            if (w->ok && rule_has_loop(f, "ov")) rule_line(w, "reorder %s ov kj %s", name, an);
        } else {
            rule_line(w, "reorder %s kw kj %s", name, an);
            rule_line(w, "unroll %s.%s", name, an);
        }
        rule_line(w, "unroll %s.kj", name);
    }
}

// The loops of the sum: a block of k at a time, or what divides it.
static void sum_of_rows(RuleWriter *w, const MatmulShape *m, i64 vec, i64 unroll) {
    const char *acc = m->acc->def.name, *k = rule_sum_axis(m->acc);
    const char *an = rule_axis(m->acc, 0), *ao = rule_axis(m->acc, 1);
    i64 block = matmul_k_block(m);
    if (block > 1) rule_line(w, "split %s.%s %D kb ki", acc, k, block);
    if (block > 1 && profile_shares_loads(w->t->profile)) {
        rule_line(w, "reorder %s kb ki %s %s", acc, an, ao);
        if (rule_try(w, "factor %s.ki", acc)) {
            sum_by_block(w, m, vec, MIN2(block, unroll));
            return;
        }
    }
    if (block > unroll) {
        rule_line(w, "split %s.ki %D kw kj", acc, unroll);
        rule_line(w, "reorder %s kb kw kj %s %s", acc, an, ao);
        rule_line(w, "unroll %s.kj", acc);
    } else if (block > 1) {
        rule_line(w, "reorder %s kb ki %s %s", acc, an, ao);
        rule_line(w, "unroll %s.ki", acc);
    } else {
        rule_line(w, "reorder %s %s %s %s", acc, k, an, ao);
    }
    rule_line(w, "unroll %s.%s", acc, an);
    rule_lanes(w, acc, ao, vec);
}

static void rows_by_thread(RuleWriter *w, MatmulShape *m, const i64 *p) {
    const Profile *prof = w->t->profile;
    i64 vec = MAX2(prof->vec, 1);
    NestStage *out = rule_out(w->t);
    const char *acc = m->acc->def.name, *n = rule_axis(out, 0);
    matmul_split_rows(w, m, p[ROWS_VECS]);
    rule_line(w, "split out.%s %D nb ni", n, p[ROWS_TILE]);
    if (w->ok && nest_stage(w->t, S("out"))->inexact[0]) rule_line(w, "guard out %s", n);
    rule_line(w, "reorder out ob nb ni oi");
    const char *at = "nb";
    if (prof->gpu) { // rows of activations over the second dimension of the grid
        rule_line(w, "reorder out nb ob");
        rule_line(w, "bind out.nb wg.y");
        rule_bind_flat(w, "out", "ob", p[ROWS_WG]);
        at = "th";
    } else {
        rule_line(w, "bind out.ob cpu");
    }
    rule_line(w, "compute_at %s out.%s", acc, at);
    matmul_place_others(w, m, at);
    sum_of_rows(w, m, vec, p[ROWS_UNROLL]);
    rule_line(w, "unroll out.ni");
    matmul_finish_tile(w, m, "oi", vec);
}

// Tiles of x and of dequantised w in workgroup memory; each thread owns a few rows by one vector.
static void rows_by_tile(RuleWriter *w, MatmulShape *m, const i64 *p) {
    const Profile *prof = w->t->profile;
    i64 vec = MAX2(prof->vec, 1), nt = p[ROWS_TILE], side = p[ROWS_SIDE];
    NestStage *out = rule_out(w->t);
    const char *acc = m->acc->def.name, *n = rule_axis(out, 0), *o = rule_axis(out, m->o_axis),
               *k = m->acc->def.red[0].var->name;
    const char *an = rule_axis(m->acc, 0), *ao = rule_axis(m->acc, 1), *wn = m->w->def.name;
    i64 kt = MIN2(matmul_k_block(m), 32);
    i64 each = MAX2(vec / m->stride, 1);
    rule_line(w, "split out.%s %D ob ot", o, each * side);
    rule_line(w, "split out.ot %D ox oi", each);
    if (w->ok && nest_stage(w->t, S("out"))->inexact[m->o_axis]) rule_line(w, "guard out %s", o);
    rule_line(w, "split out.%s %D nb nt", n, nt * side);
    rule_line(w, "split out.nt %D ny ni", nt);
    if (w->ok && nest_stage(w->t, S("out"))->inexact[0]) rule_line(w, "guard out %s", n);
    rule_line(w, "reorder out nb ob ny ox ni oi");
    rule_line(w, "bind out.nb wg.y");
    rule_line(w, "bind out.ob wg.x");
    rule_line(w, "bind out.ny thread.y");
    rule_line(w, "bind out.ox thread.x");
    bool cached = rule_try(w, "cache_read %s x xs",
                           acc); // x as it lies; a norm's gain is applied to it later
    rule_line(w, "compute_at %s out.ob", acc);
    rule_line(w, "split %s.%s %D kb ki", acc, k, kt);
    rule_line(w, "split %s.%s %D ny ni", acc, an, nt);
    rule_line(w, "split %s.%s %D ox ol", acc, ao, vec);
    rule_line(w, "reorder %s kb ki ny ox ni ol", acc);
    rule_line(w, "bind %s.ny thread.y", acc);
    rule_line(w, "bind %s.ox thread.x", acc);
    rule_line(w, "unroll %s.ni", acc);
    if (vec > 1) rule_line(w, "vectorise %s.ol", acc);
    // the dequantised tile: threads over rows of w, the words of k over the second dimension
    rule_line(w, "compute_at %s %s.kb", wn, acc);
    const char *wo = rule_axis(m->w, 0), *wk = rule_axis(m->w, 1);
    rule_line(w, "split %s.%s %D ot ox", wn, wo, side);
    i64 ks = rule_divisor(kt, side);
    rule_line(w, "split %s.%s %D ky kj", wn, wk, kt / ks);
    rule_line(w, "reorder %s ot ox ky kj", wn);
    rule_line(w, "bind %s.ox thread.x", wn);
    if (ks > 1) rule_line(w, "bind %s.ky thread.y", wn);
    rule_line(w, "unroll %s.kj", wn);
    if (cached) { // the tile of x: its rows over the second dimension, k over the first
        rule_line(w, "compute_at xs %s.kb", acc);
        rule_line(w, "split xs.%s %D nt ny", an, side);
        rule_line(w, "split xs.%s %D kt kx", k, rule_divisor(kt, side));
        rule_line(w, "reorder xs nt ny kt kx");
        rule_line(w, "bind xs.ny thread.y");
        rule_line(w, "bind xs.kx thread.x");
    }
    if (prof->f16 && prof->act_bits) { // the fast mode: tiles in 16 bits, sums in 32
        rule_line(w, "half %s", wn);
        if (cached) rule_line(w, "half xs");
    }
    matmul_place_others(w, m, "ox");
    rule_line(w, "unroll out.ni");
    matmul_finish_tile(w, m, "oi", vec);
}

static bool apply_rows(Nest *n, const i64 *params, Err *err) {
    RuleWriter w = {.t = n, .err = err, .ok = true};
    MatmulShape m;
    must(matmul_find(w.t, &m));
    i64 rows, side = params[ROWS_SIDE];
    bool tiles = side && n->profile->gpu && side * side <= n->profile->max_wg_size &&
                 m.n_most >= MANY_ROWS && extent_const(m.acc->def.ax[1].extent, &rows) &&
                 rows % (side * n->profile->vec) == 0 && matmul_k_block(&m) >= 8 &&
                 (params[ROWS_TILE] + n->profile->vec) * side * matmul_k_block(&m) * 4 <=
                     n->profile->shared_bytes;
    rule_inline_all(&w, tiles ? m.w->def.name : NULL);
    if (w.ok) w.ok = matmul_stride(&w, &m);
    if (!w.ok) return false;
    if (tiles)
        rows_by_tile(&w, &m, params);
    else
        rows_by_thread(&w, &m, params);
    return w.ok;
}

static void choose_rows(const Nest *n, i64 *params) {
    i64 want = n->profile->row_tile;
    if (want == 1 || want == 2 || want == 4 || want == 8) params[ROWS_TILE] = want;
    // Software adapters check every load: two vectors of w's rows for each x.
    if (profile_in_software(n->profile)) params[ROWS_VECS] = 2;
    if (profile_shares_loads(n->profile)) {
        MatmulShape m;
        must(matmul_find(n, &m));
        params[ROWS_VECS] = 4, params[ROWS_UNROLL] = 32;
        if (m.n_most >= MANY_ROWS) params[ROWS_TILE] = 8;
    }
    if (rule_barriers_are_dear(n->profile)) params[ROWS_SIDE] = 0;
}

// Several rows of activations share each dequantised weight.
const Rule rule_matmul_rows = {
    .name = "matmul_rows",
    .match = match_rows,
    .apply = apply_rows,
    .choose = choose_rows,
    .param = {[ROWS_TILE] = {"rows", {4, 2, 8, 1}, 4},
              [ROWS_VECS] = {"vecs", {1, 2, 4}, 3},
              [ROWS_UNROLL] = {"unroll", {8, 4, 16, 32}, 4},
              [ROWS_SIDE] = {"side", {8, 4, 16, 0}, 4}, // 0: nothing is shared
              [ROWS_WG] = RULE_WG},
};
