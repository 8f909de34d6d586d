// What the shared scenarios do not ask of the Client.

import assert from "node:assert/strict";
import { test } from "node:test";
import { DEFAULT_CONFIG, DEFAULT_TIMES as TIMES } from "../client/config.js";
import { GapRepair } from "../client/gap.js";
import { LogPosition } from "../client/position.js";
import { Alarms } from "../client/timers.js";
import { entry, entries } from "./fakes.mjs";
import { Machine, message, messages, WELCOME } from "./machine.mjs";

const DAY = 86_400_000;

test("each connection of a session is counted, over pages too", () => {
  const machine = new Machine().inLobby(2);
  assert.equal(machine.request("hello").resume, undefined);
  for (const attempt of [2, 3]) {
    machine.do({ type: "closed", code: null }).pass(1000).do({ type: "opened" });
    assert.deepEqual(machine.request("hello").resume,
      { session: "s1", attempt, rooms: { lobby: { epoch: "e1", seq: 2 } } });
  }
  const later = new Machine({ resume: machine.client.resume() });
  later.do({ type: "start" }).do({ type: "opened" });
  assert.equal(later.request("hello").resume.attempt, 4);
});

test("a later page is in the rooms of the one before, at its places", () => {
  const before = new Machine().inLobby(7);
  const machine = new Machine({ resume: before.client.resume() });
  machine.online({ resumed: true, rooms: { lobby: { recovered: true, epoch: "e1", head: 9 } } });
  assert.equal(machine.request("join"), undefined);
  assert.deepEqual(machine.take("joined").map(({ fresh, head }) => [fresh, head]), [[false, 9]]);
  for (const seq of [8, 9]) machine.server(message(seq));
  assert.deepEqual(machine.take("entry").map((what) => what.entry.seq), [8, 9]);
});

test("what an earlier page has left may be anything", () => {
  for (const resume of [7, "s", [], { session: 7 }, { session: "a b" }, { session: "" }]) {
    const machine = new Machine({ resume });
    machine.do({ type: "start" }).do({ type: "opened" });
    assert.equal(machine.request("hello").resume, undefined, JSON.stringify(resume));
  }
  const rooms = { lobby: { epoch: "e", seq: 1 }, "@": { epoch: "e", seq: 1 }, a: null, b: 7,
    c: { epoch: "", seq: 1 }, d: { epoch: "e", seq: -1 }, e: { epoch: "e", seq: 1.5 } };
  const machine = new Machine({ resume: { session: "s", attempt: "x", rooms }, users: [7, "u_x"] });
  machine.do({ type: "start" }).do({ type: "opened" });
  assert.deepEqual(machine.request("hello").resume,
    { session: "s", attempt: 1, rooms: { lobby: { epoch: "e", seq: 1 } } });
  assert.deepEqual(machine.client.users, ["u_x"]);
});

test("a hello names as many rooms as fit, and the others are joined", () => {
  const rooms = {};
  for (let n = 0; n < 600; n += 1) rooms[`a "room" ${n}`] = { epoch: "e1", seq: 7 };
  const machine = new Machine({ resume: { session: "s", attempt: 0, rooms } });
  machine.do({ type: "start" }).do({ type: "opened" });
  const hello = machine.request("hello");
  const { length } = JSON.stringify(hello);
  assert.ok(length <= 16_384 && length > 15_000, `${length} bytes`);
  assert.ok(Object.keys(hello.resume.rooms).length > 200);
  // A server that takes even less says so once.
  machine.do({ type: "closed", code: 1009 }).pass(30_000).do({ type: "opened" });
  assert.deepEqual(machine.request("hello").resume.rooms, {});
});

test("an entry of somebody else with our key is not ours", () => {
  const machine = new Machine().inLobby().send(1);
  machine.server(message(1, { key: "k1", user: "u_bob" }));
  assert.deepEqual(machine.outcomes(), []);
  machine.server(message(2, { key: "k1", user: "u_ada" }));
  assert.deepEqual(machine.outcomes(), [[1, "acked"]]);
});

