"""`make fuzz T=NAME`: builds the fuzz targets and runs one for SECONDS_LIMIT seconds, new inputs kept in build/."""
import glob
import os
import subprocess
import sys

from test import SANITIZERS  # tools/test.py

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main():
    os.chdir(ROOT)
    subprocess.check_call(["cmake", "--preset", "fuzz", "--log-level=WARNING"], stdout=subprocess.DEVNULL)
    subprocess.check_call(["cmake", "--build", "--preset", "fuzz", "-j", os.environ.get("JOBS", "2")])
    folder = os.path.join("build", "fuzz", "fuzz")
    known = sorted(f[:-5] for f in os.listdir(folder) if f.endswith("_fuzz")) if os.path.isdir(folder) else []
    name = os.environ.get("T", "")
    if name not in known:
        print("make fuzz T=NAME: NAME is one of: " + ", ".join(known), file=sys.stderr)
        return 2
    new = os.path.join("build", "corpus", name)
    os.makedirs(new, exist_ok=True)
    corpus = os.path.join("tests", "fuzz", "corpus", name)
    crash = os.path.join("build", "crash-%s-" % name)  # where an input that breaks it is kept
    before = set(glob.glob(crash + "*"))
    code = subprocess.call([os.path.join(folder, name + "_fuzz"), "-timeout=10", "-rss_limit_mb=2048",
                            "-max_total_time=" + os.environ.get("SECONDS_LIMIT", "600"), "-print_final_stats=1",
                            "-artifact_prefix=" + crash, new] + ([corpus] if os.path.isdir(corpus) else []),
                           env=dict(SANITIZERS, **os.environ))
    for path in sorted(set(glob.glob(crash + "*")) - before):
        print("%s breaks it; again: %s %s" % (path, os.path.join(folder, name + "_fuzz"), path), file=sys.stderr)
    return 1 if code else 0


if __name__ == "__main__":
    sys.exit(main())
