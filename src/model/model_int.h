// model/model_int.h: what the architectures share: keys and tensors of a file, checked.
#ifndef HOB_MODEL_INT_H
#define HOB_MODEL_INT_H

#include "model/model.h"

typedef struct ModelFile {
    Arena *arena;
    const Gguf *gguf;
    Str arch; // the prefix of its keys
    Graph *graph;
    bool failed; // a tensor was missing or did not fit; err says which
    Err *err;
} ModelFile;

// ARCH.key as a whole number in [lo, hi]; when it is not needed and not there *v is left alone.
bool model_key(ModelFile *f, const char *key, i64 lo, i64 hi, bool needed, i64 *v);
bool model_float(ModelFile *f, const char *key, double lo, double hi, bool needed, double *v);
// Keys that would change what is computed and that the architecture does not read, each ended by a
// zero byte, the last by two. The first character says what changes nothing: '0' zero, '1' one, '*'
// both. ERR_MODEL_UNSUPPORTED names the first whose value does change something.
bool model_neutral(ModelFile *f, const char *keys);
// The file's tensor as a weight of the graph, its shape and type checked. cols 1: a vector of
// `rows`. -1: not there, or (with f->failed) wrong.
int model_weight(ModelFile *f, const char *name, u64 rows, u64 cols, bool needed, int layer);

bool llama_build(Arena *a, const Gguf *g, const ModelOptions *o, Graph **out, Err *err);

#endif
