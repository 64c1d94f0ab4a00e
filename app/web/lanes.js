// The lanes of the story: one for the server, one for each policy, one for the client.

import { $, POLICIES, element } from "./dom.js";

export const NAMES = { own: "welcome & gift", ...POLICIES };
/** What each policy does. */
export const MEANS = {
  own: "as this server is configured",
  immediate: "pushed now or never: the bug",
  poll: "checks every 500 ms if you are online",
  wake: "waits; your arrival releases it",
  promote: "waits; goes to the inbox if it expires",
  inbox: "stored first, unread until you read it",
};

/** Draws empty lanes over this many milliseconds. Returns them by name. */
export function drawLanes(shown, span) {
  const lanes = new Map(["server", ...shown, "client"].map((name) => [name, new Lane(name, span)]));
  const axis = element("div", { class: "axis" });
  const seconds = span / 1000;
  const step = seconds > 8 ? 2 : 1;
  for (let s = 0; s <= seconds; s += step) {
    const tick = element("span", { class: "number" }, `${s} s`);
    tick.style.setProperty("--at", s / seconds);
    axis.append(tick);
  }
  const rows = [...lanes.values()].map((lane) => lane.row);
  $("chart").replaceChildren(...rows, element("div", { class: "row axis-row" }, element("span"), axis));
  return lanes;
}

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
    delete this.row.dataset.hint;
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

  /** Says what the lane's policy does, until the lane ends. */
  hint(text) {
    this.row.dataset.hint = true;
    this.#note.textContent = text;
    this.#note.classList.remove("left");
    this.#note.style.setProperty("--at", 0);
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
