// loop/prove.c: the facts that hold where a statement stands: loop bounds, conditions of the ifs
// around it, lets.
//
// A fact is a polynomial that is not negative. Facts come and go with their blocks (mark and
// restore); what defines an atom, as c*q <= a < c*q + c defines a quotient, holds always.
#include "loop/prove_int.h"

Prover *prover_new(Arena *a) {
    Prover *p = NEW(a, Prover);
    p->arena = p->lets.arena = p->extents.arena = p->polys.arena = p->bounds.arena = a;
    return p;
}

size_t prover_mark(const Prover *p) { return p->facts.n; }

void prover_restore(Prover *p, size_t mark) {
    if (p->facts.n != mark) p->version++;
    p->facts.n = mark;
}

// ---- facts --------------------------------------------------------------------------------------
// a - b >= by
static void assume_difference(Prover *p, const Expr *a, const Expr *b, i64 by) {
    Poly g = {.k = -by};
    if ((a->type != TY_I32 && a->type != TY_U32) || a->type != b->type) return;
    poly_scale_add(&g, prover_poly(p, a), 1);
    poly_scale_add(&g, prover_poly(p, b), -1);
    if (!g.bad && p->facts.n < MAX_FACTS) {
        vec_push(p->arena, &p->facts, prover_keep(p, &g));
        p->version++;
    }
}

static void assume(Prover *p, const Expr *c, bool holds, int depth) {
    i64 def;
    if (depth > 32) return;
    switch (c->op) {
    case EX_VAR:
        if (ptrmap_get(&p->lets, c->var, &def))
            assume(p, (const Expr *)(intptr_t)def, holds, depth + 1);
        return;
    case EX_LNOT: assume(p, c->args[0], !holds, depth + 1); return;
    case EX_LAND:
    case EX_LOR:
        if (holds == (c->op == EX_LAND)) {
            assume(p, c->args[0], holds, depth + 1);
            assume(p, c->args[1], holds, depth + 1);
        }
        return;
    case EX_LT:
        assume_difference(p, holds ? c->args[1] : c->args[0], holds ? c->args[0] : c->args[1],
                          holds);
        return;
    case EX_LE:
        assume_difference(p, holds ? c->args[1] : c->args[0], holds ? c->args[0] : c->args[1],
                          !holds);
        return;
    case EX_EQ:
    case EX_NE:
        if (holds == (c->op == EX_EQ)) {
            assume_difference(p, c->args[0], c->args[1], 0);
            assume_difference(p, c->args[1], c->args[0], 0);
        }
        return;
    default: return;
    }
}

void prover_assume(Prover *p, const Expr *cond, bool holds) {
    p->steps = SEARCH_STEPS;
    assume(p, cond, holds, 0);
}

// A variable that is defined anew, in another block, must not be seen through its old definition.
static void forget(Prover *p, const Var *v) {
    i64 old;
    if (ptrmap_get(&p->lets, v, &old) || ptrmap_get(&p->extents, v, &old)) {
        ptrmap_clear(&p->polys);
        ptrmap_clear(&p->bounds);
        p->definitions.n = 0;
        p->version++;
    } // what is known stays known when a new name appears
}

void prover_loop(Prover *p, const Var *v, const Expr *extent) {
    i64 k;
    forget(p, v);
    p->steps = SEARCH_STEPS;
    ptrmap_put(&p->extents, v, (i64)(intptr_t)extent);
    if (expr_is_int(extent, &k)) return; // the interval says it all
    Poly g = {.k = -1};                  // extent - 1 - v >= 0
    Mono minus = {.c = -1, .n = 1};
    minus.at[0] = ex_var(extent->home, v);
    poly_scale_add(&g, prover_poly(p, extent), 1);
    poly_add_mono(&g, &minus);
    if (!g.bad && p->facts.n < MAX_FACTS) vec_push(p->arena, &p->facts, prover_keep(p, &g));
}

void prover_let(Prover *p, const Var *v, const Expr *value) {
    forget(p, v);
    ptrmap_put(&p->lets, v, (i64)(intptr_t)value);
}
