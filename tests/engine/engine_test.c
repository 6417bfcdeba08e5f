// The engine's states on the null device: whatever a device does, an answer ends in order and
// nothing hangs.
#include "fake.h"

static const i32 prompt[20] = {'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j',
                               'k', 'l', 'm', 'n', 'o', 'p', 'q', 'r', 's', 't'};

static bool is_end(void *user, i32 token) {
    (void)user;
    return token == FAKE_END;
}

static bool ask(Fake *f, size_t n, i64 max) {
    EngineRequest r = {.prompt = prompt, .n = n, .max_tokens = max, .is_end = is_end};
    return engine_start(f->engine, &r, &f->err);
}

static void answer_in(bool async) {
    Fake f;
    fake_open(&f, async);
    assert_int_equal(fake_load(&f), ENGINE_DONE);
    fake_answer(&f, 20, (i32[]){'x', 'y', 'z'}, 3);
    assert_true(ask(&f, 20, 0));
    for (const char *p = "xyz"; *p; p++) {
        assert_int_equal(fake_step(&f), ENGINE_TOKEN);
        assert_int_equal(engine_token(f.engine), *p);
    }
    assert_int_equal(fake_step(&f), ENGINE_DONE);
    assert_int_equal(engine_finish(f.engine), FINISH_STOP);
    assert_int_equal(engine_stats(f.engine)->answer_tokens, 3);
    assert_int_equal(engine_step(f.engine, &f.err), ENGINE_IDLE);
    fake_close(&f);
}

static void answers_end_at_an_end_token(void **state) {
    (void)state;
    answer_in(false);
    answer_in(true);
}

static void prefill_goes_in_chunks(void **state) {
    (void)state;
    Fake f;
    fake_open(&f, false);
    fake_load(&f);
    fake_answer(&f, 20, (i32[]){'x'}, 1);
    u32 before = f.script.submits;
    assert_true(ask(&f, 20, 1));
    assert_int_equal(fake_step(&f), ENGINE_TOKEN);
    assert_int_equal(f.script.submits - before, 3); // 8 + 8 + 4, the last with the sampler
    assert_int_equal(fake_step(&f), ENGINE_DONE);
    assert_int_equal(engine_finish(f.engine), FINISH_LENGTH);
    fake_close(&f);
}

static void decode_runs_ahead_on_a_device_that_answers_later(void **state) {
    (void)state;
    Fake f;
    fake_open(&f, true);
    fake_load(&f);
    static const i32 many[40] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10};
    fake_answer(&f, 4, many, 40);
    assert_true(ask(&f, 4, 0));
    assert_int_equal(fake_step(&f), ENGINE_TOKEN);
    assert_int_equal(fake_step(&f), ENGINE_TOKEN);
    assert_true(device_outstanding(f.device) >= 3);
    fake_close(&f);
}

// Milliseconds a token of the second half of some answers, each of 40 tokens.
static double ms_a_token(Fake *f, i32 *said, int *most) {
    enum { ANSWERS = 8, TOKENS = 40 };
    static const i32 many[TOKENS] = {2, 7, 1, 8, 2, 8};
    double ms = 0;
    *most = 0;
    for (int k = 0; k < ANSWERS; k++) {
        fake_answer(f, 4, many, TOKENS);
        assert_true(ask(f, 4, TOKENS));
        for (int n = 0; n < TOKENS;) {
            EngineState s = engine_step(f->engine, &f->err);
            assert_int_not_equal(s, ENGINE_FAILED);
            if (s == ENGINE_WAITING) clock_nap();
            if (s != ENGINE_TOKEN) continue;
            said[n++] = engine_token(f->engine);
            if (k >= ANSWERS / 2) *most = MAX2(*most, device_outstanding(f->device));
        }
        assert_int_equal(fake_step(f), ENGINE_DONE);
        const EngineStats *t = engine_stats(f->engine);
        if (k >= ANSWERS / 2) ms += t->last_ms - t->first_ms;
    }
    return ms / (TOKENS - 1) / (ANSWERS - ANSWERS / 2);
}

