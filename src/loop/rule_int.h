// loop/rule_int.h: how rules write schedules: line by line, each applied at once, so that a rule
// can look at what its earlier lines made (which stages a factor left, what divides what) before it
// writes the next.
#ifndef HOB_RULE_INT_H
#define HOB_RULE_INT_H

#include "loop/loop_int.h"

enum { MANY_ROWS = 16 }; // of activations: fewer are not worth a tile of them

typedef struct RuleWriter {
    Nest *t; // up to date with the lines written
    Err *err;
    bool ok;
} RuleWriter;

void rule_line(RuleWriter *w, const char *fmt, ...); // does nothing once !ok
bool rule_try(RuleWriter *w, const char *fmt, ...);  // the line only if it applies

// Inlines every stage that is neither a reduction nor a result, but `keep` (NULL: none).
void rule_inline_all(RuleWriter *w, const char *keep);
NestStage *rule_out(const Nest *n); // the stage with stores
i64 rule_divisor(i64 n, i64 most);  // the largest divisor of n that is <= most
bool rule_loop_extent(const NestStage *s, const char *loop, i64 *ext); // constant extent of a loop
// Opens `loop` of the result to the device's parallel levels: a CPU's threads, or workgroups of so
// many threads (0: as suits the profile and the loop).
void rule_bind_flat(RuleWriter *w, const char *stage, const char *loop, i64 threads);
#define RULE_WG {"wg", {0, 16, 32, 64, 128}, 5} // the parameter for it

extern const Rule rule_matmul_row, rule_matmul_rows, rule_matmul_bytes, rule_attention,
    rule_row_reduce, rule_map;

#endif
