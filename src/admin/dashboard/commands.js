// What people ask of a rollout: one dialog for each, that says what will happen, does it, and says how to undo it.

import { h } from "./dom.js";
import { redraw } from "./state.js";
import { refusal, getWithTag, post, refresh, enc } from "./api.js";
import { show, hide, focusAsked } from "./dialogs.js";
import { copyable } from "./parts.js";
import { versions } from "./words.js";

const COMMANDS = {
  rollback: { title: "Roll back", verb: "Roll back", key: "b", isSafe: true, isDanger: true, hasCohort: true, text: (r) => `Everybody who has ${r.toVersion || r.to} gets ${r.fromVersion || r.from} from the next request on. Requests in flight are finished.` },
  pause: { title: "Pause", verb: "Pause", key: "p", isSafe: true, text: () => "Shares stay as they are; no step begins. The judge goes on watching, and takes harm back." },
  resume: { title: "Resume", verb: "Resume", key: "p", text: () => "The rollout goes on where it was paused." },
  promote: { title: "Promote", verb: "Promote", key: "m", text: (r) => `The next step begins at once, without the rest of step ${r.step}'s time and evidence.` },
  "promote-full": { title: "Promote fully", verb: "Promote fully", isDanger: true, text: (r) => `All steps at once: ${r.toVersion || r.to} for everybody the plan names, without evidence.` },
  approve: { title: "Approve", verb: "Approve", key: "a", text: () => "The step that waits for a person is done, and the next one begins." },
  retry: { title: "Retry", verb: "Retry", text: () => "What was taken back or stopped begins again, with new evidence." },
  skip: { title: "Skip step", verb: "Skip the step", text: (r) => `Step ${r.step} is left out.` },
  "set-weight": { title: "Set weight", verb: "Set the weight", hasCohort: true, needsCohort: true, hasWeight: true, text: () => "A share by hand, over the plan's." },
};

export const commandOf = (name) => COMMANDS[name];

/** Whether a command is possible now for this person: `{enabled, reason}`. */
export function ability(rollout, name) {
  const action = rollout.actions?.find((candidate) => candidate.name === name);
  const reason = refusal("operator") ?? (action ? (action.enabled ? null : action.reason || "not possible in this phase") : "not possible in this phase");
  return { enabled: reason === null, reason };
}

/** A button for a command. One that is not possible can still be reached, and says why. */
export function commandButton(rollout, name, { label, className = "" } = {}) {
  const command = COMMANDS[name];
  const { enabled, reason } = ability(rollout, name);
  return h("button", {
    key: name, class: `${className}${enabled ? "" : " off"}`, "data-command": name,
    "aria-disabled": enabled ? undefined : "true",
    title: enabled ? `${command.title}${command.key ? ` (${command.key})` : ""}` : `${command.title}: ${reason}`,
    onclick: () => ask(rollout, name),
  }, label ?? command.title, enabled ? null : h("span", { class: "hidden-text" }, ` (not possible: ${reason})`));
}

/** Opens the dialog of a command, or says why it is not possible. */
export function ask(rollout, name) {
  const { enabled, reason } = ability(rollout, name);
  const command = COMMANDS[name];
  const form = { cohort: "", reason: "", variant: rollout.to ?? "", weight: "", lasts: "", isBusy: false, failure: null, result: null, preview: null };
  if (!enabled) return show(`${command.title}: not possible`, () => h("div", { class: "body" }, h("p", null, sentence(reason)), buttons(h("button", { "data-focus": true, onclick: hide }, "Close"))));
  if (command.needsCohort) form.cohort = rollout.cohorts?.[0]?.name ?? "everyone";
  show(`${command.title} ${rollout.service}`, () => (form.result ? done({ ...form, name }) : question(rollout, name, form)), { className: command.isDanger ? "danger" : "" });
}

