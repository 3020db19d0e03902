// A small access log through the file in force: who would get what, and what the rollout would have done with a fault. Nothing is
// sent to a service, and nothing changes.

import { h } from "./dom.js";
import { redraw } from "./state.js";
import { post } from "./api.js";
import { live } from "./live.js";
import { panel, table, right, field, select } from "./parts.js";
import { clock, count, percent, span } from "./words.js";

/** What fits into one request, with room for the rest of it. */
const LOG_CHARS_MAX = 900_000;
const paper = { log: "", report: null, failure: null, isBusy: false };

export function simulate(at) {
  const services = live.tick.rollouts.map((rollout) => rollout.service);
  const service = services.includes(at.play) ? at.play : "";
  return [
    panel("An access log", { id: "log" },
      h("div", { class: "form" },
        h("label", { class: "field wide" }, h("span", null, "lines of Ringway, Envoy, Caddy, Traefik, or the combined format"),
          h("textarea", { class: "code", rows: 12, spellcheck: "false", placeholder: "10.0.0.1 - - [21/Nov/2026:08:26:00 +0000] \"GET /cart HTTP/1.1\" 200 17 \"-\" \"curl/8\"", value: paper.log, oninput: (event) => { paper.log = event.target.value; redraw(); } })),
        field("host", "host of lines that name none", { placeholder: "shop.example.com" }),
        select("play", "rollout to play", [["", "none"], ...services], service),
        service ? field("inject", "what is wrong with the new version", { placeholder: "canary: error=2%, latency=x1.3" }) : null),
      h("p", { class: "buttons" },
        h("button", { class: "primary", onclick: () => send(at, service) }, paper.isBusy ? "asking…" : "Simulate"),
        h("button", { onclick: () => { paper.log = madeUp(); redraw(); } }, "2,000 made-up lines")),
      paper.log.length > LOG_CHARS_MAX ? h("p", { class: "problem" }, "⚠ This log is too large for a page: ringway simulate LOG -c FILE takes any.") : h("p", { class: "note" }, "Larger logs, and another file: ringway simulate. Many rollouts with made-up traffic: ringway rehearse.")),
    h("div", { class: "stack" }, paper.failure ? h("p", { class: "problem", role: "alert" }, `✖ ${paper.failure.message}`) : null, paper.report ? report(paper.report) : panel("What would come of it", { id: "report" }, h("p", { class: "muted" }, "Put lines on the left, and press Simulate."))),
  ];
}

async function send(at, service) {
  if (paper.isBusy || paper.log.length > LOG_CHARS_MAX) return;
  paper.isBusy = true;
  redraw();
  try {
    const inject = service && at.inject?.trim() ? [at.inject.trim()] : [];
    paper.report = await post("/simulate", { log: paper.log, inject, ...(at.host ? { host: at.host } : {}), ...(service ? { service } : {}) });
    paper.failure = null;
  } catch (failure) {
    paper.failure = failure;
  }
  paper.isBusy = false;
  redraw();
}

function report(of) {
  const unread = of.lines.firstUnreadable;
  return [
    of.rollout ? played(of.rollout) : null,
    panel("Who gets what", { id: "report" },
      h("p", { role: "status" }, `${count(of.lines.read)} lines read${of.lines.unreadable ? `, ${count(of.lines.unreadable)} not` : ""}; ${count(of.refused.requests)} would be refused.`),
      unread ? h("p", { class: "note" }, `line ${unread.line}: ${unread.why}`) : null,
      table(["cohort", "variant", right("requests"), right("users"), right("share"), right("by the weights")], of.services.flatMap((service) => service.cohorts.filter((cohort) => cohort.requests > 0).flatMap((cohort) => cohort.variants.map((variant) => h("tr", { key: `${service.name}/${cohort.name}/${variant.name}` },
        h("th", { scope: "row" }, `${service.name}: ${cohort.name}`), h("td", null, variant.name), h("td", { class: "right num" }, count(variant.requests)), h("td", { class: "right num" }, count(variant.users)),
        h("td", { class: "right num" }, percent(variant.share)), h("td", { class: "right num" }, percent(variant.fileShare)))))), { label: "who gets what", empty: "no line met a service" }),
      (of.notes ?? []).map((note, index) => h("p", { class: "note", key: index }, note))),
  ];
}

function played(of) {
  const [kind, symbol] = { "rolled-back": ["bad", "✖"], promoted: ["good", "✔"] }[of.phase] ?? ["wait", "◌"];
  return panel(`The rollout ${of.id}`, { id: "played" },
    h("p", { class: `verdict ${kind}`, role: "status" }, `${symbol} ${of.phase.replaceAll("-", " ")}${of.why ? `: ${of.why}` : ""}`),
    h("p", null, `${count(of.canaryRequests)} requests and ${count(of.users)} users met the new version; ${count(of.harmedRequests)} requests were harmed${of.secondsToNotice == null ? "" : `; noticed after ${span(of.secondsToNotice)}`}.`),
    h("ul", { class: "plain" }, (of.events ?? []).slice(-12).map((event, index) => h("li", { key: index }, h("span", { class: "muted num" }, `${clock(event.unixMs)} `), event.sentence))));
}

/** Something to try it with. */
function madeUp() {
  const from = Date.now() - 200_000;
  const months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  return Array.from({ length: 2000 }, (_, at) => {
    const [date, time] = new Date(from + at * 100).toISOString().split(/[T.]/);
    const [year, month, day] = date.split("-");
    return `198.51.${at % 7}.${(at * 7) % 250} - - [${day}/${months[month - 1]}/${year}:${time} +0000] "GET ${["/", "/cart", "/item/42"][at % 3]} HTTP/1.1" 200 512 "-" "made up/1"`;
  }).join("\n");
}
