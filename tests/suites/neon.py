"""The kernels for ARM processors, cross-compiled by zig and run under qemu: right, never timed.

Both instruction sets, with dot products of bytes and without (qemu plays a processor of each kind, and the library
chooses): random cases of every rule against the float64 referee, and a tiny llama in both modes, by single rows and in
a chunk, against NumPy. What is compiled is the whole library, and of the kernels those of the tiny model's encoding:
all of them would take minutes.
"""
import json
import os
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.join("build", "neon")
TINY = os.path.join("build", "fixtures", "tiny")
MODEL, ENCODING, CASES = "head80_q4_1", "q4_1", 6
APART, FAST_APART = 5e-3, 0.2  # logits, whose standard deviation is 2.5
# as CMakeLists.txt has them, in the words of zig; who has no dot products must not be given any
ISAS = {"neon": ("cortex-a53", []), "neon_dot": ("max", ["-mcpu=generic+dotprod"])}
ZIG = [sys.executable, "-m", "ziglang", "cc", "-target", "aarch64-linux-musl", "-std=c11", "-D_DEFAULT_SOURCE", "-fno-sanitize=all",
       "-w", "-g0", "-Isrc", "-Iinclude", "-Ithird_party/yyjson"]
CORE = ZIG + ["-O0", "-ffp-contract=off"]
KERNELS = ZIG + ["-O1", "-ffp-contract=fast", "-fno-math-errno", "-c"]


class Wrong(Exception):
    pass


def run(command, **more):
    p = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=600, **more)
    if p.returncode != 0:
        said = (p.stdout[-300:] + p.stderr[-600:]).decode("utf-8", "replace")
        raise Wrong("%s: exit status %d: %s" % (os.path.basename(command[0]), p.returncode, " | ".join(said.splitlines())))
    return p


def path(name):
    return os.path.join(OUT, name)


def sources():
    found = sorted(os.path.join(d, f) for d, _, files in os.walk("src") for f in files if f.endswith(".c"))
    return [f for f in found if "/cli/" not in f and "/api/wasm" not in f and not f.endswith("_main.c")] + ["third_party/yyjson/yyjson.c"]


def build():
    """The random cases and the menu, printed here; the programs that hold them."""
    os.makedirs(OUT, exist_ok=True)
    run(["cmake", "--preset", "native", "--log-level=ERROR"])
    run(["cmake", "--build", "--preset", "native", "--target", "hob_core", "hob-menu"])
    core = "build/native/libhob_core.a"
    run(["cc", "-std=c11", "-D_DEFAULT_SOURCE", "-O1", "-Isrc", "tests/emit/neon_cases.c", core, "-o", path("print_cases"), "-lm",
         "-lpthread", "-ldl"])
    run([path("print_cases"), str(CASES), "print", path("cases.c")])
    with open(path("plain.c"), "w") as f:  # a machine that has NEON needs no others
        f.write("typedef struct { unsigned long long key; void *fn; const char *name; } Row;\n"
                "const Row hob_kernels_plain[1] = {{0}};\nconst unsigned hob_kernels_plain_count = 0;\n")
    objects = [path("plain.c")]
    for isa, (_, flags) in ISAS.items():
        run(["build/native/hob-menu", isa, path(isa + ".c"), ENCODING])
        for what in (isa, "cases"):
            run(KERNELS + flags + [path(what + ".c"), "-o", path("%s_%s.o" % (what, isa))])
        objects.append(path("%s_%s.o" % (isa, isa)))
    run(CORE + ["-DHOB_KERNELS", "tests/model/logits_tool.c"] + sources() + objects + ["-o", path("logits_tool")])
    run(CORE + ["-DRUN_CASES", "-c", "tests/emit/neon_cases.c", "-o", path("run_cases.o")])
    for isa in ISAS:
        run(CORE + ["-DHOB_KERNELS"] + sources() + objects + [path("run_cases.o"), path("cases_%s.o" % isa), "-o", path("cases_" + isa)])


def qemu(isa, *command):
    return run([shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static"), "-cpu", ISAS[isa][0]] + list(command))


def random_cases(isa):
    return qemu(isa, path("cases_" + isa), str(CASES)).stdout.decode().strip()


def tiny_model(isa, mode, rows):
    import numpy as np
    with open(os.path.join(TINY, MODEL + ".json")) as f:
        want = json.load(f)
    with open(path("tokens"), "w") as f:
        json.dump(want["tokens"], f)
    p = qemu(isa, path("logits_tool"), os.path.join(TINY, want["file"]), path("tokens"), "cpu/" + mode, "1", "64", str(rows))
    if p.stderr:
        raise Wrong(p.stderr.decode().strip().splitlines()[0])
    got = np.frombuffer(p.stdout, "<f4").reshape(-1, want["vocab"])[want["positions"]]
    exact = np.fromfile(os.path.join(TINY, MODEL + ".logits.f32"), "<f4").reshape(-1, want["vocab"])
    apart = float(np.abs(got - exact).max())
    if not apart <= (FAST_APART if mode == "fast" else APART):
        raise Wrong("logits up to %g apart" % apart)
    if mode == "fast" and apart <= APART / 100:
        raise Wrong("logits at most %g apart: these are the reference mode's" % apart)
    return "logits at most %.2g apart" % apart


def case(name, call, *arguments):
    try:
        said = call(*arguments)
        print("PASS %s%s" % (name, ": " + said if said else ""), flush=True)
        return True
    except (Wrong, OSError, ValueError, subprocess.TimeoutExpired) as e:
        print("FAIL %s: %s" % (name, e), flush=True)
        return False


def main():
    os.chdir(ROOT)
    if not (shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")):
        return print("SKIP all: needs: sudo apt-get install qemu-user")
    for module, part in (("ziglang", "wasm"), ("numpy", "test")):
        if subprocess.call([sys.executable, "-c", "import " + module], stderr=subprocess.DEVNULL) != 0:
            return print("SKIP all: needs the %s wheel; tools/setup %s" % (module, part))
    if not os.path.exists(os.path.join(TINY, MODEL + ".json")):
        subprocess.call([sys.executable, "tools/make_tiny_llamas.py", TINY], stdout=subprocess.DEVNULL)
    if not case("it_builds", build):
        return
    for isa in ISAS:
        case(isa + "_kernels_of_random_cases_equal_the_formula", random_cases, isa)
    for isa, mode, rows in (("neon", "reference", 1), ("neon", "fast", 24), ("neon_dot", "reference", 24), ("neon_dot", "fast", 1)):
        case("%s_runs_a_tiny_model_in_the_%s_mode_by_%d" % (isa, mode, rows), tiny_model, isa, mode, rows)


main()
