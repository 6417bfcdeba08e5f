// tests/base/file_test.c: files as byte sources, mapped and, with a mapping that always fails, read
// at offsets.
#define _POSIX_C_SOURCE   200809L
#define _FILE_OFFSET_BITS 64
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <sys/mman.h>
#include <stdlib.h>
#include <unistd.h>

// The same file.c once more under other names, where nothing can be mapped.
static void *no_mmap(void *at, size_t n, int prot, int flags, int fd, off_t off) {
    (void)at, (void)n, (void)prot, (void)flags, (void)fd, (void)off;
    return MAP_FAILED;
}
#include "base/base.h"
bool unmapped_open(Arena *a, Str path, Source *out, Err *err);
void unmapped_close(Source *s);
bool unmapped_text(Arena *a, Str path, Str *out, Err *err);
#define mmap              no_mmap
#define source_file_open  unmapped_open
#define source_file_close unmapped_close
#define source_file_text  unmapped_text
#include "../../src/base/file.c"
#undef mmap
#undef source_file_open
#undef source_file_close
#undef source_file_text

static void check_reads(Source *s, u64 far) {
    u8 got[4];
    assert_true(s->size == far + 4);
    assert_true(s->read(s, far, got, 4));
    assert_memory_equal(got, "far!", 4);
    assert_true(s->read(s, 0, got, 4));
    assert_memory_equal(got, "near", 4);
    assert_true(s->read(s, s->size, got, 0));
    assert_false(s->read(s, far, got, 5));
    assert_false(s->read(s, far + 5, got, 0));
    assert_false(s->read(s, UINT64_MAX, got, 1));
    assert_false(s->read(s, 0, got, SIZE_MAX));
}

static void sparse_files_are_read_past_4_gb(void **state) {
    (void)state;
    const u64 far = (u64)5 << 30;
    char path[] = "/tmp/hob_file_XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    if (write(fd, "near", 4) != 4 || pwrite(fd, "far!", 4, (off_t)far) != 4) {
        close(fd);
        unlink(path);
        print_message(
            "SKIP sparse_files_are_read_past_4_gb: no sparse file of 5 GB can be made in /tmp\n");
        skip();
    }
    close(fd);
    Arena *a = arena_new(NULL);
    Source s;
    Err e = {0};
    assert_true(source_file_open(a, str_c(path), &s, &e));
    assert_non_null(s.map);
    check_reads(&s, far);
    source_file_close(&s);
    assert_true(unmapped_open(a, str_c(path), &s, &e));
    assert_null(s.map);
    check_reads(&s, far);
    assert_int_equal(truncate(path, 100), 0); // cut while open: an error, not a crash
    u8 got[4];
    assert_false(s.read(&s, far, got, 4));
    unmapped_close(&s);
    unmapped_close(&s); // twice is fine
    arena_free(a);
    unlink(path);
}

static void what_is_no_file_is_refused(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Source s;
    Err e = {0};
    char text[300];
    Buf b = {.ptr = text, .cap = sizeof text};
    assert_false(source_file_open(a, S("/nowhere/at/all.gguf"), &s, &e));
    err_print(&e, &b);
    assert_int_equal(e.id, ERR_IO);
    assert_true(str_starts(buf_str(&b), S("/nowhere/at/all.gguf: there is no such file")));
    e = (Err){0};
    assert_false(source_file_open(a, S("/tmp"), &s, &e));
    assert_true(e.id == ERR_IO && str_has(str_c(e.msg), S("not a regular file")));
    arena_free(a);
}

static void texts_come_through_pipes_too(void **state) {
    (void)state;
    Arena *a = arena_new(NULL);
    Str text;
    for (int empty = 0; empty < 2; empty++) {
        int end[2];
        char path[32];
        Err e = {0};
        assert_int_equal(pipe(end), 0);
        assert_true(empty || write(end[1], "[1, 2]\n", 7) == 7);
        close(end[1]);
        Buf b = {.ptr = path, .cap = sizeof path};
        buf_fmt(&b, "/dev/fd/%d", end[0]);
        assert_true(source_file_text(a, str_c(path), &text, &e) == !empty);
        assert_true(empty ? str_has(str_c(e.msg), S("empty")) : str_eq(text, S("[1, 2]\n")));
        close(end[0]);
    }
    Err e = {0};
    assert_false(source_file_text(a, S("/tmp"), &text, &e));
    assert_true(e.id == ERR_IO && str_has(str_c(e.msg), S("is a folder")));
    e = (Err){0};
    assert_false(source_file_text(a, S("/dev/zero"), &text, &e)); // without end
    assert_true(e.id == ERR_IO && str_has(str_c(e.msg), S("64 MB")));
    arena_free(a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sparse_files_are_read_past_4_gb),
        cmocka_unit_test(what_is_no_file_is_refused),
        cmocka_unit_test(texts_come_through_pipes_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
