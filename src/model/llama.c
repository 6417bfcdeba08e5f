// model/llama.c: the llama architecture: pre-norm blocks of grouped-query attention and a gated
// feed-forward.
//
// Everything comes from the file's own keys (llama.*) and every tensor's shape is checked against
// them. The graph is emitted plain, one operator after another as a paper would write it; joining
// and fusing is the passes' work. Rows of q and k come in the file's order, in which a rotary pair
// is two adjacent rows.
#include "model/model_int.h"
#include <math.h>

typedef struct Llama {
    i64 layers, hidden, ffn, heads, kv_heads, head_dim, rot_dim, ctx, vocab;
    double eps, freq_base, freq_scale;
} Llama;

// What other members of the family compute and this one does not.
static const char unread[] = "0expert_count\0"
                             "0attention.sliding_window\0"
                             "0attention.scale\0"
                             "0attention.clamp_kqv\0"
                             "0attention.max_alibi_bias\0"
                             "1attention.causal\0"
                             "0attn_logit_softcapping\0"
                             "0final_logit_softcapping\0"
                             "0use_parallel_residual\0"
                             "*embedding_scale\0"
                             "*residual_scale\0"
                             "*logit_scale\0"
                             "*rope.scale_linear\0"
                             "1rope.scaling.attn_factor\0";

static bool read_config(ModelFile *f, const ModelOptions *o, Llama *c) {
    i64 trained = 2048, value_dim;
    if (!model_key(f, "block_count", 1, 1024, true, &c->layers) ||
        !model_key(f, "embedding_length", 1, 1 << 16, true, &c->hidden) ||
        !model_key(f, "feed_forward_length", 1, 1 << 18, true, &c->ffn) ||
        !model_key(f, "attention.head_count", 1, 1024, true, &c->heads))
        return false;
    c->kv_heads = c->heads;
    c->head_dim = c->hidden / c->heads;
    if (!model_key(f, "attention.head_count_kv", 1, c->heads, false, &c->kv_heads) ||
        !model_key(f, "attention.key_length", 2, 1024, false, &c->head_dim))
        return false;
    value_dim = c->head_dim;
    c->rot_dim = c->head_dim;
    if (!model_key(f, "attention.value_length", 2, 1024, false, &value_dim) ||
        !model_key(f, "rope.dimension_count", 2, 1024, false, &c->rot_dim) ||
        !model_key(f, "context_length", 1, 1 << 24, false, &trained))
        return false;
    c->eps = 1e-5;
    c->freq_base = 10000;
    c->freq_scale = 1;
    if (!model_float(f, "attention.layer_norm_rms_epsilon", 1e-12, 0.1, false, &c->eps) ||
        !model_float(f, "rope.freq_base", 1, 1e12, false, &c->freq_base))
        return false;
    if (c->heads % c->kv_heads != 0) {
        err_set(f->err, ERR_MODEL_KEY, "%D query heads cannot share %D key heads evenly", c->heads,
                c->kv_heads);
        return err_subject(f->err, S("llama.attention.head_count_kv"));
    }
    if (value_dim != c->head_dim) {
        err_set(f->err, ERR_MODEL_UNSUPPORTED,
                "value heads of %D beside key heads of %D are not known yet; take another model",
                value_dim, c->head_dim);
        return err_subject(f->err, S("llama.attention.value_length"));
    }
    if (c->head_dim < 2 || c->head_dim > 1024 || c->head_dim % 2 != 0 || c->rot_dim % 2 != 0 ||
        c->rot_dim > c->head_dim) {
        err_set(f->err, ERR_MODEL_KEY, "rotating %D of %D dimensions of a head is not possible",
                c->rot_dim, c->head_dim);
        return err_subject(f->err, S("llama.rope.dimension_count"));
    }
    c->ctx = o->ctx ? (i64)o->ctx : MIN2(trained, 2048);
    if (c->ctx > trained) {
        err_set(f->err, ERR_MODEL_KEY,
                "the model was trained on %D positions; a context of %D is too long; ask for less",
                trained, c->ctx);
        return err_subject(f->err, S("llama.context_length"));
    }
    Str scaling = {0};
    if (!model_neutral(f, unread)) return false;
    if (!gguf_get_str(f->gguf, S("llama.rope.scaling.type"), &scaling, f->err)) return false;
    if (scaling.len == 0) return model_neutral(f, "*rope.scaling.factor\0");
    if (str_eq(scaling, S("linear"))) {
        double by = 1;
        if (!model_float(f, "rope.scaling.factor", 1e-6, 1e6, true, &by)) return false;
        c->freq_scale = 1 / by;
    } else if (!str_eq(scaling, S("none"))) {
        err_set(f->err, ERR_MODEL_UNSUPPORTED,
                "rope scaling '%S' is not known yet; take a model with one that is; known: none, "
                "linear, rope_freqs.weight",
                scaling);
        return err_subject(f->err, S("llama.rope.scaling.type"));
    }
    return true;
}

