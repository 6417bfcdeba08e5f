// pass/graph_edit.c: what rewriting passes share: finding readers, dropping what is dead.
#include "pass/pass.h"

int pass_only_reader(const Graph *g, int tensor) {
    int reader = -1;
    int from = g->tensors.at[tensor].node; // who reads it stands behind who makes it
    for (size_t i = (size_t)MAX2(from, 0); i < g->nodes.n; i++)
        for (int j = 0; j < g->nodes.at[i].nin; j++) {
            if (g->nodes.at[i].in[j] != tensor) continue;
            if (reader >= 0) return -1;
            reader = (int)i;
        }
    return reader;
}

void pass_compact(PassContext *c, Graph *g, const bool *dead) {
    size_t n = 0;
    for (size_t i = 0; i < g->nodes.n; i++)
        if (dead == NULL || !dead[i]) g->nodes.at[n++] = g->nodes.at[i];
    g->nodes.n = n;
    int *moved = NEW_N(c->arena, int, g->tensors.n + 1);
    bool *used = NEW_N(c->arena, bool, g->tensors.n + 1);
    for (size_t i = 0; i < n; i++) {
        const Node *nd = &g->nodes.at[i];
        for (int j = 0; j < nd->nin; j++) used[nd->in[j]] = true;
        if (nd->out >= 0) used[nd->out] = true;
    }
    size_t kept = 0;
    for (size_t i = 0; i < g->tensors.n; i++) {
        moved[i] = (int)kept;
        if (!used[i]) continue;
        g->tensors.at[kept] = g->tensors.at[i];
        g->tensors.at[kept++].node = -1;
    }
    g->tensors.n = kept;
    for (size_t i = 0; i < n; i++) {
        Node *nd = &g->nodes.at[i];
        for (int j = 0; j < nd->nin; j++) nd->in[j] = moved[nd->in[j]];
        if (nd->out < 0) continue;
        nd->out = moved[nd->out];
        g->tensors.at[nd->out].node = (int)i;
    }
}
