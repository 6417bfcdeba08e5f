// loop/attention.c: attention over the cache as a formula, its parameters and its rule. The
// kernel's statements are built in attention_build.c, because on-line softmax carries a state
// (maximum, sum, weighted values) from one block of the cache to the next.
#include "loop/attention_int.h"
#include "loop/rule_int.h"

const Expr *attention_pos(const Attention *at, Exprs *x, const Expr *row) {
    const Expr *i =
        ex_add(x, ex_int(x, PARAM_ROWS + ROW_POS), ex_mul(x, row, ex_int(x, ROW_WORDS)));
    const Expr *pos = ex_load(x, at->params, &i);
    i64 ctx;
    return extent_const(at->ctx, &ctx)
               ? pos
               : ex_min(x, pos, ex_sub(x, at->ctx, ex_int(x, 1))); // else params' range says it
}

const Expr *attention_per(const Attention *at, Exprs *x, const Expr *len) {
    const Expr *blocks = ex_idiv(x, ex_add(x, len, ex_int(x, KV_BLOCK - 1)), ex_int(x, KV_BLOCK));
    i64 parts = at->s.parts;
    const Expr *per = ex_idiv(x, ex_add(x, blocks, ex_int(x, parts - 1)), ex_int(x, parts));
    return ex_mul(x, per, ex_int(x, KV_BLOCK));
}

static const Expr *dim(Exprs *x, Formula *f, const char *name, i64 value, i64 most, i64 divisor,
                       bool symbolic, i32 *dims) {
    if (!symbolic) return ex_int(x, value);
    Var *v = var_new(x, name, TY_I32, 1, most);
    v->divisor = divisor;
    dims[f->ndims] = (i32)value;
    f->dim[f->ndims++] = v;
    return ex_var(x, v);
}

static const Buffer *arg(Exprs *x, Formula *f, const char *name, Type t, int nd,
                         const Expr *const *dims, bool written) {
    Buffer *b = buffer_new(x, name, t, SCOPE_ARG, nd, dims);
    b->written = written;
    f->arg[f->nargs++] = b;
    return b;
}

typedef struct Stages {
    Exprs *x;
    Formula *f;
} Stages;

static Stage *stage(Stages *s, const char *name, ReduceOp op) {
    Stage *st = &s->f->stage[s->f->nstages++];
    *st = (Stage){.name = name, .op = op};
    return st;
}
static const Expr *axis(Stages *s, Stage *st, const char *name, const Expr *extent, bool reduce) {
    i64 lo, hi;
    expr_range(extent, &lo, &hi);
    Var *v = var_new(s->x, name, TY_I32, 0, hi - 1);
    if (reduce)
        st->red[st->nred++] = (Axis){v, extent};
    else
        st->ax[st->nax++] = (Axis){v, extent};
    return ex_var(s->x, v);
}
static const Buffer *result(Stages *s, Stage *st, const Expr *body) {
    const Expr *dims[MAX_AXES];
    for (int i = 0; i < st->nax; i++) dims[i] = st->ax[i].extent;
    st->body = body;
    return st->out = buffer_new(s->x, st->name, TY_F32, SCOPE_TEMP, st->nax, dims);
}
#define LOAD(b, ...) ex_load(x, (b), (const Expr *[]){__VA_ARGS__})

