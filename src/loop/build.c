// loop/build.c: a scheduled nest -> the statements of a kernel.
//
// A stage's loops are opened in order; stages placed inside a loop come first in its body. Spatial
// loops inside the outermost reduction loop are the tile: the accumulator has one element for each
// of their points, set to the identity before and read after. A stage none of whose loops is bound
// to threads is computed by every thread for itself, into registers; one with threads is computed
// together, into workgroup memory, between barriers. Loop variables are made fresh each time a loop
// is opened, so that no two statements define the same one.
#include "loop/loop_int.h"

typedef struct Build {
    Arena *a;
    Exprs *x;
    const Nest *n;
    Kernel *k;
    Err *err;
    const Var *var[64]; // nest's loop variables -> what they are here
    const Expr *by[64];
    int nsub;
    const Buffer *real[MAX_STAGES]; // where a stage's result lies; NULL: not computed yet
    bool spread[MAX_STAGES];        // in registers, each thread holding what its own consumer reads
    const Var *tid[2];
    i64 threads[2];
    bool wrapped; // the thread loops are open
    bool late;    // a stage is read before it is computed
    int serial;   // open loops that repeat: memory shared between iterations needs a barrier before
                  // it is overwritten
    Block *top;   // where workgroup memory is declared
} Build;

Stmt *stmt_new(Arena *a, Block *into, StmtKind k) {
    Stmt *s = NEW(a, Stmt);
    s->kind = k;
    if (into) vec_push(a, into, s);
    return s;
}

static int index_of(const Nest *n, const NestStage *s) {
    int i = 0;
    while (n->stage[i] != s) i++;
    return i;
}

static const Expr *subst_loops(Build *b, const Expr *e) {
    return expr_simplify(b->x, expr_subst(b->x, e, b->var, b->by, b->nsub));
}

// An index without the part that the thread's number contributes.
static const Expr *strip_threads(Build *b, const Expr *e) {
    const Expr *zero = ex_int(b->x, 0);
    for (int d = 0; d < 2; d++)
        if (b->tid[d]) e = expr_subst(b->x, e, &b->tid[d], &zero, 1);
    return expr_simplify(b->x, e);
}

static const Expr *strip_load(void *user, Exprs *x, const Expr *e) {
    Build *b = user;
    if (e->op != EX_LOAD || e->buf->scope != SCOPE_REG) return e;
    for (int i = 0; i < b->n->nstages; i++) {
        if (b->real[i] != e->buf || !b->spread[i]) continue;
        const Expr *idx[BUFFER_MAX_DIMS];
        for (int d = 0; d < e->buf->nd; d++) idx[d] = strip_threads(b, e->args[d]);
        return ex_load(x, e->buf, idx);
    }
    return e;
}

// An index is step*t + rest for thread t of m/step: the element is t's own when rest leaves t what
// it is.
static bool keeps_thread(Exprs *x, const Expr *rest, i64 step, i64 m) {
    i64 lo, hi;
    expr_range(expr_simplify(x, ex_mod(x, rest, ex_int(x, m))), &lo, &hi);
    return step > 0 && lo >= 0 && hi < step;
}

// Does every thread read back just what it computed? Its part of each index must be the same on
// both sides.
static bool is_spread(Build *b, const NestStage *p) {
    Exprs *x = b->x;
    for (int i = 0; i < b->n->nstages; i++) {
        NestStage *c = b->n->stage[i];
        if (c->inlined || c == p) continue;
        const Expr *load[16];
        int nload = stage_reads(c, p->def.out, load, COUNT_OF(load));
        if (nload < 0) return false;
        for (int k = 0; k < nload; k++)
            for (int d = 0; d < p->def.nax; d++) {
                const Expr *at = ex_sub(x, stage_in_loops(b->n, c, load[k]->args[d]), p->origin[d]);
                for (int t = 0; t < 2; t++) {
                    i64 mine = 0, theirs = 0, m = 0;
                    const Expr *base, *own = NULL;
                    for (int l = 0; l < p->nloops; l++) {
                        if (!loop_is_thread(p->loop[l].kind) ||
                            loop_thread_dim(p->loop[l].kind) != t)
                            continue;
                        if (!expr_affine(x, p->axis_of[d], p->loop[l].var, &own, &mine) ||
                            !extent_const(p->loop[l].extent, &m))
                            return false;
                    }
                    bool bound = false;
                    for (const NestStage *s = c; s; s = s->at)
                        for (int l = 0; l < s->nloops; l++)
                            if (loop_is_thread(s->loop[l].kind) && !s->loop[l].reduce &&
                                loop_thread_dim(s->loop[l].kind) == t && !bound) {
                                if (expr_uses(at, s->loop[l].var)) {
                                    bound = true;
                                    if (!expr_affine(x, at, s->loop[l].var, &base, &theirs))
                                        return false;
                                }
                            }
                    if (mine != theirs) return false;
                    if (mine && (!keeps_thread(x, own, mine, mine * m) ||
                                 !keeps_thread(x, base, mine, mine * m)))
                        return false;
                }
            }
    }
    return true;
}

