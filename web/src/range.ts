// range.ts: a model file at a URL whose server knows ranges.
//
// Few long ranges are read, each to the end of the file and only as far as it is wanted, for a request costs milliseconds,
// most of them the browser's own: one from the beginning, whose answer also told the size, and one from wherever else
// somebody reads on. A few megabytes are in memory at a time.
import { failure } from "./errors.js";
import type { ModelSource, Put } from "./source.js";

const CHUNK = 1 << 19;
const KEEP = 12; // chunks in memory
const AHEAD = 5; // chunks asked for before they are wanted
const SKIP = 4; // chunks that a stream reads to come to one that is wanted
const STREAMS = 3; // at a time: rows of several tensors may be read in turns
const TRIES = 4;

/** What an address ends in, as people read it. */
export function nameOf(url: string): string {
    const last = new URL(url).pathname.split("/").pop() ?? "";
    try {
        return decodeURIComponent(last) || "model";
    } catch {
        return last || "model";
    }
}

export async function get(url: string, range: string | null, signal: AbortSignal): Promise<Response> {
    let reply: Response;
    try {
        reply = await fetch(url, { headers: range ? { Range: range } : {}, signal });
    } catch (e) {
        throw failure("NETWORK", `${url}: no answer (${(e as Error).message}); is the server still there?`);
    }
    if (!reply.ok) throw failure("NETWORK", `${url}: the server answers ${reply.status} ${reply.statusText}`);
    return reply;
}

type Reader = ReadableStreamBYOBReader | ReadableStreamDefaultReader<Uint8Array>;

function readerOf(body: ReadableStream<Uint8Array>): Reader {
    try {
        return body.getReader({ mode: "byob" });
    } catch {
        return body.getReader(); // a browser that cannot
    }
}

/** A range to the end of the file, which gives its chunks one after the other. */
class Stream {
    private readonly reader: Promise<Reader>;
    private last: Promise<unknown>;
    private left: Uint8Array = new Uint8Array(0); // of what a plain reader gave
    private wanted = 0;
    private over = false;

    /** next: the chunk that it gives next. */
    constructor(
        body: Promise<ReadableStream<Uint8Array>>,
        public next: number,
    ) {
        this.last = this.reader = body.then(readerOf);
    }

    /** The next `size` bytes, read into `buffer`; fewer where it ends before. */
    take(size: number, buffer: ArrayBuffer): Promise<Uint8Array> {
        this.next++;
        this.wanted++;
        const chunk = this.last.then(() => this.fill(size, buffer));
        this.last = chunk.finally(() => --this.wanted === 0 && this.over && this.close());
        this.last.catch(() => {}); // who wants the chunk is told
        return chunk;
    }

    private async fill(size: number, buffer: ArrayBuffer): Promise<Uint8Array> {
        const reader = await this.reader;
        let data = new Uint8Array(buffer), n = 0;
        while (n < size) {
            if (reader instanceof ReadableStreamDefaultReader) {
                if (!this.left.length) this.left = (await reader.read()).value ?? this.left;
                if (!this.left.length) break;
                const part = this.left.subarray(0, size - n);
                data.set(part, n);
                this.left = this.left.subarray(part.length);
                n += part.length;
            } else {
                // of what plain readers leave behind, a browser collects hundreds of megabytes before it frees them
                const { value, done } = await reader.read(data.subarray(n, size));
                if (value) data = new Uint8Array(value.buffer);
                n += value?.length ?? 0;
                if (done) break;
            }
        }
        return data.subarray(0, n);
    }

    /** Ends it behind what was asked for. */
    close(): void {
        this.over = true;
        if (!this.wanted) void this.reader.then((r) => r.cancel()).catch(() => {});
    }
}

export class RangeSource implements ModelSource {
    readonly name: string;
    private readonly chunks = new Map<number, Promise<Uint8Array>>(); // oldest first
    private readonly there = new WeakSet<Promise<Uint8Array>>(); // those of them that came
    private readonly spare: ArrayBuffer[] = []; // of chunks that are not kept any more
    private readonly streams: Stream[]; // the one used last at the end

    constructor(
        private readonly url: string,
        readonly size: number,
        private readonly abort: AbortController,
        body: ReadableStream<Uint8Array>,
    ) {
        this.name = nameOf(url);
        this.streams = [new Stream(Promise.resolve(body), 0)];
        this.ahead(-1); // its beginning is wanted first, and soon
    }

