// Scheduled kernels of every rule, printed as WGSL, with their data and what the float64 referee
// says of at most 64 of their outputs, tails included: what tests/web/kernels.mjs runs in a
// browser.
//
//     wgsl_cases CASES SEED DIR     writes DIR/cases.json and DIR/cases.bin, CASES of each rule,
//     shared among profiles
//
// Nothing is compared here. Profiles: one row a thread without barriers, alone and with lanes that
// share their loads; shared memory with and without subgroups, and packed dot products; a device
// that takes so few workgroups in x that grids are folded into y; and one with 16-bit floats.
#include <stdio.h>
#include "../loop/cases.h"
#include "emit/emit.h"

enum { MOST_OUTPUTS = 64 };

static const struct {
    const char *label, *base;
    int subgroup, dot4, f16, max_grid, from, to;
} profiles[] = {
    {"software", "software", 0, 0, 0, 65535, 0, KIND_COUNT},
    {"software with subgroups", "software", 4, 0, 0, 65535, 0, KIND_COUNT},
    {"gpu with subgroups", "gpu", 4, 0, 0, 65535, 0, KIND_COUNT},
    {"gpu without subgroups", "gpu", 0, 0, 0, 65535, 0, KIND_COUNT},
    {"gpu with dot4", "gpu", 0, 1, 0, 65535, KIND_BYTES, KIND_COUNT},
    {"gpu with f16", "gpu", 0, 0, 1, 65535, KIND_ROWS, KIND_ROWS + 1},
    {"software, folded grid", "software", 0, 0, 0, 7, 0,
     KIND_ROW + 1}, // other kinds use y themselves
};
static const char *const kinds[KIND_COUNT] = {"matmul_row", "matmul_rows", "row_reduce",
                                              "map",        "attention",   "matmul_bytes"};

static void json_text(FILE *f, Str s) {
    fputc('"', f);
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\n')
            fputs("\\n", f);
        else if (s.ptr[i] == '"' || s.ptr[i] == '\\')
            fprintf(f, "\\%c", s.ptr[i]);
        else
            fputc(s.ptr[i], f);
    }
    fputc('"', f);
}

// "want": [[binding, element, value], ...]
static void write_wanted(FILE *f, Case *c, Rng *r) {
    const Stage *out = &c->f->stage[c->f->nstages - 1];
    Env env = {.var = env_var, .load = env_load, .user = c};
    i64 ext[4] = {1, 1, 1, 1}, total = 1;
    bool first = true;
    for (int i = 0; i < out->nax; i++) total *= ext[i] = case_int(c, out->ax[i].extent);
    for (i64 k = 0; k < MIN2(total, MOST_OUTPUTS); k++) {
        i64 flat = total <= MOST_OUTPUTS  ? k
                   : k < MOST_OUTPUTS / 4 ? total - 1 - k
                                          : (i64)(rnd(r) % (u64)total),
            at[4];
        for (int i = out->nax - 1; i >= 0; i--) at[i] = flat % ext[i], flat /= ext[i];
        for (int s = 0; s < out->nstores; s++) {
            double want;
            bool stored;
            must(formula_eval(c->f, NULL, c->f->nstages - 1, s, at, &env, &want, &stored));
            if (!stored) continue;
            const Store *st = &out->store[s];
            const Expr *by[4];
            const Var *var[4];
            for (int i = 0; i < out->nax; i++)
                var[i] = out->ax[i].var, by[i] = ex_int(c->f->x, at[i]);
            i64 where = 0;
            for (int d = 0; d < st->buf->nd; d++)
                where = where * case_int(c, st->buf->dims[d]) +
                        case_int(c, expr_subst(c->f->x, st->idx[d], var, by, out->nax));
            int binding = 0;
            while (c->f->arg[binding] != st->buf) binding++;
            fprintf(f, "%s[%d,%lld,%.17g]", first ? "" : ",", binding, (long long)where, want);
            first = false;
        }
    }
}

static bool write_case(FILE *json, FILE *bin, const Profile *p, const char *label, int kind, Rng *r,
                       bool first) {
    Arena *a = arena_new(NULL);
    Case c;
    Err e = {0};
    Buf text = {.arena = a};
    Profile wide = *p;
    wide.max_grid = 65535;                     // the printer folds what is too wide
    if (p->max_grid < 65535) wide.wg_size = 4; // several workgroups even here
    Kernel *k = random_kernel(a, r, kind, &wide, &c);
    u32 grid[3];
    if (!k) return false;
    case_grid(&c, k, grid);
    i64 lo, most;
    expr_range(k->grid[0], &lo, &most);
    if (!emit_kernel(&dialect_wgsl, k, p, &text, &e))
        return fprintf(stderr, "%s %s: %s\n", label, c.what, e.msg), false;
    if (most > p->max_grid)
        grid[1] = (grid[0] + (u32)p->max_grid - 1) / (u32)p->max_grid, grid[0] = (u32)p->max_grid;
    fprintf(json, "%s{\"rule\":\"%s\",\"profile\":\"%s\",\"what\":", first ? "" : ",\n",
            kinds[kind], label);
    json_text(json, str_c(c.what));
    fputs(",\"text\":", json);
    json_text(json, buf_str(&text));
    fprintf(json, ",\"grid\":[%u,%u,%u],\"bindings\":[", grid[0], grid[1], grid[2]);
    case_clear(&c);
    for (int i = 0; i < c.f->nargs; i++) {
        const Buffer *b = c.f->arg[i];
        fprintf(json, "%s{\"at\":%ld,\"bytes\":%llu,\"type\":\"%s\",\"written\":%s}", i ? "," : "",
                ftell(bin), (unsigned long long)c.data[i].elems * 4,
                b->type == TY_F32   ? "f32"
                : b->type == TY_U32 ? "u32"
                                    : "i32",
                b->written ? "true" : "false");
        fwrite(c.data[i].data, 4, c.data[i].elems, bin);
    }
    fputs("],\"want\":[", json);
    write_wanted(json, &c, r);
    fputs("]}", json);
    arena_free(a);
    return true;
}

int main(int argc, char **argv) {
    if (argc != 4) return fprintf(stderr, "usage: wgsl_cases CASES SEED DIR\n"), 2;
    char path[2][512];
    snprintf(path[0], sizeof path[0], "%s/cases.json", argv[3]);
    snprintf(path[1], sizeof path[1], "%s/cases.bin", argv[3]);
    FILE *json = fopen(path[0], "w"), *bin = fopen(path[1], "wb");
    if (!json || !bin) return perror(argv[3]), 1;
    (void)case_error; // the page compares
    Rng r = {(u64)atoll(argv[2])};
    bool first = true;
    fputs("[", json);
    for (size_t i = 0; i < COUNT_OF(profiles); i++) {
        Profile p;
        must(profile_named(str_c(profiles[i].base), &p));
        p.subgroup = profiles[i].subgroup;
        p.dot4 = profiles[i].dot4;
        if ((p.f16 = profiles[i].f16)) p.act_bits = 8; // tiles of 16-bit floats
        p.max_grid = profiles[i].max_grid;
        for (int kind = profiles[i].from; kind < profiles[i].to; kind++)
            for (int k = 0; k < (atoi(argv[1]) + 2) / 3; k++) {
                if (!write_case(json, bin, &p, profiles[i].label, kind, &r, first)) return 1;
                first = false;
            }
    }
    fputs("]\n", json);
    return fclose(json) || fclose(bin);
}
