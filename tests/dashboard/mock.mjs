// A server that answers like Ringway's admin door, for states that are hard to reach with a real process: a stream that
// stops, texts of attackers, many services, every role. The files and the policy are the real ones.
//
//   node tests/dashboard/mock.mjs [PORT] [SCENARIO]

import { createServer } from "node:http";
import { readFileSync, readdirSync } from "node:fs";
import { fileURLToPath } from "node:url";

const FILES = fileURLToPath(new URL("../../src/admin/dashboard/", import.meta.url));
const POLICY = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
const TYPES = { css: "text/css", js: "text/javascript", svg: "image/svg+xml", html: "text/html; charset=utf-8" };
const COHORTS = ["staff", "beta", "asia", "everyone"];
/** Stands wherever the API passes on what somebody else wrote. */
export const HOSTILE = "<img src=x onerror=\"window.hacked=1\"><script>window.hacked=1</script>\u202Egnp.exe";

/** What the server says can be changed while it runs: `{role, readOnly, demo, stream, hostile, many, bad, phase}`. */
export function start(port = 0, wishes = {}) {
  const world = { role: "operator", readOnly: false, demo: true, stream: true, hostile: false, many: 1, bad: false, thin: false, phase: "progressing", began: Date.now() - 400_000, events: [], asked: [], streams: new Set(), decision: null, ...wishes };
  seed(world);
  const server = createServer((request, response) => answer(world, request, response));
  const timer = setInterval(() => tick(world), 1000);
  return new Promise((resolve) => server.listen(port, "127.0.0.1", () => resolve({
    world, address: `http://127.0.0.1:${server.address().port}`,
    close: () => { clearInterval(timer); for (const stream of world.streams) stream.destroy(); server.closeAllConnections(); server.close(); },
  })));
}

function seed(world) {
  const kinds = [["reload-applied", "revision 3f9c21 is in force"], ["started", "v42 began with staff"], ["step-passed", "staff have seen 1,204 requests, nothing worse"], ["step-began", "beta get 10 % of v42"]];
  kinds.forEach(([kind, sentence], at) => event(world, kind, sentence, { unixMs: world.began + at * 60_000 }));
}

let ids = 0;
function event(world, kind, sentence, more = {}) {
  const made = { id: ++ids, unixMs: Date.now(), kind, service: "shop", rollout: "v42", cohort: null, actor: null, reason: null, sentence: world.hostile ? `${sentence} ${HOSTILE}` : sentence, numbers: {}, runbook: null, ...more };
  world.events.unshift(made);
  send(world, "event", made, made.id);
  return made;
}

const names = (world) => ["shop", "search", "payments", "login", "mail", "feed", "video", "maps", "docs", "chat"].slice(0, world.many).map((name, at) => (world.hostile && at === 0 ? name : name));
const wave = (at, size, seed) => 1 + size * Math.sin(at / 7 + seed) + size * 0.6 * Math.sin(at / 2.3 + seed * 3);

function status(world) {
  return { schema: "ringway.status/v1", rev: "3f9c21", version: "0.1.0", phase: "serving", problem: world.hostile ? HOSTILE : null, loadedUnixSeconds: world.began / 1000, windowSeconds: 60,
    sentence: world.sentence ?? `${world.many} rollout${world.many > 1 ? "s" : ""}, ${world.bad ? "one" : "none"} failing; 1.4 % of users on a canary`,
    services: names(world).map((name) => ({ name, phase: phase(world, name), step: 2, steps: 6, cohorts: COHORTS.map((cohort) => {
      const share = weight(world, cohort);
      return { name: cohort, variants: [["stable", 1 - share, "v41"], ["canary", share, "v42"]].map(([variant, of, version]) => ({ name: variant, version: world.hostile ? HOSTILE : version, weight: of * 100, source: cohort === "beta" ? "rollout step 2/6; the file says 0" : "file", configuredShare: of, share: Math.min(1, of * wave(Date.now() / 3000, 0.02, 1)), rps: 812 * of, requests: Math.round(48_000 * of), errors: Math.round(33 * of), p50: 21, p95: 64, p99: 118, users: 8412 * of })) };
    }) })) };
}

