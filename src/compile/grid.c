// compile/grid.c: a kernel's grid as data: ceil(max(n*a + b, 1) / c) * d.
//
// The kernel gives its grid as expressions of the rows and the dimensions. They are evaluated for
// every n of the regime and fitted to the form; the fit is checked at every n, so a wrong one
// cannot pass. Devices then need no expressions.
#include "compile/compile_int.h"

typedef struct GridEnv {
    const Kernel *k;
    const i32 *dims;
    i64 rows;
    bool by_m, by_n;
} GridEnv;

static bool grid_var(void *user, const Var *v, Value *out) {
    GridEnv *e = user;
    for (int i = 0; i < e->k->ndims; i++)
        if (e->k->dim[i] == v) {
            *out = (Value){.type = TY_I32, .i = e->dims[i]};
            return true;
        }
    for (int i = 0; i < e->k->nsyms; i++)
        if (e->k->sym[i].var == v &&
            (e->k->sym[i].word == PARAM_N || e->k->sym[i].word == PARAM_M)) {
            if (e->k->sym[i].word == PARAM_M)
                e->by_m = true;
            else
                e->by_n = true;
            *out = (Value){.type = TY_I32, .i = e->rows};
            return true;
        }
    return false;
}

static bool matches(const i64 *f, u32 n_max, const GridDim *g) {
    for (u32 n = 1; n <= n_max; n++)
        if ((i64)grid_count(g, n, n) != f[n]) return false;
    return true;
}

static i64 gcd(i64 a, i64 b) { return b == 0 ? a : gcd(b, a % b); }

static bool fit(const i64 *f, u32 n_max, GridDim *g) {
    *g = (GridDim){.a = 0, .b = 1, .c = 1, .d = (u32)f[1]};
    if (matches(f, n_max, g)) return true;
    i64 d = 0;
    for (u32 n = 1; n <= n_max; n++) d = gcd(f[n], d);
    g->d = (u32)d;
    for (u32 c = 1; c <= n_max; c++) { // rows in tiles of c
        g->a = 1, g->b = 0, g->c = c;
        if (matches(f, n_max, g)) return true;
    }
    i64 slope = f[2] / d - f[1] / d; // a plain line
    if (slope > 0 && f[1] / d >= slope) {
        *g = (GridDim){.a = (u32)slope, .b = (u32)(f[1] / d - slope), .c = 1, .d = (u32)d};
        if (matches(f, n_max, g)) return true;
    }
    for (u32 a = 2; a <= 64; a++) // several units of work a row, in tiles: the last n tells a/c
        for (u32 c = 2; c <= 1024; c++) {
            *g = (GridDim){.a = a, .b = 0, .c = c, .d = (u32)d};
            if ((i64)grid_count(g, n_max, n_max) == f[n_max] && matches(f, n_max, g)) return true;
        }
    for (i64 c = 2; c <= 1024; c++) { // many units a row: those few a that give the last n
        i64 last = f[n_max] / d;
        for (i64 a = (last - 1) * c / n_max + 1; a * n_max <= last * c; a++) {
            *g = (GridDim){.a = (u32)a, .b = 0, .c = (u32)c, .d = (u32)d};
            if (matches(f, n_max, g)) return true;
        }
    }
    return false;
}

bool grid_make(Compile *c, const Kernel *k, const i32 *dims, u32 n_max, GridDim out[3]) {
    i64 *f = NEW_N(c->arena, i64, n_max + 1);
    for (int i = 0; i < 3; i++) {
        out[i] = (GridDim){.a = 0, .b = 1, .c = 1, .d = 1};
        if (k->grid[i] == NULL) continue;
        i64 most = c->p->gpu ? kernel_grid_most(k, c->p, i) : INT32_MAX;
        GridEnv ge = {.k = k, .dims = dims};
        Env env = {.var = grid_var, .user = &ge};
        for (u32 n = 1; n <= n_max; n++) {
            Value v;
            ge.rows = n;
            if (!expr_eval(k->grid[i], &env, &v)) {
                err_set(c->err, ERR_COMPILE_GRID,
                        "dimension %d of the grid depends on more than n and the model", i);
                return err_subject(c->err, k->name);
            }
            f[n] = v.i;
            if (f[n] < 1 || f[n] > most) {
                err_set(c->err, ERR_COMPILE_GRID,
                        "%D workgroups at %u rows: the device runs 1 to %D", f[n], n, most);
                return err_subject(c->err, k->name);
            }
        }
        if ((ge.by_m && ge.by_n) || !fit(f, n_max, &out[i])) {
            err_set(c->err, ERR_COMPILE_GRID, "dimension %d of the grid is not ceil((a*n + b)/c)*d",
                    i);
            return err_subject(c->err, k->name);
        }
        out[i].by_m = ge.by_m;
    }
    return true;
}
