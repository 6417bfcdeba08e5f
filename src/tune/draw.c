// tune/draw.c: schedules drawn at random, for light kernels that a rule may treat too plainly.
//
// A draw takes the beginning of what the rule would write, somewhere cut off, and goes on with
// primitives of its own: any loop of any stage, split, bound, moved, made lanes. A line that is
// refused is left out; what is drawn is legal line by line, and whether it makes a kernel that is
// worth a measurement is for others to say. No part of a page.
#if !defined(HOB_PAGE)
#include "tune/tune.h"

enum { LINES = 8, TRIES = 40 };

static u32 roll(u64 *x, size_t n) {
    *x = *x * 6364136223846793005u + 1442695040888963407u;
    return (u32)((*x >> 33) % n);
}

static bool draw_line(Nest *n, Arena *a, u64 *x, int at) {
    static const char *const kinds[] = {"wg.x", "wg.y", "thread.x", "thread.x", "thread.y"};
    NestStage *s = n->stage[roll(x, (size_t)n->nstages)], *out = n->stage[n->nstages - 1];
    if (s->inlined || s->nloops == 0) return false;
    const char *name = s->def.name, *l = s->loop[roll(x, (size_t)s->nloops)].var->name;
    Str line = {0};
    Err refused = {0};
    switch (roll(x, 8)) {
    case 0:
    case 1:
        line = str_fmt(a, "split %s.%s %d o%d i%d", name, l, (i32)(2 << roll(x, 7)), at, at);
        break;
    case 2:
    case 3: line = str_fmt(a, "bind %s.%s %s", name, l, kinds[roll(x, COUNT_OF(kinds))]); break;
    case 4: line = str_fmt(a, "vectorise %s.%s", name, l); break;
    case 5:
        line = str_fmt(a, "compute_at %s out.%s", name,
                       out->loop[roll(x, (size_t)out->nloops)].var->name);
        break;
    case 6: line = str_fmt(a, "rfactor %s.%s p%d", name, l, at); break;
    case 7:
        line =
            str_fmt(a, "reorder %s %s %s", name, l, s->loop[roll(x, (size_t)s->nloops)].var->name);
        break;
    }
    return schedule_apply(n, line, S("draw"), &refused);
}

Str tune_draw(Arena *a, const Nest *naive, u64 seed) {
    u64 x = seed * 0x9E3779B97F4A7C15u + 1;
    Nest *n = nest_again(naive);
    Str rule, rest;
    Err refused = {0};
    if (n->direct || !rule_text(n, &rule, &refused)) return (Str){0};
    int lines = 0;
    for (size_t i = 0; i < rule.len; i++) lines += rule.ptr[i] == '\n';
    int keep = (int)roll(&x, (size_t)lines + 1);
    for (rest = rule; rest.len; keep--) {
        Str line = str_cut(rest, '\n', &rest);
        // stages that are neither sums nor results belong where they are read, whatever follows
        if (keep > 0 || str_starts(line, S("inline ")))
            schedule_apply(n, line, S("draw"), &refused);
    }
    for (int i = 0, drawn = 0, want = 1 + (int)roll(&x, LINES); i < TRIES && drawn < want; i++)
        drawn += draw_line(n, a, &x, i);
    for (int i = 0; i < n->nstages; i++)
        for (int k = 0; k < n->stage[i]->def.nax; k++)
            if (n->stage[i]->inexact[k] && !n->stage[i]->guarded[k])
                schedule_apply(n,
                               str_fmt(a, "guard %s %s", n->stage[i]->def.name,
                                       n->stage[i]->def.ax[k].var->name),
                               S("draw"), &refused);
    return arena_str(a, buf_str(&n->log));
}
#else
typedef int tune_draws_natively_only; // a translation unit must hold a declaration
#endif