// A load of an earlier stage's result becomes a load of its region.
typedef struct Region {
    Build *b;
    const Var *var[2 * MAX_AXES];
    const Expr *by[2 * MAX_AXES]; // axes, not clamped: the region reaches as far as the stage
    const Expr
        *held[2 * MAX_AXES]; // the same, reductions clamped: where the region is all there is
    int n;
} Region;

static const Expr *load_region(void *user, Exprs *x, const Expr *e) {
    Region *r = user;
    Build *b = r->b;
    if (e->op != EX_LOAD || e->buf->scope != SCOPE_TEMP) return e;
    for (int i = 0; i < b->n->nstages; i++) {
        const NestStage *p = b->n->stage[i];
        if (p->def.out != e->buf) continue;
        if (!b->real[i]) { // moved behind who reads it
            b->late = !err_set(b->err, ERR_SCHED_ILLEGAL,
                               "stage %s is read before it is computed; compute_at an outer loop",
                               p->def.name);
            return e;
        }
        const Expr *idx[BUFFER_MAX_DIMS];
        for (int d = 0; d < p->def.nax; d++) {
            const Expr *const *by = p->region[d] == p->def.ax[d].extent ? r->held : r->by;
            idx[d] = ex_sub(x, expr_subst(x, e->args[d], r->var, by, r->n), p->origin[d]);
        }
        if (!p->def.nax) idx[0] = ex_int(x, 0);
        return ex_load(x, b->real[i], idx);
    }
    return e;
}

// An expression over a stage's axes -> over the variables that are open here. Where reductions may
// overshoot and are guarded, *valid tells when they do not.
static const Expr *resolve(Build *b, const NestStage *s, const Expr *e, const Expr **valid) {
    Exprs *x = b->x;
    const Var *var[2 * MAX_AXES];
    const Expr *by[2 * MAX_AXES];
    Region reg = {.b = b};
    int k = 0;
    for (int i = 0; i < s->def.nax; i++) {
        const Expr *v = nest_axis(b->n, s, i);
        reg.by[k] = v;
        if (s->clamp[i]) v = ex_min(x, v, ex_sub(x, s->def.ax[i].extent, ex_int(x, 1)));
        reg.held[k] = v;
        var[k] = s->def.ax[i].var, by[k++] = v;
    }
    for (int i = 0; i < s->def.nred; i++) {
        const Expr *r = s->red_of[i];
        reg.by[k] = r;
        if (s->red_inexact[i]) {
            if (valid) {
                const Expr *in = ex_lt(x, subst_loops(b, r), s->def.red[i].extent);
                *valid = *valid ? ex_land(x, *valid, in) : in;
            }
            r = ex_min(x, r, ex_sub(x, s->def.red[i].extent, ex_int(x, 1)));
        }
        reg.held[k] = r;
        var[k] = s->def.red[i].var, by[k++] = r;
    }
    reg.n = k;
    memcpy(reg.var, var, sizeof var);
    e = expr_map(x, e, load_region, &reg);
    e = expr_subst(x, e, var, by, k);
    return expr_map(x, subst_loops(b, e), strip_load, b);
}

static void push(Build *b, const Var *v, const Expr *by) {
    must(b->nsub < (int)COUNT_OF(b->var));
    b->var[b->nsub] = v;
    b->by[b->nsub++] = by;
}

