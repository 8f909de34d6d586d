// The Client's position in a room's log, and the entries that arrived out of order.

import { byteLength, SEQ_MAX } from "./names.js";

/** The approximate size of an entry in memory without its text. */
const ENTRY_BYTES = 200;

export const next = (seq) => Math.min(SEQ_MAX, seq + 1);
export const before = (seq) => Math.max(0, seq - 1);

/**
 * The position in a room's log.
 *
 * *Invariant:* the output is contiguous: each entry or lost range begins right after the cursor.
 *
 * The output goes to a list, as `{ entry }` or `{ lost: { from, to } }`.
 */
export class LogPosition {
  /** Entries that arrived before the entries in front of them, ordered by seq. */
  #buffered = [];
  #bufferedBytes = 0;

  constructor({ epoch, seq }) {
    this.epoch = epoch;
    /** The last entry that was delivered. */
    this.cursor = seq;
    /** The last entry that is known to exist; at least the cursor. */
    this.head = seq;
  }

  position() {
    return { epoch: this.epoch, seq: this.cursor };
  }

  /** Returns true if entries are known to exist that were not delivered. */
  isBehind() {
    return this.head > this.cursor;
  }

  get buffered() {
    return this.#buffered.length;
  }

  get bufferedBytes() {
    return this.#bufferedBytes;
  }

  /** Records that entries exist up to this one. */
  raiseHead(head) {
    this.head = Math.max(this.head, head);
  }

  /**
   * Accepts an entry. The next one in order is ready at once ("in_order"), together with the
   * buffered entries that follow it. A later one is buffered ("out_of_order"). An entry that was
   * delivered before is a "duplicate".
   */
  accept(entry, bounds, ready) {
    if (entry.seq <= this.cursor) return "duplicate";
    this.raiseHead(entry.seq);
    if (entry.seq === next(this.cursor)) {
      this.#advance(entry, ready);
      this.#release(ready);
      return "in_order";
    }
    this.#buffer(entry, bounds);
    return "out_of_order";
  }

  /** Moves the cursor to `to` or beyond: buffered entries are delivered, the others are lost. */
  skip(to, ready) {
    while (this.cursor < to) {
      const from = next(this.cursor);
      const first = this.#buffered[0];
      const last = first && first.seq <= to ? before(first.seq) : to;
      if (from <= last) {
        ready.push({ lost: { from, to: last } });
        this.cursor = last;
      }
      this.#release(ready);
    }
    this.head = Math.max(this.head, this.cursor);
    this.#release(ready);
  }

  /** Delivers the buffered entries that follow the cursor. */
  #release(ready) {
    while (this.#buffered.length > 0 && this.#buffered[0].seq <= next(this.cursor)) {
      const entry = this.#buffered.shift();
      this.#bufferedBytes -= sizeOf(entry);
      if (entry.seq > this.cursor) this.#advance(entry, ready);
    }
  }

  #advance(entry, ready) {
    this.cursor = entry.seq;
    this.head = Math.max(this.head, this.cursor);
    ready.push({ entry });
  }

  /** Buffers an entry. Beyond the bounds the last entries are dropped; they are fetched later. */
  #buffer(entry, bounds) {
    let at = this.#buffered.length;
    while (at > 0 && this.#buffered[at - 1].seq >= entry.seq) at -= 1;
    const known = this.#buffered[at]?.seq === entry.seq ? 1 : 0;
    const replaced = this.#buffered.splice(at, known, entry);
    this.#bufferedBytes += sizeOf(entry) - replaced.reduce((sum, old) => sum + sizeOf(old), 0);
    while (this.#buffered.length > bounds.entries || this.#bufferedBytes > bounds.bytes) {
      this.#bufferedBytes -= sizeOf(this.#buffered.pop());
    }
  }
}

function sizeOf(entry) {
  return ENTRY_BYTES + byteLength(entry.content ?? "");
}
