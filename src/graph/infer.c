// graph/infer.c: the result of each operator from its operands, one function a row of ops.def.
//
// The same functions serve the builder, the reader and the verifier, so a shape rule is written
// once. They check everything that lowering relies on; an operand out of a hostile text file gets
// no further than this.
#include "graph/graph.h"

typedef struct Infer {
    const Graph *g;
    const Node *nd;
    const Tensor *in[6];
    Tensor *out;
    Err *err;
} Infer;

// A page's graphs are a builder's, whose misfit traps in graph_node: it carries no words for one.
static bool misfit(const Infer *c, ErrId id, const char *what) {
#if defined(HOB_PAGE)
    return (void)c, (void)id, (void)what, false;
#else
    return err_set(c->err, id, "%s: %s (%s)", op_name(c->nd->op), what, op_doc(c->nd->op));
#endif
}

static bool shape(const Infer *c, const char *what) { return misfit(c, ERR_GRAPH_SHAPE, what); }

static bool kind(const Infer *c, const char *what) { return misfit(c, ERR_GRAPH_TYPE, what); }

static bool result(const Infer *c, Type type, int nd, Dim d0, Dim d1, Dim d2) {
    Tensor *t = c->out;
    t->kind = TEN_VALUE;
    t->type = type;
    t->nd = nd;
    t->dim[0] = d0;
    t->dim[1] = d1;
    t->dim[2] = d2;
    t->lo = type == TY_U32 ? 0 : INT32_MIN;
    t->hi = type == TY_U32 ? UINT32_MAX : INT32_MAX;
    return true;
}

static bool ranged(const Infer *c, i64 lo, i64 hi) {
    c->out->lo = lo;
    c->out->hi = hi;
    return true;
}

static bool is_rows(Dim d) { return dim_eq(d, DIM_N) || dim_eq(d, DIM_M); }
static bool is_const(Dim d) {
    return d.cn == 0 && d.cm == 0 && d.ct == 0 && d.c > 0 && d.c <= INT32_MAX;
}

// An activation: f32 rows x columns.
static bool is_act(const Tensor *t) {
    return t->type == TY_F32 && t->nd == 2 && is_rows(t->dim[0]) && is_const(t->dim[1]) &&
           (t->kind == TEN_VALUE || t->kind == TEN_LOGITS);
}
static bool is_vec(const Tensor *t) {
    return t->kind == TEN_WEIGHT && t->nd == 1 && t->weight->encoding == QUANT_F32;
}
static bool is_matrix(const Tensor *t) { return t->kind == TEN_WEIGHT && t->nd == 2; }
static bool is_logits(const Infer *c, const Tensor *t) {
    return t->type == TY_F32 && t->nd == 2 && dim_eq(t->dim[0], DIM_M) &&
           dim_eq(t->dim[1], dim_const(c->g->vocab)) &&
           (t->kind == TEN_LOGITS || t->kind == TEN_VALUE);
}
// Rows m of `type`; nd and the sizes of the other dimensions as given (0: unused).
static bool is_m(const Tensor *t, Type type, int nd, i64 d1, i64 d2) {
    return t->kind == TEN_VALUE && t->type == type && t->nd == nd && dim_eq(t->dim[0], DIM_M) &&
           (nd < 2 || dim_eq(t->dim[1], dim_const(d1))) &&
           (nd < 3 || dim_eq(t->dim[2], dim_const(d2)));
}

static bool infer_embed(const Infer *c) {
    if (!is_matrix(c->in[0])) return kind(c, "the table must be a weight of two dimensions");
    if (c->in[1]->kind != TEN_RING) return kind(c, "the second operand must be the token ring");
    if (c->in[0]->dim[0].c < c->g->vocab)
        return shape(c, "the table has fewer rows than the vocabulary");
    return result(c, TY_F32, 2, DIM_N, c->in[0]->dim[1], dim_const(0));
}

static bool infer_rms_norm(const Infer *c) {
    if (!is_act(c->in[0])) return kind(c, "x must be f32 rows");
    if (!is_vec(c->in[1])) return kind(c, "the gain must be an f32 vector");
    if (!dim_eq(c->in[0]->dim[1], c->in[1]->dim[0]))
        return shape(c, "x and the gain differ in length");
    if (!(c->nd->attr.eps >= 0 && c->nd->attr.eps < 1)) return shape(c, "eps must be from 0 to 1");
    return result(c, TY_F32, 2, c->in[0]->dim[0], c->in[0]->dim[1], dim_const(0));
}

static bool is_packed(const Tensor *t) {
    return t->type == TY_U32 && t->nd == 2 && is_rows(t->dim[0]) && is_const(t->dim[1]) &&
           t->kind == TEN_VALUE;
}

