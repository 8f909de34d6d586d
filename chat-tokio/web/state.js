// All that the page knows, without the page: who we are, the rooms, the sends on their way.

import { KEEP_ACTIVE, KEEP_BACKGROUND, Room } from "./room.js";
import { Roster } from "./roster.js";
import { fold } from "./text.js";

export const PENDING_MAX = 100;
// The server remembers keys for at least this long; after it a repeat could show up twice.
export const PENDING_AGE_MAX_MS = 24 * 60 * 60 * 1000;

const DEFAULT_LIMITS = { message_bytes: 8192, history: 50, rooms: 128 };

export class ChatState {
  constructor() {
    this.self = { user: null, name: null, users: new Set() };
    this.limits = { ...DEFAULT_LIMITS };
    this.features = [];
    this.rooms = new Map();
    this.rosters = new Map();
    this.active = null;
    this.pending = [];
    /** Rooms that somebody is in, as last listed. */
    this.listed = [];
    this.listedMore = false;
  }

  applyWelcome(welcome) {
    this.self.user = welcome.user;
    this.self.name = welcome.name ?? this.self.name;
    this.self.users.add(welcome.user);
    this.limits = { ...DEFAULT_LIMITS, ...welcome.limits };
    this.features = Array.isArray(welcome.features) ? welcome.features : [];
    for (const room of this.rooms.values()) this.#parted(room);
  }

  applyLoss() {
    for (const room of this.rooms.values()) this.#parted(room);
    for (const roster of this.rosters.values()) roster.typing.clear();
  }

  #parted(room) {
    room.joined = false;
    room.synced = false;
  }

  get room() {
    return this.rooms.get(this.active) ?? null;
  }

  rosterOf(name) {
    return this.rosters.get(name) ?? null;
  }

  /** A room by any spelling of its name. */
  find(name) {
    const exact = this.rooms.get(name);
    if (exact) return exact;
    const folded = fold(name);
    return [...this.rooms.values()].find((room) => fold(room.name) === folded) ?? null;
  }

  add(name) {
    const room = this.find(name) ?? new Room(name, this.self);
    if (!this.rooms.has(room.name)) {
      this.rooms.set(room.name, room);
      this.rosters.set(room.name, new Roster());
    }
    return room;
  }

  /** The server has the last word on a room's name. Returns the room that bears it now. */
  rename(room, name) {
    if (room.name === name) return room;
    const other = this.rooms.get(name);
    const roster = this.rosters.get(room.name);
    const from = room.name;
    const entries = [...this.rooms];
    this.rosters.delete(from);
    for (const send of this.pending) if (send.room === from) send.room = name;
    if (this.active === from) this.active = name;
    if (other) {
      this.rooms.delete(from);
      if (this.active === name) other.setKeep(KEEP_ACTIVE);
      return other;
    }
    room.name = name;
    this.rosters.set(name, roster);
    // Rebuilt rather than re-inserted: a room keeps its place in the list.
    this.rooms = new Map(entries.map(([key, value]) => [key === from ? name : key, value]));
    return room;
  }

  remove(name) {
    this.rooms.delete(name);
    this.rosters.delete(name);
    this.pending = this.pending.filter((send) => send.room !== name);
    if (this.active === name) this.activate(this.rooms.keys().next().value ?? null);
  }

  /** Remembers where the unread part began, for the line that marks it. */
  activate(name) {
    if (this.active !== name) this.room?.setKeep(KEEP_BACKGROUND);
    this.active = name;
    const room = this.room;
    if (!room) return;
    room.setKeep(KEEP_ACTIVE);
    room.divider = room.unread > 0 ? room.read : null;
  }

  get unread() {
    let sum = 0;
    for (const room of this.rooms.values()) sum += room.unread;
    return sum;
  }

  /** Queues a send. Null when too many are waiting already: the text stays with its author. */
  addPending({ room, content, key, now }) {
    if (this.pending.length >= PENDING_MAX) return null;
    const send = { room, content, key, created: now, status: "queued", tries: 0, seq: null };
    this.pending.push(send);
    return send;
  }

  pendingOf(name) {
    return this.pending.filter((send) => send.room === name);
  }

  nextToSend(name) {
    return this.pending.find((send) => send.room === name && send.status === "queued") ?? null;
  }

  hasPending(send) {
    return this.pending.includes(send);
  }

  dropPending(send) {
    this.pending = this.pending.filter((other) => other !== send);
  }

  isTooOld(send, now) {
    return now - send.created > PENDING_AGE_MAX_MS;
  }

  failPending(send, code, text) {
    send.status = "failed";
    send.error = { code, text };
  }

  /** Tried again because its author asked: the age counts from now. */
  retryPending(send, { key, now }) {
    if (send.error?.code === "idempotency_conflict") send.key = key;
    Object.assign(send, { status: "queued", tries: 0, created: now, error: null });
  }

  ackPending(send, ack) {
    send.status = "acked";
    send.seq = ack.seq;
    this.rooms.get(send.room)?.expect(ack.seq);
    this.settlePending(send.room);
  }

  /** What was acked in a log that is gone has to be said again; the key keeps it from doubling. */
  requeueAcked(name) {
    for (const send of this.pendingOf(name)) {
      if (send.status === "acked") Object.assign(send, { status: "queued", seq: null });
    }
  }

  /**
   * Removes the sends that are now to be seen as messages. A key counts only together with one of
   * our user ids: others can read it, and could use it again.
   */
  settlePending(name) {
    const room = this.rooms.get(name);
    if (!room || !this.pending.some((send) => send.room === name)) return;
    const own = new Set();
    for (const message of room.messages) {
      if (room.isOwn(message)) own.add(message.key);
    }
    this.pending = this.pending.filter((send) => send.room !== name
      || !(own.has(send.key) || (send.seq !== null && send.seq <= room.to)));
  }
}
