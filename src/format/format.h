// format/format.h: model files: bytes -> named tensors + configuration. gguf, and safetensors that
// hob wrote; others' safetensors and mlc later.
#ifndef HOB_FORMAT_H
#define HOB_FORMAT_H

#include "quant/quant.h"

// ---- model file, whatever the format ------------------------------------------------------------
typedef struct FileTensor {
    Str name;
    FileType type;
    int nd;
    u64 dims[4]; // dims[0] is contiguous (k), dims[1] rows: GGUF's order
    u64 off;     // byte offset in the source
    u64 bytes;
} FileTensor;

// A model file's description: keys in GGUF's form and tensors, whatever the file is.
typedef struct Gguf Gguf;

// ---- safetensors.c ------------------------------------------------------------------------------
// Opens what the file is. The page knows GGUF alone.
bool format_open(Arena *a, Source *src, Gguf **out, Err *err);
// A file of `hob bake`: weights as they are in GGUF files (blocks as rows of bytes, U8, with the
// encoding's name in __metadata__), and the keys as the tensor hob.keys. Checked as gguf_open does:
// the header's length and text, names, types, shapes against places, places inside, no overlap.
bool safetensors_open(Arena *a, Source *src, Gguf **out, Err *err);

// ---- gguf.c: versions 2 and 3 -------------------------------------------------------------------
// Reads header, keys and tensor table through the source (only the front part of the file; tensor
// data stay where they are). The front part is read once, through a window of 64 KB, and kept (at
// most 256 MB of it) unless src is mapped; src must live as long as *out. Everything is checked:
// counts against the bytes left, types, dims > 0 and their product, alignment a power of two,
// offsets aligned and inside, no overlap, no duplicate names.
bool gguf_open(Arena *a, Source *src, Gguf **out, Err *err);
size_t gguf_tensor_count(const Gguf *g);
const FileTensor *gguf_tensor_at(const Gguf *g, size_t i);
const FileTensor *gguf_tensor(const Gguf *g, Str name); // NULL: not there
Source *gguf_source(const Gguf *g);
// Where the keys stand in the source, one after the other: to be copied into another file.
void gguf_keys_at(const Gguf *g, u64 *off, u64 *bytes, u64 *count);
// Typed access to keys: false + err (id, offset, key) when the key is there with another type or
// out of [lo, hi]; when it is missing *out is left alone and true returned (`gguf_has` tells).
bool gguf_has(const Gguf *g, Str key);
bool gguf_get_int(const Gguf *g, Str key, i64 lo, i64 hi, i64 *out,
                  Err *err);                                      // any integer type or bool
bool gguf_get_f32(const Gguf *g, Str key, double *out, Err *err); // finite
bool gguf_get_bool(const Gguf *g, Str key, bool *out, Err *err);
bool gguf_get_str(const Gguf *g, Str key, Str *out, Err *err);
typedef struct GgufArray {
    u32 type; // element type id of GGUF
    u64 n;
    u64 off;      // of the first element in the file
    const u8 *at; // its bytes, in memory
    size_t bytes;
    Str key, file; // for messages
} GgufArray;
bool gguf_get_array(const Gguf *g, Str key, GgufArray *out, Err *err); // out->n = 0 when missing
bool gguf_array_strs(Arena *a, const GgufArray *arr, Str **out, Err *err); // element type string
bool gguf_array_i32(Arena *a, const GgufArray *arr, i32 **out,
                    Err *err); // any integer type that fits
bool gguf_array_f32(Arena *a, const GgufArray *arr, float **out, Err *err); // f32 or f64
void gguf_print(const Gguf *g, Buf *out); // keys and tensors, for `hob inspect`

#endif
