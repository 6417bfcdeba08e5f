// device/wgpu.c: WebGPU without a browser: the same programs and the same WGSL as in a page, by the
// library wgpu-native, which is looked for when the device is opened.
//
// One submit a token: a write of the parameter block, one compute pass with bind groups that were
// made once, and a copy of the chosen token to a staging buffer that is mapped when the work is
// done, so that several tokens are on their way. Queue order is program order: one parameter block
// is enough. A submit whose steps are to be timed has a pass for each of them, with a timestamp at
// both ends, and its own staging buffer for them. The library tells errors by a callback inside the
// call that was wrong, and aborts when it is asked to submit what it refused or to read what it did
// not map: every call that can be refused is followed by a look at what the callback left
// (`wgpu_fine`). All callbacks come inside calls of ours, on their thread. What is beyond us: a
// driver that goes away in the very middle of a submit makes this version of the library abort;
// where it notices earlier, the device is lost.
#if !defined(__wasm__)
#define _POSIX_C_SOURCE 200809L
#include "device/wgpu_int.h"

// A write above this is handed to the queue at once: until then the library keeps a copy.
#define FLUSH_BYTES ((u64)256 << 10)

// ---- answers that come later --------------------------------------------------------------------

static Await *await_new(Device *d, Await **list, Ticket t) {
    Wgpu *w = d->self;
    Await *a = *list;
    if (a)
        *list = a->next;
    else
        a = NEW(d->arena, Await);
    a->d = d;
    a->ticket = t;
    a->times = NULL;
    w->awaited++;
    return a;
}

static void await_done(Await *a) {
    Wgpu *w = a->d->self;
    Await **list = a->token ? &w->tokens : &w->reads;
    if (a->staging && !a->token) {
        CALL(w, BufferRelease, a->staging);
        a->staging = NULL;
    }
    a->next = *list;
    *list = a;
    w->awaited--;
}

static void take_times(const Wgpu *w, const Await *a, const u8 *from, i32 *token) {
    memcpy(token, from, sizeof *token);
    for (int i = 0; i < a->ntimes; i++) {
        u64 stamp[2];
        memcpy(stamp, from + STAMPS_AT + sizeof stamp * (size_t)i, sizeof stamp);
        a->times[i] = (StepTime){(double)stamp[0] * w->tick_ms, (double)stamp[1] * w->tick_ms};
    }
}

static void on_mapped(u32 status, WgStr message, void *user, void *user2) {
    Await *a = user;
    Wgpu *w = a->d->self;
    (void)message, (void)user2;
    if (status == WG_SUCCESS) { // read in its turn
        *w->mapped_end = a;
        w->mapped_end = &a->next;
        a->next = NULL;
        return;
    }
    if (!w->closed) device_answer(a->d, a->ticket, ERR_DEVICE_FAILED, 0);
    await_done(a);
}

// Reads what was mapped, after the call whose callbacks said so: a device that went away in it
// takes its buffers with it, says so last, and to ask for a lost buffer's bytes makes the library
// abort.
static void take_mapped(Device *d) {
    Wgpu *w = d->self;
    Await *a = w->mapped;
    w->mapped = NULL, w->mapped_end = &w->mapped;
    for (Await *next; a; a = next) {
        next = a->next;
        i32 token = 0;
        if (!d->lost && !w->closed) {
            const void *p = CALL(w, BufferGetConstMappedRange, a->staging, 0, (size_t)a->size);
            if (p && a->times)
                take_times(w, a, p, &token);
            else if (p)
                memcpy(a->token ? &token : a->dst, p, (size_t)a->size);
            device_answer(d, a->ticket, p ? ERR_NONE : ERR_DEVICE_FAILED, token);
        }
        if (!d->lost) CALL(w, BufferUnmap, a->staging);
        await_done(a);
    }
}

static void on_done(u32 status, WgStr message, void *user, void *user2) {
    Await *a = user;
    (void)message, (void)user2;
    if (!((Wgpu *)a->d->self)->closed)
        device_answer(a->d, a->ticket, status == WG_SUCCESS ? ERR_NONE : ERR_DEVICE_FAILED, 0);
    await_done(a);
}

