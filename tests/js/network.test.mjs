// The client on a network that fails, returns, and refuses: in Node, with stand-ins for the browser's objects.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";

import { Doorstep } from "../../app/web/doorstep.js";
import { browser, fakeSockets, frame, heard, settled } from "./support.mjs";

/** A door with the test's own sockets. Its waits are endless unless something wakes it. */
function doorOver(Fake, more = {}) {
  return new Doorstep({ url: "http://door.example", token: "t", WebSocket: Fake, baseDelay: 1e9, maxDelay: 1e9, ...more });
}

test("offline it sleeps, and online it connects at once", async (t) => {
  const { online } = browser(t);
  const { Fake, next, sockets } = fakeSockets();
  const door = doorOver(Fake).connect();
  const socket = await next(0);
  socket.open();
  online(false);
  assert.equal(door.state, "sleeping");
  assert.equal(socket.readyState, 3, "nothing is left open");
  await settled();
  assert.equal(sockets.length, 1, "and there is no attempt");
  online(true);
  (await next(1)).open();
  assert.equal(door.state, "open");
  door.close();
});

test("started offline it does not try, and a visible tab does not wake it", async (t) => {
  const { online, look } = browser(t);
  online(false);
  const { Fake, next, sockets } = fakeSockets();
  const door = doorOver(Fake).connect();
  look(true);
  await settled();
  assert.deepEqual([door.state, sockets.length], ["sleeping", 0]);
  online(true);
  await next(0);
  door.close();
});

test("a tab that becomes visible connects at once; a hidden one waits", async (t) => {
  const { look } = browser(t);
  const { Fake, next, sockets } = fakeSockets();
  const door = doorOver(Fake).connect();
  (await next(0)).open();
  sockets[0].closed(1012);
  await heard(door, ":state", (state) => state === "waiting");
  look(false);
  await settled();
  assert.equal(sockets.length, 1);
  look(true);
  await next(1);
  door.close();
});

test("a connection that is lost while the network is gone leads to sleep, not to waiting", async (t) => {
  browser(t);
  const { Fake, next } = fakeSockets();
  const door = doorOver(Fake).connect();
  const socket = await next(0);
  socket.open();
  // `navigator.onLine` is false already, and the event comes after the close.
  globalThis.navigator.onLine = false;
  socket.closed(1006);
  await heard(door, ":state", (state) => state === "sleeping");
  door.close();
});

test("once closed, neither the network nor a visible tab wakes it", async (t) => {
  const { listening, online, look } = browser(t);
  const { Fake, next, sockets } = fakeSockets();
  const door = doorOver(Fake).connect();
  (await next(0)).open();
  assert.ok(listening.size > 0);
  door.close();
  assert.equal(listening.size, 0, "no event listener is left");
  online(false);
  online(true);
  look(true);
  await settled();
  assert.deepEqual([door.state, sockets.length], ["closed", 1]);
});

test("waits are jittered down to half, and a long connection resets them", async (t) => {
  let now = 0;
  t.mock.method(Math, "random", () => 0);
  t.mock.method(Date, "now", () => now);
  const { Fake, next } = fakeSockets();
  const door = doorOver(Fake, { baseDelay: 4, maxDelay: 100, stableAfter: 5000 });
  const waits = [];
  door.on(":state", (state) => state === "waiting" && waits.push(door.retryAt - now));
  door.connect();
  // Too slow twice, then after a long connection, then after a short one.
  for (const [n, lasted] of [0, 10, 5000, 4999].entries()) {
    const socket = await next(n);
    socket.open();
    now += lasted;
    socket.closed(4408);
  }
  await next(4);
  assert.deepEqual(waits, [2, 4, 2, 4]);
  door.close();
});

test("a WebSocket that never opens is given up", async () => {
  const { Fake, next } = fakeSockets();
  const door = doorOver(Fake, { connectTimeout: 10, baseDelay: 1, maxDelay: 1, url: "http://127.0.0.1:1" }).connect();
  await next(0);
  await next(1);
  door.close();
});

test("being offline is a hint: the client still tries, at the longest wait", async (t) => {
  const { online } = browser(t);
  t.mock.method(Math, "random", () => 1);
  t.mock.method(Date, "now", () => 0);
  online(false);
  const { Fake, next } = fakeSockets();
  const door = doorOver(Fake, { baseDelay: 1, maxDelay: 7 }).connect();
  assert.deepEqual([door.state, door.retryAt], ["sleeping", 7]);
  (await next(0)).open();
  assert.equal(door.state, "open");
  door.close();
});

