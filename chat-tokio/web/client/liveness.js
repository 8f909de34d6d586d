// Notices that nobody is there any more.

import { abandon, onlineLink, open } from "./connection.js";
import { transmit } from "./requests.js";

/** Begins to watch a connection. */
export function watch(client, turn) {
  client.connection.heard = turn.now.mono;
  client.connection.probe = null;
  client.timers.set(turn.now.mono + quietMs(client), "heard");
}

/** Something came: the server lives. The timer finds out when it fires. */
export function heard(client, link, turn) {
  if (onlineLink(client.connection) !== link) return;
  client.connection.heard = turn.now.mono;
  client.connection.probe = null;
}

export function wake(client, turn) {
  const { phase } = client.connection;
  if (phase.name === "online") probe(client, turn);
  else if (phase.name === "waiting") open(client, turn);
  // Each of the others has a time of its own, or nothing to wake up for.
}

export function heardDue(client, turn) {
  const { connection, timers } = client;
  if (onlineLink(connection) === null) return;
  const now = turn.now.mono;
  if (connection.probe !== null) {
    if (connection.probe <= now) abandon(client, { givenUp: true }, turn);
    else timers.set(connection.probe, "heard");
  } else if (now - connection.heard >= quietMs(client)) {
    probe(client, turn);
  } else {
    timers.set(connection.heard + quietMs(client), "heard");
  }
}

/** Asks for a sign of life, unless one is awaited already. */
function probe(client, turn) {
  const { connection, timers, config } = client;
  if (connection.probe !== null) return;
  connection.probe = turn.now.mono + config.times.probeMs;
  timers.set(connection.probe, "heard");
  // Anything that comes is an answer, so it needs no id.
  transmit(connection.phase.link, { type: "ping" }, turn);
}

/** Returns how long a server may be silent before it is asked for a sign of life. */
function quietMs({ session }) {
  return session.heartbeatMs + Math.floor(session.heartbeatMs / 2);
}
