// The chat page in a real browser, with the network cut off outside 127.0.0.1: talks on both devices, what is counted
// while it does, and what it says when something is missing.
import { execFile, execFileSync } from "node:child_process";
import fs from "node:fs";
import path from "node:path";
import zlib from "node:zlib";
import {
    AS_GPU, DEPTH, MODEL, NO_WEBGPU, ROOT, ask, failures, must, mustBeFrugal, openPage, screenshot, slowClock, smallLimits, startBrowser, startServer, test, untilReady,
} from "./lib.mjs";
import { packageTests } from "./package.mjs";
import { threadTests } from "./threads.mjs";
import { tuningTests } from "./tuning.mjs";

const TRIAL = 1; // pipelines that the trial of WebGPU makes
const SHOW_MS = 40; // between two looks at a growing answer (web/app/main.ts)
/** Both devices' figures are on the page, whichever runs. */
async function mustShowFigures(p) {
    for (const name of ["webgpu", "cpu"]) {
        const text = await p.page.textContent(`#figure-${name}`);
        must(/^[\d.]+ GB\/s, \w/.test(text), `no figure for ${name}: "${text}"`);
    }
}

/** Pipelines are asked for before the weights come, a prompt's before those of an answer. */
function mustMakeEarly({ names, behind, weights }) {
    const own = names.slice(TRIAL), before = behind.slice(TRIAL);
    must(own.length > 8, `only ${own.length} pipelines were asked for while the model was loading`);
    must(before.every((n) => n === before[0]) && weights - before[0] > 50, `${weights} large writes, pipelines after ${before.join(" ")} of them`);
    const ofAnswers = (n) => /^matmul.*_n1$/.test(n);
    must(own.findLastIndex((n) => /^matmul/.test(n) && !ofAnswers(n)) < own.findIndex(ofAnswers), own.join(" "));
    return `${own.length} pipelines begun before ${weights - before[0]} windows of weights`;
}

const FIRST = "Hello", SECOND = "Thanks"; // short ones: a software adapter reads five tokens a second
const server = await startServer();
const browser = await startBrowser();
const at = (query) => `${server.url}?temperature=0&max_tokens=12&${query}`;
const answers = {};

// ---- sizes ---------------------------------------------------------------------------------------------------
// the limits of tools/size.py, by node's gzip: what a browser takes is neither's exactly
for (const { what, files, limit, skip } of JSON.parse(execFileSync("python3", ["tools/size.py", "--json"], { cwd: ROOT })))
    await test(`${what} weighs at most ${limit / 1024} KB gzipped, by node too`, () => {
        const size = files.reduce((sum, name) => sum + zlib.gzipSync(fs.readFileSync(name), { level: 9 }).length, 0);
        if (skip && size > limit) return { skip };
        must(size > 0 && size <= limit, `${size} bytes`);
        return `${(size / 1024).toFixed(0)} KB`;
    });

