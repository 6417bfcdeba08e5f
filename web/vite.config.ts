// The chat page: web/app into web/dist, one script, one worker, two wasm files, relative addresses throughout.
import { defineConfig } from "vite";

export default defineConfig({
    root: "app",
    base: "./",
    worker: { format: "es" },
    build: {
        outDir: "../dist",
        emptyOutDir: true,
        target: "es2022",
        assetsInlineLimit: 0,
        modulePreload: false,
        reportCompressedSize: false,
    },
});
