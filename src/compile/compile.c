// compile/compile.c: the driver: graph + device profile -> program.
//
// For each regime (1 row, a few, a chunk): copy the graph, run the list of passes, group, plan
// memory, then turn each group into a step. Groups that are alike share a kernel, found by
// signature before any lowering; a new one is lowered, scheduled by its rule (or by the user's
// text), built and printed. Weights, caches and constants are shared by all regimes; the arena's
// buffers are as large as the regime that needs most.
#include "compile/compile_int.h"

static const u32 no_regime_n = 0;

static u32 regime_rows(const Graph *g, int r) {
    if (r == REGIME_ROW) return 1;
    if (r == REGIME_FEW) return g->chunk >= 2 ? MIN2(g->chunk, 8u) : no_regime_n;
    return g->chunk > 8 ? g->chunk : no_regime_n;
}

static Str unique_name(Compile *c, const char *name) {
    i32 times = 0;
    Str s = arena_str(c->arena, str_c(name));
    if (strmap_get(c->kernel_names, s, &times)) {
        strmap_put(c->kernel_names, s, times + 1);
        return str_fmt(c->arena, "%s_%d", name, times + 1);
    }
    strmap_put(c->kernel_names, s, 1);
    return s;
}

// The line of the user's file on which a kernel's section is headed.
static int section_line(const Compile *c, Str section) {
    int line = 0;
    for (const char *at = c->o->schedule_text.ptr; at < section.ptr; at++) line += *at == '\n';
    return line;
}

static bool schedule_nest(Compile *c, Nest *n, Str name, u64 key, bool *edited) {
    Str mine = {0}, tuned = {0};
    if (TEXTS && c->o->schedule_text.len > 0) mine = schedule_section(c->o->schedule_text, name);
    *edited = mine.len > 0;
    if (TEXTS && *edited) {
        Err ignored = {0};
        Str rule;
        bool ruled = rule_text(n, &rule, &ignored);
        if (schedule_apply(n, mine, c->o->schedule_file, c->err)) {
            *edited = !ruled || !str_eq(rule, buf_str(&n->log));
            return true;
        }
        c->err->line += section_line(c, mine);
        return false;
    }
    if (c->o->tuned && !c->p->dims) tuned = c->o->tuned(c->o->tuned_user, key);
    return tuned.len > 0 ? schedule_apply(n, tuned, S("tuned"), c->err) : rule_apply(n, c->err);
}

static bool print_kernel(Compile *c, ProgKernel *k) {
    if (c->o->dialect == NULL || k->text.len > 0) return true;
    Buf text = {.arena = c->work};
    if (!emit_kernel(c->o->dialect, k->ir, c->p, &text, c->err))
        return err_subject(c->err, k->name);
    k->text = arena_str(c->arena, buf_str(&text));
    return true;
}

// Does the kernel's formula hold for all that `f`, alike but for its ranges, may be asked for?
static bool covers(const ProgKernel *k, const Formula *f) {
    for (int i = 0; i < f->nsyms; i++) {
        const Var *wide = k->formula->sym[i].var, *v = f->sym[i].var;
        if (v->lo < wide->lo || v->hi > wide->hi) return false;
    }
    return true;
}

static int kernel_by_nest(const Compile *c, u64 key) {
    for (size_t i = 0; i < c->kernels.n; i++)
        if (c->nest_keys.at[i] == key) return (int)i;
    return -1;
}

// What is wrong with a schedule as a whole stands at its kernel's head in the user's file.
static void blame_section(Compile *c, Str name) {
    err_line(c->err, section_line(c, schedule_section(c->o->schedule_text, name)), 1);
    err_file(c->err, c->o->schedule_file);
}

// What a kernel's record says of its loop IR; name, nest key and schedule are known.
static void describe(const Compile *c, ProgKernel *k, Kernel *ir) {
    u64 version = c->o->dialect != NULL ? dialect_version(c->o->dialect) : 0;
    k->kernel_key = hash_bytes(hash_str(k->nest_key, k->schedule), &version, sizeof version);
    k->nbind = ir->nargs;
    for (int i = 0; i < 3; i++) k->wg[i] = ir->wg[i];
    for (int i = 0; i < ir->nargs; i++) k->writes[i] = ir->arg[i]->written;
    ir->name = k->name;
    k->ir = ir;
}

