// The page's side of the Client, with a server behind it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Chat } from "../chat.js";
import { ChatState } from "../state.js";
import { FakeClock, fakeNetwork, FakeServer } from "./fakes.mjs";

function setUp({ server: before, saved = null, keys = "key" } = {}) {
  const clock = new FakeClock();
  const network = fakeNetwork();
  const server = before ?? new FakeServer(network);
  server.network = network;
  const state = new ChatState();
  let drawn = 0;
  const chat = new Chat({ state, url: "ws://host/ws", WebSocket: network.WebSocket, clock,
    random: () => 0.5, makeKey: () => `${keys}-${++drawn}` });
  const changes = new Set();
  chat.onChange = (topic) => changes.add(topic);
  return { clock, network, server, state, chat, changes, saved };
}

async function inLobby(options = {}) {
  const all = setUp(options);
  for (let i = 1; i <= (options.messages ?? 0); i += 1) all.server.say("lobby", `text ${i}`);
  all.chat.open("Lobby");
  all.state.activate("Lobby");
  all.chat.enter("Ada", all.saved);
  all.server.accept();
  await all.clock.advance(0);
  return { ...all, room: all.state.room };
}

async function comeBack({ chat, server, clock }) {
  chat.wake();
  server.accept();
  await clock.advance(0);
}

const contents = (room) => room.messages.map(({ content }) => content);
const logOf = (server) => server.log("lobby").map(({ content }) => content);
const told = (state) => state.pending.map(({ status, error }) => [status, error?.code ?? null]);

test("a room opened before the connection is joined with it, under its real name", async () => {
  const { room, state, changes } = await inLobby({ messages: 3 });
  assert.deepEqual([room.name, state.active, room.joined], ["lobby", "lobby", true]);
  assert.deepEqual(contents(room), ["text 1", "text 2", "text 3"]);
  assert.equal(state.rosterOf("lobby").count, 1);
  for (const topic of ["status", "self", "rooms", "messages", "members"]) {
    assert.ok(changes.has(topic), topic);
  }
});

test("a room that is too large to list keeps its list, and its count is the server's", async () => {
  const { room, network, state, clock } = await inLobby({ messages: 1 });
  const names = [...state.rosterOf("lobby").users.keys()];
  network.socket.deliver({ type: "presence", room: room.name, count: 1204 });
  await clock.advance(0);
  assert.equal(state.rosterOf("lobby").count, 1204);
  assert.deepEqual([...state.rosterOf("lobby").users.keys()], names);
});

test("after a cut nothing is lost and nothing doubled, however much was missed", async () => {
  for (const missed of [0, 1, 49, 50, 51, 700]) {
    const all = await inLobby({ messages: 20 });
    all.network.socket.cut();
    assert.equal(all.room.joined, false);
    for (let i = 0; i < missed; i += 1) all.server.say("lobby", `missed ${i}`);
    await comeBack(all);
    all.server.say("lobby", "afterwards");
    await all.clock.advance(0);
    assert.deepEqual(contents(all.room), logOf(all.server), `missed ${missed}`);
    assert.equal(all.network.socket.sent.some(({ type }) => type === "join"), false, "it resumed");
  }
});

test("being cut again and again while coming back loses nothing either", async () => {
  const all = await inLobby({ messages: 20 });
  for (let cuts = 0; cuts < 4; cuts += 1) {
    all.network.socket.cut();
    for (let i = 0; i < 300; i += 1) all.server.say("lobby", `missed ${cuts} ${i}`);
    const { deliver } = all.network.WebSocket.prototype;
    let left = 100;
    all.chat.wake();
    const { socket } = all.network;
    socket.deliver = (frame) => {
      left -= 1;
      if (left >= 0) deliver.call(socket, frame);
      if (left === 0) socket.cut();
    };
    all.server.accept();
    await all.clock.advance(0);
  }
  await comeBack(all);
  assert.deepEqual(contents(all.room), logOf(all.server));
});

test("what is written offline waits, is bounded, and goes out once and in order", async () => {
  const all = await inLobby();
  all.network.socket.cut();
  const texts = Array.from({ length: 101 }, (_, i) => `offline ${i}`);
  const answers = texts.map((text) => all.chat.sendMessage("lobby", text));
  assert.deepEqual(answers, [...Array(100).fill(null), "queue_full"]);
  await comeBack(all);
  assert.deepEqual(logOf(all.server), texts.slice(0, 100));
  assert.deepEqual(contents(all.room), logOf(all.server));
  assert.deepEqual(all.state.pending, []);
});

