// A conversation: stop strings that cross tokens, characters that cross tokens, turns.
#include "fake.h"
#include "../text/chat.h"

typedef struct Talk {
    Fake f;
    Session *s;
    Buf shown;
    Finish finish;
    int events;
} Talk;

static void talk_open(Talk *t) {
    *t = (Talk){0};
    fake_open(&t->f, true);
    fake_text(&t->f);
    assert_int_equal(fake_load(&t->f), ENGINE_DONE);
    t->s = session_new(t->f.arena, t->f.engine, t->f.tok, t->f.tmpl);
    t->shown.arena = t->f.arena;
}

static void talk_close(Talk *t) {
    session_free(t->s);
    fake_close(&t->f);
}

// The device will say these bytes, one a token, after a prompt of `from` tokens.
static void will_say(Talk *t, int from, Str text) {
    i32 *ids = NEW_N(t->f.arena, i32, text.len);
    for (size_t i = 0; i < text.len; i++) ids[i] = (u8)text.ptr[i];
    fake_answer(&t->f, from, ids, (int)text.len);
}

static bool well_formed(Str s) {
    for (size_t at = 0; at < s.len;)
        if (utf8_next(s, &at) == UTF8_BAD) return false;
    return true;
}

static void listen(Talk *t) {
    t->shown.len = 0;
    for (int i = 0; i < 10000; i++) {
        SessionEvent ev = session_step(t->s, &t->f.err);
        assert_int_not_equal(ev.state, ENGINE_FAILED);
        if (ev.state == ENGINE_TOKEN || ev.state == ENGINE_DONE) {
            assert_true(well_formed(ev.text));
            buf_add(&t->shown, ev.text);
            t->events++;
        }
        if (ev.state == ENGINE_DONE) {
            t->finish = ev.finish;
            return;
        }
    }
    fail_msg("the answer never ends");
}

static void complete(Talk *t, const char *says, const char *stop1, const char *stop2,
                     const char *want, Finish finish) {
    AnswerOptions o = {0};
    if (stop1) o.stop[o.nstop++] = str_c(stop1);
    if (stop2) o.stop[o.nstop++] = str_c(stop2);
    will_say(t, 2, str_c(says));
    engine_forget(t->f.engine);
    assert_true(session_complete(t->s, S("hi"), &o, &t->f.err));
    listen(t);
    assert_int_equal(t->finish, finish);
    assert_int_equal(t->shown.len, strlen(want));
    assert_memory_equal(t->shown.len ? t->shown.ptr : "", want, strlen(want));
}

static void text_comes_out_whole(void **state) {
    (void)state;
    Talk t;
    talk_open(&t);
    complete(&t, "hello", NULL, NULL, "hello", FINISH_STOP);
    complete(&t, "", NULL, NULL, "", FINISH_STOP);
    talk_close(&t);
}

static void characters_are_never_split(void **state) {
    (void)state;
    Talk t;
    talk_open(&t);
    complete(&t, "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z", NULL, NULL,
             "a\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80z", FINISH_STOP);
    // a character that never becomes whole is shown as one that could not be
    complete(&t, "a\xE2\x82", NULL, NULL, "a\xEF\xBF\xBD", FINISH_STOP);
    talk_close(&t);
}

static void stop_strings_are_cut_before_they_are_shown(void **state) {
    (void)state;
    Talk t;
    talk_open(&t);
    complete(&t, "one\n\ntwo", "\n\n", NULL, "one", FINISH_STOP);
    complete(&t, "one\ntwo", "\n\n", NULL, "one\ntwo", FINISH_STOP);
    complete(&t, "aababcab", "abc", NULL, "aab", FINISH_STOP);
    complete(&t, "xyz", "xyz", NULL, "", FINISH_STOP);
    complete(&t, "one END two", "STOP", "END", "one ", FINISH_STOP);
    complete(&t, "half a sto", "stop", NULL, "half a sto", FINISH_STOP); // it was none after all
    complete(&t, "\xC3\xA9t\xC3\xA9", "t\xC3\xA9", NULL, "\xC3\xA9", FINISH_STOP);
    talk_close(&t);
}

