// How much the process logs, and another level for a while.

import { h } from "./dom.js";
import { redraw } from "./state.js";
import { use, post, refresh, refusal } from "./api.js";
import { panel, state } from "./parts.js";

const LEVELS = ["error", "warn", "info", "debug", "trace"];
const TIMES = ["10m", "1h", "6h"];
const wish = { level: "debug", lasts: TIMES[0], result: null, failure: null };

export function log() {
  const answer = use("/log-level", 5000);
  const refused = refusal("admin");
  const pick = (name, label, all) => h("label", { class: "field" }, h("span", null, label),
    h("select", { value: wish[name], onchange: (event) => { wish[name] = event.target.value; redraw(); } }, all.map((of) => h("option", { key: of, value: of }, of))));
  const button = (label, body) => h("button", { class: refused ? "off" : "", "aria-disabled": refused ? "true" : undefined, title: refused ?? undefined, onclick: () => (refused ? null : send(body)) }, label);
  return panel("Log", { id: "log-level" }, state(answer, "log level"),
    answer.data ? h("p", { role: "status" }, "The log is at ", h("b", null, answer.data.level || "the level of its start"), ".") : null,
    h("div", { class: "form" }, pick("level", "level", LEVELS), pick("lasts", "for", TIMES)),
    h("p", { class: "buttons" }, button("Log so for a while", { level: wish.level, for: wish.lasts }), button("As at the start", { level: "default" })),
    wish.result ? h("p", { role: "status" }, `✔ ${wish.result.text}`) : null,
    wish.failure ? h("p", { class: "problem", role: "alert" }, `✖ ${wish.failure.message}`) : null,
    h("p", { class: "note" }, refused ? `Not possible: ${refused}.` : "It ends by itself, and stands in the audit log. The log is where the process writes it: journalctl, kubectl logs, docker logs."));
}

async function send(body) {
  try {
    wish.result = await post("/log-level", body);
    wish.failure = null;
  } catch (failure) {
    Object.assign(wish, { result: null, failure });
  }
  refresh("/log-level");
  refresh("/events");
}
