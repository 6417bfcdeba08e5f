"""The proof in the tab: models in a page, on WebGPU and on the CPU, against NumPy and against the native tool.

Tiny random llamas with awkward shapes and the default model: logits at most 5e-3 from the float32 reference, the top
choice equal wherever its margin exceeds 0.01. Then answers: greedy ones of one native thread, forced token by token on
two native threads, in the page on the CPU and on WebGPU; and WebGPU's own, forced on the native CPU.

`make test` runs a part; HOB_FULL=1 (`make parity`) runs all: every position of the default model, in chunks and by
single rows, the schedules of a GPU, ten prompts of 64 tokens. Chromium's software adapter takes minutes for that.
ONLY=text keeps the jobs whose name contains it.
"""
import json
import os
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
TINY = os.path.join(ROOT, "build", "fixtures", "tiny")
OUT = os.path.join(ROOT, "build", "tests", "forced")
TOOL = os.path.join(ROOT, "build", "tests", "forced_tool")
MODEL = "models/SmolLM2-135M-Instruct.Q4_1.gguf"
APART, CLEAR = 5e-3, 0.01
FAST_APART, FAST_LEAST, FAST_CLEAR = 1.0, 5e-4, 0.25  # of single logits, and no less than f32 ever is; `hob eval --agreement` tells what matters
FULL = os.environ.get("HOB_FULL") == "1"
PROMPTS = ["Name the capital of France.", "Write one sentence about the sea.", "What is 7 times 8?",
           "Why is the sky blue?", "List three fruits.", "Translate 'good morning' into Spanish.",
           "Write a Python function that adds two numbers.", "Who wrote Romeo and Juliet?", "Tell me a short story.",
           "Explain what a compiler does."]
ASKED, MOST = (10, 64) if FULL else (2, 16)


failed = []


def say(name, why="", more=""):
    failed.extend([name] if why else [])
    print("FAIL %s: %s" % (name, why) if why else "PASS %s%s" % (name, ": " + more if more else ""), flush=True)


def sh(command, **more):
    return subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)


def build_tool():
    os.makedirs(OUT, exist_ok=True)
    core, kernels = "build/native/libhob_core.a", "build/native/libhob_kernels.a"
    libs = [core, kernels, core] if os.path.exists(os.path.join(ROOT, kernels)) else [core]
    p = sh(["cc", "-std=c11", "-D_DEFAULT_SOURCE", "-O1", "-Isrc", "tests/model/forced_tool.c"] + libs
           + ["-o", TOOL, "-lm", "-lpthread"])
    return "" if p.returncode == 0 else p.stdout.decode()[-400:]


def native(threads, mode, count, *texts, ids=()):
    lines = "".join(" ".join(map(str, i)) + "\n" for i in ids)
    p = subprocess.run([TOOL, os.path.join(ROOT, MODEL), str(threads), mode, str(count)] + list(texts),
                       input=lines.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600)
    if p.returncode != 0:
        raise RuntimeError("exit status %d: %s" % (p.returncode, p.stderr.decode()[-300:]))
    return [json.loads(line) for line in p.stdout.splitlines()]


# ---- the jobs ------------------------------------------------------------------------------------------------------
def tiny_jobs(names):
    """Each in one chunk or by sevens (a chunk of seven), and by single rows."""
    for i, name in enumerate(names):
        with open(os.path.join(TINY, name + ".json")) as f:
            want = json.load(f)
        for device, gpu in [("webgpu", False), ("cpu", False)] + [("webgpu", True)] * FULL:
            # a software adapter is slow to make pipelines, and steps of one row need half of them
            for chunk in ((7, 256) if FULL else (7,) if device == "cpu" else ((256, 7, 1)[i % 3],)):
                feed = {"tokens": want["tokens"] + [0], "logits": want["positions"]}
                yield {"id": "%s_on_%s_chunk_%d" % (name, device + "_as_gpu" * gpu, chunk), "device": device, "gpu": gpu,
                       "model": os.path.relpath(os.path.join(TINY, want["file"]), ROOT), "chunk": chunk,
                       "rows": min(chunk, 64), "evaluate": [feed, dict(feed, rows=1)][chunk == 1:], "want": want}


