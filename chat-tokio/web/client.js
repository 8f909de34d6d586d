// Joins the connection to the state: rooms are joined and caught up again after every reconnect,
// sends go out in order until they are known to be done. No page in here either.

import { backoff } from "./backoff.js";
import { LOCAL_CODES } from "./connection.js";
import { byteLength } from "./text.js";

const JOIN_HISTORY = 50;
const PAGE = 100;
const JOINS_AT_ONCE = 8;
const TRIES_MAX = 8;
const RETRY = { baseMs: 500, capMs: 10_000 };
// An ack may overtake its event; only after this long is the event taken for missing.
const ACK_EVENT_MS = 1500;
const TYPING_EVERY_MS = 3000;
const TYPING_MEMBERS_MAX = 100;

export class Client {
  #connection;
  #clock;
  #wall;
  #random;
  #makeKey;
  #catching = new Map();
  #pumping = new Set();
  #typing = { room: null, at: -Infinity };

  /** `onChange(topic, roomName)`: "status" "rooms" "messages" "members" "typing" "self" "read". */
  constructor({ connection, state, clock, wall = Date.now, random = Math.random, makeKey }) {
    this.#connection = connection;
    this.#clock = clock;
    this.#wall = wall;
    this.#random = random;
    this.#makeKey = makeKey;
    this.state = state;
    this.onChange = () => {};
    /** The read position of a room from an earlier visit: `{ epoch, seq }` or null. */
    this.readPosition = () => null;
    connection.onState = (now) => this.#connectionChanged(now);
    connection.onWelcome = (welcome) => this.#welcomed(welcome);
    connection.onEvent = (frame) => this.#event(frame);
  }

  get connected() {
    return this.#connection.connected;
  }

  /** Opens a room by any spelling. It is joined now, or as soon as there is a connection. */
  open(name) {
    const room = this.state.add(name);
    this.onChange("rooms");
    if (!room.joined && this.connected) this.#enter(room);
    return room;
  }

  /** Tries a room again that could not be joined. */
  rejoin(room) {
    if (this.connected) return this.#enter(room);
    return Promise.resolve();
  }

  leave(name) {
    this.state.remove(name);
    this.#connection.request({ type: "leave", room: name }).catch(() => {});
    this.onChange("rooms");
  }

  /** Queues a message. Null, or why it was not taken. */
  sendMessage(roomName, content) {
    if (byteLength(content) > this.state.limits.message_bytes) return "too_large";
    const send = this.state.addPending({
      room: roomName, content, key: this.#makeKey(), now: this.#wall(),
    });
    if (!send) return "queue_full";
    this.#typing.at = -Infinity;
    this.onChange("messages", roomName);
    this.#pump(roomName);
    return null;
  }

