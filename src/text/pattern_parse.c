// text/pattern_parse.c: the text of a pattern -> a tree -> instructions.
//
// The dialect is what pre-tokenizers are written in: alternatives, sets with Unicode categories,
// groups, greedy, lazy and possessive repetition, look-ahead by one character, (?i:...) on ASCII.
// What is not supported is refused by name; nothing is approximated. Groups and repetitions nest to
// a limit, which bounds the recursion here.
#include "text/pattern_int.h"

enum { MAX_NODES = 4096, MAX_DEPTH = 32, MAX_COUNT = 1000, FOREVER = MAX_COUNT + 1 };

typedef enum NodeKind { N_EMPTY, N_SET, N_CAT, N_ALT, N_REPEAT, N_LOOK } NodeKind;
typedef enum Mode { GREEDY, LAZY, POSSESSIVE } Mode;
typedef struct Node {
    u8 kind, mode;
    bool negate; // of a look-ahead
    u32 set, min, max;
    i32 child, next; // first child and next sibling, -1 none
} Node;

typedef struct Parser {
    PatternProgram *prog;
    size_t pos;
    bool fold;
    int depth;
    VEC(Node) nodes;
} Parser;

bool pattern_too_big(PatternProgram *prog, const char *what) {
    return err_set(prog->err, ERR_PATTERN_SIZE, "the pattern '%S' needs too many %s; simplify it",
                   str_sub(prog->text, 0, 120), what);
}

static bool fail(Parser *c, const char *what) {
    return err_set(c->prog->err, ERR_PATTERN, "at byte %U of the pattern '%S': %s", (u64)c->pos,
                   str_sub(c->prog->text, 0, 120), what);
}

// ---- text -> tree -------------------------------------------------------------------------------

static bool node_new(Parser *c, NodeKind kind, i32 *out) {
    if (c->nodes.n >= MAX_NODES) return pattern_too_big(c->prog, "parts");
    Node n = {.kind = (u8)kind, .child = -1, .next = -1};
    *out = (i32)c->nodes.n;
    vec_push(c->prog->arena, &c->nodes, n);
    return true;
}

static bool set_begin(Parser *c, u32 *out) {
    if (c->prog->sets.n >= PATTERN_SETS)
        return pattern_too_big(c->prog, "different sets of characters");
    Set s = {.first_range = (u32)c->prog->ranges.n};
    *out = (u32)c->prog->sets.n;
    vec_push(c->prog->arena, &c->prog->sets, s);
    return true;
}

static void set_range_raw(Parser *c, Set *s, u32 lo, u32 hi) {
    Range r = {lo, hi};
    vec_push(c->prog->arena, &c->prog->ranges, r);
    s->n_ranges++;
}

