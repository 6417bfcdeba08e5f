// cli/output.c: the files that commands write.
//
// A file that a command was asked for is written beside its place, under a name that nobody has,
// and moved there once it is whole: half of it never has the name, and nothing that was there is
// lost to a failure. What is no file (a folder, a link, a pipe, a device) and what the command
// reads are never written over; that is told before any work is done.
#define _POSIX_C_SOURCE 200809L
#include "cli/cli.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

// Of a path whose folders are made when it is written, the nearest that is there counts.
static bool folder_fits(Arena *a, Str path, bool made) {
    for (;;) {
        struct stat st;
        size_t cut = path.len;
        while (cut > 0 && path.ptr[cut - 1] != '/') cut--;
        const char *folder = cut == 0   ? "."
                             : cut == 1 ? "/"
                                        : arena_cstr(a, str_sub(path, 0, cut - 1));
        if (stat(folder, &st) == 0) return S_ISDIR(st.st_mode) && access(folder, W_OK | X_OK) == 0;
        if (!made || errno != ENOENT || cut < 2) return false;
        path = str_sub(path, 0, cut - 1);
    }
}

bool output_check(Arena *a, Str path, bool made, const Str *read, size_t n, Err *err) {
    struct stat to, from;
    const char *at = arena_cstr(a, path);
    if (lstat(at, &to) == 0) {
        if (!S_ISREG(to.st_mode)) {
            err_set(err, ERR_IO, "%s: only a file is written over; name another place",
                    S_ISDIR(to.st_mode)   ? "this is a folder"
                    : S_ISLNK(to.st_mode) ? "this is a link"
                                          : "this is a pipe or a device");
            return err_file(err, path);
        }
        for (size_t i = 0; i < n; i++) {
            if (!read[i].len || stat(arena_cstr(a, read[i]), &from) != 0 ||
                from.st_dev != to.st_dev || from.st_ino != to.st_ino)
                continue;
            err_set(err, ERR_IO, "it is read by this very command; name another file to write");
            return err_file(err, path);
        }
    }
    if (folder_fits(a, path, made)) return true;
    err_set(err, ERR_IO, "cannot be written; is the folder there, and yours?");
    return err_file(err, path);
}

bool output_begin(Output *o, Arena *a, Str path, Err *err) {
    int fd = -1;
    *o = (Output){.path = arena_str(a, path)};
    for (int i = 0; fd < 0 && i < 100; i++) {
        o->part = str_fmt(a, "%S.%d-%d.part", path, (i32)getpid(), i).ptr;
        fd = open(o->part, O_WRONLY | O_CREAT | O_EXCL, 0666);
        if (fd < 0 && errno != EEXIST) break;
    }
    if (fd >= 0 && (o->f = fdopen(fd, "wb")) != NULL) return true;
    if (fd >= 0) {
        close(fd);
        remove(o->part);
    }
    err_set(err, ERR_IO, "cannot be written; is the folder there, and yours?");
    return err_file(err, path);
}

bool output_write(void *o, const void *p, size_t n) {
    return fwrite(p, 1, n, ((Output *)o)->f) == n;
}

bool output_end(Output *o, bool ok, Err *err) {
    if (fclose(o->f) != 0 && ok) ok = err_set(err, ERR_IO, "cannot be written; is the disk full?");
    if (ok && rename(o->part, o->path.ptr) != 0)
        ok = err_set(err, ERR_IO, "cannot be moved to its place; is there a folder of that name?");
    if (ok) return true;
    remove(o->part);
    return err_file(err, o->path);
}
