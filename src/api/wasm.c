// api/wasm.c: the page's side of the core: plain numbers across the border, one state machine, no
// waiting.
//
// A page opens one model: the file's front is asked for until it is understood, then a device is
// chosen, then weights stream through a dozen slots of a quarter of a megabyte, then requests are
// answered. hob_w_step does a little and says what it needs; JavaScript brings it and calls again.
// Nothing here is compiled into the native library.
#include "api/wasm_int.h"

// ---- what JavaScript gives ----------------------------------------------------------------------
__attribute__((import_module("env"), import_name("hob_gpu"))) void hob_js_gpu(const u32 *words,
                                                                              u32 n);
__attribute__((import_module("env"), import_name("hob_log"))) void hob_js_log(const char *text,
                                                                              u32 n);

// A kernel on several threads: the page's helpers have its kernels on the same memory.
__attribute__((import_module("env"), import_name("hob_share"))) bool
hob_js_share(KernelFn fn, void *const *arg, const i32 *dims, u32 extent, u32 pieces, u32 threads);

static void run_list(void *user, const u32 *words, u32 n) {
    (void)user;
    hob_js_gpu(words, n);
}

static void log_line(void *user, Str line) {
    (void)user;
    hob_js_log(line.ptr, (u32)line.len);
}

// Kernels come as a module of their own; JavaScript puts its functions into our table of functions
// and tells them here, sorted by key. One linear memory is one page's, so this table is the page's
// as well.
enum { KERNELS_MAX = 512 };
static KernelEntry kernels[KERNELS_MAX];
static u32 nkernels;

KernelTables cpu_kernels(void) {
    return (KernelTables){{{kernels, nkernels, "page's", "cpu4"}}, 1};
}

EXPORT(hob_w_kernel) bool hob_w_kernel(u32 key_lo, u32 key_hi, KernelFn fn) {
    u64 key = (u64)key_hi << 32 | key_lo;
    if (nkernels == KERNELS_MAX || (nkernels && kernels[nkernels - 1].nest_key >= key))
        return false;
    kernels[nkernels++] = (KernelEntry){key, fn, ""};
    return true;
}

// ---- the file -----------------------------------------------------------------------------------

static bool read_slots(Source *s, u64 off, void *dst, size_t len) {
    Page *p = s->user;
    s->wait = false;
    if (off > s->size || len > s->size - off) return false;
    if (p->front && off + len <= p->front_n) {
        memcpy(dst, p->front + off, len);
        return true;
    }
    u8 *to = dst;
    while (len) {
        FileSlot *hit = NULL;
        for (int i = 0; i < SLOT_COUNT && !p->front; i++)
            if (p->slots[i].n && off >= p->slots[i].off && off < p->slots[i].off + p->slots[i].n)
                hit = &p->slots[i];
        if (!hit) {
            p->need_off = off;
            s->wait = true;
            return false;
        }
        hit->used = ++p->clock;
        size_t part = (size_t)MIN2((u64)len, hit->off + hit->n - off);
        memcpy(to, hit->at + (off - hit->off), part);
        to += part;
        off += part;
        len -= part;
    }
    return true;
}

// Where the bytes that are wanted shall go. While the header is read: more of the front, doubling.
static PageState need(Page *p) {
    if (p->stage == STAGE_FILE) {
        u64 more = MIN2(MAX2(p->front_n, (u64)1 << 20), p->source.size - p->front_n);
        Arena *a = arena_new(NULL);
        u8 *at = a && more ? arena_try(a, p->front_n + more, 1) : NULL;
        if (!at) {
            arena_free(a);
            err_set(&p->err, ERR_OUT_OF_MEMORY, "the front of the file, %U MB",
                    (p->front_n + more) >> 20);
            return page_fail(p);
        }
        if (p->front_n) memcpy(at, p->front, (size_t)p->front_n);
        arena_free(p->front_arena);
        p->front_arena = a;
        p->front = at;
        p->need_off = p->front_n;
        p->need_n = (u32)more;
        p->need_at = at + p->front_n;
        return PAGE_NEED;
    }
    u32 oldest = 0;
    for (u32 i = 1; i < SLOT_COUNT; i++)
        if (p->slots[i].used < p->slots[oldest].used) oldest = i;
    FileSlot *s = &p->slots[oldest];
    if (!s->at && !(s->at = arena_try(p->arena, SLOT_BYTES, 1))) {
        err_set(&p->err, ERR_OUT_OF_MEMORY, "a window on the file");
        return page_fail(p);
    }
    s->n = 0;
    p->need_slot = oldest;
    p->need_n = (u32)MIN2((u64)SLOT_BYTES, p->source.size - p->need_off);
    p->need_at = s->at;
    return PAGE_NEED;
}

