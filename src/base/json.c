// base/json.c: a string as JSON text. Reading JSON is text/jinja_json.c's.
#include "base/base.h"

// Bytes that are no well-formed UTF-8 become U+FFFD, so that what comes out is always valid JSON.
static size_t utf8_length(Str s, size_t at) {
    u8 c = (u8)s.ptr[at];
    size_t n = c < 0x80                ? 1
               : c >= 0xC2 && c < 0xE0 ? 2
               : (c & 0xF0) == 0xE0    ? 3
               : c >= 0xF0 && c < 0xF5 ? 4
                                       : 0;
    if (n == 0 || n > s.len - at) return 0;
    for (size_t i = 1; i < n; i++)
        if (((u8)s.ptr[at + i] & 0xC0) != 0x80) return 0;
    u8 d = n > 1 ? (u8)s.ptr[at + 1] : 0;
    bool wrong = (c == 0xE0 && d < 0xA0) || (c == 0xED && d > 0x9F) || (c == 0xF0 && d < 0x90) ||
                 (c == 0xF4 && d > 0x8F);
    return wrong ? 0 : n;
}

void json_str(Buf *b, Str s) {
    buf_char(b, '"');
    for (size_t i = 0; i < s.len;) {
        u8 c = (u8)s.ptr[i];
        size_t n = utf8_length(s, i);
        if (n == 0)
            buf_utf8(b, 0xFFFD);
        else if (c == '"' || c == '\\')
            buf_fmt(b, "\\%c", c);
        else if (c == '\n')
            buf_add(b, S("\\n"));
        else if (c < 32 || c == 127)
            buf_fmt(b, "\\u%04x", (u32)c);
        else
            buf_add(b, (Str){s.ptr + i, n});
        i += n ? n : 1;
    }
    buf_char(b, '"');
}
