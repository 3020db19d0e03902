// Pieces that several pages show.

import { h } from "./dom.js";
import { redraw, change, params } from "./state.js";
import { copy } from "./export.js";
import { evidence as evidenceText, PHASES, VERDICTS, percent, stepText, STEPS, span, clock, count } from "./words.js";

/** A state as symbol and word. */
export function badge(table, word) {
  const [symbol, text, kind] = table[word] ?? ["?", word ?? "unknown", "warn"];
  return h("span", { class: `badge ${kind}` }, h("span", { "aria-hidden": "true" }, symbol), " ", text);
}

export const phase = (word) => badge(PHASES, word);
export const verdict = (word) => badge(VERDICTS, word);

/** How much evidence of harm there is, of how much would be enough. */
export function meter(evidence, needed, kind, isBrief) {
  const share = needed > 0 ? Math.min(1, Math.max(0, (evidence ?? 0) / needed)) : 0;
  return h("span", { class: "meter-with-text" },
    h("span", { class: `meter ${kind ?? ""}`, role: "meter", "aria-label": "evidence of harm", "aria-valuemin": 0, "aria-valuemax": needed ?? 0, "aria-valuenow": evidence ?? 0 },
      h("i", { style: { width: `${share * 100}%` } })),
    isBrief ? null : h("span", { class: "num" }, `${evidenceText(evidence)} of ${evidenceText(needed)}`));
}

/** A share as a bar and a number. */
export function shareBar(share, look) {
  return h("span", { class: "share" },
    h("span", { class: "bar", "aria-hidden": "true" }, h("i", { class: look, style: { width: `${Math.min(1, share ?? 0) * 100}%` } })),
    h("span", { class: "num" }, percent(share)));
}

/** The steps of a plan in a row. */
export function ring(rollout) {
  const plan = rollout.plan ?? [];
  return h("ol", { class: "ring", "aria-label": "steps of the rollout" }, plan.map((step) => {
    const isHeld = step.state === "current" && rollout.stepHoldSeconds > 0;
    const share = isHeld ? Math.min(1, (rollout.stepElapsedSeconds ?? 0) / rollout.stepHoldSeconds) : step.state === "done" ? 1 : 0;
    return h("li", { key: `s${step.number}`, class: step.state, title: stepTitle(step) },
      h("span", { class: "ring-bar" }, h("i", { style: { width: `${share * 100}%` } })),
      h("span", { class: "ring-text" }, h("span", { class: "symbol" }, step.approve ? "‖" : STEPS[step.state] ?? "•"), " ", stepText(step)),
      h("span", { class: "ring-note" }, step.state === "current"
        ? rollout.phase === "rolled-back" ? "taken back" : (isHeld ? `${span(rollout.stepElapsedSeconds)} of ${span(rollout.stepHoldSeconds)}` : "now")
        : step.window ? `window ${step.window}` : step.state));
  }));
}

function stepTitle(step) {
  const hold = typeof step.hold === "number" ? span(step.hold) : step.hold;
  return `step ${step.number}: ${stepText(step)}${hold ? `, held ${hold}` : ""}${step.window ? `, within ${step.window}` : ""}, ${step.state}`;
}

/** Buttons of which one is pressed, kept in the address. */
export function choice(name, label, options, chosen) {
  return h("span", { class: "choice", role: "group", "aria-label": label }, options.map((option) => {
    const [value, text] = Array.isArray(option) ? option : [option, option];
    return h("button", { key: value, class: "small", "aria-pressed": String(value === chosen), onclick: () => change({ [name]: value }) }, text);
  }));
}

/** A text field whose text is in the address. */
export function field(name, label, { placeholder = "", type = "search", size } = {}) {
  return h("label", { class: "field" }, h("span", null, label),
    h("input", { type, placeholder, size, name, value: params()[name] ?? "", autocomplete: "off", spellcheck: "false",
      oninput: (event) => change({ [name]: event.target.value }, { replace: true }) }));
}

/** A list to choose from, in the address. */
export function select(name, label, options, chosen) {
  return h("label", { class: "field" }, h("span", null, label),
    h("select", { name, value: chosen, onchange: (event) => change({ [name]: event.target.value }) },
      options.map((option) => {
        const [value, text] = Array.isArray(option) ? option : [option, option];
        return h("option", { key: value, value }, text);
      })));
}

/** Why there is nothing, or nothing yet. */
export function state(answer, what) {
  if (answer.failure && !answer.data) return h("p", { class: "problem", role: "status" }, `⚠ ${what}: ${answer.failure.message}`);
  if (!answer.data) return h("p", { class: "muted" }, `${what}: asking…`);
  if (answer.failure) return h("p", { class: "problem", role: "status" }, `⚠ ${what}: this is from ${span((performance.now() - answer.at) / 1000)} ago. ${answer.failure.message}`);
  return null;
}

const copied = new Map();

/** A text to take along, with a button. */
export function copyable(text, label = "copy", isPrimary) {
  const isCopied = performance.now() - (copied.get(text) ?? -1e9) < 2000;
  return h("button", { class: isPrimary ? "" : "small", onclick: async () => {
    if (!(await copy(text))) return;
    copied.set(text, performance.now());
    redraw();
    setTimeout(redraw, 2100);
  } }, isCopied ? "✔ copied" : label);
}

export function panel(title, props, ...content) {
  const { tools, id, className = "", ...rest } = props ?? {};
  return h("section", { class: `panel ${className}`, key: id ?? title, "aria-label": title, ...rest },
    h("header", null, h("h2", null, title), tools ? h("div", { class: "tools" }, tools) : null), ...content);
}

/** A table that scrolls within its own frame on narrow screens. */
export function table(head, rows, { label, empty = "nothing", className = "" } = {}) {
  return h("div", { class: "scroll", tabindex: rows.length > 0 ? 0 : undefined, role: "region", "aria-label": label },
    h("table", { class: className },
      h("thead", null, h("tr", null, head.map((cell) => h("th", { scope: "col", class: cell.right ? "right" : undefined }, cell.text ?? cell)))),
      h("tbody", null, rows.length > 0 ? rows : h("tr", null, h("td", { colspan: head.length, class: "muted" }, empty)))));
}

export const right = (text) => ({ text, right: true });

/** Events as a list, newest first. */
export function eventList(events, { empty = "nothing has happened yet" } = {}) {
  if (events.length === 0) return h("p", { class: "muted" }, empty);
  return h("ol", { class: "events" }, events.map((event) => h("li", { key: event.id, class: eventKind(event.kind) },
    h("time", { datetime: new Date(event.unixMs).toISOString() }, clock(event.unixMs)),
    h("span", { class: "event-kind" }, `${EVENT_SYMBOLS[eventKind(event.kind)]} ${event.kind}`),
    h("span", { class: "event-text" }, event.sentence,
      event.actor ? h("span", { class: "muted" }, ` by ${event.actor}`) : null,
      event.reason ? h("span", { class: "muted" }, `: ${event.reason}`) : null))));
}

const EVENT_SYMBOLS = { bad: "✖", good: "✔", warn: "⚠", calm: "•" };

export function eventKind(kind) {
  if (["harm", "rolled-back", "reload-rejected", "starved"].includes(kind)) return "bad";
  if (["promoted", "step-passed", "reload-applied", "approved"].includes(kind)) return "good";
  if (["no-evidence", "too-long", "holding", "awaiting-approval", "paused", "edit-ignored"].includes(kind)) return "warn";
  return "calm";
}

export const users = (number) => (number === 1 ? "1 user" : `${count(number)} users`);
