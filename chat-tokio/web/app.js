// Wires the parts together: storage, chat, state, views, keys, the address bar.

import { Chat } from "./chat.js";
import { listenForWakes, systemClock } from "./driver.js";
import { byId, setText } from "./dom.js";
import { Drawers } from "./drawers.js";
import { sharedLooks } from "./roster.js";
import { stopReasonOf } from "./reasons.js";
import { ChatState } from "./state.js";
import { openStore, openTabStorage, openTabStore } from "./store.js";
import { openClaims, Tab } from "./tab.js";
import { nameProblem, printableName } from "./text.js";
import { ComposerView } from "./view-composer.js";
import { EntryView } from "./view-entry.js";
import { MembersView } from "./view-members.js";
import { MessagesView } from "./view-messages.js";
import { countText, hashOf, RoomsView } from "./view-rooms.js";
import { RenewalView } from "./view-renewal.js";
import { StatusView } from "./view-status.js";

const ROOMS_EVERY_MS = 15_000;
const MEMBERS_EVERY_MS = 30_000;
// Above this the server coalesces join and leave notices, so the list is asked for instead.
const MEMBERS_LIVE_MAX = 64;
const HIDDEN_RENDER_MS = 250;
const SAVE_READ_MS = 1000;
const SAVE_TAB_MS = 300;
const THEMES = ["auto", "light", "dark"];

const store = openStore();
/** The token is a secret of this tab: in no address, and in nothing that other tabs see. */
const secrets = openTabStore();
const state = new ChatState();
const chat = new Chat({ state, url: socketUrl(), WebSocket, makeKey });
const { BroadcastChannel } = globalThis;
const claims = openClaims({ locks: navigator.locks, BroadcastChannel, clock: systemClock });
const tab = new Tab({ storage: openTabStorage(), claims, makeName: makeKey });
const entry = new EntryView((name, token) => {
  store.set("name", name);
  if (token !== null) secrets.set("token", token);
  enter(name, null, token ?? secrets.get("token", null));
});
const renewal = new RenewalView((token) => {
  secrets.set("token", token);
  chat.useToken(token);
});
const drawers = new Drawers();
const rooms = new RoomsView(state, { open: openRoom, leave: leaveRoom });
const members = new MembersView(state);
const status = new StatusView(state, systemClock, { retry: () => chat.reconnect() });
const composer = new ComposerView(state, store, {
  send: sendMessage,
  typing: (active) => chat.typing(state.active, active),
});
const messages = new MessagesView(state, {
  older: (room) => chat.loadOlder(room),
  read: markRead,
  rows: () => changed("messages", state.active),
  retry: (send) => chat.retry(send),
  discard: (send) => chat.discard(send),
});

/** Names of what has to be drawn; drawn together once per frame, however much arrives. */
const dirty = new Set();
let scheduled = false;
let typingTimer = null;
let readTimer = null;
let tabTimer = null;
let readPositions = store.get("read", {});

chat.onChange = changed;
chat.onNeedToken = needToken;
chat.readPosition = (name) => readPositions[name] ?? null;
showTheme(store.get("theme", "auto"));
start(await tab.load());

/** `saved` is what this tab was doing before it was loaded again. */
function start(saved) {
  listen();
  const known = store.get("rooms", []);
  for (const name of Array.isArray(known) ? known : []) {
    if (typeof name === "string" && nameProblem(name) === null) chat.open(name);
  }
  const name = roomInHash() ?? store.get("active", null);
  if (typeof name === "string" && nameProblem(name) === null) chat.open(name);
  activate(state.find(name ?? "")?.name ?? state.rooms.keys().next().value ?? null);
  const self = saved?.name || store.get("name", "");
  const token = secrets.get("token", null);
  if (typeof self === "string" && self !== "") enter(self, saved, token);
  else entry.show("");
}

