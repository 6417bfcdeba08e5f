// tests/fuzz/graph_fuzz.c: any text to the graph reader; what it accepts must print and read back
// the same.
#include "graph/graph.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *a = arena_new(NULL);
    if (a == NULL) return 0;
    Err err = {0};
    Graph *g = graph_read(a, (Str){(const char *)data, size}, S("fuzz.hgraph"), &err);
    if (g != NULL) {
        Buf once = {.arena = a}, twice = {.arena = a};
        graph_print(g, &once);
        Graph *again = graph_read(a, buf_str(&once), S("fuzz.hgraph"), &err);
        must(again != NULL);
        graph_print(again, &twice);
        must(str_eq(buf_str(&once), buf_str(&twice)));
    } else {
        must(err.id != ERR_NONE);
    }
    arena_free(a);
    return 0;
}
