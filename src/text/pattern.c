// text/pattern.c: the regular expressions of pre-tokenizers, compiled whole into a deterministic automaton.
//
// Text -> tree -> instructions -> automaton over classes of characters. A state is the list of instructions that
// are still possible, in order of preference, so that the first alternative wins as in Perl. What looks at the next
// character (look-ahead, possessive repetition) is decided when that character is read, one step late. Patterns
// whose automaton is large are refused, so that matching costs one look-up a character whatever the pattern.
// Not here: captures, back references, look-behind, look-ahead past one character, folding beyond ASCII.
#include "text/text.h"

enum {
    MAX_NODES = 4096,
    MAX_INSTS = 4096,
    MAX_DEPTH = 32,
    MAX_SETS = 64,
    MAX_CLASSES = 250,
    MAX_STATES = 4096,
    MAX_COUNT = 1000,
    MAX_SEEDS = 1 << 20,      // of all states together
    MAX_WORK = 20 * 1000 * 1000, // instructions looked at while building
    FOREVER = MAX_COUNT + 1,
    MATCHED = 0x8000, // flag in a transition: the pattern matches before this character
};

struct Pattern {
    u8 ascii[128];
    u32 n_cuts, n_classes; // the last class is the end of the text
    const u32 *cuts;       // code points where a range of the pattern begins or ends, beyond ASCII
    const u8 *kind_class;  // [cut interval][kind, 32 wide]
    const u16 *next;       // [state][class]: state | MATCHED; state 0 is dead, 1 the start
};

typedef struct Range {
    u32 lo, hi;
} Range;
typedef struct Set {
    u32 kinds; // mask over UniKind
    u32 first_range, n_ranges;
    bool negate;
} Set;

typedef enum NodeKind { N_EMPTY, N_SET, N_CAT, N_ALT, N_REPEAT, N_LOOK } NodeKind;
typedef enum Mode { GREEDY, LAZY, POSSESSIVE } Mode;
typedef struct Node {
    u8 kind, mode;
    bool negate; // of a look-ahead
    u32 set, min, max;
    i32 child, next; // first child and next sibling, -1 none
} Node;

typedef enum InstOp { I_SET, I_SPLIT, I_JUMP, I_NEXT_IN, I_NEXT_NOT, I_MATCH } InstOp;
typedef struct Inst {
    u8 op;
    u16 set, x, y; // split prefers x
} Inst;

typedef struct Compiler {
    Arena *arena;
    Err *err;
    Str text;
    size_t pos;
    bool fold;
    int depth;
    VEC(Range) ranges;
    VEC(Set) sets;
    VEC(Node) nodes;
    VEC(Inst) insts;
    // automaton
    u64 sig[MAX_CLASSES]; // class -> mask of the sets that hold its characters
    u32 n_classes;
    VEC(u16) seeds;
    VEC(u32) state_at; // state -> first seed; one more than states
    VEC(u16) next;
    u32 *hash;
    u32 *seen; // instruction -> stamp of the closure that reached it
    u16 *stack;
    u64 work;
} Compiler;

static bool fail(Compiler *c, const char *what) {
    return err_set(c->err, ERR_PATTERN, "at byte %U of the pattern '%S': %s", (u64)c->pos, str_sub(c->text, 0, 120),
                   what);
}

static bool too_big(Compiler *c, const char *what) {
    return err_set(c->err, ERR_PATTERN_SIZE, "the pattern '%S' needs too many %s; simplify it",
                   str_sub(c->text, 0, 120), what);
}

// ---- text -> tree

static bool node_new(Compiler *c, NodeKind kind, i32 *out) {
    if (c->nodes.n >= MAX_NODES) return too_big(c, "parts");
    Node n = {.kind = (u8)kind, .child = -1, .next = -1};
    *out = (i32)c->nodes.n;
    vec_push(c->arena, &c->nodes, n);
    return true;
}

static bool set_begin(Compiler *c, u32 *out) {
    if (c->sets.n >= MAX_SETS) return too_big(c, "different sets of characters");
    Set s = {.first_range = (u32)c->ranges.n};
    *out = (u32)c->sets.n;
    vec_push(c->arena, &c->sets, s);
    return true;
}

static void set_range_raw(Compiler *c, Set *s, u32 lo, u32 hi) {
    Range r = {lo, hi};
    vec_push(c->arena, &c->ranges, r);
    s->n_ranges++;
}

