// tests/text/tokenize_tool.c: a vocabulary file and texts in, ids out: what the parity suite talks
// to.
//
// usage: tokenize_tool FILE.gguf [--special]     stdin: texts, each behind its length (u32,
// little-endian) stdout: for each text one line: the ids, then ";", then the decoded bytes in
// hexadecimal, special tokens shown.
#include <stdio.h>
#include <stdlib.h>

#include "text/text.h"

static int fail(const Err *err) {
    Arena *a = arena_new(NULL);
    Buf b = {.arena = a};
    err_print(err, &b);
    fprintf(stderr, "%.*s\n", STR_ARG(buf_str(&b)));
    return 1;
}

static bool read_all(FILE *f, u8 **out, size_t *len) {
    size_t cap = 1 << 20;
    u8 *p = malloc(cap);
    for (*len = 0; p != NULL && !feof(f) && !ferror(f);) {
        if (*len == cap) p = realloc(p, cap *= 2);
        if (p != NULL) *len += fread(p + *len, 1, cap - *len, f);
    }
    *out = p;
    return p != NULL && !ferror(f);
}

int main(int argc, char **argv) {
    Err err = {0};
    Arena *a = arena_new(NULL), *scratch = arena_new(NULL);
    Gguf *g;
    Vocab v;
    Tokenizer *t;
    u8 *file, *in;
    size_t file_len, in_len;
    FILE *f = argc > 1 ? fopen(argv[1], "rb") : NULL;
    if (f == NULL || !read_all(f, &file, &file_len) || !read_all(stdin, &in, &in_len)) {
        fprintf(stderr, "usage: tokenize_tool FILE.gguf [--special] < texts\n");
        return 2;
    }
    fclose(f);
    u32 flags = argc > 2 && strcmp(argv[2], "--special") == 0 ? TOKENIZE_SPECIAL : 0;
    Source src = source_memory(file, file_len, str_c(argv[1]));
    if (!gguf_open(a, &src, &g, &err) || !vocab_from_gguf(a, g, &v, &err) ||
        !tokenizer_new(a, &v, &t, &err)) {
        return fail(&err);
    }
    for (size_t at = 0; at + 4 <= in_len;) {
        size_t len = get_u32(in + at);
        if (len > in_len - at - 4) return 2;
        TokenIds ids = {0};
        Buf text = {.arena = scratch};
        if (!tokenizer_encode(t, scratch, (Str){(char *)in + at + 4, len}, flags, &ids, &err) ||
            !tokenizer_decode(t, ids.at, ids.n, DETOKENIZE_SPECIAL, &text, &err)) {
            return fail(&err);
        }
        for (size_t i = 0; i < ids.n; i++) printf(i > 0 ? " %d" : "%d", ids.at[i]);
        putchar(';');
        for (size_t i = 0; i < text.len; i++) printf("%02x", (u8)text.ptr[i]);
        putchar('\n');
        at += 4 + len;
        arena_reset(scratch);
    }
    arena_free(scratch);
    arena_free(a);
    free(file);
    free(in);
    return 0;
}
