// compile/menu.c: the kernels that a build for the CPU carries, printed by hob-menu.
//
// A CPU kernel is compiled with the tool, before any model is seen: sizes come at run time. Which
// kernels there are is not a list that someone keeps but what the compiler itself makes: small
// graphs that hold every operator, in every encoding and each way in which q, k, v and gate, up may
// or may not be joined, go through the very passes that a model will; equal nests are printed once.
// A model finds its kernels by nest key. One that is missing (an encoding or a size nobody foresaw)
// runs in the interpreter, and the device says so.
#include "compile/compile.h"

typedef struct MenuGraph {
    const char *q, *k, *v, *gate, *up, *rest; // encodings; rest: embedding, output, down, head
    bool bias;
    i64 head_dim; // heads of 32 or 40 fill every vector; of 10, none: such heads go one element at
                  // a time
    i64 logits;   // most rows that get logits: one, or several (forced decoding)
    i64 hidden, ffn; // 64; or sizes that are no whole tiles of a kernel
    i64 vocab;       // whole tiles or not as well
} MenuGraph;

enum { HEADS = 2, VOCAB = 320, CTX = 64, CHUNK = 16 };

static void weight(Buf *b, const char *name, const char *enc, i64 rows, i64 cols) {
    buf_fmt(b, "weight %s: %s[%D, %D] = %s[0+%D]\n", name, enc, rows, cols, name, rows);
}

static void vector(Buf *b, const char *name, i64 n) {
    buf_fmt(b, "weight %s: f32[%D] = %s[0+%D]\n", name, n, name, n);
}

static void project(Buf *b, const MenuGraph *m, const char *name, const char *x, const char *w) {
    if (!m->bias) {
        buf_fmt(b, "%s = matmul(%s, %s)\n", name, x, w);
    } else {
        buf_fmt(b, "%s.0 = matmul(%s, %s)\n%s = add(%s.0, bias.%s)\n", name, x, w, name, name, w);
    }
}

// One layer of a llama in the text form of graphs, as model/llama.c would build it.
static Str graph_text(Arena *a, const MenuGraph *m) {
    Buf b = {.arena = a};
    i64 d = m->head_dim, hidden = m->hidden, ffn = m->ffn, q = HEADS * d, kv = d;
    QuantId rest = QUANT_F32;
    must(quant_named(str_c(m->rest), &rest));
    buf_fmt(&b, "graph ctx=%d chunk=%d m=%D vocab=%D layers=1\n", (i32)CTX, (i32)CHUNK, m->logits,
            m->vocab);
    weight(&b, "embd", m->rest, m->vocab, hidden);
    weight(&b, "wq", m->q, q, hidden);
    weight(&b, "wk", m->k, kv, hidden);
    weight(&b, "wv", m->v, kv, hidden);
    weight(&b, "wo", q % MAX2(quant_info(rest)->block, 32) == 0 ? m->rest : "f32", hidden, q);
    weight(&b, "wg", m->gate, ffn, hidden);
    weight(&b, "wu", m->up, ffn, hidden);
    weight(&b, "wd", m->rest, hidden, ffn);
    vector(&b, "g", hidden);
    vector(&b, "bias.wq", q);
    vector(&b, "bias.wk", kv);
    vector(&b, "bias.wv", kv);
    vector(&b, "bias.wo", hidden);
    buf_add(&b, S("ring tokens: i32[4096]\nconst freq: u32["));
    buf_fmt(&b, "%D] =", d / 2);
    for (i64 i = 0; i < d / 2; i++) buf_add(&b, S(" 1"));
    buf_fmt(&b, "\ncache kv: f32[2, %d, %D] @0\n", (i32)CTX, d);
    buf_fmt(&b, "table = rope_table(freq) {rot_dim=%D}\nx = embed(embd, tokens)\n", d);
    buf_add(&b, S("h = rms_norm(x, g) {eps=1e-5}\n"));
    project(&b, m, "q", "h", "wq");
    project(&b, m, "k", "h", "wk");
    project(&b, m, "v", "h", "wv");
    buf_fmt(&b, "qr = rope(q, table) {heads=%d, head_dim=%D, rot_dim=%D}\n", (i32)HEADS, d, d);
    buf_fmt(&b, "kr = rope(k, table) {heads=1, head_dim=%D, rot_dim=%D}\n", d, d);
    buf_fmt(&b, "append(kr, kv) {kv_heads=1, head_dim=%D, keys=1}\n", d);
    buf_fmt(&b, "append(v, kv) {kv_heads=1, head_dim=%D}\n", d);
    buf_fmt(&b, "y = attention(qr, kv) {heads=%d, kv_heads=1, head_dim=%D}\n", (i32)HEADS, d);
    project(&b, m, "o", "y", "wo");
    buf_add(&b, S("x1 = add(x, o)\nh1 = rms_norm(x1, g) {eps=1e-5}\n"
                  "gate = matmul(h1, wg)\nup = matmul(h1, wu)\nact = silu_mul(gate, up)\n"
                  "down = matmul(act, wd)\nx2 = add(x1, down)\nlast = take_rows(x2)\n"
                  "h2 = rms_norm(last, g) {eps=1e-5}\nlogits out = matmul(h2, embd)\n"
                  "argmax(out, tokens)\nsample(out, tokens)\n"));
    return buf_str(&b);
}

