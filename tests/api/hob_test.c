// tests/api/hob_test.c: hob.h on a llama of one layer, written to a file, on the device that
// computes nothing.
#define _POSIX_C_SOURCE 200809L
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>
#include "../format/gguf_file.h"
#include "hob.h"
#include "api/api.h"

enum { HIDDEN = 8, FFN = 12, VOCAB = 64, TENSORS = 12, KEYS = 10 };

static const struct {
    const char *name;
    u64 dims[2];
} tensors[TENSORS] = {
    {"token_embd.weight", {HIDDEN, VOCAB}}, {"blk.0.attn_norm.weight", {HIDDEN, 1}},
    {"blk.0.attn_q.weight", {HIDDEN, 8}},   {"blk.0.attn_k.weight", {HIDDEN, 4}},
    {"blk.0.attn_v.weight", {HIDDEN, 4}},   {"blk.0.attn_output.weight", {8, HIDDEN}},
    {"blk.0.ffn_norm.weight", {HIDDEN, 1}}, {"blk.0.ffn_gate.weight", {HIDDEN, FFN}},
    {"blk.0.ffn_up.weight", {HIDDEN, FFN}}, {"blk.0.ffn_down.weight", {FFN, HIDDEN}},
    {"output_norm.weight", {HIDDEN, 1}},    {"output.weight", {HIDDEN, VOCAB}},
};

// Its tokens are the 64 characters from 0 on: digits, letters.
static void write_letters(char *path) {
    static File f;
    u64 off = 0;
    header(&f, 3, TENSORS, KEYS);
    key(&f, "general.architecture", 8), put_str(&f, "llama");
    key_u32(&f, "llama.block_count", 1);
    key_u32(&f, "llama.embedding_length", HIDDEN);
    key_u32(&f, "llama.feed_forward_length", FFN);
    key_u32(&f, "llama.attention.head_count", 2);
    key_u32(&f, "llama.attention.head_count_kv", 1);
    key_u32(&f, "llama.context_length", 64);
    key(&f, "tokenizer.ggml.model", 8), put_str(&f, "gpt2");
    key(&f, "tokenizer.ggml.pre", 8), put_str(&f, "llama-bpe");
    key(&f, "tokenizer.ggml.tokens", 9), put(&f, 8, 4), put(&f, VOCAB, 8);
    for (int i = 0; i < VOCAB; i++) put_str(&f, (char[]){(char)('0' + i), 0});
    for (int i = 0; i < TENSORS; i++) {
        tensor(&f, tensors[i].name, tensors[i].dims[1] == 1 ? 1 : 2, tensors[i].dims, 0, off);
        off = round_up(off + tensors[i].dims[0] * tensors[i].dims[1] * 4, 32);
    }
    pad(&f, 32);
    for (u64 i = 0; i < off; i++) put(&f, 0, 1);
    int fd = mkstemp(path);
    assert_true(fd >= 0 && write(fd, f.b, f.n) == (ssize_t)f.n && close(fd) == 0);
}

static hob_model *open_letters(void) {
    char path[] = "/tmp/hob-letters-XXXXXX";
    hob_error err = {0};
    write_letters(path);
    hob_model *m = hob_open(&(hob_open_desc){.path = path, .device = "null"}, &err);
    unlink(path);
    if (!m) fail_msg("%s", err.message);
    return m;
}

static void go_on(hob_session *s, const char *text, int answer) {
    hob_error err = {0};
    const hob_sample o = {.max_tokens = answer};
    if (hob_complete(s, text, strlen(text), &o, &err) != 0) fail_msg("%s", err.message);
    hob_event ev;
    while (hob_next(s, &ev)) continue;
    if (hob_session_error(s)->id) fail_msg("%s", hob_session_error(s)->message);
}

static void must_say(const hob_session *s, int prompt, int cached, int answer) {
    hob_stats got;
    hob_session_stats(s, &got);
    assert_int_equal(got.prompt_tokens, prompt);
    assert_int_equal(got.cached_tokens, cached);
    assert_int_equal(got.answer_tokens, answer);
    assert_true(got.load_ms > 0 && (answer == 0 || got.ttft_ms > 0));
}

