// main.ts: the chat page, by the package's public surface only: load a model, talk, stop, switch device, drop a file.
import { HobError, createEngine, isolatePage, webgpuHelp } from "../src/index.js";
import type { ChatMessage, DeviceName, Engine, EngineOptions, KernelSet, Mode, ModelInput, Progress, Trial } from "../src/index.js";
import models from "./models.json";

type Wish = DeviceName | "auto";

const $ = <T extends HTMLElement>(id: string) => document.getElementById(id) as T;
const prompt = $<HTMLTextAreaElement>("prompt");
const send = $<HTMLButtonElement>("send");
const stop = $<HTMLButtonElement>("stop");
const log = $("log");
const scroll = $("scroll");
const device = $<HTMLDetailsElement>("device");

// The address may ask for a device, a temperature, a length: what `make run ASK=...` uses.
const query = new URLSearchParams(location.search);
const number = (name: string) => (query.has(name) ? Number(query.get(name)) : undefined);
const wish = query.get("device") as Wish | null;
const kernels = (query.get("kernels") ?? undefined) as KernelSet | undefined;
const mode = (query.get("mode") ?? undefined) as Mode | undefined;
const speculate = (query.get("speculate") ?? undefined) as EngineOptions["speculate"];
const sampling = {
    temperature: number("temperature") ?? 0.6,
    top_k: number("top_k") ?? 40,
    seed: number("seed"),
    max_tokens: number("max_tokens"),
};

let engine: Engine | null = null;
let model: ModelInput = query.get("model") ?? models.default.url;
let messages: ChatMessage[] = [];
let answering: AbortController | null = null;
let talk: Promise<void> = Promise.resolve(); // until the answer that is being made is over
let loads = 0;
let loading: { input: ModelInput; before: ModelInput[]; stop: AbortController } | null = null; // the load under way
const SETTLE_MS = 10_000; // a stopped answer that takes longer is left behind with its engine
const SHOW_MS = 40; // between two looks at a growing answer: drawing each of two hundred tokens a second costs more than making it

// Whoever drives the page from outside (a test, the command line) listens to these.
const announce = (what: string, detail: object) => document.dispatchEvent(new CustomEvent(`hob:${what}`, { detail }));

// ---- numbers for people ------------------------------------------------------------------------------------
const mb = (bytes: number) => (bytes >= 1e9 ? `${(bytes / 1e9).toFixed(2)} GB` : `${(bytes / 1e6).toFixed(bytes < 1e7 ? 1 : 0)} MB`);
const rate = (tps: number) => (tps >= 100 ? tps.toFixed(0) : tps.toFixed(1));
const label = { webgpu: "WebGPU", cpu: "CPU" } as const;

function figure(t: Trial | undefined): string {
    if (!t) return "";
    if (t.error) return `cannot be used: ${t.error}`;
    if (!t.gbps) return t.adapter; // alone, and not timed
    return `${t.gbps >= 10 ? t.gbps.toFixed(0) : t.gbps.toFixed(1)} GB/s, ${t.adapter}`;
}

// ---- loading -------------------------------------------------------------------------------------------------
const stages = {
    start: "Starting",
    header: "Reading the model's description",
    probe: "Timing this machine's devices",
    compile: "Compiling the model for this device",
} as const;

function showProgress(p: Progress, input: ModelInput): void {
    const bar = $<HTMLProgressElement>("bar");
    announce("progress", p);
    if (p.stage === "load" || p.stage === "store") {
        bar.value = p.total ? p.done / p.total : 0;
        $("stage").textContent = p.stage === "load" ? "Loading the model" : "Fetching the model";
        $("amount").textContent = `${mb(p.done)} of ${mb(p.total)}, ${mb(p.perSecond)}/s`;
    } else {
        if (p.stage === "compile" && input instanceof File) $("model-name").textContent = input.name; // it is a model
        bar.removeAttribute("value");
        $("stage").textContent = stages[p.stage];
        $("amount").textContent = "\u00a0";
    }
}

