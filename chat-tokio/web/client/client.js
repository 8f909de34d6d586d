// The client's state machine: a session that goes on over any number of connections. It is the
// Client of `chat-state` in JavaScript, held to the same scenarios (`chat-proto/vectors`).
//
//     const client = new Client({ name: "Ada" });
//     const actions = client.handle({ mono: 0, wall: 1_700_000_000_000 }, Math.random(), event);
//     const callAgainAt = client.pollTimeout();   // then client.handleTimeout(now, random)
//
// It never waits, reads no clock and draws no random number.
//
// Events, `{ type, … }`:
//   start                         connect, and keep connected; nothing unless idle or stopped
//   stop                          leave for good: settle every ticket, forget rooms and session
//   opened { link }               a transport that was asked for is ready
//   received { link, frame }      a frame came (see `decode`); malformed { link }: another text
//   alive { link }                other traffic came: the server lives
//   closed { link, code }         the transport is gone; `code` may be null
//   wake                          the device woke up, or the network came back
//   token { token }               a credential, for `need_token` or the next `hello`; null: none
//   join { room }, leave { room } be in a room, or leave it once all is said
//   send { ticket, room, key, content, replyTo, born, sentAs }
//                                 say something. `born` (wall clock) and `sentAs` (a user id) are
//                                 of one that an earlier page has begun; else absent
//   ask { ticket, ask }           { type: "history", room, before | after | around, limit },
//                                 { type: "members", room } or { type: "rooms", after }
//   typing { room, active }       dropped if it can't be sent at once
//
// Actions, in order:
//   open { link }                 make a transport and answer `opened` or `closed`
//   transmit { link, frame }      send a request
//   close { link, code }          flush, close and forget; nothing that comes from it counts
//   need_token                    get a fresh credential and answer `token`
//   deliver { what }              hand this to the application; `what` is one of
//     state { state }             `state.name` is "idle", "connecting", "online", "waiting"
//                                 (`until`) or "stopped" (`why`, see `after` in backoff.js; also
//                                 "asked" and "unauthorized")
//     welcome { welcome }         who one is, what holds
//     joined { room, epoch, head, fresh, members, hasMoreBefore }
//                                 one is a member; `fresh`: the first entry continues nothing.
//                                 `members` is null after a recovery: they come by themselves
//     entry { entry }             the room's next entry, once and in order
//     lost { room, from, to }     these entries are not to be had
//     reset { room, epoch }       the log is another one: what was delivered counts no more
//     left { room, why, error }   `why`: "asked", "refused" (`error`), "too_many" or "stopped"
//     members { room, view }, presence { room, count }, came { room, member },
//     went { room, member, reason }, typing { room, member, active }
//     delayed { ticket, error, until }
//                                 a send was refused for a while; it is sent again then
//     settled { ticket, outcome } exactly one for each ticket; `outcome.name` is "acked" (`seq`,
//                                 `ts`, `duplicate`), "refused" (`error`), "unknown" (`error`: it
//                                 is refused now, but may be in the log), "full", "expired",
//                                 "stopped", "page" (`page`), "members" (`view`), "rooms" (`rooms`,
//                                 `hasMore`)
//
// What it promises: of each room, entries are delivered once and in order, each the one after the
// last, unless `lost` or `reset` says otherwise. Each ticket is settled once; a message is sent
// under its key until it is acknowledged, refused for good or too old. It is never stuck: it is
// idle or stopped, or `pollTimeout` has a time. An event of a link that is not the present one, or
// one that makes no sense, changes nothing.

import { Asks, ask, asksDue, pumpAsks, typing } from "./asks.js";
import { makeConfig } from "./config.js";
import {
  closed, Connection, linkOf, opened, phaseDue, start, stateOf, stop, token,
} from "./connection.js";
import { heard, heardDue, wake } from "./liveness.js";
import { folded, isKey } from "./names.js";
import { Totals } from "./outbox.js";
import { LogPosition } from "./position.js";
import { received, requestDue, Requests } from "./requests.js";
import { Room } from "./room.js";
import { join, leave, pump, Ready, touch } from "./rooms.js";
import { expire, send } from "./sending.js";
import { readResume, Session } from "./session.js";
import { Alarms } from "./timers.js";

/** One call from outside: what it brings, and what comes of it. */
class Turn {
  constructor(now, random) {
    this.now = now;
    // One that is no fraction would make delays that never end.
    this.random = random >= 0 && random < 1 ? random : 0;
    this.out = [];
  }

  push(action) {
    this.out.push(action);
  }

  deliver(what) {
    this.out.push({ type: "deliver", what });
  }

