// Chat-completions requests: every field's range, and that what is not known is named.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/engine.h"

#define MESSAGES "\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]"

static Arena *arena;

static OpenaiRequest good(const char *json) {
    OpenaiRequest r;
    Err err = {0};
    bool ok = openai_read(arena, str_c(json), &r, &err);
    if (!ok) fail_msg("%s: %s", json, err.msg);
    return r;
}

static void bad(const char *json, ErrId id, const char *subject) {
    OpenaiRequest r;
    Err err = {0};
    assert_false(openai_read(arena, str_c(json), &r, &err));
    if (err.id != id || (subject && strcmp(err.subject, subject) != 0))
        fail_msg("%s: %s %s: %s", json, err_name(err.id), err.subject, err.msg);
}

static void a_request_is_read(void **state) {
    (void)state;
    OpenaiRequest r =
        good("{" MESSAGES
             ",\"model\":\"m\",\"stream\":true,\"max_tokens\":7,\"temperature\":0.5,\"top_k\":40,"
             "\"seed\":9007199254740991,\"stop\":[\"a\",\"b\"],\"stream_options\":{\"include_"
             "usage\":true},"
             "\"n\":1,\"top_p\":1.0,\"frequency_penalty\":0,\"user\":\"u\",\"logprobs\":null}");
    assert_true(r.stream && r.include_usage);
    assert_int_equal(r.answer.max_tokens, 7);
    assert_true(r.answer.sample.temperature == 0.5);
    assert_int_equal(r.answer.sample.top_k, 40);
    assert_true(r.answer.sample.seed == 9007199254740991u);
    assert_int_equal(r.answer.nstop, 2);
    assert_true(str_eq(r.model, S("m")));
    assert_int_equal(jval_len(r.messages.list), 1);
    assert_int_equal(good("{" MESSAGES ",\"max_completion_tokens\":3.0}").answer.max_tokens, 3);
    assert_true(good("{" MESSAGES "}").answer.sample.temperature == 1); // OpenAI's default
    assert_int_equal(good("{" MESSAGES ",\"stop\":\"x\"}").answer.nstop, 1);
}

static void an_unknown_field_is_named(void **state) {
    (void)state;
    bad("{" MESSAGES ",\"temprature\":1}", ERR_REQUEST_FIELD, "temprature");
    bad("{" MESSAGES ",\"tools\":[]}", ERR_REQUEST_FIELD, "tools");
    bad("{" MESSAGES ",\"\":1}", ERR_REQUEST_FIELD, NULL);
    bad("{\"model\":\"m\"}", ERR_REQUEST_FIELD, "messages");
    bad("{" MESSAGES ",\"stream_options\":{\"x\":1}}", ERR_REQUEST_FIELD, "stream_options");
}

static void numbers_outside_their_range_are_refused(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"max_tokens", "0"},
        {"max_tokens", "-1"},
        {"max_tokens", "1.5"},
        {"max_tokens", "1e300"},
        {"max_tokens", "9223372036854775808"},
        {"max_tokens", "4294967297"},
        {"temperature", "-0.1"},
        {"temperature", "2.1"},
        {"temperature", "1e308"},
        {"top_k", "-1"},
        {"top_k", "2147483648"},
        {"top_k", "0.5"},
        {"seed", "9007199254740993"},
        {"seed", "-9007199254740993"},
        {"seed", "1e17"},
        {"seed", "0.1"},
        {"n", "2"},
        {"top_p", "0.9"},
        {"presence_penalty", "0.1"},
        {"logprobs", "true"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Str j = str_fmt(arena, "{" MESSAGES ",\"%s\":%s}", cases[i][0], cases[i][1]);
        bad(j.ptr, ERR_REQUEST_RANGE, cases[i][0]);
    }
    bad("{" MESSAGES ",\"stop\":\"\"}", ERR_REQUEST_RANGE, "stop");
    bad("{" MESSAGES ",\"stop\":[\"a\",\"b\",\"c\",\"d\",\"e\"]}", ERR_REQUEST_RANGE, "stop");
}

