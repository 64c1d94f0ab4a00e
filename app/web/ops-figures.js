// Live figures: the node's metrics, as numbers with small charts.

import { $, element, svg, words } from "./dom.js";

/** How long the charts reach back, at first and at most: a chart that has just begun is not a dot at its right end. */
const FIRST_MS = 40_000;
const WINDOW_MS = 240_000;
/** A rate is that of this time, so that single events do not make it jump, and of no less than this. */
const RATE_MS = 6000;
const SOON_MS = 1000;

/** Reads the text format of Prometheus: `{ name: [{ labels, value }] }`. */
export function parse(text) {
  const metrics = new Map();
  for (const line of text.split("\n")) {
    const [, name, labels = "", value] = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)/.exec(line) ?? [];
    if (!name) continue;
    const pairs = [...labels.matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g)];
    const plain = (label) => label.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
    const sample = { labels: Object.fromEntries(pairs.map(([, key, label]) => [key, plain(label)])), value: Number(value) };
    if (!metrics.has(name)) metrics.set(name, []);
    metrics.get(name).push(sample);
  }
  return metrics;
}

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

/** A number that fits a tile. */
export const amount = (value) => (value >= 100_000 ? short.format(value) : whole.format(Math.round(value)));

/** A rate: `0`, `0.3`, `12`, `4,210`. */
function rate(value) {
  if (value === null) return "–";
  return value >= 0.05 && value < 10 ? value.toFixed(1) : amount(value);
}

/** A time span, as a number and its unit. */
export function span(seconds) {
  if (seconds < 0.0005) return ["0", "s"];
  if (seconds < 1) return [(seconds * 1000).toFixed(0), "ms"];
  if (seconds < 120) return [seconds.toFixed(seconds < 10 ? 1 : 0), "s"];
  if (seconds < 7200) return [(seconds / 60).toFixed(0), "min"];
  return [(seconds / 3600).toFixed(seconds < 36_000 ? 1 : 0), "h"];
}

function bytes(count) {
  const [size, unit] = count < 2 ** 10 ? [count, "B"] : count < 2 ** 20 ? [count / 2 ** 10, "KiB"] : [count / 2 ** 20, "MiB"];
  return `${short.format(size)} ${unit}`;
}

/** The values of one figure over the last minutes, and their chart. */
class Series {
  #points = [];
  #line = svg("polyline");
  #area = svg("polygon");
  chart = svg("svg", { class: "spark", viewBox: "0 0 100 30", preserveAspectRatio: "none", "aria-hidden": "true" });

