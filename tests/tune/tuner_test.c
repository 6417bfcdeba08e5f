// The tuner on a device with planted costs, where what the rules choose loses; the list that it
// keeps, and lists that are broken.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "tune/tune.h"
#include "compile/llama_text.h"

// The processor's device, its kernels in the interpreter, each step with a price instead of a time:
// 8; 4 where 8 of a block's elements are written out; 2 where 16 are, but then words are wrong.
typedef struct Planted {
    double ms;
    bool default_wins, likes_drawn;
    int runs;
} Planted;

static bool interp(void *user, Arena *scratch, const ProgKernel *k, void *const *arg,
                   const u64 *bytes, const i32 *dims, const u32 grid[3], Err *err) {
    Planted *pl = user;
    bool good = str_has(k->schedule, S(" 8 kw kj\n"));
    bool bad = str_has(k->schedule, S(" 16 kw kj\n"));
    bool drawn = false;
    for (char c = '0'; c <= '9'; c++) // a loop that was split by draw.c is named so
        drawn = drawn || str_has(k->schedule, (Str){(char[]){' ', 'i', c}, 3});
    pl->runs++;
    pl->ms += pl->likes_drawn    ? drawn ? 1 : 8
              : pl->default_wins ? 1 + good + bad
              : bad              ? 2
              : good             ? 4
                                 : 8;
    if (!tune_interp(NULL, scratch, k, arg, bytes, dims, grid, err)) return false;
    for (int i = 0; i < k->nbind && bad; i++)
        for (u64 w = 0; k->writes[i] && w < bytes[i] / 4; w++) ((u32 *)arg[i])[w] ^= 0x00800001;
    return true;
}

static double planted_clock(void *user) { return ((Planted *)user)->ms; }

typedef struct Lab {
    Arena *arena;
    Graph *graph;
    Profile profile;
    CompileOptions options;
    Program *p;
    Device *device;
    Engine *engine;
    Planted planted;
    Err err;
} Lab;

static void lab_open(Lab *l) {
    *l = (Lab){.arena = arena_new(NULL)};
    LlamaShape shape = {.hidden = 128,
                        .ffn = 256,
                        .heads = 4,
                        .kv_heads = 2,
                        .head_dim = 32,
                        .rot_dim = 32,
                        .vocab = 512,
                        .layers = 2,
                        .ctx = 48,
                        .chunk = 12,
                        .q = "q4_1",
                        .k = "q4_1",
                        .v = "q4_1",
                        .gate = "q4_1",
                        .up = "q4_1",
                        .rest = "q8_0"};
    assert_true(profile_named(S("software"), &l->profile));
    l->graph = graph_read(l->arena, llama_text(l->arena, &shape), S("test.hgraph"), &l->err);
    assert_non_null(l->graph);
    l->options = (CompileOptions){.profile = &l->profile, .regimes = 1 << REGIME_ROW};
    assert_true(compile_program(l->arena, l->graph, &l->options, &l->p, &l->err));
    DeviceOptions d = {.threads = 1, .interp = interp, .user = &l->planted};
    assert_true(device_open(l->arena, S("cpu"), &d, &l->device, &l->err));
    EngineDesc e = {.device = l->device, .program = l->p}; // no file: all weights are zero
    assert_true(engine_new(l->arena, &e, &l->engine, &l->err));
    EngineState s;
    while ((s = engine_load_step(l->engine, NULL, &l->err)) == ENGINE_WORKING) {
    }
    assert_int_equal(s, ENGINE_DONE);
}

static void lab_close(Lab *l) {
    engine_free(l->engine);
    device_close(l->device);
    arena_free(l->arena);
}

static Tuner *tune(Lab *l, int best, double budget_ms, int draws) {
    TuneOptions o = {.graph = l->graph,
                     .compile = &l->options,
                     .best = best,
                     .changes = 1,
                     .draws = draws,
                     .samples = 3,
                     .sample_ms = 1,
                     .budget_ms = budget_ms,
                     .clock = planted_clock,
                     .user = &l->planted};
    Tuner *t = tuner_new(l->engine, &o, &l->err);
    assert_non_null(t);
    EngineState s;
    while ((s = tuner_step(t, &l->err)) != ENGINE_DONE)
        if (s == ENGINE_FAILED) fail_msg("%s: %s", l->err.subject, l->err.msg);
    return t;
}

