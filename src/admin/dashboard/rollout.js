// One release: is the canary worse, for whom, and how to stop it. The page for whoever was woken up.

import { h, outside } from "./dom.js";
import { change, linkTo } from "./state.js";
import { use, enc } from "./api.js";
import { live, lookKey } from "./live.js";
import { phase, verdict, meter, panel, table, right, shareBar, ring, choice, select, state, eventList } from "./parts.js";
import { overTime, plot, rolling, interval, look, timeText } from "./plot.js";
import { commandButton } from "./commands.js";
import { decisionPanel } from "./decision.js";
import { percent, count, ms, inUnit, differenceInUnit, versions, health, span, gatesByWeight, VERDICTS } from "./words.js";

export const WINDOW_SECONDS = { "1m": 60, "5m": 300, "15m": 900, "1h": 3600, "6h": 21600 };

export const rollout = {
  title: "Rollout",
  needsTick: true,
  /** Stands above the banners, which come and go. */
  heading(at) {
    const { service, found, known, names } = chosen(at);
    return service && !isMissing(at, service) ? heading(service, names, found, phase(found?.phase ?? known?.phase ?? "idle")) : null;
  },
  view(at) {
    const { service, found, known } = chosen(at);
    if (!service) return h("p", { class: "muted" }, "No service yet.");
    if (isMissing(at, service)) return missing(at.service, service);
    return found ? page(at, found, known) : without(at, service, known);
  },
};

function chosen(at) {
  const { rollouts, status } = live.tick;
  const names = status.services.map((service) => service.name);
  const service = names.includes(at.service) ? at.service : (rollouts[0]?.service ?? names[0]);
  return { service, names, found: rollouts.find((of) => of.service === service), known: status.services.find((of) => of.name === service) };
}

const isMissing = (at, service) => Boolean(at.service) && at.service !== service;

const missing = (name, other) => panel("No such service", {}, h("p", null, `There is no service “${name}” in the file now. `, h("a", linkTo("rollout", { service: other }), `See ${other}`)));

function without(at, service, known) {
  return [panel("No rollout", {}, h("p", { class: "muted" }, "This service has no rollout in the file: its weights are what the file says. Below is what came of them.")),
    plots(at, service, known, { from: "stable", to: "canary" }, null), events(service)];
}

function page(at, rollout, known) {
  const [kind, symbol, told] = health(rollout);
  const isTakenBack = rollout.phase === "rolled-back" && rollout.decision;
  const text = isTakenBack ? takenBack(rollout) : told;
  const roles = { from: rollout.from ?? "stable", to: rollout.to ?? "canary" };
  return [
    h("p", { class: `sentence live ${kind}`, key: "sentence", role: "status" }, h("span", { "aria-hidden": "true" }, `${symbol} `), text,
      rollout.runbook ? [" ", h("span", { class: "runbook" }, outside(rollout.runbook, "runbook ↗"))] : null),
    ring(rollout),
    decided(rollout, roles),
    h("div", { class: "columns", key: "columns" },
      h("div", { class: "wide-column" }, plots(at, rollout.service, known, roles, rollout)),
      h("div", { class: "side-column" }, gates(rollout, at.cohort), cohorts(rollout, roles), events(rollout.service))),
  ];
}

/** What Ringway decided about this release, or about the one before while this page is open. */
function decided(rollout, roles) {
  if (rollout.decision) return decisionPanel(rollout, roles, false);
  const before = live.decisions.get(rollout.service);
  return before && before.id !== rollout.id ? decisionPanel(before, roles, true) : null;
}

/** What became of it; why stands in the panel below. */
function takenBack({ decision, from, fromVersion }) {
  const whom = decision.cohort && decision.cohort !== "everyone" ? decision.cohort : "everybody";
  return `Taken back by Ringway ${span((live.tick.unixMs - decision.unixMs) / 1000)} ago: ${fromVersion || from || "stable"} serves ${whom} again.`;
}

/** ROLL BACK comes first and stands at the right end: whatever else comes and goes, it never moves. */
function heading(service, names, rollout, badge) {
  const has = (name) => rollout?.actions?.some((action) => action.name === name && action.enabled);
  const isPaused = rollout?.phase === "paused";
  return h("div", { class: "heading", key: "heading" },
    h("div", { class: "what" },
      names.length > 1 ? select("service", "service", names, service) : h("h1", null, service),
      rollout ? h("span", { class: "versions" }, versions(rollout)) : null, badge,
      rollout ? h("span", { class: "muted" }, `${rollout.id}, step ${rollout.step} of ${rollout.steps}`, rollout.elapsedSeconds ? `, for ${span(rollout.elapsedSeconds)}` : "") : null),
    rollout ? h("div", { class: "actions", role: "group", "aria-label": "commands" },
      commandButton(rollout, "rollback", { label: "ROLL BACK", className: "danger rollback" }),
      h("details", { class: "more" }, h("summary", { class: "button" }, "more"),
        h("div", { class: "menu-list" }, ["approve", "retry", "skip", "set-weight", "promote-full"].map((name) => commandButton(rollout, name)))),
      commandButton(rollout, isPaused ? "resume" : "pause"),
      commandButton(rollout, "promote"),
      has("retry") ? commandButton(rollout, "retry") : null,
      has("approve") ? commandButton(rollout, "approve", { className: "primary" }) : null) : null);
}

