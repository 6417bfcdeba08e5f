// pass/plan_memory.c: lifetimes of activations over the steps -> ranges in a few coloured buffers.
//
// WebGPU refuses a dispatch that binds one buffer both read and read_write, even on disjoint
// ranges. So activations live in coloured buffers, and no step reads one range and writes another
// of the same colour. A result that takes its operand's place (Group.inplace) is one item with it.
// Offsets are aligned as the device's bindings want; sizes are those of the regime's largest n, so
// that n never appears in an offset.
//
// Placement is greedy, item after item into the colour and gap that grow the arena least. One order
// is rarely the best, so several are tried: by size, by lifetime, by start, then a fixed number of
// shuffles of these; the smallest arena wins. The lower bound is the largest sum of live bytes over
// the steps, colours ignored.
#include "pass/pass.h"

enum { MAX_COLOURS = 8, TRIES = 48 };

typedef struct Item {
    Str name;
    u64 size; // aligned
    u64 bytes;
    int first, last;
    int nclash; // items that may not share its colour
    int *clash;
    int colour;
    u64 offset;
} Item;

typedef struct Plan {
    PassContext *c;
    const Graph *g;
    const Grouping *gr;
    Item *item;
    int n;
    int *item_of; // by tensor
    u64 bound;
} Plan;

static u64 tensor_bytes(const Plan *p, const Tensor *t) {
    u64 bytes = 4;
    i64 m = MIN2((i64)p->g->m_max, (i64)p->c->regime_n);
    for (int i = 0; i < t->nd; i++)
        if (!mul_u64(bytes, (u64)dim_value(t->dim[i], p->c->regime_n, m, p->g->ctx), &bytes))
            return 0;
    return bytes;
}

static int group_out(const Plan *p, int step) {
    const Group *g = &p->gr->group[step];
    return p->g->nodes.at[g->node[g->nnodes - 1]].out;
}

static bool is_item(const Plan *p, int tensor) {
    return tensor >= 0 && p->g->tensors.at[tensor].kind == TEN_VALUE;
}

static bool inside(const Plan *p, const Group *g, int tensor) {
    int from = p->g->tensors.at[tensor].node;
    return from >= g->node[0] && from <= g->node[g->nnodes - 1];
}

static bool collect(Plan *p) {
    u64 align = (u64)p->c->profile->offset_align;
    for (size_t i = 0; i < p->g->tensors.n; i++) p->item_of[i] = -1;
    for (int s = 0; s < p->gr->n; s++) {
        const Group *g = &p->gr->group[s];
        for (int i = 0; i < g->nnodes; i++) {
            const Node *nd = &p->g->nodes.at[g->node[i]];
            for (int j = 0; j < nd->nin; j++) {
                int t = nd->in[j];
                if (!is_item(p, t) || inside(p, g, t)) continue;
                must(p->item_of[t] >= 0); // made by an earlier step
                p->item[p->item_of[t]].last = s;
            }
        }
        int out = group_out(p, s);
        if (!is_item(p, out)) continue;
        if (g->inplace >= 0) {
            p->item_of[out] = p->item_of[g->inplace];
            p->item[p->item_of[out]].last = s;
            continue;
        }
        const Tensor *t = &p->g->tensors.at[out];
        u64 bytes = tensor_bytes(p, t);
        if (bytes == 0 || bytes > (u64)p->c->profile->max_binding_bytes) {
            err_set(p->c->err, ERR_PASS_BINDING,
                    "%U bytes at %u rows; this device binds at most %D: use a smaller chunk", bytes,
                    p->c->regime_n, p->c->profile->max_binding_bytes);
            return err_subject(p->c->err, t->name);
        }
        p->item_of[out] = p->n;
        p->item[p->n++] = (Item){
            .name = t->name, .size = round_up(bytes, align), .bytes = bytes, .first = s, .last = s};
    }
    return true;
}

