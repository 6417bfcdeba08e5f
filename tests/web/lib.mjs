// What the page's tests share: a server, a browser without a network, pages that are watched, results as lines.
import { spawn } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { OFFLINE, launch } from "../../web/tools/browser.mjs";

export const ROOT = path.resolve(import.meta.dirname, "../..");
export const MODEL = path.join(ROOT, "models", "SmolLM2-135M-Instruct.Q4_1.gguf");
export const SCREENS = path.join(ROOT, "build", "screens");

let failed = 0;
export const failures = () => failed;

/** Runs one test; its name is a sentence. It returns what its line shall say, or {skip: why}. */
export async function test(name, run) {
    const only = process.env.ONLY;
    if (only && !name.includes(only)) return;
    const start = Date.now();
    try {
        const more = await run();
        if (more?.skip) return console.log(`SKIP ${name}: ${more.skip}`);
        console.log(`PASS ${name}: ${more ? `${more}; ` : ""}${((Date.now() - start) / 1000).toFixed(1)} s`);
    } catch (e) {
        failed++;
        console.log(`FAIL ${name}: ${String(e.message ?? e).split("\n")[0]}`);
    }
}

export function must(condition, what) {
    if (!condition) throw new Error(what);
}

export async function startServer() {
    const child = spawn("python3", ["-c", "import sys; sys.path.insert(0, 'tools'); import serve; s = serve.start(0); " +
        "print(s.server_address[1], flush=True); s.serve_forever()"], { cwd: ROOT, stdio: ["ignore", "pipe", "inherit"] });
    const port = await new Promise((done, fail) => {
        child.stdout.once("data", (d) => done(Number(String(d).trim())));
        child.once("exit", () => fail(new Error("the server did not start")));
    });
    return { url: `http://127.0.0.1:${port}/`, stop: () => child.kill() };
}

const TYPES = { ".css": "text/css", ".js": "text/javascript", ".wasm": "application/wasm", ".html": "text/html" };

/** Headers by which a page may share memory, and those by which another may read from here. */
export const ISOLATED = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };
export const OPEN = { "Access-Control-Allow-Origin": "*", "Access-Control-Expose-Headers": "Content-Range, Accept-Ranges" };

/** The checkout as it lies there, with ranges: for pages that use the package itself. spoilt: texts by address; null: gone. */
export function serveCheckout(headers = {}, spoilt = {}) {
    const server = http.createServer((request, answer) => {
        for (const [name, value] of Object.entries(headers)) answer.setHeader(name, value);
        if (request.method === "OPTIONS") return answer.writeHead(204, { "Access-Control-Allow-Headers": "Range" }).end();
        const name = decodeURIComponent(new URL(request.url, "http://x/").pathname);
        if (name === "/") return answer.setHeader("Content-Type", "text/html").end("<!doctype html><title>package</title>");
        const file = path.join(ROOT, name), other = spoilt[name];
        if (other) return answer.setHeader("Content-Type", TYPES[path.extname(file)]).end(other);
        if (other === null || !file.startsWith(ROOT + path.sep) || !fs.existsSync(file)) return answer.writeHead(404).end();
        const size = fs.statSync(file).size;
        answer.setHeader("Content-Type", TYPES[path.extname(file)] ?? "application/octet-stream");
        const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? "");
        if (!range) return fs.createReadStream(file).pipe(answer);
        const [from, to] = [Number(range[1]), Math.min(range[2] ? Number(range[2]) : size - 1, size - 1)];
        answer.writeHead(206, { "Content-Range": `bytes ${from}-${to}/${size}`, "Content-Length": to - from + 1 });
        fs.createReadStream(file, { start: from, end: to }).pipe(answer);
    });
    return new Promise((done) => server.listen(0, "127.0.0.1", () => done(server)));
}

export const startBrowser = () => launch([OFFLINE]);

