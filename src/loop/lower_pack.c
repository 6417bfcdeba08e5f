// loop/lower_pack.c: activations as 8-bit numbers, what a device multiplies four at a time.
//
// pack: a row of K numbers becomes K/4 words of signed bytes, K/32 scales and K/32 sums: x[n, k] is
// about s * byte, s = max |x| / 127 over its block of 32, and the sum is s times that of the
// block's bytes (a weight's offset is multiplied by it). wide: 16-bit numbers 256 * high + low, all
// high bytes before the low ones. Which element is which byte follows the words of the weight that
// it will meet, whose fields then fall into the same bytes: of eight 4-bit fields the even ones
// where the word is masked, the odd ones where it is shifted down and masked; of four 8-bit fields
// each where it is. Where two fields 16 bits apart are multiplied at a time (`pairs`), the first
// one's byte is in the upper half.
#include "loop/lower_int.h"

typedef struct Place {
    const Expr *word, *byte; // of element k, both counted from the row's begin and from the word's
} Place;

static bool halves_swapped(const Profile *p) { return p->gpu && !p->dot4; }

static Place place_of(const Lower *l, i64 bits, const Expr *k) {
    Exprs *x = l->x;
    const Expr *two = ex_int(x, 2), *four = ex_int(x, 4), *eight = ex_int(x, 8);
    Place at = {ex_idiv(x, k, four), ex_mod(x, k, four)};
    if (bits == 8) return at;
    at.word = ex_add(x, ex_mul(x, ex_idiv(x, k, eight), two), ex_mod(x, k, two));
    if (halves_swapped(l->p)) k = ex_add(x, k, four);
    at.byte = ex_idiv(x, ex_mod(x, k, eight), two);
    return at;
}

// The element that byte j of a word is.
static const Expr *element_at(const Lower *l, i64 bits, const Expr *word, int j) {
    Exprs *x = l->x;
    const Expr *two = ex_int(x, 2);
    if (bits == 8) return ex_add(x, ex_mul(x, word, ex_int(x, 4)), ex_int(x, j));
    if (halves_swapped(l->p)) j = (j + 2) % 4;
    return ex_add(x, ex_add(x, ex_mul(x, ex_idiv(x, word, two), ex_int(x, 8)), ex_int(x, 2 * j)),
                  ex_mod(x, word, two));
}

static const OpAttr *attr_of(const Lower *l, int tensor) {
    return &l->g->nodes.at[l->g->tensors.at[tensor].node].attr;
}

bool lower_is_wide(const Lower *l, int tensor) { return attr_of(l, tensor)->wide != 0; }

static const Expr *words_in(Exprs *x, const Expr *k, i64 wide) {
    const Expr *blocks = ex_idiv(x, k, ex_int(x, PACK_BLOCK));
    return ex_mul(x, blocks, ex_int(x, pack_words(PACK_BLOCK, wide)));
}

// Where what a block has begins: 0 its bytes, 1 its low bytes, 2 its scale, 3 its sum.
enum { AT_BYTES, AT_LOW, AT_SCALE, AT_SUM };
static const Expr *begin_of(Exprs *x, const Expr *k, i64 wide, int which) {
    const Expr *blocks = ex_idiv(x, k, ex_int(x, PACK_BLOCK));
    static const i64 bytes = PACK_BLOCK / 4;
    i64 words = which < AT_SCALE ? which * bytes : bytes * (1 + wide) + which - AT_SCALE;
    return ex_mul(x, blocks, ex_int(x, words));
}

const Expr *lower_packed(Lower *l, int tensor, bool low, const Expr *cols, const Expr *n,
                         const Expr *k) {
    Exprs *x = l->x;
    const OpAttr *attr = attr_of(l, tensor);
    Place at = place_of(l, attr->bits, k);
    const Expr *i = ex_add(x, begin_of(x, cols, attr->wide, low ? AT_LOW : AT_BYTES), at.word);
    const Expr *word = lower_read(l, tensor, "x", words_in(x, cols, attr->wide), n, i);
    const Expr *up = ex_sub(x, ex_int(x, 24), ex_mul(x, at.byte, ex_int(x, 8)));
    const Expr *top = ex_cast(x, TY_I32, ex_shl(x, word, ex_cast(x, TY_U32, up)));
    return ex_shr(x, top, ex_uint(x, 24));
}

