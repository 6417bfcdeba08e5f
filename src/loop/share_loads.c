// loop/share_loads.c: what all threads would load alike, the lanes of a subgroup load between them.
//
// An adapter that is a program on the processor's vectors loads lane by lane, and a load costs it
// as much where all lanes want one element as where each wants its own (SwiftShader: some 110
// instructions, 4 lanes). There the elements that a block reads at places which are the same for
// all threads are dealt out: lane l loads the l-th of as many as there are lanes, and what was a
// load is that lane's value (`subgroup_at`), a fraction of the cost. No value changes.
//
// Elements are dealt out within a buffer and within the loop that they change with, so that what
// does not change still leaves the loop. What lanes load together has one index in all, affine in
// the lane: its elements' indices differ in constants one step apart, and others stay as they are.
// Nothing is shared where threads may part ways. The lane of a thread is its x modulo the lanes.
// Runs on an unrolled kernel, before hoisting, which names what is shared.
#include "loop/loop_int.h"
#include "loop/ptrmap.h"

// elements of one block (what is past them stays as it is), and lanes of the widest subgroup
enum { SHARED_MOST = 512, SHARED_LANES = 128 };

typedef struct Elem {
    const Expr *load;
    const Expr *idx[BUFFER_MAX_DIMS];
    const Expr *base; // the last of them is base + offset
    i64 offset;
    int level; // of the innermost loop that it changes with
    bool dealt;
} Elem;

typedef struct Share {
    Arena *arena;
    Exprs *x;
    i64 lanes;
    const Expr *lane; // of this thread; NULL outside the loop over threads
    PtrMap level; // Var -> depth of its loop; VARIES: it differs between threads or vector lanes
    PtrMap let;   // Var -> what it stands for
    int depth;
    PtrMap seen, by; // of the block at hand: load -> 1; load -> what takes its place
    Elem *elem;
    int n;
    bool any;
} Share;

enum { VARIES = -1 };

// ---- what is the same for all threads -----------------------------------------------------------
typedef struct Look {
    const Share *s;
    int level;
    bool varies;
} Look;

static void look(void *user, const Expr *e) {
    Look *l = user;
    i64 level;
    if (e->op == EX_LOAD) l->varies |= e->buf->scope != SCOPE_ARG || e->buf->written;
    if (e->op == EX_SUBADD || e->op == EX_SUBMAX) l->varies = true;
    if (e->op != EX_VAR || !ptrmap_get(&l->s->level, e->var, &level)) return;
    l->varies |= level == VARIES;
    l->level = MAX2(l->level, (int)level);
}

static Look look_at(const Share *s, const Expr *e) {
    Look l = {.s = s};
    expr_walk(e, look, &l);
    return l;
}

static const Expr *undo_let(void *user, Exprs *x, const Expr *e) {
    const Share *s = user;
    i64 value;
    (void)x;
    return e->op == EX_VAR && ptrmap_get(&s->let, e->var, &value) ? (const Expr *)(intptr_t)value
                                                                  : e;
}

static void candidate(void *user, const Expr *e) {
    Share *s = user;
    i64 seen;
    if (e->buf->scope != SCOPE_ARG || e->buf->written || s->n == SHARED_MOST ||
        ptrmap_get(&s->seen, e, &seen))
        return;
    ptrmap_put(&s->seen, e, 1);
    Look l = look_at(s, e);
    if (l.varies) return;
    Elem *new = &s->elem[s->n];
    *new = (Elem){.load = e, .level = l.level};
    bool known = true;
    for (int d = 0; d < e->buf->nd; d++) {
        new->idx[d] = expr_simplify(s->x, expr_map(s->x, e->args[d], undo_let, s));
        known &= new->idx[d]->op == EX_ICONST;
    }
    if (known) return; // a place known beforehand is loaded once as it is
    const Expr *last = new->idx[e->buf->nd - 1];
    bool sum = last->op == EX_ADD && expr_is_int(last->args[1], &new->offset);
    new->base = sum ? last->args[0] : last;
    s->n++;
}

