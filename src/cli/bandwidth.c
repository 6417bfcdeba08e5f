// cli/bandwidth.c: how fast a device reads memory at best: what decoding, which reads every weight
// once a token, is held against.
//
// A processor sums a block far larger than its caches, each thread a part of it, as its threads
// share a step. Any other device runs a kernel that does the same. The best of some passes
// counts: whatever else happens on the machine only makes them slower.
#include "cli/probe.h"
#include "emit/emit.h"

enum { PASSES = 8, GROUPS = 2048, LANES = 64 };
#define BLOCK_BYTES ((u64)256 << 20)

// ---- a processor --------------------------------------------------------------------------------

typedef u64 Wide __attribute__((vector_size(64)));

typedef struct Reading {
    const Wide *at;
    size_t n;
    int threads, streams;
    u64 sums[256]; // by thread, so that nothing is left out
} Reading;

#if defined(__x86_64__) && defined(__GLIBC__)
#define EACH_PROCESSOR __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define EACH_PROCESSOR
#endif

// One stream of bytes, or four: which of them a processor fetches ahead better is its own affair.
EACH_PROCESSOR static u64 sum_of(const Wide *at, size_t n, int streams) {
    Wide a = {0}, b = {0}, c = {0}, d = {0};
    size_t apart = streams == 1 ? 1 : n / 4, step = streams == 1 ? 4 : 1;
    for (size_t i = 0, end = streams == 1 ? n / 4 * 4 : n / 4; i < end; i += step) {
        a += at[i];
        b += at[i + apart];
        c += at[i + 2 * apart];
        d += at[i + 3 * apart];
    }
    a += b + c + d;
    u64 sum = 0;
    for (int i = 0; i < 8; i++) sum += a[i];
    return sum;
}

static void read_part(void *user, int thread) {
    Reading *r = user;
    size_t part = r->n / (size_t)r->threads;
    u64 sum = sum_of(r->at + part * (size_t)thread, part, r->streams);
    r->sums[thread & 255] += sum;
}

static bool of_processor(int threads, double *gbps, Err *err) {
    Arena *a = arena_new(NULL);
    u64 size = BLOCK_BYTES;
    u8 *block = a ? arena_try(a, size + 64, 1) : NULL;
    Pool *pool = block ? pool_new(a, threads) : NULL;
    if (!pool) {
        arena_free(a);
        return err_set(err, ERR_OUT_OF_MEMORY, "%U MB to measure the memory's speed with",
                       size >> 20);
    }
    Reading *r = NEW(a, Reading);
    u8 *at = (u8 *)(((uintptr_t)block + 63) & ~(uintptr_t)63);
    memset(at, 1, (size_t)size);
    r->at = (const Wide *)at;
    r->n = (size_t)size / sizeof(Wide);
    r->threads = pool_threads(pool);
    double best = 0;
    for (int i = 0; i < 2 * PASSES; i++) {
        r->streams = i % 2 ? 4 : 1;
        double start = clock_ms();
        pool_run(pool, read_part, r);
        double ms = clock_ms() - start;
        if (ms > 0) best = MAX2(best, (double)size / ms / 1e6);
    }
    *gbps = r->sums[0] ? best : 0;
    pool_free(pool);
    arena_free(a);
    return true;
}

// ---- a GPU --------------------------------------------------------------------------------------

// Loop IR of a program's one step; binding 0 is what is read. It stores what is never there: so
// that the reads are not left out, and nothing is written.
static Kernel *reading(Arena *a, u64 size, Err *err) {
    u64 threads = (u64)GROUPS * LANES, vectors = size / 16;
    Buf b = {.arena = a};
    buf_fmt(&b,
            "kernel read_memory\n  arg block: u32[%U, 4]\n  arg out: u32[%d] written\n"
            "  wg %d, 1, 1\n  grid %d\n"
            "  for wg.x g in 0..%d {\n    for thread.x t in 0..%d {\n"
            "      reg a: u32[4]\n      reg b: u32[4]\n"
            "      for vec v in 0..4 {\n        a[v] = 0u\n        b[v] = 0u\n      }\n"
            "      for i in 0..%U {\n        for vec v in 0..4 {\n"
            "          a[v] = a[v] + block[i * %U + g * %d + t, v]\n"
            "          b[v] = b[v] + block[i * %U + g * %d + t + %U, v]\n"
            "        }\n      }\n"
            "      if a[0] + a[1] + a[2] + a[3] + b[0] + b[1] + b[2] + b[3] == 1u {\n"
            "        out[t] = 1u\n      }\n    }\n  }\n",
            vectors, (i32)LANES, (i32)LANES, (i32)GROUPS, (i32)GROUPS, (i32)LANES,
            vectors / threads / 2, 2 * threads, (i32)LANES, 2 * threads, (i32)LANES, threads);
    return kernel_read(a, buf_str(&b), S("read_memory"), err);
}

