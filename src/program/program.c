// program/program.c: checks and prints a compiled program.
//
// A program from our own compiler is verified in tests and debug builds; one from outside always.
// After that a device trusts every offset: a step's ranges lie inside its buffers for every n and
// t, because none of them depends on either.
#include "program/program.h"

u32 grid_count(const GridDim *g, u32 n, u32 m) {
    u64 v = (u64)g->a * (g->by_m ? m : n) + g->b;
    if (v < 1) v = 1;
    u64 c = g->c ? g->c : 1;
    v = (v + c - 1) / c * g->d;
    return v > UINT32_MAX ? UINT32_MAX : (u32)v;
}

i64 grid_most(const Profile *p) {
    i64 row = p->max_grid; // the number in x of the last row's tail is an i32 too
    return row > INT32_MAX / 2 ? INT32_MAX : MIN2(row * row, INT32_MAX - row);
}

void step_grid(const Program *p, const Step *s, u32 n, u32 m, u32 out[3]) {
    for (int i = 0; i < 3; i++) out[i] = grid_count(&s->grid[i], n, m);
    u32 row = (u32)MIN2(p->profile.max_grid, (i64)UINT32_MAX);
    if (out[0] <= row || !p->profile.gpu) return;
    out[1] = (u32)(((u64)out[0] + row - 1) / row);
    out[0] = row;
}

StepCost step_cost(const Program *p, int regime, int step, u32 n, u32 m, u32 t) {
    const Regime *r = &p->regimes[regime];
    const Step *s = &r->steps[step];
    const ProgKernel *k = &p->kernels[s->kernel];
    bool head = step >= r->head; // its rows are those that get logits
    u64 rows = head ? m : n, most = MAX2(head ? r->m : r->n, 1);
    StepCost c = {s->bytes, s->flops / most * rows};
    for (int i = 0; i < k->nbind; i++) {
        u64 size = s->bind[i].size, used = size;
        switch (p->buffers[s->bind[i].buffer].kind) {
        case BUF_KV: // appended to, or looked at
            used = size / p->ctx * (k->writes[i] ? n : t);
            if (!k->writes[i]) c.flops = c.flops / p->ctx * t;
            break;
        case BUF_ARENA:
        case BUF_LOGITS: used = size / most * rows; break;
        case BUF_PARAMS: used = 4 * (PARAM_ROWS + (u64)ROW_WORDS * n); break;
        case BUF_RING: used = 4 * (u64)n; break;
        case BUF_WEIGHT:
        case BUF_CONST: break;
        }
        c.bytes -= MIN2(c.bytes, size - MIN2(size, used));
    }
    return c;
}

static bool bad(Err *err, Str subject, const char *what) {
    err_set(err, ERR_PROGRAM_INVALID, "%s", what);
    return err_subject(err, subject);
}

static bool verify_step(const Program *p, const Regime *r, const Step *s, Err *err) {
    if (s->kernel >= (u32)p->nkernels)
        return bad(err, s->name, "it names a kernel that is not there");
    const ProgKernel *k = &p->kernels[s->kernel];
    for (int i = 0; i < k->nbind; i++) {
        const Binding *b = &s->bind[i];
        if (b->buffer >= (u32)p->nbuffers)
            return bad(err, s->name, "it binds a buffer that is not there");
        u64 end;
        if (b->size == 0 || !add_u64(b->offset, b->size, &end) || end > p->buffers[b->buffer].size)
            return bad(err, s->name, "a binding reaches past its buffer");
        if (b->offset % (u64)p->profile.offset_align != 0)
            return bad(err, s->name, "a binding's offset is not aligned for the device");
        if (b->size > (u64)p->profile.max_binding_bytes)
            return bad(err, s->name, "a binding is larger than the device allows");
        for (int j = 0; j < i; j++) {
            const Binding *c = &s->bind[j];
            if (c->buffer == b->buffer && k->writes[i] != k->writes[j])
                return bad(err, s->name, "it reads and writes two ranges of one buffer");
            bool apart = c->offset + c->size <= b->offset || end <= c->offset;
            if (c->buffer == b->buffer && k->writes[i] && !apart)
                return bad(err, s->name, "it writes two ranges that overlap");
        }
    }
    for (int i = 0; i < 3; i++) {
        const GridDim *g = &s->grid[i];
        if (g->c == 0 || g->d == 0) return bad(err, s->name, "its grid is empty");
        // x may be folded into y where that is not in use
        bool folds = i == 0 && grid_count(&s->grid[1], r->n, p->m_max) == 1;
        i64 most = folds ? grid_most(&p->profile) : p->profile.max_grid;
        if (p->profile.gpu && (i64)grid_count(g, r->n, p->m_max) > most)
            return bad(err, s->name, "its grid is larger than the device allows");
    }
    return true;
}

