// text/tokenizer.c: text -> ids -> text, whatever the kind of vocabulary.
//
// Tokens that a vocabulary marks as special or user-defined are cut out of the text first, leftmost
// and longest; what lies between goes through the pre-tokenizer to the kind's own encoder. A kind
// is a row of `kinds` and a file; nothing outside the row knows it. Not here: templates, which say
// where special tokens go.
#include "text/text.h"

enum { MAX_TEXT = 1 << 28, MAX_SPECIAL_BYTES = 512, MAX_ENDS = 32 };

// Tokens that are matched in the text before anything else, sorted by their bytes.
typedef struct Specials {
    i32 *ids;
    u32 n;
    bool first[256]; // a byte that one begins with
} Specials;

struct Tokenizer {
    const Vocab *vocab;
    VocabIndex index;
    const struct Kind *kind;
    Pretok pretok;
    Bpe *bpe;
    Specials all, user; // with and without control tokens
    i32 ends[MAX_ENDS];
    u32 n_ends;
};

typedef struct Kind {
    const char *model; // tokenizer.ggml.model
    bool (*make)(Arena *a, Tokenizer *t, Err *err);
    // What lies between special tokens; never empty.
    bool (*encode)(const Tokenizer *t, Arena *a, Str text, TokenIds *out, Err *err);
    void (*decode)(const Tokenizer *t, const VocabToken *token, Buf *out);
} Kind;

// ---- byte-level BPE -----------------------------------------------------------------------------

static bool gpt2_make(Arena *a, Tokenizer *t, Err *err) {
    const PretokRow *row = pretok_find(t->vocab->pre);
    if (row == NULL) {
        Buf known = {.arena = a};
        pretok_names(&known);
        if (t->vocab->pre.len == 0) {
            err_set(err, ERR_VOCAB_PRE,
                    "no pre-tokenizer is named; convert the model anew, or name one of: %S",
                    buf_str(&known));
        } else {
            err_set(err, ERR_VOCAB_PRE,
                    "the pre-tokenizer '%S' is not known; take a model with one that is; known: %S",
                    str_sub(t->vocab->pre, 0, 64), buf_str(&known));
        }
        return err_subject(err, S("tokenizer.ggml.pre"));
    }
    return pretok_compile(a, row, &t->pretok, err) &&
           bpe_new(a, t->vocab, &t->index, row->ignore_merges, &t->bpe, err);
}

static bool gpt2_encode(const Tokenizer *t, Arena *a, Str text, TokenIds *out, Err *err) {
    BpeWork *work = bpe_work(a);
    PretokIter it;
    Str word;
    pretok_begin(&it, &t->pretok, text);
    while (pretok_next(&it, &word)) {
        if (!bpe_encode(t->bpe, work, word, out, err)) return false;
    }
    if (!it.exhausted) return true;
    return err_set(
        err, ERR_PATTERN_STEPS,
        "the pre-tokenizer '%S' takes too long on this text of %U bytes; give it in parts",
        str_sub(t->vocab->pre, 0, 64), (u64)text.len);
}

static void gpt2_decode(const Tokenizer *t, const VocabToken *token, Buf *out) {
    (void)t;
    bpe_decode(token->text, out);
}

static const Kind kinds[] = {
    {"gpt2", gpt2_make, gpt2_encode, gpt2_decode},
};

// ---- special tokens -----------------------------------------------------------------------------

// A heap sort: no recursion, no worst case. By text, shorter first where one begins the other.
static void specials_sift(const Vocab *v, i32 *ids, u32 root, u32 n) {
    for (u32 child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n &&
            str_cmp(v->tokens[ids[child]].text, v->tokens[ids[child + 1]].text) < 0)
            child++;
        if (str_cmp(v->tokens[ids[root]].text, v->tokens[ids[child]].text) >= 0) return;
        i32 id = ids[root];
        ids[root] = ids[child];
        ids[child] = id;
    }
}

