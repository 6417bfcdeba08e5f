// Patterns: what they match, what they refuse, and that nothing makes them slow.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "text/text.h"

// The end of the match of pattern at the text's start.
static i64 match(const char *pattern, const char *text) {
    Arena *a = arena_new(NULL);
    Err err = {0};
    const Pattern *p;
    u64 steps = 0;
    if (!pattern_compile(a, str_c(pattern), &p, &err)) fail_msg("%s: %s", pattern, err.msg);
    i64 end = pattern_match(p, str_c(text), 0, &steps);
    arena_free(a);
    return end;
}

static ErrId refused(const char *pattern) {
    Arena *a = arena_new(NULL);
    Err err = {0};
    const Pattern *p;
    bool ok = pattern_compile(a, str_c(pattern), &p, &err);
    arena_free(a);
    assert_true(ok == (err.id == ERR_NONE));
    return err.id;
}

static void the_first_alternative_wins(void **state) {
    (void)state;
    assert_int_equal(match("a|ab", "ab"), 1);
    assert_int_equal(match("ab|a", "ab"), 2);
    assert_int_equal(match("ab|a", "ac"), 1);
    assert_int_equal(match("(a|ab)(c|bcd)", "abcd"), 4);
    assert_int_equal(match("x|", "a"), 0);
    assert_int_equal(match("x", "a"), -1);
}

static void repetition_is_greedy_lazy_or_possessive(void **state) {
    (void)state;
    assert_int_equal(match("a*", "aaab"), 3);
    assert_int_equal(match("a*?", "aaab"), 0);
    assert_int_equal(match("a+?", "aaab"), 1);
    assert_int_equal(match("a+?b", "aaab"), 4);
    assert_int_equal(match("a{2}", "aaab"), 2);
    assert_int_equal(match("a{4}", "aaab"), -1);
    assert_int_equal(match("a{1,2}", "aaab"), 2);
    assert_int_equal(match("a{2,}", "aaab"), 3);
    assert_int_equal(match("a*a", "aaa"), 3);
    assert_int_equal(match("a*+a", "aaa"), -1);
    assert_int_equal(match("a++b", "aaab"), 4);
    assert_int_equal(match("a?+a", "a"), -1);
    assert_int_equal(match("a?+a", "aa"), 2);
    assert_int_equal(match("(ab)*", "ababa"), 4);
    assert_int_equal(match("(a*)*", "aab"), 2);
    assert_int_equal(match("(a|b)*c", "ababc"), 5);
}

static void look_ahead_reads_nothing(void **state) {
    (void)state;
    assert_int_equal(match("\\s+(?!\\S)", "   a"), 2);
    assert_int_equal(match("\\s+(?!\\S)", "   "), 3);
    assert_int_equal(match("\\s+(?!\\S)", " a"), -1);
    assert_int_equal(match("a(?=b)", "ab"), 1);
    assert_int_equal(match("a(?=b)", "a"), -1);
    assert_int_equal(match("a(?=b)b", "ab"), 2);
}

static void sets_know_unicode(void **state) {
    (void)state;
    assert_int_equal(match("\\p{L}+", "a\xc3\xa9\xe4\xb8\xad"
                                      "1"),
                     6);
    assert_int_equal(match("\\p{Lu}+", "AB\xc3\x89"
                                       "b"),
                     4);
    assert_int_equal(match("\\pN+", "1\xc2\xb2"
                                    "a"),
                     3);
    assert_int_equal(match("\\P{L}+", "1 a"), 2);
    assert_int_equal(match("[^\\s\\p{L}\\p{N}]+", "!\xe2\x82\xac a"), 4);
    assert_int_equal(match("[a-c\\d]+", "ab1d"), 3);
    assert_int_equal(match("[]a]+", "]a"), 2);
    assert_int_equal(match("[a-]+", "a-b"), 2);
    assert_int_equal(match("[^a]", "\n"), 1);
    assert_int_equal(match(".", "\n"), -1);
    assert_int_equal(match("[\\S]+", "ab "), 2);
    assert_int_equal(match("[\xe4\xb8\x80-\xe9\xbe\xa5]+", "\xe4\xb8\xad\xe3\x81\x82"), 3);
    assert_int_equal(match("\\x41\\u00e9\\x{4e2d}", "A\xc3\xa9\xe4\xb8\xad"), 6);
    assert_int_equal(match("\\s", "\xc2\x85"), 2);
    assert_int_equal(match("\\s", "\x1c"), -1);
}

static void ill_formed_bytes_are_neither_letter_nor_space(void **state) {
    (void)state;
    assert_int_equal(match("[^\\s\\p{L}\\p{N}]+", "\xff\xfe\xe2\x82"
                                                  "a"),
                     4);
    assert_int_equal(match("\\p{L}", "\xc3"), -1);
}

static void case_is_folded_where_asked(void **state) {
    (void)state;
    assert_int_equal(match("(?i:'ll)", "'Ll"), 3);
    assert_int_equal(match("(?i:'s)", "'\xc5\xbf"), 3); // long s
    assert_int_equal(match("(?i:[a-m]+)z", "aMz"), 3);
    assert_int_equal(match("(?i:a)b", "AB"), -1);
}

