// Runs printed WGSL in a headless browser and compares what it wrote with the float64 referee.
//
//     node kernels.mjs DIR     DIR/cases.json and DIR/cases.bin as tests/emit/wgsl_cases.c writes them
//
// The kernels of a rule and profile become one module: every name a kernel declares gets its number as a prefix. Prints
// `PASS rule on profile` or `FAIL rule on profile: the first wrong case`.
import fs from "node:fs";
import http from "node:http";
import path from "node:path";
import { launch, OFFLINE } from "../../web/tools/browser.mjs";

const ELSEWHERE = process.env.CHROME ? "with f16" : "with subgroups"; // the other browser's adapter has them
const TOLERANCE = 2e-4, HALF = 2e-2; // relative to max(1, |want|); of what 16-bit floats hold

// In the page: one group of cases in one module, one submit, one read-back.
async function runGroup(group) {
    const device = window.device, words = window.words;
    const renamed = (text, n) => {
        const names = [...text.matchAll(/^(?:@group\(0\).*?> |var<workgroup> |fn )(\w+)/gm)].map((m) => m[1]);
        const one = new RegExp(`(?<![.\\w])(${[...new Set(names)].join("|")})(?!\\w)`, "g");
        return text.replace(/^(enable|diagnostic).*\n/gm, "").replace(one, `k${n}_$1`);
    };
    const head = [...new Set(group.flatMap((c) => c.text.match(/^(enable|diagnostic).*\n/gm) ?? []))].join("");
    const code = head + group.map((c, n) => renamed(c.text, n)).join("");
    const module = device.createShaderModule({ code });
    const info = await module.getCompilationInfo();
    const bad = info.messages.find((m) => m.type === "error");
    if (bad) {
        const line = code.split("\n")[bad.lineNum - 1];
        const which = Number(code.split("\n").slice(0, bad.lineNum).join("\n").match(/k(\d+)_\w+/g)?.pop()?.match(/\d+/)[0]);
        return [{ what: group[which]?.what, why: `${bad.message} in: ${line}`, text: group[which]?.text }];
    }
    const pipelines = await Promise.allSettled(group.map((_, n) =>
        device.createComputePipelineAsync({ layout: "auto", compute: { module, entryPoint: `k${n}_main` } })));
    const failed = pipelines.findIndex((p) => p.status === "rejected");
    if (failed >= 0) {
        return [{ what: group[failed].what, why: String(pipelines[failed].reason.message), text: group[failed].text }];
    }
    device.pushErrorScope("validation");
    const encoder = device.createCommandEncoder(), buffers = [], outputs = [];
    let total = 0;
    group.forEach((c, n) => {
        const entries = [], pipeline = pipelines[n].value;
        c.bindings.forEach((b, binding) => {
            const buffer = device.createBuffer({ size: Math.max(b.bytes, 4), mappedAtCreation: true,
                usage: GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC });
            new Uint32Array(buffer.getMappedRange()).set(words.subarray(b.at / 4, (b.at + b.bytes) / 4));
            buffer.unmap();
            buffers.push(buffer);
            // an automatic layout has only what the kernel uses
            if (new RegExp(`@binding\\(${binding}\\)[^>]*> (\\w+):`).test(c.text)) {
                const name = c.text.match(new RegExp(`@binding\\(${binding}\\)[^>]*> (\\w+):`))[1];
                if (c.text.match(new RegExp(`(?<![.\\w])${name}(?!\\w)`, "g")).length > 1) {
                    entries.push({ binding, resource: { buffer } });
                }
            }
            if (b.written) {
                outputs.push({ case: n, binding, buffer, at: total, bytes: b.bytes, type: b.type });
                total += b.bytes;
            }
        });
        const pass = encoder.beginComputePass();
        pass.setPipeline(pipeline);
        pass.setBindGroup(0, device.createBindGroup({ layout: pipeline.getBindGroupLayout(0), entries }));
        pass.dispatchWorkgroups(...c.grid);
        pass.end();
    });
    const back = device.createBuffer({ size: total, usage: GPUBufferUsage.COPY_DST | GPUBufferUsage.MAP_READ });
    for (const o of outputs) encoder.copyBufferToBuffer(o.buffer, 0, back, o.at, o.bytes);
    device.queue.submit([encoder.finish()]);
    const refused = await device.popErrorScope();
    if (refused) return [{ what: "a dispatch", why: refused.message }];
    await back.mapAsync(GPUMapMode.READ);
    const bytes = back.getMappedRange();
    const wrong = [];
    group.forEach((c, n) => {
        let worst = 0, where = "";
        for (const [binding, element, want] of c.want) {
            const o = outputs.find((out) => out.case === n && out.binding === binding);
            const View = { f32: Float32Array, u32: Uint32Array, i32: Int32Array }[o.type];
            const got = new View(bytes, o.at, o.bytes / 4)[element];
            const off = Math.abs(got - want) / Math.max(1, Math.abs(want));
            if (!(off <= worst)) [worst, where] = [off, `element ${element} of binding ${binding} is ${got}, not ${want}`];
            if (Number.isNaN(off)) break;
        }
        if (!(worst < window.tolerance[/^enable f16;/m.test(c.text) ? 1 : 0])) wrong.push({ what: c.what, why: where, text: c.text });
    });
    back.unmap();
    for (const b of [...buffers, back]) b.destroy();
    return wrong;
}

