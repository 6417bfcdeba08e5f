// engine/session.c: one conversation: messages or text in, whole UTF-8 characters out.
//
// An answer's text is held back while it might be the beginning of a stop string or of a character
// that is not complete yet, so that nothing is ever shown that would have to be taken back. A turn
// renders the whole conversation again; the engine keeps what its cache holds of it already.
#include "engine/engine.h"

struct Session {
    Engine *engine;
    const Tokenizer *tok;
    const Template *tmpl;
    ChatTime now;
    ChatVars vars;
    Arena *turn; // one question and its answer
    AnswerOptions o;
    Utf8Stream utf8;
    Buf held;    // text that was made and not shown
    size_t show; // of it, shown by the last event and to be dropped now
    bool over;   // the answer ended; what is held is its last text
    bool done;   // and that was told
    Finish finish;
};

Session *session_new(Arena *a, Engine *e, const Tokenizer *t, const Template *tmpl) {
    Session *s = NEW(a, Session);
    s->engine = e;
    s->tok = t;
    s->tmpl = tmpl;
    s->turn = arena_new(NULL);
    s->done = true;
    return s->turn ? s : NULL;
}

void session_free(Session *s) {
    if (!s) return;
    session_cancel(s);
    arena_free(s->turn);
    s->turn = NULL;
}

void session_template(Session *s, const ChatTime *now, TemplateLimits limits) {
    if (now) s->now = *now;
    s->vars = (ChatVars){.now = now ? &s->now : NULL, .limits = limits};
}

static bool is_end(void *user, i32 token) {
    return tokenizer_is_end(((Session *)user)->tok, token);
}

static bool begin(Session *s, const TokenIds *ids, const AnswerOptions *o, Err *err) {
    s->o = *o;
    for (int i = 0; i < o->nstop; i++) s->o.stop[i] = arena_str(s->turn, o->stop[i]);
    s->utf8 = (Utf8Stream){0};
    s->held = (Buf){.arena = s->turn};
    s->show = 0;
    s->over = s->done = false;
    EngineRequest r = {.prompt = ids->at,
                       .n = ids->n,
                       .max_tokens = o->max_tokens,
                       .sample = o->sample,
                       .is_end = is_end,
                       .user = s};
    if (engine_start(s->engine, &r, err)) return true;
    s->done = true;
    return false;
}

static bool check_options(const AnswerOptions *o, Err *err) {
    if (o->nstop < 0 || o->nstop > STOPS_MAX)
        return err_set(err, ERR_ENGINE_OPTION, "%d stop strings; give at most %d", o->nstop,
                       STOPS_MAX);
    for (int i = 0; i < o->nstop; i++)
        if (o->stop[i].len == 0 || o->stop[i].len > STOP_BYTES_MAX)
            return err_set(err, ERR_ENGINE_OPTION, "a stop string has 1 to %d bytes, not %U",
                           STOP_BYTES_MAX, (u64)o->stop[i].len);
    return true;
}

static Str special(const Session *s, i32 id) {
    const Vocab *v = tokenizer_vocab(s->tok);
    return id >= 0 && (u32)id < v->n_tokens ? v->tokens[id].text : (Str){0};
}

bool session_ask(Session *s, const ChatMessages *m, const AnswerOptions *o, Err *err) {
    if (!s->tmpl)
        return err_set(err, ERR_ENGINE_TEMPLATE,
                       "the model file has no chat template; ask it with raw text");
    if (!check_options(o, err)) return false;
    session_cancel(s);
    arena_reset(s->turn);
    const Vocab *v = tokenizer_vocab(s->tok);
    Buf text = {.arena = s->turn};
    TokenIds ids = {0};
    // The template spells the special tokens itself, the first one too.
    return template_render_chat(s->turn, s->tmpl, m, special(s, v->bos), special(s, v->eos), true,
                                &s->vars, &text, err) &&
           tokenizer_encode(s->tok, s->turn, text.ptr ? buf_str(&text) : S(""), TOKENIZE_SPECIAL,
                            &ids, err) &&
           begin(s, &ids, o, err);
}

