// device/device.c: the front of every device: the table of backends, handles, tickets, and the
// checks.
//
// A call is checked here once (is the device there, is the handle live, does the range lie inside),
// then backends trust it. A handle is an index and a generation: a freed buffer's handle stays an
// error however often its place is used again. Tickets are numbered in order; what is out is kept
// in a ring, so that when the device is lost each of them comes back lost, whatever the backend
// still does.
#include "device/device.h"

bool null_open(Device *d, const DeviceOptions *o, Err *err);
bool cpu_open(Device *d, const DeviceOptions *o, Err *err);
bool webgpu_open(Device *d, const DeviceOptions *o, Err *err);
bool wgpu_open(Device *d, const DeviceOptions *o, Err *err);

static const DeviceRow rows[] = {
    {"cpu", cpu_open}, // this machine's processor, by kernels compiled for it
#if !defined(HOB_PAGE)
    {"null", null_open}, // computes nothing: for tests and for looking at plans
#endif
#if defined(__wasm__)
    {"webgpu", webgpu_open}, // the browser's GPU, through a list of commands
#else
    {"webgpu", wgpu_open}, // this machine's GPU, by the library wgpu-native
#endif
};

typedef struct Slot {
    u16 generation; // of what lives here now, or of what will
    bool live;
    u64 size; // buffers
    const DeviceBind *bind;
    DeviceBind copy;
} Slot;

typedef struct Slots {
    Slot *at; // 1-based: at[0] is not used
    u32 n;
} Slots;

typedef struct Out { // a ticket that was handed out and not polled yet
    Ticket ticket;
    PollStatus status; // POLL_NOTHING: not answered yet
    ErrId error;
    i32 token;
} Out;

struct DeviceTables {
    Slots buffers, kernels, bounds;
    Out out[TICKETS_MAX]; // oldest first from `head`
    u32 head, count;
    Ticket next;
};

bool device_known(Str name) {
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        if (str_eq(name, str_c(rows[i].name))) return true;
    return false;
}

void device_names(Buf *out) {
    for (size_t i = 0; i < COUNT_OF(rows); i++) buf_fmt(out, "%s%s", i ? ", " : "", rows[i].name);
}

bool device_open(Arena *a, Str name, const DeviceOptions *o, Device **out, Err *err) {
    static const DeviceOptions none;
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (str_eq(name, str_c(rows[i].name))) {
            Device *d = NEW(a, Device);
            d->arena = a;
            d->tables = NEW(a, DeviceTables);
            d->tables->next = 1;
            if (!rows[i].open(d, o ? o : &none, err)) return false;
            *out = d;
            return true;
        }
    }
    Buf known = {.arena = a};
    device_names(&known);
    return err_set(err, ERR_DEVICE_UNKNOWN, "`%S` is no device of this build; it has: %S", name,
                   buf_str(&known));
}

// ---- handles ------------------------------------------------------------------------------------

static u32 slot_new(Device *d, Slots *s, Err *err) {
    u32 i = 1;
    while (i <= s->n && s->at[i].live) i++;
    if (i > s->n) {
        if (i >= HANDLES_MAX) {
            err_set(err, ERR_DEVICE_LIMIT, "more than %d handles of one kind are open",
                    HANDLES_MAX - 1);
            return 0;
        }
        u32 more = MAX2(64u, s->n * 2);
        Slot *at = NEW_N(d->arena, Slot, more + 1);
        if (s->n) memcpy(at, s->at, sizeof *at * (s->n + 1));
        s->at = at;
        s->n = more;
    }
    s->at[i].live = true;
    s->at[i].generation = (u16)(s->at[i].generation == UINT16_MAX ? 1 : s->at[i].generation + 1);
    return i;
}

static u32 slot_id(const Slots *s, u32 i) {
    return (u32)s->at[i].generation << HANDLE_INDEX_BITS | i;
}

static Slot *slot_get(const Slots *s, u32 id) {
    u32 i = handle_index(id);
    bool good =
        i > 0 && i <= s->n && s->at[i].live && s->at[i].generation == id >> HANDLE_INDEX_BITS;
    return good ? &s->at[i] : NULL;
}

static bool usable(const Device *d, Err *err) {
    return !d->lost || err_set(err, ERR_DEVICE_LOST, "the device is gone; open the model again");
}

// ---- tickets ------------------------------------------------------------------------------------

static Ticket ticket_new(Device *d, Err *err) {
    DeviceTables *t = d->tables;
    if (t->count == TICKETS_MAX) {
        err_set(err, ERR_DEVICE_LIMIT, "%d answers are waiting to be polled", TICKETS_MAX);
        return 0;
    }
    if (t->next == 0) t->next = 1;
    t->out[(t->head + t->count++) % TICKETS_MAX] = (Out){.ticket = t->next};
    return t->next++;
}