// Opens one loop; the block of its body.
static Block *open_loop(Build *b, const NestLoop *l, Block *into) {
    Exprs *x = b->x;
    if (loop_is_thread(l->kind)) {
        int d = loop_thread_dim(l->kind);
        i64 ext;
        must(extent_const(l->extent, &ext));
        push(b, l->var, ex_var(x, b->tid[d]));
        if (ext == b->threads[d]) return into;
        Stmt *s = stmt_new(b->a, into, ST_IF);
        s->cond = ex_lt(x, ex_var(x, b->tid[d]), ex_int(x, ext));
        return &s->body;
    }
    const Expr *extent = subst_loops(b, l->extent);
    i64 lo, hi;
    expr_range(extent, &lo, &hi);
    Var *v = var_new(x, l->var->name, TY_I32, 0, hi > 0 ? hi - 1 : 0);
    Stmt *s = stmt_new(b->a, into, ST_FOR);
    s->loop = l->kind;
    s->var = v;
    s->extent = extent;
    push(b, l->var, ex_var(x, v));
    return &s->body;
}

static bool gen_stage(Build *b, NestStage *s, Block *into);

static bool gen_placed(Build *b, const NestStage *at, const Var *var, Block *into) {
    for (int i = 0; i < b->n->nstages; i++) {
        NestStage *s = b->n->stage[i];
        if (!s->inlined && s->at == at && s->at_var == var && !gen_stage(b, s, into)) return false;
    }
    return true;
}

static bool repeats(LoopKind k) {
    return k == LOOP_SERIAL || k == LOOP_UNROLL || k == LOOP_VEC || k == LOOP_CPU;
}

// Threads that this stage's loops do not tell apart all compute the same: one of them stores.
static Block *one_thread(Build *b, const NestStage *s, Block *into) {
    for (int d = 0; d < 2; d++) {
        bool bound = false;
        for (int i = 0; i < s->nloops; i++)
            bound |= loop_is_thread(s->loop[i].kind) && !s->loop[i].reduce &&
                     loop_thread_dim(s->loop[i].kind) == d;
        if (bound || b->threads[d] <= 1) continue;
        Stmt *f = stmt_new(b->a, into, ST_IF);
        f->cond = ex_eq(b->x, ex_var(b->x, b->tid[d]), ex_int(b->x, 0));
        into = &f->body;
    }
    return into;
}

static Stmt *store(Build *b, Block *into, const Buffer *buf, const Expr *const *idx,
                   const Expr *value) {
    Stmt *s = stmt_new(b->a, into, ST_STORE);
    s->buf = buf;
    s->value = value;
    for (int i = 0; i < buf->nd; i++) s->idx[i] = idx[i];
    return s;
}

// The element of a stage's result that its loops stand at.
static void result_index(Build *b, const NestStage *s, const Expr **idx) {
    bool spread = b->spread[index_of(b->n, s)];
    for (int d = 0; d < s->def.nax; d++) {
        idx[d] = subst_loops(b, s->axis_of[d]);
        if (spread) idx[d] = strip_threads(b, idx[d]);
    }
    if (!s->def.nax) idx[0] = ex_int(b->x, 0);
}

static void gen_leaf(Build *b, NestStage *s, Block *into) {
    Exprs *x = b->x;
    if (!s->def.nstores) {
        const Expr *idx[BUFFER_MAX_DIMS];
        result_index(b, s, idx);
        const Buffer *out = b->real[index_of(b->n, s)];
        if (out->scope == SCOPE_SHARED) into = one_thread(b, s, into);
        store(b, into, out, idx, resolve(b, s, s->def.body, NULL));
        return;
    }
    into = one_thread(b, s, into);
    const Expr *in = NULL;
    for (int d = 0; d < s->def.nax; d++)
        if (s->inexact[d]) {
            const Expr *c = ex_lt(x, subst_loops(b, nest_axis(b->n, s, d)), s->def.ax[d].extent);
            in = in ? ex_land(x, in, c) : c;
        }
    if (in) {
        Stmt *f = stmt_new(b->a, into, ST_IF);
        f->cond = expr_simplify(x, in);
        into = &f->body;
    }
    for (int i = 0; i < s->def.nstores; i++) {
        const Store *st = &s->def.store[i];
        Block *at = into;
        if (st->pred) {
            Stmt *f = stmt_new(b->a, into, ST_IF);
            f->cond = resolve(b, s, st->pred, NULL);
            at = &f->body;
        }
        const Expr *idx[BUFFER_MAX_DIMS];
        for (int d = 0; d < st->buf->nd; d++) idx[d] = resolve(b, s, st->idx[d], NULL);
        store(b, at, st->buf, idx, resolve(b, s, st->value, NULL));
    }
}

