// support.ts: what a person has to do to get WebGPU in the browser at hand.

/** The exact step for this browser as a sentence or two, or null where WebGPU is there. */
export function webgpuHelp(agent: string, hasGpu: boolean, hasAdapter: boolean, secure: boolean): string | null {
    if (hasGpu && hasAdapter) return null;
    if (!secure) return "WebGPU needs a secure page: open this one by https:// or on 127.0.0.1.";
    const android = /Android/.test(agent);
    const linux = /Linux/.test(agent) && !android;
    const chrome = /(?:Chrome|CriOS)\/(\d+)/.exec(agent)?.[1];
    const edge = /Edg\/(\d+)/.test(agent);
    const firefox = /Firefox\/(\d+)/.exec(agent)?.[1];
    if (firefox && !hasGpu)
        return !linux && !android && Number(firefox) < 141
            ? "Update Firefox to version 141 or later (menu, Help, About Firefox)."
            : "In Firefox, open about:config, set dom.webgpu.enabled to true, and reload.";
    if (firefox) return "Firefox found no adapter. Open about:config, set gfx.webgpu.ignore-blocklist to true, and restart.";
    if (/iPhone|iPad/.test(agent)) return "Update to iOS 26 or later, then reload: its Safari has WebGPU.";
    if (/Safari\//.test(agent) && !chrome)
        return "Update to macOS 26, or turn on WebGPU in Safari under Settings, Feature Flags (Develop menu), and reload.";
    const scheme = edge ? "edge" : "chrome";
    const browser = edge ? "Edge" : "Chrome";
    if (chrome && Number(chrome) < (android ? 121 : 113)) return `Update ${browser} to version 121 or later, then reload.`;
    if (chrome && (linux || android))
        return `In ${browser} on ${linux ? "Linux" : "Android"}, open ${scheme}://flags/#enable-unsafe-webgpu, choose Enabled, and restart the browser.`;
    if (chrome)
        return `In ${browser}, open ${scheme}://settings/system, turn on graphics acceleration, and restart the browser.`;
    return "This browser has no WebGPU; a current Chrome, Edge, Safari or Firefox has.";
}