// Ranges of a set follow each other: only the newest set may be added to.
static void set_range(Compiler *c, u32 set, u32 lo, u32 hi) {
    Set *s = &c->sets.at[set];
    set_range_raw(c, s, lo, hi);
    if (!c->fold) return;
    for (u32 letter = 'a'; letter <= 'z'; letter++) {
        u32 upper = letter - 32;
        bool low = letter >= lo && letter <= hi, up = upper >= lo && upper <= hi;
        if (low && !up) set_range_raw(c, s, upper, upper);
        if (up && !low) set_range_raw(c, s, letter, letter);
        if (!low && !up) continue;
        if (letter == 's') set_range_raw(c, s, 0x17f, 0x17f);   // long s
        if (letter == 'k') set_range_raw(c, s, 0x212a, 0x212a); // kelvin sign
    }
}

static bool at_end(const Compiler *c) { return c->pos >= c->text.len; }
static char peek(const Compiler *c) { return at_end(c) ? '\0' : c->text.ptr[c->pos]; }
static bool accept(Compiler *c, const char *word) {
    Str w = str_c(word);
    if (!str_starts(str_sub(c->text, c->pos, c->text.len), w)) return false;
    c->pos += w.len;
    return true;
}

// {L} {Lu} L behind \p
static bool property_mask(Compiler *c, u32 *mask) {
    // ORDER UNICODE_KIND
    static const char names[] = "LuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCoCnCc";
    Str name;
    if (accept(c, "{")) {
        size_t start = c->pos;
        while (!at_end(c) && peek(c) != '}') c->pos++;
        name = str_sub(c->text, start, c->pos);
        if (!accept(c, "}")) return fail(c, "\\p{ without }");
    } else {
        name = str_sub(c->text, c->pos, c->pos + 1);
        c->pos += name.len;
    }
    *mask = 0;
    for (u32 k = 0; k < UC_COUNT; k++) {
        Str full = {names + 2 * k, 2};
        if (name.len > 0 && name.len <= 2 && str_starts(full, name)) *mask |= 1u << k;
    }
    return *mask != 0 || fail(c, "an unknown \\p{...}; known are general categories such as L, Lu, N, Nd");
}

static int hex_value(char ch) {
    if (ch >= '0' && ch <= '9') return ch - '0';
    ch |= 32;
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

// Behind a backslash: a mask of kinds (*mask != 0) or one character.
static bool escape(Compiler *c, u32 *mask, u32 *cp) {
    const u32 all = (1u << UC_COUNT) - 1;
    *mask = 0;
    if (at_end(c)) return fail(c, "a backslash at the end");
    char ch = peek(c);
    c->pos++;
    switch (ch) {
    case 'p': return property_mask(c, mask);
    case 'P':
        if (!property_mask(c, mask)) return false;
        *mask = all & ~*mask;
        return *mask != 0 || fail(c, "a class that holds nothing");
    case 's': *mask = UC_SPACE_MASK; return true;
    case 'S': *mask = all & ~UC_SPACE_MASK; return true;
    case 'd': *mask = 1u << UC_ND; return true;
    case 'D': *mask = all & ~(1u << UC_ND); return true;
    case 'r': *cp = '\r'; return true;
    case 'n': *cp = '\n'; return true;
    case 't': *cp = '\t'; return true;
    case 'f': *cp = '\f'; return true;
    case 'v': *cp = '\v'; return true;
    case 'x':
    case 'u': {
        bool braces = accept(c, "{");
        int digits = braces ? 6 : ch == 'x' ? 2 : 4, n = 0;
        for (*cp = 0; n < digits && hex_value(peek(c)) >= 0; n++, c->pos++) {
            *cp = *cp * 16 + (u32)hex_value(peek(c));
        }
        if (n == 0 || (!braces && n != digits) || (braces && !accept(c, "}")) || *cp > 0x10ffff) {
            return fail(c, "a broken \\x or \\u");
        }
        return true;
    }
    default:
        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || (ch >= '0' && ch <= '9')) {
            return fail(c, "an escape that is not supported");
        }
        c->pos--;
        *cp = utf8_next(c->text, &c->pos);
        return *cp != UTF8_BAD || fail(c, "not UTF-8");
    }
}

