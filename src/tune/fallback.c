// tune/fallback.c: a schedule that was measured once and is wrong on this device by now.
//
// Its driver may be another one under the same name, or the list may be from elsewhere. The kernel
// is compiled again by its rule's own choice, which takes its place in the program and on the
// device, and is checked like any; that it came so is said. What the rule's own choice computes
// wrong stays an error.
#include "tune/tune.h"

// The kernel of a step and its grids, from a program that differs from p in schedules alone. False:
// its steps fall apart into several kernels now.
static bool take_over(Program *p, const Program *from, int regime, u32 step) {
    u32 old = p->regimes[regime].steps[step].kernel, now = from->regimes[regime].steps[step].kernel;
    for (int pass = 0; pass < 2; pass++)
        for (int r = 0; r < REGIME_COUNT; r++)
            for (int i = 0; i < p->regimes[r].nsteps; i++) {
                Step *s = &p->regimes[r].steps[i], *by = &from->regimes[r].steps[i];
                if (s->kernel != old) continue;
                if (by->kernel != now) return false;
                if (pass) memcpy(s->grid, by->grid, sizeof s->grid);
            }
    Str name = p->kernels[old].name;
    p->kernels[old] = from->kernels[now];
    p->kernels[old].name = name;
    return true;
}

EngineState tune_check_or_fall_back(void *user, const Engine *e, int regime, u32 step, Err *err) {
    const TuneFallback *f = user;
    EngineState s = tune_check_kernel(f->checker, e, regime, step, err);
    u32 k = f->program->regimes[regime].steps[step].kernel;
    Tuned *t = (Tuned *)tuned_find(f->list, f->program->kernels[k].nest_key);
    if (s != ENGINE_FAILED || err->id != ERR_ENGINE_CHECK || !t || !t->schedule.len) return s;
    t->schedule.len = 0; // nothing is better than what the rule chooses
    CompileOptions o = *f->options;
    Program *again;
    Err ignored = {0};
    o.tuned = tuned_schedule;
    o.tuned_user = f->list;
    if (!compile_program(f->arena, f->graph, &o, &again, &ignored) ||
        !take_over(f->program, again, regime, step))
        return s;
    f->say(f->user, err);
    *err = (Err){0};
    return engine_remake(f->engine, k, err) ? ENGINE_WORKING : ENGINE_FAILED;
}
