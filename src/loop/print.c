// loop/print.c: the text form of a kernel; read.c reads it back, and what it reads prints the same.
//
//   kernel scale
//     sym n: 1..8 = params[0]
//     arg x: f32[n, 64]
//     arg y: f32[n, 64] written
//     arg params: i32[16]
//     wg 64, 1, 1
//     grid n
//     for wg.x r in 0..n {
//       for thread.x i in 0..64 {
//         y[r, i] = x[r, i] * 0x1p+1f
//       }
//     }
//
// Names are made unique and legal here, each definition getting its own: the IR goes by pointers.
#include "loop/loop_int.h"
#include "loop/text_int.h"
#include "loop/ptrmap.h"

// ORDER TYPE
const char *const type_text[TY_COUNT] = {"i32", "u32", "f32", "bool"};

static const char *const reserved[] = {
    "kernel",  "arg",     "sym", "dim",    "grid", "subgroups", "for",      "let",
    "if",      "barrier", "reg", "shared", "in",   "true",      "false",    "by",
    "written", "f32",     "i32", "u32",    "bool", "bits_f32",  "bits_i32", "bits_u32",
#define X(id, spelling, args, result, doc) spelling,
#include "expr/expr.def"
#undef X
};

bool loop_word_reserved(Str w) {
    for (size_t i = 0; i < COUNT_OF(reserved); i++)
        if (str_eq(w, str_c(reserved[i]))) return true;
    for (int i = 0; i < LOOP_KIND_COUNT; i++)
        if (str_eq(w, str_c(loop_kind_name((LoopKind)i)))) return true;
    return str_eq(w, S("wg"));
}

// ---- names --------------------------------------------------------------------------------------
typedef struct Names {
    Arena *arena;
    PtrMap of; // Var or Buffer -> const char *
    StrMap *taken;
} Names;

static const char *make_name(Names *ns, const char *wanted) {
    Buf b = {.arena = ns->arena};
    i32 have;
    for (const char *p = wanted; *p; p++) {
        char c = *p;
        bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        bool later = (c >= '0' && c <= '9') || (c == '.' && p[1] != '.' && p[1]);
        if (!letter && later && b.len == 0) buf_char(&b, '_');
        buf_char(&b, letter || later ? c : '_');
    }
    if (b.len == 0) buf_char(&b, '_');
    if (loop_word_reserved(buf_str(&b))) buf_char(&b, '_');
    Str base = buf_str(&b), name = base;
    for (i32 n = 2; strmap_get(ns->taken, name, &have); n++)
        name = str_fmt(ns->arena, "%S_%d", base, n);
    strmap_put(ns->taken, name, 1);
    return arena_cstr(ns->arena, name);
}

static const char *define(Names *ns, const void *what, const char *wanted) {
    const char *name = make_name(ns, wanted);
    ptrmap_put(&ns->of, what, (i64)(intptr_t)name);
    return name;
}

static const char *spell_var(void *user, const Var *v) {
    const Names *ns = user;
    i64 have;
    return ptrmap_get(&ns->of, v, &have) ? (const char *)(intptr_t)have : v->name;
}

static const char *spell_buffer(void *user, const Buffer *b) {
    const Names *ns = user;
    i64 have;
    return ptrmap_get(&ns->of, b, &have) ? (const char *)(intptr_t)have : b->name;
}

// ---- statements ---------------------------------------------------------------------------------
static void print_list(const Expr *const *e, int n, const ExprSpell *sp, Buf *out) {
    for (int i = 0; i < n; i++) {
        if (i) buf_add(out, S(", "));
        expr_print_as(e[i], sp, out);
    }
}

// `f32[4, 64] in 0..9`
static void print_shape(const Buffer *b, const ExprSpell *sp, Buf *out) {
    i64 lo = b->type == TY_I32 ? INT32_MIN : 0, hi = b->type == TY_I32 ? INT32_MAX : UINT32_MAX;
    buf_fmt(out, "%s[", b->half ? "f16" : type_text[b->type]);
    print_list(b->dims, b->nd, sp, out);
    buf_char(out, ']');
    if ((b->type == TY_I32 || b->type == TY_U32) && (b->lo > lo || b->hi < hi))
        buf_fmt(out, " in %D..%D", b->lo, b->hi);
}