  settle(ticket, outcome) {
    this.deliver({ type: "settled", ticket, outcome });
  }
}

/** The fields are for the modules of this folder only. */
export class Client {
  constructor(config = {}) {
    this.config = makeConfig(config);
    this.connection = new Connection();
    /** By the form in which names are compared; at most `config.rooms`. */
    this.rooms = new Map();
    const resume = readResume(this.config.resume, this.config.rooms);
    this.session = new Session(resume?.session, resume?.attempt, this.config.users);
    for (const [name, position] of resume?.rooms ?? []) {
      const room = new Room(name);
      room.position = new LogPosition(position);
      this.rooms.set(folded(name), room);
    }
    this.ready = new Ready();
    this.outbox = new Totals();
    this.asks = new Asks();
    this.requests = new Requests();
    /** Over the budget until then: nothing is asked for. */
    this.quiet = null;
    this.timers = new Alarms();
  }

  /** Handles one event and returns the actions. `random`, in [0, 1), is fresh for every call. */
  handle(now, random, event) {
    const turn = new Turn(now, random);
    expire(this, turn);
    if (isSound(event)) this.#dispatch(event, turn);
    pump(this, turn);
    return turn.out;
  }

  /** Fires the timers that are due. A call too many changes nothing. */
  handleTimeout(now, random) {
    const turn = new Turn(now, random);
    expire(this, turn);
    // What is armed meanwhile waits for the next call, even if no time is left.
    for (let left = this.timers.size; left > 0; left -= 1) {
      const timer = this.timers.popDue(now.mono);
      if (timer === null) break;
      this.#fire(timer, turn);
    }
    pump(this, turn);
    return turn.out;
  }

  /** Returns when `handleTimeout` wants to be called, by the monotonic clock, or null. */
  pollTimeout() {
    return this.timers.next();
  }

  state() {
    return stateOf(this.connection);
  }

  /** Whether this is the link whose events count. */
  isPresent(link) {
    return Number.isSafeInteger(link) && linkOf(this.connection) === link;
  }

  /**
   * Returns what a later page needs to go on with the session: how far the rooms were delivered
   * that are not being left. Null before the first `welcome` and after a stop.
   */
  resume() {
    const rooms = [...this.rooms.values()].filter((room) => room.intent === "stay" && room.position);
    return this.session.resume(rooms.map((room) => [room.name, room.position.position()]));
  }

  /** User ids that are or were one's own. */
  get users() {
    return this.session.users;
  }

  /** Returns what the Client holds, for tests that want it empty. */
  stats() {
    const rooms = [...this.rooms.values()];
    return { rooms: rooms.length, outboxEntries: this.outbox.entries,
      outboxBytes: this.outbox.bytes, asks: this.asks.size, requests: this.requests.size,
      buffered: rooms.reduce((sum, room) => sum + (room.position?.buffered ?? 0), 0),
      timers: this.timers.size };
  }

  #dispatch(event, turn) {
    switch (event.type) {
      case "start":
        return start(this, turn);
      case "stop":
        return stop(this, turn);
      case "opened":
        return opened(this, event.link, turn);
      case "received":
        return received(this, event.link, event.frame, turn);
      case "malformed":
      case "alive":
        return heard(this, event.link, turn);
      case "closed":
        return closed(this, event.link, event.code ?? null, turn);
      case "wake":
        return wake(this, turn);
      case "token":
        return token(this, event.token ?? null, turn);
      case "join":
        return join(this, event.room, turn);
      case "leave":
        return leave(this, event.room, turn);
      case "send":
        return send(this, event, turn);
      case "ask":
        return ask(this, event.ticket, event.ask, turn);
      case "typing":
        return typing(this, event.room, event.active === true, turn);
      default:
    }
  }

  #fire({ kind, what }, turn) {
    switch (kind) {
      case "phase":
        return phaseDue(this, turn);
      case "heard":
        return heardDue(this, turn);
      case "quiet":
        this.quiet = null;
        return;
      case "asks":
        return asksDue(this, turn);
      case "request":
        return requestDue(this, what, turn);
      case "room":
        return touch(this, what, turn);
      default:
        // What is too old is looked for before every event.
    }
  }
}

/** Whether an event of the application can mean anything. */
function isSound(event) {
  if (typeof event !== "object" || event === null) return false;
  switch (event.type) {
    case "received":
      return typeof event.frame === "object" && event.frame !== null;
    case "join":
    case "leave":
    case "typing":
      return folded(event.room) !== null;
    case "send":
      return isKey(event.key) && typeof event.content === "string"
        && typeof event.room === "string";
    case "ask":
      return typeof event.ask === "object" && event.ask !== null;
    default:
      return true;
  }
}
