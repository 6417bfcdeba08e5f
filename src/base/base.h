// base/base.h: what every room stands on: strings, arenas, errors, text building, hashing, bytes.
//
// No room below this one calls malloc, prints, exits or keeps a global. Memory comes from arenas,
// one for each lifetime; failures are values (Err); text is built into Buf by our own small
// formatter, because libc's costs 21 KB of gzipped wasm.
#ifndef HOB_BASE_H
#define HOB_BASE_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

typedef int32_t i32;
typedef int64_t i64;
typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#define COUNT_OF(a) (sizeof(a) / sizeof((a)[0]))
#define MIN2(a, b)  ((a) < (b) ? (a) : (b))
#define MAX2(a, b)  ((a) > (b) ? (a) : (b))

// A broken invariant of ours traps. No input of a user's may reach one.
#define must(cond) ((cond) ? (void)0 : __builtin_trap())

// ---- str.c: a view of bytes, not terminated; printed "%.*s" by libc and "%S" by buf_fmt ---------
typedef struct Str {
    const char *ptr;
    size_t len;
} Str;
#define S(lit)     ((Str){(lit), sizeof(lit) - 1})
#define STR_ARG(s) (int)(s).len, (s).ptr

Str str_c(const char *z); // z may be NULL: the empty string
bool str_eq(Str a, Str b);
int str_cmp(Str a, Str b); // bytewise; <0, 0, >0
bool str_starts(Str s, Str prefix);
bool str_ends(Str s, Str suffix);
bool str_has(Str s, Str needle);
Str str_sub(Str s, size_t from, size_t to); // clamped to s
Str str_trim(Str s);                        // ASCII white space at both ends
// Cuts s at the first sep: the head is returned, *rest is what follows (empty, ptr NULL, when no
// sep is left).
Str str_cut(Str s, char sep, Str *rest);
bool str_to_i64(Str s, i64 *out);    // decimal or 0x..., the whole of s, no overflow
bool str_to_f64(Str s, double *out); // decimal with optional fraction and exponent, the whole of s

// ---- arena.c: bump allocation, one arena for each lifetime; freed as a whole --------------------
// The host may bring its own allocator: `alloc(user, size)` returns memory aligned to 16 or NULL.
typedef struct HostAlloc {
    void *(*alloc)(void *user, size_t size);
    void (*free)(void *user, void *ptr, size_t size);
    void *user;
} HostAlloc;

typedef struct Arena Arena;

Arena *arena_new(const HostAlloc *host); // NULL host: malloc and free. NULL when there is no memory
void arena_free(Arena *a);               // NULL is fine
void arena_reset(Arena *a);              // gives everything back but the first block
size_t arena_used(const Arena *a);       // bytes handed out
// Zeroed memory, aligned to 16. For sizes that we bound ourselves: traps when there is no memory.
void *arena_alloc(Arena *a, size_t size);
// Zeroed memory for sizes that come from outside: count * size checked, NULL when it overflows or
// is not there.
void *arena_try(Arena *a, u64 count, u64 size);
Str arena_str(Arena *a, Str s);    // a copy, followed by a 0 byte
char *arena_cstr(Arena *a, Str s); // the same, as a C string
#define NEW(a, T)      ((T *)arena_alloc((a), sizeof(T)))
#define NEW_N(a, T, n) ((T *)arena_alloc((a), sizeof(T) * (size_t)(n)))

// A growing array in an arena: VEC(int) v = {0}; vec_push(arena, &v, 3); v.at[i], v.n
#define VEC(T)                                                                                     \
    struct {                                                                                       \
        T *at;                                                                                     \
        size_t n, cap;                                                                             \
    }
void *vec_grow(Arena *a, void *at, size_t n, size_t *cap, size_t elem); // room for one more
#define vec_push(a, v, x)                                                                          \
    (((v)->n == (v)->cap                                                                           \
          ? (void)((v)->at = vec_grow((a), (v)->at, (v)->n, &(v)->cap, sizeof *(v)->at))           \
          : (void)0),                                                                              \
     (void)((v)->at[(v)->n++] = (x)))

// ---- buf.c: text under construction, grows in an arena ------------------------------------------
// Without an arena it fills ptr[0..cap) and then drops what does not fit (and sets `full`).
typedef struct Buf {
    Arena *arena;
    char *ptr; // always followed by a 0 byte once anything was added
    size_t len, cap;
    size_t limit; // 0: none. Past it, text is dropped and `full` set: for output whose size a user
                  // controls
    bool full;
} Buf;

void buf_add(Buf *b, Str s);
void buf_char(Buf *b, char c);
void buf_utf8(Buf *b, u32 codepoint);
// %d i32  %u u32  %D i64  %U u64  %x u32 hex  %X u64 hex  %c char  %s C string  %S Str (by value)
// %g double, shortest text that reads back (as JavaScript prints it)   %.2f double with fixed
// decimals %h float as a hexadecimal C and WGSL literal (0x1.8p+1f)   %% ; widths %3d %-8s %08x.
// Another conversion traps.
void buf_fmt(Buf *b, const char *fmt, ...);
void buf_vfmt(Buf *b, const char *fmt, va_list ap);
Str buf_str(const Buf *b);
Str str_fmt(Arena *a, const char *fmt, ...); // the same into a fresh string
void json_str(Buf *b, Str s);                // json.c: "quoted" as JSON, always valid UTF-8

// ---- err.c: errors are values -------------------------------------------------------------------
// err.def rows: E(ID, "what is wrong in general", "what to do"). Tests assert the id; people read
// the text.
typedef enum ErrId {
    ERR_NONE,
#define E(id, text, remedy) ERR_##id,
#include "base/err.def"
#undef E
    ERR_COUNT
} ErrId;

