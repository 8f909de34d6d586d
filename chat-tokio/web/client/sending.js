// Takes messages to the log: each under its key, until it is settled.

import { retry } from "./backoff.js";
import { deliver } from "./delivery.js";
import { encodedLength } from "./frames.js";
import { folded, isCount, isUserId } from "./names.js";
import { doubt, makeSend, refusedOutcome, requestOf } from "./outbox.js";
import { request } from "./requests.js";
import { localError, roomOf, sortedRooms, touch } from "./rooms.js";

/** How often a message is sent again because the session was not in the room. */
const OUTSIDE_MAX = 4;
/** Bytes of a message's other fields and of its id, and of an escaped one, at most. */
const OTHERS = 1024;
const ESCAPED = 6;

export function send(client, event, turn) {
  const { ticket, key, content } = event;
  const room = roomOf(client, event.room);
  if (room === null || room.intent === "leave") {
    const error = localError("not_member", "the room was not joined", event.room);
    return turn.settle(ticket, { name: "refused", error });
  }
  const { outbox, config } = client;
  const replyTo = isCount(event.replyTo) ? event.replyTo : null;
  const sentAs = isUserId(event.sentAs) ? event.sentAs : null;
  const send = makeSend({ ticket, key, content, replyTo, sentAs, queued: queuedAt(event, turn.now) });
  if (outbox.entries >= config.outboxEntries || outbox.bytes + send.bytes > config.outboxBytes) {
    return turn.settle(ticket, { name: "full" });
  }
  outbox.add(send, config.times.sendExpiryMs);
  room.sends.push(send);
  // Who has said something types no more.
  room.typing = null;
  // A message of an earlier page may have expired already.
  expire(client, turn);
  armExpiry(client);
  touch(client, room.name, turn);
}

/**
 * Returns when a send was queued, by the monotonic clock. A send of an earlier page brings its wall
 * clock, which is used only here: the monotonic clock of that page has no meaning in this one.
 */
function queuedAt({ born }, { mono, wall }) {
  return isCount(born) && born < wall ? mono - (wall - born) : mono;
}

export function sendNow(client, link, room, send, turn) {
  const frame = requestOf(send, room.name);
  if (isTooLarge(client, send, frame)) {
    const error = localError("too_large", "longer than the server takes", room.name);
    return settle(client, room, send, refusedOutcome(send, error), turn);
  }
  const purpose = { type: "send", room: folded(room.name) };
  send.state = { name: "in_flight", request: request(client, link, purpose, frame, turn) };
  send.sentAs = client.session.user;
}

/** A frame that is too long would cost the connection, again and again. */
function isTooLarge({ session: { limits } }, send, frame) {
  if (send.bytes > limits.message_bytes) return true;
  return send.bytes * ESCAPED + OTHERS > limits.frame_bytes
    && encodedLength(frame) + 32 > limits.frame_bytes;
}

export function acked(client, name, number, { seq, ts, duplicate }, turn) {
  const room = client.rooms.get(name);
  if (!room) return;
  const send = room.sends.inFlight(number);
  // The own entry has to be delivered too.
  if (room.isIn) room.position?.raiseHead(seq);
  const outcome = { name: "acked", seq, ts: ts ?? 0, duplicate };
  if (send !== null) settle(client, room, send, outcome, turn);
  deliver(client, room, [], "announced", turn);
}

export function sendRefused(client, name, number, error, turn) {
  const room = client.rooms.get(name);
  const send = room?.sends.inFlight(number) ?? null;
  if (send === null) return;
  const now = turn.now.mono;
  if (leavesDoubt(error)) send.inDoubt = true;
  send.state = { name: "ready" };
  if (error.retryable) {
    const wait = retry(client.config.times, send.tries, error.retry_after_ms, turn.random);
    send.tries += 1;
    send.state = { name: "waiting", until: now + wait };
    turn.deliver({ type: "delayed", ticket: send.ticket, error, until: now + wait });
  } else if (error.code === "not_member" && send.outside < OUTSIDE_MAX) {
    send.outside += 1;
    if (room.isIn) {
      room.dropOut();
      if (send.outside > 1) room.refusedForNow(now, client.config, null, turn.random);
    }
  } else {
    settle(client, room, send, refusedOutcome(send, error), turn);
  }
  touch(client, name, turn);
}

/**
 * Tells whether an error leaves open what became of the attempt that it answers. All other codes of
 * the protocol say that it is not in the log, and so does whatever is refused for good.
 */
function leavesDoubt({ retryable, code }) {
  return retryable && (code === "unknown_outcome" || code === "unknown");
}

/** A send has had its time, and nobody knows what became of it: it is sent again. */
export function sendUnanswered(client, name, number, turn) {
  const send = client.rooms.get(name)?.sends.inFlight(number) ?? null;
  if (send !== null) doubt(send);
  touch(client, name, turn);
}

/**
 * Settles the sends that were queued as the user of another account: nobody's words are sent in
 * somebody else's name. Guests keep their sends, because a guest may get another user id with each
 * session.
 */
export function refuseSendsOfAnotherUser(client, turn) {
  for (const room of sortedRooms(client)) {
    for (const send of room.sends.drain()) {
      const error = localError("forbidden", "the message was queued as another user", room.name);
      settleSend(client, send, refusedOutcome(send, error), turn);
    }
  }
}

/** Takes a send out of its room's queue, and tells what became of it. */
export function settle(client, room, send, outcome, turn) {
  if (room.sends.remove(send)) settleSend(client, send, outcome, turn);
}

/** Tells what became of a send that is in no queue any more. */
export function settleSend(client, send, outcome, turn) {
  client.outbox.remove(send);
  armExpiry(client);
  turn.settle(send.ticket, outcome);
}

/** Settles the sends that have expired, by the monotonic clock. */
export function expire(client, turn) {
  const { outbox, config: { times: { sendExpiryMs } } } = client;
  const { now } = turn;
  if (outbox.expires === null || now.mono < outbox.expires) return;
  outbox.expires = null;
  const expired = [];
  for (const room of sortedRooms(client)) {
    for (const send of room.sends.expired(now.mono, sendExpiryMs)) expired.push({ room, send });
    for (const send of room.sends) outbox.expiresAt(send.queued + sendExpiryMs);
  }
  for (const { room, send } of expired) {
    settleSend(client, send, { name: "expired" }, turn);
    touch(client, room.name, turn);
  }
  armExpiry(client);
}

function armExpiry({ outbox, timers }) {
  if (outbox.expires === null) timers.clear("expiry");
  else timers.set(outbox.expires, "expiry");
}