// ---- two turns on each device -----------------------------------------------------------------------------------
const twoTurns = (device) => test(`a two-turn chat finishes on ${device} without a network`, async () => {
    const p = await openPage(browser, at(`device=${device}`));
    try {
        await untilReady(p);
        must(p.last("ready").device === device, `the page took ${p.last("ready").device}`);
        const making = device === "webgpu" ? mustMakeEarly(await p.count()) : "";
        await mustShowFigures(p);
        const one = await ask(p, FIRST);
        const before = await p.count();
        const shown = p.seen.events.filter((e) => e.what === "text").map((e) => e.detail.piece);
        must(shown.join("") === one.answer, `it shows "${shown.join("")}"`);
        must(shown.length <= (one.wall_ms - one.ttft_ms) / SHOW_MS + 2, `drawn ${shown.length} times in ${one.wall_ms - one.ttft_ms} ms`);
        const two = await ask(p, SECOND);
        const after = await p.count();
        must(one.answer && two.answer, "an answer is empty");
        must(two.cached_tokens > 0, "the second turn read the first again");
        answers[device] = one.answer + "|" + two.answer;
        must((await p.page.locator("#log article").count()) === 4, "not four messages");
        const outside = await p.page.evaluate(() => fetch("https://example.com/").then(() => "answered", () => "failed"));
        must(outside === "failed", "a request to the outside was answered");
        const strangers = p.seen.requests.filter((r) => !r.startsWith(server.url) && !/^(data|blob):/.test(r) && !r.includes("example.com"));
        must(strangers.length === 0, `asked for ${strangers[0]}`);
        must(p.seen.errors.length === 0, p.seen.errors[0]);
        if (device === "webgpu") {
            const info = p.last("ready");
            const counted = mustBeFrugal(before, after, two);
            const long = await ask(p, "Tell me a story.");
            must(long.finish_reason === "length", `it ended by ${long.finish_reason}`);
            const exactly = mustBeFrugal(after, await p.count(), long);
            must(after.pipelines - TRIAL <= 24, `${after.pipelines} pipelines`);
            must(info.heap_bytes <= 64 << 20, `the heap is ${info.heap_bytes >> 20} MB`);
            return `${making}; ${counted}; ${exactly}; ${after.pipelines - TRIAL} pipelines, heap ${info.heap_bytes >> 20} MB, ` +
                `compiled in ${info.compile_ms.toFixed(0)} ms`;
        }
        return `${one.decode_tps.toFixed(1)} tokens/s`;
    } finally {
        await p.close();
    }
});
// `make parity` takes a gpu's profile here: a software adapter is very slow at barriers
const [profile, disguise] = process.env.HOB_FULL ? ["gpu", AS_GPU] : ["software", ""];
const lost = () => test(`a sampled first answer on a ${profile} profile makes at most 24 pipelines, with one submit a token; ` +
    "a device that is lost then is told, and the conversation goes on after loading again", async () => {
    const p = await openPage(browser, `${server.url}?temperature=0.8&seed=1&max_tokens=24&device=webgpu`, { before: disguise });
    const said = (n) => p.page.waitForFunction((n) => document.querySelector("article.assistant div")?.textContent.length > n, n, { timeout: 400_000 });
    try {
        await untilReady(p);
        const start = await p.count();
        const end = ask(p, "Tell me a story.", 400_000).then(() => null, (e) => e.message);
        await said(20);
        const after = await p.count();
        const { pieces } = p.last("text");
        const steps = after.each.slice(start.each.length).filter((n) => n > 1).length; // each kernel's check is one dispatch
        await p.page.workers()[0].evaluate(() => globalThis.lastDevice.destroy());
        must(after.pipelines - TRIAL <= 24, `${after.pipelines} pipelines: ${after.names.join(" ")}`);
        must(pieces > 2 && steps >= pieces - 1 && steps <= pieces + 2 * DEPTH, `${steps} submits for ${pieces} tokens`);
        const why = await end;
        must(why && /device/.test(why), `it says: ${why}`);
        must((await p.page.locator("#log article").count()) === 2, "the conversation is gone");
        await p.page.click("#error button");
        await p.page.waitForFunction(() => document.body.dataset.state === "ready" && document.getElementById("error").hidden, null, { timeout: 240_000 });
        must((await ask(p, FIRST, 400_000)).answer, "no answer after loading again");
        must((await p.page.locator("#log article").count()) === 4, "messages were lost");
        return `${after.pipelines - TRIAL} pipelines, ${steps} submits when ${pieces} tokens were there; ${why}`;
    } finally {
        await p.close();
    }
});
const gpuProfile = () => test("a gpu's schedules answer alike, with at most 5 dispatches a layer and one submit a token", async () => {
    const p = await openPage(browser, `${server.url}?temperature=0&max_tokens=4&device=webgpu`, { before: AS_GPU });
    try {
        await untilReady(p);
        must(p.last("ready").profile !== "software", "the adapter was taken for software");
        const start = await p.count(); // the trial's
        const one = await ask(p, FIRST, 400_000); // a software adapter is very slow at barriers
        const after = await p.count(), each = after.each.slice(start.each.length);
        must(!answers.cpu || answers.cpu.startsWith(one.answer), one.answer);
        // each kernel's check is a submit of one dispatch; the rest are the prompt and a token each
        const steps = each.filter((n) => n > 1);
        const layers = 30, around = 5; // the rotary table, the embedding, the head with its norm, the choice in two
        const [prompt, ...tokens] = steps;
        must(tokens.every((n) => n <= 5 * layers + around), `${Math.max(...tokens)} dispatches a token`);
        must(one.finish_reason === "length" && steps.length === one.answer_tokens, `${steps.length} submits for ${one.answer_tokens} tokens`);
        must(after.pipelines - TRIAL <= 24, `${after.pipelines} pipelines`);
        return `${prompt} dispatches for the prompt, ${tokens[0]} a token; ${after.pipelines - TRIAL} pipelines; ` +
            `first token after ${(one.ttft_ms / 1000).toFixed(1)} s`;
    } finally {
        await p.close();
    }
});

