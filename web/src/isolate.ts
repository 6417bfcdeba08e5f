// isolate.ts: cross-origin isolation, which several threads need, for a page whose host does not send the headers.
const TRIED = "hob-isolate"; // in sessionStorage: the page was loaded again for this
const WAIT_MS = 3000;

/**
 * Registers the service worker that adds the headers (isolate-sw.js, beside the page) and loads the page again, once.
 * true: that is under way, do nothing more. false: go on; the page is isolated, or cannot be and runs one thread.
 */
export async function isolatePage(script: string | URL = "isolate-sw.js"): Promise<boolean> {
    try {
        if (crossOriginIsolated) return sessionStorage.removeItem(TRIED), false;
        if (!isSecureContext || !navigator.serviceWorker || window !== window.top || sessionStorage.getItem(TRIED)) return false;
        const registered = navigator.serviceWorker.register(script).then(() => navigator.serviceWorker.ready).then(() => true);
        if (!(await Promise.race([registered, new Promise<false>((done) => setTimeout(done, WAIT_MS, false))]))) return false;
        sessionStorage.setItem(TRIED, "1");
        location.reload();
        return true;
    } catch {
        return false; // a private window, or no such file
    }
}
