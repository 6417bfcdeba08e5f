// commands.ts: reading the core's command list.
import { OP } from "./commands.gen.js";

export { OP };

export function u64(a: Uint32Array, i: number): number {
    return a[i]! + a[i + 1]! * 2 ** 32;
}

// A list that is run later: a copy, with the bytes of large writes inside, since they may be gone by then.
export function keep(list: Uint32Array, memory: ArrayBufferLike): Uint32Array {
    const parts: Uint32Array[] = [];
    for (let i = 0; i < list.length; i += 1 + (list[i]! >>> 8)) {
        const a = list.subarray(i, i + 1 + (list[i]! >>> 8));
        if ((a[0]! & 255) === OP.BUFFER_COPY) {
            const words = a[5]! / 4;
            parts.push(Uint32Array.of(OP.BUFFER_WRITE | ((5 + words) << 8)), a.subarray(1, 6));
            parts.push(new Uint32Array(memory, a[6]!, words));
        } else {
            parts.push(a);
        }
    }
    const out = new Uint32Array(parts.reduce((n, p) => n + p.length, 0));
    let at = 0;
    for (const p of parts) {
        out.set(p, at);
        at += p.length;
    }
    return out;
}
