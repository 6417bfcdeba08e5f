// tests/model/llama_test.c: a file's keys and tensors -> a graph; what does not fit is an error
// that names it.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include "../format/gguf_file.h"
#include "model/model.h"

// One llama of hidden 8, ffn 12, 2 heads over 1, vocabulary 10: what a test wants wrong is changed
// on the way.
typedef struct Tiny {
    const char *arch, *drop, *scaling; // drop: a tensor or key that is left out
    const char *reshape;               // a tensor that gets one more row
    const char *retype;                // a tensor whose type becomes Q8_0 in name
    const char *more;                  // one tensor more, of 8 values
    const char *said;                  // a key whose value, a float, is `value`
    float value;
    u32 layers, heads, kv, rot, ctx;
    u32 fewer; // layers that the configuration does not count
    bool bias, output, factors;
    float factor;
} Tiny;

static const Tiny right = {.arch = "llama",
                           .layers = 2,
                           .heads = 2,
                           .kv = 1,
                           .rot = 4,
                           .ctx = 100,
                           .output = true,
                           .factor = 2};

typedef struct TensorRow {
    char name[48];
    u32 nd;
    u64 dims[2];
    u32 type;
    u64 bytes;
} TensorRow;

static int add(const Tiny *t, TensorRow *rows, int n, const char *name, int layer, u64 d0, u64 d1) {
    char full[48];
    if (layer >= 0)
        snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    else
        snprintf(full, sizeof full, "%s", name);
    if (t->drop && strcmp(t->drop, full) == 0) return n;
    if (t->reshape && strcmp(t->reshape, full) == 0) d1 == 1 ? d0++ : d1++;
    rows[n] = (TensorRow){.nd = d1 == 1 ? 1 : 2, .dims = {d0, d1}, .bytes = d0 * d1 * 4};
    if (t->retype && strcmp(t->retype, full) == 0) {
        rows[n].type = 8;
        rows[n].dims[0] = 32;
        rows[n].bytes = 34 * d1;
    }
    strcpy(rows[n].name, full);
    return n + 1;
}

static void put_key(File *f, const Tiny *t, const char *name, u32 v, u32 *count) {
    if (t->drop && strcmp(t->drop, name) == 0) return;
    key_u32(f, name, v);
    ++*count;
}

static void build(const Tiny *t, File *f) {
    static TensorRow rows[64];
    int n = 0;
    n = add(t, rows, n, "token_embd.weight", -1, 8, 10);
    for (int i = 0; i < (int)t->layers; i++) {
        n = add(t, rows, n, "attn_norm.weight", i, 8, 1);
        n = add(t, rows, n, "attn_q.weight", i, 8, 8);
        n = add(t, rows, n, "attn_k.weight", i, 8, 4);
        n = add(t, rows, n, "attn_v.weight", i, 8, 4);
        n = add(t, rows, n, "attn_output.weight", i, 8, 8);
        if (t->bias) n = add(t, rows, n, "attn_q.bias", i, 8, 1);
        n = add(t, rows, n, "ffn_norm.weight", i, 8, 1);
        n = add(t, rows, n, "ffn_gate.weight", i, 8, 12);
        n = add(t, rows, n, "ffn_up.weight", i, 8, 12);
        n = add(t, rows, n, "ffn_down.weight", i, 12, 8);
    }
    n = add(t, rows, n, "output_norm.weight", -1, 8, 1);
    if (t->output) n = add(t, rows, n, "output.weight", -1, 8, 10);
    if (t->factors) n = add(t, rows, n, "rope_freqs.weight", -1, 2, 1);
    if (t->more) n = add(t, rows, n, t->more, -1, 8, 1);
    u32 keys = 0;
    for (int pass = 0; pass < 2; pass++) { // the first counts
        header(f, 3, (u64)n, keys);
        keys = 0;
        if (!t->drop || strcmp(t->drop, "general.architecture") != 0) {
            key(f, "general.architecture", 8);
            put_str(f, t->arch);
            keys++;
        }
        put_key(f, t, "llama.block_count", t->layers - t->fewer, &keys);
        put_key(f, t, "llama.embedding_length", 8, &keys);
        put_key(f, t, "llama.feed_forward_length", 12, &keys);
        put_key(f, t, "llama.attention.head_count", t->heads, &keys);
        put_key(f, t, "llama.attention.head_count_kv", t->kv, &keys);
        put_key(f, t, "llama.rope.dimension_count", t->rot, &keys);
        put_key(f, t, "llama.context_length", t->ctx, &keys);
        if (t->said) {
            key(f, t->said, 6);
            put(f, f32_bits(t->value), 4);
            keys++;
        }
        if (t->scaling) {
            key(f, "llama.rope.scaling.type", 8);
            put_str(f, t->scaling);
            keys++;
        }
        u64 off = 0;
        for (int i = 0; i < n; i++) {
            tensor(f, rows[i].name, rows[i].nd, rows[i].dims, rows[i].type, off);
            off = round_up(off + rows[i].bytes, 32);
        }
    }
    pad(f, 32);
    for (int i = 0; i < n; i++) {
        bool freqs = strcmp(rows[i].name, "rope_freqs.weight") == 0;
        for (u64 b = 0; b < rows[i].bytes / 4; b++) put(f, freqs ? f32_bits(t->factor) : 0, 4);
        for (u64 b = 0; b < rows[i].bytes % 4; b++) put(f, 0, 1);
        pad(f, 32);
    }
}

