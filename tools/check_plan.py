"""Checks a memory plan without knowing how it was made: reads `hob inspect -m FILE --plan --json`, recomputes everything.

usage: check_plan.py [FILE.json] [--align 256] [--most 1.10] [--limit BYTES]     (no FILE: stdin)

For each regime: every range starts at a multiple of the alignment; two activations that live at the same time in one
colour lie apart; the arena is the sum of the colours' ends; the lower bound is the largest sum, over the steps, of
the live ranges each rounded up to the alignment, colours ignored; the arena is at most MOST times that.
"""
import argparse
import json
import sys


def up(v, to):
    return (v + to - 1) // to * to


def check_regime(r, align, most, limit):
    """Yields what is wrong with one regime."""
    items = r["buffers"]
    for b in items:
        if b["offset"] % align:
            yield "%s starts at %d" % (b["name"], b["offset"])
        if b["size"] <= 0 or b["first"] > b["last"] or b["first"] < 0 or b["colour"] not in range(8):
            yield "%s is not a range with a life" % b["name"]
    for i, a in enumerate(items):
        for b in items[:i]:
            together = a["colour"] == b["colour"] and a["first"] <= b["last"] and b["first"] <= a["last"]
            if together and a["offset"] < b["offset"] + b["size"] and b["offset"] < a["offset"] + a["size"]:
                yield "%s and %s overlap" % (a["name"], b["name"])
    ends = {}
    for b in items:
        ends[b["colour"]] = max(ends.get(b["colour"], 0), up(b["offset"] + b["size"], align))
    arena = sum(ends.values())
    steps = max((b["last"] for b in items), default=-1) + 1
    bound = max((sum(up(b["size"], align) for b in items if b["first"] <= s <= b["last"]) for s in range(steps)), default=0)
    if arena != r["arena_bytes"]:
        yield "the arena is %d bytes, the plan says %d" % (arena, r["arena_bytes"])
    if bound != r["lower_bound_bytes"]:
        yield "the lower bound is %d bytes, the plan says %d" % (bound, r["lower_bound_bytes"])
    if most and arena > most * bound:
        yield "the arena of %d bytes is %.3f of the lower bound" % (arena, arena / bound)
    if limit and arena > limit:
        yield "the arena of %d bytes is more than %d" % (arena, limit)


def check(plan, align=256, most=1.10, limit=None):
    wrong = []
    if not plan["regimes"]:
        wrong.append("there is no regime")
    for r in plan["regimes"]:
        wrong += ["n <= %d: %s" % (r["n"], w) for w in check_regime(r, align, most, limit)]
    return wrong


def main():
    p = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    p.add_argument("file", nargs="?")
    p.add_argument("--align", type=int, default=256)
    p.add_argument("--most", type=float, default=1.10)
    p.add_argument("--limit", type=int)
    a = p.parse_args()
    with open(a.file) if a.file else sys.stdin as f:
        plan = json.load(f)
    wrong = check(plan, a.align, a.most, a.limit)
    for w in wrong:
        print(w)
    for r in plan["regimes"]:
        ratio = r["arena_bytes"] / r["lower_bound_bytes"] if r["lower_bound_bytes"] else 1.0
        print("n <= %d: %d bytes, %.3f of the lower bound" % (r["n"], r["arena_bytes"], ratio))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