const phase = (world, name) => (name === "shop" ? world.phase : ["progressing", "promoted", "paused", "awaiting-approval"][name.length % 4]);
const weight = (world, cohort) => (world.phase === "rolled-back" ? 0 : { staff: 1, beta: 0.1, asia: 0, everyone: 0 }[cohort]);

function rollouts(world) {
  const elapsed = (Date.now() - world.began) / 1000;
  return names(world).map((name) => {
    const isBad = name === "shop" && world.bad;
    const at = phase(world, name);
    const isBack = at === "rolled-back";
    const can = (word, enabled, reason) => ({ name: word, enabled, reason: enabled ? null : reason });
    return { schema: "ringway.rollout/v1", service: name, id: "v42", phase: at, why: isBack ? "errors of beta: 0.07 % → 31 %" : "step 2 of 6, 6m of 15m", to: "canary", from: "stable", toVersion: world.hostile ? HOSTILE : "v42", fromVersion: "v41", step: 2, steps: 6,
      plan: [["staff", 100], ["beta", 10], ["beta", 100], ["asia", 50], null, ["everyone", [1, 5, 10, 25, 50, 100]]].map((step, index) => ({ number: index + 1, cohort: step?.[0] ?? null, weight: typeof step?.[1] === "number" ? step[1] : null, ramp: Array.isArray(step?.[1]) ? step[1] : null, approve: step ? null : ["release-managers"], hold: 900, window: index === 3 ? "tokyo-nights" : null, state: at === "promoted" || index < 1 ? "done" : index === 1 ? "current" : "next" })),
      stepElapsedSeconds: elapsed % 900, stepHoldSeconds: 900, elapsedSeconds: elapsed, runbook: world.hostile ? "javascript:window.hacked=1" : "https://runbooks.example.com/shop",
      cohorts: COHORTS.map((cohort) => ({ name: cohort, share: weight(world, cohort), fileShare: 0, shown: `${weight(world, cohort) * 100} % (rollout step 2/6; the file says 0)`, users: Math.round(8412 * weight(world, cohort)), requests: Math.round(27_301 * weight(world, cohort)), probes: 0 })),
      gates: [
        gate("errors", "beta", isBad ? "harm" : "pass", isBad ? 27.4 : 1.3 + 0.4 * wave(elapsed, 0.5, 1), world.hostile ? HOSTILE : isBad ? "canary 31 % of 1,204 failed, stable 0.07 %" : "no worse than stable", [0.0007, isBad ? 0.31 : 0.0009 * wave(elapsed, 0.1, 2)], isBad ? 0.3 : 0.0002 * wave(elapsed, 0.4, 1), 0.005),
        { ...gate("latency", "beta", "pass", 0.4, "no slower than stable", [0.01, 0.012], 0.002, 0.02), slow: { quantile: 0.99, stableMs: 118, limitMs: 142 } },
        gate("sampleRatio", "beta", "waiting", 0.1, "312 of 1,000 requests", null, null, null)],
      actions: [can("promote", !isBack && at !== "promoted", "it is over"), can("promote-full", !isBack, "it is rolled back"), can("pause", at === "progressing", `it is ${at}`), can("resume", at === "paused", "it is not paused"), can("rollback", !isBack, "it is rolled back already"), can("retry", isBack, "nothing was taken back"), can("approve", at === "awaiting-approval", "no step waits for a person"), can("skip", !isBack, "it is rolled back"), can("set-weight", true)],
      decision: name === "shop" ? world.decision : null };
  });
}

function gate(name, cohort, verdict, evidence, text, rates, value, limit) {
  const side = (rate, of) => ({ events: Math.round(rate * of), of, rate });
  return { name, cohort, verdict, evidence, needed: 20, text, unit: "rate", stable: rates ? side(rates[0], 243_720) : null, canary: rates ? side(rates[1], 27_301) : null, difference: value === null ? null : { value, low: value - Math.abs(value) * 0.4 - 0.0004, high: value + Math.abs(value) * 0.4 + 0.0004, alpha: 0.05 }, limit, slow: null };
}

