// device/cpu.c: programs on this machine's processor: kernels of the build-time menu, shared among
// threads.
//
// A step is one kernel called for a range of its outermost loop; the range is cut into one
// contiguous piece a thread (fork and join a step); in a page the pieces are smaller, and who has
// done its own takes what others have left (web/src/team.ts). A kernel that the menu lacks runs in
// the interpreter, through a callback, and the log says so once. Work is done inside submit(), so
// that every ticket is answered at once and run-ahead gains nothing.
//
// A prompt is bound by arithmetic, which every thread adds to, one row by memory and by waiting for
// one another. So tokens are timed, the first few with all threads, the next with half as many, and
// so on while fewer are as fast; which results there are does not depend on it.
#include "device/device.h"

typedef struct CpuBuffer {
    Arena *arena; // one a buffer, so that it can be freed alone
    u8 *bytes;    // aligned to 64
    u64 size;
} CpuBuffer;

typedef struct CpuKernel {
    KernelFn fn;
    const ProgKernel *k;
    bool said; // that it runs in the interpreter
} CpuKernel;

enum { PACE_TOKENS = 6, PACE_STEPS = 8 }; // timed with a number of threads; the least a token has
#define PACE_WORTH 0.95 // of the time with half as many threads: more must be faster than that

typedef struct Pace {
    int threads;
    int tokens;        // timed with them
    double ms, before; // the fastest of those; the same with twice as many threads, 0: none
    bool settled;
} Pace;

typedef struct Cpu {
    Pool *pool;
    Pace pace;
    KernelTables tables;
    DeviceOptions o;
    VEC(CpuBuffer) buffers; // each by handle index
    VEC(CpuKernel) kernels;
    VEC(DeviceBind) binds;
    Arena *scratch; // the interpreter's
} Cpu;

// One step as its threads see it.
typedef struct Share {
    KernelFn fn;
    void *arg[STEP_MAX_BINDINGS];
    const i32 *dims;
    u32 extent;
    int threads;
} Share;

// A step with less work than this is not worth waking others for; a piece of a step in a page has
// at least so much.
#define SERIAL_WORK 40000

static int threads(const Cpu *c) { return c->o.share ? c->o.threads : pool_threads(c->pool); }

static bool profile(Device *d, Profile *out, Err *err) {
    const Cpu *c = d->self;
    Str name = str_c(c->tables.at[0].profile);
    if (!profile_named(name, out))
        return err_set(err, ERR_DEVICE_UNKNOWN, "there is no profile named %S", name);
    out->threads = threads(c);
    return true;
}

static bool buffer_make(Device *d, u32 index, u64 size, BufferKind kind, Err *err) {
    (void)kind;
    Cpu *c = d->self;
    while (c->buffers.n <= index) vec_push(d->arena, &c->buffers, (CpuBuffer){0});
    CpuBuffer *b = &c->buffers.at[index];
    b->arena = arena_new(NULL);
    // vectors may read a whole one at the end
    u8 *p = b->arena && size < SIZE_MAX - 256 ? arena_try(b->arena, size + 128, 1) : NULL;
    if (!p) {
        arena_free(b->arena);
        *b = (CpuBuffer){0};
        return err_set(err, ERR_OUT_OF_MEMORY, "a buffer of %U MB; use a smaller context or model",
                       size >> 20);
    }
    b->bytes = (u8 *)(((uintptr_t)p + 63) & ~(uintptr_t)63);
    b->size = size;
    return true;
}

static void buffer_free(Device *d, u32 index) {
    CpuBuffer *b = &((Cpu *)d->self)->buffers.at[index];
    arena_free(b->arena);
    *b = (CpuBuffer){0};
}

static bool buffer_write(Device *d, Ticket t, u32 index, u64 off, const void *src, u64 n,
                         Err *err) {
    (void)err;
    memcpy(((Cpu *)d->self)->buffers.at[index].bytes + off, src, (size_t)n);
    device_answer(d, t, ERR_NONE, 0);
    return true;
}

