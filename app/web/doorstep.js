/**
 * Doorstep's client: the notifications of one signed-in user, each shown once, over WebSocket or, where that
 * does not pass, Server-Sent Events. No dependencies; browsers and Node 20 or later. Types: doorstep.d.ts.
 *
 *   import { Doorstep } from "/doorstep.js";
 *   const door = new Doorstep({ token });
 *   door.on("welcome", ({ payload }) => toast(`Hello ${payload.username}`));
 *   door.on(":signed-out", () => location.assign("/sign-in"));
 *   door.connect();
 *
 * What it promises: a notification reaches the listeners of its kind, then those of ":notification", and is
 * acknowledged after they are done. Without a listener it is neither noted nor acknowledged. Ids that were seen
 * before are acknowledged and go no further, also across a reload, and across the tabs of one origin (where the
 * browser has Web Locks): one tab shows a notification, a visible one if there is one; if that tab dies while its
 * listeners run, another takes over.
 *
 * In this file: the connection's life (Doorstep), what has come and is to be shown (Arrivals), what was shown
 * before (Seen), the two transports, and the stream that tabs share.
 */

/** Close codes with a meaning of their own (the server's documentation has them all). */
const CODE = { RESTART: 1012, TRY_LATER: 1013, SIGNED_OUT: 4401, DISCONNECTED: 4403 };
/** Faults of ours: coming back at once would only repeat them. */
const OUR_FAULT = new Set([1002, 1003, 1007, 1009]);
/** The client's own events. A kind cannot contain a colon, so the two never meet. */
const OWN_EVENTS = new Set([":notification", ":duplicate", ":retract", ":state", ":signed-out", ":error"]);

const DEFAULTS = {
  baseDelay: 500,
  maxDelay: 30_000,
  /** A connection that lasted so long has earned a fresh start of the backoff. */
  stableAfter: 5_000,
  /** For the token function, and again for the connection. */
  connectTimeout: 10_000,
  /** While on Server-Sent Events, the WebSocket is tried again so often. */
  retryWebSocketAfter: 5 * 60_000,
  /** So many WebSockets in a row must fail, with the server answering otherwise, before SSE takes over. */
  webSocketFailures: 2,
  /** A connection that is silent for longer than this is dead; the server sends a heartbeat every 25 s. */
  silence: 60_000,
  /** The acknowledgement waits so long for listeners that return a promise. Less than the server's 10 s. */
  listenerTimeout: 5_000,
  /** A hidden tab lets a visible one go first for so long. */
  hiddenTabWaits: 300,
  /** A tab that shows a notification keeps the others waiting for at most so long. More than `listenerTimeout`. */
  tabTimeout: 10_000,
  transport: "auto",
  tabs: true,
};

/** So many ids are remembered, and so many notifications are held. The server holds at most 100 for a user. */
const REMEMBERED = 500;
const HELD = 100;
/** The server pushes again what was not acknowledged for this long, so nothing is held for longer. */
const HELD_MS = 10_000;
/** What a tab has stored has reached the other tabs by then. */
const STORED_EVERYWHERE_MS = 10_000;
/** A timer that is longer than this fires at once. */
const LONGEST_TIMER = 2 ** 31 - 1;
const STORAGE_KEY = "doorstep.seen";
const STREAM_KEY = "doorstep.stream";

export class Doorstep {
  #options;
  #listeners = new Map();
  #state = "idle";
  #transport = null;
  #retryAt = null;
  /** Each attempt to connect has a number; what an earlier one reports later is ignored. */
  #attempt = 0;
  #link = null;
  #timer = null;
  #failures = 0;
  /** Nothing is tried before this time (milliseconds since the epoch), not even by a new `connect()`. */
  #notBefore = 0;
  /** The token that was refused, after which one new token is tried. */
  #refused;
  #webSocketFailures = 0;
  #sseUntil = 0;
  #lastEventId = null;
  /** The page is not there to be seen: in the back/forward cache, frozen, or prerendered. */
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