// Angles are turns in fixed point: pos * freq wraps modulo 2^32, which is exactly the angle modulo
// one turn, at any position. freq[j] = base^(-2j/rot) / factor[j] radians.
static bool rope_freqs(ModelFile *f, const Llama *c, int *out) {
    i64 pairs = c->rot_dim / 2;
    u32 *fix = arena_try(f->arena, (u64)pairs, 2 * sizeof *fix);
    float *factor = NULL;
    if (fix == NULL)
        return err_set(f->err, ERR_OUT_OF_MEMORY,
                       "no memory for rotary frequencies; close something or take a smaller model");
    const FileTensor *t = gguf_tensor(f->gguf, S("rope_freqs.weight"));
    if (t != NULL) {
        Source *src = gguf_source(f->gguf);
        if (t->type != FT_F32 || t->dims[0] != (u64)pairs || t->bytes != (u64)pairs * 4) {
            err_set(f->err, ERR_MODEL_SHAPE, "it must be %D values of F32", pairs);
            return err_subject(f->err, t->name);
        }
        factor = (float *)(fix + pairs);
        if (!src->read(src, t->off, factor, (size_t)pairs * 4)) {
            err_set(f->err, ERR_IO, "the tensor could not be read; is the file still there?");
            return err_subject(f->err, t->name);
        }
    }
    for (i64 j = 0; j < pairs; j++) {
        double radians = pow(c->freq_base, -2.0 * (double)j / (double)c->rot_dim) * c->freq_scale;
        if (factor != NULL) {
            double by = (double)factor[j];
            if (!(by >= 1e-6 && by <= 1e6)) {
                err_set(f->err, ERR_MODEL_SHAPE, "factor %D is %g and must be from 1e-6 to 1e6", j,
                        by);
                return err_subject(f->err, t->name);
            }
            radians /= by;
        }
        double turns = radians / (2 * 3.14159265358979323846);
        turns -= (double)(i64)turns; // whole turns change nothing; a factor below 1 may make some
        double scaled = turns * 4294967296.0 + 0.5;
        fix[j] = (u32)(u64)scaled;
    }
    Dim d = dim_const(pairs);
    *out = graph_tensor(f->graph, TEN_CONST, TY_U32, 1, &d, "rope.freq", -1);
    f->graph->tensors.at[*out].data = fix;
    return true;
}

typedef struct Builder {
    ModelFile *f;
    const Llama *c;
    int layer;
    int table; // the rope table of this step
} Builder;

static const char *layer_name(Builder *b, const char *what) {
    return str_fmt(b->f->arena, "blk.%d.%s", b->layer, what).ptr;
}

static int weight(Builder *b, const char *what, i64 rows, i64 cols, bool needed) {
    return model_weight(b->f, layer_name(b, what), (u64)rows, (u64)cols, needed, b->layer);
}

static int node2(Builder *b, OpId op, int x, int y, const OpAttr *attr, const char *name) {
    return graph_node(b->f->graph, op, 2, (int[]){x, y}, attr, layer_name(b, name), b->layer);
}

