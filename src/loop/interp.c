// loop/interp.c: referee (b): runs loop IR exactly as written, the threads of a workgroup in
// lockstep.
//
// Every value is a column, one 32-bit word a thread; a mask says which threads are active. f32
// operations round to f32; exp, sin2pi and cos2pi are libm's. With `check`, memory starts poisoned,
// and each element remembers who touched it: two threads may share an element of workgroup memory
// only across a barrier, and an element of a written argument never. Threads of different
// workgroups are different threads. Bounds are always checked. Both branches of select are
// evaluated, as a device does.
#include "loop/interp_int.h"

#include <math.h>

enum { MANY_READERS = 0xFFFFFFFFu };

typedef struct Touch { // who touched one element, and between which barriers
    u32 writer, write_epoch, reader, read_epoch;
} Touch;

typedef struct Mem {
    const Buffer *b;
    u32 *data;  // REG: element-major, then threads
    u8 *stored; // REG, SHARED when checking: 1 where something was stored
    Touch *touch;
    u64 elems; // of one thread
    i64 dim[BUFFER_MAX_DIMS];
} Mem;

typedef struct Run {
    const Kernel *k;
    const FlatKernel *fk;
    const InterpOptions *o;
    Err *err;
    u32 T;
    u32 *perm, *temp;
    Mem *mem;
    u32 wg[3];
    u32 begin, end; // CPU: the range of the outermost loop
    u32 who;        // thread 0's number among all threads of the launch, plus 1
    u32 epoch;      // barriers passed
    u64 fuel;
} Run;

static u32 *column(const Run *r, u32 slot) {
    return slot & SLOT_TEMP ? r->temp + (size_t)(slot & ~SLOT_TEMP) * r->T
                            : r->perm + (size_t)slot * r->T;
}

// ---- memory -------------------------------------------------------------------------------------
static bool race(Run *r, const Mem *m, u64 at, const char *what) {
    return err_set(r->err, ERR_INTERP_RACE,
                   "kernel %S: %s %s[%U] without a barrier between them; store from one thread",
                   r->k->name, what, m->b->name, at);
}

static bool touch(Run *r, Mem *m, u64 at, u32 t, bool write) {
    if (!m->touch) return true;
    Touch *x = &m->touch[at];
    u32 who = r->who + t, epoch = m->b->scope == SCOPE_ARG ? 1 : r->epoch;
    bool written = x->writer && x->write_epoch == epoch, read = x->reader && x->read_epoch == epoch;
    if (written && x->writer != who)
        return race(r, m, at,
                    write ? "two threads store to" : "one thread reads and another stores to");
    if (write) {
        if (read && x->reader != who)
            return race(r, m, at, "one thread reads and another stores to");
        x->writer = who;
        x->write_epoch = epoch;
    } else {
        x->reader = !read || x->reader == who ? who : MANY_READERS;
        x->read_epoch = epoch;
    }
    return true;
}

// The element that thread t means, or false with an error.
static bool locate(Run *r, const Mem *m, const u32 *slots, u32 t, u64 *at) {
    i64 flat = 0;
    for (int d = 0; d < m->b->nd; d++) {
        u32 raw = column(r, slots[d])[t];
        i64 i = (i32)raw;
        if (i < 0 || i >= m->dim[d])
            return err_set(
                r->err, ERR_INTERP_BOUNDS,
                "kernel %S: index %d of %s is %D, outside 0..%D (workgroup %u,%u,%u thread %u)",
                r->k->name, d, m->b->name, i, m->dim[d] - 1, r->wg[0], r->wg[1], r->wg[2], t);
        if (__builtin_mul_overflow(flat, m->dim[d], &flat) ||
            __builtin_add_overflow(flat, i, &flat))
            flat = INT64_MAX;
    }
    if ((u64)flat >= m->elems)
        return err_set(r->err, ERR_INTERP_BOUNDS,
                       "kernel %S: element %D of %s lies outside its %U elements", r->k->name, flat,
                       m->b->name, m->elems);
    *at = (u64)flat;
    return true;
}

