// program/profile.c: what the compiler may know about a device, as some twenty numbers.
//
// Built-in profiles are starting points; a device fills its own limits in, and `--profile FILE`
// overrides any field, which is how another machine's adapter is tried here. Nothing else about a
// device reaches a schedule.
#include "program/program.h"

typedef struct Field {
    const char *name;
    size_t at;
    i64 lo, hi;
    bool power; // a power of two
} Field;

// Ranges that schedules and plans rely on. A field without a row here may hold 0..2^53.
static const struct {
    const char *name;
    i64 lo, hi;
    bool power;
} field_limits[] = {
    {"gpu", 0, 1, false},
    {"vec", 1, 16, true},
    {"threads", 1, 256, false},
    {"weave", 1, 8, true},
    {"wg_size", 1, 1024, true},
    {"max_wg_size", 1, 1024, true},
    {"shared_bytes", 0, 1 << 20, false},
    {"subgroup", 0, 128, false},
    {"max_bindings", 4, 8, false},
    {"max_binding_bytes", 1 << 16, (i64)1 << 40, false},
    {"max_buffer_bytes", 1 << 16, (i64)1 << 40, false},
    {"offset_align", 16, 4096, true},
    {"max_grid", 256, (i64)1 << 31, false},
    {"f16", 0, 1, false},
    {"dot4", 0, 1, false},
    {"fuse_norm", 0, 1, false},
    {"fuse_epilogue", 0, 1, false},
    {"fields_stay", 0, 1, false},
    {"attn_parts", 1, 64, false},
    {"row_tile", 1, 16, false},
    {"dims", 0, 1, false},
};

static const Field fields[] = {
#define P(field, def, doc) {#field, offsetof(Profile, field), 0, (i64)1 << 53, false},
#include "program/profile.def"
#undef P
};

static i64 *field_of(Profile *p, const Field *f) { return (i64 *)((char *)p + f->at); }

static Profile profile_default(void) {
    Profile p = {0};
#define P(field, def, doc) p.field = (def);
#include "program/profile.def"
#undef P
    return p;
}

bool profile_named(Str name, Profile *out) {
    Profile p = profile_default();
    if (str_eq(name, S("cpu"))) {
        p.name = S("cpu");
        p.vec = 8;
    } else if (str_eq(name, S("cpu4"))) {
        p.name = S("cpu4");
        p.vec = 4;
        p.fields_stay = 0; // a browser's compiler makes each mask anew in the loop
    } else if (str_eq(name, S("gpu"))) {
        p.name = S("gpu");
        p.gpu = 1;
        p.subgroup = 4;
        p.barrier_cost = 20;
    } else if (str_eq(name, S("software"))) {
        p.name = S("software");
        p.gpu = 1;
        p.barrier_cost = 4000;
        p.fuse_norm = 0;
        p.attn_parts = 4;
    } else {
        return false;
    }
    if (!p.gpu) {
        // One fixed menu of kernels made at build time: few fusions, the model's sizes given at run
        // time. A CPU step costs a fork and join, not a dispatch.
        p.dims = 1;
        p.fuse_norm = 0;
        p.attn_parts = 1;
        p.step_cost = 2000;
        p.row_tile = 8;
        p.weave = 4;
        p.max_binding_bytes = (i64)1 << 40;
        p.max_buffer_bytes = (i64)1 << 40;
        p.max_grid = (i64)1 << 31;
    }
    *out = p;
    return true;
}

bool profile_read(Arena *a, Str text, Str file, Profile *io, Err *err) {
    Str rest = text;
    for (int line = 1; rest.len > 0; line++) {
        Str raw = str_cut(rest, '\n', &rest), after;
        Str s = str_trim(str_cut(raw, '#', &after));
        if (s.len == 0) continue;
        Str value, name = str_trim(str_cut(s, '=', &value));
        int col = (int)(s.ptr - raw.ptr) + 1;
        value = str_trim(value);
        if (name.len == 0 || value.len == 0) {
            err_set(err, ERR_PROFILE_SYNTAX, "'%S' is not `field = value`", s);
            err_line(err, line, col);
            return err_file(err, file);
        }
        if (str_eq(name, S("name"))) {
            io->name = arena_str(a, value);
            continue;
        }
        const Field *f = NULL;
        for (size_t i = 0; i < COUNT_OF(fields); i++)
            if (str_eq(name, str_c(fields[i].name))) f = &fields[i];
        if (f == NULL) {
            Buf known = {.arena = a};
            for (size_t i = 0; i < COUNT_OF(fields); i++)
                buf_fmt(&known, "%s%s", i ? ", " : "", fields[i].name);
            err_set(err, ERR_PROFILE_FIELD, "no field '%S'; known: %S", name, buf_str(&known));
            err_line(err, line, col);
            return err_file(err, file);
        }
        i64 v = 0, lo = f->lo, hi = f->hi;
        bool power = false;
        for (size_t i = 0; i < COUNT_OF(field_limits); i++) {
            if (!str_eq(name, str_c(field_limits[i].name))) continue;
            lo = field_limits[i].lo;
            hi = field_limits[i].hi;
            power = field_limits[i].power;
        }
        if (!str_to_i64(value, &v) || v < lo || v > hi || (power && (v & (v - 1)) != 0)) {
            err_set(err, ERR_PROFILE_VALUE, "%S = %S; it must be %sfrom %D to %D", name, value,
                    power ? "a power of two " : "", lo, hi);
            err_line(err, line, (int)(value.ptr - raw.ptr) + 1);
            return err_file(err, file);
        }
        *field_of(io, f) = v;
    }
    return true;
}

void profile_print(const Profile *p, Buf *out) {
    buf_fmt(out, "name = %S\n", p->name);
#define P(field, def, doc) buf_fmt(out, "%-18s = %-10D # %s\n", #field, p->field, doc);
#include "program/profile.def"
#undef P
}

// Threads share a kernel, they do not shape it, and a name is a name: neither is part of a kernel's
// key.
u64 profile_hash(const Profile *p) {
    u64 h = 0;
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (fields[i].at == offsetof(Profile, threads)) continue;
        h = hash_bytes(h, (const char *)p + fields[i].at, sizeof(i64));
    }
    return h;
}
