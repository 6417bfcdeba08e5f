// format/gguf_int.h: private to gguf*.c: the parsed file and the cursor that reads it.
#ifndef HOB_GGUF_INT_H
#define HOB_GGUF_INT_H

#include "format/format.h"

typedef enum GgufType { // the file's own ids of value types
    GT_U8,
    GT_I8,
    GT_U16,
    GT_I16,
    GT_U32,
    GT_I32,
    GT_F32,
    GT_BOOL,
    GT_STRING,
    GT_ARRAY,
    GT_U64,
    GT_I64,
    GT_F64,
    GT_COUNT
} GgufType;

typedef struct GgufKey {
    Str name;
    u32 type; // GgufType
    u64 off;  // of the value in the file
    union {
        u64 bits;      // numbers and bool, as stored, zero extended
        Str str;       // STRING
        GgufArray arr; // ARRAY
    };
} GgufKey;

typedef struct GgufEntry { // a row of the tensor table
    FileTensor t;
    u64 entry; // where it stands in the file, for messages
} GgufEntry;

#define GGUF_MAGIC 0x46554747u // "GGUF"

struct Gguf {
    Source *src;
    const char *kind; // of file, for people
    u32 version;      // of the keys' form
    size_t nkeys, ntensors;
    GgufKey *keys;
    GgufEntry *tensors;
    StrMap *key_by_name, *tensor_by_name;
    u64 keys_off, keys_bytes; // where the keys stand
    u64 align, data;          // tensor offsets in the file count from `data`
};

// ---- gguf_cursor.c: reading forwards through a small window -------------------------------------
typedef struct Cursor {
    Arena *a;
    Source *src;
    Err *err;
    u64 at;   // offset in the file
    u64 kept; // bytes copied into the arena so far
    u8 *win;  // a window of the file, where it is not mapped
    u64 win_off;
    size_t win_len;
    const char *part; // what is being read: "the header", "a tensor", for messages
    Str subject;      // the key or tensor being read, once its name is known
} Cursor;

// Fails with place and subject filled from the cursor: `return gguf_fail(c, off, ERR_X, ...)`.
bool gguf_fail(Cursor *c, u64 off, ErrId id, const char *fmt, ...);
// The same for what no program writes: the message ends in "; the file is damaged, ...".
bool gguf_damaged(Cursor *c, u64 off, ErrId id, const char *fmt, ...);
#define CONVERT "; convert the model anew" // what to do about what some program did write
u64 cursor_left(const Cursor *c);
bool cursor_u32(Cursor *c, u32 *v);
bool cursor_u64(Cursor *c, u64 *v);
bool cursor_bits(Cursor *c, size_t bytes, u64 *v); // 1, 2, 4 or 8 bytes, little-endian
bool cursor_skip(Cursor *c, u64 n);
bool cursor_keep(Cursor *c, u64 n,
                 const u8 **p); // n bytes that stay in memory: a view of the mapping or a copy

// ---- gguf_keys.c --------------------------------------------------------------------------------
size_t gguf_type_size(u32 type); // 0: string, array or unknown
const char *gguf_type_name(u32 type);
bool gguf_read_keys(Cursor *c, Gguf *g, u64 count);

// ---- gguf.c -------------------------------------------------------------------------------------
bool gguf_read_front(Cursor *c, Gguf *g); // header and keys at the cursor, and no tensors

// ---- gguf_tensors.c -----------------------------------------------------------------------------
bool gguf_read_tensors(Cursor *c, Gguf *g, u64 count);
bool gguf_check_overlap(Cursor *c, const Gguf *g); // places are inside the file already

#endif