static bool specials_make(Arena *a, const Vocab *v, bool control, Specials *s, Err *err) {
    for (int pass = 0; pass < 2; pass++) {
        s->n = 0;
        for (u32 i = 0; i < v->n_tokens; i++) {
            u8 type = v->tokens[i].type;
            Str text = v->tokens[i].text;
            bool wanted =
                type == TOKEN_USER || (control && (type == TOKEN_CONTROL || type == TOKEN_UNKNOWN));
            if (!wanted || text.len == 0) continue;
            if (text.len > MAX_SPECIAL_BYTES) {
                return err_set(err, ERR_VOCAB_SIZE,
                               "the special token %u is %U bytes long: at most %u are possible", i,
                               (u64)text.len, (u32)MAX_SPECIAL_BYTES);
            }
            if (pass == 1) s->ids[s->n] = (i32)i;
            s->first[(u8)text.ptr[0]] = true;
            s->n++;
        }
        if (pass == 0) s->ids = arena_try(a, (u64)s->n + 1, sizeof *s->ids);
        if (s->ids == NULL)
            return err_set(
                err, ERR_OUT_OF_MEMORY,
                "no memory for %u special tokens; close something or take a smaller model", s->n);
    }
    for (u32 i = s->n / 2; i-- > 0;) specials_sift(v, s->ids, i, s->n);
    for (u32 n = s->n; n-- > 1;) {
        i32 id = s->ids[0];
        s->ids[0] = s->ids[n];
        s->ids[n] = id;
        specials_sift(v, s->ids, 0, n);
    }
    return true;
}

// The longest special token that text begins with, -1 when there is none.
static i32 specials_match(const Specials *s, const Vocab *v, Str text, size_t *len) {
    u32 lo = 0, hi = s->n; // those that agree with the first k bytes
    i32 found = -1;
    for (size_t k = 0; k < text.len && lo < hi; k++) {
        u8 c = (u8)text.ptr[k];
        for (int side = 0; side < 2;
             side++) { // first whose byte k is >= c, then first whose byte k is > c
            u32 from = lo, to = hi;
            while (from < to) {
                u32 mid = from + (to - from) / 2;
                Str m = v->tokens[s->ids[mid]].text;
                if ((u8)m.ptr[k] < c || (side == 1 && (u8)m.ptr[k] == c)) {
                    from = mid + 1;
                } else {
                    to = mid;
                }
            }
            if (side == 0) {
                lo = from;
            } else {
                hi = from;
            }
        }
        // Whoever ends here sorts first, and is left out of what must be longer.
        if (lo < hi && v->tokens[s->ids[lo]].text.len == k + 1) {
            found = s->ids[lo++];
            *len = k + 1;
        }
    }
    return found;
}

// ---- making -------------------------------------------------------------------------------------

// How model families spell the end of a turn or of a text: files often name only one of several.
static void ends_make(Tokenizer *t) {
    static const char *const names[] = {
        "<|im_end|>",    "<|eot_id|>", "<|eom_id|>",    "<|end_of_text|>",
        "<|endoftext|>", "<|end|>",    "<end_of_turn>", "<|end_of_turn|>",
        "<|eot|>",       "<|return|>", "</s>",          "<EOT>",
    };
    const Vocab *v = t->vocab;
    const i32 given[] = {v->eos, v->eot, v->eom};
    for (size_t i = 0; i < COUNT_OF(given); i++) {
        if (given[i] >= 0) t->ends[t->n_ends++] = given[i];
    }
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        i32 id = vocab_find(&t->index, str_c(names[i]));
        if (id >= 0 && v->tokens[id].type == TOKEN_CONTROL) t->ends[t->n_ends++] = id;
    }
}

static bool check_ids(const Vocab *v, Err *err) {
    const i32 ids[] = {v->bos, v->eos, v->eot, v->eom, v->unk, v->pad};
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        if (ids[i] < -1 || ids[i] >= (i64)v->n_tokens) {
            return err_set(err, ERR_VOCAB_ID,
                           "the special token %d is not in the vocabulary of %u tokens; convert "
                           "the model anew",
                           ids[i], v->n_tokens);
        }
    }
    return true;
}

