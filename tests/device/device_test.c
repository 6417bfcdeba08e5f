// The front of every device: handles, ranges, tickets, what happens when the device is lost.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "device/device.h"

typedef struct Open {
    Arena *arena;
    NullScript script;
    Device *d;
    Err err;
} Open;

static void open_null(Open *o, bool async) {
    *o = (Open){.arena = arena_new(NULL), .script = {.async = async, .poll_after = async ? 2 : 0}};
    DeviceOptions opts = {.self = &o->script};
    assert_true(device_open(o->arena, S("null"), &opts, &o->d, &o->err));
}

static void close_null(Open *o) {
    device_close(o->d);
    arena_free(o->arena);
}

static void an_unknown_device_is_named(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Device *d;
    Err err = {0};
    assert_false(device_open(a, S("abacus"), NULL, &d, &err));
    assert_int_equal(err.id, ERR_DEVICE_UNKNOWN);
    assert_true(str_has(str_c(err.msg), S("abacus")) && str_has(str_c(err.msg), S("cpu")));
    arena_free(a);
}

static void stale_handles_are_errors(void **state) {
    (void)state;
    Open o;
    open_null(&o, false);
    BufferHandle first, second;
    u32 word = 7;
    assert_true(device_buffer_make(o.d, 64, BUF_ARENA, &first, &o.err));
    device_buffer_free(o.d, first);
    device_buffer_free(o.d, first); // nothing happens
    assert_true(device_buffer_make(o.d, 64, BUF_ARENA, &second, &o.err));
    assert_int_equal(handle_index(first.id), handle_index(second.id)); // the place is used again
    assert_int_equal(device_buffer_write(o.d, first, 0, &word, 4, &o.err), 0);
    assert_int_equal(o.err.id, ERR_DEVICE_HANDLE);
    o.err = (Err){0};
    assert_int_not_equal(device_buffer_write(o.d, second, 0, &word, 4, &o.err), 0);
    assert_int_equal(device_buffer_write(o.d, (BufferHandle){0}, 0, &word, 4, &o.err), 0);
    close_null(&o);
}

static void ranges_are_checked_without_overflow(void **state) {
    (void)state;
    Open o;
    open_null(&o, false);
    BufferHandle b;
    u32 words[16] = {0};
    assert_true(device_buffer_make(o.d, 64, BUF_ARENA, &b, &o.err));
    const u64 bad[][2] = {{0, 68},
                          {64, 4},
                          {4, 64},
                          {2, 4},
                          {0, 3},
                          {0, 0},
                          {UINT64_MAX - 3, 8},
                          {8, UINT64_MAX - 3}};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        o.err = (Err){0};
        assert_int_equal(device_buffer_write(o.d, b, bad[i][0], words, bad[i][1], &o.err), 0);
        assert_int_equal(o.err.id, ERR_DEVICE_RANGE);
        o.err = (Err){0};
        assert_int_equal(device_buffer_read(o.d, b, bad[i][0], words, bad[i][1], &o.err), 0);
        assert_int_equal(o.err.id, ERR_DEVICE_RANGE);
    }
    o.err = (Err){0};
    assert_int_not_equal(device_buffer_write(o.d, b, 60, words, 4, &o.err), 0);
    assert_false(device_buffer_make(o.d, 0, BUF_ARENA, &b, &o.err));
    close_null(&o);
}

static void answers_come_in_the_order_of_their_tickets(void **state) {
    (void)state;
    for (int async = 0; async < 2; async++) {
        Open o;
        open_null(&o, async);
        BufferHandle b;
        u32 word = 3, back = 0;
        assert_true(device_buffer_make(o.d, 64, BUF_ARENA, &b, &o.err));
        Ticket w = device_buffer_write(o.d, b, 8, &word, 4, &o.err);
        Ticket r = device_buffer_read(o.d, b, 8, &back, 4, &o.err);
        assert_int_equal(device_outstanding(o.d), 2);
        Ticket got[2] = {0};
        for (int i = 0, n = 0; i < 10 && n < 2; i++) {
            PollResult p = device_poll(o.d);
            if (p.status == POLL_OK) got[n++] = p.ticket;
        }
        assert_int_equal(got[0], w);
        assert_int_equal(got[1], r);
        assert_int_equal(back, 3);
        assert_int_equal(device_poll(o.d).status, POLL_NOTHING);
        close_null(&o);
    }
}