// score[n,h,t] = sum_d q k / sqrt(D), far below everything where t is not this part's or lies ahead
// of the row
static void formula(Exprs *x, Attention *at, Formula *f) {
    Stages s = {x, f};
    i64 parts = at->s.parts;
    const Expr *N = ex_var(x, at->n), *P = ex_int(x, parts), *zero = ex_int(x, 0),
               *one = ex_int(x, 1);
    const Expr *low = ex_f32(x, -1e30);
    Stage *sc = stage(&s, "dot", RED_SUM);
    const Expr *n = axis(&s, sc, "n", N, false), *h = axis(&s, sc, "h", at->heads, false),
               *t = axis(&s, sc, "t", at->ctx, false);
    const Expr *d = axis(&s, sc, "d", at->d, true);
    const Expr *q = LOAD(at->q, n, ex_add(x, ex_mul(x, h, at->d), d));
    const Expr *size = ex_int(x, KV_BLOCK), *block = ex_idiv(x, t, size), *i = ex_mod(x, t, size);
    const Expr *k =
        LOAD(at->cache, zero, ex_idiv(x, h, at->group), block, ex_add(x, ex_mul(x, d, size), i));
    const Buffer *dot = result(&s, sc, ex_mul(x, q, k));

    Stage *st = stage(&s, "score", RED_NONE);
    n = axis(&s, st, "n", N, false), h = axis(&s, st, "h", at->heads, false),
    t = axis(&s, st, "t", at->ctx, false);
    const Expr *p = axis(&s, st, "p", P, false);
    const Expr *len = ex_add(x, attention_pos(at, x, n), one);
    const Expr *per = attention_per(at, x, len);
    const Expr *in = ex_land(x, ex_lt(x, t, len), ex_eq(x, ex_idiv(x, t, per), p));
    const Expr *scaled =
        ex_div(x, LOAD(dot, n, h, t), ex_un(x, EX_SQRT, ex_cast(x, TY_F32, at->d)));
    const Buffer *score = result(&s, st, ex_select(x, in, scaled, low));

    Stage *mx = stage(&s, "m", RED_MAX);
    n = axis(&s, mx, "n", N, false), h = axis(&s, mx, "h", at->heads, false),
    p = axis(&s, mx, "p", P, false);
    t = axis(&s, mx, "t", at->ctx, true);
    const Buffer *m = result(&s, mx, LOAD(score, n, h, t, p));

    Stage *es = stage(&s, "e", RED_NONE); // e^(score - m), 0 outside of the part
    n = axis(&s, es, "n", N, false), h = axis(&s, es, "h", at->heads, false),
    t = axis(&s, es, "t", at->ctx, false);
    p = axis(&s, es, "p", P, false);
    const Expr *v = LOAD(score, n, h, t, p);
    const Buffer *e =
        result(&s, es,
               ex_select(x, ex_lt(x, low, v), ex_un(x, EX_EXP, ex_sub(x, v, LOAD(m, n, h, p))),
                         ex_f32(x, 0)));

    Stage *ls = stage(&s, "l", RED_SUM);
    n = axis(&s, ls, "n", N, false), h = axis(&s, ls, "h", at->heads, false),
    p = axis(&s, ls, "p", P, false);
    t = axis(&s, ls, "t", at->ctx, true);
    const Buffer *l = result(&s, ls, LOAD(e, n, h, t, p));

    Stage *as = stage(&s, "acc", RED_SUM);
    n = axis(&s, as, "n", N, false), h = axis(&s, as, "h", at->heads, false),
    p = axis(&s, as, "p", P, false);
    d = axis(&s, as, "d", at->d, false);
    t = axis(&s, as, "t", at->ctx, true);
    const Buffer *acc =
        result(&s, as,
               ex_mul(x, LOAD(e, n, h, t, p),
                      LOAD(at->cache, one, ex_idiv(x, h, at->group), ex_idiv(x, t, size),
                           ex_add(x, ex_mul(x, ex_mod(x, t, size), at->d), d))));

    Stage *out = stage(&s, "out", RED_NONE);
    n = axis(&s, out, "n", N, false), h = axis(&s, out, "h", at->heads, false);
    if (parts == 1) {
        d = axis(&s, out, "d", at->d, false);
        out->nstores = 1;
        out->store[0] = (Store){.buf = at->y,
                                .idx = {n, ex_add(x, ex_mul(x, h, at->d), d)},
                                .value = ex_div(x, LOAD(acc, n, h, zero, d), LOAD(l, n, h, zero))};
        return;
    }
    p = axis(&s, out, "p", P, false);
    d = axis(&s, out, "d", ex_add(x, at->d, ex_int(x, 2)), false);
    const Expr *last = ex_sub(x, at->d, one);
    const Expr *tail = ex_select(x, ex_eq(x, d, at->d), LOAD(m, n, h, p), LOAD(l, n, h, p));
    out->nstores = 1;
    out->store[0] = (Store){
        .buf = at->y,
        .idx = {n, h, p, d},
        .value = ex_select(x, ex_lt(x, d, at->d), LOAD(acc, n, h, p, ex_min(x, d, last)), tail)};
}

