// loop/hoist.c: common subexpressions and loop invariants become lets.
//
// Expressions are interned, so one pointer is one value. Each subexpression has a home: the
// outermost block in which all its variables are known. It becomes a let there when it is used
// twice, or when its user stands deeper in a loop. What keeps it in:
// - nothing leaves an if, and loads leave no loop that might not run, lest they be out of bounds;
// - what reads registers, workgroup memory or a written argument changes between statements, and a
//   subgroup operation belongs where it stands: those are shared within one statement only;
// - constants, variables and variable + constant cost nothing and stay where they are.
// Integer sums are first put in order, outer terms first, so that their invariant part is one
// subexpression. Lets that were there already and are free to move are dissolved first and found
// again. Runs last, on an unrolled kernel.
#include "loop/loop_int.h"
#include "loop/ptrmap.h"

enum { HOIST_MAX_DEPTH = 80, SUM_TERMS = 32 };

typedef struct Shared { // a value that may become a let
    const Expr *e;
    int uses;
    bool invariant; // its user stands in a loop that it does not depend on
    size_t first;   // the statement of its block that needs it first
    Var *var;       // the let, once decided
} Shared;

typedef struct Home {  // one block, or one statement for values that are bound to it
    PtrMap of;         // Expr -> Shared
    VEC(Shared *) all; // arguments before their users
    size_t stmt;       // where the walk stands in the block
} Home;

typedef struct Level { // a block on the path to where we stand
    Home *home;
    int loops;      // repeating loops around it
    int floor;      // outermost level that arithmetic may move to from here
    int load_floor; // the same for loads
    bool vec;       // inside a vec loop
} Level;

typedef struct Facts { // of expressions, as seen from one block
    PtrMap level;      // Expr -> level; depth + 1: bound to the statement
    PtrMap ordered;    // Expr -> the same without dissolved lets, its sums in order
    PtrMap done;       // Expr -> its replacement; what is bound to a statement not here
} Facts;

typedef struct Hoister {
    Arena *arena;
    Exprs *x;
    Level path[HOIST_MAX_DEPTH];
    Facts facts[HOIST_MAX_DEPTH];
    int depth;        // path[depth] is the block we stand in
    PtrMap var_level; // Var -> level of the block it is defined in
    PtrMap homes;     // Block, Stmt -> Home
    PtrMap done;      // Expr -> its replacement, for what is bound to the statement at hand
    PtrMap dissolved; // Var -> Expr
    PtrMap hint;      // Expr -> name it once had
    Home *here;       // of the statement at hand
    int names[TY_COUNT];
} Hoister;

static Home *home_of(Hoister *h, const void *key) {
    i64 have;
    if (ptrmap_get(&h->homes, key, &have)) return (Home *)(intptr_t)have;
    Home *m = NEW(h->arena, Home);
    m->of.arena = h->arena;
    ptrmap_put(&h->homes, key, (i64)(intptr_t)m);
    return m;
}

// ---- where an expression may live ---------------------------------------------------------------
static bool is_bound(const Expr *e) {
    if (e->op == EX_LOAD) return e->buf->scope != SCOPE_ARG || e->buf->written;
    return e->op == EX_SUBADD || e->op == EX_SUBMAX;
}

static int level_of(Hoister *h, const Expr *e) {
    const Level *at = &h->path[h->depth];
    i64 have;
    if (e->op == EX_ICONST || e->op == EX_FCONST) return at->floor;
    if (e->op == EX_VAR)
        return ptrmap_get(&h->var_level, e->var, &have) ? MAX2(at->floor, (int)have) : at->floor;
    PtrMap *known = &h->facts[h->depth].level;
    if (ptrmap_get(known, e, &have)) return (int)have;
    int level = e->op == EX_LOAD ? at->load_floor : at->floor;
    for (int i = 0; i < e->nargs; i++) level = MAX2(level, level_of(h, e->args[i]));
    if (is_bound(e)) level = h->depth + 1;
    ptrmap_put(known, e, level);
    return level;
}

static bool is_cheap(const Expr *e) {
    switch (e->op) {
    case EX_ICONST:
    case EX_FCONST:
    case EX_VAR: return true;
    case EX_ADD:
    case EX_SUB: return e->args[0]->op == EX_VAR && e->args[1]->op == EX_ICONST;
    case EX_CAST:
    case EX_BITCAST: return e->type != TY_F32 && e->args[0]->type != TY_F32 && is_cheap(e->args[0]);
    default: return false;
    }
}

