// A front end in TypeScript that uses every public name of the package. It is compiled, strictly and without a
// browser's types, as an ES module and as CommonJS, and never run. A line under `@ts-expect-error` must not compile.

import { Doorstep, EventParser } from "doorstep-client";
import type { Events, Kinds, Notification, Options, Retraction, State } from "doorstep-client";

/** Kinds of the application, besides those of the simulation. */
interface Ours extends Kinds {
  "order.shipped": { order: number };
}

declare const console: { log(...all: unknown[]): void };
declare class SomeWebSocket {
  constructor(url: string, protocols: string[]);
}

const options: Options = {
  token: async (refused?: string) => refused ?? "token",
  url: "https://example.com",
  transport: "auto",
  tabs: false,
  baseDelay: 1,
  maxDelay: 2,
  stableAfter: 3,
  connectTimeout: 4,
  webSocketFailures: 5,
  retryWebSocketAfter: 6,
  silence: 7,
  listenerTimeout: 8,
  hiddenTabWaits: 9,
  tabTimeout: 10,
  WebSocket: SomeWebSocket,
};

const door = new Doorstep<Ours>(options);
const off: () => void = door.on("order.shipped", ({ id, kind, topic, createdAt, payload, traceparent }) => {
  const all: [string, "order.shipped", string | null, number, number, string | undefined] = [
    id, kind, topic, createdAt.getTime(), payload.order, traceparent,
  ];
  console.log(all);
  // @ts-expect-error: there is no such field in this kind's payload.
  payload.price;
});
off();

door.on("reward.granted", ({ payload: { reward, amount, reference } }) => console.log(reward, amount, reference));
door.on("welcome", ({ payload }) => console.log(payload.username));
door.on("position.closed", ({ payload }) => {
  const { position_id, symbol, side, quantity, fill_price, exit_price, realised_pnl, reason } = payload;
  console.log(position_id, symbol, quantity, fill_price, exit_price, realised_pnl);
  if (side === "long" && reason === "stop_loss") return;
  // @ts-expect-error: positions are not closed for this reason.
  if (reason === "boredom") return;
});
// @ts-expect-error: an undeclared kind is a typing error.
door.on("order.shiped", () => undefined);
// @ts-expect-error: the client's own events begin with a colon, so they cannot collide with a kind.
door.on("signed-out", () => undefined);
// @ts-expect-error: there is no such event.
door.on(":sate", () => undefined);
// The acknowledgement waits for the promise of a listener.
door.on("welcome", async () => undefined);

// A client without declared kinds.
const any = new Doorstep<Record<string, unknown>>(options);
any.on("demo.wake", ({ payload }) => {
  // @ts-expect-error: the payload is unknown until it is checked.
  payload.text;
  if (typeof payload === "string") console.log(payload.length);
});
// @ts-expect-error: any kind is not any event.
any.on(":sate", () => undefined);

door.on(":notification", (notification: Notification) => {
  console.log(notification.kind, notification.receivedAt.getTime());
  // @ts-expect-error: a listener must not change what other listeners get.
  notification.payload = "another";
});
door.on(":duplicate", ({ id }) => console.log(id));
door.on(":retract", ({ id, reason, isDropped }: Retraction) => console.log(id, reason === "recalled", isDropped));
door.on(":state", (state: State) => console.log(state === door.state));
door.on(":signed-out", () => undefined);
door.on(":error", (error) => console.log(error));
// @ts-expect-error: a state is no notification.
door.on(":state", ({ payload }) => payload);
const events: (keyof Events)[] = [":notification", ":duplicate", ":retract", ":state", ":signed-out", ":error"];
console.log(events);

door.connect().on("welcome", () => undefined);
const transport: "websocket" | "sse" | null = door.transport;
const retryAt: number | null = door.retryAt;
console.log(transport, retryAt);
// @ts-expect-error: only the door itself changes its state.
door.state = "open";
door.dismiss("01");
door.close();

// @ts-expect-error: a token is required.
new Doorstep({});
// @ts-expect-error: there is no such transport.
new Doorstep({ token: "t", transport: "pigeon" });
// @ts-expect-error: no option has this name.
new Doorstep({ token: "t", backoff: 1 });
// @ts-expect-error: private members are not accessible.
door.again();

const parser = new EventParser(({ id, event, data }) => console.log(id.length, event.length, data.length));
parser.push("data: x\n\n");
