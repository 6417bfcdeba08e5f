"""Reads and writes GGUF files and the number formats in them, in NumPy; for tests, fixtures and the reference.

This is the second opinion on src/format and src/quant: it shares nothing with them but the format's definition, and
dequantises straight from the file's bytes. It trusts its input; the C reader is the one that must not.
"""
import struct

import numpy as np

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)
SCALAR = {U8: "<u1", I8: "<i1", U16: "<u2", I16: "<i2", U32: "<u4", I32: "<i4", F32: "<f4", BOOL: "<u1",
          U64: "<u8", I64: "<i8", F64: "<f8"}

# name: (id in the file, elements of a block, bytes of a block)
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q4_0": (2, 32, 18), "Q4_1": (3, 32, 20), "Q5_0": (6, 32, 22),
         "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144), "Q6_K": (14, 256, 210), "BF16": (30, 1, 2)}
NAMES = {v[0]: k for k, v in TYPES.items()}


# ---- number formats: arrays whose last axis is k <-> bytes ----------------------------------------------------

def blocks(x):
    return np.ascontiguousarray(x, np.float32).reshape(-1, 32)


def pack_nibbles(q):
    """(n, 32) numbers 0..15 -> (n, 16) bytes: element e below, element e + 16 above."""
    q = q.astype(np.uint8)
    return q[:, :16] | q[:, 16:] << 4


def unpack_nibbles(b):
    return np.concatenate([b & 15, b >> 4], axis=1)


class Drawn:
    """A matrix in Q4_0 or Q4_1 whose bytes are drawn, not rounded: about normal(0, spread) at a fraction of the cost."""

    def __init__(self, rng, shape, spread):
        self.rng, self.shape, self.spread, self.ndim = rng, shape, spread, len(shape)

    def bytes(self, name):
        n = self.shape[0] * self.shape[1] // 32
        d = (self.rng.uniform(0.8, 1.2, (n, 1)) * (self.spread / np.sqrt((16 ** 2 - 1) / 12))).astype("<f2")
        head = d if name == "Q4_0" else np.concatenate([d, d * np.float16(-7.5)], axis=1)  # Q4_0's middle is its 8
        return np.concatenate([head.astype("<f2").view(np.uint8), self.rng.integers(0, 256, (n, 16), np.uint8)], axis=1).tobytes()


def quantise(x, name):
    """float32 -> the bytes of the format, rounded as GGML's reference quantisers do."""
    if isinstance(x, Drawn):
        return x.bytes(name)
    if name == "F32":
        return np.ascontiguousarray(x, "<f4").tobytes()
    if name == "F16":
        return np.ascontiguousarray(x, np.float32).astype("<f2").tobytes()
    if name == "BF16":
        u = np.ascontiguousarray(x, np.float32).view(np.uint32)
        return ((u + 0x7FFF + (u >> 16 & 1)) >> 16).astype("<u2").tobytes()  # to nearest, ties to even
    b = blocks(x)
    if name == "Q8_0":
        d = np.abs(b).max(1, keepdims=True) / np.float32(127)
        q = np.rint(b / np.where(d == 0, 1, d)).astype(np.int8)
        return np.concatenate([d.astype("<f2").view(np.uint8), q.view(np.uint8)], axis=1).tobytes()
    if name == "Q4_0":
        extreme = np.take_along_axis(b, np.abs(b).argmax(1)[:, None], axis=1)  # with its sign: it becomes -8
        d = extreme / np.float32(-8)
        q = np.clip(np.floor(b / np.where(d == 0, 1, d) + np.float32(8.5)), 0, 15)
        return np.concatenate([d.astype("<f2").view(np.uint8), pack_nibbles(q)], axis=1).tobytes()
    if name == "Q4_1":
        m = b.min(1, keepdims=True)
        d = (b.max(1, keepdims=True) - m) / np.float32(15)
        q = np.clip(np.floor((b - m) / np.where(d == 0, 1, d) + np.float32(0.5)), 0, 15)
        head = np.concatenate([d, m], axis=1).astype("<f2")
        return np.concatenate([head.view(np.uint8), pack_nibbles(q)], axis=1).tobytes()
    if name == "Q5_0":
        extreme = np.take_along_axis(b, np.abs(b).argmax(1)[:, None], axis=1)
        d = extreme / np.float32(-16)
        q = np.clip(np.floor(b / np.where(d == 0, 1, d) + np.float32(16.5)), 0, 31).astype(np.uint32)
        high = ((q >> 4) << np.arange(32, dtype=np.uint32)).sum(1, dtype=np.uint32)[:, None]
        return np.concatenate([d.astype("<f2").view(np.uint8), high.astype("<u4").view(np.uint8),
                               pack_nibbles(q & 15)], axis=1).tobytes()
    if name == "Q4_K":
        return quantise_q4_k(b).tobytes()
    if name == "Q6_K":
        return quantise_q6_k(b).tobytes()
    raise ValueError("no quantiser for " + name)


