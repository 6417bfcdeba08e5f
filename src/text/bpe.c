// text/bpe.c: byte-level byte-pair encoding: the bytes of a word, merged pair by pair in the order
// of the merges.
//
// Every byte has a printable character as its spelling in the vocabulary (GPT-2's map), so any
// bytes can be encoded, well-formed or not. Short words are merged by scanning for the best pair,
// long ones with a heap and a linked list: both take the best rank first, leftmost among equals.
// What a vocabulary has no byte token for is left out before merging and counted, as the reference
// implementation leaves it out.
#include "text/text.h"

enum { SHORT_WORD = 24, MAX_PROBES = 1024 };

typedef struct Merge {
    i32 left, right, out;
} Merge;

struct Bpe {
    const VocabIndex *index;
    bool ignore_merges;
    size_t longest; // token, in bytes of its spelling
    i32 byte_id[256];
    const Merge *merges; // the rank is the position
    u32 *slots;          // rank + 1, 0 empty
    u32 mask;
};

typedef struct Symbol {
    i32 id;         // -1: merged into the one before
    u32 prev, next; // NONE at the ends
} Symbol;
#define NONE UINT32_MAX

typedef struct Pair {
    u32 rank, at; // of the left symbol
} Pair;

struct BpeWork {
    Arena *arena;
    Symbol *symbols;
    size_t n_symbols;
    VEC(Pair) heap; // smallest (rank, at) first
    Buf spelt;
};

// ---- GPT-2's map between bytes and characters ---------------------------------------------------

static bool byte_is_printable(u32 b) {
    return (b >= 0x21 && b <= 0x7e) || (b >= 0xa1 && b <= 0xff && b != 0xad);
}

// The bytes that are no printable characters take U+0100, U+0101, ... in their order.
static u32 byte_to_char(u8 b) {
    if (byte_is_printable(b)) return b;
    if (b <= 0x20) return 0x100u + b;
    return b == 0xad ? 0x143 : 0x121u + (b - 0x7fu); // 0x7f to 0xa0
}

static int char_to_byte(u32 cp) {
    if (cp < 0x100) return byte_is_printable(cp) ? (int)cp : -1;
    if (cp <= 0x120) return (int)(cp - 0x100);
    if (cp <= 0x142) return (int)(cp - 0x121 + 0x7f);
    return cp == 0x143 ? 0xad : -1;
}

void bpe_spell(Str bytes, Buf *out) {
    for (size_t i = 0; i < bytes.len; i++) buf_utf8(out, byte_to_char((u8)bytes.ptr[i]));
}

void bpe_decode(Str token, Buf *out) {
    for (size_t i = 0; i < token.len;) {
        if (char_to_byte(utf8_next(token, &i)) < 0) {
            buf_add(out, token);
            return;
        }
    }
    for (size_t i = 0; i < token.len;) buf_char(out, (char)char_to_byte(utf8_next(token, &i)));
}

// ---- making -------------------------------------------------------------------------------------

static u32 pair_hash(i32 left, i32 right) {
    u64 h = ((u64)(u32)left << 32 | (u32)right) * 0x9e3779b97f4a7c15u;
    return (u32)(h >> 32 ^ h >> 15);
}

// NONE: the two do not merge. No merge lies further from its place than MAX_PROBES.
static u32 merge_rank(const Bpe *b, i32 left, i32 right) {
    u32 slot = pair_hash(left, right) & b->mask;
    for (u32 probes = 0; b->slots[slot] != 0 && probes <= MAX_PROBES; probes++) {
        const Merge *m = &b->merges[b->slots[slot] - 1];
        if (m->left == left && m->right == right) return b->slots[slot] - 1;
        slot = (slot + 1) & b->mask;
    }
    return NONE;
}

static bool merge_error(Err *err, u32 rank, Str text, const char *what) {
    return err_set(err, ERR_VOCAB_MERGE, "merge %u, '%S', %s: the vocabulary is damaged", rank,
                   str_sub(text, 0, 96), what);
}