static void a_lost_device_loses_every_ticket_and_refuses_everything(void **state) {
    (void)state;
    Open o;
    open_null(&o, true);
    BufferHandle b;
    u32 word = 0;
    assert_true(device_buffer_make(o.d, 64, BUF_ARENA, &b, &o.err));
    o.script.lose_call = 4;
    for (int i = 0; i < 3; i++)
        assert_int_not_equal(device_buffer_write(o.d, b, 0, &word, 4, &o.err), 0);
    assert_int_equal(device_buffer_write(o.d, b, 0, &word, 4, &o.err), 0);
    assert_int_equal(o.err.id, ERR_DEVICE_LOST);
    for (int i = 0; i < 3; i++) {
        PollResult p = device_poll(o.d);
        assert_int_equal(p.status, POLL_LOST);
        assert_int_equal(p.error, ERR_DEVICE_LOST);
    }
    assert_int_equal(device_poll(o.d).status, POLL_NOTHING);
    o.err = (Err){0};
    BufferHandle c;
    assert_false(device_buffer_make(o.d, 64, BUF_ARENA, &c, &o.err));
    assert_int_equal(o.err.id, ERR_DEVICE_LOST);
    close_null(&o);
}

static void too_many_unpolled_tickets_are_refused(void **state) {
    (void)state;
    Open o;
    open_null(&o, true);
    BufferHandle b;
    u32 word = 0;
    assert_true(device_buffer_make(o.d, 64, BUF_ARENA, &b, &o.err));
    for (int i = 0; i < TICKETS_MAX; i++)
        assert_int_not_equal(device_buffer_write(o.d, b, 0, &word, 4, &o.err), 0);
    assert_int_equal(device_buffer_write(o.d, b, 0, &word, 4, &o.err), 0);
    assert_int_equal(o.err.id, ERR_DEVICE_LIMIT);
    ProgKernel kernel = {.name = S("k"), .nbind = 1, .wg = {1, 1, 1}};
    KernelHandle first = {0}, k;
    Ticket t;
    for (int i = 0; i < 100; i++) {
        o.err = (Err){0};
        assert_false(device_kernel_make(o.d, &kernel, &k, &t, &o.err));
        assert_int_equal(o.err.id, ERR_DEVICE_LIMIT);
    }
    o.err = (Err){0};
    while (device_outstanding(o.d) > 0) device_poll(o.d);
    assert_true(device_kernel_make(o.d, &kernel, &first, &t, &o.err));
    assert_int_equal(first.id & 0xffff, 1); // what was refused has kept no handle
    close_null(&o);
}

// ---- a program on the processor: one interpreted kernel that adds one to each word of its range ----

static bool add_one(void *user, Arena *scratch, const ProgKernel *k, void *const *arg,
                    const u64 *bytes, const i32 *dims, const u32 grid[3], Err *err) {
    (void)user, (void)scratch, (void)k, (void)err;
    const i32 *params = arg[0];
    assert_int_equal(bytes[1], 128);
    assert_int_equal(dims[0], 5);
    for (u32 i = 0; i < grid[0]; i++) ((i32 *)arg[1])[i] += params[PARAM_T];
    return true;
}

static void said(void *user, Str line) {
    ++*(int *)user;
    assert_true(str_has(line, S("add_one")));
}