static bool load(Run *r, const Insn *in, const u8 *mask) {
    Mem *m = &r->mem[in->buf];
    u32 *dst = column(r, in->dst);
    bool reg = m->b->scope == SCOPE_REG;
    for (u32 t = 0; t < r->T; t++) {
        u64 at;
        if (!mask[t]) continue;
        if (!locate(r, m, in->a, t, &at)) return false;
        u64 word = reg ? at * r->T + t : at;
        if (m->stored && !m->stored[word])
            return err_set(r->err, ERR_INTERP_POISON,
                           "kernel %S: %s[%U] is read before anything is stored there", r->k->name,
                           m->b->name, at);
        if (!touch(r, m, at, t, false)) return false;
        dst[t] = m->data[word];
    }
    return true;
}

static u32 rounded_to_half(u32 v) {
    float f = bits_f32(v);
    return f32_bits(f16_to_f32(f32_to_f16(f > 65504 ? 65504 : f < -65504 ? -65504 : f)));
}

static bool store(Run *r, const Flat *f, const u8 *mask) {
    Mem *m = &r->mem[f->buf];
    const u32 *v = column(r, f->value);
    bool reg = m->b->scope == SCOPE_REG;
    if (m->b->scope == SCOPE_ARG && !m->b->written)
        return err_set(r->err, ERR_LOOP_READONLY,
                       "kernel %S: %s is stored to but not marked written", r->k->name, m->b->name);
    for (u32 t = 0; t < r->T; t++) {
        u64 at;
        if (!mask[t]) continue;
        if (!locate(r, m, f->idx, t, &at) || !touch(r, m, at, t, true)) return false;
        u64 word = reg ? at * r->T + t : at;
        m->data[word] = m->b->half ? rounded_to_half(v[t]) : v[t];
        if (m->stored) m->stored[word] = 1;
    }
    return true;
}

// ---- arithmetic ---------------------------------------------------------------------------------
static u32 f32_to_int(float f, Type to) {
    if (to == TY_I32)
        return f >= 2147483648.0f    ? INT32_MAX
               : f <= -2147483648.0f ? 0x80000000u
               : f != f              ? 0
                                     : (u32)(i32)f;
    return f >= 4294967296.0f ? UINT32_MAX : f > 0 ? (u32)f : 0;
}

static u32 cast(u32 v, Type from, Type to) {
    float f = bits_f32(v);
    if (from == TY_F32) return to == TY_F32 ? v : to == TY_BOOL ? f != 0 : f32_to_int(f, to);
    if (to == TY_F32) return f32_bits(from == TY_I32 ? (float)(i32)v : (float)v);
    return to == TY_BOOL ? v != 0 : v;
}

static float f32_function(u8 op, float x) {
    const double turn = 6.283185307179586476925;
    switch (op) {
    case EX_FLOOR: return floorf(x);
    case EX_SQRT: return sqrtf(x);
    case EX_EXP: return (float)exp(x);
    case EX_SIN2PI: return (float)sin(turn * x);
    default: return (float)cos(turn * x);
    }
}

static bool divide(Run *r, const Insn *in, const u8 *mask) {
    u32 *d = column(r, in->dst);
    const u32 *a = column(r, in->a[0]), *b = column(r, in->a[1]);
    bool sign = in->type == TY_I32;
    for (u32 t = 0; t < r->T; t++) {
        if (!mask[t]) continue;
        i64 x = sign ? (i64)(i32)a[t] : (i64)a[t], y = sign ? (i64)(i32)b[t] : (i64)b[t];
        if (y <= 0)
            return err_set(r->err, ERR_INTERP_DIVIDE, "kernel %S: %D is divided by %D", r->k->name,
                           x, y);
        i64 q = x / y - (x % y < 0);
        d[t] = (u32)(in->op == EX_IDIV ? q : x - q * y);
    }
    return true;
}

