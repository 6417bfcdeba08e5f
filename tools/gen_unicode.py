#!/usr/bin/env python3
"""Writes src/text/unicode_tables.c: the general category of every code point, as sorted runs.

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


def text():
    table = runs()
    lines = [
        "// text/unicode_tables.c: general categories of Unicode " + VERSION + ", written by tools/gen_unicode.py.",
        "//",
        "// Do not edit. Each entry is start << 8 | kind and holds up to the next entry's start; kind 31 means",
        "// upper case at even offsets from the start and lower case at odd ones.",
        '#include "text/text.h"',
        "",
        "// clang-format off",
        f"const u32 unicode_runs[{len(table)}] = {{",
    ]
    row = "   "
    for start, k in table:
        item = f" 0x{start << 8 | k:x},"
        if len(row) + len(item) > 100:
            lines.append(row)
            row = "   "
        row += item
    lines += [row, "};", f"const u32 unicode_run_count = {len(table)};", ""]
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
