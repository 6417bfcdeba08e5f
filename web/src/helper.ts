// helper.ts: a worker beside the core's worker, which runs pieces of kernels and nothing else (team.ts).
import { help, type FromHelper, type ToHelper } from "./team.js";

const post = (m: FromHelper) => postMessage(m);
onmessage = (e: MessageEvent<ToHelper>) => void help(e.data, post).catch((e) => post(String(e)));