/** What Ringway does by itself when the canary is bad. */
export function takeBack(world) {
  world.bad = true;
  world.badSince = Date.now() - 60_000;
  world.phase = "rolled-back";
  world.sentence = undefined;
  const sentence = `${world.hostile ? `${HOSTILE} ` : ""}errors of beta: canary 31 % of 1,204 requests failed, stable 0.07 %; taken back after 18 s`;
  world.decision = { unixMs: Date.now() - 20_000, sentence, cohort: "beta", gate: "errors", numbers: { evidence: 27.4, needed: 20, canaryErrors: 373, canaryRequests: 1204, secondsToDetect: 18 }, samples: Array.from({ length: 5 }, (_, at) => ({ unixMs: Date.now() - 22_000 + at * 300, status: 500, path: world.hostile ? HOSTILE : `/checkout/${at}`, variant: "canary", cohort: "beta", durationMs: 214 + at, trace: "4bf92f3577b34da6a3ce929d0e0e4736" })) };
  event(world, "rolled-back", sentence, { cohort: "beta" });
}

function series(world, query) {
  const points = Number(query.get("points") ?? 300);
  const seconds = { "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "6h": 21600 }[query.get("window")] ?? 900;
  const [stepSeconds, to] = [seconds / points, Math.floor(Date.now() / 1000)];
  const make = (variant, bad, of) => {
    const time = (at) => to - seconds + (at + 1) * stepSeconds;
    const isBad = (at) => bad && world.badSince && time(at) * 1000 > world.badSince && (!world.decision || time(at) * 1000 < world.decision.unixMs + 4000);
    const list = (make) => Array.from({ length: points }, (_, at) => make(Math.floor(time(at) / stepSeconds), at));
    const requests = list((at) => Math.round(of * 90 * stepSeconds * wave(at, 0.08, of)));
    return { name: variant, requests, errors: list((at, index) => Math.round(requests[index] * (isBad(index) ? 0.31 : 0.004 * Math.abs(wave(at, 0.9, of + 2))))), p50: list((at, index) => 21 * wave(at, 0.03, of) * (isBad(index) ? 1.6 : 1)), p95: list((at) => 64 * wave(at, 0.05, of + 1)), p99: list((at, index) => 118 * wave(at, 0.08, of + 3) * (isBad(index) ? 2.1 : 1)), share: list((at) => of * wave(at, 0.04, 1)), weight: list(() => of) };
  };
  return { schema: "ringway.series/v1", service: query.get("service"), cohort: query.get("cohort"), stepSeconds, fromUnixSeconds: to - seconds, toUnixSeconds: to, variants: [make("stable", false, 0.9), make("canary", true, 0.1)], marks: [{ unixMs: world.began + 180_000, kind: "step-began", text: "beta 10 %" }, ...(world.decision ? [{ unixMs: world.decision.unixMs, kind: "rolled-back", text: "taken back" }] : [])], difference: null };
}

function distribution(world, query) {
  const isThin = query.get("cohort") === "asia" || world.thin;
  const edges = Array.from({ length: 40 }, (_, at) => 2 * 1.2 ** at);
  const bell = (middle, n) => edges.map((leMs) => ({ leMs, count: Math.round(n * 0.12 * Math.exp(-((Math.log(leMs) - Math.log(middle)) ** 2) / 0.35)) }));
  const qs = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999];
  return { schema: "ringway.distribution/v1", needed: { requests: 1000, have: isThin ? 312 : 27_301 }, variants: [["stable", 24, 243_720], ["canary", 26, isThin ? 312 : 27_301]].map(([name, middle, n]) => ({ name, n, quantiles: qs.map((q) => ({ q, ms: middle * (1 + 5 * q ** 8) })), codes: [{ code: "200", count: Math.round(n * 0.99) }, { code: "404", count: Math.round(n * 0.008) }, { code: "503", count: Math.round(n * (name === "canary" ? 0.002 : 0.0007)) }, { code: world.hostile ? HOSTILE : "5xx-reset", count: Math.round(n * 0.0001) }], histogram: bell(middle, n) })), quantileDifference: qs.map((q) => ({ q, ms: 2 + 6 * q ** 6, low: -1 + 2 * q, high: 4 + 16 * q ** 6 })) };
}

