// loop/formula.c: a formula's value at one point, and its text.
//
// formula_eval is referee (a): float64, straight from the stages' definitions, for any shape. It
// knows nothing of schedules, kernels or the simplifier. A load of an earlier stage's result
// evaluates that stage at those indices; each stage keeps its last value, which is what makes a
// norm's sum of squares cost one pass, not one a term. A FormulaMemo keeps more of them, over
// calls.
#include "loop/loop.h"

typedef struct Memo {
    bool valid;
    i64 at[MAX_AXES];
    Value value;
} Memo;

struct FormulaMemo {
    u32 entries; // of a stage; a power of two
    Memo *at;    // [stage][hash of the point]
};

typedef struct Referee {
    const Formula *f;
    const Env *outer;
    bool f32;
    FormulaMemo *memo; // NULL: each stage's last value only
    Memo last[MAX_STAGES];
} Referee;

FormulaMemo *formula_memo_new(Arena *a, const Formula *f) {
    FormulaMemo *m = NEW(a, FormulaMemo);
    m->entries = 4096;
    m->at = arena_try(a, (u64)f->nstages * m->entries, sizeof(Memo));
    return m->at ? m : NULL;
}

static Memo *memo_at(Referee *r, int stage, const i64 *at, int n) {
    FormulaMemo *m = r->memo;
    u64 h = 0;
    if (m == NULL) return &r->last[stage];
    for (int i = 0; i < n; i++) h = (h + (u64)at[i]) * 0x9E3779B97F4A7C15u;
    return &m->at[(u32)stage * m->entries + ((u32)(h >> 40) & (m->entries - 1))];
}

// One stage being evaluated: values of its axes. Symbols and dimensions come from the caller's
// environment.
typedef struct Frame {
    Referee *r;
    const Stage *st;
    int depth;
    i64 at[MAX_AXES], red[MAX_AXES];
} Frame;

static bool stage_value(Referee *r, int index, const i64 *at, int depth, Value *out);

static bool frame_var(void *user, const Var *v, Value *out) {
    const Frame *fr = user;
    out->type = v->type;
    for (int i = 0; i < fr->st->nax; i++) {
        if (fr->st->ax[i].var == v) {
            out->i = fr->at[i];
            return true;
        }
    }
    for (int i = 0; i < fr->st->nred; i++) {
        if (fr->st->red[i].var == v) {
            out->i = fr->red[i];
            return true;
        }
    }
    return fr->r->outer->var && fr->r->outer->var(fr->r->outer->user, v, out);
}

static bool frame_load(void *user, const Buffer *b, const i64 *idx, Value *out) {
    const Frame *fr = user;
    if (b->scope != SCOPE_TEMP)
        return fr->r->outer->load && fr->r->outer->load(fr->r->outer->user, b, idx, out);
    for (int i = 0; i < fr->r->f->nstages; i++)
        if (fr->r->f->stage[i].out == b) return stage_value(fr->r, i, idx, fr->depth + 1, out);
    return false;
}

static bool frame_eval(Frame *fr, const Expr *e, Value *out) {
    Env env = {.var = frame_var, .load = frame_load, .user = fr, .f32 = fr->r->f32};
    return expr_eval(e, &env, out);
}

// The point lies inside the axes' extents; a load outside them has no value.
static bool frame_inside(Frame *fr) {
    for (int i = 0; i < fr->st->nax; i++) {
        Value n;
        if (!frame_eval(fr, fr->st->ax[i].extent, &n) || fr->at[i] < 0 || fr->at[i] >= n.i)
            return false;
    }
    return true;
}

static void reduce(ReduceOp op, Value *acc, Value v, bool first) {
    if (first) {
        *acc = v;
    } else if (v.type == TY_F32) {
        if (op == RED_SUM)
            acc->f += v.f;
        else if (op == RED_MAX ? v.f > acc->f : v.f < acc->f)
            acc->f = v.f;
    } else if (op == RED_SUM) {
        u32 sum = (u32)acc->i + (u32)v.i; // both integer types wrap
        acc->i = v.type == TY_I32 ? (i64)(i32)sum : (i64)sum;
    } else if (op == RED_MAX ? v.i > acc->i : v.i < acc->i) {
        acc->i = v.i;
    }
}

// Runs the reduction's axes as an odometer. An empty sum is 0; an empty maximum has no value.
static bool reduce_all(Frame *fr, Value *out) {
    const Stage *st = fr->st;
    i64 extent[MAX_AXES];
    bool empty = false, first = true;
    for (int i = 0; i < st->nred; i++) {
        Value n;
        if (!frame_eval(fr, st->red[i].extent, &n)) return false;
        extent[i] = n.i;
        fr->red[i] = 0;
        empty |= n.i <= 0;
    }
    *out = (Value){.type = (Type)st->body->type};
    if (empty) return st->op == RED_SUM;
    for (;;) {
        Value v;
        if (!frame_eval(fr, st->body, &v)) return false;
        reduce(st->op, out, v, first);
        first = false;
        int i = st->nred - 1;
        while (i >= 0 && ++fr->red[i] == extent[i]) fr->red[i--] = 0;
        if (i < 0) return true;
    }
}

