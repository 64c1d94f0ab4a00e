// Answers 'did it arrive?': shows the stories of a user's notifications, or of one, with buttons to recall and to disconnect.

import { $, element, words } from "./dom.js";

const UUID = /^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$/i;
/** Outcomes after which there is nothing to take back. */
const GONE = new Set(["expired", "replaced", "dropped", "rejected", "recalled"]);
const MOST = 50;

/** The time of day, to the millisecond. */
function moment(at) {
  const time = new Date(at);
  const day = time.toDateString() === new Date().toDateString() ? "" : `${time.toLocaleDateString()} `;
  return `${day}${time.toLocaleTimeString("en-GB")}.${String(time.getMilliseconds()).padStart(3, "0")}`;
}

/** The time since the first step, in the unit that shows it. */
function after(us) {
  if (us === 0) return "";
  if (us < 1000) return `+${us} µs`;
  if (us < 1_000_000) return `+${(us / 1000).toFixed(1)} ms`;
  if (us < 120_000_000) return `+${(us / 1_000_000).toFixed(2)} s`;
  return `+${Math.floor(us / 60_000_000)} min ${Math.round((us % 60_000_000) / 1_000_000)} s`;
}

export class Stories {
  #ask;
  /** What is looked at: `{ user }` or `{ id, user }`, or null. */
  #what = null;
  /** The answers that are on the page, as text: they are drawn again only if something has changed. */
  #drawn = "";
  /** The stories that somebody has opened or closed. */
  #open = new Map();

  constructor(ask) {
    this.#ask = ask;
    $("search").addEventListener("submit", (event) => {
      event.preventDefault();
      const wanted = $("whom").value.trim();
      if (location.hash === `#${encodeURIComponent(wanted)}`) this.#look(wanted);
      else location.hash = encodeURIComponent(wanted);
    });
    addEventListener("hashchange", () => document.body.dataset.state === "open" && this.begin());
  }

  /** Looks for what the address of the page names. The part after `#` is not sent to the server. */
  begin() {
    let wanted = "";
    try {
      wanted = decodeURIComponent(location.hash.slice(1));
    } catch {
      // Somebody has typed it.
    }
    if (!wanted) return;
    $("whom").value = wanted;
    this.#look(wanted);
  }

  clear() {
    this.#what = null;
    this.#drawn = "";
    this.#open.clear();
    $("found").hidden = true;
    $("whom").value = "";
    for (const list of ["person", "stories"]) $(list).replaceChildren();
  }

  /** Draws what is looked at again, if it has changed. */
  async update() {
    if (this.#what) await this.#show(this.#what).catch(() => {});
  }

  async #look(wanted) {
    $("search-fault").textContent = "";
    try {
      await this.#show(await this.#find(wanted));
    } catch (problem) {
      this.#what = null;
      $("found").hidden = true;
      $("search-fault").textContent = problem.message;
    }
  }

