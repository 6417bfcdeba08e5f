// loop/lower_sample.c: temperature, top-k and seed in integers: logits become fixed point once, and
// from there on sums are exact, so identical logits and seed choose the identical token on every
// device.
//
// - key: 20 bits, 2^20 - 1 minus the distance to the largest logit / temperature, in 2^-16 nats, at
//   most 16 nats;
// - digits: the top_k-th largest key, four bits at a time, by counting the keys >= each candidate
//   (ties at the end are kept);
// - weight: e^-distance in 2^-23 by two table look-ups and a shift; then sums of blocks of 256,
//   prefix sums, and two random numbers that choose the block and the token in it.
//
// Cast from f32 truncates, and a lone product is rounded the same everywhere: nothing here can be
// contracted.
#include "loop/lower_int.h"

enum {
    MENU_MAX_VOCAB = 1 << 20,
    KEY_TOP = (1 << SAMPLE_KEY_BITS) - 1,
    DIGITS = (1 << SAMPLE_DIGIT_BITS) - 1
};

typedef struct Vocab {
    const Expr *rows, *vocab, *blocks, *block;
} Vocab;

static Vocab vocab_of(Lower *l) {
    Exprs *x = l->x;
    Vocab v;
    v.rows = lower_rows(l, DIM_M);
    v.vocab = lower_dim(l, "V", l->g->vocab, 1, MENU_MAX_VOCAB, 1);
    v.block = lower_int(l, ARG_BLOCK);
    v.blocks = ex_idiv(x, ex_add(x, v.vocab, lower_int(l, ARG_BLOCK - 1)), v.block);
    return v;
}

static Buffer *arg1(Lower *l, int tensor, const char *name, Type t, const Expr *d0) {
    return lower_arg(l, tensor, name, t, 1, &d0);
}

static Buffer *arg2(Lower *l, int tensor, const char *name, Type t, const Expr *d0,
                    const Expr *d1) {
    const Expr *dims[2] = {d0, d1};
    return lower_arg(l, tensor, name, t, 2, dims);
}

// Counts are u32, which may wrap and so need no proof; where one becomes an index it is limited
// again.
static const Expr *counted(Exprs *x, const Expr *cond) {
    return ex_select(x, cond, ex_uint(x, 1), ex_uint(x, 0));
}

static const Expr *limited(Exprs *x, const Expr *count, u32 most) {
    return ex_cast(x, TY_I32, ex_min(x, count, ex_uint(x, most)));
}

// Element i of block b of a row over the vocabulary, `past` where it lies past the end.
static const Expr *in_block(Lower *l, const Vocab *v, const Buffer *buf, const Expr *m,
                            const Expr *b, const Expr *i, const Expr *past) {
    Exprs *x = l->x;
    const Expr *id = ex_add(x, ex_mul(x, b, v->block), i);
    const Expr *last = ex_sub(x, v->vocab, lower_int(l, 1));
    const Expr *value = lower_load(l, buf, m, ex_min(x, id, last));
    return ex_select(x, ex_le(x, id, last), value, past);
}

// What the search knows of row m: the threshold so far (0), or the place of the next digit (1).
static const Expr *known(Lower *l, int tensor, const Expr *rows, const Expr *m, int which) {
    return lower_load(l, arg2(l, tensor, "from", TY_I32, rows, lower_int(l, 2)), m,
                      lower_int(l, which));
}

static const Expr *threshold(Lower *l, int tensor, const Expr *rows, const Expr *m) {
    return known(l, tensor, rows, m, 0);
}

static const Expr *digit_place(Lower *l, int tensor, const Expr *rows, const Expr *m) {
    return ex_min(l->x, known(l, tensor, rows, m, 1),
                  lower_int(l, SAMPLE_KEY_BITS - SAMPLE_DIGIT_BITS));
}

// logit * 2^16 / temperature, truncated, within +-2^29 whatever the logit
static const Expr *fixed(Lower *l, const Expr *logit) {
    Exprs *x = l->x;
    const Expr *scaled = ex_mul(x, logit, ex_cast(x, TY_F32, lower_param(l, PARAM_INV_TEMP)));
    scaled = ex_max(x, ex_min(x, scaled, ex_f32(x, 0x1p29)), ex_f32(x, -0x1p29));
    const Expr *i = ex_cast(x, TY_I32, scaled);
    return ex_max(x, ex_min(x, i, lower_int(l, 1 << 29)), lower_int(l, -(1 << 29)));
}

