// device/device.h: where programs run: a vtable of at most 16 slots; null, cpu, webgpu; later
// vulkan, cuda, opencl.
//
// Nothing here waits: a browser cannot. Work is handed over and answered later: every write, read,
// kernel and submit returns a ticket, and poll yields (ticket, ok | error id | lost). Work is done
// in the order it was handed over. `lost` means the device is gone: every ticket that was out comes
// back lost, and every later call is refused.
//
// A caller goes through the device_* functions (device.c), which check handles, ranges and `lost`
// once; what a backend sees through its vtable is right. Backends answer tickets by
// device_answer().
#ifndef HOB_DEVICE_H
#define HOB_DEVICE_H

#include "program/program.h"

typedef struct Device Device;
typedef struct BufferHandle {
    u32 id;
} BufferHandle; // index + generation: stale use is an error; 0: none
typedef struct KernelHandle {
    u32 id;
} KernelHandle;
typedef struct BoundHandle {
    u32 id;
} BoundHandle;      // a program bound to its buffers and kernels
typedef u32 Ticket; // 0: none

enum { HANDLE_INDEX_BITS = 16, HANDLES_MAX = 1 << 14, TICKETS_MAX = 1024 };
static inline u32 handle_index(u32 id) {
    return id & ((1u << HANDLE_INDEX_BITS) - 1);
} // 1..HANDLES_MAX

typedef enum PollStatus { POLL_NOTHING, POLL_OK, POLL_ERROR, POLL_LOST } PollStatus;
typedef struct PollResult {
    Ticket ticket;
    PollStatus status;
    ErrId error;
    i32 token; // what a submit with read_ring found there
} PollResult;

// Handles of a program on this device, made by program loading in the engine.
typedef struct DeviceBind {
    const Program *program;
    const BufferHandle *buffers; // by Program.buffers index
    const KernelHandle *kernels; // by Program.kernels index
} DeviceBind;

typedef struct StepTime { // ms by the device's own clock: differences count
    double begin, end;
} StepTime;

typedef struct Submit {
    BoundHandle bound;
    int regime;
    int first, last;   // steps [first, last)
    int first2, last2; // a second range (one of the samplers), or empty
    u32 n, m, t;
    int slot;          // parameter slot, 0..PARAM_SLOTS-1
    const i32 *params; // the whole block: program_param_words()
    int read_ring;     // -1, or the token-ring index whose value is wanted: comes with the ticket's
                       // answer
    StepTime *times;   // NULL, or one a step of both ranges, filled when the ticket is answered ok:
                       // at most Device.timed
} Submit;

typedef struct DeviceVt { // <= 16 slots
    const char *name;
    bool async; // answers come later: run-ahead pays
    bool (*profile)(Device *d, Profile *out, Err *err);
    bool (*buffer_make)(Device *d, u32 index, u64 size, BufferKind kind,
                        Err *err); // contents: zero
    void (*buffer_free)(Device *d, u32 index);
    bool (*buffer_write)(Device *d, Ticket t, u32 index, u64 off, const void *src, u64 n,
                         Err *err); // src may go after the call
    bool (*buffer_read)(Device *d, Ticket t, u32 index, u64 off, void *dst, u64 n,
                        Err *err); // dst is filled when answered ok
    bool (*kernel_make)(Device *d, Ticket t, u32 index, const ProgKernel *k,
                        Err *err); // pipelines may take a while
    void (*kernel_free)(Device *d, u32 index);
    bool (*bind)(Device *d, u32 index, const DeviceBind *b,
                 Err *err); // once a program: bind groups and the like
    void (*unbind)(Device *d, u32 index);
    bool (*submit)(Device *d, Ticket t, const Submit *s, Err *err);
    void (*poll)(Device *d); // makes progress without waiting; answers tickets
    void (*close)(Device *d);
} DeviceVt;

typedef struct DeviceTables DeviceTables; // device.c: handles and tickets
struct Device {
    const DeviceVt *vt;
    Arena *arena;
    bool lost;
    Str adapter; // its name and its driver: what was measured on it holds there alone
    int timed;   // the most steps of one submit that it can time; 0: none
    u64 submits; // handed over so far
    DeviceTables *tables;
    void *self;
};

