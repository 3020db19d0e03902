// Plots in SVG: lines over time with bands, limits and marks, lines over any axis, and intervals.
//
// All plots over time share one cross-hair. Variants differ by dash and width as well as by colour.

import { h } from "./dom.js";
import { redraw } from "./state.js";
import { clock } from "./words.js";
import { saveCsv, savePng } from "./export.js";

const widths = new Map();
let observer = null;
/** Where the pointer or the keyboard is, in the unit of the x axis; shared by plots of the same axis. */
const cross = { axis: null, at: null };

const PAD = { left: 52, right: 10, top: 8, bottom: 20 };

/** How a variant is drawn: the remainder thin and dashed, what is being released thick. */
export function look(name, { from = "stable", to = "canary" } = {}) {
  if (name === from) return "stable";
  if (name === to) return "canary";
  return "other";
}

/**
 * A plot of lines. `xs` are rising numbers; `lines` are `{name, look, values, low, high}` (the last two a band around
 * the values). The legend tells the last values, or those at `focus`. `format` makes texts of values, `formatX` of places on the x axis.
 */
export function plot({ id, title, note, xs, lines, format, formatX, axis = "time", limit, limitText, zero, marks = [], height = 168, dim, ticksX, isLog, top, focus, isClipped }) {
  const width = widths.get(id) ?? 460;
  const inner = { width: width - PAD.left - PAD.right, height: height - PAD.top - PAD.bottom };
  // a band that began as wide as the page would press everything else flat: its last third sets the scale
  const late = (list = []) => (isClipped ? list.slice(Math.floor((list.length * 2) / 3)) : list);
  const given = lines.flatMap((line) => [...line.values, ...late(line.low), ...late(line.high)]).filter(Number.isFinite);
  const limits = Number.isFinite(limit) ? [limit] : [];
  const [low, high, steps] = scale(Math.min(0, ...given, ...limits), Math.max(top ?? 0, ...given, ...limits));
  const [first, last] = [xs[0] ?? 0, xs[xs.length - 1] ?? 1];
  const along = isLog ? (value) => Math.log(Math.max(value, 1e-9)) : (value) => value;
  const x = (value) => PAD.left + ((along(value) - along(first)) / (along(last) - along(first) || 1)) * inner.width;
  const y = (value) => PAD.top + inner.height - ((value - low) / (high - low || 1)) * inner.height;
  const nearest = cross.axis === axis && cross.at !== null ? closest(xs, cross.at, along) : null;
  const place = nearest ?? (focus === undefined ? lastKnown(lines) : closest(xs, focus, along) ?? 0);
  const isEmpty = given.length === 0;

  const summary = `${title}: ${lines.map((line) => `${line.name} ${format(line.values[place])}`).join(", ")}`;
  return h("figure", { class: `plot${dim ? " dim" : ""}`, key: id },
    h("figcaption", null,
      h("span", { class: "plot-title" }, title), menu(id, title, xs, lines, axis),
      h("span", { class: "legend" },
        lines.map((line) => h("span", { class: `key ${line.look}`, key: line.name },
          h("svg", { width: 18, height: 8, "aria-hidden": "true" }, h("path", { d: "M0 4H18", class: `line ${line.look}` })),
          line.name, " ", h("b", null, nearest === null && line.label !== undefined ? line.label : format(line.values[place])))),
        nearest === null ? null : h("span", { class: "muted" }, formatX(xs[nearest])))),
    h("svg", {
      class: "chart", role: "img", tabindex: 0, "aria-label": `${summary}. Arrow keys move along the plot.`,
      viewBox: `0 0 ${width} ${height}`, height, "data-plot": id,
      ref: (element) => watch(element, id), gone: (element) => observer?.unobserve(element),
      onpointermove: (event) => point(event, axis, first, last, isLog, width),
      onpointerleave: () => move(axis, null),
      onblur: () => move(axis, null),
      onkeydown: (event) => step(event, axis, xs, place),
    },
      steps.map((value) => h("g", { key: `y${value}` },
        h("path", { class: "grid", d: `M${PAD.left} ${r(y(value))}H${width - PAD.right}` }),
        h("text", { class: "axis end", x: PAD.left - 6, y: r(y(value)) + 4, "text-anchor": "end" }, format(value)))),
      (ticksX ?? timeTicks(first, last, inner.width)).map((value) =>
        h("text", { class: "axis", key: `x${value}`, x: r(x(value)), y: height - 5, "text-anchor": x(value) > width - 28 ? "end" : "middle" }, formatX(value, true))),
      zero ? h("path", { class: "zero", d: `M${PAD.left} ${r(y(0))}H${width - PAD.right}` }) : null,
      marks.filter((mark) => mark.x >= first && mark.x <= last).map((mark, index) => h("g", { key: `m${index}`, class: `mark ${mark.kind ?? ""}` },
        h("title", null, mark.text),
        h("path", { d: `M${r(x(mark.x))} ${mark.symbol ? PAD.top : height - PAD.bottom - 7}V${height - PAD.bottom}` }),
        mark.symbol ? h("text", { x: r(x(mark.x)) + (x(mark.x) > width - 24 ? -3 : 3), "text-anchor": x(mark.x) > width - 24 ? "end" : "start", y: PAD.top + 8 }, mark.symbol) : null)),
      h("svg", { class: "within", x: PAD.left, y: PAD.top - 3, width: inner.width, height: inner.height + 6, viewBox: `${PAD.left} ${PAD.top - 3} ${inner.width} ${inner.height + 6}` },
        lines.map((line) => (line.low ? h("path", { key: `b${line.name}`, class: `band ${line.look}`, d: band(xs, line.low, line.high, x, y) }) : null)),
        lines.map((line) => h("path", { key: `l${line.name}`, class: `line ${line.look}`, d: path(xs, line.values, x, y) }))),
      Number.isFinite(limit) ? h("g", { class: "limit", key: "limit" },
        h("path", { d: `M${PAD.left} ${r(y(limit))}H${width - PAD.right}` }),
        h("text", { x: width - PAD.right, y: r(y(limit)) - 3, "text-anchor": "end" }, limitText ?? `limit ${format(limit)}`)) : null,
      nearest === null ? null : h("g", { class: "cross", key: "cross" },
        h("path", { d: `M${r(x(xs[nearest]))} ${PAD.top}V${height - PAD.bottom}` }),
        lines.map((line) => (Number.isFinite(line.values[nearest])
          ? h("circle", { class: line.look, cx: r(x(xs[nearest])), cy: r(y(line.values[nearest])), r: 3 }) : null))),
      isEmpty ? h("text", { class: "axis", x: PAD.left + inner.width / 2, y: PAD.top + inner.height / 2, "text-anchor": "middle" }, "no requests in this window") : null),
    note ? h("p", { class: "note" }, note) : null);
}

