// The user's balance, ledger and inbox, and the popups that were shown.

import { call, coalesced, has, session, touched } from "./api.js";
import { $, clock, element, money, refill, says, words } from "./dom.js";

const SHOWN = 20;
const POPUP_MS = 9000;

/** Reads everything again. */
export const refresh = coalesced(async () => {
  if (session()) await Promise.allSettled([me(), ledger(), inbox()]);
});

async function me() {
  const { username, balance, unread } = await call("GET", "/v1/me");
  $("who-name").textContent = username;
  $("balance").textContent = money(balance);
  const badge = $("unread");
  badge.hidden = unread === 0;
  badge.textContent = `${unread} unread`;
  $("read-all").hidden = unread === 0;
}

async function ledger() {
  const { entries } = await call("GET", `/v1/ledger?limit=${SHOWN}`);
  fill("ledger", entries.map(({ kind, amount, created_at }) =>
    element("li", {}, element("span", {}, words(kind), element("small", { class: "number" }, clock(created_at))),
      element("strong", { class: `number ${amount.startsWith("-") ? "down" : "up"}` }, money(amount)))));
}

async function inbox() {
  if (!(await has("/v1/inbox"))) return;
  const page = await call("GET", `/v1/inbox?limit=${SHOWN}`);
  $("inbox-card").hidden = false;
  fill("inbox", page.notifications.map((item) => {
    const { title, line } = says(item);
    const read = element("button", { type: "button", class: "quiet", "aria-label": `Mark read: ${title}`, on: { click: () => markRead(item.id) } }, "Read");
    return element("li", { class: item.read_at ? "read" : "unread", data: { id: item.id, kind: item.kind } },
      element("span", {}, title, element("small", {}, `${line} · ${clock(item.created_at)}`)), item.read_at ? null : read);
  }));
}

async function markRead(id) {
  await call("POST", `/v1/inbox/${id}/read`).catch(() => {});
  touched();
  refresh();
}

$("read-all").addEventListener("click", async () => {
  await call("POST", "/v1/inbox/read").catch(() => {});
  touched();
  refresh();
});

function fill(list, rows) {
  refill($(list), rows);
  $(`${list}-none`).hidden = rows.length > 0;
}

/** Shows a popup, and adds it to the list of popups that were seen. Calls `dismissed` when the user closes it. */
export function popup(notification, dismissed) {
  const { title, line } = says(notification);
  const { id, kind } = notification;
  const close = () => {
    shown.remove();
    dismissed(id);
  };
  const shown = element("div", { class: "popup", data: { id, kind } },
    element("div", {}, element("strong", {}, title), element("span", {}, line)),
    element("button", { type: "button", class: "quiet", "aria-label": `Dismiss: ${title}`, on: { click: close } }, "×"));
  // It stays while the mouse or the keyboard focus is on it. Touch screens report a hover until the next touch, so they
  // are left out.
  const held = () => shown.matches(":focus-within") || (matchMedia("(hover: hover)").matches && shown.matches(":hover"));
  const leave = () => (held() ? setTimeout(leave, 1000) : shown.remove());
  setTimeout(leave, POPUP_MS);
  $("popups").append(shown);
  $("seen").prepend(element("li", { data: { id, kind } },
    element("span", {}, title, element("small", {}, `${kind} · ${clock(Date.now())}`))));
  while ($("seen").children.length > SHOWN) $("seen").lastChild.remove();
  $("seen-none").hidden = true;
}

/** Removes a popup that the server has taken back, or that the user closed elsewhere. */
export function retract(id) {
  for (const shown of $("popups").querySelectorAll(`[data-id="${CSS.escape(id)}"]`)) shown.remove();
}

/** Counts a notification that was shown in another tab or on another device, or here before a reload. */
export function elsewhere() {
  const note = $("seen-elsewhere");
  note.dataset.count = Number(note.dataset.count ?? 0) + 1;
  note.textContent = `You saw ${note.dataset.count} more in another tab, on another device, or before a reload.`;
}

/** Clears what was shown for a user who signed out. */
export function forget() {
  delete $("seen-elsewhere").dataset.count;
  $("seen-elsewhere").textContent = "";
  for (const list of ["ledger", "inbox", "seen"]) fill(list, []);
  $("popups").replaceChildren();
  $("unread").hidden = true;
  $("balance").textContent = "-";
}