// Items that a step reads may not have the colour of another that it writes.
static void find_clashes(Plan *p) {
    int *reads = NEW_N(p->c->arena, int, 64);
    for (int pass = 0; pass < 2; pass++) {
        for (int s = 0; s < p->gr->n; s++) {
            const Group *g = &p->gr->group[s];
            int n = 0, out = group_out(p, s);
            if (!is_item(p, out)) continue;
            int w = p->item_of[out];
            for (int i = 0; i < g->nnodes; i++) {
                const Node *nd = &p->g->nodes.at[g->node[i]];
                for (int j = 0; j < nd->nin; j++) {
                    int t = nd->in[j];
                    if (is_item(p, t) && !inside(p, g, t) && p->item_of[t] != w && n < 64)
                        reads[n++] = p->item_of[t];
                }
            }
            for (int i = 0; i < n; i++) {
                Item *a = &p->item[reads[i]], *b = &p->item[w];
                if (pass == 1) {
                    a->clash[a->nclash] = w;
                    b->clash[b->nclash] = reads[i];
                }
                a->nclash++;
                b->nclash++;
            }
        }
        for (int i = 0; i < p->n && pass == 0; i++) {
            p->item[i].clash = NEW_N(p->c->arena, int, p->item[i].nclash + 1);
            p->item[i].nclash = 0;
        }
    }
}

static void lower_bound(Plan *p) {
    u64 *live = NEW_N(p->c->arena, u64, p->gr->n + 1);
    for (int i = 0; i < p->n; i++)
        for (int s = p->item[i].first; s <= p->item[i].last; s++) live[s] += p->item[i].size;
    for (int s = 0; s < p->gr->n; s++) p->bound = MAX2(p->bound, live[s]);
}

// ---- placement ----------------------------------------------------------------------------------
typedef struct Attempt {
    int placed[MAX_COLOURS]; // how many items each colour has
    int *list[MAX_COLOURS];  // by offset
    u64 end[MAX_COLOURS];
    int used;
} Attempt;

static bool overlaps(const Item *a, const Item *b) {
    return a->first <= b->last && b->first <= a->last;
}

// The lowest gap among the items of this colour that live at the same time.
static u64 find_gap(const Plan *p, const Attempt *at, int colour, const Item *it) {
    u64 offset = 0, best = UINT64_MAX, best_room = UINT64_MAX;
    for (int i = 0; i < at->placed[colour]; i++) {
        const Item *o = &p->item[at->list[colour][i]];
        if (!overlaps(it, o)) continue;
        if (o->offset >= offset && o->offset - offset >= it->size &&
            o->offset - offset < best_room) {
            best = offset;
            best_room = o->offset - offset;
        }
        offset = MAX2(offset, o->offset + o->size);
    }
    return best != UINT64_MAX ? best : offset;
}

static u64 place_all(Plan *p, Attempt *at, const int *order, int colours, bool high) {
    memset(at->placed, 0, sizeof at->placed);
    memset(at->end, 0, sizeof at->end);
    for (int i = 0; i < p->n; i++) p->item[i].colour = -1;
    u64 total = 0;
    for (int k = 0; k < p->n; k++) {
        Item *it = &p->item[order[k]];
        bool barred[MAX_COLOURS] = {false};
        for (int i = 0; i < it->nclash; i++)
            if (p->item[it->clash[i]].colour >= 0) barred[p->item[it->clash[i]].colour] = true;
        int best = -1;
        u64 best_offset = 0, best_growth = UINT64_MAX;
        for (int j = 0; j < colours; j++) {
            int colour = high ? colours - 1 - j : j;
            if (barred[colour]) continue;
            u64 offset = find_gap(p, at, colour, it), end = offset + it->size;
            u64 growth = end > at->end[colour] ? end - at->end[colour] : 0;
            if (growth >= best_growth) continue;
            best = colour;
            best_growth = growth;
            best_offset = offset;
        }
        if (best < 0) return UINT64_MAX;
        it->colour = best;
        it->offset = best_offset;
        at->end[best] = MAX2(at->end[best], best_offset + it->size);
        total += best_growth;
        int *list = at->list[best], i = at->placed[best]++;
        for (; i > 0 && p->item[list[i - 1]].offset > it->offset; i--) list[i] = list[i - 1];
        list[i] = order[k];
    }
    return total;
}

