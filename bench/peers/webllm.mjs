// One measurement of WebLLM in a headless Chromium: node webllm.mjs LIB.wasm FOLDER PROMPT ANSWER
//
// FOLDER is what webllm_model.py made: random weights of the library's shapes. Prints one JSON object with hob's keys.
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { chromium } from "playwright-core";

const [lib, folder, prompt, answer] = process.argv.slice(2);
const script = path.join(import.meta.dirname, "node_modules", "@mlc-ai", "web-llm", "lib");
const types = { ".js": "text/javascript", ".wasm": "application/wasm", ".json": "application/json" };
const server = http.createServer((request, reply) => {
    const name = path.normalize(request.url.split("?")[0]);
    if (name === "/") return void reply.writeHead(200, { "Content-Type": "text/html" }).end("<!doctype html><title>WebLLM</title>");
    const model = "/model/resolve/main/";
    const file = name === "/lib.wasm" ? lib : name.startsWith(model) ? path.join(folder, name.slice(model.length)) : path.join(script, name);
    const size = fs.statSync(file, { throwIfNoEntry: false })?.size;
    if (size === undefined) return void reply.writeHead(404).end();
    reply.writeHead(200, { "Content-Type": types[path.extname(file)] ?? "application/octet-stream", "Content-Length": size });
    if (request.method === "HEAD") return void reply.end();
    fs.createReadStream(file).pipe(reply);
});
await new Promise((done) => server.listen(0, "127.0.0.1", done));
const args = ["--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync"];
if (process.getuid?.() === 0) args.push("--no-sandbox");
const browser = await chromium.launch({ executablePath: process.env.CHROME, headless: true, args });
try {
    const page = await browser.newPage();
    page.setDefaultTimeout(0);
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    const result = await page.evaluate(
        async ([prompt, answer]) => {
            const { CreateMLCEngine } = await import("/index.js");
            const start = performance.now();
            const engine = await CreateMLCEngine("random", {
                logLevel: "ERROR",
                appConfig: { model_list: [{ model: `${location.origin}/model/`, model_id: "random", model_lib: `${location.origin}/lib.wasm`, overrides: { context_window_size: 2048 } }] },
            });
            const load_ms = performance.now() - start;
            const ask = async (text, n) => {
                const began = performance.now();
                const at = [];
                let usage;
                for await (const piece of await engine.completions.create({
                    prompt: text, max_tokens: n, temperature: 0, ignore_eos: true, stream: true, stream_options: { include_usage: true },
                })) {
                    if (piece.choices?.length) at.push(performance.now());
                    usage = piece.usage ?? usage;
                }
                return { ttft_ms: at[0] - began, usage };
            };
            await ask("warm", 1); // pipelines are compiled at their first use
            const r = await ask("abcdefghijklmnopqrstuvwxyz".repeat(80).slice(0, prompt), answer);
            return {
                device: "WebLLM, random weights of Qwen2-0.5B's shapes",
                prompt_tokens: r.usage.prompt_tokens,
                answer_tokens: r.usage.completion_tokens,
                load_ms,
                ttft_ms: r.ttft_ms,
                prefill_tps: r.usage.extra.prefill_tokens_per_s,
                decode_tps: r.usage.extra.decode_tokens_per_s,
            };
        },
        [Number(prompt), Number(answer)],
    );
    console.log(JSON.stringify(result));
} finally {
    await browser.close();
    server.close();
}
