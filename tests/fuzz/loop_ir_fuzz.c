// tests/fuzz/loop_ir_fuzz.c: any text as a kernel. What reads is printed and read back to the same
// text; what the verifier passes runs for a while in the interpreter, through the passes as well,
// and must never be out of bounds.
#include "loop/loop.h"

enum { ELEMS = 4096, FUEL = 20000 };

static bool small(const Kernel *k) {
    for (int i = 0; i < k->nargs; i++) {
        u64 n = 1;
        i64 lo, hi;
        for (int d = 0; d < k->arg[i]->nd; d++) {
            expr_range(k->arg[i]->dims[d], &lo, &hi);
            if (hi < 0 || !mul_u64(n, (u64)hi, &n) || n > ELEMS) return false;
        }
    }
    return true;
}

static void run(Arena *a, const Kernel *k, bool verified) {
    InterpArg args[8];
    i32 dims[STEP_MAX_DIMS];
    for (int i = 0; i < k->nargs; i++) {
        args[i] = (InterpArg){arena_alloc(a, ELEMS * 4), ELEMS};
        i64 v =
            MAX2(k->arg[i]->lo, MIN2(1, k->arg[i]->hi)); // what is read lies in its declared range
        for (u32 j = 0; j < ELEMS; j++)
            if (k->arg[i]->type != TY_F32) ((u32 *)args[i].data)[j] = (u32)v;
    }
    for (int i = 0; i < k->ndims; i++) dims[i] = (i32)k->dim[i]->lo;
    InterpOptions o = {.check = true, .fuel = FUEL};
    Err e = {0};
    if (!kernel_interp(a, k, args, dims, (u32[]){2, 2, 1}, &o, &e))
        must(e.id != ERR_NONE && e.msg[0] &&
             !(verified && (e.id == ERR_INTERP_BOUNDS || e.id == ERR_INTERP_DIVIDE)));
}

int LLVMFuzzerTestOneInput(const u8 *p, size_t n);
int LLVMFuzzerTestOneInput(const u8 *p, size_t n) {
    if (n > 16384) return 0;
    Arena *a = arena_new(NULL);
    Err e = {0};
    Kernel *k = kernel_read(a, (Str){(const char *)p, n}, S("fuzz.hir"), &e);
    if (k) {
        Buf once = {.arena = a}, twice = {.arena = a};
        kernel_print(k, &once);
        Kernel *again = kernel_read(a, buf_str(&once), S("printed"), &e);
        if (!again) { // only what a longer spelling pushed past a limit
            must(e.id == ERR_EXPR_DEPTH || e.id == ERR_LOOP_LIMIT);
        } else {
            kernel_print(again, &twice);
            must(str_eq(buf_str(&once), buf_str(&twice)));
        }
        Profile prof = {.name = S("fuzz")};
        prof.gpu = k->wg[0] * k->wg[1] * k->wg[2] > 1;
        prof.max_wg_size = 64;
        prof.shared_bytes = 4096;
        prof.max_bindings = 8;
        prof.max_grid = 65535;
        prof.subgroup = 4;
        e = (Err){0};
        bool ok = kernel_verify(k, &prof, &e);
        must(ok || (e.id != ERR_NONE && e.msg[0]));
        if (ok && small(k)) {
            run(a, k, true);
            kernel_unroll(a, k);
            kernel_legalise(k, &prof);
            kernel_hoist(a, k);
            run(a, k, false);
        }
    } else {
        must(e.id != ERR_NONE && e.msg[0] && e.line > 0);
    }
    arena_free(a);
    return 0;
}