static bool buffer_read(Device *d, Ticket t, u32 index, u64 off, void *dst, u64 n, Err *err) {
    (void)err;
    memcpy(dst, ((Cpu *)d->self)->buffers.at[index].bytes + off, (size_t)n);
    device_answer(d, t, ERR_NONE, 0);
    return true;
}

static bool kernel_make(Device *d, Ticket t, u32 index, const ProgKernel *k, Err *err) {
    Cpu *c = d->self;
    while (c->kernels.n <= index) vec_push(d->arena, &c->kernels, (CpuKernel){0});
    c->kernels.at[index] = (CpuKernel){.fn = kernel_find(&c->tables, k->nest_key), .k = k};
    if (!c->kernels.at[index].fn && (!c->o.interp || !k->ir))
        return err_set(err, ERR_DEVICE_KERNEL,
                       "kernel %S (nest key %016X) is not among the %s kernels", k->name,
                       k->nest_key, c->tables.at[0].isa);
    device_answer(d, t, ERR_NONE, 0);
    return true;
}

static void kernel_free(Device *d, u32 index) {
    ((Cpu *)d->self)->kernels.at[index] = (CpuKernel){0};
}

static bool bind(Device *d, u32 index, const DeviceBind *b, Err *err) {
    (void)err;
    Cpu *c = d->self;
    while (c->binds.n <= index) vec_push(d->arena, &c->binds, (DeviceBind){0});
    c->binds.at[index] = *b;
    return true;
}

static void unbind(Device *d, u32 index) { ((Cpu *)d->self)->binds.at[index] = (DeviceBind){0}; }

static void run_share(void *user, int thread) {
    const Share *s = user;
    u32 begin = (u32)((u64)s->extent * (u32)thread / (u32)s->threads);
    u32 end = (u32)((u64)s->extent * ((u32)thread + 1) / (u32)s->threads);
    if (begin < end) s->fn(s->arg, s->dims, (i32)begin, (i32)end);
}

static bool interpret(Device *d, CpuKernel *k, const Share *s, const Step *st, const u32 grid[3],
                      Err *err) {
    Cpu *c = d->self;
    if (!k->said && c->o.log) {
        char line[256];
        Buf b = {.ptr = line, .cap = sizeof line};
        buf_fmt(&b, "kernel %S is not among the %s kernels: it runs in the interpreter, slowly",
                k->k->name, c->tables.at[0].isa);
        (c->o.log)(c->o.user, buf_str(&b)); // in a page `log(` is JavaScript's
    }
    k->said = true;
    u64 bytes[STEP_MAX_BINDINGS];
    for (int i = 0; i < k->k->nbind; i++) bytes[i] = st->bind[i].size;
    arena_reset(c->scratch);
    return c->o.interp(c->o.user, c->scratch, k->k, s->arg, bytes, st->dims, grid, err) ||
           (err_subject(err, st->name), false);
}

static bool run_step(Device *d, const DeviceBind *b, const Step *st, const Submit *s,
                     u64 params_offset, Err *err) {
    Cpu *c = d->self;
    CpuKernel *k = &c->kernels.at[handle_index(b->kernels[st->kernel].id)];
    bool paced = c->o.paced && s->n == 1;
    Share share = {.fn = k->fn, .dims = st->dims, .threads = paced ? c->pace.threads : threads(c)};
    u32 grid[3]; // a CPU's schedule has but x
    step_grid(b->program, st, s->n, s->m, grid);
    share.extent = grid[0];
    for (int i = 0; i < k->k->nbind; i++) {
        const Binding *bi = &st->bind[i];
        u64 off = bi->offset + (bi->buffer == b->program->buf_params ? params_offset : 0);
        share.arg[i] = c->buffers.at[handle_index(b->buffers[bi->buffer].id)].bytes + off;
    }
    if (!share.fn) return interpret(d, k, &share, st, grid, err);
    u64 work = st->bytes + st->flops;
    if (share.threads == 1 || share.extent < 2 || work < SERIAL_WORK)
        share.fn(share.arg, share.dims, 0, (i32)share.extent);
    else if (!c->o.share)
        pool_run(c->pool, run_share, &share);
    else if (!c->o.share(share.fn, share.arg, share.dims, share.extent,
                         (u32)MIN2(work / (SERIAL_WORK / 2), (u64)share.extent),
                         (u32)share.threads))
        return err_set(err, ERR_DEVICE_FAILED, "one of the threads failed at step %S", st->name);
    return true;
}

