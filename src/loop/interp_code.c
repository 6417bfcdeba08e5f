// loop/interp_code.c: flattens a kernel for the interpreter: each statement's expressions become
// one list of instructions over columns, every distinct subexpression once. No simplification: this
// serves a referee.
#include "loop/interp_int.h"
#include "loop/ptrmap.h"

typedef struct Flattener {
    Arena *arena;
    const Kernel *k;
    FlatKernel *out;
    Err *err;
    PtrMap perm;  // Var, Buffer, constant Expr -> slot or index
    PtrMap local; // Expr -> slot, within one statement
    Code *code;
    u32 ntemp;
    u32 lanes; // extent of the lane or thread.x loop we stand in, 0 outside: a row of threads is a
               // subgroup
    bool ok;
} Flattener;

static u32 const_bits(const Expr *e) {
    return e->op == EX_FCONST ? f32_bits((float)e->f) : (u32)e->i;
}

static u32 perm_slot(Flattener *fl, const void *key) {
    i64 slot;
    if (!ptrmap_get(&fl->perm, key, &slot)) {
        slot = ++fl->out->nperm;
        ptrmap_put(&fl->perm, key, slot);
    }
    return (u32)slot;
}

static void flatten_node(void *user, const Expr *e) {
    Flattener *fl = user;
    i64 have;
    if (!fl->ok || ptrmap_get(&fl->local, e, &have)) return;
    if (e->op == EX_ICONST || e->op == EX_FCONST) {
        if (!ptrmap_get(&fl->perm, e, &have)) {
            vec_push(fl->arena, &fl->out->const_slot, perm_slot(fl, e));
            vec_push(fl->arena, &fl->out->const_bits, const_bits(e));
        }
        ptrmap_put(&fl->local, e, perm_slot(fl, e));
        return;
    }
    if (e->op == EX_VAR) {
        if (!ptrmap_get(&fl->perm, e->var, &have)) {
            fl->ok = err_set(fl->err, ERR_LOOP_SCOPE, "kernel %S: variable %s is not defined here",
                             fl->k->name, e->var->name);
            return;
        }
        ptrmap_put(&fl->local, e, have);
        return;
    }
    Insn in = {.op = e->op, .type = e->type, .n = e->nargs, .dst = SLOT_TEMP | fl->ntemp++};
    if (e->op == EX_LOAD) {
        if (!ptrmap_get(&fl->perm, e->buf, &have)) {
            fl->ok = err_set(fl->err, ERR_LOOP_SCOPE, "kernel %S: buffer %s is not defined here",
                             fl->k->name, e->buf->name);
            return;
        }
        in.buf = (u32)have;
    }
    for (int i = 0; i < BUFFER_MAX_DIMS && e->args[i]; i++) {
        must(ptrmap_get(&fl->local, e->args[i], &have)); // arguments come first
        in.a[i] = (u32)have;
    }
    in.arg_type = e->args[0] ? e->args[0]->type : e->type;
    if (e->op == EX_SUBADD || e->op == EX_SUBMAX || e->op == EX_SUBAT) {
        in.lanes = (u16)(e->op == EX_SUBAT ? e->args[2]->i : fl->lanes);
        if (!fl->lanes || fl->lanes % in.lanes) {
            fl->ok = err_set(fl->err, ERR_LOOP_SUBGROUP,
                             "kernel %S: a subgroup operation stands outside the loops over lanes",
                             fl->k->name);
            return;
        }
    }
    vec_push(fl->arena, &fl->code->insn, in);
    ptrmap_put(&fl->local, e, in.dst);
}

static u32 flatten_expr(Flattener *fl, const Expr *e) {
    i64 slot = SLOT_NONE;
    if (e && fl->ok) {
        expr_walk(e, flatten_node, fl);
        if (fl->ok) must(ptrmap_get(&fl->local, e, &slot));
    }
    return (u32)slot;
}

static void begin_code(Flattener *fl, Code *c) {
    ptrmap_clear(&fl->local);
    fl->code = c;
    fl->ntemp = 0;
}

