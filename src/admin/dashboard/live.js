// The state of the process, once a second, by server-sent events; and how old it is.

import { redraw } from "./state.js";
import { who, refresh, signIn } from "./api.js";

/** Older than this, nothing is shown as live. */
const STALE_MS = 3500;
/** Events and looks at the gates that are kept. */
const EVENTS_MAX = 200;
const LOOKS_MAX = 900;
const GATES_MAX = 500;

export const live = {
  /** `{unixMs, status, rollouts}` of the last tick. */
  tick: null,
  /** Newest first. */
  events: [],
  /** When the last tick came whose time had moved on, by this browser's clock. */
  at: -Infinity,
  /** Each gate's difference, second by second since this page was opened, beyond what the server has noted; by `lookKey`. */
  looks: new Map(),
  /** The last rollout of each service about which Ringway decided by itself: its page outlives the next release. */
  decisions: new Map(),
};

let source = null;
let retry = 0;
let timer = 0;

/** Milliseconds since the last fresh tick. */
export const age = () => performance.now() - live.at;
export const isStale = () => age() > STALE_MS;

/** Opens the stream when it is wanted and closes it when nobody looks: a browser has few connections to one host. */
export function follow() {
  const isWanted = who.session !== null && !who.mustSignIn && !document.hidden;
  if (isWanted && source === null) open();
  if (!isWanted && source !== null) close();
}

function open() {
  clearTimeout(timer);
  source = new EventSource("/api/v1/stream");
  source.addEventListener("tick", (message) => {
    const tick = read(message.data);
    if (!tick) return;
    retry = 0;
    // a server whose clock stands still sends old news
    if (!live.tick || tick.unixMs !== live.tick.unixMs) live.at = performance.now();
    live.tick = { ...tick, rollouts: tick.rollouts?.rollouts ?? tick.rollouts ?? [] };
    keepLooks(live.tick);
    redraw();
  });
  source.addEventListener("event", (message) => {
    const event = read(message.data);
    if (!event || live.events.some((known) => known.id === event.id)) return;
    live.events.unshift(event);
    live.events.length = Math.min(live.events.length, EVENTS_MAX);
    refresh("/history");
    refresh("/series");
    redraw();
  });
  source.onerror = () => {
    // the browser comes back by itself from a broken connection, but not from an answer that is no stream
    if (source?.readyState === EventSource.CLOSED) {
      close();
      timer = setTimeout(again, Math.min(1000 * 2 ** retry++, 10_000));
    }
    redraw();
  };
}

/** A stream that was refused may be a session that has ended: then the page says so. */
async function again() {
  await signIn().catch(() => {});
  follow();
}

function close() {
  source?.close();
  source = null;
}

function read(text) {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

/** Each release has looks of its own. */
export const lookKey = (rollout, gate) => `${rollout.service}/${rollout.id}/${gate.cohort}/${gate.name}`;

function keepLooks(tick) {
  for (const rollout of tick.rollouts) {
    for (const gate of rollout.gates ?? []) {
      if (!gate.difference) continue;
      const key = lookKey(rollout, gate);
      const looks = live.looks.get(key) ?? [];
      const last = looks.at(-1);
      // what counts no more is not drawn on and on
      if (last && ["value", "low", "high"].every((name) => last[name] === gate.difference[name])) continue;
      looks.push({ unixMs: tick.unixMs, limit: gate.limit, ...gate.difference });
      if (looks.length > LOOKS_MAX) looks.shift();
      live.looks.set(key, looks);
      if (live.looks.size > GATES_MAX) live.looks.delete(live.looks.keys().next().value);
    }
    if (rollout.decision) live.decisions.set(rollout.service, rollout);
  }
}

document.addEventListener("visibilitychange", follow);
// the age is shown, so it must be drawn when nothing comes
setInterval(() => {
  if (who.session) redraw();
}, 1000);
