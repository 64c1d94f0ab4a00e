// A notification that has arrived: which listeners get it, when it is recorded as seen, and when acknowledged.

import assert from "node:assert/strict";
import { test } from "node:test";

import { Doorstep } from "../../app/web/doorstep.js";
import { browser, fakeSockets, frame, heard, settled } from "./support.mjs";

/** An open door and its socket. */
async function opened(options = {}, prepare = () => {}) {
  const { Fake, next } = fakeSockets();
  const door = new Doorstep({ url: "http://door.example", token: "t", WebSocket: Fake, baseDelay: 1e9, maxDelay: 1e9, ...options });
  prepare(door);
  door.connect();
  const socket = await next(0);
  socket.open();
  return { door, socket, acks: () => socket.sent.map(({ id }) => id) };
}

/** Waits until nothing more happens by itself: the locks of tabs take a few turns. */
async function quiet() {
  for (let n = 0; n < 20; n++) await settled();
}

const collect = (door, name) => {
  const ids = [];
  door.on(name, ({ id }) => ids.push(id));
  return ids;
};

test("a notification without a listener is neither recorded nor acknowledged, and shown once there is one", async (t) => {
  const { seen } = browser(t, { shared: true });
  const { door, socket, acks } = await opened();
  const others = collect(door, "order.shipped");
  socket.push(frame("a"));
  socket.push(frame("b"));
  await quiet();
  assert.deepEqual([acks(), seen(), others], [[], [], []]);
  const shown = collect(door, "welcome");
  await quiet();
  assert.deepEqual([shown, acks(), seen()], [["a", "b"], ["a", "b"], ["a", "b"]]);
  // Pushed again while there is a listener: handled like any other that was seen.
  socket.push(frame("a"));
  await quiet();
  assert.deepEqual([shown, acks()], [["a", "b"], ["a", "b", "a"]]);
  door.close();
});

test("a notification held for a listener is not shown after the server would have pushed it again", async (t) => {
  let now = 0;
  t.mock.method(Date, "now", () => now);
  const { door, socket, acks } = await opened();
  socket.push(frame("a"));
  await quiet();
  now = 10_000;
  const shown = collect(door, "welcome");
  const received = [];
  door.on("welcome", ({ receivedAt }) => received.push(receivedAt.getTime()));
  await quiet();
  assert.deepEqual([shown, acks()], [[], []], "it may have expired");
  socket.push(frame("a"));
  now = 12_000;
  await quiet();
  assert.deepEqual([shown, acks()], [["a"], ["a"]]);
  assert.deepEqual(received, [10_000], "when its frame came, not when it was shown");
  door.close();
});

test("each of two clients in a page shows and acknowledges the kinds that it listens for", async (t) => {
  browser(t, { shared: true });
  const one = await opened();
  const two = await opened();
  const [welcomes, orders] = [collect(one.door, "welcome"), collect(two.door, "order.shipped")];
  for (let n = 0; n < 6; n++) {
    for (const { socket } of [one, two]) socket.push(frame(`${n}`, { kind: n % 2 ? "order.shipped" : "welcome" }));
  }
  await quiet();
  assert.deepEqual([welcomes, orders], [["0", "2", "4"], ["1", "3", "5"]]);
  assert.deepEqual([one.acks(), two.acks()], [["0", "2", "4"], ["1", "3", "5"]]);
  one.door.close();
  two.door.close();
});

for (const stale of [false, true]) {
  const when = stale ? ", before what one has stored has reached the other" : "";
  test(`two that listen for the same show it once, and both acknowledge it${when}`, async (t) => {
    browser(t, { shared: true, stale });
    const both = [await opened(), await opened()];
    const shown = both.map(({ door }) => collect(door, "welcome"));
    const again = both.map(({ door }) => collect(door, ":duplicate"));
    for (const { socket } of both) for (const id of ["a", "b"]) socket.push(frame(id));
    await quiet();
    assert.deepEqual(shown.flat().sort(), ["a", "b"]);
    assert.deepEqual(again.flat().sort(), ["a", "b"]);
    for (const { acks, door } of both) {
      assert.deepEqual(acks(), ["a", "b"]);
      door.close();
    }
  });
}

