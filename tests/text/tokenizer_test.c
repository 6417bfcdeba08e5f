// Tokenizers: the ids that the reference library gives (tests/text/fixtures, made by
// tools/make_tokenizer_fixtures.py), what is special, what is refused, and text that comes back
// byte for byte.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdio.h>

#include "text/text.h"

static Str read_file(Arena *a, const char *path) {
    FILE *f = fopen(path, "rb");
    if (f == NULL) fail_msg("%s is not there; tests run in the tree's root", path);
    Buf b = {.arena = a};
    char part[4096];
    for (size_t n; (n = fread(part, 1, sizeof part, f)) > 0;) buf_add(&b, (Str){part, n});
    fclose(f);
    return buf_str(&b);
}

static void read_vocab(Arena *a, const char *path, Vocab *v) {
    Err err = {0};
    Gguf *g;
    Str bytes = read_file(a, path);
    Source *src = NEW(a, Source);
    *src = source_memory(bytes.ptr, bytes.len, str_c(path));
    if (!gguf_open(a, src, &g, &err) || !vocab_from_gguf(a, g, v, &err))
        fail_msg("%s: %s", path, err.msg);
}

static Tokenizer *make(Arena *a, const Vocab *v) {
    Err err = {0};
    Tokenizer *t = NULL;
    if (!tokenizer_new(a, v, &t, &err)) fail_msg("%s", err.msg);
    return t;
}

static Tokenizer *fixture(Arena *a, const char *name) {
    Vocab *v = NEW(a, Vocab);
    read_vocab(a, arena_cstr(a, str_fmt(a, "tests/text/fixtures/bpe_%s.gguf", name)), v);
    return make(a, v);
}

static TokenIds encode(const Tokenizer *t, Arena *a, Str text, u32 flags) {
    TokenIds ids = {0};
    Err err = {0};
    if (!tokenizer_encode(t, a, text, flags, &ids, &err)) fail_msg("%s", err.msg);
    return ids;
}

static Str decode(const Tokenizer *t, Arena *a, TokenIds ids, u32 flags) {
    Buf out = {.arena = a};
    Err err = {0};
    if (!tokenizer_decode(t, ids.at, ids.n, flags, &out, &err)) fail_msg("%s", err.msg);
    return buf_str(&out);
}

static void check_cases(const char *name) {
    Arena *a = arena_new(NULL);
    const Tokenizer *t = fixture(a, name);
    Str rest = read_file(a, arena_cstr(a, str_fmt(a, "tests/text/fixtures/bpe_%s.cases", name)));
    int lines = 0;
    for (; rest.len > 0; lines++) {
        Str line = str_cut(rest, '\n', &rest), hex, ids_text;
        u32 flags = str_eq(str_cut(line, '\t', &line), S("s")) ? TOKENIZE_SPECIAL : 0;
        hex = str_cut(line, '\t', &ids_text);
        Buf text = {.arena = a};
        for (size_t i = 0; i + 1 < hex.len; i += 2) {
            i64 byte;
            assert_true(str_to_i64(str_fmt(a, "0x%S", str_sub(hex, i, i + 2)), &byte));
            buf_char(&text, (char)byte);
        }
        TokenIds got = encode(t, a, buf_str(&text), flags);
        size_t n = 0;
        for (; ids_text.len > 0; n++) {
            i64 want;
            assert_true(str_to_i64(str_cut(ids_text, ' ', &ids_text), &want));
            if (n >= got.n || got.at[n] != want)
                fail_msg("%s.cases:%d: id %d differs", name, lines + 1, (int)n);
        }
        if (n != got.n)
            fail_msg("%s.cases:%d: %d ids, not %d", name, lines + 1, (int)got.n, (int)n);
        if (got.dropped == 0)
            assert_true(str_eq(decode(t, a, got, DETOKENIZE_SPECIAL), buf_str(&text)));
    }
    assert_true(lines > 80);
    arena_free(a);
}