// ---- reductions ---------------------------------------------------------------------------------
typedef struct Acc {
    const Buffer *buf;
    bool own;                 // not the stage's result: one dimension a tile loop
    const Var *dim[MAX_AXES]; // the tile loops
    int nd;
} Acc;

static void acc_index(Build *b, const NestStage *s, const Acc *acc, const Expr **idx) {
    if (!acc->own) {
        result_index(b, s, idx);
        return;
    }
    for (int i = 0; i < acc->nd; i++) idx[i] = subst_loops(b, ex_var(b->x, acc->dim[i]));
    if (!acc->nd) idx[0] = ex_int(b->x, 0);
}

// Opens the tile's loops (spatial, from r0 on) and returns the innermost block; *nsub to close
// with.
static Block *open_tile(Build *b, const NestStage *s, int r0, Block *into) {
    for (int i = r0; i < s->nloops; i++)
        if (!s->loop[i].reduce) into = open_loop(b, &s->loop[i], into);
    return into;
}

static bool gen_reduce(Build *b, NestStage *s, int r0, Block *into) {
    Exprs *x = b->x;
    const Buffer *out = b->real[index_of(b->n, s)];
    Acc acc = {.buf = out};
    bool lanes = false;
    for (int i = r0; i < s->nloops; i++) lanes |= s->loop[i].kind == LOOP_LANE;
    if (out->scope != SCOPE_REG) {
        const Expr *dims[BUFFER_MAX_DIMS];
        acc.own = true;
        for (int i = r0; i < s->nloops; i++) {
            if (s->loop[i].reduce || loop_is_thread(s->loop[i].kind)) continue;
            if (acc.nd == MAX_AXES)
                return err_set(b->err, ERR_SCHED_LIMIT, "stage %s has too many tile loops",
                               s->def.name);
            dims[acc.nd] = s->loop[i].extent;
            acc.dim[acc.nd++] = s->loop[i].var;
        }
        const Expr *one = ex_int(x, 1);
        acc.buf =
            buffer_new(x, "acc", out->type, SCOPE_REG, acc.nd ? acc.nd : 1, acc.nd ? dims : &one);
        stmt_new(b->a, into, ST_ALLOC)->buf = acc.buf;
    }
    const Expr *idx[BUFFER_MAX_DIMS];
    int sub = b->nsub;
    Block *tile = open_tile(b, s, r0, into);
    acc_index(b, s, &acc, idx);
    store(b, tile, acc.buf, idx, reduce_identity(x, s->def.op, out->type));
    b->nsub = sub;

    Block *inner = into;
    int serial = b->serial;
    for (int i = r0; i < s->nloops; i++) {
        inner = open_loop(b, &s->loop[i], inner);
        b->serial += repeats(s->loop[i].kind);
        if (!gen_placed(b, s, s->loop[i].var, inner)) return false;
    }
    acc_index(b, s, &acc, idx);
    const Expr *valid = NULL;
    const Expr *body = resolve(b, s, s->def.body, &valid);
    if (valid) body = ex_select(x, valid, body, reduce_identity(x, s->def.op, out->type));
    const Expr *old = ex_load(x, acc.buf, idx);
    store(b, inner, acc.buf, idx, ex_node(x, reduce_op(s->def.op), old, body, NULL));
    b->nsub = sub;
    b->serial = serial;

    if (lanes) {
        tile = open_tile(b, s, r0, into);
        acc_index(b, s, &acc, idx);
        store(b, tile, acc.buf, idx,
              ex_un(x, s->def.op == RED_SUM ? EX_SUBADD : EX_SUBMAX, ex_load(x, acc.buf, idx)));
        b->k->subgroups = true;
        b->nsub = sub;
    }
    if (acc.own) {
        tile = open_tile(b, s, r0, one_thread(b, s, into));
        acc_index(b, s, &acc, idx);
        const Expr *value = ex_load(x, acc.buf, idx);
        result_index(b, s, idx);
        store(b, tile, out, idx, value);
        b->nsub = sub;
    }
    return true;
}

