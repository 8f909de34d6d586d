// Joins and leaves rooms, and decides who asks for something next.
//
// Rooms are named here by the form in which names are compared (`folded`), which is also a name of
// the room; what the application is told has the server's spelling.

import { pumpAsks } from "./asks.js";
import { onlineLink } from "./connection.js";
import { deliver, requestPage } from "./delivery.js";
import { GapRepair } from "./gap.js";
import { folded } from "./names.js";
import { refusedOutcome } from "./outbox.js";
import { before, LogPosition } from "./position.js";
import { canRequest, request } from "./requests.js";
import { Room } from "./room.js";
import { sendNow, settleSend } from "./sending.js";

/** Rooms that may have something to ask for, each once, first come, first served. */
export class Ready {
  // A Set keeps the order in which its members came.
  #order = new Set();

  push(room) {
    this.#order.add(room);
  }

  pop() {
    for (const room of this.#order) {
      this.#order.delete(room);
      return room;
    }
    return null;
  }

  remove(room) {
    this.#order.delete(room);
  }

  clear() {
    this.#order.clear();
  }
}

/** All rooms in the order of their names. */
export function sortedRooms({ rooms }) {
  return [...rooms.keys()].sort().map((name) => rooms.get(name));
}

export function roomOf(client, name) {
  return client.rooms.get(folded(name)) ?? null;
}

export function boundsOf({ config }) {
  return { entries: config.bufferedEntries, bytes: config.bufferedBytes };
}

export function join(client, name, turn) {
  const room = roomOf(client, name);
  if (room !== null) {
    if (room.intent === "leave") room.intent = "leave_and_join";
    return;
  }
  if (client.rooms.size >= client.config.rooms) {
    return turn.deliver({ type: "left", room: name, why: "too_many" });
  }
  client.rooms.set(folded(name), new Room(name));
  touch(client, name, turn);
}

export function leave(client, name, turn) {
  const room = roomOf(client, name);
  if (room === null) return turn.deliver({ type: "left", room: name, why: "asked" });
  room.intent = "leave";
  touch(client, name, turn);
}

export function isIn(client, name) {
  return roomOf(client, name)?.isIn ?? false;
}

/** Looks at a room anew, because something about it has changed. */
export function touch(client, name, turn) {
  finish(client, name, turn);
  const key = folded(name);
  if (onlineLink(client.connection) !== null && client.rooms.has(key)) client.ready.push(key);
}

/** Forgets a room that is left and where all is said; begins it anew if that is wanted. */
export function finish(client, name, turn) {
  const room = roomOf(client, name);
  if (!room?.isDone()) return;
  forget(client, room, { why: "asked" }, turn);
  if (room.intent === "leave_and_join") client.rooms.set(folded(name), new Room(name));
}

/** Forgets a room, and settles what was to be said there. `reason`: `why`, perhaps an `error`. */
export function forget(client, room, reason, turn) {
  const key = folded(room.name);
  client.rooms.delete(key);
  client.ready.remove(key);
  client.timers.clear("room", key);
  for (const send of room.sends.drain()) {
    const outcome = reason.error ? refusedOutcome(send, reason.error) : { name: "stopped" };
    settleSend(client, send, outcome, turn);
  }
  turn.deliver({ type: "left", room: room.name, ...reason });
}

/** Sends what may be sent: questions first, then one request of each room in turn. */
export function pump(client, turn) {
  if (client.quiet !== null) {
    if (client.quiet > turn.now.mono) return client.timers.set(client.quiet, "quiet");
    client.quiet = null;
  }
  pumpAsks(client, turn);
  while (onlineLink(client.connection) !== null && canRequest(client)) {
    const name = client.ready.pop();
    if (name === null) break;
    advance(client, name, turn);
  }
}

/** Sends a room's next request, or arms its timer. */
function advance(client, name, turn) {
  const link = onlineLink(client.connection);
  const room = client.rooms.get(name);
  if (!room) return;
  const next = room.next(turn.now.mono, client.config, client.session.user);
  if (next.wait !== undefined) {
    if (next.wait === null) client.timers.clear("room", name);
    else client.timers.set(next.wait, "room", name);
    return;
  }
  if (next.join) {
    const frame = { type: "join", room: room.name, history: client.config.history };
    const number = request(client, link, { type: "join", room: name }, frame, turn);
    room.stage = { name: "joining", request: number };
    room.entered = true;
  } else if (next.leave) {
    const frame = { type: "leave", room: room.name };
    const number = request(client, link, { type: "leave", room: name }, frame, turn);
    room.stage = { name: "parting", request: number };
  } else if (next.send) {
    sendNow(client, link, room, next.send, turn);
  } else {
    requestPage(client, link, room, next.page, turn);
  }
  client.ready.push(name);
}

export function joined(client, name, number, reply, turn) {
  const room = client.rooms.get(name);
  if (!room?.isAt("joining", number)) return;
  room.enter();
  room.name = reply.room;
  const known = room.position === null ? null : room.position.epoch === reply.epoch;
  if (room.renounced || known === false) {
    turn.deliver({ type: "reset", room: reply.room, epoch: reply.epoch });
  }
  room.renounced = false;
  const events = reply.events.filter((event) => folded(event.room) === name);
  const start = events.length > 0 ? before(events[0].seq) : reply.head;
  const fresh = known !== true;
  if (fresh) {
    room.position = new LogPosition({ epoch: reply.epoch, seq: start });
    room.gap = new GapRepair();
  }
  turn.deliver({ type: "joined", room: reply.room, epoch: reply.epoch, head: reply.head, fresh,
    members: reply.members, hasMoreBefore: fresh && reply.has_more_before });
  const ready = [];
  room.position.raiseHead(reply.head);
  // The log has no entry before the first one of the reply.
  if (!reply.has_more_before) room.position.skip(start, ready);
  for (const event of events) room.position.accept(event, boundsOf(client), ready);
  deliver(client, room, ready, "passed_over", turn);
}

/** An operator has taken the session out of a room. */
export function putOut(client, error, turn) {
  if (!isIn(client, error.room)) return;
  forget(client, roomOf(client, error.room), { why: "refused", error }, turn);
}

/** The session is out of the room. */
export function parted(client, name, number, turn) {
  const room = client.rooms.get(name);
  if (!room?.isAt("parting", number)) return;
  room.dropOut();
  if (room.intent === "leave_and_join" && !room.sends.isEmpty) return beginAnew(client, room, turn);
  touch(client, name, turn);
}

/** The room was left, but something was queued for the time after the next join. */
function beginAnew(client, old, turn) {
  const room = new Room(old.name);
  room.sends = old.sends;
  client.rooms.set(folded(old.name), room);
  turn.deliver({ type: "left", room: old.name, why: "asked" });
  touch(client, room.name, turn);
}

/** A join or leave was refused, or not answered (then there is no `error`). */
export function doorRefused(client, name, number, error, turn) {
  const room = client.rooms.get(name);
  const joins = room?.isAt("joining", number) ?? false;
  if (!joins && !room?.isAt("parting", number)) return;
  if (error === null || error.retryable) {
    const afterMs = error?.retry_after_ms ?? null;
    room.refusedForNow(turn.now.mono, client.config, afterMs, turn.random);
    if (error !== null && joins) room.entered = false;
  } else if (joins) {
    return forget(client, room, { why: "refused", error }, turn);
  } else {
    // Whoever may not even leave is out.
    return parted(client, name, number, turn);
  }
  touch(client, name, turn);
}

/** Makes an error that no server sent. */
export function localError(code, message, room) {
  return { type: "error", id: null, code, message, retryable: false, retry_after_ms: null, room };
}
