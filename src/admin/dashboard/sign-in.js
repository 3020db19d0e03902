// The door: a one-time address from the start of the process, or a token.

import { h } from "./dom.js";
import { signIn } from "./api.js";
import { redraw } from "./state.js";

const form = { secret: "", failure: null, isBusy: false };

export function signInPage(failure) {
  const submit = async (event) => {
    event.preventDefault();
    form.isBusy = true;
    redraw();
    try {
      await signIn(form.secret.trim());
      form.failure = null;
      form.secret = "";
    } catch (problem) {
      form.failure = problem;
    }
    form.isBusy = false;
    redraw();
  };
  const problem = form.failure ?? failure;
  return h("main", { class: "page sign-in", key: "sign-in" },
    h("form", { class: "panel", onsubmit: submit },
      h("h1", null, "Sign in"),
      h("p", null, "Open the address that ", h("code", null, "ringway run"), " printed at its start (it works once), or type a token of the ", h("code", null, "tokensFile"), "."),
      h("label", { class: "field" }, h("span", null, "token"),
        h("input", { type: "password", value: form.secret, autocomplete: "current-password", spellcheck: "false", required: true, "data-focus": true,
          ref: (element) => queueMicrotask(() => element.focus()), oninput: (event) => { form.secret = event.target.value; redraw(); } })),
      problem ? h("p", { class: "problem", role: "alert" }, `✖ ${problem.message}`) : null,
      h("p", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, form.isBusy ? "asking…" : "Sign in")),
      h("p", { class: "muted" }, "Nothing is stored in this browser but a cookie that ends with the session.")));
}