static void an_answer_can_be_cancelled_at_any_token(void **state) {
    (void)state;
    Talk t;
    talk_open(&t);
    for (int at = 0; at < 6; at++) {
        will_say(&t, 2, S("abcdefghij"));
        engine_forget(t.f.engine);
        AnswerOptions o = {0};
        assert_true(session_complete(t.s, S("hi"), &o, &t.f.err));
        Buf shown = {.arena = t.f.arena};
        int tokens = 0;
        while (tokens < at) {
            SessionEvent ev = session_step(t.s, &t.f.err);
            tokens += ev.state == ENGINE_TOKEN;
            buf_add(&shown, ev.state == ENGINE_TOKEN ? ev.text : S(""));
        }
        session_cancel(t.s);
        SessionEvent ev = session_step(t.s, &t.f.err);
        assert_int_equal(ev.state, ENGINE_DONE);
        assert_int_equal(ev.finish, FINISH_CANCEL);
        assert_int_equal(shown.len, (size_t)at);
        assert_int_equal(session_step(t.s, &t.f.err).state, ENGINE_IDLE);
    }
    talk_close(&t);
}

static void a_second_turn_keeps_the_first_ones_cache(void **state) {
    (void)state;
    Talk t;
    talk_open(&t);
    ChatMessages m = {.arena = t.f.arena, .list = jval_list(t.f.arena)};
    chat_add(&m, S("user"), S("ask"));
    AnswerOptions o = {0};
    will_say(&t, 5, S("yes")); // <start> a s k <end>
    assert_true(session_ask(t.s, &m, &o, &t.f.err));
    listen(&t);
    assert_int_equal(engine_stats(t.f.engine)->prompt_tokens, 5);
    chat_add(&m, S("assistant"), S("yes"));
    chat_add(&m, S("user"), S("why"));
    will_say(&t, 13, S("so"));
    assert_true(session_ask(t.s, &m, &o, &t.f.err));
    listen(&t);
    assert_int_equal(engine_stats(t.f.engine)->prompt_tokens, 13);
    assert_true(engine_stats(t.f.engine)->cached_tokens >= 8);
    assert_int_equal(t.shown.len, 2);
    talk_close(&t);
}

static void a_template_is_told_what_day_it_is(void **state) {
    (void)state;
    Talk t;
    talk_open(&t);
    ChatMessages m = {.arena = t.f.arena, .list = jval_list(t.f.arena)};
    chat_add(&m, S("clock"), S(""));
    AnswerOptions o = {0};
    assert_false(session_ask(t.s, &m, &o, &t.f.err)); // by nobody
    assert_int_equal(t.f.err.id, ERR_JINJA_UNDEFINED);
    t.f.err = (Err){0};
    ChatTime now = {2026, 3, 14, 15, 9, 26};
    session_template(t.s, &now, (TemplateLimits){0});
    will_say(&t, 21, S("pi")); // <start>, 19 characters, <end>
    assert_true(session_ask(t.s, &m, &o, &t.f.err));
    listen(&t);
    assert_int_equal(engine_stats(t.f.engine)->prompt_tokens, 21);
    assert_int_equal(t.shown.len, 2);
    session_template(t.s, &now, (TemplateLimits){.output = 8});
    assert_false(session_ask(t.s, &m, &o, &t.f.err));
    assert_int_equal(t.f.err.id, ERR_JINJA_OUTPUT);
    talk_close(&t);
}

static void wrong_stops_and_a_missing_template_are_errors(void **state) {
    (void)state;
    Talk t;
    talk_open(&t);
    AnswerOptions o = {.nstop = 1, .stop = {S("")}};
    assert_false(session_complete(t.s, S("hi"), &o, &t.f.err));
    assert_int_equal(t.f.err.id, ERR_ENGINE_OPTION);
    t.f.err = (Err){0};
    Session *bare = session_new(t.f.arena, t.f.engine, t.f.tok, NULL);
    ChatMessages m = {.arena = t.f.arena, .list = jval_list(t.f.arena)};
    AnswerOptions plain = {0};
    assert_false(session_ask(bare, &m, &plain, &t.f.err));
    assert_int_equal(t.f.err.id, ERR_ENGINE_TEMPLATE);
    session_free(bare);
    talk_close(&t);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(text_comes_out_whole),
        cmocka_unit_test(characters_are_never_split),
        cmocka_unit_test(stop_strings_are_cut_before_they_are_shown),
        cmocka_unit_test(an_answer_can_be_cancelled_at_any_token),
        cmocka_unit_test(a_second_turn_keeps_the_first_ones_cache),
        cmocka_unit_test(a_template_is_told_what_day_it_is),
        cmocka_unit_test(wrong_stops_and_a_missing_template_are_errors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
