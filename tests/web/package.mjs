// The package by itself, as somebody else's page imports it: opening, ending, closing, seeds, what it says.
import { execFileSync } from "node:child_process";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { MODEL, OPEN, ROOT, must, serveCheckout, test } from "./lib.mjs";

/** The model with a tensor more, behind all others: rotary factors of 1, which change nothing. */
function withFactors(from, to) {
    const file = fs.readFileSync(from);
    const SIZE = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8], STRING = 8, ARRAY = 9, ALIGN = 32;
    let at = 24;
    const u32 = () => file.readUInt32LE((at += 4) - 4);
    const u64 = () => Number(file.readBigUInt64LE((at += 8) - 8));
    const text = () => file.toString("latin1", at + 8, (at += 8 + Number(file.readBigUInt64LE(at))));
    const skip = (type) => {
        if (type === STRING) text();
        else if (type === ARRAY) for (let of = u32(), n = u64(); n > 0; n--) skip(of);
        else at += SIZE[type];
    };
    let pairs = 0;
    for (let n = Number(file.readBigUInt64LE(16)); n > 0; n--) {
        const key = text(), type = u32();
        if (key === "llama.rope.dimension_count") pairs = file.readUInt32LE(at) / 2;
        skip(type);
    }
    const tensors = Number(file.readBigUInt64LE(8));
    for (let n = tensors; n > 0; n--) {
        text();
        const dims = u32();
        at += dims * 8 + 12;
    }
    const pad = (n) => Buffer.alloc((ALIGN - (n % ALIGN)) % ALIGN);
    const data = file.subarray(at + pad(at).length);
    const name = "rope_freqs.weight", info = Buffer.alloc(8 + name.length + 24);
    info.writeBigUInt64LE(BigInt(name.length), 0);
    info.write(name, 8);
    info.writeUInt32LE(1, 8 + name.length);
    info.writeBigUInt64LE(BigInt(pairs), 12 + name.length); // then the type, F32: 0
    info.writeBigUInt64LE(BigInt(data.length + pad(data.length).length), 24 + name.length);
    const head = Buffer.concat([file.subarray(0, at), info]);
    head.writeBigUInt64LE(BigInt(tensors + 1), 8);
    const factors = Buffer.from(new Float32Array(pairs).fill(1).buffer);
    fs.mkdirSync(path.dirname(to), { recursive: true });
    fs.writeFileSync(to, Buffer.concat([head, pad(head.length), data, pad(data.length), factors]));
}