// Ranges of a set follow each other: only the newest set may be added to.
static void set_range(Parser *c, u32 set, u32 lo, u32 hi) {
    Set *s = &c->prog->sets.at[set];
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

static bool at_end(const Parser *c) { return c->pos >= c->prog->text.len; }
static char peek(const Parser *c) { return at_end(c) ? '\0' : c->prog->text.ptr[c->pos]; }
static bool accept(Parser *c, const char *word) {
    Str w = str_c(word);
    if (!str_starts(str_sub(c->prog->text, c->pos, c->prog->text.len), w)) return false;
    c->pos += w.len;
    return true;
}

// {L} {Lu} L behind \p
static bool property_mask(Parser *c, u32 *mask) {
    // ORDER UNICODE_KIND
    static const char names[] = "LuLlLtLmLoMnMcMeNdNlNoPcPdPsPePiPfPoSmScSkSoZsZlZpCcCfCsCoCnCc";
    Str name;
    if (accept(c, "{")) {
        size_t start = c->pos;
        while (!at_end(c) && peek(c) != '}') c->pos++;
        name = str_sub(c->prog->text, start, c->pos);
        if (!accept(c, "}")) return fail(c, "\\p{ without }");
    } else {
        name = str_sub(c->prog->text, c->pos, c->pos + 1);
        c->pos += name.len;
    }
    *mask = 0;
    for (u32 k = 0; k < UC_COUNT; k++) {
        Str full = {names + 2 * k, 2};
        if (name.len > 0 && name.len <= 2 && str_starts(full, name)) *mask |= 1u << k;
    }
    return *mask != 0 ||
           fail(c, "an unknown \\p{...}; known are general categories such as L, Lu, N, Nd");
}

static int hex_value(char ch) {
    if (ch >= '0' && ch <= '9') return ch - '0';
    ch |= 32;
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

// Behind a backslash: a mask of kinds (*mask != 0) or one character.
static bool escape(Parser *c, u32 *mask, u32 *cp) {
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
        *cp = utf8_next(c->prog->text, &c->pos);
        return *cp != UTF8_BAD || fail(c, "not UTF-8");
    }
}

// [...], the bracket already read
static bool char_class(Parser *c, u32 set) {
    c->prog->sets.at[set].negate = accept(c, "^");
    bool first = true;
    for (;; first = false) {
        u32 mask = 0, lo = 0;
        if (at_end(c)) return fail(c, "[ without ]");
        if (!first && accept(c, "]")) return true;
        if (peek(c) == '[') return fail(c, "a set inside a set is not supported; write \\[");
        if (str_starts(str_sub(c->prog->text, c->pos, c->prog->text.len), S("&&")))
            return fail(c, "&& is not supported");
        if (accept(c, "\\")) {
            if (!escape(c, &mask, &lo)) return false;
            if (mask != 0) {
                c->prog->sets.at[set].kinds |= mask;
                continue;
            }
        } else if ((lo = utf8_next(c->prog->text, &c->pos)) == UTF8_BAD) {
            return fail(c, "not UTF-8");
        }
        u32 hi = lo;
        Str rest = str_sub(c->prog->text, c->pos, c->prog->text.len);
        if (rest.len >= 2 && rest.ptr[0] == '-' && rest.ptr[1] != ']') {
            c->pos++;
            if (accept(c, "\\")) {
                if (!escape(c, &mask, &hi)) return false;
                if (mask != 0) return fail(c, "a range that ends in a class");
            } else if ((hi = utf8_next(c->prog->text, &c->pos)) == UTF8_BAD) {
                return fail(c, "not UTF-8");
            }
            if (hi < lo) return fail(c, "a range that runs backwards");
        }
        set_range(c, set, lo, hi);
    }
}

static bool alternatives(Parser *c, i32 *out);

static bool set_node(Parser *c, i32 *out, u32 *set) {
    if (!node_new(c, N_SET, out) || !set_begin(c, set)) return false;
    c->nodes.at[*out].set = *set;
    return true;
}

// One set, group or look-ahead, without what repeats it.
static bool atom(Parser *c, i32 *out) {
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
        if (++c->depth > MAX_DEPTH) return pattern_too_big(c->prog, "groups inside each other");
        ok = alternatives(c, out);
        c->depth--;
        c->fold = fold;
        if (!ok) return false;
        if (!accept(c, ")")) return fail(c, "( without )");
        if (!look) return true;
        if (c->nodes.at[*out].kind != N_SET)
            return fail(c, "look-ahead is supported for one character only");
        c->nodes.at[*out].kind = N_LOOK;
        c->nodes.at[*out].negate = negate;
        return true;
    }
    if (!set_node(c, out, &set)) return false;
    if (accept(c, "[")) return char_class(c, set);
    if (accept(c, ".")) {
        set_range(c, set, '\n', '\n');
        c->prog->sets.at[set].negate = true;
        return true;
    }
    if (accept(c, "\\")) {
        if (!escape(c, &mask, &cp)) return false;
        c->prog->sets.at[set].kinds = mask;
        if (mask == 0) set_range(c, set, cp, cp);
        return true;
    }
    if (memchr("^$*+?{", peek(c), 6) != NULL)
        return fail(c, "an operator in a place where none is supported");
    cp = utf8_next(c->prog->text, &c->pos);
    if (cp == UTF8_BAD) return fail(c, "not UTF-8");
    if (c->fold && cp >= 0x80) return fail(c, "case folding beyond ASCII is not supported");
    set_range(c, set, cp, cp);
    return true;
}

static bool count(Parser *c, u32 *out) {
    size_t start = c->pos;
    for (*out = 0; peek(c) >= '0' && peek(c) <= '9'; c->pos++) {
        *out = *out * 10 + (u32)(peek(c) - '0');
        if (*out > MAX_COUNT) return pattern_too_big(c->prog, "repetitions");
    }
    return c->pos > start || fail(c, "a number is missing in {...}");
}

