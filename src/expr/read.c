// expr/read.c: reads expressions from text, as print.c writes them, and by hand.
//
// The text is a user's: every type is checked before a constructor sees it, nesting is limited, and
// an error tells line, column and what was expected. An expression ends where the line does.
#include "expr/expr_int.h"

// A chain a + b + c + ... is as deep as it is long, so signs are counted as well as parentheses.
enum { MAX_DEPTH = 200, MAX_SIGNS = 500, MAX_DIGITS = 64 };

// ---- the cursor ---------------------------------------------------------------------------------

static char peek(const Reader *r) { return r->pos < r->text.len ? r->text.ptr[r->pos] : 0; }

static char peek_at(const Reader *r, size_t n) {
    return n < r->text.len - r->pos ? r->text.ptr[r->pos + n] : 0;
}

static void advance(Reader *r, size_t n) {
    r->pos += n;
    r->col += (int)n;
}

void reader_space(Reader *r) {
    while (peek(r) == ' ' || peek(r) == '\t' || peek(r) == '\r') advance(r, 1);
    if (peek(r) == '#')
        while (r->pos < r->text.len && peek(r) != '\n') advance(r, 1);
}

static bool is_digit(char c) { return c >= '0' && c <= '9'; }

static bool is_word(char c) {
    return is_digit(c) || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c == '.';
}

// A token that is a word matches whole words only.
bool reader_eat(Reader *r, const char *token) {
    reader_space(r);
    size_t n = strlen(token);
    if (r->text.len - r->pos < n || memcmp(r->text.ptr + r->pos, token, n) != 0) return false;
    if (n && is_word(token[n - 1]) && is_word(peek_at(r, n))) return false;
    advance(r, n);
    return true;
}

Str reader_word(Reader *r) {
    reader_space(r);
    size_t n = 0;
    while (is_word(peek_at(r, n))) n++;
    Str w = str_sub(r->text, r->pos, r->pos + n);
    advance(r, n);
    return w;
}

bool reader_fail(const Reader *r, Err *e, ErrId id, const char *fmt, ...) {
    if (!e || e->id != ERR_NONE) return false;
    char text[sizeof e->msg];
    Buf b = {.ptr = text, .cap = sizeof text};
    va_list ap;
    va_start(ap, fmt);
    buf_vfmt(&b, fmt, ap);
    va_end(ap);
    err_set(e, id, "%S", buf_str(&b));
    return err_line(e, r->line, r->col);
}

// ---- expressions --------------------------------------------------------------------------------

typedef struct Parse {
    Exprs *x;
    Reader *r;
    const ExprNames *names;
    Err *err;
    int depth, signs;
} Parse;

static const char *const type_name[TY_COUNT] = {"i32", "u32", "f32", "bool"}; // ORDER TYPE

static const Expr *parse(Parse *p, int above);

static const Expr *fail(Parse *p, ErrId id, const char *what) {
    reader_fail(p->r, p->err, id, "%s", what);
    return NULL;
}

static const Expr *bad_type(Parse *p, const Reader *at, const char *op, const Expr *a,
                            const Expr *b) {
    if (b)
        reader_fail(at, p->err, ERR_EXPR_TYPE, "%s cannot take %s and %s; cast one of them", op,
                    type_name[a->type], type_name[b->type]);
    else
        reader_fail(at, p->err, ERR_EXPR_TYPE, "%s cannot take %s", op, type_name[a->type]);
    return NULL;
}

static double power_of_two(int e) {
    double v = 1;
    for (; e > 0 && v < 1e300; e--) v *= 2;
    for (; e < 0 && v > 0; e++) v /= 2;
    return v;
}

// 0x1.8p+1: digits, fraction, binary exponent. The mantissas that we print fit a double.
static bool hex_float(Str s, double *out) {
    double v = 0, scale = 1;
    bool point = false, any = false;
    size_t i = 2;
    for (; i < s.len && s.ptr[i] != 'p' && s.ptr[i] != 'P'; i++) {
        char c = s.ptr[i];
        if (c == '.' && !point) {
            point = true;
            continue;
        }
        int d = is_digit(c)            ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0) return false;
        any = true;
        v = v * 16 + d;
        scale /= point ? 16 : 1;
    }
    i64 e;
    if (!any || i == s.len || !str_to_i64(str_sub(s, i + 1, s.len), &e) || e < -1100 || e > 1100)
        return false;
    *out = v * scale * power_of_two((int)e);
    return true;
}