// ---- dealing out --------------------------------------------------------------------------------
typedef struct Merge { // n expressions, one a lane, that differ in constants alone
    Exprs *x;
    const Expr *lane;
    int n;
} Merge;

// An expression of the lane that is e[l] on lane l; NULL: they differ in more than constants with
// one step between them.
static const Expr *merge(const Merge *m, const Expr *const *e) {
    Exprs *x = m->x;
    bool same = true, constant = true, alike = true;
    i64 v[SHARED_LANES];
    for (int i = 0; i < m->n; i++) {
        same &= e[i] == e[0];
        constant &= expr_is_int(e[i], &v[i]);
        alike &= e[i]->op == e[0]->op && e[i]->type == e[0]->type && e[i]->nargs == e[0]->nargs;
    }
    if (same) return e[0];
    if (constant && alike) {
        for (int i = 2; i < m->n; i++)
            if (v[i] - v[i - 1] != v[1] - v[0]) return NULL;
        return ex_add(x, e[0], ex_mul(x, m->lane, ex_int(x, v[1] - v[0])));
    }
    const Expr *of[SHARED_LANES], *arg[3] = {0};
    bool sums = e[m->n - 1]->op == EX_ADD; // and the first may have nothing added to it
    if (sums && e[0] == e[m->n - 1]->args[0]) {
        of[0] = ex_int(x, 0);
        for (int i = 1; i < m->n; i++) {
            if (e[i]->op != EX_ADD || e[i]->args[0] != e[0]) return NULL;
            of[i] = e[i]->args[1];
        }
        arg[1] = merge(m, of);
        return arg[1] ? ex_add(x, e[0], arg[1]) : NULL;
    }
    if (!alike || e[0]->nargs < 2 || e[0]->op == EX_LOAD || e[0]->type != TY_I32) return NULL;
    for (int a = 0; a < e[0]->nargs; a++) {
        for (int i = 0; i < m->n; i++) of[i] = e[i]->args[a];
        if (!(arg[a] = merge(m, of))) return NULL;
    }
    return ex_node(x, (ExprOp)e[0]->op, arg[0], arg[1], arg[2]);
}

// The n of them, one a lane: lanes past the last load the last.
static void deal(Share *s, Elem *const *of, int n) {
    Exprs *x = s->x;
    const Buffer *buf = of[0]->load->buf;
    const Expr *idx[BUFFER_MAX_DIMS], *each[SHARED_LANES];
    Merge m = {.x = x, .lane = s->lane, .n = n};
    if (n < s->lanes) m.lane = ex_min(x, s->lane, ex_int(x, n - 1));
    for (int d = 0; d < buf->nd; d++) {
        for (int i = 0; i < n; i++) each[i] = of[i]->idx[d];
        if (!(idx[d] = merge(&m, each))) return;
    }
    const Expr *one = ex_load(x, buf, idx);
    for (int i = 0; i < n; i++) {
        of[i]->dealt = true;
        const Expr *at = ex_subgroup_at(x, one, i, s->lanes);
        ptrmap_put(&s->by, of[i]->load, (i64)(intptr_t)at);
    }
    s->any = true;
}

// Do two elements differ in one dimension alone, the last (by a constant) or another one?
static bool in_line(const Elem *a, const Elem *b, bool last) {
    int nd = a->load->buf->nd;
    if (last)
        return a->base == b->base && !memcmp(a->idx, b->idx, sizeof *a->idx * (size_t)(nd - 1));
    return a->idx[nd - 1] == b->idx[nd - 1];
}

// elem[first] and what is in line with it, in order.
static int gather(Share *s, int first, bool last, Elem **of) {
    const Elem *f = &s->elem[first];
    int n = 0;
    for (int i = first; i < s->n; i++) {
        Elem *e = &s->elem[i];
        if (e->dealt || e->load->buf != f->load->buf || e->level != f->level ||
            !in_line(e, f, last))
            continue;
        int at = n++;
        for (; last && at > 0 && of[at - 1]->offset > e->offset; at--) of[at] = of[at - 1];
        of[at] = e;
    }
    return n;
}

