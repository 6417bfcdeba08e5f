// loop/rule_matmul.c: y[n, o] = sum_k x[n, k] * w[o, k], with whatever hangs on it.
//
// Two shapes of it. matmul_row is for one row of activations: decode reads every weight once, so
// all that counts is reading them at the memory's speed. matmul_rows is for many: a dequantised
// weight serves several rows. On a device where barriers are dear (or a CPU) each thread owns whole
// rows of w, R at a time in R lanes; where they are cheap, a row-block's k is spread over a
// subgroup or a workgroup (row), or tiles are shared (rows).
#include "loop/rule_int.h"

typedef struct MatmulShape {
    const NestStage *acc, *w, *out, *dot; // dot: a block's sum of packed activations, or NULL
    int o_axis;                           // the axis of `out` that runs over rows of w
    i64 stride;                           // rows of w for one step of that axis
    i64 n_most;                           // rows of activations at most
    i64 bits; // of the weight's fields, where packed activations meet them
} MatmulShape;

static void find_word_loads(void *user, const Expr *e) {
    if (e->buf->scope == SCOPE_ARG && e->buf->type == TY_U32) *(bool *)user = true;
}

static void find_nibbles(void *user, const Expr *e) {
    i64 mask;
    if (e->op == EX_AND && expr_is_int(e->args[1], &mask) && mask == 15) *(bool *)user = true;
}

static bool find(const Nest *n, MatmulShape *m) {
    *m = (MatmulShape){.o_axis = -1, .stride = 1};
    for (int i = 0; i < n->nstages; i++) {
        NestStage *s = n->stage[i];
        if (s->def.op != RED_SUM || s->def.nred != 1) continue;
        if (s->def.nax != (s->def.body->type == TY_I32 ? 3 : 2)) continue; // a sum for each block
        for (int k = 0; k < i; k++) {
            NestStage *w = n->stage[k];
            const Expr *load[2];
            bool words = false;
            if (w->def.op != RED_NONE || w->def.nax != 2 ||
                stage_reads(s, w->def.out, load, 2) != 1)
                continue;
            expr_walk_loads(w->def.body, find_word_loads, &words);
            if (words && expr_uses(load[0]->args[0], s->def.ax[1].var) &&
                expr_uses(load[0]->args[1], s->def.red[0].var))
                m->acc = s, m->w = w;
        }
    }
    if (m->acc && m->acc->def.nax == 3) {
        m->dot = m->acc;
        m->acc = NULL;
        for (int i = 0; i < n->nstages; i++) {
            const Expr *load[2];
            if (n->stage[i] != m->dot && stage_reads(n->stage[i], m->dot->def.out, load, 2) == 1)
                m->acc = n->stage[i];
        }
    }
    m->out = rule_out(n);
    if (!m->acc || !m->out->def.nstores || m->out->def.nax < 2) return false;
    i64 lo;
    expr_range(m->out->def.ax[0].extent, &lo, &m->n_most);
    bool nibbles = false;
    expr_walk(m->w->def.body, find_nibbles, &nibbles);
    m->bits = nibbles ? 4 : 8;
    return true;
}

// After inlining, `out` reads acc directly: which of its axes walks w's rows, and how far a step
// goes.
static bool find_stride(RuleWriter *w, MatmulShape *m) {
    NestStage *out = rule_out(w->t);
    const Expr *load[8], *base;
    int n = stage_reads(out, m->acc->def.out, load, 8);
    for (int i = 1; i < out->def.nax && n > 0; i++) {
        i64 coef = 0;
        if (expr_affine(w->t->x, load[0]->args[1], out->def.ax[i].var, &base, &coef) && coef > 0) {
            m->o_axis = i, m->stride = coef;
            return true;
        }
    }
    return err_set(w->err, ERR_SCHED_ILLEGAL,
                   "the matmul's rows do not follow an axis of its result");
}

// How many elements of k one scale serves: the largest power of two, at most 32, that divides k.
static i64 k_block(const MatmulShape *m) {
    i64 d = expr_divisor(m->acc->def.red[0].extent), b = 1;
    while (b < 32 && d % (2 * b) == 0) b *= 2;
    return b;
}

