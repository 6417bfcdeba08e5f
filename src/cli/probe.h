// cli/probe.h: a bound program's steps handed over for their time's sake, for `hob bench`.
#ifndef HOB_PROBE_H
#define HOB_PROBE_H

#include "cli/cli.h"

typedef struct Probe {
    Model *m;
    Arena *arena;
    BoundHandle bound;
    i32 *params;
} Probe;

// ---- probe.c ------------------------------------------------------------------------------------
bool probe_open(Probe *p, Model *m, Arena *a, Err *err);
void probe_close(Probe *p);
// Rows [pos, pos + n), of which the last m get logits and a greedy token, as the engine hands them
// over. It uses p->params, as the one before it did.
Submit probe_submit(Probe *p, u32 pos, u32 n, u32 m);
bool probe_wait(Probe *p, Err *err); // until all that was handed over is done
// `--kernels`: each kernel's steps alone, of decode and of a prompt of so many rows.
bool probe_kernels(Probe *p, u32 rows, i64 runs, Err *err);

// ---- bandwidth.c --------------------------------------------------------------------------------
// Bytes a nanosecond that this device reads from memory at best, a processor with its threads; 0:
// it computes nothing.
bool bandwidth_of(Device *d, double *gbps, Err *err);

// ---- trace.c ------------------------------------------------------------------------------------
typedef struct TraceAsk {
    Str path, model;
    u32 prompt;            // tokens of it lie in the cache and in the token ring, and one more
    double submits;        // a token of an answer
    const hob_stats *runs; // without a trace
    bool table;            // on standard output too
} TraceAsk;
bool trace_write(Probe *p, const TraceAsk *ask, Err *err);

#endif
