// emit/value.c: expressions as text, scalar or in lanes.
//
// An expression that depends on the open vec loop prints as a vector, the rest as scalars, spread
// where they meet. What a dialect has no vector form for (gathers, a product's upper half) is
// printed lane by lane from named temporaries, which go out before the statement. Only + - * keep
// their usual precedence; everything else inside another sign is put in parentheses, because the
// languages disagree.
#include "emit/emit_int.h"

enum { P_ANY, P_SUM, P_PRODUCT, P_ATOM };
enum { MAX_TEXT = 1 << 16 };

static void put(Emit *e, const Expr *x, int lanes, int above, Buf *o);

static bool varying(Emit *e, const Expr *x) {
    if (x->op == EX_VAR) {
        const Name *n = name_of(e, x->var);
        return x->var == e->lane || (n && n->lanes);
    }
    if (x->op == EX_LOAD && mem_of(e, x->buf)->lane) return true;
    for (int i = 0; i < x->nargs; i++)
        if (varies(e, x->args[i])) return true;
    return false;
}

bool varies(Emit *e, const Expr *x) {
    i64 v;
    if (!e->lane || (x->top < 0 && !x->loads)) return false;
    if (ptrmap_get(&e->varies, x, &v)) return v == 1;
    v = varying(e, x);
    ptrmap_put(&e->varies, x, v);
    return v == 1;
}

static Str text_of(Emit *e, const Expr *x, int lanes, int above) {
    Buf b = {.arena = e->arena};
    put(e, x, lanes, above, &b);
    return b.len ? buf_str(&b) : S("");
}

void value(Emit *e, const Expr *x, int lanes, Buf *o) { put(e, x, lanes, P_ANY, o); }

// WGSL reads `a < b >> c` as the opening of a template: beside a sign, all but sums and products
// has parentheses.
void operand(Emit *e, const Expr *x, Buf *o) { put(e, x, 0, P_SUM, o); }

// ---- spellings ----------------------------------------------------------------------------------

static void spell(Emit *e, const char *form, Type t, int lanes, Type from, const Str *arg, Buf *o) {
    for (const char *p = form; *p; p++) {
        if (*p != '%') {
            buf_char(o, *p);
            continue;
        }
        switch (*++p) {
        case 't': e->d->type(o, t, lanes); break;
        case 'a': e->d->type(o, from, lanes); break;
        case 's': e->d->type(o, t, 0); break;
        case '%': buf_char(o, '%'); break;
        default: buf_add(o, arg[*p - '0']);
        }
    }
}

// How tight argument i must hold together: between parentheses and commas anything goes.
static int level(const char *form, int i) {
    for (const char *p = form; *p; p++)
        if (p[0] == '%' && p[1] == '0' + i)
            return p > form && (p[-1] == '(' || p[-1] == ' ') && (p[2] == ',' || p[2] == ')')
                       ? P_ANY
                       : P_ATOM;
    return P_ATOM;
}

void declare(Emit *e, const char *form, Type t, int lanes, const char *name, Str init) {
    Buf b = {.arena = e->arena};
    Str arg[2] = {str_c(name), init};
    spell(e, form, t, lanes, t, arg, &b);
    line(e, "%S;", buf_str(&b));
}

// A name for a value that is used more than once; what is one already stays.
static Str named(Emit *e, const Expr *x, int lanes) {
    Str s = text_of(e, x, lanes, P_ATOM);
    bool plain = s.len < 24;
    for (size_t i = 0; i < s.len && plain; i++)
        plain = (s.ptr[i] >= '0' && s.ptr[i] <= '9') || s.ptr[i] == '_' ||
                ((s.ptr[i] | 32) >= 'a' && (s.ptr[i] | 32) <= 'z');
    if (plain) return s;
    const char *name = fresh_name(e, "t");
    declare(e, e->d->constant, (Type)x->type, lanes, name, s);
    return str_c(name);
}