static const Expr *number(Parse *p, bool minus) {
    Reader *r = p->r, at = *r;
    size_t n = 0;
    bool hex = peek(r) == '0' && (peek_at(r, 1) == 'x' || peek_at(r, 1) == 'X'), dotted = false;
    while (is_word(peek_at(r, n)) || ((peek_at(r, n) == '+' || peek_at(r, n) == '-') && n > 0 &&
                                      ((!hex && (peek_at(r, n - 1) | 32) == 'e') ||
                                       (hex && (peek_at(r, n - 1) | 32) == 'p')))) {
        char c = peek_at(r, n);
        dotted |= c == '.' || (hex ? (c | 32) == 'p' : (c | 32) == 'e');
        n++;
    }
    Str s = str_sub(r->text, r->pos, r->pos + n);
    i64 v;
    double f;
    if (n > MAX_DIGITS) return fail(p, ERR_EXPR_SYNTAX, "a number this long is not known");
    advance(r, n);
    if (dotted || (!hex && str_ends(s, S("f")))) {
        if (str_ends(s, S("f"))) s.len--;
        bool ok = hex ? hex_float(s, &f) : str_to_f64(s, &f);
        if (ok && f - f == 0 && f <= 0x1.fffffep+127) return ex_f32(p->x, minus ? -f : f);
    } else if (str_ends(s, S("u"))) {
        s.len--;
        if (str_to_i64(s, &v) && v >= 0 && v <= UINT32_MAX && !minus) return ex_uint(p->x, (u32)v);
    } else if (str_to_i64(s, &v)) {
        v = minus ? -v : v;
        if (v >= INT32_MIN && v <= INT32_MAX) return ex_int(p->x, v);
    }
    *r = at;
    return fail(p, ERR_EXPR_SYNTAX,
                "this number is not known or out of range; known: 3, 3u, 1.5, 0x1.8p+1f");
}

// The arguments up to `close`; -1 on error.
static int arguments(Parse *p, char close, const Expr **arg) {
    int n = 0;
    char end[2] = {close, 0};
    if (reader_eat(p->r, end)) return 0;
    for (;;) {
        if (n == BUFFER_MAX_DIMS) return fail(p, ERR_EXPR_SYNTAX, "too many arguments"), -1;
        if (!(arg[n++] = parse(p, 0))) return -1;
        if (reader_eat(p->r, end)) return n;
        if (!reader_eat(p->r, ","))
            return fail(p, ERR_EXPR_SYNTAX, close == ']' ? "expected , or ]" : "expected , or )"),
                   -1;
    }
}

