// pass/pass.c: the list of passes over a graph, in order. Then come pass_fuse (groups) and
// pass_plan_memory.
#include "pass/pass.h"

static const PassRow rows[] = {
    {"fold", pass_fold, "a verified graph"},
    {"join", pass_join, "folded, plain weights"},
    {"encodings", pass_encodings, "joined weights"},
    {"pack", pass_pack, "joined weights"},
    {"parts", pass_parts, "folded"},
};

const PassRow *passes(int *count) {
    *count = (int)COUNT_OF(rows);
    return rows;
}