// ---- choosing, switching, missing -------------------------------------------------------------------------------
const choosing = () => test("auto times both devices and says why it chose, a switch keeps the conversation, and the least limits are enough", async () => {
    const p = await openPage(browser, at("device=auto"), { before: smallLimits() });
    try {
        await untilReady(p);
        const info = p.last("ready");
        must(info.trials.length === 2 && info.trials.every((t) => t.gbps > 0), JSON.stringify(info.trials));
        must(/times as fast/.test(info.why), info.why);
        await mustShowFigures(p);
        const other = info.device === "cpu" ? "webgpu" : "cpu";
        const one = await ask(p, FIRST);
        await p.page.click("#device summary");
        await p.page.check(`input[value=${other}]`);
        await p.page.waitForFunction((o) => document.getElementById("device-name").textContent.toLowerCase() === o, other, { timeout: 240_000 });
        await p.page.keyboard.press("Escape");
        const two = await ask(p, SECOND);
        must(two.device === other, `still ${two.device}`);
        must(!answers.cpu || answers.cpu === one.answer + "|" + two.answer, `${one.answer}|${two.answer}`);
        await mustShowFigures(p);
        must(JSON.stringify(p.last("ready").trials) === JSON.stringify(info.trials), "the switch timed them anew");
        must((await p.page.locator("#log article").count()) === 4, "the switch lost messages");
        return `${info.device}: ${info.why}`;
    } finally {
        await p.close();
    }
});
const switching = () => test("switching the device during an answer stops it, and the conversation goes on; without a server the model stays", async () => {
    const own = await startServer();
    const p = await openPage(browser, `${own.url}?device=cpu&temperature=0&max_tokens=300`, { before: NO_WEBGPU });
    const state = () => p.page.evaluate(() => [document.body.dataset.state, document.getElementById("error").textContent].join(": "));
    try {
        await untilReady(p);
        await p.page.fill("#prompt", "Write a very long story about a lighthouse.");
        await p.page.press("#prompt", "Enter");
        await p.page.waitForFunction(() => document.querySelector("article.assistant div")?.textContent.length > 20, null, { timeout: 120_000 });
        await p.page.click("#device summary");
        await p.page.check("input[value=auto]");
        await p.page.waitForFunction(() => /ready/.test(document.body.dataset.state) || !document.getElementById("error").hidden, null, { timeout: 60_000 });
        must((await state()) === "ready: ", await state());
        must(p.last("end").answer_tokens < 300, "it was not stopped");
        must((await p.page.locator("#log article").count()) === 2, "the switch lost messages");
        must((await ask(p, FIRST)).cached_tokens === 0, "the model was not opened again");
        own.stop();
        await p.page.check("input[value=cpu]");
        await p.page.waitForFunction(() => !document.getElementById("error").hidden, null, { timeout: 60_000 });
        must(/^ready: .*server/.test(await state()), await state());
        must((await ask(p, SECOND)).answer, "the model that was open does not answer");
        must((await p.page.locator("#log article").count()) === 6, "messages were lost");
    } finally {
        await p.close();
        own.stop();
    }
});
const trials = () => test("where the clock runs fast the trials end with few products", async () => {
    const p = await openPage(browser, at("device=cpu"), { before: slowClock(60) });
    try {
        await untilReady(p);
        const { trials } = p.last("ready");
        must(trials.length === 2 && trials.every((t) => t.gbps > 0 && t.products >= 2 && t.products < 20 && t.took_ms > 0), JSON.stringify(trials));
        const { each } = await p.count();
        must(String(each) === "1,1", `submits of ${each} dispatches`);
        await p.page.click("#device summary");
        must(/Trials\d+ ms in all/.test(await p.page.textContent("#facts")), "the page does not say how long it took");
    } finally {
        await p.close();
    }
});
const withoutWebgpu = () => test("without WebGPU the page says what to do and runs on the CPU", async () => {
    const p = await openPage(browser, at(""), { before: NO_WEBGPU });
    try {
        await untilReady(p);
        must(p.last("ready").device === "cpu", "not on the CPU");
        await p.page.click("#device summary");
        const help = await p.page.textContent("#help");
        must(/enable-unsafe-webgpu|settings|about:config|Update/.test(help), `no step: ${help}`);
        must(/cannot be used: .*WebGPU/.test(await p.page.textContent("#figure-webgpu")), "it does not say that WebGPU is missing");
        must(/WebAssembly .*SIMD/.test(await p.page.textContent("#figure-cpu")), "it does not say what runs instead");
        must((await ask(p, FIRST)).answer, "no answer");
        await screenshot(p, "no-webgpu");
    } finally {
        await p.close();
    }
});
const tooSmall = () => test("an adapter that is too small is a clear error and loses nothing", async () => {
    const p = await openPage(browser, at("device=webgpu"), {
        before: smallLimits({ maxBufferSize: 1 << 20, maxStorageBufferBindingSize: 1 << 20 }),
    });
    try {
        const why = await untilReady(p).then(() => null, (e) => e.message);
        must(why && /adapter|bind|buffer|MB/.test(why), `it says: ${why}`);
        await p.page.click("#device summary");
        await p.page.check("input[value=cpu]");
        await p.page.waitForSelector("body[data-state=ready]", { timeout: 240_000 });
        return why;
    } finally {
        await p.close();
    }
});

