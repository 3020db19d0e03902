// The dashboard of the real program, with real traffic.

import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import { test, after } from "node:test";
import { assertFits, close, picture, visit } from "./browser.mjs";
import { PROGRAM, ask, eventually, freePort, run, shop, tempFolder } from "./process.mjs";

after(close);

const isLive = (page) => page.waitForSelector("[data-fresh=live]");
const settled = (page) => page.waitForFunction(() => !document.querySelector("main").textContent.includes("asking…"));

async function withShop(options, story) {
  const made = await shop(options);
  try {
    await story(made);
  } catch (error) {
    error.message += `\nthe program said:\n${made.program.said().split("\n").slice(-15).join("\n")}`;
    throw error;
  } finally {
    await made.close();
  }
}

test("sign in by the address of the start, look at every page, roll back by hand", () => withShop({}, async (made) => {
  await visit(await made.link(), {}, async (page) => {
    await isLive(page);
    assert.equal(new URL(page.url()).hash, "");
    await page.waitForSelector("h1.sentence");
    assert.match(await page.textContent("article.card"), /v41 → v42/);
    for (const path of ["page=rollout", "page=compare", "page=debug&tap=on", "page=playground", "page=playground&tab=batch&users=u-1+u-2", "page=playground&tab=simulate", "page=config", "page=config&tab=file", "page=config&tab=check", "page=config&tab=events", "page=config&tab=audit"]) {
      await page.goto(`${made.address}/?${path}`);
      await isLive(page);
      await settled(page);
      assert.deepEqual(await page.locator("main .problem").allTextContents(), [], path);
    }
    await page.waitForSelector(".verdict:has-text('The chain of')");

    await page.goto(`${made.address}/?page=rollout&service=shop`);
    await page.waitForSelector("svg.chart path.line.canary", { state: "attached" });
    assert.ok((await many(made)).canary > 0, "half of the users have the canary");
    await page.keyboard.press("b");
    await page.waitForFunction(() => document.activeElement?.hasAttribute("data-confirm"));
    await page.keyboard.press("Enter");
    await page.waitForSelector("[data-result=done]");
    assert.equal((await many(made)).canary, 0, "nobody has it any more");
    const told = await page.textContent("dialog");
    assert.match(told, /To undo it.*retry/s);
    await picture(page, "real-rolled-back");
    await page.keyboard.press("Escape");
    await page.waitForSelector(".heading .badge:has-text('rolled back')");
    assert.equal(await page.locator("[data-command=rollback]").getAttribute("aria-disabled"), "true");
    await page.waitForSelector("#events, section[aria-label=Events] >> text=rolled-back");
  });
}));

async function many(made) {
  const seen = { stable: 0, canary: 0 };
  for (let at = 0; at < 60; at++) seen[(await made.visit("/", { "x-user-id": `m-${at}` })).text] += 1;
  return seen;
}

test("a viewer looks, and is refused by page and by server", () => withShop({ tokens: [["vera", "viewer"], ["otto", "operator"]] }, async (made) => {
  await made.isUp();
  await visit(made.address, {}, async (page) => {
    await page.fill("input[type=password]", made.tokens.vera);
    await page.keyboard.press("Enter");
    await isLive(page);
    await page.goto(`${made.address}/?page=rollout&service=shop`);
    await isLive(page);
    const button = page.locator("[data-command=rollback]");
    assert.equal(await button.getAttribute("aria-disabled"), "true");
    assert.match(await button.textContent(), /your role is viewer/);
  });
  const answer = await fetch(`${made.address}/api/v1/rollouts/shop/rollback`, { method: "POST", body: "{}", headers: { "content-type": "application/json", authorization: `Bearer ${made.tokens.vera}` } });
  assert.equal(answer.status, 403);
  assert.ok((await many(made)).canary > 0, "nothing has changed");
  await visit(made.address, {}, async (page) => {
    await page.fill("input[type=password]", made.tokens.otto);
    await page.keyboard.press("Enter");
    await isLive(page);
    await page.goto(`${made.address}/?page=rollout&service=shop`);
    await page.click("[data-command=pause]");
    await page.click("[data-confirm]");
    await page.waitForSelector("[data-result=done]");
    await page.keyboard.press("Escape");
    await page.waitForSelector(".heading .badge:has-text('paused')");
    await page.waitForSelector("li:has-text('by otto')");
  });
}));