static void bpe_gives_the_reference_ids_with_gpt2(void **state) {
    (void)state, check_cases("gpt2");
}
static void bpe_gives_the_reference_ids_with_smollm(void **state) {
    (void)state, check_cases("smollm");
}
static void bpe_gives_the_reference_ids_with_llama_bpe(void **state) {
    (void)state, check_cases("llama_bpe");
}
static void bpe_gives_the_reference_ids_with_qwen2(void **state) {
    (void)state, check_cases("qwen2");
}

// ---- a vocabulary made by hand: every byte, then what a test adds -------------------------------

typedef struct Hand {
    Arena *a;
    Vocab v;
} Hand;

static i32 add(Hand *h, const char *text, TokenType type) {
    h->v.tokens[h->v.n_tokens] = (VocabToken){arena_str(h->a, str_c(text)), 0, (u8)type};
    return (i32)h->v.n_tokens++;
}

static i32 merge(Hand *h, const char *left, const char *right) {
    h->v.merges[h->v.n_merges++] = str_fmt(h->a, "%s %s", left, right);
    return add(h, arena_cstr(h->a, str_fmt(h->a, "%s%s", left, right)), TOKEN_NORMAL);
}

static Hand hand(void) {
    Hand h = {.a = arena_new(NULL)};
    vocab_init(&h.v);
    h.v.model = S("gpt2");
    h.v.pre = S("gpt2");
    h.v.tokens = NEW_N(h.a, VocabToken, 1000);
    h.v.merges = NEW_N(h.a, Str, 1000);
    for (int b = 0; b < 256; b++) {
        Buf spelt = {.arena = h.a};
        char c = (char)b;
        bpe_spell((Str){&c, 1}, &spelt);
        add(&h, spelt.ptr, TOKEN_NORMAL);
    }
    return h;
}

static ErrId refused(const Vocab *v) {
    Arena *a = arena_new(NULL);
    Err err = {0};
    Tokenizer *t;
    bool ok = tokenizer_new(a, v, &t, &err);
    arena_free(a);
    assert_true(ok == (err.id == ERR_NONE));
    return err.id;
}

static void bytes_are_spelt_as_gpt2_spells_them(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Buf all = {.arena = a}, spelt = {.arena = a}, back = {.arena = a};
    for (int b = 0; b < 256; b++) buf_char(&all, (char)b);
    bpe_spell(buf_str(&all), &spelt);
    bpe_decode(buf_str(&spelt), &back);
    assert_true(str_eq(buf_str(&all), buf_str(&back)));
    spelt.len = 0;
    bpe_spell((Str){" \n\x7f\xa0\xad\xff"
                    "a",
                    7},
              &spelt);
    assert_string_equal(spelt.ptr, "\xc4\xa0\xc4\x8a\xc4\xa1\xc5\x82\xc5\x83\xc3\xbf"
                                   "a");
    back.len = 0;
    bpe_decode(S("two words"), &back); // a space is nobody's spelling: the text stands for itself
    assert_string_equal(back.ptr, "two words");
    arena_free(a);
}

static void every_string_of_bytes_comes_back(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    const char *names[] = {"gpt2", "llama_bpe", "qwen2"};
    for (size_t k = 0; k < COUNT_OF(names); k++) {
        const Tokenizer *t = fixture(a, names[k]);
        u32 seed = 1;
        for (int i = 0; i < 2000; i++) {
            char bytes[64];
            size_t n = (size_t)i % 64;
            for (size_t j = 0; j < n; j++)
                bytes[j] = (char)((seed = seed * 1664525 + 1013904223) >> 24);
            TokenIds ids = encode(t, a, (Str){bytes, n}, 0);
            assert_int_equal(ids.dropped, 0);
            assert_true(str_eq(decode(t, a, ids, 0), (Str){bytes, n}));
        }
    }
    arena_free(a);
}