static const char *axis(const NestStage *s, int i) { return s->def.ax[i].var->name; }
static const char *axis_of_sum(const NestStage *s) { return s->def.red[0].var->name; }

// The reductions besides the matmul (a norm's sum of squares) where the matmul's own stands.
static void place_others(RuleWriter *w, const MatmulShape *m, const char *loop) {
    for (int i = w->t->nstages - 1; i >= 0; i--) {
        NestStage *s = w->t->stage[i];
        if (s->inlined || s->at || s->def.nstores || !strcmp(s->def.name, m->acc->def.name))
            continue;
        rule_line(w, "compute_at %s out.%s", s->def.name, loop);
    }
}

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

// The epilogue's innermost loops: lanes where it walks rows of w one by one (on a processor, whose
// vectors are long, pairs of them too), else written out.
static void finish_tile(RuleWriter *w, const MatmulShape *m, const char *oi, i64 lanes) {
    NestStage *out = rule_out(w->t);
    i64 ext;
    bool lane = rule_loop_extent(out, oi, &ext) && lanes > 1 &&
                (ext <= lanes || ext % lanes == 0) &&
                (m->stride == 1 || (!w->t->profile->gpu && ext >= 4 && !(ext & (ext - 1))));
    if (lane && ext > lanes) {
        rule_line(w, "split out.%s %D ov ol", oi, lanes);
        rule_line(w, "unroll out.ov");
        rule_line(w, "vectorise out.ol");
    } else if (lane) {
        rule_line(w, "vectorise out.%s", oi);
    } else {
        rule_line(w, "unroll out.%s", oi);
    }
    for (int i = m->o_axis + 1; i < out->def.nax; i++) rule_line(w, "unroll out.%s", axis(out, i));
}

