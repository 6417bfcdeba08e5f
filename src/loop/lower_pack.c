// loop/lower_pack.c: activations as 8-bit numbers, what a device multiplies four at a time.
//
// pack: a row of K numbers becomes K/4 words of signed bytes, K/32 scales and K/32 sums: x[n, k] is
// about s * byte, s = max |x| / 127 over its block of 32, and the sum is s times that of the
// block's bytes (a weight's offset is multiplied by it). Which element is which byte follows the
// words of the weight that it will meet, whose fields then fall into the same bytes: of eight 4-bit
// fields the even ones where the word is masked, the odd ones where it is shifted down and masked;
// of four 8-bit fields each where it is.
#include "loop/lower_int.h"

typedef struct Place {
    const Expr *word, *byte; // of element k, both counted from the row's begin and from the word's
} Place;

static Place place_of(Exprs *x, i64 bits, const Expr *k) {
    const Expr *two = ex_int(x, 2), *four = ex_int(x, 4), *eight = ex_int(x, 8);
    if (bits == 8) return (Place){ex_idiv(x, k, four), ex_mod(x, k, four)};
    return (Place){ex_add(x, ex_mul(x, ex_idiv(x, k, eight), two), ex_mod(x, k, two)),
                   ex_idiv(x, ex_mod(x, k, eight), two)};
}

// The element that byte j of a word is.
static const Expr *element_at(Exprs *x, i64 bits, const Expr *word, int j) {
    const Expr *two = ex_int(x, 2);
    if (bits == 8) return ex_add(x, ex_mul(x, word, ex_int(x, 4)), ex_int(x, j));
    return ex_add(x, ex_add(x, ex_mul(x, ex_idiv(x, word, two), ex_int(x, 8)), ex_int(x, 2 * j)),
                  ex_mod(x, word, two));
}

static const Expr *words_in(Exprs *x, const Expr *k) {
    const Expr *blocks = ex_idiv(x, k, ex_int(x, PACK_BLOCK));
    return ex_mul(x, blocks, ex_int(x, pack_words(PACK_BLOCK)));
}

// Number `which` of what each block has: 0 its scale, 1 its sum.
static const Expr *of_block(Exprs *x, const Expr *k, int which, const Expr *block) {
    const Expr *blocks = ex_idiv(x, k, ex_int(x, PACK_BLOCK));
    return ex_add(x, ex_mul(x, blocks, ex_int(x, PACK_BLOCK / 4 + which)), block);
}

const Expr *lower_packed(Lower *l, int tensor, const Expr *cols, const Expr *n, const Expr *k) {
    Exprs *x = l->x;
    i64 bits = l->g->nodes.at[l->g->tensors.at[tensor].node].attr.bits;
    const Expr *all = words_in(x, cols), *block = ex_idiv(x, k, ex_int(x, PACK_BLOCK));
    const Expr *scale =
        ex_bitcast(x, TY_F32, lower_read(l, tensor, "x", all, n, of_block(x, cols, 0, block)));
    Place at = place_of(x, bits, k);
    const Expr *word = lower_read(l, tensor, "x", all, n, at.word);
    const Expr *up = ex_sub(x, ex_int(x, 24), ex_mul(x, at.byte, ex_int(x, 8)));
    const Expr *top = ex_cast(x, TY_I32, ex_shl(x, word, ex_cast(x, TY_U32, up)));
    return ex_mul(x, scale, ex_cast(x, TY_F32, ex_shr(x, top, ex_uint(x, 24))));
}

const Expr *lower_packed_sum(Lower *l, int tensor, const Expr *cols, const Expr *n,
                             const Expr *block) {
    Exprs *x = l->x;
    const Expr *at = of_block(x, cols, 1, block);
    return ex_bitcast(x, TY_F32, lower_read(l, tensor, "x", words_in(x, cols), n, at));
}

// The nearest whole number of steps, as f32.
static const Expr *rounded(Exprs *x, const Expr *v, const Expr *inverse) {
    return ex_un(x, EX_FLOOR, ex_add(x, ex_mul(x, v, inverse), ex_f32(x, 0.5)));
}

// 127 / top; what a block of zeros is divided by does not matter.
static const Expr *inverse_of(Exprs *x, const Expr *top) {
    const Expr *some = ex_lt(x, ex_f32(x, 0), top);
    return ex_div(x, ex_f32(x, 127), ex_select(x, some, top, ex_f32(x, 1)));
}

bool lower_pack(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    const Tensor *in = &l->g->tensors.at[nd->in[0]];
    const Expr *rows = lower_rows(l, in->dim[0]), *size = ex_int(x, PACK_BLOCK);
    const Expr *k = lower_dim(l, "K", in->dim[1].c, PACK_BLOCK, 1 << 16, PACK_BLOCK);
    const Expr *blocks = ex_idiv(x, k, size);

    Stage *s = lower_stage(l, "top");
    const Expr *n = lower_axis(l, s, "n", rows), *b = lower_axis(l, s, "b", blocks);
    const Expr *j = lower_red(l, s, "j", size);
    const Expr *v = lower_read(l, nd->in[0], "x", k, n, ex_add(x, ex_mul(x, b, size), j));
    const Buffer *top = lower_temp(l, s, RED_MAX, ex_max(x, v, ex_sub(x, ex_f32(x, 0), v)));

    s = lower_stage(l, "sum");
    n = lower_axis(l, s, "n", rows);
    b = lower_axis(l, s, "b", blocks);
    j = lower_red(l, s, "j", size);
    v = lower_read(l, nd->in[0], "x", k, n, ex_add(x, ex_mul(x, b, size), j));
    const Buffer *sum =
        lower_temp(l, s, RED_SUM, rounded(x, v, inverse_of(x, lower_load(l, top, n, b))));

    s = lower_stage(l, "out");
    n = lower_axis(l, s, "n", rows);
    b = lower_axis(l, s, "b", blocks);
    const Expr *w = lower_axis(l, s, "w", ex_int(x, PACK_BLOCK / 4)), *word = ex_uint(x, 0);
    const Expr *most = lower_load(l, top, n, b), *inverse = inverse_of(x, most);
    const Expr *first = ex_add(x, ex_mul(x, b, ex_int(x, PACK_BLOCK / 4)), w);
    for (int i = 0; i < 4; i++) {
        v = lower_read(l, nd->in[0], "x", k, n, element_at(x, nd->attr.bits, first, i));
        const Expr *whole = ex_cast(x, TY_U32, ex_cast(x, TY_I32, rounded(x, v, inverse)));
        word = ex_or(x, word, ex_shl(x, ex_and(x, whole, ex_uint(x, 255)), ex_uint(x, 8 * (u32)i)));
    }
    const Expr *dims[2] = {rows, words_in(x, k)}, *idx[2] = {n, first};
    const Buffer *y = lower_arg(l, nd->out, "y", TY_U32, 2, dims);
    lower_store(s, y, 2, idx, word, NULL);
    const Expr *scale = ex_mul(x, most, ex_f32(x, 1.0 / 127)), *once = ex_eq(x, w, ex_int(x, 0));
    idx[1] = of_block(x, k, 0, b);
    lower_store(s, y, 2, idx, ex_bitcast(x, TY_U32, scale), once);
    idx[1] = of_block(x, k, 1, b);
    lower_store(s, y, 2, idx, ex_bitcast(x, TY_U32, ex_mul(x, scale, lower_load(l, sum, n, b))),
                once);
    return true;
}
