"""WebGPU without a browser: whole models by `hob eval` and `hob run --device webgpu` on the adapter that is here.

Tiny random llamas and the default model against NumPy's figures: log-probabilities at most 5e-3 apart, the top choice equal
wherever its margin exceeds 0.01; by the schedules of a GPU too, whatever the adapter is. A greedy answer equal to the CPU's.
And what src/device/wgpu_api.h declares is what the library's own headers declare.
"""
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(ROOT, "build", "tests", "webgpu")
TINY = os.path.join(ROOT, "build", "fixtures", "tiny")
MODEL = os.path.join(ROOT, "models", "SmolLM2-135M-Instruct.Q4_1.gguf")
HOB = os.path.join(ROOT, "build", "hob")
APART, CLEAR = 5e-3, 0.01
# by name, rows fed at once, profile: each way to feed, each encoding, both kinds of schedules
TAKEN = 3
GPU = "barrier_cost = 20\nfuse_norm = 1\nattn_parts = 8\n"
PROMPT = "Name the capital of France."


def say(name, why="", more=""):
    print("FAIL %s: %s" % (name, " ".join(why.split())) if why else "PASS %s%s" % (name, ": " + more if more else ""),
          flush=True)


def hob(*arguments, **more):
    p = subprocess.run([HOB] + list(arguments), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300, **more)
    if p.returncode != 0:
        raise RuntimeError("exit status %d: %s" % (p.returncode, p.stderr.decode()[-400:]))
    return json.loads(p.stdout)


def evaluate(model, tokens, rows, profile, mode="reference"):
    text = json.dumps(tokens).encode()
    return hob("eval", "-m", model, "--tokens", "-", "--rows", str(rows), "--json", "--device", "webgpu", "--mode", mode,
               *(["--profile", profile] if profile else []), input=text)


def compare(name, model, tokens, want, rows, profile=""):
    """The top choices, and where the reference has them the log-probabilities."""
    try:
        got = evaluate(model, tokens, rows, profile)
    except (RuntimeError, ValueError, subprocess.TimeoutExpired) as e:
        return say(name, str(e))
    n = len(tokens) - 1
    clear = [i for i in range(n) if want["margin"][i] > CLEAR]
    wrong = [i for i in clear if got["top"][i] != want["top"][i]]
    apart = max([abs(a - b) for a, b in zip(got["logprob"], want.get("logprob", [])[:n])] or [0])
    say(name, "%d top choices of %d" % (len(got["top"]), n) if len(got["top"]) != n
        else "the top choice differs at %d of %d clear positions, first %s" % (len(wrong), len(clear), wrong[:5]) if wrong
        else "" if apart <= APART else "log-probabilities up to %g apart" % apart,
        "%.1e apart at most, %d clear positions" % (apart, len(clear)))


def tiles(name, profile):
    """The fast mode on a GPU with 16-bit floats: a prompt's tiles are kept in those, and nothing clear changes."""
    with open(os.path.join(TINY, name + ".json")) as f:
        want = json.load(f)
    model, text = os.path.join(TINY, want["file"]), profile + ".f16"
    with open(text, "w") as f:
        f.write("gpu = 1\nvec = 4\ndims = 0\nf16 = 1\n" + GPU)
    try:
        got = evaluate(model, want["tokens"], 64, profile, "fast")
        printed = subprocess.run([HOB, "inspect", "-m", model, "--kernels", "wgsl", "--mode", "fast", "--profile", text],
                                 cwd=ROOT, stdout=subprocess.PIPE).stdout.count(b"enable f16;")
    except (RuntimeError, ValueError, subprocess.TimeoutExpired) as e:
        return say("tiles_of_16_bit_floats", str(e))
    n = len(want["tokens"]) - 1
    wrong = sum(got["top"][i] != want["top"][i] for i in range(n) if want["margin"][i] > 0.1)
    apart = max(abs(a - b) for a, b in zip(got["logprob"], want["logprob"][:n]))
    say("tiles_of_16_bit_floats", "" if printed >= 3 and not wrong and 1e-5 < apart < 0.05
        else "%d kernels with tiles, %d clear choices differ, log-probabilities %g apart" % (printed, wrong, apart),
        "%d kernels, %.1e apart" % (printed, apart))


def layouts():
    program = os.path.join(OUT, "layout")
    p = subprocess.run([os.environ.get("CC", "cc"), "-std=c11", "-Isrc", "-isystem", "third_party/wgpu",
                        "tests/device/wgpu_layout.c", "-o", program], cwd=ROOT, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT)
    if p.returncode == 0:
        p = subprocess.run([program], stdout=subprocess.PIPE)
    say("declarations_are_those_of_the_library", "" if p.returncode == 0 else "%s" % p.stdout.decode()[-300:] or "a constant")