// Where in the user's input: file@0xoff subject, or file:line:col in text. Filled by the first who
// knows.
typedef struct Err {
    ErrId id;
    char file[160];   // file name or the name of the input; "" unknown
    char subject[96]; // tensor, key, field; "" none
    bool has_off;
    u64 off;       // byte offset in a binary file
    int line, col; // 1-based, 0 when not a text
    char msg[320]; // what is wrong; what to do
} Err;

const char *err_name(ErrId id); // "GGUF_MAGIC"
const char *err_text(ErrId id);
const char *err_remedy(ErrId id);
// Each returns false, so that `return err_set(...)` reads well. An error that is already set is
// kept: the first wins.
bool err_set(Err *e, ErrId id, const char *fmt, ...); // fmt as buf_fmt
bool err_at(Err *e, u64 off); // adds a byte offset to the error set just now, when it has none
bool err_line(Err *e, int line, int col);
bool err_file(Err *e, Str file);       // adds the input's name, when it has none
bool err_subject(Err *e, Str subject); // likewise
// `FILE@0xOFF SUBJECT: what is wrong; what to do`, or `F:LINE:COL: ...`. A message that does not
// say what to do gets its id's remedy; in a page, web/src/errors.ts adds it.
void err_print(const Err *e, Buf *out);

// ---- hash.c -------------------------------------------------------------------------------------
u64 hash_bytes(u64 seed, const void *p,
               size_t n); // FNV-1a folded; stable across machines and versions
u64 hash_str(u64 seed, Str s);
// Open-addressed map from strings to i32, in an arena.
typedef struct StrMap StrMap;
StrMap *strmap_new(Arena *a, size_t expected);
void strmap_put(StrMap *m, Str key,
                i32 value); // the key's bytes must live as long as the map; the last value wins
bool strmap_get(const StrMap *m, Str key, i32 *value);

// Documentation in a table, for messages natively: operators' formulas are 0.8 KB of the page,
// gzipped, which does without.
#ifdef HOB_PAGE
#define DOC(text) ""
#else
#define DOC(text) text
#endif

// ---- checked arithmetic: false on overflow ------------------------------------------------------
static inline bool add_u64(u64 a, u64 b, u64 *r) { return !__builtin_add_overflow(a, b, r); }
// Products of 128 bits are a function call in WebAssembly; most numbers are small.
static inline bool mul_u64(u64 a, u64 b, u64 *r) {
    if ((a | b) >> 32) return !__builtin_mul_overflow(a, b, r);
    *r = a * b;
    return true;
}
static inline bool mul_i64(i64 a, i64 b, i64 *r) {
    if (a != (i32)a || b != (i32)b) return !__builtin_mul_overflow(a, b, r);
    *r = a * b;
    return true;
}
static inline u64 round_up(u64 x, u64 to) { return (x + to - 1) / to * to; }
static inline i64 ceil_div(i64 a, i64 b) { return (a + b - 1) / b; }

// ---- bytes.c: a source of bytes read at an offset (a mapping, memory, a JavaScript window) ------
// read() copies exactly len bytes or returns false; it never reads past size. Offsets are u64
// throughout.
typedef struct Source {
    u64 size;
    bool (*read)(struct Source *s, u64 off, void *dst, size_t len);
    const u8 *map; // the whole file when it is mapped, else NULL
    void *user;
    Str name;  // for error messages
    bool wait; // set by a read() that failed because the bytes are still on their way: the same may
               // be asked again
} Source;

Source source_memory(const void *p, size_t n, Str name);
#if !defined(__wasm__) // file.c: mapped where possible, else read at offsets
bool source_file_open(Arena *a, Str path, Source *out, Err *err);
void source_file_close(Source *s); // not needed before the process ends
// A whole text file, copied to the arena; empty ones and those over the limit are errors.
#define TEXT_FILE_MAX ((u64)64 << 20)
bool source_file_text(Arena *a, Str path, Str *out, Err *err);
#endif
static inline u16 get_u16(const u8 *p) { return (u16)(p[0] | p[1] << 8); }
static inline u32 get_u32(const u8 *p) {
    return (u32)p[0] | (u32)p[1] << 8 | (u32)p[2] << 16 | (u32)p[3] << 24;
}
static inline u64 get_u64(const u8 *p) { return get_u32(p) | (u64)get_u32(p + 4) << 32; }
static inline u32 f32_bits(float f) {
    u32 u;
    memcpy(&u, &f, 4);
    return u;
}
static inline float bits_f32(u32 u) {
    float f;
    memcpy(&f, &u, 4);
    return f;
}
float f16_to_f32(u16 h); // every value, subnormals, infinities and NaN included
u16 f32_to_f16(float f); // to nearest, ties to even; too large: infinity

// ---- thread.c: fork and join with spinning; one thread where there are none (wasm) --------------
typedef struct Pool Pool;
int cpu_count(void);
Pool *pool_new(Arena *a, int threads); // threads >= 1, the caller included
void pool_free(Pool *p);               // joins the workers
int pool_threads(const Pool *p);
// Calls fn(user, i) once for each thread i in [0, threads), the caller taking 0; returns when all
// are done.
void pool_run(Pool *p, void (*fn)(void *user, int thread), void *user);

// ---- clock.c: milliseconds from an arbitrary start ----------------------------------------------
double clock_ms(void);
#if !defined(__wasm__)
void clock_nap(void); // 50 us: between two looks at a device that answers later
#endif

#endif
