// engine.ts: the page's end: a worker that holds the model, and chat completions over it in OpenAI's shapes.
import { HobError, failure, type ErrorBody } from "./errors.js";
import { THREADS_MOST, type FromWorker, type Sizes, type ToWorker } from "./protocol.js";
import { nameOf } from "./range.js";
import { sweepStored, type SourceInput } from "./source.js";
import type {
    AnswerStats,
    ChatChunk,
    ChatCompletion,
    ChatRequest,
    ChatStream,
    CreateOptions,
    Engine,
    EngineInfo,
    EngineOptions,
    Completions,
    EvaluateRequest,
    Evaluation,
    Trace,
} from "./types.js";

const TRACED = 8; // submits: the prompt's and seven tokens
const SWEEP_MS = 1000; // a worker that is ended lets go of its stored model by then

/** One answer on its way: objects that came and were not taken yet, or somebody waiting for the next. */
class Answer implements ChatStream {
    readonly controller = new AbortController();
    readonly began: Promise<void>;
    private readonly queue: ChatChunk[] = [];
    private error: HobError | null = null;
    private over = false;
    private wake: (() => void) | null = null;
    private ready!: () => void;

    constructor(cancel: () => void, outside: AbortSignal | undefined) {
        this.began = new Promise((done) => (this.ready = done));
        this.controller.signal.addEventListener("abort", cancel, { once: true });
        const abort = () => this.controller.abort(outside?.reason);
        if (outside?.aborted) abort();
        else outside?.addEventListener("abort", abort, { once: true });
    }

    take(lines: string): void {
        for (const line of lines.split("\n")) if (line) this.queue.push(JSON.parse(line) as ChatChunk);
        this.stir();
    }

    end(error: ErrorBody | null): void {
        this.over = true;
        this.error = error && new HobError(error);
        this.stir();
    }

    private stir(): void {
        this.ready();
        this.wake?.();
    }

    /** Waits until there is something: rejects when the answer never began. */
    async first(): Promise<this> {
        await this.began;
        if (this.error && this.queue.length === 0) throw this.error;
        return this;
    }

    async *[Symbol.asyncIterator](): AsyncGenerator<ChatChunk, void> {
        try {
            for (;;) {
                const next = this.queue.shift();
                if (next) {
                    yield next;
                } else if (this.over) {
                    if (this.error) throw this.error;
                    return;
                } else {
                    await new Promise<void>((done) => (this.wake = done));
                    this.wake = null;
                }
            }
        } finally {
            if (!this.over) this.controller.abort();
        }
    }
}

async function sourceOf(model: EngineOptions["model"]): Promise<{ input: SourceInput; transfer: Transferable[] }> {
    if (model instanceof File) return { input: { file: model }, transfer: [] };
    if (!(model instanceof Response)) return { input: { url: new URL(model, location.href).href }, transfer: [] };
    const name = nameOf(new URL(model.url || "model", location.href).href);
    if (!model.body) throw failure("NETWORK", `${name}: the response has no body`);
    const size = Number(model.headers.get("Content-Length") ?? 0);
    if (!streamsCross()) return { input: { blob: await model.blob(), name }, transfer: [] };
    return { input: { stream: model.body, name, size }, transfer: [model.body as unknown as Transferable] };
}

function streamsCross(): boolean {
    const s = new ReadableStream();
    try {
        structuredClone(s, { transfer: [s as unknown as Transferable] });
        return true;
    } catch {
        return false;
    }
}

// OpenAI's meaning: without a seed, answers differ. The core keeps no entropy, so that a seed says everything.
function seeded(request: ChatRequest): ChatRequest {
    if (typeof request !== "object" || (request?.seed ?? null) !== null || request?.temperature === 0) return request;
    const [high, low] = crypto.getRandomValues(new Uint32Array(2));
    return { ...request, seed: (high! >>> 11) * 2 ** 32 + low! };
}

