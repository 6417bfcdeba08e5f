"""Writes tests/text/fixtures/jinja_cases.json: what Jinja makes of templates and conversations, as the reference.

The environment is that of Hugging Face's transformers: an immutable sandbox with trim_blocks, lstrip_blocks, loop
controls, the generation tag, its tojson, raise_exception and strftime_now (with a clock that stands still). The
templates of tests/text/templates are our own, written after what model families use; that of the default model is
read from its file, where that is there, and only what it makes is kept.
"""
import datetime
import json
import os
import sys

import jinja2
import jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import jinja_texts

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
TEMPLATES = os.path.join(ROOT, "tests", "text", "templates")
OUT = os.path.join(ROOT, "tests", "text", "fixtures", "jinja_cases.json")
MODEL = os.path.join("models", "SmolLM2-135M-Instruct.Q4_1.gguf")
NOW = datetime.datetime(2024, 7, 4, 9, 5, 3)


class Generation(jinja2.ext.Extension):
    tags = {"generation"}

    def parse(self, parser):
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return jinja2.nodes.CallBlock(self.call_method("_said"), [], [], body).set_lineno(line)

    def _said(self, caller):
        return caller()


class Refused(Exception):
    pass


def environment():
    def refuse(message):
        raise Refused(message)

    def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
        return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)

    env = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True,
                                        extensions=[Generation, jinja2.ext.loopcontrols])
    env.filters["tojson"] = tojson
    env.globals["raise_exception"] = refuse
    env.globals["strftime_now"] = NOW.strftime
    return env


TOOLS = [
    {"type": "function", "function": {
        "name": "get_weather", "description": "The weather <at> a place & time\nnow",
        "parameters": {"type": "object", "properties": {
            "place": {"type": "string", "description": "City, \"quoted\""},
            "days": {"type": "integer", "default": 3, "required": True},
            "unit": {"type": "string", "enum": ["celsius", "fahrenheit"], "default": "celsius"},
            "where": {"type": "object", "properties": {"lat": {"type": "number"}, "lon": {"type": "number"}},
                      "required": ["lat"]},
            "tags": {"type": "array", "items": {"type": "array", "items": {"type": "string"}}},
            "either": {"type": ["string", "null"]}},
            "required": ["place"]}}},
    {"type": "function", "function": {"name": "zeit", "description": "Wie spät ist es? 🕐", "parameters": {
        "type": "object", "properties": {}}}},
]


def say(*turns):
    return [{"role": role, "content": content} for role, content in turns]


CALL = {"role": "assistant", "content": "", "tool_calls": [
    {"id": "abcdef123", "type": "function",
     "function": {"name": "get_weather", "arguments": {"place": "Zürich \"Stadt\"", "days": 2, "x": [1.0, None, True]}}}]}
CONVERSATIONS = {
    "one": say(("user", "Why is the sky blue?")),
    "system": say(("system", "You are terse."), ("user", "Hi")),
    "turns": say(("system", "Be kind.\n"), ("user", "  Hello!  "), ("assistant", " Hi there. \n"), ("user", "Who are you?")),
    "answered": say(("user", "2+2?"), ("assistant", "4")),
    "odd_text": say(("user", "naïve 日本語 🙂 <b>&amp;</b> '\"\\ {{ x }} {% if %}\t\r\n end\u00a0"), ("assistant", ""), ("user", "")),
    "thinking": say(("user", "think"), ("assistant", "<think>\nhm\n\n</think>\n\nDone."), ("user", "more /no_think")),
    "wrong_order": say(("user", "a"), ("user", "b")),
    "assistant_first": say(("assistant", "a"), ("user", "b")),
    "unknown_role": say(("user", "a"), ("wizard", "b")),
    "parts": say(("user", [{"type": "text", "text": " What is this? "}, {"type": "image"}, {"type": "text", "text": "And that?"}])),
    "tools": say(("system", "Use tools."), ("user", "Weather?")) + [CALL] + [
        {"role": "tool", "name": "get_weather", "tool_call_id": "abcdef123", "content": "{\"t\": 21.5}"},
        {"role": "assistant", "content": "It is 21.5°."}, {"role": "user", "content": "Thanks"}],
    "two_results": say(("user", "Weather?")) + [CALL] + [
        {"role": "tool", "tool_call_id": "abcdef123", "content": "sun"}, {"role": "tool", "tool_call_id": "abcdef123", "content": "rain"}],
    "no_content": [{"role": "user"}],
    "null_content": [{"role": "user", "content": "x"}, {"role": "assistant", "content": None}],
    "empty": [],
    "system_only": say(("system", "s")),
}
EXTRA = [
    ("qwen_thinking", "thinking", {"enable_thinking": False}),
    ("smollm3_like", "system", {"enable_thinking": False}),
    ("llama31_tools", "tools", {"tools": TOOLS, "tools_in_user_message": False, "date_string": "1 Jan 2025"}),
    ("llama31_tools", "one", {"builtin_tools": ["brave", "code_interpreter", "wolfram"]}),
    ("granite", "one", {"documents": [{"text": "A"}, {"text": "B"}], "controls": {"length": "long"}}),
    ("typescript_tools", "tools", {"tools": TOOLS, "reasoning_effort": "high"}),
]


