// source.ts: a model file that is read piece by piece: a URL by ranges, a dropped file by slices.
//
// Nothing holds the whole file. A URL whose server knows no ranges, and a Response, are stored first: in the page's
// private file system where there is one, else in parts that the browser may keep on disk.
import { failure } from "./errors.js";

export interface ModelSource {
    readonly name: string;
    readonly size: number;
    read(off: number, n: number): Promise<Uint8Array>;
    close(): void;
}

/** What crosses to the worker. */
export type SourceInput =
    | { url: string }
    | { file: File }
    | { stream: ReadableStream<Uint8Array>; name: string; size: number }
    | { blob: Blob; name: string };

export type StoreProgress = (done: number, total: number) => void;

const CHUNK = 4 << 20;
const KEEP = 5; // chunks in memory
const AHEAD = 2; // chunks asked for before they are wanted
const TRIES = 4;

export async function openSource(input: SourceInput, onStore: StoreProgress): Promise<ModelSource> {
    if ("file" in input) return new BlobSource(input.file, input.file.name);
    if ("blob" in input) return new BlobSource(input.blob, input.name);
    if ("stream" in input) return storeStream(input.stream, input.name, input.size, onStore);
    return openUrl(input.url, onStore);
}

class BlobSource implements ModelSource {
    readonly size: number;
    constructor(
        private readonly blob: Blob,
        readonly name: string,
    ) {
        this.size = blob.size;
    }
    async read(off: number, n: number): Promise<Uint8Array> {
        try {
            return new Uint8Array(await this.blob.slice(off, off + n).arrayBuffer());
        } catch (e) {
            throw failure("IO", `${this.name}: the file cannot be read (${(e as Error).message}); drop it again`);
        }
    }
    close(): void {}
}

/** What an address ends in, as people read it. */
export function nameOf(url: string): string {
    const last = new URL(url).pathname.split("/").pop() ?? "";
    try {
        return decodeURIComponent(last) || "model";
    } catch {
        return last || "model";
    }
}

async function get(url: string, range: string | null, signal: AbortSignal): Promise<Response> {
    let reply: Response;
    try {
        reply = await fetch(url, { headers: range ? { Range: range } : {}, signal });
    } catch (e) {
        throw failure("NETWORK", `${url}: no answer (${(e as Error).message}); is the server still there?`);
    }
    if (!reply.ok) throw failure("NETWORK", `${url}: the server answers ${reply.status} ${reply.statusText}`);
    return reply;
}

async function openUrl(url: string, onStore: StoreProgress): Promise<ModelSource> {
    const abort = new AbortController();
    const reply = await get(url, "bytes=0-0", abort.signal);
    const total = /\/(\d+)\s*$/.exec(reply.headers.get("Content-Range") ?? "")?.[1];
    if (reply.status === 206 && total) {
        await reply.body?.cancel();
        return new RangeSource(url, Number(total), abort);
    }
    if (!reply.body) throw failure("NETWORK", `${url}: an empty answer`);
    return storeStream(reply.body, nameOf(url), Number(reply.headers.get("Content-Length") ?? 0), onStore);
}

class RangeSource implements ModelSource {
    readonly name: string;
    private readonly chunks = new Map<number, Promise<Uint8Array>>(); // oldest first

    constructor(
        private readonly url: string,
        readonly size: number,
        private readonly abort: AbortController,
    ) {
        this.name = nameOf(url);
    }

    async read(off: number, n: number): Promise<Uint8Array> {
        const first = Math.floor(off / CHUNK);
        const last = Math.floor((off + n - 1) / CHUNK);
        const out = new Uint8Array(n);
        for (let i = first; i <= last; i++) {
            const chunk = await this.chunk(i);
            for (let k = 1; k <= AHEAD; k++) {
                if ((i + k) * CHUNK < this.size) this.chunk(i + k).catch(() => {}); // told when it is wanted
            }
            const from = Math.max(off - i * CHUNK, 0);
            const to = Math.min(off + n - i * CHUNK, chunk.length);
            out.set(chunk.subarray(from, to), i * CHUNK + from - off);
        }
        return out;
    }