static void the_processor_runs_steps_with_the_params_of_their_slot(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Err err = {0};
    int lines = 0;
    Device *d;
    DeviceOptions opts = {.threads = 2, .interp = add_one, .log = said, .user = &lines};
    assert_true(device_open(a, S("cpu"), &opts, &d, &err));
    ProgKernel kernel = {.name = S("add_one"),
                         .nest_key = 1,
                         .nbind = 2,
                         .writes = {false, true},
                         .ir = (const void *)a};
    ProgBuffer buffers[3] = {{.name = S("params")}, {.name = S("ring")}, {.name = S("data")}};
    Step step = {.name = S("s"),
                 .bind = {{0, 0, 64}, {2, 64, 128}},
                 .dims = {5},
                 .grid = {{8, 0, 1, 1, false}, {0, 1, 1, 1, false}, {0, 1, 1, 1, false}}};
    Program p = {.ctx = 8,
                 .chunk = 4,
                 .m_max = 1,
                 .vocab = 4,
                 .nkernels = 1,
                 .nbuffers = 3,
                 .kernels = &kernel,
                 .buffers = buffers,
                 .buf_params = 0,
                 .buf_ring = 1,
                 .buf_logits = 2};
    buffers[0].size = round_up(program_param_words(&p) * 4, 64) * PARAM_SLOTS;
    buffers[1].size = TOKEN_RING * 4;
    buffers[2].size = 256;
    p.regimes[REGIME_FEW] =
        (Regime){.n = 4, .m = 1, .nsteps = 1, .head = 1, .greedy = 1, .sample = 1, .steps = &step};
    BufferHandle bh[3];
    for (int i = 0; i < 3; i++)
        assert_true(device_buffer_make(d, buffers[i].size, BUF_ARENA, &bh[i], &err));
    KernelHandle kh;
    Ticket t;
    assert_true(device_kernel_make(d, &kernel, &kh, &t, &err));
    DeviceBind bind = {&p, bh, &kh};
    BoundHandle bound;
    assert_true(device_bind(d, &bind, &bound, &err));
    i32 params[64] = {0};
    const Submit right = {.bound = bound,
                          .regime = REGIME_FEW,
                          .last = 1,
                          .n = 3,
                          .t = 4,
                          .params = params,
                          .read_ring = -1};
    for (int i = 0; i < 3; i++) {
        StepTime times[2] = {{-1, -1}, {-1, -1}};
        params[PARAM_T] = 4 + i;
        Submit s = right;
        s.slot = i;
        if (i == 1) s.times = times;
        assert_int_not_equal(device_submit(d, &s, &err), 0);
        assert_true(i == 1 ? times[0].begin >= 0 && times[0].end >= times[0].begin
                           : times[0].begin < 0);
        assert_true(times[1].begin < 0); // there is but one step
    }
    assert_int_equal(d->submits, 3);
    i32 back[64];
    assert_int_not_equal(device_buffer_read(d, bh[2], 0, back, 256, &err), 0);
    while (device_poll(d).status == POLL_OK) {
    }
    assert_int_equal(back[15], 0);
    for (int i = 0; i < 24; i++) // 8 * n, from byte 64 on
        assert_int_equal(back[16 + i], 4 + 5 + 6);
    assert_int_equal(back[16 + 24], 0);
    assert_int_equal(lines, 1); // said once, not three times

    // what is not in the program is refused before the device sees it
    for (int i = 0; i < 8; i++) {
        Submit s = right;
        switch (i) {
        case 0: s.last = 2; break;
        case 1: s.n = s.t = 5; break;
        case 2: s.t = 9; break;
        case 3: s.t = 2; break;
        case 4: s.m = 2; break;
        case 5: s.regime = 7; break;
        case 6: s.read_ring = TOKEN_RING; break;
        case 7: s.slot = PARAM_SLOTS; break;
        }
        err = (Err){0};
        assert_int_equal(device_submit(d, &s, &err), 0);
        assert_int_equal(err.id, ERR_DEVICE_RANGE);
    }
    err = (Err){0};
    Binding good = step.bind[1];
    step.bind[1] = (Binding){2, 192, 128}; // past the buffer's end
    assert_false(device_bind(d, &bind, &bound, &err));
    assert_int_equal(err.id, ERR_DEVICE_RANGE);
    step.bind[1] = good;
    device_close(d);
    arena_free(a);
}