// ---- what goes wrong ------------------------------------------------------------------------------------------------
const drop = (p, name, text) =>
    p.page.evaluate(([name, text]) => {
        const data = new DataTransfer();
        data.items.add(new File([text], name));
        document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
    }, [name, text]);
const inSight = () => test("an error after a long conversation scrolls into sight", async () => {
    const p = await openPage(browser, `${server.url}?device=cpu&temperature=0&max_tokens=40`, { before: NO_WEBGPU, context: { viewport: { width: 390, height: 420 } } });
    try {
        await untilReady(p);
        await ask(p, "many words ".repeat(30));
        await p.page.evaluate(() => (document.getElementById("scroll").scrollTop = 0));
        await drop(p, "notes.txt", "text");
        await p.page.waitForSelector("#error:not([hidden])");
        const [box, area] = await p.page.evaluate(() => ["error", "scroll"].map((id) => document.getElementById(id).getBoundingClientRect().toJSON()));
        must(box.top >= area.top - 1 && box.bottom <= area.bottom + 1, `from ${box.top} to ${box.bottom} in ${area.top} to ${area.bottom}`);
    } finally {
        await p.close();
    }
});
const early = () => test("a wrong file during a load takes nothing away, and loading again takes the source before", async () => {
    const p = await openPage(browser, at("device=cpu"), { before: NO_WEBGPU });
    try {
        await drop(p, "wrong.gguf", "not a model");
        await drop(p, "wrong, too.gguf", "not a model");
        await p.page.waitForFunction(() => /wrong/.test(document.getElementById("error").textContent));
        must(/^GGUF_/.test(p.last("error").code), p.last("error").code);
        must(!p.last("ready"), "the model was loaded before the file came");
        const name = () => p.page.textContent("#model-name");
        must(!(await name()).includes("wrong"), await name());
        must((await p.page.locator("#error button").count()) === 0, "it offers to load again while it does");
        await p.page.waitForSelector("body[data-state=ready]", { timeout: 240_000 });
        must(/SmolLM2/.test(await name()), await name());
        must((await ask(p, FIRST)).answer, "no answer");
        await p.page.goto(at("device=cpu&model=nowhere.gguf"));
        const says = (what) => p.page.waitForFunction((what) => document.getElementById("error").textContent.includes(what), what);
        await says("404");
        await drop(p, "wrong.gguf", "not a model");
        await says("wrong.gguf");
        must((await name()) === "", await name());
        await p.page.click("#error button");
        await says("nowhere.gguf");
    } finally {
        await p.close();
    }
});

