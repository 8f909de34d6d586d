// What a Client is told when it is made. All durations are in milliseconds.

export const DEFAULT_TIMES = Object.freeze({
  /** How long a transport may take to open, and the server to answer `hello`. */
  connectMs: 10_000,
  helloMs: 10_000,
  /** How long another answer may take; then the request is sent again. A question is given up. */
  requestMs: 30_000,
  /** How long the application may take to answer `need_token`. */
  tokenMs: 60_000,
  /** The first delay after a loss is anything up to this, each further one up to the double. */
  backoffBaseMs: 500,
  backoffMaxMs: 30_000,
  /** Where a close code says to come back at once, the delay is anything up to this. */
  resumeSpreadMs: 2000,
  /** A connection that has lasted this long counts as sound: delays begin anew after it. */
  stableMs: 10_000,
  /** How long the server may take to show a sign of life when it was asked for one. */
  probeMs: 5000,
  /** Delay before an entry that is known to exist is requested, in case it arrives on its own. */
  graceMs: 1000,
  /** A refused request is sent again after this time at the earliest. */
  retryMinMs: 100,
  /** No delay that a server asks for is honoured beyond this. */
  retryMaxMs: 600_000,
  /** A send that is not settled after this time of the monotonic clock expires. Servers remember
      keys for at least 24 h; a later repetition could appear twice. */
  sendExpiryMs: 86_400_000,
  /** How often typing is told of one room at most. */
  typingMs: 3000,
});

export const DEFAULT_CONFIG = Object.freeze({
  /** The display name, where the server lets one choose it; a credential, where it wants one. */
  name: null,
  token: null,
  /** Optional parts of the protocol that are wanted. */
  features: Object.freeze([]),
  /** How many of the newest entries to ask for with a join. */
  history: 50,
  /** `{ session, attempt, rooms }` of an earlier page that is to go on: its rooms are joined from
      the start. What can't be read of it counts as absent. */
  resume: null,
  /** User ids that were one's own before. */
  users: Object.freeze([]),
  /** Sends of one room in flight. More than 1 gives up their order where one is refused for a while
      or its outcome is unknown. At least 1. */
  window: 1,
  /** Sends that wait or are in flight, over all rooms, and the bytes of their contents; beyond it
      one is refused at once. */
  outboxEntries: 1000,
  outboxBytes: 1_048_576,
  /** Rooms at a time; beyond it one is left at once. */
  rooms: 1024,
  /** Questions at a time; beyond it one is refused at once. */
  asks: 64,
  /** Out-of-order entries of one room that are buffered until the missing ones are fetched, and
      their bytes. Later entries are dropped and fetched again. */
  bufferedEntries: 256,
  bufferedBytes: 262_144,
  times: DEFAULT_TIMES,
});

export function makeConfig(given = {}) {
  const times = { ...DEFAULT_TIMES, ...given.times };
  return { ...DEFAULT_CONFIG, ...given, times };
}