static Out *ticket_find(DeviceTables *t, Ticket k) {
    // numbers rise by one from the oldest that is out; where some were polled out of order the
    // search goes on
    for (u32 i = 0; i < t->count; i++) {
        Out *o = &t->out[(t->head + i) % TICKETS_MAX];
        if (o->ticket == k) return o;
    }
    return NULL;
}

static void ticket_drop(DeviceTables *t) // the newest: its call was refused
{
    t->count--;
}

void device_answer(Device *d, Ticket k, ErrId error, i32 token) {
    Out *o = ticket_find(d->tables, k);
    if (o && o->status == POLL_NOTHING) *o = (Out){k, error ? POLL_ERROR : POLL_OK, error, token};
}

void device_set_lost(Device *d) {
    d->lost = true;
    DeviceTables *t = d->tables;
    for (u32 i = 0; i < t->count; i++) {
        Out *o = &t->out[(t->head + i) % TICKETS_MAX];
        if (o->status == POLL_NOTHING) *o = (Out){o->ticket, POLL_LOST, ERR_DEVICE_LOST, 0};
    }
}

// Answers come in the order of the tickets: a submit's token before the next one's.
PollResult device_poll(Device *d) {
    DeviceTables *t = d->tables;
    if (!d->lost && (t->count == 0 || t->out[t->head].status == POLL_NOTHING)) d->vt->poll(d);
    if (t->count == 0 || t->out[t->head].status == POLL_NOTHING) return (PollResult){0};
    Out o = t->out[t->head];
    t->head = (t->head + 1) % TICKETS_MAX;
    t->count--;
    return (PollResult){o.ticket, o.status, o.error, o.token};
}

int device_outstanding(const Device *d) { return (int)d->tables->count; }

// ---- checked calls ------------------------------------------------------------------------------

bool device_profile(Device *d, Profile *out, Err *err) { return d->vt->profile(d, out, err); }

bool device_buffer_make(Device *d, u64 size, BufferKind kind, BufferHandle *out, Err *err) {
    if (!usable(d, err)) return false;
    if (size == 0 || size % 4 || size > (u64)1 << 46)
        return err_set(err, ERR_DEVICE_RANGE, "a buffer of %U bytes cannot be made", size);
    Slots *s = &d->tables->buffers;
    u32 i = slot_new(d, s, err);
    if (!i) return false;
    s->at[i].size = size;
    if (!d->vt->buffer_make(d, i, size, kind, err)) {
        s->at[i].live = false;
        return false;
    }
    out->id = slot_id(s, i);
    return true;
}

void device_buffer_free(Device *d, BufferHandle b) {
    Slot *s = slot_get(&d->tables->buffers, b.id);
    if (!s) return;
    d->vt->buffer_free(d, handle_index(b.id));
    s->live = false;
}

static bool range_ok(Device *d, BufferHandle b, u64 off, u64 n, Err *err) {
    if (!usable(d, err)) return false;
    const Slot *s = slot_get(&d->tables->buffers, b.id);
    if (!s) return err_set(err, ERR_DEVICE_HANDLE, "buffer %x is not open", b.id);
    if (n == 0 || n % 4 || off % 4 || off > s->size || n > s->size - off)
        return err_set(err, ERR_DEVICE_RANGE, "bytes %U + %U of a buffer of %U", off, n, s->size);
    return true;
}

Ticket device_buffer_write(Device *d, BufferHandle b, u64 off, const void *src, u64 n, Err *err) {
    Ticket t;
    if (!range_ok(d, b, off, n, err) || !(t = ticket_new(d, err))) return 0;
    if (d->vt->buffer_write(d, t, handle_index(b.id), off, src, n, err)) return t;
    ticket_drop(d->tables);
    return 0;
}

Ticket device_buffer_read(Device *d, BufferHandle b, u64 off, void *dst, u64 n, Err *err) {
    Ticket t;
    if (!range_ok(d, b, off, n, err) || !(t = ticket_new(d, err))) return 0;
    if (d->vt->buffer_read(d, t, handle_index(b.id), off, dst, n, err)) return t;
    ticket_drop(d->tables);
    return 0;
}

bool device_kernel_make(Device *d, const ProgKernel *k, KernelHandle *out, Ticket *ticket,
                        Err *err) {
    Ticket t;
    if (!usable(d, err)) return false;
    if (k->nbind < 1 || k->nbind > STEP_MAX_BINDINGS)
        return err_set(err, ERR_DEVICE_RANGE, "kernel %S has %d bindings", k->name, k->nbind);
    Slots *s = &d->tables->kernels;
    if (!(t = ticket_new(d, err))) return false;
    u32 i = slot_new(d, s, err);
    if (!i || !d->vt->kernel_make(d, t, i, k, err)) {
        ticket_drop(d->tables);
        if (i) s->at[i].live = false;
        return false;
    }
    *ticket = t;
    out->id = slot_id(s, i);
    return true;
}