static Graph *open_tiny(Arena *a, const Tiny *t, const ModelOptions *o, Err *err) {
    static File f;
    Gguf *g;
    Graph *graph = NULL;
    ModelOptions none = {0};
    build(t, &f);
    Source *src = NEW(a, Source);
    *src = source_memory(f.b, f.n, S("tiny.gguf"));
    if (!gguf_open(a, src, &g, err) || !model_build(a, g, o ? o : &none, &graph, err)) return NULL;
    return graph;
}

static void a_llama_becomes_a_plain_graph(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Err err = {0};
    Graph *g = open_tiny(a, &right, NULL, &err);
    assert_int_equal(err.id, ERR_NONE);
    assert_non_null(g);
    assert_int_equal(g->ctx, 100);
    assert_int_equal(g->chunk, 100); // a chunk is no longer than the context
    assert_int_equal(g->vocab, 10);
    assert_true(graph_find(g, S("output.weight")) >= 0);
    Tiny tied = right;
    tied.output = false;
    tied.bias = true;
    g = open_tiny(a, &tied, &(ModelOptions){.ctx = 50, .chunk = 7, .m_max = 3}, &err);
    assert_non_null(g);
    assert_int_equal(g->ctx, 50);
    assert_int_equal(g->chunk, 7);
    assert_int_equal(g->m_max, 3);
    assert_true(graph_find(g, S("output.weight")) < 0); // the embedding's rows serve as the head
    int embd = graph_find(g, S("token_embd.weight")), uses = 0;
    for (size_t i = 0; i < g->nodes.n; i++)
        for (int j = 0; j < g->nodes.at[i].nin; j++) uses += g->nodes.at[i].in[j] == embd;
    assert_int_equal(uses, 2);
    assert_true(graph_find(g, S("blk.1.attn_q.bias")) >= 0);
    arena_free(a);
}

static void angles_are_turns_in_fixed_point(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Err err = {0};
    Tiny t = right;
    for (int factors = 0; factors < 2; factors++) {
        t.factors = factors;
        Graph *g = open_tiny(a, &t, NULL, &err);
        assert_non_null(g);
        const Tensor *f = &g->tensors.at[graph_find(g, S("rope.freq"))];
        assert_int_equal(f->dim[0].c, 2);
        for (int j = 0; j < 2; j++) {
            double want = pow(10000, -2.0 * j / 4) / (factors ? 2 : 1) /
                          (2 * 3.14159265358979323846) * 4294967296.0;
            assert_true(fabs(((const u32 *)f->data)[j] - want) <= 0.5);
        }
    }
    arena_free(a);
}

