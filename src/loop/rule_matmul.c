// loop/rule_matmul.c: y[n, o] = sum_k x[n, k] * w[o, k], with whatever hangs on it: what its rules
// share. matmul_row is for one row of activations: decode reads every weight once, so all that
// counts is reading them at the memory's speed. matmul_rows is for many: a dequantised weight
// serves several rows. matmul_bytes is for packed activations. On a device where barriers are dear
// (or a CPU) each thread owns whole rows of w, R at a time in R lanes; where they are cheap, a
// row-block's k is spread over a subgroup or a workgroup (row), or tiles are shared (rows).
#include "loop/rule_matmul.h"

static void find_word_loads(void *user, const Expr *e) {
    if (e->buf->scope == SCOPE_ARG && e->buf->type == TY_U32) *(bool *)user = true;
}

static void find_nibbles(void *user, const Expr *e) {
    i64 mask;
    if (e->op == EX_AND && expr_is_int(e->args[1], &mask) && mask == 15) *(bool *)user = true;
}

bool matmul_find(const Nest *n, MatmulShape *m) {
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

bool matmul_stride(RuleWriter *w, MatmulShape *m) {
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

i64 matmul_k_block(const MatmulShape *m) {
    i64 d = expr_divisor(m->acc->def.red[0].extent), b = 1;
    while (b < 32 && d % (2 * b) == 0) b *= 2;
    return b;
}

const char *rule_axis(const NestStage *s, int i) { return s->def.ax[i].var->name; }
const char *rule_sum_axis(const NestStage *s) { return s->def.red[0].var->name; }

void matmul_split_rows(RuleWriter *w, const MatmulShape *m, i64 vecs) {
    i64 vec = MAX2(w->t->profile->vec, 1), rows = vec * vecs;
    NestStage *out = rule_out(w->t);
    const char *o = rule_axis(out, m->o_axis);
    while (rows > vec && expr_divisor(out->def.ax[m->o_axis].extent) * m->stride % rows)
        rows -= vec;
    rule_line(w, "split out.%s %D ob oi", o, MAX2(rows / m->stride, 1));
    if (w->ok && out->inexact[m->o_axis]) rule_line(w, "guard out %s", o);
}

void matmul_place_others(RuleWriter *w, const MatmulShape *m, const char *loop) {
    for (int i = w->t->nstages - 1; i >= 0; i--) {
        NestStage *s = w->t->stage[i];
        if (s->inlined || s->at || s->def.nstores || !strcmp(s->def.name, m->acc->def.name))
            continue;
        rule_line(w, "compute_at %s out.%s", s->def.name, loop);
    }
}

// The epilogue's innermost loops: lanes where it walks rows of w one by one (on a processor, whose
// vectors are long, pairs of them too), else written out.
void matmul_finish_tile(RuleWriter *w, const MatmulShape *m, const char *oi, i64 lanes) {
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
    for (int i = m->o_axis + 1; i < out->def.nax; i++)
        rule_line(w, "unroll out.%s", rule_axis(out, i));
}

void rule_lanes(RuleWriter *w, const char *stage, const char *o, i64 vec) {
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

void matmul_lanes(RuleWriter *w, const NestStage *s, const char *loops, i64 vec) {
    const char *name = s->def.name, *n = rule_axis(s, 0), *o = rule_axis(s, 1);
    rule_line(w, "reorder %s %s %s %s", name, loops, n, o);
    rule_line(w, "unroll %s.%s", name, n);
    rule_lanes(w, name, o, vec);
}

bool rule_has_loop(const NestStage *s, const char *name) {
    for (int i = 0; i < s->nloops; i++)
        if (!strcmp(s->loop[i].var->name, name)) return true;
    return false;
}

bool rule_barriers_are_dear(const Profile *p) { return !p->gpu || profile_in_software(p); }