EXPORT(hob_w_need_off) double hob_w_need_off(const Page *p) { return (double)p->need_off; }
EXPORT(hob_w_need_n) u32 hob_w_need_n(const Page *p) { return p->need_n; }
EXPORT(hob_w_need_at) u8 *hob_w_need_at(const Page *p) { return p->need_at; }

EXPORT(hob_w_filled) void hob_w_filled(Page *p, bool ok) {
    p->source.wait = false;
    if (!ok) {
        err_set(&p->err, ERR_IO, "the file cannot be read; is it still there?");
        err_at(&p->err, p->need_off);
        err_file(&p->err, p->source.name);
        p->stage = STAGE_FAILED;
    } else if (p->stage == STAGE_FILE) {
        p->front_n += p->need_n;
    } else {
        p->slots[p->need_slot] =
            (FileSlot){p->need_off, p->need_n, ++p->clock, p->slots[p->need_slot].at};
    }
}

// ---- life ---------------------------------------------------------------------------------------

EXPORT(hob_w_new) Page *hob_w_new(void) {
    Arena *a = arena_new(NULL);
    Page *p = a ? NEW(a, Page) : NULL;
    if (!p) return NULL;
    p->arena = a;
    for (int i = 0; i < ARG_COUNT; i++) p->args[i] = arena_new(NULL);
    p->request = arena_new(NULL);
    p->out_arena = arena_new(NULL);
    p->host.run = run_list;
    return p->out_arena && p->request && p->args[ARG_COUNT - 1] ? p : NULL;
}

// Kernels run on so many threads from the next device on; paced: those of one row on as many of
// them as prove fastest.
EXPORT(hob_w_threads) void hob_w_threads(Page *p, int n, bool paced) {
    p->threads = n;
    p->paced = paced;
}

// Memory that stays, for the page's helpers: 0: there is none.
EXPORT(hob_w_room) u8 *hob_w_room(Page *p, u32 n) { return arena_try(p->arena, n, 1); }

// Room for argument i: a text that JavaScript writes before a call.
EXPORT(hob_w_arg) u8 *hob_w_arg(Page *p, u32 i, u32 n) {
    must(i < ARG_COUNT);
    arena_reset(p->args[i]);
    return arena_try(p->args[i], (u64)n + 1, 1);
}

EXPORT(hob_w_out) const char *hob_w_out(const Page *p) { return p->out.ptr; }
EXPORT(hob_w_out_n) u32 hob_w_out_n(const Page *p) { return (u32)p->out.len; }

static void out_clear(Page *p) {
    arena_reset(p->out_arena);
    p->out = (Buf){.arena = p->out_arena};
}

PageState page_fail(Page *p) {
    if (p->stage < STAGE_ANSWER || (p->m && p->m->device && p->m->device->lost))
        p->stage = STAGE_FAILED;
    else
        p->stage = STAGE_READY; // this answer failed, the next may not
    out_clear(p);
    openai_error(&p->err, &p->out);
    if (p->stage == STAGE_READY) p->err = (Err){0};
    return PAGE_FAILED;
}

// Argument 0: the file's name. ctx, chunk and rows of logits: 0 takes what is usual. drafts: tokens
// tried in advance, -1: as many as pay, -2: the same, but none on a GPU, whose kernels for a few
// rows would have to be compiled first.
EXPORT(hob_w_open)
void hob_w_open(Page *p, double size, const char *name, u32 name_n, u32 ctx, u32 chunk, u32 rows,
                int drafts) {
    p->drafts = MIN2(drafts, SPECULATE_MOST);
    p->source = (Source){.size = (u64)size,
                         .read = read_slots,
                         .user = p,
                         .name = arena_str(p->arena, (Str){name, name_n})};
    p->options = (ModelOptions){ctx, chunk, rows};
    p->stage = STAGE_FILE;
}

