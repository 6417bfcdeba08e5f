// compile/weights.c: device buffers: weights packed into large ones, a cache a layer, constants,
// the ring.
//
// All regimes share them, so they are found by name. Weights lie one after the other in buffers of
// at most what the device makes, each at an aligned offset; none is cut. Offsets are u64
// throughout.
#include "compile/compile_int.h"

u32 buffer_add(Compile *c, Str name, BufferKind kind, u64 size, const void *init) {
    ProgBuffer b = {.name = arena_str(c->arena, name), .kind = kind, .size = size, .init = init};
    vec_push(c->arena, &c->buffers, b);
    return (u32)c->buffers.n - 1;
}

static u64 bytes_of(const Tensor *t, u32 m) {
    u64 bytes = 4;
    for (int i = 0; i < t->nd; i++) bytes *= (u64)dim_value(t->dim[i], 1, m, 1);
    return bytes;
}

static bool named_buffer(Compile *c, const Tensor *t, BufferKind kind, u32 *out) {
    i32 id;
    if (!strmap_get(c->buffer_of, t->name, &id)) {
        u64 size = bytes_of(t, 1);
        if (size > (u64)MIN2(c->p->max_binding_bytes, c->p->max_buffer_bytes)) {
            err_set(c->err, ERR_PASS_BINDING,
                    "%U bytes; this device binds at most %D at once: use a smaller context", size,
                    MIN2(c->p->max_binding_bytes, c->p->max_buffer_bytes));
            return err_subject(c->err, t->name);
        }
        id = (i32)buffer_add(c, t->name, kind, size, t->data);
        strmap_put(c->buffer_of, c->buffers.at[id].name, id);
        if (kind == BUF_KV) c->prog->kv_bytes += size;
    } else if (kind == BUF_CONST && bytes_of(t, 1) > c->buffers.at[id].size) {
        // a row for each that gets logits: regimes differ in how many, rows do not
        c->buffers.at[id].size = bytes_of(t, 1);
        c->buffers.at[id].init = t->data;
    }
    *out = (u32)id;
    return true;
}

// Bindings of weights name the weight until place_weights() knows where it lies.
static u32 weight_index(Compile *c, const Weight *w) {
    i32 id;
    if (!strmap_get(c->weight_of, w->name, &id)) {
        id = (i32)c->weights.n;
        vec_push(c->arena, &c->weights, *w);
        strmap_put(c->weight_of, w->name, id);
        c->weights.at[id].buffer = UINT32_MAX;
        (void)quant_bytes(w->encoding, w->rows, w->cols, w->interleave, &c->weights.at[id].size);
    }
    return (u32)id;
}

enum { WEIGHT_TAG = 1u << 30 };

bool bind_tensor(Compile *c, const Graph *g, int tensor, const MemPlan *plan, Binding *out) {
    const Tensor *t = &g->tensors.at[tensor];
    switch (t->kind) {
    case TEN_VALUE: {
        const PlanItem *it = &plan->items[plan->item_of_tensor[tensor]];
        *out = (Binding){(u32)c->arena_buffer[it->colour], it->offset, it->size};
        return true;
    }
    case TEN_WEIGHT: {
        u32 w = weight_index(c, t->weight);
        *out = (Binding){WEIGHT_TAG + w, 0, c->weights.at[w].size};
        return true;
    }
    case TEN_RING: *out = (Binding){c->prog->buf_ring, 0, TOKEN_RING * 4}; return true;
    case TEN_LOGITS:
        *out = (Binding){c->prog->buf_logits, 0, (u64)c->prog->m_max * c->prog->vocab * 4};
        return true;
    case TEN_CONST:
    case TEN_CACHE: {
        u32 b = 0;
        if (!named_buffer(c, t, t->kind == TEN_CONST ? BUF_CONST : BUF_KV, &b)) return false;
        *out = (Binding){b, 0, c->buffers.at[b].size};
        return true;
    }
    }
    return false;
}

void place_weights(Compile *c) {
    Program *p = c->prog;
    u64 most = (u64)c->p->max_buffer_bytes, align = (u64)c->p->offset_align;
    if (most > (u64)1 << 28)
        most = (u64)1 << 28; // several buffers load and fail more gently than one of gigabytes
    u32 buffer = UINT32_MAX;
    int made = 0;
    for (size_t i = 0; i < c->weights.n; i++) {
        Weight *w = &c->weights.at[i];
        u64 at = buffer == UINT32_MAX ? 0 : round_up(c->buffers.at[buffer].size, align);
        if (buffer == UINT32_MAX || at + w->size > most) {
            buffer = buffer_add(c, str_fmt(c->arena, "weights.%d", made++), BUF_WEIGHT, 0, NULL);
            at = 0;
        }
        w->buffer = buffer;
        w->offset = at;
        c->buffers.at[buffer].size = at + w->size;
        p->weight_bytes += w->size;
    }
    for (int r = 0; r < REGIME_COUNT; r++)
        for (int s = 0; s < p->regimes[r].nsteps; s++) {
            Step *st = &p->regimes[r].steps[s];
            for (int b = 0; b < c->kernels.at[st->kernel].nbind; b++) {
                if (st->bind[b].buffer < WEIGHT_TAG) continue;
                const Weight *w = &c->weights.at[st->bind[b].buffer - WEIGHT_TAG];
                st->bind[b] = (Binding){w->buffer, w->offset, w->size};
            }
        }
}
