// A plot as a file: its numbers as CSV, its picture as PNG. Nothing leaves the browser.

/** RFC 4180; a cell that a spreadsheet would take for a formula is made a text. */
function cell(value) {
  if (typeof value === "number") return Number.isFinite(value) ? String(value) : "";
  if (value == null) return "";
  const text = /^[=+\-@\t\r]/.test(value) ? `'${value}` : String(value);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

export const csv = (rows) => `${rows.map((row) => row.map(cell).join(",")).join("\r\n")}\r\n`;

export function saveCsv(id, xs, lines, axis) {
  const names = lines.flatMap((line) => (line.low ? [line.name, `${line.name} low`, `${line.name} high`] : [line.name]));
  const head = axis === "time" ? ["unix_ms", "utc", ...names] : [axis, ...names];
  const rows = xs.map((x, at) => {
    const values = lines.flatMap((line) => (line.low ? [line.values[at], line.low[at], line.high[at]] : [line.values[at]]));
    return axis === "time" ? [x, new Date(x).toISOString(), ...values] : [x, ...values];
  });
  save(`ringway-${id}.csv`, new Blob([csv([head, ...rows])], { type: "text/csv" }));
}

const LOOKS = ["fill", "fill-opacity", "stroke", "stroke-width", "stroke-dasharray", "stroke-opacity", "opacity", "font-size", "font-family", "font-weight"];

/** Draws the plot, with its title and legend above, as it looks now. */
export async function savePng(id, figure, title, lines) {
  const chart = figure.querySelector("svg.chart");
  const [width, height, head] = [chart.viewBox.baseVal.width, chart.viewBox.baseVal.height, 24];
  const copy = chart.cloneNode(true);
  const [from, to] = [chart.querySelectorAll("*"), copy.querySelectorAll("*")];
  // a picture has no style sheet: what it gave is written on each element
  from.forEach((element, at) => {
    const style = getComputedStyle(element);
    for (const name of LOOKS) to[at].setAttribute(name, style.getPropertyValue(name));
  });
  copy.setAttribute("width", width);
  copy.setAttribute("height", height);
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(new XMLSerializer().serializeToString(copy))}`;
  await picture.decode();

  const scale = 2;
  const canvas = document.createElement("canvas");
  canvas.width = width * scale;
  canvas.height = (height + head) * scale;
  const paint = canvas.getContext("2d");
  const page = getComputedStyle(document.documentElement);
  paint.scale(scale, scale);
  paint.fillStyle = page.getPropertyValue("--panel");
  paint.fillRect(0, 0, width, height + head);
  paint.fillStyle = page.getPropertyValue("--text");
  paint.font = "600 13px sans-serif";
  paint.fillText(title, 8, 17);
  let x = 16 + paint.measureText(title).width;
  paint.font = "12px sans-serif";
  for (const line of lines) {
    paint.fillStyle = page.getPropertyValue(`--${line.look}`) || page.getPropertyValue("--text");
    paint.fillText(`— ${line.name}`, x, 17);
    x += paint.measureText(`— ${line.name}`).width + 12;
  }
  paint.drawImage(picture, 0, head, width, height);
  canvas.toBlob((blob) => save(`ringway-${id}.png`, blob), "image/png");
}

export function save(name, blob) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name.replaceAll(/[^\w.-]+/g, "_");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** Copies a text; says whether that was possible. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // without a secure context there is only the old way
    const area = document.createElement("textarea");
    area.value = text;
    (document.querySelector("dialog[open]") ?? document.body).append(area);
    area.select();
    const isCopied = document.execCommand("copy");
    area.remove();
    return isCopied;
  }
}