test("a send of an earlier page keeps its key, its age and its doubt", () => {
  const machine = new Machine().inLobby();
  const born = machine.now.wall - DAY + 1000;
  machine.send(1, "old", { born, sentAs: "u_old" }).send(2, "too old", { born: born - 1000 });
  assert.deepEqual(machine.outcomes(), [[2, "expired"]]);
  assert.equal(machine.request("message").key, "k1");
  machine.pass(999);
  assert.deepEqual(machine.outcomes(), []);
  machine.pass(1);
  assert.deepEqual(machine.outcomes(), [[1, "expired"]]);
  // One that may be in the log is not told as refused.
  machine.send(3, "x".repeat(9000), { sentAs: "u_old" }).send(4, "x".repeat(9000));
  assert.deepEqual(machine.outcomes(), [[3, "unknown"], [4, "refused"]]);
});

test("a send of another user waits until its room is known, and is found there", () => {
  const resume = { session: "gone", attempt: 3, rooms: { lobby: { epoch: "e1", seq: 2 } } };
  const machine = new Machine({ resume, users: ["u_old"] });
  machine.send(1, "hi", { born: machine.now.wall - 5000, sentAs: "u_old" });
  machine.online({ rooms: { lobby: { recovered: false, reason: "not_member" } } });
  machine.joined({ from: 4, to: 4 });
  assert.equal(machine.request("message"), undefined, "not before what is missing is known");
  const page = [message(3, { user: "u_old", key: "k1", content: "hi" })];
  machine.server({ type: "page", id: machine.request("history").id, room: "lobby", epoch: "e1",
    events: page, has_more_before: true, has_more_after: true });
  assert.deepEqual(machine.outcomes(), [[1, "acked"]]);
  assert.equal(machine.request("message"), undefined);
});

test("a send expires by the monotonic clock, whatever the wall clock does", () => {
  for (const clock of ["mono", "wall"]) {
    const machine = new Machine().inLobby().do({ type: "closed", code: null }).send(1);
    machine.now = { ...machine.now, [clock]: machine.now[clock] + DAY };
    machine.do({ type: "wake" });
    assert.deepEqual(machine.outcomes(), clock === "mono" ? [[1, "expired"]] : [], clock);
  }
});

test("a send that is refused for a while is told of, and sent again in time", () => {
  const machine = new Machine().inLobby().send(1).send(2);
  machine.server({ type: "error", id: machine.request("message").id, code: "rate_limited",
    message: "", retryable: true, retry_after_ms: 1200 });
  const [told] = machine.take("delayed");
  assert.deepEqual([told.ticket, told.error.code, told.until],
    [1, "rate_limited", machine.now.mono + 1200]);
  machine.pass(1199);
  const keys = () => machine.sent.filter(({ type }) => type === "message").map(({ key }) => key);
  assert.deepEqual(keys(), ["k1"]);
  machine.pass(1);
  assert.deepEqual(keys(), ["k1", "k1"]);
});

test("many requests one after the other leave nothing behind", () => {
  const machine = new Machine().inLobby();
  for (let n = 1; n < 200; n += 1) {
    machine.send(n);
    const { id } = machine.request("message");
    machine.server({ type: "ack", id, room: "lobby", seq: n, ts: 1 });
    machine.server(message(n, { user: "u_ada", key: `k${n}` }));
  }
  assert.equal(machine.outcomes().length, 199);
  assert.deepEqual(machine.client.stats(), { rooms: 1, outboxEntries: 0, outboxBytes: 0, asks: 0,
    requests: 0, buffered: 0, timers: 1 });
});

test("everything has a limit", () => {
  const machine = new Machine({ outboxEntries: 3, outboxBytes: 10, rooms: 2, asks: 2 }).inLobby();
  machine.do({ type: "closed", code: null });
  for (let ticket = 1; ticket <= 4; ticket += 1) machine.send(ticket, "ä");
  assert.deepEqual(machine.outcomes(), [[4, "full"]]);
  const bytes = new Machine({ outboxBytes: 10 }).inLobby().send(1, "äääää").send(2, "x");
  assert.deepEqual(bytes.outcomes(), [[2, "full"]]);
  machine.do({ type: "join", room: "two" }).do({ type: "join", room: "three" });
  assert.deepEqual(machine.take("left").map(({ room, why }) => [room, why]),
    [["three", "too_many"]]);
  for (let ticket = 11; ticket <= 13; ticket += 1) {
    machine.do({ type: "ask", ticket, ask: { type: "rooms" } });
  }
  assert.deepEqual(machine.outcomes(), [[13, "full"]]);
  for (const [name, value] of Object.entries(DEFAULT_CONFIG)) {
    if (typeof value === "number") assert.ok(value > 0 && Number.isFinite(value), name);
  }
});