static void answer_mapped(Wgpu *w, Await *a) {
    WgMessageInfo then = {.mode = WG_SPONTANEOUS, .call = on_mapped, .user = a};
    CALL(w, BufferMapAsync, a->staging, WG_MAP_READ, 0, (size_t)a->size, then);
}

static void answer_when_done(Device *d, Ticket t) {
    Wgpu *w = d->self;
    Await *a = await_new(d, &w->reads, t);
    WgMessageInfo then = {.mode = WG_SPONTANEOUS, .call = on_done, .user = a};
    CALL(w, QueueOnSubmittedWorkDone, w->queue, then);
}

// ---- buffers ------------------------------------------------------------------------------------

static bool profile(Device *d, Profile *out, Err *err) {
    (void)err;
    *out = ((Wgpu *)d->self)->profile;
    return true;
}

static WgBuffer make(Device *d, u64 size, u64 usage, Err *err) {
    Wgpu *w = d->self;
    WgBufferDesc desc = {.usage = usage, .size = size};
    WgBuffer b = CALL(w, DeviceCreateBuffer, w->device, &desc);
    if (wgpu_fine(d, ERR_DEVICE_LIMIT, S("a buffer"), err)) return b;
    if (b) CALL(w, BufferRelease, b);
    return NULL;
}

static bool buffer_make(Device *d, u32 index, u64 size, BufferKind kind, Err *err) {
    (void)kind;
    Wgpu *w = d->self;
    if (size > (u64)w->profile.max_buffer_bytes)
        return err_set(err, ERR_DEVICE_LIMIT,
                       "a buffer of %U MB is needed and this adapter allows %D MB; use the CPU or "
                       "a smaller model",
                       size >> 20, w->profile.max_buffer_bytes >> 20);
    while (w->buffers.n <= index) vec_push(d->arena, &w->buffers, (WgBuffer){0});
    WgBuffer b = make(d, size, WG_USE_STORAGE | WG_USE_COPY_SRC | WG_USE_COPY_DST, err);
    w->buffers.at[index] = b;
    return b != NULL;
}

static void buffer_free(Device *d, u32 index) {
    Wgpu *w = d->self;
    // not destroyed: work that was handed over may still name it
    if (w->buffers.at[index]) CALL(w, BufferRelease, w->buffers.at[index]);
    w->buffers.at[index] = NULL;
}

static bool buffer_write(Device *d, Ticket t, u32 index, u64 off, const void *src, u64 n,
                         Err *err) {
    Wgpu *w = d->self;
    CALL(w, QueueWriteBuffer, w->queue, w->buffers.at[index], off, src, (size_t)n);
    if (!wgpu_fine(d, ERR_DEVICE_FAILED, S("a write"), err)) return false;
    if (n < FLUSH_BYTES) {
        device_answer(d, t, ERR_NONE, 0); // src was copied
        return true;
    }
    CALL(w, QueueSubmit, w->queue, 0, NULL);
    answer_when_done(d, t);
    return true;
}

// The list of commands is handed over; false: it was refused, or the device is gone.
static bool hand_over(Device *d, WgEncoder e, Str what, Err *err) {
    Wgpu *w = d->self;
    WgCommands c = CALL(w, CommandEncoderFinish, e, NULL);
    CALL(w, CommandEncoderRelease, e);
    bool ok = wgpu_fine(d, ERR_DEVICE_FAILED, what, err);
    if (ok) CALL(w, QueueSubmit, w->queue, 1, &c);
    if (c) CALL(w, CommandBufferRelease, c);
    return ok && wgpu_fine(d, ERR_DEVICE_FAILED, what, err);
}

static bool buffer_read(Device *d, Ticket t, u32 index, u64 off, void *dst, u64 n, Err *err) {
    Wgpu *w = d->self;
    WgBuffer staging = make(d, n, WG_USE_MAP_READ | WG_USE_COPY_DST, err);
    if (!staging) return false;
    WgEncoder e = CALL(w, DeviceCreateCommandEncoder, w->device, NULL);
    CALL(w, CommandEncoderCopyBufferToBuffer, e, w->buffers.at[index], off, staging, 0, n);
    if (!hand_over(d, e, S("a read"), err)) {
        CALL(w, BufferRelease, staging);
        return false;
    }
    Await *a = await_new(d, &w->reads, t);
    a->staging = staging;
    a->size = n;
    a->dst = dst;
    answer_mapped(w, a);
    return wgpu_fine(d, ERR_DEVICE_FAILED, S("a read"), err);
}

