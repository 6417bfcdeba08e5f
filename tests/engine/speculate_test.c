// Drafts on the null device, whose token follows from the two before it in the ring and from the
// position: with drafts an answer is the one without, wherever they are right, wrong, cut by the
// end of the context or by a stop, and whatever comes after them.
#include "fake.h"

enum { ANSWER = FAKE_CTX };

typedef struct Talk {
    i32 token[2 * ANSWER];
    int n;
    Finish finish;
    EngineStats stats;
} Talk;

static u32 rng;
static u32 draw(u32 below) {
    rng = rng * 1664525 + 1013904223;
    return (rng >> 8) % below;
}

// What repeats for a while: a small machine of two tokens of memory, now and then disturbed.
static i32 machine(void *user, i32 pos, const i32 *ring) {
    const Fake *f = user;
    u32 a = (u32)ring[(pos - 1) & (TOKEN_RING - 1)], b = (u32)ring[(pos - 2) & (TOKEN_RING - 1)];
    u32 h = (a * 7 + b * 3 + (u32)f->answer_from) % 5;
    if (((u32)pos * 2654435761u + (u32)f->answer_n) % 11 == 0) h = (h + (u32)pos) % 7;
    return pos == f->answer_n ? FAKE_END : (i32)h;
}

static bool is_end(void *user, i32 token) {
    (void)user;
    return token == FAKE_END;
}

static void open_machine(Fake *f, bool async, int drafts) {
    fake_open(f, async);
    f->script.token = machine;
    engine_speculate(f->engine, drafts);
    assert_int_equal(fake_load(f), ENGINE_DONE);
}

// Asks, and takes at most `most` tokens before it stops by itself.
static void talk(Fake *f, const i32 *prompt, int n, i64 max, int most, Talk *out) {
    EngineRequest r = {.prompt = prompt, .n = (size_t)n, .max_tokens = max, .is_end = is_end};
    *out = (Talk){0};
    if (!engine_start(f->engine, &r, &f->err)) fail_msg("%s", f->err.msg);
    for (;;) {
        EngineState s = fake_step(f);
        if (s != ENGINE_TOKEN) {
            assert_int_equal(s, ENGINE_DONE);
            break;
        }
        out->token[out->n++] = engine_token(f->engine);
        if (out->n == most) {
            engine_stop(f->engine, FINISH_CANCEL);
            break;
        }
    }
    out->finish = engine_finish(f->engine);
    out->stats = *engine_stats(f->engine);
}

static void same(const Talk *a, const Talk *b) {
    assert_int_equal(a->n, b->n);
    assert_int_equal(a->finish, b->finish);
    assert_memory_equal(a->token, b->token, (size_t)a->n * sizeof a->token[0]);
}

static void answers_are_the_same_with_drafts_and_without(void **state) {
    (void)state;
    static Fake plain, drafted;
    u32 accepted = 0, wrong = 0, stopped = 0;
    for (u32 seed = 0; seed < 400; seed++) {
        i32 prompt[FAKE_CTX];
        static Talk a, b;
        rng = seed;
        open_machine(&plain, false, 0);
        open_machine(&drafted, seed % 2, seed % 5 ? 1 + (int)draw(3) : -1);
        int n = 0;
        for (int turn = 0; turn < 3 && n < FAKE_CTX - 6; turn++) {
            plain.answer_from = drafted.answer_from = (int)draw(5);
            plain.answer_n = drafted.answer_n = draw(2) ? n + (int)draw(50) : 1 << 20;
            for (int k = 2 + (int)draw(4); k > 0; k--) prompt[n++] = (i32)draw(4);
            i64 max = draw(2) ? 1 + (i64)draw(40) : 0;
            int most = draw(3) ? 1 << 20 : 1 + (int)draw(12);
            talk(&plain, prompt, n, max, most, &a);
            talk(&drafted, prompt, n, max, most, &b);
            same(&a, &b);
            if (turn) assert_true(b.stats.cached_tokens >= a.stats.cached_tokens);
            accepted += b.stats.accepted;
            wrong += b.stats.drafted - b.stats.accepted;
            stopped += a.n == most;
            // the next prompt goes on behind a part of the answer
            for (int i = 0, k = a.n ? (int)draw((u32)a.n) : 0; i < k && n < FAKE_CTX - 6; i++)
                prompt[n++] = a.token[i];
        }
        fake_close(&plain);
        fake_close(&drafted);
    }
    assert_true(accepted > 1000 && wrong > 500 && stopped > 50);
}

