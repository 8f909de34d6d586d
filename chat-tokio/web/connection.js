// The protocol client, without rooms and without a page: one connection at a time, hello, requests
// with ids, liveness and coming back. Everything uncertain (socket, clock, random) is handed in.

import { afterLoss } from "./backoff.js";

export const SUBPROTOCOL = "chat.v1";
const CONNECT_MS = 10_000;
const REQUEST_MS = 15_000;
const PROBE_MS = 4000;
const HEARTBEAT_MS = 25_000;
const HEARTBEAT_GRACE_MS = 10_000;
// A welcome alone proves little: a server that greets and falls over must still be backed off from.
const STABLE_MS = 10_000;
const REQUESTS_MAX = 1024;
const CODE_ABNORMAL = 1006;

/** Why a request was not done; `code` is the server's, or one of ours: see LOCAL_CODES. */
export class RequestError extends Error {
  constructor({ code, message, retryable = false, retry_after_ms = null }) {
    super(message || code);
    this.name = "RequestError";
    this.code = code;
    this.retryable = retryable;
    this.retryAfterMs = Number.isFinite(retry_after_ms) ? retry_after_ms : null;
  }
}

/** Outcomes that no server sent: the request may or may not have been carried out. */
export const LOCAL_CODES = ["not_connected", "disconnected", "timeout", "too_many_requests"];

