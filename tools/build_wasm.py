"""`make wasm`: the core module and the kernel modules, by the ziglang wheel's C compiler, into build/wasm/.

hob.wasm: every source of libhob and src/api/wasm*.c, a reactor without threads; exports are the functions marked
export in src/api/wasm*.c (visibility default) and malloc's memory. Linked as a whole (-flto): a twentieth smaller.
tools/build_web.sh makes it smaller still with wasm-opt; tools/size.py says what weighs what and holds the limits.
kernels_ISA.wasm: the printed kernels alone, one module an instruction set (ISAS), nothing else imported: libm's few
functions are linked in. All lie on one memory, env.memory, that the page makes.
NAME.shared.wasm: the same module, its memory declared shared, for a page whose kernels run on several threads
(`build_wasm.py --share FILE...`): no code differs, since what orders the threads is JavaScript's (web/src/team.ts).
Objects are rebuilt when a source or any header is newer.
"""
import concurrent.futures
import glob
import gzip
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
OUT = os.path.join("build", "wasm")
# Memory from 0: the core's stack, the kernels' stack (it grows down from KERNEL_DATA), the kernels' constants, and from
# CORE_DATA on the core's own data and heap. The kernels' initial-memory is the check that their constants fit.
CORE_STACK, KERNEL_DATA, CORE_DATA = 256 << 10, 384 << 10, 512 << 10
ZIG = [sys.executable, "-m", "ziglang", "cc", "-target", "wasm32-wasi"]
CORE = ["-std=c11", "-D_DEFAULT_SOURCE", "-DHOB_PAGE", "-Oz", "-g0", "-Wall", "-ffp-contract=off", "-fvisibility=hidden",
        "-fno-sanitize=all", "-ffunction-sections", "-mbulk-memory", "-Isrc", "-Iinclude", "-Ithird_party/yyjson",
        "-Dyyjson_api=", "-DYYJSON_DISABLE_UTILS=1", "-DYYJSON_DISABLE_NON_STANDARD=1", "-DYYJSON_DISABLE_WRITER=1",
        "-DYYJSON_DISABLE_INCR_READER=1", "-DYYJSON_DISABLE_FAST_FP_CONV=1",
        "-DYYJSON_DISABLE_UTF8_VALIDATION=1",  # JavaScript's TextEncoder writes what is read there
        "-include", "src/api/wasm_math.h", "-flto",
        "-Xclang", "-Oz", "-fno-vectorize", "-fno-slp-vectorize"]  # zig means -Os by -Oz
# where most of a compile's time goes: 0.5 % larger in all, and that compile 5 % faster
HOT = re.compile(r"src/(base/(arena|buf)|expr/(expr|walk))\.c")
CORE_LINK = ["-mexec-model=reactor", "-Oz", "-flto", "-s", "-Wl,--gc-sections",
             "-Wl,--global-base=%d" % CORE_DATA, "-Wl,--import-memory", "-Wl,--initial-memory=4194304", "-Wl,--max-memory=4294901760",
             "-Wl,-z,stack-size=%d" % CORE_STACK,
             "-Wl,--export-table", "-Wl,--growable-table"]  # the page puts the kernels there
KERNELS = ["-std=c11", "-O3", "-g0", "-msimd128", "-mbulk-memory", "-fno-sanitize=all", "-fno-math-errno", "-Isrc", "-Iinclude"]
ISAS = {"simd128": ["-ffp-contract=off"],
        "relaxed": ["-mrelaxed-simd", "-ffp-contract=fast"]}  # a product and its sum may be one rounding
ISAS.update({isa + "_fast": flags for isa, flags in ISAS.items()})  # of the fast mode: activations of 8 and 16 bits


def kernels_link(isa):
    return ["-mexec-model=reactor", "-O3", "-s", "-Wl,--no-entry", "-Wl,--import-memory", "-Wl,--gc-sections",
            "-Wl,--export=hob_kernels_" + isa, "-Wl,--export=hob_kernels_%s_count" % isa, "-Wl,--export=__stack_pointer",
            "-Wl,--export-table", "-Wl,-z,stack-size=%d" % KERNEL_DATA, "-Wl,--global-base=%d" % KERNEL_DATA,
            "-Wl,--initial-memory=%d" % CORE_DATA, "-Wl,--max-memory=4294901760"]


