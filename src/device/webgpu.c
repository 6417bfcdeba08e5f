// device/webgpu.c: the browser's GPU: work becomes a list of commands in linear memory, which the
// page executes.
//
// Nothing of WebGPU's API is here, and no decision is left to the page: it makes the buffers,
// pipelines and bind groups that the list names, and copies numbers. The list is handed over once a
// submit (one crossing a token), before a large write (whose bytes are not copied twice) and when
// somebody polls. Queue order is program order, so one parameter block is enough: writing the next
// token's block cannot overtake the step that reads this one's.
#include "device/webgpu.h"

enum { INLINE_BYTES = 4096, LIST_WORDS = 16384 };

typedef struct Webgpu {
    const WebgpuHost *host;
    u32 *words;
    u32 n, cap;
    VEC(DeviceBind) binds; // by handle index
} Webgpu;

static void flush(Webgpu *w) {
    u32 n = w->n;
    w->n = 0;
    if (n) w->host->run(w->host->user, w->words, n);
}

// Room for one command; lists are short but for the one that binds a program.
static u32 *command(Device *d, WebgpuOp op, u64 words, Err *err) {
    Webgpu *w = d->self;
    if (words >= (u64)1 << 24) {
        err_set(err, ERR_DEVICE_LIMIT, "a command of %U words", words);
        return NULL;
    }
    if (w->n && w->n + words + 1 > LIST_WORDS) flush(w);
    if (w->n + words + 1 > w->cap) {
        u32 cap = (u32)MAX2((u64)LIST_WORDS, words + 1);
        u32 *at = arena_try(d->arena, cap, sizeof *at);
        if (!at) {
            err_set(err, ERR_OUT_OF_MEMORY, "a command of %U words", words);
            return NULL;
        }
        w->words = at;
        w->cap = cap;
    }
    u32 *c = w->words + w->n;
    w->n += (u32)words + 1;
    *c = (u32)op | (u32)words << 8;
    return c + 1;
}

static u32 *put64(u32 *c, u64 v) {
    *c++ = (u32)v;
    *c++ = (u32)(v >> 32);
    return c;
}

static bool profile(Device *d, Profile *out, Err *err) {
    (void)err;
    *out = ((Webgpu *)d->self)->host->profile;
    return true;
}

static bool buffer_make(Device *d, u32 index, u64 size, BufferKind kind, Err *err) {
    const Profile *p = &((Webgpu *)d->self)->host->profile;
    if (size > (u64)p->max_buffer_bytes)
        return err_set(err, ERR_DEVICE_LIMIT,
                       "a buffer of %U MB is needed and this adapter allows %D MB; use the CPU or "
                       "a smaller model",
                       size >> 20, p->max_buffer_bytes >> 20);
    u32 *c = command(d, WEBGPU_BUFFER_MAKE, 4, err);
    if (!c) return false;
    *c++ = index;
    c = put64(c, size);
    *c = kind;
    return true;
}

static void buffer_free(Device *d, u32 index) {
    u32 *c = command(d, WEBGPU_BUFFER_FREE, 1, NULL);
    if (c) *c = index;
}

static bool buffer_write(Device *d, Ticket t, u32 index, u64 off, const void *src, u64 n,
                         Err *err) {
    bool copy = n > INLINE_BYTES;
    u32 *c =
        command(d, copy ? WEBGPU_BUFFER_COPY : WEBGPU_BUFFER_WRITE, 5 + (copy ? 1 : n / 4), err);
    if (!c) return false;
    *c++ = t;
    *c++ = index;
    c = put64(c, off);
    *c++ = (u32)n;
    if (copy) {
        *c = (u32)(uintptr_t)src;
        flush(d->self);
    } else {
        memcpy(c, src, (size_t)n);
    }
    return true;
}

static bool buffer_read(Device *d, Ticket t, u32 index, u64 off, void *dst, u64 n, Err *err) {
    u32 *c = command(d, WEBGPU_BUFFER_READ, 6, err);
    if (!c) return false;
    *c++ = t;
    *c++ = index;
    c = put64(c, off);
    *c++ = (u32)n;
    *c = (u32)(uintptr_t)dst;
    return true;
}

static bool kernel_make(Device *d, Ticket t, u32 index, const ProgKernel *k, Err *err) {
    if (k->text.len == 0)
        return err_set(err, ERR_DEVICE_KERNEL, "kernel %S was not printed for this device",
                       k->name);
    u32 *c = command(d, WEBGPU_KERNEL_MAKE, 8, err);
    if (!c) return false;
    u32 writes = 0;
    for (int i = 0; i < k->nbind; i++) writes |= (u32)k->writes[i] << i;
    *c++ = t;
    *c++ = index;
    *c++ = (u32)(uintptr_t)k->name.ptr;
    *c++ = (u32)k->name.len;
    *c++ = (u32)(uintptr_t)k->text.ptr;
    *c++ = (u32)k->text.len;
    *c++ = (u32)k->nbind;
    *c = writes;
    return true;
}

