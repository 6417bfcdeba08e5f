// errors.ts: one error class for the package; its codes are the ids of the C side's table.
import { ERRORS, type ErrorId } from "./errors.gen.js";

/** The shape in which errors cross from the core and from the worker: OpenAI's. */
export interface ErrorBody {
    message: string;
    type: string;
    param: string | null;
    code: string;
}

const OWN = {
    NETWORK: ["something could not be fetched", "is the server there? try again"],
    PAGE: ["the page failed", "load the page again"],
} as const;
const row = (code: string): readonly [string, string] | undefined =>
    ({ ...ERRORS, ...OWN } as Record<string, readonly [string, string]>)[code];

export class HobError extends Error {
    override readonly name = "HobError";
    /** Stable name, for instance `GGUF_MAGIC`; `NETWORK` and `PAGE` are the page's own. */
    readonly code: ErrorId | "NETWORK" | "PAGE";
    readonly type: string;
    readonly param: string | null;

    constructor(body: ErrorBody) {
        const remedy = body.message.includes("; ") ? undefined : row(body.code)?.[1];
        super(remedy ? `${body.message}; ${remedy}` : body.message); // as natively: src/base/err.c
        this.code = body.code as ErrorId;
        this.type = body.type;
        this.param = body.param;
    }

    /** What the code means in general; the message says what happened here. */
    get meaning(): string {
        return row(this.code)?.[0] ?? this.message;
    }
}

export function errorBody(e: unknown): ErrorBody {
    if (e instanceof HobError) return { message: e.message, type: e.type, param: e.param, code: e.code };
    const message = e instanceof Error ? e.message : String(e);
    return { message, type: "server_error", param: null, code: "PAGE" };
}

export function failure(code: ErrorId | "NETWORK" | "PAGE", message: string): HobError {
    return new HobError({ message, type: "server_error", param: null, code });
}
