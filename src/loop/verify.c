// loop/verify.c: proves a kernel sound for a profile, or says which statement is not and why.
//
// Types and scopes; every index inside its buffer and every index sum inside 32 bits (prove.c,
// under the conditions of the ifs around it); values stored to a buffer with a declared range
// inside that range; barriers and subgroup operations reached by all threads; workgroup memory,
// threads, bindings and grid within the profile's limits. A load stands under its ifs only: a
// select does not protect its branches, because devices evaluate both.
#include "loop/loop_int.h"
#include "loop/prove.h"
#include "loop/ptrmap.h"
#include "loop/text_int.h"

enum { REG_MAX_ELEMS = 4096, CPU_REG_MAX_ELEMS = 65536 }; // a CPU's lie on its stack

typedef struct Verify {
    const Kernel *k;
    const Profile *p;
    Err *err;
    Arena *arena;
    Prover *prover;
    PtrMap scope;   // Var, Buffer -> 1 while defined
    PtrMap varying; // Var -> 1: differs between the threads of a workgroup
    PtrMap allocs;  // workgroup memory counted
    const Stmt *at;
    u64 shared, reg;
    size_t stmts;
    int depth;
    bool divergent; // not all threads of the workgroup are here
    u32 bound;      // set of LoopKind open
    i64 row;        // threads in a row: extent of the thread.x or lane loop we stand in, 0 outside
    i64 lanes;      // extent of the lane loops, 1 without any
    bool ok, varies, subgroup;
} Verify;

static bool fail(Verify *v, ErrId id, const char *fmt, ...) {
    char stmt[120], why[160];
    Buf s = {.ptr = stmt, .cap = sizeof stmt}, w = {.ptr = why, .cap = sizeof why};
    stmt[0] = why[0] = 0;
    if (v->at) stmt_print_head(v->at, &s);
    va_list ap;
    va_start(ap, fmt);
    buf_vfmt(&w, fmt, ap);
    va_end(ap);
    v->ok = false;
    return v->at ? err_set(v->err, id, "kernel %S: `%s`: %s", v->k->name, stmt, why)
                 : err_set(v->err, id, "kernel %S: %s", v->k->name, why);
}

// ---- expressions --------------------------------------------------------------------------------
static bool is_index_type(int t) { return t == TY_I32 || t == TY_U32; }

static void fail_high(Verify *v, const Buffer *b, int d, i64 hi) {
    char extent[64];
    Buf e = {.ptr = extent, .cap = sizeof extent};
    expr_print(b->dims[d], &e);
    fail(v, ERR_LOOP_BOUNDS, "index %d of %s may reach %D of %s; guard it or clamp it", d, b->name,
         hi, extent);
}

static void check_bounds(Verify *v, const Buffer *b, const Expr *const *idx) {
    for (int d = 0; d < b->nd && v->ok; d++) {
        i64 lo, hi, n;
        bool fixed = expr_is_int(b->dims[d], &n);
        prover_range(v->prover, idx[d], 0, fixed ? n - 1 : INT64_MAX, &lo, &hi);
        if (lo < 0)
            fail(v, ERR_LOOP_BOUNDS, "index %d of %s may be as low as %D; guard it or clamp it", d,
                 b->name, lo);
        else if (fixed ? hi >= n : !prover_at_least(v->prover, b->dims[d], idx[d], 1))
            fail_high(v, b, d, hi);
    }
}

