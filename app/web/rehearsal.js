// Before anything is typed, the race plays by itself: two examples, one after the other, in the lanes of the story.

import { $, element } from "./dom.js";
import { MEANS, drawLanes } from "./lanes.js";

/** How long the end of an example is shown. */
const HOLD_MS = 4500;
/** When the server's side is done, in the examples. */
const DONE_MS = 40;

/**
 * The examples: how late the client is, how fast they are played, and how each lane ends, as
 * `[milliseconds, result, note]`. The waits are those of a real run.
 */
const EXAMPLES = [
  {
    late: 3000,
    speed: 1,
    ends: {
      own: [3012, "delivered", "popup after 2 ms"],
      immediate: [DONE_MS, "lost", "lost: nobody was there"],
      poll: [3230, "delivered", "popup after 230 ms"],
      wake: [3012, "delivered", "popup after 2 ms"],
      promote: [3012, "delivered", "popup after 2 ms"],
      inbox: [3016, "delivered", "popup after 6 ms"],
    },
    moral: "3\u00a0s late: whoever pushes and forgets has lost the popup. Whoever lets it wait at the door has not.",
  },
  {
    late: 10_000,
    speed: 2.2,
    ends: {
      own: [10_012, "delivered", "popup after 2 ms"],
      immediate: [DONE_MS, "lost", "lost: nobody was there"],
      poll: [8000, "lost", "lost: its time was up"],
      wake: [8000, "lost", "lost: its time was up"],
      promote: [8000, "promoted", "not lost: in your inbox"],
      inbox: [10_016, "delivered", "popup after 6 ms"],
    },
    moral: "10\u00a0s late: these popups may wait for 8\u00a0s. Then it counts what is kept in the inbox.",
  },
];

const calm = matchMedia("(prefers-reduced-motion: reduce)");

export class Rehearsal {
  /** The lanes that are shown, or null while the story has them. */
  #shown = null;
  #example = 0;
  #lanes = new Map();
  #frame = 0;
  #timer = 0;
  #began = 0;
  /** Whether somebody has paused it. It moves for longer than five seconds, so they must be able to. */
  #paused = false;

  constructor() {
    $("pause").addEventListener("click", () => {
      this.#paused = !this.#paused;
      if (this.#paused) this.#finish();
      else this.#next();
    });
    calm.addEventListener("change", () => this.#shown !== null && this.#restart());
    // Nobody looks: frames stop by themselves, and the timer goes on with the next example when somebody does.
    document.addEventListener("visibilitychange", () => this.#shown !== null && !this.#paused && this.#restart());
  }

  /** Plays the examples in these lanes. */
  play(shown) {
    const key = shown.join(" ");
    if (key === this.#shown) return;
    this.#shown = key;
    $("example").hidden = false;
    this.#restart();
  }

  /** Leaves the lanes to the story. */
  stop() {
    this.#cancel();
    this.#shown = null;
    $("example").hidden = $("pause").hidden = $("lens").hidden = true;
  }

  #cancel() {
    cancelAnimationFrame(this.#frame);
    clearTimeout(this.#timer);
  }

  #restart() {
    this.#cancel();
    $("pause").hidden = calm.matches;
    if (calm.matches || this.#paused) this.#finish();
    else if (document.visibilityState === "visible") this.#start();
  }

  #next() {
    this.#example = (this.#example + 1) % EXAMPLES.length;
    this.#restart();
  }

  #draw() {
    const { late, moral } = EXAMPLES[this.#example];
    this.#lanes = drawLanes(this.#shown.split(" ").filter(Boolean), late * 1.35 + 600);
    for (const [name, lane] of this.#lanes) if (MEANS[name]) lane.hint(MEANS[name]);
    $("chart").setAttribute("role", "img");
    $("chart").setAttribute("aria-label", `An example. ${moral}`);
    $("example-text").textContent = `An example: your client connects ${late / 1000}\u00a0s late.`;
    $("pause").textContent = this.#paused ? "Play" : "Pause";
    lens({ push: 40, late });
  }

  #start() {
    this.#draw();
    this.#began = performance.now();
    this.#lanes.get("client").begin(0);
    this.#tick();
  }

  #tick() {
    const { late, speed } = EXAMPLES[this.#example];
    const now = (performance.now() - this.#began) * speed;
    this.#show(now);
    if (now < late * 1.15 + 400) this.#frame = requestAnimationFrame(() => this.#tick());
    else {
      this.#moral();
      this.#timer = setTimeout(() => this.#next(), HOLD_MS);
    }
  }

  /** Everything that has happened by then. */
  #show(now) {
    const { late, ends } = EXAMPLES[this.#example];
    const server = this.#lanes.get("server");
    if (now >= 0 && server.open) {
      server.open = false;
      server.say(0, "committed, and done with you");
    }
    for (const [name, [at, result, note]] of Object.entries(ends)) {
      const lane = this.#lanes.get(name);
      if (!lane?.open) continue;
      lane.begin(0);
      if (now >= at) lane.end(at, result, note);
    }
    if (now >= late) this.#lanes.get("client").end(late, "done", "connected");
    for (const lane of this.#lanes.values()) lane.grow(now);
  }

  /** Shows the end of an example at once. */
  #finish() {
    this.#cancel();
    this.#draw();
    this.#lanes.get("client").begin(0);
    this.#show(Infinity);
    this.#moral();
  }

  #moral() {
    $("example-text").textContent = EXAMPLES[this.#example].moral;
  }
}

/** The first microseconds, which no lane can show: the push is over, and how far away the client still is. */
export function lens({ push, late }) {
  const times = Math.round((late * 1000) / push);
  const point = (at, text, detail) => element("li", {}, element("b", { class: "number" }, at), element("span", {}, text), element("small", {}, detail));
  $("lens-points").replaceChildren(
    point("0 µs", "committed, so push", "the server has no reason to wait"),
    point(`${push.toLocaleString("en")} µs`, "nobody is there", "gone, unless it waits at the door"),
    point(`${Math.round(late * 1000).toLocaleString("en")} µs`, "you connect", `${times.toLocaleString("en")} times as late`));
  $("lens").hidden = false;
}
