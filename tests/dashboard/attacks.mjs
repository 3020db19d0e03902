// What pages of strangers can make a browser do to the admin door. Each attack runs in the stranger's page, and answers with
// what the page learned, or null.

/** The attacks, for a page that knows the address of the door. */
export const ATTACKS = [
  // --- reading
  ["fetch", async ({ door }) => (await fetch(`${door}/api/v1/status`)).text()],
  ["fetch with the cookie", async ({ door }) => (await fetch(`${door}/api/v1/rollouts`, { credentials: "include" })).text()],
  ["fetch without CORS", async ({ door }) => (await fetch(`${door}/api/v1/session`, { mode: "no-cors", credentials: "include" })).text()],
  ["fetch with a header", async ({ door }) => (await fetch(`${door}/api/v1/status`, { headers: { authorization: "Bearer rw_guess" } })).text()],
  ["fetch of the stream", async ({ door }) => {
    const reader = (await fetch(`${door}/api/v1/stream`, { credentials: "include" })).body.getReader();
    return new TextDecoder().decode((await reader.read()).value);
  }],
  ["XMLHttpRequest", ({ door }) => new Promise((resolve, reject) => {
    const asked = new XMLHttpRequest();
    asked.open("GET", `${door}/api/v1/config/file`);
    asked.withCredentials = true;
    asked.onload = () => resolve(asked.responseText);
    asked.onerror = reject;
    asked.send();
  })],
  ["img", ({ door }) => new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve(`${image.width} px`);
    image.onerror = reject;
    image.src = `${door}/api/v1/status`;
  })],
  ["script", ({ door }) => new Promise((resolve, reject) => {
    const known = new Set(Object.keys(window));
    const script = document.createElement("script");
    script.onload = () => resolve(Object.keys(window).filter((name) => !known.has(name)).join());
    script.onerror = reject;
    script.src = `${door}/api/v1/status`;
    document.body.append(script);
  })],
  ["stylesheet", ({ door }) => new Promise((resolve, reject) => {
    const link = Object.assign(document.createElement("link"), { rel: "stylesheet", href: `${door}/api/v1/status` });
    link.onload = () => resolve([...document.styleSheets].map((sheet) => sheet.cssRules.length).join());
    link.onerror = reject;
    document.head.append(link);
  })],
  ["EventSource", ({ door }) => new Promise((resolve, reject) => {
    const source = new EventSource(`${door}/api/v1/stream`, { withCredentials: true });
    const heard = (event) => { source.close(); resolve(event.data ?? "open"); };
    for (const name of ["open", "message", "tick", "event"]) source.addEventListener(name, heard);
    source.onerror = () => { source.close(); reject(new Error("refused")); };
  })],
  ["WebSocket", ({ door }) => new Promise((resolve, reject) => {
    const socket = new WebSocket(`${door.replace("http", "ws")}/api/v1/stream`);
    socket.onopen = () => { socket.close(); resolve("open"); };
    socket.onerror = reject;
  })],
  ["frame", ({ door }) => new Promise((resolve, reject) => {
    const frame = document.createElement("iframe");
    frame.onload = () => {
      try {
        resolve(frame.contentWindow.document.body.textContent);
      } catch (error) {
        reject(error);
      }
    };
    frame.src = `${door}/api/v1/status`;
    document.body.append(frame);
  })],
  ["frame around the page", ({ door }) => new Promise((resolve) => {
    const frame = document.createElement("iframe");
    // a page that may be framed could be clicked on unseen; one that may not has no windows of ours inside
    frame.onload = () => {
      try {
        resolve(frame.contentWindow.document.title || null);
      } catch {
        resolve(null);
      }
    };
    frame.src = `${door}/`;
    document.body.append(frame);
  })],
  ["window", async ({ door }) => {
    const other = window.open(`${door}/api/v1/status`);
    if (!other) return null;
    await new Promise((resolve) => { setTimeout(resolve, 300); });
    try {
      return other.document.body.textContent;
    } finally {
      other.close();
    }
  }],
  ["import", async ({ door }) => JSON.stringify(Object.keys(await import(`${door}/api/v1/status`)))],

  // --- changing
  ["form, urlencoded", (at) => submit(at, "application/x-www-form-urlencoded", { reason: "stranger" })],
  ["form, JSON as text/plain", (at) => submit(at, "text/plain", { "{\"reason\":\"stranger\",\"pad\":\"": "\"}" })],
  ["form, multipart", (at) => submit(at, "multipart/form-data", { reason: "stranger" })],
  ["form to the whole window", (at) => submit({ ...at, target: "_blank" }, "text/plain", { "{}": "" })],
  ["fetch, simple", async ({ rollback }) => (await fetch(rollback, { method: "POST", body: "{}", credentials: "include" })).text()],
  ["fetch, simple, without CORS", async ({ rollback }) => (await fetch(rollback, { method: "POST", mode: "no-cors", body: "{}", credentials: "include" })).text()],
  ["fetch, urlencoded", async ({ rollback }) => (await fetch(rollback, { method: "POST", mode: "no-cors", body: new URLSearchParams({ reason: "stranger" }), credentials: "include" })).text()],
  ["fetch, JSON", async ({ rollback }) => (await fetch(rollback, { method: "POST", body: "{}", headers: { "content-type": "application/json" }, credentials: "include" })).text()],
  ["fetch, JSON and the header", async ({ rollback }) => (await fetch(rollback, { method: "POST", body: "{}", headers: { "content-type": "application/json", "x-ringway-csrf": "guess" }, credentials: "include" })).text()],
  ["fetch, a Blob that says JSON", async ({ rollback }) => (await fetch(rollback, { method: "POST", mode: "no-cors", body: new Blob(["{}"], { type: "application/json" }), credentials: "include" })).text()],
  ["fetch, keepalive", async ({ rollback }) => (await fetch(rollback, { method: "POST", mode: "no-cors", keepalive: true, body: "{}", credentials: "include" })).text()],
  ["fetch, without a referrer", async ({ rollback }) => (await fetch(rollback, { method: "POST", mode: "no-cors", referrerPolicy: "no-referrer", body: "{}", credentials: "include" })).text()],
  ["fetch, PUT", async ({ rollback }) => (await fetch(rollback, { method: "PUT", body: "{}", credentials: "include" })).text()],
  ["fetch, DELETE of the session", async ({ door }) => (await fetch(`${door}/api/v1/session`, { method: "DELETE", credentials: "include" })).text()],
  ["fetch, signed in as the stranger", async ({ door }) => (await fetch(`${door}/api/v1/session`, { method: "POST", mode: "no-cors", body: "{\"secret\":\"rw_x\"}", credentials: "include" })).text()],
  ["fetch, by a redirect of the stranger's server", async ({ rollback }) => (await fetch(`/redirect?to=${encodeURIComponent(rollback)}`, { method: "POST", mode: "no-cors", body: "{}", credentials: "include" })).text()],
  ["sendBeacon", async ({ rollback }) => { navigator.sendBeacon(rollback, "{}"); return null; }],
  ["sendBeacon, JSON", async ({ rollback }) => { navigator.sendBeacon(rollback, new Blob(["{}"], { type: "application/json" })); return null; }],
  ["img of a change", ({ rollback }) => new Promise((resolve, reject) => {
    const image = new Image();
    image.onload = () => resolve("loaded");
    image.onerror = reject;
    image.src = `${rollback}?reason=stranger`;
  })],
  ["WebSocket to a change", ({ rollback }) => new Promise((resolve, reject) => {
    const socket = new WebSocket(rollback.replace("http", "ws"));
    socket.onopen = () => { socket.send("{}"); resolve("open"); };
    socket.onerror = reject;
  })],
  ["drain", async ({ door }) => (await fetch(`${door}/api/v1/drain`, { method: "POST", mode: "no-cors", body: "{}", credentials: "include" })).text()],
  ["reload", async ({ door }) => (await fetch(`${door}/api/v1/reload`, { method: "POST", mode: "no-cors", body: "{}", credentials: "include" })).text()],
];

/** Part of the stranger's page. */
export function submit({ rollback, target }, enctype, fields) {
  return new Promise((resolve) => {
    const frame = Object.assign(document.createElement("iframe"), { name: `f${Math.random()}` });
    const form = Object.assign(document.createElement("form"), { method: "POST", action: rollback, enctype, target: target ?? frame.name });
    for (const [name, value] of Object.entries(fields)) form.append(Object.assign(document.createElement("input"), { name, value }));
    let isSent = false;
    frame.onload = () => {
      if (!isSent) return;
      try {
        resolve(frame.contentWindow.document.body.textContent);
      } catch {
        resolve(null);
      }
    };
    document.body.append(frame, form);
    isSent = true;
    form.submit();
    setTimeout(() => resolve(null), 500);
  });
}