// A lowered group -> a kernel of the program, unless one with the same nest is there, or one for
// more rows that was scheduled alike. Its loop IR is made again where it was not kept: the grid of
// these dimensions wants it.
static bool make_kernel(Compile *c, Lowered *l, int *out, const Kernel **built) {
    u64 wide, key = nest_key(l->nest, &wide);
    *out = kernel_by_nest(c, key);
    if (*out >= 0 && (*built = c->kernels.at[*out].ir) != NULL) return true;
    ProgKernel k = {.nest_key = key};
    k.name = *out >= 0 ? c->kernels.at[*out].name : unique_name(c, l->nest->f->name);
    bool own;
    if (c->work == c->arena) k.naive = nest_again(l->nest);
    if (!schedule_nest(c, l->nest, k.name, key, &own)) return err_subject(c->err, k.name);
    wide = hash_str(wide, buf_str(&l->nest->log));
    for (size_t i = 0; i < c->kernels.n && *out < 0 && !own; i++)
        if (c->wide_keys.at[i] == wide && covers(&c->kernels.at[i], l->nest->f)) *out = (int)i;
    if (*out >= 0 && (*built = c->kernels.at[*out].ir) != NULL) return true;
    Kernel *ir;
    if (!nest_build(c->work, l->nest, &ir, c->err)) {
        if (own) blame_section(c, k.name);
        return err_subject(c->err, k.name);
    }
    *built = ir;
    if (*out >= 0) return true;
    bool edited = c->o->schedule_text.len > 0 || c->o->graph_text.len > 0 || c->o->tuned;
    if (TEXTS && (edited || c->o->verify) && !c->p->dims && !kernel_verify(ir, c->p, c->err)) {
        if (own) blame_section(c, k.name);
        return err_subject(c->err, k.name);
    }
    k.schedule = arena_str(c->arena, buf_str(&l->nest->log));
    describe(c, &k, ir);
    // A kernel made at build time is found by its nest, whatever the schedule: not the one this
    // schedule asks for.
    if (own && c->p->dims) k.nest_key = k.kernel_key;
    k.formula = l->nest->f;
    *out = (int)c->kernels.n;
    vec_push(c->arena, &c->kernels, k);
    vec_push(c->arena, &c->nest_keys, key);
    vec_push(c->arena, &c->wide_keys, wide);
    dump_kernel(c, l, &k);
    return true;
}

static bool lower(Compile *c, Arena *a, const Graph *g, const Group *gr, u32 n, Lowered *out) {
    return lower_group(a, exprs_new(a), g, gr, c->p, n, out, c->err);
}

static bool find_made(Compile *c, const Graph *g, const Group *gr, u32 n, const Made **out) {
    u64 sig = group_signature(g, gr, n);
    for (size_t i = 0; i < c->made.n; i++)
        if (c->made.at[i].signature == sig) {
            *out = &c->made.at[i];
            return true;
        }
    Made m = {.signature = sig, .group = gr, .graph = g};
    const Kernel *ir;
    if (!lower(c, c->work, g, gr, n, &m.lowered)) return false;
    if (!make_kernel(c, &m.lowered, &m.kernel, &ir)) return false;
    if (!grid_make(c, ir, m.lowered.dims, n, m.grid)) return err_subject(c->err, gr->name);
    ProgKernel *k = &c->kernels.at[m.kernel];
    if (!print_kernel(c, k)) return false;
    if (c->work != c->arena) { // kept are the text and, for the check on the device, the formula
        if (k->ir != NULL) {
            if (!lower(c, c->arena, g, gr, n, &m.lowered)) return false;
            k->formula = m.lowered.nest->f;
        }
        k->ir = NULL;
        arena_reset(c->work);
    }
    vec_push(c->arena, &c->made, m);
    *out = &c->made.at[c->made.n - 1];
    return true;
}

// What a step moves and computes at the regime's largest n: for `inspect --cost`, not for planning.
static void cost(const Graph *g, const Group *gr, u32 n, Step *s) {
    i64 m = MIN2(g->m_max, n);
    for (int i = 0; i < gr->nnodes; i++) {
        const Node *nd = &g->nodes.at[gr->node[i]];
        u64 out = 0;
        const Tensor *y = nd->out >= 0 ? &g->tensors.at[nd->out] : NULL;
        if (y != NULL)
            out = (u64)dim_value(y->dim[0], n, m, g->ctx) * (u64)(y->nd > 1 ? y->dim[1].c : 1);
        switch (nd->op) {
        case OP_matmul: s->flops += 2 * out * g->tensors.at[nd->in[1]].weight->cols; break;
        case OP_attention:
        case OP_attention_part: // scores and weighted values over the whole context, at most
            s->flops += 4 * (u64)n * (u64)nd->attr.heads * (u64)nd->attr.head_dim * g->ctx;
            break;
        case OP_rms_norm: s->flops += 4 * out; break;
        case OP_embed: { // of the table, bound as a whole, it reads a row for each of its own
            const Weight *w = g->tensors.at[nd->in[0]].weight;
            u64 table;
            if (quant_bytes(w->encoding, w->rows, w->cols, w->interleave, &table))
                s->bytes -= table - table / w->rows * MIN2(n, w->rows);
            s->flops += out;
            break;
        }
        default: s->flops += out; break;
        }
    }
}