class PageEngine implements Engine {
    readonly chat: { readonly completions: Completions };
    info!: EngineInfo;
    ready = false;
    stats: AnswerStats | null = null;
    private readonly worker = new Worker(new URL("./worker.js", import.meta.url), { type: "module", name: "hob" });
    private readonly answers = new Map<number, Answer>();
    private readonly evaluations = new Map<number, { done(e: Evaluation): void; fail(e: Error): void }>();
    private readonly traces = new Map<number, { done(t: Trace): void; fail(e: Error): void }>();
    private opening: { id: number; done(): void; fail(e: Error): void; options: Partial<EngineOptions> } | null = null;
    private count = 0;
    private over: HobError | null = null; // why nothing is expected of the worker any more

    constructor(private readonly log: ((line: string) => void) | undefined) {
        this.chat = { completions: { create: this.create.bind(this) as Completions["create"] } };
        this.worker.onmessage = (e: MessageEvent<FromWorker>) => this.hear(e.data);
        this.worker.onerror = (e) => this.broken(e.message || "the worker could not be started");
    }

    private post(m: ToWorker, transfer: Transferable[] = []): void {
        this.worker.postMessage(m, transfer);
    }

    private broken(message: string): void {
        this.worker.terminate();
        setTimeout(() => void sweepStored(), SWEEP_MS);
        const error = (this.over ??= failure("PAGE", message));
        this.ready = false;
        this.opening?.fail(error);
        this.opening = null;
        for (const a of this.answers.values()) a.end({ message, type: "server_error", param: null, code: "PAGE" });
        this.answers.clear();
        for (const e of this.evaluations.values()) e.fail(error);
        this.evaluations.clear();
        for (const t of this.traces.values()) t.fail(error);
        this.traces.clear();
    }

    private hear(m: FromWorker): void {
        switch (m.type) {
            case "progress":
                this.opening?.options.onProgress?.(m.progress);
                break;
            case "log":
                this.log?.(m.line);
                break;
            case "ready":
                this.info = m.info;
                this.ready = true;
                this.opened(m.id)?.done();
                break;
            case "failed":
                this.ready = m.open;
                this.opened(m.id)?.fail(new HobError(m.error));
                break;
            case "text":
                this.answers.get(m.id)?.take(m.lines);
                break;
            case "end":
                this.stats = m.stats;
                this.answers.get(m.id)?.take(m.lines);
                this.finish(m.id, null);
                break;
            case "evaluated":
                this.evaluations.get(m.id)?.done(m.result);
                this.evaluations.delete(m.id);
                break;
            case "traced":
                this.traces.get(m.id)?.done(m.result);
                this.traces.delete(m.id);
                break;
            case "error":
                this.traces.get(m.id)?.fail(new HobError(m.error));
                this.traces.delete(m.id);
                this.finish(m.id, m.error);
                break;
        }
    }

    // null: another opening took its place meanwhile
    private opened(id: number): typeof this.opening {
        const opening = this.opening;
        if (opening?.id !== id) return null;
        this.opening = null;
        return opening;
    }

    private finish(id: number, error: ErrorBody | null): void {
        this.answers.get(id)?.end(error);
        this.answers.delete(id);
        if (error) this.evaluations.get(id)?.fail(new HobError(error));
        this.evaluations.delete(id);
    }

