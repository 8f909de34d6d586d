import assert from "node:assert/strict";
import { test } from "node:test";
import { Client } from "../client.js";
import { Connection } from "../connection.js";
import { ChatState } from "../state.js";
import { FakeClock, fakeNetwork, FakeServer } from "./fakes.mjs";

function setUp() {
  const clock = new FakeClock();
  const network = fakeNetwork();
  const server = new FakeServer(network);
  const state = new ChatState();
  const random = () => 0.5;
  const connection = new Connection({ url: "ws://host/ws", hello: () => ({ name: "Ada" }),
    WebSocket: network.WebSocket, clock, random });
  let keys = 0;
  const wall = { now: 1_000_000 };
  const client = new Client({ connection, state, clock, random, wall: () => wall.now,
    makeKey: () => `key-${++keys}` });
  return { clock, network, server, state, connection, client, wall };
}

async function inLobby(messages = 0) {
  const all = setUp();
  for (let i = 1; i <= messages; i += 1) all.server.say("lobby", `text ${i}`);
  all.connection.start();
  all.server.accept();
  all.client.open("Lobby");
  all.state.activate("Lobby");
  await all.clock.advance(0);
  return { ...all, room: all.state.room };
}

async function comeBack({ connection, server, clock }) {
  connection.retryNow();
  server.accept();
  await clock.advance(0);
}

const contents = (room) => room.messages.map(({ content }) => content);
const logOf = (server) => server.log("lobby").map(({ content }) => content);

test("a room opened before the connection is joined with it, under its real name", async () => {
  const { room, state } = await inLobby(3);
  assert.equal(room.name, "lobby");
  assert.equal(state.active, "lobby");
  assert.deepEqual(contents(room), ["text 1", "text 2", "text 3"]);
  assert.equal(state.rosterOf("lobby").count, 1);
});

test("after a cut nothing is lost and nothing doubled, however much was missed", async () => {
  for (const missed of [0, 1, 49, 50, 51, 100, 101, 700]) {
    const all = await inLobby(20);
    all.network.socket.cut();
    for (let i = 0; i < missed; i += 1) all.server.say("lobby", `missed ${i}`);
    await comeBack(all);
    all.server.say("lobby", "afterwards");
    await all.clock.advance(0);
    assert.deepEqual(contents(all.room), logOf(all.server), `missed ${missed}`);
  }
});

test("entries that arrive while catching up find their place", async () => {
  const all = await inLobby(20);
  all.network.socket.cut();
  for (let i = 0; i < 400; i += 1) all.server.say("lobby", `missed ${i}`);
  let pages = 0;
  all.server.faults = (frame) => {
    if (frame.type === "history") all.server.say("lobby", `meanwhile ${pages++}`);
    return false;
  };
  await comeBack(all);
  assert.ok(pages > 1);
  assert.deepEqual(contents(all.room), logOf(all.server));
});

test("being cut again and again while catching up loses nothing either", async () => {
  const all = await inLobby(20);
  all.network.socket.cut();
  for (let i = 0; i < 500; i += 1) all.server.say("lobby", `missed ${i}`);
  for (let cuts = 0; cuts < 4; cuts += 1) {
    let answers = 0;
    all.server.faults = (frame, socket) => {
      if (frame.type === "history" && ++answers === 2) socket.cut();
      return false;
    };
    await comeBack(all);
  }
  all.server.faults = null;
  await comeBack(all);
  assert.deepEqual(contents(all.room), logOf(all.server));
});

test("a hole among live entries and a gap frame are both filled from history", async () => {
  const all = await inLobby(5);
  all.network.socket.joined.clear();
  for (let i = 0; i < 10; i += 1) all.server.say("lobby", `undelivered ${i}`);
  all.network.socket.joined.add("lobby");
  all.server.say("lobby", "delivered");
  await all.clock.advance(0);
  assert.deepEqual(contents(all.room), logOf(all.server));
  all.network.socket.joined.clear();
  all.server.say("lobby", "shed");
  all.network.socket.deliver({ type: "gap", room: "lobby", from: 17, to: 17 });
  await all.clock.advance(0);
  assert.deepEqual(contents(all.room), logOf(all.server));
});

