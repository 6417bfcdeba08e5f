// core.ts: the wasm core: its module, its memory, and its exports as plain functions (src/api/wasm*.c).
//
// Texts cross by argument buffers that the core owns; memory may move whenever the core runs, so views are made
// anew at each use (of a shared memory, what others may not see changing is copied out of it). The kernels of the CPU path
// are a second module on the same memory, and its functions are put into the core's table of functions.
import { HobError, failure, type ErrorBody } from "./errors.js";
import type { Kernels } from "./kernels.js";

export const STATE = {
    IDLE: 0,
    WORKING: 1,
    WAITING: 2,
    NEED: 3,
    HEADER: 4,
    READY: 5,
    TEXT: 6,
    END: 7,
    FAILED: 8,
} as const; // ORDER PAGE_STATE (src/api/wasm_int.h)

interface Exports {
    __indirect_function_table: WebAssembly.Table;
    _initialize(): void;
    hob_w_new(): number;
    hob_w_arg(page: number, i: number, n: number): number;
    hob_w_out(page: number): number;
    hob_w_out_n(page: number): number;
    hob_w_open(page: number, size: number, name: number, n: number, ctx: number, chunk: number, rows: number, drafts: number): void;
    hob_w_adapter(page: number, base: number, baseN: number, text: number, textN: number): number;
    hob_w_step(page: number): number;
    hob_w_need_off(page: number): number;
    hob_w_need_n(page: number): number;
    hob_w_need_at(page: number): number;
    hob_w_filled(page: number, ok: number): void;
    hob_w_probe(page: number, gpu: number, budget: number): number;
    hob_w_probe_step(page: number): number;
    hob_w_probe_ms(page: number): number;
    hob_w_probe_bytes(page: number): number;
    hob_w_probe_products(page: number): number;
    hob_w_probe_end(page: number): void;
    hob_w_mode(page: number, fast: number): void;
    hob_w_tuned(page: number, adapter: number, adapterN: number, text: number, n: number): void;
    hob_w_tune(page: number): number;
    hob_w_load(page: number, gpu: number): number;
    hob_w_ahead(page: number): number;
    hob_w_load_done(page: number): number;
    hob_w_load_total(page: number): number;
    hob_w_info(page: number): void;
    hob_w_ask(page: number, json: number, n: number, now: number, zone: number): number;
    hob_w_cancel(page: number): void;
    hob_w_eval(page: number, ids: number, n: number, rows: number): number;
    hob_w_eval_logits(page: number): number;
    hob_w_stats(page: number): void;
    hob_w_answer(page: number, ticket: number, ok: number, token: number): void;
    hob_w_lost(page: number): void;
    hob_w_threads(page: number, n: number, paced: number): void;
    hob_w_room(page: number, n: number): number;
    hob_w_kernel(keyLo: number, keyHi: number, fn: number): number;
}

export interface CoreHost {
    /** Runs a command list that lies in the core's memory. */
    gpu(words: Uint32Array): void;
    log(line: string): void;
    /** Runs the kernel of that number in at most so many pieces, on so many threads; false: it failed. */
    share(fn: number, args: number, dims: number, extent: number, pieces: number, threads: number): boolean;
}

const utf8 = new TextEncoder();
const text = new TextDecoder();

export class Core {
    private kernelsAt = 0; // in the table of functions

    private constructor(
        readonly c: Exports,
        readonly memory: WebAssembly.Memory,
        readonly page: number,
    ) {}

