// The API: what was asked, what came back, how old it is.

import { redraw } from "./state.js";

const BASE = "/api/v1";
/** Answers that nobody has looked at for so long are forgotten. */
const KEPT_MS = 60_000;

/** Who looks at this page, as the server says; null before the first answer. */
export const who = { session: null, mustSignIn: false };

/** What went wrong, in the words of the server where it has some (RFC 9457). */
export class Failure extends Error {
  constructor(status, problem) {
    super(problem?.detail || problem?.title || `the server answered with status ${status}`);
    this.status = status;
    this.problem = problem ?? {};
  }
}

async function request(method, path, body, headers = {}) {
  const options = { method, headers: { accept: "application/json", ...headers }, cache: "no-store", credentials: "same-origin" };
  if (method !== "GET") {
    options.headers["content-type"] = "application/json";
    if (who.session?.csrf) options.headers["x-ringway-csrf"] = who.session.csrf;
    options.body = JSON.stringify(body ?? {});
  }
  let response;
  try {
    response = await fetch(BASE + path, options);
  } catch {
    throw new Failure(0, { detail: "Ringway cannot be reached: is the process running?" });
  }
  const text = await response.text();
  let value = null;
  try {
    value = text === "" ? null : JSON.parse(text);
  } catch {
    value = { detail: text.slice(0, 500) };
  }
  if (response.status === 401 && path !== "/session") {
    who.mustSignIn = true;
    redraw();
  }
  if (!response.ok) throw new Failure(response.status, value);
  return { value, etag: response.headers.get("etag") };
}

export const get = async (path) => (await request("GET", path)).value;
export const getWithTag = (path) => request("GET", path);
export const post = async (path, body, headers) => (await request("POST", path, body, headers)).value;

/** Asks who we are. A secret (of the sign-in address, or a token) is exchanged for a cookie. */
export async function signIn(secret) {
  try {
    who.session = secret === undefined ? await get("/session") : await post("/session", { secret });
    who.mustSignIn = false;
  } catch (failure) {
    if (failure.status === 401 || failure.status === 403) who.mustSignIn = true;
    throw failure;
  } finally {
    redraw();
  }
}

export async function signOut() {
  try {
    await request("DELETE", "/session");
  } finally {
    who.session = null;
    who.mustSignIn = true;
    redraw();
  }
}

/** Why this person cannot change something for which `role` is needed; null when they can. */
export function refusal(role) {
  const ranks = { viewer: 0, operator: 1, admin: 2 };
  if (!who.session) return "not signed in";
  if (who.session.readOnly) return "this Ringway is in read-only mode; changes are made in the file";
  if ((ranks[who.session.role] ?? -1) < ranks[role]) return `your role is ${who.session.role}; this needs ${role}`;
  return null;
}

const answers = new Map();

/**
 * The answer to a GET, asked for when it is missing or older than `every` milliseconds (0: once), and the failure of
 * the last try. What was there stays while a new answer is on its way.
 */
export function use(path, every = 0) {
  let answer = answers.get(path);
  if (!answer) {
    answer = { data: null, failure: null, at: -Infinity, triedAt: -Infinity, isLoading: false };
    answers.set(path, answer);
  }
  answer.every = every;
  answer.usedAt = performance.now();
  if (!answer.isLoading && isDue(answer)) load(path, answer);
  return answer;
}

/** Asks again at once, as after a change. */
export function refresh(prefix) {
  for (const [path, answer] of answers) {
    if (path.startsWith(prefix)) answer.triedAt = -Infinity;
  }
  redraw();
}

function isDue(answer) {
  const wait = answer.failure ? Math.max(answer.every, 3000) : answer.every;
  if (answer.triedAt === -Infinity) return true;
  return wait > 0 && !document.hidden && performance.now() - answer.triedAt >= wait;
}

async function load(path, answer) {
  answer.isLoading = true;
  answer.triedAt = performance.now();
  try {
    answer.data = await get(path);
    answer.failure = null;
    answer.at = performance.now();
  } catch (failure) {
    answer.failure = failure;
  }
  answer.isLoading = false;
  redraw();
}

setInterval(() => {
  const now = performance.now();
  let isWanted = false;
  for (const [path, answer] of answers) {
    if (now - answer.usedAt > KEPT_MS) answers.delete(path);
    else if (now - answer.usedAt < 2500 && !answer.isLoading && isDue(answer)) isWanted = true;
  }
  if (isWanted) redraw();
}, 500);

/** Text for the query of an address. */
export const enc = encodeURIComponent;