static bool infer_pack(const Infer *c) {
    const Tensor *x = c->in[0];
    if (!is_act(x)) return kind(c, "x must be f32 rows");
    if (x->dim[1].c % PACK_BLOCK) return shape(c, "its columns are not whole blocks of 32");
    if (c->nd->attr.bits != 4 && c->nd->attr.bits != 8) return shape(c, "bits must be 4 or 8");
    if (c->nd->attr.wide < 0 || c->nd->attr.wide > 1) return shape(c, "wide must be 0 or 1");
    return result(c, TY_U32, 2, x->dim[0], dim_const(pack_words(x->dim[1].c, c->nd->attr.wide)),
                  dim_const(0));
}

static bool infer_matmul(const Infer *c) {
    const Tensor *x = c->in[0];
    if (!is_act(x) && !is_packed(x)) return kind(c, "x must be f32 rows, or packed ones");
    if (!is_matrix(c->in[1])) return kind(c, "w must be a weight of two dimensions");
    i64 k = c->in[1]->dim[1].c, cols = k;
    if (is_packed(x)) {
        const Node *from = x->node < 0 ? NULL : &c->g->nodes.at[x->node];
        if (k % PACK_BLOCK || !from || from->op != OP_pack)
            return kind(c, "what is packed must come from pack");
        cols = pack_words(k, from->attr.wide);
    }
    if (x->dim[1].c != cols) return shape(c, "x and w differ in their inner size");
    return result(c, TY_F32, 2, c->in[0]->dim[0], c->in[1]->dim[0], dim_const(0));
}

static bool infer_add(const Infer *c) {
    const Tensor *a = c->in[0], *b = c->in[1];
    if (!is_act(a)) return kind(c, "the first operand must be f32 rows");
    if (!is_act(b) && !is_vec(b))
        return kind(c, "the second operand must be f32 rows or a row vector");
    if (is_act(b) && !dim_eq(a->dim[0], b->dim[0])) return shape(c, "the operands differ in rows");
    if (!dim_eq(a->dim[1], b->dim[b->nd - 1])) return shape(c, "the operands differ in columns");
    return result(c, TY_F32, 2, a->dim[0], a->dim[1], dim_const(0));
}

static bool infer_silu_mul(const Infer *c) {
    if (!is_act(c->in[0]) || !is_act(c->in[1])) return kind(c, "the operands must be f32 rows");
    if (!dim_eq(c->in[0]->dim[0], c->in[1]->dim[0]) || !dim_eq(c->in[0]->dim[1], c->in[1]->dim[1]))
        return shape(c, "the operands differ in shape");
    return result(c, TY_F32, 2, c->in[0]->dim[0], c->in[0]->dim[1], dim_const(0));
}

static bool infer_silu_mul_pair(const Infer *c) {
    if (!is_act(c->in[0])) return kind(c, "the operand must be f32 rows");
    if (c->in[0]->dim[1].c % 2 != 0) return shape(c, "its columns are not pairs");
    return result(c, TY_F32, 2, c->in[0]->dim[0], dim_const(c->in[0]->dim[1].c / 2), dim_const(0));
}

static bool infer_rope_table(const Infer *c) {
    const Tensor *f = c->in[0];
    if (f->kind != TEN_CONST || f->type != TY_U32 || f->nd != 1)
        return kind(c, "freq must be a u32 constant");
    return result(c, TY_F32, 2, DIM_N, dim_const(2 * f->dim[0].c), dim_const(0));
}

static bool head_attr(const Infer *c, i64 columns) {
    const OpAttr *a = &c->nd->attr;
    if (a->head_dim < 1 || a->head_dim > 1024) return shape(c, "head_dim must be from 1 to 1024");
    if (a->heads < 1 || a->heads > 65536 || a->heads * a->head_dim != columns)
        return shape(c, "heads * head_dim is not the number of columns");
    return true;
}

static bool is_table(const Infer *c, const Tensor *t) {
    return is_act(t) && dim_eq(t->dim[0], DIM_N) && t->dim[1].c == c->nd->attr.rot_dim;
}
static bool rot_attr(const Infer *c, const Tensor *table) {
    const OpAttr *a = &c->nd->attr;
    if (a->rot_dim < 2 || a->rot_dim % 2 != 0 || a->rot_dim > a->head_dim || a->head_dim % 2 != 0)
        return shape(c, "rot_dim must be even and at most head_dim");
    if (!is_table(c, table)) return shape(c, "the table must have rot_dim columns");
    return true;
}
// A cache holds keys then values: [2 * kv_heads][kv_slots(ctx)][head_dim].
static bool cache_attr(const Infer *c, const Tensor *cache) {
    const OpAttr *a = &c->nd->attr;
    if (cache->kind != TEN_CACHE || cache->nd != 3) return kind(c, "it needs a cache");
    if (a->kv_heads < 1 || !dim_eq(cache->dim[0], dim_const(2 * a->kv_heads)) ||
        !dim_eq(cache->dim[1], dim_const(kv_slots(c->g->ctx))) ||
        !dim_eq(cache->dim[2], dim_const(a->head_dim)))
        return shape(c, "the cache must be [2 * kv_heads, ctx rounded up to 16, head_dim]");
    return true;
}