static bool merge_read(const Bpe *b, u32 rank, Str text, Buf *joined, Merge *out, Err *err) {
    size_t cut = 1; // a token may begin with a space, so the first byte cannot be the separator
    while (cut < text.len && text.ptr[cut] != ' ') cut++;
    if (cut + 1 >= text.len)
        return merge_error(err, rank, text, "is not two tokens with a space between");
    Str left = str_sub(text, 0, cut), right = str_sub(text, cut + 1, text.len);
    out->left = vocab_find(b->index, left);
    out->right = vocab_find(b->index, right);
    if (out->left < 0 || out->right < 0)
        return merge_error(err, rank, text, "names a token that does not exist");
    joined->len = 0;
    buf_add(joined, left);
    buf_add(joined, right);
    out->out = vocab_find(b->index, buf_str(joined));
    return out->out >= 0 || merge_error(err, rank, text, "gives a token that does not exist");
}

static bool merge_index(Bpe *b, u32 rank, Str text, Err *err) {
    const Merge *m = &b->merges[rank];
    u32 slot = pair_hash(m->left, m->right) & b->mask;
    for (u32 probes = 0; b->slots[slot] != 0; slot = (slot + 1) & b->mask) {
        const Merge *other = &b->merges[b->slots[slot] - 1];
        if (other->left == m->left && other->right == m->right) {
            return merge_error(err, rank, text, "is there twice");
        }
        if (++probes > MAX_PROBES)
            return merge_error(err, rank, text, "is made to collide with others");
    }
    b->slots[slot] = rank + 1;
    return true;
}

bool bpe_new(Arena *a, const Vocab *v, const VocabIndex *x, bool ignore_merges, Bpe **out,
             Err *err) {
    Bpe *b = NEW(a, Bpe);
    Buf joined = {.arena = a};
    *b = (Bpe){.index = x, .ignore_merges = ignore_merges, .mask = 63};
    for (u32 i = 0; i < 256; i++) {
        char spelt[4];
        b->byte_id[i] = vocab_find(x, (Str){spelt, utf8_put(byte_to_char((u8)i), spelt)});
    }
    for (u32 i = 0; i < v->n_tokens; i++) b->longest = MAX2(b->longest, v->tokens[i].text.len);
    while (b->mask < 2 * (u64)v->n_merges) b->mask = 2 * b->mask + 1;
    Merge *merges = arena_try(a, v->n_merges, sizeof *merges);
    b->slots = arena_try(a, (u64)b->mask + 1, sizeof *b->slots);
    if ((merges == NULL && v->n_merges > 0) || b->slots == NULL) {
        return err_set(err, ERR_OUT_OF_MEMORY, "for %u merges", v->n_merges);
    }
    b->merges = merges;
    for (u32 i = 0; i < v->n_merges; i++) {
        if (!merge_read(b, i, v->merges[i], &joined, &merges[i], err)) return false;
        if (!merge_index(b, i, v->merges[i], err)) return false;
    }
    *out = b;
    return true;
}

BpeWork *bpe_work(Arena *a) {
    BpeWork *w = NEW(a, BpeWork);
    *w = (BpeWork){.arena = a, .spelt = {.arena = a}};
    return w;
}

// ---- encoding -----------------------------------------------------------------------------------

static void encode_short(const Bpe *b, BpeWork *w, i32 *ids, u32 n, TokenIds *out) {
    u32 ranks[SHORT_WORD]; // of the pair (i, i + 1)
    for (u32 i = 0; i + 1 < n; i++) ranks[i] = merge_rank(b, ids[i], ids[i + 1]);
    while (n > 1) {
        u32 best = 0;
        for (u32 i = 1; i + 1 < n; i++) {
            if (ranks[i] < ranks[best]) best = i;
        }
        if (ranks[best] == NONE) break;
        ids[best] = b->merges[ranks[best]].out;
        n--;
        for (u32 i = best + 1; i < n; i++) {
            ids[i] = ids[i + 1];
            ranks[i - 1] = ranks[i];
        }
        if (best + 1 < n) ranks[best] = merge_rank(b, ids[best], ids[best + 1]);
        if (best > 0) ranks[best - 1] = merge_rank(b, ids[best - 1], ids[best]);
    }
    for (u32 i = 0; i < n; i++) vec_push(w->arena, out, ids[i]);
}

