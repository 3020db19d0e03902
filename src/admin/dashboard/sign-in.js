// The door: a one-time address from the start of the process, or a token.

import { h } from "./dom.js";
import { signIn } from "./api.js";
import { redraw } from "./state.js";

const form = { secret: "", failure: null, isBusy: false };

export function signInPage(failure, hasEnded) {
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
      hasEnded ? h("p", { role: "status" }, "• Your session has ended: each does with the process, and after twelve hours.") : null,
      h("p", null, "Type a token, or open an address that ", h("code", null, "ringway dashboard"), " prints; it works once. Without a ", h("code", null, "tokensFile"), ", ", h("code", null, "ringway run"), " prints one at its start."),
      h("label", { class: "field" }, h("span", null, "token"),
        h("input", { type: "password", value: form.secret, autocomplete: "current-password", spellcheck: "false", required: true, "data-focus": true,
          ref: (element) => queueMicrotask(() => element.focus()), oninput: (event) => { form.secret = event.target.value; redraw(); } })),
      problem ? h("p", { class: "problem", role: "alert" }, `✖ ${problem.message}`) : null,
      h("p", { class: "buttons" }, h("button", { type: "submit", class: "primary" }, form.isBusy ? "asking…" : "Sign in")),
      h("p", { class: "muted" }, "Nothing is stored in this browser but a cookie that ends with the session.")));
}
