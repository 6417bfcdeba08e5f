// cli/trace.c: `hob bench --trace`: each step of a prompt and of some tokens with its time and its
// bytes, as a Chrome trace (chrome://tracing, Perfetto), and as a table by kernel.
//
// The steps are handed over as an answer's are, but timed: a processor looks at the clock between
// two steps, a GPU writes timestamps around a pass a step. A GPU that has none gets a submit a
// step, and the trace says so: then each time holds the way there and back. Timing costs a little,
// which is why the untraced figures stand beside the traced ones. The table shows the fastest of
// the traced tokens: the others also measure what else the machine did.
#include "cli/probe.h"

enum { TOKENS = 8 };

typedef struct Slice {
    const Step *step;
    StepCost cost; // of these rows at this position; step->bytes is the most it may be
    u32 grid[3];
    StepTime time;
} Slice;

typedef struct Pass { // of the steps, once
    const char *what; // "prefill", "decode"
    u32 pos, n;
    int nslices;
    Slice *slices;
    u64 bytes;
    double ms; // from the first step's begin to the last one's end
} Pass;

// ---- taking it ----------------------------------------------------------------------------------

static void list_steps(Probe *p, const Submit *s, Pass *out) {
    const Program *prog = p->m->program;
    int one = s->last - s->first;
    out->nslices = one + s->last2 - s->first2;
    out->slices = NEW_N(p->arena, Slice, MAX2(out->nslices, 1));
    for (int i = 0; i < out->nslices; i++) {
        Slice *at = &out->slices[i];
        int step = i < one ? s->first + i : s->first2 + i - one;
        at->step = &prog->regimes[s->regime].steps[step];
        at->cost = step_cost(prog, s->regime, step, s->n, s->m, s->t);
        step_grid(prog, at->step, s->n, s->m, at->grid);
        out->bytes += at->cost.bytes;
    }
}

static bool run_timed(Probe *p, Submit s, Pass *out, Err *err) {
    StepTime *times = NEW_N(p->arena, StepTime, MAX2(out->nslices, 1));
    s.times = times;
    if (!device_submit(p->m->device, &s, err) || !probe_wait(p, err)) return false;
    for (int i = 0; i < out->nslices; i++) out->slices[i].time = times[i];
    return true;
}

static bool run_each(Probe *p, Submit s, Pass *out, Err *err) {
    const Step *steps = p->m->program->regimes[s.regime].steps;
    s.first2 = s.last2 = 0;
    for (int i = 0; i < out->nslices; i++) {
        Slice *at = &out->slices[i];
        s.first = (int)(at->step - steps);
        s.last = s.first + 1;
        at->time.begin = clock_ms();
        if (!device_submit(p->m->device, &s, err) || !probe_wait(p, err)) return false;
        at->time.end = clock_ms();
    }
    return true;
}

static bool takes_times(const Probe *p, const Pass *a) { return a->nslices <= p->m->device->timed; }

static bool take(Probe *p, const char *what, u32 pos, u32 n, u32 m, Pass *out, Err *err) {
    Submit s = probe_submit(p, pos, n, m);
    *out = (Pass){.what = what, .pos = pos, .n = n};
    list_steps(p, &s, out);
    if (!(takes_times(p, out) ? run_timed : run_each)(p, s, out, err)) return false;
    if (out->nslices) out->ms = out->slices[out->nslices - 1].time.end - out->slices[0].time.begin;
    return true;
}

// ---- sums ---------------------------------------------------------------------------------------

typedef struct Sum {
    int steps;
    double ms, bytes, flops;
} Sum;

static void sum_add(Sum *s, const Slice *at) {
    s->steps++;
    s->ms += at->time.end - at->time.begin;
    s->bytes += (double)at->cost.bytes;
    s->flops += (double)at->cost.flops;
}

// Of all steps, or of those with a matrix product, whatever else is fused with it.
static Sum sum_of(const Pass *passes, int n, bool products) {
    Sum sum = {0};
    for (int i = 0; i < n; i++)
        for (int k = 0; k < passes[i].nslices; k++)
            if (!products || passes[i].slices[k].step->matrix >= 0)
                sum_add(&sum, &passes[i].slices[k]);
    return sum;
}

static double rate(double much, double ms) { return ms > 0 ? much / ms / 1e6 : 0; }

static int steps_a_layer(const Pass *a, u32 layers) {
    int most = 0;
    for (u32 l = 0; l < layers; l++) {
        int n = 0;
        for (int i = 0; i < a->nslices; i++) n += a->slices[i].step->layer == (int)l;
        most = MAX2(most, n);
    }
    return most;
}

static double ms_of(const Pass *passes, int n) {
    double ms = 0;
    for (int i = 0; i < n; i++) ms += passes[i].ms;
    return ms;
}

// ---- as a table ---------------------------------------------------------------------------------

static void print_row(Str name, const Sum *s, double whole, double read) {
    char of_read[32] = "";
    if (read > 0) snprintf(of_read, sizeof of_read, "%5.0f %%", 100 * rate(s->bytes, s->ms) / read);
    printf("%-44.*s %5d %9.3f %5.1f %% %8.2f %8s %9.2f\n", STR_ARG(name), s->steps, s->ms,
           whole > 0 ? 100 * s->ms / whole : 0, rate(s->bytes, s->ms), of_read,
           rate(s->flops, s->ms));
}