// The adapter: a built-in profile's name and text that overrides its fields.
EXPORT(hob_w_adapter)
bool hob_w_adapter(Page *p, const char *base, u32 base_n, const char *text, u32 text_n) {
    Err err = {0};
    Str own = arena_str(p->arena, (Str){text, text_n});
    p->has_gpu = profile_named((Str){base, base_n}, &p->host.profile) &&
                 profile_read(p->arena, own, S("adapter"), &p->host.profile, &err);
    if (p->has_gpu) return true;
    out_clear(p);
    openai_error(&err, &p->out);
    return false;
}

bool page_device(Page *p, Model *m, bool gpu, Err *err) {
    if (gpu && !p->has_gpu)
        return err_set(err, ERR_DEVICE_UNKNOWN,
                       "this browser gives no WebGPU adapter; use the CPU");
    DeviceOptions o = {.threads = MAX2(p->threads, 1),
                       .share = hob_js_share,
                       .paced = p->paced,
                       .self = gpu ? &p->host : NULL};
    if (!model_device(m, gpu ? S("webgpu") : S("cpu"), &o, err)) return false;
    if (p->fast) m->profile.act_bits = 8;
    if (gpu) p->gpu = m->device;
    return true;
}

// Activations of 8 and 16 bits from here on, where weights take them; else f32.
EXPORT(hob_w_mode) void hob_w_mode(Page *p, bool fast) { p->fast = fast; }

// What was measured before (hob_w_tune's text, or none), and the adapter with its driver, whose
// schedules hold for the GPU.
EXPORT(hob_w_tuned)
void hob_w_tuned(Page *p, const char *adapter, u32 adapter_n, const char *text, u32 n) {
    p->adapter = arena_str(p->arena, (Str){adapter, adapter_n});
    p->tuned = arena_str(p->arena, (Str){text, n});
}

// Compiles for the chosen device and begins to load; then step until PAGE_READY.
EXPORT(hob_w_load) bool hob_w_load(Page *p, bool gpu) {
    p->err = (Err){0};
    must(p->stage == STAGE_HEADER);
    double start = clock_ms();
    // a page reads one conversation: steps of a few rows run as those of many do, if there are any
    CompileOptions o = {.regimes = 1 << REGIME_ROW |
                                   1 << (p->m->graph->chunk > 8 ? REGIME_MANY : REGIME_FEW)};
    if ((p->m->speculate = p->drafts == -2 ? gpu ? 0 : -1 : p->drafts) != 0) {
        o.regimes |= 1 << REGIME_FEW;
        o.few_m = SPECULATE_MOST + 1;
    }
    Arena *work = o.work = arena_new(NULL);
    bool ok = page_device(p, p->m, gpu, &p->err);
    if (ok && gpu) {
        p->m->device->adapter = p->adapter;
        model_tuned(p->m, p->tuned, S("measured schedules"));
    }
    ok = ok && model_compile(p->m, &o, &p->err);
    arena_free(work);
    p->compile_ms = clock_ms() - start;
    ok = ok && model_start(p->m, &p->err);
    if (ok)
        p->stage = STAGE_LOAD;
    else
        page_fail(p);
    return ok;
}

// While there is nothing else to do, a kernel is checked that an answer will need; while the model
// loads, one whose arguments take little memory. false: none is left.
EXPORT(hob_w_ahead) bool hob_w_ahead(Page *p) {
    Err err = {0};
    u64 most = p->stage == STAGE_LOAD ? (u64)4 << 20 : UINT64_MAX;
    return (p->stage == STAGE_LOAD || p->stage == STAGE_READY) &&
           engine_check_ahead(p->m->engine, most, &err) == ENGINE_WORKING;
}

EXPORT(hob_w_load_done) double hob_w_load_done(const Page *p) {
    return p->m ? (double)p->m->load.done : 0;
}
EXPORT(hob_w_load_total) double hob_w_load_total(const Page *p) {
    return p->m ? (double)p->m->load.total : 0;
}
EXPORT(hob_w_answer) void hob_w_answer(Page *p, Ticket t, bool ok, i32 token) {
    if (p->gpu) webgpu_answer(p->gpu, t, ok, token);
}
EXPORT(hob_w_lost) void hob_w_lost(Page *p) {
    if (p->gpu) webgpu_lost(p->gpu);
}

