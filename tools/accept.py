"""`make accept`: golden texts are written anew by the tests that check them. Read the diff before you commit it."""
import glob
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))


def main():
    programs = sorted(glob.glob(os.path.join(ROOT, "build/*/tests/*golden*")))
    programs = [p for p in programs if os.access(p, os.X_OK) and os.path.isfile(p)]
    seen = {}
    for p in programs:  # the newest build of each
        name = os.path.basename(p)
        if name not in seen or os.path.getmtime(p) > os.path.getmtime(seen[name]):
            seen[name] = p
    if not seen:
        sys.exit("no golden tests are built: `make asan` first")
    for p in sorted(seen.values()):
        subprocess.run([p], cwd=ROOT, env=dict(os.environ, HOB_ACCEPT="1"), check=True)
    if os.path.exists(os.path.join(ROOT, "build", "hob")):  # the tour shows what hob prints
        subprocess.run([sys.executable, os.path.join(ROOT, "tools", "make_tour.py")], cwd=ROOT)
    subprocess.run(["git", "--no-pager", "diff", "--stat", "tests/golden", "docs/tour.md"], cwd=ROOT)


if __name__ == "__main__":
    main()