static void open_planted(Fake *f, int depth, double step_ms, double tick_ms) {
    fake_open(f, true);
    engine_free(f->engine);
    f->script.poll_after = 0;
    f->script.tick_ms = tick_ms;
    f->script.step_ms = step_ms;
    EngineDesc d = {.device = f->device, .program = &f->program, .depth = depth};
    assert_true(engine_new(f->arena, &d, &f->engine, &f->err));
    EngineState s;
    while ((s = engine_load_step(f->engine, NULL, &f->err)) != ENGINE_DONE) {
        assert_int_not_equal(s, ENGINE_FAILED);
        if (s == ENGINE_WAITING) clock_nap();
    }
}

static void as_much_runs_ahead_as_hides_how_late_answers_come(void **state) {
    (void)state;
    Fake f;
    i32 fixed[40], measured[40];
    int most;
    // an answer is seen every 20 ms, and a step takes 1 ms: four tokens a tick, or all
    open_planted(&f, 4, 1, 20);
    double slow = ms_a_token(&f, fixed, &most);
    assert_true(most <= 4 && slow > 3);
    fake_close(&f);
    open_planted(&f, 0, 1, 20);
    double quick = ms_a_token(&f, measured, &most);
    if (most < 20 || quick > slow / 2)
        fail_msg("%d in flight: %.2f ms a token, with four %.2f", most, quick, slow);
    assert_memory_equal(fixed, measured, sizeof fixed);
    fake_close(&f);
    // answers come at once, and a step takes 4 ms: no more than at first
    open_planted(&f, 0, 4, 0);
    ms_a_token(&f, measured, &most);
    if (most > 3) fail_msg("%d in flight for nothing", most);
    assert_memory_equal(fixed, measured, sizeof fixed);
    fake_close(&f);
}

static void nothing_is_asked_past_max_tokens(void **state) {
    (void)state;
    Fake f;
    fake_open(&f, true);
    fake_load(&f);
    static const i32 many[40] = {7};
    fake_answer(&f, 4, many, 40);
    u32 before = f.script.submits;
    assert_true(ask(&f, 4, 5));
    for (int i = 0; i < 5; i++) assert_int_equal(fake_step(&f), ENGINE_TOKEN);
    assert_int_equal(fake_step(&f), ENGINE_DONE);
    assert_int_equal(engine_finish(f.engine), FINISH_LENGTH);
    assert_int_equal(f.script.submits - before, 5);
    fake_close(&f);
}

static void a_full_context_ends_with_length(void **state) {
    (void)state;
    Fake f;
    fake_open(&f, true);
    fake_load(&f);
    static i32 many[FAKE_CTX];
    fake_answer(&f, 20, many, FAKE_CTX);
    assert_true(ask(&f, 20, 0));
    int n = 0;
    while (fake_step(&f) == ENGINE_TOKEN) n++;
    assert_int_equal(engine_finish(f.engine), FINISH_LENGTH);
    assert_int_equal(n, FAKE_CTX + 1 - 20); // the row at the last place still has a next token
    fake_close(&f);
}

static void a_prompt_longer_than_the_context_is_refused_and_nothing_is_lost(void **state) {
    (void)state;
    Fake f;
    fake_open(&f, false);
    fake_load(&f);
    static i32 much[FAKE_CTX + 1];
    EngineRequest r = {.prompt = much, .n = FAKE_CTX + 1};
    assert_false(engine_start(f.engine, &r, &f.err));
    assert_int_equal(f.err.id, ERR_ENGINE_PROMPT);
    f.err = (Err){0};
    fake_answer(&f, 20, (i32[]){'x'}, 1);
    assert_true(ask(&f, 20, 1));
    assert_int_equal(fake_step(&f), ENGINE_TOKEN);
    fake_close(&f);
}

static void wrong_options_are_refused(void **state) {
    (void)state;
    Fake f;
    fake_open(&f, false);
    fake_load(&f);
    const SampleOptions bad[] = {{-1, 0, 0}, {0.0 / 0.0, 0, 0}, {1e9, 0, 0}, {0, -1, 0}};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        EngineRequest r = {.prompt = prompt, .n = 1, .sample = bad[i]};
        f.err = (Err){0};
        assert_false(engine_start(f.engine, &r, &f.err));
        assert_int_equal(f.err.id, ERR_ENGINE_OPTION);
    }
    EngineRequest wrong = {.prompt = (i32[]){FAKE_VOCAB}, .n = 1};
    f.err = (Err){0};
    assert_false(engine_start(f.engine, &wrong, &f.err));
    assert_int_equal(f.err.id, ERR_ENGINE_TOKEN);
    fake_close(&f);
}

