// Numbers and states in words. Every state has a symbol and a word, so that colour is never the only carrier.

export const PHASES = {
  idle: ["•", "idle", "calm"],
  progressing: ["▸", "progressing", "go"],
  holding: ["◌", "holding", "wait"],
  paused: ["‖", "paused", "wait"],
  "awaiting-approval": ["?", "awaiting approval", "wait"],
  "awaiting-window": ["◷", "awaiting its window", "wait"],
  promoted: ["✔", "promoted", "good"],
  "rolled-back": ["✖", "rolled back", "bad"],
  superseded: ["⤳", "superseded by the file", "calm"],
  running: ["▸", "running", "go"],
  removed: ["–", "removed", "calm"],
};

export const VERDICTS = {
  pass: ["✔", "pass", "good"],
  harm: ["✖", "harm", "bad"],
  waiting: ["◌", "waiting", "wait"],
  unknown: ["⚠", "unknown", "warn"],
};

export const ENDPOINTS = {
  ready: ["✔", "ready", "good"],
  ejected: ["⚠", "ejected", "warn"],
  unhealthy: ["✖", "unhealthy", "bad"],
  draining: ["‖", "draining", "wait"],
  unresolved: ["⚠", "unresolved", "warn"],
};

export const STEPS = { done: "✔", current: "▸", next: "•", skipped: "–" };

const grouping = new Intl.NumberFormat("en-US");
const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

export const count = (value) => (isNumber(value) ? grouping.format(Math.round(value)) : "–");

/** A share between 0 and 1, as `0.07 %`. */
export function percent(share, places) {
  if (!isNumber(share)) return "–";
  const value = share * 100;
  return `${trimmed(value, places ?? (value === 0 || Math.abs(value) >= 10 ? 1 : 2))} %`;
}

/** Evidence, of how much is enough: whole numbers lose what the computer's arithmetic put behind the point. */
export const evidence = (value) => (isNumber(value) ? (value >= 100 ? count(value) : trimmed(value, 1)) : "–");

/** A difference of two shares, in percentage points. */
export const points = (share) => (isNumber(share) ? `${sign(share)}${trimmed(Math.abs(share) * 100, 2)} pp` : "–");

export function ms(value) {
  if (!isNumber(value)) return "–";
  const size = Math.abs(value);
  if (size >= 10_000) return `${trimmed(value / 1000, 1)} s`;
  return `${trimmed(value, size < 10 ? 1 : 0)} ms`;
}

export const msDifference = (value) => (isNumber(value) ? `${sign(value)}${ms(Math.abs(value))}` : "–");

const sign = (value) => (value < 0 ? "−" : "+");
const trimmed = (value, places) => {
  const text = value.toFixed(places);
  return text.includes(".") ? text.replace(/\.?0+$/, "") : text;
};

/** A difference in the unit of its gate. */
export const inUnit = (value, unit) => (unit === "ms" ? ms(value) : percent(value));
export const differenceInUnit = (value, unit) => (unit === "ms" ? msDifference(value) : points(value));

/** `45s`, `12m 5s`, `1h 30m`, `2d 4h`, as the command line says it. */
export function span(seconds) {
  if (!isNumber(seconds)) return "–";
  const all = Math.max(0, Math.floor(seconds));
  const [days, hours, minutes, rest] = [Math.floor(all / 86400), Math.floor(all / 3600) % 24, Math.floor(all / 60) % 60, all % 60];
  const two = (big, unit, small, below) => (small === 0 ? `${big}${unit}` : `${big}${unit} ${small}${below}`);
  if (days > 0) return two(days, "d", hours, "h");
  if (hours > 0) return two(hours, "h", minutes, "m");
  return minutes > 0 ? two(minutes, "m", rest, "s") : `${rest}s`;
}

const pad = (number) => String(number).padStart(2, "0");

/** The time of day here, with the date when it is not today. */
export function clock(unixMs, { seconds = true } = {}) {
  if (!isNumber(unixMs)) return "–";
  const date = new Date(unixMs);
  const time = `${pad(date.getHours())}:${pad(date.getMinutes())}${seconds ? `:${pad(date.getSeconds())}` : ""}`;
  return date.toDateString() === new Date().toDateString() ? time : `${day(unixMs)} ${time}`;
}

export function day(unixMs) {
  const date = new Date(unixMs);
  return `${date.getFullYear()}-${pad(date.getMonth() + 1)}-${pad(date.getDate())}`;
}

