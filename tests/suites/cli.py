"""The hob command: exit status, what goes to which stream, bad input, JSON shapes, edited dumps; and the C library."""
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests"))
import terminal
HOB = os.path.join(ROOT, "build", "hob")
MODEL = os.path.join(ROOT, "models", "SmolLM2-135M-Instruct.Q4_1.gguf")
COMMANDS = ["run", "chat", "tokenize", "eval", "bake", "bench", "tune", "inspect"]


def case(name, good, why=""):
    print("PASS " + name if good else "FAIL %s: %s" % (name, str(why).replace("\n", " | ")[:600]), flush=True)


def hob(*args, stdin=b"", timeout=120, env=None):
    p = subprocess.run([HOB] + list(args), input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                       timeout=timeout, env=dict(os.environ, **(env or {})))
    return p.returncode, p.stdout, p.stderr.decode("utf-8", "replace")


def wrong_use():
    cases = [[], ["dance"], ["help", "dance"], ["run"], ["run", "-m", "x"], ["run", "-p", "x"], ["run", "-m", "x", "-p", "x", "extra"],
             ["run", "--nonsense"], ["run", "-m"], ["run", "-m", "x", "-p", "x", "-n", "many"],
             ["run", "-m", "x", "-p", "x", "-n", "-1"], ["run", "-m", "x", "-p", "x", "--temp", "nan"],
             ["run", "-m", "x", "-p", "x", "--temp", "2.5"], ["run", "-m", "x", "-p", "x", "--top-k", "1.5"],
             ["run", "-m", "x", "-p", "x", "--seed", "9007199254740993"], ["run", "-m", "x", "-p", "x", "--raw=yes"],
             ["run", "-m", "x", "-p", "x", "--threads", "1000000"], ["chat"], ["chat", "-m", "x", "words"],
             ["tokenize"], ["tokenize", "-m", MODEL, "a", "b"], ["tokenize", "-m", MODEL, "a", "--decode", "[1]"],
             ["tokenize", "-m", MODEL, "--decode", "1 2"], ["tokenize", "-m", MODEL, "--decode", "[1, x]"],
             ["tokenize", "-m", MODEL, "--decode", "[-1]"],
             ["tokenize", "-m", MODEL, "--decode", "[1]", "--ids"], ["tokenize", "-m", MODEL, "--decode", "[1]", "--bos"],
             ["tokenize", "-m", MODEL, "--decode", "[1]", "--plain", "--json"], ["tokenize", "-m", MODEL, "a", "--decode", "[1]", "--json"],
             ["run", "-m", "x", "-p", "-", "--graph", "-"], ["run", "-m", "x", "-p", "x", "--graph", "-", "--schedule", "-"],
             ["run", "-m", "-", "-p", "x"], ["chat", "-m", "x", "--schedule", "-"], ["bench", "-m", "x", "--profile", "-", "--graph=-"],
             ["eval", "-m", "x", "--tokens", "-", "--schedule", "-"],
             ["inspect", "-m", "x", "--plan", "--with-graph", "-", "--schedule", "-"], ["eval"], ["eval", "-m", "x"], ["bench"],
             ["run", "-m", "x", "-p", "x", "--speculate", "8"], ["chat", "-m", "x", "--speculate", "maybe"],
             ["bench", "-m", "x", "--speculate", "--kernels"], ["bench", "-m", "x", "--trace", ""], ["bench", "-m", "x", "--trace="],
             ["tune"], ["tune", "-m", "x", "--device", "cpu"], ["tune", "-m", "x", "--device", "null"], ["tune", "-m", "x", "--best", "0"],
             ["eval", "-m", "x", "--tokens", "a", "--perplexity", "b"],
             ["eval", "-m", "x", "--tokens", "-", "--agreement"], ["eval", "-m", "x", "--perplexity", "a", "--agreement"],
             ["eval", "-m", "x", "--tokens", "a", "--agreement", "--mode", "fast"], ["run", "-m", "x", "-p", "a", "--mode", "slow"], ["bake"], ["bake", "-m", "x"],
             ["bake", "-m", "x", "-o", "y", "--errors"], ["bake", "-m", "x", "-o", "y", "--size", "-1"],
             ["inspect"], ["inspect", "-m", "x", "--kernels", "metal"], ["inspect", "-m", "x", "--dump", "nothing"],
             ["inspect", "-m", "x", "--json"], ["inspect", "-m", "x", "--plan", "--cost"],
             ["inspect", "-m", "x", "--graph", "--walk", "y"], ["run", "-m", "x", "-p", "x", "-nmany"],
             ["run", "-m", "x", "-p", "x", "-xyz"]]
    bad = []
    for c in cases:
        code, out, err = hob(*c)
        if code != 2 or out or not err:
            bad.append("hob %s: %d %r %r" % (" ".join(c), code, out[:80], err[:80]))
    case("wrong_use_is_2_and_says_why", not bad, "; ".join(bad))
    for c in ("run", "chat", "eval", "bench"):
        code, out, err = hob(c, "-m", "x", "--device", "abacus")
        case("%s_names_the_devices_it_has" % c, code == 2 and not out and "cpu" in err and "webgpu" in err, (code, err))


