// pass/fold.c: equal nodes become one, nodes whose result nobody reads go.
//
// requires: a verified graph. Two nodes are equal when operator, operands and attributes are;
// operators that write a cache or the ring are never touched. Constants are folded where
// expressions are built (expr/), not here.
#include "pass/pass.h"

static bool writes_elsewhere(OpId op) {
    return op == OP_append || op == OP_rope_append || op == OP_argmax || op == OP_argmax_join ||
           op == OP_sample || op == OP_sample_join;
}

static u64 node_hash(const Node *nd) {
    u64 h = hash_bytes((u64)nd->op, nd->in, sizeof nd->in[0] * (size_t)nd->nin);
    return hash_bytes(h, &nd->attr, sizeof nd->attr);
}

static bool same(const Node *a, const Node *b) {
    if (a->op != b->op || a->nin != b->nin || memcmp(&a->attr, &b->attr, sizeof a->attr) != 0)
        return false;
    for (int i = 0; i < a->nin; i++)
        if (a->in[i] != b->in[i]) return false;
    return true;
}

static void merge_equal(PassContext *c, Graph *g, bool *dead) {
    size_t cap = 1;
    while (cap < 2 * g->nodes.n + 2) cap *= 2;
    i32 *table = NEW_N(c->arena, i32, cap); // node + 1
    int *same_as = NEW_N(c->arena, int, g->tensors.n + 1);
    for (size_t i = 0; i < g->tensors.n; i++) same_as[i] = (int)i;
    for (size_t i = 0; i < g->nodes.n; i++) {
        Node *nd = &g->nodes.at[i];
        for (int j = 0; j < nd->nin; j++) nd->in[j] = same_as[nd->in[j]];
        if (writes_elsewhere(nd->op) || nd->out < 0) continue;
        size_t at = (size_t)node_hash(nd) & (cap - 1);
        while (table[at] != 0 && !same(&g->nodes.at[table[at] - 1], nd)) at = (at + 1) & (cap - 1);
        if (table[at] == 0) {
            table[at] = (i32)i + 1;
        } else if (g->tensors.at[nd->out].kind == TEN_VALUE) {
            same_as[nd->out] = g->nodes.at[table[at] - 1].out;
            dead[i] = true;
        }
    }
}

bool pass_fold(PassContext *c, Graph *g) {
    bool *dead = NEW_N(c->arena, bool, g->nodes.n + 1);
    merge_equal(c, g, dead);
    int *uses = NEW_N(c->arena, int, g->tensors.n + 1);
    for (size_t i = 0; i < g->nodes.n; i++)
        for (int j = 0; !dead[i] && j < g->nodes.at[i].nin; j++) uses[g->nodes.at[i].in[j]]++;
    for (size_t i = g->nodes.n; i-- > 0;) {
        const Node *nd = &g->nodes.at[i];
        if (dead[i] || writes_elsewhere(nd->op)) continue;
        if (nd->out >= 0 && (uses[nd->out] > 0 || g->tensors.at[nd->out].kind == TEN_LOGITS))
            continue;
        dead[i] = true;
        for (int j = 0; j < nd->nin; j++) uses[nd->in[j]]--;
    }
    pass_compact(c, g, dead);
    return true;
}
