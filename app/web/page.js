// The page: the signed-in user, the connection, and the updates that both cause.

import { Doorstep } from "./doorstep.js";
import { call, ended, has, keep, onTouched, random, session } from "./api.js";
import { elsewhere, forget, popup, refresh as refreshBooks, retract } from "./books.js";
import * as desk from "./desk.js";
import { $, sentence } from "./dom.js";
import { Abandoned, Story } from "./story.js";

const STATES = {
  idle: "not connected",
  connecting: "connecting",
  open: "connected",
  waiting: "reconnecting",
  sleeping: "offline",
  "signed-out": "signed out",
  closed: "not connected",
};

const EXPIRED = "Your session has ended. Sign in again: your notifications wait.";

const form = $("door");
const story = new Story();
let door = null;
let leaving = false;
let hasDemo = false;

form.username.value = `guest-${random(3)}`;
form.password.value = random(8);
form.late.addEventListener("input", showLate);
for (const way of form.way) way.addEventListener("change", showWay);
$("lanes-chosen").addEventListener("change", preview);
form.addEventListener("submit", (event) => {
  event.preventDefault();
  play();
});
$("sign-out").addEventListener("click", async () => {
  // Disconnect first, so that the end of the session is not shown as an error.
  leaving = true;
  disconnect();
  await call("DELETE", "/v1/sessions/current").catch(() => {});
  leaving = false;
  leave("");
});
ended.addEventListener("expired", () => leaving || leave(EXPIRED));
ended.addEventListener("changed", () => location.reload());

const looked = has("/v1/demo/record").then((there) => {
  hasDemo = there;
  showLanes();
  preview();
});
showLate();
showWho();
if (session()) connect().catch(() => {});
desk.start();
refresh();
onTouched(refresh);
document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && refresh());
// The browser has restored the form, or the whole page, which may belong to another user.
let shownTo;
addEventListener("pagehide", () => { shownTo = session()?.token; });
addEventListener("pageshow", ({ persisted }) => {
  if (persisted && session()?.token !== shownTo) return location.reload();
  showLate();
  showWay();
});
// Enabled last, so that the form cannot be sent without the script.
$("go").disabled = false;

/** Shows changes that were made elsewhere. */
function refresh() {
  refreshBooks();
  desk.refresh().catch(() => {});
}

async function play() {
  const user = session();
  const registers = !user && form.way.value === "register";
  faults([]);
  $("go").disabled = true;
  await looked;
  try {
    const isOffered = await story.play({ lateMs: Number(form.late.value) * 1000, lanes: lanes(), registers, enter: () => user || enter(registers), connect, disconnect });
    hasDemo &&= isOffered;
  } catch (problem) {
    if (!(problem instanceof Abandoned)) faults(problem.errors ?? [], problem.message);
    if (session() && !door) connect().catch(() => {});
  } finally {
    $("go").disabled = false;
    showLanes();
    preview();
    // A disabled button loses the focus.
    if (document.activeElement === document.body) $("go").focus({ preventScroll: true });
    refresh();
  }
}

/** The chosen policies, if the server offers the demonstration. */
function lanes() {
  return hasDemo ? [...$("lanes-chosen").querySelectorAll(":checked")].map((box) => box.value) : [];
}

function showLanes() {
  $("lanes-chosen").hidden = !hasDemo;
  $("late-hint").hidden = !hasDemo;
  $("demo-off").hidden = hasDemo;
}

function preview() {
  story.preview({ lanes: lanes(), registers: !session() && form.way.value === "register" });
}

async function enter(registers) {
  const body = { username: form.username.value, password: form.password.value };
  keep(await call("POST", registers ? "/v1/users" : "/v1/sessions", body));
  showWho();
  refresh();
}

/** Connects. Resolves when the connection is open. */
function connect() {
  disconnect();
  const opening = new Doorstep({ token: session().token });
  door = opening;
  opening.on(":notification", (notification) => {
    popup(notification, (id) => opening.dismiss(id));
    story.popup(notification);
    refresh();
  });
  // Another tab showed it. Show its effects here too.
  opening.on(":duplicate", () => {
    elsewhere();
    refresh();
  });
  opening.on(":retract", ({ id, reason, isDropped }) => {
    // A popup that another connection acknowledged stays where it is shown.
    if (reason !== "acknowledged_elsewhere") retract(id);
    else if (isDropped) elsewhere();
    // What the server has taken back is gone from the inbox too, and what was shown elsewhere may have changed the books.
    refresh();
  });
  opening.on(":signed-out", () => leave(EXPIRED));
  const isOpen = new Promise((resolve, reject) => {
    opening.on(":state", (state) => {
      showLink(state, opening.transport);
      if (state === "open") {
        story.opened(opening.transport);
        refresh();
        resolve();
      }
      if (state === "signed-out" || state === "closed") reject(new Error("The connection was given up."));
    });
  });
  opening.connect();
  return isOpen;
}

function disconnect() {
  door?.close();
  door = null;
}

/** Shows the form again. Notifications for the user keep waiting on the server. */
function leave(why) {
  if (!session() && $("who").hidden) return;
  const username = session()?.user.username;
  story.abandon();
  disconnect();
  keep(null);
  forget();
  desk.forget();
  showWho();
  showLink("idle");
  desk.refresh().catch(() => {});
  if (username) {
    form.username.value = username;
    form.password.value = "";
    form.way.value = "sign-in";
    showWay();
    (why ? form.password : form.username).focus();
  }
  $("problem").textContent = why;
}

function showWho() {
  const user = session()?.user;
  $("who").hidden = !user;
  $("books").hidden = !user;
  $("seen-card").hidden = !user;
  $("credentials").hidden = Boolean(user);
  for (const input of [form.username, form.password]) input.disabled = Boolean(user);
  $("who-name").textContent = user?.username ?? "";
  showWay();
}

function showWay() {
  const registers = form.way.value === "register";
  $("password-hint").hidden = !registers;
  form.password.autocomplete = registers ? "new-password" : "current-password";
  $("go").textContent = session() ? "Leave, and come late again" : registers ? "Register and come late" : "Sign in and come late";
  preview();
}

function showLink(state, transport) {
  $("link").dataset.state = state;
  $("link-text").textContent = state === "open" && transport === "sse" ? "connected (SSE)" : STATES[state];
}

function showLate() {
  $("late-shown").textContent = Number(form.late.value).toFixed(1);
}

function faults(errors, message = "") {
  for (const field of ["username", "password"]) {
    const fault = errors.find((error) => error.field === field);
    $(`${field}-fault`).textContent = sentence(fault?.detail);
    if (fault) form[field].setAttribute("aria-invalid", "true");
    else form[field].removeAttribute("aria-invalid");
  }
  $("problem").textContent = errors.length ? "" : message;
}
