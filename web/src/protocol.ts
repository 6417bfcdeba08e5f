// protocol.ts: what crosses between the page and the worker.
import type { ErrorBody } from "./errors.js";
import type { KernelSet, Mode } from "./kernels.js";
import type { SourceInput } from "./source.js";
import type { AnswerStats, DeviceName, EngineInfo, Evaluation, EvaluateRequest, Progress, Trace } from "./types.js";

export const THREADS_MOST = 64;

export interface Open {
    type: "open";
    id: number;
    source: SourceInput | null; // null: the same again
    device: DeviceName | "auto";
    sizes: Sizes;
    threads: number; // 0: by trial
    kernels: KernelSet | null; // null: the best
    mode: Mode;
    tune: boolean;
}

export type ToWorker =
    | Open
    | { type: "ask"; id: number; request: string }
    | { type: "evaluate"; id: number; request: EvaluateRequest }
    | { type: "trace"; id: number; submits: number }
    | { type: "cancel"; id: number };

export type Sizes = [ctx: number, chunk: number, rows: number, drafts: number]; // src/api/wasm.c, hob_w_open

export type FromWorker =
    | { type: "progress"; progress: Progress }
    | { type: "log"; line: string }
    | { type: "ready"; id: number; info: EngineInfo }
    | { type: "failed"; id: number; error: ErrorBody; open: boolean } // opening failed; open: the model before still answers
    | { type: "text"; id: number; lines: string } // objects of the stream, one a line
    | { type: "end"; id: number; lines: string; stats: AnswerStats }
    | { type: "evaluated"; id: number; result: Evaluation }
    | { type: "traced"; id: number; result: Trace }
    | { type: "error"; id: number; error: ErrorBody };
