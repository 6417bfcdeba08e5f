// base/arena.c: bump allocation in blocks; the only file that calls malloc.
//
// An arena is one lifetime: it is freed or reset as a whole, nothing in it alone. The Arena itself
// lives at the start of its first block. Memory is handed out zeroed: blocks from calloc are zero
// already (and untouched pages stay untouched), as are blocks in memory that a page has grown by
// for them; blocks of a host's allocator and reused ones are cleared when handed out. Under
// AddressSanitizer what is not handed out is poisoned, and 16 bytes stay so between two
// allocations.
#include "base/base.h"

#include <stdlib.h>
#ifdef __linux__
#include <sys/mman.h>
#endif

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define ARENA_ASAN 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define ARENA_ASAN 1
#endif
#ifdef ARENA_ASAN
#include <sanitizer/asan_interface.h>
#define POISON(p, n)   ASAN_POISON_MEMORY_REGION(p, n)
#define UNPOISON(p, n) ASAN_UNPOISON_MEMORY_REGION(p, n)
#define RED_ZONE       16
#else
#define POISON(p, n)   ((void)0)
#define UNPOISON(p, n) ((void)0)
#define RED_ZONE       0
#endif

#define ALIGN       16
#define FIRST_BLOCK ((size_t)4096)
#define LARGEST_STEP                                                                               \
    ((size_t)1 << 20) // blocks double up to this; larger requests get a block of their own

// No honest request comes near this; refusing it here keeps a lying size from the host's allocator.
#define LARGEST ((u64)1 << 38)

typedef struct Block {
    struct Block *prev;
    size_t size;  // of the whole block, this header included
    size_t at;    // next free byte
    size_t clean; // bytes from here on are known to be zero
} Block;

struct Arena {
    HostAlloc host;
    Block *top; // where small allocations go
    Block *first;
    size_t used;
    size_t step; // size of the next ordinary block
};

static size_t align_up(size_t n) { return (n + ALIGN - 1) & ~(size_t)(ALIGN - 1); }

#define BLOCK_HEAD align_up(sizeof(Block))

// calloc knows of pages that nobody has written yet. WebAssembly's clears byte by byte, all at
// once; there a block that is not in memory grown by just now is cleared as it is handed out, as a
// host's is.
#ifdef __wasm__
static void *block_get(size_t size, bool *zeroed) {
    size_t end = __builtin_wasm_memory_size(0) << 16;
    void *p = malloc(size);
    *zeroed = end && (size_t)p >= end;
    return p;
}
#else
static void *block_get(size_t size, bool *zeroed) {
    *zeroed = true;
    return calloc(1, size);
}
#endif

// Weights are read from end to end for each token: with pages of 2 MB a processor reads them half
// as fast again.
static void use_large_pages(void *p, size_t size) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
    const uintptr_t page = 1 << 16; // of any machine at most
    uintptr_t from = ((uintptr_t)p + page - 1) & ~(page - 1),
              to = ((uintptr_t)p + size) & ~(page - 1);
    if (size >= (size_t)4 << 20) (void)madvise((void *)from, to - from, MADV_HUGEPAGE);
#else
    (void)p, (void)size;
#endif
}

static Block *block_new(const HostAlloc *host, size_t size) {
    bool zeroed = false;
    Block *b = host->alloc ? host->alloc(host->user, size) : block_get(size, &zeroed);
    if (!b) return NULL;
    if (!host->alloc) use_large_pages(b, size);
    *b = (Block){.size = size, .at = BLOCK_HEAD, .clean = zeroed ? BLOCK_HEAD : size};
    POISON((char *)b + b->at, size - b->at);
    return b;
}

static void block_free(const HostAlloc *host, Block *b) {
    UNPOISON((char *)b + BLOCK_HEAD, b->size - BLOCK_HEAD);
    if (!host->alloc)
        free(b);
    else if (host->free)
        host->free(host->user, b, b->size);
}

// `size` must fit; the caller looked.
static void *block_take(Block *b, size_t size) {
    char *p = (char *)b + b->at;
    UNPOISON(p, size);
    if (b->at < b->clean) memset(p, 0, MIN2(size, b->clean - b->at));
    b->at += align_up(size + RED_ZONE);
    return p;
}

static size_t block_room(const Block *b) { return b->size - b->at; }

Arena *arena_new(const HostAlloc *host) {
    HostAlloc h = host ? *host : (HostAlloc){0};
    Block *b = block_new(&h, FIRST_BLOCK);
    if (!b) return NULL;
    Arena *a = block_take(b, sizeof(Arena));
    *a = (Arena){.host = h, .top = b, .first = b, .step = FIRST_BLOCK * 4};
    return a;
}

static void free_down_to_first(Arena *a) {
    while (a->top != a->first) {
        Block *prev = a->top->prev;
        block_free(&a->host, a->top);
        a->top = prev;
    }
}

void arena_free(Arena *a) {
    if (!a) return;
    free_down_to_first(a);
    HostAlloc h = a->host;
    block_free(&h, a->first);
}

void arena_reset(Arena *a) {
    free_down_to_first(a);
    Block *b = a->first;
    b->clean = MAX2(b->clean, b->at);
    b->at = BLOCK_HEAD + align_up(sizeof(Arena) + RED_ZONE);
    POISON((char *)b + b->at, b->size - b->at);
    a->used = 0;
    a->step = FIRST_BLOCK * 4;
}

size_t arena_used(const Arena *a) { return a->used; }

void *arena_try(Arena *a, u64 count, u64 size) {
    u64 bytes;
    if (!mul_u64(count, size, &bytes) || bytes > MIN2((u64)(SIZE_MAX >> 1), LARGEST)) return NULL;
    size_t n = (size_t)bytes, need = align_up(n + RED_ZONE);
    if (need > block_room(a->top)) {
        // A large request gets a block that it fills; it goes under the top when the top has more
        // room left, so that small allocations keep their place.
        bool own = need > a->step / 2;
        Block *b = block_new(&a->host, own ? BLOCK_HEAD + need : a->step);
        if (!b) return NULL;
        if (own && a->top != a->first) {
            b->prev = a->top->prev;
            a->top->prev = b;
            a->used += n;
            return block_take(b, n);
        }
        b->prev = a->top;
        a->top = b;
        if (!own) a->step = MIN2(a->step * 2, LARGEST_STEP);
    }
    a->used += n;
    return block_take(a->top, n);
}

void *arena_alloc(Arena *a, size_t size) {
    void *p = arena_try(a, 1, size);
    must(p != NULL);
    return p;
}

char *arena_cstr(Arena *a, Str s) {
    char *p = arena_alloc(a, s.len + 1);
    if (s.len) memcpy(p, s.ptr, s.len);
    return p;
}

Str arena_str(Arena *a, Str s) { return (Str){arena_cstr(a, s), s.len}; }

void *vec_grow(Arena *a, void *at, size_t n, size_t *cap, size_t elem) {
    size_t want = *cap ? *cap * 2 : 8;
    void *p = arena_try(a, want, elem);
    must(p != NULL && want > n);
    if (n) memcpy(p, at, n * elem);
    *cap = want;
    return p;
}
