#!/usr/bin/env python3
"""Memory plans of whole models, recomputed by tools/check_plan.py from what `hob inspect --plan --json` prints."""
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import check_plan  # noqa: E402

MODEL = os.path.join(ROOT, "models", "SmolLM2-135M-Instruct.Q4_1.gguf")
PROFILES = ["cpu", "cpu4", "gpu", "software"]
LIMIT = 3000000  # bytes, the default model with chunks of 256


def tool():
    for path in ("build/native/hob", "build/hob"):
        path = os.path.join(ROOT, path)
        if os.access(path, os.X_OK):
            return path
    return None


def plan_of(hob, model, profile):
    p = subprocess.run([hob, "inspect", "-m", model, "--profile", profile, "--plan", "--json"], cwd=ROOT,
                       stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
    if p.returncode != 0:
        raise RuntimeError("exit status %d: %s" % (p.returncode, p.stderr.decode()[-300:]))
    return json.loads(p.stdout)


def report(name, wrong):
    print("FAIL %s: %s" % (name, "; ".join(wrong[:3])) if wrong else "PASS " + name)


def a_broken_plan_is_seen():
    """The checker itself: an overlap, a wrong bound and a wasteful arena must be reported."""
    good = {"n": 1, "arena_bytes": 512, "lower_bound_bytes": 512, "buffers": [
        {"name": "a", "colour": 0, "offset": 0, "size": 100, "first": 0, "last": 1},
        {"name": "b", "colour": 1, "offset": 0, "size": 256, "first": 1, "last": 2}]}
    wrong = check_plan.check({"regimes": [good]})
    for key, value in (("arena_bytes", 768), ("lower_bound_bytes", 256)):
        if not check_plan.check({"regimes": [dict(good, **{key: value})]}):
            wrong.append("a wrong %s goes unseen" % key)
    for change in ({"colour": 0}, {"offset": 128}, {"colour": 9}):
        items = [good["buffers"][0], dict(good["buffers"][1], **change)]
        if not check_plan.check({"regimes": [dict(good, buffers=items)]}):
            wrong.append("%s goes unseen" % change)
    report("plan/the_checker_sees_a_broken_plan", wrong)


def steps_a_layer(hob):
    """Of decode on a GPU with cheap barriers, counted where `hob inspect --cost` prints the first regime."""
    for mode in ("reference", "fast"):
        p = subprocess.run([hob, "inspect", "-m", MODEL, "--profile", "gpu", "--mode", mode, "--cost"], cwd=ROOT, stdout=subprocess.PIPE, timeout=120)
        one_row = p.stdout.decode().split("up to ")[1]
        steps = [line for line in one_row.splitlines() if ", blk.1." in line]
        report("plan/a_layer_of_decode_is_5_steps_on_gpu, %s mode" % mode, [] if len(steps) == 5 else ["%d: %s" % (len(steps), steps)])


def main():
    a_broken_plan_is_seen()
    hob = tool()
    if hob is None:
        print("FAIL plan: the tool is not built")
        return
    if os.path.exists(MODEL):
        steps_a_layer(hob)
    for profile in PROFILES:
        name = "plan/default_model_on_%s" % profile
        if not os.path.exists(MODEL):
            print("SKIP %s: the default model is not there; `tools/setup model` gets it" % name)
            continue
        try:
            report(name, check_plan.check(plan_of(hob, MODEL, profile), limit=LIMIT))
        except (RuntimeError, ValueError, subprocess.TimeoutExpired) as e:
            report(name, [str(e)])


if __name__ == "__main__":
    main()