bool lower_sample_key(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    Vocab v = vocab_of(l);
    const Buffer *logits = arg2(l, nd->in[0], "logits", TY_F32, v.rows, v.vocab);
    const Buffer *part = arg2(l, nd->in[1], "part", TY_F32, v.rows, v.blocks);
    Stage *s = lower_stage(l, "top");
    const Expr *m = lower_axis(l, s, "m", v.rows), *i = lower_red(l, s, "b", v.blocks);
    const Buffer *top = lower_temp(l, s, RED_MAX, lower_load(l, part, m, i));
    s = lower_stage(l, "out");
    const Expr *at[2] = {lower_axis(l, s, "m", v.rows), lower_axis(l, s, "v", v.vocab)};
    const Expr *most = lower_load(l, top, at[0], NULL);
    const Expr *logit = lower_load(l, logits, at[0], at[1]);
    const Expr *a = fixed(l, most), *b = fixed(l, logit);
    const Expr *away =
        ex_max(x, ex_min(x, ex_sub(x, a, b), lower_int(l, KEY_TOP)), lower_int(l, 0));
    const Expr *key = ex_sub(x, lower_int(l, KEY_TOP), away);
    key = ex_select(x, ex_le(x, logit, most), key, lower_int(l, 0)); // not a number: never chosen
    lower_store(s, arg2(l, nd->out, "y", TY_I32, v.rows, v.vocab), 2, at, key, NULL);
    return true;
}

bool lower_sample_count(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    Vocab v = vocab_of(l);
    const Expr *digits = lower_int(l, DIGITS);
    const Buffer *key = arg2(l, nd->in[0], "key", TY_I32, v.rows, v.vocab);
    Stage *s = lower_stage(l, "count");
    const Expr *m = lower_axis(l, s, "m", v.rows), *j = lower_axis(l, s, "j", digits);
    const Expr *b = lower_axis(l, s, "b", v.blocks), *i = lower_red(l, s, "i", v.block);
    const Expr *limit = threshold(l, nd->in[1], v.rows, m);
    const Expr *place = digit_place(l, nd->in[1], v.rows, m);
    const Expr *want = ex_add(x, limit, ex_shl(x, ex_add(x, j, lower_int(l, 1)), place));
    const Expr *k = in_block(l, &v, key, m, b, i, lower_int(l, -1));
    const Buffer *count = lower_temp(l, s, RED_SUM, counted(x, ex_le(x, want, k)));
    s = lower_stage(l, "out");
    const Expr *at[3] = {lower_axis(l, s, "m", v.rows), lower_axis(l, s, "j", digits),
                         lower_axis(l, s, "b", v.blocks)};
    const Expr *dims[3] = {v.rows, digits, v.blocks};
    lower_store(s, lower_arg(l, nd->out, "y", TY_I32, 3, dims), 3, at,
                limited(x, ex_load(x, count, at), ARG_BLOCK), NULL);
    return true;
}

bool lower_sample_digit(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    Vocab v = vocab_of(l);
    const Expr *digits = lower_int(l, DIGITS);
    const Expr *dims[3] = {v.rows, digits, v.blocks};
    const Buffer *count = lower_arg(l, nd->in[0], "count", TY_I32, 3, dims);
    Stage *s = lower_stage(l, "total");
    const Expr *m = lower_axis(l, s, "m", v.rows), *j = lower_axis(l, s, "j", digits);
    const Expr *at[3] = {m, j, lower_red(l, s, "b", v.blocks)};
    const Buffer *total = lower_temp(l, s, RED_SUM, ex_cast(x, TY_U32, ex_load(x, count, at)));

    // Counts fall as the digit grows, so the digit is how many candidates still have top_k keys.
    s = lower_stage(l, "digit");
    m = lower_axis(l, s, "m", v.rows);
    j = lower_red(l, s, "j", digits);
    const Expr *asked = lower_param(l, PARAM_TOP_K);
    const Expr *top_k =
        ex_select(x, ex_le(x, asked, lower_int(l, 0)), v.vocab, ex_min(x, asked, v.vocab));
    const Expr *enough = ex_le(x, ex_cast(x, TY_U32, top_k), lower_load(l, total, m, j));
    const Buffer *digit = lower_temp(l, s, RED_SUM, counted(x, enough));

    s = lower_stage(l, "out");
    m = lower_axis(l, s, "m", v.rows);
    const Expr *d = limited(x, lower_load(l, digit, m, NULL), DIGITS);
    const Expr *place = digit_place(l, nd->in[1], v.rows, m);
    const Expr *limit = ex_add(x, threshold(l, nd->in[1], v.rows, m), ex_shl(x, d, place));
    limit = ex_max(x, ex_min(x, limit, lower_int(l, KEY_TOP)), lower_int(l, 0));
    const Expr *lower =
        ex_max(x, ex_sub(x, place, lower_int(l, SAMPLE_DIGIT_BITS)), lower_int(l, 0));
    const Buffer *y = arg2(l, nd->out, "y", TY_I32, v.rows, lower_int(l, 2));
    lower_store(s, y, 2, (const Expr *[]){m, lower_int(l, 0)}, limit, NULL);
    lower_store(s, y, 2, (const Expr *[]){m, lower_int(l, 1)}, lower, NULL);
    return true;
}

