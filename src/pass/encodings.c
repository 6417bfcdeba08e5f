// pass/encodings.c: how each weight lies in device memory, from the profile: execution encoding and
// weave.
//
// A file's blocks keep their bits: the execution encoding follows from the file's type (quant/),
// and only the layout is chosen here. Rows are woven by the device's lanes, so that lanes which
// each own a row load adjacent words; on a CPU by several vectors, for one stream in order is what
// its prefetchers follow (four streams of a few kB each cost a third of the speed). A vector (cols
// 1) is dense by nature. Weights are shared by
// all regimes, so nothing here may depend on one.
#include "pass/pass.h"

bool pass_encodings(PassContext *c, Graph *g) {
    for (size_t i = 0; i < g->tensors.n; i++) {
        const Tensor *t = &g->tensors.at[i];
        if (t->kind != TEN_WEIGHT) continue;
        Weight *w = t->weight;
        w->interleave = t->nd == 1 ? 1 : (u32)(c->profile->vec * c->profile->weave);
        if (w->cols % quant_info(w->encoding)->block != 0) {
            err_set(c->err, ERR_PASS_ENCODING, "rows of %u elements are not whole blocks of %s",
                    w->cols, quant_info(w->encoding)->name);
            return err_subject(c->err, t->name);
        }
        if (!quant_bytes(w->encoding, w->rows, w->cols, w->interleave, &w->size) ||
            w->size / 4 > INT32_MAX) {
            err_set(c->err, ERR_PASS_BINDING, "%u x %u is more than 2^31 words", w->rows, w->cols);
            return err_subject(c->err, t->name);
        }
        u64 most = (u64)MIN2(c->profile->max_binding_bytes, c->profile->max_buffer_bytes);
        if (w->size > most) {
            err_set(c->err, ERR_PASS_BINDING,
                    "%U bytes; this device binds at most %U at once: use another device or a "
                    "smaller model",
                    w->size, most);
            return err_subject(c->err, t->name);
        }
    }
    return true;
}
