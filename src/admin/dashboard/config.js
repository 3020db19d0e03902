// What is in force and by whose word, what would be wrong with another file, and what has happened.

import { h } from "./dom.js";
import { redraw } from "./state.js";
import { use, get, post, refresh, refusal, enc } from "./api.js";
import { live } from "./live.js";
import { panel, table, right, choice, field, select, state, eventList, copyable } from "./parts.js";
import { log } from "./log.js";
import { show, hide } from "./dialogs.js";
import { clock, count, percent } from "./words.js";

const TABS = [["effective", "effective values"], ["file", "file"], ["check", "check an edit"], ["events", "events"], ["audit", "reloads, log, audit"]];
const draft = { text: null, check: null, diff: null, failure: null, isBusy: false };
let timer = 0;

export const config = {
  title: "Config and events",
  needsTick: true,
  view(at) {
    const tab = TABS.some(([name]) => name === at.tab) ? at.tab : "effective";
    return [h("div", { class: "toolbar", key: "toolbar" }, h("h1", null, "Config and events"), choice("tab", "part", TABS, tab)), inForce(), VIEWS[tab](at)];
  },
};

function inForce() {
  const { status } = live.tick;
  return h("p", { class: "muted", key: "in-force" }, `Revision ${status.rev}, in force since ${clock(status.loadedUnixSeconds * 1000)}.`);
}

const VIEWS = { effective, file, check, events, audit };

function effective(at) {
  const answer = use("/config/effective", 5000);
  const wanted = (at.filter ?? "").toLowerCase();
  const all = answer.data?.values ?? [];
  const fits = all.filter((of) => !wanted || `${of.path} ${text(of.value)} ${of.source}`.toLowerCase().includes(wanted)).filter((of) => at.source !== "changed" || !["file", "default"].includes(of.source));
  const rows = fits.slice(0, 500).map((of) => h("tr", { key: of.path, class: ["file", "default"].includes(of.source) ? "" : "moved" },
    h("td", { class: "path" }, of.path), h("td", { class: "path" }, text(of.value)), h("td", null, of.source), h("td", { class: "path muted" }, of.file ? `${of.file}${of.line ? `:${of.line}` : ""}` : "")));
  return panel("Every value, and who says so", { id: "effective", tools: [field("filter", "filter", { placeholder: "shop weight" }), select("source", "source", [["", "all"], ["changed", "neither file nor default"]], at.source ?? "")] },
    state(answer, "effective values"),
    answer.data ? [h("p", { class: "note" }, `${count(fits.length)} of ${count(all.length)} values${fits.length > 500 ? ", the first 500" : ""}`), table(["key", "value", "source", "where"], rows, { label: "effective values", empty: "nothing fits" })] : null);
}

const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));

function file() {
  const answer = use("/config/file", 10_000);
  return h("div", { key: "file" }, state(answer, "file"), (answer.data?.files ?? []).map((of) => panel(of.name, { id: of.name, tools: copyable(of.text) },
    h("pre", { class: "code", tabindex: 0 }, of.text.replace(/\n$/, "").split("\n").map((line, at) => h("span", { class: "line", key: at, "data-line": at + 1 }, `${line}\n`))))));
}

function check() {
  const files = use("/config/file").data?.files;
  if (draft.text === null && files?.length) {
    draft.text = files[0].text;
    later();
  }
  return h("div", { class: "columns even", key: "check" },
    panel("An edit, never written", { id: "draft", tools: h("button", { class: "small", onclick: () => { draft.text = files?.[0]?.text ?? ""; later(0); redraw(); } }, "as it is now") },
      files && files.length > 1 ? h("p", { class: "note" }, `This configuration has ${files.length} files; the first is taken.`) : null,
      h("textarea", { class: "code editor", spellcheck: "false", "aria-label": "configuration to check", rows: 28, value: draft.text ?? "", oninput: (event) => { draft.text = event.target.value; later(); redraw(); } })),
    h("div", { class: "stack" }, panel("Diagnostics", { id: "diagnostics" }, diagnostics()), panel("Who would move", { id: "diff" }, moves())));
}

