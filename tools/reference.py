"""A llama-architecture model in NumPy, on the dequantised weights of a GGUF file: what hob's logits are held against.

The whole sequence at once, causal, no cache, nothing clever. float32 by default; float64 tells how far float32 itself
is off. Rotary pairs are adjacent (GGUF's order of the q and k rows).
"""
import sys

import numpy as np

from gguf_io import Gguf


class Llama:
    def __init__(self, path, dtype=np.float32):
        g = self.gguf = Gguf(path)
        arch = g.keys["general.architecture"]
        if arch != "llama":
            raise ValueError("%s: architecture %s" % (path, arch))
        key = lambda name, default=None: g.keys.get("llama." + name, default)
        self.dtype = dtype
        self.layers = key("block_count")
        self.hidden = key("embedding_length")
        self.heads = key("attention.head_count")
        self.kv_heads = key("attention.head_count_kv", self.heads)
        self.head_dim = key("attention.key_length", self.hidden // self.heads)
        self.rot = key("rope.dimension_count", self.head_dim)
        self.theta = key("rope.freq_base", 10000.0)
        self.eps = key("attention.layer_norm_rms_epsilon", 1e-5)
        self.w = {name: g.tensor(name).astype(dtype) for name in g.tensors}
        if "output.weight" not in self.w:
            self.w["output.weight"] = self.w["token_embd.weight"]

    def norm(self, x, name):
        scale = 1 / np.sqrt((x * x).mean(-1, keepdims=True) + self.dtype(self.eps))
        return (x * scale * self.w[name]).astype(self.dtype)

    def linear(self, x, name):
        y = x @ self.w[name + ".weight"].T
        bias = self.w.get(name + ".bias")
        return y if bias is None else y + bias

    def rotate(self, x):  # (positions, heads, head_dim)
        half = np.arange(self.rot // 2, dtype=np.float64)
        freq = self.theta ** (-2 * half / self.rot)
        if "rope_freqs.weight" in self.w:
            freq = freq / self.w["rope_freqs.weight"].astype(np.float64)
        angle = np.arange(len(x), dtype=np.float64)[:, None, None] * freq
        cos, sin = np.cos(angle).astype(self.dtype), np.sin(angle).astype(self.dtype)
        a, b = x[..., 0:self.rot:2], x[..., 1:self.rot:2]
        y = x.copy()
        y[..., 0:self.rot:2] = a * cos - b * sin
        y[..., 1:self.rot:2] = a * sin + b * cos
        return y

    def attention(self, x, prefix):
        n, d = len(x), self.head_dim
        q = self.rotate(self.linear(x, prefix + "attn_q").reshape(n, self.heads, d))
        k = self.rotate(self.linear(x, prefix + "attn_k").reshape(n, self.kv_heads, d))
        v = self.linear(x, prefix + "attn_v").reshape(n, self.kv_heads, d)
        future = np.triu(np.ones((n, n), bool), 1)
        out = np.empty((n, self.heads, d), self.dtype)
        for h in range(self.heads):
            g = h // (self.heads // self.kv_heads)
            s = q[:, h] @ k[:, g].T / self.dtype(np.sqrt(d))
            s[future] = -np.inf
            p = np.exp(s - s.max(-1, keepdims=True))
            out[:, h] = p / p.sum(-1, keepdims=True) @ v[:, g]
        return self.linear(out.reshape(n, self.heads * d), prefix + "attn_output")

    def logits(self, tokens, positions=None):
        """(len(positions), vocabulary); all positions when none are given."""
        x = self.w["token_embd.weight"][np.asarray(tokens)]
        for i in range(self.layers):
            prefix = "blk.%d." % i
            x = x + self.attention(self.norm(x, prefix + "attn_norm.weight"), prefix)
            y = self.norm(x, prefix + "ffn_norm.weight")
            gate = self.linear(y, prefix + "ffn_gate")
            x = x + self.linear(gate / (1 + np.exp(-gate)) * self.linear(y, prefix + "ffn_up"), prefix + "ffn_down")
        x = self.norm(x, "output_norm.weight")
        if positions is not None:
            x = x[np.asarray(positions)]
        return self.linear(x, "output")


def summary(logits, tokens):
    """Top id and its margin after every position; log-probability of the token given next, but the last."""
    top = logits.argmax(-1)
    two = np.partition(logits, -2, axis=-1)[:, -2:]
    wide = logits.astype(np.float64)
    peak = wide.max(-1, keepdims=True)
    total = np.log(np.exp(wide - peak).sum(-1)) + peak[:, 0]
    after = np.arange(len(tokens) - 1)
    return {"top": top.tolist(), "margin": (two[:, 1] - two[:, 0]).tolist(),
            "logprob": (wide[after, np.asarray(tokens[1:])] - total[:-1]).tolist()}


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: reference.py MODEL.gguf ID...   prints the best id after each position, its margin and logit")
    ids = [int(a) for a in sys.argv[2:]]
    out = Llama(sys.argv[1]).logits(ids)
    s = summary(out, ids)
    for i, (t, m) in enumerate(zip(s["top"], s["margin"])):
        print("%d: %d margin %.4f logit %.4f" % (i, t, m, out[i, t]))
