// cli/cli.c: what the commands share: errors, output, progress.
//
// Output is checked when it is flushed: a full disk or a closed pipe is an error of ours to report,
// once.
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int report(const Err *e) {
    char text[1024];
    Buf b = {.ptr = text, .cap = sizeof text};
    err_print(e, &b);
    fflush(stdout);
    progress_end();
    say_error(b.ptr);
    return EXIT_FAILED;
}

void say_error(const char *text) {
    bool red = use_colour(stderr);
    fprintf(stderr, "%s%s%s\n", red ? "\x1b[31m" : "", text, red ? "\x1b[0m" : "");
}

void out_str(Str s) {
    if (s.len) fwrite(s.ptr, 1, s.len, stdout);
}

bool out_finish(void) {
    if (fflush(stdout) == 0 && !ferror(stdout)) return true;
    fprintf(stderr, "hob: standard output could not be written; is the disk full?\n");
    return false;
}

bool err_is_terminal(void) { return isatty(2); }

bool out_is_terminal(void) { return isatty(1); }

bool use_colour(FILE *f) {
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return isatty(fileno(f)) && !(no && *no) && !(term && strcmp(term, "dumb") == 0);
}

static char progress_shown[96]; // empty: no line is open

void progress(const char *what, u64 done, u64 total) {
    if (!err_is_terminal()) return;
    char text[sizeof progress_shown];
    snprintf(text, sizeof text, "\r%s %.1f of %.1f MB (%d%%) ", what, (double)done / 1e6,
             (double)total / 1e6, total ? (int)((double)done * 100 / (double)total) : 100);
    if (strcmp(text, progress_shown) == 0) return;
    memcpy(progress_shown, text, sizeof text);
    fputs(text, stderr);
    fflush(stderr);
}

void progress_end(void) {
    if (*progress_shown) fprintf(stderr, "\r%60s\r", "");
    *progress_shown = 0;
}

bool text_read(Arena *a, Str path, Str *out, Err *err) {
    if (!str_eq(path, S("-"))) return source_file_text(a, path, out, err);
    Buf b = {.arena = a, .limit = TEXT_FILE_MAX};
    char piece[16384];
    size_t n = sizeof piece; // less than a piece is the end: to read on would ask a terminal again
    while (!b.full && n == sizeof piece) {
        n = fread(piece, 1, sizeof piece, stdin);
        buf_add(&b, (Str){piece, n});
    }
    if (b.full || ferror(stdin)) {
        err_set(err, ERR_IO,
                b.full ? "there are more than 64 MB here; give less" : "it cannot be read");
        return err_file(err, S("standard input"));
    }
    *out = b.ptr ? buf_str(&b) : S("");
    return true;
}

bool prompt_text(Arena *a, Str given, Str *out, Err *err) {
    if (str_eq(given, S("-"))) return text_read(a, given, out, err);
    *out = given;
    return true;
}
