// One room as the page shows it: a run of its log, what is missing in it, what was read. Entries
// come from the Client, each once and in order; older ones by pages.

import { before as placeBefore } from "./client/position.js";

// A room being read may be scrolled far back; one in the background only needs its recent end.
export const KEEP_ACTIVE = 2000;
export const KEEP_BACKGROUND = 200;
export const UNREAD_MAX = 999;
/** Places with missing entries; the log is shown from after the last one that is too many. */
export const GAPS_MAX = 100;

export class Room {
  #ownKeys = new Map();
  #self;

  /** `self.users` holds the user ids that were ours: a guest gets another with each session. */
  constructor(name, self) {
    this.#self = self;
    this.name = name;
    this.epoch = null;
    this.keep = KEEP_BACKGROUND;
    /** Joined on the present connection. */
    this.joined = false;
    this.error = null;
    this.loadingOlder = false;
    this.olderFailed = false;
    /** The last entry that was read; null: not known yet. */
    this.read = null;
    this.divider = null;
    /** Another log has taken the place of one that was shown. */
    this.replaced = false;
    /** Grows whenever what was shown is no longer a part of what is known. */
    this.generation = 0;
    this.#empty(0);
  }

  #empty(head) {
    this.messages = [];
    /** Entries that are not to be had: `{ from, to }`, in order. */
    this.gaps = [];
    /** Covered: from ≤ seq ≤ to. Not every covered entry is a message. */
    this.from = head + 1;
    this.to = head;
    this.moreBefore = head > 0;
    this.#ownKeys.clear();
    this.generation += 1;
  }

  get loaded() {
    return this.epoch !== null;
  }

  get canLoadOlder() {
    return this.loaded && this.moreBefore && this.messages.length < KEEP_ACTIVE;
  }

  /** An earlier page has shown the log up to here; none of it is known now. */
  applyPosition({ epoch, seq }) {
    this.epoch = epoch;
    this.#empty(seq);
  }

  /** The session is in the room; `head` is where the log ends. */
  applyJoined({ epoch, fresh, head, hasMoreBefore }) {
    this.joined = true;
    this.error = null;
    this.olderFailed = false;
    if (!fresh && this.epoch === epoch) return;
    const known = this.loaded;
    this.epoch = epoch;
    this.#empty(head);
    this.moreBefore = hasMoreBefore;
    if (known && this.read !== null) this.read = Math.min(this.read, head);
  }

  /** What was shown counts no more. */
  applyReset() {
    this.replaced = this.loaded;
    if (this.read !== null) this.read = 0;
    this.divider = null;
    this.#empty(0);
  }

  /** The next entry. */
  applyEntry(entry) {
    // After a fresh join the first entry says where the run begins.
    const isFirst = this.messages.length === 0 && this.gaps.length === 0 && this.from > this.to;
    if (isFirst && entry.seq !== this.to + 1) this.from = entry.seq;
    this.to = entry.seq;
    this.#admit([entry]);
    this.#trimTo(this.keep);
  }

  /** These entries are not to be had. */
  applyLost({ from, to }) {
    this.gaps.push({ from, to });
    this.to = to;
    this.#boundGaps();
  }

  /** A page asked for with `before: this.from`; what it leaves out is not in the log. */
  applyBefore(page) {
    const events = page.events.filter(({ seq }) => seq < this.from);
    const gaps = [];
    let next = this.from;
    for (const { seq } of events.toReversed()) {
      if (seq + 1 < next) gaps.unshift({ from: seq + 1, to: placeBefore(next) });
      next = seq;
    }
    this.gaps.unshift(...gaps);
    this.#admit(events);
    this.from = next;
    this.moreBefore = page.has_more_before;
    this.olderFailed = events.length === 0 && page.has_more_before;
    this.#boundGaps();
    this.#trimTo(KEEP_ACTIVE);
  }

  isOwn(message) {
    return this.#self.users.has(message.user);
  }

  markRead() {
    if (this.read === null) return false;
    const changed = this.read < this.to;
    this.read = Math.max(this.read, this.to);
    return changed;
  }

  /** Messages of others after the read position, counting those that are not loaded. */
  get unread() {
    if (this.read === null) return 0;
    let count = Math.max(0, this.from - 1 - this.read);
    for (let i = this.messages.length - 1; i >= 0 && count <= UNREAD_MAX; i -= 1) {
      if (this.messages[i].seq <= this.read) break;
      if (!this.isOwn(this.messages[i])) count += 1;
    }
    return count;
  }

  setKeep(keep) {
    this.keep = keep;
    this.#trimTo(keep);
  }

  /** Puts messages at their place. What is not a message is covered, not kept. */
  #admit(events) {
    for (const event of events) {
      if (event.type !== "message") continue;
      const at = placeOf(this.messages, event.seq);
      if (this.messages[at]?.seq === event.seq || this.#isResend(event)) continue;
      this.messages.splice(at, 0, event);
    }
  }

  /** Our own send may be in the log twice, if it was repeated under the id of a new session. */
  #isResend(event) {
    if (event.key === null || !this.isOwn(event)) return false;
    const seq = this.#ownKeys.get(event.key);
    if (seq !== undefined && seq !== event.seq) return true;
    this.#ownKeys.set(event.key, event.seq);
    return false;
  }

  #boundGaps() {
    if (this.gaps.length <= GAPS_MAX) return;
    const cut = this.gaps.splice(0, this.gaps.length - GAPS_MAX).at(-1).to;
    this.messages = this.messages.filter(({ seq }) => seq > cut);
    this.from = cut + 1;
    this.moreBefore = true;
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
