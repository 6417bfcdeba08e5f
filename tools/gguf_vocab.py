"""Vocabularies in GGUF files, and the reference library set up to be the same tokenizer."""
import gguf_io

NORMAL, UNKNOWN, CONTROL, USER, UNUSED, BYTE = range(1, 7)


def read(path):
    """All keys of a GGUF file."""
    return gguf_io.Gguf(path).keys


def write(path, keys):
    """A file with keys and no tensors."""
    def typed(value):
        if isinstance(value, bool):
            return gguf_io.BOOL, value
        if isinstance(value, int):
            return gguf_io.U32, value
        if isinstance(value, str):
            return gguf_io.STRING, value
        return gguf_io.ARRAY, (gguf_io.I32 if isinstance(value[0], int) else gguf_io.STRING, value)
    gguf_io.write(path, [(name,) + typed(value) for name, value in keys.items()], [])


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
