// Threads in the page: with and without a memory that they share, by our own service worker, and when helpers fail.
import fs from "node:fs";
import path from "node:path";
import { ISOLATED, MODEL, NO_WEBGPU, OPEN, ROOT, ask, must, openPage, serveCheckout, test, untilReady } from "./lib.mjs";

const model = `/${path.relative(ROOT, MODEL)}`;
const address = (server) => `http://127.0.0.1:${server.address().port}`;

/** A page of the package itself, with no GPU: the CPU's trial alone. */
async function packagePage(browser, server) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await context.route(/\/worker\.js$/, async (route) => {
        const reply = await route.fetch();
        await route.fulfill({ response: reply, body: NO_WEBGPU + (await reply.text()) });
    });
    await page.goto(`${address(server)}/`);
    await page.evaluate(async (model) => {
        const { createEngine } = await import("/web/lib/index.js");
        window.lines = [];
        window.open = (more) => createEngine({ model, device: "cpu", ctx: 256, rows: 32, onLog: (line) => window.lines.push(line), ...more });
        window.say = async (engine, more) => {
            const messages = [{ role: "user", content: "Hello" }];
            return (await engine.chat.completions.create({ messages, max_tokens: 8, temperature: 0, ...more })).choices[0].message.content;
        };
        // what it says, and a checksum of all logits of its words: one row at a time, and many
        window.thinks = async (engine) => {
            const said = await window.say(engine), sums = [], top = [];
            let tokens;
            for (const rows of [1, 32]) {
                const e = await engine.evaluate({ tokens, rows, logits: [5, 20] });
                tokens = e.tokens;
                for (const l of e.logits.values()) sums.push(new Uint32Array(l.buffer).reduce((h, x) => (Math.imul(h, 31) + x) | 0, 0));
                top.push(...[...e.top].filter((_, i) => e.margin[i] > 0.25));
            }
            return { said, sums: String(sums), top: String(top), threads: engine.info.threads, set: engine.info.kernel_set };
        };
    }, model);
    return { page, close: () => context.close() };
}

/** How many workers a page has, once they are n or after two seconds. */
async function workers(page, n) {
    for (let i = 0; i < 100 && page.workers().length !== n; i++) await page.waitForTimeout(20);
    return page.workers().length;
}