bool program_verify(const Program *p, Err *err) {
    if (p->chunk == 0 || p->ctx == 0 || p->m_max == 0 || p->m_max > p->chunk || p->vocab == 0)
        return bad(err, S("program"), "its sizes are zero or contradict each other");
    if (p->nbuffers < 0 || p->nkernels < 0 || p->nweights < 0)
        return bad(err, S("program"), "a count is negative");
    if (p->buf_params >= (u32)p->nbuffers || p->buf_ring >= (u32)p->nbuffers ||
        p->buf_logits >= (u32)p->nbuffers)
        return bad(err, S("program"), "its parameter, ring or logits buffer is not there");
    if (p->buffers[p->buf_ring].size < TOKEN_RING * 4)
        return bad(err, S("program"), "its token ring is too small");
    if (p->buffers[p->buf_logits].size < (u64)p->m_max * p->vocab * 4)
        return bad(err, S("program"), "its logits buffer is too small");
    for (int i = 0; i < REGIME_COUNT; i++)
        if (p->regimes[i].m > MIN2(p->regimes[i].n, p->m_max))
            return bad(err, S("program"), "a regime has more logits than rows, or than fit");
    for (int i = 0; i < p->nbuffers; i++) {
        if (p->buffers[i].size == 0 || p->buffers[i].size > (u64)p->profile.max_buffer_bytes)
            return bad(err, p->buffers[i].name,
                       "a buffer is empty or larger than the device allows");
    }
    for (int i = 0; i < p->nweights; i++) {
        const Weight *w = &p->weights[i];
        u64 bytes, end;
        if (w->buffer >= (u32)p->nbuffers || w->nseg < 1 || w->nseg > 4 || w->interleave == 0 ||
            (u32)w->encoding >= QUANT_COUNT ||
            !quant_bytes(w->encoding, w->rows, w->cols, w->interleave, &bytes) ||
            bytes != w->size || !add_u64(w->offset, w->size, &end) ||
            end > p->buffers[w->buffer].size)
            return bad(err, w->name, "a weight does not fit its buffer");
        for (int s = 0; s < w->nseg; s++) {
            const WeightSegment *g = &w->seg[s];
            u64 last = (u64)g->row + (u64)(g->rows ? g->rows - 1 : 0) * g->row_step;
            if (g->rows == 0 || g->row_step == 0 || last >= w->rows)
                return bad(err, w->name, "a row segment reaches past its weight");
        }
    }
    for (int i = 0; i < p->nkernels; i++) {
        const ProgKernel *k = &p->kernels[i];
        if (k->nbind < 1 || k->nbind > p->profile.max_bindings || k->nbind > STEP_MAX_BINDINGS)
            return bad(err, k->name, "a kernel has too many bindings");
        u64 threads = (u64)k->wg[0] * k->wg[1] * k->wg[2];
        if (threads < 1 || (p->profile.gpu && threads > (u64)p->profile.max_wg_size))
            return bad(err, k->name, "a kernel's workgroup is larger than the device allows");
    }
    for (int i = 0; i < REGIME_COUNT; i++) {
        const Regime *r = &p->regimes[i];
        if (r->nsteps == 0) continue; // not compiled
        if (r->n < 1 || r->n > p->chunk || r->head < 0 || r->head > r->greedy ||
            r->greedy > r->sample || r->sample > r->nsteps)
            return bad(err, S("regime"), "its ranges of steps are out of order");
        for (int s = 0; s < r->nsteps; s++)
            if (!verify_step(p, r, &r->steps[s], err)) return false;
    }
    return true;
}

static void print_grid(const Step *s, Buf *out) {
    for (int i = 0; i < 3; i++) {
        const GridDim *g = &s->grid[i];
        if (i > 0) buf_add(out, S(" x "));
        if (g->a == 0) {
            buf_fmt(out, "%u", grid_count(g, 1, 1));
        } else {
            buf_fmt(out, "ceil((%u*%c + %u)/%u)*%u", g->a, g->by_m ? 'm' : 'n', g->b, g->c, g->d);
        }
    }
}