static void what_the_program_has_no_steps_for_is_refused(void **state) {
    (void)state;
    static const char *const named[] = {"`argmax`", "`sample`", "logits"};
    for (int lacks = 0; lacks < 3; lacks++)
        for (int ask_for = 0; ask_for < 3; ask_for++) { // greedy, sampled, an evaluation
            Fake f;
            fake_open(&f, false);
            fake_load(&f);
            for (int i = 0; i < REGIME_COUNT; i++) {
                Regime *r = &f.program.regimes[i];
                if (lacks == 0) r->greedy = r->sample;
                if (lacks == 1) r->sample = r->nsteps;
                if (lacks == 2) r->head = r->greedy;
            }
            EngineRequest r = {.prompt = prompt, .n = 1, .sample = {.temperature = ask_for}};
            EvalResult e = {0};
            bool begun = ask_for < 2
                             ? engine_start(f.engine, &r, &f.err)
                             : engine_eval_begin(f.engine, f.arena, prompt, 4, 1, &e, &f.err);
            assert_int_equal(begun, ask_for != lacks);
            assert_int_equal(f.err.id, begun ? ERR_NONE : ERR_ENGINE_OPTION);
            if (!begun) assert_non_null(strstr(f.err.msg, named[lacks]));
            fake_close(&f);
        }
}

static void a_second_turn_reads_only_what_is_new(void **state) {
    (void)state;
    Fake f;
    fake_open(&f, true);
    fake_load(&f);
    fake_answer(&f, 10, (i32[]){'k', 'l', 'm'}, 3); // what the next prompt says there too
    assert_true(ask(&f, 10, 3));
    while (fake_step(&f) == ENGINE_TOKEN) {
    }
    assert_true(ask(&f, 20, 1));
    fake_answer(&f, 20, (i32[]){'x'}, 1);
    // ten tokens of the prompt, and of the answer those that were fed back
    assert_int_equal(engine_stats(f.engine)->cached_tokens, 12);
    assert_int_equal(fake_step(&f), ENGINE_TOKEN);
    // the same prompt again: its last token is read anew, because logits are wanted
    engine_stop(f.engine, FINISH_CANCEL);
    assert_true(ask(&f, 20, 1));
    assert_int_equal(engine_stats(f.engine)->cached_tokens, 19);
    engine_forget(f.engine);
    assert_true(ask(&f, 20, 1));
    assert_int_equal(engine_stats(f.engine)->cached_tokens, 0);
    fake_close(&f);
}

static void a_cancelled_answer_leaves_the_engine_ready(void **state) {
    (void)state;
    Fake f;
    fake_open(&f, true);
    fake_load(&f);
    static const i32 many[50] = {3, 1, 4, 1, 5};
    for (int when = 0; when < 6; when++) { // in prefill, and after each of some tokens
        fake_answer(&f, 20, many, 50);
        assert_true(ask(&f, 20, 0));
        engine_step(f.engine, &f.err);
        for (int i = 0; i < when; i++) assert_int_equal(fake_step(&f), ENGINE_TOKEN);
        engine_stop(f.engine, FINISH_CANCEL);
        assert_int_equal(engine_finish(f.engine), FINISH_CANCEL);
        // what was in flight must not be taken for this one's tokens
        fake_answer(&f, 12, (i32[]){42}, 1);
        assert_true(ask(&f, 12, 0));
        assert_int_equal(fake_step(&f), ENGINE_TOKEN);
        assert_int_equal(engine_token(f.engine), 42);
        assert_int_equal(fake_step(&f), ENGINE_DONE);
    }
    fake_close(&f);
}

static void one_answer_at_a_time(void **state) {
    (void)state;
    Fake f;
    fake_open(&f, false);
    fake_load(&f);
    assert_true(ask(&f, 20, 0));
    assert_false(ask(&f, 20, 0));
    assert_int_equal(f.err.id, ERR_ENGINE_BUSY);
    fake_close(&f);
}