async function main() {
    const dir = process.argv[2];
    const cases = JSON.parse(fs.readFileSync(path.join(dir, "cases.json"), "utf8"));
    const server = http.createServer((request, answer) => {
        const data = request.url === "/cases.bin";
        answer.setHeader("content-type", data ? "application/octet-stream" : "text/html");
        answer.end(data ? fs.readFileSync(path.join(dir, "cases.bin")) : "<!doctype html><title>kernels</title>");
    });
    await new Promise((done) => server.listen(0, "127.0.0.1", done));
    const browser = await launch([OFFLINE]);
    try {
        const page = await browser.newPage();
        await page.goto(`http://127.0.0.1:${server.address().port}/`);
        const missing = await page.evaluate(async (tolerance) => {
            const adapter = await navigator.gpu?.requestAdapter();
            if (!adapter) return "no WebGPU adapter";
            const requiredFeatures = ["subgroups", "shader-f16"].filter((f) => adapter.features.has(f));
            window.device = await adapter.requestDevice({ requiredFeatures });
            window.words = new Uint32Array(await (await fetch("/cases.bin")).arrayBuffer());
            window.tolerance = tolerance;
            window.lanes = requiredFeatures.includes("subgroups") ? adapter.info.subgroupMinSize : 0;
            window.f16 = requiredFeatures.includes("shader-f16");
            return !window.lanes || window.lanes === adapter.info.subgroupMaxSize ? "" : "subgroups of several sizes";
        }, [TOLERANCE, HALF]);
        if (missing) return console.log(`SKIP printed_wgsl: ${missing}`);
        const [lanes, f16] = await page.evaluate(() => [window.lanes, window.f16]);
        const dot4 = await page.evaluate(() => navigator.gpu.wgslLanguageFeatures.has("packed_4x8_integer_dot_product"));
        const groups = Map.groupBy ? Map.groupBy(cases, (c) => `${c.rule} on ${c.profile}`) : group(cases);
        for (const [name, list] of groups) {
            const title = name.replace(/[, ]+/g, "_");
            if (name.includes(ELSEWHERE) || !name.includes(process.env.ONLY ?? "")) continue;
            if (name.includes("with subgroups") && lanes !== 4) {
                console.log(`SKIP ${title}: the adapter has subgroups of ${lanes} lanes, the profile of 4`);
                continue;
            }
            if (name.includes("with f16") && !f16) {
                console.log(`SKIP ${title}: the adapter has no 16-bit floats`);
                continue;
            }
            if (name.includes("with dot4") && !dot4) {
                console.log(`SKIP ${title}: the browser's WGSL has no packed dot products`);
                continue;
            }
            const wrong = [];
            const STEP = Number(process.env.HOB_BATCH ?? 20);
            for (let i = 0; i < list.length; i += STEP) wrong.push(...await page.evaluate(runGroup, list.slice(i, i + STEP)));
            for (const w of process.env.HOB_SHOW ? wrong : []) console.error(`${w.what}: ${w.why}\n${w.text}`);
            if (wrong.length) console.log(`FAIL ${title}: ${wrong.length} of ${list.length}; ${wrong[0].what}: ${wrong[0].why}`);
            else console.log(`PASS ${title}`);
        }
    } finally {
        await browser.close();
        server.close();
    }
}

function group(cases) {
    const groups = new Map();
    for (const c of cases) {
        const name = `${c.rule} on ${c.profile}`;
        if (!groups.has(name)) groups.set(name, []);
        groups.get(name).push(c);
    }
    return groups;
}

await main();