function explain(world, body) {
  const answers = body.requests.map((asked) => {
    const key = asked.headers?.["x-user-id"] ?? "127.0.0.1";
    const bucket = [...String(key)].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0) * 7919) % 1_000_000, 17);
    const isStaff = asked.headers?.["x-employee"] === "1" || asked.curl?.includes("x-employee: 1");
    const share = body.weights ? body.weights.weight / 100 : 0.1;
    return { schema: "ringway.explain/v1", service: "shop", route: "default", cohort: isStaff ? "staff" : "beta", variant: isStaff || bucket < share * 1e6 ? "canary" : "stable", reason: isStaff ? "cohort" : "split", bucket, userKey: { from: "header x-user-id", present: Boolean(asked.headers?.["x-user-id"]) }, shares: [], refused: null, redirect: null, rev: "3f9c21", trace: [{ step: "route", holds: null, text: "default leads to service shop", parts: [] }, { step: "cohort", holds: isStaff, text: "staff", parts: [{ step: "condition", holds: isStaff, text: world.hostile ? HOSTILE : `header x-employee is 1: saw ${JSON.stringify(asked.headers?.["x-employee"] ?? null)}`, parts: [] }] }, { step: "bucket", holds: null, text: `${bucket} of 1000000 (salt: v42)`, parts: [] }] };
  });
  return { schema: "ringway.explain-batch/v1", answers };
}

const FILE = "services:\n  shop:\n    hashOn: [{ header: x-user-id }, clientIP]\n    variants:\n      stable: { weight: 95, version: v41, endpoints: [\"127.0.0.1:3001\"] }\n      canary: { weight: 5, version: v42, endpoints: [\"127.0.0.1:3002\"] }\n";

const GETS = {
  "/session": (world) => ({ schema: "ringway.session/v1", actor: world.hostile ? HOSTILE : "anna", role: world.role, groups: [], readOnly: world.readOnly, csrf: "c5rf", demo: world.demo }),
  "/status": status,
  "/rollouts": (world) => ({ schema: "ringway.rollouts/v1", rollouts: rollouts(world) }),
  "/history": (world) => ({ rollouts: [["shop", "v42", "running", 0.005, null], ["shop", "v41", "promoted", 3, 2.1], ["search", "r7", "rolled-back", 5, 4.99], ["shop", "v40", "rolled-back", 9, 8.98], ["search", "r6", "promoted", 12, 11], ["login", "k2", "superseded", 20, 19.5]].map(([service, id, outcome, began, ended]) => ({ service, id, outcome, startedUnixMs: Date.now() - began * 86_400_000, endedUnixMs: ended ? Date.now() - ended * 86_400_000 : null, cohort: outcome === "rolled-back" ? "beta" : null, sentence: { running: "step 2 of 6", promoted: "all steps done", "rolled-back": "errors of beta 0.07 % → 2.9 %", superseded: "the file's weights rule" }[outcome], timeToDetectSeconds: outcome === "rolled-back" ? 18 : null, usersExposed: 8412, actor: outcome === "superseded" ? "anna" : null })) }),
  "/events": (world, query) => ({ events: world.events.filter((of) => (!query.get("before") || of.id < Number(query.get("before"))) && (!query.get("service") || of.service === query.get("service"))) }),
  "/audit/verify": () => ({ ok: true, lines: 1204, problem: null }),
  "/services": (world) => ({ services: names(world).map((name) => ({ name, variants: [["stable", "v41", 3001], ["canary", "v42", 3002]].map(([variant, version, port]) => ({ name: variant, version, inFlight: 3, endpoints: [0, 1].map((at) => ({ address: `127.0.0.1:${port + at * 10}`, state: at && variant === "canary" ? "ejected" : "ready", inFlight: 3 - at, lastError: at && variant === "canary" ? (world.hostile ? HOSTILE : "5 failed requests in a row: connection refused") : null, isDrained: false })) })), cohorts: [], fallback: "stable", hashOn: ["header x-user-id", "cookie uid", "clientIP"], mirror: name === "shop", override: false })) }),
  "/series": series,
  "/distribution": distribution,
  "/log-level": (world) => ({ schema: "ringway.log-level/v1", result: "unchanged", level: world.level ?? "info" }),
  "/mirror/shop": (world) => ({ to: "canary", share: 0.1, requests: { compared: 1204, failed: 2, dropped: 0 }, differences: { status: 3, headers: 14, body: 9 }, last: [{ unixMs: Date.now() - 9000, method: "GET", path: world.hostile ? HOSTILE : "/cart", requestId: "r1", kinds: ["body"], primary: { variant: "stable", status: 200, ms: 21 }, mirror: { status: 200, ms: 24 }, places: [{ place: "body $.total", primary: "12.50", mirror: "12.5" }] }] }),
  "/config/file": (world) => ({ rev: "3f9c21", files: [{ name: "ringway.yaml", text: world.hostile ? `# ${HOSTILE}\n${FILE}` : FILE }] }),
  "/config/effective": (world) => ({ rev: "3f9c21", values: [["services.shop.variants.canary.weight", 5, "file", 6], ["services.shop.cohorts.beta.weights.canary", 10, "rollout step 2/6", null], ["listeners[0].limits.maxConnections", 10000, "default", null], ["services.shop.fallback", world.hostile ? HOSTILE : "stable", "default", null]].map(([path, value, source, line]) => ({ path, value, source, file: line ? "ringway.yaml" : null, line })) }),
};

