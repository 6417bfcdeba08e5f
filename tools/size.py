"""What the page weighs: the limits, and with --rooms which room's code weighs what.

A KB is 1024 bytes here; sizes are those of `gzip -9`. The core's limit is for what wasm-opt made of it. --rooms links build/wasm/obj once more, with names, and compresses
each room's functions by themselves (so the sum is a little more than the whole); a function that was inlined counts
where it went. Any python3 will do: --rooms goes on in .venv/, where the linker is. --json prints the limits and the files
they are for, for whoever measures with another gzip (tests/web/page.mjs).
usage: size.py [--rooms | --json]
"""
import collections
import filecmp
import glob
import gzip
import importlib.util
import json
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LIMITS = [("core", "web/dist/assets/hob-*.wasm", 180), ("kernels", "web/dist/assets/kernels_*.wasm", 80),
          ("page", "web/dist/**", 450)]  # the page without a model, both modules included


def gzipped(data):
    return len(gzip.compress(data, 9))


def parts():
    """(what, its files, limit in bytes) of the page that was built last; no files: not built."""
    for what, pattern, limit in LIMITS:
        paths = sorted(glob.glob(os.path.join(ROOT, pattern), recursive=True))
        yield what, [p for p in paths if os.path.isfile(p) and not p.endswith(".map")], limit * 1024


def unmeasured(what):
    """Why the limit says nothing about this build, or None: without wasm-opt the core is as the linker left it."""
    linked = os.path.join(ROOT, "build", "wasm", "hob.wasm")
    built = [p for w, paths, _ in parts() if w == "core" for p in paths]
    if what != "core" or not os.path.exists(linked) or not built:
        return None
    if all(filecmp.cmp(p, linked, shallow=False) for p in built):
        return "wasm-opt (binaryen) made nothing smaller; needs: python3 tools/setup web, then make clean web"
    return None


def totals():
    """(what, bytes gzipped, limit in bytes); bytes 0: not built."""
    for what, paths, limit in parts():
        size = 0
        for path in paths:
            with open(path, "rb") as f:
                size += gzipped(f.read())
        yield what, size, limit


def leb(data, at):
    value = shift = 0
    while True:
        value |= (data[at] & 127) << shift
        shift += 7
        at += 1
        if data[at - 1] < 128:
            return value, at


def sections(data):
    at = 8
    while at < len(data):
        size, body = leb(data, at + 1)
        yield data[at], body, body + size
        at = body + size


def names(data, at, end):
    """The name section's functions: index -> name."""
    found = {}
    while at < end:
        kind = data[at]
        size, at = leb(data, at + 1)
        if kind == 1:
            count, p = leb(data, at)
            for _ in range(count):
                index, p = leb(data, p)
                n, p = leb(data, p)
                found[index] = data[p:p + n].decode()
                p += n
        at += size
    return found


def functions(data):
    """(name, body) of every function, and the data section's bytes. Imports are functions alone here."""
    name, imports, constants, code = {}, 0, b"", (0, 0)
    for kind, at, end in sections(data):
        if kind == 0:
            n, p = leb(data, at)
            if data[p:p + n] == b"name":
                name = names(data, p + n, end)
        elif kind == 2:
            imports, _ = leb(data, at)
        elif kind == 10:
            code = (at, end)
        elif kind == 11:
            constants = data[at:end]
    count, at = leb(data, code[0])
    out = []
    for i in range(count):
        n, at = leb(data, at)
        out.append((name.get(imports + i, "?"), data[at:at + n]))
        at += n
    return out, constants


def own_python():
    """The linker is a wheel in the project's own environment: goes on there."""
    python = os.path.join(ROOT, ".venv", "bin", "python")
    if importlib.util.find_spec("ziglang"):
        return
    if not os.path.exists(python) or os.path.samefile(sys.prefix, os.path.join(ROOT, ".venv")):
        sys.exit("size.py: --rooms needs what `make web` sets up and builds")
    os.execv(python, [python, os.path.abspath(__file__)] + sys.argv[1:])


def rooms():
    own_python()
    import build_wasm
    home = {}
    for source in build_wasm.sources():
        room = source.split("/")[1] if source.startswith("src/") else "yyjson"
        with open(source, encoding="utf-8") as f:
            for name in re.findall(r"^(?!#|//|\s|typedef|return)[^\n;=]*?\b(\w+)\([^;]*?\)\s*\{", f.read(), re.M):
                home.setdefault(name, room)
            f.seek(0)
            for name in re.findall(r"^EXPORT\((\w+)\)", f.read(), re.M):
                home.setdefault(name, room)
    objects = [os.path.join(build_wasm.OUT, "obj", s.replace("/", "_") + ".o") for s in build_wasm.sources()]
    if not all(map(os.path.exists, objects)):
        sys.exit("size.py: --rooms needs what `make web` sets up and builds")
    out = os.path.join(build_wasm.OUT, "named.wasm")
    flags = [f for f in build_wasm.CORE_LINK if f != "-s"] + ["-g"]
    subprocess.check_call(build_wasm.ZIG + flags + objects + ["-o", out])
    with open(out, "rb") as f:
        found, constants = functions(f.read())
    by_room = collections.defaultdict(list)
    for name, body in found:
        by_room[home.get(name.split(".")[0], "the rest")].append((name, body))
    print("%-10s %8s %8s  largest functions" % ("room", "bytes", "gzipped"))
    rows = [(gzipped(b"".join(b for _, b in f)), room, f) for room, f in by_room.items()]
    for packed, room, f in sorted(rows, reverse=True):
        largest = sorted(f, key=lambda x: -len(x[1]))[:4]
        print("%-10s %8d %8d  %s" % (room, sum(len(b) for _, b in f), packed,
                                     ", ".join("%s %d" % (n, len(b)) for n, b in largest)))
    print("%-10s %8d %8d  texts and tables" % ("data", len(constants), gzipped(constants)))


def main():
    os.chdir(ROOT)
    if "--rooms" in sys.argv[1:]:
        rooms()
    if "--json" in sys.argv[1:]:
        print(json.dumps([{"what": w, "files": f, "limit": n, "skip": unmeasured(w)} for w, f, n in parts()]))
        return 0
    over = False
    for what, size, limit in totals():
        why = unmeasured(what) if size else "make web"
        print("%s: %.1f KB gzipped of %d%s" % (what, size / 1024, limit / 1024, "; " + why if why else ""))
        over = over or size > limit
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
