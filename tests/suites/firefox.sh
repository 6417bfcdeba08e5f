#!/bin/sh
# The chat page in Firefox (tests/web/firefox.mjs), on the CPU and on WebGPU over Mesa's software driver.
cd "$(dirname "$0")/../.." || exit 1
NAME=firefox
. tests/browser.sh
python3 tools/setup --quiet --optional firefox >/dev/null 2>&1
if ! FIREFOX=$(python3 tools/setup --firefox); then
    echo "SKIP firefox: needs: sudo apt-get install firefox-esr libvulkan1 mesa-vulkan-drivers"
    exit 0
fi
export FIREFOX
. tests/page.sh
exec node tests/web/firefox.mjs
