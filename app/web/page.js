// Plays the client that comes late: registers, is busy for as long as the slider says, opens a plain
// WebSocket, and shows what it is pushed.

const PATIENCE_MS = 5000; // after connecting: poll looks every 500 ms, wake needs less than one

const form = document.getElementById("register");
const slider = document.getElementById("late");
const problem = document.getElementById("problem");
const verdict = document.getElementById("verdict");
const steps = new Map([...document.querySelectorAll("#timeline li")].map((li) => [li.dataset.step, li]));
const unwritten = new Map([...steps].map(([name, li]) => [name, li.querySelector(".detail").textContent]));

let socket = null;

suggestName();
showLate();
slider.addEventListener("input", showLate);
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = document.getElementById("go");
  button.disabled = true;
  try {
    await story(form.username.value, Number(slider.value) * 1000);
  } catch (error) {
    problem.textContent = error.message;
  } finally {
    button.disabled = false;
  }
});

async function story(username, lateMs) {
  reset();
  const started = performance.now();
  const since = () => performance.now() - started;

  const { token } = await call("POST", "/v1/users", null, { username, password: madeUpPassword() });
  const committed = since();
  mark("committed", "done", committed);
  suggestName();

  mark("waiting", "now", since());
  await busy(lateMs);
  mark("waiting", "done", since());

  const popups = [];
  let connected = null;
  await new Promise((resolve, reject) => {
    socket = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/v1/ws`,
      ["doorstep.plain.v1", `bearer.${token}`]);
    let patience = null;
    socket.addEventListener("open", () => {
      connected = since();
      mark("connected", "done", connected);
      mark("popup", "now");
      patience = setTimeout(resolve, PATIENCE_MS);
    });
    socket.addEventListener("message", ({ data }) => {
      const frame = JSON.parse(data);
      if (frame.type !== "notification") return;
      popups.push(frame.kind);
      knock(frame);
      if (popups.length === 1) {
        const ms = since() - connected;
        mark("popup", "done", since(), `${ms.toFixed(ms < 10 ? 1 : 0)} ms after you connected`);
      }
      // The welcome and the reward: all there is to wait for.
      if (popups.includes("welcome") && popups.includes("reward.granted")) {
        clearTimeout(patience);
        resolve();
      }
    });
    socket.addEventListener("close", ({ code }) => {
      clearTimeout(patience);
      if (connected === null) reject(new Error("The WebSocket did not open."));
      else if (popups.length === 0) reject(new Error(`The server closed the WebSocket (${code}).`));
      else resolve();
    });
  });

  const { balance } = await call("GET", "/v1/me", token);
  if (popups.length > 0) {
    say("good", `It waited at the door. Your balance: ${balance}.`);
  } else {
    mark("popup", "lost", since(), "lost: it was pushed while you were away, and found nobody");
    say("bad", `The popup is lost. The money is not: your balance is ${balance}.`);
  }
}

async function call(method, path, token, body) {
  const headers = {};
  if (token) headers.authorization = `Bearer ${token}`;
  if (body) headers["content-type"] = "application/json";
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  const answer = await response.json().catch(() => ({}));
  if (!response.ok) {
    throw new Error(answer.detail ?? answer.title ?? `The server answered ${response.status}.`);
  }
  return answer;
}

function busy(ms) {
  const bar = document.getElementById("wait");
  const started = performance.now();
  return new Promise((resolve) => {
    const tick = () => {
      const passed = performance.now() - started;
      bar.value = ms === 0 ? 1 : Math.min(1, passed / ms);
      if (passed >= ms) resolve();
      else setTimeout(tick, Math.min(50, ms - passed));
    };
    tick();
  });
}

function mark(step, state, at, detail) {
  const li = steps.get(step);
  li.className = state;
  if (at !== undefined) li.querySelector(".at").textContent = `${(at / 1000).toFixed(2)} s`;
  if (detail) li.querySelector(".detail").textContent = detail;
}

function knock({ kind, payload }) {
  const popup = document.createElement("div");
  popup.className = "popup";
  const title = document.createElement("strong");
  title.textContent = titleOf(kind, payload);
  const detail = document.createElement("span");
  detail.textContent = kind;
  popup.append(title, detail);
  document.getElementById("popups").append(popup);
  setTimeout(() => popup.remove(), 8000);
}

function titleOf(kind, payload) {
  if (kind === "welcome") return payload?.username ? `Welcome, ${payload.username}!` : "Welcome!";
  if (kind === "reward.granted") return payload?.amount ? `You were given ${payload.amount}` : "A reward for you";
  return kind;
}

function say(mood, text) {
  verdict.className = `verdict ${mood}`;
  verdict.textContent = text;
}

function reset() {
  socket?.close();
  problem.textContent = "";
  verdict.textContent = "";
  document.getElementById("popups").replaceChildren();
  for (const [name, li] of steps) {
    li.className = "";
    li.querySelector(".at").textContent = "";
    li.querySelector(".detail").textContent = unwritten.get(name);
  }
}

function showLate() {
  document.getElementById("late-shown").textContent = Number(slider.value).toFixed(1);
}

function random(bytes) {
  return [...crypto.getRandomValues(new Uint8Array(bytes))].map((b) => b.toString(16).padStart(2, "0")).join("");
}

function suggestName() {
  form.username.value = `guest-${random(3)}`;
}

function madeUpPassword() {
  return random(16);
}
