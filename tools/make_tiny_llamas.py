"""Random small llamas with awkward shapes, and what the NumPy reference says about them: build/fixtures/tiny/.

NAME.gguf         the model, with a byte-level vocabulary of its own
NAME.json         {"file", "vocab", "context", "tokens", "positions": [...], "top", "margin", "logprob"}: top and margin
                  after every position, logprob of the token given next
NAME.logits.f32   float32 logits at `positions`, one row of `vocab` after the other
index.json        the names, in order

Everything follows from the seed: the same files come out each time. Arguments: the folder (default as above).
"""
import json
import os
import sys
import zlib

import numpy as np

import gguf_io as io
import reference

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
SEED = 20260


class Tiny:
    """One model's shape. fmt: the format of every matrix; formats: {"attn_q": "Q8_0", ...} for those that differ."""

    def __init__(self, name, hidden, heads, kv_heads, ffn, fmt, vocab=300, layers=2, head_dim=None, tied=False,
                 bias=False, theta=10000.0, eps=1e-5, factors=False, formats=None, tokens=24, version=3, align=32,
                 context=128):
        self.__dict__.update(locals())
        self.d = head_dim or hidden // heads


MODELS = [
    Tiny("plain_f32", 64, 4, 4, 128, "F32"),
    Tiny("head80_q4_1", 320, 4, 2, 352, "Q4_1", tied=True),
    Tiny("head96_q8_0", 192, 2, 1, 224, "Q8_0", layers=3),
    Tiny("one_kv_head_q4_0", 128, 8, 1, 160, "Q4_0", formats={"output": "Q8_0"}),
    Tiny("vocab32003_tied_q8_0", 64, 2, 2, 96, "Q8_0", vocab=32003, tied=True),
    Tiny("vocab32003_untied_q4_1", 96, 3, 1, 96, "Q4_1", vocab=32003),
    Tiny("ffn90_f16", 48, 3, 3, 90, "F16", layers=3, eps=1e-6),
    Tiny("ffn110_bf16", 80, 5, 1, 110, "BF16", tied=True, align=64),
    Tiny("bias_ffn77_f32", 72, 6, 3, 77, "F32", bias=True, version=2),
    Tiny("bias_q4_1", 160, 5, 5, 288, "Q4_1", bias=True, tied=True, formats={"token_embd": "Q8_0"}),
    Tiny("mixed_qkv", 128, 4, 2, 224, "Q4_1", tied=True,
         formats={"token_embd": "F16", "attn_q": "Q4_0", "attn_k": "Q8_0", "attn_v": "F16", "ffn_up": "Q8_0",
                  "ffn_down": "Q4_0"}),
    Tiny("mixed_gate_up", 96, 6, 2, 160, "Q8_0", layers=3,
         formats={"attn_q": "F32", "attn_k": "BF16", "attn_v": "Q4_1", "ffn_gate": "Q4_0", "output": "F32"}),
    Tiny("theta500000_factors", 64, 2, 1, 192, "Q4_0", theta=500000.0, factors=True),
    Tiny("wide_heads", 96, 4, 2, 96, "Q8_0", head_dim=64, theta=100000.0),
    Tiny("head80_one_kv_bf16", 160, 2, 1, 130, "BF16", layers=3, eps=1e-6),
    Tiny("nine_to_three", 288, 9, 3, 416, "Q4_1", tied=True, formats={"token_embd": "Q8_0"}, tokens=40),
    Tiny("head10_f16", 50, 5, 1, 46, "F16", tied=True, vocab=301),
    Tiny("super_blocks", 256, 4, 2, 512, "Q4_K", formats={"attn_v": "Q6_K", "ffn_down": "Q6_K", "token_embd": "Q6_K"}),
    Tiny("five_bits", 96, 3, 1, 160, "Q5_0", tied=True),
    Tiny("smallest", 32, 1, 1, 32, "Q4_0", vocab=263, tokens=12),
]


def byte_alphabet():
    """The printable character that stands for each byte in byte-level BPE vocabularies."""
    keep = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256))
    spare = iter(range(256, 512))
    return [chr(b) if b in keep else chr(next(spare)) for b in range(256)]


TEMPLATE = ("{% for m in messages %}{{ '<|im_start|>' + m['role'] + '\n' + m['content'] + '<|im_end|>' + '\n' }}"
            "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")


def vocabulary(size):
    """Three special tokens, 256 bytes, a few merges where there is room, then fillers that no text leads to, named by their ids."""
    letter = byte_alphabet()
    space = letter[32]
    tokens = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"] + letter
    kinds = [3] * 3 + [1] * 256
    merges = []
    for left, right in [(space, "t"), ("h", "e"), (space + "t", "he"), ("i", "n"), (space, "a"), ("e", "r"), ("o", "n"),
                        ("r", "e"), (space, "s"), ("in", "g")]:
        if len(tokens) < size:
            tokens.append(left + right)
            kinds.append(1)
            merges.append(left + " " + right)
    for i in range(len(tokens), size):
        tokens.append("<fill%d>" % i)
        kinds.append(1)
    return tokens, kinds, merges


