// device/wgpu.h: what tests want of the native webgpu device beyond the vtable.
#ifndef HOB_WGPU_H
#define HOB_WGPU_H

#include "device/device.h"

// The device is destroyed under its user, as when a driver resets: what was handed over comes back
// lost.
void wgpu_destroy(Device *d);

#endif