// Integer sums: outer terms first, constants last.
static const Expr *order_sum(Hoister *h, const Expr *e) {
    const Expr *term[SUM_TERMS];
    int level[SUM_TERMS], n = 0;
    if (e->op != EX_ADD || e->type == TY_F32) return e;
    const Expr *rest = e;
    for (; rest->op == EX_ADD && n < SUM_TERMS - 1; rest = rest->args[0]) term[n++] = rest->args[1];
    term[n++] = rest;
    for (int i = 0; i < n / 2; i++) {
        const Expr *t = term[i];
        term[i] = term[n - 1 - i];
        term[n - 1 - i] = t;
    }
    bool sorted = true;
    for (int i = 0; i < n; i++) { // insertion sort keeps equals in order
        const Expr *t = term[i];
        int l = t->op == EX_ICONST ? INT32_MAX : level_of(h, t), j = i;
        sorted &= i == 0 || level[i - 1] <= l;
        for (; j > 0 && level[j - 1] > l; j--) {
            term[j] = term[j - 1];
            level[j] = level[j - 1];
        }
        term[j] = t;
        level[j] = l;
    }
    if (sorted) return e;
    const Expr *sum = term[0];
    for (int i = 1; i < n; i++) sum = ex_add(h->x, sum, term[i]);
    return sum;
}

// ---- first walk: uses ---------------------------------------------------------------------------
static void use(Hoister *h, const Expr *e, int user_level) {
    i64 have;
    if (e->op == EX_ICONST || e->op == EX_FCONST || e->op == EX_VAR) return;
    int level = level_of(h, e), top = MIN2(user_level, h->depth);
    Home *m = level > h->depth ? h->here : h->path[level].home;
    if (ptrmap_get(&m->of, e, &have)) {
        Shared *s = (Shared *)(intptr_t)have;
        s->uses++;
        s->invariant |= level <= h->depth && h->path[top].loops > h->path[level].loops;
        return;
    }
    Shared *s = NEW(h->arena, Shared);
    *s = (Shared){.e = e, .uses = 1, .first = m->stmt};
    s->invariant = level <= h->depth && h->path[top].loops > h->path[level].loops;
    ptrmap_put(&m->of, e, (i64)(intptr_t)s);
    for (int i = 0; i < e->nargs; i++) use(h, e->args[i], level);
    vec_push(h->arena, &m->all, s);
}

// e without the lets that are dissolved, its sums in order.
static const Expr *prepare(Hoister *h, const Expr *e) {
    PtrMap *known = &h->facts[h->depth].ordered;
    const Expr *args[BUFFER_MAX_DIMS] = {0}, *r = e;
    bool changed = false;
    i64 by;
    if (e->op == EX_ICONST || e->op == EX_FCONST) return e;
    if (e->op == EX_VAR)
        return ptrmap_get(&h->dissolved, e->var, &by) ? prepare(h, (const Expr *)(intptr_t)by) : e;
    if (ptrmap_get(known, e, &by)) return (const Expr *)(intptr_t)by;
    for (int i = 0; i < e->nargs; i++) {
        args[i] = prepare(h, e->args[i]);
        changed |= args[i] != e->args[i];
    }
    if (changed) r = expr_rebuilt(h->x, e, args);
    r = order_sum(h, r);
    ptrmap_put(known, e, (i64)(intptr_t)r);
    return r;
}

static void begin_stmt(Hoister *h, const Stmt *s) {
    ptrmap_clear(&h->done);
    h->here = home_of(h, s);
}

static void enter(Hoister *h, const Stmt *s, const Block *b) {
    const Level *outer = &h->path[h->depth];
    Level in = *outer;
    i64 lo, hi;
    must(h->depth + 2 < HOIST_MAX_DEPTH);
    h->depth++;
    in.home = home_of(h, b);
    if (s->kind == ST_IF) {
        in.floor = in.load_floor = h->depth;
    } else {
        bool repeats = s->loop == LOOP_SERIAL || s->loop == LOOP_UNROLL || s->loop == LOOP_VEC ||
                       s->loop == LOOP_CPU;
        in.loops += repeats;
        in.vec |= s->loop == LOOP_VEC;
        expr_range(s->extent, &lo, &hi);
        if (lo < 1) in.load_floor = h->depth;
        if (s->loop == LOOP_CPU) // its function runs a range of it
            in.floor = in.load_floor = h->depth;
        ptrmap_put(&h->var_level, s->var, h->depth);
    }
    h->path[h->depth] = in;
    Facts *f = &h->facts[h->depth];
    PtrMap *maps[] = {&f->level, &f->ordered, &f->done};
    for (size_t i = 0; i < COUNT_OF(maps); i++) ptrmap_clear(maps[i]);
}

