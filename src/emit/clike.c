// emit/clike.c: walks a kernel's statements and prints them in a C-like language.
//
// A vec loop's body is printed once, its values as vectors (value.c), where the dialect has vectors
// of that many lanes; else once for each iteration. An `if` or a loop that goes differently in
// different lanes is printed lane by lane. Buffers are spelled as place.c decided. What the
// languages write differently stands in their tables (wgsl.c, c.c).
#include "emit/emit_int.h"

static bool block(Emit *e, const Block *b);

bool emit_fail(Emit *e, ErrId id, const char *fmt, ...) {
    char text[200];
    Buf b = {.ptr = text, .cap = sizeof text};
    va_list ap;
    va_start(ap, fmt);
    buf_vfmt(&b, fmt, ap);
    va_end(ap);
    e->ok = false;
    return err_set(e->err, id, "kernel %S: %S", e->k->name, buf_str(&b));
}

// ---- text ---------------------------------------------------------------------------------------

static void indent(Emit *e) {
    for (int i = 0; i < e->indent; i++) buf_add(e->out, S("    "));
}

void line(Emit *e, const char *fmt, ...) {
    if (fmt[0]) indent(e);
    va_list ap;
    va_start(ap, fmt);
    buf_vfmt(e->out, fmt, ap);
    va_end(ap);
    buf_char(e->out, '\n');
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

// Letters, digits and single underscores, never at the ends' wrong side: NAME_3 is how elements of
// NAME are called.
const char *fresh_name(Emit *e, const char *wanted) {
    Buf b = {.arena = e->arena};
    for (const char *p = wanted; *p && b.len < 40; p++) {
        bool letter = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z');
        if (letter || (is_digit(*p) && b.len))
            buf_char(&b, *p);
        else if (b.len && b.ptr[b.len - 1] != '_')
            buf_char(&b, '_');
    }
    size_t digits = b.len;
    while (digits && is_digit(b.ptr[digits - 1])) digits--;
    if (!b.len)
        buf_add(&b, S("v"));
    else if (digits && b.ptr[digits - 1] == '_')
        buf_add(&b, S("v"));
    i32 n;
    Str base = buf_str(&b), name = base;
    for (int k = 2; strmap_get(e->taken, name, &n); k++) name = str_fmt(e->arena, "%S%d", base, k);
    strmap_put(e->taken, name, 1);
    return arena_cstr(e->arena, name);
}

Name *name_of(Emit *e, const Var *v) {
    i64 at;
    return ptrmap_get(&e->names, v, &at) ? (Name *)(intptr_t)at : NULL;
}

Name *name_var(Emit *e, const Var *v, const char *text, int lanes) {
    Name *n = name_of(e, v);
    if (!n) {
        n = NEW(e->arena, Name);
        ptrmap_put(&e->names, v, (i64)(intptr_t)n);
    }
    n->text = text ? text : n->text;
    n->lanes = lanes;
    return n;
}

static const char *define(Emit *e, const Var *v, int lanes) {
    Name *n = name_var(e, v, NULL, lanes);
    if (!n->text) n->text = fresh_name(e, v->name);
    return n->text;
}

void push_sub(Emit *e, const Var *v, i64 i) {
    must(e->nsub < MAX_SUBS);
    e->sub[e->nsub] = v;
    e->by[e->nsub++] = v->type == TY_U32 ? ex_uint(e->x, (u32)i) : ex_int(e->x, i);
}

void pop_sub(Emit *e) { e->nsub--; }

static Str text(Emit *e, const Expr *x, int lanes) {
    Buf b = {.arena = e->arena};
    value(e, x, lanes, &b);
    return b.len ? buf_str(&b) : S("");
}

// ---- statements ---------------------------------------------------------------------------------

static void let(Emit *e, const Stmt *s) {
    const Expr *v = in_place(e, s->value);
    int lanes = varies(e, v) ? e->lanes : 0;
    Str init = text(e, v, lanes);
    declare(e, e->d->constant, (Type)v->type, lanes, define(e, s->var, lanes), init);
    name_of(e, s->var)->small_bytes = small_bytes(e, v);
}

// The value as memory keeps it.
static Str as_kept(Emit *e, const Mem *m, Str v, int lanes) {
    Buf half = {.arena = e->arena};
    if (!m->buf->half || !e->d->to_half) return v; // C has no workgroup memory
    e->d->to_half(&half, v, lanes);
    return buf_str(&half);
}

static void put_element(Emit *e, const Mem *m, const Expr *flat, Str v) {
    Buf to = {.arena = e->arena};
    element(e, m, flat, &to);
    line(e, "%S = %S;", buf_str(&to), as_kept(e, m, v, 0));
}

static void store_lanes(Emit *e, const Mem *m, const Expr *flat, const Expr *v) {
    bool wide = varies(e, v);
    const char *name = fresh_name(e, "t");
    declare(e, e->d->constant, (Type)v->type, wide ? e->lanes : 0, name,
            text(e, v, wide ? e->lanes : 0));
    const Var *lane = e->lane;
    e->lane = NULL;
    for (int i = 0; i < e->lanes; i++) {
        const Expr *at = ex_int(e->x, i);
        e->part = i;
        put_element(e, m, expr_simplify(e->x, expr_subst(e->x, flat, &lane, &at, 1)),
                    wide ? str_fmt(e->arena, "%s[%d]", name, i) : str_c(name));
    }
    e->lane = lane;
    e->part = -1;
}

static void store(Emit *e, const Stmt *s) {
    const Mem *m = mem_of(e, s->buf);
    const Expr *flat = flat_index(e, m, s->idx), *v = in_place(e, s->value), *base;
    if (!varies(e, flat)) {
        if (varies(e, v))
            emit_fail(e, ERR_EMIT_LANES, "all lanes store to one element of %s", s->buf->name);
        else
            put_element(e, m, flat, text(e, v, 0));
        return;
    }
    if (!vector_access(e, m, flat, &base) || !vector_addressable(e, m)) {
        store_lanes(e, m, flat, v);
        return;
    }
    Str t = text(e, v, e->lanes);
    if (e->d->in_order && m->buf->scope == SCOPE_REG && v->op == EX_ADD) {
        Buf kept = {.arena = e->arena};
        e->d->type(&kept, (Type)v->type, e->lanes);
        buf_fmt(&kept, "%s(%S)", e->d->in_order, t);
        t = buf_str(&kept);
    }
    Buf to = {.arena = e->arena};
    vector_place(e, m, base, true, &to);
    line(e, "%S = %S;", buf_str(&to), as_kept(e, m, t, e->lanes));
}

// The body under a condition or loop that goes differently in each lane: scalars, one lane after
// the other.
static bool in_lanes(Emit *e, const Stmt *s);

static bool serial(Emit *e, const Stmt *s) {
    const char *name = define(e, s->var, 0);
    Buf extent = {.arena = e->arena};
    operand(e, in_place(e, s->extent), &extent);
    Buf var = {.arena = e->arena};
    for (const char *p = e->d->variable; *p; p++) {
        if (*p != '%')
            buf_char(&var, *p);
        else if (*++p == 't')
            e->d->type(&var, s->var->type, 0);
        else
            buf_fmt(&var, "%s", name);
    }
    line(e,
         s->var->type == TY_U32 ? "for (%S = 0u; %s < %S; %s++) {"
                                : "for (%S = 0; %s < %S; %s++) {",
         buf_str(&var), name, buf_str(&extent), name);
    e->indent++;
    bool ok = block(e, &s->body);
    e->indent--;
    line(e, "}");
    return ok;
}

static bool declares(const Block *b) {
    for (size_t i = 0; i < b->n; i++)
        if (b->at[i]->kind == ST_LET || b->at[i]->kind == ST_ALLOC) return true;
    return false;
}

static bool scoped(Emit *e, const Block *b) {
    bool braces = declares(b);
    if (braces) {
        line(e, "{");
        e->indent++;
    }
    bool ok = block(e, b);
    if (braces) {
        e->indent--;
        line(e, "}");
    }
    return ok;
}

// What never runs is not printed: WGSL refuses a constant index past the end there too.
static bool if_stmt(Emit *e, const Stmt *s) {
    const Expr *cond = in_place(e, s->cond);
    i64 known;
    if (expr_is_int(cond, &known)) return known ? scoped(e, &s->body) : true;
    line(e, "if (%S) {", text(e, cond, 0));
    e->indent++;
    bool ok = block(e, &s->body);
    e->indent--;
    line(e, "}");
    return ok;
}

static bool vec(Emit *e, const Stmt *s) {
    i64 n;
    bool ok = true;
    must(expr_is_int(s->extent, &n)); // place.c looked
    if (e->lane || !e->d->native(e->p, n)) {
        for (i64 i = 0; i < n && ok; i++) {
            push_sub(e, s->var, i);
            ok = scoped(e, &s->body);
            pop_sub(e);
        }
        return ok;
    }
    e->lane = s->var;
    e->lanes = (int)n;
    e->part = -1;
    ptrmap_clear(&e->varies);
    ok = scoped(e, &s->body);
    e->lane = NULL;
    ptrmap_clear(&e->varies);
    return ok;
}

static bool device_loop(Emit *e, const Stmt *s) {
    const char *name = define(e, s->var, 0);
    int opened = e->d->loop(e, s, name);
    if (opened < 0) return false;
    e->indent += opened;
    bool ok = block(e, &s->body);
    while (opened-- > 0) {
        e->indent--;
        line(e, "}");
    }
    return ok;
}

static bool for_stmt(Emit *e, const Stmt *s) {
    if (s->loop == LOOP_VEC) return vec(e, s);
    if (s->loop == LOOP_SERIAL || s->loop == LOOP_UNROLL) return serial(e, s);
    return device_loop(e, s);
}

static bool in_lanes(Emit *e, const Stmt *s) {
    const Var *lane = e->lane;
    bool ok = true;
    e->lane = NULL;
    for (int i = 0; i < e->lanes && ok; i++) {
        e->part = i;
        push_sub(e, lane, i);
        ok = s->kind == ST_IF ? if_stmt(e, s) : for_stmt(e, s);
        pop_sub(e);
    }
    e->lane = lane;
    e->part = -1;
    return ok;
}

static void alloc(Emit *e, const Stmt *s) {
    const Mem *m = mem_of(e, s->buf);
    if (s->buf->scope != SCOPE_REG || !m->used) return; // workgroup memory stands before the kernel
    if (m->lay == LAY_SCALARS || m->lay == LAY_VECTORS) {
        e->d->array(e, m);
        return;
    }
    int lanes = m->lay == LAY_VEC_NAMES ? m->lanes : 0;
    i64 count = lanes ? (m->elems + lanes - 1) / lanes : m->elems;
    for (i64 i = 0; i < count; i++)
        declare(e, e->d->variable, s->buf->type, lanes,
                arena_cstr(e->arena, str_fmt(e->arena, "%s_%D", m->name, i)), S(""));
}

static void fetch(Emit *e, const Stmt *s) {
    const Mem *m = mem_of(e, s->buf);
    Buf at = {.arena = e->arena};
    if (!e->d->fetch || !m->used) return;
    element(e, m, flat_index(e, m, s->idx), &at);
    line(e, e->d->fetch, arena_cstr(e->arena, buf_str(&at)));
}

static bool stmt(Emit *e, const Stmt *s) {
    if ((s->kind == ST_FOR || s->kind == ST_IF) && lane_by_lane(e, s)) return in_lanes(e, s);
    switch (s->kind) {
    case ST_FOR: return for_stmt(e, s);
    case ST_IF: return if_stmt(e, s);
    case ST_LET: let(e, s); break;
    case ST_STORE: store(e, s); break;
    case ST_ALLOC: alloc(e, s); break;
    case ST_FETCH: fetch(e, s); break;
    case ST_BARRIER:
        if (!e->d->barrier) return emit_fail(e, ERR_EMIT_OP, "%s has no barriers", e->d->name);
        line(e, "%s", e->d->barrier);
        break;
    }
    return e->ok;
}

static bool block(Emit *e, const Block *b) {
    if (e->indent > MAX_INDENT)
        return emit_fail(e, ERR_EMIT_LIMIT, "statements nest more than %d deep", MAX_INDENT);
    for (size_t i = 0; i < b->n; i++)
        if (!stmt(e, b->at[i])) return false;
    return true;
}

// ---- kernels ------------------------------------------------------------------------------------

static void reserve(Emit *e) {
    Str rest = str_c(emit_reserved);
    while (rest.len) strmap_put(e->taken, str_cut(rest, ' ', &rest), 1);
}

static bool symbols(Emit *e) {
    const Kernel *k = e->k;
    const Buffer *params = NULL;
    for (int i = 0; i < k->nargs; i++)
        if (!strcmp(k->arg[i]->name, "params")) params = k->arg[i];
    if (k->nsyms && !params)
        return emit_fail(e, ERR_EMIT_NAME,
                         "its symbols are read from an argument named params, which it lacks");
    for (int i = 0; i < k->nsyms; i++) {
        Buf b = {.arena = e->arena};
        if (!name_of(e, k->sym[i].var)->used) continue;
        Mem *m = mem_of(e, params);
        m->used = true;
        element(e, m, ex_int(e->x, k->sym[i].word), &b);
        if (params->type != k->sym[i].var->type)
            return emit_fail(e, ERR_EMIT_NAME, "params and %s have different types",
                             k->sym[i].var->name);
        declare(e, e->d->constant, k->sym[i].var->type, 0, define(e, k->sym[i].var, 0),
                buf_str(&b));
    }
    return true;
}

static bool print_kernel(Emit *e) {
    const Kernel *k = e->k;
    Buf *out = e->out, body = {.arena = e->arena};
    reserve(e);
    strmap_put(e->taken, e->fn, 1);
    for (int i = 0; i < k->ndims; i++) define(e, k->dim[i], 0);
    for (int i = 0; i < k->nsyms; i++) define(e, k->sym[i].var, 0);
    if (!place_all(e)) return false;
    e->out = &body;
    e->indent = 1;
    if (!symbols(e) || !block(e, &k->body) || !e->ok) return false;
    e->out = out;
    e->indent = 0;
    e->d->begin(e);
    if (body.len) buf_add(out, buf_str(&body));
    e->d->end(e);
    return e->ok;
}

bool emit_function(const Dialect *d, const Kernel *k, const Profile *p, Str fn, bool is_static,
                   Buf *out, Err *err) {
    Arena *scratch = arena_new(NULL);
    if (!scratch) return err_set(err, ERR_OUT_OF_MEMORY, "while printing kernel %S", k->name);
    Emit e = {.d = d,
              .k = k,
              .p = p,
              .arena = scratch,
              .x = k->x,
              .out = out,
              .err = err,
              .ok = true,
              .part = -1,
              .fn = fn,
              .is_static = is_static};
    e.names.arena = e.mems.arena = e.varies.arena = scratch;
    e.taken = strmap_new(scratch, 512);
    bool ok = print_kernel(&e);
    arena_free(scratch);
    return ok;
}

Str c_name(Arena *a, Str from) {
    Buf name = {.arena = a};
    for (size_t i = 0; i < from.len; i++) {
        char c = from.ptr[i];
        bool word = is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
        if (i == 0 && is_digit(c)) buf_char(&name, 'k');
        buf_char(&name, word ? c : '_');
    }
    return name.len ? buf_str(&name) : S("kernel");
}

bool emit_kernel(const Dialect *d, const Kernel *k, const Profile *p, Buf *out, Err *err) {
    return emit_function(d, k, p, c_name(exprs_arena(k->x), k->name), false, out, err);
}

static const Dialect *const dialects[] = {&dialect_wgsl, &dialect_c};

const Dialect *dialect_named(Str name) {
    for (size_t i = 0; i < COUNT_OF(dialects); i++)
        if (str_eq(name, str_c(dialects[i]->name))) return dialects[i];
    return NULL;
}

const char *dialect_name(const Dialect *d) { return d->name; }

u32 dialect_version(const Dialect *d) { return d->version; }
