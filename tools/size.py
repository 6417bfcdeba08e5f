"""What the page weighs: the limits, and with --rooms which room's code weighs what.

A KB is 1024 bytes here; sizes are those of `gzip -9`. The limit of the modules is for a core that
wasm-opt made. --rooms links build/wasm/obj once more, with names, and compresses
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
# what a page fetches of each: one of the modules that the pattern names, so that the largest counts
MODULES = {"core": "web/dist/assets/hob-*.wasm", "kernels": "web/dist/assets/kernels_*.wasm"}
LIMITS = [("wasm", 300), ("page", 450)]  # the page without a model: those modules and all that is no module


def gzipped(data):
    return len(gzip.compress(data, 9))


def read(path):
    with open(path, "rb") as f:
        return f.read()


def built(pattern):
    found = glob.glob(os.path.join(ROOT, pattern), recursive=True)
    return sorted(p for p in found if os.path.isfile(p) and not p.endswith(".map"))


def modules():
    """What one page fetches: {"core": path, "kernels": path}, as far as they are built."""
    found = {what: built(pattern) for what, pattern in MODULES.items()}
    return {what: max(paths, key=lambda p: gzipped(read(p))) for what, paths in found.items() if paths}


def parts():
    """(what, its files, limit in bytes) of the page that was built last; no files: not built."""
    wasm = sorted(modules().values())
    rest = [p for p in built("web/dist/**") if not p.endswith(".wasm")]
    for what, limit in LIMITS:
        yield what, wasm if what == "wasm" else wasm + rest, limit * 1024


def unmeasured(what):
    """Why the limit says nothing about this build, or None: without wasm-opt the core is as the linker left it."""
    core = modules().get("core")
    linked = os.path.join(ROOT, "build", "wasm", "hob.wasm")
    if what == "wasm" and core and os.path.exists(linked) and filecmp.cmp(core, linked, shallow=False):
        return "wasm-opt (binaryen) made nothing smaller; needs: python3 tools/setup web, then make clean web"
    return None


def totals():
    """(what, bytes gzipped, limit in bytes); bytes 0: not built."""
    for what, paths, limit in parts():
        yield what, sum(gzipped(read(p)) for p in paths), limit


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
    """(name, body) of every function, and the data section's bytes."""
    name, imports, constants, code = {}, 0, b"", (0, 0)
    for kind, at, end in sections(data):
        if kind == 0:
            n, p = leb(data, at)
            if data[p:p + n] == b"name":
                name = names(data, p + n, end)
        elif kind == 2:
            imports = leb(data, at)[0] - data[at:end].count(b"\3env\6memory\2")  # all others are functions
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
        if what == "wasm" and size:
            print("   of it " + ", ".join("%s %.1f" % (w, gzipped(read(p)) / 1024) for w, p in sorted(modules().items())))
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
