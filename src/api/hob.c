// api/hob.c: the public C API (include/hob.h) on a native machine: files, errors as C structs,
// waiting.
//
// Everything it does is Model's and Session's; here are only the checks at the border and the loop
// that waits. It waits by polling: a device that answers later makes progress of its own.
#if !defined(__wasm__)
#define _POSIX_C_SOURCE 200809L
#include "hob.h"

#include "api/api.h"

#include <stdatomic.h>
#include <time.h>

struct hob_model {
    Model *m;
    Source source;
    void (*log)(void *user, const char *line);
    void *user;
};

struct hob_session {
    hob_model *model;
    Arena *arena, *request;
    Session *s;
    Err err;
    hob_error error;
    EngineStats stats; // of its last answer: the engine's own are those of whoever asked last
    atomic_bool cancel;
};

static void tell(const Err *e, hob_error *out) {
    if (!out) return;
    out->id = (int)e->id;
    Buf b = {.ptr = out->message, .cap = sizeof out->message};
    err_print(e, &b);
}

static void log_line(void *user, Str line) {
    hob_model *h = user;
    char text[512];
    Buf b = {.ptr = text, .cap = sizeof text};
    buf_add(&b, line);
    if (h->log) h->log(h->user, b.ptr);
}

const char *hob_version(void) { return HOB_VERSION; }

const char *hob_error_name(int id) { return id >= 0 && id < ERR_COUNT ? err_name((ErrId)id) : "?"; }

Model *hob_model_inside(hob_model *h) { return h->m; }

static bool text_of(Arena *a, const char *path, Str *out, Err *err) {
    *out = S("");
    return !path || source_file_text(a, str_c(path), out, err);
}

bool model_profile_given(Model *m, Str given, Err *err) {
    Str text = S("");
    Profile ignored;
    Err why = {0};
    if (given.len == 0) return true;
    if (profile_named(given, &ignored)) return model_profile(m, given, text, text, err);
    if (source_file_text(m->arena, given, &text, &why))
        return model_profile(m, S(""), text, given, err);
    err_set(err, why.id, "%s, or name a built-in profile: " PROFILE_NAMES, why.msg);
    return err_file(err, given);
}

static bool open_stages(hob_model *h, const hob_open_desc *d, Err *err) {
    Model *m = h->m;
    CompileOptions o = {.graph_file = str_c(d->graph), .schedule_file = str_c(d->schedule)};
    Str tuned = S("");
    Err why = {0};
    if (d->threads < 0 || d->ctx < 0 || d->rows < 0)
        return err_set(err, ERR_USAGE, "threads, ctx and rows are 0 or more");
    if (!source_file_open(m->arena, str_c(d->path), &h->source, err) ||
        !model_read(m, &h->source, err))
        return false;
    if (d->speculate < -1 || d->speculate > SPECULATE_MOST)
        return err_set(err, ERR_USAGE, "speculate is -1 to %d", SPECULATE_MOST);
    m->speculate = d->speculate == 0 ? -1 : MAX2(d->speculate, 0);
    ModelOptions mo = {.ctx = (u32)d->ctx, .m_max = (u32)d->rows};
    if (m->speculate) o.few_m = SPECULATE_MOST + 1;
    DeviceOptions dopt = {.threads = d->threads};
    if (!model_graph(m, &mo, err) || !model_device(m, str_c(d->device), &dopt, err)) return false;
    if (!model_profile_given(m, str_c(d->profile), err) || !model_mode(m, str_c(d->mode), err) ||
        !text_of(m->arena, d->graph, &o.graph_text, err) ||
        !text_of(m->arena, d->schedule, &o.schedule_text, err))
        return false;
    if (d->tuned && !source_file_text(m->arena, str_c(d->tuned), &tuned, &why)) {
        err_file(&why, str_c(d->tuned));
        model_say(m, &why, " (no measured schedules are used)");
    }
    model_tuned(m, tuned, str_c(d->tuned));
    if (!model_compile(m, &o, err) || !model_start(m, err)) return false;
    for (EngineState s; (s = model_load_step(m, err)) != ENGINE_DONE;) {
        if (s == ENGINE_FAILED) return false;
        if (s == ENGINE_WAITING) clock_nap();
        if (d->progress && d->progress(d->user, m->load.done, m->load.total))
            return err_set(err, ERR_INTERRUPTED, "loading was stopped");
    }
    return true;
}

hob_model *hob_open(const hob_open_desc *desc, hob_error *error) {
    Err err = {0};
    hob_model *h = NULL;
    Model *m = model_new(NULL, NULL);
    if (!m) {
        err_set(&err, ERR_OUT_OF_MEMORY, "a model cannot be opened");
    } else if (!desc || !desc->path) {
        err_set(&err, ERR_USAGE, "name a model file");
    } else {
        h = NEW(m->arena, hob_model);
        *h = (hob_model){.m = m, .log = desc->log, .user = desc->user};
        m->log = log_line;
        m->user = h;
        if (open_stages(h, desc, &err)) return h;
    }
    if (h) source_file_close(&h->source);
    model_free(m);
    tell(&err, error);
    return NULL;
}

void hob_close(hob_model *h) {
    if (!h) return;
    source_file_close(&h->source); // first: its file lies in the model's arena, as h does
    model_free(h->m);
}

const char *hob_device_name(const hob_model *h) { return h->m->device->vt->name; }

int hob_context(const hob_model *h) { return (int)h->m->program->ctx; }

// ---- sessions -----------------------------------------------------------------------------------

