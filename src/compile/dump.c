// compile/dump.c: every stage as text: `--dump PASS` for one stage of the whole model, `--walk
// TENSOR` for all stages of the one step that reads a tensor of the file.
#if !defined(HOB_PAGE)
#include "compile/compile_int.h"

bool dump_wanted(const Compile *c, const char *pass) {
    return c->o->dump != NULL && str_eq(c->o->dump_pass, str_c(pass));
}

void dump_graph(Compile *c, const char *pass, u32 n, const Graph *g) {
    if (!dump_wanted(c, pass)) return;
    buf_fmt(c->o->dump, "# %s, n <= %u\n", pass, n);
    graph_print(g, c->o->dump);
    buf_char(c->o->dump, '\n');
}

static void print_group(const Graph *g, const Group *gr, Buf *out) {
    name_print(gr->name, out);
    buf_char(out, ':');
    for (int k = 0; k < gr->nnodes; k++) buf_fmt(out, " %s", op_name(g->nodes.at[gr->node[k]].op));
    if (gr->inplace >= 0) {
        buf_add(out, S(", in place of "));
        name_print(g->tensors.at[gr->inplace].name, out);
    }
    buf_char(out, '\n');
}

void dump_groups(Compile *c, u32 n, const Graph *g, const Grouping *gr) {
    if (!dump_wanted(c, "fuse")) return;
    buf_fmt(c->o->dump, "# fuse, n <= %u: %d steps\n", n, gr->n);
    for (int i = 0; i < gr->n; i++) {
        buf_fmt(c->o->dump, "%d ", i);
        print_group(g, &gr->group[i], c->o->dump);
    }
    buf_char(c->o->dump, '\n');
}

void dump_plan(Compile *c, u32 n, const MemPlan *plan, int steps) {
    if (!dump_wanted(c, "plan")) return;
    Buf *b = c->o->dump;
    buf_fmt(b, "# plan, n <= %u: %d steps, %U bytes in %d colours, at least %U\n", n, steps,
            plan->arena_bytes, plan->ncolours, plan->lower_bound_bytes);
    for (int i = 0; i < plan->nitems; i++) {
        const PlanItem *it = &plan->items[i];
        buf_fmt(b, "colour %u @ %U + %U, steps %d..%d: ", it->colour, it->offset, it->size,
                it->first, it->last);
        name_print(it->name, b);
        buf_char(b, '\n');
    }
    buf_char(b, '\n');
}

static void kernel_text(Compile *c, const ProgKernel *k, const Dialect *d, Buf *out) {
    Err err = {0};
    Buf text = {.arena = c->arena};
    if (emit_kernel(d, k->ir, c->p, &text, &err)) {
        buf_add(out, buf_str(&text));
    } else { // not every kernel can be written in every language: subgroup sums are no C
        buf_fmt(out, "(not in %s: %s)\n", dialect_name(d), err.msg);
    }
}

// Arguments with their views; where one holds indices, the range that its producer keeps. Then
// symbols and dimensions.
static void print_args(const Formula *f, Buf *b) {
    for (int i = 0; i < f->nargs; i++) {
        const Buffer *a = f->arg[i];
        bool ranged = a->type == TY_I32 && (a->lo > INT32_MIN || a->hi < INT32_MAX);
        buf_fmt(b, "  %s %s: %s[", a->written ? "writes" : "reads", a->name, type_name(a->type));
        for (int d = 0; d < a->nd; d++) {
            if (d > 0) buf_add(b, S(", "));
            expr_print(a->dims[d], b);
        }
        buf_char(b, ']');
        if (ranged) buf_fmt(b, " in %D..%D", a->lo, a->hi);
        buf_char(b, '\n');
    }
    for (int i = 0; i < f->nsyms; i++)
        buf_fmt(b, "  %s = params[%d] in %D..%D\n", f->sym[i].var->name, f->sym[i].word,
                f->sym[i].var->lo, f->sym[i].var->hi);
    for (int i = 0; i < f->ndims; i++)
        buf_fmt(b, "  %s = dims[%d] in %D..%D, a multiple of %D\n", f->dim[i]->name, i,
                f->dim[i]->lo, f->dim[i]->hi, f->dim[i]->divisor);
}

void dump_kernel(Compile *c, const Lowered *l, const ProgKernel *k) {
    Buf *b = c->o->dump;
    const char *const stages[] = {"formula", "naive", "schedule", "nest", "loop", "c", "wgsl"};
    size_t s = 0;
    while (s < COUNT_OF(stages) && !dump_wanted(c, stages[s])) s++;
    if (s == COUNT_OF(stages)) return;
    buf_fmt(b, "kernel %S:\n", k->name);
    switch (s) {
    case 0:
        print_args(l->nest->f, b);
        formula_print(l->nest->f, b);
        break;
    case 1: nest_print(nest_new(c->arena, l->nest->f, c->p), b); break;
    case 2: buf_add(b, k->schedule); break;
    case 3: nest_print(l->nest, b); break;
    case 4: kernel_print(k->ir, b); break;
    case 5: kernel_text(c, k, &dialect_c, b); break;
    default: kernel_text(c, k, &dialect_wgsl, b); break;
    }
    buf_char(b, '\n');
}

