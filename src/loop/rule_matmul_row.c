// loop/rule_matmul_row.c: one row of activations: every weight is read once.
#include "loop/rule_matmul.h"

// Those that make the activations which the matmul reads (attention's parts, joined): inside its
// own loop, only as many as an iteration needs.
static void place_operands(RuleWriter *w, const char *stage, const char *loop) {
    const Expr *load[8];
    for (int i = w->t->nstages - 1; i >= 0 && w->ok; i--) {
        NestStage *s = w->t->stage[i];
        if (s->inlined || s->at || s->def.nstores || !strcmp(s->def.name, stage) ||
            stage_reads(rule_out(w->t), s->def.out, load, COUNT_OF(load)) != 0)
            continue;
        rule_line(w, "compute_at %s %s.%s", s->def.name, stage, loop);
        for (int d = 0; d < s->nloops && w->ok; d++)
            rule_try(w, "unroll %s.%s", s->def.name, s->loop[d].var->name);
    }
}

static void find_stage_loads(void *user, const Expr *e) {
    if (e->buf->scope == SCOPE_TEMP) *(bool *)user = true;
}

// A stage that only maps what another one sums up (the weights of attention's parts): where several
// read it, it is dear to inline. NULL: there is none.
static const char *shared_map(const Nest *n) {
    for (int i = 0; i < n->nstages; i++) {
        const Stage *d = &n->stage[i]->def;
        bool reads = false;
        if (d->op != RED_NONE || d->nstores) continue;
        expr_walk_loads(d->body, find_stage_loads, &reads);
        if (reads) return d->name;
    }
    return NULL;
}

// A block's sum of x, which the factored-out minimum is multiplied by: in lanes, for one scalar
// after another would be the longest chain of additions in the loop.
static void sum_in_lanes(RuleWriter *w, const char *stage, i64 vec) {
    char part[40];
    Buf b = {.ptr = part, .cap = sizeof part};
    buf_fmt(&b, "%s_l", stage);
    rule_line(w, "split %s.ki %D kc kr", stage, vec);
    rule_line(w, "rfactor %s.kr %s", stage, part);
    rule_line(w, "reorder %s kc kr", part);
    rule_line(w, "unroll %s.kc", part);
    rule_line(w, "vectorise %s.kr", part);
    rule_line(w, "unroll %s.kr", stage);
}

enum { ROW_VECS, ROW_FACTOR, ROW_UNROLL, ROW_LANES, ROW_WG };

static bool match_row(const Nest *n) {
    MatmulShape m;
    return !n->direct && matmul_find(n, &m) && !m.dot && m.n_most == 1;
}

// Whole rows of w, R lanes side by side, one thread each.
static void row_by_thread(RuleWriter *w, MatmulShape *m, const i64 *p) {
    const Profile *prof = w->t->profile;
    i64 vec = MAX2(prof->vec, 1);
    NestStage *out = rule_out(w->t);
    const char *acc = m->acc->def.name, *n = rule_axis(out, 0), *k = m->acc->def.red[0].var->name;
    const char *an = rule_axis(m->acc, 0), *ao = rule_axis(m->acc, 1);
    matmul_split_rows(w, m, p[ROW_VECS]);
    if (w->ok) {
        Str loops[2] = {S("ob"), str_c(n)};
        rule_line(w, "reorder out %S %S", loops[0], loops[1]);
    }
    rule_bind_flat(w, "out", "ob", p[ROW_WG]);
    rule_line(w, "compute_at %s out.%s", acc, n);
    matmul_place_others(w, m, n);
    i64 block = matmul_k_block(m);
    if (block > 1) {
        rule_line(w, "split %s.%s %D kb ki", acc, k, block);
        rule_line(w, "reorder %s %s kb ki %s", acc, an, ao);
        bool factored = p[ROW_FACTOR] && rule_try(w, "factor %s.ki", acc);
        rule_lanes(w, acc, ao, vec);
        if (!factored) {
            if (block > p[ROW_UNROLL]) {
                rule_line(w, "split %s.ki %D kw kj", acc, p[ROW_UNROLL]);
                rule_line(w, "unroll %s.kj", acc);
            } else {
                rule_line(w, "unroll %s.ki", acc);
            }
        }
        for (int i = 0; factored && i < w->t->nstages; i++) {
            NestStage *f = w->t->stage[i];
            if (!f->at || strcmp(f->at->def.name, acc) || !rule_has_loop(f, "ki")) continue;
            const char *name = f->def.name;
            if (!prof->gpu && !rule_has_loop(f, ao) && vec > 1 && block >= 2 * vec &&
                block % vec == 0) {
                sum_in_lanes(w, name, vec);
                continue;
            }
            if (rule_has_loop(f, ao)) rule_line(w, "reorder %s ki %s", name, ao);
            if (rule_has_loop(f, ao)) rule_lanes(w, name, ao, vec);
            if (block > p[ROW_UNROLL]) {
                rule_line(w, "split %s.ki %D kw kj", name, p[ROW_UNROLL]);
                rule_line(w, "unroll %s.kj", name);
            } else {
                if (prof->gpu && w->ok &&
                    rule_has_loop(f, "ov")) // one vector's sums fit the registers
                    rule_line(w, "reorder %s ov ki", name);
                rule_line(w, "unroll %s.ki", name);
            }
        }
    } else {
        rule_line(w, "reorder %s %s %s %s", acc, an, k, ao);
        rule_lanes(w, acc, ao, vec);
    }
    matmul_finish_tile(w, m, "oi", vec);
}

