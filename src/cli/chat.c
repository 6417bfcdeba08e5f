// cli/chat.c: `hob chat`: a conversation of several turns.
//
// The whole conversation is sent as an OpenAI request each turn; the engine reads again only what
// its cache does not hold. Lines are edited with libedit where it is installed (found when the
// program runs, never needed), else read as they are. Ctrl-C stops the answer, not the program.
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include <dlfcn.h>
#include <stdlib.h>

typedef struct Editor {
    char *(*readline)(const char *prompt); // NULL: plain lines
    int (*add_history)(const char *line);
} Editor;

static Editor editor_find(void) {
    static const char *const names[] = {"libedit.so.2", "libedit.so.0", "libedit.so",
                                        "libedit.3.dylib"};
    Editor e = {0};
    void *lib = NULL;
    for (size_t i = 0; i < COUNT_OF(names) && !lib; i++)
        lib = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
    if (!lib) return e;
    *(void **)&e.readline = dlsym(lib, "readline");
    *(void **)&e.add_history = dlsym(lib, "add_history");
    if (!e.add_history) e.readline = NULL;
    return e;
}

// One line without its end; false at the end of the input. An interrupted line is empty.
static bool line_read(const Editor *e, Arena *a, bool terminal, Str *out) {
    *out = S("");
    if (e->readline) {
        char *line = e->readline("> ");
        if (!line) return sigint_take();
        *out = arena_str(a, str_c(line));
        if (*line) e->add_history(line);
        free(line);
        return true;
    }
    if (terminal) {
        fputs("> ", stdout);
        fflush(stdout);
    }
    Buf b = {.arena = a, .limit = 1 << 20};
    char piece[4096];
    while (fgets(piece, sizeof piece, stdin)) {
        buf_add(&b, str_c(piece));
        if (b.len && b.ptr[b.len - 1] == '\n') break;
    }
    if (!b.len) {
        bool stopped = sigint_take();
        if (stopped) {
            clearerr(stdin);
            fputc('\n', stdout);
        }
        return stopped;
    }
    *out = str_trim(buf_str(&b));
    return true;
}

static void add_message(Buf *messages, const char *role, Str content) {
    buf_fmt(messages, "%s{\"role\":\"%s\",\"content\":", messages->len ? "," : "", role);
    json_str(messages, content);
    buf_char(messages, '}');
}

typedef struct ChatArgs {
    OpenArgs open;
    Str system;
    i64 n, top_k, seed;
    double temp;
} ChatArgs;

// Asks with the messages so far; what was answered goes to `reply`. false: an error was reported.
static bool turn(hob_session *s, Arena *a, const ChatArgs *o, const Buf *messages, Buf *reply) {
    Buf r = {.arena = a};
    buf_fmt(&r, "{\"messages\":[%S]", buf_str(messages));
    request_end(&r, o->temp, o->top_k, o->seed, o->n);
    hob_error error = {0};
    if (hob_chat(s, r.ptr, &error) != 0) {
        report_hob(&error);
        return false;
    }
    const char *why = NULL;
    for (hob_event ev; hob_next(s, &ev);) {
        out_str((Str){ev.text, ev.text_len});
        fflush(stdout);
        buf_add(reply, (Str){ev.text, ev.text_len});
        if (ev.done) why = ev.finish_reason;
    }
    fputc('\n', stdout);
    if (hob_session_error(s)->id) {
        report_hob(hob_session_error(s));
        return false;
    }
    if (why && err_is_terminal() && strcmp(why, "stop") != 0)
        fprintf(stderr, "%s\n",
                strcmp(why, "length") == 0 ? "(cut: -n or the context is reached)" : "(stopped)");
    return true;
}

