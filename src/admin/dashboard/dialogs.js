// Dialogs: one question, one focused button. A dialog of the browser keeps the focus inside and closes on Escape.

import { h, render } from "./dom.js";
import { redraw, onRedraw } from "./state.js";

let open = null;
let root = null;

/** `view()` describes the content; it is drawn again with the page. */
export function show(title, view, { className = "" } = {}) {
  open = { title, view, className, opener: document.activeElement };
  draw();
}

export function hide() {
  const opener = open?.opener;
  open = null;
  draw();
  opener?.focus?.();
}

export const isOpen = () => open !== null;

function draw() {
  root ??= document.getElementById("dialogs");
  render(root, open ? h("dialog", {
    key: "dialog", class: open.className, "aria-label": open.title,
    ref: (element) => queueMicrotask(() => {
      if (!element.isConnected || element.open) return;
      element.showModal();
      element.querySelector("[data-focus]")?.focus();
    }),
    onclose: () => { if (open) hide(); },
  }, h("header", null, h("h2", null, open.title), h("button", { class: "small", "aria-label": "close", onclick: hide }, "✕")), open.view()) : null);
}

onRedraw(() => { if (open) draw(); });

/** Moves the focus to the element that asks for it, after the next drawing. */
export function focusAsked() {
  redraw();
  requestAnimationFrame(() => requestAnimationFrame(() => root?.querySelector("[data-focus]")?.focus()));
}