// The one with the most time of those that have steps; -1: none has.
static int longest(const Sum *sums, int n) {
    int most = -1;
    for (int i = 0; i < n; i++)
        if (sums[i].steps && (most < 0 || sums[i].ms > sums[most].ms)) most = i;
    return most;
}

// Kernels by their time, the longest first; those that hardly count are one row.
static void print_table(Arena *a, const Pass *passes, int n, const Program *p, double read) {
    double whole = ms_of(passes, n);
    Sum *sums = NEW_N(a, Sum, p->nkernels), others = {0};
    printf("%-44s %5s %9s %7s %8s %8s %9s\n", "kernel", "steps", "ms", "of it", "GB/s", "of read",
           "GFLOP/s");
    for (int i = 0; i < n; i++)
        for (int j = 0; j < passes[i].nslices; j++)
            sum_add(&sums[passes[i].slices[j].step->kernel], &passes[i].slices[j]);
    for (int most; (most = longest(sums, p->nkernels)) >= 0; sums[most].steps = 0) {
        if (sums[most].ms > whole / 1000) {
            print_row(p->kernels[most].name, &sums[most], whole, read);
            continue;
        }
        others.steps += sums[most].steps;
        others.ms += sums[most].ms;
        others.bytes += sums[most].bytes;
        others.flops += sums[most].flops;
    }
    if (others.steps) print_row(S("others"), &others, whole, 0);
    Sum all = sum_of(passes, n, false), matmul = sum_of(passes, n, true);
    Sum gaps = {.ms = whole - all.ms};
    all.ms = whole;
    print_row(S("between steps"), &gaps, whole, 0);
    print_row(S("all matmul"), &matmul, whole, read);
    print_row(S("all"), &all, whole, read);
}

static void print_tables(Arena *a, const Pass *prefill, int nprefill, const Pass *token,
                         const Program *p, const TraceAsk *ask, double read, bool stamps) {
    if (read > 0) printf("\nmemory reads %.2f GB/s here at best\n", read);
    if (!stamps) printf("no timestamps on this device: each step was a submit of its own\n");
    if (token) {
        printf("\na token at position %u: %.3f ms, without the trace %.3f\n", token->pos, token->ms,
               ask->runs->decode_tps > 0 ? 1e3 / ask->runs->decode_tps : 0);
        printf("%u layers of %d steps, %d steps in all; submits and parameter writes: %.4g\n",
               p->layers, steps_a_layer(token, p->layers), token->nslices, ask->submits);
        print_table(a, token, 1, p, read);
    }
    printf("\na prompt of %u tokens: %.3f ms, without the trace %.3f\n", ask->prompt,
           ms_of(prefill, nprefill),
           ask->runs->prefill_tps > 0 ? ask->prompt * 1e3 / ask->runs->prefill_tps : 0);
    printf("chunks of at most %u rows: %d\n", p->chunk, nprefill);
    print_table(a, prefill, nprefill, p, read);
}

// ---- as JSON ------------------------------------------------------------------------------------

static void put_pass(Buf *b, const Pass *a, const Program *p, double zero) {
    if (!a->nslices) return;
    const Slice *first = a->slices;
    buf_fmt(b,
            ",\n{\"name\": \"%s %u\", \"cat\": \"%s\", \"ph\": \"X\", \"pid\": 1, \"tid\": 1, "
            "\"ts\": %.3f, \"dur\": %.3f, \"args\": {\"rows\": %u, \"steps\": %d, \"bytes\": %U, "
            "\"GB/s\": %.3f}}",
            a->what, a->pos, a->what, (first->time.begin - zero) * 1e3, a->ms * 1e3, a->n,
            a->nslices, a->bytes, rate((double)a->bytes, a->ms));
    double before = first->time.begin;
    for (int i = 0; i < a->nslices; i++) {
        const Slice *at = &a->slices[i];
        double ms = at->time.end - at->time.begin;
        buf_add(b, S(",\n{\"name\": "));
        json_str(b, at->step->name);
        buf_fmt(b,
                ", \"cat\": \"%s step\", \"ph\": \"X\", \"pid\": 1, \"tid\": 1, \"ts\": %.3f, "
                "\"dur\": %.3f, \"args\": {\"kernel\": ",
                a->what, (at->time.begin - zero) * 1e3, ms * 1e3);
        json_str(b, p->kernels[at->step->kernel].name);
        buf_fmt(b,
                ", \"layer\": %d, \"bytes\": %U, \"plan_bytes\": %U, \"GB/s\": %.3f, "
                "\"workgroups\": [%u, %u, %u], \"gap_us\": %.3f}}",
                at->step->layer, at->cost.bytes, at->step->bytes, rate((double)at->cost.bytes, ms),
                at->grid[0], at->grid[1], at->grid[2], (at->time.begin - before) * 1e3);
        before = at->time.end;
    }
}