const POSTS = {
  "/explain": explain,
  "/config/check": (world, body) => (body.text.includes("wieght") ? { valid: false, diagnostics: [{ code: "RW0102", severity: "error", file: "ringway.yaml", line: 6, column: 17, message: "unknown key `wieght`", help: "did you mean `weight`?" }], tests: { passed: 0, failed: 0 } } : { valid: true, diagnostics: [], tests: { passed: 5, failed: 0 } }),
  "/config/diff": (world, body) => ({ moves: body.text !== FILE, services: body.text === FILE ? [] : [{ name: "shop", users: 100_000, moves: [{ from: { cohort: "everyone", variant: "stable" }, to: { cohort: "everyone", variant: "canary" }, users: 2854 }] }] }),
  "/demo/canary": (world, body) => { world.bad = body.errors > 0; if (world.bad) { world.badSince = Date.now(); setTimeout(() => takeBack(world), 6000); } return {}; },
  "/reload": () => ({ result: "unchanged", rev: "3f9c21" }),
};

function answer(world, request, response) {
  const url = new URL(request.url, "http://localhost");
  if (!url.pathname.startsWith("/api/")) return file(url, response);
  const path = url.pathname.slice("/api/v1".length);
  const reply = (code, value, headers = {}) => { response.writeHead(code, { "content-type": code < 400 ? "application/json" : "application/problem+json", "cache-control": "no-store", ...headers }); response.end(JSON.stringify(value)); };
  if (world.broken?.test(path)) return reply(503, { title: "unavailable", detail: "the control thread takes no requests; see the log" });
  if (world.signedOut && !(request.method === "POST" && path === "/session")) return reply(401, { detail: "sign in first" });
  if (path === "/stream" || path === "/tap") return stream(world, path, response);
  if (request.method === "GET") {
    const one = path.match(/^\/rollouts\/([^/]+)$/);
    const past = path.match(/^\/rollouts\/([^/]+)\/differences$/);
    if (past) return reply(200, { service: "shop", rollout: "v42", gate: url.searchParams.get("gate"), points: Array.from({ length: 120 }, (_, at) => ({ unixMs: Date.now() - (121 - at) * 5000, value: 0.001, low: -0.3 / (at + 5), high: 0.4 / (at + 5), limit: 0.005 })) });
    if (one) return reply(200, rollouts(world).find((of) => of.service === decodeURIComponent(one[1])), { etag: "\"1\"" });
    const found = GETS[path];
    return found ? reply(200, found(world, url.searchParams)) : reply(404, { detail: `no ${path}` });
  }
  let text = "";
  request.on("data", (part) => { text += part; });
  request.on("end", () => {
    const body = text === "" ? {} : JSON.parse(text);
    world.asked.push({ method: request.method, path: path + url.search, body, csrf: request.headers["x-ringway-csrf"], ifMatch: request.headers["if-match"] });
    if (path === "/session") {
      if (request.method === "DELETE") world.signedOut = true;
      else if (body.secret !== "s3cret") return reply(401, { detail: "this secret was used already, or is wrong" });
      else world.signedOut = false;
      return reply(200, GETS["/session"](world));
    }
    if (request.headers["x-ringway-csrf"] !== "c5rf") return reply(403, { detail: "the header x-ringway-csrf is missing" });
    const command = path.match(/^\/rollouts\/([^/]+)\/([^/]+)$/);
    if (command) return reply(...ask(world, command[2], body, url.searchParams.get("dryRun") === "true"));
    const found = POSTS[path];
    return found ? reply(200, found(world, body)) : reply(200, { result: "done", text: "done", undo: `ringway ready ${path}` });
  });
}