static void steps_that_a_device_cannot_time_are_refused(void **state) {
    (void)state;
    Open o;
    open_null(&o, false);
    ProgKernel kernel = {.name = S("k"), .nbind = 1, .wg = {1, 1, 1}};
    ProgBuffer buffers[2] = {{.size = 256 * PARAM_SLOTS}, {.size = TOKEN_RING * 4}};
    Step step = {.name = S("s"), .bind = {{1, 0, 64}}};
    Program p = {.ctx = 8,
                 .chunk = 4,
                 .m_max = 1,
                 .vocab = 4,
                 .nkernels = 1,
                 .nbuffers = 2,
                 .kernels = &kernel,
                 .buffers = buffers,
                 .buf_ring = 1,
                 .buf_logits = 1};
    p.regimes[REGIME_ROW] = (Regime){.n = 1, .m = 1, .nsteps = 1, .steps = &step};
    BufferHandle bh[2];
    KernelHandle kh;
    BoundHandle bound;
    Ticket t;
    for (int i = 0; i < 2; i++)
        assert_true(device_buffer_make(o.d, buffers[i].size, BUF_ARENA, &bh[i], &o.err));
    assert_true(device_kernel_make(o.d, &kernel, &kh, &t, &o.err));
    assert_true(device_bind(o.d, &(DeviceBind){&p, bh, &kh}, &bound, &o.err));
    i32 params[64] = {0};
    StepTime times[1];
    Submit s = {.bound = bound, .n = 1, .t = 1, .params = params, .read_ring = -1};
    s.times = times;
    assert_int_equal(o.d->timed, 0);
    assert_int_not_equal(device_submit(o.d, &s, &o.err), 0); // no step, nothing to time
    s.last = 1;
    assert_int_equal(device_submit(o.d, &s, &o.err), 0);
    assert_int_equal(o.err.id, ERR_DEVICE_RANGE);
    s.times = NULL;
    assert_int_not_equal(device_submit(o.d, &s, &o.err), 0);
    close_null(&o);
}

// ---- threads that are others' to start ----------------------------------------------------------

static u32 shared_among;   // threads, of the last range that was shared; its kernel is not run
static double planted[13]; // ms that a range takes with so many

static bool share_told(KernelFn fn, void *const *arg, const i32 *dims, u32 extent, u32 pieces,
                       u32 threads) {
    assert_true(fn && arg && dims);
    assert_int_equal(extent % 64, 0);
    assert_true(pieces > 1);
    shared_among = threads;
    for (double start = clock_ms(); clock_ms() - start < planted[threads];) {
    }
    return true;
}