// Sums, maxima or one lane's value over each subgroup; a subgroup is active as a whole or not at
// all.
static bool subgroup(Run *r, const Insn *in, const u8 *mask) {
    u32 *d = column(r, in->dst);
    const u32 *a = column(r, in->a[0]);
    for (u32 g = 0; g < r->T; g += in->lanes) {
        u32 n = MIN2(in->lanes, r->T - g), active = 0;
        for (u32 i = 0; i < n; i++) active += mask[g + i];
        if (!active) continue;
        if (active != in->lanes)
            return err_set(r->err, ERR_INTERP_BARRIER,
                           "kernel %S: a subgroup operation is reached by %u of %u lanes",
                           r->k->name, active, in->lanes);
        if (in->op == EX_SUBAT) {
            u32 lane = column(r, in->a[1])[g];
            for (u32 i = 0; i < n; i++) d[g + i] = a[g + lane];
            continue;
        }
        u32 acc = a[g];
        for (u32 i = 1; i < n; i++) {
            u32 v = a[g + i];
            if (in->type == TY_F32) {
                float x = bits_f32(acc), y = bits_f32(v);
                acc = f32_bits(in->op == EX_SUBADD ? x + y : x > y ? x : y);
            } else if (in->op == EX_SUBADD) {
                acc += v;
            } else if (in->type == TY_I32 ? (i32)v > (i32)acc : v > acc) {
                acc = v;
            }
        }
        for (u32 i = 0; i < n; i++) d[g + i] = acc;
    }
    return true;
}

// One operation over a column. A and B are the arguments as f32.
#define EACH(expr)                                                                                 \
    do {                                                                                           \
        for (u32 t = 0; t < T; t++) d[t] = (u32)(expr);                                            \
    } while (0)
#define A bits_f32(a[t])
#define B bits_f32(b[t])
#define TYPED(type, as_f32, as_i32, as_u32)                                                        \
    do {                                                                                           \
        if ((type) == TY_F32)                                                                      \
            EACH(as_f32);                                                                          \
        else if ((type) == TY_I32)                                                                 \
            EACH(as_i32);                                                                          \
        else                                                                                       \
            EACH(as_u32);                                                                          \
    } while (0)
#define ARITH(sign) TYPED(in->type, f32_bits(A sign B), a[t] sign b[t], a[t] sign b[t])
#define PICK(sign)                                                                                 \
    TYPED(in->type, A sign B ? a[t] : b[t], (i32)a[t] sign(i32) b[t] ? a[t] : b[t],                \
          a[t] sign b[t] ? a[t] : b[t])
#define COMPARE(sign) TYPED(in->arg_type, A sign B, (i32)a[t] sign(i32) b[t], a[t] sign b[t])

static bool run_insn(Run *r, const Insn *in, const u8 *mask) {
    u32 T = r->T, *d = column(r, in->dst);
    const u32 *a = column(r, in->a[0]), *b = column(r, in->a[1]), *c = column(r, in->a[2]);
    switch ((ExprOp)in->op) {
    case EX_LOAD: return load(r, in, mask);
    case EX_IDIV:
    case EX_IMOD: return divide(r, in, mask);
    case EX_SUBADD:
    case EX_SUBMAX:
    case EX_SUBAT: return subgroup(r, in, mask);
    case EX_ADD: ARITH(+); break;
    case EX_SUB: ARITH(-); break;
    case EX_MUL: ARITH(*); break;
    case EX_DIV: EACH(f32_bits(A / B)); break;
    case EX_MIN: PICK(<); break;
    case EX_MAX: PICK(>); break;
    case EX_AND:
    case EX_LAND: EACH(a[t] & b[t]); break;
    case EX_OR:
    case EX_LOR: EACH(a[t] | b[t]); break;
    case EX_XOR: EACH(a[t] ^ b[t]); break;
    case EX_SHL: EACH(a[t] << (b[t] & 31)); break;
    case EX_SHR: TYPED(in->type, 0, (i32)a[t] >> (b[t] & 31), a[t] >> (b[t] & 31)); break;
    case EX_MULHI: EACH((u64)a[t] * b[t] >> 32); break;
    case EX_LT: COMPARE(<); break;
    case EX_LE: COMPARE(<=); break;
    case EX_EQ: COMPARE(==); break;
    case EX_NE: COMPARE(!=); break;
    case EX_LNOT: EACH(!a[t]); break;
    case EX_SELECT: EACH(a[t] ? b[t] : c[t]); break;
    case EX_FMA: EACH(f32_bits((float)(A * B) + bits_f32(c[t]))); break;
    case EX_DOT4: EACH(dot4_of((i32)a[t], b[t], c[t])); break;
    case EX_CAST: EACH(cast(a[t], (Type)in->arg_type, (Type)in->type)); break;
    case EX_BITCAST: EACH(a[t]); break;
    case EX_F16LO: EACH(f32_bits(f16_to_f32((u16)(a[t] & 0xFFFF)))); break;
    case EX_F16HI: EACH(f32_bits(f16_to_f32((u16)(a[t] >> 16)))); break;
    case EX_FLOOR:
    case EX_SQRT:
    case EX_EXP:
    case EX_SIN2PI:
    case EX_COS2PI: EACH(f32_bits(f32_function(in->op, A))); break;
    case EX_ICONST:
    case EX_FCONST:
    case EX_VAR:
    case EX_COUNT: must(false); // columns of their own
    }
    return true;
}
#undef A
#undef B

