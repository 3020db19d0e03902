// Why is it failing: endpoints, finished requests as they come, mirror differences, paths that differ.

import { h } from "./dom.js";
import { params, change, redraw } from "./state.js";
import { use, post, refusal, refresh, enc } from "./api.js";
import { live } from "./live.js";
import { panel, table, right, select, choice, badge, state } from "./parts.js";
import { show, hide } from "./dialogs.js";
import { snippet } from "./commands.js";
import { save, csv } from "./export.js";
import { ENDPOINTS, clock, count, ms, percent, points } from "./words.js";

/** Tapped requests that are kept. */
const TAPPED_MAX = 2000;
const SHOWN_MAX = 25;

const tap = { source: null, address: "", requests: [], dropped: 0, failure: null, isPaused: false };

export const debug = {
  title: "Debug",
  needsTick: true,
  view(at) {
    const names = live.tick.status.services.map((of) => of.name);
    const service = names.includes(at.service) ? at.service : names[0];
    const known = live.tick.status.services.find((of) => of.name === service);
    if (!service) return h("p", { class: "muted" }, "No service yet.");
    return [
      h("div", { class: "toolbar", key: "toolbar" }, h("h1", null, "Debug"), select("service", "service", names, service)),
      endpoints(service), tapPanel(at, service, known), paths(service), mirror(service),
    ];
  },
  leave: stop,
};

function endpoints(service) {
  const answer = use("/services", 2000);
  const found = answer.data?.services?.find((of) => of.name === service);
  const refused = refusal("admin");
  const rows = (found?.variants ?? []).flatMap((variant) => variant.endpoints.map((endpoint) => h("tr", { key: `${variant.name}/${endpoint.address}` },
    h("th", { scope: "row" }, variant.name, h("span", { class: "muted" }, ` ${variant.version ?? ""}`)),
    h("td", { class: "path" }, endpoint.address),
    h("td", null, badge(ENDPOINTS, endpoint.state)),
    h("td", { class: "right num" }, count(endpoint.inFlight)),
    h("td", { class: "wide" }, endpoint.lastError ?? h("span", { class: "muted" }, "no error")),
    h("td", null, endpointButton(service, variant.name, endpoint, refused)))));
  return panel("Endpoints", { id: "endpoints", className: "live" }, state(answer, "endpoints"),
    answer.data ? table(["variant", "address", "state", right("in flight"), "last error", ""], rows, { label: "endpoints", empty: "this service has none" }) : null);
}

function endpointButton(service, variant, endpoint, refused) {
  const word = endpoint.isDrained ? "ready" : "drain";
  const label = endpoint.isDrained ? "Take back in" : "Drain";
  return h("button", { class: `small${refused ? " off" : ""}`, "aria-disabled": refused ? "true" : undefined, title: refused ?? `${label} ${endpoint.address}`, onclick: () => askEndpoint(service, variant, endpoint, word, refused) }, label);
}

function askEndpoint(service, variant, endpoint, word, refused) {
  const form = { result: null, failure: null };
  const send = async () => {
    try {
      form.result = await post(`/services/${enc(service)}/${enc(variant)}/endpoints/${enc(endpoint.address)}/${word}`, {});
      refresh("/services");
    } catch (failure) {
      form.failure = failure;
    }
    redraw();
  };
  const close = (text) => h("button", { class: form.result ? "primary" : "", onclick: hide, "data-focus": refused || form.result ? true : undefined }, text);
  show(`${word === "drain" ? "Drain" : "Take back in"} ${endpoint.address}`, () => h("div", { class: "body" },
    refused ? h("p", null, `Not possible: ${refused}.`) : form.result ? [h("p", { role: "status" }, `✔ ${form.result.text}`), form.result.undo ? [h("h3", null, "To undo it"), snippet(form.result.undo)] : null]
      : h("p", null, word === "drain" ? "It gets no new requests; those in flight are finished. The file is not changed." : "It gets requests again."),
    form.failure ? h("p", { class: "problem", role: "alert" }, `✖ ${form.failure.message}`) : null,
    h("p", { class: "buttons" }, refused || form.result ? null : h("button", { class: "primary", "data-focus": true, onclick: send }, word === "drain" ? "Drain" : "Take back in"), close(refused || form.result ? "Close" : "Cancel"))));
}