static const Expr *number(Lower *l, int tensor, const Expr *cols, const Expr *n, const Expr *block,
                          int which) {
    Exprs *x = l->x;
    i64 wide = attr_of(l, tensor)->wide;
    const Expr *at = ex_add(x, begin_of(x, cols, wide, which), block);
    return ex_bitcast(x, TY_F32, lower_read(l, tensor, "x", words_in(x, cols, wide), n, at));
}

const Expr *lower_packed_scale(Lower *l, int tensor, const Expr *cols, const Expr *n,
                               const Expr *block) {
    return number(l, tensor, cols, n, block, AT_SCALE);
}

const Expr *lower_packed_sum(Lower *l, int tensor, const Expr *cols, const Expr *n,
                             const Expr *block) {
    return number(l, tensor, cols, n, block, AT_SUM);
}

// The nearest whole number of steps, as f32.
static const Expr *rounded(Exprs *x, const Expr *v, const Expr *inverse) {
    return ex_un(x, EX_FLOOR, ex_add(x, ex_mul(x, v, inverse), ex_f32(x, 0.5)));
}

// most / top; what a block of zeros is divided by does not matter.
static const Expr *inverse_of(Exprs *x, const Expr *top, double most) {
    const Expr *some = ex_lt(x, ex_f32(x, 0), top);
    return ex_div(x, ex_f32(x, most), ex_select(x, some, top, ex_f32(x, 1)));
}

bool lower_pack(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    const Tensor *in = &l->g->tensors.at[nd->in[0]];
    i64 wide = nd->attr.wide;
    const double most = wide ? 127 * 256 : 127;
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
    const Expr *inverse = inverse_of(x, lower_load(l, top, n, b), most);
    const Buffer *sum = lower_temp(l, s, RED_SUM, rounded(x, v, inverse));

    s = lower_stage(l, "out");
    n = lower_axis(l, s, "n", rows);
    b = lower_axis(l, s, "b", blocks);
    const Expr *w = lower_axis(l, s, "w", ex_int(x, PACK_BLOCK / 4));
    const Expr *word[2] = {ex_uint(x, 0), ex_uint(x, 0)}; // the bytes, or high ones and low ones
    const Expr *largest = lower_load(l, top, n, b);
    inverse = inverse_of(x, largest, most);
    const Expr *first = ex_add(x, ex_mul(x, b, ex_int(x, PACK_BLOCK / 4)), w);
    for (int i = 0; i < 4; i++) {
        v = lower_read(l, nd->in[0], "x", k, n, element_at(l, nd->attr.bits, first, i));
        const Expr *whole = ex_cast(x, TY_U32, ex_cast(x, TY_I32, rounded(x, v, inverse)));
        const Expr *byte[2] = {whole, whole};
        // whole = 256 * high + low, low from -128 to 127: the low byte is that of whole
        if (wide) byte[0] = ex_shr(x, ex_add(x, whole, ex_uint(x, 128)), ex_uint(x, 8));
        for (int p = 0; p <= wide; p++) {
            const Expr *bits = ex_and(x, byte[p], ex_uint(x, 255));
            word[p] = ex_or(x, word[p], ex_shl(x, bits, ex_uint(x, 8 * (u32)i)));
        }
    }
    const Expr *dims[2] = {rows, words_in(x, k, wide)}, *idx[2] = {n, NULL};
    const Buffer *y = lower_arg(l, nd->out, "y", TY_U32, 2, dims);
    for (int p = 0; p <= wide; p++) {
        idx[1] = ex_add(x, begin_of(x, k, wide, p), first);
        lower_store(s, y, 2, idx, word[p], NULL);
    }
    const Expr *scale = ex_mul(x, largest, ex_f32(x, 1 / most)), *once = ex_eq(x, w, ex_int(x, 0));
    if (l->unscaled == nd->in[0]) scale = ex_mul(x, scale, lower_row_scale(l, n));
    idx[1] = ex_add(x, begin_of(x, k, wide, AT_SCALE), b);
    lower_store(s, y, 2, idx, ex_bitcast(x, TY_U32, scale), once);
    idx[1] = ex_add(x, begin_of(x, k, wide, AT_SUM), b);
    lower_store(s, y, 2, idx, ex_bitcast(x, TY_U32, ex_mul(x, scale, lower_load(l, sum, n, b))),
                once);
    return true;
}