// ---- kernels ------------------------------------------------------------------------------------

static bool layout_of(Device *d, const ProgKernel *k, u32 *out, Err *err) {
    Wgpu *w = d->self;
    WgpuLayout l = {.nbind = k->nbind};
    for (int i = 0; i < k->nbind; i++) l.writes |= (u32)k->writes[i] << i;
    for (*out = 0; *out < w->layouts.n; ++*out) {
        const WgpuLayout *at = &w->layouts.at[*out];
        if (at->nbind == l.nbind && at->writes == l.writes) return true;
    }
    WgLayoutEntry entries[STEP_MAX_BINDINGS] = {0};
    for (int i = 0; i < k->nbind; i++) {
        entries[i].binding = (u32)i;
        entries[i].visibility = WG_STAGE_COMPUTE;
        entries[i].buffer.type = k->writes[i] ? WG_BINDING_STORAGE : WG_BINDING_READ_ONLY;
    }
    WgGroupLayoutDesc group = {.n = (size_t)k->nbind, .entries = entries};
    l.group = CALL(w, DeviceCreateBindGroupLayout, w->device, &group);
    WgLayoutDesc desc = {.n = 1, .groups = &l.group};
    bool ok = wgpu_fine(d, ERR_DEVICE_KERNEL, k->name, err);
    if (ok) {
        l.pipeline = CALL(w, DeviceCreatePipelineLayout, w->device, &desc);
        ok = wgpu_fine(d, ERR_DEVICE_KERNEL, k->name, err);
    }
    if (ok) {
        vec_push(d->arena, &w->layouts, l);
        return true;
    }
    if (l.pipeline) CALL(w, PipelineLayoutRelease, l.pipeline);
    if (l.group) CALL(w, BindGroupLayoutRelease, l.group);
    return false;
}

// The text is read and checked here; the pipeline, which takes the driver longer, is made when it
// is wanted.
static bool kernel_make(Device *d, Ticket t, u32 index, const ProgKernel *k, Err *err) {
    Wgpu *w = d->self;
    WgpuKernel new = {.k = k};
    if (k->text.len == 0)
        return err_set(err, ERR_DEVICE_KERNEL, "kernel %S was not printed for this device",
                       k->name);
    if (!layout_of(d, k, &new.layout, err)) return false;
    WgSourceWgsl source = {.chain = {.type = WG_SHADER_SOURCE_WGSL},
                           .code = {k->text.ptr, k->text.len}};
    WgModuleDesc desc = {.next = &source.chain, .label = {k->name.ptr, k->name.len}};
    new.module = CALL(w, DeviceCreateShaderModule, w->device, &desc);
    if (!wgpu_fine(d, ERR_DEVICE_KERNEL, k->name, err)) {
        if (new.module) CALL(w, ShaderModuleRelease, new.module);
        return false;
    }
    while (w->kernels.n <= index) vec_push(d->arena, &w->kernels, (WgpuKernel){0});
    w->kernels.at[index] = new;
    device_answer(d, t, ERR_NONE, 0);
    return true;
}

static bool pipeline_make(Device *d, WgpuKernel *k, Err *err) {
    Wgpu *w = d->self;
    WgPipelineDesc desc = {.label = {k->k->name.ptr, k->k->name.len},
                           .layout = w->layouts.at[k->layout].pipeline,
                           .compute = {.module = k->module, .entry = {"main", 4}}};
    WgPipeline p = CALL(w, DeviceCreateComputePipeline, w->device, &desc);
    if (wgpu_fine(d, ERR_DEVICE_KERNEL, k->k->name, err)) {
        k->pipeline = p;
        return true;
    }
    if (p) CALL(w, ComputePipelineRelease, p);
    return false;
}