def help_pages():
    bad = []
    for c in COMMANDS:
        code, out, err = hob(c, "--help")
        text = out.decode()
        if code != 0 or err or "USE" not in text or "OPTIONS" not in text or len(text) < 500:
            bad.append(c)
        if hob("help", c)[1] != out:
            bad.append("help " + c)
    code, out, _ = hob("--help")
    if code != 0 or any(c not in out.decode() for c in COMMANDS):
        bad.append("--help")
    case("every_command_has_a_page", not bad, bad)
    code, out, _ = hob("--version")
    case("version_is_one_line", code == 0 and re.fullmatch(rb"hob \d+\.\d+\.\d+\n", out), out)


def text(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def gguf(keys=(), tensors=(), data=b"", version=3):
    out = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(keys))
    for name, value in keys:
        out += text(name)
        if isinstance(value, str):
            out += struct.pack("<I", 8) + text(value)
        elif isinstance(value, float):
            out += struct.pack("<If", 6, value)
        else:
            out += struct.pack("<II", 4, value)
    for name, dims, kind, off in tensors:
        out += text(name) + struct.pack("<I", len(dims)) + b"".join(struct.pack("<Q", d) for d in dims)
        out += struct.pack("<IQ", kind, off)
    out += b"\0" * (-len(out) % 32)
    return out + data


def bad_files(tmp):
    real = open(MODEL, "rb").read(3 << 20)
    arch = [("general.architecture", "llama")]
    files = {
        "empty": b"", "short": b"GGUF", "text": b"this is no model at all, only some words\n" * 10,
        "front_only": real[:1000], "no_data": real[:2 << 20], "version": gguf(version=9),
        "huge_counts": b"GGUF" + struct.pack("<IQQ", 3, 1 << 62, 1 << 62),
        "architecture": gguf([("general.architecture", "rwkv")]), "no_keys": gguf(),
        "no_tensors": gguf(arch), "type": gguf(arch, [("a", [32], 99, 0)], b"\0" * 256),
        "offset": gguf(arch, [("a", [32], 0, 1 << 60)], b"\0" * 256),
        "zero_dim": gguf(arch, [("a", [0, 5], 0, 0)], b"\0" * 256),
        "overflow": gguf(arch, [("a", [1 << 40, 1 << 40], 0, 0)], b"\0" * 256),
        "alignment": gguf(arch + [("general.alignment", 3)], [("a", [32], 0, 0)], b"\0" * 256),
    }
    bad = []
    paths = {"missing": os.path.join(tmp, "nobody.gguf"), "directory": tmp}
    for name, data in files.items():
        paths[name] = os.path.join(tmp, name + ".gguf")
        with open(paths[name], "wb") as f:
            f.write(data)
    for name, path in paths.items():
        for c in (["run", "-p", "x"], ["chat"], ["bench"], ["inspect", "--plan"], ["tokenize", "x"]):
            if c[0] == "tokenize" and name in ("no_data", "architecture"):
                continue
            code, out, err = hob(c[0], "-m", path, *c[1:])
            if code != 1 or out or not err.startswith(path) or err.count("\n") != 1 or "; " not in err:
                bad.append("%s %s: %d %r %r" % (c[0], name, code, out[:60], err[:200]))
    case("bad_files_are_1_and_named", not bad, "; ".join(bad))
    code, out, err = hob("run", "-m", paths["architecture"], "-p", "x")
    case("an_unknown_architecture_names_the_known", "rwkv" in err and "llama" in err, err)
    code, out, err = hob("inspect", "-m", paths["text"])
    case("a_wrong_magic_is_shown_as_it_stands", "0x%s," % b"this".hex() in err, err)
    code, out, err = hob("inspect", "-m", paths["type"])
    case("an_unknown_type_names_the_known", "99" in err and "Q4_1" in err and "@0x" in err, err)