void device_kernel_free(Device *d, KernelHandle k) {
    Slot *s = slot_get(&d->tables->kernels, k.id);
    if (!s) return;
    d->vt->kernel_free(d, handle_index(k.id));
    s->live = false;
}

// Every binding of every step against the buffers that are really there, once; a submit then trusts
// them.
static bool bindings_ok(Device *d, const DeviceBind *b, Err *err) {
    const Program *p = b->program;
    for (int r = 0; r < REGIME_COUNT; r++) {
        for (int i = 0; i < p->regimes[r].nsteps; i++) {
            const Step *st = &p->regimes[r].steps[i];
            if (st->kernel >= (u32)p->nkernels ||
                !slot_get(&d->tables->kernels, b->kernels[st->kernel].id))
                return err_set(err, ERR_DEVICE_HANDLE, "step %S has no kernel", st->name);
            for (int k = 0; k < p->kernels[st->kernel].nbind; k++) {
                const Binding *bi = &st->bind[k];
                const Slot *s = bi->buffer < (u32)p->nbuffers
                                    ? slot_get(&d->tables->buffers, b->buffers[bi->buffer].id)
                                    : NULL;
                if (!s)
                    return err_set(err, ERR_DEVICE_HANDLE, "step %S: binding %d has no buffer",
                                   st->name, k);
                if (bi->size == 0 || bi->offset % 4 || bi->offset > s->size ||
                    bi->size > s->size - bi->offset)
                    return err_set(err, ERR_DEVICE_RANGE,
                                   "step %S: binding %d is bytes %U + %U of a buffer of %U",
                                   st->name, k, bi->offset, bi->size, s->size);
            }
        }
    }
    const Slot *ring = slot_get(&d->tables->buffers, b->buffers[p->buf_ring].id);
    const Slot *params = slot_get(&d->tables->buffers, b->buffers[p->buf_params].id);
    if (!ring || ring->size < TOKEN_RING * 4 || !params ||
        params->size != p->buffers[p->buf_params].size || program_param_stride(p) % 4 ||
        program_param_stride(p) < program_param_words(p) * 4)
        return err_set(err, ERR_DEVICE_RANGE, "the token ring or the parameter ring is too small");
    return true;
}

bool device_bind(Device *d, const DeviceBind *b, BoundHandle *out, Err *err) {
    if (!usable(d, err) || !bindings_ok(d, b, err)) return false;
    Slots *s = &d->tables->bounds;
    u32 i = slot_new(d, s, err);
    if (!i) return false;
    s->at[i].copy = *b;
    if (!d->vt->bind(d, i, b, err)) {
        s->at[i].live = false;
        return false;
    }
    out->id = slot_id(s, i);
    return true;
}

void device_unbind(Device *d, BoundHandle b) {
    Slot *s = slot_get(&d->tables->bounds, b.id);
    if (!s) return;
    d->vt->unbind(d, handle_index(b.id));
    s->live = false;
}

Ticket device_submit(Device *d, const Submit *s, Err *err) {
    if (!usable(d, err)) return 0;
    const Slot *bound = slot_get(&d->tables->bounds, s->bound.id);
    if (!bound) {
        err_set(err, ERR_DEVICE_HANDLE, "program %x is not bound", s->bound.id);
        return 0;
    }
    const Program *p = bound->copy.program;
    const Regime *r = s->regime >= 0 && s->regime < REGIME_COUNT ? &p->regimes[s->regime] : NULL;
    bool ok = r && s->first >= 0 && s->first <= s->last && s->last <= r->nsteps && s->first2 >= 0 &&
              s->first2 <= s->last2 && s->last2 <= r->nsteps && s->n >= 1 && s->n <= r->n &&
              s->m <= r->m && s->m <= s->n && s->t >= s->n && s->t <= p->ctx && s->slot >= 0 &&
              s->slot < PARAM_SLOTS && s->params && s->read_ring >= -1 &&
              s->read_ring < TOKEN_RING &&
              (!s->times || s->last - s->first + s->last2 - s->first2 <= d->timed);
    if (!ok) {
        err_set(err, ERR_DEVICE_RANGE,
                "steps %d..%d, n %u, m %u, t %u of regime %d are not in the program", s->first,
                s->last, s->n, s->m, s->t, s->regime);
        return 0;
    }
    Ticket t = ticket_new(d, err);
    if (!t) return 0;
    d->submits++;
    if (d->vt->submit(d, t, s, err)) return t;
    ticket_drop(d->tables);
    return 0;
}

void device_close(Device *d) {
    if (d && d->vt) d->vt->close(d);
}
