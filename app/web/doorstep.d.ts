/** A notification as the listeners get it. */
export interface Notification<Payload = unknown, Kind extends string = string> {
  /** The same however often it was pushed. */
  readonly id: string;
  /** What happened: `welcome`, `reward.granted`, or a kind of your own. */
  readonly kind: Kind;
  /** A newer notification of the same topic replaces one that still waits. */
  readonly topic: string | null;
  readonly createdAt: Date;
  readonly payload: Payload;
}

/** The kinds that the trading simulation sends. Extend it, or give `Doorstep` a map of your own. */
export interface Kinds {
  welcome: { username: string };
  "reward.granted": { reward: string; amount: string; reference: string };
  "position.closed": {
    position_id: string;
    symbol: string;
    side: "long" | "short";
    quantity: string;
    fill_price: string;
    exit_price: string;
    realised_pnl: string;
    reason: "user" | "stop_loss" | "take_profit" | "liquidated";
  };
}

/** `waiting`: for the next attempt. `sleeping`: the machine is offline. */
export type State = "idle" | "connecting" | "open" | "waiting" | "sleeping" | "signed-out" | "closed";

export interface Options {
  /** The session's token, or what gets one; asked again at each attempt. */
  token: string | (() => string | Promise<string>);
  /** The server, like `https://example.com`. Default: where the page came from. Needed in Node. */
  url?: string;
  /** Default `auto`: WebSocket, and Server-Sent Events where that does not pass. */
  transport?: "auto" | "websocket" | "sse";
  /** Default true: the tabs of one origin, and a page and its reload, share what they have seen. */
  tabs?: boolean;
  /** The first wait before coming back, doubled at each failure. Milliseconds, default 500. */
  baseDelay?: number;
  /** The longest wait. Milliseconds, default 30,000. */
  maxDelay?: number;
  /** A connection that lasted so long starts the backoff afresh. Milliseconds, default 5,000. */
  stableAfter?: number;
  /** Milliseconds, default 10,000. */
  connectTimeout?: number;
  /** So many WebSockets in a row must not pass before SSE takes over. Default 2. */
  webSocketFailures?: number;
  /** On SSE, the WebSocket is tried again after this. Milliseconds, default 300,000. */
  retryWebSocketAfter?: number;
  /** An SSE stream that is silent for so long is dead. Milliseconds, default 60,000. */
  silence?: number;
  /** A hidden tab lets a visible one go first for so long. Milliseconds, default 300. */
  hiddenTabWaits?: number;
  /** For Node before 22, such as that of the package `ws`. Without one, SSE is used. */
  WebSocket?: new (url: string, protocols: string[]) => unknown;
}

/** What can be listened to besides kinds. */
export interface Events {
  /** Each notification once, after the listeners of its kind. */
  notification: Notification;
  /** One that was seen before, here or in another tab. */
  duplicate: Notification;
  state: State;
  /** The session ended or expired; a new token and `connect()` go on. */
  "signed-out": undefined;
}

/** The notifications of one signed-in user. */
export class Doorstep<K = Kinds> {
  constructor(options: Options);
  readonly state: State;
  /** While open, else null. */
  readonly transport: "websocket" | "sse" | null;
  /** While waiting: when the next attempt is due, in milliseconds since the epoch. */
  readonly retryAt: number | null;
  /** Listens; the answer ends it. */
  on<Name extends keyof Events>(name: Name, listener: (value: Events[Name]) => void): () => void;
  on<Kind extends keyof K & string>(kind: Kind, listener: (notification: Notification<K[Kind], Kind>) => void): () => void;
  on(kind: string & {}, listener: (notification: Notification) => void): () => void;
  /** Connects, and keeps connected until `close` or until the session ends. */
  connect(): this;
  /** Disconnects for good. */
  close(): void;
}

/** Reads Server-Sent Events from text that comes in pieces. */
export class EventParser {
  constructor(dispatch: (event: { id: string; event: string; data: string }) => void);
  push(text: string): void;
}
