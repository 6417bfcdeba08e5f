#!/bin/sh
# The chat page in a real browser (tests/web/page.mjs); builds the page first when something changed.
cd "$(dirname "$0")/../.." || exit 1
if ! command -v node >/dev/null || [ ! -d web/node_modules/playwright-core ]; then
    echo "SKIP page: needs: sudo apt-get install nodejs npm, then python3 tools/setup web"
    exit 0
fi
python3 tools/setup --quiet --optional browser >/dev/null 2>&1
if [ -z "${CHROME:-}" ]; then
    for name in chromium chromium-browser google-chrome google-chrome-stable chrome microsoft-edge microsoft-edge-stable \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"; do
        if command -v "$name" >/dev/null 2>&1; then CHROME=$(command -v "$name"); break; fi
    done
fi
if [ -z "${CHROME:-}" ]; then
    echo "SKIP page: needs: sudo apt-get install chromium"
    exit 0
fi
export CHROME
if [ ! -f models/SmolLM2-135M-Instruct.Q4_1.gguf ]; then
    echo "SKIP page: needs the model: python3 tools/setup model"
    exit 0
fi
if ! make -s web >build/web-build.log 2>&1; then
    echo "FAIL build: $(tail -n 3 build/web-build.log | tr '\n' ' ')"
    exit 1
fi
exec node tests/web/page.mjs