bool tokenizer_new(Arena *a, const Vocab *v, Tokenizer **out, Err *err) {
    Tokenizer *t = NEW(a, Tokenizer);
    t->vocab = v;
    for (size_t i = 0; i < COUNT_OF(kinds); i++) {
        if (str_eq(v->model, str_c(kinds[i].model))) t->kind = &kinds[i];
    }
    if (t->kind == NULL) {
        Buf known = {.arena = a};
        for (size_t i = 0; i < COUNT_OF(kinds); i++)
            buf_fmt(&known, i > 0 ? ", %s" : "%s", kinds[i].model);
        err_set(err, ERR_VOCAB_MODEL,
                "the tokenizer '%S' is not known; take a model with one that is; known: %S",
                str_sub(v->model, 0, 64), buf_str(&known));
        return err_subject(err, S("tokenizer.ggml.model"));
    }
    if (v->n_tokens == 0)
        return err_set(err, ERR_VOCAB_SIZE, "the vocabulary has no tokens; convert the model anew");
    if (!check_ids(v, err) || !vocab_index(a, v, &t->index, err) || !t->kind->make(a, t, err))
        return false;
    if (!specials_make(a, v, true, &t->all, err) || !specials_make(a, v, false, &t->user, err))
        return false;
    ends_make(t);
    *out = t;
    return true;
}

const Vocab *tokenizer_vocab(const Tokenizer *t) { return t->vocab; }

bool tokenizer_is_end(const Tokenizer *t, i32 id) {
    for (u32 i = 0; i < t->n_ends; i++) {
        if (t->ends[i] == id) return true;
    }
    return false;
}

// ---- encoding and decoding ----------------------------------------------------------------------

static bool push_named(Arena *a, i32 id, const char *name, TokenIds *out, Err *err) {
    if (id < 0)
        return err_set(err, ERR_TOKEN_NONE, "this vocabulary has no %s token; go without", name);
    vec_push(a, out, id);
    return true;
}

bool tokenizer_encode(const Tokenizer *t, Arena *a, Str text, u32 flags, TokenIds *out, Err *err) {
    const Specials *s = flags & TOKENIZE_SPECIAL ? &t->all : &t->user;
    if (text.len > MAX_TEXT) {
        return err_set(err, ERR_TEXT_LONG, "a text of %U bytes; give at most %u at once",
                       (u64)text.len, (u32)MAX_TEXT);
    }
    if ((flags & TOKENIZE_BOS) && !push_named(a, t->vocab->bos, "bos", out, err)) return false;
    size_t start = 0;
    for (size_t at = 0; at < text.len; at++) {
        size_t len = 0;
        if (!s->first[(u8)text.ptr[at]]) continue;
        i32 id = specials_match(s, t->vocab, str_sub(text, at, text.len), &len);
        if (id < 0) continue;
        if (at > start && !t->kind->encode(t, a, str_sub(text, start, at), out, err)) return false;
        vec_push(a, out, id);
        start = at + len;
        at = start - 1;
    }
    if (start < text.len && !t->kind->encode(t, a, str_sub(text, start, text.len), out, err))
        return false;
    return !(flags & TOKENIZE_EOS) || push_named(a, t->vocab->eos, "eos", out, err);
}

bool tokenizer_decode_one(const Tokenizer *t, i32 id, u32 flags, Buf *out, Err *err) {
    if (id < 0 || id >= (i64)t->vocab->n_tokens) {
        return err_set(err, ERR_TOKEN_ID, "%d is no token: the vocabulary has 0 to %u", id,
                       t->vocab->n_tokens - 1);
    }
    const VocabToken *token = &t->vocab->tokens[id];
    switch (token->type) {
    case TOKEN_CONTROL:
    case TOKEN_UNKNOWN:
        if (flags & DETOKENIZE_SPECIAL) buf_add(out, token->text);
        break;
    case TOKEN_USER: buf_add(out, token->text); break;
    default: t->kind->decode(t, token, out);
    }
    return true;
}

bool tokenizer_decode(const Tokenizer *t, const i32 *ids, size_t n, u32 flags, Buf *out, Err *err) {
    for (size_t i = 0; i < n; i++) {
        if (!tokenizer_decode_one(t, ids[i], flags, out, err)) return false;
    }
    return true;
}