for (const shared of [false, true]) {
  test(`after close nothing is shown, noted or acknowledged; the rest is there for the next (${shared ? "tabs" : "alone"})`, async (t) => {
    const { seen } = browser(t, { shared });
    const first = await opened();
    const shown = [];
    first.door.on("welcome", ({ id }) => shown.push(id) === 12 && first.door.close());
    const after = collect(first.door, ":notification");
    const ids = Array.from({ length: 20 }, (_, n) => `${n}`);
    for (const id of ids) first.socket.push(frame(id));
    await quiet();
    assert.deepEqual(shown, ids.slice(0, 12));
    assert.deepEqual(after, ids.slice(0, 11), "not even the next listener of the twelfth");
    assert.ok(first.acks().every((id) => shown.includes(id)));
    if (shared) assert.deepEqual(seen(), shown);
    const second = shared ? await opened() : first;
    const rest = collect(second.door, "welcome");
    if (!shared) return assert.deepEqual(rest, []);
    for (const id of ids) second.socket.push(frame(id));
    await quiet();
    assert.deepEqual(rest, ids.slice(12));
    second.door.close();
  });
}

test("kinds and the client's own events never meet", async () => {
  const { door, socket } = await opened();
  const own = [];
  for (const name of [":state", ":duplicate", ":signed-out", ":error", ":retract"]) door.on(name, (value) => own.push(value));
  const names = ["state", "duplicate", "signed-out", "notification", "error", "retract", "__proto__", "constructor"];
  const shown = names.flatMap((name) => {
    const got = [];
    door.on(name, ({ kind }) => got.push(kind));
    return [got];
  });
  for (const kind of [...names, ":state", ":signed-out"]) socket.push(frame(`id ${kind}`, { kind }));
  await quiet();
  assert.deepEqual(shown, names.map((name) => [name]), "each once, by the listener of its own kind");
  assert.deepEqual(own, []);
  assert.throws(() => door.on(":sate", () => {}), /no event :sate/);
  door.close();
});

test("a hidden tab lets the visible ones go first once, not once for each", async (t) => {
  const { look } = browser(t, { shared: true });
  look(false);
  const { door, socket, acks } = await opened({ hiddenTabWaits: 7 });
  const last = heard(door, "welcome", ({ id }) => id === "59");
  const timers = t.mock.method(globalThis, "setTimeout");
  for (let n = 0; n < 60; n++) socket.push(frame(`${n}`));
  await last;
  assert.equal(timers.mock.calls.filter((call) => call.arguments[1] === 7).length, 1);
  await quiet();
  assert.equal(acks().length, 60);
  door.close();
});

test("another tab that hangs while it holds the locks does not block the others for ever", async (t) => {
  const { locks } = browser(t, { shared: true });
  for (const id of ["a", "b", "c"]) locks.request(`doorstep.seen.${id}`, () => new Promise(() => {}));
  const { door, socket, acks } = await opened({ tabTimeout: 10 });
  const shown = collect(door, "welcome");
  const last = heard(door, "welcome", ({ id }) => id === "d");
  const timers = t.mock.method(globalThis, "setTimeout");
  for (const id of ["a", "b", "c", "d"]) socket.push(frame(id));
  await last;
  await quiet();
  assert.deepEqual([shown, acks()], [["a", "b", "c", "d"], ["a", "b", "c", "d"]]);
  // All waits started together.
  const waits = timers.mock.calls.map((call) => call.arguments[1]).slice(0, 4);
  assert.deepEqual(waits, [10, 10, 10, 10]);
  door.close();
});

test("a tab that dies while its listeners run leaves the notification to another", async (t) => {
  const { locks } = browser(t, { shared: true });
  let die;
  locks.request("doorstep.seen.a", () => new Promise((resolve) => { die = resolve; }));
  const { door, socket } = await opened();
  const shown = collect(door, "welcome");
  socket.push(frame("a"));
  await quiet();
  assert.deepEqual(shown, []);
  die();
  await quiet();
  assert.deepEqual(shown, ["a"]);
  door.close();
});

