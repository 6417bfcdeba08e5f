// format/gguf_print.c: a GGUF file as text, one key or tensor a line, for `hob inspect`. Long
// values are cut.
#include "format/gguf_int.h"

enum { STR_MOST = 72, LIST_MOST = 8 };

static void print_str(Str s, Buf *out) {
    char text[STR_MOST + 1];
    Buf cut = {.ptr = text, .cap = sizeof text}; // never ends inside a character
    buf_add(&cut, s);
    buf_char(out, '"');
    for (size_t i = 0; i < cut.len; i++) {
        u8 ch = (u8)text[i];
        if (ch == '"' || ch == '\\')
            buf_fmt(out, "\\%c", ch);
        else if (ch == '\n')
            buf_add(out, S("\\n"));
        else if (ch < ' ' || ch == 127)
            buf_fmt(out, "\\x%02x", (u32)ch);
        else
            buf_char(out, (char)ch);
    }
    buf_char(out, '"');
    if (cut.full) buf_fmt(out, "... (%U bytes)", (u64)s.len);
}

static void print_number(u32 type, u64 bits, Buf *out) {
    double d;
    switch (type) {
    case GT_I8: buf_fmt(out, "%d", (i32)(int8_t)bits); break;
    case GT_I16: buf_fmt(out, "%d", (i32)(int16_t)bits); break;
    case GT_I32: buf_fmt(out, "%d", (i32)bits); break;
    case GT_I64: buf_fmt(out, "%D", (i64)bits); break;
    case GT_F32: buf_fmt(out, "%g", (double)bits_f32((u32)bits)); break;
    case GT_F64:
        memcpy(&d, &bits, 8);
        buf_fmt(out, "%g", d);
        break;
    case GT_BOOL: buf_fmt(out, "%s", bits ? "true" : "false"); break;
    default: buf_fmt(out, "%U", bits);
    }
}

static void print_array(const GgufArray *arr, Buf *out) {
    const u8 *p = arr->at;
    size_t size = gguf_type_size(arr->type);
    buf_fmt(out, "%U x %s [", arr->n, gguf_type_name(arr->type));
    for (u64 i = 0; i < arr->n && arr->type != GT_ARRAY; i++) {
        if (i == LIST_MOST) {
            buf_add(out, S(", ..."));
            break;
        }
        if (i) buf_add(out, S(", "));
        if (arr->type == GT_STRING) {
            size_t len = (size_t)get_u64(p);
            print_str((Str){(const char *)p + 8, len}, out);
            p += 8 + len;
        } else {
            print_number(arr->type,
                         size == 1   ? p[0]
                         : size == 2 ? get_u16(p)
                         : size == 4 ? get_u32(p)
                                     : get_u64(p),
                         out);
            p += size;
        }
    }
    buf_char(out, ']');
}

void gguf_print(const Gguf *g, Buf *out) {
    u64 bytes = 0;
    buf_fmt(out, "%s version %u, %U keys, %U tensors\n", g->kind, g->version, (u64)g->nkeys,
            (u64)g->ntensors);
    for (size_t i = 0; i < g->nkeys; i++) {
        const GgufKey *k = &g->keys[i];
        buf_fmt(out, "%S = ", k->name);
        if (k->type == GT_STRING)
            print_str(k->str, out);
        else if (k->type == GT_ARRAY)
            print_array(&k->arr, out);
        else
            print_number(k->type, k->bits, out);
        buf_char(out, '\n');
    }
    for (size_t i = 0; i < g->ntensors; i++) {
        const FileTensor *t = &g->tensors[i].t;
        buf_fmt(out, "%S: %s ", t->name, filetype_info(t->type)->name);
        for (int d = 0; d < t->nd; d++) buf_fmt(out, d ? " x %U" : "%U", t->dims[d]);
        buf_fmt(out, ", %U bytes at 0x%X\n", t->bytes, t->off);
        bytes += t->bytes;
    }
    buf_fmt(out, "%U bytes of tensors\n", bytes);
}