static void wrong_types_are_refused(void **state) {
    (void)state;
    static const char *const cases[][2] = {
        {"max_tokens", "\"7\""},
        {"temperature", "[]"},
        {"temperature", "true"},
        {"top_k", "{}"},
        {"seed", "\"a\""},
        {"stream", "1"},
        {"stop", "1"},
        {"stop", "[1]"},
        {"model", "3"},
        {"n", "true"},
        {"stream_options", "true"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Str j = str_fmt(arena, "{" MESSAGES ",\"%s\":%s}", cases[i][0], cases[i][1]);
        bad(j.ptr, ERR_REQUEST_TYPE, cases[i][0]);
    }
}

static void text_that_is_no_request_is_refused(void **state) {
    (void)state;
    bad("", ERR_REQUEST_JSON, NULL);
    bad("{", ERR_REQUEST_JSON, NULL);
    bad("{" MESSAGES ",\"temperature\":NaN}", ERR_REQUEST_JSON, NULL);
    bad("{" MESSAGES "} x", ERR_REQUEST_JSON, NULL);
    bad("[]", ERR_REQUEST_TYPE, NULL);
    bad("3", ERR_REQUEST_TYPE, NULL);
}

static void an_assistants_null_content_is_empty(void **state) {
    (void)state;
    OpenaiRequest r = good("{\"messages\":[{\"role\":\"user\",\"content\":\"x\"},"
                           "{\"role\":\"assistant\",\"content\":null}]}");
    JVal content = {0};
    assert_true(jval_dict_get(jval_list_at(r.messages.list, 1), S("content"), &content));
    assert_int_equal(content.type, J_STR);
    assert_int_equal(content.s.len, 0);
}

static void messages_are_checked(void **state) {
    (void)state;
    bad("{\"messages\":[]}", ERR_REQUEST_TYPE, "messages");
    bad("{\"messages\":null}", ERR_REQUEST_TYPE, "messages");
    bad("{\"messages\":[3]}", ERR_REQUEST_TYPE, "messages");
    bad("{\"messages\":[{\"content\":\"x\"}]}", ERR_REQUEST_TYPE, "messages");
    bad("{\"messages\":[{\"role\":\"king\",\"content\":\"x\"}]}", ERR_REQUEST_RANGE, "messages");
    bad("{\"messages\":[{\"role\":\"user\"}]}", ERR_REQUEST_TYPE, "messages");
    bad("{\"messages\":[{\"role\":\"user\",\"content\":7}]}", ERR_REQUEST_TYPE, "messages");
    bad("{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"image_url\"}]}]}",
        ERR_REQUEST_TYPE, "messages");
    OpenaiRequest r = good(
        "{\"messages\":[{\"role\":\"developer\",\"content\":[{\"type\":\"text\",\"text\":\"a\"},"
        "{\"type\":\"text\",\"text\":\"b\"}]}]}");
    JVal m = jval_list_at(r.messages.list, 0), v;
    assert_true(jval_dict_get(m, S("content"), &v) && str_eq(v.s, S("ab")));
    assert_true(jval_dict_get(m, S("role"), &v) && str_eq(v.s, S("system")));
}

static void answers_are_json_in_openais_shapes(void **state) {
    (void)state;
    OpenaiAnswer a = {.id = S("chatcmpl-1"),
                      .model = S("a \"model\""),
                      .created = 5,
                      .finish = FINISH_LENGTH,
                      .prompt_tokens = 3,
                      .cached_tokens = 1,
                      .answer_tokens = 2};
    Buf out[6] = {{.arena = arena}, {.arena = arena}, {.arena = arena},
                  {.arena = arena}, {.arena = arena}, {.arena = arena}};
    openai_response(&a, S("line\n\"quoted\" \xFF \x01"), &out[0]);
    openai_chunk_first(&a, &out[1]);
    openai_chunk_text(&a, S("x"), &out[2]);
    openai_chunk_last(&a, &out[3]);
    openai_chunk_usage(&a, &out[4]);
    Err e = {0};
    err_set(&e, ERR_REQUEST_RANGE, "too \"hot\"");
    err_subject(&e, S("temperature"));
    openai_error(&e, &out[5]);
    JVal v, w, u;
    for (int i = 0; i < 6; i++) {
        Err err = {0};
        if (!jval_from_json(arena, buf_str(&out[i]), &v, &err))
            fail_msg("%s: %s", out[i].ptr, err.msg);
    }
    Err err = {0};
    assert_true(jval_from_json(arena, buf_str(&out[0]), &v, &err));
    assert_true(jval_dict_get(v, S("choices"), &w) && jval_len(w) == 1);
    assert_true(jval_dict_get(jval_list_at(w, 0), S("finish_reason"), &u) &&
                str_eq(u.s, S("length")));
    assert_true(jval_dict_get(v, S("usage"), &w) && jval_dict_get(w, S("total_tokens"), &u) &&
                u.i == 5);
    assert_true(jval_from_json(arena, buf_str(&out[5]), &v, &err));
    assert_true(jval_dict_get(v, S("error"), &w) && jval_dict_get(w, S("param"), &u) &&
                str_eq(u.s, S("temperature")));
}

static int setup(void **state) {
    (void)state;
    arena = arena_new(NULL);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    arena_free(arena);
    return 0;
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_request_is_read),
        cmocka_unit_test(an_unknown_field_is_named),
        cmocka_unit_test(numbers_outside_their_range_are_refused),
        cmocka_unit_test(wrong_types_are_refused),
        cmocka_unit_test(text_that_is_no_request_is_refused),
        cmocka_unit_test(an_assistants_null_content_is_empty),
        cmocka_unit_test(messages_are_checked),
        cmocka_unit_test(answers_are_json_in_openais_shapes),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