/** A plot of shares and latencies over time of the variants of a `ringway.series/v1`. */
export function overTime({ series, values, only, ...rest }) {
  const count = series.variants[0]?.requests?.length ?? 0;
  const xs = Array.from({ length: count }, (_, at) => (series.fromUnixSeconds + (at + 1) * series.stepSeconds) * 1000);
  const lines = series.variants.filter((variant) => !only || only(variant)).map((variant) => ({ name: variant.name, look: look(variant.name, rest.roles), values: values(variant) }));
  const marks = (series.marks ?? []).filter((mark) => !series.cohort || !mark.cohort || mark.cohort === series.cohort).map((mark) => ({ x: mark.unixMs, text: `${clock(mark.unixMs)} ${mark.text}`, kind: mark.kind, symbol: SYMBOLS[mark.kind] }));
  return plot({ xs, lines: rest.extra ? [...lines, ...rest.extra] : lines, marks, formatX: timeText, ...rest });
}

/** What is worth a line through the plot; steps and the rest are ticks at its foot. */
const SYMBOLS = { started: "▸", "rolled-back": "✖", harm: "✖", promoted: "✔", paused: "‖", "weight-set": "±", superseded: "⤳" };

export const timeText = (value, isAxis) => clock(value, { seconds: !isAxis || cross.isShort });

/** The sum over the last `span` values of `above` over that of `below`, so that one request does not make a spike. */
export function rolling(above, below, span) {
  let [up, down] = [0, 0];
  return above.map((_, at) => {
    up += above[at] ?? 0;
    down += below[at] ?? 0;
    if (at >= span) {
      up -= above[at - span] ?? 0;
      down -= below[at - span] ?? 0;
    }
    return down > 0 ? up / down : null;
  });
}

/** A difference with its interval and its limit, on one line; for a row of a table. */
export function interval({ value, low, high, limit, label, verdict }) {
  const all = [value, low, high, 0, limit].filter(Number.isFinite);
  const [least, most] = [Math.min(...all), Math.max(...all)];
  const room = (most - least) * 0.1 || 1;
  const x = (at) => r(4 + ((at - least + room) / (most - least + 2 * room)) * 112);
  return h("svg", { class: `interval ${verdict ?? ""}`, viewBox: "0 0 120 22", width: 120, height: 22, role: "img", "aria-label": label },
    h("title", null, label),
    h("path", { class: "zero", d: `M${x(0)} 2V20` }),
    Number.isFinite(limit) ? h("path", { class: "limit-line", d: `M${x(limit)} 1V21` }) : null,
    h("path", { class: "whisker", d: `M${x(low)} 11H${x(high)}M${x(low)} 7V15M${x(high)} 7V15` }),
    h("circle", { class: "dot", cx: x(value), cy: 11, r: 3.5 }));
}