    static async start(module: WebAssembly.Module, memory: WebAssembly.Memory, host: CoreHost): Promise<Core> {
        const env = {
            memory,
            hob_gpu: (at: number, n: number) => host.gpu(new Uint32Array(memory.buffer, at, n)),
            hob_log: (at: number, n: number) => host.log(text.decode(new Uint8Array(memory.buffer, at, n).slice())),
            hob_share: (fn: number, args: number, dims: number, extent: number, pieces: number, threads: number) =>
                host.share(fn - core.kernelsAt, args, dims, extent, pieces, threads) ? 1 : 0,
            exp: Math.exp, // src/api/wasm_math.h
            log: Math.log,
            sin: Math.sin,
            cos: Math.cos,
            pow: Math.pow,
        };
        const instance = await WebAssembly.instantiate(module, {
            env,
            wasi_snapshot_preview1: wasi(module, memory),
        });
        const c = instance.exports as unknown as Exports;
        c._initialize();
        const page = c.hob_w_new();
        if (page === 0) throw failure("OUT_OF_MEMORY", "the page has no memory left");
        const core = new Core(c, memory, page);
        return core;
    }

    bytes(at: number, n: number): Uint8Array {
        return new Uint8Array(this.memory.buffer, at, n);
    }

    get heapBytes(): number {
        return this.memory.buffer.byteLength;
    }

    /** Puts a text into argument buffer i: its address and length. */
    arg(i: number, value: string): [at: number, n: number] {
        const data = utf8.encode(value);
        const at = this.c.hob_w_arg(this.page, i, data.length);
        if (at === 0) throw failure("OUT_OF_MEMORY", `a text of ${data.length} bytes`);
        this.bytes(at, data.length).set(data);
        return [at, data.length];
    }

    /** Puts token ids into argument buffer 0: their address and count. */
    ids(value: ArrayLike<number>): [at: number, n: number] {
        const at = this.c.hob_w_arg(this.page, 0, value.length * 4);
        if (at === 0) throw failure("OUT_OF_MEMORY", `${value.length} tokens`);
        new Int32Array(this.memory.buffer, at, value.length).set(value);
        return [at, value.length];
    }

    /** The output as numbers. */
    numbers(): Float64Array {
        const at = this.c.hob_w_out(this.page);
        return new Float64Array(this.memory.buffer.slice(at, at + this.c.hob_w_out_n(this.page)));
    }

    out(): string {
        return text.decode(this.bytes(this.c.hob_w_out(this.page), this.c.hob_w_out_n(this.page)).slice());
    }

    /** The error that the core left in its output; `more` follows what is wrong. */
    error(more = ""): HobError {
        const { error } = JSON.parse(this.out()) as { error: ErrorBody };
        return new HobError({ ...error, message: error.message + more });
    }

    info<T>(): T {
        this.c.hob_w_info(this.page);
        return JSON.parse(this.out()) as T;
    }

    stats<T>(): T {
        this.c.hob_w_stats(this.page);
        return JSON.parse(this.out()) as T;
    }

    /** Kernels of the CPU path. */
    addKernels({ functions, keys }: Kernels): void {
        const table = this.c.__indirect_function_table;
        this.kernelsAt = table.grow(functions.length);
        functions.forEach((f, i) => {
            table.set(this.kernelsAt + i, f);
            this.c.hob_w_kernel(...keys[i]!, this.kernelsAt + i);
        });
    }
}

// The few system calls that libc may ask for: a clock; everything else says that it is not there.
function wasi(module: WebAssembly.Module, memory: WebAssembly.Memory): Record<string, WebAssembly.ImportValue> {
    const calls: Record<string, WebAssembly.ImportValue> = {};
    for (const { module: from, name, kind } of WebAssembly.Module.imports(module)) {
        if (from === "wasi_snapshot_preview1" && kind === "function") calls[name] = () => 52; // ENOSYS
    }
    calls["clock_time_get"] = (_id: number, _precision: bigint, at: number) => {
        new DataView(memory.buffer).setBigUint64(at, BigInt(Math.round(performance.now() * 1e6)), true);
        return 0;
    };
    calls["fd_prestat_get"] = () => 8; // EBADF: libc asks at its start for folders until there are no more
    calls["proc_exit"] = (code: number) => {
        throw new Error(`the core ended itself with ${code}`);
    };
    return calls;
}
