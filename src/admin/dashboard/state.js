// What the page shows is in its address, so that it can be sent to a colleague and survives a reload.

const redraws = new Set();
let isPlanned = false;

/** Calls `draw` at the next frame after somebody asked for it. */
export function onRedraw(draw) {
  redraws.add(draw);
}

/** Asks for a redraw; many in a row are one. */
export function redraw() {
  if (isPlanned) return;
  isPlanned = true;
  requestAnimationFrame(() => {
    isPlanned = false;
    for (const draw of redraws) draw();
  });
}

/** The parameters of the address. */
export function params() {
  return Object.fromEntries(new URLSearchParams(location.search));
}

/** The address with these parameters; empty ones are left out. */
export function address(parameters) {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== undefined && value !== null && value !== "") query.set(name, value);
  }
  const text = query.toString();
  return text === "" ? "/" : `/?${text}`;
}

/** Changes some parameters and keeps the others. Typing replaces the entry of the history, choosing makes one. */
export function change(parameters, { replace = false } = {}) {
  const next = address({ ...params(), ...parameters });
  if (next === location.pathname + location.search) return redraw();
  history[replace ? "replaceState" : "pushState"](null, "", next);
  redraw();
}

/** Goes to a page. */
export function go(page, parameters = {}) {
  history.pushState(null, "", address({ page, ...parameters }));
  scrollTo(0, 0);
  redraw();
}

/** Properties of a link within the dashboard: a real address, without a load when it is followed plainly. */
export function linkTo(page, parameters = {}) {
  return {
    href: address({ page, ...parameters }),
    onclick: (event) => {
      if (event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
      event.preventDefault();
      go(page, parameters);
    },
  };
}

/** A preference of this browser. */
export function preference(name, value) {
  try {
    if (value === undefined) return localStorage.getItem(`ringway.${name}`);
    if (value === null) localStorage.removeItem(`ringway.${name}`);
    else localStorage.setItem(`ringway.${name}`, value);
  } catch {
    return null;
  }
  return value;
}

addEventListener("popstate", redraw);
