import assert from "node:assert/strict";
import { test } from "node:test";
import { adviceOf, afterLoss, backoff, BACKOFF, BUSY_BACKOFF } from "../backoff.js";
import { Connection } from "../connection.js";
import { FakeClock, fakeNetwork, settle, WELCOME } from "./fakes.mjs";

function setUp({ random = () => 0.5 } = {}) {
  const clock = new FakeClock();
  const network = fakeNetwork();
  const events = [];
  const states = [];
  const connection = new Connection({
    url: "ws://host/ws", hello: () => ({ name: "Ada", features: ["typing"] }),
    WebSocket: network.WebSocket, clock, random,
    onEvent: (frame) => events.push(frame), onState: (state) => states.push(state.name),
  });
  return { clock, network, events, states, connection };
}

async function connected(options) {
  const all = setUp(options);
  all.connection.start();
  await greet(all);
  return all;
}

async function greet({ network, connection }) {
  network.socket.open();
  network.socket.deliver({ ...WELCOME, id: network.socket.last.id });
  await settle();
  assert.equal(connection.state.name, "connected");
}

async function outcomeOf(promise) {
  try {
    return { reply: await promise };
  } catch (error) {
    return { error };
  }
}

test("says hello with the subprotocol and becomes connected", async () => {
  const { network, connection, states } = await connected();
  assert.deepEqual(network.socket.protocols, ["chat.v1"]);
  assert.deepEqual(network.socket.sent[0],
    { type: "hello", name: "Ada", features: ["typing"], id: network.socket.sent[0].id });
  assert.equal(typeof network.socket.sent[0].id, "string");
  assert.equal(connection.welcome.user, "guest-1");
  assert.deepEqual(states, ["connecting", "connected"]);
});

test("matches replies by id, in any order", async () => {
  const { network, connection } = await connected();
  const first = connection.request({ type: "rooms" });
  const second = connection.request({ type: "members", room: "lobby" });
  const [, a, b] = network.socket.sent;
  assert.notEqual(a.id, b.id);
  network.socket.deliver({ type: "members", id: b.id, count: 2 });
  network.socket.deliver({ type: "rooms", id: a.id, rooms: [] });
  assert.equal((await first).type, "rooms");
  assert.equal((await second).count, 2);
});

test("a request is settled once: reply, second reply, timeout and cut do not add up", async () => {
  const { network, connection, clock, events } = await connected();
  let outcomes = 0;
  const count = () => {
    outcomes += 1;
  };
  connection.request({ type: "rooms" }).then(count, count);
  const { id } = network.socket.last;
  network.socket.deliver({ type: "rooms", id, rooms: [] });
  network.socket.deliver({ type: "error", id, code: "rate_limited" });
  await clock.advance(20_000);
  network.socket.cut();
  await settle();
  assert.equal(outcomes, 1);
  assert.deepEqual(events, []);
});

test("every open request fails when the connection is cut; a late reply is nothing", async () => {
  const { network, connection } = await connected();
  const pending = [1, 2, 3].map(() => outcomeOf(connection.request({ type: "rooms" })));
  const old = network.socket;
  old.cut();
  for (const { error } of await Promise.all(pending)) assert.equal(error.code, "disconnected");
  old.deliver({ type: "rooms", id: old.last.id, rooms: [] });
  old.cut(4301);
  assert.equal(connection.state.name, "waiting");
});

test("error replies carry their code, whether to retry and when", async () => {
  const { network, connection } = await connected();
  const outcome = outcomeOf(connection.request({ type: "message" }));
  network.socket.deliver({ type: "error", id: network.socket.last.id, code: "rate_limited",
    message: "slower", retryable: true, retry_after_ms: 1200 });
  const { error } = await outcome;
  assert.equal(error.code, "rate_limited");
  assert.equal(error.retryable, true);
  assert.equal(error.retryAfterMs, 1200);
});

test("a request without a connection fails at once, one without a reply in time", async () => {
  const { connection, clock } = setUp();
  assert.equal((await outcomeOf(connection.request({ type: "rooms" }))).error.code,
    "not_connected");
  const all = await connected();
  const outcome = outcomeOf(all.connection.request({ type: "rooms" }));
  await all.clock.advance(14_999);
  await all.clock.advance(2);
  assert.equal((await outcome).error.code, "timeout");
  assert.equal(clock.timers.size, 0);
});

test("requests that are done take no place from later ones", async () => {
  const { network, connection } = await connected();
  for (let i = 0; i < 1200; i += 1) {
    const reply = connection.request({ type: "rooms" });
    network.socket.deliver({ type: "rooms", id: network.socket.last.id, rooms: [] });
    assert.equal((await reply).type, "rooms");
  }
  const many = Array.from({ length: 1025 }, () => outcomeOf(connection.request({ type: "x" })));
  assert.equal((await many.at(-1)).error.code, "too_many_requests");
});

test("answers pings, ignores rubbish and unknown frames", async () => {
  const { network, events } = await connected();
  network.socket.deliver({ type: "ping" });
  assert.deepEqual(network.socket.last, { type: "pong" });
  for (const bad of ["", "null", "3", "{", "[]", '{"type":3}', '"x"']) network.socket.deliver(bad);
  network.socket.deliver({ type: "from_the_future", field: 1 });
  assert.deepEqual(events, [{ type: "from_the_future", field: 1 }]);
});

test("silence beyond the heartbeat and its grace is the end, any frame prolongs it", async () => {
  const { network, connection, clock } = await connected();
  await clock.advance(30_000);
  network.socket.deliver({ type: "ping" });
  await clock.advance(34_999);
  assert.equal(connection.state.name, "connected");
  await clock.advance(1);
  assert.equal(connection.state.name, "waiting");
  assert.equal(network.sockets[0].readyState, 3);
});