function listen() {
  addEventListener("hashchange", () => {
    const name = roomInHash();
    if (name && state.find(name)?.name !== state.active) openRoom(name);
  });
  listenForWakes(window, document, () => chat.wake());
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) {
      saveTab();
      return scheduled && setTimeout(render);
    }
    // The line tells where one looked away.
    if (state.room?.unread > 0) state.room.divider = state.room.read;
    changed("messages", state.active);
    refresh();
  });
  addEventListener("beforeunload", (event) => {
    if (state.unsettled.length > 0) event.preventDefault();
  });
  addEventListener("pagehide", () => {
    saveRead();
    saveTab();
    tab.release();
  });
  addEventListener("pageshow", async ({ persisted }) => {
    if (persisted && !await tab.reclaim()) chat.renew();
  });
  document.addEventListener("keydown", pressed);
  byId("rename").addEventListener("click", () => entry.show(chat.name));
  byId("theme").addEventListener("click", nextTheme);
  byId("room-error-retry").addEventListener("click", () => {
    if (state.room) chat.rejoin(state.room);
  });
  setInterval(() => !document.hidden && refresh(), ROOMS_EVERY_MS);
  setInterval(() => {
    const count = state.rosterOf(state.active)?.count ?? 0;
    if (!document.hidden && count > MEMBERS_LIVE_MAX) chat.refreshMembers(state.active);
  }, MEMBERS_EVERY_MS);
}

function refresh() {
  if (state.online) chat.refreshRooms();
}

/** A name was chosen: connect, or connect again under the new one. */
function enter(name, saved = null, token = null) {
  entry.hide();
  chat.enter(name, saved, typeof token === "string" ? token : null);
  changed("all");
  composer.focus();
}

/** Nobody but the person in front of it can give one. */
function needToken() {
  if (state.online) return renewal.show();
  const had = secrets.get("token", null) !== null;
  secrets.set("token", null);
  entry.askToken(chat.name, had ? "The server does not take this token, or it has ended." : "");
}

function openRoom(name) {
  const room = chat.open(name);
  drawers.close();
  activate(room.name);
  composer.focus();
}

function activate(name) {
  state.activate(name);
  if (name !== null && roomInHash() !== name) history.pushState(null, "", hashOf(name));
  changed("all");
}

function leaveRoom(name) {
  chat.leave(name);
  if (state.active === null) history.replaceState(null, "", location.pathname);
  else history.replaceState(null, "", hashOf(state.active));
  changed("all");
  refresh();
}

function sendMessage(text) {
  const problem = chat.sendMessage(state.active, text);
  if (problem === "queue_full") return "Too many messages are waiting already.";
  if (problem) return "This message is too long.";
  state.room.divider = null;
  messages.toNewest();
  return null;
}

function markRead() {
  const { room } = state;
  if (!room || document.hidden || !messages.stuck || entry.shown) return;
  if (room.markRead()) changed("rooms");
  messages.renderPill(room);
}

function changed(topic, room) {
  dirty.add(topic === "messages" && room !== state.active ? "rooms" : topic);
  if (topic === "messages") dirty.add("rooms");
  if (topic === "status") {
    // The number of this connection has to outlive the page, whatever becomes of it.
    saveTab();
    refresh();
  }
  tabTimer ??= setTimeout(saveTab, SAVE_TAB_MS);
  if (scheduled) return;
  scheduled = true;
  // Frames stop in a hidden tab, but its title must still tell of new messages.
  if (document.hidden) setTimeout(render, HIDDEN_RENDER_MS);
  else requestAnimationFrame(render);
}

function render() {
  scheduled = false;
  const all = dirty.has("all") || dirty.has("self");
  const has = (...topics) => all || topics.some((topic) => dirty.has(topic));
  const parts = {
    status: has("status"), log: has("messages", "members", "status"), members: has("members"),
    rooms: has("rooms", "status"), typing: has("typing", "members", "status"),
  };
  dirty.clear();
  if (parts.status) renderStatus();
  if (entry.shown) return;
  const room = state.room;
  const roster = state.rosterOf(state.active);
  const shared = room && (parts.log || parts.members)
    ? sharedLooks(roster, room.messages, state.self) : new Set();
  if (parts.log) messages.render(shared, state.online);
  markRead();
  if (parts.members || parts.log) members.render(shared);
  if (parts.rooms) renderRooms();
  if (parts.typing) renderTyping();
  if (all || parts.rooms) composer.render();
  if (all) renderSelf();
}

