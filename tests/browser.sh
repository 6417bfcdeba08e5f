# Sourced by suites that need a browser, from the checkout's root: sets CHROME, or skips the test called $NAME.
if ! command -v node >/dev/null || [ ! -d web/node_modules/playwright-core ]; then
    echo "SKIP $NAME: needs: sudo apt-get install nodejs npm, then python3 tools/setup web"
    exit 0
fi
python3 tools/setup --quiet --optional browser >/dev/null 2>&1
if ! CHROME=$(python3 tools/setup --chrome); then
    echo "SKIP $NAME: needs: sudo apt-get install chromium"
    exit 0
fi
export CHROME
