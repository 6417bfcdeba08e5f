// api/wasm_int.h: what the page's side of the core shares: one Page holds everything a worker has
// open.
#ifndef HOB_WASM_INT_H
#define HOB_WASM_INT_H

#include "api/api.h"
#include "device/webgpu.h"

#define EXPORT(name) __attribute__((export_name(#name)))

typedef enum PageState { // ORDER PAGE_STATE (web/src/core.ts)
    PAGE_IDLE,
    PAGE_WORKING, // step again now
    PAGE_WAITING, // step again when the device answered
    PAGE_NEED,    // bytes of the file are wanted: hob_w_need_*, then hob_w_filled
    PAGE_HEADER,  // the file is understood: choose a device (hob_w_load), or probe some first
    PAGE_READY,   // loaded
    PAGE_TEXT,    // out: objects of the stream, a line each; or an evaluation's figures
    PAGE_END,     // the answer is over; out: its last objects; or the evaluation is
    PAGE_FAILED,  // out: {"error": ...}
} PageState;

enum { ARG_COUNT = 3, SLOT_COUNT = 12, SLOT_BYTES = 1 << 18 };

typedef struct FileSlot { // a part of the file that the page brought
    u64 off;
    u32 n, used;
    u8 *at;
} FileSlot;

typedef struct Probe Probe;

typedef struct Page {
    Arena *arena, *args[ARG_COUNT], *request, *out_arena;
    Buf out;
    Err err;
    Model *m;
    Session *session;
    Source source;
    enum {
        STAGE_FILE,
        STAGE_GRAPH,
        STAGE_HEADER,
        STAGE_LOAD,
        STAGE_READY,
        STAGE_ANSWER,
        STAGE_EVAL,
        STAGE_FAILED
    } stage;
    ModelOptions options;
    int drafts;
    // the file: its front while the header is read, then slots
    Arena *front_arena;
    u8 *front;
    u64 front_n;
    FileSlot slots[SLOT_COUNT];
    u32 clock;
    u64 need_off;
    u32 need_n, need_slot;
    u8 *need_at;
    // devices
    WebgpuHost host;
    bool has_gpu, fast; // fast: see hob_w_mode
    Probe *probe;
    Device *gpu;        // whom answers are for
    Tuner *tuner;       // once something was measured
    Str adapter, tuned; // see hob_w_tuned
    double compile_ms;
    int threads; // of the CPU's kernels
    bool paced;  // see DeviceOptions
    // the answer being made
    OpenaiRequest ask;
    OpenaiAnswer answer;
    Buf text;
    bool first;
    u32 count;
    EvalResult eval; // the evaluation being made
} Page;

bool page_device(Page *p, Model *m, bool gpu, Err *err);
PageState page_fail(Page *p);

#endif
