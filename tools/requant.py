"""Rewrites a GGUF file's matrices in another format: what a peer reads fastest, for `make bench`.

    python tools/requant.py IN.gguf OUT.gguf Q4_0|Q8_0|F32
"""
import struct
import sys

import gguf_io


def main(source, target, name):
    g = gguf_io.Gguf(source)
    tensors = [(t, g.tensor(t), name if len(g.tensors[t][1]) == 2 else "F32") for t in g.tensors]
    gguf_io.write(target, bytes(g.data[24:g.keys_end]), tensors, nkeys=len(g.keys))


if __name__ == "__main__":
    main(*sys.argv[1:])
