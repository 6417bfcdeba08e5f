// kernels.ts: the kernels of the CPU path: which set this browser can run, and a set's functions on a memory.

/** A set is a module: 128-bit vectors, or those with the relaxed instructions too (ISAS in tools/build_wasm.py). */
export type KernelSet = "simd128" | "relaxed";
/** How weights of 4 and 8 bits are multiplied: by f32 activations, or as integers by some of 8 and 16 bits. */
export type Mode = "reference" | "fast";
/** The file of a set in a mode: a page fetches one. */
export const kernelFile = (set: KernelSet, mode: Mode) => (mode === "fast" ? (`${set}_fast` as const) : set);
/** Arguments and sizes by address, and the range of the outermost loop. */
export type KernelFunction = (args: number, dims: number, begin: number, end: number) => void;

// (func (result v128) (i8x16.relaxed_swizzle (i8x16.splat (i32.const 1)) (i8x16.splat (i32.const 2))))
const RELAXED = [0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 15, 1, 13, 0, 65, 1, 253, 15, 65, 2, 253, 15, 253, 128, 2, 11];

/** The best set that this browser takes. */
export const bestKernels = (): KernelSet => (WebAssembly.validate(Uint8Array.from(RELAXED)) ? "relaxed" : "simd128");

export interface Kernels {
    functions: KernelFunction[];
    keys: [low: number, high: number][]; // sorted, one a function
}

/** An instance of its own, as each thread needs; `stack`: where its stack begins, if not where the first one's does. */
export async function kernelsOn(module: WebAssembly.Module, memory: WebAssembly.Memory, stack?: number): Promise<Kernels> {
    const wasi: Record<string, () => number> = {};
    for (const { module: from, name } of WebAssembly.Module.imports(module))
        if (from === "wasi_snapshot_preview1") wasi[name] = () => 52; // ENOSYS
    const instance = await WebAssembly.instantiate(module, { env: { memory }, wasi_snapshot_preview1: wasi });
    const e = instance.exports as Record<string, unknown>;
    if (stack !== undefined) (e["__stack_pointer"] as WebAssembly.Global).value = stack;
    (e["_initialize"] as (() => void) | undefined)?.();
    const count = Object.keys(e).find((name) => /^hob_kernels_\w+_count$/.test(name))!;
    const address = (name: string) => (e[name] as WebAssembly.Global).value as number;
    const view = new DataView(memory.buffer);
    const table = e["__indirect_function_table"] as WebAssembly.Table;
    const k: Kernels = { functions: [], keys: [] };
    const n = view.getUint32(address(count), true);
    for (let i = 0, at = address(count.replace("_count", "")); i < n; i++, at += 16) {
        k.keys.push([view.getUint32(at, true), view.getUint32(at + 4, true)]); // {key, function, name}
        k.functions.push(table.get(view.getUint32(at + 8, true)) as KernelFunction);
    }
    return k;
}
