// pass/fuse.c: which consecutive nodes become one kernel.
//
// A fusion is a candidate: legal or not, then worth it or not by the profile's costs, for this
// regime's rows.
//   prologue  [take_rows] [rms_norm] matmul     the norm's sum of squares beside the dot product
//             [attention_join] matmul           the parts joined where the product reads them
//             rms_norm pack                     packed where it is normalised
//   epilogue  matmul [+ bias] [rope_append | silu_mul_pair | + residual]
// Legal: what vanishes has one reader, the next node; the kernel binds no more than the device
// allows. Nothing is ever fused across a cache: attention reads what append wrote, in a later step.
// requires: parts.
#include "pass/pass.h"

typedef struct Fuse {
    PassContext *c;
    const Graph *g;
    int *uses;
} Fuse;

static const Node *node(const Fuse *f, int i) { return &f->g->nodes.at[i]; }

// May node i + 1 join a group that ends in node i? Its only reader, and by which operand.
static bool feeds_next(const Fuse *f, int i, int *operand) {
    if (i + 1 >= (int)f->g->nodes.n || node(f, i)->out < 0) return false;
    const Node *next = node(f, i + 1);
    if (f->uses[node(f, i)->out] != 1 || f->g->tensors.at[node(f, i)->out].kind != TEN_VALUE)
        return false;
    for (int j = 0; j < next->nin; j++)
        if (next->in[j] == node(f, i)->out) {
            *operand = j;
            return true;
        }
    return false;
}

static bool in_group(const Fuse *f, const Group *g, int tensor) {
    int from = f->g->tensors.at[tensor].node;
    return from >= g->node[0] && from <= g->node[g->nnodes - 1];
}

// Distinct tensors that the kernel would bind, and the parameter block.
static int bindings(const Fuse *f, const Group *g) {
    int seen[COUNT_OF(((Group *)0)->node) * COUNT_OF(((Node *)0)->in)], n = 0; // all there can be
    for (int i = 0; i < g->nnodes; i++) {
        const Node *nd = node(f, g->node[i]);
        for (int j = 0; j < nd->nin; j++) {
            bool known = in_group(f, g, nd->in[j]);
            for (int k = 0; k < n; k++) known = known || seen[k] == nd->in[j];
            if (!known) seen[n++] = nd->in[j];
        }
    }
    if (node(f, g->node[g->nnodes - 1])->out >= 0) n++;
    return n + 1;
}

static bool fits(const Fuse *f, Group *g) {
    g->nnodes++;
    bool ok = bindings(f, g) <= f->c->profile->max_bindings;
    g->nnodes--;
    return ok;
}

// Worth it where repeating the sum of squares in every block of 64 result columns costs less than
// one more step and the normalised rows' way through memory. With few rows a device mostly waits
// for weights, so the repeated sums are nearly free; with many it is busy.
static bool norm_pays(const Fuse *f, i64 n, i64 k, i64 o) {
    const Profile *p = f->c->profile;
    if (!p->fuse_norm) return false;
    i64 idle = n <= 8 ? 16 : 1, lanes = p->wg_size * idle;
    i64 again = n * k * ceil_div(o, 64) / lanes + 2 * p->barrier_cost;
    i64 saved = p->step_cost + 2 * n * k / lanes;
    return again < saved;
}

// The same for packing what was normalised: a processor's thread has a whole row; a software
// adapter's has a block of it, and sums the row's squares again; threads that share a row cannot.
static bool pack_pays(const Fuse *f, i64 n, i64 k) {
    const Profile *p = f->c->profile;
    if (!p->gpu) return true;
    return profile_in_software(p) && n * k * (k / PACK_BLOCK) / 4 < p->step_cost;
}

// And for joining the parts of attention: each is read once more in every block. A lane of a
// subgroup joins the eight elements that it multiplies, of one head.
static bool join_pays(const Fuse *f, const Node *join, const Tensor *w) {
    const Profile *p = f->c->profile;
    if (!p->subgroup || profile_in_software(p) || join->attr.head_dim % 8) return false;
    i64 k = w->dim[1].c, blocks = ceil_div(w->dim[0].c, 64);
    return k * join->attr.parts * blocks / (p->wg_size * 16) < p->step_cost;
}

static i64 rows_of(const Fuse *f, int tensor) {
    i64 m = MIN2((i64)f->g->m_max, (i64)f->c->regime_n);
    return dim_value(f->g->tensors.at[tensor].dim[0], f->c->regime_n, m, f->g->ctx);
}