// What was opened, as JSON, into out.
EXPORT(hob_w_info) void hob_w_info(Page *p) {
    out_clear(p);
    Model *m = p->m;
    Str name = p->source.name, arch = S("");
    if (m && m->file) {
        gguf_get_str(m->file, S("general.name"), &name, NULL);
        gguf_get_str(m->file, S("general.architecture"), &arch, NULL);
    }
    buf_add(&p->out, S("{\"name\":"));
    json_str(&p->out, name);
    buf_add(&p->out, S(",\"architecture\":"));
    json_str(&p->out, arch);
    u64 params = 0;
    for (size_t i = 0; m && m->file && i < gguf_tensor_count(m->file); i++) {
        const FileTensor *t = gguf_tensor_at(m->file, i);
        u64 n = 1;
        for (int k = 0; k < t->nd; k++) n *= t->dims[k];
        params += n;
    }
    buf_fmt(&p->out, ",\"parameters\":%U,\"file_bytes\":%U", params, p->source.size);
    if (m && m->program) {
        buf_fmt(&p->out, ",\"device\":\"%s\",\"profile\":", m->device->vt->name);
        json_str(&p->out, m->profile.name);
        buf_fmt(&p->out,
                ",\"ctx\":%u,\"vocab\":%u,\"weight_bytes\":%U,\"kv_bytes\":%U,\"kernels\":%d,"
                "\"compile_ms\":%.1f",
                m->program->ctx, m->program->vocab, m->program->weight_bytes, m->program->kv_bytes,
                m->program->nkernels, p->compile_ms);
        u32 tuned = 0;
        for (int i = 0; i < m->program->nkernels; i++)
            tuned += tuned_find(&m->tuned, m->program->kernels[i].nest_key) != NULL;
        buf_fmt(&p->out, ",\"steps\":%d,\"tuned\":%u", m->program->regimes[REGIME_ROW].nsteps,
                tuned);
    }
    buf_char(&p->out, '}');
}

// ---- requests -----------------------------------------------------------------------------------

enum { TEMPLATE_MEMORY = 16 << 20 }; // a tab's memory never shrinks again

// A chat-completions request, `now` in seconds since 1970, `zone` what the clock here adds to it.
// false: out says why.
EXPORT(hob_w_ask)
bool hob_w_ask(Page *p, const char *json, u32 n, double now, double zone) {
    Model *m = p->m;
    p->err = (Err){0};
    if (p->stage != STAGE_READY) {
        err_set(&p->err, ERR_ENGINE_BUSY, "the model is loading, answering or failed");
        out_clear(p);
        openai_error(&p->err, &p->out);
        return false;
    }
    arena_reset(p->request);
    p->text = (Buf){.arena = p->request};
    bool ok =
        openai_read(p->request, (Str){json, n}, &p->ask, &p->err) && model_tokenizer(m, &p->err);
    if (ok && !m->tmpl && m->tmpl_err.id) {
        p->err = m->tmpl_err;
        ok = false;
    }
    if (ok && !p->session && !(p->session = session_new(p->arena, m->engine, m->tok, m->tmpl)))
        ok = err_set(&p->err, ERR_OUT_OF_MEMORY, "a session cannot be made");
    if (ok) {
        ChatTime clock = chat_time((i64)(now + zone));
        session_template(p->session, &clock, (TemplateLimits){.memory = TEMPLATE_MEMORY});
    }
    ok = ok && session_ask(p->session, &p->ask.messages, &p->ask.answer, &p->err);
    if (!ok) {
        out_clear(p);
        openai_error(&p->err, &p->out);
        return false;
    }
    Str name = p->source.name;
    p->answer =
        (OpenaiAnswer){.model = p->ask.model.len ? p->ask.model : name, .created = (i64)now};
    p->answer.id = str_fmt(p->request, "chatcmpl-%U-%u", (u64)now, ++p->count);
    p->first = true;
    p->stage = STAGE_ANSWER;
    return true;
}

EXPORT(hob_w_cancel) void hob_w_cancel(Page *p) {
    if (p->stage == STAGE_ANSWER) session_cancel(p->session);
    if (p->stage == STAGE_EVAL) p->eval.n = p->eval.done;
}

