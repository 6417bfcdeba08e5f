"""tests/golden/ops/NAME.json: each operator of src/graph/ops.def on small data, and what NumPy says the result is.

    {"op": ..., "cases": [{"regime": largest n, "n": rows, "m": rows with logits, "graph": {...}, "attr": {...},
      "params": [[word, value], ...], "in": [tensor, ...], "want": [[which, data], ...], "tolerance": t}]}

A tensor is {"kind", "type", "dims" (a number, "n" or "m"), "data"}; data is a list, or {"size", "at": [[i, v], ...]}
over zeros. `which` is an operand's place, or -1 for the result. Everything is float64 in here, from the formulas in
ops.def, and rounded at the end; integers are exact unless a tolerance is given. argmax and sample have no file: the
passes put the operators named after them in their place. Argument: the folder (default tests/golden/ops).
"""
import json
import os
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PARAM_SEED_LO, PARAM_SEED_HI, PARAM_TOP_K, PARAM_INV_TEMP, PARAM_ROWS, ROW_WORDS = 3, 4, 5, 6, 16, 8
POS, SEQ, BASE, RING, INDEX, NEXT = range(6)
RING_SIZE, BLOCK, KEY_TOP, DIGITS = 4096, 256, (1 << 20) - 1, 15
rng = np.random.default_rng(11)


def real(*shape):
    return rng.standard_normal(shape).astype("<f4").astype("f8")


def flat(a):
    a = np.asarray(a)
    if a.dtype.kind == "f":
        return [float("%.9g" % v) for v in a.astype("<f4").ravel()]
    return [int(v) for v in a.ravel()]


def tensor(kind, dims, data, type="f32"):
    return {"kind": kind, "type": type, "dims": dims, "data": data if isinstance(data, dict) else flat(data)}


def value(a, rows="n", type="f32"):
    return tensor("value", [rows] + list(np.shape(a)[1:]), a, type)


def weight(a):
    return tensor("weight", list(np.shape(a)), a)


def ring(at):
    return tensor("ring", [RING_SIZE], {"size": RING_SIZE, "at": sorted(at.items())}, "i32")


def case(ins, want, n=3, m=2, regime=5, attr=None, params=None, rows=None, tolerance=0, vocab=300, ctx=12):
    words = [[k, v] for k, v in (params or {}).items()]
    for field, values in (rows or {}).items():
        words += [[PARAM_ROWS + ROW_WORDS * i + field, int(v)] for i, v in enumerate(values)]
    return {"regime": regime, "n": n, "m": m, "graph": {"ctx": ctx, "chunk": 8, "m_max": 4, "vocab": vocab},
            "attr": attr or {}, "params": words, "in": ins, "tolerance": tolerance,
            "want": [[which, data if isinstance(data, dict) else flat(data)] for which, data in want]}


REAL = 2e-6  # of a float32 kernel, relative to max(1, |want|)


def embed():
    for n, regime in ((3, 5), (1, 1)):
        w, at = real(13, 10), [4095, 7, 0][:n]
        tokens = [12, 0, 5][:n]
        yield case([weight(w), ring(dict(zip(at, tokens)))], [(-1, w[tokens])], n=n, regime=regime, vocab=13,
                   rows={RING: at})


def rms_norm():
    for k, eps in ((7, 1e-5), (32, 1e-6)):
        x, g = real(3, k), real(k)
        yield case([value(x), weight(g)], [(-1, x * g / np.sqrt((x * x).mean(1, keepdims=True) + eps))],
                   attr={"eps": eps}, tolerance=REAL)


def matmul():
    for o, k in ((5, 32), (17, 64), (8, 7)):
        x, w = real(3, k), real(o, k)
        yield case([value(x), weight(w)], [(-1, x @ w.T)], tolerance=1e-5)
    x, w = real(1, 32), real(9, 32)
    yield case([value(x), weight(w)], [(-1, x @ w.T)], n=1, m=1, regime=1, tolerance=1e-5)