static void count_block(Hoister *h, Block *b);

static void count_stmt(Hoister *h, Stmt *s) {
    begin_stmt(h, s);
    if (s->kind == ST_STORE || s->kind == ST_FETCH) {
        for (int d = 0; d < s->buf->nd; d++) s->idx[d] = prepare(h, s->idx[d]);
        if (s->value) s->value = prepare(h, s->value);
        for (int d = 0; d < s->buf->nd; d++) use(h, s->idx[d], h->depth);
        if (s->value) use(h, s->value, h->depth);
    } else if (s->kind == ST_LET) {
        s->value = prepare(h, s->value);
        ptrmap_put(&h->var_level, s->var, h->depth);
        for (int i = 0; i < s->value->nargs; i++) // the let itself is bound: it reads what changes
            use(h, s->value->args[i], h->depth);
    } else if (s->kind == ST_IF) {
        s->cond = prepare(h, s->cond);
        use(h, s->cond, h->depth);
    } else if (s->kind == ST_FOR) {
        s->extent = prepare(h, s->extent);
        i64 n;
        if (!expr_is_int(s->extent, &n)) use(h, s->extent, h->depth);
    }
    if (s->kind == ST_IF || s->kind == ST_FOR) {
        enter(h, s, &s->body);
        count_block(h, &s->body);
        h->depth--;
    }
}

// Drops the lets that may move, then counts.
static void count_block(Hoister *h, Block *b) {
    Home *m = h->path[h->depth].home;
    size_t kept = 0;
    for (size_t i = 0; i < b->n; i++) {
        Stmt *s = b->at[i];
        m->stmt = kept;
        if (s->kind == ST_LET) {
            begin_stmt(h, s);
            const Expr *v = prepare(h, s->value);
            if (level_of(h, v) <= h->depth) {
                ptrmap_put(&h->dissolved, s->var, (i64)(intptr_t)v);
                ptrmap_put(&h->hint, v, (i64)(intptr_t)s->var->name);
                continue;
            }
        }
        b->at[kept++] = s;
        count_stmt(h, s);
    }
    b->n = kept;
}

// ---- second walk: lets --------------------------------------------------------------------------
// The let that stands for e here: its own, or one that an enclosing block has made already.
static const Var *let_of(const Hoister *h, const Home *own, const Expr *e, int level) {
    i64 have;
    if (ptrmap_get(&own->of, e, &have) && ((const Shared *)(intptr_t)have)->var)
        return ((const Shared *)(intptr_t)have)->var;
    for (int j = MIN2(level, h->depth + 1) - 1; j >= 0 && level <= h->depth; j--)
        if (ptrmap_get(&h->path[j].home->of, e, &have) && ((const Shared *)(intptr_t)have)->var)
            return ((const Shared *)(intptr_t)have)->var;
    return NULL;
}

static const Expr *rewritten(Hoister *h, const Expr *e) {
    i64 have;
    if (e->nargs == 0 && e->op != EX_LOAD) return e;
    int level = level_of(h, e);
    PtrMap *done = level > h->depth ? &h->done : &h->facts[h->depth].done;
    if (ptrmap_get(done, e, &have)) return (const Expr *)(intptr_t)have;
    Home *m = level > h->depth ? h->here : h->path[level].home;
    const Expr *r = e;
    const Var *let = let_of(h, m, e, level);
    if (let) {
        r = ex_var(h->x, let);
    } else {
        const Expr *a[BUFFER_MAX_DIMS] = {0};
        for (int i = 0; i < e->nargs; i++) a[i] = rewritten(h, e->args[i]);
        if (e->nargs) r = expr_rebuilt(h->x, e, a);
    }
    ptrmap_put(done, e, (i64)(intptr_t)r);
    return r;
}

