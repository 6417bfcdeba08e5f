// Loading: joined and woven weights land where the program says, through any window; a 5 GB file is
// read at its end.
#define _POSIX_C_SOURCE 200809L
#include "fake.h"

enum { K = 32, ROWS_A = 5, ROWS_B = 4, VECTOR = 16 };

// A GGUF file of three F32 tensors: a [5 x 32], b [4 x 32], v [16]; a's element (r, k) is r +
// k/1000, b's 100 + that.
typedef struct Small {
    u8 bytes[8192];
    size_t n;
} Small;

static void put(Small *s, const void *p, size_t n) {
    memcpy(s->bytes + s->n, p, n);
    s->n += n;
}

static void put_u64(Small *s, u64 v) { put(s, &v, 8); }
static void put_u32(Small *s, u32 v) { put(s, &v, 4); }

static void put_tensor(Small *s, const char *name, u64 k, u64 rows, u64 off) {
    put_u64(s, strlen(name));
    put(s, name, strlen(name));
    put_u32(s, rows ? 2 : 1);
    put_u64(s, k);
    if (rows) put_u64(s, rows);
    put_u32(s, 0); // F32
    put_u64(s, off);
}

static void small_file(Small *s) {
    s->n = 0;
    put(s, "GGUF", 4);
    put_u32(s, 3);
    put_u64(s, 3);
    put_u64(s, 0);
    put_tensor(s, "a", K, ROWS_A, 0);
    put_tensor(s, "b", K, ROWS_B, 640);
    put_tensor(s, "v", VECTOR, 0, 640 + 512);
    s->n = (s->n + 31) / 32 * 32;
    for (int i = 0; i < (ROWS_A + ROWS_B) * K; i++) {
        int row = i / K;
        float f = (float)(row < ROWS_A ? row : 100 + row - ROWS_A) + (float)(i % K) / 1000;
        put(s, &f, 4);
    }
    for (int i = 0; i < VECTOR; i++) {
        float f = (float)i;
        put(s, &f, 4);
    }
}

static bool read_small(Source *s, u64 off, void *dst, size_t n) {
    const Small *f = s->user;
    if (off > f->n || n > f->n - off) return false;
    memcpy(dst, f->bytes + off, n);
    return true;
}

// Rows of a and b, then padding, woven by 4: as the program asks for them.
static void load_with_window(u32 window, u32 row_step, bool mapped) {
    static Small file;
    small_file(&file);
    Fake f;
    fake_open(&f, false);
    engine_free(f.engine);
    Source src = source_memory(file.bytes, file.n, S("small"));
    if (!mapped)
        src = (Source){.size = file.n, .read = read_small, .user = &file, .name = S("small")};
    Gguf *g;
    assert_true(gguf_open(f.arena, &src, &g, &f.err));
    u32 rows = row_step == 2 ? 9 : ROWS_A + ROWS_B; // a at 0, 2, 4, 6, 8 and b at 1, 3, 5, 7
    Weight w[2] = {
        {.name = S("ab"),
         .encoding = QUANT_F32,
         .rows = rows,
         .cols = K,
         .interleave = 4,
         .nseg = 2,
         .buffer = 4,
         .offset = 64,
         .size = 12 * K * 4},
        {.name = S("v"),
         .encoding = QUANT_F32,
         .rows = 1,
         .cols = VECTOR,
         .interleave = 1,
         .nseg = 1,
         .buffer = 4,
         .offset = 64 + 12 * K * 4,
         .size = VECTOR * 4},
    };
    w[0].seg[0] = (WeightSegment){S("a"), 0, ROWS_A, row_step};
    w[0].seg[1] = (WeightSegment){S("b"), row_step == 2 ? 1 : ROWS_A, ROWS_B, row_step};
    w[1].seg[0] = (WeightSegment){S("v"), 0, 1, 1};
    ProgBuffer buffers[5];
    memcpy(buffers, f.buffer, sizeof f.buffer);
    buffers[4] = (ProgBuffer){.name = S("weights"), .kind = BUF_WEIGHT, .size = 4096};
    f.program.buffers = buffers;
    f.program.nbuffers = 5;
    f.program.weights = w;
    f.program.nweights = 2;
    f.program.weight_bytes = w[0].size + w[1].size;
    EngineDesc d = {.device = f.device, .program = &f.program, .file = g, .window = window};
    assert_true(engine_new(f.arena, &d, &f.engine, &f.err));
    EngineState state = ENGINE_WORKING;
    for (LoadProgress done = {0}; state != ENGINE_DONE;) {
        state = engine_load_step(f.engine, &done, &f.err);
        if (state == ENGINE_FAILED) fail_msg("%s", f.err.msg);
        // a device that makes its pipelines at its leisure knows them before weights come
        if (done.done && !engine_bind(f.engine)->program) fail_msg("weights come before the steps");
    }
    static float got[1024];
    assert_true(
        device_buffer_read(f.device, engine_bind(f.engine)->buffers[4], 0, got, 4096, &f.err));
    for (u32 r = 0; r < 12; r++) {
        for (u32 k = 0; k < K; k++) {
            bool from_b = row_step == 2 ? r % 2 == 1 : r >= ROWS_A;
            u32 row = row_step == 2 ? r / 2 : from_b ? r - ROWS_A : r;
            float want = r >= rows ? 0 : (float)(from_b ? 100 + row : row) + (float)k / 1000;
            float is = got[16 + ((r / 4) * K + k) * 4 + r % 4];
            if (is != want) fail_msg("row %u, k %u: %f, not %f", r, k, (double)is, (double)want);
        }
    }
    for (u32 i = 0; i < VECTOR; i++) assert_true(got[16 + 12 * K + i] == (float)i);
    fake_close(&f);
}