// Which of a step's arguments its matrix product reads; a group has one at most.
static void find_product(const Graph *g, const Group *gr, int tensor, int arg, Step *s) {
    for (int i = 0; i < gr->nnodes; i++) {
        const Node *nd = &g->nodes.at[gr->node[i]];
        if (nd->op != OP_matmul) continue;
        if (nd->in[0] == tensor) s->factor = arg;
        if (nd->in[1] == tensor) s->matrix = arg;
    }
}

static bool make_step(Compile *c, const Graph *g, const Group *gr, const MemPlan *plan, u32 n,
                      Step *s) {
    const Made *made = NULL;
    if (!find_made(c, g, gr, n, &made)) return false;
    const Lowered *l = &made->lowered;
    const ProgKernel *k = &c->kernels.at[made->kernel];
    *s = (Step){.name = arena_str(c->arena, gr->name),
                .kernel = (u32)made->kernel,
                .layer = gr->layer,
                .matrix = -1,
                .factor = -1};
    must(k->nbind == l->nargs && l->nargs <= STEP_MAX_BINDINGS);
    for (int i = 0; i < l->nargs; i++) {
        if (l->arg[i].kind == ARG_PARAMS) {
            s->bind[i] = (Binding){c->prog->buf_params, 0, (u64)program_param_words(c->prog) * 4};
        } else {
            int place = group_place(made->graph, made->group, l->arg[i].tensor);
            int tensor = group_tensor(g, gr, place);
            if (!bind_tensor(c, g, tensor, plan, &s->bind[i])) return false;
            find_product(g, gr, tensor, i, s);
        }
        s->bytes += s->bind[i].size;
    }
    memcpy(s->dims, l->dims, sizeof s->dims);
    memcpy(s->grid, made->grid, sizeof s->grid);
    cost(g, gr, n, s);
    return true;
}

static bool touches_m(const Graph *g, const Group *gr) {
    for (int i = 0; i < gr->nnodes; i++) {
        const Node *nd = &g->nodes.at[gr->node[i]];
        if (nd->op == OP_take_rows) return true;
        for (int j = 0; j < nd->nin; j++)
            if (g->tensors.at[nd->in[j]].dim[0].cm != 0) return true;
    }
    return false;
}

static bool has_op(const Graph *g, const Group *gr, OpId op) {
    for (int i = 0; i < gr->nnodes; i++)
        if (g->nodes.at[gr->node[i]].op == op) return true;
    return false;
}

// trunk, head, argmax, sampler: where each begins.
static void find_ranges(const Graph *g, const Grouping *gr, Regime *r) {
    bool joined = false;
    r->head = r->greedy = r->sample = r->nsteps = gr->n;
    for (int i = gr->n - 1; i >= 0; i--) {
        const Group *q = &gr->group[i];
        if (touches_m(g, q)) r->head = i;
        if (!has_op(g, q, OP_argmax_join)) continue;
        r->sample = i + 1;
        joined = true;
    }
    for (int i = r->sample - 1; i >= 0; i--)
        if (has_op(g, &gr->group[i], OP_argmax_part) || has_op(g, &gr->group[i], OP_argmax_join))
            r->greedy = i;
    if (!joined) r->sample = r->greedy; // without argmax, largest logits are the sampler's
}

static bool run_passes(Compile *c, PassContext *pc, Graph *g) {
    int count;
    const PassRow *row = passes(&count);
    for (int i = 0; i < count; i++) {
        if (!row[i].run(pc, g)) return false;
        if (TEXTS && (c->o->verify || c->o->graph_text.len > 0) && !graph_verify(g, c->err))
            return err_subject(c->err, str_c(row[i].name));
        dump_graph(c, row[i].name, pc->regime_n, g);
    }
    return true;
}