  retry(send) {
    this.state.retryPending(send, { key: this.#makeKey(), now: this.#wall() });
    this.onChange("messages", send.room);
    this.#pump(send.room);
  }

  discard(send) {
    this.state.dropPending(send);
    this.onChange("messages", send.room);
  }

  /** Loads the page before what is known. */
  async loadOlder(room) {
    if (!room.canLoadOlder || room.loadingOlder || !this.connected || !room.joined) return;
    room.loadingOlder = true;
    const { epoch, from } = room;
    this.onChange("messages", room.name);
    try {
      const page = await this.#connection.request(
        { type: "history", room: room.name, before: from, limit: this.#pageSize() });
      if (page.epoch !== undefined && page.epoch !== room.epoch) this.#enter(room);
      else if (room.epoch === epoch && room.from === from) room.applyBefore(page);
      room.olderFailed = false;
    } catch {
      // Scrolling up again asks again.
      room.olderFailed = true;
    } finally {
      room.loadingOlder = false;
      this.onChange("messages", room.name);
    }
  }

  async refreshRooms() {
    const reply = await this.#ask({ type: "rooms" });
    if (!Array.isArray(reply?.rooms)) return;
    this.state.listed = reply.rooms.filter((entry) => typeof entry?.room === "string");
    this.state.listedMore = reply.has_more === true;
    this.onChange("rooms");
  }

  async refreshMembers(name) {
    const reply = await this.#ask({ type: "members", room: name });
    if (!reply) return;
    this.state.rosterOf(name)?.replace(reply);
    this.onChange("members", name);
  }

  /** To be called while somebody writes; sends only as often as the protocol wants. */
  typing(name, active) {
    const now = this.#clock.now();
    const known = this.#typing.room === name && now - this.#typing.at < TYPING_EVERY_MS;
    if (!this.state.features.includes("typing")) return;
    if (active ? known : this.#typing.room !== name || this.#typing.at === -Infinity) return;
    if ((this.state.rosterOf(name)?.count ?? 0) > TYPING_MEMBERS_MAX) return;
    this.#typing = { room: name, at: active ? now : -Infinity };
    this.#connection.send({ type: "typing", room: name, active });
  }

  typingNow(name) {
    const roster = this.state.rosterOf(name);
    return roster ? roster.typingNow(this.#clock.now()) : { names: [], next: null };
  }

  async #ask(frame) {
    try {
      return await this.#connection.request(frame);
    } catch {
      return null;
    }
  }

  #pageSize() {
    return Math.max(1, Math.min(PAGE, this.state.limits.history ?? PAGE));
  }

  #connectionChanged(now) {
    if (now.name !== "connected") this.state.applyLoss();
    this.onChange("status");
  }

  #welcomed(welcome) {
    this.state.applyWelcome(welcome);
    this.#typing.at = -Infinity;
    this.onChange("self");
    this.#enterAll();
  }

  /** Joins all rooms again, the one being looked at first, a few at a time. */
  async #enterAll() {
    const link = this.#connection.link;
    const rooms = [...this.state.rooms.values()];
    rooms.sort((a, b) => (b.name === this.state.active) - (a.name === this.state.active));
    const worker = async () => {
      while (rooms.length > 0 && this.#connection.link === link) await this.#enter(rooms.shift());
    };
    await Promise.all(Array.from({ length: JOINS_AT_ONCE }, worker));
  }

  async #enter(room) {
    if (room.entering === this.#connection.link) return;
    const link = this.#connection.link;
    room.entering = link;
    room.synced = false;
    try {
      await this.#join(room, link);
    } finally {
      if (room.entering === link) room.entering = null;
    }
  }

  async #join(room, link) {
    const current = () => this.#connection.link === link && this.#has(room);
    for (let tries = 0; current(); tries += 1) {
      try {
        const history = Math.min(JOIN_HISTORY, this.#pageSize());
        const reply = await this.#connection.request({ type: "join", room: room.name, history });
        if (this.#connection.link !== link) return;
        if (this.#has(room)) await this.#joined(room, reply, link);
        else this.#ask({ type: "leave", room: reply.room });
        return;
      } catch (error) {
        if (!current() || !this.connected) return;
        if (!error.retryable || tries >= TRIES_MAX) return this.#joinFailed(room, error);
        await this.#wait(error, tries);
      }
    }
  }

  #joinFailed(room, error) {
    room.error = { code: error.code, text: error.message };
    this.onChange("rooms");
    this.onChange("messages", room.name);
  }

  async #joined(asked, reply, link) {
    const room = this.state.rename(asked, reply.room ?? asked.name);
    if (room !== asked && room.joined) return this.onChange("rooms");
    const first = !room.loaded;
    const { epoch } = room;
    room.applyJoined(reply);
    if (!first && room.epoch !== epoch) this.state.requeueAcked(room.name);
    room.olderFailed = false;
    if (first) this.#restoreRead(room, reply);
    room.joined = true;
    room.error = null;
    this.state.rosterOf(room.name).replace(reply.members);
    this.state.settlePending(room.name);
    for (const topic of ["rooms", "messages", "members"]) this.onChange(topic, room.name);
    await this.#catchUp(room, link);
  }

  #restoreRead(room, { epoch, head = 0 }) {
    const position = this.readPosition(room.name);
    room.read = position?.epoch === epoch ? Math.min(position.seq, head) : head;
    if (this.state.active === room.name) this.state.activate(room.name);
  }

