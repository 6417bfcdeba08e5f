"""Texts that tokenizers disagree on: the input of the fixtures and of the parity suite. The same on every run."""
import glob
import os
import random

import unicodedata2

WORDS = ["I'm", "don't", "WE'LL", "it'S", "they'Ve", "x'\u017f", "he'd've", "'s", "''t", "hello", " world", "Hello,",
         "naïve", "Straße", "Привет", "мир", "你好", "世界", "こんにちは", "안녕하세요", "สวัสดี", "مرحبا", "שלום", "नमस्ते",
         "ÀÉÎ", "e\u0301", "ﬁ", "Ǆ", "ªº", "ʰ", "١٢٣", "१२", "²³", "Ⅷ", "½", "㊿", "1", "12", "123", "1234", "3.14159",
         "0x7fff", "1,000,000", "...", "!?", "--", "=>", "!=", "//", "/*", "*/", "$x", "a_b", "(((", "}}}", "\"'`", "€",
         "🙂", "👩\u200d👩\u200d👧\u200d👦", "🏳️\u200d🌈", "👍🏽", "🇩🇪", "#️⃣", "\ufeff", "\u00ad", "\ue000", "\U000f0000", "\U0010ffff",
         "\x00", "\x01", "\x7f", "<|im_end|>", "<|im_end|", "<|im_end|>>", "<tool>", "<|a|>", "<|a|>b"]
SPACES = [" ", "  ", "   ", "\n", "\n\n", "\r\n", "\r", "\t", "\t\t", " \n", "\n ", " \t ", "\u00a0", "\u3000", "\u2028",
          "\x85", "\x0b", "\x0c", "\u1680", "\u200b", "        ", "\x1c"]


def assigned():
    """Code points of the tables' Unicode version: about newer ones the reference's own parts disagree."""
    return [c for c in range(0x110000) if unicodedata2.category(chr(c)) not in ("Cn", "Cs", "Co")]


def blocks(size=256):
    """Every assigned code point, as they come and with letters and spaces between."""
    cps = assigned()
    for i in range(0, len(cps), size):
        part = [chr(c) for c in cps[i:i + size]]
        yield "".join(part)
        yield " ".join(part)
        yield "a".join(part) + "\n"


def sources(root):
    """Source code: this tree's own."""
    for pattern in ("src/*/*.[ch]", "src/*/*.def", "tools/*.py", "*.md", "Makefile", "CMakeLists.txt"):
        for path in sorted(glob.glob(os.path.join(root, pattern)))[:60]:
            with open(path, encoding="utf-8") as f:
                yield f.read()[:20000]


def whitespace():
    for a in SPACES:
        for b in SPACES:
            yield "x" + a + b + "y" + b + a
    for n in (1, 2, 3, 7, 8, 15, 16, 31, 32, 33, 100):
        yield " " * n
        yield " " * n + "a" + "\n" * n + "b" + "\t" * n
        yield ("a" + " " * n + "\n") * 3


def long_inputs():
    rng = random.Random(5)
    yield "a" * 200000
    yield " " * 200000
    yield "\n" * 100000 + "x"
    yield "1" * 100000
    yield "ab" * 100000
    yield "!?" * 50000
    yield "é" * 50000
    yield "".join(rng.choice("etaoin shrdlu\n") for _ in range(300000))


def random_texts(n, seed=1):
    rng = random.Random(seed)
    cps = assigned()
    for _ in range(n):
        out = []
        for _ in range(rng.randrange(1, 40)):
            kind = rng.randrange(8)
            if kind < 3:
                out.append(rng.choice(WORDS))
            elif kind < 5:
                out.append(rng.choice(SPACES))
            elif kind == 5:
                out.append(chr(rng.randrange(0x20, 0x7f)) * rng.choice((1, 1, 2, 5)))
            elif kind == 6:
                out.append(chr(rng.choice(cps)))
            else:
                out.append("".join(rng.choice("abcdefghijklmnopqrstuvwxyzABC") for _ in range(rng.randrange(1, 40))))
        yield "".join(out)