// Whatever call fails, the engine says so, stays failed, and gives everything back.
static void every_failing_call_is_an_error(void **state) {
    (void)state;
    for (int lose = 0; lose < 2; lose++) {
        for (int async = 0; async < 2; async++) {
            for (u32 call = 1; call < 12; call++) {
                Fake f;
                fake_open(&f, async);
                if (lose)
                    f.script.lose_call = call;
                else
                    f.script.fail_call = call;
                EngineState s = fake_load(&f);
                static const i32 many[30] = {1};
                fake_answer(&f, 20, many, 30);
                if (s == ENGINE_DONE && ask(&f, 20, 20))
                    while ((s = fake_step(&f)) == ENGINE_TOKEN) {
                    }
                assert_int_equal(s, ENGINE_FAILED);
                assert_int_equal(f.err.id, lose ? ERR_DEVICE_LOST : ERR_DEVICE_FAILED);
                Err again = {0};
                assert_int_equal(engine_step(f.engine, &again), ENGINE_FAILED);
                assert_int_equal(again.id, f.err.id);
                fake_close(&f);
            }
        }
    }
}

// The sampler's word for logits that are not numbers ends the answer with an error that says where.
static void logits_that_are_not_numbers_end_the_answer(void **state) {
    (void)state;
    static const i32 answers[2][5] = {{7, 8, FAKE_VOCAB, 9, 10}, {7, 8, -1, 9, 10}};
    for (int k = 0; k < 4; k++) {
        Fake f;
        fake_open(&f, k & 1);
        assert_int_equal(fake_load(&f), ENGINE_DONE);
        fake_answer(&f, 20, answers[k / 2], 5);
        assert_true(ask(&f, 20, 20));
        assert_int_equal(fake_step(&f), ENGINE_TOKEN);
        assert_int_equal(fake_step(&f), ENGINE_TOKEN);
        assert_int_equal(fake_step(&f), ENGINE_FAILED);
        assert_int_equal(f.err.id, ERR_DEVICE_FAILED);
        assert_non_null(strstr(f.err.msg, "position 21"));
        assert_int_equal(strstr(f.err.msg, "not numbers") != NULL, k / 2 == 0);
        fake_close(&f);
    }
}

typedef struct Checks {
    const NullScript *script;
    int calls;
    bool fails;
} Checks;

static EngineState check(void *user, const Engine *e, int regime, u32 step, Err *err) {
    (void)regime, (void)step;
    Checks *c = user;
    assert_int_equal(device_outstanding(engine_device(e)), 0);
    assert_int_equal(c->script->submits,
                     0); // there is one kernel: it is checked before anything runs
    for (double until = clock_ms() + 2; clock_ms() < until;) continue;
    if (++c->calls % 3) return c->calls % 3 == 1 ? ENGINE_WORKING : ENGINE_WAITING;
    return c->fails ? err_set(err, ERR_ENGINE_CHECK, "wrong"), ENGINE_FAILED : ENGINE_DONE;
}

static void each_kernel_is_checked_once_and_before_it_runs(void **state) {
    (void)state;
    for (int fails = 0; fails < 2; fails++) {
        Fake f;
        fake_open(&f, true);
        engine_free(f.engine);
        Checks c = {&f.script, 0, fails};
        EngineDesc d = {.device = f.device, .program = &f.program, .hooks = {check, &c}};
        assert_true(engine_new(f.arena, &d, &f.engine, &f.err));
        fake_load(&f);
        fake_answer(&f, 20, (i32[]){1, 2, 3}, 3);
        assert_true(ask(&f, 20, 0));
        for (int i = 0; i < 3 && !fails; i++) assert_int_equal(fake_step(&f), ENGINE_TOKEN);
        assert_int_equal(fake_step(&f), fails ? ENGINE_FAILED : ENGINE_DONE);
        assert_int_equal(c.calls, 3);
        const EngineStats *t = engine_stats(f.engine); // of a prefill's speed, checks are no part
        assert_true(fails || (t->check_ms >= 4 && t->check_ms <= t->first_ms - t->start_ms));
        assert_int_equal(f.err.id, fails ? ERR_ENGINE_CHECK : ERR_NONE);
        fake_close(&f);
    }
}

