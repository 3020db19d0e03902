// What would this request get, and why? Asked of the code that answers real ones; nothing is sent anywhere.

import { h } from "./dom.js";
import { params, change, redraw } from "./state.js";
import { use, post } from "./api.js";
import { live } from "./live.js";
import { panel, table, right, choice, field, select, copyable } from "./parts.js";
import { snippet } from "./commands.js";
import { save, csv } from "./export.js";
import { simulate } from "./simulate.js";
import { percent, count } from "./words.js";

const BATCH_MAX = 1000;
const VIEWS = { one, batch, simulate };
const asked = new Map();

export const playground = {
  title: "Playground",
  needsTick: true,
  view(at) {
    const tab = VIEWS[at.tab] ? at.tab : "one";
    return [
      h("div", { class: "toolbar", key: "toolbar" }, h("h1", null, "Playground"), choice("tab", "what to ask", [["", "one request"], ["batch", "many users"], ["simulate", "an access log"]], tab === "one" ? "" : tab)),
      h("div", { class: "columns even", key: tab }, VIEWS[tab](at)),
    ];
  },
};

/** What decides beside the question: an answer counts until one of these weights is another. */
const inForce = () => JSON.stringify([live.tick.status.rev, live.tick.status.services.map((of) => of.cohorts.map((cohort) => cohort.variants.map((variant) => variant.weight)))]);

/** The answer to a question, asked a moment after the last key was pressed, and again when the weights are others. */
function answerTo(question) {
  const [key, of] = [JSON.stringify(question), inForce()];
  const known = asked.get(key);
  if (known && (known.of === of || known.isLoading)) return known;
  // what was being typed is not asked any more, and would never be answered
  for (const [other, answer] of asked) {
    if (!answer.isLoading || answer.answers) continue;
    clearTimeout(answer.timer);
    asked.delete(other);
  }
  const timer = setTimeout(async () => {
    try {
      const { answers } = await post("/explain", question);
      asked.set(key, { answers, of });
    } catch (failure) {
      asked.set(key, { failure, of });
    }
    redraw();
  }, 250);
  asked.delete(key);
  asked.set(key, { answers: known?.answers, of, timer, isLoading: true });
  if (asked.size > 50) asked.delete(asked.keys().next().value);
  return asked.get(key);
}

function requestOf(at) {
  if (at.curl?.trim()) return { curl: at.curl.trim() };
  const headers = {};
  for (const line of (at.headers ?? "").split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) headers[line.slice(0, colon).trim()] = line.slice(colon + 1).trim();
  }
  return { url: at.url || "http://localhost/", ...(at.method ? { method: at.method } : {}), ...(Object.keys(headers).length ? { headers } : {}), ...(at.ip ? { ip: at.ip } : {}), ...(at.listener ? { listener: at.listener } : {}) };
}

function area(name, label, at, placeholder, rows) {
  return h("label", { class: "field" }, h("span", null, label), h("textarea", { name, rows, placeholder, spellcheck: "false", value: at[name] ?? "", oninput: (event) => change({ [name]: event.target.value }, { replace: true }) }));
}

function one(at) {
  const request = requestOf(at);
  const plain = answerTo({ requests: [request] });
  const first = plain.answers?.[0];
  const wish = weights(at, first);
  const moved = wish ? answerTo({ requests: [request], weights: wish }) : null;
  const isCurl = Boolean(at.curl?.trim());
  return [
    panel("The request", { id: "request" },
      h("div", { class: "form" },
        field("url", "address", { placeholder: "http://shop.example.com/", type: "text" }),
        select("method", "method", [["", "GET"], "POST", "PUT", "DELETE", "HEAD"], at.method ?? ""),
        field("ip", "from IP", { placeholder: "203.0.113.9", type: "text" }),
        field("listener", "listener", { placeholder: "the first", type: "text" }),
        area("headers", "headers, one a line", at, "x-user-id: u-1842\ncookie: uid=alice", 4),
        area("curl", "or a curl line, which rules then", at, "curl https://shop.example.com/ -H 'x-employee: 1'", 2)),
      isCurl ? h("p", { class: "note" }, "The curl line is asked; the fields above are left out.") : null,
      slider(at, first)),
    panel("The answer", { id: "answer", tools: first && !first.problem ? copyable(location.href, "copy link") : null },
      plain.isLoading && !first ? h("p", { class: "muted" }, "asking…") : null,
      plain.failure ? h("p", { class: "problem", role: "alert" }, `✖ ${plain.failure.message}`) : null,
      first ? result(first, moved?.answers?.[0], wish, moved) : null,
      first?.variant ? [h("h3", null, "Keep it as a test of the file"), snippet(asTest(request, first))] : null),
  ];
}