test("the acknowledgement waits for asynchronous listeners, later notifications do not", async (t) => {
  const { seen } = browser(t, { shared: true });
  const { door, socket, acks } = await opened();
  let done;
  const shown = collect(door, ":notification");
  door.on("welcome", ({ id }) => (id === "a" ? new Promise((resolve) => { done = resolve; }) : undefined));
  socket.push(frame("a"));
  socket.push(frame("b"));
  await quiet();
  // Pushed again while its listener runs: not shown again, and not acknowledged before the listener is done.
  socket.push(frame("a"));
  await quiet();
  assert.deepEqual([shown, acks(), seen()], [["a", "b"], ["b"], ["b"]]);
  done();
  await quiet();
  assert.deepEqual([shown, acks(), seen()], [["a", "b"], ["b", "a", "a"], ["b", "a"]]);
  door.close();
});

test("a listener that rejects is reported, and one that never settles holds the acknowledgement for a bounded time", async (t) => {
  t.mock.method(console, "error", () => {});
  const unhandled = [];
  const note = (error) => unhandled.push(error);
  process.on("unhandledRejection", note);
  const { door, socket, acks } = await opened({ listenerTimeout: 10 });
  const errors = [];
  door.on(":error", async (error) => {
    errors.push(error.message);
    if (errors.length === 1) throw new Error("of the listener for errors: to the console");
  });
  door.on("welcome", async () => { throw new Error("mine"); });
  door.on("welcome", () => { throw new Error("at once"); });
  socket.push(frame("a"));
  await quiet();
  assert.deepEqual([errors.sort(), acks()], [["at once", "mine"], ["a"]]);
  door.on("order.shipped", () => new Promise(() => {}));
  const late = heard(door, ":error");
  socket.push(frame("b", { kind: "order.shipped" }));
  await quiet();
  assert.deepEqual(acks(), ["a"]);
  assert.match((await late).message, /not done after 10 ms/);
  await quiet();
  assert.deepEqual([acks(), unhandled], [["a", "b"], []]);
  process.off("unhandledRejection", note);
  door.close();
});

test("a failing `:state` listener, asynchronous or not, does not end the connection", async () => {
  const { door } = await opened({}, (door) => {
    door.on(":error", () => {});
    door.on(":state", async () => { throw new Error("async"); });
    door.on(":state", () => { throw new Error("sync"); });
  });
  await quiet();
  assert.equal(door.state, "open");
  door.close();
});

test("a dismissal is sent while a WebSocket is open", async () => {
  const { door, socket } = await opened();
  door.dismiss("a");
  assert.deepEqual(socket.sent.at(-1), { type: "dismiss", id: "a" });
  door.close();
  door.dismiss("b");
});

test("a notification retracted before it was shown is not shown; otherwise the page is told", async (t) => {
  const { locks } = browser(t, { shared: true });
  let free;
  locks.request("doorstep.seen.b", () => new Promise((resolve) => { free = resolve; }));
  const { door, socket, acks } = await opened();
  const shown = collect(door, "welcome");
  const retracted = [];
  door.on(":retract", (retraction) => retracted.push(retraction));
  for (const id of ["a", "b", "c"]) socket.push(frame(id));
  socket.push(frame("d", { kind: "order.shipped" }));
  await quiet();
  for (const id of ["a", "b", "d"]) socket.push({ type: "retract", id, reason: "recalled" });
  free();
  const orders = collect(door, "order.shipped");
  await quiet();
  assert.deepEqual([shown, orders, acks()], [["a", "c"], [], ["a", "c"]]);
  const expected = [["a", false], ["b", true], ["d", true]];
  assert.deepEqual(retracted, expected.map(([id, isDropped]) => ({ id, reason: "recalled", isDropped })));
  door.close();
});

test("what is pushed again far behind in a burst is not shown again", async () => {
  const { door, socket, acks } = await opened();
  const shown = collect(door, "welcome");
  const ids = Array.from({ length: 2000 }, (_, n) => `n${n}`);
  for (const id of ids) socket.push(frame(id));
  await quiet();
  assert.deepEqual(shown, ids);
  socket.push(frame("n0"));
  await quiet();
  assert.deepEqual([shown.length, acks().length], [2000, 2001]);
  door.close();
});