// e^-(d/2^16): d * log2(e) with 26 fraction bits; ten of them choose 2^-a/32 * 2^-b/1024 from the
// table, whole ones shift.
bool lower_sample_weight(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    Vocab v = vocab_of(l);
    const Buffer *key = arg2(l, nd->in[0], "key", TY_I32, v.rows, v.vocab);
    const Buffer *table = arg1(l, nd->in[2], "exp2", TY_U32, lower_int(l, 64));
    Stage *s = lower_stage(l, "out");
    const Expr *at[2] = {lower_axis(l, s, "m", v.rows), lower_axis(l, s, "v", v.vocab)};
    const Expr *k = lower_load(l, key, at[0], at[1]);
    const Expr *d = ex_cast(x, TY_U32, ex_sub(x, lower_int(l, KEY_TOP), k));
    const Expr *turns =
        ex_mulhi(x, ex_shl(x, d, ex_uint(x, 11)), ex_uint(x, 3098164009u)); // log2(e) * 2^31
    const Expr *hi =
        ex_cast(x, TY_I32, ex_and(x, ex_shr(x, turns, ex_uint(x, 21)), ex_uint(x, 31)));
    const Expr *lo =
        ex_cast(x, TY_I32, ex_and(x, ex_shr(x, turns, ex_uint(x, 16)), ex_uint(x, 31)));
    const Expr *t0 = lower_load(l, table, hi, NULL);
    const Expr *t1 = lower_load(l, table, ex_add(x, lo, lower_int(l, 32)), NULL);
    const Expr *shift =
        ex_min(x, ex_add(x, ex_shr(x, turns, ex_uint(x, 26)), ex_uint(x, 9)), ex_uint(x, 31));
    const Expr *w = ex_shr(x, ex_mulhi(x, t0, t1), shift);
    const Expr *kept = ex_le(x, threshold(l, nd->in[1], v.rows, at[0]), k);
    kept = ex_land(x, kept, ex_lt(x, lower_int(l, 0), k)); // 16 nats away or more: nothing
    lower_store(s, arg2(l, nd->out, "y", TY_U32, v.rows, v.vocab), 2, at,
                ex_select(x, kept, w, ex_uint(x, 0)), NULL);
    return true;
}

bool lower_sample_sum(Lower *l, const Node *nd) {
    Vocab v = vocab_of(l);
    const Buffer *w = arg2(l, nd->in[0], "weight", TY_U32, v.rows, v.vocab);
    Stage *s = lower_stage(l, "sum");
    const Expr *m = lower_axis(l, s, "m", v.rows), *b = lower_axis(l, s, "b", v.blocks);
    const Expr *i = lower_red(l, s, "i", v.block);
    const Buffer *sum = lower_temp(l, s, RED_SUM, in_block(l, &v, w, m, b, i, ex_uint(l->x, 0)));
    s = lower_stage(l, "out");
    const Expr *at[2] = {lower_axis(l, s, "m", v.rows), lower_axis(l, s, "b", v.blocks)};
    lower_store(s, arg2(l, nd->out, "y", TY_U32, v.rows, v.blocks), 2, at,
                lower_load(l, sum, at[0], at[1]), NULL);
    return true;
}

// Random number `which` for the token after row m: a function of seed and position, nothing else.
static const Expr *mix(Exprs *x, const Expr *a) {
    a = ex_mul(x, ex_xor(x, a, ex_shr(x, a, ex_uint(x, 16))), ex_uint(x, 0x7feb352du));
    a = ex_mul(x, ex_xor(x, a, ex_shr(x, a, ex_uint(x, 15))), ex_uint(x, 0x846ca68bu));
    return ex_xor(x, a, ex_shr(x, a, ex_uint(x, 16)));
}

static const Expr *random_u32(Lower *l, const Vocab *v, const Expr *m, u32 which) {
    Exprs *x = l->x;
    const Expr *lo = ex_bitcast(x, TY_U32, lower_param(l, PARAM_SEED_LO));
    const Expr *hi = ex_bitcast(x, TY_U32, lower_param(l, PARAM_SEED_HI));
    const Expr *next = ex_bitcast(x, TY_U32, lower_row_field(l, v->rows, m, ROW_NEXT));
    const Expr *a = mix(x, ex_add(x, lo, ex_uint(x, 0x9e3779b9u)));
    a = mix(x, ex_add(x, ex_xor(x, a, hi), ex_uint(x, 0x85ebca6bu)));
    a = mix(x, ex_add(x, ex_xor(x, a, ex_mul(x, next, ex_uint(x, 2))),
                      ex_uint(x, 0xc2b2ae35u + which)));
    return a;
}