// Runs in the worker before its own code: counts what the page asks of WebGPU.
export const COUNT = `
globalThis.counts = {};
addEventListener("message", ({ data, ports }) => data.tellCounts && ports[0].postMessage(counts));
const count = (name) => (counts[name] = (counts[name] ?? 0) + 1);
const wrap = (type, method, name) => {
    const own = type.prototype[method];
    type.prototype[method] = function (...a) { count(name); return own.apply(this, a); };
};
if (globalThis.GPUDevice) {
    wrap(GPUDevice, "createBindGroup", "groups");
    const pipeline = GPUDevice.prototype.createComputePipelineAsync;
    counts.names = [];
    counts.behind = []; // by pipeline: large writes, which are weights, that were made before it was asked for
    GPUDevice.prototype.createComputePipelineAsync = function (d) {
        counts.names.push(d.label);
        counts.behind.push(counts.weights ?? 0);
        return pipeline.call(this, d);
    };
    const write = GPUQueue.prototype.writeBuffer;
    GPUQueue.prototype.writeBuffer = function (...a) {
        if (a[4] > 65536) count("weights");
        return write.apply(this, a);
    };
    wrap(GPUDevice, "createComputePipelineAsync", "pipelines");
    wrap(GPUDevice, "createComputePipeline", "pipelines");
    let before = 0; // dispatches of each submit, those without any left out
    const submit = GPUQueue.prototype.submit;
    counts.each = [];
    GPUQueue.prototype.submit = function (...a) {
        const all = counts.dispatches ?? 0;
        if (a[0].length) count("submits"); // an empty one makes Firefox look for what is done
        if (all > before) counts.each.push(all - before);
        before = all;
        return submit.apply(this, a);
    };
    const request = GPUAdapter.prototype.requestDevice;
    GPUAdapter.prototype.requestDevice = async function (...a) { return (globalThis.lastDevice = await request.apply(this, a)); };
    wrap(GPUComputePassEncoder, "dispatchWorkgroups", "dispatches");
    wrap(GPUComputePassEncoder, "dispatchWorkgroupsIndirect", "dispatches");
}
`;
export const NO_WEBGPU = `Object.defineProperty(navigator, "gpu", { value: undefined });`;

/** An adapter that does not say it is software: it gets the schedules of a GPU (shared memory, subgroups). */
export const AS_GPU = `
Object.defineProperty(GPUAdapter.prototype, "info", { get() {
    return { vendor: "test", architecture: "gpu", device: "", description: "", subgroupMinSize: 4, subgroupMaxSize: 4, isFallbackAdapter: false };
} });
`;

/** A clock that goes on by so many milliseconds whenever somebody looks. */
export const slowClock = (ms) => `{ let now = 0; performance.now = () => (now += ${ms}); }`;

/** The least that WebGPU guarantees, or less where `over` says so. */
export const smallLimits = (over = {}) => `
const least = ${JSON.stringify({ maxBufferSize: 268435456, maxStorageBufferBindingSize: 134217728, ...over })};
const own = GPU.prototype.requestAdapter;
GPU.prototype.requestAdapter = async function (o) {
    const adapter = await own.call(this, o);
    const limits = new Proxy(adapter.limits, { get: (t, k) => least[k] ?? Reflect.get(t, k, t) });
    return new Proxy(adapter, { get: (t, k) => {
        if (k === "limits") return limits;
        if (k === "requestDevice") return async () => {
            const device = await t.requestDevice();
            return new Proxy(device, { get: (d, k2) => {
                if (k2 === "limits") return limits;
                const v = Reflect.get(d, k2, d);
                return typeof v === "function" ? v.bind(d) : v;
            } });
        };
        const v = Reflect.get(t, k, t);
        return typeof v === "function" ? v.bind(t) : v;
    } });
};
`;

/** What serveCheckout shall give for the page's worker: its text with another before it. */
export function workerWith(before) {
    const folder = "web/dist/assets", name = fs.readdirSync(path.join(ROOT, folder)).find((f) => /^worker-.*\.js$/.test(f));
    return { [`/${folder}/${name}`]: before + fs.readFileSync(path.join(ROOT, folder, name), "utf8") };
}

/** The page as serveCheckout gives it, with the default model. */
export const pageAt = (server, query) =>
    `http://127.0.0.1:${server.address().port}/web/dist/index.html?model=/${path.relative(ROOT, MODEL)}&temperature=0&${query}`;

