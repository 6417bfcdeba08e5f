"""Ids and decoded text equal to the reference library's, for every byte-level pre-tokenizer and for the default model.

The texts: every assigned code point, source code, emoji, white space, long inputs and random strings
(tools/tokenizer_texts.py). `tokenizer_parity.py FILE.gguf` compares on a vocabulary of one's own.
"""
import os
import shutil
import struct
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))
TOOL = os.path.join(ROOT, "build", "tests", "tokenize_tool")
FIXTURES = ["tests/text/fixtures/bpe_%s.gguf" % n for n in ("gpt2", "smollm", "llama_bpe", "qwen2")]
MODEL = "models/SmolLM2-135M-Instruct.Q4_1.gguf"


def build():
    os.makedirs(os.path.dirname(TOOL), exist_ok=True)
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang-19") or "cc"
    return subprocess.run([compiler, "-std=c11", "-O1", "-D_DEFAULT_SOURCE", "-Isrc",
                           "tests/text/tokenize_tool.c", "build/native/libhob_core.a", "-o", TOOL, "-lm", "-lpthread",
                           "-ldl"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def ours(path, texts, special):
    data = b"".join(struct.pack("<I", len(t)) + t for t in texts)
    p = subprocess.run([TOOL, path] + (["--special"] if special else []), input=data, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE)
    if p.returncode != 0:
        raise RuntimeError("exit status %d: %s" % (p.returncode, p.stderr.decode()[:300]))
    for line in p.stdout.decode("ascii").splitlines():
        ids, decoded = line.split(";")
        yield [int(x) for x in ids.split()], bytes.fromhex(decoded)


def difference(path, keys, texts, special):
    """What differs first, and nothing when nothing does."""
    import gguf_vocab
    reference = gguf_vocab.reference(keys, special)
    got = list(ours(path, [t.encode("utf-8") for t in texts], special))
    if len(got) != len(texts):
        return "%d answers for %d texts" % (len(got), len(texts))
    for text, want, (ids, decoded) in zip(texts, reference.encode_batch(texts, add_special_tokens=False), got):
        if ids != want.ids:
            i = next((i for i, (a, b) in enumerate(zip(ids, want.ids)) if a != b), min(len(ids), len(want.ids)))
            return "%r: at %d %s, the reference %s" % (text[:60], i, ids[i:i + 6], want.ids[i:i + 6])
        if decoded.decode("utf-8", "replace") != reference.decode(ids, skip_special_tokens=False):
            return "decoding %r: %r" % (text[:60], decoded[:60])
    return None


def main():
    os.chdir(ROOT)
    try:
        import tokenizer_texts as t
        import tokenizers  # noqa: F401
    except ImportError as e:
        print("SKIP tokenizer_parity: %s; run: python3 tools/setup test" % e)
        return
    p = subprocess.run([sys.executable, "tools/gen_unicode.py", "--check"], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, universal_newlines=True)
    print("PASS unicode_tables_are_fresh" if p.returncode == 0 else "FAIL unicode_tables_are_fresh: " + p.stdout.strip())
    p = build()
    if p.returncode != 0:
        print("FAIL tokenize_tool_builds: " + p.stdout.decode().strip().replace("\n", " ")[:300])
        return
    import gguf_vocab
    groups = [("code_points", list(t.blocks())), ("source_code", list(t.sources(ROOT))),
              ("white_space", list(t.whitespace())), ("long_inputs", list(t.long_inputs())),
              ("random_strings", list(t.random_texts(1000)))]
    for path in sys.argv[1:] or FIXTURES + [MODEL]:
        label = os.path.basename(path).split(".")[0].lower().replace("-", "_")
        if not os.path.exists(path):
            print("SKIP %s: %s is not there; run: python3 tools/setup model" % (label, path))
            continue
        keys = gguf_vocab.read(path)
        for name, texts in groups:
            for special in (False, True) if name == "random_strings" else (False,):
                bad = difference(path, keys, texts, special)
                case = "%s_%s%s" % (label, name, "_special" if special else "")
                print("PASS " + case if bad is None else "FAIL %s: %s" % (case, bad), flush=True)


main()