static bool run_code(Run *r, const Code *c, const u8 *mask) {
    for (size_t i = 0; i < c->insn.n; i++)
        if (!run_insn(r, &c->insn.at[i], mask)) return false;
    return true;
}

// ---- statements ---------------------------------------------------------------------------------
static bool run_block(Run *r, const FlatBlock *b, const u8 *mask);

static bool run_serial(Run *r, const Flat *f, const u8 *mask) {
    u32 *var = column(r, f->var), T = r->T;
    i64 most = 0, from = 0;
    i32 extent[1024]; // the code's columns are reused by the body
    memcpy(extent, column(r, f->value), T * sizeof(i32));
    for (u32 t = 0; t < T; t++)
        if (mask[t]) most = MAX2(most, extent[t]);
    if (f->s->loop == LOOP_CPU) {
        from = r->begin;
        most = MIN2(most, (i64)r->end);
    }
    for (i64 i = from; i < most; i++) {
        for (u32 t = 0; t < T; t++) {
            var[t] = (u32)i;
            f->mask[t] = mask[t] && i < extent[t];
        }
        if (f->s->loop == LOOP_CPU)
            r->who = (u32)i + 1; // iterations run on any thread in any order
        if (r->fuel && (r->fuel -= MIN2(r->fuel, T)) == 0)
            return err_set(r->err, ERR_INTERP_FUEL,
                           "kernel %S: out of fuel; give it a smaller shape or more fuel",
                           r->k->name);
        if (!run_block(r, &f->body, f->mask)) return false;
    }
    return true;
}

// The loops that are not run but bound: each thread has its own iteration.
static bool run_bound(Run *r, const Flat *f, const u8 *mask) {
    u32 *var = column(r, f->var), lanes = r->fk->lanes ? r->fk->lanes : 1;
    const u32 *extent = column(r, f->value);
    bool any = false;
    for (u32 t = 0; t < r->T; t++) {
        u32 x = t % r->k->wg[0], y = t / r->k->wg[0] % r->k->wg[1], v = 0;
        switch (f->s->loop) {
        case LOOP_WG_X: v = r->wg[0]; break;
        case LOOP_WG_Y: v = r->wg[1]; break;
        case LOOP_WG_Z: v = r->wg[2]; break;
        case LOOP_THREAD_X: v = x / lanes; break;
        case LOOP_THREAD_Y: v = y; break;
        default: v = x % lanes; break;
        }
        var[t] = v;
        f->mask[t] = mask[t] && (i32)v < (i32)extent[t];
        any |= f->mask[t];
    }
    return !any || run_block(r, &f->body, f->mask);
}

static bool run_if(Run *r, const Flat *f, const u8 *mask) {
    const u32 *cond = column(r, f->value);
    bool any = false;
    for (u32 t = 0; t < r->T; t++) {
        f->mask[t] = mask[t] && cond[t];
        any |= f->mask[t];
    }
    return !any || run_block(r, &f->body, f->mask);
}

