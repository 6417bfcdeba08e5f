// gpu.ts: runs the core's command list on WebGPU: buffers, pipelines, bind groups made once, one submit a token.
//
// Nothing is decided here: sizes, offsets and grids come in the list. Answers are collected and told to the core
// between its steps (`drain`), because the core must not be entered while it is running. A token comes back through
// a ring of little staging buffers, so that several tokens are on their way at once. A pipeline is made when a step
// that needs it is handed over, or somewhat earlier; what follows such a step waits behind it. Where the browser looks
// for answers only now and then (adapter.ts), empty submits make it look while something is awaited.
import { OP, keep, u64 } from "./commands.js";
import type { AdapterInfo } from "./adapter.js";
import { Pipelines, type Kernel } from "./pipelines.js";
import { Tracer } from "./trace.js";
import type { Trace } from "./types.js";

const NO_READ = 0xffffffff;
const NUDGE_MS = 4, NUDGE_MS_MAX = 16; // the least that a timer waits; less than a tick by far
const LOW_TICKETS_MAX = 16; // staging buffers at the start; more are made when more is in flight

interface BoundStep {
    kernel: Kernel;
    group: GPUBindGroup;
    bytes: number; // of the ranges that are bound
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
    /** While kernels are only tried: what goes wrong is theirs, not the device's. */
    trying = false;
    private readonly buffers: (GPUBuffer | undefined)[] = [];
    private readonly kernels: (Kernel | undefined)[] = [];
    private readonly bounds: (Bound | undefined)[] = [];
    private readonly pipelines: Pipelines;
    private readonly staging: GPUBuffer[] = []; // free ones
    private answers: Answer[] = [];
    private wake: (() => void) | null = null;
    private closed = false;
    private tracer: Tracer | null = null;
    private awaited = 0;
    private timer: ReturnType<typeof setTimeout> | undefined;
    private later: Uint32Array[] | null = null; // lists that wait for pipelines, oldest first

