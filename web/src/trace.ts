// trace.ts: the time of each step of some submits on WebGPU, as a Chrome trace (chrome://tracing, Perfetto).
//
// A submit that is timed has a pass for each step, with a timestamp at both ends; one that is not costs nothing. What
// the browser gives are rounded times (Chromium's by 100 us, unless it is told otherwise), so the sum of many says more
// than one.
import { failure } from "./errors.js";
import type { Trace, TraceEvent } from "./types.js";

const STEPS_MAX = 2048; // two timestamps each, 4096 in a set
const PARAM_N = 0, PARAM_T = 2; // src/program/program.h

interface Slice {
    name: string;
    bound_bytes: number;
    workgroups: [number, number, number];
}

/** One submit that is timed. */
export class Timed {
    private readonly slices: Slice[] = [];
    private readonly set: GPUQuerySet;
    private readonly resolved: GPUBuffer;
    private readonly staging: GPUBuffer;

    constructor(
        device: GPUDevice,
        steps: number,
        private readonly n: number,
        private readonly t: number,
        private readonly came: (events: TraceEvent[]) => void,
    ) {
        const size = 16 * steps;
        this.set = device.createQuerySet({ type: "timestamp", count: 2 * steps });
        this.resolved = device.createBuffer({ size, usage: GPUBufferUsage.QUERY_RESOLVE | GPUBufferUsage.COPY_SRC });
        this.staging = device.createBuffer({ size, usage: GPUBufferUsage.MAP_READ | GPUBufferUsage.COPY_DST });
    }

    /** The next step's pass. */
    pass(slice: Slice): GPUComputePassDescriptor {
        const at = 2 * this.slices.push(slice);
        return { timestampWrites: { querySet: this.set, beginningOfPassWriteIndex: at - 2, endOfPassWriteIndex: at - 1 } };
    }

    /** Behind the last step. */
    resolve(encoder: GPUCommandEncoder): void {
        encoder.resolveQuerySet(this.set, 0, 2 * this.slices.length, this.resolved, 0);
        encoder.copyBufferToBuffer(this.resolved, 0, this.staging, 0, this.staging.size);
    }

    /** Once it was handed over. */
    read(): void {
        const over = (events: TraceEvent[]) => {
            this.set.destroy();
            this.resolved.destroy();
            this.staging.destroy();
            this.came(events);
        };
        this.staging.mapAsync(GPUMapMode.READ).then(
            () => over(this.events(new BigUint64Array(this.staging.getMappedRange()))),
            () => over([]),
        );
    }

    private events(stamps: BigUint64Array): TraceEvent[] {
        const us = (i: number) => Number(stamps[i]!) / 1e3;
        const last = 2 * this.slices.length - 1;
        const what = this.n > 1 ? "prefill" : "decode";
        const event = (name: string, cat: string, ts: number, end: number, args: Record<string, unknown>): TraceEvent =>
            ({ name, cat, ph: "X", pid: 1, tid: 1, ts, dur: Math.max(end - ts, 0), args });
        return [
            event(`${what} ${this.t - this.n}`, what, us(0), us(last), { rows: this.n, steps: this.slices.length }),
            ...this.slices.map(({ name, ...args }, i) =>
                event(name, `${what} step`, us(2 * i), us(2 * i + 1), { kernel: name, ...args, gap_us: i ? us(2 * i) - us(2 * i - 1) : 0 }),
            ),
        ];
    }
}

export class Tracer {
    readonly trace: Promise<Trace>;
    private readonly events: TraceEvent[] = [];
    private left: number; // to be timed
    private out = 0; // timed, and not come yet
    private finish!: () => void;

    constructor(
        private readonly device: GPUDevice,
        adapter: string,
        submits: number,
    ) {
        if (!device.features.has("timestamp-query")) throw failure("DEVICE_UNKNOWN", `${adapter} has no timestamps: nothing can be traced`);
        if (!Number.isInteger(submits) || submits < 1 || submits > 1024) throw failure("DEVICE_RANGE", `${submits} submits; give 1 to 1024`);
        this.left = submits;
        const timing = "timestamps around each step, a pass each; the browser rounds them";
        this.trace = new Promise<void>((done) => (this.finish = done)).then(() => {
            const zero = Math.min(...this.events.map((e) => e.ts));
            for (const e of this.events) e.ts -= zero;
            return { otherData: { device: "webgpu", adapter, timing }, traceEvents: this.events };
        });
    }

    /** Is this submit to be timed? params: its block. */
    next(steps: number, params: Uint32Array): Timed | null {
        if (this.left === 0 || steps === 0 || steps > STEPS_MAX) return null;
        this.left--;
        this.out++;
        return new Timed(this.device, steps, params[PARAM_N]!, params[PARAM_T]!, (events) => {
            this.events.push(...events);
            this.out--;
            if (this.left === 0) this.end();
        });
    }

    /** No more submits; resolves when those that are out have come. */
    end(): void {
        this.left = 0;
        if (this.out === 0) this.finish();
    }
}
