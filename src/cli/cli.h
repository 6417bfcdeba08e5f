// cli/cli.h: the `hob` command: one file a command, one row each in main.c.
//
// Results go to standard output and nothing else does; progress goes to standard error, and only on a terminal.
// Exit status: 0 done, 1 failed, 2 wrong use.
#ifndef HOB_CLI_H
#define HOB_CLI_H

#include "api/api.h"

#include <stdio.h>

enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

// ---- options.c: a command's options as a table; the help page is printed from it ---------------------------
typedef enum OptKind { OPT_FLAG, OPT_STR, OPT_INT, OPT_NUM } OptKind;
typedef struct Opt {
    const char *name; // "--temp"
    const char *alias; // "-t", or NULL
    OptKind kind;
    void *to;      // bool *, Str *, i64 *, double *
    double lo, hi; // OPT_INT, OPT_NUM: inclusive
    const char *arg, *doc; // "FILE", "model file"
} Opt;

typedef struct Command {
    const char *name;
    const char *use;   // "-m FILE -p TEXT [options]"
    const char *brief; // one line
    const char *page;  // the prose of its help page
    int (*run)(const struct Command *c, int argc, char **argv);
} Command;
extern const Command cmd_run, cmd_chat, cmd_tokenize, cmd_eval, cmd_bench, cmd_inspect;

typedef enum Parsed { PARSED_OK, PARSED_HELP, PARSED_WRONG } Parsed;
// Fills the options from argv[1..]. Words that are no options go to words[] (at most max_words; more are wrong use).
// --help prints the page and gives PARSED_HELP; wrong use is explained on standard error.
Parsed options_parse(const Command *c, const Opt *opts, int nopts, int argc, char **argv, Str *words, int max_words, int *nwords);
int usage_error(const Command *c, const char *fmt, ...); // says it; returns EXIT_USAGE

// ---- cli.c: what commands share ------------------------------------------------------------------------------
int report(const Err *e);        // prints an error to standard error; returns EXIT_FAILED
void out_str(Str s);             // to standard output
bool out_finish(void);           // flushes; false (and said) when it could not be written
bool err_is_terminal(void);
bool out_is_terminal(void);
bool use_colour(FILE *f); // a terminal, and NO_COLOR is not set
// A line of progress on standard error, overwritten in place; nothing where that is no terminal.
void progress(const char *what, u64 done, u64 total);
void progress_end(void);
bool text_read(Arena *a, Str path, Str *out, Err *err); // a whole text file of at most 64 MB; "-": standard input
bool ids_read(Arena *a, Str text, TokenIds *ids, Err *err); // tokenize.c: a JSON array of token ids
bool prompt_text(Arena *a, Str given, Str *out, Err *err); // the text itself; "-": standard input

#endif