// acc's row-of-w axis: lanes, several vectors of them written out.
static void lanes_of(RuleWriter *w, const char *stage, const char *o, i64 vec) {
    NestStage *s = nest_stage(w->t, str_c(stage));
    i64 ext;
    if (!rule_loop_extent(s, o, &ext)) return;
    if (ext > vec) {
        rule_line(w, "split %s.%s %D %sv %sl", stage, o, vec, o, o);
        rule_line(w, "unroll %s.%sv", stage, o);
        if (vec > 1) rule_line(w, "vectorise %s.%sl", stage, o);
    } else if (ext > 1) {
        rule_line(w, "vectorise %s.%s", stage, o);
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

static bool has_loop(const NestStage *s, const char *name) {
    for (int i = 0; i < s->nloops; i++)
        if (!strcmp(s->loop[i].var->name, name)) return true;
    return false;
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

// ---- one row ------------------------------------------------------------------------------------
enum { ROW_VECS, ROW_FACTOR, ROW_UNROLL, ROW_LANES, ROW_WG };

static bool match_row(const Nest *n) {
    MatmulShape m;
    return !n->direct && find(n, &m) && !m.dot && m.n_most == 1;
}

// Whole rows of w, R lanes side by side, one thread each.
static void row_by_thread(RuleWriter *w, MatmulShape *m, const i64 *p) {
    const Profile *prof = w->t->profile;
    i64 vec = MAX2(prof->vec, 1), rows = vec * p[ROW_VECS];
    NestStage *out = rule_out(w->t);
    const char *acc = m->acc->def.name, *n = axis(out, 0), *o = axis(out, m->o_axis),
               *k = m->acc->def.red[0].var->name;
    const char *an = axis(m->acc, 0), *ao = axis(m->acc, 1);
    while (rows > vec && expr_divisor(out->def.ax[m->o_axis].extent) * m->stride % rows)
        rows -= vec;
    i64 tile = MAX2(rows / m->stride, 1);
    rule_line(w, "split out.%s %D ob oi", o, tile);
    if (nest_stage(w->t, S("out"))->inexact[m->o_axis]) rule_line(w, "guard out %s", o);
    if (w->ok) {
        Str loops[2] = {S("ob"), str_c(n)};
        rule_line(w, "reorder out %S %S", loops[0], loops[1]);
    }
    rule_bind_flat(w, "out", "ob", p[ROW_WG]);
    rule_line(w, "compute_at %s out.%s", acc, n);
    place_others(w, m, n);
    i64 block = k_block(m);
    if (block > 1) {
        rule_line(w, "split %s.%s %D kb ki", acc, k, block);
        rule_line(w, "reorder %s %s kb ki %s", acc, an, ao);
        bool factored = p[ROW_FACTOR] && rule_try(w, "factor %s.ki", acc);
        lanes_of(w, acc, ao, vec);
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
            if (!f->at || strcmp(f->at->def.name, acc) || !has_loop(f, "ki")) continue;
            const char *name = f->def.name;
            if (!prof->gpu && !has_loop(f, ao) && vec > 1 && block >= 2 * vec && block % vec == 0) {
                sum_in_lanes(w, name, vec);
                continue;
            }
            if (has_loop(f, ao)) rule_line(w, "reorder %s ki %s", name, ao);
            if (has_loop(f, ao)) lanes_of(w, name, ao, vec);
            if (block > p[ROW_UNROLL]) {
                rule_line(w, "split %s.ki %D kw kj", name, p[ROW_UNROLL]);
                rule_line(w, "unroll %s.kj", name);
            } else {
                if (prof->gpu && w->ok && has_loop(f, "ov")) // one vector's sums fit the registers
                    rule_line(w, "reorder %s ov ki", name);
                rule_line(w, "unroll %s.ki", name);
            }
        }
    } else {
        rule_line(w, "reorder %s %s %s %s", acc, an, k, ao);
        lanes_of(w, acc, ao, vec);
    }
    finish_tile(w, m, "oi", vec);
}

// One block of R rows of w a row of threads: k over the lanes of a subgroup, or of a workgroup
// through shared memory.
static void row_by_lanes(RuleWriter *w, MatmulShape *m, const i64 *p) {
    const Profile *prof = w->t->profile;
    i64 vec = MAX2(prof->vec, 1), tile = MAX2(vec / m->stride, 1);
    NestStage *out = rule_out(w->t);
    const char *acc = m->acc->def.name, *n = axis(out, 0), *o = axis(out, m->o_axis),
               *k = m->acc->def.red[0].var->name;
    const char *an = axis(m->acc, 0), *ao = axis(m->acc, 1);
    i64 word = MIN2(k_block(m), 8), lanes = prof->subgroup ? prof->subgroup : p[ROW_LANES];
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
        lanes_of(w, acc, ao, vec);
        rule_line(w, "unroll %s.kj", acc);
    } else {
        rule_line(w, "rfactor %s.lane part", acc);
        rule_line(w, "reorder part %s lane kc kj %s", an, ao);
        rule_line(w, "bind part.lane thread.x");
        lanes_of(w, "part", ao, vec);
        rule_line(w, "unroll part.kj");
        rule_line(w, "reorder %s lane %s", acc, ao);
        lanes_of(w, acc, ao, vec);
    }
    place_others(w, m, n);
    finish_tile(w, m, "oi", vec);
}

static bool barriers_are_dear(const Profile *p) { return !p->gpu || profile_in_software(p); }

static bool apply_row(Nest *n, const i64 *params, Err *err) {
    RuleWriter w = {.t = n, .err = err, .ok = true};
    MatmulShape m;
    must(find(w.t, &m));
    bool threads = params[ROW_LANES] == 1 || !n->profile->gpu;
    rule_inline_all(&w, !threads && n->profile->subgroup ? shared_map(n) : NULL);
    if (w.ok) w.ok = find_stride(&w, &m);
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
    if (!barriers_are_dear(n->profile)) return;
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

// ---- many rows ----------------------------------------------------------------------------------
enum { ROWS_TILE, ROWS_VECS, ROWS_UNROLL, ROWS_SIDE, ROWS_WG };

static bool match_rows(const Nest *n) {
    MatmulShape m;
    return !n->direct && find(n, &m) && !m.dot && m.n_most > 1;
}

static void rows_by_thread(RuleWriter *w, MatmulShape *m, const i64 *p) {
    const Profile *prof = w->t->profile;
    i64 vec = MAX2(prof->vec, 1), rows = vec * p[ROWS_VECS];
    NestStage *out = rule_out(w->t);
    const char *acc = m->acc->def.name, *n = axis(out, 0), *o = axis(out, m->o_axis),
               *k = m->acc->def.red[0].var->name;
    const char *an = axis(m->acc, 0), *ao = axis(m->acc, 1);
    while (rows > vec && expr_divisor(out->def.ax[m->o_axis].extent) * m->stride % rows)
        rows -= vec;
    rule_line(w, "split out.%s %D ob oi", o, MAX2(rows / m->stride, 1));
    if (nest_stage(w->t, S("out"))->inexact[m->o_axis]) rule_line(w, "guard out %s", o);
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
    place_others(w, m, at);
    i64 block = k_block(m);
    if (block > 1) {
        rule_line(w, "split %s.%s %D kb ki", acc, k, block);
        if (block > p[ROWS_UNROLL]) {
            rule_line(w, "split %s.ki %D kw kj", acc, p[ROWS_UNROLL]);
            rule_line(w, "reorder %s kb kw kj %s %s", acc, an, ao);
            rule_line(w, "unroll %s.kj", acc);
        } else {
            rule_line(w, "reorder %s kb ki %s %s", acc, an, ao);
            rule_line(w, "unroll %s.ki", acc);
        }
    } else {
        rule_line(w, "reorder %s %s %s %s", acc, k, an, ao);
    }
    rule_line(w, "unroll %s.%s", acc, an);
    lanes_of(w, acc, ao, vec);
    rule_line(w, "unroll out.ni");
    finish_tile(w, m, "oi", vec);
}

// Tiles of x and of dequantised w in workgroup memory; each thread owns a few rows by one vector.
static void rows_by_tile(RuleWriter *w, MatmulShape *m, const i64 *p) {
    const Profile *prof = w->t->profile;
    i64 vec = MAX2(prof->vec, 1), nt = p[ROWS_TILE], side = p[ROWS_SIDE];
    NestStage *out = rule_out(w->t);
    const char *acc = m->acc->def.name, *n = axis(out, 0), *o = axis(out, m->o_axis),
               *k = m->acc->def.red[0].var->name;
    const char *an = axis(m->acc, 0), *ao = axis(m->acc, 1), *wn = m->w->def.name;
    i64 kt = MIN2(k_block(m), 32);
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
    const char *wo = axis(m->w, 0), *wk = axis(m->w, 1);
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
    place_others(w, m, "ox");
    rule_line(w, "unroll out.ni");
    finish_tile(w, m, "oi", vec);
}

static bool apply_rows(Nest *n, const i64 *params, Err *err) {
    RuleWriter w = {.t = n, .err = err, .ok = true};
    MatmulShape m;
    must(find(w.t, &m));
    i64 rows, side = params[ROWS_SIDE];
    bool tiles =
        side && n->profile->gpu && side * side <= n->profile->max_wg_size && m.n_most >= 16 &&
        extent_const(m.acc->def.ax[1].extent, &rows) && rows % (side * n->profile->vec) == 0 &&
        k_block(&m) >= 8 &&
        (params[ROWS_TILE] + n->profile->vec) * side * k_block(&m) * 4 <= n->profile->shared_bytes;
    rule_inline_all(&w, tiles ? m.w->def.name : NULL);
    if (w.ok) w.ok = find_stride(&w, &m);
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
    if (barriers_are_dear(n->profile)) params[ROWS_SIDE] = 0;
}

// Several rows of activations share each dequantised weight.
const Rule rule_matmul_rows = {
    .name = "matmul_rows",
    .match = match_rows,
    .apply = apply_rows,
    .choose = choose_rows,
    .param = {[ROWS_TILE] = {"rows", {4, 2, 8, 1}, 4},
              [ROWS_VECS] = {"vecs", {1, 2}, 2},
              [ROWS_UNROLL] = {"unroll", {8, 4, 16}, 3},
              [ROWS_SIDE] = {"side", {8, 4, 16, 0}, 4}, // 0: nothing is shared
              [ROWS_WG] = RULE_WG},
};

// ---- packed activations -------------------------------------------------------------------------
enum { BYTES_TILE, BYTES_VECS, BYTES_WG };

static bool match_bytes(const Nest *n) {
    MatmulShape m;
    return !n->direct && find(n, &m) && m.dot;
}

// The rows of x written out, the rows of w in lanes.
static void byte_lanes(RuleWriter *w, const NestStage *s, const char *loops, i64 vec) {
    const char *name = s->def.name, *n = axis(s, 0), *o = axis(s, 1);
    rule_line(w, "reorder %s %s %s %s", name, loops, n, o);
    rule_line(w, "unroll %s.%s", name, n);
    lanes_of(w, name, o, vec);
}

// The sum of a block's products, four at a time, where its scale is applied; two at a time where
// the device has nothing for four.
static void sum_block(RuleWriter *w, const MatmulShape *m, const NestStage *s, i64 vec) {
    const char *dot = s->def.name;
    const Profile *p = w->t->profile;
    bool one = p->gpu && w->ok && has_loop(m->acc, "ov"); // a vector of rows at a time
    rule_line(w, "compute_at %s %s.%s", dot, m->acc->def.name, one ? "ov" : axis_of_sum(m->acc));
    rule_line(w, "split %s.%s %D kw kj", dot, axis_of_sum(s), 32 / m->bits);
    if (m->bits == 4 && p->gpu && !p->dot4) {
        const char *half = str_eq(str_c(dot), S("dot")) ? "dot_h" : "low_h"; // 16 products each
        rule_line(w, "split %s.kw 2 g ki", dot);
        rule_line(w, "split %s.kj 4 p h", dot);
        rule_line(w, "rfactor %s.g %s", dot, half);
        byte_lanes(w, s, "g", vec);
        rule_line(w, "compute_at %s %s.g", half, dot);
        rule_line(w, "pairs %s.p", half);
        if (w->ok) byte_lanes(w, nest_stage(w->t, str_c(half)), "ki h", vec);
        rule_line(w, "unroll %s.ki", half);
        rule_line(w, "unroll %s.h", half);
        rule_line(w, "unroll %s.g", dot);
        return;
    }
    if (m->bits == 4) {
        rule_line(w, "split %s.kj 2 jj h", dot);
        rule_line(w, "dot %s.jj", dot);
        byte_lanes(w, s, "kw h", vec);
        rule_line(w, "unroll %s.h", dot);
    } else {
        rule_line(w, "dot %s.kj", dot);
        byte_lanes(w, s, "kw", vec);
    }
    rule_line(w, "unroll %s.kw", dot);
}

// Whole rows of w, side by side in lanes, for a few rows of x: a block's products are summed as
// integers, four at a time.
static bool apply_bytes(Nest *n, const i64 *p, Err *err) {
    RuleWriter w = {.t = n, .err = err, .ok = true};
    MatmulShape m;
    must(find(n, &m));
    rule_inline_all(&w, NULL);
    if (w.ok) w.ok = find_stride(&w, &m);
    if (!w.ok) return false;
    i64 vec = MAX2(n->profile->vec, 1), rows = vec * p[BYTES_VECS];
    NestStage *out = rule_out(n);
    const char *acc = m.acc->def.name;
    const char *on = axis(out, 0), *o = axis(out, m.o_axis);
    while (rows > vec && expr_divisor(out->def.ax[m.o_axis].extent) * m.stride % rows) rows -= vec;
    rule_line(&w, "split out.%s %D ob oi", o, MAX2(rows / m.stride, 1));
    if (w.ok && out->inexact[m.o_axis]) rule_line(&w, "guard out %s", o);
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
    byte_lanes(&w, m.acc, axis_of_sum(m.acc), vec);
    if (n->profile->gpu && w.ok && has_loop(m.acc, "ov"))
        rule_line(&w, "reorder %s ov %s", acc, axis(m.acc, 0));
    for (int i = n->nstages - 1; i >= 0; i--) // of wide activations there are two
        if (n->stage[i]->def.op == RED_SUM && n->stage[i]->def.nax == 3)
            sum_block(&w, &m, n->stage[i], vec);
    place_others(&w, &m, at);
    rule_line(&w, "unroll out.ni");
    finish_tile(&w, &m, "oi", vec);
    return w.ok;
}

static void choose_bytes(const Nest *n, i64 *params) {
    const Profile *p = n->profile;
    MatmulShape m;
    must(find(n, &m));
    if (p->gpu) {
        // software unpacks and checks each word of x anew in every thread
        params[BYTES_VECS] = m.n_most > 1 && !barriers_are_dear(p) ? 1 : 4;
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
