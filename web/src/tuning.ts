// tuning.ts: measures schedules on the GPU while nobody asks for anything, and keeps what was found for the next time.
//
// A short list soon after the first answer, the rest when nothing was asked for in a long while. An answer that is asked
// for waits for what is out on the device, some ten milliseconds, and no more. What was found is read when a model is
// opened: by the name of the adapter and of the browser, who brings its own compiler for the adapter's language.
import { STATE, type Core } from "./core.js";
import type { Gpu } from "./gpu.js";
import { keepTuned } from "./tuned.js";

const SOON_MS = 2000; // of quiet, before the first time
const SHORT_MS = 3000; // of measuring then, at most
const IDLE_MS = 15000; // of quiet, before the rest

export const adapterName = (gpu: Gpu): string => `${gpu.adapter.label}, ${navigator.userAgent}`.slice(0, 400);

export class Tuning {
    private timer = 0;
    private wanted = false;
    private over = false; // all was measured, or cannot be
    private short = true; // the first time is not over yet, however often an answer came between
    private spent = 0; // milliseconds of measuring
    private longest = 0; // of them one piece took: what is out on the device cannot be taken back
    private running: Promise<void> = Promise.resolve();

    constructor(
        private readonly core: Core,
        private readonly gpu: Gpu,
        private readonly tell: (core: Core, gpu: Gpu) => void,
        private readonly log: (line: string) => void,
    ) {}

    /** Nothing is asked for any more. */
    idle(): void {
        clearTimeout(this.timer);
        if (this.over) return;
        this.timer = setTimeout(() => (this.running = this.run()), this.short ? SOON_MS : IDLE_MS) as unknown as number;
    }

    /** Comes back when nothing of it is out on the device. */
    async stop(): Promise<void> {
        clearTimeout(this.timer);
        this.wanted = false;
        await this.running;
    }

    private async run(): Promise<void> {
        const { core, gpu, short } = this;
        let begun = performance.now();
        this.wanted = gpu.trying = true;
        for (let state: number = STATE.WORKING; ; ) {
            this.tell(core, gpu);
            if (state !== STATE.WAITING) {
                const now = performance.now();
                this.spent += now - begun;
                this.longest = Math.max(this.longest, now - begun);
                begun = now;
                if (short && this.spent + this.longest > SHORT_MS) this.wanted = this.short = false;
                if (!this.wanted) break;
            }
            state = core.c.hob_w_tune(core.page);
            if (state === STATE.WAITING) await gpu.progress();
            else if (state !== STATE.WORKING) {
                this.over = state !== STATE.TEXT;
                if (state === STATE.TEXT || state === STATE.END) await keepTuned(core.out());
                if (this.over) break;
            } else await new Promise((done) => setTimeout(done)); // lets messages in
        }
        gpu.trying = false;
        if (this.over) this.log("schedules were measured on this adapter; they are used when the model is opened again");
        else if (short !== this.short) this.idle();
    }
}
