/**
 * Doorstep's client: the notifications of one signed-in user, each shown once, over WebSocket or, where that
 * does not pass, Server-Sent Events. No dependencies; browsers and Node 20 or later. Types: doorstep.d.ts.
 *
 *   import { Doorstep } from "/doorstep.js";
 *   const door = new Doorstep({ token });
 *   door.on("welcome", ({ payload }) => toast(`Hello ${payload.username}`));
 *   door.on("signed-out", () => location.assign("/sign-in"));
 *   door.connect();
 *
 * What it promises: a notification reaches the listeners of its kind, then those of "notification", and is
 * acknowledged after they have returned. Ids that were seen before are acknowledged and go no further, also
 * across a reload, and across the tabs of one origin (where the browser has Web Locks): one tab shows a
 * notification, a visible one if there is one; should that tab die while its listeners run, another takes over.
 */

/** Close codes with a meaning of their own (the server's documentation has them all). */
const CODE = { RESTART: 1012, TRY_LATER: 1013, SIGNED_OUT: 4401 };
/** Faults of ours: coming back at once would only repeat them. */
const OUR_FAULT = new Set([1002, 1003, 1007, 1009]);

const DEFAULTS = {
  baseDelay: 500,
  maxDelay: 30_000,
  /** A connection that lasted so long has earned a fresh start of the backoff. */
  stableAfter: 5_000,
  connectTimeout: 10_000,
  /** While on Server-Sent Events, the WebSocket is tried again so often. */
  retryWebSocketAfter: 5 * 60_000,
  /** So many WebSockets in a row must fail, with the server answering otherwise, before SSE takes over. */
  webSocketFailures: 2,
  /** A stream that is silent for longer than this is dead; the server says something every 25 s. */
  silence: 60_000,
  /** A hidden tab lets a visible one go first for so long. */
  hiddenTabWaits: 300,
  transport: "auto",
  tabs: true,
};

/** So many ids are remembered. The server holds at most 100 notifications for a user. */
const REMEMBERED = 500;
const STORAGE_KEY = "doorstep.seen";

export class Doorstep {
  #options;
  #listeners = new Map();
  #state = "idle";
  #transport = null;
  #lastEventId = null;
  #retryAt = null;
  /** Each attempt to connect has a number; what an earlier one still has to say is ignored. */
  #attempt = 0;
  #end = () => {};
  #timer = null;
  #failures = 0;
  #webSocketFailures = 0;
  #sseUntil = 0;
  #queue = Promise.resolve();
  #seen;
  #online = () => this.#wake("online");
  #offline = () => this.#sleep();
  #visible = () => globalThis.document.visibilityState === "visible" && this.#wake("visible");

