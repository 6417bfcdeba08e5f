"""The NumPy reference of SmolLM2-135M-Instruct on a text of some 600 tokens, committed for the tests.

tests/fixtures/smol_tokens.json     the token ids: a chat turn with prose, code, figures and other scripts in it
tests/fixtures/smol_reference.json  {"model", "top", "margin", "logprob": for each position; "positions", "ids",
                                    "logits": 32 logits at each of 16 positions; "float64_apart": how far the same in
                                    float64 is, at most}

usage: make_smol_reference.py MODEL.gguf      takes about a minute and 2 GB
"""
import json
import os
import sys

import numpy as np

import gguf_io
import reference

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

QUESTION = "Tell me about the old lighthouse, then show me how to count words in Python."
ANSWER = """The lighthouse on the northern cape was built in 1874, when the fishing fleet had grown to more than 200 boats \
and the winter storms had taken eleven of them in a single night. Its tower is 31.5 metres high, painted white with two \
red bands, and the lamp can be seen from a distance of about 24 nautical miles. For the first forty years the light was \
fed with oil that had to be carried up 172 steps every evening; the keeper's daughter later wrote that she "could have \
climbed them asleep, and often did." Electricity came in 1921, and the last keeper left in 1987.

Today the building is a small museum. Visitors can see:

1. the original lens, made in Paris and repaired twice;
2. a map of every wreck between 1802 and 1960;
3. the log books, in which the weather was noted four times a day;
4. a model of the harbour as it was before the great flood.

The village below it lives from tourism, but the boats still go out before dawn. If you ask the fishermen why they do \
not stay in bed, they laugh and say that the fish do not read the clock. In the evening the square fills with people, \
someone plays the accordion, and the children run between the tables until they are called home.

Here is a short program that counts the words of a text:

```python
import re
from collections import Counter

def count_words(text: str) -> Counter:
    \"\"\"Return how often each word occurs.\"\"\"
    words = re.findall(r"[a-z']+", text.lower())
    return Counter(words)

if __name__ == "__main__":
    for word, n in count_words("The cat saw the other cat.").most_common(3):
        print(f"{word:>10} {n}")
```

It prints `the 2`, `cat 2` and `saw 1`. The regular expression keeps letters and apostrophes, so that "don't" stays one \
word; everything else separates words. For other languages you would need a wider class: Grüße aus Köln, ça va bien, \
¿cómo estás?, 今日はいい天気です, Привет, мир! Numbers such as 3.14159 or 1,000,000 are left out on purpose.

To summarise: the light still turns, the museum is open from Tuesday to Sunday between 10:00 and 17:30, and the program \
needs nothing but the standard library. I hope that this helps you. Is there anything else that you would like to know?"""


def encoder(gguf):
    from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers
    keys = gguf.keys
    tokens = keys["tokenizer.ggml.tokens"]
    merges = [tuple(m.split(" ", 1)) for m in keys["tokenizer.ggml.merges"]]
    t = Tokenizer(models.BPE({s: i for i, s in enumerate(tokens)}, merges))
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False)])
    t.add_special_tokens([AddedToken(s, normalized=False)
                          for s, kind in zip(tokens, keys["tokenizer.ggml.token_type"]) if kind == 3])
    return lambda text: t.encode(text, add_special_tokens=False).ids


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: make_smol_reference.py MODEL.gguf")
    path = sys.argv[1]
    ids = encoder(gguf_io.Gguf(path))(
        "<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n%s<|im_end|>\n" % (QUESTION, ANSWER))
    logits = reference.Llama(path).logits(ids)
    apart = float(np.abs(logits - reference.Llama(path, np.float64).logits(ids)).max())
    record = {"model": os.path.basename(path)}
    record.update(reference.summary(logits, ids))
    record["margin"] = [round(m, 5) for m in record["margin"]]
    record["logprob"] = [round(p, 5) for p in record["logprob"]]
    n = len(ids)
    rng = np.random.default_rng(135)
    record["positions"] = [0, 1, 2, 7, 31, 63, 64, 127, 255, 256, 257, 383, 511, 512, n - 2, n - 1]
    record["ids"], record["logits"] = [], []
    for p in record["positions"]:
        best = np.argsort(-logits[p])[:8]
        others = rng.choice(np.setdiff1d(np.arange(logits.shape[1]), best), 24, replace=False)
        chosen = np.concatenate([best, others])
        record["ids"].append(chosen.tolist())
        record["logits"].append([float("%.6g" % v) for v in logits[p, chosen]])
    record["float64_apart"] = float("%.3g" % apart)
    folder = os.path.join(ROOT, "tests", "fixtures")
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "smol_tokens.json"), "w") as f:
        json.dump(ids, f)
        f.write("\n")
    with open(os.path.join(folder, "smol_reference.json"), "w") as f:
        f.write("{\n" + ",\n".join("%s: %s" % (json.dumps(k), json.dumps(v)) for k, v in record.items()) + "\n}\n")
    clear = sum(m > 0.01 for m in record["margin"])
    print("%d tokens, %d with a margin above 0.01, float64 at most %.2g apart" % (n, clear, apart))


if __name__ == "__main__":
    main()