function later(wait = 300) {
  clearTimeout(timer);
  draft.isBusy = true;
  timer = setTimeout(async () => {
    const text = draft.text;
    try {
      const checked = await post("/config/check", { text });
      if (text !== draft.text) return;
      Object.assign(draft, { check: checked, diff: null, failure: null });
      // a file that is not valid moves nobody, and to ask would be an error in the browser's log
      if (checked.valid) {
        redraw();
        const diff = await post("/config/diff", { text }).catch((failure) => ({ failure }));
        if (text !== draft.text) return;
        draft.diff = diff;
      }
    } catch (failure) {
      draft.failure = failure;
    }
    draft.isBusy = false;
    redraw();
  }, wait);
}

function diagnostics() {
  if (draft.failure) return h("p", { class: "problem" }, `⚠ ${draft.failure.message}`);
  if (!draft.check) return h("p", { class: "muted" }, "asking…");
  const { valid, tests } = draft.check;
  const list = draft.check.diagnostics ?? [];
  return [
    h("p", { class: `verdict ${valid ? "good" : "bad"}`, role: "status" }, valid ? "✔ valid" : "✖ not valid", tests ? `, tests: ${tests.passed} passed, ${tests.failed} failed` : "", draft.isBusy ? h("span", { class: "muted" }, " asking…") : null),
    h("ol", { class: "diagnostics" }, list.map((of, at) => h("li", { key: at, class: of.severity === "error" ? "bad" : "warn" },
      h("button", { class: "plain path", onclick: () => jump(of.line, of.column) }, `${of.line ?? "?"}:${of.column ?? "?"}`), " ",
      h("b", null, `${of.severity === "error" ? "✖" : "⚠"} ${of.code}`), " ", of.message, of.help ? h("span", { class: "muted" }, ` ${of.help}`) : null)))];
}

function jump(line, column) {
  const area = document.querySelector("textarea.editor");
  if (!area || !line) return;
  const lines = area.value.split("\n");
  const start = lines.slice(0, line - 1).reduce((sum, text) => sum + text.length + 1, 0) + Math.max(0, (column ?? 1) - 1);
  area.focus();
  area.setSelectionRange(start, start);
  area.scrollTop = ((line - 5) / lines.length) * area.scrollHeight;
}

function moves() {
  const { diff, check: checked } = draft;
  if (checked && !checked.valid) return h("p", { class: "muted" }, "Nobody: with these mistakes the file would not come into force.");
  if (!diff) return h("p", { class: "muted" }, "asking…");
  if (diff.failure) return h("p", { class: "muted" }, diff.failure.message);
  const list = (diff.services ?? []).flatMap((service) => (service.moves ?? []).map((move) => ({ service, move })));
  if (list.length === 0) return h("p", null, diff.moves ? "Somebody may move; `ringway diff` says more." : "✔ Nobody moves.");
  return table(["service", "from", "to", right("users")], list.map(({ service, move }, at) => h("tr", { key: at },
    h("th", { scope: "row" }, service.name), h("td", null, place(move.from)), h("td", null, place(move.to)),
    h("td", { class: "right num" }, `${count(move.users)} of ${count(service.users)} (${percent(move.users / service.users)})`))), { label: "who would move" });
}

const place = (of) => (typeof of === "string" ? of : `${of?.cohort ?? "?"}: ${of?.variant ?? "?"}`);

const older = { events: [], key: "", isDone: false, isBusy: false, failure: null };

