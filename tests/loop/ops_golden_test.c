// Every operator of ops.def against what NumPy says (tests/golden/ops, by tools/make_op_golden.py):
// a graph of one node is lowered for unlike profiles, interpreted as the naive nest and as its rule
// schedules it, with all checks on.
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include "loop/lower.h"
#include "yyjson.h"

static const char *const profile_names[] = {"cpu", "cpu4", "software", "gpu"};

typedef struct Op {
    Arena *a;
    const char *name;
    int nth;       // of its file
    yyjson_val *c; // the case
    Graph *g;
    const Node *node;
    const Profile *p;
    void *data[8]; // operands as a device holds them
    u64 elems[8];
    i32 *params;
    u64 param_words;
    const Formula *f; // for the environment
    const i32 *dims;
} Op;

static i64 integer(yyjson_val *obj, const char *key) {
    return yyjson_get_sint(yyjson_obj_get(obj, key));
}

static OpId op_of(const char *name) {
    for (int i = 0; i < OP_COUNT; i++)
        if (!strcmp(op_name((OpId)i), name)) return (OpId)i;
    fail_msg("%s is no operator", name);
    return OP_COUNT;
}

static Type type_of(yyjson_val *t) {
    const char *s = yyjson_get_str(yyjson_obj_get(t, "type"));
    return !strcmp(s, "f32") ? TY_F32 : !strcmp(s, "u32") ? TY_U32 : TY_I32;
}

static u32 bits_of(Type t, yyjson_val *v) {
    return t == TY_F32 ? f32_bits((float)yyjson_get_num(v)) : (u32)yyjson_get_sint(v);
}

// Values of a data field as words; floats by their bits.
static u32 *words_of(Arena *a, yyjson_val *d, Type t, u64 *n) {
    size_t i, most;
    yyjson_val *v;
    if (yyjson_is_obj(d)) {
        u32 *w = NEW_N(a, u32, *n = (u64)integer(d, "size"));
        yyjson_arr_foreach(yyjson_obj_get(d, "at"), i, most, v)
            w[yyjson_get_sint(yyjson_arr_get(v, 0))] = bits_of(t, yyjson_arr_get(v, 1));
        return w;
    }
    u32 *w = NEW_N(a, u32, yyjson_arr_size(d) + 1);
    *n = yyjson_arr_size(d);
    yyjson_arr_foreach(d, i, most, v) w[i] = bits_of(t, v);
    return w;
}

// A matrix of f32 as a weight: rows woven, padded with zeros.
static u32 *woven(Arena *a, const u32 *w, u64 rows, u64 k, u64 weave, u64 *n) {
    u64 padded = round_up(rows, weave);
    u32 *o = NEW_N(a, u32, *n = padded * k);
    for (u64 r = 0; r < rows; r++)
        for (u64 j = 0; j < k; j++) o[(r / weave * k + j) * weave + r % weave] = w[r * k + j];
    return o;
}

static int operand(Op *o, yyjson_val *t, int at) {
    const char *kind = yyjson_get_str(yyjson_obj_get(t, "kind"));
    yyjson_val *dims = yyjson_obj_get(t, "dims"), *v;
    Dim dim[3];
    size_t i, nd, k;
    Type type = type_of(t);
    yyjson_arr_foreach(dims, i, nd, v) dim[i] = !yyjson_is_str(v) ? dim_const(yyjson_get_sint(v))
                                                : *yyjson_get_str(v) == 'n' ? DIM_N
                                                                            : DIM_M;
    u32 *w = words_of(o->a, yyjson_obj_get(t, "data"), type, &o->elems[at]);
    o->data[at] = w;
    const char *name = arena_cstr(o->a, str_fmt(o->a, "in%d", at));
    if (!strcmp(kind, "weight")) {
        u64 rows = nd == 2 ? (u64)dim[0].c : 1, cols = (u64)dim[nd - 1].c;
        Weight *wt = NEW(o->a, Weight);
        *wt = (Weight){.name = str_c(name),
                       .encoding = QUANT_F32,
                       .rows = (u32)rows,
                       .cols = (u32)cols,
                       .interleave = nd == 2 ? (u32)o->p->vec : 1,
                       .nseg = 1};
        wt->seg[0] = (WeightSegment){.tensor = str_c(name), .rows = (u32)rows, .row_step = 1};
        if (nd == 2) {
            o->data[at] = woven(o->a, w, rows, cols, wt->interleave, &o->elems[at]);
            return graph_weight(o->g, wt, -1);
        }
        int id = graph_tensor(o->g, TEN_WEIGHT, TY_F32, 1, dim, name, -1);
        o->g->tensors.at[id].weight = wt;
        return id;
    }
    static const struct {
        const char *name;
        TensorKind kind;
    } kinds[] = {
        {"value", TEN_VALUE}, {"const", TEN_CONST}, {"cache", TEN_CACHE}, {"ring", TEN_RING}};
    for (k = 0; strcmp(kinds[k].name, kind); k++) must(k + 1 < COUNT_OF(kinds));
    int id = graph_tensor(o->g, kinds[k].kind, type, (int)nd, dim, name, -1);
    o->g->tensors.at[id].data = w;
    if (type != TY_F32 && kinds[k].kind != TEN_CONST) { // as its producer would promise
        i64 hi = 0;
        for (u64 e = 0; e < o->elems[at]; e++) hi = MAX2(hi, (i64)w[e]);
        o->g->tensors.at[id].lo = 0,
        o->g->tensors.at[id].hi = kinds[k].kind == TEN_RING ? (i64)o->g->vocab - 1 : hi;
    }
    return id;
}

