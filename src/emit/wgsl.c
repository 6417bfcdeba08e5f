// emit/wgsl.c: the WGSL dialect: a module with one entry point, bindings 0.. in the order of the
// arguments, group 0.
//
// An argument is read_write when the kernel writes it; its array has a fixed length where that is
// known (bounds checks then cost less). Arguments that are read as aligned vec4 are declared so. A
// grid that may pass the device's limit in x is folded into y, and the threads past its end leave.
// Only core WGSL is used, subgroup operations where the kernel has them.
#include "emit/emit_int.h"

static bool native(const Profile *p, i64 lanes) {
    (void)p;
    return lanes >= 2 && lanes <= 4;
}

enum { HALF = TY_COUNT }; // of memory only

static void type(Buf *o, Type t, int lanes) {
    static const char *const word[HALF + 1] = {"i32", "u32", "f32", "bool", "f16"}; // ORDER TYPE
    buf_fmt(o, lanes ? "vec%d<%s>" : "", lanes, word[t]);
    if (!lanes) buf_fmt(o, "%s", word[t]);
}

static void splat(Buf *o, Type t, int lanes, Str scalar) {
    type(o, t, lanes);
    buf_fmt(o, "(%S)", scalar);
}

static void to_half(Buf *o, Str value, int lanes) {
    type(o, (Type)HALF, lanes);
    buf_fmt(o, "(clamp(%S, ", value);
    splat(o, TY_F32, lanes, S("-65504.0"));
    buf_add(o, S(", "));
    splat(o, TY_F32, lanes, S("65504.0"));
    buf_add(o, S("))"));
}

static void gather(Buf *o, Type t, int lanes) {
    type(o, t, lanes);
    buf_char(o, '(');
}

// array<vec4<f32>, 16>
static Str array_type(Emit *e, const Mem *m) {
    Buf b = {.arena = e->arena};
    int lanes = m->lay == LAY_VECTORS ? m->lanes : 0;
    buf_add(&b, S("array<"));
    type(&b, m->buf->half ? (Type)HALF : m->buf->type, lanes);
    if (m->elems > 0) buf_fmt(&b, ", %D", lanes ? m->elems / lanes : m->elems);
    buf_char(&b, '>');
    return buf_str(&b);
}

static void array(Emit *e, const Mem *m) { line(e, "var %s: %S;", m->name, array_type(e, m)); }

static bool folds(Emit *e) {
    i64 lo, hi;
    expr_range(e->k->grid[0], &lo, &hi);
    return e->p && hi > e->p->max_grid;
}

static int loop(Emit *e, const Stmt *s, const char *name) {
    static const char xyz[] = "xyz";
    Buf at = {.arena = e->arena}, end = {.arena = e->arena};
    i64 n = 0, lo, hi;
    bool fixed = expr_is_int(s->extent, &n), guard = false;
    switch (s->loop) {
    case LOOP_WG_X:
    case LOOP_WG_Y:
    case LOOP_WG_Z: {
        int d = s->loop - LOOP_WG_X;
        if (!e->k->grid[d]) return emit_fail(e, ERR_EMIT_GRID, "it has no grid in %c", xyz[d]), -1;
        expr_range(e->k->grid[d], &lo, &hi);
        guard = s->extent != e->k->grid[d];
        if (d == 0 && folds(e)) {
            if (hi > kernel_grid_most(e->k, e->p, 0))
                return emit_fail(e, ERR_EMIT_GRID,
                                 "%D workgroups in x are too many or cannot be folded into y, "
                                 "which is in use",
                                 hi),
                       -1;
            buf_fmt(&at, "i32(wg.x + wg.y * %Du)", e->p->max_grid);
            guard = true;
        } else if (d == 1 && folds(e)) {
            buf_add(&at, S("0")); // it is 1, and wg.y is a part of x
        } else if (e->p && hi > e->p->max_grid) {
            return emit_fail(e, ERR_EMIT_GRID, "%D workgroups in %c are more than the device takes",
                             hi, xyz[d]),
                   -1;
        } else {
            buf_fmt(&at, "i32(wg.%c)", xyz[d]);
        }
        break;
    }
    case LOOP_THREAD_X:
    case LOOP_THREAD_Y:
        buf_fmt(&at, "i32(lid.%c)", xyz[s->loop - LOOP_THREAD_X]);
        guard = !fixed || n != e->k->wg[s->loop - LOOP_THREAD_X];
        break;
    case LOOP_LANE:
        if (!fixed || n < 1)
            return emit_fail(e, ERR_EMIT_LOOP, "the number of lanes is not a constant"), -1;
        buf_fmt(&at, n == e->k->wg[0] ? "i32(lid.x)" : "i32(index %% %Du)", n);
        break;
    default:
        return emit_fail(e, ERR_EMIT_LOOP,
                         "a workgroup has no CPU threads; schedule it for a GPU profile"),
               -1;
    }
    line(e, "let %s = %S;", name, buf_str(&at));
    if (!guard) return 0;
    operand(e, s->extent, &end);
    line(e, "if (%s < %S) {", name, buf_str(&end));
    return 1;
}