static void kernel_free(Device *d, u32 index) {
    u32 *c = command(d, WEBGPU_KERNEL_FREE, 1, NULL);
    if (c) *c = index;
}

static bool bind(Device *d, u32 index, const DeviceBind *b, Err *err) {
    Webgpu *w = d->self;
    const Program *p = b->program;
    u64 words = 4;
    for (int r = 0; r < REGIME_COUNT; r++) {
        words += 2;
        for (int i = 0; i < p->regimes[r].nsteps; i++)
            words += 2 + 5 * (u64)p->kernels[p->regimes[r].steps[i].kernel].nbind;
    }
    u32 *c = command(d, WEBGPU_BIND, words, err);
    if (!c) return false;
    *c++ = index;
    *c++ = handle_index(b->buffers[p->buf_params].id);
    *c++ = handle_index(b->buffers[p->buf_ring].id);
    *c++ = REGIME_COUNT;
    for (int r = 0; r < REGIME_COUNT; r++) {
        *c++ = (u32)p->regimes[r].nsteps;
        // soon wanted: all but the choice of a token, whose first step greedy and sampled ones
        // share
        *c++ = r == REGIME_FEW ? 0 : (u32)MIN2(p->regimes[r].greedy + 1, p->regimes[r].sample);
        for (int i = 0; i < p->regimes[r].nsteps; i++) {
            const Step *s = &p->regimes[r].steps[i];
            int nbind = p->kernels[s->kernel].nbind;
            *c++ = handle_index(b->kernels[s->kernel].id);
            *c++ = (u32)nbind;
            for (int k = 0; k < nbind; k++) {
                *c++ = handle_index(b->buffers[s->bind[k].buffer].id);
                c = put64(c, s->bind[k].offset);
                c = put64(c, s->bind[k].size);
            }
        }
    }
    while (w->binds.n <= index) vec_push(d->arena, &w->binds, (DeviceBind){0});
    w->binds.at[index] = *b;
    return true;
}

static void unbind(Device *d, u32 index) {
    u32 *c = command(d, WEBGPU_UNBIND, 1, NULL);
    if (c) *c = index;
    ((Webgpu *)d->self)->binds.at[index] = (DeviceBind){0};
}

static u32 *put_steps(u32 *c, const Submit *s, const Program *p, int first, int last) {
    for (int i = first; i < last; i++, c += 3) {
        *c++ = (u32)i;
        step_grid(p, &p->regimes[s->regime].steps[i], s->n, s->m, c);
    }
    return c;
}

static bool submit(Device *d, Ticket t, const Submit *s, Err *err) {
    Webgpu *w = d->self;
    u32 index = handle_index(s->bound.id);
    const Program *p = w->binds.at[index].program;
    u32 head = PARAM_ROWS + ROW_WORDS * s->n; // what lies behind it is not read
    u32 steps = (u32)(s->last - s->first + s->last2 - s->first2);
    u32 *c = command(d, WEBGPU_SUBMIT, 6 + (u64)head + 4 * (u64)steps, err);
    if (!c) return false;
    *c++ = t;
    *c++ = index;
    *c++ = (u32)s->regime;
    *c++ = (u32)s->read_ring;
    *c++ = head;
    *c++ = steps;
    memcpy(c, s->params, head * 4);
    c += head;
    c = put_steps(c, s, p, s->first, s->last);
    put_steps(c, s, p, s->first2, s->last2);
    flush(w);
    return true;
}

static void poll(Device *d) { flush(d->self); }

static void close_webgpu(Device *d) { flush(d->self); }

static const DeviceVt vt = {"webgpu",     true,        profile,     buffer_make, buffer_free,
                            buffer_write, buffer_read, kernel_make, kernel_free, bind,
                            unbind,       submit,      poll,        close_webgpu};

bool webgpu_open(Device *d, const DeviceOptions *o, Err *err);

bool webgpu_open(Device *d, const DeviceOptions *o, Err *err) {
    const WebgpuHost *host = o->self;
    if (!host || !host->run)
        return err_set(err, ERR_DEVICE_UNKNOWN, "the webgpu device is for pages only");
    Webgpu *w = NEW(d->arena, Webgpu);
    w->host = host;
    d->self = w;
    d->vt = &vt;
    return true;
}

void webgpu_answer(Device *d, Ticket t, bool ok, i32 token) {
    device_answer(d, t, ok ? ERR_NONE : ERR_DEVICE_FAILED, token);
}

void webgpu_lost(Device *d) { device_set_lost(d); }
