// loop/read.c: reads the text form of a kernel that print.c writes, or that a person edited.
//
// Line by line with one cursor; expressions are read by expr/read.c, names are looked up here. A
// name is seen from its definition to the end of its block, and hides no other. Nothing is proved:
// kernel_verify does that.
#include "loop/loop_int.h"
#include "loop/text_int.h"

typedef struct Named {
    const Var *var;
    const Buffer *buf;
} Named;

typedef struct KernelReader {
    Arena *arena;
    Exprs *x;
    Kernel *k;
    Reader r;
    Err *err;
    StrMap *names; // every name of the kernel -> its place in `entry`
    VEC(Named) entry;
    VEC(bool) live; // still in scope
    VEC(i32) open;  // entries in scope, innermost last
    size_t stmts;
} KernelReader;

#define FAIL(id, ...) return reader_fail(&kr->r, kr->err, id, __VA_ARGS__)

// ---- names --------------------------------------------------------------------------------------
static const Named *find(const KernelReader *kr, Str name) {
    i32 i;
    return strmap_get(kr->names, name, &i) && kr->live.at[i] ? &kr->entry.at[i] : NULL;
}

static const Var *find_var(void *user, Str name) {
    const Named *n = find(user, name);
    return n ? n->var : NULL;
}

static const Buffer *find_buffer(void *user, Str name) {
    const Named *n = find(user, name);
    return n ? n->buf : NULL;
}

static bool define(KernelReader *kr, Str name, Named n) {
    i32 have;
    if (strmap_get(kr->names, name, &have) && kr->live.at[have])
        FAIL(ERR_LOOP_NAME, "%S is defined already; give one of them another name", name);
    strmap_put(kr->names, name, (i32)kr->entry.n);
    vec_push(kr->arena, &kr->open, (i32)kr->entry.n);
    vec_push(kr->arena, &kr->entry, n);
    vec_push(kr->arena, &kr->live, true);
    return true;
}

static void close_scope(KernelReader *kr, size_t mark) {
    while (kr->open.n > mark) kr->live.at[kr->open.at[--kr->open.n]] = false;
}

static bool new_name(KernelReader *kr, Str *name) {
    *name = reader_word(&kr->r);
    if (!name->len || (name->ptr[0] >= '0' && name->ptr[0] <= '9') || name->ptr[0] == '.' ||
        name->ptr[name->len - 1] == '.' || str_has(*name, S("..")))
        FAIL(ERR_LOOP_SYNTAX, "a name is missing here");
    if (loop_word_reserved(*name))
        FAIL(ERR_LOOP_NAME, "%S has a meaning of its own and cannot be a name", *name);
    return true;
}

// ---- small pieces -------------------------------------------------------------------------------
static bool want(KernelReader *kr, const char *token) {
    if (!reader_eat(&kr->r, token)) FAIL(ERR_LOOP_SYNTAX, "`%s` is missing here", token);
    return true;
}

// `0..72`: words hold dots and digits, so ranges are read by character
static bool eat_chars(KernelReader *kr, const char *s) {
    Reader *r = &kr->r;
    size_t n = strlen(s);
    reader_space(r);
    if (r->text.len - r->pos < n || memcmp(r->text.ptr + r->pos, s, n) != 0) return false;
    r->pos += n;
    r->col += (int)n;
    return true;
}

static bool read_int(KernelReader *kr, i64 *out) {
    Reader *r = &kr->r;
    reader_space(r);
    size_t from = r->pos, to = r->pos;
    if (to < r->text.len && r->text.ptr[to] == '-') to++;
    while (to < r->text.len && to - from < 20 && r->text.ptr[to] >= '0' && r->text.ptr[to] <= '9')
        to++;
    if (!str_to_i64(str_sub(r->text, from, to), out))
        FAIL(ERR_LOOP_SYNTAX, "a number is missing here");
    r->pos = to;
    r->col += (int)(to - from);
    return true;
}

static bool read_u32(KernelReader *kr, u32 *out) {
    i64 v;
    if (!read_int(kr, &v)) return false;
    if (v < 0 || v > UINT32_MAX) FAIL(ERR_LOOP_SYNTAX, "the number must lie in 0..4294967295");
    *out = (u32)v;
    return true;
}

static bool read_range(KernelReader *kr, Type t, i64 *lo, i64 *hi) {
    if (!read_int(kr, lo)) return false;
    if (!eat_chars(kr, "..")) FAIL(ERR_LOOP_SYNTAX, "`..` is missing here");
    if (!read_int(kr, hi)) return false;
    i64 least = t == TY_I32 ? INT32_MIN : 0, most = t == TY_I32 ? INT32_MAX : UINT32_MAX;
    if (*lo < least || *hi > most || *lo > *hi)
        FAIL(ERR_LOOP_TYPE, "%D..%D is not a range of %s", *lo, *hi, type_text[t]);
    return true;
}