static bool infer_rope(const Infer *c) {
    const Tensor *x = c->in[0];
    if (!is_act(x) || !dim_eq(x->dim[0], DIM_N)) return kind(c, "x must be f32 rows n");
    if (!head_attr(c, x->dim[1].c) || !rot_attr(c, c->in[1])) return false;
    return result(c, TY_F32, 2, x->dim[0], x->dim[1], dim_const(0));
}

static bool infer_append(const Infer *c) {
    const Tensor *x = c->in[0];
    const OpAttr *a = &c->nd->attr;
    if (!is_act(x) || !dim_eq(x->dim[0], DIM_N)) return kind(c, "x must be f32 rows n");
    if (a->head_dim < 1 || a->head_dim > 1024) return shape(c, "head_dim must be from 1 to 1024");
    if (!cache_attr(c, c->in[1])) return false;
    if (a->kv_heads * a->head_dim != x->dim[1].c)
        return shape(c, "x is not kv_heads * head_dim wide");
    return true;
}

static bool infer_rope_append(const Infer *c) {
    const Tensor *x = c->in[0];
    const OpAttr *a = &c->nd->attr;
    if (!is_act(x) || !dim_eq(x->dim[0], DIM_N)) return kind(c, "x must be f32 rows n");
    if (a->head_dim < 1 || a->head_dim > 1024 || a->heads < 1 || a->heads > 65536)
        return shape(c, "heads or head_dim is out of range");
    if (!cache_attr(c, c->in[2]) || !rot_attr(c, c->in[1])) return false;
    if ((a->heads + 2 * a->kv_heads) * a->head_dim != x->dim[1].c)
        return shape(c, "x is not (heads + 2 * kv_heads) * head_dim wide");
    return result(c, TY_F32, 2, DIM_N, dim_const(a->heads * a->head_dim), dim_const(0));
}

static bool infer_attention(const Infer *c) {
    const Tensor *q = c->in[0];
    if (!is_act(q) || !dim_eq(q->dim[0], DIM_N)) return kind(c, "q must be f32 rows n");
    if (!head_attr(c, q->dim[1].c) || !cache_attr(c, c->in[1])) return false;
    if (c->nd->attr.heads % c->nd->attr.kv_heads != 0)
        return shape(c, "heads is not a multiple of kv_heads");
    return result(c, TY_F32, 2, DIM_N, q->dim[1], dim_const(0));
}

static bool infer_attention_part(const Infer *c) {
    const OpAttr *a = &c->nd->attr;
    if (!infer_attention(c)) return false;
    if (a->parts < 2 || a->parts > 64) return shape(c, "parts must be from 2 to 64");
    return result(c, TY_F32, 3, DIM_N, dim_const(a->heads * a->parts), dim_const(a->head_dim + 2));
}

static bool infer_attention_join(const Infer *c) {
    const Tensor *x = c->in[0];
    const OpAttr *a = &c->nd->attr;
    if (x->kind != TEN_VALUE || x->type != TY_F32 || x->nd != 3)
        return kind(c, "it needs attention_part's result");
    if (a->heads < 1 || a->parts < 2 || a->head_dim < 1 || x->dim[1].c != a->heads * a->parts ||
        x->dim[2].c != a->head_dim + 2)
        return shape(c, "heads, parts or head_dim do not fit the parts");
    return result(c, TY_F32, 2, x->dim[0], dim_const(a->heads * a->head_dim), dim_const(0));
}

static bool infer_take_rows(const Infer *c) {
    if (!is_act(c->in[0]) || !dim_eq(c->in[0]->dim[0], DIM_N))
        return kind(c, "x must be f32 rows n");
    return result(c, TY_F32, 2, DIM_M, c->in[0]->dim[1], dim_const(0));
}

static bool infer_argmax(const Infer *c) {
    if (!is_logits(c, c->in[0])) return kind(c, "it needs m x vocab logits");
    if (c->in[1]->kind != TEN_RING) return kind(c, "it needs the token ring");
    return true;
}

static bool infer_argmax_part(const Infer *c) {
    if (!is_logits(c, c->in[0])) return kind(c, "it needs m x vocab logits");
    return result(c, TY_F32, 2, DIM_M, dim_const(sample_blocks(c->g)), dim_const(0));
}