  constructor(options = {}) {
    this.#options = { ...DEFAULTS, ...options };
    if (!options.token) throw new TypeError("Doorstep needs a token");
    this.#options.url = String(options.url ?? globalThis.location?.origin ?? "");
    if (!/^https?:\/\/[^/]/.test(this.#options.url)) {
      throw new TypeError("Doorstep needs the server's url, like https://example.com");
    }
    this.#options.url = this.#options.url.replace(/\/+$/, "");
    this.#seen = new Seen(this.#options);
  }

  /** "idle", "connecting", "open", "waiting" (for the next attempt), "sleeping" (offline), "signed-out", "closed". */
  get state() { return this.#state; }
  /** "websocket" or "sse" while open, else null. */
  get transport() { return this.#transport; }
  /** When the next attempt is due (milliseconds since the epoch) while waiting, else null. */
  get retryAt() { return this.#retryAt; }

  /** Listens; the answer ends it. A name is "notification", "state", "signed-out", "duplicate", or a kind. */
  on(name, listener) {
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name).add(listener);
    return () => this.#listeners.get(name)?.delete(listener);
  }

  /** Connects, and keeps connected until `close` or until the session ends. */
  connect() {
    if (!["idle", "closed", "signed-out"].includes(this.#state)) return this;
    globalThis.addEventListener?.("online", this.#online);
    globalThis.addEventListener?.("offline", this.#offline);
    globalThis.document?.addEventListener?.("visibilitychange", this.#visible);
    this.#failures = 0;
    if (globalThis.navigator?.onLine === false) this.#enter("sleeping");
    else this.#try();
    return this;
  }

  /** Disconnects for good. */
  close() { this.#stop("closed"); }

  async #try() {
    const attempt = ++this.#attempt;
    const stale = () => attempt !== this.#attempt;
    clearTimeout(this.#timer);
    this.#enter("connecting");
    let token;
    try {
      token = await (typeof this.#options.token === "function" ? this.#options.token() : this.#options.token);
    } catch (error) {
      report(error);
      return stale() || this.#again();
    }
    if (stale()) return;
    const connection = this.#useSse() ? this.#openSse(token) : this.#openWebSocket(token);
    this.#end = connection.end;
    let openedAt = null;
    connection.opened = (transport) => {
      if (stale()) return connection.end();
      openedAt = Date.now();
      this.#transport = transport;
      if (transport === "websocket") this.#webSocketFailures = 0;
      this.#enter("open");
    };
    connection.message = (text, ack) => stale() || this.#take(text, ack);
    const { code, refused } = await connection.ended;
    if (stale()) return;
    this.#transport = null;
    if (code === CODE.SIGNED_OUT || refused === 401) return this.#stop("signed-out");
    if (openedAt !== null && Date.now() - openedAt >= this.#options.stableAfter) this.#failures = 0;
    if (openedAt === null && connection.kind === "websocket") await this.#judge(token, stale);
    if (!stale()) this.#again(code);
  }

  #useSse() {
    const { transport, WebSocket = globalThis.WebSocket } = this.#options;
    if (transport !== "auto") return transport === "sse";
    return typeof WebSocket !== "function" || Date.now() < this.#sseUntil;
  }

  /** A browser does not say why a WebSocket did not open. Asking the same address as plain HTTP does. */
  async #judge(token, stale) {
    let status = 0;
    try {
      const signal = AbortSignal.timeout(this.#options.connectTimeout);
      const headers = { authorization: `Bearer ${token}` };
      status = (await fetch(`${this.#options.url}/v1/ws`, { headers, signal, cache: "no-store" })).status;
    } catch {
      // Nobody answers: the server is away, and that has nothing to do with WebSockets.
    }
    if (stale()) return;
    if (status === 401) return this.#stop("signed-out");
    // 426 Upgrade Required: the token is good and the server is there, but the upgrade did not reach it.
    if (status === 426 && ++this.#webSocketFailures >= this.#options.webSocketFailures) {
      this.#sseUntil = Date.now() + this.#options.retryWebSocketAfter;
      this.#failures = 0;
    }
  }

  #openWebSocket(token) {
    const WebSocket = this.#options.WebSocket ?? globalThis.WebSocket;
    const connection = { kind: "websocket" };
    connection.ended = new Promise((resolve) => {
      let socket;
      try {
        const url = `${this.#options.url.replace(/^http/, "ws")}/v1/ws`;
        socket = new WebSocket(url, ["doorstep.v1", `bearer.${token}`]);
      } catch (error) {
        report(error);
        connection.end = () => {};
        return resolve({});
      }
      const slow = setTimeout(() => connection.end(), this.#options.connectTimeout);
      const over = (code) => {
        clearTimeout(slow);
        resolve({ code });
      };
      connection.end = () => {
        socket.close();
        // Where the network is gone, the closing handshake may take minutes.
        over(undefined);
      };
      const ack = (id) => {
        if (socket.readyState === 1) socket.send(JSON.stringify({ type: "ack", id }));
      };
      socket.onopen = () => {
        clearTimeout(slow);
        connection.opened("websocket");
      };
      socket.onmessage = ({ data }) => connection.message(data, ack);
      // A browser tells of the close right after this; Node 20 does not, where it did not open.
      socket.onerror = () => socket.readyState !== 1 && over(undefined);
      socket.onclose = ({ code }) => over(code);
    });
    return connection;
  }

  /** With fetch, because an EventSource sends no header, and a token has no place in a URL. */
  #openSse(token) {
    const abort = new AbortController();
    const connection = { kind: "sse", end: () => abort.abort() };
    const read = async () => {
      const headers = { authorization: `Bearer ${token}`, accept: "text/event-stream" };
      if (this.#lastEventId) headers["last-event-id"] = this.#lastEventId;
      let silent = setTimeout(connection.end, this.#options.connectTimeout);
      try {
        const url = `${this.#options.url}/v1/notifications/stream`;
        const response = await fetch(url, { headers, signal: abort.signal, cache: "no-store" });
        if (!response.ok) return { refused: response.status, code: response.status === 503 ? CODE.TRY_LATER : undefined };
        connection.opened("sse");
        let code;
        const parser = new EventParser(({ id, event, data }) => {
          if (event === "closing") code = JSON.parse(data).code;
          else if (event === "message") connection.message(data, () => { this.#lastEventId = id || this.#lastEventId; });
        });
        const decoder = new TextDecoder();
        const reader = response.body.getReader();
        for (;;) {
          clearTimeout(silent);
          silent = setTimeout(connection.end, this.#options.silence);
          const { done, value } = await reader.read();
          if (done) return { code };
          parser.push(decoder.decode(value, { stream: true }));
          // The WebSocket may pass again: end this stream, and the next attempt will see.
          if (this.#options.transport === "auto" && this.#sseUntil && Date.now() >= this.#sseUntil) {
            this.#webSocketFailures = this.#options.webSocketFailures - 1;
            connection.end();
          }
        }
      } catch {
        return {};
      } finally {
        clearTimeout(silent);
      }
    };
    // After `opened` and `message` have been put in place.
    connection.ended = Promise.resolve().then(read);
    return connection;
  }

  /** One after the other, so that the order stays. */
  #take(text, ack) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    if (frame?.type !== "notification" || typeof frame.id !== "string") return; // Newer than this client.
    const { id, kind, topic, created_at, payload } = frame;
    const notification = { id, kind, topic, createdAt: new Date(created_at), payload };
    this.#queue = this.#queue
      .then(() => this.#seen.once(id, () => {
        this.#emit(kind, notification);
        this.#emit("notification", notification);
      }))
      .then((first) => {
        ack(id);
        if (!first) this.#emit("duplicate", notification);
      })
      .catch(report);
  }

  /** Waits and tries again: exponential, with jitter, so that a server that restarts is not run over. */
  #again(code) {
    if (globalThis.navigator?.onLine === false) return this.#sleep();
    const { baseDelay, maxDelay } = this.#options;
    const doubled = baseDelay * 2 ** Math.min(this.#failures++, 16);
    const least = OUR_FAULT.has(code) ? maxDelay : code === CODE.TRY_LATER ? baseDelay * 8 : baseDelay;
    const most = Math.min(maxDelay, Math.max(doubled, least));
    const delay = most / 2 + Math.random() * (most / 2);
    this.#retryAt = Date.now() + delay;
    this.#enter("waiting");
    this.#timer = setTimeout(() => this.#try(), delay);
  }

  #sleep() {
    if (["idle", "closed", "signed-out", "sleeping"].includes(this.#state)) return;
    this.#leave();
    this.#enter("sleeping");
  }

  /** Back on line: at once. Looked at again: there is no reason to keep a person waiting for a backoff. */
  #wake(why) {
    if (this.#state === "sleeping" && (why === "online" || globalThis.navigator?.onLine !== false)) {
      this.#failures = 0;
      this.#try();
    } else if (this.#state === "waiting") {
      this.#try();
    }
  }

  #stop(state) {
    globalThis.removeEventListener?.("online", this.#online);
    globalThis.removeEventListener?.("offline", this.#offline);
    globalThis.document?.removeEventListener?.("visibilitychange", this.#visible);
    this.#leave();
    this.#enter(state);
    if (state === "signed-out") this.#emit("signed-out");
  }

  #leave() {
    this.#attempt++;
    clearTimeout(this.#timer);
    this.#transport = null;
    this.#end();
    this.#end = () => {};
  }

  #enter(state) {
    if (state !== "waiting") this.#retryAt = null;
    if (state === this.#state) return;
    this.#state = state;
    this.#emit("state", state);
  }

  /** A listener that throws is its author's to hear of; the others go on. */
  #emit(name, value) {
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      try {
        listener(value);
      } catch (error) {
        report(error);
      }
    }
  }
}

/** Which ids have been seen: here, and where the browser allows, before a reload and in the other tabs. */
class Seen {
  #ids = new Set();
  #shared;
  #options;

  constructor(options) {
    this.#options = options;
    this.#shared = options.tabs && typeof globalThis.navigator?.locks?.request === "function" && storage() !== null;
  }

  /**
   * Runs `show` unless the id has been seen; says whether it ran. The lock is held while it runs, and the id
   * is noted afterwards: if this tab dies in between, the lock goes to a tab that finds the id not noted.
   */
  async once(id, show) {
    if (this.#ids.has(id)) return false;
    if (!this.#shared) return this.#show(id, show);
    if (globalThis.document?.visibilityState === "hidden") {
      await new Promise((resolve) => setTimeout(resolve, this.#options.hiddenTabWaits));
    }
    return navigator.locks.request(`${STORAGE_KEY}.${id}`, async () => {
      if (this.#stored().includes(id)) {
        this.#note(id);
        return false;
      }
      const first = this.#show(id, show);
      // One lock for the list: two tabs that note different ids must not undo each other's.
      await navigator.locks.request(STORAGE_KEY, () => this.#store(id));
      return first;
    });
  }

  #show(id, show) {
    show();
    this.#note(id);
    return true;
  }

  #note(id) {
    this.#ids.add(id);
    if (this.#ids.size > REMEMBERED) this.#ids.delete(this.#ids.values().next().value);
  }

  #stored() {
    try {
      const ids = JSON.parse(storage().getItem(STORAGE_KEY) ?? "[]");
      return Array.isArray(ids) ? ids : [];
    } catch {
      return [];
    }
  }

  #store(id) {
    try {
      storage().setItem(STORAGE_KEY, JSON.stringify([...this.#stored(), id].slice(-REMEMBERED)));
    } catch {
      // Full, or not allowed: this tab remembers all the same.
    }
  }
}

/** What a browser that forbids storage answers by throwing. */
function storage() {
  try {
    return globalThis.window?.localStorage ?? null;
  } catch {
    return null;
  }
}

/** Server-Sent Events as the WHATWG HTML standard has them, section 9.2.6. */
export class EventParser {
  #dispatch;
  #rest = "";
  #event = "";
  #data = [];
  #id = "";
  #afterReturn = false;

  constructor(dispatch) { this.#dispatch = dispatch; }

  push(text) {
    // A line end of two characters may have been cut in two.
    if (this.#afterReturn && text.startsWith("\n")) text = text.slice(1);
    if (text) this.#afterReturn = text.endsWith("\r");
    const lines = (this.#rest + text).split(/\r\n|\r|\n/);
    this.#rest = lines.pop();
    lines.forEach((line) => this.#line(line));
  }

  #line(line) {
    if (line === "") {
      if (this.#data.length) this.#dispatch({ id: this.#id, event: this.#event || "message", data: this.#data.join("\n") });
      this.#event = "";
      this.#data = [];
      return;
    }
    const [, field, value] = /^([^:]*)(?:: ?)?(.*)$/s.exec(line);
    if (field === "data") this.#data.push(value);
    else if (field === "event") this.#event = value;
    else if (field === "id" && !value.includes("\0")) this.#id = value;
  }
}

function report(error) {
  if (typeof globalThis.reportError === "function") globalThis.reportError(error);
  else console.error(error);
}
