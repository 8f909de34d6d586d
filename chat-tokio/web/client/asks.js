// Questions of the application, and telling that the user is typing.

import { retry } from "./backoff.js";
import { onlineLink } from "./connection.js";
import { folded } from "./names.js";
import { canRequest, request, transmit } from "./requests.js";
import { roomOf } from "./rooms.js";

/**
 * The questions that are not answered, the oldest first: `{ ticket, ask, until, state, tries }`.
 * `until` is when one is given up, `state` as that of a send (`outbox.js`). At most `config.asks`.
 */
export class Asks {
  #list = [];

  get size() {
    return this.#list.length;
  }

  [Symbol.iterator]() {
    return this.#list[Symbol.iterator]();
  }

  push(question) {
    this.#list.push(question);
  }

  find(ticket) {
    return this.#list.find((question) => question.ticket === ticket) ?? null;
  }

  take(ticket) {
    const at = this.#list.findIndex((question) => question.ticket === ticket);
    return at < 0 ? null : this.#list.splice(at, 1)[0];
  }

  drain() {
    return this.#list.splice(0);
  }

  /** Notes that the connection is gone: what was asked is asked again. */
  cut() {
    for (const question of this.#list) {
      if (question.state.name === "in_flight") question.state = { name: "ready" };
    }
  }
}

export function ask(client, ticket, ask, turn) {
  if (client.asks.size >= client.config.asks || !isQuestion(ask)) {
    return turn.settle(ticket, { name: "full" });
  }
  const until = turn.now.mono + client.config.times.requestMs;
  client.asks.push({ ticket, ask, until, state: { name: "ready" }, tries: 0 });
  armAsks(client);
}

function isQuestion({ type, room }) {
  if (type === "rooms") return true;
  return (type === "history" || type === "members") && folded(room) !== null;
}

/** Asks what may be asked. A question about a room that is wanted waits until one is in it. */
export function pumpAsks(client, turn) {
  for (const question of client.asks) {
    const link = onlineLink(client.connection);
    if (link === null || !canRequest(client)) return;
    const { state } = question;
    const isDue = state.name === "ready"
      || (state.name === "waiting" && state.until <= turn.now.mono);
    const room = question.ask.type === "rooms" ? null : roomOf(client, question.ask.room);
    if (!isDue || (room !== null && !room.isIn)) continue;
    const purpose = { type: "ask", ticket: question.ticket };
    const number = request(client, link, purpose, requestOf(question.ask), turn);
    question.state = { name: "in_flight", request: number };
  }
}

function requestOf(ask) {
  const { type, room = null, before = null, after = null, around = null, limit = null } = ask;
  return { type, room, before, after, around, limit };
}

export function askAnswered(client, ticket, outcome, turn) {
  if (client.asks.take(ticket) !== null) turn.settle(ticket, outcome);
  armAsks(client);
}

export function askRefused(client, ticket, error, turn) {
  if (!error.retryable) return askAnswered(client, ticket, { name: "refused", error }, turn);
  const question = client.asks.find(ticket);
  if (question !== null) {
    const { times } = client.config;
    const wait = retry(times, question.tries, error.retry_after_ms, turn.random);
    question.tries += 1;
    question.state = { name: "waiting", until: turn.now.mono + wait };
  }
  armAsks(client);
}

/** Gives up what is too old; what may be asked again is asked after this. */
export function asksDue(client, turn) {
  const now = turn.now.mono;
  for (const { ticket, until, state } of [...client.asks]) {
    if (until > now) break;
    turn.settle(ticket, { name: "expired" });
    if (state.name === "in_flight") client.requests.take(state.request);
    client.asks.take(ticket);
  }
  for (const question of client.asks) {
    const { state } = question;
    if (state.name === "waiting" && state.until <= now) question.state = { name: "ready" };
  }
  armAsks(client);
}

export function settleAsks(client, turn) {
  for (const { ticket } of client.asks.drain()) turn.settle(ticket, { name: "stopped" });
  client.timers.clear("asks");
}

function armAsks({ asks, timers }) {
  const due = [...asks].map(({ until, state }) => (
    state.name === "waiting" ? Math.min(until, state.until) : until));
  if (due.length > 0) timers.set(Math.min(...due), "asks");
  else timers.clear("asks");
}

/** Tells that the user is typing, if that can be done at once; it is of no use later. */
export function typing(client, name, active, turn) {
  const now = turn.now.mono;
  const link = onlineLink(client.connection);
  if (link === null || !client.session.hasTyping) return;
  if (client.quiet !== null && client.quiet > now) return;
  const room = roomOf(client, name);
  if (!room?.isIn) return;
  const isDue = room.typing === null
    ? active : !active || now - room.typing >= client.config.times.typingMs;
  if (!isDue) return;
  room.typing = active ? now : null;
  transmit(link, { type: "typing", room: room.name, active }, turn);
}
