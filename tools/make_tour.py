"""Writes the printed stages of docs/tour.md anew from `hob inspect --walk`: the prose is the page's own.

A marker `<!-- walk: SECTION, N lines -->` stands before each code block; the block is the walk's section of that name
(its beginning up to a colon is enough), for one row, at most N lines of it. The profile is named, so that the text is
the same on every machine. `--check` changes nothing and fails where the page differs.
"""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PAGE = os.path.join(ROOT, "docs", "tour.md")
MODEL = "models/SmolLM2-135M-Instruct.Q4_1.gguf"
COMMAND = ["build/hob", "inspect", "-m", MODEL, "--walk", "blk.0.attn_q", "--profile", "gpu"]
MARKER = re.compile(r"(<!-- walk: (?P<name>[\w ]+?)(?:, (?P<lines>\d+) lines)? -->\n```\w*\n)(?P<body>.*?)(^```$)", re.M | re.S)


def walk():
    """{section: lines} of the walk's first part: one row."""
    out = subprocess.run(COMMAND, cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout.decode("utf-8")
    first = out.split("\n==== ")[0]
    sections = {}
    for part in re.split(r"^---- ", first, flags=re.M)[1:]:
        title, body = part.split("\n", 1)
        sections[title.split(":")[0]] = body.rstrip("\n").split("\n")
    return sections


def rewrite(page, sections):
    def block(m):
        if m["name"] not in sections:
            raise SystemExit("the walk has no section '%s'; it has %s" % (m["name"], ", ".join(sections)))
        lines = sections[m["name"]]
        if m["lines"] and len(lines) > int(m["lines"]):
            lines = lines[:int(m["lines"])] + ["..."]
        return m[1] + "".join(l.rstrip() + "\n" for l in lines) + m[5]
    return MARKER.sub(block, page)


def main():
    with open(PAGE, encoding="utf-8") as f:
        page = f.read()
    new = rewrite(page, walk())
    if new == page:
        return 0
    if "--check" in sys.argv:
        print("docs/tour.md does not show what hob prints; tools/make_tour.py writes it anew")
        return 1
    with open(PAGE, "w", encoding="utf-8") as f:
        f.write(new)
    print("docs/tour.md is written anew")
    return 0


if __name__ == "__main__":
    sys.exit(main())
