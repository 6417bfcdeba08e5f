"""Vocabularies in GGUF files, read and written for the tokenizer's fixtures and its parity suite.

An independent reader on purpose: it shares no code with src/format, so that the two check each other.
"""
import struct

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)
U32, I32, BOOL, STRING, ARRAY = 4, 5, 7, 8, 9
SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def scalar(self, code):
        value = struct.unpack_from("<" + code, self.data, self.at)[0]
        self.at += struct.calcsize("<" + code)
        return value

    def string(self):
        n = self.scalar("Q")
        self.at += n
        return bytes(self.data[self.at - n:self.at]).decode("utf-8")

    def value(self, kind):
        if kind == STRING:
            return self.string()
        if kind == ARRAY:
            inner, n = self.scalar("I"), self.scalar("Q")
            return [self.value(inner) for _ in range(n)]
        return self.scalar(SCALARS[kind])


def read(path):
    """All keys of a GGUF file."""
    with open(path, "rb") as f:
        r = Reader(memoryview(f.read()))
    if bytes(r.data[:4]) != b"GGUF":
        raise ValueError("%s is no GGUF file" % path)
    r.at = 8
    _, n = r.scalar("Q"), r.scalar("Q")
    return {r.string(): r.value(r.scalar("I")) for _ in range(n)}


def pack_string(s):
    b = s.encode("utf-8")
    return struct.pack("<Q", len(b)) + b


def pack(value):
    if isinstance(value, bool):
        return struct.pack("<I?", BOOL, value)
    if isinstance(value, int):
        return struct.pack("<II", U32, value)
    if isinstance(value, str):
        return struct.pack("<I", STRING) + pack_string(value)
    if value and isinstance(value[0], int):
        return struct.pack("<IIQ", ARRAY, I32, len(value)) + struct.pack("<%di" % len(value), *value)
    return struct.pack("<IIQ", ARRAY, STRING, len(value)) + b"".join(map(pack_string, value))


def write(path, keys):
    """A version 3 file with keys and no tensors."""
    body = b"".join(pack_string(k) + pack(v) for k, v in keys.items())
    with open(path, "wb") as f:
        f.write(b"GGUF" + struct.pack("<IQQ", 3, 0, len(keys)) + body)


# What the reference library is told for each pre-tokenizer: the models' own tokenizer.json, in its terms.
CL100K = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")


def reference_pre_tokenizer(name):
    from tokenizers import Regex, pre_tokenizers as p
    if name in ("gpt2", "gpt-2"):
        return p.ByteLevel(add_prefix_space=False)
    if name == "smollm":
        return p.Sequence([p.Digits(individual_digits=True), p.ByteLevel(add_prefix_space=False)])
    digits = {"llama-bpe": r"\p{N}{1,3}", "qwen2": r"\p{N}"}[name]
    return p.Sequence([p.Split(Regex(CL100K % digits), "isolated"),
                       p.ByteLevel(add_prefix_space=False, use_regex=False)])


def reference(keys, special):
    """A Tokenizer of the reference library with a GGUF's vocabulary; special: control tokens in texts are matched."""
    from tokenizers import AddedToken, Tokenizer, decoders, models
    tokens, types = keys["tokenizer.ggml.tokens"], keys["tokenizer.ggml.token_type"]
    pre = keys["tokenizer.ggml.pre"]
    merges = [tuple(m.split(" ", 1)) for m in keys["tokenizer.ggml.merges"]]
    t = Tokenizer(models.BPE(vocab={s: i for i, s in enumerate(tokens)}, merges=merges,
                             ignore_merges=pre == "llama-bpe"))
    t.pre_tokenizer = reference_pre_tokenizer(pre)
    t.decoder = decoders.ByteLevel()
    added = [(s, k) for s, k in zip(tokens, types) if k in (CONTROL, USER)]
    t.add_special_tokens([AddedToken(s, special=True, normalized=False) for s, k in added if k == CONTROL])
    t.add_tokens([AddedToken(s, special=False, normalized=False) for s, k in added if k == USER])
    t.encode_special_tokens = not special
    return t
