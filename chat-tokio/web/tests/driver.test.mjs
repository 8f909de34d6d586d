import assert from "node:assert/strict";
import { test } from "node:test";
import { Driver, listenForWakes } from "../driver.js";
import { FakeClock, fakeNetwork, FakeServer } from "./fakes.mjs";

function setUp(more = {}) {
  const clock = new FakeClock();
  const network = fakeNetwork();
  const server = new FakeServer(network);
  const delivered = [];
  const driver = new Driver({ url: "ws://host/ws", WebSocket: network.WebSocket, clock,
    random: () => 0.5, config: { name: "Ada" }, deliver: (what) => delivered.push(what), ...more });
  const states = () => delivered.filter(({ type }) => type === "state").map((s) => s.state.name);
  return { clock, network, server, driver, delivered, states };
}

async function online(more) {
  const all = setUp(more);
  all.driver.dispatch({ type: "start" });
  all.server.accept();
  await all.clock.advance(0);
  assert.equal(all.driver.state().name, "online");
  return all;
}

test("it speaks chat.v1, says hello and tells of every state", async () => {
  const { network, driver, states, clock } = await online();
  assert.deepEqual([network.socket.url, network.socket.protocols], ["ws://host/ws", ["chat.v1"]]);
  assert.deepEqual(network.socket.sent[0],
    { type: "hello", id: "1", name: "Ada", features: [] });
  network.socket.cut();
  await clock.advance(250);
  assert.equal(network.sockets.length, 2);
  driver.dispatch({ type: "stop" });
  assert.deepEqual(states(), ["connecting", "online", "waiting", "connecting", "stopped"]);
});

test("timers fire at their time, and no sooner", async () => {
  const { network, clock } = await online();
  network.socket.cut();
  await clock.advance(249);
  assert.equal(network.sockets.length, 1);
  await clock.advance(1);
  assert.equal(network.sockets.length, 2);
  // Nobody opens it: it is given up after 10 s and another one is made.
  await clock.advance(10_000 + 500);
  assert.equal(network.sockets.length, 3);
  assert.equal(network.sockets[1].closedWith, 4201);
});

test("a silent server is asked for a sign of life, and left when there is none", async () => {
  const { network, clock } = await online();
  const first = network.socket;
  await clock.advance(37_499);
  assert.equal(first.sent.filter(({ type }) => type === "ping").length, 0);
  network.server = null;
  first.onsent = null;
  await clock.advance(1);
  assert.equal(first.sent.at(-1).type, "ping");
  await clock.advance(5000);
  assert.equal(first.closedWith, 4201);
});

test("a wake-up asks at once whether anybody is there, and skips the wait", async () => {
  const { driver, network, clock, server } = await online();
  network.socket.onsent = null;
  driver.dispatch({ type: "wake" });
  assert.equal(network.socket.sent.at(-1).type, "ping");
  await clock.advance(5000);
  assert.equal(driver.state().name, "waiting");
  driver.dispatch({ type: "wake" });
  assert.equal(driver.state().name, "connecting");
  server.accept();
  await clock.advance(0);
  assert.equal(driver.state().name, "online");
});

test("a page wakes up when it is looked at, when it has a network, and out of a cache", () => {
  const [window, document] = [new EventTarget(), new EventTarget()];
  let wakes = 0;
  listenForWakes(window, document, () => {
    wakes += 1;
  });
  const after = (target, type, more) => {
    target.dispatchEvent(Object.assign(new Event(type), more));
    return wakes;
  };
  document.hidden = true;
  assert.equal(after(document, "visibilitychange"), 0);
  document.hidden = false;
  assert.equal(after(document, "visibilitychange"), 1);
  assert.equal(after(window, "pageshow", { persisted: false }), 1);
  assert.equal(after(window, "pageshow", { persisted: true }), 2);
  assert.equal(after(window, "online"), 3);
});

test("nothing late from a socket that was given up is heard", async () => {
  const { driver, network, clock, delivered } = await online();
  const first = network.socket;
  const { onmessage, onclose } = first;
  first.cut();
  await clock.advance(250);
  const before = delivered.length;
  onmessage({ data: "{\"type\":\"bye\",\"code\":\"x\",\"reconnect\":false,\"after_ms\":0}" });
  onclose({ code: 4300 });
  assert.equal(first.onmessage, null);
  assert.equal(driver.state().name, "connecting");
  assert.equal(delivered.length, before);
});

test("a WebSocket that can't even be made is a loss like any other", async () => {
  const throwing = class {
    constructor() {
      throw new Error("SecurityError");
    }
  };
  const { driver, clock } = setUp({ WebSocket: throwing });
  driver.dispatch({ type: "start" });
  assert.equal(driver.state().name, "waiting");
  await clock.advance(60_000);
  assert.equal(driver.state().name, "waiting");
});

test("a socket that does not take a frame is a loss", async () => {
  const { driver, network } = await online();
  network.socket.send = () => {
    throw new Error("full");
  };
  driver.dispatch({ type: "join", room: "lobby" });
  assert.equal(driver.state().name, "waiting");
  assert.equal(network.socket.closedWith, 1000);
});

test("binary and broken frames are signs of life, and nothing else", async () => {
  const { driver, network } = await online();
  for (const data of [new ArrayBuffer(3), "{", "[]", "", undefined]) {
    network.socket.onmessage({ data });
  }
  assert.equal(driver.state().name, "online");
});

test("a mistake of the page keeps the machine going, and is heard of", async () => {
  const deliver = () => {
    throw new Error("a mistake");
  };
  const raised = [];
  const listener = (error) => raised.push(error.message);
  process.prependListener("uncaughtException", listener);
  const others = process.listeners("uncaughtException").filter((other) => other !== listener);
  others.forEach((other) => process.removeListener("uncaughtException", other));
  const { driver, clock } = await online({ deliver });
  await clock.advance(0);
  others.forEach((other) => process.on("uncaughtException", other));
  process.removeListener("uncaughtException", listener);
  assert.equal(driver.state().name, "online");
  assert.ok(raised.length > 0 && raised.every((message) => message === "a mistake"));
});

test("what is ended is silent and leaves nothing behind", async () => {
  const { driver, network, clock, delivered } = await online();
  const before = delivered.length;
  driver.end();
  assert.equal(network.socket.closedWith, 1000);
  assert.equal(delivered.length, before);
  assert.equal(clock.timers.size, 0);
});
