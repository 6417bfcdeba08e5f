// api/model.c: a model file becomes an engine, stage by stage.
//
// The file is read first, then the device is opened, because the compiler wants its profile; then
// compiling, then the weights stream. Everything lives in one arena and goes with it.
#include "api/api.h"

Model *model_new(void (*log)(void *user, Str line), void *user) {
    Arena *a = arena_new(NULL);
    if (!a) return NULL;
    Model *m = NEW(a, Model);
    m->arena = a;
    m->log = log;
    m->user = user;
    m->start_ms = clock_ms();
    return m;
}

void model_free(Model *m) {
    if (!m) return;
    engine_free(m->engine);
    checker_free(m->checker);
    device_close(m->device);
    arena_free(m->arena);
}

bool model_read(Model *m, Source *src, Err *err) {
    if (!format_open(m->arena, src, &m->file, err)) return err_file(err, src->name);
    m->has_vocab = gguf_has(m->file, S("tokenizer.ggml.model"));
    if (!m->has_vocab) return true;
    if (!vocab_from_gguf(m->arena, m->file, &m->vocab, err) ||
        !tokenizer_new(m->arena, &m->vocab, &m->tok, err))
        return err_file(err, src->name);
    // A template that cannot be read does not keep anyone from the raw text.
    if (m->vocab.chat_template.ptr &&
        !template_compile(m->arena, S("chat_template"), m->vocab.chat_template, &m->tmpl,
                          &m->tmpl_err))
        m->tmpl = NULL;
    return true;
}

bool model_tokenizer(const Model *m, Err *err) {
    if (m->has_vocab) return true;
    err_set(err, ERR_VOCAB_NONE,
            "the file has no vocabulary, so text means nothing to it; convert the model anew");
    return err_file(err, gguf_source(m->file)->name);
}

bool model_graph(Model *m, const ModelOptions *o, Err *err) {
    if (!model_build(m->arena, m->file, o, &m->graph, err))
        return err_file(err, gguf_source(m->file)->name);
    if (!m->has_vocab || m->vocab.n_tokens <= m->graph->vocab) return true;
    err_set(err, ERR_ENGINE_VOCAB,
            "the vocabulary has %u tokens, the embedding table %u rows; convert the model anew",
            m->vocab.n_tokens, m->graph->vocab);
    return err_file(err, gguf_source(m->file)->name);
}

bool model_device(Model *m, Str name, const DeviceOptions *o, Err *err) {
    DeviceOptions opts = o ? *o : (DeviceOptions){0};
#if !defined(HOB_PAGE) // a page has no time for it: a kernel that is missing is an error there
    if (!opts.interp) opts.interp = tune_interp;
#endif
    opts.log = m->log;
    opts.user = m->user;
    return device_open(m->arena, name.len ? name : S("cpu"), &opts, &m->device, err) &&
           device_profile(m->device, &m->profile, err);
}

bool model_profile(Model *m, Str name, Str text, Str file, Err *err) {
    if (name.len && !profile_named(name, &m->profile))
        return err_set(err, ERR_PROFILE_FIELD,
                       "there is no profile named %S; known: " PROFILE_NAMES, name);
    return profile_read(m->arena, text, file, &m->profile, err);
}

bool model_mode(Model *m, Str mode, Err *err) {
    if (str_eq(mode, S("fast")))
        m->profile.act_bits = 8;
    else if (str_eq(mode, S("reference")))
        m->profile.act_bits = 0;
    else if (mode.len)
        return err_set(err, ERR_USAGE, "no mode '%S'; known: fast, reference", mode);
    return true;
}

void model_say(const Model *m, const Err *why, const char *what) {
    char text[640];
    Buf b = {.ptr = text, .cap = sizeof text};
    if (!m->log) return;
    err_print(why, &b);
    buf_add(&b, str_c(what));
    (m->log)(m->user, buf_str(&b)); // a page has a macro of that name
}

