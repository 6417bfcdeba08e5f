// gpu.ts: runs the core's command list on WebGPU: buffers, pipelines, bind groups made once, one submit a token.
//
// Nothing is decided here: sizes, offsets and grids come in the list. Answers are collected and told to the core
// between its steps (`drain`), because the core must not be entered while it is running. A token comes back through
// a ring of little staging buffers, so that several tokens are on their way at once.
import { OP } from "./commands.gen.js";
import type { AdapterInfo } from "./adapter.js";

const NO_READ = 0xffffffff;
const LOW_TICKETS_MAX = 16; // staging buffers at the start; more are made when more is in flight

interface Kernel {
    pipeline: GPUComputePipeline | null;
    layout: GPUBindGroupLayout;
    name: string;
}

interface BoundStep {
    kernel: Kernel;
    group: GPUBindGroup;
}

interface Bound {
    params: GPUBuffer;
    ring: GPUBuffer;
    regimes: BoundStep[][];
}

interface Answer {
    ticket: number;
    ok: boolean;
    token: number;
}

export class Gpu {
    /** The first thing that went wrong, in WebGPU's words. */
    failed: string | null = null;
    lost = false;
    private readonly buffers: (GPUBuffer | undefined)[] = [];
    private readonly kernels: (Kernel | undefined)[] = [];
    private readonly bounds: (Bound | undefined)[] = [];
    private readonly layouts = new Map<string, GPUBindGroupLayout>();
    private readonly staging: GPUBuffer[] = []; // free ones
    private answers: Answer[] = [];
    private wake: (() => void) | null = null;
    private closed = false;

    constructor(
        readonly device: GPUDevice,
        readonly adapter: AdapterInfo,
        private readonly memory: () => ArrayBuffer,
    ) {
        device.addEventListener("uncapturederror", (e) => this.fail((e as GPUUncapturedErrorEvent).error.message));
        void device.lost.then((info) => {
            if (this.closed) return;
            this.lost = true;
            this.failed ??= info.message || "the device was lost";
            this.wake?.();
        });
        for (let i = 0; i < LOW_TICKETS_MAX; i++) this.staging.push(this.stagingBuffer(4));
    }

    /** What was answered since the last time. */
    drain(): Answer[] {
        const answers = this.answers;
        this.answers = [];
        return answers;
    }

    /** Comes back when there is an answer to drain. */
    progress(): Promise<void> {
        if (this.answers.length || this.lost) return Promise.resolve();
        return new Promise((done) => {
            this.wake = () => {
                this.wake = null;
                done();
            };
        });
    }

    /** Gives the device back with everything on it. */
    close(): void {
        this.closed = true;
        this.device.destroy();
    }

    private fail(message: string): void {
        this.failed ??= message;
    }

    private answer(ticket: number, ok = true, token = 0): void {
        this.answers.push({ ticket, ok: ok && this.failed === null, token });
        this.wake?.();
    }

    private answerWhenDone(tickets: number[]): void {
        if (tickets.length === 0) return;
        const all = (ok: boolean) => tickets.forEach((t) => this.answer(t, ok));
        this.device.queue.onSubmittedWorkDone().then(
            () => all(true),
            () => all(false),
        );
    }

    private stagingBuffer(size: number): GPUBuffer {
        return this.device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    }

    /** Runs a list; it lies in the core's memory, which does not move meanwhile. */
    run(list: Uint32Array): void {
        const written: number[] = []; // answered together, when the queue has taken them
        for (let i = 0; i < list.length; ) {
            const head = list[i]!;
            const a = list.subarray(i + 1, i + 1 + (head >>> 8));
            switch (head & 255) {
                case OP.BUFFER_MAKE:
                    this.bufferMake(a[0]!, u64(a, 1));
                    break;
                case OP.BUFFER_FREE:
                    this.buffers[a[0]!]?.destroy();
                    this.buffers[a[0]!] = undefined;
                    break;
                case OP.BUFFER_WRITE: // order in the queue is all that matters: it is answered at once
                    this.write(a[1]!, u64(a, 2), a.byteOffset + 20, a[4]!);
                    this.answer(a[0]!);
                    break;
                case OP.BUFFER_COPY:
                    this.write(a[1]!, u64(a, 2), a[5]!, a[4]!);
                    written.push(a[0]!);
                    break;
                case OP.BUFFER_READ:
                    void this.read(a[0]!, a[1]!, u64(a, 2), a[4]!, a[5]!);
                    break;
                case OP.KERNEL_MAKE:
                    void this.kernelMake(a);
                    break;
                case OP.KERNEL_FREE:
                    this.kernels[a[0]!] = undefined;
                    break;
                case OP.BIND:
                    this.bind(a);
                    break;
                case OP.UNBIND:
                    this.bounds[a[0]!] = undefined;
                    break;
                case OP.SUBMIT:
                    this.submit(a);
                    break;
                default:
                    throw new Error(`unknown command ${head & 255}: the core and the page are of different versions`);
            }
            i += 1 + a.length;
        }
        this.answerWhenDone(written);
    }

