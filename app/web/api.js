// The server's HTTP interface and the session in which this browser is signed in.

const KEY = "doorstep.session";

export class Problem extends Error {
  constructor(status, body) {
    super(body.detail ?? body.title ?? `The server answered ${status}.`);
    this.status = status;
    /** What is wrong with which field. */
    this.errors = body.errors ?? [];
  }
}

/** Tells whoever is concerned that the token is good no more. */
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

// Another tab signed out, or in as somebody else.
addEventListener("storage", ({ key }) => key === KEY && ended.dispatchEvent(new Event("changed")));

export async function call(method, path, body, headers = {}) {
  const token = session()?.token;
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers["content-type"] = "application/json";
  let response;
  try {
    response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  } catch {
    throw new Problem(0, { detail: "The server cannot be reached." });
  }
  const answer = response.status === 204 ? null : await response.json().catch(() => ({}));
  if (response.ok) return answer;
  if (response.status === 401 && token) ended.dispatchEvent(new Event("expired"));
  throw new Problem(response.status, answer);
}

/** Whether the server has this at all; what needs a token says 401 and is there. */
export async function has(path) {
  try {
    return (await fetch(path)).status !== 404;
  } catch {
    return false;
  }
}

/** Hexadecimal, of so many random bytes. `crypto.randomUUID` is only there over TLS and on this machine. */
export function random(bytes) {
  return [...crypto.getRandomValues(new Uint8Array(bytes))].map((b) => b.toString(16).padStart(2, "0")).join("");
}