    open(input: SourceInput | null, transfer: Transferable[], options: Partial<EngineOptions>): Promise<void> {
        return new Promise((done, fail) => {
            if (this.over) return fail(this.over);
            const t = options.threads ?? 0;
            if (!Number.isInteger(t) || t < 0 || t > THREADS_MOST)
                return fail(failure("DEVICE_RANGE", `${t} threads; give 1 to ${THREADS_MOST}, or none for what is fastest`));
            const { device = "auto", threads = 0, kernels = null, mode = "reference" } = options;
            if (mode !== "reference" && mode !== "fast") return fail(failure("USAGE", `no mode ${String(mode)}; give fast or reference`));
            if (!["auto", "webgpu", "cpu"].includes(device)) return fail(failure("USAGE", `no device ${String(device)}; give auto, webgpu or cpu`));
            if (![null, "simd128", "relaxed"].includes(kernels)) return fail(failure("USAGE", `no kernels ${String(kernels)}; give simd128 or relaxed`));
            const named = { usual: -2, auto: -1, off: 0 }[String(options.speculate ?? "usual")];
            const drafts = named ?? Number(options.speculate);
            if (named === undefined && !(Number.isInteger(drafts) && drafts >= 1 && drafts <= 7))
                return fail(failure("ENGINE_OPTION", `speculate is ${options.speculate}; give "auto", "off" or 1 to 7`));
            this.opening?.fail(failure("INTERRUPTED", "the model is opened in another way; wait for that"));
            const id = ++this.count;
            this.opening = { id, done, fail, options };
            const sizes: Sizes = [options.ctx ?? 0, options.chunk ?? 0, options.rows ?? 0, drafts];
            this.post({ type: "open", id, source: input, device, sizes, threads, kernels, mode, tune: options.tune ?? true }, transfer);
        });
    }

    async reload(options: Omit<EngineOptions, "model" | "onLog" | "signal">): Promise<void> {
        if (this.answers.size || this.evaluations.size) throw failure("ENGINE_BUSY", "an answer is being made; stop it first");
        await this.open(null, [], options);
    }

    private mustBeOpen(): void {
        if (this.over) throw this.over;
        if (this.opening) throw failure("ENGINE_BUSY", "the model is being opened again");
    }

    private async create(request: ChatRequest, options: CreateOptions = {}): Promise<ChatStream | ChatCompletion> {
        this.mustBeOpen();
        const id = ++this.count;
        const answer = new Answer(() => this.post({ type: "cancel", id }), options.signal);
        this.answers.set(id, answer);
        if (!answer.controller.signal.aborted) this.post({ type: "ask", id, request: JSON.stringify(seeded(request)) });
        else this.finish(id, { message: "the request was aborted", type: "aborted", param: null, code: "INTERRUPTED" });
        await answer.first();
        if (request.stream) return answer;
        for await (const whole of answer) {
            if (options.signal?.aborted) throw options.signal.reason;
            return whole as unknown as ChatCompletion;
        }
        throw failure("PAGE", "the answer ended without a word");
    }

    async evaluate(request: EvaluateRequest = {}, options: CreateOptions = {}): Promise<Evaluation> {
        this.mustBeOpen();
        return new Promise((done, fail) => {
            const id = ++this.count;
            const abort = () => {
                this.post({ type: "cancel", id });
                fail(options.signal!.reason as Error);
            };
            if (options.signal?.aborted) return fail(options.signal.reason as Error);
            options.signal?.addEventListener("abort", abort, { once: true });
            this.evaluations.set(id, { done, fail });
            this.post({ type: "evaluate", id, request: { ...request, tokens: request.tokens && Int32Array.from(request.tokens) } });
        });
    }

    async trace(submits = TRACED): Promise<Trace> {
        this.mustBeOpen();
        return new Promise((done, fail) => {
            const id = ++this.count;
            this.traces.set(id, { done, fail });
            this.post({ type: "trace", id, submits });
        });
    }

    close(): void {
        this.broken("the engine was closed; create another");
    }
}

/** Opens a model: resolves when it can answer. */
export async function createEngine(options: EngineOptions): Promise<Engine> {
    const { model, onLog, signal } = options;
    signal?.throwIfAborted();
    void sweepStored();
    const { input, transfer } = await sourceOf(model);
    signal?.throwIfAborted();
    const engine = new PageEngine(onLog);
    const abort = () => engine.close();
    signal?.addEventListener("abort", abort);
    try {
        await engine.open(input, transfer, options);
    } catch (e) {
        engine.close();
        signal?.throwIfAborted();
        throw e;
    } finally {
        signal?.removeEventListener("abort", abort);
    }
    return engine;
}