def pack_order(bits, k):
    """Element of each byte: as they lie; or of each eight the even ones, then the odd ones."""
    i = np.arange(k).reshape(-1, 8)
    return i.ravel() if bits == 8 else np.concatenate([i[:, 0::2], i[:, 1::2]], 1).ravel()


def pack():
    one, own = np.float32(1), np.random.default_rng(7)
    for n, k, bits, wide in ((3, 64, 4, 0), (2, 32, 8, 0), (3, 96, 4, 1), (1, 32, 8, 1)):
        most = np.float32(127 * 256 if wide else 127)
        x = own.standard_normal((n, k)).astype(np.float32)
        x[0, :32] *= n == 1  # a block of zeros
        top = np.abs(x.reshape(n, -1, 32)).max(2)
        steps = x.reshape(n, -1, 32) * (most / np.where(top > 0, top, one))[:, :, None]
        assert (np.abs(steps.astype("f8") % 1 - 0.5) > 2e-5).all()  # no step is rounded by chance
        whole = np.floor(steps + np.float32(0.5)).astype("i4")
        scale = top * np.float32(1 / float(most))
        total = scale * whole.sum(2).astype("f4")
        whole = whole.reshape(n, k)[:, pack_order(bits, k)]
        high = (whole + 128) >> 8 if wide else whole
        planes = [(p & 255).astype("u1").reshape(n, -1, 4).copy().view("<u4")[..., 0] for p in ([high, whole] if wide else [high])]
        want = np.concatenate(planes + [scale.view("<u4"), total.view("<u4")], 1).astype("i8")
        want = want - (want >> 31 << 32)  # as the test reads words: signed
        yield case([value(x.astype("f8"))], [(-1, want)], n=n, m=1, regime=1 if n == 1 else 5, attr={"bits": bits, "wide": wide})


def add():
    a, b, bias = real(3, 11), real(3, 11), real(11)
    yield case([value(a), value(b)], [(-1, a + b)], tolerance=REAL)
    yield case([value(a), weight(bias)], [(-1, a + bias)], tolerance=REAL)


def silu(a):
    return a / (1 + np.exp(-a))


def silu_mul():
    a, b = 4 * real(3, 13), real(3, 13)
    yield case([value(a), value(b)], [(-1, silu(a) * b)], tolerance=REAL)


def silu_mul_pair():
    a = 4 * real(3, 14)
    yield case([value(a)], [(-1, silu(a[:, 0::2]) * a[:, 1::2])], tolerance=REAL)


def turns(pos, freq):  # [n][pair] as fractions of a turn, from exact integers
    return np.array([[(p * int(f)) % 2**32 / 2**32 for f in freq] for p in pos])


def table_of(pos, freq):
    angle = 2 * np.pi * turns(pos, freq)
    return np.stack([np.cos(angle), np.sin(angle)], -1).reshape(len(pos), -1)


def frequencies(pairs):
    return [int(round(2**32 * 10000 ** (-j / pairs) / (2 * np.pi))) for j in range(pairs)]


def rope_table():
    freq = frequencies(5)
    for pos in ([0, 1, 2], [2000, 31999, 7]):
        yield case([tensor("const", [5], np.array(freq), "u32")], [(-1, table_of(pos, freq))], attr={"rot_dim": 10},
                   rows={POS: pos}, ctx=32000, tolerance=REAL)


def turned(x, table):  # x [n][heads][head_dim], the first table-wide part of each head turns
    y, rot = x.copy(), table.shape[1]
    c, s = table[:, None, 0::2], table[:, None, 1::2]
    a, b = x[:, :, 0:rot:2], x[:, :, 1:rot:2]
    y[:, :, 0:rot:2], y[:, :, 1:rot:2] = a * c - b * s, b * c + a * s
    return y


