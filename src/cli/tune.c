// cli/tune.c: `hob tune`: measures schedules on this device and keeps the best for later.
//
// What is kept is read by every command that opens a model on the same adapter with the same
// driver. The weights are in memory while it measures, so that they are read as an answer reads
// them.
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *const regime_names[] = {"one row", "few rows", "a chunk"}; // ORDER REGIME

static void folders_make(Arena *a, Str path) {
    for (size_t i = 1; i < path.len; i++)
        if (path.ptr[i] == '/') mkdir(arena_cstr(a, str_sub(path, 0, i)), 0755);
}

// Is there no such file, or a list of schedules? Nothing else is written over.
static bool list_read(Arena *a, Str path, Str *text, Err *err) {
    TunedList list = {0};
    Err why = {0}, bad = {0}; // a broken entry is told where the list is used
    *text = (Str){0};
    if (access(path.ptr, F_OK) != 0) return true;
    if (source_file_text(a, path, text, &why) && tuned_read(a, *text, &list, &bad, &why))
        return true;
    err_set(err, ERR_TUNED,
            "it is no list of schedules of this version, and is not written over; move it away, or "
            "name another file: --tuned F");
    return err_file(err, path);
}

// The list as it is in the file by now, which another command may have written meanwhile, with what
// was found; whole or not at all.
static bool keep(Arena *a, Model *m, const Tuner *t, Str path, Err *err) {
    Str text;
    Output to;
    Buf b = {.arena = a};
    if (!list_read(a, path, &text, err)) return false;
    model_tuned(m, text, path);
    model_keep(m, t);
    tuned_print(&m->tuned, &b);
    folders_make(a, path);
    return output_begin(&to, a, path, err) &&
           output_end(&to,
                      output_write(&to, b.ptr, b.len) ||
                          err_set(err, ERR_IO, "cannot be written; name another file: --tuned F"),
                      err);
}

// Of each rule the kernel that gained most; of each regime all its time, and the worst of all.
static void print_rules(const TuneResult *r, int n, bool json, Buf *b) {
    const TuneResult *worst = NULL;
    bool any = false;
    if (json) buf_add(b, S(", \"rules\": ["));
    for (int i = 0; i < n; i++) {
        const TuneResult *best = &r[i];
        double was = 0, now = 0;
        bool first = true;
        for (int k = 0; k < n; k++) {
            if (strcmp(r[k].rule, r[i].rule) != 0) continue;
            first = first && k >= i;
            was += r[k].was_ms, now += r[k].best_ms;
            if (r[k].was_ms * best->best_ms > best->was_ms * r[k].best_ms) best = &r[k];
        }
        if (!first) continue;
        if (!worst || best->was_ms * worst->best_ms > worst->was_ms * best->best_ms) worst = best;
        if (json)
            buf_fmt(b, "%s{\"rule\": \"%s\", \"worst\": %.3f, \"kernel\": \"%S\", \"all\": %.3f}",
                    any ? ", " : "", best->rule, best->was_ms / best->best_ms, best->kernel,
                    was / now);
        else
            buf_fmt(b, "%-13s %5.2f at most (%S), %.2f in all\n", best->rule,
                    best->was_ms / best->best_ms, best->kernel, was / now);
        any = true;
    }
    double most = worst ? worst->was_ms / worst->best_ms : 1;
    if (json)
        buf_fmt(b, "], \"worst\": %.3f", most);
    else
        buf_fmt(b, "untuned / tuned for the worst rule: %.2f\n", most);
}

static void print_result(const TuneResult *r, bool json, bool first, Buf *b) {
    if (json)
        buf_fmt(
            b,
            "%s{\"kernel\": \"%S\", \"rule\": \"%s\", \"rows\": \"%s\", \"was_ms\": %.4f, "
            "\"best_ms\": %.4f, \"ranked\": %d, \"measured\": %d, \"wrong\": %d, \"schedule\": ",
            first ? "" : ", ", r->kernel, r->rule, regime_names[r->regime], r->was_ms, r->best_ms,
            r->ranked, r->measured, r->wrong);
    else
        buf_fmt(b, "%9.3f -> %9.3f ms %5.2f  %-8s  %-11s  %S", r->was_ms, r->best_ms,
                r->was_ms / r->best_ms, regime_names[r->regime], r->rule, r->kernel);
    if (json) {
        json_str(b, r->schedule);
        buf_char(b, '}');
        return;
    }
    bool lines = str_has(r->schedule, S("\n"));
    if (r->schedule.len) buf_fmt(b, ": %S", lines ? S("drawn") : r->schedule);
    if (r->wrong) buf_fmt(b, " (%d were wrong here)", r->wrong);
    buf_char(b, '\n');
}

static bool measure(Model *m, Tuner *t, bool quiet, bool *stopped, Err *err) {
    int shown = 0, n, done, all;
    for (EngineState s; (s = tuner_step(t, err)) != ENGINE_DONE;) {
        if (s == ENGINE_FAILED) return false;
        if (s == ENGINE_WAITING) clock_nap();
        if ((*stopped = sigint_take())) break;
        if (quiet || !err_is_terminal()) continue;
        const TuneResult *r = tuner_results(t, &n);
        tuner_progress(t, &done, &all);
        char line[200];
        Buf b = {.ptr = line, .cap = sizeof line};
        for (; shown < n; shown++) {
            b.len = 0;
            print_result(&r[shown], false, false, &b);
            fprintf(stderr, "\r%60s\r%.*s", "", (int)b.len, line);
        }
        fprintf(stderr, "\rmeasuring: %d of %d ", done, all);
    }
    if (!quiet && err_is_terminal()) fprintf(stderr, "\r%60s\r", "");
    // what is out still writes to buffers of the engine's
    for (EngineState s; (s = engine_settle(m->device, 0, err)) != ENGINE_WORKING;) {
        if (s == ENGINE_FAILED) return false;
        clock_nap();
    }
    return true;
}