static bool stage_value(Referee *r, int index, const i64 *at, int depth, Value *out) {
    const Stage *st = &r->f->stage[index];
    Memo *m = memo_at(r, index, at, st->nax);
    if (depth > MAX_STAGES || !st->body) return false;
    if (m->valid && memcmp(m->at, at, sizeof(i64) * (size_t)st->nax) == 0) {
        *out = m->value;
        return true;
    }
    Frame fr = {.r = r, .st = st, .depth = depth};
    memcpy(fr.at, at, sizeof(i64) * (size_t)st->nax);
    if (!frame_inside(&fr) || !reduce_all(&fr, out)) return false;
    m->valid = true;
    memcpy(m->at, fr.at, sizeof m->at);
    m->value = *out;
    return true;
}

bool formula_eval(const Formula *f, int stage, int store, const i64 *at, const Env *env,
                  double *value, bool *stored) {
    return formula_eval_memo(f, NULL, stage, store, at, env, value, stored);
}

bool formula_eval_memo(const Formula *f, FormulaMemo *memo, int stage, int store, const i64 *at,
                       const Env *env, double *value, bool *stored) {
    Referee r = {.f = f, .outer = env, .f32 = env->f32, .memo = memo};
    Value v;
    must(stage >= 0 && stage < f->nstages);
    const Stage *st = &f->stage[stage];
    *stored = true;
    if (st->body) {
        if (!stage_value(&r, stage, at, 0, &v)) return false;
    } else {
        must(store >= 0 && store < st->nstores);
        Frame fr = {.r = &r, .st = st};
        memcpy(fr.at, at, sizeof(i64) * (size_t)st->nax);
        if (!frame_inside(&fr)) return false;
        if (st->store[store].pred) {
            if (!frame_eval(&fr, st->store[store].pred, &v)) return false;
            *stored = v.i != 0;
            if (!*stored) {
                *value = 0;
                return true;
            }
        }
        if (!frame_eval(&fr, st->store[store].value, &v)) return false;
    }
    *value = v.type == TY_F32 ? v.f : (double)v.i;
    return true;
}

// ---- text ---------------------------------------------------------------------------------------
static void print_axes(Buf *out, const Axis *ax, int n, const char *lead) {
    for (int i = 0; i < n; i++) {
        buf_fmt(out, "%s%s < ", i ? ", " : lead, ax[i].var->name);
        expr_print(ax[i].extent, out);
    }
}

static void print_index(Buf *out, const Expr *const *idx, int n) {
    buf_char(out, '[');
    for (int i = 0; i < n; i++) {
        if (i) buf_add(out, S(", "));
        expr_print(idx[i], out);
    }
    buf_char(out, ']');
}

static const char *const reduce_name[] = {"", "sum", "max", "min"}; // ORDER REDUCE

// One line a stage or store: `y[n, o] = sum k: x[n, k] * w[o, k]  for n < 4, o < 960; k < 576`
void formula_print(const Formula *f, Buf *out) {
    for (int s = 0; s < f->nstages; s++) {
        const Stage *st = &f->stage[s];
        if (st->body) {
            buf_fmt(out, "%s[", st->name);
            for (int i = 0; i < st->nax; i++)
                buf_fmt(out, "%s%s", i ? ", " : "", st->ax[i].var->name);
            buf_add(out, S("] = "));
            if (st->nred) {
                buf_add(out, str_c(reduce_name[st->op]));
                for (int i = 0; i < st->nred; i++)
                    buf_fmt(out, "%s%s", i ? ", " : " ", st->red[i].var->name);
                buf_add(out, S(": "));
            }
            expr_print(st->body, out);
            print_axes(out, st->ax, st->nax, "  for ");
            print_axes(out, st->red, st->nred, st->nax ? "; " : "  for ");
            buf_char(out, '\n');
        }
        for (int i = 0; i < st->nstores; i++) {
            const Store *w = &st->store[i];
            buf_add(out, str_c(w->buf->name));
            print_index(out, w->idx, w->buf->nd);
            buf_add(out, S(" = "));
            expr_print(w->value, out);
            if (w->pred) {
                buf_add(out, S(" if "));
                expr_print(w->pred, out);
            }
            print_axes(out, st->ax, st->nax, "  for ");
            buf_char(out, '\n');
        }
    }
}