function weights(at, first) {
  if (at.weight === undefined || !first?.service) return null;
  const service = live.tick.status.services.find((of) => of.name === first.service);
  const variants = service?.cohorts[0]?.variants.map((of) => of.name) ?? [];
  return { service: first.service, cohort: first.cohort ?? "everyone", variant: at.moved || variants.find((name) => name !== "stable") || variants[0], weight: Number(at.weight) };
}

function slider(at, first) {
  const service = live.tick.status.services.find((of) => of.name === first?.service);
  const cohort = service?.cohorts.find((of) => of.name === first?.cohort);
  const variants = cohort?.variants ?? [];
  const chosen = variants.find((of) => of.name === at.moved) ?? variants.find((of) => of.name !== "stable") ?? variants[0];
  if (!chosen) return null;
  const now = Math.round(chosen.configuredShare * 1000) / 10;
  const value = at.weight ?? String(now);
  return h("fieldset", null, h("legend", null, `What if ${chosen.name} had another share of ${cohort.name}?`),
    h("div", { class: "slider" },
      h("input", { type: "range", min: 0, max: 100, step: 0.5, value, "aria-label": `percent of ${cohort.name} for ${chosen.name}`, oninput: (event) => change({ weight: event.target.value, moved: chosen.name }, { replace: true }) }),
      h("output", { class: "num" }, `${value} %`),
      h("button", { class: "small", disabled: at.weight === undefined, onclick: () => change({ weight: undefined, moved: undefined }) }, `as it is: ${now} %`)),
    variants.length > 2 ? select("moved", "variant", variants.map((of) => of.name), chosen.name) : null);
}

function result(answer, moved, wish, asking) {
  if (answer.problem) return h("p", { class: "problem", role: "alert" }, `✖ ${answer.problem}`);
  if (answer.refused) return h("p", { class: "problem" }, `✖ refused with ${answer.refused.status}: ${answer.refused.message}`);
  return [
    h("dl", { class: "facts big" },
      fact("variant", answer.variant ?? "–"), fact("cohort", answer.cohort ?? "–"), fact("reason", answer.reason ?? "–"),
      fact("bucket", answer.bucket == null ? "–" : count(answer.bucket)), fact("user key", answer.userKey?.present ? answer.userKey.from : "none"), fact("route", answer.route ?? "–")),
    answer.redirect ? h("p", null, `Redirected with ${answer.redirect.status} to ${answer.redirect.location}`) : null,
    wish ? h("p", { class: `what-if ${moved && moved.variant !== answer.variant ? "warn" : "calm"}`, role: "status" },
      asking.failure ? `✖ ${asking.failure.message}` : !moved ? "asking…" : moved.variant === answer.variant ? `• With ${wish.variant} at ${wish.weight} % of ${wish.cohort} it would still get ${moved.variant}.` : `⤳ With ${wish.variant} at ${wish.weight} % of ${wish.cohort} it would get ${moved.variant} instead of ${answer.variant}.`) : null,
    h("h3", null, "Why"), trace(answer.trace ?? [])];
}

const fact = (name, value) => h("div", { key: name }, h("dt", null, name), h("dd", null, value));

function trace(steps) {
  return h("ol", { class: "trace" }, steps.map((step, at) => h("li", { key: at, class: step.holds === true ? "good" : step.holds === false ? "no" : "" },
    h("span", { class: "symbol" }, step.holds === true ? "✔" : step.holds === false ? "✗" : "•"), " ", h("b", null, step.step), " ", h("span", null, step.text),
    step.parts?.length ? trace(step.parts) : null)));
}

const quoted = (text) => JSON.stringify(String(text));

/** An entry for `tests:` of the file. */
function asTest(request, answer) {
  // a curl line as the server understood it
  if (request.curl) request = answer.request ?? request;
  const parts = [`url: ${quoted(request.url)}`];
  if (request.method && request.method !== "GET") parts.push(`method: ${request.method}`);
  if (Object.keys(request.headers ?? {}).length > 0) parts.push(`headers: { ${Object.entries(request.headers).map(([name, value]) => `${quoted(name)}: ${quoted(value)}`).join(", ")} }`);
  if (request.ip) parts.push(`clientIP: ${request.ip}`);
  if (request.listener) parts.push(`listener: ${quoted(request.listener)}`);
  // tests are run with the weights of the file: what a rollout or a person gives for now would fail there, and with it the reload
  const cohort = live.tick.status.services.find((of) => of.name === answer.service)?.cohorts.find((of) => of.name === answer.cohort);
  const isOfFile = answer.reason === "override" || !cohort || cohort.variants.every((of) => of.source === "file");
  const expect = isOfFile ? `, variant: ${quoted(answer.variant)}, reason: ${answer.reason}` : "";
  const why = isOfFile ? "" : `    # the variant is left out: its weight is not the file's now (${cohort.variants.find((of) => of.name === answer.variant)?.source})\n`;
  return `tests:\n  - request: { ${parts.join(", ")} }\n${why}    expect: { cohort: ${quoted(answer.cohort)}${expect} }\n`;
}

