// The operator's page: the service key, and who asks the node what with it.

import { $, clock } from "./dom.js";
import { Figures } from "./ops-figures.js";
import { Stories } from "./ops-stories.js";

const KEY = "doorstep.ops.key";
const EVERY_MS = 2000;
/** The longest wait for an answer. */
const PATIENCE_MS = 10_000;

/** An answer that is not the one that was asked for. */
export class Problem extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

let key = sessionStorage.getItem(KEY);
let timer = 0;
/** Since when the node does not answer. */
let silentSince = null;
/** Answers of a time before the page was locked are not shown. */
let opened = 0;

/** Asks the node with the key. Returns the response; throws a `Problem`. */
export async function ask(method, path) {
  const mine = opened;
  let response;
  try {
    const headers = { authorization: `Bearer ${key}` };
    response = await fetch(path, { method, headers, cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
  } catch {
    throw new Problem(0, "The node cannot be reached.");
  }
  if (mine !== opened) throw new Problem(0, "The page was locked.");
  if (response.ok) return response;
  if (response.status === 401) {
    lock("The node does not accept this key, or not any more.");
    throw new Problem(401, "The node does not accept the key.");
  }
  const problem = await response.json().catch(() => ({}));
  throw new Problem(response.status, problem.detail ?? `The node answered ${response.status}.`);
}

const figures = new Figures(ask);
const stories = new Stories(ask);

function show(state, text) {
  $("pulse").dataset.state = state;
  // A status is read out when it changes, not every two seconds.
  if ($("pulse-text").textContent !== text) $("pulse-text").textContent = text;
}

/** Forgets the key and everything that was shown with it. */
function lock(why = "") {
  opened += 1;
  clearTimeout(timer);
  sessionStorage.removeItem(KEY);
  key = null;
  silentSince = null;
  figures.clear();
  stories.clear();
  $("inside").hidden = $("lock").hidden = true;
  $("gate").hidden = false;
  $("sure").close("no");
  show("idle", "locked");
  document.body.dataset.state = "locked";
  $("key-fault").textContent = why;
  $("key").value = "";
  $("key").focus();
}

function enter() {
  $("gate").hidden = true;
  $("inside").hidden = $("lock").hidden = false;
  document.body.dataset.state = "open";
  stories.begin();
}

async function look() {
  clearTimeout(timer);
  if (!key || document.visibilityState === "hidden") return;
  const mine = opened;
  try {
    await figures.update();
    if (mine !== opened) return;
    silentSince = null;
    show("open", "live");
    document.body.classList.remove("stale");
    await stories.update();
  } catch (problem) {
    if (mine !== opened) return;
    silentSince ??= Date.now();
    document.body.classList.add("stale");
    show("waiting", problem.status ? `answers ${problem.status}` : `no answer since ${clock(silentSince)}`);
  }
  if (mine === opened) timer = setTimeout(look, EVERY_MS);
}

$("unlock").addEventListener("submit", async (event) => {
  event.preventDefault();
  key = $("key").value.trim();
  opened += 1;
  $("open").disabled = true;
  $("key-fault").textContent = "";
  try {
    await figures.update();
    sessionStorage.setItem(KEY, key);
    $("key").value = "";
    enter();
    $("whom").focus();
    look();
  } catch (problem) {
    // A key that was not accepted has been said by `lock`.
    if (problem.status !== 401) lock(problem.message);
  } finally {
    $("open").disabled = false;
  }
});
$("lock").addEventListener("click", () => lock());
document.addEventListener("visibilitychange", look);
// A page that the browser has kept would go on with a key that another tab may have seen revoked.
addEventListener("pageshow", ({ persisted }) => persisted && look());

if (key) {
  enter();
  look();
}
