// worker.ts: the worker: the wasm core, its devices and the loop that steps it. Everything heavy happens here.
import { openAdapter, type Opened } from "./adapter.js";
import { Core, STATE } from "./core.js";
import { HobError, errorBody, failure } from "./errors.js";
import { Gpu } from "./gpu.js";
import { bestKernels, kernelsOn, type KernelSet } from "./kernels.js";
import { modules, plainMemory, sharedMemory } from "./modules.js";
import type { FromWorker, Open, ToWorker } from "./protocol.js";
import { openSource, type ModelSource } from "./source.js";
import { Team, helpers, type Helper } from "./team.js";
import { readTuned } from "./tuned.js";
import { Tuning, adapterName } from "./tuning.js";
import type { AnswerStats, DeviceName, EngineInfo, EvaluateRequest, Progress, Trial } from "./types.js";

const TRIAL_MS = { cpu: 80, webgpu: 120 }; // running products; what is made for them comes before
const THREADS_MAX = 8; // unless more are asked for
const LATE_MS = 3000; // who asked for the CPU waits no longer for WebGPU's figure
const BOTH_MAX = 256 << 20; // a larger model makes room for the one that takes its place
const QUIET_MS = 100; // until it seems that nothing is asked for
const SLICE_MS = 12; // work between two looks at the messages
const SAY_MS = 16; // between two messages with text: each wakes the page's thread, which takes a processor from the kernels

let source: ModelSource | null = null;
let trials: Trial[] = []; // of that source: opening it again times nothing anew
let open: Opening | null = null;
let asking = 0; // id of the answer or evaluation being made
let cancelled = 0;
let latest: Open; // those before it give up

let saidAt = 0; // when text was posted last
let held: (FromWorker & { type: "text" }) | null = null; // text that waits for more

function flush(): void {
    if (!held) return;
    postMessage(held);
    held = null;
    saidAt = performance.now();
}

/** Text of an answer: at once, or together with what else comes within SAY_MS. */
function say(id: number, lines: string): void {
    if (held) held.lines += lines;
    else setTimeout(flush, SAY_MS);
    held ??= { type: "text", id, lines };
    if (performance.now() - saidAt >= SAY_MS) flush();
}

function post(m: FromWorker): void {
    flush();
    postMessage(m);
}

const log = (line: string) => post({ type: "log", line });
const progress = (p: Progress) => post({ type: "progress", progress: p });

onmessage = (e: MessageEvent<ToWorker>) => {
    const m = e.data;
    if (m.type === "cancel") cancelled = m.id;
    if (m.type === "ask") void answer(m.id, m.request);
    if (m.type === "evaluate") void evaluate(m.id, m.request);
    if (m.type === "trace") void trace(m.id, m.submits);
    if (m.type === "open") {
        latest = m;
        void openModel(m).catch((e) => post({ type: "failed", id: m.id, error: errorBody(e), open: open !== null }));
    }
};

// Lets messages in: a timer would wait for four milliseconds.
const channel = new MessageChannel();
const breathing: (() => void)[] = [];
channel.port1.onmessage = () => breathing.shift()?.();
const breathe = () =>
    new Promise<void>((done) => {
        breathing.push(done);
        channel.port2.postMessage(0);
    });

function tell(core: Core, gpu: Gpu | null): void {
    if (!gpu) return;
    for (const a of gpu.drain()) core.c.hob_w_answer(core.page, a.ticket, a.ok ? 1 : 0, a.token);
    if (gpu.lost) core.c.hob_w_lost(core.page);
}

// The core says that something failed; the device may know more.
function explain(core: Core, gpu: Gpu | null): HobError {
    const e = core.error();
    return gpu?.failed && /^DEVICE_/.test(e.code) ? core.error(` (${gpu.failed})`) : e;
}

/** Steps until the core says something that is not about going on. */
async function run(core: Core, gpu: Gpu | null, step: () => number, each?: () => void): Promise<number> {
    let since = performance.now();
    for (;;) {
        tell(core, gpu);
        const state = step();
        if (state === STATE.WAITING && gpu) {
            await gpu.progress();
        } else if (state === STATE.NEED) {
            const { c, page } = core;
            const far = source!.near?.(c.hob_w_need_off(page), c.hob_w_need_n(page)) === false;
            const filled = fill(core);
            let come = false;
            if (far) await Promise.all([filled.finally(() => (come = true)), ahead(core, () => come)]);
            else await filled;
        } else if (state !== STATE.WORKING && state !== STATE.WAITING) {
            return state;
        }
        if (performance.now() - since > SLICE_MS) {
            each?.();
            await breathe();
            since = performance.now();
        }
    }
}

