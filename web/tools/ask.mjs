// Asks the chat page one question in a headless browser, streams its answer, and ends with one line of figures.
// Everything comes by the environment: HOB_URL, CHROME, ASK, DEVICE, N, HOB_TEMP, THREADS, JSON.
import { launch } from "./chrome.mjs";

const { HOB_URL, ASK, DEVICE, N, HOB_TEMP, THREADS, JSON: asJson } = process.env;
const json = asJson === "1";
const note = (text) => process.stderr.write(text);
const terminal = process.stderr.isTTY;

const url = new URL(HOB_URL);
if (DEVICE) url.searchParams.set("device", DEVICE);
if (N) url.searchParams.set("max_tokens", N);
if (HOB_TEMP) url.searchParams.set("temperature", HOB_TEMP);
if (THREADS && THREADS !== "1") note(`THREADS=${THREADS}: the page runs one thread\n`);

let browser;
process.on("SIGINT", () => void Promise.resolve(browser?.close()).finally(() => process.exit(130)));
try {
    browser = await launch();
    const page = await browser.newPage();
    const end = new Promise((done, fail) => {
        const hear = {
            progress: (p) => {
                if (terminal && p.stage === "load") note(`\rloading: ${(p.done / 1e6).toFixed(0)} of ${(p.total / 1e6).toFixed(0)} MB`);
            },
            ready: (i) => note(`${terminal ? "\r\x1b[K" : ""}${i.device}: ${i.why}\n`),
            text: ({ piece }) => json || process.stdout.write(piece),
            end: done,
            error: (e) => fail(new Error(e.message)),
        };
        page.exposeFunction("hobHear", (what, detail) => hear[what]?.(detail)).catch(fail);
        page.on("crash", () => fail(new Error("the page crashed")));
        page.on("pageerror", (e) => fail(e));
    });
    end.catch(() => {}); // it is awaited below; a failure before that must not end the program
    await page.addInitScript(() => {
        for (const what of ["progress", "ready", "text", "end", "error"])
            document.addEventListener(`hob:${what}`, (e) => window.hobHear(what, e.detail));
    });
    await page.goto(url.href);
    await Promise.race([page.waitForSelector("body[data-state=ready]", { timeout: 300_000 }), end]);
    await page.fill("#prompt", ASK);
    await page.press("#prompt", "Enter");
    const s = await end;
    const line = {
        device: s.device,
        prompt_tokens: s.prompt_tokens,
        answer_tokens: s.answer_tokens,
        answer: s.answer,
        load_ms: Math.round(s.load_ms),
        ttft_ms: s.ttft_ms,
        prefill_tps: s.prefill_tps,
        decode_tps: s.decode_tps,
    };
    process.stdout.write(
        json
            ? JSON.stringify(line) + "\n"
            : `\n\n${s.device}: ${s.prompt_tokens} prompt + ${s.answer_tokens} answer tokens, loaded in ${(s.load_ms / 1000).toFixed(1)} s, ` +
                  `first token after ${(s.ttft_ms / 1000).toFixed(2)} s, prefill ${s.prefill_tps.toFixed(1)} tokens/s, decode ${s.decode_tps.toFixed(1)} tokens/s\n`,
    );
} catch (e) {
    note(`\n${e.message.split("\n")[0]}\n`);
    process.exitCode = 1;
} finally {
    await browser?.close();
}
