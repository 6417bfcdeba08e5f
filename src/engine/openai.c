// engine/openai.c: OpenAI's chat completions: a request in, a response or its stream out, as JSON.
//
// What a request may hold is a table. A field that is not in it is an error that names the field,
// because a setting that is silently dropped gives answers nobody asked for; fields of OpenAI's
// whose only value here is the default are accepted with that value. Numbers are checked before
// they are cast.
#include "engine/engine.h"

typedef enum FieldKind {
    F_MESSAGES,
    F_MODEL,
    F_STREAM,
    F_STREAM_OPTIONS,
    F_MAX_TOKENS,
    F_TEMPERATURE,
    F_TOP_K,
    F_SEED,
    F_STOP,
    F_ONE,    // a number that must be 1
    F_ZERO,   // a number that must be 0
    F_FALSE,  // a boolean that must be false
    F_IGNORE, // a string or object that says nothing about the answer
} FieldKind;

static const struct {
    const char *name;
    FieldKind kind;
} fields[] = {
    {"messages", F_MESSAGES},
    {"model", F_MODEL},
    {"stream", F_STREAM},
    {"stream_options", F_STREAM_OPTIONS},
    {"max_tokens", F_MAX_TOKENS},
    {"max_completion_tokens", F_MAX_TOKENS},
    {"temperature", F_TEMPERATURE},
    {"top_k", F_TOP_K},
    {"seed", F_SEED},
    {"stop", F_STOP},
    {"n", F_ONE},
    {"top_p", F_ONE},
    {"frequency_penalty", F_ZERO},
    {"presence_penalty", F_ZERO},
    {"logprobs", F_FALSE},
    {"store", F_FALSE},
    {"user", F_IGNORE},
    {"metadata", F_IGNORE},
};

static bool wrong(Err *err, ErrId id, Str field, const char *what) {
    err_set(err, id, "%s", what);
    err_subject(err, field);
    return err_file(err, S("request"));
}

static bool number(JVal v, double lo, double hi, Str field, double *out, Err *err) {
    if (v.type != J_INT && v.type != J_FLOAT)
        return wrong(err, ERR_REQUEST_TYPE, field, "it must be a number");
    *out = v.type == J_INT ? (double)v.i : v.f;
    if (*out >= lo && *out <= hi) // NaN fails this too
        return true;
    err_set(err, ERR_REQUEST_RANGE,
            lo < hi ? "it must be from %g to %g" : "only %g is known; leave it out", lo, hi);
    err_subject(err, field);
    return err_file(err, S("request"));
}

// A whole number: 3 and 3.0 are, 3.5 is not.
static bool whole(JVal v, i64 lo, i64 hi, Str field, i64 *out, Err *err) {
    if (v.type != J_INT && v.type != J_FLOAT)
        return wrong(err, ERR_REQUEST_TYPE, field, "it must be a whole number");
    bool exact = v.type == J_INT || (v.f >= -9007199254740992.0 && v.f <= 9007199254740992.0 &&
                                     v.f == (double)(i64)v.f);
    i64 i = v.type == J_INT ? v.i : exact ? (i64)v.f : 0;
    if (exact && i >= lo && i <= hi) {
        *out = i;
        return true;
    }
    err_set(err, ERR_REQUEST_RANGE, "it must be a whole number from %D to %D", lo, hi);
    err_subject(err, field);
    return err_file(err, S("request"));
}

static bool boolean(JVal v, Str field, bool *out, Err *err) {
    if (v.type != J_BOOL) return wrong(err, ERR_REQUEST_TYPE, field, "it must be true or false");
    *out = v.b;
    return true;
}

static bool read_content(JVal content, Str role, Err *err) {
    if (content.type == J_STR) return true;
    if (content.type == J_NONE && str_eq(role, S("assistant"))) return true;
    if (content.type != J_LIST)
        return wrong(err, ERR_REQUEST_TYPE, S("messages"),
                     "a message's content must be a string or a list of text parts");
    for (size_t i = 0; i < jval_len(content); i++) {
        JVal part = jval_list_at(content, i), type, text;
        if (part.type != J_DICT || !jval_dict_get(part, S("type"), &type) || type.type != J_STR ||
            !str_eq(type.s, S("text")) || !jval_dict_get(part, S("text"), &text) ||
            text.type != J_STR)
            return wrong(err, ERR_REQUEST_TYPE, S("messages"),
                         "a part of a message's content must be {\"type\": \"text\", \"text\": "
                         "\"...\"}; images and sound are not known");
    }
    return true;
}

// Lists of text parts are joined and null is empty, because most templates know strings only.
static JVal plain_message(Arena *a, JVal m, JVal content) {
    Buf b = {.arena = a};
    for (size_t i = 0; i < jval_len(content); i++) {
        JVal text = {0};
        if (jval_dict_get(jval_list_at(content, i), S("text"), &text)) buf_add(&b, text.s);
    }
    jval_dict_put(a, m, S("content"), jval_str(b.ptr ? buf_str(&b) : S("")));
    return m;
}