function events(at) {
  const service = at.service ?? "";
  const answer = use(`/events?limit=100${service ? `&service=${enc(service)}` : ""}`, 10_000);
  if (older.key !== service) Object.assign(older, { key: service, events: [], isDone: false, failure: null });
  const all = new Map();
  for (const event of [...live.events, ...(answer.data?.events ?? []), ...older.events]) if (!service || event.service === service) all.set(event.id, event);
  const list = [...all.values()].sort((a, b) => b.id - a.id);
  const wanted = (at.filter ?? "").toLowerCase();
  const fits = list.filter((of) => !wanted || `${of.kind} ${of.service} ${of.cohort} ${of.actor} ${of.sentence} ${of.reason}`.toLowerCase().includes(wanted));
  const more = async () => {
    older.isBusy = true;
    redraw();
    try {
      const next = await get(`/events?limit=100&before=${list[list.length - 1].id}${service ? `&service=${enc(service)}` : ""}`);
      older.events.push(...next.events);
      older.isDone = next.events.length === 0;
      older.failure = null;
    } catch (failure) {
      older.failure = failure;
    }
    older.isBusy = false;
    redraw();
  };
  const names = live.tick.status.services.map((of) => of.name);
  return panel("Events", { id: "events", tools: [select("service", "service", [["", "all"], ...names], service), field("filter", "filter", { placeholder: "rolled-back" })] },
    state(answer, "events"), eventList(fits, { empty: "nothing fits" }),
    older.failure ? h("p", { class: "problem" }, `⚠ ${older.failure.message}`) : null,
    list.length > 0 && !older.isDone ? h("p", { class: "buttons" }, h("button", { onclick: more }, older.isBusy ? "asking…" : "Older")) : null);
}

function audit() {
  const answer = use("/events?limit=100", 10_000);
  const all = new Map();
  for (const event of [...live.events, ...(answer.data?.events ?? [])]) if (/^(reload|drain|log-level)/.test(event.kind)) all.set(event.id, event);
  const chain = use("/audit/verify");
  const refused = refusal("admin");
  return h("div", { class: "columns even", key: "audit" },
    h("div", { class: "stack" }, panel("Reloads", { id: "reloads", tools: h("button", { class: `small${refused ? " off" : ""}`, "aria-disabled": refused ? "true" : undefined, title: refused ?? "read the file again", onclick: () => askReload(refused) }, "Reload now") },
      eventList([...all.values()].sort((a, b) => b.id - a.id), { empty: "none since the start of what is kept" })), log()),
    panel("Audit log", { id: "chain", tools: h("button", { class: "small", onclick: () => refresh("/audit/verify") }, "Verify again") },
      state(chain, "audit log"),
      chain.data ? h("p", { class: `verdict ${chain.data.ok ? "good" : "bad"}`, role: "status" }, chain.data.ok ? `✔ The chain of ${count(chain.data.lines)} lines is whole: none was changed, removed or put in.` : `✖ The chain is broken: ${chain.data.problem}`) : null,
      h("p", { class: "note" }, "Each line holds the hash of the one before. The same on a shell: ringway audit verify")));
}

function askReload(refused) {
  const form = { result: null, failure: null };
  const send = async () => {
    try {
      form.result = await post("/reload", {});
    } catch (failure) {
      form.failure = failure;
    }
    redraw();
  };
  show("Reload", () => h("div", { class: "body" },
    refused ? h("p", null, `Not possible: ${refused}.`) : form.result ? h("p", { role: "status" }, `✔ ${form.result.result}, revision ${form.result.rev}`) : h("p", null, "Reads the file again. A file with errors, or whose tests fail, changes nothing."),
    form.failure ? [h("p", { class: "problem", role: "alert" }, `✖ ${form.failure.message}`), form.failure.problem.text ? h("pre", null, form.failure.problem.text) : null] : null,
    h("p", { class: "buttons" }, refused || form.result ? null : h("button", { class: "primary", "data-focus": true, onclick: send }, "Reload"), h("button", { onclick: hide, "data-focus": refused ? true : undefined }, refused || form.result ? "Close" : "Cancel"))));
}
