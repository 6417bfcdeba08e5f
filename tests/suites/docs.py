"""The documents against the tree: the tour shows what hob prints, what they name exists, tables are whole."""
import os
import re
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HOB = os.path.join(ROOT, "build", "hob")
MODEL = os.path.join(ROOT, "models", "SmolLM2-135M-Instruct.Q4_1.gguf")


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8") as f:
        return f.read()


def case(name, why):
    print("FAIL %s: %s" % (name, why) if why else "PASS " + name, flush=True)


def pages():
    listed = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"], cwd=ROOT,
                            stdout=subprocess.PIPE, check=True).stdout.decode().split()
    return [p for p in listed if os.path.exists(os.path.join(ROOT, p)) and not p.startswith("bench/RESULTS")]


def missing_paths():
    bad = []
    for page in pages():
        text = read(page)
        made = set(re.findall(r"New file `([^`]+)`", text))
        for path in re.findall(r"`((?:src|include|tests|tools|web|bench|docs|examples)/[\w./-]+\.\w+)`", text):
            if path not in made and "NAME" not in path and not re.match(r"(web/dist|web/lib)/", path) and not os.path.exists(os.path.join(ROOT, path)):
                bad.append("%s names %s" % (page, path))
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            if not os.path.exists(os.path.join(ROOT, os.path.dirname(page), target)):
                bad.append("%s links to %s" % (page, target))
    return "; ".join(bad[:5])


def missing_options():
    """Every option of a `hob COMMAND ...` line in a block of commands is one that its --help knows."""
    help_of, bad = {}, []
    for page in pages():
        blocks = "\n".join(re.findall(r"^```sh\n(.*?)^```", read(page), re.M | re.S))
        for command, rest in re.findall(r"(?:^|\| *)(?:build/)?hob (\w+)(.*)$", blocks, re.M):
            if command not in help_of:
                p = subprocess.run([HOB, command, "--help"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
                help_of[command] = p.stdout.decode() if p.returncode == 0 else None
            if help_of[command] is None:
                bad.append("%s: hob has no command %s" % (page, command))
                continue
            for option in re.findall(r"(?<=\s)(--?[a-z][\w-]*)", rest.split("#")[0]):
                if not re.search(r"(?<![\w-])%s(?![\w-])" % re.escape(option), help_of[command]):
                    bad.append("%s: hob %s has no %s" % (page, command, option))
    return "; ".join(bad[:5])


def rooms():
    """ARCHITECTURE.md's table has every folder of src/, in an order in which includes go upwards only."""
    table = re.findall(r"^\| `src/(\w+)/`", read("ARCHITECTURE.md"), re.M)
    there = {d for d in os.listdir(os.path.join(ROOT, "src")) if os.path.isdir(os.path.join(ROOT, "src", d))}
    if set(table) != there:
        return "the table and src/ differ in %s" % ", ".join(sorted(set(table) ^ there))
    for folder, _, files in os.walk(os.path.join(ROOT, "src")):
        room = os.path.relpath(folder, os.path.join(ROOT, "src")).split(os.sep)[0]
        for f in files:
            if f.endswith((".c", ".h")):
                for used in re.findall(r'^\s*#\s*include "(\w+)/', read(os.path.relpath(os.path.join(folder, f), ROOT)), re.M):
                    if used in table and table.index(used) > table.index(room):
                        return "%s/%s includes %s, a room below it" % (room, f, used)
    return ""


def names(path, pattern):
    return re.findall(pattern, read(path), re.M)


def tables():
    ir, schedules = read("docs/ir.md"), read("docs/schedules.md")
    lacking = []
    for name in names("src/graph/ops.def", r"^OP\((\w+),"):
        lacking += [] if "| `%s` |" % name in ir else ["docs/ir.md: operator %s" % name]
    for name in names("src/expr/expr.def", r'^X\(\w+, "([^"]+)"'):
        lacking += [] if "| `%s` |" % name.replace("|", "\\|") in ir else ["docs/ir.md: %s" % name]
    for name in set(names("src/loop/schedule.c", r'str_eq\(w\[0\], S\("(\w+)"\)\)') + names("src/loop/schedule.c", r'IS\("(\w+)"')):
        lacking += [] if "| `%s " % name in schedules else ["docs/schedules.md: primitive %s" % name]
    for path in sorted(os.listdir(os.path.join(ROOT, "src/loop"))):
        if path.endswith(".c"):
            for rule in re.findall(r'const Rule rule_\w+ = \{\s*\.name = "(\w+)"', read("src/loop/" + path)):
                lacking += [] if "| `%s` |" % rule in schedules else ["docs/schedules.md: rule %s" % rule]
    return "; ".join(lacking[:5])


def schedule_example():
    """The example of docs/schedules.md is taken by the compiler, section by section."""
    m = re.search(r"<!-- schedule: (\w+) -->\n```text\n(.*?)^```", read("docs/schedules.md"), re.M | re.S)
    path = os.path.join(ROOT, "build", "docs_example.hsch")
    with open(path, "w", encoding="utf-8") as f:
        f.write(m[2])
    for kernel in re.findall(r"^kernel (\S+):", m[2], re.M):
        p = subprocess.run([HOB, "inspect", "-m", MODEL, "--profile", m[1], "--schedule", path, "--show-schedule", kernel],
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if p.returncode != 0:
            return p.stdout.decode()[-300:]
    return ""


def main():
    case("what_documents_name_is_there", missing_paths())
    case("the_table_of_rooms_is_the_tree", rooms())
    case("operators_expressions_primitives_and_rules_are_documented", tables())
    if not os.path.exists(HOB):
        return print("SKIP commands_in_documents: needs build/hob; make")
    case("options_in_documents_exist", missing_options())
    if not os.path.exists(MODEL):
        return print("SKIP tour: needs models/%s; make setup" % os.path.basename(MODEL))
    case("the_schedule_example_compiles", schedule_example())
    p = subprocess.run([sys.executable, os.path.join(ROOT, "tools", "make_tour.py"), "--check"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    case("the_tour_shows_what_hob_prints", p.stdout.decode()[-300:].strip() if p.returncode else "")


main()