def smol_feeds(tokens, want, *sizes):
    """The first n tokens, so many rows at a time, for each (n, rows)."""
    return [{"tokens": tokens[:n + 1], "rows": rows, "logits": [p for p in want["positions"] if p < n]} for n, rows in sizes]


def smol_jobs(answers):
    """The reference's positions, and with them, by the same pipelines, the answers."""
    with open(os.path.join(ROOT, "tests", "fixtures", "smol_tokens.json")) as f:
        tokens = json.load(f) + [0]
    with open(os.path.join(ROOT, "tests", "fixtures", "smol_reference.json")) as f:
        want = json.load(f)
    # positions in chunks and by single rows: a software adapter does some ten a second of either
    for device, gpu, many, single in ([("webgpu", False, len(tokens) - 1, len(tokens) - 1),
                                       ("cpu", False, len(tokens) - 1, len(tokens) - 1), ("webgpu", True, 64, 16)] if FULL
                                      else [("webgpu", False, 520, 8), ("cpu", False, 520, 32)]):
        feeds = smol_feeds(tokens, want, (many, 64), (single, 1))
        forced = [] if gpu else [{"tokens": a["tokens"], "rows": 1} for a in answers]
        yield {"id": "default_model_on_" + device + "_as_gpu" * gpu, "device": device, "gpu": gpu, "model": MODEL,
               "rows": 64, "evaluate": feeds + forced, "feeds": len(feeds), "want": want,
               "ask": PROMPTS[:ASKED] if device == "webgpu" and not gpu else [], "max_tokens": MOST}
    for device, many, single in (("webgpu", 32, 8), ("cpu", 256, 64)):
        yield {"id": "default_model_in_the_fast_mode_on_" + device, "mode": "fast", "device": device, "gpu": False, "model": MODEL,
               "rows": 32, "evaluate": smol_feeds(tokens, want, (many, 32), (single, 1)), "want": want, "ask": []}


# ---- what came back ------------------------------------------------------------------------------------------------
def compare(job, got, i):
    """One evaluation with the reference: an empty string, or what is wrong."""
    import numpy as np
    want, feed = job["want"], job["evaluate"][i]
    margin, most = (FAST_CLEAR, FAST_APART) if job.get("mode") == "fast" else (CLEAR, APART)
    clear = [p for p in range(len(got["top"])) if want["margin"][p] > margin]
    wrong = [p for p in clear if got["top"][p] != want["top"][p]]
    if len(got["top"]) != len(feed["tokens"]) - 1:
        return "%d rows for %d tokens" % (len(got["top"]), len(feed["tokens"]))
    if wrong:
        return "the top choice differs at %d of %d clear positions, first %s" % (len(wrong), len(clear), wrong[:5])
    rows = np.fromfile(os.path.join(OUT, "%s.%d.f32" % (job["id"], i)), "<f4").reshape(len(feed["logits"]), -1)
    if "vocab" in want:
        name = os.path.splitext(want["file"])[0]
        exact = np.fromfile(os.path.join(TINY, name + ".logits.f32"), "<f4").reshape(-1, want["vocab"])
        apart = float(np.abs(rows - exact).max())
    else:
        apart = max(float(np.abs(row[ids] - np.array(exact)).max())
                    for row, ids, exact in zip(rows, want["ids"], want["logits"]))
    job.setdefault("apart", []).append(apart)
    job["clear"] = job.get("clear", 0) + len(clear)
    if most == FAST_APART and apart < FAST_LEAST:
        return "logits at most %g apart: these are the reference mode's" % apart
    return "" if apart <= most else "logits up to %g apart" % apart


def check_reference(jobs, results):
    for job in jobs:
        r = results.get(job["id"], {"error": "nothing came back"})
        why = r.get("error", "")
        evaluations = r.get("evaluate", [])[:job.get("feeds")]
        for i, got in enumerate(evaluations):
            why = why or compare(job, got, i)
        seconds = " and ".join("%.1f s" % e["seconds"] for e in evaluations)
        say(job["id"], why, "" if why else "%.1e apart at most, %d clear positions, %s"
            % (max(job["apart"]), job["clear"], seconds))


