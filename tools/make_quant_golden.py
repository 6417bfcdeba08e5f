"""tests/golden/quant/NAME.txt: bytes of each file format and the float32 values that NumPy says they are.

Random bytes rather than quantised data, so that every pattern of quants occurs; scales are random halves with zeros,
subnormals, negatives and the largest among them. Lines: `size ROWS K`, then for each row `bytes HEX` and `values HEX...`
(the bits of each float). Arguments: the folder (default tests/golden/quant).
"""
import os
import sys

import numpy as np

import gguf_io as io

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
ROWS, K = 5, 96  # three blocks: an odd count of halves
SUPER_ROWS, SUPER_K = 3, 512  # of formats with blocks of 256


def halves(rng, n):
    h = rng.standard_normal(n).astype("<f2").view("<u2")
    h[rng.permutation(n)[:8]] = [0x0000, 0x8000, 0x0001, 0x83FF, 0x7BFF, 0xFBFF, 0x0400, 0x3C00][:n]
    return h


def row_bytes(name, rng):
    _, elems, size = io.TYPES[name]
    if name == "F32":
        u = rng.standard_normal(K).astype("<f4").view("<u4")
        u[:8] = [0, 0x80000000, 1, 0x807FFFFF, 0x7F7FFFFF, 0x7F800000, 0xFF800000, 0x3F800001]
        return u.tobytes()
    if name == "F16":
        h = rng.integers(0, 0x7C00, K).astype("<u2") | (rng.integers(0, 2, K) << 15).astype("<u2")
        h[:6] = [0, 0x8000, 1, 0x7BFF, 0x7C00, 0xFC00]
        return h.tobytes()
    if name == "BF16":
        h = (rng.standard_normal(K).astype("<f4").view("<u4") >> 16).astype("<u2")
        h[:6] = [0, 0x8000, 1, 0x7F7F, 0x7F80, 0xFF80]
        return h.tobytes()
    n = (SUPER_K if elems > 32 else K) // elems
    blocks = rng.integers(0, 256, (n, size)).astype(np.uint8)
    scales = 2 if name in ("Q4_1", "Q4_K") else 1
    at = 208 if name == "Q6_K" else 0
    blocks[:, at:at + 2 * scales] = halves(rng, 24)[:n * scales].view(np.uint8).reshape(n, -1)
    return blocks.tobytes()


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "tests", "golden", "quant")
    os.makedirs(folder, exist_ok=True)
    for name in io.TYPES:
        rng = np.random.default_rng([7, io.TYPES[name][0]])
        rows, k = (SUPER_ROWS, SUPER_K) if io.TYPES[name][1] > 32 else (ROWS, K)
        lines = ["# %s, by tools/make_quant_golden.py" % name, "size %d %d" % (rows, k)]
        for _ in range(rows):
            raw = row_bytes(name, rng)
            values = io.dequantise(raw, name, k)
            lines += ["bytes " + raw.hex(), "values " + " ".join("%08x" % v for v in values.view(np.uint32))]
        with open(os.path.join(folder, name.lower() + ".txt"), "w") as f:
            f.write("\n".join(lines) + "\n")
    print("golden values of %d formats in %s" % (len(io.TYPES), os.path.relpath(folder)))


if __name__ == "__main__":
    main()