// x * w (+ bias): the projections of attention may carry one.
static int project(Builder *b, int x, int w, int bias, const char *name, const char *bare) {
    if (bias < 0) return node2(b, OP_matmul, x, w, NULL, name);
    return node2(b, OP_add, node2(b, OP_matmul, x, w, NULL, bare), bias, NULL, name);
}

static int attention(Builder *b, int x) {
    const Llama *c = b->c;
    i64 nq = c->heads * c->head_dim, nkv = c->kv_heads * c->head_dim;
    OpAttr norm = {.eps = c->eps};
    OpAttr attn = {.heads = c->heads, .kv_heads = c->kv_heads, .head_dim = c->head_dim};
    OpAttr rot_q = {.heads = c->heads, .head_dim = c->head_dim, .rot_dim = c->rot_dim};
    OpAttr rot_k = {.heads = c->kv_heads, .head_dim = c->head_dim, .rot_dim = c->rot_dim};
    OpAttr keys = {.kv_heads = c->kv_heads, .head_dim = c->head_dim, .keys = 1};
    OpAttr values = {.kv_heads = c->kv_heads, .head_dim = c->head_dim};
    int g = weight(b, "attn_norm.weight", c->hidden, 1, true);
    int wq = weight(b, "attn_q.weight", nq, c->hidden, true);
    int wk = weight(b, "attn_k.weight", nkv, c->hidden, true);
    int wv = weight(b, "attn_v.weight", nkv, c->hidden, true);
    int wo = weight(b, "attn_output.weight", c->hidden, nq, true);
    int bq = weight(b, "attn_q.bias", nq, 1, false);
    int bk = weight(b, "attn_k.bias", nkv, 1, false);
    int bv = weight(b, "attn_v.bias", nkv, 1, false);
    int bo = weight(b, "attn_output.bias", c->hidden, 1, false);
    if (b->f->failed) return -1;
    Dim dims[3] = {dim_const(2 * c->kv_heads), dim_const(kv_slots(c->ctx)), dim_const(c->head_dim)};
    int cache = graph_tensor(b->f->graph, TEN_CACHE, TY_F32, 3, dims,
                             str_fmt(b->f->arena, "kv.%d", b->layer).ptr, b->layer);
    int h = node2(b, OP_rms_norm, x, g, &norm, "attn_norm");
    int q = project(b, h, wq, bq, "attn_q", "attn_q.matmul");
    int k = project(b, h, wk, bk, "attn_k", "attn_k.matmul");
    int v = project(b, h, wv, bv, "attn_v", "attn_v.matmul");
    q = node2(b, OP_rope, q, b->table, &rot_q, "attn_q.rope");
    k = node2(b, OP_rope, k, b->table, &rot_k, "attn_k.rope");
    node2(b, OP_append, k, cache, &keys, "");
    node2(b, OP_append, v, cache, &values, "");
    int y = node2(b, OP_attention, q, cache, &attn, "attn");
    y = project(b, y, wo, bo, "attn_output", "attn_output.matmul");
    return node2(b, OP_add, x, y, NULL, "attn_residual");
}

static int feed_forward(Builder *b, int x) {
    const Llama *c = b->c;
    OpAttr norm = {.eps = c->eps};
    int g = weight(b, "ffn_norm.weight", c->hidden, 1, true);
    int wg = weight(b, "ffn_gate.weight", c->ffn, c->hidden, true);
    int wu = weight(b, "ffn_up.weight", c->ffn, c->hidden, true);
    int wd = weight(b, "ffn_down.weight", c->hidden, c->ffn, true);
    if (b->f->failed) return -1;
    int h = node2(b, OP_rms_norm, x, g, &norm, "ffn_norm");
    int gate = node2(b, OP_matmul, h, wg, NULL, "ffn_gate");
    int up = node2(b, OP_matmul, h, wu, NULL, "ffn_up");
    int y = node2(b, OP_silu_mul, gate, up, NULL, "ffn_act");
    y = node2(b, OP_matmul, y, wd, NULL, "ffn_down");
    return node2(b, OP_add, x, y, NULL, "ffn_residual");
}

