"""The changes that docs/add-an-*.md describe, applied to a copy of the tree, built, run and counted.

Such a page says "New file `PATH`:" before a code block that is the file, and "In `PATH`, after `TEXT`:" before lines
that follow the line beginning with TEXT (several such places may be named in one page). A block of `sh` names unit
tests to build and run. Besides tests, a page may make one new file and touch five lines elsewhere, table rows aside.
"""
import json
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
COPY = os.path.join(ROOT, "build", "docs_changes")
BUILD = os.path.join(COPY, "build", "docs")
PAGES = ["add-an-encoding", "add-an-op"]
JOBS = os.environ.get("JOBS", "2")


def copy_tree():
    """Sources only, and only what differs, so that a second run builds little."""
    os.makedirs(COPY, exist_ok=True)
    listed = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "CMakeLists.txt",
                             "src", "include", "tests", "tools"], cwd=ROOT, stdout=subprocess.PIPE, check=True)
    wanted = {f for f in listed.stdout.decode().split("\0") if f and os.path.isfile(os.path.join(ROOT, f))}
    for folder, _, files in os.walk(COPY):
        for f in files:
            path = os.path.relpath(os.path.join(folder, f), COPY)
            if not path.startswith(("build", "third_party")) and path not in wanted:
                os.remove(os.path.join(COPY, path))
    for f in wanted:
        with open(os.path.join(ROOT, f), "rb") as file:
            write(f, file.read())
    if os.path.isdir(os.path.join(ROOT, "third_party")) and not os.path.exists(os.path.join(COPY, "third_party")):
        os.symlink(os.path.join(ROOT, "third_party"), os.path.join(COPY, "third_party"))


def write(path, data):
    path = os.path.join(COPY, path)
    if os.path.exists(path):
        with open(path, "rb") as f:
            if f.read() == data:
                return
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def steps_of(page):
    """[(verb, path, anchor, text)], verb: new, after, run."""
    with open(os.path.join(ROOT, "docs", page + ".md"), encoding="utf-8") as f:
        text = f.read()
    found = []
    pattern = re.compile(r"(?:New file `(?P<new>[^`]+)`:|In `(?P<path>[^`]+)`, after `(?P<after>[^`]+)`:)?\n*"
                         r"^```(?P<kind>\w*)\n(?P<body>.*?)^```$", re.M | re.S)
    for m in pattern.finditer(text):
        if m["new"]:
            found.append(("new", m["new"], None, m["body"]))
        elif m["path"]:
            found.append(("after", m["path"], m["after"], m["body"]))
        elif m["kind"] == "sh":
            found.append(("run", None, None, m["body"]))
    return found


def apply(steps):
    """Files made and lines added elsewhere, tests aside; rows of .def tables are counted apart."""
    made, lines, rows = 0, 0, 0
    edits = {}
    for verb, path, anchor, body in steps:
        test = (path or "").startswith("tests/")
        if verb == "new":
            if os.path.exists(os.path.join(ROOT, path)):
                raise ValueError("%s is there already" % path)
            write(path, body.encode())
            made += not test
        elif verb == "after":
            if path not in edits:
                with open(os.path.join(ROOT, path), encoding="utf-8") as f:
                    edits[path] = f.read().splitlines(True)
            places = [i for i, l in enumerate(edits[path]) if l.strip().startswith(anchor)]
            if len(places) != 1:
                raise ValueError("%s has %d lines that begin with %s" % (path, len(places), anchor))
            added = body.splitlines(True)
            edits[path][places[0] + 1:places[0] + 1] = added
            if path.endswith(".def"):
                rows += len(added)
            elif not test:
                lines += len(added)
    for path, text in edits.items():
        write(path, "".join(text).encode())
    return made, lines, rows


def sh(*command, env=None):
    p = subprocess.run(command, cwd=COPY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env=env)
    return p.returncode, p.stdout.decode("utf-8", "replace")


def build(target):
    code, out = sh("cmake", "--build", BUILD, "--target", target, "-j", JOBS)
    return "" if code == 0 else "\n".join([l for l in out.splitlines() if "error:" in l][:8] or out.splitlines()[-8:])


# ---- the encoding in a whole model ------------------------------------------------------------------------------

