// cli/inspect.c: `hob inspect`: what is in a model file, and every stage of what hob makes of it,
// as text.
//
// Nothing is loaded or run: the file is read, and compiled for a profile as far as the question
// needs.
#include "cli/cli.h"

typedef struct InspectArgs {
    OpenArgs open;
    bool graph, plan, cost, json, dump_profile;
    Str kernels, walk, dump, schedule_of;
} InspectArgs;

// What is asked for needs the compiler.
static bool compiles(const InspectArgs *o) {
    return o->plan || o->cost || o->kernels.ptr || o->walk.ptr || o->dump.ptr || o->schedule_of.ptr;
}

static void print_plan_json(const Program *p, Buf *b) {
    buf_fmt(b, "{\"weight_bytes\": %U, \"kv_bytes\": %U, \"regimes\": [", p->weight_bytes,
            p->kv_bytes);
    bool comma = false;
    for (int i = 0; i < REGIME_COUNT; i++) {
        const Regime *r = &p->regimes[i];
        if (!r->nsteps) continue;
        buf_fmt(b, "%s{\"n\": %u, \"arena_bytes\": %U, \"lower_bound_bytes\": %U, \"buffers\": [",
                comma ? ", " : "", r->n, r->arena_bytes, r->lower_bound_bytes);
        comma = true;
        for (int k = 0; k < r->nitems; k++) {
            const PlanItem *it = &r->items[k];
            buf_fmt(b, "%s{\"name\": ", k ? ", " : "");
            json_str(b, it->name);
            buf_fmt(b,
                    ", \"colour\": %u, \"offset\": %U, \"size\": %U, \"first\": %d, \"last\": %d}",
                    it->colour, it->offset, it->size, it->first, it->last);
        }
        buf_add(b, S("]}"));
    }
    buf_add(b, S("]}\n"));
}

static void print_plan(const Program *p, Buf *b) {
    buf_fmt(b, "weights %.1f MB, cache %.1f MB for %u tokens\n", (double)p->weight_bytes / 1e6,
            (double)p->kv_bytes / 1e6, p->ctx);
    for (int i = 0; i < REGIME_COUNT; i++) {
        const Regime *r = &p->regimes[i];
        if (!r->nsteps) continue;
        buf_fmt(b, "\nup to %u rows: %d steps, arena %U bytes; no plan needs less than %U (%.2f)\n",
                r->n, r->nsteps, r->arena_bytes, r->lower_bound_bytes,
                r->lower_bound_bytes ? (double)r->arena_bytes / (double)r->lower_bound_bytes : 1.0);
        buf_add(b, S("  colour     offset       size  steps        name\n"));
        for (int k = 0; k < r->nitems; k++) {
            const PlanItem *it = &r->items[k];
            buf_fmt(b, "  %6u %10U %10U  %4d..%-6d %S\n", it->colour, it->offset, it->size,
                    it->first, it->last, it->name);
        }
    }
}

static void print_cost(const Program *p, Buf *b) {
    for (int i = 0; i < REGIME_COUNT; i++) {
        const Regime *r = &p->regimes[i];
        u64 bytes = 0, flops = 0;
        if (!r->nsteps) continue;
        buf_fmt(b, "%sup to %u rows\n  step        bytes        flops  kernel, of\n", i ? "\n" : "",
                r->n);
        for (int k = 0; k < r->nsteps; k++) {
            const Step *s = &r->steps[k];
            buf_fmt(b, "  %4d %12U %12U  %S, %S\n", k, s->bytes, s->flops,
                    p->kernels[s->kernel].name, s->name);
            bytes += s->bytes;
            flops += s->flops;
        }
        buf_fmt(b, "   all %12U %12U\n", bytes, flops);
    }
}

static void print_schedule(const ProgKernel *k, Buf *b) {
    buf_fmt(b, "kernel %S:\n%S%s", k->name, k->schedule,
            str_ends(k->schedule, S("\n")) || !k->schedule.len ? "" : "\n");
}

static bool print_schedules(const Program *p, Str name, Buf *b, Err *err) {
    bool all = str_eq(name, S("all")), found = all;
    for (int i = 0; i < p->nkernels; i++) {
        if (all || str_eq(p->kernels[i].name, name)) {
            found = true;
            print_schedule(&p->kernels[i], b);
        }
    }
    if (found) return true;
    char known[900];
    Buf n = {.ptr = known, .cap = sizeof known};
    for (int i = 0; i < p->nkernels; i++) buf_fmt(&n, "%s%S", i ? ", " : "", p->kernels[i].name);
    return err_set(err, ERR_COMPILE_SCHEDULE, "no kernel is named %S; there are: %S", name,
                   buf_str(&n));
}

