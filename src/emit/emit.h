// emit/emit.h: loop IR -> text in a kernel language. One C-like printer (clike.c) walks the
// statements; a Dialect holds the differences: type names, operator spellings, how a kernel begins
// and binds, vectors, barriers. Nothing here looks at a kernel's name or at which operator it came
// from.
#ifndef HOB_EMIT_H
#define HOB_EMIT_H

#include "loop/loop.h"

typedef struct Dialect Dialect;
extern const Dialect dialect_wgsl;
extern const Dialect dialect_c;
const Dialect *dialect_named(Str name); // "wgsl", "c"; NULL
const char *dialect_name(const Dialect *d);
u32 dialect_version(const Dialect *d); // part of a kernel's key

// Prints one kernel. wgsl: a whole module with entry point `main`, bindings 0.. in argument order,
// group 0. c: a function `void NAME(void *const *arg, const int32_t *dims, int32_t begin, int32_t
// end)` over the range of the outermost CPU loop; emit_prelude() must stand before it once a file.
bool emit_kernel(const Dialect *d, const Kernel *k, const Profile *p, Buf *out, Err *err);
void emit_prelude(const Dialect *d, const Profile *p, Buf *out);

// menu.c: the kernels of a build, printed to one C file that needs no header of ours and ends in
//     const struct KernelEntry hob_kernels_ISA[] = {{nest key, function, "name"}, ...}; // sorted
//     by nest key const uint32_t hob_kernels_ISA_count
// with KernelEntry as in device/device.h. A nest key that was given before is printed once.
typedef struct EmitMenu EmitMenu;
EmitMenu *emit_menu_begin(Arena *a, const Profile *p, Str isa, Buf *out);
bool emit_menu_row(EmitMenu *m, u64 nest_key, const Kernel *k, Err *err);
void emit_menu_end(EmitMenu *m);

#endif
