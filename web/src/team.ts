// team.ts: a kernel's range shared among threads: the core's worker and its helpers, on one shared memory.
//
// Only kernels run on helpers (helper.ts); of all this the core knows `hob_share`. A range is cut into pieces, and each
// thread has as many of them, one after the other: what lies together is read by one thread, and nobody else looks at
// where it counts. Whoever has done its own takes what others have left, so a helper that sleeps or comes late delays
// nobody: only pieces that somebody took are waited for. Between ranges a helper spins for a moment, since the next one is
// microseconds away, and then sleeps.
import { kernelsOn, type KernelFunction, type Kernels } from "./kernels.js";
import { THREADS_MOST } from "./protocol.js";

// What the threads share, words in cache lines of their own but for the job's. Each thread's CLAIM is the job's number and,
// in its low bits, its next piece; all ones there: closed. A piece is taken by compare-and-exchange on it, and the job's
// other words are written only while all are closed: who takes a piece has read the right ones.
const LINE = 16;
const CLAIM = 0; // and one for each more thread, from there on
const DONE = CLAIM + THREADS_MOST * LINE, SLEEPERS = DONE + LINE, FAILED = SLEEPERS + LINE, PIECES = FAILED + LINE;
const THREADS = PIECES + 1, EXTENT = PIECES + 2, FUNCTION = PIECES + 3, ARGS = PIECES + 4, DIMS = PIECES + 5;
const WORDS = PIECES + LINE;
const CLOSED = 0xfff;
const PIECES_EACH = 8; // the last one to be ready is late by an eighth of its share at most
const STACK = 128 << 10; // what the kernels of the core's worker have (tools/build_wasm.py)
const SPIN_MS = 0.3;
const START_MS = 10_000; // a helper that is not there by then is not waited for
const LOST_MS = 30_000; // nor one that took a piece and never says that it is done

export interface ToHelper {
    module: WebAssembly.Module;
    memory: WebAssembly.Memory;
    words: number;
    stack: number;
    index: number;
}
/** null: ready; a text: what went wrong. */
export type FromHelper = string | null;

const pause = (Atomics as { pause?: () => void }).pause?.bind(Atomics) ?? (() => {});

/** Waits a moment for `word` to be something else than `seen`. */
function spin(w: Int32Array, word: number, seen: number): boolean {
    const start = performance.now();
    do {
        for (let i = 0; i < 200; i++) {
            if (Atomics.load(w, word) !== seen) return true;
            pause();
        }
    } while (performance.now() - start < SPIN_MS);
    return false;
}

/** The first piece of a thread's own. */
const firstOf = (thread: number, pieces: number, threads: number) => Math.floor((pieces * thread) / threads);

/** Takes pieces until there are none: first its own, then what others have left. */
function work(w: Int32Array, self: number, functions: KernelFunction[], fails: (e: unknown) => void): void {
    let taken = 0;
    for (let i = 0, all = Atomics.load(w, THREADS); i < all; i++) {
        const owner = (self + i) % all, word = CLAIM + owner * LINE;
        for (;;) {
            const claim = Atomics.load(w, word), piece = claim & CLOSED;
            const pieces = Atomics.load(w, PIECES), threads = Atomics.load(w, THREADS);
            if (piece >= firstOf(owner + 1, pieces, threads)) break;
            if (Atomics.compareExchange(w, word, claim, claim + 1) !== claim) continue;
            const extent = w[EXTENT]! >>> 0;
            const begin = Math.floor((extent * piece) / pieces), end = Math.floor((extent * (piece + 1)) / pieces);
            try {
                functions[w[FUNCTION]!]!(w[ARGS]!, w[DIMS]!, begin, end);
            } catch (e) {
                Atomics.store(w, FAILED, 1);
                fails(e);
            }
            taken++;
        }
    }
    if (taken) Atomics.add(w, DONE, taken);
}

/** A helper's life; it ends with its worker. */
export async function help(m: ToHelper, post: (m: FromHelper) => void): Promise<void> {
    const { functions } = await kernelsOn(m.module, m.memory, m.stack);
    const w = new Int32Array(m.memory.buffer, m.words, WORDS);
    const own = CLAIM + m.index * LINE;
    post(null);
    await new Promise((done) => setTimeout(done)); // that is sent before this thread listens no more
    for (;;) {
        const claim = Atomics.load(w, own);
        if ((claim & CLOSED) !== CLOSED) work(w, m.index, functions, (e) => post(String(e)));
        if (spin(w, own, Atomics.load(w, own))) continue;
        Atomics.add(w, SLEEPERS, 1);
        Atomics.wait(w, own, claim); // not, if it has changed by now
        Atomics.sub(w, SLEEPERS, 1);
    }
}

