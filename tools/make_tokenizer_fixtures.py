"""Writes tests/text/fixtures/bpe_*.gguf and *.cases: a tiny vocabulary for each pre-tokenizer and what it must give.

The vocabularies are trained here by the reference library, which also gives the expected ids. A line of a .cases
file is: p (control tokens are text) or s (they are matched), the text in hexadecimal, the ids.
"""
import os
import random
import sys

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import gguf_vocab as gv
import tokenizer_texts as texts

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join(ROOT, "tests", "text", "fixtures")
CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|a|>", "<|a|>b"]
USER = ["<tool>", "    "]
CORPUS = """The sky is blue because the air scatters blue light more than red light. It's what we'd see, and don't
we'll they've I'm you're HELLO hello Hello world World. for (int i = 0; i < 10; i++) { return x[i] != 0; }
def f(x):
    if x == 1000 and y > 2024:
        return "none"


123 456 7890 12 34 11 22 100 200 3.14 привет мир привет 你好世界 你好 straße naïve über müde größe cafe\u0301 🙂🙂 👍🏽
"""


def bytes_spelt():
    from tokenizers import pre_tokenizers
    return sorted(pre_tokenizers.ByteLevel.alphabet())


def train(name, merges, absent):
    from tokenizers import Tokenizer, models, trainers
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = gv.reference_pre_tokenizer(name)
    alphabet = [c for c in bytes_spelt() if c not in absent]
    rng = random.Random(7)
    words = CORPUS.split(" ")
    corpus = [CORPUS] + [" ".join(rng.choice(words) for _ in range(60)) for _ in range(20)]
    t.train_from_iterator(corpus, trainers.BpeTrainer(vocab_size=len(alphabet) + merges, show_progress=False,
                                                      initial_alphabet=alphabet))
    import json
    model = json.loads(t.to_str())["model"]
    tokens = [s for s, _ in sorted(model["vocab"].items(), key=lambda item: item[1])]
    return [s for s in tokens if s not in absent], model["merges"]


def keys_of(name, merges=150, absent=()):
    tokens, pairs = train(name, merges, absent)
    spelt = set(tokens)
    pairs = [p for p in pairs if p[0] in spelt and p[1] in spelt and "".join(p) in spelt]
    reachable = {c for c in tokens if len(c) == 1} | {"".join(p) for p in pairs}
    tokens = [s for s in tokens if s in reachable]
    if name == "llama-bpe":
        tokens.append("Ġlightscatters")  # no merge makes it: only a look-up of the whole word does
    all_tokens = CONTROL + tokens + USER
    return {
        "general.architecture": "llama",
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": name,
        "tokenizer.ggml.tokens": all_tokens,
        "tokenizer.ggml.token_type": [gv.CONTROL] * len(CONTROL) + [gv.NORMAL] * len(tokens) + [gv.USER] * len(USER),
        "tokenizer.ggml.merges": [" ".join(p) for p in pairs],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
    }


def cases(keys):
    rng = random.Random(3)
    chosen = ["", "a", " ", CORPUS, "x lightscatters lightscatters", "a\x01b the\x01 sky"]
    chosen += rng.sample([t for t in texts.whitespace() if len(t) < 40], 24)
    chosen += [w + s + w for w, s in zip(texts.WORDS, texts.SPACES * 4)]
    chosen += [t[:80] for t in texts.random_texts(40)]
    for special in (False, True):
        t = gv.reference(keys, special)
        for text in chosen:
            if special and "<" not in text:
                continue
            ids = t.encode(text, add_special_tokens=False).ids
            yield "%s\t%s\t%s\n" % ("s" if special else "p", text.encode("utf-8").hex(), " ".join(map(str, ids)))


def main():
    os.makedirs(OUT, exist_ok=True)
    for name, file, absent in (("gpt2", "gpt2", ()), ("smollm", "smollm", ("\u0101", "\u0143", "\u00f5")),
                               ("llama-bpe", "llama_bpe", ()), ("qwen2", "qwen2", ())):
        keys = keys_of(name, absent=absent)
        gv.write(os.path.join(OUT, "bpe_%s.gguf" % file), keys)
        with open(os.path.join(OUT, "bpe_%s.cases" % file), "w", encoding="ascii", newline="\n") as f:
            f.writelines(cases(keys))


main()
