"""`make run`'s settings: what a person writes reaches the programs as it is, and nonsense is refused before any set-up."""
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HARD = "it's \"five\" $5 $(shell touch made-by-make) $$ ${X} $HOME `id` \\n\nnext line ä 日本 "
SHOW = "include Makefile\nshow:\n\t@printenv ASK\n"


def make(arguments, text=None, env=None):
    p = subprocess.run(["make", "-s"] + arguments, cwd=ROOT, input=text, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       universal_newlines=True, env=dict(os.environ, **(env or {})))
    return p.returncode, p.stdout, p.stderr


def test(name, got, want):
    print("PASS " + name if got == want else "FAIL %s: %r, not %r" % (name, got, want))


made = os.path.join(ROOT, "made-by-make")
test("a question on the command line arrives whole", make(["-f", "-", "show", "ASK=" + HARD], SHOW)[1], HARD + "\n")
test("a question in the environment arrives whole", make(["-f", "-", "show"], SHOW, {"ASK": HARD})[1], HARD + "\n")
test("nothing in it is run", os.path.exists(made), False)
if os.path.exists(made):
    os.remove(made)
for name, value in (("N", "abc"), ("N", "1_000"), ("N", "0"), ("PORT", "²"), ("PORT", "99999"), ("DEVICE", "tpu"),
                    ("TEMP", "-1"), ("TEMP", "nan"), ("THREADS", "1.5")):
    code, out, err = make(["run", "%s=%s" % (name, value), "ASK=hello"])
    test("%s=%s is refused at once" % (name, value), (code != 0, out, err.startswith(name), "; give " in err), (True, "", True, True))
code, out, err = make(["run"], env={"ASK": "  "})
test("a blank question is refused at once", (code != 0, out, err.startswith("ASK")), (True, "", True))
