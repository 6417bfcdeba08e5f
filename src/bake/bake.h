// bake/bake.h: a model file in other encodings: what becomes what, and the safetensors file of it.
//
//     plan.c    an encoding for each tensor, under a size if one is given; error figures
//     rows.c    a tensor row by row
//     write.c   the file, piece by piece
//
// No model is run here and none understood: tensors have names, shapes and types. Statistics of
// columns come from whoever ran one (engine/calibrate.c).
#ifndef HOB_BAKE_H
#define HOB_BAKE_H

#include "engine/engine.h"

typedef struct BakeOptions {
    u64 size; // bytes the file may take; 0: four bits for each matrix, eight for embedding and head
    const ColumnStats *stats; // columns that count more than others, by tensor; may be none
    size_t nstats;
    // work done of all of it; false stops. NULL: nobody asks
    bool (*progress)(void *user, u64 done, u64 total);
    void *user;
} BakeOptions;

typedef struct BakeTensor {
    const FileTensor *from;
    FileType to;          // from's own type: its bytes are copied
    const float *columns; // how much each counts; NULL: all alike
    u64 bytes;            // of the new form
    double noise;         // squared error over squares, on a sample of rows; 0 where copied
} BakeTensor;

typedef struct BakePlan {
    BakeTensor *at;
    size_t n;
    Str header; // of the file: its length, the JSON and the blanks behind it
    Str keys;   // the tensor hob.keys
    u64 bytes;  // of the file
} BakePlan;

bool bake_plan(Arena *a, const Gguf *g, const BakeOptions *o, BakePlan *out, Err *err);
// write: the next bytes; false: they could not be written.
bool bake_write(const Gguf *g, const BakePlan *p, const BakeOptions *o,
                bool (*write)(void *user, const void *p, size_t n), void *user, Err *err);

// The squared error that Q4_1 adds to each matrix that has more bits: by hob's search, and as plain
// rounding between the extremes adds it.
typedef struct BakeError {
    const FileTensor *tensor;
    double searched, plain;
} BakeError;
bool bake_errors(Arena *a, const Gguf *g, const BakeOptions *o, BakeError **out, size_t *n,
                 Err *err);

// rows.c: rows of a tensor as bytes and as floats.
typedef struct BakeRows {
    const Gguf *file;
    const FileTensor *t;
    u64 rows, row_bytes;
    u8 *bytes; // of one row, where the file is not mapped
    float *x;  // one row
} BakeRows;
bool bake_rows(Arena *a, const Gguf *g, const FileTensor *t, BakeRows *out, Err *err);
bool bake_row_bytes(BakeRows *r, u64 row, const u8 **bytes, Err *err);
bool bake_row(BakeRows *r, u64 row, Err *err); // dequantised into x
bool bake_is_matrix(const FileTensor *t);      // has rows of whole groups that can be requantised

#endif