static void print_head(const Stmt *s, const ExprSpell *sp, Names *ns, Buf *out) {
    switch (s->kind) {
    case ST_FOR:
        buf_add(out, S("for "));
        if (s->loop != LOOP_SERIAL) buf_fmt(out, "%s ", loop_kind_name(s->loop));
        buf_fmt(out, "%s in 0..", ns ? define(ns, s->var, s->var->name) : s->var->name);
        expr_print_as(s->extent, sp, out);
        buf_add(out, S(" {"));
        break;
    case ST_LET: {
        // the value does not see the name it is given
        Buf value = {.arena = ns ? ns->arena : NULL, .limit = out->limit};
        if (ns) expr_print_as(s->value, sp, &value);
        buf_fmt(out, "let %s = ", ns ? define(ns, s->var, s->var->name) : s->var->name);
        if (ns)
            buf_add(out, buf_str(&value));
        else
            expr_print_as(s->value, sp, out);
        break;
    }
    case ST_STORE:
        buf_fmt(out, "%s[", sp ? sp->buffer(sp->user, s->buf) : s->buf->name);
        print_list(s->idx, s->buf->nd, sp, out);
        buf_add(out, S("] = "));
        expr_print_as(s->value, sp, out);
        break;
    case ST_IF:
        buf_add(out, S("if "));
        expr_print_as(s->cond, sp, out);
        buf_add(out, S(" {"));
        break;
    case ST_ALLOC:
        buf_fmt(out, "%s %s: ", s->buf->scope == SCOPE_SHARED ? "shared" : "reg",
                ns ? define(ns, s->buf, s->buf->name) : s->buf->name);
        print_shape(s->buf, sp, out);
        break;
    case ST_BARRIER: buf_add(out, S("barrier")); break;
    case ST_FETCH:
        buf_fmt(out, "fetch %s[", sp ? sp->buffer(sp->user, s->buf) : s->buf->name);
        print_list(s->idx, s->buf->nd, sp, out);
        buf_char(out, ']');
        break;
    }
}

void stmt_print_head(const Stmt *s, Buf *out) { print_head(s, NULL, NULL, out); }

static void print_block(const Block *b, int depth, const ExprSpell *sp, Names *ns, Buf *out) {
    for (size_t i = 0; i < b->n; i++) {
        const Stmt *s = b->at[i];
        for (int d = 0; d < depth; d++) buf_add(out, S("  "));
        print_head(s, sp, ns, out);
        buf_char(out, '\n');
        if (s->kind == ST_FOR || s->kind == ST_IF) {
            print_block(&s->body, depth + 1, sp, ns, out);
            for (int d = 0; d < depth; d++) buf_add(out, S("  "));
            buf_add(out, S("}\n"));
        }
    }
}

static void print_symbol(const char *what, const Var *v, Names *ns, Buf *out) {
    buf_fmt(out, "  %s %s: %D..%D", what, define(ns, v, v->name), v->lo, v->hi);
    if (v->divisor > 1) buf_fmt(out, " by %D", v->divisor);
}

void kernel_print(const Kernel *k, Buf *out) {
    Arena *a = exprs_arena(k->x);
    Names ns = {.arena = a, .of = {.arena = a}, .taken = strmap_new(a, 64)};
    ExprSpell sp = {.var = spell_var, .buffer = spell_buffer, .user = &ns};
    buf_fmt(out, "kernel %S\n", k->name);
    for (int i = 0; i < k->nsyms; i++) {
        print_symbol("sym", k->sym[i].var, &ns, out);
        buf_fmt(out, " = params[%d]\n", k->sym[i].word);
    }
    for (int i = 0; i < k->ndims; i++) {
        print_symbol("dim", k->dim[i], &ns, out);
        buf_char(out, '\n');
    }
    for (int i = 0; i < k->nargs; i++) {
        buf_fmt(out, "  arg %s: ", define(&ns, k->arg[i], k->arg[i]->name));
        print_shape(k->arg[i], &sp, out);
        buf_add(out, k->arg[i]->written ? S(" written\n") : S("\n"));
    }
    if (k->wg[0] != 1 || k->wg[1] != 1 || k->wg[2] != 1)
        buf_fmt(out, "  wg %u, %u, %u\n", k->wg[0], k->wg[1], k->wg[2]);
    int ngrid = k->grid[2] ? 3 : k->grid[1] ? 2 : k->grid[0] ? 1 : 0;
    for (int i = 0; i < ngrid; i++) {
        buf_add(out, i ? S(", ") : S("  grid "));
        expr_print_as(k->grid[i] ? k->grid[i] : ex_int(k->x, 1), &sp, out);
    }
    if (ngrid) buf_char(out, '\n');
    if (k->subgroups) buf_add(out, S("  subgroups\n"));
    print_block(&k->body, 1, &sp, &ns, out);
}