// A device may make the pipelines of one row while it reads the prompt: they are asked for behind
// the first token, and nothing goes out before they are checked.
static EngineState check_each(void *user, const Engine *e, int regime, u32 step, Err *err) {
    (void)err;
    Checks *c = user;
    bool decodes = engine_program(e)->regimes[regime].steps[step].kernel == 1;
    assert_int_equal(device_outstanding(engine_device(e)), 0);
    assert_int_equal(c->script->submits, decodes ? (20 + FAKE_CHUNK - 1) / FAKE_CHUNK : 0);
    assert_int_equal(engine_stats(e)->answer_tokens, decodes);
    for (double until = clock_ms() + 2; clock_ms() < until;) continue;
    return ++c->calls % 3 ? ENGINE_WAITING : ENGINE_DONE;
}

static void what_decodes_is_checked_behind_the_first_token(void **state) {
    (void)state;
    Fake f;
    fake_open(&f, true);
    engine_free(f.engine);
    ProgKernel kernels[2] = {f.kernel[0], f.kernel[0]};
    Step steps[4];
    memcpy(steps, f.step, sizeof steps);
    for (int i = 0; i < 4; i++) steps[i].kernel = 1;
    f.program.kernels = kernels;
    f.program.nkernels = 2;
    f.program.regimes[0].steps = steps;
    Checks c = {&f.script, 0, false};
    EngineDesc d = {.device = f.device, .program = &f.program, .hooks = {check_each, &c}};
    assert_true(engine_new(f.arena, &d, &f.engine, &f.err));
    fake_load(&f);
    for (int again = 0; again < 2; again++) {
        fake_answer(&f, 20, (i32[]){1, 2, 3}, 3);
        assert_true(ask(&f, 20, 0));
        for (int i = 0; i < 3; i++) assert_int_equal(fake_step(&f), ENGINE_TOKEN);
        assert_int_equal(fake_step(&f), ENGINE_DONE);
        assert_int_equal(c.calls, 6);
        const EngineStats *t = engine_stats(f.engine);
        assert_true(again ? t->pause_ms == 0 : t->check_ms >= 4 && t->pause_ms >= 4);
        assert_true(t->pause_ms <= t->last_ms - t->first_ms);
        engine_forget(f.engine);
    }
    fake_close(&f);
}

static EngineState check_counted(void *user, const Engine *e, int regime, u32 step, Err *err) {
    Checks *c = user;
    u32 kernel = engine_program(e)->regimes[regime].steps[step].kernel;
    if (c->fails && kernel == 1) return err_set(err, ERR_ENGINE_CHECK, "wrong"), ENGINE_FAILED;
    if (++c->calls % 2) return ENGINE_WORKING;
    assert_int_equal(kernel, c->calls / 2 - 1); // prefill's, then decode's
    return ENGINE_DONE;
}

// While there is nothing else to do: a kernel a call, whole, and none again when an answer comes.
static void kernels_are_checked_ahead_of_an_answer(void **state) {
    (void)state;
    for (int k = 0; k < 4; k++) {
        bool async = k & 1, fails = k & 2;
        Fake f;
        fake_open(&f, async);
        engine_free(f.engine);
        ProgKernel kernels[2] = {f.kernel[0], f.kernel[0]};
        Step steps[4];
        memcpy(steps, f.step, sizeof steps);
        for (int i = 0; i < 4; i++) steps[i].kernel = 1;
        f.program.kernels = kernels;
        f.program.nkernels = 2;
        f.program.regimes[0].steps = steps;
        Checks c = {&f.script, 0, fails};
        EngineDesc d = {.device = f.device, .program = &f.program, .hooks = {check_counted, &c}};
        assert_true(engine_new(f.arena, &d, &f.engine, &f.err));
        assert_int_equal(engine_check_ahead(f.engine, UINT64_MAX, &f.err),
                         ENGINE_DONE); // too early
        fake_load(&f);
        assert_int_equal(engine_check_ahead(f.engine, 127, &f.err), ENGINE_DONE); // 128 bytes each
        assert_int_equal(c.calls, 0);
        if (!async) {
            assert_int_equal(engine_check_ahead(f.engine, 128, &f.err), ENGINE_WORKING);
            assert_int_equal(engine_check_ahead(f.engine, 128, &f.err), ENGINE_DONE);
            assert_int_equal(c.calls, 2); // what decodes has time
        }
        if (!async && !fails)
            assert_int_equal(engine_check_ahead(f.engine, UINT64_MAX, &f.err), ENGINE_WORKING);
        assert_int_equal(engine_check_ahead(f.engine, UINT64_MAX, &f.err), ENGINE_DONE);
        assert_int_equal(c.calls, async ? 0 : fails ? 2 : 4);
        assert_int_equal(f.err.id, ERR_NONE); // who needs the kernel is told
        fake_answer(&f, 20, (i32[]){1, 2, 3}, 3);
        assert_true(ask(&f, 20, 0));
        for (int i = 0; i < 3 && !(fails && i); i++) assert_int_equal(fake_step(&f), ENGINE_TOKEN);
        assert_int_equal(fake_step(&f), fails ? ENGINE_FAILED : ENGINE_DONE);
        assert_int_equal(c.calls, fails ? 2 : 4);
        assert_int_equal(engine_stats(f.engine)->checked, async ? 2 - fails : 0);
        fake_close(&f);
    }
}