static const Expr *read_expr(KernelReader *kr) {
    ExprNames names = {.var = find_var, .buffer = find_buffer, .user = kr};
    return expr_read(kr->x, &kr->r, &names, kr->err);
}

static const Expr *read_index(KernelReader *kr) {
    const Expr *e = read_expr(kr);
    if (e && e->type != TY_I32) {
        reader_fail(&kr->r, kr->err, ERR_LOOP_TYPE, "an i32 is needed here, this is %s",
                    type_text[e->type]);
        return NULL;
    }
    return e;
}

static bool end_line(KernelReader *kr) {
    Reader *r = &kr->r;
    reader_space(r);
    if (r->pos < r->text.len && r->text.ptr[r->pos] != '\n')
        FAIL(ERR_LOOP_SYNTAX, "the line should end here");
    return true;
}

// Skips to the next line that holds something; false at the end of the text.
static bool next_line(KernelReader *kr) {
    Reader *r = &kr->r;
    for (;;) {
        reader_space(r);
        if (r->pos >= r->text.len) return false;
        if (r->text.ptr[r->pos] != '\n') return true;
        r->pos++;
        r->line++;
        r->col = 1;
    }
}

// ---- buffers and symbols ------------------------------------------------------------------------
// ----------------------------------------------------------------------------------------- `acc:
// f32[4, 8] in 0..9`
static Buffer *read_buffer(KernelReader *kr, Scope scope) {
    Str name;
    const Expr *dims[BUFFER_MAX_DIMS];
    int nd = 0, type = 0;
    i64 lo, hi;
    if (!new_name(kr, &name) || !want(kr, ":")) return NULL;
    Str word = reader_word(&kr->r);
    bool half = scope == SCOPE_SHARED && str_eq(word, S("f16"));
    if (half) type = TY_F32;
    while (!half && type < TY_BOOL && !str_eq(word, str_c(type_text[type]))) type++;
    if (type == TY_BOOL) {
        reader_fail(&kr->r, kr->err, ERR_LOOP_TYPE, "a buffer holds f32, i32 or u32");
        return NULL;
    }
    if (!want(kr, "[")) return NULL;
    while (!reader_eat(&kr->r, "]")) {
        if (nd == BUFFER_MAX_DIMS) {
            reader_fail(&kr->r, kr->err, ERR_LOOP_LIMIT, "a buffer has at most %d dimensions",
                        BUFFER_MAX_DIMS);
            return NULL;
        }
        if ((nd && !want(kr, ",")) || !(dims[nd] = read_index(kr))) return NULL;
        if (dims[nd++]->loads) {
            reader_fail(&kr->r, kr->err, ERR_LOOP_TYPE, "an extent may not load from a buffer");
            return NULL;
        }
    }
    Buffer *b = buffer_new(kr->x, arena_cstr(kr->arena, name), (Type)type, scope, nd, dims);
    b->written = scope != SCOPE_ARG;
    b->half = half;
    if (type != TY_F32 && reader_eat(&kr->r, "in")) {
        if (!read_range(kr, (Type)type, &lo, &hi)) return NULL;
        b->lo = lo;
        b->hi = hi;
    }
    return define(kr, name, (Named){.buf = b}) ? b : NULL;
}

static Var *read_symbol(KernelReader *kr) {
    Str name;
    i64 lo, hi, by = 1;
    if (!new_name(kr, &name) || !want(kr, ":") || !read_range(kr, TY_I32, &lo, &hi)) return NULL;
    if (reader_eat(&kr->r, "by")) {
        if (!read_int(kr, &by)) return NULL;
        if (by < 1 || by > INT32_MAX) {
            reader_fail(&kr->r, kr->err, ERR_LOOP_TYPE, "a divisor is at least 1");
            return NULL;
        }
    }
    Var *v = var_new(kr->x, arena_cstr(kr->arena, name), TY_I32, lo, hi);
    v->divisor = by;
    return define(kr, name, (Named){.var = v}) ? v : NULL;
}