test("questions wait for their room, are asked again and given up", () => {
  const machine = new Machine().online();
  machine.do({ type: "ask", ticket: 1, ask: { type: "history", room: "lobby", before: 9 } });
  assert.equal(machine.request("history").before, 9, "one about any room is asked");
  machine.do({ type: "join", room: "den" });
  machine.do({ type: "ask", ticket: 2, ask: { type: "members", room: "den" } });
  assert.equal(machine.request("members"), undefined);
  machine.joined({ room: "den" });
  machine.server({ type: "members", id: machine.request("members").id, room: "den", count: 0,
    members: [] });
  assert.deepEqual(machine.outcomes(), [[2, "members"]]);
  machine.do({ type: "closed", code: null }).pass(500).online();
  assert.equal(machine.sent.filter(({ type }) => type === "history").length, 2);
  machine.pass(30_000);
  assert.deepEqual(machine.outcomes(), [[1, "expired"]]);
});

test("typing is told when it is news, and never later", () => {
  const machine = new Machine().inLobby();
  const told = () => machine.sent.filter(({ type }) => type === "typing").length;
  const type = (active) => machine.do({ type: "typing", room: "lobby", active });
  type(true);
  type(true);
  assert.equal(told(), 1);
  machine.pass(TIMES.typingMs);
  type(true);
  type(false);
  type(false);
  assert.equal(told(), 3);
  machine.do({ type: "closed", code: null });
  type(true);
  machine.pass(500).online();
  assert.equal(told(), 3);
});

test("stopping settles every ticket and forgets everything", () => {
  const machine = new Machine().inLobby(3).send(1).send(2);
  machine.do({ type: "ask", ticket: 3, ask: { type: "rooms" } }).do({ type: "stop" });
  assert.deepEqual(machine.outcomes(), [[3, "stopped"], [1, "stopped"], [2, "stopped"]]);
  assert.equal(machine.closes.at(-1), 1000);
  assert.equal(machine.client.resume(), null);
  assert.deepEqual(machine.client.stats(), { rooms: 0, outboxEntries: 0, outboxBytes: 0, asks: 0,
    requests: 0, buffered: 0, timers: 0 });
});

const BOUNDS = { entries: 3, bytes: 100_000 };

function accepted(position, seqs, bounds = BOUNDS) {
  const ready = [];
  for (const seq of seqs) position.accept(entry(seq), bounds, ready);
  return numbers(ready);
}

const numbers = (ready) => ready.map(({ entry: e, lost }) => e?.seq ?? [lost.from, lost.to]);

test("a position delivers entries once and in order, and its buffer is bounded", () => {
  const position = new LogPosition({ epoch: "e", seq: 2 });
  assert.deepEqual(accepted(position, [2, 4, 5, 4]), []);
  assert.deepEqual([position.isBehind(), position.buffered], [true, 2]);
  assert.deepEqual(accepted(position, [3, 5, 3]), [3, 4, 5]);
  assert.deepEqual([position.isBehind(), position.buffered, position.bufferedBytes], [false, 0, 0]);
  const full = new LogPosition({ epoch: "e", seq: 0 });
  assert.deepEqual(accepted(full, [9, 8, 7, 3, 2]), []);
  assert.equal(full.buffered, 3);
  assert.deepEqual(accepted(full, [1]), [1, 2, 3]);
  assert.equal(full.isBehind(), true);
  assert.deepEqual(accepted(full, [6], { entries: 9, bytes: 1 }), []);
  assert.deepEqual([full.buffered, full.bufferedBytes], [0, 0]);
});

test("a skip delivers buffered entries, and the largest seq ends the log", () => {
  const position = new LogPosition({ epoch: "e", seq: 0 });
  const ready = [];
  accepted(position, [3, 6]);
  position.skip(4, ready);
  position.skip(2, ready);
  position.skip(7, ready);
  assert.deepEqual(numbers(ready), [[1, 2], 3, [4, 4], [5, 5], 6, [7, 7]]);
  assert.equal(position.isBehind(), false);
  const last = new LogPosition({ epoch: "e", seq: Number.MAX_SAFE_INTEGER - 1 });
  assert.equal(accepted(last, [Number.MAX_SAFE_INTEGER]).length, 1);
  assert.deepEqual(accepted(last, [Number.MAX_SAFE_INTEGER]), []);
  last.skip(Number.MAX_SAFE_INTEGER, ready);
});