def quantise_q4_k(b):
    """Plain: each group's scale and minimum from its extremes, then those in 6 bits."""
    g = b.reshape(-1, 8, 32)
    low = np.minimum(g.min(2), 0)
    step = (g.max(2) - low) / np.float32(15)
    d, e = [(x.max(1, keepdims=True) / np.float32(63)).astype("<f2") for x in (step, -low)]
    fd, fe = [np.where(x == 0, 1, x.astype(np.float32)) for x in (d, e)]
    s, t = [np.clip(np.rint(x / y), 0, 63).astype(np.uint8) for x, y in ((step, fd), (-low, fe))]
    scale, least = d.astype(np.float32) * s, e.astype(np.float32) * t
    q = np.clip(np.rint((g + least[:, :, None]) / np.where(scale == 0, 1, scale)[:, :, None]), 0, 15).astype(np.uint8)
    packed = np.concatenate([s[:, :4] | s[:, 4:] >> 4 << 6, t[:, :4] | t[:, 4:] >> 4 << 6,
                             s[:, 4:] & 15 | (t[:, 4:] & 15) << 4], axis=1)
    nibbles = (q[:, 0::2] | q[:, 1::2] << 4).reshape(-1, 128)
    return np.concatenate([d.view(np.uint8), e.view(np.uint8), packed, nibbles], axis=1)


def quantise_q6_k(b):
    """Plain: each group's scale from its largest magnitude, then that in 8 bits."""
    g = b.reshape(-1, 16, 16)
    scale = np.abs(g).max(2) / np.float32(31)
    d = (scale.max(1, keepdims=True) / np.float32(127)).astype("<f2")
    s = np.clip(np.rint(scale / np.where(d == 0, 1, d.astype(np.float32))), 0, 127).astype(np.int8)
    step = d.astype(np.float32) * s
    q = np.clip(np.rint(g / np.where(step == 0, 1, step)[:, :, None]) + 32, 0, 63).astype(np.uint8).reshape(-1, 2, 4, 32)
    low = (q[:, :, :2] & 15) | (q[:, :, 2:] & 15) << 4  # 32 a row: bytes 0..31, 32..63 of a half
    high = q[:, :, 0] >> 4 | q[:, :, 1] >> 4 << 2 | q[:, :, 2] >> 4 << 4 | q[:, :, 3] >> 4 << 6
    return np.concatenate([low.reshape(-1, 128), high.reshape(-1, 64), s.view(np.uint8), d.view(np.uint8)], axis=1)