static void build(Op *o) {
    yyjson_val *gr = yyjson_obj_get(o->c, "graph"), *at = yyjson_obj_get(o->c, "attr"),
               *ins = yyjson_obj_get(o->c, "in"), *v;
    size_t i, most;
    int in[6] = {0};
    o->g = graph_new(o->a);
    o->g->ctx = (u32)integer(gr, "ctx"), o->g->chunk = (u32)integer(gr, "chunk"),
    o->g->m_max = (u32)integer(gr, "m_max"), o->g->vocab = (u32)integer(gr, "vocab");
    yyjson_arr_foreach(ins, i, most, v) in[i] = operand(o, v, (int)i);
    OpAttr a = {.eps = yyjson_get_num(yyjson_obj_get(at, "eps")),
                .bits = integer(at, "bits"),
                .wide = integer(at, "wide"),
                .heads = integer(at, "heads"),
                .kv_heads = integer(at, "kv_heads"),
                .head_dim = integer(at, "head_dim"),
                .rot_dim = integer(at, "rot_dim"),
                .parts = integer(at, "parts"),
                .keys = integer(at, "keys")};
    graph_node(o->g, op_of(o->name), (int)yyjson_arr_size(ins), in, &a, "y", -1);
    o->node = &o->g->nodes.at[o->g->nodes.n - 1];
    o->param_words = PARAM_ROWS + ROW_WORDS * 8;
    o->params = NEW_N(o->a, i32, o->param_words);
    o->params[PARAM_N] = (i32)integer(o->c, "n"), o->params[PARAM_M] = (i32)integer(o->c, "m");
    yyjson_arr_foreach(yyjson_obj_get(o->c, "params"), i, most, v)
        o->params[yyjson_get_sint(yyjson_arr_get(v, 0))] =
        (i32)yyjson_get_sint(yyjson_arr_get(v, 1));
}

static bool env_var(void *user, const Var *v, Value *out) {
    const Op *o = user;
    for (int i = 0; i < o->f->nsyms; i++)
        if (o->f->sym[i].var == v)
            return *out = (Value){.type = TY_I32, .i = o->params[o->f->sym[i].word]}, true;
    for (int i = 0; i < o->f->ndims; i++)
        if (o->f->dim[i] == v) return *out = (Value){.type = TY_I32, .i = o->dims[i]}, true;
    return false;
}
static i64 number(const Op *o, const Expr *e) {
    Env env = {.var = env_var, .user = (void *)o};
    Value v;
    if (!e) return 1;
    must(expr_eval(e, &env, &v));
    return v.i;
}

static void failed(const Op *o, const char *how, const char *stage, const Err *e) {
    char room[800];
    Buf b = {.ptr = room, .cap = sizeof room, .limit = sizeof room};
    err_print(e, &b);
    fail_msg("%s %d on %s, %s: %s: %.*s", o->name, o->nth, o->p->name.ptr, how, stage, (int)b.len,
             b.ptr);
}

static void compare(const Op *o, const char *how, const u32 *got, yyjson_val *data, Type type) {
    u64 n;
    double tolerance = yyjson_get_num(yyjson_obj_get(o->c, "tolerance"));
    u32 *want = words_of(o->a, data, type, &n);
    if (o->node->op == OP_pack && o->node->attr.bits == 4 && o->p->gpu && !o->p->dot4) {
        // multiplied two at a time: the halves of a word of bytes change places
        u64 k = (u64)o->g->tensors.at[o->node->in[0]].dim[1].c, wide = (u64)o->node->attr.wide;
        u64 bytes = k / 4 * (1 + wide), row = bytes + k / 16;
        for (u64 i = 0; i < n; i++)
            if (i % row < bytes) want[i] = want[i] << 16 | want[i] >> 16;
    }
    for (u64 i = 0; i < n; i++) {
        double w = type == TY_F32 ? bits_f32(want[i]) : (double)want[i],
               h = type == TY_F32 ? bits_f32(got[i]) : (double)got[i];
        double off = tolerance * fmax(1, fabs(w));
        if (tolerance > 0 && type != TY_F32) off += 1; // NumPy rounds down too
        if (got[i] == want[i] || fabs(h - w) <= off) continue;
        fail_msg("%s %d on %s, %s: element %d is %.9g, NumPy says %.9g", o->name, o->nth,
                 o->p->name.ptr, how, (int)i, h, w);
    }
}

