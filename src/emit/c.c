// emit/c.c: the C dialect: kernels for processors, for gcc, clang and zig's clang.
//
// A kernel is `void NAME(void *const *arg, const i32 *dims, i32 begin, i32 end)` over a range of
// its outermost loop. Vectors are GCC's vector types, which both compilers map to what the machine
// has (and split what it has not). The prelude names types and idioms, f32x8_min for instance, at
// most five operations each on registers; it is text, so that one printed file needs no header of
// ours. There is no workgroup memory, barrier or subgroup here.
#include "emit/emit_int.h"

static bool native(const Profile *p, i64 lanes) {
    i64 most = MAX2(p ? p->vec : 4, 4);
    return (!p || p->vec > 1) && lanes >= 2 && lanes <= MIN2(most, MAX_LANES) &&
           !(lanes & (lanes - 1));
}

static void type(Buf *o, Type t, int lanes) {
    static const char *const word[TY_COUNT] = {"i32", "u32", "f32", "bool"}; // ORDER TYPE
    if (lanes)
        buf_fmt(o, "%sx%d", t == TY_BOOL ? "i32" : word[t], lanes);
    else
        buf_fmt(o, "%s", word[t]);
}

static void splat(Buf *o, Type t, int lanes, Str scalar) {
    type(o, t, lanes);
    buf_fmt(o, t == TY_BOOL ? "_of(-(i32)(%S))" : "_of(%S)", scalar);
}

static void gather(Buf *o, Type t, int lanes) {
    buf_char(o, '(');
    type(o, t, lanes);
    buf_add(o, S("){"));
}

static void vector_at(Emit *e, const Mem *m, int lanes, Str index, bool store, Buf *o) {
    (void)e;
    buf_fmt(o, store || m->buf->written || m->buf->scope == SCOPE_REG ? "*(" : "*(const ");
    type(o, m->buf->type, lanes);
    buf_fmt(o, "u *)&%s[%S]", m->name, index);
}

static void array(Emit *e, const Mem *m) {
    Buf t = {.arena = e->arena};
    int lanes = m->lay == LAY_VECTORS ? m->lanes : 0;
    type(&t, m->buf->type, lanes);
    line(e, "%S %s[%D];", buf_str(&t), m->name, MAX2(lanes ? m->elems / lanes : m->elems, 1));
}

static int loop(Emit *e, const Stmt *s, const char *name) {
    if (s->loop != LOOP_CPU)
        return emit_fail(e, ERR_EMIT_LOOP,
                         "C has no workgroups or threads; schedule it for a CPU profile"),
               -1;
    if (e->cpu_loop || e->indent != 1)
        return emit_fail(e, ERR_EMIT_LOOP,
                         "the loop shared among CPU threads is the outermost, and one"),
               -1;
    e->cpu_loop = true;
    line(e, "for (i32 %s = begin; %s < end; %s++) {", name, name, name);
    return 1;
}

static void begin(Emit *e) {
    const Kernel *k = e->k;
    line(e, "%svoid %S(void *const *arg, const i32 *dims, i32 begin, i32 end)",
         e->is_static ? "KERNEL " : "", e->fn);
    line(e, "{");
    e->indent = 1;
    for (int i = 0; i < k->nargs; i++) {
        const Mem *m = mem_of(e, k->arg[i]);
        Buf t = {.arena = e->arena};
        if (!m->used) continue;
        type(&t, m->buf->type, 0);
        line(e, "%s%S *restrict %s = arg[%d];", m->buf->written ? "" : "const ", buf_str(&t),
             m->name, i);
    }
    bool dims = false;
    for (int i = 0; i < k->ndims; i++) {
        const Name *n = name_of(e, k->dim[i]);
        if (n->used) line(e, "const i32 %s = dims[%d];", n->text, i);
        dims |= n->used;
    }
    if (!dims) line(e, "(void)dims;");
    for (size_t i = 0; i < e->order.n; i++)
        if (e->order.at[i]->buf->scope == SCOPE_SHARED)
            emit_fail(e, ERR_EMIT_LOOP, "C has no workgroup memory; schedule it for a CPU profile");
    if (!e->cpu_loop) { // nothing to share: whoever has the first iteration does it
        line(e, "if (begin != 0 || end < 1)");
        line(e, "    return;");
    }
}

static void end(Emit *e) {
    e->indent = 0;
    line(e, "}");
}