static const Expr *call(Parse *p, Str name, const Reader *at) {
    static const struct {
        const char *name;
        u8 op, args, type; // type of the arguments; TY_COUNT: any number, alike
    } fns[] = {
        {"min", EX_MIN, 2, TY_COUNT},
        {"max", EX_MAX, 2, TY_COUNT},
        {"mulhi", EX_MULHI, 2, TY_U32},
        {"f16lo", EX_F16LO, 1, TY_U32},
        {"f16hi", EX_F16HI, 1, TY_U32},
        {"floor", EX_FLOOR, 1, TY_F32},
        {"sqrt", EX_SQRT, 1, TY_F32},
        {"exp", EX_EXP, 1, TY_F32},
        {"sin2pi", EX_SIN2PI, 1, TY_F32},
        {"cos2pi", EX_COS2PI, 1, TY_F32},
        {"subgroup_add", EX_SUBADD, 1, TY_COUNT},
        {"subgroup_max", EX_SUBMAX, 1, TY_COUNT},
        {"fma", EX_FMA, 3, TY_F32},
    };
    const Expr *a[BUFFER_MAX_DIMS] = {0};
    int n = arguments(p, ')', a);
    if (n < 0) return NULL;
    if (str_eq(name, S("select"))) {
        if (n == 3 && a[0]->type == TY_BOOL && a[1]->type == a[2]->type)
            return ex_select(p->x, a[0], a[1], a[2]);
        reader_fail(at, p->err, ERR_EXPR_TYPE, "select takes a bool and two values of one type");
        return NULL;
    }
    if (str_eq(name, S("dot4"))) {
        if (n == 3 && a[0]->type == TY_I32 && a[1]->type == TY_U32 && a[2]->type == TY_U32)
            return ex_dot4(p->x, a[0], a[1], a[2]);
        reader_fail(at, p->err, ERR_EXPR_TYPE, "dot4 takes an i32 and two u32");
        return NULL;
    }
    if (str_eq(name, S("subgroup_at"))) {
        i64 lane, lanes;
        if (n == 3 && a[0]->type != TY_BOOL && expr_is_int(a[1], &lane) &&
            expr_is_int(a[2], &lanes) && lane >= 0 && lane < lanes && lanes <= 128)
            return ex_subgroup_at(p->x, a[0], lane, lanes);
        reader_fail(at, p->err, ERR_EXPR_TYPE,
                    "subgroup_at takes a number, a lane, and how many lanes there are");
        return NULL;
    }
    for (int t = 0; t < TY_BOOL; t++) {
        bool bits = str_starts(name, S("bits_"));
        if (!str_eq(bits ? str_sub(name, 5, name.len) : name, str_c(type_name[t]))) continue;
        if (n != 1 || (bits && a[0]->type == TY_BOOL)) {
            reader_fail(at, p->err, ERR_EXPR_TYPE, "%S takes one number", name);
            return NULL;
        }
        return bits ? ex_bitcast(p->x, (Type)t, a[0]) : ex_cast(p->x, (Type)t, a[0]);
    }
    for (size_t i = 0; i < COUNT_OF(fns); i++) {
        if (!str_eq(name, str_c(fns[i].name))) continue;
        bool ok = n == fns[i].args;
        for (int k = 1; k < n && ok; k++) ok = a[k]->type == a[0]->type;
        if (ok && (fns[i].type == TY_COUNT ? a[0]->type != TY_BOOL : a[0]->type == fns[i].type))
            return ex_node(p->x, (ExprOp)fns[i].op, a[0], a[1], a[2]);
        reader_fail(at, p->err, ERR_EXPR_TYPE, "%S takes %d argument%s%s%s", name, fns[i].args,
                    fns[i].args == 1 ? "" : "s of one type",
                    fns[i].type == TY_COUNT ? "" : " of type ",
                    fns[i].type == TY_COUNT ? "" : type_name[fns[i].type]);
        return NULL;
    }
    reader_fail(at, p->err, ERR_EXPR_NAME, "there is no function %S", name);
    return NULL;
}

static const Expr *primary(Parse *p) {
    Reader *r = p->r;
    reader_space(r);
    if (is_digit(peek(r))) return number(p, false);
    if (reader_eat(r, "(")) {
        const Expr *e = parse(p, 0);
        if (e && !reader_eat(r, ")")) return fail(p, ERR_EXPR_SYNTAX, "expected )");
        return e;
    }
    Reader at = *r;
    if (peek(r) == '!' && peek_at(r, 1) != '=') {
        advance(r, 1);
        const Expr *e = parse(p, 10);
        if (!e || e->type == TY_BOOL) return e ? ex_un(p->x, EX_LNOT, e) : NULL;
        return bad_type(p, &at, "!", e, NULL);
    }
    if (peek(r) == '-') {
        advance(r, 1);
        reader_space(r);
        if (is_digit(peek(r))) return number(p, true);
        const Expr *e = parse(p, 10);
        if (!e || e->type == TY_BOOL) return e ? bad_type(p, &at, "-", e, NULL) : NULL;
        const Expr *zero =
            e->type == TY_F32 ? ex_f32(p->x, -0.0) : ex_cast(p->x, (Type)e->type, ex_int(p->x, 0));
        return ex_sub(p->x, zero, e);
    }
    Str w = reader_word(r);
    if (w.len == 0) return fail(p, ERR_EXPR_SYNTAX, "expected a number, a name or (");
    if (str_eq(w, S("true")) || str_eq(w, S("false"))) return ex_bool(p->x, w.len == 4);
    if (peek(r) == '(') {
        advance(r, 1);
        return call(p, w, &at);
    }
    if (peek(r) == '[') {
        const Buffer *b = p->names->buffer ? p->names->buffer(p->names->user, w) : NULL;
        const Expr *idx[BUFFER_MAX_DIMS];
        if (!b) {
            reader_fail(&at, p->err, ERR_EXPR_NAME, "there is no buffer %S", w);
            return NULL;
        }
        advance(r, 1);
        int n = arguments(p, ']', idx);
        if (n < 0) return NULL;
        bool ints = n == b->nd;
        for (int i = 0; i < n; i++) ints &= type_is_int(idx[i]->type);
        if (ints) return ex_load(p->x, b, idx);
        reader_fail(&at, p->err, ERR_EXPR_TYPE, "%S takes %d integer ind%s", w, b->nd,
                    b->nd == 1 ? "ex" : "ices");
        return NULL;
    }
    const Var *v = p->names->var ? p->names->var(p->names->user, w) : NULL;
    if (v) return ex_var(p->x, v);
    reader_fail(&at, p->err, ERR_EXPR_NAME, "there is no variable %S", w);
    return NULL;
}