static void kernel_free(Device *d, u32 index) {
    Wgpu *w = d->self;
    WgpuKernel *k = &w->kernels.at[index];
    if (k->pipeline) CALL(w, ComputePipelineRelease, k->pipeline);
    if (k->module) CALL(w, ShaderModuleRelease, k->module);
    *k = (WgpuKernel){0};
}

// ---- programs -----------------------------------------------------------------------------------

static void unbind(Device *d, u32 index) {
    Wgpu *w = d->self;
    WgpuBound *b = &w->bounds.at[index];
    for (int r = 0; b->arena && r < REGIME_COUNT; r++)
        for (int i = 0; b->groups[r] && i < b->bind.program->regimes[r].nsteps; i++)
            if (b->groups[r][i]) CALL(w, BindGroupRelease, b->groups[r][i]);
    arena_free(b->arena);
    *b = (WgpuBound){0};
}

static bool group_make(Device *d, const DeviceBind *b, const Step *s, WgGroup *out, Err *err) {
    Wgpu *w = d->self;
    const WgpuKernel *k = &w->kernels.at[handle_index(b->kernels[s->kernel].id)];
    WgGroupEntry entries[STEP_MAX_BINDINGS] = {0};
    for (int i = 0; i < k->k->nbind; i++) {
        entries[i].binding = (u32)i;
        entries[i].buffer = w->buffers.at[handle_index(b->buffers[s->bind[i].buffer].id)];
        entries[i].offset = s->bind[i].offset;
        entries[i].size = s->bind[i].size;
    }
    WgGroupDesc desc = {
        .layout = w->layouts.at[k->layout].group, .n = (size_t)k->k->nbind, .entries = entries};
    *out = CALL(w, DeviceCreateBindGroup, w->device, &desc);
    return wgpu_fine(d, ERR_DEVICE_FAILED, s->name, err);
}

static bool bind(Device *d, u32 index, const DeviceBind *b, Err *err) {
    Wgpu *w = d->self;
    while (w->bounds.n <= index) vec_push(d->arena, &w->bounds, (WgpuBound){0});
    WgpuBound *bound = &w->bounds.at[index];
    *bound = (WgpuBound){.arena = arena_new(NULL), .bind = *b};
    bool ok = bound->arena || err_set(err, ERR_OUT_OF_MEMORY, "a program cannot be bound");
    for (int r = 0; r < REGIME_COUNT && ok; r++) {
        const Regime *g = &b->program->regimes[r];
        bound->groups[r] = arena_try(bound->arena, (u64)MAX2(g->nsteps, 1), sizeof(WgGroup));
        ok = bound->groups[r] || err_set(err, ERR_OUT_OF_MEMORY, "a program cannot be bound");
        for (int i = 0; i < g->nsteps && ok; i++)
            ok = group_make(d, b, &g->steps[i], &bound->groups[r][i], err);
    }
    if (!ok) unbind(d, index);
    return ok;
}

static bool pipelines_ready(Device *d, const DeviceBind *b, int regime, int first, int last,
                            Err *err) {
    for (int i = first; i < last; i++) {
        u32 kernel = b->program->regimes[regime].steps[i].kernel;
        WgpuKernel *k = &((Wgpu *)d->self)->kernels.at[handle_index(b->kernels[kernel].id)];
        if (!k->pipeline && !pipeline_make(d, k, err)) return false;
    }
    return true;
}

static void put_steps(Wgpu *w, WgPass pass, const WgpuBound *b, const Submit *s, int first,
                      int last) {
    const Program *p = b->bind.program;
    WgPipeline now = NULL;
    for (int i = first; i < last; i++) {
        const Step *st = &p->regimes[s->regime].steps[i];
        WgPipeline want = w->kernels.at[handle_index(b->bind.kernels[st->kernel].id)].pipeline;
        u32 grid[3];
        step_grid(p, st, s->n, s->m, grid);
        if (want != now) CALL(w, ComputePassEncoderSetPipeline, pass, now = want);
        CALL(w, ComputePassEncoderSetBindGroup, pass, 0, b->groups[s->regime][i], 0, NULL);
        CALL(w, ComputePassEncoderDispatchWorkgroups, pass, grid[0], grid[1], grid[2]);
    }
}

