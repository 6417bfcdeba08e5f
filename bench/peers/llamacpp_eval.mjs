// What llama.cpp thinks of given tokens: node llamacpp_eval.mjs MODEL THREADS < IDS (a JSON array). Prints a JSON object:
// top, the id with the largest logit after each token but the last. Activations as they come: 8 bits.
import fs from "node:fs";
import { getLlama, LlamaLogLevel } from "node-llama-cpp";

const [model_path, threads] = [process.argv[2], Number(process.argv[3])];
const ids = JSON.parse(fs.readFileSync(0, "utf8"));
const llama = await getLlama({ gpu: false, build: "never", skipDownload: true, maxThreads: 0, progressLogs: false, logLevel: LlamaLogLevel.error });
const model = await llama.loadModel({ modelPath: model_path, gpuLayers: 0, ignoreMemorySafetyChecks: true });
const context = await model.createContext({ contextSize: 2048, batchSize: 512, threads, sequences: 1, ignoreMemorySafetyChecks: true });
const greedy = { generateNext: { token: true, options: { temperature: 0, repeatPenalty: false } } };
const out = await context.getSequence().controlledEvaluate(ids.slice(0, -1).map((id) => [id, greedy]));
console.log(JSON.stringify({ top: out.map((o) => o.next.token) }));
process.exit(0);