static bool infer_argmax_join(const Infer *c) {
    if (!is_logits(c, c->in[0])) return kind(c, "it needs m x vocab logits");
    if (!is_m(c->in[1], TY_F32, 2, sample_blocks(c->g), 0))
        return kind(c, "it needs argmax_part's result");
    if (c->in[2]->kind != TEN_RING) return kind(c, "it needs the token ring");
    return true;
}

static bool infer_sample(const Infer *c) { return infer_argmax(c); }

static bool infer_sample_key(const Infer *c) {
    if (!is_logits(c, c->in[0])) return kind(c, "it needs m x vocab logits");
    if (!is_m(c->in[1], TY_F32, 2, sample_blocks(c->g), 0))
        return kind(c, "it needs argmax_part's result");
    return result(c, TY_I32, 2, DIM_M, dim_const(c->g->vocab), dim_const(0)) &&
           ranged(c, 0, (1 << SAMPLE_KEY_BITS) - 1);
}

// A threshold and the place of the next digit. Before the first digit it is nobody's result: a
// constant.
static bool is_threshold(const Infer *c, const Tensor *t) {
    return is_m(t, TY_I32, 2, 2, 0) || (t->kind == TEN_CONST && t->type == TY_I32 && t->nd == 2 &&
                                        t->dim[0].c == c->g->m_max && t->dim[1].c == 2);
}

static bool infer_sample_count(const Infer *c) {
    if (!is_m(c->in[0], TY_I32, 2, c->g->vocab, 0)) return kind(c, "it needs sample_key's result");
    if (!is_threshold(c, c->in[1])) return kind(c, "it needs a threshold");
    i64 digits = (1 << SAMPLE_DIGIT_BITS) - 1;
    return result(c, TY_I32, 3, DIM_M, dim_const(digits), dim_const(sample_blocks(c->g))) &&
           ranged(c, 0, ARG_BLOCK);
}

static bool infer_sample_digit(const Infer *c) {
    i64 digits = (1 << SAMPLE_DIGIT_BITS) - 1;
    if (!is_m(c->in[0], TY_I32, 3, digits, sample_blocks(c->g)))
        return kind(c, "it needs sample_count's result");
    if (!is_threshold(c, c->in[1])) return kind(c, "it needs a threshold");
    return result(c, TY_I32, 2, DIM_M, dim_const(2), dim_const(0)) &&
           ranged(c, 0, (1 << SAMPLE_KEY_BITS) - 1);
}

static bool infer_sample_weight(const Infer *c) {
    if (!is_m(c->in[0], TY_I32, 2, c->g->vocab, 0)) return kind(c, "it needs sample_key's result");
    if (!is_threshold(c, c->in[1])) return kind(c, "it needs a threshold");
    const Tensor *t = c->in[2];
    if (t->kind != TEN_CONST || t->type != TY_U32 || t->nd != 1 || t->dim[0].c != 64)
        return kind(c, "it needs the exp2 table of 64 words");
    return result(c, TY_U32, 2, DIM_M, dim_const(c->g->vocab), dim_const(0)) &&
           ranged(c, 0, 1 << 23);
}

static bool infer_sample_sum(const Infer *c) {
    if (!is_m(c->in[0], TY_U32, 2, c->g->vocab, 0))
        return kind(c, "it needs sample_weight's result");
    return result(c, TY_U32, 2, DIM_M, dim_const(sample_blocks(c->g)), dim_const(0));
}

static bool infer_sample_join(const Infer *c) {
    if (!is_m(c->in[0], TY_U32, 2, c->g->vocab, 0))
        return kind(c, "it needs sample_weight's result");
    if (!is_m(c->in[1], TY_U32, 2, sample_blocks(c->g), 0))
        return kind(c, "it needs sample_sum's result");
    if (c->in[2]->kind != TEN_RING) return kind(c, "it needs the token ring");
    return true;
}

static bool (*const infer[])(const Infer *c) = {
#define OP(name, nin, doc) infer_##name,
#include "graph/ops.def"
#undef OP
};

bool graph_infer(const Graph *g, const Node *nd, Tensor *out, Err *err) {
    Infer c = {.g = g, .nd = nd, .out = out, .err = err};
    if (nd->nin != op_inputs(nd->op))
        return err_set(err, ERR_GRAPH_TYPE, "%s takes %d operands, not %d", op_name(nd->op),
                       op_inputs(nd->op), nd->nin);
    for (int i = 0; i < nd->nin; i++) {
        if (nd->in[i] < 0 || (size_t)nd->in[i] >= g->tensors.n)
            return err_set(err, ERR_GRAPH_NAME, "%s: operand %d is not a tensor", op_name(nd->op),
                           i);
        c.in[i] = &g->tensors.at[nd->in[i]];
    }
    *out = (Tensor){.node = -1, .layer = -1};
    return infer[nd->op](&c);
}
