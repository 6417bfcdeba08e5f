"""`make fixtures`: what NumPy and the reference libraries make for the tests: golden values, tiny models and
vocabularies, the reference of the real model.

tests/golden/quant, tests/golden/ops, tests/fixtures and tests/text/fixtures are committed and only change when a maker does;
build/fixtures/tiny is made anew by whoever needs it. The real model's part is left out where its file is not there.
"""
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
MODEL = os.path.join(ROOT, "models", "SmolLM2-135M-Instruct.Q4_1.gguf")


def make(script, *arguments):
    subprocess.run([sys.executable, os.path.join(ROOT, "tools", script)] + list(arguments), check=True)


make("make_quant_golden.py")
make("make_op_golden.py")
make("make_tiny_llamas.py")
make("make_tokenizer_fixtures.py")
if os.path.exists(MODEL):
    make("make_smol_reference.py", MODEL)
else:
    print("%s is not there; `make setup` fetches it" % os.path.relpath(MODEL))