static u64 weight_of(const Item *it, int rule) {
    u64 len = (u64)(it->last - it->first + 1);
    switch (rule) {
    case 0: return it->size;
    case 1: return len;
    case 2: return it->size * len;
    default: return 0; // by start
    }
}

static void make_order(const Plan *p, int *order, int rule, u32 shuffle) {
    for (int i = 0; i < p->n; i++) {
        int j = i;
        for (; j > 0 && weight_of(&p->item[order[j - 1]], rule) < weight_of(&p->item[i], rule); j--)
            order[j] = order[j - 1];
        order[j] = i; // equal weights keep their order of start
    }
    for (int i = 0; shuffle != 0 && i + 1 < p->n; i++) {
        shuffle = shuffle * 1664525u + 1013904223u;
        if (shuffle >> 30 != 0) continue; // a quarter of the neighbours swap
        int t = order[i];
        order[i] = order[i + 1];
        order[i + 1] = t;
    }
}

static bool search(Plan *p, MemPlan *out) {
    Attempt at = {0};
    int *order = NEW_N(p->c->arena, int, p->n + 1);
    u64 best = UINT64_MAX;
    Item *kept = NEW_N(p->c->arena, Item, p->n + 1);
    u64 ends[MAX_COLOURS] = {0};
    for (int i = 0; i < MAX_COLOURS; i++) at.list[i] = NEW_N(p->c->arena, int, p->n + 1);
    for (int try = 0; try < TRIES && best > p->bound; try++) {
        if (try >= 8 && best <= p->bound + p->bound / 50) break; // within 2%: enough
        make_order(p, order, try / 2 % 4, try < 8 ? 0 : (u32)try);
        u64 total = place_all(p, &at, order, MAX_COLOURS, try % 2 == 1);
        if (total >= best) continue;
        best = total;
        memcpy(kept, p->item, sizeof *kept * (size_t)p->n);
        memcpy(ends, at.end, sizeof ends);
    }
    if (best == UINT64_MAX && p->n > 0)
        return err_set(p->c->err, ERR_PASS_PLAN, "%d activations need more than %d colours", p->n,
                       MAX_COLOURS);
    memcpy(p->item, kept, sizeof *kept * (size_t)p->n);
    // Colours that are used, from 0 on.
    int renamed[MAX_COLOURS];
    for (int i = 0; i < MAX_COLOURS; i++) {
        renamed[i] = out->ncolours;
        if (ends[i] > 0) out->colour_bytes[out->ncolours++] = ends[i];
    }
    for (int i = 0; i < p->n; i++) p->item[i].colour = renamed[p->item[i].colour];
    out->arena_bytes = p->n > 0 ? best : 0;
    return true;
}

bool pass_plan_memory(PassContext *c, const Graph *g, const Grouping *gr, MemPlan *out) {
    Plan p = {.c = c, .g = g, .gr = gr};
    *out = (MemPlan){0};
    p.item = NEW_N(c->arena, Item, gr->n + 1);
    p.item_of = NEW_N(c->arena, int, g->tensors.n + 1);
    if (!collect(&p)) return false;
    find_clashes(&p);
    lower_bound(&p);
    if (!search(&p, out)) return false;
    out->lower_bound_bytes = p.bound;
    out->nitems = p.n;
    out->item_of_tensor = p.item_of;
    out->items = NEW_N(c->arena, PlanItem, p.n + 1);
    for (int i = 0; i < p.n; i++) {
        const Item *it = &p.item[i];
        out->items[i] =
            (PlanItem){it->name, (u32)it->colour, it->offset, it->bytes, it->first, it->last};
    }
    return true;
}
