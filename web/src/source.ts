// source.ts: a model file that is read piece by piece: a URL by ranges, a dropped file by slices.
//
// Nothing holds the whole file. A URL whose server knows no ranges, and a Response, are stored first: in the page's
// private file system where there is one, else in parts that the browser may keep on disk.
import { failure } from "./errors.js";
import { RangeSource, get, nameOf } from "./range.js";

/** Takes a part of what is read, to be copied at once, and where in it the part begins. */
export type Put = (at: number, part: Uint8Array) => void;

export interface ModelSource {
    readonly name: string;
    readonly size: number;
    read(off: number, n: number, put: Put): Promise<void>;
    /** false: who reads this will wait for others. */
    near?(off: number, n: number): boolean;
    /** Nothing is read for now. */
    rest?(): void;
    close(): void;
}

/** What crosses to the worker. */
export type SourceInput =
    | { url: string }
    | { file: File }
    | { stream: ReadableStream<Uint8Array>; name: string; size: number }
    | { blob: Blob; name: string };

export type StoreProgress = (done: number, total: number) => void;

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
    async read(off: number, n: number, put: Put): Promise<void> {
        try {
            put(0, new Uint8Array(await this.blob.slice(off, off + n).arrayBuffer()));
        } catch (e) {
            throw failure("IO", `${this.name}: the file cannot be read (${(e as Error).message}); drop it again`);
        }
    }
    close(): void {}
}

async function openUrl(url: string, onStore: StoreProgress): Promise<ModelSource> {
    const abort = new AbortController();
    const reply = await get(url, "bytes=0-", abort.signal);
    const total = /^bytes 0-.*\/(\d+)\s*$/.exec(reply.headers.get("Content-Range") ?? "")?.[1];
    if (reply.status === 206 && total && reply.body) return new RangeSource(url, Number(total), abort, reply.body);
    if (!reply.body) throw failure("NETWORK", `${url}: an empty answer`);
    return storeStream(reply.body, nameOf(url), Number(reply.headers.get("Content-Length") ?? 0), onStore);
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
    private scratch = new Uint8Array(0);
    constructor(
        private readonly file: PrivateFile,
        readonly name: string,
        readonly size: number,
    ) {}
    async read(off: number, n: number, put: Put): Promise<void> {
        if (this.scratch.length < n) this.scratch = new Uint8Array(n);
        const out = this.scratch.subarray(0, n);
        if (this.file.handle.read(out, { at: off }) !== n)
            throw failure("IO", `${this.name}: the stored file is shorter than it was`);
        put(0, out);
    }
    close(): void {
        this.file.close();
    }
}
