// The browser that the environment names: CHROME, else FIREFOX.
export const { launch, OFFLINE } = await import(process.env.CHROME ? "./chrome.mjs" : "./firefox.mjs");
