// graph/graph.c: building and copying graphs.
//
// Nodes are appended in execution order and refer to tensors by id, so a graph is two arrays and
// copies cheaply: each regime gets a copy of its own, because a rewrite that pays for one row may
// not pay for many.
#include "graph/graph.h"

static const struct {
    const char *name;
    int nin;
    const char *doc;
} ops[] = {
#define OP(name, nin, doc) {#name, nin, DOC(doc)},
#include "graph/ops.def"
#undef OP
};

const char *op_name(OpId op) { return ops[op].name; }
const char *op_doc(OpId op) { return ops[op].doc; }
int op_inputs(OpId op) { return ops[op].nin; }

const char *type_name(Type t) {
    static const char *const names[] = {"i32", "u32", "f32", "bool"}; // ORDER TYPE
    return names[t];
}

Graph *graph_new(Arena *a) {
    Graph *g = NEW(a, Graph);
    g->arena = a;
    return g;
}

Graph *graph_copy(Arena *a, const Graph *g) {
    Graph *c = NEW(a, Graph);
    *c = *g;
    c->arena = a;
    c->tensors.n = c->nodes.n = 0;
    c->tensors.cap = g->tensors.n * 3 / 2 + 8; // room for what passes add
    c->nodes.cap = g->nodes.n * 3 / 2 + 8;
    c->tensors.at = NEW_N(a, Tensor, c->tensors.cap);
    c->nodes.at = NEW_N(a, Node, c->nodes.cap);
    for (size_t i = 0; i < g->tensors.n; i++) {
        Tensor t = g->tensors.at[i];
        if (t.weight != NULL) {
            t.weight = NEW(a, Weight);
            *t.weight = *g->tensors.at[i].weight;
        }
        vec_push(a, &c->tensors, t);
    }
    for (size_t i = 0; i < g->nodes.n; i++) vec_push(a, &c->nodes, g->nodes.at[i]);
    return c;
}

int graph_tensor(Graph *g, TensorKind k, Type type, int nd, const Dim *dims, const char *name,
                 int layer) {
    must(nd >= 0 && nd <= 3 && g->tensors.n < GRAPH_MAX_TENSORS);
    Tensor t = {.name = arena_str(g->arena, str_c(name)),
                .kind = k,
                .type = type,
                .nd = nd,
                .node = -1,
                .layer = layer,
                .lo = type == TY_U32 ? 0 : INT32_MIN,
                .hi = type == TY_U32 ? UINT32_MAX : INT32_MAX};
    for (int i = 0; i < nd; i++) t.dim[i] = dims[i];
    vec_push(g->arena, &g->tensors, t);
    return (int)g->tensors.n - 1;
}

// A vector (cols 1) is a tensor of one dimension: rows is its length, and segments stack along it.
int graph_weight(Graph *g, Weight *w, int layer) {
    Dim d[2] = {dim_const(w->rows), dim_const(w->cols)};
    const char *name = arena_cstr(g->arena, w->name);
    int id = graph_tensor(g, TEN_WEIGHT, TY_F32, w->cols == 1 ? 1 : 2, d, name, layer);
    g->tensors.at[id].weight = w;
    return id;
}

int graph_node(Graph *g, OpId op, int nin, const int *in, const OpAttr *attr, const char *name,
               int layer) {
    must(nin == op_inputs(op) && g->nodes.n < GRAPH_MAX_NODES);
    Node nd = {.op = op, .nin = nin, .out = -1, .layer = layer};
    for (int i = 0; i < nin; i++) nd.in[i] = in[i];
    if (attr != NULL) nd.attr = *attr;
    Tensor t = {0};
    Err err = {0};
    must(graph_infer(g, &nd, &t, &err));
    if (t.nd > 0) {
        nd.out = graph_tensor(g, t.kind, t.type, t.nd, t.dim, name, layer);
        Tensor *o = &g->tensors.at[nd.out];
        o->lo = t.lo;
        o->hi = t.hi;
        o->node = (int)g->nodes.n;
    }
    vec_push(g->arena, &g->nodes, nd);
    return nd.out;
}

int graph_find(const Graph *g, Str name) {
    for (size_t i = 0; i < g->tensors.n; i++)
        if (str_eq(g->tensors.at[i].name, name)) return (int)i;
    return -1;
}

i64 dim_value(Dim d, i64 n, i64 m, i64 t) { return d.cn * n + d.cm * m + d.ct * t + d.c; }

i64 sample_blocks(const Graph *g) { return ceil_div(g->vocab, ARG_BLOCK); }
