// expr/walk.c: walks over shared nodes: visiting, searching, rewriting.
//
// A walk visits a shared node once, by memo tables that the Exprs keeps and reuses: without them an
// expression that shares much would take time like the tree that it stands for.
#include "expr/expr_int.h"

Memo *memo_take(Exprs *x) {
    Memo *m = x->memos;
    if (m) {
        x->memos = m->next;
    } else {
        m = NEW(x->arena, Memo);
        m->home = x;
        m->cap = 64;
        m->slot = NEW_N(x->arena, MemoSlot, m->cap);
    }
    m->now++;
    m->n = 0;
    return m;
}

void memo_give(Memo *m) {
    m->next = m->home->memos;
    m->home->memos = m;
}

MemoSlot *memo_at(Memo *m, const Expr *e, bool *fresh) {
    if (m->n >= m->cap / 2) {
        MemoSlot *old = m->slot;
        size_t cap = m->cap;
        m->cap *= 2;
        m->slot = NEW_N(m->home->arena, MemoSlot, m->cap);
        for (size_t i = 0; i < cap; i++) {
            if (old[i].stamp != m->now) continue;
            size_t at = old[i].key->hash & (m->cap - 1);
            while (m->slot[at].stamp == m->now) at = (at + 1) & (m->cap - 1);
            m->slot[at] = old[i];
        }
    }
    size_t at = e->hash & (m->cap - 1);
    while (m->slot[at].stamp == m->now && m->slot[at].key != e) at = (at + 1) & (m->cap - 1);
    MemoSlot *s = &m->slot[at];
    *fresh = s->stamp != m->now;
    if (*fresh) {
        s->key = e;
        s->stamp = m->now;
        m->n++;
    }
    return s;
}

typedef struct Walk {
    Memo *seen;
    void (*fn)(void *user, const Expr *e);
    void *user;
} Walk;

static void walk(Walk *w, const Expr *e) {
    bool fresh;
    memo_at(w->seen, e, &fresh);
    if (!fresh) return;
    for (int i = 0; i < e->nargs; i++) walk(w, e->args[i]);
    w->fn(w->user, e);
}

void expr_walk(const Expr *e, void (*fn)(void *user, const Expr *e), void *user) {
    Walk w = {memo_take(e->home), fn, user};
    walk(&w, e);
    memo_give(w.seen);
}

static void walk_loads(Walk *w, const Expr *e) {
    bool fresh;
    if (!e->loads) return;
    memo_at(w->seen, e, &fresh);
    if (!fresh) return;
    for (int i = 0; i < e->nargs; i++) walk_loads(w, e->args[i]);
    if (e->op == EX_LOAD) w->fn(w->user, e);
}

void expr_walk_loads(const Expr *e, void (*fn)(void *user, const Expr *e), void *user) {
    if (!e->loads) return;
    Walk w = {memo_take(e->home), fn, user};
    walk_loads(&w, e);
    memo_give(w.seen);
}

static bool find(Memo *seen, const Expr *e, const Var *v, const Buffer *b) {
    if (v ? e->top < v->id : !e->loads) return false;
    if ((v && e->op == EX_VAR && e->var == v) || (b && e->op == EX_LOAD && e->buf == b))
        return true;
    if (e->nargs == 0) return false;
    bool fresh;
    memo_at(seen, e, &fresh);
    if (!fresh) return false;
    for (int i = 0; i < e->nargs; i++)
        if (find(seen, e->args[i], v, b)) return true;
    return false;
}

bool expr_uses(const Expr *e, const Var *v) {
    if (e->top <= v->id) return e->op == EX_VAR ? e->var == v : e->top == v->id;
    Memo *m = memo_take(e->home);
    bool r = find(m, e, v, NULL);
    memo_give(m);
    return r;
}

bool expr_loads(const Expr *e, const Buffer *b) {
    if (!e->loads) return false;
    Memo *m = memo_take(e->home);
    bool r = find(m, e, NULL, b);
    memo_give(m);
    return r;
}

typedef struct Mapping {
    Exprs *x;
    Memo *done;
    ExprMap fn;
    void *user;
    int least;  // what has no variable from this number on,
    bool loads; // and, where this is set, no load, stays as it is
} Mapping;

const Expr *expr_rebuilt(Exprs *x, const Expr *e, const Expr *const *args) {
    switch (e->op) {
    case EX_LOAD: return ex_load(x, e->buf, args);
    case EX_CAST: return ex_cast(x, (Type)e->type, args[0]);
    case EX_BITCAST: return ex_bitcast(x, (Type)e->type, args[0]);
    default: return ex_node(x, (ExprOp)e->op, args[0], args[1], args[2]);
    }
}

static const Expr *map(Mapping *m, const Expr *e) {
    if (e->home == m->x) {
        if (e->top < m->least && !(m->loads && e->loads)) return e;
        if (e->nargs == 0) return m->fn(m->user, m->x, e); // cheaper than to look it up
    }
    bool fresh;
    MemoSlot *s = memo_at(m->done, e, &fresh);
    if (!fresh) return s->e;
    const MemoSlot *table = m->done->slot; // shared nodes are finished before they are met again
    const Expr *args[BUFFER_MAX_DIMS] = {0}, *r = e;
    bool changed = false;
    for (int i = 0; i < e->nargs; i++) {
        args[i] = map(m, e->args[i]);
        changed |= args[i] != e->args[i];
    }
    if (e->nargs == 0 && e->home != m->x)
        r = ex_intern(m->x, &(ExprKey){.op = e->op, .type = e->type, .i = e->i});
    else if (changed || e->home != m->x)
        r = expr_rebuilt(m->x, e, args);
    r = m->fn(m->user, m->x, r);
    if (m->done->slot != table) s = memo_at(m->done, e, &fresh); // it grew meanwhile
    s->e = r;
    return r;
}

const Expr *expr_map_from(Exprs *x, const Expr *e, int least, bool loads, ExprMap fn, void *user) {
    Mapping m = {x, memo_take(x), fn, user, least, loads};
    const Expr *r = map(&m, e);
    memo_give(m.done);
    return r;
}

const Expr *expr_map(Exprs *x, const Expr *e, ExprMap fn, void *user) {
    return expr_map_from(x, e, -1, true, fn, user); // nothing has a variable below -1
}

typedef struct Subst {
    const Var *const *vars;
    const Expr *const *by;
    int n;
} Subst;

static const Expr *subst(void *user, Exprs *x, const Expr *e) {
    const Subst *s = user;
    (void)x;
    if (e->op == EX_VAR)
        for (int i = 0; i < s->n; i++)
            if (s->vars[i] == e->var) return s->by[i];
    return e;
}

const Expr *expr_subst(Exprs *x, const Expr *e, const Var *const *vars, const Expr *const *by,
                       int n) {
    int least = INT32_MAX;
    for (int i = 0; i < n; i++) least = MIN2(least, vars[i]->id);
    return expr_map_from(x, e, least, false, subst, &(Subst){vars, by, n});
}