static Str lane_of(Emit *e, Str vector, int i) { return str_fmt(e->arena, "%S[%d]", vector, i); }

static void spread(Emit *e, Type t, int lanes, Str scalar, Buf *o) {
    e->d->splat(o, t, lanes, scalar);
}

// ---- constants and variables --------------------------------------------------------------------

static void constant(Emit *e, const Expr *x, Buf *o) {
    if (x->op == EX_FCONST)
        buf_fmt(o, x->f < 0 || (x->f == 0 && 1 / x->f < 0) ? "(%h)" : "%h", x->f);
    else if (x->type == TY_BOOL)
        buf_fmt(o, "%s", x->i ? "true" : "false");
    else if (x->type == TY_U32)
        buf_fmt(o, "%Du", x->i);
    else if (x->i == INT32_MIN)
        buf_fmt(o, e->d->cpu ? "(-2147483647 - 1)" : "i32(-2147483648)");
    else
        buf_fmt(o, x->i < 0 ? "(%D)" : "%D", x->i);
}

static void variable(Emit *e, const Expr *x, Buf *o) {
    const Name *n = name_of(e, x->var);
    if (x->var == e->lane) { // the lanes' own numbers
        e->d->gather(o, (Type)x->type, e->lanes);
        for (int i = 0; i < e->lanes; i++)
            buf_fmt(o, x->type == TY_U32 ? "%s%du" : "%s%d", i ? ", " : "", i);
        buf_fmt(o, "%s", e->d->gather_end);
        return;
    }
    if (!n || !n->text) {
        emit_fail(e, ERR_EMIT_NAME, "%s is used where it is not defined", x->var->name);
        return;
    }
    if (!n->lanes || e->part < 0)
        buf_add(o, str_c(n->text));
    else // C keeps a truth in lanes as 0 or -1
        buf_fmt(o, x->type == TY_BOOL && e->d->cpu ? "(%s[%d] != 0)" : "%s[%d]", n->text, e->part);
}

// ---- memory -------------------------------------------------------------------------------------

static const Expr *over(Emit *e, const Expr *i, int by, bool rest) {
    const Expr *c = ex_int(e->x, by);
    return expr_simplify(e->x, rest ? ex_mod(e->x, i, c) : ex_idiv(e->x, i, c));
}

void element(Emit *e, const Mem *m, const Expr *flat, Buf *o) {
    i64 v = 0;
    switch (m->lay) {
    case LAY_SCALARS:
        buf_add(o, str_c(m->name));
        buf_char(o, '[');
        put(e, flat, 0, P_ANY, o);
        buf_char(o, ']');
        return;
    case LAY_VECTORS:
        buf_fmt(o, "%s[%S][%S]", m->name, text_of(e, over(e, flat, m->lanes, false), 0, P_ANY),
                text_of(e, over(e, flat, m->lanes, true), 0, P_ANY));
        return;
    case LAY_NAMES:
        must(expr_is_int(flat, &v));
        buf_fmt(o, "%s_%D", m->name, v);
        return;
    case LAY_VEC_NAMES:
        must(expr_is_int(flat, &v));
        buf_fmt(o, "%s_%D[%D]", m->name, v / m->lanes, v % m->lanes);
    }
}

bool vector_addressable(Emit *e, const Mem *m) {
    if (m->lay == LAY_VECTORS || m->lay == LAY_VEC_NAMES) return m->lanes == e->lanes;
    return m->lay == LAY_SCALARS && e->d->vector_at;
}

bool vector_access(Emit *e, const Mem *m, const Expr *flat, const Expr **base) {
    i64 coef;
    (void)m;
    return e->lane && expr_affine(e->x, flat, e->lane, base, &coef) && coef == 1;
}

