// tests/compile/llama_text.h: the text of a llama's graph of any shape, with encodings as asked.
#ifndef TEST_LLAMA_TEXT_H
#define TEST_LLAMA_TEXT_H

#include "graph/graph.h"

typedef struct LlamaShape {
    i64 hidden, ffn, heads, kv_heads, head_dim, rot_dim, vocab, layers, ctx, chunk;
    const char *q, *k, *v, *gate, *up, *rest; // encodings; NULL: f32
    bool bias;
} LlamaShape;

// As small as all that a layer does allows; encoding NULL: f32.
static inline LlamaShape llama_small(i64 layers, const char *encoding) {
    return (LlamaShape){.hidden = 64,
                        .ffn = 96,
                        .heads = 2,
                        .kv_heads = 1,
                        .head_dim = 32,
                        .rot_dim = 32,
                        .vocab = 300,
                        .layers = layers,
                        .ctx = 64,
                        .chunk = 16,
                        .q = encoding,
                        .k = encoding,
                        .v = encoding,
                        .gate = encoding,
                        .up = encoding,
                        .rest = encoding};
}

static inline void llama_weight(Buf *b, int layer, const char *name, const char *enc, i64 rows,
                                i64 cols) {
    char full[64];
    Buf n = {.ptr = full, .cap = sizeof full};
    buf_fmt(&n, layer >= 0 ? "blk.%d.%s" : "%.0d%s", layer >= 0 ? layer : 0, name);
    if (cols > 1)
        buf_fmt(b, "weight %s: %s[%D, %D] = %s[0+%D]\n", full, enc ? enc : "f32", rows, cols, full,
                rows);
    else
        buf_fmt(b, "weight %s: f32[%D] = %s[0+%D]\n", full, rows, full, rows);
}

static inline void llama_project(Buf *b, int i, const char *out, const char *x, const char *w,
                                 bool bias) {
    if (!bias) {
        buf_fmt(b, "b%d.%s = matmul(%s, blk.%d.%s) @%d\n", i, out, x, i, w, i);
        return;
    }
    buf_fmt(b, "b%d.%s0 = matmul(%s, blk.%d.%s) @%d\n", i, out, x, i, w, i);
    buf_fmt(b, "b%d.%s = add(b%d.%s0, blk.%d.%s.bias) @%d\n", i, out, i, out, i, w, i);
}