static void helpers(Emit *e) {
    if (e->helpers & HELP_DOT4 && e->p->dot4)
        buf_add(
            e->out,
            S("fn i32_dot4(s: i32, a: u32, b: u32) -> i32 { return s + dot4I8Packed(a, b); }\n"));
    else if (e->helpers & HELP_DOT4)
        buf_add(e->out, S("fn i32_mac(s: i32, a: u32, b: u32) -> i32 { return s + (bitcast<i32>(a) "
                          ">> 24u) * (bitcast<i32>(b) >> 24u); }\n"
                          "fn i32_dot2(s: i32, a: u32, b: u32) -> i32 { return i32_mac(i32_mac(s, "
                          "a << 8u, b << 8u), a, b); }\n"
                          "fn i32_dot4(s: i32, a: u32, b: u32) -> i32 { return "
                          "i32_dot2(i32_dot2(s, a << 16u, b << 16u), a, b); }\n"));
    if (e->helpers & HELP_MULHI) // from products of 16-bit halves
        buf_add(e->out,
                S("fn low(a: u32) -> u32 { return a & 0xffffu; }\n"
                  "fn high(a: u32) -> u32 { return a >> 16u; }\n"
                  "fn lows(a: u32, b: u32) -> u32 { return low(a) * low(b); }\n"
                  "fn cross(a: u32, b: u32) -> u32 { return high(a) * low(b); }\n"
                  "fn highs(a: u32, b: u32) -> u32 { return high(a) * high(b); }\n"
                  "fn cross1(a: u32, b: u32) -> u32 { return cross(a, b) + high(lows(a, b)); }\n"
                  "fn cross2(a: u32, b: u32) -> u32 { return cross(b, a) + low(cross1(a, b)); }\n"
                  "fn carry(a: u32, b: u32) -> u32 { return high(cross1(a, b)) + high(cross2(a, "
                  "b)); }\n"
                  "fn u32_mulhi(a: u32, b: u32) -> u32 { return highs(a, b) + carry(a, b); }\n"));
    if (e->helpers & HELP_FLOOR_DIV) // rounded down; ~a is -a - 1
        buf_add(e->out,
                S("fn i32_div_below(a: i32, b: i32) -> i32 { return ~(~a / b); }\n"
                  "fn i32_div(a: i32, b: i32) -> i32 { return select(a / b, i32_div_below(a, b), "
                  "a < 0); }\n"
                  "fn i32_mod(a: i32, b: i32) -> i32 { return a - b * i32_div(a, b); }\n"));
}

static void begin(Emit *e) {
    const Kernel *k = e->k;
    if (k->ndims)
        emit_fail(e, ERR_EMIT_NAME, "run-time dimensions are for the CPU; make them constants");
    for (size_t i = 0, told = 0; i < e->order.n && !told; i++)
        if ((told = e->order.at[i]->buf->half)) line(e, "enable f16;");
    if (k->subgroups) line(e, "enable subgroups;\ndiagnostic(off, subgroup_uniformity);");
    for (int i = 0; i < k->nargs; i++) {
        const Mem *m = mem_of(e, k->arg[i]);
        line(e, "@group(0) @binding(%d) var<storage, %s> %s: %S;", i,
             m->buf->written ? "read_write" : "read", m->name, array_type(e, m));
    }
    for (size_t i = 0; i < e->order.n; i++) {
        const Mem *m = e->order.at[i];
        if (m->buf->scope == SCOPE_SHARED)
            line(e, "var<workgroup> %s: %S;", m->name, array_type(e, m));
    }
    helpers(e);
    line(e, "@compute @workgroup_size(%u, %u, %u)", k->wg[0], k->wg[1], k->wg[2]);
    line(e, "fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_id) lid: "
            "vec3<u32>,\n"
            "        @builtin(local_invocation_index) index: u32) {");
}

static void end(Emit *e) { line(e, "}"); }

