"""`make check`: what the tree promises about itself, without running its tests.

format (clang-format-19, where it is there), rooms (a file includes its own room and those above it), exports (libhob
shows only hob_*), generated files fresh, words that must not be in the tree, no globals, file sizes, licences of
dependencies.
Each finding is one line; the last line counts.
"""
import glob
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Rooms in dependency order. The wings do not see each other: compile wing and run wing meet in program/.
BEFORE = ["base", "expr", "quant", "format", "text", "program"]
COMPILE = ["graph", "model", "pass", "loop", "emit", "compile"]
RUN = ["device", "engine"]
AFTER = ["tune", "bake", "api", "cli"]

findings = []
notes = []


def found(place, what):
    findings.append("%s: %s" % (place, what))


def tracked(*patterns):
    out = subprocess.run(["git", "ls-files", "-z"] + list(patterns), stdout=subprocess.PIPE, cwd=ROOT)
    names = out.stdout.decode("utf-8").split("\0") if out.returncode == 0 else []
    return [n for n in names if n and os.path.exists(os.path.join(ROOT, n))]


def read(name):
    with open(os.path.join(ROOT, name), encoding="utf-8", errors="replace") as f:
        return f.read()


def may_see(room):
    for wing in (COMPILE, RUN):
        if room in wing:
            return BEFORE + wing[: wing.index(room) + 1]
    order = BEFORE + COMPILE + RUN + AFTER
    return order[: order.index(room) + 1]


def check_rooms():
    rooms = BEFORE + COMPILE + RUN + AFTER
    for name in tracked("src/*.c", "src/*.h", "src/*.def"):
        room = name.split("/")[1]
        if room not in rooms:
            found(name, "a room that the table in tools/check.py does not know")
            continue
        if name.endswith("_main.c"):
            continue
        for number, line in enumerate(read(name).splitlines(), 1):
            m = re.match(r'\s*#\s*include\s+"([a-z_]+)/', line)
            if m and m.group(1) in rooms and m.group(1) not in may_see(room):
                found("%s:%d" % (name, number), "%s/ includes %s/, which stands below it" % (room, m.group(1)))


def check_format():
    tool = shutil.which("clang-format-19")
    files = tracked("*.c", "*.h")
    if not tool:
        notes.append("format skipped: needs: sudo apt-get install clang-format-19")
        return
    p = subprocess.run([tool, "--dry-run", "-Werror", "--ferror-limit=1"] + files, cwd=ROOT, stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, universal_newlines=True)
    bad = sorted(set(re.findall(r"^([^:\n]+):\d+:\d+: error", p.stdout, re.M)))
    for name in bad:
        found(name, "is not as clang-format-19 writes it; run: make format")


def check_exports():
    library = os.path.join(ROOT, "build", "native", "libhob.so")
    if not os.path.exists(library):
        notes.append("exports skipped: libhob.so is not built (no include/hob.h?)")
        return
    out = subprocess.run(["nm", "-D", "--defined-only", library], stdout=subprocess.PIPE, universal_newlines=True)
    names = [line.split()[-1] for line in out.stdout.splitlines()]
    for name in names:
        if not name.startswith("hob_"):
            found("libhob", "exports %s" % name)
    header = set(re.findall(r"\b(hob_[a-z0-9_]+)\s*\(", read("include/hob.h")))
    for name in names:
        if name.startswith("hob_") and name not in header:
            found("libhob", "exports %s, which hob.h does not declare" % name)


def check_words():
    # the tree stands alone; a lock file names no registry
    words = [("../" + "shared", None), ("/" + "work/", None), ('"resolved": ' + '"http', None)]
    for name in tracked():
        if name.endswith((".png", ".gguf", ".npz", ".woff2")) or name.startswith("tests/fuzz/corpus/"):
            continue
        text = read(name)
        for word, _ in words:
            if word in text:
                found(name, "holds %r" % word)
    for name in tracked("src/*.c", "src/*.h", "include/*.h"):
        if name.startswith("src/cli/") or name.endswith("_main.c"):
            continue
        text = re.sub(r"//.*|/\*.*?\*/|\"(\\.|[^\"\\\n])*\"", "", read(name))
        for m in re.finditer(r"\b(printf|fprintf|snprintf|sprintf|fopen|exit|abort|strtod|TODO|FIXME)\s*\(", text):
            found(name, "calls %s: the library has no stdio and no exit" % m.group(1))
        if name != "src/base/arena.c":
            for m in re.finditer(r"\b(malloc|calloc|realloc)\s*\(", text):
                found(name, "calls %s: only base/arena.c does" % m.group(1))