// Longer signs first: << before <.
static const struct {
    const char *sign;
    u8 op, level;
} infix[] = {
    {"||", EX_LOR, 1}, {"&&", EX_LAND, 2}, {"<<", EX_SHL, 7}, {">>", EX_SHR, 7},  {"<=", EX_LE, 3},
    {">=", EX_LE, 3},  {"==", EX_EQ, 3},   {"!=", EX_NE, 3},  {"//", EX_IDIV, 9}, {"<", EX_LT, 3},
    {">", EX_LT, 3},   {"|", EX_OR, 4},    {"^", EX_XOR, 5},  {"&", EX_AND, 6},   {"+", EX_ADD, 8},
    {"-", EX_SUB, 8},  {"*", EX_MUL, 9},   {"/", EX_DIV, 9},  {"%", EX_IMOD, 9},
};

static bool takes(ExprOp op, const Expr *a, const Expr *b) {
    bool ints = type_is_int(a->type) && type_is_int(b->type);
    switch (op) {
    case EX_LOR:
    case EX_LAND: return a->type == TY_BOOL && b->type == TY_BOOL;
    case EX_SHL:
    case EX_SHR: return ints;
    case EX_EQ:
    case EX_NE: return a->type == b->type;
    case EX_DIV: return a->type == TY_F32 && b->type == TY_F32;
    case EX_IDIV:
    case EX_IMOD:
        // a constant divisor must be positive; others are the verifier's
        return ints && a->type == b->type && (b->op != EX_ICONST || b->i > 0);
    case EX_OR:
    case EX_XOR:
    case EX_AND: return ints && a->type == b->type;
    default: return a->type == b->type && a->type != TY_BOOL;
    }
}

// Everything that binds tighter than `above`.
static const Expr *climb(Parse *p, int above) {
    const Expr *a = primary(p);
    while (a) {
        reader_space(p->r);
        size_t i = 0;
        while (i < COUNT_OF(infix)) {
            const char *s = infix[i].sign;
            if (peek(p->r) == s[0] && (!s[1] || peek_at(p->r, 1) == s[1])) break;
            i++;
        }
        if (i == COUNT_OF(infix) || infix[i].level <= above) return a;
        if (++p->signs > MAX_SIGNS)
            return fail(p, ERR_EXPR_DEPTH,
                        "an expression has at most 500 signs; name a part with let");
        Reader at = *p->r;
        const char *sign = infix[i].sign;
        advance(p->r, strlen(sign));
        const Expr *b = parse(p, infix[i].level);
        if (!b) return NULL;
        if (sign[0] == '>' && sign[1] != '>') {
            const Expr *swap = a;
            a = b;
            b = swap;
        }
        if (!takes((ExprOp)infix[i].op, a, b)) {
            if (b->op == EX_ICONST && b->i <= 0 &&
                (infix[i].op == EX_IDIV || infix[i].op == EX_IMOD)) {
                reader_fail(&at, p->err, ERR_EXPR_TYPE, "the divisor of %s must be positive", sign);
                return NULL;
            }
            return bad_type(p, &at, sign, a, b);
        }
        a = ex_node(p->x, (ExprOp)infix[i].op, a, b, NULL);
    }
    return NULL;
}

static const Expr *parse(Parse *p, int above) {
    if (p->depth >= MAX_DEPTH)
        return fail(p, ERR_EXPR_DEPTH, "expressions nest at most 200 deep; name a part with let");
    p->depth++;
    const Expr *e = climb(p, above);
    p->depth--;
    return e;
}

const Expr *expr_read(Exprs *x, Reader *r, const ExprNames *names, Err *err) {
    Parse p = {x, r, names, err, 0, 0};
    return parse(&p, 0);
}