// Inside the workgroup loops: the threads. What is computed from here on is computed by each of
// them.
static Block *open_threads(Build *b, Block *into) {
    static const LoopKind kinds[] = {LOOP_THREAD_X, LOOP_THREAD_Y};
    static const char *const names[] = {"tx", "ty"};
    b->wrapped = true;
    for (int d = 1; d >= 0; d--) {
        if (b->threads[d] < 1) continue;
        Var *v = var_new(b->x, names[d], TY_I32, 0, b->threads[d] - 1);
        Stmt *f = stmt_new(b->a, into, ST_FOR);
        f->loop = kinds[d];
        f->var = v;
        f->extent = ex_int(b->x, b->threads[d]);
        b->tid[d] = v;
        into = &f->body;
    }
    return b->top = into;
}

static bool gen_from(Build *b, NestStage *s, int i, Block *into) {
    if (!b->wrapped && (i == s->nloops || !loop_is_wg(s->loop[i].kind)))
        into = open_threads(b, into);
    if (i == s->nloops) {
        gen_leaf(b, s, into);
        return true;
    }
    if (s->loop[i].reduce) return gen_reduce(b, s, i, into);
    const NestLoop *l = &s->loop[i];
    int sub = b->nsub;
    Block *body = open_loop(b, l, into);
    b->serial += repeats(l->kind);
    if (!b->wrapped && (i + 1 == s->nloops || !loop_is_wg(s->loop[i + 1].kind)))
        body = open_threads(b, body);
    bool ok = gen_placed(b, s, l->var, body) && gen_from(b, s, i + 1, body);
    b->serial -= repeats(l->kind);
    b->nsub = sub;
    return ok;
}

// The dimensions of threads that are told apart by the loops around a stage: bit 0 x, bit 1 y.
static int threads_around(const NestStage *s) {
    int dims = 0;
    for (; s->at; s = s->at)
        for (int i = 0; i < s->at->nloops; i++) {
            const NestLoop *l = &s->at->loop[i];
            if (loop_is_thread(l->kind)) dims |= 1 << loop_thread_dim(l->kind);
            if (l->var == s->at_var) break;
        }
    return dims;
}

static bool gen_stage(Build *b, NestStage *s, Block *into) {
    Exprs *x = b->x;
    int self = index_of(b->n, s);
    bool threads = false, barrier = false;
    int outer = threads_around(s);
    for (int i = 0; i < s->nloops; i++) {
        threads |= loop_is_thread(s->loop[i].kind) && !s->loop[i].reduce;
        if (loop_is_thread(s->loop[i].kind) && outer >> loop_thread_dim(s->loop[i].kind) & 1)
            return err_set(b->err, ERR_SCHED_ILLEGAL,
                           "%s.%s is bound to threads inside a loop that is bound to them already",
                           s->def.name, s->loop[i].var->name);
    }
    for (int i = 0; i < s->def.nax; i++)
        if (s->inexact[i] && !s->guarded[i])
            return err_set(b->err, ERR_SCHED_NEEDS_GUARD,
                           "the split of %s.%s does not divide it; guard it", s->def.name,
                           s->def.ax[i].var->name);
    for (int i = 0; i < s->def.nred; i++)
        if (s->red_inexact[i] && !s->red_guarded[i])
            return err_set(b->err, ERR_SCHED_NEEDS_GUARD,
                           "the split of %s.%s does not divide it; guard it", s->def.name,
                           s->def.red[i].var->name);
    if (!s->def.nstores) {
        const Expr *dims[BUFFER_MAX_DIMS];
        b->spread[self] = threads && is_spread(b, s);
        for (int d = 0; d < s->def.nax; d++) {
            i64 lo, hi, most;
            const Expr *at =
                s->axis_of[d]; // a split that overshoots inside the region still needs room
            if (b->spread[self])
                for (int l = 0; l < s->nloops; l++)
                    if (loop_is_thread(s->loop[l].kind)) {
                        const Expr *zero = ex_int(x, 0);
                        at = expr_subst(x, at, &s->loop[l].var, &zero, 1);
                    }
            expr_range(expr_simplify(x, at), &lo, &hi);
            expr_range(s->region[d], &lo, &most);
            dims[d] = ex_int(x, b->spread[self] ? hi + 1 : MAX2(most, hi + 1));
        }
        const Expr *one = ex_int(x, 1);
        Scope scope = threads && s->at && !b->spread[self] ? SCOPE_SHARED : SCOPE_REG;
        if (scope == SCOPE_SHARED && outer)
            return err_set(b->err, ERR_SCHED_ILLEGAL,
                           "threads share stage %s inside a loop that is bound to threads; "
                           "compute_at a workgroup's loop",
                           s->def.name);
        if (threads && !s->at)
            return err_set(b->err, ERR_SCHED_ILLEGAL,
                           "stage %s is bound to threads but stands at the root; compute_at a "
                           "workgroup's loop",
                           s->def.name);
        Buffer *out = buffer_new(x, s->def.name, (Type)s->def.body->type, scope,
                                 s->def.nax ? s->def.nax : 1, s->def.nax ? dims : &one);
        out->written = true;
        out->half = s->half && scope == SCOPE_SHARED;
        b->real[self] = out;
        barrier = scope == SCOPE_SHARED;
        stmt_new(b->a, barrier ? b->top : into, ST_ALLOC)->buf = out;
        if (barrier && b->serial) stmt_new(b->a, into, ST_BARRIER);
    }
    if (!gen_from(b, s, 0, into)) return false;
    if (barrier) stmt_new(b->a, into, ST_BARRIER);
    return true;
}

