// The frame around the pages: who is here, how old the data is, where to go, which keys there are.

import { h, render } from "./dom.js";
import { params, onRedraw, redraw, linkTo, go, preference, change } from "./state.js";
import { who, signIn, signOut, post, use, refusal } from "./api.js";
import { live, follow, age, isStale } from "./live.js";
import { show, hide, isOpen } from "./dialogs.js";
import { span, clock } from "./words.js";
import { ask, ability } from "./commands.js";
import { releases } from "./releases.js";
import { rollout } from "./rollout.js";
import { compare } from "./compare.js";
import { debug } from "./debug.js";
import { playground } from "./playground.js";
import { config } from "./config.js";
import { signInPage } from "./sign-in.js";

const PAGES = { releases, rollout, compare, debug, playground, config };
const root = document.getElementById("app");
let shown = null;
let hasFailed = null;

function draw() {
  follow();
  const at = params();
  const name = PAGES[at.page] ? at.page : "releases";
  const page = PAGES[name];
  if (shown && shown !== name) PAGES[shown].leave?.();
  shown = name;
  document.title = `${titleMark()}${at.service && name !== "releases" ? `${at.service} · ` : ""}${page.title} · Ringway`;
  document.body.classList.toggle("stale", isStale() && live.tick !== null);
  if (who.mustSignIn || (!who.session && hasFailed)) return render(root, top(null), signInPage(hasFailed, Boolean(who.session)));
  if (!who.session) return;
  render(root,
    h("a", { class: "skip", href: "#main", onclick: (event) => { event.preventDefault(); document.getElementById("main").focus(); } }, "skip to the page"),
    top(name, at), heading(page, at), banners(),
    h("main", { id: "main", tabindex: -1, class: `page ${name}`, key: `page-${name}` }, body(page, at)));
  if (!root.dataset.painted) {
    root.dataset.painted = "yes";
    performance.mark("ringway-first-view");
  }
}

function heading(page, at) {
  return page.heading && live.tick ? page.heading(at) : null;
}

/** A page that fails must not take the others, or the way back, with it. */
function body(page, at) {
  try {
    return live.tick === null && page.needsTick ? h("p", { class: "muted" }, "asking for the state…") : page.view(at);
  } catch (failure) {
    console.error(failure);
    return h("p", { class: "problem", role: "alert" }, `⚠ this page cannot be drawn: ${failure.message}`);
  }
}

function titleMark() {
  if (live.tick?.rollouts.some((of) => of.phase === "rolled-back" || of.gates?.some((gate) => gate.verdict === "harm"))) return "✖ ";
  return live.tick && isStale() ? "⚠ " : "";
}

function top(name, at) {
  const session = who.mustSignIn ? null : who.session;
  const keep = at?.service ? { service: at.service } : {};
  return h("header", { class: "top", key: "top" },
    h("a", { class: "brand", ...linkTo("releases") }, h("span", { class: "logo", "aria-hidden": "true" }), "Ringway"),
    name ? h("nav", { "aria-label": "pages" }, Object.entries(PAGES).map(([key, page], index) =>
      h("a", { key, ...linkTo(key, key === "releases" ? {} : keep), "aria-current": key === name ? "page" : undefined, title: `${page.title} (${index + 1})` }, page.title))) : null,
    h("div", { class: "tools" },
      session ? freshness() : null,
      session ? h("span", { class: "who", title: `signed in as ${session.actor}, role ${session.role}` }, session.readOnly ? "read-only" : session.role, h("span", { class: "actor" }, ` ${session.actor ?? ""}`)) : null,
      h("button", { class: "small", title: "dark or light (t)", "aria-label": "dark or light", onclick: turn }, "◐"),
      h("button", { class: "small", title: "keys (?)", "aria-label": "keys", onclick: keys }, "?"),
      session ? h("button", { class: "small", title: "sign out", onclick: signOut }, "Sign out") : null));
}

/** How old the numbers are: always there, and not by colour alone. */
function freshness() {
  if (!live.tick) return h("span", { class: "fresh wait", role: "status" }, "◌ connecting");
  const seconds = age() / 1000;
  if (isStale()) return h("span", { class: "fresh bad", "data-fresh": "stale" }, `⚠ STALE, ${span(seconds)} old`);
  return h("span", { class: "fresh good", "data-fresh": "live", title: `data of ${clock(live.tick.unixMs)}` }, "● live, ", h("span", { class: "num" }, `${seconds.toFixed(0)} s`), " old");
}

function banners() {
  const status = live.tick?.status;
  const session = who.session;
  return h("div", { class: "banners", key: "banners", "aria-live": "polite" },
    live.tick && isStale() ? h("p", { class: "banner bad", key: "stale", role: "alert" },
      `⚠ No news from Ringway since ${clock(live.tick.unixMs)}. The numbers below are old and marked; traffic goes on by the last known state. Trying again…`) : null,
    status?.problem ? h("p", { class: "banner warn", key: "problem" }, `⚠ The file on disk is not in force: ${problemText(status.problem)} `, h("a", linkTo("config", { tab: "check" }), "see what is wrong")) : null,
    status?.phase === "draining" ? h("p", { class: "banner warn", key: "draining" }, "‖ This process is draining: it finishes what is in flight and ends.") : null,
    session.readOnly ? h("p", { class: "banner calm", key: "read-only" }, "• Read-only: nothing can be changed here. Changes are made in the file.") : null,
    session.demo ? demo() : null);
}

const problemText = (problem) => (typeof problem === "string" ? problem : problem.message ?? problem.text ?? "see Config and events");

const sample = { isBroken: false, of: null, failure: null, isBusy: false };