static bool read_messages(Arena *a, JVal v, ChatMessages *out, Err *err) {
    static const char *const roles[] = {"system", "developer", "user", "assistant", "tool"};
    if (v.type != J_LIST || jval_len(v) == 0)
        return wrong(err, ERR_REQUEST_TYPE, S("messages"),
                     "it must be a list of at least one message");
    out->arena = a;
    for (size_t i = 0; i < jval_len(v); i++) {
        JVal m = jval_list_at(v, i), role = {0}, content = {0};
        if (m.type != J_DICT)
            return wrong(err, ERR_REQUEST_TYPE, S("messages"), "each message must be an object");
        if (!jval_dict_get(m, S("role"), &role) || role.type != J_STR)
            return wrong(err, ERR_REQUEST_TYPE, S("messages"),
                         "each message needs a role, a string");
        bool known = false;
        for (size_t k = 0; k < COUNT_OF(roles); k++) known |= str_eq(role.s, str_c(roles[k]));
        if (!known)
            return wrong(err, ERR_REQUEST_RANGE, S("messages"),
                         "a role is system, developer, user, assistant or tool");
        if (!jval_dict_get(m, S("content"), &content))
            return wrong(err, ERR_REQUEST_TYPE, S("messages"), "each message needs content");
        if (!read_content(content, role.s, err)) return false;
        if (content.type != J_STR) m = plain_message(a, m, content);
        if (str_eq(role.s, S("developer"))) // OpenAI's newer name for the same thing
            jval_dict_put(a, m, S("role"), jval_str(S("system")));
    }
    out->list = v;
    return true;
}

static bool add_stop(JVal v, AnswerOptions *o, Err *err) {
    if (v.type != J_STR)
        return wrong(err, ERR_REQUEST_TYPE, S("stop"), "it must be a string or a list of strings");
    if (v.s.len == 0 || v.s.len > STOP_BYTES_MAX)
        return wrong(err, ERR_REQUEST_RANGE, S("stop"), "a stop string has 1 to 256 bytes");
    if (o->nstop == STOPS_MAX)
        return wrong(err, ERR_REQUEST_RANGE, S("stop"), "there may be at most 4 stop strings");
    o->stop[o->nstop++] = v.s;
    return true;
}

static bool read_stop(JVal v, AnswerOptions *o, Err *err) {
    if (v.type != J_LIST) return add_stop(v, o, err);
    for (size_t i = 0; i < jval_len(v); i++)
        if (!add_stop(jval_list_at(v, i), o, err)) return false;
    return true;
}

static bool read_stream_options(JVal v, OpenaiRequest *out, Err *err) {
    Str field = S("stream_options");
    JVal usage = {0};
    if (v.type != J_DICT) return wrong(err, ERR_REQUEST_TYPE, field, "it must be an object");
    bool has = jval_dict_get(v, S("include_usage"), &usage);
    if (jval_len(v) != (has ? 1u : 0u))
        return wrong(err, ERR_REQUEST_FIELD, field,
                     "it holds a field that is not known; known: include_usage");
    return !has || boolean(usage, S("stream_options.include_usage"), &out->include_usage, err);
}

static bool read_field(Arena *a, FieldKind kind, Str name, JVal v, OpenaiRequest *out, Err *err) {
    AnswerOptions *o = &out->answer;
    double d;
    i64 i;
    bool b = false;
    if (v.type == J_NONE && kind != F_MESSAGES) return true; // null: as if it were not there
    switch (kind) {
    case F_MESSAGES: return read_messages(a, v, &out->messages, err);
    case F_MODEL:
        if (v.type != J_STR) return wrong(err, ERR_REQUEST_TYPE, name, "it must be a string");
        out->model = v.s;
        return true;
    case F_STREAM: return boolean(v, name, &out->stream, err);
    case F_STREAM_OPTIONS: return read_stream_options(v, out, err);
    case F_MAX_TOKENS: return whole(v, 1, (i64)1 << 31, name, &o->max_tokens, err);
    case F_TEMPERATURE: return number(v, 0, 2, name, &o->sample.temperature, err);
    case F_TOP_K:
        if (!whole(v, 0, INT32_MAX, name, &i, err)) return false;
        o->sample.top_k = (i32)i;
        return true;
    case F_SEED:
        // beyond 2^53 JavaScript's numbers are no longer exact: two seeds would be one
        if (!whole(v, -((i64)1 << 53), (i64)1 << 53, name, &i, err)) return false;
        o->sample.seed = (u64)i;
        return true;
    case F_STOP: return read_stop(v, o, err);
    case F_ONE: return number(v, 1, 1, name, &d, err);
    case F_ZERO: return number(v, 0, 0, name, &d, err);
    case F_FALSE:
        if (!boolean(v, name, &b, err)) return false;
        return !b || wrong(err, ERR_REQUEST_RANGE, name, "only false is known here");
    case F_IGNORE: return true;
    }
    return true;
}

