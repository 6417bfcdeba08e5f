// text/text.h: text in and out of tokens: tokenizers, Unicode, chat templates.
//
// Stands on base, and for vocab.c on format. Sections are by file.
#ifndef HOB_TEXT_H
#define HOB_TEXT_H

#include "base/base.h"
#include "format/format.h"

// ---- unicode.c, unicode_tables.c: UTF-8 and general categories ----------------------------------
// ORDER UNICODE_KIND (tools/gen_unicode.py). The first 30 are Unicode's general categories;
// UC_CC_SPACE splits the controls that are white space (tab, line feed, ...) off from Cc, so that
// every class is a mask of kinds.
// clang-format off
typedef enum UniKind {
    UC_LU, UC_LL, UC_LT, UC_LM, UC_LO, UC_MN, UC_MC, UC_ME, UC_ND, UC_NL, UC_NO, UC_PC, UC_PD, UC_PS, UC_PE,
    UC_PI, UC_PF, UC_PO, UC_SM, UC_SC, UC_SK, UC_SO, UC_ZS, UC_ZL, UC_ZP, UC_CC, UC_CF, UC_CS, UC_CO, UC_CN,
    UC_CC_SPACE, UC_COUNT
} UniKind;
// clang-format on
#define UC_SPACE_MASK (1u << UC_ZS | 1u << UC_ZL | 1u << UC_ZP | 1u << UC_CC_SPACE)

typedef struct UniMark {
    u32 start, at; // of a run: its first code point, its place in unicode_runs
} UniMark;
extern const u8 unicode_runs[]; // packed, see there: a page downloads them
extern const UniMark unicode_marks[];
extern const u32 unicode_mark_count, unicode_run_bytes;

#define UTF8_BAD 0xffffffffu
UniKind unicode_kind(u32 codepoint); // UTF8_BAD and everything past U+10FFFF: UC_CN
// The code point at s[*pos], *pos moved behind it. A byte that starts no well-formed character
// (overlong forms, surrogates, cut tails) gives UTF8_BAD and moves by one.
u32 utf8_next(Str s, size_t *pos);
size_t utf8_put(u32 codepoint, char out[4]);

// Bytes in pieces -> whole characters: an incomplete tail waits for the next piece, ill-formed
// bytes become U+FFFD (one for each maximal part, as browsers do), so that what comes out is always
// well-formed.
typedef struct Utf8Stream {
    u8 tail[4];
    u8 n;
} Utf8Stream;
void utf8_stream_push(Utf8Stream *u, Str bytes, Buf *out);
void utf8_stream_end(Utf8Stream *u, Buf *out); // what waits can never be completed: U+FFFD

// ---- pattern_parse.c, pattern.c: the regular expressions of pre-tokenizers, compiled to a table ----
// Alternatives are tried in order, as in Perl: the first that matches wins, not the longest.
// Compiling builds the whole deterministic automaton (or refuses), so that matching is one table
// look-up a character: no recursion, no backtracking, nothing that a pattern could make slow.
typedef struct Pattern Pattern;
bool pattern_compile(Arena *a, Str text, const Pattern **out, Err *err);
// The end of the match that starts at pos, or -1. The text ends at `end`. *steps grows by the
// characters read.
i64 pattern_match(const Pattern *p, Str text, size_t pos, u64 *steps);

// ---- pretok.c: splitting text into words, by the name that a model file gives -------------------
#define PRETOK_PATTERNS_MAX 4
typedef struct PretokRow { // pretok.def
    const char *names;     // "gpt2 gpt-2 phi-2": the first is ours
    bool ignore_merges; // a word that is a token as a whole is that token, whatever the merges say
    bool add_bos;       // what holds when the file does not say
    const char *patterns[PRETOK_PATTERNS_MAX]; // each splits the pieces that the one before left
} PretokRow;
const PretokRow *pretok_find(Str name); // NULL: unknown
void pretok_names(Buf *out);            // what is known, for messages

typedef struct Pretok {
    int n;
    const Pattern *patterns[PRETOK_PATTERNS_MAX];
} Pretok;
typedef struct PretokIter {
    const Pretok *pretok;
    Str text;
    struct {
        size_t pos, end;
        i64 match_end; // of the match found behind a gap, while the gap is handed out; 0: none
    } level[PRETOK_PATTERNS_MAX];
    int depth; // levels in use
    u64 steps;
    bool exhausted; // see pretok_next
} PretokIter;
bool pretok_compile(Arena *a, const PretokRow *row, Pretok *out, Err *err);
void pretok_begin(PretokIter *it, const Pretok *p, Str text);
// The next word; false at the end. Words are never empty and join to the text. Linear time: a
// pattern that keeps reading far ahead of short matches runs out of steps; then it ends early with
// `exhausted` set.
bool pretok_next(PretokIter *it, Str *word);