typedef struct Wrong {
    Tiny t;
    ErrId id;
    const char *subject;
} Wrong;

static void what_does_not_fit_is_named(void **state) {
    (void)state;
#define TINY(...)                                                                                  \
    {.arch = "llama",                                                                              \
     .layers = 1,                                                                                  \
     .heads = 2,                                                                                   \
     .kv = 1,                                                                                      \
     .rot = 4,                                                                                     \
     .ctx = 100,                                                                                   \
     .output = true,                                                                               \
     .factor = 2,                                                                                  \
     __VA_ARGS__}
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Woverride-init"
    static const Wrong wrong[] = {
        {TINY(.arch = "mamba"), ERR_MODEL_ARCH, "general.architecture"},
        {TINY(.drop = "general.architecture"), ERR_MODEL_KEY, "general.architecture"},
        {TINY(.drop = "llama.block_count"), ERR_MODEL_KEY, "llama.block_count"},
        {TINY(.drop = "llama.attention.head_count"), ERR_MODEL_KEY, "llama.attention.head_count"},
        {TINY(.drop = "token_embd.weight"), ERR_MODEL_TENSOR, "token_embd.weight"},
        {TINY(.drop = "blk.0.attn_k.weight"), ERR_MODEL_TENSOR, "blk.0.attn_k.weight"},
        {TINY(.drop = "blk.0.ffn_up.weight"), ERR_MODEL_TENSOR, "blk.0.ffn_up.weight"},
        {TINY(.drop = "output_norm.weight"), ERR_MODEL_TENSOR, "output_norm.weight"},
        {TINY(.reshape = "blk.0.attn_q.weight"), ERR_MODEL_SHAPE, "blk.0.attn_q.weight"},
        {TINY(.reshape = "blk.0.ffn_norm.weight"), ERR_MODEL_SHAPE, "blk.0.ffn_norm.weight"},
        {TINY(.reshape = "output.weight"), ERR_MODEL_SHAPE, "output.weight"},
        {TINY(.bias = true, .reshape = "blk.0.attn_q.bias"), ERR_MODEL_SHAPE, "blk.0.attn_q.bias"},
        {TINY(.retype = "blk.0.attn_norm.weight"), ERR_MODEL_SHAPE, "blk.0.attn_norm.weight"},
        {TINY(.kv = 3, .heads = 4), ERR_MODEL_KEY, "llama.attention.head_count_kv"},
        {TINY(.rot = 3), ERR_MODEL_KEY, "llama.rope.dimension_count"},
        {TINY(.rot = 6), ERR_MODEL_KEY, "llama.rope.dimension_count"},
        {TINY(.scaling = "yarn"), ERR_MODEL_UNSUPPORTED, "llama.rope.scaling.type"},
        {TINY(.more = "blk.0.ffn_down.bias"), ERR_MODEL_UNSUPPORTED, "blk.0.ffn_down.bias"},
        {TINY(.more = "blk.0.attn_q_norm.weight"), ERR_MODEL_UNSUPPORTED,
         "blk.0.attn_q_norm.weight"},
        {TINY(.more = "logits"), ERR_MODEL_UNSUPPORTED, "logits"}, // a tensor of the graph is none
        {TINY(.layers = 2, .fewer = 1), ERR_MODEL_UNSUPPORTED, "blk.1.attn_norm.weight"},
        {TINY(.said = "llama.rope.scale_linear", .value = 2), ERR_MODEL_UNSUPPORTED,
         "llama.rope.scale_linear"},
        {TINY(.said = "llama.rope.scaling.factor", .value = 4), ERR_MODEL_UNSUPPORTED,
         "llama.rope.scaling.factor"},
        {TINY(.said = "llama.attention.sliding_window", .value = 64), ERR_MODEL_UNSUPPORTED,
         "llama.attention.sliding_window"},
        {TINY(.said = "llama.attention.scale", .value = 1), ERR_MODEL_UNSUPPORTED,
         "llama.attention.scale"},
        {TINY(.said = "llama.attention.causal", .value = 0), ERR_MODEL_UNSUPPORTED,
         "llama.attention.causal"},
        {TINY(.said = "llama.logit_scale", .value = 0.5f), ERR_MODEL_UNSUPPORTED,
         "llama.logit_scale"},
        {TINY(.said = "llama.expert_count", .value = 4), ERR_MODEL_UNSUPPORTED,
         "llama.expert_count"},
        {TINY(.factors = true, .factor = 0), ERR_MODEL_SHAPE, "rope_freqs.weight"},
        {TINY(.factors = true, .reshape = "rope_freqs.weight"), ERR_MODEL_SHAPE,
         "rope_freqs.weight"},
    };
#pragma GCC diagnostic pop
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        Arena *a = arena_new(NULL);
        Err err = {0};
        Graph *g = open_tiny(a, &wrong[i].t, NULL, &err);
        if (g != NULL || err.id != wrong[i].id || strcmp(err.subject, wrong[i].subject) != 0)
            print_error("case %d: %s %s: %s\n", (int)i, err_name(err.id), err.subject, err.msg);
        assert_null(g);
        assert_int_equal(err.id, wrong[i].id);
        assert_string_equal(err.subject, wrong[i].subject);
        assert_string_equal(err.file, "tiny.gguf");
        char line[900];
        Buf b = {.ptr = line, .cap = sizeof line};
        err_print(&err, &b);
        if (!str_has(buf_str(&b), S("; "))) fail_msg("what to do? %s", err.msg);
        arena_free(a);
    }
}