// [...], the bracket already read
static bool char_class(Compiler *c, u32 set) {
    c->sets.at[set].negate = accept(c, "^");
    bool first = true;
    for (;; first = false) {
        u32 mask = 0, lo = 0;
        if (at_end(c)) return fail(c, "[ without ]");
        if (!first && accept(c, "]")) return true;
        if (peek(c) == '[') return fail(c, "a set inside a set is not supported; write \\[");
        if (str_starts(str_sub(c->text, c->pos, c->text.len), S("&&"))) return fail(c, "&& is not supported");
        if (accept(c, "\\")) {
            if (!escape(c, &mask, &lo)) return false;
            if (mask != 0) {
                c->sets.at[set].kinds |= mask;
                continue;
            }
        } else if ((lo = utf8_next(c->text, &c->pos)) == UTF8_BAD) {
            return fail(c, "not UTF-8");
        }
        u32 hi = lo;
        Str rest = str_sub(c->text, c->pos, c->text.len);
        if (rest.len >= 2 && rest.ptr[0] == '-' && rest.ptr[1] != ']') {
            c->pos++;
            if (accept(c, "\\")) {
                if (!escape(c, &mask, &hi)) return false;
                if (mask != 0) return fail(c, "a range that ends in a class");
            } else if ((hi = utf8_next(c->text, &c->pos)) == UTF8_BAD) {
                return fail(c, "not UTF-8");
            }
            if (hi < lo) return fail(c, "a range that runs backwards");
        }
        set_range(c, set, lo, hi);
    }
}

static bool alternatives(Compiler *c, i32 *out);

static bool set_node(Compiler *c, i32 *out, u32 *set) {
    if (!node_new(c, N_SET, out) || !set_begin(c, set)) return false;
    c->nodes.at[*out].set = *set;
    return true;
}

// One set, group or look-ahead, without what repeats it.
static bool atom(Compiler *c, i32 *out) {
    u32 set = 0, mask = 0, cp = 0;
    if (accept(c, "(")) {
        bool fold = c->fold, ok = true, look = false, negate = false;
        if (accept(c, "?i:")) {
            c->fold = true;
        } else if (accept(c, "?!")) {
            look = negate = true;
        } else if (accept(c, "?=")) {
            look = true;
        } else if (peek(c) == '?' && !accept(c, "?:")) {
            return fail(c, "a kind of group that is not supported; known: (?:, (?i:, (?=, (?!");
        }
        if (++c->depth > MAX_DEPTH) return too_big(c, "groups inside each other");
        ok = alternatives(c, out);
        c->depth--;
        c->fold = fold;
        if (!ok) return false;
        if (!accept(c, ")")) return fail(c, "( without )");
        if (!look) return true;
        if (c->nodes.at[*out].kind != N_SET) return fail(c, "look-ahead is supported for one character only");
        c->nodes.at[*out].kind = N_LOOK;
        c->nodes.at[*out].negate = negate;
        return true;
    }
    if (!set_node(c, out, &set)) return false;
    if (accept(c, "[")) return char_class(c, set);
    if (accept(c, ".")) {
        set_range(c, set, '\n', '\n');
        c->sets.at[set].negate = true;
        return true;
    }
    if (accept(c, "\\")) {
        if (!escape(c, &mask, &cp)) return false;
        c->sets.at[set].kinds = mask;
        if (mask == 0) set_range(c, set, cp, cp);
        return true;
    }
    if (memchr("^$*+?{", peek(c), 6) != NULL) return fail(c, "an operator in a place where none is supported");
    cp = utf8_next(c->text, &c->pos);
    if (cp == UTF8_BAD) return fail(c, "not UTF-8");
    if (c->fold && cp >= 0x80) return fail(c, "case folding beyond ASCII is not supported");
    set_range(c, set, cp, cp);
    return true;
}

static bool count(Compiler *c, u32 *out) {
    size_t start = c->pos;
    for (*out = 0; peek(c) >= '0' && peek(c) <= '9'; c->pos++) {
        *out = *out * 10 + (u32)(peek(c) - '0');
        if (*out > MAX_COUNT) return too_big(c, "repetitions");
    }
    return c->pos > start || fail(c, "a number is missing in {...}");
}