static void run(Op *o, const Lowered *l, Nest *nest, const char *how) {
    Err e = {0};
    Kernel *k;
    if (!nest_build(o->a, nest, &k, &e)) failed(o, how, "build", &e);
    InterpArg arg[8];
    o->f = l->formula, o->dims = l->dims;
    for (int i = 0; i < l->nargs; i++) {
        u64 n = 1;
        for (int d = 0; d < k->arg[i]->nd; d++) n *= (u64)number(o, k->arg[i]->dims[d]);
        arg[i] = (InterpArg){NULL, n};
        if (l->arg[i].kind == ARG_PARAMS) {
            assert_true(n <= o->param_words);
            arg[i].data = o->params;
            continue;
        }
        u32 *w = NEW_N(o->a, u32, n + 1);
        memset(w, 0xff, n * 4);
        for (int j = 0; j < o->node->nin; j++)
            if (o->node->in[j] == l->arg[i].tensor) {
                bool more = o->g->tensors.at[l->arg[i].tensor].kind == TEN_CONST && o->elems[j] > n;
                if (o->elems[j] != n && !more) // a constant serves every m
                    fail_msg("%s %d on %s, %s: operand %d holds %d words, the kernel says %d",
                             o->name, o->nth, o->p->name.ptr, how, j, (int)o->elems[j], (int)n);
                memcpy(w, o->data[j], n * 4);
            }
        arg[i].data = w;
    }
    u32 grid[3];
    for (int i = 0; i < 3; i++) grid[i] = (u32)number(o, k->grid[i]);
    InterpOptions options = {.check = true};
    if (!kernel_interp(o->a, k, arg, l->dims, grid, &options, &e)) failed(o, how, "interpret", &e);
    size_t i, most;
    yyjson_val *v;
    yyjson_arr_foreach(yyjson_obj_get(o->c, "want"), i, most, v) {
        i64 which = yyjson_get_sint(yyjson_arr_get(v, 0));
        int tensor = which < 0 ? o->node->out : o->node->in[which], at = 0;
        while (at < l->nargs && !(l->arg[at].kind == ARG_TENSOR && l->arg[at].tensor == tensor))
            at++;
        assert_true(at < l->nargs);
        compare(o, how, arg[at].data, yyjson_arr_get(v, 1), o->g->tensors.at[tensor].type);
    }
}

static void run_case(const char *name, int nth, yyjson_val *c, const Profile *p) {
    Op o = {.a = arena_new(NULL), .name = name, .nth = nth, .c = c, .p = p};
    build(&o);
    Group gr = {.nnodes = 1, .name = str_c(name), .layer = -1, .inplace = -1};
    gr.node[0] = (int)o.g->nodes.n - 1;
    Err e = {0};
    for (int scheduled = 0; scheduled < 2; scheduled++) {
        Lowered l;
        Profile q = *p;
        if (!scheduled)
            q.dims = 0; // a naive nest keeps its stages whole: their sizes must be known
        if (!lower_group(o.a, exprs_new(o.a), o.g, &gr, &q, (u32)integer(c, "regime"), &l, &e))
            failed(&o, "", "lower", &e);
        if (scheduled && !rule_apply(l.nest, &e)) failed(&o, "scheduled", "rule", &e);
        run(&o, &l, l.nest, scheduled ? "scheduled" : "naive");
    }
    arena_free(o.a);
}

static void golden(const char *name) {
    char path[200];
    snprintf(path, sizeof path, "tests/golden/ops/%s.json", name);
    yyjson_doc *doc = yyjson_read_file(path, 0, NULL, NULL);
    if (!doc) fail_msg("%s is not to be read", path);
    yyjson_val *cases = yyjson_obj_get(yyjson_doc_get_root(doc), "cases"), *c;
    assert_true(yyjson_arr_size(cases) > 0);
    size_t i, most;
    for (size_t k = 0; k < COUNT_OF(profile_names); k++) {
        Profile p;
        assert_true(profile_named(str_c(profile_names[k]), &p));
        yyjson_arr_foreach(cases, i, most, c) run_case(name, (int)i, c, &p);
    }
    yyjson_doc_free(doc);
}

#define OP(name, nin, doc)                                                                         \
    static void name##_equals_numpy(void **s) { (void)s, golden(#name); }
#include "graph/ops.def"
#undef OP

int main(void) {
    const struct CMUnitTest all[] = {
#define OP(name, nin, doc) cmocka_unit_test(name##_equals_numpy),
#include "graph/ops.def"
#undef OP
    };
    struct CMUnitTest tests[COUNT_OF(all)];
    int n = 0;
    for (size_t i = 0; i < COUNT_OF(all);
         i++) // the passes put these two apart before anything is lowered
        if (strcmp(all[i].name, "argmax_equals_numpy") &&
            strcmp(all[i].name, "sample_equals_numpy"))
            tests[n++] = all[i];
    return _cmocka_run_group_tests("operators", tests, (size_t)n, NULL, NULL);
}