static bool add_graph(Arena *a, EmitMenu *menu, const Profile *p, const MenuGraph *m, Err *err) {
    CompileOptions o = {
        .profile = p, .graph_text = graph_text(a, m), .graph_file = S("menu.hgraph")};
    Program *prog;
    if (!compile_program(a, NULL, &o, &prog, err)) return false;
    for (int i = 0; i < prog->nkernels; i++)
        if (!emit_menu_row(menu, prog->kernels[i].nest_key, prog->kernels[i].ir, err)) return false;
    return true;
}

// Every operator in every encoding or only one, in the mode of the profile.
static bool add_graphs(Arena *a, EmitMenu *menu, const Profile *p, Str only, bool native,
                       Err *err) {
    for (int q = 0; q < QUANT_COUNT; q++) {
        const char *e = quant_info((QuantId)q)->name;
        if (only.len && !str_eq(only, str_c(e))) continue;
        const i64 block = quant_info((QuantId)q)->block;
        const i64 wide = MAX2(64, block), head = wide / HEADS; // rows are whole blocks
        for (i64 m = 1; m <= 3; m++)
            if (!add_graph(a, menu, p,
                           &(MenuGraph){e, e, e, e, e, e, false, head, MIN2(m, 2), wide, wide,
                                        m == 3 ? VOCAB + 3 : VOCAB},
                           err))
                return false;
        // rows that fill two vectors of a wide processor but not four
        const i64 three = 3 * 32;
        if (p->vec == 16 && three % block == 0 &&
            !add_graph(a, menu, p,
                       &(MenuGraph){e, e, e, e, e, e, false, three / HEADS, 1, three, three, VOCAB},
                       err))
            return false;
        // the same apart: each projection a matmul of its own, with a bias, and gate and up not
        // woven; heads of 40, so that the rows of a weight are no whole tiles
        const char *other = q == QUANT_F32 ? "f16" : "f32";
        if (!add_graph(a, menu, p,
                       &(MenuGraph){e, other, e, e, other, e, true, 40, 1, wide, wide, VOCAB}, err))
            return false;
        // the same for gate and up of no whole tiles, which read another number of bits than q, k
        // and v do; too rare to be fetched by every page
        if (p->act_bits && native &&
            !add_graph(a, menu, p,
                       &(MenuGraph){e, other, e, e, other, "f16", false, 10, 1, wide, 46, VOCAB},
                       err))
            return false;
        // sizes that are no whole tiles, as far as the encoding's blocks let k be so
        bool odd = block <= 2;
        const char *rest = odd ? e : "f16";
        if (!add_graph(a, menu, p,
                       &(MenuGraph){e, e, e, e, e, rest, false, 10, 1, odd ? 50 : wide, 46, VOCAB},
                       err))
            return false;
    }
    if (!add_graph(
            a, menu, p,
            &(MenuGraph){"f32", "f32", "f32", "f32", "f32", "f32", true, 10, 1, 64, 64, VOCAB},
            err))
        return false;
    return true;
}

bool menu_print(Arena *a, Str isa, Str only, Buf *out, Err *err) {
    static const struct {
        const char *isa, *profile;
        bool reference, fast; // a page fetches the kernels of one mode only
    } rows[] = {{"plain", "cpu4", true, true},         {"avx2", "cpu", true, true},
                {"avx512", "cpu16", true, true},       {"simd128", "cpu4", true, false},
                {"relaxed", "cpu4", true, false},      {"simd128_fast", "cpu4", false, true},
                {"relaxed_fast", "cpu4", false, true}, {"neon", "cpu4", true, true},
                {"neon_dot", "cpu4", true, true}};
    Profile p;
    size_t r = 0;
    while (r < COUNT_OF(rows) && !str_eq(isa, str_c(rows[r].isa))) r++;
    if (r == COUNT_OF(rows)) {
        Buf known = {.arena = a};
        for (r = 0; r < COUNT_OF(rows); r++) buf_fmt(&known, "%s%s", r ? ", " : "", rows[r].isa);
        return err_set(err, ERR_USAGE, "no instruction set '%S'; known: %S", isa, buf_str(&known));
    }
    must(profile_named(str_c(rows[r].profile), &p));
    EmitMenu *menu = emit_menu_begin(a, &p, isa, out);
    bool native = rows[r].reference && rows[r].fast;
    bool ok = !rows[r].reference || add_graphs(a, menu, &p, only, native, err);
    p.act_bits = 8;
    ok = ok && (!rows[r].fast || add_graphs(a, menu, &p, only, native, err));
    if (ok) emit_menu_end(menu);
    return ok;
}
