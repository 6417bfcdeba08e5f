"""`make test`: unit tests, fuzz targets and suites; sums up in one last line.

Unit tests are the programs that CMake builds from tests/*/*_test.c under the sanitizers; each cmocka test counts.
A suite is an executable tests/suites/*.sh or *.py that prints `PASS name`, `FAIL name: why` and `SKIP name: why`
lines (anything else is shown when it fails). Everything runs JOBS at a time, except for the suites that build or
open a browser: each uses the whole machine. With CI=true a skip is a failure. Arguments choose what runs:
`tools/test.py base/ fuzz/ NAME...` keeps the programs and suites whose name contains one of them.
"""
import json
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
JOBS = os.environ.get("JOBS", "2")
os.environ["HOB_TUNED"] = "off"  # what was measured on this machine is no part of a test
FUZZ_SECONDS = 5  # from a fixed seed: `make fuzz` looks for new inputs
ALONE = ("firefox", "forced", "front", "kernels_wgsl", "size", "web")  # suites that open a browser, or build what others use
LIMIT = {"unit": 300, "fuzz": 120, "suite": 900}

passed, failed, skipped, times = 0, [], [], []
wanted = sys.argv[1:]


def want(name):
    return not wanted or any(w in name for w in wanted)


def run(command, limit, env=None):
    start = time.monotonic()
    try:
        p = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           stdin=subprocess.DEVNULL, timeout=limit, env=dict(os.environ, **(env or {})))
        code, out = p.returncode, p.stdout
    except subprocess.TimeoutExpired as e:
        code, out = 124, (e.stdout or b"") + b"\nran longer than %d s" % limit
    return code, out.decode("utf-8", "replace"), time.monotonic() - start


def fail(name, why):
    failed.append((name, why.strip().splitlines()[0] if why.strip() else "no reason given"))
    print("FAIL %s: %s" % (name, why.strip()), flush=True)


def skip(name, why):
    skipped.append((name, why))


def at_once(calls):
    """The results of the calls, in their order, JOBS running at a time."""
    with ThreadPoolExecutor(int(JOBS)) as pool:
        return list(pool.map(lambda call: call(), calls))


def missing_packages(*packages):
    return "needs: sudo apt-get install " + " ".join(packages)


def build(preset):
    for command in (["cmake", "--preset", preset, "--log-level=WARNING"],
                    ["cmake", "--build", "--preset", preset, "-j", JOBS]):
        code, out, _ = run(command, 1200)
        if code != 0:
            lines = [l for l in out.splitlines() if "error" in l or "FAILED" in l or "undefined" in l]
            fail("build/" + preset, "\n".join(lines[:20] or out.splitlines()[-20:]))
            return False
    return True


SANITIZERS = {"ASAN_OPTIONS": "allocator_may_return_null=1:detect_stack_use_after_return=0",
              "UBSAN_OPTIONS": "print_stacktrace=1", "LSAN_OPTIONS": "report_objects=1"}


def no_unit_tests():
    cache = os.path.join(ROOT, "build", "asan", "CMakeCache.txt")
    with open(cache) as f:
        if re.search(r"^CMOCKA_\w+:\w+=.*-NOTFOUND$", f.read(), re.M):
            return skip("unit", "CMake finds no cmocka; " + missing_packages("libcmocka-dev"))
    fail("unit", "no test program was made; is HOB_TESTS off in build/asan/CMakeCache.txt?")


def unit_tests():
    global passed
    if not any(os.path.exists(os.path.join(d, "cmocka.h")) for d in ("/usr/include", "/usr/local/include")):
        skip("unit", missing_packages("libcmocka-dev"))
        return
    if not build("asan"):
        return
    listing = subprocess.run(["ctest", "--test-dir", "build/asan", "--show-only=json-v1"], cwd=ROOT,
                             stdout=subprocess.PIPE, universal_newlines=True)
    tests = json.loads(listing.stdout)["tests"]
    if not tests:  # CMake makes none where it does not find the library
        return no_unit_tests()
    tests = [t for t in tests if want("unit/" + t["name"])]
    calls = [partial(run, t["command"], LIMIT["unit"], SANITIZERS) for t in tests]
    for name, (code, out, seconds) in zip([t["name"] for t in tests], at_once(calls)):
        times.append((seconds, name))
        good = re.findall(r"^\[       OK \] (.*)$", out, re.M)
        bad = re.findall(r"^\[  FAILED  \] (\w+)$", out, re.M)
        for line in re.findall(r"^\[  SKIPPED \] (\w+)$", out, re.M):
            why = re.search(r"^SKIP %s: (.*)$" % line, out, re.M)
            skip(name + "/" + line, why.group(1) if why else "no reason given")
        passed += len(good)
        if bad:
            for b in sorted(set(bad)):
                errors = re.findall(r"^\[  ERROR   \] --- (.*)$|^\[   LINE   \] --- (.*)$", out, re.M)
                fail("%s/%s" % (name, b), "; ".join((a or c) for a, c in errors[:6] if (a or c).strip()))
        elif code != 0:
            keep = [l for l in out.splitlines() if "ERROR" in l or "runtime error" in l or re.match(r"\s+#\d", l)]
            fail(name, "exit status %d\n%s" % (code, "\n".join(keep[:25] or out.splitlines()[-15:])))