def q5_1_model(folder):
    """A tiny llama in Q5_1 and what NumPy says of it; the format is taught to tools/gguf_io.py here only."""
    import numpy as np
    sys.path.insert(0, os.path.join(ROOT, "tools"))
    import gguf_io as io
    import make_tiny_llamas as tiny
    quantise, dequantise = io.quantise, io.dequantise

    def to_bytes(x, name):
        if name != "Q5_1":
            return quantise(x, name)
        b = io.blocks(x)
        m = b.min(1, keepdims=True)
        d = (b.max(1, keepdims=True) - m) / np.float32(31)
        q = np.clip(np.floor((b - m) / np.where(d == 0, 1, d) + np.float32(0.5)), 0, 31).astype(np.uint32)
        high = ((q >> 4) << np.arange(32, dtype=np.uint32)).sum(1, dtype=np.uint32)[:, None]
        head = np.concatenate([d, m], axis=1).astype("<f2")
        return np.concatenate([head.view(np.uint8), high.astype("<u4").view(np.uint8), io.pack_nibbles(q & 15)],
                              axis=1).tobytes()

    def to_floats(raw, name, count):
        if name != "Q5_1":
            return dequantise(raw, name, count)
        b = np.frombuffer(raw, np.uint8).reshape(count // 32, 24)
        d, m = [np.ascontiguousarray(b[:, i:i + 2]).view("<f2").astype(np.float32) for i in (0, 2)]
        high = np.ascontiguousarray(b[:, 4:8]).view("<u4") >> np.arange(32, dtype=np.uint32) & 1
        return (d * (io.unpack_nibbles(b[:, 8:]) + 16 * high).astype(np.float32) + m).reshape(-1)

    io.quantise, io.dequantise = to_bytes, to_floats
    io.TYPES["Q5_1"] = (7, 32, 24)
    io.NAMES[7] = "Q5_1"
    os.makedirs(folder, exist_ok=True)
    tiny.make(tiny.Tiny("q5_1", 96, 3, 1, 160, "Q5_1"), folder)
    with open(os.path.join(folder, "q5_1.json")) as f:
        return json.load(f)


def whole_model():
    why = build("hob_tool")
    if why:
        return why
    folder = os.path.join(COPY, "build", "model")
    want = q5_1_model(folder)
    tokens = os.path.join(folder, "tokens.json")
    with open(tokens, "w") as f:
        json.dump(want["tokens"], f)
    code, out = sh(os.path.join(BUILD, "hob"), "eval", "-m", os.path.join(folder, "q5_1.gguf"), "--tokens", tokens, "--json")
    if code != 0:
        return out[-300:]
    got = json.loads(out[out.index("{"):out.rindex("}") + 1])
    for i, (top, logprob) in enumerate(zip(got["top"], got["logprob"])):
        if abs(logprob - want["logprob"][i]) > 5e-3 or (top != want["top"][i] and want["margin"][i] > 0.01):
            return "position %d: top %d, logprob %g; NumPy says %d, %g" % (i, top, logprob, want["top"][i],
                                                                           want["logprob"][i])
    return "" if len(got["top"]) == len(want["tokens"]) - 1 else "%d positions" % len(got["top"])


def main():
    if not shutil.which("cmake"):
        return print("SKIP all: needs cmake; tools/setup native")
    for page in PAGES:
        name = page.replace("-", "_")
        if not os.path.exists(os.path.join(ROOT, "docs", page + ".md")):
            continue
        copy_tree()
        steps = steps_of(page)
        try:
            made, lines, rows = apply(steps)
        except ValueError as e:
            print("FAIL %s_applies: %s" % (name, e))
            continue
        if made <= 1 and lines <= 5 and made + lines + rows > 0:
            print("PASS %s_is_one_file_and_a_few_lines" % name)
        else:
            print("FAIL %s_is_one_file_and_a_few_lines: %d files, %d lines, %d rows" % (name, made, lines, rows))
        code, out = sh("cmake", "-S", ".", "-B", BUILD, "-G", "Ninja" if shutil.which("ninja") else "Unix Makefiles",
                       "--log-level=WARNING", "-DHOB_QUICK=ON")
        if code != 0:
            print("FAIL %s_builds: %s" % (name, out[-300:]))
            continue
        for test in " ".join(s[3] for s in steps if s[0] == "run").split():
            if not any(os.path.exists(os.path.join(d, "cmocka.h")) for d in ("/usr/include", "/usr/local/include")):
                print("SKIP %s_passes_%s: needs: sudo apt-get install libcmocka-dev" % (name, test))
                continue
            why = build(test)
            if not why:
                code, out = sh(os.path.join(BUILD, "tests", test))
                why = "" if code == 0 else out[-300:]
            print("FAIL %s_passes_%s: %s" % (name, test, why) if why else "PASS %s_passes_%s" % (name, test))
        if page == "add-an-encoding":
            why = whole_model()
            print("FAIL %s_runs_a_model: %s" % (name, why) if why else "PASS %s_runs_a_model" % name)


main()