// The profile to compile for: as asked, else the one that suits the question: this processor's
// best kernels have theirs.
static bool choose_profile(Model *m, const InspectArgs *o, Err *err) {
    bool shaders = str_eq(o->kernels, S("wgsl"));
    Str usual = shaders ? S("gpu") : str_c(cpu_kernels().at[0].profile);
    return model_profile_given(m, o->open.profile.len ? o->open.profile : usual, err) &&
           model_mode(m, o->open.mode, err);
}

static bool inspect_compiled(Model *m, const InspectArgs *o, Buf *b, Err *err) {
    CompileOptions co = {.graph_file = o->open.graph,
                         .schedule_file = o->open.schedule,
                         .dump_pass = o->dump,
                         .walk_tensor = o->walk,
                         .dump = b,
                         .verify = true};
    if (!choose_profile(m, o, err) ||
        (o->open.graph.len && !source_file_text(m->arena, o->open.graph, &co.graph_text, err)) ||
        (o->open.schedule.len &&
         !source_file_text(m->arena, o->open.schedule, &co.schedule_text, err)))
        return false;
    if (o->kernels.ptr) co.dialect = dialect_named(o->kernels);
    if (!model_compile(m, &co, err)) return false;
    const Program *p = m->program;
    if (o->walk.ptr && b->len == 0) {
        err_set(err, ERR_COMPILE_TENSOR,
                "no step reads a tensor of that name; `hob inspect -m FILE` lists them");
        return err_subject(err, o->walk);
    }
    for (int i = 0; o->kernels.ptr && i < p->nkernels; i++)
        buf_fmt(b, "// kernel %S\n%S\n", p->kernels[i].name, p->kernels[i].text);
    if (o->plan && o->json)
        print_plan_json(p, b);
    else if (o->plan)
        print_plan(p, b);
    if (o->cost) print_cost(p, b);
    return !o->schedule_of.ptr || print_schedules(p, o->schedule_of, b, err);
}

static bool inspect(Model *m, Source *src, const InspectArgs *o, Buf *b, Err *err) {
    ModelOptions mo = {.ctx = (u32)o->open.ctx};
    DeviceOptions dopt = {.threads = 1};
    if (!source_file_open(m->arena, o->open.model, src, err)) return false;
    if (!compiles(o) && !o->graph && !o->dump_profile) {
        // a file whose vocabulary is broken can still be looked at
        Gguf *g;
        if (!format_open(m->arena, src, &g, err)) return err_file(err, o->open.model);
        gguf_print(g, b);
        return true;
    }
    if (!model_read(m, src, err) || !model_graph(m, &mo, err) ||
        !model_device(m, S("null"), &dopt, err))
        return false;
    if (o->graph) graph_print(m->graph, b);
    if (compiles(o)) return inspect_compiled(m, o, b, err);
    if (!o->dump_profile) return true;
    if (!choose_profile(m, o, err)) return false;
    profile_print(&m->profile, b);
    return true;
}