def keys_of(m):
    tokens, kinds, merges = vocabulary(m.vocab)
    keys = [("general.architecture", io.STRING, "llama"), ("general.name", io.STRING, m.name),
            ("llama.block_count", io.U32, m.layers), ("llama.context_length", io.U32, m.context),
            ("llama.embedding_length", io.U32, m.hidden), ("llama.feed_forward_length", io.U32, m.ffn),
            ("llama.attention.head_count", io.U32, m.heads), ("llama.attention.head_count_kv", io.U32, m.kv_heads),
            ("llama.attention.layer_norm_rms_epsilon", io.F32, m.eps), ("llama.rope.freq_base", io.F32, m.theta),
            ("llama.rope.dimension_count", io.U32, m.d), ("llama.vocab_size", io.U32, m.vocab)]
    if m.head_dim:
        keys += [("llama.attention.key_length", io.U32, m.d), ("llama.attention.value_length", io.U32, m.d)]
    return keys + [("tokenizer.ggml.model", io.STRING, "gpt2"), ("tokenizer.ggml.pre", io.STRING, "gpt-2"),
                   ("tokenizer.ggml.tokens", io.ARRAY, (io.STRING, tokens)),
                   ("tokenizer.ggml.token_type", io.ARRAY, (io.I32, kinds)),
                   ("tokenizer.ggml.merges", io.ARRAY, (io.STRING, merges)),
                   ("tokenizer.ggml.bos_token_id", io.U32, 1), ("tokenizer.ggml.eos_token_id", io.U32, 2),
                   ("tokenizer.ggml.add_bos_token", io.BOOL, False), ("tokenizer.chat_template", io.STRING, TEMPLATE)]


def normal(rng, shape, spread):
    return rng.standard_normal(shape, np.float32) * np.float32(spread)


def tensors_of(m, rng, draw=normal):
    """draw: (rng, shape, spread) -> a matrix."""
    out = []

    def matrix(name, rows, k, gain=1.0):
        fmt = (m.formats or {}).get(name.split(".")[-1], m.fmt)
        out.append((name + ".weight", draw(rng, (rows, k), gain / np.sqrt(k)), fmt))

    def vector(name, n, mean, spread):
        out.append((name, np.float32(mean) + np.float32(spread) * rng.standard_normal(n, np.float32), "F32"))

    matrix("token_embd", m.vocab, m.hidden, 2.5 if m.tied else 8.0)
    for i in range(m.layers):
        b = "blk.%d." % i
        vector(b + "attn_norm.weight", m.hidden, 1, 0.1)
        for name, heads in (("attn_q", m.heads), ("attn_k", m.kv_heads), ("attn_v", m.kv_heads)):
            matrix(b + name, heads * m.d, m.hidden, 1.5)
            if m.bias:
                vector(b + name + ".bias", heads * m.d, 0, 0.3)
        matrix(b + "attn_output", m.hidden, m.heads * m.d)
        vector(b + "ffn_norm.weight", m.hidden, 1, 0.1)
        matrix(b + "ffn_gate", m.ffn, m.hidden, 1.5)
        matrix(b + "ffn_up", m.ffn, m.hidden, 1.5)
        matrix(b + "ffn_down", m.hidden, m.ffn)
    vector("output_norm.weight", m.hidden, 1, 0.1)
    if not m.tied:
        matrix("output", m.vocab, m.hidden, 2.5)
    if m.factors:
        vector("rope_freqs.weight", m.d // 2, 3, 0.5)
    return out


def make(m, folder):
    rng = np.random.default_rng([SEED, zlib.crc32(m.name.encode())])
    path = os.path.join(folder, m.name)
    io.write(path + ".gguf", keys_of(m), tensors_of(m, rng), m.version, m.align)
    tokens = [1] + rng.integers(0, m.vocab, m.tokens - 1).tolist()
    tokens[-2] = m.vocab - 1  # the last row of an embedding whose row count is odd
    logits = reference.Llama(path + ".gguf").logits(tokens)
    n = len(tokens)
    positions = sorted({0, 1, 6, 7, 8, n // 2, n - 2, n - 1})
    logits[positions].astype("<f4").tofile(path + ".logits.f32")
    record = {"file": m.name + ".gguf", "vocab": m.vocab, "context": 128, "tokens": tokens, "positions": positions}
    record.update(reference.summary(logits, tokens))
    with open(path + ".json", "w") as f:
        json.dump(record, f)


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else os.path.join(ROOT, "build", "fixtures", "tiny")
    os.makedirs(folder, exist_ok=True)
    for m in MODELS:
        make(m, folder)
    with open(os.path.join(folder, "index.json"), "w") as f:
        json.dump([m.name for m in MODELS], f)
    print("%d tiny models in %s" % (len(MODELS), os.path.relpath(folder)))


if __name__ == "__main__":
    main()
