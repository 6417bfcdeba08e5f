// base/err.c: errors as values: an id, the place in the user's input, and what to do about it.
//
// The first error wins: whoever sees a failure closest knows it best, callers add only the place.
// Nothing here allocates, so that running out of memory can be reported like anything else.
#include "base/base.h"

// A page has the texts and remedies in web/src/errors.gen.ts: its core carries names alone.
#if defined(HOB_PAGE)
static const char *const rows[ERR_COUNT] = {
    "NONE",
#define E(id, text, remedy) #id,
#include "base/err.def"
#undef E
};

const char *err_name(ErrId id) { return (unsigned)id < ERR_COUNT ? rows[id] : "UNKNOWN"; }

const char *err_text(ErrId id) { return err_name(id); }

const char *err_remedy(ErrId id) { return (void)id, ""; }
#else
static const struct {
    const char *name, *text, *remedy;
} rows[ERR_COUNT] = {
    {"NONE", "no error", ""},
#define E(id, text, remedy) {#id, text, remedy},
#include "base/err.def"
#undef E
};

const char *err_name(ErrId id) { return (unsigned)id < ERR_COUNT ? rows[id].name : "UNKNOWN"; }

const char *err_text(ErrId id) {
    return (unsigned)id < ERR_COUNT ? rows[id].text : "an unknown error";
}

const char *err_remedy(ErrId id) { return (unsigned)id < ERR_COUNT ? rows[id].remedy : ""; }
#endif

static void add_remedy(const char *msg, ErrId id, Buf *out) {
    const char *remedy = err_remedy(id);
    if (*remedy && !str_has(str_c(msg), S("; "))) buf_fmt(out, "; %s", remedy);
}

static void fill(char *dst, size_t cap, Str s) {
    Buf b = {.ptr = dst, .cap = cap};
    buf_add(&b, s);
    dst[b.len] = 0;
}

bool err_set(Err *e, ErrId id, const char *fmt, ...) {
    if (!e || e->id != ERR_NONE) return false;
    e->id = id;
    Buf b = {.ptr = e->msg, .cap = sizeof e->msg};
    va_list ap;
    va_start(ap, fmt);
    buf_vfmt(&b, fmt, ap);
    va_end(ap);
    e->msg[b.len] = 0;
    return false;
}

bool err_at(Err *e, u64 off) {
    if (e && !e->has_off) {
        e->has_off = true;
        e->off = off;
    }
    return false;
}

bool err_line(Err *e, int line, int col) {
    if (e && e->line == 0) {
        e->line = line;
        e->col = col;
    }
    return false;
}

bool err_file(Err *e, Str file) {
    if (e && !e->file[0]) fill(e->file, sizeof e->file, file);
    return false;
}

bool err_subject(Err *e, Str subject) {
    if (e && !e->subject[0]) fill(e->subject, sizeof e->subject, subject);
    return false;
}

void err_print(const Err *e, Buf *out) {
    const char *msg = e->msg[0] ? e->msg : err_text(e->id);
    const char *gap = "";
    buf_fmt(out, "%s", e->file);
    if (e->line) {
        // editors jump to F:LINE:COL:
        buf_fmt(out, e->file[0] ? ":%d:%d:" : "line %d:%d:", e->line, e->col);
        buf_fmt(out, e->subject[0] ? " %s: %s" : "%s %s", e->subject, msg);
        add_remedy(msg, e->id, out);
        return;
    }
    if (e->has_off) buf_fmt(out, "@0x%X", e->off);
    if (e->file[0] || e->has_off) gap = " ";
    if (e->subject[0]) buf_fmt(out, "%s%s", gap, e->subject);
    if (e->file[0] || e->has_off || e->subject[0]) buf_add(out, S(": "));
    buf_fmt(out, "%s", msg);
    add_remedy(msg, e->id, out);
}
