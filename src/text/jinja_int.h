// text/jinja_int.h: private to the Jinja interpreter: tokens, syntax trees, the interpreter's
// state, its tables.
#ifndef HOB_JINJA_INT_H
#define HOB_JINJA_INT_H

#include "text/text.h"

// Deepest nesting of source, values and calls. Each level of evaluation costs up to three C frames,
// and a wasm stack is small.
#define JINJA_DEPTH        200
#define JINJA_VALUE_DEPTH  100
#define JINJA_SOURCE_LIMIT ((size_t)1 << 20)

// ---- jinja_lex.c --------------------------------------------------------------------------------
typedef enum JTok {
    T_EOF,
    T_DATA,
    T_VAR_BEGIN,
    T_VAR_END,
    T_BLOCK_BEGIN,
    T_BLOCK_END,
    T_NAME,
    T_STR,
    T_INT,
    T_FLOAT,
    T_OP
} JTok;

#define JOP1(c)    ((u16)(c))
#define JOP2(c, d) ((u16)((c) | (d) << 8))

typedef struct JToken {
    JTok kind;
    u16 op; // JOP1 or JOP2
    u32 pos;
    Str text; // data, a name, a string's value
    i64 i;
    double f;
} JToken;

typedef struct JLex {
    Arena *arena;
    Str name, src; // src: with \n as the only line end
    size_t pos;
    Err *err;
    enum { LEX_DATA, LEX_VAR, LEX_BLOCK } mode;
    bool line_start; // the text just before pos ended a line (or nothing is before it)
    bool has_pending;
    JToken pending;
    u32 open; // brackets open in this tag
    char brackets[JINJA_DEPTH];
} JLex;

void jlex_init(JLex *l, Arena *a, Str name, Str src, Err *err);
bool jlex_next(JLex *l, JToken *out);
bool jlex_fail(const JLex *l, u32 pos, ErrId id, const char *fmt, ...);
void jinja_place(Str src, u32 pos, int *line, int *col);

// ---- jinja_parse.c ------------------------------------------------------------------------------
typedef enum JKind {
    // expressions
    N_CONST,    // val
    N_NAME,     // sym, str
    N_LIST,     // at
    N_TUPLE,    // at
    N_DICT,     // at: key, value, key, value
    N_ATTR,     // a.str
    N_ITEM,     // a[b]
    N_SLICE,    // a[b:c:d], each of b, c, d or NULL
    N_CALL,     // a(at)
    N_KWARG,    // str=a
    N_STAR,     // *a
    N_STARSTAR, // **a
    N_FILTER,   // a|str(at); a NULL: what a block captured
    N_TEST,     // a is str(at)
    N_NEG,
    N_POS,
    N_NOT,
    N_BINARY,  // a op b
    N_CONCAT,  // at
    N_COMPARE, // a, then at: N_OPERAND
    N_OPERAND, // op a
    N_AND,
    N_OR,
    N_COND,  // b if a else c
    N_NSREF, // str.str2, only as a target
    // statements
    N_SEQ, // at
    N_DATA,
    N_PRINT,       // at
    N_IF,          // at: condition, body, condition, body; c: else
    N_FOR,         // for a in b if d: c else e; flag: recursive
    N_SET,         // a = b
    N_SETBLOCK,    // a = captured c, through filters b
    N_MACRO,       // sym, str, at: N_PARAM, c
    N_PARAM,       // sym, str, a: default or NULL
    N_CALLBLOCK,   // a: the call, b: N_MACRO
    N_FILTERBLOCK, // b: filters, c
    N_WITH,        // at: target, value, target, value; c
    N_SCOPE,       // c in a scope of its own (generation)
    N_BREAK,
    N_CONTINUE
} JKind;

enum { MACRO_VARARGS = 1, MACRO_KWARGS = 2, MACRO_CALLER = 4 };

typedef enum JCmp { CMP_EQ, CMP_NE, CMP_LT, CMP_LE, CMP_GT, CMP_GE, CMP_IN, CMP_NOT_IN } JCmp;

