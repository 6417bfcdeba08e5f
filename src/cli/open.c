// cli/open.c: opening a model for a command, a seed, Ctrl-C, and the line of figures.
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

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

bool open_check(const Command *c, OpenArgs *o, Str also) {
    Str *const files[] = {&o->profile, &o->graph, &o->schedule};
    int readers = str_eq(also, S("-"));
    Str spec = o->speculate;
    o->drafts = str_eq(spec, S("auto")) ? 0 : -1;
    if (spec.len == 1 && spec.ptr[0] >= '1' && spec.ptr[0] <= '0' + SPECULATE_MOST)
        o->drafts = spec.ptr[0] - '0';
    else if (spec.len && o->drafts < 0 && !str_eq(spec, S("off")))
        return usage_error(c, "--speculate is auto, off or 1 to %d", SPECULATE_MOST), false;
    if (!o->model.len) return usage_error(c, "name the model file: -m FILE"), false;
    if (str_eq(o->model, S("-")))
        return usage_error(c, "a model cannot come from standard input: -m FILE"), false;
    if (o->mode.len && !str_eq(o->mode, S("fast")) && !str_eq(o->mode, S("reference")))
        return usage_error(c, "--mode is fast or reference"), false;
    for (size_t i = 0; i < COUNT_OF(files); i++) {
        if (!str_eq(*files[i], S("-"))) continue;
        *files[i] = S("/dev/stdin");
        readers++;
    }
    return readers < 2 ||
           (usage_error(c,
                        "standard input can be read once: for one `-`, or for a chat's messages"),
            false);
}

static const char *or_null(Str s) { return s.len ? s.ptr : NULL; }

Str tuned_path(Arena *a, const OpenArgs *o) {
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    Str given = o->tuned.len ? o->tuned : str_c(getenv("HOB_TUNED"));
    if (str_eq(given, S("off"))) return (Str){0};
    if (given.len) return given;
    if (cache && *cache) return str_fmt(a, "%s/hob/tuned.json", cache);
    return home && *home ? str_fmt(a, "%s/.cache/hob/tuned.json", home) : (Str){0};
}

hob_model *open_model(const OpenArgs *o, hob_error *error) {
    Arena *a = arena_new(NULL);
    Str tuned = a ? tuned_path(a, o) : (Str){0};
    // nothing was measured yet: no reason for a word, unless a file was named
    if (!o->tuned.len && tuned.len && access(tuned.ptr, F_OK) != 0) tuned = (Str){0};
    // words of the command line end in a 0 byte, so their Str is a C string too
    hob_open_desc d = {.path = o->model.ptr,
                       .device = or_null(o->device),
                       .mode = or_null(o->mode),
                       .profile = or_null(o->profile),
                       .graph = or_null(o->graph),
                       .schedule = or_null(o->schedule),
                       .tuned = or_null(tuned),
                       .threads = (int)o->threads,
                       .ctx = (int)o->ctx,
                       .rows = (int)o->rows,
                       .speculate = o->drafts,
                       .progress = show_progress,
                       .log = show_line,
                       .user = (void *)(uintptr_t)o};
    hob_model *m = hob_open(&d, error);
    progress_end();
    arena_free(a);
    return m;
}

int report_hob(const hob_error *e) {
    fflush(stdout);
    progress_end();
    say_error(e->message);
    return EXIT_FAILED;
}

i64 seed_of(double temp, i64 given) {
    u64 drawn = 0;
    if (temp == 0) return -1;
    if (given >= 0) return given;
    FILE *f = fopen("/dev/urandom", "rb");
    if (!f || fread(&drawn, sizeof drawn, 1, f) != 1) {
        struct timespec now = {0}; // a machine without it still draws two answers differently
        clock_gettime(CLOCK_REALTIME, &now);
        u64 words[3] = {(u64)now.tv_sec, (u64)now.tv_nsec, (u64)getpid()};
        drawn = hash_bytes(0, words, sizeof words);
    }
    if (f) fclose(f);
    return (i64)(drawn >> 11); // as large as a request may name it: whole numbers of JavaScript
}

u64 seed_sent(i64 seed) { return seed < 0 ? 0 : (u64)seed; }

void request_end(Buf *b, double temp, i64 top_k, i64 seed, i64 n) {
    buf_fmt(b, ",\"temperature\":%g,\"top_k\":%D,\"seed\":%U", temp, top_k, seed_sent(seed));
    if (n) buf_fmt(b, ",\"max_tokens\":%D", n);
    buf_char(b, '}');
}

static hob_session *volatile to_cancel;
static volatile sig_atomic_t interrupted;

static void on_sigint(int sig) {
    (void)sig;
    interrupted = 1;
    if (to_cancel) hob_cancel(to_cancel);
}

static bool handle(void (*by)(int)) {
    struct sigaction act = {.sa_handler = by}; // no SA_RESTART: reading a line ends too
    sigemptyset(&act.sa_mask);
    return sigaction(SIGINT, &act, NULL) == 0;
}

bool sigint_catch(hob_session *s) {
    to_cancel = s;
    return handle(s ? on_sigint : SIG_DFL);
}

bool sigint_watch(void) { return handle(on_sigint); }

bool sigint_take(void) {
    bool was = interrupted;
    interrupted = 0;
    return was;
}

void print_figures(FILE *f, const hob_model *m, const hob_stats *s, i64 seed, Str answer,
                   bool json) {
    Arena *a = arena_new(NULL);
    Buf b = {.arena = a};
    if (json) {
        buf_fmt(&b,
                "{\"device\": \"%s\", \"prompt_tokens\": %d, \"answer_tokens\": %d, \"answer\": ",
                hob_device_name(m), s->prompt_tokens, s->answer_tokens);
        json_str(&b, answer);
        buf_fmt(&b,
                ", \"load_ms\": %.1f, \"ttft_ms\": %.1f, \"prefill_tps\": %.2f, \"decode_tps\": "
                "%.2f",
                s->load_ms, s->ttft_ms, s->prefill_tps, s->decode_tps);
        if (s->drafted) buf_fmt(&b, ", \"drafted\": %d, \"accepted\": %d", s->drafted, s->accepted);
        buf_fmt(&b, seed < 0 ? "}\n" : ", \"seed\": %D}\n", seed);
    } else {
        buf_fmt(&b, "%s: %d prompt tokens", hob_device_name(m), s->prompt_tokens);
        if (s->cached_tokens) buf_fmt(&b, " (%d of them known)", s->cached_tokens);
        buf_fmt(&b,
                ", %d answer tokens; loaded in %.0f ms, first token after %.0f ms; prefill %.1f, "
                "decode %.1f tokens/s",
                s->answer_tokens, s->load_ms, s->ttft_ms, s->prefill_tps, s->decode_tps);
        if (s->drafted) buf_fmt(&b, "; %d of %d drafted tokens right", s->accepted, s->drafted);
        buf_fmt(&b, seed < 0 ? "\n" : "; seed %D\n", seed);
    }
    fwrite(b.ptr, 1, b.len, f);
    arena_free(a);
}