/** Kernels that an answer will need are checked, until there is something better to do. */
async function ahead(core: Core, over: () => boolean): Promise<void> {
    do await breathe();
    while (!over() && core.c.hob_w_ahead(core.page));
}

/** Nothing is asked for, perhaps for long. */
function idle(): void {
    const core = open?.core;
    const over = () => asking !== 0 || open?.core !== core;
    if (core) setTimeout(() => over() || void ahead(core, over), QUIET_MS);
}

async function fill(core: Core): Promise<void> {
    const off = core.c.hob_w_need_off(core.page);
    const n = core.c.hob_w_need_n(core.page);
    let done = 0;
    await source!.read(off, n, (at, part) => {
        core.bytes(core.c.hob_w_need_at(core.page), n).set(part, at);
        done += part.length;
    });
    if (done !== n) throw failure("IO", `${source!.name} ends before byte ${off + n}`);
    core.c.hob_w_filled(core.page, 1);
}

function speed(stage: "store" | "load"): (done: number, total: number) => void {
    const start = performance.now();
    let last = 0;
    return (done, total) => {
        const now = performance.now();
        if (now - last < 60 && done < total) return;
        last = now;
        progress({ stage, done, total, perSecond: (done * 1000) / Math.max(now - start, 1) });
    };
}

function drop(): void {
    void open?.tuning?.stop();
    open?.gpu?.close();
    open?.team.close();
    open = null;
}

interface Opening {
    core: Core;
    gpu: Gpu | null;
    team: Team;
    tuning?: Tuning | null;
}

async function openModel(m: Open): Promise<void> {
    const start = performance.now();
    if (open?.gpu?.lost) drop();
    progress({ stage: "start" });
    if (m.source) {
        source?.close();
        source = null;
        trials = [];
    }
    const kernel_set = m.kernels ?? bestKernels();
    trials = trials.filter((t) => !t.error && t.mode === m.mode && (t.device !== "cpu" || (t.set === kernel_set && (!m.threads || t.threads === m.threads))));
    const cpu = trials.find((t) => t.device === "cpu");
    const most = m.threads || Math.min(navigator.hardwareConcurrency || 1, THREADS_MAX);
    const wanted = cpu && m.device === "webgpu" ? 1 : most;
    const shared = wanted > 1 ? sharedMemory() : "";
    if (m.threads && typeof shared === "string" && shared) log(`${shared}: one of them runs`);
    const memory = typeof shared === "string" ? plainMemory() : shared;
    // all of this takes the time of its slowest; no helper starts before there is a model
    const beside: Helper[] = [];
    const opened = m.source ? openSource(m.source, speed("store")).then((s) => void (source = s)) : Promise.resolve();
    const fetched = opened.then(() => void beside.push(...helpers(memory === shared ? wanted - 1 : 0)));
    const parts = [modules(kernel_set, m.mode, memory === shared), adapterFor(m.device), fetched] as const;
    const all = Promise.all(parts);
    let gpu: Gpu | null = null, team: Team | null = null, started: Promise<void> | null = null;
    try {
        let [[coreModule, kernelModule], adapter] = await all;
        const kernels = await kernelsOn(kernelModule, memory);
        team = new Team(kernels, log);
        const core: Core = await Core.start(coreModule, memory, { gpu: (list) => gpu!.run(list), log, share: team.share });
        const step = () => {
            if (m.id !== latest.id) throw failure("INTERRUPTED", "the model is opened in another way; wait for that");
            return core.c.hob_w_step(core.page);
        };
        core.addKernels(kernels);
        core.c.hob_w_mode(core.page, m.mode === "fast" ? 1 : 0);
        started = team.start(beside, kernelModule, memory, (n) => core.c.hob_w_room(core.page, n));
        if (typeof adapter !== "string") {
            gpu = new Gpu(adapter.device, adapter.info, adapter.late, () => memory.buffer);
            const ok = core.c.hob_w_adapter(core.page, ...core.arg(0, adapter.info.base), ...core.arg(1, adapter.info.profile));
            if (!ok) {
                adapter = core.error().message;
                gpu.close();
                gpu = null;
            }
        }
        progress({ stage: "header" });
        core.c.hob_w_open(core.page, source!.size, ...core.arg(0, source!.name), ...m.sizes);
        if ((await run(core, gpu, step)) !== STATE.HEADER) throw explain(core, gpu);
        await started;

        const { device, why } = await choose({ core, gpu, team }, adapter, m, kernel_set);
        if (device === "cpu") {
            gpu?.close();
            gpu = null;
        } else {
            team.close();
        }
        core.c.hob_w_threads(core.page, team.size, m.threads ? 0 : 1);
        progress({ stage: "compile" });
        if (gpu) core.c.hob_w_tuned(core.page, ...core.arg(0, adapterName(gpu)), ...core.arg(1, m.tune ? await readTuned() : ""));
        await breathe();
        if (!core.c.hob_w_load(core.page, device === "webgpu" ? 1 : 0)) throw explain(core, gpu);
        if (source!.size > BOTH_MAX) drop(); // until here, a failure takes nothing away
        const loading = speed("load");
        const told = () => loading(core.c.hob_w_load_done(core.page), core.c.hob_w_load_total(core.page));
        if ((await run(core, gpu, step, told)) !== STATE.READY) throw explain(core, gpu);
        told();
        source!.rest?.();
        drop();
        open = { core, gpu, team, tuning: gpu && m.tune ? new Tuning(core, gpu, tell, log) : null };
        const info: EngineInfo = { ...core.info<EngineInfo>(), why, trials, kernel_set, mode: m.mode, threads: team.size };
        info.load_ms = performance.now() - start;
        info.heap_bytes = core.heapBytes;
        post({ type: "ready", id: m.id, info });
        idle();
    } catch (e) {
        gpu?.close();
        team?.close();
        await started;
        const [, unused] = await Promise.allSettled(parts); // Chromium keeps a worker that is ended while it waits for one of them
        if (!gpu && unused.status === "fulfilled" && typeof unused.value !== "string") unused.value.device.destroy();
        for (const { worker } of beside) worker.terminate();
        throw e;
    }
}