// The group inside a layer that reads most weights: what decoding waits for.
static int heaviest_group(const Graph *g, const Grouping *gr) {
    int best = 0;
    u64 most = 0;
    for (int i = 0; i < gr->n; i++)
        for (int k = 0; k < gr->group[i].nnodes && gr->group[i].layer >= 0; k++) {
            const Node *nd = &g->nodes.at[gr->group[i].node[k]];
            const Weight *w = nd->op == OP_matmul ? g->tensors.at[nd->in[1]].weight : NULL;
            if (w == NULL || (u64)w->rows * w->cols <= most) continue;
            most = (u64)w->rows * w->cols;
            best = i;
        }
    return best;
}

static bool make_regime(Compile *c, const Graph *source, int index, u32 n) {
    Regime *r = &c->prog->regimes[index];
    PassContext pc = {.arena = c->arena, .profile = c->p, .regime_n = n, .err = c->err};
    Graph *g = graph_copy(c->arena, source);
    if (index == REGIME_FEW) g->m_max = c->prog->m_max;
    Grouping groups;
    MemPlan plan;
    if (!run_passes(c, &pc, g) || !pass_fuse(&pc, g, &groups)) return false;
    dump_groups(c, n, g, &groups);
    if (!pass_plan_memory(&pc, g, &groups, &plan)) return false;
    dump_plan(c, n, &plan, groups.n);
    for (int i = 0; i < plan.ncolours; i++) {
        if (c->arena_buffer[i] < 0)
            c->arena_buffer[i] =
                (int)buffer_add(c, str_fmt(c->arena, "arena.%d", i), BUF_ARENA, 0, NULL);
        ProgBuffer *b = &c->buffers.at[c->arena_buffer[i]];
        b->size = MAX2(b->size, plan.colour_bytes[i]);
    }
    r->n = n;
    r->m = MIN2(g->m_max, n);
    r->arena_bytes = plan.arena_bytes;
    r->lower_bound_bytes = plan.lower_bound_bytes;
    r->nitems = plan.nitems;
    r->items = plan.items;
    find_ranges(g, &groups, r);
    if (c->o->heaviest) {
        groups.group[0] = groups.group[heaviest_group(g, &groups)];
        groups.n = r->head = r->greedy = r->sample = r->nsteps = 1;
    }
    r->steps = NEW_N(c->arena, Step, groups.n + 1);
    for (int i = 0; i < groups.n; i++) {
        if (!make_step(c, g, &groups.group[i], &plan, n, &r->steps[i])) return false;
        if (walk_wanted(c, g, &groups.group[i]) &&
            !walk_print(c, g, &groups.group[i], &r->steps[i], i))
            return false;
    }
    return true;
}

// What a schedule file says and nobody would read is an error: a section for a kernel that is not
// there, a kernel's second section, lines before the first.
static bool check_sections(Compile *c) {
    Str rest = c->o->schedule_text;
    bool any = false; // a section has begun: its lines are its kernel's
    for (int line = 1; rest.len > 0; line++) {
        Str name = {0}, comment, one = str_cut(rest, '\n', &rest), first = {0};
        bool found = any, again = false;
        if (schedule_head(one, &name)) {
            any = true;
            found = false;
            for (size_t i = 0; i < c->kernels.n; i++)
                found = found || str_eq(c->kernels.at[i].name, name);
            first = schedule_section(c->o->schedule_text, name);
            again = found && first.ptr != rest.ptr;
        }
        if ((found && !again) || str_trim(str_cut(one, '#', &comment)).len == 0) continue;
        if (again)
            err_set(c->err, ERR_SCHED_NAME,
                    "kernel '%S' has a section on line %d already; keep one of the two", name,
                    section_line(c, first));
        else if (any)
            err_set(c->err, ERR_COMPILE_SCHEDULE,
                    "no kernel is named '%S'; `hob inspect --dump schedule` lists them", name);
        else
            err_set(c->err, ERR_COMPILE_SCHEDULE,
                    "a schedule file begins with a line `kernel NAME:`; see docs/schedules.md");
        err_line(c->err, line, 1);
        return err_file(c->err, c->o->schedule_file);
    }
    return true;
}