function menu(id, title, xs, lines, axis) {
  return h("span", { class: "menu" },
    h("button", { class: "small", title: `save “${title}” as CSV`, "aria-label": `save ${title} as CSV`, onclick: () => saveCsv(id, xs, lines, axis) }, "CSV"),
    h("button", { class: "small", title: `save “${title}” as PNG`, "aria-label": `save ${title} as PNG`, onclick: (event) => savePng(id, event.target.closest("figure"), title, lines) }, "PNG"));
}

function watch(element, id) {
  observer ??= new ResizeObserver((entries) => {
    let isNew = false;
    for (const entry of entries) {
      const width = Math.round(entry.contentRect.width);
      if (width > 0 && widths.get(entry.target.dataset.plot) !== width) {
        widths.set(entry.target.dataset.plot, width);
        isNew = true;
      }
    }
    if (isNew) redraw();
  });
  // the width of the first frame is known before it is painted
  queueMicrotask(() => {
    const width = Math.round(element.getBoundingClientRect().width);
    if (width > 0 && widths.get(id) !== width) {
      widths.set(id, width);
      redraw();
    }
  });
  observer.observe(element);
}

function move(axis, at) {
  cross.axis = at === null ? null : axis;
  cross.at = at;
  redraw();
}

function point(event, axis, first, last, isLog, width) {
  const box = event.currentTarget.getBoundingClientRect();
  const within = ((event.clientX - box.left) * (width / box.width) - PAD.left) / (width - PAD.left - PAD.right);
  const share = Math.min(1, Math.max(0, within));
  move(axis, isLog ? first * (last / first) ** share : first + share * (last - first));
}

function step(event, axis, xs, place) {
  const by = { ArrowLeft: -1, ArrowRight: 1, PageUp: -10, PageDown: 10 }[event.key];
  if (by === undefined) return;
  event.preventDefault();
  move(axis, xs[Math.min(xs.length - 1, Math.max(0, place + by))]);
}

function closest(xs, at, along) {
  let best = 0;
  for (let index = 1; index < xs.length; index++) {
    if (Math.abs(along(xs[index]) - along(at)) < Math.abs(along(xs[best]) - along(at))) best = index;
  }
  return xs.length > 0 ? best : null;
}

function lastKnown(lines) {
  let at = Math.max(0, (lines[0]?.values.length ?? 1) - 1);
  while (at > 0 && !lines.some((line) => Number.isFinite(line.values[at]))) at--;
  return at;
}

const r = (value) => Math.round(value * 10) / 10;

function path(xs, values, x, y) {
  let text = "";
  let isDown = false;
  for (let at = 0; at < xs.length; at++) {
    const known = Number.isFinite(values[at]);
    if (known) text += `${isDown ? "L" : "M"}${r(x(xs[at]))} ${r(y(values[at]))}`;
    // a single point would have no length, and be invisible
    if (known && !isDown && !Number.isFinite(values[at + 1])) text += "h1.5";
    isDown = known;
  }
  return text;
}

function band(xs, low, high, x, y) {
  const places = xs.map((_, at) => at).filter((at) => Number.isFinite(low[at]) && Number.isFinite(high[at]));
  if (places.length < 2) return "";
  const over = places.map((at) => `${r(x(xs[at]))} ${r(y(high[at]))}`);
  const under = places.reverse().map((at) => `${r(x(xs[at]))} ${r(y(low[at]))}`);
  return `M${over.join("L")}L${under.join("L")}Z`;
}

/** Round limits of an axis, and its steps. */
function scale(low, high) {
  if (low === high) return [low, low + 1, [low]];
  const rough = (high - low) / 3;
  const power = 10 ** Math.floor(Math.log10(rough));
  const size = [1, 2, 2.5, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough) ?? rough;
  const [least, most] = [Math.floor(low / size + 1e-9) * size, Math.ceil(high / size - 1e-9) * size];
  const steps = [];
  for (let value = least; value <= most + size / 2; value += size) steps.push(Math.abs(value) < size / 1e6 ? 0 : value);
  return [least, most, steps];
}

function timeTicks(first, last, width) {
  const wanted = Math.max(2, Math.floor(width / 64));
  const sizes = [5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200].map((seconds) => seconds * 1000);
  const size = sizes.find((candidate) => (last - first) / candidate <= wanted) ?? sizes[sizes.length - 1];
  cross.isShort = size < 60_000;
  const ticks = [];
  for (let value = Math.ceil(first / size) * size; value <= last; value += size) ticks.push(value);
  return ticks;
}