test("what strangers wrote into requests and the file is text", () => withShop({ canaryVersion: "<img src=x onerror=window.hacked=1>" }, async (made) => {
  const flood = setInterval(() => void made.visit("/%3Cimg%20src=x%20onerror=window.hacked=1%3E'onerror=window.hacked=1//", { "user-agent": "<script>window.hacked=1</script>" }), 50);
  try {
    await visit(await made.link(), {}, async (page) => {
      await isLive(page);
      assert.match(await page.textContent("main"), /<img src=x onerror=window\.hacked=1>/);
      await page.goto(`${made.address}/?page=debug&service=shop&tap=on&rate=50`);
      await page.waitForSelector(".tap td:has-text('onerror')");
      assert.equal(await page.locator("main img, main script").count(), 0);
    });
  } finally {
    clearInterval(flood);
  }
}));

test("a process that stands still is told within seconds, and so is its return", () => withShop({}, async (made) => {
  await visit(await made.link(), {}, async (page) => {
    await isLive(page);
    made.program.child.kill("SIGSTOP");
    await page.waitForSelector("[data-fresh=stale]");
    assert.match(await page.textContent(".banner.bad"), /No news from Ringway/);
    made.program.child.kill("SIGCONT");
    await isLive(page);
  });
}));

test("the playground answers as the proxy does", () => withShop({}, async (made) => {
  const real = (await made.visit("/", { "x-user-id": "alice" })).text;
  await visit(await made.link(), {}, async (page) => {
    await isLive(page);
    await page.goto(`${made.address}/?page=playground&headers=x-user-id%3A+alice`);
    await page.waitForSelector(".facts.big");
    assert.match(await page.textContent(".facts.big"), new RegExp(`variant${real}`));
    await page.locator("input[type=range]").fill(real === "canary" ? "0" : "100");
    await page.waitForSelector(".what-if.warn");
    assert.match(await page.textContent(".what-if"), /instead of/);
    await picture(page, "real-playground");

    // tests of the file know the file's weights alone, and a curl line is kept as what it asks
    await page.goto(`${made.address}/?page=playground`);
    await page.fill("textarea[name=curl]", "curl -X PUT http://shop.example.com/cart -H 'x-user-id: alice'");
    await page.waitForSelector(".snippet pre:has-text('/cart')");
    const kept = await page.textContent(".snippet pre");
    assert.match(kept, /url: "http:\/\/shop\.example\.com\/cart", method: PUT, headers: \{ .*"x-user-id": "alice" \}/);
    assert.match(kept, /# the variant is left out: .*rollout step 1\/1.*\n    expect: \{ cohort: "everyone" \}/);
    const file = readFileSync(`${made.folder}/ringway.yaml`, "utf8");
    writeFileSync(`${made.folder}/kept.yaml`, file + kept);
    assert.match(execFileSync(PROGRAM, ["test", "-c", "kept.yaml"], { cwd: made.folder }).toString(), /✔ pass/);

    // what it gets now is asked again when the weights are others
    await page.goto(`${made.address}/?page=playground&headers=x-user-id%3A+alice`);
    await page.waitForSelector(".facts.big");
    await ask(made.address, "rollouts/shop/rollback", {}, "{}");
    await page.waitForSelector(".facts.big:has-text('variantstable')");
    await page.waitForSelector(".trace >> text=everyone takes the rest");
  });
}));

test("an edit with a mistake is told, and nothing is wrong in the browser", () => withShop({}, async (made) => {
  await visit(await made.link(), {}, async (page) => {
    await isLive(page);
    await page.goto(`${made.address}/?page=config&tab=check`);
    await page.waitForSelector(".verdict.good");
    const area = page.locator("textarea.editor");
    const text = await area.inputValue();
    await area.fill(text.replace("weight: 100", "weight: -5"));
    await page.waitForSelector(".verdict.bad");
    assert.match(await page.textContent("#diff, section:has(h2:text('Who would move'))"), /would not come into force/);
    await page.locator(".diagnostics button.path").first().click();
    const at = await page.evaluate(() => { const area = document.activeElement; return area.value.slice(0, area.selectionStart).split("\n").length; });
    assert.equal(at, text.split("\n").findIndex((line) => line.includes("weight: 100")) + 1, "the cursor is at the line");
    await area.fill(text.replace("weight: 0", "weight: 30"));
    await page.waitForSelector("td:has-text('everyone: canary')");
  });
}));

test("an access log is simulated, and the log says more for a while", () => withShop({}, async (made) => {
  await visit(await made.link(), {}, async (page) => {
    await isLive(page);
    await page.goto(`${made.address}/?page=playground&tab=simulate&play=shop&inject=canary%3A+error%3D60%25&host=shop.example.com`);
    await page.click("text=2,000 made-up lines");
    await page.click("button:has-text('Simulate')");
    await page.waitForSelector("text=2,000 lines read");
    assert.match(await page.textContent("section[aria-label='The rollout v42']"), /✖ rolled back.*requests and .* users met the new version/s);
    await picture(page, "real-simulate");
    await page.goto(`${made.address}/?page=config&tab=audit`);
    await page.click("text=Log so for a while");
    await page.waitForSelector("text=the log is at debug for 600 s");
    await page.waitForSelector("li:has-text('the log is at debug')");
    await picture(page, "real-log");
    await page.click("text=As at the start");
    await page.waitForSelector("text=✔ the log is at info");
  });
}));

test("who opens the page after a rollback sees how the difference came to it", () => withShop({}, async (made) => {
  const link = await made.link();
  const seen = async () => (await ask(made.address, "rollouts/shop/differences?gate=errors&cohort=everyone", {})).points.length;
  await eventually(async () => (await seen()) >= 4);
  made.canary.isBroken = true;
  await made.program.line(/rolled back|took it back|rolled-back/);
  await visit(link, {}, async (page) => {
    await isLive(page);
    await page.goto(`${made.address}/?page=rollout&service=shop`);
    // those from before the page was opened; since then nothing was counted
    await page.waitForFunction(() => [...document.querySelectorAll("figure")].some((figure) => figure.textContent.includes("Difference:") && (figure.querySelector("svg.chart path.line")?.getAttribute("d").match(/[ML]/g)?.length ?? 0) >= 4));
    await picture(page, "real-late");
  });
}));

test("the first view is there within 300 ms", () => withShop({}, async (made) => {
  await visit(await made.link(), {}, async (page, context) => {
    await isLive(page);
    // a browser that runs already, and has kept nothing
    const session = await context.newCDPSession(page);
    await session.send("Network.setCacheDisabled", { cacheDisabled: true });
    const times = [];
    for (let at = 0; at < 7; at++) {
      await page.goto(`${made.address}/?at=${at}`);
      await page.waitForFunction(() => performance.getEntriesByName("first-contentful-paint").length > 0);
      times.push(await page.evaluate(() => performance.getEntriesByName("first-contentful-paint")[0].startTime));
      await isLive(page);
    }
    times.sort((a, b) => a - b);
    console.log(`first contentful paint, best and median of 7: ${Math.round(times[0])} and ${Math.round(times[3])} ms`);
    // the best, as the machine may be busy with something else
    assert.ok(times[0] < 300, `${times}`);
  });
}));

test("the demo: a canary is made bad, and is taken back by itself", async () => {
  const folder = tempFolder();
  const port = await freePort();
  const demo = run(folder, "demo", "--dir", "demo", "--port", String(port), "--plain");
  try {
    const [link] = await demo.line(/http:\/\/127\.0\.0\.1:\d+\/#secret=[\w-]+/);
    await visit(link, {}, async (page) => {
      page.setDefaultTimeout(90_000);
      await isLive(page);
      await page.waitForSelector("article.card");
      await picture(page, "demo-releases");
      // a release has begun, and somebody has it
      await page.waitForSelector("article.card .badge:has-text('progressing'), article.card .badge:has-text('holding')");
      await page.click("article.card a");
      await page.waitForSelector("svg.chart path.line.canary", { state: "attached" });
      const began = Date.now();
      await page.click("[data-demo=break]");
      await page.waitForSelector("section.decision");
      const took = (Date.now() - began) / 1000;
      console.log(`from the button to the rollback on the page: ${took.toFixed(1)} s`);
      assert.ok(took < 60, `${took} s`);
      assert.match(await page.textContent("section.decision"), /took it back by itself/);
      await page.waitForSelector("section.decision svg.chart");
      await page.waitForSelector("section.decision tbody tr td.path");
      await assertFits(page, "the decision");
      await picture(page, "demo-decision");
    });
  } catch (error) {
    error.message += `\nthe demo said:\n${demo.said().split("\n").slice(-15).join("\n")}`;
    throw error;
  } finally {
    await demo.close();
    rmSync(folder, { recursive: true, force: true });
  }
});