// ---- the prelude --------------------------------------------------------------------------------

// xN and B stand for the number of lanes and of bits in a vector.
static void lanes_text(Buf *o, const char *text, int n) {
    for (const char *p = text; *p; p++) {
        if (p[0] == 'x' && p[1] == 'N')
            buf_fmt(o, "x%d", n), p++;
        else if (*p == 'B' && (p[1] == '_' || p[1] == 'i'))
            buf_fmt(o, n == 4 ? "" : "%d", 32 * n);
        else
            buf_char(o, *p);
    }
}

// Ways to say the same for one number of lanes: the first whose condition the C compiler finds
// true.
typedef struct Form {
    const char *condition; // NULL: not for this number of lanes
    const char *const *text;
    size_t count;
} Form;

static void one_of(Buf *o, const Form *form, size_t n, const Form *plain, int lanes) {
    bool any = false;
    for (size_t i = 0; i < n; i++) {
        if (!form[i].condition) continue;
        buf_fmt(o, "#%s %s\n", any ? "elif" : "if", form[i].condition);
        for (size_t k = 0; k < form[i].count; k++) lanes_text(o, form[i].text[k], lanes);
        any = true;
    }
    if (any) buf_add(o, S("#else\n"));
    for (size_t k = 0; k < plain->count; k++) lanes_text(o, plain->text[k], lanes);
    if (any) buf_add(o, S("#endif\n"));
}

// Where no instruction gives the first of two when one is no number.
#define SELECT_MIN_MAX                                                                             \
    "IDIOM f32xN f32xN_min(f32xN a, f32xN b) { return f32xN_select(b < a, b, a); }\n"              \
    "IDIOM f32xN f32xN_max(f32xN a, f32xN b) { return f32xN_select(a < b, b, a); }\n"

// Least, most, whole numbers: i32 truncates and saturates.
static void rounding(Buf *o, int n) {
    static const char *const plain[] = {
        SELECT_MIN_MAX,
        "IDIOM f32xN f32xN_into_i32(f32xN a) { return f32xN_max(f32xN_min(a, "
        "f32xN_of(0x1.fffffep+30f)), f32xN_of(-0x1p+31f)); }\n",
        "IDIOM i32xN f32xN_to_i32(f32xN a) { return i32xN_select(a >= f32xN_of(0x1p+31f), "
        "i32xN_of(0x7fffffff), "
        "__builtin_convertvector(f32xN_into_i32(a), i32xN)); }\n",
        // rounded down: from 2^23 on a number is whole already, and one below it fits an i32
        "IDIOM f32xN f32xN_whole(f32xN a) { return __builtin_convertvector(f32xN_to_i32(a), "
        "f32xN); }\n",
        "IDIOM f32xN f32xN_down(f32xN a, f32xN t) { return t - f32xN_select(a < t, f32xN_of(1), "
        "f32xN_of(0)); }\n",
        "IDIOM i32xN f32xN_large(f32xN a) { return ((i32xN)a & 0x7fffffff) >= "
        "i32xN_of(0x4b000000); }\n",
        "IDIOM f32xN f32xN_floor(f32xN a) { return f32xN_select(f32xN_large(a), a, f32xN_down(a, "
        "f32xN_whole(a))); }\n"};
    // min and max give the second of two where one is no number; what an i32 cannot hold converts
    // to 0x80000000
    static const char *const x86[] = {
        "IDIOM f32xN f32xN_min(f32xN a, f32xN b) { return (f32xN)_mmB_min_ps(b, a); }\n",
        "IDIOM f32xN f32xN_max(f32xN a, f32xN b) { return (f32xN)_mmB_max_ps(b, a); }\n",
        ("IDIOM i32xN f32xN_to_i32(f32xN a) { return (i32xN)_mmB_cvttps_epi32(a) ^ (a >= "
         "f32xN_of(0x1p+31f)); }\n"),
        "IDIOM f32xN f32xN_floor(f32xN a) { return (f32xN)_mmB_floor_ps(a); }\n"};
    static const char *const wasm[] = {
        "IDIOM f32xN f32xN_min(f32xN a, f32xN b) { return (f32xN)wasm_f32x4_pmin((v128_t)a, "
        "(v128_t)b); }\n",
        "IDIOM f32xN f32xN_max(f32xN a, f32xN b) { return (f32xN)wasm_f32x4_pmax((v128_t)a, "
        "(v128_t)b); }\n",
        "IDIOM i32xN f32xN_to_i32(f32xN a) { return (i32xN)wasm_i32x4_trunc_sat_f32x4((v128_t)a); "
        "}\n",
        "IDIOM f32xN f32xN_floor(f32xN a) { return (f32xN)wasm_f32x4_floor((v128_t)a); }\n"};
    static const char *const neon[] = {
        SELECT_MIN_MAX,
        "IDIOM i32xN f32xN_to_i32(f32xN a) { return (i32xN)vcvtq_s32_f32((float32x4_t)a); }\n",
        "IDIOM f32xN f32xN_floor(f32xN a) { return (f32xN)vrndmq_f32((float32x4_t)a); }\n"};
    const Form forms[] = {
        {n == 16  ? "defined(__AVX512F__)"
         : n == 8 ? "defined(__AVX2__)"
         : n == 4 ? "defined(__F16C__)"
                  : NULL,
         x86, COUNT_OF(x86)},
        {n == 4 ? "defined(__wasm_simd128__)" : NULL, wasm, COUNT_OF(wasm)},
        {n == 4 ? "defined(__aarch64__)" : NULL, neon, COUNT_OF(neon)},
    };
    one_of(o, forms, COUNT_OF(forms), &(Form){NULL, plain, COUNT_OF(plain)}, n);
}

