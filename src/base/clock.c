// base/clock.c: a clock that only goes forward, for measuring; never the time of day. And a short
// sleep for those who may wait.
#define _POSIX_C_SOURCE 200809L
#include "base/base.h"

#include <time.h>

double clock_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

#if !defined(__wasm__)
void clock_nap(void) { nanosleep(&(struct timespec){.tv_nsec = 50000}, NULL); }
#endif