// ---- vocab.c: a vocabulary as plain data --------------------------------------------------------
typedef enum TokenType { // GGUF's numbers
    TOKEN_NORMAL = 1,
    TOKEN_UNKNOWN,
    TOKEN_CONTROL, // <|im_end|>: matched in text and shown only when asked
    TOKEN_USER,    // matched in text always, shown always
    TOKEN_UNUSED,
    TOKEN_BYTE, // <0x0A>
} TokenType;

typedef struct VocabToken {
    Str text; // as the file spells it: byte-level BPE writes a space as U+0120
    float score;
    u8 type; // TokenType
} VocabToken;

// Filled by a file's reader; checked by tokenizer_new, which is why fields need no order among
// themselves.
typedef struct Vocab {
    Str model; // "gpt2": byte-level BPE, by the names of tokenizer.ggml.model
    Str pre;   // pre-tokenizer's name
    VocabToken *tokens;
    u32 n_tokens;
    Str *merges; // "left right", best first
    u32 n_merges;
    i32 bos, eos, eot, eom, unk, pad; // -1: none
    bool add_bos, add_eos; // what the model was trained with; for callers, encode goes by its flags
    Str chat_template;     // ptr NULL: none
} Vocab;

void vocab_init(Vocab *v); // empty, all special ids -1
bool vocab_from_gguf(Arena *a, const Gguf *g, Vocab *out, Err *err);

// Token text -> id. Empty texts are not in it.
typedef struct VocabIndex {
    const VocabToken *tokens;
    u32 *slots; // id + 1, 0 empty
    u32 mask;
} VocabIndex;
bool vocab_index(Arena *a, const Vocab *v, VocabIndex *out, Err *err); // refuses duplicates
i32 vocab_find(const VocabIndex *x, Str text);                         // -1: not there

// ---- bpe.c: byte-level byte-pair encoding -------------------------------------------------------
typedef struct Bpe Bpe;
bool bpe_new(Arena *a, const Vocab *v, const VocabIndex *x, bool ignore_merges, Bpe **out,
             Err *err);
typedef struct BpeWork BpeWork; // memory for one run over a text; it and the ids grow in the arena
BpeWork *bpe_work(Arena *a);
typedef struct TokenIds {
    i32 *at;
    size_t n, cap;
    size_t dropped; // bytes that the vocabulary has no token for: left out, as the reference does
} TokenIds;
bool bpe_encode(const Bpe *b, BpeWork *w, Str word, TokenIds *out, Err *err);
void bpe_decode(Str token,
                Buf *out); // spelling -> bytes; a text that is not spelt in bytes stands for itself
void bpe_spell(Str bytes, Buf *out); // bytes -> spelling

// ---- tokenizer.c: text -> ids -> text -----------------------------------------------------------
// Immutable once made: sessions share it. The vocabulary must outlive it.
typedef struct Tokenizer Tokenizer;
enum {
    TOKENIZE_BOS = 1,     // begin with the bos token; an error when the vocabulary has none
    TOKENIZE_EOS = 2,     // end with the eos token; likewise
    TOKENIZE_SPECIAL = 4, // control tokens spelt in the text become their ids (templates); else
                          // they are text (users)
};
enum {
    DETOKENIZE_SPECIAL = 1, // show control tokens; else they are skipped
};
bool tokenizer_new(Arena *a, const Vocab *v, Tokenizer **out, Err *err);
const Vocab *tokenizer_vocab(const Tokenizer *t);
// Appends to out, which grows in a, as does the memory for work: give a short-lived arena.
bool tokenizer_encode(const Tokenizer *t, Arena *a, Str text, u32 flags, TokenIds *out, Err *err);
// Appends the bytes of one token, of many. Bytes need not be whole characters: see Utf8Stream.
bool tokenizer_decode_one(const Tokenizer *t, i32 id, u32 flags, Buf *out, Err *err);
bool tokenizer_decode(const Tokenizer *t, const i32 *ids, size_t n, u32 flags, Buf *out, Err *err);
bool tokenizer_is_end(const Tokenizer *t, i32 id); // a token that ends the model's turn