static bool program_buffers(Compile *c, const Graph *g) {
    Program *p = c->prog;
    u64 align = (u64)c->p->offset_align;
    p->buf_params =
        buffer_add(c, S("params"), BUF_PARAMS,
                   round_up((u64)program_param_words(p) * 4, align) * PARAM_SLOTS, NULL);
    p->buf_ring = buffer_add(c, S("tokens"), BUF_RING, TOKEN_RING * 4, NULL);
    u64 logits = (u64)c->prog->m_max * g->vocab * 4;
    if (logits > (u64)MIN2(c->p->max_binding_bytes, c->p->max_buffer_bytes)) {
        err_set(c->err, ERR_PASS_BINDING,
                "%U bytes of logits: this device binds at most %D at once", logits,
                MIN2(c->p->max_binding_bytes, c->p->max_buffer_bytes));
        return err_subject(c->err, S("logits"));
    }
    p->buf_logits = buffer_add(c, S("logits"), BUF_LOGITS, logits, NULL);
    return true;
}

// A graph as text may mark no result as logits, or another than rows of the vocabulary.
static bool has_logits(const Graph *g, Err *err) {
    int n = 0;
    for (size_t i = 0; i < g->tensors.n; i++) {
        const Tensor *t = &g->tensors.at[i];
        if (t->kind != TEN_LOGITS) continue;
        n++;
        if (dim_eq(t->dim[0], DIM_M) && dim_eq(t->dim[1], dim_const(g->vocab))) continue;
        err_set(err, ERR_GRAPH_SHAPE, "logits are [m, %u]", g->vocab);
        return err_subject(err, t->name);
    }
    return n == 1 || err_set(err, ERR_GRAPH_TYPE,
                             "%d results are marked `logits`; mark one: `logits NAME = ...`", n);
}

bool compile_again(Arena *a, const Program *p, const ProgKernel *k, Str schedule, u32 n,
                   const Dialect *d, ProgKernel *out, GridDim grid[3], Err *err) {
    CompileOptions o = {.dialect = d};
    Compile c = {.arena = a, .work = a, .o = &o, .p = &p->profile, .err = err};
    Nest *nest = nest_again(k->naive);
    Kernel *ir;
    *out = (ProgKernel){
        .name = k->name, .nest_key = k->nest_key, .formula = k->formula, .naive = k->naive};
    if (!schedule_apply(nest, schedule, S("tuner"), err) || !nest_build(a, nest, &ir, err))
        return false;
    if (TEXTS && !kernel_verify(ir, c.p, err)) return false;
    out->schedule = arena_str(a, buf_str(&nest->log));
    describe(&c, out, ir);
    return grid_make(&c, ir, NULL, n, grid) && print_kernel(&c, out);
}

bool compile_program(Arena *a, const Graph *g, const CompileOptions *o, Program **out, Err *err) {
    Program *p = NEW(a, Program);
    Compile c = {.arena = a, .o = o, .p = o->profile, .prog = p, .err = err};
    c.work = o->work ? o->work : a;
    c.weight_of = strmap_new(a, 512);
    c.buffer_of = strmap_new(a, 64);
    c.kernel_names = strmap_new(a, 64);
    for (int i = 0; i < 8; i++) c.arena_buffer[i] = -1;
    if (TEXTS && o->graph_text.len > 0) {
        g = graph_read(a, o->graph_text, o->graph_file, err);
        if (g == NULL) return false;
        if (!has_logits(g, err)) return err_file(err, o->graph_file);
    } else if (TEXTS && o->verify && !graph_verify(g, err)) {
        return false;
    }
    p->profile = *o->profile;
    p->ctx = g->ctx;
    p->chunk = g->chunk;
    p->m_max = MAX2(g->m_max, MIN2(o->few_m, g->chunk));
    p->vocab = g->vocab;
    p->layers = g->layers;
    dump_graph(&c, "graph", g->chunk, g);
    if (!program_buffers(&c, g)) return false;
    static const int order[REGIME_COUNT] = {REGIME_ROW, REGIME_MANY,
                                            REGIME_FEW}; // few may share many's kernels
    for (int i = 0; i < REGIME_COUNT; i++) {
        int r = order[i];
        u32 n = regime_rows(g, r);
        bool asked = o->regimes == 0 || (o->regimes >> r & 1) != 0;
        if (asked && n != no_regime_n && !make_regime(&c, g, r, n)) return false;
    }
    if (TEXTS && !check_sections(&c)) return false;
    place_weights(&c);
    p->nkernels = (int)c.kernels.n;
    p->kernels = c.kernels.at;
    p->nbuffers = (int)c.buffers.n;
    p->buffers = c.buffers.at;
    p->nweights = (int)c.weights.n;
    p->weights = c.weights.at;
    if (dump_wanted(&c, "program")) program_print(p, o->dump);
    *out = p;
    return true;
}