typedef struct JNode {
    u8 kind;  // JKind
    u8 flags; // MACRO_*; of N_FOR: recursive
    u16 op;   // JOP1, JOP2 or JCmp
    u16 depth;
    u32 pos;
    i32 sym; // of names: the symbol; of filters and tests: the row of the table, -1 unknown
    Str str, str2;
    JVal val;
    struct JNode *a, *b, *c, *d, *e;
    struct JNode **at;
    u32 n;
} JNode;

struct Template {
    Str name, src;
    JNode *body;
    Str *symbols;
    u32 n_symbols;
    i32 sym_loop, sym_caller, sym_varargs, sym_kwargs;
};

bool jinja_parse(Arena *a, Str name, Str text, Template *t, Err *err);

// ---- values -------------------------------------------------------------------------------------
typedef struct JList {
    JVal *at;
    size_t n, cap;
    size_t next; // of a generator: the first that was not read
} JList;

typedef struct JPair {
    JVal key, val;
} JPair;

typedef struct JDict {
    JPair *at;
    size_t n, cap;
    u32 *index; // open-addressed: position + 1, 0 free; NULL while small
    size_t index_cap;
} JDict; // also the attributes of a namespace

typedef struct JRange {
    i64 start, stop, step, n;
} JRange;

enum { UNDEF_NAME, UNDEF_ATTR, UNDEF_ITEM, UNDEF_PARAM, UNDEF_UNSAFE, UNDEF_MESSAGE };

typedef struct JVar {
    i32 sym;
    JVal val;
} JVar;

// A scope. Every iteration, macro call and captured block has its own; a macro keeps the one it was
// made in.
typedef struct JFrame {
    struct JFrame *up;
    JVar *at;
    u32 n, cap;
} JFrame;

typedef struct JMacro {
    const JNode *node;
    JFrame *frame;
} JMacro;

typedef struct JLoop {
    JVal seq;
    size_t i, n;
    u32 level; // 0: outermost of a recursion
    bool has_last;
    JVal last; // what changed() saw
    const JNode *node;
    JFrame *frame;
} JLoop;

typedef struct JMethod {
    JVal self;
    i32 row; // of the method table
} JMethod;

typedef struct JCycler {
    JVal items; // a joiner: its separator
    size_t next;
} JCycler;

typedef struct JArgs {
    JVal *pos;
    size_t n;
    Str *kw;
    JVal *kwval;
    size_t nkw;
} JArgs;

// ---- the interpreter ----------------------------------------------------------------------------
typedef struct JTail { // a string that was made last by joining, with room behind it
    char *ptr;
    size_t len, cap;
} JTail;

typedef struct Jinja {
    Arena *arena;
    const Template *t;
    const TemplateEnv *env;
    Err *err;
    Buf *out, *out_final;
    u64 fuel, memory;
    size_t memory_base, out_base;
    u64 out_limit;
    u32 depth, depth_limit;
    u32 pos;       // of the node at work, for errors
    JVal *globals; // by symbol
    JVal captured; // what a set or filter block collected, until its filters take it
    JFrame *frame;
    JTail tails[4];
    u32 next_tail;
    u32 macros_made; // each keeps the scope it was made in
} Jinja;

bool jinja_fail(Jinja *j, ErrId id, const char *fmt, ...); // at j->pos; false
bool jinja_use_undefined(Jinja *j, JVal v);                // fails, saying why v is undefined
bool jinja_step(Jinja *j, u64 cost);                       // burns fuel, looks at memory
void *jinja_alloc(Jinja *j, u64 count, u64 size);          // NULL: failed, error set
bool jinja_enter(Jinja *j); // one level deeper; on success leave by j->depth--

// ---- jinja_value.c ------------------------------------------------------------------------------
const char *jval_type_name(u8 type); // as Python names it
#define jval_type(v) jval_type_name((v).type)
bool jval_truth(JVal v);
// As macros of the type alone: a value handed over costs more than the look at it.
#define jval_is_int(v) ((v).type == J_INT || (v).type == J_BOOL)
#define jval_as_int(v) ((v).type == J_BOOL ? (i64)(v).b : (v).i)
// list, tuple, a dict's views, generator: has .list
#define jval_is_seq(v) ((1u << (v).type & JINJA_SEQS) != 0)
#define JINJA_SEQS                                                                                 \
    (1u << J_LIST | 1u << J_TUPLE | 1u << J_KEYS | 1u << J_VALUES | 1u << J_ITEMS |                \
     1u << J_GENERATOR)