export async function packageTests(browser) {
    const server = await serveCheckout();
    const page = await browser.newPage();
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    await page.evaluate(async () => {
        window.hob = await import("/web/lib/index.js");
        window.open = (model, more) => window.hob.createEngine({ model, device: "cpu", ctx: 256, ...more });
        window.say = async (engine, more) => {
            const messages = [{ role: "user", content: "Hello" }];
            return (await engine.chat.completions.create({ messages, max_tokens: 8, temperature: 0, ...more })).choices[0].message.content;
        };
        // what comes of a promise, or that nothing does
        window.outcome = (promise) =>
            Promise.race([
                promise.then((v) => v, (e) => `${e.name}: ${e.message}`),
                new Promise((done) => setTimeout(done, 30_000, "nothing for 30 s")),
            ]);
    });
    const model = `/${path.relative(ROOT, MODEL)}`;
    const sameAnswer = async (...models) => {
        const [one, two] = await page.evaluate(async (models) => {
            const said = [];
            for (const m of models) {
                const engine = await window.open(m);
                said.push(await window.say(engine));
                engine.close();
            }
            return said;
        }, models);
        must(one && one === two, `${one} and ${two}`);
    };

    await test("a model whose rotary factors lie at its end opens, and answers as without them", async () => {
        const copy = path.join(ROOT, "build", "tests", "factors.gguf");
        withFactors(MODEL, copy);
        try {
            await sameAnswer(model, `/${path.relative(ROOT, copy)}`);
        } finally {
            fs.rmSync(copy);
        }
    });
    await test("a model's address is read by a few long requests, and goes on where a connection was cut", async () => {
        const file = fs.statSync(MODEL).size, asked = [];
        let cuts = 0;
        const other = http.createServer((request, reply) => {
            for (const [name, value] of Object.entries(OPEN)) reply.setHeader(name, value);
            if (request.method === "OPTIONS") return reply.writeHead(204, { "Access-Control-Allow-Headers": "Range" }).end();
            const [, from, to] = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range);
            asked.push({ from: Number(from), open: to === "" });
            reply.writeHead(206, { "Content-Range": `bytes ${from}-${file - 1}/${file}`, "Content-Length": file - from });
            const body = fs.createReadStream(MODEL, { start: Number(from) });
            let sent = 0;
            if (cuts-- > 0) body.on("data", (d) => (sent += d.length) > 12 << 20 && reply.destroy());
            body.pipe(reply);
            reply.on("close", () => body.destroy());
        });
        await new Promise((done) => other.listen(0, "127.0.0.1", done));
        try {
            const there = `http://127.0.0.1:${other.address().port}/m.gguf`;
            await sameAnswer(model, there);
            const few = asked.splice(0);
            cuts = 2;
            await sameAnswer(model, there);
            must(few.length <= 8 && few[0].from === 0 && few.every((r) => r.open), JSON.stringify(few)); // 190 of half a megabyte
            must(asked.length > few.length && asked.length <= few.length + 30 && cuts <= 0, JSON.stringify(asked)); // what was under way is asked for anew
            return `${few.length} requests, ${asked.length} with two cuts`;
        } finally {
            other.closeAllConnections();
            other.close();
        }
    });
    await test("kernels are checked while nothing is asked for, and an answer then checks none", async () => {
        const said = await page.evaluate(async (model) => {
            const engine = await window.open(model);
            const evaluated = await engine.evaluate({ tokens: [1, 2, 3], rows: 1 }); // it has its turn meanwhile
            await new Promise((done) => setTimeout(done, 3000));
            const words = await window.say(engine), { checked } = engine.stats;
            engine.close();
            const other = await window.open(model);
            const soon = await window.say(other);
            other.close();
            return { words, checked, soon, n: evaluated.top.length };
        }, model);
        must(said.words && said.words === said.soon && said.n === 2, JSON.stringify(said));
        must(said.checked === 0, `${said.checked} kernels were checked in the answer`);
    });
    await test("a safetensors file of hob bake opens, and answers as the model it was made of", async () => {
        const baked = path.join(ROOT, "build", "tests", "baked.safetensors");
        execFileSync(path.join(ROOT, "build", "hob"), ["bake", "-m", MODEL, "-o", baked]);
        try {
            await sameAnswer(model, `/${path.relative(ROOT, baked)}`);
        } finally {
            fs.rmSync(baked);
        }
    });
    await test("schedules are measured while nothing is asked for, and the next page uses what was found", async () => {
        const folder = "build/fixtures/tiny";
        if (!fs.existsSync(path.join(ROOT, folder, "index.json")))
            execFileSync(path.join(ROOT, ".venv/bin/python"), ["tools/make_tiny_llamas.py", folder], { cwd: ROOT });
        const [name] = JSON.parse(fs.readFileSync(path.join(ROOT, folder, "index.json"), "utf8"));
        const { file, tokens } = JSON.parse(fs.readFileSync(path.join(ROOT, folder, `${name}.json`), "utf8"));
        const [before, kept, after] = await page.evaluate(async ([model, tokens]) => {
            const of = async (tune, wait) => {
                const engine = await window.hob.createEngine({ model, device: "webgpu", tune });
                const { logprob } = await engine.evaluate({ tokens, rows: 1 });
                let text = "";
                for (const end = performance.now() + wait; performance.now() < end && !text; await new Promise((d) => setTimeout(d, 300)))
                    text = await navigator.storage.getDirectory()
                        .then((f) => f.getFileHandle("hob-tuned.json")).then((h) => h.getFile()).then((f) => f.text()).catch(() => "");
                const again = await engine.evaluate({ tokens, rows: 1 }); // it waits for what is out, and no longer
                engine.close();
                return [engine.info.tuned, [...logprob], [...again.logprob], text];
            };
            const first = await of(true, 60_000);
            return [first, JSON.parse(first[3] || "{}"), await of(true, 0)];
        }, [`/${folder}/${file}`, tokens.slice(0, 12)]);
        must(before[0] === 0 && kept.hob_tuned === 1 && kept.schedules.length > 0, `${before[0]} known before, ${JSON.stringify(kept).slice(0, 80)}`);
        must(before[1].join() === before[2].join(), "measuring changed what the model says");
        must(after[0] > 0, "what was found is not used");
        const apart = Math.max(...after[1].map((x, i) => Math.abs(x - before[1][i])));
        must(apart < 1e-3, `tuned, the model says something else: ${apart}`);
        return `${kept.schedules.length} kept after a moment, ${after[0]} used`;
    });
    await test("a trace has a slice for each step of the submits that it is of, and changes no answer", async () => {
        const [two, plain, short] = await page.evaluate(async (model) => {
            const { open, outcome, say } = window;
            const engine = await open(model, { device: "webgpu" });
            const messages = [{ role: "user", content: "Thanks" }];
            const of = async (submits, max_tokens) => {
                const trace = engine.trace(submits);
                trace.catch(() => {});
                const said = await say(engine, { max_tokens, messages });
                return { said, trace: await outcome(trace) };
            };
            await say(engine, { max_tokens: 2 }); // kernels are checked at their first use, each by a submit
            const traced = [await of(3, 4), await say(engine, { max_tokens: 4, messages }), await of(9, 2)];
            engine.close();
            return traced;
        }, model);
        if (/has no timestamps/.test(two.trace)) return { skip: two.trace };
        must(two.said && two.said === plain, `${two.said} and ${plain}`);
        const submitsOf = ({ traceEvents }) => {
            const at = traceEvents.map((e, i) => (e.cat.endsWith("step") ? -1 : i)).filter((i) => i >= 0);
            return at.map((i, k) => ({ ...traceEvents[i], steps: traceEvents.slice(i + 1, at[k + 1]) }));
        };
        const [three, few] = [submitsOf(two.trace), submitsOf(short.trace)];
        must(three.map((s) => s.cat).join() === "prefill,decode,decode", `${three.map((s) => s.cat)}`);
        must(few.length === 2, `${few.length} submits of two tokens`);
        for (const s of three) {
            must(s.steps.length === s.args.steps && s.args.steps > 100, `${s.steps.length} slices for ${s.args.steps} steps`);
            must(s.steps.every((e) => e.args.bound_bytes > 0 && Math.min(...e.args.workgroups) > 0 && e.args.kernel), "a slice says too little");
            must(s.steps.every((e) => e.ts >= s.ts && e.ts + e.dur <= s.ts + s.dur + 1), "a step lies outside of its submit");
        }
        const names = three.slice(1).map((s) => s.steps.map((e) => e.name).join());
        must(names[0] === names[1], "two tokens have different steps");
        return `${three.map((s) => s.args.steps).join(" + ")} steps`;
    });
    await test("tokens tried in advance do not change an answer, and are counted", async () => {
        const said = await page.evaluate(async (model) => {
            const text = "Repeat this text exactly: The lighthouse keeper wrote down every ship that passed, its name, its flag and " +
                "the hour. On the third of March a small boat came in from the north.";
            const answers = [];
            for (const speculate of ["off", 5]) {
                const engine = await window.open(model, { speculate });
                for (const more of [{}, { temperature: 0.4, seed: 3 }]) {
                    const words = await window.say(engine, { messages: [{ role: "user", content: text }], max_tokens: 48, ...more });
                    answers.push({ speculate, words, stats: engine.stats });
                }
                for (const wrong of speculate === 5 ? [{ speculate: 8 }, { kernels: "avx" }, { device: "gpu" }, { mode: "slow" }] : []) {
                    const words = await window.outcome(engine.reload(wrong));
                    answers.push({ words, ready: (await window.say(engine, { max_tokens: 2 })).length > 0 });
                }
                engine.close();
            }
            return answers;
        }, model);
        for (const k of [0, 1]) must(said[k].words.length > 40 && said[k].words === said[k + 2].words, JSON.stringify(said));
        must(said[0].stats.drafted === 0 && said[2].stats.accepted > 10 && said[2].stats.accepted <= said[2].stats.drafted, JSON.stringify(said[2]));
        const refused = [/1 to 7/, /simd128/, /webgpu/, /reference/]; // and the engine answers on
        refused.forEach((words, i) => must(words.test(said[4 + i].words) && said[4 + i].ready, JSON.stringify(said[4 + i])));
        return said.map((s) => s.stats && `${s.speculate}: ${s.stats.decode_tps.toFixed(0)}/s, ${s.stats.accepted} of ${s.stats.drafted}`).join("; ");
    });
    await test("a signal ends the opening only; a closed engine and an address that is no text are told", async () => {
        const said = await page.evaluate(async (model) => {
            const { open, outcome, say } = window;
            const before = await outcome(open(model, { signal: AbortSignal.abort(new Error("too early")) }).then(() => "opened"));
            const during = await outcome(open(model, { signal: AbortSignal.timeout(1) }).then(() => "opened"));
            const later = new AbortController();
            const odd = await fetch(model);
            Object.defineProperty(odd, "url", { value: `${location.origin}/%zz.gguf` });
            const engine = await open(odd, { signal: later.signal });
            later.abort();
            const after = await outcome(say(engine));
            const traced = await outcome(engine.trace());
            const ready = engine.ready;
            engine.close();
            const closed = await Promise.all([outcome(say(engine)), outcome(engine.evaluate()), outcome(engine.reload({})), outcome(engine.trace())]);
            return { before, during, after, traced, ready: [ready, engine.ready], closed };
        }, model);
        must(said.before === "Error: too early", said.before);
        must(/^TimeoutError/.test(said.during), said.during);
        must(said.after && !/^\w*Error|^nothing for/.test(said.after), said.after);
        must(/^HobError: only WebGPU is traced/.test(said.traced), said.traced);
        must(String(said.ready) === "true,false", `ready: ${said.ready}`);
        for (const why of said.closed) must(/^HobError: .*engine was closed/.test(why), why);
    });
    await test("every error says what to do", async () => {
        const said = await page.evaluate(async (model) => {
            const { open, outcome, say } = window;
            const { ERRORS } = await import("/web/lib/errors.gen.js");
            const bare = [...Object.keys(ERRORS), "NETWORK", "PAGE"].map((code) => new window.hob.HobError({ code, message: "it is wrong" }));
            const engine = await open(model);
            const met = [open("/nobody.gguf"), open("/package.json"), say(engine, { top_k: -1 }), say(engine, { dance: 1 }), open(model, { ctx: -1 })];
            const texts = [];
            for (const m of met) texts.push(await outcome(m.then(() => "no error")));
            engine.close();
            const own = new window.hob.HobError({ code: "IO", message: "it is wrong; mend it" });
            return { bare: bare.map((e) => [e.code, e.message, e.meaning]), texts, own: own.message };
        }, model);
        must(said.bare.length > 100 && said.own === "it is wrong; mend it", said.own);
        for (const [code, message, meaning] of said.bare) must(/^it is wrong; .{6}/.test(message) && meaning !== message, `${code}: ${message}`);
        for (const text of said.texts) must(/^HobError: .*; ./.test(text), text);
    });
    await test("a stored model is deleted when its storage is full, its engine or its tab is closed, and another's is left", async () => {
        const tab = await browser.newPage(); // a context, and with it a storage, of its own
        let more = ""; // runs in the worker before its own code
        await tab.route(/\/worker\.js$/, async (route) => {
            const reply = await route.fetch();
            await route.fulfill({ response: reply, body: more + (await reply.text()) });
        });
        const start = async () => {
            await tab.goto(page.url());
            await tab.evaluate(async () => {
                const { createEngine } = await import("/web/lib/index.js");
                // a body of no address: there is nothing to ask ranges of
                window.stored = async (url) => createEngine({ model: new Response((await fetch(url)).body), device: "cpu", ctx: 256 });
                window.parts = async () => (await Array.fromAsync((await navigator.storage.getDirectory()).keys())).sort();
                window.until = async (n) => {
                    for (let i = 0; i < 100 && (await window.parts()).length !== n; i++) await new Promise((done) => setTimeout(done, 50));
                    return String(await window.parts());
                };
            });
        };
        const theirs = `hob-${"0".repeat(8)}-0000-4000-8000-${"0".repeat(12)}.part`, left = theirs.replace("0-", "1-");
        await start();
        const [mine, after] = await tab.evaluate(async ({ model, theirs, left }) => {
            const folder = await navigator.storage.getDirectory();
            for (const name of [theirs, left, "notes.txt"]) await folder.getFileHandle(name, { create: true });
            await new Promise((held) => navigator.locks.request(theirs, () => (held(), new Promise(() => {}))));
            const engine = await window.stored(model);
            const mine = await window.parts();
            engine.close();
            return [mine, await window.until(2)];
        }, { model, theirs, left });
        must(mine.length === 3 && mine.includes(theirs) && mine.includes("notes.txt") && !mine.includes(left), `stored: ${mine}`);
        must(after === `${theirs},notes.txt`, `after closing: ${after}`);
        await tab.evaluate(async (model) => void (await window.stored(model)), model);
        must((await tab.evaluate(() => window.parts())).length === 3, "it was not stored");
        await start(); // the tab goes elsewhere; the lock of `theirs` goes with it
        more = `const own = FileSystemSyncAccessHandle.prototype.write; let room = 20;
            FileSystemSyncAccessHandle.prototype.write = function (...a) {
                if (room-- > 0) return own.apply(this, a);
                throw new DOMException("No space", "QuotaExceededError");
            };\n`;
        const full = await tab.evaluate(async (model) => {
            const why = await window.stored(model).then(() => "it opened", (e) => `${e.code}: ${e.message}`);
            return [why, await window.until(1)];
        }, model);
        must(/^IO: .*storage takes no more \(No space\); free/.test(full[0]), full[0]);
        must(full[1] === "notes.txt", `when it was full: ${full[1]}`);
        await tab.close();
    });
    await test("without a seed answers differ, and the same seed gives the same", async () => {
        const [free, seeded] = await page.evaluate(async (model) => {
            const engine = await window.open(model);
            const said = [[], []];
            for (let i = 0; i < 3; i++) said[0].push(await window.say(engine, { temperature: 2 }));
            for (const seed of [0, 7, 0, 7]) said[1].push(await window.say(engine, { temperature: 2, seed }));
            engine.close();
            return said;
        }, model);
        must(new Set(free).size === 3, JSON.stringify(free));
        must(seeded[0] === seeded[2] && seeded[1] === seeded[3] && seeded[0] !== seeded[1], JSON.stringify(seeded));
    });
    await test("each browser is told its own way to WebGPU", async () => {
        const { webgpuHelp } = await import("../../web/lib/support.js");
        for (const [agent, help] of [
            ["Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/140.0.0.0 Mobile Safari/537.36", /^In Chrome on Android, open chrome:\/\/flags/],
            ["Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 Chrome/119.0.0.0 Mobile Safari/537.36", /^Update Chrome/],
            ["Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36", /^In Chrome on Linux, open chrome:\/\/flags/],
            ["Mozilla/5.0 (Windows NT 10.0) AppleWebKit/537.36 Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0", /^In Edge, open edge:\/\/settings\/system/],
        ])
            must(help.test(webgpuHelp(agent, true, false, true)), webgpuHelp(agent, true, false, true));
        must(webgpuHelp("any", true, true, true) === null, "help where there is WebGPU");
    });
    await page.close();
    server.close();
}
