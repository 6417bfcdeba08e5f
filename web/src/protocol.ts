// protocol.ts: what crosses between the page and the worker.
import type { ErrorBody } from "./errors.js";
import type { SourceInput } from "./source.js";
import type { AnswerStats, DeviceName, EngineInfo, Progress } from "./types.js";

export type ToWorker =
    | { type: "open"; source: SourceInput | null; device: DeviceName | "auto"; ctx: number } // null: the same again
    | { type: "ask"; id: number; request: string }
    | { type: "cancel"; id: number };

export type FromWorker =
    | { type: "progress"; progress: Progress }
    | { type: "log"; line: string }
    | { type: "ready"; info: EngineInfo }
    | { type: "failed"; error: ErrorBody } // opening failed
    | { type: "text"; id: number; lines: string } // objects of the stream, one a line
    | { type: "end"; id: number; lines: string; stats: AnswerStats }
    | { type: "error"; id: number; error: ErrorBody };
