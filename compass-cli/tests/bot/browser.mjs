// Loads pages in Chromium, over the DevTools protocol, and prints what is wrong with them as JSON.
//
// The argument is a JSON object {"browser", "profile", "axe", "base", "paths", "all", "screenshots"}. With
// "all", each page is loaded in both languages in each view.

import { spawn } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const options = JSON.parse(process.argv[2]);
const WIDTHS = [390, 1280];
const SCHEMES = ["light", "dark"];
const LANGUAGES = ["en", "zh-CN"];

const browser = spawn(options.browser, [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--no-first-run",
  "--disable-extensions",
  "--disable-background-networking",
  "--disable-component-update",
  "--hide-scrollbars",
  "--remote-debugging-pipe",
  `--user-data-dir=${options.profile}`,
  "about:blank",
], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });

// The protocol: JSON messages, each of which ends with a zero byte.
const waiting = new Map();
const listeners = new Set();
let last = 0;
let rest = Buffer.alloc(0);
browser.stdio[4].on("data", (bytes) => {
  rest = Buffer.concat([rest, bytes]);
  for (let end = rest.indexOf(0); end >= 0; end = rest.indexOf(0)) {
    const message = JSON.parse(rest.subarray(0, end).toString());
    rest = rest.subarray(end + 1);
    if (message.id) {
      const { resolve, reject } = waiting.get(message.id);
      waiting.delete(message.id);
      message.error ? reject(new Error(message.error.message)) : resolve(message.result);
    } else {
      listeners.forEach((listener) => listener(message));
    }
  }
});
browser.on("exit", (code) => fail(new Error(`the browser ended with ${code}`)));
setTimeout(() => fail(new Error("the browser does not answer")), 120_000).unref();

function fail(error) {
  console.error(error.message);
  browser.kill("SIGKILL");
  process.exit(2);
}

function send(method, params = {}, sessionId = undefined) {
  const id = ++last;
  browser.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + "\0");
  return new Promise((resolve, reject) => waiting.set(id, { resolve, reject }));
}

// Loads a page in a tab of its own; returns its problems.
async function check(path, view) {
  const { targetId } = await send("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await send("Target.attachToTarget", { targetId, flatten: true });
  const call = (method, params) => send(method, params, sessionId);
  const problems = [];
  let loaded;
  const isLoaded = new Promise((resolve) => (loaded = resolve));
  const listener = ({ sessionId: one, method, params }) => {
    if (one !== sessionId) return;
    if (method === "Page.loadEventFired") loaded();
    // The browser also reports a page that does not exist, which one of them does not.
    const isMissing = path === "/missing" && params.entry?.url?.endsWith(path);
    if (method === "Log.entryAdded" && !isMissing) {
      problems.push(`${params.entry.level}: ${params.entry.text}`);
    }
    if (method === "Runtime.consoleAPICalled") problems.push(`console: ${JSON.stringify(params.args)}`);
    if (method === "Runtime.exceptionThrown") problems.push(`exception: ${params.exceptionDetails.text}`);
    if (method === "Network.loadingFailed") problems.push(`not loaded: ${params.errorText}`);
  };
  listeners.add(listener);
  for (const domain of ["Page", "Log", "Runtime", "Network"]) await call(`${domain}.enable`);
  await call("Emulation.setDeviceMetricsOverride", {
    width: view.width, height: 844, deviceScaleFactor: 1, mobile: view.width < 600,
  });
  await call("Emulation.setEmulatedMedia", {
    features: [{ name: "prefers-color-scheme", value: view.scheme }],
  });
  await call("Emulation.setScriptExecutionDisabled", { value: !view.scripts });
  await call("Network.setExtraHTTPHeaders", { headers: { "Accept-Language": view.language } });
  const { errorText } = await call("Page.navigate", { url: options.base + path });
  if (errorText) problems.push(errorText);
  await isLoaded;
  const { cssContentSize } = await call("Page.getLayoutMetrics");
  if (cssContentSize.width > view.width) {
    problems.push(`scrolls sideways: ${cssContentSize.width} px`);
  }
  if (view.scripts) problems.push(...await checkRules(call, view));
  if (options.screenshots) {
    const name = [path.replace(/\W+/g, "-"), view.width, view.scheme, view.language].join("_");
    const clip = { x: 0, y: 0, width: view.width, height: cssContentSize.height, scale: 1 };
    const shot = { format: "png", clip, captureBeyondViewport: true };
    const { data } = await call("Page.captureScreenshot", shot);
    const scripts = view.scripts ? "" : "_noscript";
    writeFileSync(`${options.screenshots}/${name}${scripts}.png`, Buffer.from(data, "base64"));
  }
  listeners.delete(listener);
  await send("Target.closeTarget", { targetId });
  return problems;
}

// Checks the color scheme, and the rules of axe-core if it is available.
async function checkRules(call, view) {
  const evaluate = async (expression) => {
    const { result, exceptionDetails } = await call("Runtime.evaluate", {
      expression, awaitPromise: true, returnByValue: true,
    });
    if (exceptionDetails) throw new Error(JSON.stringify(exceptionDetails));
    return result.value;
  };
  const problems = [];
  const language = await evaluate("document.documentElement.lang");
  if (language !== view.language) problems.push(`the language is ${language}`);
  // The brightness of the background, from 0 to 255.
  const back = await evaluate("getComputedStyle(document.body).backgroundColor");
  const brightness = Number(back.match(/\d+/)[0]);
  if (brightness > 127 !== (view.scheme === "light")) problems.push(`the background is ${back}`);
  if (options.axe) {
    await evaluate(readFileSync(options.axe, "utf8") + ";0");
    problems.push(...await evaluate(`axe.run().then(({ violations }) => violations.flatMap(
      ({ id, help, nodes }) => nodes.map((node) => id + ": " + help + ": " + node.html)))`));
  }
  return problems;
}

const views = [];
for (const width of WIDTHS) for (const scheme of SCHEMES) for (const scripts of [true, false]) {
  const languages = options.all ? LANGUAGES : [LANGUAGES[views.length % 3 % 2]];
  for (const language of languages) views.push({ width, scheme, language, scripts });
}
const found = {};
for (const path of options.paths) {
  for (const view of views) {
    const problems = await check(path, view).catch((error) => fail(error));
    if (problems.length) found[`${path} ${JSON.stringify(view)}`] = problems;
  }
}
console.log(JSON.stringify({ loads: options.paths.length * views.length, found }, null, 1));
browser.removeAllListeners("exit");
await send("Browser.close").catch(() => {});
process.exit(Object.keys(found).length ? 1 : 0);
