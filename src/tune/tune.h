// tune/tune.h: what needs both wings: kernels run by the interpreter, the check of each kernel on
// the real device, and the tuner, which measures schedules there.
#ifndef HOB_TUNE_H
#define HOB_TUNE_H

#include "compile/compile.h"
#include "engine/engine.h"

// interp_step.c: the cpu device's InterpFn
bool tune_interp(void *user, Arena *scratch, const ProgKernel *k, void *const *arg,
                 const u64 *bytes, const i32 *dims, const u32 grid[3], Err *err);

// selfcheck.c: the engine's check_kernel; user is a Checker. On the device that answers at once or
// later alike.
typedef struct Checker Checker;
Checker *checker_new(Arena *a);
void checker_free(Checker *c); // NULL is fine
EngineState tune_check_kernel(void *checker, const Engine *e, int regime, u32 step, Err *err);
// The same for any program whose kernels are on the device.
typedef struct CheckAsk {
    Device *device;
    const Program *program;
    const KernelHandle *kernels;
    int regime;
    u32 step;
} CheckAsk;
EngineState checker_step(Checker *c, const CheckAsk *ask, Err *err);
void checker_stop(Checker *c, Device *d); // gives up the check under way, if one is
typedef struct CheckStats {
    u32 kernels, outputs;
    double worst; // largest error relative to max(1, |value|)
    double ms;
} CheckStats;
const CheckStats *checker_stats(const Checker *c);

// check_data.c: pseudo-random words for a kernel's argument, each a function of its index alone
typedef struct CheckArg {
    const Buffer *buf;
    const Weight *weight; // of a weight's words, else NULL
    u64 plane1;           // where its second plane begins
    const u32 *given;     // constants and parameters: the words themselves
    const u32 *pattern;   // check_pattern's
    u64 words;
    u64 seed;
} CheckArg;
u32 *check_pattern(Arena *a);
void check_words(const CheckArg *a, u64 from, u64 n, u32 *out);

// cost.c: an order of a kernel's schedules: the least first
double tune_cost(const Kernel *k, const Profile *p);

// draw.c: a schedule of primitives drawn at random, often one that is refused. seed: another one
// for each draw.
Str tune_draw(Arena *a, const Nest *naive, u64 seed);

// tuned.c: what was found best: one schedule for each nest on each adapter with its driver
typedef struct Tuned {
    Str adapter; // and driver
    u64 nest_key;
    Str schedule; // empty: nothing is better than what the rule chooses
} Tuned;
typedef struct TunedList {
    VEC(Tuned) all;
    Str adapter; // whose schedules are asked for
} TunedList;
enum { TUNED_MOST = 4096, TUNED_SCHEDULE_MAX = 4096 };
// A file of them; one that is broken, of another version or too large is an error. An entry that is
// broken is passed over: bad tells the first such, where it tells nothing yet.
bool tuned_read(Arena *a, Str text, TunedList *out, Err *bad, Err *err);
void tuned_put(Arena *a, TunedList *l, const Tuned *t); // in place of an older one; the oldest goes
void tuned_print(const TunedList *l, Buf *out);         // reads back
// Of l->adapter; NULL: nothing was measured.
const Tuned *tuned_find(const TunedList *l, u64 nest_key);
Str tuned_schedule(const void *list, u64 nest_key); // CompileOptions.tuned

// fallback.c: tune_check_kernel, but a schedule of the list that is wrong gives way to its rule's
// choice
typedef struct TuneFallback {
    Checker *checker;
    Engine *engine;
    Program *program; // the engine's
    Arena *arena;     // as long as the program
    const Graph *graph;
    const CompileOptions *options; // of the program, but for the list
    TunedList *list;
    void (*say)(void *user, const Err *why); // that it came so
    void *user;
} TuneFallback;
EngineState tune_check_or_fall_back(void *fallback, const Engine *e, int regime, u32 step,
                                    Err *err);

// tuner.c: measures schedules on the device, beside a loaded engine that answers nothing meanwhile
typedef struct TuneOptions {
    const Graph *graph; // what the engine's program was made of, and how
    const CompileOptions *compile;
    const TunedList *known; // what is in it is not measured again; NULL: all is
    int best;               // of a kernel's schedules are measured, beside the rule's own
    u32 rows;               // of a prompt's chunk, at most; 0: all of it
    int changes;            // parameters that differ from the rule's choice, at most
    int draws;        // random schedules for each light kernel, where light ones count; 0: none
    int samples;      // of each, of which the median counts
    double sample_ms; // a sample lasts so long at least, for clocks are coarse
    double budget_ms; // no kernel is begun after it; 0: none
    double (*clock)(void *user); // NULL: clock_ms
    void *user;
} TuneOptions;
typedef struct TuneResult {
    Str kernel;
    const char *rule;
    int regime;
    u64 nest_key;
    Str schedule;           // the best; empty: the rule's choice stays
    double was_ms, best_ms; // of all its steps of that regime
    int ranked, measured, wrong;
} TuneResult;
typedef struct Tuner Tuner;
Tuner *tuner_new(Engine *e, const TuneOptions *o, Err *err); // NULL: err
void tuner_free(Tuner *t);                                   // NULL is fine
// TOKEN: one more result; DONE: no more kernels, or the time is up; WORKING: nothing is out on the
// device.
EngineState tuner_step(Tuner *t, Err *err);
const TuneResult *tuner_results(const Tuner *t, int *n);
void tuner_progress(const Tuner *t, int *done, int *all);
bool tuner_complete(const Tuner *t); // no kernel is left: the time was not up before

#endif