test("a WebSocket that has fallen silent after a heartbeat is given up", async () => {
  const { Fake, next } = fakeSockets();
  const door = doorOver(Fake, { silence: 20, baseDelay: 1, maxDelay: 1 }).connect();
  const first = await next(0);
  first.open();
  first.push({ type: "heartbeat" });
  (await next(1)).open();
  assert.equal(first.readyState, 3);
  door.close();
});

test("after the machine has slept, the connection is replaced when the tab becomes visible", async (t) => {
  const { look } = browser(t);
  let now = 0;
  t.mock.method(Date, "now", () => now);
  const { Fake, next, sockets } = fakeSockets();
  const door = doorOver(Fake, { silence: 1e9 }).connect();
  (await next(0)).open();
  now = 1e10;
  look(true);
  assert.equal(door.state, "open", "a server that has sent no heartbeat may be silent");
  sockets[0].push({ type: "heartbeat" });
  now += 1e9;
  look(true);
  assert.equal(door.state, "open", "not yet too long");
  now += 1;
  look(true);
  (await next(1)).open();
  assert.deepEqual([door.state, sockets[0].readyState], ["open", 3]);
  door.close();
});

test("reconnecting in signed-out waits longer after each refusal, until a connection has lasted", async (t) => {
  let now = 0;
  t.mock.method(Math, "random", () => 1);
  t.mock.method(Date, "now", () => now);
  const { Fake, next } = fakeSockets();
  const door = doorOver(Fake, { baseDelay: 4, maxDelay: 100, stableAfter: 1000 });
  const waits = [];
  door.on(":state", (state) => state === "waiting" && waits.push(door.retryAt - now));
  door.on(":signed-out", () => door.connect());
  door.connect();
  for (const [n, lasted] of [0, 0, 0, 1000, 0].entries()) {
    const socket = await next(n);
    socket.open();
    now += lasted;
    socket.closed(4401);
  }
  await next(5);
  assert.deepEqual(waits, [4, 8, 16, 4], "at once after the one that stood");
  door.close();
});

test("a token function that never settles or returns no token is called again, and the error is reported", async () => {
  const { Fake, next } = fakeSockets();
  const answers = [new Promise(() => {}), undefined, "good"];
  const door = doorOver(Fake, { token: () => answers.shift(), connectTimeout: 10, baseDelay: 1, maxDelay: 1 });
  const errors = [];
  door.on(":error", ({ message }) => errors.push(message));
  door.connect();
  assert.equal((await next(0)).args[1][1], "bearer.good");
  assert.deepEqual(errors.map((message) => /no token/.test(message)), [true, true]);
  door.close();
});

test("after a refusal the token function is called once more before the client is signed out", async (t) => {
  t.mock.method(globalThis, "fetch", async () => ({ status: 401 }));
  for (const refuse of ["4401", "401"]) {
    const { Fake, next, sockets } = fakeSockets();
    const asked = [];
    const token = (refused) => asked.push(refused) && `t${asked.length}`;
    const door = doorOver(Fake, { token });
    const states = [];
    door.on(":state", (state) => states.push(state));
    const out = heard(door, ":signed-out");
    door.connect();
    for (let n = 0; n < 2; n++) {
      const socket = await next(n);
      if (refuse === "4401") socket.open();
      socket.closed(refuse === "4401" ? 4401 : 1006);
    }
    await out;
    assert.deepEqual(asked, [undefined, "t1"], refuse);
    assert.equal(sockets.length, 2);
    assert.ok(!states.includes("waiting"), "the new one is tried at once");
  }
});

test("after a connection with the new token, a later refusal gets a new one again", async (t) => {
  let now = 0;
  t.mock.method(Date, "now", () => now);
  const { Fake, next } = fakeSockets();
  const asked = [];
  const door = doorOver(Fake, { token: (refused) => asked.push(refused) && `t${asked.length}` }).connect();
  for (let n = 0; n < 3; n++) {
    const socket = await next(n);
    socket.open();
    now += 5000;
    socket.closed(4401);
  }
  await next(3);
  assert.deepEqual(asked, [undefined, "t1", "t2", "t3"]);
  door.close();
});

test("disconnected by the backend, it does not come back by itself", async () => {
  const { Fake, next } = fakeSockets();
  const door = doorOver(Fake, { baseDelay: 1, maxDelay: 1 }).connect();
  const closed = heard(door, ":state", (state) => state === "closed");
  const socket = await next(0);
  socket.open();
  socket.closed(4403);
  await closed;
});

test("a page in the back/forward cache closes its connection, shows nothing, and reconnects on pageshow", async (t) => {
  const { page } = browser(t);
  const { Fake, next, sockets } = fakeSockets();
  const door = doorOver(Fake).connect();
  const shown = [];
  door.on("welcome", ({ id }) => shown.push(id));
  page("pageshow");
  const socket = await next(0);
  socket.open();
  socket.push(frame("a"));
  page("pagehide");
  assert.deepEqual([door.state, socket.readyState], ["sleeping", 3]);
  await settled();
  assert.deepEqual(shown, [], "nobody would see it");
  page("pageshow");
  (await next(1)).open();
  await settled();
  assert.deepEqual([door.state, sockets.length, shown], ["open", 2, ["a"]]);
  door.close();
});

