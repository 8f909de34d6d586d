import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_LIMITS } from "../client/frames.js";
import { USERS_MAX as OWN_MAX } from "../client/session.js";
import { GAPS_MAX, KEEP_ACTIVE, KEEP_BACKGROUND, Room } from "../room.js";
import { Roster, sharedLooks, USERS_MAX } from "../roster.js";
import { ChatState, PENDING_MAX } from "../state.js";
import { entries, entry } from "./fakes.mjs";

const WELCOME = { user: "guest-1", name: "Ada", limits: DEFAULT_LIMITS };

function join(room, from, to, more = {}) {
  room.applyJoined({ epoch: "e1", fresh: true, head: to, hasMoreBefore: from > 1, ...more });
  for (const event of entries(from, to)) room.applyEntry(event);
  return room;
}

function loadedRoom(from, to, keep = KEEP_ACTIVE) {
  const room = new Room("lobby", { users: new Set(["guest-1"]) });
  room.keep = keep;
  return join(room, from, to);
}

function page(events, more = false) {
  return { type: "page", room: "lobby", epoch: "e1", events, has_more_before: more,
    has_more_after: true };
}

const seqs = (room) => room.messages.map(({ seq }) => seq);
const range = (from, to) => entries(from, to).map(({ seq }) => seq);

test("a room shows the run that it is told of, and says whether there is more before it", () => {
  const room = loadedRoom(11, 20);
  assert.deepEqual(seqs(room), range(11, 20));
  assert.deepEqual([room.from, room.to, room.moreBefore, room.canLoadOlder], [11, 20, true, true]);
  const empty = loadedRoom(1, 0);
  assert.deepEqual([empty.from, empty.to, empty.canLoadOlder], [1, 0, false]);
  empty.applyEntry(entry(1));
  assert.deepEqual([empty.from, empty.to], [1, 1]);
});

test("pages in any overlap never double an entry", () => {
  const room = loadedRoom(50, 60);
  room.applyBefore(page(entries(30, 55), true));
  assert.deepEqual([seqs(room), room.from], [range(30, 60), 30]);
  room.applyBefore(page(entries(1, 29)));
  assert.deepEqual([seqs(room), room.canLoadOlder], [range(1, 60), false]);
});

test("what a page leaves out is shown as missing", () => {
  const room = loadedRoom(20, 22);
  room.applyBefore(page([...entries(5, 7), ...entries(10, 11)], true));
  assert.deepEqual(room.gaps, [{ from: 8, to: 9 }, { from: 12, to: 19 }]);
  assert.equal(room.from, 5);
  room.applyBefore(page([], true));
  assert.equal(room.olderFailed, true, "a page with nothing is not asked for again and again");
});

test("entries that are no messages are covered without being shown", () => {
  const room = loadedRoom(1, 3);
  room.applyEntry({ type: "react", room: "lobby", seq: 4, user: "u", username: "U", key: null });
  room.applyEntry(entry(5));
  assert.deepEqual([seqs(room), room.to, room.gaps], [[1, 2, 3, 5], 5, []]);
});

test("what is lost is shown as missing, and where it was", () => {
  const room = loadedRoom(1, 3);
  room.applyLost({ from: 4, to: 7 });
  room.applyEntry(entry(8));
  assert.deepEqual([seqs(room), room.gaps], [[1, 2, 3, 8], [{ from: 4, to: 7 }]]);
});

test("an earlier page's place is gone on from, and what it has shown can be loaded", () => {
  const room = new Room("lobby", { users: new Set() });
  room.applyPosition({ epoch: "e1", seq: 40 });
  room.applyJoined({ epoch: "e1", fresh: false, head: 42, hasMoreBefore: false });
  for (const event of entries(41, 42)) room.applyEntry(event);
  assert.deepEqual([seqs(room), room.from, room.canLoadOlder], [[41, 42], 41, true]);
  room.applyBefore(page(entries(1, 40)));
  assert.deepEqual(seqs(room), range(1, 42));
});

