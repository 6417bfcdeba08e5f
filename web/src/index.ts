export { createEngine } from "./engine.js";
export { HobError } from "./errors.js";
export type { ErrorId } from "./errors.gen.js";
export { isolatePage } from "./isolate.js";
export { webgpuHelp } from "./support.js";
export type * from "./types.js";
