// A model opened in a Chromium that nobody inspects: node memory.mjs blank|hob|wllama MODEL
//
// One thread, no WebGPU. Whoever starts this looks at the browser's memory meanwhile (tools/bench.py). A browser that is
// driven keeps copies of what its pages fetch, so the page is opened from the command line and says by a request that it
// is done; the last line is what it said.
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { ISOLATED, serveCheckout } from "../tests/web/lib.mjs";

const [which, model] = process.argv.slice(2);
const PAGES = {
    blank: `const said = await new Promise((done) => setTimeout(done, 3000, "nothing"));`,
    hob: `
        const { createEngine } = await import("/web/lib/index.js");
        const engine = await createEngine({ model: "/${model}", device: "cpu", threads: 1 });
        const said = engine.info.name;`,
    wllama: `
        const { Wllama } = await import("/bench/peers/node_modules/@wllama/wllama/esm/index.js");
        const w = new Wllama({ default: "/bench/peers/node_modules/@wllama/wllama/esm/wasm/wllama.wasm" });
        const file = await (await fetch("/${model}")).blob();
        await w.loadModel([file], { n_ctx: 2048, n_threads: 1, n_gpu_layers: 0, n_parallel: 1, warmup: false });
        const said = w.getModelMetadata().meta["general.name"];`,
};
const address = "/build/memory.html";
const html = `<!doctype html><title>${which}</title><script type="module">
    try { ${PAGES[which]} await fetch("/done?" + encodeURIComponent(said)); }
    catch (e) { await fetch("/failed?" + encodeURIComponent(e)); }
</script>`;
const server = await serveCheckout(ISOLATED, { [address]: html });
const profile = fs.mkdtempSync(path.join(os.tmpdir(), "hob-memory-"));
const args = ["--headless=new", "--no-first-run", "--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []), `--user-data-dir=${profile}`, `http://127.0.0.1:${server.address().port}${address}`];
const browser = spawn(process.env.CHROME, args, { stdio: "ignore", detached: true });
const [what, said] = await new Promise((done) => {
    server.on("request", ({ url }) => /^\/(done|failed)\?/.test(url) && done(url.split("?").map(decodeURIComponent)));
    browser.on("exit", () => done(["/failed", "the browser ended"]));
    setTimeout(done, 300_000, ["/failed", "no word for five minutes"]);
});
process.kill(-browser.pid, "SIGKILL");
await new Promise((done) => setTimeout(done, 500));
fs.rmSync(profile, { recursive: true, force: true });
if (what === "/failed") console.error(said);
else console.log(JSON.stringify({ device: which, said }));
process.exit(what === "/failed" ? 1 : 0);
