// adapter.ts: the adapter that the browser gives, and what it can do as the text of a device profile.
//
// No feature is required: each is asked for only where it is there, and limits are raised only as far as they go.

export interface AdapterInfo {
    /** For people: "Google SwiftShader". */
    label: string;
    /** The built-in profile to start from. */
    base: "gpu" | "software";
    /** Lines `field = value` that override it (src/program/profile.def). */
    profile: string;
}

export interface Opened {
    device: GPUDevice;
    info: AdapterInfo;
    /** This browser looks only now and then whether the device is done. */
    late: boolean;
}

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|software|basic render|\bwarp\b/i;

const LATE_MS = 25; // of a read-back on a device with nothing to do; where nobody waits for a tick it takes 1 or 2
let late: boolean | undefined; // it is the browser's way: once is enough

// Firefox looks for what is done every 100 ms, and at each submit. Of two read-backs in a row the second waits for a whole tick.
async function looksLate(device: GPUDevice): Promise<boolean> {
    let ms = 0;
    for (let i = 0; i < 2; i++) {
        const from = device.createBuffer({ size: 4, usage: GPUBufferUsage.COPY_SRC });
        const to = device.createBuffer({ size: 4, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
        const encoder = device.createCommandEncoder();
        encoder.copyBufferToBuffer(from, 0, to, 0, 4);
        const start = performance.now();
        device.queue.submit([encoder.finish()]);
        await to.mapAsync(GPUMapMode.READ);
        ms = performance.now() - start;
        from.destroy();
        to.destroy();
    }
    return ms > LATE_MS;
}

/** null: this browser has no adapter for us; the string says why. */
export async function openAdapter(): Promise<Opened | string> {
    if (!("gpu" in navigator) || !navigator.gpu) return "this browser has no WebGPU";
    try {
        const adapter = await navigator.gpu.requestAdapter({ powerPreference: "high-performance" });
        if (!adapter) return "the browser offers no adapter";
        const l = adapter.limits;
        const device = await adapter.requestDevice({
            requiredFeatures: [
                ...(subgroupSize(adapter) ? (["subgroups"] as const) : []),
                ...(adapter.features.has("shader-f16") ? (["shader-f16"] as const) : []),
                ...(adapter.features.has("timestamp-query") ? (["timestamp-query"] as const) : []), // for a trace
            ],
            requiredLimits: {
                maxBufferSize: l.maxBufferSize,
                maxStorageBufferBindingSize: l.maxStorageBufferBindingSize,
            },
        });
        late ??= await looksLate(device);
        return { device, info: describe(adapter, device), late };
    } catch (e) {
        return (e as Error).message;
    }
}

// One fixed number, or 0: kernels are printed for a size, so a range of sizes is of no use.
function subgroupSize(adapter: GPUAdapter): number {
    const info = adapter.info;
    if (!adapter.features.has("subgroups")) return 0;
    const { subgroupMinSize: lo, subgroupMaxSize: hi } = info;
    return lo && lo === hi && lo <= 128 ? lo : 0;
}

function describe(adapter: GPUAdapter, device: GPUDevice): AdapterInfo {
    const info = adapter.info, l = device.limits;
    const words = [info.vendor, info.architecture, info.device, info.description].filter(Boolean);
    const label = [...new Set(words)].join(" ") || "a GPU of no name";
    const isFallback = Boolean(info.isFallbackAdapter) || Boolean((adapter as { isFallbackAdapter?: boolean }).isFallbackAdapter);
    const base = isFallback || SOFTWARE.test(label) ? "software" : "gpu";
    const fields: Record<string, number> = {
        // a processor's own vectors have no such product, so that a software adapter takes it apart
        dot4: base === "gpu" && navigator.gpu.wgslLanguageFeatures?.has("packed_4x8_integer_dot_product") ? 1 : 0,
        f16: device.features.has("shader-f16") ? 1 : 0,
        max_wg_size: powerBelow(Math.min(l.maxComputeInvocationsPerWorkgroup, l.maxComputeWorkgroupSizeX, 1024)),
        wg_size: powerBelow(Math.min(64, l.maxComputeInvocationsPerWorkgroup)),
        shared_bytes: Math.min(l.maxComputeWorkgroupStorageSize, 1 << 20),
        subgroup: device.features.has("subgroups") ? subgroupSize(adapter) : 0,
        max_bindings: Math.min(8, l.maxStorageBuffersPerShaderStage),
        max_binding_bytes: Math.floor(l.maxStorageBufferBindingSize / 256) * 256,
        max_buffer_bytes: Math.floor(l.maxBufferSize / 256) * 256,
        offset_align: Math.max(16, l.minStorageBufferOffsetAlignment),
        max_grid: Math.min(l.maxComputeWorkgroupsPerDimension, 2 ** 31),
    };
    const profile = Object.entries(fields).map(([name, value]) => `${name} = ${value}\n`);
    return { label, base, profile: profile.join("") };
}

function powerBelow(n: number): number {
    return 2 ** Math.floor(Math.log2(Math.max(n, 1)));
}