static inline Str llama_text(Arena *a, const LlamaShape *s) {
    Buf b = {.arena = a};
    i64 nq = s->heads * s->head_dim, nkv = s->kv_heads * s->head_dim;
    buf_fmt(&b, "graph ctx=%D chunk=%D m=1 vocab=%D layers=%D\n", s->ctx, s->chunk, s->vocab,
            s->layers);
    buf_fmt(&b, "weight embd: %s[%D, %D] = embd[0+%D]\n", s->rest ? s->rest : "f32", s->vocab,
            s->hidden, s->vocab);
    buf_fmt(&b, "weight norm: f32[%D] = norm[0+%D]\nring tokens: i32[4096]\n", s->hidden,
            s->hidden);
    buf_fmt(&b, "const freq: u32[%D] =", s->rot_dim / 2);
    for (i64 j = 0; j < s->rot_dim / 2; j++) buf_fmt(&b, " %u", 683565276u >> (j < 31 ? j : 31));
    buf_add(&b, S("\n"));
    for (int i = 0; i < (int)s->layers; i++) {
        llama_weight(&b, i, "wq", s->q, nq, s->hidden);
        llama_weight(&b, i, "wk", s->k, nkv, s->hidden);
        llama_weight(&b, i, "wv", s->v, nkv, s->hidden);
        llama_weight(&b, i, "wo", s->rest, s->hidden, nq);
        llama_weight(&b, i, "wg", s->gate, s->ffn, s->hidden);
        llama_weight(&b, i, "wu", s->up, s->ffn, s->hidden);
        llama_weight(&b, i, "wd", s->rest, s->hidden, s->ffn);
        llama_weight(&b, i, "n1", NULL, s->hidden, 1);
        llama_weight(&b, i, "n2", NULL, s->hidden, 1);
        if (s->bias) {
            llama_weight(&b, i, "wq.bias", NULL, nq, 1);
            llama_weight(&b, i, "wk.bias", NULL, nkv, 1);
            llama_weight(&b, i, "wv.bias", NULL, nkv, 1);
        }
        buf_fmt(&b, "cache kv.%d: f32[%D, %D, %D] @%d\n", i, 2 * s->kv_heads, kv_slots(s->ctx),
                s->head_dim, i);
    }
    buf_fmt(&b, "table = rope_table(freq) {rot_dim=%D}\nx0 = embed(embd, tokens)\n", s->rot_dim);
    for (int i = 0; i < (int)s->layers; i++) {
        char x[16], h[16], y[16], act[16];
        Buf bx = {.ptr = x, .cap = 16}, bh = {.ptr = h, .cap = 16}, by = {.ptr = y, .cap = 16},
            ba = {.ptr = act, .cap = 16};
        buf_fmt(&bx, "x%d", 2 * i);
        buf_fmt(&bh, "b%d.h", i);
        buf_fmt(&by, "b%d.y", i);
        buf_fmt(&ba, "b%d.act", i);
        buf_fmt(&b, "%s = rms_norm(%s, blk.%d.n1) {eps=1e-5} @%d\n", h, x, i, i);
        llama_project(&b, i, "q", h, "wq", s->bias);
        llama_project(&b, i, "k", h, "wk", s->bias);
        llama_project(&b, i, "v", h, "wv", s->bias);
        buf_fmt(&b, "b%d.qr = rope(b%d.q, table) {heads=%D, head_dim=%D, rot_dim=%D} @%d\n", i, i,
                s->heads, s->head_dim, s->rot_dim, i);
        buf_fmt(&b, "b%d.kr = rope(b%d.k, table) {heads=%D, head_dim=%D, rot_dim=%D} @%d\n", i, i,
                s->kv_heads, s->head_dim, s->rot_dim, i);
        buf_fmt(&b, "append(b%d.kr, kv.%d) {kv_heads=%D, head_dim=%D, keys=1} @%d\n", i, i,
                s->kv_heads, s->head_dim, i);
        buf_fmt(&b, "append(b%d.v, kv.%d) {kv_heads=%D, head_dim=%D} @%d\n", i, i, s->kv_heads,
                s->head_dim, i);
        buf_fmt(&b, "%s = attention(b%d.qr, kv.%d) {heads=%D, kv_heads=%D, head_dim=%D} @%d\n", y,
                i, i, s->heads, s->kv_heads, s->head_dim, i);
        llama_project(&b, i, "o", y, "wo", false);
        buf_fmt(&b, "x%d = add(%s, b%d.o) @%d\n", 2 * i + 1, x, i, i);
        buf_fmt(&b, "b%d.h2 = rms_norm(x%d, blk.%d.n2) {eps=1e-5} @%d\n", i, 2 * i + 1, i, i);
        buf_fmt(
            &b,
            "b%d.gate = matmul(b%d.h2, blk.%d.wg) @%d\nb%d.up = matmul(b%d.h2, blk.%d.wu) @%d\n", i,
            i, i, i, i, i, i, i);
        buf_fmt(&b, "%s = silu_mul(b%d.gate, b%d.up) @%d\n", act, i, i, i);
        llama_project(&b, i, "down", act, "wd", false);
        buf_fmt(&b, "x%d = add(x%d, b%d.down) @%d\n", 2 * i + 2, 2 * i + 1, i, i);
    }
    buf_fmt(&b,
            "last = take_rows(x%D)\nh = rms_norm(last, norm) {eps=1e-5}\nlogits out = matmul(h, "
            "embd)\n",
            2 * s->layers);
    buf_add(&b, S("argmax(out, tokens)\nsample(out, tokens)\n"));
    return buf_str(&b);
}

static inline u32 run_pick(u32 *s) {
    *s = *s * 1664525u + 1013904223u;
    return *s >> 16;
}

// A shape that nothing divides, from a seed. Encodings with blocks of 32 get sizes that 32 divides.
static inline LlamaShape llama_random(u32 *s) {
    static const char *const enc[] = {"f32", "f16", "bf16", "q8_0", "q4_0", "q4_1"};
#define PICK(n) (run_pick(s) % (n))
    const char *e = enc[PICK(6)];
    bool blocks = e[0] == 'q';
    LlamaShape l = {.ctx = 24, .chunk = 9 + PICK(8), .layers = 1 + PICK(2), .bias = PICK(3) == 0};
    i64 unit = blocks ? 32 : 2;
    l.hidden = unit * (1 + PICK(3)) + (blocks ? 0 : 2 * (i64)(PICK(20)));
    l.ffn = blocks ? 32 * (1 + PICK(4)) : 2 + 2 * (i64)(PICK(40));
    l.kv_heads = 1 + PICK(3);
    l.heads = l.kv_heads * (1 + PICK(3));
    l.head_dim = blocks ? 32 : 2 + 2 * (i64)(PICK(20));
    l.rot_dim = PICK(3) ? l.head_dim : 2 + 2 * (i64)(PICK(l.head_dim / 2));
    l.vocab = 5 + PICK(600);
    l.q = l.k = l.v = l.gate = l.up = l.rest = e;
    if (PICK(3) == 0) l.k = blocks ? "q8_0" : "f32", l.up = blocks ? "q4_0" : "f32";
#undef PICK
    return l;
}

#endif