static void what_repeats_takes_fewer_submits(void **state) {
    (void)state;
    static const i32 prompt[] = {9, 8, 7, 6, 9, 8, 7, 6, 9, 8};
    static i32 again[40];
    Fake f;
    Talk t;
    for (int i = 0; i < 40; i++) again[i] = 9 - (i + 2) % 4;
    for (int drafts = 0; drafts <= 3; drafts += 3) {
        fake_open(&f, false);
        fake_answer(&f, 10, again, 40);
        engine_speculate(f.engine, drafts);
        assert_int_equal(fake_load(&f), ENGINE_DONE);
        u32 before = f.script.submits;
        talk(&f, prompt, 10, 40, 1 << 20, &t);
        assert_int_equal(t.n, 40);
        assert_memory_equal(t.token, again, sizeof again);
        // 10 of prompt in chunks of 8; then one a token, or four
        assert_int_equal(f.script.submits - before, drafts ? 2 + 10 : 2 + 39);
        assert_int_equal(t.stats.drafted, drafts ? 29 : 0);
        assert_int_equal(t.stats.accepted, t.stats.drafted);
        fake_close(&f);
    }
}

static void what_repeats_nothing_is_not_drafted(void **state) {
    (void)state;
    Fake f;
    Talk t;
    static i32 prompt[8], fresh[40];
    for (int i = 0; i < 8; i++) prompt[i] = i;
    for (int i = 0; i < 40; i++) fresh[i] = 10 + i;
    fake_open(&f, false);
    fake_answer(&f, 8, fresh, 40);
    engine_speculate(f.engine, 3);
    assert_int_equal(fake_load(&f), ENGINE_DONE);
    talk(&f, prompt, 8, 40, 1 << 20, &t);
    assert_int_equal(t.n, 40);
    assert_int_equal(t.stats.drafted, 0);
    fake_close(&f);
}

static void a_device_that_fails_fails_a_draft_too(void **state) {
    (void)state;
    static const i32 prompt[] = {1, 2, 3, 1, 2};
    static const i32 again[30] = {3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2, 3, 1, 2};
    for (int how = 0; how < 2; how++)
        for (u32 call = 1;; call++) {
            Fake f;
            EngineState s = ENGINE_DONE;
            EngineRequest r = {.prompt = prompt, .n = 5, .max_tokens = 12};
            fake_open(&f, call % 2);
            fake_answer(&f, 5, again, 30);
            engine_speculate(f.engine, 3);
            assert_int_equal(fake_load(&f), ENGINE_DONE);
            u32 at = f.script.calls + call;
            if (how)
                f.script.lose_call = at;
            else
                f.script.fail_call = at;
            if (engine_start(f.engine, &r, &f.err))
                while ((s = fake_step(&f)) == ENGINE_TOKEN) continue;
            bool hit = f.script.calls >= at;
            assert_int_equal(s, hit ? ENGINE_FAILED : ENGINE_DONE);
            fake_close(&f);
            if (!hit) break;
        }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_are_the_same_with_drafts_and_without),
        cmocka_unit_test(what_repeats_takes_fewer_submits),
        cmocka_unit_test(what_repeats_nothing_is_not_drafted),
        cmocka_unit_test(a_device_that_fails_fails_a_draft_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