# A page's kernels are told once, before its one model opens, in a memory that is that page's alone.
GLOBALS = {("src/api/wasm.c", "kernels"), ("src/api/wasm.c", "nkernels")}
KEYWORDS = "typedef|extern|return|struct|enum|union|goto|case|else|break|continue|EXPORT"


def globals_of(text):
    """(line, name) of what outlives a call and is not const: at file scope, and static inside functions."""
    text = re.sub(r'"(\\.|[^"\\\n])*"', '""', re.sub(r"//[^\n]*", "", text))
    for m in re.finditer(r"^(?:(?!(?:%s)\b)(?=[A-Za-z_])|[ \t]*(?=static\b|_Thread_local\b))([^;={}()#]*[;=])" % KEYWORDS, text, re.M):
        declared = re.sub(r"\[[^\]]*\]", "", m.group(1)[:-1])
        name = re.search(r"(\w+)\s*$", declared)
        if name and " " in declared and not re.search(r"\bconst\b", declared.rsplit("*", 1)[-1]):
            yield text.count("\n", 0, m.start()) + 1, name.group(1)


def check_globals():
    for name in tracked("src/*.c", "src/*.h"):
        if name.startswith("src/cli/") or name.endswith("_main.c"):
            continue
        for line, what in globals_of(read(name)):
            if (name, what) not in GLOBALS:
                found("%s:%d" % (name, line), "%s is a global that can be written: the library keeps none" % what)


def check_sizes():
    for name in tracked("src/*.c", "web/src/*.ts", "web/app/*.ts"):
        lines = read(name).count("\n")
        limit = 900 if name.endswith(".c") else 600
        if lines > limit and ".gen." not in name and "_data" not in name:
            found(name, "%d lines; a file is mostly 100-500" % lines)
    for name in tracked("src/*.c"):
        if not read(name).startswith("// "):
            found(name, "does not open by what it does, what not, and why")


def check_generated():
    # tools/gen_*.py --check compares what it would write with what is there
    for name in tracked("tools/gen_*.py"):
        if "--check" not in read(name):
            continue
        p = subprocess.run([sys.executable, name, "--check"], cwd=ROOT, stdout=subprocess.PIPE,
                           stderr=subprocess.STDOUT, universal_newlines=True)
        if p.returncode != 0:
            found(name, "generated file is stale: %s" % (p.stdout.strip().splitlines() or ["no reason given"])[-1])


def check_licences():
    table = read("docs/dependencies.md") if os.path.exists(os.path.join(ROOT, "docs", "dependencies.md")) else ""
    for name in glob.glob(os.path.join(ROOT, "tools", "requirements", "*.txt")):
        for line in open(name):
            package = re.split(r"[=<> ;]", line.strip())[0]
            if package and package.lower() not in table.lower():
                found("docs/dependencies.md", "has no row for %s" % package)
    if os.path.exists(os.path.join(ROOT, "web", "package.json")):
        import json
        package = json.loads(read("web/package.json"))
        if package.get("dependencies"):
            notes.append("web/package.json has run-time dependencies: " + ", ".join(package["dependencies"]))
        for part in ("dependencies", "devDependencies"):
            for dep in package.get(part, {}):
                if dep.lower() not in table.lower():
                    found("docs/dependencies.md", "has no row for %s" % dep)


def main():
    os.chdir(ROOT)
    for check in (check_rooms, check_words, check_globals, check_sizes, check_generated, check_licences, check_exports, check_format):
        check()
    for line in findings + notes:
        print(line)
    print("check: %d findings" % len(findings))
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