test("a send whose ack was lost is repeated with its key and shown once", async () => {
  for (const committed of [true, false]) {
    const all = await inLobby({ messages: 3 });
    all.server.faults = (frame, socket) => {
      if (frame.type !== "message") return false;
      all.server.faults = null;
      socket.joined.clear();
      const author = { user: socket.user, username: "Ada", key: frame.key };
      if (committed) all.server.say("lobby", frame.content, author);
      socket.cut();
      return true;
    };
    all.chat.sendMessage("lobby", "once");
    await all.clock.advance(0);
    assert.deepEqual(told(all.state), [["queued", null]]);
    for (let i = 0; i < 180; i += 1) all.server.say("lobby", `missed ${i}`);
    await comeBack(all);
    assert.deepEqual(logOf(all.server).filter((text) => text === "once").length, 1);
    assert.deepEqual(contents(all.room), logOf(all.server));
    assert.deepEqual(all.state.pending, []);
  }
});

test("a refused send fails with its reason and does not hold up the next", async () => {
  const all = await inLobby();
  all.server.faults = (frame, socket) => {
    if (frame.content !== "bad") return false;
    socket.deliver({ type: "error", id: frame.id, code: "invalid_content", message: "no",
      retryable: false });
    return true;
  };
  all.chat.sendMessage("lobby", "bad");
  all.chat.sendMessage("lobby", "good");
  await all.clock.advance(0);
  assert.deepEqual(logOf(all.server), ["good"]);
  assert.deepEqual(told(all.state), [["failed", "invalid_content"]]);
  const [send] = all.state.pending;
  const { key } = send;
  all.server.faults = null;
  all.chat.retry(send);
  assert.notEqual(send.key, key, "it is a new send");
  await all.clock.advance(0);
  assert.deepEqual(logOf(all.server), ["good", "bad"]);
  all.chat.sendMessage("lobby", "x");
  all.chat.discard(all.state.pending[0]);
  assert.deepEqual(all.state.pending, []);
});

test("a send that waited for more than a day fails until its author retries", async () => {
  const all = await inLobby();
  all.network.socket.cut();
  all.chat.sendMessage("lobby", "yesterday");
  all.clock.time += 24 * 60 * 60 * 1000;
  await comeBack(all);
  assert.deepEqual(told(all.state), [["failed", "expired"]]);
  assert.deepEqual(logOf(all.server), []);
  all.chat.retry(all.state.pending[0]);
  await all.clock.advance(0);
  assert.deepEqual(logOf(all.server), ["yesterday"]);
});

test("a send that the server wants later says why, and goes out later", async () => {
  const all = await inLobby();
  all.server.faults = (frame, socket) => {
    if (frame.type !== "message") return false;
    all.server.faults = null;
    socket.deliver({ type: "error", id: frame.id, code: "rate_limited", message: "",
      retryable: true, retry_after_ms: 1200 });
    return true;
  };
  all.chat.sendMessage("lobby", "hi");
  await all.clock.advance(1199);
  assert.equal(all.state.pending[0].delayed.code, "rate_limited");
  assert.deepEqual(logOf(all.server), []);
  await all.clock.advance(1);
  assert.deepEqual([logOf(all.server), all.state.pending], [["hi"], []]);
});

/** What a page leaves behind, as it comes out of the storage of the tab. */
const saved = (chat) => JSON.parse(JSON.stringify(chat.saved()));

test("a reload goes on with session, places, outbox and who one was", async () => {
  const first = await inLobby({ messages: 60 });
  first.network.socket.cut();
  first.chat.sendMessage("lobby", "written offline");
  const left = saved(first.chat);
  const { server } = first;
  server.say("lobby", "meanwhile");
  const second = await inLobby({ server, saved: left, keys: "later" });
  const hello = second.network.socket.sent[0];
  assert.deepEqual(hello.resume.rooms, { lobby: { epoch: "e1", seq: 60 } });
  assert.ok(hello.resume.attempt > left.resume.attempt + 1, "whatever a crash has not written");
  assert.equal(server.sessions.size, 1);
  assert.deepEqual(contents(second.room), ["meanwhile", "written offline"]);
  assert.equal(second.room.isOwn(second.room.messages[1]), true);
  assert.equal(server.log("lobby").at(-1).key, "key-1", "under the key that it had");
  second.chat.loadOlder(second.room);
  await second.clock.advance(0);
  assert.deepEqual(contents(second.room), logOf(server));
  assert.deepEqual([second.state.pending, second.room.canLoadOlder], [[], false]);
});

test("a reload does not double what was sent, whatever became of the session", async () => {
  for (const forgets of [false, true]) {
    const first = await inLobby({ messages: 3 });
    const { server } = first;
    // It reaches the log, but the page is gone before the ack.
    server.faults = (frame, socket) => {
      if (frame.type !== "message") return false;
      socket.joined.clear();
      server.say("lobby", frame.content, { user: socket.user, username: "Ada", key: frame.key });
      return true;
    };
    first.chat.sendMessage("lobby", "once");
    await first.clock.advance(0);
    const left = saved(first.chat);
    server.faults = null;
    if (forgets) server.sessions = new Map([["s0", "guest-0"]]);
    const second = await inLobby({ server, saved: left });
    await second.clock.advance(5000);
    assert.deepEqual(logOf(server), ["text 1", "text 2", "text 3", "once"], `forgets ${forgets}`);
    assert.deepEqual(second.state.pending, []);
  }
});