bool llama_build(Arena *a, const Gguf *gguf, const ModelOptions *o, Graph **out, Err *err) {
    Llama c = {0};
    Graph *g = graph_new(a);
    ModelFile f = {.arena = a, .gguf = gguf, .arch = S("llama"), .graph = g, .err = err};
    if (!read_config(&f, o, &c)) return false;
    const FileTensor *embd = gguf_tensor(gguf, S("token_embd.weight"));
    if (embd == NULL || embd->nd != 2 || embd->dims[1] < 1 || embd->dims[1] > (1u << 24)) {
        err_set(err, embd ? ERR_MODEL_SHAPE : ERR_MODEL_TENSOR,
                "llama needs [embedding_length, vocabulary]");
        return err_subject(err, S("token_embd.weight"));
    }
    c.vocab = (i64)embd->dims[1];
    i64 said = c.vocab;
    if (!model_key(&f, "vocab_size", 1, 1 << 24, false, &said)) return false;
    GgufArray tokens = {0};
    if (gguf_has(gguf, S("tokenizer.ggml.tokens")) &&
        !gguf_get_array(gguf, S("tokenizer.ggml.tokens"), &tokens, err))
        return false;
    if (said != c.vocab || tokens.n > (u64)c.vocab) {
        err_set(err, ERR_MODEL_SHAPE, "it has %D rows, but the vocabulary has %D tokens", c.vocab,
                said != c.vocab ? said : (i64)tokens.n);
        return err_subject(err, S("token_embd.weight"));
    }
    g->ctx = (u32)c.ctx;
    g->chunk = MIN2(o->chunk ? o->chunk : 256, g->ctx);
    g->m_max = MIN2(o->m_max ? o->m_max : 1, g->chunk);
    g->vocab = (u32)c.vocab;
    g->layers = (u32)c.layers;

    int table = model_weight(&f, "token_embd.weight", (u64)c.vocab, (u64)c.hidden, true, -1);
    if (f.failed) return false;
    Dim ring_dim = dim_const(TOKEN_RING);
    int ring = graph_tensor(g, TEN_RING, TY_I32, 1, &ring_dim, "tokens", -1);
    g->tensors.at[ring].lo = 0;
    g->tensors.at[ring].hi = c.vocab; // past the ids: logits that are not numbers
    int freq;
    if (!rope_freqs(&f, &c, &freq)) return false;
    Builder b = {.f = &f, .c = &c, .layer = -1};
    OpAttr rot = {.rot_dim = c.rot_dim};
    b.table = graph_node(g, OP_rope_table, 1, &freq, &rot, "rope.table", -1);
    int x = graph_node(g, OP_embed, 2, (int[]){table, ring}, NULL, "embed", -1);
    for (b.layer = 0; b.layer < (int)c.layers; b.layer++) {
        x = attention(&b, x);
        if (f.failed) return false;
        x = feed_forward(&b, x);
        if (f.failed) return false;
    }
    int gain = model_weight(&f, "output_norm.weight", (u64)c.hidden, 1, true, -1);
    int head = model_weight(&f, "output.weight", (u64)c.vocab, (u64)c.hidden, false, -1);
    if (f.failed) return false;
    if (head < 0) head = table; // tied: the embedding's rows are the head's
    OpAttr norm = {.eps = c.eps};
    x = graph_node(g, OP_take_rows, 1, &x, NULL, "last_rows", -1);
    x = graph_node(g, OP_rms_norm, 2, (int[]){x, gain}, &norm, "output_norm", -1);
    x = graph_node(g, OP_matmul, 2, (int[]){x, head}, NULL, "logits", -1);
    g->tensors.at[x].kind = TEN_LOGITS;
    graph_node(g, OP_argmax, 2, (int[]){x, ring}, NULL, "", -1);
    graph_node(g, OP_sample, 2, (int[]){x, ring}, NULL, "", -1);
    *out = g;
    return true;
}