static void a_key_that_changes_nothing_is_taken(void **state) {
    (void)state;
    static const Tiny none[] = {
        {.said = "llama.logit_scale", .value = 1},
        {.said = "llama.logit_scale", .value = 0},
        {.said = "llama.expert_count", .value = 0},
        {.said = "llama.rope.scaling.factor", .value = 1},
        {.said = "llama.rope.scaling.factor", .value = 4, .scaling = "none"},
        {.said = "llama.tensor_note", .value = 7}};
    for (size_t i = 0; i < COUNT_OF(none); i++) {
        Arena *a = arena_new(NULL);
        Err err = {0};
        Tiny t = right;
        t.said = none[i].said;
        t.value = none[i].value;
        t.scaling = none[i].scaling;
        if (open_tiny(a, &t, NULL, &err) == NULL) fail_msg("%s: %s", err.subject, err.msg);
        arena_free(a);
    }
}

static void an_unknown_architecture_is_told_what_is_known(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Err err = {0};
    Tiny t = right;
    t.arch = "mamba";
    assert_null(open_tiny(a, &t, NULL, &err));
    assert_non_null(strstr(err.msg, "'mamba'"));
    assert_non_null(strstr(err.msg, "known: llama"));
    arena_free(a);
}

static void a_context_longer_than_the_model_knows_is_refused(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Err err = {0};
    assert_null(open_tiny(a, &right, &(ModelOptions){.ctx = 101}, &err));
    assert_int_equal(err.id, ERR_MODEL_KEY);
    assert_string_equal(err.subject, "llama.context_length");
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_llama_becomes_a_plain_graph),
        cmocka_unit_test(angles_are_turns_in_fixed_point),
        cmocka_unit_test(what_does_not_fit_is_named),
        cmocka_unit_test(a_key_that_changes_nothing_is_taken),
        cmocka_unit_test(an_unknown_architecture_is_told_what_is_known),
        cmocka_unit_test(a_context_longer_than_the_model_knows_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
