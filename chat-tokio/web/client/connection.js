// Opens connections, greets, loses them and comes back.

import { after, CODE_HEARTBEAT_TIMEOUT, CODE_NORMAL, CODE_TOO_BIG } from "./backoff.js";
import { settleAsks } from "./asks.js";
import { watch } from "./liveness.js";
import { folded } from "./names.js";
import { request } from "./requests.js";
import { finish, forget, sortedRooms, touch } from "./rooms.js";
import { refuseSendsOfAnotherUser } from "./sending.js";
import { Session } from "./session.js";

/** The connection, and what was learned from those before it. */
export class Connection {
  /**
   * How far it is: `idle`, `opening` (`link`), `greeting` (`link`, and how many rooms `hello` has
   * `named`), `online` (`link`, `since`), `waiting` (`until`), `token` (one is awaited) or
   * `stopped` (`why`).
   */
  phase = { name: "idle" };
  /** How many links there were. */
  links = 0;
  /** Losses since the last sound connection. */
  losses = 0;
  /** The credential was replaced since the last sound connection. */
  tokenReplaced = false;
  /** The credential ends soon, and a fresh one is awaited for this connection. */
  renewing = false;
  /** The server's parting words. */
  bye = null;
  /** When something was last heard, and until when something has to be. */
  heard = 0;
  probe = null;
  /** What the application knows. */
  told = { name: "idle" };
}

export function stateOf({ phase }) {
  switch (phase.name) {
    case "opening":
    case "greeting":
    case "token":
      return { name: "connecting" };
    case "online":
      return { name: "online" };
    default:
      return phase;
  }
}

/** Returns the present link, in whatever phase, or null. */
export function linkOf({ phase }) {
  return phase.link ?? null;
}

/** Returns the link that requests can go over, or null. */
export function onlineLink({ phase }) {
  return phase.name === "online" ? phase.link : null;
}

export function start(client, turn) {
  const { connection } = client;
  if (connection.phase.name !== "idle" && connection.phase.name !== "stopped") return;
  connection.losses = 0;
  connection.tokenReplaced = false;
  open(client, turn);
}

export function stop(client, turn) {
  const link = linkOf(client.connection);
  if (link !== null) turn.push({ type: "close", link, code: CODE_NORMAL });
  letGo(client, turn);
  settleAsks(client, turn);
  for (const room of sortedRooms(client)) {
    forget(client, room, { why: "stopped" }, turn);
  }
  client.session = new Session();
  client.quiet = null;
  client.timers.clear("quiet");
  enter(client, { name: "stopped", why: { name: "asked" } }, turn);
}

export function token(client, token, turn) {
  const isAwaited = client.connection.phase.name === "token";
  if (token !== null) {
    client.config.token = token;
    if (isAwaited) open(client, turn);
    const link = onlineLink(client.connection);
    if (link !== null && client.connection.renewing) {
      request(client, link, { type: "auth" }, { type: "auth", token }, turn);
    }
  } else if (isAwaited) {
    enter(client, { name: "stopped", why: { name: "unauthorized" } }, turn);
  }
  client.connection.renewing = false;
}

/** The credential ends soon: another one is to be had in time. */
export function authExpiring(client, turn) {
  if (client.connection.renewing) return;
  client.connection.renewing = true;
  turn.push({ type: "need_token" });
}

export function open(client, turn) {
  client.connection.links += 1;
  const link = client.connection.links;
  enter(client, { name: "opening", link }, turn);
  turn.push({ type: "open", link });
}

export function opened(client, link, turn) {
  const { phase } = client.connection;
  if (phase.name === "opening" && phase.link === link) greet(client, link, turn);
}

/** Sends `hello`, with the position of each room. */
function greet(client, link, turn) {
  for (const room of client.rooms.values()) room.stage = { name: "out" };
  const placed = sortedRooms(client).filter((room) => room.position !== null);
  const positions = placed.map((room) => [room.name, room.position.position()]);
  const hello = client.session.hello(client.config, positions);
  const named = Object.keys(hello.resume?.rooms ?? {});
  for (const name of named) client.rooms.get(folded(name)).stage = { name: "resuming" };
  enter(client, { name: "greeting", link, named: named.length }, turn);
  request(client, link, { type: "hello" }, hello, turn);
}

export function welcomed(client, welcome, turn) {
  const { phase } = client.connection;
  if (phase.name !== "greeting") return;
  const isOtherUser = client.session.welcome(welcome);
  enter(client, { name: "online", link: phase.link, since: turn.now.mono }, turn);
  watch(client, turn);
  turn.deliver({ type: "welcome", welcome });
  if (isOtherUser && client.config.token !== null) refuseSendsOfAnotherUser(client, turn);
  // The spelling of the server does not matter.
  const recoveries = new Map();
  for (const [name, recovery] of Object.entries(welcome.rooms)) {
    recoveries.set(folded(name), recovery);
  }
  for (const room of sortedRooms(client)) {
    resumed(client, room, recoveries.get(folded(room.name)) ?? null, turn);
    touch(client, room.name, turn);
  }
}

