// The client in Node, against the real server whose address is in DOORSTEP_URL.

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";

import { Doorstep, EventParser } from "../../app/web/doorstep.js";
import { ended, fakeSockets, frame, heard, register, send, settled, url } from "./support.mjs";

for (const transport of ["websocket", "sse"]) {
  test(`waiting notifications are shown once, in order, and acknowledged, over ${transport}`, async () => {
    const { token } = await register();
    await send(token, "wake", "one");
    await send(token, "wake", "two");
    const door = new Doorstep({ url, token, transport });
    const texts = [];
    door.on("demo.wake", ({ payload }) => texts.push(payload.text));
    const kinds = [];
    door.on(":notification", ({ kind }) => kinds.push(kind));
    // The order of the gift and our own notifications is not promised.
    const all = heard(door, ":notification", () => kinds.length === 4);
    door.connect();
    const { createdAt, id } = await all;
    assert.equal(door.transport, transport);
    assert.ok(createdAt instanceof Date && id.length === 36);
    assert.deepEqual(texts, ["one", "two"]);
    assert.deepEqual([...kinds].sort(), ["demo.wake", "demo.wake", "reward.granted", "welcome"]);
    assert.equal(await ended(token, "demo.wake"), "delivered");
    door.close();
    assert.equal(door.state, "closed");
  });
}

test("signing out ends the connection, and the client does not reconnect", async () => {
  for (const transport of ["websocket", "sse"]) {
    const { token } = await register();
    const door = new Doorstep({ url, token, transport });
    const open = heard(door, ":state", (state) => state === "open");
    door.connect();
    await open;
    const out = heard(door, ":signed-out");
    await fetch(`${url}/v1/sessions/current`, { method: "DELETE", headers: { authorization: `Bearer ${token}` } });
    await out;
    assert.equal(door.state, "signed-out");
  }
});

test("a token that was never valid leads to signed-out, not to endless retries", async () => {
  for (const transport of ["websocket", "sse"]) {
    const door = new Doorstep({ url, token: "nobody", transport });
    const out = heard(door, ":signed-out");
    door.connect();
    await out;
  }
});

/** A proxy that passes HTTP but no upgrade, like some networks. */
async function proxyWithoutUpgrades() {
  const server = createServer(async (request, response) => {
    const headers = { ...request.headers };
    for (const name of ["host", "connection", "upgrade", "keep-alive", "transfer-encoding"]) delete headers[name];
    const abort = new AbortController();
    response.on("close", () => abort.abort());
    try {
      const answer = await fetch(url + request.url, { headers, signal: abort.signal });
      response.writeHead(answer.status, { "content-type": answer.headers.get("content-type") ?? "text/plain" });
      response.flushHeaders();
      for await (const chunk of answer.body) response.write(chunk);
      response.end();
    } catch {
      response.destroy();
    }
  });
  server.on("upgrade", (_, socket) => socket.destroy());
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return server;
}

test("where no WebSocket passes it falls back to Server-Sent Events by itself", async () => {
  const proxy = await proxyWithoutUpgrades();
  const { token } = await register();
  const door = new Doorstep({ url: `http://127.0.0.1:${proxy.address().port}`, token, baseDelay: 10 });
  const welcome = heard(door, "welcome");
  door.connect();
  await welcome;
  assert.equal(door.transport, "sse");
  door.close();
  proxy.closeAllConnections();
  proxy.close();
});

test("duplicates are acknowledged and not shown; unknown frames are ignored", async () => {
  const { Fake, next } = fakeSockets();
  const door = new Doorstep({ url, token: "t", WebSocket: Fake });
  const [shown, again] = [[], []];
  door.on(":notification", ({ id }) => shown.push(id));
  door.on(":duplicate", ({ id }) => again.push(id));
  door.connect();
  const socket = await next(0);
  assert.deepEqual(socket.args[1], ["doorstep.v1", "bearer.t"]);
  assert.ok(!socket.args[0].includes("bearer"), "the token is not in the URL");
  socket.open();
  socket.push(frame("a"));
  socket.push(frame("a"));
  socket.push({ type: "newer" });
  socket.onmessage({ data: "not json" });
  socket.push(frame("b"));
  await settled();
  assert.deepEqual(shown, ["a", "b"]);
  assert.deepEqual(again, ["a"]);
  assert.deepEqual(socket.sent.map(({ type, id }) => [type, id]), [["ack", "a"], ["ack", "a"], ["ack", "b"]]);
  door.close();
});

