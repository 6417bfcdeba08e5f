// tests/fuzz/gguf_fuzz.c: any bytes as a GGUF file, mapped and through windows; what opens is read
// to the last key.
#include "format/format.h"

#include <stdlib.h>

static bool read_window(Source *s, u64 off, void *dst, size_t len) {
    if (off > s->size || len > s->size - off) return false;
    if (len) memcpy(dst, (const u8 *)s->user + off, len);
    return true;
}

static void ask(Arena *a, Gguf *g, Str key) {
    i64 v;
    double d;
    bool b;
    Str s, *strs;
    i32 *nums;
    float *floats;
    GgufArray arr;
    gguf_get_int(g, key, -100, 1 << 20, &v, &(Err){0});
    gguf_get_f32(g, key, &d, &(Err){0});
    gguf_get_bool(g, key, &b, &(Err){0});
    gguf_get_str(g, key, &s, &(Err){0});
    if (!gguf_get_array(g, key, &arr, &(Err){0})) return;
    gguf_array_strs(a, &arr, &strs, &(Err){0});
    gguf_array_i32(a, &arr, &nums, &(Err){0});
    gguf_array_f32(a, &arr, &floats, &(Err){0});
}

static void open_one(Source s, const u8 *p, size_t n) {
    Arena *a = arena_new(NULL);
    Gguf *g;
    Err e = {0};
    if (gguf_open(a, &s, &g, &e)) {
        Buf b = {.arena = a};
        gguf_print(g, &b);
        ask(a, g, S("tokenizer.ggml.tokens"));
        ask(a, g, S("tokenizer.ggml.scores"));
        ask(a, g, S("a")); // short keys are what the fuzzer finds
        ask(a, g, S("b"));
        for (size_t i = 0; i < gguf_tensor_count(g); i++) {
            const FileTensor *t = gguf_tensor_at(g, i);
            must(t->off <= n && t->bytes <= n - t->off && gguf_tensor(g, t->name) == t);
            u64 k = MIN2(t->dims[0], 256);
            float row[256];
            filetype_dequant_row(t->type, p + t->off, k, row);
        }
    } else {
        must(e.id != ERR_NONE && e.msg[0]);
    }
    arena_free(a);
}

int LLVMFuzzerTestOneInput(const u8 *p, size_t n);
int LLVMFuzzerTestOneInput(const u8 *p, size_t n) {
    open_one(source_memory(p, n, S("fuzz")), p, n);
    open_one(
        (Source){.size = n, .read = read_window, .user = (void *)(uintptr_t)p, .name = S("fuzz")},
        p, n);
    return 0;
}