// ---- files --------------------------------------------------------------------------------------------------------
const files = () => test("a dropped file becomes the model, a wrong one is refused, and dragged text is let through", async () => {
    const p = await openPage(browser, at("device=cpu&model=nowhere.gguf"));
    const drop = (make) =>
        p.page.evaluate(async (code) => {
            const data = new DataTransfer();
            data.items.add(await eval(code)());
            document.dispatchEvent(new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true }));
        }, `(${make})`);
    try {
        await p.page.waitForSelector("#error:not([hidden])");
        must(/404/.test(p.last("error").message), p.last("error").message);
        await drop(() => new File(["not a model"], "wrong.gguf"));
        await p.page.waitForFunction(() => /wrong\.gguf/.test(document.getElementById("error").textContent) && !document.getElementById("error").hidden);
        must(/^GGUF_/.test(p.last("error").code), p.last("error").code);
        const dragged = await p.page.evaluate(() => {
            const drag = (what, file) => {
                const data = new DataTransfer();
                if (file) data.items.add(new File(["x"], "x.gguf"));
                else data.setData("text/plain", "some words");
                const at = document.getElementById(file ? "log" : "prompt");
                const taken = !at.dispatchEvent(new DragEvent(what, { dataTransfer: data, bubbles: true, cancelable: true }));
                return [what, file ? "file" : "text", taken && "taken", !document.getElementById("drop").hidden && "shown"].filter(Boolean).join(" ");
            };
            const text = ["dragenter", "dragover", "dragleave", "dragenter", "dragover", "drop"].map((what) => drag(what, false));
            return [...text, ...["dragenter", "dragover", "dragleave"].map((what) => drag(what, true))];
        });
        must(String(dragged) === "dragenter text,dragover text,dragleave text,dragenter text,dragover text,drop text," +
            "dragenter file taken shown,dragover file taken shown,dragleave file", String(dragged));
        await drop(() => new File(["text"], "notes.txt"));
        await p.page.waitForFunction(() => /notes\.txt/.test(document.getElementById("error").textContent));
        await p.page.evaluate(() => (document.body.insertAdjacentHTML("beforeend", '<input type="file" id="disk">')));
        await p.page.setInputFiles("#disk", MODEL);
        await drop(() => document.getElementById("disk").files[0]);
        await p.page.waitForSelector("body[data-state=ready]", { timeout: 240_000 });
        const one = await ask(p, FIRST);
        must(!answers.cpu || answers.cpu.startsWith(one.answer + "|"), one.answer);
        await drop(() => new File(["not a model"], "wrong.gguf"));
        await p.page.waitForFunction(() => document.body.dataset.state === "ready" && /wrong\.gguf/.test(document.getElementById("error").textContent));
        must((await ask(p, SECOND)).answer, "a wrong file took the open model away");
        await p.page.evaluate(() => document.getElementById("error").replaceChildren());
        await drop(() => document.getElementById("disk").files[0]);
        await p.page.waitForFunction(() => document.body.dataset.state === "loading");
        await p.page.waitForSelector("body[data-state=ready]", { timeout: 240_000 });
        const engines = () => p.page.workers().filter((w) => /worker-/.test(w.url())).length; // helpers beside them
        for (let i = 0; i < 500 && engines() > 1; i++) await p.page.waitForTimeout(20);
        must(engines() === 1, `${engines()} workers: ${p.page.workers().map((w) => w.url())}: the model before was not closed`);
    } finally {
        await p.close();
    }
});

