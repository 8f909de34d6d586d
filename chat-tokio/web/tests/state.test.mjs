import assert from "node:assert/strict";
import { test } from "node:test";
import { KEEP_ACTIVE, KEEP_BACKGROUND, Room } from "../room.js";
import { Roster, sharedLooks } from "../roster.js";
import { ChatState, PENDING_AGE_MAX_MS, PENDING_MAX } from "../state.js";
import { entries, entry, WELCOME } from "./fakes.mjs";

function joined(from, to, more = {}) {
  return { type: "joined", room: "lobby", epoch: "e1", head: to, events: entries(from, to),
    has_more_before: from > 1, ...more };
}

function loadedRoom(from, to, keep = KEEP_ACTIVE) {
  const room = new Room("lobby", { users: new Set(["guest-1"]) });
  room.keep = keep;
  room.applyJoined(joined(from, to));
  return room;
}

const seqs = (room) => room.messages.map(({ seq }) => seq);
const range = (from, to) => entries(from, to).map(({ seq }) => seq);

test("live entries are placed once, in the order of seq", () => {
  const room = loadedRoom(1, 3);
  assert.equal(room.applyLive(entry(4)), true);
  assert.equal(room.applyLive(entry(4)), false);
  assert.equal(room.applyLive(entry(2)), false);
  assert.deepEqual(seqs(room), [1, 2, 3, 4]);
  assert.equal(room.behind, false);
});

test("an entry behind a hole waits until the hole is filled", () => {
  const room = loadedRoom(1, 3);
  room.applyLive(entry(7));
  room.applyLive(entry(6));
  room.applyLive(entry(7));
  assert.deepEqual(seqs(room), [1, 2, 3]);
  assert.equal(room.behind, true);
  room.applyAfter({ events: entries(4, 5), has_more_after: true }, room.goal);
  assert.deepEqual(seqs(room), range(1, 7));
  assert.equal(room.behind, false);
});

test("pages in any overlap never double an entry", () => {
  const room = loadedRoom(50, 60);
  room.applyAfter({ events: entries(55, 70), has_more_after: false }, 70);
  room.applyBefore({ events: entries(30, 55), has_more_before: true });
  assert.deepEqual(seqs(room), range(30, 70));
  assert.equal(room.from, 30);
  room.applyBefore({ events: entries(1, 29), has_more_before: false });
  assert.deepEqual(seqs(room), range(1, 70));
  assert.equal(room.canLoadOlder, false);
});

test("any order and repetition of live entries ends in the same log", () => {
  let seed = 7;
  const random = () => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed / 2147483648;
  };
  for (let round = 0; round < 50; round += 1) {
    const room = loadedRoom(1, 5);
    const arriving = [...entries(6, 40), ...entries(6, 40)].sort(() => random() - 0.5);
    for (const event of arriving) room.applyLive(event);
    assert.deepEqual(seqs(room), range(1, 40));
  }
});

test("entries that are no messages are covered without being shown", () => {
  const room = loadedRoom(1, 3);
  room.applyLive({ type: "react", room: "lobby", seq: 4, target: 2 });
  room.applyLive(entry(5));
  assert.deepEqual(seqs(room), [1, 2, 3, 5]);
  assert.equal(room.behind, false);
});

test("a folded page that ends early still closes the hole", () => {
  const room = loadedRoom(1, 3);
  room.expect(9);
  room.applyAfter({ events: entries(4, 7), has_more_after: false }, 9);
  assert.equal(room.behind, false);
  assert.equal(room.applyLive(entry(10)), true);
});

test("joining again continues where it fits", () => {
  const room = loadedRoom(1, 20);
  room.applyJoined(joined(11, 30));
  assert.deepEqual(seqs(room), range(1, 30));
});

test("joining again with a hole keeps both sides and knows of the hole", () => {
  const room = loadedRoom(1, 20);
  room.applyJoined(joined(51, 100));
  assert.deepEqual(seqs(room), range(1, 20));
  assert.equal(room.behind, true);
  room.applyAfter({ events: entries(21, 50), has_more_after: true }, room.goal);
  assert.deepEqual(seqs(room), range(1, 100));
});

test("another epoch, a shorter log or too long an absence starts over", () => {
  for (const reply of [joined(1, 30, { epoch: "e2" }), joined(1, 10),
    joined(4951, 5000)]) {
    const room = loadedRoom(1, 20);
    const { generation } = room;
    room.applyJoined(reply);
    assert.deepEqual(seqs(room), reply.events.map(({ seq }) => seq));
    assert.equal(room.generation, generation + 1);
    assert.equal(room.behind, false);
  }
});

