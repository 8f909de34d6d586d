// The one door through which entries come: each once and in order. What is missing is paged for.

import { abandon } from "./connection.js";
import { folded } from "./names.js";
import { before, next } from "./position.js";
import { request } from "./requests.js";
import { boundsOf, roomOf, touch } from "./rooms.js";
import { settle } from "./sending.js";

/** Returns a room if entries come from it, or null. */
function liveRoom(client, name) {
  const room = roomOf(client, name);
  return room !== null && room.isIn && room.place !== null ? room : null;
}

export function entry(client, entry, turn) {
  const room = liveRoom(client, entry.room);
  if (room === null) return;
  const passed = [];
  const offer = room.place.offer(entry, boundsOf(client), passed);
  if (offer === "old") return;
  letPass(client, room, passed, offer === "beyond" ? "proof" : "claim", turn);
}

/** Entries up to here were left out. */
export function gap(client, name, to, turn) {
  const room = liveRoom(client, name);
  if (room === null) return;
  room.place.expect(to);
  letPass(client, room, [], "proof", turn);
}

/** These entries are not to be had. */
export function hole(client, name, from, to, turn) {
  const room = liveRoom(client, name);
  if (room === null) return;
  const passed = [];
  if (from <= next(room.place.cursor)) {
    room.place.skip(to, passed);
    return letPass(client, room, passed, "claim", turn);
  }
  // Others are missing before them; the page that brings those tells of the hole again.
  room.place.expect(to);
  letPass(client, room, passed, "proof", turn);
}

/** The server says where a room ends. */
export function head(client, name, position, turn) {
  const room = liveRoom(client, name);
  if (room === null) return;
  if (room.place.epoch === position.epoch) {
    room.place.expect(position.seq);
    return letPass(client, room, [], "claim", turn);
  }
  // Another log: a join tells which one holds.
  room.stage = { name: "out" };
  room.heal.rejoin();
  touch(client, name, turn);
}

export function askPage(client, link, room, after, turn) {
  const frame = { type: "history", room: room.name, after };
  const purpose = { type: "page", room: folded(room.name) };
  room.heal.ask(request(client, link, purpose, frame, turn), after);
}

/**
 * Takes a page in that was asked for. It begins right after the place that was asked for, so what
 * is missing before one of its entries is not in the log.
 */
export function paged(client, name, number, page, turn) {
  const room = client.rooms.get(name);
  const after = room?.heal.answered(number) ?? null;
  if (after === null || !room.isIn || room.place === null) return;
  if (room.place.epoch !== page.epoch) return otherLog(client, room, turn);
  const passed = [];
  for (const event of page.events) {
    if (folded(event.room) !== name) continue;
    room.place.skip(before(event.seq), passed);
    room.place.offer(event, boundsOf(client), passed);
  }
  const helped = room.place.cursor > after || !room.place.isBehind();
  letPass(client, room, passed, "proof", turn);
  if (!helped) fruitless(client, room, page.has_more_after ? "contradiction" : "not_yet", turn);
}

export function pageRefused(client, name, number, error, turn) {
  const room = client.rooms.get(name);
  if (!room || room.heal.answered(number) === null) return;
  const now = turn.now.mono;
  if (error.retryable) {
    room.heal.refused(now, client.config.times, error.retry_after_ms, turn.random);
  } else if (error.code === "not_member") {
    room.dropOut();
    room.refusedForNow(now, client.config, error.retry_after_ms, turn.random);
  } else {
    return fruitless(client, room, "not_yet", turn);
  }
  touch(client, name, turn);
}

export function pageUnanswered(client, name, number, turn) {
  const room = client.rooms.get(name);
  if (room && room.heal.answered(number) !== null) fruitless(client, room, "not_yet", turn);
}

/** A page brought nothing, though something is missing. */
function fruitless(client, room, what, turn) {
  if (room.place === null) return;
  const { heal, place } = room;
  const { times } = client.config;
  const passed = [];
  switch (heal.fruitless(what, place.isProven(), turn.now.mono, times, turn.random)) {
    case "again":
      return touch(client, room.name, turn);
    case "relink":
      return abandon(client, { givenUp: true }, turn);
    case "doubt":
      place.doubt();
      return letPass(client, room, [], "claim", turn);
    default:
      place.giveUp(passed);
      letPass(client, room, passed, "proof", turn);
  }
}

/** A page is of another log than the room: a join tells which one holds. */
function otherLog(client, room, turn) {
  const now = turn.now.mono;
  const remedy = room.heal.fruitless("not_yet", true, now, client.config.times, turn.random);
  if (remedy === "relink") {
    return abandon(client, { givenUp: true }, turn);
  }
  room.refusedForNow(now, client.config, null, turn.random);
  touch(client, room.name, turn);
}

/**
 * Delivers what has passed, and looks whether more is missing.
 *
 * One's own entry is as good as its ack. Where the ack was lost with the connection and the user id
 * with the session, it is all there is: the key would count no more.
 */
export function letPass(client, room, passed, evidence, turn) {
  for (const { entry, lost } of passed) {
    if (entry) {
      turn.deliver({ type: "entry", entry });
      settleOwn(client, room, entry, turn);
    } else {
      turn.deliver({ type: "lost", room: room.name, ...lost });
    }
  }
  room.review(turn.now.mono, client.config, passed.length > 0, evidence);
  touch(client, room.name, turn);
}

function settleOwn(client, room, entry, turn) {
  if (entry.key === null || !client.session.isOwn(entry)) return;
  const send = room.sends.sentWith(entry.key);
  if (send === null) return;
  const { seq, ts } = entry;
  settle(client, room, send, { name: "acked", seq, ts, duplicate: false }, turn);
}