test("a hole that history refuses is passed and told", async () => {
  const all = await inLobby(5);
  all.server.faults = (frame, socket) => {
    if (frame.type !== "history") return false;
    socket.deliver({ type: "error", id: frame.id, code: "truncated", retryable: false });
    return true;
  };
  all.network.socket.deliver({ type: "gap", room: "lobby", from: 6, to: 9 });
  await all.clock.advance(0);
  assert.deepEqual(all.room.gaps, [{ from: 6, to: 9 }]);
  assert.equal(all.room.synced, true);
});

test("a history that answers with nothing, again and again, is not asked for ever", async () => {
  const all = await inLobby(5);
  let asked = 0;
  all.server.faults = (frame, socket) => {
    if (frame.type !== "history" || ++asked > 50) return false;
    socket.deliver({ type: "page", id: frame.id, epoch: "e1", events: [], has_more_after: true });
    return true;
  };
  all.network.socket.deliver({ type: "gap", room: "lobby", from: 6, to: 9 });
  await all.clock.advance(60_000);
  assert.equal(asked, 1);
  assert.equal(all.room.behind, false);
});

test("a new epoch starts the room over", async () => {
  const all = await inLobby(20);
  all.network.socket.cut();
  all.server.logs.clear();
  all.server.epoch = "e2";
  all.server.say("lobby", "a new beginning");
  await comeBack(all);
  assert.deepEqual(contents(all.room), ["a new beginning"]);
});

test("sends keep their order, also through retryable errors", async () => {
  const all = await inLobby();
  let refusals = 3;
  all.server.faults = (frame, socket) => {
    if (frame.type !== "message" || refusals-- <= 0) return false;
    socket.deliver({ type: "error", id: frame.id, code: "rate_limited", retryable: true,
      retry_after_ms: 1200 });
    return true;
  };
  for (const text of ["one", "two", "three"]) {
    assert.equal(all.client.sendMessage("lobby", text), null);
  }
  await all.clock.advance(1199);
  assert.deepEqual([refusals, logOf(all.server)], [2, []], "not before it was told to");
  await all.clock.advance(60_000);
  assert.deepEqual(logOf(all.server), ["one", "two", "three"]);
  assert.deepEqual(all.state.pending, []);
});

test("a send whose ack was lost is repeated with its key and shown once", async () => {
  for (const committed of [true, false]) {
    const all = await inLobby(3);
    all.server.faults = (frame, socket) => {
      if (frame.type !== "message") return false;
      const author = { user: socket.user, username: "Ada", key: frame.key };
      socket.joined.clear();
      if (committed) all.server.say("lobby", frame.content, author);
      socket.cut();
      return true;
    };
    all.client.sendMessage("lobby", "once");
    await all.clock.advance(0);
    assert.equal(all.state.pending.length, 1);
    // Writing on while the page catches up must not hurry the repeat.
    let more = 0;
    all.server.faults = (frame) => {
      if (frame.type === "history" && more++ === 0) all.client.sendMessage("lobby", "next");
      return false;
    };
    // More than the history of a join: what became of the send is only known after catching up.
    for (let i = 0; i < 180; i += 1) all.server.say("lobby", `missed ${i}`);
    await comeBack(all);
    assert.equal(logOf(all.server).filter((content) => content === "once").length, 1);
    assert.deepEqual(logOf(all.server).slice(-1), ["next"]);
    assert.equal(logOf(all.server).length, 185);
    assert.deepEqual(contents(all.room), logOf(all.server));
    assert.deepEqual(all.state.pending, []);
  }
});

test("an unknown outcome and silence are answered by the same key", async () => {
  for (const silent of [true, false]) {
    const all = await inLobby();
    const keys = [];
    all.server.faults = (frame, socket) => {
      if (frame.type !== "message") return false;
      keys.push(frame.key);
      if (keys.length > 1) return false;
      if (!silent) socket.deliver({ type: "error", id: frame.id, code: "unknown_outcome" });
      return true;
    };
    all.client.sendMessage("lobby", "hi");
    await all.clock.advance(20_000);
    assert.deepEqual(keys, ["key-1", "key-1"]);
    assert.deepEqual(logOf(all.server), ["hi"]);
  }
});