// One block of R rows of w a row of threads: k over the lanes of a subgroup, or of a workgroup
// through shared memory.
static void row_by_lanes(RuleWriter *w, MatmulShape *m, const i64 *p) {
    const Profile *prof = w->t->profile;
    i64 vec = MAX2(prof->vec, 1), tile = MAX2(vec / m->stride, 1);
    NestStage *out = rule_out(w->t);
    const char *acc = m->acc->def.name, *n = rule_axis(out, 0), *o = rule_axis(out, m->o_axis),
               *k = m->acc->def.red[0].var->name;
    const char *an = rule_axis(m->acc, 0), *ao = rule_axis(m->acc, 1);
    i64 word = MIN2(matmul_k_block(m), 8), lanes = prof->subgroup ? prof->subgroup : p[ROW_LANES];
    rule_line(w, "split out.%s %D ob oi", o, tile);
    if (nest_stage(w->t, S("out"))->inexact[m->o_axis]) rule_line(w, "guard out %s", o);
    rule_line(w, "reorder out ob %s", n);
    const char *inner = "ob";
    i64 blocks = 1;
    rule_loop_extent(nest_stage(w->t, S("out")), "ob", &blocks);
    i64 ty = prof->subgroup ? rule_divisor(blocks, prof->wg_size / lanes) : 1;
    if (ty > 1) {
        rule_line(w, "split out.ob %D wg ty", ty);
        rule_line(w, "bind out.ty thread.y");
        inner = "wg";
    }
    rule_line(w, "bind out.%s wg.x", inner);
    rule_line(w, "compute_at %s out.%s", acc, n);
    rule_line(w, "split %s.%s %D kw kj", acc, k, word);
    rule_line(w, "split %s.kw %D kc lane", acc, lanes);
    if (w->ok && nest_stage(w->t, str_c(acc))->red_inexact[0]) rule_line(w, "guard %s %s", acc, k);
    if (prof->subgroup) {
        rule_line(w, "reorder %s %s kc lane kj %s", acc, an, ao);
        rule_line(w, "bind %s.lane lane", acc);
        place_operands(w, acc, "lane");
        rule_lanes(w, acc, ao, vec);
        rule_line(w, "unroll %s.kj", acc);
    } else {
        rule_line(w, "rfactor %s.lane part", acc);
        rule_line(w, "reorder part %s lane kc kj %s", an, ao);
        rule_line(w, "bind part.lane thread.x");
        rule_lanes(w, "part", ao, vec);
        rule_line(w, "unroll part.kj");
        rule_line(w, "reorder %s lane %s", acc, ao);
        rule_lanes(w, acc, ao, vec);
    }
    matmul_place_others(w, m, n);
    matmul_finish_tile(w, m, "oi", vec);
}

static bool apply_row(Nest *n, const i64 *params, Err *err) {
    RuleWriter w = {.t = n, .err = err, .ok = true};
    MatmulShape m;
    must(matmul_find(w.t, &m));
    bool threads = params[ROW_LANES] == 1 || !n->profile->gpu;
    rule_inline_all(&w, !threads && n->profile->subgroup ? shared_map(n) : NULL);
    if (w.ok) w.ok = matmul_stride(&w, &m);
    if (!w.ok) return false;
    if (threads)
        row_by_thread(&w, &m, params);
    else
        row_by_lanes(&w, &m, params);
    return w.ok;
}

static void choose_row(const Nest *n, i64 *params) {
    // One vector of rows is one chain of additions: a processor, a software adapter's too, needs
    // several to be busy between them. Branches are free, the instruction cache and the compiler's
    // time are not: a word's elements at a time. A software adapter has no loops over scalars: what
    // x is loaded and scaled for is kept for all rows.
    if (!rule_barriers_are_dear(n->profile)) return;
    params[ROW_VECS] = 4, params[ROW_UNROLL] = n->profile->gpu ? 32 : 8, params[ROW_LANES] = 1;
}

// One row of activations: every weight is read once.
const Rule rule_matmul_row = {
    .name = "matmul_row",
    .match = match_row,
    .apply = apply_row,
    .choose = choose_row,
    .param = {[ROW_VECS] = {"vecs", {1, 2, 4}, 3},
              [ROW_FACTOR] = {"factor", {1, 0}, 2},
              [ROW_UNROLL] = {"unroll", {32, 8, 16}, 3},
              [ROW_LANES] = {"lanes", {32, 16, 64, 1}, 4}, // 1: a thread has whole rows
              [ROW_WG] = RULE_WG},
};
