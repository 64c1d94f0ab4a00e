// Elements from data. Text is only ever set as text: what a user name or a payload brings along cannot run.

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

/** What a notification says to a person: a title and a line. */
export function says({ kind, payload }) {
  const p = payload ?? {};
  switch (kind) {
    case "welcome":
      return { title: `Welcome, ${p.username ?? "you"}!`, line: "Good to have you here." };
    case "reward.granted":
      return { title: `+ ${money(p.amount ?? "")}`, line: `Reward: ${words(p.reward ?? "granted")}` };
    case "position.closed":
      return {
        title: `${p.symbol} ${p.side} closed: ${money(p.realised_pnl ?? "")}`,
        line: `${words(p.reason ?? "")} at ${p.exit_price ?? "?"}`,
      };
    default:
      if (kind.startsWith("demo.")) return { title: p.text || "Knock, knock", line: `sent by policy ${p.lane ?? kind}` };
      return { title: words(kind), line: typeof p === "string" ? p : JSON.stringify(p) };
  }
}

export const words = (name) => String(name).replace(/[._]/g, " ");