static void eval_reads_logits_of_every_row(void **state) {
    (void)state;
    Fake f;
    fake_open(&f, true);
    fake_load(&f);
    EvalResult r = {0};
    assert_true(engine_eval(f.engine, f.arena, prompt, 12, 0, &r, &f.err));
    assert_int_equal(r.n, 11);
    assert_int_equal(r.top[10], 0);
    for (size_t i = 0; i < r.n; i++) // the null device's logits are all zero
        assert_true(r.logprob[i] < -5.55 && r.logprob[i] > -5.56 && r.margin[i] == 0);
    assert_true(r.mean < -5.55 && r.mean > -5.56);
    assert_false(engine_eval(f.engine, f.arena, prompt, 1, 0, &r, &f.err));
    fake_close(&f);
}

static void eval_of_a_device_that_answers_later_can_be_ended_early(void **state) {
    (void)state;
    Fake f;
    fake_open(&f, true);
    fake_load(&f);
    EvalResult r = {0};
    EngineState s;
    assert_true(engine_eval_begin(f.engine, f.arena, prompt, 12, 1, &r, &f.err));
    while ((s = engine_eval_step(f.engine, &r, &f.err)) != ENGINE_DONE) {
        assert_true(s != ENGINE_FAILED);
        if (s == ENGINE_TOKEN) assert_int_equal(r.rows, 1);
        if (s == ENGINE_TOKEN && r.done == 3) r.n = r.done;
    }
    assert_int_equal(r.done, 3);
    assert_true(ask(&f, 20, 0)); // the next answer begins anew
    while ((s = fake_step(&f)) != ENGINE_DONE) assert_true(s != ENGINE_FAILED);
    size_t n;
    const i32 *tokens = engine_tokens(f.engine, &n);
    assert_true(n > 12);
    assert_memory_equal(tokens, prompt, 12 * sizeof *tokens);
    fake_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_end_at_an_end_token),
        cmocka_unit_test(prefill_goes_in_chunks),
        cmocka_unit_test(decode_runs_ahead_on_a_device_that_answers_later),
        cmocka_unit_test(as_much_runs_ahead_as_hides_how_late_answers_come),
        cmocka_unit_test(nothing_is_asked_past_max_tokens),
        cmocka_unit_test(a_full_context_ends_with_length),
        cmocka_unit_test(a_prompt_longer_than_the_context_is_refused_and_nothing_is_lost),
        cmocka_unit_test(wrong_options_are_refused),
        cmocka_unit_test(what_the_program_has_no_steps_for_is_refused),
        cmocka_unit_test(a_second_turn_reads_only_what_is_new),
        cmocka_unit_test(a_cancelled_answer_leaves_the_engine_ready),
        cmocka_unit_test(one_answer_at_a_time),
        cmocka_unit_test(every_failing_call_is_an_error),
        cmocka_unit_test(logits_that_are_not_numbers_end_the_answer),
        cmocka_unit_test(each_kernel_is_checked_once_and_before_it_runs),
        cmocka_unit_test(what_decodes_is_checked_behind_the_first_token),
        cmocka_unit_test(kernels_are_checked_ahead_of_an_answer),
        cmocka_unit_test(eval_reads_logits_of_every_row),
        cmocka_unit_test(eval_of_a_device_that_answers_later_can_be_ended_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
