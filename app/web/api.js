// The server's HTTP interface and the session in which this browser is signed in.

const KEY = "doorstep.session";
/** The longest wait for an answer. */
const PATIENCE_MS = 20_000;

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.title ?? `The server answered ${status}.`);
    this.status = status;
    /** What is wrong with which field. */
    this.errors = body.errors ?? [];
  }
}

/** Events: `expired` when the token is no longer valid, `changed` when another tab signed in or out. */
export const ended = new EventTarget();

/** `{token, user, expires_at}`, shared by the tabs of this browser, or null. */
export function session() {
  try {
    return JSON.parse(localStorage.getItem(KEY));
  } catch {
    return null;
  }
}

export function keep(session) {
  if (session) localStorage.setItem(KEY, JSON.stringify(session));
  else localStorage.removeItem(KEY);
}

const tabs = typeof BroadcastChannel === "function" ? new BroadcastChannel("doorstep.page") : null;

/** Tells the other tabs of this browser that something has changed on the server. */
export const touched = () => tabs?.postMessage("touched");
/** Calls this when another tab has changed something. */
export const onTouched = (listener) => tabs?.addEventListener("message", () => listener());

// Another tab signed out, or signed in as another user.
addEventListener("storage", ({ key }) => key === KEY && ended.dispatchEvent(new Event("changed")));

export async function call(method, path, body, headers = {}) {
  const token = session()?.token;
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body), signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch {
    throw new Problem(0, { detail: "The server cannot be reached." });
  }
  const answer = response.status === 204 ? null : await response.json().catch(() => ({}));
  // An answer for a user who has signed out is not shown to the next user.
  if (session()?.token !== token) throw new Problem(0, { detail: "Somebody else has signed in." });
  if (response.ok) return answer;
  if (response.status === 401 && token) ended.dispatchEvent(new Event("expired"));
  throw new Problem(response.status, answer);
}

/** The paths of this server, from its own description. Trying each path would fill the console with errors. */
const paths = fetch("/openapi.json").then((answer) => answer.json()).then((description) => Object.keys(description.paths), () => []);

/** Whether the server has this path. */
export const has = async (path) => (await paths).includes(path);

/** Runs `work`. Calls during a run cause one more run after it, so that they read new data. */
export function coalesced(work) {
  let running = null;
  let next = null;
  const start = () => {
    running = work().finally(() => { running = null; });
    return running;
  };
  return () => {
    if (!running) return start();
    next ??= running.catch(() => {}).then(() => {
      next = null;
      return start();
    });
    return next;
  };
}

/** That many random bytes in hexadecimal. `crypto.randomUUID` exists only over TLS and on this machine. */
export function random(bytes) {
  return [...crypto.getRandomValues(new Uint8Array(bytes))].map((b) => b.toString(16).padStart(2, "0")).join("");
}
