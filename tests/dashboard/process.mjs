// A real Ringway between two versions of a service, for one test.

import { spawn, execFileSync } from "node:child_process";
import { createServer, request } from "node:http";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

export const PROGRAM = process.env.RINGWAY ?? fileURLToPath(new URL("../../target/debug/ringway", import.meta.url));
const START_MS_MAX = 30_000;

/** A version of a service: says its name, and fails when it is told to. */
export async function version(name) {
  const state = { name, isBroken: false };
  const server = createServer((_, response) => {
    response.writeHead(state.isBroken ? 500 : 200, { "content-type": "text/plain" });
    response.end(name);
  });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return Object.assign(state, { address: `127.0.0.1:${server.address().port}`, close: () => { server.closeAllConnections(); server.close(); } });
}

/** A port that was free a moment ago. */
export async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

/** Runs the program until `close`; `line(pattern)` waits for something that it says. */
export function run(folder, ...words) {
  const child = spawn(PROGRAM, words, { cwd: folder, stdio: ["ignore", "pipe", "pipe"], env: { ...process.env, NO_COLOR: "1" } });
  let said = "";
  const waiting = new Set();
  const hear = (part) => {
    said += part;
    for (const look of waiting) look();
  };
  child.stdout.on("data", hear);
  child.stderr.on("data", hear);
  child.on("exit", () => hear(""));
  const line = (pattern) => new Promise((resolve, reject) => {
    const timer = setTimeout(() => done(null), START_MS_MAX);
    const done = (found) => {
      clearTimeout(timer);
      waiting.delete(look);
      if (found) resolve(found);
      else reject(new Error(`the program never said ${pattern}:\n${said}`));
    };
    const look = () => {
      const found = said.match(pattern);
      if (found || child.exitCode !== null) done(found);
    };
    waiting.add(look);
    look();
  });
  const close = () => new Promise((resolve) => {
    if (child.exitCode !== null) return resolve();
    child.on("exit", resolve);
    child.kill("SIGKILL");
  });
  return { child, line, close, said: () => said };
}

export const tempFolder = () => mkdtempSync(join(tmpdir(), "ringway-dashboard-"));

/** A shop with a rollout that waits in its first step, its users, and the doors to it. */
export async function shop({ tokens = [], admin = "", hold = "1h", canaryVersion = "v42" } = {}) {
  const [stable, canary] = [await version("stable"), await version("canary")];
  const [listener, door, telemetry] = [await freePort(), await freePort(), await freePort()];
  const folder = tempFolder();
  const given = {};
  for (const [name, role] of tokens) {
    given[name] = execFileSync(PROGRAM, ["token", "admin", "--name", name, "--role", role, "--write", "tokens"], { cwd: folder, stdio: ["ignore", "pipe", "ignore"] }).toString().trim();
  }
  const further = [tokens.length > 0 ? "tokensFile: tokens" : "", admin].filter(Boolean).map((text) => `, ${text}`).join("");
  writeFileSync(join(folder, "ringway.yaml"), `listeners: [{ address: 127.0.0.1:${listener} }]
admin: { address: 127.0.0.1:${door}${further} }
telemetry: { address: 127.0.0.1:${telemetry} }
stateDir: state
services:
  shop:
    hashOn: [{ header: x-user-id }, clientIP]
    variants:
      stable: { weight: 100, version: v41, endpoints: ["${stable.address}"] }
      canary: { weight: 0, version: ${JSON.stringify(canaryVersion)}, endpoints: ["${canary.address}"] }
    cohorts: [{ name: staff, when: { header: { name: x-employee, exact: "1" } } }]
    rollout:
      id: v42
      to: canary
      steps: [{ cohort: everyone, ramp: [50, 100], hold: ${hold} }]
`);
  const program = run(folder, "run", "-c", "ringway.yaml");
  let users = 0;
  const visit = (path = "/", headers = {}) => new Promise((resolve) => {
    const asked = request({ host: "127.0.0.1", port: listener, path, headers: { host: "shop.example.com", "x-user-id": `u-${users++ % 500}`, ...headers } }, (response) => {
      let text = "";
      response.on("data", (part) => { text += part; });
      response.on("end", () => resolve({ status: response.statusCode, text }));
    });
    asked.on("error", () => resolve({ status: 0, text: "" }));
    asked.end();
  });
  const traffic = setInterval(() => { for (let at = 0; at < 4; at++) void visit(["/", "/cart", "/checkout", "/item"][at]); }, 50);
  const address = `http://127.0.0.1:${door}`;
  return { address, folder, program, stable, canary, tokens: given, visit,
    link: async () => (await program.line(/http:\/\/127\.0\.0\.1:\d+\/#secret=[\w-]+/))[0],
    isUp: () => eventually(async () => (await fetch(`${address}/`)).ok),
    close: async () => {
      clearInterval(traffic);
      await program.close();
      stable.close();
      canary.close();
      rmSync(folder, { recursive: true, force: true });
    } };
}

/** Asks as commands do: Node's `fetch` says that it is a browser. */
export const ask = (address, path, headers, body) => new Promise((resolve, reject) => {
  const asked = request(`${address}/api/v1/${path}`, { method: body ? "POST" : "GET", headers: { ...headers, ...(body && { "content-type": "application/json" }) } }, (response) => {
    let text = "";
    response.on("data", (part) => { text += part; });
    response.on("end", () => resolve(JSON.parse(text)));
  });
  asked.on("error", reject);
  asked.end(body);
});

/** Asks again until it holds, or the time is up. */
export async function eventually(holds, milliseconds = START_MS_MAX) {
  const until = Date.now() + milliseconds;
  for (;;) {
    if (await holds().catch(() => false)) return;
    if (Date.now() > until) throw new Error(`never came true: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}