/** A time that both sides of an ocean understand. */
export const utc = (unixMs) => (isNumber(unixMs) ? new Date(unixMs).toISOString().replace("T", " ").replace(/\.\d+Z$/, " UTC") : "–");

/** `v41 → v42`, or the names of the variants where no version is written. */
export function versions(rollout) {
  return `${rollout.fromVersion || rollout.from || "?"} → ${rollout.toVersion || rollout.to || "?"}`;
}

/** A step of a plan in a few words. */
export function stepText(step) {
  if (step.approve) return `approval${step.approve.length ? ` by ${step.approve.join(", ")}` : ""}`;
  if (step.ramp) return `${step.cohort} ${step.ramp[0]}→${step.ramp[step.ramp.length - 1]} %`;
  return `${step.cohort ?? "everyone"} ${step.weight ?? "?"} %`;
}

/** Gates in the order in which an engineer should look: harm, then the most evidence; last those that have nothing to compare with. */
export function gatesByWeight(rollout) {
  const rank = { harm: 3, pass: 2, waiting: 1 };
  const weight = (gate) => (rank[gate.verdict] ?? 0) * 1e6 + (gate.needed > 0 ? (gate.evidence ?? 0) / gate.needed : 0);
  return (rollout.gates ?? []).filter((gate) => !gate.cohort || isBegun(rollout, gate.cohort)).sort((a, b) => weight(b) - weight(a));
}

export const worstGate = (rollout) => gatesByWeight(rollout)[0] ?? null;

/** A cohort that no step has reached has gates of the release before, if any. */
function isBegun(rollout, cohort) {
  const steps = (rollout.plan ?? []).filter((step) => step.cohort === cohort);
  return steps.length === 0 || steps.some((step) => step.state !== "next");
}

const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);
const rolledBack = (why) => (/^rolled back/i.test(why) ? capital(why) : `Rolled back. ${capital(why)}`);

/** A whole cohort has the new version, so that nobody is left to compare it with. */
export const hasAll = (rollout, name) => (rollout.cohorts ?? []).some((cohort) => cohort.name === name && cohort.share >= 1);

/** How a rollout is, as `[kind, symbol, sentence]`, for whoever has five seconds. */
export function health(rollout) {
  const worst = worstGate(rollout);
  const where = (gate) => `${gate.cohort ? `${gate.cohort}: ` : ""}${gate.text || gate.name}`;
  if (rollout.phase === "rolled-back") return ["bad", "✖", rolledBack(rollout.decision?.sentence || rollout.why || "")];
  if (worst?.verdict === "harm") return ["bad", "✖", `The canary does harm. ${where(worst)}`];
  if (rollout.phase === "promoted") return ["good", "✔", `Promoted: ${rollout.toVersion || rollout.to} serves everybody it was meant for.`];
  if (worst && worst.needed > 0 && worst.evidence / worst.needed > 0.5) {
    return ["warn", "⚠", `Evidence of harm is growing. ${where(worst)}`];
  }
  if (rollout.phase === "paused" || rollout.phase.startsWith("awaiting")) return ["wait", PHASES[rollout.phase][0], rollout.why || PHASES[rollout.phase][1]];
  // a cohort that is over, or all on one version, has nothing to compare: what counts is the cohort of this step
  const cohort = rollout.plan?.find((step) => step.state === "current")?.cohort;
  const ofStep = (rollout.gates ?? []).filter((gate) => !cohort || !gate.cohort || gate.cohort === cohort);
  const passing = ofStep.filter((gate) => gate.verdict === "pass").length;
  const here = cohort ? ` in ${cohort}` : "";
  const old = rollout.fromVersion || rollout.from || "stable";
  if (passing === 0) {
    const isWaiting = ofStep.length === 0 || ofStep.some((gate) => gate.verdict === "waiting");
    if (isWaiting) return ["wait", "◌", `Too early to say${here}: ${rollout.why || "not enough data yet"}`];
    // by plan, and no reason to worry
    if (hasAll(rollout, cohort)) return ["wait", "◌", `All of ${cohort} have ${rollout.toVersion || rollout.to}: nobody of ${old} is left there to compare with.`];
    return ["warn", "⚠", `No gate can say${here}: there is nothing of ${old} to compare with.`];
  }
  return ["good", "✔", `No worse than ${old}${here}, by ${passing === ofStep.length ? "every gate" : `${passing} of ${ofStep.length} gates; the others have not enough data`}.`];
}