static void check_node(void *user, const Expr *e) {
    Verify *v = user;
    i64 one, lo, hi;
    if (!v->ok) return;
    switch (e->op) {
    case EX_VAR:
        if (!ptrmap_get(&v->scope, e->var, &one) || !one)
            fail(v, ERR_LOOP_SCOPE, "%s is not defined here", e->var->name);
        v->varies |= ptrmap_get(&v->varying, e->var, &one) && one;
        return;
    case EX_LOAD:
        if (!ptrmap_get(&v->scope, e->buf, &one) || !one) {
            fail(v, ERR_LOOP_SCOPE, "buffer %s is not defined here", e->buf->name);
            return;
        }
        // what a WGSL compiler takes for uniform: read-only arguments at uniform places
        v->varies |= e->buf->scope != SCOPE_ARG || e->buf->written;
        check_bounds(v, e->buf, e->args);
        return;
    case EX_SUBAT: // each row of threads is some subgroups
    case EX_SUBADD:
    case EX_SUBMAX:
        v->varies = v->subgroup = true;
        one = e->op == EX_SUBAT ? e->args[2]->i : v->row;
        if (!v->p->subgroup || one != v->p->subgroup || !v->row || v->row % one)
            fail(v, ERR_LOOP_SUBGROUP,
                 "a subgroup operation over %D threads: the profile's subgroups have %D", v->row,
                 v->p->subgroup);
        else if (v->divergent)
            fail(v, ERR_LOOP_BARRIER,
                 "a subgroup operation under a condition that differs between threads");
        return;
    case EX_IDIV:
    case EX_IMOD:
        prover_range(v->prover, e->args[1], 1, INT64_MAX, &lo, &hi);
        if (lo < 1) fail(v, ERR_INTERP_DIVIDE, "a divisor may be %D", lo);
        return;
    case EX_SHL:
    case EX_SHR:
        prover_range(v->prover, e->args[1], 0, 31, &lo, &hi);
        if (lo < 0 || hi > 31) {
            fail(v, ERR_LOOP_OVERFLOW, "a shift by %D..%D", lo, hi);
            return;
        }
        if (e->op == EX_SHR) return;
        break;
    case EX_ADD:
    case EX_SUB:
    case EX_MUL: break;
    default: return;
    }
    if (e->type == TY_I32) { // all of it counts as index arithmetic: u32 is there for what wraps
        prover_range(v->prover, e, INT32_MIN + 1, INT32_MAX - 1, &lo,
                     &hi); // at the very ends intervals are cut
        if (lo < INT32_MIN || hi > INT32_MAX)
            fail(v, ERR_LOOP_OVERFLOW, "i32 arithmetic may reach %D..%D, past 32 bits", lo, hi);
    }
}

static bool check_expr(Verify *v, const Expr *e) {
    v->varies = v->subgroup = false;
    expr_walk(e, check_node, v);
    if (v->ok && v->subgroup && !v->k->subgroups)
        fail(v, ERR_LOOP_SUBGROUP, "the kernel is not marked as using subgroups");
    return v->ok;
}

// ---- statements ---------------------------------------------------------------------------------
static bool check_block(Verify *v, const Block *b);

static bool define(Verify *v, const void *what, const char *name) {
    i64 one;
    if (ptrmap_get(&v->scope, what, &one) && one)
        return fail(v, ERR_LOOP_NAME, "%s is defined already", name);
    ptrmap_put(&v->scope, what, 1);
    return true;
}

static bool check_threads(Verify *v, const Stmt *s) {
    i64 n;
    const Kernel *k = v->k;
    u32 bit = 1u << s->loop;
    if (s->loop == LOOP_SERIAL || s->loop == LOOP_UNROLL || s->loop == LOOP_VEC) return true;
    if (s->loop == LOOP_CPU)
        return !v->p->gpu && v->depth == 1
                   ? true
                   : fail(v, ERR_LOOP_THREADS, "a cpu loop is outermost, on a CPU profile");
    if (!v->p->gpu) return fail(v, ERR_LOOP_THREADS, "a CPU profile has no workgroups and threads");
    if (v->bound & bit)
        return fail(v, ERR_LOOP_THREADS, "a %s loop stands inside another",
                    loop_kind_name(s->loop));
    if (s->loop <= LOOP_WG_Z) {
        const Expr *grid = k->grid[s->loop - LOOP_WG_X];
        if (v->divergent)
            return fail(v, ERR_LOOP_THREADS,
                        "a loop over workgroups stands under threads or a condition");
        if (grid ? !prover_at_least(v->prover, grid, s->extent, 0)
                 : !expr_is_int(s->extent, &n) || n > 1)
            return fail(v, ERR_LOOP_GRID, "more workgroups than the kernel's grid has");
        return true;
    }
    i64 most = s->loop == LOOP_THREAD_Y ? k->wg[1]
               : s->loop == LOOP_LANE   ? v->lanes
                                        : k->wg[0] / v->lanes;
    if (!expr_is_int(s->extent, &n) || n < 1 || n > most)
        return fail(v, ERR_LOOP_THREADS, "a workgroup has %D threads here", most);
    if (s->loop != LOOP_THREAD_Y) v->row = n;
    v->divergent |= n < most;
    return true;
}