test("joining again goes on, another log starts over and says so", () => {
  const room = loadedRoom(1, 20);
  const { generation } = room;
  room.applyJoined({ epoch: "e1", fresh: false, head: 20, hasMoreBefore: false });
  assert.deepEqual([seqs(room), room.generation], [range(1, 20), generation]);
  room.read = 0;
  room.markRead();
  room.applyReset();
  assert.deepEqual([seqs(room), room.replaced], [[], true]);
  join(room, 1, 3, { epoch: "e2" });
  assert.deepEqual([seqs(room), room.unread, room.gaps], [[1, 2, 3], 3, []]);
  assert.ok(room.generation > generation);
});

test("a room is bounded, less so while it is read", () => {
  const room = loadedRoom(1, 50);
  for (const event of entries(51, KEEP_ACTIVE + 500)) room.applyEntry(event);
  assert.equal(room.messages.length, KEEP_ACTIVE);
  assert.deepEqual([room.from, room.canLoadOlder], [501, false]);
  room.setKeep(KEEP_BACKGROUND);
  assert.deepEqual([room.messages.length, room.canLoadOlder], [KEEP_BACKGROUND, true]);
});

test("a log of holes is bounded as well, and nothing is shown without its holes", () => {
  const room = loadedRoom(1, 1);
  for (let seq = 3; seq < 1000; seq += 2) {
    room.applyLost({ from: seq - 1, to: seq - 1 });
    room.applyEntry(entry(seq));
  }
  assert.equal(room.gaps.length, GAPS_MAX);
  assert.equal(room.from, room.gaps[0].from - 1);
  assert.equal(room.messages[0].seq, room.from);
  assert.equal(room.moreBefore, true);
});

test("unread counts what others wrote after the read position, loaded or not", () => {
  const room = loadedRoom(1, 10);
  assert.equal(room.unread, 0, "what was read is not known yet");
  room.read = 10;
  room.applyEntry(entry(11));
  room.applyEntry(entry(12, { user: "guest-1" }));
  room.applyEntry(entry(13));
  assert.equal(room.unread, 2);
  room.markRead();
  room.setKeep(KEEP_BACKGROUND);
  for (const event of entries(14, 413)) room.applyEntry(event);
  assert.equal(room.unread, 400);
});

function stateWithRoom() {
  const state = new ChatState();
  state.applyWelcome(WELCOME);
  const room = join(state.add("lobby"), 1, 3);
  return { state, room };
}

function pend(state, key, now = 0) {
  return state.addPending({ room: "lobby", content: key, key, now });
}

test("a send is gone when it is seen, before or after the ack", () => {
  const { state, room } = stateWithRoom();
  pend(state, "a");
  room.applyEntry(entry(4, { user: "guest-1", key: "a" }));
  state.settlePending("lobby");
  assert.deepEqual(state.pending, []);
  const second = pend(state, "b");
  state.ackPending(second, 5);
  assert.deepEqual(state.pending.map(({ status }) => status), ["acked"]);
  room.applyEntry(entry(5, { user: "guest-1", key: "b" }));
  state.settlePending("lobby");
  assert.deepEqual(state.pending, []);
});

test("a send that was acked and never seen is not claimed to be there", () => {
  const { state } = stateWithRoom();
  state.ackPending(pend(state, "a"), 9);
  pend(state, "b");
  state.failAcked("lobby", { code: "log_replaced" });
  assert.deepEqual(state.pending.map(({ status }) => status), ["failed", "queued"]);
});

test("a key settles nothing when somebody else uses it", () => {
  const { state, room } = stateWithRoom();
  pend(state, "a");
  room.applyEntry(entry(4, { user: "guest-666", key: "a" }));
  state.settlePending("lobby");
  assert.equal(state.pending.length, 1);
});

