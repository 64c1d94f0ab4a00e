/** A notification as the listeners get it. */
export interface Notification<Payload = unknown, Kind extends string = string> {
  /** The same for every push of this notification. */
  readonly id: string;
  /** What happened: `welcome`, `reward.granted`, or a kind of your own. */
  readonly kind: Kind;
  /** A newer notification of the same topic replaces a waiting one. */
  readonly topic: string | null;
  readonly createdAt: Date;
  /** When its frame arrived, by this machine's clock, before any wait for other tabs or a listener. */
  readonly receivedAt: Date;
  readonly payload: Payload;
  /** The trace that its sender gave (W3C Trace Context); otherwise missing. */
  readonly traceparent?: string;
}

/**
 * The kinds that the trading simulation sends. For kinds of your own, extend it, or give `Doorstep` a map of your own.
 * `Doorstep<Record<string, unknown>>` accepts any kind.
 */
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

/** `waiting`: for the next attempt. `sleeping`: the machine is offline, or the page cannot be seen. */
export type State = "idle" | "connecting" | "open" | "waiting" | "sleeping" | "signed-out" | "closed";

export interface Options {
  /**
   * The session's token, or a function that returns one, called at each attempt. If the server refuses a token, the
   * function is called once more with that token, and has to return a new one.
   */
  token: string | ((refused?: string) => string | Promise<string>);
  /** The server, like `https://example.com`. Default: the origin of the page. Required in Node. */
  url?: string;
  /** Default `auto`: WebSocket, or Server-Sent Events where WebSockets are blocked. */
  transport?: "auto" | "websocket" | "sse";
  /** Default true: the tabs of one origin, and a page before and after a reload, share what they have seen. */
  tabs?: boolean;
  /** The first wait before reconnecting, doubled at each failure. Milliseconds, default 500. */
  baseDelay?: number;
  /** The longest wait. Milliseconds, default 30,000. */
  maxDelay?: number;
  /** A connection that lasted this long resets the backoff. Milliseconds, default 5,000. */
  stableAfter?: number;
  /** The limit for the token function, and again for the connection. Milliseconds, default 10,000. */
  connectTimeout?: number;
  /** After this many failed WebSockets in a row, SSE takes over. Default 2. */
  webSocketFailures?: number;
  /** On SSE, the WebSocket is tried again after this. Milliseconds, default 300,000. */
  retryWebSocketAfter?: number;
  /** A connection that is silent for this long is dead. Milliseconds, default 60,000. */
  silence?: number;
  /** How long the acknowledgement waits for listeners that return a promise. Milliseconds, default 5,000. */
  listenerTimeout?: number;
  /** How long a hidden tab waits so that a visible one goes first. Milliseconds, default 300. */
  hiddenTabWaits?: number;
  /** How long a tab that shows a notification may keep the others waiting. Milliseconds, default 10,000. */
  tabTimeout?: number;
  /** For Node before 22, such as the one of the package `ws`. Without one, SSE is used. */
  WebSocket?: new (url: string, protocols: string[]) => unknown;
}

/** A notification that the server takes back, or that was handled elsewhere. */
export interface Retraction {
  readonly id: string;
  readonly reason: "recalled" | "acknowledged_elsewhere" | "dismissed_elsewhere" | (string & {});
  /** It had come here, was not shown yet, and will not be. */
  readonly isDropped: boolean;
}

/** The client's own events. A kind cannot contain a colon, so the two never meet. */
export interface Events {
  /** Each notification once, after the listeners of its kind. */
  ":notification": Notification;
  /** One that was seen before, here or in another tab. */
  ":duplicate": Notification;
  /**
   * A notification that was not shown yet is dropped. If it is shown, the page has to remove it, except after
   * `acknowledged_elsewhere`: then it stays until the user closes it.
   */
  ":retract": Retraction;
  ":state": State;
  /** The session ended or expired. Get a new token, and call `connect()` again. */
  ":signed-out": undefined;
  /** A listener or the token function failed. Without a listener it goes to `reportError`, or the console. */
  ":error": unknown;
}

/** The notifications of one signed-in user. */
export class Doorstep<K = Kinds> {
  constructor(options: Options);
  readonly state: State;
  /** While open, otherwise null. */
  readonly transport: "websocket" | "sse" | null;
  /** While waiting or offline: the time of the next attempt, in milliseconds since the epoch. */
  readonly retryAt: number | null;
  /** Adds a listener; returns a function that removes it. The acknowledgement waits for a promise that it returns. */
  on<Name extends keyof Events>(name: Name, listener: (value: Events[Name]) => unknown): () => void;
  on<Kind extends keyof K & string>(
    kind: Kind extends `:${string}` ? never : Kind,
    listener: (notification: Notification<K[Kind], Kind>) => unknown,
  ): () => void;
  /** The user closed this notification: their other connections get `:retract`. Best effort, over a WebSocket. */
  dismiss(id: string): void;
  /** Connects, and stays connected until `close` or the end of the session. */
  connect(): this;
  /** Disconnects. From now on nothing is shown or acknowledged. */
  close(): void;
}

/** Reads Server-Sent Events from text that comes in pieces. */
export class EventParser {
  constructor(dispatch: (event: { id: string; event: string; data: string }) => void);
  push(text: string): void;
}
