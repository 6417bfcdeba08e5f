// tests/fuzz/compile_fuzz.c: any graph that the reader accepts compiles or is refused with an
// error; what compiles is a program that its own verifier believes.
#include "compile/compile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *a = arena_new(NULL);
    if (a == NULL) return 0;
    Err err = {0};
    Graph *g = graph_read(a, (Str){(const char *)data, size}, S("fuzz.hgraph"), &err);
    if (g != NULL && g->nodes.n < 60 && g->chunk <= 64 &&
        g->ctx <= 4096) { // larger ones are right but slow
        Profile p;
        must(profile_named(size % 2 ? S("gpu") : S("cpu"), &p));
        CompileOptions o = {.profile = &p,
                            .verify = size % 5 == 0,
                            .regimes = size % 3 ? 1 << REGIME_ROW : 1 << REGIME_MANY};
        Program *prog;
        bool ok = compile_program(a, g, &o, &prog, &err);
        must(ok == (err.id == ERR_NONE));
        if (ok) must(program_verify(prog, &err));
    }
    arena_free(a);
    return 0;
}
