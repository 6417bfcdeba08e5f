// tests/loop/fields_test.c: a shift moves from the lanes of a field to the number that multiplies
// it, where that is exact and cheaper; nowhere else.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "loop/loop.h"

static void becomes_on(const Profile *p, const char *from, const char *to) {
    Arena *a = arena_new(NULL);
    Err e = {0};
    Str text = str_fmt(
        a,
        "kernel k\n  arg w: u32[64]\n  arg x: f32[64]\n  arg y: f32[64] written\n  grid 8\n"
        "  for cpu o in 0..8 {\n    reg r: f32[8]\n    for vec l in 0..8 {\n      r[l] = x[l]\n"
        "      y[o*8 + l] = %s\n    }\n    y[o] = x[o] * f32(w[o] >> 4u & 15u)\n  }\n",
        from);
    Kernel *k = kernel_read(a, text, S("fields"), &e);
    if (!k) fail_msg("%s", e.msg);
    kernel_fields(a, k, p);
    Buf b = {.arena = a};
    kernel_print(k, &b);
    if (!str_has(buf_str(&b), str_fmt(a, "y[o*8 + l] = %s\n", to))) fail_msg("%s", b.ptr);
    assert_true(str_has(buf_str(&b),
                        S("y[o] = x[o] * f32(w[o] >> 4u & 15u)"))); // no lanes: nothing to gain
    arena_free(a);
}

static void becomes(const char *from, const char *to) {
    const Profile p = {0};
    becomes_on(&p, from, to);
}

static void a_field_is_masked_where_it_lies(void **state) {
    (void)state;
    becomes("x[o] * f32(w[l] >> 4u & 15u)", "x[o] * 0x1p-4f * f32(w[l] & 240u)");
    becomes("f32(w[l] >> 24u & 15u) * x[o + 1]", "x[o + 1] * 0x1p-24f * f32(w[l] & 251658240u)");
    becomes("x[l] + x[o] * (f32(w[l] >> 8u & 255u))", "x[l] + x[o] * 0x1p-8f * f32(w[l] & 65280u)");
}

static void where_shifts_are_dear_the_last_field_is_too(void **state) {
    (void)state;
    const Profile p = {.slow_shift = 1};
    becomes_on(&p, "x[o] * f32(w[l] >> 28u & 15u)", "x[o] * 0x1p-28f * f32(w[l] & 4026531840u)");
    becomes_on(&p, "x[o] * f32(w[l] >> 24u)", "x[o] * 0x1p-24f * f32(w[l] & 4278190080u)");
    becomes_on(&p, "x[o] * f32(w[l] >> 3u & 33554431u)", "x[o] * f32(w[l] >> 3u & 33554431u)");
    becomes_on(&p, "x[o] * f32(w[l] >> 4u)", "x[o] * f32(w[l] >> 4u)"); // more bits than a float's
}

static void a_field_that_gains_nothing_stays(void **state) {
    (void)state;
    static const char *const same[] = {
        "x[l] * f32(w[l] >> 4u & 15u)",  // another factor in each lane
        "r[0] * f32(w[l] >> 4u & 15u)",  // a register: what is in it differs
        "x[o] * f32(w[l] >> 28u & 15u)", // reaches the sign
        "x[o] * f32(w[l] >> 24u)",
        "x[o] * f32(w[l] & 15u)",             // nothing to shift
        "x[o] * f32(w[l] >> 3u & 33554431u)", // more bits than a float holds
        "x[o] + f32(w[l] >> 4u & 15u)",
    };
    for (size_t i = 0; i < COUNT_OF(same); i++) becomes(same[i], same[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_field_is_masked_where_it_lies),
        cmocka_unit_test(where_shifts_are_dear_the_last_field_is_too),
        cmocka_unit_test(a_field_that_gains_nothing_stays),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
