// base/hash.c: a stable hash and a map from strings to small integers.
//
// The hash names kernels and nests in files that people keep, so it must never change between
// versions or machines. It is not a defence: a map can be filled with colliding keys, which costs
// time, so its callers bound how many keys they take from a file.
#include "base/base.h"

u64 hash_bytes(u64 seed, const void *p, size_t n) {
    const u8 *b = p;
    u64 h = 0xCBF29CE484222325u ^ (seed * 0x9E3779B97F4A7C15u);
    for (size_t i = 0; i < n; i++) h = (h ^ b[i]) * 0x100000001B3u;
    // FNV mixes upwards only: fold the high bits down, for tables that use the low ones.
    h ^= h >> 32;
    h *= 0xD6E8FEB86659FD93u;
    return h ^ h >> 29;
}

u64 hash_str(u64 seed, Str s) { return hash_bytes(seed, s.ptr, s.len); }

typedef struct Slot {
    Str key;
    u32 hash; // 0: free
    i32 value;
} Slot;

struct StrMap {
    Arena *arena;
    Slot *slots;
    size_t cap, n; // cap is a power of two, at most 3/4 full
};

static u32 key_hash(Str key) {
    u32 h = (u32)hash_str(0, key);
    return h ? h : 1;
}

static Slot *slot_of(const StrMap *m, Str key, u32 hash) {
    for (size_t i = hash & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
        Slot *s = &m->slots[i];
        if (s->hash == 0 || (s->hash == hash && str_eq(s->key, key))) return s;
    }
}

StrMap *strmap_new(Arena *a, size_t expected) {
    StrMap *m = NEW(a, StrMap);
    m->arena = a;
    m->cap = 16;
    while (m->cap / 4 * 3 < expected) m->cap *= 2;
    m->slots = NEW_N(a, Slot, m->cap);
    return m;
}

void strmap_put(StrMap *m, Str key, i32 value) {
    u32 hash = key_hash(key);
    Slot *s = slot_of(m, key, hash);
    if (s->hash) {
        s->value = value;
        return;
    }
    if (m->n + 1 > m->cap / 4 * 3) {
        StrMap old = *m;
        m->cap *= 2;
        m->slots = NEW_N(m->arena, Slot, m->cap);
        for (size_t i = 0; i < old.cap; i++)
            if (old.slots[i].hash) *slot_of(m, old.slots[i].key, old.slots[i].hash) = old.slots[i];
        s = slot_of(m, key, hash);
    }
    *s = (Slot){key, hash, value};
    m->n++;
}

bool strmap_get(const StrMap *m, Str key, i32 *value) {
    Slot *s = slot_of(m, key, key_hash(key));
    if (s->hash) *value = s->value;
    return s->hash != 0;
}