static void the_planted_winner_is_found_and_kept(void **state) {
    (void)state;
    Lab l;
    lab_open(&l);
    Tuner *t = tune(&l, 12, 0, 0);
    int n, won = 0, wrong = 0, better = 0;
    const TuneResult *r = tuner_results(t, &n);
    TunedList list = {.adapter = S("planted, v1")}, again = {.adapter = S("planted, v1")};
    for (int i = 0; i < n; i++) {
        wrong += r[i].wrong;
        better += r[i].schedule.len > 0;
        tuned_put(l.arena, &list, &(Tuned){list.adapter, r[i].nest_key, r[i].schedule});
        if (strcmp(r[i].rule, "matmul_row") != 0) continue;
        assert_true(str_has(r[i].schedule, S("unroll=8")));
        assert_true(r[i].best_ms == r[i].was_ms / 2 && r[i].wrong >= 1);
        won++;
    }
    // the fastest was wrong, the second is the best
    assert_true(n >= 10 && won == 5 && wrong >= 5);
    tuner_free(t);

    Buf text = {.arena = l.arena};
    tuned_print(&list, &text);
    assert_true(tuned_read(l.arena, buf_str(&text), &again, &l.err, &l.err));
    assert_int_equal(l.err.id, ERR_NONE);
    assert_int_equal(again.all.n, list.all.n);
    CompileOptions o = l.options;
    o.tuned = tuned_schedule;
    o.tuned_user = &again;
    Program *p;
    int kept = 0;
    assert_true(compile_program(l.arena, l.graph, &o, &p, &l.err));
    for (int i = 0; i < p->nkernels; i++)
        kept += !str_eq(p->kernels[i].schedule, l.p->kernels[i].schedule);
    assert_int_equal(kept, better);
    TuneOptions o2 = {.graph = l.graph, .compile = &l.options, .known = &again, .best = 3};
    assert_non_null(t = tuner_new(l.engine, &o2, &l.err)); // what is known is not measured again
    int done, all, runs = l.planted.runs;
    tuner_progress(t, &done, &all);
    assert_true(all < 2 * (l.p->nkernels - better));
    assert_int_equal(l.planted.runs, runs);
    tuner_free(t);
    again.adapter = S("planted, v2"); // another driver: nothing is known of it
    assert_true(compile_program(l.arena, l.graph, &o, &p, &l.err));
    for (int i = 0; i < p->nkernels; i++) {
        assert_true(str_eq(p->kernels[i].schedule, l.p->kernels[i].schedule));
        assert_true(p->kernels[i].nest_key == l.p->kernels[i].nest_key);
    }
    lab_close(&l);
}

static void what_the_rules_choose_stays_where_nothing_is_faster(void **state) {
    (void)state;
    Lab l;
    lab_open(&l);
    l.planted.default_wins = true;
    Tuner *t = tune(&l, 3, 0, 0);
    int n;
    const TuneResult *r = tuner_results(t, &n);
    assert_true(n >= 5 && tuner_complete(t));
    for (int i = 0; i < n; i++) {
        assert_true(r[i].schedule.len == 0 && r[i].best_ms == r[i].was_ms);
        assert_true(r[i].measured <= 4);
    }
    tuner_free(t);
    lab_close(&l);
}

static void no_kernel_is_begun_after_the_time_is_up(void **state) {
    (void)state;
    Lab l;
    lab_open(&l);
    Tuner *t = tune(&l, 3, 1, 0); // the first step takes more
    int n, runs = l.planted.runs;
    tuner_results(t, &n);
    assert_int_equal(n, 0);
    assert_false(tuner_complete(t));
    assert_true(runs > 0 && runs < 40);
    tuner_free(t);
    lab_close(&l);
}

// Weights of any value, so that answers tell whether the cache and the ring are what they were.
static void fill_weights(Lab *l) {
    for (int i = 0; i < l->p->nweights; i++) {
        const Weight *w = &l->p->weights[i];
        u64 plane1 =
            round_up(w->rows, MAX2(w->interleave, 1u)) * quant_words(w->encoding, 0, w->cols);
        u32 n = (u32)(w->size / 4), x = (u32)i + 1, *words = NEW_N(l->arena, u32, n);
        for (u32 k = 0; k < n; k++) {
            x = x * 1664525 + 1013904223;
            words[k] = quant_random_word(w->encoding, k >= plane1, x ^ x >> 15);
        }
        assert_true(device_buffer_write(l->device, engine_bind(l->engine)->buffers[w->buffer],
                                        w->offset, words, w->size, &l->err) != 0);
    }
    assert_int_equal(engine_settle(l->device, 0, &l->err), ENGINE_WORKING);
}