// Workgroup memory is declared where the threads start: its ALLOCs go first.
static void allocs_first(Arena *a, Block *top) {
    Block sorted = {0};
    for (int pass = 0; pass < 2; pass++)
        for (size_t i = 0; i < top->n; i++)
            if ((top->at[i]->kind == ST_ALLOC && top->at[i]->buf->scope == SCOPE_SHARED) == !pass)
                vec_push(a, &sorted, top->at[i]);
    *top = sorted;
}

void kernel_passes(Arena *a, Kernel *k, const Profile *p) {
    kernel_unroll(a, k);
    kernel_join_lanes(a, k);
    if (p->fields_stay) kernel_fields(a, k, p);
    if (profile_shares_loads(p)) kernel_share_loads(a, k, p);
    kernel_legalise(k, p);
    kernel_hoist(a, k);
}

bool nest_build(Arena *a, const Nest *n, Kernel **out, Err *err) {
    if (n->direct) return n->direct(a, n, out, err);
    Kernel *k = NEW(a, Kernel);
    const Formula *f = n->f;
    *k = (Kernel){.name = str_c(f->name),
                  .x = n->x,
                  .nargs = f->nargs,
                  .nsyms = f->nsyms,
                  .ndims = f->ndims,
                  .wg = {1, 1, 1}};
    memcpy(k->arg, f->arg, sizeof f->arg);
    for (int i = 0; i < f->nsyms; i++)
        k->sym[i].var = f->sym[i].var, k->sym[i].word = f->sym[i].word;
    memcpy(k->dim, f->dim, sizeof f->dim);
    Build b = {.a = a, .x = n->x, .n = n, .k = k, .err = err};
    int roots = 0;
    for (int i = 0; i < 3; i++) k->grid[i] = ex_int(n->x, 1);
    bool bound = false;
    for (int s = 0; s < n->nstages; s++) {
        const NestStage *st = n->stage[s];
        if (st->inlined) continue;
        roots += !st->at;
        for (int i = 0; i < st->nloops; i++) {
            LoopKind kind = st->loop[i].kind;
            i64 ext;
            if (loop_is_wg(kind)) k->grid[kind - LOOP_WG_X] = st->loop[i].extent;
            if (kind == LOOP_CPU) k->grid[0] = st->loop[i].extent;
            bound |= loop_is_wg(kind) || kind == LOOP_CPU || loop_is_thread(kind);
            if (!loop_is_thread(kind)) continue;
            must(extent_const(st->loop[i].extent, &ext));
            int d = loop_thread_dim(kind);
            b.threads[d] = MAX2(b.threads[d], ext);
        }
    }
    if (roots > 1 && bound)
        return err_set(err, ERR_SCHED_ILLEGAL,
                       "a kernel bound to workgroups or threads has %d stages at its root; compute "
                       "all but the result inside it",
                       roots);
    for (int d = 0; d < 2; d++)
        if (b.threads[d]) k->wg[d] = (u32)b.threads[d];
    b.top = &k->body;
    for (int s = 0; s < n->nstages; s++)
        if (!n->stage[s]->inlined && !n->stage[s]->at && !gen_stage(&b, n->stage[s], &k->body))
            return false;
    if (b.late) return false;
    allocs_first(a, b.top);
    kernel_passes(a, k, n->profile);
    *out = k;
    return true;
}