static bool check_for(Verify *v, const Stmt *s) {
    bool divergent = v->divergent;
    u32 bound = v->bound;
    i64 row = v->row, lo, hi, one;
    if (s->extent->type != TY_I32 || s->var->type != TY_I32)
        return fail(v, ERR_LOOP_TYPE, "a loop counts in i32");
    if (!check_expr(v, s->extent)) return false;
    bool varies = v->varies;
    if (!check_threads(v, s)) return false;
    v->bound |= 1u << s->loop;
    v->divergent |= varies;
    size_t mark = prover_mark(v->prover);
    prover_loop(v->prover, s->var, s->extent);
    prover_range(v->prover, s->extent, s->var->lo + 1, s->var->hi + 1, &lo, &hi);
    if (s->var->lo > 0 || hi - 1 > MAX2(s->var->hi, -1))
        return fail(v, ERR_LOOP_BOUNDS, "%s runs to %D, past its declared range %D..%D",
                    s->var->name, hi - 1, s->var->lo, s->var->hi);
    bool lane = s->loop >= LOOP_THREAD_X && s->loop <= LOOP_LANE;
    ptrmap_put(&v->varying, s->var, lane || s->loop == LOOP_CPU);
    if (!define(v, s->var, s->var->name) || !check_block(v, &s->body)) return false;
    if (ptrmap_get(&v->scope, s->var, &one)) ptrmap_put(&v->scope, s->var, 0);
    prover_restore(v->prover, mark);
    v->divergent = divergent;
    v->bound = bound;
    v->row = row;
    return true;
}

static bool check_let(Verify *v, const Stmt *s) {
    if (s->var->type != (Type)s->value->type)
        return fail(v, ERR_LOOP_TYPE, "%s has another type than its value", s->var->name);
    if (!check_expr(v, s->value)) return false;
    i64 lo, hi;
    bool varies = v->varies;
    prover_let(v->prover, s->var, s->value);
    if (is_index_type(s->var->type)) {
        prover_range(v->prover, s->value, s->var->lo, s->var->hi, &lo, &hi);
        if (lo < s->var->lo || hi > s->var->hi)
            return fail(v, ERR_LOOP_BOUNDS,
                        "the value may be %D..%D, outside the declared range %D..%D", lo, hi,
                        s->var->lo, s->var->hi);
    }
    ptrmap_put(&v->varying, s->var, varies);
    return define(v, s->var, s->var->name);
}

static bool check_store(Verify *v, const Stmt *s) {
    i64 one, lo, hi;
    const Buffer *b = s->buf;
    if (!ptrmap_get(&v->scope, b, &one) || !one)
        return fail(v, ERR_LOOP_SCOPE, "buffer %s is not defined here", b->name);
    if (b->scope == SCOPE_ARG && !b->written)
        return fail(v, ERR_LOOP_READONLY, "%s is read only", b->name);
    if (b->type != (Type)s->value->type)
        return fail(v, ERR_LOOP_TYPE, "%s holds %s, not %s", b->name, type_text[b->type],
                    type_text[s->value->type]);
    for (int d = 0; d < b->nd; d++) {
        if (!is_index_type(s->idx[d]->type))
            return fail(v, ERR_LOOP_TYPE, "an index is an integer");
        if (!check_expr(v, s->idx[d])) return false;
    }
    check_bounds(v, b, s->idx);
    if (!v->ok || !check_expr(v, s->value)) return false;
    if (is_index_type(b->type)) {
        prover_range(v->prover, s->value, b->lo, b->hi, &lo, &hi);
        if (lo < b->lo || hi > b->hi)
            return fail(v, ERR_LOOP_BOUNDS, "%s holds %D..%D, the value may be %D..%D; clamp it",
                        b->name, b->lo, b->hi, lo, hi);
    }
    return true;
}

// Reads nothing, but its place must exist: a pointer to it is made.
static bool check_fetch(Verify *v, const Stmt *s) {
    i64 one;
    if (!ptrmap_get(&v->scope, s->buf, &one) || !one || s->buf->scope != SCOPE_ARG)
        return fail(v, ERR_LOOP_SCOPE, "%s is no argument, which alone are fetched", s->buf->name);
    if (v->bound & 1u << LOOP_VEC)
        return fail(v, ERR_LOOP_THREADS, "what lanes read is fetched before their loop");
    for (int d = 0; d < s->buf->nd; d++) {
        if (!is_index_type(s->idx[d]->type))
            return fail(v, ERR_LOOP_TYPE, "an index is an integer");
        if (!check_expr(v, s->idx[d])) return false;
    }
    check_bounds(v, s->buf, s->idx);
    return v->ok;
}