function fail(e: unknown, doing: string): void {
    const box = $("error");
    const plain = { message: e instanceof Error ? e.message : String(e), type: "server_error", param: null, code: "PAGE" };
    const { message } = e instanceof HobError ? e : new HobError(plain);
    box.replaceChildren(`${doing}: ${message}`);
    if (e instanceof HobError && !loading && (!engine?.ready || /^DEVICE_(LOST|FAILED)$/.test(e.code))) {
        const again = document.createElement("button");
        again.textContent = "Load again";
        again.onclick = () => void load(model, chosen());
        box.append(again);
    }
    box.hidden = false;
    box.scrollIntoView({ block: "nearest" });
    announce("error", { message, code: e instanceof HobError ? e.code : "PAGE" });
}

const choose = (on: Wish) => {
    const radio = document.querySelector<HTMLInputElement>(`input[name=device][value="${CSS.escape(on)}"]`);
    if (radio) radio.checked = true;
};
const chosen = () => document.querySelector<HTMLInputElement>("input[name=device]:checked")!.value as Wish;

// `model` is what the open engine was made of; before there is one, what shall be. A file that is no model takes
// nothing away: the engine that was open answers on, and a load that had to make way for the file is begun again
// (`before`, the last one first).
async function load(input: ModelInput, on: Wish, before: ModelInput[] = loading ? [loading.input, ...loading.before] : []): Promise<void> {
    const turn = ++loads;
    const stop = new AbortController();
    loading?.stop.abort();
    loading = { input, before, stop };
    answering?.abort();
    busy("Loading the model");
    $("error").hidden = true;
    $("loading").hidden = false;
    $("welcome").hidden = true;
    $("model-name").textContent = "";
    device.classList.remove("ready");
    $("device-name").textContent = "loading";
    const options: EngineOptions = { model: input, device: on, onProgress: (p) => turn === loads && showProgress(p, input), ctx: number("ctx"), threads: number("threads"), kernels, mode, speculate };
    let next: Engine | null = null;
    try {
        const settled = await Promise.race([talk.then(() => true), new Promise<boolean>((done) => setTimeout(done, SETTLE_MS, false))]);
        if (turn !== loads) return;
        if (input === model && settled && engine?.ready) next = engine;
        if (next) await next.reload(options);
        else next = await createEngine({ ...options, signal: stop.signal, onLog: (line) => console.info(line) });
        if (turn !== loads) return void (next === engine || next.close());
        if (engine !== next) engine?.close();
        [engine, model, loading] = [next, input, null];
        ready(next);
    } catch (e) {
        if (turn !== loads) return;
        loading = null;
        if (!engine?.ready) {
            engine?.close();
            engine = null;
        }
        $("loading").hidden = true;
        const [again, ...others] = before.filter((b) => b !== input);
        if (again !== undefined) {
            void load(again, on, others);
        } else if (engine) {
            if (next) choose(engine.info.device);
            ready(engine);
        } else {
            $("device-name").textContent = "no model";
            $("model-name").textContent = "";
            prompt.placeholder = "Drop a .gguf file to begin";
        }
        fail(e, input instanceof File ? `${input.name} could not be opened` : "The model could not be loaded");
    }
    void showHelp();
}

const isDefault = () => model === models.default.url;
const modelName = () => (isDefault() ? models.default.name : engine?.info.name) ?? "Model";

function ready(e: Engine): void {
    const i = e.info;
    $("loading").hidden = true;
    $("model-name").textContent = modelName();
    $("model-name").title = isDefault() ? models.default.note : i.name;
    $("device-name").textContent = label[i.device];
    device.classList.add("ready");
    for (const name of ["webgpu", "cpu"] as const)
        $(`figure-${name}`).textContent = figure(i.trials.find((t) => t.device === name));
    $("why").textContent = `${label[i.device]}: ${i.why}.`;
    const facts: [string, string][] = [
        ["Model", `${i.architecture}, ${(i.parameters / 1e6).toFixed(0)}M parameters, ${mb(i.file_bytes)}`],
        ["Context", `${i.ctx.toLocaleString("en")} tokens, cache ${mb(i.kv_bytes)}`],
        ["Compiled", `${i.kernels} kernels in ${i.compile_ms.toFixed(0)} ms, ${i.steps} steps a token`],
        ["Mode", i.mode === "fast" ? "fast: activations of 8 and 16 bits" : "reference: f32 activations"],
        ["Trials", `${i.trials.reduce((sum, t) => sum + (t.took_ms ?? 0), 0).toFixed(0)} ms in all`],
        ["Loaded", `in ${(i.load_ms / 1000).toFixed(1)} s, page memory ${mb(i.heap_bytes)}`],
    ];
    $("facts").replaceChildren(
        ...facts.flatMap(([name, value]) => {
            const [dt, dd] = [document.createElement("dt"), document.createElement("dd")];
            [dt.textContent, dd.textContent] = [name, value];
            return [dt, dd];
        }),
    );
    $("note").textContent = isDefault() ? models.default.note : `${i.name} answers from this tab.`;
    $("welcome").hidden = messages.length > 0;
    $("status").textContent = `${label[i.device]}: ${i.why}`;
    idle();
    announce("ready", i);
}