bool jval_num(JVal v, double *out);
JVal jval_undefined(u8 from, u8 owner, Str name);
JVal jval_message(Str why); // undefined with its own words
JVal jval_seq(Jinja *j, JType type, JList *l);
JList *jinja_list(Jinja *j, size_t room); // NULL: failed
bool jinja_push(Jinja *j, JList *l, JVal v);
bool jdict_put(Arena *a, JDict *d, JVal key, JVal v); // key hashable
const JPair *jdict_find(const JDict *d, JVal key);
bool jval_hashable(JVal v);
bool jval_eq(Jinja *j, JVal x, JVal y, bool *out);
bool jval_cmp(Jinja *j, JVal x, JVal y, const char *op,
              int *out);             // fails on types without order; NaN: 2
bool jval_deep(Jinja *j, u32 depth); // false: fails, the value nests too deep
// jinja_repr.c
bool jval_str_add(Jinja *j, JVal v, Buf *b);  // Python's str()
bool jval_repr_add(Jinja *j, JVal v, Buf *b); // Python's repr()
bool jval_text(Jinja *j, JVal v, Str *out);   // str() as a string; a string is itself
void jinja_float_add(double f, Buf *b);

// Iteration by index over anything that has elements; dicts give keys, strings characters.
bool jinja_seq(Jinja *j, JVal v, JVal *seq, size_t *n); // a generator is drained
JVal jinja_seq_at(JVal seq, size_t i);

// ---- jinja_string.c: strings as Python sees them: characters, not bytes -------------------------
size_t jstr_count(Str s);
u32 jstr_char(Str s, size_t at, size_t *next); // 0xFFFD for a broken byte
bool jchar_space(u32 c);
u32 jchar_upper(u32 c);
u32 jchar_lower(u32 c);
size_t jstr_offset(Str s, size_t chars); // byte offset of a character, s.len past the end
Str jstr_strip(Str s, const Str *chars, bool left, bool right);
bool jstr_join(Jinja *j, Str a, Str b, Str *out);
bool jstr_replace(Jinja *j, Str s, Str from, Str to, i64 count, Str *out);
enum { CASE_UPPER, CASE_LOWER, CASE_CAPITALIZE, CASE_TITLE, CASE_SWAP, CASE_TITLE_FILTER };
bool jstr_case(Jinja *j, Str s, int how, Str *out);
bool jstr_escape(Jinja *j, Str s, Str *out);
bool jstr_find(Jinja *j, Str s, Str what, size_t from, bool last, size_t *at,
               bool *found); // by bytes

// ---- jinja_format.c -----------------------------------------------------------------------------
bool jinja_format(Jinja *j, Str fmt, const JArgs *args, Str *out); // the method format
bool jinja_percent(Jinja *j, Str fmt, JVal arg, Str *out);         // the operator %
bool jinja_strftime(Jinja *j, Str fmt, const ChatTime *t, Str *out);

// ---- jinja_methods.c ----------------------------------------------------------------------------
typedef struct JMethodRow {
    u8 type;
    const char *name, *params; // "*": as they come
    int required;
    bool (*fn)(Jinja *j, JVal self, const JVal *v, const JArgs *args, JVal *out);
} JMethodRow;
extern const JMethodRow jinja_string_methods[]; // jinja_strmethods.c
extern const size_t jinja_string_method_count;
bool jinja_method_find(u8 type, Str name, i32 *row);
bool jinja_method_mutates(u8 type, Str name); // a method that the sandbox forbids
bool jinja_method_call(Jinja *j, const JMethod *m, const JArgs *args, JVal *out);

// ---- jinja_json.c -------------------------------------------------------------------------------
double json_strtod(const char *text, char **end); // for yyjson, by -Dstrtod=json_strtod
bool jinja_tojson(Jinja *j, JVal v, bool ascii, const Str *indent, Str item_sep, Str key_sep,
                  bool sort, Buf *b);

