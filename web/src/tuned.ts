// tuned.ts: the list of schedules that were found best, in the page's private file system, which all tabs share.
//
// The text is the core's (src/tune/tuned.c), which checks it anew at each opening; here two of them become one. A tab
// holds the list as it was when its model opened, so what is kept is that and what others have kept since.
const FILE = "hob-tuned.json";
const MOST = 4096; // TUNED_MOST (src/tune/tune.h): the core takes no longer list

// As far as it is looked at here; anyone may have written it.
interface List {
    hob_tuned?: unknown; // the version
    schedules?: ({ adapter?: unknown; nest?: unknown } | null)[];
}

const file = async (options?: FileSystemGetFileOptions) => (await navigator.storage.getDirectory()).getFileHandle(FILE, options);

export async function readTuned(): Promise<string> {
    try {
        return await navigator.locks.request(FILE, { mode: "shared" }, async () => (await (await file()).getFile()).text());
    } catch {
        return ""; // nothing was measured here, or there are no private files
    }
}

export async function keepTuned(own: string): Promise<void> {
    try {
        await navigator.locks.request(FILE, async () => {
            const handle = await (await file({ create: true })).createSyncAccessHandle();
            try {
                const stored = new Uint8Array(handle.getSize());
                handle.read(stored, { at: 0 });
                const text = new TextEncoder().encode(both(new TextDecoder().decode(stored), own));
                handle.write(text, { at: 0 });
                handle.truncate(text.length);
            } finally {
                handle.close();
            }
        });
    } catch {
        // there is no room: it is measured again
    }
}

/** What is in either list; of what is in both, our own. The oldest goes where there are too many. */
function both(stored: string, own: string): string {
    const theirs = listOf(stored), ours = listOf(own);
    if (theirs.hob_tuned !== ours.hob_tuned) return own;
    const found = new Map<string, unknown>();
    for (const one of [...schedulesOf(theirs), ...schedulesOf(ours)]) {
        const key = JSON.stringify([one?.nest, one?.adapter]);
        found.delete(key); // the newer stands behind
        found.set(key, one);
    }
    return JSON.stringify({ ...ours, schedules: [...found.values()].slice(-MOST) });
}

const schedulesOf = (list: List) => (Array.isArray(list.schedules) ? list.schedules : []);

function listOf(text: string): List {
    try {
        return (JSON.parse(text) as List | null) ?? {};
    } catch {
        return {}; // none yet, or one whose writing was cut off
    }
}