// The first key that is no field's name.
static Str unknown_field(Arena *a, JVal request) {
    Str name = S("?");
    for (size_t i = 0; i < jval_len(request); i++) {
        Str key = jval_dict_key(request, i);
        bool known = false;
        for (size_t k = 0; k < COUNT_OF(fields); k++) known |= str_eq(key, str_c(fields[k].name));
        if (!known) {
            name = arena_str(a, key);
            break;
        }
    }
    return name;
}

bool openai_read(Arena *a, Str json, OpenaiRequest *out, Err *err) {
    JVal r;
    *out = (OpenaiRequest){.answer.sample.temperature = 1};
    Err why = {0};
    if (!jval_from_json(a, json, &r, &why)) {
        Buf b = {.arena = a};
        err_print(&why, &b);
        err_set(err, ERR_REQUEST_JSON, "%S", b.ptr ? buf_str(&b) : S("not JSON"));
        return err_file(err, S("request"));
    }
    if (r.type != J_DICT) return wrong(err, ERR_REQUEST_TYPE, (Str){0}, "it must be a JSON object");
    size_t seen = 0;
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        JVal v;
        Str name = str_c(fields[i].name);
        if (!jval_dict_get(r, name, &v)) continue;
        seen++;
        if (!read_field(a, fields[i].kind, name, v, out, err)) return false;
    }
    if (seen != jval_len(r)) {
        Buf known = {.arena = a};
        for (size_t i = 0; i < COUNT_OF(fields); i++)
            buf_fmt(&known, "%s%s", i ? ", " : "", fields[i].name);
        Str name = unknown_field(a, r);
        err_set(err, ERR_REQUEST_FIELD, "the field `%S` is not known; known: %S", name,
                buf_str(&known));
        err_subject(err, name);
        return err_file(err, S("request"));
    }
    return out->messages.arena ||
           wrong(err, ERR_REQUEST_FIELD, S("messages"), "it is missing; give a list of messages");
}

// ---- answers ------------------------------------------------------------------------------------

static void head(const OpenaiAnswer *o, const char *object, Buf *out) {
    buf_add(out, S("{\"id\":"));
    json_str(out, o->id);
    buf_fmt(out, ",\"object\":\"%s\",\"created\":%D,\"model\":", object, o->created);
    json_str(out, o->model);
}

static void usage(const OpenaiAnswer *o, Buf *out) {
    buf_fmt(out,
            "\"usage\":{\"prompt_tokens\":%u,\"completion_tokens\":%u,\"total_tokens\":%u,"
            "\"prompt_tokens_details\":{\"cached_tokens\":%u}}",
            o->prompt_tokens, o->answer_tokens, o->prompt_tokens + o->answer_tokens,
            o->cached_tokens);
}

// OpenAI's reasons have none for a cancelled answer: nobody reads that one's end.
static const char *reason(Finish f) { return f == FINISH_LENGTH ? "length" : "stop"; }

void openai_response(const OpenaiAnswer *o, Str text, Buf *out) {
    head(o, "chat.completion", out);
    buf_add(out, S(",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":"));
    json_str(out, text);
    buf_fmt(out, ",\"refusal\":null},\"logprobs\":null,\"finish_reason\":\"%s\"}],",
            reason(o->finish));
    usage(o, out);
    buf_char(out, '}');
}

void openai_chunk_first(const OpenaiAnswer *o, Buf *out) {
    head(o, "chat.completion.chunk", out);
    buf_add(out, S(",\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"},"
                   "\"logprobs\":null,"
                   "\"finish_reason\":null}]}"));
}

void openai_chunk_text(const OpenaiAnswer *o, Str text, Buf *out) {
    head(o, "chat.completion.chunk", out);
    buf_add(out, S(",\"choices\":[{\"index\":0,\"delta\":{\"content\":"));
    json_str(out, text);
    buf_add(out, S("},\"logprobs\":null,\"finish_reason\":null}]}"));
}

void openai_chunk_last(const OpenaiAnswer *o, Buf *out) {
    head(o, "chat.completion.chunk", out);
    buf_fmt(out,
            ",\"choices\":[{\"index\":0,\"delta\":{},\"logprobs\":null,\"finish_reason\":\"%s\"}]}",
            reason(o->finish));
}

void openai_chunk_usage(const OpenaiAnswer *o, Buf *out) {
    head(o, "chat.completion.chunk", out);
    buf_add(out, S(",\"choices\":[],"));
    usage(o, out);
    buf_char(out, '}');
}

void openai_error(const Err *e, Buf *out) {
    char line[900];
    Buf b = {.ptr = line, .cap = sizeof line};
    err_print(e, &b);
    bool request = e->id >= ERR_REQUEST_JSON && e->id <= ERR_REQUEST_RANGE;
    buf_add(out, S("{\"error\":{\"message\":"));
    json_str(out, buf_str(&b));
    buf_fmt(out, ",\"type\":\"%s\",\"param\":", request ? "invalid_request_error" : "server_error");
    if (request && e->subject[0])
        json_str(out, str_c(e->subject));
    else
        buf_add(out, S("null"));
    buf_add(out, S(",\"code\":"));
    json_str(out, str_c(err_name(e->id)));
    buf_add(out, S("}}"));
}
