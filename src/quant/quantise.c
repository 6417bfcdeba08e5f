// quant/quantise.c: hob's own quantiser: a row of floats to the bytes of a file type.
//
// A group of 32 gets the scale and the minimum that make its squared error small, not those of its
// extremes: for each cut of a grid (how far the ends move inwards) the numbers are rounded, scale
// and minimum are fitted to them by least squares, twice, then rounded to half precision as the
// file keeps them, and the numbers are rounded once more against those; the cut with the least
// error wins. The error may be weighted by column: with the mean square of what a matmul multiplies
// a column with, it is the error of the product. Everything is float arithmetic in a fixed order,
// so that the same row gives the same bytes on every machine. It looks at one row at a time and
// knows nothing of models: bake/ chooses what becomes what.
#include "quant/quant.h"

enum { GROUP = 32 };

typedef struct Group { // of 32: what is to be said, and how much each of it counts
    const float *x;
    const float *w;
    float low, high;
} Group;

static void put_u16(u8 *p, u16 v) {
    p[0] = (u8)v;
    p[1] = (u8)(v >> 8);
}

// Numbers 0..15 nearest to (x - m) / d.
static void round_to(const Group *g, float d, float m, float *q) {
    float by = d > 0 ? 1 / d : 0;
    for (int i = 0; i < GROUP; i++) {
        float v = (g->x[i] - m) * by + 0.5f;
        v = v > 0 ? v : 0;
        v = v < 15.5f ? v : 15.5f;
        q[i] = (float)(i32)v;
    }
}

static float error_of(const Group *g, float d, float m, const float *q) {
    float sum = 0;
    for (int i = 0; i < GROUP; i++) {
        float e = g->x[i] - (d * q[i] + m);
        sum += g->w[i] * e * e;
    }
    return sum;
}

// The scale and minimum with the least squared error for these numbers; false: they are all one.
static bool fit(const Group *g, const float *q, float *d, float *m) {
    double w = 0, wq = 0, wqq = 0, wx = 0, wxq = 0;
    for (int i = 0; i < GROUP; i++) {
        double a = (double)g->w[i] * (double)q[i];
        w += (double)g->w[i];
        wq += a;
        wqq += a * (double)q[i];
        wx += (double)g->w[i] * (double)g->x[i];
        wxq += a * (double)g->x[i];
    }
    double det = w * wqq - wq * wq;
    if (!(det > 1e-12 * w * wqq)) return false;
    *d = (float)((w * wxq - wq * wx) / det);
    *m = (float)((wx - (double)*d * wq) / w);
    return *d > 0;
}

typedef struct Best {
    float error;
    u16 d, m;
    float q[GROUP];
} Best;

// As the file keeps them: rounded to half precision, the numbers against that.
static void consider(const Group *g, float d, float m, Best *best) {
    Best b = {.d = f32_to_f16(d), .m = f32_to_f16(m)};
    float fd = f16_to_f32(b.d), fm = f16_to_f32(b.m);
    round_to(g, fd, fm, b.q);
    b.error = error_of(g, fd, fm, b.q);
    if (b.error < best->error) *best = b; // an infinite scale gives no number, and loses
}

static void search(const Group *g, Best *best) {
    // how much of the range each end gives up, in sixteenths of a step and more
    static const float cuts[] = {-0.02f, 0.0f, 0.02f, 0.04f, 0.06f, 0.09f, 0.12f, 0.16f};
    float range = g->high - g->low, q[GROUP];
    for (size_t a = 0; a < COUNT_OF(cuts); a++)
        for (size_t b = 0; b < COUNT_OF(cuts); b++) {
            float m = g->low + cuts[a] * range;
            float d = (g->high - cuts[b] * range - m) / 15;
            for (int turn = 0; turn < 2; turn++) {
                round_to(g, d, m, q);
                if (!fit(g, q, &d, &m)) break;
            }
            consider(g, d, m, best);
        }
}

static bool encode_q4_1(const Group *g, bool plain, u8 *out) {
    Best best = {.error = bits_f32(0x7F800000)};
    consider(g, (g->high - g->low) / 15, g->low, &best);
    if (!plain && g->high > g->low) search(g, &best);
    if (!(best.error <= 3e38f)) return false;
    put_u16(out, best.d);
    put_u16(out + 2, best.m);
    for (int i = 0; i < GROUP / 2; i++)
        out[4 + i] = (u8)((u32)best.q[i] | (u32)best.q[i + GROUP / 2] << 4);
    return true;
}

