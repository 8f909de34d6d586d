// When a room's missing entries are paged for. Pure.

import { retry } from "./backoff.js";

/** Pages in a row that bring nothing before something else is tried. */
const FRUITLESS_MAX = 4;

/** What is done about entries that are known to be missing. */
export class Heal {
  /** The page that was asked for, and the place after which. */
  #asked = null;
  /** When the next page may be asked for. */
  #due = null;
  /** What is missing will not come by itself. */
  #proven = false;
  /** Pages in a row that brought nothing, and that were refused for a while. */
  #fruitless = 0;
  #refused = 0;
  /** The connection was made anew already because pages brought nothing. */
  #relinked = false;

  /**
   * Looks at a room anew: it is behind, or not. `moved`: the cursor has moved. `evidence`: entries
   * are known to be missing by a "claim" (they exist, and may yet come by themselves) or by "proof"
   * (they were passed over).
   */
  review(now, times, isBehind, moved, evidence) {
    if (!isBehind) return this.#clear();
    this.#proven ||= evidence === "proof";
    if (moved) this.#clear({ proven: this.#proven });
    if (this.#asked !== null) return;
    const heldBack = this.#fruitless > 0 || this.#refused > 0;
    if (this.#due !== null && (heldBack || !this.#proven)) return;
    this.#due = this.#proven ? now : now + times.graceMs;
  }

  /** Returns when a page is to be asked for, or null. */
  due() {
    return this.#asked === null ? this.#due : null;
  }

  /** Notes that a page was asked for. */
  ask(request, after) {
    this.#asked = { request, after };
    this.#due = null;
  }

  /** Takes the place after which a page was asked for, if the request is about it; else null. */
  answered(request) {
    if (this.#asked?.request !== request) return null;
    const { after } = this.#asked;
    this.#asked = null;
    return after;
  }

  /** Notes that a page brought nothing. What to do: "again" | "relink" | "give_up". */
  fruitless(now, times, random) {
    this.#fruitless += 1;
    if (this.#fruitless < FRUITLESS_MAX) {
      this.#due = now + retry(times, this.#fruitless - 1, null, random);
      return "again";
    }
    if (this.#relinked) return "give_up";
    this.#relinked = true;
    return "relink";
  }

  /** Notes that a page was refused for a while. */
  refused(now, times, afterMs, random) {
    this.#due = now + retry(times, this.#refused, afterMs, random);
    this.#refused += 1;
  }

  /** Notes that the room was left or is joined anew: nothing is under way any more. */
  interrupt() {
    this.#asked = null;
    this.#clear({ relinked: this.#relinked });
  }

  /** Notes that the log could not be the one that was asked; fruitless pages go on counting. */
  rejoin() {
    this.#asked = null;
  }

  #clear({ proven = false, relinked = false } = {}) {
    this.#due = null;
    this.#proven = proven;
    this.#fruitless = 0;
    this.#refused = 0;
    this.#relinked = relinked;
  }
}