test("a probe that nobody answers ends the connection, any sign of life saves it", async () => {
  const { network, connection, clock } = await connected();
  connection.probe();
  await clock.advance(1000);
  network.socket.deliver({ type: "typing", room: "lobby" });
  await clock.advance(4000);
  assert.equal(connection.state.name, "connected");
  await clock.advance(1);
  connection.probe();
  await clock.advance(4001);
  assert.equal(connection.state.name, "waiting");
  connection.probe();
  assert.equal(connection.state.name, "connecting");
});

test("full jitter stays within its exponential bound", () => {
  for (let attempt = 0; attempt < 60; attempt += 1) {
    const bound = Math.min(BACKOFF.capMs, BACKOFF.baseMs * 2 ** attempt);
    assert.equal(backoff(attempt, () => 0), 0);
    assert.ok(backoff(attempt, () => 0.999999) < bound);
    assert.ok(backoff(attempt, () => 0.999999) > bound * 0.99);
  }
});

test("waits longer with each loss in a row, and starts over after a stable one", async () => {
  const all = setUp({ random: () => 0.999 });
  const { connection, network, clock } = all;
  connection.start();
  const waits = [];
  for (let i = 0; i < 8; i += 1) {
    network.socket.cut();
    waits.push(Math.round(connection.state.retryAt - clock.now()));
    await clock.advance(connection.state.retryAt - clock.now());
  }
  assert.deepEqual(waits, [999, 1998, 3996, 7992, 15984, 29970, 29970, 29970]);
  await greet(all);
  network.socket.cut();
  assert.ok(connection.state.retryAt - clock.now() > 29_000, "a short welcome changes nothing");
  await clock.advance(30_000);
  await greet(all);
  await clock.advance(10_001);
  network.socket.cut();
  assert.equal(Math.round(connection.state.retryAt - clock.now()), 999);
});

test("close codes by range", () => {
  const table = [[4000, "fix"], [4099, "fix"], [4100, "busy"], [4129, "busy"], [4200, "now"],
    [4299, "now"], [4300, "never"], [4399, "never"], [1000, "retry"], [1001, "retry"],
    [1006, "retry"], [1009, "retry"], [1012, "retry"], [3999, "retry"], [4400, "retry"]];
  for (const [code, advice] of table) assert.equal(adviceOf(code), advice, String(code));
  const half = () => 0.5;
  assert.deepEqual(afterLoss({ code: 4003, attempt: 0 }, half), { stop: true, kind: "fix" });
  assert.deepEqual(afterLoss({ code: 4301, attempt: 0 }, half), { stop: true, kind: "never" });
  assert.equal(afterLoss({ code: 4200, attempt: 0 }, half).delayMs, 500);
  assert.equal(afterLoss({ code: 4200, attempt: 3 }, half).delayMs, 4000);
  assert.equal(afterLoss({ code: 4129, attempt: 0 }, half).delayMs, BUSY_BACKOFF.baseMs / 2);
  assert.equal(afterLoss({ code: 1006, attempt: 0 }, half).delayMs, 500);
});

test("a bye says when to come back", async () => {
  const { connection, network, clock } = await connected();
  network.socket.deliver({ type: "bye", code: "draining", reconnect: true, after_ms: 3400 });
  network.socket.cut(4100);
  assert.equal(connection.state.retryAt - clock.now(), 3400 + 500);
  await clock.advance(3900);
  assert.equal(network.sockets.length, 2);
  const other = await connected();
  other.network.socket.deliver({ type: "bye", code: "gone", reconnect: false });
  other.network.socket.cut(4100);
  assert.deepEqual([other.connection.state.name, other.connection.state.kind],
    ["closed", "never"]);
});

test("43xx stays closed until a person asks", async () => {
  const { connection, network, clock } = await connected();
  network.socket.cut(4301, "signed in elsewhere");
  await clock.advance(3_600_000);
  assert.equal(network.sockets.length, 1);
  assert.equal(connection.state.reason, "signed in elsewhere");
  connection.retryNow();
  assert.equal(network.sockets.length, 2);
});

test("a refused name asks for another one instead of trying again", async () => {
  const { connection, network, clock } = setUp();
  connection.start();
  network.socket.open();
  network.socket.deliver({ type: "error", id: network.socket.last.id, code: "invalid_name",
    message: "no", retryable: false });
  await clock.advance(60_000);
  assert.deepEqual({ ...connection.state },
    { name: "closed", kind: "fix", code: "invalid_name", reason: "no" });
  assert.equal(network.sockets.length, 1);
});

test("a hello refused for now is repeated no sooner than told", async () => {
  const { connection, network, clock } = setUp();
  connection.start();
  network.socket.open();
  network.socket.deliver({ type: "error", id: network.socket.last.id, code: "rate_limited",
    retryable: true, retry_after_ms: 9000 });
  await settle();
  assert.equal(connection.state.retryAt - clock.now(), 9000);
});

test("a server that never welcomes is given up", async () => {
  const { connection, network, clock } = setUp();
  connection.start();
  await clock.advance(10_000);
  assert.equal(connection.state.name, "waiting");
  await clock.advance(500);
  network.socket.open();
  await clock.advance(10_000);
  assert.equal(connection.state.name, "waiting");
});

test("stop ends everything: no timer is left behind", async () => {
  const { connection, network, clock } = await connected();
  const outcome = outcomeOf(connection.request({ type: "rooms" }));
  connection.stop();
  assert.equal((await outcome).error.code, "disconnected");
  assert.equal(clock.timers.size, 0);
  await clock.advance(120_000);
  assert.equal(network.sockets.length, 1);
});
