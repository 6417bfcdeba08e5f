// api/wasm_math.h: in a page, exp, log, sin, cos and pow are JavaScript's own.
//
// Included before every source of the core (tools/build_wasm.py). The C library's versions with
// their tables would be a twentieth of the core; these few are called for a rope's frequencies, a
// kernel's check, a template's `**` and forced decoding, never to make a token. Kernels do not see
// this file.
#ifndef HOB_WASM_MATH_H
#define HOB_WASM_MATH_H

#include <math.h>

#define JS_MATH(name) __attribute__((import_module("env"), import_name(#name)))
JS_MATH(exp) double hob_js_exp(double x);
JS_MATH(log) double hob_js_log_of(double x);
JS_MATH(sin) double hob_js_sin(double x);
JS_MATH(cos) double hob_js_cos(double x);
JS_MATH(pow) double hob_js_pow(double x, double y);
#define exp(x)    hob_js_exp(x)
#define log(x)    hob_js_log_of(x)
#define sin(x)    hob_js_sin(x)
#define cos(x)    hob_js_cos(x)
#define pow(x, y) hob_js_pow(x, y)

#endif