static bool pair_before(Pair a, Pair b) { return a.rank != b.rank ? a.rank < b.rank : a.at < b.at; }

static void heap_push(BpeWork *w, Pair p) {
    vec_push(w->arena, &w->heap, p);
    size_t i = w->heap.n - 1;
    while (i > 0 && pair_before(p, w->heap.at[(i - 1) / 2])) {
        w->heap.at[i] = w->heap.at[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    w->heap.at[i] = p;
}

static Pair heap_pop(BpeWork *w) {
    Pair *h = w->heap.at, top = h[0], last = h[--w->heap.n];
    size_t i = 0, n = w->heap.n;
    while (2 * i + 1 < n) {
        size_t child = 2 * i + 1;
        if (child + 1 < n && pair_before(h[child + 1], h[child])) child++;
        if (!pair_before(h[child], last)) break;
        h[i] = h[child];
        i = child;
    }
    h[i] = last;
    return top;
}

static void offer_pair(const Bpe *b, BpeWork *w, u32 at) {
    u32 next = at == NONE ? NONE : w->symbols[at].next;
    if (next == NONE) return;
    u32 rank = merge_rank(b, w->symbols[at].id, w->symbols[next].id);
    if (rank != NONE) heap_push(w, (Pair){rank, at});
}

static void encode_long(const Bpe *b, BpeWork *w, u32 n, TokenIds *out) {
    Symbol *s = w->symbols;
    w->heap.n = 0;
    for (u32 i = 0; i + 1 < n; i++) offer_pair(b, w, i);
    while (w->heap.n > 0) {
        Pair p = heap_pop(w);
        const Merge *m = &b->merges[p.rank];
        u32 next = s[p.at].next;
        // One of the two may have been merged since the pair was offered.
        if (s[p.at].id != m->left || next == NONE || s[next].id != m->right) continue;
        s[p.at].id = m->out;
        s[p.at].next = s[next].next;
        s[next].id = -1;
        if (s[p.at].next != NONE) s[s[p.at].next].prev = p.at;
        offer_pair(b, w, p.at);
        offer_pair(b, w, s[p.at].prev);
    }
    for (u32 i = 0; i != NONE; i = s[i].next) vec_push(w->arena, out, s[i].id);
}

static bool work_grow(BpeWork *w, size_t n, Err *err) {
    if (n <= w->n_symbols) return true;
    size_t want = MAX2(n, 2 * w->n_symbols);
    w->symbols = arena_try(w->arena, want, sizeof *w->symbols);
    w->n_symbols = w->symbols != NULL ? want : 0;
    return w->symbols != NULL || err_set(err, ERR_OUT_OF_MEMORY, "for a word of %U bytes", (u64)n);
}

bool bpe_encode(const Bpe *b, BpeWork *w, Str word, TokenIds *out, Err *err) {
    if (b->ignore_merges && word.len <= b->longest) {
        w->spelt.len = 0;
        bpe_spell(word, &w->spelt);
        i32 id = vocab_find(b->index, buf_str(&w->spelt));
        if (id >= 0 && b->index->tokens[id].type == TOKEN_NORMAL) {
            vec_push(w->arena, out, id);
            return true;
        }
    }
    if (word.len <= SHORT_WORD) {
        i32 ids[SHORT_WORD];
        u32 n = 0;
        for (size_t i = 0; i < word.len; i++) {
            i32 id = b->byte_id[(u8)word.ptr[i]];
            if (id >= 0) ids[n++] = id;
        }
        out->dropped += word.len - n;
        encode_short(b, w, ids, n, out);
        return true;
    }
    u32 n = 0;
    if (!work_grow(w, word.len, err)) return false;
    for (size_t i = 0; i < word.len; i++) {
        i32 id = b->byte_id[(u8)word.ptr[i]];
        if (id >= 0) w->symbols[n] = (Symbol){id, n - 1, n + 1}, n++; // n - 1 is NONE for the first
    }
    out->dropped += word.len - n;
    if (n == 0) return true;
    w->symbols[n - 1].next = NONE;
    encode_long(b, w, n, out);
    return true;
}