// The adapter is opened for its figure too, but then nothing waits for it: not where it is known, and not for long.
async function adapterFor(asked: DeviceName | "auto"): Promise<Opened | string> {
    if (asked !== "cpu") return openAdapter();
    if (trials.length === 2) return "not asked for";
    let late = false;
    const opened = openAdapter().then((a) => {
        if (late && typeof a !== "string") a.device.destroy();
        return a;
    });
    const limit = new Promise<string>((done) => setTimeout(done, LATE_MS, "the browser took too long to offer an adapter"));
    const first = await Promise.race([opened, limit]);
    late = typeof first === "string";
    return first;
}

// Both devices are timed on what decoding does most, whichever is asked for: a person sees what the other would give. Where
// there is but one, nothing is.
async function choose({ core, gpu, team }: Opening, adapter: Opened | string, m: Open, set: KernelSet): Promise<{ device: DeviceName; why: string }> {
    const asked = m.device;
    if (asked === "webgpu" && !gpu)
        throw failure("DEVICE_UNKNOWN", `WebGPU cannot be used: ${adapter as string}; use the CPU`);
    progress({ stage: "probe" });
    const known = (device: DeviceName) => trials.find((t) => t.device === device && (t.ms || !gpu));
    const cpu = known("cpu") ?? (await cpuTrial(core, team, set, gpu !== null));
    const web = known("webgpu") ?? (gpu ? await webgpuTrial(core, gpu, asked) : { device: "webgpu", adapter: "", error: adapter as string });
    trials = [web, cpu].map((t) => ({ ...t, mode: m.mode }));
    if (asked !== "auto") return { device: asked, why: "you chose it" };
    if (!gpu) return { device: "cpu", why: `no WebGPU: ${adapter as string}` };
    if (web.error) return { device: "cpu", why: `WebGPU failed its trial: ${web.error}` };
    if (cpu.error) return { device: "webgpu", why: `the CPU failed its trial: ${cpu.error}` };
    const ratio = cpu.ms! / web.ms!;
    const times = (x: number) => (x < 10 ? x.toFixed(1) : x.toFixed(0));
    return ratio > 1
        ? { device: "webgpu", why: `its matrix product is ${times(ratio)} times as fast` }
        : { device: "cpu", why: `its matrix product is ${times(1 / ratio)} times as fast` };
}

async function cpuTrial(core: Core, team: Team, set: KernelSet, timed: boolean): Promise<Trial> {
    const threads = team.size;
    const adapter = `WebAssembly ${set === "relaxed" ? "relaxed SIMD" : "SIMD"}, ${threads > 1 ? `${threads} threads` : "one thread"}`;
    core.c.hob_w_threads(core.page, threads, 0);
    const t: Trial = { device: "cpu", adapter, threads, set };
    return timed ? trial(core, null, t, TRIAL_MS.cpu) : t;
}

function webgpuTrial(core: Core, gpu: Gpu, asked: DeviceName | "auto"): Promise<Trial> {
    const limit = asked === "cpu" ? setTimeout(() => gpu.giveUp("it took too long"), LATE_MS) : 0;
    return trial(core, gpu, { device: "webgpu", adapter: gpu.adapter.label }, TRIAL_MS.webgpu).finally(() => clearTimeout(limit));
}

