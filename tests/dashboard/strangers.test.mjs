// D19 in a real browser: somebody is signed in at the door, and pages of strangers are open beside it. They read nothing, and
// change nothing.

import assert from "node:assert/strict";
import { createServer, request } from "node:http";
import { connect } from "node:net";
import { test, after } from "node:test";
import { ATTACKS, submit } from "./attacks.mjs";
import { close, open } from "./browser.mjs";
import { ask, eventually, shop } from "./process.mjs";

after(close);

const PATIENCE_MS = 3_000;

/** The server of a stranger: a page of its own, and redirects. */
async function stranger() {
  const server = createServer((asked, response) => {
    const to = new URL(asked.url, "http://stranger").searchParams.get("to");
    response.writeHead(to ? 307 : 200, { "content-type": "text/html", ...(to && { location: to }) });
    response.end("<!doctype html><title>kittens</title><body>kittens</body>");
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: server.address().port, close: () => { server.closeAllConnections(); server.close(); } };
}

/**
 * What the browser takes for the door: passes everything on, byte for byte as far as the door can tell, and writes down what was
 * answered, also where the browser keeps that from its pages. Before a name is rebound, the stranger answers under it.
 */
async function tap(port) {
  const seen = [];
  const server = createServer((asked, response) => {
    if (asked.url === "/kittens") return void response.writeHead(200, { "content-type": "text/html" }).end("<!doctype html><body>kittens</body>");
    const onward = request({ host: "127.0.0.1", port, path: asked.url, method: asked.method, headers: asked.rawHeaders, setHost: false }, (answer) => {
      seen.push({ method: asked.method, path: asked.url, status: answer.statusCode });
      response.writeHead(answer.statusCode, answer.rawHeaders);
      answer.pipe(response);
    });
    onward.on("error", () => response.destroy());
    response.on("close", () => onward.destroy());
    asked.pipe(onward);
  });
  server.on("upgrade", (asked, socket) => {
    const headers = [];
    for (let at = 0; at < asked.rawHeaders.length; at += 2) headers.push(`${asked.rawHeaders[at]}: ${asked.rawHeaders[at + 1]}\r\n`);
    const onward = connect(port, "127.0.0.1", () => onward.write(`GET ${asked.url} HTTP/1.1\r\n${headers.join("")}\r\n`));
    onward.once("data", (part) => {
      seen.push({ method: "WebSocket", path: asked.url, status: Number(part.toString().split(" ")[1]) });
      socket.end(part);
      onward.destroy();
    });
    for (const end of [socket, onward]) end.on("error", () => { socket.destroy(); onward.destroy(); });
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { seen, port: server.address().port, close: () => { server.closeAllConnections(); server.close(); } };
}

/** What would be different if somebody had got through. */
async function state(address, headers) {
  const [rollouts, status, events, log] = await Promise.all(["rollouts", "status", "events?limit=1000", "log-level"].map((path) => ask(address, path, headers)));
  const [rollout] = rollouts.rollouts;
  return JSON.stringify({ phase: rollout.phase, shares: rollout.cohorts.map((cohort) => cohort.share), rev: status.rev, log, by: events.events.filter((event) => event.actor !== null).map((event) => event.id) });
}

/** One page of a stranger and all attacks from it: what was tried, what the door answered, what was learned. */
async function attack(page, seen, door, told) {
  await page.evaluate(`window.submit = ${submit}`);
  const at = { door, rollback: `${door}/api/v1/rollouts/shop/rollback` };
  for (const [name, run] of ATTACKS) {
    const before = seen.length;
    const learned = await page.evaluate(async ([text, at, patience]) => {
      const late = new Promise((resolve) => { setTimeout(() => resolve(null), patience); });
      try {
        return await Promise.race([eval(text)(at), late]);
      } catch {
        return null;
      }
    }, [`(${run})`, at, PATIENCE_MS]);
    await eventually(async () => seen.length > before, PATIENCE_MS).catch(() => assert.fail(`${name}: the door was never asked`));
    told.push({ name, learned, answers: seen.slice(before) });
  }
}

/** No, or the page for people, which has nothing in it, and which the browser shows to nobody in a frame. */
const isRefused = ({ method, path, status }) => (status >= 400 && status < 500) || (method === "GET" && path === "/" && [200, 304].includes(status));
/** Nothing, or the door's words that this is refused: whose name was rebound may read those. */
const isNothing = (learned) => !learned || JSON.parse(learned).status === 421;

/** From every origin that a stranger can have; `signIn` is how the browser is let in first. */
async function siege(made, what, signIn, headers) {
  const [elsewhere, door] = [await stranger(), await tap(new URL(made.address).port)];
  const { page, context } = await open((await signIn()).replace(made.address, `http://127.0.0.1:${door.port}`));
  try {
    await page.waitForSelector("[data-fresh=live]");
    const before = await state(made.address, headers);
    // it would go on asking, and is not what is counted
    await page.goto("about:blank");
    const others = await context.newPage();
    const [told, table] = [[], []];
    const besiege = async (name, where, at) => {
      const from = told.length;
      await attack(where, door.seen, at, told);
      const tried = told.slice(from);
      const answers = tried.flatMap((one) => one.answers);
      const statuses = {};
      for (const { status } of answers) statuses[status] = (statuses[status] ?? 0) + 1;
      assert.deepEqual(answers.filter((answer) => !isRefused(answer)), [], name);
      assert.deepEqual(tried.filter((one) => !isNothing(one.learned)), [], name);
      table.push({ origin: name, attempts: tried.length, answers: JSON.stringify(statuses) });
    };
    const own = `http://127.0.0.1:${door.port}`;
    for (const [name, host] of [["another port", "127.0.0.1"], ["another name of this machine", "localhost"], ["another host", "evil.example"]]) {
      await others.goto(`http://${host}:${elsewhere.port}/`);
      await besiege(name, others, own);
    }
    await others.reload();
    await besiege("no origin (sandbox)", await sandboxed(others), own);
    const rebound = `http://rebound.example:${door.port}`;
    await others.goto(`${rebound}/kittens`);
    await besiege("a name that was rebound", others, rebound);

    console.log(what);
    for (const row of table) console.log(`| ${row.origin} | ${row.attempts} | ${row.answers} | 0 read, 0 changed |`);
    assert.equal(await state(made.address, headers), before, "something has changed");

    // and the same request from the door's own page does change something
    await page.goto(own);
    const status = await page.evaluate(async () => {
      const { csrf } = await (await fetch("/api/v1/session")).json();
      return (await fetch("/api/v1/rollouts/shop/rollback", { method: "POST", body: "{}", headers: { "content-type": "application/json", "x-ringway-csrf": csrf } })).status;
    });
    assert.equal(status, 200);
    assert.notEqual(await state(made.address, headers), before);
  } finally {
    await context.close();
    elsewhere.close();
    door.close();
  }
}

/** A frame without an origin: its requests say `Origin: null`. */
async function sandboxed(page) {
  await page.evaluate(() => {
    const frame = document.createElement("iframe");
    frame.setAttribute("sandbox", "allow-scripts allow-forms allow-popups");
    frame.srcdoc = "<body>kittens</body>";
    frame.name = "sandboxed";
    document.body.append(frame);
  });
  await page.waitForFunction(() => frames.length === 1);
  const frame = page.frame({ name: "sandboxed" });
  await frame.waitForLoadState();
  return frame;
}

test("pages of strangers, while an operator is signed in", async () => {
  const made = await shop({ tokens: [["otto", "operator"]] });
  try {
    await made.isUp();
    const headers = { authorization: `Bearer ${made.tokens.otto}` };
    const link = async () => (await ask(made.address, "session/link", headers, "{}")).url;
    await siege(made, "signed in with a token", link, headers);
  } finally {
    await made.close();
  }
});

test("pages of strangers, at a door that trusts this machine", async () => {
  const made = await shop({});
  try {
    await siege(made, "signed in by the link of the start", made.link, {});
  } finally {
    await made.close();
  }
});
