// compile/menu_main.c: hob-menu ISA [FILE [ENCODING]]: prints the kernels of an instruction set as
// C, of one encoding or of all. Runs at build time only.
#include "compile/compile.h"
#include <stdio.h>

static int fail(Arena *a, const Err *err) {
    Buf b = {.arena = a};
    err_print(err, &b);
    fprintf(stderr, "hob-menu: %.*s\n", STR_ARG(buf_str(&b)));
    return 1;
}

// A file that is right already stays as old as it is: what it was compiled to is not made again.
static bool is_there(const char *path, Str text) {
    FILE *f = fopen(path, "rb");
    size_t at = 0, n = 1;
    char part[4096];
    for (; f && n; at += n) {
        n = fread(part, 1, sizeof part, f);
        if (n > text.len - at || memcmp(part, text.ptr + at, n) != 0) break;
    }
    if (f) fclose(f);
    return f && !n && at == text.len;
}

int main(int argc, char **argv) {
    Arena *a = arena_new(NULL);
    Buf out = {.arena = a};
    Err err = {0};
    if (a == NULL || argc < 2 || argc > 4) {
        fprintf(
            stderr,
            "usage: hob-menu plain|avx2|avx512|neon|neon_dot|simd128|relaxed [FILE [ENCODING]]\n");
        return 2;
    }
    if (!menu_print(a, str_c(argv[1]), str_c(argc > 3 ? argv[3] : ""), &out, &err))
        return fail(a, &err);
    bool ok = argc > 2 && is_there(argv[2], buf_str(&out));
    if (!ok) {
        FILE *f = argc > 2 ? fopen(argv[2], "wb") : stdout;
        ok = f != NULL && fwrite(out.ptr, 1, out.len, f) == out.len;
        if (f != NULL && f != stdout) ok = fclose(f) == 0 && ok;
    }
    if (!ok) {
        err_set(&err, ERR_IO, "it could not be written; is there room, and may you write there?");
        err_file(&err, str_c(argc > 2 ? argv[2] : "stdout"));
        return fail(a, &err);
    }
    arena_free(a);
    return 0;
}
