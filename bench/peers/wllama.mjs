// One measurement of wllama in a headless Chromium: node wllama.mjs MODEL THREADS ANSWER [cold] < PROMPT
//
// The prompt is text, as the model reads it (the chat template is applied already). Prints one JSON object with hob's
// keys; cold: nothing was asked before, and first_ms is the answer's first token by the clock that starts with navigation;
// the speeds are by the page's clock, from one streamed piece to the last, as hob's page measures its own.
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { chromium } from "playwright-core";

const [model, threads, answer, cold] = process.argv.slice(2);
const prompt = fs.readFileSync(0, "utf8");
const folder = path.join(import.meta.dirname, "node_modules", "@wllama", "wllama", "esm");
const types = { ".js": "text/javascript", ".wasm": "application/wasm" };
const isolated = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

const server = http.createServer((request, reply) => {
    const name = request.url.split("?")[0];
    if (name === "/") return void reply.writeHead(200, { ...isolated, "Content-Type": "text/html" }).end("<!doctype html><title>wllama</title>");
    const file = name === "/model.gguf" ? path.resolve(model) : path.join(folder, path.normalize(name));
    const size = fs.statSync(file, { throwIfNoEntry: false })?.size;
    if (size === undefined) return void reply.writeHead(404, isolated).end();
    reply.writeHead(200, { ...isolated, "Content-Type": types[path.extname(file)] ?? "application/octet-stream", "Content-Length": size });
    fs.createReadStream(file).pipe(reply);
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const args = ["--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
if (process.getuid?.() === 0) args.push("--no-sandbox");
const browser = await chromium.launch({ executablePath: process.env.CHROME, headless: true, args });
try {
    const page = await browser.newPage();
    page.setDefaultTimeout(0);
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    const result = await page.evaluate(
        async ([prompt, threads, answer, cold]) => {
            const { Wllama } = await import("/index.js");
            const quiet = () => {};
            const w = new Wllama({ default: "/wasm/wllama.wasm" }, { logger: { debug: quiet, log: quiet, warn: quiet, error: quiet } });
            const start = performance.now();
            const file = await (await fetch("/model.gguf")).blob();
            await w.loadModel([file], { n_ctx: 2048, n_threads: threads, n_gpu_layers: 0, n_parallel: 1, warmup: false });
            const load_ms = performance.now() - start;
            const ask = async (text, n) => {
                const began = performance.now();
                const at = [];
                let timings;
                const stream = await w.createCompletion({
                    prompt: text, max_tokens: n, temperature: 0, top_k: 1, ignore_eos: true, stream: true, cache_prompt: false, timings_per_token: true, seed: 1,
                });
                for await (const piece of stream) {
                    at.push(performance.now());
                    timings = piece.timings ?? timings;
                }
                return { first_ms: at[0], ttft_ms: at[0] - began, span_ms: at.at(-1) - at[0], timings };
            };
            if (!cold) await ask(prompt.slice(0, 20), 2); // the engine's code is compiled as it is first run
            const r = await ask(prompt, answer);
            const tokens = r.timings.predicted_n;
            return {
                device: `wllama, ${w.getNumThreads()} thread${w.getNumThreads() > 1 ? "s" : ""}`,
                prompt_tokens: r.timings.prompt_n,
                answer_tokens: tokens,
                load_ms,
                ttft_ms: r.ttft_ms,
                first_ms: r.first_ms,
                prefill_tps: (r.timings.prompt_n / r.ttft_ms) * 1000,
                decode_tps: ((tokens - 1) / r.span_ms) * 1000,
            };
        },
        [prompt, Number(threads), Number(answer), cold],
    );
    console.log(JSON.stringify(result));
} finally {
    await browser.close();
    server.close();
}