// Neighbours by as many as there are lanes, then what is left in the columns of rows, then in rows.
static void deal_all(Share *s) {
    Elem *of[SHARED_MOST];
    const int lanes = (int)s->lanes;
    for (int pass = 0; pass < 3; pass++)
        for (int i = 0; i < s->n; i++) {
            if (s->elem[i].dealt) continue;
            int n = gather(s, i, pass != 1, of);
            for (int k = 0; k < n; k += lanes) {
                int some = MIN2(lanes, n - k);
                if (some == lanes || (pass && some > 1)) deal(s, of + k, some);
            }
        }
}

static const Expr *take(void *user, Exprs *x, const Expr *e) {
    const Share *s = user;
    i64 by;
    (void)x;
    return e->op == EX_LOAD && ptrmap_get(&s->by, e, &by) ? (const Expr *)(intptr_t)by : e;
}

// Straight statements, those of vector loops among them.
static void each_straight(Share *s, Block *b, void (*fn)(Share *s, const Expr **e)) {
    for (size_t i = 0; i < b->n; i++) {
        Stmt *st = b->at[i];
        if (st->kind == ST_FOR && st->loop == LOOP_VEC) each_straight(s, &st->body, fn);
        if (st->kind != ST_LET && st->kind != ST_STORE) continue;
        fn(s, &st->value);
        for (int d = 0; st->kind == ST_STORE && d < st->buf->nd; d++) fn(s, &st->idx[d]);
    }
}

static void find(Share *s, const Expr **e) { expr_walk_loads(*e, candidate, s); }
static void replace(Share *s, const Expr **e) { *e = expr_map(s->x, *e, take, s); }

// ---- the walk -----------------------------------------------------------------------------------
static void learn(Share *s, const Block *b) {
    for (size_t i = 0; i < b->n; i++) {
        const Stmt *st = b->at[i];
        if (st->kind == ST_FOR && st->loop == LOOP_VEC) {
            ptrmap_put(&s->level, st->var, VARIES);
            learn(s, &st->body);
        }
        if (st->kind != ST_LET) continue;
        Look l = look_at(s, st->value);
        ptrmap_put(&s->level, st->var, l.varies ? VARIES : l.level);
        if (!l.varies)
            ptrmap_put(&s->let, st->var, (i64)(intptr_t)expr_map(s->x, st->value, undo_let, s));
    }
}

static void share_block(Share *s, Block *b) {
    learn(s, b);
    if (s->lane) {
        ptrmap_clear(&s->seen);
        ptrmap_clear(&s->by);
        s->n = 0;
        each_straight(s, b, find);
        deal_all(s);
        if (s->by.n) each_straight(s, b, replace);
    }
    for (size_t i = 0; i < b->n; i++) {
        Stmt *st = b->at[i];
        i64 n;
        if (st->kind == ST_IF && !look_at(s, st->cond).varies) share_block(s, &st->body);
        if (st->kind != ST_FOR || st->loop == LOOP_VEC || look_at(s, st->extent).varies) continue;
        const Expr *lane = s->lane;
        bool thread = loop_is_thread(st->loop);
        ptrmap_put(&s->level, st->var, thread ? VARIES : ++s->depth);
        if (thread && loop_thread_dim(st->loop) == 0 && expr_is_int(st->extent, &n))
            s->lane =
                n % s->lanes ? NULL : ex_mod(s->x, ex_var(s->x, st->var), ex_int(s->x, s->lanes));
        share_block(s, &st->body);
        s->lane = lane;
        if (!thread) s->depth--;
    }
}

void kernel_share_loads(Arena *a, Kernel *k, const Profile *p) {
    Share s = {.arena = a, .x = k->x, .lanes = p->subgroup};
    s.level.arena = s.let.arena = s.seen.arena = s.by.arena = a;
    s.elem = NEW_N(a, Elem, SHARED_MOST);
    share_block(&s, &k->body);
    k->subgroups |= s.any;
}
