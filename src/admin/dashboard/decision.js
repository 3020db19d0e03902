// What Ringway decided by itself, and on what: for the incident's report.

import { h } from "./dom.js";
import { use, enc } from "./api.js";
import { panel, table, right, copyable, state } from "./parts.js";
import { overTime, rolling } from "./plot.js";
import { clock, utc, percent, ms, versions, count } from "./words.js";

const AROUND_MS = { before: 5 * 60_000, after: 2 * 60_000 };
const SAMPLES_SHOWN = 8;
const FRESH_MS = 90_000;
const WINDOWS = [["15m", 900], ["1h", 3600], ["6h", 21600]];

/** `isBefore`: of an earlier release, as it was when it was last seen. */
export function decisionPanel(rollout, roles, isBefore) {
  const { decision } = rollout;
  const isBack = rollout.phase === "rolled-back" || decision.kind === "rolled-back";
  const did = isBack ? "Ringway took it back by itself" : "Ringway found harm";
  const told = h("p", { class: "verdict bad" }, h("b", null, `✖ ${clock(decision.unixMs)} `), decision.sentence);
  const content = [
    h("dl", { class: "facts" },
      fact("cohort", decision.cohort ?? "all"), fact("gate", decision.gate ?? "–"),
      further(decision).map(([name, value]) => fact(name.replaceAll(/([a-z])([A-Z])/g, "$1 $2").toLowerCase(), text(value)))),
    chart(rollout, roles), samples(decision)];
  const title = isBefore ? `The release before, ${rollout.toVersion || rollout.id}: ${did}` : did;
  // what is over steps back after a while, and is still there
  const isFresh = Date.now() - decision.unixMs < FRESH_MS;
  return panel(title, { id: "decision", className: "decision", tools: copyable(summary(rollout), "copy incident summary", true) },
    isBefore ? h("details", { open: isFresh }, h("summary", null, told), content) : [told, content]);
}

function samples(decision) {
  const all = decision.samples ?? [];
  const shown = all.slice(0, SAMPLES_SHOWN);
  return [
    h("h3", null, `Requests that failed (the last ${shown.length} of ${all.length} samples)`),
    table(["at", right("status"), "path", "variant", "cohort", right("took"), "trace"], shown.map((sample, at) => h("tr", { key: at },
      h("td", { class: "num" }, clock(sample.unixMs)), h("td", { class: "right num" }, text(sample.status)), h("td", { class: "path" }, sample.path),
      h("td", null, sample.variant), h("td", null, sample.cohort), h("td", { class: "right num" }, ms(sample.durationMs)), h("td", { class: "path" }, sample.trace ?? "–"))),
    { label: "samples of failed requests", empty: "none were kept" })];
}

/** Numbers that do not stand elsewhere; of evidence the sentence tells, and not by its logarithm. */
const further = (decision) => Object.entries(decision.numbers ?? {}).filter(([name]) => name !== "gate" && name !== "cohort" && !/^ln\b|^ln[A-Z]/.test(name));

const fact = (name, value) => h("div", { key: name }, h("dt", null, name), h("dd", null, value));
const text = (value) => (typeof value === "number" ? (Number.isInteger(value) ? count(value) : String(Math.round(value * 1e4) / 1e4)) : typeof value === "object" ? JSON.stringify(value) : String(value));

function chart(rollout, roles) {
  const { decision } = rollout;
  const age = (Date.now() - decision.unixMs + AROUND_MS.before) / 1000;
  const window = WINDOWS.find(([, seconds]) => seconds >= age);
  if (!window) return h("p", { class: "muted" }, "The decision is longer ago than what is kept for charts (6 h).");
  const answer = use(`/series?service=${enc(rollout.service)}&cohort=${enc(decision.cohort ?? "")}&window=${window[0]}&points=900`, age < 300 ? 3000 : 60_000);
  if (!answer.data) return state(answer, "chart of the decision");
  const series = around(answer.data, decision.unixMs);
  // the second of the decision may not be over yet, and has no point then
  const last = (series.fromUnixSeconds + (series.variants[0]?.requests.length ?? 0) * series.stepSeconds) * 1000;
  const mark = [{ unixMs: Math.min(decision.unixMs, last), kind: "rolled-back", text: decision.sentence }];
  const common = { series: { ...series, marks: mark }, roles, height: 140, focus: decision.unixMs };
  return h("div", { class: "plots two" },
    overTime({ ...common, id: `${rollout.service}-decision-errors`, title: "Error rate at the decision", format: (value) => percent(value), values: (variant) => rolling(variant.errors, variant.requests, 5) }),
    overTime({ ...common, id: `${rollout.service}-decision-p99`, title: "p99 at the decision", format: ms, values: (variant) => variant.p99 }));
}

/** The part of a series from some minutes before a moment to some after it. */
function around(series, unixMs) {
  const at = (time) => Math.floor((time / 1000 - series.fromUnixSeconds) / series.stepSeconds);
  const total = series.variants[0]?.requests.length ?? 0;
  const first = Math.max(0, at(unixMs - AROUND_MS.before));
  const end = Math.min(total, Math.max(first + 2, at(unixMs + AROUND_MS.after)));
  const cut = (variant) => Object.fromEntries(Object.entries(variant).map(([name, value]) => [name, Array.isArray(value) ? value.slice(first, end) : value]));
  return { ...series, fromUnixSeconds: series.fromUnixSeconds + first * series.stepSeconds, variants: series.variants.map(cut) };
}

/** Plain text for a chat or a ticket. */
function summary(rollout) {
  const { decision } = rollout;
  const lines = [
    `Incident: ${rollout.service} ${versions(rollout)} (rollout ${rollout.id}) ${rollout.phase === "rolled-back" ? "was rolled back by Ringway" : "does harm"}`,
    `When: ${utc(decision.unixMs)}`,
    `Whom: ${decision.cohort ? `cohort ${decision.cohort}` : "every cohort"}`,
    `Why: ${decision.sentence}`,
    `Gate: ${decision.gate ?? "none"}`,
    ...further(decision).map(([name, value]) => `  ${name}: ${text(value)}`),
    `State now: ${rollout.phase}, ${rollout.why ?? ""}`,
    ...(rollout.cohorts ?? []).map((cohort) => `  ${cohort.name}: ${percent(cohort.share)} on ${rollout.to}, ${count(cohort.users)} users had it, ${count(cohort.requests)} requests`),
    "Sample failing requests:",
    ...(decision.samples ?? []).slice(0, 10).map((sample) => `  ${utc(sample.unixMs)} ${sample.status} ${sample.path} ${sample.variant}/${sample.cohort} ${ms(sample.durationMs)} trace ${sample.trace ?? "-"}`),
  ];
  if (rollout.runbook) lines.push(`Runbook: ${rollout.runbook}`);
  return `${lines.join("\n")}\n`;
}
