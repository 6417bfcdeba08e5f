// pass/join.c: matmuls that read the same rows become one.
//
// q, k and v are stacked by row segments, and with their rotation and cache writes become one
// rope_append; gate and up are woven row by row, so that a pair stands side by side and one
// silu_mul_pair takes both. Only where the encodings agree and nobody else reads what would vanish;
// everything else is left as it is. requires: a folded graph, plain weights (one segment, not
// woven).
#include "pass/pass.h"

typedef struct Projection { // matmul, then maybe + bias, rope and append
    int matmul, add, rope, append;
    int weight, bias; // tensors; bias -1
} Projection;

static Node *node(Graph *g, int i) { return &g->nodes.at[i]; }

static bool is_op(const Graph *g, int i, OpId op) { return i >= 0 && g->nodes.at[i].op == op; }

static bool follow(Graph *g, int matmul, bool rotated, Projection *p) {
    *p = (Projection){.matmul = matmul, .add = -1, .rope = -1, .append = -1, .bias = -1};
    p->weight = node(g, matmul)->in[1];
    int next = pass_only_reader(g, node(g, matmul)->out);
    if (is_op(g, next, OP_add) && g->tensors.at[node(g, next)->in[1]].kind == TEN_WEIGHT) {
        p->add = next;
        p->bias = node(g, next)->in[1];
        next = pass_only_reader(g, node(g, next)->out);
    }
    if (rotated) {
        if (!is_op(g, next, OP_rope)) return false;
        p->rope = next;
        next = pass_only_reader(g, node(g, next)->out);
    }
    if (is_op(g, next, OP_append)) p->append = next;
    return next >= 0;
}

static bool can_stack(const Graph *g, int a, int b) {
    const Weight *v = g->tensors.at[a].weight, *w = g->tensors.at[b].weight;
    return v->encoding == w->encoding && v->cols == w->cols && v->nseg == 1 && w->nseg == 1 &&
           v->interleave == w->interleave;
}

// a, b (and c) one under the other, or with step 2 row by row.
static int stack(Graph *g, Str name, int layer, int count, const int *tensors, u32 step) {
    Weight *w = NEW(g->arena, Weight);
    *w = *g->tensors.at[tensors[0]].weight;
    w->name = name;
    w->rows = 0;
    w->nseg = count;
    for (int i = 0; i < count; i++) {
        w->seg[i] = g->tensors.at[tensors[i]].weight->seg[0];
        w->seg[i].row = step == 1 ? w->rows : (u32)i;
        w->seg[i].row_step = step;
        w->rows += w->seg[i].rows;
    }
    return graph_weight(g, w, layer);
}

static const char *beside(Graph *g, int layer, const char *what) {
    return str_fmt(g->arena, "blk.%d.%s", layer, what).ptr;
}

static int value_like(Graph *g, int like, i64 cols, const char *name) {
    Tensor t = g->tensors.at[like];
    Dim d[2] = {t.dim[0], dim_const(cols)};
    return graph_tensor(g, TEN_VALUE, TY_F32, 2, d, name, t.layer);
}

// The three projections whose matmuls read x: first q (not appended), then k, then v.
static bool find_qkv(Graph *g, int first, Projection p[3]) {
    int x = node(g, first)->in[0], found = 0;
    if (!follow(g, first, true, &p[0]) || p[0].append >= 0) return false;
    for (size_t i = (size_t)first + 1; i < g->nodes.n && found < 2; i++) {
        if (g->nodes.at[i].op != OP_matmul || g->nodes.at[i].in[0] != x) continue;
        if (!follow(g, (int)i, found == 0, &p[found + 1])) return false;
        found++;
    }
    if (found != 2 || p[1].append < 0 || p[2].append < 0) return false;
    const Node *rq = node(g, p[0].rope), *rk = node(g, p[1].rope);
    const Node *ak = node(g, p[1].append), *av = node(g, p[2].append);
    bool biased = p[0].bias >= 0;
    return rq->in[1] == rk->in[1] && rq->attr.head_dim == rk->attr.head_dim &&
           rq->attr.rot_dim == rk->attr.rot_dim && ak->in[1] == av->in[1] && ak->attr.keys == 1 &&
           av->attr.keys == 0 && ak->attr.kv_heads == av->attr.kv_heads &&
           (p[1].bias >= 0) == biased && (p[2].bias >= 0) == biased &&
           can_stack(g, p[0].weight, p[1].weight) && can_stack(g, p[0].weight, p[2].weight);
}

