// api/api.h: what stands behind hob.h, for the command line and the page, which need more than the
// public calls.
//
//     read -> device -> compile -> start -> load: a model file becomes an engine, one stage a call,
//     so that `hob inspect` can stop after any of them and the page can show where it is.
#ifndef HOB_API_H
#define HOB_API_H

#include "tune/tune.h"

typedef struct Model {
    Arena *arena;
    Gguf *file;
    bool has_vocab;
    Vocab vocab;
    Tokenizer *tok;
    const Template *tmpl;
    Err tmpl_err; // why there is no template: told when one is needed
    Graph *graph;
    Device *device;
    Profile profile;
    TunedList tuned;        // schedules that were measured before; may be empty
    CompileOptions options; // what the program was compiled with
    Program *program;
    Engine *engine;
    Checker *checker;
    TuneFallback fallback;
    LoadProgress load;
    int speculate; // for the engine: see EngineDesc
    double start_ms, load_ms;
    void (*log)(void *user, Str line);
    void *user;
} Model;

// model.c
Model *model_new(void (*log)(void *user, Str line), void *user); // NULL: no memory
void model_free(Model *m);                                       // NULL is fine
bool model_read(Model *m, Source *src, Err *err); // file, vocabulary, template; src must outlive m
bool model_graph(Model *m, const ModelOptions *o, Err *err);
// name empty: cpu. profile: text that overrides fields, may be empty.
bool model_device(Model *m, Str name, const DeviceOptions *o, Err *err);
bool model_mode(Model *m, Str mode, Err *err); // fast or reference; empty: as the profile has it
bool model_profile(Model *m, Str name, Str text, Str file,
                   Err *err); // a built-in profile by name, or a file's text
void model_say(const Model *m, const Err *why, const char *what); // to the log: it went on without
// Schedules that were measured on this adapter before. What cannot be read of the list is not used,
// and said; so is a schedule that compiling refuses.
void model_tuned(Model *m, Str text, Str file);
bool model_compile(Model *m, CompileOptions *o, Err *err);
// A tuner for a loaded model; best, samples and the like are the caller's. NULL: err.
Tuner *model_tuner(const Model *m, TuneOptions *o, Err *err);
// What it found, put into the model's list.
void model_keep(Model *m, const Tuner *t);
bool model_start(Model *m, Err *err); // an engine, not loaded yet
EngineState model_load_step(Model *m, Err *err);
bool model_tokenizer(const Model *m, Err *err); // false: the file has no vocabulary

// How long an answer took, for people and for JSON.
typedef struct Timing {
    double ttft_ms, prefill_tps, decode_tps;
} Timing;
Timing timing_of(const EngineStats *s);

#if !defined(__wasm__)
// hob.c: for the command line
struct hob_model;
Model *hob_model_inside(struct hob_model *m);
bool model_profile_given(Model *m, Str given, Err *err); // a built-in profile's name, or a file
#endif

#endif