// The token at this place of the ring goes to the beginning of `to`.
static void ring_copy(Wgpu *w, WgEncoder e, const WgpuBound *b, int at, WgBuffer to) {
    WgBuffer ring = w->buffers.at[handle_index(b->bind.buffers[b->bind.program->buf_ring].id)];
    CALL(w, CommandEncoderCopyBufferToBuffer, e, ring, 4 * (u64)at, to, 0, 4);
}

// Where the token's value goes until the host may read it.
static Await *token_await(Device *d, Ticket t, Err *err) {
    Wgpu *w = d->self;
    Await *a = await_new(d, &w->tokens, t);
    a->token = true;
    a->size = 4;
    if (!a->staging) a->staging = make(d, 4, WG_USE_MAP_READ | WG_USE_COPY_DST, err);
    if (a->staging) return a;
    await_done(a);
    return NULL;
}

// ---- timed submits ------------------------------------------------------------------------------

static bool queries_ready(Device *d, Err *err) {
    Wgpu *w = d->self;
    if (w->resolved) return true;
    WgQueriesDesc desc = {.type = WG_QUERY_TIMESTAMP, .count = QUERIES_MAX};
    if (!w->queries) w->queries = CALL(w, DeviceCreateQuerySet, w->device, &desc);
    if (!wgpu_fine(d, ERR_DEVICE_FAILED, S("timestamps"), err)) return false;
    w->resolved = make(d, (u64)8 * QUERIES_MAX, WG_USE_QUERIES | WG_USE_COPY_SRC, err);
    return w->resolved != NULL;
}

// `put_steps`, with a pass a step. *at: how many passes there are.
static void put_timed(Wgpu *w, WgEncoder e, const WgpuBound *b, const Submit *s, int first,
                      int last, u32 *at) {
    for (int i = first; i < last; i++, ++*at) {
        WgPassTimes times = {.queries = w->queries, .begin = 2 * *at, .end = 2 * *at + 1};
        WgPassDesc desc = {.times = &times};
        WgPass pass = CALL(w, CommandEncoderBeginComputePass, e, &desc);
        put_steps(w, pass, b, s, i, i + 1);
        CALL(w, ComputePassEncoderEnd, pass);
        CALL(w, ComputePassEncoderRelease, pass);
    }
}

static bool submit_timed(Device *d, Ticket t, const Submit *s, const WgpuBound *b, Err *err) {
    Wgpu *w = d->self;
    u32 n = 0;
    if (!queries_ready(d, err)) return false;
    u64 size = STAMPS_AT + 16 * (u64)(s->last - s->first + s->last2 - s->first2);
    WgBuffer staging = make(d, size, WG_USE_MAP_READ | WG_USE_COPY_DST, err);
    if (!staging) return false;
    WgEncoder e = CALL(w, DeviceCreateCommandEncoder, w->device, NULL);
    put_timed(w, e, b, s, s->first, s->last, &n);
    put_timed(w, e, b, s, s->first2, s->last2, &n);
    if (n) {
        CALL(w, CommandEncoderResolveQuerySet, e, w->queries, 0, 2 * n, w->resolved, 0);
        CALL(w, CommandEncoderCopyBufferToBuffer, e, w->resolved, 0, staging, STAMPS_AT,
             16 * (u64)n);
    }
    if (s->read_ring >= 0) ring_copy(w, e, b, s->read_ring, staging);
    if (!hand_over(d, e, S("a submit"), err)) {
        CALL(w, BufferRelease, staging);
        return false;
    }
    Await *a = await_new(d, &w->reads, t);
    a->staging = staging;
    a->size = size;
    a->times = s->times;
    a->ntimes = (int)n;
    answer_mapped(w, a);
    return wgpu_fine(d, ERR_DEVICE_FAILED, S("a submit"), err);
}