// What a kernel that the build-time menu lacks is run by: the interpreter, which the run wing does
// not know. grid: as in kernel_interp.
typedef bool (*InterpFn)(void *user, Arena *scratch, const ProgKernel *k, void *const *arg,
                         const u64 *bytes, const i32 *dims, const u32 grid[3], Err *err);
// A kernel of the build-time menu, over the range [begin, end) of its outermost loop.
typedef void (*KernelFn)(void *const *arg, const i32 *dims, i32 begin, i32 end);
// Runs fn over [0, extent) on so many threads, in at most `pieces` pieces. false: one of them
// failed.
typedef bool (*ShareFn)(KernelFn fn, void *const *arg, const i32 *dims, u32 extent, u32 pieces,
                        u32 threads);
typedef struct DeviceOptions {
    int threads;                       // cpu; 0: all cores
    ShareFn share;                     // cpu; not NULL: these threads are not ours to start
    bool paced;                        // cpu, shared threads: steps of one row have as many of
                                       // them as prove fastest, the others all of them
    InterpFn interp;                   // cpu; NULL: a missing kernel is an error
    void (*log)(void *user, Str line); // NULL: silent
    void *user;                        // for interp and log
    void *self; // webgpu in a page: its command list (webgpu.h); null: NullScript
} DeviceOptions;
typedef struct DeviceRow {
    const char *name;
    bool (*open)(Device *d, const DeviceOptions *o,
                 Err *err); // fills vt and self; memory from d->arena
} DeviceRow;
bool device_known(Str name); // has this build a device of that name?
void device_names(Buf *out); // those it has: "cpu, null"
bool device_open(Arena *a, Str name, const DeviceOptions *o, Device **out, Err *err);

bool device_profile(Device *d, Profile *out, Err *err);
bool device_buffer_make(Device *d, u64 size, BufferKind kind, BufferHandle *out, Err *err);
void device_buffer_free(Device *d, BufferHandle b); // none or stale: nothing happens
Ticket device_buffer_write(Device *d, BufferHandle b, u64 off, const void *src, u64 n,
                           Err *err); // 0: refused
Ticket device_buffer_read(Device *d, BufferHandle b, u64 off, void *dst, u64 n, Err *err);
bool device_kernel_make(Device *d, const ProgKernel *k, KernelHandle *out, Ticket *t, Err *err);
void device_kernel_free(Device *d, KernelHandle k);
bool device_bind(Device *d, const DeviceBind *b, BoundHandle *out,
                 Err *err); // what b points to must live until device_unbind
void device_unbind(Device *d, BoundHandle b);
Ticket device_submit(Device *d, const Submit *s, Err *err);
PollResult device_poll(Device *d);
int device_outstanding(const Device *d); // tickets that were not polled yet
void device_close(Device *d);            // NULL is fine

// For backends: a ticket is done. error ERR_NONE: ok. Answers for tickets that are not out are
// ignored.
void device_answer(Device *d, Ticket t, ErrId error, i32 token);
void device_set_lost(Device *d);

// A row of the build-time menu (cpu): one table an instruction set, sorted by nest key.
typedef struct KernelEntry {
    u64 nest_key;
    KernelFn fn;
    const char *name;
} KernelEntry;
typedef struct KernelTable {
    const KernelEntry *at;
    u32 n;
    const char *isa, *profile; // the built-in profile that it was printed for
} KernelTable;
enum { KERNEL_TABLES = 4 };
typedef struct KernelTables { // those that this machine can run, the best first
    KernelTable at[KERNEL_TABLES];
    int n;
} KernelTables;
// kernels.c: what was printed at build time; in a page, what its kernel module registered.
KernelTables cpu_kernels(void);
KernelFn kernel_find(const KernelTables *t, u64 nest_key);

// null.c: what a test tells the null device to do. Counts are kept here.
typedef struct NullScript {
    u32 fail_call, lose_call; // the call (1-based; writes, reads, kernels, submits) that fails,
                              // that loses the device; 0: none
    bool async;               // answers are held back until poll_after polls
    u32 poll_after;
    double step_ms, tick_ms; // async: what a submit takes, and how often it is seen what is done
    i32 (*token)(void *user, i32 pos,
                 const i32 *ring); // what the sampler writes at this position; NULL: pos + 1
    void *user;
    // counts
    u32 calls, writes, reads, kernels, submits, buffers, polls;
    u64 bytes_written;
} NullScript;

#endif
