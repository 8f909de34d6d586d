// A token that the server wants: who is asked, when, and what becomes of the answer.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Chat } from "../chat.js";
import { ChatState } from "../state.js";
import { FakeClock, fakeNetwork, FakeServer } from "./fakes.mjs";

/** A server that takes the token "good" only, and what the page was asked. */
function setUp() {
  const clock = new FakeClock();
  const network = fakeNetwork();
  const server = new FakeServer(network);
  const renewed = [];
  server.faults = (frame, socket) => {
    if (frame.type === "auth") {
      renewed.push(frame.token);
      socket.deliver({ type: "authenticated", id: frame.id, expires_in_ms: 3_600_000 });
      return true;
    }
    if (frame.type !== "hello" || frame.token === "good") return false;
    socket.deliver({ type: "error", id: frame.id, code: "unauthorized", message: "no",
      retryable: false });
    return true;
  };
  const state = new ChatState();
  const chat = new Chat({ state, url: "ws://host/ws", WebSocket: network.WebSocket, clock,
    random: () => 0.5, makeKey: () => "key" });
  let asked = 0;
  chat.onNeedToken = () => { asked += 1; };
  const accept = async () => {
    server.accept();
    await clock.advance(0);
  };
  return { clock, network, server, state, chat, renewed, accept, asked: () => asked };
}

test("a server that wants a token makes the page ask, and the answer goes into hello", async () => {
  const { chat, state, network, accept, asked } = setUp();
  chat.enter("Ada");
  await accept();
  assert.equal(network.socket.sent[0].token, undefined);
  assert.deepEqual([asked(), state.connection.name], [1, "connecting"]);
  chat.enter("Ada", null, "good");
  await accept();
  assert.equal(network.socket.sent[0].token, "good");
  assert.deepEqual([asked(), state.online], [1, true]);
  // The next connection has it, too.
  network.socket.cut();
  chat.wake();
  await accept();
  assert.deepEqual([network.socket.sent[0].token, state.online], ["good", true]);
});

test("who answers late, wrongly or not at all may try again", async () => {
  const { chat, state, clock, accept, asked } = setUp();
  chat.enter("Ada");
  await accept();
  await clock.advance(70_000);
  assert.equal(state.connection.why.name, "unauthorized");
  chat.enter("Ada", null, "bad");
  await accept();
  assert.equal(asked(), 2);
  chat.enter("Ada", null, "worse");
  await accept();
  assert.equal(state.connection.why.name, "unauthorized");
  chat.enter("Ada");
  await accept();
  assert.equal(asked(), 3);
  chat.enter("Grace", null, "good");
  await accept();
  assert.ok(state.online);
  assert.equal(chat.name, "Grace");
});

test("a token that ends is replaced without another connection", async () => {
  const { chat, state, network, clock, accept, asked, renewed } = setUp();
  chat.enter("Ada", null, "good");
  await accept();
  network.socket.deliver({ type: "auth_expiring", expires_in_ms: 60_000 });
  assert.deepEqual([asked(), state.online], [1, true]);
  chat.useToken("another");
  await clock.advance(0);
  assert.deepEqual([renewed, network.sockets.length, state.online], [["another"], 1, true]);
});

test("a page that knows nobody to ask is told why it can't come in", async () => {
  const { chat, state, accept } = setUp();
  chat.onNeedToken = () => chat.useToken(null);
  chat.enter("Ada");
  await accept();
  assert.equal(state.connection.why.name, "unauthorized");
});

test("what is kept for a later page has no token in it", async () => {
  const { chat, accept } = setUp();
  chat.enter("Ada", null, "good");
  await accept();
  assert.ok(!JSON.stringify(chat.saved()).includes("good"));
});