static void bytes_without_a_token_are_left_out_and_counted(void **state) {
    (void)state;
    Hand h = hand();
    i32 ab = merge(&h, "a", "b");
    h.v.tokens['x'].text = S("no byte");
    TokenIds ids = encode(make(h.a, &h.v), h.a, S("axbx"), 0);
    assert_int_equal(ids.dropped, 2);
    assert_int_equal(ids.n, 1); // what is left meets and merges
    assert_int_equal(ids.at[0], ab);
    arena_free(h.a);
}

static void bpe_keeps_leading_space(void **state) {
    (void)state;
    Hand h = hand();
    i32 a_token = merge(&h, "\xc4\xa0", "a");
    const Tokenizer *t = make(h.a, &h.v);
    TokenIds ids = encode(t, h.a, S(" a"), 0);
    assert_int_equal(ids.n, 1);
    assert_int_equal(ids.at[0], a_token);
    assert_true(str_eq(decode(t, h.a, ids, 0), S(" a")));
    arena_free(h.a);
}

static void long_words_merge_like_short_ones(void **state) {
    (void)state;
    Hand h = hand();
    i32 aa = merge(&h, "a", "a"), aaaa = merge(&h, "aa", "aa"), ba = merge(&h, "b", "a");
    const Tokenizer *t = make(h.a, &h.v);
    for (size_t n = 1; n < 200; n++) { // 24 bytes are the last that go the short way
        Buf text = {.arena = h.a};
        buf_char(&text, 'b');
        for (size_t i = 0; i < n; i++) buf_char(&text, 'a');
        TokenIds ids = encode(t, h.a, buf_str(&text), 0);
        // aa is the best merge, leftmost first; b meets an a only when one is left at its side,
        // which is never so but for a single one
        size_t i = 0, left = n;
        if (n == 1) {
            assert_int_equal(ids.at[i++], ba);
            left = 0;
        } else {
            assert_int_equal(ids.at[i++], 'b');
        }
        for (; left >= 4; left -= 4) assert_int_equal(ids.at[i++], aaaa);
        if (left >= 2) assert_int_equal(ids.at[i++], aa);
        if (left % 2 == 1) assert_int_equal(ids.at[i++], 'a');
        assert_int_equal(i, ids.n);
    }
    arena_free(h.a);
}

static void a_megabyte_without_a_space_takes_no_quadratic_time(void **state) {
    (void)state;
    Hand h = hand();
    merge(&h, "a", "a");
    merge(&h, "aa", "aa");
    merge(&h, "aaaa", "aaaa");
    const Tokenizer *t = make(h.a, &h.v);
    char *text = NEW_N(h.a, char, 1 << 20);
    memset(text, 'a', 1 << 20);
    assert_int_equal(encode(t, h.a, (Str){text, 1 << 20}, 0).n, 1 << 17);
    memset(text, ' ', 1 << 20);
    assert_int_equal(encode(t, h.a, (Str){text, 1 << 20}, 0).n, 1 << 20);
    arena_free(h.a);
}

static void control_tokens_are_text_unless_asked_for(void **state) {
    (void)state;
    Hand h = hand();
    i32 end = add(&h, "<|end|>", TOKEN_CONTROL), longer = add(&h, "<|end|>>", TOKEN_CONTROL);
    i32 tool = add(&h, "<tool>", TOKEN_USER);
    const Tokenizer *t = make(h.a, &h.v);
    TokenIds ids = encode(t, h.a, S("a<|end|><tool>"), TOKENIZE_SPECIAL);
    assert_int_equal(ids.n, 3);
    assert_int_equal(ids.at[1], end);
    assert_int_equal(ids.at[2], tool);
    assert_true(str_eq(decode(t, h.a, ids, DETOKENIZE_SPECIAL), S("a<|end|><tool>")));
    assert_true(str_eq(decode(t, h.a, ids, 0), S("a<tool>")));
    ids = encode(t, h.a, S("<|end|>>"), TOKENIZE_SPECIAL);
    assert_int_equal(ids.n, 1); // the longest
    assert_int_equal(ids.at[0], longer);
    ids = encode(t, h.a, S("<|end|><tool"), 0);
    assert_int_equal(ids.n, 12);
    ids = encode(t, h.a, S("<tool><tool>"), 0);
    assert_int_equal(ids.n, 2);
    ids = encode(t, h.a, S("<<tool>"), 0);
    assert_int_equal(ids.n, 2);
    arena_free(h.a);
}

