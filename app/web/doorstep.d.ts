/** A notification as the listeners get it. */
export interface Notification<Payload = unknown, Kind extends string = string> {
  /** The same however often it was pushed. */
  readonly id: string;
  /** What happened: `welcome`, `reward.granted`, or a kind of your own. */
  readonly kind: Kind;
  /** A newer notification of the same topic replaces one that still waits. */
  readonly topic: string | null;
  readonly createdAt: Date;
  /** When its frame came here, by this machine's clock: before any wait for other tabs or for a listener. */
  readonly receivedAt: Date;
  readonly payload: Payload;
}

/**
 * The kinds that the trading simulation sends. Kinds of your own: extend it, or give `Doorstep` a map of your own.
 * `Doorstep<Record<string, unknown>>` takes any kind.
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

/** `waiting`: for the next attempt. `sleeping`: the machine is offline, or the page is not there to be seen. */
export type State = "idle" | "connecting" | "open" | "waiting" | "sleeping" | "signed-out" | "closed";

export interface Options {
  /**
   * The session's token, or a function that gets one, called at each attempt. When the server has refused a token,
   * the function is called once more with that token, and has to get a new one.
   */
  token: string | ((refused?: string) => string | Promise<string>);
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
  /** For the token function, and again for the connection. Milliseconds, default 10,000. */
  connectTimeout?: number;
  /** So many WebSockets in a row must not pass before SSE takes over. Default 2. */
  webSocketFailures?: number;
  /** On SSE, the WebSocket is tried again after this. Milliseconds, default 300,000. */
  retryWebSocketAfter?: number;
  /** A connection that is silent for so long is dead. Milliseconds, default 60,000. */
  silence?: number;
  /** The acknowledgement waits so long for listeners that return a promise. Milliseconds, default 5,000. */
  listenerTimeout?: number;
  /** A hidden tab lets a visible one go first for so long. Milliseconds, default 300. */
  hiddenTabWaits?: number;
  /** A tab that shows a notification keeps the others waiting for at most so long. Milliseconds, default 10,000. */
  tabTimeout?: number;
  /** For Node before 22, such as that of the package `ws`. Without one, SSE is used. */
  WebSocket?: new (url: string, protocols: string[]) => unknown;
}

/** A notification that the server takes back, or that was dealt with elsewhere. */
export interface Retraction {
  readonly id: string;
  readonly reason: "recalled" | "acknowledged_elsewhere" | "dismissed_elsewhere" | (string & {});
}

/** The client's own events. A kind cannot contain a colon, so the two never meet. */
export interface Events {
  /** Each notification once, after the listeners of its kind. */
  ":notification": Notification;
  /** One that was seen before, here or in another tab. */
  ":duplicate": Notification;
  /** What was not shown yet is dropped; a popup that is shown is the page's to take away. */
  ":retract": Retraction;
  ":state": State;
  /** The session ended or expired; a new token and `connect()` go on. */
  ":signed-out": undefined;
  /** A listener or the token function failed. Without a listener it goes to `reportError`, or the console. */
  ":error": unknown;
}

/** The notifications of one signed-in user. */
export class Doorstep<K = Kinds> {
  constructor(options: Options);
  readonly state: State;
  /** While open, else null. */
  readonly transport: "websocket" | "sse" | null;
  /** While waiting or offline: when the next attempt is due, in milliseconds since the epoch. */
  readonly retryAt: number | null;
  /** Listens; returns a function that ends it. The acknowledgement waits for a promise that the listener returns. */
  on<Name extends keyof Events>(name: Name, listener: (value: Events[Name]) => unknown): () => void;
  on<Kind extends keyof K & string>(
    kind: Kind extends `:${string}` ? never : Kind,
    listener: (notification: Notification<K[Kind], Kind>) => unknown,
  ): () => void;
  /** Connects, and keeps connected until `close` or until the session ends. */
  connect(): this;
  /** Disconnects for good: from now on nothing is shown or acknowledged. */
  close(): void;
}

/** Reads Server-Sent Events from text that comes in pieces. */
export class EventParser {
  constructor(dispatch: (event: { id: string; event: string; data: string }) => void);
  push(text: string): void;
}