test("a page that is prerendered connects when it is shown", async (t) => {
  const { document } = browser(t);
  document.prerendering = true;
  const { Fake, next, sockets } = fakeSockets();
  const door = doorOver(Fake).connect();
  await settled();
  assert.deepEqual([door.state, sockets.length], ["sleeping", 0]);
  document.prerendering = false;
  document.dispatchEvent(new Event("prerenderingchange"));
  await next(0);
  door.close();
});

/** A server of streams. The next of these functions plays each stream, given the client's headers. */
async function streams(t, ...plays) {
  const seen = [];
  const server = createServer((request, response) => {
    const play = plays[seen.length] ?? ((_, answer) => answer.destroy());
    seen.push(request.headers);
    play(request, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${server.address().port}`, seen };
}

const event = (id) => `id: ${id}\ndata: ${JSON.stringify(frame(id))}\n\n`;
const says = (...parts) => (_, response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  for (const part of parts) response.write(part);
};
const closes = (code) => (_, response) => {
  response.writeHead(200, { "content-type": "text/event-stream" });
  response.end(`event: closing\ndata: {"code":${code}}\n\n`);
};

test("a stream resumes after the last event that was shown, and repeats are not shown", async (t) => {
  const { url, seen } = await streams(
    t,
    (request, response) => {
      says(event("a"), event("b"))(request, response);
      // Cut in the middle of the third, which therefore does not count as received.
      response.write(event("c").slice(0, 40), () => response.destroy());
    },
    says(event("b"), event("c")),
  );
  const door = new Doorstep({ url, token: "t", transport: "sse", baseDelay: 1 });
  const [shown, again] = [[], []];
  door.on(":notification", ({ id }) => shown.push(id));
  door.on(":duplicate", ({ id }) => again.push(id));
  const third = heard(door, ":notification", ({ id }) => id === "c");
  door.connect();
  await third;
  assert.deepEqual(shown, ["a", "b", "c"]);
  assert.deepEqual(again, ["b"]);
  assert.deepEqual(seen.map((headers) => headers["last-event-id"]), [undefined, "b"]);
  assert.ok(seen.every(({ authorization }) => authorization === "Bearer t"));
  door.close();
});

test("the goodbye of a stream has the effect of a WebSocket's close", async (t) => {
  t.mock.method(Math, "random", () => 1);
  t.mock.method(Date, "now", () => 0);
  const busy = (_, response) => response.writeHead(503).end();
  const { url } = await streams(t, busy, closes(4408), closes(1013), closes(1012), closes(4401));
  const door = new Doorstep({ url, token: "t", transport: "sse", baseDelay: 4, maxDelay: 100 });
  const waits = [];
  door.on(":state", (state) => state === "waiting" && waits.push(door.retryAt));
  const out = heard(door, ":signed-out");
  door.connect();
  await out;
  assert.deepEqual(waits, [32, 8, 32, 32]);
});

test("a stream that has fallen silent is opened again", async (t) => {
  const { url, seen } = await streams(t, says(event("a")), says(event("b")));
  const door = new Doorstep({ url, token: "t", transport: "sse", silence: 20, baseDelay: 1 });
  const second = heard(door, ":notification", ({ id }) => id === "b");
  door.connect();
  await second;
  assert.equal(seen[1]["last-event-id"], "a");
  door.close();
});

test("from a stream it returns to the WebSocket when that may work again", async (t) => {
  let now = 0;
  t.mock.method(Date, "now", () => now);
  const refuses = (_, response) => response.writeHead(426).end();
  const speaks = (request, response) => {
    says(event("a"))(request, response);
    const beat = setInterval(() => response.write("event: heartbeat\ndata: {}\n\n"), 5);
    response.on("close", () => clearInterval(beat));
  };
  const { url } = await streams(t, refuses, speaks);
  const { Fake, next, sockets } = fakeSockets();
  const options = { webSocketFailures: 1, retryWebSocketAfter: 1000, baseDelay: 1, maxDelay: 1 };
  const door = new Doorstep({ url, token: "t", WebSocket: Fake, ...options });
  const streamed = heard(door, "welcome");
  door.connect();
  (await next(0)).closed(1006);
  await streamed;
  assert.equal(door.transport, "sse");
  assert.equal(sockets.length, 1);
  now = 1000;
  (await next(1)).open();
  assert.equal(door.transport, "websocket");
  door.close();
});
