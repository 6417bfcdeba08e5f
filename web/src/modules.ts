// modules.ts: the wasm modules, each fetched once when it is first wanted, and the memory they lie on.
//
// A page whose threads may share memory takes the twins whose memory is declared shared; no code differs.
import { failure } from "./errors.js";
import { kernelFile, type KernelSet, type Mode } from "./kernels.js";

const CORE = [new URL("./wasm/hob.wasm", import.meta.url), new URL("./wasm/hob.shared.wasm", import.meta.url)] as const;
const KERNELS = {
    simd128: [new URL("./wasm/kernels_simd128.wasm", import.meta.url), new URL("./wasm/kernels_simd128.shared.wasm", import.meta.url)],
    relaxed: [new URL("./wasm/kernels_relaxed.wasm", import.meta.url), new URL("./wasm/kernels_relaxed.shared.wasm", import.meta.url)],
    simd128_fast: [new URL("./wasm/kernels_simd128_fast.wasm", import.meta.url), new URL("./wasm/kernels_simd128_fast.shared.wasm", import.meta.url)],
    relaxed_fast: [new URL("./wasm/kernels_relaxed_fast.wasm", import.meta.url), new URL("./wasm/kernels_relaxed_fast.shared.wasm", import.meta.url)],
} as const;
const PAGE = 1 << 16, FIRST = 64; // the core's --initial-memory, tools/build_wasm.py
const MOST = [65535, 32768, 16384]; // pages; a shared memory's most is reserved at once, which not every device grants

const fetched = new Map<string, Promise<WebAssembly.Module>>();

async function compile(url: URL): Promise<WebAssembly.Module> {
    const reply = await fetch(url).catch((e: Error) => {
        throw failure("NETWORK", `${url.pathname}: no answer (${e.message})`);
    });
    if (!reply.ok) throw failure("NETWORK", `${url.pathname}: the server answers ${reply.status}`);
    if (/application\/wasm/.test(reply.headers.get("Content-Type") ?? "")) return WebAssembly.compileStreaming(reply);
    return WebAssembly.compile(await reply.arrayBuffer());
}

function module(url: URL): Promise<WebAssembly.Module> {
    let m = fetched.get(url.href);
    if (!m) {
        fetched.set(url.href, (m = compile(url)));
        m.catch(() => fetched.delete(url.href));
    }
    return m;
}

/** The core's module and the kernels' for a plain or a shared memory. */
export const modules = (set: KernelSet, mode: Mode, shared: boolean) =>
    Promise.all([module(CORE[shared ? 1 : 0]), module(KERNELS[kernelFile(set, mode)][shared ? 1 : 0])]);

export const plainMemory = () => new WebAssembly.Memory({ initial: FIRST, maximum: MOST[0]! });

/** A memory that threads share; a text: why there is none. */
export function sharedMemory(): WebAssembly.Memory | string {
    if (typeof SharedArrayBuffer === "undefined" || !globalThis.crossOriginIsolated)
        return "the page is not cross-origin isolated, so its threads share no memory";
    for (const maximum of MOST) {
        try {
            return new WebAssembly.Memory({ initial: FIRST, maximum, shared: true });
        } catch {
            continue; // the next is smaller
        }
    }
    return `the browser reserves no ${(MOST.at(-1)! * PAGE) >> 30} GB for a shared memory`;
}
