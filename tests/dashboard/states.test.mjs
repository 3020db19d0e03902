// The dashboard in states that are hard to reach with a real process, against a server that answers like one.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test, after, describe } from "node:test";
import { assertFits, close, picture, visit } from "./browser.mjs";
import { HOSTILE, start, takeBack } from "./mock.mjs";

after(close);

const PAGES = ["", "?page=rollout&service=shop", "?page=compare&service=shop", "?page=debug&service=shop&tap=on", "?page=playground", "?page=playground&tab=batch&users=u-1+u-2", "?page=playground&tab=simulate", "?page=config", "?page=config&tab=file", "?page=config&tab=check", "?page=config&tab=events", "?page=config&tab=audit"];
const ready = (page) => page.waitForSelector("[data-fresh]");

/** Everything that was asked is answered and drawn. */
const settled = (page) => page.waitForFunction(() => !document.querySelector("main").textContent.includes("asking…"));

async function with_(wishes, story) {
  const server = await start(0, wishes);
  try {
    await story(server.address, server.world, server);
  } finally {
    server.close();
  }
}

const told = (address, wishes, options, story) => with_(wishes, (at, world) => visit(at + address, options, (page) => story(page, world, at)));

describe("pages", () => {
  test("every page draws, in light and dark, without a word of complaint", () => with_({ many: 3, demo: false }, async (address) => {
    for (const [at, path] of PAGES.entries()) {
      await visit(`${address}/${path}`, { dark: at % 2 === 1 }, async (page) => {
        await ready(page);
        await settled(page);
        assert.equal(await page.locator("main .problem").count(), 0, path);
        await picture(page, `page-${at}`);
      });
    }
  }));

  test("nothing is wider than a phone, nor than a window at 200 %", () => with_({ many: 3 }, async (address, world) => {
    takeBack(world);
    for (const path of PAGES) {
      await visit(`${address}/${path}`, { width: 390, height: 844 }, async (page) => {
        await ready(page);
        await assertFits(page, `390 px ${path}`);
      });
    }
    // zoom of 200 % halves the pixels that a page is laid out in
    for (const path of PAGES) {
      await visit(`${address}/${path}`, { width: 640, height: 400 }, async (page) => {
        await ready(page);
        await assertFits(page, `200 % ${path}`);
      });
    }
  }));

  test("who comes late sees how the difference went before", () => with_({}, async (address, world) => {
    takeBack(world);
    await visit(`${address}/?page=rollout&service=shop`, {}, async (page) => {
      await ready(page);
      // the band of one look is a point; that of many is wide
      await page.waitForFunction(() => [...document.querySelectorAll("figure")].some((figure) => figure.textContent.includes("Difference:") && (figure.querySelector("svg.chart path.line")?.getAttribute("d").match(/[ML]/g)?.length ?? 0) > 100));
    });
  }));

  test("the state is in the address, and the way back works", () => told("/", {}, {}, async (page) => {
    await ready(page);
    await page.click("article a");
    await page.waitForSelector(".plots figure");
    await page.click("text=1h");
    await page.click(".toolbar >> text=beta");
    await page.waitForURL(/page=rollout&service=shop&window=1h&cohort=beta/);
    await page.reload();
    await page.waitForSelector("button[aria-pressed=true]:has-text('beta')");
    assert.equal(await page.locator("button[aria-pressed=true]:has-text('1h')").count(), 1);
    await page.goBack();
    await page.waitForURL((url) => !url.search.includes("cohort"));
  }));

  test("not enough data is said, not drawn", () => told("/?page=compare&service=shop&cohort=asia", {}, {}, async (page) => {
    await page.waitForSelector(".not-enough");
    assert.match(await page.textContent(".not-enough"), /not enough data \(312 of 1,000/);
    assert.equal(await page.locator("main svg.chart").count(), 0);
  }));
});

describe("texts of strangers", () => {
  test("are texts everywhere", () => with_({ hostile: true, role: "admin" }, async (address, world) => {
    takeBack(world);
    for (const path of PAGES) {
      await visit(`${address}/${path}`, {}, async (page) => {
        await ready(page);
        await settled(page);
        assert.equal(await page.locator("main img, main script").count(), 0, path);
        assert.equal(await page.locator("a[href^=javascript]").count(), 0, path);
        if (path.includes("rollout")) assert.ok((await page.textContent("main")).includes(HOSTILE.slice(0, 40)), "it is shown");
      });
    }
  }));
});

describe("old numbers", () => {
  test("are marked when the stream stops, and live again when it goes on", () => told("/?page=rollout&service=shop", {}, {}, async (page, world) => {
    await page.waitForSelector("[data-fresh=live]");
    const place = () => page.locator("[data-command=rollback]").boundingBox();
    const before = await place();
    world.stream = false;
    await page.waitForSelector("[data-fresh=stale]");
    await page.waitForSelector("body.stale .banner.bad");
    assert.match(await page.textContent(".fresh"), /STALE/);
    assert.match(await page.textContent(".banner.bad"), /No news from Ringway/);
    assert.deepEqual(await place(), before, "ROLL BACK has moved");
    await picture(page, "stale");
    world.stream = true;
    await page.waitForSelector("[data-fresh=live]");
    assert.equal(await page.locator("body.stale").count(), 0);
  }));

  test("of a plot are marked when its source fails, while the rest is live", () => told("/?page=rollout&service=shop&window=1m", {}, {}, async (page, world) => {
    await page.waitForSelector(".plots svg.chart");
    world.broken = /series/;
    await page.waitForSelector(".plots figure.dim");
    assert.match(await page.textContent(".plots-frame .problem"), /series: this is from .* ago/);
    assert.equal(await page.locator("[data-fresh=live]").count(), 1);
  }));
});

describe("changes", () => {
  test("roll back by keyboard alone: one question, then undo and patch", () => told("/", {}, {}, async (page, world) => {
    await ready(page);
    await page.keyboard.press("2");
    await page.waitForSelector("[data-command=rollback]");
    await page.keyboard.press("b");
    await page.waitForSelector("dialog[open]");
    await page.waitForFunction(() => document.activeElement?.hasAttribute("data-confirm"));
    await picture(page, "confirm");
    await page.keyboard.press("Enter");
    await page.waitForSelector("[data-result=done]");
    const text = await page.textContent("dialog");
    assert.match(text, /ringway retry shop/);
    assert.match(text, /canary: \{ weight: 0 \}/);
    const asked = world.asked.find((of) => of.path === "/rollouts/shop/rollback");
    assert.equal(asked.csrf, "c5rf");
    assert.equal(asked.ifMatch, undefined, "the safer direction does not depend on what others did");
    await page.waitForFunction(() => document.activeElement?.textContent === "Close");
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog", { state: "detached" });
    await page.waitForSelector(".heading .badge:has-text('rolled back')");
  }));

  test("nothing is asked of the server before the question is answered", () => told("/?page=rollout&service=shop", {}, {}, async (page, world) => {
    await ready(page);
    await page.click("[data-command=rollback]");
    await page.click("dialog >> text=What would happen?");
    await page.waitForSelector(".preview");
    assert.match(await page.textContent(".preview"), /would rollback of shop/);
    await page.click("dialog >> text=Cancel");
    assert.deepEqual(world.asked.map((of) => of.path), ["/rollouts/shop/rollback?dryRun=true"]);
  }));

  test("ROLL BACK does not move, whatever the phase", () => told("/?page=rollout&service=shop", {}, {}, async (page, world) => {
    await page.waitForSelector("[data-command=rollback]");
    const places = [];
    for (const phase of ["progressing", "paused", "awaiting-approval", "promoted", "rolled-back"]) {
      world.phase = phase;
      await page.waitForSelector(`.heading .badge:has-text('${phase.replace("-", " ")}')`);
      places.push(JSON.stringify(await page.locator("[data-command=rollback]").boundingBox()));
    }
    assert.equal(new Set(places).size, 1, places.join(" "));
  }));

  test("a viewer is told why not", () => told("/?page=rollout&service=shop", { role: "viewer" }, {}, async (page, world) => {
    await ready(page);
    const button = page.locator("[data-command=rollback]");
    assert.equal(await button.getAttribute("aria-disabled"), "true");
    assert.match(await button.textContent(), /your role is viewer; this needs operator/);
    await button.click({ force: true });
    assert.match(await page.textContent("dialog"), /Your role is viewer; this needs operator/);
    await page.keyboard.press("Enter");
    await page.waitForSelector("dialog", { state: "detached" });
    assert.deepEqual(world.asked, []);
  }));

  test("read-only is said once, and holds for everybody", () => told("/?page=rollout&service=shop", { role: "admin", readOnly: true }, {}, async (page) => {
    await ready(page);
    assert.match(await page.textContent(".banners"), /Read-only/);
    assert.match(await page.locator("[data-command=pause]").textContent(), /read-only mode/);
  }));

  test("an endpoint is drained by an admin, after a question", () => told("/?page=debug&service=shop", { role: "admin" }, {}, async (page, world) => {
    await page.locator("main button:has-text('Drain')").first().click();
    await page.waitForFunction(() => document.activeElement?.hasAttribute("data-focus"));
    await page.keyboard.press("Enter");
    await page.waitForSelector("dialog >> text=To undo it");
    assert.equal(world.asked[0].path, "/services/shop/stable/endpoints/127.0.0.1%3A3001/drain");
  }));
});

describe("people", () => {
  test("sign in by an address that leaves no secret behind, and sign out", () => told("/#secret=s3cret", { signedOut: true }, {}, async (page, world) => {
    await ready(page);
    assert.equal(new URL(page.url()).hash, "");
    assert.deepEqual(world.asked[0].body, { secret: "s3cret" });
    await page.click("text=Sign out");
    await page.waitForSelector("input[type=password]");
    await page.fill("input[type=password]", "wrong");
    await page.keyboard.press("Enter");
    await page.waitForSelector("[role=alert]");
    assert.match(await page.textContent("[role=alert]"), /used already, or is wrong/);
    await picture(page, "sign-in");
    await page.fill("input[type=password]", "s3cret");
    await page.keyboard.press("Enter");
    await ready(page);
  }));

  test("are told that their session has ended, and are not shown as if it had not", () => told("/?page=rollout&service=shop", {}, {}, async (page, world) => {
    await ready(page);
    world.signedOut = true;
    for (const stream of world.streams) stream.end();
    await page.waitForSelector("text=Your session has ended");
    assert.match(await page.textContent("main"), /ringway dashboard/);
    for (const gone of ["text=Sign out", ".fresh", ".who"]) assert.equal(await page.locator(gone).count(), 0, gone);
    await page.fill("input[type=password]", "s3cret");
    await page.keyboard.press("Enter");
    await ready(page);
    assert.match(page.url(), /page=rollout/);
  }));

  test("find every control with the Tab key, and see where they are", () => told("/?page=rollout&service=shop", {}, {}, async (page) => {
    await page.waitForSelector(".plots svg.chart");
    const seen = new Set();
    for (let at = 0; at < 80; at++) {
      await page.keyboard.press("Tab");
      const found = await page.evaluate(() => {
        const element = document.activeElement;
        if (!element || element === document.body) return null;
        const style = getComputedStyle(element);
        return { name: element.getAttribute("data-command") ?? element.getAttribute("data-plot") ?? element.textContent.trim().slice(0, 20), outline: style.outlineStyle !== "none" && Number.parseFloat(style.outlineWidth) >= 2 };
      });
      if (!found) continue;
      assert.ok(found.outline, `no visible focus on ${found.name}`);
      seen.add(found.name);
    }
    for (const name of ["rollback", "pause", "promote", "shop-all-errors", "1h", "Releases"]) assert.ok(seen.has(name), `${name} is not reached: ${[...seen]}`);
  }));

  test("read the keys, and turn them off", () => told("/", {}, {}, async (page) => {
    await ready(page);
    await page.keyboard.press("?");
    assert.match(await page.textContent("dialog"), /roll back/);
    await page.click("dialog input[type=checkbox]");
    await page.keyboard.press("Escape");
    await page.waitForSelector("dialog", { state: "detached" });
    await page.keyboard.press("2");
    await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
    assert.ok(!page.url().includes("page=rollout"));
  }));

  test("choose dark, and keep it", () => told("/", {}, {}, async (page) => {
    await ready(page);
    const ground = () => page.evaluate(() => getComputedStyle(document.body).backgroundColor);
    const light = await ground();
    await page.keyboard.press("t");
    await page.waitForFunction((before) => getComputedStyle(document.body).backgroundColor !== before, light);
    const dark = await ground();
    await page.reload();
    assert.equal(await ground(), dark);
  }));
});

describe("what is taken along", () => {
  test("a plot as CSV and as PNG", () => told("/?page=rollout&service=shop", {}, {}, async (page) => {
    await page.waitForSelector(".plots svg.chart");
    const save = async (label) => {
      const [download] = await Promise.all([page.waitForEvent("download"), page.click(`[aria-label="${label}"]`)]);
      return readFileSync(await download.path());
    };
    const csv = (await save("save Error rate as CSV")).toString().split("\r\n");
    assert.equal(csv[0], "unix_ms,utc,stable,canary");
    assert.ok(csv.length > 100);
    const png = await save("save Error rate as PNG");
    assert.equal(png.subarray(1, 4).toString(), "PNG");
    assert.ok(png.length > 3000, `${png.length} bytes`);
  }));

  test("the incident's summary", () => with_({}, async (address, world) => {
    takeBack(world);
    await visit(`${address}/?page=rollout&service=shop`, {}, async (page) => {
      await page.waitForSelector(".decision svg.chart");
      assert.match(await page.textContent(".decision"), /took it back by itself/);
      assert.equal(await page.locator(".decision tbody tr").count(), 5);
      await picture(page, "decision");
      await page.click("text=copy incident summary");
      await page.waitForSelector("text=✔ copied");
      const text = await page.evaluate(() => navigator.clipboard.readText());
      for (const part of ["Incident: shop v41 → v42", "Whom: cohort beta", "Gate: errors", "/checkout/0"]) assert.ok(text.includes(part), part);
    });
  }));

  test("a question to the playground as a test of the file", () => told("/?page=playground&headers=x-employee%3A+1", {}, {}, async (page) => {
    await page.waitForSelector(".facts.big");
    assert.match(await page.textContent(".snippet pre"), /expect: \{ cohort: "staff", variant: "canary", reason: cohort \}/);
    await page.fill("textarea[name=headers]", "x-user-id: u-7");
    await page.waitForFunction(() => document.querySelector(".facts.big")?.textContent.includes("beta"));
    assert.match(page.url(), /u-7/);
  }));
});

test("numbers of the release before are told apart, and bars compare the versions", () => told("/?page=compare&service=shop&cohort=beta&window=6h", {}, {}, async (page) => {
  await page.waitForSelector("[role=note]");
  assert.match(await page.textContent("[role=note]"), /v42 began .* ago: these 6h hold requests from before it/);
  const widths = await page.locator(".codes tbody tr:first-child .bar i").evaluateAll((bars) => bars.map((bar) => parseFloat(bar.style.width)));
  assert.equal(Math.max(...widths), 100, `of the answers with the first code: ${widths}`);
}));

test("a mistake in an edit is told while typing, with its line", () => told("/?page=config&tab=check", {}, {}, async (page) => {
  await page.waitForSelector(".verdict.good");
  const area = page.locator("textarea.editor");
  await area.fill((await area.inputValue()).replace("weight: 5", "wieght: 5"));
  await page.waitForSelector(".diagnostics li");
  assert.match(await page.textContent(".diagnostics"), /6:17.*RW0102.*did you mean `weight`/s);
}));
