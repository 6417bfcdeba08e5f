"""`hob bench --trace`: every step has its slice, in the plan's order, with the plan's bytes; the table adds up. Never a time."""
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join(ROOT, "build", "tests", "trace")
TINY = os.path.join(ROOT, "build", "fixtures", "tiny")
HOB = os.path.join(ROOT, "build", "hob")
PROMPT, TOKENS = 9, 8


def case(name, why):
    print("FAIL %s: %s" % (name, " ".join(str(why).split())[:400]) if why else "PASS " + name, flush=True)


def run(*command):
    p = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    return p.returncode, p.stdout.decode(), p.stderr.decode()


def plan(model, profile):
    """Steps by their most rows: (kernel, name, bytes)."""
    regimes, at = {}, None
    for line in run(HOB, "inspect", "-m", model, "--cost", "--profile", profile)[1].splitlines():
        rows = re.match(r"up to (\d+) rows$", line)
        step = re.match(r" +\d+ +(\d+) +\d+  (\S+), (\S+)$", line)
        if rows:
            at = regimes.setdefault(int(rows.group(1)), [])
        elif step:
            at.append((step.group(2), step.group(3), int(step.group(1))))
    return regimes


def products(model, profile):
    """Steps of one row with a matrix product, whatever their kernels are called: by the groups that fuse makes of the graph."""
    text = run(HOB, "inspect", "-m", model, "--dump", "fuse", "--profile", profile)[1]
    row = text.split("# fuse, n <= 1:")[1].split("# fuse")[0]
    return {l.split(": ")[0].split(" ")[1] for l in row.splitlines() if re.search(r": .*\bmatmul\b", l)}


def wrong_slices(one, slices, steps, sampled):
    """Why the slices inside of this one are not those of the plan; "" where they are."""
    wanted = [s for s in steps if not s[1].startswith("sample")] if sampled else steps
    got = [(s["args"]["kernel"], s["name"], s["args"]["plan_bytes"]) for s in slices]
    if got != wanted:
        return "%d steps, the plan has %d; %s" % (len(got), len(wanted), [g for g in zip(got, wanted) if g[0] != g[1]][:2])
    if sum(g[2] for g in got) != sum(w[2] for w in wanted) or one["args"]["bytes"] != sum(s["args"]["bytes"] for s in slices):
        return "the sums of bytes differ"
    if any(not 0 < s["args"]["bytes"] <= s["args"]["plan_bytes"] or min(s["args"]["workgroups"]) < 1 for s in slices):
        return "a step moves nothing, or more than the plan has"
    end, slack = one["ts"], 0.01  # times are printed in thousandths of a microsecond
    for s in slices:
        if s["ts"] < end - slack or s["dur"] < 0 or s["ts"] + s["dur"] > one["ts"] + one["dur"] + slack:
            return "%s lies outside of its place" % s["name"]
        if abs(s["ts"] - end - s["args"]["gap_us"]) > slack:
            return "the gap before %s is not the one that is said" % s["name"]
        end = s["ts"] + s["dur"]
    return ""