void vector_place(Emit *e, const Mem *m, const Expr *base, bool store, Buf *o) {
    i64 v = 0;
    if (m->lay == LAY_VEC_NAMES) {
        must(expr_is_int(base, &v));
        buf_fmt(o, "%s_%D", m->name, v / m->lanes);
    } else if (m->lay == LAY_VECTORS) {
        buf_fmt(o, "%s[%S]", m->name, text_of(e, over(e, base, m->lanes, false), 0, P_ANY));
    } else {
        e->d->vector_at(e, m, e->lanes, text_of(e, base, 0, P_ANY), store, o);
    }
}

// An element, or e->lanes of them from `base` on, as the type that is calculated with.
static void fetch(Emit *e, const Mem *m, const Expr *flat, const Expr *base, Buf *o) {
    if (m->buf->half) {
        e->d->type(o, m->buf->type, base ? e->lanes : 0);
        buf_char(o, '(');
    }
    if (base)
        vector_place(e, m, base, false, o);
    else
        element(e, m, flat, o);
    if (m->buf->half) buf_char(o, ')');
}

static void load(Emit *e, const Expr *x, Buf *o) {
    const Mem *m = mem_of(e, x->buf);
    const Expr *flat = flat_index(e, m, x->args), *base;
    i64 c;
    if (!varies(e, flat)) {
        fetch(e, m, flat, NULL, o);
        return;
    }
    bool side_by_side = vector_access(e, m, flat, &base);
    if (side_by_side && vector_addressable(e, m)) {
        fetch(e, m, flat, base, o);
        return;
    }
    // Lane by lane. A long common part gets a name first.
    if (side_by_side && base->nargs && m->lay == LAY_SCALARS && !expr_is_int(base, &c)) {
        Var *at = var_new(e->x, "at", TY_I32, INT32_MIN, INT32_MAX);
        name_var(e, at, arena_cstr(e->arena, named(e, base, 0)), 0);
        flat = ex_add(e->x, ex_var(e->x, at), ex_var(e->x, e->lane));
    } else if (!m->buf->half &&
               !expr_uses(flat, e->lane)) { // an index held in a vector variable, or loaded by lane
        Str index = named(e, flat, e->lanes);
        e->d->gather(o, (Type)x->type, e->lanes);
        for (int i = 0; i < e->lanes; i++) {
            if (m->lay == LAY_SCALARS)
                buf_fmt(o, "%s%s[%S[%d]]", i ? ", " : "", m->name, index, i);
            else
                buf_fmt(o, "%s%s[%S[%d] >> %du][%S[%d] & %d]", i ? ", " : "", m->name, index, i, 2,
                        index, i, 3);
        }
        buf_fmt(o, "%s", e->d->gather_end);
        return;
    }
    Buf lanes = {.arena = e->arena};
    const Var *lane = e->lane;
    int count = e->lanes;
    for (int i = 0; i < count; i++) { // as scalars, each lane in turn
        const Expr *at = ex_int(e->x, i);
        const Expr *f = expr_simplify(e->x, expr_subst(e->x, flat, &lane, &at, 1));
        int part = e->part;
        e->lane = NULL;
        e->part = i;
        if (i) buf_add(&lanes, S(", "));
        fetch(e, m, f, NULL, &lanes);
        e->lane = lane;
        e->part = part;
    }
    e->d->gather(o, (Type)x->type, count);
    buf_add(o, buf_str(&lanes));
    buf_fmt(o, "%s", e->d->gather_end);
}

// ---- operations ---------------------------------------------------------------------------------

static bool power_of_two(const Expr *x, int *k) {
    if (x->op != EX_ICONST || x->i <= 0 || (x->i & (x->i - 1))) return false;
    for (*k = 0; x->i >> *k != 1;) ++*k;
    return true;
}

static bool not_negative(const Expr *x) {
    i64 lo, hi;
    expr_range(x, &lo, &hi);
    return lo >= 0;
}

