// What the application has to say in one room.

import { byteLength } from "./names.js";

/**
 * The sends of one room, in order: `{ ticket, key, content, bytes, replyTo, queued, state, sentAs,
 * tries, outside, inDoubt }`. `state` is `{ name: "ready" }`, `{ name: "in_flight", request }` or
 * `{ name: "waiting", until }`; `sentAs` the user as whom it was sent last, since keys count for
 * one user only; `outside` how often it was refused because the session was no member; `inDoubt`
 * whether nobody knows what became of an attempt.
 *
 * *Invariant:* only the first ones, as many as the window, are or were sent; the others wait. With
 * a window of 1 they reach the log in this order, whatever happens to single attempts.
 */
export class Sends {
  #list = [];

  get isEmpty() {
    return this.#list.length === 0;
  }

  [Symbol.iterator]() {
    return this.#list[Symbol.iterator]();
  }

  push(send) {
    this.#list.push(send);
  }

  get(at) {
    return this.#list[at] ?? null;
  }

  remove(send) {
    const at = this.#list.indexOf(send);
    if (at >= 0) this.#list.splice(at, 1);
    return at >= 0;
  }

  drain() {
    return this.#list.splice(0);
  }

  /** Finds the send that this request is about. */
  inFlight(request) {
    const isIt = ({ state }) => state.name === "in_flight" && state.request === request;
    return this.#list.find(isIt) ?? null;
  }

  /** Finds the send that this key names, if it was sent. */
  sentWith(key) {
    return this.#list.find((send) => send.sentAs !== null && send.key === key) ?? null;
  }

  /**
   * Decides which send is next: `{ send }`, `{ at }` (one at this time) or `{}`. One that was sent
   * as another user waits until the room is not behind: if it is in the log, it is found there, and
   * the key would not keep it from doubling.
   */
  eligible(now, window, user, isBehind) {
    let first = null;
    for (const send of this.#list.slice(0, Math.max(1, window))) {
      const { state } = send;
      if (state.name === "in_flight") continue;
      if (state.name === "waiting" && state.until > now) {
        first = Math.min(first ?? state.until, state.until);
        continue;
      }
      if (send.sentAs !== null && send.sentAs !== user && isBehind) continue;
      return { send };
    }
    return first === null ? {} : { at: first };
  }

  /** Notes that the connection is gone: what was in flight has an unknown outcome. */
  cut() {
    for (const send of this.#list) {
      if (send.state.name === "in_flight") doubt(send);
    }
  }

  /** Takes the sends that have expired, by the monotonic clock. */
  expired(now, ms) {
    const isOld = ({ queued }) => now - queued >= ms;
    const expired = this.#list.filter(isOld);
    if (expired.length > 0) this.#list = this.#list.filter((send) => !isOld(send));
    return expired;
  }
}

/** The attempt that is under way will not be answered, or the answer says nothing. */
export function doubt(send) {
  send.inDoubt = true;
  send.state = { name: "ready" };
}

/** What a send comes to if it is not sent again because of this error. */
export function refusedOutcome(send, error) {
  // What the log has under this key is something else.
  const conflict = error.code === "idempotency_conflict";
  const isOpen = send.inDoubt || send.state.name === "in_flight";
  return { name: isOpen && !conflict ? "unknown" : "refused", error };
}

/** The request that takes a send to the log. */
export function requestOf(send, room) {
  const { key, content, replyTo } = send;
  return { type: "message", room, key, content, reply_to: replyTo };
}

export function makeSend({ ticket, key, content, replyTo, queued, sentAs }) {
  return { ticket, key, content, bytes: byteLength(content), replyTo, queued, sentAs,
    // One that an earlier page has begun may be in the log or not.
    state: { name: "ready" }, tries: 0, outside: 0, inDoubt: sentAs !== null };
}

/** The size of all outboxes, and when their first send expires. */
export class Totals {
  entries = 0;
  bytes = 0;
  /** When to look for expired sends; at the expiry of the first one or earlier. */
  expires = null;

  add(send, expiryMs) {
    this.entries += 1;
    this.bytes += send.bytes;
    this.expiresAt(send.queued + expiryMs);
  }

  remove(send) {
    this.entries -= 1;
    this.bytes -= send.bytes;
    if (this.entries === 0) this.expires = null;
  }

  expiresAt(at) {
    this.expires = Math.min(this.expires ?? Infinity, at);
  }
}