// Tokens on their way at most, here: four, until it is measured how many are best (src/engine/engine.c).
export const DEPTH = 8;

/**
 * What an answer asks of the device: prefill makes the first token, every other is one submit. An answer that ends by
 * itself was found to end up to DEPTH - 1 submits later; one that reached its length asks for nothing past it.
 */
export function mustBeFrugal(before, after, answer) {
    const grew = (name) => (after[name] ?? 0) - (before[name] ?? 0);
    must(grew("groups") === 0, `${grew("groups")} bind groups were made during an answer`);
    must(grew("pipelines") === 0, `${grew("pipelines")} pipelines were made during an answer`);
    const submits = grew("submits"), tokens = answer.answer_tokens;
    const most = answer.finish_reason === "length" ? tokens : tokens + DEPTH;
    must(submits >= tokens && submits <= most, `${submits} submits for ${tokens} tokens, ended by ${answer.finish_reason}`);
    return `${submits} submits, ${grew("dispatches")} dispatches for ${tokens} tokens`;
}

/** A page that is watched: its errors, every address it asks for, and the page's own announcements. */
export async function openPage(browser, url, { before = "", context = {} } = {}) {
    const c = await browser.newContext(context);
    const page = await c.newPage();
    const seen = { errors: [], requests: [], events: [] };
    page.on("pageerror", (e) => seen.errors.push(e.message));
    page.on("request", (r) => seen.requests.push(r.url()));
    let closing = false; // a worker that is still being fetched then is nobody's
    const withCounts = async (route) => {
        const reply = await route.fetch();
        await route.fulfill({ response: reply, body: COUNT + before + (await reply.text()) });
    };
    await c.route?.(/\/worker-[^/]*\.js$/, (route) => withCounts(route).catch((e) => void (closing || seen.errors.push(e.message))));
    await page.exposeFunction("testHears", (what, detail) => seen.events.push({ what, detail }));
    await page.addInitScript(() => {
        for (const what of ["ready", "text", "end", "error"])
            document.addEventListener(`hob:${what}`, (e) => window.testHears(what, e.detail));
    });
    await page.addInitScript(() => {
        window.Worker = class extends Worker {
            constructor(...a) {
                super(...a);
                window.askWorker = (what) => new Promise((done) => {
                    const { port1, port2 } = new MessageChannel();
                    port1.onmessage = (e) => done(e.data);
                    this.postMessage(what, [port2]);
                });
            }
        };
    });
    if (before === NO_WEBGPU) await page.addInitScript(NO_WEBGPU);
    await page.goto(url);
    const last = (what) => seen.events.filter((e) => e.what === what).at(-1)?.detail;
    const askWorker = (what) => page.evaluate((what) => window.askWorker(what), what);
    const count = () => askWorker({ tellCounts: true });
    const close = () => ((closing = true), c.close());
    return { page, context: c, seen, last, count, askWorker, close };
}

export async function untilReady(p, ms = 240_000) {
    await p.page.waitForFunction(() => document.body.dataset.state === "ready" || !document.getElementById("error").hidden,
        null, { timeout: ms });
    while (!p.last("ready") && !p.last("error")) await p.page.waitForTimeout(10); // Firefox tells it a little later
    const error = p.last("error");
    if (error) throw new Error(error.message);
}

/** Asks by keyboard and waits for the whole answer. */
export async function ask(p, text, ms = 240_000) {
    const before = p.seen.events.length;
    await p.page.fill("#prompt", text);
    await p.page.press("#prompt", "Enter");
    const start = Date.now();
    for (;;) {
        const news = p.seen.events.slice(before);
        const end = news.find((e) => e.what === "end");
        if (end) return end.detail;
        const error = news.find((e) => e.what === "error");
        if (error) throw new Error(error.detail.message);
        if (Date.now() - start > ms) throw new Error(`no answer to "${text}" in ${ms / 1000} s`);
        await p.page.waitForTimeout(50);
    }
}

export async function screenshot(p, name) {
    fs.mkdirSync(SCREENS, { recursive: true });
    await p.page.screenshot({ path: path.join(SCREENS, `${name}.png`) });
}