async function showHelp(): Promise<void> {
    const gpu = navigator.gpu as GPU | undefined;
    const adapter = gpu ? await gpu.requestAdapter().catch(() => null) : null;
    const text = webgpuHelp(navigator.userAgent, Boolean(gpu), Boolean(adapter), window.isSecureContext);
    const help = $("help");
    help.hidden = text === null;
    help.textContent = text && `The GPU cannot be used yet. ${text}`;
    document.querySelector<HTMLInputElement>("input[value=webgpu]")!.disabled = text !== null;
}

// ---- the conversation ------------------------------------------------------------------------------------------
function bubble(role: string, text: string): HTMLElement {
    const article = document.createElement("article");
    article.className = role;
    const who = document.createElement("h3");
    who.textContent = role === "user" ? "You" : modelName();
    const body = document.createElement("div");
    body.textContent = text;
    article.append(who, body);
    log.append(article);
    return body;
}

const atEnd = () => scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 80;
const toEnd = () => (scroll.scrollTop = scroll.scrollHeight);

function busy(placeholder: string): void {
    send.disabled = true;
    prompt.placeholder = placeholder;
    document.body.dataset["state"] = "loading";
}

function idle(): void {
    send.hidden = false;
    stop.hidden = true;
    const open = engine && !loading;
    send.disabled = !open;
    prompt.placeholder = open ? "Message" : "Loading the model";
    document.body.dataset["state"] = open ? "ready" : "loading";
}

async function ask(text: string): Promise<void> {
    const e = engine;
    if (!e || loading || answering || !text.trim()) return;
    $("error").hidden = true;
    $("welcome").hidden = true;
    messages.push({ role: "user", content: text });
    bubble("user", text);
    const body = bubble("assistant", "");
    body.classList.add("thinking");
    toEnd();
    const mine = (answering = new AbortController());
    send.hidden = true;
    stop.hidden = false;
    document.body.dataset["state"] = "answering";
    let answer = "";
    const start = performance.now();
    let first = 0;
    let pieces = 0;
    let shown = 0; // letters of the answer
    let later = 0;
    let drawn = -SHOW_MS;
    const show = () => {
        clearTimeout(later);
        later = 0;
        if (shown === answer.length) return;
        const piece = answer.slice(shown), follow = atEnd();
        body.classList.remove("thinking");
        body.append(piece);
        shown = answer.length;
        if (pieces > 1) $("status").textContent = `${rate(((pieces - 1) * 1000) / (performance.now() - first))} tokens/s`;
        announce("text", { piece, pieces });
        if (follow) toEnd();
        drawn = performance.now();
    };
    try {
        const stream = await e.chat.completions.create(
            { messages, stream: true, ...sampling },
            { signal: mine.signal },
        );
        for await (const chunk of stream) {
            const piece = chunk.choices[0]?.delta.content;
            if (!piece) continue;
            first ||= performance.now();
            answer += piece;
            pieces++;
            const wait = drawn + SHOW_MS - performance.now();
            if (wait <= 0) show();
            else later ||= window.setTimeout(show, wait);
        }
        show();
        const s = e.stats;
        if (s) {
            const ended = s.finish_reason === "length" ? ", cut at its limit" : mine.signal.aborted ? ", stopped" : "";
            $("status").textContent =
                `${s.answer_tokens} tokens at ${rate(s.decode_tps)}/s on ${label[e.info.device]}, first after ${(s.ttft_ms / 1000).toFixed(2)} s${ended}`;
            announce("end", { ...s, answer, device: e.info.device, threads: e.info.threads, kernel_set: e.info.kernel_set, load_ms: e.info.load_ms, wall_ms: performance.now() - start });
        }
        $("live").textContent = answer;
    } catch (error) {
        show();
        if (engine === e) fail(error, "The answer failed"); // else it was left behind
    }
    body.classList.remove("thinking");
    if (answering === mine) answering = null;
    if (log.contains(body)) {
        if (answer) messages.push({ role: "assistant", content: answer });
        else {
            // nothing was said: the question may be asked again
            messages.pop();
            if (mine.signal.aborted || !$("error").hidden) prompt.value ||= text;
            body.parentElement!.previousElementSibling?.remove();
            body.parentElement!.remove();
        }
    }
    idle();
}

