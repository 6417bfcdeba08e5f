// api/wasm_probe.c: which device is faster here: the largest matrix product of the model's layers,
// timed on each.
//
// The kernel is the one that decoding would run, compiled for the device's own profile; its
// operands are fresh buffers of zeros, since how long a product takes does not depend on the
// numbers. A little program of that one step, repeated, goes through the ordinary device calls:
// nothing is measured that is not used. The figure is the best of several submits: browsers
// translate WebAssembly better while it runs, and whatever else a machine does only adds time.
#include "api/wasm_int.h"

enum { REPEAT_MAX = 256, SUBMIT_MS = 15 };

struct Probe {
    Arena *arena;
    Model m; // a device and a program of its own; the file's graph
    Program little;
    ProgKernel kernel;
    ProgBuffer buffer_of[STEP_MAX_BINDINGS + 2];
    Step *steps;
    BufferHandle buffers[STEP_MAX_BINDINGS + 2];
    KernelHandle handle;
    DeviceBind bind;
    BoundHandle bound;
    i32 *params;
    u64 bytes; // that one product reads and writes
    enum { PROBE_KERNEL, PROBE_FIRST, PROBE_RUN, PROBE_DONE } stage;
    int count, products; // in the submit that is out; in all of them
    double budget, start, until;
    double ms; // of one product; 0: not known yet
};

static bool make_program(Probe *b, const Step *s, Err *err) {
    const Program *p = b->m.program;
    b->little = *p;
    b->bytes = s->bytes;
    b->kernel = p->kernels[s->kernel];
    b->steps = NEW_N(b->arena, Step, REPEAT_MAX);
    Step one = *s;
    one.kernel = 0;
    Program *l = &b->little;
    l->kernels = &b->kernel;
    l->nkernels = 1;
    l->buffers = b->buffer_of;
    l->nbuffers = b->kernel.nbind + 2;
    l->nweights = 0;
    l->buf_params = (u32)b->kernel.nbind;
    l->buf_ring = l->buf_params + 1;
    for (int i = 0; i < b->kernel.nbind; i++) {
        Binding *bi = &one.bind[i];
        u32 kind = p->buffers[bi->buffer].kind;
        if (bi->buffer == p->buf_params) {
            bi->buffer = l->buf_params;
        } else if (bi->buffer == p->buf_ring) {
            bi->buffer = l->buf_ring;
        } else {
            l->buffers[i] = (ProgBuffer){.kind = kind, .size = bi->size};
            bi->buffer = (u32)i;
            bi->offset = 0;
        }
    }
    l->buffers[l->buf_params] = p->buffers[p->buf_params];
    l->buffers[l->buf_ring] = p->buffers[p->buf_ring];
    for (int i = 0; i < REPEAT_MAX; i++) b->steps[i] = one;
    for (int r = 0; r < REGIME_COUNT; r++) l->regimes[r] = (Regime){0};
    l->regimes[REGIME_ROW] = (Regime){.n = 1,
                                      .m = 1,
                                      .nsteps = REPEAT_MAX,
                                      .head = REPEAT_MAX,
                                      .greedy = REPEAT_MAX,
                                      .sample = REPEAT_MAX,
                                      .steps = b->steps};
    for (int i = 0; i < l->nbuffers; i++) // an unused place gets the smallest buffer
        if (!device_buffer_make(b->m.device, MAX2(l->buffers[i].size, 4u), l->buffers[i].kind,
                                &b->buffers[i], err))
            return false;
    b->params = arena_try(b->arena, program_param_words(l), sizeof(i32));
    if (!b->params) return err_set(err, ERR_OUT_OF_MEMORY, "the trial's parameters");
    Ticket t;
    b->params[PARAM_N] = b->params[PARAM_M] = b->params[PARAM_T] = 1;
    return device_kernel_make(b->m.device, &b->kernel, &b->handle, &t, err);
}

static void probe_free(Page *p) {
    Probe *b = p->probe;
    p->probe = NULL;
    if (!b) return;
    Device *d = b->m.device;
    if (d) {
        device_unbind(d, b->bound);
        device_kernel_free(d, b->handle);
        for (size_t i = 0; i < COUNT_OF(b->buffers); i++) device_buffer_free(d, b->buffers[i]);
        device_close(d);
    }
    p->gpu = NULL;
    arena_free(b->arena);
}