typedef struct Watched {
    Small file;
    u64 data, last; // where tensors begin; the last read of them
    int back;       // reads that went back
} Watched;

static bool read_watched(Source *s, u64 off, void *dst, size_t n) {
    Watched *w = s->user;
    if (w->data && off < w->last) w->back++;
    w->last = off;
    memcpy(dst, w->file.bytes + off, n);
    return true;
}

// A download brings them so.
static void weights_come_in_the_files_order(void **state) {
    (void)state;
    static Watched watched;
    small_file(&watched.file);
    Fake f;
    fake_open(&f, false);
    engine_free(f.engine);
    Source src = {
        .size = watched.file.n, .read = read_watched, .user = &watched, .name = S("watched")};
    Gguf *g;
    assert_true(gguf_open(f.arena, &src, &g, &f.err));
    static const Str names[3] = {{"v", 1}, {"a", 1}, {"b", 1}};
    const u32 rows[3] = {1, ROWS_A, ROWS_B}, cols[3] = {VECTOR, K, K};
    Weight w[3];
    u64 at = 0;
    for (int i = 0; i < 3; i++) {
        w[i] = (Weight){.name = names[i],
                        .encoding = QUANT_F32,
                        .rows = rows[i],
                        .cols = cols[i],
                        .interleave = 1,
                        .nseg = 1,
                        .buffer = 4,
                        .offset = at,
                        .size = (u64)rows[i] * cols[i] * 4};
        w[i].seg[0] = (WeightSegment){names[i], 0, rows[i], 1};
        at += w[i].size;
    }
    ProgBuffer buffers[5];
    memcpy(buffers, f.buffer, sizeof f.buffer);
    buffers[4] = (ProgBuffer){.name = S("weights"), .kind = BUF_WEIGHT, .size = 4096};
    f.program.buffers = buffers;
    f.program.nbuffers = 5;
    f.program.weights = w;
    f.program.nweights = 3;
    f.program.weight_bytes = at;
    EngineDesc d = {.device = f.device, .program = &f.program, .file = g, .window = 512};
    assert_true(engine_new(f.arena, &d, &f.engine, &f.err));
    watched.data = 1;
    watched.last = 0;
    assert_int_equal(fake_load(&f), ENGINE_DONE);
    assert_int_equal(watched.back, 0);
    assert_true(watched.last == gguf_tensor(g, S("v"))->off);
    float got[VECTOR];
    assert_true(device_buffer_read(f.device, engine_bind(f.engine)->buffers[4], 0, got, sizeof got,
                                   &f.err));
    for (int i = 0; i < VECTOR; i++) assert_true(got[i] == (float)i);
    fake_close(&f);
}

static void weights_land_woven_through_any_window(void **state) {
    (void)state;
    const u32 windows[] = {1, 600, 1100, 1 << 20};
    for (size_t i = 0; i < COUNT_OF(windows); i++)
        for (int mapped = 0; mapped < 2; mapped++) {
            load_with_window(windows[i], 1, mapped);
            load_with_window(windows[i], 2, mapped);
        }
}