// The one thing that is written for a token, word by word.
static void print_params(const Program *p, Buf *out) {
    static const struct {
        int word;
        const char *name;
    } words[] = {{PARAM_N, "n"},
                 {PARAM_M, "m"},
                 {PARAM_T, "t"},
                 {PARAM_SEED_LO, "seed_lo"},
                 {PARAM_SEED_HI, "seed_hi"},
                 {PARAM_TOP_K, "top_k"},
                 {PARAM_INV_TEMP, "65536/temperature"},
                 {PARAM_FLAGS, "flags"}},
      row[] = {{ROW_POS, "pos"},   {ROW_SEQ, "seq"},     {ROW_BASE, "base"},
               {ROW_RING, "ring"}, {ROW_INDEX, "index"}, {ROW_NEXT, "next"}};
    buf_fmt(out, "params: %u words of i32, %d slots;", program_param_words(p), (i32)PARAM_SLOTS);
    for (size_t i = 0; i < COUNT_OF(words); i++)
        buf_fmt(out, " %s@%d", words[i].name, words[i].word);
    buf_fmt(out, "\nrow i: %d + %d*i;", (i32)PARAM_ROWS, (i32)ROW_WORDS);
    for (size_t i = 0; i < COUNT_OF(row); i++) buf_fmt(out, " %s@%d", row[i].name, row[i].word);
    buf_fmt(out, "\ntokens: ring of %d, token of position p at p %% %d\n\n", (i32)TOKEN_RING,
            (i32)TOKEN_RING);
}

void program_print(const Program *p, Buf *out) {
    buf_fmt(out, "program ctx=%u chunk=%u m=%u vocab=%u layers=%u profile=%S\n", p->ctx, p->chunk,
            p->m_max, p->vocab, p->layers, p->profile.name);
    buf_fmt(out, "weights %U bytes, cache %U bytes\n\n", p->weight_bytes, p->kv_bytes);
    print_params(p, out);
    static const char *const kinds[] = {"arena",  "weight", "const", "kv",
                                        "params", "ring",   "logits"}; // ORDER BUFFER_KIND
    for (int i = 0; i < p->nbuffers; i++)
        buf_fmt(out, "buffer %d %S: %s, %U bytes\n", i, p->buffers[i].name,
                kinds[p->buffers[i].kind], p->buffers[i].size);
    for (int i = 0; i < p->nweights; i++) {
        const Weight *w = &p->weights[i];
        buf_fmt(out, "weight %S: %s[%u, %u] rows woven by %u, buffer %u @ %U, %U bytes =", w->name,
                quant_info(w->encoding)->name, w->rows, w->cols, w->interleave, w->buffer,
                w->offset, w->size);
        for (int s = 0; s < w->nseg; s++)
            buf_fmt(out, "%s %S[%u..+%u*%u]", s ? "," : "", w->seg[s].tensor, w->seg[s].row,
                    w->seg[s].rows, w->seg[s].row_step);
        buf_char(out, '\n');
    }
    for (int i = 0; i < p->nkernels; i++) {
        const ProgKernel *k = &p->kernels[i];
        buf_fmt(out, "kernel %d %S: nest %016X, kernel %016X, workgroup %u x %u x %u, bindings", i,
                k->name, k->nest_key, k->kernel_key, k->wg[0], k->wg[1], k->wg[2]);
        for (int b = 0; b < k->nbind; b++) buf_fmt(out, " %s", k->writes[b] ? "rw" : "r");
        buf_char(out, '\n');
    }
    for (int i = 0; i < REGIME_COUNT; i++) {
        const Regime *r = &p->regimes[i];
        if (r->nsteps == 0) continue;
        buf_fmt(out,
                "\nregime n<=%u: %d steps, head at %d, argmax at %d, sampler at %d; arena %U bytes"
                " (at least %U)\n",
                r->n, r->nsteps, r->head, r->greedy, r->sample, r->arena_bytes,
                r->lower_bound_bytes);
        for (int s = 0; s < r->nsteps; s++) {
            const Step *st = &r->steps[s];
            buf_fmt(out, "  %d %S: kernel %u, grid ", s, st->name, st->kernel);
            print_grid(st, out);
            for (int b = 0; b < p->kernels[st->kernel].nbind; b++)
                buf_fmt(out, "%s%u@%U+%U", b ? ", " : "; ", st->bind[b].buffer, st->bind[b].offset,
                        st->bind[b].size);
            buf_char(out, '\n');
        }
    }
}