def fuzz_targets():
    global passed
    sources = sorted(f[:-len("_fuzz.c")] for f in os.listdir(os.path.join(ROOT, "tests", "fuzz"))
                     if f.endswith("_fuzz.c")) if os.path.isdir(os.path.join(ROOT, "tests", "fuzz")) else []
    sources = [s for s in sources if want("fuzz/" + s)]
    if not sources:
        return
    if not shutil.which("clang-19"):
        skip("fuzz", missing_packages("clang-19", "libclang-rt-19-dev"))
        return
    if not build("fuzz"):
        return
    jobs = []
    for name in sources:
        corpus = os.path.join("tests", "fuzz", "corpus", name)
        command = [os.path.join("build", "fuzz", "fuzz", name + "_fuzz"), "-timeout=10", "-rss_limit_mb=2048",
                   "-artifact_prefix=build/"]
        have = [corpus] if os.path.isdir(os.path.join(ROOT, corpus)) else []
        new = os.path.join("build", "corpus", "test-" + name)  # libFuzzer writes to the first folder: empty each time
        shutil.rmtree(os.path.join(ROOT, new), ignore_errors=True)
        os.makedirs(os.path.join(ROOT, new))
        jobs.append(("fuzz/%s/corpus" % name, command + ["-runs=0"] + have))
        jobs.append(("fuzz/%s/run" % name, command + ["-seed=1", "-max_total_time=%d" % FUZZ_SECONDS, new] + have))
    done = at_once([partial(run, command, LIMIT["fuzz"], SANITIZERS) for _, command in jobs])
    for (name, _), (code, out, seconds) in zip(jobs, done):
        times.append((seconds, name))
        if code == 0:
            passed += 1
        else:
            keep = [l for l in out.splitlines() if "ERROR" in l or "runtime error" in l or l.startswith("Base64")
                    or re.match(r"\s+#\d", l) or "Test unit written" in l]
            fail(name, "\n".join(keep[:20] or out.splitlines()[-10:]))


def suites():
    folder = os.path.join(ROOT, "tests", "suites")
    files = [f for f in sorted(os.listdir(folder)) if f.endswith((".sh", ".py"))] if os.path.isdir(folder) else []
    files = [f for f in files if want("suite/" + os.path.splitext(f)[0])]
    calls = {f: partial(run, [sys.executable if f.endswith(".py") else "sh", os.path.join(folder, f)], LIMIT["suite"])
             for f in files}
    beside = [f for f in files if os.path.splitext(f)[0] not in ALONE]
    for file, outcome in zip(beside, at_once(calls[f] for f in beside)):
        suite_done(os.path.splitext(file)[0], *outcome)
    for file in files:
        if file not in beside:
            suite_done(os.path.splitext(file)[0], *calls[file]())


def suite_done(name, code, out, seconds):
    global passed
    times.append((seconds, name))
    lines = [re.match(r"(PASS|FAIL|SKIP) ([^:]+)(?:: (.*))?$", l) for l in out.splitlines()]
    lines = [m for m in lines if m]
    for m in lines:
        kind, what, why = m.group(1), "%s/%s" % (name, m.group(2).strip()), m.group(3) or ""
        if kind == "PASS":
            passed += 1
        elif kind == "FAIL":
            fail(what, why)
        else:
            skip(what, why or "no reason given")
    if code != 0 and not any(m.group(1) == "FAIL" for m in lines):
        fail(name, "exit status %d\n%s" % (code, "\n".join(out.splitlines()[-15:])))
    elif not lines:
        fail(name, "a suite that says nothing")


def main():
    unit_tests()
    fuzz_targets()
    suites()
    if times:
        print("slowest:")
        for seconds, name in sorted(times, reverse=True)[:10]:
            print("  %6.1f s  %s" % (seconds, name))
    for name, why in failed:
        print("failed: %s: %s" % (name, why))
    for name, why in skipped:
        print("skipped: %s: %s" % (name, why))
    ci = os.environ.get("CI") == "true"
    if ci and skipped:
        print("with CI=true a skip is a failure")
    print("%d passed, %d failed, %d skipped" % (passed, len(failed), len(skipped)))
    return 1 if failed or passed == 0 or (ci and skipped) else 0


if __name__ == "__main__":
    sys.exit(main())