static bool read_sym(KernelReader *kr) {
    Kernel *k = kr->k;
    u32 word = 0;
    if (k->nsyms == (int)COUNT_OF(k->sym))
        FAIL(ERR_LOOP_LIMIT, "a kernel has at most %d symbols", (int)COUNT_OF(k->sym));
    Var *v = read_symbol(kr);
    if (!v || !want(kr, "=") || !want(kr, "params") || !want(kr, "[") || !read_u32(kr, &word) ||
        !want(kr, "]"))
        return false;
    if (word > 1 << 20) FAIL(ERR_LOOP_LIMIT, "the parameter block has no word %u", word);
    k->sym[k->nsyms].var = v;
    k->sym[k->nsyms++].word = (int)word;
    return true;
}

// The lines before the first statement. *was tells whether this line was one of them.
static bool read_header(KernelReader *kr, bool *was) {
    Kernel *k = kr->k;
    *was = true;
    if (reader_eat(&kr->r, "sym")) return read_sym(kr);
    if (reader_eat(&kr->r, "dim")) {
        if (k->ndims == STEP_MAX_DIMS)
            FAIL(ERR_LOOP_LIMIT, "a kernel has at most %d dimensions", STEP_MAX_DIMS);
        return (k->dim[k->ndims++] = read_symbol(kr)) != NULL;
    }
    if (reader_eat(&kr->r, "arg")) {
        if (k->nargs == (int)COUNT_OF(k->arg))
            FAIL(ERR_LOOP_LIMIT, "a kernel has at most %d arguments", (int)COUNT_OF(k->arg));
        Buffer *b = read_buffer(kr, SCOPE_ARG);
        if (!b) return false;
        b->written = reader_eat(&kr->r, "written");
        k->arg[k->nargs++] = b;
        return true;
    }
    if (reader_eat(&kr->r, "wg")) {
        for (int i = 0; i < 3; i++)
            if ((i && !want(kr, ",")) || !read_u32(kr, &k->wg[i])) return false;
        if (!k->wg[0] || !k->wg[1] || !k->wg[2] || k->wg[0] > 1024 || k->wg[1] > 1024 ||
            k->wg[2] > 1024)
            FAIL(ERR_LOOP_THREADS, "a workgroup has 1..1024 threads in each dimension");
        return true;
    }
    if (reader_eat(&kr->r, "grid")) {
        for (int i = 0; i < 3 && (i == 0 || reader_eat(&kr->r, ",")); i++)
            if (!(k->grid[i] = read_index(kr))) return false;
        return true;
    }
    if (reader_eat(&kr->r, "subgroups")) {
        k->subgroups = true;
        return true;
    }
    *was = false;
    return true;
}

// ---- statements ---------------------------------------------------------------------------------
static bool read_block(KernelReader *kr, Block *into, int depth, bool inner);

static bool read_for(KernelReader *kr, Stmt *s, int depth) {
    Str name;
    i64 lo, hi;
    size_t mark = kr->open.n;
    Reader before = kr->r;
    if (!loop_kind_named(reader_word(&kr->r), &s->loop)) {
        kr->r = before;
        s->loop = LOOP_SERIAL;
    }
    if (!new_name(kr, &name) || !want(kr, "in")) return false;
    if (!eat_chars(kr, "0") || !eat_chars(kr, ".."))
        FAIL(ERR_LOOP_SYNTAX, "a loop runs `in 0..EXTENT`");
    if (!(s->extent = read_index(kr)) || !want(kr, "{") || !end_line(kr)) return false;
    expr_range(s->extent, &lo, &hi);
    s->var = var_new(kr->x, arena_cstr(kr->arena, name), TY_I32, 0, hi > 0 ? hi - 1 : 0);
    if (!define(kr, name, (Named){.var = s->var}) || !read_block(kr, &s->body, depth + 1, true))
        return false;
    close_scope(kr, mark);
    return true;
}

static bool read_let(KernelReader *kr, Stmt *s) {
    Str name;
    i64 lo = 0, hi = 0;
    if (!new_name(kr, &name) || !want(kr, "=") || !(s->value = read_expr(kr))) return false;
    if (s->value->type != TY_F32) expr_range(s->value, &lo, &hi);
    s->var = var_new(kr->x, arena_cstr(kr->arena, name), (Type)s->value->type, lo, hi);
    if (s->value->type != TY_F32 && s->value->type != TY_BOOL)
        s->var->divisor = expr_divisor(s->value);
    return define(kr, name, (Named){.var = s->var});
}

// NAME[...]
static bool read_place(KernelReader *kr, Stmt *s) {
    Reader at = kr->r;
    Str name = reader_word(&kr->r);
    s->buf = find_buffer(kr, name);
    if (!name.len)
        FAIL(ERR_LOOP_SYNTAX, "a statement is missing here: for, let, if, reg, shared, barrier, "
                              "fetch or NAME[...] = ...");
    if (!s->buf)
        return reader_fail(&at, kr->err, ERR_LOOP_NAME,
                           "%S is not a statement, nor a buffer defined here", name);
    if (!want(kr, "[")) return false;
    for (int i = 0; i < s->buf->nd; i++)
        if ((i && !want(kr, ",")) || !(s->idx[i] = read_index(kr))) return false;
    return want(kr, "]");
}

