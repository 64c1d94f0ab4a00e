// What the client's tests share.

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

/** Waits until `door` says this, and `when` holds of it. */
export const heard = (door, name, when = () => true) => new Promise((resolve) => {
  const off = door.on(name, (value) => {
    if (!when(value)) return;
    off();
    resolve(value);
  });
});

/** How each notification of a user has ended, in the server's own record. */
export async function ended(token, kind) {
  for (;;) {
    const headers = { authorization: `Bearer ${token}` };
    const { steps } = await (await fetch(`${url}/v1/demo/record`, { headers })).json();
    const step = steps.findLast((step) => step.what === "ended" && step.kind === kind);
    if (step) return step.detail;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Stands in for the network: each socket is under the test's control. */
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