def five_gigabytes(tmp):
    """A llama of 5.2 GB, all holes: its offsets do not fit 32 bits."""
    hidden, vocab, ffn = 10112, 65000, 64
    keys = [("general.architecture", "llama"), ("llama.block_count", 1), ("llama.context_length", 64),
            ("llama.embedding_length", hidden), ("llama.feed_forward_length", ffn), ("llama.attention.head_count", 1),
            ("llama.attention.head_count_kv", 1), ("llama.rope.dimension_count", 64),
            ("llama.attention.key_length", 64), ("llama.attention.value_length", 64),
            ("llama.attention.layer_norm_rms_epsilon", 1e-5)]
    shapes = [("token_embd.weight", [hidden, vocab]), ("output_norm.weight", [hidden]),
              ("blk.0.attn_norm.weight", [hidden]), ("blk.0.ffn_norm.weight", [hidden]),
              ("blk.0.attn_q.weight", [hidden, 64]), ("blk.0.attn_k.weight", [hidden, 64]),
              ("blk.0.attn_v.weight", [hidden, 64]), ("blk.0.attn_output.weight", [64, hidden]),
              ("blk.0.ffn_gate.weight", [hidden, ffn]), ("blk.0.ffn_up.weight", [hidden, ffn]),
              ("blk.0.ffn_down.weight", [ffn, hidden]), ("output.weight", [hidden, vocab])]
    tensors, at = [], 0
    for name, dims in shapes:
        tensors.append((name, dims, 0, at))
        size = 4
        for d in dims:
            size *= d
        at += size + -size % 32
    path = os.path.join(tmp, "five.gguf")
    with open(path, "wb") as f:
        f.write(gguf(keys, tensors))
        f.truncate(f.tell() + at)
    code, out, err = hob("bench", "-m", path, "--device", "null", "-p", "16", "-n", "4", "--runs", "1", "--json", timeout=400)
    os.unlink(path)
    case("a_sparse_5_gb_file_streams_through_the_null_device", code == 0 and b'"answer_tokens": 4' in out, (code, out, err))


def tokenize():
    words = "caf\u00e9 \"quoted\" $HOME\n\ttwo  spaces \U0001f600"
    code, out, err = hob("tokenize", "-m", MODEL, "--ids", words)
    ids = json.loads(out) if code == 0 else []
    case("tokenize_gives_a_json_array", ids and all(isinstance(i, int) for i in ids) and not err, (code, out, err))
    code, back, _ = hob("tokenize", "-m", MODEL, "--decode", json.dumps(ids))
    case("decode_gives_the_bytes_back", back.decode() == words, back)
    code, out, _ = hob("tokenize", "-m", MODEL, "--json", "-", stdin=words.encode())
    case("tokenize_reads_standard_input", json.loads(out or b"0") == ids, out)
    code, back, _ = hob("tokenize", "-m", MODEL, "--decode", "-", stdin=json.dumps(ids).encode())
    case("decode_reads_standard_input", back.decode() == words, back)
    code, back, _ = hob("tokenize", "-m", MODEL, "--json", "--decode", json.dumps(ids))
    case("decode_gives_a_json_string", code == 0 and json.loads(back or b"0") == words, back)
    plain = json.loads(hob("tokenize", "-m", MODEL, "--ids", "Hello")[1])
    begun = json.loads(hob("tokenize", "-m", MODEL, "--ids", "--bos", "Hello")[1])
    case("bos_is_added_only_when_asked_for", begun[1:] == plain and len(begun) == len(plain) + 1, (plain, begun))
    case("no_text_is_no_ids", json.loads(hob("tokenize", "-m", MODEL, "--ids", "")[1]) == [])
    code, out, err = hob("tokenize", "-m", MODEL, "--decode", "[99999999]")
    case("an_id_that_is_no_token_is_1", code == 1 and not out and "; take ids" in err, err)


