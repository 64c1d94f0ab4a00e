// Helpers of the client's tests.

import assert from "node:assert/strict";

export const url = process.env.DOORSTEP_URL;
let users = 0;

async function post(path, body, token) {
  const headers = { "content-type": "application/json", ...(token && { authorization: `Bearer ${token}` }) };
  const response = await fetch(url + path, { method: "POST", headers, body: JSON.stringify(body) });
  assert.ok(response.ok, `${path}: ${response.status} ${await response.clone().text()}`);
  return response.json();
}

export const register = () => post("/v1/users", { username: `node-${process.pid}-${++users}`, password: "correct horse battery" });
export const send = (token, policy, text) => post("/v1/demo/notifications", { policy, text }, token);

/** Waits until `door` raises this event and `when` holds for it. */
export const heard = (door, name, when = () => true) => new Promise((resolve) => {
  const off = door.on(name, (value) => {
    if (!when(value)) return;
    off();
    resolve(value);
  });
});

/** The outcome of a user's notification, from the server's record. */
export async function ended(token, kind) {
  for (;;) {
    const headers = { authorization: `Bearer ${token}` };
    const { steps } = await (await fetch(`${url}/v1/demo/record`, { headers })).json();
    const step = steps.findLast((step) => step.what === "ended" && step.kind === kind);
    if (step) return step.detail;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Replaces the network: the test controls each socket. */
export function fakeSockets() {
  const sockets = [];
  const waiting = [];
  class Fake {
    readyState = 0;
    sent = [];
    constructor(...args) {
      this.args = args;
      sockets.push(this);
      waiting.shift()?.(this);
    }
    open() { this.readyState = 1; this.onopen(); }
    send(text) { this.sent.push(JSON.parse(text)); }
    close() { this.readyState = 3; }
    closed(code) { this.readyState = 3; this.onclose({ code }); }
    push(frame) { this.onmessage({ data: JSON.stringify(frame) }); }
  }
  const next = (n) => sockets[n] ?? new Promise((resolve) => waiting.push(resolve));
  return { Fake, sockets, next };
}

export const frame = (id, more = {}) => ({ type: "notification", id, kind: "welcome", topic: null, created_at: "2026-01-01T00:00:00.000001Z", payload: {}, ...more });
export const settled = () => new Promise((resolve) => setImmediate(resolve));

/** The part of Web Locks that the client uses. */
class Locks {
  #last = new Map();
  #held = new Map();
  async request(name, options, callback = options) {
    if (options.ifAvailable && this.#held.get(name)) return callback(null);
    const before = this.#last.get(name);
    const { signal } = options;
    const aborted = new Promise((_, reject) => signal?.addEventListener("abort", () => reject(signal.reason)));
    const turn = Promise.race([before, aborted]);
    const done = turn.then(async () => {
      this.#held.set(name, true);
      return Promise.resolve(callback({ name })).finally(() => this.#held.delete(name));
    });
    // When a waiter gives up, those behind it must still wait for the holder of the lock.
    this.#last.set(name, Promise.allSettled([before, done]));
    return done;
  }
}

/**
 * Defines a browser's globals for one test: a network that can be disconnected, and a tab that can be hidden or put
 * into the back/forward cache. `shared` adds the locks and storage that tabs share; with `stale` a tab does not see
 * what other tabs write.
 */
export function browser(t, { shared = false, stale = false } = {}) {
  const target = new EventTarget();
  const listening = new Set();
  const document = Object.assign(new EventTarget(), { visibilityState: "visible" });
  const kept = new Map();
  const localStorage = { getItem: (key) => (stale ? null : (kept.get(key) ?? null)), setItem: (key, value) => kept.set(key, value) };
  const navigator = { onLine: true, ...(shared && { locks: new Locks() }) };
  const put = {
    navigator,
    document,
    window: shared ? { localStorage } : {},
    addEventListener(name, listener) {
      listening.add(name);
      target.addEventListener(name, listener);
    },
    removeEventListener(name, listener) {
      listening.delete(name);
      target.removeEventListener(name, listener);
    },
  };
  for (const [name, value] of Object.entries(put)) {
    const before = Object.getOwnPropertyDescriptor(globalThis, name);
    Object.defineProperty(globalThis, name, { value, configurable: true, writable: true });
    t.after(() => (before ? Object.defineProperty(globalThis, name, before) : delete globalThis[name]));
  }
  return {
    document,
    listening,
    locks: navigator.locks,
    page: (name) => target.dispatchEvent(new Event(name)),
    seen: () => JSON.parse(kept.get("doorstep.seen") ?? "[]"),
    online(onLine) {
      navigator.onLine = onLine;
      target.dispatchEvent(new Event(onLine ? "online" : "offline"));
    },
    look(visible) {
      document.visibilityState = visible ? "visible" : "hidden";
      document.dispatchEvent(new Event("visibilitychange"));
    },
  };
}
