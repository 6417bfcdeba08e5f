// loop/ptrmap.h: a small map from pointers (expressions, variables, buffers) to numbers, in an
// arena. Private to loop/: interning makes a pointer the name of an expression, so passes keep
// their facts by pointer.
#ifndef HOB_LOOP_PTRMAP_H
#define HOB_LOOP_PTRMAP_H

#include "base/base.h"

typedef struct PtrMap {
    Arena *arena;
    const void **key;
    i64 *value;
    size_t n, cap; // cap is a power of two; grows at half full
} PtrMap;

static inline size_t ptrmap_slot(const PtrMap *m, const void *key) {
    u64 h = (u64)(uintptr_t)key;
    h = (h ^ h >> 17) * 0x9E3779B97F4A7C15u;
    size_t i = (size_t)(h >> 20) & (m->cap - 1);
    while (m->key[i] && m->key[i] != key) i = (i + 1) & (m->cap - 1);
    return i;
}

static inline bool ptrmap_get(const PtrMap *m, const void *key, i64 *value) {
    if (!m->n) return false;
    size_t i = ptrmap_slot(m, key);
    if (!m->key[i]) return false;
    *value = m->value[i];
    return true;
}

static inline void ptrmap_put(PtrMap *m, const void *key, i64 value) {
    if (m->n * 2 >= m->cap) {
        PtrMap old = *m;
        m->cap = old.cap ? old.cap * 2 : 16;
        m->key = (const void **)arena_alloc(m->arena, m->cap * sizeof *m->key);
        m->value = arena_alloc(m->arena, m->cap * sizeof *m->value);
        for (size_t i = 0; i < old.cap; i++) {
            if (old.key[i]) {
                size_t to = ptrmap_slot(m, old.key[i]);
                m->key[to] = old.key[i];
                m->value[to] = old.value[i];
            }
        }
    }
    size_t i = ptrmap_slot(m, key);
    m->n += !m->key[i];
    m->key[i] = key;
    m->value[i] = value;
}

static inline void ptrmap_clear(PtrMap *m) {
    if (m->n) {
        memset(m->key, 0, m->cap * sizeof *m->key);
        m->n = 0;
    }
}

#endif