static void bos_and_eos_come_when_asked_for(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Err err = {0};
    const Tokenizer *t = fixture(a, "gpt2");
    TokenIds ids = encode(t, a, S(""), TOKENIZE_BOS | TOKENIZE_EOS);
    assert_int_equal(ids.n, 2);
    assert_int_equal(ids.at[0], 1);
    assert_int_equal(ids.at[1], 2);
    assert_int_equal(encode(t, a, S(""), 0).n, 0);
    Hand h = hand();
    TokenIds none = {0};
    assert_false(tokenizer_encode(make(h.a, &h.v), h.a, S("a"), TOKENIZE_BOS, &none, &err));
    assert_int_equal(err.id, ERR_TOKEN_NONE);
    arena_free(h.a);
    arena_free(a);
}

static void a_turn_ends_at_what_the_file_or_its_spelling_says(void **state) {
    (void)state;
    Hand h = hand();
    i32 eot = add(&h, "<|eot_id|>", TOKEN_CONTROL), other = add(&h, "<|x|>", TOKEN_CONTROL);
    i32 word = add(&h, "</s>", TOKEN_NORMAL);
    h.v.eos = 7;
    const Tokenizer *t = make(h.a, &h.v);
    assert_true(tokenizer_is_end(t, 7) && tokenizer_is_end(t, eot));
    assert_false(tokenizer_is_end(t, other) || tokenizer_is_end(t, word) ||
                 tokenizer_is_end(t, -1));
    arena_free(h.a);
}

static void ids_out_of_range_are_refused(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    const Tokenizer *t = fixture(a, "gpt2");
    const i32 bad[] = {-1, (i32)tokenizer_vocab(t)->n_tokens, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        Buf out = {.arena = a};
        Err err = {0};
        assert_false(tokenizer_decode(t, &bad[i], 1, 0, &out, &err));
        assert_int_equal(err.id, ERR_TOKEN_ID);
    }
    arena_free(a);
}

static void vocabularies_that_do_not_fit_are_refused(void **state) {
    (void)state;
    Hand h = hand();
    assert_int_equal(refused(&h.v), ERR_NONE);
    Vocab v = h.v;
    v.model = S("abacus");
    assert_int_equal(refused(&v), ERR_VOCAB_MODEL);
    v = h.v, v.pre = S("abacus");
    assert_int_equal(refused(&v), ERR_VOCAB_PRE);
    v = h.v, v.n_tokens = 0;
    assert_int_equal(refused(&v), ERR_VOCAB_SIZE);
    v = h.v, v.bos = 256;
    assert_int_equal(refused(&v), ERR_VOCAB_ID);
    v = h.v, v.pad = -2;
    assert_int_equal(refused(&v), ERR_VOCAB_ID);
    static const char *const merges[] = {"ab", "", "a ", " ", "a zz", "zz a", "a b", "\xff \xff"};
    for (size_t i = 0; i < COUNT_OF(merges); i++) { // "a b": no token ab
        Str m = str_c(merges[i]);
        v = h.v, v.merges = &m, v.n_merges = 1;
        assert_int_equal(refused(&v), ERR_VOCAB_MERGE);
    }
    merge(&h, "a", "b");
    assert_int_equal(refused(&h.v), ERR_NONE);
    h.v.merges[h.v.n_merges++] = S("a b");
    assert_int_equal(refused(&h.v), ERR_VOCAB_MERGE);
    h.v.n_merges--;
    add(&h, "ab", TOKEN_NORMAL);
    assert_int_equal(refused(&h.v), ERR_VOCAB_DUPLICATE);
    h.v.n_tokens--;
    char *endless = NEW_N(h.a, char, 70000);
    memset(endless, 'a', 69999);
    add(&h, endless, TOKEN_NORMAL);
    assert_int_equal(refused(&h.v), ERR_VOCAB_SIZE);
    endless[600] = '\0';
    h.v.n_tokens--;
    add(&h, endless, TOKEN_CONTROL);
    assert_int_equal(refused(&h.v), ERR_VOCAB_SIZE);
    arena_free(h.a);
}

