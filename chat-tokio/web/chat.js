// The application's side of the Client: what the page wants goes in, what it gets to know lands in
// the state. No page in here.

import { byteLength, folded, isCount, isKey, isUserId } from "./client/names.js";
import { Driver, systemClock } from "./driver.js";
import { Inbox } from "./inbox.js";
import { PENDING_MAX } from "./state.js";

const FEATURES = ["typing"];
const PAGE = 100;
const TYPING_MEMBERS_MAX = 100;
const CODE_SUPERSEDED = 4300;

export class Chat {
  #options;
  #driver = null;
  #inbox;
  #name = "";
  #token = null;
  #tickets = 0;
  /** What to do with the answers of questions, by their tickets: as many as the Client has. */
  #asked = new Map();

  /** `makeKey()` draws an idempotency key: at least 64 random bits. */
  constructor({ state, url, WebSocket, clock = systemClock, random = Math.random, makeKey }) {
    this.#options = { url, WebSocket, clock, random, makeKey };
    this.state = state;
    /** `(topic, room)`: "status" "rooms" "messages" "members" "typing" "self". */
    this.onChange = () => {};
    /** The read position of a room from an earlier visit: `{ epoch, seq }` or null. */
    this.readPosition = () => null;
    /** A token is wanted: that of the connection ends soon, or there is no connection without. */
    this.onNeedToken = () => this.useToken(null);
    this.#inbox = new Inbox(this, clock);
  }

  /** The name that was asked for. */
  get name() {
    return this.#name;
  }

  /**
   * Connects, or connects again under another name. `saved` is what an earlier page has left;
   * without a `token` the one before still counts.
   */
  enter(name, saved = null, token = null) {
    const restarts = this.#driver !== null && name !== this.#name;
    this.#name = name;
    if (this.#driver !== null && !restarts) {
      this.useToken(token);
      return this.reconnect();
    }
    this.#token = token ?? this.#token;
    this.#end();
    this.#begin(saved);
  }

  /** Gives the token that is wanted; null: there is none. */
  useToken(token) {
    this.#token = token ?? this.#token;
    this.#driver?.dispatch({ type: "token", token });
  }

  /** Asks whether anybody is there, or skips the wait. */
  wake() {
    this.#driver?.dispatch({ type: "wake" });
  }

  /** The way back when a person asks for it. */
  reconnect() {
    const { name, why } = this.#driver?.state() ?? { name: "idle" };
    // The session is another page's: this one begins its own.
    if (why?.name === "closed" && why.code === CODE_SUPERSEDED) return this.renew();
    this.#driver?.dispatch({ type: name === "waiting" ? "wake" : "start" });
  }

