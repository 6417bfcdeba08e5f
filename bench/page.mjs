// One measurement of hob's package in a page of its own: node page.mjs MODEL ANSWER < QUESTION
//
// As wllama.mjs measures its engine: nothing is drawn, something short was asked before (an engine's code is translated,
// and hob's kernels are checked, as they first run), and the speeds are by the page's clock, from one streamed piece to the
// last. OPTIONS: the engine's, as JSON. Prints one JSON object with hob's keys.
import fs from "node:fs";
import path from "node:path";
import { ISOLATED, ROOT, serveCheckout } from "../tests/web/lib.mjs";
import { OFFLINE, launch } from "../web/tools/browser.mjs";

const [model, answer] = process.argv.slice(2);
const question = fs.readFileSync(0, "utf8");
const server = await serveCheckout(ISOLATED);
const browser = await launch([OFFLINE]);
try {
    const page = await browser.newPage();
    page.setDefaultTimeout(0);
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    const result = await page.evaluate(
        async ([options, question, answer]) => {
            const { createEngine } = await import("/web/lib/index.js");
            const engine = await createEngine(options);
            const ask = async (content, max_tokens) => {
                const began = performance.now(), at = [];
                let answer = "";
                const stream = await engine.chat.completions.create({ messages: [{ role: "user", content }], max_tokens, temperature: 0, stream: true });
                for await (const piece of stream) {
                    if (!piece.choices[0].delta.content) continue;
                    at.push(performance.now());
                    answer += piece.choices[0].delta.content;
                }
                return { ttft_ms: at[0] - began, span_ms: at.at(-1) - at[0], answer };
            };
            await ask("Hello", 2);
            const r = await ask(question, answer);
            const { device, threads, kernel_set, load_ms } = engine.info;
            const { prompt_tokens, cached_tokens, answer_tokens } = engine.stats;
            return {
                device, threads, kernel_set, prompt_tokens, answer_tokens, load_ms,
                answer: r.answer,
                ttft_ms: r.ttft_ms,
                prefill_tps: ((prompt_tokens - cached_tokens) / r.ttft_ms) * 1000,
                decode_tps: ((answer_tokens - 1) / r.span_ms) * 1000,
            };
        },
        [{ model: `/${path.relative(ROOT, path.resolve(model))}`, ...JSON.parse(process.env.OPTIONS ?? "{}") }, question, Number(answer)],
    );
    console.log(JSON.stringify(result));
} finally {
    await browser.close();
    server.close();
}
