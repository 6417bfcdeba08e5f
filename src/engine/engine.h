// engine/engine.h: a loaded model answering: weights on the device, the token ring, prefill and
// decode with run-ahead, sampling, sessions, OpenAI requests. A state machine: engine_step() never
// waits.
//
//     load.c     program + file -> buffers, weights through a small window, kernels
//     engine.c   token ids in, token ids out: chunked prefill, run-ahead, roll-back, prefix reuse
//     speculate.c  drafts of what repeats, tried by a few rows at once
//     eval.c     forced decoding: logits of given tokens
//     calibrate.c  what the columns of each matrix are multiplied with, over given tokens
//     session.c  messages or text in, whole UTF-8 characters out: template, tokenizer, stop strings
//     openai.c   a chat-completions request and its answer, as JSON
#ifndef HOB_ENGINE_H
#define HOB_ENGINE_H

#include "device/device.h"
#include "text/text.h"

typedef struct Engine Engine; // one program on one device

typedef enum EngineState { // what the caller should do next
    ENGINE_IDLE,           // nothing asked for
    ENGINE_WORKING,        // call engine_step again now
    ENGINE_WAITING,        // call engine_step again when the device has made progress
    ENGINE_TOKEN,          // a token was produced: engine_token
    ENGINE_DONE,           // nothing left to do: loading or the answer ended, see engine_finish
    ENGINE_FAILED,         // see the error
} EngineState;

typedef enum Finish {
    FINISH_NONE,
    FINISH_STOP,
    FINISH_LENGTH,
    FINISH_CANCEL
} Finish;                          // ORDER FINISH
const char *finish_name(Finish f); // "stop", "length", "cancel"; NULL for none

// The check of a pipeline at its first use: the callback (tune/) runs it on the device with
// pseudo-random data and compares outputs. Nothing of the engine's is out on the device meanwhile;
// the callback polls for itself. DONE: it is right; WORKING, WAITING: call again; FAILED: err says
// how it is wrong.
typedef struct EngineHooks {
    EngineState (*check_kernel)(void *user, const Engine *e, int regime, u32 step, Err *err);
    void *user;
} EngineHooks;

enum { SPECULATE_MOST = 7 }; // drafted tokens at once
typedef struct EngineDesc {
    Device *device;
    const Program *program; // verified
    const Gguf *file;       // the weights; NULL: they stay zero
    u32 window;             // bytes that loading may hold at a time; 0: 8 MB
    // Answers in flight while decoding. 0: one where answers come at once, else as many as hide how
    // late they come, by measurement.
    int depth;
    // Tokens to draft at once, whether or not it pays; -1: as many as pay, by measurement; 0: none.
    // Programs whose steps of few rows may give logits to all of them can (CompileOptions.few_m).
    int speculate;
    EngineHooks hooks;
} EngineDesc;

// ---- load.c -------------------------------------------------------------------------------------
typedef struct LoadProgress {
    u64 done, total;
} LoadProgress; // bytes of weights in device memory
bool engine_new(Arena *a, const EngineDesc *d, Engine **out, Err *err);
EngineState engine_load_step(Engine *e, LoadProgress *p,
                             Err *err); // one window of one weight; DONE at the end
void engine_free(Engine *e);            // what it holds on the device; NULL is fine
// A kernel of the program, and the grids of its steps, are others than they were; for the check's
// callback, nothing being out.
bool engine_remake(Engine *e, u32 kernel, Err *err);

// ---- engine.c -----------------------------------------------------------------------------------
typedef struct SampleOptions {
    double temperature; // 0: greedy
    i32 top_k;          // 0: all
    u64 seed;
} SampleOptions;

typedef struct EngineRequest {
    const i32 *prompt; // copied
    size_t n;          // 1 .. ctx
    i64 max_tokens;    // 0: until the context is full
    SampleOptions sample;
    bool (*is_end)(void *user,
                   i32 token); // ends the answer and is not part of it; NULL: nothing does
    void *user;
} EngineRequest;

bool engine_start(Engine *e, const EngineRequest *r,
                  Err *err); // refused while loading or while an answer is made
EngineState engine_step(Engine *e, Err *err);
// Checks one more of the kernels that an answer will need, prefill's first, while there is nothing
// else to do: while bytes are awaited, or a question. DONE: none is left, or the device answers
// later, whose checks wait for others. Not while an answer is made. most: bytes of arguments; where
// they are limited, because there is something else to do soon, only what every first token needs
// is checked.
EngineState engine_check_ahead(Engine *e, u64 most, Err *err);
void engine_speculate(Engine *e, int drafts); // from the next answer on: as EngineDesc.speculate
i32 engine_token(const Engine *e);            // after ENGINE_TOKEN
Finish engine_finish(const Engine *e);        // after ENGINE_DONE
// Ends the answer at once (the caller saw a stop string, or the user had enough); what is in flight
// is forgotten.
void engine_stop(Engine *e, Finish why);
void engine_forget(Engine *e); // the cache: the next prompt is read from its beginning

