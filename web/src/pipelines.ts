// pipelines.ts: kernels as text, and their pipelines, made when a step that needs one is handed over, or somewhat
// earlier. Layouts are explicit, so that bind groups need no pipeline.

export interface Kernel {
    pipeline: GPUComputePipeline | null;
    making: Promise<void> | null;
    broken: boolean; // it was made in vain
    layout: GPUBindGroupLayout;
    name: string;
    code: string;
}

export class Pipelines {
    private readonly layouts = new Map<string, GPUBindGroupLayout>();

    constructor(
        private readonly device: GPUDevice,
        private readonly fail: (message: string) => void,
    ) {}

    kernel(name: string, code: string, nbind: number, writes: number): Kernel {
        return { pipeline: null, making: null, broken: false, layout: this.layout(nbind, writes), name, code };
    }

    private layout(nbind: number, writes: number): GPUBindGroupLayout {
        const key = `${nbind}:${writes}`;
        let layout = this.layouts.get(key);
        if (!layout) {
            const entries: GPUBindGroupLayoutEntry[] = [];
            for (let binding = 0; binding < nbind; binding++)
                entries.push({
                    binding,
                    visibility: GPUShaderStage.COMPUTE,
                    buffer: { type: (writes >> binding) & 1 ? "storage" : "read-only-storage" },
                });
            layout = this.device.createBindGroupLayout({ entries });
            this.layouts.set(key, layout);
        }
        return layout;
    }

    /** Once a kernel; a failure is told and the kernel stays without. */
    make(k: Kernel): Promise<void> {
        k.making ??= this.device
            .createComputePipelineAsync({
                label: k.name,
                layout: this.device.createPipelineLayout({ bindGroupLayouts: [k.layout] }),
                compute: { module: this.device.createShaderModule({ label: k.name, code: k.code }), entryPoint: "main" },
            })
            .then(
                (pipeline) => void (k.pipeline = pipeline),
                (e: Error) => {
                    k.broken = true;
                    this.fail(`kernel ${k.name}: ${e.message}`);
                },
            );
        return k.making;
    }
}