async function trial(core: Core, gpu: Gpu | null, t: Trial, budget: number): Promise<Trial> {
    const { c, page } = core;
    const start = performance.now();
    if (!c.hob_w_probe(page, gpu ? 1 : 0, budget)) return { ...t, error: core.error().message };
    if ((await run(core, gpu, () => c.hob_w_probe_step(page))) !== STATE.IDLE)
        return { ...t, error: explain(core, gpu).message };
    const ms = c.hob_w_probe_ms(page);
    const gbps = c.hob_w_probe_bytes(page) / Math.max(ms, 1e-6) / 1e6;
    const products = c.hob_w_probe_products(page);
    c.hob_w_probe_end(page);
    return { ...t, ms, gbps, took_ms: performance.now() - start, products };
}

/** Begins what is asked for and steps until its end, `piece` by piece; gives what is to be posted then. */
async function make(id: number, begin: (core: Core) => number, piece: (core: Core) => void, end: (core: Core) => FromWorker): Promise<void> {
    try {
        if (!open) throw failure("ENGINE_BUSY", "no model is open; open one first");
        if (asking) throw failure("ENGINE_BUSY", "an answer is being made; stop it first");
        asking = id;
        let said = false;
        for (;;) {
            const { core, gpu, team, tuning }: Opening = open;
            const { c, page } = core;
            const threads = team.size;
            await tuning?.stop();
            if (!begin(core)) throw core.error();
            const step = () => {
                if (cancelled === id) c.hob_w_cancel(page);
                return c.hob_w_step(page);
            };
            let state: number, since = performance.now();
            do {
                state = await run(core, gpu, step);
                if (state === STATE.TEXT) {
                    said = true;
                    piece(core);
                    if (performance.now() - since < SLICE_MS) continue;
                    await breathe();
                    since = performance.now();
                }
            } while (state === STATE.TEXT);
            if (state === STATE.END) break;
            if (said || team.size === threads) throw explain(core, gpu);
            await openModel({ ...latest, source: null, threads: 1 }); // a helper failed at its work: without any, then
        }
        const message = end(open.core);
        asking = 0;
        post(message);
    } catch (e) {
        if (asking === id) asking = 0;
        post({ type: "error", id, error: errorBody(e) });
    }
    open?.gpu?.traceEnd();
    open?.tuning?.idle();
    idle();
}

/** Of what is handed over from now on; at the end of an answer, or when another trace begins, it has what it has. */
async function trace(id: number, submits: number): Promise<void> {
    try {
        if (!open?.gpu) throw failure("DEVICE_UNKNOWN", "only WebGPU is traced in a page; `hob bench --trace` traces the processor");
        post({ type: "traced", id, result: await open.gpu.trace(submits) });
    } catch (e) {
        post({ type: "error", id, error: errorBody(e) });
    }
}

function answer(id: number, request: string): Promise<void> {
    const now = new Date();
    const seconds = Math.floor(now.getTime() / 1000), zone = -60 * now.getTimezoneOffset();
    return make(
        id,
        (core) => core.c.hob_w_ask(core.page, ...core.arg(0, request), seconds, zone),
        (core) => say(id, core.out()),
        (core) => ({ type: "end", id, lines: core.out(), stats: core.stats<AnswerStats>() }),
    );
}

function evaluate(id: number, request: EvaluateRequest): Promise<void> {
    const rows: number[][] = []; // token, top, logprob, margin: src/api/wasm.c
    const logits = new Map<number, Float32Array>();
    const piece = (core: Core) => {
        const at = core.c.hob_w_eval_logits(core.page);
        const figures = core.numbers();
        const { vocab } = core.info<EngineInfo>();
        for (let i = 0; i < figures.length; i += 4) {
            if (request.logits?.includes(rows.length))
                logits.set(rows.length, new Float32Array(core.memory.buffer, at + i * vocab, vocab).slice());
            rows.push([...figures.subarray(i, i + 4)]);
        }
    };
    return make(
        id,
        (core) => core.c.hob_w_eval(core.page, ...core.ids(request.tokens ?? []), request.rows ?? 0),
        piece,
        (core) => {
            const column = (k: number) => rows.map((r) => r[k]!);
            const logprob = Float64Array.from(column(2));
            const result = {
                tokens: Int32Array.from([...column(0), ...core.numbers()]),
                top: Int32Array.from(column(1)),
                logprob,
                margin: Float64Array.from(column(3)),
                mean: logprob.reduce((a, b) => a + b, 0) / logprob.length,
                logits,
            };
            return { type: "evaluated", id, result };
        },
    );
}
