// text/pattern.c: the regular expressions of pre-tokenizers, compiled whole into a deterministic
// automaton.
//
// Instructions -> automaton over classes of characters. A state is the list of instructions that
// are still possible, in order of preference, so that the first alternative wins as in Perl. What
// looks at the next character (look-ahead, possessive repetition) is decided when that character is
// read, one step late. Patterns whose automaton is large are refused, so that matching costs one
// look-up a character whatever the pattern. Not here: captures, back references, look-behind,
// look-ahead past one character, folding beyond ASCII.
#include "text/pattern_int.h"

enum {
    MAX_CLASSES = 250,
    MAX_STATES = 4096,
    MAX_SEEDS = 1 << 20, // of all states together
    MATCHED = 0x8000,    // flag in a transition: the pattern matches before this character
};

struct Pattern {
    u8 ascii[128];
    u32 n_cuts, n_classes; // the last class is the end of the text
    const u32 *cuts;       // code points where a range of the pattern begins or ends, beyond ASCII
    const u8 *kind_class;  // [cut interval][kind, 32 wide]
    const u16 *next;       // [state][class]: state | MATCHED; state 0 is dead, 1 the start
};

typedef struct Builder {
    PatternProgram *prog;
    u64 sig[MAX_CLASSES]; // class -> mask of the sets that hold its characters
    u32 n_classes;
    VEC(u16) seeds;
    VEC(u32) state_at; // state -> first seed; one more than states
    VEC(u16) next;
    u32 *hash;
    u32 *seen; // instruction -> stamp of the closure that reached it
    u16 *stack;
} Builder;

// ---- characters -> classes ----------------------------------------------------------------------

static bool set_has(const Builder *c, const Set *s, u32 cp, UniKind kind) {
    bool in = s->kinds >> kind & 1;
    for (u32 i = 0; i < s->n_ranges && !in; i++) {
        const Range *r = &c->prog->ranges.at[s->first_range + i];
        in = cp >= r->lo && cp <= r->hi;
    }
    return in != s->negate;
}

static bool class_of(Builder *c, u32 cp, UniKind kind, u8 *out) {
    u64 sig = 0;
    for (size_t i = 0; i < c->prog->sets.n; i++)
        sig |= (u64)set_has(c, &c->prog->sets.at[i], cp, kind) << i;
    for (u32 k = 0; k < c->n_classes; k++) {
        if (c->sig[k] == sig) return *out = (u8)k, true;
    }
    if (c->n_classes + 1 >= MAX_CLASSES) return pattern_too_big(c->prog, "classes of characters");
    c->sig[c->n_classes] = sig;
    *out = (u8)c->n_classes++;
    return true;
}

static void cut_add(u32 *cuts, u32 *n, u32 cp) {
    if (cp < 128) return;
    u32 i = *n;
    while (i > 0 && cuts[i - 1] > cp) i--;
    if (i > 0 && cuts[i - 1] == cp) return;
    memmove(cuts + i + 1, cuts + i, (*n - i) * sizeof *cuts);
    cuts[i] = cp;
    *n += 1;
}

static bool build_classes(Builder *c, Pattern *p) {
    if (c->prog->ranges.n > 2048) return pattern_too_big(c->prog, "ranges");
    u32 *cuts = NEW_N(c->prog->arena, u32, 2 * c->prog->ranges.n + 1);
    for (size_t i = 0; i < c->prog->ranges.n; i++) {
        cut_add(cuts, &p->n_cuts, c->prog->ranges.at[i].lo);
        cut_add(cuts, &p->n_cuts, c->prog->ranges.at[i].hi + 1);
    }
    for (u32 cp = 0; cp < 128; cp++) {
        if (!class_of(c, cp, unicode_kind(cp), &p->ascii[cp])) return false;
    }
    u8 *table = NEW_N(c->prog->arena, u8, ((size_t)p->n_cuts + 1) * 32);
    for (u32 i = 0; i <= p->n_cuts; i++) {
        u32 first = i == 0 ? 128 : cuts[i - 1];
        for (u32 k = 0; k < UC_COUNT; k++) {
            if (!class_of(c, first, (UniKind)k, &table[i * 32 + k])) return false;
        }
    }
    p->cuts = cuts;
    p->kind_class = table;
    p->n_classes = c->n_classes + 1;
    return true;
}

// ---- instructions -> automaton ------------------------------------------------------------------

// The state whose seeds are seeds.at[from..), which are kept when it is new and dropped when it is
// known.
static bool state_of(Builder *c, size_t from, u32 *out) {
    size_t n = c->seeds.n - from;
    if (n == 0) return *out = 0, true;
    u64 h = hash_bytes(0, c->seeds.at + from, n * sizeof(u16));
    u32 mask = 4 * MAX_STATES - 1, slot = (u32)h & mask;
    for (; c->hash[slot] != 0; slot = (slot + 1) & mask) {
        u32 s = c->hash[slot], at = c->state_at.at[s];
        if (c->state_at.at[s + 1] - at == n &&
            memcmp(c->seeds.at + at, c->seeds.at + from, n * sizeof(u16)) == 0) {
            c->seeds.n = from;
            return *out = s, true;
        }
    }
    u32 s = (u32)c->state_at.n - 1;
    if (s >= MAX_STATES || c->seeds.n > MAX_SEEDS) return pattern_too_big(c->prog, "states");
    vec_push(c->prog->arena, &c->state_at, (u32)c->seeds.n);
    c->hash[slot] = s;
    return *out = s, true;
}

