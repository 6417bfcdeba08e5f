// cli/cli.h: the `hob` command: one file a command, one row each in main.c.
//
// Results go to standard output and nothing else does; progress goes to standard error, and only on
// a terminal. Exit status: 0 done, 1 failed, 2 wrong use.
#ifndef HOB_CLI_H
#define HOB_CLI_H

#include "api/api.h"
#include "hob.h"

#include <stdio.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

// ---- options.c: a command's options as a table; the help page is printed from it ----------------
typedef enum OptKind { OPT_FLAG, OPT_STR, OPT_INT, OPT_NUM, OPT_DEVICE } OptKind;
typedef struct Opt {
    const char *name;  // "--temp"
    const char *alias; // "-t", or NULL
    OptKind kind;
    void *to;              // bool *, Str *, i64 *, double *, Str * of a device's name
    double lo, hi;         // OPT_INT, OPT_NUM: inclusive
    const char *arg, *doc; // "FILE", "model file"
} Opt;

typedef struct Command {
    const char *name;
    const char *use;   // "-m FILE -p TEXT [options]"
    const char *brief; // one line
    const char *page;  // the prose of its help page
    int (*run)(const struct Command *c, int argc, char **argv);
} Command;
extern const Command cmd_run, cmd_chat, cmd_tokenize, cmd_eval, cmd_bake, cmd_bench, cmd_tune,
    cmd_inspect;

typedef enum Parsed { PARSED_OK, PARSED_HELP, PARSED_WRONG } Parsed;
// Fills the options from argv[1..]. Words that are no options go to words[] (at most max_words;
// more are wrong use).
// --help prints the page and gives PARSED_HELP; wrong use is explained on standard error.
Parsed options_parse(const Command *c, const Opt *opts, int nopts, int argc, char **argv,
                     Str *words, int max_words, int *nwords);
int usage_error(const Command *c, const char *fmt, ...); // says it; returns EXIT_USAGE

// ---- cli.c: what commands share -----------------------------------------------------------------
int report(const Err *e);         // prints an error to standard error; returns EXIT_FAILED
void say_error(const char *text); // a line on standard error, red where that is a terminal that may
                                  // show colours
void out_str(Str s);              // to standard output
bool out_finish(void);            // flushes; false (and said) when it could not be written
bool err_is_terminal(void);
bool out_is_terminal(void);
bool use_colour(FILE *f); // a terminal, and NO_COLOR is not set
// A line of progress on standard error, overwritten in place; nothing where that is no terminal.
void progress(const char *what, u64 done, u64 total);
void progress_end(void);
bool text_read(Arena *a, Str path, Str *out,
               Err *err); // a whole text file of at most 64 MB; "-": standard input
bool ids_read(Arena *a, Str text, TokenIds *ids, Err *err); // tokenize.c: a JSON array of token ids
// bake.c: a text, split by the model's vocabulary, or a JSON array of ids.
bool tokens_read(Arena *a, Str path, Model *m, TokenIds *ids, Err *err);
bool prompt_text(Arena *a, Str given, Str *out, Err *err); // the text itself; "-": standard input

// ---- output.c: the files that commands write -----------------------------------------------------
// May a command that reads those files write this one? For before any work. made: missing folders
// are made when it is written.
bool output_check(Arena *a, Str path, bool made, const Str *read, size_t n, Err *err);
typedef struct Output {
    Str path;
    const char *part; // where it lies until it is whole
    FILE *f;
} Output;
bool output_begin(Output *o, Arena *a, Str path, Err *err);
bool output_write(void *o, const void *p, size_t n); // o: an Output
bool output_end(Output *o, bool ok, Err *err);       // moves it to its place, or, not ok, drops it