// ---- vocabularies in files ----------------------------------------------------------------------

typedef struct File {
    Buf b;
    u32 keys;
} File;

static void put_u32(Buf *b, u32 v) {
    for (int i = 0; i < 4; i++) buf_char(b, (char)(v >> 8 * i));
}
static void put_str(Buf *b, const char *s) {
    put_u32(b, (u32)strlen(s));
    put_u32(b, 0);
    buf_add(b, str_c(s));
}
static void key(File *f, const char *name, u32 type) {
    put_str(&f->b, name);
    put_u32(&f->b, type);
    f->keys++;
}
static void key_str(File *f, const char *name, const char *s) {
    key(f, name, 8);
    put_str(&f->b, s);
}
static void key_u32(File *f, const char *name, u32 v) {
    key(f, name, 4);
    put_u32(&f->b, v);
}
static void key_array(File *f, const char *name, u32 type, u32 n) {
    key(f, name, 9);
    put_u32(&f->b, type);
    put_u32(&f->b, n);
    put_u32(&f->b, 0);
}

// Two tokens and what `change` asks for; the id of the error, ERR_NONE when the vocabulary is read.
static ErrId file_error(const char *change) {
    Arena *a = arena_new(NULL);
    File f = {.b = {.arena = a}};
    bool is_types = strcmp(change, "types") == 0, is_scores = strcmp(change, "scores") == 0;
    if (strcmp(change, "model") != 0) key_str(&f, "tokenizer.ggml.model", "gpt2");
    if (strcmp(change, "pre") == 0)
        key_u32(&f, "tokenizer.ggml.pre", 1);
    else
        key_str(&f, "tokenizer.ggml.pre", "llama-bpe");
    if (strcmp(change, "empty") == 0) {
        key_array(&f, "tokenizer.ggml.tokens", 8, 0);
    } else if (strcmp(change, "numbers") == 0) {
        key_array(&f, "tokenizer.ggml.tokens", 4, 2);
        put_u32(&f.b, 1), put_u32(&f.b, 2);
    } else if (strcmp(change, "tokens") != 0) {
        key_array(&f, "tokenizer.ggml.tokens", 8, 2);
        put_str(&f.b, "a"), put_str(&f.b, "b");
    }
    key_array(&f, "tokenizer.ggml.token_type", 5, is_types ? 3 : 2);
    for (u32 i = 0; i < (is_types ? 3u : 2u); i++)
        put_u32(&f.b, strcmp(change, "type") == 0 ? 9 : 1);
    key_array(&f, "tokenizer.ggml.scores", strcmp(change, "score type") == 0 ? 4 : 6,
              is_scores ? 1 : 2);
    for (u32 i = 0; i < (is_scores ? 1u : 2u); i++) put_u32(&f.b, 0);
    key_u32(&f, "tokenizer.ggml.bos_token_id", strcmp(change, "bos") == 0 ? 2 : 1);
    key_u32(&f, "tokenizer.ggml.eos_token_id", UINT32_MAX);
    Buf head = {.arena = a};
    buf_add(&head, S("GGUF"));
    put_u32(&head, 3);
    put_u32(&head, 0), put_u32(&head, 0);
    put_u32(&head, f.keys), put_u32(&head, 0);
    buf_add(&head, buf_str(&f.b));
    Source src = source_memory(head.ptr, head.len, S("x.gguf"));
    Gguf *g;
    Vocab v;
    Err err = {0};
    if (!gguf_open(a, &src, &g, &err)) fail_msg("%s: %s", change, err.msg);
    bool ok = vocab_from_gguf(a, g, &v, &err);
    assert_true(ok == (err.id == ERR_NONE));
    if (ok) {
        assert_int_equal(v.n_tokens, 2);
        assert_int_equal(v.bos, 1);
        assert_int_equal(v.eos, -1);
        assert_true(v.add_bos && !v.add_eos && v.chat_template.ptr == NULL);
    } else {
        assert_true(err.subject[0] != '\0');
    }
    arena_free(a);
    return err.id;
}