static int run(const Command *c, int argc, char **argv) {
    OpenArgs o = {0};
    bool json = false;
    double seconds = 0;
    i64 best = 6, samples = 5, draws = 200;
    const Opt opts[] = {
        OPEN_OPTS(o),
        {"--seconds", NULL, OPT_NUM, &seconds, 0, 1e6, "S",
         "begin no kernel after so long; 0, the default: all of them"},
        {"--best", NULL, OPT_INT, &best, 1, 12, "N",
         "schedules measured for each kernel, those that should be the fastest [6]"},
        {"--samples", NULL, OPT_INT, &samples, 1, 15, "N",
         "times that each is measured, of which the median counts [5]"},
        {"--draws", NULL, OPT_INT, &draws, 0, 100000, "N",
         "schedules drawn at random for kernels without a product, where those take a tenth [200]"},
        {"--json", NULL, OPT_FLAG, &json, 0, 0, NULL, "one JSON object"},
    };
    Parsed p = options_parse(c, opts, COUNT_OF(opts), argc, argv, NULL, 0, NULL);
    if (p != PARSED_OK) return p == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
    if (!open_check(c, &o, S(""))) return EXIT_USAGE;
    if (!o.device.len) o.device = S("webgpu");
    if (!str_eq(o.device, S("webgpu")))
        return usage_error(c,
                           "kernels for the processor were compiled with hob, one schedule each, "
                           "and `null` computes nothing: --device webgpu is tuned");
    Arena *a = arena_new(NULL);
    Str path = tuned_path(a, &o), ignored;
    const Str read[] = {o.model, o.profile, o.graph, o.schedule};
    hob_error error = {0};
    Err err = {0};
    if (path.len && (!output_check(a, path, true, read, COUNT_OF(read), &err) ||
                     !list_read(a, path, &ignored, &err))) {
        arena_free(a);
        return report(&err);
    }
    o.tuned = S("off"); // measured is against what the rules choose
    hob_model *h = open_model(&o, &error);
    if (!h) {
        arena_free(a);
        return report_hob(&error);
    }
    Model *m = hob_model_inside(h);
    TuneOptions to = {.best = (int)best,
                      .rows = 64, // as many as tell
                      .changes = 2,
                      .draws = (int)draws,
                      .samples = (int)samples,
                      .sample_ms = 20,
                      .budget_ms = seconds * 1000};
    bool stopped = false, ok = true;
    Tuner *t = NULL;
    if (!m->profile.gpu)
        ok = err_set(&err, ERR_TUNED_DEVICE,
                     "the profile is a processor's, whose kernels have one schedule each; give "
                     "one of a GPU");
    if (ok) ok = (t = model_tuner(m, &to, &err)) != NULL;
    sigint_watch();
    ok = ok && measure(m, t, json, &stopped, &err);
    int n = 0;
    const TuneResult *r = ok ? tuner_results(t, &n) : NULL;
    if (ok && n && path.len) ok = keep(a, m, t, path, &err);
    if (ok) {
        bool complete = tuner_complete(t);
        Buf b = {.arena = a};
        if (json) {
            buf_add(&b, S("{\"device\": "));
            json_str(&b, m->device->adapter);
            buf_fmt(&b, ", \"complete\": %s, \"kernels\": [", complete ? "true" : "false");
        }
        for (int i = 0; i < n; i++) print_result(&r[i], json, i == 0, &b);
        if (json) buf_char(&b, ']');
        print_rules(r, n, json, &b);
        if (json)
            buf_add(&b, S("}\n"));
        else
            buf_add(&b, complete  ? S("")
                        : stopped ? S("stopped: the rest was not measured\n")
                                  : S("the time was up: the rest was not measured\n"));
        if (!json && n && path.len) buf_fmt(&b, "%S keeps them for %S\n", path, m->device->adapter);
        out_str(buf_str(&b));
        ok = out_finish();
    } else {
        report(&err);
    }
    tuner_free(t);
    hob_close(h);
    arena_free(a);
    return ok ? EXIT_DONE : EXIT_FAILED;
}

const Command cmd_tune = {
    "tune",
    "-m FILE [--seconds S] [--json]",
    "measures how this device runs a model's kernels best",
    "A rule schedules each kernel for the device's profile. This tries what else the rules allow: "
    "the few schedules of each\n"
    "kernel that should cost least are checked, then timed in turns with the rule's own, on the "
    "model's weights. What\n"
    "wins by more than 3 % is kept, for this adapter with its driver, and used by every command "
    "that opens a model there.\n\n"
    "Ctrl-C ends it, and keeps what was found. --tuned F writes another file than the user's own; "
    "with --tuned off\n"
    "nothing is kept. A file that is no such list is not written over.\n\n"
    "The device is webgpu: kernels for the processor were compiled with hob, one schedule each.\n\n"
    "    hob tune -m model.gguf\n"
    "    hob tune -m model.gguf --seconds 60 --json\n",
    run,
};
