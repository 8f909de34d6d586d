// Which rule of a Client wants to be called when. Whatever a rule finds when it is called, a call
// too many changes nothing.

/** Kinds of timers, in the order in which those of one time fire. */
export const TIMERS = Object.freeze({
  /** The connection's phase has lasted long enough. */
  phase: 0,
  /** Nothing was heard for a while. */
  heard: 1,
  /** The budget has recovered. */
  quiet: 2,
  /** A send is too old. */
  expiry: 3,
  /** A question is too old, or may be asked again. */
  asks: 4,
  /** A request was not answered; `what` is its number. */
  request: 5,
  /** A room has something to do; `what` is its name. */
  room: 6,
});

/** All deadlines. Each rule has at most one, so there are a few more than rooms and requests. */
export class Alarms {
  #at = new Map();

  /** Sets a rule's deadline, in place of the one that it had. */
  set(at, kind, what = "") {
    this.#at.set(`${kind} ${what}`, { at, kind, what });
  }

  clear(kind, what = "") {
    this.#at.delete(`${kind} ${what}`);
  }

  next() {
    return this.#first()?.at ?? null;
  }

  /** Takes the first timer that is due: `{ kind, what }` or null. */
  popDue(now) {
    const first = this.#first();
    if (first === null || first.at > now) return null;
    this.clear(first.kind, first.what);
    return first;
  }

  get size() {
    return this.#at.size;
  }

  #first() {
    let first = null;
    for (const timer of this.#at.values()) {
      if (first === null || isBefore(timer, first)) first = timer;
    }
    return first;
  }
}

function isBefore(a, b) {
  if (a.at !== b.at) return a.at < b.at;
  if (a.kind !== b.kind) return TIMERS[a.kind] < TIMERS[b.kind];
  return a.what < b.what;
}