static void what_is_not_supported_is_refused(void **state) {
    (void)state;
    const char *bad[] = {"(",      "a)",    "[a",          "\\",     "\\p{Foo}",      "\\p{L",
                         "a**b(",  "{2}",   "a{2",         "a{3,2}", "(?<!a)",        "(?>a)",
                         "^a",     "a$",    "(?!ab)",      "(ab)*+", "\\w",           "\\1",
                         "[b-a]",  "a{1}+", "[[:alpha:]]", "[a&&b]", "(?i:\xc3\xa9)", "\xff",
                         "(?=a)*", "\\xg",  "\\x{110000}", "[a-\\d]"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        if (refused(bad[i]) != ERR_PATTERN) fail_msg("%s is not refused", bad[i]);
    }
}

static void patterns_made_to_blow_up_are_refused(void **state) {
    (void)state;
    char deep[4000];
    memset(deep, '(', sizeof deep - 1);
    deep[sizeof deep - 1] = '\0';
    assert_int_equal(refused(deep), ERR_PATTERN_SIZE);
    assert_int_equal(refused("(a|b)*a(a|b){20}"), ERR_PATTERN_SIZE);
    assert_int_equal(refused("((a{1000}){1000}){1000}"), ERR_PATTERN_SIZE);
    assert_int_equal(refused("((((((((){1000}){1000}){1000}){1000}){1000}){1000}){1000})"),
                     ERR_PATTERN_SIZE);
    assert_int_equal(refused("a{1001}"), ERR_PATTERN_SIZE);
    assert_int_equal(refused("a{999999999999999999999}"), ERR_PATTERN_SIZE);
    assert_int_equal(refused("a++++++++++++++++++++++++++++++++++++++++++++++"), ERR_PATTERN);
    assert_int_equal(refused("(((((a?){64}){64})))"), ERR_PATTERN_SIZE);
}

static void a_pattern_that_reads_ahead_runs_out_of_steps(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Err err = {0};
    const PretokRow row = {"x", false, false, {"a*b|a"}};
    Pretok p;
    PretokIter it;
    Str word, text = {NEW_N(a, char, 1 << 20), 1 << 20};
    memset((char *)text.ptr, 'a', text.len);
    assert_true(pretok_compile(a, &row, &p, &err));
    pretok_begin(&it, &p, text);
    u64 words = 0;
    while (pretok_next(&it, &word)) words++;
    assert_true(it.exhausted);
    assert_true(words < 100);
    arena_free(a);
}

static void words_join_to_the_text(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Err err = {0};
    const Str text = S("I'm 12345\xff  ok\n\n x\xe2\x82 \xe4\xb8\xad ...");
    const char *names[] = {"gpt2", "smollm", "llama-bpe", "qwen2", "gpt-2"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        Pretok p;
        PretokIter it;
        Str word;
        Buf joined = {.arena = a};
        assert_true(pretok_compile(a, pretok_find(str_c(names[i])), &p, &err));
        pretok_begin(&it, &p, text);
        while (pretok_next(&it, &word)) {
            assert_true(word.len > 0);
            buf_add(&joined, word);
        }
        assert_true(str_eq(buf_str(&joined), text));
    }
    assert_null(pretok_find(S("")));
    assert_null(pretok_find(S("gpt")));
    arena_free(a);
}

static void smollm_takes_digits_one_by_one_and_llama_by_threes(void **state) {
    (void)state;
    static const struct {
        const char *name, *words;
    } rows[] = {{"gpt2", "a| 12345|b"},
                {"smollm", "a| |1|2|3|4|5|b"},
                {"llama-bpe", "a| |123|45|b"},
                {"qwen2", "a| |1|2|3|4|5|b"}};
    Arena *a = arena_new(NULL);
    Err err = {0};
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Pretok p;
        PretokIter it;
        Str word;
        Buf out = {.arena = a};
        assert_true(pretok_compile(a, pretok_find(str_c(rows[i].name)), &p, &err));
        pretok_begin(&it, &p, S("a 12345b"));
        while (pretok_next(&it, &word)) {
            if (out.len > 0) buf_char(&out, '|');
            buf_add(&out, word);
        }
        assert_string_equal(out.ptr, rows[i].words);
    }
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_alternative_wins),
        cmocka_unit_test(repetition_is_greedy_lazy_or_possessive),
        cmocka_unit_test(look_ahead_reads_nothing),
        cmocka_unit_test(sets_know_unicode),
        cmocka_unit_test(ill_formed_bytes_are_neither_letter_nor_space),
        cmocka_unit_test(case_is_folded_where_asked),
        cmocka_unit_test(what_is_not_supported_is_refused),
        cmocka_unit_test(patterns_made_to_blow_up_are_refused),
        cmocka_unit_test(a_pattern_that_reads_ahead_runs_out_of_steps),
        cmocka_unit_test(words_join_to_the_text),
        cmocka_unit_test(smollm_takes_digits_one_by_one_and_llama_by_threes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
