// pass/parts.c: operators that are several kernels take their parts' names.
//
// Decode attention: one row has too few heads to fill a device, or to be shared evenly by a
// processor's threads, so the context is split into a fixed number of parts (never a function of t:
// grids stay what they are; nor of threads: results do) and joined. argmax and sample: a vocabulary
// is split into blocks of 256 first. requires: nothing; run after fold, which would merge the two
// argmax_part of argmax and sample.
#include "pass/pass.h"

typedef struct Parts {
    PassContext *c;
    Graph *old, *g;   // nodes move from old to g
    int start, table; // the sampler's constants, -1 until used
} Parts;

static int emit(Parts *p, OpId op, int nin, const int *in, const OpAttr *attr, const char *name,
                int layer) {
    return graph_node(p->g, op, nin, in, attr, name, layer);
}

// The last one takes over the original's result.
static void emit_for(Parts *p, OpId op, const Node *was, int nin, const int *in,
                     const OpAttr *attr) {
    Node nd = {.op = op, .nin = nin, .out = was->out, .attr = *attr, .layer = was->layer};
    for (int i = 0; i < nin; i++) nd.in[i] = in[i];
    vec_push(p->g->arena, &p->g->nodes, nd);
}

static const char *suffixed(Parts *p, Str name, const char *suffix) {
    return str_fmt(p->g->arena, "%S%s", name, suffix).ptr;
}

static void split_attention(Parts *p, const Node *nd) {
    OpAttr attr = nd->attr;
    attr.parts = p->c->profile->attn_parts;
    Str name = p->g->tensors.at[nd->out].name;
    int part = emit(p, OP_attention_part, 2, nd->in, &attr, suffixed(p, name, ".parts"), nd->layer);
    emit_for(p, OP_attention_join, nd, 1, &part, &attr);
}

static void split_argmax(Parts *p, const Node *nd) {
    int part = emit(p, OP_argmax_part, 1, nd->in, NULL, "argmax.part", nd->layer);
    emit(p, OP_argmax_join, 3, (int[]){nd->in[0], part, nd->in[1]}, NULL, "", nd->layer);
}

// 2^-(i/32) and 2^-(i/1024), i = 0..31, as fractions of 2^32 (the first of each as near to one as
// fits), computed in integers: by square roots, so that no library's exp2 decides which token is
// chosen.
static u32 isqrt64(u64 v) {
    u64 r = 0;
    for (u64 bit = (u64)1 << 31; bit; bit >>= 1)
        if ((r + bit) * (r + bit) <= v && r + bit <= UINT32_MAX) r += bit;
    return (u32)r;
}

static const u32 *exp2_table(Arena *a) {
    u32 *t = NEW_N(a, u32, 64);
    u32 root[10];         // 2^-(2^-(i+1)): 2^-1/2, 2^-1/4, ...
    u64 v = (u64)1 << 63; // 1/2 in 2^-64
    for (int i = 0; i < 10; i++) {
        root[i] = isqrt64(v);
        v = (u64)root[i] << 32;
    }
    for (int half = 0; half < 2; half++)
        for (u32 i = 0; i < 32; i++) {
            u64 w = UINT32_MAX;
            for (int b = 0; b < 5; b++)
                if (i >> (4 - b) & 1) w = w * root[5 * half + b] >> 32;
            t[32 * half + (int)i] = (u32)w;
        }
    return t;
}

// Where the search for the threshold begins: at 0, with the highest digit; for each row.
static const u32 *search_start(Arena *a, u32 rows) {
    u32 *t = NEW_N(a, u32, rows * 2);
    for (u32 i = 0; i < rows; i++) t[2 * i + 1] = SAMPLE_KEY_BITS - SAMPLE_DIGIT_BITS;
    return t;
}

static void sampler_constants(Parts *p) {
    if (p->start >= 0) return;
    Dim pairs[2] = {dim_const(p->g->m_max), dim_const(2)}, many = dim_const(64);
    p->start = graph_tensor(p->g, TEN_CONST, TY_I32, 2, pairs, "sample.start", -1);
    Tensor *t = &p->g->tensors.at[p->start];
    t->data = search_start(p->g->arena, p->g->m_max);
    t->lo = 0; // as sample_digit's result has it, so that all rounds are one kernel
    t->hi = (1 << SAMPLE_KEY_BITS) - 1;
    p->table = graph_tensor(p->g, TEN_CONST, TY_U32, 1, &many, "sample.exp2", -1);
    p->g->tensors.at[p->table].data = exp2_table(p->g->arena);
}

static void split_sample(Parts *p, const Node *nd) {
    sampler_constants(p);
    int logits = nd->in[0], ring = nd->in[1], layer = nd->layer;
    int part = emit(p, OP_argmax_part, 1, &logits, NULL, "sample.part", layer);
    int key = emit(p, OP_sample_key, 2, (int[]){logits, part}, NULL, "sample.key", layer);
    int from = p->start;
    for (int i = 0; i < SAMPLE_KEY_BITS / SAMPLE_DIGIT_BITS; i++) {
        const char *count = str_fmt(p->g->arena, "sample.count%d", i).ptr;
        const char *digit = str_fmt(p->g->arena, "sample.from%d", i).ptr;
        int counts = emit(p, OP_sample_count, 2, (int[]){key, from}, NULL, count, layer);
        from = emit(p, OP_sample_digit, 2, (int[]){counts, from}, NULL, digit, layer);
    }
    int weight =
        emit(p, OP_sample_weight, 3, (int[]){key, from, p->table}, NULL, "sample.weight", layer);
    int sum = emit(p, OP_sample_sum, 1, &weight, NULL, "sample.sum", layer);
    emit(p, OP_sample_join, 3, (int[]){weight, sum, ring}, NULL, "", layer);
}

bool pass_parts(PassContext *c, Graph *g) {
    Parts p = {.c = c, .g = g, .start = -1, .table = -1};
    size_t n = g->nodes.n;
    Node *old = NEW_N(c->arena, Node, n + 1);
    memcpy(old, g->nodes.at, n * sizeof *old);
    g->nodes.n = 0;
    bool split = c->profile->attn_parts > 1 && c->regime_n == 1;
    for (size_t i = 0; i < n; i++) {
        if (old[i].op == OP_attention && split)
            split_attention(&p, &old[i]);
        else if (old[i].op == OP_argmax)
            split_argmax(&p, &old[i]);
        else if (old[i].op == OP_sample)
            split_sample(&p, &old[i]);
        else
            vec_push(g->arena, &g->nodes, old[i]);
    }
    pass_compact(c, g, NULL);
    return true;
}
