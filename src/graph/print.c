// graph/print.c: a graph as text that graph_read turns back into the same graph.
//
//   graph ctx=2048 chunk=256 m=1 vocab=49152 layers=30
//   weight blk.0.attn_q.weight: q4_1[576, 576] = blk.0.attn_q.weight[0+576]
//   cache kv.0: f32[6, 2048, 64] @0
//   blk.0.q = matmul(blk.0.attn_norm, blk.0.attn_q.weight) : f32[n, 576] @0
//
// One line a tensor or node, in order; `@3` is the layer. The shape after a node is inferred again
// when read.
#include "graph/graph.h"

static bool plain(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

void name_print(Str name, Buf *out) {
    bool ok = name.len > 0;
    for (size_t i = 0; i < name.len; i++) ok = ok && plain(name.ptr[i]);
    if (ok) {
        buf_add(out, name);
        return;
    }
    buf_char(out, '"');
    for (size_t i = 0; i < name.len; i++) {
        u8 c = (u8)name.ptr[i];
        if (c == '"' || c == '\\' || c < 32) {
            buf_fmt(out, "\\%02x", (u32)c);
        } else {
            buf_char(out, (char)c);
        }
    }
    buf_char(out, '"');
}

void dim_print(Dim d, Buf *out) {
    const char *sep = "";
    const struct {
        i32 c;
        char name;
    } sym[] = {{d.cn, 'n'}, {d.cm, 'm'}, {d.ct, 't'}};
    for (size_t i = 0; i < COUNT_OF(sym); i++) {
        if (sym[i].c == 0) continue;
        if (sym[i].c == 1) {
            buf_fmt(out, "%s%c", sep, sym[i].name);
        } else {
            buf_fmt(out, "%s%d*%c", sep, sym[i].c, sym[i].name);
        }
        sep = " + ";
    }
    if (d.c != 0 || *sep == '\0') buf_fmt(out, "%s%D", sep, d.c);
}

static void print_shape(const Tensor *t, Buf *out) {
    buf_char(out, '[');
    for (int i = 0; i < t->nd; i++) {
        if (i > 0) buf_add(out, S(", "));
        dim_print(t->dim[i], out);
    }
    buf_char(out, ']');
}

static void print_layer(int layer, Buf *out) {
    if (layer >= 0) buf_fmt(out, " @%d", layer);
    buf_char(out, '\n');
}

static void print_tensor(const Tensor *t, Buf *out) {
    static const char *const kinds[] = {"", "weight", "const", "cache", "ring", ""}; // ORDER TENSOR
    buf_fmt(out, "%s ", kinds[t->kind]);
    name_print(t->name, out);
    buf_fmt(out, ": %s",
            t->kind == TEN_WEIGHT ? quant_info(t->weight->encoding)->name : type_name(t->type));
    print_shape(t, out);
    if (t->kind == TEN_WEIGHT) {
        const Weight *w = t->weight;
        if (w->interleave > 1) buf_fmt(out, " x%u", w->interleave);
        for (int i = 0; i < w->nseg; i++) {
            buf_add(out, i == 0 ? S(" = ") : S(", "));
            name_print(w->seg[i].tensor, out);
            buf_fmt(out, "[%u+%u", w->seg[i].row, w->seg[i].rows);
            if (w->seg[i].row_step != 1) buf_fmt(out, "*%u", w->seg[i].row_step);
            buf_char(out, ']');
        }
    } else if (t->kind == TEN_CONST) {
        buf_add(out, S(" ="));
        for (i64 i = 0; i < t->dim[0].c; i++) buf_fmt(out, " %u", ((const u32 *)t->data)[i]);
    }
    print_layer(t->layer, out);
}

static void print_attr(const OpAttr *a, Buf *out) {
    const struct {
        const char *name;
        i64 v;
    } ints[] = {{"heads", a->heads},     {"kv_heads", a->kv_heads}, {"head_dim", a->head_dim},
                {"rot_dim", a->rot_dim}, {"parts", a->parts},       {"bits", a->bits},
                {"wide", a->wide},       {"keys", a->keys}};
    const char *sep = " {";
    if (a->eps != 0) {
        buf_fmt(out, "%seps=%g", sep, a->eps);
        sep = ", ";
    }
    for (size_t i = 0; i < COUNT_OF(ints); i++) {
        if (ints[i].v == 0) continue;
        buf_fmt(out, "%s%s=%D", sep, ints[i].name, ints[i].v);
        sep = ", ";
    }
    if (sep[0] == ',') buf_char(out, '}');
}

void graph_print(const Graph *g, Buf *out) {
    buf_fmt(out, "graph ctx=%u chunk=%u m=%u vocab=%u layers=%u\n", g->ctx, g->chunk, g->m_max,
            g->vocab, g->layers);
    for (size_t i = 0; i < g->tensors.n; i++) {
        const Tensor *t = &g->tensors.at[i];
        if (t->kind != TEN_VALUE && t->kind != TEN_LOGITS) print_tensor(t, out);
    }
    for (size_t i = 0; i < g->nodes.n; i++) {
        const Node *nd = &g->nodes.at[i];
        const Tensor *t = nd->out >= 0 ? &g->tensors.at[nd->out] : NULL;
        if (t != NULL) {
            if (t->kind == TEN_LOGITS) buf_add(out, S("logits "));
            name_print(t->name, out);
            buf_add(out, S(" = "));
        }
        buf_fmt(out, "%s(", op_name(nd->op));
        for (int j = 0; j < nd->nin; j++) {
            if (j > 0) buf_add(out, S(", "));
            name_print(g->tensors.at[nd->in[j]].name, out);
        }
        buf_char(out, ')');
        print_attr(&nd->attr, out);
        if (t != NULL) {
            buf_fmt(out, " : %s", type_name(t->type));
            print_shape(t, out);
        }
        print_layer(nd->layer, out);
    }
}