function tapPanel(at, service, known) {
  const cohorts = known.cohorts.map((of) => of.name);
  const variants = [...new Set(known.cohorts.flatMap((of) => of.variants.map((variant) => variant.name)))];
  const isOn = at.tap === "on";
  if (isOn) start(at, service);
  else stop();
  const rows = tap.requests.slice(0, SHOWN_MAX).map((request) => h("tr", { key: request.key, class: request.status >= 500 || request.status === 0 ? "bad" : "" },
    h("td", { class: "num" }, clock(request.unixMs)), h("td", { class: "right num" }, request.status >= 500 ? `✖ ${request.status}` : String(request.status)),
    h("td", null, request.method), h("td", { class: "path" }, request.path),
    h("td", null, request.cohort), h("td", null, request.variant), h("td", null, request.reason),
    h("td", { class: "right num" }, ms(request.durationMs)), h("td", null, request.flags), h("td", { class: "path" }, request.trace)));
  return panel("Requests as they finish", { id: "tap", tools: [
    h("button", { class: "small primary", "aria-pressed": String(isOn), onclick: () => change({ tap: isOn ? undefined : "on" }) }, isOn ? "‖ Stop" : "▸ Start"),
    isOn ? h("button", { class: "small", "aria-pressed": String(tap.isPaused), onclick: () => { tap.isPaused = !tap.isPaused; redraw(); } }, tap.isPaused ? "Go on" : "Hold still") : null,
    h("button", { class: "small", onclick: () => save(`ringway-${service}-tap.csv`, new Blob([csv([["utc", "status", "method", "path", "cohort", "variant", "reason", "duration_ms", "flags", "trace"], ...tap.requests.map((of) => [new Date(of.unixMs).toISOString(), of.status, of.method, of.path, of.cohort, of.variant, of.reason, of.durationMs, of.flags, of.trace])])], { type: "text/csv" })) }, "CSV")] },
  h("div", { class: "toolbar" },
    select("cohort", "cohort", [["", "all"], ...cohorts], at.cohort ?? ""), select("variant", "variant", [["", "all"], ...variants], at.variant ?? ""),
    select("status", "status", [["", "all"], "2xx", "3xx", "4xx", "5xx"], at.status ?? ""), select("rate", "at most", [["10", "10 a second"], ["50", "50 a second"], ["100", "100 a second"]], at.rate ?? "10")),
  tap.failure ? h("p", { class: "problem" }, `⚠ ${tap.failure}`) : null,
  h("p", { class: "note" }, `A sample without query strings, cookies or user keys. ${count(tap.requests.length)} kept, ${count(tap.dropped)} left out by the rate.`),
  table(["at", right("status"), "method", "path", "cohort", "variant", "reason", right("took"), "flags", "trace"], rows, { label: "tapped requests", empty: isOn ? "waiting for a request that fits…" : "press Start: nothing is sampled before", className: "tap" }));
}

let serial = 0;

function start(at, service) {
  const query = new URLSearchParams({ service, rate: at.rate ?? "10" });
  for (const name of ["cohort", "variant", "status"]) if (at[name]) query.set(name, at[name]);
  const address = `/api/v1/tap?${query}`;
  if (tap.address === address) return;
  stop();
  Object.assign(tap, { address, requests: [], dropped: 0, failure: null, source: new EventSource(address) });
  tap.source.addEventListener("request", (message) => {
    if (tap.isPaused) return;
    try {
      tap.requests.unshift({ ...JSON.parse(message.data), key: serial++ });
    } catch {
      return;
    }
    tap.requests.length = Math.min(tap.requests.length, TAPPED_MAX);
    redraw();
  });
  tap.source.addEventListener("dropped", (message) => {
    try {
      const told = JSON.parse(message.data);
      tap.dropped += Number(typeof told === "number" ? told : told.count ?? told.dropped ?? 0) || 0;
    } catch {
      return;
    }
    redraw();
  });
  tap.source.onopen = () => { tap.failure = null; };
  tap.source.onerror = () => {
    tap.failure = tap.source?.readyState === EventSource.CLOSED ? "the tap was refused or ended; stop and start it again" : "the tap broke off; the browser tries again";
    redraw();
  };
}

