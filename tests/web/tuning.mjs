// What the page does with measured schedules: the list that tabs share, and how long it measures.
import { must, serveCheckout, test } from "./lib.mjs";

/** Runs in a tab: a worker, as only those may write there, keeps each of the lists and says what is stored then. */
const keepAll = (lists) =>
    new Promise((done, fail) => {
        const code = `import { keepTuned, readTuned } from "${location.origin}/web/lib/tuned.js";
            onmessage = async ({ data }) => {
                for (const list of data) await keepTuned(list);
                postMessage(await readTuned());
            };`;
        const worker = new Worker(URL.createObjectURL(new Blob([code], { type: "text/javascript" })), { type: "module" });
        worker.onmessage = (e) => (worker.terminate(), done(e.data));
        worker.onerror = (e) => fail(new Error(e.message));
        worker.postMessage(lists);
    });

const list = (schedules) => JSON.stringify({ hob_tuned: 1, schedules });
const found = (nest, schedule = "map{wg=0}", adapter = "a") => ({ adapter, nest, schedule });

export async function tuningTests(browser) {
    await test("tabs that keep what they found at the same time lose nothing of each other's", async () => {
        const server = await serveCheckout(), context = await browser.newContext();
        const tabs = [];
        for (const _ of [1, 2]) {
            tabs.push(await context.newPage());
            await tabs.at(-1).goto(`http://127.0.0.1:${server.address().port}/`);
        }
        const stored = async (tab, ...lists) => JSON.parse(await tab.evaluate(keepAll, lists));
        const names = (l) => l.schedules.map((s) => s.nest + s.adapter).sort().join(" ");
        try {
            const each = (tab) => Array.from({ length: 20 }, (_, i) => list([found(`${tab}${i}`)]));
            await Promise.all(tabs.map((tab, i) => stored(tab, ...each(i))));
            const both = await stored(tabs[0]);
            must(both.schedules.length === 40 && new Set(names(both).split(" ")).size === 40, `${both.schedules.length} of 40 are left`);
            // of a nest that both know the newest holds, for each adapter its own
            const newer = await stored(tabs[1], list([found("00", "map{wg=1}"), found("00", "map{wg=2}", "b")]));
            const of = (adapter) => newer.schedules.filter((s) => s.nest === "00" && s.adapter === adapter).map((s) => s.schedule);
            must(newer.schedules.length === 41 && of("a").join() === "map{wg=1}" && of("b").join() === "map{wg=2}", JSON.stringify(newer).slice(0, 300));
            // more than the core reads: the oldest go
            const many = await stored(tabs[1], list(Array.from({ length: 4096 }, (_, i) => found(`f${i}`))));
            must(many.schedules.length === 4096 && many.schedules.every((s) => s.nest[0] === "f"), `${many.schedules.length} are kept`);
            // what is stored is of another version, or no list: nothing of it is kept
            for (const other of ['{"hob_tuned":2,"schedules":[{"nest":"1"}]}', '{"hob_tuned":1,"schedules":7}', "null", '{"hob_t'])
                must(names(await stored(tabs[0], other, list([found("1")]))) === "1a", `after ${other}`);
        } finally {
            await context.close();
            server.close();
        }
    });

    // On a clock that goes on by what a step and a wait are said to cost: nothing here is timed.
    await test("measuring before the page is idle takes 3 s at most, however slow the device and whatever comes between", async () => {
        const server = await serveCheckout(), context = await browser.newContext(), page = await context.newPage();
        await page.goto(`http://127.0.0.1:${server.address().port}/`);
        const run = (step, wait, answerAfter) => page.evaluate(async ([step, wait, answerAfter]) => {
            const { Tuning } = await import("/web/lib/tuning.js"), { STATE } = await import("/web/lib/core.js");
            const { WORKING, WAITING, TEXT } = STATE, order = [WORKING, WAITING, WAITING, WORKING, TEXT];
            const later = self.setTimeout.bind(self);
            let clock = 0, steps = 0, waits = 0, asked, planned; // what to do after so long of quiet
            performance.now = () => clock;
            self.setTimeout = (run, ms) => (ms ? (planned = { run, ms }) && 1 : later(run));
            self.clearTimeout = () => (planned = undefined);
            const core = { out: () => "", c: { hob_w_tune: () => ((clock += step), order[steps++ % order.length]) } };
            const gpu = {
                progress: async () => {
                    clock += wait;
                    if (++waits % answerAfter === 0) asked = tuning.stop().then(() => tuning.idle());
                },
            };
            const tuning = new Tuning(core, gpu, () => {}, () => {});
            const times = []; // of measuring, by the quiet before it
            tuning.idle();
            for (let i = 0; i < 60 && planned.ms < 10_000; i++) {
                const { run, ms } = planned, from = clock;
                planned = undefined;
                run();
                while (!planned) await new Promise((done) => later(done));
                await asked;
                times.push([ms, clock - from]);
            }
            return { times, left: gpu.trying, then: planned.ms };
        }, [step, wait, answerAfter]);
        try {
            const said = [];
            for (const [step, wait, answers] of [[1, 15, 1e9], [40, 60, 1e9], [1, 700, 1e9], [1, 1400, 1e9], [1, 15, 7], [10, 300, 2]]) {
                const { times, left, then } = await run(step, wait, answers);
                const all = times.reduce((sum, [, ms]) => sum + ms, 0), piece = 2 * (step + wait) + step;
                must(all <= 3000 && all > 3000 - 2 * piece, `${all} ms of ${step} and ${wait}`);
                must(times.every(([quiet]) => quiet === 2000) && then === 15_000 && !left, JSON.stringify({ times, then, left }));
                must(answers > 100 ? times.length === 1 : times.length > 2, `measured ${times.length} times`);
                said.push(all);
            }
            return `${said.join(", ")} ms`;
        } finally {
            await context.close();
            server.close();
        }
    });
}
