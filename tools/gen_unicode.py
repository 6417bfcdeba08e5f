#!/usr/bin/env python3
"""Writes src/text/unicode_tables.c: the general category of every code point, as packed runs.

The data is unicodedata2's (pinned in tools/requirements.txt), not the interpreter's own, so that every
machine writes the same file. Version 16 is the one that the reference tokenizers' regular expressions use.

usage: gen_unicode.py [--check]     --check: exit 1 when the file is not what would be written
"""
import pathlib
import sys

import unicodedata2

VERSION = "16.0.0"
# ORDER UNICODE_KIND: as in text.h. CCSPACE is ours: the controls that are white space.
KINDS = ("Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp "
         "Cc Cf Cs Co Cn CcSpace").split()
ALTERNATE = 31  # Lu at even offsets from the start, Ll at odd ones: the shape of most cased scripts' blocks
STRIDE = 32  # runs to a mark: few enough to walk, and marks are a small part of the whole
CONTROL_SPACE = {0x9, 0xA, 0xB, 0xC, 0xD, 0x85}


def kind(c):
    return KINDS.index("CcSpace" if c in CONTROL_SPACE else unicodedata2.category(chr(c)))


def runs():
    plain = []
    for c in range(0x110000):
        k = kind(c)
        if not plain or plain[-1][1] != k:
            plain.append([c, k, 0])
        plain[-1][2] += 1
    out = []
    lu, ll = KINDS.index("Lu"), KINDS.index("Ll")
    i = 0
    while i < len(plain):
        j = i
        while j < len(plain) and plain[j][2] == 1 and plain[j][1] == (lu if (j - i) % 2 == 0 else ll):
            j += 1
        if j - i >= 3:
            out.append((plain[i][0], ALTERNATE))
            i = j
        else:
            out.append((plain[i][0], plain[i][1]))
            i += 1
    return out


def number(n):
    out = []
    while n > 127:
        out.append(n & 127 | 128)
        n >>= 7
    return out + [n]


def text():
    packed, marks, before = [], [], 0
    for i, (start, k) in enumerate(runs()):
        if i % STRIDE == 0:
            marks.append((start, len(packed)))
            before = start
        packed += number(start - before << 5 | k)
        before = start
    lines = [
        "// text/unicode_tables.c: general categories of Unicode " + VERSION + ", written by tools/gen_unicode.py.",
        "//",
        "// Do not edit. A run of code points of one kind is a little-endian base-128 number: how far it",
        "// starts behind the run before << 5 | kind; it holds up to the next run's start. Kind 31 means",
        "// upper case at even offsets from the start and lower case at odd ones. There is a mark for every",
        f"// {STRIDE} runs: where the first of them starts and its place among the bytes.",
        '#include "text/text.h"',
        "",
        "// clang-format off",
    ]

    def table(head, items):
        lines.append(head)
        row = "   "
        for item in items:
            item = f" {item},"
            if len(row) + len(item) > 100:
                lines.append(row)
                row = "   "
            row += item
        lines.extend([row, "};"])

    table(f"const u8 unicode_runs[{len(packed)}] = {{", packed)
    table(f"const UniMark unicode_marks[{len(marks)}] = {{", [f"{{0x{c:x}, {at}}}" for c, at in marks])
    lines += [f"const u32 unicode_mark_count = {len(marks)}, unicode_run_bytes = {len(packed)};", ""]
    return "\n".join(lines)


def main():
    if unicodedata2.unidata_version != VERSION:
        sys.exit(f"gen_unicode.py: unicodedata2 {VERSION} is needed, this is {unicodedata2.unidata_version}")
    path = pathlib.Path(__file__).resolve().parent.parent / "src/text/unicode_tables.c"
    if "--check" in sys.argv[1:]:
        if path.read_text(encoding="utf-8") != text():
            sys.exit(f"gen_unicode.py: {path.name} is stale; run tools/gen_unicode.py")
        return
    path.write_text(text(), encoding="utf-8")


main()