function question(rollout, name, form) {
  const command = COMMANDS[name];
  const submit = async (event) => {
    event?.preventDefault();
    if (form.isBusy) return;
    form.isBusy = true;
    form.failure = null;
    redraw();
    try {
      form.result = await send(rollout, name, form, false);
    } catch (failure) {
      form.failure = failure;
    }
    form.isBusy = false;
    refresh("/rollouts");
    focusAsked();
  };
  const look = async () => {
    try {
      form.preview = (await send(rollout, name, form, true)).text;
    } catch (failure) {
      form.preview = failure.message;
    }
    redraw();
  };
  const input = (field, label, props) => h("label", { class: "field" }, h("span", null, label),
    h("input", { value: form[field], autocomplete: "off", spellcheck: "false", ...props, oninput: (event) => { form[field] = event.target.value; form.preview = null; redraw(); } }));
  return h("form", { class: "body", onsubmit: submit },
    h("p", null, h("b", null, rollout.service), ` ${versions(rollout)}. `, command.text(rollout)),
    command.hasCohort ? h("label", { class: "field" }, h("span", null, "whom"),
      h("select", { value: form.cohort, onchange: (event) => { form.cohort = event.target.value; form.preview = null; redraw(); } },
        command.needsCohort ? null : h("option", { value: "" }, "every cohort"),
        (rollout.cohorts ?? []).map((cohort) => h("option", { key: cohort.name, value: cohort.name }, `only ${cohort.name}`)))) : null,
    command.hasWeight ? [
      input("variant", "variant"),
      input("weight", "percent of the cohort", { required: true, inputmode: "decimal", placeholder: "25" }),
      input("lasts", "for (empty: until changed)", { placeholder: "30m" })] : null,
    input("reason", "reason (in the audit log)", { placeholder: command.isSafe ? "optional" : "" }),
    form.preview ? h("p", { class: "preview", role: "status" }, form.preview) : null,
    form.failure ? h("p", { class: "problem", role: "alert" }, `✖ ${form.failure.message}`) : null,
    buttons(
      h("button", { type: "submit", class: command.isDanger ? "danger" : "primary", "data-focus": true, "data-confirm": true, disabled: false }, form.isBusy ? "asking…" : command.verb),
      h("button", { type: "button", onclick: look }, "What would happen?"),
      h("button", { type: "button", onclick: hide }, "Cancel")));
}

function done({ name, result }) {
  const [symbol, word] = { done: ["✔", "Done"], unchanged: ["•", "Nothing to do"] }[result.result] ?? ["✔", "Done"];
  return h("div", { class: "body", "data-result": result.result },
    h("p", { role: "status", class: "told" }, `${symbol} ${word}. `, sentence(result.text)),
    result.undo ? [h("h3", null, "To undo it"), snippet(result.undo)] : null,
    result.permanent ? [h("h3", null, "To make it permanent, write this into the file"), snippet(result.permanent)] : null,
    name === "rollback" && result.result === "done" && !result.permanent ? h("p", null, "It holds through reloads and restarts, and the file gives no more than that: there is nothing to write.") : null,
    buttons(h("button", { "data-focus": true, class: "primary", onclick: hide }, "Close")));
}

/** A text to copy, with its button. */
export const snippet = (text) => h("div", { class: "snippet" }, h("pre", { tabindex: 0 }, text), copyable(text));

const buttons = (...list) => h("p", { class: "buttons" }, list);
const sentence = (text) => (text ? text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? "" : ".") : "");

async function send(rollout, name, form, isDry) {
  const body = {};
  for (const field of ["cohort", "reason"]) if (form[field]) body[field] = form[field];
  if (name === "set-weight") {
    body.variant = form.variant;
    body.weight = Number(form.weight);
    if (form.lasts) body.for = form.lasts;
  }
  if (name === "promote-full") body.full = true;
  const word = name === "promote-full" ? "promote" : name;
  const headers = {};
  // the safer direction never fails because somebody else was faster; the others are about the state that was seen
  if (!COMMANDS[name].isSafe && !isDry) {
    const seen = await getWithTag(`/rollouts/${enc(rollout.service)}`);
    if (seen.value?.phase && (seen.value.phase !== rollout.phase || seen.value.step !== rollout.step)) {
      throw new Error(`the rollout has moved on meanwhile: it is ${seen.value.phase}, step ${seen.value.step}`);
    }
    if (seen.etag) headers["if-match"] = seen.etag;
  }
  return post(`/rollouts/${enc(rollout.service)}/${word}${isDry ? "?dryRun=true" : ""}`, body, headers);
}