// How many of a row's prefix sums are at most random number `which`, as a share of their last one.
static const Buffer *passed(Lower *l, const Vocab *v, const char *name, const Buffer *prefix,
                            const Expr *n, u32 which) {
    Exprs *x = l->x;
    Stage *s = lower_stage(l, name);
    const Expr *m = lower_axis(l, s, "m", v->rows), *i = lower_red(l, s, "i", n);
    const Expr *all = lower_load(l, prefix, m, ex_sub(x, n, lower_int(l, 1)));
    const Expr *r = ex_mulhi(x, random_u32(l, v, m, which), all);
    return lower_temp(l, s, RED_SUM, counted(x, ex_le(x, lower_load(l, prefix, m, i), r)));
}

// A block's sum is at most 2^31; shifted so that all of them fit u32, and rounded up so that no
// weight is lost.
static const Buffer *block_prefix(Lower *l, const Node *nd, const Vocab *v) {
    Exprs *x = l->x;
    i64 down = 0;
    while ((((i64)1 << 31 >> down) + 1) * sample_blocks(l->g) > UINT32_MAX) down++;
    const Expr *shift = ex_cast(x, TY_U32, lower_dim(l, "down", down, 0, 24, 1));
    const Buffer *sum = arg2(l, nd->in[1], "sum", TY_U32, v->rows, v->blocks);
    Stage *s = lower_stage(l, "blocks");
    const Expr *m = lower_axis(l, s, "m", v->rows), *b = lower_axis(l, s, "b", v->blocks);
    const Expr *i = lower_red(l, s, "i", v->blocks);
    const Expr *carry = ex_sub(x, ex_shl(x, ex_uint(x, 1), shift), ex_uint(x, 1));
    const Expr *part = ex_shr(x, ex_add(x, lower_load(l, sum, m, i), carry), shift);
    return lower_temp(l, s, RED_SUM, ex_select(x, ex_le(x, i, b), part, ex_uint(x, 0)));
}

bool lower_sample_join(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    Vocab v = vocab_of(l);
    const Buffer *w = arg2(l, nd->in[0], "weight", TY_U32, v.rows, v.vocab);
    const Expr *ring_dim = lower_int(l, TOKEN_RING), *last = ex_sub(x, v.blocks, lower_int(l, 1));
    const Buffer *before = passed(l, &v, "block", block_prefix(l, nd, &v), v.blocks, 0);

    Stage *s = lower_stage(l, "within");
    const Expr *m = lower_axis(l, s, "m", v.rows), *i = lower_axis(l, s, "i", v.block),
               *j = lower_red(l, s, "j", v.block);
    const Expr *b = limited(x, lower_load(l, before, m, NULL), MENU_MAX_VOCAB / ARG_BLOCK);
    b = ex_max(x, ex_min(x, b, last), lower_int(l, 0));
    const Expr *part = in_block(l, &v, w, m, b, j, ex_uint(x, 0));
    const Buffer *prefix =
        lower_temp(l, s, RED_SUM, ex_select(x, ex_le(x, j, i), part, ex_uint(x, 0)));
    const Buffer *token = passed(l, &v, "token", prefix, v.block, 1);

    s = lower_stage(l, "out");
    m = lower_axis(l, s, "m", v.rows);
    const Expr *passes = limited(x, lower_load(l, before, m, NULL), MENU_MAX_VOCAB / ARG_BLOCK);
    b = ex_max(x, ex_min(x, passes, last), lower_int(l, 0));
    const Expr *at_i = limited(x, lower_load(l, token, m, NULL), ARG_BLOCK);
    const Expr *id = ex_add(x, ex_mul(x, b, v.block), at_i);
    id = ex_max(x, ex_min(x, id, ex_sub(x, v.vocab, lower_int(l, 1))), lower_int(l, 0));
    id = ex_select(x, ex_le(x, passes, last), id, v.vocab); // nothing has a weight: no token
    const Expr *at =
        ex_and(x, lower_row_field(l, v.rows, m, ROW_NEXT), lower_int(l, TOKEN_RING - 1));
    lower_store(s, lower_arg(l, nd->in[2], "ring", TY_I32, 1, &ring_dim), 1, &at, id, NULL);
    return true;
}