static void sessions_of_a_model_keep_their_own_figures(void **state) {
    (void)state;
    hob_error err = {0};
    hob_model *m = open_letters();
    hob_session *one = hob_session_new(m, &err), *two = hob_session_new(m, &err);
    assert_true(one && two);
    go_on(one, "abc", 3);
    must_say(one, 3, 0, 3);
    must_say(two, 0, 0, 0);
    go_on(two, "bcdefg", 5);
    must_say(one, 3, 0, 3);
    must_say(two, 6, 0, 5);
    go_on(one, "bcdefgh", 2); // begins with what the other's question left in the cache
    must_say(one, 7, 6, 2);
    must_say(two, 6, 0, 5);
    hob_session_free(two);
    must_say(one, 7, 6, 2);
    hob_session_free(one);
    hob_close(m);
}

static void what_cannot_be_opened_says_what_to_do(void **state) {
    (void)state;
    const hob_open_desc wrong[] = {
        {0},
        {.path = "nobody.gguf"},
        {.path = "tests"},
        {.path = "LICENSE"},
        {.path = "LICENSE", .ctx = -1},
    };
    assert_null(hob_open(NULL, NULL));
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        hob_error err = {0};
        assert_null(hob_open(&wrong[i], &err));
        assert_true(err.id != 0 && strstr(err.message, "; "));
    }
}

static void remember(void *said, Str line) {
    Buf *b = said;
    buf_fmt(b, "%S\n", line);
}

// One entry of the list is broken, one is a schedule that its nest refuses: both are said, and the
// others are used.
static void a_bad_schedule_takes_no_good_one_with_it(void **state) {
    (void)state;
    char path[] = "/tmp/hob-letters-XXXXXX";
    Source src;
    Err err = {0};
    Buf said = {0}, list = {0};
    CompileOptions plain = {0}, o = {0};
    write_letters(path);
    Model *m = model_new(remember, &said);
    said.arena = list.arena = m->arena;
    assert_true(source_file_open(m->arena, str_c(path), &src, &err) && model_read(m, &src, &err));
    unlink(path);
    assert_true(model_graph(m, &(ModelOptions){0}, &err) &&
                model_device(m, S("null"), NULL, &err) &&
                model_profile(m, S("gpu"), S(""), S(""), &err) && model_compile(m, &plain, &err));
    const Program *p = m->program;
    int products[2], n = 0;
    for (int i = 0; i < p->nkernels && n < 2; i++)
        if (str_has(p->kernels[i].name, S("matmul"))) products[n++] = i;
    assert_int_equal(n, 2);
    u64 bad = p->kernels[products[0]].nest_key, good = p->kernels[products[1]].nest_key;
    buf_fmt(&list,
            "{\"hob_tuned\": 1, \"schedules\": ["
            "{\"adapter\": \"\", \"nest\": \"%X\", \"schedule\": \"split nothing\"}, 7, "
            "{\"adapter\": \"\", \"nest\": \"%X\", \"schedule\": \"matmul_row{lanes=1}\"}]}",
            bad, good);
    m->device->adapter = S("");
    model_tuned(m, buf_str(&list), S("tuned.json"));
    assert_true(
        str_has(buf_str(&said), S("tuned.json schedules[1]: it is no object; take it out")));
    said.len = 0;
    assert_true(model_compile(m, &o, &err));
    assert_true(str_has(buf_str(&said), p->kernels[products[0]].name));
    assert_true(str_has(buf_str(&said), S("(not used)\n")));
    assert_int_equal(tuned_find(&m->tuned, bad)->schedule.len, 0);
    Str rule = p->kernels[products[0]].schedule, tuned = p->kernels[products[1]].schedule;
    assert_true(str_eq(m->program->kernels[products[0]].schedule, rule));
    assert_false(str_eq(m->program->kernels[products[1]].schedule, tuned));
    source_file_close(&src); // first: it lies in the model's arena
    model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sessions_of_a_model_keep_their_own_figures),
        cmocka_unit_test(what_cannot_be_opened_says_what_to_do),
        cmocka_unit_test(a_bad_schedule_takes_no_good_one_with_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
