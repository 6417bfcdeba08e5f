// emit/menu.c: the kernels of a build in one C file, with the table by which the device finds them.
//
// Every row is a static function; the table, sorted by nest key, is all that other files see. What
// the kernels are is the caller's choice; a nest that several models share comes once. The
// functions stand in the order of their length, and `used` keeps them there (clang would follow the
// table): what looks alike lies side by side, and a third less goes over the wire.
#include "emit/emit_int.h"

typedef struct Row {
    u64 key;
    Str fn, name, text;
} Row;

struct EmitMenu {
    Arena *arena;
    const Profile *p;
    Str isa;
    Buf *out;
    VEC(Row) rows; // sorted by key
};

EmitMenu *emit_menu_begin(Arena *a, const Profile *p, Str isa, Buf *out) {
    EmitMenu *m = NEW(a, EmitMenu);
    *m = (EmitMenu){.arena = a, .p = p, .isa = isa, .out = out};
    buf_fmt(out,
            "// Kernels for %S, printed by hob-menu. Do not edit: edit the rule or the formula.\n",
            isa);
    emit_prelude(&dialect_c, p, out);
    buf_add(out, S("#define KERNEL static __attribute__((used))\n"));
    buf_add(out, S("typedef struct KernelEntry {\n"
                   "    u64 nest_key;\n"
                   "    void (*fn)(void *const *arg, const i32 *dims, i32 begin, i32 end);\n"
                   "    const char *name;\n"
                   "} KernelEntry;\n"));
    return m;
}

bool emit_menu_row(EmitMenu *m, u64 nest_key, const Kernel *k, Err *err) {
    size_t at = 0;
    while (at < m->rows.n && m->rows.at[at].key < nest_key) at++;
    if (at < m->rows.n && m->rows.at[at].key == nest_key) return true;
    Row row = {nest_key,
               str_fmt(m->arena, "%S_%d", c_name(m->arena, k->name), (i32)m->rows.n),
               arena_str(m->arena, k->name),
               {0}};
    Buf text = {.arena = m->arena};
    if (!emit_function(&dialect_c, k, m->p, row.fn, true, &text, err)) return false;
    row.text = buf_str(&text);
    vec_push(m->arena, &m->rows, row);
    memmove(&m->rows.at[at + 1], &m->rows.at[at], (m->rows.n - 1 - at) * sizeof(Row));
    m->rows.at[at] = row;
    return true;
}

static void print_functions(const EmitMenu *m) {
    const Row **by = NEW_N(m->arena, const Row *, m->rows.n + 1);
    for (size_t i = 0; i < m->rows.n; i++) {
        size_t at = i;
        for (; at > 0 && by[at - 1]->text.len > m->rows.at[i].text.len; at--) by[at] = by[at - 1];
        by[at] = &m->rows.at[i];
    }
    for (size_t i = 0; i < m->rows.n; i++) buf_fmt(m->out, "\n%S", by[i]->text);
}

void emit_menu_end(EmitMenu *m) {
    Buf *o = m->out;
    print_functions(m);
    // a table cannot be empty in C: the last row is no kernel
    buf_fmt(
        o, "\nextern const KernelEntry hob_kernels_%S[];\nextern const u32 hob_kernels_%S_count;\n",
        m->isa, m->isa);
    buf_fmt(o, "const KernelEntry hob_kernels_%S[] = {\n", m->isa);
    for (size_t i = 0; i < m->rows.n; i++) {
        const Row *r = &m->rows.at[i];
        buf_fmt(o, "    {0x%016Xull, %S, \"%S\"},\n", r->key, r->fn, c_name(m->arena, r->name));
    }
    buf_fmt(o, "    {0, 0, 0},\n};\nconst u32 hob_kernels_%S_count = %u;\n", m->isa,
            (u32)m->rows.n);
}