// ---- hands and looks ------------------------------------------------------------------------------------------------
const keyboard = () => test("by keyboard alone: ask, stop, new chat", async () => {
    const p = await openPage(browser, `${server.url}?device=cpu&temperature=0&max_tokens=400`);
    try {
        await untilReady(p);
        must((await p.page.evaluate(() => document.activeElement.id)) === "prompt", "the prompt has no focus");
        await p.page.keyboard.type("Write a long story about a lighthouse.");
        await p.page.keyboard.press("Enter");
        await p.page.waitForFunction(() => document.querySelector("article.assistant div")?.textContent.length > 20, null, { timeout: 120_000 });
        await p.page.keyboard.press("Escape");
        await p.page.waitForSelector("body[data-state=ready]", { timeout: 10_000 });
        must(p.last("end").answer_tokens < 400, "it was not stopped");
        const reached = [];
        for (let i = 0; i < 12; i++) {
            await p.page.keyboard.press("Tab");
            reached.push(await p.page.evaluate(() => document.activeElement.id || document.activeElement.tagName));
        }
        for (const id of ["new", "file", "SUMMARY"]) must(reached.includes(id), `${id} is not reached by Tab: ${reached}`);
        await p.page.focus("#new");
        await p.page.keyboard.press("Enter");
        must((await p.page.locator("#log article").count()) === 0, "the conversation is still there");
        must((await p.page.evaluate(() => document.activeElement.id)) === "prompt", "the prompt has no focus");
    } finally {
        await p.close();
    }
});
const mistakes = () => test("a request's mistakes and a prompt that is too long are told", async () => {
    const p = await openPage(browser, `${server.url}?device=cpu&temperature=0&max_tokens=4&ctx=64`);
    try {
        await untilReady(p);
        const why = await ask(p, "many words ".repeat(200)).then(() => null, (e) => e.message);
        must(why && /context/.test(why), `it says: ${why}`);
        must((await ask(p, "Hi")).answer_tokens > 0, "the next answer failed");
    } finally {
        await p.close();
    }
});
const askedAway = () => test("a question to a page that crashes, has an error or is not there ends with one line", async () => {
    const asking = async (url) => {
        const env = { ...process.env, HOB_URL: url, ASK: "Hello", DEVICE: "", N: "", HOB_TEMP: "", THREADS: "", JSON: "1" };
        const [status, out, err] = await new Promise((done) =>
            execFile("node", ["web/tools/ask.mjs"], { cwd: ROOT, env, timeout: 60_000 }, (e, out, err) => done([e?.code ?? 0, out, err])));
        must(status === 1 && out === "", `${url}: exit status ${status}, ${out}`);
        return err.trim();
    };
    for (const [url, why] of [
        ["chrome://crash/", /^the page crashed; .*memory.*$/],
        [`${server.url}?model=nowhere.gguf`, /^.*nowhere\.gguf: the server answers 404.*$/],
        ["http://127.0.0.1:9/", /^page\.goto: net::ERR_\w+ at http:.*$/],
    ]) {
        const said = await asking(url);
        must(why.test(said), `${url}: ${said}`);
    }
});
const looks = async () => {
    const p = await openPage(browser, `${server.url}?temperature=0&max_tokens=60&device=cpu`);
    for (const scheme of ["light", "dark"])
        for (const [width, height] of [[1280, 800], [390, 780]])
            await test(`nothing overflows at ${width} pixels, ${scheme}`, async () => {
                await p.page.emulateMedia({ colorScheme: scheme });
                await p.page.setViewportSize({ width, height });
                await untilReady(p);
                await p.page.click("#new");
                await screenshot(p, `welcome-${width}-${scheme}`);
                await ask(p, "Why is the sky blue?");
                await screenshot(p, `chat-${width}-${scheme}`);
                await p.page.click("#device summary");
                await screenshot(p, `device-${width}-${scheme}`);
                const wide = await p.page.evaluate(() => {
                    const sheet = document.querySelector(".sheet").getBoundingClientRect();
                    return { page: document.documentElement.scrollWidth, left: sheet.left, right: sheet.right };
                });
                await p.page.keyboard.press("Escape");
                must(wide.page <= width && wide.left >= 0 && wide.right <= width, JSON.stringify(wide));
                must(await p.page.evaluate(() => document.querySelector(".open").getClientRects()[0].height < 24), "the footer's link is broken up");
                await p.page.evaluate(() => (document.getElementById("drop").hidden = false));
                await screenshot(p, `drop-${width}-${scheme}`);
                const seen = await p.page.evaluate(() => {
                    const drop = document.getElementById("drop"), box = drop.getBoundingClientRect();
                    drop.hidden = true;
                    return { color: getComputedStyle(drop).backgroundColor, width: box.width, height: box.height };
                });
                must(/^rgb\(/.test(seen.color) && seen.width >= width && seen.height >= height, `text shows through: ${JSON.stringify(seen)}`);
            });
    await p.close();
};

// Beside what waits for the software adapter, the rest: it leaves half a core idle.
const inTurn = async (tests) => {
    for (const run of tests) await run();
};
await twoTurns("cpu"); // its answers are what the others are held to
await Promise.all([
    inTurn([() => twoTurns("webgpu"), lost, gpuProfile, choosing, trials]),
    inTurn([() => packageTests(browser), () => threadTests(browser), () => tuningTests(browser), withoutWebgpu, tooSmall, switching, inSight, early, files, keyboard, mistakes, askedAway, looks]),
]);
await test("both devices give the same greedy answers", () => {
    must(answers.cpu && answers.webgpu, "one of them gave none");
    must(answers.cpu === answers.webgpu, `${JSON.stringify(answers.cpu)} and ${JSON.stringify(answers.webgpu)}`);
});


await browser.close();
server.stop();
process.exit(failures() ? 1 : 0);