def follows(tokens, prompt, top, margin):
    """How many clear choices of an answer are others than the token that follows, and how many are clear."""
    clear = [p for p in range(prompt - 1, len(tokens) - 1) if margin[p] > CLEAR]
    return [p for p in clear if top[p] != tokens[p + 1]], len(clear)


def check_answers(name, answers, evaluations):
    wrong, clear = [], 0
    for a, e in zip(answers, evaluations):
        w, n = follows(a["tokens"], a["prompt"], e["top"], e["margin"])
        wrong += w
        clear += n
    why = ("%d evaluations of %d answers" % (len(evaluations), len(answers)) if len(evaluations) != len(answers)
           else "%d of %d clear choices differ, first at %s" % (len(wrong), clear, wrong[:5]) if wrong or clear == 0 else "")
    say(name, why, "%d clear choices" % clear)


def lacking():
    if shutil.which("node") is None or not os.path.isdir(os.path.join(ROOT, "web", "node_modules", "playwright-core")):
        return "needs: sudo apt-get install nodejs npm, then python3 tools/setup web"
    if not os.environ.get("CHROME"):
        found = subprocess.run([sys.executable, "tools/setup", "--chrome"], cwd=ROOT, stdout=subprocess.PIPE)
        if found.returncode != 0:
            return "needs: sudo apt-get install chromium"
        os.environ["CHROME"] = found.stdout.decode().strip()
    if not os.path.exists(os.path.join(ROOT, MODEL)):
        return "needs the model: python3 tools/setup model"
    try:
        import numpy  # noqa: F401
    except ImportError:
        return "needs NumPy: python3 tools/setup test"
    return ""


def main():
    why = lacking()
    if why:
        return print("SKIP page: " + why)
    for command in (["make", "-s", "web"], [sys.executable, "tools/make_tiny_llamas.py", TINY]):
        p = sh(command)
        if p.returncode != 0:
            return say(os.path.basename(command[1]) + "_is_made", p.stdout.decode()[-300:].replace("\n", " "))
    why = build_tool()
    if why:
        return say("forced_tool_builds", why)
    answers = native(1, "greedy", MOST, *PROMPTS[:ASKED])
    check_answers("answers_forced_on_two_threads", answers,
                  native(2, "force", 1, ids=[a["tokens"] for a in answers]))
    with open(os.path.join(TINY, "index.json")) as f:
        tiny = list(tiny_jobs(json.load(f)))
    only = os.environ.get("ONLY", "")
    jobs = [j for j in list(smol_jobs(answers)) + tiny if only in j["id"]]
    listing = os.path.join(OUT, "jobs.json")
    with open(listing, "w") as f:
        json.dump([{k: v for k, v in j.items() if k != "want"} for j in jobs], f)
    start = time.monotonic()
    p = subprocess.run(["node", "tests/web/forced.mjs", listing, OUT], cwd=ROOT, stdout=subprocess.PIPE,
                       stderr=subprocess.PIPE, timeout=14000)
    if p.returncode != 0:
        return say("the_page_runs", p.stderr.decode()[-300:].replace("\n", " "))
    results = {r["id"]: r for r in map(json.loads, p.stdout.splitlines())}
    check_reference(jobs, results)
    for job in jobs:
        r = results.get(job["id"], {"error": "nothing came back"})
        if len(job["evaluate"]) == job.get("feeds", len(job["evaluate"])) or "error" in r:
            continue
        check_answers("answers_on_" + job["device"], answers, r["evaluate"][job["feeds"]:])
        if job["ask"]:
            check_answers("answers_on_%s_own" % job["device"], r["ask"], r["ask"])
            check_answers("%s_answers_forced_on_native" % job["device"], r["ask"],
                          native(2, "force", 1, ids=[a["tokens"] for a in r["ask"]]))
    print("the page took %.0f s" % (time.monotonic() - start))


main()
sys.exit(1 if failed else 0)