test("a listener that throws prevents neither other listeners nor the acknowledgement", async (t) => {
  t.mock.method(console, "error", () => {});
  const { Fake, next } = fakeSockets();
  const door = new Doorstep({ url, token: "t", WebSocket: Fake });
  const shown = [];
  door.connect();
  const socket = await next(0);
  door.on("welcome", () => { throw new Error("mine"); });
  // A page that dies while showing it has not acknowledged it.
  door.on(":notification", ({ id }) => shown.push([id, socket.sent.length]));
  socket.open();
  socket.push(frame("a"));
  await settled();
  assert.deepEqual(shown, [["a", 0]]);
  assert.equal(socket.sent.length, 1);
  door.close();
});

test("it reconnects after growing, jittered waits, longer after 1013 and longest after its own protocol error", async (t) => {
  t.mock.method(Math, "random", () => 1);
  t.mock.method(Date, "now", () => 0);
  t.mock.method(globalThis, "fetch", async () => { throw new TypeError("away"); });
  const { Fake, next } = fakeSockets();
  const door = new Doorstep({ url, token: "t", WebSocket: Fake, baseDelay: 4, maxDelay: 100 });
  const waits = [];
  door.on(":state", (state) => state === "waiting" && waits.push(door.retryAt));
  door.connect();
  // A restart, an internal error, a limit, a slow client, and no response.
  const codes = [1012, 1007, 1013, 4408, undefined];
  for (const [n, code] of codes.entries()) {
    const socket = await next(n);
    if (code) socket.open();
    socket.closed(code);
  }
  await next(codes.length);
  assert.deepEqual(waits, [4, 100, 32, 32, 64]);
  door.close();
});

test("a token may be a function, asked at each attempt", async () => {
  const { Fake, next } = fakeSockets();
  let asked = 0;
  const door = new Doorstep({ url, token: async () => `t${++asked}`, WebSocket: Fake, baseDelay: 1 });
  door.connect();
  (await next(0)).open();
  (await next(0)).closed(1012);
  assert.deepEqual((await next(1)).args[1], ["doorstep.v1", "bearer.t2"]);
  door.close();
});

test("4401 signs out and a new connect goes on", async () => {
  const { Fake, next, sockets } = fakeSockets();
  const door = new Doorstep({ url, token: "t", WebSocket: Fake });
  const out = heard(door, ":signed-out");
  door.connect();
  const socket = await next(0);
  socket.open();
  socket.closed(4401);
  await out;
  assert.equal(sockets.length, 1);
  door.connect();
  (await next(1)).open();
  assert.equal(door.state, "open");
  door.close();
});

test("without a token or a URL it throws at once", () => {
  assert.throws(() => new Doorstep({ url }), /token/);
  assert.throws(() => new Doorstep({ token: "t" }), /url/);
});

test("events are parsed as in the standard, however the stream is cut", () => {
  const text = ":comment\n\nid: 1\ndata: a\r\ndata:b\r\n\r\nevent: closing\rdata: {}\r\rdata\n\nid:2\n\ndata:  x\n\nunfinished: 1\ndata: no";
  const expected = [
    { id: "1", event: "message", data: "a\nb" },
    { id: "1", event: "closing", data: "{}" },
    { id: "1", event: "message", data: "" },
    { id: "2", event: "message", data: " x" },
  ];
  for (let size = 1; size <= text.length; size++) {
    const events = [];
    const parser = new EventParser((event) => events.push(event));
    for (let at = 0; at < text.length; at += size) parser.push(text.slice(at, at + size));
    assert.deepEqual(events, expected, `pieces of ${size}`);
  }
});