static void infix(Emit *e, const char *sign, const Expr *a, const Expr *b, int lanes, int above,
                  int own, Buf *o) {
    bool mix = lanes && e->d->mixes && own != P_ANY;
    bool va = varies(e, a), vb = varies(e, b);
    int la = mix && !va ? 0 : lanes, lb = mix && !vb ? 0 : lanes;
    bool loose = own == P_ANY, paren = above > own || (loose && above);
    if (paren) buf_char(o, '(');
    put(e, a, la, loose ? P_ATOM : own, o);
    if (!lanes && sign[0] == '+' && b->op == EX_ICONST && b->i < 0 &&
        b->i > INT32_MIN) { // a - 1, not a + (-1)
        buf_fmt(o, " - %D", -b->i);
    } else {
        buf_char(o, ' ');
        buf_add(o, str_c(sign));
        buf_char(o, ' ');
        put(e, b, lb, loose ? P_ATOM : own + 1, o);
    }
    if (paren) buf_char(o, ')');
}

// Is the vector form of this operation there? Lane by lane otherwise.
static const char *vector_form(Emit *e, const Expr *x) {
    if (x->op == EX_CAST) return e->d->vcast[x->type][x->args[0]->type];
    if (x->op == EX_BITCAST) return e->d->vbits;
    return e->d->vop[x->op];
}

static const char *scalar_form(Emit *e, const Expr *x) {
    if (x->op == EX_CAST) return e->d->cast[x->type][x->args[0]->type];
    if (x->op == EX_BITCAST) return e->d->bits;
    return e->d->op[x->op];
}

static void by_lane(Emit *e, const Expr *x, const char *form, Buf *o) {
    Str arg[3], one[3];
    bool wide[3];
    for (int i = 0; i < x->nargs; i++) {
        wide[i] = varies(e, x->args[i]);
        arg[i] = named(e, x->args[i], wide[i] ? e->lanes : 0);
    }
    e->d->gather(o, (Type)x->type, e->lanes);
    for (int l = 0; l < e->lanes; l++) {
        for (int i = 0; i < x->nargs; i++) one[i] = wide[i] ? lane_of(e, arg[i], l) : arg[i];
        if (l) buf_add(o, S(", "));
        spell(e, form, (Type)x->type, 0, (Type)x->args[0]->type, one, o);
    }
    buf_fmt(o, "%s", e->d->gather_end);
}

static void divide(Emit *e, const Expr *x, int lanes, int above, Buf *o) {
    const Expr *a = x->args[0], *b = x->args[1];
    bool quotient = x->op == EX_IDIV;
    int k;
    if (power_of_two(b, &k)) { // shifts and masks round down, for negative numbers too
        const Expr *n = quotient ? ex_uint(e->x, (u32)k)
                                 : ex_sub(e->x, b, ex_cast(e->x, (Type)b->type, ex_int(e->x, 1)));
        put(e, ex_node(e->x, quotient ? EX_SHR : EX_AND, a, n, NULL), lanes, above, o);
    } else if (not_negative(a)) {
        infix(e, quotient ? "/" : "%", a, b, lanes, above, P_ANY, o);
    } else {
        e->helpers |= HELP_FLOOR_DIV;
        const char *form = quotient ? "%a_div(%0, %1)" : "%a_mod(%0, %1)";
        if (lanes) {
            by_lane(e, x, form, o);
            return;
        }
        Str arg[2] = {text_of(e, a, 0, P_ANY), text_of(e, b, 0, P_ANY)};
        spell(e, form, (Type)x->type, 0, (Type)a->type, arg, o);
    }
}

static void shift(Emit *e, const Expr *x, const char *form, int lanes, int above, Buf *o) {
    const Expr *a = x->args[0], *b = x->args[1];
    Type count = e->d->cpu ? (Type)x->type : TY_U32; // C's vectors shift by their own type
    b = ex_cast(e->x, lanes ? count : TY_U32, b);
    if (!strchr(form, '%')) {
        infix(e, form, a, b, lanes, above, P_ANY, o);
        return;
    }
    Str arg[2] = {text_of(e, a, lanes, level(form, 0)), text_of(e, b, lanes, level(form, 1))};
    spell(e, form, (Type)x->type, lanes, (Type)a->type, arg, o);
}

