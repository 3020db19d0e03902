// Cohort by cohort: how the latencies of two variants are spread, where they differ, and which errors there were.

import { h } from "./dom.js";
import { use, enc } from "./api.js";
import { live } from "./live.js";
import { panel, choice, select, state, table, right } from "./parts.js";
import { plot, look } from "./plot.js";
import { WINDOW_SECONDS } from "./rollout.js";
import { count, ms, msDifference, percent, span } from "./words.js";

export const compare = {
  title: "Compare",
  needsTick: true,
  view(at) {
    const { status, rollouts } = live.tick;
    const names = status.services.map((of) => of.name);
    const service = status.services.find((of) => of.name === at.service) ?? status.services[0];
    if (!service) return h("p", { class: "muted" }, "No service yet.");
    const rollout = rollouts.find((of) => of.service === service.name);
    const roles = { from: rollout?.from ?? "stable", to: rollout?.to ?? "canary" };
    const cohorts = service.cohorts.map((of) => of.name);
    const chosen = cohorts.includes(at.cohort) ? [at.cohort] : cohorts;
    const window = WINDOW_SECONDS[at.window] ? at.window : "15m";
    return [
      h("div", { class: "toolbar", key: "toolbar" }, h("h1", null, "Compare"),
        select("service", "service", names, service.name),
        choice("cohort", "cohort", [["", "every cohort"], ...cohorts], cohorts.includes(at.cohort) ? at.cohort : ""),
        choice("window", "window", Object.keys(WINDOW_SECONDS), window)),
      mixed(rollout, window),
      ...chosen.map((cohort) => one(service.name, cohort, window, roles)),
    ];
  },
};

/** What was sent to the new version before this rollout began was another release. */
function mixed(rollout, window) {
  const elapsed = rollout?.elapsedSeconds;
  if (!Number.isFinite(elapsed) || elapsed >= WINDOW_SECONDS[window]) return null;
  return h("p", { class: "note", key: "mixed", role: "note" }, `⚠ ${rollout.id} began ${span(elapsed)} ago: these ${window} hold requests from before it, of whatever ${rollout.to} was then.`);
}

function one(service, cohort, window, roles) {
  const answer = use(`/distribution?service=${enc(service)}&cohort=${enc(cohort)}&window=${window}`, 5000);
  const data = answer.data;
  const title = `${cohort}${data ? `: ${data.variants.map((of) => `${of.name} ${count(of.n)}`).join(", ")} requests` : ""}`;
  if (!data) return panel(cohort, { id: cohort }, state(answer, "distribution"));
  const { requests = 0, have = 0 } = data.needed ?? {};
  const isThin = have < requests;
  return panel(title, { id: cohort, className: isThin ? "thin" : "live" },
    state(answer, "distribution"),
    isThin ? h("p", { class: "not-enough" }, `◌ not enough data (${count(have)} of ${count(requests)} requests): the plots below would be chance`) : null,
    h("div", { class: "plots" },
      isThin ? placeholder("Latency, overlaid", have, requests) : spread(service, cohort, data, roles),
      isThin ? placeholder("Difference by quantile", have, requests) : quantiles(service, cohort, data),
      codes(data, roles)));
}

const placeholder = (title, have, requests) => h("figure", { class: "plot empty", key: title }, h("figcaption", null, h("span", { class: "plot-title" }, title)),
  h("p", { class: "muted" }, `not enough data (${count(have)} of ${count(requests)})`));

/** The share of requests in each bucket of latency, both variants over one another, on a logarithmic axis. */
function spread(service, cohort, data, roles) {
  // buckets that hold next to nothing would make the axis long and the plot thin
  const filled = (of) => { const least = of.n * 2e-4; return (of.histogram ?? []).filter((bucket) => bucket.count > least); };
  const within = data.variants.flatMap(filled).map((bucket) => bucket.leMs).filter(Number.isFinite);
  const [shortest, longest] = [Math.min(...within), Math.max(...within)];
  const edges = [...new Set(data.variants.flatMap((of) => (of.histogram ?? []).map((bucket) => bucket.leMs)))].filter((edge) => edge >= shortest && edge <= longest).sort((a, b) => a - b);
  const lines = data.variants.map((of) => {
    const counts = new Map((of.histogram ?? []).map((bucket) => [bucket.leMs, bucket.count]));
    const all = [...counts.values()].reduce((sum, value) => sum + value, 0) || 1;
    const quantile = (q) => ms(of.quantiles?.find((one) => one.q === q)?.ms);
    return { name: of.name, look: look(of.name, roles), label: `p50 ${quantile(0.5)}, p99 ${quantile(0.99)}`, values: edges.map((edge) => (counts.get(edge) ?? 0) / all) };
  });
  const ticks = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000].filter((at) => at >= edges[0] && at <= edges[edges.length - 1]);
  return plot({ id: `${service}-${cohort}-spread`, title: "Latency, overlaid", xs: edges, lines, axis: "latency_ms", isLog: true, format: (value) => percent(value, 1), formatX: ms, ticksX: ticks.length > 7 ? ticks.filter((_, at) => at % 2 === 0) : ticks, note: "share of the requests up to this latency, above the bucket before" });
}

function quantiles(service, cohort, data) {
  const list = data.quantileDifference ?? [];
  // the quantiles stand side by side: the tail is what matters, and it would be a corner of a true axis
  const xs = list.map((_, at) => at);
  const name = (at) => `p${Math.round((list[at]?.q ?? 0) * 1000) / 10}`;
  return plot({
    id: `${service}-${cohort}-quantiles`, title: "Difference by quantile", axis: "quantile", xs, zero: true,
    lines: [{ name: "canary − stable", look: "canary", label: `p99 ${msDifference(list.find((of) => of.q === 0.99)?.ms)}`, values: list.map((of) => of.ms), low: list.map((of) => of.low), high: list.map((of) => of.high) }],
    format: msDifference, formatX: name, ticksX: xs.filter((at) => list.length <= 9 || at % Math.ceil(list.length / 8) === 0),
    note: "with its 95 % band; above zero the canary is slower",
  });
}

/** Answers by code, side by side. */
function codes(data, roles) {
  const all = [...new Set(data.variants.flatMap((of) => (of.codes ?? []).map((code) => String(code.code))))].sort();
  const total = (variant) => (variant.codes ?? []).reduce((sum, code) => sum + code.count, 0) || 1;
  const of = (variant, code) => (variant.codes ?? []).find((one) => String(one.code) === code)?.count ?? 0;
  // a bar compares the two versions at one code: beside a million of 200, any error would be nothing
  const most = (code) => Math.max(1e-9, ...data.variants.map((variant) => of(variant, code) / total(variant)));
  return h("div", { class: "codes", key: "codes" }, h("h3", null, "Answers by code"),
    table(["code", ...data.variants.flatMap((variant) => [right(variant.name), ""])], all.map((code) => h("tr", { key: code },
      h("th", { scope: "row" }, code),
      data.variants.flatMap((variant) => {
        const share = of(variant, code) / total(variant);
        return [h("td", { class: "right num", key: `${variant.name}n` }, count(of(variant, code)), " ", h("span", { class: "muted" }, percent(share))),
          h("td", { key: `${variant.name}b` }, h("span", { class: "bar" }, h("i", { class: look(variant.name, roles), style: { width: `${(share / most(code)) * 100}%` } })))];
      }))), { label: "answers by code", empty: "no answers" }));
}
