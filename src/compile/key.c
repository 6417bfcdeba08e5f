// compile/key.c: which groups of nodes share a kernel, told from the graph alone.
//
// A model's layers are alike, so of hundreds of groups some twenty differ; only those are lowered.
// The signature hashes what lowering reads: operators, attributes, shapes, encodings, and which
// operand is which (not their names). The nest key, made after lowering, is what names the kernel
// to the world; this one never leaves the compile.
#include "compile/compile_int.h"

int group_tensor(const Graph *g, const Group *gr, int k) {
    for (int i = 0; i < gr->nnodes; i++) {
        const Node *nd = &g->nodes.at[gr->node[i]];
        if (k < nd->nin) return nd->in[k];
        k -= nd->nin;
        if (k-- == 0) return nd->out;
    }
    return -1;
}

static int places(const Graph *g, const Group *gr) {
    int n = 0;
    for (int i = 0; i < gr->nnodes; i++) n += g->nodes.at[gr->node[i]].nin + 1;
    return n;
}

int group_place(const Graph *g, const Group *gr, int tensor) {
    for (int k = 0; k < places(g, gr); k++)
        if (group_tensor(g, gr, k) == tensor) return k;
    return -1;
}

u64 group_signature(const Graph *g, const Group *gr, u32 regime_n) {
    u64 h = hash_bytes(g->m_max, &regime_n, sizeof regime_n);
    for (int i = 0; i < gr->nnodes; i++) {
        const Node *nd = &g->nodes.at[gr->node[i]];
        i32 op = (i32)nd->op;
        h = hash_bytes(h, &op, sizeof op);
        h = hash_bytes(h, &nd->attr, sizeof nd->attr);
    }
    int inplace = gr->inplace >= 0 ? group_place(g, gr, gr->inplace) : -1;
    h = hash_bytes(h, &inplace, sizeof inplace);
    for (int k = 0; k < places(g, gr); k++) {
        int id = group_tensor(g, gr, k), first = id >= 0 ? group_place(g, gr, id) : -1;
        h = hash_bytes(h, &first, sizeof first);
        if (id < 0) continue;
        const Tensor *t = &g->tensors.at[id];
        i32 what[4] = {(i32)t->kind, (i32)t->type, t->nd, 0};
        h = hash_bytes(h, what, sizeof what);
        h = hash_bytes(h, t->dim, sizeof(Dim) * (size_t)t->nd);
        i64 range[2] = {t->lo, t->hi};
        h = hash_bytes(h, range, sizeof range);
        if (t->weight == NULL) continue;
        u32 w[4] = {(u32)t->weight->encoding, t->weight->rows, t->weight->cols,
                    t->weight->interleave};
        h = hash_bytes(h, w, sizeof w);
    }
    return h;
}