/** Takes a room's part of the `welcome`. */
function resumed(client, room, recovery, turn) {
  if (room.stage.name !== "resuming") return;
  room.stage = { name: "out" };
  if (recovery?.recovered && room.position?.epoch === recovery.epoch) {
    room.position.raiseHead(recovery.head);
    turn.deliver({ type: "joined", room: room.name, epoch: recovery.epoch, head: recovery.head,
      fresh: false, members: null, hasMoreBefore: false });
    room.enter();
    room.reviewGap(turn.now.mono, client.config.times, false, "announced");
  } else if (recovery && !recovery.recovered && recovery.reason === "epoch_changed") {
    // Another log, or the same one with its end cut off.
    room.position = null;
    room.renounced = true;
  }
  // Whatever else was lost: the position counts, and the next `joined` goes on from it.
}

/** Handles the refusal of `hello`. */
export function unwelcome(client, error, turn) {
  const { phase } = client.connection;
  if (phase.name !== "greeting") return;
  if (error.code === "invalid_name" && phase.named > 0) {
    // The server does not accept one of the room names. Joining the rooms one by one shows which,
    // and the connection stays open for another `hello`.
    client.session.helloBytes = 0;
    return greet(client, phase.link, turn);
  }
  turn.push({ type: "close", link: phase.link, code: CODE_NORMAL });
  lose(client, { refused: error }, turn);
}

export function closed(client, link, code, turn) {
  const { connection, session } = client;
  if (!client.isPresent(link)) return;
  const named = connection.phase.name === "greeting" ? connection.phase.named : 0;
  if (named > 0 && code === CODE_TOO_BIG) {
    // The server takes less than it did, or than others do: the rooms are joined instead.
    session.helloBytes = 0;
    return lose(client, { noAnswer: true }, turn);
  }
  lose(client, { closed: code }, turn);
}

/** Ends the connection from this side, to come back. */
export function abandon(client, cause, turn) {
  const link = linkOf(client.connection);
  if (link === null) return;
  turn.push({ type: "close", link, code: CODE_HEARTBEAT_TIMEOUT });
  lose(client, cause, turn);
}

/** The phase has lasted as long as it may. */
export function phaseDue(client, turn) {
  switch (client.connection.phase.name) {
    case "opening":
    case "greeting":
      return abandon(client, { noAnswer: true }, turn);
    case "waiting":
      return open(client, turn);
    case "token":
      return token(client, null, turn);
    default:
  }
}

/** Decides what follows the loss of the connection. */
function lose(client, cause, turn) {
  const { connection, config: { times } } = client;
  const { phase } = connection;
  if (phase.name === "online" && turn.now.mono - phase.since >= times.stableMs) {
    connection.losses = 0;
    connection.tokenReplaced = false;
  }
  const { losses, bye } = connection;
  connection.losses += 1;
  connection.bye = null;
  const next = after(cause, bye, losses, times, turn.random);
  letGo(client, turn);
  if (next.stop) return enter(client, { name: "stopped", why: next.stop }, turn);
  if (!next.token) {
    return enter(client, { name: "waiting", until: turn.now.mono + next.wait }, turn);
  }
  if (connection.tokenReplaced) {
    return enter(client, { name: "stopped", why: { name: "unauthorized" } }, turn);
  }
  enter(client, { name: "token" }, turn);
  connection.tokenReplaced = true;
  turn.push({ type: "need_token" });
}

/** Forgets all that was under way on the connection. */
function letGo(client, turn) {
  client.connection.bye = null;
  client.connection.probe = null;
  client.connection.renewing = false;
  client.timers.clear("heard");
  for (const number of client.requests.clear()) client.timers.clear("request", number);
  client.asks.cut();
  client.ready.clear();
  for (const room of sortedRooms(client)) {
    client.timers.clear("room", folded(room.name));
    room.cut();
    finish(client, room.name, turn);
  }
}

/** Changes the phase, arms its timer and tells the application if it looks different to it. */
function enter(client, phase, turn) {
  const { connection, timers, config: { times } } = client;
  const now = turn.now.mono;
  const until = {
    opening: now + times.connectMs, greeting: now + times.helloMs, waiting: phase.until,
    token: now + times.tokenMs,
  }[phase.name];
  if (until === undefined) timers.clear("phase");
  else timers.set(until, "phase");
  connection.phase = phase;
  const state = stateOf(connection);
  const { told } = connection;
  connection.told = state;
  const same = told.name === state.name && told.until === state.until
    && JSON.stringify(told.why) === JSON.stringify(state.why);
  if (!same) turn.deliver({ type: "state", state });
}
