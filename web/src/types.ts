// types.ts: what a page sees: the engine, and chat completions in OpenAI's shapes with their names unchanged.

import type { KernelSet, Mode } from "./kernels.js";

export type { KernelSet, Mode };

export interface ChatMessage {
    role: "system" | "user" | "assistant" | (string & {});
    content: string;
    name?: string;
}

/** Passed to the core as it is; a field that hob does not know is an error that names it. */
export interface ChatRequest {
    messages: ChatMessage[];
    model?: string;
    stream?: boolean;
    stream_options?: { include_usage?: boolean };
    max_tokens?: number;
    temperature?: number;
    top_k?: number;
    /** The same seed gives the same answer; without one, answers differ. */
    seed?: number;
    stop?: string | string[];
}

export type FinishReason = "stop" | "length" | (string & {});

export interface Usage {
    prompt_tokens: number;
    completion_tokens: number;
    total_tokens: number;
    prompt_tokens_details?: { cached_tokens: number };
}

export interface ChatCompletion {
    id: string;
    object: "chat.completion";
    created: number;
    model: string;
    choices: { index: number; message: { role: "assistant"; content: string }; finish_reason: FinishReason }[];
    usage: Usage;
}

export interface ChatChunk {
    id: string;
    object: "chat.completion.chunk";
    created: number;
    model: string;
    choices: { index: number; delta: { role?: "assistant"; content?: string }; finish_reason: FinishReason | null }[];
    usage?: Usage;
}

/** A stream is read once; leaving the loop early ends the answer. */
export interface ChatStream extends AsyncIterable<ChatChunk> {
    controller: AbortController;
}

/** How long the last answer took. */
export interface AnswerStats {
    prompt_tokens: number;
    cached_tokens: number;
    answer_tokens: number;
    ttft_ms: number;
    prefill_tps: number;
    decode_tps: number;
    /** Tokens that were tried in advance, and those of them that were right. */
    drafted: number;
    accepted: number;
    /** Kernels that were not checked before the question came, each at its first use. */
    checked: number;
    finish_reason: FinishReason;
}

export type DeviceName = "webgpu" | "cpu";

/**
 * One device's trial: the largest matrix product of the model's layers, timed where there is another device; or why the
 * device is out.
 */
export interface Trial {
    device: DeviceName;
    adapter: string;
    ms?: number;
    gbps?: number;
    /** How long the trial took, compiling and pipelines included, and how many products it ran. */
    took_ms?: number;
    products?: number;
    /** Of the CPU: its threads and its set of kernels. */
    threads?: number;
    set?: KernelSet;
    mode?: Mode;
    error?: string;
}

export interface EngineInfo {
    name: string;
    architecture: string;
    parameters: number;
    file_bytes: number;
    device: DeviceName;
    profile: string;
    ctx: number;
    vocab: number;
    weight_bytes: number;
    kv_bytes: number;
    kernels: number;
    steps: number;
    /** Kernels whose schedule was measured here before. */
    tuned: number;
    /** Threads that run the CPU's kernels (a prompt's: one row has as many as its trial says), and which set those are; 1 where the GPU runs. */
    threads: number;
    kernel_set: KernelSet;
    mode: Mode;
    compile_ms: number;
    load_ms: number;
    heap_bytes: number;
    trials: Trial[];
    /** Why this device, in a sentence. */
    why: string;
}

export type Progress =
    | { stage: "start" | "header" | "probe" | "compile" }
    | { stage: "store"; done: number; total: number; perSecond: number }
    | { stage: "load"; done: number; total: number; perSecond: number };

/** A URL, a file that was dropped or picked, or a Response that was fetched already. */
export type ModelInput = string | URL | File | Response;