static bool submit(Device *d, Ticket t, const Submit *s, Err *err) {
    Wgpu *w = d->self;
    const WgpuBound *b = &w->bounds.at[handle_index(s->bound.id)];
    const Program *p = b->bind.program;
    Await *token = NULL;
    if (!pipelines_ready(d, &b->bind, s->regime, s->first, s->last, err) ||
        !pipelines_ready(d, &b->bind, s->regime, s->first2, s->last2, err) ||
        (s->read_ring >= 0 && !s->times && !(token = token_await(d, t, err))))
        return false;
    size_t head = (size_t)(PARAM_ROWS + ROW_WORDS * s->n) * 4; // what lies behind it is not read
    WgBuffer params = w->buffers.at[handle_index(b->bind.buffers[p->buf_params].id)];
    CALL(w, QueueWriteBuffer, w->queue, params, 0, s->params, head);
    if (s->times) return submit_timed(d, t, s, b, err);
    WgEncoder e = CALL(w, DeviceCreateCommandEncoder, w->device, NULL);
    WgPass pass = CALL(w, CommandEncoderBeginComputePass, e, NULL);
    put_steps(w, pass, b, s, s->first, s->last);
    put_steps(w, pass, b, s, s->first2, s->last2);
    CALL(w, ComputePassEncoderEnd, pass);
    CALL(w, ComputePassEncoderRelease, pass);
    if (token) ring_copy(w, e, b, s->read_ring, token->staging);
    if (!hand_over(d, e, S("a submit"), err)) {
        if (token) await_done(token);
        return false;
    }
    if (token)
        answer_mapped(w, token);
    else
        answer_when_done(d, t);
    return wgpu_fine(d, ERR_DEVICE_FAILED, S("a submit"), err);
}

static void poll(Device *d) {
    Wgpu *w = d->self;
    CALL(w, DevicePoll, w->device, false, NULL);
    take_mapped(d);
}

void wgpu_destroy(Device *d) {
    Wgpu *w = d->self;
    CALL(w, DeviceDestroy, w->device);
    CALL(w, DevicePoll, w->device, false, NULL);
}

// ---- opening and closing ------------------------------------------------------------------------

static void close_wgpu(Device *d) {
    Wgpu *w = d->self;
    w->closed = true;
    if (w->device && w->awaited && !d->lost) CALL(w, DevicePoll, w->device, true, NULL);
    take_mapped(d);
    for (u32 i = 0; i < w->bounds.n; i++) unbind(d, i);
    for (u32 i = 0; i < w->kernels.n; i++) kernel_free(d, i);
    for (u32 i = 0; i < w->buffers.n; i++) buffer_free(d, i);
    for (Await *a = w->tokens; a; a = a->next)
        if (a->staging) CALL(w, BufferRelease, a->staging);
    for (size_t i = 0; i < w->layouts.n; i++) {
        CALL(w, PipelineLayoutRelease, w->layouts.at[i].pipeline);
        CALL(w, BindGroupLayoutRelease, w->layouts.at[i].group);
    }
    w->bounds.n = w->kernels.n = w->buffers.n = w->layouts.n = 0;
    if (w->resolved) CALL(w, BufferRelease, w->resolved);
    if (w->queries) CALL(w, QuerySetRelease, w->queries);
    w->resolved = NULL, w->queries = NULL;
    if (w->queue) CALL(w, QueueRelease, w->queue);
    if (w->device) CALL(w, DeviceRelease, w->device);
    if (w->adapter) CALL(w, AdapterRelease, w->adapter);
    if (w->instance) CALL(w, InstanceRelease, w->instance);
    w->queue = NULL, w->device = NULL, w->adapter = NULL, w->instance = NULL;
    // the library stays loaded: drivers keep threads of their own
}

static const DeviceVt vt = {"webgpu",     true,        profile,     buffer_make, buffer_free,
                            buffer_write, buffer_read, kernel_make, kernel_free, bind,
                            unbind,       submit,      poll,        close_wgpu};

bool wgpu_open(Device *d, const DeviceOptions *o, Err *err);

bool wgpu_open(Device *d, const DeviceOptions *o, Err *err) {
    (void)o;
    Wgpu *w = NEW(d->arena, Wgpu);
    w->mapped_end = &w->mapped;
    d->self = w;
    if (!wgpu_library(w, err)) return false;
    if (wgpu_device(d, err)) {
        d->vt = &vt;
        return true;
    }
    close_wgpu(d);
    return false;
}

#else
typedef int device_wgpu_is_native_only; // a translation unit must hold a declaration
#endif
