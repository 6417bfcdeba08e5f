"""The parts of the tree that need no build: set-up's own steps and the command line of the tools."""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def case(name, good, why):
    print("PASS " + name if good else "FAIL %s: %s" % (name, why))


def main():
    p = subprocess.run([sys.executable, "tools/setup", "nonsense"], cwd=ROOT, stdout=subprocess.PIPE,
                       universal_newlines=True)
    case("setup_names_the_parts_it_knows", p.returncode == 2 and "native" in p.stdout, p.stdout[-200:])
    p = subprocess.run([sys.executable, "tools/setup", "native"], cwd=ROOT, stdout=subprocess.PIPE,
                       universal_newlines=True)
    lines = p.stdout.splitlines()
    case("setup_run_again_finds_everything_there",
         p.returncode == 0 and lines and all(l.startswith("[") and l.endswith(": there") for l in lines), p.stdout)


main()