// An answer may be asked for whenever nothing is out: it is the same, and the tuner goes on.
static void answers_between_two_steps_are_the_same(void **state) {
    (void)state;
    enum { ASKED = 3, EACH = 4 };
    i32 got[2][ASKED * EACH];
    for (int turn = 0; turn < 2; turn++) {
        Lab l;
        lab_open(&l);
        fill_weights(&l);
        TuneOptions o = {.graph = l.graph, .compile = &l.options, .best = 2, .changes = 1};
        Tuner *t = turn ? tuner_new(l.engine, &o, &l.err) : NULL;
        for (int ask = 0; ask < ASKED; ask++) {
            size_t n; // the conversation so far, and a token more: the cache holds the rest
            const i32 *said = engine_tokens(l.engine, &n);
            i32 prompt[48] = {1, 2, 3};
            if (ask) memcpy(prompt, said, n * sizeof *said);
            prompt[ask ? n : 2] = 7 + ask;
            EngineRequest q = {.prompt = prompt, .n = ask ? n + 1 : 3, .max_tokens = EACH};
            assert_true(engine_start(l.engine, &q, &l.err));
            EngineState s;
            for (int k = 0; (s = engine_step(l.engine, &l.err)) != ENGINE_DONE;) {
                assert_int_not_equal(s, ENGINE_FAILED);
                if (s == ENGINE_TOKEN) got[turn][ask * EACH + k++] = engine_token(l.engine);
            }
            if (ask) assert_true(engine_stats(l.engine)->cached_tokens > 3);
            for (int i = 0; t && i < 150; i++)
                assert_int_not_equal(tuner_step(t, &l.err), ENGINE_FAILED);
        }
        tuner_free(t);
        lab_close(&l);
    }
    int differ = 0;
    for (int i = 1; i < ASKED * EACH; i++) differ += got[0][i] != got[0][0];
    assert_true(differ > 2);
    assert_memory_equal(got[0], got[1], sizeof got[0]);
}

static void a_broken_list_is_an_error_and_no_crash(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    TunedList list = {0};
    for (int i = 0; i < 3; i++)
        tuned_put(a, &list, &(Tuned){S("an \"adapter\""), (u64)i << 40 | 7, S("map{vec=1,wg=0}")});
    Buf text = {.arena = a};
    tuned_print(&list, &text);
    for (size_t cut = 0; cut < text.len; cut++) {
        Err bad = {0}, err = {0};
        TunedList out = {0};
        bool ok = tuned_read(a, str_sub(buf_str(&text), 0, cut), &out, &bad, &err);
        assert_true(bad.id == ERR_NONE);
        assert_true(ok ? cut + 1 == text.len : err.id == ERR_TUNED || err.id == ERR_JSON);
    }
    const char *const broken[] = {
        "",
        "[]",
        "{}",
        "{\"hob_tuned\": 2, \"schedules\": []}",
        "{\"hob_tuned\": 1}",
        "{\"hob_tuned\": 1, \"schedules\": {}}",
    };
    for (size_t i = 0; i < COUNT_OF(broken); i++) {
        Err bad = {0}, err = {0};
        TunedList out = {0};
        assert_false(tuned_read(a, str_c(broken[i]), &out, &bad, &err));
        assert_true(bad.id == ERR_NONE && (err.id == ERR_TUNED || err.id == ERR_JSON));
    }
    Buf many = {.arena = a}; // one schedule too many; one that is too long
    buf_add(&many, S("{\"hob_tuned\": 1, \"schedules\": ["));
    for (int i = 0; i <= TUNED_MOST; i++)
        buf_fmt(&many, "%s{\"adapter\": \"a\", \"nest\": \"%x\", \"schedule\": \"x\"}",
                i ? "," : "", (u32)i);
    buf_add(&many, S("]}"));
    Err bad = {0}, err = {0};
    TunedList out = {0};
    assert_false(tuned_read(a, buf_str(&many), &out, &bad, &err));
    assert_int_equal(out.all.n, 0);
    // the list itself forgets the oldest
    for (int i = 0; i < TUNED_MOST + 5; i++)
        tuned_put(a, &out, &(Tuned){S("a"), (u64)i, S("map{wg=0}")});
    assert_int_equal(out.all.n, TUNED_MOST);
    assert_true(out.all.at[0].nest_key == 5);
    arena_free(a);
}

static void a_broken_entry_is_told_and_the_others_stay(void **state) {
    (void)state;
    const char *const broken[] = {
        "1",
        "null",
        "{\"adapter\": \"a\", \"nest\": \"G\", \"schedule\": \"x\"}",
        "{\"adapter\": \"a\", \"nest\": \"00112233445566778\", \"schedule\": \"x\"}",
        "{\"adapter\": \"a\", \"nest\": \"\", \"schedule\": \"x\"}",
        "{\"adapter\": \"a\", \"nest\": 1, \"schedule\": \"x\"}",
        "{\"adapter\": \"a\", \"nest\": \"1\"}",
        "{\"nest\": \"1\", \"schedule\": \"x\"}",
        "{\"adapter\": [], \"nest\": \"1\", \"schedule\": \"x\"}",
    };
    Arena *a = arena_new(NULL);
    Str is_good = S("{\"adapter\": \"a\", \"nest\": \"f0\", \"schedule\": \"map{wg=0}\"}");
    for (size_t i = 0; i < COUNT_OF(broken); i++)
        for (int place = 0; place < 2; place++) {
            Err bad = {0}, err = {0};
            TunedList out = {.adapter = S("a")};
            Str one = str_c(broken[i]);
            Str text = str_fmt(a, "{\"hob_tuned\": 1, \"schedules\": [%S, %S, %S]}",
                               place ? is_good : one, place ? one : is_good, one);
            assert_true(tuned_read(a, text, &out, &bad, &err));
            assert_true(bad.id == ERR_TUNED_ENTRY && err.id == ERR_NONE && bad.msg[0]);
            assert_string_equal(bad.subject, place ? "schedules[1]" : "schedules[0]");
            assert_true(out.all.n == 1 && str_eq(tuned_schedule(&out, 0xf0), S("map{wg=0}")));
        }
    arena_free(a);
}

