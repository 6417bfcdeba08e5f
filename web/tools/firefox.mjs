// A headless Firefox with WebGPU, driven over WebDriver BiDi, with the names that chrome.mjs's browser has for what our
// programs ask of a page: whoever opens one need not know which it is. A fresh profile, no network of its own.
import fs from "node:fs";
import path from "node:path";
import puppeteer from "puppeteer-core";
import { noGpu } from "./chrome.mjs";

export const PREFS = {
    "dom.webgpu.enabled": true,
    "gfx.webgpu.ignore-blocklist": true, // a software adapter stands on it
    "browser.cache.disk.enable": false,
    "datareporting.policy.dataSubmissionEnabled": false,
    "network.captive-portal-service.enabled": false,
    "network.connectivity-service.enabled": false,
};

/** Everything but 127.0.0.1 is cut off by the browser itself: it asks a proxy that is not there. */
export const OFFLINE = { "network.proxy.type": 1, "network.proxy.http": "127.0.0.1", "network.proxy.http_port": 9, "network.proxy.share_proxy_settings": true,
    "network.proxy.ssl": "127.0.0.1", "network.proxy.ssl_port": 9 };

/** Mesa's software driver, by name, where no GPU is to be seen. */
function driver() {
    if (process.env.VK_DRIVER_FILES || process.env.VK_ICD_FILENAMES || !(noGpu || process.env.HOB_ADAPTER === "lavapipe")) return {};
    const folder = "/usr/share/vulkan/icd.d";
    const name = fs.existsSync(folder) ? fs.readdirSync(folder).find((f) => f.startsWith("lvp_icd")) : null;
    return name ? { VK_DRIVER_FILES: path.join(folder, name), VK_ICD_FILENAMES: path.join(folder, name) } : {};
}

/** `own` names what is called otherwise there; the rest is the object's. */
const withNames = (object, own) => new Proxy(object, {
    get: (o, name) => own[name] ?? (typeof o[name] === "function" ? o[name].bind(o) : o[name]),
});

const within = ({ timeout } = {}) => ({ timeout: timeout ?? 30_000, polling: 50 });

function namedPage(p) {
    return withNames(p, {
        addInitScript: (script, ...given) => p.evaluateOnNewDocument(script, ...given),
        fill: (selector, text) => p.$eval(selector, (e, text) => {
            e.focus();
            e.value = text;
            e.dispatchEvent(new Event("input", { bubbles: true }));
        }, text),
        press: (selector, key) => p.focus(selector).then(() => p.keyboard.press(key)),
        textContent: (selector) => p.$eval(selector, (e) => e.textContent),
        waitForFunction: (run, arg, how) => p.waitForFunction(run, within(how), arg),
        waitForSelector: (selector, how) => p.waitForSelector(selector, within(how)),
        waitForTimeout: (ms) => new Promise((done) => setTimeout(done, ms)),
    });
}

async function newContext(browser, { viewport } = {}) {
    const c = await browser.createBrowserContext();
    return withNames(c, {
        newPage: async () => {
            const p = await c.newPage();
            if (viewport) await p.setViewport(viewport);
            return namedPage(p);
        },
    });
}

export async function launch(extra = []) {
    const executablePath = process.env.FIREFOX;
    if (!executablePath) throw new Error("CHROME must name a Chromium, Chrome or Edge, or FIREFOX a Firefox");
    const env = { ...process.env, ...driver(), MOZ_CRASHREPORTER_DISABLE: "1" };
    const browser = await puppeteer.launch({ browser: "firefox", executablePath, headless: true, env, extraPrefsFirefox: Object.assign({}, PREFS, ...extra) });
    return withNames(browser, {
        newContext: (how) => newContext(browser, how),
        newPage: async () => (await newContext(browser)).newPage(),
    });
}
