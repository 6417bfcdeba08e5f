// model/model.c: the table of architectures, and what every one of them needs from a file.
//
// An architecture is one file that turns a file's keys and tensor names into a graph; adding one
// adds a row here.
#include "model/model_int.h"

static const ModelArch archs[] = {
    {"llama", llama_build},
};

// Every tensor of the file is read, or the model is another one than the graph computes.
static bool all_read(Arena *a, const Gguf *g, const Graph *graph, Err *err) {
    StrMap *known = strmap_new(a, graph->tensors.n);
    strmap_put(known, S("rope_freqs.weight"), 0);
    for (size_t i = 0; i < graph->tensors.n; i++)
        if (graph->tensors.at[i].kind == TEN_WEIGHT)
            strmap_put(known, graph->tensors.at[i].name, 0);
    for (size_t i = 0; i < gguf_tensor_count(g); i++) {
        i32 at;
        const FileTensor *t = gguf_tensor_at(g, i);
        if (strmap_get(known, t->name, &at)) continue;
        err_set(err, ERR_MODEL_UNSUPPORTED, "nothing computes with this tensor");
        err_at(err, t->off);
        return err_subject(err, t->name);
    }
    return true;
}

bool model_build(Arena *a, const Gguf *g, const ModelOptions *o, Graph **out, Err *err) {
    Str name = {0};
    if (!gguf_get_str(g, S("general.architecture"), &name, err)) return false;
    if (name.len == 0) {
        err_set(err, ERR_MODEL_KEY, "the key is missing");
        err_subject(err, S("general.architecture"));
        return err_file(err, gguf_source(g)->name);
    }
    for (size_t i = 0; i < COUNT_OF(archs); i++) {
        if (!str_eq(name, str_c(archs[i].name))) continue;
        if (archs[i].build(a, g, o, out, err) && graph_verify(*out, err) &&
            all_read(a, g, *out, err))
            return true;
        return err_file(err, gguf_source(g)->name);
    }
    Buf known = {.arena = a};
    for (size_t i = 0; i < COUNT_OF(archs); i++)
        buf_fmt(&known, "%s%s", i ? ", " : "", archs[i].name);
    err_set(err, ERR_MODEL_ARCH,
            "the architecture '%S' is not known; take a model of one that is; known: %S", name,
            buf_str(&known));
    err_subject(err, S("general.architecture"));
    return err_file(err, gguf_source(g)->name);
}

// The key's whole name; *there says whether the file has it. False: it is needed and missing.
static bool key_name(ModelFile *f, const char *key, bool needed, Str *k, bool *there) {
    *k = str_fmt(f->arena, "%S.%s", f->arch, key);
    *there = gguf_has(f->gguf, *k);
    if (*there || !needed) return true;
    err_set(f->err, ERR_MODEL_KEY, "the key is missing");
    return err_subject(f->err, *k);
}

bool model_key(ModelFile *f, const char *key, i64 lo, i64 hi, bool needed, i64 *v) {
    Str k;
    bool there;
    return key_name(f, key, needed, &k, &there) && gguf_get_int(f->gguf, k, lo, hi, v, f->err);
}

bool model_float(ModelFile *f, const char *key, double lo, double hi, bool needed, double *v) {
    Str k;
    bool there;
    if (!key_name(f, key, needed, &k, &there) || !gguf_get_f32(f->gguf, k, v, f->err)) return false;
    if (!there || (*v >= lo && *v <= hi)) return true;
    err_set(f->err, ERR_MODEL_KEY, "%g is out of the range %g to %g", *v, lo, hi);
    return err_subject(f->err, k);
}

bool model_neutral(ModelFile *f, const char *keys) {
    for (; *keys; keys += strlen(keys) + 1) {
        Str k;
        bool there;
        double v;
        i64 whole;
        Err no_int = {0};
        key_name(f, keys + 1, false, &k, &there);
        if (!there) continue;
        if (gguf_get_int(f->gguf, k, INT64_MIN, INT64_MAX, &whole, &no_int))
            v = (double)whole;
        else if (!gguf_get_f32(f->gguf, k, &v, f->err))
            return false;
        if ((v == 0 && *keys != '1') || (v == 1 && *keys != '0')) continue;
        err_set(f->err, ERR_MODEL_UNSUPPORTED, "%g is not known yet", v);
        return err_subject(f->err, k);
    }
    return true;
}

static int misfit(ModelFile *f, Str name) {
    err_subject(f->err, name);
    f->failed = true;
    return -1;
}

int model_weight(ModelFile *f, const char *name, u64 rows, u64 cols, bool needed, int layer) {
    const FileTensor *t = gguf_tensor(f->gguf, str_c(name));
    if (t == NULL) {
        if (needed) {
            err_set(f->err, ERR_MODEL_TENSOR, "the file has no such tensor, and %S needs it",
                    f->arch);
            misfit(f, str_c(name));
        }
        return -1;
    }
    bool vector = cols == 1;
    u64 d0 = vector ? rows : cols, d1 = vector ? 1 : rows;
    bool fits = t->nd >= 1 && t->dims[0] == d0 && (t->nd < 2 || t->dims[1] == d1) &&
                (d1 == 1 || t->nd >= 2);
    for (int i = 2; i < t->nd; i++) fits = fits && t->dims[i] == 1;
    if (!fits) {
        err_set(f->err, ERR_MODEL_SHAPE, "its shape is [%U, %U], the configuration says [%U, %U]",
                t->nd > 0 ? t->dims[0] : 0, t->nd > 1 ? t->dims[1] : 1, d0, d1);
        err_at(f->err, t->off);
        return misfit(f, t->name);
    }
    if (vector && filetype_info(t->type)->elems != 1) {
        err_set(f->err, ERR_MODEL_TYPE, "a vector must be F32, F16 or BF16, not %s",
                filetype_info(t->type)->name);
        err_at(f->err, t->off);
        return misfit(f, t->name);
    }
    Weight *w = NEW(f->arena, Weight);
    w->name = arena_str(f->arena, str_c(name));
    w->encoding =
        vector ? QUANT_F32 : filetype_info(t->type)->quant; // a vector widens: it is small
    w->rows = (u32)rows;
    w->cols = (u32)cols;
    w->interleave = 1;
    w->nseg = 1;
    w->seg[0] = (WeightSegment){.tensor = w->name, .row = 0, .rows = (u32)rows, .row_step = 1};
    if (cols % quant_info(w->encoding)->block != 0) {
        err_set(f->err, ERR_PASS_ENCODING, "rows of %U elements are not whole blocks of %s", cols,
                quant_info(w->encoding)->name);
        err_at(f->err, t->off);
        return misfit(f, t->name);
    }
    return graph_weight(f->graph, w, layer);
}
