"""`make fuzz T=NAME`: builds the fuzz targets and runs one for SECONDS_LIMIT seconds, new inputs kept in build/."""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main():
    os.chdir(ROOT)
    subprocess.check_call(["cmake", "--preset", "fuzz", "--log-level=WARNING"])
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
    return subprocess.call([os.path.join(folder, name + "_fuzz"), "-timeout=10", "-rss_limit_mb=2048",
                            "-max_total_time=" + os.environ.get("SECONDS_LIMIT", "600"), "-print_final_stats=1",
                            "-artifact_prefix=build/", new] + ([corpus] if os.path.isdir(corpus) else []))


if __name__ == "__main__":
    sys.exit(main())