def rope():
    for dim, rot in ((8, 8), (10, 6)):
        x, table = real(3, 3, dim), table_of([3, 4, 5], frequencies(rot // 2))
        yield case([value(x.reshape(3, -1)), value(table)], [(-1, turned(x, table).reshape(3, -1))],
                   attr={"heads": 3, "head_dim": dim, "rot_dim": rot}, tolerance=REAL)


KV_BLOCK, CTX = 16, 40  # slots of a block; 48 slots are kept


def kept(cache, kv):
    """[head][slot][d] as it lies in memory: of keys element d of a block's slots side by side, of values slot by slot."""
    heads, slots, dim = cache.shape
    blocks = cache.reshape(heads, slots // KV_BLOCK, KV_BLOCK, dim).copy()
    out = blocks.reshape(heads, slots // KV_BLOCK, KV_BLOCK * dim)
    out[:kv] = blocks[:kv].transpose(0, 1, 3, 2).reshape(kv, slots // KV_BLOCK, KV_BLOCK * dim)
    return out.reshape(heads, slots, dim)


def some_cache(kv, dim):
    return real(2 * kv, -(-CTX // KV_BLOCK) * KV_BLOCK, dim)


def append():
    for keys in (1, 0):
        x, cache, pos = real(3, 2, 6), some_cache(2, 6), [4, 15, 39]
        after = cache.copy()
        for i, p in enumerate(pos):
            after[(0 if keys else 2):(2 if keys else 4), p] = x[i]
        yield case([value(x.reshape(3, -1)), tensor("cache", cache.shape, kept(cache, 2))], [(1, kept(after, 2))],
                   attr={"kv_heads": 2, "head_dim": 6, "keys": keys}, rows={POS: pos}, ctx=CTX)


def rope_append():
    for dim, rot in ((6, 6), (8, 4)):
        x, cache, pos = real(3, 8, dim), some_cache(2, dim), [0, 1, 17]
        table, after = table_of(pos, frequencies(rot // 2)), cache.copy()
        t = turned(x, table)
        for i, p in enumerate(pos):
            after[:2, p], after[2:, p] = t[i, 4:6], x[i, 6:8]
        yield case([value(x.reshape(3, -1)), value(table), tensor("cache", cache.shape, kept(cache, 2))],
                   [(-1, t[:, :4].reshape(3, -1)), (2, kept(after, 2))],
                   attr={"heads": 4, "kv_heads": 2, "head_dim": dim, "rot_dim": rot}, rows={POS: pos}, tolerance=REAL, ctx=CTX)


def scores(q, cache, pos, heads, kv):  # [n][head] -> (scores of slots 0..pos, their values)
    for i, p in enumerate(pos):
        for h in range(heads):
            g = h * kv // heads
            yield i, h, cache[g, :p + 1] @ q[i, h] / np.sqrt(q.shape[2]), cache[kv + g, :p + 1]


def attention():
    for n, regime, heads, kv, dim in ((3, 5, 4, 2, 6), (1, 1, 3, 1, 8)):
        q, cache, pos = real(n, heads, dim), some_cache(kv, dim), [0, 16, 39][-n:]
        y = np.zeros_like(q)
        for i, h, s, v in scores(q, cache, pos, heads, kv):
            e = np.exp(s - s.max())
            y[i, h] = e @ v / e.sum()
        yield case([value(q.reshape(n, -1)), tensor("cache", cache.shape, kept(cache, kv))], [(-1, y.reshape(n, -1))], n=n,
                   regime=regime, attr={"heads": heads, "kv_heads": kv, "head_dim": dim}, rows={POS: pos},
                   tolerance=1e-5, ctx=CTX)


def attention_part():
    heads, kv, dim, parts = 4, 2, 6, 3
    for pos in (39, 16, 0):
        q, cache = real(1, heads, dim), some_cache(kv, dim)
        y = np.zeros((1, heads, parts, dim + 2))
        y[..., dim] = -1e30  # a part without a slot: nothing, far below everything
        for i, h, s, v in scores(q, cache, [pos], heads, kv):
            each = -(-(pos // KV_BLOCK + 1) // parts) * KV_BLOCK  # whole blocks
            for p in range(parts):
                mine, values = s[p * each:(p + 1) * each], v[p * each:(p + 1) * each]
                if len(mine):
                    e = np.exp(mine - mine.max())
                    y[i, h, p] = np.concatenate([e @ values, [mine.max(), e.sum()]])
        yield case([value(q.reshape(1, -1)), tensor("cache", cache.shape, kept(cache, kv))],
                   [(-1, y.reshape(1, heads * parts, dim + 2))], n=1, m=1, regime=1,
                   attr={"heads": heads, "kv_heads": kv, "head_dim": dim, "parts": parts}, rows={POS: [pos]},
                   tolerance=1e-5, ctx=CTX)


def attention_join():
    for parts, dim in (4, 5), (2, 5), (2, 16):
        x = real(2, 3, parts, dim + 2)
        x[..., dim + 1] = np.abs(x[..., dim + 1]) + 0.1
        x[0, 1, parts - 1] = [0] * dim + [-1e30, 0]  # a part without a slot
        m, s = x[..., dim], x[..., dim + 1]
        share = np.exp(m - m.max(2, keepdims=True))
        y = (x[..., :dim] * share[..., None]).sum(2) / (s * share).sum(2)[..., None]
        yield case([value(x.reshape(2, 3 * parts, dim + 2))], [(-1, y.reshape(2, -1))], n=2,
                   attr={"heads": 3, "parts": parts, "head_dim": dim}, tolerance=1e-5)


def take_rows():
    x = real(4, 9)
    yield case([value(x)], [(-1, x[[3, 1]])], n=4, rows={INDEX: [3, 1]})
    x = real(1, 9)
    yield case([value(x)], [(-1, x)], n=1, m=1, regime=1, rows={INDEX: [0]})


def blocks(a, past):
    wide = -(-a.shape[1] // BLOCK) * BLOCK
    return np.pad(a, ((0, 0), (0, wide - a.shape[1])), constant_values=past).reshape(len(a), -1, BLOCK)


def logits_of(vocab=300):
    x = np.round(4 * real(2, vocab), 3).astype("<f4").astype("f8")
    x[0, [20, 270, 299]] = x[1, [258, 261]] = 17.5  # ties: the smallest id wins
    return x


def argmax_part():
    x = logits_of()
    yield case([value(x, "m")], [(-1, blocks(x, -np.inf).max(2))])


def argmax_join():
    x = logits_of()
    part, at = blocks(x, -np.inf).max(2), [6, RING_SIZE + 2]
    before = {6: 1, 7: 2}
    after = dict(before)
    after.update({p % RING_SIZE: int(t) for p, t in zip(at, x.argmax(1))})
    yield case([value(x, "m"), value(part, "m"), ring(before)],
               [(2, {"size": RING_SIZE, "at": sorted(after.items())})], rows={NEXT: at}, ctx=5000)


def keys_of(x, inv_temp):
    def fixed(v):
        scaled = np.clip(v.astype("<f4") * np.float32(inv_temp), -2.0**29, 2.0**29)
        return np.trunc(scaled).astype("i8")
    return KEY_TOP - np.clip(fixed(x.max(1, keepdims=True)) - fixed(x), 0, KEY_TOP)


def sample_key():
    x = logits_of()
    for temperature in (1.0, 0.7, 0.01):
        inv = int(round(65536 / temperature))
        yield case([value(x, "m"), value(blocks(x, -np.inf).max(2), "m")], [(-1, keys_of(x, inv))], params={PARAM_INV_TEMP: inv})


def digits_of(keys, limit, shift):
    want = limit[:, None, None, None] + (np.arange(1, DIGITS + 1)[None, :, None, None] << shift)
    return (blocks(keys, -1)[:, None] >= want).sum(3)


START = tensor("const", [4, 2], np.array([[0, 16]] * 4), "i32")  # a row of the graph's m_max each


def known(limit, shift):
    return value(np.stack([limit, np.full_like(limit, shift)], 1), "m", "i32")


def sample_count():
    keys = keys_of(logits_of(), 65536)
    yield case([value(keys, "m", "i32"), START], [(-1, digits_of(keys, np.array([0, 0]), 16))])
    limit = np.array([0xC0000, 0x90000])
    yield case([value(keys, "m", "i32"), known(limit, 12)], [(-1, digits_of(keys, limit, 12))])


def sample_digit():
    keys = keys_of(logits_of(), 65536)
    for top_k in (5, 40, 0, 1000):
        limit = np.array([0, 0])
        for shift in (16, 12):
            counts = digits_of(keys, limit, shift)
            enough = (counts.sum(2) >= (min(top_k, 300) or 300)).sum(1)
            after = limit + (enough << shift)
            yield case([value(counts, "m", "i32"), START if shift == 16 else known(limit, shift)],
                       [(-1, np.stack([after, np.full_like(after, shift - 4)], 1))], params={PARAM_TOP_K: top_k})
            limit = after


def weights_of(keys, limit):
    w = np.exp(-(KEY_TOP - keys) / 65536.0) * 2**23
    return np.where((keys >= limit[:, None]) & (keys > 0), w, 0).astype("i8")


def exp2_table():  # ten bits of the exponent's fraction: 2^-10 of a doubling
    table = [min(2**32 - 1, int(2.0 ** (32 - i / 32))) for i in range(32)]
    return tensor("const", [64], np.array(table + [min(2**32 - 1, int(2.0 ** (32 - i / 1024))) for i in range(32)]), "u32")


def sample_weight():
    keys, limit = keys_of(logits_of(), 40000), np.array([0, KEY_TOP - 300000])
    yield case([value(keys, "m", "i32"), known(limit, 0), exp2_table()], [(-1, weights_of(keys, limit))], tolerance=1e-3)


def weights():
    w = weights_of(keys_of(logits_of(), 65536), np.array([0, KEY_TOP - 200000]))
    return w, blocks(w, 0).sum(2)


def sample_sum():
    w, s = weights()
    yield case([value(w, "m", "u32")], [(-1, s)])


def mix(a):
    a = (a ^ a >> 16) * 0x7FEB352D % 2**32
    a = (a ^ a >> 15) * 0x846CA68B % 2**32
    return a ^ a >> 16


def random_u32(seed, position, which):
    a = mix((seed % 2**32 + 0x9E3779B9) % 2**32)
    a = mix(((a ^ seed >> 32) + 0x85EBCA6B) % 2**32)
    return mix(((a ^ 2 * position) + 0xC2B2AE35 + which) % 2**32)


def signed(v):
    return v - 2**32 if v >= 2**31 else v


def seed_words(seed):
    return {PARAM_SEED_LO: signed(seed % 2**32), PARAM_SEED_HI: signed(seed >> 32)}


def below(prefix, seed, position, which):
    r = random_u32(seed, position, which) * int(prefix[-1]) >> 32
    return int((prefix <= r).sum())


SEEDS = (1, 0xFEDCBA9876543210, 77)


def sample_join():
    w, sums = weights()
    at, prefix = [9, RING_SIZE + 4], np.cumsum((sums + 1) >> 1, 1)  # two blocks of at most 2^31: halves fit
    for seed in SEEDS:
        chosen = [below(prefix[i], seed, at[i], 0) for i in range(2)]
        within = np.cumsum(blocks(w, 0)[[0, 1], chosen], 1)
        after = {p % RING_SIZE: chosen[i] * BLOCK + below(within[i], seed, p, 1) for i, p in enumerate(at)}
        yield case([value(w, "m", "u32"), value(sums, "m", "u32"), ring({})],
                   [(2, {"size": RING_SIZE, "at": sorted(after.items())})], params=seed_words(seed), rows={NEXT: at},
                   ctx=5000)


def operators():
    with open(os.path.join(ROOT, "src", "graph", "ops.def")) as f:
        return [line[3:].split(",")[0] for line in f if line.startswith("OP(")]


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "tests", "golden", "ops")
    os.makedirs(folder, exist_ok=True)
    for name in operators():
        if name in ("argmax", "sample"):
            continue
        with open(os.path.join(folder, name + ".json"), "w") as f:
            f.write('{"op": "%s", "cases": [\n' % name)
            f.write(",\n".join(json.dumps(c, separators=(",", ":")) for c in globals()[name]()))
            f.write("\n]}\n")


main()
