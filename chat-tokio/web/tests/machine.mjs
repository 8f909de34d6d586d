// A Client at work for unit tests: time stands still unless it is told to go on.

import { Client } from "../client/client.js";
import { decode, encode } from "../client/frames.js";

export const WELCOME = {
  type: "welcome", session: "s1", user: "u_ada", name: "Ada", resumed: false, durability: "disk",
  heartbeat_ms: 25_000, limits: {}, features: ["typing"],
};

export function message(seq, more = {}) {
  return { type: "message", room: "lobby", seq, ts: 1_700_000_000_000 + seq, user: "u_bob",
    username: "Bob", content: `text ${seq}`, ...more };
}

export function messages(from, to) {
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, i) => message(from + i));
}

export class Machine {
  now = { mono: 1000, wall: 1_700_000_000_000 };
  link = 0;
  random = 0.5;
  /** Actions since the last look at each kind. */
  sent = [];
  told = [];
  closes = [];

  constructor(config = {}) {
    this.client = new Client({ name: "Ada", ...config });
  }

  do(event) {
    this.#take(this.client.handle(this.now, this.random, { link: this.link, ...event }));
    return this;
  }

  server(frame) {
    return this.do({ type: "received", frame: decode(JSON.stringify(frame)) });
  }

  pass(ms) {
    const end = this.now.mono + ms;
    for (;;) {
      const due = this.client.pollTimeout();
      if (due === null || due > end) break;
      this.#moveTo(due);
      this.#take(this.client.handleTimeout(this.now, this.random));
    }
    this.#moveTo(end);
    return this;
  }

  /** Connects; `rooms` says what became of those that were resumed. */
  online(more = {}) {
    if (this.state === "idle") this.do({ type: "start" });
    this.do({ type: "opened" });
    return this.server({ ...WELCOME, id: this.request("hello").id, ...more });
  }

  joined({ room = "lobby", epoch = "e1", from = 1, to = 0, ...more } = {}) {
    const events = messages(from, to).map((entry) => ({ ...entry, room }));
    return this.server({ type: "joined", id: this.request("join").id, room, epoch, head: to,
      members: { count: 1, members: [] }, events, has_more_before: from > 1, ...more });
  }

  /** Online, and in the lobby. */
  inLobby(to = 0) {
    return this.online().do({ type: "join", room: "lobby" }).joined({ to });
  }

  send(ticket, content = "hi", more = {}) {
    return this.do({ type: "send", ticket, room: "lobby", key: `k${ticket}`, content, ...more });
  }

  /** The last request of a type. */
  request(type) {
    return this.sent.findLast((frame) => frame.type === type);
  }

  /** What was delivered of these types since the last call. */
  take(...types) {
    const all = this.told.filter(({ type }) => types.includes(type));
    this.told = [];
    return all;
  }

  outcomes() {
    return this.take("settled").map(({ ticket, outcome }) => [ticket, outcome.name]);
  }

  get state() {
    return this.client.state().name;
  }

  #take(actions) {
    for (const action of actions) {
      if (action.type === "open") this.link = action.link;
      if (action.type === "transmit") this.sent.push(JSON.parse(encode(action.frame)));
      if (action.type === "close") this.closes.push(action.code);
      if (action.type === "deliver") this.told.push(action.what);
    }
  }

  #moveTo(to) {
    const ms = Math.max(0, to - this.now.mono);
    this.now = { mono: this.now.mono + ms, wall: this.now.wall + ms };
  }
}