bool small_bytes(Emit *e, const Expr *w) {
    i64 mask;
    const Name *n = w->op == EX_VAR ? name_of(e, w->var) : NULL;
    if (n) return n->small_bytes;
    return w->op == EX_AND && expr_is_int(w->args[1], &mask) && !(mask & 0x80808080);
}

static void operation(Emit *e, const Expr *x, int lanes, int above, Buf *o) {
    const char *form = lanes ? vector_form(e, x) : scalar_form(e, x);
    Str arg[3];
    i64 lo, hi;
    switch (x->op) {
    case EX_IDIV:
    case EX_IMOD: divide(e, x, lanes, above, o); return;
    case EX_MULHI: e->helpers |= HELP_MULHI; break;
    case EX_DOT4: {
        const char *small = lanes ? e->d->small_vdot4 : e->d->small_dot4;
        e->helpers |= HELP_DOT4;
        if (small && small_bytes(e, x->args[2])) form = small;
        break;
    }
    case EX_CAST:
        // unsigned numbers below 2^31 convert as signed ones do, which processors can (and so
        // software adapters)
        if (x->type == TY_F32 && x->args[0]->type == TY_U32) {
            expr_range(x->args[0], &lo, &hi);
            if (hi <= INT32_MAX) {
                x = ex_cast(e->x, TY_F32, ex_cast(e->x, TY_I32, x->args[0]));
                form = lanes ? vector_form(e, x) : scalar_form(e, x);
            }
        }
        break;
    default: break;
    }
    if (!form && lanes && (form = scalar_form(e, x)) != NULL) {
        by_lane(e, x, form, o);
        return;
    }
    if (!form) {
        emit_fail(e, ERR_EMIT_OP, "%s has no way to write this operation (%d)", e->d->name,
                  (i32)x->op);
        return;
    }
    if (x->op == EX_SHL || x->op == EX_SHR) {
        shift(e, x, form, lanes, above, o);
        return;
    }
    if (!strchr(form, '%')) {
        int own = x->op == EX_ADD || x->op == EX_SUB   ? P_SUM
                  : x->op == EX_MUL || x->op == EX_DIV ? P_PRODUCT
                                                       : P_ANY;
        infix(e, form, x->args[0], x->args[1], lanes, above, own, o);
        return;
    }
    if (lanes && x->op == EX_SELECT && !varies(e, x->args[0])) { // one answer for all lanes
        form = e->d->op[EX_SELECT];
        arg[0] = text_of(e, x->args[0], 0, level(form, 0));
    } else {
        arg[0] = text_of(e, x->args[0], lanes, level(form, 0));
    }
    for (int i = 1; i < x->nargs; i++) arg[i] = text_of(e, x->args[i], lanes, level(form, i));
    spell(e, form, (Type)x->type, lanes, (Type)x->args[0]->type, arg, o);
}

static void put(Emit *e, const Expr *x, int lanes, int above, Buf *o) {
    if (!e->ok) return;
    if (lanes && !varies(e, x)) {
        spread(e, (Type)x->type, lanes, text_of(e, x, 0, P_ANY), o);
        return;
    }
    switch (x->op) {
    case EX_ICONST:
    case EX_FCONST: constant(e, x, o); return;
    case EX_VAR: variable(e, x, o); return;
    case EX_LOAD: load(e, x, o); break;
    default: operation(e, x, lanes, above, o);
    }
    // what is shared is written out at each use: 2^depth times the nodes, where nothing hoisted it
    if (o->len > MAX_TEXT && e->ok)
        emit_fail(e, ERR_EMIT_LIMIT,
                  "the text of a value is longer than %d bytes; name parts of it", MAX_TEXT);
}
