// tests/fuzz/tokenizer_fuzz.c: random vocabularies and texts: what is encoded must decode to the
// same bytes.
//
// The first byte chooses: a vocabulary drawn from the input, a GGUF file, or a pattern with a text
// to match.
#include <stdlib.h>

#include "text/text.h"

#define CHECK(cond) ((cond) ? (void)0 : abort())

static void round_trip(const Vocab *v, Str text, u32 flags) {
    Arena *a = arena_new(NULL);
    Err err = {0};
    Tokenizer *t;
    TokenIds ids = {0};
    Buf out = {.arena = a}, shown = {.arena = a};
    if (!tokenizer_new(a, v, &t, &err)) {
        CHECK(err.id != ERR_NONE && err.msg[0] != '\0');
    } else if (tokenizer_encode(t, a, text, flags, &ids, &err)) {
        CHECK(tokenizer_decode(t, ids.at, ids.n, DETOKENIZE_SPECIAL, &out, &err));
        CHECK(ids.n <= text.len && (ids.dropped > 0 || str_eq(buf_str(&out), text)));
        Utf8Stream u = {0};
        for (size_t i = 0; i < out.len; i++)
            utf8_stream_push(&u, str_sub(buf_str(&out), i, i + 1), &shown);
        utf8_stream_end(&u, &shown);
        for (size_t pos = 0; pos < shown.len;) CHECK(utf8_next(buf_str(&shown), &pos) != UTF8_BAD);
    } else {
        CHECK(err.id != ERR_NONE);
    }
    arena_free(a);
}

static u8 take(Str *s) {
    u8 c = s->len > 0 ? (u8)s->ptr[0] : 0;
    *s = str_sub(*s, 1, s->len);
    return c;
}

static void drawn_vocabulary(Str in) {
    static const char *const pres[] = {"gpt2", "smollm", "llama-bpe", "qwen2"};
    Arena *a = arena_new(NULL);
    Vocab v;
    vocab_init(&v);
    v.model = S("gpt2");
    u8 options = take(&in);
    v.pre = str_c(pres[options & 3]);
    u32 n = take(&in), specials = take(&in) & 7;
    u8 absent = take(&in), mask = options & 4 ? take(&in) | 1 : 0xff;
    v.tokens = NEW_N(a, VocabToken, 256 + n + specials);
    v.merges = NEW_N(a, Str, n);
    for (u32 b = 0; b < 256; b++) {
        Buf spelt = {.arena = a};
        char c = (char)b;
        bpe_spell((Str){&c, 1}, &spelt);
        if ((b & mask) != absent || mask == 0xff)
            v.tokens[v.n_tokens++] = (VocabToken){buf_str(&spelt), 0, 1};
    }
    for (u32 i = 0; i < n && v.n_tokens > 0; i++) {
        // Most draws repeat a token, which must be refused; skipping them keeps most vocabularies
        // good.
        u32 at = take(&in) | (u32)(take(&in) & 1) << 8;
        Str left = v.tokens[at % v.n_tokens].text,
            right = v.tokens[(at + take(&in)) % v.n_tokens].text;
        Str joined = str_fmt(a, "%S%S", left, right);
        bool there = joined.len > 200;
        for (u32 k = 0; k < v.n_tokens && !there; k++) there = str_eq(v.tokens[k].text, joined);
        if (there && !(options & 8)) continue;
        v.merges[v.n_merges++] = str_fmt(a, "%S %S", left, right);
        if (!there) v.tokens[v.n_tokens++] = (VocabToken){joined, 0, 1};
    }
    for (u32 i = 0; i < specials; i++) {
        u32 len = take(&in) & 7;
        v.tokens[v.n_tokens++] =
            (VocabToken){str_sub(in, 0, len), 0, (u8)(i & 1 ? TOKEN_USER : TOKEN_CONTROL)};
    }
    round_trip(&v, in, options & 16 ? TOKENIZE_SPECIAL : 0);
    arena_free(a);
}

static void file_vocabulary(Str in) {
    Arena *a = arena_new(NULL);
    Err err = {0};
    Gguf *g;
    Vocab v;
    Source src = source_memory(in.ptr, in.len, S("fuzz.gguf"));
    if (gguf_open(a, &src, &g, &err) && vocab_from_gguf(a, g, &v, &err)) {
        Tokenizer *t;
        TokenIds ids = {0};
        Buf out = {.arena = a};
        // Spellings need not be bytes here, so nothing is promised about what comes back.
        if (tokenizer_new(a, &v, &t, &err) &&
            tokenizer_encode(t, a, in, TOKENIZE_SPECIAL, &ids, &err)) {
            CHECK(tokenizer_decode(t, ids.at, ids.n, 0, &out, &err));
        }
    }
    arena_free(a);
}

static void pattern_and_text(Str in) {
    Arena *a = arena_new(NULL);
    Err err = {0};
    const Pattern *p;
    Str text, pattern = str_cut(in, '\0', &text);
    u64 steps = 0;
    if (pattern_compile(a, pattern, &p, &err)) {
        for (size_t pos = 0; pos <= MIN2(text.len, 64); pos++) {
            i64 end = pattern_match(p, text, pos, &steps);
            CHECK(end == -1 || (end >= (i64)pos && end <= (i64)text.len));
        }
    } else {
        CHECK(err.id == ERR_PATTERN || err.id == ERR_PATTERN_SIZE);
    }
    arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Str in = {(const char *)data, size};
    u8 mode = take(&in);
    if (mode == 'G') {
        file_vocabulary(in);
    } else if (mode == '/') {
        pattern_and_text(in);
    } else {
        drawn_vocabulary(in);
    }
    return 0;
}
