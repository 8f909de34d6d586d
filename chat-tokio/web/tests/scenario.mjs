// Runs a scenario against the Client, as tests/tests/client_scenarios.rs does against the one of
// chat-state. chat-proto/vectors/README.md says what its words mean.

import assert from "node:assert/strict";
import { Client } from "../client/client.js";
import { decode, encode } from "../client/frames.js";

const NETWORK = ["open", "client", "close"];

/** One client, its clock and the variables of the scenario. */
export class Run {
  #client;
  #now = { mono: 5000, wall: 1_700_000_000_000 };
  #random;
  #link = 0;
  #variables = new Map();

  constructor({ config, random }) {
    assert.ok(random >= 0 && random < 1, "a fraction");
    this.#client = new Client({ name: config.name ?? null, history: config.history });
    this.#random = random;
  }

  step(place, step) {
    const about = () => `${place}: ${JSON.stringify(step)}`;
    const out = step.pass_ms === undefined
      ? this.#client.handle(this.#now, this.#random, this.#event(about, step))
      : this.#pass(step.pass_ms);
    const got = out.map((action) => this.#seen(action)).filter((seen) => seen !== null);
    for (const kind of [true, false]) {
      const ofKind = (value) => NETWORK.some((name) => name in value) === kind;
      const expected = (step.expect ?? []).filter(ofKind);
      const came = got.filter(ofKind);
      const fit = expected.length === came.length
        && expected.every((value, at) => this.#fits(value, came[at]));
      if (!fit) assert.fail(`${about()}\nexpected ${show(expected)}\ngot ${show(came)}`);
    }
    if (step.state !== undefined) assert.equal(this.#client.state().name, step.state, about());
  }

  #event(about, step) {
    const link = this.#link;
    if (step.do) return this.#application(about, step.do);
    if (step.opened === true) return { type: "opened", link };
    if (step.text !== undefined) {
      assert.equal(decode(step.text), null, `${about()} is no frame`);
      return { type: "malformed", link };
    }
    if (step.server) {
      const frame = decode(JSON.stringify(this.#substituted(step.server)));
      assert.notEqual(frame, null, `${about()} is a frame`);
      return { type: "received", link, frame };
    }
    assert.ok("closed" in step, `what is ${about()}?`);
    return { type: "closed", link, code: step.closed };
  }

  #application(about, what) {
    const [[type, value]] = Object.entries(what);
    switch (type) {
      case "start":
      case "stop":
      case "wake":
        return { type };
      case "join":
      case "leave":
        return { type, room: value };
      case "token":
        return { type, token: value };
      case "send":
        return { type, ...value, replyTo: value.reply_to };
      default:
        return assert.fail(`nobody can do ${about()}`);
    }
  }

  /** Lets time pass, and fires what is due at its own time. */
  #pass(ms) {
    const out = [];
    const end = this.#now.mono + ms;
    for (;;) {
      const due = this.#client.pollTimeout();
      if (due === null || due > end) break;
      this.#advanceTo(due);
      out.push(...this.#client.handleTimeout(this.#now, this.#random));
    }
    this.#advanceTo(end);
    return out;
  }

  #advanceTo(to) {
    const ms = Math.max(0, to - this.#now.mono);
    this.#now = { mono: this.#now.mono + ms, wall: this.#now.wall + ms };
  }

  /** Puts what the scenario can expect into its words. */
  #seen(action) {
    switch (action.type) {
      case "open":
        this.#link = action.link;
        return { open: true };
      case "transmit":
        assert.equal(action.link, this.#link, "it is sent over the present link");
        return { client: JSON.parse(encode(action.frame)) };
      case "close":
        assert.equal(action.link, this.#link, "the present link is closed");
        return { close: action.code };
      case "need_token":
        return { need_token: true };
      case "deliver":
        return delivered(action.what);
      default:
        return assert.fail(`what is ${JSON.stringify(action)}?`);
    }
  }

  /** Tells whether a value fits what was expected of it; binds variables. */
  #fits(expected, got = null) {
    if (typeof expected === "string" && expected.startsWith("$")) {
      if (!this.#variables.has(expected)) this.#variables.set(expected, got);
      return got !== null && this.#variables.get(expected) === got;
    }
    if (typeof expected !== "object" || expected === null) return expected === got;
    if (Array.isArray(expected)) return JSON.stringify(expected) === JSON.stringify(got);
    const field = ([name, value]) => this.#fits(value, got?.[name] ?? null);
    return Object.entries(expected).every(field);
  }

  #substituted(value) {
    if (typeof value === "string" && value.startsWith("$")) {
      assert.ok(this.#variables.has(value), `${value} is not bound`);
      return this.#variables.get(value);
    }
    if (Array.isArray(value)) return value.map((inner) => this.#substituted(inner));
    if (typeof value !== "object" || value === null) return value;
    const field = ([name, inner]) => [name, this.#substituted(inner)];
    return Object.fromEntries(Object.entries(value).map(field));
  }
}

function delivered(what) {
  switch (what.type) {
    case "joined":
    case "left":
    case "reset":
    case "lost":
      return { [what.type]: what };
    case "entry":
      return { entry: what.entry };
    case "settled": {
      const { ticket, outcome: { name, error, ...rest } } = what;
      assert.ok(["acked", "refused", "unknown", "expired", "stopped"].includes(name), name);
      return { settled: { ticket, outcome: name, code: error?.code ?? null, ...rest } };
    }
    case "state":
    case "welcome":
    case "members":
    case "came":
    case "went":
    case "typing":
    case "delayed":
      return null;
    default:
      return assert.fail(`what is ${what.type}?`);
  }
}

function show(value) {
  return JSON.stringify(value, null, 1);
}
