// text/pattern_int.h: what stands between a pattern's text (pattern_parse.c) and its automaton
// (pattern.c).
#ifndef HOB_PATTERN_INT_H
#define HOB_PATTERN_INT_H

#include "text/text.h"

enum {
    PATTERN_INSTS = 4096,
    PATTERN_SETS = 64,
    PATTERN_WORK = 20 * 1000 * 1000, // things looked at while compiling
};

typedef struct Range {
    u32 lo, hi;
} Range;

// Characters of the kinds or in the ranges; negated, all others.
typedef struct Set {
    u32 kinds; // mask over UniKind
    u32 first_range, n_ranges;
    bool negate;
} Set;

typedef enum InstOp {
    I_SET,      // reads a character of the set
    I_SPLIT,    // goes on at x and at y, x preferred
    I_JUMP,     // goes on at x
    I_NEXT_IN,  // passes where the next character is in the set
    I_NEXT_NOT, // passes where it is not, the end of the text included
    I_MATCH,
} InstOp;
typedef struct Inst {
    u8 op;
    u16 set, x, y;
} Inst;

typedef struct PatternProgram {
    Arena *arena;
    Err *err;
    Str text;
    VEC(Range) ranges;
    VEC(Set) sets;
    VEC(Inst) insts;
    u64 work;
} PatternProgram;

// Fills ranges, sets and insts from text.
bool pattern_parse(PatternProgram *prog);
bool pattern_too_big(PatternProgram *prog, const char *what); // sets the error, returns false

#endif
