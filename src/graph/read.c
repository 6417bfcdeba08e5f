// graph/read.c: the text of a graph -> a graph, with F:LINE:COL on everything that is wrong.
//
// The text may come from anyone: sizes are bounded before anything is allocated, shapes are
// inferred again rather than believed, and graph_verify runs at the end. Needs no recursion: one
// line is one tensor or one node.
#include "graph/graph.h"

typedef struct GraphReader {
    Graph *g;
    StrMap *names;
    Str text, file;
    size_t pos;
    int line, col;
    Err *err;
} GraphReader;

static bool fail(GraphReader *r, ErrId id, const char *what, Str name) {
    err_set(r->err, id, "%s%s%S%s", what, name.len ? " '" : "", name, name.len ? "'" : "");
    err_line(r->err, r->line, r->col);
    return err_file(r->err, r->file);
}

static char peek(const GraphReader *r) { return r->pos < r->text.len ? r->text.ptr[r->pos] : '\n'; }

static void advance(GraphReader *r) {
    if (r->pos >= r->text.len) return;
    if (r->text.ptr[r->pos] == '\n') {
        r->line++;
        r->col = 0;
    }
    r->pos++;
    r->col++;
}

static void blanks(GraphReader *r) {
    while (r->pos < r->text.len && (peek(r) == ' ' || peek(r) == '\t' || peek(r) == '\r'))
        advance(r);
    if (peek(r) == '#')
        while (r->pos < r->text.len && peek(r) != '\n') advance(r);
}

static bool eat(GraphReader *r, char c) {
    blanks(r);
    if (r->pos >= r->text.len || r->text.ptr[r->pos] != c || c == '\n') return false;
    advance(r);
    return true;
}

static bool want(GraphReader *r, char c) {
    if (eat(r, c)) return true;
    char s[2] = {c, 0};
    return fail(r, ERR_GRAPH_SYNTAX, "expected", str_c(s));
}

static bool is_word(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' ||
           c == '.' || c == '-';
}

static Str word(GraphReader *r) {
    blanks(r);
    size_t from = r->pos;
    while (r->pos < r->text.len && is_word(peek(r))) advance(r);
    return str_sub(r->text, from, r->pos);
}

