// Delivers the entries of rooms, each once and in order, and requests the missing ones.

import { abandon } from "./connection.js";
import { folded } from "./names.js";
import { before, next } from "./position.js";
import { request } from "./requests.js";
import { boundsOf, roomOf, touch } from "./rooms.js";
import { settle } from "./sending.js";

/** Returns a room that the session is a member of, or null. Frames about other rooms are late. */
function liveRoom(client, name) {
  const room = roomOf(client, name);
  return room !== null && room.isIn && room.position !== null ? room : null;
}

export function entry(client, entry, turn) {
  const room = liveRoom(client, entry.room);
  if (room === null) return;
  const ready = [];
  const accepted = room.position.accept(entry, boundsOf(client), ready);
  if (accepted === "duplicate") return;
  const evidence = accepted === "out_of_order" ? "passed_over" : "announced";
  deliver(client, room, ready, evidence, turn);
}

/** Handles a `gap`: the server leaves out entries up to `to`. */
export function gap(client, name, to, turn) {
  const room = liveRoom(client, name);
  if (room === null) return;
  room.position.raiseHead(to);
  deliver(client, room, [], "passed_over", turn);
}

/** Handles a `hole`: the entries from `from` to `to` no longer exist. */
export function hole(client, name, from, to, turn) {
  const room = liveRoom(client, name);
  if (room === null) return;
  const ready = [];
  if (from <= next(room.position.cursor)) {
    room.position.skip(to, ready);
    return deliver(client, room, ready, "announced", turn);
  }
  // Entries before the hole are missing too. The page with them shows the hole again.
  room.position.raiseHead(to);
  deliver(client, room, ready, "passed_over", turn);
}

/** Handles the head of a room as the server knows it. */
export function head(client, name, position, turn) {
  const room = liveRoom(client, name);
  if (room === null) return;
  if (room.position.epoch === position.epoch) {
    room.position.raiseHead(position.seq);
    return deliver(client, room, [], "announced", turn);
  }
  // A join tells which of the two logs the room has.
  room.stage = { name: "out" };
  room.gap.ignoreAnswer();
  touch(client, name, turn);
}

export function requestPage(client, link, room, after, turn) {
  const frame = { type: "history", room: room.name, after };
  const purpose = { type: "page", room: folded(room.name) };
  room.gap.requested(request(client, link, purpose, frame, turn), after);
}

/**
 * Handles a requested page. A page begins right after the requested seq, so entries that it leaves
 * out before one of its own are lost. An empty page proves nothing.
 */
export function page(client, name, number, page, turn) {
  const room = client.rooms.get(name);
  const after = room?.gap.answered(number) ?? null;
  if (after === null || !room.isIn || room.position === null) return;
  const { position } = room;
  if (position.epoch !== page.epoch) return pageOfAnotherLog(client, room, turn);
  const ready = [];
  for (const event of page.events) {
    if (folded(event.room) !== name) continue;
    position.skip(before(event.seq), ready);
    position.accept(event, boundsOf(client), ready);
  }
  const isFruitless = position.cursor <= after && position.isBehind();
  deliver(client, room, ready, "passed_over", turn);
  if (isFruitless) fruitlessPage(client, room, turn);
}

export function pageRefused(client, name, number, error, turn) {
  const room = client.rooms.get(name);
  if (!room || room.gap.answered(number) === null) return;
  const now = turn.now.mono;
  if (error.retryable) {
    room.gap.refused(now, client.config.times, error.retry_after_ms, turn.random);
  } else if (error.code === "not_member") {
    room.dropOut();
    room.refusedForNow(now, client.config, error.retry_after_ms, turn.random);
  } else {
    return fruitlessPage(client, room, turn);
  }
  touch(client, name, turn);
}

export function pageUnanswered(client, name, number, turn) {
  const room = client.rooms.get(name);
  if (room && room.gap.answered(number) !== null) fruitlessPage(client, room, turn);
}

/** Handles a page without progress, although entries are known to be missing. */
function fruitlessPage(client, room, turn) {
  const remedy = room.gap.fruitless(turn.now.mono, client.config.times, turn.random);
  if (remedy === "reconnect") abandon(client, { givenUp: true }, turn);
  else touch(client, room.name, turn);
}

/** Handles a page of another log. A join tells which of the two logs the room has. */
function pageOfAnotherLog(client, room, turn) {
  const now = turn.now.mono;
  const remedy = room.gap.fruitless(now, client.config.times, turn.random);
  if (remedy === "reconnect") return abandon(client, { givenUp: true }, turn);
  room.refusedForNow(now, client.config, null, turn.random);
  touch(client, room.name, turn);
}

/**
 * Delivers what is ready, and schedules a page if entries are missing.
 *
 * An entry of this client settles its message like an `ack`. If the `ack` was lost with the
 * connection and the user id with the session, the entry is all that tells: the key does not count
 * for the new user.
 */
export function deliver(client, room, ready, evidence, turn) {
  for (const { entry, lost } of ready) {
    if (entry) {
      turn.deliver({ type: "entry", entry });
      settleOwn(client, room, entry, turn);
    } else {
      turn.deliver({ type: "lost", room: room.name, ...lost });
    }
  }
  room.reviewGap(turn.now.mono, client.config.times, ready.length > 0, evidence);
  touch(client, room.name, turn);
}

function settleOwn(client, room, entry, turn) {
  if (entry.key === null || !client.session.isOwn(entry)) return;
  const send = room.sends.sentWith(entry.key);
  if (send === null) return;
  const { seq, ts } = entry;
  settle(client, room, send, { name: "acked", seq, ts, duplicate: false }, turn);
}
