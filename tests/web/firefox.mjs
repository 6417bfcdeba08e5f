// The chat page in Firefox, with the network cut off outside 127.0.0.1: it answers as in Chromium, on the CPU with and
// without relaxed SIMD, with threads whoever serves it, and on WebGPU, whose read-backs Firefox sees on a tick of its own.
import { execFile } from "node:child_process";
import path from "node:path";
import * as chrome from "../../web/tools/chrome.mjs";
import * as firefox from "../../web/tools/firefox.mjs";
import {
    COUNT, ISOLATED, ROOT, ask, failures, must, mustBeFrugal, openPage, pageAt, screenshot, serveCheckout, startServer, test, untilReady, workerWith,
} from "./lib.mjs";

const TICK_MS = 100; // from one look of Firefox's for what the device has done to the next
const QUESTIONS = ["Hello", "Thanks"];

/** Two turns, and what `look` says of the page before and after them. */
async function talk(browser, url, look = () => {}) {
    const p = await openPage(browser, url);
    try {
        await untilReady(p);
        const answers = [], before = [];
        for (const question of QUESTIONS) {
            before.push(await look(p));
            answers.push(await ask(p, question));
        }
        must((await p.page.evaluate(() => fetch("https://example.com/").then(() => "answered", () => "failed"))) === "failed", "a request to the outside was answered");
        must(p.seen.errors.length === 0, p.seen.errors[0]);
        const isolated = await p.page.evaluate(() => crossOriginIsolated);
        if (browser !== chromium) await screenshot(p, `firefox-${answers[0].device}`);
        return { info: p.last("ready"), isolated, answers, said: answers.map((a) => a.answer).join("|"), looks: [...before, await look(p)] };
    } finally {
        await p.close();
    }
}

const plain = await serveCheckout(), counting = await serveCheckout(ISOLATED, workerWith(COUNT));
const chromium = await chrome.launch([chrome.OFFLINE]);
const wanted = (await talk(chromium, pageAt(plain, "device=cpu&max_tokens=12"))).said;
await chromium.close();
const browser = await firefox.launch([firefox.OFFLINE]);
const alike = (what, said) => must(said === wanted, `${what}: ${JSON.stringify(said)}, in Chromium ${JSON.stringify(wanted)}`);

await test("on a host without headers Firefox shares memory by our service worker, and answers with SIMD128 on two threads", async () => {
    const { info, isolated, said, answers } = await talk(browser, pageAt(plain, "device=cpu&threads=2&kernels=simd128&max_tokens=12"));
    must(isolated && info.threads === 2 && info.kernel_set === "simd128", `isolated: ${isolated}; ${info.threads} threads, ${info.kernel_set}`);
    alike("SIMD128", said);
    return `decode ${answers[0].decode_tps.toFixed(1)} tokens/s`;
});
await test("on WebGPU Firefox answers alike with one submit a token, and no answer of the device waits for its tick", async () => {
    const { info, said, answers, looks } = await talk(browser, pageAt(counting, "device=webgpu&max_tokens=12"), (p) => p.count());
    const trial = info.trials.find((t) => t.device === "webgpu");
    must(info.device === "webgpu" && info.profile === "software", `${info.device}, profile ${info.profile}`);
    alike("WebGPU", said);
    must(trial.ms < TICK_MS / 2, `a product takes ${trial.ms.toFixed(1)} ms in the trial`);
    const frugal = mustBeFrugal(looks[1], looks[2], answers[1]);
    return `${trial.adapter}: ${trial.gbps.toFixed(1)} GB/s; ${frugal}; first token after ${(answers[0].ttft_ms / 1000).toFixed(1)} s, decode ${answers[1].decode_tps.toFixed(1)} tokens/s`;
});
await browser.close();
await test("a question asked in Firefox from the terminal is answered alike", async () => {
    const server = await startServer();
    const env = { ...process.env, CHROME: "", HOB_URL: server.url, ASK: QUESTIONS[0], DEVICE: "cpu", N: "12", HOB_TEMP: "0", THREADS: "", JSON: "1" };
    const out = await new Promise((done, fail) =>
        execFile("node", [path.join(ROOT, "web/tools/ask.mjs")], { env, timeout: 60_000 }, (e, out, err) => (e ? fail(new Error(err.trim())) : done(JSON.parse(out)))));
    server.stop();
    alike("the terminal", `${out.answer}|${wanted.split("|")[1]}`);
    return `${out.threads} thread${out.threads > 1 ? "s" : ""}, ${out.kernel_set}`;
});

for (const s of [plain, counting]) s.close();
process.exit(failures() ? 1 : 0);
