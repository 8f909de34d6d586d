// Ties replies to what was asked.

import { askAnswered, askRefused } from "./asks.js";
import { retry } from "./backoff.js";
import { authExpiring, unwelcome, welcomed } from "./connection.js";
import { entry, gap, head, hole, page, pageRefused, pageUnanswered } from "./delivery.js";
import { isEntry } from "./frames.js";
import { heard } from "./liveness.js";
import { folded } from "./names.js";
import { doorRefused, isIn, joined, parted, putOut } from "./rooms.js";
import { acked, sendRefused, sendUnanswered } from "./sending.js";

/** Requests whose reply is due at a time, unless the server allows less: more would only wait. */
const IN_FLIGHT_MAX = 32;

/** The requests of the present connection that are not answered. */
export class Requests {
  /** Over all connections, so that a reply of an earlier one fits nothing. */
  #last = 0;
  /** Number → purpose: `{ type, room }` (hello, auth, join, leave, send, page) or `{ type, ticket }`. */
  #open = new Map();

  get size() {
    return this.#open.size;
  }

  add(purpose) {
    this.#last += 1;
    this.#open.set(this.#last, purpose);
    return this.#last;
  }

  take(request) {
    const purpose = this.#open.get(request) ?? null;
    this.#open.delete(request);
    return purpose;
  }

  /** `{ request, purpose }` of a reply's id, or null. */
  find(id) {
    if (typeof id !== "string" || !/^[1-9][0-9]{0,15}$/.test(id)) return null;
    const request = Number(id);
    const purpose = this.#open.get(request);
    return purpose ? { request, purpose } : null;
  }

  clear() {
    const open = [...this.#open.keys()];
    this.#open.clear();
    return open;
  }
}

/** Sends a request and remembers what its reply is for. Returns its number. */
export function request(client, link, purpose, frame, turn) {
  const number = client.requests.add(purpose);
  // The hello's time is the phase's, and questions have their own.
  if (purpose.type !== "hello" && purpose.type !== "ask") {
    client.timers.set(turn.now.mono + client.config.times.requestMs, "request", number);
  }
  transmit(link, { ...frame, id: String(number) }, turn);
  return number;
}

export function transmit(link, frame, turn) {
  turn.push({ type: "transmit", link, frame });
}

/** Tells whether the server takes another request. */
export function canRequest({ requests, session }) {
  return requests.size < Math.min(IN_FLIGHT_MAX, Math.max(1, session.limits.in_flight));
}

/** A request was not answered in time: what it was for is done again. */
export function requestDue(client, number, turn) {
  const purpose = client.requests.take(number);
  switch (purpose?.type) {
    case "join":
    case "leave":
      return doorRefused(client, purpose.room, number, null, turn);
    case "send":
      return sendUnanswered(client, purpose.room, number, turn);
    case "page":
      return pageUnanswered(client, purpose.room, number, turn);
    default:
  }
}

export function received(client, link, frame, turn) {
  if (!client.isPresent(link)) return;
  heard(client, link, turn);
  if (client.connection.phase.name === "online") receivedOnline(client, link, frame, turn);
  else if (client.connection.phase.name === "greeting") receivedGreeting(client, frame, turn);
}

function receivedGreeting(client, frame, turn) {
  const isHello = (id) => {
    const found = client.requests.find(id);
    return found?.purpose.type === "hello" && client.requests.take(found.request) !== null;
  };
  switch (frame.type) {
    case "welcome":
      if (isHello(frame.id)) welcomed(client, frame, turn);
      return;
    case "error":
      // One that could not be read is refused without its id.
      if (frame.id === null || isHello(frame.id)) unwelcome(client, frame, turn);
      return;
    case "bye":
      client.connection.bye = frame;
      return;
    default:
  }
}

function receivedOnline(client, link, frame, turn) {
  const tell = (what) => {
    if (isIn(client, frame.room)) turn.deliver({ room: frame.room, ...what });
  };
  switch (frame.type) {
    case "gap":
      return gap(client, frame.room, frame.to, turn);
    case "hole":
      return hole(client, frame.room, frame.from, frame.to, turn);
    case "ping":
      transmit(link, { type: "pong" }, turn);
      for (const [room, position] of Object.entries(frame.heads)) {
        head(client, room, position, turn);
      }
      return;
    case "bye":
      client.connection.bye = frame;
      return;
    case "auth_expiring":
      return authExpiring(client, turn);
    case "join":
      return tell({ type: "came", member: memberOf(frame) });
    case "leave":
      return tell({ type: "went", member: memberOf(frame), reason: frame.reason });
    case "typing":
      return tell({ type: "typing", member: memberOf(frame), active: frame.active });
    case "presence":
      return tell({ type: "presence", count: frame.count });
    case "members":
      if (frame.id === null) return tell({ type: "members", view: viewOf(frame) });
      return replied(client, frame, turn);
    case "error":
      if (frame.id === null && frame.code === "forbidden") return putOut(client, frame, turn);
      return replied(client, frame, turn);
    default:
      if (isEntry(frame)) entry(client, frame, turn);
      else replied(client, frame, turn);
  }
}

const memberOf = ({ user, username }) => ({ user, username });
const viewOf = ({ count, members }) => ({ count, members });

/** Hands a reply to whoever asked. One that fits no open request changes nothing. */
function replied(client, reply, turn) {
  const found = client.requests.find(reply.id);
  if (found === null) return;
  const { request: number, purpose } = found;
  const about = () => folded(reply.room) === purpose.room;
  const kind = `${purpose.type} ${reply.type}`;
  if (reply.type === "error") {
    answered(client, number);
    return refused(client, purpose, number, reply, turn);
  }
  // A reply of another kind, or about another room, than was asked for is none.
  if (kind === "join joined" && about()) {
    answered(client, number);
    joined(client, purpose.room, number, reply, turn);
  } else if (kind === "auth authenticated") {
    answered(client, number);
  } else if (kind === "leave left") {
    answered(client, number);
    parted(client, purpose.room, number, turn);
  } else if (kind === "send ack" && reply.seq !== null) {
    answered(client, number);
    acked(client, purpose.room, number, reply, turn);
  } else if (kind === "page page" && about()) {
    answered(client, number);
    page(client, purpose.room, number, reply, turn);
  } else if (purpose.type === "ask" && outcomeOf(reply) !== null) {
    answered(client, number);
    askAnswered(client, purpose.ticket, outcomeOf(reply), turn);
  }
}

function outcomeOf(reply) {
  switch (reply.type) {
    case "page":
      return { name: "page", page: reply };
    case "members":
      return { name: "members", view: viewOf(reply) };
    case "rooms":
      return { name: "rooms", rooms: reply.rooms, hasMore: reply.has_more };
    default:
      return null;
  }
}

function answered(client, number) {
  client.requests.take(number);
  client.timers.clear("request", number);
}

function refused(client, purpose, number, error, turn) {
  if (error.code === "rate_limited") {
    const wait = retry(client.config.times, 0, error.retry_after_ms, turn.random);
    client.quiet = Math.max(client.quiet ?? 0, turn.now.mono + wait);
  }
  switch (purpose.type) {
    case "join":
    case "leave":
      return doorRefused(client, purpose.room, number, error, turn);
    case "send":
      return sendRefused(client, purpose.room, number, error, turn);
    case "page":
      return pageRefused(client, purpose.room, number, error, turn);
    case "ask":
      return askRefused(client, purpose.ticket, error, turn);
    default:
  }
}