static void run_alloc(Run *r, const Flat *f, const u8 *mask) {
    Mem *m = &r->mem[f->buf];
    if (!m->stored) return;
    if (m->b->scope == SCOPE_SHARED) {
        memset(m->stored, 0, m->elems);
        return;
    }
    for (u64 i = 0; i < m->elems; i++)
        for (u32 t = 0; t < r->T; t++)
            if (mask[t]) m->stored[i * r->T + t] = 0;
}

static bool run_barrier(Run *r, const u8 *mask) {
    u32 active = 0;
    for (u32 t = 0; t < r->T; t++) active += mask[t];
    r->epoch++;
    return active == r->T ||
           err_set(r->err, ERR_INTERP_BARRIER,
                   "kernel %S: a barrier is reached by %u of %u threads", r->k->name, active, r->T);
}

static bool run_block(Run *r, const FlatBlock *b, const u8 *mask) {
    for (size_t i = 0; i < b->n; i++) {
        const Flat *f = &b->at[i];
        if (r->fuel && (r->fuel -= MIN2(r->fuel, r->T + f->code.insn.n)) == 0)
            return err_set(r->err, ERR_INTERP_FUEL,
                           "kernel %S: out of fuel; give it a smaller shape or more fuel",
                           r->k->name);
        if (!run_code(r, &f->code, mask)) return false;
        bool ok = true;
        switch (f->s->kind) {
        case ST_FOR:
            ok = f->s->loop >= LOOP_WG_X && f->s->loop <= LOOP_LANE ? run_bound(r, f, mask)
                                                                    : run_serial(r, f, mask);
            break;
        case ST_LET: memcpy(column(r, f->var), column(r, f->value), r->T * sizeof(u32)); break;
        case ST_STORE: ok = store(r, f, mask); break;
        case ST_IF: ok = run_if(r, f, mask); break;
        case ST_ALLOC: run_alloc(r, f, mask); break;
        case ST_BARRIER: ok = run_barrier(r, mask); break;
        case ST_FETCH: break;
        }
        if (!ok) return false;
    }
    return true;
}

// ---- a launch -----------------------------------------------------------------------------------
static bool no_memory(Err *err) {
    return err_set(err, ERR_OUT_OF_MEMORY,
                   "the interpreter has no memory for this kernel; use a smaller shape");
}

static bool launch_symbols(Run *r, const InterpArg *args, const i32 *dims) {
    const Kernel *k = r->k;
    int params = -1;
    for (int i = 0; i < k->nargs; i++)
        if (str_eq(str_c(k->arg[i]->name), S("params"))) params = i;
    for (int i = 0; i < k->nsyms; i++) {
        if (params < 0 || k->sym[i].word < 0 || (u64)k->sym[i].word >= args[params].elems)
            return err_set(r->err, ERR_INTERP_ARGS,
                           "kernel %S: symbol %s is read from word %d of params, not given",
                           k->name, k->sym[i].var->name, k->sym[i].word);
        i32 v = ((const i32 *)args[params].data)[k->sym[i].word];
        const Var *var = k->sym[i].var;
        if (v < var->lo || v > var->hi || v % MAX2(var->divisor, 1))
            return err_set(r->err, ERR_INTERP_ARGS,
                           "kernel %S: symbol %s is %d, not what it was made for: %D..%D", k->name,
                           var->name, v, var->lo, var->hi);
        for (u32 t = 0; t < r->T; t++) column(r, r->fk->sym[i])[t] = (u32)v;
    }
    for (int i = 0; i < k->ndims; i++) {
        if (dims[i] < k->dim[i]->lo || dims[i] > k->dim[i]->hi ||
            dims[i] % MAX2(k->dim[i]->divisor, 1))
            return err_set(r->err, ERR_INTERP_ARGS,
                           "kernel %S: dimension %s is %d, which it was not made for", k->name,
                           k->dim[i]->name, dims[i]);
        for (u32 t = 0; t < r->T; t++) column(r, r->fk->dim[i])[t] = (u32)dims[i];
    }
    return true;
}