// ---- jinja_ops.c --------------------------------------------------------------------------------
bool jinja_binary(Jinja *j, u16 op, JVal x, JVal y, JVal *out);
bool jinja_unary(Jinja *j, u8 kind, JVal x, JVal *out);
bool jinja_in(Jinja *j, JVal x, JVal in, bool *out);
bool jinja_attr(Jinja *j, JVal v, Str name, JVal *out);
bool jinja_item(Jinja *j, JVal v, JVal key, JVal *out);
bool jinja_slice(Jinja *j, JVal v, JVal from, JVal to, JVal step, JVal *out);

// ---- jinja_eval.c -------------------------------------------------------------------------------
#define JINJA_APART                                                                                \
    __attribute__((noinline)) // not into the recursive function, whose frame must stay small
bool jinja_eval(Jinja *j, const JNode *n, JVal *out);
Buf jinja_buf(Jinja *j); // for text under construction: bounded by the memory left
bool jinja_buf_ok(Jinja *j, const Buf *b);

// ---- jinja_call.c -------------------------------------------------------------------------------
// Evaluates the arguments of a call, filter or test; `room` more named ones can be added.
bool jinja_eval_args(Jinja *j, const JNode *n, size_t room, JArgs *a);
bool jinja_add_kw(Jinja *j, JArgs *a, size_t room, Str name, JVal v);
// Arguments by place or name -> the parameters of a row: "a,b,c", of which some are required.
bool jinja_bind(Jinja *j, const char *what, Str name, const char *params, int required,
                const JArgs *args, JVal *v);
// A number that a parameter must be; J_MISSING gives the default.
bool jinja_arg_int(Jinja *j, JVal v, i64 missing, i64 *out);
bool jinja_arg_str(Jinja *j, JVal v, Str missing, Str *out); // by str()
bool jinja_call(Jinja *j, JVal f, const JArgs *args, JVal *out);
bool jinja_eval_call(Jinja *j, const JNode *n, JVal *out); // a N_CALL
// Runs a body in a scope (NULL: fails) and gives what it wrote as a string.
bool jinja_capture(Jinja *j, const JNode *body, JFrame *frame, JVal *out);

// ---- jinja_exec.c -------------------------------------------------------------------------------
typedef enum JFlow { JFLOW_ON, JFLOW_BREAK, JFLOW_CONTINUE, JFLOW_FAIL } JFlow;
JFlow jinja_exec(Jinja *j, const JNode *n);
JFlow jinja_run_loop(Jinja *j, const JNode *n, JVal v, JFrame *outer, u32 level);
JFrame *jinja_frame_new(Jinja *j, JFrame *up);
bool jinja_frame_set(Jinja *j, JFrame *f, i32 sym, JVal v);
JVal jinja_lookup(const Jinja *j, i32 sym);
bool jinja_run(Jinja *j);

// ---- jinja_filters.c, jinja_tests.c -------------------------------------------------------------
// A row's parameters are bound by place or name before it is called: v[0] is the value, the rest
// may be J_MISSING.
#define JINJA_PARAMS 6
typedef bool (*JFilterFn)(Jinja *j, const JVal *v, const JArgs *args, JVal *out);
typedef struct JFilterRow {
    const char *name, *params; // "*": as they come, in args
    int required;
    JFilterFn fn;
} JFilterRow;
i32 jinja_filter_find(Str name); // -1: none
i32 jinja_test_find(Str name);
bool jinja_filter(Jinja *j, i32 row, JVal v, const JArgs *args, JVal *out);
bool jinja_test(Jinja *j, i32 row, JVal v, const JArgs *args, bool *out);

// ---- jinja_sequences.c: the filters over sequences ----------------------------------------------
extern const JFilterRow jinja_sequence_filters[];
extern const size_t jinja_sequence_filter_count;
bool jinja_path(Jinja *j, JVal v, JVal attribute, JVal missing, JVal *out); // "a.b.0" of v

// ---- jinja_globals.c ----------------------------------------------------------------------------
i32 jinja_global_find(Str name);
bool jinja_global_call(Jinja *j, i32 row, const JArgs *args, JVal *out);

#endif
