// The story of a client that connects late: one lane for the server, one for each policy, one for the client.

import { call } from "./api.js";
import { $, element, money } from "./dom.js";
import { NAMES, drawLanes } from "./lanes.js";
import { Rehearsal, lens } from "./rehearsal.js";

/** What the popups say. */
const WORTH = {
  immediate: "Last seat left: book now",
  poll: "Your parcel is out for delivery",
  wake: "Ada: are we still on for tonight?",
  promote: "Your invoice for May is ready",
  inbox: "A new device signed in to your account",
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
  #rehearsal = new Rehearsal();
  /** When the server tried the immediate push, and for how many microseconds. */
  #pushed = null;

  /** Plays examples of what to expect, until the story has been played once. */
  preview({ lanes, registers }) {
    if (this.#running || $("story").dataset.state !== "idle") return;
    const shown = registers ? ["own", ...lanes] : lanes;
    $("words").hidden = true;
    $("story-title").textContent = "What happens";
    this.#rehearsal.play(shown);
  }

  /**
   * Plays the story. `enter` signs the user in or registers them; `connect` and `disconnect` are the client's. Returns
   * whether the server offers the demonstration.
   */
  async play({ lateMs, lanes, registers, enter, connect, disconnect }) {
    this.#running = true;
    this.#rehearsal.stop();
    $("story-title").textContent = "What happened";
    this.#pushed = null;
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
    // On a phone the story is above the form.
    const { top } = $("story").getBoundingClientRect();
    const isOutOfSight = top < 0 || top > innerHeight * 0.7;
    const look = () => isOutOfSight && $("story").scrollIntoView({ behavior: calm.matches ? "instant" : "smooth" });
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
      const accepted = lanes.map((policy) => call("POST", "/v1/demo/notifications", { policy, text: WORTH[policy] }).catch((problem) => {
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
      this.#measure(step);
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

  /** How long the immediate push took, by the server's clock: no clock of a page is that fine. */
  #measure({ what, kind, at }) {
    if (kind !== "demo.immediate") return;
    if (what === "accepted") this.#pushed = { at, took: null };
    else if (what === "ended" && this.#pushed) this.#pushed.took = micros(at) - micros(this.#pushed.at);
  }

  #conclude(registers) {
    this.#state("done");
    const isLate = this.#connected > 500;
    if (isLate && this.#pushed?.took > 0) lens({ push: this.#pushed.took, late: this.#connected });
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
    this.#lanes = drawLanes(shown, this.#span);
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

/** The microseconds of a time like `2026-01-02T03:04:05.678901Z` within its minute. */
const micros = (at) => Math.round(Number(/:(\d+(?:\.\d+)?)Z$/.exec(at)?.[1] ?? 0) * 1e6);

const laneOf = (kind) => (kind.startsWith("demo.") ? kind.slice(5) : "own");