// What is drawn is measured where light kernels count, and checked like all: a sequence that no
// rule writes wins where the device is made to like it, and none that was built is wrong.
static void a_drawn_schedule_may_win_and_is_right(void **state) {
    (void)state;
    Lab l;
    lab_open(&l);
    l.planted.likes_drawn = true;
    Tuner *t = tune(&l, 6, 0, 60);
    int n, drawn = 0, light = 0;
    const TuneResult *r = tuner_results(t, &n);
    for (int i = 0; i < n; i++) {
        if (strcmp(r[i].rule, "row_reduce") != 0 && strcmp(r[i].rule, "map") != 0) continue;
        light++;
        assert_int_equal(r[i].wrong, 0);
        drawn += str_has(r[i].schedule, S("\n"));
    }
    assert_true(light >= 6 && drawn >= 3);
    tuner_free(t);
    lab_close(&l);
}

static void count_fall_backs(void *user, const Err *why) {
    assert_true(str_has(str_c(why->subject), S("matmul")));
    ++*(int *)user;
}

// Schedules that were kept, and are wrong on this device: each kernel is said once, the rule's own
// takes its place, and the answer is the one of the rules.
static void a_kept_schedule_that_is_wrong_gives_way_to_the_rule(void **state) {
    (void)state;
    Lab l;
    lab_open(&l);
    TunedList list = {.adapter = S("planted, v1")};
    int kept = 0, said = 0, tokens = 0, alike = 0;
    for (int i = 0; i < l.p->nkernels; i++) {
        if (!str_has(l.p->kernels[i].name, S("matmul"))) continue;
        tuned_put(l.arena, &list,
                  &(Tuned){list.adapter, l.p->kernels[i].nest_key, S("matmul_row{unroll=16}")});
        kept++;
    }
    CompileOptions o = l.options;
    o.tuned = tuned_schedule;
    o.tuned_user = &list;
    Program *p;
    assert_true(compile_program(l.arena, l.graph, &o, &p, &l.err));
    TuneFallback f = {checker_new(l.arena), NULL, p, l.arena, l.graph, &l.options, &list,
                      count_fall_backs,     &said};
    Engine *e;
    EngineDesc d = {.device = l.device, .program = p, .hooks = {tune_check_or_fall_back, &f}};
    assert_true(engine_new(l.arena, &d, &e, &l.err));
    f.engine = e;
    EngineState s;
    while ((s = engine_load_step(e, NULL, &l.err)) == ENGINE_WORKING) continue;
    assert_int_equal(s, ENGINE_DONE);
    for (int turn = 0; turn < 2; turn++) {
        i32 prompt = 7;
        EngineRequest r = {.prompt = &prompt, .n = 1, .max_tokens = 3};
        assert_true(engine_start(e, &r, &l.err));
        while ((s = engine_step(e, &l.err)) == ENGINE_WORKING || s == ENGINE_TOKEN)
            tokens += s == ENGINE_TOKEN;
        if (s != ENGINE_DONE) fail_msg("%s: %s", l.err.subject, l.err.msg);
    }
    for (int i = 0; i < p->nkernels; i++)
        alike += str_eq(p->kernels[i].schedule, l.p->kernels[i].schedule);
    assert_true(kept == 5 && said == kept && tokens == 6 && alike == p->nkernels);
    checker_free(f.checker);
    engine_free(e);
    lab_close(&l);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_planted_winner_is_found_and_kept),
        cmocka_unit_test(what_the_rules_choose_stays_where_nothing_is_faster),
        cmocka_unit_test(no_kernel_is_begun_after_the_time_is_up),
        cmocka_unit_test(answers_between_two_steps_are_the_same),
        cmocka_unit_test(a_broken_list_is_an_error_and_no_crash),
        cmocka_unit_test(a_broken_entry_is_told_and_the_others_stay),
        cmocka_unit_test(a_drawn_schedule_may_win_and_is_right),
        cmocka_unit_test(a_kept_schedule_that_is_wrong_gives_way_to_the_rule),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