// Numbers in [-half, half - 1] under one scale: the end with the larger magnitude becomes -half, or
// a little less than it is.
static bool search_scale(const Group *g, float half, int steps, u16 *scale, i32 *out) {
    float extreme = -g->low > g->high ? g->low : g->high;
    float best = bits_f32(0x7F800000), q[GROUP];
    for (int step = -steps; step <= steps; step++) {
        float d = extreme / (-half + 0.1f * (float)step);
        for (int turn = 0; turn < 2; turn++) {
            u16 h = f32_to_f16(d);
            float fd = f16_to_f32(h), by = fd != 0 ? 1 / fd : 0, error = 0, xq = 0, qq = 0;
            for (int i = 0; i < GROUP; i++) {
                float v = g->x[i] * by;
                v = v > -half ? v : -half;
                v = v < half - 1 ? v : half - 1;
                q[i] = (float)((i32)(v + half + 0.5f)) - half;
                float e = g->x[i] - fd * q[i];
                error += g->w[i] * e * e;
                xq += g->w[i] * g->x[i] * q[i];
                qq += g->w[i] * q[i] * q[i];
            }
            if (error < best) {
                best = error;
                *scale = h;
                for (int i = 0; i < GROUP; i++) out[i] = (i32)q[i];
            }
            if (!(qq > 0)) break;
            d = xq / qq;
        }
    }
    return best <= 3e38f;
}

static bool encode_q5_0(const Group *g, u8 *out) {
    i32 q[GROUP];
    u16 d = 0;
    u32 high = 0;
    if (!search_scale(g, 16, 9, &d, q)) return false;
    for (int i = 0; i < GROUP; i++) high |= (u32)(q[i] + 16) >> 4 << i;
    put_u16(out, d);
    for (int i = 0; i < 4; i++) out[2 + i] = (u8)(high >> 8 * i);
    for (int i = 0; i < GROUP / 2; i++)
        out[6 + i] = (u8)(((u32)(q[i] + 16) & 15) | ((u32)(q[i + GROUP / 2] + 16) & 15) << 4);
    return true;
}

static bool encode_q8_0(const Group *g, u8 *out) {
    i32 q[GROUP];
    u16 d = 0;
    if (!search_scale(g, 128, 0, &d, q)) return false;
    put_u16(out, d);
    for (int i = 0; i < GROUP; i++) out[2 + i] = (u8)q[i];
    return true;
}

static bool encode_float(FileType to, float v, u8 *out) {
    if (to == FT_F32) {
        u32 u = f32_bits(v);
        for (int i = 0; i < 4; i++) out[i] = (u8)(u >> 8 * i);
        return true;
    }
    u32 u = f32_bits(v);
    u16 h = to == FT_F16 ? f32_to_f16(v) : (u16)((u + 0x7FFF + (u >> 16 & 1)) >> 16);
    put_u16(out, h);
    return to == FT_F16 ? (h & 0x7C00) != 0x7C00 : (h & 0x7F80) != 0x7F80;
}

bool filetype_encodes(FileType to) {
    return to == FT_F32 || to == FT_F16 || to == FT_BF16 || to == FT_Q8_0 || to == FT_Q5_0 ||
           to == FT_Q4_1;
}

bool filetype_encode_row(FileType to, const float *x, const float *weight, u64 k, bool plain,
                         u8 *out) {
    const FileTypeInfo *f = filetype_info(to);
    must(filetype_encodes(to) && k % f->elems == 0);
    if (f->elems == 1) {
        for (u64 i = 0; i < k; i++, out += f->bytes)
            if (!encode_float(to, x[i], out)) return false;
        return true;
    }
    for (u64 at = 0; at < k; at += GROUP, out += f->bytes) {
        float w[GROUP];
        Group g = {.x = x + at, .w = w, .low = x[at], .high = x[at]};
        double heavy = 0;
        for (int i = 0; i < GROUP; i++) {
            if (!(g.x[i] - g.x[i] == 0)) return false; // infinite, or no number
            g.low = MIN2(g.low, g.x[i]);
            g.high = MAX2(g.high, g.x[i]);
            if (weight) heavy += (double)weight[at + i];
        }
        // one on the average, so that no product vanishes; where nothing counts, all alike
        for (int i = 0; i < GROUP; i++)
            w[i] = heavy > 0 ? (float)((double)weight[at + i] * GROUP / heavy) : 1;
        bool ok = to == FT_Q4_1   ? encode_q4_1(&g, plain, out)
                  : to == FT_Q5_0 ? encode_q5_0(&g, out)
                                  : encode_q8_0(&g, out);
        if (!ok) return false;
    }
    return true;
}