bool attention_nest(Arena *a, Exprs *x, const AttentionShape *s, const Profile *p, Nest **out,
                    i32 *dims, Err *err) {
    if (s->head_dim > 256 || s->heads % s->kv_heads)
        return err_set(err, ERR_SCHED_LIMIT,
                       "attention with %D heads of %D over %D key heads: heads of at most 256, a "
                       "multiple of the key heads",
                       s->heads, s->head_dim, s->kv_heads);
    Attention *at = NEW(a, Attention);
    Formula *f = NEW(a, Formula);
    *f = (Formula){.x = x, .name = s->parts > 1 ? "attention_part" : "attention"};
    bool sym = p->dims != 0;
    *at = (Attention){.s = *s,
                      .vec = p->vec > 0 && s->head_dim % p->vec == 0 ? p->vec : 1,
                      .slots = MAX2(p->vec, 1)};
    at->kv = dim(x, f, "KV", s->kv_heads, 256, 1, sym, dims);
    at->group = dim(x, f, "G", attention_group(s), 128, 1, sym, dims);
    at->d = dim(x, f, "D", s->head_dim, 256, at->vec, sym, dims);
    const Expr *size = ex_int(x, KV_BLOCK);
    at->blocks =
        dim(x, f, "BLOCKS", ceil_div(s->ctx, KV_BLOCK), (1 << 20) / KV_BLOCK, 1, sym, dims);
    at->ctx = sym ? ex_mul(x, at->blocks, size) : ex_int(x, s->ctx);
    at->heads = expr_simplify(x, ex_mul(x, at->kv, at->group));
    Var *n = var_new(x, "n", TY_I32, 1, sym && s->rows > 1 ? MENU_MAX_N : s->rows);
    at->n = n;
    f->sym[f->nsyms].var = n, f->sym[f->nsyms++].word = PARAM_N;
    const Expr *rows = s->rows == 1 ? ex_int(x, 1) : ex_var(x, n),
               *hd = expr_simplify(x, ex_mul(x, at->heads, at->d));
    at->q = arg(x, f, "q", TY_F32, 2, (const Expr *[]){rows, hd}, false);
    at->cache =
        arg(x, f, "cache", TY_F32, 4,
            (const Expr *[]){ex_int(x, 2), at->kv, at->blocks, ex_mul(x, at->d, size)}, false);
    at->y = s->parts == 1 ? arg(x, f, "y", TY_F32, 2, (const Expr *[]){rows, hd}, true)
                          : arg(x, f, "y", TY_F32, 4,
                                (const Expr *[]){rows, at->heads, ex_int(x, s->parts),
                                                 ex_add(x, at->d, ex_int(x, 2))},
                                true);
    const Expr *words = ex_add(x, ex_mul(x, rows, ex_int(x, ROW_WORDS)), ex_int(x, PARAM_ROWS));
    at->params = arg(x, f, "params", TY_I32, 1, &words, false);
    ((Buffer *)at->params)->lo = 0, ((Buffer *)at->params)->hi = sym ? (1 << 20) - 1 : s->ctx - 1;
    formula(x, at, f);
    // the defaults are a correct kernel on any device
    at->block = 8, at->lanes = 0, at->threads = at->turns = 1;
    Nest *nest = nest_new(a, f, p);
    nest->direct = attention_build;
    nest->direct_state = at;
    nest->direct_size = sizeof *at;
    *out = nest;
    return true;
}

// A block of the cache, keys and values, in workgroup memory, and a thread for each head of a
// group.
static bool attention_may_tile(const Attention *at, const Profile *p, i64 threads) {
    i64 words = 2 * KV_BLOCK * at->s.head_dim, group = attention_group(&at->s);
    return p->gpu && at->s.parts == 1 && words * 4 <= p->shared_bytes && group <= threads &&
           threads <= p->max_wg_size;
}

