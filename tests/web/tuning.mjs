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
}