static bool check_alloc(Verify *v, const Stmt *s) {
    u64 n = 1;
    i64 dim, one;
    const Buffer *b = s->buf;
    if (b->scope != SCOPE_REG && b->scope != SCOPE_SHARED)
        return fail(v, ERR_LOOP_SCOPE, "%s is neither registers nor workgroup memory", b->name);
    if (b->type == TY_BOOL) return fail(v, ERR_LOOP_TYPE, "%s: memory does not hold bool", b->name);
    for (int d = 0; d < b->nd; d++) {
        if (!expr_is_int(b->dims[d], &dim) || dim < 1 || dim > 1 << 20)
            return fail(v, ERR_LOOP_TYPE, "%s: extents are constants of at least 1", b->name);
        if (!mul_u64(n, (u64)dim, &n)) return fail(v, ERR_LOOP_LIMIT, "%s is too large", b->name);
    }
    if (b->half && !v->p->f16) return fail(v, ERR_LOOP_TYPE, "%s: the profile has no f16", b->name);
    if (b->half) n = (n + 1) / 2;
    if (!ptrmap_get(&v->allocs, b, &one)) {
        ptrmap_put(&v->allocs, b, 1);
        u64 *sum = b->scope == SCOPE_REG ? &v->reg : &v->shared;
        if (!add_u64(*sum, n, sum)) return fail(v, ERR_LOOP_LIMIT, "%s is too large", b->name);
    }
    int most = v->p->gpu ? REG_MAX_ELEMS : CPU_REG_MAX_ELEMS;
    if (v->reg > (u64)most)
        return fail(v, ERR_LOOP_LIMIT, "a thread has %U registers, at most %d", v->reg, most);
    if (v->shared > (u64)v->p->shared_bytes / 4)
        return fail(v, ERR_LOOP_SHARED, "%U bytes of workgroup memory, the profile has %D",
                    v->shared * 4, v->p->shared_bytes);
    return define(v, b, b->name);
}

static bool check_if(Verify *v, const Stmt *s) {
    bool divergent = v->divergent;
    if (s->cond->type != TY_BOOL) return fail(v, ERR_LOOP_TYPE, "a condition is a bool");
    if (!check_expr(v, s->cond)) return false;
    v->divergent |= v->varies;
    size_t mark = prover_mark(v->prover);
    prover_assume(v->prover, s->cond, true);
    if (!check_block(v, &s->body)) return false;
    prover_restore(v->prover, mark);
    v->divergent = divergent;
    return true;
}

static bool check_barrier(Verify *v) {
    if (!v->p->gpu) return fail(v, ERR_LOOP_BARRIER, "a CPU kernel has no barriers");
    if (v->divergent)
        return fail(v, ERR_LOOP_BARRIER, "not every thread of the workgroup comes here");
    if (v->bound & 1u << LOOP_VEC)
        return fail(v, ERR_LOOP_BARRIER, "the iterations of a vec loop are not ordered");
    return true;
}

static bool check_block(Verify *v, const Block *b) {
    const Stmt *outer = v->at;
    if (++v->depth > KERNEL_MAX_DEPTH)
        return fail(v, ERR_LOOP_LIMIT, "statements nest deeper than %d", KERNEL_MAX_DEPTH);
    for (size_t i = 0; i < b->n; i++) {
        const Stmt *s = b->at[i];
        bool ok = true;
        v->at = s;
        if (++v->stmts > KERNEL_MAX_STMTS)
            return fail(v, ERR_LOOP_LIMIT, "more than %d statements", KERNEL_MAX_STMTS);
        switch (s->kind) {
        case ST_FOR: ok = check_for(v, s); break;
        case ST_LET: ok = check_let(v, s); break;
        case ST_STORE: ok = check_store(v, s); break;
        case ST_IF: ok = check_if(v, s); break;
        case ST_ALLOC: ok = check_alloc(v, s); break;
        case ST_BARRIER: ok = check_barrier(v); break;
        case ST_FETCH: ok = check_fetch(v, s); break;
        }
        if (!ok) return false;
    }
    for (size_t i = 0; i < b->n; i++) { // the block's own names end with it
        const Stmt *s = b->at[i];
        if (s->kind == ST_LET) ptrmap_put(&v->scope, s->var, 0);
        if (s->kind == ST_ALLOC) ptrmap_put(&v->scope, s->buf, 0);
    }
    v->at = outer;
    v->depth--;
    return true;
}

// ---- the kernel as a whole ----------------------------------------------------------------------
static bool find_lanes(Verify *v, const Block *b, int depth) {
    if (depth > KERNEL_MAX_DEPTH)
        return fail(v, ERR_LOOP_LIMIT, "statements nest deeper than %d", KERNEL_MAX_DEPTH);
    for (size_t i = 0; i < b->n; i++) {
        const Stmt *s = b->at[i];
        i64 n;
        if (s->kind == ST_FOR && s->loop == LOOP_LANE) {
            if (!expr_is_int(s->extent, &n) || n < 1 || v->k->wg[0] % n ||
                (v->lanes > 1 && v->lanes != n))
                return fail(v, ERR_LOOP_THREADS,
                            "lane loops need one constant extent that divides the workgroup's row");
            v->lanes = n;
        }
        if ((s->kind == ST_FOR || s->kind == ST_IF) && !find_lanes(v, &s->body, depth + 1))
            return false;
    }
    return true;
}

