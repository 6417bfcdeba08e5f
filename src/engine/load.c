// engine/load.c: a program and a model file become buffers and kernels on a device.
//
// Weights stream: a window of rows is read from the file, repacked into word planes
// (quant/quant.h), and written at its place, so that this needs a few megabytes whatever the
// model's size. They come in the order in which they lie in the file, as a download brings them.
// One call of engine_load_step does one window, so that a page stays alive. The
// window holds whole woven groups of rows (`interleave` rows side by side), because only those are
// contiguous in device memory. A weight whose rows come from several tensors of the file (q, k, v
// joined; gate and up alternating) is filled row by row from each segment.
#include "engine/engine_int.h"

#if defined(__wasm__) // a page fetches what a window needs, and its heap is small
#define WINDOW_DEFAULT (1u << 20)
#else
#define WINDOW_DEFAULT (8u << 20)
#endif
#define BATCH_BYTES ((u64)256 << 10) // read from a file that is not mapped at a time

// Weights by where their bytes begin in the file; what the file lacks comes first, and is told.
static void order_weights(Engine *e) {
    u64 *at = NEW_N(e->arena, u64, MAX2(e->p->nweights, 1));
    for (int i = 0; i < e->p->nweights; i++) {
        const Weight *w = &e->p->weights[i];
        for (int s = 0; s < w->nseg; s++) {
            const FileTensor *t = gguf_tensor(e->d.file, w->seg[s].tensor);
            if (!s || (t && t->off < at[i])) at[i] = t ? t->off : 0;
        }
        int k = i; // of few weights, most of which stand in order
        for (; k > 0 && at[e->order[k - 1]] > at[i]; k--) e->order[k] = e->order[k - 1];
        e->order[k] = (u32)i;
    }
}

bool engine_new(Arena *a, const EngineDesc *d, Engine **out, Err *err) {
    const Program *p = d->program;
    Engine *e = NEW(a, Engine);
    e->d = *d;
    e->spec.drafts = d->speculate;
    e->p = p;
    e->arena = a;
    if (!e->d.window) e->d.window = WINDOW_DEFAULT;
    e->depth = d->depth ? d->depth : d->device->vt->async ? DEPTH_LEAST : 1;
    if (e->depth < 1 || e->depth > DEPTH_MAX)
        return err_set(err, ERR_ENGINE_OPTION, "run-ahead of %d; give 1 to %d", d->depth,
                       DEPTH_MAX);
    e->buffers = NEW_N(a, BufferHandle, MAX2(p->nbuffers, 1));
    e->kernels = NEW_N(a, KernelHandle, MAX2(p->nkernels, 1));
    e->checked = NEW_N(a, bool, MAX2(p->nkernels, 1));
    e->tokens = arena_try(a, (u64)p->ctx + 1, sizeof(i32));
    e->params = arena_try(a, program_param_words(p), sizeof(i32));
    e->window = arena_new(NULL);
    if (!e->tokens || !e->params || !e->window)
        return err_set(err, ERR_OUT_OF_MEMORY, "no memory for a context of %u tokens; ask for less",
                       p->ctx);
    e->order = NEW_N(a, u32, MAX2(p->nweights, 1));
    if (d->file) order_weights(e);
    e->progress.total = p->weight_bytes;
    *out = e;
    return true;
}

bool engine_fail(Engine *e, Err *err) {
    e->phase = PHASE_FAILED;
    if (err) e->failed = *err;
    return false;
}

// ---- weights ------------------------------------------------------------------------------------

static bool segment_ok(const Weight *w, const WeightSegment *s, const FileTensor *t, Err *err) {
    if (!t) {
        err_set(err, ERR_ENGINE_WEIGHT,
                "the file has no such tensor; is it the file that was compiled?");
    } else {
        u64 rows = 1;
        for (int i = 1; i < t->nd; i++) rows *= t->dims[i];
        u64 cols = t->dims[0];
        const FileTypeInfo *f = filetype_info(t->type);
        if (w->cols == 1 && rows == 1 &&
            f->elems == 1) // a vector is a weight of rows of one element
            rows = cols, cols = 1;
        // whatever the file stores widens to f32
        if (cols == w->cols && rows == s->rows &&
            (f->quant == w->encoding || w->encoding == QUANT_F32))
            return true;
        err_set(err, ERR_ENGINE_WEIGHT,
                "%U x %U of %s is not the %u x %u of %s that the program expects; is it the file "
                "that was compiled?",
                rows, cols, f->name, s->rows, w->cols, quant_info(w->encoding)->name);
    }
    return err_subject(err, s->tensor);
}

