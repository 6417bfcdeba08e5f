// loop/nest.c: the schedulable state: a formula's stages with their loops, before and between
// primitives.
//
// A fresh nest is the naive one: every stage at the root, one serial loop an axis. Its text, with
// the profile, is the nest key: what tuned schedules and build-time kernels are found by. Nothing
// here changes a loop; primitives.c does.
#include "loop/loop_int.h"

NestStage *nest_stage(const Nest *n, Str name) {
    for (int i = 0; i < n->nstages; i++)
        if (str_eq(str_c(n->stage[i]->def.name), name)) return n->stage[i];
    return NULL;
}

void nest_stage_init(Nest *n, NestStage *s, const Stage *def) {
    *s = (NestStage){.def = *def};
    for (int i = 0; i < def->nax; i++) {
        s->loop[s->nloops++] = (NestLoop){.var = def->ax[i].var, .extent = def->ax[i].extent};
        s->axis_of[i] = ex_var(n->x, def->ax[i].var);
        s->origin[i] = ex_int(n->x, 0);
        s->region[i] = def->ax[i].extent;
    }
    for (int i = 0; i < def->nred; i++) {
        s->loop[s->nloops++] =
            (NestLoop){.var = def->red[i].var, .extent = def->red[i].extent, .reduce = true};
        s->red_of[i] = ex_var(n->x, def->red[i].var);
    }
}

Nest *nest_new(Arena *a, const Formula *f, const Profile *p) {
    Nest *n = NEW(a, Nest);
    *n = (Nest){.arena = a, .x = f->x, .f = f, .profile = p, .log = {.arena = a}};
    for (int i = 0; i < f->nstages; i++) {
        n->stage[i] = NEW(a, NestStage);
        nest_stage_init(n, n->stage[i], &f->stage[i]);
    }
    n->nstages = f->nstages;
    return n;
}

Nest *nest_again(const Nest *n) {
    Nest *again = nest_new(n->arena, n->f, n->profile);
    again->direct = n->direct;
    again->direct_size = n->direct_size;
    if (n->direct_size) {
        again->direct_state = arena_alloc(n->arena, n->direct_size);
        memcpy(again->direct_state, n->direct_state, n->direct_size);
    }
    return again;
}

// Besides the formula's text a kernel depends on its arguments and the ranges of dimensions and
// symbols.
u64 nest_key(const Nest *n, u64 *any_rows) {
    const Formula *f = n->f;
    Buf text = {.arena = n->arena}, ranges = {.arena = n->arena};
    formula_print(f, &text);
    for (int i = 0; i < f->ndims; i++)
        buf_fmt(&text, "dim %s in %D..%D by %D\n", f->dim[i]->name, f->dim[i]->lo, f->dim[i]->hi,
                f->dim[i]->divisor);
    for (int i = 0; i < f->nargs; i++) {
        const Buffer *b = f->arg[i];
        buf_fmt(&text, "arg %s: %d[", b->name, (i32)b->type);
        for (int d = 0; d < b->nd; d++) {
            buf_add(&text, d ? S(", ") : S(""));
            expr_print(b->dims[d], &text);
        }
        buf_fmt(&text, "] in %D..%D\n", b->lo, b->hi);
    }
    for (int i = 0; i < f->nsyms; i++) {
        buf_fmt(&text, "sym %s @ %d\n", f->sym[i].var->name, f->sym[i].word);
        buf_fmt(&ranges, "in %D..%D\n", f->sym[i].var->lo, f->sym[i].var->hi);
    }
    *any_rows = hash_str(profile_hash(n->profile), buf_str(&text));
    return hash_str(*any_rows, buf_str(&ranges));
}

// What a load of `s`'s result, or a store, uses as the value of axis i: where its loops are, from
// its origin.
const Expr *nest_axis(const Nest *n, const NestStage *s, int i) {
    return ex_add(n->x, s->origin[i], s->axis_of[i]);
}

static const char *const loop_kind_names[LOOP_KIND_COUNT] = { // ORDER LOOP
    "serial", "unroll", "vec", "wg.x", "wg.y", "wg.z", "thread.x", "thread.y", "lane", "cpu"};

const char *loop_kind_name(LoopKind k) { return loop_kind_names[k]; }

bool loop_kind_named(Str name, LoopKind *out) {
    for (int i = 0; i < LOOP_KIND_COUNT; i++)
        if (str_eq(str_c(loop_kind_names[i]), name)) {
            *out = (LoopKind)i;
            return true;
        }
    return false;
}

static void print_stage(const Nest *n, const NestStage *s, int depth, Buf *out);

static void print_placed(const Nest *n, const NestStage *at, const Var *var, int depth, Buf *out) {
    for (int i = 0; i < n->nstages; i++)
        if (!n->stage[i]->inlined && n->stage[i]->at == at && n->stage[i]->at_var == var)
            print_stage(n, n->stage[i], depth, out);
}

static void print_stage(const Nest *n, const NestStage *s, int depth, Buf *out) {
    static const char *const reduce[] = {"=", "+=", "max=", "min="}; // ORDER REDUCE
    for (int i = 0; i < s->nloops; i++) {
        const NestLoop *l = &s->loop[i];
        buf_fmt(out, "%*s%s%s %s.%s < ", 2 * depth, "", loop_kind_name(l->kind),
                l->reduce ? " reduce" : "", s->def.name, l->var->name);
        expr_print(l->extent, out);
        buf_char(out, '\n');
        depth++;
        print_placed(n, s, l->var, depth, out);
    }
    if (!s->def.nstores) {
        buf_fmt(out, "%*s%s %s ", 2 * depth, "", s->def.name, reduce[s->def.op]);
        expr_print(s->def.body, out);
        buf_char(out, '\n');
    }
    for (int i = 0; i < s->def.nstores; i++) {
        buf_fmt(out, "%*s%s = ", 2 * depth, "", s->def.store[i].buf->name);
        expr_print(s->def.store[i].value, out);
        buf_char(out, '\n');
    }
}

void nest_print(const Nest *n, Buf *out) { print_placed(n, NULL, NULL, 0, out); }