  /** "idle", "connecting", "open", "waiting" (for the next attempt), "sleeping" (offline, or a page that is put away), "signed-out", "closed". */
  get state() { return this.#state; }
  /** "websocket" or "sse" while open, else null. */
  get transport() { return this.#transport; }
  /** When the next attempt is due (milliseconds since the epoch) while waiting or offline, else null. */
  get retryAt() { return this.#retryAt; }

  /** Listens; returns a function that ends it. A name is a kind, or an event of the client's own (":state"). */
  on(name, listener) {
    if (String(name).startsWith(":") && !OWN_EVENTS.has(name)) throw new TypeError(`Doorstep has no event ${name}`);
    if (!this.#listeners.has(name)) this.#listeners.set(name, new Set());
    this.#listeners.get(name).add(listener);
    this.#arrivals.retake();
    return () => this.#listeners.get(name)?.delete(listener);
  }

  /** Connects, and keeps connected until `close` or until the session ends. */
  connect() {
    if (this.#isActive()) return this;
    for (const [target, name, handler] of this.#pageEvents) target()?.addEventListener?.(name, handler);
    this.#away = globalThis.document?.prerendering === true;
    this.#begin();
    return this;
  }

  /** Disconnects for good: from now on nothing is shown or acknowledged. */
  close() {
    this.#arrivals.clear();
    this.#stop("closed");
  }

  #isActive() { return !["idle", "closed", "signed-out"].includes(this.#state); }

  /** Tries at once, unless there is a reason to wait. */
  #begin() {
    // Offline is a hint, and may be wrong: it is tried all the same, at the longest wait.
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

  /** Opens a connection; resolves when it has ended, with how. */
  async #hold(token, stale) {
    const { url, silence } = this.#options;
    let openedAt = null;
    /** When the server was last heard; null before the watch over silence has begun. */
    let heardAt = null;
    const heard = () => {
      heardAt = Date.now();
      // The WebSocket may pass again: end the stream, and the next attempt will see.
      if (link.kind === "sse" && this.#options.transport === "auto" && this.#sseUntil && heardAt >= this.#sseUntil) {
        this.#webSocketFailures = this.#options.webSocketFailures - 1;
        link.end();
      }
    };
    const on = {
      opened: () => {
        if (stale()) return link.end();
        openedAt = Date.now();
        // A stream has said something by now. A WebSocket is watched once it has sent a heartbeat.
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

  /** A browser does not say why a WebSocket did not open. Asking the same address as plain HTTP does. */
  async #isRefusedByHttp(token, stale) {
    let status = 0;
    try {
      const signal = AbortSignal.timeout(this.#options.connectTimeout);
      const headers = { authorization: `Bearer ${token}` };
      status = (await fetch(`${this.#options.url}/v1/ws`, { headers, signal, cache: "no-store" })).status;
    } catch {
      // Nobody answers: the server is away, and that has nothing to do with WebSockets.
    }
    // 426 Upgrade Required: the token is good and the server is there, but the upgrade did not reach it.
    if (status === 426 && !stale() && ++this.#webSocketFailures >= this.#options.webSocketFailures) {
      this.#sseUntil = Date.now() + this.#options.retryWebSocketAfter;
      this.#failures = 0;
    }
    return status === 401;
  }

  /** The token is good no more. A function gets one chance to bring another. */
  #unauthorized(token, stood) {
    if (typeof this.#options.token === "function" && this.#refused === undefined) {
      this.#refused = token;
      return this.#try();
    }
    this.#refused = undefined;
    // Whoever connects again at once, with a token that is refused again, must not do so in a circle.
    if (!stood) this.#notBefore = Date.now() + this.#backoff();
    this.#stop("signed-out");
  }

  /** Waits and tries again. */
  #again(code) {
    this.#notBefore = Date.now() + this.#backoff(code);
    this.#begin();
  }

  /** The next wait: exponential, with jitter, so that a server that restarts is not run over. */
  #backoff(code) {
    const { baseDelay, maxDelay } = this.#options;
    const doubled = baseDelay * 2 ** Math.min(this.#failures++, 16);
    const least = OUR_FAULT.has(code) ? maxDelay : code === CODE.TRY_LATER ? baseDelay * 8 : baseDelay;
    return jittered(Math.min(maxDelay, Math.max(doubled, least)));
  }

  /** Back on line: at once. Looked at again: there is no reason to keep a person waiting for a backoff. */
  #wake(online = false) {
    if (this.#away) return;
    if (this.#state === "sleeping" && (online || !isOffline())) {
      this.#failures = this.#notBefore = 0;
      this.#try();
    } else if (this.#state === "waiting") {
      this.#try();
    } else if (this.#state === "open" && this.#silent()) {
      // The machine slept, or the network went away without a word.
      this.#leave();
      this.#try();
    }
  }

  /** A page that cannot be seen takes no notifications: they go to another connection, or wait. */
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
    if (typeof frame?.id !== "string") return; // A heartbeat, or newer than this client.
    const { id, kind, topic, created_at, payload, reason } = frame;
    if (frame.type === "retract") {
      this.#arrivals.drop(id);
      this.#emit(":retract", { id, reason });
    } else if (frame.type === "notification" && typeof kind === "string" && !kind.startsWith(":")) {
      const notification = { id, kind, topic, createdAt: new Date(created_at), receivedAt: new Date(Date.now()), payload };
      // What a stream has brought does not come again.
      this.#arrivals.take(notification, transport === "sse" ? Infinity : Date.now() + HELD_MS);
    }
  }

  /** Calls the listeners; resolves when those that return a promise are done, or have had their time. */
  #show(notification, goesOn) {
    const work = [notification.kind, ":notification"].flatMap((name) => this.#emit(name, notification, goesOn));
    if (work.length === 0) return undefined;
    return within(this.#options.listenerTimeout, Promise.all(work), "a listener is not done").catch((error) => this.#fail(error));
  }

  #hasListener(name) { return this.#listeners.get(name)?.size > 0; }

  /** Returns what asynchronous listeners have to do. One that fails does not keep the others from going on. */
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
 * What has come and is to be shown, in its order. `host` says whether somebody `wants` a kind, and does the
 * rest: `show`, `acknowledge`, `duplicate`, `fail`.
 */
class Arrivals {
  #options;
  #host;
  #seen;
  #queue = [];
  /** By id, from the frame to the acknowledgement. */
  #pending = new Map();
  /** By id: nobody listens for these yet. */
  #held = new Map();
  #isShowing = false;

  constructor(options, host) {
    this.#options = options;
    this.#host = host;
    this.#seen = new Seen(options);
  }

  /** Takes a notification. While nobody listens for its kind, it is held until `keepUntil`. */
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

  /** There is a new listener, or the page is back. */
  retake() {
    const held = [...this.#held.values()];
    this.#held.clear();
    for (const { notification, keepUntil } of held) {
      if (Date.now() < keepUntil) this.take(notification, keepUntil);
    }
  }

  /** Forgets what has not been shown. */
  drop(id) {
    this.#held.delete(id);
    const item = this.#pending.get(id);
    if (!item || item.isShown) return;
    item.isDropped = true;
    this.#pending.delete(id);
  }

  /** Forgets everything. */
  clear() {
    for (const item of this.#pending.values()) item.isDropped = true;
    this.#pending.clear();
    this.#held.clear();
  }

  async #showAll() {
    if (this.#isShowing) return;
    this.#isShowing = true;
    // Listeners that are added in the same breath are in time.
    await null;
    try {
      while (this.#queue.length > 0) {
        await this.#seen.letVisibleTabGoFirst();
        // All at once: where another tab hangs, the wait for it is one and not one for each.
        const claims = this.#queue.splice(0).map((item) => [item, this.#isWanted(item) ? this.#seen.claim(item.notification.id) : null]);
        for (const [item, claim] of claims) await this.#showOne(item, await claim);
      }
    } finally {
      this.#isShowing = false;
    }
  }

  #isWanted({ notification, isDropped }) { return !isDropped && this.#host.wants(notification.kind); }

  /** `release` is the tab's claim; without one nobody listened for it a moment ago. */
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
    // Somebody came while its turn came.
    if (this.#host.wants(item.notification.kind)) this.retake();
  }

  /** Once for each time that it was pushed; all but the one that was shown are duplicates. */
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

/** Which ids have been seen: here, and where the browser allows, before a reload and in the other tabs. */
class Seen {
  #ids = new Set();
  #isShared;
  #options;

  constructor(options) {
    this.#options = options;
    this.#isShared = sharesTabs(options);
  }

  /** A hidden tab waits, once for all that has come by then: its timers may be a second late each. */
  async letVisibleTabGoFirst() {
    if (this.#isShared && isHidden()) await new Promise((resolve) => setTimeout(resolve, this.#options.hiddenTabWaits));
  }

  /**
   * The right to show it, as a function that gives the right back. It is held while listeners run, and the id is
   * noted before it goes: if this tab dies in between, the right goes to a tab that finds the id not noted.
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
    // One lock for the list: two tabs that note different ids must not undo each other's.
    const release = await this.#lock(STORAGE_KEY);
    this.#store(id);
    release();
    await this.#justNoted(id);
  }

  /**
   * What one tab has stored, another may read a moment later only: browsers keep a copy of the storage in each
   * process. Locks are the same for all, so for a while another lock says that the id is noted.
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

  /** The release of this lock. The tab that has it may hang: after a while it goes without. */
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
      storage().setItem(STORAGE_KEY, JSON.stringify([...this.#stored(), id].slice(-REMEMBERED)));
    } catch {
      // Full, or not allowed: this tab remembers all the same.
    }
  }
}

/*
 * A transport gets `{ url, token, options, lastEventId, on }` and returns `{ kind, ended, end() }`, a WebSocket
 * also `acknowledge(id)`. It calls `on.opened()`, `on.heard()`, `on.frame(text)`; `ended` resolves with
 * `{ code, refused }`: the close code, and the HTTP status of a refusal.
 */

function openWebSocket({ url, token, options, on }) {
  const WebSocket = options.WebSocket ?? globalThis.WebSocket;
  const link = { kind: "websocket", end() {}, acknowledge() {} };
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
      // Where the network is gone, the closing handshake may take minutes.
      over(undefined);
    };
    link.acknowledge = (id) => {
      if (socket.readyState === 1) socket.send(JSON.stringify({ type: "ack", id }));
    };
    socket.onopen = () => {
      clearTimeout(slow);
      on.opened();
    };
    socket.onmessage = ({ data }) => on.frame(data);
    // A browser tells of the close right after this; Node 20 does not, where it did not open.
    socket.onerror = () => socket.readyState !== 1 && over(undefined);
    socket.onclose = ({ code }) => over(code);
  });
  return link;
}

/** Over HTTP/1.1 a browser has six connections to a server, for all its tabs: they share one stream. */
function openStream(parts) {
  const isShared = sharesTabs(parts.options) && typeof BroadcastChannel === "function" && globalThis.crypto?.subtle;
  return isShared ? openSharedStream(parts) : openOwnStream(parts);
}

/** With fetch, because an EventSource sends no header, and a token has no place in a URL. */
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
        // Events of the server's heartbeat and comments alike.
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
 * One tab has the stream, and with it a lock, and passes on what it hears. When that tab goes, the others begin
 * anew, and the first of them has the stream.
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
      // It was somebody else's until now.
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
      // Another tab's token may still be good.
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
      // Ended while it waited for the lock, or robbed of it: over.
      const failed = () => over({});
      // A tab that has the lock and says nothing hangs: its lock is taken away.
      slow = setTimeout(() => navigator.locks.request(name, { steal: true }, lead).catch(failed), options.connectTimeout);
      navigator.locks.request(name, { signal: unlock.signal }, lead).catch(failed);
    }, () => over({}));
  });
  return link;
}

/** The stream's name, for tabs of one user. The token itself is not in it. */
async function streamName(url, token) {
  let user = token;
  try {
    const { iss, sub } = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    if (sub) user = JSON.stringify([iss, sub]);
  } catch {
    // Not a JWT: the tabs of a user have the same token, or do not share.
  }
  const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(`${url} ${user}`));
  return `${STREAM_KEY}.${[...new Uint8Array(digest, 0, 16)].map((byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}

const isHidden = () => globalThis.document?.visibilityState === "hidden";
const isOffline = () => globalThis.navigator?.onLine === false;
const jittered = (delay) => delay / 2 + Math.random() * (delay / 2);
const sharesTabs = ({ tabs }) => tabs && typeof globalThis.navigator?.locks?.request === "function" && storage() !== null;

/** Null where there is none. A browser that forbids it throws. */
function storage() {
  try {
    return globalThis.window?.localStorage ?? null;
  } catch {
    return null;
  }
}

/** The promise's result, or an error after this time. */
function within(ms, promise, what) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`Doorstep: ${what} after ${ms} ms`)), ms);
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
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
