// loop/schedule.c: schedules as text: one primitive a line, replayed on a nest. Rule calls expand
// to their lines.
#include "loop/loop_int.h"

enum { MAX_WORDS = 20, MAX_LINE = 4096 };

static int words(Str line, Str *out) {
    int n = 0;
    for (size_t i = 0; i < line.len && n < MAX_WORDS;) {
        while (i < line.len && (line.ptr[i] == ' ' || line.ptr[i] == '\t' || line.ptr[i] == '\r'))
            i++;
        if (i == line.len || line.ptr[i] == '#') break;
        size_t from = i;
        while (i < line.len && line.ptr[i] != ' ' && line.ptr[i] != '\t' && line.ptr[i] != '\r' &&
               line.ptr[i] != '#')
            i++;
        out[n++] = str_sub(line, from, i);
    }
    return n;
}

// `name{a=1,b=2}`: the parameters that are not named keep their defaults.
static bool rule_call(Nest *n, Str call, Err *err) {
    Str args, name = str_cut(call, '{', &args);
    const Rule *r = rule_named(name);
    if (!r) return err_set(err, ERR_SCHED_SYNTAX, "%S is neither a primitive nor a rule", name);
    if (!r->match(n))
        return err_set(err, ERR_SCHED_ILLEGAL, "rule %S does not fit this kernel", name);
    if (!str_ends(args, S("}")))
        return err_set(err, ERR_SCHED_SYNTAX, "the call of %S is not closed by }", name);
    args.len--;
    i64 value[RULE_MAX_PARAMS];
    int np = 0;
    rule_defaults(r, n, value);
    while (np < RULE_MAX_PARAMS && r->param[np].name) np++;
    while (args.len) {
        Str rest, one = str_cut(args, ',', &rest), v, key = str_trim(str_cut(one, '=', &v));
        int at = 0;
        i64 x;
        while (at < np && !str_eq(str_c(r->param[at].name), key)) at++;
        if (at == np || !str_to_i64(str_trim(v), &x))
            return err_set(err, ERR_SCHED_SYNTAX, "%S has no parameter %S", name, one);
        bool legal = false;
        for (int i = 0; i < r->param[at].n; i++) legal |= r->param[at].values[i] == x;
        if (!legal) return err_set(err, ERR_SCHED_ILLEGAL, "%S cannot be %D", key, x);
        value[at] = x;
        args = rest;
    }
    return r->apply(n, value, err);
}

static bool apply_line(Nest *n, Str line, Err *err) {
    Str w[MAX_WORDS];
    int c = words(line, w);
    if (!c) return true;
    i64 v;
    LoopKind kind;
#define IS(name, args) (str_eq(w[0], S(name)) && c == (args) + 1)
    if (IS("split", 4) && str_to_i64(w[2], &v)) return prim_split(n, w[1], v, w[3], w[4], err);
    if (str_eq(w[0], S("reorder")) && c > 3) return prim_reorder(n, w[1], c - 2, w + 2, err);
    if (IS("fuse", 3)) return prim_fuse(n, w[1], w[2], w[3], err);
    if (IS("bind", 2) && loop_kind_named(w[2], &kind)) return prim_bind(n, w[1], kind, err);
    if (IS("vectorise", 1)) return prim_vectorise(n, w[1], err);
    if (IS("unroll", 1)) return prim_unroll(n, w[1], err);
    if (IS("inline", 1)) return prim_inline(n, w[1], err);
    if (IS("compute_at", 2)) return prim_compute_at(n, w[1], w[2], err);
    if (IS("cache_read", 3)) return prim_cache_read(n, w[1], w[2], w[3], err);
    if (IS("rfactor", 2)) return prim_rfactor(n, w[1], w[2], err);
    if (IS("factor", 1)) return prim_factor(n, w[1], err);
    if (IS("dot", 1)) return prim_dot(n, w[1], err);
    if (IS("pairs", 1)) return prim_pairs(n, w[1], err);
    if (IS("half", 1)) return prim_half(n, w[1], err);
    if (IS("guard", 2)) return prim_guard(n, w[1], w[2], err);
    if (IS("set", 2) && str_to_i64(w[2], &v)) return prim_set(n, w[1], v, err);
    if (c == 1 && str_has(w[0], S("{"))) return rule_call(n, w[0], err);
#undef IS
    return err_set(err, ERR_SCHED_SYNTAX, "`%S` is not a schedule line; see docs/schedules.md",
                   str_sub(line, 0, 80));
}

bool schedule_apply(Nest *n, Str text, Str file, Err *err) {
    for (int line = 1; text.len; line++) {
        Str rest, one = str_cut(text, '\n', &rest);
        if (one.len > MAX_LINE || !apply_line(n, one, err)) {
            if (one.len > MAX_LINE)
                err_set(err, ERR_SCHED_SYNTAX, "the line is longer than %d bytes", MAX_LINE);
            err_line(err, line, 1);
            err_file(err, file);
            return false;
        }
        text = rest;
    }
    return true;
}

bool schedule_head(Str line, Str *kernel) {
    Str comment;
    line = str_trim(str_cut(line, '#', &comment));
    if (!str_starts(line, S("kernel ")) || !str_ends(line, S(":"))) return false;
    *kernel = str_trim(str_sub(line, 7, line.len - 1));
    return true;
}

Str schedule_section(Str text, Str kernel) {
    Str name, rest, next;
    while (text.len) {
        bool head = schedule_head(str_cut(text, '\n', &rest), &name);
        text = rest;
        if (!head || !str_eq(name, kernel)) continue;
        for (Str body = rest; body.len; body = next) // up to the next section
            if (schedule_head(str_cut(body, '\n', &next), &name))
                return (Str){rest.ptr, (size_t)(body.ptr - rest.ptr)};
        return rest;
    }
    return (Str){0};
}