export interface EngineOptions {
    model: ModelInput;
    /** `auto` takes the faster one. Both are timed, whichever is named here: `EngineInfo.trials`. */
    device?: DeviceName | "auto";
    /** Context length; the model's own, at most 2,048, by default. */
    ctx?: number;
    /** Rows of a prompt that are read in one step; 256 by default. */
    chunk?: number;
    /** Rows of logits that `evaluate` may read at once; 1 by default. */
    rows?: number;
    /**
     * Text that repeats what was said is drafted, and several tokens are tried at once: `auto`, where that is measured to
     * pay; 1 to 7: so many, always; `off`. By default `auto` on the CPU and `off` on WebGPU, where it means more kernels.
     */
    speculate?: "auto" | "off" | number;
    /** Threads for the CPU's kernels: 1 to 64, as far as the page may have more than one; by trial if not given. */
    threads?: number;
    /** A set of kernels; the best that the browser takes if not given. */
    kernels?: KernelSet;
    /** `fast`: weights of 4 and 8 bits are multiplied as integers, by activations of 8 and 16 bits; `reference`, the default: by f32. */
    mode?: Mode;
    /**
     * Whether schedules are measured on WebGPU while nothing is asked for (some seconds after the first answer, the rest
     * later), and those that were measured before are used; true by default. The page's private file system keeps them.
     */
    tune?: boolean;
    onProgress?: (p: Progress) => void;
    onLog?: (line: string) => void;
    /** Ends the opening; once the engine is there, nothing more comes of it. */
    signal?: AbortSignal;
}

/** Forced decoding: the tokens are fed one after another, whatever the model would have chosen. */
export interface EvaluateRequest {
    /** Token ids; without them, those of the last answer's conversation. */
    tokens?: ArrayLike<number>;
    /** Rows fed at once: 1 runs the kernels of decoding; as many as the engine was opened with by default. */
    rows?: number;
    /** Positions whose logits are wanted as well. */
    logits?: number[];
}

/** What the model thinks after each token but the last: one entry a position. */
export interface Evaluation {
    tokens: Int32Array;
    /** The id with the largest logit. */
    top: Int32Array;
    /** Natural logarithm of the probability of the token that follows. */
    logprob: Float64Array;
    /** How far the largest logit is above the second. */
    margin: Float64Array;
    mean: number;
    /** By position: a logit for each id. */
    logits: Map<number, Float32Array>;
}

export interface CreateOptions {
    signal?: AbortSignal;
}

export interface Completions {
    create(request: ChatRequest & { stream: true }, options?: CreateOptions): Promise<ChatStream>;
    create(request: ChatRequest & { stream?: false }, options?: CreateOptions): Promise<ChatCompletion>;
    create(request: ChatRequest, options?: CreateOptions): Promise<ChatStream | ChatCompletion>;
}

export interface TraceEvent {
    name: string;
    cat: string;
    ph: "X";
    pid: number;
    tid: number;
    ts: number; // microseconds
    dur: number;
    args: Record<string, unknown>;
}

/** What chrome://tracing and Perfetto open, as JSON. */
export interface Trace {
    otherData: Record<string, unknown>;
    traceEvents: TraceEvent[];
}

export interface Engine {
    readonly chat: { readonly completions: Completions };
    readonly info: EngineInfo;
    readonly stats: AnswerStats | null;
    /** What the model thinks of given tokens: how two devices are compared end to end. The next answer begins anew. */
    evaluate(request?: EvaluateRequest, options?: CreateOptions): Promise<Evaluation>;
    /**
     * The time of each step of the next submits, on WebGPU: a Chrome trace. The first is the prompt's, each other a token's
     * (in a model's first answer there are those that check kernels, too). It comes when they are done, or when the answer
     * that they belong to ends: ask for the answer before it is awaited.
     */
    trace(submits?: number): Promise<Trace>;
    /** Whether a model is open: not after `close`, nor where `reload` failed after the model before had made room. */
    readonly ready: boolean;
    /**
     * Opens the same file again, on another device perhaps; nothing is asked of the person. One that fails keeps the
     * model that was open where it can; one that begins during another takes its place.
     */
    reload(options: Omit<EngineOptions, "model" | "onLog" | "signal">): Promise<void>;
    close(): void;
}
