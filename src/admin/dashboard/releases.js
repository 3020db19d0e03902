// What is out to whom, and is it well: the first page.

import { h } from "./dom.js";
import { linkTo, params } from "./state.js";
import { use } from "./api.js";
import { live } from "./live.js";
import { phase, badge, panel, table, right, shareBar, ring, select, state } from "./parts.js";
import { look } from "./plot.js";
import { PHASES, percent, count, versions, hasAll, health, worstGate, VERDICTS, clock, span, ms } from "./words.js";

export const releases = {
  title: "Releases",
  needsTick: true,
  view(at) {
    const { status, rollouts } = live.tick;
    const idle = status.services.filter((service) => !rollouts.some((of) => of.service === service.name));
    return [
      h("h1", { class: `sentence live ${worst(rollouts)}`, key: "sentence" }, h("span", { "aria-hidden": "true" }, { bad: "✖ ", warn: "⚠ ", good: "✔ ", wait: "◌ " }[worst(rollouts)] ?? ""), capital(status.sentence || sentence(rollouts))),
      rollouts.length > 0 ? h("div", { class: "cards", key: "cards" }, rollouts.map(card)) : panel("Rollouts", { id: "none" }, h("p", { class: "muted" }, "No service has a `rollout` in the file. Weights are as the file says; the matrix below shows them.")),
      h("div", { class: "matrices", key: "matrices" }, status.services.map((service) => matrix(service, rollouts.find((of) => of.service === service.name)))),
      idle.length > 0 && rollouts.length > 0 ? h("p", { class: "muted", key: "idle" }, `Without a rollout: ${idle.map((service) => service.name).join(", ")}.`) : null,
      history(at),
    ];
  },
};

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function worst(rollouts) {
  const kinds = rollouts.map((rollout) => health(rollout)[0]);
  return ["bad", "warn", "wait", "good"].find((kind) => kinds.includes(kind)) ?? "calm";
}

/** For a server that says none. */
function sentence(rollouts) {
  const running = rollouts.filter((of) => !["idle", "promoted", "superseded"].includes(of.phase)).length;
  const failing = rollouts.filter((of) => health(of)[0] === "bad").length;
  return `${running === 1 ? "1 rollout" : `${running} rollouts`}, ${failing === 0 ? "none" : failing} failing`;
}

function card(rollout) {
  const [kind, symbol, text] = health(rollout);
  const gate = worstGate(rollout);
  const exposed = (rollout.cohorts ?? []).reduce((sum, cohort) => sum + (cohort.users ?? 0), 0);
  return h("article", { class: `panel card ${kind}`, key: rollout.service },
    h("header", null,
      h("h2", null, h("a", linkTo("rollout", { service: rollout.service }), rollout.service)),
      h("span", { class: "versions" }, versions(rollout)), phase(rollout.phase),
      h("span", { class: "muted" }, rollout.steps ? `step ${rollout.step} of ${rollout.steps}` : "", rollout.elapsedSeconds ? `, for ${span(rollout.elapsedSeconds)}` : "")),
    h("p", { class: `verdict ${kind}` }, h("span", { "aria-hidden": "true" }, symbol), " ", text),
    ring(rollout),
    h("dl", { class: "facts live" },
      fact("users exposed", count(exposed)),
      fact("worst gate", gate ? gate.verdict === "unknown" && hasAll(rollout, gate.cohort) ? `◌ nothing to compare with in ${gate.cohort}` : `${VERDICTS[gate.verdict]?.[0] ?? "?"} ${gate.name}${gate.cohort ? ` in ${gate.cohort}` : ""}: ${VERDICTS[gate.verdict]?.[1] ?? gate.verdict}` : "none yet"),
      gate?.stable && gate?.canary ? fact(rollout.from ?? "stable", rate(gate.stable, gate.unit)) : null,
      gate?.stable && gate?.canary ? fact(rollout.to ?? "canary", rate(gate.canary, gate.unit)) : null));
}

