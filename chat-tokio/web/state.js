// All that the page knows, without the page: who we are, the rooms, the sends on their way.

import { DEFAULT_LIMITS } from "./client/frames.js";
import { folded } from "./client/names.js";
import { USERS_MAX } from "./client/session.js";
import { KEEP_ACTIVE, KEEP_BACKGROUND, Room } from "./room.js";
import { Roster } from "./roster.js";

/** Sends that wait, or have failed and are shown until their author decides. */
export const PENDING_MAX = 100;

export class ChatState {
  constructor() {
    this.self = { user: null, name: null, users: new Set() };
    this.limits = { ...DEFAULT_LIMITS };
    /** As the Client tells it. */
    this.connection = { name: "idle" };
    this.rooms = new Map();
    this.rosters = new Map();
    this.active = null;
    this.pending = [];
    /** Rooms that somebody is in, as last listed. */
    this.listed = [];
    this.listedMore = false;
  }

  get online() {
    return this.connection.name === "online";
  }

  applyConnection(connection) {
    this.connection = connection;
    if (this.online) return;
    for (const room of this.rooms.values()) room.joined = false;
    for (const roster of this.rosters.values()) roster.typing.clear();
  }

  applyWelcome(welcome) {
    this.self.user = welcome.user;
    this.self.name = welcome.name;
    this.rememberUsers([welcome.user]);
    this.limits = welcome.limits;
  }

  /** Our own ids, of this session and of those before it. */
  rememberUsers(users) {
    const all = [...[...this.self.users].filter((user) => !users.includes(user)), ...users];
    this.self.users.clear();
    for (const user of all.slice(-USERS_MAX)) this.self.users.add(user);
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
    const form = folded(name);
    return [...this.rooms.values()].find((room) => folded(room.name) === form) ?? null;
  }

  add(name) {
    const room = this.find(name) ?? new Room(name, this.self);
    if (!this.rooms.has(room.name)) {
      this.rooms.set(room.name, room);
      this.rosters.set(room.name, new Roster());
    }
    return room;
  }

  /** The server has the last word on how a room's name is spelled. */
  rename(room, name) {
    if (room.name === name) return;
    const from = room.name;
    const roster = this.rosters.get(from);
    this.rosters.delete(from);
    this.rosters.set(name, roster);
    for (const send of this.pending) if (send.room === from) send.room = name;
    if (this.active === from) this.active = name;
    room.name = name;
    // Rebuilt rather than re-inserted: a room keeps its place in the list.
    this.rooms = new Map([...this.rooms].map(([key, value]) => [key === from ? name : key, value]));
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

  /**
   * Adds a send: `status` is "queued" (until it is settled), "acked" (until it is seen) or "failed"
   * (`error`); `delayed` is why the server wants it later. Null when too many are there already:
   * the text stays with its author.
   */
  addPending({ room, content, key, now, sentAs = null }) {
    if (this.pending.length >= PENDING_MAX) return null;
    const send = { ticket: null, room, content, key, created: now, sentAs, status: "queued",
      delayed: null, error: null, inDoubt: false, seq: null };
    this.pending.push(send);
    return send;
  }

  pendingOf(name) {
    return this.pending.filter((send) => send.room === name);
  }

  /** Sends whose outcome is not known. */
  get unsettled() {
    return this.pending.filter((send) => send.status === "queued");
  }

  findPending(ticket) {
    return this.pending.find((send) => send.ticket === ticket) ?? null;
  }

  dropPending(send) {
    this.pending = this.pending.filter((other) => other !== send);
  }

  /** `inDoubt`: it was refused now, but may be in the log by an earlier attempt. */
  failPending(send, error, inDoubt = false) {
    Object.assign(send, { status: "failed", error, inDoubt, delayed: null });
  }

  /** Tried again because its author asked: a new send, which does not count as the old one. */
  retryPending(send, { key, now }) {
    Object.assign(send, { status: "queued", error: null, created: now, key, sentAs: null });
    // It goes out after what was written since.
    this.pending = [...this.pending.filter((other) => other !== send), send];
  }

  ackPending(send, seq) {
    Object.assign(send, { status: "acked", delayed: null, seq });
    this.settlePending(send.room);
  }

  /** What was acked in a log that is gone, and not seen there, is not to be seen any more. */
  failAcked(name, error) {
    for (const send of this.pendingOf(name)) {
      if (send.status === "acked") this.failPending(send, error);
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
