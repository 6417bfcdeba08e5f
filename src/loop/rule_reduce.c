// loop/rule_reduce.c: everything that is not a matmul: reductions along a row (norms, maxima, sums)
// and plain maps.
//
// row_reduce puts every reduction where its row is; lanes (a CPU's vector, a workgroup's threads
// where barriers are cheap) share the row. map spreads the elements of a result over whatever runs
// in parallel.
#include "loop/rule_int.h"

enum { REDUCE_LANES, REDUCE_WG, MAP_VEC = 0, MAP_WG };

static bool any_reduction(const Nest *n) {
    for (int i = 0; i < n->nstages; i++)
        if (n->stage[i]->def.op != RED_NONE) return true;
    return false;
}

static bool match_reduce(const Nest *n) {
    return !n->direct && rule_out(n)->def.nstores && any_reduction(n);
}

// Where a stage has several results a row, and partial ones of them all would be too much to share,
// threads take whole results. The last axis is spread, the reduction stays with its thread.
static bool spread_results(RuleWriter *w, const NestStage *s, i64 lanes) {
    i64 all = 4 * lanes, ext = 1;
    const char *name = s->def.name, *axis = s->def.nax ? s->def.ax[s->def.nax - 1].var->name : NULL;
    if (!axis || !rule_loop_extent(s, axis, &ext)) return false;
    all *= ext;
    if (all <= w->t->profile->shared_bytes / 2) return false;
    if (ext % lanes == 0 && rule_try(w, "split %s.%s %D ao at", name, axis, lanes))
        rule_line(w, "bind %s.at thread.x", name);
    return true;
}

// The sum of a vector's lanes: by halves, each of which is a vector, for one lane after another
// would be a chain of as many additions.
static void fold_lanes(RuleWriter *w, const char *stage, const char *lane, i64 lanes) {
    Arena *a = w->t->arena;
    for (i64 half = lanes / 2; half >= 4; half /= 2) {
        const char *l = str_fmt(a, "l%D", half).ptr, *h = str_fmt(a, "h%D", half).ptr,
                   *part = str_fmt(a, "%s_%D", stage, half).ptr;
        rule_line(w, "split %s.%s %D %s %s", stage, lane, half, h, l);
        rule_line(w, "rfactor %s.%s %s", stage, l, part);
        rule_line(w, "reorder %s %s %s", part, h, l);
        rule_line(w, "unroll %s.%s", part, h);
        rule_line(w, "vectorise %s.%s", part, l);
        lane = l;
    }
    rule_line(w, "unroll %s.%s", stage, lane);
}

// Sums of floats and maxima may be split into interleaved partial ones: lanes of a vector, or
// threads.
static void spread_reduction(RuleWriter *w, const char *stage, i64 lanes, bool threads) {
    NestStage *s = nest_stage(w->t, str_c(stage));
    i64 ext;
    if (lanes < 2 || s->def.nred != 1 || s->def.nax >= MAX_AXES) return;
    const char *k = s->def.red[0].var->name;
    const char *part = arena_cstr(w->t->arena, str_fmt(w->t->arena, "%s_p", stage));
    if (threads && spread_results(w, s, lanes)) return;
    bool divides = expr_divisor(s->def.red[0].extent) % lanes == 0;
    if (!divides || (rule_loop_extent(s, k, &ext) && ext < 2 * lanes)) return;
    rule_line(w, "split %s.%s %D kc lane", stage, k, lanes);
    rule_line(w, "rfactor %s.lane %s", stage, part);
    rule_line(w, "reorder %s kc lane", part); // the lanes innermost
    if (!threads) {
        rule_line(w, "vectorise %s.lane", part);
        fold_lanes(w, stage, "lane", lanes);
        return;
    }
    rule_line(w, "reorder %s lane kc", part);
    rule_line(w, "bind %s.lane thread.x", part);
}

// How many of the result's first axes a stage that it reads depends on.
static int result_axes(const Nest *n, const NestStage *s) {
    NestStage *out = rule_out(n);
    const Expr *load[8];
    int axes = 0, loads = stage_reads(out, s->def.out, load, 8);
    for (int l = 0; l < loads; l++)
        for (int i = axes; i < out->def.nax; i++)
            if (expr_uses(load[l], out->def.ax[i].var)) axes = i + 1;
    return axes;
}