  constructor() {
    this.chart.append(this.#area, this.#line);
  }

  add(at, value) {
    if (value === null) return;
    this.#points.push({ at, value });
    while (this.#points[0].at < at - WINDOW_MS) this.#points.shift();
    const reach = Math.max(FIRST_MS, at - this.#points[0].at);
    const highest = Math.max(...this.#points.map((point) => point.value), 1e-9);
    const x = (point) => (100 - ((at - point.at) / reach) * 100).toFixed(2);
    const y = (point) => (28 - (point.value / highest) * 25).toFixed(2);
    const line = this.#points.map((point) => `${x(point)},${y(point)}`).join(" ");
    this.#line.setAttribute("points", line);
    this.#area.setAttribute("points", `${x(this.#points[0])},30 ${line} 100,30`);
  }
}

/** How fast a counter grows. */
class Rate {
  #seen = [];

  /** Per second; `null` until it is known. A counter that has become smaller belongs to a node that was started again. */
  of(at, count) {
    if (this.#seen.length > 0 && count < this.#seen.at(-1).count) this.#seen = [];
    this.#seen.push({ at, count });
    while (this.#seen.length > 2 && this.#seen[1].at <= at - RATE_MS) this.#seen.shift();
    const [first] = this.#seen;
    return at >= first.at + SOON_MS ? ((count - first.count) * 1000) / (at - first.at) : null;
  }
}

/** What is shown in tiles: a name, and how it is read from the metrics. `null` means that the node has no such part. */
const TILES = [
  ["connections", "Connections", ({ sum, of }) => ({
    value: sum("doorstep_connections"),
    more: `${amount(of("doorstep_connections", { transport: "websocket" }))} WebSocket, ${amount(of("doorstep_connections", { transport: "sse" }))} SSE`,
  })],
  ["arrivals", "Arrivals", ({ sum, perSecond }) => {
    // Every connection that began is there, or has ended.
    const begun = sum("doorstep_connections") + sum("doorstep_connections_ended_total");
    return { value: perSecond("arrivals", begun), unit: "/s", more: `${amount(begun)} since the start` };
  }],
  ["accepted", "Accepted", ({ sum, perSecond }) => {
    const accepted = sum("doorstep_notifications_accepted_total");
    return { value: perSecond("accepted", accepted), unit: "/s", more: `${amount(accepted)} since the start` };
  }],
  ["refused", "Refused", ({ sum, perSecond }) => {
    const refused = sum("doorstep_notifications_refused_total");
    const value = perSecond("refused", refused);
    return { value, unit: "/s", more: `${amount(refused)} since the start`, alarm: value > 0 };
  }],
  ["waiting", "Waiting", ({ sum }) => ({
    value: sum("doorstep_notifications_waiting"),
    more: `for ${amount(sum("doorstep_mailboxes"))} ${sum("doorstep_mailboxes") === 1 ? "user" : "users"}, ${amount(sum("doorstep_notifications_in_flight"))} in flight`,
  })],
  ["oldest", "Oldest waiting", ({ most, sum }) => {
    const value = most("doorstep_notifications_oldest_waiting_seconds");
    const lag = sum("doorstep_timer_lag_seconds");
    return { value, span: true, more: lag > 1 ? `timers are ${span(lag).join(" ")} late` : "timers are on time", alarm: lag > 1 };
  }],
  ["room", "Room used", ({ sum }) => {
    const full = (used, limit) => (sum(limit) > 0 ? sum(used) / sum(limit) : 0);
    const value = 100 * Math.max(full("doorstep_pending_notifications", "doorstep_pending_notifications_limit"),
      full("doorstep_pending_bytes", "doorstep_pending_limit_bytes"));
    return { value, unit: "%", more: `${bytes(sum("doorstep_pending_bytes"))} of payloads`, alarm: value > 80 };
  }],
  ["webhook", "Webhook behind", ({ has, sum, most }) => has("doorstep_webhook_outcomes_waiting") && {
    value: most("doorstep_webhook_oldest_seconds"),
    span: true,
    more: `${amount(sum("doorstep_webhook_outcomes_waiting"))} wait, ${amount(sum("doorstep_webhook_lost_total"))} lost`,
    alarm: sum("doorstep_webhook_lost_total") > 0,
  }],
  ["outbox", "Outbox behind", ({ has, sum, most }) => has("doorstep_outbox_rows_waiting") && {
    value: most("doorstep_outbox_oldest_seconds"),
    span: true,
    more: sum("doorstep_outbox_consuming") > 0 ? `${amount(sum("doorstep_outbox_rows_waiting"))} rows wait` : "another node reads it",
  }],
  ["memory", "Memory", ({ has, sum }) => has("process_resident_memory_bytes") && {
    value: sum("process_resident_memory_bytes") / 2 ** 20,
    unit: "MiB",
    more: `${amount(sum("process_open_fds"))} files and sockets open`,
  }],
];

const OUTCOMES = ["delivered", "expired", "promoted", "replaced", "dropped", "rejected", "recalled"];

/** The figures of one node. */
export class Figures {
  #ask;
  #series = new Map();
  #rates = new Map();
  #tiles = new Map();
  #rows = new Map();

  constructor(ask) {
    this.#ask = ask;
  }

  /** Forgets everything. */
  clear() {
    for (const kept of [this.#series, this.#rates, this.#tiles, this.#rows]) kept.clear();
    for (const list of ["tiles", "outcomes", "kinds", "nodes"]) $(list).replaceChildren();
  }

  async update() {
    const text = await (await this.#ask("GET", "/v1/metrics")).text();
    const at = performance.now();
    const metrics = parse(text);
    const samples = (name) => metrics.get(name) ?? [];
    const read = {
      has: (name) => metrics.has(name),
      sum: (name) => samples(name).reduce((sum, sample) => sum + sample.value, 0),
      most: (name) => Math.max(0, ...samples(name).map((sample) => sample.value)),
      of: (name, labels) => samples(name).filter((sample) => Object.entries(labels).every(([key, label]) => sample.labels[key] === label))
        .reduce((sum, sample) => sum + sample.value, 0),
      perSecond: (name, count) => this.#kept(this.#rates, name, () => new Rate()).of(at, count),
    };
    for (const [id, name, figure] of TILES) this.#tile(at, id, name, figure(read));
    for (const outcome of OUTCOMES) this.#outcome(at, outcome, read);
    this.#kinds(samples("doorstep_notifications_waiting"), samples("doorstep_notifications_oldest_waiting_seconds"));
    const build = samples("doorstep_build_info")[0]?.labels ?? {};
    const up = Date.now() / 1000 - read.sum("process_start_time_seconds");
    $("about").textContent = `doorstep ${build.version ?? ""} on ${build.os ?? "?"}/${build.arch ?? "?"}`
      + (read.has("process_start_time_seconds") ? `, up for ${span(up).join(" ")}` : "");
    await this.#nodes(read.has("doorstep_cluster_up_to_date"));
  }

  #kept(map, key, make) {
    if (!map.has(key)) map.set(key, make());
    return map.get(key);
  }

  #chart(id) {
    return this.#kept(this.#series, id, () => new Series());
  }

  #tile(at, id, name, figure) {
    if (!figure) return;
    const tile = this.#kept(this.#tiles, id, () => {
      const parts = { value: element("span", { class: "value number" }), more: element("span", { class: "more number" }) };
      parts.box = element("li", { class: "card tile", data: { tile: id } },
        element("span", { class: "name" }, name), parts.value, parts.more, this.#chart(id).chart);
      $("tiles").append(parts.box);
      return parts;
    });
    const [number, unit] = figure.span ? span(figure.value) : [figure.unit === "/s" || figure.unit === "%" ? rate(figure.value) : amount(figure.value), figure.unit];
    tile.value.replaceChildren(number, ...(unit ? [element("small", {}, unit)] : []));
    tile.more.textContent = figure.more;
    tile.more.title = figure.more;
    tile.box.classList.toggle("alarm", Boolean(figure.alarm));
    this.#chart(id).add(at, figure.value);
  }

  #outcome(at, outcome, read) {
    const total = read.of("doorstep_notifications_ended_total", { outcome });
    const now = read.perSecond(outcome, total);
    const row = this.#kept(this.#rows, outcome, () => {
      const parts = { now: element("td", { class: "amount" }), total: element("td", { class: "amount" }) };
      parts.box = element("tr", { data: { outcome } }, element("th", { scope: "row" }, words(outcome)),
        element("td", { class: "line-column" }, this.#chart(outcome).chart), parts.now, parts.total);
      $("outcomes").append(parts.box);
      return parts;
    });
    row.now.textContent = rate(now);
    row.total.textContent = amount(total);
    row.box.dataset.quiet = total === 0;
    this.#chart(outcome).add(at, now);
  }

  #kinds(waiting, oldest) {
    const kinds = waiting.filter((sample) => sample.value > 0).sort((a, b) => b.value - a.value);
    const most = kinds[0]?.value ?? 1;
    $("kinds").replaceChildren(...kinds.slice(0, 12).map(({ labels: { kind }, value }) => {
      const bar = element("i");
      bar.style.setProperty("--long", value / most);
      const age = oldest.find((sample) => sample.labels.kind === kind)?.value ?? 0;
      return element("tr", { data: { kind } }, element("th", { scope: "row" }, kind),
        element("td", { class: "line-column" }, element("div", { class: "share", "aria-hidden": "true" }, bar)),
        element("td", { class: "amount" }, amount(value)), element("td", { class: "amount" }, span(age).join(" ")));
    }));
    $("kinds-table").hidden = kinds.length === 0;
    $("kinds-none").hidden = kinds.length > 0;
  }

  /** The nodes of the cluster, if this node knows of any. */
  async #nodes(isInCluster) {
    // A node that is alone would answer 404, and leave an error in the console.
    if (!isInCluster) return;
    const answer = await this.#ask("GET", "/v1/cluster").then((response) => response.json(), () => null);
    const nodes = Array.isArray(answer?.nodes) ? answer.nodes : [];
    $("cluster").hidden = nodes.length === 0;
    const columns = [...new Set(nodes.flatMap((node) => Object.keys(node)))];
    const cell = (value) => (value === null || value === undefined ? "-" : typeof value === "object" ? JSON.stringify(value) : String(value));
    $("cluster-head").replaceChildren(element("tr", {}, ...columns.map((name) => element("th", { scope: "col" }, words(name)))));
    $("nodes").replaceChildren(...nodes.map((node) => element("tr", {},
      ...columns.map((name) => element("td", { class: "number" }, cell(node[name]))))));
  }
}