test("what is written offline waits, is bounded, and goes out in order", async () => {
  const all = await inLobby();
  all.network.socket.cut();
  const answers = Array.from({ length: 101 }, (_, i) => all.client.sendMessage("lobby", `o ${i}`));
  assert.deepEqual([answers.filter((a) => a === null).length, answers.at(-1)], [100, "queue_full"]);
  await comeBack(all);
  await all.clock.advance(1000);
  assert.deepEqual(logOf(all.server), Array.from({ length: 100 }, (_, i) => `o ${i}`));
  assert.deepEqual(contents(all.room), logOf(all.server));
});

test("a send that waited for more than a day fails visibly until its author retries", async () => {
  const all = await inLobby();
  all.network.socket.cut();
  all.client.sendMessage("lobby", "yesterday");
  all.wall.now += 24 * 60 * 60 * 1000 + 1;
  await comeBack(all);
  const [send] = all.state.pending;
  assert.deepEqual([send.status, send.error.code], ["failed", "too_old"]);
  assert.deepEqual(logOf(all.server), []);
  all.client.retry(send);
  await all.clock.advance(0);
  assert.deepEqual(logOf(all.server), ["yesterday"]);
});

test("a refused send fails at once and does not hold up the next", async () => {
  const all = await inLobby();
  all.server.faults = (frame, socket) => {
    if (frame.content !== "bad") return false;
    socket.deliver({ type: "error", id: frame.id, code: "too_large", message: "no" });
    return true;
  };
  all.client.sendMessage("lobby", "bad");
  all.client.sendMessage("lobby", "good");
  await all.clock.advance(0);
  assert.deepEqual(logOf(all.server), ["good"]);
  assert.deepEqual(all.state.pending.map(({ status }) => status), ["failed"]);
  assert.equal(all.client.sendMessage("lobby", "x".repeat(8193)), "too_large");
});

test("not being a member any more means joining again, then sending", async () => {
  const all = await inLobby(2);
  let refused = false;
  all.server.faults = (frame, socket) => {
    if (frame.type !== "message" || refused) return false;
    refused = true;
    socket.deliver({ type: "error", id: frame.id, code: "not_member", retryable: false });
    return true;
  };
  all.client.sendMessage("lobby", "hello");
  await all.clock.advance(1000);
  assert.deepEqual(contents(all.room), ["text 1", "text 2", "hello"]);
});

test("an ack whose event never comes is followed up from history", async () => {
  const all = await inLobby(2);
  all.network.socket.joined.clear();
  all.client.sendMessage("lobby", "hello");
  await all.clock.advance(100);
  assert.deepEqual(all.state.pending.map(({ status }) => status), ["acked"]);
  await all.clock.advance(2000);
  assert.deepEqual(contents(all.room), ["text 1", "text 2", "hello"]);
  assert.deepEqual(all.state.pending, []);
});

test("older pages join on without a seam", async () => {
  const all = await inLobby(333);
  while (all.room.canLoadOlder) {
    all.client.loadOlder(all.room);
    await all.clock.advance(0);
  }
  assert.deepEqual(contents(all.room), logOf(all.server));
});

test("a room that cannot be joined says why, and can be tried again", async () => {
  const all = setUp();
  all.server.faults = (frame, socket) => {
    if (frame.type !== "join") return false;
    socket.deliver({ type: "error", id: frame.id, code: "room_full", message: "full" });
    return true;
  };
  all.connection.start();
  all.server.accept();
  const room = all.client.open("lobby");
  await all.clock.advance(0);
  assert.deepEqual(room.error, { code: "room_full", text: "full" });
  all.server.faults = null;
  all.client.rejoin(room);
  await all.clock.advance(0);
  assert.deepEqual([room.error, room.synced], [null, true]);
});

test("typing is told at most every three seconds, and its end once", async () => {
  const all = await inLobby();
  const told = () => all.network.socket.sent.filter(({ type }) => type === "typing")
    .map(({ active }) => active);
  for (let i = 0; i < 5; i += 1) {
    all.client.typing("lobby", true);
    await all.clock.advance(1000);
  }
  assert.deepEqual(told(), [true, true]);
  all.client.typing("lobby", false);
  all.client.typing("lobby", false);
  assert.deepEqual(told(), [true, true, false]);
});
