// One room as this page knows it: a contiguous run of its log, the entries waiting behind a hole,
// what was read. Every entry (live, joined, paged) enters by the same door, `#admit`.

// A room being read may be scrolled far back; one in the background only needs its recent end.
export const KEEP_ACTIVE = 2000;
export const KEEP_BACKGROUND = 200;
export const UNREAD_MAX = 999;

export class Room {
  #ownKeys = new Map();
  #self;

  /** `self.users` holds every user id that was ours: a guest gets another with each session. */
  constructor(name, self) {
    this.#self = self;
    this.name = name;
    this.epoch = null;
    this.keep = KEEP_BACKGROUND;
    /** Joined on the present connection / nothing known to be missing at the end. */
    this.joined = false;
    this.synced = false;
    this.error = null;
    this.loadingOlder = false;
    this.olderFailed = false;
    this.read = 0;
    this.divider = null;
    /** Grows whenever what was shown is no longer a part of what is known. */
    this.generation = 0;
    this.#empty(0);
  }

  #empty(head) {
    this.messages = [];
    this.gaps = [];
    /** Covered: from ≤ seq ≤ to. Not every covered entry is a message. */
    this.from = head + 1;
    this.to = head;
    this.goal = head;
    this.ahead = [];
    this.moreBefore = head > 0;
    this.#ownKeys.clear();
    this.generation += 1;
  }

  get loaded() {
    return this.epoch !== null;
  }

  /** Whether entries are known to exist after the covered run. */
  get behind() {
    return this.goal > this.to;
  }

  get canLoadOlder() {
    return this.loaded && this.moreBefore && this.messages.length < KEEP_ACTIVE;
  }

  /** The reply to a join. Keeps what is known if it can be continued, else starts over. */
  applyJoined(reply) {
    const head = reply.head ?? 0;
    const fits = this.epoch === reply.epoch && this.to <= head && head - this.to <= this.keep;
    const events = inOrder(reply.events);
    const first = events[0]?.seq ?? head + 1;
    if (!fits) {
      const known = this.loaded;
      this.epoch = reply.epoch;
      this.#empty(head);
      this.from = first;
      this.moreBefore = reply.has_more_before ?? first > 1;
      this.read = known ? Math.min(this.read, head) : this.read;
      this.#admit(events);
    } else if (first <= this.to + 1) {
      this.#admit(events);
      this.to = Math.max(this.to, head);
      this.#drainAhead();
    } else {
      for (const event of events) this.#stash(event);
    }
    this.goal = Math.max(this.goal, head);
    this.#trim();
  }

  /** An entry delivered live. Returns whether it was news and could be placed. */
  applyLive(event) {
    if (!this.loaded || !Number.isSafeInteger(event.seq)) return false;
    this.goal = Math.max(this.goal, event.seq);
    if (event.seq > this.to + 1) {
      this.#stash(event);
      return false;
    }
    const fresh = event.seq > this.to;
    if (event.seq >= this.from) this.#admit([event]);
    this.to = Math.max(this.to, event.seq);
    this.#drainAhead();
    this.#trim();
    return fresh;
  }

  /** Entries up to `seq` exist, whether or not they were delivered. */
  expect(seq) {
    if (this.loaded && Number.isSafeInteger(seq)) this.goal = Math.max(this.goal, seq);
  }

  /** A page asked for with `after: this.to`, when `goal` was known. Returns whether it helped. */
  applyAfter(page, goal) {
    const before = this.to;
    const events = inOrder(page.events).filter((event) => event.seq > before);
    this.#admit(events);
    this.to = events.at(-1)?.seq ?? this.to;
    // A folded page may end before the entries that were folded into earlier ones.
    if (!page.has_more_after) this.to = Math.max(this.to, goal);
    this.#drainAhead();
    this.#trim();
    return this.to > before;
  }

  /** A page asked for with `before: this.from`. */
  applyBefore(page) {
    const events = inOrder(page.events).filter((event) => event.seq < this.from);
    this.#admit(events);
    this.from = page.has_more_before ? (events[0]?.seq ?? this.from) : 1;
    this.moreBefore = page.has_more_before === true;
    this.#trimTo(KEEP_ACTIVE);
  }

  /** The entries up to the next known one cannot be had: say so, and go on. */
  skipHole() {
    if (!this.behind) return;
    const to = this.ahead.length > 0 ? this.ahead[0].seq - 1 : this.goal;
    this.gaps.push({ from: this.to + 1, to });
    this.to = to;
    this.#drainAhead();
  }

  isOwn(message) {
    return this.#self.users.has(message.user);
  }

  markRead() {
    const changed = this.read < this.to;
    this.read = Math.max(this.read, this.to);
    return changed;
  }

  /** Messages of others after the read position, counting those that are not loaded. */
  get unread() {
    if (!this.loaded) return 0;
    let count = Math.max(0, this.from - 1 - this.read);
    for (let i = this.messages.length - 1; i >= 0 && count <= UNREAD_MAX; i -= 1) {
      if (this.messages[i].seq <= this.read) break;
      if (!this.isOwn(this.messages[i])) count += 1;
    }
    return count;
  }

  setKeep(keep) {
    this.keep = keep;
    this.#trim();
  }

  /** Puts messages at their place, each once. What is not a message is covered, not kept. */
  #admit(events) {
    for (const event of events) {
      if (!isMessage(event)) continue;
      const at = placeOf(this.messages, event.seq);
      if (this.messages[at]?.seq === event.seq || this.#isResend(event)) continue;
      this.messages.splice(at, 0, event);
    }
  }

  /** Our own send may be in the log twice, if it was repeated under the id of a new session. */
  #isResend(event) {
    if (typeof event.key !== "string" || !this.isOwn(event)) return false;
    const seq = this.#ownKeys.get(event.key);
    if (seq !== undefined && seq !== event.seq) return true;
    this.#ownKeys.set(event.key, event.seq);
    return false;
  }

  #stash(event) {
    const at = placeOf(this.ahead, event.seq);
    if (this.ahead[at]?.seq === event.seq) return;
    this.ahead.splice(at, 0, event);
    // What falls out here is fetched again by the catch-up that is under way.
    if (this.ahead.length > this.keep) this.ahead.pop();
  }

  #drainAhead() {
    let count = 0;
    while (count < this.ahead.length && this.ahead[count].seq <= this.to + 1) {
      this.to = Math.max(this.to, this.ahead[count].seq);
      count += 1;
    }
    this.#admit(this.ahead.splice(0, count));
  }

  #trim() {
    this.#trimTo(this.keep);
  }

  #trimTo(limit) {
    const extra = this.messages.length - limit;
    if (extra <= 0) return;
    for (const gone of this.messages.splice(0, extra)) this.#ownKeys.delete(gone.key);
    this.from = this.messages[0].seq;
    this.moreBefore = true;
    this.gaps = this.gaps.filter((gap) => gap.to >= this.from);
  }
}

function isMessage({ type, user, content }) {
  return type === "message" && typeof user === "string" && typeof content === "string";
}

function inOrder(events) {
  if (!Array.isArray(events)) return [];
  return events
    .filter((event) => Number.isSafeInteger(event?.seq))
    .sort((a, b) => a.seq - b.seq);
}

/** Where `seq` is or would be. New entries mostly belong at the end: look there first. */
function placeOf(entries, seq) {
  let low = 0;
  let high = entries.length;
  if (high > 0 && entries[high - 1].seq < seq) return high;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (entries[middle].seq < seq) low = middle + 1;
    else high = middle;
  }
  return low;
}
