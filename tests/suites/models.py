"""Whole models on the CPU against the NumPy reference: tiny random llamas with awkward shapes, and the default model.

Every logit at most 5e-3 apart, the top choice equal wherever the reference's margin exceeds 0.01. Each tiny model runs
by single rows (decode's kernels) on one thread, by sevens on two, and in one chunk; and answers with tokens tried in
advance are those without (src/engine/speculate.c). No kernel may be missing, in the fast mode neither.
"""
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TINY = os.path.join(ROOT, "build", "fixtures", "tiny")
TOOL = os.path.join(ROOT, "build", "tests", "logits_tool")
DRAFTS = os.path.join(ROOT, "build", "tests", "speculate_tool")
MODEL = os.path.join(ROOT, "models", "SmolLM2-135M-Instruct.Q4_1.gguf")
APART, CLEAR, WIDE_APART, FAST_APART = 5e-3, 0.01, 5e-3, 0.25


def build_tool(tool):
    os.makedirs(os.path.dirname(tool), exist_ok=True)
    core, kernels = "build/native/libhob_core.a", "build/native/libhob_kernels.a"
    libs = [core, kernels, core] if os.path.exists(os.path.join(ROOT, kernels)) else [core]
    p = subprocess.run(["cc", "-std=c11", "-D_DEFAULT_SOURCE", "-O1", "-Isrc", "tests/model/%s.c" % os.path.basename(tool)] + libs
                       + ["-o", tool, "-lm", "-lpthread"], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return "" if p.returncode == 0 else p.stdout.decode()[-400:]


def logits(model, tokens, threads, chunk, rows, positions=(), device="cpu"):
    import numpy as np
    p = subprocess.run([TOOL, model, tokens, device, str(threads), str(chunk), str(rows)] + [str(x) for x in positions],
                       cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600)
    if p.returncode != 0:
        raise RuntimeError("exit status %d: %s" % (p.returncode, p.stderr.decode()[-300:]))
    if b"interpreter" in p.stderr:
        raise RuntimeError(p.stderr.decode().splitlines()[0])
    return np.frombuffer(p.stdout, "<f4")


def fast_mode(name):
    """It runs, and every kernel is there: few rows, with 16 bits, nearly as in f32; a prompt, with 8, not far from it."""
    model, tokens = (os.path.join(TINY, name + end) for end in (".gguf", ".tokens"))
    want = logits(model, tokens, 1, 256, 1)
    for rows, most in ((1, WIDE_APART), (8, WIDE_APART), (64, FAST_APART)):
        apart = abs(logits(model, tokens, 1, 256, rows, device="cpu/fast") - want).max()
        if apart > most:
            return "logits by %d rows %g from those of f32" % (rows, apart)
    return ""


def compare_tiny(name, threads, chunk, rows):
    import numpy as np
    with open(os.path.join(TINY, name + ".json")) as f:
        want = json.load(f)
    tokens = os.path.join(TINY, name + ".tokens")
    with open(tokens, "w") as f:
        json.dump(want["tokens"], f)
    got = logits(os.path.join(TINY, want["file"]), tokens, threads, chunk, rows).reshape(-1, want["vocab"])
    if len(got) != len(want["tokens"]):
        return "%d rows for %d tokens" % (len(got), len(want["tokens"]))
    exact = np.fromfile(os.path.join(TINY, name + ".logits.f32"), "<f4").reshape(-1, want["vocab"])
    apart = float(np.abs(got[want["positions"]] - exact).max())
    if not apart <= APART:
        return "logits up to %g apart" % apart
    for i, (top, margin) in enumerate(zip(want["top"], want["margin"])):
        if margin > CLEAR and got[i].argmax() != top:
            return "position %d: top %d, NumPy says %d by %g" % (i, got[i].argmax(), top, margin)
    return ""


def compare_sized():
    """One layer of the model that is made for `make bench`, with a small vocabulary: its drawn bits mean what they should."""
    import numpy as np
    sys.path.insert(0, os.path.join(ROOT, "tools"))
    import gguf_io
    import make_sized_llama
    import reference
    path = os.path.join(TINY, "sized")
    for fmt in ("Q4_0", "Q4_1"):
        make_sized_llama.write(path + ".gguf", make_sized_llama.sized(fmt, 1, 515))
        gate = gguf_io.Gguf(path + ".gguf").tensor("blk.0.ffn_gate.weight")
        spread, middle = float(gate.std() * np.sqrt(896) / 1.5), float(gate.mean() / gate.std())
        if abs(spread - 1) > 0.02 or abs(middle) > (0.12 if fmt == "Q4_0" else 0.01):
            return "%s: spread %g of what is asked for, mean %g spreads" % (fmt, spread, middle)
        tokens = [1, 104, 514, 2, 33, 7, 260, 261]
        with open(path + ".tokens", "w") as f:
            json.dump(tokens, f)
        want = reference.Llama(path + ".gguf").logits(tokens)
        apart = float(np.abs(logits(path + ".gguf", path + ".tokens", 2, 256, 8).reshape(want.shape) - want).max())
        if not apart <= APART:
            return "%s: logits up to %g apart" % (fmt, apart)
    return ""


def compare_smol(threads, chunk, rows):
    import numpy as np
    fixtures = os.path.join(ROOT, "tests", "fixtures")
    with open(os.path.join(fixtures, "smol_reference.json")) as f:
        want = json.load(f)
    got = logits(MODEL, os.path.join(fixtures, "smol_tokens.json"), threads, chunk, rows)
    got = got.reshape(len(want["top"]), -1)
    apart = max(float(np.abs(got[p][ids] - np.array(exact)).max())
                for p, ids, exact in zip(want["positions"], want["ids"], want["logits"]))
    if not apart <= APART:
        return "logits up to %g apart" % apart
    clear = [i for i, m in enumerate(want["margin"]) if m > CLEAR]
    wrong = [i for i in clear if got[i].argmax() != want["top"][i]]
    if wrong or len(clear) < 512:
        return "the top choice differs at %d of %d clear positions, first %s" % (len(wrong), len(clear), wrong[:5])
    return ""


def compare_drafts(model, device, talks):
    """Answers with drafts are those without: all greedy ones, and of the drawn ones all but a rare tie."""
    p = subprocess.run([DRAFTS, model, device, "1", str(talks)], cwd=ROOT, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=600)
    if p.returncode != 0:
        return "exit status %d: %s" % (p.returncode, p.stderr.decode()[-300:])
    found = json.loads(p.stdout)
    good = found["greedy_differ"] == 0 and found["drawn_differ"] * 25 <= talks and found["drafted"]
    return "" if good else json.dumps(found)


def case(name, compare, *arguments):
    try:
        why = compare(*arguments)
    except (RuntimeError, ValueError, subprocess.TimeoutExpired) as e:
        why = str(e)
    print("FAIL %s: %s" % (name, why) if why else "PASS " + name, flush=True)


def main():
    try:
        import numpy  # noqa: F401
    except ImportError:
        return print("SKIP all: needs NumPy; tools/setup test")
    p = subprocess.run([sys.executable, os.path.join(ROOT, "tools", "make_tiny_llamas.py"), TINY],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if p.returncode != 0:
        return print("FAIL tiny_models_are_made: %s" % p.stdout.decode()[-300:])
    for tool in (TOOL, DRAFTS):
        why = build_tool(tool)
        if why:
            return print("FAIL %s_builds: %s" % (os.path.basename(tool), why))
    with open(os.path.join(TINY, "index.json")) as f:
        names = json.load(f)
    for name in names:
        case(name + "_by_single_rows", compare_tiny, name, 1, 256, 1)
        case(name + "_by_sevens", compare_tiny, name, 2, 7, 7)
        if "vocab32003" not in name:
            case(name + "_drafts_change_nothing", compare_drafts, os.path.join(TINY, name + ".gguf"), "cpu", 30)
        case(name + "_in_one_chunk", compare_tiny, name, 2, 256, 64)
        case(name + "_in_the_fast_mode", fast_mode, name)
    case("sized_model_of_drawn_bits", compare_sized)
    if not os.path.exists(MODEL):
        return print("SKIP default_model: needs models/%s; make setup" % os.path.basename(MODEL))
    case("default_model_by_single_rows", compare_smol, 2, 256, 1)
    case("default_model_in_chunks", compare_smol, 2, 256, 128)


main()