bool session_complete(Session *s, Str text, const AnswerOptions *o, Err *err) {
    if (!check_options(o, err)) return false;
    session_cancel(s);
    arena_reset(s->turn);
    const Vocab *v = tokenizer_vocab(s->tok);
    TokenIds ids = {0};
    u32 flags = TOKENIZE_SPECIAL | (v->add_bos && v->bos >= 0 ? TOKENIZE_BOS : 0);
    return tokenizer_encode(s->tok, s->turn, text, flags, &ids, err) && begin(s, &ids, o, err);
}

void session_cancel(Session *s) {
    if (s->done || s->over) return;
    engine_stop(s->engine, FINISH_CANCEL);
    s->over = true;
    s->finish = FINISH_CANCEL;
}

// Where the first stop string begins in the text that is held; -1: nowhere.
static i64 find_stop(const Session *s) {
    i64 first = -1;
    Str text = buf_str(&s->held);
    for (int i = 0; i < s->o.nstop; i++) {
        Str stop = s->o.stop[i];
        for (size_t at = 0; at + stop.len <= text.len; at++) {
            if (memcmp(text.ptr + at, stop.ptr, stop.len) == 0) {
                if (first < 0 || (i64)at < first) first = (i64)at;
                break;
            }
        }
    }
    return first;
}

// How many bytes at the end of the held text may be the beginning of a stop string.
static size_t maybe_stop(const Session *s) {
    size_t longest = 0;
    Str text = buf_str(&s->held);
    for (int i = 0; i < s->o.nstop; i++) {
        Str stop = s->o.stop[i];
        for (size_t n = MIN2(stop.len - 1, text.len); n > longest; n--) {
            if (memcmp(text.ptr + text.len - n, stop.ptr, n) == 0) {
                longest = n;
                break;
            }
        }
    }
    return longest;
}

static void drop_shown(Session *s) {
    if (s->show == 0) return;
    memmove(s->held.ptr, s->held.ptr + s->show, s->held.len - s->show);
    s->held.len -= s->show;
    s->show = 0;
}

static SessionEvent last_event(Session *s) {
    utf8_stream_end(&s->utf8, &s->held);
    i64 stop = s->held.len ? find_stop(s) : -1;
    if (stop >= 0) {
        s->held.len = (size_t)stop;
        if (s->finish == FINISH_LENGTH) s->finish = FINISH_STOP;
    }
    s->done = true;
    s->show = s->held.len;
    return (SessionEvent){ENGINE_DONE, s->held.len ? buf_str(&s->held) : S(""), -1, s->finish};
}

SessionEvent session_step(Session *s, Err *err) {
    if (s->done) return (SessionEvent){.state = ENGINE_IDLE, .token = -1};
    drop_shown(s);
    if (s->over) return last_event(s);
    EngineState state = engine_step(s->engine, err);
    if (state == ENGINE_FAILED) s->done = true;
    if (state == ENGINE_DONE) {
        s->over = true;
        s->finish = engine_finish(s->engine);
        return last_event(s);
    }
    if (state != ENGINE_TOKEN) return (SessionEvent){.state = state, .token = -1};

    i32 token = engine_token(s->engine);
    Buf bytes = {.arena = s->turn};
    if (!tokenizer_decode_one(s->tok, token, 0, &bytes, err)) {
        engine_stop(s->engine, FINISH_CANCEL);
        s->done = true;
        return (SessionEvent){.state = ENGINE_FAILED, .token = -1};
    }
    if (bytes.len) utf8_stream_push(&s->utf8, buf_str(&bytes), &s->held);
    SessionEvent ev = {.state = ENGINE_TOKEN, .token = token, .text = S("")};
    if (s->held.len == 0) return ev;
    i64 stop = find_stop(s);
    if (stop >= 0) {
        engine_stop(s->engine, FINISH_STOP);
        s->utf8 = (Utf8Stream){0}; // what waits comes after the stop
        s->held.len = (size_t)stop;
        s->finish = FINISH_STOP;
        s->over = true;
        s->show = s->held.len;
    } else {
        s->show = s->held.len - maybe_stop(s);
    }
    ev.text = (Str){s->held.ptr, s->show};
    return ev;
}