// Only its parts: e itself is made here.
static const Expr *parts_rewritten(Hoister *h, const Expr *e) {
    const Expr *a[BUFFER_MAX_DIMS] = {0};
    for (int i = 0; i < e->nargs; i++) a[i] = rewritten(h, e->args[i]);
    return e->nargs ? expr_rebuilt(h->x, e, a) : e;
}

static void add_let(Hoister *h, Shared *s, Block *out) {
    i64 lo = 0, hi = 0, name;
    const Expr *e = s->e, *v = parts_rewritten(h, e);
    if (e->type != TY_F32) expr_range(e, &lo, &hi);
    if (h->names[e->type] == 16 || h->names[e->type] == 32) // f16 and u32 are types
        h->names[e->type]++;
    Str label = ptrmap_get(&h->hint, e, &name) ? str_c((const char *)(intptr_t)name)
                                               : str_fmt(h->arena, "%c%d", "iufb"[e->type],
                                                         h -> names[e->type]++); // ORDER TYPE
    s->var = var_new(h->x, arena_cstr(h->arena, label), (Type)e->type, lo, hi);
    if (e->type == TY_I32 || e->type == TY_U32) s->var->divisor = expr_divisor(e);
    Stmt *l = stmt_new(h->arena, out, ST_LET);
    l->var = s->var;
    l->value = v;
}

static void add_lets(Hoister *h, Home *m, size_t *next, size_t upto, bool vec, bool bound,
                     Block *out) {
    for (; *next < m->all.n && m->all.at[*next]->first <= upto; (*next)++) {
        Shared *s = m->all.at[*next];
        bool wanted = s->uses > 1 || (s->invariant && !bound);
        // A lane's own index stays where it is used: printers must see how it counts.
        bool lane_index = vec && s->e->type == TY_I32 &&
                          (s->e->op == EX_ADD || s->e->op == EX_SUB || s->e->op == EX_MUL);
        if (!wanted || is_cheap(s->e) || lane_index || (vec && s->e->type == TY_BOOL)) continue;
        if (let_of(h, m, s->e, bound ? h->depth + 1 : h->depth)) continue;
        add_let(h, s, out); // nothing that holds it was rewritten yet: it is needed here first
    }
}

static void place_block(Hoister *h, Block *b) {
    Block out = {0};
    Home *m = h->path[h->depth].home;
    size_t next = 0;
    bool vec = h->path[h->depth].vec;
    for (size_t i = 0; i < b->n; i++) {
        Stmt *s = b->at[i];
        size_t own = 0;
        begin_stmt(h, s);
        add_lets(h, m, &next, i, vec, false, &out);
        add_lets(h, h->here, &own, SIZE_MAX, vec, true, &out);
        if (s->kind == ST_STORE || s->kind == ST_FETCH)
            for (int d = 0; d < s->buf->nd; d++) s->idx[d] = rewritten(h, s->idx[d]);
        if (s->kind == ST_LET) s->value = parts_rewritten(h, s->value);
        if (s->kind == ST_STORE) s->value = rewritten(h, s->value);
        if (s->kind == ST_IF) s->cond = rewritten(h, s->cond);
        const Expr *extent = s->extent;
        if (s->kind == ST_FOR) s->extent = rewritten(h, s->extent);
        vec_push(h->arena, &out, s);
        if (s->kind == ST_IF || s->kind == ST_FOR) {
            const Expr *now = s->extent;
            s->extent = extent; // decides as in the first walk
            enter(h, s, &s->body);
            s->extent = now;
            place_block(h, &s->body);
            h->depth--;
        }
    }
    *b = out;
}

void kernel_hoist(Arena *a, Kernel *k) {
    Hoister h = {.arena = a, .x = k->x};
    PtrMap *maps[] = {&h.var_level, &h.homes, &h.done, &h.dissolved, &h.hint};
    for (size_t i = 0; i < COUNT_OF(maps); i++) maps[i]->arena = a;
    for (size_t i = 0; i < COUNT_OF(h.facts); i++)
        h.facts[i].level.arena = h.facts[i].ordered.arena = h.facts[i].done.arena = a;
    for (int i = 0; i < k->nsyms; i++) ptrmap_put(&h.var_level, k->sym[i].var, 0);
    for (int i = 0; i < k->ndims; i++) ptrmap_put(&h.var_level, k->dim[i], 0);
    h.path[0].home = home_of(&h, &k->body);
    count_block(&h, &k->body);
    h.depth = 0;
    place_block(&h, &k->body);
}
