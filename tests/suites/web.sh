#!/bin/sh
# The chat page in a real browser (tests/web/page.mjs); builds the page first when something changed.
cd "$(dirname "$0")/../.." || exit 1
NAME=page
. tests/browser.sh
. tests/page.sh
exec node tests/web/page.mjs