static void chunk_end(Page *p) { buf_char(&p->out, '\n'); }

static PageState answer_step(Page *p) {
    out_clear(p);
    SessionEvent ev = session_step(p->session, &p->err);
    bool stream = p->ask.stream;
    if (ev.state == ENGINE_FAILED) return page_fail(p);
    if (ev.state == ENGINE_WAITING) return PAGE_WAITING;
    if (ev.state != ENGINE_TOKEN && ev.state != ENGINE_DONE) return PAGE_WORKING;
    if (stream && p->first) {
        p->first = false;
        openai_chunk_first(&p->answer, &p->out);
        chunk_end(p);
    }
    if (ev.text.len && stream) {
        openai_chunk_text(&p->answer, ev.text, &p->out);
        chunk_end(p);
    }
    if (ev.text.len && !stream) buf_add(&p->text, ev.text);
    if (ev.state == ENGINE_TOKEN) return p->out.len ? PAGE_TEXT : PAGE_WORKING;

    const EngineStats *s = engine_stats(p->m->engine);
    p->answer.finish = ev.finish;
    p->answer.prompt_tokens = s->prompt_tokens;
    p->answer.cached_tokens = s->cached_tokens;
    p->answer.answer_tokens = s->answer_tokens;
    if (!stream) {
        openai_response(&p->answer, p->text.ptr ? buf_str(&p->text) : S(""), &p->out);
    } else {
        openai_chunk_last(&p->answer, &p->out);
        if (p->ask.include_usage) {
            chunk_end(p);
            openai_chunk_usage(&p->answer, &p->out);
        }
    }
    p->stage = STAGE_READY;
    return PAGE_END;
}

// How long the last answer took, as JSON, into out.
EXPORT(hob_w_stats) void hob_w_stats(Page *p) {
    out_clear(p);
    const EngineStats *s = engine_stats(p->m->engine);
    Timing t = timing_of(s);
    buf_fmt(&p->out,
            "{\"prompt_tokens\":%u,\"cached_tokens\":%u,\"answer_tokens\":%u,\"ttft_ms\":%.1f,"
            "\"prefill_tps\":%.2f,"
            "\"decode_tps\":%.2f,\"drafted\":%u,\"accepted\":%u,\"checked\":%u,"
            "\"finish_reason\":",
            s->prompt_tokens, s->cached_tokens, s->answer_tokens, t.ttft_ms, t.prefill_tps,
            t.decode_tps, s->drafted, s->accepted, s->checked);
    json_str(&p->out, str_c(finish_name(engine_finish(p->m->engine))));
    buf_char(&p->out, '}');
}

// ---- forced decoding ----------------------------------------------------------------------------

// Argument 0: token ids; none: those of the last conversation. false: out says why.
EXPORT(hob_w_eval) bool hob_w_eval(Page *p, const i32 *ids, u32 n, u32 rows) {
    size_t all = n;
    i32 *tokens = NULL;
    p->err = (Err){0};
    if (p->stage != STAGE_READY) {
        err_set(&p->err, ERR_ENGINE_BUSY, "the model is loading, answering or failed");
    } else {
        if (!n) ids = engine_tokens(p->m->engine, &all);
        arena_reset(p->request);
        tokens = arena_try(p->request, all + 1, sizeof *ids);
        if (!tokens)
            err_set(&p->err, ERR_OUT_OF_MEMORY, "%U tokens", (u64)all);
        else
            memcpy(tokens, ids, all * sizeof *ids);
    }
    if (tokens &&
        engine_eval_begin(p->m->engine, p->request, tokens, all, rows, &p->eval, &p->err)) {
        p->stage = STAGE_EVAL;
        return true;
    }
    out_clear(p);
    openai_error(&p->err, &p->out);
    return false;
}

// Where the logits lie of the rows that came last.
EXPORT(hob_w_eval_logits) const float *hob_w_eval_logits(const Page *p) { return p->eval.logits; }

