// text/pretok.c: splits text into the words inside which byte-pair merging happens.
//
// A pre-tokenizer is a row of pretok.def: up to four patterns, each applied to the pieces that the
// one before left, each as if its piece were the whole text (look-ahead sees the piece's end). A
// match is a piece, and so is what lies between two matches. Normalisation is not done here.
#include "text/text.h"

static const PretokRow rows[] = {
#define PRETOK(names, ignore_merges, add_bos, ...) {names, ignore_merges, add_bos, {__VA_ARGS__}},
#include "text/pretok.def"
#undef PRETOK
};

const PretokRow *pretok_find(Str name) {
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Str rest = str_c(rows[i].names);
        while (rest.len > 0) {
            if (str_eq(str_cut(rest, ' ', &rest), name)) return &rows[i];
        }
    }
    return NULL;
}

void pretok_names(Buf *out) {
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        Str rest;
        if (i > 0) buf_add(out, S(", "));
        buf_add(out, str_cut(str_c(rows[i].names), ' ', &rest));
    }
}

bool pretok_compile(Arena *a, const PretokRow *row, Pretok *out, Err *err) {
    *out = (Pretok){0};
    for (int i = 0; i < PRETOK_PATTERNS_MAX && row->patterns[i] != NULL; i++) {
        if (!pattern_compile(a, str_c(row->patterns[i]), &out->patterns[i], err)) return false;
        out->n++;
    }
    return true;
}

void pretok_begin(PretokIter *it, const Pretok *p, Str text) {
    *it = (PretokIter){.pretok = p, .text = text, .depth = text.len > 0};
    it->level[0].end = text.len;
}

// The next piece of level d, moved past; the caller knows that something is left.
static Str level_next(PretokIter *it, int d) {
    const Pattern *pattern = it->pretok->patterns[d];
    size_t start = it->level[d].pos, end = it->level[d].end, stop = end;
    Str piece = {it->text.ptr, end};
    i64 match = it->level[d].match_end;
    it->level[d].match_end = 0;
    if (match > 0) {
        stop = (size_t)match;
    } else {
        u64 limit = 64 * (u64)it->text.len + 4096;
        for (size_t at = start; at < end && it->steps < limit;) {
            match = pattern_match(pattern, piece, at, &it->steps);
            if (match > (i64)at) {
                stop = at > start ? at : (size_t)match;
                it->level[d].match_end = at > start ? match : 0;
                break;
            }
            utf8_next(piece, &at);
        }
        it->exhausted = it->steps >= limit;
    }
    it->level[d].pos = stop;
    return str_sub(it->text, start, stop);
}

bool pretok_next(PretokIter *it, Str *word) {
    while (it->depth > 0 && !it->exhausted) {
        int d = it->depth - 1;
        if (it->level[d].pos >= it->level[d].end) {
            it->depth--;
            continue;
        }
        if (it->pretok->n == 0) { // no patterns: the text is one word
            it->depth = 0;
            *word = it->text;
            return true;
        }
        *word = level_next(it, d);
        if (it->depth == it->pretok->n) return !it->exhausted;
        size_t from = (size_t)(word->ptr - it->text.ptr);
        it->level[it->depth].pos = from;
        it->level[it->depth].end = from + word->len;
        it->level[it->depth].match_end = 0;
        it->depth++;
    }
    return false;
}