static u64 row_bytes(const FileTensor *t, const Weight *w) {
    const FileTypeInfo *f = filetype_info(t->type);
    return (u64)w->cols / f->elems * f->bytes;
}

// Reads and repacks those rows of a segment that lie in rows [first, first + n) of the weight. A
// mapped file is read where it lies.
static bool fill_segment(Engine *e, const Weight *w, const WeightSegment *s, u32 first, u32 n,
                         const RepackTarget *to, Err *err) {
    Source *src = gguf_source(e->d.file);
    const FileTensor *t = gguf_tensor(e->d.file, s->tensor);
    if (!segment_ok(w, s, t, err)) return false;
    u64 bytes = row_bytes(t, w), step = MAX2(s->row_step, 1u);
    u64 row = first > s->row ? (first - s->row + step - 1) / step : 0; // of the segment
    u64 end =
        (u64)first + n > s->row ? MIN2(((u64)first + n - s->row + step - 1) / step, s->rows) : 0;
    u64 batch = MAX2(BATCH_BYTES / bytes, 1);
    u8 *buf = NULL;
    if (row < end && !src->map && !(buf = arena_try(e->window, MIN2(batch, end - row), bytes)))
        return err_set(err, ERR_OUT_OF_MEMORY,
                       "no memory for rows of %U bytes; close something or take a smaller model",
                       bytes);
    while (row < end) {
        u64 k = MIN2(batch, end - row), off = t->off + row * bytes;
        if (!src->map && !src->read(src, off, buf, (size_t)(k * bytes))) {
            err_set(err, ERR_IO, "the file cannot be read; is it still there?");
            err_at(err, off);
            err_subject(err, s->tensor);
            return err_file(err, src->name);
        }
        for (u64 i = 0; i < k; i++, row++) {
            const u8 *from = src->map ? src->map + t->off + row * bytes : buf + i * bytes;
            if (!quant_repack_row(to, t->type, from, (u32)(s->row + row * step - first)))
                return err_set(err, ERR_ENGINE_WEIGHT, "%s does not repack to %s",
                               filetype_info(t->type)->name, quant_info(w->encoding)->name);
        }
    }
    return true;
}

static bool write_plane(Engine *e, const Weight *w, int plane, u32 first, u32 n, const u32 *words,
                        u32 padded, Err *err) {
    u64 per_row = quant_words(w->encoding, plane, w->cols);
    if (!per_row) return true;
    u64 start = plane ? (u64)padded * quant_words(w->encoding, 0, w->cols) : 0;
    Ticket t =
        device_buffer_write(e->d.device, e->buffers[w->buffer],
                            w->offset + (start + first * per_row) * 4, words, n * per_row * 4, err);
    if (t) e->last_ticket = t;
    return t != 0;
}

// One window of the next weight.
static bool load_window(Engine *e, Err *err) {
    const Weight *w = &e->p->weights[e->order[e->next]];
    u32 weave = MAX2(w->interleave, 1u);
    u32 padded = (u32)round_up(w->rows, weave);
    u64 words = (u64)quant_words(w->encoding, 0, w->cols) + quant_words(w->encoding, 1, w->cols);
    u64 rows = e->d.window / (words * 4) / weave * weave;
    u32 n = (u32)MIN2(MAX2(rows, weave), padded - e->next_row);
    arena_reset(e->window);
    RepackTarget to = {w->encoding, w->cols, weave, n, {NULL, NULL}};
    for (int i = 0; i < 2; i++) {
        u64 per_row = quant_words(w->encoding, i, w->cols);
        if (per_row && !(to.plane[i] = arena_try(e->window, n * per_row, 4)))
            return err_set(
                err, ERR_OUT_OF_MEMORY,
                "no memory for a window of %u rows; close something or take a smaller model", n);
    }
    for (int i = 0; i < w->nseg; i++)
        if (!fill_segment(e, w, &w->seg[i], e->next_row, n, &to, err)) return false;
    for (int i = 0; i < 2; i++)
        if (!write_plane(e, w, i, e->next_row, n, to.plane[i], padded, err)) return false;
    e->progress.done += n * words * 4;
    e->next_row += n;
    if (e->next_row == padded) {
        e->next++;
        e->next_row = 0;
    }
    return true;
}

// ---- the stages of loading ----------------------------------------------------------------------

static bool make_buffer(Engine *e, Err *err) {
    const ProgBuffer *b = &e->p->buffers[e->next];
    if (!device_buffer_make(e->d.device, b->size, b->kind, &e->buffers[e->next], err))
        return err_subject(err, b->name);
    if (b->init && !(e->last_ticket = device_buffer_write(e->d.device, e->buffers[e->next], 0,
                                                          b->init, b->size, err)))
        return err_subject(err, b->name);
    e->next++;
    return true;
}