static void join_qkv(PassContext *c, Graph *g, Projection p[3], bool *dead) {
    Node mm = *node(g, p[0].matmul), rope = *node(g, p[0].rope), append = *node(g, p[1].append);
    int layer = mm.layer;
    bool biased = p[0].bias >= 0;
    i64 rows = 0;
    int weights[3], biases[3];
    for (int i = 0; i < 3; i++) {
        weights[i] = p[i].weight;
        biases[i] = p[i].bias;
        rows += g->tensors.at[p[i].weight].weight->rows;
        int gone[] = {p[i].matmul, p[i].add, p[i].rope, p[i].append};
        for (size_t k = 0; k < COUNT_OF(gone); k++)
            if (gone[k] >= 0) dead[gone[k]] = true;
    }
    int last = mm.out;
    mm.in[1] = stack(g, str_c(beside(g, layer, "attn_qkv.weight")), layer, 3, weights, 1);
    mm.out = value_like(g, last, rows, beside(g, layer, biased ? "attn_qkv.matmul" : "attn_qkv"));
    last = mm.out;
    // The dead nodes' places are reused in order, so the joined ones stay where q stood: matmul,
    // bias, rope_append.
    int place = p[0].matmul;
    g->nodes.at[place] = mm;
    dead[place] = false;
    if (biased) {
        Node add = *node(g, p[0].add);
        add.in[0] = last;
        add.in[1] = stack(g, str_c(beside(g, layer, "attn_qkv.bias")), layer, 3, biases, 1);
        add.out = value_like(g, last, rows, beside(g, layer, "attn_qkv"));
        last = add.out;
        place = p[0].add;
        g->nodes.at[place] = add;
        dead[place] = false;
    }
    OpAttr attr = {.heads = rope.attr.heads,
                   .kv_heads = append.attr.kv_heads,
                   .head_dim = rope.attr.head_dim,
                   .rot_dim = rope.attr.rot_dim};
    place = p[0].rope;
    g->nodes.at[place] = (Node){.op = OP_rope_append,
                                .nin = 3,
                                .in = {last, rope.in[1], append.in[1]},
                                .out = rope.out,
                                .attr = attr,
                                .layer = layer};
    dead[place] = false;
    (void)c;
}

static bool join_pair(Graph *g, int at, bool *dead) {
    Node *act = node(g, at);
    int gate = g->tensors.at[act->in[0]].node, up = g->tensors.at[act->in[1]].node;
    if (!is_op(g, gate, OP_matmul) || !is_op(g, up, OP_matmul) || gate == up) return false;
    if (node(g, gate)->in[0] != node(g, up)->in[0]) return false;
    if (pass_only_reader(g, act->in[0]) != at || pass_only_reader(g, act->in[1]) != at)
        return false;
    int weights[2] = {node(g, gate)->in[1], node(g, up)->in[1]};
    if (!can_stack(g, weights[0], weights[1])) return false;
    int layer = act->layer;
    Node mm = *node(g, MAX2(gate, up)); // the later place: what both read is there
    i64 rows = 2 * (i64)g->tensors.at[weights[0]].weight->rows;
    int like = act->in[0];
    dead[gate] = dead[up] = true;
    mm.in[1] = stack(g, str_c(beside(g, layer, "ffn_gate_up.weight")), layer, 2, weights, 2);
    mm.out = value_like(g, like, rows, beside(g, layer, "ffn_gate_up"));
    g->nodes.at[MAX2(gate, up)] = mm;
    dead[MAX2(gate, up)] = false;
    act = node(g, at);
    *act =
        (Node){.op = OP_silu_mul_pair, .nin = 1, .in = {mm.out}, .out = act->out, .layer = layer};
    return true;
}

bool pass_join(PassContext *c, Graph *g) {
    bool *dead = NEW_N(c->arena, bool, g->nodes.n + 1);
    size_t n = g->nodes.n;
    for (size_t i = 0; i < n; i++) {
        Projection p[3];
        if (dead[i]) continue;
        if (g->nodes.at[i].op == OP_matmul && find_qkv(g, (int)i, p)) join_qkv(c, g, p, dead);
        if (g->nodes.at[i].op == OP_silu_mul) join_pair(g, (int)i, dead);
    }
    pass_compact(c, g, dead);
    return true;
}