export interface Helper {
    worker: Worker;
    failed: Promise<string>;
}

/** Begins to fetch and start helpers: what else has to be fetched and started takes as long. */
export const helpers = (n: number): Helper[] =>
    Array.from({ length: n }, () => {
        const worker = new Worker(new URL("./helper.js", import.meta.url), { type: "module", name: "hob helper" });
        const failed = new Promise<string>((done) => {
            worker.onerror = (e) => (e.preventDefault(), done(e.message || "it could not be fetched"));
        });
        return { worker, failed };
    });

export class Team {
    private helpers: Worker[] = [];
    private w: Int32Array | null = null;
    private job = 0;
    private closed = false;

    constructor(
        private readonly kernels: Kernels,
        private readonly log: (line: string) => void,
    ) {}

    /** Threads that run kernels, the core's worker included. */
    get size(): number {
        return 1 + this.helpers.length;
    }

    /** Has these run kernels too, or as many of them as can be had. */
    async start(all: Helper[], module: WebAssembly.Module, memory: WebAssembly.Memory, room: (bytes: number) => number): Promise<void> {
        const size = all.length + 1;
        if (size === 1) return;
        const words = (room(WORDS * 4 + 64 + STACK * (size - 1)) + 63) & ~63;
        if (words === 0) {
            for (const { worker } of all) worker.terminate();
            return this.log("there is no memory for more threads: one runs");
        }
        this.w = new Int32Array(memory.buffer, words, WORDS);
        for (let t = 0; t < size; t++) this.w[CLAIM + t * LINE] = CLOSED;
        const started = all.map(async ({ worker, failed }, index) => {
            const stack = (words + WORDS * 4 + STACK * (index + 1)) & ~15;
            const said = new Promise<string | null>((done) => {
                worker.onmessage = (e: MessageEvent<FromHelper>) => done(e.data);
                setTimeout(done, START_MS, "it took too long");
                worker.postMessage({ module, memory, words, stack, index: index + 1 } satisfies ToHelper);
            });
            const why = await Promise.race([said, failed]);
            worker.onmessage = (e: MessageEvent<FromHelper>) => this.log(`a helper failed: ${e.data}`);
            if (why === null && !this.closed) return this.helpers.push(worker);
            worker.terminate();
            throw why;
        });
        const lost = (await Promise.allSettled(started)).filter((s) => s.status === "rejected");
        if (lost.length && !this.closed) this.log(`${lost.length} of ${size - 1} helper threads did not start (${lost[0]!.reason}): ${this.size} run`);
    }

    /** Runs a kernel over [0, extent) on so many threads; false: one failed, and from then on this one runs alone. */
    readonly share = (fn: number, args: number, dims: number, extent: number, pieces: number, threads: number): boolean => {
        const w = this.w;
        const count = Math.min(pieces, threads * PIECES_EACH, CLOSED - 1);
        if (!w || count < 2) {
            this.kernels.functions[fn]!(args, dims, 0, extent);
            return true;
        }
        w[PIECES] = count;
        w[THREADS] = threads;
        w[EXTENT] = extent;
        w[FUNCTION] = fn;
        w[ARGS] = args;
        w[DIMS] = dims;
        w[DONE] = 0;
        this.job = (this.job + CLOSED + 1) | 0;
        const each = (fn: (claim: number, thread: number) => void) => {
            for (let t = 0; t < threads; t++) fn(CLAIM + t * LINE, t);
        };
        each((claim, t) => Atomics.store(w, claim, this.job | firstOf(t, count, threads)));
        if (Atomics.load(w, SLEEPERS) > this.size - threads) each((claim) => Atomics.notify(w, claim));
        work(w, 0, this.kernels.functions, (e) => this.log(`a kernel failed: ${e}`));
        let done: number;
        const start = performance.now();
        while ((done = Atomics.load(w, DONE)) < count) {
            if (spin(w, DONE, done)) continue;
            Atomics.wait(w, DONE, done, 1); // nobody wakes it: so late is a thread that has lost its processor
            if (performance.now() - start > LOST_MS) Atomics.store(w, FAILED, 1);
            if (Atomics.load(w, FAILED)) break;
        }
        each((claim) => Atomics.store(w, claim, this.job | CLOSED));
        if (!Atomics.load(w, FAILED)) return true;
        this.log("a thread failed: one runs from now on");
        this.close();
        return false;
    };

    close(): void {
        this.closed = true;
        for (const helper of this.helpers.splice(0)) helper.terminate();
        this.w = null;
    }
}