// Follows everything possible in `state` up to the character of class k (NULL sig: the end of the
// text), in order of preference, and adds what is possible behind that character to the seeds.
static bool step(Builder *c, u32 state, const u64 *sig, u32 stamp, bool *matched) {
    *matched = false;
    for (u32 i = c->state_at.at[state]; i < c->state_at.at[state + 1]; i++) {
        u32 n = 0;
        c->stack[n++] = c->seeds.at[i];
        while (n > 0) {
            u32 at = c->stack[--n];
            if (c->seen[at] == stamp) continue;
            c->seen[at] = stamp;
            if (++c->prog->work > PATTERN_WORK) return pattern_too_big(c->prog, "steps to compile");
            const Inst *in = &c->prog->insts.at[at];
            bool has = sig != NULL && (*sig >> in->set & 1);
            switch (in->op) {
            case I_SET:
                if (has) vec_push(c->prog->arena, &c->seeds, (u16)(at + 1));
                break;
            case I_SPLIT: // each instruction enters the stack at most twice
                c->stack[n++] = in->y;
                c->stack[n++] = in->x;
                break;
            case I_JUMP: c->stack[n++] = in->x; break;
            case I_NEXT_IN:
            case I_NEXT_NOT:
                if (has == (in->op == I_NEXT_IN)) c->stack[n++] = (u16)(at + 1);
                break;
            case I_MATCH: *matched = true; return true; // whatever is less preferred is out
            }
        }
    }
    return true;
}

static bool build_states(Builder *c, Pattern *p) {
    u32 k_n = p->n_classes, start;
    c->hash = NEW_N(c->prog->arena, u32, 4 * MAX_STATES);
    c->seen = NEW_N(c->prog->arena, u32, c->prog->insts.n);
    c->stack = NEW_N(c->prog->arena, u16, 2 * c->prog->insts.n + 2);
    vec_push(c->prog->arena, &c->state_at, 0); // state 0, dead: no seeds
    vec_push(c->prog->arena, &c->state_at, 0);
    vec_push(c->prog->arena, &c->seeds, 0);
    if (!state_of(c, 0, &start)) return false;
    for (u32 k = 0; k < k_n; k++) vec_push(c->prog->arena, &c->next, 0);
    u32 stamp = 0;
    for (u32 s = 1; s + 1 < c->state_at.n; s++) {
        for (u32 k = 0; k < k_n; k++) {
            bool matched;
            u32 to;
            size_t from = c->seeds.n;
            if (!step(c, s, k + 1 < k_n ? &c->sig[k] : NULL, ++stamp, &matched)) return false;
            if (!state_of(c, from, &to)) return false;
            vec_push(c->prog->arena, &c->next, (u16)(to | (matched ? MATCHED : 0)));
        }
    }
    p->next = c->next.at;
    return true;
}

bool pattern_compile(Arena *a, Str text, const Pattern **out, Err *err) {
    PatternProgram prog = {.arena = a, .err = err, .text = text};
    Builder *c = NEW(a, Builder);
    Pattern *p = NEW(a, Pattern);
    c->prog = &prog;
    if (!pattern_parse(&prog) || !build_classes(c, p) || !build_states(c, p)) return false;
    *out = p;
    return true;
}

// ---- matching -----------------------------------------------------------------------------------

static u32 wide_class(const Pattern *p, u32 cp) {
    u32 lo = 0, hi = p->n_cuts; // how many cuts are at or below cp
    while (lo < hi) {
        u32 mid = (lo + hi) / 2;
        if (p->cuts[mid] <= cp) {
            lo = mid + 1;
        } else {
            hi = mid;
        }
    }
    return p->kind_class[lo * 32 + unicode_kind(cp)];
}

i64 pattern_match(const Pattern *p, Str text, size_t pos, u64 *steps) {
    i64 end = -1;
    u32 state = 1;
    u64 n = 0;
    for (;; n++) {
        size_t next = pos;
        u32 k = p->n_classes - 1;
        if (pos < text.len) {
            u8 c = (u8)text.ptr[pos];
            if (c < 128) {
                k = p->ascii[c];
                next = pos + 1;
            } else {
                k = wide_class(p, utf8_next(text, &next));
            }
        }
        u16 t = p->next[state * p->n_classes + k];
        if (t & MATCHED) end = (i64)pos;
        state = t & (MATCHED - 1);
        if (state == 0) break;
        pos = next;
    }
    *steps += n + 1;
    return end;
}
