// Drives the Client: WebSockets, timers, clocks, chance, and what wakes a device up. All of these
// are handed in, so that tests can stand in for them.

import { Client } from "./client/client.js";
import { decode, encode } from "./client/frames.js";

export const SUBPROTOCOL = "chat.v1";
// Browsers take timers of 32 bits only; the machine is asked again after that.
const TIMER_MS_MAX = 2 ** 31 - 1;
const CODE_NORMAL = 1000;
const CODE_LOST = 1006;

export const systemClock = {
  mono: () => performance.now(),
  wall: () => Date.now(),
  setTimeout: (call, ms) => setTimeout(call, ms),
  clearTimeout: (timer) => clearTimeout(timer),
};

export class Driver {
  #options;
  #client;
  #socket = null;
  #link = null;
  #timer = null;
  /** Events that came while another one is being handled: as many as one event can cause. */
  #events = [];
  #isBusy = false;

  /**
   * `config` is the Client's; `deliver(what)` gets what it delivers, in order. `needToken()` is
   * called when a credential is wanted, which is an event `token`, now or later.
   */
  constructor({ url, WebSocket, clock = systemClock, random = Math.random, config, deliver,
    needToken = () => {} }) {
    this.#options = { url, WebSocket, clock, random, deliver, needToken };
    this.#client = new Client(config);
  }

  /** Hands an event to the machine and does what it asks for. */
  dispatch(event) {
    this.#events.push(event);
    this.#drain();
  }

  state() {
    return this.#client.state();
  }

  /** What a later page goes on with, or null. */
  resume() {
    return this.#client.resume();
  }

  get users() {
    return this.#client.users;
  }

  /** Ends it for good and silently: whoever takes its place settles what it had to do. */
  end() {
    this.#options.deliver = () => {};
    this.#options.needToken = () => {};
    this.dispatch({ type: "stop" });
    this.#options.clock.clearTimeout(this.#timer);
  }

  #drain() {
    if (this.#isBusy) return;
    this.#isBusy = true;
    try {
      while (this.#events.length > 0) {
        const event = this.#events.shift();
        const random = this.#options.random();
        this.#perform(event.type === "timeout"
          ? this.#client.handleTimeout(this.#now(), random)
          : this.#client.handle(this.#now(), random, event));
      }
    } finally {
      this.#isBusy = false;
    }
    this.#arm();
  }

  #perform(actions) {
    for (const action of actions) {
      switch (action.type) {
        case "open":
          this.#open(action.link);
          break;
        case "transmit":
          this.#transmit(action.frame);
          break;
        case "close":
          this.#close(action.code);
          break;
        case "need_token":
          this.#options.needToken();
          break;
        default:
          this.#deliver(action.what);
      }
    }
  }

  /** A mistake of the page must not keep the machine from going on, but must be heard of. */
  #deliver(what) {
    try {
      this.#options.deliver(what);
    } catch (error) {
      queueMicrotask(() => {
        throw error;
      });
    }
  }

  #open(link) {
    this.#forget();
    let socket;
    try {
      socket = new this.#options.WebSocket(this.#options.url, [SUBPROTOCOL]);
    } catch {
      this.#events.push({ type: "closed", link, code: CODE_LOST });
      return;
    }
    this.#socket = socket;
    this.#link = link;
    socket.onopen = () => this.dispatch({ type: "opened", link });
    socket.onmessage = ({ data }) => {
      const frame = decode(data);
      this.dispatch(frame === null ? { type: "malformed", link }
        : { type: "received", link, frame });
    };
    socket.onclose = ({ code }) => {
      if (socket === this.#socket) this.#forget();
      this.dispatch({ type: "closed", link, code });
    };
    socket.onerror = () => {};
  }

  /** Frames that do not go out are lost with the connection, whose end is told of. */
  #transmit(frame) {
    try {
      this.#socket?.send(encode(frame));
    } catch {
      this.#close(CODE_NORMAL);
      this.#events.push({ type: "closed", link: this.#link, code: CODE_LOST });
    }
  }

  #close(code) {
    const socket = this.#socket;
    this.#forget();
    try {
      socket?.close(code);
    } catch {
      socket.close();
    }
  }

  /** An abandoned socket may still call; nothing late from it is heard. */
  #forget() {
    if (this.#socket === null) return;
    Object.assign(this.#socket, { onopen: null, onmessage: null, onclose: null, onerror: null });
    this.#socket = null;
  }

  #now() {
    const { clock } = this.#options;
    return { mono: Math.floor(clock.mono()), wall: Math.floor(clock.wall()) };
  }

  #arm() {
    const { clock } = this.#options;
    clock.clearTimeout(this.#timer);
    this.#timer = null;
    const due = this.#client.pollTimeout();
    if (due === null) return;
    const ms = Math.min(Math.max(0, Math.ceil(due - clock.mono())), TIMER_MS_MAX);
    this.#timer = clock.setTimeout(() => this.dispatch({ type: "timeout" }), ms);
  }
}

/** Calls `wake` when the page is looked at again, comes out of a cache, or has a network again. */
export function listenForWakes(window, document, wake) {
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) wake();
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) wake();
  });
  window.addEventListener("online", wake);
}