static const Weight *walked(const Compile *c, const Graph *g, const Group *gr) {
    for (int i = 0; i < gr->nnodes; i++) {
        const Node *nd = &g->nodes.at[gr->node[i]];
        for (int j = 0; j < nd->nin; j++) {
            const Weight *w = g->tensors.at[nd->in[j]].weight;
            if (w == NULL) continue;
            for (int s = 0; s < w->nseg; s++) {
                Str t = w->seg[s].tensor, want = c->o->walk_tensor;
                if (str_eq(t, want)) return w;
                if (str_starts(t, want) && str_eq(str_sub(t, want.len, t.len), S(".weight")))
                    return w;
            }
        }
    }
    return NULL;
}

bool walk_wanted(const Compile *c, const Graph *g, const Group *gr) {
    return c->o->dump != NULL && c->o->walk_tensor.len > 0 && walked(c, g, gr) != NULL;
}

static void head(Buf *b, const char *title) { buf_fmt(b, "\n---- %s\n", title); }

bool walk_print(Compile *c, const Graph *g, const Group *gr, const Step *s, int step) {
    Buf *b = c->o->dump;
    const Weight *w = walked(c, g, gr);
    const ProgKernel *k = &c->kernels.at[s->kernel];
    Exprs *x = exprs_new(c->arena);
    u32 n = g->nodes.n ? c->prog->regimes[REGIME_ROW].n : 1;
    for (int r = 0; r < REGIME_COUNT; r++)
        if (s >= c->prog->regimes[r].steps &&
            s < c->prog->regimes[r].steps + c->prog->regimes[r].nsteps)
            n = c->prog->regimes[r].n;
    Lowered l;
    if (!lower_group(c->arena, x, g, gr, c->p, n, &l, c->err)) return false;
    buf_fmt(b, "==== %S, n <= %u\n", c->o->walk_tensor, n);
    head(b, "weight: tensors of the file -> one record {encoding, layout, segments}");
    buf_fmt(b, "%S: %s[%u, %u], rows woven by %u, %U bytes\n", w->name,
            quant_info(w->encoding)->name, w->rows, w->cols, w->interleave, w->size);
    for (int i = 0; i < w->nseg; i++)
        buf_fmt(b, "  rows %u + %u * i, i < %u: %S\n", w->seg[i].row, w->seg[i].row_step,
                w->seg[i].rows, w->seg[i].tensor);
    head(b, "graph: the nodes of this step");
    for (int i = 0; i < gr->nnodes; i++) {
        const Node *nd = &g->nodes.at[gr->node[i]];
        if (nd->out >= 0) {
            name_print(g->tensors.at[nd->out].name, b);
            buf_add(b, S(" = "));
        }
        buf_fmt(b, "%s(", op_name(nd->op));
        for (int j = 0; j < nd->nin; j++) {
            if (j > 0) buf_add(b, S(", "));
            name_print(g->tensors.at[nd->in[j]].name, b);
        }
        buf_fmt(b, ")   # %s\n", op_doc(nd->op));
    }
    head(b, "group: fused into one step");
    print_group(g, gr, b);
    head(b, "formula");
    print_args(l.nest->f, b);
    formula_print(l.nest->f, b);
    head(b, "plan: what it binds");
    for (int i = 0; i < k->nbind; i++) {
        const Binding *d = &s->bind[i];
        bool weight = d->buffer >= c->buffers.n; // not placed yet
        buf_fmt(b, "%d %s: %S @ %U + %U%s\n", i, k->ir->arg[i]->name,
                weight ? S("weights") : c->buffers.at[d->buffer].name, d->offset, d->size,
                k->writes[i] ? ", written" : "");
    }
    head(b, "naive nest");
    nest_print(l.nest, b);
    head(b, "schedule");
    buf_add(b, k->schedule);
    head(b, "scheduled nest");
    if (!schedule_apply(l.nest, k->schedule, k->name, c->err)) return false;
    nest_print(l.nest, b);
    head(b, "loop IR");
    kernel_print(k->ir, b);
    head(b, "wgsl");
    kernel_text(c, k, &dialect_wgsl, b);
    head(b, "c");
    kernel_text(c, k, &dialect_c, b);
    head(b, "step");
    buf_fmt(b, "%d %S: kernel %S, workgroup %u x %u x %u, %U bytes, %U flops\n\n", step, s->name,
            k->name, k->wg[0], k->wg[1], k->wg[2], s->bytes, s->flops);
    return true;
}

#else
typedef int compile_dump_is_not_for_pages; // a translation unit must hold a declaration
#endif