test("our user ids of earlier sessions stay ours, as many as there is place for", () => {
  const { state, room } = stateWithRoom();
  state.applyWelcome({ ...WELCOME, user: "guest-2" });
  room.applyEntry(entry(4, { user: "guest-1", key: "a" }));
  room.applyEntry(entry(5, { user: "guest-2", key: "a" }));
  assert.deepEqual(seqs(room), [1, 2, 3, 4], "the same send under a new id is not shown twice");
  for (let n = 0; n < 99; n += 1) state.applyWelcome({ ...WELCOME, user: `u${n}` });
  assert.equal(state.self.users.size, OWN_MAX);
  assert.ok(state.self.users.has("u98") && !state.self.users.has("guest-1"));
});

test("pending sends are bounded and can be retried, as new ones", () => {
  const { state } = stateWithRoom();
  for (let i = 0; i < PENDING_MAX; i += 1) assert.ok(pend(state, `key ${i}`));
  assert.equal(pend(state, "one too many"), null);
  const [send] = state.pending;
  state.failPending(send, { code: "expired" });
  assert.equal(state.unsettled.length, PENDING_MAX - 1);
  state.retryPending(send, { key: "new", now: 5 });
  assert.deepEqual([send.key, send.status, send.created, send.error], ["new", "queued", 5, null]);
  assert.equal(state.pending.at(-1), send, "it goes out after what was written since");
});

test("a room takes the server's spelling and keeps its place", () => {
  const state = new ChatState();
  const typed = state.add("Lobby");
  state.add("rust");
  state.activate("Lobby");
  state.addPending({ room: "Lobby", content: "a", key: "a", now: 0 });
  state.rename(typed, "lobby");
  assert.deepEqual([...state.rooms.keys()], ["lobby", "rust"]);
  assert.deepEqual([state.active, state.pending[0].room], ["lobby", "lobby"]);
  assert.equal(state.add("LOBBY"), typed);
  assert.ok(state.rosterOf("lobby"));
});

test("the roster groups sessions by user and believes the count", () => {
  const roster = new Roster();
  const ada = { user: "u1", username: "Ada" };
  roster.replace({ count: 300, members: [ada, ada, { user: "u2", username: "Bo" }] });
  assert.deepEqual([roster.count, roster.users.size], [300, 2]);
  roster.leave(ada);
  assert.equal(roster.users.has("u1"), true);
  roster.leave(ada);
  assert.equal(roster.users.has("u1"), false);
  roster.leave({ user: "unseen" });
  roster.join({ user: "u3", username: "Chi" });
  assert.deepEqual([roster.count, [...roster.users.keys()]], [298, ["u2", "u3"]]);
});

test("typing expires after six seconds and ends with leaving", () => {
  const roster = new Roster();
  roster.setTyping({ user: "u1", username: "Ada", active: true }, 0);
  roster.setTyping({ user: "u2", username: "Bo", active: true }, 1000);
  assert.deepEqual(roster.typingNow(5999), { names: ["Ada", "Bo"], next: 6000 });
  assert.deepEqual(roster.typingNow(6000), { names: ["Bo"], next: 7000 });
  roster.leave({ user: "u2" });
  assert.deepEqual(roster.typingNow(6001), { names: [], next: null });
});

test("names that look alike are found, our own ids are one person", () => {
  const roster = new Roster();
  const self = { users: new Set(["guest-1", "guest-2"]) };
  roster.replace({ members: [{ user: "u1", username: "Аdа" }, { user: "u2", username: "Ａda" },
    { user: "u3", username: "Bo" }, { user: "guest-1", username: "Grace" }] });
  const messages = [entry(1, { user: "guest-2", username: "Grace" })];
  assert.deepEqual([...sharedLooks(roster, messages, self)], ["ada"]);
});

test("a roster lists only so many by name", () => {
  const roster = new Roster();
  for (let n = 0; n < USERS_MAX + 50; n += 1) {
    roster.join({ user: `u${n}`, username: "U" });
    roster.setTyping({ user: `u${n}`, username: "U", active: true }, 0);
  }
  assert.deepEqual([roster.count, roster.users.size], [USERS_MAX + 50, USERS_MAX]);
  assert.ok(roster.typing.size <= 100);
});