export async function threadTests(browser) {
    const spoilt = {}, isolated = await serveCheckout(ISOLATED, spoilt), plain = await serveCheckout(), other = await serveCheckout(OPEN);
    let alone; // what one thread thinks

    await test("a page that may not share memory runs one thread, and says so where more are asked for", async () => {
        const { page, close } = await packagePage(browser, plain);
        alone = await page.evaluate(async () => {
            const engine = await window.open({ threads: 2 });
            const thinks = { ...(await window.thinks(engine)), lines: window.lines, shared: typeof SharedArrayBuffer };
            engine.close();
            return thinks;
        });
        must(alone.shared === "undefined" && alone.threads === 1, `${alone.threads} threads`);
        must(/not cross-origin isolated/.test(alone.lines.join()), `it says "${alone.lines}"`);
        await close();
        return `kernels: ${alone.set}`;
    });
    await test("several threads think what one does, to the bit; plain SIMD agrees; answers can be stopped; a closed engine leaves no thread", async () => {
        const { page, close } = await packagePage(browser, isolated);
        const two = await page.evaluate(async () => {
            window.engine = await window.open({ threads: 2 });
            return window.thinks(window.engine);
        });
        must(two.threads === 2, `${two.threads} threads`);
        for (const what of ["said", "sums", "set"]) must(two[what] === alone[what], `${what}: ${two[what]}, one thread: ${alone[what]}`);
        const running = page.workers().length;
        const three = await page.evaluate(async () => {
            const stream = await window.engine.chat.completions.create({ messages: [{ role: "user", content: "Tell me a story." }], stream: true, max_tokens: 100 });
            let pieces = 0;
            for await (const _ of stream) if (++pieces === 3) break;
            const other = { device: "cpu", ctx: 256, rows: 32, threads: 3, kernels: "simd128" };
            while (await window.engine.reload(other).then(() => false, (e) => e.code === "ENGINE_BUSY" || Promise.reject(e)))
                await new Promise((done) => setTimeout(done, 20));
            const bad = await window.engine.reload({ threads: 1.5 }).then(() => "taken", (e) => e.message);
            return { ...(await window.thinks(window.engine)), pieces, bad };
        });
        must(three.pieces === 3 && three.threads === 3, `${three.pieces} pieces, ${three.threads} threads`);
        must(three.set === "simd128" && three.said === two.said && three.top === two.top, `${three.set}: ${three.said}`);
        must(/1\.5 threads; give/.test(three.bad), three.bad);
        const more = await workers(page, 3);
        await page.evaluate(() => window.engine.close());
        const left = await workers(page, 0);
        must(left === 0, `${running}, then ${more} workers, ${left} are left`);
        await close();
        return `${running}, then ${more} workers`;
    });
    await test("by itself a page has a thread a core, and the same answer whatever number of them proves fastest", async () => {
        const { page, close } = await packagePage(browser, isolated);
        const own = await page.evaluate(async () => {
            const engine = await window.open();
            return window.thinks(engine);
        });
        const running = await workers(page, own.threads);
        must(own.threads > 1 && running === own.threads, `${own.threads} threads, ${running} workers`);
        for (const what of ["said", "sums", "set"]) must(own[what] === alone[what], `${what}: ${own[what]}, one thread: ${alone[what]}`);
        await close();
        return `${own.threads} threads`;
    });
    await test("helpers that do not start, or fail at their work, are told; one thread answers on", async () => {
        const { page, close } = await packagePage(browser, isolated);
        spoilt["/web/lib/helper.js"] = null;
        const none = await page.evaluate(async () => {
            const engine = await window.open({ threads: 2 });
            const thinks = await window.thinks(engine);
            engine.close();
            return { ...thinks, lines: String(window.lines.splice(0)) };
        });
        must(none.threads === 1 && none.sums === alone.sums && /1 of 1 helper threads did not start/.test(none.lines), `${none.threads} threads: ${none.lines}`);
        delete spoilt["/web/lib/helper.js"];
        spoilt["/web/lib/kernels.js"] = fs.readFileSync(path.join(ROOT, "web/lib/kernels.js"), "utf8").replace("return k;", `
            const planted = () => { throw new Error("planted"); };
            if (self.name === "hob helper") k.functions = k.functions.map(() => planted);
            return k;`);
        const bad = await page.evaluate(async () => {
            const outcome = [];
            const engine = await window.open({ threads: 2 });
            outcome.push(await window.say(engine));
            engine.close();
            return { outcome, threads: engine.info.threads, lines: String(window.lines.splice(0)) };
        });
        must(bad.threads === 1 && String(bad.outcome) === alone.said, `${bad.threads} threads: ${bad.outcome}`);
        must(/a thread failed: one runs/.test(bad.lines), bad.lines);
        const [kernels] = [spoilt["/web/lib/kernels.js"], delete spoilt["/web/lib/kernels.js"]];
        await page.evaluate(async () => (window.engine = await window.open({ threads: 2 })).ready);
        spoilt["/web/lib/kernels.js"] = kernels;
        const again = () => page.evaluate(async () => {
            await window.engine.reload({ device: "cpu", ctx: 256, threads: 2 }); // nothing is tried anew
            return window.say(window.engine).then((text) => text, (e) => `${e.code}: ${e.message}`);
        });
        const late = [await again(), delete spoilt["/web/lib/kernels.js"] && (await again())];
        await page.evaluate(() => window.engine.close());
        must(late[0] === alone.said && late[1] === alone.said, late.join(" | "));
        await close();
    });
    await test("on a host without headers our service worker lets the page share memory, after one reload; a model of another host is read; where it may not, one thread answers", async () => {
        const said = [];
        for (const [serviceWorkers, where] of [["allow", address(other)], ["block", ""]]) {
            const url = `${address(plain)}/web/dist/index.html?device=cpu&temperature=0&max_tokens=8&threads=2&model=${encodeURIComponent(where + model)}`;
            const p = await openPage(browser, url, { context: { serviceWorkers }, before: NO_WEBGPU });
            try {
                await untilReady(p);
                const { threads } = p.last("ready");
                const loads = p.seen.requests.filter((r) => r === url).length;
                const isolated = await p.page.evaluate(() => crossOriginIsolated);
                const allowed = serviceWorkers === "allow";
                must(isolated === allowed && threads === (allowed ? 2 : 1), `${serviceWorkers}: isolated ${isolated}, ${threads} threads`);
                must(loads === (allowed ? 2 : 1), `${serviceWorkers}: loaded ${loads} times`);
                said.push((await ask(p, "Hello")).answer);
                must(p.seen.errors.length === 0, p.seen.errors[0]);
            } finally {
                await p.close();
            }
        }
        must(said[0] && said[0] === said[1] && said[0] === alone.said, said.join(" | "));
    });
    for (const s of [isolated, plain, other]) s.close();
}
