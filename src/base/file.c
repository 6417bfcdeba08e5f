// base/file.c: a file of the operating system as a Source: mapped where that works, else read at
// offsets.
//
// Only native programs have files; in a page the Source is JavaScript's. A mapped file that another
// program cuts short while it is used ends this program, as with every reader that maps.
#if !defined(__wasm__)
#define _POSIX_C_SOURCE   200809L
#define _FILE_OFFSET_BITS 64
#include "base/base.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

typedef struct File {
    int fd;
} File;

static bool read_file(Source *s, u64 off, void *dst, size_t len) {
    const File *f = s->user;
    if (off > s->size || len > s->size - off) return false;
    for (size_t done = 0; done < len;) {
        ssize_t n = pread(f->fd, (char *)dst + done, len - done, (off_t)(off + done));
        if (n < 0 && errno == EINTR) continue;
        if (n <= 0) return false;
        done += (size_t)n;
    }
    return true;
}

static bool io_fail(Err *err, Str path, const char *what) {
    err_set(err, ERR_IO, "%s", what);
    return err_file(err, path);
}

static int file_open(Arena *a, Str path, Err *err) {
    int fd = open(arena_cstr(a, path), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        io_fail(err, path,
                errno == ENOENT   ? "there is no such file; check the path"
                : errno == EACCES ? "may not be read; check its permissions"
                                  : "cannot be opened; check the path");
    return fd;
}

bool source_file_open(Arena *a, Str path, Source *out, Err *err) {
    File *f = NEW(a, File);
    struct stat st;
    f->fd = file_open(a, path, err);
    if (f->fd < 0) return false;
    if (fstat(f->fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        close(f->fd);
        return io_fail(err, path, "is not a regular file; give the path of a file");
    }
    *out =
        (Source){.size = (u64)st.st_size, .read = read_file, .user = f, .name = arena_str(a, path)};
    if (out->size > 0 && out->size <= SIZE_MAX / 2) {
        void *p = mmap(NULL, (size_t)out->size, PROT_READ, MAP_PRIVATE, f->fd, 0);
        if (p != MAP_FAILED) {
            Source mapped = source_memory(p, (size_t)out->size, out->name);
            mapped.user = f;
            *out = mapped;
        }
    }
    return true;
}

void source_file_close(Source *s) {
    File *f = s->user;
    if (!f) return;
    if (s->map) munmap((void *)(uintptr_t)s->map, (size_t)s->size);
    close(f->fd);
    *s = (Source){0};
}

// A text may come through a pipe, whose size nobody knows: read to its end.
bool source_file_text(Arena *a, Str path, Str *out, Err *err) {
    int fd = file_open(a, path, err);
    if (fd < 0) return false;
    Buf b = {.arena = a, .limit = TEXT_FILE_MAX};
    char piece[16384];
    ssize_t n;
    do {
        n = read(fd, piece, sizeof piece);
        if (n > 0) buf_add(&b, (Str){piece, (size_t)n});
    } while (!b.full && (n > 0 || (n < 0 && errno == EINTR)));
    bool folder = n < 0 && errno == EISDIR;
    close(fd);
    *out = buf_str(&b);
    if (n == 0 && out->len > 0) return true;
    return io_fail(err, path,
                   folder   ? "is a folder; give the path of a file"
                   : b.full ? "is longer than the 64 MB of any text here; give less"
                   : n < 0  ? "cannot be read; check what it is"
                            : "the file is empty; check the path");
}

#else
typedef int base_file_is_native_only; // a translation unit must hold a declaration
#endif