static bool launch_memory(Run *r, Arena *a, const InterpArg *args) {
    const FlatKernel *fk = r->fk;
    for (size_t i = 0; i < fk->buf.n; i++) {
        const Buffer *b = fk->buf.at[i].b;
        Mem *m = &r->mem[i];
        bool arg = b->scope == SCOPE_ARG;
        m->b = b;
        m->elems = 1;
        for (int d = 0; d < b->nd; d++) {
            if (arg)
                m->dim[d] = (i32)column(r, fk->buf.at[i].dim[d])[0];
            else if (!expr_is_int(b->dims[d], &m->dim[d]) || m->dim[d] < 1)
                return err_set(r->err, ERR_LOOP_TYPE,
                               "kernel %S: %s needs constant extents of at least 1", r->k->name,
                               b->name);
            if (!mul_u64(m->elems, (u64)MAX2(m->dim[d], 0), &m->elems)) return no_memory(r->err);
        }
        u64 copies = b->scope == SCOPE_REG ? r->T : 1, words;
        if (arg) {
            m->data = args[i].data; // arguments come first, in order
            m->elems = args[i].elems;
        } else if (!mul_u64(m->elems, copies, &words) ||
                   !(m->data = arena_try(a, words, sizeof(u32))) ||
                   (r->o->check && !(m->stored = arena_try(a, words, 1)))) {
            return no_memory(r->err);
        }
        if (r->o->check && (b->scope == SCOPE_SHARED || (arg && b->written)) &&
            !(m->touch = arena_try(a, m->elems, sizeof(Touch))))
            return no_memory(r->err);
    }
    return true;
}

bool kernel_interp(Arena *scratch, const Kernel *k, const InterpArg *args, const i32 *dims,
                   const u32 grid[3], const InterpOptions *o, Err *err) {
    FlatKernel fk;
    u64 threads = (u64)k->wg[0] * k->wg[1] * k->wg[2];
    if (k->wg[0] > 1024 || k->wg[1] > 1024 || k->wg[2] > 1024 || threads < 1 || threads > 1024)
        return err_set(err, ERR_LOOP_THREADS, "kernel %S: a workgroup has 1..1024 threads",
                       k->name);
    if (!interp_flatten(scratch, k, &fk, err)) return false;
    Run r = {.k = k, .fk = &fk, .o = o, .err = err, .T = (u32)threads, .epoch = 1, .who = 1};
    r.fuel = o->fuel;
    r.begin = o->grid_begin;
    r.end = grid[0];
    r.perm = arena_try(scratch, (u64)(fk.nperm + 1) * r.T, sizeof(u32));
    r.temp = arena_try(scratch, (u64)(fk.ntemp + 1) * r.T, sizeof(u32));
    r.mem = arena_try(scratch, fk.buf.n + 1, sizeof(Mem));
    u8 *all = arena_try(scratch, r.T, 1);
    if (!r.perm || !r.temp || !r.mem || !all) return no_memory(err);
    memset(all, 1, r.T);
    for (size_t i = 0; i < fk.const_slot.n; i++)
        for (u32 t = 0; t < r.T; t++) column(&r, fk.const_slot.at[i])[t] = fk.const_bits.at[i];
    if (!launch_symbols(&r, args, dims) || !run_code(&r, &fk.prologue, all) ||
        !launch_memory(&r, scratch, args))
        return false;
    u32 count[3] = {grid[0], grid[1], grid[2]};
    if (fk.cpu) count[0] = count[1] = count[2] = 1;
    for (r.wg[2] = 0; r.wg[2] < count[2]; r.wg[2]++) {
        for (r.wg[1] = 0; r.wg[1] < count[1]; r.wg[1]++) {
            for (r.wg[0] = 0; r.wg[0] < count[0]; r.wg[0]++) {
                for (size_t i = 0; i < fk.buf.n; i++)
                    if (r.mem[i].stored)
                        memset(r.mem[i].stored, 0,
                               r.mem[i].elems * (r.mem[i].b->scope == SCOPE_REG ? r.T : 1));
                if (!run_block(&r, &fk.body, all)) return false;
                r.who += r.T;
                r.epoch++;
            }
        }
    }
    return true;
}
