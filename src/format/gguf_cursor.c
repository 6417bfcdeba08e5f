// format/gguf_cursor.c: reads the front of a GGUF file forwards, whatever the file is: mapped, on
// disk, in a browser.
//
// Numbers come through a window of 64 KB; what must stay (strings, arrays) is copied once, at its
// exact size, so that a large vocabulary costs its own size and no more. A mapped file is not
// copied at all. Every length is checked against what is left of the file before anything is
// allocated or read.
#include "format/gguf_int.h"

enum { WINDOW = 64 * 1024 };
static const u64 KEEP_MOST = (u64)256 << 20;

static bool fail(Cursor *c, u64 off, ErrId id, const char *fmt, va_list ap, const char *remedy) {
    char text[sizeof c->err->msg];
    Buf b = {.ptr = text, .cap = sizeof text};
    buf_vfmt(&b, fmt, ap);
    err_set(c->err, id, "%S%s", buf_str(&b), remedy);
    err_file(c->err, c->src->name);
    if (c->subject.len) err_subject(c->err, c->subject);
    return err_at(c->err, off);
}

bool gguf_fail(Cursor *c, u64 off, ErrId id, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fail(c, off, id, fmt, ap, "");
    va_end(ap);
    return false;
}

bool gguf_damaged(Cursor *c, u64 off, ErrId id, const char *fmt, ...) {
    va_list ap;
    va_start(ap, fmt);
    fail(c, off, id, fmt, ap, "; the file is damaged, download it again");
    va_end(ap);
    return false;
}

u64 cursor_left(const Cursor *c) { return c->src->size - c->at; }

static bool need(Cursor *c, u64 n) {
    if (n <= cursor_left(c)) return true;
    return gguf_fail(c, c->at, ERR_GGUF_TRUNCATED,
                     "%s needs %U bytes here, but the file ends after %U more; it is cut off or "
                     "damaged, download it again",
                     c->part, n, cursor_left(c));
}

static bool read_at(Cursor *c, u64 off, void *dst, size_t n) {
    if (c->src->read(c->src, off, dst, n)) return true;
    return gguf_fail(c, off, ERR_IO, "%s could not be read (%U bytes); try again", c->part, (u64)n);
}

// n <= 8 bytes at the cursor; valid until the next call.
static bool peek(Cursor *c, size_t n, const u8 **p) {
    if (!need(c, n)) return false;
    if (c->src->map) {
        *p = c->src->map + c->at;
        return true;
    }
    if (c->at < c->win_off || c->at - c->win_off > c->win_len ||
        c->win_len - (c->at - c->win_off) < n) {
        if (!c->win) c->win = arena_alloc(c->a, WINDOW);
        size_t len = (size_t)MIN2(cursor_left(c), WINDOW);
        c->win_len = 0;
        if (!read_at(c, c->at, c->win, len)) return false;
        c->win_off = c->at;
        c->win_len = len;
    }
    *p = c->win + (c->at - c->win_off);
    return true;
}

bool cursor_bits(Cursor *c, size_t bytes, u64 *v) {
    const u8 *p;
    if (!peek(c, bytes, &p)) return false;
    *v = bytes == 1 ? p[0] : bytes == 2 ? get_u16(p) : bytes == 4 ? get_u32(p) : get_u64(p);
    c->at += bytes;
    return true;
}

bool cursor_u32(Cursor *c, u32 *v) {
    u64 bits;
    if (!cursor_bits(c, 4, &bits)) return false;
    *v = (u32)bits;
    return true;
}

bool cursor_u64(Cursor *c, u64 *v) { return cursor_bits(c, 8, v); }

bool cursor_skip(Cursor *c, u64 n) {
    if (!need(c, n)) return false;
    c->at += n;
    return true;
}

bool cursor_keep(Cursor *c, u64 n, const u8 **p) {
    if (!need(c, n)) return false;
    if (c->src->map) {
        *p = c->src->map + c->at;
        c->at += n;
        return true;
    }
    if (n > KEEP_MOST - c->kept)
        return gguf_fail(c, c->at, ERR_GGUF_LIMIT,
                         "keys take more than %U MB; no model needs that, the file is damaged, "
                         "download it again",
                         KEEP_MOST >> 20);
    u8 *copy = arena_try(c->a, n, 1);
    if (!copy)
        return gguf_fail(c, c->at, ERR_OUT_OF_MEMORY,
                         "no memory for %U bytes of %s; close something or take a smaller model", n,
                         c->part);
    // What the window holds already need not be read again: most strings are short.
    if (c->at >= c->win_off && c->at - c->win_off <= c->win_len &&
        c->win_len - (c->at - c->win_off) >= n)
        memcpy(copy, c->win + (c->at - c->win_off), (size_t)n);
    else if (!read_at(c, c->at, copy, (size_t)n))
        return false;
    *p = copy;
    c->at += n;
    c->kept += n;
    return true;
}
