// tests/wasm32/setjmp.h: cmocka's tests include it; nothing here jumps.