static bool apply_reduce(Nest *n, const i64 *params, Err *err) {
    RuleWriter w = {.t = n, .err = err, .ok = true};
    const Profile *p = n->profile;
    rule_inline_all(&w, NULL);
    if (!w.ok) return false;
    NestStage *out = rule_out(w.t);
    bool threads = p->gpu && params[REDUCE_LANES] > 1;
    i64 lanes = threads ? MIN2(params[REDUCE_LANES], p->wg_size) : p->vec;
    // The axes that the reductions' results depend on stay outside; the rest of the result runs
    // inside. A reduction of few of them has its place there, where a thread has all the others.
    int depth[MAX_STAGES] = {0}, rows = 0, outer = MAX_AXES;
    for (int k = 0; k < w.t->nstages; k++) {
        const NestStage *s = w.t->stage[k];
        if (s->inlined || s == out || s->def.op == RED_NONE) continue;
        depth[k] = result_axes(w.t, s);
        rows = MAX2(rows, depth[k]);
        outer = MIN2(outer, depth[k]);
    }
    if (p->gpu || !outer) outer = rows;
    if (out->def.nax == 0)
        return err_set(err, ERR_SCHED_ILLEGAL, "a result without axes cannot be scheduled");
    // The row axes as one loop where their extents allow it; else the inner ones are loops of their
    // own.
    const char *first = out->def.ax[0].var->name, *row = first;
    for (int i = 1; i < rows; i++) {
        const char *next = out->def.ax[i].var->name;
        const char *fused = arena_cstr(w.t->arena, str_fmt(w.t->arena, "r%d", i));
        if (i < outer && row == first && rule_try(&w, "fuse out.%s out.%s %s", first, next, fused))
            first = row = fused;
        else
            row = next;
    }
    if (!p->gpu) {
        rule_line(&w, "bind out.%s cpu", first);
    } else if (threads) {
        rule_line(&w, "bind out.%s wg.x", first);
    } else {
        rule_bind_flat(&w, "out", first, params[REDUCE_WG]);
        if (row == first) row = "th";
    }
    for (int i = w.t->nstages - 1; i >= 0 && w.ok; i--) {
        NestStage *s = w.t->stage[i];
        if (s->inlined || s->def.nstores || s->at) continue;
        rule_line(&w, "compute_at %s out.%s", s->def.name,
                  depth[i] < rows && outer < rows ? first : row);
    }
    for (int i = w.t->nstages - 1; i >= 0 && w.ok; i--) {
        NestStage *s = w.t->stage[i];
        if (s->inlined || s->def.op == RED_NONE || s->def.nstores) continue;
        spread_reduction(&w, s->def.name, lanes, threads);
    }
    // what is left of the result: along the row
    out = rule_out(w.t);
    for (int i = out->nloops - 1; i >= 0 && w.ok; i--) {
        if (out->loop[i].kind != LOOP_SERIAL) break;
        i64 ext;
        const char *last = out->loop[i].var->name;
        if (threads) {
            rule_line(&w, "split out.%s %D xo xt", last, lanes);
            for (int k = 0; k < out->def.nax && w.ok; k++)
                if (rule_out(w.t)->inexact[k])
                    rule_line(&w, "guard out %s", out->def.ax[k].var->name);
            rule_line(&w, "bind out.xt thread.x");
        } else if (rule_loop_extent(out, last, &ext) && (ext == 4 || ext == 8 || ext == 16) &&
                   ext <= p->vec) {
            rule_line(&w, "vectorise out.%s", last);
        } else if (p->vec > 1 && expr_divisor(out->loop[i].extent) % p->vec == 0) {
            rule_line(&w, "split out.%s %D xo xl", last, p->vec);
            rule_line(&w, "vectorise out.xl");
        }
        break;
    }
    return w.ok;
}

static void choose_reduce(const Nest *n, i64 *params) {
    if (profile_in_software(n->profile)) params[REDUCE_LANES] = 1;
}

// Reductions along a row, computed where the row is.
const Rule rule_row_reduce = {
    .name = "row_reduce",
    .match = match_reduce,
    .apply = apply_reduce,
    .choose = choose_reduce,
    .param = {[REDUCE_LANES] = {"lanes", {64, 32, 128, 1}, 4}, // 1: a thread has the row
              [REDUCE_WG] = RULE_WG},
};

// ---- maps ---------------------------------------------------------------------------------------
static bool match_map(const Nest *n) {
    (void)n;
    return true;
}

static bool apply_map(Nest *n, const i64 *params, Err *err) {
    RuleWriter w = {.t = n, .err = err, .ok = true};
    const Profile *p = n->profile;
    rule_inline_all(&w, NULL);
    if (!w.ok) return false;
    NestStage *out = rule_out(w.t);
    for (int i = w.t->nstages - 1; i >= 0 && w.ok;
         i--) { // reductions that have no row: with the first loop
        NestStage *s = w.t->stage[i];
        if (!s->inlined && !s->def.nstores && !s->at)
            rule_line(&w, "compute_at %s out.%s", s->def.name,
                      out->def.ax[out->def.nax - 1].var->name);
    }
    int last = out->def.nax - 1;
    const char *first = out->def.ax[0].var->name, *inner = out->def.ax[last].var->name;
    i64 vec = params[MAP_VEC] ? p->vec : 1, ext = 0;
    bool lanes = vec > 1 && expr_divisor(out->def.ax[last].extent) % vec == 0;
    if (!p->gpu) {
        rule_line(&w, "bind out.%s cpu", first);
        if (lanes && last > 0) {
            rule_line(&w, "split out.%s %D xo xl", inner, vec);
            rule_line(&w, "vectorise out.xl");
        }
        return w.ok;
    }
    if (last == 0) {
        rule_bind_flat(&w, "out", first, params[MAP_WG]);
        return w.ok;
    }
    if (lanes && rule_loop_extent(out, inner, &ext) && ext > vec) {
        rule_line(&w, "split out.%s %D xo xl", inner, vec);
        rule_line(&w, "vectorise out.xl");
        inner = "xo";
    }
    // rows over one dimension of the grid, the elements of a row over workgroups and threads
    rule_line(&w, "reorder out %s %s", first, inner);
    rule_line(&w, "bind out.%s wg.y", first);
    if (last > 1) { // axes between: loops inside
        rule_line(&w, "reorder out %s %s", inner, out->def.ax[1].var->name);
    }
    rule_bind_flat(&w, "out", inner, params[MAP_WG]);
    return w.ok;
}

// Every element by itself.
const Rule rule_map = {
    .name = "map",
    .match = match_map,
    .apply = apply_map,
    .param = {[MAP_VEC] = {"vec", {1, 0}, 2}, [MAP_WG] = RULE_WG},
};