static void files_with_broken_vocabularies_are_refused(void **state) {
    (void)state;
    assert_int_equal(file_error(""), ERR_NONE);
    assert_int_equal(file_error("model"), ERR_VOCAB_NONE);
    assert_int_equal(file_error("tokens"), ERR_VOCAB_SIZE);
    assert_int_equal(file_error("empty"), ERR_VOCAB_SIZE);
    assert_int_equal(file_error("types"), ERR_VOCAB_LENGTH);
    assert_int_equal(file_error("scores"), ERR_VOCAB_LENGTH);
    assert_int_equal(file_error("type"), ERR_VOCAB_TYPE);
    assert_int_equal(file_error("bos"), ERR_VOCAB_ID);
    assert_int_not_equal(file_error("pre"), ERR_NONE);
    assert_int_not_equal(file_error("numbers"), ERR_NONE);
    assert_int_not_equal(file_error("score type"), ERR_NONE);
}

static void a_streamed_answer_is_the_decoded_text(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    const Tokenizer *t = fixture(a, "gpt2");
    const Str text =
        S("na\xc3\xafve \xe4\xbd\xa0\xe5\xa5\xbd \xf0\x9f\x91\x8d\xf0\x9f\x8f\xbd end");
    TokenIds ids = encode(t, a, text, 0);
    Utf8Stream u = {0};
    Buf out = {.arena = a};
    bool waited = false;
    for (size_t i = 0; i < ids.n; i++) {
        Buf piece = {.arena = a};
        Err err = {0};
        assert_true(tokenizer_decode_one(t, ids.at[i], 0, &piece, &err));
        utf8_stream_push(&u, buf_str(&piece), &out);
        waited |= u.n > 0;
        for (size_t pos = 0; pos < out.len;)
            assert_true(utf8_next(buf_str(&out), &pos) != UTF8_BAD);
    }
    utf8_stream_end(&u, &out);
    assert_true(waited && str_eq(buf_str(&out), text));
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bpe_gives_the_reference_ids_with_gpt2),
        cmocka_unit_test(bpe_gives_the_reference_ids_with_smollm),
        cmocka_unit_test(bpe_gives_the_reference_ids_with_llama_bpe),
        cmocka_unit_test(bpe_gives_the_reference_ids_with_qwen2),
        cmocka_unit_test(bytes_are_spelt_as_gpt2_spells_them),
        cmocka_unit_test(every_string_of_bytes_comes_back),
        cmocka_unit_test(bytes_without_a_token_are_left_out_and_counted),
        cmocka_unit_test(bpe_keeps_leading_space),
        cmocka_unit_test(long_words_merge_like_short_ones),
        cmocka_unit_test(a_megabyte_without_a_space_takes_no_quadratic_time),
        cmocka_unit_test(control_tokens_are_text_unless_asked_for),
        cmocka_unit_test(bos_and_eos_come_when_asked_for),
        cmocka_unit_test(a_turn_ends_at_what_the_file_or_its_spelling_says),
        cmocka_unit_test(ids_out_of_range_are_refused),
        cmocka_unit_test(vocabularies_that_do_not_fit_are_refused),
        cmocka_unit_test(files_with_broken_vocabularies_are_refused),
        cmocka_unit_test(a_streamed_answer_is_the_decoded_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