typedef struct EngineStats {
    u32 prompt_tokens, cached_tokens, answer_tokens;
    double start_ms, first_ms, last_ms; // clock_ms: request, first and last token
    u32 drafted, accepted;              // tokens of drafts, and those of them that were right
    double check_ms; // of the time to the first token: checking kernels, each at its first use
    double pause_ms; // of the time from there to the second: the same for what decodes
    u32 checked;     // kernels that were checked meanwhile
} EngineStats;
const EngineStats *engine_stats(const Engine *e);
// Takes a device's answers until at most `keep` tickets are out. WORKING: so it is; WAITING: not
// yet; FAILED: see the error.
EngineState engine_settle(Device *d, int keep, Err *err);
// Fills the engine's parameter block for rows at positions [pos, pos + n), m of which (the last
// ones) get logits, and the submit but for its steps.
void engine_params(Engine *e, u32 pos, u32 n, u32 m, Submit *s);
const Program *engine_program(const Engine *e);
Device *engine_device(const Engine *e);
const DeviceBind *engine_bind(const Engine *e);

// ---- eval.c -------------------------------------------------------------------------------------
// Forced decoding: after each of tokens[0..n-2] the id with the largest logit and the natural
// log-probability of the token that follows (log-softmax in double). `rows` at a time: 1 uses
// decode's kernels, 0 as many as the program allows.
typedef struct EvalResult {
    i32 *top;
    double *logprob, mean;
    double *margin; // how far the largest logit is above the second
    size_t n;       // tokens - 1
    // set by the caller, may be NULL: sees every row of logits, the one after tokens[pos]
    void (*row)(void *user, size_t pos, const float *logits, u32 vocab);
    void *user;
    size_t done;   // positions that have figures; the last `rows` of them came last
    float *logits; // of those rows
    u32 rows, most;
    Ticket ticket; // of the rows that are awaited
    const i32 *tokens;
} EvalResult;
// The tokens stay the caller's and must stay.
bool engine_eval_begin(Engine *e, Arena *a, const i32 *tokens, size_t n, u32 rows, EvalResult *out,
                       Err *err);
// TOKEN: rows came; DONE: all of them did. To end it early set n to done between two steps, and
// step until DONE.
EngineState engine_eval_step(Engine *e, EvalResult *r, Err *err);
// The same to its end, by polling: for devices that make progress by themselves (not for a page).
bool engine_eval(Engine *e, Arena *a, const i32 *tokens, size_t n, u32 rows, EvalResult *out,
                 Err *err);
// The conversation: the prompt and the answer that were given last, with the token that ended it.
const i32 *engine_tokens(const Engine *e, size_t *n);

// ---- calibrate.c --------------------------------------------------------------------------------
// The mean square of what each column of a matrix is multiplied with; one for each tensor of the
// file that a matmul reads (q, k and v share theirs). Waits, and wants the device cpu, where the
// input of every matmul lies in memory.
typedef struct ColumnStats {
    Str tensor;
    u32 cols;
    const float *mean_sq;
} ColumnStats;
bool engine_calibrate(Engine *e, Arena *a, const i32 *tokens, size_t n, ColumnStats **out,
                      size_t *count, Err *err);

// ---- session.c ----------------------------------------------------------------------------------
enum { STOPS_MAX = 4, STOP_BYTES_MAX = 256 };
typedef struct AnswerOptions {
    i64 max_tokens; // 0: until the context is full
    SampleOptions sample;
    Str stop[STOPS_MAX];
    int nstop;
} AnswerOptions;

typedef struct Session Session; // one conversation on an engine
typedef struct SessionEvent {
    EngineState
        state; // TOKEN: text and token; DONE: finish (and the last text); else as the engine says
    Str text;  // whole UTF-8 characters, maybe none; valid until the next step
    i32 token; // -1: none
    Finish finish;
} SessionEvent;

// The template may be NULL: then only raw text can be answered.
Session *session_new(Arena *a, Engine *e, const Tokenizer *t, const Template *tmpl);
void session_free(Session *s);
// What a chat template is given beside the messages. now NULL: it is not defined what day it is.
void session_template(Session *s, const ChatTime *now, TemplateLimits limits);
bool session_ask(Session *s, const ChatMessages *m, const AnswerOptions *o, Err *err);
bool session_complete(Session *s, Str text, const AnswerOptions *o,
                      Err *err); // no template: the text goes on
SessionEvent session_step(Session *s, Err *err);
void session_cancel(Session *s);

// ---- openai.c -----------------------------------------------------------------------------------
typedef struct OpenaiRequest {
    ChatMessages messages;
    AnswerOptions answer;
    bool stream, include_usage;
    Str model; // as given; empty: none
} OpenaiRequest;
// A chat-completions request. Strings are copied to the arena. A field that is not known is an
// error that names it.
bool openai_read(Arena *a, Str json, OpenaiRequest *out, Err *err);
typedef struct OpenaiAnswer { // what the answer's JSON says beside the text
    Str id, model;
    i64 created; // seconds since 1970; 0 where there is no clock
    Finish finish;
    u32 prompt_tokens, cached_tokens, answer_tokens;
} OpenaiAnswer;
void openai_response(const OpenaiAnswer *o, Str text, Buf *out);
// One object of the stream: first (the role), a piece of text, last (finish reason), then usage
// when asked for.
void openai_chunk_first(const OpenaiAnswer *o, Buf *out);
void openai_chunk_text(const OpenaiAnswer *o, Str text, Buf *out);
void openai_chunk_last(const OpenaiAnswer *o, Buf *out);
void openai_chunk_usage(const OpenaiAnswer *o, Buf *out);
void openai_error(const Err *e, Buf *out); // {"error": {"message", "type", "param", "code"}}

#endif
