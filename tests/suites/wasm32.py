"""Unit tests of the rooms that see files and text, on a machine with 32-bit sizes: the same sources, compiled for wasm.

What is cut to 32 bits by mistake is only found where size_t has 32. Undefined behaviour traps. cmocka does not run
there: tests/wasm32/cmocka.h stands in for it.
"""
import concurrent.futures
import glob
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tools"))
import build_wasm

build_wasm.OUT = os.path.join("build", "wasm32")
FLAGS = ["-std=c11", "-D_DEFAULT_SOURCE", "-O1", "-ffp-contract=off", "-fsanitize=undefined",
         "-fsanitize-trap=undefined", "-Itests/wasm32", "-Isrc", "-Itests", "-Iinclude", "-Ithird_party/yyjson"]
ROOMS = ["base", "expr", "quant", "format", "text"]
LEFT_OUT = {"base/thread_test.c", "base/file_test.c", "base/golden_test.c"}  # no threads and no files there


def run_test(source, objects, newest):
    """A test's program compiled, linked and run: the lines to print."""
    name = source[len("tests/"):]
    program = os.path.join(build_wasm.OUT, name.replace("/", "_")[:-2] + ".wasm")
    obj, text = build_wasm.compile_one(source, FLAGS, newest)
    if obj is None:
        return ["FAIL %s: does not compile\n%s" % (name, text)]
    p = subprocess.run(build_wasm.ZIG + FLAGS + objects + [obj, "-o", program, "-Wl,-z,stack-size=1048576"],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    if p.returncode != 0:
        return ["FAIL %s: does not link\n%s" % (name, p.stdout)]
    # Node 20 falls over when memory that grows under a running program ends an incremental collection
    p = subprocess.run(["node", "--no-warnings", "--no-incremental-marking", "tests/wasm32/run.mjs", program],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT, universal_newlines=True)
    lines = ["PASS %s" % test for test in re.findall(r"^\[       OK \] (\w+)$", p.stdout, re.M)]
    return lines + ["FAIL %s: %s" % (name, " | ".join(p.stdout.splitlines()[-3:]))] * (p.returncode != 0)


def main():
    os.chdir(ROOT)
    if not shutil.which("node"):
        return print("SKIP all: needs node")
    if subprocess.call([sys.executable, "-c", "import ziglang"], stderr=subprocess.DEVNULL) != 0:
        return print("SKIP all: needs the ziglang wheel; tools/setup wasm")
    os.makedirs(os.path.join(build_wasm.OUT, "obj"), exist_ok=True)
    newest = max([build_wasm.newest_header()] + [os.path.getmtime(h) for h in glob.glob("tests/*/*.h")])
    sources = [s for room in ROOMS for s in sorted(glob.glob("src/%s/*.c" % room))] + ["third_party/yyjson/yyjson.c"]
    tests = [s for room in ROOMS for s in sorted(glob.glob("tests/%s/*_test.c" % room)) if s[len("tests/"):] not in LEFT_OUT]
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", "2"))) as pool:
        objects = []
        for source, (obj, text) in zip(sources, pool.map(lambda s: build_wasm.compile_one(s, FLAGS, newest), sources)):
            if obj is None:
                return print("FAIL %s: does not compile\n%s" % (source, text))
            objects.append(obj)
        for lines in pool.map(lambda s: run_test(s, objects, newest), tests):
            print("\n".join(lines), flush=True)


main()