static bool repeated(Compiler *c, i32 *out) {
    if (!atom(c, out)) return false;
    while (!at_end(c) && memchr("*+?{", peek(c), 4) != NULL) {
        u32 min = 0, max = FOREVER;
        Mode mode = GREEDY;
        i32 node;
        bool braces = accept(c, "{");
        if (braces) {
            if (!count(c, &min)) return false;
            max = min;
            if (accept(c, ",")) {
                max = FOREVER;
                if (peek(c) != '}' && !count(c, &max)) return false;
            }
            if (!accept(c, "}")) return fail(c, "{ without }");
            if (max < min) return fail(c, "{m,n} with n below m");
        } else {
            char op = peek(c);
            c->pos++;
            min = op == '+';
            max = op == '?' ? 1 : FOREVER;
        }
        if (accept(c, "?")) mode = LAZY;
        // Behind braces a + repeats the repetition in some dialects and is possessive in others.
        if (peek(c) == '+' && braces) return fail(c, "{...}+ means different things in different dialects");
        if (mode == GREEDY && accept(c, "+")) mode = POSSESSIVE;
        if (c->nodes.at[*out].kind == N_LOOK) return fail(c, "a look-ahead cannot be repeated");
        if (mode == POSSESSIVE && c->nodes.at[*out].kind != N_SET) {
            return fail(c, "possessive repetition is supported for one set only");
        }
        if (!node_new(c, N_REPEAT, &node)) return false;
        Node *n = &c->nodes.at[node];
        n->child = *out, n->min = min, n->max = max, n->mode = (u8)mode;
        *out = node;
        if (++c->depth > MAX_DEPTH) return too_big(c, "repetitions of repetitions");
    }
    return true;
}

// A list of children under one node; a single child stands for itself.
static bool sequence(Compiler *c, i32 *out) {
    i32 cat, last = -1;
    if (!node_new(c, N_CAT, &cat)) return false;
    while (!at_end(c) && peek(c) != '|' && peek(c) != ')') {
        i32 item;
        int depth = c->depth;
        if (!repeated(c, &item)) return false;
        c->depth = depth;
        if (last < 0) {
            c->nodes.at[cat].child = item;
        } else {
            c->nodes.at[last].next = item;
        }
        last = item;
    }
    *out = last >= 0 && c->nodes.at[cat].child == last ? last : cat;
    return true;
}

static bool alternatives(Compiler *c, i32 *out) {
    i32 alt, last;
    if (!sequence(c, out)) return false;
    if (peek(c) != '|' || at_end(c)) return true;
    if (!node_new(c, N_ALT, &alt)) return false;
    c->nodes.at[alt].child = last = *out;
    while (accept(c, "|")) {
        i32 item;
        if (!sequence(c, &item)) return false;
        c->nodes.at[last].next = item;
        last = item;
    }
    *out = alt;
    return true;
}

// ---- tree -> instructions

static bool emit(Compiler *c, InstOp op, u32 set, u32 x, u32 y) {
    if (c->insts.n >= MAX_INSTS) return too_big(c, "instructions");
    Inst i = {.op = (u8)op, .set = (u16)set, .x = (u16)x, .y = (u16)y};
    vec_push(c->arena, &c->insts, i);
    return true;
}

static bool emit_node(Compiler *c, i32 node);

// A split between going on, which follows it, and the way out, which choice_exit fills in.
static bool emit_choice(Compiler *c, u32 *at) {
    *at = (u32)c->insts.n;
    return emit(c, I_SPLIT, 0, *at + 1, *at + 1);
}

static void choice_exit(Compiler *c, const Node *n, u32 at, u32 exit) {
    if (n->mode == LAZY) {
        c->insts.at[at].x = (u16)exit;
    } else {
        c->insts.at[at].y = (u16)exit;
    }
}