static bool check_args(Verify *v) {
    const Kernel *k = v->k;
    bool params = false;
    i64 lo, hi;
    if (k->nargs > (int)COUNT_OF(k->arg) || k->nargs > v->p->max_bindings)
        return fail(v, ERR_LOOP_BINDINGS, "%d bindings, the profile allows %D", k->nargs,
                    v->p->max_bindings);
    for (int i = 0; i < k->nsyms; i++)
        if (!define(v, k->sym[i].var, k->sym[i].var->name)) return false;
    for (int i = 0; i < k->ndims; i++)
        if (!define(v, k->dim[i], k->dim[i]->name)) return false;
    for (int i = 0; i < k->nargs; i++) {
        const Buffer *b = k->arg[i];
        if (b->scope != SCOPE_ARG || b->type == TY_BOOL)
            return fail(v, ERR_LOOP_TYPE, "argument %s is not a buffer of i32, u32 or f32",
                        b->name);
        params |= str_eq(str_c(b->name), S("params")) && b->type == TY_I32 && !b->written;
        u64 elems = 1;
        for (int d = 0; d < b->nd; d++) {
            if (b->dims[d]->type != TY_I32 || b->dims[d]->loads)
                return fail(v, ERR_LOOP_TYPE, "argument %s: extents are i32 and load nothing",
                            b->name);
            if (!check_expr(v, b->dims[d])) return false;
            prover_range(v->prover, b->dims[d], 0, INT32_MAX, &lo, &hi);
            if (lo < 0 || (expr_is_int(b->dims[d], &hi) &&
                           (!mul_u64(elems, (u64)hi, &elems) || elems > INT32_MAX)))
                return fail(v, ERR_LOOP_OVERFLOW,
                            "argument %s has extents below 0 or more than 2^31 elements", b->name);
        }
        if (!define(v, b, b->name)) return false;
    }
    return !k->nsyms || params ||
           fail(v, ERR_LOOP_SCOPE, "symbols need a read-only argument params of i32");
}

i64 kernel_grid_most(const Kernel *k, const Profile *p, int dim) {
    i64 lo = 1, hi = 1;
    if (k->grid[1]) expr_range(k->grid[1], &lo, &hi);
    return dim == 0 && hi == 1 && p->gpu ? grid_most(p) : p->max_grid;
}

static bool check_launch(Verify *v) {
    const Kernel *k = v->k;
    i64 lo, hi;
    if (v->p->gpu) {
        u64 threads = 1;
        for (int i = 0; i < 3; i++)
            if (k->wg[i] < 1 || k->wg[i] > 1024 || (threads *= k->wg[i]) > (u64)v->p->max_wg_size)
                return fail(v, ERR_LOOP_THREADS,
                            "a workgroup of %u,%u,%u threads, the profile allows %D", k->wg[0],
                            k->wg[1], k->wg[2], v->p->max_wg_size);
    } else if (k->wg[0] != 1 || k->wg[1] != 1 || k->wg[2] != 1) {
        return fail(v, ERR_LOOP_THREADS, "a CPU kernel has no workgroups");
    }
    for (int i = 0; i < 3; i++) {
        if (!k->grid[i]) continue;
        if (k->grid[i]->type != TY_I32 || k->grid[i]->loads)
            return fail(v, ERR_LOOP_TYPE, "a grid is i32 and loads nothing");
        if (!check_expr(v, k->grid[i])) return false;
        i64 most = kernel_grid_most(k, v->p, i);
        prover_range(v->prover, k->grid[i], 0, most, &lo, &hi);
        if (lo < 0 || (v->p->gpu && hi > most))
            return fail(v, ERR_LOOP_GRID, "%D workgroups in %c, the profile allows %D", hi,
                        "xyz"[i], most);
    }
    return true;
}

bool kernel_verify(const Kernel *k, const Profile *p, Err *err) {
    Arena *a = arena_new(NULL);
    if (!a) return err_set(err, ERR_OUT_OF_MEMORY, "kernel %S cannot be verified", k->name);
    Verify v = {
        .k = k, .p = p, .err = err, .arena = a, .prover = prover_new(a), .lanes = 1, .ok = true};
    v.scope.arena = v.varying.arena = v.allocs.arena = a;
    bool ok = check_args(&v) && find_lanes(&v, &k->body, 0) && check_launch(&v) &&
              check_block(&v, &k->body);
    arena_free(a);
    return ok;
}
