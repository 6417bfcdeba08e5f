// pass/pack.c: where the profile asks for 8-bit activations, matmuls read them packed.
//
// A pack node goes in front of each matmul whose weight has fields of 4 or 8 bits in blocks that
// line up with those of pack; matmuls of one tensor share it. A matmul of another weight keeps f32:
// its activations would gain nothing. Where an error stays, numbers have 16 bits: in what attention
// weighs (q, k, v), in what is added to the residual stream, in the logits; and on a processor
// wherever few rows are read, for memory is the limit there and twice the products cost little. On
// a software adapter they cost more than f32, and stay that for few rows, and for many where lanes
// share what they load. On a GPU with cheap barriers only a prompt is packed, and with 16-bit
// floats and no products of bytes not that either: its tiles are kept in those. requires: joined
// weights.
#include "pass/pass.h"

// The bits of a weight's fields where packed activations meet them; 0: they do not. Bytes gain
// nothing where a device cannot multiply four of them at once: their products fill a word.
static i64 field_bits(const Profile *p, const Weight *w) {
    i64 bits = w->cols % PACK_BLOCK ? 0 : quant_field_bits(w->encoding);
    return bits == 8 && p->gpu && !p->dot4 ? 0 : bits;
}

static bool is_delicate(const Graph *g, int tensor) {
    if (g->tensors.at[tensor].kind == TEN_LOGITS) return true;
    for (size_t i = 0; i < g->nodes.n; i++) {
        const Node *nd = &g->nodes.at[i];
        bool reads = false;
        for (int k = 0; k < nd->nin; k++) reads |= nd->in[k] == tensor;
        if (reads && (nd->op == OP_rope || nd->op == OP_append || nd->op == OP_rope_append ||
                      nd->op == OP_add))
            return true;
    }
    return false;
}

bool pass_pack(PassContext *c, Graph *g) {
    const Profile *prof = c->profile;
    // A GPU whose threads share a row reads few rows at the memory's speed as f32, in fewer steps.
    bool shares = prof->gpu && !profile_in_software(prof);
    if (prof->act_bits != 8 || (shares && (c->regime_n <= 8 || (prof->f16 && !prof->dot4))))
        return true;
    size_t n = g->nodes.n;
    Node *old = NEW_N(c->arena, Node, n + 1);
    memcpy(old, g->nodes.at, n * sizeof *old);
    g->nodes.n = 0;
    Graph was = *g;
    was.nodes.at = old;
    was.nodes.n = n;
    for (size_t i = 0; i < n; i++) {
        Node nd = old[i];
        i64 bits = nd.op == OP_matmul ? field_bits(c->profile, g->tensors.at[nd.in[1]].weight) : 0;
        bool delicate = bits && is_delicate(&was, nd.out), few = c->regime_n <= 8;
        bool dear = few ? prof->gpu : profile_shares_loads(prof);
        if (bits && !(delicate && dear)) {
            i64 wide = delicate || (few && !prof->gpu);
            int found = -1;
            for (size_t k = 0; k < g->nodes.n && found < 0; k++) {
                const Node *p = &g->nodes.at[k];
                if (p->op == OP_pack && p->in[0] == nd.in[0] && p->attr.bits == bits &&
                    p->attr.wide == wide)
                    found = p->out;
            }
            OpAttr attr = {.bits = bits, .wide = wide};
            Str of = g->tensors.at[nd.in[0]].name;
            nd.in[0] = found >= 0 ? found
                                  : graph_node(g, OP_pack, 1, nd.in, &attr,
                                               str_fmt(g->arena, "%S.bytes", of).ptr, nd.layer);
        }
        vec_push(g->arena, &g->nodes, nd);
    }
    pass_compact(c, g, NULL);
    return true;
}
