// graph/verify.c: is a graph one that the passes and lowering may trust?
//
// requires: nothing. After it: every operand exists and is made earlier, every result has the shape
// its operator says, names are unique, and each cache is written before it is read in the same
// layer (a cache read that precedes its append would see the last step's rows only).
#include "graph/graph.h"

#if defined(HOB_PAGE)
enum { FROM_TEXT = 0 }; // a builder's graph: graph_node has inferred every node in order
#else
enum { FROM_TEXT = 1 };
#endif

static bool node_fail(const Graph *g, const Node *nd, Err *err) {
    if (nd->out >= 0 && (size_t)nd->out < g->tensors.n)
        return err_subject(err, g->tensors.at[nd->out].name);
    return err_subject(err, str_c(op_name(nd->op)));
}

static bool verify_tensor(const Graph *g, const Tensor *t, Err *err) {
    if (t->nd < 1 || t->nd > 3) {
        err_set(err, ERR_GRAPH_SHAPE, "a tensor has 1 to 3 dimensions, not %d", t->nd);
        return err_subject(err, t->name);
    }
    i64 total = 1;
    for (int i = 0; i < t->nd; i++) {
        Dim d = t->dim[i];
        bool sane = d.cn >= 0 && d.cn <= 64 && d.cm >= 0 && d.cm <= 64 && d.ct >= 0 && d.ct <= 64 &&
                    d.c >= 0 && d.c <= INT32_MAX;
        i64 v = sane ? dim_value(d, g->chunk, g->m_max, g->ctx) : 0;
        if (!sane || v < 1 || v > INT32_MAX || __builtin_mul_overflow(total, v, &total) ||
            total > ((i64)1 << 40)) {
            err_set(err, ERR_GRAPH_SHAPE, "dimension %d is zero, negative or too large", i);
            return err_subject(err, t->name);
        }
    }
    if ((t->kind == TEN_WEIGHT) != (t->weight != NULL) ||
        (t->kind == TEN_CONST) != (t->data != NULL)) {
        err_set(err, ERR_GRAPH_TYPE, "a weight needs its record and a constant its data");
        return err_subject(err, t->name);
    }
    if (t->kind == TEN_WEIGHT) {
        const Weight *w = t->weight;
        if (w->rows != t->dim[0].c || w->cols != (t->nd == 2 ? t->dim[1].c : 1) || w->nseg < 1) {
            err_set(err, ERR_GRAPH_SHAPE, "the weight record and the tensor differ in shape");
            return err_subject(err, t->name);
        }
        if (w->cols % quant_info(w->encoding)->block != 0) {
            err_set(err, ERR_PASS_ENCODING, "%u columns are not whole blocks of %s", w->cols,
                    quant_info(w->encoding)->name);
            return err_subject(err, t->name);
        }
    }
    return true;
}

bool graph_verify(const Graph *g, Err *err) {
    if (g->ctx < 1 || g->chunk < 1 || g->m_max < 1 || g->vocab < 1 || g->m_max > g->chunk ||
        g->chunk > 4096 || g->ctx > (1u << 20) || g->vocab > (1u << 24) || g->layers > 1024)
        return err_set(
            err, ERR_GRAPH_LIMIT,
            "ctx must be 1..2^20, chunk 1..4096, m 1..chunk, vocab 1..2^24, layers 0..1024");
    if (g->nodes.n > GRAPH_MAX_NODES || g->tensors.n > GRAPH_MAX_TENSORS)
        return err_set(err, ERR_GRAPH_LIMIT, "more than %d nodes", GRAPH_MAX_NODES);
    StrMap *names = strmap_new(g->arena, g->tensors.n);
    bool *made = arena_try(g->arena, g->tensors.n + 1, sizeof *made);
    bool *filled = arena_try(g->arena, g->tensors.n + 1, sizeof *filled);
    if (made == NULL || filled == NULL) return err_set(err, ERR_OUT_OF_MEMORY, "verifying a graph");
    for (size_t i = 0; i < g->tensors.n; i++) {
        const Tensor *t = &g->tensors.at[i];
        i32 other;
        if (!verify_tensor(g, t, err)) return false;
        if (!FROM_TEXT) continue;
        if (strmap_get(names, t->name, &other)) {
            err_set(err, ERR_GRAPH_NAME, "two tensors have this name");
            return err_subject(err, t->name);
        }
        strmap_put(names, t->name, (i32)i);
        made[i] = t->kind != TEN_VALUE && t->kind != TEN_LOGITS;
    }
    if (!FROM_TEXT) return true;
    if (g->nodes.n == 0)
        return err_set(err, ERR_GRAPH_LIMIT, "a graph without operators computes nothing");
    for (size_t i = 0; i < g->nodes.n; i++) {
        const Node *nd = &g->nodes.at[i];
        Tensor want;
        if ((u32)nd->op >= OP_COUNT) return err_set(err, ERR_GRAPH_OP, "node %d", (int)i);
        if (!graph_infer(g, nd, &want, err)) return node_fail(g, nd, err);
        for (int j = 0; j < nd->nin; j++) {
            if (made[nd->in[j]]) continue;
            err_set(err, ERR_GRAPH_ORDER, "%s reads %S before it is made", op_name(nd->op),
                    g->tensors.at[nd->in[j]].name);
            return node_fail(g, nd, err);
        }
        if (nd->op == OP_append || nd->op == OP_rope_append) filled[nd->in[nd->nin - 1]] = true;
        if ((nd->op == OP_attention || nd->op == OP_attention_part) && !filled[nd->in[1]]) {
            err_set(err, ERR_GRAPH_ORDER, "%s is read before this step's rows are appended",
                    g->tensors.at[nd->in[1]].name);
            return node_fail(g, nd, err);
        }
        if ((want.nd == 0) != (nd->out < 0)) {
            err_set(err, ERR_GRAPH_SHAPE, "%s has a result where it should not, or none",
                    op_name(nd->op));
            return node_fail(g, nd, err);
        }
        if (nd->out < 0) continue;
        if ((size_t)nd->out >= g->tensors.n || made[nd->out]) {
            err_set(err, ERR_GRAPH_ORDER, "a result is made twice");
            return node_fail(g, nd, err);
        }
        const Tensor *t = &g->tensors.at[nd->out];
        bool same = t->type == want.type && t->nd == want.nd;
        for (int d = 0; same && d < t->nd; d++) same = dim_eq(t->dim[d], want.dim[d]);
        if (!same) {
            err_set(err, ERR_GRAPH_SHAPE, "the result of %s has another shape or type",
                    op_name(nd->op));
            return node_fail(g, nd, err);
        }
        made[nd->out] = true;
    }
    i64 layers = 0;
    for (size_t i = 0; i < g->nodes.n; i++) layers = MAX2(layers, g->nodes.at[i].layer + 1);
    return layers <= g->layers ||
           err_set(err, ERR_GRAPH_LIMIT, "layers=%u, but a line says @%D; correct one of them",
                   g->layers, layers - 1);
}
