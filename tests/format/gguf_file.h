// tests/format/gguf_file.h: builds GGUF files in memory, honest ones and, by patching, lying ones.
#ifndef HOB_TESTS_GGUF_FILE_H
#define HOB_TESTS_GGUF_FILE_H

#include "format/format.h"

typedef struct File {
    u8 b[16384];
    size_t n;
} File;

static inline void put(File *f, u64 v, size_t bytes) {
    must(f->n + bytes <= sizeof f->b);
    for (size_t i = 0; i < bytes; i++) f->b[f->n++] = (u8)(v >> 8 * i);
}

static inline void put_str(File *f, const char *s) {
    put(f, strlen(s), 8);
    for (; *s; s++) put(f, (u8)*s, 1);
}

static inline void header(File *f, u32 version, u64 tensors, u64 keys) {
    f->n = 0;
    put(f, 0x46554747, 4);
    put(f, version, 4);
    put(f, tensors, 8);
    put(f, keys, 8);
}

static inline void key(File *f, const char *name, u32 type) // the value follows
{
    put_str(f, name);
    put(f, type, 4);
}

static inline void key_u32(File *f, const char *name, u32 v) {
    key(f, name, 4);
    put(f, v, 4);
}

static inline void tensor(File *f, const char *name, u32 nd, const u64 *dims, u32 type, u64 off) {
    put_str(f, name);
    put(f, nd, 4);
    for (u32 i = 0; i < nd; i++) put(f, dims[i], 8);
    put(f, type, 4);
    put(f, off, 8);
}

static inline void tensor1(File *f, const char *name, u64 dim, u64 off) // f32
{
    tensor(f, name, 1, &dim, 0, off);
}

static inline void pad(File *f, size_t align) {
    while (f->n % align) put(f, 0, 1);
}

#endif