test("fruitless pages lead to one reconnect and then to a back-off without end", () => {
  const gap = new GapRepair();
  const remedies = [];
  const delays = [];
  let now = 0;
  for (let n = 0; n < 14; n += 1) {
    gap.missing(now, TIMES, false, "passed_over");
    delays.push(gap.due() - now);
    now = gap.due();
    remedies.push(gap.fruitless(now, TIMES, 0.5));
    if (remedies.at(-1) === "reconnect") gap.interrupt();
  }
  assert.deepEqual(remedies.map((remedy) => remedy === "reconnect").indexOf(true), 3);
  assert.equal(remedies.filter((remedy) => remedy === "reconnect").length, 1);
  assert.deepEqual(delays, [0, 250, 500, 1000, 0, 250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000,
    15_000]);
  assert.equal(gap.isUnconfirmed(), true);
});

test("messages of one account are never sent as another", () => {
  const resumed = { rooms: { lobby: { recovered: true, epoch: "e1", head: 0 } } };
  for (const token of ["t1", null]) {
    const machine = new Machine({ token }).inLobby().send(1);
    machine.do({ type: "closed", code: null }).pass(30_000);
    machine.online({ ...resumed, user: "u_eve" });
    assert.deepEqual(machine.outcomes(), token === null ? [] : [[1, "unknown"]]);
  }
});

test("timers fire in the order of their times, each rule once", () => {
  const alarms = new Alarms();
  alarms.set(9, "room", "b");
  alarms.set(5, "request", 10);
  alarms.set(5, "request", 9);
  alarms.set(5, "phase");
  alarms.set(7, "room", "b");
  assert.deepEqual([alarms.size, alarms.next(), alarms.popDue(4)], [4, 5, null]);
  const order = [];
  for (let due = alarms.popDue(9); due !== null; due = alarms.popDue(9)) {
    order.push(`${due.kind} ${due.what}`);
  }
  assert.deepEqual(order, ["phase ", "request 9", "request 10", "room b"]);
  assert.equal(alarms.next(), null);
});

/** A generator of events, sound ones and others. */
class Noise {
  constructor(seed) {
    this.seed = seed;
  }