// With how many threads a row runs once their number is settled; another step has all twelve.
static u32 settles_at(const double *ms, bool paced, int nsteps) {
    memcpy(planted, ms, sizeof planted);
    Arena *a = arena_new(NULL);
    Err err = {0};
    Device *d;
    DeviceOptions opts = {.threads = 12, .share = share_told, .paced = paced};
    assert_true(device_open(a, S("cpu"), &opts, &d, &err));
    ProgKernel kernel = {.name = S("any"),
                         .nest_key = cpu_kernels().at[0].at[0].nest_key,
                         .nbind = 1,
                         .writes = {true}};
    ProgBuffer buffers[3] = {{.name = S("params")}, {.name = S("ring")}, {.name = S("data")}};
    Step step[8];
    for (int i = 0; i < 8; i++)
        step[i] = (Step){.name = S("s"),
                         .bind = {{2, 0, 64}},
                         .bytes = 10000000,
                         .grid = {{64, 0, 1, 1, false}, {0, 1, 1, 1, false}, {0, 1, 1, 1, false}}};
    Program p = {.ctx = 8,
                 .chunk = 4,
                 .m_max = 1,
                 .vocab = 4,
                 .nkernels = 1,
                 .nbuffers = 3,
                 .kernels = &kernel,
                 .buffers = buffers,
                 .buf_params = 0,
                 .buf_ring = 1,
                 .buf_logits = 2};
    buffers[0].size = round_up(program_param_words(&p) * 4, 64) * PARAM_SLOTS;
    buffers[1].size = TOKEN_RING * 4;
    buffers[2].size = 64;
    p.regimes[REGIME_FEW] = (Regime){.n = 4,
                                     .m = 1,
                                     .nsteps = nsteps,
                                     .head = nsteps,
                                     .greedy = nsteps,
                                     .sample = nsteps,
                                     .steps = step};
    BufferHandle bh[3];
    for (int i = 0; i < 3; i++)
        assert_true(device_buffer_make(d, buffers[i].size, BUF_ARENA, &bh[i], &err));
    KernelHandle kh;
    Ticket t;
    assert_true(device_kernel_make(d, &kernel, &kh, &t, &err));
    DeviceBind bind = {&p, bh, &kh};
    BoundHandle bound;
    assert_true(device_bind(d, &bind, &bound, &err));
    i32 params[64] = {0};
    Submit s = {.bound = bound,
                .regime = REGIME_FEW,
                .last = nsteps,
                .n = 1,
                .t = 1,
                .params = params,
                .read_ring = -1};
    for (int i = 0; i < 32; i++) assert_int_not_equal(device_submit(d, &s, &err), 0);
    u32 row = shared_among;
    s.n = s.t = 3;
    assert_int_not_equal(device_submit(d, &s, &err), 0);
    assert_int_equal(shared_among, 12);
    device_close(d);
    arena_free(a);
    return row;
}

static void a_row_has_as_many_threads_as_prove_fastest(void **state) {
    (void)state;
    const double half[13] = {[12] = 0.2, [6] = 0.02, [3] = 0.2},
                 few[13] = {[12] = 0.2, [6] = 0.2, [3] = 0.02},
                 all[13] = {[12] = 0.02, [6] = 0.2, [3] = 0.02};
    assert_int_equal(settles_at(half, true, 8), 6);
    assert_int_equal(settles_at(few, true, 8), 3);
    assert_int_equal(settles_at(all, true, 8), 12);
    assert_int_equal(settles_at(few, false, 8), 12); // their number was asked for
    assert_int_equal(settles_at(few, true, 2), 12);  // no token: a kernel's check
}

static void a_missing_kernel_without_an_interpreter_is_an_error(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Err err = {0};
    Device *d;
    assert_true(device_open(a, S("cpu"), NULL, &d, &err));
    ProgKernel kernel = {.name = S("nobody_has_this"), .nest_key = 12345, .nbind = 1};
    KernelHandle k;
    Ticket t;
    assert_false(device_kernel_make(d, &kernel, &k, &t, &err));
    assert_int_equal(err.id, ERR_DEVICE_KERNEL);
    assert_int_equal(device_outstanding(d), 0);
    device_close(d);
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_unknown_device_is_named),
        cmocka_unit_test(stale_handles_are_errors),
        cmocka_unit_test(ranges_are_checked_without_overflow),
        cmocka_unit_test(answers_come_in_the_order_of_their_tickets),
        cmocka_unit_test(a_lost_device_loses_every_ticket_and_refuses_everything),
        cmocka_unit_test(too_many_unpolled_tickets_are_refused),
        cmocka_unit_test(the_processor_runs_steps_with_the_params_of_their_slot),
        cmocka_unit_test(steps_that_a_device_cannot_time_are_refused),
        cmocka_unit_test(a_row_has_as_many_threads_as_prove_fastest),
        cmocka_unit_test(a_missing_kernel_without_an_interpreter_is_an_error),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