static int hex_digit(char c) {
    if (c >= '0' && c <= '9') return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

// A name: a word, or a quoted text in which \xx stands for a byte.
static bool name(GraphReader *r, Str *out) {
    blanks(r);
    if (peek(r) != '"') {
        *out = word(r);
        return out->len > 0 || fail(r, ERR_GRAPH_SYNTAX, "expected a name", (Str){0});
    }
    Buf b = {.arena = r->g->arena, .limit = 4096};
    buf_add(&b, S(""));
    advance(r);
    while (peek(r) != '"') {
        if (peek(r) == '\n')
            return fail(r, ERR_GRAPH_SYNTAX, "a quoted name does not end", (Str){0});
        char c = peek(r);
        advance(r);
        if (c == '\\') {
            int h = hex_digit(peek(r));
            advance(r);
            int l = hex_digit(peek(r));
            advance(r);
            if (h < 0 || l < 0)
                return fail(r, ERR_GRAPH_SYNTAX, "expected \\ and two hex digits", (Str){0});
            c = (char)(h * 16 + l);
        }
        buf_char(&b, c);
    }
    advance(r);
    *out = buf_str(&b);
    return true;
}

static bool integer(GraphReader *r, i64 lo, i64 hi, i64 *out) {
    Str w = word(r);
    if (!str_to_i64(w, out) || *out < lo || *out > hi) {
        err_set(r->err, ERR_GRAPH_SYNTAX, "expected a whole number from %D to %D, not '%S'", lo, hi,
                w);
        err_line(r->err, r->line, r->col);
        return err_file(r->err, r->file);
    }
    return true;
}

static bool read_dim(GraphReader *r, Dim *d) {
    *d = (Dim){0};
    do {
        Str w = word(r);
        i64 v = 1;
        if (str_to_i64(w, &v)) {
            if (v < 0 || v > INT32_MAX)
                return fail(r, ERR_GRAPH_SYNTAX, "a dimension is out of range", w);
            if (!eat(r, '*')) {
                d->c += v;
                if (d->c > INT32_MAX)
                    return fail(r, ERR_GRAPH_SYNTAX, "a dimension is out of range", w);
                continue;
            }
            w = word(r);
            if (v > 64) return fail(r, ERR_GRAPH_SYNTAX, "a factor is out of range before", w);
        }
        if (str_eq(w, S("n"))) {
            d->cn = (i32)v;
        } else if (str_eq(w, S("m"))) {
            d->cm = (i32)v;
        } else if (str_eq(w, S("t"))) {
            d->ct = (i32)v;
        } else {
            return fail(r, ERR_GRAPH_SYNTAX, "expected a number, n, m or t, not", w);
        }
    } while (eat(r, '+'));
    return true;
}

static bool read_shape(GraphReader *r, int *nd, Dim dim[3]) {
    if (!want(r, '[')) return false;
    *nd = 0;
    do {
        if (*nd == 3) return fail(r, ERR_GRAPH_SYNTAX, "more than 3 dimensions", (Str){0});
        if (!read_dim(r, &dim[(*nd)++])) return false;
    } while (eat(r, ','));
    return want(r, ']');
}

static bool read_layer(GraphReader *r, int *layer) {
    i64 v = -1;
    if (eat(r, '@') && !integer(r, 0, 1023, &v)) return false;
    *layer = (int)v;
    blanks(r);
    if (peek(r) != '\n')
        return fail(r, ERR_GRAPH_SYNTAX, "something follows the end of the line", (Str){0});
    return true;
}

static bool type_named(Str w, Type *t) {
    for (int i = 0; i < TY_COUNT; i++)
        if (str_eq(w, str_c(type_name((Type)i)))) {
            *t = (Type)i;
            return true;
        }
    return false;
}

static bool add_name(GraphReader *r, Str nm, int id) {
    i32 other;
    if (strmap_get(r->names, nm, &other))
        return fail(r, ERR_GRAPH_NAME, "two tensors are named", nm);
    if (r->g->tensors.n >= GRAPH_MAX_TENSORS)
        return fail(r, ERR_GRAPH_LIMIT, "too many tensors", (Str){0});
    strmap_put(r->names, arena_str(r->g->arena, nm), id);
    return true;
}

static bool read_weight(GraphReader *r, Str nm) {
    Weight *w = NEW(r->g->arena, Weight);
    int nd, layer;
    Dim dim[3];
    Str enc = word(r);
    if (!quant_named(enc, &w->encoding))
        return fail(r, ERR_GRAPH_SYNTAX, "no encoding is named", enc);
    if (!read_shape(r, &nd, dim)) return false;
    for (int i = 0; i < nd; i++)
        if (nd > 2 || dim[i].cn || dim[i].cm || dim[i].ct || dim[i].c < 1)
            return fail(r, ERR_GRAPH_SHAPE, "a weight has one or two constant dimensions",
                        (Str){0});
    w->name = arena_str(r->g->arena, nm);
    w->rows = (u32)dim[0].c;
    w->cols = nd == 2 ? (u32)dim[1].c : 1;
    w->interleave = 1;
    blanks(r);
    if (peek(r) == 'x') {
        i64 v;
        advance(r);
        if (!integer(r, 1, 16, &v)) return false;
        w->interleave = (u32)v;
    }
    if (!want(r, '=')) return false;
    u64 covered = 0;
    do {
        if (w->nseg == 4) return fail(r, ERR_GRAPH_SYNTAX, "more than 4 segments", (Str){0});
        WeightSegment *s = &w->seg[w->nseg++];
        Str t;
        i64 row, rows, step = 1;
        if (!name(r, &t) || !want(r, '[') || !integer(r, 0, INT32_MAX, &row) || !want(r, '+') ||
            !integer(r, 1, INT32_MAX, &rows))
            return false;
        if (eat(r, '*') && !integer(r, 1, 4, &step)) return false;
        if (!want(r, ']')) return false;
        if (row + (rows - 1) * step >= (i64)w->rows)
            return fail(r, ERR_GRAPH_SHAPE, "a segment reaches past the weight", t);
        *s = (WeightSegment){arena_str(r->g->arena, t), (u32)row, (u32)rows, (u32)step};
        covered += (u64)rows;
    } while (eat(r, ','));
    if (covered != w->rows)
        return fail(r, ERR_GRAPH_SHAPE, "the segments do not fill the weight", nm);
    if (!read_layer(r, &layer)) return false;
    int id = graph_weight(r->g, w, layer);
    if (nd == 2) r->g->tensors.at[id].nd = 2;
    return true;
}

static bool read_const(GraphReader *r, Str nm, TensorKind k) {
    Type type;
    int nd, layer;
    Dim dim[3];
    Str w = word(r);
    if (!type_named(w, &type) || type == TY_BOOL)
        return fail(r, ERR_GRAPH_SYNTAX, "no type is named", w);
    if (!read_shape(r, &nd, dim)) return false;
    u32 *data = NULL;
    if (k == TEN_CONST) {
        if (nd != 1 || dim[0].cn || dim[0].cm || dim[0].ct || dim[0].c < 1 || dim[0].c > (1 << 16))
            return fail(r, ERR_GRAPH_SHAPE, "a constant has one dimension of at most 65536",
                        (Str){0});
        data = arena_try(r->g->arena, (u64)dim[0].c, sizeof *data);
        if (data == NULL) return fail(r, ERR_OUT_OF_MEMORY, "no memory for a constant", (Str){0});
        if (!want(r, '=')) return false;
        for (i64 i = 0; i < dim[0].c; i++) {
            i64 v;
            if (!integer(r, 0, UINT32_MAX, &v)) return false;
            data[i] = (u32)v;
        }
    }
    if (!read_layer(r, &layer)) return false;
    int id = graph_tensor(r->g, k, type, nd, dim, arena_cstr(r->g->arena, nm), layer);
    Tensor *t = &r->g->tensors.at[id];
    t->data = data;
    if (k == TEN_RING) {
        if (type != TY_I32 || nd != 1 || !dim_eq(dim[0], dim_const(TOKEN_RING)))
            return fail(r, ERR_GRAPH_SHAPE, "the ring is i32[4096]", (Str){0});
        t->lo = 0;
        t->hi = r->g->vocab; // past the ids: logits that are not numbers
    }
    return true;
}

static bool read_attr(GraphReader *r, OpAttr *a) {
    if (!eat(r, '{')) return true;
    const struct {
        const char *name;
        i64 *to;
    } ints[] = {{"heads", &a->heads},     {"kv_heads", &a->kv_heads}, {"head_dim", &a->head_dim},
                {"rot_dim", &a->rot_dim}, {"parts", &a->parts},       {"bits", &a->bits},
                {"wide", &a->wide},       {"keys", &a->keys}};
    do {
        Str k = word(r);
        if (!want(r, '=')) return false;
        if (str_eq(k, S("eps"))) {
            Str v = word(r);
            if (!str_to_f64(v, &a->eps) || !(a->eps >= 0 && a->eps <= 1))
                return fail(r, ERR_GRAPH_SYNTAX, "expected a number from 0 to 1, not", v);
            continue;
        }
        size_t i = 0;
        while (i < COUNT_OF(ints) && !str_eq(k, str_c(ints[i].name))) i++;
        if (i == COUNT_OF(ints)) return fail(r, ERR_GRAPH_SYNTAX, "no attribute is named", k);
        if (!integer(r, 0, 1 << 20, ints[i].to)) return false;
    } while (eat(r, ','));
    return want(r, '}');
}

// [logits] [NAME =] op(NAME, ...) {attr=..} [: type[shape]] [@layer]
static bool read_node(GraphReader *r, Str result, bool logits, Str opname) {
    Graph *g = r->g;
    Node nd = {.out = -1};
    int op = 0;
    while (op < OP_COUNT && !str_eq(opname, str_c(op_name((OpId)op)))) op++;
    if (op == OP_COUNT) return fail(r, ERR_GRAPH_OP, "no operator is named", opname);
    nd.op = (OpId)op;
    if (!want(r, '(')) return false;
    do {
        Str in;
        i32 id;
        if (!name(r, &in)) return false;
        if (!strmap_get(r->names, in, &id)) return fail(r, ERR_GRAPH_NAME, "nothing is named", in);
        if (nd.nin == (int)COUNT_OF(nd.in))
            return fail(r, ERR_GRAPH_SYNTAX, "too many operands", (Str){0});
        nd.in[nd.nin++] = id;
    } while (eat(r, ','));
    if (!want(r, ')') || !read_attr(r, &nd.attr)) return false;
    Tensor t;
    if (!graph_infer(g, &nd, &t, r->err)) {
        err_line(r->err, r->line, r->col);
        return err_file(r->err, r->file);
    }
    if (eat(r, ':')) {
        Type type;
        int n;
        Dim dim[3];
        Str w = word(r);
        if (!type_named(w, &type)) return fail(r, ERR_GRAPH_SYNTAX, "no type is named", w);
        if (!read_shape(r, &n, dim)) return false;
        bool same = type == t.type && n == t.nd;
        for (int i = 0; same && i < n; i++) same = dim_eq(dim[i], t.dim[i]);
        if (!same) return fail(r, ERR_GRAPH_SHAPE, "the result has another shape:", result);
    }
    if ((t.nd > 0) != (result.len > 0))
        return fail(r, ERR_GRAPH_SYNTAX,
                    t.nd > 0 ? "the result needs a name" : "there is no result to name", result);
    if (!read_layer(r, &nd.layer)) return false;
    if (g->nodes.n >= GRAPH_MAX_NODES) return fail(r, ERR_GRAPH_LIMIT, "too many nodes", (Str){0});
    if (t.nd > 0 && !add_name(r, result, (int)g->tensors.n)) return false;
    int out = graph_node(g, nd.op, nd.nin, nd.in, &nd.attr, arena_cstr(g->arena, result), nd.layer);
    if (logits && out >= 0) g->tensors.at[out].kind = TEN_LOGITS;
    return true;
}

static bool read_line(GraphReader *r) {
    Str w;
    if (!name(r, &w)) return false;
    blanks(r);
    static const struct {
        const char *word;
        TensorKind kind;
    } decl[] = {
        {"weight", TEN_WEIGHT}, {"const", TEN_CONST}, {"cache", TEN_CACHE}, {"ring", TEN_RING}};
    if (peek(r) == '(') return read_node(r, (Str){0}, false, w);
    if (peek(r) == '=') {
        advance(r);
        Str op = word(r);
        return read_node(r, w, false, op);
    }
    Str nm;
    if (!name(r, &nm)) return false;
    if (str_eq(w, S("logits"))) {
        if (!want(r, '=')) return false;
        Str op = word(r);
        return read_node(r, nm, true, op);
    }
    for (size_t i = 0; i < COUNT_OF(decl); i++) {
        if (!str_eq(w, str_c(decl[i].word))) continue;
        if (!want(r, ':') || !add_name(r, nm, (int)r->g->tensors.n)) return false;
        return decl[i].kind == TEN_WEIGHT ? read_weight(r, nm) : read_const(r, nm, decl[i].kind);
    }
    return fail(r, ERR_GRAPH_SYNTAX,
                "a line begins with weight, const, cache, ring or a result, not", w);
}

static bool read_header(GraphReader *r) {
    const struct {
        const char *name;
        u32 *to;
        i64 lo, hi;
    } fields[] = {{"ctx", &r->g->ctx, 1, 1 << 20},
                  {"chunk", &r->g->chunk, 1, 4096},
                  {"m", &r->g->m_max, 1, 4096},
                  {"vocab", &r->g->vocab, 1, 1 << 24},
                  {"layers", &r->g->layers, 0, 1024}};
    Str w = word(r);
    if (!str_eq(w, S("graph")))
        return fail(r, ERR_GRAPH_SYNTAX, "a graph begins with `graph`, not", w);
    for (size_t i = 0; i < COUNT_OF(fields); i++) {
        i64 v;
        w = word(r);
        if (!str_eq(w, str_c(fields[i].name)))
            return fail(r, ERR_GRAPH_SYNTAX, "expected", str_c(fields[i].name));
        if (!want(r, '=') || !integer(r, fields[i].lo, fields[i].hi, &v)) return false;
        *fields[i].to = (u32)v;
    }
    blanks(r);
    return peek(r) == '\n' ||
           fail(r, ERR_GRAPH_SYNTAX, "something follows the end of the line", (Str){0});
}

Graph *graph_read(Arena *a, Str text, Str file, Err *err) {
    GraphReader r = {.g = graph_new(a),
                     .names = strmap_new(a, 256),
                     .text = text,
                     .file = file,
                     .line = 1,
                     .col = 1,
                     .err = err};
    bool header = false;
    while (r.pos < text.len) {
        blanks(&r);
        if (r.pos >= text.len) break;
        if (peek(&r) == '\n') {
            advance(&r);
            continue;
        }
        if (!header) {
            if (!read_header(&r)) return NULL;
            header = true;
        } else if (!read_line(&r)) {
            return NULL;
        }
    }
    if (!header) {
        fail(&r, ERR_GRAPH_SYNTAX, "an empty text is no graph", (Str){0});
        return NULL;
    }
    if (!graph_verify(r.g, err)) {
        err_file(err, file);
        return NULL;
    }
    return r.g;
}