static bool emit_repeat(Compiler *c, Node n) {
    u32 set = c->nodes.at[n.child].set, at = 0;
    for (u32 i = 0; i < n.min; i++) {
        if (!emit_node(c, n.child)) return false;
    }
    if (n.max == FOREVER) {
        if (!emit_choice(c, &at) || !emit_node(c, n.child) || !emit(c, I_JUMP, 0, at, 0)) return false;
        choice_exit(c, &n, at, (u32)c->insts.n);
        // A possessive run ends only where its set ends.
        return n.mode != POSSESSIVE || emit(c, I_NEXT_NOT, set, 0, 0);
    }
    VEC(u32) exits = {0};
    for (u32 i = n.min; i < n.max; i++) {
        if (!emit_choice(c, &at) || !emit_node(c, n.child)) return false;
        vec_push(c->arena, &exits, at);
    }
    if (n.mode == POSSESSIVE && exits.n > 0) {
        u32 jump = (u32)c->insts.n;
        if (!emit(c, I_JUMP, 0, jump + 2, 0) || !emit(c, I_NEXT_NOT, set, 0, 0)) return false;
        for (size_t i = 0; i < exits.n; i++) choice_exit(c, &n, exits.at[i], jump + 1);
        return true;
    }
    for (size_t i = 0; i < exits.n; i++) choice_exit(c, &n, exits.at[i], (u32)c->insts.n);
    return true;
}

// Recursion is as deep as the tree, which MAX_DEPTH bounds.
static bool emit_node(Compiler *c, i32 node) {
    Node n = c->nodes.at[node];
    if (++c->work > MAX_WORK) return too_big(c, "repetitions"); // of nothing, which emits nothing
    switch (n.kind) {
    case N_SET: return emit(c, I_SET, n.set, 0, 0);
    case N_LOOK: return emit(c, n.negate ? I_NEXT_NOT : I_NEXT_IN, n.set, 0, 0);
    case N_REPEAT: return emit_repeat(c, n);
    case N_CAT:
        for (i32 i = n.child; i >= 0; i = c->nodes.at[i].next) {
            if (!emit_node(c, i)) return false;
        }
        return true;
    case N_ALT: {
        VEC(u32) jumps = {0};
        for (i32 i = n.child; i >= 0; i = c->nodes.at[i].next) {
            u32 split = (u32)c->insts.n;
            bool last = c->nodes.at[i].next < 0;
            if (!last && !emit(c, I_SPLIT, 0, split + 1, 0)) return false;
            if (!emit_node(c, i)) return false;
            if (last) break;
            vec_push(c->arena, &jumps, (u32)c->insts.n);
            if (!emit(c, I_JUMP, 0, 0, 0)) return false;
            c->insts.at[split].y = (u16)c->insts.n;
        }
        for (size_t i = 0; i < jumps.n; i++) c->insts.at[jumps.at[i]].x = (u16)c->insts.n;
        return true;
    }
    default: return true;
    }
}

// ---- characters -> classes

static bool set_has(const Compiler *c, const Set *s, u32 cp, UniKind kind) {
    bool in = s->kinds >> kind & 1;
    for (u32 i = 0; i < s->n_ranges && !in; i++) {
        const Range *r = &c->ranges.at[s->first_range + i];
        in = cp >= r->lo && cp <= r->hi;
    }
    return in != s->negate;
}

static bool class_of(Compiler *c, u32 cp, UniKind kind, u8 *out) {
    u64 sig = 0;
    for (size_t i = 0; i < c->sets.n; i++) sig |= (u64)set_has(c, &c->sets.at[i], cp, kind) << i;
    for (u32 k = 0; k < c->n_classes; k++) {
        if (c->sig[k] == sig) return *out = (u8)k, true;
    }
    if (c->n_classes + 1 >= MAX_CLASSES) return too_big(c, "classes of characters");
    c->sig[c->n_classes] = sig;
    *out = (u8)c->n_classes++;
    return true;
}

static void cut_add(Compiler *c, u32 *cuts, u32 *n, u32 cp) {
    (void)c;
    if (cp < 128) return;
    u32 i = *n;
    while (i > 0 && cuts[i - 1] > cp) i--;
    if (i > 0 && cuts[i - 1] == cp) return;
    memmove(cuts + i + 1, cuts + i, (*n - i) * sizeof *cuts);
    cuts[i] = cp;
    *n += 1;
}

