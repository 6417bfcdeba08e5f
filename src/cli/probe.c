// cli/probe.c: steps of a program handed over outside of an answer, and `hob bench --kernels`.
//
// What is written into the cache and the token ring on the way is what an answer would write there,
// or nobody's: bench has asked all it wanted before.
#include "cli/probe.h"

bool probe_open(Probe *p, Model *m, Arena *a, Err *err) {
    *p = (Probe){.m = m, .arena = a, .params = NEW_N(a, i32, program_param_words(m->program))};
    return device_bind(m->device, engine_bind(m->engine), &p->bound, err);
}

void probe_close(Probe *p) { device_unbind(p->m->device, p->bound); }

Submit probe_submit(Probe *p, u32 pos, u32 n, u32 m) {
    const Program *prog = p->m->program;
    int regime = 0;
    while (prog->regimes[regime].nsteps == 0 || prog->regimes[regime].n < n) {
        must(regime < REGIME_COUNT - 1);
        regime++;
    }
    const Regime *r = &prog->regimes[regime];
    i32 *w = p->params;
    memset(w, 0, program_param_words(prog) * sizeof *w);
    w[PARAM_N] = (i32)n;
    w[PARAM_M] = (i32)m;
    w[PARAM_T] = (i32)(pos + n);
    for (u32 i = 0; i < n; i++) {
        i32 *row = w + PARAM_ROWS + ROW_WORDS * i;
        row[ROW_POS] = (i32)(pos + i);
        row[ROW_RING] = (i32)((pos + i) & (TOKEN_RING - 1));
    }
    for (u32 i = 0; i < m; i++) {
        i32 *row = w + PARAM_ROWS + ROW_WORDS * i;
        row[ROW_INDEX] = (i32)(n - m + i);
        row[ROW_NEXT] = (i32)(pos + n - m + i + 1);
    }
    return (Submit){.bound = p->bound,
                    .regime = regime,
                    .last = m ? r->greedy : r->head,
                    .first2 = m ? r->greedy : 0,
                    .last2 = m ? r->sample : 0,
                    .n = n,
                    .m = m,
                    .t = pos + n,
                    .params = w,
                    .read_ring = -1};
}

bool probe_wait(Probe *p, Err *err) {
    for (EngineState s; (s = engine_settle(p->m->device, 0, err)) != ENGINE_WORKING;) {
        if (s == ENGINE_FAILED) return false;
        clock_nap();
    }
    return true;
}

// Those steps of a regime that run this kernel (negative: for each step of kernel ~kernel nothing,
// which costs a submit); milliseconds, negative: it failed.
static double steps_ms(Probe *p, Submit s, int kernel, Err *err) {
    const Regime *r = &p->m->program->regimes[s.regime];
    bool nothing = kernel < 0;
    double start = clock_ms();
    s.first2 = s.last2 = 0;
    for (int i = 0; i < r->nsteps; i++) {
        if (r->steps[i].kernel != (u32)(nothing ? ~kernel : kernel)) continue;
        s.first = i;
        s.last = i + !nothing;
        if (!device_submit(p->m->device, &s, err)) return -1;
    }
    return probe_wait(p, err) ? clock_ms() - start : -1;
}

// Each kernel's steps one after the other through the layers, so that weights are read from where
// they lie.
static bool time_kernels(Probe *probe, u32 pos, u32 n, i64 runs, Err *err) {
    const Program *p = probe->m->program;
    Submit s = probe_submit(probe, pos, n, 1);
    const Regime *r = &p->regimes[s.regime];
    probe->params[PARAM_INV_TEMP] = 65536; // the sampler's steps are among them
    printf("\n%u rows at a context of %u: kernel, steps, ms, %s\n", n, s.t,
           n > 1 ? "GFLOP/s" : "GB/s");
    for (int k = 0; k < p->nkernels; k++) {
        double best = 0, empty = 0, bytes = 0, flops = 0;
        int steps = 0;
        for (int i = 0; i < r->nsteps; i++)
            if (r->steps[i].kernel == (u32)k) {
                StepCost c = step_cost(p, s.regime, i, n, 1, s.t);
                bytes += (double)c.bytes;
                flops += (double)c.flops;
                steps++;
            }
        for (i64 i = 0; i <= runs && steps; i++) { // the first makes pipelines
            double ms = steps_ms(probe, s, k, err);
            double none = steps_ms(probe, s, ~k, err);
            if (ms < 0 || none < 0) return false;
            if (i == 1 || (i && ms < best)) best = ms;
            if (i == 1 || (i && none < empty)) empty = none;
        }
        best = MAX2(best - empty, 0);
        if (steps)
            printf("%-52.*s %4d %9.3f %8.2f\n", STR_ARG(p->kernels[k].name), steps, best,
                   best < 1e-3 ? 0 : (n > 1 ? flops : bytes) / best / 1e6);
    }
    return true;
}

bool probe_kernels(Probe *p, u32 rows, i64 runs, Err *err) {
    u32 n = MIN2(rows, p->m->program->chunk);
    return time_kernels(p, rows - 1, 1, runs, err) && time_kernels(p, rows - n, n, runs, err);
}