static PageState fail(Page *p) {
    arena_reset(p->out_arena);
    p->out = (Buf){.arena = p->out_arena};
    openai_error(&p->err, &p->out);
    probe_free(p);
    return PAGE_FAILED;
}

// Begins to time a device, for about `budget` ms once its kernel is made and warm; then
// hob_w_probe_step. false: out says why it cannot be used.
EXPORT(hob_w_probe) bool hob_w_probe(Page *p, bool gpu, double budget) {
    probe_free(p);
    must(p->stage == STAGE_HEADER);
    p->err = (Err){0};
    Arena *a = arena_new(NULL);
    Probe *b = a ? NEW(a, Probe) : NULL;
    if (!b) return false;
    p->probe = b;
    b->arena = a;
    b->budget = budget;
    b->m = *p->m;
    b->m.arena = a;
    CompileOptions o = {.regimes = 1 << REGIME_ROW, .heaviest = true};
    if (page_device(p, &b->m, gpu, &p->err) && model_compile(&b->m, &o, &p->err) &&
        make_program(b, &b->m.program->regimes[REGIME_ROW].steps[0], &p->err))
        return true;
    fail(p);
    return false;
}

static bool go(Probe *b, int count, Err *err) {
    b->count = count;
    b->products += count;
    b->start = clock_ms();
    Submit s = {.bound = b->bound,
                .regime = REGIME_ROW,
                .last = count,
                .n = 1,
                .m = 1,
                .t = 1,
                .params = b->params,
                .read_ring = -1};
    return device_submit(b->m.device, &s, err) != 0;
}

// PAGE_WORKING, PAGE_WAITING; PAGE_IDLE when done: then hob_w_probe_ms and _bytes; PAGE_FAILED.
EXPORT(hob_w_probe_step) PageState hob_w_probe_step(Page *p) {
    Probe *b = p->probe;
    if (!b) return PAGE_FAILED;
    if (b->stage == PROBE_DONE) return PAGE_IDLE;
    EngineState state = engine_settle(b->m.device, 0, &p->err);
    if (state == ENGINE_WAITING) return PAGE_WAITING;
    if (state == ENGINE_FAILED) return fail(p);
    if (b->stage == PROBE_KERNEL) {
        b->bind = (DeviceBind){&b->little, b->buffers, &b->handle};
        if (!device_bind(b->m.device, &b->bind, &b->bound, &p->err) || !go(b, 1, &p->err))
            return fail(p);
        b->stage = PROBE_FIRST;
        return PAGE_WORKING;
    }
    double now = clock_ms(), ms = (now - b->start) / b->count;
    if (b->stage == PROBE_FIRST) { // it made the pipeline and warmed the caches: no figure
        b->stage = PROBE_RUN;
        b->until = now + b->budget;
    } else {
        b->ms = b->ms > 0 ? MIN2(b->ms, ms) : MAX2(ms, 1e-3);
        if (now >= b->until) {
            b->stage = PROBE_DONE;
            return PAGE_IDLE;
        }
    }
    // As many as fill a submit's time, so that what it costs to ask at all counts little.
    double n = b->ms > 0 ? MIN2((double)SUBMIT_MS, b->until - now) / b->ms : 1;
    if (!go(b, (int)MAX2(1, MIN2(n, (double)REPEAT_MAX)), &p->err)) return fail(p);
    return PAGE_WORKING;
}

EXPORT(hob_w_probe_ms) double hob_w_probe_ms(const Page *p) { return p->probe ? p->probe->ms : 0; }
EXPORT(hob_w_probe_bytes) double hob_w_probe_bytes(const Page *p) {
    return p->probe ? (double)p->probe->bytes : 0;
}
EXPORT(hob_w_probe_products) int hob_w_probe_products(const Page *p) {
    return p->probe ? p->probe->products : 0;
}
EXPORT(hob_w_probe_end) void hob_w_probe_end(Page *p) { probe_free(p); }