def sources():
    found = sorted(glob.glob("src/**/*.c", recursive=True))
    found = [s for s in found if not s.startswith("src/cli/") and not s.endswith("_main.c")]
    return found + glob.glob("third_party/yyjson/yyjson.c")  # left out again by the linker where nothing reads with it


def newest_header():
    headers = glob.glob("src/**/*.h", recursive=True) + glob.glob("src/**/*.def", recursive=True) + ["include/hob.h"]
    return max([os.path.getmtime(h) for h in headers if os.path.exists(h)] + [os.path.getmtime(__file__)])


def compile_one(source, flags, newest):
    obj = os.path.join(OUT, "obj", source.replace("/", "_") + ".o")
    if os.path.exists(obj) and os.path.getmtime(obj) >= max(os.path.getmtime(source), newest):
        return obj, ""
    # yyjson: small before fast, and numbers are read by our own str_to_f64 (src/text/jinja_json.c)
    extra = ["-w", "-Dstrtod=json_strtod", "-Dalways_inline=__unused__"] if source.startswith("third_party/") else []
    new = obj[:-2] + ".new.o"  # half an object of a build that was cut off must not look finished
    p = subprocess.run(ZIG + flags + extra + ["-c", source, "-o", new], stdout=subprocess.PIPE,
                       stderr=subprocess.STDOUT, universal_newlines=True)
    if p.returncode != 0:
        return None, p.stdout
    os.replace(new, obj)
    return obj, p.stdout


def link(objects, flags, out):
    newest = max(os.path.getmtime(f) for f in objects + [__file__])
    if os.path.exists(out) and os.path.getmtime(out) >= newest:
        return
    subprocess.check_call(ZIG + flags + objects + ["-o", out + ".tmp.wasm"])
    os.replace(out + ".tmp.wasm", out)
    with open(out, "rb") as f:
        data = f.read()
    print("%s: %d bytes, %d gzipped" % (out, len(data), len(gzip.compress(data, 9))))


def share(path):
    """Writes PATH's twin NAME.shared.wasm: the imported memory's limits get the flag that says shared."""
    with open(path, "rb") as f:
        data = bytearray(f.read())
    at = data.index(b"\3env\6memory\2\1") + 12  # module, field, a memory, whose maximum is given
    assert data.count(b"\3env\6memory\2") == 1
    data[at] |= 2
    with open(path[:-len("wasm")] + "shared.wasm", "wb") as f:
        f.write(data)


def main():
    if sys.argv[1:2] == ["--share"]:
        for path in sys.argv[2:]:
            share(path)
        return 0
    os.chdir(ROOT)
    os.makedirs(os.path.join(OUT, "obj"), exist_ok=True)
    newest = newest_header()
    with concurrent.futures.ThreadPoolExecutor(int(os.environ.get("JOBS", "2"))) as pool:
        results = list(pool.map(lambda s: compile_one(s, [f.replace("-Oz", "-Os") for f in CORE] if HOT.search(s) else CORE, newest), sources()))
    for _, text in results:
        sys.stderr.write(text)
    if any(obj is None for obj, _ in results):
        return 1
    link([obj for obj, _ in results], CORE_LINK, os.path.join(OUT, "hob.wasm"))
    for isa, flags in ISAS.items():
        subprocess.check_call(["cmake", "--build", "build/native", "--target", "kernels_" + isa], stdout=subprocess.DEVNULL)
        obj, text = compile_one("build/native/gen/kernels_%s.c" % isa, KERNELS + flags, os.path.getmtime(__file__))  # they include nothing
        sys.stderr.write(text)
        if obj is None:
            return 1
        link([obj], kernels_link(isa), os.path.join(OUT, "kernels_%s.wasm" % isa))
    return 0


if __name__ == "__main__":
    sys.exit(main())
