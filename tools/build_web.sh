#!/bin/sh
# `make web`, after the wasm modules: generated sources, types, the package (web/lib) and the page (web/dist).
# Nothing is done when nothing changed, so that the second `make run` is quick.
set -eu
unset TEMP # a setting of `make run`; programs take it for a folder
cd "$(dirname "$0")/.."
out=build/web.built # written last: a page whose building was cut off is built again
if [ -f "$out" ] && [ -f web/dist/index.html ] && [ -z "$(find web/src web/app web/*.json web/*.ts build/wasm/*.wasm src/base/err.def tools/build_web.sh \
    src/device/webgpu_commands.def -newer "$out" -type f ! -path 'web/src/wasm/*' -print | head -n 1)" ]; then
    exit 0
fi
python3 tools/gen_errors.py
mkdir -p web/src/wasm
rm -f "$out" web/src/wasm/*.wasm
cp build/wasm/hob.wasm build/wasm/kernels_*.wasm web/src/wasm/
cd web
PATH="$PWD/node_modules/.bin:$PATH"
if [ -x node_modules/.bin/wasm-opt ]; then
    # low memory: the far end of the core's stack lies there (tools/build_wasm.py), and no pointer is so small
    wasm-opt -Os --converge --low-memory-unused --enable-bulk-memory --enable-nontrapping-float-to-int --enable-sign-ext --enable-mutable-globals \
        --enable-reference-types --enable-multivalue --strip-debug --strip-producers \
        src/wasm/hob.wasm -o src/wasm/hob.small.wasm
    mv src/wasm/hob.small.wasm src/wasm/hob.wasm
    for f in src/wasm/kernels_*.wasm; do
        wasm-opt -Os --enable-simd --enable-relaxed-simd --enable-bulk-memory --enable-nontrapping-float-to-int --enable-sign-ext \
            --enable-mutable-globals --enable-reference-types --enable-multivalue --strip-debug --strip-producers "$f" -o "${f%.wasm}.small.wasm"
        mv "${f%.wasm}.small.wasm" "$f"
    done
else
    echo "build_web.sh: wasm-opt is not there, so the core stays 4% larger, which is over its limit; python3 tools/setup web"
fi
python3 ../tools/build_wasm.py --share src/wasm/*.wasm
tsc --noEmit
rm -rf lib
tsc -p tsconfig.lib.json
mkdir -p lib/wasm
cp src/wasm/*.wasm lib/wasm/
vite build --logLevel warn
sed '/^export {};$/d' lib/isolate-sw.js >dist/isolate-sw.js # a classic script: not each browser takes modules there
cp dist/isolate-sw.js lib/
cd ..
python3 tools/size.py | tail -n 3
: >"$out"