static int run(const Command *c, int argc, char **argv) {
    InspectArgs o = {0};
    const Opt opts[] = {
        {"--model", "-m", OPT_STR, &o.open.model, 0, 0, "FILE",
         "model file (GGUF, or of hob bake)"},
        {"--graph", NULL, OPT_FLAG, &o.graph, 0, 0, NULL,
         "the model as operators: edit it and run it with `hob run --graph`"},
        {"--plan", NULL, OPT_FLAG, &o.plan, 0, 0, NULL,
         "where each activation lies in memory, and from which step to which"},
        {"--json", NULL, OPT_FLAG, &o.json, 0, 0, NULL, "the plan as JSON"},
        {"--kernels", NULL, OPT_STR, &o.kernels, 0, 0, "wgsl|c", "the text of every kernel"},
        {"--walk", NULL, OPT_STR, &o.walk, 0, 0, "TENSOR",
         "every stage of the one step that reads a tensor"},
        {"--dump", NULL, OPT_STR, &o.dump, 0, 0, "PASS",
         "what a pass gives: graph, a pass, fuse, plan, formula, naive, schedule,"
         "\n                           nest, loop, c, wgsl, program"},
        {"--show-schedule", NULL, OPT_STR, &o.schedule_of, 0, 0, "KERNEL",
         "a kernel's schedule (or all): edit it, run it with `hob run --schedule`"},
        {"--cost", NULL, OPT_FLAG, &o.cost, 0, 0, NULL, "bytes and flops of each step"},
        {"--show-profile", NULL, OPT_FLAG, &o.dump_profile, 0, 0, NULL,
         "the device profile, as a file for --profile"},
        MODE_OPT(o.open),
        {"--profile", NULL, OPT_STR, &o.open.profile, 0, 0, "F",
         "compile for this device: a file (or -), or cpu, cpu4, cpu16, gpu, software"},
        {"--ctx", NULL, OPT_INT, &o.open.ctx, 0, 1 << 20, "N",
         "context in tokens; 0, the default: the model's, at most 2048"},
        {"--with-graph", NULL, OPT_STR, &o.open.graph, 0, 0, "F",
         "an edited graph (.hgraph, or -) in place of the model's own"},
        {"--schedule", NULL, OPT_STR, &o.open.schedule, 0, 0, "F",
         "edited schedules (.hsch, or -), by kernel"},
    };
    Parsed p = options_parse(c, opts, COUNT_OF(opts), argc, argv, NULL, 0, NULL);
    if (p != PARSED_OK) return p == PARSED_HELP ? EXIT_DONE : EXIT_USAGE;
    if (!open_check(c, &o.open, S(""))) return EXIT_USAGE;
    if (o.kernels.ptr && !dialect_named(o.kernels))
        return usage_error(c, "--kernels takes wgsl or c, not `%S`", o.kernels);
    int views = o.graph + o.plan + o.cost + o.dump_profile + (o.kernels.ptr != NULL) +
                (o.walk.ptr != NULL) + (o.dump.ptr != NULL) + (o.schedule_of.ptr != NULL);
    if (views > 1)
        return usage_error(c, "one view at a time: --graph, --plan, --cost, --kernels, --walk, "
                              "--dump, --show-schedule or --show-profile");
    if (o.json && !o.plan) return usage_error(c, "--json goes with --plan");
    static const char *const dumps[] = {"graph", "plan", "formula", "naive", "schedule",
                                        "nest",  "loop", "c",       "wgsl",  "program"};
    bool known = !o.dump.ptr;
    for (size_t i = 0; i < COUNT_OF(dumps); i++) known |= str_eq(o.dump, str_c(dumps[i]));
    int npasses;
    const PassRow *rows = passes(&npasses);
    for (int i = 0; i < npasses; i++) known |= str_eq(o.dump, str_c(rows[i].name));
    known |= str_eq(o.dump, S("fuse"));
    if (!known) return usage_error(c, "--dump does not know `%S`", o.dump);

    Err err = {0};
    Source src = {0};
    Model *m = model_new(NULL, NULL);
    int status = EXIT_FAILED;
    if (m) {
        Buf b = {.arena = m->arena};
        if (inspect(m, &src, &o, &b, &err)) {
            out_str(buf_str(&b));
            status = out_finish() ? EXIT_DONE : EXIT_FAILED;
        } else {
            status = report(&err);
        }
    }
    source_file_close(&src); // first: its file lies in the model's arena
    model_free(m);
    return status;
}

const Command cmd_inspect = {
    "inspect",
    "-m FILE [--graph | --plan [--json] | --kernels wgsl|c | --walk TENSOR | --dump PASS | ...]",
    "what is in a model file, and what hob makes of it",
    "Without more, prints the file's keys and tensors. The rest compiles the model for a device "
    "profile and prints one\n"
    "stage of that as text, one a call. Nothing is loaded or run, so any machine can look at "
    "kernels for "
    "another.\n\n"
    "A walk is the best beginning: one tensor from the file to the kernel, every stage on the "
    "way.\n\n"
    "    hob inspect -m model.gguf --walk blk.0.attn_q\n"
    "    hob inspect -m model.gguf --kernels wgsl --profile software > kernels.wgsl\n"
    "    hob inspect -m model.gguf --plan --json | python3 -m json.tool\n"
    "    hob inspect -m model.gguf --graph > my.hgraph   # edit, then: hob run --graph my.hgraph\n",
    run,
};