function say(text: string): void {
    if (!answering) talk = ask(text);
}

function fresh(): void {
    answering?.abort();
    messages = [];
    log.replaceChildren();
    $("error").hidden = true;
    $("welcome").hidden = !engine || loading !== null;
    $("status").textContent = "\u00a0";
    prompt.focus();
}

// ---- hands -------------------------------------------------------------------------------------------------------
const fit = () => {
    prompt.style.height = "auto";
    prompt.style.height = `${Math.min(prompt.scrollHeight, 200)}px`;
};
function submit(): void {
    if (!engine || loading || answering) return;
    const text = prompt.value;
    if (!text.trim()) return;
    prompt.value = "";
    fit();
    say(text);
}
prompt.addEventListener("input", fit);
prompt.addEventListener("keydown", (e) => {
    if (e.key !== "Enter" || e.shiftKey || e.isComposing) return;
    e.preventDefault();
    submit();
});
$("form").addEventListener("submit", (e) => {
    e.preventDefault();
    submit();
});
stop.addEventListener("click", () => {
    answering?.abort();
    prompt.focus();
});
$("new").addEventListener("click", fresh);
document.addEventListener("keydown", (e) => {
    if (e.key !== "Escape") return;
    if (device.open) {
        device.open = false;
        device.querySelector("summary")!.focus();
    } else {
        answering?.abort();
    }
});
document.addEventListener("click", (e) => {
    if (device.open && !device.contains(e.target as Node)) device.open = false;
});
$("switch").addEventListener("change", () => void load(model, chosen()));

function openFile(file: File | undefined): void {
    if (!file) return;
    if (/\.(gguf|safetensors)$/i.test(file.name)) void load(file, chosen());
    else fail(new Error("only .gguf files and what `hob bake` writes can be opened; convert the model to GGUF"), file.name);
}
$<HTMLInputElement>("file").addEventListener("change", (e) => {
    const input = e.target as HTMLInputElement;
    openFile(input.files?.[0]);
    input.value = "";
});
let over = 0; // dragenter and dragleave come for every element
const drop = (shown: boolean) => ($("drop").hidden = !shown);
// Dragged text is none of the page's business: it goes where it is dropped.
const onFiles = (what: "dragenter" | "dragleave" | "dragover" | "drop", then: (e: DragEvent) => void) =>
    document.addEventListener(what, (e) => e.dataTransfer?.types.includes("Files") && then(e));
onFiles("dragenter", (e) => {
    e.preventDefault();
    drop(++over > 0);
});
onFiles("dragleave", () => drop(--over > 0));
onFiles("dragover", (e) => e.preventDefault());
onFiles("drop", (e) => {
    e.preventDefault();
    drop(false);
    over = 0;
    openFile(e.dataTransfer?.files[0]);
});

for (const text of ["Why is the sky blue?", "Write a short poem about the sea.", "Explain what a compiler does."]) {
    const b = document.createElement("button");
    b.type = "button";
    b.textContent = text;
    b.onclick = () => say(text);
    $("samples").append(b);
}
if (wish) choose(wish);
if (number("threads") === 1 || !(await isolatePage())) void load(model, chosen());
prompt.focus();