function batch(at) {
  const services = use("/services", 30_000).data?.services ?? [];
  const service = services.find((of) => of.name === at.service) ?? services[0];
  const keys = [...new Set((at.users ?? "").split(/[\s,]+/).filter(Boolean))];
  const sources = (service?.hashOn ?? []).map((text) => String(text)).filter((text) => /^(header|cookie) /.test(text) || text === "clientIP");
  const source = sources.includes(at.key) ? at.key : (sources[0] ?? "header x-user-id");
  const requests = keys.slice(0, BATCH_MAX).map((key) => withKey(at.url || "http://localhost/", source, key));
  const plain = requests.length > 0 ? answerTo({ requests }) : {};
  const wish = weights(at, plain.answers?.find((of) => of.variant));
  const moved = wish && requests.length > 0 ? answerTo({ requests, weights: wish }) : {};
  return [
    panel("Who", { id: "who" }, h("div", { class: "form" },
      field("url", "address", { placeholder: "http://shop.example.com/", type: "text" }),
      select("key", "where the key stands", sources.length ? sources : [source], source),
      area("users", `user keys, up to ${count(BATCH_MAX)}, one a line`, at, "u-1\nu-2\nalice@example.com", 10)),
    h("p", { class: "buttons" },
      h("button", { onclick: () => change({ users: Array.from({ length: 100 }, (_, index) => `u-${index + 1}`).join("\n") }, { replace: true }) }, "100 made-up users")),
    keys.length > BATCH_MAX ? h("p", { class: "problem" }, `⚠ ${count(keys.length - BATCH_MAX)} beyond ${count(BATCH_MAX)} are left out`) : null,
    slider(at, plain.answers?.find((of) => of.variant))),
    panel("What they get", { id: "batch", tools: plain.answers ? h("button", { class: "small", onclick: () => save("ringway-users.csv", new Blob([csv([["user", "cohort", "variant", "reason", "bucket"], ...plain.answers.map((of, index) => [keys[index], of.cohort, of.variant, of.reason, of.bucket])])], { type: "text/csv" })) }, "CSV") : null },
      plain.failure ? h("p", { class: "problem", role: "alert" }, `✖ ${plain.failure.message}`) : null,
      plain.isLoading && !plain.answers ? h("p", { class: "muted" }, "asking…") : null,
      plain.answers ? users(keys, plain.answers, moved.answers, wish) : h("p", { class: "muted" }, "Write user keys on the left.")),
  ];
}

function withKey(url, source, key) {
  const [kind, name] = source.split(" ");
  if (kind === "header") return { url, headers: { [name]: key } };
  if (kind === "cookie") return { url, headers: { cookie: `${name}=${key}` } };
  return { url, ip: key };
}

function users(keys, answers, moved, wish) {
  const tally = new Map();
  for (const answer of answers) tally.set(answer.variant ?? "refused", (tally.get(answer.variant ?? "refused") ?? 0) + 1);
  const movers = moved ? answers.filter((answer, at) => moved[at] && moved[at].variant !== answer.variant).length : 0;
  const rows = answers.slice(0, 200).map((answer, at) => h("tr", { key: at, class: moved?.[at] && moved[at].variant !== answer.variant ? "moved" : "" },
    h("td", { class: "path" }, keys[at]), h("td", null, answer.cohort ?? "–"), h("td", null, answer.variant ?? "–", moved?.[at] && moved[at].variant !== answer.variant ? ` ⤳ ${moved[at].variant}` : ""), h("td", null, answer.reason ?? "–"), h("td", { class: "right num" }, answer.bucket == null ? "–" : count(answer.bucket))));
  return [
    h("dl", { class: "facts" }, [...tally].map(([name, number]) => h("div", { key: name }, h("dt", null, name), h("dd", null, `${count(number)} (${percent(number / answers.length)})`)))),
    wish && moved ? h("p", { class: "what-if", role: "status" }, `⤳ With ${wish.variant} at ${wish.weight} % of ${wish.cohort}, ${count(movers)} of ${count(answers.length)} would move.`) : null,
    table(["user", "cohort", "variant", "reason", right("bucket")], rows, { label: "assignments" }),
    answers.length > 200 ? h("p", { class: "note" }, "the first 200; all are in the CSV") : null];
}