static void put_sums(Buf *b, const char *name, const Pass *passes, int n) {
    Sum all = sum_of(passes, n, false), matmul = sum_of(passes, n, true);
    double ms = ms_of(passes, n);
    buf_fmt(b,
            ", \"%s\": {\"steps\": %d, \"ms\": %.6f, \"steps_ms\": %.6f, \"bytes\": %.0f, "
            "\"gbps\": %.3f, \"matmul_ms\": %.6f, \"matmul_gbps\": %.3f, \"matmul_gflops\": %.3f}",
            name, all.steps, ms, all.ms, all.bytes, rate(all.bytes, ms), matmul.ms,
            rate(matmul.bytes, matmul.ms), rate(matmul.flops, matmul.ms));
}

static void put_trace(Buf *b, Probe *p, const TraceAsk *ask, const Pass *passes, int nprefill,
                      int ntokens, int best, double read, bool stamps) {
    const Program *prog = p->m->program;
    const Device *d = p->m->device;
    bool cpu = str_eq(str_c(d->vt->name), S("cpu"));
    buf_fmt(b, "{\"displayTimeUnit\": \"ms\",\n\"otherData\": {\"hob\": \"%s\", \"model\": ",
            HOB_VERSION);
    json_str(b, ask->model);
    buf_fmt(b, ", \"device\": \"%s\", \"profile\": ", d->vt->name);
    json_str(b, p->m->profile.name);
    if (cpu)
        buf_fmt(b, ", \"isa\": \"%s\", \"threads\": %D", cpu_kernels().at[0].isa,
                p->m->profile.threads);
    buf_fmt(b,
            ", \"timing\": \"%s\", \"read_gbps\": %.3f, \"prompt\": %u, \"layers\": %u, "
            "\"submits_a_token\": %.4f, \"parameter_writes_a_token\": %.4f, "
            "\"untraced\": {\"prefill_tps\": %.3f, \"decode_tps\": %.3f}",
            cpu      ? "the clock around each step"
            : stamps ? "timestamps around each step, a pass each"
                     : "one submit a step, and the clock around it: this device has no timestamps",
            read, ask->prompt, prog->layers, ask->submits, ask->submits, ask->runs->prefill_tps,
            ask->runs->decode_tps);
    put_sums(b, "prefill", passes, nprefill);
    if (ntokens) {
        const Pass *token = &passes[nprefill + best];
        buf_fmt(b, ", \"fastest_token\": %u, \"steps_a_layer\": %d", token->pos,
                steps_a_layer(token, prog->layers));
        put_sums(b, "decode", token, 1);
    }
    buf_add(b, S("},\n\"traceEvents\": [\n{\"name\": \"process_name\", \"ph\": \"M\", \"pid\": 1, "
                 "\"args\": {\"name\": \"hob bench\"}},\n{\"name\": \"thread_name\", \"ph\": "
                 "\"M\", \"pid\": 1, \"tid\": 1, \"args\": {\"name\": "));
    json_str(b, str_c(d->vt->name));
    buf_add(b, S("}}"));
    double zero = passes[0].nslices ? passes[0].slices[0].time.begin : 0;
    for (int i = 0; i < nprefill + ntokens; i++) put_pass(b, &passes[i], prog, zero);
    buf_add(b, S("\n]}\n"));
}

static bool save(Arena *a, Str path, const Buf *b, Err *err) {
    Output to;
    return output_begin(&to, a, path, err) &&
           output_end(&to,
                      output_write(&to, b->ptr, b->len) ||
                          err_set(err, ERR_IO, "the trace cannot be written; is the disk full?"),
                      err);
}

bool trace_write(Probe *p, const TraceAsk *ask, Err *err) {
    const Program *prog = p->m->program;
    int nprefill = (int)((ask->prompt + prog->chunk - 1) / prog->chunk), best = 0;
    int ntokens = (int)MIN2((u32)TOKENS, prog->ctx - ask->prompt);
    Pass *passes = NEW_N(p->arena, Pass, nprefill + ntokens);
    double read;
    bool stamps = true;
    if (!bandwidth_of(p->m->device, &read, err)) return false;
    for (int i = 0; i < nprefill; i++) {
        u32 pos = (u32)i * prog->chunk, n = MIN2(prog->chunk, ask->prompt - pos);
        if (!take(p, "prefill", pos, n, i == nprefill - 1, &passes[i], err)) return false;
        stamps = stamps && takes_times(p, &passes[i]);
    }
    Pass *tokens = passes + nprefill;
    for (int i = 0; i < ntokens; i++) {
        if (!take(p, "decode", ask->prompt + (u32)i, 1, 1, &tokens[i], err)) return false;
        stamps = stamps && takes_times(p, &tokens[i]);
        if (tokens[i].ms < tokens[best].ms) best = i;
    }
    Buf b = {.arena = p->arena};
    put_trace(&b, p, ask, passes, nprefill, ntokens, best, read, stamps);
    if (!save(p->arena, ask->path, &b, err)) return false;
    if (ask->table)
        print_tables(p->arena, passes, nprefill, ntokens ? &tokens[best] : NULL, prog, ask, read,
                     stamps);
    return true;
}