static void vectors(Buf *o, int n) {
    static const char *const word[3] = {"i32", "u32", "f32"};
    for (int t = 0; t < 3; t++) {
        const char *w = word[t];
        buf_fmt(o, "typedef %s %sx%d __attribute__((vector_size(%d)));\n", w, w, n, 4 * n);
        buf_fmt(o, "typedef %s %sx%du __attribute__((vector_size(%d), aligned(4), may_alias));\n",
                w, w, n, 4 * n);
    }
    for (int t = 0; t < 3; t++) {
        const char *w = word[t];
        buf_fmt(o, "IDIOM %sx%d %sx%d_of(%s a) { return (%sx%d){", w, n, w, n, w, w, n);
        for (int i = 0; i < n; i++) buf_fmt(o, "%sa", i ? ", " : "");
        buf_fmt(o, "}; }\n");
        buf_fmt(o, "IDIOM %sx%d %sx%d_in_order(%sx%d a) { IN_ORDER(a); return a; }\n", w, n, w, n,
                w, n);
        buf_fmt(o,
                "IDIOM %sx%d %sx%d_select(i32x%d c, %sx%d a, %sx%d b) { return (%sx%d)(((i32x%d)a "
                "& c) | ((i32x%d)b & ~c)); }\n",
                w, n, w, n, n, w, n, w, n, w, n, n, n);
        if (t == 2) break;
        buf_fmt(o,
                "IDIOM %sx%d %sx%d_min(%sx%d a, %sx%d b) { return %sx%d_select(b < a, b, a); }\n",
                w, n, w, n, w, n, w, n, w, n);
        buf_fmt(o,
                "IDIOM %sx%d %sx%d_max(%sx%d a, %sx%d b) { return %sx%d_select(a < b, b, a); }\n",
                w, n, w, n, w, n, w, n, w, n);
    }
    static const char *const rest[] = {
        // f32 -> u32: below 2^31, from there on, and past the end; what is no number is 0
        "IDIOM u32xN f32xN_low_u32(f32xN a) { return "
        "(u32xN)__builtin_convertvector(f32xN_min(f32xN_max(f32xN_of(0), a), "
        "f32xN_of(0x1.fffffep+30f)), i32xN); }\n",
        "IDIOM u32xN f32xN_high_u32(f32xN a) { return f32xN_low_u32(a - f32xN_of(0x1p+31f)) | "
        "u32xN_of(0x80000000u); }\n",
        "IDIOM u32xN f32xN_all_u32(f32xN a) { return u32xN_select(a >= f32xN_of(0x1p+31f), "
        "f32xN_high_u32(a), "
        "f32xN_low_u32(a)); }\n",
        "IDIOM u32xN f32xN_to_u32(f32xN a) { return f32xN_all_u32(a) | (u32xN)(a >= "
        "f32xN_of(0x1p+32f)); }\n",
        // halves: shifted into place, the exponent is put right by a product that is exact, for
        // subnormals too
        "IDIOM f32xN u32xN_half(u32xN a) { return (f32xN)((a & 0x7fffu) << 13) * 0x1p+112f; }\n",
        "IDIOM f32xN u32xN_signed_half(u32xN a) { return (f32xN)((u32xN)u32xN_half(a) | (a & "
        "0x8000u) << 16); }\n",
    };
    rounding(o, n);
    for (size_t i = 0; i < COUNT_OF(rest); i++) lanes_text(o, rest[i], n);
    const char *half = n == 16  ? "_mm512_cvtph_ps(_mm512_cvtepi32_epi16((__m512i)a))"
                       : n == 8 ? "_mm256_cvtph_ps(u32x8_halves(a))"
                                : "_mm_cvtph_ps(u32x4_halves(a))";
    if (n == 4)
        buf_fmt(o, "#ifdef __aarch64__\n"
                   "IDIOM f32x4 u32x4_f16lo(u32x4 a) { return "
                   "(f32x4)vcvt_f32_f16(vreinterpret_f16_u16(vmovn_u32((uint32x4_t)a))); }\n#el");
    bool f16c = n == 16 || n == 8 || n == 4;
    if (n == 16) buf_fmt(o, "#ifdef __AVX512F__\n");
    if (n == 4)
        buf_fmt(o, "if defined(__F16C__)\n"
                   "IDIOM __m128i u32x4_halves(u32x4 a) { return _mm_packus_epi32((__m128i)(a & "
                   "0xffffu), (__m128i)(a & 0xffffu)); }\n");
    if (n == 8)
        buf_fmt(o, "#if defined(__F16C__) && defined(__AVX2__)\n"
                   "IDIOM __m256i u32x8_packed(u32x8 a) { return _mm256_packus_epi32((__m256i)(a & "
                   "0xffffu), (__m256i)(a & 0xffffu)); }\n"
                   "IDIOM __m128i u32x8_halves(u32x8 a) { return "
                   "_mm256_castsi256_si128(_mm256_permute4x64_epi64(u32x8_packed(a), 0x88)); }\n");
    if (f16c)
        buf_fmt(o, "IDIOM f32x%d u32x%d_f16lo(u32x%d a) { return (f32x%d)%s; }\n#else\n", n, n, n,
                n, half);
    buf_fmt(o, "IDIOM f32x%d u32x%d_f16lo(u32x%d a) { return u32x%d_signed_half(a); }\n%s", n, n, n,
            n, f16c ? "#endif\n" : "");
    buf_fmt(o, "IDIOM f32x%d u32x%d_f16hi(u32x%d a) { return u32x%d_f16lo(a >> 16); }\n", n, n, n,
            n);
}