def check(name, model, device, profile, *more):
    path = os.path.join(OUT, name + ".json")
    code, out, err = run(HOB, "bench", "-m", model, "-p", str(PROMPT), "-n", "4", "--runs", "1", "--trace", path, "--device", device,
                         "--profile", profile, *more)
    if code != 0:
        return case(name + "_is_traced", err)
    with open(path) as f:
        trace = json.load(f)
    about, events = trace["otherData"], [e for e in trace["traceEvents"] if e["ph"] == "X"]
    regimes = plan(model, profile)
    passes = [i for i, e in enumerate(events) if not e["cat"].endswith(" step")]
    ends = passes[1:] + [len(events)]
    shape = [(events[i]["cat"], events[i]["args"]["rows"]) for i in passes]
    least = min(n for n in regimes if n >= PROMPT)
    case(name + "_has_a_slice_for_the_prompt_and_each_token",
         "" if shape == [("prefill", PROMPT)] + [("decode", 1)] * TOKENS and passes[0] == 0 else shape)
    wrong = [wrong_slices(events[i], events[i + 1:end], regimes[1 if events[i]["cat"] == "decode" else least], True)
             for i, end in zip(passes, ends)]
    case(name + "_has_the_steps_of_the_plan_with_their_bytes", "; ".join(w for w in wrong if w))
    token = [e for i, end in zip(passes, ends) for e in events[i + 1:end] if events[i]["name"] == "decode %d" % about["fastest_token"]]
    layers = [sum(e["args"]["layer"] == layer for e in token) for layer in range(about["layers"])]
    case(name + "_says_what_a_token_is_made_of",
         "" if about["steps_a_layer"] == max(layers) and about["submits_a_token"] == about["parameter_writes_a_token"] == 1
         and about["decode"]["steps"] == len(token) and about["decode"]["bytes"] == sum(e["args"]["bytes"] for e in token)
         and about["device"] == device and (about["read_gbps"] > 0) == (device != "null") else about)
    alone = "one submit a step" in about["timing"]
    case(name + "_says_how_it_was_timed", "" if alone == (device == "null") or device == "webgpu" else about["timing"])
    tables = [[re.match(r"(\S.*?) +(\d+) +[\d.]+ +[\d.]+ % ", l) for l in part.splitlines()] for part in out.split("\na ")[1:]]
    tables = [{m.group(1): int(m.group(2)) for m in t if m} for t in tables]
    case(name + "_prints_tables_that_add_up",
         "" if len(tables) == 2 and all(sum(n for k, n in t.items() if k not in ("all", "all matmul")) == t["all"] for t in tables)
         and tables[0]["all"] == len(token) else out)
    names = products(model, profile)
    read = [e for e in token if e["name"] in names]
    ms, bytes_ = about["decode"]["matmul_ms"], sum(e["args"]["bytes"] for e in read)
    case(name + "_counts_each_matrix_product_whatever_is_fused_with_it",
         "" if len(read) == len(names) > 4 * about["layers"] - 1 and tables[0]["all matmul"] == len(read)
         and abs(ms - sum(e["dur"] for e in read) / 1e3) < 1e-5 * len(read)
         and (not ms or abs(about["decode"]["matmul_gbps"] * ms * 1e6 / bytes_ - 1) < 0.05) else (len(read), tables[0], about["decode"]))


def main():
    os.makedirs(OUT, exist_ok=True)
    for command in (["make", "-s", "native"], [sys.executable, "tools/make_tiny_llamas.py", TINY]):
        code, out, err = run(*command)
        if code != 0:
            return case("models_are_made", out + err)
    with open(os.path.join(TINY, "index.json")) as f:
        names = json.load(f)
    with open(os.path.join(TINY, names[0] + ".json")) as f:
        model = os.path.join(TINY, json.load(f)["file"])
    check("cpu", model, "cpu", "cpu", "--threads", "2")
    check("null", model, "null", "gpu")
    code, _, err = run(HOB, "eval", "-m", model, "--tokens", os.devnull, "--device", "webgpu")
    if "wgpu-native" in err or "no GPU speaks" in err:
        print("SKIP webgpu: " + " ".join(err.split()))
    else:
        check("webgpu", model, "webgpu", "software")
    code, out, err = run(HOB, "bench", "-m", model, "-p", "2", "-n", "2", "--runs", "1", "--trace", os.path.join(OUT, "no", "where"))
    case("a_trace_that_cannot_be_written_is_an_error", "" if code == 1 and "where" in err and "trace" in err else (code, err))
    picture = os.path.join(OUT, "cpu.svg")
    code, out, err = run(sys.executable, "tools/trace_svg.py", os.path.join(OUT, "cpu.json"), picture)
    with open(os.path.join(OUT, "cpu.json")) as f:
        steps = sum(e["cat"] == "decode step" for e in json.load(f)["traceEvents"] if e["ph"] == "X") // TOKENS
    drawn = open(picture).read() if code == 0 else ""
    case("a_picture_has_a_bar_for_each_step_of_a_token", "" if drawn.count('class="step"') == steps else (err, drawn.count("class"), steps))


main()
