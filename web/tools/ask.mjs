// Asks the chat page one question in a headless browser, streams its answer, and ends with one line of figures.
// Everything comes by the environment: HOB_URL, CHROME or FIREFOX, ASK, DEVICE, N, HOB_TEMP, THREADS, MODE, JSON.
import { launch } from "./browser.mjs";

const { HOB_URL, ASK, DEVICE, N, HOB_TEMP, THREADS, MODE, JSON: asJson } = process.env;
const json = asJson === "1";
const note = (text) => process.stderr.write(text);
const terminal = process.stderr.isTTY;

const url = new URL(HOB_URL);
if (DEVICE) url.searchParams.set("device", DEVICE);
if (N) url.searchParams.set("max_tokens", N);
if (HOB_TEMP) url.searchParams.set("temperature", HOB_TEMP);
if (Number(THREADS)) url.searchParams.set("threads", THREADS);
if (MODE) url.searchParams.set("mode", MODE);

let browser;
let first = 0;
let over = false; // all is said; the browser is being closed
let cause = null; // why the page failed; every call to it then fails in words of its own
const tell = (e) => note(`\n${String(cause ?? e?.message ?? e).split("\n")[0]}\n`);
// What the browser's driver throws outside of any call of ours; it ends its browser when this program ends.
const lost = (e) => {
    if (!over) tell(e);
    process.exit(over ? process.exitCode : 1);
};
process.on("uncaughtException", lost);
process.on("unhandledRejection", lost);
process.on("SIGINT", () => void Promise.resolve(browser?.close()).finally(() => process.exit(130)));
let end;
try {
    browser = await launch();
    const page = await browser.newPage();
    let hear = {};
    end = new Promise((done, fail) => {
        const fails = (why) => {
            cause ??= why;
            fail(new Error(why));
        };
        hear = {
            progress: (p) => {
                if (terminal && p.stage === "load") note(`\rloading: ${(p.done / 1e6).toFixed(0)} of ${(p.total / 1e6).toFixed(0)} MB`);
            },
            ready: (i) => note(`${terminal ? "\r\x1b[K" : ""}${i.device}: ${i.why}\n`),
            text: ({ piece, at }) => {
                first ||= at;
                json || process.stdout.write(piece);
            },
            end: done,
            error: (e) => fails(e.message),
        };
        page.on("crash", () => fails("the page crashed; is there memory left for it?"));
        page.on("close", () => fails("the browser ended; is there memory left for it?"));
        page.on("pageerror", (e) => fails(e.message ?? String(e)));
    });
    end.catch(() => {}); // it is awaited below; a failure before that must not end the program
    await page.exposeFunction("hobHear", (what, detail) => hear[what]?.(detail));
    await page.addInitScript((question) => {
        for (const what of ["progress", "ready", "text", "end", "error"])
            document.addEventListener(`hob:${what}`, (e) => window.hobHear(what, { ...e.detail, at: performance.now() })); // since navigation
        // asked from within: who drives a browser hears tenths of a second late that it is ready
        document.addEventListener("hob:ready", () => {
            const prompt = document.getElementById("prompt");
            prompt.value = question;
            prompt.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true, cancelable: true }));
        }, { once: true });
    }, ASK);
    await Promise.race([page.goto(url.href), end]);
    await Promise.race([page.waitForSelector("body:not([data-state=loading])", { timeout: 300_000 }), end]);
    const s = await end;
    const line = {
        device: s.device,
        threads: s.threads,
        kernel_set: s.kernel_set,
        prompt_tokens: s.prompt_tokens,
        answer_tokens: s.answer_tokens,
        answer: s.answer,
        load_ms: Math.round(s.load_ms),
        ttft_ms: s.ttft_ms,
        first_ms: Math.round(first), // of the answer, from navigation
        prefill_tps: s.prefill_tps,
        decode_tps: s.decode_tps,
    };
    process.stdout.write(
        json
            ? JSON.stringify(line) + "\n"
            : `\n\n${s.device}${s.device === "cpu" ? `, ${s.threads} thread${s.threads > 1 ? "s" : ""}` : ""}: ${s.prompt_tokens} prompt + ${s.answer_tokens} answer tokens, loaded in ${(s.load_ms / 1000).toFixed(1)} s, ` +
                  `first token after ${(s.ttft_ms / 1000).toFixed(2)} s, prefill ${s.prefill_tps.toFixed(1)} tokens/s, decode ${s.decode_tps.toFixed(1)} tokens/s\n`,
    );
} catch (e) {
    // that a page crashed is heard of after what it was asked for has failed, on a busy machine by seconds
    if (!cause && /ERR_ABORTED|closed|crash|parent object/i.test(e.message)) await Promise.race([end?.catch(() => {}), new Promise((done) => setTimeout(done, 10_000).unref())]);
    tell(e);
    process.exitCode = 1;
} finally {
    over = true;
    await browser?.close().catch(() => {});
}
