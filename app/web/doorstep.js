/**
 * Doorstep's client: the notifications of one signed-in user, each shown once, over WebSocket or, where those are
 * blocked, Server-Sent Events. No dependencies; browsers and Node 20 or later. Types: doorstep.d.ts.
 *
 *   import { Doorstep } from "/doorstep.js";
 *   const door = new Doorstep({ token });
 *   door.on("welcome", ({ payload }) => toast(`Hello ${payload.username}`));
 *   door.on(":signed-out", () => location.assign("/sign-in"));
 *   door.connect();
 *
 * What it promises: a notification reaches the listeners of its kind, then those of ":notification", and is
 * acknowledged after they are done. Without a listener it is neither noted nor acknowledged. Ids that were seen
 * before are acknowledged and not shown again, even after a reload, and in the other tabs of the origin (if the
 * browser has Web Locks): one tab shows a notification, a visible one if there is one. If that tab dies while its
 * listeners run, another takes over.
 *
 * In this file: Doorstep (the connection; `#again` and `#backoff` decide when to reconnect), Arrivals (notifications
 * that are to be shown), Seen (ids that were shown before), the two transports, and the stream that tabs share.
 */

/** Close codes with a special meaning (docs/wire.md has them all). */
const CODE = { RESTART: 1012, TRY_LATER: 1013, SIGNED_OUT: 4401, DISCONNECTED: 4403 };
/** Faults of this client. Reconnecting at once would only repeat them. */
const OUR_FAULT = new Set([1002, 1003, 1007, 1009]);
/** The client's own events. A kind cannot contain a colon, so the two never meet. */
const OWN_EVENTS = new Set([":notification", ":duplicate", ":retract", ":state", ":signed-out", ":error"]);

const DEFAULTS = {
  baseDelay: 500,
  maxDelay: 30_000,
  /** A connection that lasted this long resets the backoff. */
  stableAfter: 5_000,
  /** The limit for the token function, and again for the connection. */
  connectTimeout: 10_000,
  /** How often the WebSocket is tried again while Server-Sent Events are used. */
  retryWebSocketAfter: 5 * 60_000,
  /** After this many failed WebSockets in a row, while the server answers HTTP, Server-Sent Events take over. */
  webSocketFailures: 2,
  /** A connection that is silent for longer than this is dead. The server sends a heartbeat every 25 s. */
  silence: 60_000,
  /** How long the acknowledgement waits for listeners that return a promise. Less than the server's 10 s. */
  listenerTimeout: 5_000,
  /** How long a hidden tab waits so that a visible one goes first. */
  hiddenTabWaits: 300,
  /** How long a tab that shows a notification may keep the others waiting. More than `listenerTimeout`. */
  tabTimeout: 10_000,
  transport: "auto",
  tabs: true,
};

/**
 * How many ids are remembered here. A burst may be as large as a server lets wait for one user, and what a slow page has
 * not acknowledged yet is pushed again, so an id may come again that far behind.
 */
const REMEMBERED = 60_000;
/** How many ids are stored for other tabs, and for after a reload. */
const STORED = 500;
/** How many notifications without a listener are held. By default the server lets 100 per user wait. */
const HELD = 100;
/** Nothing is held for longer, because the server pushes again what was not acknowledged for this long. */
const HELD_MS = 10_000;
/** After this time, every tab can read what another has stored. */
const STORED_EVERYWHERE_MS = 10_000;
/** The longest timer. A longer one fires at once. */
const LONGEST_TIMER = 2 ** 31 - 1;
const STORAGE_KEY = "doorstep.seen";
const STREAM_KEY = "doorstep.stream";