static void end_code(Flattener *fl) { fl->out->ntemp = MAX2(fl->out->ntemp, fl->ntemp); }

static u32 add_buffer(Flattener *fl, const Buffer *b) {
    FlatBuf fb = {.b = b};
    i64 have;
    if (ptrmap_get(&fl->perm, b,
                   &have)) // a block that stands twice allocates the same buffer again
        return (u32)have;
    u32 index = (u32)fl->out->buf.n;
    vec_push(fl->arena, &fl->out->buf, fb);
    ptrmap_put(&fl->perm, b, index);
    return index;
}

static void flatten_block(Flattener *fl, const Block *b, FlatBlock *out) {
    out->n = b->n;
    out->at = NEW_N(fl->arena, Flat, b->n ? b->n : 1);
    for (size_t i = 0; i < b->n && fl->ok; i++) {
        const Stmt *s = b->at[i];
        Flat *f = &out->at[i];
        u32 lanes = fl->lanes;
        f->s = s;
        begin_code(fl, &f->code);
        switch (s->kind) {
        case ST_FOR:
            f->value = flatten_expr(fl, s->extent);
            f->var = perm_slot(fl, s->var);
            if (s->loop == LOOP_LANE || s->loop == LOOP_THREAD_X) {
                i64 n = 0;
                if (!expr_is_int(s->extent, &n) || n < 1 || n > 1024 ||
                    (s->loop == LOOP_LANE && fl->out->lanes && fl->out->lanes != n)) {
                    fl->ok =
                        err_set(fl->err, ERR_LOOP_THREADS,
                                "kernel %S: loops over threads need one constant extent, 1..1024",
                                fl->k->name);
                    return;
                }
                fl->lanes = (u32)n;
                if (s->loop == LOOP_LANE) fl->out->lanes = (u32)n;
            }
            fl->out->cpu |= s->loop == LOOP_CPU;
            break;
        case ST_LET:
            f->value = flatten_expr(fl, s->value);
            f->var = perm_slot(fl, s->var);
            break;
        case ST_STORE: {
            i64 have;
            if (!ptrmap_get(&fl->perm, s->buf, &have)) {
                fl->ok =
                    err_set(fl->err, ERR_LOOP_SCOPE, "kernel %S: buffer %s is not defined here",
                            fl->k->name, s->buf->name);
                return;
            }
            f->buf = (u32)have;
            for (int d = 0; d < s->buf->nd; d++) f->idx[d] = flatten_expr(fl, s->idx[d]);
            f->value = flatten_expr(fl, s->value);
            break;
        }
        case ST_IF: f->value = flatten_expr(fl, s->cond); break;
        case ST_ALLOC: f->buf = add_buffer(fl, s->buf); break;
        case ST_BARRIER:
        case ST_FETCH: break;
        }
        end_code(fl);
        if (s->kind == ST_FOR || s->kind == ST_IF) {
            f->mask = arena_alloc(fl->arena, fl->out->threads);
            flatten_block(fl, &s->body, &f->body);
        }
        fl->lanes = lanes;
    }
}

bool interp_flatten(Arena *a, const Kernel *k, FlatKernel *out, Err *err) {
    Flattener fl = {.arena = a, .k = k, .out = out, .err = err, .ok = true};
    fl.perm.arena = fl.local.arena = a;
    *out = (FlatKernel){.threads = k->wg[0] * k->wg[1] * k->wg[2]};
    for (int i = 0; i < k->nsyms; i++) out->sym[i] = perm_slot(&fl, k->sym[i].var);
    for (int i = 0; i < k->ndims; i++) out->dim[i] = perm_slot(&fl, k->dim[i]);
    begin_code(&fl, &out->prologue);
    for (int i = 0; i < k->nargs; i++) {
        u32 index = add_buffer(&fl, k->arg[i]);
        for (int d = 0; d < k->arg[i]->nd; d++) {
            u32 slot = flatten_expr(&fl, k->arg[i]->dims[d]);
            out->buf.at[index].dim[d] = slot;
        }
    }
    end_code(&fl);
    flatten_block(&fl, &k->body, &out->body);
    return fl.ok;
}
