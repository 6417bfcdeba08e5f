// engine/engine_int.h: the engine's insides, shared by load.c, engine.c and eval.c.
#ifndef HOB_ENGINE_INT_H
#define HOB_ENGINE_INT_H

#include "engine/engine.h"

enum {
    CHUNKS_MAX = PARAM_SLOTS - 1, // of a prompt, on their way: who cancels waits for them
    DEPTH_LEAST = 4, // tokens in flight where answers come later: the host may be busy too
    DEPTH_MAX = 64,
    READ_BACKS = 3 // while loading: how late answers come
};

typedef enum Phase { PHASE_LOAD, PHASE_IDLE, PHASE_PREFILL, PHASE_DECODE, PHASE_FAILED } Phase;

typedef struct Flight { // a submit whose token is awaited
    Ticket ticket;
    i32 pos; // the token's position
} Flight;

// ---- speculate.c --------------------------------------------------------------------------------
enum { SPECULATE_MATCH = 8, SPECULATE_LOOK = 16 };
typedef struct Speculate {
    int drafts; // as in EngineDesc
    int most;   // drafted tokens at once here; 0: none
    // Milliseconds that drafts have gained, or would have, less what they lost: what is tried must
    // be earned. price: of the first draft, whose kernels are to be checked.
    double credit, price;
    bool drafting; // the token known last was drafted
    // what the next draft would be: tokens from `from` on, of which `want` are worth it
    u32 from;
    int want;
    i32 guess; // the first of them; -1: nothing is guessed
    int row;   // of counted and right: how long the match was
    float counted[SPECULATE_MATCH], right[SPECULATE_MATCH]; // guesses
    double ms[SPECULATE_MOST + 2];                          // of a step, by rows; 0: not known
    u8 trials[SPECULATE_MOST + 2];
    int window; // tokens of one row that were taken since window_ms
    double window_ms;
    // the draft that is out
    int rows; // 0: none is
    double start_ms;
    i32 draft[SPECULATE_MOST], chosen[SPECULATE_MOST + 1];
    int left, next; // of chosen: tokens that are right and were not given yet
} Speculate;

struct Engine {
    EngineDesc d;
    const Program *p;
    Arena *arena;  // as long as the engine
    Arena *window; // loading's, given back at the end
    Phase phase;
    Err failed;

    BufferHandle *buffers;
    KernelHandle *kernels;
    DeviceBind bind;
    BoundHandle bound;
    bool *checked; // by kernel: right on this device
    u32 nchecked;
    bool ahead_over;   // engine_check_ahead has nothing more to do
    double check_ms;   // that it took to check so many for first and second tokens
    bool decodes[2];   // by greedy or sampled: what makes one token after the other is checked
    double check_from; // clock_ms since when kernels are checked; 0: none is

    // loading
    int stage;                  // buffers, read-backs, kernels, binding, weights, waiting, done
    u32 next;                   // buffer, place in `order`, read-back or kernel
    u32 *order;                 // of weights: that of their bytes in the file
    double read_ms[READ_BACKS]; // of each read-back
    double asked_ms;            // when the last one was asked for
    u32 next_row;               // woven rows of the weight that are done
    Ticket last_ticket;         // everything before it was handed over
    LoadProgress progress;

    // the conversation: tokens[0..known) by position; the cache holds [0, cached)
    i32 *tokens;
    u32 known, cached;
    i32 *params; // one parameter block
    int slot;

    // the answer being made
    u32 prompt; // its prompt's length
    u32 limit;  // no token at this position or later
    SampleOptions sample;
    bool (*is_end)(void *user, i32 token);
    void *user;
    Flight flight[DEPTH_MAX];
    int nflight;
    u32 asked;      // positions below are known or in flight
    int depth;      // tokens in flight at most
    double late_ms; // of an answer by a device that has nothing else to do
    Speculate spec;
    i32 token;
    Finish finish;
    EngineStats stats;
};

// engine_params, and hands over the steps.
typedef enum RunSampler { RUN_NONE, RUN_GREEDY, RUN_SAMPLE } RunSampler;
int engine_regime(const Engine *e, u32 n);
// Has the program steps for this? An edited graph may lack them: old numbers would be the answer.
bool engine_can(const Engine *e, RunSampler sampler, Err *err);
Ticket engine_submit(Engine *e, u32 pos, u32 n, u32 m, RunSampler sampler, Err *err);
bool engine_ring_write(Engine *e, u32 pos, u32 n, Err *err); // tokens[pos..pos+n) to the ring
// Checks the kernels of a regime's steps that were not checked yet. DONE: all right.
EngineState engine_check(Engine *e, int regime, RunSampler sampler, bool head, Err *err);
void speculate_begin(Engine *e); // an answer, its limit known
void speculate_saw(Engine *e);   // the token known last: was it guessed, what is the next guess
void speculate_time(Engine *e);  // a token of one row came
bool speculate_submit(Engine *e, RunSampler sampler, Err *err);
void speculate_take(Engine *e);                        // what the samplers chose is here
bool engine_fail(Engine *e, Err *err);                 // remembers the error; false
bool engine_poll_error(const PollResult *r, Err *err); // what a poll that is not OK says; false

#endif