// ---- jinja_value.c: the values that a template sees ---------------------------------------------
// Values are immutable to a template (as in Jinja's immutable sandbox), except namespaces, loops,
// cyclers and joiners. Strings are views: their bytes must outlive the value. A zeroed JVal is "not
// given".
typedef enum JType {
    J_UNDEFINED,
    J_NONE,
    J_BOOL,
    J_INT,
    J_FLOAT,
    J_STR,
    J_LIST,
    J_TUPLE,
    J_DICT,
    // made by templates only
    J_RANGE,
    J_KEYS,
    J_VALUES,
    J_ITEMS,
    J_GENERATOR, // what map, select and the like give: true even when empty, read once
    J_NAMESPACE,
    J_LOOP,
    J_MACRO,
    J_FUNC,
    J_METHOD,
    J_CYCLER,
    J_JOINER,
    J_TYPE_COUNT,
    J_MISSING = J_TYPE_COUNT // an argument that was left out; never a value
} JType;

typedef struct JVal {
    u8 type;     // JType
    bool markup; // a string that `safe` or `escape` made
    u8 from;     // of an undefined: why it is (UNDEF_*), so that its use can be explained
    u8 owner;    // of an undefined: the JType that lacks it
    union {
        bool b;
        i64 i;
        double f;
        Str s; // a string; of an undefined its name
        struct JList *list;
        struct JDict *dict;
        struct JRange *range;
        struct JMacro *macro;
        struct JLoop *loop;
        struct JMethod *method;
        struct JCycler *cycler;
    };
} JVal;

JVal jval_none(void);
JVal jval_bool(bool b);
JVal jval_int(i64 i);
JVal jval_float(double f);
JVal jval_str(Str s);
JVal jval_list(Arena *a);
void jval_list_add(Arena *a, JVal list, JVal v);
JVal jval_dict(Arena *a);
void jval_dict_put(Arena *a, JVal dict, Str key,
                   JVal v); // the last value of a key wins, in its first place
bool jval_dict_get(JVal dict, Str key, JVal *out);
size_t jval_len(JVal v);             // of a list, tuple or dict; else 0
JVal jval_list_at(JVal v, size_t i); // of a list or tuple
Str jval_dict_key(JVal v,
                  size_t i); // of a dict, in the order of insertion; empty where it is no string

// ---- jinja_json.c: values from and to JSON ------------------------------------------------------
// Nesting of at most 100; numbers beyond 64 bits become floats. The text may be freed afterwards.
bool jval_from_json(Arena *a, Str text, JVal *out, Err *err);

// ---- template.c: a chat template, compiled once and rendered many times -------------------------
// A real interpreter of the Jinja language as Hugging Face's chat templates use it (trim_blocks,
// lstrip_blocks, loop controls, immutable sandbox); no template's text is recognised. It does not
// load other templates (extends, include, import) and knows no async.
typedef struct TemplateLimits { // zero: the default
    u64 fuel;                   // steps: 10,000,000
    u64 memory;                 // bytes taken from the arena while rendering: 64 MiB
    u64 output;                 // bytes written: 8 MiB
    u32 depth;                  // of nesting, macros' calls included: 200, which is also the most
} TemplateLimits;

typedef struct Template Template;

// `name` stands in errors, as in `name:3:14: ...`. The template lives in the arena and keeps no
// pointer into text.
bool template_compile(Arena *a, Str name, Str text, const Template **out, Err *err);
// Renders with the variables of a dict. The arena takes everything made on the way (and can be
// reset afterwards).
typedef struct ChatTime {
    int year, month, day, hour, minute, second; // month and day from 1
} ChatTime;
ChatTime chat_time(i64 seconds); // what a clock shows that many seconds after it showed 1970-01-01
typedef struct TemplateEnv {
    JVal vars;           // a dict; zeroed: none
    const ChatTime *now; // for strftime_now; NULL: that is not defined
    TemplateLimits limits;
} TemplateEnv;
bool template_render(Arena *a, const Template *t, const TemplateEnv *env, Buf *out, Err *err);

// A conversation: a list of dicts with role and content (a string, or a list of parts), and
// whatever else a message has.
typedef struct ChatMessages {
    Arena *arena;
    JVal list;
} ChatMessages;

typedef struct ChatVars {
    JVal tools, documents; // lists; zeroed: None
    JVal extra;            // a dict of further variables; these win over all others
    const ChatTime *now;
    TemplateLimits limits;
} ChatVars;
// What transformers gives a template: messages, tools, documents, add_generation_prompt, bos_token,
// eos_token. vars may be NULL; bos or eos with ptr NULL is not defined to the template.
bool template_render_chat(Arena *a, const Template *t, const ChatMessages *m, Str bos, Str eos,
                          bool add_generation_prompt, const ChatVars *vars, Buf *out, Err *err);

#endif