test("a hole that cannot be filled is marked and passed", () => {
  const room = loadedRoom(1, 3);
  room.applyLive(entry(8));
  room.skipHole();
  assert.deepEqual(seqs(room), [1, 2, 3, 8]);
  assert.deepEqual(room.gaps, [{ from: 4, to: 7 }]);
  assert.equal(room.behind, false);
});

test("a room is bounded, less so while it is read", () => {
  const room = loadedRoom(1, 50);
  for (const event of entries(51, KEEP_ACTIVE + 500)) room.applyLive(event);
  assert.equal(room.messages.length, KEEP_ACTIVE);
  assert.equal(room.from, 501);
  assert.equal(room.canLoadOlder, false);
  room.setKeep(KEEP_BACKGROUND);
  assert.equal(room.messages.length, KEEP_BACKGROUND);
  assert.equal(room.canLoadOlder, true);
});

test("unread counts what others wrote after the read position, loaded or not", () => {
  const room = loadedRoom(1, 10);
  room.markRead();
  assert.equal(room.unread, 0);
  room.applyLive(entry(11));
  room.applyLive(entry(12, { user: "guest-1" }));
  room.applyLive(entry(13));
  assert.equal(room.unread, 2);
  room.markRead();
  room.setKeep(KEEP_BACKGROUND);
  for (const event of entries(14, 413)) room.applyLive(event);
  assert.equal(room.unread, 400);
});

function stateWithRoom() {
  const state = new ChatState();
  state.applyWelcome(WELCOME);
  const room = state.add("lobby");
  room.applyJoined(joined(1, 3));
  return { state, room };
}

function pend(state, key, now = 0) {
  return state.addPending({ room: "lobby", content: key, key, now });
}

test("a send is settled by its event, before or after the ack", () => {
  const { state, room } = stateWithRoom();
  const first = pend(state, "a");
  room.applyLive(entry(4, { user: "guest-1", key: "a" }));
  state.settlePending("lobby");
  assert.equal(state.hasPending(first), false);
  const second = pend(state, "b");
  state.ackPending(second, { seq: 5 });
  assert.equal(state.hasPending(second), true);
  assert.equal(room.behind, true);
  room.applyLive(entry(5, { user: "guest-1", key: "b" }));
  state.settlePending("lobby");
  assert.deepEqual(state.pending, []);
});

test("a key settles nothing when somebody else uses it", () => {
  const { state, room } = stateWithRoom();
  const send = pend(state, "a");
  room.applyLive(entry(4, { user: "guest-666", key: "a" }));
  state.settlePending("lobby");
  assert.equal(state.hasPending(send), true);
});

test("our user ids of earlier sessions stay ours", () => {
  const { state, room } = stateWithRoom();
  const send = pend(state, "a");
  state.applyWelcome({ ...WELCOME, user: "guest-2" });
  room.applyLive(entry(4, { user: "guest-1", key: "a" }));
  state.settlePending("lobby");
  assert.equal(state.hasPending(send), false);
  room.applyLive(entry(5, { user: "guest-2", key: "a" }));
  assert.deepEqual(seqs(room), [1, 2, 3, 4], "the same send under a new id is not shown twice");
  assert.equal(room.unread, 3);
});

test("pending sends are bounded, age and can be retried", () => {
  const { state } = stateWithRoom();
  for (let i = 0; i < PENDING_MAX; i += 1) assert.ok(pend(state, `key ${i}`));
  assert.equal(pend(state, "one too many"), null);
  const send = state.nextToSend("lobby");
  assert.equal(send.key, "key 0");
  assert.equal(state.isTooOld(send, PENDING_AGE_MAX_MS), false);
  assert.equal(state.isTooOld(send, PENDING_AGE_MAX_MS + 1), true);
  state.failPending(send, "too_old", "old");
  assert.equal(state.nextToSend("lobby").key, "key 1");
  state.retryPending(send, { key: "new", now: 5 });
  assert.deepEqual([send.key, send.status, send.created], ["key 0", "queued", 5]);
  state.failPending(send, "idempotency_conflict", "conflict");
  state.retryPending(send, { key: "new", now: 6 });
  assert.equal(send.key, "new");
});

test("a room takes the server's spelling, and meets the one that already has it", () => {
  const state = new ChatState();
  const typed = state.add("Lobby");
  state.add("rust");
  state.activate("Lobby");
  pend(state, "a");
  state.pending[0].room = "Lobby";
  assert.equal(state.rename(typed, "lobby"), typed);
  assert.deepEqual([...state.rooms.keys()], ["lobby", "rust"]);
  assert.deepEqual([state.active, state.pending[0].room], ["lobby", "lobby"]);
  assert.equal(state.add("LOBBY"), typed);
  const twin = new Room("Löbby", state.self);
  state.rooms.set("Löbby", twin);
  assert.equal(state.rename(twin, "lobby"), typed);
  assert.deepEqual([...state.rooms.keys()], ["lobby", "rust"]);
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