static bool build_classes(Compiler *c, Pattern *p) {
    if (c->ranges.n > 2048) return too_big(c, "ranges");
    u32 *cuts = NEW_N(c->arena, u32, 2 * c->ranges.n + 1);
    for (size_t i = 0; i < c->ranges.n; i++) {
        cut_add(c, cuts, &p->n_cuts, c->ranges.at[i].lo);
        cut_add(c, cuts, &p->n_cuts, c->ranges.at[i].hi + 1);
    }
    for (u32 cp = 0; cp < 128; cp++) {
        if (!class_of(c, cp, unicode_kind(cp), &p->ascii[cp])) return false;
    }
    u8 *table = NEW_N(c->arena, u8, ((size_t)p->n_cuts + 1) * 32);
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

// ---- instructions -> automaton

// The state whose seeds are seeds.at[from..), which are kept when it is new and dropped when it is known.
static bool state_of(Compiler *c, size_t from, u32 *out) {
    size_t n = c->seeds.n - from;
    if (n == 0) return *out = 0, true;
    u64 h = hash_bytes(0, c->seeds.at + from, n * sizeof(u16));
    u32 mask = 4 * MAX_STATES - 1, slot = (u32)h & mask;
    for (; c->hash[slot] != 0; slot = (slot + 1) & mask) {
        u32 s = c->hash[slot], at = c->state_at.at[s];
        if (c->state_at.at[s + 1] - at == n && memcmp(c->seeds.at + at, c->seeds.at + from, n * sizeof(u16)) == 0) {
            c->seeds.n = from;
            return *out = s, true;
        }
    }
    u32 s = (u32)c->state_at.n - 1;
    if (s >= MAX_STATES || c->seeds.n > MAX_SEEDS) return too_big(c, "states");
    vec_push(c->arena, &c->state_at, (u32)c->seeds.n);
    c->hash[slot] = s;
    return *out = s, true;
}

// Follows everything possible in `state` up to the character of class k (NULL sig: the end of the text), in order
// of preference, and adds what is possible behind that character to the seeds.
static bool step(Compiler *c, u32 state, const u64 *sig, u32 stamp, bool *matched) {
    *matched = false;
    for (u32 i = c->state_at.at[state]; i < c->state_at.at[state + 1]; i++) {
        u32 n = 0;
        c->stack[n++] = c->seeds.at[i];
        while (n > 0) {
            u32 at = c->stack[--n];
            if (c->seen[at] == stamp) continue;
            c->seen[at] = stamp;
            if (++c->work > MAX_WORK) return too_big(c, "steps to compile");
            const Inst *in = &c->insts.at[at];
            bool has = sig != NULL && (*sig >> in->set & 1);
            switch (in->op) {
            case I_SET:
                if (has) vec_push(c->arena, &c->seeds, (u16)(at + 1));
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

static bool build_states(Compiler *c, Pattern *p) {
    u32 k_n = p->n_classes, start;
    c->hash = NEW_N(c->arena, u32, 4 * MAX_STATES);
    c->seen = NEW_N(c->arena, u32, c->insts.n);
    c->stack = NEW_N(c->arena, u16, 2 * c->insts.n + 2);
    vec_push(c->arena, &c->state_at, 0); // state 0, dead: no seeds
    vec_push(c->arena, &c->state_at, 0);
    vec_push(c->arena, &c->seeds, 0);
    if (!state_of(c, 0, &start)) return false;
    for (u32 k = 0; k < k_n; k++) vec_push(c->arena, &c->next, 0);
    u32 stamp = 0;
    for (u32 s = 1; s + 1 < c->state_at.n; s++) {
        for (u32 k = 0; k < k_n; k++) {
            bool matched;
            u32 to;
            size_t from = c->seeds.n;
            if (!step(c, s, k + 1 < k_n ? &c->sig[k] : NULL, ++stamp, &matched)) return false;
            if (!state_of(c, from, &to)) return false;
            vec_push(c->arena, &c->next, (u16)(to | (matched ? MATCHED : 0)));
        }
    }
    p->next = c->next.at;
    return true;
}

bool pattern_compile(Arena *a, Str text, const Pattern **out, Err *err) {
    Compiler *c = NEW(a, Compiler);
    Pattern *p = NEW(a, Pattern);
    i32 root;
    *c = (Compiler){.arena = a, .err = err, .text = text};
    if (text.len > 1 << 16) return too_big(c, "bytes");
    if (!alternatives(c, &root)) return false;
    if (!at_end(c)) return fail(c, ") without (");
    if (!emit_node(c, root) || !emit(c, I_MATCH, 0, 0, 0)) return false;
    if (!build_classes(c, p) || !build_states(c, p)) return false;
    *out = p;
    return true;
}

// ---- matching

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
