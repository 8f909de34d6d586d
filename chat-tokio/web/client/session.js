// Who the server says one is.

import { encodedLength, DEFAULT_LIMITS } from "./frames.js";
import { byteLength, folded, isCount, isEpoch, isSessionId, isUserId, SEQ_MAX } from "./names.js";

/** User ids that were one's own: a guest may get another with each session. */
export const USERS_MAX = 16;

/** The facts of the session, which outlives connections. */
export class Session {
  /** Counts the connections, so that the server can tell which one is the latest. */
  #attempt;

  constructor(id = null, attempt = 0, users = []) {
    this.id = id;
    this.#attempt = attempt;
    /** Known ones, and who one is in this session. */
    this.users = users.filter(isUserId).slice(-USERS_MAX);
    this.user = null;
    this.limits = DEFAULT_LIMITS;
    this.heartbeatMs = 25_000;
    /** Whether the server passes on who is typing. */
    this.hasTyping = false;
    /** Bytes that a `hello` may have. */
    this.helloBytes = DEFAULT_LIMITS.frame_bytes;
  }

  isOwn(entry) {
    return this.users.includes(entry.user);
  }

  /** Takes a `welcome`. Returns true if the one before was for another user. */
  welcome(welcome) {
    const isOtherUser = this.user !== null && this.user !== welcome.user;
    this.id = welcome.session;
    this.user = welcome.user;
    this.users = [...this.users.filter((user) => user !== welcome.user), welcome.user]
      .slice(-USERS_MAX);
    this.limits = welcome.limits;
    this.helloBytes = welcome.limits.frame_bytes;
    // What a server might say by mistake must neither flood it nor make one wait for ever.
    this.heartbeatMs = Math.min(Math.max(welcome.heartbeat_ms, 1000), 600_000);
    this.hasTyping = welcome.features.includes("typing");
    return isOtherUser;
  }

  /** Returns what a later page goes on with: `{ session, attempt, rooms }`, or null. */
  resume(positions) {
    if (this.id === null) return null;
    const rooms = Object.fromEntries(positions);
    return { session: this.id, attempt: this.#attempt, rooms };
  }

  /** Makes the `hello` of the next connection, with as many of the positions as fit. */
  hello(config, positions) {
    this.#attempt = Math.min(SEQ_MAX, this.#attempt + 1);
    const { name, token, features } = config;
    const hello = { type: "hello", name, token, features, resume: this.resume([]) };
    if (hello.resume === null) return hello;
    // The id of the request comes on top.
    let bytes = encodedLength(hello) + 32;
    const fitting = [];
    for (const [room, position] of positions) {
      bytes += byteLength(JSON.stringify({ [room]: position })) + 1;
      if (bytes > this.helloBytes) break;
      fitting.push([room, position]);
    }
    hello.resume.rooms = Object.fromEntries(fitting);
    return hello;
  }
}

/**
 * Reads what an earlier page has left behind, which may be anything: `{ session, attempt, rooms }`
 * with a Map of rooms, or null.
 */
export function readResume(value, roomsMax) {
  if (typeof value !== "object" || value === null || !isSessionId(value.session)) return null;
  const rooms = new Map();
  const all = typeof value.rooms === "object" && value.rooms !== null ? value.rooms : {};
  for (const [name, position] of Object.entries(all)) {
    const { epoch, seq } = position ?? {};
    const fits = folded(name) !== null && isEpoch(epoch) && isCount(seq);
    if (fits && rooms.size < roomsMax) rooms.set(name, { epoch, seq });
  }
  return { session: value.session, attempt: isCount(value.attempt) ? value.attempt : 0, rooms };
}
