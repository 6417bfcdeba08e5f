// tests/compile/golden_test.c: texts that the compiler must print, question and answer in one file.
//
// tests/golden/{graph,pass,compile}/*.hgraph:
//     # run: STAGE PROFILE        a stage of --dump, for a built-in profile
//     (a graph)
//     # >>> out
//     (what the stage prints)
//     # <<<
// With HOB_ACCEPT=1 the answers are written anew (`make accept`); the diff is for a person to read.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include "compile/compile.h"

static Str read_all(Arena *a, const char *path) {
    Buf b = {.arena = a};
    FILE *f = fopen(path, "rb");
    char part[4096];
    size_t n;
    while (f != NULL && (n = fread(part, 1, sizeof part, f)) > 0) buf_add(&b, (Str){part, n});
    if (f != NULL) fclose(f);
    return buf_str(&b);
}

static size_t find(Str s, Str what) {
    for (size_t i = 0; i + what.len <= s.len; i++)
        if (memcmp(s.ptr + i, what.ptr, what.len) == 0) return i;
    return s.len;
}

static void answer(Arena *a, Str question, Str stage, Str profile, Buf *out) {
    Profile p;
    Err err = {0};
    Program *prog;
    if (!profile_named(profile, &p)) {
        buf_fmt(out, "no profile %S\n", profile);
        return;
    }
    if (str_eq(stage, S("profile"))) {
        profile_print(&p, out);
        return;
    }
    CompileOptions o = {.profile = &p,
                        .dialect = p.gpu ? &dialect_wgsl : NULL,
                        .graph_text = question,
                        .graph_file = S("golden.hgraph"),
                        .dump = out,
                        .verify = true};
    if (str_starts(stage, S("walk=")))
        o.walk_tensor = str_sub(stage, 5, stage.len), o.regimes = 1 << REGIME_ROW;
    else
        o.dump_pass = stage;
    if (!compile_program(a, NULL, &o, &prog, &err)) err_print(&err, out);
}

static int check_file(const char *path) {
    Arena *a = arena_new(NULL);
    Str text = read_all(a, path), rest, mark = S("# >>> out\n"), end = S("# <<<");
    size_t at = find(text, mark);
    Str question = str_sub(text, 0, at);
    Str want = at < text.len ? str_sub(text, at + mark.len, text.len) : (Str){0};
    want = str_sub(want, 0, find(want, end));
    Str run = str_cut(question, '\n', &rest), profile;
    Buf got = {.arena = a};
    if (!str_starts(run, S("# run: "))) {
        buf_add(&got, S("the first line must be `# run: STAGE PROFILE`\n"));
    } else {
        Str stage = str_cut(str_sub(run, 7, run.len), ' ', &profile);
        answer(a, question, stage, str_trim(profile), &got);
    }
    bool same = str_eq(buf_str(&got), want);
    if (!same && getenv("HOB_ACCEPT") != NULL) {
        FILE *f = fopen(path, "wb");
        if (f != NULL) {
            fprintf(f, "%.*s%.*s%.*s%.*s\n", STR_ARG(question), STR_ARG(mark),
                    STR_ARG(buf_str(&got)), STR_ARG(end));
            fclose(f);
            printf("accepted %s\n", path);
            same = true;
        }
    } else if (!same) {
        size_t i = 0, line = 1;
        while (i < want.len && i < got.len && want.ptr[i] == got.ptr[i])
            line += want.ptr[i++] == '\n';
        while (i > 0 && got.ptr[i - 1] != '\n') i--;
        Str w = str_sub(want, i, want.len), g = str_sub(buf_str(&got), i, got.len), after;
        w = str_cut(w, '\n', &after);
        g = str_cut(g, '\n', &after);
        print_error("%s: line %d of the answer: `make accept` takes the new one\n  want %.*s\n  "
                    "got  %.*s\n",
                    path, (int)line, STR_ARG(w), STR_ARG(g));
    }
    arena_free(a);
    return same ? 0 : 1;
}

static void what_is_printed_is_what_was_accepted(void **state) {
    (void)state;
    static const char *const rooms[] = {"tests/golden/graph", "tests/golden/pass",
                                        "tests/golden/compile"};
    int files = 0, wrong = 0;
    for (size_t r = 0; r < COUNT_OF(rooms); r++) {
        DIR *d = opendir(rooms[r]);
        assert_non_null(d);
        for (struct dirent *e; (e = readdir(d)) != NULL;) {
            char path[512];
            if (!str_ends(str_c(e->d_name), S(".hgraph"))) continue;
            snprintf(path, sizeof path, "%s/%s", rooms[r], e->d_name);
            wrong += check_file(path);
            files++;
        }
        closedir(d);
    }
    assert_int_equal(wrong, 0);
    assert_true(files >= 12);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_is_printed_is_what_was_accepted)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