function renderStatus() {
  status.render();
  const { why } = state.connection;
  if (!state.online) renewal.hide();
  if (why?.name === "unauthorized") return unauthorized();
  if (why?.name === "refused") {
    entry.show(chat.name, `Not connected: ${stopReasonOf(why)}.`);
  }
}

function unauthorized() {
  // Nobody has answered, or the answer was none: what was asked still stands.
  if (entry.shown) return;
  needToken();
}

function renderRooms() {
  const { room, active } = state;
  rooms.render();
  setText(byId("room-title"), room ? printableName(room.name) : "Chat");
  byId("room-error").hidden = !room?.error;
  if (room?.error) setText(byId("room-error-text"), `Could not join: ${room.error.text}`);
  const { unread } = state;
  const elsewhere = unread - (room?.unread ?? 0);
  byId("side-dot").hidden = elsewhere <= 0;
  const badge = unread > 0 ? `(${countText(unread)}) ` : "";
  document.title = `${badge}${room ? `${printableName(room.name)} · ` : ""}Chat`;
  // The server may have corrected the spelling: the address and the memory follow.
  if (active !== null && roomInHash() !== active) history.replaceState(null, "", hashOf(active));
  store.set("rooms", [...state.rooms.keys()]);
  store.set("active", active);
  readTimer ??= setTimeout(saveRead, SAVE_READ_MS);
}

function renderTyping() {
  clearTimeout(typingTimer);
  const { names, next } = state.active === null ? { names: [], next: null }
    : chat.typingNow(state.active);
  setText(byId("typing"), typingText(names.map((name) => printableName(String(name)))));
  if (next !== null) {
    typingTimer = setTimeout(renderTyping, Math.max(50, next - systemClock.mono()));
  }
}

/** Isolates keep a name's direction from reordering the sentence around it. */
function typingText(names) {
  const [first, second] = names.map((name) => `\u2068${name}\u2069`);
  if (names.length === 0) return "";
  if (names.length === 1) return `${first} is typing…`;
  if (names.length === 2) return `${first} and ${second} are typing…`;
  return "Several people are typing…";
}

function renderSelf() {
  members.renderSelf(byId("me-avatar"), state.self);
  setText(byId("me-name"), printableName(state.self.name ?? chat.name));
}

function saveRead() {
  clearTimeout(readTimer);
  readTimer = null;
  const positions = {};
  for (const room of state.rooms.values()) {
    const before = readPositions[room.name];
    if (room.read !== null) positions[room.name] = { epoch: room.epoch, seq: room.read };
    else if (before) positions[room.name] = before;
  }
  readPositions = positions;
  store.set("read", positions);
}

function saveTab() {
  clearTimeout(tabTimer);
  tabTimer = null;
  tab.save(chat.saved());
}

function pressed(event) {
  if (entry.shown) {
    if (event.key === "Escape" && state.self.user !== null && state.online) entry.hide();
    return;
  }
  if (event.altKey && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
    event.preventDefault();
    switchRoom(event.key === "ArrowUp" ? -1 : 1);
  } else if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
    event.preventDefault();
    drawers.openSide();
    rooms.focusField();
  } else if (event.key === "Escape" && !event.isComposing) {
    if (drawers.close()) return;
    messages.toNewest();
    composer.focus();
  }
}

function switchRoom(step) {
  const names = [...state.rooms.keys()];
  if (names.length === 0) return;
  const at = names.indexOf(state.active);
  openRoom(names[(at + step + names.length) % names.length]);
}

function nextTheme() {
  const theme = THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % 3];
  store.set("theme", theme);
  showTheme(theme);
}

function showTheme(theme) {
  const known = THEMES.includes(theme) ? theme : "auto";
  document.documentElement.dataset.theme = known;
  byId("theme-icon").setAttribute("href", `#i-${known}`);
  byId("theme").title = `Theme: ${known}`;
  byId("theme").setAttribute("aria-label", `Theme: ${known}. Change it`);
}

function roomInHash() {
  try {
    const name = decodeURIComponent(location.hash.slice(1));
    return nameProblem(name) === null ? name : null;
  } catch {
    return null;
  }
}

function socketUrl() {
  const url = new URL("ws", document.baseURI);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}

/** Not randomUUID: that exists only in secure contexts, and a server at home may have no TLS. */
function makeKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
