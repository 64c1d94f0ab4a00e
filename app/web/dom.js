// Elements from data. Text is only ever set as text, so markup in a user name or a payload cannot run.

export const $ = (id) => document.getElementById(id);

/** `element("li", { class: "row", data: { id } }, "text", child)` */
export function element(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "data") Object.assign(made.dataset, value);
    else if (key === "on") for (const [event, listener] of Object.entries(value)) made.addEventListener(event, listener);
    else if (value === true) made.setAttribute(key, "");
    else if (value !== false && value != null) made.setAttribute(key, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

export function svg(name, attributes = {}) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

/** `1234567.80` as `1,234,567.80`, digit by digit: money never becomes a floating-point number. */
export function money(text) {
  const [, sign, whole, rest] = /^(-?)(\d+)(.*)$/.exec(String(text)) ?? [];
  return whole === undefined ? String(text) : sign.replace("-", "−") + whole.replace(/\B(?=(\d{3})+$)/g, ",") + rest;
}

export const clock = (at) => new Date(at).toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });

/** The names of the policies on this page. */
export const POLICIES = {
  immediate: "immediate",
  poll: "poll",
  wake: "wake",
  promote: "wake, then inbox",
  inbox: "inbox",
};

/** Why a position was closed. */
export const reason = (name) => ({ user: "Closed by you", stop_loss: "Stop-loss", take_profit: "Take-profit", liquidated: "Liquidated" })[name] ?? words(name);

/** Replaces a list's rows. The keyboard focus stays in its row. */
export function refill(list, rows) {
  const had = list.contains(document.activeElement) ? document.activeElement.closest("[data-id]") : null;
  list.replaceChildren(...rows);
  if (had) (list.querySelector(`[data-id="${CSS.escape(had.dataset.id)}"] button`) ?? list.querySelector("button"))?.focus();
}

/** The text of a notification for a person: a title and a line. */
export function says({ kind, payload }) {
  const p = payload ?? {};
  switch (kind) {
    case "welcome":
      return { title: `Welcome, ${p.username ?? "you"}!`, line: "Good to have you here." };
    case "reward.granted":
      return { title: `+ ${money(p.amount ?? "")}`, line: `Reward: ${words(p.reward ?? "granted").toLowerCase()}` };
    case "position.closed":
      return {
        title: `${p.symbol} ${p.side} closed: ${money(p.realised_pnl ?? "")}`,
        line: `${reason(p.reason ?? "")} at ${money(p.exit_price ?? "?")}`,
      };
    default:
      if (kind.startsWith("demo.")) return { title: p.text || "Knock, knock", line: `by policy ${POLICIES[p.lane] ?? kind}` };
      return { title: words(kind), line: typeof p === "string" ? p : JSON.stringify(p) };
  }
}

/** A problem as a sentence under its field: `must be below 100` as `Must be below 100.` */
export const sentence = (detail) => (detail ? `${detail.charAt(0).toUpperCase()}${detail.slice(1).replace(/[^.!?]$/, "$&.")}` : "");

/** `position_opened` as `Position opened`. */
export function words(name) {
  const text = String(name).replace(/[._]/g, " ");
  return text.charAt(0).toUpperCase() + text.slice(1);
}
