// tests/fuzz/jinja_fuzz.c: any bytes as a chat template, over a small conversation.
//
// Whatever the text is: it ends within its limits, an error has an id, a place and words, and
// rendering twice gives the same. A text that begins with { and reads as JSON is also tried as
// values.
#include <stdlib.h>

#include "text/text.h"

#define CHECK(cond) ((cond) ? (void)0 : abort())

static JVal conversation(Arena *a) {
    static const char json[] =
        "[{\"role\":\"system\",\"content\":\"Be \\u00e9 \\ud83d\\ude42.\"},"
        "{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\" a\\nb \"}]},"
        "{\"role\":\"assistant\",\"content\":null,\"tool_calls\":[{\"id\":\"1\",\"function\":{"
        "\"name\":\"f\","
        "\"arguments\":{\"x\":1.5,\"y\":[true,-7,\"<\"]}}}]},{\"role\":\"tool\",\"content\":\"\"}]";
    JVal v;
    CHECK(jval_from_json(a, S(json), &v, NULL));
    return v;
}

static bool render(Arena *a, const Template *t, const ChatMessages *m, Buf *out, Err *err) {
    static const ChatTime now = {2024, 2, 29, 23, 59, 59};
    ChatVars vars = {.now = &now, .limits = {.fuel = 100000, .memory = 4 << 20, .output = 1 << 16}};
    vars.tools = m->list;
    return template_render_chat(a, t, m, S("<s>"), S("</s>"), true, &vars, out, err);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *a = arena_new(NULL);
    Str text = {(const char *)data, size};
    const Template *t;
    Err err = {0}, again = {0};
    JVal v;
    if (size && data[0] == '{' && !jval_from_json(a, text, &v, &err))
        CHECK(err.id == ERR_JSON && err.msg[0]);
    err = (Err){0};
    if (!template_compile(a, S("t"), text, &t, &err)) {
        CHECK(err.id != ERR_NONE && err.msg[0] && (err.line > 0 || size > 1 << 20));
    } else {
        ChatMessages m = {a, conversation(a)};
        Buf out = {.arena = a}, twice = {.arena = a};
        bool ok = render(a, t, &m, &out, &err);
        CHECK(ok == render(a, t, &m, &twice, &again) && err.id == again.id);
        CHECK(ok ? str_eq(buf_str(&out), buf_str(&twice)) && out.len <= 1 << 16
                 : err.line > 0 && err.id != ERR_NONE);
        CHECK(arena_used(a) < 64 << 20);
    }
    arena_free(a);
    return 0;
}
