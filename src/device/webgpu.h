// device/webgpu.h: the page's side of the webgpu device: who runs the command list, and how answers
// come back.
#ifndef HOB_WEBGPU_H
#define HOB_WEBGPU_H

#include "device/device.h"

typedef enum WebgpuOp { // ORDER WEBGPU_OP
#define C(name, arguments) WEBGPU_##name,
#include "device/webgpu_commands.def"
#undef C
} WebgpuOp;

// DeviceOptions.self of the webgpu device; must live as long as it.
typedef struct WebgpuHost {
    Profile profile; // what the adapter can do
    // Runs a whole list before it returns; answers may come later. Must not call back into the
    // device meanwhile.
    void (*run)(void *user, const u32 *words, u32 n);
    void *user;
} WebgpuHost;

void webgpu_answer(Device *d, Ticket t, bool ok, i32 token);
void webgpu_lost(Device *d);

#endif