static bool make_kernel(Engine *e, Err *err) {
    const ProgKernel *k = &e->p->kernels[e->next];
    if (!device_kernel_make(e->d.device, k, &e->kernels[e->next], &e->last_ticket, err))
        return err_subject(err, k->name);
    e->next++;
    return true;
}

// How late does a device answer that has nothing to do? Where it looks for what is done on a tick,
// the first answer comes at any time and the next ones each after a whole tick; where something is
// done at its first use, the first one is late. So the middle one of three is taken.
static bool read_back(Engine *e, Err *err) {
    double now = clock_ms(), *t = e->read_ms;
    if (e->next) t[e->next - 1] = now - e->asked_ms;
    e->asked_ms = now;
    if (e->next++ == READ_BACKS) {
        e->late_ms = MAX2(MIN2(t[0], t[1]), MIN2(MAX2(t[0], t[1]), t[2]));
        return true;
    }
    return device_buffer_read(e->d.device, e->buffers[e->p->buf_ring], 0, e->tokens, 4, err) != 0;
}

EngineState engine_load_step(Engine *e, LoadProgress *progress, Err *err) {
    enum { BUFFERS, READ, KERNELS, BIND, WEIGHTS, WAIT, DONE };
    bool measure = !e->d.depth && e->d.device->vt->async;
    const u32 counts[] = {(u32)e->p->nbuffers, measure ? READ_BACKS + 1 : 0, (u32)e->p->nkernels, 1,
                          e->d.file ? (u32)e->p->nweights : 0};
    Err own = {0};
    if (!err) err = &own;
    if (e->phase == PHASE_FAILED) {
        *err = e->failed;
        return ENGINE_FAILED;
    }
    EngineState state = ENGINE_WORKING;
    bool ok = true;
    if (e->stage < WAIT && e->next == counts[e->stage]) {
        e->stage++;
        e->next = 0;
    } else if (e->stage == DONE) {
        state = ENGINE_DONE;
    } else {
        // A few windows may be under way, so that memory stays bounded on a device that answers
        // later; and at most half the tickets, so that none of a window's calls is refused.
        int keep = e->stage == WAIT || e->stage == READ ? 0
                   : e->stage == WEIGHTS                ? 4
                                                        : TICKETS_MAX / 2;
        state = engine_settle(e->d.device, keep, err);
        ok = state != ENGINE_FAILED;
        if (state == ENGINE_WORKING) {
            switch (e->stage) {
            case BUFFERS: ok = make_buffer(e, err); break;
            case READ: ok = read_back(e, err); break;
            case KERNELS: ok = make_kernel(e, err); break;
            case BIND: // a page makes pipelines from here on, beside the weights
                e->bind = (DeviceBind){e->p, e->buffers, e->kernels};
                ok = device_bind(e->d.device, &e->bind, &e->bound, err);
                e->next++;
                break;
            case WEIGHTS: ok = load_window(e, err); break;
            case WAIT:
                arena_free(e->window);
                e->window = NULL;
                e->stage = DONE;
                e->phase = PHASE_IDLE;
                break;
            default: break;
            }
        }
    }
    if (progress) *progress = e->progress;
    if (!ok && e->d.file &&
        gguf_source(e->d.file)
            ->wait) { // nothing of this window was written yet: it is asked for again
        *err = (Err){0};
        return ENGINE_WAITING;
    }
    if (!ok) {
        engine_fail(e, err);
        return ENGINE_FAILED;
    }
    return e->stage == DONE ? ENGINE_DONE : state;
}

bool engine_remake(Engine *e, u32 kernel, Err *err) {
    Device *d = e->d.device;
    device_unbind(d, e->bound);
    device_kernel_free(d, e->kernels[kernel]);
    return device_kernel_make(d, &e->p->kernels[kernel], &e->kernels[kernel], &e->last_ticket,
                              err) &&
           device_bind(d, &e->bind, &e->bound, err);
}

void engine_free(Engine *e) {
    if (!e) return;
    Device *d = e->d.device;
    device_unbind(d, e->bound);
    for (int i = 0; i < e->p->nkernels; i++) device_kernel_free(d, e->kernels[i]);
    for (int i = 0; i < e->p->nbuffers; i++) device_buffer_free(d, e->buffers[i]);
    arena_free(e->window);
    e->window = NULL;
    e->phase = PHASE_FAILED;
}
