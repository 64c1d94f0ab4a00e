// The story of a client that connects late: one lane for the server, one for each policy, one for the client.

import { call } from "./api.js";
import { $, POLICIES, element, money } from "./dom.js";

const NAMES = { own: "welcome & gift", ...POLICIES };
/** What each policy does, shown before the first run. */
const MEANS = {
  own: "as this server is configured",
  immediate: "pushed now or never: the bug",
  poll: "checks every 500 ms if you are online",
  wake: "waits; your arrival releases it",
  promote: "waits; goes to the inbox if it expires",
  inbox: "stored first, unread until you read it",
};
const IN_WORDS = "A lane for the server, for each policy and for your client; the list below says the same in words.";
/** The longest wait for open lanes once the client has connected. */
const PATIENCE_MS = 4000;
const LOOK_EVERY_MS = 250;

const calm = matchMedia("(prefers-reduced-motion: reduce)");

/** The user left before the story ended. */
export class Abandoned extends Error {}

export class Story {
  #door;
  #lanes = new Map();
  #popups = new Map();
  #told = new Set();
  #heard = () => {};
  #abandon = () => {};
  #span = 5000;
  #started = 0;
  #connected = null;
  #running = false;

  /** Shows what to expect, until the story has been played once. */
  preview({ lanes, registers }) {
    if (this.#running || $("story").dataset.state !== "idle") return;
    const shown = registers ? ["own", ...lanes] : lanes;
    this.#draw(shown);
    for (const name of shown) this.#lane(name).explain(MEANS[name]);
    // The lanes themselves have the text.
    $("words").hidden = true;
    $("chart").removeAttribute("role");
    $("chart").removeAttribute("aria-label");
    this.#verdict("", "The server acts at once, your client connects late. What happens to each popup is drawn here, live.");
  }

  /**
   * Plays the story. `enter` signs the user in or registers them; `connect` and `disconnect` are the client's. Returns
   * whether the server offers the demonstration.
   */
  async play({ lateMs, lanes, registers, enter, connect, disconnect }) {
    this.#running = true;
    this.#popups.clear();
    this.#told.clear();
    this.#connected = null;
    this.#span = Math.max(4000, lateMs + 1500);
    $("log").replaceChildren();
    $("words").hidden = false;
    this.#verdict("", "");
    const shown = registers ? ["own", ...lanes] : lanes;
    this.#draw(shown);
    $("chart").setAttribute("role", "img");
    $("chart").setAttribute("aria-label", IN_WORDS);
    this.#state("entering");
    // On a phone the story is below the form.
    const isBelow = $("story").getBoundingClientRect().top > innerHeight * 0.7;
    const look = () => isBelow && $("story").scrollIntoView({ behavior: calm.matches ? "instant" : "smooth" });
    look();
    disconnect();
    this.#started = performance.now();
    this.#tick();
    const gone = new Promise((_, reject) => { this.#abandon = () => reject(new Abandoned()); });
    const unless = (promise) => Promise.race([gone, promise]);
    try {
      await unless(enter());
      // The form is shorter now.
      look();
      let isOffered = true;
      const accepted = lanes.map((policy) => call("POST", "/v1/demo/notifications", { policy, text: "Knock, knock" }).catch((problem) => {
        // The demonstration is hidden from clients behind a proxy.
        if (problem.status !== 404) throw problem;
        isOffered = false;
        this.#lane(policy).explain("not offered here");
      }));
      if (registers) this.#lane("own").begin(this.#now());
      for (const policy of lanes) this.#lane(policy).begin(this.#now());
      await unless(Promise.all(accepted));
      this.#state("busy");
      const left = lateMs - this.#now();
      this.#tell(this.#now(), "client", "your client is busy: it loads, stores its token, starts its SDK");
      this.#verdict("", "The server is done. Your client is still on its way.");
      this.#look();
      await unless(new Promise((resolve) => setTimeout(resolve, Math.max(0, left))));
      await unless(connect());
      this.#state("connected");
      await unless(this.#settle());
      this.#conclude(registers);
      return isOffered;
    } finally {
      this.#running = false;
      if ($("story").dataset.state !== "done") {
        this.#state("idle");
        this.#verdict("", "");
      }
    }
  }

  /** Ends the story, because its user has left. */
  abandon() { this.#abandon(); }

  /** The client's connection is open. */
  opened(transport) {
    if (!this.#running || this.#connected !== null) return;
    this.#connected = this.#now();
    this.#lane("client").end(this.#connected, "done", `connected by ${transport === "sse" ? "SSE" : "WebSocket"}`);
    this.#tell(this.#connected, "client", "connected");
  }

  /** A popup was shown. */
  popup({ kind, receivedAt }) {
    if (!this.#running) return;
    // The time of its frame, because the browser's own delay is not the server's.
    const at = this.#now() - Math.max(0, Date.now() - receivedAt);
    const lane = laneOf(kind);
    this.#popups.set(lane, at);
    const after = this.#connected === null ? "" : `, ${Math.max(0, at - this.#connected).toFixed(0)} ms after connecting`;
    this.#tell(at, "client", `popup: ${kind}${after}`);
    this.#lane(lane)?.end(at, "delivered", this.#connected === null ? "popup" : `popup after ${Math.max(0, at - this.#connected).toFixed(0)} ms`);
    this.#heard();
  }

  /** Waits until each lane has ended, for a limited time. */
  async #settle() {
    const until = performance.now() + PATIENCE_MS;
    do {
      await this.#look();
      const open = [...this.#lanes.values()].filter((lane) => lane.open && lane.name !== "server");
      if (open.length === 0) return;
      await new Promise((resolve) => {
        this.#heard = resolve;
        setTimeout(resolve, LOOK_EVERY_MS);
      });
    } while (performance.now() < until);
  }

  /** Reads what the server did. The answer contains the server's time, because its clock may differ. */
  async #look() {
    const asked = performance.now();
    let record;
    try {
      record = await call("GET", "/v1/demo/record");
    } catch {
      return; // No demonstration: only the client's side is shown.
    }
    const answered = (asked + performance.now()) / 2;
    for (const step of record.steps) {
      const at = answered - this.#started - (Date.parse(record.now) - Date.parse(step.at));
      const key = `${step.at} ${step.what} ${step.kind} ${step.detail}`;
      if (at < -1000 || this.#told.has(key)) continue;
      this.#told.add(key);
      this.#server(step, Math.max(0, at));
    }
  }

  #server({ what, kind, detail }, at) {
    const lane = kind && this.#lane(laneOf(kind));
    if (what === "committed") {
      this.#lane("server").say(at, "committed");
      this.#tell(at, "server", "committed: the user is in the database");
    } else if (what === "event") {
      const then = { UserRegistered: "the gift is granted, the welcome pushed", RewardGranted: "its popup is pushed" }[detail];
      this.#tell(at, "server", `event ${detail}${then ? `: ${then}` : ""}`);
    } else if (what === "ledger") {
      this.#lane("server").say(at, `+${money(detail)} on the ledger`);
      this.#tell(at, "server", `reward on the ledger: ${money(detail)}`);
    } else if (what === "accepted") {
      const how = { waiting: "push tried, nobody is there: it waits", in_flight: "pushed" }[detail] ?? `push tried: ${detail}`;
      this.#tell(at, "server", `${kind} accepted; ${kind === "demo.immediate" && detail !== "in_flight" ? "push tried" : how}`);
      lane?.begin(at);
    } else if (what === "ended") {
      this.#tell(at, "server", `${kind}: ${kind === "demo.immediate" && detail === "expired" ? "nobody was there, dropped" : detail}`);
      // It is then pushed from the inbox, and that popup may arrive before this record.
      if (detail === "promoted") lane?.reopen().end(at, "promoted", "not lost: in your inbox");
      else if (detail !== "delivered") lane?.end(at, "lost", kind === "demo.immediate" ? "lost: nobody was there" : `lost: ${detail}`);
    }
  }

  #conclude(registers) {
    this.#state("done");
    const ends = [...this.#lanes.values()].filter(({ name, row }) => !["server", "client"].includes(name) && row.dataset.result !== "idle");
    for (const lane of ends) if (lane.open) lane.end(this.#now(), "lost", "lost");
    const lost = ends.filter((lane) => lane.result === "lost").map((lane) => NAMES[lane.name]);
    const money = registers ? " The money was on the ledger all along." : "";
    if (ends.length === 0) this.#verdict("good", "You are connected.");
    else if (lost.length === 0) this.#verdict("good", `Nothing was lost: early popups waited at the door.${money}`);
    else if (lost.length === ends.length) this.#verdict("bad", `Every popup was lost: nobody was there when it came.${money}`);
    else this.#verdict("mixed", `Lost: ${lost.join(", ")}. The rest reached you.${money}`);
  }

  #draw(shown) {
    const chart = $("chart");
    this.#lanes.clear();
    const lanes = ["server", ...shown, "client"].map((name) => {
      const lane = new Lane(name, this.#span);
      this.#lanes.set(name, lane);
      return lane.row;
    });
    const axis = element("div", { class: "axis" });
    const seconds = this.#span / 1000;
    const step = seconds > 8 ? 2 : 1;
    for (let s = 0; s <= seconds; s += step) {
      const tick = element("span", { class: "number" }, `${s} s`);
      tick.style.setProperty("--at", s / seconds);
      axis.append(tick);
    }
    chart.replaceChildren(...lanes, element("div", { class: "row axis-row" }, element("span"), axis));
  }

  #tick() {
    const now = this.#now();
    for (const lane of this.#lanes.values()) lane.grow(now);
    if (this.#running && $("story").dataset.state !== "done") {
      if (calm.matches) setTimeout(() => this.#tick(), 500);
      else requestAnimationFrame(() => this.#tick());
    }
  }

  #lane(name) { return this.#lanes.get(name); }
  #now() { return performance.now() - this.#started; }

  #state(state) {
    $("story").dataset.state = state;
    if (state === "entering") this.#lane("client").begin(0);
  }

  #tell(at, who, text) {
    const line = element("li", { class: who, data: { at } },
      element("span", { class: "at number" }, `${(at / 1000).toFixed(3)} s`),
      element("span", { class: "who-did" }, who), element("span", {}, text));
    const later = [...$("log").children].find((other) => Number(other.dataset.at) > at);
    $("log").insertBefore(line, later ?? null);
    $("log").scrollTop = $("log").scrollHeight;
  }

  #verdict(mood, text) {
    $("verdict").className = `verdict ${mood}`;
    $("verdict").textContent = text;
  }
}

const laneOf = (kind) => (kind.startsWith("demo.") ? kind.slice(5) : "own");

/** One row of the chart. */
class Lane {
  open = true;
  result = "waiting";
  #from = null;
  #to = null;
  #span;
  #track = element("div", { class: "track" });
  #bar = element("div", { class: "span" });
  #note = element("span", { class: "note" });

  constructor(name, span) {
    this.name = name;
    this.#span = span;
    const label = { server: "server", client: "your client" }[name] ?? NAMES[name];
    this.#track.append(this.#bar);
    this.row = element("div", { class: `row lane ${name}`, data: { lane: name, result: "waiting" } },
      element("span", { class: "label" }, label), element("div", { class: "place" }, this.#track, this.#note));
    this.#bar.hidden = true;
  }

  begin(at) {
    if (!this.open) return;
    this.#from = Math.min(at, this.#from ?? at);
    this.#bar.hidden = false;
    this.#place(this.#bar, this.#from);
  }

  grow(now) {
    if (this.#from === null || this.#to !== null) return;
    this.#bar.style.setProperty("--long", Math.max(0, Math.min(now, this.#span) - this.#from) / this.#span);
  }

  end(at, result, note) {
    if (!this.open) return;
    this.open = false;
    this.begin(at);
    this.#to = at;
    this.#from ??= at;
    this.#bar.hidden = false;
    this.#bar.style.setProperty("--long", Math.max(0, Math.min(at, this.#span) - this.#from) / this.#span);
    this.result = result;
    this.row.dataset.result = result;
    this.#note.textContent = note;
    this.#place(this.#note, at);
    this.dot(at);
  }

  /** Shows what to expect in this lane, or why it stays empty. */
  explain(text) {
    this.open = false;
    this.#bar.hidden = true;
    this.row.dataset.result = "idle";
    this.#note.textContent = text;
  }

  /** Removes the end, because a later one replaces it. */
  reopen() {
    for (const dot of this.#track.querySelectorAll(".mark")) dot.remove();
    this.open = true;
    return this;
  }

  dot(at) {
    const dot = element("span", { class: "mark" });
    this.#place(dot, at);
    this.#track.append(dot);
  }

  /** Adds another event to the lane. */
  say(at, what) {
    this.dot(at);
    this.#note.textContent = [this.#note.textContent, what].filter(Boolean).join(" · ");
    this.#place(this.#note, at);
  }

  #place(what, at) {
    const share = Math.min(1, Math.max(0, at / this.#span));
    what.style.setProperty("--at", share);
    // In the right half, the note is to the left of the mark.
    what.classList.toggle("left", share > 0.5);
  }
}
