// base/thread.c: a pool that forks and joins in about a microsecond, for steps that take tens of
// them.
//
// Workers wait for the next run by spinning, then yielding, and sleep on a condition once nothing
// came for 2 ms, so that an idle process costs nothing. A run is an epoch: the caller raises it,
// takes share 0 itself and waits until the workers have counted `pending` down. Where there are no
// threads (wasm) the pool has one.
#define _POSIX_C_SOURCE 200809L
#include "base/base.h"

#if defined(__wasm__)

struct Pool {
    int threads;
};

int cpu_count(void) { return 1; }

Pool *pool_new(Arena *a, int threads) {
    (void)threads;
    Pool *p = NEW(a, Pool);
    p->threads = 1;
    return p;
}

void pool_free(Pool *p) { (void)p; }

int pool_threads(const Pool *p) { return p->threads; }

void pool_run(Pool *p, void (*fn)(void *user, int thread), void *user) {
    (void)p;
    fn(user, 0);
}

#else

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <unistd.h>

#define SPINS      4000 // some 20-100 us of pause, then let others have the core
#define SLEEP_MS   2.0  // idle for this long: sleep until woken
#define CACHE_LINE 64   // what threads write often stands apart

typedef struct Worker {
    Pool *pool;
    int index;
    pthread_t thread;
} Worker;

struct Pool {
    int threads;
    Worker *workers; // threads - 1 of them
    void (*fn)(void *user, int thread);
    void *user;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    _Alignas(CACHE_LINE) atomic_uint epoch;
    atomic_int sleepers;
    atomic_bool stop;
    _Alignas(CACHE_LINE) atomic_int pending;
};

int cpu_count(void) {
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n < 1 ? 1 : n > 1024 ? 1024 : (int)n;
}

static void pause_briefly(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Returns the epoch that differs from `seen`.
static unsigned wait_for_work(Pool *p, unsigned seen) {
    unsigned now;
    for (int i = 0; i < SPINS; i++) {
        if ((now = atomic_load_explicit(&p->epoch, memory_order_acquire)) != seen) return now;
        pause_briefly();
    }
    for (double start = clock_ms(); clock_ms() - start < SLEEP_MS;) {
        if ((now = atomic_load_explicit(&p->epoch, memory_order_acquire)) != seen) return now;
        sched_yield();
    }
    pthread_mutex_lock(&p->lock);
    // Sequentially consistent on both sides: either this thread sees the new epoch, or the caller
    // sees a sleeper.
    atomic_fetch_add(&p->sleepers, 1);
    while ((now = atomic_load(&p->epoch)) == seen) pthread_cond_wait(&p->wake, &p->lock);
    atomic_fetch_sub(&p->sleepers, 1);
    pthread_mutex_unlock(&p->lock);
    return now;
}

static void next_epoch(Pool *p) {
    atomic_fetch_add(&p->epoch, 1);
    if (atomic_load(&p->sleepers) > 0) {
        pthread_mutex_lock(&p->lock);
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
    }
}

static void *work(void *arg) {
    Worker *w = arg;
    Pool *p = w->pool;
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_work(p, seen);
        if (atomic_load_explicit(&p->stop, memory_order_relaxed)) return NULL;
        p->fn(p->user, w->index);
        atomic_fetch_sub_explicit(&p->pending, 1, memory_order_release);
    }
}

Pool *pool_new(Arena *a, int threads) {
    must(threads >= 1);
    // The arena aligns to 16 only; the pool wants cache lines.
    char *raw = arena_alloc(a, sizeof(Pool) + CACHE_LINE);
    Pool *p = (Pool *)(raw + (CACHE_LINE - (uintptr_t)raw % CACHE_LINE) % CACHE_LINE);
    p->workers = NEW_N(a, Worker, threads);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    p->threads = 1;
    for (int i = 1; i < threads; i++) {
        Worker *w = &p->workers[i - 1];
        *w = (Worker){.pool = p, .index = i};
        if (pthread_create(&w->thread, NULL, work, w) != 0)
            break; // the system gives no more: the pool is smaller
        p->threads++;
    }
    return p;
}

void pool_free(Pool *p) {
    if (!p) return;
    atomic_store(&p->stop, true);
    next_epoch(p);
    for (int i = 1; i < p->threads; i++) pthread_join(p->workers[i - 1].thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    p->threads = 1;
}

int pool_threads(const Pool *p) { return p->threads; }

void pool_run(Pool *p, void (*fn)(void *user, int thread), void *user) {
    if (p->threads == 1) {
        fn(user, 0);
        return;
    }
    p->fn = fn;
    p->user = user;
    atomic_store_explicit(&p->pending, p->threads - 1, memory_order_relaxed);
    next_epoch(p);
    fn(user, 0);
    for (int i = 0; atomic_load_explicit(&p->pending, memory_order_acquire) > 0; i++) {
        if (i < SPINS)
            pause_briefly();
        else
            sched_yield();
    }
}

#endif
