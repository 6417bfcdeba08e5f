// isolate-sw.ts: a service worker for hosts that cannot send headers: adds those by which a page may share memory.
//
// Only documents and workers of its own folder pass through it, as they came but for two headers; what else a page
// fetches, models of other hosts among it, never does. Registered by isolate.ts; it stands beside the page.
interface Lasting extends Event {
    waitUntil(p: Promise<unknown>): void;
}
interface Fetching extends Event {
    readonly request: Request;
    respondWith(r: Promise<Response>): void;
}
const scope = self as unknown as {
    skipWaiting(): Promise<void>;
    clients: { claim(): Promise<void> };
    addEventListener(type: "install" | "activate", f: (e: Lasting) => void): void;
    addEventListener(type: "fetch", f: (e: Fetching) => void): void;
};
const ISOLATED = { "Cross-Origin-Opener-Policy": "same-origin", "Cross-Origin-Embedder-Policy": "require-corp" };

async function isolated(request: Request): Promise<Response> {
    const r = await fetch(request);
    if (r.status === 0 || r.type === "opaqueredirect") return r; // the browser follows it, and comes again
    const headers = new Headers(r.headers);
    for (const [name, value] of Object.entries(ISOLATED)) headers.set(name, value);
    return new Response(r.body, { status: r.status, statusText: r.statusText, headers });
}

scope.addEventListener("install", (e) => e.waitUntil(scope.skipWaiting()));
scope.addEventListener("activate", (e) => e.waitUntil(scope.clients.claim()));
scope.addEventListener("fetch", (e) => {
    const { destination, url } = e.request;
    if (["document", "iframe", "worker"].includes(destination) && new URL(url).origin === location.origin) e.respondWith(isolated(e.request));
});

export {};
