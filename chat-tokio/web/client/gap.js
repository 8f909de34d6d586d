// Decides when a room's missing entries are requested. Pure.
//
// Missing entries are requested by history pages, one page at a time. A page that brings no
// progress proves nothing: another worker or node may know of an entry before the one that answers.
// It is requested again with back-off, and after some such pages the connection is made anew once.
// Only a `hole`, a page that begins later or another epoch tells that entries are lost.

import { retry } from "./backoff.js";

/** Pages in a row without progress before the connection is made anew. */
const FRUITLESS_MAX = 4;

/** What a Client does about a room's missing entries. */
export class GapRepair {
  /** The page in flight: `{ request, after }`. */
  #requested = null;
  /** When the next page may be requested. */
  #due = null;
  /** Missing entries were passed over, so they will not arrive on their own. */
  #passedOver = false;
  /** Pages in a row that were empty or not answered. */
  #fruitless = 0;
  /** These and the refused ones, which determine the delay before the next page. */
  #tries = 0;
  /** The connection was made anew because pages brought no progress. */
  #reconnected = false;

  /** Records that no entry is missing. `advanced`: entries were delivered. */
  complete(advanced) {
    // Without progress the next announcement does not cost the connection again.
    this.#reset({ reconnected: this.#reconnected && !advanced });
  }

  /**
   * Records that entries are missing, and schedules a page. `evidence` is "announced" (they exist
   * and may still arrive on their own) or "passed_over" (by the server).
   */
  missing(now, times, advanced, evidence) {
    this.#passedOver ||= evidence === "passed_over";
    if (advanced) this.#reset({ passedOver: this.#passedOver });
    const isBackingOff = this.#tries > 0 && this.#due !== null;
    if (this.#requested !== null || isBackingOff) return;
    if (this.#passedOver) this.#due = now;
    else this.#due ??= now + times.graceMs;
  }

  /** Returns when a page is to be requested, or null. */
  due() {
    return this.#requested === null ? this.#due : null;
  }

  /** Records that a page is requested. */
  requested(request, after) {
    this.#requested = { request, after };
    this.#due = null;
  }

  /** Returns the seq after which the page begins if the request is the one in flight, or null. */
  answered(request) {
    if (this.#requested?.request !== request) return null;
    const { after } = this.#requested;
    this.#requested = null;
    return after;
  }

  /**
   * Records a page that brought no progress or was not answered. Returns "retry" (after a delay) or
   * "reconnect".
   */
  fruitless(now, times, random) {
    this.#fruitless += 1;
    if (this.#fruitless >= FRUITLESS_MAX && !this.#reconnected) {
      this.#reconnected = true;
      return "reconnect";
    }
    this.refused(now, times, null, random);
    return "retry";
  }

  /** Records a page that was refused and may be requested again. */
  refused(now, times, afterMs, random) {
    this.#due = now + retry(times, this.#tries, afterMs, random);
    this.#tries += 1;
  }

  /** Returns true if neither pages nor a new connection have shown that entries are missing. */
  isUnconfirmed() {
    return this.#reconnected && this.#fruitless >= FRUITLESS_MAX;
  }

  /** Records that the session is not in the room any more. */
  interrupt() {
    this.#requested = null;
    this.#reset({ reconnected: this.#reconnected });
  }

  /** Ignores the answer to the page in flight: it may come from another log. */
  ignoreAnswer() {
    this.#requested = null;
  }

  #reset({ passedOver = false, reconnected = false } = {}) {
    this.#due = null;
    this.#passedOver = passedOver;
    this.#fruitless = 0;
    this.#tries = 0;
    this.#reconnected = reconnected;
  }
}