    constructor(
        readonly device: GPUDevice,
        readonly adapter: AdapterInfo,
        private readonly late: boolean,
        private readonly memory: () => ArrayBufferLike,
    ) {
        this.pipelines = new Pipelines(device, (message) => this.fail(message));
        device.addEventListener("uncapturederror", (e) => this.fail((e as GPUUncapturedErrorEvent).error.message));
        void device.lost.then((info) => this.closed || this.giveUp(info.message || "the device was lost"));
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

    /** Nothing more is expected of the device. */
    giveUp(why: string): void {
        this.lost = true;
        this.failed ??= why;
        this.wake?.();
    }

    /** The steps of the next submits with their times; of fewer where `traceEnd` comes first. */
    trace(submits: number): Promise<Trace> {
        this.traceEnd();
        const tracer = new Tracer(this.device, this.adapter.label, submits);
        this.tracer = tracer;
        return tracer.trace;
    }

    traceEnd(): void {
        this.tracer?.end();
        this.tracer = null;
    }

    /** Gives the device back with everything on it. */
    close(): void {
        this.traceEnd();
        this.closed = true;
        this.device.destroy();
    }

    private fail(message: string): void {
        if (!this.trying) this.failed ??= message;
    }

    private answer(ticket: number, ok = true, token = 0): void {
        this.answers.push({ ticket, ok: ok && this.failed === null, token });
        this.wake?.();
    }

    /** The promise, which the browser keeps soon. */
    private soon<T>(promise: Promise<T>): Promise<T> {
        if (!this.late) return promise;
        if (this.awaited++ === 0) this.nudge(NUDGE_MS);
        return promise.finally(() => {
            clearTimeout(this.timer);
            if (--this.awaited) this.nudge(NUDGE_MS);
        });
    }

    // What takes long is looked for seldom: looking takes the processor's time, which a software adapter wants.
    private nudge(ms: number): void {
        this.timer = setTimeout(() => {
            this.device.queue.submit([]);
            this.nudge(Math.min(ms * 2, NUDGE_MS_MAX));
        }, ms);
    }

    private answerWhenDone(tickets: number[]): void {
        if (tickets.length === 0) return;
        const all = (ok: boolean) => tickets.forEach((t) => this.answer(t, ok));
        this.soon(this.device.queue.onSubmittedWorkDone()).then(
            () => all(true),
            () => all(false),
        );
    }

    private stagingBuffer(size: number): GPUBuffer {
        return this.device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    }

    /** Runs a list; it lies in the core's memory, which does not move meanwhile. */
    run(list: Uint32Array): void {
        if (this.later) this.later.push(keep(list, this.memory()));
        else this.execute(list);
    }

    private execute(list: Uint32Array): void {
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
                    this.device.queue.writeBuffer(this.buffers[a[1]!]!, u64(a, 2), a as GPUAllowSharedBufferSource, 5, a[4]! / 4);
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
                    this.kernelMake(a);
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
                    if (this.missing(a)) {
                        this.wait(keep(list.subarray(i), this.memory()));
                        this.answerWhenDone(written);
                        return;
                    }
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
        this.device.queue.writeBuffer(this.buffers[id]!, off, this.memory() as ArrayBuffer, at, n);
    }

    private async read(ticket: number, id: number, off: number, n: number, at: number): Promise<void> {
        const staging = this.stagingBuffer(n);
        try {
            const encoder = this.device.createCommandEncoder();
            encoder.copyBufferToBuffer(this.buffers[id]!, off, staging, 0, n);
            this.device.queue.submit([encoder.finish()]);
            await this.soon(staging.mapAsync(GPUMapMode.READ));
            new Uint8Array(this.memory(), at, n).set(new Uint8Array(staging.getMappedRange()));
            this.answer(ticket);
        } catch {
            this.answer(ticket, false);
        }
        staging.destroy();
    }

    private kernelMake(a: Uint32Array): void {
        const [ticket, id, nameAt, nameN, textAt, textN, nbind, writes] = a as unknown as number[];
        const decode = (at: number, n: number) => new TextDecoder().decode(new Uint8Array(this.memory(), at, n).slice());
        const [name, code] = [decode(nameAt!, nameN!), decode(textAt!, textN!)];
        this.kernels[id!] = this.pipelines.kernel(name, code, nbind!, writes!);
        this.answer(ticket!);
    }

    // Kernels of a submit that have no pipeline yet; null: none.
    private missing(a: Uint32Array): Kernel[] | null {
        if (this.failed !== null) return null;
        const steps = this.bounds[a[1]!]!.regimes[a[2]!]!;
        const missing = new Set<Kernel>();
        const first = 6 + a[4]!;
        for (let i = 0; i < a[5]!; i++) {
            const { kernel } = steps[a[first + i * 4]!]!;
            if (!kernel.pipeline && !kernel.broken) missing.add(kernel);
        }
        return missing.size ? [...missing] : null;
    }

    // The list begins with a submit that cannot be run yet.
    private wait(list: Uint32Array): void {
        this.later = [list];
        const a = list.subarray(1, 1 + (list[0]! >>> 8));
        void Promise.all(this.missing(a)!.map((k) => this.pipelines.make(k))).then(() => {
            const lists = this.later!;
            this.later = null;
            for (const l of lists) this.run(l); // one of them may wait again: the rest then goes behind it
        });
    }

    private bind(a: Uint32Array): void {
        let i = 0;
        const next = () => a[i++]!;
        const id = next();
        const bound: Bound = { params: this.buffers[next()]!, ring: this.buffers[next()]!, regimes: [] };
        const soon: Kernel[][] = []; // by regime
        for (let r = next(); r > 0; r--) {
            const steps: BoundStep[] = [];
            const nsteps = next();
            const early = next();
            for (let s = 0; s < nsteps; s++) {
                const kernel = this.kernels[next()]!;
                const entries: GPUBindGroupEntry[] = [];
                const nbind = next();
                for (let binding = 0; binding < nbind; binding++, i += 5)
                    entries.push({
                        binding,
                        resource: { buffer: this.buffers[a[i]!]!, offset: u64(a, i + 1), size: u64(a, i + 3) },
                    });
                const bytes = entries.reduce((sum, e) => sum + (e.resource as GPUBufferBinding).size!, 0);
                steps.push({ kernel, group: this.device.createBindGroup({ layout: kernel.layout, entries }), bytes });
            }
            bound.regimes.push(steps);
            soon.push(steps.slice(0, early).map((s) => s.kernel));
        }
        this.bounds[id] = bound;
        // a prompt's steps are wanted before those of its answer; weights go on coming meanwhile
        for (const k of soon.reverse().flat()) void this.pipelines.make(k);
    }

    private submit(a: Uint32Array): void {
        const [ticket, id, regime, read, head, nsteps] = a as unknown as number[];
        const bound = this.bounds[id!]!;
        const steps = bound.regimes[regime!]!;
        const broken = Array.from({ length: nsteps! }, (_, i) => steps[a[6 + head! + i * 4]!]!).some((s) => !s.kernel.pipeline);
        if (this.failed !== null || broken) return this.answer(ticket!, false);
        const queue = this.device.queue;
        let at = 6;
        queue.writeBuffer(bound.params, 0, a as GPUAllowSharedBufferSource, at, head!);
        const timed = this.tracer?.next(nsteps!, a.subarray(at)) ?? null;
        at += head!;

        const encoder = this.device.createCommandEncoder();
        let pass = timed ? null : encoder.beginComputePass();
        let kernel: Kernel | null = null;
        for (let i = 0; i < nsteps!; i++, at += 4) {
            const step = steps[a[at]!]!;
            if (timed) {
                const workgroups: [number, number, number] = [a[at + 1]!, a[at + 2]!, a[at + 3]!];
                pass?.end();
                pass = encoder.beginComputePass(timed.pass({ name: step.kernel.name, bound_bytes: step.bytes, workgroups }));
                kernel = null;
            }
            if (step.kernel !== kernel) pass!.setPipeline((kernel = step.kernel).pipeline!);
            pass!.setBindGroup(0, step.group);
            pass!.dispatchWorkgroups(a[at + 1]!, a[at + 2]!, a[at + 3]!);
        }
        pass?.end();
        timed?.resolve(encoder);
        if (read === NO_READ) {
            queue.submit([encoder.finish()]);
            timed?.read();
            this.answerWhenDone([ticket!]);
            return;
        }
        const staging = this.staging.pop() ?? this.stagingBuffer(4);
        encoder.copyBufferToBuffer(bound.ring, read! * 4, staging, 0, 4);
        queue.submit([encoder.finish()]);
        timed?.read();
        this.soon(staging.mapAsync(GPUMapMode.READ)).then(
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