  /** Fetches until nothing is known to be missing; then sends what waits. One run per room. */
  async #catchUp(room, link = this.#connection.link) {
    if (this.#catching.get(room) === link) return;
    this.#catching.set(room, link);
    try {
      for (let tries = 0; room.behind && this.#live(room, link);) {
        tries = (await this.#fetchAfter(room, link)) ? 0 : tries + 1;
        if (tries > TRIES_MAX) room.skipHole();
      }
    } finally {
      if (this.#catching.get(room) === link) this.#catching.delete(room);
    }
    if (!this.#live(room, link)) return;
    room.synced = true;
    this.state.settlePending(room.name);
    this.onChange("messages", room.name);
    this.#pump(room.name);
  }

  async #fetchAfter(room, link) {
    const { goal, epoch } = room;
    try {
      const page = await this.#connection.request(
        { type: "history", room: room.name, after: room.to, limit: this.#pageSize() });
      if (!this.#live(room, link)) return true;
      if (page.epoch !== undefined && page.epoch !== epoch) {
        room.joined = false;
        this.#clock.setTimeout(() => this.#live(room, link, false) && this.#enter(room), 0);
        return true;
      }
      if (!room.applyAfter(page, goal)) room.skipHole();
      this.state.settlePending(room.name);
      this.onChange("messages", room.name);
      return true;
    } catch (error) {
      if (!this.#live(room, link)) return true;
      if (error.retryable) await this.#wait(error, 0);
      else room.skipHole();
      return !error.retryable;
    }
  }

  #live(room, link, joined = true) {
    return this.#connection.link === link && this.connected && room.joined === joined
      && this.#has(room);
  }

  #has(room) {
    return this.state.rooms.get(room.name) === room;
  }

  /** Sends of one room go one after the other: only so they keep their order through errors. */
  async #pump(name) {
    if (this.#pumping.has(name)) return;
    this.#pumping.add(name);
    try {
      for (;;) {
        const send = this.state.nextToSend(name);
        const room = this.state.rooms.get(name);
        if (!send || !this.connected || !room?.synced) return;
        await this.#sendOne(room, send);
      }
    } finally {
      this.#pumping.delete(name);
    }
  }

  async #sendOne(room, send) {
    if (this.state.isTooOld(send, this.#wall())) {
      return this.#fail(send, "too_old", "Waited for more than a day, so it was not sent.");
    }
    send.status = "sending";
    try {
      const ack = await this.#connection.request(
        { type: "message", room: send.room, key: send.key, content: send.content });
      if (this.state.hasPending(send)) this.#acked(send, ack);
    } catch (error) {
      if (this.state.hasPending(send)) await this.#notAcked(room, send, error);
    }
    this.onChange("messages", send.room);
  }

  #acked(send, ack) {
    this.state.ackPending(send, ack);
    if (!this.state.hasPending(send)) return;
    this.#clock.setTimeout(() => {
      const room = this.state.rooms.get(send.room);
      if (room?.joined && room.behind && this.state.hasPending(send)) this.#catchUp(room);
    }, ACK_EVENT_MS);
  }

  async #notAcked(room, send, error) {
    send.status = "queued";
    if (error.code === "disconnected" || error.code === "not_connected") return;
    if (error.code === "not_member") {
      room.joined = false;
      room.synced = false;
      send.tries += 1;
      if (send.tries <= TRIES_MAX) return void this.#enter(room);
    }
    const again = error.retryable || error.code === "unknown_outcome"
      || LOCAL_CODES.includes(error.code);
    if (!again || send.tries >= TRIES_MAX) return this.#fail(send, error.code, error.message);
    send.tries += 1;
    this.onChange("messages", send.room);
    await this.#wait(error, send.tries);
  }

  #fail(send, code, text) {
    this.state.failPending(send, code, text);
    this.onChange("messages", send.room);
  }

  #wait(error, tries) {
    const ms = Math.max(error.retryAfterMs ?? 0, 100 + backoff(tries, this.#random, RETRY));
    return new Promise((resolve) => this.#clock.setTimeout(resolve, ms));
  }

  #event(frame) {
    const room = this.state.rooms.get(frame.room);
    if (!room) return;
    const roster = this.state.rosterOf(room.name);
    switch (frame.type) {
      case "join":
        roster.join(frame);
        return this.onChange("members", room.name);
      case "leave":
        roster.leave(frame);
        this.onChange("typing", room.name);
        return this.onChange("members", room.name);
      case "members":
        // Who is there, whatever single joins and leaves have said.
        roster.replace(frame);
        return this.onChange("members", room.name);
      case "typing":
        if (!this.state.self.users.has(frame.user)) roster.setTyping(frame, this.#clock.now());
        return this.onChange("typing", room.name);
      case "gap":
        room.expect(frame.to);
        return void this.#catchUp(room);
      default:
        if (Number.isSafeInteger(frame.seq)) this.#entry(room, roster, frame);
    }
  }

  #entry(room, roster, entry) {
    if (entry.type === "message" && roster.stopTyping(entry.user)) {
      this.onChange("typing", room.name);
    }
    room.applyLive(entry);
    if (room.isOwn(entry)) this.state.settlePending(room.name);
    // A hole before a live entry: something was lost, or we overlooked a gap frame.
    if (room.ahead.length > 0 && room.joined) this.#catchUp(room);
    this.onChange("messages", room.name);
  }
}
