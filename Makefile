# A thin front: what is missing is set up by tools/setup, CMake builds, tools/ does the rest.
# ASK and the other settings reach the programs by the environment, never as text of a recipe.
# What a person writes is taken as it is: `$$(...)` in a question is no call of make's.
SETTINGS := ASK DEVICE N THREADS TEMP JSON PORT T
$(foreach v,$(SETTINGS),$(if $(filter-out undefined,$(origin $v)),$(eval override $v := $$(empty)$$(value $v))))
export $(SETTINGS)
# what set-up left in the project's own environment comes first; what is on the machine is used as it is
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# `make` itself may hold a job server: ninja needs none
JOBS ?= 2
MAKEFLAGS += --no-print-directory
SETUP = python3 tools/setup --quiet

.PHONY: all native wasm web run test check schedules fuzz bench quantiser parity mutate fixtures accept install format asan clean setup

all: native

native:
	@$(SETUP) native
	@cmake --preset native $(CMAKE_QUIET) >/dev/null
	@cmake --build --preset native -j $(JOBS)

CMAKE_QUIET = --log-level=WARNING

asan:
	@$(SETUP) native test
	@cmake --preset asan $(CMAKE_QUIET) >/dev/null
	@cmake --build --preset asan -j $(JOBS)

wasm: native
	@$(SETUP) wasm
	@.venv/bin/python tools/build_wasm.py

web: wasm
	@$(SETUP) web
	@sh tools/build_web.sh

# what the page says goes to standard output, and nothing else does
run:
	@python3 tools/run.py --check
	@python3 tools/setup native wasm web model >&2
	@$(MAKE) web >&2
	@.venv/bin/python tools/run.py

setup:
	@python3 tools/setup native wasm web webgpu model test fuzz neon

test:
	@$(SETUP) --optional native wasm web webgpu model test fuzz neon
	@.venv/bin/python tools/test.py

# 500 random cases for each rule, interpreted; `make test` has 100
schedules: export HOB_CASES := $(or $(HOB_CASES),500)
schedules:
	@$(SETUP) native test
	@.venv/bin/python tools/test.py loop/rules

# texts through our tokenizer and the reference library's; then models in a page against NumPy and the native tool
parity:
	@$(SETUP) native wasm web model test
	@.venv/bin/python tools/test.py tokenizer_parity
	@HOB_FULL=1 ONLY="sampled first answer" sh tests/suites/web.sh
	@HOB_FULL=1 .venv/bin/python tests/suites/forced.py

check: native
	@$(SETUP) --optional check
	@.venv/bin/python tools/check.py

format:
	@clang-format-19 -i $$(git ls-files '*.c' '*.h')

# make fuzz T=gguf [SECONDS=600]
fuzz: export SECONDS_LIMIT := $(or $(SECONDS),600)
fuzz:
	@$(SETUP) native fuzz
	@.venv/bin/python tools/fuzz.py

bench quantiser mutate fixtures accept: native
	@$(SETUP) --optional test model
	@.venv/bin/python tools/$@.py

PREFIX ?= /usr/local
install: native
	@cmake -DCMAKE_INSTALL_PREFIX="$(PREFIX)" build/native >/dev/null
	@cmake --build build/native -j $(JOBS)
	@cmake --install build/native

clean:
	rm -rf build