static int converse(const hob_model *m, hob_session *s, const ChatArgs *o) {
    bool terminal = out_is_terminal();
    Editor editor = terminal ? editor_find() : (Editor){0};
    Arena *talk = arena_new(NULL), *once = arena_new(NULL);
    Buf messages = {.arena = talk};
    int status = EXIT_DONE;
    if (o->system.len) add_message(&messages, "system", o->system);
    size_t start = messages.len;
    if (terminal)
        printf("%s, %d tokens of context. /help shows the commands, Ctrl-D leaves.\n",
               hob_device_name(m), hob_context(m));
    for (Str line; arena_reset(once), line_read(&editor, once, terminal, &line);) {
        sigint_take();
        if (line.len == 0) continue;
        if (line.ptr[0] == '/') {
            if (str_eq(line, S("/quit")) || str_eq(line, S("/exit"))) break;
            if (str_eq(line, S("/reset"))) {
                messages.len = start;
                if (messages.ptr) messages.ptr[start] = 0;
                printf("(a new conversation)\n");
            } else if (str_eq(line, S("/stats"))) {
                hob_stats stats;
                hob_session_stats(s, &stats);
                print_figures(stdout, m, &stats, o->seed, S(""), false);
            } else {
                if (!str_eq(line, S("/help"))) printf("%.*s is not a command.\n", STR_ARG(line));
                printf("/help   this\n/reset  forget the conversation\n/stats  figures of the last "
                       "answer\n"
                       "/quit   leave (so does Ctrl-D)\nCtrl-C  stops the answer\n");
            }
            continue;
        }
        size_t before = messages.len;
        Buf reply = {.arena = talk};
        add_message(&messages, "user", line);
        if (turn(s, once, o, &messages, &reply)) {
            add_message(&messages, "assistant", reply.ptr ? buf_str(&reply) : S(""));
        } else {
            messages.len = before; // as if it had not been asked
            messages.ptr[before] = 0;
            if (!terminal) status = EXIT_FAILED;
        }
    }
    if (terminal) fputc('\n', stdout);
    arena_free(talk);
    arena_free(once);
    return out_finish() ? status : EXIT_FAILED;
}

static int run(const Command *c, int argc, char **argv) {
    ChatArgs o = {.open = {.speculate = S("auto")}, .n = 512, .seed = -1};
    const Opt opts[] = {
        OPEN_OPTS(o.open),
        {"--system", NULL, OPT_STR, &o.system, 0, 0, "TEXT", "the system message"},
        {"--tokens", "-n", OPT_INT, &o.n, 0, 1 << 20, "N",
         "the most tokens of an answer; 0: until the context is full [512]"},
        {"--temp", NULL, OPT_NUM, &o.temp, 0, 2, "T",
         "temperature; 0, the default: always the likeliest token"},
        {"--top-k", NULL, OPT_INT, &o.top_k, 0, INT32_MAX, "K",
         "draw from the K likeliest tokens; 0, the default: from all"},
        {"--seed", NULL, OPT_INT, &o.seed, 0, 9007199254740992.0, "S",
         "the same seed draws the same answers; without one they differ each time"},
        SPECULATE_OPT(o.open),
    };
    Parsed p = options_parse(c, opts, COUNT_OF(opts), argc, argv, NULL, 0, NULL);
    if (p != PARSED_OK) return p == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
    if (!open_check(c, &o.open, S("-"))) return EXIT_USAGE; // the conversation is read there
    o.seed = seed_of(o.temp, o.seed);
    hob_error error = {0};
    int status;
    hob_session *s = NULL;
    hob_model *m = open_model(&o.open, &error);
    if (!m || !(s = hob_session_new(m, &error))) {
        status = report_hob(&error);
    } else {
        sigint_catch(s);
        status = converse(m, s, &o);
        sigint_catch(NULL);
    }
    hob_session_free(s);
    hob_close(m);
    return status;
}

const Command cmd_chat = {
    "chat",
    "-m FILE [options]",
    "talk with a model",
    "A conversation of several turns: each line is a message, the model answers, and remembers. "
    "Lines can be\n"
    "edited where libedit is installed; a pipe works too, one message a line.\n\n"
    "    /help    the commands\n"
    "    /reset   forget the conversation\n"
    "    /stats   figures of the last answer, and the seed where answers are drawn (--temp)\n"
    "    /quit    leave; so does Ctrl-D\n\n"
    "Ctrl-C stops the answer and keeps what was said. When the conversation no longer fits the "
    "context (--ctx), the\n"
    "answer ends there and /reset begins anew.\n",
    run,
};