static bool repeated(Parser *c, i32 *out) {
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
        if (peek(c) == '+' && braces)
            return fail(c, "{...}+ means different things in different dialects");
        if (mode == GREEDY && accept(c, "+")) mode = POSSESSIVE;
        if (c->nodes.at[*out].kind == N_LOOK) return fail(c, "a look-ahead cannot be repeated");
        if (mode == POSSESSIVE && c->nodes.at[*out].kind != N_SET) {
            return fail(c, "possessive repetition is supported for one set only");
        }
        if (!node_new(c, N_REPEAT, &node)) return false;
        Node *n = &c->nodes.at[node];
        n->child = *out, n->min = min, n->max = max, n->mode = (u8)mode;
        *out = node;
        if (++c->depth > MAX_DEPTH) return pattern_too_big(c->prog, "repetitions of repetitions");
    }
    return true;
}

// A list of children under one node; a single child stands for itself.
static bool sequence(Parser *c, i32 *out) {
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

static bool alternatives(Parser *c, i32 *out) {
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

// ---- tree -> instructions -----------------------------------------------------------------------

static bool emit(Parser *c, InstOp op, u32 set, u32 x, u32 y) {
    if (c->prog->insts.n >= PATTERN_INSTS) return pattern_too_big(c->prog, "instructions");
    Inst i = {.op = (u8)op, .set = (u16)set, .x = (u16)x, .y = (u16)y};
    vec_push(c->prog->arena, &c->prog->insts, i);
    return true;
}

static bool emit_node(Parser *c, i32 node);

// A split between going on, which follows it, and the way out, which choice_exit fills in.
static bool emit_choice(Parser *c, u32 *at) {
    *at = (u32)c->prog->insts.n;
    return emit(c, I_SPLIT, 0, *at + 1, *at + 1);
}

static void choice_exit(Parser *c, const Node *n, u32 at, u32 exit) {
    if (n->mode == LAZY) {
        c->prog->insts.at[at].x = (u16)exit;
    } else {
        c->prog->insts.at[at].y = (u16)exit;
    }
}

static bool emit_repeat(Parser *c, Node n) {
    u32 set = c->nodes.at[n.child].set, at = 0;
    for (u32 i = 0; i < n.min; i++) {
        if (!emit_node(c, n.child)) return false;
    }
    if (n.max == FOREVER) {
        if (!emit_choice(c, &at) || !emit_node(c, n.child) || !emit(c, I_JUMP, 0, at, 0))
            return false;
        choice_exit(c, &n, at, (u32)c->prog->insts.n);
        // A possessive run ends only where its set ends.
        return n.mode != POSSESSIVE || emit(c, I_NEXT_NOT, set, 0, 0);
    }
    VEC(u32) exits = {0};
    for (u32 i = n.min; i < n.max; i++) {
        if (!emit_choice(c, &at) || !emit_node(c, n.child)) return false;
        vec_push(c->prog->arena, &exits, at);
    }
    if (n.mode == POSSESSIVE && exits.n > 0) {
        u32 jump = (u32)c->prog->insts.n;
        if (!emit(c, I_JUMP, 0, jump + 2, 0) || !emit(c, I_NEXT_NOT, set, 0, 0)) return false;
        for (size_t i = 0; i < exits.n; i++) choice_exit(c, &n, exits.at[i], jump + 1);
        return true;
    }
    for (size_t i = 0; i < exits.n; i++) choice_exit(c, &n, exits.at[i], (u32)c->prog->insts.n);
    return true;
}

// Recursion is as deep as the tree, which MAX_DEPTH bounds.
static bool emit_node(Parser *c, i32 node) {
    Node n = c->nodes.at[node];
    if (++c->prog->work > PATTERN_WORK)
        return pattern_too_big(c->prog, "repetitions"); // of nothing, which emits nothing
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
            u32 split = (u32)c->prog->insts.n;
            bool last = c->nodes.at[i].next < 0;
            if (!last && !emit(c, I_SPLIT, 0, split + 1, 0)) return false;
            if (!emit_node(c, i)) return false;
            if (last) break;
            vec_push(c->prog->arena, &jumps, (u32)c->prog->insts.n);
            if (!emit(c, I_JUMP, 0, 0, 0)) return false;
            c->prog->insts.at[split].y = (u16)c->prog->insts.n;
        }
        for (size_t i = 0; i < jumps.n; i++)
            c->prog->insts.at[jumps.at[i]].x = (u16)c->prog->insts.n;
        return true;
    }
    default: return true;
    }
}

bool pattern_parse(PatternProgram *prog) {
    Parser c = {.prog = prog};
    i32 root;
    if (prog->text.len > 1 << 16) return pattern_too_big(prog, "bytes");
    if (!alternatives(&c, &root)) return false;
    if (c.pos < prog->text.len) return fail(&c, ") without (");
    return emit_node(&c, root) && emit(&c, I_MATCH, 0, 0, 0);
}