// Sums of products of signed bytes, four a word. `small`: the bytes of b are below 128, so that
// what multiplies unsigned by signed bytes needs no correction.
static void dots(Buf *o, int n) {
    static const char *const plain[] = {
        "IDIOM i32xN i32xN_mac(i32xN s, u32xN a, u32xN b) { return s + ((i32xN)a >> 24) * "
        "((i32xN)b >> 24); }\n",
        "IDIOM i32xN i32xN_dot2(i32xN s, u32xN a, u32xN b) { return i32xN_mac(i32xN_mac(s, a << 8, "
        "b << 8), a, b); }\n",
        "IDIOM i32xN i32xN_dot4(i32xN s, u32xN a, u32xN b) { return i32xN_dot2(i32xN_dot2(s, a << "
        "16, b << 16), a, b); }\n",
        "IDIOM i32xN i32xN_dot4_small(i32xN s, u32xN a, u32xN b) { return i32xN_dot4(s, a, b); "
        "}\n"};
    static const char *const vnni[] = {
        "IDIOM i32xN i32xN_dot4_small(i32xN s, u32xN a, u32xN b) { return "
        "(i32xN)_mmB_dpbusd_epi32((__mBi)s, (__mBi)b, (__mBi)a); }\n",
        "IDIOM i32xN i32xN_dot4(i32xN s, u32xN a, u32xN b) { return i32xN_dot4_small(s, a, b ^ "
        "0x80808080u) - i32xN_dot4_small(i32xN_of(0), a, u32xN_of(0x80808080u)); }\n"};
    // even and odd bytes as 16-bit numbers, whose products are added in pairs
    static const char *const avx2[] = {
        "IDIOM __m256i u32x8_even(u32x8 a) { return "
        "_mm256_srai_epi16(_mm256_slli_epi16((__m256i)a, "
        "8), 8); }\n",
        "IDIOM __m256i u32x8_odd(u32x8 a) { return _mm256_srai_epi16((__m256i)a, 8); }\n",
        "IDIOM i32x8 u32x8_evens(u32x8 a, u32x8 b) { return "
        "(i32x8)_mm256_madd_epi16(u32x8_even(a), u32x8_even(b)); }\n",
        "IDIOM i32x8 u32x8_odds(u32x8 a, u32x8 b) { return "
        "(i32x8)_mm256_madd_epi16(u32x8_odd(a), u32x8_odd(b)); }\n",
        "IDIOM i32x8 i32x8_dot4(i32x8 s, u32x8 a, u32x8 b) { return s + u32x8_evens(a, b) + "
        "u32x8_odds(a, b); }\n",
        "IDIOM i32x8 i32x8_dot4_small(i32x8 s, u32x8 a, u32x8 b) { return s + "
        "(i32x8)_mm256_madd_epi16(_mm256_maddubs_epi16((__m256i)b, (__m256i)a), "
        "_mm256_set1_epi16(1)); }\n"};
    static const char *const wasm[] = {
        "IDIOM v128_t u32x4_even(u32x4 a) { return wasm_i16x8_shr(wasm_i16x8_shl((v128_t)a, 8), "
        "8); "
        "}\n",
        "IDIOM v128_t u32x4_odd(u32x4 a) { return wasm_i16x8_shr((v128_t)a, 8); }\n",
        "IDIOM i32x4 u32x4_evens(u32x4 a, u32x4 b) { return "
        "(i32x4)wasm_i32x4_dot_i16x8(u32x4_even(a), u32x4_even(b)); }\n",
        "IDIOM i32x4 u32x4_odds(u32x4 a, u32x4 b) { return "
        "(i32x4)wasm_i32x4_dot_i16x8(u32x4_odd(a), u32x4_odd(b)); }\n",
        "IDIOM i32x4 i32x4_dot4(i32x4 s, u32x4 a, u32x4 b) { return s + u32x4_evens(a, b) + "
        "u32x4_odds(a, b); }\n",
        "#ifdef __wasm_relaxed_simd__\n"
        "IDIOM i32x4 i32x4_dot4_small(i32x4 s, u32x4 a, u32x4 b) { return "
        "(i32x4)wasm_i32x4_relaxed_dot_i8x16_i7x16_add((v128_t)a, (v128_t)b, (v128_t)s); }\n"
        "#else\n"
        "IDIOM i32x4 i32x4_dot4_small(i32x4 s, u32x4 a, u32x4 b) { return i32x4_dot4(s, a, b); "
        "}\n"
        "#endif\n"};
    static const char *const neon_dot[] = {
        "IDIOM i32x4 i32x4_dot4(i32x4 s, u32x4 a, u32x4 b) { return "
        "(i32x4)vdotq_s32((int32x4_t)s, (int8x16_t)a, (int8x16_t)b); }\n",
        "IDIOM i32x4 i32x4_dot4_small(i32x4 s, u32x4 a, u32x4 b) { return i32x4_dot4(s, a, b); "
        "}\n"};
    // 16-bit products of bytes; where b's are small, two of them fit 16 bits
    static const char *const neon[] = {
        "IDIOM int16x8_t u32x4_low(u32x4 a, u32x4 b) { return "
        "vmull_s8(vget_low_s8((int8x16_t)a), vget_low_s8((int8x16_t)b)); }\n",
        "IDIOM int16x8_t u32x4_high(u32x4 a, u32x4 b) { return vmull_high_s8((int8x16_t)a, "
        "(int8x16_t)b); }\n",
        "IDIOM int32x4_t u32x4_products(u32x4 a, u32x4 b) { return "
        "vpaddq_s32(vpaddlq_s16(u32x4_low(a, b)), vpaddlq_s16(u32x4_high(a, b))); }\n",
        "IDIOM i32x4 i32x4_dot4(i32x4 s, u32x4 a, u32x4 b) { return s + (i32x4)u32x4_products(a, "
        "b); }\n",
        "IDIOM i32x4 i32x4_dot4_small(i32x4 s, u32x4 a, u32x4 b) { return "
        "(i32x4)vpadalq_s16((int32x4_t)s, vpaddq_s16(u32x4_low(a, b), u32x4_high(a, b))); }\n"};
    const Form forms[] = {
        {n == 16  ? "defined(__AVX512VNNI__)"
         : n == 8 ? "defined(__AVX512VNNI__) && defined(__AVX512VL__)"
                  : NULL,
         vnni, COUNT_OF(vnni)},
        {n == 8 ? "defined(__AVX2__)" : NULL, avx2, COUNT_OF(avx2)},
        {n == 4 ? "defined(__wasm_simd128__)" : NULL, wasm, COUNT_OF(wasm)},
        {n == 4 ? "defined(__ARM_FEATURE_DOTPROD)" : NULL, neon_dot, COUNT_OF(neon_dot)},
        {n == 4 ? "defined(__aarch64__)" : NULL, neon, COUNT_OF(neon)},
    };
    one_of(o, forms, COUNT_OF(forms), &(Form){NULL, plain, COUNT_OF(plain)}, n);
}