    private chunk(i: number): Promise<Uint8Array> {
        const had = this.chunks.get(i);
        const chunk = had ?? this.load(i);
        this.chunks.delete(i);
        this.chunks.set(i, chunk);
        if (!had) chunk.catch(() => this.chunks.delete(i));
        for (const old of this.chunks.keys()) {
            if (this.chunks.size <= KEEP) break;
            this.chunks.delete(old);
        }
        return chunk;
    }

    // A cut connection is tried again; what was read of the chunk is dropped.
    private async load(i: number): Promise<Uint8Array> {
        const from = i * CHUNK;
        const to = Math.min(from + CHUNK, this.size);
        for (let attempt = 1; ; attempt++) {
            try {
                const reply = await get(this.url, `bytes=${from}-${to - 1}`, this.abort.signal);
                const data = new Uint8Array(await reply.arrayBuffer());
                if (reply.status === 206 && data.length === to - from) return data;
                throw failure("NETWORK", `${this.url}: bytes ${from} to ${to} came back as ${data.length} bytes`);
            } catch (e) {
                if (attempt === TRIES || this.abort.signal.aborted) throw e;
                await new Promise((done) => setTimeout(done, 250 * 2 ** attempt));
            }
        }
    }

    close(): void {
        this.abort.abort();
        this.chunks.clear();
    }
}

async function storeStream(
    stream: ReadableStream<Uint8Array>,
    name: string,
    total: number,
    onStore: StoreProgress,
): Promise<ModelSource> {
    await sweepStored(); // it may be what fills the storage
    const file = await privateFile();
    const parts: Blob[] = [];
    let done = 0;
    const reader = stream.getReader();
    try {
        for (;;) {
            const { value, done: end } = await reader.read().catch((e: Error) => {
                throw failure("NETWORK", `${name}: the download was cut off (${e.message})`);
            });
            if (end) break;
            if (file) writeStored(file, value, done, name);
            else parts.push(new Blob([value as BlobPart]));
            done += value.length;
            onStore(done, Math.max(total, done));
        }
    } catch (e) {
        file?.close();
        void reader.cancel().catch(() => {});
        throw e;
    }
    return file ? new StoredSource(file, name, done) : new BlobSource(new Blob(parts), name);
}

function writeStored(file: PrivateFile, data: Uint8Array, at: number, name: string): void {
    let why = "";
    try {
        if (file.handle.write(data, { at }) === data.length) return;
    } catch (e) {
        why = ` (${(e as Error).message})`;
    }
    throw failure("IO", `${name}: the browser's storage takes no more${why}; free some space, or drop the file on the page`);
}

interface PrivateFile {
    handle: FileSystemSyncAccessHandle;
    /** Ends its use and deletes it. */
    close(): void;
}

// A stored model is its worker's alone, who holds a lock of the file's name for as long as it lives. A worker that is
// ended, a closed tab and a crash leave the file behind: whoever finds its lock free deletes it.
const STORED = /^hob-[0-9a-f-]{36}\.part$/;

/** Deletes what others left; never fails. */
export async function sweepStored(): Promise<void> {
    try {
        const folder = await navigator.storage.getDirectory();
        for await (const name of folder.keys())
            if (STORED.test(name))
                await navigator.locks.request(name, { ifAvailable: true }, (free) => free && folder.removeEntry(name).catch(() => {}));
    } catch {
        // no private files here
    }
}

async function privateFile(): Promise<PrivateFile | null> {
    let close = () => {};
    try {
        const folder = await navigator.storage.getDirectory();
        const name = `hob-${crypto.randomUUID()}.part`;
        const over = new Promise<void>((done) => (close = done)).then(() => folder.removeEntry(name)).catch(() => {});
        await new Promise((held, none) => navigator.locks.request(name, () => (held(null), over)).catch(none));
        const entry = await folder.getFileHandle(name, { create: true });
        const handle = await entry.createSyncAccessHandle();
        return { handle, close: () => (handle.close(), close()) };
    } catch {
        close();
        return null;
    }
}

class StoredSource implements ModelSource {
    constructor(
        private readonly file: PrivateFile,
        readonly name: string,
        readonly size: number,
    ) {}
    async read(off: number, n: number): Promise<Uint8Array> {
        const out = new Uint8Array(n);
        if (this.file.handle.read(out, { at: off }) !== n)
            throw failure("IO", `${this.name}: the stored file is shorter than it was`);
        return out;
    }
    close(): void {
        this.file.close();
    }
}