def answers():
    ask = ("run", "-m", MODEL, "-p", PROMPT, "--temp", "0", "-n", "12", "--json", "--device")
    try:
        cpu, gpu = hob(*ask, "cpu"), hob(*ask, "webgpu")
    except (RuntimeError, ValueError, subprocess.TimeoutExpired) as e:
        return say("the_default_model_answers_as_on_the_cpu", str(e))
    say("the_default_model_answers_as_on_the_cpu",
        "" if gpu["device"] == "webgpu" and gpu["answer"] == cpu["answer"] else "%r and %r" % (gpu["answer"], cpu["answer"]))


def kernels(model):
    for device in ("cpu", "webgpu"):
        p = subprocess.run([HOB, "bench", "-m", model, "-p", "9", "-n", "2", "--runs", "1", "--kernels", "--device", device],
                           cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        rows = [l.split() for l in p.stdout.decode().splitlines() if len(l.split()) == 4]
        good = p.returncode == 0 and len(rows) > 20 and sum(float(r[2]) for r in rows) > 0
        say("bench_times_each_kernel_on_" + device, "" if good else "%d rows: %s" % (len(rows), p.stderr.decode()[-200:]))


def tune(model, tokens, want):
    """What was found is kept and used; what the model says stays the same; a broken list is passed over with a word."""
    path = os.path.join(OUT, "deep", "tuned.json")
    if os.path.exists(path):
        os.unlink(path)
    ask = ("tune", "-m", model, "--device", "webgpu", "--json", "--best", "2", "--samples", "1", "--draws", "5", "--tuned", path)
    try:
        first, again = hob(*ask), hob(*ask, "--seconds", "0.001")
        nothing = path + ".none"
        hob(*ask[:-1], nothing, "--seconds", "0.001")
        with open(path) as f:
            kept = json.load(f)
    except (RuntimeError, ValueError, OSError, subprocess.TimeoutExpired) as e:
        return say("tune_keeps_what_it_finds", str(e))
    found = [k["schedule"] for k in first["kernels"] if k["schedule"]]
    here = [s["schedule"] for s in kept["schedules"] if s["adapter"] == first["device"] and s["schedule"]]
    say("tune_keeps_what_it_finds", "" if kept["hob_tuned"] == 1 and set(found) == set(here) and len(first["kernels"]) > 9
        and {r["rule"] for r in first["rules"]} >= {"matmul_row", "map"} and not again["kernels"]
        and first["complete"] and not again["complete"] and not os.path.exists(nothing)
        else "%d found, %d kept, %d kernels" % (len(found), len(here), len(first["kernels"])))
    os.environ["HOB_TUNED"] = path
    compare("tuned", model, tokens, want, 7)
    with open(path, "w") as f:
        f.write('{"hob_tuned": 1, "schedules": [{"adapter": "a", "nest": "1"')
    p = subprocess.run([HOB, "eval", "-m", model, "--tokens", "-", "--json"], cwd=ROOT, input=b"[1, 2, 3]", stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE)
    del os.environ["HOB_TUNED"]
    say("a_broken_list_is_not_used_and_said", "" if p.returncode == 0 and b"not used" in p.stderr else p.stderr.decode())


def main():
    try:
        import numpy  # noqa: F401
    except ImportError:
        return print("SKIP all: needs NumPy; tools/setup test")
    os.makedirs(OUT, exist_ok=True)
    for command in (["make", "-s", "native"], [sys.executable, "tools/make_tiny_llamas.py", TINY]):
        p = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if p.returncode != 0:
            return say("models_are_made", p.stdout.decode()[-300:])
    with open(os.path.join(TINY, "index.json")) as f:
        names = json.load(f)
    profile = os.path.join(OUT, "gpu.profile")
    with open(profile, "w") as f:
        f.write(GPU)
    for i, name in enumerate(names[:: max(len(names) // TAKEN, 1)][:TAKEN]):
        with open(os.path.join(TINY, name + ".json")) as f:
            want = json.load(f)
        model = os.path.join(TINY, want["file"])
        if i == 0:
            try:
                evaluate(model, want["tokens"][:3], 1, "")
            except RuntimeError as e:
                if "wgpu-native" in str(e) or "no GPU speaks" in str(e):
                    return print("SKIP all: " + " ".join(str(e).split()))
            if os.path.exists(os.path.join(ROOT, "third_party", "wgpu", "wgpu.h")):
                layouts()
            kernels(model)
            tune(model, want["tokens"], want)
            tiles("nine_to_three", profile)
        rows = (1, 7, 64)[i % 3]
        compare("%s_by_%d" % (name, rows), model, want["tokens"], want, rows)
        compare("%s_by_%d_as_on_a_gpu" % (name, rows), model, want["tokens"], want, rows, profile)
    if not os.path.exists(MODEL):
        return print("SKIP default_model: needs models/%s; make setup" % os.path.basename(MODEL))
    fixtures = os.path.join(ROOT, "tests", "fixtures")
    with open(os.path.join(fixtures, "smol_tokens.json")) as f:
        tokens = json.load(f)
    with open(os.path.join(fixtures, "smol_reference.json")) as f:
        want = json.load(f)
    compare("default_model_in_rows_of_32", MODEL, tokens[:33], want, 32)
    answers()


main()
