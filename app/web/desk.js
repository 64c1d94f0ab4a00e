// The trading desk: live prices, orders, open and closed positions. It is hidden if the server has no market.

import { call, coalesced, has, random, session, touched } from "./api.js";
import { $, element, money, reason, refill, sentence, svg } from "./dom.js";
import { refresh as refreshBooks } from "./books.js";

const EVERY_MS = 1000;
const POINTS = 60;
const prices = new Map();
let open = [];
let orderKey = random(16);

export async function start() {
  if (!(await has("/v1/instruments"))) return;
  $("desk").hidden = false;
  for (;;) {
    if (document.visibilityState === "visible") await tick().catch(() => {});
    await new Promise((resolve) => setTimeout(resolve, EVERY_MS));
  }
}

/** Call when somebody signed in or out, or a position may have opened or closed. */
export async function refresh() {
  $("trade").hidden = !session();
  $("trade-hint").hidden = Boolean(session());
  await read();
}

const read = coalesced(async () => {
  if (!session() || $("desk").hidden) return;
  const [now, past] = await Promise.all([
    call("GET", "/v1/positions?status=open"),
    call("GET", "/v1/positions?status=closed&limit=5"),
  ]);
  open = now.positions;
  const rows = [...now.positions.map(openRow), ...past.positions.map(closedRow)];
  refill($("positions"), rows);
  $("positions-none").hidden = rows.length > 0;
  estimate();
});

async function tick() {
  const { instruments } = await call("GET", "/v1/instruments");
  if (prices.size === 0 && instruments.length > 0) {
    $("symbol").replaceChildren(...instruments.map(({ symbol }) => element("option", { value: symbol }, symbol)));
    refresh().catch(() => {});
  }
  for (const { symbol, price } of instruments) {
    if (!prices.has(symbol)) $("instruments").append(new Instrument(symbol).card);
    prices.get(symbol).add(price);
  }
  estimate();
}

class Instrument {
  #points = [];
  #price = element("strong", { class: "number" });
  #change = element("span", { class: "change number" });
  #line = svg("polyline", { fill: "none", "stroke-width": "2", "vector-effect": "non-scaling-stroke" });
  #area = svg("polygon");

  constructor(symbol) {
    prices.set(symbol, this);
    const chart = svg("svg", { viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" });
    chart.append(this.#area, this.#line);
    this.card = element("li", { class: "card", data: { symbol } },
      element("span", { class: "symbol" }, symbol), this.#price, this.#change, chart);
  }

  get last() { return this.#points.at(-1); }

  add(price) {
    this.#price.textContent = money(price);
    this.#points = [...this.#points, Number(price)].slice(-POINTS);
    const [low, high] = [Math.min(...this.#points), Math.max(...this.#points)];
    const y = (value) => 28 - (high === low ? 13 : ((value - low) / (high - low)) * 26);
    const x = (i) => (this.#points.length === 1 ? 0 : (i / (this.#points.length - 1)) * 100);
    const line = this.#points.map((value, i) => `${x(i).toFixed(1)},${y(value).toFixed(1)}`).join(" ");
    this.#line.setAttribute("points", line);
    this.#area.setAttribute("points", `0,40 ${line} ${x(this.#points.length - 1).toFixed(1)},40`);
    const moved = (this.last / this.#points[0] - 1) * 100;
    this.#change.textContent = `${moved < 0 ? "▼" : "▲"} ${Math.abs(moved).toFixed(2)} %`;
    this.card.dataset.way = moved < 0 ? "down" : "up";
  }
}

function openRow(position) {
  const { id, symbol, side, quantity, fill_price, stop_loss, take_profit } = position;
  const limits = [stop_loss && `stop ${money(stop_loss)}`, take_profit && `take ${money(take_profit)}`].filter(Boolean).join(" · ");
  return element("li", { data: { id, status: "open" } },
    element("span", {}, `${quantity} ${symbol} ${side}`, element("small", { class: "number" }, [`at ${money(fill_price)}`, limits].filter(Boolean).join(" · "))),
    element("strong", { class: "number pnl", title: "An estimate from the price shown here" }),
    element("button", { type: "button", class: "quiet", "aria-label": `Close ${quantity} ${symbol} ${side}`, on: { click: (event) => close(id, event.target) } }, "Close"));
}

function closedRow({ id, symbol, side, quantity, exit_price, realised_pnl, close_reason }) {
  return element("li", { class: "read", data: { id, status: "closed" } },
    element("span", {}, `${quantity} ${symbol} ${side}`, element("small", { class: "number" }, `${reason(close_reason)} at ${money(exit_price)}`)),
    element("strong", { class: `number ${realised_pnl.startsWith("-") ? "down" : "up"}` }, money(realised_pnl)));
}

/** Clears what was shown for a user who signed out. */
export function forget() {
  open = [];
  orderKey = random(16);
  refill($("positions"), []);
  $("positions-none").hidden = false;
  $("order-problem").textContent = "";
}

/** Shows estimates. The server computes the real gain when the position closes. */
function estimate() {
  for (const { id, symbol, side, quantity, fill_price } of open) {
    const last = prices.get(symbol)?.last;
    const shown = $("positions").querySelector(`[data-id="${CSS.escape(id)}"] .pnl`);
    if (!shown || last === undefined) continue;
    const gain = (last - Number(fill_price)) * Number(quantity) * (side === "short" ? -1 : 1);
    shown.textContent = `≈ ${money(gain.toFixed(2))}`;
    shown.className = `number pnl ${gain < 0 ? "down" : "up"}`;
  }
  const last = prices.get($("symbol").value)?.last;
  const wanted = Number($("quantity").value);
  $("cost").textContent = last && wanted > 0 ? `≈ ${money((last * wanted).toFixed(2))} at the price shown` : "";
}

$("quantity").addEventListener("input", estimate);
$("symbol").addEventListener("change", estimate);

$("order").addEventListener("submit", async (event) => {
  event.preventDefault();
  const form = event.target;
  for (const fault of form.querySelectorAll(".fault")) fault.textContent = "";
  for (const input of form.querySelectorAll("[aria-invalid]")) input.removeAttribute("aria-invalid");
  const order = {};
  for (const [name, value] of new FormData(form)) if (value !== "") order[name] = value;
  const button = form.querySelector("button");
  button.disabled = true;
  try {
    await call("POST", "/v1/positions", order, { "idempotency-key": orderKey });
    touched();
    await Promise.allSettled([refresh(), refreshBooks()]);
  } catch (problem) {
    let placed = false;
    for (const { field, detail } of problem.errors ?? []) {
      const fault = $(`${field}-fault`);
      if (!fault) continue;
      fault.textContent = sentence(detail);
      $(field)?.setAttribute("aria-invalid", "true");
      placed = true;
    }
    if (!placed) $("order-problem").textContent = problem.message;
    // Without an answer the order may have been accepted. Keep the key, so that a repeat opens nothing twice.
    if (problem.status === 0) return;
  } finally {
    button.disabled = false;
    // A disabled button loses the focus.
    if (document.activeElement === document.body) button.focus({ preventScroll: true });
  }
  orderKey = random(16);
});

async function close(id, button) {
  button.disabled = true;
  await call("POST", `/v1/positions/${id}/close`).catch((problem) => {
    $("order-problem").textContent = problem.message;
  });
  touched();
  await Promise.allSettled([refresh(), refreshBooks()]);
}
