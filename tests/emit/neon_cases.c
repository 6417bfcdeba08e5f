// Kernels of every rule on random shapes for an ARM processor, checked against the float64 referee.
//
//     neon_cases CASES print FILE   writes them as C, with a table of them
//     neon_cases CASES              runs that table: built with RUN_CASES defined, and linked with
//     FILE
//
// The first runs on the machine that builds, the second on the one that is meant, or what plays it
// (tests/suites/neon.py). Both draw the same cases.
#include "../loop/cases.h"
#include "emit/emit.h"

typedef void CaseFn(void *const *arg, const i32 *dims, i32 begin, i32 end);
#ifdef RUN_CASES
extern CaseFn *const case_fn[];
#endif

// By the printed kernel, cut in two as threads would: how far off, at most 60 outputs looked at.
#ifdef RUN_CASES
static double run_case(Case *c, const Kernel *k, int at, Rng *r) {
    void *arg[8];
    u32 grid[3];
    for (int j = 0; j < c->f->nargs; j++) arg[j] = c->data[j].data;
    case_clear(c);
    case_grid(c, k, grid);
    i32 cut = (i32)grid[0] / 2;
    case_fn[at](arg, c->dims, 0, cut);
    case_fn[at](arg, c->dims, cut, (i32)grid[0]);
    return case_error(c, r, 60);
}
#endif

int main(int argc, char **argv) {
    Arena *a = arena_new(NULL);
    int cases = argc > 1 ? atoi(argv[1]) : 10, wrong = 0, n = 0;
    Profile p;
    Rng r = {7};
    Buf text = {.arena = a}, table = {.arena = a};
    must(profile_named(S("cpu4"), &p));
    p.dims = 0;
    emit_prelude(&dialect_c, &p, &text);
    for (int kind = 0; kind < KIND_COUNT; kind++)
        for (int i = 0; i < cases; i++, n++) {
            Err e = {0};
            Case c;
            Kernel *k = random_kernel(a, &r, kind, &p, &c);
            if (!k) return 1;
            k->name = str_fmt(a, "k%d", n);
#ifdef RUN_CASES
            Rng looked = {(u64)n};
            double err = run_case(&c, k, n, &looked);
            if (err >= 0 && err < 2e-4) continue;
            printf("k%d, %s: off by %g\n", n, c.what, err);
            wrong++;
#else
            if (!emit_kernel(&dialect_c, k, &p, &text, &e)) {
                fprintf(stderr, "%s: %s\n", c.what, e.msg);
                return 1;
            }
            buf_fmt(&table, "k%d, ", n);
#endif
        }
    if (argc > 3) {
        buf_fmt(&text,
                "\ntypedef void CaseFn(void *const *, const i32 *, i32, i32);\n"
                "CaseFn *const case_fn[] = {%S0};\n",
                buf_str(&table));
        FILE *f = fopen(argv[3], "wb");
        if (!f || fwrite(text.ptr, 1, text.len, f) != text.len || fclose(f)) return 1;
    }
    printf("%d cases, %d wrong\n", n, wrong);
    return wrong > 0;
}
