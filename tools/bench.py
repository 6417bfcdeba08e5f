"""`make bench`: hob beside its peers, in one run, and what each of hob's modes agrees with.

Every measurement is a process of its own; those that are compared take turns, RUNS times, and the medians are
set against each other, with the least and the largest ratio of one turn as the spread. The package is run in a page that
draws nothing, as the peers are (bench/page.mjs): on the processor with one thread and with two, by the kernels for relaxed
SIMD and by those for SIMD128 alone. The chat page has lines of its own; its first token is timed from
navigation, and a page's memory is what all processes of the
browser have at most (PSS) while it loads, beyond those with a blank page. A peer that is here and fails
makes the run fail; one that is not here reads `not run: why`. Writes bench/RESULTS.md and bench/RESULTS.svg.

Environment: RUNS (5), TOKENS (64) of an answer, PROMPT (512) tokens of a native prompt, PEERS_WEBLLM_LIB,
ONLY=native,limit,context,page,first,memory,webgpu,reference,webllm,checks,firefox,compile,tune,quantiser. With OUT=FOLDER the results go there instead, with ONLY to build/bench.
"""
import contextlib
import functools
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import threading
import time

import bench_chart
import quantiser
import serve

ROOT = serve.ROOT
HOB = os.path.join(ROOT, "build", "hob")
MODEL = os.path.join(ROOT, "models", "SmolLM2-135M-Instruct.Q4_1.gguf")
PEERS = os.path.join(ROOT, "bench", "peers")
FIXTURES = os.path.join(ROOT, "tests", "fixtures")
RUNS = int(os.environ.get("RUNS") or 5)
TOKENS = int(os.environ.get("TOKENS") or 64)
PROMPT = int(os.environ.get("PROMPT") or 512)
BUILD = os.path.join(ROOT, "build", "bench")
FAR, NEAR = 4000, 64  # tokens of context
KL_MOST = 2e-3
CLEAR = {"reference": 0.01, "fast": 0.25}  # a margin in logits under which two right answers may differ
LIMIT = 900
OPENED, COLD, COMPILE_MS = 15, 4, 30
QUESTION = (
    "Write a long story about a lighthouse keeper who keeps a log of every ship that passes. "
    "He came to the island when he was nineteen, with a trunk of books, two lamps and a dog that was afraid of the sea. "
    "In his log he writes the name of each ship, where it comes from, what it carries, how many sails it has set, and what the weather "
    "does while it is in sight. When there is no name to be read he gives the ship one of his own. Over the years the log has grown to "
    "forty volumes, which stand on a shelf that he built from the planks of a wreck. One night in autumn a ship passes that he has written "
    "of before: it has the same name, the same torn sail and the same lantern at its bow, but it went down thirty years ago, and he was "
    "the one who lit the fire for its crew. Tell what he does then, what he finds in the first volume, and whom he tells of it in "
    "the village when spring comes. Write it in the first person, as if he told it to his dog by the fire.")  # 256 tokens, as asked
# what the model's chat template makes of the question; the page's own count of tokens must agree
TEMPLATE = ("<|im_start|>system\nYou are a helpful AI assistant named SmolLM, trained by Hugging Face<|im_end|>\n"
            "<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n")
ASKED = TEMPLATE % QUESTION
FAR_QUESTION = " ".join([QUESTION] * 17)  # about FAR tokens
SIZED = os.path.join(ROOT, "models", "sized-0.5b.Q4_1.gguf")  # tools/make_sized_llama.py
SIZED_TEMPLATE = "<|im_start|>user\n%s<|im_end|>\n<|im_start|>assistant\n"
SHORT = QUESTION.split(". ")[0] + "."  # for WebGPU, which is a program on the processor here
SIZED_QUESTION = SHORT  # where a token is a byte: some hundred
MODES = {"reference": "f32 activations, f32 cache", "fast": "fast mode: 8- and 16-bit activations, f32 cache"}
TUNE_S = 120  # of `hob tune`: decode's kernels, and the heaviest of prefill's


class Missing(Exception):
    """Not here: the row says so."""


class Failed(Exception):
    pass


def say(text):
    print(text, flush=True)


