// loop/fields.c: bit fields that are multiplied stay where they are: x * f32(w >> 8 & 15) becomes
// (x * 2^-8) * f32(w & 3840).
//
// A power of two scales a float exactly while the result is no subnormal: both are the same number
// where |x| is 0 or at least 2^-96, for the shift is at most 30. Below that, where x itself is
// nothing beside any activation, up to `shift` of its last bits may be lost. The shift of every
// lane becomes one product for all lanes, which hoisting takes out of the loop. Only done in lane
// loops, where x is the same for all lanes, and for fields that fit a float's 24 bits and end below
// bit 31 (signed conversion is what processors have; where a shift is dear, the other one is the
// lesser evil). Not where the profile's fields_stay is 0: eight masks are eight constants to keep
// at hand.
#include "loop/loop_int.h"
#include "loop/ptrmap.h"

typedef struct Fields {
    Exprs *x;
    PtrMap lanes; // variables that differ between lanes
    i64 most;     // that a field may be where it stands
    bool vec;
    bool uniform;
} Fields;

static void look(void *user, const Expr *e) {
    Fields *f = user;
    i64 v;
    if ((e->op == EX_VAR && ptrmap_get(&f->lanes, e->var, &v)) ||
        (e->op == EX_LOAD && e->buf->scope == SCOPE_REG))
        f->uniform = false;
}

static bool same_in_all_lanes(Fields *f, const Expr *e) {
    f->uniform = true;
    expr_walk(e, look, f);
    return f->uniform;
}

static const Expr *product(Fields *f, const Expr *a, const Expr *b) {
    Exprs *x = f->x;
    i64 shift, mask = UINT32_MAX;
    if (b->op != EX_CAST || b->args[0]->type != TY_U32) return NULL;
    const Expr *field = b->args[0];
    bool masked = field->op == EX_AND && expr_is_int(field->args[1], &mask);
    const Expr *moved = masked ? field->args[0] : field;
    if (moved->op != EX_SHR || !expr_is_int(moved->args[1], &shift)) return NULL;
    if (shift < 1 || shift > 30) return NULL;
    mask &= UINT32_MAX >> shift;
    if (mask > 0xffffff || mask << shift > f->most || !same_in_all_lanes(f, a)) return NULL;
    const Expr *scale = ex_f32(x, 1.0 / (double)((u32)1 << shift));
    return ex_mul(x, ex_mul(x, a, scale),
                  ex_cast(x, TY_F32, ex_and(x, moved->args[0], ex_uint(x, (u32)(mask << shift)))));
}

static const Expr *rewrite(void *user, Exprs *x, const Expr *e) {
    (void)x;
    if (e->op != EX_MUL || e->type != TY_F32) return e;
    const Expr *r = product(user, e->args[0], e->args[1]);
    if (!r) r = product(user, e->args[1], e->args[0]);
    return r ? r : e;
}

static void block(Fields *f, Block *b) {
    for (size_t i = 0; i < b->n; i++) {
        Stmt *s = b->at[i];
        bool vec = f->vec;
        if (s->kind == ST_FOR && s->loop == LOOP_VEC) {
            f->vec = true;
            ptrmap_put(&f->lanes, s->var, 1);
        }
        if (s->kind == ST_LET && f->vec && !same_in_all_lanes(f, s->value))
            ptrmap_put(&f->lanes, s->var, 1);
        if ((s->kind == ST_LET || s->kind == ST_STORE) && f->vec)
            s->value = expr_map(f->x, s->value, rewrite, f);
        if (s->kind == ST_FOR || s->kind == ST_IF) block(f, &s->body);
        f->vec = vec;
    }
}

void kernel_fields(Arena *a, Kernel *k, const Profile *p) {
    Fields f = {.x = k->x, .lanes = {.arena = a}, .most = p->slow_shift ? UINT32_MAX : INT32_MAX};
    block(&f, &k->body);
}