bool attention_set(Nest *n, Str key, i64 value, Err *e) {
    Attention *at = n->direct_state;
    const Profile *p = n->profile;
    if (str_eq(key, S("block")) && value >= 1 && value <= 64 && !(value & (value - 1)))
        at->block = value;
    else if (str_eq(key, S("threads")) && value >= 1 && value <= p->max_wg_size && p->gpu)
        at->threads = value;
    else if (str_eq(key, S("lanes")) && value >= 2 && value <= p->max_wg_size && p->gpu)
        at->lanes = value;
    else if (str_eq(key, S("turns")) && value >= 1 && value <= MAX_TURNS && p->gpu &&
             attention_group(&at->s) % value == 0)
        at->turns = value;
    else if (str_eq(key, S("tile")) && value >= 2 && attention_may_tile(at, p, value))
        at->tile = value, at->block = KV_BLOCK;
    else if (str_eq(key, S("ahead")) && (value == 0 || value == 1) && !p->gpu)
        at->ahead = value;
    else if (str_eq(key, S("rows")) && value >= 2 && value <= 16 && !p->gpu && at->s.parts == 1)
        at->rows = value;
    else
        return err_set(
            e, ERR_SCHED_ILLEGAL,
            "attention cannot set %S to %D here; block 1, 2, 4, ... 64, on a GPU threads, lanes "
            "and, where the context is whole, tile up to %D, turns up to 8 that divide the heads "
            "of a group, on a processor ahead 0 or 1, rows 2..16",
            key, value, p->max_wg_size);
    nest_log(n, "set %S %D", key, value);
    return true;
}

// ---- the rule -----------------------------------------------------------------------------------
enum { ATT_BLOCK, ATT_LANES, ATT_TURNS, ATT_THREADS, ATT_TILE, ATT_ROWS, ATT_AHEAD };

static bool match(const Nest *n) { return n->direct == attention_build; }

static bool apply(Nest *n, const i64 *p, Err *err) {
    RuleWriter w = {.t = n, .err = err, .ok = true};
    const Profile *prof = n->profile;
    const Attention *at = n->direct_state;
    if (!prof->gpu) {
        rule_line(&w, "set block %D", p[ATT_BLOCK]);
        if (p[ATT_ROWS] && at->s.parts == 1 && prof->vec > 1 && at->s.rows >= MANY_ROWS)
            rule_line(&w, "set rows %D", MIN2(prof->vec, 16));
        else if (p[ATT_AHEAD])
            rule_line(&w, "set ahead 1");
    } else if (p[ATT_TILE] && at->s.rows >= MANY_ROWS &&
               attention_may_tile(at, prof, p[ATT_TILE])) { // a workgroup shares a block
        rule_line(&w, "set tile %D", p[ATT_TILE]);
    } else if (p[ATT_LANES] > 1) { // a workgroup shares a head
        rule_line(&w, "set lanes %D", p[ATT_LANES]);
        rule_line(&w, "set turns %D", rule_divisor(attention_group(&at->s), p[ATT_TURNS]));
    } else {
        rule_line(&w, "set block %D", p[ATT_BLOCK]);
        rule_line(&w, "set threads %D", p[ATT_THREADS]);
    }
    return w.ok;
}

static void choose(const Nest *n, i64 *params) {
    const Attention *at = n->direct_state;
    if (profile_in_software(n->profile))
        params[ATT_BLOCK] = 4, params[ATT_LANES] = 1, params[ATT_TILE] = 0;
    else if (n->profile->subgroup >= 8)
        params[ATT_LANES] = n->profile->subgroup;
    // a block of the cache: its keys are a stream of memory, then its values
    if (!n->profile->gpu && at->s.rows < MANY_ROWS) params[ATT_BLOCK] = KV_BLOCK;
}

// On-line softmax over the cache.
const Rule rule_attention = {
    .name = "attention",
    .match = match,
    .apply = apply,
    .choose = choose,
    .param = {[ATT_BLOCK] = {"block", {8, 4, 16, 1, 32, 64}, 6},
              [ATT_LANES] = {"lanes", {32, 16, 64, 1}, 4},
              [ATT_TURNS] = {"turns", {8, 4, 2, 1}, 4},
              [ATT_THREADS] = {"threads", {16, 8, 32}, 3},
              [ATT_TILE] = {"tile", {64, 32, 128, 0}, 4},
              [ATT_ROWS] = {"rows", {1, 0}, 2},
              [ATT_AHEAD] = {"ahead", {1, 0}, 2}},
};