static void prelude(Buf *o, const Profile *p) {
    buf_add(o, S("#include <stdbool.h>\n#include <stdint.h>\n"
                 "#ifdef __F16C__\n#include <immintrin.h>\n#endif\n"
                 "#ifdef __wasm_simd128__\n#include <wasm_simd128.h>\n#endif\n"
                 "#ifdef __aarch64__\n#include <arm_neon.h>\n#endif\n"
                 "#if defined(__GNUC__) && !defined(__clang__)\n#pragma GCC diagnostic ignored "
                 "\"-Wpsabi\"\n#endif\n"
                 "#define IDIOM static inline __attribute__((always_inline, unused))\n"
                 // clang makes wasm of a chain of sums as one tree: all sums of one vector, then
                 // all of the next, each waiting for the one before it
                 "#ifdef __wasm__\n#define IN_ORDER(a) __asm__ volatile(\"\" : \"+r\"(a))\n"
                 "#else\n#define IN_ORDER(a) (void)a\n#endif\n"
                 "#define FETCH(a) __builtin_prefetch(&(a))\n"
                 "typedef int32_t i32;\ntypedef uint32_t u32;\ntypedef uint64_t u64;\ntypedef "
                 "float f32;\n"));
    static const char *const word[3] = {"i32", "u32", "f32"};
    for (int t = 0; t < 3; t++) {
        const char *w = word[t];
        buf_fmt(o, "IDIOM %s %s_min(%s a, %s b) { return b < a ? b : a; }\n", w, w, w, w);
        buf_fmt(o, "IDIOM %s %s_max(%s a, %s b) { return a < b ? b : a; }\n", w, w, w, w);
    }
    static const char *const as[4][2] = {
        {"u32", "f32"}, {"i32", "f32"}, {"f32", "u32"}, {"f32", "i32"}};
    for (int i = 0; i < 4; i++)
        buf_fmt(o, "IDIOM %s %s_as_%s(%s a) { return (union { %s a; %s b; }){a}.b; }\n", as[i][1],
                as[i][0], as[i][1], as[i][0], as[i][0], as[i][1]);
    buf_add(
        o,
        S("IDIOM i32 i32_mac(i32 s, u32 a, u32 b) { return s + ((i32)a >> 24) * ((i32)b >> 24); }\n"
          "IDIOM i32 i32_dot2(i32 s, u32 a, u32 b) { return i32_mac(i32_mac(s, a << 8, b << 8), a, "
          "b); }\n"
          "IDIOM i32 i32_dot4(i32 s, u32 a, u32 b) { return i32_dot2(i32_dot2(s, a << 16, b << "
          "16), a, b); }\n"
          "IDIOM i32 i32_dot4_small(i32 s, u32 a, u32 b) { return i32_dot4(s, a, b); }\n"
          "IDIOM u32 u32_mulhi(u32 a, u32 b) { return (u32)((u64)a * b >> 32); }\n"
          // rounded down; ~a is -a - 1
          "IDIOM i32 i32_div_below(i32 a, i32 b) { return ~(~a / b); }\n"
          "IDIOM i32 i32_div(i32 a, i32 b) { return a < 0 ? i32_div_below(a, b) : a / b; }\n"
          "IDIOM i32 i32_mod(i32 a, i32 b) { return a - b * i32_div(a, b); }\n"
          "IDIOM i32 f32_below_to_i32(f32 a) { return a >= -0x1p+31f ? (i32)a : a < 0 ? "
          "INT32_MIN : 0; }\n"
          "IDIOM i32 f32_to_i32(f32 a) { return a >= 0x1p+31f ? INT32_MAX : "
          "f32_below_to_i32(a); }\n"
          "IDIOM u32 f32_to_u32(f32 a) { return a >= 0x1p+32f ? UINT32_MAX : a > 0 ? (u32)a : "
          "0; }\n"
          "IDIOM f32 u32_half(u32 a) { return u32_as_f32((a & 0x7fffu) << 13) * 0x1p+112f; }\n"
          "IDIOM f32 u32_f16lo(u32 a) { return u32_as_f32(f32_as_u32(u32_half(a)) | (a & "
          "0x8000u) << 16); }\n"
          "IDIOM f32 u32_f16hi(u32 a) { return u32_f16lo(a >> 16); }\n"));
    for (int n = 2; n <= MAX_LANES; n *= 2)
        if (native(p, n)) {
            vectors(o, n);
            dots(o, n);
        }
    buf_char(o, '\n');
}