void model_tuned(Model *m, Str text, Str file) {
    Err bad = {0}, why = {0};
    m->tuned.adapter = m->device->adapter;
    if (text.len && !tuned_read(m->arena, text, &m->tuned, &bad, &why)) bad = why;
    if (bad.id == ERR_NONE) return;
    err_file(&bad, file);
    model_say(m, &bad, " (not used)");
}

// A compile fails with the schedule that it was given last, if it was given one for that nest.
typedef struct Given {
    const TunedList *list;
    const Tuned **last;
} Given;

static Str give(const void *user, u64 nest_key) {
    const Given *g = user;
    *g->last = tuned_find(g->list, nest_key);
    return *g->last ? (*g->last)->schedule : (Str){0};
}

bool model_compile(Model *m, CompileOptions *o, Err *err) {
    const Tuned *last;
    const Given given = {&m->tuned, &last};
    o->profile = &m->profile;
    if (!o->dialect && m->profile.gpu) o->dialect = &dialect_wgsl;
    m->options = *o;
    CompileOptions with = *o;
    if (m->tuned.all.n) {
        with.tuned = give;
        with.tuned_user = &given;
    }
    for (;;) {
        Err why = {0};
        last = NULL;
        if (compile_program(m->arena, m->graph, &with, &m->program, &why)) break;
        if (!last || !last->schedule.len) {
            *err = why;
            return err_file(err, gguf_source(m->file)->name);
        }
        // what was found best once may be refused by now: the others stay
        model_say(m, &why, " (not used)");
        tuned_put(m->arena, &m->tuned, &(Tuned){last->adapter, last->nest_key, (Str){0}});
    }
    return program_verify(m->program, err);
}

Tuner *model_tuner(const Model *m, TuneOptions *o, Err *err) {
    o->graph = m->graph;
    o->compile = &m->options;
    return tuner_new(m->engine, o, err);
}

void model_keep(Model *m, const Tuner *t) {
    int n;
    const TuneResult *r = tuner_results(t, &n);
    for (int i = 0; i < n; i++)
        tuned_put(m->arena, &m->tuned, &(Tuned){m->device->adapter, r[i].nest_key, r[i].schedule});
}

static void say_rule(void *user, const Err *why) {
    model_say(user, why, " (measured before: the rule's own schedule is used)");
}

bool model_start(Model *m, Err *err) {
    EngineDesc d = {
        .device = m->device, .program = m->program, .file = m->file, .speculate = m->speculate};
    if (!str_eq(str_c(m->device->vt->name), S("null"))) { // which computes nothing, rightly
        m->checker = checker_new(m->arena);
        d.hooks = (EngineHooks){tune_check_or_fall_back, &m->fallback};
    }
    if (!engine_new(m->arena, &d, &m->engine, err)) return false;
    m->fallback = (TuneFallback){m->checker,  m->engine, m->program, m->arena, m->graph,
                                 &m->options, &m->tuned, say_rule,   m};
    return true;
}

EngineState model_load_step(Model *m, Err *err) {
    EngineState s = engine_load_step(m->engine, &m->load, err);
    if (s == ENGINE_DONE && m->load_ms == 0) m->load_ms = clock_ms() - m->start_ms;
    if (s == ENGINE_FAILED) err_file(err, gguf_source(m->file)->name);
    return s;
}

Timing timing_of(const EngineStats *s) {
    Timing t = {0};
    if (s->answer_tokens == 0 && s->first_ms == 0) return t;
    t.ttft_ms = s->first_ms - s->start_ms;
    double prefill_ms = t.ttft_ms - s->check_ms;
    if (prefill_ms > 0) t.prefill_tps = (s->prompt_tokens - s->cached_tokens) * 1000.0 / prefill_ms;
    double decode_ms = s->last_ms - s->first_ms - s->pause_ms;
    if (s->answer_tokens > 1 && decode_ms > 0)
        t.decode_tps = (s->answer_tokens - 1) * 1000.0 / decode_ms;
    return t;
}
