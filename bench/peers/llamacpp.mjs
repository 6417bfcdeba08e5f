// One measurement of llama.cpp, in a process of its own: node llamacpp.mjs MODEL THREADS PROMPT ANSWER
//
// The same work as `hob bench`: pseudo-random ids in, greedy ids out, nothing ends the answer. Prints one JSON object
// with hob's keys. llama.cpp runs as it comes: f16 cache, activations quantised to 8 bits for 4-bit weights.
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const [model_path, threads, prompt, answer] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, maxThreads: 0, progressLogs: false, logLevel: LlamaLogLevel.error });
const start = performance.now();
const model = await llama.loadModel({ modelPath: model_path, gpuLayers: 0, ignoreMemorySafetyChecks: true });
const context = await model.createContext({ contextSize: 2048, batchSize: 512, threads, sequences: 1, ignoreMemorySafetyChecks: true });
const load_ms = performance.now() - start;
const sequence = context.getSequence();
const vocab = model.fileInfo.metadata.tokenizer.ggml.tokens.length;

const ids = [];
for (let x = 1, i = 0; i < prompt; i++) {
    x = (Math.imul(x, 1664525) + 1013904223) >>> 0;
    ids.push((x >>> 8) % vocab);
}
const greedy = { temperature: 0, repeatPenalty: false, yieldEogToken: true };
for await (const _ of sequence.evaluate(ids.slice(0, 8), greedy)) break; // pages of the file, threads: warm
await sequence.clearHistory();

const began = performance.now();
await sequence.evaluateWithoutGeneratingNewTokens(ids.slice(0, -1));
const filled = performance.now();
const at = [];
for await (const _ of sequence.evaluate(ids.slice(-1), greedy)) {
    at.push(performance.now());
    if (at.length === answer) break;
}
console.log(JSON.stringify({
    device: `llama.cpp ${llama.llamaCppRelease.release}`,
    threads: context.currentThreads,
    prompt_tokens: prompt,
    answer_tokens: at.length,
    load_ms,
    ttft_ms: at[0] - began,
    prefill_tps: ((prompt - 1) / (filled - began)) * 1000,
    decode_tps: ((at.length - 1) / (at.at(-1) - at[0])) * 1000,
}));
process.exit(0);
