// device/wgpu_int.h: the native webgpu device's state, and what of it is opened (wgpu_open.c)
// before it works (wgpu.c).
#ifndef HOB_WGPU_INT_H
#define HOB_WGPU_INT_H

#include "device/wgpu.h"
#include "device/wgpu_api.h"

enum {
    QUERIES_MAX = 4096, // of one set, by the standard; two a step
    STAMPS_AT = 8,      // where they begin in a timed submit's staging buffer, after the token
};

typedef struct WgpuKernel {
    WgModule module;
    WgPipeline pipeline; // made when a submit first needs it
    u32 layout;          // index
    const ProgKernel *k;
} WgpuKernel;

typedef struct WgpuLayout { // of bind groups with so many bindings, some of them written
    int nbind;
    u32 writes; // bit i: binding i
    WgGroupLayout group;
    WgLayout pipeline;
} WgpuLayout;

typedef struct WgpuBound {
    Arena *arena;
    DeviceBind bind;
    WgGroup *groups[REGIME_COUNT]; // by step
} WgpuBound;

typedef struct Await { // an answer that the library will call back for
    Device *d;
    struct Await *next; // in the list of free ones, or of those mapped
    Ticket ticket;
    WgBuffer staging;
    u64 size; // of staging
    void *dst;
    bool token; // staging is kept: it holds one token
    StepTime *times;
    int ntimes; // of a timed submit: staging holds the token, then two timestamps a step
} Await;

typedef struct Wgpu {
    WgApi api;
    WgInstance instance;
    WgAdapter adapter;
    WgDevice device;
    WgQueue queue;
    Profile profile;
    VEC(WgBuffer) buffers; // each by handle index
    VEC(WgpuKernel) kernels;
    VEC(WgpuBound) bounds;
    VEC(WgpuLayout) layouts;
    Await *reads, *tokens; // free ones: without and with a staging buffer
    Await *mapped;         // to be read, in the order of their callbacks
    Await **mapped_end;
    WgQueries queries; // made when a submit first wants times
    WgBuffer resolved; // what they hold
    double tick_ms;
    u32 awaited;
    bool closed;
    // what the callback of errors said
    bool wrong, no_memory;
    char said[256];
} Wgpu;

#define CALL(w, name, ...) ((w)->api.name)(__VA_ARGS__)

// What the library says to its callbacks: as a text, and whether a call that may be refused was.
bool wgpu_fine(Device *d, ErrId id, Str subject, Err *err);
// Finds the library; takes the adapter and its device, and fills the profile. False: err says why,
// and what was taken so far is released by closing.
bool wgpu_library(Wgpu *w, Err *err);
bool wgpu_device(Device *d, Err *err);

#endif