test("what an earlier page has left may be anything", async () => {
  for (const left of [7, "x", [], {}, { name: "Ada", resume: 7, users: 7, outbox: 7 },
    { name: "Ada", resume: { session: "?" }, users: [null, "u"], outbox: [null, {}, { room: 7 }] },
    { name: "Bob", resume: { session: "s9", attempt: 1, rooms: {} } }]) {
    const all = await inLobby({ saved: left });
    assert.equal(all.network.socket.sent[0].resume, undefined, JSON.stringify(left));
    assert.equal(all.state.online, true);
  }
});

test("another name is another session, and takes the outbox along", async () => {
  const all = await inLobby();
  const first = all.network.socket;
  all.server.faults = (frame) => frame.type === "message";
  all.chat.sendMessage("lobby", "hi");
  await all.clock.advance(0);
  all.server.faults = null;
  all.chat.enter("Grace");
  assert.equal(first.closedWith, 1000, "it leaves at once");
  all.server.accept();
  await all.clock.advance(0);
  const [hello] = all.network.socket.sent;
  assert.deepEqual([hello.name, hello.resume], ["Grace", undefined]);
  assert.deepEqual(logOf(all.server), ["hi"]);
  assert.deepEqual([contents(all.room), all.state.pending], [["hi"], []]);
});

test("whose session was taken begins a new one when asked, and not before", async () => {
  const all = await inLobby({ messages: 2 });
  all.network.socket.cut(4300);
  await all.clock.advance(3_600_000);
  all.chat.wake();
  assert.equal(all.network.sockets.length, 1);
  assert.deepEqual(all.state.connection.why, { name: "closed", code: 4300, advice: "stay_away" });
  all.chat.reconnect();
  all.server.accept();
  await all.clock.advance(0);
  assert.equal(all.network.socket.sent[0].resume, undefined);
  assert.deepEqual(contents(all.room), ["text 1", "text 2"]);
});

test("another log is told of, and what was acked only there is not claimed", async () => {
  const all = await inLobby({ messages: 20 });
  all.network.socket.cut();
  all.server.logs.clear();
  all.server.epoch = "e2";
  all.server.say("lobby", "a new beginning");
  await comeBack(all);
  assert.deepEqual([contents(all.room), all.room.replaced], [["a new beginning"], true]);
});

test("a room that refuses says why, and can be tried again", async () => {
  const all = await inLobby();
  all.server.faults = (frame, socket) => {
    if (frame.type !== "join") return false;
    socket.deliver({ type: "error", id: frame.id, code: "too_many_rooms", message: "no",
      retryable: false, room: frame.room });
    return true;
  };
  const room = all.chat.open("den");
  await all.clock.advance(0);
  assert.deepEqual(room.error, { code: "too_many_rooms", text: "you are in too many rooms." });
  all.server.faults = null;
  all.chat.rejoin(room);
  await all.clock.advance(0);
  assert.deepEqual([room.error, room.joined], [null, true]);
});

test("what comes of a room that was left changes nothing", async () => {
  const all = await inLobby();
  all.chat.leave("lobby");
  all.server.say("lobby", "late");
  await all.clock.advance(0);
  assert.deepEqual([...all.state.rooms], []);
  all.chat.open("lobby");
  await all.clock.advance(0);
  assert.deepEqual(contents(all.state.find("lobby")), ["late"]);
});

test("the list of rooms and older pages survive a cut, and give up in the end", async () => {
  const all = await inLobby({ messages: 120 });
  all.server.faults = ({ type }) => type === "rooms" || type === "history";
  all.chat.refreshRooms();
  all.chat.loadOlder(all.room);
  assert.equal(all.room.loadingOlder, true);
  all.network.socket.cut();
  all.server.faults = null;
  await comeBack(all);
  assert.deepEqual(all.state.listed, [{ room: "lobby", members: 1 }]);
  assert.deepEqual([contents(all.room), all.room.loadingOlder], [logOf(all.server), false]);
  const second = await inLobby({ messages: 120 });
  second.server.faults = ({ type }) => type === "history";
  second.chat.loadOlder(second.room);
  await second.clock.advance(30_000);
  assert.deepEqual([second.room.loadingOlder, second.room.olderFailed], [false, true]);
});

test("text that is no Unicode is made some", async () => {
  const all = await inLobby();
  all.chat.sendMessage("lobby", "a\ud800b");
  await all.clock.advance(0);
  assert.deepEqual(logOf(all.server), ["a\ufffdb"]);
  assert.equal(all.chat.sendMessage("lobby", "é".repeat(5000)), "too_large");
});