static bool read_store(KernelReader *kr, Stmt *s) {
    if (!read_place(kr, s) || !want(kr, "=") || !(s->value = read_expr(kr))) return false;
    if ((Type)s->value->type != s->buf->type)
        FAIL(ERR_LOOP_TYPE, "%s holds %s, the value is %s", s->buf->name, type_text[s->buf->type],
             type_text[s->value->type]);
    return true;
}

static bool read_if(KernelReader *kr, Stmt *s, int depth) {
    size_t mark = kr->open.n;
    if (!(s->cond = read_expr(kr))) return false;
    if (s->cond->type != TY_BOOL)
        FAIL(ERR_LOOP_TYPE, "a condition is a bool, this is %s", type_text[s->cond->type]);
    if (!want(kr, "{") || !end_line(kr) || !read_block(kr, &s->body, depth + 1, true)) return false;
    close_scope(kr, mark);
    return true;
}

static bool read_stmt(KernelReader *kr, Block *into, int depth) {
    Stmt *s = stmt_new(kr->arena, into, ST_STORE);
    if (++kr->stmts > KERNEL_MAX_STMTS)
        FAIL(ERR_LOOP_LIMIT, "a kernel has at most %d statements", KERNEL_MAX_STMTS);
    if (reader_eat(&kr->r, "for")) {
        s->kind = ST_FOR;
        return read_for(kr, s, depth);
    }
    if (reader_eat(&kr->r, "if")) {
        s->kind = ST_IF;
        return read_if(kr, s, depth);
    }
    if (reader_eat(&kr->r, "let")) {
        s->kind = ST_LET;
        return read_let(kr, s);
    }
    if (reader_eat(&kr->r, "fetch")) {
        s->kind = ST_FETCH;
        return read_place(kr, s);
    }
    if (reader_eat(&kr->r, "barrier")) {
        s->kind = ST_BARRIER;
        return true;
    }
    bool shared = reader_eat(&kr->r, "shared");
    if (shared || reader_eat(&kr->r, "reg")) {
        s->kind = ST_ALLOC;
        s->buf = read_buffer(kr, shared ? SCOPE_SHARED : SCOPE_REG);
        return s->buf != NULL;
    }
    return read_store(kr, s);
}

// Statements up to `}` (inner) or the end of the text.
static bool read_block(KernelReader *kr, Block *into, int depth, bool inner) {
    if (depth > KERNEL_MAX_DEPTH)
        FAIL(ERR_LOOP_LIMIT, "statements nest at most %d deep", KERNEL_MAX_DEPTH);
    for (;;) {
        if (!next_line(kr)) {
            if (inner) FAIL(ERR_LOOP_SYNTAX, "`}` is missing at the end");
            return true;
        }
        if (inner && reader_eat(&kr->r, "}")) return end_line(kr);
        if (!read_stmt(kr, into, depth)) return false;
        if (into->at[into->n - 1]->kind != ST_FOR && into->at[into->n - 1]->kind != ST_IF &&
            !end_line(kr))
            return false;
    }
}

static bool read_kernel(KernelReader *kr) {
    Kernel *k = kr->k;
    bool header = true;
    if (!next_line(kr) || !reader_eat(&kr->r, "kernel"))
        FAIL(ERR_LOOP_SYNTAX, "a kernel starts with `kernel NAME`");
    k->name = reader_word(&kr->r);
    if (!k->name.len) FAIL(ERR_LOOP_SYNTAX, "the kernel has no name");
    if (!end_line(kr)) return false;
    k->name = arena_str(kr->arena, k->name);
    while (header && next_line(kr)) {
        if (!read_header(kr, &header) || (header && !end_line(kr))) return false;
    }
    return read_block(kr, &k->body, 1, false);
}

Kernel *kernel_read(Arena *a, Str text, Str file, Err *err) {
    Kernel *k = NEW(a, Kernel);
    KernelReader kr = {
        .arena = a, .x = exprs_new(a), .k = k, .err = err, .names = strmap_new(a, 64)};
    kr.r = (Reader){.text = text, .line = 1, .col = 1};
    k->x = kr.x;
    k->wg[0] = k->wg[1] = k->wg[2] = 1;
    if (read_kernel(&kr)) return k;
    err_file(err, file);
    return NULL;
}