typedef struct MemReader {
    Arena *arena;
    ProgKernel kernel;
    ProgBuffer buffers[3];
    Step step;
    Program p;
    BufferHandle handles[3];
    KernelHandle made;
    DeviceBind bind;
    BoundHandle bound;
} MemReader;

static bool reader_open(Device *d, const Profile *profile, u64 size, MemReader *r, Err *err) {
    *r = (MemReader){.arena = arena_new(NULL),
                     .kernel = {.name = S("read_memory"), .nbind = 2},
                     .step = {.name = S("read_memory"), .bind = {{2, 0, size}, {1, 0, LANES * 4}}},
                     .p = {.profile = *profile,
                           .ctx = 1,
                           .chunk = 1,
                           .m_max = 1,
                           .vocab = 1,
                           .nkernels = 1,
                           .nbuffers = 3}};
    if (!r->arena) return err_set(err, ERR_OUT_OF_MEMORY, "nothing is left for one kernel");
    Buf text = {.arena = r->arena};
    const Kernel *k = reading(r->arena, size, err);
    if (!k || !emit_kernel(&dialect_wgsl, k, profile, &text, err)) return false;
    r->kernel.text = buf_str(&text);
    Ticket t;
    r->kernel.writes[1] = true;
    for (int i = 0; i < 3; i++) r->step.grid[i] = (GridDim){0, i ? 1 : GROUPS, 1, 1, false};
    r->p.kernels = &r->kernel;
    r->p.buffers = r->buffers;
    r->p.buf_ring = r->p.buf_logits = 1;
    r->p.regimes[0] = (Regime){.n = 1, .m = 1, .nsteps = 1, .steps = &r->step};
    r->buffers[0] = (ProgBuffer){.kind = BUF_PARAMS, .size = (u64)256 * PARAM_SLOTS};
    r->buffers[1] = (ProgBuffer){.kind = BUF_RING, .size = TOKEN_RING * 4};
    r->buffers[2] = (ProgBuffer){.kind = BUF_WEIGHT, .size = size};
    r->bind = (DeviceBind){&r->p, r->handles, &r->made};
    for (int i = 0; i < 3; i++)
        if (!device_buffer_make(d, r->buffers[i].size, r->buffers[i].kind, &r->handles[i], err))
            return false;
    return device_kernel_make(d, &r->kernel, &r->made, &t, err) &&
           engine_settle(d, 0, err) != ENGINE_FAILED && device_bind(d, &r->bind, &r->bound, err);
}

static void reader_close(Device *d, MemReader *r) {
    device_unbind(d, r->bound);
    device_kernel_free(d, r->made);
    for (int i = 0; i < 3; i++) device_buffer_free(d, r->handles[i]);
    arena_free(r->arena);
}

// Milliseconds of one pass, by the device's clock where it has one; negative: it failed.
static double pass_ms(Device *d, const MemReader *r, Err *err) {
    i32 params[PARAM_ROWS + ROW_WORDS] = {0};
    StepTime t = {0};
    Submit s = {.bound = r->bound,
                .last = 1,
                .n = 1,
                .t = 1,
                .params = params,
                .read_ring = -1,
                .times = d->timed ? &t : NULL};
    double start = clock_ms();
    if (!device_submit(d, &s, err)) return -1;
    for (EngineState e; (e = engine_settle(d, 0, err)) != ENGINE_WORKING;)
        if (e == ENGINE_FAILED) return -1;
    return d->timed ? t.end - t.begin : clock_ms() - start;
}

static bool of_gpu(Device *d, const Profile *p, double *gbps, Err *err) {
    const u64 step = (u64)2 * GROUPS * LANES * 16; // what all threads read in one turn
    u64 most = (u64)MIN2(p->max_binding_bytes, p->max_buffer_bytes);
    u64 size = MIN2(BLOCK_BYTES, most) / step * step;
    MemReader r;
    if (!size) return true;
    bool ok = reader_open(d, p, size, &r, err);
    for (int i = 0; i < PASSES && ok; i++) {
        double ms = pass_ms(d, &r, err);
        ok = ms >= 0;
        if (ok && ms > 0) *gbps = MAX2(*gbps, (double)size / ms / 1e6);
    }
    reader_close(d, &r);
    return ok;
}

bool bandwidth_of(Device *d, double *gbps, Err *err) {
    *gbps = 0;
    Profile own; // not one that was given: these are the device's limits
    if (!device_profile(d, &own, err)) return false;
    Str name = str_c(d->vt->name);
    if (str_eq(name, S("null"))) return true;
    if (str_eq(name, S("cpu"))) return of_processor((int)own.threads, gbps, err);
    double memory; // a GPU in software reads this, and no faster than a processor does
    if (!of_gpu(d, &own, gbps, err) || !of_processor(cpu_count(), &memory, err)) return false;
    *gbps = MAX2(*gbps, memory);
    return true;
}