const char emit_reserved[] =
    // our own, then C's, then WGSL's keywords and reserved words
    "main wg lid index arg dims begin end low high lows cross highs cross1 cross2 carry "
    "u32_mulhi i32_mac i32_dot2 i32_dot4 i32_div_below i32_div i32_mod IDIOM auto break case char "
    "const continue default "
    "do double else enum extern float for goto if inline int long register restrict "
    "return short signed sizeof static struct switch typedef union unsigned void "
    "volatile while bool true false i32 u32 u64 f32 f16 int32_t uint32_t uint64_t asm "
    "alias diagnostic discard enable fn let loop override requires var NULL Self active "
    "as attribute await become cast class common compile delete export external filter "
    "final from get impl import interface layout match meta mod module move mut new nil "
    "null of operator package pass patch precise public ref resource self set shared std "
    "target template this try type unless use using where with array atomic vec2 vec3 "
    "vec4 ptr sampler min max select floor sqrt bitcast unpack2x16float workgroupBarrier "
    "subgroupAdd subgroupMax subgroupBroadcast fma abs sign clamp step mix dot length round exp "
    "log sin cos"
#if !defined(HOB_PAGE) // where every name is the compiler's own, and none of these
    " alignas alignof asm_fragment abstract async catch co_await co_return co_yield "
    "coherent column_major compile_fragment concept const_assert const_cast consteval "
    "constexpr constinit crate debugger decltype demote demote_to_helper dynamic_cast "
    "explicit extends fallthrough finally friend fxgroup groupshared highp implements "
    "instanceof lowp macro macro_rules mat2x2 mediump mutable namespace noexcept "
    "noinline nointerpolation non_coherent noncoherent noperspective nullptr packoffset "
    "partition pixelfragment precision premerge priv protected pub readonly regardless "
    "reinterpret_cast require smooth snorm subroutine super thread_local throw trait "
    "typeid typename typeof unorm unsafe varying virtual writeonly yield"
#endif
    ;

const Dialect dialect_wgsl = {
    .name = "wgsl",
    .version = 1,
    .arg_vectors = true,
    .mixes = true,
    .native = native,
    .type = type,
    .splat = splat,
    .gather = gather,
    .to_half = to_half,
    .gather_end = ")",
    .op = {OPERATOR_SIGNS, [EX_MIN] = "min(%0, %1)", [EX_MAX] = "max(%0, %1)",
           [EX_MULHI] = "u32_mulhi(%0, %1)", [EX_LAND] = "&&", [EX_LOR] = "||", [EX_LNOT] = "!%0",
           [EX_SELECT] = "select(%2, %1, %0)", [EX_DOT4] = "i32_dot4(%0, %1, %2)",
           [EX_F16LO] = "unpack2x16float(%0).x", [EX_F16HI] = "unpack2x16float(%0).y",
           [EX_FLOOR] = "floor(%0)", [EX_SQRT] = "sqrt(%0)", [EX_SUBADD] = "subgroupAdd(%0)",
           [EX_SUBMAX] = "subgroupMax(%0)", [EX_SUBAT] = "subgroupBroadcast(%0, %1)",
           [EX_FMA] = "fma(%0, %1, %2)"},
    .vop = {OPERATOR_SIGNS, [EX_MIN] = "min(%0, %1)", [EX_MAX] = "max(%0, %1)", [EX_LAND] = "&",
            [EX_LOR] = "|", [EX_LNOT] = "!%0", [EX_SELECT] = "select(%2, %1, %0)",
            [EX_FLOOR] = "floor(%0)", [EX_SQRT] = "sqrt(%0)", [EX_SUBADD] = "subgroupAdd(%0)",
            [EX_SUBMAX] = "subgroupMax(%0)", [EX_SUBAT] = "subgroupBroadcast(%0, %1)",
            [EX_FMA] = "fma(%0, %1, %2)"},
    .cast = {[TY_I32] = {[TY_U32] = "i32(%0)", [TY_F32] = "i32(%0)", [TY_BOOL] = "i32(%0)"},
             [TY_U32] = {[TY_I32] = "u32(%0)", [TY_F32] = "u32(%0)", [TY_BOOL] = "u32(%0)"},
             [TY_F32] = {[TY_I32] = "f32(%0)", [TY_U32] = "f32(%0)", [TY_BOOL] = "f32(%0)"}},
    .vcast = {[TY_I32] = {[TY_U32] = "%t(%0)", [TY_F32] = "%t(%0)", [TY_BOOL] = "%t(%0)"},
              [TY_U32] = {[TY_I32] = "%t(%0)", [TY_F32] = "%t(%0)", [TY_BOOL] = "%t(%0)"},
              [TY_F32] = {[TY_I32] = "%t(%0)", [TY_U32] = "%t(%0)", [TY_BOOL] = "%t(%0)"}},
    .bits = "bitcast<%t>(%0)",
    .vbits = "bitcast<%t>(%0)",
    .constant = "let %0 = %1",
    .variable = "var %0: %t",
    .array = array,
    .begin = begin,
    .end = end,
    .loop = loop,
    .barrier = "workgroupBarrier();",
};
