// tests/engine/fake.h: a program of four steps, a vocabulary of bytes, and the null device, which a
// test scripts.
#ifndef FAKE_H
#define FAKE_H

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "engine/engine.h"

enum { FAKE_VOCAB = 258, FAKE_END = 256, FAKE_START = 257, FAKE_CTX = 64, FAKE_CHUNK = 8 };

typedef struct Fake {
    Arena *arena;
    NullScript script;
    Program program;
    ProgKernel kernel[1];
    ProgBuffer buffer[4];
    Step step[4];
    Device *device;
    Engine *engine;
    Tokenizer *tok;
    const Template *tmpl;
    Err err;
    const i32 *answer; // what the "sampler" chooses, by position
    int answer_from, answer_n;
} Fake;

static inline i32 fake_token(void *user, i32 pos, const i32 *ring) {
    (void)ring;
    const Fake *f = user;
    int i = pos - f->answer_from;
    return i >= 0 && i < f->answer_n ? f->answer[i] : FAKE_END;
}

static inline void fake_program(Fake *f) {
    Program *p = &f->program;
    *p = (Program){.ctx = FAKE_CTX,
                   .chunk = FAKE_CHUNK,
                   .m_max = 4,
                   .vocab = FAKE_VOCAB,
                   .layers = 1,
                   .nkernels = 1,
                   .nbuffers = 4,
                   .kernels = f->kernel,
                   .buffers = f->buffer,
                   .buf_params = 0,
                   .buf_ring = 1,
                   .buf_logits = 2};
    profile_named(S("cpu"), &p->profile);
    f->kernel[0] =
        (ProgKernel){.name = S("k"), .nbind = 2, .writes = {false, true}, .wg = {1, 1, 1}};
    f->buffer[0] = (ProgBuffer){.name = S("params"), .kind = BUF_PARAMS};
    f->buffer[0].size = round_up(program_param_words(p) * 4, 64) * PARAM_SLOTS;
    f->buffer[1] = (ProgBuffer){.name = S("ring"), .kind = BUF_RING, .size = TOKEN_RING * 4};
    f->buffer[2] =
        (ProgBuffer){.name = S("logits"), .kind = BUF_LOGITS, .size = 4 * FAKE_VOCAB * 4};
    f->buffer[3] = (ProgBuffer){.name = S("cache"), .kind = BUF_KV, .size = FAKE_CTX * 64};
    static const Str names[4] = {{"trunk", 5}, {"head", 4}, {"argmax", 6}, {"sample", 6}};
    for (int i = 0; i < 4; i++)
        f->step[i] = (Step){.name = names[i],
                            .bind = {{0, 0, 64}, {3, 0, 64}},
                            .grid = {{0, 1, 1, 1, false}, {0, 1, 1, 1, false}, {0, 1, 1, 1, false}},
                            .layer = -1};
    const u32 largest[REGIME_COUNT] = {1, 4, FAKE_CHUNK};
    for (int i = 0; i < REGIME_COUNT; i++)
        p->regimes[i] = (Regime){.n = largest[i],
                                 .m = MIN2(largest[i], 4),
                                 .nsteps = 4,
                                 .head = 1,
                                 .greedy = 2,
                                 .sample = 3,
                                 .steps = f->step};
}

// 256 tokens of one byte each, <end> and <start>.
static inline void fake_text(Fake *f) {
    Vocab v;
    vocab_init(&v);
    v.model = S("gpt2");
    v.pre = S("gpt2");
    v.n_tokens = FAKE_VOCAB;
    v.tokens = NEW_N(f->arena, VocabToken, FAKE_VOCAB);
    for (int i = 0; i < 256; i++) {
        Buf b = {.arena = f->arena};
        char c = (char)i;
        bpe_spell((Str){&c, 1}, &b);
        v.tokens[i] = (VocabToken){.text = buf_str(&b), .type = TOKEN_NORMAL};
    }
    v.tokens[FAKE_END] = (VocabToken){.text = S("<end>"), .type = TOKEN_CONTROL};
    v.tokens[FAKE_START] = (VocabToken){.text = S("<start>"), .type = TOKEN_CONTROL};
    v.eos = FAKE_END;
    v.bos = FAKE_START;
    Vocab *kept = NEW(f->arena, Vocab);
    *kept = v;
    assert_true(tokenizer_new(f->arena, kept, &f->tok, &f->err));
    // what day it is counts only when it is asked
    const Str chat = S("<start>{% for m in messages %}{{ m.content if m.role != 'clock' else "
                       "strftime_now('%Y-%m-%d %H:%M:%S') }}<end>{% endfor %}");
    assert_true(template_compile(f->arena, S("chat"), chat, &f->tmpl, &f->err));
}

static inline void fake_open(Fake *f, bool async) {
    *f = (Fake){.arena = arena_new(NULL)};
    f->script =
        (NullScript){.async = async, .poll_after = async ? 3 : 0, .token = fake_token, .user = f};
    fake_program(f);
    assert_true(program_verify(&f->program, &f->err));
    DeviceOptions o = {.self = &f->script};
    assert_true(device_open(f->arena, S("null"), &o, &f->device, &f->err));
    EngineDesc d = {.device = f->device, .program = &f->program};
    assert_true(engine_new(f->arena, &d, &f->engine, &f->err));
}

static inline EngineState fake_load(Fake *f) {
    EngineState s;
    for (int i = 0; i < 10000; i++)
        if ((s = engine_load_step(f->engine, NULL, &f->err)) == ENGINE_DONE || s == ENGINE_FAILED)
            return s;
    fail_msg("loading never ends");
    return ENGINE_FAILED;
}

// Steps until something other than "call again".
static inline EngineState fake_step(Fake *f) {
    for (int i = 0; i < 10000; i++) {
        EngineState s = engine_step(f->engine, &f->err);
        if (s != ENGINE_WORKING && s != ENGINE_WAITING) return s;
    }
    fail_msg("a step never ends");
    return ENGINE_FAILED;
}

static inline void fake_close(Fake *f) {
    engine_free(f->engine);
    device_close(f->device);
    arena_free(f->arena);
}

static inline void fake_answer(Fake *f, int from, const i32 *tokens, int n) {
    f->answer = tokens;
    f->answer_from = from;
    f->answer_n = n;
}

#endif
