// Decode in Firefox on WebGPU, and the same steps with no read-back at all: node firefox.mjs QUESTION TOKENS RUNS
//
// Both in one page, in turn. Without read-backs a token goes from step to step on the device alone: the page is told a
// made-up one at once, so it hands over the whole answer without waiting; the time ends when the device has done it all.
// Prints a line of JSON for each: {decode_tps, ...}, medians of the runs.
import { OFFLINE, launch } from "../web/tools/firefox.mjs";
import { ISOLATED, ask, openPage, pageAt, serveCheckout, untilReady, workerWith } from "../tests/web/lib.mjs";

// In the worker, before its own code. Of an answer without read-backs the first one stays: it ends the prompt.
const WITHOUT = `{
    let without = false, copies = 0, maps = 0, first = 0, device = null;
    const made = new Set(), TOKEN = 28;
    const own = (type, name, make) => {
        const was = type.prototype[name];
        type.prototype[name] = make((self, a) => was.apply(self, a));
    };
    own(GPUAdapter, "requestDevice", (was) => async function (...a) { return (device = await was(this, a)); });
    own(GPUCommandEncoder, "copyBufferToBuffer", (was) => function (...a) { if (!without || a[4] !== 4 || copies++ === 0) was(this, a); });
    own(GPUBuffer, "mapAsync", (was) => function (...a) {
        if (!without || this.size !== 4) return was(this, a);
        if (maps++ > 0) return made.add(this), Promise.resolve();
        return was(this, a).then(() => { first = performance.now(); });
    });
    own(GPUBuffer, "getMappedRange", (was) => function (...a) { return made.has(this) ? Int32Array.of(TOKEN).buffer : was(this, a); });
    own(GPUBuffer, "unmap", (was) => function (...a) { if (!made.delete(this)) was(this, a); });
    addEventListener("message", async ({ data, ports }) => {
        if (data.without === true) [without, copies, maps] = [true, 0, 0];
        if (data.without === false) {
            const look = setInterval(() => device.queue.submit([]), 4);
            await device.queue.onSubmittedWorkDone();
            clearInterval(look);
            without = false;
        }
        if ("without" in data) ports[0].postMessage({ ms: performance.now() - first, tokens: maps - 1 });
    });
}
`;

const [question, tokens, runs] = process.argv.slice(2);
const server = await serveCheckout(ISOLATED, workerWith(WITHOUT));
const browser = await launch([OFFLINE]);
try {
    const p = await openPage(browser, pageAt(server, `device=webgpu&max_tokens=${tokens}`));
    await untilReady(p);
    const tell = (without) => p.askWorker({ without });
    const once = async (without) => {
        await p.page.click("#new");
        if (without) await tell(true);
        const end = await ask(p, question);
        if (!without) return end;
        const { ms, tokens } = await tell(false);
        return { ...end, decode_tps: (tokens * 1000) / ms };
    };
    await once(false); // checks the kernels and measures how much is to run ahead
    const all = [[], []];
    for (let i = 0; i < Number(runs); i++) for (const k of [0, 1]) all[k].push(await once(k === 1));
    for (const some of all) {
        some.sort((a, b) => a.decode_tps - b.decode_tps);
        console.log(JSON.stringify(some[some.length >> 1]));
    }
    await p.close();
} finally {
    await browser.close();
    server.close();
}
