// model/model.h: architectures: configuration + tensor names -> graph. One file an architecture,
// one row each.
#ifndef HOB_MODEL_H
#define HOB_MODEL_H

#include "graph/graph.h"

typedef struct ModelOptions {
    u32 ctx;   // 0: the model's, at most 2048
    u32 chunk; // 0: 256
    u32 m_max; // 0: 1
} ModelOptions;

typedef struct ModelArch {
    const char *name; // general.architecture
    bool (*build)(Arena *a, const Gguf *g, const ModelOptions *o, Graph **out, Err *err);
} ModelArch;
// Finds the architecture, checks every tensor's shape against the configuration, builds the graph.
bool model_build(Arena *a, const Gguf *g, const ModelOptions *o, Graph **out, Err *err);

#endif
