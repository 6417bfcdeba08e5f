// loop/lower_argmax.c: the greedy choice: maxima of blocks of logits, then the smallest id that has
// the largest.
//
// Comparisons only, so every device that has the same logits chooses the same token. A NaN equals
// nothing: where no logit is the largest, the id is the vocabulary's size, which the host takes for
// the error that it is, and who reads the ring keeps it inside.
#include "loop/lower_int.h"

enum { MENU_MAX_VOCAB = 1 << 20 };

typedef struct Logits {
    const Expr *rows, *vocab, *blocks, *block;
    const Buffer *buf;
} Logits;

static Logits logits_arg(Lower *l, int tensor) {
    Exprs *x = l->x;
    Logits g;
    g.rows = lower_rows(l, DIM_M);
    g.vocab = lower_dim(l, "V", l->g->vocab, 1, MENU_MAX_VOCAB, 1);
    g.block = lower_int(l, ARG_BLOCK);
    g.blocks = ex_idiv(x, ex_add(x, g.vocab, lower_int(l, ARG_BLOCK - 1)), g.block);
    const Expr *dims[2] = {g.rows, g.vocab};
    g.buf = lower_arg(l, tensor, "logits", TY_F32, 2, dims);
    return g;
}

// Id i of block b; past the end, the last id again.
static const Expr *id_at(Lower *l, const Logits *g, const Expr *b, const Expr *i) {
    Exprs *x = l->x;
    const Expr *id = ex_add(x, ex_mul(x, b, g->block), i);
    return ex_min(x, id, ex_sub(x, g->vocab, lower_int(l, 1)));
}

bool lower_argmax_part(Lower *l, const Node *nd) {
    Logits g = logits_arg(l, nd->in[0]);
    const Expr *dims[2] = {g.rows, g.blocks};
    Stage *s = lower_stage(l, "top");
    const Expr *m = lower_axis(l, s, "m", g.rows), *b = lower_axis(l, s, "b", g.blocks);
    const Expr *i = lower_red(l, s, "i", g.block);
    const Buffer *top = lower_temp(l, s, RED_MAX, lower_load(l, g.buf, m, id_at(l, &g, b, i)));
    Stage *o = lower_stage(l, "out");
    const Expr *at[2] = {lower_axis(l, o, "m", g.rows), lower_axis(l, o, "b", g.blocks)};
    lower_store(o, lower_arg(l, nd->out, "y", TY_F32, 2, dims), 2, at,
                lower_load(l, top, at[0], at[1]), NULL);
    return l->gr->nnodes == 1;
}

bool lower_argmax_join(Lower *l, const Node *nd) {
    Exprs *x = l->x;
    Logits g = logits_arg(l, nd->in[0]);
    const Expr *dims[2] = {g.rows, g.blocks}, *ring_dim = lower_int(l, TOKEN_RING);
    const Buffer *part = lower_arg(l, nd->in[1], "part", TY_F32, 2, dims);
    Buffer *ring = lower_arg(l, nd->in[2], "ring", TY_I32, 1, &ring_dim);
    const Expr *last_block = ex_sub(x, g.blocks, lower_int(l, 1));

    Stage *s = lower_stage(l, "top");
    const Expr *m = lower_axis(l, s, "m", g.rows), *b = lower_red(l, s, "b", g.blocks);
    const Buffer *top = lower_temp(l, s, RED_MAX, lower_load(l, part, m, b));

    s = lower_stage(l, "block");
    m = lower_axis(l, s, "m", g.rows);
    b = lower_red(l, s, "b", g.blocks);
    const Expr *is_top = ex_eq(x, lower_load(l, part, m, b), lower_load(l, top, m, NULL));
    const Buffer *block = lower_temp(l, s, RED_MIN, ex_select(x, is_top, b, last_block));

    s = lower_stage(l, "id");
    m = lower_axis(l, s, "m", g.rows);
    const Expr *i = lower_red(l, s, "i", g.block);
    const Expr *bm =
        ex_max(x, ex_min(x, lower_load(l, block, m, NULL), last_block), lower_int(l, 0));
    const Expr *id = id_at(l, &g, bm, i);
    is_top = ex_eq(x, lower_load(l, g.buf, m, id), lower_load(l, top, m, NULL));
    const Buffer *best = lower_temp(l, s, RED_MIN, ex_select(x, is_top, id, g.vocab));

    s = lower_stage(l, "out");
    m = lower_axis(l, s, "m", g.rows);
    const Expr *next = lower_row_field(l, g.rows, m, ROW_NEXT);
    const Expr *at = ex_and(x, next, lower_int(l, TOKEN_RING - 1));
    const Expr *token =
        ex_max(x, ex_min(x, lower_load(l, best, m, NULL), g.vocab), lower_int(l, 0));
    lower_store(s, ring, 1, &at, token, NULL);
    return l->gr->nnodes == 1;
}

// The parts pass puts smaller operators in their place before anything is lowered.
bool lower_argmax(Lower *l, const Node *nd) {
    (void)l;
    (void)nd;
    return false;
}
bool lower_sample(Lower *l, const Node *nd) {
    (void)l;
    (void)nd;
    return false;
}