def run(command, stdin="", env=None, cwd=ROOT):
    try:
        p = subprocess.run(command, input=stdin.encode(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=cwd,
                           timeout=LIMIT, env=dict(os.environ, **(env or {})))
    except subprocess.TimeoutExpired:
        raise Failed("%s ran longer than %d s" % (os.path.basename(command[0]), LIMIT))
    if p.returncode != 0:
        raise Failed("%s: exit status %d: %s" % (" ".join(command[:3]), p.returncode, p.stderr.decode("utf-8", "replace")[-600:].strip()))
    return p.stdout.decode("utf-8")


def figures(command, **more):
    """The last line of a measurement, as an object."""
    return json.loads(run(command, **more).strip().splitlines()[-1])


# ---- what there is -------------------------------------------------------------------------------------------------
@functools.lru_cache(maxsize=None)
def why_no_peers():
    """"" where they are installed, else why not."""
    if not shutil.which("npm") or not shutil.which("node"):
        return "needs node and npm"
    stamp = os.path.join(PEERS, "node_modules", ".hob-lock")
    with open(os.path.join(PEERS, "package-lock.json")) as f:
        wanted = f.read()
    try:
        with open(stamp) as f:
            if f.read() == wanted:
                return ""
    except OSError:
        pass
    say("peers: npm install")
    try:  # not `npm ci`: it wants every platform's optional package in the lock file, and some are on no registry
        run(["npm", "install", "--no-save", "--omit=optional", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=PEERS)
    except Failed as e:
        found = re.findall(r"npm error (.*)", str(e))
        return "npm could not fetch the peers: %s" % (found[0] if found else e)
    with open(stamp, "w") as f:
        f.write(wanted)
    return ""


def browser(find, what):
    import run as front  # tools/run.py knows how set-up finds one
    path = getattr(front.setup(), find)()
    if not path:
        raise Missing("needs %s" % what)
    return path


def chrome():
    return browser("find_chrome", "Chromium, Chrome or Edge")


def firefox():
    return browser("find_firefox", "Firefox")


@contextlib.contextmanager
def page():
    """The chat page, served; its URL."""
    if not os.path.exists(os.path.join(ROOT, "web", "dist", "index.html")):
        raise Missing("the page is not built; make web")
    server = serve.start(0)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield "http://127.0.0.1:%d/" % server.server_address[1]
    finally:
        server.shutdown()


# ---- measurements: each returns hob's keys -------------------------------------------------------------------------
LIMITED = {"avx2": ["--profile", "cpu"]}  # options that limit hob to an instruction set


def processor_has(flag):
    with contextlib.suppress(OSError):
        with open("/proc/cpuinfo") as f:
            return any(flag in l.split() for l in f if l.startswith("flags"))
    return False


def hob_native(threads, mode, isa=""):
    """isa: the instruction set that the kernels are limited to; avx512: not run where the machine lacks it."""
    if isa == "avx512" and not processor_has("avx512_vnni"):
        raise Missing("no VNNI")
    r = figures([HOB, "bench", "-m", MODEL, "--threads", str(threads), "-p", str(PROMPT), "-n", str(TOKENS), "--runs", "1", "--json",
                 "--mode", mode] + LIMITED.get(isa, []))
    return dict(r, device="cpu, %d thread%s%s" % (threads, "s" * (threads > 1), isa and ", " + {"avx2": "limited to AVX2", "avx512": "AVX-512 VNNI"}[isa]))


def traced(threads, mode, prompt):
    """What a trace says of decode behind a prompt of so many tokens, with the speed of an untraced run."""
    os.makedirs(BUILD, exist_ok=True)
    path = os.path.join(BUILD, "trace.json")
    run([HOB, "bench", "-m", MODEL, "--threads", str(threads), "-p", str(prompt), "-n", str(TOKENS), "--ctx", str(max(2048, prompt + TOKENS + 96)),
         "--runs", "1", "--mode", mode, "--trace", path])
    with open(path) as f:
        about = json.load(f)["otherData"]
    decode, tps = about["decode"], about["untraced"]["decode_tps"]
    return {"device": "cpu, %d threads" % threads, "decode_tps": tps, "bytes": decode["bytes"], "matmul_gbps": decode["matmul_gbps"],
            "token_gbps": decode["bytes"] * tps / 1e9, "read_gbps": about["read_gbps"]}


@functools.lru_cache(maxsize=None)
def limit(threads, mode, turn):
    return traced(threads, mode, NEAR)


@functools.lru_cache(maxsize=None)
def far(threads, mode, turn):
    return traced(threads, mode, FAR)


def predicted(threads, mode, turn):
    """Decode far into the context, if it took as much longer than near its beginning as it reads more bytes."""
    a, b = limit(threads, mode, turn), far(threads, mode, turn)
    return {"decode_tps": a["decode_tps"] * a["bytes"] / b["bytes"]}


def requantised(name):
    """The model in another encoding, made once."""
    path = os.path.join(BUILD, "model.%s.gguf" % name)
    if not os.path.exists(path):
        os.makedirs(BUILD, exist_ok=True)
        say("%s: made from the model" % name)
        run([sys.executable, os.path.join(ROOT, "tools", "requant.py"), MODEL, path + ".part", name])
        os.replace(path + ".part", path)
    return path


@functools.lru_cache(maxsize=None)
def llamacpp(threads, encoding, turn):
    """Once a turn: several lines are held against it."""
    model = MODEL if encoding == "Q4_1" else requantised(encoding)
    return figures(["node", os.path.join(PEERS, "llamacpp.mjs"), model, str(threads), str(PROMPT), str(TOKENS)])


@functools.lru_cache(maxsize=None)
def llamacpp_threads(encoding, key):
    """The number of threads, one or a core each, by which it is faster at this: each tried twice."""
    return max((1, os.cpu_count() or 1), key=lambda threads: max(llamacpp(threads, encoding, turn)[key] for turn in (-1, -2)))


def llamacpp_best(encoding, turn):
    keys = ("decode_tps", "prefill_tps")
    threads = {key: llamacpp_threads(encoding, key) for key in keys}
    by = "threads: %d in decode, %d in prefill" % tuple(threads[key] for key in keys)
    return dict({key: llamacpp(threads[key], encoding, turn)[key] for key in keys}, by=by)


@functools.lru_cache(maxsize=None)
def llamacpp_flips():
    """How often its first choice is not the float32 reference's, on the stored tokens."""
    with open(os.path.join(FIXTURES, "smol_tokens.json")) as f:
        top = figures(["node", os.path.join(PEERS, "llamacpp_eval.mjs"), MODEL, str(os.cpu_count() or 1)], stdin=f.read())["top"]
    return sum(a != b for a, b in zip(top, reference()["top"]))


def reference():
    with open(os.path.join(FIXTURES, "smol_reference.json")) as f:
        return json.load(f)


def hob_page(device, tokens, threads=1, question=QUESTION, mode="reference", **more):
    """The chat page, asked as a person asks. more: HOB_ADAPTER: none."""
    with page() as url:
        env = dict(HOB_URL=url, CHROME=chrome(), ASK=question, DEVICE=device, N=str(tokens), HOB_TEMP="0", JSON="1", THREADS=str(threads), MODE=mode, **more)
        r = figures(["node", os.path.join(ROOT, "web", "tools", "ask.mjs")], env=env)
    return answered(r, device, tokens, threads)


def hob_package(device, tokens, threads=1, question=QUESTION, mode="reference", model=MODEL, env=(), **options):
    """The package in a page that draws nothing, as the peers are measured; no drafts, which none of them makes. env: HOB_DAWN:
    features of Chromium's WebGPU that are not on by themselves."""
    options.update(device=device, mode=mode, speculate="off", **({"threads": threads} if device == "cpu" else {}))
    r = figures(["node", os.path.join(ROOT, "bench", "page.mjs"), model, str(tokens)], stdin=question, env=dict(env, CHROME=chrome(), OPTIONS=json.dumps(options)))
    return answered(r, device, tokens, threads)


def answered(r, device, tokens, threads):
    if r["answer_tokens"] < tokens * 3 // 4:
        raise Failed("the page's answer ended after %d tokens" % r["answer_tokens"])
    if threads and device == "cpu" and r["threads"] != threads:
        raise Failed("the page ran %d threads, not %d" % (r["threads"], threads))
    return r


def sized():
    """The model of WebLLM's sizes, made once."""
    if not os.path.exists(SIZED):
        say("%s: made" % os.path.basename(SIZED))
        run([sys.executable, os.path.join(ROOT, "tools", "make_sized_llama.py"), SIZED + ".part"])
        os.replace(SIZED + ".part", SIZED)
    return SIZED


def hob_sized(mode):
    return hob_package("webgpu", min(TOKENS, 16), question=SIZED_QUESTION, mode=mode, model=sized())


def why_no_webllm():
    return why_no_peers() if os.environ.get("PEERS_WEBLLM_LIB") else "PEERS_WEBLLM_LIB does not name its model library, which no registry holds"


@functools.lru_cache(maxsize=None)
def webllm():
    """Once a run: it takes seconds a token. Its prompt has as many tokens as hob's."""
    lib, folder = os.environ["PEERS_WEBLLM_LIB"], os.path.join(BUILD, "webllm")
    if not os.path.isfile(lib):
        raise Failed("PEERS_WEBLLM_LIB=%s is no file" % lib)
    if not os.path.exists(os.path.join(folder, "mlc-chat-config.json")):
        run([sys.executable, os.path.join(PEERS, "webllm_model.py"), lib, folder])
    asked = ids_of(SIZED_TEMPLATE % SIZED_QUESTION, sized())
    return figures(["node", os.path.join(PEERS, "webllm.mjs"), lib, folder, str(len(asked)), "3"], env=dict(CHROME=chrome()))


@functools.lru_cache(maxsize=None)
def page_at(question, turn):
    """The page on the CPU behind a short prompt or a long one."""
    return hob_package("cpu", min(TOKENS, 32), 1, question=question, mode="fast", ctx=FAR + 512)


def page_predicted(turn):
    """As `predicted`, by the bytes that the native program of the same model reads."""
    a, b = limit(os.cpu_count() or 1, "fast", turn), far(os.cpu_count() or 1, "fast", turn)
    each = (b["bytes"] - a["bytes"]) / (FAR - NEAR)
    near, there = ({"bytes": a["bytes"] + each * (r["prompt_tokens"] - NEAR), **r} for r in (page_at(SHORT, turn), page_at(FAR_QUESTION, turn)))
    return {"decode_tps": near["decode_tps"] * near["bytes"] / there["bytes"]}


def hob_cpu(threads, kernels, mode):
    r = hob_package("cpu", TOKENS, threads, mode=mode, kernels=kernels)
    if r["kernel_set"] != kernels:
        raise Missing("this browser has no relaxed SIMD")
    return dict(r, device="cpu, %s" % {"relaxed": "relaxed SIMD", "simd128": "SIMD128"}[kernels])


def wllama_cold(threads, tokens):
    """A page that is navigated to and asked at once, for its first token and its memory."""
    return figures(["node", os.path.join(PEERS, "wllama.mjs"), MODEL, str(threads), str(tokens), "cold"], stdin=ASKED, env=dict(CHROME=chrome()))


@functools.lru_cache(maxsize=None)
def wllama(threads, turn):
    """Once a turn: several lines are held against it."""
    return figures(["node", os.path.join(PEERS, "wllama.mjs"), MODEL, str(threads), str(TOKENS)], stdin=ASKED, env=dict(CHROME=chrome()))


@functools.lru_cache(maxsize=None)
def wllama_best():
    """The number of threads, one or a core each, that gives it its first token sooner."""
    return min((1, os.cpu_count() or 1), key=lambda threads: wllama_cold(threads, 1)["first_ms"])


@functools.lru_cache(maxsize=None)
def hob_firefox(turn):
    """In one page: decode, and the same steps with no read-back at all, three times in turn. Once a turn: a line has both."""
    out = run(["node", os.path.join("bench", "firefox.mjs"), SHORT, str(TOKENS), "3"], env=dict(FIREFOX=firefox()))
    both = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    if len(both) != 2 or both[0]["answer_tokens"] != both[1]["answer_tokens"]:
        raise Failed("the page in Firefox answered %s" % out)
    return both


NO_WEBGPU = dict(HOB_ADAPTER="none")  # as the peer's browser is started


def resident(root):
    """PSS in bytes of all processes below `root` that are no node: the browser's."""
    parents = {}
    for pid in [p for p in os.listdir("/proc") if p.isdigit()]:
        with contextlib.suppress(OSError, IndexError):
            with open("/proc/%s/stat" % pid) as f:
                parents[int(pid)] = int(f.read().rsplit(")", 1)[1].split()[1])
    below, total = {root}, 0
    while True:
        more = {p for p, parent in parents.items() if parent in below} - below
        if not more:
            break
        below |= more
    for pid in below - {root}:
        with contextlib.suppress(OSError, StopIteration):
            if os.path.basename(os.readlink("/proc/%d/exe" % pid)).startswith("node"):
                continue
            with open("/proc/%d/smaps_rollup" % pid) as f:
                total += next(int(l.split()[1]) for l in f if l.startswith("Pss:")) * 1024
    return total


def peak_memory(which):
    """The most that a browser has at a time while bench/memory.mjs opens a model in it, in MB."""
    if not os.path.exists("/proc/self/smaps_rollup"):
        raise Missing("needs Linux's /proc")
    most, over = [0], threading.Event()

    def watch():
        while not over.wait(0.05):
            most[0] = max(most[0], resident(os.getpid()))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        run(["node", os.path.join("bench", "memory.mjs"), which, os.path.relpath(MODEL, ROOT)], env=dict(CHROME=chrome()))
    finally:
        over.set()
        watcher.join()
    return most[0] / 1e6


def memory(which):
    return {"device": "cpu", "peak_mb": peak_memory(which) - peak_memory("blank")}


def ceiling():
    """The fastest variant of the hand-written step, as tokens a second."""
    env = dict(CHROMIUM=chrome(), NODE_PATH=os.path.join(PEERS, "node_modules"))
    # run.mjs finds playwright-core beside itself: it is run from a copy inside the peers' folder
    copy = os.path.join(PEERS, "node_modules", ".ceiling")
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(os.path.join(ROOT, "bench", "ceiling"), copy)
    lines = [json.loads(l) for l in run(["node", os.path.join(copy, "run.mjs")], env=env).splitlines() if l.startswith("{")]
    best = max(lines, key=lambda l: l["tok_s"])
    return {"device": "ceiling, %s" % best["kind"], "decode_tps": best["tok_s"], "gbps": best["GBs"]}


# ---- agreement -------------------------------------------------------------------------------------------------------
def hob_eval(tokens, threads, rows, mode="reference", more=(), model=MODEL):
    text = run([HOB, "eval", "-m", model, "--threads", str(threads), "--tokens", "-", "--rows", str(rows), "--mode", mode, "--json"] + list(more),
               stdin=json.dumps(tokens))
    return json.loads(text[text.index("{"):])


@functools.lru_cache(maxsize=None)
def agreement_native(threads, mode, isa=""):
    """Forced decoding of the stored tokens against float32 logits of the same weights (tests/fixtures), by the kernels of
    decode and by those of a prompt; with the goals of the fast mode, and whether each is met."""
    path = os.path.join(FIXTURES, "smol_tokens.json")
    with open(path) as f:
        tokens = json.load(f)
    limited = LIMITED.get(isa, [])
    want, parts, met = reference(), [], True
    for rows, what in ((1, "decode"), (32, "prefill")):
        got = hob_eval(tokens, threads, rows, mode, limited)
        n = min(len(got["top"]), len(want["logprob"]))
        clear = [i for i in range(n) if want["margin"][i] > CLEAR[mode]]
        same = sum(got["top"][i] == want["top"][i] for i in clear)
        apart = max(abs(got["logprob"][i] - want["logprob"][i]) for i in range(n))
        met &= same == len(clear)
        parts.append("%s %d of %d, log-probabilities within %.1e" % (what, same, len(clear), apart))
        if mode == "fast":
            kl = json.loads(run([HOB, "eval", "-m", MODEL, "--threads", str(threads), "--tokens", path, "--rows", str(rows), "--agreement", "--json"] + limited))["mean_kl"]
            flips = sum(got["top"][i] != want["top"][i] for i in range(n))
            met &= kl <= KL_MOST and (bool(why_no_peers()) or flips <= llamacpp_flips())
            parts[-1] += ", mean KL %.2e, first choices that differ %d" % (kl, flips)
    text = "top choice equal to the float32 reference's where its margin is over %g: " % CLEAR[mode] + "; ".join(parts)
    if mode == "fast":
        text += "" if why_no_peers() else "; llama.cpp's that differ: %d" % llamacpp_flips()
        text += "; goal (all; at most %g; no more than llama.cpp's): %s" % (KL_MOST, "met" if met else "missed")
    return text


def ids_of(text, model):
    return json.loads(run([HOB, "tokenize", "-m", model, "--ids", "-"], stdin=text))


def filler_ids(text):
    """What random weights say is fillers, each a token of its own; up to the first byte that is none."""
    return [int(n) for n in re.findall("<fill([0-9]+)>", re.match("(?:<fill[0-9]+>)*", text).group())]


def agreement_page(answer, asked=ASKED, mode="reference", model=MODEL):
    """The page's own greedy answer, forced on the native tool: is each token its first choice too, where one is clear?"""
    ask = ids_of(asked, model)
    ids = ids_of(asked + answer["answer"], model) if model == MODEL else ask + filler_ids(answer["answer"])
    if len(ask) != answer["prompt_tokens"] or ids[:len(ask)] != ask:
        raise Failed("the page read %d tokens of the question, %d were expected" % (answer["prompt_tokens"], len(ask)))
    got = hob_eval(ids, 1, 1, mode, model=model)
    clear = same = 0
    for i in range(len(ask) - 1, len(ids) - 1):
        if got["top"][i] == ids[i + 1]:
            same, clear = same + 1, clear + 1
            continue
        other = hob_eval(ids[:i + 1] + [got["top"][i]], 1, 1, mode, model=model)
        if other["logprob"][i] - got["logprob"][i] > CLEAR[mode]:
            clear += 1
    return "its greedy answer is native hob's first choice at %d of %d clear positions" % (same, clear)


# ---- lines -----------------------------------------------------------------------------------------------------------
# key: (what is measured, its unit, what is shown of it, is less better?)
MEASURES = {"matmul_gbps": ("matrix products read, in the fastest of 8 tokens", "GB/s", 1, False), "token_gbps": ("a whole token reads", "GB/s", 1, False),
            "decode_tps": ("decode", "tokens/s", 1, False), "prefill_tps": ("prefill", "tokens/s", 1, False),
            "first_ms": ("first token, from navigation", "s", 1e-3, True), "peak_mb": ("most memory while loading, beyond a blank page's", "MB", 1, True)}


def figure(x):
    return "%.1f" % x if x >= 1 else "%.3f" % x


def ratio_of(key, ours, theirs):
    return theirs / ours if MEASURES[key][3] else ours / theirs


class Line:
    def __init__(self, group, name, hob, peer, peer_name, peer_mode, goal, keys, agree, mode="reference"):
        self.group, self.name, self.hob, self.peer, self.peer_name, self.peer_mode = group, name, hob, peer, peer_name, peer_mode
        self.mode = mode
        self.goal, self.keys, self.agree = goal if isinstance(goal, dict) else {"decode_tps": goal}, keys, agree
        self.ours, self.theirs, self.why, self.peer_why, self.agreement, self.void = [], [], "", "", "", ""

    def ratios(self, key):
        return [ratio_of(key, a[key], b[key]) for a, b in zip(self.ours, self.theirs) if b.get(key)]

    def median(self, which, key):
        values = [m[key] for m in which if m.get(key)]
        return statistics.median(values) if values else None


ITSELF = ("checks", "firefox", "limit", "context")  # lines that hold hob beside itself


def wanted(group):
    only = [o for o in os.environ.get("ONLY", "").split(",") if o]
    return not only or group in only


def lines_wanted():
    q8 = "8-bit activations, f16 cache (its defaults)"
    gpu_tokens, cores = min(TOKENS, 32), os.cpu_count() or 1
    both = ["decode_tps", "prefill_tps"]
    all_lines = [
        *[Line("native", "native, %s%s" % (mode, {"": "", "avx512": ", AVX-512 VNNI", "avx2": ", AVX2"}[isa]),
               functools.partial(hob_native, cores, mode, isa), lambda e=encoding: llamacpp_best(e, turn_now()),
               "llama.cpp" if encoding == "Q4_1" else "llama.cpp, %s" % encoding, q8, goal, both,
               lambda l, mode=mode, isa=isa: agreement_native(cores, mode, isa), mode)
          for mode, isa, encoding, goal in (
              ("fast", "avx512", "Q4_1", {"decode_tps": 2.0, "prefill_tps": 2.5}), ("fast", "avx512", "Q4_0", {"decode_tps": 1.5, "prefill_tps": 1.0}),
              ("fast", "avx2", "Q4_1", {"decode_tps": 1.6}), ("fast", "avx2", "Q4_0", {"decode_tps": 1.2}), ("reference", "", "Q4_1", 1.0))],
        Line("limit", "native, fast, share of the read bandwidth", lambda: limit(cores, "fast", turn_now()),
             lambda: dict.fromkeys(("matmul_gbps", "token_gbps"), limit(cores, "fast", turn_now())["read_gbps"]), "memory, read in the run", "none",
             {"matmul_gbps": 0.80, "token_gbps": 0.65}, ["matmul_gbps", "token_gbps"], lambda l: "as in the lines above", "fast"),
        Line("context", "native, fast, at %d tokens of context" % FAR, lambda: far(cores, "fast", turn_now()),
             lambda: predicted(cores, "fast", turn_now()), "what bytes predict from %d" % NEAR, "none", 0.85, ["decode_tps"],
             lambda l: "as in the lines above", "fast"),
        Line("context", "page on the CPU, fast, at %d tokens of context" % FAR, lambda: page_at(FAR_QUESTION, turn_now()),
             lambda: page_predicted(turn_now()), "what bytes predict from %d" % NEAR, "none", 0.5, ["decode_tps"],
             lambda l: "as in the lines above", "fast"),
        *[Line("page", "page on the CPU, %d thread%s, %s, %s" % (n, "s" * (n > 1), name, mode), functools.partial(hob_cpu, n, kernels, mode),
               lambda n=n: wllama(n, turn_now()), "wllama", q8, goal, both, lambda l, mode=mode: agreement_page(l.ours[-1], mode=mode), mode)
          for n in (1, 2) for kernels, name, fast in (("relaxed", "relaxed SIMD", {"decode_tps": 8.0, "prefill_tps": 6.0}),
                                                      ("simd128", "SIMD128", {"decode_tps": 5.0, "prefill_tps": 3.0}))
          for mode, goal in (("fast", fast), ("reference", None))],
        *[Line("page", "chat page on the CPU, %d thread%s, fast" % (n, "s" * (n > 1)), functools.partial(hob_page, "cpu", TOKENS, n, mode="fast", **NO_WEBGPU),
               lambda n=n: wllama(n, turn_now()), "wllama", q8, None, both, lambda l: agreement_page(l.ours[-1], mode="fast"), "fast") for n in (1, 2)],
        Line("first", "page on the CPU, first token", lambda: hob_page("cpu", 4, 0, mode="fast", **NO_WEBGPU), lambda: wllama_cold(wllama_best(), 1), "wllama", q8,
             {"first_ms": 6.0}, ["first_ms"], lambda l: agreement_page(l.ours[-1], mode="fast"), "fast"),
        Line("memory", "page on the CPU, 1 thread, memory", lambda: memory("hob"), lambda: memory("wllama"), "wllama", q8, {"peak_mb": 2.0}, ["peak_mb"], lambda l: "as in the lines above"),
        Line("webgpu", "page on WebGPU, fast mode", lambda: hob_package("webgpu", gpu_tokens, question=SHORT, mode="fast"), ceiling, "ceiling",
             "16-bit integer activations, no attention", 0.75, ["decode_tps"], lambda l: agreement_page(l.ours[-1], TEMPLATE % SHORT, "fast"), "fast"),
        Line("reference", "page on WebGPU", lambda: hob_package("webgpu", gpu_tokens, question=SHORT), ceiling, "ceiling",
             "16-bit integer activations, no attention", None, ["decode_tps"], lambda l: agreement_page(l.ours[-1], TEMPLATE % SHORT)),
        *[Line("webllm", "page on WebGPU, Qwen2-0.5B's sizes, %s" % mode, functools.partial(hob_sized, mode), webllm, "WebLLM", "f32 activations, f32 cache (q4f32_1)",
               {"decode_tps": 30.0, "prefill_tps": 15.0}, both,
               lambda l, mode=mode: agreement_page(l.ours[-1], SIZED_TEMPLATE % SIZED_QUESTION, mode, SIZED), mode) for mode in ("fast", "reference")],
        # what the browser adds to a kernel so that no index can leave its buffer; ours are proved when they are made
        Line("checks", "page on WebGPU, Chromium's robustness checks off", lambda: hob_package("webgpu", gpu_tokens, question=SHORT, env=dict(HOB_DAWN="disable_robustness")),
             lambda: hob_package("webgpu", gpu_tokens, question=SHORT), "hob with them on", MODES["reference"], None, ["decode_tps"],
             lambda l: agreement_page(l.ours[-1], TEMPLATE % SHORT)),
        Line("firefox", "page on WebGPU, in Firefox", lambda: hob_firefox(turn_now())[0], lambda: hob_firefox(turn_now())[1], "hob with no read-back at all", MODES["reference"],
             0.9, ["decode_tps"], lambda l: agreement_page(l.ours[-1], TEMPLATE % SHORT)),
    ]
    return [l for l in all_lines if wanted(l.group)]


def prepare(line):
    if not os.path.exists(MODEL):
        raise Missing("needs models/%s; make setup" % os.path.basename(MODEL))
    if line.group in ("page", "first", "memory", "webgpu", "reference", "webllm", "checks") or line.name.startswith("page on the CPU"):
        chrome()
    if line.group == "firefox":
        firefox()
    line.peer_why = "" if line.group in ITSELF else why_no_webllm() if line.group == "webllm" else why_no_peers()


TURN = [0]


def turn_now():
    return TURN[0]


def measure(lines):
    """Turn by turn, so that what else the machine does falls on all alike."""
    for line in lines:
        try:
            prepare(line)
        except Missing as e:
            line.why = "not run: %s" % e
    for turn in range(RUNS):
        TURN[0] = turn
        for line in [l for l in lines if not l.why]:
            for who, act, into in (("hob", line.hob, line.ours), (line.peer_name, line.peer, line.theirs)):
                if who != "hob" and line.peer_why:
                    continue
                try:
                    r = act()
                except Missing as e:
                    line.why = "not run: %s" % e
                    break
                except (Failed, ValueError, KeyError) as e:
                    line.why = "FAILED: %s: %s" % (who, e)
                    say("%d/%d  %-28s %s" % (turn + 1, RUNS, line.name, line.why))
                    break
                into.append(r)
                say("%d/%d  %-44s %-10s %s" % (turn + 1, RUNS, line.name, who, "  ".join(
                    "%s %s" % (MEASURES[k][0].split(",")[0], figure(r[k] * MEASURES[k][2])) for k in line.keys if r.get(k))))
    for line in [l for l in lines if not l.why]:
        try:
            line.agreement = line.agree(line)
        except (Failed, ValueError, KeyError) as e:
            line.why = "FAILED: agreement: %s" % e
        say("       %s: %s" % (line.name, line.agreement or line.why))
        if line.peer_name == "ceiling" and line.theirs and min(m["gbps"] for m in line.theirs) < 0.9:
            line.void = "void: the ceiling read less than 0.9 GB/s"


# ---- how far the rules are from what is measured ---------------------------------------------------------------------
def tuned_report():
    """untuned / tuned by `hob tune` on native WebGPU, nothing kept: the lines of the report, and why where it failed."""
    out = ["## Tuned", "", "`hob tune` on native WebGPU, once: a kernel's time by the rule's choice, by that of the best schedule measured.", ""]
    if not wanted("tune"):
        return out + ["not run: not asked for", ""], ""
    try:
        r = json.loads(run([HOB, "tune", "-m", MODEL, "--device", "webgpu", "--json", "--seconds", str(TUNE_S), "--tuned", "off"]))
    except Failed as e:
        gone = re.search(r"wgpu-native|no GPU speaks", str(e))
        return out + ["%s: %s" % ("not run" if gone else "FAILED", str(e).splitlines()[0]), ""], "" if gone else str(e)
    out += [r["device"] + "; kernels begun in the first %d s." % TUNE_S, "", "| Rule | Worst kernel | | All of the rule's |", "|---|---|---|---|"]
    out += ["| %s | %.2f | %s | %.2f |" % (x["rule"], x["worst"], x["kernel"], x["all"]) for x in r["rules"]]
    say("       untuned / tuned for the worst rule: %.2f" % r["worst"])
    return out + ["", "Untuned / tuned for the worst rule: %.2f." % r["worst"], ""], ""


def quantiser_report():
    """What the quantiser adds in error to real weights, beside plain rounding: the lines of the report, and why where it failed."""
    out = ["## The quantiser", "",
           "The squared error that `hob bake`'s Q4_1 adds to the matrices of five bits and more of Gemma 3 270M, dequantised, by that of each "
           "group's extremes, rounded to nearest (`make quantiser`, which fetches the weights).", ""]
    if not wanted("quantiser"):
        return out + ["not run: not asked for", ""], ""
    if not os.path.exists(quantiser.FILE):
        return out + ["not run: needs the weights; make quantiser", ""], ""
    try:
        found = quantiser.errors()
    except (subprocess.CalledProcessError, ValueError) as e:
        return out + ["FAILED: %s" % e, ""], "quantiser: %s" % e
    ratios = [t["ratio"] for t in found["tensors"]]
    say("       quantiser, searched / plain: %.3f" % found["ratio"])
    return out + ["In all %.3f, of one matrix %s, of %d matrices; at most %.2f: %s." % (
        found["ratio"], spread(ratios), len(ratios), quantiser.MOST, "met" if found["ratio"] <= quantiser.MOST else "missed"), ""], ""


# ---- the compiler in the page ---------------------------------------------------------------------------------------
def compile_times():
    """Graph to WGSL text of the default model's kernels, in a page that opens it OPENED times: why not, {profile: [ms]}."""
    folder = BUILD
    os.makedirs(folder, exist_ok=True)
    jobs = os.path.join(folder, "compile.json")
    with open(jobs, "w") as f:
        json.dump([{"id": name, "device": "webgpu", "gpu": name == "gpu", "model": os.path.relpath(MODEL, ROOT),
                    "reloads": OPENED - 1} for name in ("software", "gpu")], f)
    times = {}
    try:
        for line in run(["node", os.path.join(ROOT, "tests", "web", "forced.mjs"), jobs, folder], env=dict(CHROME=chrome())).splitlines():
            one = json.loads(line)
            if "error" in one:
                raise Failed(one["error"])
            times[one["id"]] = one["compile_ms"][COLD:]
            say("       compile in the page, %s: %s ms" % (one["id"], "  ".join("%.1f" % ms for ms in one["compile_ms"])))
    except Missing as e:
        return "not run: %s" % e, {}
    except (Failed, ValueError, KeyError) as e:
        return "FAILED: compile: %s" % e, {}
    return "", times


def compile_report(why, times):
    out = ["## The compiler in the page", "",
           "From the graph to the WGSL text of every kernel, for steps of one row and of many; the model is opened %d times in one page, "
           "and the first %d, while the browser still translates the compiler, are left out." % (OPENED, COLD), ""]
    if why:
        return out + [why.splitlines()[0], ""]
    out += ["| Profile | Median, ms | Spread | Goal |", "|---|---|---|---|"]
    for name, ms in sorted(times.items()):
        median = statistics.median(ms)
        out.append("| %s | %.1f | %.1f–%.1f | at most %d: %s |" % (name, median, min(ms), max(ms), COMPILE_MS, "met" if median <= COMPILE_MS else "missed"))
    return out + [""]


# ---- results ---------------------------------------------------------------------------------------------------------
def machine():
    name = platform.processor() or platform.machine()
    with contextlib.suppress(OSError, StopIteration):
        with open("/proc/cpuinfo") as f:
            name = next(l.split(":", 1)[1].strip() for l in f if l.startswith("model name"))
    return "%s, %d cores, %s" % (name, os.cpu_count() or 1, platform.system())


def commit():
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        head = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode().strip()
        dirty = subprocess.run(["git", "status", "--porcelain", "-uno"], cwd=ROOT, stdout=subprocess.PIPE).stdout.strip()
        return head + (" with changes" if dirty else "")
    return "unknown"


def spread(values):
    return "%.2f–%.2f" % (min(values), max(values))


def report(lines, compiled, tuned, quantised, load):
    out = ["# Measured by `make bench`", "",
           "%s; commit %s; %s; load average %.1f before, %.1f after on %d cores." % (
               time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), commit(), machine(), load, os.getloadavg()[0], os.cpu_count() or 1),
           "SmolLM2-135M-Instruct Q4_1. Native: %d prompt tokens, %d answer tokens. Page: the question below, 256 tokens as the model "
           "reads it (on WebGPU its first sentence), greedy. Beside WebLLM: a llama of Qwen2-0.5B's sizes with biases of q, k, v, tied "
           "embeddings and random weights in Q4_1, WebLLM's q4f32_1; as many prompt tokens in both; WebLLM is measured once." % (PROMPT, TOKENS),
           "Medians of %d turns; the spread is the least and largest ratio of one turn; where less is better, ratios are the peer's by hob's. Read ratios, not speeds: "
           "the machine may be shared." % RUNS, "",
           "| Line | Measure | hob | Peer | Ratio | Spread | Goal |", "|---|---|---|---|---|---|---|"]
    bars = []
    for l in lines:
        if l.why:
            out.append("| %s | | | %s | | | %s |" % (l.name, l.peer_name, l.why.splitlines()[0]))
            continue
        for key in l.keys:
            what, unit, scale, less = MEASURES[key]
            ours, theirs, ratios = l.median(l.ours, key), l.median(l.theirs, key), l.ratios(key)
            shown = "%s %s" % (figure(ours * scale), unit)
            if not ratios:
                out.append("| %s | %s | %s | %s not run: %s | | | |" % (l.name, what, shown, l.peer_name, l.peer_why))
                continue
            ratio, least = ratio_of(key, ours, theirs), l.goal.get(key)
            goal = l.void if l.void else "" if least is None else "at least %.2f: %s" % (least, "met" if ratio >= least else "missed")
            out.append("| %s | %s | %s | %s %s, %s | %.2f | %s | %s |" % (l.name, what, shown, figure(theirs * scale), unit, l.peer_name, ratio, spread(ratios), goal))
            if l.group not in ITSELF:
                bars.append(("%s, %s" % (l.name, what.split(",")[0]), *((theirs, ours) if less else (ours, theirs)), l.peer_name))
    out += ["", "![hob's speed as a multiple of the peer's](RESULTS.svg)" if bars else "", "",
            *compile_report(*compiled), *tuned, *quantised, "## Modes and agreement", "", "| Line | hob's mode | Agreement of the same binary and flags | Peer's mode |", "|---|---|---|---|"]
    for l in lines:
        device, by = (last[-1].get(key, "") if last else "" for last, key in ((l.ours, "device"), (l.theirs, "by")))
        out.append("| %s | %s%s | %s | %s: %s%s |" % (l.name, MODES[l.mode], device and ", " + device, l.agreement or l.why.splitlines()[0], l.peer_name, l.peer_mode, by and "; " + by))
    out += ["", "Question: %s" % QUESTION, "",
            "The ceiling (`bench/ceiling/`, frozen) is a decode step written by hand with int16 activations and no attention: the best that "
            "was found for this browser's software adapter, not an engine.", ""]
    return "\n".join(out), bars


def main():
    if not os.path.exists(HOB):
        say("build/hob is not there; make")
        return 1
    lines = lines_wanted()
    if any(wanted(group) for group in ("page", "first", "memory", "webgpu", "reference", "webllm", "checks", "firefox", "compile")):
        subprocess.call(["make", "web"], cwd=ROOT)
    load = os.getloadavg()[0]
    measure(lines)
    compiled = compile_times() if wanted("compile") else ("not run: not asked for", {})
    tuned, untuned_why = tuned_report()
    quantised, unquantised_why = quantiser_report()
    text, bars = report(lines, compiled, tuned, quantised, load)
    # a part of the lines is no table to keep
    folder = os.environ.get("OUT") or (BUILD if os.environ.get("ONLY") else os.path.join(ROOT, "bench"))
    os.makedirs(folder, exist_ok=True)
    with open(os.path.join(folder, "RESULTS.md"), "w", encoding="utf-8") as f:
        f.write(text)
    if bars:
        with open(os.path.join(folder, "RESULTS.svg"), "w", encoding="utf-8") as f:
            f.write(bench_chart.draw(bars))
    say("\n" + text)
    bad = [l for l in lines if l.why.startswith("FAILED")]
    for l in bad:
        say("%s: %s" % (l.name, l.why))
    broken = [compiled[0]] if compiled[0].startswith("FAILED") else []
    broken += [why for why in (untuned_why, unquantised_why) if why]
    for why in broken:
        say(why)
    return 1 if bad or broken else 0


if __name__ == "__main__":
    sys.exit(main())