def dequantise(raw, name, count):
    """The bytes of `count` elements -> float32, as GGML defines the values."""
    raw = np.frombuffer(raw, np.uint8)
    if name == "F32":
        return raw.view("<f4").astype(np.float32)
    if name == "F16":
        return raw.view("<f2").astype(np.float32)
    if name == "BF16":
        return (raw.view("<u2").astype(np.uint32) << 16).view(np.float32)
    if name == "Q4_K":
        return dequantise_q4_k(raw.reshape(-1, 144)).reshape(-1)
    if name == "Q6_K":
        return dequantise_q6_k(raw.reshape(-1, 210)).reshape(-1)
    b = raw.reshape(count // 32, TYPES[name][2])
    d = np.ascontiguousarray(b[:, :2]).view("<f2").astype(np.float32)
    if name == "Q8_0":
        v = d * np.ascontiguousarray(b[:, 2:]).view(np.int8).astype(np.float32)
    elif name == "Q4_0":
        v = d * (unpack_nibbles(b[:, 2:]).astype(np.float32) - np.float32(8))
    elif name == "Q5_0":
        high = np.ascontiguousarray(b[:, 2:6]).view("<u4") >> np.arange(32, dtype=np.uint32) & 1
        v = d * ((unpack_nibbles(b[:, 6:]) + 16 * high).astype(np.float32) - np.float32(16))
    elif name == "Q4_1":
        m = np.ascontiguousarray(b[:, 2:4]).view("<f2").astype(np.float32)
        v = d * unpack_nibbles(b[:, 4:]).astype(np.float32) + m
    else:
        raise ValueError("no meaning for " + name)
    return v.reshape(-1)


def dequantise_q4_k(b):
    d, e = [np.ascontiguousarray(b[:, i:i + 2]).view("<f2").astype(np.float32)[:, :, None] for i in (0, 2)]
    p, q, r = b[:, 4:8], b[:, 8:12], b[:, 12:16]
    s = np.concatenate([p & 63, r & 15 | p >> 6 << 4], axis=1).astype(np.float32)[:, :, None]
    t = np.concatenate([q & 63, r >> 4 | q >> 6 << 4], axis=1).astype(np.float32)[:, :, None]
    n = b[:, 16:].reshape(-1, 4, 1, 32)
    n = np.concatenate([n & 15, n >> 4], axis=2).reshape(-1, 8, 32).astype(np.float32)
    return d * s * n - e * t


def dequantise_q6_k(b):
    d = np.ascontiguousarray(b[:, 208:]).view("<f2").astype(np.float32)[:, :, None]
    s = np.ascontiguousarray(b[:, 192:208]).view(np.int8).astype(np.float32)[:, :, None]
    low, high = b[:, :128].reshape(-1, 2, 2, 32), b[:, 128:192].reshape(-1, 2, 1, 32)
    low = np.concatenate([low & 15, low >> 4], axis=2)
    high = np.concatenate([high >> i & 3 for i in (0, 2, 4, 6)], axis=2)
    q = (low | high << 4).reshape(-1, 16, 16).astype(np.float32) - np.float32(32)
    return d * s * q


# ---- writing ----------------------------------------------------------------------------------------------------

def _string(s):
    b = s if isinstance(s, bytes) else s.encode()
    return struct.pack("<Q", len(b)) + b


def _value(kind, v):
    if kind == STRING:
        return _string(v)
    if kind == ARRAY:
        of, items = v
        head = struct.pack("<IQ", of, len(items))
        if of in (STRING, ARRAY):
            return head + b"".join(_value(of, i) for i in items)
        return head + np.asarray(items, SCALAR[of]).tobytes()
    return np.asarray([v], SCALAR[kind]).tobytes()


def write(path, keys, tensors, version=3, align=32, nkeys=None):
    """keys: [(name, kind, value)], value of an ARRAY being (kind, items), or the bytes of `nkeys` of them; tensors:
    [(name, array or Drawn, format)], the array's shape as NumPy has it (rows, k). Written in the order given."""
    if align != 32:
        keys = keys + [("general.alignment", U32, align)]
    out = [b"GGUF", struct.pack("<IQQ", version, len(tensors), nkeys if nkeys is not None else len(keys))]
    if nkeys is not None:
        out.append(keys)
        keys = []
    for name, kind, v in keys:
        out += [_string(name), struct.pack("<I", kind), _value(kind, v)]
    data, at = [], 0
    for name, x, fmt in tensors:
        raw = quantise(x, fmt)
        out += [_string(name), struct.pack("<I", x.ndim), struct.pack("<%dQ" % x.ndim, *reversed(x.shape)),
                struct.pack("<IQ", TYPES[fmt][0], at)]
        raw += bytes(-len(raw) % align)
        data.append(raw)
        at += len(raw)
    head = b"".join(out)
    with open(path, "wb") as f:
        f.write(head + bytes(-len(head) % align))
        f.writelines(data)


# ---- reading ----------------------------------------------------------------------------------------------------

class Gguf:
    """keys: {name: value}; tensors: {name: (format, shape as NumPy has it, offset, bytes)}; tensor(name): float32."""

    def __init__(self, path):
        self.data = np.memmap(path, np.uint8, "r")
        self.at = 4
        if bytes(self.data[:4]) != b"GGUF":
            raise ValueError("%s is not a GGUF file" % path)
        version = self._number(U32)
        if version not in (2, 3):
            raise ValueError("%s: version %d" % (path, version))
        ntensors, nkeys = self._number(U64), self._number(U64)
        self.keys = {}
        for _ in range(nkeys):
            name = self._read(STRING)
            self.keys[name] = self._read(self._number(U32))
        self.keys_end = self.at
        table = []
        for _ in range(ntensors):
            name = self._read(STRING)
            shape = [self._number(U64) for _ in range(self._number(U32))]
            table.append((name, tuple(reversed(shape)), self._number(U32), self._number(U64)))
        align = self.keys.get("general.alignment", 32)
        start = -(-self.at // align) * align
        self.tensors = {}
        for name, shape, kind, off in table:
            fmt = NAMES[kind]
            size = int(np.prod(shape)) // TYPES[fmt][1] * TYPES[fmt][2]
            self.tensors[name] = (fmt, shape, start + off, size)

    def _number(self, kind):
        t = np.dtype(SCALAR[kind])
        v = self.data[self.at:self.at + t.itemsize].view(t)[0]
        self.at += t.itemsize
        return v.item()

    def _read(self, kind):
        if kind == STRING:
            n = self._number(U64)
            self.at += n
            return bytes(self.data[self.at - n:self.at]).decode("utf-8", "surrogateescape")
        if kind == ARRAY:
            of, n = self._number(U32), self._number(U64)
            if of in (STRING, ARRAY):
                return [self._read(of) for _ in range(n)]
            t = np.dtype(SCALAR[of])
            self.at += n * t.itemsize
            return self.data[self.at - n * t.itemsize:self.at].view(t).tolist()
        v = self._number(kind)
        return bool(v) if kind == BOOL else v

    def raw(self, name):
        fmt, shape, off, size = self.tensors[name]
        return bytes(self.data[off:off + size])

    def tensor(self, name):
        fmt, shape, _, _ = self.tensors[name]
        return dequantise(self.raw(name), fmt, int(np.prod(shape))).reshape(shape)
