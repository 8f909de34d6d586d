// The page for operators. Whatever strangers have named reaches it as text nodes only.

const KEY = "chat-api-key";
const EVERY_MS = 2000;
const ROWS = 100;

const byId = (id) => document.getElementById(id);

function el(tag, text, ...children) {
  const element = document.createElement(tag);
  if (text !== null) element.textContent = text;
  element.append(...children);
  return element;
}

/** Text of strangers, with what could turn the direction or hide made visible. */
function shown(text) {
  return text.replace(/[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g, "\ufffd");
}

let key = sessionStorage.getItem(KEY);
let room = null;
let last = null;
let timer = null;

async function ask(method, path, body) {
  const headers = { Authorization: `Bearer ${key}` };
  if (body) headers["Content-Type"] = "application/json";
  const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) });
  if (response.ok) return response.status === 204 ? null : response.json();
  const problem = await response.json().catch(() => ({}));
  const error = new Error(problem.detail ?? `the server answered with ${response.status}`);
  error.status = response.status;
  throw error;
}

function login(problem = "") {
  clearTimeout(timer);
  key = null;
  last = null;
  sessionStorage.removeItem(KEY);
  byId("page").hidden = true;
  byId("login").hidden = false;
  byId("login-problem").textContent = problem;
  byId("key").value = "";
  byId("key").focus();
}

byId("login").addEventListener("submit", (event) => {
  event.preventDefault();
  key = byId("key").value.trim();
  sessionStorage.setItem(KEY, key);
  byId("key").value = "";
  refresh();
});
byId("forget").addEventListener("click", () => login());
byId("everybody").addEventListener("click", () => choose(null));

function choose(name) {
  room = name;
  refresh();
}

/** Asks for everything anew, and again after a while. */
async function refresh() {
  clearTimeout(timer);
  try {
    const of = room === null ? "/v1/sessions" : `/v1/rooms/${encodeURIComponent(room)}/members`;
    const [stats, rooms, members, bans] = await Promise.all([
      ask("GET", "/v1/stats"), ask("GET", `/v1/rooms?limit=${ROWS}`),
      ask("GET", `${of}?limit=${ROWS}`), ask("GET", "/v1/bans"),
    ]);
    byId("login").hidden = true;
    byId("page").hidden = false;
    byId("problem").textContent = "";
    showFigures(stats);
    showRooms(rooms);
    showMembers(members);
    showBans(bans.bans);
  } catch (error) {
    if (error.status === 401) return login(error.message);
    byId("problem").textContent = error.message;
  }
  clearTimeout(timer);
  timer = setTimeout(refresh, EVERY_MS);
}

function rate(stats, name) {
  const ms = last ? stats.uptime_ms - last.uptime_ms : 0;
  return ms > 0 ? Math.max(0, Math.round((stats[name] - last[name]) * 1000 / ms)) : 0;
}

function showFigures(stats) {
  const figures = [
    ["Connections", "connections", stats.connections], ["Rooms", "rooms", stats.rooms],
    ["Members", "members", stats.members], ["Messages", "messages", stats.messages],
    ["Messages/s", "messages-rate", rate(stats, "messages")],
    ["Deliveries/s", "deliveries-rate", rate(stats, "deliveries")],
  ];
  if (stats.webhooks) figures.push(["Webhooks waiting", "webhooks", stats.webhooks.waiting]);
  byId("figures").replaceChildren(...figures.map(([label, name, value]) => {
    const figure = el("dd", String(value));
    figure.dataset.figure = name;
    return el("div", null, el("dt", label), figure);
  }));
  byId("closes").replaceChildren(...Object.entries(stats.closes).map(([code, count]) => (
    el("tr", null, el("td", code), el("td", String(count))))));
  last = stats;
}

function showRooms({ rooms, next }) {
  byId("rooms").replaceChildren(...rooms.map(({ room: name, members, seq }) => {
    const open = el("button", shown(name));
    open.type = "button";
    open.className = "link";
    open.addEventListener("click", () => choose(name));
    return el("tr", null, el("td", null, open), el("td", String(members)),
      el("td", seq === undefined ? "" : String(seq)));
  }));
  byId("more-rooms").textContent = next ? `The first ${ROWS} are shown.` : "";
}

function showMembers({ sessions, next }) {
  byId("members-title").textContent = room === null ? "Sessions" : `Members of ${shown(room)}`;
  byId("everybody").hidden = room === null;
  byId("members").replaceChildren(...sessions.map((session) => {
    const who = `${shown(session.username)} (${session.user})`;
    const acts = el("td", null);
    acts.className = "acts";
    if (room !== null) {
      const path = `/v1/rooms/${encodeURIComponent(room)}/kick`;
      acts.append(act("Kick", `Take ${who} out of ${shown(room)}?`, "POST", path,
        { session: session.session }));
      acts.append(act("Ban here", `Keep ${who} out of ${shown(room)}, until it is lifted?`, "POST",
        "/v1/bans", { user: session.user, room }));
    }
    acts.append(act("Close", `Close the connection of ${who}?`, "POST", "/v1/close",
      { session: session.session }));
    acts.append(act("Ban", `Keep ${who} out of the server, until it is lifted?`, "POST",
      "/v1/bans", { user: session.user }));
    return el("tr", null, el("td", shown(session.username)), el("td", session.user),
      el("td", session.dialect), acts);
  }));
  byId("more-members").textContent = next ? `The first ${ROWS} are shown.` : "";
}

function showBans(bans) {
  byId("bans").replaceChildren(...bans.map(({ user, room: name }) => {
    const query = new URLSearchParams(name === undefined ? { user } : { user, room: name });
    const lift = act("Lift", `Let ${user} in again?`, "DELETE", `/v1/bans?${query}`, null);
    return el("tr", null, el("td", user), el("td", name === undefined ? "all" : shown(name)),
      el("td", null, lift));
  }));
}

/** A button that asks before it does something. */
function act(label, question, method, path, body) {
  const button = el("button", label);
  button.type = "button";
  button.addEventListener("click", async () => {
    if (!window.confirm(question)) return;
    try {
      await ask(method, path, body);
      await refresh();
    } catch (error) {
      byId("problem").textContent = error.message;
    }
  });
  return button;
}

if (key === null) login();
else refresh();
