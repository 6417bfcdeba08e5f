// A headless Chromium with WebGPU, for `make run ASK=...` and the page's tests: a fresh profile, no network of its own.
import fs from "node:fs";
import { chromium } from "playwright-core";

// Where no GPU is to be seen, Chromium's software adapter is asked for by name: it hides otherwise.
export const noGpu = process.platform === "linux" && !fs.existsSync("/dev/dri") && !fs.existsSync("/dev/nvidia0");

const wish = process.env.HOB_ADAPTER; // swiftshader, or none at all
export const FLAGS = [
    ...(wish === "none" ? [] : ["--enable-unsafe-webgpu"]),
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    ...(wish !== "none" && (noGpu || wish === "swiftshader") ? ["--use-webgpu-adapter=swiftshader"] : []),
    ...(process.env.HOB_DAWN ? [`--enable-dawn-features=${process.env.HOB_DAWN}`] : []),
    ...(process.getuid?.() === 0 ? ["--no-sandbox"] : []),
];

/** Everything but 127.0.0.1 is cut off by the browser itself. */
export const OFFLINE = '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1';

export function launch(extra = []) {
    const executablePath = process.env.CHROME;
    if (!executablePath) throw new Error("CHROME must name a Chromium, Chrome or Edge");
    return chromium.launch({ executablePath, headless: true, args: [...FLAGS, ...extra] });
}
