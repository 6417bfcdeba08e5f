#!/bin/sh
# The chat page in a real browser (tests/web/page.mjs); builds the page first when something changed.
cd "$(dirname "$0")/../.." || exit 1
NAME=page
. tests/browser.sh
if [ ! -f models/SmolLM2-135M-Instruct.Q4_1.gguf ]; then
    echo "SKIP page: needs the model: python3 tools/setup model"
    exit 0
fi
if ! make -s web >build/web-build.log 2>&1; then
    echo "FAIL build: $(tail -n 3 build/web-build.log | tr '\n' ' ')"
    exit 1
fi
exec node tests/web/page.mjs