static bool takes_prologue(const Fuse *f, int i) {
    int operand;
    if (!feeds_next(f, i, &operand) || operand != 0) return false;
    const Node *nd = node(f, i), *next = node(f, i + 1);
    // One row: take_rows chooses nothing, and vanishes into whatever reads it.
    if (nd->op == OP_take_rows)
        return f->c->regime_n == 1 && (next->op == OP_rms_norm || next->op == OP_matmul);
    i64 rows = rows_of(f, nd->in[0]);
    if (next->op == OP_pack && nd->op == OP_rms_norm)
        return pack_pays(f, rows, f->g->tensors.at[nd->out].dim[1].c);
    if (next->op != OP_matmul) return false;
    const Tensor *w = &f->g->tensors.at[next->in[1]];
    if (nd->op == OP_attention_join) return join_pays(f, nd, w);
    return nd->op == OP_rms_norm && norm_pays(f, rows, w->dim[1].c, w->dim[0].c);
}

static bool takes_epilogue(const Fuse *f, int i) {
    int operand;
    const Profile *p = f->c->profile;
    if (!p->fuse_epilogue || !feeds_next(f, i, &operand)) return false;
    const Node *nd = node(f, i), *next = node(f, i + 1);
    bool product = nd->op == OP_matmul || nd->op == OP_add;
    if (!product) return false;
    switch (next->op) {
    case OP_add: {
        bool bias = f->g->tensors.at[next->in[1]].kind == TEN_WEIGHT;
        // The menu of build-time kernels holds the residual, not a bias: it is small and rare.
        if (bias) return operand == 0 && nd->op == OP_matmul && !p->dims;
        return nd->op == OP_matmul || !p->dims;
    }
    case OP_rope_append: return operand == 0 && !p->dims;
    case OP_silu_mul_pair: return nd->op == OP_matmul || !p->dims;
    default: return false;
    }
}

// The operand whose place the result may take: read element by element where the result is written,
// and by nobody later.
static int in_place(const Fuse *f, const Group *g) {
    const Node *last = node(f, g->node[g->nnodes - 1]);
    if (last->op != OP_add && last->op != OP_silu_mul) return -1;
    for (int j = 0; j < last->nin; j++) {
        int t = last->in[j];
        const Tensor *a = &f->g->tensors.at[t], *b = &f->g->tensors.at[last->out];
        if (a->kind != TEN_VALUE || in_group(f, g, t) || a->nd != 2 || b->kind != TEN_VALUE)
            continue;
        if (!dim_eq(a->dim[0], b->dim[0]) || !dim_eq(a->dim[1], b->dim[1])) continue;
        bool elsewhere = false;
        for (int i = g->node[0]; i < (int)f->g->nodes.n; i++) {
            const Node *nd = node(f, i);
            for (int k = 0; k < nd->nin; k++)
                if (nd->in[k] == t && (nd != last || k != j)) elsewhere = true;
        }
        if (!elsewhere) return t;
    }
    return -1;
}

static void name_group(Fuse *f, Group *g) {
    const Node *last = node(f, g->node[g->nnodes - 1]), *first = node(f, g->node[0]);
    g->layer = first->layer;
    for (int i = 0; i < g->nnodes; i++) // the weight that it multiplies says most
        if (node(f, g->node[i])->op == OP_matmul) {
            Str w = f->g->tensors.at[node(f, g->node[i])->in[1]].name;
            g->name = str_ends(w, S(".weight")) ? str_sub(w, 0, w.len - 7) : w;
            return;
        }
    if (last->out >= 0) {
        g->name = f->g->tensors.at[last->out].name;
    } else if (g->layer >= 0) {
        g->name = str_fmt(f->c->arena, "blk.%d.%s", g->layer, op_name(last->op));
    } else {
        g->name = str_c(op_name(last->op));
    }
}

bool pass_fuse(PassContext *c, const Graph *g, Grouping *out) {
    Fuse f = {.c = c, .g = g, .uses = NEW_N(c->arena, int, g->tensors.n + 1)};
    for (size_t i = 0; i < g->nodes.n; i++)
        for (int j = 0; j < g->nodes.at[i].nin; j++) f.uses[g->nodes.at[i].in[j]]++;
    *out = (Grouping){.group = NEW_N(c->arena, Group, g->nodes.n + 1)};
    for (int i = 0; i < (int)g->nodes.n;) {
        Group *gr = &out->group[out->n++];
        *gr = (Group){.nnodes = 1, .node = {i}, .inplace = -1};
        while (gr->nnodes < (int)COUNT_OF(gr->node)) {
            int last = gr->node[gr->nnodes - 1];
            if (!takes_prologue(&f, last) && !takes_epilogue(&f, last)) break;
            gr->node[gr->nnodes] = last + 1;
            if (!fits(&f, gr)) break;
            gr->nnodes++;
        }
        gr->inplace = in_place(&f, gr);
        name_group(&f, gr);
        i = gr->node[gr->nnodes - 1] + 1;
    }
    return true;
}
