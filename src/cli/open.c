// cli/open.c: opening a model for a command, Ctrl-C, and the line of figures.
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include <signal.h>

static int show_progress(void *user, uint64_t done, uint64_t total) {
    const OpenArgs *o = user;
    if (!o->quiet) progress("loading", done, total);
    return 0;
}

static void show_line(void *user, const char *line) {
    (void)user;
    progress_end();
    fprintf(stderr, "hob: %s\n", line);
}

static const char *or_null(Str s) { return s.len ? s.ptr : NULL; }

hob_model *open_model(const OpenArgs *o, hob_error *error) {
    // words of the command line end in a 0 byte, so their Str is a C string too
    hob_open_desc d = {.path = o->model.ptr,
                       .device = or_null(o->device),
                       .profile = or_null(o->profile),
                       .graph = or_null(o->graph),
                       .schedule = or_null(o->schedule),
                       .threads = (int)o->threads,
                       .ctx = (int)o->ctx,
                       .rows = (int)o->rows,
                       .progress = show_progress,
                       .log = show_line,
                       .user = (void *)(uintptr_t)o};
    hob_model *m = hob_open(&d, error);
    progress_end();
    return m;
}

int report_hob(const hob_error *e) {
    fflush(stdout);
    progress_end();
    say_error(e->message);
    return EXIT_FAILED;
}

static hob_session *volatile to_cancel;
static volatile sig_atomic_t interrupted;

static void on_sigint(int sig) {
    (void)sig;
    interrupted = 1;
    if (to_cancel) hob_cancel(to_cancel);
}

bool sigint_catch(hob_session *s) {
    struct sigaction act = {.sa_handler =
                                s ? on_sigint : SIG_DFL}; // no SA_RESTART: reading a line ends too
    to_cancel = s;
    sigemptyset(&act.sa_mask);
    return sigaction(SIGINT, &act, NULL) == 0;
}

bool sigint_take(void) {
    bool was = interrupted;
    interrupted = 0;
    return was;
}

void print_figures(FILE *f, const hob_model *m, const hob_stats *s, Str answer, bool json) {
    Arena *a = arena_new(NULL);
    Buf b = {.arena = a};
    if (json) {
        buf_fmt(&b,
                "{\"device\": \"%s\", \"prompt_tokens\": %d, \"answer_tokens\": %d, \"answer\": ",
                hob_device_name(m), s->prompt_tokens, s->answer_tokens);
        json_str(&b, answer);
        buf_fmt(&b,
                ", \"load_ms\": %.1f, \"ttft_ms\": %.1f, \"prefill_tps\": %.2f, \"decode_tps\": "
                "%.2f}\n",
                s->load_ms, s->ttft_ms, s->prefill_tps, s->decode_tps);
    } else {
        buf_fmt(&b, "%s: %d prompt tokens", hob_device_name(m), s->prompt_tokens);
        if (s->cached_tokens) buf_fmt(&b, " (%d of them known)", s->cached_tokens);
        buf_fmt(&b,
                ", %d answer tokens; loaded in %.0f ms, first token after %.0f ms; prefill %.1f, "
                "decode %.1f tokens/s\n",
                s->answer_tokens, s->load_ms, s->ttft_ms, s->prefill_tps, s->decode_tps);
    }
    fwrite(b.ptr, 1, b.len, f);
    arena_free(a);
}