  /** Begins a new session: the old one is another page's. */
  renew() {
    if (this.#driver === null) return;
    this.#end();
    this.#begin(null);
  }

  /** What a later page goes on with. */
  saved() {
    const resume = this.#driver?.resume() ?? null;
    const outbox = this.state.unsettled.map((send) => ({ room: send.room, key: send.key,
      content: send.content, born: send.created, sentAs: this.#sentAs(send) }));
    return { resume, name: this.#name, users: [...this.state.self.users], outbox };
  }

  /** Opens a room by any spelling. It is joined now, or as soon as there is a connection. */
  open(name) {
    const room = this.state.add(name);
    this.#driver?.dispatch({ type: "join", room: room.name });
    this.onChange("rooms");
    return room;
  }

  /** Tries a room again that could not be joined. */
  rejoin(room) {
    this.#driver?.dispatch({ type: "join", room: room.name });
  }

  leave(name) {
    this.state.remove(name);
    this.#driver?.dispatch({ type: "leave", room: name });
    this.onChange("rooms");
  }

  /** Queues a message. Null, or why it was not taken. */
  sendMessage(room, text) {
    const content = text.toWellFormed();
    if (byteLength(content) > this.state.limits.message_bytes) return "too_large";
    const send = this.state.addPending({ room, content, key: this.#options.makeKey(),
      now: this.#options.clock.wall() });
    if (send === null) return "queue_full";
    this.#dispatchSend(send);
    this.onChange("messages", room);
    return null;
  }

  retry(send) {
    this.state.retryPending(send, { key: this.#options.makeKey(),
      now: this.#options.clock.wall() });
    this.#dispatchSend(send);
    this.onChange("messages", send.room);
  }

  discard(send) {
    this.state.dropPending(send);
    this.onChange("messages", send.room);
  }

  /** Loads the page before what is known. */
  loadOlder(room) {
    if (!room.canLoadOlder || room.loadingOlder || !room.joined) return;
    const { epoch, from } = room;
    room.loadingOlder = true;
    const limit = Math.min(PAGE, this.state.limits.history);
    this.#ask({ type: "history", room: room.name, before: from, limit }, (outcome) => {
      room.loadingOlder = false;
      // Scrolling up again asks again.
      room.olderFailed = outcome.name !== "page";
      const fits = room.epoch === epoch && room.from === from && outcome.page?.epoch === epoch;
      if (fits) room.applyBefore(outcome.page);
      this.state.settlePending(room.name);
      this.onChange("messages", room.name);
    });
    this.onChange("messages", room.name);
  }

  refreshRooms() {
    this.#ask({ type: "rooms" }, ({ rooms, hasMore }) => {
      if (!rooms) return;
      this.state.listed = rooms;
      this.state.listedMore = hasMore;
      this.onChange("rooms");
    });
  }

  refreshMembers(name) {
    this.#ask({ type: "members", room: name }, ({ view }) => {
      if (!view) return;
      this.state.rosterOf(name)?.replace(view);
      this.onChange("members", name);
    });
  }

  /** To be called while somebody writes; it is told only as often as the protocol wants. */
  typing(name, active) {
    if ((this.state.rosterOf(name)?.count ?? 0) > TYPING_MEMBERS_MAX) return;
    this.#driver?.dispatch({ type: "typing", room: name, active });
  }

  typingNow(name) {
    const roster = this.state.rosterOf(name);
    return roster ? roster.typingNow(this.#options.clock.mono()) : { names: [], next: null };
  }

  /** Takes the answer of a question. Returns whether it was one. */
  answered(ticket, outcome) {
    const done = this.#asked.get(ticket);
    this.#asked.delete(ticket);
    done?.(outcome);
    return done !== undefined;
  }

  #begin(saved) {
    const { url, WebSocket, clock, random } = this.#options;
    const resume = saved?.name === this.#name ? later(saved.resume) : null;
    const users = Array.isArray(saved?.users) ? saved.users.filter(isUserId) : [];
    this.state.rememberUsers(users);
    const config = { name: this.#name, token: this.#token, features: FEATURES, resume,
      users: [...this.state.self.users] };
    this.#driver = new Driver({ url, WebSocket, clock, random, config,
      deliver: (what) => this.#inbox.take(what), needToken: () => this.onNeedToken() });
    for (const [name, position] of Object.entries(this.#driver.resume()?.rooms ?? {})) {
      this.state.add(name).applyPosition(position);
    }
    this.#restoreOutbox(saved?.outbox);
    for (const name of this.state.rooms.keys()) {
      this.#driver.dispatch({ type: "join", room: name });
    }
    for (const send of this.state.unsettled) this.#dispatchSend(send);
    this.#driver.dispatch({ type: "start" });
  }

  #end() {
    this.#driver?.end();
    for (const send of this.state.unsettled) send.sentAs = this.#sentAs(send);
    for (const done of this.#asked.values()) done({ name: "stopped" });
    this.#asked.clear();
    this.state.applyConnection({ name: "idle" });
  }

  /** What an earlier page has still had to say; it may be anything. */
  #restoreOutbox(outbox) {
    for (const send of Array.isArray(outbox) ? outbox.slice(0, PENDING_MAX) : []) {
      const { room, key, content, born, sentAs } = send ?? {};
      const fits = folded(room) !== null && isKey(key) && typeof content === "string"
        && isCount(born) && (sentAs === null || isUserId(sentAs));
      if (!fits) continue;
      const { name } = this.state.add(room);
      this.state.addPending({ room: name, content, key, now: born, sentAs });
    }
  }

  #dispatchSend(send) {
    this.#tickets += 1;
    send.ticket = this.#tickets;
    const { ticket, room, key, content, created, sentAs } = send;
    this.#driver?.dispatch({ type: "send", ticket, room, key, content, born: created, sentAs });
  }

  /** As whom a send may have been sent. */
  #sentAs(send) {
    return send.sentAs ?? this.state.self.user;
  }

  #ask(ask, done) {
    this.#tickets += 1;
    this.#asked.set(this.#tickets, done);
    if (this.#driver === null) return this.answered(this.#tickets, { name: "stopped" });
    this.#driver.dispatch({ type: "ask", ticket: this.#tickets, ask });
  }
}

/** A page that crashed may have connected once more than it could write down. */
function later(resume) {
  return isCount(resume?.attempt) ? { ...resume, attempt: resume.attempt + 1 } : resume;
}
