#!/bin/sh
# Printed WGSL of every rule on unlike profiles, run in a headless Chromium, against the float64 referee: 40 random
# (shape, parameter) cases for each rule, HOB_CASES for another number (tests/emit/wgsl_cases.c, tests/web/kernels.mjs).
cd "$(dirname "$0")/../.." || exit 1
NAME=printed_wgsl
. tests/browser.sh
mkdir -p build/tests/wgsl
if ! { cmake --preset native --log-level=ERROR && cmake --build --preset native -j 2 --target hob_core &&
    ${CC:-cc} -std=c11 -D_DEFAULT_SOURCE -O1 -Isrc tests/emit/wgsl_cases.c build/native/libhob_core.a \
        -o build/tests/wgsl_cases -lm -lpthread; } >build/tests/wgsl/build.log 2>&1; then
    echo "FAIL build: $(grep -m 3 error build/tests/wgsl/build.log | tr '\n' ' ')"
    exit 1
fi
if ! build/tests/wgsl_cases "${HOB_CASES:-40}" "${HOB_SEED:-1}" build/tests/wgsl 2>build/tests/wgsl/build.log; then
    echo "FAIL kernels_are_printed: $(tail -n 1 build/tests/wgsl/build.log)"
    exit 1
fi
node tests/web/kernels.mjs build/tests/wgsl || exit
# what this browser's adapter has not: 16-bit floats, on Mesa's software driver
if FIREFOX=$(python3 tools/setup --firefox); then
    export FIREFOX
    CHROME= ONLY="with f16" exec node tests/web/kernels.mjs build/tests/wgsl
fi
echo "SKIP printed_wgsl_with_16_bit_floats: needs: sudo apt-get install firefox-esr libvulkan1 mesa-vulkan-drivers"