function stop() {
  tap.source?.close();
  Object.assign(tap, { source: null, address: "", isPaused: false });
}

/** Paths of the tapped requests, those first on which the canary fails more often. */
function paths(service) {
  const rollout = live.tick.rollouts.find((of) => of.service === service);
  const [from, to] = [rollout?.from ?? "stable", rollout?.to ?? "canary"];
  const all = new Map();
  for (const request of tap.requests) {
    if (request.variant !== from && request.variant !== to) continue;
    const path = all.get(request.path) ?? { [from]: [0, 0], [to]: [0, 0] };
    path[request.variant][0] += request.status >= 500 || request.status === 0 ? 1 : 0;
    path[request.variant][1] += 1;
    all.set(request.path, path);
  }
  const rate = ([bad, of]) => (of > 0 ? bad / of : null);
  const rows = [...all].map(([path, of]) => ({ path, of, gap: (rate(of[to]) ?? 0) - (rate(of[from]) ?? 0) })).sort((a, b) => b.gap - a.gap || b.of[to][1] - a.of[to][1]).slice(0, 15);
  return panel("Paths by error difference", { id: "paths" }, h("p", { class: "note" }, `Counted in this page, from the ${count(tap.requests.length)} requests that the tap above shows: Ringway keeps no paths. With a filter on status it compares what the filter lets through.`),
    table(["path", right(from), right(to), right("difference")], rows.map((row) => h("tr", { key: row.path, class: row.gap > 0 ? "bad" : "" },
      h("td", { class: "path" }, row.path), h("td", { class: "right num" }, `${percent(rate(row.of[from]))} of ${count(row.of[from][1])}`),
      h("td", { class: "right num" }, `${percent(rate(row.of[to]))} of ${count(row.of[to][1])}`), h("td", { class: "right num" }, `${row.gap > 0 ? "✖ " : ""}${points(row.gap)}`))),
    { label: "paths by error difference", empty: "start the tap first" }));
}

function mirror(service) {
  const listed = use("/services", 2000).data?.services?.find((of) => of.name === service);
  if (!listed?.mirror) return panel("Mirror", { id: "mirror" }, h("p", { class: "muted" }, "This service has no mirror. With `mirror: { to: canary, percent: 10 }` in the file, answers are compared before anybody sees the new version."));
  const answer = use(`/mirror/${enc(service)}`, 3000);
  const data = answer.data;
  if (!data) return panel("Mirror", { id: "mirror" }, state(answer, "mirror"));
  const counts = (of) => Object.entries(of ?? {}).map(([name, value]) => h("div", { key: name }, h("dt", null, name), h("dd", null, count(value))));
  const at = params();
  const wanted = at.difference ?? "";
  const kinds = Object.keys(data.differences ?? {});
  const last = (data.last ?? []).filter((of) => !wanted || of.kinds.includes(wanted));
  return panel(`Mirror to ${data.to}, ${percent(data.share)} of requests`, { id: "mirror", className: "live", tools: choice("difference", "kind of difference", [["", "all"], ...kinds], wanted) },
    state(answer, "mirror"),
    h("h3", null, "Copies"), h("dl", { class: "facts" }, counts(data.requests)),
    h("h3", null, "Differences"), h("dl", { class: "facts" }, counts(data.differences)),
    table(["at", "request", "differs in", "answer", "copy", "where"], last.map((of) => h("tr", { key: `${of.requestId}${of.unixMs}` },
      h("td", { class: "num" }, clock(of.unixMs)), h("td", { class: "path" }, `${of.method} ${of.path}`), h("td", null, of.kinds.join(", ")),
      h("td", { class: "num" }, `${of.primary.status}, ${ms(of.primary.ms)}`), h("td", { class: "num" }, `${of.mirror.status}, ${ms(of.mirror.ms)}`),
      h("td", { class: "wide path" }, (of.places ?? []).map((place, index) => h("div", { key: index }, `${place.place}: ${place.primary ?? "–"} → ${place.mirror ?? "–"}`))))),
    { label: "last differences", empty: "no differences" }));
}
