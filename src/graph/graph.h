// graph/graph.h: the model as operators on tensors with symbolic shapes.
//
// A graph is built by model/ once; the passes copy and rewrite it for each regime. Nodes are in
// execution order.
#ifndef HOB_GRAPH_H
#define HOB_GRAPH_H

#include "format/format.h"
#include "program/program.h"

// A dimension: n*cn + m*cm + t*ct + c.
typedef struct Dim {
    i32 cn, cm, ct;
    i64 c;
} Dim;
#define DIM_N ((Dim){.cn = 1})
#define DIM_M ((Dim){.cm = 1})
static inline Dim dim_const(i64 c) { return (Dim){.c = c}; }
static inline bool dim_eq(Dim a, Dim b) {
    return a.cn == b.cn && a.cm == b.cm && a.ct == b.ct && a.c == b.c;
}

typedef enum OpId { // ORDER OP
#define OP(name, nin, doc) OP_##name,
#include "graph/ops.def"
#undef OP
    OP_COUNT
} OpId;

typedef enum TensorKind { // ORDER TENSOR
    TEN_VALUE,            // an intermediate: the plan gives it a place in the arena
    TEN_WEIGHT,           // a Weight record
    TEN_CONST,            // made by the compiler, given as data
    TEN_CACHE,            // keys and values of one layer
    TEN_RING,             // token ring
    TEN_LOGITS,           // m x vocab, read by the host
} TensorKind;

typedef struct Tensor {
    Str name; // blk.3.q
    TensorKind kind;
    Type type;
    int nd;
    Dim dim[3];
    Weight *weight;   // TEN_WEIGHT
    const void *data; // TEN_CONST
    i64 lo, hi;       // values' range, for integers
    int node;         // the node that makes it, -1
    int layer;        // -1
} Tensor;

typedef struct OpAttr { // zero where an operator has no use for a field
    double eps;
    i64 heads, kv_heads, head_dim, rot_dim, ctx, parts, index, q_rows, k_rows;
    i64 bits; // pack: of the weight's fields, 4 or 8
    i64 wide; // pack: 1: numbers of 16 bits, as two bytes
    i64 keys; // append: 1 keys, 0 values
              // everywhere
} OpAttr;

typedef struct Node {
    OpId op;
    int nin;
    int in[6]; // tensor ids
    int out;   // tensor id; append has none of its own: -1
    OpAttr attr;
    int layer;
} Node;

typedef struct Graph {
    Arena *arena;
    u32 ctx, chunk, m_max, vocab, layers;
    VEC(Tensor) tensors;
    VEC(Node) nodes;
} Graph;

enum { PACK_BLOCK = 32 }; // packed activations that share a scale
// A head of the cache holds its slots in blocks of so many: of keys element d of all of them side
// by side, then the next (scores of neighbouring slots are neighbouring lanes); of values slot by
// slot.
enum { KV_BLOCK = 16 };
// Words of a packed row of k numbers: their bytes (wide: the high ones, then the low ones), then
// scales, then sums of blocks.
// Slots of a cache for ctx tokens.
static inline i64 kv_slots(i64 ctx) { return ceil_div(ctx, KV_BLOCK) * KV_BLOCK; }
static inline i64 pack_words(i64 k, i64 wide) { return k / 4 * (1 + wide) + k / PACK_BLOCK * 2; }
enum { ARG_BLOCK = 256 }; // logits in one block of argmax and the sampler
enum { GRAPH_MAX_NODES = 1 << 16, GRAPH_MAX_TENSORS = 1 << 17 };
enum { SAMPLE_DIGIT_BITS = 4, SAMPLE_KEY_BITS = 20 };

// graph.c -- building
Graph *graph_new(Arena *a);
Graph *graph_copy(Arena *a, const Graph *g); // weights are copied too: a pass may change them
int graph_tensor(Graph *g, TensorKind k, Type type, int nd, const Dim *dims, const char *name,
                 int layer);
int graph_weight(Graph *g, Weight *w, int layer);
// Appends a node, infers and returns its result tensor (or -1 for append, argmax, sample...); name
// of the result. The shapes are the caller's to check; a misfit traps here and is an error in
// graph_read and graph_verify.
int graph_node(Graph *g, OpId op, int nin, const int *in, const OpAttr *attr, const char *name,
               int layer);
const char *op_name(OpId op);
const char *op_doc(OpId op);
int op_inputs(OpId op);

int graph_find(const Graph *g, Str name); // tensor id, -1
i64 dim_value(Dim d, i64 n, i64 m, i64 t);
void dim_print(Dim d, Buf *out);
void name_print(Str name, Buf *out); // quoted where it holds more than letters, digits, _ . -
const char *type_name(Type t);
i64 sample_blocks(const Graph *g); // blocks of ARG_BLOCK logits that the vocabulary takes

// infer.c: result of each operator. out: kind, type, nd, dims, lo, hi; nd 0 where the operator has
// no result.
bool graph_infer(const Graph *g, const Node *nd, Tensor *out, Err *err);
// verify.c: arity, kinds, shapes, types, order, cache writes before reads
bool graph_verify(const Graph *g, Err *err);
// print.c, read.c: text form, round trip
void graph_print(const Graph *g, Buf *out);
Graph *graph_read(Arena *a, Str text, Str file, Err *err);

#endif