def variables_of(conversation, prompt, bos, eos):
    return {"messages": CONVERSATIONS[conversation], "tools": None, "documents": None,
            "add_generation_prompt": prompt, "bos_token": bos, "eos_token": eos}


def tried(env, case, text, variables):
    try:
        case["expect"] = env.from_string(text).render(**variables)
    except Refused as e:
        case["refused"] = str(e)
    except Exception:
        case["fails"] = True
    return case


def of_the_model(env):
    """What the default model's template makes; as it was written before where its file is not there."""
    path = os.path.join(ROOT, MODEL)
    if not os.path.exists(path):
        with open(OUT, encoding="utf-8") as f:
            return json.load(f)["model_cases"]
    import gguf_vocab
    text = gguf_vocab.read(path)["tokenizer.chat_template"]
    return [tried(env, {"conversation": c, "prompt": p}, text, variables_of(c, p, "<|im_start|>", "<|im_end|>"))
            for c in CONVERSATIONS for p in (True, False)]


def main():
    env = environment()
    cases = []

    def try_case(case, text, variables):
        cases.append(tried(env, case, text, variables))

    for file in sorted(os.listdir(TEMPLATES)):
        name = file[:-len(".jinja")]
        with open(os.path.join(TEMPLATES, file), encoding="utf-8", newline="") as f:
            text = f.read()
        runs = [(c, {}) for c in CONVERSATIONS] + [(c, {"tools": TOOLS}) for c in ("one", "tools", "two_results")]
        runs += [(c, v) for n, c, v in EXTRA if n == name]
        for conversation, more in runs:
            for prompt in (True, False):
                if more and not prompt and conversation != "tools":
                    continue
                variables = variables_of(conversation, prompt, "<s>", "</s>")
                variables.update(more)
                case = {"template": name, "conversation": conversation, "prompt": prompt}
                if "tools" in more:
                    case["tools"] = True
                    more = {k: v for k, v in more.items() if k != "tools"}
                if more:
                    case["more"] = more
                try_case(case, text, variables)
    named = len(cases)
    for e in jinja_texts.EXPRESSIONS.strip("\n").split("\n"):
        try_case({"text": "{{ " + e + " }}"}, "{{ " + e + " }}", jinja_texts.VALUES)
    for text in jinja_texts.TEMPLATES:
        try_case({"text": text}, text, jinja_texts.VALUES)
    text = "{\"now\": %s,\n" % json.dumps(list(NOW.timetuple()[:6]))
    for key, value in (("conversations", CONVERSATIONS), ("tools", TOOLS), ("values", jinja_texts.VALUES),
                       ("model", MODEL), ("model_cases", of_the_model(env))):
        text += "%s: %s,\n" % (json.dumps(key), json.dumps(value))
    text += "\"cases\": [\n" + ",\n".join(json.dumps(c) for c in cases) + "\n]}\n"
    if sys.argv[1:] == ["--check"]:
        with open(OUT, encoding="utf-8") as f:
            if f.read() != text:
                sys.exit("%s differs; run tools/gen_jinja_cases.py" % os.path.relpath(OUT, ROOT))
        return
    with open(OUT, "w", encoding="utf-8") as f:
        f.write(text)
    print("%s: %d cases of %d templates, %d of the language, %d KB" % (
        os.path.relpath(OUT, ROOT), named, len(os.listdir(TEMPLATES)), len(cases) - named, os.path.getsize(OUT) // 1024))


if __name__ == "__main__":
    main()
