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
    bool power; // of two
} Field;

static const Field fields[] = {
#define P(field, def, lo, hi, power, doc) {#field, offsetof(Profile, field), lo, hi, power},
#include "program/profile.def"
#undef P
};

static i64 *field_of(Profile *p, const Field *f) { return (i64 *)((char *)p + f->at); }

static Profile profile_default(void) {
    Profile p = {0};
#define P(field, def, lo, hi, power, doc) p.field = (def);
#include "program/profile.def"
#undef P
    return p;
}

bool profile_in_software(const Profile *p) { return p->gpu && p->barrier_cost >= 1000; }
bool profile_shares_loads(const Profile *p) { return profile_in_software(p) && p->subgroup > 1; }

bool profile_named(Str name, Profile *out) {
    Profile p = profile_default();
    if (str_eq(name, S("cpu"))) {
        p.name = S("cpu");
        p.vec = 8;
    } else if (str_eq(name, S("cpu16"))) {
        p.name = S("cpu16");
        p.vec = 16;
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
        p.slow_shift = 1;
        p.attn_parts = 4;
    } else {
        return false;
    }
    if (!p.gpu) {
        // One fixed menu of kernels made at build time: few fusions, the model's sizes given at run
        // time. A CPU step costs a fork and join, not a dispatch.
        p.dims = 1;
        p.fuse_norm = 0;
        p.attn_parts = 2; // heads of keys are few, and threads share them evenly
        p.step_cost = 2000;
        p.row_tile = 8;
        p.weave = p.vec > 8 ? 2 : 4;
        p.max_binding_bytes = (i64)1 << 40;
        p.max_buffer_bytes = (i64)1 << 40;
        p.max_grid = (i64)1 << 31;
    }
    *out = p;
    return true;
}

// What schedules for a GPU rely on besides; it is what any WebGPU device has.
static void gpu_limits(const Profile *p, Field *f) {
    enum { THREADS = 64 }; // 8 x 8 of them make a tile
    switch (f->at) {
    case offsetof(Profile, vec): f->lo = 2, f->hi = 4; break;
    case offsetof(Profile, max_wg_size): f->lo = THREADS; break;
    case offsetof(Profile, wg_size):
    case offsetof(Profile, subgroup): f->hi = MIN2(f->hi, MAX2(p->max_wg_size, THREADS)); break;
    case offsetof(Profile, shared_bytes): f->lo = 16384; break;
    case offsetof(Profile, dims): f->hi = 0; break;
    default: break;
    }
}

bool profile_read(Arena *a, Str text, Str file, Profile *io, Err *err) {
    struct {
        int line, col;
    } given[COUNT_OF(fields)] = {0}; // where a field has its value from
    Str rest = text;
    for (int line = 1; rest.len > 0; line++) {
        Str raw = str_cut(rest, '\n', &rest), after;
        Str s = str_trim(str_cut(raw, '#', &after));
        if (s.len == 0) continue;
        Str value, name = str_trim(str_cut(s, '=', &value));
        int col = (int)(s.ptr - raw.ptr) + 1;
        value = str_trim(value);
        if (name.len && value.len && str_eq(name, S("name"))) {
            io->name = arena_str(a, value);
            continue;
        }
        size_t i = 0;
        while (i < COUNT_OF(fields) && !str_eq(name, str_c(fields[i].name))) i++;
        if (name.len == 0 || value.len == 0) {
            err_set(err, ERR_PROFILE_SYNTAX, "'%S' is not `field = value`", s);
        } else if (i == COUNT_OF(fields)) {
            Buf known = {.arena = a};
            for (i = 0; i < COUNT_OF(fields); i++)
                buf_fmt(&known, "%s%s", i ? ", " : "", fields[i].name);
            err_set(err, ERR_PROFILE_FIELD, "no field '%S'; known: %S", name, buf_str(&known));
        } else {
            given[i].line = line;
            given[i].col = col = (int)(value.ptr - raw.ptr) + 1;
            if (str_to_i64(value, field_of(io, &fields[i]))) continue;
            err_set(err, ERR_PROFILE_VALUE, "%S = %S is not a number", name, value);
        }
        err_line(err, line, col);
        return err_file(err, file);
    }
    for (size_t i = 0; i < COUNT_OF(fields); i++) { // together: some depend on others
        Field f = fields[i];
        i64 v = *field_of(io, &f);
        if (io->gpu == 1) gpu_limits(io, &f);
        bool between = f.at == offsetof(Profile, act_bits) && v > f.lo && v < f.hi;
        if (v >= f.lo && v <= f.hi && !(f.power && (v & (v - 1)) != 0) && !between) continue;
        err_set(err, ERR_PROFILE_VALUE, "%s = %D; %sit must be %s%D %s %D", f.name, v,
                io->gpu == 1 ? "on a GPU " : "",
                between   ? ""
                : f.power ? "a power of two from "
                          : "from ",
                f.lo, between ? "or" : "to", f.hi);
        err_line(err, given[i].line, given[i].col);
        return err_file(err, file);
    }
    return true;
}

void profile_print(const Profile *p, Buf *out) {
    buf_fmt(out, "name = %S\n", p->name);
#define P(field, def, lo, hi, power, doc)                                                          \
    buf_fmt(out, "%-18s = %-10D # %s\n", #field, p->field, doc);
#include "program/profile.def"
#undef P
}

// Threads share a kernel and do not shape it, packed activations are seen in its formula, and a
// name is a name: none is part of a kernel's key.
u64 profile_hash(const Profile *p) {
    u64 h = 0;
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        if (fields[i].at == offsetof(Profile, threads) ||
            fields[i].at == offsetof(Profile, act_bits))
            continue;
        h = hash_bytes(h, (const char *)p + fields[i].at, sizeof(i64));
    }
    return h;
}