const fact = (name, text) => h("div", null, h("dt", null, name), h("dd", null, text));
const rate = (side, unit) => (unit === "ms" ? ms(side.rate) : percent(side.rate));

/** Who gets what: the asked share and the measured one, with the source of each weight. */
function matrix(service, rollout) {
  const roles = { from: rollout?.from ?? "stable", to: rollout?.to ?? "canary" };
  const variants = [...new Set(service.cohorts.flatMap((cohort) => cohort.variants.map((variant) => variant.name)))];
  const rows = service.cohorts.map((cohort) => h("tr", { key: cohort.name },
    h("th", { scope: "row" }, rollout ? h("a", linkTo("rollout", { service: service.name, cohort: cohort.name }), cohort.name) : cohort.name),
    variants.map((name) => {
      const variant = cohort.variants.find((of) => of.name === name);
      if (!variant) return h("td", { key: name, class: "muted" }, "–");
      return h("td", { key: name, class: "live" },
        shareBar(variant.configuredShare, look(name, roles)),
        h("span", { class: "below" }, variant.requests > 0 ? `actual ${percent(variant.share)}` : "no requests", variant.source && variant.source !== "file" ? `, ${variant.source}` : ""));
    }),
    h("td", { class: "right num live" }, count(cohort.variants.reduce((sum, variant) => sum + (variant.rps ?? 0), 0)))));
  const version = (name) => service.cohorts.flatMap((cohort) => cohort.variants).find((variant) => variant.name === name)?.version;
  return panel(`Who gets what: ${service.name}`, { id: `matrix-${service.name}`, tools: phase(service.phase ?? "idle") },
    table(["cohort", ...variants.map((name) => `${name}${version(name) ? ` ${version(name)}` : ""}`), right("rps")], rows, { label: `weights of ${service.name}`, className: "matrix" }),
    h("p", { class: "note" }, `Asked for, and below it what came of the last ${live.tick.status.windowSeconds ?? 60} s: a share that has just changed is not all of that yet.`));
}

const OUTCOMES = { promoted: PHASES.promoted, "rolled-back": PHASES["rolled-back"], superseded: ["⤳", "superseded", "calm"], removed: PHASES.removed, running: PHASES.running };

function history(at) {
  const answer = use("/history?days=30", 15_000);
  const all = answer.data?.rollouts ?? [];
  const chosen = params().outcome ?? "";
  const shown = all.filter((of) => !chosen || of.outcome === chosen).sort((a, b) => b.startedUnixMs - a.startedUnixMs);
  const rows = shown.slice(0, 200).map((of) => h("tr", { key: `${of.service}/${of.id}/${of.startedUnixMs}` },
    h("td", null, clock(of.startedUnixMs, { seconds: false })),
    h("td", null, h("a", linkTo("rollout", { service: of.service }), of.service), " ", h("span", { class: "muted" }, of.id)),
    h("td", null, badge(OUTCOMES, of.outcome)),
    h("td", { class: "right num" }, of.endedUnixMs ? span((of.endedUnixMs - of.startedUnixMs) / 1000) : "running"),
    h("td", { class: "right num" }, of.timeToDetectSeconds == null ? "–" : span(of.timeToDetectSeconds)),
    h("td", { class: "right num" }, of.usersExposed == null ? "–" : count(of.usersExposed)),
    h("td", { class: "wide" }, of.sentence, of.actor ? h("span", { class: "muted" }, ` by ${of.actor}`) : null)));
  return panel("Last 30 days", { id: "history", tools: select("outcome", "outcome", [["", "all"], ...Object.keys(OUTCOMES).map((name) => [name, OUTCOMES[name][1]])], chosen) },
    state(answer, "history"),
    answer.data ? table(["began", "release", "outcome", right("took"), right("time to detect"), right("users exposed"), "what happened"], rows, { label: "rollouts of the last 30 days", empty: "no rollout yet" }) : null);
}