    private bufferMake(id: number, size: number): void {
        this.device.pushErrorScope("out-of-memory");
        this.buffers[id] = this.device.createBuffer({
            size,
            usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST,
        });
        void this.device.popErrorScope().then((e) => {
            if (e) this.fail(`a buffer of ${Math.round(size / 1e6)} MB: ${e.message || "the GPU has no memory left"}`);
        });
    }

    private write(id: number, off: number, at: number, n: number): void {
        this.device.queue.writeBuffer(this.buffers[id]!, off, this.memory(), at, n);
    }

    private async read(ticket: number, id: number, off: number, n: number, at: number): Promise<void> {
        const staging = this.stagingBuffer(n);
        try {
            const encoder = this.device.createCommandEncoder();
            encoder.copyBufferToBuffer(this.buffers[id]!, off, staging, 0, n);
            this.device.queue.submit([encoder.finish()]);
            await staging.mapAsync(GPUMapMode.READ);
            new Uint8Array(this.memory(), at, n).set(new Uint8Array(staging.getMappedRange()));
            this.answer(ticket);
        } catch {
            this.answer(ticket, false);
        }
        staging.destroy();
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

    private async kernelMake(a: Uint32Array): Promise<void> {
        const [ticket, id, nameAt, nameN, textAt, textN, nbind, writes] = a as unknown as number[];
        const decode = (at: number, n: number) => new TextDecoder().decode(new Uint8Array(this.memory(), at, n));
        const name = decode(nameAt!, nameN!);
        const code = decode(textAt!, textN!);
        const layout = this.layout(nbind!, writes!);
        const kernel: Kernel = { pipeline: null, layout, name };
        this.kernels[id!] = kernel;
        try {
            kernel.pipeline = await this.device.createComputePipelineAsync({
                label: name,
                layout: this.device.createPipelineLayout({ bindGroupLayouts: [layout] }),
                compute: { module: this.device.createShaderModule({ label: name, code }), entryPoint: "main" },
            });
            this.answer(ticket!);
        } catch (e) {
            this.fail(`kernel ${name}: ${(e as Error).message}`);
            this.answer(ticket!, false);
        }
    }

    private bind(a: Uint32Array): void {
        let i = 0;
        const next = () => a[i++]!;
        const id = next();
        const bound: Bound = { params: this.buffers[next()]!, ring: this.buffers[next()]!, regimes: [] };
        for (let r = next(); r > 0; r--) {
            const steps: BoundStep[] = [];
            for (let s = next(); s > 0; s--) {
                const kernel = this.kernels[next()]!;
                const entries: GPUBindGroupEntry[] = [];
                const nbind = next();
                for (let binding = 0; binding < nbind; binding++, i += 5)
                    entries.push({
                        binding,
                        resource: { buffer: this.buffers[a[i]!]!, offset: u64(a, i + 1), size: u64(a, i + 3) },
                    });
                steps.push({ kernel, group: this.device.createBindGroup({ layout: kernel.layout, entries }) });
            }
            bound.regimes.push(steps);
        }
        this.bounds[id] = bound;
    }

    private submit(a: Uint32Array): void {
        const [ticket, id, regime, read, head, tailAt, tail, nsteps] = a as unknown as number[];
        const bound = this.bounds[id!]!;
        const steps = bound.regimes[regime!]!;
        const queue = this.device.queue;
        let at = 8;
        queue.writeBuffer(bound.params, 0, this.memory(), a.byteOffset + at * 4, head! * 4);
        at += head!;
        if (tail) queue.writeBuffer(bound.params, tailAt! * 4, this.memory(), a.byteOffset + at * 4, tail * 4);
        at += tail!;

        const encoder = this.device.createCommandEncoder();
        const pass = encoder.beginComputePass();
        let kernel: Kernel | null = null;
        for (let i = 0; i < nsteps!; i++, at += 4) {
            const step = steps[a[at]!]!;
            if (step.kernel !== kernel) pass.setPipeline((kernel = step.kernel).pipeline!);
            pass.setBindGroup(0, step.group);
            pass.dispatchWorkgroups(a[at + 1]!, a[at + 2]!, a[at + 3]!);
        }
        pass.end();
        if (read === NO_READ) {
            queue.submit([encoder.finish()]);
            this.answerWhenDone([ticket!]);
            return;
        }
        const staging = this.staging.pop() ?? this.stagingBuffer(4);
        encoder.copyBufferToBuffer(bound.ring, read! * 4, staging, 0, 4);
        queue.submit([encoder.finish()]);
        staging.mapAsync(GPUMapMode.READ).then(
            () => {
                const token = new Int32Array(staging.getMappedRange())[0]!;
                staging.unmap();
                this.staging.push(staging);
                this.answer(ticket!, true, token);
            },
            () => this.answer(ticket!, false),
        );
    }
}

function u64(a: Uint32Array, i: number): number {
    return a[i]! + a[i + 1]! * 2 ** 32;
}