// ---- open.c: the options that every command with a model on a device has ------------------------
typedef struct OpenArgs {
    Str model, device, mode, profile, graph, schedule;
    Str tuned;     // a file of measured schedules; off; empty: the user's own, if there is one
    Str speculate; // auto, off or a number; empty: off
    i64 threads, ctx, rows;
    int drafts; // the same as in hob.h, once open_check saw it
    bool quiet;
} OpenArgs;
// clang-format off
#define MODE_OPT(o)                                                                                                    \
    {"--mode", NULL, OPT_STR, &(o).mode, 0, 0, "NAME", "reference, the default: activations are f32; fast: they meet weights of 4 and 8 bits as integers"}
#define OPEN_OPTS(o)                                                                                                   \
    {"--model", "-m", OPT_STR, &(o).model, 0, 0, "FILE", "model file (GGUF, or of hob bake)"},                                         \
    {"--device", NULL, OPT_DEVICE, &(o).device, 0, 0, "NAME", "cpu, or webgpu: a GPU (null computes nothing: for tests)"},                  \
    {"--threads", NULL, OPT_INT, &(o).threads, 0, 256, "N", "CPU threads; 0, the default: one a core"},                \
    {"--ctx", NULL, OPT_INT, &(o).ctx, 0, 1 << 20, "N", "context in tokens; 0, the default: the model's, at most 2048"}, \
    MODE_OPT(o),                                                                                                        \
    {"--profile", NULL, OPT_STR, &(o).profile, 0, 0, "F", "device profile: a file (or -), or cpu, cpu4, cpu16, gpu, software"},      \
    {"--graph", NULL, OPT_STR, &(o).graph, 0, 0, "F", "an edited graph (.hgraph, or -) in place of the model's own"},        \
    {"--schedule", NULL, OPT_STR, &(o).schedule, 0, 0, "F", "edited schedules (.hsch, or -), by kernel"},            \
    {"--tuned", NULL, OPT_STR, &(o).tuned, 0, 0, "F", "what hob tune found [the user's cache, hob/tuned.json]; off: as the rules say"}
#define SPECULATE_OPT(o)                                                                                               \
    {"--speculate", NULL, OPT_STR, &(o).speculate, 0, 0, "N", "try up to N (1 to 7) tokens of text that repeats at once; auto, where it pays; off"}
// clang-format on
// The file that `hob tune` writes: o->tuned, else in $XDG_CACHE_HOME or ~/.cache. Empty: none.
Str tuned_path(Arena *a, const OpenArgs *o);
// Is a model named, and standard input (-) read for one thing at most? `also` is a command's own
// text. false: wrong use, and said. Names the device file in place of -, for files are opened by
// name.
bool open_check(const Command *c, OpenArgs *o, Str also);
hob_model *open_model(const OpenArgs *o, hob_error *error);
int report_hob(const hob_error *e); // to standard error; returns EXIT_FAILED
bool sigint_catch(hob_session *s);  // Ctrl-C cancels this session's answer; NULL: as usual again
bool sigint_watch(void);            // Ctrl-C is only noted
bool sigint_take(void);             // was there one since the last call?
bool eval_ids_check(const TokenIds *ids, u32 vocab,
                    Err *err); // eval.c: enough, and of this vocabulary
// eval_modes.c: both modes over a file of tokens, compared.
bool eval_agreement(OpenArgs *o, Str path, i64 rows, bool json, Err *err, hob_error *error);
bool bench_speculate(Model *m, i64 answer, i64 runs, bool json, Err *err); // bench_speculate.c
// The seed that answers are drawn with: the one given, else (-1) one drawn by the machine, so that
// answers differ; -1 where nothing is drawn, for the temperature is 0.
i64 seed_of(double temp, i64 given);
u64 seed_sent(i64 seed); // what the library is given for it: 0 for -1
// Ends a request's object, after its messages: how to draw, and how many tokens (0: it does not
// say).
void request_end(Buf *b, double temp, i64 top_k, i64 seed, i64 n);
// The line of figures: `cpu, 9 + 31 tokens, ...`, or with json the object with the keys of the same
// names. seed -1: none was used.
void print_figures(FILE *f, const hob_model *m, const hob_stats *s, i64 seed, Str answer,
                   bool json);

#endif
