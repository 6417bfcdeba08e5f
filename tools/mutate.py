"""`make mutate`: do the tests notice small mistakes?

Each tests/faults/*.patch puts one fault (an index, a bound, a sign, a condition) into a copy of the tree in
build/mutate; what it touches is compiled, and the unit and golden tests of the compile wing run until one is red. A
fault under which all stay green survived. At least 28 of every 30 must turn red; the exit status says so. Arguments: parts
of the names of the faults to try. A patch that no longer applies is an error: make it anew.

Only the compile wing is built, without sanitizers: every fault there changes what is computed, and this has to be
quick. Two faults are tried side by side, each in a copy of its own.
"""
import concurrent.futures
import glob
import os
import queue
import shutil
import subprocess
import sys
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.join(ROOT, "build", "mutate")
CC = os.environ.get("CC", "cc")
FLAGS = ["-std=c11", "-D_DEFAULT_SOURCE", "-O1", "-w", "-Isrc", "-Itests", "-Iinclude",
         "-isystem", os.path.join(ROOT, "third_party", "yyjson"), "-ffp-contract=off"]
ROOMS = ["base", "expr", "quant", "format", "program", "graph", "model", "pass", "loop", "emit", "compile"]
TESTS = ["expr", "graph", "pass", "loop", "compile", "emit"]  # the quick ones first
LAST = ["loop_rules_test", "compile_compile_test", "compile_sampler_test", "emit_rules_run_test"]
WORKERS = int(os.environ.get("JOBS", "2"))
LIMIT = 300
CASES, CASES_RUN = "40", "8"  # of each rule, interpreted and printed: all kinds of shapes come


class Copy:
    """A tree of its own with its objects."""

    def __init__(self, number, like=None):
        self.tree = os.path.join(BUILD, "tree%d" % number)
        self.objects = os.path.join(BUILD, "objects%d" % number)
        for folder in (self.tree, self.objects):
            shutil.rmtree(folder, ignore_errors=True)
        for part in ("src", "tests", "include"):
            shutil.copytree(os.path.join(like.tree if like else ROOT, part), os.path.join(self.tree, part))
        if like:
            shutil.copytree(like.objects, self.objects)
        else:
            os.makedirs(self.objects)
        self.sources = [s for room in ROOMS for s in sorted(glob.glob(os.path.join(self.tree, "src", room, "*.c")))
                        if not s.endswith("_main.c")]
        self.tests = [t for room in TESTS for t in sorted(glob.glob(os.path.join(self.tree, "tests", room, "*_test.c")))]
        self.tests.sort(key=lambda t: LAST.index(self.name(t)) + 1 if self.name(t) in LAST else 0)
        self.yyjson = os.path.join(self.objects, "yyjson.o")

    @staticmethod
    def name(path):
        return os.path.basename(os.path.dirname(path)) + "_" + os.path.basename(path)[:-2]

    def object(self, path):
        return os.path.join(self.objects, self.name(path) + ".o")

    def cc(self, arguments):
        return subprocess.run([CC] + FLAGS + arguments, cwd=self.tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def compile(self, paths):
        """Empty, or what the compiler said."""
        for path in paths:
            p = self.cc(["-c", path, "-o", self.object(path)])
            if p.returncode:
                return p.stdout.decode()
        return ""

    def build_all(self, pool):
        p = self.cc(["-c", "-DYYJSON_DISABLE_UTILS=1", "-DYYJSON_DISABLE_NON_STANDARD=1",
                     os.path.join(ROOT, "third_party", "yyjson", "yyjson.c"), "-o", self.yyjson])
        if p.returncode:
            return p.stdout.decode()
        return "".join(pool.map(lambda path: self.compile([path]), self.sources + self.tests))

    def archive(self):
        library = os.path.join(self.objects, "core.a")
        if os.path.exists(library):
            os.remove(library)
        subprocess.run(["ar", "rcs", library] + [self.object(s) for s in self.sources] + [self.yyjson], check=True)
        return library

    def run_tests(self, room=""):
        """The first red test and why, or None. Those of the room come first."""
        library = self.archive()
        for test in sorted(self.tests, key=lambda t: not self.name(t).startswith(room + "_")):
            program = os.path.join(self.objects, self.name(test))
            p = self.cc([self.object(test), library, "-o", program, "-lcmocka", "-lm", "-lpthread", "-ldl"])
            if p.returncode:
                return self.name(test), "does not link: " + p.stdout.decode()[-300:]
            # a fault may make anything too large: 2 GB each, and a time
            command = "ulimit -v 2097152; exec timeout %d %s" % (LIMIT, program)
            p = subprocess.run(["sh", "-c", command], cwd=self.tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               env=dict(os.environ, HOB_CASES=CASES_RUN if "_run_" in program else CASES))
            if p.returncode:
                lines = p.stdout.decode("utf-8", "replace").splitlines()
                failed = [l[13:] for l in lines if l.startswith("[  FAILED  ] ") and "test(s)" not in l]
                return self.name(test), failed[0] if failed else "exit status %d" % p.returncode
        return None

    def patch(self, path, reverse):
        return subprocess.run(["patch", "-p1", "--quiet", "--no-backup-if-mismatch"] + ["-R"] * reverse
                              + ["-i", path], cwd=self.tree, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    def try_fault(self, path):
        with open(path) as f:
            touched = [l[6:].split()[0] for l in f if l.startswith("+++ b/")]
        p = self.patch(path, False)
        if p.returncode:
            return "stale", p.stdout.decode().strip().replace("\n", "; ")
        files = [os.path.join(self.tree, t) for t in touched]
        try:
            why = self.compile(files)
            if why:
                return "broken", why.strip().splitlines()[0]
            red = self.run_tests(touched[0].split("/")[1])
            return ("red", "%s: %s" % red) if red else ("GREEN", "")
        finally:
            self.patch(path, True)
            self.compile(files)


def say(text):
    print(text, flush=True)


def main():
    start = time.monotonic()
    os.makedirs(BUILD, exist_ok=True)
    faults = [p for p in sorted(glob.glob(os.path.join(ROOT, "tests", "faults", "*.patch")))
              if not sys.argv[1:] or any(w in os.path.basename(p) for w in sys.argv[1:])]
    copies = queue.Queue()
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        first = Copy(0)
        why = first.build_all(pool)
        if why:
            say("the tree as it is does not compile: %s" % why.strip().splitlines()[0])
            return 1
        copies.put(first)
        for number in range(1, WORKERS):
            copy = Copy(number, first)
            copies.put(copy)
        if not sys.argv[1:]:
            red = first.run_tests()
            if red:
                say("red without a fault: %s: %s" % red)
                return 1
        say("built, green without a fault: %.0f s" % (time.monotonic() - start))

        def attempt(path):
            copy = copies.get()
            try:
                began = time.monotonic()
                what, why = copy.try_fault(path)
            finally:
                copies.put(copy)
            say("%-6s %-44s %4.0f s  %s" % (what, os.path.basename(path)[:-6], time.monotonic() - began, why))
            return what

        results = list(pool.map(attempt, faults))
    red = results.count("red")
    say("%d of %d faults turned the tests red, %d survived, %d could not be tried; %.0f s"
        % (red, len(faults), results.count("GREEN"), len(faults) - red - results.count("GREEN"),
           time.monotonic() - start))
    return 0 if red >= len(faults) * 28 // 30 and not results.count("stale") + results.count("broken") else 1


sys.exit(main())
