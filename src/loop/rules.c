// loop/rules.c: the table of rules, and what they share. A rule is expert knowledge: which
// primitives make this nest fast on this profile. It decides nothing about meaning: every line it
// writes is checked like a user's.
#include "loop/rule_int.h"

static const Rule *const table[] = {&rule_attention,    &rule_matmul_row, &rule_matmul_rows,
                                    &rule_matmul_bytes, &rule_row_reduce, &rule_map};

const Rule *rule_named(Str name) {
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (str_eq(str_c(table[i]->name), name)) return table[i];
    return NULL;
}

const Rule *rule_for(const Nest *n) {
    for (size_t i = 0; i < COUNT_OF(table); i++)
        if (table[i]->match(n)) return table[i];
    return NULL;
}

void rule_defaults(const Rule *r, const Nest *n, i64 *value) {
    for (int i = 0; i < RULE_MAX_PARAMS && r->param[i].name; i++) value[i] = r->param[i].values[0];
    if (r->choose) r->choose(n, value);
}

bool rule_apply(Nest *n, Err *err) {
    const Rule *r = rule_for(n);
    must(r); // the last row matches everything
    i64 value[RULE_MAX_PARAMS];
    rule_defaults(r, n, value);
    return r->apply(n, value, err);
}

bool rule_text(const Nest *n, Str *out, Err *err) {
    Nest *copy = nest_again(n);
    if (!rule_apply(copy, err)) return false;
    *out = buf_str(&copy->log);
    return true;
}

// ---- writing ------------------------------------------------------------------------------------
static bool write_line(RuleWriter *w, const char *fmt, va_list ap, Err *err) {
    Buf line = {.arena = w->t->arena};
    buf_vfmt(&line, fmt, ap);
    return schedule_apply(w->t, buf_str(&line), S("rule"), err);
}

void rule_line(RuleWriter *w, const char *fmt, ...) {
    if (!w->ok) return;
    va_list ap;
    va_start(ap, fmt);
    w->ok = write_line(w, fmt, ap, w->err);
    va_end(ap);
}

bool rule_try(RuleWriter *w, const char *fmt, ...) {
    if (!w->ok) return false;
    Err ignored = {0};
    va_list ap;
    va_start(ap, fmt);
    bool ok = write_line(w, fmt, ap, &ignored);
    va_end(ap);
    return ok;
}

void rule_inline_all(RuleWriter *w, const char *keep) {
    for (int i = 0; i < w->t->nstages; i++) {
        const Stage *d = &w->t->stage[i]->def;
        if (d->op == RED_NONE && !d->nstores && !(keep && !strcmp(d->name, keep)))
            rule_line(w, "inline %s", d->name);
    }
}

NestStage *rule_out(const Nest *n) { return n->stage[n->nstages - 1]; }

i64 rule_divisor(i64 n, i64 most) {
    for (i64 d = MIN2(n, most); d > 1; d--)
        if (n % d == 0) return d;
    return 1;
}

bool rule_loop_extent(const NestStage *s, const char *loop, i64 *ext) {
    for (int i = 0; i < s->nloops; i++)
        if (!strcmp(s->loop[i].var->name, loop)) return extent_const(s->loop[i].extent, ext);
    return false;
}

// A software adapter spreads workgroups over its processor's cores and threads over four lanes:
// several workgroups, whole vectors of threads.
static i64 software_threads(i64 ext, i64 most) {
    for (i64 t = MAX2(MIN2(ext / 8, most), 4) / 4 * 4; t >= 4; t -= 4)
        if (ext % t == 0) return t;
    return 0;
}

void rule_bind_flat(RuleWriter *w, const char *stage, const char *loop, i64 want) {
    const Profile *p = w->t->profile;
    if (!p->gpu) {
        rule_line(w, "bind %s.%s cpu", stage, loop);
        return;
    }
    NestStage *s = nest_stage(w->t, str_c(stage));
    i64 ext, most = want ? MIN2(want, p->max_wg_size) : p->wg_size, threads = most;
    if (rule_loop_extent(s, loop, &ext)) {
        i64 d = rule_divisor(ext, most);
        threads = d >= 16 || d == want || ext < 16 ? d : MIN2(most, ext);
        if (!want && profile_in_software(p) && software_threads(ext, most))
            threads = software_threads(ext, most);
    }
    rule_line(w, "split %s.%s %D wg th", stage, loop, threads);
    for (int i = 0; i < s->def.nax && w->ok; i++)
        if (nest_stage(w->t, str_c(stage))->inexact[i])
            rule_line(w, "guard %s %s", stage, s->def.ax[i].var->name);
    rule_line(w, "bind %s.wg wg.x", stage);
    rule_line(w, "bind %s.th thread.x", stage);
}