function plots(at, service, known, roles, rollout) {
  const window = WINDOW_SECONDS[at.window] ? at.window : "15m";
  const names = known?.cohorts.map((cohort) => cohort.name) ?? [];
  const cohort = names.includes(at.cohort) ? at.cohort : "";
  const answer = use(`/series?service=${enc(service)}&cohort=${enc(cohort)}&window=${window}&points=150`, Math.min(10_000, (WINDOW_SECONDS[window] / 150) * 1000 + 500));
  const series = answer.data;
  const tools = [
    choice("cohort", "cohort", [["", "all cohorts"], ...names], cohort),
    choice("window", "window", Object.keys(WINDOW_SECONDS), window)];
  return h("div", { class: "plots-frame", key: "plots" },
    h("div", { class: "toolbar" }, tools),
    state(answer, "series"),
    series ? grid(series, at, service, cohort, roles, rollout, answer) : null);
}

function grid(series, at, service, cohort, roles, rollout, answer) {
  const span = 5;
  const smooth = `each point is the last ${words(span * series.stepSeconds)}`;
  const isOld = answer.failure !== null;
  const overall = series.difference;
  const common = { series, roles, dim: isOld };
  const id = (name) => `${service}-${cohort || "all"}-${name}`;
  const asked = series.variants.filter((variant) => look(variant.name, roles) === "canary")
    .map((variant) => ({ name: `${variant.name} asked`, look: "asked", values: variant.weight ?? [] }));
  return h("div", { class: "plots live" },
    overTime({ ...common, id: id("errors"), title: "Error rate", format: (value) => percent(value), values: (variant) => rolling(variant.errors, variant.requests, span), note: [smooth, overall && `; over the window ${differenceInUnit(overall.value, "rate")} [${bare(overall.low, "rate")}, ${bare(overall.high, "rate")}]`], top: 0.005 }),
    difference(rollout, cohort, at, service, isOld),
    overTime({ ...common, id: id("p99"), title: "Latency p99", format: ms, values: (variant) => variant.p99 }),
    overTime({ ...common, id: id("p95"), title: "Latency p95", format: ms, values: (variant) => variant.p95 }),
    overTime({ ...common, id: id("p50"), title: "Latency p50", format: ms, values: (variant) => variant.p50 }),
    overTime({ ...common, id: id("share"), title: "Share, asked and actual", format: (value) => percent(value, 1), values: (variant) => variant.share, extra: asked, top: 0.02, only: asked.length > 0 ? (variant) => look(variant.name, roles) === "canary" : undefined }));
}

const words = (seconds) => (seconds < 60 ? `${Math.round(seconds)} s` : span(seconds));

/** The difference that a gate sees, with its band and limit: what the server has noted, and each second since. */
function difference(rollout, cohort, at, service, isOld) {
  const [from, to] = [rollout?.from ?? "stable", rollout?.to ?? "canary"];
  const gates = (rollout ? gatesByWeight(rollout) : []).filter((gate) => gate.difference && (!cohort || !gate.cohort || gate.cohort === cohort));
  const label = (gate) => `${gate.name}${gate.cohort ? ` in ${gate.cohort}` : ""}`;
  const gate = gates.find((of) => label(of) === at.gate) ?? gates[0];
  if (!gate) {
    return h("figure", { class: "plot empty", key: "difference" }, h("figcaption", null, h("span", { class: "plot-title" }, "Difference, canary − stable")),
      h("p", { class: "muted" }, rollout ? "No gate has enough data for a difference yet." : "There is no rollout, so no gate compares."));
  }
  const window = WINDOW_SECONDS[at.window] ? at.window : "15m";
  // when it is over, the end of what was seen is what one wants to see
  const isOver = ["promoted", "rolled-back", "superseded"].includes(rollout.phase);
  const past = use(`/rollouts/${enc(rollout.service)}/differences?gate=${enc(gate.name)}&cohort=${enc(gate.cohort ?? "")}&window=${isOver ? "6h" : window}`, 60_000);
  const known = past.data?.rollout === rollout.id ? past.data.points : [];
  const newest = known.at(-1)?.unixMs ?? -Infinity;
  const since = (isOver && known.length > 0 ? newest : live.tick.unixMs) - WINDOW_SECONDS[window] * 1000;
  const looks = [...known, ...(live.looks.get(lookKey(rollout, gate)) ?? []).filter((of) => of.unixMs > newest)].filter((of) => of.unixMs >= since);
  return h("div", { class: "plot-with-choice", key: "difference" },
    plot({
      id: `${service}-difference`, title: `Difference: ${label(gate)}`, dim: isOld,
      xs: looks.map((of) => of.unixMs), zero: true, formatX: timeText, limit: gate.limit ?? undefined, isClipped: true,
      lines: [{ name: "difference", look: "canary", values: looks.map((of) => of.value), low: looks.map((of) => of.low), high: looks.map((of) => of.high) }],
      format: (value) => differenceInUnit(value, gate.unit),
      note: `${to} − ${from} with its 95 % band; each step of the rollout counts anew`,
    }),
    gates.length > 1 ? h("select", { class: "over", "aria-label": "gate of the difference", value: label(gate), onchange: (event) => change({ gate: event.target.value }) }, gates.map((of) => h("option", { key: label(of), value: label(of) }, label(of)))) : null);
}

