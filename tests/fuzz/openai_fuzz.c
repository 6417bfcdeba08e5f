// A chat-completions request of any bytes is read or refused, and what is read stays inside its
// limits.
#include "engine/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *a = arena_new(NULL);
    OpenaiRequest r;
    Err err = {0};
    if (openai_read(a, (Str){(const char *)data, size}, &r, &err)) {
        must(err.id == ERR_NONE && jval_len(r.messages.list) > 0);
        must(r.answer.sample.temperature >= 0 && r.answer.sample.temperature <= 2);
        must(r.answer.sample.top_k >= 0 && r.answer.max_tokens >= 0 && r.answer.nstop <= STOPS_MAX);
        for (int i = 0; i < r.answer.nstop; i++)
            must(r.answer.stop[i].len > 0 && r.answer.stop[i].len <= STOP_BYTES_MAX);
        // and what we answer is JSON again, whatever text it carries
        OpenaiAnswer o = {.id = S("x"), .model = r.model};
        Buf b = {.arena = a};
        JVal v;
        openai_chunk_text(&o, (Str){(const char *)data, size}, &b);
        must(jval_from_json(a, buf_str(&b), &v, &err));
    } else {
        must(err.id != ERR_NONE);
        Buf b = {.arena = a};
        JVal v;
        Err none = {0};
        openai_error(&err, &b);
        must(jval_from_json(a, buf_str(&b), &v, &none));
    }
    arena_free(a);
    return 0;
}