  /** A text in the form of an id may be the name of a user too. */
  async #find(wanted) {
    if (!UUID.test(wanted)) return { user: wanted };
    try {
      const story = await this.#json("GET", `/v1/notifications/${encodeURIComponent(wanted)}/story`);
      return { id: wanted, user: story.user_id };
    } catch (problem) {
      if (problem.status !== 404) throw problem;
      const { notifications } = await this.#json("GET", `/v1/users/${encodeURIComponent(wanted)}/story?limit=1`);
      const { online } = await this.#json("GET", `/v1/users/${encodeURIComponent(wanted)}`);
      if (notifications.length === 0 && !online) {
        throw Object.assign(new Error(`No notification and no user with this id is remembered here: ${problem.message}.`), { status: 404 });
      }
      return { user: wanted };
    }
  }

  async #json(method, path) {
    return (await this.#ask(method, path)).json();
  }

  async #show(what) {
    const path = `/v1/users/${encodeURIComponent(what.user)}`;
    const stories = what.id
      ? this.#json("GET", `/v1/notifications/${encodeURIComponent(what.id)}/story`).then((story) => ({ notifications: [story], more: false, remembered_since: null }))
      : this.#json("GET", `${path}/story?limit=${MOST}`);
    const [person, told] = await Promise.all([this.#json("GET", path), stories]);
    this.#what = what;
    const drawn = JSON.stringify([what, person, told]);
    $("found").hidden = false;
    if (drawn === this.#drawn) return;
    this.#drawn = drawn;
    const focused = document.activeElement?.dataset?.action;
    this.#drawPerson(what, person);
    $("stories").replaceChildren(...told.notifications.map((story, place) => this.#story(what, story, place === 0)));
    $("found-what").textContent = this.#heading(what, told);
    if (focused) (document.querySelector(`[data-action="${CSS.escape(focused)}"]`) ?? $("whom")).focus();
  }

  #heading(what, { notifications, more, remembered_since: since }) {
    if (what.id) return "";
    const count = notifications.length;
    const known = count === 0 ? "Nothing is remembered of this user's notifications."
      : more ? `The ${count} newest notifications.` : `${count === 1 ? "1 notification" : `${count} notifications`} remembered.`;
    return since ? `${known} Steps before ${moment(since)} are forgotten.` : known;
  }

  #drawPerson(what, { user_id: user, online, connections, waiting, in_flight: inFlight, unread }) {
    const fact = (count, text) => element("span", {}, element("b", { class: "number" }, String(count)), ` ${text}`);
    const action = (name, text, run) => element("button", { type: "button", class: "quiet", data: { action: name }, on: { click: run } }, text);
    const open = waiting + inFlight + unread;
    $("person").replaceChildren(
      element("span", { class: "who-is", data: { online } }, element("span", { class: "dot", "aria-hidden": "true" }),
        what.id ? element("a", { href: `#${encodeURIComponent(user)}` }, user) : user),
      element("span", { class: "facts" },
        element("span", {}, online ? "connected" : "not connected"),
        online ? fact(connections, connections === 1 ? "connection" : "connections") : null,
        fact(waiting, "waiting"), fact(inFlight, "in flight"), fact(unread, "unread")),
      element("span", { class: "actions" },
        open > 0 ? action("recall-all", "Recall all", () => this.#recallAll(user)) : null,
        online ? action("disconnect", "Disconnect", () => this.#disconnect(user, connections)) : null));
  }

  #story(what, story, newest) {
    const step = ({ at, after_us: us, step, text }) => element("li", { data: { step } },
      element("time", { class: "at number", datetime: at }, moment(at)),
      element("span", { class: "after number" }, after(us)), element("span", { class: "knot", "aria-hidden": "true" }),
      element("span", { class: "what" }, text));
    const id = what.id ? element("span", { class: "mono" }, story.id) : element("a", { class: "mono", href: `#${story.id}` }, story.id);
    // The outcome is shown next to it already.
    const gist = story.summary.split(", ").slice(1).join(", ");
    const details = element("details", { open: this.#open.get(story.id) ?? newest },
      element("summary", {}, element("span", { class: "kind" }, story.kind ?? "Unknown kind"),
        element("span", { class: "state", data: { state: story.state } }, words(story.state)),
        element("span", { class: "gist" }, gist),
        element("time", { class: "began number", datetime: story.steps[0].at }, moment(story.steps[0].at).replace(/\.\d+$/, ""))),
      element("div", { class: "body" },
        element("div", { class: "top" }, id,
          story.trace_id ? element("span", {}, "trace ", element("span", { class: "mono" }, story.trace_id)) : null,
          story.complete ? null : element("span", {}, "The beginning is forgotten."),
          GONE.has(story.state) ? null : element("button", {
            type: "button", class: "quiet", data: { action: `recall-${story.id}` },
            "aria-label": `Recall ${story.kind ?? story.id}`, on: { click: () => this.#recall(story) },
          }, "Recall")),
        element("ol", { class: "steps", "aria-label": "Steps" }, ...story.steps.map(step))));
    details.addEventListener("toggle", () => this.#open.set(story.id, details.open));
    return element("li", { class: "story", data: { id: story.id, state: story.state } }, details);
  }

  /** Asks whether it is meant. */
  #sure(title, text, yes) {
    $("sure-title").textContent = title;
    $("sure-text").textContent = text;
    $("sure-yes").textContent = yes;
    const dialog = $("sure");
    dialog.returnValue = "no";
    dialog.showModal();
    return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true }));
  }

  async #act(method, path) {
    $("search-fault").textContent = "";
    try {
      await this.#ask(method, path);
    } catch (problem) {
      $("search-fault").textContent = problem.message;
    }
    await this.update();
  }

  async #recall({ id, kind, user_id: user }) {
    const text = `${kind ?? "The notification"} for ${user} is taken back: it is not pushed any more, clients that show it take it away, and it leaves the inbox.`;
    if (await this.#sure("Recall this notification?", text, "Recall it")) await this.#act("DELETE", `/v1/notifications/${id}`);
  }

  async #recallAll(user) {
    const text = `Everything for ${user} that has not ended is taken back: what waits, what is in flight, and what is undelivered in the inbox.`;
    if (await this.#sure("Recall all?", text, "Recall all")) await this.#act("DELETE", `/v1/notifications?user_id=${encodeURIComponent(user)}`);
  }

  async #disconnect(user, connections) {
    const text = `${connections === 1 ? "The connection" : `All ${connections} connections`} of ${user} ${connections === 1 ? "is" : "are"} closed, and doorstep.js does not come back by itself. The token stays valid.`;
    if (await this.#sure("Disconnect this user?", text, "Disconnect")) await this.#act("DELETE", `/v1/users/${encodeURIComponent(user)}/connections`);
  }
}