    async read(off: number, n: number, put: Put): Promise<void> {
        const first = Math.floor(off / CHUNK);
        const last = Math.floor((off + n - 1) / CHUNK);
        for (let i = first; i <= last; i++) {
            const wanted = this.chunk(i);
            this.ahead(i);
            const chunk = await wanted;
            const from = Math.max(off - i * CHUNK, 0);
            const to = Math.min(off + n - i * CHUNK, CHUNK);
            put(i * CHUNK + from - off, chunk.subarray(from, to)); // at once: its buffer is used again
        }
    }

    near(off: number, n: number): boolean {
        for (let i = Math.floor(off / CHUNK); i * CHUNK < off + n; i++) {
            const chunk = this.chunks.get(i);
            if (!chunk || !this.there.has(chunk)) return false;
        }
        return true;
    }

    private ahead(i: number): void {
        for (let k = 1; k <= AHEAD; k++)
            if ((i + k) * CHUNK < this.size) this.chunk(i + k).catch(() => {}); // told when it is wanted
    }

    private chunk(i: number): Promise<Uint8Array> {
        const had = this.chunks.get(i);
        const chunk = had ?? this.load(i);
        this.chunks.delete(i);
        this.chunks.set(i, chunk);
        if (!had) chunk.then(() => this.there.add(chunk), () => this.chunks.delete(i));
        for (const [old, data] of this.chunks) {
            if (this.chunks.size <= KEEP) break;
            this.chunks.delete(old);
            this.reuse(data);
        }
        return chunk;
    }

    private reuse(data: Promise<Uint8Array>): void {
        void data.then((d) => d.buffer.byteLength === CHUNK && this.spare.push(d.buffer as ArrayBuffer), () => {});
    }

    // A cut connection is tried again; what was read of the chunk is dropped.
    private async load(i: number): Promise<Uint8Array> {
        const from = i * CHUNK, to = Math.min(from + CHUNK, this.size);
        for (let attempt = 1; ; attempt++) {
            const stream = this.streamTo(i);
            try {
                const data = await this.take(stream);
                if (data.length === to - from) return data;
                throw failure("NETWORK", `${this.url}: bytes ${from} to ${to} came back as ${data.length} bytes`);
            } catch (e) {
                this.drop(stream);
                if (attempt === TRIES || this.abort.signal.aborted) throw e;
                await new Promise((done) => setTimeout(done, 250 * 2 ** attempt));
            }
        }
    }

    private take(stream: Stream): Promise<Uint8Array> {
        const left = this.size - stream.next * CHUNK;
        return stream.take(Math.min(CHUNK, left), this.spare.pop() ?? new ArrayBuffer(CHUNK));
    }

    /** A stream that gives chunk i next: one that is there or almost there, else another. */
    private streamTo(i: number): Stream {
        let stream = this.streams.find((s) => s.next <= i && i <= s.next + SKIP);
        if (stream) this.streams.splice(this.streams.indexOf(stream), 1);
        else stream = new Stream(this.from(i), i);
        this.streams.push(stream);
        if (this.streams.length > STREAMS) this.drop(this.streams[0]!);
        while (stream.next < i) {
            // what lies between is likely to be wanted too
            if (this.chunks.has(stream.next)) this.reuse(this.take(stream));
            else this.chunk(stream.next).catch(() => {});
        }
        return stream;
    }

    private async from(i: number): Promise<ReadableStream<Uint8Array>> {
        const reply = await get(this.url, `bytes=${i * CHUNK}-`, this.abort.signal);
        if (reply.status === 206 && reply.body) return reply.body;
        throw failure("NETWORK", `${this.url}: bytes from ${i * CHUNK} on came back as the whole file`);
    }

    private drop(stream: Stream): void {
        const at = this.streams.indexOf(stream);
        if (at >= 0) this.streams.splice(at, 1);
        stream.close();
    }

    /** Lets go of connections until more is read. */
    rest(): void {
        for (const s of this.streams.splice(0)) s.close();
    }

    close(): void {
        this.abort.abort();
        this.chunks.clear();
        this.spare.length = 0;
    }
}