function demo() {
  const rollouts = live.tick?.rollouts ?? [];
  const isBack = rollouts.some((of) => of.phase === "rolled-back");
  // the demo heals by itself what it releases next
  const release = rollouts[0]?.id ?? null;
  if (sample.isBroken && sample.of !== release) sample.isBroken = false;
  const cannot = refusal("operator");
  const set = async (isBroken) => {
    if (cannot) return;
    sample.isBusy = true;
    redraw();
    try {
      await post("/demo/canary", isBroken ? { errors: 0.3, delayMs: 200 } : { errors: 0, delayMs: 0 });
      Object.assign(sample, { isBroken, of: release });
      sample.failure = null;
    } catch (failure) {
      sample.failure = failure;
    }
    sample.isBusy = false;
    redraw();
  };
  return h("div", { class: `banner demo${sample.isBroken ? " broken" : ""}`, key: "demo" },
    h("span", null, h("b", null, "Demo. "),
      sample.failure ? `✖ ${sample.failure.message}` : sample.isBroken && !isBack ? "The canary now fails three requests in ten. Watch the judge find out." : sample.isBroken ? "Taken back by itself; why stands on the Rollout page. The next version comes in a few seconds." : "Sample users, a sample service, and a release that moves by itself."),
    h("button", { class: sample.isBroken ? "" : "danger", "data-demo": "break", "aria-pressed": String(sample.isBroken), disabled: sample.isBusy, "aria-disabled": cannot ? "true" : undefined, title: cannot ?? "", onclick: () => set(!sample.isBroken) },
      sample.isBroken ? "✔ Heal the canary" : "✖ Make the canary bad"));
}

function turn() {
  const now = document.documentElement.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light");
  const next = now === "dark" ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  preference("theme", next);
  redraw();
}

const KEYS = [
  ["1 … 6", "pages: Releases, Rollout, Compare, Debug, Playground, Config and events"],
  ["b", "roll back (asks once; Enter confirms)"],
  ["p", "pause or resume"],
  ["m", "promote to the next step"],
  ["a", "approve"],
  ["j  k", "next and previous service"],
  ["[  ]", "shorter and longer window"],
  ["/", "the first field of the page"],
  ["t", "dark or light"],
  ["?", "this list"],
  ["Esc", "closes a dialog"],
];

const hasKeys = () => preference("keys") !== "off";

function keys() {
  show("Keys", () => h("div", { class: "body" },
    h("dl", { class: "keys" }, KEYS.map(([key, text]) => [h("dt", null, h("kbd", null, key)), h("dd", null, text)])),
    h("p", null, "In a plot, the arrow keys move along its time."),
    h("label", { class: "check" }, h("input", { type: "checkbox", checked: hasKeys(), onchange: (event) => { preference("keys", event.target.checked ? null : "off"); redraw(); } }), " keys without a modifier are on"),
    h("p", { class: "buttons" }, h("button", { "data-focus": true, class: "primary", onclick: hide }, "Close"))));
}

export const WINDOWS = ["1m", "5m", "15m", "1h", "6h"];

function pressed(event) {
  const isTyping = event.target.closest?.("input, textarea, select, [contenteditable]");
  if (isTyping || isOpen() || event.ctrlKey || event.metaKey || event.altKey || !who.session || !hasKeys()) return;
  const at = params();
  const rollouts = live.tick?.rollouts ?? [];
  const chosen = rollouts.find((of) => of.service === at.service) ?? (rollouts.length === 1 || at.page === "rollout" ? rollouts[0] : null);
  const command = (...names) => {
    if (!chosen) return go("releases");
    ask(chosen, names.find((name) => ability(chosen, name).enabled) ?? names[0]);
  };
  const actions = {
    "?": keys, t: turn, b: () => command("rollback"), p: () => command("pause", "resume"), m: () => command("promote"), a: () => command("approve"),
    j: () => service(at, 1), k: () => service(at, -1), "[": () => wider(at, -1), "]": () => wider(at, 1),
    "/": () => document.querySelector("main input, main textarea, main select")?.focus(),
  };
  const page = Object.keys(PAGES)[Number(event.key) - 1];
  const action = actions[event.key] ?? (page ? () => go(page, at.service && page !== "releases" ? { service: at.service } : {}) : null);
  if (!action) return;
  event.preventDefault();
  action();
}

function service(at, by) {
  const names = (live.tick?.status.services ?? []).map((of) => of.name);
  if (names.length === 0) return;
  const now = Math.max(0, names.indexOf(at.service));
  const next = names[(now + by + names.length) % names.length];
  if (!at.page || at.page === "releases") go("rollout", { service: next });
  else change({ service: next, cohort: undefined });
}

function wider(at, by) {
  const now = Math.max(0, WINDOWS.indexOf(at.window ?? "15m"));
  change({ window: WINDOWS[Math.min(WINDOWS.length - 1, Math.max(0, now + by))] });
}

async function begin() {
  const secret = new URLSearchParams(location.hash.slice(1)).get("secret");
  // the secret must not stay in the address, nor in the history
  if (secret) history.replaceState(null, "", location.pathname + location.search);
  try {
    await signIn(secret ?? undefined);
  } catch (failure) {
    // a secret that was used is no harm to somebody who has the cookie already
    if (secret) await signIn().catch(() => { hasFailed = failure; });
    else hasFailed = failure.status === 401 ? null : failure;
    if (failure.status === 0) setTimeout(begin, 2000);
  }
  if (who.session) hasFailed = null;
  redraw();
}

addEventListener("keydown", pressed);
onRedraw(draw);
begin();