hob_session *hob_session_new(hob_model *h, hob_error *error) {
    Err err = {0};
    Model *m = h->m;
    Arena *a = NULL;
    if (model_tokenizer(m, &err) && !(a = arena_new(NULL)))
        err_set(&err, ERR_OUT_OF_MEMORY, "a session cannot be made");
    if (a) {
        hob_session *s = NEW(a, hob_session);
        s->model = h;
        s->arena = a;
        s->request = arena_new(NULL);
        s->s = s->request ? session_new(a, m->engine, m->tok, m->tmpl) : NULL;
        if (s->s) return s;
        arena_free(s->request);
        arena_free(a);
        err_set(&err, ERR_OUT_OF_MEMORY, "a session cannot be made");
    }
    tell(&err, error);
    return NULL;
}

void hob_session_free(hob_session *s) {
    if (!s) return;
    session_free(s->s);
    arena_free(s->request);
    arena_free(s->arena);
}

static int begun(hob_session *s, bool ok, hob_error *error) {
    if (ok) return 0;
    tell(&s->err, error);
    tell(&s->err, &s->error);
    return 1;
}

static void reset(hob_session *s) {
    session_cancel(s->s);
    arena_reset(s->request);
    s->err = (Err){0};
    s->error = (hob_error){0};
    s->stats = (EngineStats){0};
    atomic_store(&s->cancel, false);
}

// The date that a chat template may ask for is this machine's, in its own time zone.
static void set_clock(Session *s) {
    time_t t = time(NULL);
    struct tm tm;
    if (!localtime_r(&t, &tm)) return;
    ChatTime now = {tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec};
    session_template(s, &now, (TemplateLimits){0});
}

int hob_chat(hob_session *s, const char *request_json, hob_error *error) {
    reset(s);
    OpenaiRequest r;
    bool ok = openai_read(s->request, str_c(request_json), &r, &s->err);
    if (ok && !s->model->m->tmpl && s->model->m->tmpl_err.id) {
        s->err = s->model->m->tmpl_err;
        ok = false;
    }
    set_clock(s->s);
    return begun(s, ok && session_ask(s->s, &r.messages, &r.answer, &s->err), error);
}

int hob_complete(hob_session *s, const char *text, size_t len, const hob_sample *o,
                 hob_error *error) {
    reset(s);
    AnswerOptions a = {0};
    if (o)
        a = (AnswerOptions){.max_tokens = o->max_tokens,
                            .sample = {o->temperature, o->top_k, o->seed}};
    return begun(s, session_complete(s->s, (Str){text, len}, &a, &s->err), error);
}

int hob_next(hob_session *s, hob_event *out) {
    *out = (hob_event){.text = "", .token = -1};
    for (;;) {
        if (atomic_load(&s->cancel)) session_cancel(s->s);
        SessionEvent ev = session_step(s->s, &s->err);
        switch (ev.state) {
        case ENGINE_WORKING: break;
        case ENGINE_WAITING: clock_nap(); break;
        case ENGINE_TOKEN:
        case ENGINE_DONE:
            s->stats = *engine_stats(s->model->m->engine);
            out->text = ev.text.len ? ev.text.ptr : "";
            out->text_len = ev.text.len;
            out->token = ev.token;
            out->done = ev.state == ENGINE_DONE;
            out->finish_reason = out->done ? finish_name(ev.finish) : NULL;
            return 1;
        case ENGINE_FAILED: tell(&s->err, &s->error); return 0;
        case ENGINE_IDLE: return 0;
        }
    }
}

void hob_cancel(hob_session *s) { atomic_store(&s->cancel, true); }

const hob_error *hob_session_error(const hob_session *s) { return &s->error; }

void hob_session_stats(const hob_session *s, hob_stats *out) {
    const EngineStats *e = &s->stats;
    Timing t = timing_of(e);
    *out = (hob_stats){(int)e->prompt_tokens,
                       (int)e->cached_tokens,
                       (int)e->answer_tokens,
                       s->model->m->load_ms,
                       t.ttft_ms,
                       t.prefill_tps,
                       t.decode_tps,
                       (int)e->drafted,
                       (int)e->accepted};
}

// ---- text and evaluation ------------------------------------------------------------------------

int hob_tokenize(hob_model *h, const char *text, size_t len, int add_bos, int32_t *ids, int max,
                 hob_error *error) {
    Err err = {0};
    TokenIds out = {0};
    int n = -1;
    Arena *a = arena_new(NULL);
    if (!a) err_set(&err, ERR_OUT_OF_MEMORY, "a text cannot be split");
    if (a && model_tokenizer(h->m, &err) &&
        tokenizer_encode(h->m->tok, a, (Str){text, len},
                         TOKENIZE_SPECIAL | (add_bos ? TOKENIZE_BOS : 0), &out, &err)) {
        n = (int)out.n;
        for (int i = 0; i < n && i < max; i++) ids[i] = out.at[i];
    }
    arena_free(a);
    if (n < 0) tell(&err, error);
    return n;
}

int hob_eval(hob_model *h, const int32_t *ids, size_t n, int step_rows, int32_t *top,
             double *logprob, hob_error *error) {
    Err err = {0};
    Arena *a = arena_new(NULL);
    EvalResult r = {0};
    bool ok = a ? engine_eval(h->m->engine, a, ids, n, (u32)MAX2(step_rows, 0), &r, &err)
                : err_set(&err, ERR_OUT_OF_MEMORY, "tokens cannot be evaluated");
    if (ok) {
        memcpy(top, r.top, r.n * sizeof *top);
        memcpy(logprob, r.logprob, r.n * sizeof *logprob);
    } else {
        tell(&err, error);
    }
    arena_free(a);
    return ok ? 0 : 1;
}

#else
typedef int api_hob_is_native_only; // a translation unit must hold a declaration
#endif