function ask(world, word, body, isDry) {
  if (world.role === "viewer") return [403, { detail: "your role is viewer; this needs operator" }];
  const text = `${word} of shop: ${body.cohort ?? "every cohort"} from v42 to v41`;
  if (isDry) return [200, { result: "would-do", text: `would ${text}`, undo: null, permanent: null }];
  world.phase = { rollback: "rolled-back", pause: "paused", resume: "progressing", retry: "progressing" }[word] ?? world.phase;
  event(world, word === "rollback" ? "rolled-back" : word, text, { actor: "anna", reason: body.reason ?? null });
  return [200, { result: "done", text, undo: "ringway retry shop", permanent: "services:\n  shop:\n    variants:\n      canary: { weight: 0 }\n" }];
}

function stream(world, path, response) {
  response.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
  response.path = path;
  response.write(": here\n\n");
  world.streams.add(response);
  response.on("close", () => world.streams.delete(response));
  if (path === "/stream") tick(world, response);
}

function send(world, name, data, id, only) {
  for (const stream of only ? [only] : world.streams) if (stream.path === (name === "request" ? "/tap" : "/stream")) stream.write(`${id ? `id: ${id}\n` : ""}event: ${name}\ndata: ${JSON.stringify(data)}\n\n`);
}

function tick(world, only) {
  if (!world.stream) return;
  send(world, "tick", { unixMs: Date.now(), status: status(world), rollouts: { schema: "ringway.rollouts/v1", rollouts: rollouts(world) } }, undefined, only);
  if (only) return;
  for (let at = 0; at < 8; at++) {
    const variant = Math.random() < 0.4 ? "canary" : "stable";
    send(world, "request", { unixMs: Date.now(), service: "shop", cohort: "beta", variant, reason: "split", method: "GET", path: world.hostile ? HOSTILE : ["/", "/cart", "/checkout", "/item/42"][at % 4], status: variant === "canary" && at % 4 === 2 ? 503 : 200, flags: "-", durationMs: 20 + Math.random() * 40, trace: "4bf92f35", requestId: "r", userBucket: 7 });
  }
}

const VERSION = "0123456789ab";
function file(url, response) {
  const name = url.pathname === "/" ? "index.html" : url.pathname.split("/").pop();
  const assets = readdirSync(FILES);
  if (!assets.includes(name)) return response.writeHead(404).end();
  let text = readFileSync(FILES + name, "utf8");
  if (name === "index.html") text = text.replace("{preload}", assets.filter((of) => of.endsWith(".js") && of !== "theme.js").map((of) => `<link rel="modulepreload" href="/assets/${VERSION}/${of}">`).join("\n")).replaceAll("{version}", VERSION);
  response.writeHead(200, { "content-type": TYPES[name.split(".").pop()], "content-security-policy": POLICY, "cache-control": "no-cache", "x-content-type-options": "nosniff" });
  response.end(text);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { world, address } = await start(Number(process.argv[2] ?? 0));
  if (process.argv[3] === "bad") takeBack(world);
  console.log(address);
}
