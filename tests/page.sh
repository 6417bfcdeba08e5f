# Sourced by suites that open the page, from the checkout's root: skips the test called $NAME where the model is missing,
# and builds the page when something changed.
if [ ! -f models/SmolLM2-135M-Instruct.Q4_1.gguf ]; then
    echo "SKIP $NAME: needs the model: python3 tools/setup model"
    exit 0
fi
if ! make -s web >build/web-build.log 2>&1; then
    echo "FAIL build: $(tail -n 3 build/web-build.log | tr '\n' ' ')"
    exit 1
fi
