// Runs models in a page by the package's public surface alone, and writes down what they think of given tokens.
//
//     node forced.mjs JOBS.json OUT      JOBS: [{id, model, device, gpu, chunk, rows, reloads,
//                                        evaluate: [{tokens, rows, logits}], ask: [text], max_tokens}]; model: a path
//                                        inside the repository; reloads: how often it is opened again first
//
// A line of JSON a job: {id, error} or {id, info, compile_ms, evaluate: [...], ask: [...], seconds}. An evaluation has
// tokens, top, logprob and margin, and its logits, in order of position, lie in OUT/id.N.f32. An answer is evaluated with
// its own tokens; an evaluation that asks for the same again is not run twice. gpu: the adapter does not say that it is
// software, so that the schedules of a GPU run. Jobs for the CPU run in a page of their own, beside those for WebGPU.
import fs from "node:fs";
import path from "node:path";
import { OFFLINE, launch } from "../../web/tools/browser.mjs";
import { AS_GPU, NO_WEBGPU, serveCheckout } from "./lib.mjs";

// In the page.
async function runJob(job) {
    const start = performance.now();
    const { createEngine } = await import("/web/lib/index.js");
    const engine = await createEngine({ ...job, model: `/${job.model}`, ctx: job.ctx ?? 0 });
    const out = { id: job.id, info: engine.info, evaluate: [], ask: [] };
    const base64 = async (parts) =>
        new Promise((done) => {
            const reader = new FileReader();
            reader.onload = () => done(reader.result.split(",")[1]);
            reader.readAsDataURL(new Blob(parts));
        });
    const evaluate = async (request) => {
        const began = performance.now();
        const e = await engine.evaluate(request);
        const [tokens, top, logprob, margin] = [e.tokens, e.top, e.logprob, e.margin].map((x) => [...x]);
        const seconds = (performance.now() - began) / 1000;
        return { tokens, top, logprob, margin, seconds, logits: e.logits.size ? await base64([...e.logits.values()]) : null };
    };
    try {
        for (let i = 0; i < (job.reloads ?? 0); i++) {
            (out.compile_ms ??= [engine.info.compile_ms]).push(await engine.reload(job).then(() => engine.info.compile_ms));
        }
        for (const content of job.ask ?? []) {
            const messages = [{ role: "user", content }];
            const answer = await engine.chat.completions.create({ messages, max_tokens: job.max_tokens, temperature: 0 });
            const own = await evaluate({ rows: 1 });
            out.ask.push({ text: answer.choices[0].message.content, prompt: answer.usage.prompt_tokens, ...own });
        }
        for (const request of job.evaluate ?? []) {
            const plain = request.rows === 1 && !request.logits;
            const same = plain && out.ask.find((a) => String(a.tokens) === String(request.tokens));
            out.evaluate.push(same || (await evaluate(request)));
        }
        out.seconds = (performance.now() - start) / 1000;
        return out;
    } finally {
        engine.close();
    }
}

const [jobs, folder] = [JSON.parse(fs.readFileSync(process.argv[2], "utf8")), process.argv[3]];
const server = await serveCheckout();
const browser = await launch([OFFLINE]);

async function lane(jobs, before) {
    if (jobs.length === 0) return;
    const context = await browser.newContext();
    if (before)
        await context.route(/\/worker\.js$/, async (route) => {
            const reply = await route.fetch();
            await route.fulfill({ response: reply, body: before + (await reply.text()) });
        });
    const page = await context.newPage();
    await page.goto(`http://127.0.0.1:${server.address().port}/`);
    for (const job of jobs) {
        const out = await page.evaluate(runJob, job).catch((e) => ({ id: job.id, error: e.message.split("\n")[0] }));
        for (const [i, e] of (out.evaluate ?? []).entries()) {
            if (e.logits) fs.writeFileSync(path.join(folder, `${job.id}.${i}.f32`), Buffer.from(e.logits, "base64"));
            delete e.logits;
        }
        console.log(JSON.stringify(out));
    }
    await context.close();
}

await Promise.all([
    lane(jobs.filter((j) => j.device === "webgpu" && !j.gpu), ""),
    lane(jobs.filter((j) => j.device === "cpu"), NO_WEBGPU), // its trial of WebGPU would only take time here
]);
await lane(jobs.filter((j) => j.gpu), AS_GPU);
await browser.close();
server.close();