/** So many gates are shown with their numbers, and all that found something; the others have a line. */
const GATES_IN_FULL = 3;

function gates(rollout, cohort) {
  const all = gatesByWeight(rollout);
  const list = all.filter((gate) => !cohort || !gate.cohort || gate.cohort === cohort);
  return panel("Gates", { id: "gates", className: "live", tools: cohort ? h("span", { class: "muted" }, `of ${cohort}`) : null }, list.length === 0
    ? h("p", { class: "muted" }, "No gate has looked yet.")
    : h("ul", { class: "gates" }, list.map((gate, at) => (at < GATES_IN_FULL || gate.verdict === "harm" ? gateInFull(rollout, gate) : gateInBrief(gate)))));
}

const gateHead = (gate, ...more) => h("div", { class: "gate-head" }, h("b", null, gate.name), gate.cohort ? h("span", { class: "muted" }, ` ${gate.cohort}`) : null, more, verdict(gate.verdict));

function gateInBrief(gate) {
  const kind = VERDICTS[gate.verdict]?.[2] ?? "warn";
  return h("li", { key: `${gate.cohort}/${gate.name}`, class: kind, title: gate.text }, gateHead(gate, gate.verdict === "waiting" ? h("span", { class: "note brief" }, gate.text) : meter(gate.evidence, gate.needed, kind, true)));
}

function gateInFull(rollout, gate) {
  const band = gate.difference;
  const kind = VERDICTS[gate.verdict]?.[2] ?? "warn";
  const told = (value) => differenceInUnit(value, gate.unit);
  const label = () => `difference ${told(band.value)}, band ${told(band.low)} to ${told(band.high)}${Number.isFinite(gate.limit) ? `, limit ${told(gate.limit)}` : ""}`;
  const side = (look, name, tally) => h("span", { class: `key ${look}` }, name, " ", h("b", null, inUnit(tally.rate, gate.unit)), h("span", { class: "muted" }, ` of ${count(tally.of)}`));
  return h("li", { key: `${gate.cohort}/${gate.name}`, class: kind },
    gateHead(gate),
    gate.slow ? h("p", { class: "note" }, `slower than ${ms(gate.slow.limitMs)} (p${Math.round((gate.slow.quantile ?? 0) * 1000) / 10} of ${rollout.from ?? "stable"}: ${ms(gate.slow.stableMs)})`) : null,
    gate.stable?.of > 0 && gate.canary ? h("div", { class: "gate-sides num" }, side("stable", rollout.from ?? "stable", gate.stable), side("canary", rollout.to ?? "canary", gate.canary)) : null,
    band ? h("div", { class: "gate-difference num" }, interval({ ...band, limit: gate.limit, verdict: kind, label: label() }),
      h("span", null, told(band.value), h("span", { class: "muted" }, ` [${bare(band.low, gate.unit)}, ${bare(band.high, gate.unit)}]`))) : null,
    h("div", { class: "gate-evidence" }, h("span", { class: "muted" }, "evidence of harm "), meter(gate.evidence, gate.needed, kind)),
    gate.text ? h("p", { class: "note" }, gate.text) : null);
}

/** A difference whose unit stands next to it already. */
const bare = (value, unit) => differenceInUnit(value, unit).replace(/ (pp|ms|s)$/, "");

function cohorts(rollout, roles) {
  const rows = (rollout.cohorts ?? []).map((cohort) => h("tr", { key: cohort.name },
    h("th", { scope: "row" }, h("button", { class: "plain", onclick: () => change({ cohort: cohort.name }) }, cohort.name)),
    h("td", null, shareBar(cohort.share, look(roles.to, roles)), h("span", { class: "below" }, cohort.shown || "")),
    h("td", { class: "right num" }, count(cohort.users)),
    h("td", { class: "right num" }, count(cohort.requests))));
  return panel("Who has it", { id: "cohorts", className: "live" }, table(["cohort", `share of ${roles.to}`, right("users"), right("requests")], rows, { label: "cohorts of the rollout" }));
}

function events(service) {
  const stored = use(`/events?limit=50&service=${enc(service)}`, 30_000);
  const seen = new Map();
  for (const event of [...live.events, ...(stored.data?.events ?? [])]) if (event.service === service) seen.set(event.id, event);
  const list = [...seen.values()].sort((a, b) => b.id - a.id).slice(0, 30);
  return panel("Events", { id: "events", tools: h("a", linkTo("config", { tab: "events", service }), "all") }, list.length === 0 ? state(stored, "events") : null, eventList(list));
}