export const systemClock = {
  now: () => performance.now(),
  setTimeout: (call, ms) => setTimeout(call, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

export class Connection {
  #options;
  #clock;
  #socket = null;
  #requests = new Map();
  #nextId = 0;
  #attempt = 0;
  #heardAt = 0;
  #bye = null;
  #probing = false;
  #timers = { connect: null, retry: null, liveness: null, stable: null };

  /** `hello()` returns the fields of the first frame, anew for each connection. */
  constructor({ url, hello, WebSocket, clock = systemClock, random = Math.random, ...on }) {
    this.#options = { url, hello, WebSocket, random };
    this.#clock = clock;
    this.onState = on.onState ?? (() => {});
    this.onEvent = on.onEvent ?? (() => {});
    this.onWelcome = on.onWelcome ?? (() => {});
    /** `{ name: "connecting" | "connected" | "waiting" | "closed", … }` */
    this.state = { name: "closed", kind: "idle" };
    this.welcome = null;
    /** Counts welcomes: whoever waited across a reconnect can tell. */
    this.link = 0;
  }

  get connected() {
    return this.state.name === "connected";
  }

  start() {
    if (this.#socket || this.state.name === "waiting") return;
    this.#attempt = 0;
    this.#open();
  }

  /** Ends the connection for good, until `start` or `retryNow`. */
  stop() {
    const socket = this.#forgetSocket();
    socket?.close(1000);
    this.#failRequests();
    this.#enter({ name: "closed", kind: "idle" });
  }

  /** Skips the wait. Also the way back from "closed" when a person asks for it. */
  retryNow() {
    if (this.#socket) return;
    this.#clear("retry");
    this.#open();
  }

  /** Asks whether anybody is there; a sleeping computer's timers cannot be trusted to. */
  async probe() {
    if (this.state.name === "waiting") return this.retryNow();
    if (!this.connected || this.#probing) return;
    this.#probing = true;
    const socket = this.#socket;
    const asked = this.#clock.now();
    try {
      await this.request({ type: "ping" }, PROBE_MS);
    } catch (error) {
      const silent = this.#heardAt <= asked;
      if (error.code === "timeout" && silent && socket === this.#socket) this.#drop("no answer");
    } finally {
      this.#probing = false;
    }
  }

  /** Sends a request; the promise is settled exactly once, whatever the network does. */
  request(frame, timeoutMs = REQUEST_MS) {
    if (!this.connected) {
      return Promise.reject(new RequestError({ code: "not_connected", retryable: true }));
    }
    return this.#call(frame, timeoutMs);
  }

  /** Sends a frame that wants no reply. Dropped when not connected: only for what may be lost. */
  send(frame) {
    if (!this.connected) return false;
    return this.#write(frame);
  }

  #open() {
    this.#bye = null;
    this.#enter({ name: "connecting" });
    let socket;
    try {
      socket = new this.#options.WebSocket(this.#options.url, [SUBPROTOCOL]);
    } catch {
      return this.#lost(CODE_ABNORMAL, "could not connect");
    }
    this.#socket = socket;
    // An abandoned socket may still call: nothing late from it counts.
    const ifCurrent = (call) => (event) => {
      if (socket === this.#socket) call(event);
    };
    socket.onopen = ifCurrent(() => this.#sayHello());
    socket.onmessage = ifCurrent((event) => this.#receive(event.data));
    socket.onclose = ifCurrent((event) => this.#lost(event.code, event.reason));
    socket.onerror = () => {};
    this.#arm("connect", CONNECT_MS, () => this.#drop("no answer"));
  }

  async #sayHello() {
    const socket = this.#socket;
    try {
      const reply = await this.#call({ type: "hello", ...this.#options.hello() }, CONNECT_MS);
      if (socket === this.#socket) this.#greeted(reply);
    } catch (error) {
      if (socket === this.#socket) this.#refused(error);
    }
  }

  #greeted(welcome) {
    this.#clear("connect");
    this.welcome = welcome;
    this.link += 1;
    this.#arm("stable", STABLE_MS, () => {
      this.#attempt = 0;
    });
    this.#watchLiveness();
    this.#enter({ name: "connected" });
    this.onWelcome(welcome);
  }

  #refused(error) {
    if (error.retryable || LOCAL_CODES.includes(error.code)) {
      this.#drop(error.message, error.retryAfterMs ?? 0);
      return;
    }
    const socket = this.#forgetSocket();
    socket.close(1000);
    this.#failRequests();
    this.#enter({ name: "closed", kind: "fix", code: error.code, reason: error.message });
  }

  #receive(data) {
    this.#heardAt = this.#clock.now();
    const frame = parse(data);
    if (!frame) return;
    const id = typeof frame.id === "string" ? frame.id : null;
    if (frame.type === "ping") {
      this.#write(id === null ? { type: "pong" } : { type: "pong", id });
    } else if (frame.type === "bye") {
      this.#bye = frame;
    } else if (id === null) {
      this.onEvent(frame);
    } else {
      this.#settle(id, frame);
    }
  }

  #call(frame, timeoutMs) {
    if (this.#requests.size >= REQUESTS_MAX) {
      return Promise.reject(new RequestError({ code: "too_many_requests", retryable: true }));
    }
    const id = String(this.#nextId++);
    return new Promise((resolve, reject) => {
      const timer = this.#clock.setTimeout(() => {
        this.#take(id)?.reject(new RequestError({ code: "timeout", retryable: true }));
      }, timeoutMs);
      this.#requests.set(id, { resolve, reject, timer });
      if (!this.#write({ ...frame, id })) {
        this.#take(id).reject(new RequestError({ code: "not_connected", retryable: true }));
      }
    });
  }

  #settle(id, frame) {
    const request = this.#take(id);
    if (!request) return;
    if (frame.type === "error") request.reject(new RequestError(frame));
    else request.resolve(frame);
  }

  /** Whoever takes a request settles it; nobody can take it twice. */
  #take(id) {
    const request = this.#requests.get(id);
    if (!request) return null;
    this.#requests.delete(id);
    this.#clock.clearTimeout(request.timer);
    return request;
  }

  #failRequests() {
    for (const id of [...this.#requests.keys()]) {
      this.#take(id).reject(new RequestError({ code: "disconnected", retryable: true }));
    }
  }

  #write(frame) {
    if (this.#socket?.readyState !== 1) return false;
    try {
      this.#socket.send(JSON.stringify(frame));
      return true;
    } catch {
      return false;
    }
  }

  #watchLiveness() {
    const beat = this.welcome.heartbeat_ms;
    const limit = (Number.isFinite(beat) ? beat : HEARTBEAT_MS) + HEARTBEAT_GRACE_MS;
    const check = () => {
      const silence = this.#clock.now() - this.#heardAt;
      if (silence >= limit) this.#drop("the server went silent");
      else this.#arm("liveness", limit - silence, check);
    };
    this.#arm("liveness", limit, check);
  }

  /** Gives a socket up without waiting for its close, which a dead network never delivers. */
  #drop(reason, atLeastMs = 0) {
    const socket = this.#socket;
    this.#lost(CODE_ABNORMAL, reason, atLeastMs);
    socket?.close();
  }

  #lost(code, reason, atLeastMs = 0) {
    this.#forgetSocket();
    const attempt = this.#attempt;
    this.#attempt += 1;
    const next = afterLoss({ code, attempt, bye: this.#bye, atLeastMs }, this.#options.random);
    const why = { code, reason: reason || this.#bye?.message || "" };
    this.#failRequests();
    if (next.stop) return this.#enter({ name: "closed", kind: next.kind, ...why });
    this.#arm("retry", next.delayMs, () => this.#open());
    this.#enter({ name: "waiting", retryAt: this.#clock.now() + next.delayMs, ...why });
  }

  #forgetSocket() {
    const socket = this.#socket;
    this.#socket = null;
    for (const name of Object.keys(this.#timers)) this.#clear(name);
    return socket;
  }

  #enter(state) {
    this.state = state;
    this.onState(state);
  }

  #arm(name, ms, call) {
    this.#clear(name);
    this.#timers[name] = this.#clock.setTimeout(() => {
      this.#timers[name] = null;
      call();
    }, ms);
  }

  #clear(name) {
    if (this.#timers[name] !== null) this.#clock.clearTimeout(this.#timers[name]);
    this.#timers[name] = null;
  }
}

function parse(data) {
  if (typeof data !== "string") return null;
  try {
    const frame = JSON.parse(data);
    return frame !== null && typeof frame.type === "string" ? frame : null;
  } catch {
    return null;
  }
}