def run(tmp):
    ask = ["run", "-m", MODEL, "-p", "What is the capital of France?", "-n", "8"]
    code, out, err = hob(*ask)
    case("an_answer_goes_to_standard_output_alone", code == 0 and b"Paris" in out and out.endswith(b"\n") and not err,
         (code, out, err))
    code, piped, _ = hob("run", "-m", MODEL, "-p", "-", "-n", "8", stdin=b"What is the capital of France?")
    case("a_prompt_comes_from_standard_input", piped == out, piped)
    code, line, _ = hob(*ask, "--json")
    j = json.loads(line or b"{}")
    keys = ["device", "prompt_tokens", "answer_tokens", "answer", "load_ms", "ttft_ms", "prefill_tps", "decode_tps"]
    case("json_has_the_promised_keys", list(j) == keys and j["device"] == "cpu" and j["answer"] == out.decode()[:-1]
         and j["answer_tokens"] <= 8 and j["prompt_tokens"] > 5, line)
    code, threads, _ = hob(*ask, "--threads", "1")
    case("one_thread_gives_the_same_answer", threads == out, threads)
    draw = ["run", "-m", MODEL, "--raw", "-p", "Once upon a time", "-n", "12", "--temp", "1", "--top-k", "50"]
    a, b, c = (hob(*draw, "--seed", s)[1] for s in ("7", "7", "8"))
    case("a_seed_draws_the_same_answer", a == b and a != c, (a, b, c))
    first, second = (json.loads(hob(*draw, "--json")[1] or b"{}") for _ in range(2))
    case("without_a_seed_each_answer_is_drawn_anew", first["seed"] != second["seed"] and first["answer"] != second["answer"]
         and 0 <= first["seed"] < 1 << 53, (first, second))
    again = json.loads(hob(*draw, "--json", "--seed", str(first["seed"]))[1] or b"{}")
    case("the_seed_that_was_told_draws_the_answer_again", (again["seed"], again["answer"]) == (first["seed"], first["answer"]),
         (first, again))
    code, out2, err = hob("run", "-m", MODEL, "-p", "word " * 200, "--ctx", "64")
    case("a_prompt_longer_than_the_context_is_1", code == 1 and not out2 and "64" in err, err)
    code, out2, err = hob("run", "-m", MODEL, "--raw", "-p", "one two three four", "--ctx", "16", "-n", "0")
    case("a_full_context_ends_the_answer", code == 0 and out2, (code, err))
    with open(MODEL, "rb") as f:
        data = f.read()
    # the model's own template, as long as it was, asks for the date
    key = b"tokenizer.chat_template" + struct.pack("<I", 8)
    at = data.index(key) + len(key)
    length = struct.unpack_from("<Q", data, at)[0]
    dated = b"{%% if strftime_now('%%Y') != '%s' %%}{{ raise_exception('wrong') }}{%% endif %%}hello" % (
        time.strftime("%Y").encode())
    path = os.path.join(tmp, "dated.gguf")
    with open(path, "wb") as f:
        f.write(data[:at + 8] + dated + b"{#" + b" " * (length - len(dated) - 4) + b"#}" + data[at + 8 + length:])
    code, _, err = hob("run", "-m", path, "-p", "x", "-n", "1")
    os.remove(path)
    case("a_template_may_ask_for_the_date", code == 0, err)
    code, glued, err = hob("run", "-m" + MODEL, "-p" + ask[4], "-n8", "--device", "cpu", "--stats")
    case("a_value_may_touch_a_letter", code == 0 and glued == out, (code, glued, err))
    case("stats_tell_what_was_checked", "outputs against their formulas" in err and "at most 0.0e" not in err, err)
    code, _, err = hob("run", "-m", MODEL, "-p", "x", "--profile", "nope")
    case("an_unknown_profile_names_the_known", code == 1 and err.startswith("nope: ") and "cpu16, gpu, software" in err, err)
    if os.path.exists("/dev/full"):
        with open("/dev/full", "wb") as full:
            p = subprocess.run([HOB] + ask, stdout=full, stderr=subprocess.PIPE)
        case("a_full_disk_is_1", p.returncode == 1 and p.stderr, p.returncode)
    graph, schedule = os.path.join(tmp, "my.hgraph"), os.path.join(tmp, "my.hsch")
    with open(graph, "wb") as f:
        f.write(hob("inspect", "-m", MODEL, "--graph")[1])
    with open(schedule, "wb") as f:
        all_of_them = hob("inspect", "-m", MODEL, "--show-schedule", "all")[1]
        f.write(all_of_them)
    case("all_schedules_print_as_sections", all_of_them.count(b"kernel ") >= 16, all_of_them[:200])
    code, edited, err = hob(*ask, "--graph", graph, "--schedule", schedule, timeout=300)
    # not a word of the interpreter: what is as the rules say was built with the tool
    case("dumps_of_graph_and_schedule_run_again", code == 0 and edited == out and not err, (code, edited, err[:300]))
    with open(graph, "rb") as f:
        code, piped, err = hob(*ask, "--graph", "-", stdin=f.read(), timeout=300)
    case("a_graph_comes_from_standard_input", code == 0 and piped == out and not err, (code, piped, err[:300]))
    code, piped, err = hob(*ask, "--schedule", "-", stdin=b"kernel nobody_knows:\nsplit a.b 4 c d\n")
    case("a_schedule_comes_from_standard_input", code == 1 and err.startswith("/dev/stdin:1:") and "nobody_knows" in err, err)
    code, piped, err = hob("inspect", "-m", MODEL, "--plan", "--profile", "-", stdin=b"vec = 3\n")
    case("a_profile_comes_from_standard_input", code == 1 and err.startswith("/dev/stdin:1:"), err)
    with open(schedule, "wb") as f:  # one small kernel, which has to be interpreted
        f.write(b"kernel rms_norm_n1:\nbind out.n cpu\ncompute_at ss out.n\nguard out o\nsplit out.o 8 xo xl\n")
    code, edited, err = hob(*ask, "--schedule", schedule, timeout=300)
    case("an_edited_schedule_is_interpreted", code == 0 and edited == out and "interpreter" in err, (code, edited, err[:300]))
    text = open(graph).read()
    for cut, more, named in ((r"argmax\(.*\n", [], "no `argmax`"), (r"sample\(.*\n", ["--temp", "1"], "no `sample`"),
                             (r"\nlogits(?= )", [], "marked `logits`")):
        with open(graph, "w") as f:
            f.write(re.sub(cut, "\n", text, count=1))
        code, edited, err = hob(*ask, *more, "--graph", graph)
        case("a_graph_that_has_%s_is_refused" % named.replace("`", ""), code == 1 and named in err and not edited, (edited, err))
    chain = "n"
    for i in range(100):
        chain = "(%s*n)//9%%23*(n + %d)" % (chain, i)
    with open(graph, "w") as f:
        f.write(text.replace("f32[n, 576]", "f32[%s, 576]" % chain, 1))
    code, edited, err = hob(*ask, "--graph", graph, timeout=20)
    case("a_shape_is_no_program", code == 1 and re.match(re.escape(graph) + r":\d+:\d+: ", err), err)
    with open(graph, "w") as f:
        f.write(text + "nonsense here\n")
    code, edited, err = hob(*ask, "--graph", graph)
    case("an_error_in_a_dump_has_a_line", code == 1 and re.match(re.escape(graph) + r":\d+:\d+: ", err), err)
    open(schedule, "w").close()
    for option in ("--graph", "--schedule"):
        code, _, err = hob(*ask, option, schedule)
        case("an_empty_file_for_%s_is_1" % option[2:], code == 1 and "empty" in err, err)
    with open(schedule, "w") as f:
        f.write("kernel nobody_knows:\nsplit a.b 4 c d\n")
    code, edited, err = hob(*ask, "--schedule", schedule)
    case("a_schedule_for_no_kernel_is_1", code == 1 and "nobody_knows" in err, err)
    with open(schedule, "w") as f:
        f.write("# mine\nkernel rms_norm_n1:\nsplit out.o 7 a b\n")
    code, edited, err = hob(*ask, "--schedule", schedule)
    case("a_schedule_that_cannot_be_built_has_a_line", code == 1 and err.startswith(schedule + ":2:1: rms_norm_n1: "), err)
    profile = os.path.join(tmp, "p.profile")
    with open(profile, "w") as f:
        f.write("vec = 3\n")
    code, _, err = hob("inspect", "-m", MODEL, "--plan", "--profile", profile)
    case("an_error_in_a_profile_has_a_line", code == 1 and err.startswith(profile + ":1:"), err)