// out, after PAGE_TEXT: for each row a token, the best next one, the log-probability of the one
// that follows, and the margin; after PAGE_END: the last token. All as f64.
static PageState eval_step(Page *p) {
    EvalResult *r = &p->eval;
    out_clear(p);
    EngineState s = engine_eval_step(p->m->engine, r, &p->err);
    if (s == ENGINE_FAILED) return page_fail(p);
    if (s == ENGINE_WAITING) return PAGE_WAITING;
    if (s == ENGINE_WORKING) return PAGE_WORKING;
    for (size_t i = r->done - r->rows; s == ENGINE_TOKEN && i < r->done; i++) {
        double row[4] = {r->tokens[i], r->top[i], r->logprob[i], r->margin[i]};
        buf_add(&p->out, (Str){(const char *)row, sizeof row});
    }
    if (s == ENGINE_TOKEN) return PAGE_TEXT;
    double last = r->tokens[r->done];
    buf_add(&p->out, (Str){(const char *)&last, sizeof last});
    p->stage = STAGE_READY;
    return PAGE_END;
}

// ---- measuring schedules, while nothing is asked for --------------------------------------------

// A little of it, on the GPU of a model that is ready. TEXT: one kernel is done, and out the list
// to be kept; END: all are. Nothing is out on the device but after WAITING.
EXPORT(hob_w_tune) PageState hob_w_tune(Page *p) {
    TuneOptions o = {
        .known = &p->m->tuned, .best = 3, .rows = 32, .changes = 1, .samples = 3, .sample_ms = 10};
    if (p->stage != STAGE_READY || !p->m->profile.gpu) return PAGE_IDLE;
    p->err = (Err){0};
    if (!p->tuner && !(p->tuner = model_tuner(p->m, &o, &p->err))) return PAGE_END;
    EngineState s = tuner_step(p->tuner, &p->err);
    if (s == ENGINE_WORKING) return PAGE_WORKING;
    if (s == ENGINE_WAITING) return PAGE_WAITING;
    if (s == ENGINE_FAILED) return page_fail(p); // the device is gone, and the tuner of no use
    model_keep(p->m, p->tuner);
    out_clear(p);
    tuned_print(&p->m->tuned, &p->out);
    if (s == ENGINE_TOKEN) return PAGE_TEXT;
    tuner_free(p->tuner);
    p->tuner = NULL;
    return PAGE_END;
}

// ---- the state machine --------------------------------------------------------------------------

static PageState file_step(Page *p) {
    p->err = (Err){0};
    if (!p->m && !(p->m = model_new(log_line, p))) {
        err_set(&p->err, ERR_OUT_OF_MEMORY, "a model cannot be opened");
        return page_fail(p);
    }
    p->source.wait = p->front_n == 0 && p->source.size > 0;
    if (!p->source.wait && !model_read(p->m, &p->source, &p->err) && !p->source.wait)
        return page_fail(p);
    if (p->source.wait) {
        // too little of the file's front: begin again when more of it is here
        double start = p->m->start_ms;
        model_free(p->m);
        if ((p->m = model_new(log_line, p))) p->m->start_ms = start;
        return need(p);
    }
    arena_free(p->front_arena);
    p->front_arena = NULL;
    p->front = NULL;
    p->stage = STAGE_GRAPH;
    return PAGE_WORKING;
}

// Some values are part of the graph, wherever the file has them: they come by slots.
static PageState graph_step(Page *p) {
    p->err = (Err){0};
    if (!model_graph(p->m, &p->options, &p->err)) return p->source.wait ? need(p) : page_fail(p);
    p->stage = STAGE_HEADER;
    return PAGE_HEADER;
}

EXPORT(hob_w_step) PageState hob_w_step(Page *p) {
    switch (p->stage) {
    case STAGE_FILE: return file_step(p);
    case STAGE_GRAPH: return graph_step(p);
    case STAGE_HEADER: return PAGE_HEADER;
    case STAGE_LOAD: {
        EngineState s = model_load_step(p->m, &p->err);
        if (s == ENGINE_FAILED) return page_fail(p);
        if (s == ENGINE_WAITING) return p->source.wait ? need(p) : PAGE_WAITING;
        if (s != ENGINE_DONE) return PAGE_WORKING;
        p->stage = STAGE_READY;
        return PAGE_READY;
    }
    case STAGE_READY: return PAGE_IDLE;
    case STAGE_ANSWER: return answer_step(p);
    case STAGE_EVAL: return eval_step(p);
    case STAGE_FAILED: return page_fail(p);
    }
    return PAGE_IDLE;
}
