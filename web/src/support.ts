// support.ts: what a person has to do to get WebGPU in the browser at hand.

/** The exact step for this browser, or null where WebGPU is there. */
export function webgpuHelp(agent: string, hasGpu: boolean, hasAdapter: boolean, secure: boolean): string | null {
    if (hasGpu && hasAdapter) return null;
    if (!secure) return "WebGPU needs a secure page: open this one by https:// or on 127.0.0.1.";
    const linux = /Linux/.test(agent) && !/Android/.test(agent);
    const chrome = /(?:Chrome|CriOS)\/(\d+)/.exec(agent)?.[1];
    const edge = /Edg\/(\d+)/.test(agent);
    const firefox = /Firefox\/(\d+)/.exec(agent)?.[1];
    if (firefox && !hasGpu)
        return linux || /Android/.test(agent)
            ? "Firefox: open about:config, set dom.webgpu.enabled to true, and reload."
            : Number(firefox) < 141
              ? "Firefox: update to version 141 or later (menu, Help, About Firefox)."
              : "Firefox: open about:config, set dom.webgpu.enabled to true, and reload.";
    if (firefox) return "Firefox found no adapter: open about:config, set gfx.webgpu.ignore-blocklist to true, and restart.";
    if (/iPhone|iPad/.test(agent)) return "Update to iOS 26 or later, then reload: its Safari has WebGPU.";
    if (/Safari\//.test(agent) && !chrome)
        return "Safari: update to macOS 26, or turn on WebGPU under Settings, Feature Flags (Develop menu), and reload.";
    const scheme = edge ? "edge" : "chrome";
    const browser = edge ? "Edge" : "Chrome";
    if (chrome && Number(chrome) < 113) return `${browser}: update to version 121 or later, then reload.`;
    if (linux)
        return `${browser} on Linux: open ${scheme}://flags/#enable-unsafe-webgpu, choose Enabled, and restart the browser.`;
    if (chrome)
        return `${browser}: open ${scheme}://settings/system, turn on graphics acceleration, and restart the browser.`;
    return "This browser has no WebGPU; a current Chrome, Edge, Safari or Firefox has.";
}