def loading():
    """What a terminal shows while a model loads: each line differs from the one before, and the last is wiped out once."""
    code, shown = terminal.shown([HOB, "run", "-m", MODEL, "-p", "Hello", "-n", "1"], "stderr", stdout=subprocess.DEVNULL)
    lines = re.findall(r"\r(loading [^\r\n]*|[ ]+(?=\r))", shown.decode())
    case("progress_on_a_terminal_changes_with_each_line", code == 0 and len(lines) > 2 and lines.count(" " * 60) == 1
         and lines[-1] == " " * 60 and lines[-2].startswith("loading") and "(100%)" in lines[-2]
         and all(a != b for a, b in zip(lines, lines[1:])), shown)


def chat():
    code, out, err = hob("chat", "-m", MODEL, "-n", "8", stdin=b"My name is Ada.\nWhat is the capital of France?\n/stats\n"
                         b"/reset\n/nothing\n")
    t = out.decode()
    case("chat_takes_several_turns_from_a_pipe", code == 0 and "Paris" in t and not err, (code, t, err))
    case("the_second_turn_reuses_the_first", "of them known" in t, t)
    case("chat_has_commands", "new conversation" in t and "not a command" in t and "/help" in t, t)
    told = [re.findall(r"tokens/s; seed (\d+)\n", hob("chat", "-m", MODEL, "-n", "2", "--temp", "1", *o, stdin=b"Hi\n/stats\n")[1]
                       .decode()) for o in ((), (), ("--seed", "7"))]
    case("chat_tells_the_seed_it_drew", len(told[0]) == len(told[1]) == 1 and told[0] != told[1] and told[2] == ["7"]
         and "; seed" not in t, told)
    p = subprocess.Popen([HOB, "chat", "-m", MODEL, "-n", "0"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                         stderr=subprocess.DEVNULL)
    p.stdin.write(b"Write a very long story about the sea.\n")
    p.stdin.flush()
    first = p.stdout.read(1)
    p.send_signal(signal.SIGINT)
    time.sleep(0.2)
    p.stdin.write(b"/stats\n")
    p.stdin.close()
    rest = p.stdout.read()
    case("ctrl_c_stops_the_answer_and_not_the_program", first and p.wait(60) == 0 and b"answer tokens" in rest, rest[-300:])


def speculate():
    ask = ["run", "-m", MODEL, "-n", "48", "-p", "Repeat this text exactly: The lighthouse keeper wrote down every ship that "
           "passed, its name, its flag and the hour. On the third of March a small boat came in from the north."]
    said = [hob(*ask, "--stats", "--speculate", s) for s in ("off", "5", "auto")]
    case("drafts_do_not_change_the_answer", len({s[1] for s in said}) == 1 and len(said[0][1]) > 80 and not any(s[0] for s in said),
         [s[:2] for s in said])
    right = re.search(r"; (\d+) of (\d+) drafted tokens right", said[1][2])
    case("what_drafts_were_worth_is_told", right and 10 < int(right[1]) <= int(right[2]) and "drafted" not in said[0][2], said[1][2])
    code, out, err = hob("bench", "-m", MODEL, "--speculate", "-n", "32", "--runs", "1", "--json")
    j = json.loads(out or b"{}")
    case("bench_times_drafts", code == 0 and list(j) == ["copying", "fresh"] and j["fresh"]["drafted"] == 0 and all(
        list(v) == ["plain_tps", "drafted_tps", "ratio", "drafted", "accepted"] and v["plain_tps"] > 0 for v in j.values()), (j, err))


def bake(tmp):
    out_file, text = os.path.join(tmp, "small.safetensors"), os.path.join(tmp, "text.txt")
    with open(text, "w") as f:
        f.write("The lighthouse keeper wrote down every ship that passed, its name, its flag and the hour.\n" * 4)
    code, out, err = hob("bake", "-m", MODEL, "-o", out_file, "--size", "88", "--calibrate", text, "--json")
    j = json.loads(out or b"{}")
    size = os.path.getsize(out_file) if os.path.exists(out_file) else 0
    case("bake_keeps_to_the_size", code == 0 and not err and list(j) == ["tensors", "bytes", "before"] and
         80e6 < size <= 88e6 and size == j["bytes"], (code, err, size))
    case("calibrating_weights_every_matrix", j.get("tensors") and
         all(t["weighted"] == ("norm" not in t["name"]) for t in j["tensors"]), j.get("tensors"))
    before, after = [json.loads(hob("eval", "-m", m, "--perplexity", text, "--json")[1] or b"{}")
                     for m in (MODEL, out_file)]
    case("a_baked_file_predicts_nearly_as_well", list(after) == ["perplexity", "tokens", "nats", "windows"] and
         after["tokens"] == before["tokens"] and abs(after["nats"] - before["nats"]) < 0.1, (before, after))
    narrow = json.loads(hob("eval", "-m", MODEL, "--perplexity", text, "--json", "--ctx", "20")[1] or b"{}")
    case("a_long_text_comes_in_windows", narrow.get("tokens") == before["tokens"] and
         narrow["windows"] == -(-before["tokens"] // 20) and narrow["nats"] > before["nats"], narrow)
    code, out, err = hob("run", "-m", out_file, "-p", "Name a colour.", "-n", "8", "--temp", "0")
    case("a_baked_file_chats", code == 0 and len(out.strip()) > 3, (code, out, err))
    code, out, err = hob("inspect", "-m", out_file)
    case("a_baked_file_is_looked_at", code == 0 and b"token_embd.weight: Q5_0" in out, (code, err, out[:200]))
    bad = []
    for args in (["-o", os.path.join(tmp, "none", "x")], ["-o", tmp], ["-o", out_file + "2", "--size", "10"],
                 ["-o", out_file + "2", "--calibrate", os.path.join(tmp, "none")]):
        code, out, err = hob("bake", "-m", MODEL, *args)
        if code != 1 or out or "; " not in err or [f for f in os.listdir(tmp) if f.endswith((".part", "2"))]:
            bad.append((args, code, err))
    case("what_cannot_be_baked_leaves_nothing_behind", not bad, bad)


def written(tmp):
    """What commands write: nothing of the user's is lost, and what cannot be written is told before any work."""
    model, list_file = os.path.join(tmp, "in.gguf"), os.path.join(tmp, "notes.json")
    shutil.copyfile(MODEL, model)
    places = {n: os.path.join(tmp, n) for n in ("link", "pipe", "hard", "text", "none/x")}
    os.symlink(model, places["link"])
    os.mkfifo(places["pipe"])
    os.link(model, places["hard"])
    for path in (places["text"], list_file):
        with open(path, "w") as f:
            f.write("mine")
    before, bad = sorted(os.listdir(tmp)), []
    for path in (model, places["link"], places["pipe"], places["hard"], places["none/x"], tmp, os.devnull):
        for c in (["bake", "-o", path], ["bench", "-p", "2", "-n", "2", "--runs", "1", "--trace", path], ["tune", "--tuned", path]):
            if c[0] == "tune" and path == places["none/x"]:
                continue  # its folder would be made
            code, out, err = hob(c[0], "-m", model, *c[1:], timeout=20)
            if code != 1 or out or not err.startswith(path + ": ") or "; " not in err:
                bad.append((c, code, out[:80], err))
    code, out, err = hob("bake", "-m", model, "-o", places["text"], "--calibrate", places["text"])
    if code != 1 or "read by this very command" not in err:
        bad.append(("calibrate", code, err))
    with open(MODEL, "rb") as a, open(model, "rb") as b:
        same = a.read() == b.read()
    case("what_a_command_reads_and_what_is_no_file_is_not_written_over", not bad and same and sorted(os.listdir(tmp)) == before
         and os.path.islink(places["link"]) and open(places["text"]).read() == "mine", (bad, same, os.listdir(tmp)))
    code, out, err = hob("tune", "-m", model, "--tuned", list_file)
    case("tune_writes_over_lists_alone", code == 1 and not out and err.startswith(list_file + ": ") and open(list_file).read() == "mine",
         (code, err))
    said = [hob("tune", "-m", os.path.join(tmp, "nobody"), "--device", d) for d in ("cpu", "null")]
    case("tune_says_what_it_tunes_before_it_opens_a_model", all(c == 2 and not o and "--device webgpu" in e for c, o, e in said), said)
    code, out, err = hob("tune", "-m", model, "--tuned", "off", env={"HOB_WGPU": os.path.join(tmp, "nobody.so")})
    case("tune_takes_webgpu_and_says_how_to_get_it", code == 1 and not out and "tools/setup webgpu" in err, (code, err))
    out_file = os.path.join(tmp, "stopped.safetensors")
    with open(out_file + ".part", "w") as f:
        f.write("mine")
    before = set(os.listdir(tmp))
    p = subprocess.Popen([HOB, "bake", "-m", model, "-o", out_file], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until = time.time() + 60
    while set(os.listdir(tmp)) == before and p.poll() is None and time.time() < until:
        time.sleep(0.002)
    begun = set(os.listdir(tmp)) - before
    time.sleep(0.05)
    p.send_signal(signal.SIGINT)
    out, err = p.communicate(timeout=60)
    case("ctrl_c_leaves_nothing_of_a_baked_file", len(begun) == 1 and p.returncode == 1 and not out and b"stopped" in err
         and set(os.listdir(tmp)) == before and open(out_file + ".part").read() == "mine", (begun, p.returncode, err, os.listdir(tmp)))
    for path in [model, list_file, out_file + ".part"] + [p for p in places.values() if os.path.lexists(p)]:
        os.remove(path)


def evaluate(tmp):
    tokens = os.path.join(tmp, "ids.json")
    with open(tokens, "w") as f:
        json.dump([504, 3575, 282, 4649, 314, 7042, 30], f)
    code, out, err = hob("eval", "-m", MODEL, "--tokens", tokens, "--json")
    j = json.loads(out or b"{}")
    case("eval_has_the_promised_shape", list(j) == ["top", "logprob", "mean"] and len(j["top"]) == len(j["logprob"]) == 6
         and abs(j["mean"] - sum(j["logprob"]) / 6) < 1e-9 and all(v <= 0 for v in j["logprob"]), (out, err))
    code, one, _ = hob("eval", "-m", MODEL, "--tokens", tokens, "--json", "--rows", "1")
    k = json.loads(one or b"{}")
    case("decode_and_prefill_agree", k.get("top") == j.get("top") and
         max(abs(a - b) for a, b in zip(k["logprob"], j["logprob"])) < 1e-3, one)
    code, both, err = hob("eval", "-m", MODEL, "--tokens", tokens, "--agreement", "--json")
    j = json.loads(both or b"{}")
    case("the_modes_agree_but_are_not_one", code == 0 and j.get("tokens") == 6 and 1e-7 < j["mean_kl"] < 1e-2
         and j["mean_kl"] <= j["largest_kl"] and j["clear_flips"] == 0 and j["clear"] <= 6, (both, err))
    with open(os.path.join(ROOT, "tests", "fixtures", "smol_tokens.json")) as f:
        text = os.path.join(tmp, "text.json")
        with open(text, "w") as out_file:
            json.dump(json.load(f)[:64], out_file)
    kl = [json.loads(hob("eval", "-m", MODEL, "--tokens", text, "--rows", rows, "--agreement", "--json")[1] or b"{}").get("mean_kl") for rows in ("1", "32")]
    case("decode_in_the_fast_mode_is_nearly_the_reference", None not in kl and 0 < kl[0] < 1e-6 and kl[1] < 2e-3, kl)
    p = subprocess.run("cat %s | %s eval -m %s --tokens /dev/stdin --json" % (tokens, HOB, MODEL), shell=True,
                       stdout=subprocess.PIPE)
    case("tokens_come_through_a_pipe", p.stdout == out, p.stdout)
    bad = []
    for content in ("", "[]", "[1]", "[1, 999999]", "{}", "[1, \"a\"]", "[1, 2"):
        with open(tokens, "w") as f:
            f.write(content)
        code, out, err = hob("eval", "-m", MODEL, "--tokens", tokens, "--json")
        if code != 1 or out or not err.startswith(tokens + ": ") or "; " not in err:
            bad.append((content, code, err))
    case("bad_tokens_are_1", not bad, bad)


def inspect():
    code, out, _ = hob("inspect", "-m", MODEL, "--plan", "--json")
    j = json.loads(out or b"{}")
    good = list(j) == ["weight_bytes", "kv_bytes", "regimes"] and all(
        list(r) == ["n", "arena_bytes", "lower_bound_bytes", "buffers"] and all(
            list(b) == ["name", "colour", "offset", "size", "first", "last"] for b in r["buffers"]) for r in j["regimes"])
    case("the_plan_has_the_promised_shape", good and j["weight_bytes"] > 90e6, out[:200])
    for flag in (["--kernels", "wgsl"], ["--kernels", "c"], ["--cost"], ["--walk", "blk.0.attn_q"], ["--dump", "fuse"],
                 ["--show-profile"], ["--plan"], ["--graph"], []):
        code, out, err = hob("inspect", "-m", MODEL, *flag)
        case("inspect_prints_" + "_".join(f.strip("-").replace(".", "_") for f in flag or ["file"]),
             code == 0 and len(out) > 200 and not err, (code, err))
    wgsl = hob("inspect", "-m", MODEL, "--kernels", "wgsl")[1].decode()
    case("wgsl_is_wgsl", wgsl.count("@compute") >= 10 and "@workgroup_size" in wgsl, wgsl[:200])
    code, _, err = hob("inspect", "-m", MODEL, "--walk", "nobody")
    case("a_walk_of_no_tensor_is_1", code == 1 and "nobody" in err, err)


def library(tmp):
    lib = os.path.join(ROOT, "build", "native")
    so = os.path.join(lib, "libhob.so")
    cc = shutil.which("cc") or shutil.which("gcc")
    if not os.path.exists(so) or not cc:
        print("SKIP the_library: build/native/libhob.so or a C compiler is missing")
        return
    names = subprocess.run(["nm", "-D", "--defined-only", so], stdout=subprocess.PIPE, universal_newlines=True).stdout
    names = [l.split()[-1].split("@")[0] for l in names.splitlines() if l.strip()]
    case("only_hob_is_exported", names and all(n.startswith("hob_") for n in names), names[:20])
    source = os.path.join(ROOT, "examples", "chat.c")
    case("the_example_is_short", sum(1 for _ in open(source)) <= 60)
    program = os.path.join(tmp, "chat")
    p = subprocess.run([cc, "-std=c11", "-Wall", "-Wextra", "-Werror", "-I" + os.path.join(ROOT, "include"), source, "-o",
                        program, "-L" + lib, "-lhob", "-Wl,-rpath," + lib], stderr=subprocess.PIPE, universal_newlines=True)
    case("the_example_builds_against_the_header", p.returncode == 0, p.stderr)
    if p.returncode == 0:
        p = subprocess.run([program, MODEL], input=b"What is the capital of \"France\"?\nAnd of Italy?\n",
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=120)
        case("the_example_answers", p.returncode == 0 and b"Paris" in p.stdout and b"Rome" in p.stdout, (p.stdout, p.stderr))


def main():
    if not os.path.exists(HOB):
        print("SKIP the_command: build/hob is not built")
        return
    wrong_use()
    help_pages()
    if not os.path.exists(MODEL):
        print("SKIP the_command_with_a_model: %s is missing" % os.path.relpath(MODEL, ROOT))
        return
    tmp = tempfile.mkdtemp()
    try:
        for part in (lambda: bad_files(tmp), lambda: five_gigabytes(tmp), tokenize, lambda: run(tmp), loading, chat, lambda: evaluate(tmp), speculate, lambda: bake(tmp), lambda: written(tmp), inspect,
                     lambda: library(tmp)):
            try:
                part()
            except (subprocess.TimeoutExpired, ValueError, KeyError, IndexError) as e:
                case("a_part_of_the_suite_ran_through", False, repr(e))
    finally:
        shutil.rmtree(tmp)


sys.exit(main())
