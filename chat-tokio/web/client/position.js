// Where a Client is in a room's log.

import { byteLength, SEQ_MAX } from "./names.js";

/** About what an entry takes in memory beside its text. */
const ENTRY_BYTES = 200;

export const next = (seq) => Math.min(SEQ_MAX, seq + 1);
export const before = (seq) => Math.max(0, seq - 1);

/**
 * A room's position, and the entries that wait for those before them.
 *
 * *Invariant:* what passes is contiguous: each entry or lost range begins right after the cursor.
 *
 * What passes is put in a list, as `{ entry }` or `{ lost: { from, to } }`.
 */
export class Place {
  /** Entries beyond the next one, by their places. */
  #held = [];
  #heldBytes = 0;

  constructor({ epoch, seq }) {
    this.epoch = epoch;
    /** The last entry that has passed. */
    this.cursor = seq;
    /** The last entry that is known to exist; at least the cursor. */
    this.head = seq;
  }

  position() {
    return { epoch: this.epoch, seq: this.cursor };
  }

  /** Tells whether entries are known to exist that have not passed. */
  isBehind() {
    return this.head > this.cursor;
  }

  get held() {
    return this.#held.length;
  }

  get heldBytes() {
    return this.#heldBytes;
  }

  /** Notes that entries exist up to this one. */
  expect(head) {
    this.head = Math.max(this.head, head);
  }

  /**
   * Takes an entry in: it passes if it is the next one, with those held that it was missing to
   * ("passed"), is held if it is beyond that ("beyond"), or had passed already ("old").
   */
  offer(entry, bounds, passed) {
    if (entry.seq <= this.cursor) return "old";
    this.expect(entry.seq);
    if (entry.seq === next(this.cursor)) {
      this.#pass(entry, passed);
      this.#release(passed);
      return "passed";
    }
    this.#hold(entry, bounds);
    return "beyond";
  }

  /** Lets everything up to here pass: what is held of it, and the rest as lost. */
  skip(to, passed) {
    while (this.cursor < to) {
      const from = next(this.cursor);
      const first = this.#held[0];
      const last = first && first.seq <= to ? before(first.seq) : to;
      if (from <= last) {
        passed.push({ lost: { from, to: last } });
        this.cursor = last;
      }
      this.#release(passed);
    }
    this.head = Math.max(this.head, this.cursor);
    this.#release(passed);
  }

  /** Tells whether entries came from beyond what is missing. */
  isProven() {
    return this.#held.length > 0;
  }

  /** Doubts that there are entries which never came: whatever does come counts. */
  doubt() {
    this.head = this.#held.at(-1)?.seq ?? this.cursor;
  }

  /** Gives up on what is missing before the first entry that is held, or up to the head. */
  giveUp(passed) {
    this.skip(this.#held.length > 0 ? before(this.#held[0].seq) : this.head, passed);
  }

  /** Lets those pass that are held and not beyond the next one. */
  #release(passed) {
    while (this.#held.length > 0 && this.#held[0].seq <= next(this.cursor)) {
      const entry = this.#held.shift();
      this.#heldBytes -= sizeOf(entry);
      if (entry.seq > this.cursor) this.#pass(entry, passed);
    }
  }

  #pass(entry, passed) {
    this.cursor = entry.seq;
    this.head = Math.max(this.head, this.cursor);
    passed.push({ entry });
  }

  /** Holds an entry; what is too much is dropped from the far end, and fetched again. */
  #hold(entry, bounds) {
    let at = this.#held.length;
    while (at > 0 && this.#held[at - 1].seq >= entry.seq) at -= 1;
    const known = this.#held[at]?.seq === entry.seq ? 1 : 0;
    const replaced = this.#held.splice(at, known, entry);
    this.#heldBytes += sizeOf(entry) - replaced.reduce((sum, old) => sum + sizeOf(old), 0);
    while (this.#held.length > bounds.entries || this.#heldBytes > bounds.bytes) {
      this.#heldBytes -= sizeOf(this.#held.pop());
    }
  }
}

function sizeOf(entry) {
  return ENTRY_BYTES + byteLength(entry.content ?? "");
}
