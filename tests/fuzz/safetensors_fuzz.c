// tests/fuzz/safetensors_fuzz.c: any bytes as a safetensors file, mapped and through windows; what
// opens is read to the last key and tensor.
#include "format/format.h"

static bool read_window(Source *s, u64 off, void *dst, size_t len) {
    if (off > s->size || len > s->size - off) return false;
    if (len) memcpy(dst, (const u8 *)s->user + off, len);
    return true;
}

static void open_one(Source s, const u8 *p, size_t n) {
    Arena *a = arena_new(NULL);
    Gguf *g;
    Err e = {0};
    if (safetensors_open(a, &s, &g, &e)) {
        Buf b = {.arena = a};
        gguf_print(g, &b);
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