void emit_prelude(const Dialect *d, const Profile *p, Buf *out) {
    if (d->cpu) prelude(out, p);
}

const Dialect dialect_c = {
    .name = "c",
    .version = 1,
    .cpu = true,
    .native = native,
    .type = type,
    .splat = splat,
    .gather = gather,
    .gather_end = "}",
    .vector_at = vector_at,
    .op = {OPERATOR_SIGNS, [EX_MIN] = "%a_min(%0, %1)", [EX_MAX] = "%a_max(%0, %1)",
           [EX_MULHI] = "u32_mulhi(%0, %1)", [EX_LAND] = "&&", [EX_LOR] = "||", [EX_LNOT] = "!%0",
           [EX_SELECT] = "(%0 ? %1 : %2)", [EX_F16LO] = "u32_f16lo(%0)",
           [EX_F16HI] = "u32_f16hi(%0)", [EX_FLOOR] = "__builtin_floorf(%0)",
           [EX_SQRT] = "__builtin_sqrtf(%0)", [EX_DOT4] = "i32_dot4(%0, %1, %2)"},
    .vop =
        {OPERATOR_SIGNS, [EX_MIN] = "%a_min(%0, %1)", [EX_MAX] = "%a_max(%0, %1)", [EX_LAND] = "&",
         [EX_LOR] = "|", [EX_LNOT] = "~%0", [EX_SELECT] = "%t_select(%0, %1, %2)",
         [EX_F16LO] = "%a_f16lo(%0)", [EX_F16HI] = "%a_f16hi(%0)", [EX_FLOOR] = "%a_floor(%0)",
         [EX_DOT4] = "%t_dot4(%0, %1, %2)"},
    .cast = {[TY_I32] = {[TY_U32] = "(i32)%0", [TY_F32] = "f32_to_i32(%0)", [TY_BOOL] = "(i32)%0"},
             [TY_U32] = {[TY_I32] = "(u32)%0", [TY_F32] = "f32_to_u32(%0)", [TY_BOOL] = "(u32)%0"},
             [TY_F32] = {[TY_I32] = "(f32)%0", [TY_U32] = "(f32)%0", [TY_BOOL] = "(f32)%0"}},
    .vcast = {[TY_I32] = {[TY_U32] = "(%t)%0", [TY_F32] = "%a_to_i32(%0)", [TY_BOOL] = "(-%0)"},
              [TY_U32] = {[TY_I32] = "(%t)%0", [TY_F32] = "%a_to_u32(%0)", [TY_BOOL] = "(%t)(-%0)"},
              [TY_F32] = {[TY_I32] = "__builtin_convertvector(%0, %t)",
                          [TY_U32] = "__builtin_convertvector(%0, %t)",
                          [TY_BOOL] = "__builtin_convertvector(-%0, %t)"}},
    .small_dot4 = "i32_dot4_small(%0, %1, %2)",
    .small_vdot4 = "%t_dot4_small(%0, %1, %2)",
    .bits = "%a_as_%t(%0)",
    .vbits = "(%t)%0",
    .constant = "const %t %0 = %1",
    .variable = "%t %0",
    .array = array,
    .begin = begin,
    .end = end,
    .loop = loop,
    .fetch = "FETCH(%s);",
    .in_order = "_in_order",
};
