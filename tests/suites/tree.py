"""The parts of the tree that need no build: set-up's own steps, the tools' command lines, and what they say when something is missing."""
import os
import subprocess
import sys
import tempfile
from unittest import mock

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path[:0] = [os.path.join(ROOT, d) for d in ("tools", "tests")]
import check
import size
import terminal
import test as runner


def case(name, good, why):
    print("PASS " + name if good else "FAIL %s: %s" % (name, why))


def put(root, path, text):
    path = os.path.join(root, path)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def no_test_programs(root, cache):
    """What the runner makes of a build that has none: (failed, skipped)."""
    put(root, "build/asan/CMakeCache.txt", cache)
    listing = subprocess.CompletedProcess([], 0, '{"tests": []}')
    with mock.patch.multiple(runner, ROOT=root, build=lambda preset: True, failed=[], skipped=[]), \
            mock.patch("os.path.exists", lambda path: True), mock.patch("subprocess.run", lambda *a, **k: listing), \
            mock.patch("builtins.print"):
        runner.unit_tests()
        return runner.failed, runner.skipped


def core_that_is(root, linked, shipped):
    put(root, "build/wasm/hob.wasm", linked)
    put(root, "web/dist/assets/hob-1.wasm", shipped)
    with mock.patch.object(size, "ROOT", root):
        return size.unmeasured("wasm")


def missing_things():
    with tempfile.TemporaryDirectory() as root:
        failed, skipped = no_test_programs(root, "CMOCKA_LIBRARY:FILEPATH=CMOCKA_LIBRARY-NOTFOUND\n")
        case("cmocka_without_its_library_is_named", not failed and len(skipped) == 1 and "libcmocka-dev" in skipped[0][1], (failed, skipped))
        failed, skipped = no_test_programs(root, "CMOCKA_LIBRARY:FILEPATH=/usr/lib/libcmocka.so\n")
        case("a_build_without_test_programs_fails", len(failed) == 1 and not skipped, (failed, skipped))
        case("a_core_as_it_was_linked_is_not_held_to_its_limit", "wasm-opt" in (core_that_is(root, "a core", "a core") or ""), "")
        case("a_core_that_wasm_opt_made_smaller_is", core_that_is(root, "a core", "a") is None, "")


GLOBALS = """static int count;
static const char *names[] = {"a"};
Thing made = {0};
_Thread_local u32 seed;
static u8 table[2][N] = {{1}};
void f(void) {
    static bool once = false;
"""
NONE = """static const char *const names[] = {"static int x;"};
const Thing made = {0}; // static int x;
static const u8 table[2][N] = {{1}};
static int f(int a);
static inline bool g(void) {
    int local = 1;
    static const int kept = 2;
    return local;
}
typedef struct Thing {
    int x;
} Thing;
extern const int there;
struct Other;
Str f(Arena *a);
"""


def globals_are_found():
    got = [name for _, name in check.globals_of(GLOBALS)]
    case("check_finds_globals", got == ["count", "names", "made", "seed", "table", "once"], got)
    got = list(check.globals_of(NONE))
    case("check_takes_constants_and_functions_for_no_globals", not got, got)


SLOW = """import run
setup = run.setup()
setup.run(["sh", "-c", "head -c 3000000 /dev/zero >$TMPDIR/part; sleep 1.5"], "getting", setup.VENV)
setup.run(["sleep", "1.5"], "waiting")
"""


def progress_is_shown():
    code, shown = terminal.shown([sys.executable, "-c", SLOW], "stdout", cwd=ROOT, env=dict(os.environ, PYTHONPATH="tools"))
    case("setup_shows_how_much_has_come_and_for_how_long", code == 0
         and b"\r      getting: 3 MB, 1 s" in shown and b"\r      waiting: 1 s" in shown, shown)
    left = [f for f in os.listdir(os.path.join(ROOT, "build")) if f.startswith("setup-")]
    case("setup_leaves_no_temporary_files", not left, left)


def main():
    progress_is_shown()
    globals_are_found()
    missing_things()
    p = subprocess.run([sys.executable, "tools/setup", "nonsense"], cwd=ROOT, stdout=subprocess.PIPE,
                       universal_newlines=True)
    case("setup_names_the_parts_it_knows", p.returncode == 2 and "native" in p.stdout, p.stdout[-200:])
    p = subprocess.run([sys.executable, "tools/setup", "native"], cwd=ROOT, stdout=subprocess.PIPE,
                       universal_newlines=True)
    lines = p.stdout.splitlines()
    case("setup_run_again_finds_everything_there",
         p.returncode == 0 and lines and all(l.startswith("[") and l.endswith(": there") for l in lines), p.stdout)


main()