export class Doorstep {
  #options;
  #listeners = new Map();
  #state = "idle";
  #transport = null;
  #retryAt = null;
  /** The number of the current attempt to connect. Reports of earlier attempts are ignored. */
  #attempt = 0;
  #link = null;
  #timer = null;
  #failures = 0;
  /** No attempt is made before this time (milliseconds since the epoch), not even by a new `connect()`. */
  #notBefore = 0;
  /** The token that was refused. One new token is tried after it. */
  #refused;
  #webSocketFailures = 0;
  #sseUntil = 0;
  #lastEventId = null;
  /** The page cannot be seen: it is in the back/forward cache, frozen, or prerendered. */
  #away = false;
  #silent = () => false;
  #arrivals;
  #pageEvents = [
    [() => globalThis, "online", () => this.#wake(true)],
    [() => globalThis, "offline", () => this.#isActive() && (this.#leave(), this.#begin())],
    [() => globalThis, "pagehide", () => this.#putAway(true)],
    [() => globalThis, "pageshow", () => this.#putAway(false)],
    [() => globalThis.document, "freeze", () => this.#putAway(true)],
    [() => globalThis.document, "resume", () => this.#putAway(false)],
    [() => globalThis.document, "prerenderingchange", () => this.#putAway(false)],
    [() => globalThis.document, "visibilitychange", () => isHidden() || this.#wake()],
  ];

  constructor(options = {}) {
    this.#options = { ...DEFAULTS, ...options };
    if (!options.token) throw new TypeError("Doorstep needs a token");
    this.#options.url = String(options.url ?? globalThis.location?.origin ?? "");
    if (!/^https?:\/\/[^/]/.test(this.#options.url)) {
      throw new TypeError("Doorstep needs the server's url, like https://example.com");
    }
    this.#options.url = this.#options.url.replace(/\/+$/, "");
    this.#arrivals = new Arrivals(this.#options, {
      wants: (kind) => !this.#away && (this.#hasListener(kind) || this.#hasListener(":notification")),
      show: (notification, goesOn) => this.#show(notification, goesOn),
      acknowledge: (id) => this.#link?.acknowledge(id),
      duplicate: (notification) => this.#emit(":duplicate", notification),
      fail: (error) => this.#fail(error),
    });
  }

  /** "idle", "connecting", "open", "waiting" (for the next attempt), "sleeping" (offline, or the page cannot be seen), "signed-out", "closed". */
  get state() { return this.#state; }
  /** "websocket" or "sse" while open, otherwise null. */
  get transport() { return this.#transport; }
  /** The time of the next attempt (milliseconds since the epoch) while waiting or offline, otherwise null. */
  get retryAt() { return this.#retryAt; }

  /** The user closed this notification: their other connections get `:retract`. Best effort, over a WebSocket. */
  dismiss(id) {
    this.#link?.dismiss?.(String(id));
  }

  /** Adds a listener; returns a function that removes it. A name is a kind, or an event of the client (":state"). */
  on(name, listener) {
    if (String(name).startsWith(":") && !OWN_EVENTS.has(name)) throw new TypeError(`Doorstep has no event ${name}`);
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name).add(listener);
    this.#arrivals.retake();
    return () => this.#listeners.get(name)?.delete(listener);
  }

  /** Connects, and stays connected until `close` or the end of the session. */
  connect() {
    if (this.#isActive()) return this;
    for (const [target, name, handler] of this.#pageEvents) target()?.addEventListener?.(name, handler);
    this.#away = globalThis.document?.prerendering === true;
    this.#begin();
    return this;
  }

  /** Disconnects. From now on nothing is shown or acknowledged. */
  close() {
    this.#arrivals.clear();
    this.#stop("closed");
  }

  #isActive() { return !["idle", "closed", "signed-out"].includes(this.#state); }

  /** Tries to connect at once, unless there is a reason to wait. */
  #begin() {
    // Offline is a hint that may be wrong, so attempts continue, at the longest wait.
    if (this.#away) this.#enter("sleeping");
    else if (isOffline()) this.#wait("sleeping", jittered(this.#options.maxDelay));
    else if (this.#notBefore > Date.now()) this.#wait("waiting", this.#notBefore - Date.now());
    else this.#try();
  }

  #wait(state, delay) {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#try(), Math.min(delay, LONGEST_TIMER));
    this.#enter(state, Date.now() + delay);
  }

  async #try() {
    const attempt = ++this.#attempt;
    const stale = () => attempt !== this.#attempt;
    clearTimeout(this.#timer);
    this.#enter("connecting");
    if (stale()) return;
    let token;
    try {
      token = await this.#token();
    } catch (error) {
      if (!stale()) this.#fail(error);
      if (!stale()) this.#again();
      return;
    }
    if (stale()) return;
    const { kind, openedAt, code, refused } = await this.#hold(token, stale);
    if (stale()) return;
    this.#link = this.#transport = null;
    const stood = openedAt !== null && Date.now() - openedAt >= this.#options.stableAfter;
    if (stood) {
      this.#failures = this.#notBefore = 0;
      this.#refused = undefined;
    }
    const unopened = kind === "websocket" && openedAt === null;
    const isRefused = code === CODE.SIGNED_OUT || refused === 401 || (unopened && (await this.#isRefusedByHttp(token, stale)));
    if (stale()) return;
    if (isRefused) this.#unauthorized(token, stood);
    else if (code === CODE.DISCONNECTED) this.#stop("closed");
    else this.#again(code);
  }

  async #token() {
    const { token, connectTimeout } = this.#options;
    const got = typeof token === "function" ? await within(connectTimeout, token(this.#refused), "no token") : token;
    if (typeof got !== "string" || got === "") throw new TypeError("Doorstep's token function returned no token");
    return got;
  }

  /** Opens a connection. Resolves when it has ended, with the reason. */
  async #hold(token, stale) {
    const { url, silence } = this.#options;
    let openedAt = null;
    /** When the server last sent something; null until silence is watched. */
    let heardAt = null;
    const heard = () => {
      heardAt = Date.now();
      // End the stream, so that the next attempt tries the WebSocket again.
      if (link.kind === "sse" && this.#options.transport === "auto" && this.#sseUntil && heardAt >= this.#sseUntil) {
        this.#webSocketFailures = this.#options.webSocketFailures - 1;
        link.end();
      }
    };
    const on = {
      opened: () => {
        if (stale()) return link.end();
        openedAt = Date.now();
        // Silence on a stream is watched from now on, on a WebSocket from its first heartbeat on.
        if (link.kind === "sse") heard();
        else this.#webSocketFailures = 0;
        this.#transport = link.kind;
        this.#enter("open");
      },
      heard: (isHeartbeat) => (isHeartbeat || heardAt !== null) && heard(),
      frame: (text) => stale() || this.#frame(text, link.kind, on),
      fail: (error) => stale() || this.#fail(error),
    };
    const parts = { url, token, options: this.#options, lastEventId: this.#lastEventId, on };
    const link = this.#useSse() ? openStream(parts) : openWebSocket(parts);
    this.#link = link;
    this.#silent = () => heardAt !== null && Date.now() - heardAt > silence;
    const watch = setInterval(() => this.#silent() && link.end(), Math.min(silence / 4, LONGEST_TIMER));
    link.acknowledge ??= (id) => { this.#lastEventId = id; };
    const end = await link.ended;
    clearInterval(watch);
    return { kind: link.kind, openedAt, ...end };
  }

  #useSse() {
    const { transport, WebSocket = globalThis.WebSocket } = this.#options;
    if (transport !== "auto") return transport === "sse";
    return typeof WebSocket !== "function" || Date.now() < this.#sseUntil;
  }

  /** Browsers hide why a WebSocket did not open. A plain HTTP request to the same address returns the status. */
  async #isRefusedByHttp(token, stale) {
    let status = 0;
    try {
      const signal = AbortSignal.timeout(this.#options.connectTimeout);
      const headers = { authorization: `Bearer ${token}` };
      status = (await fetch(`${this.#options.url}/v1/ws`, { headers, signal, cache: "no-store" })).status;
    } catch {
      // No answer: the server cannot be reached, and the WebSocket is not to blame.
    }
    // 426 Upgrade Required: the token is valid and the server answers, but the upgrade did not reach it.
    if (status === 426 && !stale() && ++this.#webSocketFailures >= this.#options.webSocketFailures) {
      this.#sseUntil = Date.now() + this.#options.retryWebSocketAfter;
      this.#failures = 0;
    }
    return status === 401;
  }

  /** The token is no longer valid. A token function gets one chance to return another. */
  #unauthorized(token, stood) {
    if (typeof this.#options.token === "function" && this.#refused === undefined) {
      this.#refused = token;
      return this.#try();
    }
    this.#refused = undefined;
    // A page that connects again at once with a refused token must not loop.
    if (!stood) this.#notBefore = Date.now() + this.#backoff();
    this.#stop("signed-out");
  }

  /** Reconnects after a wait. */
  #again(code) {
    this.#notBefore = Date.now() + this.#backoff(code);
    this.#begin();
  }

  /** The next wait: exponential, with jitter, so that clients do not overload a restarting server. */
  #backoff(code) {
    const { baseDelay, maxDelay } = this.#options;
    const doubled = baseDelay * 2 ** Math.min(this.#failures++, 16);
    const least = OUR_FAULT.has(code) ? maxDelay : code === CODE.TRY_LATER ? baseDelay * 8 : baseDelay;
    return jittered(Math.min(maxDelay, Math.max(doubled, least)));
  }

  /** Tries at once: the machine is online again, or a person looks at the page and should not wait for a backoff. */
  #wake(online = false) {
    if (this.#away) return;
    if (this.#state === "sleeping" && (online || !isOffline())) {
      this.#failures = this.#notBefore = 0;
      this.#try();
    } else if (this.#state === "waiting") {
      this.#try();
    } else if (this.#state === "open" && this.#silent()) {
      // The machine slept, or the network was lost without a close.
      this.#leave();
      this.#try();
    }
  }

  /** A page that cannot be seen takes no notifications. They go to another connection, or wait. */
  #putAway(away) {
    if (away === this.#away) return;
    this.#away = away;
    if (!this.#isActive()) return;
    this.#leave();
    this.#begin();
    if (!away) this.#arrivals.retake();
  }

  #stop(state) {
    for (const [target, name, handler] of this.#pageEvents) target()?.removeEventListener?.(name, handler);
    this.#leave();
    this.#enter(state);
    if (state === "signed-out") this.#emit(":signed-out");
  }

  #leave() {
    this.#attempt++;
    clearTimeout(this.#timer);
    const link = this.#link;
    this.#link = this.#transport = null;
    link?.end();
  }

  #enter(state, retryAt = null) {
    this.#retryAt = retryAt;
    if (state === this.#state) return;
    this.#state = state;
    this.#emit(":state", state);
  }

  #frame(text, transport, on) {
    let frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return;
    }
    on.heard(frame?.type === "heartbeat");
    if (typeof frame?.id !== "string") return; // A heartbeat, or a type that this client does not know.
    const { id, kind, topic, created_at, traceparent, payload, reason } = frame;
    if (frame.type === "retract") {
      const isDropped = this.#arrivals.drop(id);
      this.#emit(":retract", { id, reason, isDropped });
    } else if (frame.type === "notification" && typeof kind === "string" && !kind.startsWith(":")) {
      const notification = { id, kind, topic, createdAt: new Date(created_at), receivedAt: new Date(Date.now()), payload };
      if (traceparent !== undefined) notification.traceparent = traceparent;
      // A stream does not push a notification again.
      this.#arrivals.take(notification, transport === "sse" ? Infinity : Date.now() + HELD_MS);
    }
  }

  /** Calls the listeners. Resolves when those that return a promise are done or have timed out. */
  #show(notification, goesOn) {
    const work = [notification.kind, ":notification"].flatMap((name) => this.#emit(name, notification, goesOn));
    if (work.length === 0) return undefined;
    return within(this.#options.listenerTimeout, Promise.all(work), "a listener is not done").catch((error) => this.#fail(error));
  }

  #hasListener(name) { return this.#listeners.get(name)?.size > 0; }

  /** Calls listeners and returns their promises. A listener that fails does not stop the others. */
  #emit(name, value, goesOn = () => true) {
    const work = [];
    const failed = (error) => (name === ":error" ? report(error) : this.#fail(error));
    for (const listener of [...(this.#listeners.get(name) ?? [])]) {
      if (!goesOn()) break;
      try {
        const result = listener(value);
        if (typeof result?.then === "function") work.push(Promise.resolve(result).catch(failed));
      } catch (error) {
        failed(error);
      }
    }
    return work;
  }

  #fail(error) {
    if (this.#hasListener(":error")) this.#emit(":error", error);
    else report(error);
  }
}

/**
 * The notifications that are to be shown, in order. `host` provides `wants` (whether a kind has a listener), `show`,
 * `acknowledge`, `duplicate` and `fail`.
 */
class Arrivals {
  #options;
  #host;
  #seen;
  #queue = [];
  /** Notifications by id, from the frame to the acknowledgement. */
  #pending = new Map();
  /** Notifications by id that have no listener yet. */
  #held = new Map();
  #isShowing = false;

  constructor(options, host) {
    this.#options = options;
    this.#host = host;
    this.#seen = new Seen(options);
  }

  /** Takes a notification. Without a listener for its kind, it is held until `keepUntil`. */
  take(notification, keepUntil) {
    const { id } = notification;
    const pending = this.#pending.get(id);
    if (pending) return void pending.repeats++;
    this.#held.delete(id);
    const item = { notification, keepUntil, repeats: 0, isShown: false, isDropped: false };
    this.#pending.set(id, item);
    this.#queue.push(item);
    this.#showAll().catch((error) => this.#host.fail(error));
  }

  /** Takes held notifications again: there is a new listener, or the page can be seen again. */
  retake() {
    const held = [...this.#held.values()];
    this.#held.clear();
    for (const { notification, keepUntil } of held) {
      if (Date.now() < keepUntil) this.take(notification, keepUntil);
    }
  }

  /** Forgets a notification that has not been shown. Returns whether there was one. */
  drop(id) {
    const wasHeld = this.#held.delete(id);
    const item = this.#pending.get(id);
    if (!item || item.isShown) return wasHeld;
    item.isDropped = true;
    this.#pending.delete(id);
    return true;
  }

  /** Forgets all notifications. */
  clear() {
    for (const item of this.#pending.values()) item.isDropped = true;
    this.#pending.clear();
    this.#held.clear();
  }

  async #showAll() {
    if (this.#isShowing) return;
    this.#isShowing = true;
    // Wait for listeners that are added in the same turn of the event loop.
    await null;
    try {
      while (this.#queue.length > 0) {
        await this.#seen.letVisibleTabGoFirst();
        // Claim all at once, so that a hanging tab causes one wait and not one per notification.
        const claims = this.#queue.splice(0).map((item) => [item, this.#isWanted(item) ? this.#seen.claim(item.notification.id) : null]);
        for (const [item, claim] of claims) await this.#showOne(item, await claim);
      }
    } finally {
      this.#isShowing = false;
    }
  }

  #isWanted({ notification, isDropped }) { return !isDropped && this.#host.wants(notification.kind); }

  /** `release` gives back the tab's claim. It is null if there was no listener. */
  async #showOne(item, release) {
    const { id } = item.notification;
    const isSeen = release && (await this.#seen.has(id));
    if (!release || !this.#isWanted(item)) {
      release?.();
      if (!item.isDropped) this.#hold(item);
    } else if (isSeen) {
      release();
      item.repeats++;
      this.#acknowledge(item);
    } else {
      item.isShown = true;
      const work = this.#host.show(item.notification, () => !item.isDropped);
      const finish = () => this.#seen.note(id).finally(release).then(() => this.#acknowledge(item));
      if (work) work.then(finish);
      else finish();
    }
  }

  #hold(item) {
    const { id } = item.notification;
    this.#pending.delete(id);
    this.#held.set(id, item);
    if (this.#held.size > HELD) this.#held.delete(this.#held.keys().next().value);
    // A listener was added since.
    if (this.#host.wants(item.notification.kind)) this.retake();
  }

  /** Acknowledges once per push. All pushes but the one that was shown are duplicates. */
  #acknowledge({ notification, repeats, isShown, isDropped }) {
    if (isDropped) return;
    this.#pending.delete(notification.id);
    if (isShown) this.#host.acknowledge(notification.id);
    for (let n = 0; n < repeats; n++) {
      this.#host.acknowledge(notification.id);
      this.#host.duplicate(notification);
    }
  }
}

/** The ids that have been seen: here and, if the browser allows, before a reload and in the other tabs. */
class Seen {
  #ids = new Set();
  #isShared;
  #options;

  constructor(options) {
    this.#options = options;
    this.#isShared = sharesTabs(options);
  }

  /** A hidden tab waits, once for all notifications that have come, because each of its timers may be a second late. */
  async letVisibleTabGoFirst() {
    if (this.#isShared && isHidden()) await new Promise((resolve) => setTimeout(resolve, this.#options.hiddenTabWaits));
  }

  /**
   * Claims the right to show a notification. Returns a function that gives the right back. The id is noted before that:
   * if this tab dies while listeners run, the right goes to another tab, which finds the id not noted.
   */
  claim(id) { return this.#ids.has(id) ? () => {} : this.#lock(`${STORAGE_KEY}.${id}`); }

  async has(id) {
    if (this.#ids.has(id)) return true;
    const isSeen = this.#isShared && (this.#stored().includes(id) || (await this.#wasJustNoted(id)));
    if (isSeen) this.#remember(id);
    return isSeen;
  }

  async note(id) {
    this.#remember(id);
    if (!this.#isShared) return;
    // One lock for the list, so that two tabs do not overwrite each other's ids.
    const release = await this.#lock(STORAGE_KEY);
    this.#store(id);
    release();
    await this.#justNoted(id);
  }

  /**
   * Browsers keep a copy of the storage in each process, so another tab may read a stored id only a moment later. Locks
   * are shared by all processes, so for a while another lock shows that the id is noted.
   */
  #justNoted(id) {
    return new Promise((resolve) => {
      const hold = () => new Promise((release) => {
        resolve();
        setTimeout(release, STORED_EVERYWHERE_MS).unref?.();
      });
      navigator.locks.request(`${STORAGE_KEY}.noted.${id}`, { mode: "shared" }, hold).catch(resolve);
    });
  }

  #wasJustNoted(id) {
    const options = { ifAvailable: true };
    return navigator.locks.request(`${STORAGE_KEY}.noted.${id}`, options, (lock) => lock === null).catch(() => false);
  }

  /** Takes a lock, and returns its release. Continues without it after a while, because the tab that has it may hang. */
  #lock(name) {
    if (!this.#isShared) return () => {};
    return new Promise((resolve) => {
      const bound = new AbortController();
      const goWithout = () => {
        bound.abort();
        resolve(() => {});
      };
      const timer = setTimeout(goWithout, this.#options.tabTimeout);
      const granted = () => {
        clearTimeout(timer);
        return bound.signal.aborted ? undefined : new Promise(resolve);
      };
      navigator.locks.request(name, { signal: bound.signal }, granted).catch(goWithout);
    });
  }

  #remember(id) {
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
      storage().setItem(STORAGE_KEY, JSON.stringify([...this.#stored(), id].slice(-STORED)));
    } catch {
      // The storage is full or forbidden. This tab still remembers the id.
    }
  }
}

/*
 * A transport gets `{ url, token, options, lastEventId, on }` and returns `{ kind, ended, end() }`; a WebSocket also has
 * `acknowledge(id)` and `dismiss(id)`. It calls `on.opened()`, `on.heard()` and `on.frame(text)`. `ended` resolves with
 * `{ code, refused }`: the close code, and the HTTP status of a refusal.
 */

function openWebSocket({ url, token, options, on }) {
  const WebSocket = options.WebSocket ?? globalThis.WebSocket;
  const link = { kind: "websocket", end() {}, acknowledge() {}, dismiss() {} };
  link.ended = new Promise((resolve) => {
    let socket;
    try {
      socket = new WebSocket(`${url.replace(/^http/, "ws")}/v1/ws`, ["doorstep.v1", `bearer.${token}`]);
    } catch (error) {
      on.fail(error);
      return resolve({});
    }
    const slow = setTimeout(() => link.end(), options.connectTimeout);
    const over = (code) => {
      clearTimeout(slow);
      resolve({ code });
    };
    link.end = () => {
      socket.close();
      // Without a network, the closing handshake may take minutes.
      over(undefined);
    };
    link.acknowledge = (id) => {
      if (socket.readyState === 1) socket.send(JSON.stringify({ type: "ack", id }));
    };
    link.dismiss = (id) => {
      if (socket.readyState === 1) socket.send(JSON.stringify({ type: "dismiss", id }));
    };
    socket.onopen = () => {
      clearTimeout(slow);
      on.opened();
    };
    socket.onmessage = ({ data }) => on.frame(data);
    // A browser fires `close` right after this. Node 20 does not if the socket never opened.
    socket.onerror = () => socket.readyState !== 1 && over(undefined);
    socket.onclose = ({ code }) => over(code);
  });
  return link;
}

/** The tabs share one stream, because over HTTP/1.1 a browser has six connections to a server. */
function openStream(parts) {
  const isShared = sharesTabs(parts.options) && typeof BroadcastChannel === "function" && globalThis.crypto?.subtle;
  return isShared ? openSharedStream(parts) : openOwnStream(parts);
}

/** Uses fetch, because an EventSource sends no headers, and tokens do not belong in URLs. */
function openOwnStream({ url, token, options, lastEventId, on }) {
  const abort = new AbortController();
  const read = async () => {
    const headers = { authorization: `Bearer ${token}`, accept: "text/event-stream" };
    if (lastEventId) headers["last-event-id"] = lastEventId;
    const slow = setTimeout(() => abort.abort(), options.connectTimeout);
    try {
      const response = await fetch(`${url}/v1/notifications/stream`, { headers, signal: abort.signal, cache: "no-store" });
      clearTimeout(slow);
      const { status } = response;
      if (!response.ok) return { refused: status, code: [429, 503].includes(status) ? CODE.TRY_LATER : undefined };
      on.opened();
      let code;
      const parser = new EventParser(({ event, data }) => {
        if (event === "closing") code = JSON.parse(data).code;
        else if (event === "message") on.frame(data);
      });
      const decoder = new TextDecoder();
      const reader = response.body.getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return { code };
        // Every byte counts, heartbeats and comments included.
        on.heard(true);
        parser.push(decoder.decode(value, { stream: true }));
      }
    } catch {
      return {};
    } finally {
      clearTimeout(slow);
      abort.abort();
    }
  };
  return { kind: "sse", ended: read(), end: () => abort.abort() };
}

/**
 * One tab holds a lock and the stream, and passes on what it receives. When that tab goes, the others start again, and
 * the first of them gets the stream.
 */
function openSharedStream(parts) {
  const { url, token, options, on } = parts;
  const unlock = new AbortController();
  const link = { kind: "sse" };
  link.ended = new Promise((resolve) => {
    let isOpen = false;
    let stream = null;
    let channel = null;
    let slow;
    const over = (end) => {
      clearTimeout(slow);
      unlock.abort();
      stream?.end();
      channel?.close();
      channel = null;
      resolve(end);
    };
    const opened = () => {
      if (isOpen) return;
      isOpen = true;
      clearTimeout(slow);
      on.opened();
    };
    const lead = async () => {
      // Another tab had the stream until now.
      if (isOpen || !channel) return over({});
      clearTimeout(slow);
      const tell = (message) => channel?.postMessage(message);
      channel.onmessage = ({ data }) => data.asks && isOpen && tell({ isOpen });
      stream = openOwnStream({ ...parts, on: {
        opened: () => (opened(), tell({ isOpen })),
        heard: () => (tell({}), on.heard(true)),
        frame: (text) => (tell({ text }), on.frame(text)),
      } });
      const end = await stream.ended;
      // Another tab's token may still be valid.
      tell({ end: end.code === CODE.SIGNED_OUT ? {} : { code: end.code } });
      over(end);
    };
    link.end = () => over({});
    streamName(url, token).then((name) => {
      if (unlock.signal.aborted) return;
      channel = new BroadcastChannel(name);
      channel.onmessage = ({ data }) => {
        if (data.asks) return;
        if (data.end) return over(data.end);
        opened();
        on.heard(true);
        if (data.text) on.frame(data.text);
      };
      channel.postMessage({ asks: true });
      // The wait for the lock was aborted, or the lock was stolen.
      const failed = () => over({});
      // A tab that has the lock and sends nothing hangs. Its lock is stolen.
      slow = setTimeout(() => navigator.locks.request(name, { steal: true }, lead).catch(failed), options.connectTimeout);
      navigator.locks.request(name, { signal: unlock.signal }, lead).catch(failed);
    }, () => over({}));
  });
  return link;
}

/** The name of the stream, the same for all tabs of a user. It does not contain the token. */
async function streamName(url, token) {
  let user = token;
  try {
    const { iss, sub } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    if (sub) user = JSON.stringify([iss, sub]);
  } catch {
    // Not a JWT: tabs share a stream only if they have the same token.
  }
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${url} ${user}`));
  return `${STREAM_KEY}.${[...new Uint8Array(digest, 0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

const isHidden = () => globalThis.document?.visibilityState === "hidden";
const isOffline = () => globalThis.navigator?.onLine === false;
const jittered = (delay) => delay / 2 + Math.random() * (delay / 2);
const sharesTabs = ({ tabs }) => tabs && typeof globalThis.navigator?.locks?.request === "function" && storage() !== null;

/** Null if there is no storage. A browser that forbids it throws. */
function storage() {
  try {
    return globalThis.window?.localStorage ?? null;
  } catch {
    return null;
  }
}

/** The result of the promise, or an error after this time. */
function within(ms, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Doorstep: ${what} after ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Parses Server-Sent Events (WHATWG HTML, section 9.2.6). */
export class EventParser {
  #dispatch;
  #rest = "";
  #event = "";
  #data = [];
  #id = "";
  #afterReturn = false;

  constructor(dispatch) { this.#dispatch = dispatch; }

  push(text) {
    // A line end of two characters may be split between two pieces.
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
