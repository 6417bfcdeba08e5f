// loop/formula.c: a formula's value at one point, and its text.
//
// formula_eval is referee (a): float64, straight from the stages' definitions, for any shape. It
// knows nothing of schedules, kernels or the simplifier. A load of an earlier stage's result
// evaluates that stage at those indices; each stage keeps its last value, which is what makes a
// norm's sum of squares cost one pass, not one a term. A FormulaMemo keeps more of them, over
// calls, and evaluates only what of an expression has changed (Again): a check of a kernel has
// millions of terms.
#include "loop/loop.h"

typedef struct Memo {
    bool valid;
    i64 at[MAX_AXES];
    Value value;
} Memo;

// A stage's expressions, ready to be evaluated over and over: its axes are of level 1, those that
// it reduces of 2 and above, the outermost first.
typedef struct StageAgain {
    const Stage *st;
    Again *again;
    u32 body, extent[MAX_AXES], red[MAX_AXES], value[MAX_STORES], pred[MAX_STORES];
    bool busy;
} StageAgain;

struct FormulaMemo {
    u32 entries; // of a stage; a power of two
    Memo *at;    // [stage][hash of the point]
    StageAgain stage[MAX_STAGES];
};

typedef struct Referee {
    const Formula *f;
    const Env *outer;
    bool f32;
    FormulaMemo *memo; // NULL: each stage's last value only
    Memo last[MAX_STAGES];
} Referee;

static int level_of(void *user, const Var *v) {
    const Stage *st = ((StageAgain *)user)->st;
    for (int i = 0; i < st->nax; i++)
        if (st->ax[i].var == v) return 1;
    for (int i = 0; i < st->nred; i++)
        if (st->red[i].var == v) return 2 + i;
    return 0;
}

FormulaMemo *formula_memo_new(Arena *a, const Formula *f) {
    _Static_assert(AGAIN_LEVELS >= 2 + MAX_AXES, "a level for each axis that is reduced");
    FormulaMemo *m = NEW(a, FormulaMemo);
    m->entries = 4096;
    m->at = arena_try(a, (u64)f->nstages * m->entries, sizeof(Memo));
    for (int i = 0; i < f->nstages; i++) {
        StageAgain *s = &m->stage[i];
        const Stage *st = s->st = &f->stage[i];
        s->again = again_new(a, level_of, s);
        if (st->body) s->body = again_add(s->again, st->body);
        for (int k = 0; k < st->nax; k++) s->extent[k] = again_add(s->again, st->ax[k].extent);
        for (int k = 0; k < st->nred; k++) s->red[k] = again_add(s->again, st->red[k].extent);
        for (int k = 0; k < st->nstores; k++) {
            s->value[k] = again_add(s->again, st->store[k].value);
            if (st->store[k].pred) s->pred[k] = again_add(s->again, st->store[k].pred);
        }
    }
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
    StageAgain *again; // NULL: each expression anew
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

// e, whose number is `at` where there are any.
static bool frame_eval(Frame *fr, const Expr *e, u32 at, Value *out) {
    Env env = {.var = frame_var, .load = frame_load, .user = fr, .f32 = fr->r->f32};
    return fr->again ? again_eval(fr->again->again, at, &env, out) : expr_eval(e, &env, out);
}

// Begins a frame at a point; false: the formula goes round in a circle.
static bool frame_begin(Frame *fr, Referee *r, int stage, const i64 *at, int depth) {
    fr->r = r;
    fr->st = &r->f->stage[stage];
    fr->again = NULL;
    fr->depth = depth;
    for (int i = 0; i < fr->st->nax; i++) fr->at[i] = at[i];
    if (!r->memo) return true;
    fr->again = &r->memo->stage[stage];
    if (fr->again->busy) return false;
    again_changed(fr->again->again, 1);
    return fr->again->busy = true;
}

static void frame_end(Frame *fr) {
    if (fr->again) fr->again->busy = false;
}

#define AT(field) (fr->again ? fr->again->field : 0)

// The point lies inside the axes' extents; a load outside them has no value.
static bool frame_inside(Frame *fr) {
    for (int i = 0; i < fr->st->nax; i++) {
        Value n;
        if (!frame_eval(fr, fr->st->ax[i].extent, AT(extent[i]), &n) || fr->at[i] < 0 ||
            fr->at[i] >= n.i)
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
        if (!frame_eval(fr, st->red[i].extent, AT(red[i]), &n)) return false;
        extent[i] = n.i;
        fr->red[i] = 0;
        empty |= n.i <= 0;
    }
    *out = (Value){.type = (Type)st->body->type};
    if (empty) return st->op == RED_SUM;
    for (;;) {
        Value v;
        if (!frame_eval(fr, st->body, AT(body), &v)) return false;
        reduce(st->op, out, v, first);
        first = false;
        int i = st->nred - 1;
        while (i >= 0 && ++fr->red[i] == extent[i]) fr->red[i--] = 0;
        if (i < 0) return true;
        if (fr->again) again_changed(fr->again->again, 2 + i); // and those inside it, in its wake
    }
}

static bool stage_value(Referee *r, int index, const i64 *at, int depth, Value *out) {
    const Stage *st = &r->f->stage[index];
    Memo *m = memo_at(r, index, at, st->nax);
    if (depth > MAX_STAGES || !st->body) return false;
    bool same = m->valid;
    for (int i = 0; i < st->nax; i++) same = same && m->at[i] == at[i];
    if (same) {
        *out = m->value;
        return true;
    }
    Frame fr;
    if (!frame_begin(&fr, r, index, at, depth)) return false;
    bool ok = frame_inside(&fr) && reduce_all(&fr, out);
    frame_end(&fr);
    if (!ok) return false;
    m->valid = true;
    for (int i = 0; i < st->nax; i++) m->at[i] = at[i];
    m->value = *out;
    return true;
}

// A store's value at the frame's point.
static bool store_value(Frame *fr, int store, Value *v, bool *stored) {
    const Store *s = &fr->st->store[store];
    if (!frame_inside(fr)) return false;
    if (s->pred) {
        if (!frame_eval(fr, s->pred, AT(pred[store]), v)) return false;
        *stored = v->i != 0;
        if (!*stored) return true;
    }
    return frame_eval(fr, s->value, AT(value[store]), v);
}

bool formula_eval(const Formula *f, FormulaMemo *memo, int stage, int store, const i64 *at,
                  const Env *env, double *value, bool *stored) {
    Referee r = {.f = f, .outer = env, .f32 = env->f32, .memo = memo};
    Value v = {.type = TY_F32};
    must(stage >= 0 && stage < f->nstages);
    const Stage *st = &f->stage[stage];
    *stored = true;
    if (st->body) {
        if (!stage_value(&r, stage, at, 0, &v)) return false;
    } else {
        must(store >= 0 && store < st->nstores);
        Frame fr;
        if (!frame_begin(&fr, &r, stage, at, 0)) return false;
        bool ok = store_value(&fr, store, &v, stored);
        frame_end(&fr);
        if (!ok) return false;
    }
    *value = !*stored ? 0 : v.type == TY_F32 ? v.f : (double)v.i;
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
