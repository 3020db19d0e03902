// Debian's Chromium, and what no page of the dashboard may ever do in it.

import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const EXECUTABLE = process.env.RINGWAY_CHROMIUM ?? "/usr/bin/chromium";
// names of strangers are this machine, as with a name server that they own
const NAMES = "--host-resolver-rules=MAP *.example 127.0.0.1";
const FLAGS = [NAMES, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];
const PICTURES = process.env.RINGWAY_PICTURES ?? fileURLToPath(new URL("../../target/dashboard/", import.meta.url));

let browser = null;

/** A page of a browser without a past, and what went wrong in it. */
export async function open(address, { width = 1440, height = 900, dark = false, reducedMotion = "reduce" } = {}) {
  browser ??= await chromium.launch({ executablePath: EXECUTABLE, args: FLAGS });
  const context = await browser.newContext({ viewport: { width, height }, colorScheme: dark ? "dark" : "light", reducedMotion, acceptDownloads: true });
  await context.grantPermissions(["clipboard-read", "clipboard-write"]);
  const wrong = [];
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.on("console", (message) => {
    // who is not signed in asks once, and the browser writes the answer's status by itself
    const isAsking = /status of (401|503)/.test(message.text()) && /\/api\/v1\//.test(message.location().url);
    if (["error", "warning"].includes(message.type()) && !isAsking) wrong.push(`console: ${message.text()}`);
  });
  page.on("pageerror", (error) => wrong.push(`error: ${error.stack}`));
  page.on("dialog", (dialog) => { wrong.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  const own = new URL(address).origin;
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith(`${own}/`) && !url.startsWith("data:image/") && !url.startsWith(`blob:${own}/`)) wrong.push(`request to elsewhere: ${url}`);
  });
  await page.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (event) => console.error(`policy: ${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
  });
  // while the dashboard is written: the files as they are, without building the program again
  if (process.env.RINGWAY_FILES) await page.route("**/assets/**", (route) => route.fulfill({ path: `${process.env.RINGWAY_FILES}/${route.request().url().split("/").pop()}` }));
  await page.goto(address);
  return { page, context, wrong };
}

/** Opens a page for a story, and fails it when anything went wrong in the browser meanwhile. */
export async function visit(address, options, story) {
  const { page, context, wrong } = await open(address, options);
  try {
    await story(page, context);
    assert.equal(await page.evaluate(() => window.hacked), undefined, "a text was run");
    assert.deepEqual(wrong, []);
  } catch (error) {
    await picture(page, "failed").catch(() => {});
    throw error;
  } finally {
    await context.close();
  }
}

export async function picture(page, name) {
  mkdirSync(PICTURES, { recursive: true });
  await page.screenshot({ path: `${PICTURES}${name}.png` });
}

/** Nothing is wider than the window. */
export async function assertFits(page, what) {
  const found = await page.evaluate(() => {
    const room = document.documentElement.clientWidth;
    const isClipped = (element) => element.closest(".scroll, pre, .editor, .hidden-text, .skip") !== null;
    const wide = [...document.querySelectorAll("body *")].filter((element) => element.getBoundingClientRect().right > room + 1 && !isClipped(element)).map((element) => `${element.tagName}.${element.getAttribute("class")}`);
    return { by: document.documentElement.scrollWidth - room, wide: wide.slice(0, 5) };
  });
  assert.ok(found.by <= 0 && found.wide.length === 0, `${what}: ${found.by} px too wide: ${found.wide}`);
}

export async function close() {
  await browser?.close();
  browser = null;
}