static bool run_steps(Device *d, const DeviceBind *b, const Submit *s, int first, int last,
                      StepTime *times, Err *err) {
    u64 params = program_param_stride(b->program) * (u64)s->slot;
    const Step *steps = b->program->regimes[s->regime].steps;
    for (int i = first; i < last; i++) {
        if (times) times->begin = clock_ms();
        if (!run_step(d, b, &steps[i], s, params, err)) return false;
        if (times) times++->end = clock_ms();
    }
    return true;
}

static void pace(Pace *p, double ms) {
    p->ms = p->tokens++ ? MIN2(p->ms, ms) : ms;
    if (p->tokens < PACE_TOKENS) return;
    if (p->before != 0 && p->before < p->ms * PACE_WORTH) {
        p->threads *= 2;
        p->settled = true;
    } else if (p->threads % 2) {
        p->settled = true;
    } else {
        *p = (Pace){.threads = p->threads / 2, .before = p->ms};
    }
}

static bool submit(Device *d, Ticket t, const Submit *s, Err *err) {
    Cpu *c = d->self;
    bool whole = s->n == 1 && s->last - s->first >= PACE_STEPS; // token
    bool timed = whole && c->o.paced && !c->pace.settled;
    double start = timed ? clock_ms() : 0;
    const DeviceBind *b = &c->binds.at[handle_index(s->bound.id)];
    const Program *p = b->program;
    u64 params = program_param_stride(p) * (u64)s->slot;
    memcpy(c->buffers.at[handle_index(b->buffers[p->buf_params].id)].bytes + params, s->params,
           program_param_words(p) * 4);
    StepTime *more = s->times ? s->times + (s->last - s->first) : NULL;
    if (!run_steps(d, b, s, s->first, s->last, s->times, err) ||
        !run_steps(d, b, s, s->first2, s->last2, more, err))
        return false;
    if (timed) pace(&c->pace, clock_ms() - start);
    i32 token = 0;
    if (s->read_ring >= 0)
        memcpy(&token,
               c->buffers.at[handle_index(b->buffers[p->buf_ring].id)].bytes + 4 * s->read_ring, 4);
    device_answer(d, t, ERR_NONE, token);
    return true;
}

static void poll(Device *d) { (void)d; }

static void close_cpu(Device *d) {
    Cpu *c = d->self;
    pool_free(c->pool);
    for (size_t i = 0; i < c->buffers.n; i++) arena_free(c->buffers.at[i].arena);
    c->buffers.n = 0;
    arena_free(c->scratch);
}

static const DeviceVt vt = {"cpu",        false,       profile,     buffer_make, buffer_free,
                            buffer_write, buffer_read, kernel_make, kernel_free, bind,
                            unbind,       submit,      poll,        close_cpu};

bool cpu_open(Device *d, const DeviceOptions *o, Err *err) {
    if (o->threads < 0 || o->threads > 1024)
        return err_set(err, ERR_DEVICE_RANGE, "%d threads; give 1 to 1024, or 0 for one a core",
                       o->threads);
    Cpu *c = NEW(d->arena, Cpu);
    c->o = *o;
    c->tables = cpu_kernels();
    c->pool = pool_new(d->arena, o->share ? 1 : o->threads ? o->threads : cpu_count());
    c->scratch = arena_new(NULL);
    if (!c->pool || !c->scratch)
        return err_set(err, ERR_OUT_OF_MEMORY, "threads cannot be started; give fewer");
    c->pace.threads = threads(c);
    d->self = c;
    d->timed = INT32_MAX;
    d->vt = &vt;
    return true;
}
