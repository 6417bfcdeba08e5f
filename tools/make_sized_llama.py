"""A llama of Qwen2-0.5B's sizes with random weights, for `make bench`: speed and counts mean something, its text does not.

    python tools/make_sized_llama.py OUT.gguf [Q4_1|Q4_0] [LAYERS]

24 layers, hidden 896, 14 heads and 2 KV heads of 64, ffn 4864, a vocabulary of 151936 with tied embeddings, biases of q,
k and v: what WebLLM's library of that model computes. In Q4_1, the default, a weight has as many bits as there. A token
is a byte, the rest of the vocabulary fillers; the chat template is the tiny models'. The same file comes out each time.
"""
import sys

import numpy as np

import gguf_io as io
import make_tiny_llamas as tiny


def sized(fmt="Q4_1", layers=24, vocab=151936):
    return tiny.Tiny("Qwen2-0.5B's sizes, random weights", 896, 14, 2, 4864, fmt, vocab=vocab, layers=layers, tied=True,
                     bias=True, theta=1e6, eps=1e-6, context=4096)


def write(path, m):
    rng = np.random.default_rng(tiny.SEED)
    io.write(path, tiny.keys_of(m), tiny.tensors_of(m, rng, io.Drawn))


def main(path, fmt="Q4_1", layers="24"):
    write(path, sized(fmt, int(layers)))


if __name__ == "__main__":
    main(*sys.argv[1:])