  below(n) {
    this.seed = (Math.imul(this.seed, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((this.seed / 2 ** 32) * n);
  }

  of(values) {
    return values[this.below(values.length)];
  }

  /** What brings a connection forward, or null: noise alone would hardly ever be let in. */
  sound(machine) {
    const last = machine.sent.findLast(({ id }) => id !== undefined);
    const { name } = machine.client.connection.phase;
    const link = machine.link;
    if (name === "idle") return { type: "start" };
    if (name === "opening") return { type: "opened", link };
    if (name !== "greeting" && name !== "online") return null;
    const wanted = { hello: "welcome", join: "joined", history: "page", message: "ack",
      leave: "left" }[last?.type];
    for (let tries = 0; tries < 40; tries += 1) {
      const frame = this.frame(machine);
      if (frame.type !== wanted) continue;
      return { type: "received", link, frame: { ...frame, id: last.id,
        room: last.room ?? frame.room } };
    }
    return null;
  }

  event(machine) {
    if (this.below(2) === 0) return this.sound(machine) ?? { type: "wake" };
    const room = this.of(["lobby", "Lobby", "den", "@", "", null, 7, undefined]);
    const link = this.of([machine.link, machine.link, machine.link, 0, 99, null, "x"]);
    const odd = () => this.of([undefined, null, -1, "x", 1.5, NaN, {}, []]);
    switch (this.below(14)) {
      case 0: return { type: this.of(["start", "start", "stop", "wake", "wake"]) };
      case 1: return { type: "opened", link };
      case 2: return { type: "closed", link, code: this.of([null, 1006, 4200, 4300, odd()]) };
      case 3: return { type: this.of(["join", "leave"]), room };
      case 4: return { type: "send", ticket: ++machine.tickets, room, key: `k${machine.tickets}`,
        content: this.of(["a", "", "ä".repeat(5000), odd()]), born: odd(), sentAs: odd() };
      case 5: return { type: "ask", ticket: ++machine.tickets,
        ask: this.of([{ type: "rooms" }, { type: "history", room }, { type: "x" }, odd()]) };
      case 6: return this.of([null, undefined, 7, "start", {}, { type: "x" }, { type: odd() }]);
      case 7: return { type: this.of(["malformed", "alive"]), link };
      default: return { type: "received", link, frame: this.frame(machine) };
    }
  }

  frame(machine) {
    const id = this.of([machine.sent.at(-1)?.id ?? null, String(this.below(9)), null, "x"]);
    const room = this.of(["lobby", "lobby", "den"]);
    const [seq, other] = [this.below(30), this.below(30)];
    const epoch = this.of(["e1", "e1", "e2"]);
    const more = { has_more_before: this.below(2) === 0, has_more_after: this.below(2) === 0 };
    const view = { count: 1, members: [] };
    return this.of([
      { ...message(seq + 1), room, reply_to: null, key: this.of([null, "k1"]) },
      { ...WELCOME, id, limits: { ...machine.client.session.limits, in_flight: 1 },
        rooms: { lobby: this.of([{ recovered: true, epoch, head: seq },
          { recovered: false, reason: "epoch_changed" }]) } },
      { type: "joined", id, room, epoch, head: seq, members: view,
        events: messages(other, seq).map((e) => ({ ...e, room, key: null })), ...more },
      { type: "page", id, room, epoch, events: entries(other + 1, seq), ...more },
      { type: "ack", id, room, seq: seq + 1, ts: 1, duplicate: false },
      { type: "left", id, room },
      { type: "error", id, code: this.of(["rate_limited", "not_member", "unauthorized", "unknown"]),
        message: "", retryable: this.below(2) === 0, retry_after_ms: this.of([null, 5]),
        room: null },
      { type: "gap", room, from: other, to: seq }, { type: "hole", room, from: other, to: seq },
      { type: "ping", heads: { [room]: { epoch, seq } } },
      { type: "bye", code: "x", reconnect: this.below(3) > 0, after_ms: 5 },
      { type: "unknown" }, { type: "members", id, room, ...view },
    ]);
  }
}

test("any events: nothing throws, entries are contiguous, tickets settled once", () => {
  const seen = {};
  for (let seed = 1; seed <= 200; seed += 1) {
    const noise = new Noise(seed);
    const machine = new Machine({ times: { requestMs: 3000 } });
    machine.tickets = 0;
    const cursors = new Map();
    const settled = new Set();
    for (let step = 0; step < 150; step += 1) {
      if (noise.below(4) === 0) machine.pass(noise.below(4000));
      else machine.do(noise.event(machine));
      for (const what of machine.told.splice(0)) {
        check(what, cursors, settled, `seed ${seed}`);
        seen[what.type] = (seen[what.type] ?? 0) + 1;
      }
      const { outboxEntries, requests } = machine.client.stats();
      assert.ok(requests <= 32 && outboxEntries <= 1000, `seed ${seed}`);
      const moves = ["idle", "stopped"].includes(machine.state)
        || machine.client.pollTimeout() !== null;
      assert.ok(moves, `seed ${seed}: stuck in ${machine.state}`);
    }
    machine.do({ type: "stop" });
    for (const what of machine.told.splice(0)) check(what, cursors, settled, `seed ${seed}`);
    assert.deepEqual(machine.client.stats().outboxEntries, 0);
  }
  for (const type of ["welcome", "joined", "entry", "lost", "reset", "settled", "left"]) {
    assert.ok(seen[type] >= 10, `${type} was seen ${seen[type]} times`);
  }
});

function check(what, cursors, settled, about) {
  const name = (what.room ?? what.entry?.room)?.toLowerCase();
  switch (what.type) {
    case "joined":
      if (what.fresh) cursors.set(name, null);
      return;
    case "left":
      return cursors.delete(name);
    case "entry":
    case "lost": {
      const [from, to] = what.entry ? [what.entry.seq, what.entry.seq] : [what.from, what.to];
      const cursor = cursors.get(name);
      assert.ok(cursor !== undefined, `${about}: ${name} was not joined`);
      assert.ok(cursor === null || from === cursor + 1, `${about}: ${from} after ${cursor}`);
      assert.ok(to >= from, about);
      return cursors.set(name, to);
    }
    case "settled":
      assert.ok(!settled.has(what.ticket), `${about}: ${what.ticket} is settled twice`);
      return settled.add(what.ticket);
    default:
  }
}
