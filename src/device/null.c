// device/null.c: a device that computes nothing: for tests, for looking at plans, and the blank for
// a new backend.
//
// It keeps only small buffers (the token ring, parameters, logits), so that a file of any size
// streams through; its "sampler" writes a token that a test's script chooses. The script also says
// which call fails or loses the device, and counts the calls. To write a device: copy this file,
// fill the functions, add one row to device.c.
#include "device/device.h"

#define KEEP_MAX ((u64)1 << 20) // buffers up to this size really hold their bytes

typedef struct NullBuffer {
    Arena *arena;
    u8 *bytes;
    u64 size;
} NullBuffer;

typedef struct Held { // an answer that waits for its poll
    Ticket ticket;
    i32 token;
    u32 due;       // polls
    double due_ms; // by the clock
} Held;

typedef struct Null {
    NullScript *script, own;
    VEC(NullBuffer) buffers; // by index
    VEC(DeviceBind) binds;
    Held held[TICKETS_MAX];
    u32 nheld;
    double busy_ms; // until then by the clock
} Null;

static bool profile(Device *d, Profile *out, Err *err) {
    (void)d;
    return profile_named(S("cpu"), out) ||
           err_set(err, ERR_DEVICE_UNKNOWN, "there is no profile named cpu");
}

// Every call that a test can make fail passes here.
static bool call(Device *d, u32 *counter, Err *err) {
    NullScript *s = ((Null *)d->self)->script;
    s->calls++;
    ++*counter;
    if (s->calls == s->lose_call) {
        device_set_lost(d);
        return err_set(err, ERR_DEVICE_LOST, "the device is gone; open the model again");
    }
    return s->calls != s->fail_call ||
           err_set(err, ERR_DEVICE_FAILED, "call %u failed as the script says", s->calls);
}

static void answer(Device *d, Ticket t, i32 token) {
    Null *n = d->self;
    const NullScript *s = n->script;
    double at = MAX2(clock_ms(), n->busy_ms), tick = s->tick_ms;
    if (tick > 0) at = ((double)(u64)(at / tick) + 1) * tick;
    if (s->async && n->nheld < TICKETS_MAX)
        n->held[n->nheld++] = (Held){t, token, s->polls + s->poll_after, at};
    else
        device_answer(d, t, ERR_NONE, token);
}

static bool buffer_make(Device *d, u32 index, u64 size, BufferKind kind, Err *err) {
    (void)kind;
    Null *n = d->self;
    n->script->buffers++;
    while (n->buffers.n <= index) vec_push(d->arena, &n->buffers, (NullBuffer){0});
    NullBuffer *b = &n->buffers.at[index];
    *b = (NullBuffer){.size = size};
    if (size > KEEP_MAX) return true;
    b->arena = arena_new(NULL);
    b->bytes = b->arena ? arena_try(b->arena, size, 1) : NULL;
    return b->bytes || err_set(err, ERR_OUT_OF_MEMORY, "a buffer of %U bytes", size);
}

static void buffer_free(Device *d, u32 index) {
    NullBuffer *b = &((Null *)d->self)->buffers.at[index];
    arena_free(b->arena);
    *b = (NullBuffer){0};
}

static bool buffer_write(Device *d, Ticket t, u32 index, u64 off, const void *src, u64 n,
                         Err *err) {
    Null *self = d->self;
    if (!call(d, &self->script->writes, err)) return false;
    self->script->bytes_written += n;
    NullBuffer *b = &self->buffers.at[index];
    if (b->bytes) memcpy(b->bytes + off, src, (size_t)n);
    answer(d, t, 0);
    return true;
}

static bool buffer_read(Device *d, Ticket t, u32 index, u64 off, void *dst, u64 n, Err *err) {
    Null *self = d->self;
    if (!call(d, &self->script->reads, err)) return false;
    NullBuffer *b = &self->buffers.at[index];
    if (b->bytes)
        memcpy(dst, b->bytes + off, (size_t)n);
    else
        memset(dst, 0, (size_t)n);
    answer(d, t, 0);
    return true;
}

static bool kernel_make(Device *d, Ticket t, u32 index, const ProgKernel *k, Err *err) {
    (void)index, (void)k;
    if (!call(d, &((Null *)d->self)->script->kernels, err)) return false;
    answer(d, t, 0);
    return true;
}

static void kernel_free(Device *d, u32 index) { (void)d, (void)index; }

static bool bind(Device *d, u32 index, const DeviceBind *b, Err *err) {
    (void)err;
    Null *n = d->self;
    while (n->binds.n <= index) vec_push(d->arena, &n->binds, (DeviceBind){0});
    n->binds.at[index] = *b;
    return true;
}

static void unbind(Device *d, u32 index) { ((Null *)d->self)->binds.at[index] = (DeviceBind){0}; }

static bool submit(Device *d, Ticket t, const Submit *s, Err *err) {
    Null *n = d->self;
    if (!call(d, &n->script->submits, err)) return false;
    const DeviceBind *b = &n->binds.at[handle_index(s->bound.id)];
    i32 *ring = (i32 *)n->buffers.at[handle_index(b->buffers[b->program->buf_ring].id)].bytes;
    for (u32 i = 0; s->last2 > s->first2 && i < s->m; i++) { // a sampler ran
        i32 pos = s->params[PARAM_ROWS + ROW_WORDS * i + ROW_NEXT];
        ring[pos & (TOKEN_RING - 1)] =
            n->script->token ? n->script->token(n->script->user, pos, ring) : pos + 1;
    }
    n->busy_ms = MAX2(clock_ms(), n->busy_ms) + n->script->step_ms;
    answer(d, t, s->read_ring < 0 ? 0 : ring[s->read_ring]);
    return true;
}

static void poll(Device *d) {
    Null *n = d->self;
    n->script->polls++;
    u32 k = 0;
    for (u32 i = 0; i < n->nheld; i++) {
        if (n->held[i].due <= n->script->polls && n->held[i].due_ms <= clock_ms())
            device_answer(d, n->held[i].ticket, ERR_NONE, n->held[i].token);
        else
            n->held[k++] = n->held[i];
    }
    n->nheld = k;
}

static void close_null(Device *d) {
    Null *n = d->self;
    for (size_t i = 0; i < n->buffers.n; i++) arena_free(n->buffers.at[i].arena);
    n->buffers.n = 0;
}

static const DeviceVt sync_vt = {"null",       false,       profile,     buffer_make, buffer_free,
                                 buffer_write, buffer_read, kernel_make, kernel_free, bind,
                                 unbind,       submit,      poll,        close_null};
static const DeviceVt async_vt = {"null",       true,        profile,     buffer_make, buffer_free,
                                  buffer_write, buffer_read, kernel_make, kernel_free, bind,
                                  unbind,       submit,      poll,        close_null};

bool null_open(Device *d, const DeviceOptions *o, Err *err) {
    (void)err;
    Null *n = NEW(d->arena, Null);
    n->script = o->self ? o->self : &n->own;
    d->self = n;
    d->vt = n->script->async ? &async_vt : &sync_vt;
    return true;
}