static void a_tensor_that_does_not_fit_is_named(void **state) {
    (void)state;
    static Small file;
    small_file(&file);
    const WeightSegment wrong[] = {{S("nobody"), 0, 5, 1}, {S("a"), 0, 4, 1}, {S("v"), 0, 1, 1}};
    for (size_t i = 0; i < COUNT_OF(wrong); i++) {
        Fake f;
        fake_open(&f, false);
        engine_free(f.engine);
        Source src = source_memory(file.bytes, file.n, S("small"));
        Gguf *g;
        assert_true(gguf_open(f.arena, &src, &g, &f.err));
        Weight w = {.name = S("w"),
                    .encoding = QUANT_F32,
                    .rows = wrong[i].rows,
                    .cols = K,
                    .interleave = 1,
                    .nseg = 1,
                    .buffer = 3,
                    .size = K * 4};
        w.seg[0] = wrong[i];
        f.program.weights = &w;
        f.program.nweights = 1;
        EngineDesc d = {.device = f.device, .program = &f.program, .file = g};
        assert_true(engine_new(f.arena, &d, &f.engine, &f.err));
        assert_int_equal(fake_load(&f), ENGINE_FAILED);
        assert_int_equal(f.err.id, ERR_ENGINE_WEIGHT);
        assert_memory_equal(f.err.subject, wrong[i].tensor.ptr, wrong[i].tensor.len);
        fake_close(&f);
    }
}

// ---- 5 GB that nobody has: a source whose table of tensors is real and whose data are zero ------

typedef struct Huge {
    Small head;
    u64 furthest;
} Huge;

static bool read_huge(Source *s, u64 off, void *dst, size_t n) {
    Huge *h = s->user;
    if (off > s->size || n > s->size - off) return false;
    memset(dst, 0, n);
    if (off < h->head.n) memcpy(dst, h->head.bytes + off, MIN2(n, h->head.n - off));
    h->furthest = MAX2(h->furthest, off + n);
    return true;
}

// Offsets past 4 GB in the file and in the buffer, through a window that such a file would never
// fit.
static void a_five_gigabyte_file_is_read_at_its_end(void **state) {
    (void)state;
    enum { COLS = 1 << 16, ROWS = 20000, TAIL = 300 }; // 5.24 GB of f32, then 79 MB
    static Huge h;
    h.head.n = 0;
    put(&h.head, "GGUF", 4);
    put_u32(&h.head, 3);
    put_u64(&h.head, 2);
    put_u64(&h.head, 0);
    u64 bytes = (u64)COLS * ROWS * 4, tail = (u64)COLS * TAIL * 4;
    put_tensor(&h.head, "huge", COLS, ROWS, 0);
    put_tensor(&h.head, "tail", COLS, TAIL, bytes);
    h.head.n = (h.head.n + 31) / 32 * 32;
    Source src = {
        .size = h.head.n + bytes + tail, .read = read_huge, .user = &h, .name = S("huge")};
    Fake f;
    fake_open(&f, false);
    engine_free(f.engine);
    Gguf *g;
    assert_true(gguf_open(f.arena, &src, &g, &f.err));
    ProgBuffer buffers[5];
    memcpy(buffers, f.buffer, sizeof f.buffer);
    buffers[4] = (ProgBuffer){.name = S("weights"), .kind = BUF_WEIGHT, .size = bytes + 2 * tail};
    u64 padded = round_up(TAIL, 8) * COLS * 4;
    Weight w = {.name = S("tail"),
                .encoding = QUANT_F32,
                .rows = TAIL,
                .cols = COLS,
                .interleave = 8,
                .nseg = 1,
                .buffer = 4,
                .offset = bytes,
                .size = padded};
    w.seg[0] = (WeightSegment){S("tail"), 0, TAIL, 1};
    f.program.buffers = buffers;
    f.program.nbuffers = 5;
    f.program.weights = &w;
    f.program.nweights = 1;
    f.program.weight_bytes = padded;
    EngineDesc d = {.device = f.device, .program = &f.program, .file = g};
    assert_true(engine_new(f.arena, &d, &f.engine, &f.err));
    LoadProgress p = {0};
    EngineState s;
    while ((s = engine_load_step(f.engine, &p, &f.err)) == ENGINE_WORKING) {
    }
    if (s != ENGINE_DONE) fail_msg("%s", f.err.msg);
    assert_true(h.furthest == src.size);
    assert_true(p.done == padded && f.script.bytes_written == padded);
    assert_true(arena_used(f.arena) < 8 << 20);
    fake_close(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(weights_land_woven_through_any_window),
        cmocka_unit_test(weights_come_in_the_files_order),
        cmocka_unit_test(a_tensor_that_does_not_fit_is_named),
        cmocka_unit_test(a_five_gigabyte_file_is_read_at_its_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
